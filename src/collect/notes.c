/* notes.c - what was learnt of an exec or an end before the connector's message of it is read. See
 * notes.h.
 *
 * Entries lie in a ring in the order in which they came. They are claimed nearly in that order, so
 * the search from the oldest on ends soon; claimed ones are given back once they are the oldest. */
#include "collect/notes.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint32_t size; /* of the whole entry, a multiple of 8 */
    uint32_t len;  /* of what follows */
    int32_t kind;  /* SKIP: the rest of the ring before its start, or claimed */
    int32_t pid;
    int64_t mono_ns;
};

#define SKIP INT32_MIN

/* Entries are in the order of their stamps, give or take this. */
#define DISORDER_NS INT64_C(5000000)

struct notes {
    size_t cap, head, tail; /* offsets of the oldest and of the next; equal: empty */
    size_t used;            /* bytes from head to tail */
    uint64_t unclaimed;
    _Alignas(8) char ring[];
};

struct notes *notes_new(size_t bytes)
{
    size_t cap = bytes / sizeof(struct entry) * sizeof(struct entry);
    struct notes *f = calloc(1, sizeof *f + cap);
    if (f)
        f->cap = cap;
    return f;
}

void notes_free(struct notes *f)
{
    free(f);
}

static struct entry *at(struct notes *f, size_t offset)
{
    return (struct entry *)(f->ring + offset);
}

static size_t after(const struct notes *f, size_t offset, size_t size)
{
    return offset + size == f->cap ? 0 : offset + size;
}

/* The oldest goes. */
static void drop(struct notes *f)
{
    struct entry *e = at(f, f->head);
    f->used -= e->size;
    f->unclaimed += e->kind != SKIP;
    f->head = after(f, f->head, e->size);
    if (!f->used) /* begin anew where the cache is warm */
        f->head = f->tail = 0;
}

static void drop_claimed(struct notes *f)
{
    while (f->used && at(f, f->head)->kind == SKIP)
        drop(f);
}

/* Room for `size` bytes in one run at the tail. */
static void make_room(struct notes *f, size_t size)
{
    if (f->tail + size > f->cap) { /* the rest stays empty */
        size_t rest = f->cap - f->tail;
        while (f->used && f->used + rest > f->cap)
            drop(f);
        if (f->used) {
            *at(f, f->tail) = (struct entry){ .size = (uint32_t)rest, .kind = SKIP };
            f->used += rest;
            f->tail = 0;
        }
    }
    while (f->used && f->used + size > f->cap)
        drop(f);
}

void *notes_put(struct notes *f, int kind, int pid, int64_t mono_ns, const void *bytes, size_t len)
{
    /* an entry's head must always fit into the rest that is skipped */
    size_t size = (sizeof(struct entry) + len + sizeof(struct entry) - 1) / sizeof(struct entry) *
                  sizeof(struct entry);
    if (size > f->cap / 4)
        return NULL;
    make_room(f, size);
    struct entry *e = at(f, f->tail);
    *e = (struct entry){ (uint32_t)size, (uint32_t)len, kind, pid, mono_ns };
    if (bytes)
        memcpy(e + 1, bytes, len);
    f->used += size;
    f->tail = after(f, f->tail, size);
    return e + 1;
}

static struct entry *find(struct notes *f, int kind, int pid, int64_t mono_ns, bool claim)
{
    struct entry *found = NULL;
    size_t offset = f->head;
    for (size_t left = f->used; left;) {
        struct entry *e = at(f, offset);
        left -= e->size;
        offset = after(f, offset, e->size);
        if (e->kind != SKIP && e->mono_ns > mono_ns + DISORDER_NS)
            break;
        if (e->pid != pid || e->kind != kind || e->mono_ns > mono_ns)
            continue;
        if (found && claim) {
            found->kind = SKIP;
            f->unclaimed++;
        }
        found = e;
    }
    return found;
}

const void *notes_take(struct notes *f, int kind, int pid, int64_t mono_ns, size_t *len)
{
    struct entry *e = find(f, kind, pid, mono_ns, true);
    if (!e)
        return NULL;
    *len = e->len;
    e->kind = SKIP;
    drop_claimed(f); /* the bytes stay until the next put */
    return e + 1;
}

void *notes_find(struct notes *f, int kind, int pid, int64_t mono_ns, size_t *len)
{
    struct entry *e = find(f, kind, pid, mono_ns, false);
    if (!e)
        return NULL;
    *len = e->len;
    return e + 1;
}

bool notes_newer(struct notes *f, int kind, int pid, int64_t mono_ns)
{
    size_t offset = f->head;
    for (size_t left = f->used; left;) {
        struct entry *e = at(f, offset);
        left -= e->size;
        offset = after(f, offset, e->size);
        if (e->pid == pid && e->kind == kind && e->mono_ns > mono_ns)
            return true;
    }
    return false;
}

void notes_expire(struct notes *f, int64_t before_ns)
{
    while (f->used && (at(f, f->head)->kind == SKIP || at(f, f->head)->mono_ns < before_ns))
        drop(f);
}

uint64_t notes_unclaimed(const struct notes *f)
{
    return f->unclaimed;
}
