/* yaml.h - reads a YAML text into trees that remember where everything stood.
 *
 * A scalar is the bytes that were written, and whether it was quoted: whether `no`, `012` or `1e3`
 * is a truth or a number is for the reader of the tree to say, not for YAML 1.1. A text may have
 * several documents. Refuses keys that come twice, tags, merge keys, and what unfolds into more
 * than it may. */
#ifndef SIGMA_YAML_H
#define SIGMA_YAML_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

#define YAML_DEPTH_MAX 64     /* lists and maps in each other */
#define YAML_KEYS_MAX  1000   /* of one map */
#define YAML_NODES_MAX 200000 /* of a document, with what aliases stand for */
#define YAML_NAMES_MAX 250    /* of a document, for aliases: each of them looks for its own */

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    bool plain;       /* a scalar without quotes */
    int line, column; /* from 1 */
    const char *text; /* of a scalar, NUL-ended; may have NULs inside */
    size_t len;       /* bytes of it; else children */
    struct yaml_node *
        *nodes;         /* children; of a map in turn a key, which is a scalar, and its value */
    size_t cap, weight; /* for who builds it */
};

struct yaml_text {
    struct yaml_node **documents; /* NULL for an empty one */
    size_t len;
    int line, column; /* what is wrong, and where */
    char why[160];
};

/* Everything is in the arena. 0; -EINVAL with `why`; -ENOMEM. */
int yaml_read(struct arena *arena, const char *text, size_t len, struct yaml_text *out);

/* The value of a key, or NULL. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* The text of a scalar, NULL when it is none. */
const char *yaml_scalar(const struct yaml_node *node);

bool yaml_is(const struct yaml_node *node, const char *text);

#endif
