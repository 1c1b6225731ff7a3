/* weigh.c - how much memory of a Lua state hangs on some values. See weigh.h.
 *
 * The things still to be walked wait in a Lua table and not on the C stack: a script can chain them
 * as deep as it likes. */
#include "host/weigh.h"

#include <lauxlib.h>
#include <stdbool.h>

/* Sizes of LuaJIT's objects with GC64. */
#define STRING_SIZE   24
#define TABLE_SIZE    64
#define SLOT_SIZE     8
#define NODE_SIZE     24
#define FUNCTION_SIZE 40
#define UPVALUE_SIZE  48
#define USERDATA_SIZE 48
#define THREAD_SIZE   1024

struct walk {
    lua_State *L;
    int walked, todo; /* stack indices */
    int waiting;
};

void weigh_begin(lua_State *L)
{
    lua_newtable(L);
}

static bool is_object(int type)
{
    return type == LUA_TSTRING || type == LUA_TTABLE || type == LUA_TFUNCTION ||
           type == LUA_TUSERDATA || type == LUA_TTHREAD;
}

/* Put the value on top among those to be walked, unless it was already; pops it.  [-1, +0, m] */
static void add(struct walk *w)
{
    lua_State *L = w->L;
    if (!is_object(lua_type(L, -1))) {
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, -1);
    lua_rawget(L, w->walked);
    bool known = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (known) {
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, w->walked);
    lua_rawseti(L, w->todo, ++w->waiting);
}

static size_t walk_table(struct walk *w)
{
    lua_State *L = w->L;
    int table = lua_gettop(L);
    size_t array = lua_objlen(L, table), all = 0;
    if (lua_getmetatable(L, table))
        add(w);
    for (lua_pushnil(L); lua_next(L, table); all++) {
        add(w);
        lua_pushvalue(L, -1);
        add(w);
    }
    size_t nodes = all > array ? all - array : 0, room = nodes ? 1 : 0;
    while (room < nodes)
        room *= 2;
    return TABLE_SIZE + array * SLOT_SIZE + room * NODE_SIZE;
}

static size_t walk_function(struct walk *w)
{
    lua_State *L = w->L;
    int function = lua_gettop(L), n = 0;
    while (lua_getupvalue(L, function, n + 1)) {
        add(w);
        n++;
    }
    lua_getfenv(L, function);
    add(w);
    return FUNCTION_SIZE + (size_t)n * UPVALUE_SIZE;
}

static size_t walk_userdata(struct walk *w)
{
    lua_State *L = w->L;
    int userdata = lua_gettop(L);
    if (lua_getmetatable(L, userdata))
        add(w);
    lua_getfenv(L, userdata);
    add(w);
    return USERDATA_SIZE + lua_objlen(L, userdata);
}

static size_t walk_one(struct walk *w)
{
    switch (lua_type(w->L, -1)) {
    case LUA_TSTRING:
        return STRING_SIZE + lua_objlen(w->L, -1) + 1;
    case LUA_TTABLE:
        return walk_table(w);
    case LUA_TFUNCTION:
        return walk_function(w);
    case LUA_TUSERDATA:
        return walk_userdata(w);
    default:
        return THREAD_SIZE;
    }
}

size_t weigh(lua_State *L, int walked, size_t most)
{
    struct walk w = { .L = L, .walked = walked };
    size_t bytes = 0;
    luaL_checkstack(L, 16, "weigh");
    lua_newtable(L);
    lua_insert(L, -2);
    w.todo = lua_gettop(L) - 1;
    add(&w);
    while (w.waiting && most--) {
        lua_rawgeti(L, w.todo, w.waiting);
        lua_pushnil(L);
        lua_rawseti(L, w.todo, w.waiting--);
        int value = lua_gettop(L);
        bytes += walk_one(&w);
        lua_settop(L, value - 1);
    }
    lua_pop(L, 1);
    return bytes;
}
