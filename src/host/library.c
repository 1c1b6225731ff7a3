/* library.c - the Lua library that is compiled into the binary. See library.h.
 *
 * library.inc is made by the Makefile from the files in lua/moonwatch/:
 * MODULE(moonwatch_oneliner, "moonwatch.oneliner"). The bytecode objects carry no length; a dump
 * says itself where it ends. */
#include "host/library.h"

#include <lauxlib.h>

#define DUMP_LENGTH (~(size_t)0) /* what LuaJIT itself passes: "it ends where it says" */

#define MODULE(symbol, name) extern const char luaJIT_BC_##symbol[];
#include "library.inc"
#undef MODULE

static const struct {
    const char *name, *dump;
} modules[] = {
#define MODULE(symbol, name) { name, luaJIT_BC_##symbol },
#include "library.inc"
#undef MODULE
};

static int load_module(lua_State *L)
{
    const char *dump = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    if (luaL_loadbuffer(L, dump, DUMP_LENGTH, name))
        return lua_error(L);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    return 1;
}

void library_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushlightuserdata(L, (void *)modules[i].dump);
        lua_pushstring(L, modules[i].name);
        lua_pushcclosure(L, load_module, 2);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_pop(L, 2);
}
