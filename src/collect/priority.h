/* priority.h - puts the collector first in line for a processor, and keeps it from staying there.
 *
 * Whoever reads /proc a millisecond late finds the process gone, so being scheduled at once is
 * what names short processes. Tries what is permitted, best first. But a thread of SCHED_FIFO that
 * never sleeps keeps everybody else off its core, so a guard watches how much it takes. */
#ifndef COLLECT_PRIORITY_H
#define COLLECT_PRIORITY_H

#include <stdbool.h>
#include <stdint.h>

enum priority { PRIORITY_FIFO, PRIORITY_NICE, PRIORITY_SLICE, PRIORITY_NORMAL };

/* Raise the calling thread, trying from `best` on: SCHED_FIFO 1, else nice -20, else an EEVDF slice
 * of 0.1 ms (needs no privilege; Linux 6.12), else nothing. Children start without it. Returns what
 * was granted. */
enum priority priority_raise(enum priority best);

/* The calling thread becomes one of many: SCHED_OTHER, nice 0. Children go on starting so. */
void priority_lower(void);

/* "SCHED_FIFO 1", "nice -20", "a time slice of 0.1 ms", "normal". */
const char *priority_text(enum priority priority);

/* How much of a core the collector may take while it is first in line. On the machine of the
 * README, 70 % of one is some 130,000 processes a second with the tap, 17,000 without it, when
 * scripts look at the arguments (it could start 5,300): beyond that it falls behind anyway, and
 * only others pay. */
#define PRIORITY_YIELD_PERCENT  70
#define PRIORITY_YIELD_SECONDS  1 /* over so long a stretch */
#define PRIORITY_REGAIN_PERCENT 35
#define PRIORITY_REGAIN_SECONDS 10 /* in each second of so many in a row */

enum priority_verdict {
    PRIORITY_KEEP,   /* as it is */
    PRIORITY_YIELD,  /* go to ordinary scheduling: priority_lower */
    PRIORITY_REGAIN, /* go back: priority_raise */
};

/* Zeroed: begins with the first note. Pure: asks no clock. */
struct priority_guard {
    bool begun, yielded;
    int64_t from_ns, from_cpu_ns; /* where the stretch that is measured began */
    int64_t calm_ns;              /* how long it was below the lower mark, without a break */
};

/* The time (CLOCK_MONOTONIC) and the CPU time the thread has used so far, as often as convenient:
 * verdicts come at most once a second, at the first note after it. YIELD and REGAIN take turns;
 * what was asked for is taken as done. */
enum priority_verdict priority_guard_note(struct priority_guard *g, int64_t now_ns, int64_t cpu_ns);

#endif
