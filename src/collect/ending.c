/* ending.c - when has a process ended, and how? See ending.h. */
#include "collect/ending.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A thread that execs takes the main thread's place in steps: for a moment neither is there. An end
 * of which nobody tells is one that found no room for its record. */
#define PATIENCE_S 0.05

/* --- what was told --------------------------------------------------------------------- */

/* The end of a process is told at most so long after its EXIT, in the kernel's own stamps; and an
 * EXIT after its end: the last thread may have waited for a processor in between. */
#define END_AFTER_EXIT_NS INT64_C(300000)
#define EXIT_AFTER_END_NS (NS_PER_SECOND / 10)

static bool take_tapped(struct ending *e, int pid, int64_t mono_ns, struct process_end *end)
{
    size_t len;
    const void *record = notes_take(e->notes, TAP_NOTES_END, pid, mono_ns, &len);
    if (!record && tap_drain(e->tap, e->notes) > 0)
        record = notes_take(e->notes, TAP_NOTES_END, pid, mono_ns, &len);
    return record && tap_end(record, len, end);
}

/* taskstats knows the process by its pid alone: the oldest end of the pid is of the oldest owner
 * whose EXIT did not come yet, unless something was lost. An end long before this moment is of an
 * earlier owner; one after it is that of a process whose main thread ended first. */
static bool take_accounted(struct ending *e, const struct kernel_event *kev,
                           struct process_end *end)
{
    const struct completer *c = e->completer;
    int64_t forked_at = tracker_forked_at(c->tracker, complete_exit_of(c, kev));
    const struct process_end *next;
    while ((next = taskstats_find(e->taskstats, kev->pid)) != NULL) {
        int64_t after = forked_at ? kev->mono_ns - forked_at - next->elapsed_ns : 0;
        if (after <= -END_AFTER_EXIT_NS)
            return false;
        taskstats_take(e->taskstats, kev->pid, end);
        if (after < EXIT_AFTER_END_NS)
            return true;
    }
    return false;
}

/* Of the end of this process, up to this moment. WHY_ABSENT: nothing was told. */
static enum event_why take_end(struct ending *e, const struct kernel_event *kev,
                               struct process_end *end)
{
    if (e->tap)
        return take_tapped(e, kev->pid, kev->mono_ns, end) ? WHY_TAP : WHY_ABSENT;
    if (e->taskstats)
        return take_accounted(e, kev, end) ? WHY_TASKSTATS : WHY_ABSENT;
    return WHY_ABSENT;
}

/* Complete this EXIT with what was told. The code is the process's, which need not be its main
 * thread's; taskstats has it from the last thread, which with one thread is no news. */
static void complete_with(struct ending *e, const struct kernel_event *kev,
                          const struct process_end *end, enum event_why told)
{
    struct kernel_event exit = *kev;
    if (told == WHY_TAP || !end->single)
        exit.exit_code = end->exit_code;
    complete_end(e->completer, &exit, end, told);
}

/* --- what a pidfd tells ---------------------------------------------------------------- */

/* Field 52 of /proc/PID/stat: for a zombie the wait status of the whole group. */
static bool stat_group_status(const struct ending *e, int pid, uint32_t *status)
{
    char text[1024];
    int dir = procfs_pid_open(e->fs, pid);
    if (dir < 0)
        return false;
    ssize_t len = procfs_read(dir, "stat", text, sizeof text - 1);
    close(dir);
    if (len <= 0)
        return false;
    text[len] = '\0';
    const char *last = strrchr(text, ' ');
    if (last)
        *status = (uint32_t)strtoul(last + 1, NULL, 10);
    return last != NULL;
}

/* PIDFD_GET_INFO of Linux 6.13, whose exit status (6.15) is there once the process was reaped.
 * Debian 12's headers have neither. */
struct pidfd_info {
    uint64_t mask, cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};
#define PIDFD_GET_INFO  _IOWR(0xFF, 11, struct pidfd_info)
#define PIDFD_INFO_EXIT (UINT64_C(1) << 3)

