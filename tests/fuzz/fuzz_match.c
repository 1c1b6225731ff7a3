/* fuzz_match.c - globs and networks are what a slow and obvious reading of them says; regular
 * expressions end within their limits.
 *
 * Input: a byte that chooses, a byte with the pattern's length, the pattern, the text. */
#include "host/match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *get(size_t size, void *ctx)
{
    (void)ctx;
    return malloc(size);
}

static void put(void *block, void *ctx)
{
    (void)ctx;
    free(block);
}

static const struct memory memory = { get, put, NULL };

static bool same(unsigned char a, unsigned char b, bool cased)
{
    if (!cased && a >= 'A' && a <= 'Z')
        a = (unsigned char)(a + 32);
    if (!cased && b >= 'A' && b <= 'Z')
        b = (unsigned char)(b + 32);
    return a == b;
}

/* Is `c` in the class at *at, which is moved behind it? */
static bool in_class(const uint8_t *p, size_t *at, unsigned char c, bool cased)
{
    size_t i = *at + 1;
    bool negated = p[i] == '!' || p[i] == '^', in = false;
    i += negated;
    for (size_t first = i; p[i] != ']' || i == first; i++) {
        i += p[i] == '\\';
        int from = p[i], to = from;
        if (p[i + 1] == '-' && p[i + 2] != ']') {
            i += 2;
            i += p[i] == '\\';
            to = p[i];
        }
        for (int one = from; one <= to; one++)
            in = in || same((unsigned char)one, c, cased);
    }
    *at = i + 1;
    return in != negated;
}

/* The pattern is a good one. fits[i]: what was read of it so far fits the first i bytes. */
static bool slow_glob(const uint8_t *p, size_t p_len, const uint8_t *t, size_t t_len, bool cased)
{
    bool *fits = calloc(t_len + 1, 1);
    fits[0] = true;
    for (size_t at = 0; at < p_len;) {
        size_t next = at + 1;
        if (p[at] == '*') {
            for (size_t i = 1; i <= t_len; i++)
                fits[i] = fits[i] || fits[i - 1];
        } else {
            if (p[at] == '[') {
                next = at;
                in_class(p, &next, 0, cased);
            } else if (p[at] == '\\') {
                next = at + 2;
            }
            for (size_t i = t_len; i > 0; i--) {
                size_t here = at;
                bool takes = p[at] == '?'    ? true
                             : p[at] == '['  ? in_class(p, &here, t[i - 1], cased)
                             : p[at] == '\\' ? same(p[at + 1], t[i - 1], cased)
                                             : same(p[at], t[i - 1], cased);
                fits[i] = fits[i - 1] && takes;
            }
            fits[0] = false;
        }
        at = next;
    }
    bool result = fits[t_len];
    free(fits);
    return result;
}

/* Two addresses and a prefix from the bytes; as text for one side, bit by bit for the other. */
static void check_cidr(const uint8_t *data, size_t size)
{
    uint8_t raw[33] = { 0 };
    char net[64], address[INET6_ADDRSTRLEN], pattern[80], why[128];
    size_t at;
    memcpy(raw, data, size < sizeof raw ? size : sizeof raw);
    bool v4 = raw[32] & 1;
    int family = v4 ? AF_INET : AF_INET6, most = v4 ? 32 : 128, bits = raw[32] % (most + 1);
    for (int i = 0; i < bits; i++) /* often the same at the beginning */
        if (data[0] & 1) {
            uint8_t bit = (uint8_t)(0x80 >> i % 8);
            raw[16 + i / 8] = (uint8_t)((raw[16 + i / 8] & ~bit) | (raw[i / 8] & bit));
        }
    bool within = true;
    for (int i = 0; i < bits; i++)
        within = within && !((raw[i / 8] ^ raw[16 + i / 8]) & (0x80 >> i % 8));
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (!v4 && (!memcmp(raw, mapped, 12) || !memcmp(raw + 16, mapped, 12)))
        return; /* told apart on purpose */
    inet_ntop(family, raw, net, sizeof net);
    inet_ntop(family, raw + 16, address, sizeof address);
    snprintf(pattern, sizeof pattern, "%s/%d", net, bits);
    struct match *m = match_new(MATCH_CIDR, true, &memory);
    if (match_add(m, pattern, strlen(pattern), why, &at) < 0)
        abort();
    match_finish(m);
    if (match_test(m, address, strlen(address)) != within)
        abort();
    match_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    bool cased = data[0] & 0x80;
    enum match_op op = (enum match_op)((data[0] & 0x7f) % MATCH_OPS);
    size_t len = data[1] % (size - 1), text_len = size - 2 - len;
    char *pattern = malloc(len + 1), *text = malloc(text_len + 1); /* to the byte but one: len may be 0 */
    memcpy(pattern, data + 2, len);
    pattern[len] = '\0';
    memcpy(text, data + 2 + len, text_len);
    text = realloc(text, text_len ? text_len : 1);

    char why[128];
    size_t at = SIZE_MAX;
    struct match *m = match_new(op, cased, &memory);
    int added = match_add(m, pattern, len, why, &at);
    if (added == -EINVAL && at > len)
        abort();
    match_finish(m);
    int result = match_test(m, text, text_len);
    if (result < 0 && op != MATCH_REGEX)
        abort();
    if (added == 0 && op == MATCH_GLOB &&
        result != slow_glob((uint8_t *)pattern, len, (uint8_t *)text, text_len, cased))
        abort();
    if (added == 0 && op == MATCH_CONTAINS && cased &&
        result != (memmem(text, text_len, pattern, len) != NULL))
        abort();
    if (op == MATCH_CIDR)
        check_cidr(data + 1, size - 1);
    match_free(m);
    free(pattern);
    free(text);
    return 0;
}
