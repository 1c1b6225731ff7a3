/* watch.c - one watch: the collector, and the scripts in a worker or in this process.
 *
 * The only place that knows both halves. In the worker form the ring is all that joins them, and
 * the control socket is how the worker says that it is ready, wants the end, or is done. */
#include "moonwatch.h"

#include "base/clock.h"
#include "base/log.h"
#include "collect/collector.h"
#include "collect/priority.h"
#include "embed/signals.h"
#include "embed/steward.h"
#include "embed/vault.h"
#include "embed/watch.h"
#include "host/worker.h"
#include "host/world.h"
#include "ring/ring.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCRIPT_MAX        (4 * 1024 * 1024)
#define STOP_PATIENCE_MS  10000
#define DEATH_PATIENCE_MS 500 /* from hanging up to being gone */
#define MESSAGES_A_TURN   16  /* of the worker's: then others on the loop get theirs */
#define POLICY_READER     0

struct moonwatch {
    struct moonwatch_options options;
    struct ev_loop *loop; /* NULL until started */
    struct collector *collector;
    struct buf error;

    struct worker_script *scripts;
    int scripts_len;
    struct procfs proc; /* for the scripts' questions */
    struct steward *steward; /* owned */
    struct vault *vault;     /* owned */
    struct signals *signals; /* owned */
    uint64_t needs;     /* fields that somebody looks at; only grows */
    bool only_load;     /* the worker ends when the scripts are loaded */

    /* worker form */
    struct ring *ring;
    pid_t worker; /* 0: none */
    int control;  /* -1: none */
    ev_io said;
    bool worker_done;
    int64_t retell_at_ns;         /* not before */
    moonwatch_answered *answered; /* NULL: nobody asked */
    void *answered_ctx;

    /* one process */
    struct host *host;
    struct world world;
    ev_timer needing; /* due at once when scripts need more: not in the middle of an event */
    uint64_t seq;     /* of the last event */

    enum priority priority; /* granted at the start */
    struct priority_guard guard;
    int64_t guard_at_ns; /* when to look at it again */
    uint64_t yields;
    uint64_t missed;
    struct moonwatch_script_summary *summaries;
    int summaries_len;
};

static int fail(struct moonwatch *m, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct moonwatch *m, int error, const char *format, ...)
{
    char text[WORKER_TEXT + 512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_clear(&m->error);
    buf_puts(&m->error, text);
    return error;
}

const char *moonwatch_error(const struct moonwatch *m)
{
    return buf_str((struct buf *)&m->error);
}

const char *moonwatch_version(void)
{
    return MOONWATCH_VERSION;
}

void moonwatch_options_init(struct moonwatch_options *options)
{
    *options = (struct moonwatch_options){
        .size = sizeof *options,
        .output = STDOUT_FILENO,
        .user = "nobody",
        .buffer_bytes = 32u << 20,
        .ring_bytes = 8u << 20,
        .table_bytes = 256u << 20,
        .delay = 0.008,
        .state_dir = "/var/lib/moonwatch",
    };
}

struct moonwatch *moonwatch_new(const struct moonwatch_options *options)
{
    struct moonwatch *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    moonwatch_options_init(&m->options);
    memcpy(&m->options, options,
           options->size < sizeof m->options ? options->size : sizeof m->options);
    m->control = m->proc.root = -1;
    m->priority = PRIORITY_NORMAL;
    return m;
}

/* --- scripts ------------------------------------------------------------------------------- */

static int add_script(struct moonwatch *m, char *name, char *text, size_t len)
{
    struct worker_script *more = realloc(m->scripts, (size_t)(m->scripts_len + 1) * sizeof *more);
    if (!more || !text) {
        free(name);
        free(text);
        return fail(m, -ENOMEM, "not enough memory for the scripts");
    }
    m->scripts = more;
    more[m->scripts_len++] = (struct worker_script){ name, text, len };
    return 0;
}

static char *chunk_name(const char *path)
{
    char *name = malloc(strlen(path) + 2);
    if (name)
        sprintf(name, "@%s", path);
    return name;
}

static int read_script(struct moonwatch *m, const char *path, int fd)
{
    char *text = malloc(SCRIPT_MAX + 1);
    size_t len = 0;
    ssize_t got = 0;
    while (text && len <= SCRIPT_MAX && (got = read(fd, text + len, SCRIPT_MAX + 1 - len)) > 0)
        len += (size_t)got;
    if (!text || got < 0 || len > SCRIPT_MAX) {
        int error = !text ? ENOMEM : got < 0 ? errno : EFBIG;
        free(text);
        return fail(m, -error, "cannot read script %s: %s", path,
                    error == EFBIG ? "it is larger than 4 MiB" : strerror(error));
    }
    char *fitted = realloc(text, len + 1);
    return add_script(m, chunk_name(path), fitted ? fitted : text, len);
}

static int add_directory(struct moonwatch *m, const char *path)
{
    char pattern[4096];
    glob_t found = { 0 };
    snprintf(pattern, sizeof pattern, "%s/*.lua", path);
    int result = glob(pattern, 0, NULL, &found);
    if (result)
        return fail(m, -ENOENT, "no script in %s: its files must end in .lua", path);
    for (size_t i = 0; i < found.gl_pathc && !result; i++)
        result = moonwatch_add_path(m, found.gl_pathv[i]);
    globfree(&found);
    return result;
}

int moonwatch_add_path(struct moonwatch *m, const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) < 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return fail(m, -error, "cannot open script %s: %s", path, strerror(error));
    }
    int result = S_ISDIR(about.st_mode) ? add_directory(m, path) : read_script(m, path, fd);
    close(fd);
    return result;
}

