/* tracker.h - who lives, whose child it is, and what it was when it forked.
 *
 * A table of processes folded from records: the same records give the same table, so the
 * collector keeps one to complete its events and the host keeps its own to answer ev.parent.
 * It reads nothing and asks nobody.
 *
 * A node is one image of one process: what it was between two changes. A child holds the node that
 * its parent was at the fork, so `sh` stays the parent of its children after it execs `make`. Nodes
 * live as long as the process or a descendant's node does; the last ones that nobody holds are
 * remembered for a while (TRACKER_REMEMBERED), because questions come late.
 *
 * Memory: slabs that grow, never a malloc per event; the bytes in nodes never exceed the bound.
 * At the bound the oldest dead nodes go first and are counted as evicted. */
#ifndef COLLECT_TRACKER_H
#define COLLECT_TRACKER_H

#include "event/event.h"

#define TRACKER_REMEMBERED 1024

struct tracker; /* opaque */

/* Names a node; stays safe to use after the node is gone. 0: none. */
typedef uint64_t tracker_ref;

struct tracker_counters {
    uint64_t alive;   /* processes that live */
    uint64_t nodes;   /* images kept, the dead ones included */
    uint64_t bytes;   /* in these nodes */
    uint64_t evicted; /* dead nodes dropped at the bound while a descendant or a late question
                         needed them */
    uint64_t refused; /* processes that found no room at all */
};

/* NULL when there is no memory. `bound` in bytes. */
struct tracker *tracker_new(size_t bound);
void tracker_free(struct tracker *t);

/* Fold one record in. Only process events matter; thread events (tid != pid) are skipped. */
void tracker_apply(struct tracker *t, const struct event *ev);

/* The living process of this pid, or 0. */
tracker_ref tracker_alive(const struct tracker *t, int64_t pid);

/* The process of this pid and start time, give or take one tick: alive or remembered; or 0. */
tracker_ref tracker_find(const struct tracker *t, int64_t pid, int64_t starttime);

/* The newest dead process of this pid, or 0. */
tracker_ref tracker_dead(const struct tracker *t, int64_t pid);

/* What forked it, as it was then; 0 when unknown or gone. */
tracker_ref tracker_parent(struct tracker *t, tracker_ref ref);

/* How many ancestors are known. */
int tracker_depth(struct tracker *t, tracker_ref ref);

/* Fork stamp on CLOCK_MONOTONIC in ns, or 0 when the fork was not seen. */
int64_t tracker_forked_at(const struct tracker *t, tracker_ref ref);

/* Keep the node of a process that ends until it is released, within the bound. */
void tracker_hold(struct tracker *t, tracker_ref ref);
void tracker_release(struct tracker *t, tracker_ref ref);

/* Copy all state fields of a node into the box; `why` replaces the reasons of those that have a
 * value, unless it is WHY_ABSENT. False (box untouched) when the node is gone. */
bool tracker_copy_state(const struct tracker *t, tracker_ref ref, struct event_box *box,
                        enum event_why why);

/* One state field without a copy. The text is borrowed until the next tracker_apply. */
int64_t tracker_int(const struct tracker *t, tracker_ref ref, enum event_field field,
                    int64_t otherwise);
const char *tracker_text(const struct tracker *t, tracker_ref ref, enum event_field field,
                         size_t *len);

/* How a state field is known, or why it is not; WHY_ABSENT when the node is gone. */
enum event_why tracker_why(const struct tracker *t, tracker_ref ref, enum event_field field);

/* Do two start times, in ticks, mean the same process? One was computed from a fork's stamp. Any
 * two numbers may be asked about: records come from outside, too. */
static inline bool tracker_same_start(int64_t a, int64_t b)
{
    return (a < b ? (uint64_t)b - (uint64_t)a : (uint64_t)a - (uint64_t)b) <= 1;
}

/* Marks for comparing with /proc: start a round, mark who was seen, visit living ones unseen. */
void tracker_round(struct tracker *t);
void tracker_mark(struct tracker *t, tracker_ref ref);
typedef void tracker_visit(void *ctx, tracker_ref ref);
void tracker_unmarked(struct tracker *t, tracker_visit *visit, void *ctx);

/* Visit every living process; the visitor may apply events. */
void tracker_each(struct tracker *t, tracker_visit *visit, void *ctx);

struct tracker_counters tracker_count(const struct tracker *t);

#endif
