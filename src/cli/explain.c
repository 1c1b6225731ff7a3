/* explain.c - how an alert came about, from a recording: as text, and as a picture. */
#include "cli/cli.h"
#include "cli/picture.h"
#include "cli/tale.h"
#include "cli/told.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "usage: moonwatch explain [options] FILE [SCRIPT|DIRECTORY...]\n"
    "\n"
    "Lists the alerts that scripts told while FILE was recorded (`moonwatch record`,\n"
    "`ctl dump`, or a directory of the flight recorder), or that these scripts tell\n"
    "of it. With --alert N, says how that one came about: which handler told it and\n"
    "with what values, whose child the process was, and what happened in its family.\n"
    "\n"
    "  -a, --alert N    explain number N of the list\n"
    "      --svg OUT    draw it, too: an SVG file, or - for standard output alone\n"
    "      --all        the whole family; else of what is neither an ancestor nor a\n"
    "                   descendant only as much as makes 60 lines\n"
    "  -e LINE          a script in one line\n"
    "      --set SCRIPT.NAME=VALUE   as with `run`\n"
    "      --trusted S  a script that may use all of LuaJIT\n"
    "  -q, --quiet      no text\n"
    "  -h, --help       this text\n"
    "\n"
    "Exit status: 0 done; 1 there is no such alert, or what it is about is not in the\n"
    "recording, or OUT cannot be written; 2 wrong command line, or FILE cannot be\n"
    "read; 3 a script is wrong.\n";

#define LINE_MOST 400 /* columns of one in the list, where there is no terminal */

enum { OPTION_SVG = 256, OPTION_ALL, OPTION_SET, OPTION_TRUSTED };