int moonwatch_add_text(struct moonwatch *m, const char *name, const char *text)
{
    return add_script(m, chunk_name(name), strdup(text), strlen(text));
}

int moonwatch_add_line(struct moonwatch *m, const char *line)
{
    return add_script(m, NULL, strdup(line), strlen(line));
}

/* --- events -------------------------------------------------------------------------------- */

static void tell_embedder(struct moonwatch *m, const struct event_box *box)
{
    if (m->options.on_event)
        m->options.on_event(m->options.ctx, (const struct moonwatch_event *)&box->ev);
}

static void to_ring(void *ctx, struct event_box *box)
{
    struct moonwatch *m = ctx;
    ring_write(m->ring, box);
    tell_embedder(m, box);
}

/* First in line for a processor, but never for long: above its mark the collector becomes one of
 * many, and says so. */
static void guard_priority(struct moonwatch *m)
{
    int64_t now = clock_mono_ns();
    if (m->priority > PRIORITY_NICE || now < m->guard_at_ns)
        return;
    m->guard_at_ns = now + PRIORITY_YIELD_SECONDS * NS_PER_SECOND;
    switch (priority_guard_note(&m->guard, now, clock_thread_cpu_ns())) {
    case PRIORITY_YIELD:
        priority_lower();
        m->yields++;
        log_warn("the collector took more than %d %% of a core for %d s: no longer first in line "
                 "until it is calm, so short processes may lose their names",
                 PRIORITY_YIELD_PERCENT, PRIORITY_YIELD_SECONDS);
        break;
    case PRIORITY_REGAIN:
        priority_raise(m->priority);
        log_warn("calm for %d s: first in line again", PRIORITY_REGAIN_SECONDS);
        break;
    case PRIORITY_KEEP:
        break;
    }
}

_Static_assert(FIGURES_WORDS <= RING_BOARD, "the figures fit onto the ring's board");

static struct figures figures_of(struct moonwatch *m)
{
    struct collector_counters count = collector_count(m->collector);
    return (struct figures){
        .events = count.netlink.received,
        .lost = count.lost,
        .inferred = count.complete.inferred,
        .forged = count.netlink.forged,
        .execs = count.complete.execs,
        .exe_asked = count.complete.exe_asked,
        .args_asked = count.complete.args_asked,
        .exe = count.complete.exe,
        .args = count.complete.args,
        .comm = count.complete.comm,
        .processes = count.tracker.alive,
        .evicted = count.tracker.evicted,
        .unheard = count.source_lost,
        .buffer_bytes = (uint64_t)count.buffer_bytes,
        .fill_permille = (uint64_t)(count.fill * 1000),
    };
}

