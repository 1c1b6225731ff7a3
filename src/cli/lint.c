/* lint.c - what is wrong with scripts, for people and for editors. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch lint [options] FILE|DIRECTORY...\n"
    "\n"
    "Says what is wrong with scripts without running them: what is no Lua; fields,\n"
    "events, methods and functions that do not exist, with those that were meant;\n"
    "fields that the events of a handler never have; what the policy profile lacks;\n"
    "names that are never used; and, as hints, what costs more than it must.\n"
    "luacheck is asked too when it is installed. NAME_test.lua is looked at as a\n"
    "test (see `moonwatch test`). A comment `-- lint: ignore` silences its line.\n"
    "\n"
    "      --json         one JSON object per remark\n"
    "      --trusted      for scripts that are run with all that LuaJIT has\n"
    "      --no-luacheck  our own remarks only\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit status: 0 clean, or hints only; 1 errors or warnings; 2 wrong command\n"
    "line.\n";

static void print_text(const struct cli_remarks *report, const struct moonwatch_remark *r)
{
    static const char *const names[] = { "error", "warning", "hint" };
    static const char *const colours[] = { "\x1b[31m", "\x1b[33m", "\x1b[36m" };
    const char *begin = report->colour ? colours[r->level] : "";
    const char *end = report->colour ? "\x1b[0m" : "";
    cli_put(stdout, r->path);
    printf(":%d:%d: %s%s%s: ", r->line, r->column, begin, names[r->level], end);
    cli_put(stdout, r->text);
    printf(" [%s]\n", r->code);
    if (!*r->source)
        return;
    printf("  %4d | ", r->line);
    cli_put(stdout, r->source);
    printf("\n       | %*s%s^%s\n", r->caret, "", begin, end);
}

void cli_remark(void *ctx, const struct moonwatch_remark *r)
{
    struct cli_remarks *report = ctx;
    report->counts[r->level]++;
    if (report->json)
        puts(r->json);
    else
        print_text(report, r);
}

int cli_remarks_end(const struct cli_remarks *report)
{
    const int *n = report->counts;
    if (!report->json && n[0] + n[1] + n[2])
        printf("%d error%s, %d warning%s, %d hint%s\n", n[0], n[0] == 1 ? "" : "s", n[1],
               n[1] == 1 ? "" : "s", n[2], n[2] == 1 ? "" : "s");
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return n[0] + n[1] ? EXIT_FAILED : EXIT_OK;
}

int cli_lint(int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "trusted", no_argument, NULL, 't' },
        { "no-luacheck", no_argument, NULL, 'n' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct cli_remarks report = { .colour = cli_colour() };
    unsigned flags = MOONWATCH_LINT_LUACHECK;
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            report.json = true;
            break;
        case 't':
            flags |= MOONWATCH_LINT_TRUSTED;
            break;
        case 'n':
            flags &= ~(unsigned)MOONWATCH_LINT_LUACHECK;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return cli_usage("lint", "no script is named");
    if (moonwatch_lint((const char *const *)argv + optind, argc - optind, flags, cli_remark,
                       &report)) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    return cli_remarks_end(&report);
}
