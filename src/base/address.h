/* address.h - IP addresses, and the networks that they are in.
 *
 * Either family. An IPv4 address and the same one mapped into IPv6 (::ffff:10.0.0.1) are one. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 4 or 6, and 16 bytes: 4 has ::ffff:a.b.c.d. */
struct address {
    uint8_t family, bytes[16];
};

struct address_range {
    struct address from, to;
};

/* False: it is none. What is behind a % (an interface) does not count. */
bool address_read(const char *text, size_t len, struct address *address);

int address_compare(const struct address *a, const struct address *b);

/* "10.0.0.0/8", "2001:db8::/32", or one address. NULL; or what is wrong, from byte *at on. */
const char *address_read_range(const char *text, size_t len, struct address_range *range,
                               size_t *at);

bool address_within(const struct address *address, const struct address_range *range);

#endif
