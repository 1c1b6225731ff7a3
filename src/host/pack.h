/* pack.h - plain Lua data as bytes, and back.
 *
 * nil, booleans, numbers, strings and tables of them, 16 tables deep at most; no functions, no
 * metatables, no cycles, no tables as keys: nobody could ask for those again. The same value is always the same bytes: a table is its sequence 1..n and
 * then its other keys in the order of their bytes. For what scripts keep; reading takes any bytes.
 */
#ifndef HOST_PACK_H
#define HOST_PACK_H

#include "base/buf.h"

#include <lua.h>

#define PACK_DEPTH 16

enum pack_failure {
    PACK_FINE,
    PACK_TYPE,   /* a function, a userdata, a thread: see pack_type */
    PACK_META,   /* a table with a metatable, such as an event */
    PACK_KEY,    /* a table as a key */
    PACK_DEEP,   /* more than PACK_DEPTH tables, or a cycle */
    PACK_LARGE,  /* more than `most` bytes */
    PACK_MEMORY, /* no memory */
};

/* Append the value at `index`, `most` bytes at most. On failure `out` is as it was, and `*culprit`
 * (NULL: not wanted) is the Lua type of what cannot be packed.  [-0, +0, -] */
enum pack_failure pack_write(lua_State *L, int index, size_t most, struct buf *out, int *culprit);

/* "a function cannot be kept": a sentence for a failure.  [-0, +0, -] */
const char *pack_failure_text(enum pack_failure failure, int culprit);

/* Push the value that exactly these bytes are; false and nothing pushed when they are none. Takes
 * memory in proportion to `len` whatever they say.  [-0, +(0|1), m] */
bool pack_read(lua_State *L, const void *bytes, size_t len);

#endif