static bool pidfd_group_status(int fd, uint32_t *status)
{
    struct pidfd_info info = { .mask = PIDFD_INFO_EXIT };
    if (ioctl(fd, PIDFD_GET_INFO, &info) < 0 || !(info.mask & PIDFD_INFO_EXIT))
        return false;
    *status = (uint32_t)info.exit_code;
    return true;
}

/* A pidfd of a process that lives; GONE: none does; UNTOLD: it cannot be had. */
enum { GONE = -1, UNTOLD = -2 };

static int open_living(const struct ending *e, int pid)
{
    if (e->watched == WATCHED)
        return UNTOLD;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd ended = { .fd = fd, .events = POLLIN };
    if (fd < 0)
        return errno == ESRCH || errno == EINVAL ? GONE : UNTOLD;
    if (poll(&ended, 1, 0) == 0)
        return fd;
    close(fd);
    return GONE;
}

/* --- lingering ------------------------------------------------------------------------- */

static void watch(struct ending *e, struct lingering *l, int fd);

static struct lingering *find(struct ending *e, int pid)
{
    for (int i = 0, left = e->used; left; i++) {
        left -= e->lingering[i].used;
        if (e->lingering[i].used && e->lingering[i].exit.pid == pid)
            return &e->lingering[i];
    }
    return NULL;
}

static void unwatch(struct ending *e, struct lingering *l)
{
    if (!l->watched)
        return;
    ev_io_stop(e->loop, &l->watcher);
    close(l->watcher.fd);
    l->watched = false;
    e->watched--;
}

static void forget(struct ending *e, struct lingering *l)
{
    unwatch(e, l);
    e->used -= l->used;
    l->used = false;
}

/* Was the end told that was awaited? */
static bool complete_told(struct ending *e, struct lingering *l, int64_t until_ns)
{
    struct process_end end;
    struct kernel_event exit = l->exit;
    exit.mono_ns = until_ns;
    enum event_why told = take_end(e, &exit, &end);
    if (!told)
        return false;
    forget(e, l);
    complete_with(e, &exit, &end, told);
    return true;
}

/* It has ended, and nobody told how: there is no source, or its record found no room. */
static void complete_untold(struct ending *e, struct lingering *l)
{
    struct kernel_event exit = l->exit;
    if (l->watched || !exit.mono_ns) {
        exit.mono_ns = clock_mono_ns();
        if (!(l->watched && pidfd_group_status(l->watcher.fd, &exit.exit_code)) &&
            !stat_group_status(e, exit.pid, &exit.exit_code))
            exit.exit_code = KERNEL_EXIT_UNKNOWN;
    }
    forget(e, l);
    complete_event(e->completer, &exit);
}

/* The pidfd says that the process has ended. So it does for a moment while a thread takes the main
 * thread's place; then its EXEC is queued, and reading it forgets this one. */
static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct ending *e = watcher->data;
    struct lingering *l = (struct lingering *)watcher;
    int pid = l->exit.pid;
    (void)loop, (void)events;

    e->read(e->ctx);
    if (find(e, pid) != l)
        return;
    e->watched--; /* it makes way for its successor */
    int fd = open_living(e, pid);
    e->watched++;
    if (fd >= 0) {
        unwatch(e, l);
        watch(e, l, fd);
    } else {
        complete_untold(e, l);
    }
    e->read(e->ctx);
}

static void watch(struct ending *e, struct lingering *l, int fd)
{
    ev_io_init(&l->watcher, on_readable, fd, EV_READ);
    l->watcher.data = e;
    l->watched = true;
    e->watched++;
    ev_io_start(e->loop, &l->watcher);
}

static void start_patience(struct ending *e)
{
    if (ev_is_active(&e->patience))
        return;
    ev_timer_set(&e->patience, PATIENCE_S, 0);
    ev_timer_start(e->loop, &e->patience);
}

/* Nobody told of it for long enough: does it live? */
static void judge(struct ending *e, struct lingering *l)
{
    int fd = open_living(e, l->exit.pid);
    if (fd >= 0)
        watch(e, l, fd);
    else if (fd == GONE)
        complete_untold(e, l);
}

