/* end.c - the table of ended processes. See end.h.
 *
 * A ring in the order of arrival, and an index over it: open addressing by pid, linear probing; a
 * pid that was used again is there more than once. What was taken leaves a hole in the ring, which
 * costs its place until the tail passes it. */
#include "collect/end.h"

#include <stdlib.h>

#define SLOTS_LOG2 13 /* at most half full, so that probing ends soon */
#define SLOTS      (1u << SLOTS_LOG2)
_Static_assert(SLOTS == 2 * ENDS_MAX, "half full at most");

#define FREE 0 /* slots hold a place in the ring, plus one */

struct ends {
    uint64_t head, tail; /* places ever given out; head - tail <= ENDS_MAX */
    uint16_t slots[SLOTS];
    struct process_end ring[ENDS_MAX]; /* pid 0: a hole */
};

struct ends *ends_new(void)
{
    return calloc(1, sizeof(struct ends));
}

void ends_free(struct ends *ends)
{
    free(ends);
}

static unsigned home(int32_t pid)
{
    return (uint32_t)pid * UINT32_C(0x9e3779b1) >> (32 - SLOTS_LOG2);
}

static unsigned after(unsigned slot)
{
    return (slot + 1) % SLOTS;
}

static uint64_t age(const struct ends *ends, unsigned slot)
{
    return (ends->slots[slot] - 1u - ends->tail) % ENDS_MAX;
}

/* The slot of the oldest end of this pid, or a free one. */
static unsigned find(const struct ends *ends, int32_t pid)
{
    unsigned found = SLOTS, slot = home(pid);
    for (; ends->slots[slot] != FREE; slot = after(slot))
        if (ends->ring[ends->slots[slot] - 1].pid == pid &&
            (found == SLOTS || age(ends, slot) < age(ends, found)))
            found = slot;
    return found == SLOTS ? slot : found;
}

static unsigned find_free(const struct ends *ends, int32_t pid)
{
    unsigned slot = home(pid);
    while (ends->slots[slot] != FREE)
        slot = after(slot);
    return slot;
}

/* Whoever was pushed on by this one moves back, so that no search ends too early. */
static void clear_slot(struct ends *ends, unsigned slot)
{
    for (unsigned at = after(slot); ends->slots[at] != FREE; at = after(at)) {
        unsigned wanted = home(ends->ring[ends->slots[at] - 1].pid);
        if ((at - wanted) % SLOTS < (at - slot) % SLOTS)
            continue; /* its home lies behind the gap */
        ends->slots[slot] = ends->slots[at];
        slot = at;
    }
    ends->slots[slot] = FREE;
}

const struct process_end *ends_find(const struct ends *ends, int32_t pid)
{
    unsigned slot = find(ends, pid);
    return ends->slots[slot] == FREE ? NULL : &ends->ring[ends->slots[slot] - 1];
}

bool ends_take(struct ends *ends, int32_t pid, struct process_end *out)
{
    unsigned slot = find(ends, pid);
    if (ends->slots[slot] == FREE)
        return false;

    struct process_end *kept = &ends->ring[ends->slots[slot] - 1];
    *out = *kept;
    clear_slot(ends, slot);
    kept->pid = 0;
    return true;
}

unsigned ends_put(struct ends *ends, const struct process_end *end)
{
    struct process_end old;
    unsigned pushed = 0;

    if (ends->head - ends->tail == ENDS_MAX) {
        int32_t oldest = ends->ring[ends->tail % ENDS_MAX].pid;
        pushed += oldest && ends_take(ends, oldest, &old);
        ends->tail++;
    }

    unsigned place = ends->head++ % ENDS_MAX;
    ends->ring[place] = *end;
    ends->slots[find_free(ends, end->pid)] = (uint16_t)(place + 1);
    return pushed;
}
