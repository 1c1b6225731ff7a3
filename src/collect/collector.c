/* collector.c - joins socket, /proc, process table and loss ledger to a libev loop. See
 * collector.h.
 *
 * Comparing with /proc (at the start and after a loss) is a scan and then a marker: our own
 * PR_SET_NAME comes back as a COMM event, and as the socket is one queue, everything that happened
 * before the scan has been read by then. Who is in the table, was not in /proc and has not told
 * of its end until the marker is gone without a word. */
#include "collect/collector.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEARTBEAT_S    5.0
#define SCAN_EVERY_NS  NS_PER_SECOND
#define BATCHES_A_TURN 64 /* of 32 datagrams: then others on the loop get theirs */

/* What the process table lives on; never filtered out. */
#define ALWAYS (ON(FORK) | ON(EXEC) | ON(EXIT) | ON(UID) | ON(GID) | ON(SID) | ON(COMM))

/* Messages that were received and not yet handled; a power of two. Pages that are never used cost
 * nothing. */
#define AHEAD      65536
#define AHEAD_PIDS 65536
#define BATCH_MOST 32 /* of netlink_receive */

struct ahead {
    struct kernel_event events[AHEAD];
    uint16_t heirs[AHEAD_PIDS]; /* how many forks and execs among them, by pid */
    unsigned head, tail;        /* count on; the first is at tail % AHEAD */
};

/* Main threads that exited before their process did. */
#define LINGERING 64

struct lingering {
    ev_io watcher; /* of a pidfd, owned; its fd is -1 when the place is free */
    struct kernel_event exit;
};

struct collector {
    struct netlink netlink;
    struct procfs fs;
    struct tracker *tracker; /* owned */
    struct completer completer;
    struct ledger ledger;
    struct ahead *ahead; /* owned */
    bool overrun;        /* the kernel said so; settled when all is handled */
    struct collector_options options;
    collector_flush *flush;
    void *ctx;

    struct ev_loop *loop; /* NULL until started */
    ev_io readable;
    ev_timer heartbeat, rescan;
    ev_idle go_on; /* runs while there is something left over */
    struct lingering lingering[LINGERING];

    int own_pid;
    bool comparing, compare_infers;
    int64_t scan_ns; /* when the last scan began */
    uint64_t scans;
    unsigned markers_out, markers_back, marker_wanted;
    double fill;
};

/* --- markers -------------------------------------------------------------------------- */