/* The figures first: who is woken finds them no older than the records. */
static void flush_ring(void *ctx)
{
    struct moonwatch *m = ctx;
    if (m->collector) {
        struct figures figures = figures_of(m);
        ring_post(m->ring, (const uint64_t *)&figures, FIGURES_WORDS);
    }
    ring_flush(m->ring);
    guard_priority(m);
}

static void ending(struct moonwatch *m, enum moonwatch_end why)
{
    if (m->options.on_end)
        m->options.on_end(m->options.ctx, why);
}

static void ending_output(struct moonwatch *m, int error)
{
    if (error != EPIPE)
        fail(m, -error, "cannot write the output: %s", strerror(error));
    ending(m, error == EPIPE ? MOONWATCH_READER_GONE : MOONWATCH_OUTPUT_LOST);
}

static void to_host(void *ctx, struct event_box *box)
{
    struct moonwatch *m = ctx;
    event_set(box, F_SEQ, (int64_t)++m->seq, WHY_COMPUTED);
    host_event(m->host, &box->ev);
    tell_embedder(m, box);
}

static void flush_host(void *ctx)
{
    struct moonwatch *m = ctx;
    int result = host_flush(m->host);
    if (result < 0)
        ending_output(m, -result);
}

/* --- the worker ------------------------------------------------------------------------------ */

#define SUMMARIES_MAX 64

static void add_summary(struct moonwatch *m, const struct host_script *script)
{
    if (m->summaries_len == SUMMARIES_MAX)
        return;
    struct moonwatch_script_summary *more =
        realloc(m->summaries, (size_t)(m->summaries_len + 1) * sizeof *more);
    if (!more)
        return;
    m->summaries = more;
    struct moonwatch_script_summary *s = &more[m->summaries_len++];
    *s = (struct moonwatch_script_summary){ .events = script->events,
                                            .errors = script->errors,
                                            .alerts = script->alerts,
                                            .undecided = script->undecided };
    memcpy(s->name, script->name, sizeof s->name);
    s->name[sizeof s->name - 1] = '\0';
}

/* Each field begins to be needed once: a worker cannot make us read all of /proc again and again.
 */
static void need(struct moonwatch *m, uint64_t fields)
{
    if (!(fields & ~m->needs))
        return;
    m->needs |= fields;
    collector_need(m->collector, m->needs);
}

static void answer(struct moonwatch *m)
{
    moonwatch_answered *answered = m->answered;
    m->answered = NULL;
    if (answered)
        answered(m->answered_ctx);
}

/* A worker asks once a second at most; one that asks more often is not heard. */
static void retell(struct moonwatch *m)
{
    int64_t now = clock_mono_ns();
    if (now < m->retell_at_ns)
        return;
    m->retell_at_ns = now + NS_PER_SECOND / 2;
    collector_retell(m->collector);
}

/* The worker runs scripts: what it says is checked, never trusted. */
static void hear(struct moonwatch *m, const struct worker_message *message)
{
    switch ((enum worker_say)message->say) {
    case WORKER_RETELL:
        m->missed = message->missed;
        retell(m);
        break;
    case WORKER_STOP:
        if (message->error)
            ending_output(m, message->error);
        else
            ending(m, MOONWATCH_STOPPED);
        break;
    case WORKER_NEEDS:
        need(m, message->needs);
        break;
    case WORKER_MISSED: /* a report begins */
        m->missed = message->missed;
        m->summaries_len = 0;
        break;
    case WORKER_REPORTED:
        answer(m);
        break;
    case WORKER_SCRIPT:
        add_summary(m, &message->script);
        break;
    case WORKER_READY:
    case WORKER_FAILED:
        break;
    }
}

