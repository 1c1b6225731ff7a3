/* collector.c - joins socket, /proc, process table and loss ledger to a libev loop. See
 * collector.h.
 *
 * Comparing with /proc (at the start and after a loss) is a scan and then a marker: our own
 * PR_SET_NAME comes back as a COMM event, and as the socket is one queue, everything that happened
 * before the scan has been read by then. Who is in the table, was not in /proc and has not told
 * of its end until the marker is gone without a word.
 *
 * Messages wait for each other: the first opens a short span, at its end all of them are read. It
 * is the tap, or the reader that runs ahead, who looks at an exec in time. */
#include "collect/collector.h"

#include "base/clock.h"
#include "base/log.h"
#include "collect/ahead.h"
#include "collect/ending.h"
#include "collect/groups.h"
#include "collect/tap.h"
#include "collect/taskstats.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEARTBEAT_S    5.0
#define SCAN_EVERY_NS  NS_PER_SECOND
#define BATCHES_A_TURN 64 /* of 32 datagrams: then others on the loop get theirs */

/* What the process table lives on; never filtered out. */
#define ALWAYS (ON(FORK) | ON(EXEC) | ON(EXIT) | ON(UID) | ON(GID) | ON(SID) | ON(COMM))

/* Room for what an exec is until its message is read, and how long it may wait for that. */
#define NOTES_BYTES    (8u << 20)
#define NOTES_KEPT_NS  (2 * NS_PER_SECOND)
#define TAP_RING_BYTES (1u << 20)
#define AHEAD_BUFFER   (4 << 20)
#define ENDS_BUFFER    (8 << 20)

struct collector {
    struct netlink netlink;
    struct procfs fs;
    struct tracker *tracker; /* owned */
    struct completer completer;
    struct ledger ledger;
    struct collector_options options;
    collector_flush *flush;
    void *ctx;

    struct notes *notes; /* owned: of the tap or of the reader ahead */
    struct tap *tap;     /* owned; NULL: none */
    struct ahead ahead;  /* when there is no tap */
    struct groups groups;
    struct taskstats taskstats; /* fd -1: none */
    uint64_t source_lost;

    struct ev_loop *loop; /* NULL until started */
    int gate;             /* owned: epoll descriptor, -1 when messages are not gathered */
    ev_io readable, exec_readable, tap_filling;
    ev_timer heartbeat, rescan, gathered;
    struct ending ending;

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

static int scan_one(void *ctx, int pid)
{
    struct collector *c = ctx;
    if (!complete_from_proc(&c->completer, pid, c->compare_infers) &&
        ending_lingers(&c->ending, pid))
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
    int pid = (int)tracker_int(c->tracker, ref, F_PID, -1);
    bool hidden = c->fs.hidden && (kill(pid, 0) == 0 || errno == EPERM); /* hidepid: not gone */
    if (!hidden && tracker_forked_at(c->tracker, ref) < c->scan_ns)
        complete_vanished(&c->completer, ref);
}

static void finish_comparing(struct collector *c)
{
    c->comparing = false;
    tracker_unmarked(c->tracker, end_if_vanished, c);
    if (c->compare_infers)
        complete_awaited(&c->completer);
}

/* --- what an exec is ------------------------------------------------------------------ */

/* The control groups behind a key: remembered, or read now. Returns what could not be told. */
static uint64_t fill_groups(struct collector *c, int pid, uint64_t key, struct event_box *box)
{
    uint64_t fields = FIELD(CGROUP) | FIELD(CONTAINER);
    if (!key)
        return fields;
    if (!groups_fill(&c->groups, key, box)) {
        procfs_fill(&c->fs, pid, -1, fields, box);
        groups_learn(&c->groups, key, &box->ev);
    }
    return 0;
}

static uint64_t ask_tap(struct collector *c, const struct kernel_event *kev, uint64_t wanted,
                        struct event_box *box)
{
    size_t len;
    const void *record = notes_take(c->notes, TAP_NOTES_EXEC, kev->pid, kev->mono_ns, &len);
    if (!record && tap_drain(c->tap, c->notes) > 0)
        record = notes_take(c->notes, TAP_NOTES_EXEC, kev->pid, kev->mono_ns, &len);
    if (!record || !tap_is_of(record, kev->mono_ns))
        return wanted;
    uint64_t rest = tap_fill(record, len, c->fs.boot, wanted, box);
    if (rest & (FIELD(CGROUP) | FIELD(CONTAINER)))
        rest = (rest & ~(FIELD(CGROUP) | FIELD(CONTAINER))) |
               (rest & fill_groups(c, kev->pid, tap_cgroup_key(record), box));
    return rest;
}

static uint64_t exec_source(void *ctx, const struct kernel_event *kev, uint64_t wanted,
                            struct event_box *box)
{
    struct collector *c = ctx;
    if (c->tap)
        return ask_tap(c, kev, wanted, box);
    ahead_read(&c->ahead); /* is the next exec there already? */
    return ahead_fill(&c->ahead, kev->pid, kev->mono_ns, wanted, box);
}

static bool exec_doubt(void *ctx, const struct kernel_event *kev)
{
    struct collector *c = ctx;
    if (!c->tap)
        return ahead_doubts(&c->ahead, kev->pid, kev->mono_ns);
    tap_drain(c->tap, c->notes);
    return notes_newer(c->notes, TAP_NOTES_EXEC, kev->pid, kev->mono_ns);
}

static void on_exec_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    ahead_read(&c->ahead);
}

