/* collector.h - joins socket, /proc, process table and loss ledger to a libev loop.
 *
 * From start to stop it hands every event, whole, to one sink, in the order of the kernel. It
 * waits for nobody. Needs no privilege by itself; what it was not permitted to do it says. */
#ifndef COLLECT_COLLECTOR_H
#define COLLECT_COLLECTOR_H

#include "collect/complete.h"
#include "collect/ledger.h"
#include "collect/netlink.h"

struct ev_loop;
struct collector; /* opaque */

struct collector_options {
    int buffer_bytes;   /* receive buffer, as setsockopt takes it */
    size_t table_bytes; /* bound of the process table */
    const char *proc;   /* "/proc" */
    uint32_t kinds;     /* as collector_subscribe takes them */
    bool threads;
    uint64_t needs; /* as collector_need takes them */
    bool tap;       /* load it if it can be had */
    bool taskstats; /* the same, when there is no tap */
    double delay_s; /* gather messages for so long before they are read; 0: read each at once */
};

/* Ends a batch: what the sink got so far should be passed on now. */
typedef void collector_flush(void *ctx);

/* Open everything and shake hands with the kernel. 0, or -errno with one sentence in *why (static
 * text). Events are queued by the kernel from now on. `ctx` goes to both callbacks. */
int collector_open(struct collector **out, const struct collector_options *options,
                   complete_sink *sink, collector_flush *flush, void *ctx, const char **why);

/* Tell of every living process as a snapshot, then of all that happens. Call once. */
void collector_start(struct collector *c, struct ev_loop *loop);

/* What the kernel should send, besides what the process table needs; may change any time. */
void collector_subscribe(struct collector *c, uint32_t kinds, bool threads);

/* The events that the kernel is asked for when these are subscribed to. */
uint32_t collector_asks(uint32_t kinds);

/* Fields that somebody looks at, FIELD(ARGS) | ...; UINT64_MAX: all. What is not among them is
 * not read at an exec. With new ones, processes that lack them are told of again as snapshots. */
void collector_need(struct collector *c, uint64_t fields);

/* Tell of every living process again, for a reader that missed records. */
void collector_retell(struct collector *c);

/* The same to somebody else, who then is told nothing more; allocates nothing. */
void collector_tell(struct collector *c, void (*sink)(void *to, const struct event *ev), void *to);

/* Take in what is queued, tell the kernel goodbye, stop the watchers. The counters stay. */
void collector_stop(struct collector *c);

void collector_free(struct collector *c);

struct collector_counters {
    struct netlink_counters netlink;
    struct complete_counters complete;
    struct tracker_counters tracker;
    uint64_t lost, episodes, scans;
    uint64_t unclaimed, doubtful; /* readings of execs: of no message; maybe of a later image */
    uint64_t source_lost;         /* records of tap or taskstats, and execs for the reader ahead,
                                     that found no room: names or figures are missing for it */
    const char *sources;          /* "connector, tap", ... */
    int buffer_bytes;
    double fill; /* of the receive buffer, 0..1, at the last look */
};
struct collector_counters collector_count(struct collector *c);

#endif
