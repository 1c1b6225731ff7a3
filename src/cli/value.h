/* value.h - JSON as the command line reads and writes it: small, bounded, of a peer that may be anything. */
#ifndef CLI_VALUE_H
#define CLI_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum value_type { VALUE_NULL, VALUE_BOOLEAN, VALUE_NUMBER, VALUE_TEXT, VALUE_LIST, VALUE_OBJECT };

struct value {
    enum value_type type;
    char *key;  /* owned: in an object */
    char *text; /* owned: TEXT, NUL-ended; what stands behind a NUL in it is lost */
    double number; /* NUMBER; BOOLEAN: 0 or 1 */
    struct value *first, *next; /* owned: what is inside; what follows beside */
};

/* NULL: no JSON, deeper than 32, or no memory. */
struct value *value_parse(const char *text, size_t len);
void value_free(struct value *v);

/* The member of this name; NULL when `v` is NULL, is no object or has none. */
const struct value *value_get(const struct value *v, const char *key);

/* The same as a text, "" when there is none; as a number, 0 when there is none. */
const char *value_text(const struct value *v, const char *key);
double value_number(const struct value *v, const char *key);

/* How many are inside of a list or an object. */
int value_count(const struct value *v);

/* A text as JSON, with its quotes. What is not UTF-8 becomes U+FFFD. */
void value_quote(FILE *to, const char *text);

#endif
