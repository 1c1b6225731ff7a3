/* repl.c - Lua by the line, on live events: of a watch of our own, or of one that runs. */
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/line.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch repl [options]\n"
    "\n"
    "Reads Lua by the line and evaluates it where scripts run. Expressions show their value; `ev` is\n"
    "the last event; on.exec = function(ev) ... end is called for each, until on.exec = nil. Without\n"
    "--control it watches itself; with it, it looks on at a `moonwatch run`.\n"
    "TAB completes, :help tells the rest.\n"
    "\n"
    "      --control PATH  look on at the watch that listens there (\"\": the usual place)\n"
    "      --for SPAN      when the input is no terminal: go on for so long after its end\n"
    "      --user NAME     run as this user (nobody)\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0; 1 the watch broke off, or a line was wrong and the input is no\n"
    "terminal (the others run all the same); 2 wrong command line; 4 the kernel does\n"
    "not let us watch here; 5 no watch answers there.\n";

static const char help[] =
    "  EXPRESSION                       shows its value\n"
    "  STATEMENT                        runs; what is not whole yet goes on in the next line\n"
    "  ev                               the last event; dump(ev) shows all of its fields\n"
    "  on.exec = function(ev) ... end   called for each exec from now on; on.exec = nil: no more\n"
    "  mw.NAME                          the library, as scripts have it; alerts are shown here\n"
    "  :events                          the last 20 events\n"
    "  :fields                          what events carry\n"
    "  :help, :quit                     this; the end (or Ctrl-D)\n"
    "  TAB completes names, Ctrl-C gives a line up\n";

#define POLL_S     0.2
#define LINES_MOST (64 * 1024) /* of one statement */

struct repl {
    const char *control; /* NULL: a watch of our own */
    const char *user;
    double after; /* --for */

    struct ev_loop *loop;
    struct moonwatch *watch;
    struct client_link link;
    struct line *line;
    bool begun, ended, readable, answered;
    bool wrong; /* a line was */
    int status;
    char *answer; /* owned: "=..." or "." or an error */
    int result;   /* of it */
    char *names;  /* owned: what can be completed, NUL-ended one after another */
    size_t names_len;
};

static volatile sig_atomic_t interrupted, terminated;

/* --- asking -------------------------------------------------------------------------------------- */

static void keep_answer(struct repl *r, int result, const char *text)
{
    free(r->answer);
    r->answer = strdup(text);
    r->result = r->answer ? result : -ENOMEM;
    r->answered = true;
}

static void on_reply(void *ctx, int result, const char *text)
{
    keep_answer(ctx, result, text);
}

static void end_repl(struct repl *r, int status)
{
    r->ended = true;
    if (r->status == EXIT_OK)
        r->status = status;
}

static void ask_other(struct repl *r, const char *text)
{
    const char *words[] = { "eval", text };
    char why[4096];
    bool gone;
    struct value *result = client_order(&r->link, words, 2, why, sizeof why, &gone);
    if (result)
        keep_answer(r, 0, result->text ? result->text : "=");
    else
        keep_answer(r, -EINVAL, why);
    if (gone) {
        cli_say("%s", why);
        end_repl(r, EXIT_ABSENT);
    }
    value_free(result);
}

static void ask_own(struct repl *r, const char *text)
{
    const char *words[] = { "eval", text };
    moonwatch_order(r->watch, words, 2, on_reply, r);
    while (!r->answered && !r->ended && !terminated)
        ev_run(r->loop, EVRUN_ONCE);
}

/* Evaluate in the worker. 0, or below: an error; the text is in r->answer, which may be NULL. */
static int ask(struct repl *r, const char *text)
{
    r->answered = false;
    r->result = -ECONNRESET;
    if (r->control)
        ask_other(r, text);
    else
        ask_own(r, text);
    return r->result;
}

/* --- showing ------------------------------------------------------------------------------------- */

