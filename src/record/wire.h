/* wire.h - numbers as bytes, the same on every machine. */
#ifndef RECORD_WIRE_H
#define RECORD_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define VARINT_MOST 10 /* bytes */

static inline uint64_t zigzag(uint64_t v)
{
    return v << 1 ^ (uint64_t)((int64_t)v >> 63);
}

static inline uint64_t unzigzag(uint64_t v)
{
    return v >> 1 ^ (0 - (v & 1));
}

/* Seven bits a byte, the low ones first; a byte that is not the last has its high bit set. */
static inline uint8_t *put_varint(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

/* Takes VARINT_MOST bytes at most, and that many must be there; what no writer writes is some
 * number. */
static inline uint64_t take_varint(const uint8_t **at)
{
    const uint8_t *p = *at;
    uint64_t v = *p & 0x7f;
    for (unsigned shift = 7; *p++ & 0x80 && shift < 7 * VARINT_MOST; shift += 7)
        v |= (uint64_t)(*p & 0x7f) << shift;
    *at = p;
    return v;
}

static inline uint8_t *put_u16(uint8_t *to, uint16_t v)
{
    v = htole16(v);
    return (uint8_t *)memcpy(to, &v, sizeof v) + sizeof v;
}

static inline uint8_t *put_u32(uint8_t *to, uint32_t v)
{
    v = htole32(v);
    return (uint8_t *)memcpy(to, &v, sizeof v) + sizeof v;
}

static inline uint8_t *put_u64(uint8_t *to, uint64_t v)
{
    v = htole64(v);
    return (uint8_t *)memcpy(to, &v, sizeof v) + sizeof v;
}

static inline uint16_t take_u16(const uint8_t **at)
{
    uint16_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le16toh(v);
}

static inline uint32_t take_u32(const uint8_t **at)
{
    uint32_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le32toh(v);
}

static inline uint64_t take_u64(const uint8_t **at)
{
    uint64_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le64toh(v);
}

#endif