/* 1: a message; 0: none now; -EPIPE: the worker hung up. */
static int receive(struct moonwatch *m, struct worker_message *message, int patience_ms)
{
    struct pollfd ready = { .fd = m->control, .events = POLLIN };
    if (poll(&ready, 1, patience_ms) <= 0)
        return 0;
    ssize_t got = recv(m->control, message, sizeof *message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got != sizeof *message)
        return -EPIPE;
    message->text[sizeof message->text - 1] = '\0';
    message->script.name[sizeof message->script.name - 1] = '\0';
    return 1;
}

static void describe_death(struct moonwatch *m)
{
    int status = 0;
    pid_t worker = m->worker, ended = 0;
    m->worker = 0;
    m->worker_done = true;
    for (int ms = 0; ms < DEATH_PATIENCE_MS && ended == 0; ms++) {
        ended = waitpid(worker, &status, WNOHANG);
        if (ended == 0)
            usleep(1000);
    }
    if (ended == 0) { /* it hung up and lives on: it is not ours any more */
        kill(worker, SIGKILL);
        while ((ended = waitpid(worker, &status, 0)) < 0 && errno == EINTR)
            ;
    }
    if (ended != worker)
        return;
    if (WIFSIGNALED(status))
        fail(m, -EIO, "the script worker was killed by %s", strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status))
        fail(m, -EIO, "the script worker ended with status %d", WEXITSTATUS(status));
}

static void on_said(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct moonwatch *m = watcher->data;
    struct worker_message message;
    (void)events;

    int got = 0;
    for (int left = MESSAGES_A_TURN; left && (got = receive(m, &message, 0)) == 1; left--)
        hear(m, &message);
    if (got >= 0)
        return;
    ev_io_stop(loop, &m->said);
    describe_death(m);
    ending(m, MOONWATCH_WORKER_DIED);
}

static int fork_worker(struct moonwatch *m)
{
    int control[2], questions[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
        return fail(m, -errno, "cannot make a socket: %s", strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, questions) < 0) {
        int error = errno;
        close(control[0]);
        close(control[1]);
        return fail(m, -error, "cannot make a socket: %s", strerror(error));
    }

    struct worker_options options = {
        .ring = m->ring,
        .reader = POLICY_READER,
        .control = control[1],
        .questions = questions[1],
        .user = m->options.user,
        .scripts = m->scripts,
        .scripts_len = m->scripts_len,
        .only_load = m->only_load,
        .host = { .table_bytes = m->options.table_bytes,
                  .boot = event_boot_id(),
                  .fd = m->options.output,
                  .json = m->options.json,
                  .print_all = m->options.print },
    };
    m->worker = fork();
    if (m->worker == 0)
        _exit(worker_run(&options));
    close(control[1]);
    close(questions[1]);
    m->control = control[0];
    if (m->worker < 0) {
        int error = errno;
        m->worker = 0;
        close(questions[0]);
        return fail(m, -error, "cannot start the script worker: %s", strerror(error));
    }
    int result = steward_start(m->steward, questions[0]);
    return result < 0 ? fail(m, result, "cannot start a thread: %s", strerror(-result)) : 0;
}

static void take_wants(struct moonwatch *m, struct collector_options *wanted, uint32_t kinds,
                       bool threads, uint64_t needs)
{
    bool everything = m->options.on_event; /* what it looks at nobody can tell */
    m->needs = everything ? UINT64_MAX : needs;
    wanted->kinds = everything ? ON_ALL : kinds;
    wanted->threads = threads;
    wanted->needs = m->needs;
}

/* Loading may take as long as a script wants to: its author is watching. */
static int await_worker(struct moonwatch *m, struct collector_options *wanted)
{
    struct worker_message message;
    int got;
    while ((got = receive(m, &message, -1)) >= 0) {
        if (got == 1 && message.say == WORKER_FAILED)
            return fail(m, -EINVAL, "%s", message.text);
        if (got == 1 && message.say == WORKER_READY) {
            take_wants(m, wanted, message.kinds, message.threads, message.needs);
            return 0;
        }
    }
    fail(m, -EIO, "the script worker ended while it loaded the scripts");
    describe_death(m);
    return -EIO;
}

