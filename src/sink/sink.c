/* sink.c - the unprivileged side: writes a queue's records to what was opened for it. See sink.h.
 */
#include "sink/sink.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARTS      64
#define A_TURN     ((size_t)256 * 1024) /* bytes: a disk may be slow, and others wait */
#define FILE_WRITE ((size_t)64 * 1024)

/* Up to here a pipe takes all or nothing (PIPE_BUF), and so does a stream socket in practice: so
 * what was being written when a worker died ends between records, unless one is longer. */
#define STREAM_WRITE ((size_t)4096)

#define CHECK_EVERY_NS NS_PER_SECOND
#define PAUSE_FIRST_NS NS_PER_SECOND
#define PAUSE_LAST_NS  (10 * NS_PER_SECOND)

struct sink {
    struct sink_spec spec;
    char name[SPEC_NAME_MAX];
    uint32_t id;
    struct queue queue;
    int spool, fd; /* owned; -1: none */
    enum place_target target;
    enum keeper_what asks;

    struct stat last;   /* the file as we left it: what differs then was somebody else */
    int64_t checked_ns; /* the path was seen to lead to it */
    int64_t rotate_ns;  /* not to be asked for before */

    bool failing; /* and the operator knows */
    int64_t retry_ns, pause_ns;
    uint64_t errors;
};

/* --- opening ---------------------------------------------------------------------------------- */

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

static void remember_file(struct sink *s)
{
    if (s->target == PLACE_FILE && fstat(s->fd, &s->last) < 0)
        s->last = (struct stat){ 0 };
}

/* Somebody died while it wrote. */
static void settle(struct sink *s)
{
    uint64_t before = queue_count(&s->queue).doubtful;
    struct stat about;
    bool is_file = s->target == PLACE_FILE && fstat(s->fd, &about) == 0;
    queue_settle(&s->queue, is_file, is_file ? (uint64_t)about.st_size : 0);
    uint64_t doubtful = queue_count(&s->queue).doubtful - before;
    if (doubtful)
        log_warn("sink %s: %llu records may be written twice: the worker died over them", s->name,
                 (unsigned long long)doubtful);
}

static void say_waiting(struct sink *s, const char *why)
{
    s->errors++;
    if (!s->failing)
        log_warn("sink %s: %s; records wait in the queue", s->name, why);
    s->failing = true;
}

static int attach(struct sink *s, const struct keeper_answer *answer, const int *fds, int n)
{
    bool has_target = answer->target != PLACE_NONE;
    int want = 1 + (s->spec.full == SINK_SPOOL) + has_target;
    if (n != want || answer->target >= PLACE_TARGETS) {
        close_all(fds, n);
        return -EPROTO;
    }
    s->spool = s->spec.full == SINK_SPOOL ? fds[1] : -1;
    s->fd = has_target ? fds[n - 1] : -1;
    s->target = (enum place_target)answer->target;
    int result =
        queue_attach(&s->queue, fds[0], s->spec.queue, s->spec.full, s->spool, s->spec.spool);
    close(fds[0]);
    if (result == -EBADMSG) {
        log_warn("sink %s: its queue was damaged: what was in it is lost", s->name);
        result = 0;
    }
    return result;
}

int sink_open(struct sink **out, const struct sink_spec *spec, const struct keeper_answer *answer,
              const int *fds, int n)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s) {
        close_all(fds, n);
        return -ENOMEM;
    }
    s->spec = *spec;
    s->id = answer->id;
    s->spool = s->fd = s->queue.spool = -1;
    spec_name(spec, s->name);
    int result = attach(s, answer, fds, n);
    if (result < 0) {
        sink_close(s);
        return result;
    }
    if (queue_in_doubt(&s->queue))
        settle(s);
    remember_file(s); /* but that its path still leads to it is asked first: see checked_ns */
    if (answer->error)
        say_waiting(s, answer->why);
    *out = s;
    return 0;
}