/* What came from processes and scripts, line by line. */
static void print_lines(struct repl *r, const char *text)
{
    char *shown = NULL;
    size_t len = 0;
    FILE *to = *text ? open_memstream(&shown, &len) : NULL;
    if (!to)
        return;
    while (*text) {
        size_t wide = strcspn(text, "\n");
        char *one = strndup(text, wide), *rest = one, *part;
        for (int i = 0; (part = strsep(&rest, "\t")); i++) {
            fputs(i ? "    " : "", to);
            cli_put(to, part);
        }
        free(one);
        fputc('\n', to);
        text += wide + (text[wide] == '\n');
    }
    if (fclose(to) == 0)
        line_print(r->line, shown);
    free(shown);
}

/* The sentence without the traceback, which goes through our own code. */
static void print_error(struct repl *r, char *text)
{
    char *below = strstr(text, "\nstack traceback:");
    if (below)
        *below = '\0';
    if (!strncmp(text, "lua/moonwatch/repl.lua:", 23)) /* thrown by the line itself */
        text = strchr(text + 23, ' ') ? strchr(text + 23, ' ') + 1 : text;
    print_lines(r, text);
}

/* What was printed by handlers meanwhile. */
static void poll_lines(struct repl *r)
{
    if (r->ended || ask(r, ":poll") < 0 || !r->answer || *r->answer != '=')
        return;
    print_lines(r, r->answer + 1);
}

/* --- waiting -------------------------------------------------------------------------------------- */

static void on_input(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct repl *r = watcher->data;
    (void)events;
    r->readable = true;
    ev_io_stop(loop, watcher);
}

static void on_time(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
}

static bool can_read(int ms)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    return poll(&input, 1, ms) > 0;
}

/* Events are taken in until there is input, or it is time to look. */
static bool rest_on_loop(struct repl *r)
{
    ev_io input;
    ev_timer time;
    r->readable = false;
    ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
    input.data = r;
    ev_timer_init(&time, on_time, POLL_S, 0);
    ev_io_start(r->loop, &input);
    ev_timer_start(r->loop, &time);
    while (!r->readable && !r->ended && !interrupted && !terminated && ev_is_active(&time))
        ev_run(r->loop, EVRUN_ONCE);
    ev_io_stop(r->loop, &input);
    ev_timer_stop(r->loop, &time);
    return r->readable;
}

/* A file cannot be waited for, and need not be. */
static bool rest(struct repl *r)
{
    if (r->control || can_read(0))
        return can_read((int)(POLL_S * 1000));
    return rest_on_loop(r);
}

static bool wait_for_input(void *ctx)
{
    struct repl *r = ctx;
    while (!r->ended && !terminated) {
        if (interrupted && !line_edits(r->line))
            return false; /* it stays: nothing comes after it */
        if (interrupted) {
            interrupted = 0;
            line_break(r->line);
            return true;
        }
        if (rest(r))
            return true;
        poll_lines(r);
    }
    return false;
}

/* --- completion -------------------------------------------------------------------------------------- */

static void learn_names(struct repl *r)
{
    if (ask(r, ":names") < 0 || !r->answer || *r->answer != '=')
        return;
    free(r->names);
    r->names_len = strlen(r->answer + 1) + 1;
    r->names = strdup(r->answer + 1);
    for (char *c = r->names; c && *c; c++)
        if (*c == '\n')
            *c = '\0';
}

/* `x.` of another name than ev may be an event too: its fields are offered as those of ev. */
static const char *as_known(const char *word, char *to, size_t cap, size_t *skip)
{
    const char *dot = word + strcspn(word, ".:");
    bool other = *dot && strncmp(word, "mw.", 3) && strncmp(word, "on.", 3) && strncmp(word, "ev", 2) && *word != ':';
    *skip = 0;
    if (!other)
        return word;
    const char *last = dot;
    for (const char *c = dot; *c; c++)
        if (*c == '.' || *c == ':')
            last = c;
    snprintf(to, cap, "ev%s", last);
    *skip = (size_t)(last - word);
    return to;
}

