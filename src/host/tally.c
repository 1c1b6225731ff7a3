/* tally.c - how long calls take: a histogram of fixed size, and its percentiles. See tally.h. */
#include "host/tally.h"

/* The two bits below the highest one choose among four. */
static int bucket_of(uint64_t ns)
{
    if (ns < 4)
        return (int)ns;
    int high = 63 - __builtin_clzll(ns);
    int bucket = 4 * (high - 1) + (int)(ns >> (high - 2) & 3);
    return bucket < TALLY_BUCKETS ? bucket : TALLY_BUCKETS - 1;
}

/* The smallest that is beyond the bucket. */
static int64_t end_of(int bucket)
{
    if (bucket < 4)
        return bucket + 1;
    int high = bucket / 4 + 1;
    return (int64_t)(bucket % 4 + 5) << (high - 2);
}

void tally_add(struct tally *t, int64_t ns)
{
    t->count[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
    t->total++;
}

int64_t tally_percentile(const struct tally *t, double part)
{
    uint64_t below = 0;
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        below += t->count[i];
        if (below && (double)below >= part * (double)t->total)
            return end_of(i);
    }
    return 0;
}
