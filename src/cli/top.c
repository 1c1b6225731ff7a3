/* top.c - what the scripts of a running watch cost and tell, once a second. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/screen.h"
#include "cli/terminal.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch top [options]\n"
    "\n"
    "Shows the workers and scripts of a running `moonwatch run`, once a second:\n"
    "calls in a second, the time that half and 99 of 100 calls stay below, errors,\n"
    "alerts, memory, and how far behind the workers are. q or Ctrl-C ends it. Into a\n"
    "pipe or a file it writes one table after another.\n"
    "\n"
    "      --control PATH  where the watch listens ($MOONWATCH_CONTROL, or the usual\n"
    "                      place)\n"
    "      --every SPAN    how often (1s)\n"
    "  -n COUNT            end after so many; without a screen of its own\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0; 1 the output cannot be written; 2 wrong command line; 5 no\n"
    "watch answers there, or it has ended.\n";

struct top {
    const char *control;
    double every;
    long count; /* 0: no end */
    bool screen;
    struct client_link link;
    struct value *last; /* owned */
    double last_at;
    char why[512]; /* the watch is gone, or refuses */
};

/* One frame goes out whole: nothing flickers. */
static void print_frame(const struct top *t, const struct value *status, double seconds)
{
    char *text = NULL;
    size_t len = 0;
    struct screen screen = { .to = open_memstream(&text, &len), .end = "\n", .colour = cli_colour() };
    if (!screen.to)
        return;
    if (t->screen) {
        terminal_size(&screen.columns, &screen.rows);
        screen.rows -= 1; /* a newline behind the last one would scroll */
        screen.end = "\x1b[K\n";
        fputs("\x1b[H", screen.to);
    }
    screen_status(&screen, status, t->last, seconds);
    fputs(t->screen ? "\x1b[J" : "\n", screen.to);
    if (fclose(screen.to) == 0) {
        fwrite(text, 1, len, stdout);
        fflush(stdout);
    }
    free(text);
}

/* 0; EXIT_ABSENT: the watch is gone; EXIT_FAILED: it refuses. */
static int look(struct top *t, bool print)
{
    static const char *const words[] = { "status" };
    bool gone;
    struct value *status = client_order(&t->link, words, 1, t->why, sizeof t->why, &gone);
    double at = terminal_clock();
    if (!status)
        return gone ? EXIT_ABSENT : EXIT_FAILED;
    if (print)
        print_frame(t, status, at - t->last_at);
    value_free(t->last);
    t->last = status;
    t->last_at = at;
    return ferror(stdout) ? EXIT_FAILED : EXIT_OK;
}

/* Keys, or nothing but time. True: the end is wanted. */
static bool rest(const struct top *t)
{
    double until = terminal_clock() + t->every;
    if (!t->screen) {
        struct timespec span = { .tv_sec = (time_t)t->every };
        span.tv_nsec = (long)((t->every - (double)span.tv_sec) * 1e9);
        while (nanosleep(&span, &span) < 0 && errno == EINTR)
            ;
        return false;
    }
    for (double left = t->every; left > 0; left = until - terminal_clock()) {
        int key = terminal_key(left);
        if (key == 'q' || key == 'Q' || key == 3 || key == -1)
            return true;
        if (key == -2 || key == ' ')
            return false;
    }
    return false;
}

static int run(struct top *t)
{
    int status = look(t, t->screen); /* rates need two looks */
    for (long n = 0; status == EXIT_OK && (!t->count || n < t->count); n++) {
        if (rest(t))
            break;
        status = look(t, true);
    }
    terminal_give();
    if (*t->why)
        cli_say("%s", t->why);
    else if (status != EXIT_OK)
        cli_say("cannot write the output: %s", strerror(errno));
    return status;
}

/* -1: go on; else an exit status. */
static int parse(struct top *t, int argc, char **argv)
{
    static const struct option options[] = {
        { "control", required_argument, NULL, 'c' },
        { "every", required_argument, NULL, 'e' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    char *end;
    optind = 1;
    while ((option = getopt_long(argc, argv, "n:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            t->control = optarg;
            break;
        case 'e':
            t->every = cli_seconds(optarg);
            if (t->every < 0.05 || t->every > 3600)
                return cli_usage("top", "--every takes a span from 50ms to 1h, not '%s'", optarg);
            break;
        case 'n':
            t->count = strtol(optarg, &end, 10);
            if (*end || t->count < 1)
                return cli_usage("top", "-n takes a number, not '%s'", optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    return optind < argc ? cli_usage("top", "'%s' is one too many", argv[optind]) : -1;
}

int cli_top(int argc, char **argv)
{
    struct top t = { .every = 1 };
    int status = parse(&t, argc, argv);
    if (status >= 0)
        return status;
    setlocale(LC_CTYPE, "");
    status = client_connect(&t.link, t.control);
    if (status != EXIT_OK)
        return status;
    t.screen = !t.count && terminal_take();
    status = run(&t);
    value_free(t.last);
    client_close(&t.link);
    return status;
}
