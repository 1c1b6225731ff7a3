/* weigh.h - how much memory of a Lua state hangs on some values.
 *
 * Walks what can be reached, each thing once: what was walked before counts for whoever came first.
 * An estimate: LuaJIT tells no sizes, so they are computed from its layout. Takes milliseconds for
 * megabytes: for status and for finding who filled the memory, never between two events. */
#ifndef HOST_WEIGH_H
#define HOST_WEIGH_H

#include <lua.h>
#include <stddef.h>

/* Begin: push a table that remembers what was walked.  [-0, +1, m] */
void weigh_begin(lua_State *L);

/* Bytes of what the value on top holds and was not walked yet; the table of weigh_begin is at
 * `walked`. Stops after `most` things.  [-1, +0, m] */
size_t weigh(lua_State *L, int walked, size_t most);

#endif
