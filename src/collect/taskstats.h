/* taskstats.h - the kernel's account of every process that ended: one message each.
 *
 * A second netlink source beside netlink.c, for what nobody can read once a process is gone: name,
 * ids, how long, how much. Owns a generic netlink socket and the kernel's message format; knows no
 * loop, no /proc, no tracker. Optional: where it cannot be had the collector does without.
 *
 * The kernel sends a message for every task (thread) that ends, before the connector's EXIT of the
 * same task; a filter on the socket keeps those of the last task of a process. What they mean was
 * found out on a 6.18 (message version 16, HZ=250), against what wait4 told the parent; tests/e2e/
 * taskstats.c insists on it:
 *
 * - exit_code is the last task's. It is what the parent gets, also when the main thread ended first
 *   with another code, when a thread called exit_group, after an exec by a thread and for signals.
 *   Kernels before about 6.0 (from memory, not tried) gave the parent the main thread's
 *   instead: there, trust it when `single`. The kernel's note "ended by a signal" (AXSIG) is also
 *   set for threads that exit_group ends: not used.
 * - CPU time: a process that never had a second thread has its own in the message. For all others
 *   there is a second account (AGGR_TGID) with the sums of the group, a main thread included that
 *   an exec put away. User and system are counted by ticks in both (a process of 0.7 ms has 0 or
 *   4 ms); their sum is also there from the scheduler, in ns. As the kernel does it for wait4, the
 *   exact sum is divided as the ticks are. The last task may lack its time since the last tick or
 *   switch: too low by one tick at most (a process of 0.7 ms shows 0.1 to 0.7).
 * - max_rss is the address space's, so the whole process's, since its last exec. wait4 tells the
 *   most of all images.
 * - Bytes read and written are the last task's alone and zero in the group's account: unknown
 *   unless `single`. In units of 1 KiB.
 * - comm, uid and gid are the last task's: a thread may have another name than its process.
 * - "Never exec'ed" is said of main threads only.
 *
 * Ends are known by pid alone. After a loss an old end may wait while its pid is in use again:
 * elapsed_ns must fit what the caller knows of the process. */
#ifndef COLLECT_TASKSTATS_H
#define COLLECT_TASKSTATS_H

#include <stddef.h>

#include "collect/end.h"

/* What one datagram was. */
enum taskstats_verdict {
    TASKSTATS_END,    /* *out is filled */
    TASKSTATS_THREAD, /* of a task that was not the last one of its process: *out is zero */
    TASKSTATS_OTHER,  /* not of this family: the answer to a request */
    TASKSTATS_BAD,    /* truncated, of an old version, or inconsistent */
};

/* Decode one datagram of a family number. Pure: no socket, so tests feed it recorded bytes. Goes by
 * the lengths of the attributes (newer kernels append fields) and never reads past len. */
enum taskstats_verdict taskstats_decode(const void *bytes, size_t len, uint16_t family,
                                        struct process_end *out);

/* Classic BPF that keeps the family's messages of last tasks, and all of other families. Where the
 * account is not where we look, the message passes and the decoder decides. Returns how many
 * instructions were written to `to`, at most TASKSTATS_FILTER_MAX. */
#define TASKSTATS_FILTER_MAX 16
struct sock_filter;
int taskstats_filter_program(uint16_t family, struct sock_filter *to);

struct taskstats_counters {
    uint64_t received;  /* ends */
    uint64_t threads;   /* got past the filter but were not the last task's; 0 where it works */
    uint64_t forged;    /* rejected: the sender was not the kernel */
    uint64_t bad;       /* rejected: from the kernel, but could not be decoded */
    uint64_t overruns;  /* times that the kernel said ENOBUFS */
    uint64_t dropped;   /* SO_MEMINFO: exact number of ends that found no room */
    uint64_t unclaimed; /* pushed out of the table before anybody asked */
};

struct taskstats {
    int fd;           /* owned; -1 when closed */
    int buffer_bytes; /* what the kernel granted (sk_rcvbuf); an end costs 1280 of them, 2304 or so
                         when there were threads */
    bool listening;   /* on the kernel's lists */
    uint16_t family;  /* the kernel's number for us */
    uint16_t version; /* of its messages, 12 or more */
    int refused;      /* what the kernel answered last: 0 or -errno */
    struct taskstats_counters count;
    uint32_t dropped_seen;         /* raw SO_MEMINFO counter at the last look */
    struct ends *ends;             /* owned: what nobody asked for yet */
    struct taskstats_batch *batch; /* owned: receive buffers */
};

/* Open the socket and register for all possible CPUs, with a receive buffer of `buffer_bytes` as
 * setsockopt takes it (forced when permitted). Needs CAP_NET_ADMIN now and never again. 0, or
 * -errno with *why one sentence with the mend: -ENOENT no such family in this kernel, -ENOTSUP its
 * messages do not tell the last task (before 5.19), -EPERM, -EINVAL not in the initial pid and user
 * namespaces, -ECONNREFUSED not in the initial network namespace, where it would be silent. */
int taskstats_open(struct taskstats *ts, int buffer_bytes, const char **why);

/* Receive one batch without waiting; ends go to the table. Returns how many datagrams there were
 * (0: the queue is empty) or -errno; never -ENOBUFS, which is counted and means that some were
 * lost: look at taskstats_dropped. Call it now and then although nobody asks, or the queue fills
 * up with ends that the connector did not tell. */
int taskstats_drain(struct taskstats *ts);

/* The oldest end of this pid that nobody asked for, receiving until there is one or half a table
 * came. When the connector told the EXIT of a last task, its end is here or was lost: no waiting.
 * Borrowed until the next call; NULL: there is none. */
const struct process_end *taskstats_find(struct taskstats *ts, int32_t pid);

/* The same, removed into *out. */
bool taskstats_take(struct taskstats *ts, int32_t pid, struct process_end *out);

/* Look at SO_MEMINFO: adds to count.dropped and returns how many were dropped since then. */
uint64_t taskstats_dropped(struct taskstats *ts);

/* Take us off the kernel's lists, then close. Also after an open that failed, and twice. */
void taskstats_close(struct taskstats *ts);

#endif
