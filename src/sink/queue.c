/* queue.c - records on their way to a slow reader, in memory that outlives who fills it. See
 * queue.h. */
#include "sink/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          UINT64_C(0x6d775175657565) /* "mwQueue" */
#define REFILL_AT_ONCE ((size_t)256 * 1024)

/* What the memory begins with; the records follow on the next page, the flight after them. */
struct queue_shared {
    uint64_t magic;
    atomic_uint valid; /* which of the two */
    struct queue_state state[2];
};

/* A record is its length and its bytes. */
#define HEAD sizeof(uint32_t)

static size_t page_round(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

/* The flight has one byte more than the longest record: a newline before it. */
static size_t memory_size(uint64_t size)
{
    return page_round(sizeof(struct queue_shared)) + size + page_round(size + 1);
}

int queue_make(uint64_t size)
{
    int fd = memfd_create("moonwatch-queue", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    uint64_t magic = MAGIC;
    if (ftruncate(fd, (off_t)memory_size(size)) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
        pwrite(fd, &magic, sizeof magic, 0) != sizeof magic) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Only what was ever written: the rest are zeros on both sides. */
static int copy_bytes(int from, int to, off_t end)
{
    static const size_t at_once = 64 * 1024;
    char *bytes = malloc(at_once);
    int result = bytes ? 0 : -ENOMEM;
    off_t at = result ? -1 : lseek(from, 0, SEEK_DATA);
    while (at >= 0 && at < end) {
        ssize_t got = pread(from, bytes, at_once, at);
        if (got <= 0 || pwrite(to, bytes, (size_t)got, at) != got) {
            result = -EIO;
            break;
        }
        at = lseek(from, at + got, SEEK_DATA);
    }
    free(bytes);
    return result;
}

int queue_copy(int fd, uint64_t size)
{
    struct stat about;
    if (fstat(fd, &about) < 0 || about.st_size != (off_t)memory_size(size))
        return -EINVAL;
    int copy = queue_make(size);
    int result = copy < 0 ? copy : copy_bytes(fd, copy, about.st_size);
    if (result < 0 && copy >= 0)
        close(copy);
    return result < 0 ? result : copy;
}

/* --- the state ------------------------------------------------------------------------------- */

/* One store makes it valid: who dies before it has changed nothing. */
static void commit(struct queue *q)
{
    unsigned other = !(atomic_load_explicit(&q->shared->valid, memory_order_relaxed) & 1);
    q->shared->state[other] = q->now;
    atomic_store_explicit(&q->shared->valid, other, memory_order_release);
}

static uint32_t length_at(const struct queue *q, uint64_t at)
{
    uint32_t len;
    memcpy(&len, q->data + at % q->size, sizeof len);
    return len;
}

static uint64_t used(const struct queue *q)
{
    return q->now.tail - q->now.head;
}

/* Whole records from head to tail, as many as it says? */
static bool records_hold(const struct queue *q)
{
    uint64_t at = q->now.head, n = 0;
    while (at != q->now.tail) {
        uint64_t left = q->now.tail - at;
        if (left < HEAD || length_at(q, at) > left - HEAD)
            return false;
        at += HEAD + length_at(q, at);
        n++;
    }
    return n == q->now.queued;
}

static bool state_holds(const struct queue *q)
{
    const struct queue_state *s = &q->now;
    uint64_t limit = UINT64_C(1) << 62; /* so that no sum below overflows */
    if (s->tail >= limit || s->head > s->tail || used(q) > q->size)
        return false;
    if (s->spool_tail >= limit || s->spool_head > s->spool_tail ||
        s->spool_tail - s->spool_head > q->spool_size ||
        (s->spooled == 0) != (s->spool_head == s->spool_tail) || s->spooled >= limit)
        return false;
    if (s->flight_len > q->size + 1 || s->flight_at > s->flight_len ||
        (s->flight_len && s->flight_at == s->flight_len))
        return false;
    if (s->intent > used(q) + s->flight_len - s->flight_at || s->before >= limit)
        return false;
    return s->told <= s->dropped && q->shared->magic == MAGIC && records_hold(q);
}

/* --- attaching ------------------------------------------------------------------------------- */

static int map_all(struct queue *q, int fd)
{
    size_t head = page_round(sizeof *q->shared);
    int rw = PROT_READ | PROT_WRITE;
    void *shared = mmap(NULL, head, rw, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        return -errno;
    q->shared = shared;
    void *flight = mmap(NULL, page_round(q->size + 1), rw, MAP_SHARED, fd, (off_t)(head + q->size));
    if (flight == MAP_FAILED)
        return -errno;
    q->flight = flight;
    char *place = mmap(NULL, 2 * q->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return -errno;
    q->data = place;
    for (int half = 0; half < 2; half++)
        if (mmap(place + (size_t)half * q->size, q->size, rw, MAP_SHARED | MAP_FIXED, fd,
                 (off_t)head) == MAP_FAILED)
            return -errno;
    return 0;
}

void queue_detach(struct queue *q)
{
    if (q->data)
        munmap(q->data, 2 * q->size);
    if (q->flight)
        munmap(q->flight, page_round(q->size + 1));
    if (q->shared)
        munmap(q->shared, page_round(sizeof *q->shared));
    *q = (struct queue){ .spool = -1 };
}

int queue_attach(struct queue *q, int fd, uint64_t size, enum sink_full full, int spool,
                 uint64_t spool_size)
{
    struct stat about;
    *q = (struct queue){ .size = size, .full = full, .spool = spool };
    q->spool_size = spool < 0 ? 0 : spool_size;
    if (fstat(fd, &about) < 0)
        return -errno;
    if (about.st_size != (off_t)memory_size(size))
        return -EINVAL;
    int result = map_all(q, fd);
    if (result < 0) {
        queue_detach(q);
        return result;
    }
    q->now = q->shared->state[atomic_load(&q->shared->valid) & 1];
    if (state_holds(q))
        return 0;
    q->now = (struct queue_state){ 0 };
    q->shared->magic = MAGIC;
    commit(q);
    return -EBADMSG;
}

/* --- the spool ------------------------------------------------------------------------------- */

/* `len` bytes at a place of the spool, which begins anew at its end. Not pread and pwrite: reading
 * and writing is all that a worker may do. */
static bool spool_move(struct queue *q, uint64_t at, void *bytes, size_t len, bool out)
{
    char *p = bytes;
    while (len) {
        uint64_t place = at % q->spool_size;
        size_t n = len < q->spool_size - place ? len : (size_t)(q->spool_size - place);
        if (lseek(q->spool, (off_t)place, SEEK_SET) < 0)
            return false;
        ssize_t done = out ? write(q->spool, p, n) : read(q->spool, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += (uint64_t)done;
        p += done;
        len -= (size_t)done;
    }
    return true;
}

static bool spool_push(struct queue *q, const void *bytes, uint32_t len)
{
    struct queue_state *s = &q->now;
    if (HEAD + len > q->spool_size - (s->spool_tail - s->spool_head))
        return false;
    if (!spool_move(q, s->spool_tail, &len, HEAD, true) ||
        !spool_move(q, s->spool_tail + HEAD, (void *)bytes, len, true))
        return false;
    s->spool_tail += HEAD + len;
    s->spooled++;
    commit(q);
    return true;
}

/* The first record of the spool comes into memory. 1; 0: no room for it yet; -1: it is no record.
 */
static int spool_pop(struct queue *q)
{
    struct queue_state *s = &q->now;
    uint64_t left = s->spool_tail - s->spool_head;
    uint32_t len;
    if (left < HEAD || !spool_move(q, s->spool_head, &len, HEAD, false) || len > left - HEAD ||
        HEAD + (uint64_t)len > q->size)
        return -1;
    if (HEAD + len > q->size - used(q))
        return 0;
    char *to = q->data + s->tail % q->size;
    memcpy(to, &len, HEAD);
    if (!spool_move(q, s->spool_head + HEAD, to + HEAD, len, false))
        return -1;
    s->tail += HEAD + len;
    s->queued++;
    s->spool_head += HEAD + len;
    s->spooled -= s->spooled > 0;
    if (s->spool_head == s->spool_tail)
        s->spool_head = s->spool_tail = s->spooled = 0;
    commit(q);
    return 1;
}

/* Bring back what waits on disk while memory is half empty; a bounded part of it at a time. */
static void refill(struct queue *q)
{
    struct queue_state *s = &q->now;
    uint64_t until = s->tail + REFILL_AT_ONCE;
    int got = 1;
    if (s->spool_head == s->spool_tail || q->spool < 0)
        return;
    while (got > 0 && s->spooled && s->tail < until && used(q) <= q->size / 2)
        got = spool_pop(q);
    if (got < 0) { /* the disk does not give it back */
        s->dropped += s->spooled;
        s->spool_head = s->spool_tail = s->spooled = 0;
        commit(q);
    }
}

bool queue_holds_disk(const struct queue *q)
{
    struct stat about;
    return q->spool >= 0 && !q->now.spooled && fstat(q->spool, &about) == 0 && about.st_size > 0;
}

/* --- filling --------------------------------------------------------------------------------- */

bool queue_has_room(const struct queue *q, size_t len)
{
    return len <= UINT32_MAX && !q->now.spooled && HEAD + len <= q->size - used(q);
}

bool queue_is_empty(const struct queue *q)
{
    return !q->now.queued && !q->now.flight_len && !q->now.spooled;
}

static struct queue_counts counts_of(const struct queue_state *s)
{
    return (struct queue_counts){ .sent = s->sent,
                                  .dropped = s->dropped,
                                  .doubtful = s->doubtful,
                                  .queued = s->queued + (s->flight_len != 0),
                                  .spooled = s->spooled };
}

struct queue_counts queue_count(const struct queue *q)
{
    return counts_of(&q->now);
}

struct queue_counts queue_peek(int fd)
{
    struct queue_shared shared;
    if (pread(fd, &shared, sizeof shared, 0) != sizeof shared || shared.magic != MAGIC)
        return (struct queue_counts){ 0 };
    return counts_of(&shared.state[atomic_load(&shared.valid) & 1]);
}

uint64_t queue_take_untold(struct queue *q)
{
    uint64_t n = q->now.dropped - q->now.told;
    if (n) {
        q->now.told = q->now.dropped;
        commit(q);
    }
    return n;
}

bool queue_is_within_record(const struct queue *q)
{
    return q->now.flight_len != 0;
}

static void append(struct queue *q, const void *bytes, uint32_t len)
{
    char *to = q->data + q->now.tail % q->size;
    memcpy(to, &len, HEAD);
    memcpy(to + HEAD, bytes, len);
    q->now.tail += HEAD + len;
    q->now.queued++;
}

static void skip_first(struct queue *q)
{
    q->now.head += HEAD + length_at(q, q->now.head);
    q->now.queued--;
}

/* Commits only when the new record has its room: until then the old ones are where they are. */
static void push_over(struct queue *q, const void *bytes, uint32_t len)
{
    while (HEAD + len > q->size - used(q)) {
        skip_first(q);
        q->now.dropped++;
    }
    commit(q); /* before their bytes go */
    append(q, bytes, len);
    commit(q);
}

bool queue_push(struct queue *q, const void *bytes, size_t len)
{
    refill(q);
    if (queue_has_room(q, len)) {
        append(q, bytes, (uint32_t)len);
        commit(q);
        return true;
    }
    bool fits = len <= UINT32_MAX && HEAD + len <= q->size;
    if (fits && q->full == SINK_SPOOL && q->spool >= 0 && spool_push(q, bytes, (uint32_t)len))
        return true;
    if (fits && q->full == SINK_DROP_OLDEST) {
        push_over(q, bytes, (uint32_t)len);
        return false;
    }
    q->now.dropped++;
    commit(q);
    return false;
}

/* --- writing it out -------------------------------------------------------------------------- */

int queue_next(const struct queue *q, struct iovec *parts, int cap, size_t most)
{
    const struct queue_state *s = &q->now;
    int n = 0;
    if (s->flight_len) {
        size_t rest = (size_t)(s->flight_len - s->flight_at);
        parts[n++] = (struct iovec){ q->flight + s->flight_at, rest < most ? rest : most };
        most -= parts[0].iov_len;
        if (parts[0].iov_len < rest)
            return n;
    }
    for (uint64_t at = s->head; at != s->tail && n < cap; n++) {
        size_t len = length_at(q, at);
        if (len > most && n)
            break;
        parts[n] = (struct iovec){ q->data + at % q->size + HEAD, len < most ? len : most };
        most -= parts[n].iov_len;
        at += HEAD + len;
    }
    return n;
}

void queue_intend(struct queue *q, size_t n, uint64_t before)
{
    q->now.intent = n;
    q->now.before = before;
    commit(q);
}

/* The first record is on its way, `done` of its bytes are written (or -1: not even the newline that
 * is to come before it). */
static void take_off(struct queue *q, int64_t done)
{
    uint32_t len = length_at(q, q->now.head);
    q->flight[0] = '\n';
    memcpy(q->flight + 1, q->data + q->now.head % q->size + HEAD, len);
    q->now.flight_len = (uint64_t)len + 1;
    q->now.flight_at = (uint64_t)(done + 1);
    skip_first(q);
}

/* Of `n` bytes written, those of the record that is in flight. Returns what is left. */
static size_t fly_on(struct queue *q, size_t n)
{
    struct queue_state *s = &q->now;
    size_t rest = (size_t)(s->flight_len - s->flight_at);
    if (n < rest) {
        s->flight_at += n;
        s->intent = 0;
        commit(q);
        return 0;
    }
    s->flight_len = s->flight_at = 0;
    s->sent++;
    s->intent -= s->intent < rest ? s->intent : rest;
    s->before += rest;
    commit(q); /* the flight's memory is free from here on */
    return n - rest;
}

void queue_wrote(struct queue *q, size_t n)
{
    struct queue_state *s = &q->now;
    if (s->flight_len)
        n = fly_on(q, n);
    while (s->queued && n >= length_at(q, s->head) && (n || !length_at(q, s->head))) {
        n -= length_at(q, s->head);
        skip_first(q);
        s->sent++;
    }
    if (n && s->queued)
        take_off(q, (int64_t)n);
    s->intent = 0;
    commit(q);
    refill(q);
}

bool queue_in_doubt(const struct queue *q)
{
    return q->now.intent != 0;
}

static uint64_t records_within(const struct queue *q, uint64_t bytes)
{
    uint64_t n = 0;
    for (uint64_t at = q->now.head; at != q->now.tail && bytes; n++) {
        uint64_t len = length_at(q, at);
        bytes -= len < bytes ? len : bytes;
        at += HEAD + len;
    }
    return n;
}

/* Nobody knows: write it all again. */
static void doubt(struct queue *q)
{
    struct queue_state *s = &q->now;
    uint64_t bytes = s->intent;
    if (s->flight_len) {
        uint64_t rest = s->flight_len - s->flight_at;
        bytes -= rest < bytes ? rest : bytes;
        s->flight_at = 0;
        s->doubtful++;
    } else if (s->queued && bytes < length_at(q, s->head)) {
        take_off(q, -1);
        s->doubtful++;
        bytes = 0;
    }
    s->doubtful += records_within(q, bytes);
    s->intent = 0;
    commit(q);
}

void queue_settle(struct queue *q, bool is_file, uint64_t size_now)
{
    struct queue_state *s = &q->now;
    uint64_t grown = size_now - s->before;
    if (is_file && size_now >= s->before && grown <= s->intent)
        queue_wrote(q, (size_t)grown);
    else
        doubt(q);
}

void queue_restart(struct queue *q)
{
    if (q->now.flight_len) {
        q->now.flight_at = 1;
        commit(q);
    }
}

void queue_drop_first(struct queue *q)
{
    if (q->now.flight_len)
        q->now.flight_len = q->now.flight_at = 0;
    else if (q->now.queued)
        skip_first(q);
    else
        return;
    q->now.dropped++;
    q->now.intent = 0;
    commit(q);
    refill(q);
}
