/* tally.h - how long calls take: a histogram of fixed size, and its percentiles.
 *
 * Four buckets for each doubling, so a percentile is at most a quarter too high. */
#ifndef HOST_TALLY_H
#define HOST_TALLY_H

#include <stdint.h>

#define TALLY_BUCKETS 160 /* up to 2^40 ns */

/* Zeroed: empty. */
struct tally {
    uint32_t count[TALLY_BUCKETS];
    uint64_t total;
};

void tally_add(struct tally *t, int64_t ns);

/* What `part` (0..1) of the calls did not exceed, in ns; 0 when there was none. */
int64_t tally_percentile(const struct tally *t, double part);

#endif
