/* ring.c - carries records from the one writer to its readers. See ring.h.
 *
 * The data area is mapped twice in a row, so that a record that runs over the end is still one
 * run of addresses. Positions are byte counts that only grow; `at % size` is the place. */
#include "ring/ring.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each on its own cache line: the writer polls `asleep`, the reader writes `at`. */
struct reader {
    _Alignas(64) _Atomic uint64_t at;
    _Atomic uint64_t seq; /* expected next; moved after `at` */
    _Alignas(64) _Atomic uint64_t asleep; /* until so many bytes wait for it; 0: it is awake */
    _Alignas(64) _Atomic uint64_t words[RING_WORDS];
};

/* Where a reader's cursor goes when the record in its hands is done with. */
struct taken {
    bool is;
    uint64_t at, seq;
};

/* Written by the writer alone; readers map it read-only. */
struct written {
    _Alignas(64) _Atomic uint64_t head; /* after the newest record */
    _Atomic uint64_t next_seq;
    _Alignas(64) _Atomic uint64_t tail; /* the oldest record that is surely whole */
    _Atomic uint32_t finished;
    _Alignas(64) _Atomic uint64_t posts; /* odd while the board is being written */
    _Atomic uint64_t board[RING_BOARD];
};

struct ring {
    struct written *written; /* owned mapping */
    char *data;              /* owned mapping, twice `size` */
    struct reader *readers[RING_READERS]; /* owned mappings: the only part that a reader can write,
                                             and each its own alone */
    struct taken taken[RING_READERS];     /* of this process */
    size_t size;
    int fd;                 /* owned: the memory, sealed against new writable mappings */
    int wake[RING_READERS][2]; /* owned pipes, the writer's end second: what a reader does to its own
                                  end (an eventfd it would share) cannot make the writer wait */
};

static size_t page_round(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) & ~(page - 1);
}

static void unmap_records(struct ring *r)
{
    if (r->data)
        munmap(r->data, 2 * r->size);
    if (r->written)
        munmap(r->written, page_round(sizeof *r->written));
    r->data = NULL;
    r->written = NULL;
}

