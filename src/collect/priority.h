/* priority.h - puts the collector first in line for a processor.
 *
 * Whoever reads /proc a millisecond late finds the process gone, so being scheduled at once is
 * what names short processes. Tries what is permitted, best first. */
#ifndef COLLECT_PRIORITY_H
#define COLLECT_PRIORITY_H

enum priority { PRIORITY_FIFO, PRIORITY_NICE, PRIORITY_SLICE, PRIORITY_NORMAL };

/* Raise the calling thread: SCHED_FIFO 1, else nice -20, else an EEVDF slice of 0.1 ms (needs no
 * privilege; Linux 6.12), else nothing. Children start without it. Returns what was granted. */
enum priority priority_raise(void);

/* "SCHED_FIFO 1", "nice -20", "a time slice of 0.1 ms", "normal". */
const char *priority_text(enum priority priority);

#endif
