/* ctl.c - orders to a running watch, and the trial of a new version beside the old one. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/screen.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch ctl [options] ORDER\n"
    "\n"
    "Gives an order to a running `moonwatch run`:\n"
    "\n"
    "  status        the watch, its workers and its scripts, with means since the\n"
    "                start\n"
    "  top           the same, live: `moonwatch top`\n"
    "  reload        look at the files of scripts now, instead of when they change\n"
    "  disable NAME  switch a script off; enable NAME: on again\n"
    "  shadow FILE   run a new version of a script beside the one with this file name\n"
    "  diff NAME     the alerts of the two; + only of the new one, - only of the old\n"
    "                one\n"
    "  promote NAME  the new version becomes the script; drop NAME: it goes\n"
    "  dump SPAN     write the last 30s, 5m, ... that the flight recorder has into a\n"
    "                file for `moonwatch replay`\n"
    "\n"
    "      --control PATH  where the watch listens ($MOONWATCH_CONTROL, or the usual\n"
    "                      place)\n"
    "      --pid N         with `dump`: all of this process, its ancestors and its\n"
    "                      descendants, however early it was\n"
    "      --after SPAN    with `dump`: wait for so long and write that, too (25s at\n"
    "                      most)\n"
    "      --json          the answer as it comes\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0; 1 refused; 2 wrong command line; 5 no watch answers there.\n";

static const char reload_usage[] =
    "usage: moonwatch reload [--control PATH]\n"
    "       moonwatch reload --shadow SPAN FILE\n"
    "\n"
    "Without a file, a running `moonwatch run` looks at the files of its scripts\n"
    "now. With --shadow, FILE runs for so long beside the script of the same file\n"
    "name, on the same events, and tells nobody; then their alerts are compared: +\n"
    "only of the new one, - only of the old one. It goes on until `moonwatch ctl\n"
    "promote NAME` or `moonwatch ctl drop NAME`. Who promotes should put the file in\n"
    "the old one's place then: the next change of that brings its own text.\n"
    "\n"
    "      --shadow SPAN   run it beside the old version for 60s, 10m ...\n"
    "      --promote       promote it at the end when it told no less than the old\n"
    "                      one\n"
    "      --drop          drop it at the end in any other case, or if --promote is\n"
    "                      not given\n"
    "      --control PATH  where the watch listens ($MOONWATCH_CONTROL, or the usual\n"
    "                      place)\n"
    "      --json          the comparison as it comes\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 the two told the same; 1 they did not, or it was refused; 2\n"
    "wrong command line; 5 no watch answers there.\n";

struct request {
    const char *control;
    bool json, promote, drop;
    double shadow; /* seconds; 0: none */
    double after;  /* the same, of `dump` */
    const char *pid; /* or NULL */
};

/* --- answers -------------------------------------------------------------------------------------- */

static void print_status(const struct value *status)
{
    struct screen screen = { .to = stdout, .columns = cli_columns(), .end = "\n", .colour = cli_colour() };
    setlocale(LC_CTYPE, "");
    screen_status(&screen, status, NULL, 0);
}

struct alert {
    char mark; /* '-' only of the old one, '+' only of the new one */
    const char *text;
    long long event; /* "high event 17 pid 4 sh: text" -> 17 */
};

static int compare_alerts(const void *a, const void *b)
{
    const struct alert *left = a, *right = b;
    if (left->event != right->event)
        return left->event < right->event ? -1 : 1;
    return left->mark != right->mark ? right->mark - left->mark : strcmp(left->text, right->text);
}

static int take_alerts(struct alert *to, const struct value *list, char mark)
{
    int n = 0;
    for (const struct value *one = list ? list->first : NULL; one; one = one->next, n++) {
        const char *text = one->text ? one->text : "?", *event = strstr(text, " event ");
        to[n] = (struct alert){ mark, text, event ? strtoll(event + 7, NULL, 10) : 0 };
    }
    return n;
}