static const struct option long_options[] = {
    { "alert", required_argument, NULL, 'a' },
    { "svg", required_argument, NULL, OPTION_SVG },
    { "all", no_argument, NULL, OPTION_ALL },
    { "set", required_argument, NULL, OPTION_SET },
    { "trusted", required_argument, NULL, OPTION_TRUSTED },
    { "quiet", no_argument, NULL, 'q' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* An alert of the recording, as far as a list needs it. */
struct alert {
    uint64_t seq;
    double time;
    char *json; /* owned */
};

struct explaining {
    struct told_run run;
    const char *svg;
    int number; /* 0: list them */
    bool all, quiet;

    struct alert *alerts; /* owned */
    int len, cap;
    bool failed; /* no memory */

    struct tale tale;
    int status; /* of what was told within a story */
};

/* --- the command line ---------------------------------------------------------------------------- */

static int take_number(struct explaining *x, const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (end == text || *end || number < 1 || number > INT_MAX)
        return cli_usage("explain", "--alert takes a number of the list, from 1 on, not '%s'", text);
    x->number = (int)number;
    return -1;
}

/* -1: go on; else an exit status. */
static int take_option(struct explaining *x, int option)
{
    switch (option) {
    case 'a':
        return take_number(x, optarg);
    case OPTION_SVG:
        x->svg = optarg;
        x->quiet = x->quiet || !strcmp(optarg, "-");
        return -1;
    case OPTION_ALL:
        x->all = true;
        return -1;
    case 'e':
        return told_take(&x->run, TOLD_LINE, optarg, "explain");
    case OPTION_TRUSTED:
        return told_take(&x->run, TOLD_TRUSTED, optarg, "explain");
    case OPTION_SET:
        return cli_take_setting(&x->run.settings, "explain", optarg);
    case 'q':
        x->quiet = true;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EXIT_OK;
    default:
        return EXIT_USAGE;
    }
}

/* --- the alerts ---------------------------------------------------------------------------------- */

static void keep(void *ctx, uint64_t seq, double time, const char *json)
{
    struct explaining *x = ctx;
    if (x->len == x->cap) {
        int cap = x->cap ? x->cap * 2 : 64;
        struct alert *alerts = realloc(x->alerts, (size_t)cap * sizeof *alerts);
        if (!alerts) {
            x->failed = true;
            return;
        }
        x->alerts = alerts;
        x->cap = cap;
    }
    struct alert *a = &x->alerts[x->len];
    a->seq = seq;
    a->time = time;
    a->json = strdup(json);
    x->failed = x->failed || !a->json;
    x->len += a->json != NULL;
}

static int gather_noted(struct explaining *x)
{
    char why[640];
    int result = moonwatch_noted_alerts(x->run.file, keep, x, why, sizeof why);
    if (result == 0)
        return EXIT_OK;
    cli_say("%s", why);
    return result == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
}

static int gather_told(struct explaining *x)
{
    struct told_list list = { 0 };
    int status = told_collect(&x->run, &list);
    for (int i = 0; i < list.len && status == EXIT_OK; i++)
        keep(x, list.all[i].seq, list.all[i].time, list.all[i].json);
    told_free(&list);
    return status;
}

static bool has_scripts(const struct explaining *x)
{
    return x->run.scripts_len || x->run.lines_len || x->run.trusted_len;
}

static int gather(struct explaining *x)
{
    int status = has_scripts(x) ? gather_told(x) : gather_noted(x);
    if (status == EXIT_OK && x->failed) {
        cli_say("not enough memory for the alerts");
        return EXIT_FAILED;
    }
    return status;
}

static struct value *parse(const struct alert *a)
{
    struct value *v = value_parse(a->json, strlen(a->json));
    return v ? v : value_parse("{}", 2);
}

/* --- the list ------------------------------------------------------------------------------------ */

/* "   1  2026-11-25 04:57:15  high     web (pid 7): a text". */
static void put_alert(FILE *to, int number, const struct alert *a, const struct value *v)
{
    char when[32] = "";
    time_t second = (time_t)a->time;
    struct tm tm;
    if (localtime_r(&second, &tm))
        strftime(when, sizeof when, "%F %T", &tm);
    fprintf(to, "%4d  %s  ", number, when);
    cli_put(to, value_text(v, "severity"));
    fprintf(to, "%*s ", strlen(value_text(v, "severity")) < 8 ? 8 - (int)strlen(value_text(v, "severity")) : 0, "");
    cli_put(to, value_text(v, "script"));
    if (value_get(v, "pid"))
        fprintf(to, " (pid %.0f)", value_number(v, "pid"));
    if (*value_text(v, "text")) {
        fputs(": ", to);
        cli_put(to, value_text(v, "text"));
    }
}

static bool print_alert(int number, const struct alert *a)
{
    char *line = NULL;
    size_t len;
    FILE *to = open_memstream(&line, &len);
    struct value *v = parse(a);
    if (to) {
        put_alert(to, number, a, v);
        if (fclose(to) != 0)
            to = NULL;
    }
    if (to) {
        tale_cut(stdout, line, cli_columns() > 40 ? cli_columns() : LINE_MOST);
        putchar('\n');
    }
    free(line);
    value_free(v);
    return to != NULL;
}

static int list(const struct explaining *x)
{
    bool ok = true;
    for (int i = 0; ok && i < x->len && !x->quiet; i++)
        ok = print_alert(i + 1, &x->alerts[i]);
    if (!ok)
        cli_say("not enough memory for the list");
    return ok ? EXIT_OK : EXIT_FAILED;
}

/* --- one of them --------------------------------------------------------------------------------- */

static int draw(const struct explaining *x)
{
    bool standard = !strcmp(x->svg, "-");
    FILE *to = standard ? stdout : fopen(x->svg, "we");
    if (to && !picture_draw(&x->tale, to)) {
        cli_say("not enough memory for a picture");
        if (!standard)
            fclose(to);
        return EXIT_FAILED;
    }
    bool written = to && fflush(to) == 0 && !ferror(to);
    if (to && !standard)
        written = fclose(to) == 0 && written;
    if (written)
        return EXIT_OK;
    cli_say("cannot write %s: %s", standard ? "standard output" : x->svg, strerror(errno));
    return EXIT_FAILED;
}

static void tell(void *ctx, const struct moonwatch_story *story)
{
    struct explaining *x = ctx;
    x->tale.story = story;
    if (!x->quiet) {
        tale_head(&x->tale);
        if (!tale_timeline(&x->tale, x->all)) {
            cli_say("not enough memory for the events");
            x->status = EXIT_FAILED;
        }
    }
    if (x->svg && x->status == EXIT_OK)
        x->status = draw(x);
}

/* Where it was recorded, which is nice to have. */
static void find_host(struct explaining *x, struct moonwatch_recording *about)
{
    char why[640];
    if (moonwatch_recording(x->run.file, about, why, sizeof why) < 0)
        about->host[0] = '\0';
    x->tale.host = about->host;
}

/* `why`: it is about no process, or of an event that is not there. */
static int tell_without(struct explaining *x, const char *why)
{
    if (!x->quiet) {
        tale_head(&x->tale);
        putchar('\n');
        cli_put(stdout, why);
        puts(": there is no lineage.");
    }
    if (!x->svg)
        return EXIT_OK;
    cli_say("%s: there is nothing to draw", why);
    return EXIT_FAILED;
}

static int64_t number_of(const struct value *v, const char *key)
{
    double number = value_number(v, key);
    return value_get(v, key) && number >= 0 && number < 9e15 ? (int64_t)number : -1;
}

/* About whom: what the alert says, else the process of the event that the handler had. */
static int explain_alert(struct explaining *x, const struct alert *a)
{
    char why[640];
    const struct value *v = x->tale.alert;
    int64_t pid = number_of(v, "pid"), seq = number_of(v, "seq");
    if (pid < 0 && seq <= 0 && !strcmp(value_text(v, "handler"), "timer"))
        return tell_without(x, "It is about no process");
    int result = moonwatch_explain(x->run.file, seq > 0 ? (uint64_t)seq : a->seq, a->time, pid,
                                   number_of(v, "starttime"), tell, x, why, sizeof why);
    if (result == 0)
        return x->status;
    if (result == -ESRCH && pid < 0)
        return tell_without(x, why);
    if (result == -ESRCH && !x->quiet)
        tale_head(&x->tale);
    fflush(stdout);
    cli_say("%s", why);
    return result == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
}

static int explain_one(struct explaining *x)
{
    struct moonwatch_recording about = { 0 };
    if (x->number > x->len && has_scripts(x))
        cli_say("these scripts tell %d alerts of %s: there is no number %d", x->len, x->run.file, x->number);
    else if (x->number > x->len)
        cli_say("%s holds %d alerts: there is no number %d", x->run.file, x->len, x->number);
    if (x->number > x->len)
        return EXIT_FAILED;
    const struct alert *a = &x->alerts[x->number - 1];
    struct value *v = parse(a);
    x->tale.number = x->number;
    x->tale.time = a->time;
    x->tale.alert = v;
    find_host(x, &about);
    int status = explain_alert(x, a);
    value_free(v);
    return status;
}

static int explain(struct explaining *x)
{
    int status = gather(x);
    if (status != EXIT_OK)
        return status;
    if (x->len)
        return x->number ? explain_one(x) : list(x);
    if (has_scripts(x))
        cli_say("these scripts tell no alert of %s", x->run.file);
    else
        cli_say("%s holds no alert; scripts can be named behind it, to see what they would have told", x->run.file);
    return EXIT_FAILED;
}

int cli_explain(int argc, char **argv)
{
    struct explaining *x = calloc(1, sizeof *x);
    int option, status = -1;
    if (!x) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    told_init(&x->run);
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "a:e:qh", long_options, NULL)) != -1)
        status = take_option(x, option);
    if (status < 0 && optind == argc)
        status = cli_usage("explain", "no recording is named");
    if (status < 0 && x->svg && !x->number)
        status = cli_usage("explain", "--svg draws one alert: --alert says which");
    if (status < 0) {
        told_file(&x->run, argv[optind]);
        x->run.scripts = argv + optind + 1;
        x->run.scripts_len = argc - optind - 1;
        status = explain(x);
    }
    for (int i = 0; i < x->len; i++)
        free(x->alerts[i].json);
    free(x->alerts);
    free(x);
    return status;
}