static const char *complete(void *ctx, const char *word, int index)
{
    static const char *const commands[] = { ":events", ":fields", ":help", ":quit" };
    static char found[256];
    struct repl *r = ctx;
    char known[160];
    size_t skip;
    for (size_t i = 0; *word == ':' && i < sizeof commands / sizeof *commands; i++)
        if (!strncmp(commands[i], word, strlen(word)) && index-- == 0)
            return commands[i];
    const char *like = as_known(word, known, sizeof known, &skip);
    for (const char *name = r->names; name && name < r->names + r->names_len; name += strlen(name) + 1) {
        if (strncmp(name, like, strlen(like)) || index-- > 0)
            continue;
        if (like == word)
            return name;
        snprintf(found, sizeof found, "%.*s%s", (int)skip, word, name + 2);
        return found;
    }
    return NULL;
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static void print_fields(void)
{
    struct moonwatch_field_info f;
    for (int i = 0; moonwatch_field_at(i, &f); i++)
        printf("  %-11s %-8s %-14s %s\n", f.name, f.type, f.kinds, f.doc);
}

/* A line that begins with a colon. False: the end is wanted. */
static bool run_command(struct repl *r, const char *text)
{
    if (!strcmp(text, ":quit") || !strcmp(text, ":q"))
        return false;
    if (!strcmp(text, ":events")) {
        if (ask(r, text) == 0 && r->answer)
            print_lines(r, r->answer + 1);
    } else if (!strcmp(text, ":fields")) {
        print_fields();
    } else {
        if (strcmp(text, ":help"))
            printf("there is no command %.40s\n", text);
        fputs(help, stdout);
    }
    return true;
}

/* Evaluate what was typed so far. True: it is not whole yet. */
static bool run_text(struct repl *r, const char *text)
{
    int result = ask(r, text);
    if (r->ended || !r->answer)
        return false;
    if (result < 0) {
        print_error(r, r->answer);
        r->wrong = true;
        return false;
    }
    if (*r->answer == '.')
        return true;
    print_lines(r, r->answer + 1);
    return false;
}

static void read_lines(struct repl *r)
{
    char *text = calloc(1, LINES_MOST + 2);
    size_t len = 0;
    bool broken, more = true;
    const char *line;
    while (text && more && (line = line_read(r->line, len ? ">> " : "> ", &broken))) {
        if (broken) {
            len = 0;
            continue;
        }
        line_keep(r->line, line);
        if (!len && *line == ':') {
            more = run_command(r, line);
            continue;
        }
        if (len + strlen(line) + 1 > LINES_MOST) {
            puts("that is too long");
            len = 0;
            continue;
        }
        len += (size_t)sprintf(text + len, "%s%s", len ? "\n" : "", line);
        if (strspn(text, " \t\n") == len || !run_text(r, text))
            len = 0;
        fflush(stdout);
    }
    free(text);
}

/* --- the watch -------------------------------------------------------------------------------------------- */

static void on_end(void *ctx, enum moonwatch_end why)
{
    struct repl *r = ctx;
    if (why != MOONWATCH_STOPPED)
        cli_say("%s", *moonwatch_error(r->watch) ? moonwatch_error(r->watch) : "the watch has ended");
    end_repl(r, why == MOONWATCH_STOPPED ? EXIT_OK : EXIT_FAILED);
    ev_break(r->loop, EVBREAK_ALL);
}

/* Of this script there is only what it asks for: that events of all kinds come, whole. */
static const char asks[] = "local mw = require 'moonwatch'\n"
                           "return mw.script { name = 'session', needs = 'all', on = { any = function() end } }\n";

static int start_status(int error)
{
    return error == -EPERM || error == -EACCES || error == -ENOTSUP ? EXIT_REFUSED : EXIT_FAILED;
}

static int start_watch(struct repl *r)
{
    struct moonwatch_options options;
    moonwatch_options_init(&options);
    options.worker = true;
    options.on_end = on_end;
    options.ctx = r;
    options.output = open("/dev/null", O_WRONLY | O_CLOEXEC); /* what is to be seen is asked for */
    if (r->user)
        options.user = r->user;
    r->loop = ev_default_loop(0);
    r->watch = moonwatch_new(&options);
    if (!r->loop || !r->watch || options.output < 0) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    int result = moonwatch_add_text(r->watch, "session", asks);
    if (result == 0)
        result = moonwatch_start(r->watch, r->loop);
    if (result == 0)
        return EXIT_OK;
    cli_say("%s", moonwatch_error(r->watch));
    return start_status(result);
}

static void stop_watch(struct repl *r)
{
    if (r->begun && !r->ended)
        ask(r, ":end");
    if (r->watch) {
        moonwatch_stop(r->watch);
        moonwatch_free(r->watch);
    }
    client_close(&r->link);
}

/* --- the whole --------------------------------------------------------------------------------------------- */

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void on_terminate(int number)
{
    (void)number;
    terminated = 1;
}

static void handle_signals(void)
{
    struct sigaction interrupt = { .sa_handler = on_interrupt }, terminate = { .sa_handler = on_terminate };
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &terminate, NULL);
    sigaction(SIGHUP, &terminate, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const char *history_path(char *to, size_t cap)
{
    const char *home = getenv("HOME");
    int len = home && *home == '/' ? snprintf(to, cap, "%s/.moonwatch_history", home) : -1;
    return len > 0 && (size_t)len < cap ? to : NULL;
}

/* After the end of what is no terminal: handlers go on for a while. */
static void linger(struct repl *r)
{
    double left = r->after;
    while (left > 0 && !r->ended && !interrupted && !terminated) {
        struct timespec span = { .tv_nsec = (long)(POLL_S * 1e9) };
        if (r->control)
            nanosleep(&span, NULL);
        else {
            ev_timer time;
            ev_timer_init(&time, on_time, POLL_S, 0);
            ev_timer_start(r->loop, &time);
            while (ev_is_active(&time) && !r->ended && !terminated && !interrupted)
                ev_run(r->loop, EVRUN_ONCE);
            ev_timer_stop(r->loop, &time);
        }
        left -= POLL_S;
        poll_lines(r);
    }
    poll_lines(r);
}

static int run(struct repl *r)
{
    char path[4096];
    struct line_calls calls = { .ctx = r, .wait = wait_for_input, .complete = complete };
    r->line = line_new(&calls, history_path(path, sizeof path));
    if (!r->line) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    if (ask(r, ":begin") < 0) {
        if (r->answer && !r->ended)
            cli_say("%s", r->answer);
        return r->status == EXIT_OK ? EXIT_FAILED : r->status;
    }
    r->begun = true;
    learn_names(r);
    if (line_edits(r->line))
        printf("moonwatch %s: :help for help, Ctrl-D ends\n", moonwatch_version());
    read_lines(r);
    if (!line_edits(r->line))
        linger(r);
    if (r->wrong && !line_edits(r->line) && r->status == EXIT_OK)
        r->status = EXIT_FAILED;
    return r->status;
}

/* -1: go on; else an exit status. */
static int parse(struct repl *r, int argc, char **argv)
{
    static const struct option options[] = {
        { "control", required_argument, NULL, 'c' },
        { "for", required_argument, NULL, 'f' },
        { "user", required_argument, NULL, 'u' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            r->control = optarg;
            break;
        case 'u':
            r->user = optarg;
            break;
        case 'f':
            r->after = cli_seconds(optarg);
            if (r->after < 0)
                return cli_usage("repl", "--for takes a span such as 10s or 5m, not '%s'", optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    return optind < argc ? cli_usage("repl", "'%s' is one too many", argv[optind]) : -1;
}

int cli_repl(int argc, char **argv)
{
    struct repl r = { .link = { .fd = -1 } };
    int status = parse(&r, argc, argv);
    if (status >= 0)
        return status;
    setlocale(LC_CTYPE, "");
    handle_signals();
    status = r.control ? client_connect(&r.link, *r.control ? r.control : NULL) : start_watch(&r);
    if (status == EXIT_OK)
        status = run(&r);
    stop_watch(&r);
    line_free(r.line);
    free(r.answer);
    free(r.names);
    return status;
}
