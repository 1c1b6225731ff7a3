/* commands.c - runs commands, and keeps what the kernel told of them meanwhile. See commands.h.
 *
 * Three processes: ours waits; its child is the watch; the child of that is the runner, who starts the
 * commands one after another when the watch has begun, and whose descendants they all are. It adopts
 * what they leave behind, so nothing outlives it. */
#include "embed/commands.h"

#include "moonwatch.h"

#include "base/clock.h"
#include "collect/procfs.h"
#include "event/event.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S    3         /* of the watch, beyond the time that the commands have */
#define CLEANUP_S     2         /* to end what is left */
#define PIDS          (4 << 20) /* the kernel has no more */
#define ANCESTORS     64
#define RECORDS_MAX   ((off_t)256 << 20) /* bytes */
#define OUTPUT_MAX    ((size_t)64 << 10)
#define LOOK_EVERY_MS 20

extern char **environ;

/* Shared by the three. What is 0 has not happened. */
struct outcome {
    int at;          /* the command that was started last */
    int start_error; /* errno: it could not be */
    bool late;       /* it took too long */
    bool through;    /* the runner came to its end */
    bool refused;    /* there can be no watch here: `why` says so */
    bool too_many;   /* events */
    uint64_t lost;   /* events */
    char why[512];
    int status[];
};

struct watching {
    const struct rehearsal_commands *commands;
    struct outcome *outcome;
    struct ev_loop *loop;
    int records, output; /* descriptors, borrowed; the second one a pipe's */
    off_t records_len;
    pid_t runner, ancestors[ANCESTORS];
    int ancestors_len;
    uint8_t *family; /* owned: a bit for each pid that descends from the runner and lives */
    int alive;       /* how many of them */
    bool runner_ended;
};

/* --- the runner -------------------------------------------------------------------------------------- */

static const int waited_for[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };

static sigset_t runner_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof waited_for / sizeof *waited_for; i++)
        sigaddset(&set, waited_for[i]);
    return set;
}

