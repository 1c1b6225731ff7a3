/* recorder.c - the process that writes down what the watch sees. See recorder.h. */
#include "embed/recorder.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "collect/answers.h"
#include "collect/tracker.h"
#include "host/confine.h"
#include "host/request.h"
#include "record/extract.h"
#include "record/redact.h"
#include "record/segments.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAKE_AT         0.125 /* of the ring: when so much waits, it is taken at once */
#define FLUSH_EVERY_MS  1000
#define DUMPS_EVERY_MS  200 /* while one is waited for */
#define SEGMENT_PARTS   32 /* of all segments together */
#define STOP_PATIENCE_S 10
#define NOTE_MOST       ((size_t)1 << 20) /* bytes of a note; a larger one is left out */
#define NOTES_BUFFER    (8 << 20)
#define DUMPS_MOST      16                  /* that wait for their end */
#define DUMP_AFTER_NS   (NS_PER_SECOND / 2) /* records gather before they come here */

/* Shared with the process; a worker can spoil the figure of lost notes. */
struct shared {
    _Atomic uint64_t events, notes, missed, dropped, bytes, redacted;
    _Atomic int error;
};

struct recorder {
    pid_t pid;   /* 0: it has ended */
    int control; /* owned */
    int notes;   /* owned: the end that is written to */
    struct shared *shared;       /* owned mapping */
    _Atomic uint64_t *notes_lost; /* owned mapping */
};

/* A note on its way: then question and answer. */
struct parcel {
    uint8_t kind, group;
    uint16_t what;
    int32_t result;
    uint64_t seq;
    int64_t mono_ns, real_ns;
    uint32_t question_len, answer_len;
};

/* --- in workers ---------------------------------------------------------------------------------- */

