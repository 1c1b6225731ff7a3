/* replay.c - tells scripts what was recorded: as it was, two versions side by side, or from which event
 * on it still ends in the same alert. */
#include "cli/cli.h"
#include "cli/told.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch replay [options] FILE [SCRIPT|DIRECTORY...]\n"
    "       moonwatch replay --input FILE [options] [SCRIPT|DIRECTORY...]\n"
    "       moonwatch replay --diff OLD.lua NEW.lua FILE\n"
    "       moonwatch replay --bisect[=N] FILE SCRIPT\n"
    "\n"
    "Tells scripts the events of a recording (`moonwatch record`, `ctl dump`), in the\n"
    "same order and with the answers that scripts were given then: the output is the\n"
    "same each time and on each machine. Timers and windows go by the time of the\n"
    "events. Without a script, the events are written. Needs no privilege. FILE may\n"
    "be a directory of the flight recorder (/var/lib/moonwatch/flight).\n"
    "\n"
    "  -e LINE          a script in one line\n"
    "      --input F    lines of JSON instead of a recording, - for standard input:\n"
    "                   ours, or ECS with process.* as auditbeat and others write it\n"
    "      --speed S    1x: as fast as it was, 10x, ...; max (the default)\n"
    "      --from T     tell what is later only; the processes of before are known\n"
    "      --to T       until then. T is a date and time (2026-11-25T06:00:00, local;\n"
    "                   Z behind it: UTC), 06:00 of the recording's first day, or\n"
    "                   +5m from its begin\n"
    "      --diff A B   run both scripts: which alerts are of one of them only\n"
    "      --bisect=N   which event does alert N (1) need: the last one that it is\n"
    "                   not told without, when all before it are not told\n"
    "      --json       JSON lines, on a terminal too\n"
    "      --text       text, into a pipe too\n"
    "      --set SCRIPT.NAME=VALUE   as with `run`\n"
    "      --trusted S  a script that may use all of LuaJIT\n"
    "      --sigma R    Sigma rules: a file or a directory\n"
    "  -q, --quiet      no summary\n"
    "  -h, --help       this text\n"
    "\n"
    "Exit status: 0 replayed; 1 broke off, or with --diff: they differ; 2 wrong\n"
    "command line, or FILE cannot be read; 3 a script is wrong.\n";

enum {
    OPTION_INPUT = 256,
    OPTION_SPEED,
    OPTION_FROM,
    OPTION_TO,
    OPTION_DIFF,
    OPTION_BISECT,
    OPTION_JSON,
    OPTION_TEXT,
    OPTION_SET,
    OPTION_TRUSTED,
    OPTION_SIGMA
};

