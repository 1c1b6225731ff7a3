/* json.c - any Lua value as JSON. See api_json in state.h for the rules. */
#include "host/state.h"

#include "event/json.h"
#include "host/needs.h"

#include <math.h>

#define DEPTH_MAX 16

static void write_value(lua_State *L, int index, struct buf *out, int depth);

/* Is the table at `index` a sequence 1..n, n > 0? Returns n, or 0.  [-0, +0, -] */
static size_t sequence_length(lua_State *L, int index)
{
    size_t n = lua_objlen(L, index), keys = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TNUMBER || ++keys > n) {
            lua_pop(L, 2);
            return 0;
        }
    }
    return keys == n ? n : 0;
}

static void write_sequence(lua_State *L, int index, size_t n, struct buf *out, int depth)
{
    buf_putc(out, '[');
    for (size_t i = 1; i <= n; i++) {
        if (i > 1)
            buf_putc(out, ',');
        lua_rawgeti(L, index, (int)i);
        write_value(L, lua_gettop(L), out, depth);
        lua_pop(L, 1);
    }
    buf_putc(out, ']');
}

/* less(a, b): strings before numbers, each in order */
static int key_less(lua_State *L)
{
    bool a_text = lua_type(L, 1) == LUA_TSTRING, b_text = lua_type(L, 2) == LUA_TSTRING;
    lua_pushboolean(L, a_text == b_text ? lua_lessthan(L, 1, 2) : a_text);
    return 1;
}

/* The keys of the table at `index` that JSON can have, sorted.  [-0, +1, m] */
static void push_sorted_keys(lua_State *L, int index)
{
    lua_newtable(L);
    int keys = lua_gettop(L), n = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -2) != LUA_TNUMBER)
            continue;
        lua_pushvalue(L, -2);
        lua_rawseti(L, keys, ++n);
    }
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_pushvalue(L, keys);
    lua_pushcfunction(L, key_less);
    lua_call(L, 2, 0);
    lua_settop(L, keys);
}

static void write_object(lua_State *L, int index, struct buf *out, int depth)
{
    push_sorted_keys(L, index);
    int keys = lua_gettop(L);
    bool first = true;

    buf_putc(out, '{');
    for (int i = 1, n = (int)lua_objlen(L, keys); i <= n; i++) {
        size_t len;
        lua_rawgeti(L, keys, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        if (!first)
            buf_putc(out, ',');
        first = false;
        lua_pushvalue(L, -2);
        const char *name = lua_tolstring(L, -1, &len); /* the copy: a number turns into text */
        json_string(out, name, len);
        lua_pop(L, 1);
        buf_putc(out, ':');
        write_value(L, lua_gettop(L), out, depth);
        lua_pop(L, 2);
    }
    buf_putc(out, '}');
    lua_settop(L, keys - 1);
}

static void write_table(lua_State *L, int index, struct buf *out, int depth)
{
    if (depth >= DEPTH_MAX) {
        buf_puts(out, "\"(deeper than 16 tables)\"");
        return;
    }
    luaL_checkstack(L, 16, "json");
    if (luaL_getmetafield(L, index, "unasked")) { /* an event, and all of it is written */
        lua_pop(L, 1);
        host_need(host_of(L), NEEDS_ALL);
    }
    size_t n = sequence_length(L, index);
    if (n)
        write_sequence(L, index, n, out, depth + 1);
    else
        write_object(L, index, out, depth + 1);
}

static void write_value(lua_State *L, int index, struct buf *out, int depth)
{
    size_t len;
    const char *text;
    lua_Number number;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        buf_puts(out, "null");
        break;
    case LUA_TBOOLEAN:
        buf_puts(out, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        number = lua_tonumber(L, index);
        if (number == floor(number) && fabs(number) <= 9007199254740992.0)
            json_int(out, (int64_t)number);
        else
            json_number(out, number);
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        json_string(out, text, len);
        break;
    case LUA_TTABLE:
        write_table(L, index, out, depth);
        break;
    default:
        buf_printf(out, "\"(%s)\"", luaL_typename(L, index));
        break;
    }
}

void api_json(lua_State *L, int index, struct buf *out)
{
    write_value(L, index < 0 ? lua_gettop(L) + index + 1 : index, out, 0);
}