void sink_close(struct sink *s)
{
    if (!s)
        return;
    queue_detach(&s->queue);
    if (s->spool >= 0)
        close(s->spool);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

/* --- failing ---------------------------------------------------------------------------------- */

static enum sink_turn wait_a_while(struct sink *s, int64_t now_ns)
{
    s->pause_ns = s->pause_ns ? s->pause_ns * 2 : PAUSE_FIRST_NS;
    if (s->pause_ns > PAUSE_LAST_NS)
        s->pause_ns = PAUSE_LAST_NS;
    s->retry_ns = now_ns + s->pause_ns;
    return SINK_LATER;
}

static enum sink_turn ask(struct sink *s, enum keeper_what what)
{
    s->asks = what;
    return SINK_ASKS;
}

static void lose_target(struct sink *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->target = PLACE_NONE;
    queue_restart(&s->queue);
}

/* Longer than a datagram can be: nobody will ever take it. */
static void give_up_first(struct sink *s)
{
    queue_drop_first(&s->queue);
    queue_take_untold(&s->queue);
    s->errors++;
    log_warn("sink %s: 1 dropped (too long for a datagram)", s->name);
}

/* A disk is tried again each second, whoever waits there has not moved. A reader that is gone is
 * looked for with growing patience. */
static enum sink_turn fail(struct sink *s, int error, int64_t now_ns)
{
    queue_wrote(&s->queue, 0);
    if (error == EAGAIN || error == EWOULDBLOCK)
        return SINK_MORE;
    if (error == EMSGSIZE && s->target == PLACE_DATAGRAM) {
        give_up_first(s);
        return SINK_MORE;
    }
    say_waiting(s, strerror(error));
    if (s->target == PLACE_FILE || error == ENOBUFS || error == ENOSPC) {
        s->retry_ns = now_ns + PAUSE_FIRST_NS;
        return SINK_LATER;
    }
    lose_target(s);
    return wait_a_while(s, now_ns);
}

static void be_well(struct sink *s)
{
    s->pause_ns = s->retry_ns = 0;
    if (s->failing)
        log_warn("sink %s: it takes records again", s->name);
    s->failing = false;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool was_touched(const struct sink *s, const struct stat *now)
{
    return now->st_nlink != s->last.st_nlink || now->st_size != s->last.st_size ||
           now->st_ctim.tv_sec != s->last.st_ctim.tv_sec ||
           now->st_ctim.tv_nsec != s->last.st_ctim.tv_nsec;
}

/* Is the file still the one to write to? A rename changes its time of change, so an outside tool's
 * rotation is noticed before the next record is written, not after. SINK_DONE: go on. */
static enum sink_turn look_at_file(struct sink *s, struct stat *about, int64_t now_ns)
{
    if (fstat(s->fd, about) < 0)
        return SINK_DONE;
    bool within = queue_is_within_record(&s->queue);
    if (within && (about->st_nlink == 0 || about->st_size < s->last.st_size)) {
        queue_restart(&s->queue); /* its beginning is gone */
        within = false;
    }
    if (within)
        return SINK_DONE;
    if (was_touched(s, about) || now_ns - s->checked_ns >= CHECK_EVERY_NS)
        return ask(s, KEEPER_CHECK);
    if (s->spec.rotate && about->st_size >= (off_t)s->spec.rotate && now_ns >= s->rotate_ns)
        return ask(s, KEEPER_ROTATE);
    return SINK_DONE;
}

static size_t sum(const struct iovec *parts, int n)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

/* A datagram has its own end and needs no newline; journald's fields do. */
static ssize_t send_datagram(const struct sink *s, struct iovec part)
{
    size_t len = part.iov_len;
    if (len && s->spec.kind != SINK_JOURNALD && ((char *)part.iov_base)[len - 1] == '\n')
        part.iov_len--;
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    ssize_t done = sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return done < 0 ? done : (ssize_t)len;
}

static ssize_t write_parts(const struct sink *s, struct iovec *parts, int n)
{
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)n };
    struct pollfd room = { .fd = s->fd, .events = POLLOUT };
    switch (s->target) {
    case PLACE_DATAGRAM:
        return send_datagram(s, parts[0]);
    case PLACE_STREAM:
        return sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    case PLACE_SLOW:
        if (poll(&room, 1, 0) == 1)
            return writev(s->fd, parts, n);
        errno = EAGAIN;
        return -1;
    case PLACE_FILE:
    case PLACE_PIPE:
        return writev(s->fd, parts, n);
    case PLACE_NONE:
    case PLACE_TARGETS:
        break;
    }
    errno = EPIPE;
    return -1;
}

