/* test.c - runs the tests of scripts, and tells it as the Test Anything Protocol does. */
#include "cli/cli.h"
#include "cli/covered.h"
#include "cli/junit.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch test [options] FILE|DIRECTORY...\n"
    "\n"
    "Runs the tests of scripts: NAME.lua with those in NAME_test.lua, or each pair\n"
    "of a directory. A test file returns a list:\n"
    "\n"
    "  return {\n"
    "    { name = \"what it claims\",\n"
    "      events = { { type = \"exec\", comm = \"sh\", parent = { comm = \"nginx\" } } },\n"
    "      alerts = { { severity = \"high\", event = { comm = \"sh\" } } } },\n"
    "    { name = \"really run\", commands = { { \"sh\", \"-c\", \"exit\" } }, alerts = 0 },\n"
    "  }\n"
    "\n"
    "What happens:\n"
    "  events     made up, with the fields of `moonwatch fields`; what is left out is\n"
    "             filled in (type: exec). A `parent` was running before; the same\n"
    "             table twice is the same process. They are a second apart; at = \"5m\"\n"
    "             says when, from the beginning\n"
    "  commands   run one after another and watched, which needs the right to; the\n"
    "             script gets the events of these and what they start. What still\n"
    "             runs when the last has ended is killed\n"
    "  recording  a file beside the test: what was asked then is answered again\n"
    "What is to come of it:\n"
    "  alerts     how many; or a list, an entry for each, that says of severity,\n"
    "             text, key, tags and event what matters: a value, or a pattern such\n"
    "             as mw.match.glob \"/tmp/*\"\n"
    "  output     a text or a list of texts in what the script writes\n"
    "  errors     how many it throws (0)\n"
    "  status     what the commands end with: a number, or one for each\n"
    "`options` are what mw.option gives. Time passes as the events say, questions\n"
    "such as ev:sockets() have no other answer, and a test has 10 s (--timeout).\n"
    "Where commands cannot be watched, the test is skipped.\n"
    "\n"
    "      --baseline FILE    instead of tests: play a recording of a time in which\n"
    "                         all was well to the scripts, and count their alerts\n"
    "      --allow N          with --baseline: so many of them are right (0)\n"
    "      --coverage         say which lines, functions and handlers ran, and which\n"
    "                         ways from a line with a condition were taken\n"
    "      --coverage=FILE    the same, and as lcov's tools read it\n"
    "      --junit FILE       the results as JUnit's XML, too\n"
    "      --timeout SPAN     what a test may take, or an event of a baseline (10s)\n"
    "  -v, --verbose          show what each script writes\n"
    "  -h, --help             this text\n"
    "\n"
    "Results are written as the Test Anything Protocol has them. Exit status: 0 all\n"
    "passed or were skipped; 1 some did not; 2 wrong command line; 3 a script or test\n"
    "is wrong.\n";

struct report {
    int number, failed, wrong;
    bool verbose, cover;
    const char *junit_path, *lcov_path, *baseline; /* or NULL */
    uint64_t allow; /* alerts in the baseline */
    double timeout; /* s; 0: as ever */
    struct junit *junit;                /* owned; or NULL */
    struct covered *covered;            /* owned; or NULL */
};

/* Each line as a comment of TAP. */
static void print_comment(const char *text)
{
    while (*text) {
        char line[4096];
        size_t len = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(len < sizeof line ? len : sizeof line - 1), text);
        fputs("#   ", stdout);
        for (char *tab = line; *tab == '\t'; *tab++ = ' ')
            ;
        cli_put(stdout, line);
        putchar('\n');
        text += len + (text[len] == '\n');
    }
}

/* In a description, TAP takes "# SKIP" and "# TODO" for its own. */
static void print_description(const char *text)
{
    for (size_t len; *text; text += len + (text[len] == '#')) {
        len = strcspn(text, "#");
        char *part = strndup(text, len);
        cli_put(stdout, part ? part : "?");
        free(part);
        if (text[len] == '#')
            fputs("\\#", stdout);
    }
}

static void print_written(const char *text, const char *heading)
{
    if (!*text)
        return;
    printf("# %s\n", heading);
    print_comment(text);
}

