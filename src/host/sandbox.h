/* sandbox.h - what a script may reach of Lua.
 *
 * Two profiles. `policy` is for everybody's scripts: the interpreter, and of the libraries only
 * what cannot hurt a neighbour, the host or the machine; what can hurt is never opened, or is
 * replaced by something that is bounded. `trusted` is all of LuaJIT. In both each script has an
 * environment of its own. lua/moonwatch/sandbox.lua is the other half: the list of what a script
 * sees, and its `require`. This is the first of two walls; confine.h is the second. */
#ifndef HOST_SANDBOX_H
#define HOST_SANDBOX_H

#include "host/host.h"

#include <lua.h>

/* Open the libraries of the profile, for the modules of our own; compiler on or off.
 * [-0, +0, m] */
void sandbox_open_libraries(lua_State *L, enum profile profile);

/* Put what sandbox.lua builds on into the table on top of the stack.  [-0, +0, m] */
void sandbox_open(lua_State *L, enum profile profile);

/* A fresh environment for the script with this chunk name ("@/etc/moonwatch/x.lua"): a registry
 * reference; LUA_NOREF: no memory.  [-0, +0, -] */
int sandbox_env(struct host *h, const char *chunk);

/* What the author of a script should know about this message of Lua's, to be put behind it; NULL:
 * nothing. */
const char *sandbox_hint(const struct host *h, const char *message);

/* From here on the C stack is counted: the outermost call of a script begins. */
void sandbox_mark_stack(struct host *h);

/* Throws when C functions that call back into Lua have nested too deeply: Lua does not look, and the
 * process would die of it.  [-0, +0, e] */
void sandbox_check_stack(lua_State *L);

#endif