static int next_parts(const struct sink *s, struct iovec *parts)
{
    switch (s->target) {
    case PLACE_DATAGRAM:
        return queue_next(&s->queue, parts, 1, SIZE_MAX);
    case PLACE_FILE:
        return queue_next(&s->queue, parts, PARTS, FILE_WRITE);
    default:
        return queue_next(&s->queue, parts, PARTS, STREAM_WRITE);
    }
}

/* Returns how many bytes went; 0 with *turn set when it cannot go on. */
static size_t write_once(struct sink *s, uint64_t size, int64_t now_ns, enum sink_turn *turn)
{
    struct iovec parts[PARTS];
    int n = next_parts(s, parts);
    size_t bytes = sum(parts, n);
    ssize_t done;
    queue_intend(&s->queue, bytes, size);
    do
        done = write_parts(s, parts, n);
    while (done < 0 && errno == EINTR);
    if (done < 0) {
        *turn = fail(s, errno, now_ns);
        return 0;
    }
    queue_wrote(&s->queue, (size_t)done);
    if ((size_t)done == bytes)
        be_well(s);
    remember_file(s);
    return (size_t)done;
}

enum sink_turn sink_write(struct sink *s, int64_t now_ns)
{
    struct stat about = { 0 };
    enum sink_turn turn = SINK_DONE;
    size_t written = 0;
    while (!queue_is_empty(&s->queue)) {
        if (now_ns < s->retry_ns)
            return SINK_LATER;
        if (s->target == PLACE_NONE)
            return ask(s, KEEPER_REOPEN);
        if (s->target == PLACE_FILE)
            turn = look_at_file(s, &about, now_ns);
        if (turn != SINK_DONE)
            return turn;
        size_t done = write_once(s, (uint64_t)about.st_size, now_ns, &turn);
        if (turn != SINK_DONE)
            return turn;
        written += done;
        if (written >= A_TURN)
            return SINK_MORE;
    }
    return SINK_DONE;
}

/* --- being tended ----------------------------------------------------------------------------- */

enum keeper_what sink_asks(const struct sink *s)
{
    return s->asks;
}

static void take_target(struct sink *s, enum place_target target, int fd)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = fd;
    s->target = target;
    s->retry_ns = 0;
    queue_restart(&s->queue);
}

void sink_tended(struct sink *s, const struct keeper_answer *answer, int fd, int64_t now_ns)
{
    if (fd >= 0 && answer->target < PLACE_TARGETS)
        take_target(s, (enum place_target)answer->target, fd);
    else if (answer->error)
        say_waiting(s, answer->why);
    if (s->asks == KEEPER_ROTATE && fd < 0)
        s->rotate_ns = now_ns + CHECK_EVERY_NS;
    else if (answer->error && fd < 0 && s->target == PLACE_FILE)
        lose_target(s); /* nobody will look for it where it is now */
    if (s->target == PLACE_NONE && s->spec.kind == SINK_FILE)
        s->retry_ns = now_ns + PAUSE_FIRST_NS;
    else if (s->target == PLACE_NONE)
        wait_a_while(s, now_ns);
    s->checked_ns = now_ns;
    remember_file(s);
}

void sink_tell(struct sink *s)
{
    uint64_t n = queue_take_untold(&s->queue);
    if (n)
        log_warn("sink %s: %llu dropped (queue full)", s->name, (unsigned long long)n);
}

/* --- the rest --------------------------------------------------------------------------------- */

void sink_push(struct sink *s, const void *bytes, size_t len)
{
    queue_push(&s->queue, bytes, len);
}

bool sink_has_room(const struct sink *s, size_t len)
{
    return queue_has_room(&s->queue, len);
}

struct sink_counts sink_count(const struct sink *s)
{
    return (struct sink_counts){ .records = queue_count(&s->queue), .errors = s->errors };
}

bool sink_holds_disk(const struct sink *s)
{
    return queue_holds_disk(&s->queue);
}

bool sink_is_empty(const struct sink *s)
{
    return queue_is_empty(&s->queue);
}

int sink_fd(const struct sink *s)
{
    return s->fd;
}

int64_t sink_retry_ns(const struct sink *s)
{
    return s->retry_ns;
}

uint32_t sink_id(const struct sink *s)
{
    return s->id;
}

const struct sink_spec *sink_spec(const struct sink *s)
{
    return &s->spec;
}

const char *sink_name(const struct sink *s)
{
    return s->name;
}