/* Memory that is not there when an event comes costs the event. Only pages that are used are
 * locked; without the right to, it goes on without. */
static void lock_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        log_info("memory is not locked: %s", strerror(errno));
}

static int open_collector(struct moonwatch *m, const struct collector_options *options)
{
    const char *why = "";
    bool worker = m->options.worker;
    int result = collector_open(&m->collector, options, worker ? to_ring : to_host,
                                worker ? flush_ring : flush_host, m, &why);
    return result < 0 ? fail(m, result, "%s", why) : 0;
}

/* What is only loaded keeps nothing and harms nobody. */
static int open_means(struct moonwatch *m)
{
    if (m->only_load)
        return 0;
    int result = signals_new(&m->signals, &m->proc, m->options.allow_kill);
    if (!result && m->options.state_dir)
        result = vault_new(&m->vault, m->options.state_dir);
    return result;
}

static int open_steward(struct moonwatch *m, const char *proc)
{
    int result = procfs_open(&m->proc, proc);
    if (result < 0)
        return fail(m, result, "cannot open %s: %s", proc, strerror(-result));
    result = open_means(m);
    if (result < 0)
        return fail(m, result, "not enough memory");
    struct steward_means means = {
        .proc = &m->proc, .vault = m->vault, .signals = m->signals
    };
    result = steward_new(&m->steward, &means);
    return result < 0 ? fail(m, result, "not enough memory") : 0;
}

static int start_worker(struct moonwatch *m, struct collector_options *options)
{
    int result = ring_new(&m->ring, m->options.ring_bytes);
    if (result < 0)
        return fail(m, result, "no shared memory for the ring: %s", strerror(-result));
    result = open_steward(m, options->proc);
    if (result < 0)
        return result;
    result = fork_worker(m);
    return result < 0 ? result : await_worker(m, options);
}

/* The worker first: so its own start is no news, and its scripts say what to ask the kernel for. */
static int start_with_worker(struct moonwatch *m, struct collector_options *options)
{
    int result = start_worker(m, options);
    if (result == 0)
        result = open_collector(m, options);
    if (result < 0)
        return result;

    ev_io_init(&m->said, on_said, m->control, EV_READ);
    m->said.data = m;
    ev_io_start(m->loop, &m->said);
    if (m->options.realtime) {
        m->priority = priority_raise((enum priority)m->options.priority);
        lock_memory();
    }
    return 0;
}

/* --- one process ------------------------------------------------------------------------------ */

static int request_here(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                        struct buf *out, int *fds)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    int got[REQUEST_FDS];
    return steward_answer(m->steward, kind, bytes, len, out, fds ? fds : got);
}

static void figures_here(void *ctx, struct figures *out)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    if (m->collector) /* not yet while the scripts are loaded */
        *out = figures_of(m);
}

static void stop_here(void *ctx)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    ending(m, MOONWATCH_STOPPED);
}

static void on_needing(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct moonwatch *m = watcher->data;
    (void)loop, (void)events;
    collector_need(m->collector, m->needs);
}

/* Comparing with /proc makes events, and one is being handled right now: do it next. */
static void need_here(void *ctx, uint64_t fields)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    if (!m->collector || !(fields & ~m->needs))
        return; /* of scripts that are being loaded host_needs tells */
    m->needs |= fields;
    ev_timer_start(m->loop, &m->needing);
}

/* When there is only to be loaded, nothing will be due. */
static void no_timer_start(void *ctx, int id, double after, double every)
{
    (void)ctx, (void)id, (void)after, (void)every;
}

static void no_timer_stop(void *ctx, int id)
{
    (void)ctx, (void)id;
}

