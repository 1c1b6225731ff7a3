/* sinks.h - the outputs that the scripts of a host have opened.
 *
 * One for each spec, shared by all who ask for the same, so the next version of a script goes on
 * with the queue of the one before; a file belongs to one script. One that nobody wants any more is closed when its queue is
 * empty; what a process before this one left behind is written out the same way. */
#ifndef HOST_SINKS_H
#define HOST_SINKS_H

#include "base/buf.h"
#include "sink/sink.h"

struct host;
struct policy;
struct outlet;

/* Part of a host; zeroed: nothing is open. */
struct sinks {
    struct outlet *open; /* owned list */
    int last_id;
    int64_t due_ns;            /* when to tend them, on the monotonic clock; 0: never */
    uint64_t life;             /* of this process, for the keeper */
    bool began;                /* what predecessors left was asked for */
    bool finishing;            /* there is no loop any more */
    struct buf record, answer; /* owned: reused */
};

/* Open one for a script. Returns its number; 0 when it takes everything and writes nothing: the
 * scripts are only loaded, or rehearsed; -errno with a sentence in `why` (PLACE_WHY_MAX bytes). */
int sinks_open(struct host *h, struct policy *policy, const struct sink_spec *spec, char *why);

/* The number is that of an open one that somebody uses. */
bool sinks_is_open(const struct host *h, int id);

void sinks_send(struct host *h, int id, const void *bytes, size_t len);
struct sink_counts sinks_count(const struct host *h, int id);

/* A script's version goes. */
void sinks_release(struct host *h, const struct policy *policy);

/* Write what can be written without waiting: at the end of a batch, when one can be written to, and
 * each second. */
void sinks_flush(struct host *h);
void sinks_writable(struct host *h, int id);
void sinks_tick(struct host *h, int64_t now_ns);

/* The end: write what can be written within two seconds. */
void sinks_finish(struct host *h);
void sinks_free(struct host *h);

#endif
