/* pattern.c - the texts that rules look for. See pattern.h. */
#include "sigma/pattern.h"

#include <errno.h>
#include <string.h>

/* --- making ---------------------------------------------------------------------------------- */

bool pattern_read(struct arena *a, const char *text, size_t len, struct pattern *out)
{
    out->len = 0;
    out->elements = arena_get(a, (len + 1) * sizeof *out->elements);
    if (!out->elements)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint16_t c = (unsigned char)text[i];
        if (c == '\\' && i + 1 < len && memchr("*?\\", text[i + 1], 3))
            c = (unsigned char)text[++i];
        else if (c == '*')
            c = PATTERN_STAR;
        else if (c == '?')
            c = PATTERN_ANY;
        if (c != PATTERN_STAR || !out->len || out->elements[out->len - 1] != PATTERN_STAR)
            out->elements[out->len++] = c;
    }
    return true;
}

bool pattern_plain(struct arena *a, const char *bytes, size_t len, struct pattern *out)
{
    out->len = len;
    out->elements = arena_get(a, (len + 1) * sizeof *out->elements);
    for (size_t i = 0; out->elements && i < len; i++)
        out->elements[i] = (unsigned char)bytes[i];
    return out->elements;
}

bool pattern_is_plain(const struct pattern *p)
{
    for (size_t i = 0; i < p->len; i++)
        if (p->elements[i] > 0xff)
            return false;
    return true;
}

char *pattern_bytes(struct arena *a, const struct pattern *p)
{
    char *to = arena_get(a, p->len + 1);
    for (size_t i = 0; to && i < p->len; i++)
        to[i] = (char)p->elements[i];
    return to;
}

bool pattern_replace(struct arena *a, struct pattern *p, size_t from, size_t cut,
                     const uint16_t *others, size_t len)
{
    size_t rest = p->len - from - cut;
    uint16_t *to = arena_get(a, (p->len - cut + len + 1) * sizeof *to);
    if (!to)
        return false;
    memcpy(to, p->elements, from * sizeof *to);
    if (len)
        memcpy(to + from, others, len * sizeof *to);
    memcpy(to + from + len, p->elements + from + cut, rest * sizeof *to);
    p->elements = to;
    p->len = from + len + rest;
    return true;
}

bool pattern_star(struct arena *a, struct pattern *p, bool before, bool behind)
{
    static const uint16_t star = PATTERN_STAR;
    if (before && (!p->len || p->elements[0] != PATTERN_STAR) &&
        !pattern_replace(a, p, 0, 0, &star, 1))
        return false;
    return !behind || (p->len && p->elements[p->len - 1] == PATTERN_STAR) ||
           pattern_replace(a, p, p->len, 0, &star, 1);
}

/* --- dashes ---------------------------------------------------------------------------------- */

static bool is_word(uint16_t c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= 0x80 && c <= 0xff);
}

/* How many elements the dash at this place has; 0: there is none. */
static size_t dash_at(const struct pattern *p, size_t at)
{
    const uint16_t *e = p->elements + at;
    if (e[0] == '-' || e[0] == '/')
        return 1;
    return p->len - at >= 3 && e[0] == 0xe2 && e[1] == 0x80 && e[2] >= 0x93 && e[2] <= 0x95 ? 3 : 0;
}

size_t pattern_windash(struct pattern *p)
{
    size_t len = 0, options = 0;
    bool behind_word = false;
    for (size_t i = 0; i < p->len;) {
        size_t dash = dash_at(p, i);
        bool option = dash && !behind_word && i + dash < p->len && is_word(p->elements[i + dash]) &&
                      !dash_at(p, i + dash);
        options += option;
        if (option)
            p->elements[len++] = PATTERN_DASH;
        for (size_t n = 0; !option && n < (dash ? dash : 1); n++)
            p->elements[len++] = p->elements[i + n];
        behind_word = !dash && is_word(p->elements[i]);
        i += dash ? dash : 1;
    }
    p->len = len;
    return options;
}

/* Bytes of the dash that the text has here; 0: it has none. */
static size_t text_dash(const char *text, size_t len)
{
    if (len && (*text == '-' || *text == '/'))
        return 1;
    return len >= 3 && !memcmp(text, "\xe2\x80", 2) && (unsigned char)text[2] >= 0x93 &&
                   (unsigned char)text[2] <= 0x95
               ? 3
               : 0;
}

/* --- encodings ------------------------------------------------------------------------------- */

/* The character of UTF-8 that begins here. Returns how many bytes it has; 0: it is none. */
static size_t decode(const uint16_t *e, size_t len, uint32_t *out)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (e[0] < 0x80) {
        *out = e[0];
        return 1;
    }
    size_t n = e[0] >= 0xf0 ? 4 : e[0] >= 0xe0 ? 3 : 2;
    if (e[0] < 0xc2 || e[0] > 0xf4 || n > len)
        return 0;
    uint32_t c = e[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((e[i] & 0xffc0) != 0x80)
            return 0;
        c = c << 6 | (e[i] & 0x3f);
    }
    *out = c;
    return c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

static size_t put_unit(uint16_t *to, uint32_t unit, bool big)
{
    to[big] = unit & 0xff;
    to[!big] = (uint16_t)(unit >> 8);
    return 2;
}

