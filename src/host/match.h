/* match.h - does a text fit one of some patterns? Patterns are compiled once, texts are any bytes.
 *
 * Behind mw.match, and whatever else compares texts. Time is bounded: all but regular expressions
 * take time linear in the text for each pattern; those give up at a limit and say so. Knows no
 * Lua. */
#ifndef HOST_MATCH_H
#define HOST_MATCH_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

enum match_op {
    MATCH_CONTAINS,
    MATCH_STARTSWITH,
    MATCH_ENDSWITH,
    MATCH_GLOB,    /* the whole text; * any bytes, ? one, [a-z] [!a-z] a class, \ as it is */
    MATCH_REGEX,   /* PCRE2, on bytes, anywhere in the text */
    MATCH_CIDR,    /* an address in a network; v4 in v6 (::ffff:10.0.0.1) is v4 */
    MATCH_WINDASH, /* contains; a dash before a word is also / or one of three longer dashes */
    MATCH_OPS
};

#define MATCH_ELEMENTS_MAX ((size_t)1023)      /* of a glob or windash pattern: bytes, classes */
#define MATCH_REGEX_MAX    ((size_t)16 * 1024) /* bytes of a regular expression */
#define MATCH_STEPS        200000 /* of a regular expression for a text: a few milliseconds */
#define MATCH_HEAP_KIB     1024   /* memory for them */

struct match; /* opaque */

/* `cased`: capital letters are others than small ones; else those of ASCII are the same. NULL: no
 * memory. `memory` is copied. */
struct match *match_new(enum match_op op, bool cased, const struct memory *memory);
void match_free(struct match *m);

/* One more pattern. 0; -EINVAL with what is wrong in `why` and from which byte on in `at`; -ENOMEM.
 * Then match_finish, once. */
int match_add(struct match *m, const char *pattern, size_t len, char why[128], size_t *at);
void match_finish(struct match *m);

/* 1: it fits one of them; 0: none; -EAGAIN: undecided, a regular expression came to its limit and
 * no other one fits; -ENOMEM. */
int match_test(struct match *m, const char *text, size_t len);

#endif