static void on_patience_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct ending *e = watcher->data;
    int64_t before_ns = clock_mono_ns() - (int64_t)(PATIENCE_S * 1e9);
    bool more = false;
    (void)loop, (void)events;
    e->read(e->ctx);
    for (int i = 0; i < LINGERING; i++) {
        struct lingering *l = &e->lingering[i];
        if (!l->used || l->watched)
            continue;
        if (l->kept_ns <= before_ns)
            judge(e, l);
        more = more || (l->used && !l->watched);
    }
    if (more)
        start_patience(e);
    e->read(e->ctx);
}

/* Keep an EXIT. With a pidfd (>= 0) it wakes us; without one it waits for what is queued, or for
 * long enough. Takes the descriptor; false: there is no room. */
static bool keep(struct ending *e, const struct kernel_event *kev, int fd)
{
    struct lingering *l = find(e, kev->pid); /* of a scan that was faster than the message */
    for (int i = 0; i < LINGERING && !l; i++)
        if (!e->lingering[i].used)
            l = &e->lingering[i];
    if (!l || !e->loop) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    forget(e, l);
    l->used = true;
    e->used++;
    l->kept_ns = clock_mono_ns();
    l->exit = *kev;
    if (fd >= 0)
        watch(e, l, fd);
    else
        start_patience(e);
    return true;
}

bool ending_lingers(struct ending *e, int pid)
{
    struct kernel_event exit = { .kind = EVENT_EXIT, .pid = pid, .tid = pid };
    if (find(e, pid))
        return true;
    int fd = open_living(e, pid);
    return fd != GONE && keep(e, &exit, fd);
}

/* --- messages -------------------------------------------------------------------------- */

/* Nothing was told of an end: with a source that tells it, the process went on after this EXIT,
 * though it may be gone by now. Without one it went on if it is there. */
void ending_exit(struct ending *e, const struct kernel_event *kev)
{
    struct process_end end;
    enum event_why told = take_end(e, kev, &end);
    if (told) {
        complete_with(e, kev, &end, told);
        return;
    }
    const struct tracker *t = e->completer->tracker;
    if (complete_exit_of(e->completer, kev) != tracker_alive(t, kev->pid)) {
        complete_event(e->completer, kev); /* of an earlier owner of the pid */
        return;
    }
    int fd = open_living(e, kev->pid);
    if ((fd != GONE || e->tap || e->taskstats) && keep(e, kev, fd))
        return;
    complete_event(e->completer, kev);
}

void ending_exec(struct ending *e, const struct kernel_event *kev)
{
    struct lingering *l = find(e, kev->pid);
    if (l)
        forget(e, l);
}

void ending_fork(struct ending *e, const struct kernel_event *kev)
{
    struct lingering *l = find(e, kev->pid);
    bool of_itself = l && !l->exit.mono_ns && kev->mono_ns < l->kept_ns; /* the scan was faster */
    if (!l || of_itself || complete_told(e, l, kev->mono_ns))
        return;
    struct kernel_event exit = l->exit; /* nobody can be asked any more: the pid is another's */
    if (!exit.mono_ns) {                /* found by a scan */
        exit.mono_ns = kev->mono_ns;
        exit.exit_code = KERNEL_EXIT_UNKNOWN;
    }
    forget(e, l);
    complete_event(e->completer, &exit);
}

void ending_settle(struct ending *e, int64_t read_until_ns)
{
    for (int i = 0; e->used && i < LINGERING; i++)
        if (e->lingering[i].used)
            complete_told(e, &e->lingering[i], read_until_ns);
}

/* --- life ------------------------------------------------------------------------------ */

void ending_start(struct ending *e, struct ev_loop *loop)
{
    e->loop = loop;
    ev_timer_init(&e->patience, on_patience_over, 0, 0);
    e->patience.data = e;
}

void ending_stop(struct ending *e)
{
    if (!e->loop)
        return;
    ev_timer_stop(e->loop, &e->patience);
    for (int i = 0; i < LINGERING; i++) {
        struct lingering *l = &e->lingering[i];
        if (l->used && l->watched)
            forget(e, l);
        else if (l->used)
            complete_untold(e, l);
    }
    e->loop = NULL;
}
