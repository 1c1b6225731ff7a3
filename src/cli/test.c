/* test.c - runs the tests of scripts, and tells it as the Test Anything Protocol does. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch test FILE|DIRECTORY...\n"
    "\n"
    "Runs scripts with made-up events: NAME.lua with the tests in NAME_test.lua, or\n"
    "each pair of a directory. A test file returns a list:\n"
    "\n"
    "  return {\n"
    "    { name = \"what it claims\",\n"
    "      events = { { type = \"exec\", comm = \"sh\", parent = { comm = \"nginx\" } } },\n"
    "      alerts = 1 },\n"
    "  }\n"
    "\n"
    "Events have the fields of `moonwatch fields`; what is left out is filled in\n"
    "(type: exec). A `parent` was running before; the same table twice is the same\n"
    "process. Events are a second apart; at = \"5m\" says when, from the beginning.\n"
    "A test says how many `alerts` there are to be, or `output`: a text or a list of\n"
    "texts to be found in what the script writes; `errors` if it is to throw some;\n"
    "`options` are what mw.option gives. Nothing is watched and no privilege needed;\n"
    "questions such as ev:sockets() have no answer, and no timer is ever due.\n"
    "\n"
    "  -v, --verbose  show what each script writes\n"
    "  -h, --help     this text\n"
    "\n"
    "Exit status: 0 all passed; 1 some did not; 2 wrong command line; 3 a script or\n"
    "test is wrong.\n";

struct report {
    int number, failed, wrong;
    bool verbose;
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

static void print(void *ctx, const struct moonwatch_tested_case *t)
{
    struct report *report = ctx;
    bool passed = t->verdict == MOONWATCH_PASSED;
    const char *slash = strrchr(t->script, '/');
    printf("%sok %d - ", passed ? "" : "not ", ++report->number);
    print_description(slash ? slash + 1 : t->script);
    fputs(": ", stdout);
    print_description(t->name);
    putchar('\n');
    report->failed += !passed;
    report->wrong += t->verdict == MOONWATCH_WRONG;
    print_comment(t->why);
    if ((report->verbose || !passed) && *t->output) {
        puts("# it wrote");
        print_comment(t->output);
    }
}

static int run(struct report *report, const char *const *paths, int n)
{
    struct moonwatch_test_options options = { .size = sizeof options, .tested = print, .ctx = report };
    if (moonwatch_test(paths, n, &options) < 0) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    printf("1..%d\n", report->number);
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return report->wrong ? EXIT_SCRIPT : report->failed ? EXIT_FAILED : EXIT_OK;
}

int cli_test(int argc, char **argv)
{
    static const struct option options[] = {
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct report report = { 0 };
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        }
        if (option != 'v')
            return EXIT_USAGE;
        report.verbose = true;
    }
    if (optind == argc)
        return cli_usage("test", "no script is named");
    return run(&report, (const char *const *)argv + optind, argc - optind);
}
