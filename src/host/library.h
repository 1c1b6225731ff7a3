/* library.h - the Lua library that is compiled into the binary. */
#ifndef HOST_LIBRARY_H
#define HOST_LIBRARY_H

#include <lua.h>

/* Make every module of lua/moonwatch/ known to require.  [-0, +0, m] */
void library_open(lua_State *L);

#endif
