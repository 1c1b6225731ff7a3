/* backtest.c - what a script would have told of the last hours, from the flight recorder or a recording. */
#include "cli/cli.h"
#include "cli/told.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FLIGHT   "/var/lib/moonwatch/flight"
#define KEYS_TOP 5

static const char usage[] =
    "usage: moonwatch backtest [options] SCRIPT|DIRECTORY...\n"
    "\n"
    "Runs scripts over what the flight recorder has kept, and says how often each\n"
    "would have told of something, and of what most. Nothing that they write is\n"
    "shown, nothing is sent.\n"
    "\n"
    "      --since T        2026-11-25T06:00, 06:00, or 2h (ago); all that there is\n"
    "      --on FILE        a recording, or a directory of a flight recorder\n"
    "                       (/var/lib/moonwatch/flight)\n"
    "      --sigma R        Sigma rules: a file or a directory\n"
    "      --set SCRIPT.NAME=VALUE   as with `run`\n"
    "  -v, --verbose        show each alert\n"
    "  -h, --help           this text\n"
    "\n"
    "Exit status: 0 done; 1 broke off; 2 wrong command line, or nothing is recorded;\n"
    "3 a script is wrong.\n";

enum { OPTION_SINCE = 256, OPTION_ON, OPTION_SET, OPTION_SIGMA };

struct key {
    const char *text;
    int n;
};

static int by_number(const void *a, const void *b)
{
    const struct key *one = a, *other = b;
    return one->n != other->n ? other->n - one->n : strcmp(one->text, other->text);
}

/* The keys of this script's alerts, those told most first; the caller's to free. */
static struct key *count_keys(const struct told_list *list, const char *script, int *len)
{
    struct key *keys = calloc((size_t)list->len + 1, sizeof *keys);
    *len = 0;
    for (int i = 0; keys && i < list->len; i++) {
        if (strcmp(list->all[i].script, script))
            continue;
        const char *text = *list->all[i].key ? list->all[i].key : list->all[i].line;
        int at = 0;
        while (at < *len && strcmp(keys[at].text, text))
            at++;
        *len += at == *len;
        keys[at].text = text;
        keys[at].n++;
    }
    if (keys)
        qsort(keys, (size_t)*len, sizeof *keys, by_number);
    return keys;
}

/* "06:00" of today, else with the day. */
static void add_clock(double when, char *to, size_t cap)
{
    time_t second = (time_t)when, now = time(NULL);
    struct tm tm, today;
    if (!localtime_r(&second, &tm) || !localtime_r(&now, &today))
        snprintf(to, cap, "%.0f", when);
    else
        strftime(to, cap, tm.tm_yday == today.tm_yday && tm.tm_year == today.tm_year ? "%H:%M:%S" : "%F %H:%M:%S", &tm);
}

static void report(const struct told_list *list, const char *script, double first)
{
    char since[64];
    int len, n = 0;
    struct key *keys = count_keys(list, script, &len);
    for (int i = 0; i < list->len; i++)
        n += !strcmp(list->all[i].script, script);
    add_clock(first, since, sizeof since);
    cli_put(stdout, script);
    printf(": would have told %d alert%s since %s\n", n, n == 1 ? "" : "s", since);
    for (int i = 0; keys && i < len && i < KEYS_TOP; i++) {
        printf("  %5d  ", keys[i].n);
        cli_put(stdout, keys[i].text);
        putchar('\n');
    }
    if (len > KEYS_TOP)
        printf("         and %d more\n", len - KEYS_TOP);
    free(keys);
}

struct backtest {
    struct told_run run;
    const char *since, *on;
    bool verbose;
};

/* Of all that were loaded, those too that told nothing. */
static void report_all(const struct backtest *b, struct moonwatch *m, const struct told_list *list)
{
    struct moonwatch_summary s;
    moonwatch_summarize(m, &s);
    for (int i = 0; b->verbose && i < list->len; i++)
        told_print(&list->all[i]);
    for (int i = 0; i < s.scripts_len; i++)
        report(list, s.scripts[i].name, b->run.replay.first);
    for (int i = 0; i < s.scripts_len; i++)
        if (s.scripts[i].errors)
            cli_say("%s: %llu errors: `moonwatch replay` shows the first", s.scripts[i].name,
                    (unsigned long long)s.scripts[i].errors);
}

static int backtest(struct backtest *b)
{
    struct told_list list = { 0 };
    struct moonwatch *m = NULL;
    int status = told_collect_with(&b->run, &list, &m);
    if (status == EXIT_OK && !b->run.replay.events) {
        cli_say("%s holds no event of that time", b->on);
        status = EXIT_USAGE;
    }
    if (status == EXIT_OK)
        report_all(b, m, &list);
    moonwatch_free(m);
    told_free(&list);
    return status;
}

/* "2h" is 2 hours ago. -1, or an exit status. */
static int take_since(struct backtest *b)
{
    double ago = b->since ? cli_seconds(b->since) : -1;
    if (ago < 0)
        return told_times(&b->run, b->since, NULL, "backtest");
    b->run.replay.from = (double)time(NULL) - ago;
    return -1;
}

int cli_backtest(int argc, char **argv)
{
    static const struct option options[] = {
        { "since", required_argument, NULL, OPTION_SINCE },
        { "on", required_argument, NULL, OPTION_ON },
        { "set", required_argument, NULL, OPTION_SET },
        { "sigma", required_argument, NULL, OPTION_SIGMA },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static struct backtest b = { .on = FLIGHT };
    int option, status = -1;
    told_init(&b.run);
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "vh", options, NULL)) != -1)
        switch (option) {
        case OPTION_SINCE:
            b.since = optarg;
            break;
        case OPTION_ON:
            b.on = optarg;
            break;
        case OPTION_SET:
            status = cli_take_setting(&b.run.settings, "backtest", optarg);
            break;
        case OPTION_SIGMA:
            status = told_take(&b.run, TOLD_SIGMA, optarg, "backtest");
            break;
        case 'v':
            b.verbose = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    if (status < 0 && optind == argc && !b.run.sigma_len)
        status = cli_usage("backtest", "no script is named");
    told_file(&b.run, b.on);
    if (status < 0)
        status = take_since(&b);
    if (status >= 0)
        return status;
    b.run.scripts = argv + optind;
    b.run.scripts_len = argc - optind;
    return backtest(&b);
}
