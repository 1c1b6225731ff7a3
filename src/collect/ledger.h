/* ledger.h - proves how much was lost.
 *
 * Two witnesses. The socket's own drop counter (SO_MEMINFO) is exact whatever the filter. The
 * kernel's per-CPU sequence numbers also show what never reached the socket, but count for us
 * only while nothing is filtered. Makes episodes out of both: one stretch of loss, one report. */
#ifndef COLLECT_LEDGER_H
#define COLLECT_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_CPUS 1024

struct ledger {
    bool unfiltered; /* sequence gaps mean loss */
    uint64_t lost;   /* in all, proved */
    uint64_t episodes;
    uint64_t gaps;            /* sum of sequence gaps while unfiltered */
    uint64_t dropped;         /* sum of socket drops */
    int64_t last_mono_ns;     /* stamp of the last event received: where the next loss begins;
                                 the owner sets it to the start of the watch */
    uint64_t pending_dropped; /* in the open episode */
    uint64_t pending_gaps;
    uint64_t credit; /* drops already counted whose gaps may still show */
    bool open;
    int64_t open_from_ns;
    uint32_t next_seq[LEDGER_CPUS];
    bool seen[LEDGER_CPUS];
};

/* One stretch of loss, ended. */
struct ledger_episode {
    uint64_t lost;
    int64_t from_ns, until_ns; /* CLOCK_MONOTONIC */
};

void ledger_init(struct ledger *l);

/* The filter changed: sequence numbers are trusted from the next event of each CPU on, or not.
 * What is queued still has the holes of the old filter: say false before a filter is set that
 * drops anything, say true after one is set that drops nothing and the queue was drained. */
void ledger_set_unfiltered(struct ledger *l, bool unfiltered);

/* Every datagram that carries the kernel's counter, acks included, in arrival order. */
void ledger_note(struct ledger *l, uint32_t cpu, uint32_t seq, int64_t mono_ns);

/* The socket dropped `count` more; 0 with `overrun` when the kernel said ENOBUFS but the drops
 * were not counted yet. Opens an episode, or adds to the open one. */
void ledger_dropped(struct ledger *l, uint64_t count, bool overrun);

/* Call when the queue was drained and the drops were looked at once more. True when an episode was
 * open and lost anything: *out tells; it is closed and counted. What both witnesses saw is counted
 * once. */
bool ledger_close(struct ledger *l, int64_t now_mono_ns, struct ledger_episode *out);

#endif