void recorder_note(const struct recorder *r, const struct recording_note *note)
{
    struct parcel parcel = { .kind = note->kind,
                             .group = note->group,
                             .what = note->what,
                             .result = note->result,
                             .seq = note->seq,
                             .mono_ns = note->mono_ns,
                             .real_ns = note->real_ns,
                             .question_len = note->question_len,
                             .answer_len = note->answer_len };
    struct iovec parts[] = { { &parcel, sizeof parcel },
                             { (void *)note->question, note->question_len },
                             { (void *)note->answer, note->answer_len } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 3 };
    size_t len = (size_t)note->question_len + note->answer_len;
    if (len > NOTE_MOST || sendmsg(r->notes, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        atomic_fetch_add(r->notes_lost, 1);
}

/* --- in the process ------------------------------------------------------------------------------ */

struct pending {
    struct recorder_dump dump;
    int fd;    /* owned; -1: the place is free */
    pid_t pid; /* who writes it; 0: it is not time yet */
};

static struct {
    const struct recorder_options *options;
    struct recording_head head;
    struct ring *ring;
    int reader;
    int control, notes;
    struct shared *shared;
    struct recording_writer *file; /* one of these two */
    struct segments *segments;
    struct tracker *tracker; /* of segments */
    struct redact *redact;   /* or NULL */
    struct pending pending[DUMPS_MOST];
    uint64_t missed, redacted;
    bool full;
    int64_t flushed_ns;
    uint64_t flushed_bytes;
    struct buf answer;
    struct event_box box, clean;
} me;

static void say(enum recorder_say what, uint32_t number, int error)
{
    struct recorder_message message = { .say = what, .number = number, .error = error };
    send(me.control, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static struct recording_counters count(void)
{
    return me.segments ? segments_count(me.segments) : recording_count(me.file);
}

static void tell_figures(void)
{
    struct recording_counters c = count();
    atomic_store(&me.shared->events, c.events);
    atomic_store(&me.shared->notes, c.notes);
    atomic_store(&me.shared->dropped, c.dropped);
    atomic_store(&me.shared->bytes, c.bytes);
    atomic_store(&me.shared->error, c.error);
    atomic_store(&me.shared->missed, me.missed);
    atomic_store(&me.shared->redacted, me.redacted);
}

static void write_event(void)
{
    const struct event *ev = &me.box.ev;
    if (me.redact && redact_event(me.redact, ev, &me.clean)) {
        ev = &me.clean.ev;
        me.redacted++;
    }
    if (me.tracker)
        tracker_apply(me.tracker, ev);
    if (me.segments)
        segments_event(me.segments, ev);
    else
        recording_event(me.file, ev, false);
}

static void write_gap(uint64_t records)
{
    me.missed += records;
    if (me.segments)
        segments_gap(me.segments, records);
    else
        recording_gap(me.file, records);
}

static void flush(void)
{
    me.flushed_ns = clock_mono_ns();
    if (me.segments)
        segments_flush(me.segments);
    else
        recording_flush(me.file);
    me.flushed_bytes = count().bytes;
    tell_figures();
}

/* A segment ends at a flush only: in a storm it would otherwise be all that there is room for. */
static bool is_long(void)
{
    return me.segments && count().bytes - me.flushed_bytes > me.options->bytes / SEGMENT_PARTS;
}

/* Never to its end by ring_read: who finds the ring empty there is woken from then on. */
static void take_records(void)
{
    while (!me.full && ring_waiting(me.ring, me.reader)) {
        uint64_t missed = 0;
        int got = ring_read(me.ring, me.reader, &me.box, &missed);
        if (got == -EOVERFLOW)
            write_gap(missed);
        else if (got == 1)
            write_event();
        else
            return;
        ring_done(me.ring, me.reader);
        if (is_long())
            flush();
        if (me.file && me.options->bytes && recording_count(me.file).bytes >= me.options->bytes) {
            me.full = true;
            say(RECORDER_FULL, 0, 0);
        }
    }
}

/* A worker runs scripts: nothing in the message is trusted. */
static void write_note(const char *bytes, size_t len)
{
    struct parcel p;
    if (len < sizeof p)
        return;
    memcpy(&p, bytes, sizeof p);
    if ((uint64_t)p.question_len + p.answer_len != len - sizeof p)
        return;
    struct recording_note note = { .kind = p.kind, .group = p.group, .what = p.what,
                                   .result = p.result, .seq = p.seq, .mono_ns = p.mono_ns,
                                   .real_ns = p.real_ns, .question = bytes + sizeof p,
                                   .answer = bytes + sizeof p + p.question_len,
                                   .question_len = p.question_len, .answer_len = p.answer_len };
    struct request_probe probe = { .topic = TOPICS };
    if (note.kind == NOTE_ANSWER && note.what == REQUEST_PROBE && note.question_len == sizeof probe)
        memcpy(&probe, note.question, sizeof probe);
    int redacted = 0;
    buf_clear(&me.answer);
    if (me.redact && probe.topic < TOPICS)
        redacted = redact_answer(me.redact, (enum topic)probe.topic, note.answer, note.answer_len, &me.answer);
    if (redacted < 0) /* rather no answer than a secret */
        return;
    if (redacted) {
        note.answer = me.answer.data;
        note.answer_len = (uint32_t)me.answer.len;
    }
    if (me.segments)
        segments_note(me.segments, &note);
    else
        recording_note(me.file, &note);
}

static void take_notes(void)
{
    static char bytes[sizeof(struct parcel) + NOTE_MOST];
    ssize_t len;
    while ((len = recv(me.notes, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        if (!me.full)
            write_note(bytes, (size_t)len);
}

/* --- dumps --------------------------------------------------------------------------------------- */

/* Of a process that is not in the segments any more the span is all that there is. */
static int extract_dump(const struct pending *p, struct recording *const *from, size_t n)
{
    struct extract_what what = { .from_ns = p->dump.from_ns, .until_ns = p->dump.until_ns };
    struct extract_result result;
    if (p->dump.pid > 0)
        what.process = (struct extract_process){ p->dump.pid, p->dump.starttime };
    int error = extract(from, n, &what, p->fd, &result);
    if (error != -ESRCH)
        return error;
    what.process.pid = 0;
    return extract(from, n, &what, p->fd, &result);
}

/* One that is damaged is left out. The process ends after it: nothing is freed. */
static int dump_segments(const struct pending *p)
{
    char path[64], why[256];
    struct segments_list list = { 0 };
    snprintf(path, sizeof path, "/proc/self/fd/%d", me.options->dir);
    int result = segments_list(path, &list);
    struct recording **all = result < 0 ? NULL : calloc(list.len + 1, sizeof *all);
    size_t n = 0;
    if (!all)
        return result < 0 ? result : -ENOMEM;
    for (size_t i = 0; i < list.len; i++)
        n += recording_open(&all[n], list.path[i], why, sizeof why) == 0;
    return extract_dump(p, all, n);
}

/* In a process of its own: going through all segments takes seconds, and records go on coming. */
static void start_dump(struct pending *p)
{
    flush();
    p->pid = fork();
    if (p->pid == 0) {
        int result = dump_segments(p);
        _exit(result < 0 ? -result : 0);
    }
    if (p->pid > 0)
        return;
    p->pid = 0;
    say(RECORDER_DUMPED, p->dump.number, errno);
    close(p->fd);
    p->fd = -1;
}

static void end_dump(struct pending *p, bool wait)
{
    int status = 0;
    if (waitpid(p->pid, &status, wait ? 0 : WNOHANG) == 0)
        return;
    say(RECORDER_DUMPED, p->dump.number, WIFEXITED(status) ? WEXITSTATUS(status) : EIO);
    close(p->fd);
    *p = (struct pending){ .fd = -1 };
}

/* Is one left that waits? */
static bool look_at_dumps(bool ending)
{
    bool waiting = false;
    for (int i = 0; i < DUMPS_MOST; i++) {
        struct pending *p = &me.pending[i];
        if (p->fd >= 0 && !p->pid && (ending || clock_real_ns() > p->dump.until_ns + DUMP_AFTER_NS))
            start_dump(p);
        if (p->fd >= 0 && p->pid)
            end_dump(p, ending);
        waiting = waiting || p->fd >= 0;
    }
    return waiting;
}

/* Who only knows a pid means who has it, or had it last. */
static void find_start(struct recorder_dump *dump)
{
    if (dump->pid < 0 || dump->starttime >= 0 || !me.tracker)
        return;
    tracker_ref ref = tracker_alive(me.tracker, dump->pid);
    ref = ref ? ref : tracker_dead(me.tracker, dump->pid);
    dump->starttime = tracker_int(me.tracker, ref, F_STARTTIME, -1);
}

static void keep_dump(struct recorder_dump *dump, int fd)
{
    find_start(dump);
    for (int i = 0; i < DUMPS_MOST; i++)
        if (me.pending[i].fd < 0) {
            me.pending[i] = (struct pending){ .dump = *dump, .fd = fd };
            return;
        }
    say(RECORDER_DUMPED, dump->number, EBUSY);
    close(fd);
}

union descriptor {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

/* False: the watch has hung up. */
static bool take_order(void)
{
    struct recorder_dump dump;
    union descriptor control;
    struct iovec part = { &dump, sizeof dump };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                              .msg_controllen = sizeof control.bytes };
    ssize_t got = recvmsg(me.control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (got != sizeof dump || !c || c->cmsg_type != SCM_RIGHTS)
        return false;
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    keep_dump(&dump, fd);
    return true;
}

/* --- its life ------------------------------------------------------------------------------------ */

static void tell_known(void *ctx, tracker_ref ref)
{
    void (**sink)(void *to, const struct event *ev) = ((void **)ctx)[0];
    event_begin(&me.clean, EVENT_SNAPSHOT);
    if (tracker_copy_state(me.tracker, ref, &me.clean, WHY_ABSENT))
        (*sink)(((void **)ctx)[1], &me.clean.ev);
}

/* For the begin of a segment: all who live. */
static void each_known(void *ctx, void (*sink)(void *to, const struct event *ev), void *to)
{
    void *args[] = { &sink, to };
    (void)ctx;
    tracker_each(me.tracker, tell_known, args);
}

static int open_output(void)
{
    char why[256];
    if (me.options->rules && redact_new(&me.redact, me.options->rules, why, sizeof why) < 0)
        return -ENOMEM;
    if (me.options->fd >= 0)
        return recording_begin(&me.file, me.options->fd, &me.head);
    me.tracker = tracker_new(me.options->table_bytes);
    if (!me.tracker)
        return -ENOMEM;
    return segments_open(&me.segments, me.options->dir, me.options->bytes, &me.head, each_known, NULL);
}

static int wait_for_flush_ms(void)
{
    int64_t since_ms = (clock_mono_ns() - me.flushed_ns) / 1000000;
    return since_ms < FLUSH_EVERY_MS ? FLUSH_EVERY_MS - (int)since_ms : 0;
}

/* Once a second, for the flush, and when much waits: the ring holds a second of a storm at least. Notes
 * wait, too: many of them are one turn. */
static void loop(void)
{
    bool hung_up = false;
    int wait_ms = FLUSH_EVERY_MS;
    while (!hung_up) {
        struct pollfd ready[] = { { .fd = me.control, .events = POLLIN },
                                  { .fd = ring_reader_fd(me.ring, me.reader), .events = POLLIN } };
        ring_rest(me.ring, me.reader, WAKE_AT);
        poll(ready, 2, wait_ms);
        hung_up = ready[0].revents && !take_order();
        take_records();
        take_notes();
        bool dumps = look_at_dumps(hung_up);
        if (clock_mono_ns() - me.flushed_ns >= FLUSH_EVERY_MS * 1000000LL)
            flush();
        wait_ms = wait_for_flush_ms();
        if (dumps && wait_ms > DUMPS_EVERY_MS)
            wait_ms = DUMPS_EVERY_MS;
    }
}

static int end(void)
{
    int result = 0;
    flush();
    if (me.file)
        result = recording_end(me.file);
    else
        segments_close(me.segments);
    return result;
}

static void close_others(void)
{
    int keep[] = { me.control, me.notes, me.options->fd, me.options->dir, ring_reader_fd(me.ring, me.reader) };
    int n = sizeof keep / sizeof *keep;
    for (int fd = 3, last = 3; last >= 0; fd = last + 1) {
        last = -1;
        for (int i = 0; i < n; i++)
            if (keep[i] >= fd && (last < 0 || keep[i] < last))
                last = keep[i];
        if (last != fd)
            syscall(SYS_close_range, fd, last < 0 ? ~0U : (unsigned)last - 1, 0);
    }
}

static int run(void)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGXFSZ };
    struct confine_options walls = { .profile = PROFILE_TRUSTED };
    char why[256];
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN); /* the watch says when to end */
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_NAME, "moonwatch-rec");
    for (int i = 0; i < DUMPS_MOST; i++)
        me.pending[i].fd = -1;
    if (ring_read_only(me.ring, me.reader) < 0)
        return EIO;
    ring_reader_resume(me.ring, me.reader);
    close_others();
    int result = open_output();
    if (result == 0)
        result = confine(&walls, why, sizeof why);
    if (result < 0)
        return -result;
    loop();
    return -end();
}

/* --- for the watch ------------------------------------------------------------------------------- */

static void *map_shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static struct recording_head head_of_now(void)
{
    struct recording_head head = { .boot = event_boot_id(), .real_ns = clock_real_ns(),
                                   .mono_ns = clock_mono_ns() };
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        head.utc_offset_s = (int32_t)local.tm_gmtoff;
    if (gethostname(head.host, sizeof head.host - 1) < 0)
        head.host[0] = '\0';
    return head;
}

static void fork_it(struct recorder *r, const struct recorder_options *options, struct ring *ring,
                    int reader, const int *control, const int *notes)
{
    struct recording_head head = head_of_now();
    r->pid = fork();
    if (r->pid)
        return;
    me.options = options;
    me.head = head;
    me.ring = ring;
    me.reader = reader;
    me.control = control[1];
    me.notes = notes[1];
    me.shared = r->shared;
    _exit(run());
}

int recorder_start(struct recorder **out, const struct recorder_options *options, struct ring *ring,
                   int reader)
{
    int control[2] = { -1, -1 }, notes[2] = { -1, -1 }, bytes = NOTES_BUFFER;
    struct recorder *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->control = r->notes = -1;
    r->shared = map_shared(sizeof *r->shared);
    r->notes_lost = map_shared(sizeof *r->notes_lost);
    if (!r->shared || !r->notes_lost || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, notes) < 0) {
        int error = errno ? errno : ENOMEM;
        close(control[0]);
        close(control[1]);
        recorder_free(r);
        return -error;
    }
    if (setsockopt(notes[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(notes[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    fork_it(r, options, ring, reader, control, notes);
    int error = errno;
    close(control[1]);
    close(notes[1]);
    r->control = control[0];
    r->notes = notes[0];
    if (r->pid < 0) {
        r->pid = 0;
        recorder_free(r);
        return -error;
    }
    *out = r;
    return 0;
}

int recorder_notes(const struct recorder *r)
{
    return r->notes;
}

int recorder_fd(const struct recorder *r)
{
    return r->control;
}

int recorder_ask(struct recorder *r, const struct recorder_dump *dump, int fd)
{
    union descriptor control = { .bytes = "" };
    struct iovec part = { (void *)dump, sizeof *dump };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                              .msg_controllen = sizeof control.bytes };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(r->control, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int recorder_hear(struct recorder *r, struct recorder_message *message)
{
    ssize_t got = recv(r->control, message, sizeof *message, MSG_DONTWAIT);
    if (got == sizeof *message)
        return 1;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
}

struct recorder_counters recorder_count(const struct recorder *r)
{
    return (struct recorder_counters){ .events = atomic_load(&r->shared->events),
                                       .notes = atomic_load(&r->shared->notes),
                                       .missed = atomic_load(&r->shared->missed),
                                       .dropped = atomic_load(&r->shared->dropped),
                                       .bytes = atomic_load(&r->shared->bytes),
                                       .redacted = atomic_load(&r->shared->redacted),
                                       .error = atomic_load(&r->shared->error),
                                       .notes_lost = atomic_load(r->notes_lost) };
}

/* Its status; -EIO: it did not end by itself. */
static int reap(struct recorder *r)
{
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(r->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    r->pid = 0;
    return ended > 0 && WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int recorder_stop(struct recorder *r)
{
    if (!r->pid)
        return 0;
    shutdown(r->control, SHUT_WR);
    struct pollfd ended = { .fd = r->control, .events = POLLIN };
    int64_t until_ns = clock_mono_ns() + STOP_PATIENCE_S * NS_PER_SECOND;
    struct recorder_message message;
    int heard = 0;
    while (heard >= 0 && clock_mono_ns() < until_ns)
        if (poll(&ended, 1, 100) > 0)
            heard = recorder_hear(r, &message);
    if (heard >= 0) {
        log_warn("the recording did not end in %d s: killed", STOP_PATIENCE_S);
        kill(r->pid, SIGKILL);
    }
    return reap(r);
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    recorder_stop(r);
    if (r->control >= 0)
        close(r->control);
    if (r->notes >= 0)
        close(r->notes);
    if (r->shared)
        munmap(r->shared, sizeof *r->shared);
    if (r->notes_lost)
        munmap((void *)r->notes_lost, sizeof *r->notes_lost);
    free(r);
}