/* 0, or an errno. */
static int start(char *const argv[], int output, pid_t *pid)
{
    sigset_t none, all;
    posix_spawnattr_t how;
    posix_spawn_file_actions_t files;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    int error = posix_spawnp(pid, argv[0], &files, &how, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return error;
}

/* Reap what has ended. 1: `pid` is among it. */
static int reap(pid_t pid, int *status)
{
    int found = 0, how;
    for (pid_t ended; (ended = waitpid(-1, &how, WNOHANG)) > 0; )
        if (ended == pid) {
            *status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
            found = 1;
        }
    return found;
}

/* Wait for a signal of ours, at most until then. 0: it is later, or we are to end. */
static int wait_signal(int64_t until_ns)
{
    sigset_t set = runner_signals();
    int64_t left = until_ns - clock_mono_ns();
    struct timespec time = { .tv_sec = left / NS_PER_SECOND, .tv_nsec = left % NS_PER_SECOND };
    if (left <= 0)
        return 0;
    int signal = sigtimedwait(&set, NULL, &time);
    return signal == SIGCHLD || (signal < 0 && errno == EINTR);
}

/* False: it cannot be started, or did not end in time. */
static bool run_one(const struct watching *w, int64_t until_ns)
{
    const struct rehearsal_commands *c = w->commands;
    struct outcome *o = w->outcome;
    pid_t pid;
    o->start_error = start(c->argv[o->at], w->output, &pid);
    if (o->start_error)
        return false;
    while (!reap(pid, &o->status[o->at]))
        if (!wait_signal(until_ns)) {
            o->late = true;
            return false;
        }
    return true;
}

static int kill_child(void *ctx, int pid)
{
    const struct procfs *proc = ctx;
    char bytes[1024];
    struct procfs_stat stat;
    int dir = procfs_pid_open(proc, pid);
    ssize_t len = dir < 0 ? dir : procfs_read(dir, "stat", bytes, sizeof bytes);
    if (len > 0 && procfs_parse_stat(bytes, (size_t)len, &stat) == 0 && stat.ppid == getpid())
        kill(pid, SIGKILL); /* ours, and not reaped: the pid is nobody else's */
    if (dir >= 0)
        close(dir);
    return 0;
}

/* The children of who ends become ours. */
static void kill_rest(void)
{
    struct procfs proc;
    int64_t until = clock_mono_ns() + CLEANUP_S * NS_PER_SECOND;
    if (procfs_open(&proc, "/proc") < 0)
        return;
    for (int status; !(waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD) && clock_mono_ns() < until; ) {
        procfs_scan(&proc, kill_child, &proc);
        wait_signal(clock_mono_ns() + NS_PER_SECOND / 100);
        reap(0, &status);
    }
    procfs_close(&proc);
}

/* Begins when the watch says so; who ends us before ends nothing else. */
static void run_commands(const struct watching *w, int go)
{
    struct outcome *o = w->outcome;
    sigset_t set = runner_signals();
    char byte;
    setsid(); /* no terminal */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (read(go, &byte, 1) != 1)
        return;
    sigprocmask(SIG_BLOCK, &set, NULL);
    int64_t until = clock_mono_ns() + (int64_t)(w->commands->limit_s * 1e9);
    for (o->at = 0; o->at < w->commands->len && run_one(w, until); o->at++)
        ;
    kill_rest();
    o->through = true;
}

static pid_t fork_runner(const struct watching *w, int go[2])
{
    pid_t pid = fork();
    if (pid)
        return pid;
    close(go[1]);
    run_commands(w, go[0]);
    _exit(0);
}

/* --- who is watched ---------------------------------------------------------------------------------- */

static bool is_family(const struct watching *w, int64_t pid)
{
    return pid > 0 && pid < PIDS && w->family[pid / 8] >> pid % 8 & 1;
}

static void set_family(struct watching *w, int64_t pid, bool lives)
{
    if (pid <= 0 || pid >= PIDS || is_family(w, pid) == lives)
        return;
    w->family[pid / 8] ^= (uint8_t)(1 << pid % 8);
    w->alive += lives ? 1 : -1;
}

static bool is_ancestor(const struct watching *w, int64_t pid)
{
    for (int i = 0; i < w->ancestors_len; i++)
        if (w->ancestors[i] == pid)
            return true;
    return false;
}

/* The runner, its parent, and so on. */
static void find_ancestors(struct watching *w)
{
    struct procfs proc;
    char bytes[1024];
    if (procfs_open(&proc, "/proc") < 0)
        return;
    for (int pid = w->runner; pid > 0 && w->ancestors_len < ANCESTORS; ) {
        struct procfs_stat stat;
        int dir = procfs_pid_open(&proc, pid);
        ssize_t len = dir < 0 ? dir : procfs_read(dir, "stat", bytes, sizeof bytes);
        w->ancestors[w->ancestors_len++] = pid;
        pid = len > 0 && procfs_parse_stat(bytes, (size_t)len, &stat) == 0 ? stat.ppid : 0;
        if (dir >= 0)
            close(dir);
    }
    procfs_close(&proc);
}

static void keep(struct watching *w, const struct event *ev)
{
    if (w->records_len + (off_t)ev->size > RECORDS_MAX || write(w->records, ev, ev->size) != (ssize_t)ev->size) {
        w->outcome->too_many = true;
        ev_break(w->loop, EVBREAK_ALL);
        return;
    }
    w->records_len += (off_t)ev->size;
}

static void on_event(void *ctx, const struct moonwatch_event *event)
{
    struct watching *w = ctx;
    const struct event *ev = (const struct event *)event;
    enum event_kind kind = event_kind(ev);
    int64_t pid = event_int(ev, F_PID, 0), ppid = event_int(ev, F_PPID, 0);

    if (kind == EVENT_FORK && (ppid == w->runner || is_family(w, ppid)))
        set_family(w, pid, true);
    if (is_family(w, pid) || (kind == EVENT_SNAPSHOT && is_ancestor(w, pid)))
        keep(w, ev);
    if (kind == EVENT_EXIT) {
        set_family(w, pid, false);
        w->runner_ended |= pid == w->runner;
    }
    if (w->runner_ended && !w->alive) /* an exit may come after that of who reaped it */
        ev_break(w->loop, EVBREAK_ALL);
}

static void on_time(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_end(void *ctx, enum moonwatch_end why)
{
    struct watching *w = ctx;
    (void)why;
    ev_break(w->loop, EVBREAK_ALL);
}

/* --- the watch --------------------------------------------------------------------------------------- */

static void watch_runner(struct watching *w, struct moonwatch *m, int go)
{
    ev_timer end;
    struct moonwatch_summary s;
    if (moonwatch_start(m, w->loop) < 0) {
        w->outcome->refused = true;
        snprintf(w->outcome->why, sizeof w->outcome->why, "%s", moonwatch_error(m));
        return;
    }
    ev_timer_init(&end, on_time, w->commands->limit_s + CLEANUP_S + PATIENCE_S, 0);
    ev_timer_start(w->loop, &end);
    if (write(go, "", 1) != 1)
        return;
    ev_run(w->loop, 0);
    moonwatch_stop(m);
    moonwatch_summarize(m, &s);
    w->outcome->lost = s.lost;
}

/* The life of the child in which the watch runs: as `moonwatch` would, with a worker and first in line. */
static void watch(struct watching *w)
{
    int go[2];
    struct moonwatch_options options;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    moonwatch_options_init(&options);
    options.worker = options.realtime = true;
    options.state_dir = NULL;
    options.on_event = on_event;
    options.on_end = on_end;
    options.ctx = w;

    struct moonwatch *m = moonwatch_new(&options);
    w->loop = ev_loop_new(EVFLAG_AUTO);
    w->family = calloc(PIDS / 8, 1);
    if (!w->loop || !w->family || !m || pipe2(go, O_CLOEXEC) < 0 || (w->runner = fork_runner(w, go)) < 0) {
        snprintf(w->outcome->why, sizeof w->outcome->why, "no watch could be made: %s", strerror(errno));
        return;
    }
    close(go[0]);
    find_ancestors(w);
    watch_runner(w, m, go[1]);
    kill(w->runner, SIGTERM); /* it has ended, or never will by itself */
    close(go[1]);
    waitpid(w->runner, NULL, 0);
    moonwatch_free(m);
}

/* --- what came of it --------------------------------------------------------------------------------- */

/* "sh -c 'exit 3'" is not to be read by a shell again: its words are enough. */
static void describe(char *const argv[], struct buf *out)
{
    buf_puts(out, "the command '");
    for (int i = 0; argv[i] && out->len < 120; i++) {
        size_t len = strlen(argv[i]);
        buf_puts(out, i ? " " : "");
        buf_harmless(out, argv[i], len < 80 ? len : 80);
        buf_puts(out, len < 80 ? "" : "...");
    }
    buf_puts(out, "'");
}

static void say_problem(struct rehearsal_commands *c, const struct outcome *o)
{
    if (o->start_error) {
        describe(c->argv[o->at], &c->problem);
        buf_printf(&c->problem, " cannot be started: %s", strerror(o->start_error));
    } else if (o->late) {
        describe(c->argv[o->at], &c->problem);
        buf_printf(&c->problem, " was ended: it takes more than %g s", c->limit_s);
    } else if (o->too_many) {
        buf_puts(&c->problem, "the commands make more events than a test can take");
    } else if (o->lost) {
        buf_printf(&c->problem, "%llu events were lost while the commands ran: try it again",
                   (unsigned long long)o->lost);
    } else if (*o->why || !o->through) {
        buf_puts(&c->problem, *o->why ? o->why : "the commands could not be watched to their end");
    }
}

/* All that is in a file of ours. */
static int read_back(int fd, size_t most, struct buf *out)
{
    struct stat about;
    if (fstat(fd, &about) < 0)
        return -errno;
    size_t len = (uint64_t)about.st_size < most ? (size_t)about.st_size : most;
    char *to = buf_reserve(out, len + 1);
    ssize_t got = to ? pread(fd, to, len, 0) : 0;
    if (!to || got != (ssize_t)len)
        return -ENOMEM;
    out->len += len;
    return 0;
}

/* Take what the commands have written, and forget what is more than anybody reads: a pipe that is full would
 * hold them up. False: nobody writes any more. */
static bool drain(struct rehearsal_commands *c, int output)
{
    char bytes[16 << 10];
    ssize_t got;
    while ((got = read(output, bytes, sizeof bytes)) > 0) {
        size_t room = c->output.len < OUTPUT_MAX ? OUTPUT_MAX - c->output.len : 0;
        buf_add(&c->output, bytes, (size_t)got < room ? (size_t)got : room);
    }
    return got < 0;
}

/* Until the watch has ended: some of what it watched may be beyond its reach, and keep the pipe open. */
static void wait_for(struct rehearsal_commands *c, pid_t watch, int output)
{
    struct pollfd readable = { .fd = output, .events = POLLIN };
    while (waitpid(watch, NULL, WNOHANG) == 0)
        if (poll(&readable, 1, LOOK_EVERY_MS) > 0 && !drain(c, output))
            readable.fd = -1;
    if (readable.fd >= 0)
        drain(c, output);
}

static int take(struct rehearsal_commands *c, const struct outcome *o, int records)
{
    memcpy(c->status, o->status, sizeof *c->status * (size_t)c->len);
    if (o->refused)
        buf_puts(&c->refused, o->why);
    else
        say_problem(c, o);
    return c->output.failed ? -ENOMEM : read_back(records, RECORDS_MAX, &c->records);
}

/* The life of the child. */
static void watch_and_exit(struct watching *w, const int output[2])
{
    close(output[0]);
    w->output = output[1];
    watch(w);
    _exit(0);
}

int commands_run(void *ctx, struct rehearsal_commands *c)
{
    size_t size = sizeof(struct outcome) + sizeof(int) * (size_t)c->len;
    struct outcome *o = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct watching w = { .commands = c, .outcome = o, .records = memfd_create("records", MFD_CLOEXEC) };
    int result = -ENOMEM, output[2];
    pid_t child = -1;
    (void)ctx;
    if (o != MAP_FAILED && w.records >= 0 && pipe2(output, O_CLOEXEC) == 0) {
        child = fork();
        if (child == 0)
            watch_and_exit(&w, output);
        close(output[1]);
        fcntl(output[0], F_SETFL, O_NONBLOCK);
        if (child > 0) {
            wait_for(c, child, output[0]);
            result = take(c, o, w.records);
        }
        close(output[0]);
    }
    if (o != MAP_FAILED)
        munmap(o, size);
    if (w.records >= 0)
        close(w.records);
    return result;
}
