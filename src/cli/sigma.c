/* sigma.c - Sigma rules: which fit these events, what is wrong with them, why one fits or does not.
 */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch sigma match [options] RULES... EVENTS\n"
    "       moonwatch sigma explain [options] RULES... EVENTS\n"
    "       moonwatch sigma check [options] RULES...\n"
    "\n"
    "RULES are files of Sigma rules, or directories: each *.yml and *.yaml below\n"
    "them. EVENTS is a file with one JSON object on a line, or - for standard input:\n"
    "with the names that Sigma has for the fields of a process, or ours, or those of\n"
    "ECS, as `moonwatch --json` writes them.\n"
    "\n"
    "match prints a line `rule id<TAB>event id` for each rule that fits an event; the\n"
    "id of an event is its \"id\", else the number of its line.\n"
    "\n"
    "explain says of each branch of a rule whether it is true, false or undecided,\n"
    "and what was found where; a rule is undecided when it depends on a field that\n"
    "the event does not have.\n"
    "\n"
    "check finds rules that can never fire here, rules that say the same, regular\n"
    "expressions that take long, and parts that change nothing.\n"
    "\n"
    "      --rule ID       explain: this rule only, by id, name or title\n"
    "      --event ID      explain: this event only\n"
    "      --expand NAME=VALUE\n"
    "                      what %NAME% stands for in values with the modifier expand;\n"
    "                      may be given more than once, also for one name\n"
    "      --json          check: one JSON object per remark\n"
    "  -q, --quiet         match, explain: do not say which rules were left out\n"
    "  -h, --help          this text\n"
    "\n"
    "Rules that cannot be taken are told on stderr with file, line and reason, and\n"
    "left out. Exit status: 0; 1 check found errors or warnings, or the output cannot\n"
    "be written; 2 wrong command line; 3 rules or events cannot be read.\n";

struct asked {
    const char *expand[256];
    int expand_len;
    const char *rule, *event;
    bool json, quiet;
};

/* --- what is said of rules -------------------------------------------------------------------- */

/* Rules about other records, by what these are. */
#define OTHERS_MAX 6
struct leaving {
    bool quiet;
    int skipped;
    struct {
        char name[64];
        int count;
    } others[OTHERS_MAX];
};

static void count_other(struct leaving *l, const char *name)
{
    l->skipped++;
    for (int i = 0; i < OTHERS_MAX; i++) {
        if (!l->others[i].count)
            snprintf(l->others[i].name, sizeof l->others[i].name, "%s", name);
        if (!strcmp(l->others[i].name, name)) {
            l->others[i].count++;
            return;
        }
    }
}

static void on_remark(void *ctx, const struct moonwatch_sigma_remark *r)
{
    struct leaving *l = ctx;
    if (r->kind == MOONWATCH_SIGMA_SKIPPED)
        count_other(l, r->text);
    else if (!l->quiet)
        cli_say("%s:%d:%d: %s%s%s%s", r->path, r->line, r->column, r->text, *r->title ? " (" : "",
                r->title, *r->title ? ")" : "");
}

static void say_skipped(const struct leaving *l)
{
    char text[OTHERS_MAX * 80] = "";
    size_t len = 0;
    int told = 0;
    for (int i = 0; i < OTHERS_MAX && l->others[i].count && len < sizeof text; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %d", i ? ", " : "",
                                l->others[i].name, l->others[i].count);
        told += l->others[i].count;
    }
    if (l->skipped && !l->quiet)
        cli_say("%d rule%s left out, being about other records: %s%s", l->skipped,
                l->skipped == 1 ? " is" : "s are", text, told < l->skipped ? ", ..." : "");
}

/* NULL: it was said why not. */
static struct moonwatch_sigma *load(const struct asked *a, const char *const *paths, int len)
{
    struct leaving leaving = { .quiet = a->quiet };
    struct moonwatch_sigma *s = NULL;
    struct moonwatch_sigma_rule rule;
    char why[512] = "";
    if (moonwatch_sigma_load(&s, paths, len, a->expand, a->expand_len, on_remark, &leaving, why,
                             sizeof why) < 0) {
        cli_say("%s", why);
        return NULL;
    }
    say_skipped(&leaving);
    if (moonwatch_sigma_rule_at(s, 0, &rule))
        return s;
    cli_say("there is no rule that could be used");
    moonwatch_sigma_free(s);
    return NULL;
}

/* --- events ----------------------------------------------------------------------------------- */

struct events {
    const struct asked *asked;
    struct moonwatch_sigma *s;
    const char *path;
    long line; /* of the one that is looked at */
    int bad;
};

typedef void on_event(struct events *e, const char *json, size_t len);

static void say_bad(struct events *e, const char *why)
{
    if (e->bad++ < 10)
        cli_say("%s:%ld: %s", e->path, e->line, why);
}

static bool is_blank(const char *line, size_t len)
{
    return strspn(line, " \t\r\n") == len; /* a NUL is no blank */
}