/* Half of its ring is full: do not wait for the end of the span. */
static void on_tap_filling(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    tap_drain(c->tap, c->notes);
}

static void tell_needs(struct collector *c)
{
    c->ahead.needs = complete_reads(c->completer.needs) | FIELD(STARTTIME);
    if (c->tap)
        tap_need(c->tap, c->completer.needs);
}

static bool read_batch(struct collector *c);

static void read_outside(void *ctx)
{
    read_batch(ctx);
}

/* Who looks at an exec in time? The reader ahead is there also when each message is read at once: a
 * process that was not in time is told apart only by who knows of its next exec. */
static int open_sources(struct collector *c)
{
    const char *why = "";
    c->notes = notes_new(NOTES_BYTES);
    if (!c->notes)
        return -ENOMEM;
    if (c->options.tap && tap_open(&c->tap, TAP_RING_BYTES, &why) < 0)
        log_info("%s", why);
    if (!c->tap && ahead_open(&c->ahead, &c->fs, c->notes, AHEAD_BUFFER) < 0) {
        log_info("no second socket: each message is read at once");
        c->options.delay_s = 0;
    }
    if (!c->tap && c->options.taskstats && taskstats_open(&c->taskstats, ENDS_BUFFER, &why) < 0)
        log_info("%s", why);
    if (c->tap || c->ahead.netlink.fd >= 0) {
        c->completer.source = exec_source;
        c->completer.doubt = exec_doubt;
        c->completer.source_ctx = c;
    }
    if (!c->tap && c->taskstats.fd < 0) /* a pidfd tells of an end only if it is opened at once */
        c->options.delay_s = 0;
    c->ending = (struct ending){
        .completer = &c->completer,
        .fs = &c->fs,
        .notes = c->notes,
        .tap = c->tap,
        .taskstats = c->taskstats.fd >= 0 ? &c->taskstats : NULL,
        .read = read_outside,
        .ctx = c,
    };
    tell_needs(c);
    return 0;
}

/* --- events --------------------------------------------------------------------------- */

static void on_kernel_event(void *ctx, const struct kernel_event *kev)
{
    struct collector *c = ctx;
    ledger_note(&c->ledger, kev->cpu, kev->seq, kev->mono_ns);

    if (kev->kind == EVENT_COMM && kev->pid == c->own_pid && kev->tid == c->own_pid) {
        if (c->markers_back != c->markers_out) /* else somebody gave our main thread a name */
            c->markers_back++;
        if (c->comparing && c->markers_back == c->marker_wanted)
            finish_comparing(c);
        return;
    }
    if (kev->kind == EVENT_EXIT && kev->pid == kev->tid) {
        ending_exit(&c->ending, kev);
        return;
    }
    if (kev->kind == EVENT_EXEC)
        ending_exec(&c->ending, kev);
    if (kev->kind == EVENT_FORK && kev->pid == kev->tid)
        ending_fork(&c->ending, kev);
    complete_event(&c->completer, kev);
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

/* Read until the queue is empty or the turn is over. True when it is empty. */
static bool drain(struct collector *c, int batches)
{
    bool overrun = false;
    while (batches-- > 0) {
        int64_t now = clock_mono_ns();
        int got = netlink_receive(&c->netlink, on_kernel_event, c);
        if (got == -ENOBUFS) {
            overrun = true;
            ledger_dropped(&c->ledger, 0, true);
        } else if (got < NETLINK_BATCH) {
            ending_settle(&c->ending, now);
            if (overrun || c->ledger.open)
                settle(c);
            return true;
        }
    }
    return false;
}

/* True when nothing is left to read. */
static bool read_batch(struct collector *c)
{
    bool empty = drain(c, BATCHES_A_TURN);
    if (empty)
        notes_expire(c->notes, clock_mono_ns() - NOTES_KEPT_NS);
    if (c->taskstats.fd >= 0) /* also what no message asked for */
        taskstats_drain(&c->taskstats);
    c->flush(c->ctx);
    return empty;
}

/* The gate opens once for each span: what comes during it wakes nobody. */
static int set_gate(struct collector *c, int operation)
{
    struct epoll_event once = { .events = EPOLLIN | EPOLLONESHOT };
    return epoll_ctl(c->gate, operation, c->netlink.fd, &once);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct collector *c = watcher->data;
    struct epoll_event once;
    (void)events;
    if (c->gate < 0) {
        read_batch(c);
        return;
    }
    if (epoll_wait(c->gate, &once, 1, 0) > 0) {
        ev_timer_set(&c->gathered, c->options.delay_s, 0);
        ev_timer_start(loop, &c->gathered);
    }
}

static void on_gathered(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)events;
    if (read_batch(c)) {
        set_gate(c, EPOLL_CTL_MOD);
        return;
    }
    ev_timer_set(&c->gathered, 0, 0); /* others on the loop first, then on */
    ev_timer_start(loop, &c->gathered);
}

