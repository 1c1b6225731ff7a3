/* complete.h - turns what the kernel said into events that are whole.
 *
 * The connector names pids and codes. Here each message gets what the process table knows and what
 * /proc still shows, and every field gets the reason why it is believed. Folds each event into the
 * table as it goes. Knows no loop and no socket. */
#ifndef COLLECT_COMPLETE_H
#define COLLECT_COMPLETE_H

#include "collect/end.h"
#include "collect/netlink.h"
#include "collect/procfs.h"
#include "collect/programs.h"
#include "collect/tracker.h"

/* A whole event, borrowed for the call; the receiver may set F_SEQ. */
typedef void complete_sink(void *ctx, struct event_box *box);

/* What somebody else knows of this exec already: sets those of the `wanted` fields in the box and
 * returns the others, which are then read from /proc. */
typedef uint64_t complete_source(void *ctx, const struct kernel_event *kev, uint64_t wanted,
                                 struct event_box *box);

/* Has this process gone on to another program, or its pid to another process, since this exec? Asked
 * after /proc was read: what it shows may be of that one. */
typedef bool complete_doubt(void *ctx, const struct kernel_event *exec);

/* How many execs were seen, and how many of them with each of the names. */
struct complete_counters {
    uint64_t execs, exe, args, comm;
    uint64_t exe_asked, args_asked; /* execs of which somebody needed to know it */
    uint64_t inferred; /* events made by comparing with /proc */
};

/* A pid that the kernel gave out again before the exit of its last owner was read. */
#define COMPLETE_AWAITED 16

struct completer {
    struct tracker *tracker; /* borrowed */
    const struct procfs *fs; /* borrowed */
    complete_sink *sink;
    void *ctx;
    complete_source *source; /* NULL: only /proc */
    complete_doubt *doubt;   /* NULL: never */
    void *source_ctx;        /* of both */
    uint64_t needs;          /* fields that somebody looks at: FIELD(ARGS) | ...; all at first */
    int64_t real_minus_mono; /* ns; see complete_clocks */
    int64_t boot_minus_mono;
    struct complete_counters count;
    tracker_ref awaited[COMPLETE_AWAITED];
    int awaited_len;
    const struct process_end *end; /* during complete_end */
    enum event_why end_why;
    struct programs programs; /* learnt from ends */
    struct event_box box;     /* the event being made */
};

void complete_init(struct completer *c, struct tracker *tracker, const struct procfs *fs,
                   complete_sink *sink, void *ctx);

/* Take the differences of the clocks anew: they change when somebody sets the time. */
void complete_clocks(struct completer *c);

/* The fields that are looked for at an exec when these are needed. */
uint64_t complete_reads(uint64_t needs);

/* The process that this EXIT of a main thread is about: who has the pid, or the one before, whose
 * exit is awaited since the pid was given out again. 0: not known, or told to have ended already. */
tracker_ref complete_exit_of(const struct completer *c, const struct kernel_event *kev);

/* Complete and hand on. An EXIT must be the end of the process, not just of its main thread. */
void complete_event(struct completer *c, const struct kernel_event *kev);

/* The EXIT of a process of which `why` (WHY_TAP, WHY_TASKSTATS) has told more. */
void complete_end(struct completer *c, const struct kernel_event *kev,
                  const struct process_end *end, enum event_why why);

/* The process as /proc shows it now: tells of it as a snapshot when the table did not know it or
 * knew something else (with `inferred` when this repairs a loss), and marks it as seen in this
 * round. False, and nothing told, when its main thread has ended: the process too, unless other
 * threads live on. */
bool complete_from_proc(struct completer *c, int pid, bool inferred);

/* It lives in the table but no longer in /proc: tell of its end as inferred. */
void complete_vanished(struct completer *c, tracker_ref ref);

/* After a loss: whose late exit is still awaited has ended without one. */
void complete_awaited(struct completer *c);

/* `lost` events went missing between the two stamps (CLOCK_MONOTONIC). */
void complete_lost(struct completer *c, uint64_t lost, int64_t from_ns, int64_t until_ns);

#endif
