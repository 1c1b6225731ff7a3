/* pattern.h - the texts that rules look for: wildcards, escapes, and what modifiers make of them.
 *
 * A pattern is a row of elements: a byte, any one character, any number of bytes, or a dash in one
 * of its forms. Most are a plain text with or without a star at its ends, and those are looked for
 * all at once (aho.h); the others are tried one by one, in time linear in pattern times text. */
#ifndef SIGMA_PATTERN_H
#define SIGMA_PATTERN_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pattern_element {
    /* 0..255: this byte */
    PATTERN_ANY = 256, /* ?: one character: of UTF-8 where the text is that, else a byte */
    PATTERN_STAR,      /* *: any bytes, or none */
    PATTERN_DASH,      /* - / or, in UTF-8, one of the dashes U+2013 U+2014 U+2015 */
};

#define PATTERN_MAX 65536 /* elements */

struct pattern {
    uint16_t *elements;
    size_t len;
};

/* A text as it stands in a rule: * and ? are wildcards, a backslash before one of these or before
 * another backslash makes it a plain character. False: no memory, as in all of these. */
bool pattern_read(struct arena *a, const char *text, size_t len, struct pattern *out);

/* Each byte as it is. */
bool pattern_plain(struct arena *a, const char *bytes, size_t len, struct pattern *out);

/* Has it nothing but bytes? */
bool pattern_is_plain(const struct pattern *p);

/* The bytes of a pattern that has nothing else, NUL-ended. */
char *pattern_bytes(struct arena *a, const struct pattern *p);

/* A star before it, behind it, where there is none yet. */
bool pattern_star(struct arena *a, struct pattern *p, bool before, bool behind);

/* From element `from` on, `cut` of them become `len` of others. */
bool pattern_replace(struct arena *a, struct pattern *p, size_t from, size_t cut,
                     const uint16_t *others, size_t len);

/* A dash or slash that stands before a word and behind none may be in any form. Returns how many of
 * these there are. */
size_t pattern_windash(struct pattern *p);

enum pattern_utf16 { UTF16_LE, UTF16_BE, UTF16_MARKED };

/* Its characters in UTF-16; wildcards stay. -EINVAL: it is no UTF-8; -ENOMEM. */
int pattern_utf16(struct arena *a, struct pattern *p, enum pattern_utf16 how);

/* Base64 of the pattern's bytes. `shift` 0 to 2: what is the same in it wherever the bytes begin
 * behind so many others, as they may stand inside of a longer text; -1: all of it, with its end. */
bool pattern_base64(struct arena *a, const struct pattern *p, int shift, struct pattern *out);

/* Does it fit the whole text? `cased`: capital letters are others than small ones. */
bool pattern_fits(const struct pattern *p, const char *text, size_t len, bool cased);

/* Its longest run of bytes; returns its length and sets `at`. */
size_t pattern_longest(const struct pattern *p, size_t *at);

/* As in a rule, for people. */
char *pattern_text(struct arena *a, const struct pattern *p);

static inline unsigned char pattern_small(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

#endif