static void watch_socket(struct collector *c)
{
    if (c->gate >= 0)
        set_gate(c, EPOLL_CTL_ADD);
    ev_io_init(&c->readable, on_readable, c->gate >= 0 ? c->gate : c->netlink.fd, EV_READ);
    c->readable.data = c;
    ev_io_start(c->loop, &c->readable);
}

static void on_rescan(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    compare(c, true);
    c->flush(c->ctx);
}

static void reopen_ahead(struct collector *c)
{
    if (c->ahead.netlink.fd < 0)
        return;
    ev_io_stop(c->loop, &c->exec_readable);
    c->ahead.netlink.listening = false;
    ahead_close(&c->ahead);
    if (ahead_open(&c->ahead, &c->fs, c->notes, AHEAD_BUFFER) < 0)
        return;
    ev_io_set(&c->exec_readable, c->ahead.netlink.fd, EV_READ);
    ev_io_start(c->loop, &c->exec_readable);
}

/* Somebody else's IGNORE can silence every listener before 6.6, and a bug of some 6.6 and 6.7
 * kernels too: begin anew. Until it works, each heartbeat tries again. */
static void reopen(struct collector *c)
{
    struct netlink_filter filter = c->netlink.filter;
    struct netlink_counters count = c->netlink.count;
    log_warn("the kernel went silent: listening anew");
    ev_io_stop(c->loop, &c->readable);
    c->netlink.listening = false; /* no IGNORE: it would take back the one that is to help */
    netlink_close(&c->netlink);
    reopen_ahead(c);
    int result = netlink_open(&c->netlink, filter, c->options.buffer_bytes);
    c->netlink.count = count;
    if (result < 0 || netlink_listen(&c->netlink, on_kernel_event, c) != NETLINK_OK) {
        log_error("cannot listen again; trying in %g s", HEARTBEAT_S);
        return;
    }
    c->markers_back = c->markers_out;
    watch_socket(c);
    compare(c, true);
}

/* Each source has its own account of what it lost. It costs names and figures, no events. */
static void count_source_losses(struct collector *c)
{
    if (c->ahead.netlink.fd >= 0)
        c->source_lost += netlink_dropped(&c->ahead.netlink, NULL);
    if (c->taskstats.fd >= 0)
        c->source_lost += taskstats_dropped(&c->taskstats);
}

static void on_heartbeat(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct collector *c = watcher->data;
    (void)loop, (void)events;
    count_source_losses(c);
    complete_clocks(&c->completer);
    if (drain(c, BATCHES_A_TURN))
        settle(c);
    if (c->markers_out - c->markers_back >= 2)
        reopen(c);
    send_marker(c);
    c->flush(c->ctx);
}

/* --- life ----------------------------------------------------------------------------- */

uint32_t collector_asks(uint32_t kinds)
{
    return ALWAYS | (kinds & (ON(PTRACE) | ON(COREDUMP)));
}

static struct netlink_filter filter_for(uint32_t kinds, bool threads)
{
    return (struct netlink_filter){ .kinds = collector_asks(kinds), .threads = threads };
}

/* Numbers prove a loss only while nothing is filtered: not from before the filter goes, and
 * not until what it let through has been read. */