static int load_here(struct moonwatch *m, struct collector_options *options)
{
    struct host_options host = {
        .world = { .ctx = &m->world,
                   .request = request_here,
                   .stop = stop_here,
                   .need = need_here,
                   .figures = figures_here,
                   .timer_start = world_timer_start,
                   .timer_stop = world_timer_stop },
        .table_bytes = m->options.table_bytes,
        .boot = event_boot_id(),
        .fd = m->options.output,
        .json = m->options.json,
        .print_all = m->options.print,
    };
    if (m->only_load) {
        host.world.timer_start = no_timer_start;
        host.world.timer_stop = no_timer_stop;
        host.world.stop = NULL;
    }
    m->world.loop = m->loop;
    ev_timer_init(&m->needing, on_needing, 0, 0);
    m->needing.data = m;
    int result = open_steward(m, options->proc);
    if (result < 0)
        return result;
    result = host_new(&m->host, &host);
    if (result < 0)
        return fail(m, result, "not enough memory for the script host");
    m->world.host = m->host;
    result = worker_load(m->host, m->scripts, m->scripts_len);
    if (result < 0)
        return fail(m, result, "%s", host_error(m->host));
    take_wants(m, options, host_kinds(m->host), host_threads(m->host), host_needs(m->host));
    return 0;
}

/* The scripts first, as with a worker: they say what to ask the kernel for. */
static int start_in_one(struct moonwatch *m, struct collector_options *options)
{
    int result = load_here(m, options);
    return result < 0 ? result : open_collector(m, options);
}

/* --- life ---------------------------------------------------------------------------------------
 */

int moonwatch_start(struct moonwatch *m, struct ev_loop *loop)
{
    struct collector_options options = {
        .buffer_bytes = (int)m->options.buffer_bytes,
        .table_bytes = m->options.table_bytes,
        .proc = "/proc",
        .tap = !(m->options.without & MOONWATCH_TAP),
        .taskstats = !(m->options.without & MOONWATCH_TASKSTATS),
        .delay_s = m->options.delay,
    };
    m->loop = loop;
    int result = m->options.worker ? start_with_worker(m, &options) : start_in_one(m, &options);
    if (result == 0)
        collector_start(m->collector, loop);
    return result;
}

/* --- what a start would ask for --------------------------------------------------------------- */

