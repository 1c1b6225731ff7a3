/* where.h - decides in C, before a table is built, whether a script wants an event.
 *
 * A `where` is a list of tests that must all hold; a test holds when the field has a value and
 * that value is one of those given (or begins with, ends with, contains one). A field without a
 * value matches nothing, except in a negated test. */
#ifndef HOST_WHERE_H
#define HOST_WHERE_H

#include "event/event.h"

#include <lua.h>

enum where_op { WHERE_IS, WHERE_PREFIX, WHERE_SUFFIX, WHERE_CONTAINS };

struct where; /* a userdata; lives as long as Lua holds it */

/* mw.where{...}: a userdata that, called with a function, gives { where = itself, handler = it }.
 * Errors name the field and what was wrong with it.  [-1, +1, e] */
int where_new(lua_State *L);

/* Create the metatable.  [-0, +0, m] */
void where_open(lua_State *L);

/* The where at this index, or NULL.  [-0, +0, -] */
const struct where *where_at(lua_State *L, int index);

/* The fields that it looks at. */
uint64_t where_needs(const struct where *w);

/* Does the event pass? Never allocates, never throws. */
bool where_matches(const struct where *w, const struct event *ev);

#endif