void collector_subscribe(struct collector *c, uint32_t kinds, bool threads)
{
    if (c->netlink.fd < 0)
        return; /* it was stopped */
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
    tell_needs(c);
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
    c->netlink.fd = c->ahead.netlink.fd = c->taskstats.fd = c->fs.root = c->gate = -1;
    c->own_pid = getpid();
    ledger_init(&c->ledger);

    int result = -ENOMEM;
    *why = "not enough memory for the process table";
    c->tracker = tracker_new(options->table_bytes);
    if (!c->tracker)
        goto failed;

    *why = "cannot open /proc: is it mounted?";
    result = procfs_open(&c->fs, options->proc);
    if (result < 0)
        goto failed;
    complete_init(&c->completer, c->tracker, &c->fs, sink, ctx);
    c->completer.needs = options->needs;

    *why = "not enough memory for the sources";
    result = open_sources(c);
    if (result < 0)
        goto failed;

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
    ending_start(&c->ending, loop);
    c->own_pid = getpid();
    ev_timer_init(&c->heartbeat, on_heartbeat, HEARTBEAT_S, HEARTBEAT_S);
    ev_timer_init(&c->rescan, on_rescan, 0, 0);
    ev_timer_init(&c->gathered, on_gathered, 0, 0);
    c->heartbeat.data = c->rescan.data = c->gathered.data = c->exec_readable.data = c;
    if (c->options.delay_s > 0)
        c->gate = epoll_create1(EPOLL_CLOEXEC);
    watch_socket(c);
    ev_io_init(&c->exec_readable, on_exec_readable, c->ahead.netlink.fd, EV_READ);
    c->exec_readable.data = c;
    if (c->ahead.netlink.fd >= 0)
        ev_io_start(loop, &c->exec_readable);
    ev_io_init(&c->tap_filling, on_tap_filling, c->tap ? tap_fd(c->tap) : -1, EV_READ);
    c->tap_filling.data = c;
    if (c->tap)
        ev_io_start(loop, &c->tap_filling);
    ev_timer_start(loop, &c->heartbeat);
    compare(c, false);
    c->flush(c->ctx);
}

/* The snapshot of one process, in the completer's box; false when there is none. */
static bool snapshot_of(struct collector *c, tracker_ref ref)
{
    struct completer *k = &c->completer;
    event_begin(&k->box, EVENT_SNAPSHOT);
    int64_t now = clock_mono_ns();
    event_set(&k->box, F_MONO, now, WHY_COMPUTED);
    event_set(&k->box, F_TIME, now + k->real_minus_mono, WHY_COMPUTED);
    return tracker_copy_state(c->tracker, ref, &k->box, WHY_ABSENT);
}

static void retell_one(void *ctx, tracker_ref ref)
{
    struct collector *c = ctx;
    if (snapshot_of(c, ref))
        c->completer.sink(c->completer.ctx, &c->completer.box);
}

void collector_retell(struct collector *c)
{
    if (!c->loop)
        return;
    tracker_each(c->tracker, retell_one, c);
    c->flush(c->ctx);
}

struct listener {
    struct collector *collector;
    void (*sink)(void *to, const struct event *ev);
    void *to;
};

static void tell_one(void *ctx, tracker_ref ref)
{
    const struct listener *l = ctx;
    if (snapshot_of(l->collector, ref))
        l->sink(l->to, &l->collector->completer.box.ev);
}

void collector_tell(struct collector *c, void (*sink)(void *to, const struct event *ev), void *to)
{
    struct listener listener = { c, sink, to };
    tracker_each(c->tracker, tell_one, &listener);
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
    count_source_losses(c);
    ending_stop(&c->ending);
    c->flush(c->ctx);

    ev_io_stop(c->loop, &c->readable);
    ev_io_stop(c->loop, &c->exec_readable);
    ev_io_stop(c->loop, &c->tap_filling);
    ev_timer_stop(c->loop, &c->heartbeat);
    ev_timer_stop(c->loop, &c->rescan);
    ev_timer_stop(c->loop, &c->gathered);
    netlink_close(&c->netlink);
    c->loop = NULL;
}

void collector_free(struct collector *c)
{
    if (!c)
        return;
    collector_stop(c);
    netlink_close(&c->netlink);
    ahead_close(&c->ahead);
    taskstats_close(&c->taskstats);
    tap_close(c->tap);
    notes_free(c->notes);
    groups_free(&c->groups);
    if (c->gate >= 0)
        close(c->gate);
    if (c->fs.root >= 0)
        procfs_close(&c->fs);
    tracker_free(c->tracker);
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
        .unclaimed = c->notes ? notes_unclaimed(c->notes) : 0,
        .doubtful = c->ahead.doubtful,
        .source_lost = c->source_lost + (c->tap ? tap_dropped(c->tap) : 0),
        .sources = c->tap                 ? "connector, tap"
                   : c->taskstats.fd >= 0 ? "connector, taskstats"
                                          : "connector",
        .buffer_bytes = c->netlink.buffer_bytes,
        .fill = c->fill,
    };
}
