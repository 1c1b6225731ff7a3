/* address.c - IP addresses, and the networks that they are in. See address.h. */
#include "base/address.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

bool address_read(const char *text, size_t len, struct address *address)
{
    char copy[INET6_ADDRSTRLEN + 1];
    const char *zone = memchr(text, '%', len);
    if (zone)
        len = (size_t)(zone - text);
    if (!len || len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    address->family = 4;
    memcpy(address->bytes, mapped, sizeof mapped);
    if (!zone && inet_pton(AF_INET, copy, address->bytes + sizeof mapped) == 1)
        return true;
    if (inet_pton(AF_INET6, copy, address->bytes) != 1)
        return false;
    address->family = memcmp(address->bytes, mapped, sizeof mapped) ? 6 : 4;
    return true;
}

int address_compare(const struct address *a, const struct address *b)
{
    return a->family != b->family ? a->family - b->family
                                  : memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

/* The digits behind the slash; -1: they are none. */
static int read_prefix(const char *text, size_t len)
{
    int prefix = 0;
    if (!len || len > 3)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        prefix = prefix * 10 + text[i] - '0';
    }
    return prefix;
}

/* From the first to the last address of the network. */
static void spread(struct address_range *r, int bits)
{
    for (int i = bits; i < 128; i++) {
        uint8_t bit = (uint8_t)(0x80 >> i % 8);
        r->from.bytes[i / 8] &= (uint8_t)~bit;
        r->to.bytes[i / 8] |= bit;
    }
}

const char *address_read_range(const char *text, size_t len, struct address_range *range,
                               size_t *at)
{
    const char *slash = memchr(text, '/', len);
    size_t address_len = slash ? (size_t)(slash - text) : len;
    int bits = 128;
    *at = 0;
    if (!address_read(text, address_len, &range->from))
        return "it is no address: 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3";
    if (slash) {
        bool dotted = !memchr(text, ':', address_len);
        bits = read_prefix(slash + 1, len - address_len - 1);
        *at = address_len + 1;
        if (bits < 0 || bits > (dotted ? 32 : 128))
            return dotted ? "a prefix is 0 to 32 bits" : "a prefix is 0 to 128 bits";
        bits += dotted ? 96 : 0;
        if (bits < 96) /* as ::/0: what lies in it by the way is not meant */
            range->from.family = 6;
    }
    range->to = range->from;
    spread(range, bits);
    return NULL;
}

bool address_within(const struct address *address, const struct address_range *range)
{
    return address_compare(address, &range->from) >= 0 && address_compare(address, &range->to) <= 0;
}
