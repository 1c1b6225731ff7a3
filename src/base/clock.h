/* clock.h - the clocks of the kernel, in nanoseconds.
 *
 * Connector timestamps are CLOCK_MONOTONIC, /proc start times are CLOCK_BOOTTIME ticks,
 * people want CLOCK_REALTIME. The difference of two clocks is taken at one instant. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* /proc counts in USER_HZ, which is 100 on every Linux architecture but alpha and ia64. */
#define NS_PER_TICK (NS_PER_SECOND / 100)

int64_t clock_mono_ns(void);       /* CLOCK_MONOTONIC: stops in suspend */
int64_t clock_real_ns(void);       /* CLOCK_REALTIME: since the epoch */
int64_t clock_boot_ns(void);       /* CLOCK_BOOTTIME: runs on in suspend */
int64_t clock_cpu_ns(void);        /* CPU time of this process, user and system */
int64_t clock_thread_cpu_ns(void); /* the same of the calling thread alone */

#endif
