/* timers.c - when which function of a script is due, in the time of its host. See timers.h. */
#include "host/timers.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_PLACES 16

void timers_fini(struct timers *t)
{
    free(t->all);
    free(t->heap);
    *t = (struct timers){ 0 };
}

static int grow(struct timers *t)
{
    int len = t->len ? t->len * 2 : FIRST_PLACES;
    struct timer *all = realloc(t->all, (size_t)len * sizeof *all);
    if (all)
        t->all = all;
    int *heap = realloc(t->heap, (size_t)len * sizeof *heap);
    if (heap)
        t->heap = heap;
    if (!all || !heap)
        return -ENOMEM;
    for (int id = t->len; id < len; id++)
        all[id] = (struct timer){ .function_ref = TIMER_FREE, .at = -1 };
    t->len = len;
    return 0;
}

int timers_place(struct timers *t)
{
    for (int id = 0; id < t->len; id++)
        if (t->all[id].function_ref == TIMER_FREE)
            return id;
    int id = t->len;
    return grow(t) < 0 ? -ENOMEM : id;
}

struct timer *timers_at(const struct timers *t, int64_t id)
{
    bool taken = id >= 0 && id < t->len && t->all[id].function_ref != TIMER_FREE;
    return taken ? &t->all[id] : NULL;
}

/* --- the heap ----------------------------------------------------------------------------------- */

static bool before(const struct timers *t, int a, int b)
{
    const struct timer *one = &t->all[a], *other = &t->all[b];
    return one->due_ns != other->due_ns ? one->due_ns < other->due_ns : one->order < other->order;
}

static void put(struct timers *t, int at, int id)
{
    t->heap[at] = id;
    t->all[id].at = at;
}

static void rise(struct timers *t, int at)
{
    int id = t->heap[at];
    for (; at > 0 && before(t, id, t->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(t, at, t->heap[(at - 1) / 2]);
    put(t, at, id);
}

static void sink(struct timers *t, int at)
{
    int id = t->heap[at];
    for (int child; (child = 2 * at + 1) < t->heap_len; at = child) {
        if (child + 1 < t->heap_len && before(t, t->heap[child + 1], t->heap[child]))
            child++;
        if (!before(t, t->heap[child], id))
            break;
        put(t, at, t->heap[child]);
    }
    put(t, at, id);
}

void timers_start(struct timers *t, int id, int64_t due_ns)
{
    timers_stop(t, id);
    t->all[id].due_ns = due_ns;
    t->all[id].order = ++t->orders;
    put(t, t->heap_len++, id);
    rise(t, t->heap_len - 1);
}

void timers_stop(struct timers *t, int id)
{
    int at = t->all[id].at;
    if (at < 0)
        return;
    t->all[id].at = -1;
    int last = t->heap[--t->heap_len];
    if (last == id)
        return;
    put(t, at, last);
    rise(t, at);
    sink(t, t->all[last].at);
}

int timers_first(const struct timers *t)
{
    return t->heap_len ? t->heap[0] : -1;
}
