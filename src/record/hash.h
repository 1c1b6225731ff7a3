/* hash.h - a number for some bytes, for tables that live no longer than this process. Who chooses
 * the bytes can make many that have the same one: compare, and look in few places. */
#ifndef RECORD_HASH_H
#define RECORD_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t hash_bytes(const void *from, size_t len)
{
    const uint64_t prime = UINT64_C(0x9e3779b97f4a7c15);
    const char *bytes = from;
    uint64_t h = len * prime, w;
    for (; len >= sizeof w; len -= sizeof w, bytes += sizeof w) {
        memcpy(&w, bytes, sizeof w);
        h = (h ^ w) * prime;
        h ^= h >> 29;
    }
    w = 0;
    if (len)
        memcpy(&w, bytes, len);
    h = (h ^ w) * prime;
    return (uint32_t)(h >> 32);
}

#endif