static int each_event(struct events *e, on_event *f)
{
    bool input = !strcmp(e->path, "-");
    FILE *from = input ? stdin : fopen(e->path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    if (!from) {
        cli_say("cannot read '%s': %s", e->path, strerror(errno));
        return EXIT_SCRIPT;
    }
    for (errno = 0; (len = getline(&line, &cap, from)) > 0; errno = 0) {
        e->line++;
        if (!is_blank(line, (size_t)len))
            f(e, line, (size_t)len);
    }
    int error = ferror(from) ? errno : 0;
    if (error)
        cli_say("cannot read '%s': %s", e->path, strerror(error));
    free(line);
    if (!input)
        fclose(from);
    return e->bad || error ? EXIT_SCRIPT : EXIT_OK;
}

static int finish(struct moonwatch_sigma *s, int status)
{
    moonwatch_sigma_free(s);
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return status;
}

/* --- match ------------------------------------------------------------------------------------ */

static void on_fired(void *ctx, const struct moonwatch_sigma_rule *rule, const char *id)
{
    const struct events *e = ctx;
    cli_put(stdout, rule->id);
    putchar('\t');
    if (id)
        cli_put(stdout, id);
    else
        printf("%ld", e->line);
    putchar('\n');
}

static void match(struct events *e, const char *json, size_t len)
{
    char why[256];
    if (moonwatch_sigma_match(e->s, json, len, on_fired, e, why, sizeof why) < 0)
        say_bad(e, why);
}

static int command_match(const struct asked *a, char **args, int len)
{
    if (len < 2)
        return cli_usage("sigma", "match takes rules and a file of events");
    struct events e = { .asked = a, .path = args[len - 1] };
    e.s = load(a, (const char *const *)args, len - 1);
    return e.s ? finish(e.s, each_event(&e, match)) : EXIT_SCRIPT;
}

/* --- explain ---------------------------------------------------------------------------------- */

static bool is_called(const struct moonwatch_sigma_rule *rule, const char *name)
{
    return !strcmp(rule->id, name) || !strcmp(rule->title, name);
}

static void explain_rule(struct events *e, int number, const struct moonwatch_sigma_rule *rule,
                         const char *id, const char *json, size_t len)
{
    char why[256];
    char *text = moonwatch_sigma_explain(e->s, number, json, len, why, sizeof why);
    if (!text) {
        say_bad(e, why);
        return;
    }
    cli_put(stdout, rule->title);
    fputs(" (", stdout);
    cli_put(stdout, rule->id);
    fputs(*rule->author ? ") by " : ")", stdout);
    cli_put(stdout, rule->author);
    fputs(", event ", stdout);
    cli_put(stdout, id);
    fputs("\n", stdout);
    for (char *line = text, *end; *line; line = end + 1) {
        end = line + strcspn(line, "\n");
        bool last = !*end;
        *end = '\0';
        fputs("  ", stdout);
        cli_put(stdout, line);
        putchar('\n');
        if (last)
            break;
    }
    free(text);
}

static void explain(struct events *e, const char *json, size_t len)
{
    struct moonwatch_sigma_rule rule;
    char id[256], why[256];
    if (moonwatch_sigma_event_id(e->s, json, len, id, sizeof id, why, sizeof why) < 0) {
        say_bad(e, why);
        return;
    }
    if (!*id)
        snprintf(id, sizeof id, "%ld", e->line);
    if (e->asked->event && strcmp(id, e->asked->event))
        return;
    for (int i = 0; moonwatch_sigma_rule_at(e->s, i, &rule); i++)
        if (!e->asked->rule || is_called(&rule, e->asked->rule))
            explain_rule(e, i, &rule, id, json, len);
}

static int command_explain(const struct asked *a, char **args, int len)
{
    struct moonwatch_sigma_rule rule;
    bool found = !a->rule;
    if (len < 2)
        return cli_usage("sigma", "explain takes rules and a file of events");
    struct events e = { .asked = a, .path = args[len - 1] };
    e.s = load(a, (const char *const *)args, len - 1);
    if (!e.s)
        return EXIT_SCRIPT;
    for (int i = 0; !found && moonwatch_sigma_rule_at(e.s, i, &rule); i++)
        found = is_called(&rule, a->rule);
    if (!found) {
        cli_say("no rule has the id or title '%s'", a->rule);
        return finish(e.s, EXIT_SCRIPT);
    }
    return finish(e.s, each_event(&e, explain));
}

/* --- check ------------------------------------------------------------------------------------ */

static int command_check(const struct asked *a, char **args, int len)
{
    struct cli_remarks remarks = { .json = a->json, .colour = cli_colour() };
    char why[512] = "";
    if (len < 1)
        return cli_usage("sigma", "check takes rules");
    if (moonwatch_sigma_check((const char *const *)args, len, a->expand, a->expand_len, cli_remark,
                              &remarks, why, sizeof why) < 0) {
        cli_say("%s", why);
        return EXIT_SCRIPT;
    }
    return cli_remarks_end(&remarks);
}

/* --- the command line ------------------------------------------------------------------------- */

static int parse(struct asked *a, int argc, char **argv)
{
    static const struct option options[] = {
        { "rule", required_argument, NULL, 'r' },
        { "event", required_argument, NULL, 'e' },
        { "expand", required_argument, NULL, 'x' },
        { "json", no_argument, NULL, 'j' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            a->rule = optarg;
            break;
        case 'e':
            a->event = optarg;
            break;
        case 'x':
            if (a->expand_len == (int)(sizeof a->expand / sizeof *a->expand))
                return cli_usage("sigma", "more than 256 times --expand");
            a->expand[a->expand_len++] = optarg;
            break;
        case 'j':
            a->json = true;
            break;
        case 'q':
            a->quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    return -1;
}

int cli_sigma(int argc, char **argv)
{
    struct asked asked = { 0 };
    int status = parse(&asked, argc, argv);
    if (status >= 0)
        return status;
    const char *command = optind < argc ? argv[optind] : "";
    char **args = argv + optind + 1;
    int len = argc - optind - 1;
    if (!strcmp(command, "match"))
        return command_match(&asked, args, len);
    if (!strcmp(command, "explain"))
        return command_explain(&asked, args, len);
    if (!strcmp(command, "check"))
        return command_check(&asked, args, len);
    if (*command)
        return cli_usage("sigma", "there are match, explain and check, but no '%s'", command);
    return cli_usage("sigma", "match, explain or check must follow");
}