static int keep_script(struct watch_wants *wants, const struct host_script *script)
{
    struct host_script *more =
        realloc(wants->scripts, (size_t)(wants->scripts_len + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    wants->scripts = more;
    more[wants->scripts_len++] = *script;
    return 0;
}

static int wants_of_worker(struct moonwatch *m, struct collector_options *options,
                           struct watch_wants *wants)
{
    struct worker_message message;
    int got, result = start_worker(m, options);
    while (result == 0 && (got = receive(m, &message, -1)) >= 0)
        if (got == 1 && message.say == WORKER_SCRIPT)
            result = keep_script(wants, &message.script);
    if (result == 0)
        describe_death(m);
    return result;
}

static int wants_here(struct moonwatch *m, struct collector_options *options,
                      struct watch_wants *wants)
{
    int result = load_here(m, options);
    if (result < 0)
        return result;
    int n = host_scripts(m->host, NULL, 0);
    wants->scripts = calloc((size_t)n + 1, sizeof *wants->scripts);
    if (!wants->scripts)
        return -ENOMEM;
    wants->scripts_len = host_scripts(m->host, wants->scripts, n);
    return 0;
}

/* What scripts print while they are loaded is no part of the answer. */
int watch_wants(struct moonwatch *m, struct watch_wants *wants)
{
    struct collector_options options = { .proc = "/proc" };
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return fail(m, -errno, "cannot open /dev/null: %s", strerror(errno));
    *wants = (struct watch_wants){ 0 };
    m->options.output = nowhere;
    m->only_load = true;
    int result =
        m->options.worker ? wants_of_worker(m, &options, wants) : wants_here(m, &options, wants);
    host_free(m->host); /* before its output goes */
    m->host = NULL;
    close(nowhere);
    if (result == -ENOMEM)
        fail(m, result, "not enough memory for the plan");
    wants->kinds = options.kinds;
    wants->threads = options.threads;
    wants->needs = options.needs;
    return result;
}

/* --- the end ------------------------------------------------------------------------------------
 */

static void stop_worker(struct moonwatch *m)
{
    struct worker_message message;
    int64_t patience = clock_mono_ns() + STOP_PATIENCE_MS * (NS_PER_SECOND / 1000);

    if (ev_is_active(&m->said))
        ev_io_stop(m->loop, &m->said);
    ring_finish(m->ring);
    while (m->worker) {
        int left = (int)((patience - clock_mono_ns()) / (NS_PER_SECOND / 1000));
        int got = left > 0 ? receive(m, &message, left) : -ETIMEDOUT;
        if (got == 1)
            hear(m, &message);
        else if (got == -ETIMEDOUT) {
            log_warn("the script worker did not end in %d s: killed", STOP_PATIENCE_MS / 1000);
            kill(m->worker, SIGKILL);
            describe_death(m);
        } else if (got < 0)
            describe_death(m);
    }
}

static void summarize_host(struct moonwatch *m)
{
    struct host_script scripts[SUMMARIES_MAX];
    int n = host_scripts(m->host, scripts, SUMMARIES_MAX);
    m->summaries_len = 0;
    for (int i = 0; i < n && i < SUMMARIES_MAX; i++)
        add_summary(m, &scripts[i]);
}

static void stop_host(struct moonwatch *m)
{
    world_fini(&m->world);
    host_finish(m->host);
    summarize_host(m);
}

void moonwatch_stop(struct moonwatch *m)
{
    if (!m->loop || !m->collector)
        return;
    m->options.on_end = NULL; /* it is ending */
    m->answered = NULL;
    collector_stop(m->collector);
    if (m->worker || m->worker_done)
        stop_worker(m);
    if (m->host)
        stop_host(m);
    ev_timer_stop(m->loop, &m->needing);
    m->loop = NULL;
}

void moonwatch_free(struct moonwatch *m)
{
    if (!m)
        return;
    moonwatch_stop(m);
    if (m->worker) { /* the start failed half-way */
        kill(m->worker, SIGKILL);
        waitpid(m->worker, NULL, 0);
    }
    steward_free(m->steward);
    vault_free(m->vault);
    signals_free(m->signals);
    host_free(m->host);
    collector_free(m->collector);
    ring_free(m->ring);
    if (m->proc.root >= 0)
        procfs_close(&m->proc);
    if (m->control >= 0)
        close(m->control);
    for (int i = 0; i < m->scripts_len; i++) {
        free(m->scripts[i].name);
        free(m->scripts[i].text);
    }
    free(m->scripts);
    free(m->summaries);
    buf_free(&m->error);
    free(m);
}

void moonwatch_summarize(struct moonwatch *m, struct moonwatch_summary *out)
{
    *out = (struct moonwatch_summary){ .priority = priority_text(m->priority),
                                       .yields = m->yields,
                                       .sources = "none",
                                       .missed = m->missed,
                                       .scripts = m->summaries,
                                       .scripts_len = m->summaries_len };
    if (!m->collector)
        return;
    struct figures f = figures_of(m);
    out->events = f.events;
    out->lost = f.lost;
    out->forged = f.forged;
    out->inferred = f.inferred;
    out->execs = f.execs;
    out->exe_asked = f.exe_asked;
    out->args_asked = f.args_asked;
    out->exe = f.exe;
    out->args = f.args;
    out->comm = f.comm;
    out->processes = f.processes;
    out->evicted = f.evicted;
    out->unheard = f.unheard;
    out->sources = collector_count(m->collector).sources;
    out->buffer_bytes = (size_t)f.buffer_bytes;
}

void moonwatch_ask_scripts(struct moonwatch *m, moonwatch_answered *answered, void *ctx)
{
    bool asked = m->answered;
    m->answered = answered;
    m->answered_ctx = ctx;
    if (m->host) {
        summarize_host(m);
        answer(m);
    } else if (m->worker && !asked && send(m->control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        m->answered = NULL; /* it is gone, which the loop is about to hear */
    }
}