static size_t put_character(uint16_t *to, uint32_t c, bool big)
{
    if (c < 0x10000)
        return put_unit(to, c, big);
    c -= 0x10000;
    size_t n = put_unit(to, 0xd800 | c >> 10, big);
    return n + put_unit(to + n, 0xdc00 | (c & 0x3ff), big);
}

int pattern_utf16(struct arena *a, struct pattern *p, enum pattern_utf16 how)
{
    uint16_t *to = arena_get(a, (p->len * 2 + 3) * sizeof *to);
    size_t n = 0;
    if (!to)
        return -ENOMEM;
    if (how == UTF16_MARKED)
        n = put_unit(to, 0xfeff, false);
    for (size_t i = 0; i < p->len;) {
        uint32_t c;
        if (p->elements[i] > 0xff) {
            to[n++] = p->elements[i++];
            continue;
        }
        size_t bytes = decode(p->elements + i, p->len - i, &c);
        if (!bytes)
            return -EINVAL;
        n += put_character(to + n, c, how == UTF16_BE);
        i += bytes;
    }
    p->elements = to;
    p->len = n;
    return 0;
}

static size_t encode(const unsigned char *from, size_t len, uint16_t *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)from[i] << 16 | (i + 1 < len ? (uint32_t)from[i + 1] << 8 : 0) |
                         (i + 2 < len ? from[i + 2] : 0);
        for (int digit = 0; digit < 4; digit++)
            to[n++] = (unsigned char)digits[three >> (18 - 6 * digit) & 63];
    }
    for (size_t i = 0; i < (3 - len % 3) % 3; i++)
        to[n - 1 - i] = '=';
    return n;
}

/* The first digits are of the bytes before too, the last ones of those behind: 0, 2, 3 and 0, 3, 2
 * of them, by how many bytes stand before and how many are there in all. */
bool pattern_base64(struct arena *a, const struct pattern *p, int shift, struct pattern *out)
{
    static const size_t before[] = { 0, 2, 3 }, behind[] = { 0, 3, 2 };
    size_t skip = shift > 0 ? (size_t)shift : 0, len = p->len + skip;
    unsigned char *bytes = arena_get(a, len + 1);
    out->elements = arena_get(a, (len / 3 * 4 + 8) * sizeof *out->elements);
    if (!bytes || !out->elements)
        return false;
    for (size_t i = 0; i < p->len; i++)
        bytes[skip + i] = (unsigned char)p->elements[i];
    out->len = encode(bytes, len, out->elements);
    if (shift < 0)
        return true;
    size_t cut = before[shift] + behind[len % 3];
    out->len = out->len > cut ? out->len - cut : 0;
    out->elements += before[shift];
    return true;
}

/* --- fitting --------------------------------------------------------------------------------- */

/* Bytes of the character that the text has here: 1 where it is no UTF-8. */
static size_t character(const char *text, size_t len)
{
    uint16_t bytes[4] = { 0 };
    uint32_t c;
    size_t n = len < 4 ? len : 4;
    if ((unsigned char)*text < 0x80)
        return 1;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)text[i];
    n = decode(bytes, n, &c);
    return n ? n : 1;
}

/* How many bytes of the text the element takes; 0: it does not fit. */
static size_t takes(uint16_t element, const char *text, size_t len, bool cased)
{
    if (!len)
        return 0;
    if (element == PATTERN_ANY)
        return character(text, len);
    if (element == PATTERN_DASH)
        return text_dash(text, len);
    unsigned char c = (unsigned char)*text;
    return cased ? element == c : pattern_small((unsigned char)element) == pattern_small(c);
}

/* When what is behind a star does not fit, the star takes one byte more. Only the last star can:
 * what the ones before it took is the least, and more would not help. */
bool pattern_fits(const struct pattern *p, const char *text, size_t len, bool cased)
{
    size_t at = 0, i = 0, star = SIZE_MAX, from = 0;
    for (;;) {
        if (i < p->len && p->elements[i] == PATTERN_STAR) {
            star = ++i;
            from = at;
            if (star == p->len)
                return true;
            continue;
        }
        if (i == p->len && at == len)
            return true;
        size_t n = i < p->len ? takes(p->elements[i], text + at, len - at, cased) : 0;
        if (n) {
            at += n;
            i++;
        } else if (star != SIZE_MAX && from < len) {
            at = ++from;
            i = star;
        } else {
            return false;
        }
    }
}

size_t pattern_longest(const struct pattern *p, size_t *at)
{
    size_t best = 0;
    *at = 0;
    for (size_t i = 0, run = 0; i < p->len; i++) {
        run = p->elements[i] <= 0xff ? run + 1 : 0;
        if (run > best) {
            best = run;
            *at = i + 1 - run;
        }
    }
    return best;
}

char *pattern_text(struct arena *a, const struct pattern *p)
{
    char *to = arena_get(a, 2 * p->len + 1);
    size_t n = 0;
    for (size_t i = 0; to && i < p->len; i++) {
        uint16_t c = p->elements[i];
        if (c <= 0xff && memchr("*?", c, 2))
            to[n++] = '\\';
        to[n++] = c == PATTERN_STAR   ? '*'
                  : c == PATTERN_ANY  ? '?'
                  : c == PATTERN_DASH ? '-'
                                      : (char)c;
    }
    return to;
}
