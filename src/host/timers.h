/* timers.h - when which function of a script is due, in the time of its host.
 *
 * That time is what events and the world say (host_clock), never a clock that is read here: so the same
 * events give the same calls, live and in a replay. Of two that are due at once the one that was started
 * first comes first. Knows no Lua and no loop. */
#ifndef HOST_TIMERS_H
#define HOST_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct policy;

struct timer {
    struct policy *policy; /* borrowed */
    int function_ref;      /* TIMER_FREE: the place is free */
    bool repeats;
    int64_t after_ns; /* from the start to the first call, and between two */
    int64_t due_ns;   /* while it runs */
    uint64_t order;   /* of its start */
    int at;           /* place in the heap; -1: it does not run */
};

#define TIMER_FREE (-2) /* LUA_NOREF */

/* Zeroed: empty. */
struct timers {
    struct timer *all; /* owned; a timer's number is its place */
    int *heap;         /* owned: numbers, the first one due at the top */
    int len, heap_len;
    uint64_t orders;
};

void timers_fini(struct timers *t);

/* A free place: its number, or -ENOMEM. Who takes it sets policy and function. */
int timers_place(struct timers *t);

/* The timer of this number, or NULL. */
struct timer *timers_at(const struct timers *t, int64_t id);

/* It is due then; one that runs is started anew. Allocates nothing. */
void timers_start(struct timers *t, int id, int64_t due_ns);

/* It does not run any more. */
void timers_stop(struct timers *t, int id);

/* The one that is due first, or -1. */
int timers_first(const struct timers *t);

/* When that is; INT64_MAX: never. */
static inline int64_t timers_due(const struct timers *t)
{
    return t->heap_len ? t->all[t->heap[0]].due_ns : INT64_MAX;
}

#endif
