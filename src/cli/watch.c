/* watch.c - the live view, one-liners, `run` and `record`: a watch until a signal, --for or a script ends it.
 */
#include "cli/cli.h"
#include "cli/control.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch [options]\n"
    "       moonwatch [options] -e '[EVENT,...:] CONDITION [=> ACTION]'\n"
    "       moonwatch run [options] SCRIPT|DIRECTORY...\n"
    "       moonwatch run [options] --sigma RULES...\n"
    "       moonwatch record -o FILE [options] [SCRIPT|DIRECTORY...]\n"
    "\n"
    "Watches every process until Ctrl-C. Without scripts, each event is one line:\n"
    "text on a terminal, JSON (ECS names) elsewhere. With scripts, they decide what\n"
    "is written. A directory means each *.lua in it but tests (NAME_test.lua), in\n"
    "the order of names; scripts are reloaded when their files change; without a\n"
    "terminal SIGHUP looks for changes at once. At the end a summary goes to stderr,\n"
    "and at each SIGUSR1 one of what was until then.\n"
    "\n"
    "  -e LINE          a script in one line; may be given more than once. EVENT is\n"
    "                   fork exec exit uid gid sid ptrace comm coredump snapshot\n"
    "                   lost storm, or any (the default). CONDITION is Lua in which\n"
    "                   the fields of the event are plain names; without ACTION the\n"
    "                   events that it selects are written. ACTION is Lua too.\n"
    "      --json       JSON lines, on a terminal too\n"
    "      --text       text, into a pipe too\n"
    "      --for SPAN   end after 10s, 5m, 1h ...\n"
    "      --set SCRIPT.NAME=VALUE\n"
    "                   what mw.option(NAME) gives in SCRIPT.lua; may be given more\n"
    "                   than once\n"
    "  -o FILE          with `record`: write everything into it, for `moonwatch\n"
    "                   replay`: all events, and what scripts were answered. With\n"
    "                   scripts, what they tell is written as ever\n"
    "      --size N     with `record`: end when the file has this size\n"
    "      --redact F   a Lua file of what is a secret: the recording has a token in\n"
    "                   its place (the usual secrets); none: it has everything\n"
    "      --flight N   with `run`: keep so much of the last hours below --state-dir,\n"
    "                   for `moonwatch backtest` and `ctl dump` (256M); none: do not\n"
    "  -q, --quiet      no summary\n"
    "      --sigma R    a file of Sigma rules, or a directory: each *.yml and *.yaml\n"
    "                   below it. Execs that a rule fits are alerts; may be given\n"
    "                   more than once, and with scripts (--set sigma.level=high,\n"
    "                   --set sigma.dedup=5m; see `moonwatch help sigma`)\n"
    "      --expand NAME=VALUE\n"
    "                   what %NAME% stands for in rules; may be given more than once\n"
    "      --trusted S  a script or directory that may use all of LuaJIT, in a\n"
    "                   process of its own; may be given more than once\n"
    "      --budget T   processor time for one call of a script: then it gets an\n"
    "                   error (50ms)\n"
    "      --limit T    time for one call: then the process is ended and the script\n"
    "                   is off (1s)\n"
    "      --memory N   memory of all scripts in a process: the largest one is off\n"
    "                   then (64M)\n"
    "      --errors N   errors of a script within a minute: more switch it off (60)\n"
    "      --ward       a script that ended its process goes on in one of its own\n"
    "      --control P  with `run`: listen there for `moonwatch ctl`, `top` and\n"
    "                   `repl`; none: do not ($MOONWATCH_CONTROL, or\n"
    "                   /run/moonwatch.sock, or below $XDG_RUNTIME_DIR)\n"
    "      --user NAME  run scripts as this user (nobody)\n"
    "      --single     scripts in this process: for debugging them; they can then\n"
    "                   delay the watch\n"
    "      --buffer N   receive buffer for the kernel's messages (32M; k, M and G\n"
    "                   are understood)\n"
    "      --ring N     memory between collector and scripts (8M)\n"
    "      --table N    most memory for the table of processes (256M)\n"
    "      --delay SPAN let events gather for so long before they are read (8ms); 0:\n"
    "                   none\n"
    "      --priority P the best to try of fifo, nice, slice, normal (fifo)\n"
    "      --without S  do without these sources, where they could be had: tap,\n"
    "                   taskstats\n"
    "      --state-dir D where scripts keep values with mw.persist\n"
    "                    (/var/lib/moonwatch)\n"
    "      --allow-kill scripts may send signals: mw.kill, mw.stop, mw.cont\n"
    "      --output-dir DIR  let scripts write files below it (mw.sink.file)\n"
    "      --allow-unix PATH let scripts write to this socket; may be given more\n"
    "                        than once\n"
    "      --allow-exec      let scripts start programs that read what they write,\n"
    "                        as the user of scripts\n"
    "  -h, --help       this text\n"
    "\n"
    "Needs root, or CAP_NET_ADMIN; from Linux 6.6 on it also works without, with a\n"
    "smaller buffer and without the paths of other users' programs. Exit statuses:\n"
    "see `moonwatch --help`.\n";