static void send_marker(struct collector *c)
{
    char name[16] = "";
    c->markers_out++;
    if (syscall(SYS_gettid) == c->own_pid) {
        prctl(PR_GET_NAME, name);
        prctl(PR_SET_NAME, name);
        return;
    }
    /* not on the main thread: the filter would drop our own COMM, so name the main thread anew */
    int fd = open("/proc/self/comm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t len = read(fd, name, sizeof name - 1);
    if (len > 0 && write(fd, name, (size_t)len - (name[len - 1] == '\n')) < 0)
        log_debug("marker: %s", strerror(errno));
    close(fd);
}

/* --- comparing with /proc ------------------------------------------------------------- */

static bool lingers(const struct collector *c, int pid)
{
    for (int i = 0; i < LINGERING; i++)
        if (c->lingering[i].watcher.fd >= 0 && c->lingering[i].exit.pid == pid)
            return true;
    return false;
}

static bool linger(struct collector *c, const struct kernel_event *kev);

static int scan_one(void *ctx, int pid)
{
    struct collector *c = ctx;
    struct kernel_event exit = { .kind = EVENT_EXIT, .pid = pid, .tid = pid };
    if (lingers(c, pid) ||
        (!complete_from_proc(&c->completer, pid, c->compare_infers) && linger(c, &exit)))
        tracker_mark(c->tracker, tracker_alive(c->tracker, pid));
    return 0;
}

static void compare(struct collector *c, bool infers)
{
    complete_clocks(&c->completer);
    c->compare_infers = infers;
    c->scan_ns = clock_mono_ns();
    c->scans++;
    tracker_round(c->tracker);
    int result = procfs_scan(&c->fs, scan_one, c);
    if (result < 0)
        log_error("cannot list %s: %s; processes that were running are not known", c->options.proc,
                  strerror(-result));
    c->comparing = true;
    send_marker(c);
    c->marker_wanted = c->markers_out;
}

static void end_if_vanished(void *ctx, tracker_ref ref)
{
    struct collector *c = ctx;
    if (tracker_forked_at(c->tracker, ref) < c->scan_ns)
        complete_vanished(&c->completer, ref);
}

static void finish_comparing(struct collector *c)
{
    c->comparing = false;
    tracker_unmarked(c->tracker, end_if_vanished, c);
    if (c->compare_infers)
        complete_awaited(&c->completer);
}

/* --- main threads that end before their process --------------------------------------- */

static int open_pidfd(int pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* "7 (a) b) Z 1 7 ... 100 ... 256\n" if /proc still shows the process that the table has under this
 * pid: by now it may belong to another. Borrows from `text`. */
static bool stat_of_known(const struct collector *c, int pid, char *text, size_t cap,
                          struct procfs_stat *stat)
{
    int64_t start = tracker_int(c->tracker, tracker_alive(c->tracker, pid), F_STARTTIME, -1);
    int dir = procfs_pid_open(&c->fs, pid);
    if (dir < 0)
        return false;
    ssize_t len = procfs_read(dir, "stat", text, cap - 1);
    close(dir);
    if (len <= 0 || procfs_parse_stat(text, (size_t)len, stat) < 0)
        return false;
    text[len] = '\0';
    return start < 0 || tracker_same_start(start, (int64_t)stat->starttime);
}

/* Field 52 of /proc/PID/stat: for a zombie the wait status of the whole group. */
static bool stat_group_status(const struct collector *c, int pid, uint32_t *status)
{
    char text[1024];
    struct procfs_stat stat;
    if (!stat_of_known(c, pid, text, sizeof text, &stat) || stat.state != 'Z')
        return false;
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

static void stop_lingering(struct collector *c, struct lingering *l)
{
    ev_io_stop(c->loop, &l->watcher);
    close(l->watcher.fd);
    l->watcher.fd = -1;
}

static void group_ended(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct collector *c = watcher->data;
    struct lingering *l = (struct lingering *)watcher;
    (void)loop, (void)events;

    l->exit.mono_ns = clock_mono_ns();
    if (!stat_group_status(c, l->exit.pid, &l->exit.exit_code) &&
        !pidfd_group_status(l->watcher.fd, &l->exit.exit_code))
        l->exit.exit_code = KERNEL_EXIT_UNKNOWN;
    stop_lingering(c, l);
    complete_event(&c->completer, &l->exit);
    c->flush(c->ctx);
}

static void take_all(struct collector *c);
static enum complete_doubt arrived_since(const struct collector *c, int pid);

/* When we come late, what lives under this pid may be its next owner. It need not be a zombie to be
 * the same: another thread that execs takes the main one's place. */
static bool is_next_owner(struct collector *c, int pid)
{
    char text[1024];
    struct procfs_stat stat;
    if (!stat_of_known(c, pid, text, sizeof text, &stat))
        return true;
    take_all(c);
    return arrived_since(c, pid) == COMPLETE_LATER_OWNER;
}

/* Did only the main thread end? Then the process ends when its pidfd becomes readable. */
static bool linger(struct collector *c, const struct kernel_event *kev)
{
    int fd = open_pidfd(kev->pid);
    if (fd < 0)
        return false;
    struct pollfd ended = { .fd = fd, .events = POLLIN };
    struct lingering *l = NULL;
    for (int i = 0; i < LINGERING && !l; i++)
        if (c->lingering[i].watcher.fd < 0)
            l = &c->lingering[i];
    if (!l || !c->loop || poll(&ended, 1, 0) != 0 || is_next_owner(c, kev->pid)) {
        close(fd);
        return false;
    }
    l->exit = *kev;
    ev_io_init(&l->watcher, group_ended, fd, EV_READ);
    l->watcher.data = c;
    ev_io_start(c->loop, &l->watcher);
    return true;
}

/* A thread that execs becomes the main one: the process lives on. */
static void forget_lingering(struct collector *c, int pid)
{
    for (int i = 0; i < LINGERING; i++)
        if (c->lingering[i].watcher.fd >= 0 && c->lingering[i].exit.pid == pid)
            stop_lingering(c, &c->lingering[i]);
}

/* --- events --------------------------------------------------------------------------- */

static void handle(struct collector *c, const struct kernel_event *kev)
{
    if (kev->kind == EVENT_COMM && kev->pid == c->own_pid && kev->tid == c->own_pid) {
        c->markers_back++;
        if (c->comparing && c->markers_back == c->marker_wanted)
            finish_comparing(c);
        return;
    }
    if (kev->kind == EVENT_EXIT && kev->pid == kev->tid && linger(c, kev))
        return;
    if (kev->kind == EVENT_EXEC)
        forget_lingering(c, kev->pid);
    complete_event(&c->completer, kev);
}

/* Forks of processes and execs: what makes another of who has this pid. */
static bool makes_another(const struct kernel_event *kev)
{
    return kev->kind == EVENT_EXEC || (kev->kind == EVENT_FORK && kev->pid == kev->tid);
}

static bool handle_next(struct collector *c)
{
    struct ahead *a = c->ahead;
    if (a->tail == a->head)
        return false;
    struct kernel_event kev = a->events[a->tail++ % AHEAD];
    if (makes_another(&kev))
        a->heirs[(unsigned)kev.pid % AHEAD_PIDS]--;
    handle(c, &kev);
    return true;
}

static void on_kernel_event(void *ctx, const struct kernel_event *kev)
{
    struct collector *c = ctx;
    struct ahead *a = c->ahead;
    ledger_note(&c->ledger, kev->cpu, kev->seq, kev->mono_ns);
    if (a->head - a->tail == AHEAD) { /* a handshake during which that many came */
        ledger_dropped(&c->ledger, 1, true);
        c->overrun = true;
        return;
    }
    a->events[a->head++ % AHEAD] = *kev;
    if (makes_another(kev))
        a->heirs[(unsigned)kev->pid % AHEAD_PIDS]++;
}

static bool has_room(const struct ahead *a)
{
    return AHEAD - (a->head - a->tail) >= BATCH_MOST;
}

/* As netlink_receive; 0 also when there is no room. */
static int receive(struct collector *c)
{
    if (!has_room(c->ahead))
        return 0;
    int got = netlink_receive(&c->netlink, on_kernel_event, c);
    if (got == -ENOBUFS) {
        c->overrun = true;
        ledger_dropped(&c->ledger, 0, true);
    }
    return got;
}

/* All that has arrived, as far as there is room. */
static void take_all(struct collector *c)
{
    int got;
    while ((got = receive(c)) > 0 || got == -ENOBUFS)
        ;
}

/* What the messages that were taken say about this pid. */
static enum complete_doubt arrived_since(const struct collector *c, int pid)
{
    const struct ahead *a = c->ahead;
    enum complete_doubt doubt = COMPLETE_SURE;
    if (!a->heirs[(unsigned)pid % AHEAD_PIDS])
        return doubt;
    for (unsigned i = a->tail; i != a->head && doubt != COMPLETE_LATER_OWNER; i++) {
        const struct kernel_event *later = &a->events[i % AHEAD];
        if (later->pid == pid && makes_another(later))
            doubt = later->kind == EVENT_FORK ? COMPLETE_LATER_OWNER : COMPLETE_LATER_IMAGE;
    }
    return doubt;
}

/* What /proc showed at an exec is of this very program unless the process had gone on to another by
 * then, and of that there is a message. It was sent before the new program ran its first
 * instruction, so it has arrived when /proc was read after that; with no room to look further the
 * answer is the careful one. */
static enum complete_doubt look_ahead(void *ctx, const struct kernel_event *exec)
{
    struct collector *c = ctx;
    take_all(c);
    return has_room(c->ahead) ? arrived_since(c, exec->pid) : COMPLETE_LATER_OWNER;
}

/* The queue is empty: if anything was lost, say how much, and compare with /proc. */
static void settle(struct collector *c)
{
    struct ledger_episode episode;
    ledger_dropped(&c->ledger, netlink_dropped(&c->netlink, &c->fill), false);
    if (!ledger_close(&c->ledger, clock_mono_ns(), &episode))
        return;
    complete_lost(&c->completer, episode.lost, episode.from_ns, episode.until_ns);
    c->markers_back = c->markers_out; /* one of them may be among the lost */
    if (c->loop && !ev_is_active(&c->rescan)) {
        double wait = (double)(c->scan_ns + SCAN_EVERY_NS - clock_mono_ns()) / 1e9;
        ev_timer_set(&c->rescan, wait > 0 ? wait : 0, 0);
        ev_timer_start(c->loop, &c->rescan);
    }
}

/* Handle until nothing is queued or the turn is over. True when nothing is queued. What is left
 * over was taken from the socket already, which wakes nobody for it. */
static bool drain(struct collector *c, int batches)
{
    for (int left = batches * BATCH_MOST; left > 0; left--) {
        if (handle_next(c))
            continue;
        int got = receive(c);
        if (got <= 0 && got != -ENOBUFS) {
            if (c->overrun || c->ledger.open)
                settle(c);
            c->overrun = false;
            if (c->loop)
                ev_idle_stop(c->loop, &c->go_on);
            return true;
        }
    }
    if (c->loop)
        ev_idle_start(c->loop, &c->go_on);
    return false;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    drain(c, BATCHES_A_TURN);
    c->flush(c->ctx);
}

static void on_left_over(struct ev_loop *loop, ev_idle *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    drain(c, BATCHES_A_TURN);
    c->flush(c->ctx);
}

static void on_rescan(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    compare(c, true);
    c->flush(c->ctx);
}

/* Somebody else's IGNORE can silence every listener before 6.6, and a bug of some 6.6 and 6.7
 * kernels too: begin anew. Until it works, each heartbeat tries again. */
static void reopen(struct collector *c)
{
    struct netlink_filter filter = c->netlink.filter;
    struct netlink_counters count = c->netlink.count;
    log_warn("the kernel went silent: listening anew");
    while (handle_next(c))
        ;
    ev_io_stop(c->loop, &c->readable);
    netlink_close(&c->netlink);
    int result = netlink_open(&c->netlink, filter, c->options.buffer_bytes);
    c->netlink.count = count;
    if (result < 0 || netlink_listen(&c->netlink, on_kernel_event, c) != NETLINK_OK) {
        log_error("cannot listen again; trying in %g s", HEARTBEAT_S);
        return;
    }
    c->markers_back = c->markers_out;
    ev_io_set(&c->readable, c->netlink.fd, EV_READ);
    ev_io_start(c->loop, &c->readable);
    compare(c, true);
}

static void on_heartbeat(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    complete_clocks(&c->completer);
    if (drain(c, BATCHES_A_TURN))
        settle(c);
    if (c->markers_out - c->markers_back >= 2)
        reopen(c);
    send_marker(c);
    c->flush(c->ctx);
}

/* --- life ----------------------------------------------------------------------------- */

static struct netlink_filter filter_for(uint32_t kinds, bool threads)
{
    return (struct netlink_filter){ .kinds = ALWAYS | (kinds & (ON(PTRACE) | ON(COREDUMP))),
                                    .threads = threads };
}

/* Numbers prove a loss only while nothing is filtered: not from before the filter goes, and
 * not until what it let through has been read. */
void collector_subscribe(struct collector *c, uint32_t kinds, bool threads)
{
    struct netlink_filter filter = filter_for(kinds, threads);
    bool all = netlink_filter_passes_all(filter);
    if (!all)
        ledger_set_unfiltered(&c->ledger, false);
    int result = netlink_set_filter(&c->netlink, filter);
    if (result < 0) {
        log_warn("cannot change the kernel filter: %s", strerror(-result));
        return;
    }
    if (all) {
        drain(c, BATCHES_A_TURN);
        ledger_set_unfiltered(&c->ledger, true);
    }
}

void collector_need(struct collector *c, uint64_t fields)
{
    bool more = fields & ~c->completer.needs;
    c->completer.needs = fields;
    if (more && c->loop) {
        compare(c, c->comparing && c->compare_infers);
        c->flush(c->ctx);
    }
}

int collector_open(struct collector **out, const struct collector_options *options,
                   complete_sink *sink, collector_flush *flush, void *ctx, const char **why)
{
    struct collector *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->options = *options;
    c->flush = flush;
    c->ctx = ctx;
    c->netlink.fd = c->fs.root = -1;
    c->own_pid = getpid();
    for (int i = 0; i < LINGERING; i++)
        c->lingering[i].watcher.fd = -1;
    ledger_init(&c->ledger);

    int result = -ENOMEM;
    *why = "not enough memory for the process table";
    c->tracker = tracker_new(options->table_bytes);
    c->ahead = calloc(1, sizeof *c->ahead);
    if (!c->tracker || !c->ahead)
        goto failed;

    *why = "cannot open /proc: is it mounted?";
    result = procfs_open(&c->fs, options->proc);
    if (result < 0)
        goto failed;
    complete_init(&c->completer, c->tracker, &c->fs, sink, ctx);
    c->completer.needs = options->needs;
    c->completer.look_ahead = look_ahead;
    c->completer.look_ahead_ctx = c;

    c->ledger.last_mono_ns = clock_mono_ns();
    struct netlink_filter filter = filter_for(options->kinds, options->threads);
    result = netlink_open(&c->netlink, filter, options->buffer_bytes);
    if (result < 0) {
        *why = netlink_refusal_text(netlink_refusal_of(result));
        goto failed;
    }
    enum netlink_refusal refusal = netlink_listen(&c->netlink, on_kernel_event, c);
    if (refusal != NETLINK_OK) {
        *why = netlink_refusal_text(refusal);
        result = refusal == NETLINK_NOT_PERMITTED ? -EPERM : -ENOTSUP;
        goto failed;
    }
    ledger_set_unfiltered(&c->ledger, netlink_filter_passes_all(filter));
    *out = c;
    return 0;

failed:
    collector_free(c);
    return result;
}

void collector_start(struct collector *c, struct ev_loop *loop)
{
    c->loop = loop;
    c->own_pid = getpid();
    ev_io_init(&c->readable, on_readable, c->netlink.fd, EV_READ);
    ev_timer_init(&c->heartbeat, on_heartbeat, HEARTBEAT_S, HEARTBEAT_S);
    ev_timer_init(&c->rescan, on_rescan, 0, 0);
    ev_idle_init(&c->go_on, on_left_over);
    c->readable.data = c->heartbeat.data = c->rescan.data = c->go_on.data = c;
    ev_io_start(loop, &c->readable);
    ev_timer_start(loop, &c->heartbeat);
    compare(c, false);
    drain(c, BATCHES_A_TURN); /* what came with the handshake wakes nobody */
    c->flush(c->ctx);
}

static void retell_one(void *ctx, tracker_ref ref)
{
    struct collector *c = ctx;
    struct completer *k = &c->completer;
    event_begin(&k->box, EVENT_SNAPSHOT);
    int64_t now = clock_mono_ns();
    event_set(&k->box, F_MONO, now, WHY_COMPUTED);
    event_set(&k->box, F_TIME, now + k->real_minus_mono, WHY_COMPUTED);
    if (tracker_copy_state(c->tracker, ref, &k->box, WHY_ABSENT))
        k->sink(k->ctx, &k->box);
}

void collector_retell(struct collector *c)
{
    tracker_each(c->tracker, retell_one, c);
    c->flush(c->ctx);
}

void collector_stop(struct collector *c)
{
    if (!c->loop)
        return;
    int64_t patience = clock_mono_ns() + NS_PER_SECOND; /* a fork storm need not end */
    while (!drain(c, BATCHES_A_TURN) && clock_mono_ns() < patience)
        ;
    ledger_dropped(&c->ledger, netlink_dropped(&c->netlink, &c->fill), false);
    struct ledger_episode episode;
    if (ledger_close(&c->ledger, clock_mono_ns(), &episode))
        complete_lost(&c->completer, episode.lost, episode.from_ns, episode.until_ns);
    c->flush(c->ctx);

    ev_io_stop(c->loop, &c->readable);
    ev_timer_stop(c->loop, &c->heartbeat);
    ev_timer_stop(c->loop, &c->rescan);
    ev_idle_stop(c->loop, &c->go_on);
    for (int i = 0; i < LINGERING; i++)
        if (c->lingering[i].watcher.fd >= 0)
            stop_lingering(c, &c->lingering[i]);
    netlink_close(&c->netlink);
    c->loop = NULL;
}

void collector_free(struct collector *c)
{
    if (!c)
        return;
    collector_stop(c);
    netlink_close(&c->netlink);
    if (c->fs.root >= 0)
        procfs_close(&c->fs);
    tracker_free(c->tracker);
    free(c->ahead);
    free(c);
}

struct collector_counters collector_count(struct collector *c)
{
    return (struct collector_counters){
        .netlink = c->netlink.count,
        .complete = c->completer.count,
        .tracker = tracker_count(c->tracker),
        .lost = c->ledger.lost,
        .episodes = c->ledger.episodes,
        .scans = c->scans,
        .buffer_bytes = c->netlink.buffer_bytes,
        .fill = c->fill,
    };
}