static void print(void *ctx, const struct moonwatch_tested_case *t)
{
    struct report *report = ctx;
    bool skipped = t->verdict == MOONWATCH_SKIPPED, passed = skipped || t->verdict == MOONWATCH_PASSED;
    const char *slash = strrchr(t->script, '/');
    printf("%sok %d - ", passed ? "" : "not ", ++report->number);
    print_description(slash ? slash + 1 : t->script);
    fputs(": ", stdout);
    print_description(t->name);
    if (skipped) {
        fputs(" # SKIP ", stdout);
        cli_put(stdout, t->why);
    }
    putchar('\n');
    if (report->junit)
        junit_add(report->junit, t);
    report->failed += !passed;
    report->wrong += t->verdict == MOONWATCH_WRONG;
    if (!skipped)
        print_comment(t->why);
    print_written(report->verbose || !passed ? t->output : "", "it wrote");
    print_written(report->verbose || !passed ? t->commands : "", "its commands wrote");
}

static void on_covered(void *ctx, const struct moonwatch_covered_part *part)
{
    struct report *report = ctx;
    covered_take(report->covered, part);
}

/* Files that cannot be written are said before anything is run. */
static int open_files(struct report *report)
{
    int result = report->junit_path ? junit_new(&report->junit, report->junit_path) : 0;
    if (result < 0)
        cli_say("cannot write %s: %s", report->junit_path, strerror(-result));
    if (result < 0 || !report->cover)
        return result;
    result = covered_new(&report->covered, report->lcov_path);
    if (result < 0)
        cli_say("cannot write %s: %s", report->lcov_path ? report->lcov_path : "the summary", strerror(-result));
    return result;
}

static int close_files(struct report *report)
{
    int junit = report->junit ? junit_end(report->junit) : 0;
    int lcov = report->covered ? covered_end(report->covered) : 0;
    if (junit < 0)
        cli_say("cannot write %s: %s", report->junit_path, strerror(-junit));
    if (lcov < 0)
        cli_say("cannot write %s: %s", report->lcov_path, strerror(-lcov));
    return junit < 0 || lcov < 0 ? -EIO : 0;
}

static int run_all(struct report *report, const char *const *paths, int n)
{
    struct moonwatch_test_options options = { .size = sizeof options, .tested = print, .ctx = report,
                                              .baseline = report->baseline, .allow = report->allow,
                                              .timeout = report->timeout };
    options.covered = report->covered ? on_covered : NULL;
    int result = moonwatch_test(paths, n, &options);
    int files = close_files(report);
    printf("1..%d\n", report->number);
    if (result < 0)
        cli_say("not enough memory");
    if (files < 0 || result < 0)
        return EXIT_FAILED;
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return report->wrong ? EXIT_SCRIPT : report->failed ? EXIT_FAILED : EXIT_OK;
}

static int run(struct report *report, const char *const *paths, int n)
{
    int status = open_files(report) < 0 ? EXIT_FAILED : run_all(report, paths, n);
    junit_free(report->junit);
    covered_free(report->covered);
    return status;
}

static bool parse_count(const char *text, uint64_t *to)
{
    char *end;
    errno = 0;
    *to = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

int cli_test(int argc, char **argv)
{
    enum { COVERAGE = 256, JUNIT, BASELINE, ALLOW, TIMEOUT };
    static const struct option options[] = {
        { "baseline", required_argument, NULL, BASELINE },
        { "allow", required_argument, NULL, ALLOW },
        { "coverage", optional_argument, NULL, COVERAGE },
        { "junit", required_argument, NULL, JUNIT },
        { "timeout", required_argument, NULL, TIMEOUT },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct report report = { 0 };
    bool allows = false;
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        switch (option) {
        case COVERAGE:
            report.cover = true;
            report.lcov_path = optarg;
            break;
        case BASELINE:
            report.baseline = optarg;
            break;
        case ALLOW:
            if (!parse_count(optarg, &report.allow))
                return cli_usage("test", "--allow takes how many alerts there may be, not '%s'", optarg);
            allows = true;
            break;
        case JUNIT:
            report.junit_path = optarg;
            break;
        case TIMEOUT:
            report.timeout = cli_seconds(optarg);
            if (report.timeout <= 0)
                return cli_usage("test", "--timeout takes a span such as 10s or 5m, not '%s'", optarg);
            break;
        case 'v':
            report.verbose = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return cli_usage("test", "no script is named");
    if (allows && !report.baseline)
        return cli_usage("test", "--allow belongs to --baseline");
    return run(&report, (const char *const *)argv + optind, argc - optind);
}
