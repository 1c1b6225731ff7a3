/* crc.h - CRC-32C (Castagnoli): tells whether bytes of a file are those that were written. */
#ifndef BASE_CRC_H
#define BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` is of (0: of nothing), followed by these bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