struct watch {
    struct moonwatch_options options;
    double seconds; /* --for; 0: no end */
    bool quiet, json, text;
    bool hangup_ends; /* else it reloads */
    const char *lines[64], *trusted[64], *sigma[64], *expand[256];
    int lines_len, trusted_len, sigma_len, expand_len;
    struct cli_settings settings;
    bool scripts;             /* it is `run` */
    const char *record_path;  /* -o; NULL: it is not `record` */
    const char *control_path; /* --control, or NULL */
    struct control *control;  /* NULL: nobody can ask */
    const char *sockets[64]; /* --allow-unix */

    struct ev_loop *loop;
    struct moonwatch *watch;
    double began;
    int status;
};

/* --- the command line ----------------------------------------------------------------------- */

enum {
    OPTION_JSON = 256,
    OPTION_TEXT,
    OPTION_FOR,
    OPTION_USER,
    OPTION_SINGLE,
    OPTION_BUFFER,
    OPTION_RING,
    OPTION_TABLE,
    OPTION_DELAY,
    OPTION_PRIORITY,
    OPTION_WITHOUT,
    OPTION_OUTPUT_DIR,
    OPTION_ALLOW_UNIX,
    OPTION_ALLOW_EXEC,
    OPTION_TRUSTED,
    OPTION_SIGMA,
    OPTION_EXPAND,
    OPTION_BUDGET,
    OPTION_LIMIT,
    OPTION_MEMORY,
    OPTION_ERRORS,
    OPTION_WARD,
    OPTION_SET,
    OPTION_CONTROL,
    OPTION_STATE_DIR,
    OPTION_ALLOW_KILL,
    OPTION_SIZE,
    OPTION_REDACT,
    OPTION_FLIGHT
};