/* In the order of their events: what of the two belongs together stands together. */
static void print_alerts(const struct value *old, const struct value *fresh)
{
    struct alert *all = calloc((size_t)(value_count(old) + value_count(fresh)) + 1, sizeof *all);
    if (!all)
        return;
    int n = take_alerts(all, old, '-');
    n += take_alerts(all + n, fresh, '+');
    qsort(all, (size_t)n, sizeof *all, compare_alerts);
    for (int i = 0; i < n; i++) {
        printf("%c ", all[i].mark);
        cli_put(stdout, all[i].text);
        putchar('\n');
    }
    free(all);
}

static void print_difference(const struct value *diff)
{
    print_alerts(value_get(diff, "only_old"), value_get(diff, "only_new"));
    printf("alerts of both %.0f, only of the old one %d, only of the new one %d", value_number(diff, "both"),
           value_count(value_get(diff, "only_old")), value_count(value_get(diff, "only_new")));
    if (value_number(diff, "lost") > 0)
        printf("; %.0f more were too many to be compared", value_number(diff, "lost"));
    putchar('\n');
}

/* "{ "changed": 1, "refused": ["..."] }" */
static int print_reload(const struct value *result)
{
    const struct value *refused = value_get(result, "refused");
    if (value_get(result, "changed"))
        printf("%.0f script%s changed\n", value_number(result, "changed"),
               value_number(result, "changed") == 1 ? "" : "s");
    for (const struct value *text = refused ? refused->first : NULL; text; text = text->next)
        cli_say("%s", text->text ? text->text : "?");
    return value_count(refused) ? EXIT_FAILED : EXIT_OK;
}

static void print_path(const struct value *result)
{
    cli_put(stdout, value_text(result, "path"));
    putchar('\n');
}

static int print_answer(const char *order, const struct value *result)
{
    if (!strcmp(order, "status"))
        print_status(result);
    else if (!strcmp(order, "diff"))
        print_difference(result);
    else if (!strcmp(order, "reload"))
        return print_reload(result);
    else if (!strcmp(order, "dump"))
        print_path(result);
    return EXIT_OK;
}

static int finish(int status)
{
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return status;
}

/* --- orders ------------------------------------------------------------------------------------------ */

static int give(struct client_link *link, const struct request *r, const char *const *words, int n)
{
    struct value *result = NULL;
    int status = client_ask(link, words, n, &result);
    if (status == EXIT_OK && r->json) { /* what is between {"ok":true,"result": and } */
        const char *from = strstr(link->text, "\"result\":");
        printf("%.*s\n", (int)(strlen(from) - 10), from + 9);
    } else if (status == EXIT_OK) {
        status = print_answer(words[0], result);
    }
    value_free(result);
    return status;
}

/* The watch runs elsewhere: a path must not depend on where we are. */
static const char *absolute(const char *path, char *to)
{
    return realpath(path, to) ? to : path;
}

static const struct {
    const char *name;
    int words;
    bool file;
} orders[] = {
    { "status", 1, false },  { "reload", 1, false }, { "disable", 2, false }, { "enable", 2, false },
    { "shadow", 2, true },   { "diff", 2, false },   { "promote", 2, false }, { "drop", 2, false },
};

/* BEFORE, PID (-1: none) and AFTER, as numbers. */
static int order_dump(const struct request *r, int argc, char **argv)
{
    char before[32], after[32];
    double seconds = argc == 2 ? cli_seconds(argv[1]) : -1;
    if (seconds <= 0 || seconds > 86400 * 30)
        return cli_usage("ctl", "dump takes a span such as 30s or 5m");
    snprintf(before, sizeof before, "%.3f", seconds);
    snprintf(after, sizeof after, "%.3f", r->after);
    const char *words[] = { "dump", before, r->pid ? r->pid : "-1", after };
    struct client_link link;
    int status = client_connect(&link, r->control);
    if (status == EXIT_OK)
        status = give(&link, r, words, 4);
    client_close(&link);
    return finish(status);
}

