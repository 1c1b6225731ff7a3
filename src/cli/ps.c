/* ps.c - the processes that run now, as a list or as a tree, with the fields that events have. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch ps [--json]\n"
    "       moonwatch tree [--json] [PID]\n"
    "\n"
    "Lists every process that runs now, from /proc alone: no privilege is needed,\n"
    "but what may not be read is missing. `tree` shows children below their parents,\n"
    "and with a PID only that process and its descendants. JSON lines have the same\n"
    "fields as the events of a watch.\n"
    "\n"
    "      --json  one JSON object per process (the default of `ps` when the output\n"
    "              is no terminal)\n"
    "      --text  text, into a pipe too\n"
    "  -h, --help  this text\n";

struct process {
    struct moonwatch_event *event; /* owned */
    int64_t pid, ppid;
};

struct list {
    struct process *all; /* owned, in the order of pids */
    int len, cap;
    bool failed;
    enum moonwatch_format format;
    int columns;
    bool colour;
};

/* --- gathering -------------------------------------------------------------------------- */

static int64_t number(const struct moonwatch_event *ev, const char *field)
{
    int64_t value;
    return moonwatch_int(ev, moonwatch_field(field), &value) ? value : -1;
}

static void keep(void *ctx, const struct moonwatch_event *ev)
{
    struct list *list = ctx;
    if (list->len == list->cap) {
        int cap = list->cap ? list->cap * 2 : 256;
        struct process *more = realloc(list->all, (size_t)cap * sizeof *more);
        if (!more) {
            list->failed = true;
            return;
        }
        list->all = more;
        list->cap = cap;
    }
    struct process p = { moonwatch_copy(ev), number(ev, "pid"), number(ev, "ppid") };
    if (p.event)
        list->all[list->len++] = p;
    else
        list->failed = true;
}

/* --- printing --------------------------------------------------------------------------- */

static void print(const struct list *list, const struct moonwatch_event *ev, const char *branch)
{
    char *line = moonwatch_format(ev, list->format, branch, list->columns, list->colour);
    if (line)
        puts(line);
    free(line);
}

static bool is_there(const struct list *list, int64_t pid)
{
    for (int i = 0; i < list->len; i++)
        if (list->all[i].pid == pid)
            return true;
    return false;
}

/* The next child of `pid` from index `from` on, or len. */
static int next_child(const struct list *list, int64_t pid, int from)
{
    while (from < list->len && (list->all[from].ppid != pid || list->all[from].pid == pid))
        from++;
    return from;
}

#define DEEPEST 64

/* `bars` has a char per level above: '|' where more siblings follow, ' ' where none do. */
static void print_below(const struct list *list, int64_t pid, char *bars, int depth)
{
    char branch[DEEPEST * 3 + 4];
    for (int i = next_child(list, pid, 0); i < list->len;) {
        int after = next_child(list, pid, i + 1);
        size_t len = 0;
        for (int level = 0; level < depth; level++) {
            memcpy(branch + len, bars[level] == '|' ? "|  " : "   ", 3);
            len += 3;
        }
        memcpy(branch + len, after < list->len ? "|- " : "`- ", 4);
        print(list, list->all[i].event, list->format == MOONWATCH_PROCESS ? branch : "");
        bars[depth] = after < list->len ? '|' : ' ';
        if (depth + 1 < DEEPEST)
            print_below(list, list->all[i].pid, bars, depth + 1);
        i = after;
    }
}

static void print_tree(const struct list *list, int64_t root)
{
    char bars[DEEPEST];
    for (int i = 0; i < list->len; i++) {
        const struct process *p = &list->all[i];
        if (root ? p->pid != root : (p->ppid != p->pid && is_there(list, p->ppid)))
            continue;
        print(list, p->event, "");
        print_below(list, p->pid, bars, 0);
    }
}

/* --- the commands ----------------------------------------------------------------------- */

static int show(struct list *list, bool tree, int64_t root)
{
    if (root && !is_there(list, root)) {
        cli_say("there is no process %lld", (long long)root);
        return EXIT_FAILED;
    }
    if (list->format == MOONWATCH_PROCESS)
        print(list, NULL, "");
    if (tree)
        print_tree(list, root);
    for (int i = 0; i < list->len && !tree; i++)
        print(list, list->all[i].event, "");
    return EXIT_OK;
}

static int list_processes(struct list *list, bool tree, int64_t root)
{
    int result = moonwatch_processes(keep, list);
    int status = EXIT_FAILED;
    if (result < 0)
        cli_say("cannot read /proc: %s", strerror(-result));
    else if (list->failed)
        cli_say("not enough memory for the list");
    else
        status = show(list, tree, root);
    for (int i = 0; i < list->len; i++)
        free(list->all[i].event);
    free(list->all);
    return status;
}

static int begin(int argc, char **argv, bool tree)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "text", no_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *command = tree ? "tree" : "ps";
    struct list list = { .columns = cli_columns(),
                         .colour = cli_colour(),
                         .format = cli_columns() || tree ? MOONWATCH_PROCESS : MOONWATCH_JSON };
    long long root = 0;
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            list.format = MOONWATCH_JSON;
            break;
        case 't':
            list.format = MOONWATCH_PROCESS;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    if (tree && optind < argc) {
        char *end;
        root = strtoll(argv[optind], &end, 10);
        if (*end || root < 1)
            return cli_usage(command, "'%s' is no pid", argv[optind]);
        optind++;
    }
    if (optind < argc)
        return cli_usage(command, "'%s' is one too many", argv[optind]);
    return list_processes(&list, tree, root);
}

int cli_ps(int argc, char **argv)
{
    return begin(argc, argv, false);
}

int cli_tree(int argc, char **argv)
{
    return begin(argc, argv, true);
}