static const struct option long_options[] = {
    { "json", no_argument, NULL, OPTION_JSON },
    { "text", no_argument, NULL, OPTION_TEXT },
    { "for", required_argument, NULL, OPTION_FOR },
    { "quiet", no_argument, NULL, 'q' },
    { "user", required_argument, NULL, OPTION_USER },
    { "single", no_argument, NULL, OPTION_SINGLE },
    { "buffer", required_argument, NULL, OPTION_BUFFER },
    { "ring", required_argument, NULL, OPTION_RING },
    { "table", required_argument, NULL, OPTION_TABLE },
    { "delay", required_argument, NULL, OPTION_DELAY },
    { "priority", required_argument, NULL, OPTION_PRIORITY },
    { "without", required_argument, NULL, OPTION_WITHOUT },
    { "output-dir", required_argument, NULL, OPTION_OUTPUT_DIR },
    { "allow-unix", required_argument, NULL, OPTION_ALLOW_UNIX },
    { "allow-exec", no_argument, NULL, OPTION_ALLOW_EXEC },
    { "trusted", required_argument, NULL, OPTION_TRUSTED },
    { "sigma", required_argument, NULL, OPTION_SIGMA },
    { "expand", required_argument, NULL, OPTION_EXPAND },
    { "budget", required_argument, NULL, OPTION_BUDGET },
    { "limit", required_argument, NULL, OPTION_LIMIT },
    { "memory", required_argument, NULL, OPTION_MEMORY },
    { "errors", required_argument, NULL, OPTION_ERRORS },
    { "ward", no_argument, NULL, OPTION_WARD },
    { "set", required_argument, NULL, OPTION_SET },
    { "control", required_argument, NULL, OPTION_CONTROL },
    { "state-dir", required_argument, NULL, OPTION_STATE_DIR },
    { "allow-kill", no_argument, NULL, OPTION_ALLOW_KILL },
    { "size", required_argument, NULL, OPTION_SIZE },
    { "redact", required_argument, NULL, OPTION_REDACT },
    { "flight", required_argument, NULL, OPTION_FLIGHT },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* Of what goes to the disk; a segment of the flight recorder has a sixteenth. */
#define RECORD_LEAST (64 << 10)
#define FLIGHT_LEAST (4 << 20)
#define FLIGHT_USUAL (256 << 20)

static bool parse_disk(const char *text, uint64_t least, uint64_t *to)
{
    long long bytes = cli_bytes(text);
    *to = (uint64_t)bytes;
    return bytes >= (long long)least;
}

static bool parse_size(const char *text, size_t *to)
{
    long long bytes = cli_bytes(text);
    if (bytes < 1 || bytes > INT32_MAX)
        return false;
    *to = (size_t)bytes;
    return true;
}

/* The place of a word among others, or -1. */
static int place_of(const char *word, size_t len, const char *const *words, int words_len)
{
    for (int i = 0; i < words_len; i++)
        if (strlen(words[i]) == len && !strncmp(words[i], word, len))
            return i;
    return -1;
}

static bool parse_priority(const char *text, enum moonwatch_priority *to)
{
    static const char *const words[] = { "fifo", "nice", "slice", "normal" };
    int place = place_of(text, strlen(text), words, 4);
    *to = (enum moonwatch_priority)place;
    return place >= 0;
}

/* "tap", "taskstats", "tap,taskstats" */
static bool parse_sources(const char *text, unsigned *to)
{
    static const char *const words[] = { "tap", "taskstats" };
    for (;;) {
        size_t len = strcspn(text, ",");
        int place = place_of(text, len, words, 2);
        if (place < 0)
            return false;
        *to |= 1u << place;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

/* -1: go on; else an exit status. */
static int take_option(struct watch *w, int option, const char *command)
{
    switch (option) {
    case 'e':
        if (w->lines_len == (int)(sizeof w->lines / sizeof *w->lines))
            return cli_usage(command, "more than 64 one-liners: put them into a file");
        w->lines[w->lines_len++] = optarg;
        return -1;
    case OPTION_JSON:
        w->json = true;
        return -1;
    case OPTION_TEXT:
        w->text = true;
        return -1;
    case OPTION_FOR:
        w->seconds = cli_seconds(optarg);
        if (w->seconds <= 0)
            return cli_usage(command, "--for takes a span such as 10s or 5m, not '%s'", optarg);
        return -1;
    case 'q':
        w->quiet = true;
        return -1;
    case OPTION_USER:
        w->options.user = optarg;
        return -1;
    case OPTION_SINGLE:
        w->options.worker = false;
        return -1;
    case OPTION_BUFFER:
        if (!parse_size(optarg, &w->options.buffer_bytes))
            return cli_usage(command, "--buffer takes a size such as 32M, not '%s'", optarg);
        return -1;
    case OPTION_RING:
        if (!parse_size(optarg, &w->options.ring_bytes))
            return cli_usage(command, "--ring takes a size such as 8M, not '%s'", optarg);
        return -1;
    case OPTION_TABLE:
        if (!parse_size(optarg, &w->options.table_bytes))
            return cli_usage(command, "--table takes a size such as 256M, not '%s'", optarg);
        return -1;
    case OPTION_DELAY:
        w->options.delay = cli_seconds(optarg);
        if (w->options.delay < 0 || w->options.delay > 1)
            return cli_usage(command, "--delay takes a span from 0 to 1s, such as 8ms, not '%s'",
                             optarg);
        return -1;
    case OPTION_PRIORITY:
        if (!parse_priority(optarg, &w->options.priority))
            return cli_usage(command, "--priority takes fifo, nice, slice or normal, not '%s'",
                             optarg);
        return -1;
    case OPTION_WITHOUT:
        if (!parse_sources(optarg, &w->options.without))
            return cli_usage(command, "--without takes tap and taskstats, not '%s'", optarg);
        return -1;
    case OPTION_OUTPUT_DIR:
        w->options.output_dir = optarg;
        return -1;
    case OPTION_ALLOW_UNIX:
        if (w->options.sockets_len == (int)(sizeof w->sockets / sizeof *w->sockets))
            return cli_usage(command, "more than 64 sockets");
        w->sockets[w->options.sockets_len++] = optarg;
        w->options.sockets = w->sockets;
        return -1;
    case OPTION_ALLOW_EXEC:
        w->options.allow_exec = true;
        return -1;
    case OPTION_TRUSTED:
        if (w->trusted_len == (int)(sizeof w->trusted / sizeof *w->trusted))
            return cli_usage(command, "more than 64 --trusted: name a directory");
        w->trusted[w->trusted_len++] = optarg;
        return -1;
    case OPTION_SIGMA:
        if (w->sigma_len == (int)(sizeof w->sigma / sizeof *w->sigma))
            return cli_usage(command, "more than 64 --sigma: name a directory");
        w->sigma[w->sigma_len++] = optarg;
        return -1;
    case OPTION_EXPAND:
        if (w->expand_len == (int)(sizeof w->expand / sizeof *w->expand))
            return cli_usage(command, "more than 256 times --expand");
        w->expand[w->expand_len++] = optarg;
        return -1;
    case OPTION_BUDGET:
        w->options.soft = cli_seconds(optarg);
        if (w->options.soft < 0.001 || w->options.soft > 60)
            return cli_usage(command, "--budget takes a span from 1ms to 60s, not '%s'", optarg);
        return -1;
    case OPTION_LIMIT:
        w->options.hard = cli_seconds(optarg);
        if (w->options.hard < 0.01 || w->options.hard > 3600)
            return cli_usage(command, "--limit takes a span from 10ms to 1h, not '%s'", optarg);
        return -1;
    case OPTION_MEMORY:
        if (!parse_size(optarg, &w->options.memory_bytes) || w->options.memory_bytes < 4u << 20)
            return cli_usage(command, "--memory takes a size from 4M on, not '%s'", optarg);
        return -1;
    case OPTION_ERRORS:
        w->options.errors_a_minute = atoi(optarg);
        if (w->options.errors_a_minute < 1)
            return cli_usage(command, "--errors takes a number from 1 on, not '%s'", optarg);
        return -1;
    case OPTION_WARD:
        w->options.ward = true;
        return -1;
    case OPTION_CONTROL:
        w->control_path = optarg;
        return -1;
    case OPTION_SET:
        return cli_take_setting(&w->settings, command, optarg);
    case OPTION_STATE_DIR:
        w->options.state_dir = optarg;
        return -1;
    case OPTION_ALLOW_KILL:
        w->options.allow_kill = true;
        return -1;
    case 'o':
        w->record_path = optarg;
        return -1;
    case OPTION_SIZE:
        if (!parse_disk(optarg, RECORD_LEAST, &w->options.record_bytes))
            return cli_usage(command, "--size takes a size from 64k on, such as 100M, not '%s'", optarg);
        return -1;
    case OPTION_REDACT:
        w->options.redact = optarg;
        return -1;
    case OPTION_FLIGHT:
        w->options.flight_bytes = 0;
        if (strcmp(optarg, "none") && !parse_disk(optarg, FLIGHT_LEAST, &w->options.flight_bytes))
            return cli_usage(command, "--flight takes a size from 4M on, such as 256M, or none, not '%s'",
                             optarg);
        return -1;
    case 'h':
        fputs(usage, stdout);
        return EXIT_OK;
    default:
        return EXIT_USAGE; /* getopt has said what */
    }
}

static int parse(struct watch *w, int argc, char **argv, const char *command)
{
    int option, status = -1;
    optind = 1;
    while (status < 0 && (option = getopt_long(argc, argv, "e:o:qh", long_options, NULL)) != -1)
        status = take_option(w, option, command);
    if (status < 0 && w->json && w->text)
        return cli_usage(command, "--json and --text exclude each other");
    return status;
}

/* --- running --------------------------------------------------------------------------------- */

static void on_end(void *ctx, enum moonwatch_end why)
{
    struct watch *w = ctx;
    if (why == MOONWATCH_OUTPUT_LOST || why == MOONWATCH_WORKER_DIED)
        w->status = EXIT_FAILED;
    ev_break(w->loop, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_reloaded(void *ctx, int result, const char *text)
{
    (void)ctx, (void)result, (void)text; /* it is on stderr already */
}

/* Where there are files, and no terminal that could hang up, it is an operator's request. */
static void on_hangup(struct ev_loop *loop, ev_signal *watcher, int events)
{
    static const char *const reload[] = { "reload" };
    struct watch *w = watcher->data;
    (void)events;
    if (w->hangup_ends)
        ev_break(loop, EVBREAK_ALL);
    else
        moonwatch_order(w->watch, reload, 1, on_reloaded, NULL);
}

static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void on_time(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* 1234567 -> "1,234,567"; one of four buffers in turn. */
static const char *grouped(uint64_t number)
{
    static char texts[4][32];
    static int turn;
    char digits[24], *to = texts[turn = (turn + 1) % 4];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            to[at++] = ',';
        to[at++] = digits[i];
    }
    to[at] = '\0';
    return to;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 100.0;
}

/* Of what nobody needed there is nothing to say. */
static void summarize_names(const struct moonwatch_summary *s)
{
    fputs("moonwatch: named: ", stderr);
    if (s->exe_asked)
        fprintf(stderr, "exe %.1f %%, ", percent(s->exe, s->exe_asked));
    if (s->args_asked)
        fprintf(stderr, "args %.1f %%, ", percent(s->args, s->args_asked));
    fprintf(stderr, "comm %.1f %% of %s execs\n", percent(s->comm, s->execs), grouped(s->execs));
}

static void summarize_watch(struct moonwatch *m, double seconds)
{
    struct moonwatch_summary s;
    moonwatch_summarize(m, &s);
    fprintf(stderr, "moonwatch: %s events in %.1f s, %s lost (proved)\n", grouped(s.events),
            seconds, grouped(s.lost));
    if (s.inferred)
        fprintf(stderr, "moonwatch: %s inferred from /proc\n", grouped(s.inferred));
    if (s.unheard)
        fprintf(stderr, "moonwatch: %s records of other sources lost, costing names\n", grouped(s.unheard));
    if (s.missed)
        fprintf(stderr, "moonwatch: %s missed by slow scripts\n", grouped(s.missed));
    if (s.forged)
        fprintf(stderr, "moonwatch: %s forged, rejected\n", grouped(s.forged));
    if (s.evicted)
        fprintf(stderr, "moonwatch: %s dropped from the full table\n", grouped(s.evicted));
    fprintf(stderr, "moonwatch: sources %s; priority %s", s.sources, s.priority);
    if (s.yields)
        fprintf(stderr, ", given up %s times for taking too much", grouped(s.yields));
    fputc('\n', stderr);
    if (s.execs)
        summarize_names(&s);
}

#define RULES_TOLD 5

/* What rules could not say is as much worth knowing as what they said. */
static void summarize_rules(const struct moonwatch_script_summary *script)
{
    if (!script->rules)
        return;
    fprintf(stderr, "moonwatch: %s: %s rules", script->name, grouped(script->rules));
    if (script->rules_blind)
        fprintf(stderr, ", %s of them blind on some execs", grouped(script->rules_blind));
    fputc('\n', stderr);
    for (int i = 0; i < script->worst_len && i < RULES_TOLD; i++) {
        const struct moonwatch_rule_summary *rule = &script->worst[i];
        fputs("moonwatch:   blind on ", stderr);
        fprintf(stderr, "%.1f %% of %s: ", percent(rule->undecided, rule->asked),
                grouped(rule->asked));
        cli_put(stderr, rule->title);
        fputc('\n', stderr);
    }
}

static void summarize_scripts(struct moonwatch *m)
{
    struct moonwatch_summary s;
    moonwatch_summarize(m, &s);
    for (int i = 0; i < s.scripts_len; i++) {
        const struct moonwatch_script_summary *script = &s.scripts[i];
        fprintf(stderr, "moonwatch: %s: %s events, %s alerts, %s errors", script->name,
                grouped(script->events), grouped(script->alerts), grouped(script->errors));
        if (script->undecided)
            fprintf(stderr, ", %s undecided", grouped(script->undecided));
        if (script->off)
            fputs(", off", stderr);
        fputc('\n', stderr);
        summarize_rules(script);
    }
}

static void summarize_recording(struct watch *w, struct moonwatch *m)
{
    struct moonwatch_recorded r;
    if (!moonwatch_recorded(m, &r))
        return;
    if (!r.flight)
        fprintf(stderr, "moonwatch: recorded %s events in %s bytes, %.1f an event\n", grouped(r.events),
                grouped(r.bytes), r.events ? (double)r.bytes / (double)r.events : 0);
    if (r.redacted && !r.flight)
        fprintf(stderr, "moonwatch: %s events had secrets, which are left out\n", grouped(r.redacted));
    const char *what = r.flight ? "the flight recorder" : "the recording";
    if (r.missed)
        fprintf(stderr, "moonwatch: %s events missed by %s\n", grouped(r.missed), what);
    if (r.dropped || r.error)
        fprintf(stderr, "moonwatch: %s events could not be written by %s: %s\n", grouped(r.dropped), what,
                strerror(r.error));
    if (r.notes_lost)
        fprintf(stderr, "moonwatch: %s answers to scripts missed by %s\n", grouped(r.notes_lost), what);
    if (!r.flight && (r.dropped || r.error))
        w->status = EXIT_FAILED;
}

static void on_answer(void *ctx)
{
    struct watch *w = ctx;
    summarize_scripts(w->watch);
}

/* The scripts answer when they can; that they do not is worth seeing, too. */
static void on_summary(struct ev_loop *loop, ev_signal *watcher, int events)
{
    struct watch *w = watcher->data;
    (void)loop, (void)events;
    summarize_watch(w->watch, ev_time() - w->began);
    moonwatch_ask_scripts(w->watch, on_answer, w);
}

static int start_status(int error)
{
    switch (error) {
    case -EINVAL:
        return EXIT_SCRIPT;
    case -EPERM:
    case -EACCES:
    case -ENOTSUP:
        return EXIT_REFUSED;
    default:
        return EXIT_FAILED;
    }
}

static int fail(struct moonwatch *m, int status)
{
    cli_say("%s", moonwatch_error(m));
    moonwatch_free(m);
    return status;
}

static void say_small_buffer(struct moonwatch *m, size_t asked)
{
    struct moonwatch_summary s;
    moonwatch_summarize(m, &s);
    if (s.buffer_bytes < asked) /* the kernel reports twice what it was asked for */
        cli_say("the kernel grants a receive buffer of %zu KiB instead of %zu KiB: give "
                "CAP_NET_ADMIN, or "
                "raise net.core.rmem_max",
                s.buffer_bytes >> 10, asked >> 10);
}

/* --- orders ---------------------------------------------------------------------------------- */

static void give_order(void *ctx, const char *const *words, int n, moonwatch_reply *reply,
                       void *reply_ctx)
{
    struct watch *w = ctx;
    moonwatch_order(w->watch, words, n, reply, reply_ctx);
}

/* The usual place, or one of our own where another watch has it. Without either it is watched all
 * the same. */
static void listen_as_usual(struct watch *w)
{
    char path[256], why[512] = "neither root nor $XDG_RUNTIME_DIR has a place for it";
    int result = control_default(path, sizeof path, 0)
                     ? control_open(&w->control, w->loop, path, give_order, w, why, sizeof why)
                     : -ENOENT;
    if (result == -EADDRINUSE && control_default(path, sizeof path, getpid())) {
        result = control_open(&w->control, w->loop, path, give_order, w, why, sizeof why);
        if (result == 0 && !w->quiet)
            cli_say("another watch has the usual place: `moonwatch ctl --control %s` speaks to this one",
                    path);
    }
    if (result < 0 && !w->quiet)
        cli_say("no orders can be given to this watch: %s", why);
}

/* 0, or an exit status. */
static int listen_for_orders(struct watch *w)
{
    char why[512];
    if (!w->scripts || (w->control_path && !strcmp(w->control_path, "none")))
        return EXIT_OK;
    if (!w->control_path) {
        listen_as_usual(w);
        return EXIT_OK;
    }
    int result =
        control_open(&w->control, w->loop, w->control_path, give_order, w, why, sizeof why);
    if (result == 0)
        return EXIT_OK;
    cli_say("%s: %s", why,
            result == -ENOENT ? "make its directory, or give --control none or another path"
                              : "give --control none, or another path");
    return EXIT_FAILED;
}

static int watch(struct watch *w, struct moonwatch *m)
{
    static const int signals[] = { SIGINT, SIGTERM };
    ev_signal on[2], summary, hangup;
    ev_timer end;

    for (int i = 0; i < 2; i++) { /* before anything is written: who reads it may end us */
        ev_signal_init(&on[i], on_signal, signals[i]);
        ev_signal_start(w->loop, &on[i]);
    }
    ev_signal_init(&summary, on_summary, SIGUSR1);
    summary.data = w;
    ev_signal_start(w->loop, &summary);
    ev_signal_init(&hangup, on_hangup, SIGHUP);
    hangup.data = w;
    ev_signal_start(w->loop, &hangup);
    w->watch = m;
    int result = moonwatch_start(m, w->loop);
    if (result < 0)
        return fail(m, start_status(result));
    say_small_buffer(m, w->options.buffer_bytes);
    int refused = listen_for_orders(w);
    if (refused) {
        moonwatch_free(m);
        return refused;
    }

    ev_timer_init(&end, on_time, w->seconds, 0);
    if (w->seconds > 0)
        ev_timer_start(w->loop, &end);
    w->began = ev_time();
    ev_run(w->loop, 0);
    double seconds = ev_time() - w->began;

    ev_signal_stop(w->loop, &hangup);
    ev_signal_stop(w->loop, &summary);
    control_stop(w->control);
    moonwatch_stop(m);
    if (*moonwatch_error(m) && w->status != EXIT_OK)
        cli_say("%s", moonwatch_error(m));
    if (!w->quiet) {
        summarize_watch(m, seconds);
        summarize_scripts(m);
        summarize_recording(w, m);
    }
    moonwatch_free(m);
    control_free(w->control);
    return w->status;
}

static int add_scripts(struct watch *w, struct moonwatch *m, int argc, char **argv)
{
    int result = cli_set(m, &w->settings);
    for (int i = 0; i < w->lines_len && !result; i++)
        result = moonwatch_add_line(m, w->lines[i]);
    for (int i = 0; i < w->trusted_len && !result; i++) /* first: it may be of a directory below */
        result = moonwatch_add_trusted(m, w->trusted[i]);
    for (int i = 0; i < argc && !result; i++)
        result = moonwatch_add_path(m, argv[i]);
    for (int i = 0; i < w->sigma_len && !result; i++)
        result = moonwatch_add_sigma(m, w->sigma[i], w->expand, w->expand_len);
    return result;
}

/* An old recording is never written over: who wants it gone removes it. 0, or an exit status. */
static int open_recording(struct watch *w)
{
    w->options.record = open(w->record_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (w->options.record >= 0)
        return 0;
    cli_say("%s: %s", w->record_path,
            errno == EEXIST ? "it is there already: remove it, or name another file" : strerror(errno));
    return errno == EEXIST ? EXIT_USAGE : EXIT_FAILED;
}

/* Which options belong together. -1, or an exit status. */
static int check_recording(struct watch *w, const char *command)
{
    bool record = !strcmp(command, "record");
    if (record && !w->record_path)
        return cli_usage(command, "no file is named: -o FILE");
    if (!record && w->record_path)
        return cli_usage(command, "-o belongs to `moonwatch record`");
    if (!record && w->options.record_bytes)
        return cli_usage(command, "--size belongs to `moonwatch record`");
    if (record && !w->options.worker)
        return cli_usage(command, "--single records nothing: leave it out");
    return -1;
}

static int begin(int argc, char **argv, bool scripts)
{
    struct watch w = { .scripts = scripts, .control_path = getenv("MOONWATCH_CONTROL") };
    const char *command = scripts ? argv[0] : "";
    moonwatch_options_init(&w.options);
    w.options.worker = true;
    w.options.on_end = on_end;
    w.options.ctx = &w;

    bool run = !strcmp(command, "run");
    w.options.flight_bytes = run ? FLIGHT_USUAL : 0;
    int status = parse(&w, argc, argv, command);
    if (status < 0)
        status = check_recording(&w, command);
    if (status >= 0)
        return status;
    if (run && optind == argc && !w.lines_len && !w.trusted_len && !w.sigma_len)
        return cli_usage(command, "no script is named");
    if (!scripts && w.sigma_len)
        return cli_usage(command, "--sigma belongs to `moonwatch run`");
    if (!scripts && optind < argc)
        return cli_usage(command, "'%s' is no option; scripts are given to `moonwatch run`",
                         argv[optind]);

    w.options.realtime = w.options.worker;
    w.options.print = !scripts && !w.lines_len;
    w.options.json = w.json || (!w.text && !isatty(STDOUT_FILENO));
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow: the write tells */
    status = w.record_path ? open_recording(&w) : EXIT_OK;
    if (status)
        return status;
    w.loop = ev_loop_new(EVFLAG_AUTO); /* the default loop would take our children's ends away */
    struct moonwatch *m = moonwatch_new(&w.options);
    if (!w.loop || !m) {
        fputs("moonwatch: not enough memory\n", stderr);
        return EXIT_FAILED;
    }
    w.hangup_ends = has_terminal() || (optind == argc && !w.trusted_len && !w.sigma_len);
    if (add_scripts(&w, m, argc - optind, argv + optind) < 0)
        status = fail(m, EXIT_SCRIPT);
    else
        status = watch(&w, m);
    if (w.record_path && w.began == 0) /* nothing is in it */
        unlink(w.record_path);
    return status;
}

int cli_watch(int argc, char **argv)
{
    return begin(argc, argv, false);
}

int cli_run(int argc, char **argv)
{
    return begin(argc, argv, true);
}

int cli_record(int argc, char **argv)
{
    return begin(argc, argv, true);
}