static int order(const struct request *r, int argc, char **argv)
{
    char path[PATH_MAX];
    const char *words[2] = { argv[0], argc > 1 ? argv[1] : NULL };
    size_t i = 0;
    if (!strcmp(argv[0], "dump"))
        return order_dump(r, argc, argv);
    while (i < sizeof orders / sizeof *orders && strcmp(orders[i].name, argv[0]))
        i++;
    if (i == sizeof orders / sizeof *orders)
        return cli_usage("ctl", "there is no order '%s'", argv[0]);
    if (argc != orders[i].words)
        return cli_usage("ctl", orders[i].words == 1 ? "%s takes no name" : "%s takes one name", argv[0]);
    if (orders[i].file)
        words[1] = absolute(words[1], path);

    struct client_link link;
    int status = client_connect(&link, r->control);
    if (status == EXIT_OK)
        status = give(&link, r, words, argc);
    client_close(&link);
    return finish(status);
}

/* --- the command line ---------------------------------------------------------------------------------- */

static const struct option options[] = {
    { "control", required_argument, NULL, 'c' },
    { "json", no_argument, NULL, 'j' },
    { "shadow", required_argument, NULL, 's' },
    { "promote", no_argument, NULL, 'p' },
    { "drop", no_argument, NULL, 'd' },
    { "pid", required_argument, NULL, 'P' },
    { "after", required_argument, NULL, 'a' },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* -1: go on; else an exit status. */
static int take_option(struct request *r, int option, const char *command, const char *help)
{
    switch (option) {
    case 'c':
        r->control = optarg;
        return -1;
    case 'j':
        r->json = true;
        return -1;
    case 'p':
        r->promote = true;
        return -1;
    case 'd':
        r->drop = true;
        return -1;
    case 's':
        r->shadow = cli_seconds(optarg);
        if (r->shadow <= 0 || r->shadow > 86400 * 7)
            return cli_usage(command, "--shadow takes a span such as 60s or 10m, not '%s'", optarg);
        return -1;
    case 'P':
        r->pid = optarg;
        return atoi(optarg) > 0 ? -1 : cli_usage(command, "--pid takes the number of a process, not '%s'", optarg);
    case 'a':
        r->after = cli_seconds(optarg);
        return r->after > 0 && r->after <= 25
                   ? -1
                   : cli_usage(command, "--after takes a span of 25s at most, not '%s'", optarg);
    case 'h':
        fputs(help, stdout);
        return EXIT_OK;
    default:
        return EXIT_USAGE;
    }
}

static int parse(struct request *r, int argc, char **argv, const char *command, const char *help)
{
    int option, status = -1;
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "+h", options, NULL)) != -1)
        status = take_option(r, option, command, help);
    return status;
}

int cli_ctl(int argc, char **argv)
{
    struct request r = { 0 };
    int status = parse(&r, argc, argv, "ctl", usage);
    if (status >= 0)
        return status;
    if (r.shadow > 0 || r.promote || r.drop)
        return cli_usage("ctl", "--shadow, --promote and --drop belong to `moonwatch reload`");
    if ((r.pid || r.after > 0) && (optind == argc || strcmp(argv[optind], "dump")))
        return cli_usage("ctl", "--pid and --after belong to `dump`");
    if (optind == argc)
        return cli_usage("ctl", "no order is given");
    argc -= optind;
    argv += optind;
    if (strcmp(argv[0], "top"))
        return order(&r, argc, argv);
    char *top[] = { "top", "--control", (char *)r.control, NULL };
    return cli_top(r.control ? 3 : 1, top);
}

/* --- a version beside the other --------------------------------------------------------------------------- */