static const struct option long_options[] = {
    { "input", required_argument, NULL, OPTION_INPUT },
    { "speed", required_argument, NULL, OPTION_SPEED },
    { "from", required_argument, NULL, OPTION_FROM },
    { "to", required_argument, NULL, OPTION_TO },
    { "diff", no_argument, NULL, OPTION_DIFF },
    { "bisect", optional_argument, NULL, OPTION_BISECT },
    { "json", no_argument, NULL, OPTION_JSON },
    { "text", no_argument, NULL, OPTION_TEXT },
    { "set", required_argument, NULL, OPTION_SET },
    { "trusted", required_argument, NULL, OPTION_TRUSTED },
    { "sigma", required_argument, NULL, OPTION_SIGMA },
    { "quiet", no_argument, NULL, 'q' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static volatile bool interrupted;

static void on_signal(int signal)
{
    (void)signal;
    interrupted = true;
}

struct replaying {
    struct told_run run;
    const char *input, *from, *to;
    bool diff, json, text, quiet;
    int bisect; /* 0: no */
};

/* --- the command line ------------------------------------------------------------------------------ */

static bool parse_speed(const char *text, double *to)
{
    char *end;
    *to = 0;
    if (!strcmp(text, "max"))
        return true;
    *to = strtod(text, &end);
    return end != text && *to > 0 && *to < 1e9 && (!*end || !strcmp(end, "x"));
}

/* -1: go on; else an exit status. */
static int take_option(struct replaying *r, int option)
{
    switch (option) {
    case 'e':
        return told_take(&r->run, TOLD_LINE, optarg, "replay");
    case OPTION_TRUSTED:
        return told_take(&r->run, TOLD_TRUSTED, optarg, "replay");
    case OPTION_SIGMA:
        return told_take(&r->run, TOLD_SIGMA, optarg, "replay");
    case OPTION_INPUT:
        r->input = optarg;
        return -1;
    case OPTION_SPEED:
        if (!parse_speed(optarg, &r->run.replay.speed))
            return cli_usage("replay", "--speed takes 1x, 10x, 0.5x, ... or max, not '%s'", optarg);
        return -1;
    case OPTION_FROM:
        r->from = optarg;
        return -1;
    case OPTION_TO:
        r->to = optarg;
        return -1;
    case OPTION_DIFF:
        r->diff = true;
        return -1;
    case OPTION_BISECT:
        r->bisect = optarg ? atoi(optarg) : 1;
        return r->bisect > 0 ? -1 : cli_usage("replay", "--bisect takes the number of an alert, not '%s'", optarg);
    case OPTION_JSON:
        r->json = true;
        return -1;
    case OPTION_TEXT:
        r->text = true;
        return -1;
    case OPTION_SET:
        return cli_take_setting(&r->run.settings, "replay", optarg);
    case 'q':
        r->quiet = true;
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EXIT_OK;
    default:
        return EXIT_USAGE;
    }
}

/* --- as it was ------------------------------------------------------------------------------------- */

static void summarize(const struct moonwatch_replay *r, struct moonwatch *m, double took)
{
    struct moonwatch_summary s;
    fprintf(stderr, "moonwatch: %llu events of %.1f s replayed in %.2f s\n", (unsigned long long)r->events,
            r->events ? r->last - r->first : 0, took);
    if (r->answered || r->unanswered)
        fprintf(stderr, "moonwatch: %llu questions of scripts answered as recorded, %llu were not recorded\n",
                (unsigned long long)r->answered, (unsigned long long)r->unanswered);
    if (r->missing)
        fprintf(stderr, "moonwatch: %llu events are missing in the recording\n", (unsigned long long)r->missing);
    if (r->damaged)
        fprintf(stderr, "moonwatch: %llu damaged pieces left out\n", (unsigned long long)r->damaged);
    if (r->torn_bytes)
        fprintf(stderr, "moonwatch: its end is torn off: %llu bytes hold no whole piece\n",
                (unsigned long long)r->torn_bytes);
    moonwatch_summarize(m, &s);
    for (int i = 0; i < s.scripts_len; i++) {
        const struct moonwatch_script_summary *script = &s.scripts[i];
        fprintf(stderr, "moonwatch: %s: %llu events, %llu alerts, %llu errors", script->name,
                (unsigned long long)script->events, (unsigned long long)script->alerts,
                (unsigned long long)script->errors);
        if (script->undecided)
            fprintf(stderr, ", %llu undecided", (unsigned long long)script->undecided);
        if (script->rules)
            fprintf(stderr, "; %u rules, %u of them blind on some execs", script->rules, script->rules_blind);
        fputc('\n', stderr);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int replay(struct replaying *r)
{
    struct told_run *run = &r->run;
    run->options.print = !run->scripts_len && !run->lines_len && !run->trusted_len && !run->sigma_len;
    run->options.json = r->json || (!r->text && !isatty(STDOUT_FILENO));
    run->replay.stop = &interrupted;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGPIPE, SIG_IGN);
    double began = now();
    struct moonwatch *m;
    int status = told_replay(run, &m);
    if (m && !r->quiet && status == EXIT_OK)
        summarize(&run->replay, m, now() - began);
    moonwatch_free(m);
    return status;
}

/* --- two versions ---------------------------------------------------------------------------------- */

static bool same(const struct told_alert *a, const struct told_alert *b)
{
    return a->seq == b->seq && !strcmp(a->line, b->line);
}

static bool has(const struct told_list *list, const struct told_alert *alert)
{
    for (int i = 0; i < list->len; i++)
        if (!list->all[i].taken && same(&list->all[i], alert))
            return list->all[i].taken = true;
    return false;
}

static int only(const struct told_list *from, struct told_list *other, char sign)
{
    int n = 0;
    for (int i = 0; i < from->len; i++)
        if (!has(other, &from->all[i])) {
            printf("%c ", sign);
            told_print(&from->all[i]);
            n++;
        }
    return n;
}

static void forget_taken(struct told_list *list)
{
    for (int i = 0; i < list->len; i++)
        list->all[i].taken = false;
}

static int diff(struct replaying *r, char **scripts)
{
    struct told_list lists[2] = { { 0 } };
    int status = EXIT_OK;
    for (int i = 0; i < 2 && status == EXIT_OK; i++) {
        r->run.scripts = &scripts[i];
        r->run.scripts_len = 1;
        status = told_collect(&r->run, &lists[i]);
    }
    if (status == EXIT_OK) {
        int gone = only(&lists[0], &lists[1], '-');
        forget_taken(&lists[0]);
        int came = only(&lists[1], &lists[0], '+');
        if (!r->quiet)
            fprintf(stderr, "moonwatch: %d alerts of both, %d only of %s, %d only of %s\n",
                    lists[0].len - gone, gone, scripts[0], came, scripts[1]);
        status = gone || came ? EXIT_FAILED : EXIT_OK;
    }
    told_free(&lists[0]);
    told_free(&lists[1]);
    return status;
}

/* --- the event that it needs ----------------------------------------------------------------------- */

/* Is the alert told when the events before `seq` are not? -1: the replay failed, `status` says how. */
static int is_told(struct replaying *r, const struct told_alert *wanted, uint64_t seq, int *status)
{
    struct told_list list = { 0 };
    bool found = false;
    r->run.replay.from_seq = seq;
    *status = told_collect(&r->run, &list);
    for (int i = 0; i < list.len; i++)
        found = found || same(&list.all[i], wanted);
    told_free(&list);
    return *status == EXIT_OK ? found : -1;
}

/* From the begin it is told, from after its own event it is not: halve what is between. */
static int find_event(struct replaying *r, const struct told_alert *wanted)
{
    uint64_t told = 0, not_told = wanted->seq + 1;
    int status = EXIT_OK;
    while (not_told - told > 1) {
        uint64_t middle = told + (not_told - told) / 2;
        int is = is_told(r, wanted, middle, &status);
        if (is < 0)
            return status;
        if (is)
            told = middle;
        else
            not_told = middle;
    }
    printf("alert ");
    told_print(wanted);
    if (told == wanted->seq) {
        printf("needs no event before its own, %llu:\n", (unsigned long long)told);
    } else {
        printf("needs the events from %llu on; without this one it is not told:\n", (unsigned long long)told);
    }
    fflush(stdout);
    return told_print_event(&r->run, told);
}

static int bisect(struct replaying *r)
{
    struct told_list list = { 0 };
    int status = told_collect(&r->run, &list);
    if (status == EXIT_OK && list.len < r->bisect) {
        cli_say("the scripts tell %d alerts of this recording: there is no number %d", list.len, r->bisect);
        status = EXIT_FAILED;
    } else if (status == EXIT_OK) {
        status = find_event(r, &list.all[r->bisect - 1]);
    }
    told_free(&list);
    return status;
}

/* --- which of them ------------------------------------------------------------------------------- */

/* FILE, unless it is read from elsewhere; -1, or an exit status. */
static int take_file(struct replaying *r, int *argc, char ***argv)
{
    if (r->input) {
        r->run.replay.lines = !strcmp(r->input, "-") ? STDIN_FILENO : open(r->input, O_RDONLY | O_CLOEXEC);
        if (r->run.replay.lines >= 0)
            return -1;
        cli_say("%s: %s", r->input, strerror(errno));
        return EXIT_USAGE;
    }
    int at = r->diff ? 2 : 0;
    if (*argc <= at)
        return cli_usage("replay", r->diff ? "--diff takes two scripts and a recording" : "no recording is named");
    told_file(&r->run, (*argv)[at]);
    if (r->diff)
        return -1;
    ++*argv;
    --*argc;
    return -1;
}

static int run(struct replaying *r, int argc, char **argv)
{
    int status = take_file(r, &argc, &argv);
    if (status < 0 && told_zone(&r->run) != EXIT_OK)
        return EXIT_USAGE;
    if (status < 0)
        status = told_times(&r->run, r->from, r->to, "replay");
    if (status >= 0)
        return status;
    if (r->diff)
        return argc == 3 ? diff(r, argv) : cli_usage("replay", "--diff takes two scripts and a recording");
    r->run.scripts = argv;
    r->run.scripts_len = argc;
    if (r->bisect && r->input)
        return cli_usage("replay", "--bisect takes a recording: the input can be read once only");
    if (r->bisect && !argc && !r->run.lines_len && !r->run.sigma_len)
        return cli_usage("replay", "--bisect takes a recording and a script");
    return r->bisect ? bisect(r) : replay(r);
}

int cli_replay(int argc, char **argv)
{
    struct replaying *r = calloc(1, sizeof *r);
    int option, status = -1;
    if (!r) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    told_init(&r->run);
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "e:qh", long_options, NULL)) != -1)
        status = take_option(r, option);
    if (status < 0 && r->json && r->text)
        status = cli_usage("replay", "--json and --text exclude each other");
    if (status < 0 && r->diff && r->input)
        status = cli_usage("replay", "--diff takes a recording: the input can be read once only");
    if (status < 0)
        status = run(r, argc - optind, argv + optind);
    free(r);
    return status;
}