static int map_records(struct ring *r, int protection)
{
    size_t head = page_round(sizeof *r->written);
    void *written = mmap(NULL, head, protection, MAP_SHARED, r->fd, 0);
    if (written == MAP_FAILED)
        return -errno;
    r->written = written;

    char *place = mmap(NULL, 2 * r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return -errno;
    r->data = place;
    for (int half = 0; half < 2; half++)
        if (mmap(place + (size_t)half * r->size, r->size, protection, MAP_SHARED | MAP_FIXED, r->fd,
                 (off_t)head) == MAP_FAILED)
            return -errno;
    return 0;
}

static int make_memory(struct ring *r)
{
    r->fd = memfd_create("moonwatch-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->fd < 0 || ftruncate(r->fd, (off_t)(page_round(sizeof *r->written) + r->size)) < 0)
        return -errno;
    int result = map_records(r, PROT_READ | PROT_WRITE);
    if (result)
        return result;
    /* before 5.1 there is no such seal: the reader's read-only mapping is then all there is */
    if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) < 0 &&
        errno != EINVAL)
        return -errno;

    for (int i = 0; i < RING_READERS; i++) {
        void *reader = mmap(NULL, page_round(sizeof *r->readers[i]), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (reader == MAP_FAILED)
            return -errno;
        r->readers[i] = reader;
    }
    for (int i = 0; i < RING_READERS; i++)
        if (pipe2(r->wake[i], O_CLOEXEC | O_NONBLOCK) < 0)
            return -errno;
    return 0;
}

int ring_new(struct ring **out, size_t bytes)
{
    struct ring *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->fd = -1;
    for (int i = 0; i < RING_READERS; i++)
        r->wake[i][0] = r->wake[i][1] = -1;
    r->size = 4 * EVENT_MAX;
    while (r->size < bytes)
        r->size *= 2;

    int result = make_memory(r);
    if (result) {
        ring_free(r);
        return result;
    }
    atomic_store(&r->written->next_seq, 1);
    for (int i = 0; i < RING_READERS; i++)
        ring_reader_start(r, i);
    *out = r;
    return 0;
}

static void unmap_reader(struct ring *r, int reader)
{
    if (r->readers[reader])
        munmap(r->readers[reader], page_round(sizeof *r->readers[reader]));
    r->readers[reader] = NULL;
}

int ring_read_only(struct ring *r, int reader)
{
    for (int i = 0; i < RING_READERS; i++)
        if (i != reader)
            unmap_reader(r, i);
    unmap_records(r);
    return map_records(r, PROT_READ);
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    unmap_records(r);
    for (int i = 0; i < RING_READERS; i++) {
        unmap_reader(r, i);
        for (int end = 0; end < 2; end++)
            if (r->wake[i][end] >= 0)
                close(r->wake[i][end]);
    }
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

/* --- writing -------------------------------------------------------------------------- */

static const struct event *record_at(const struct ring *r, uint64_t at)
{
    return (const struct event *)(r->data + at % r->size);
}

/* Give up the oldest records until `bytes` fit. Readers see the new tail before the bytes change.
 */
static void retire(struct ring *r, uint64_t head, size_t bytes)
{
    uint64_t tail = atomic_load_explicit(&r->written->tail, memory_order_relaxed);
    if (head + bytes - tail <= r->size)
        return;
    while (head + bytes - tail > r->size)
        tail += record_at(r, tail)->size;
    atomic_store_explicit(&r->written->tail, tail, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void ring_write(struct ring *r, struct event_box *box)
{
    struct written *s = r->written;
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    uint64_t seq = atomic_load_explicit(&s->next_seq, memory_order_relaxed);

    event_set(box, F_SEQ, (int64_t)seq, WHY_COMPUTED);
    retire(r, head, box->ev.size);
    memcpy(r->data + head % r->size, &box->ev, box->ev.size);
    atomic_store_explicit(&s->next_seq, seq + 1, memory_order_relaxed);
    atomic_store_explicit(&s->head, head + box->ev.size, memory_order_release);
}

void ring_flush(struct ring *r)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < RING_READERS; i++) {
        struct reader *reader = r->readers[i];
        uint64_t least = atomic_load_explicit(&reader->asleep, memory_order_relaxed);
        if (!least)
            continue;
        if (atomic_load(&r->written->head) - atomic_load(&reader->at) < least &&
            !atomic_load(&r->written->finished))
            continue;
        atomic_store_explicit(&reader->asleep, 0, memory_order_relaxed);
        /* fails only when thousands of wake-ups are unread: the reader is awake then */
        if (write(r->wake[i][1], "", 1) < 0)
            continue;
    }
}

void ring_finish(struct ring *r)
{
    atomic_store(&r->written->finished, 1);
    ring_flush(r);
}

void ring_post(struct ring *r, const uint64_t *words, size_t n)
{
    struct written *s = r->written;
    uint64_t posts = atomic_load_explicit(&s->posts, memory_order_relaxed);
    atomic_store_explicit(&s->posts, posts + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&s->board[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&s->posts, posts + 2, memory_order_release);
}

uint64_t ring_next_seq(const struct ring *r)
{
    return atomic_load_explicit(&r->written->next_seq, memory_order_relaxed);
}

struct ring_counters ring_count(const struct ring *r)
{
    return (struct ring_counters){ ring_next_seq(r) - 1, atomic_load(&r->written->head) };
}

/* --- reading -------------------------------------------------------------------------- */

int ring_reader_fd(const struct ring *r, int reader)
{
    return r->wake[reader][0];
}

void ring_reader_start(struct ring *r, int reader)
{
    struct reader *me = r->readers[reader];
    atomic_store(&me->at, atomic_load(&r->written->head));
    atomic_store(&me->seq, ring_next_seq(r));
    ring_reader_resume(r, reader);
}

void ring_reader_resume(struct ring *r, int reader)
{
    r->taken[reader].is = false;
    atomic_store(&r->readers[reader]->asleep, 0);
}

void ring_reader_follow(struct ring *r, int leader, int reader)
{
    const struct reader *from = r->readers[leader];
    struct reader *to = r->readers[reader];
    atomic_store(&to->at, atomic_load(&from->at));
    atomic_store(&to->seq, atomic_load(&from->seq));
    for (int i = 0; i < RING_WORDS; i++)
        atomic_store(&to->words[i], atomic_load(&from->words[i]));
    ring_reader_resume(r, reader);
}

_Atomic uint64_t *ring_words(struct ring *r, int reader)
{
    return r->readers[reader]->words;
}

static int drain(const struct ring *r, int reader)
{
    char drained[64];
    return read(r->wake[reader][0], drained, sizeof drained) < 0 && errno != EAGAIN ? -errno : 0;
}

void ring_rest(struct ring *r, int reader, double part)
{
    struct reader *me = r->readers[reader];
    if (!atomic_load(&me->asleep))
        drain(r, reader);
    atomic_store(&me->asleep, (uint64_t)(part * (double)r->size));
}

/* Announce sleep, then look again: a record written in between is either seen here or its flush
 * sees us asleep. The end is looked at first: when it was there, so was the last record. */
static int fall_asleep(struct ring *r, struct reader *me, int reader, uint64_t at)
{
    int result = drain(r, reader);
    if (result < 0)
        return result;
    atomic_store(&me->asleep, 1);
    atomic_thread_fence(memory_order_seq_cst);
    bool finished = atomic_load(&r->written->finished);
    if (atomic_load(&r->written->head) != at) {
        atomic_store(&me->asleep, 0);
        return 1;
    }
    return finished ? -EPIPE : 0;
}

/* Copy the record at `at`; false when the writer has overtaken it meanwhile. */
static bool copy_whole(const struct ring *r, uint64_t at, struct event_box *box, uint32_t *size)
{
    const struct event *from = record_at(r, at);
    *size = from->size;
    if (*size >= sizeof(struct event) && *size <= EVENT_MAX)
        memcpy(&box->ev, from, *size);
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&r->written->tail, memory_order_relaxed) <= at;
}

/* A reader may be killed between the two: its successor then stands at `at` and expects a number
 * from before, so it tells a loss that was not told yet, and never one that is none but the record
 * that the dead one had in its hands. */
static void move_to(struct reader *me, uint64_t at, uint64_t seq)
{
    atomic_store_explicit(&me->at, at, memory_order_release);
    atomic_store_explicit(&me->seq, seq, memory_order_release);
}

void ring_done(struct ring *r, int reader)
{
    struct taken *taken = &r->taken[reader];
    if (taken->is)
        move_to(r->readers[reader], taken->at, taken->seq);
    taken->is = false;
}

int ring_read(struct ring *r, int reader, struct event_box *box, uint64_t *missed)
{
    struct reader *me = r->readers[reader];
    ring_done(r, reader);
    uint64_t at = atomic_load_explicit(&me->at, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->written->head, memory_order_acquire);

    if (at > head || at % 8) /* the cursor may be a dead reader's: anything can have written it */
        return -EBADMSG;
    if (at == head) {
        int asleep = fall_asleep(r, me, reader, at);
        if (asleep <= 0)
            return asleep;
    }

    uint32_t size;
    while (!copy_whole(r, at, box, &size)) /* overtaken: go on at the oldest whole record */
        at = atomic_load_explicit(&r->written->tail, memory_order_acquire);

    if (size < sizeof(struct event) || size > EVENT_MAX || !event_valid(&box->ev, size))
        return -EBADMSG;
    uint64_t seq = (uint64_t)box->ev.cell[F_SEQ].num;
    uint64_t expected = atomic_load_explicit(&me->seq, memory_order_relaxed);
    if (seq != expected) {
        *missed = seq - expected;
        move_to(me, at, seq);
        return -EOVERFLOW;
    }
    r->taken[reader] = (struct taken){ true, at + size, seq + 1 };
    return 1;
}

/* A writer that died half-way leaves `posts` odd for good: then what is there must do. One that
 * waits for a processor does not take so long. */
#define POST_PATIENCE_NS (NS_PER_SECOND / 20)

void ring_posted(const struct ring *r, uint64_t *words, size_t n)
{
    const struct written *s = r->written;
    int64_t until = 0;
    for (int tries = 0;; tries++) {
        uint64_t posts = atomic_load_explicit(&s->posts, memory_order_acquire);
        for (size_t i = 0; i < n; i++)
            words[i] = atomic_load_explicit(&s->board[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (posts % 2 == 0 && posts == atomic_load_explicit(&s->posts, memory_order_relaxed))
            return;
        if (tries % 16 != 15)
            continue;
        int64_t now = clock_mono_ns();
        if (until && now > until)
            return;
        until = until ? until : now + POST_PATIENCE_NS;
        sched_yield();
    }
}

uint64_t ring_waiting(const struct ring *r, int reader)
{
    return atomic_load(&r->written->head) - atomic_load(&r->readers[reader]->at);
}

double ring_backlog(const struct ring *r, int reader)
{
    return (double)ring_waiting(r, reader) / (double)r->size;
}