static void wait_for(double seconds)
{
    struct timespec left = { .tv_sec = (time_t)seconds };
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static bool is_equal(const struct value *diff)
{
    return !value_count(value_get(diff, "only_old")) && !value_count(value_get(diff, "only_new")) &&
           value_number(diff, "lost") == 0;
}

static bool tells_no_less(const struct value *diff)
{
    return !value_count(value_get(diff, "only_old")) && value_number(diff, "lost") == 0;
}

/* What the script is called that FILE runs beside: the one with the same file name. */
static bool find_name(struct client_link *link, const char *file, char *name, size_t cap)
{
    const char *words[] = { "status" }, *slash = strrchr(file, '/');
    struct value *status = NULL;
    *name = '\0';
    if (client_ask(link, words, 1, &status) != EXIT_OK)
        return false;
    const struct value *scripts = value_get(status, "scripts");
    for (const struct value *s = scripts ? scripts->first : NULL; s && !*name; s = s->next) {
        const char *path = value_text(s, "path"), *base = strrchr(path, '/');
        if (!strcmp(base ? base + 1 : path, slash ? slash + 1 : file) && !strcmp(value_text(s, "state"), "shadow"))
            snprintf(name, cap, "%s", value_text(s, "name"));
    }
    value_free(status);
    if (!*name)
        cli_say("%s runs beside no script any more", file);
    return *name;
}

static int decide(struct client_link *link, const struct request *r, const char *name, const struct value *diff)
{
    bool promote = r->promote && tells_no_less(diff);
    struct value *result = NULL;
    if (!promote && !r->drop) {
        if (!r->json)
            printf("it goes on beside the old one until one of: moonwatch ctl promote '%s'; "
                   "moonwatch ctl drop '%s'\n", name, name);
        return EXIT_OK;
    }
    const char *words[] = { promote ? "promote" : "drop", name };
    int status = client_ask(link, words, 2, &result);
    value_free(result);
    if (status == EXIT_OK && !r->json)
        puts(promote ? "promoted" : "dropped");
    return status;
}

static int compare(struct client_link *link, const struct request *r, const char *name)
{
    const char *diff[] = { "diff", name };
    struct value *result = NULL;
    int status = client_ask(link, diff, 2, &result);
    if (status != EXIT_OK)
        return status;
    if (r->json) {
        const char *from = strstr(link->text, "\"result\":");
        printf("%.*s\n", (int)(strlen(from) - 10), from + 9);
    } else {
        print_difference(result);
    }
    status = decide(link, r, name, result);
    if (status == EXIT_OK && !is_equal(result))
        status = EXIT_FAILED;
    value_free(result);
    return status;
}

static int shadow(const struct request *r, const char *path)
{
    char file[PATH_MAX], name[256];
    struct client_link link;
    struct value *result = NULL;
    int status = client_connect(&link, r->control);
    if (status != EXIT_OK)
        return status;
    const char *begin[] = { "shadow", absolute(path, file) };
    status = client_ask(&link, begin, 2, &result);
    value_free(result);
    if (status == EXIT_OK) {
        if (!r->json)
            printf("%s runs beside the old one for %g s\n", begin[1], r->shadow);
        fflush(stdout);
        wait_for(r->shadow);
        status = find_name(&link, begin[1], name, sizeof name) ? compare(&link, r, name) : EXIT_FAILED;
    }
    client_close(&link);
    return finish(status);
}

int cli_reload(int argc, char **argv)
{
    struct request r = { 0 };
    char *reload[] = { "reload", NULL };
    int status = parse(&r, argc, argv, "reload", reload_usage);
    if (status >= 0)
        return status;
    int n = argc - optind;
    if (r.shadow > 0)
        return n == 1 ? shadow(&r, argv[optind]) : cli_usage("reload", "--shadow takes one file");
    if (n || r.promote || r.drop || r.pid || r.after > 0)
        return cli_usage("reload", "a file, --promote and --drop belong to --shadow");
    return order(&r, 1, reload);
}
