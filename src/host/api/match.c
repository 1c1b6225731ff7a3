/* match.c - mw.match.glob("*.sh") and the like: patterns become a predicate, compiled once.
 *
 * The predicate is a function whose upvalue holds the compiled patterns; their memory counts as the
 * scripts'. mw.match itself is a userdata: scripts cannot change it. */
#include "host/state.h"

#include "host/match.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE "moonwatch.match"

static const char *const names[MATCH_OPS] = {
    [MATCH_CONTAINS] = "contains", [MATCH_STARTSWITH] = "startswith", [MATCH_ENDSWITH] = "endswith",
    [MATCH_GLOB] = "glob",         [MATCH_REGEX] = "regex",           [MATCH_CIDR] = "cidr",
    [MATCH_WINDASH] = "windash",
};

/* --- memory, as the state's own --------------------------------------------------------------- */

/* Who frees says no size, the state's allocator wants it. */
union head {
    size_t size;
    max_align_t align;
};

struct predicate {
    lua_Alloc alloc;
    void *ud;
    struct match *m; /* owned */
};

static void *get(size_t size, void *ctx)
{
    const struct predicate *p = ctx;
    union head *head = p->alloc(p->ud, NULL, 0, sizeof *head + size);
    if (!head)
        return NULL;
    head->size = size;
    return head + 1;
}

static void put(void *block, void *ctx)
{
    const struct predicate *p = ctx;
    union head *head = block;
    if (head)
        p->alloc(p->ud, head - 1, sizeof *head + head[-1].size, 0);
}

/* --- the predicate ---------------------------------------------------------------------------- */

static int collect(lua_State *L)
{
    struct predicate *p = lua_touserdata(L, 1);
    match_free(p->m);
    p->m = NULL;
    return 0;
}

/* predicate(text) -> true, false; nil and why it cannot be said */
static int test(lua_State *L)
{
    struct predicate *p = lua_touserdata(L, lua_upvalueindex(1));
    size_t len;
    if (lua_isnoneornil(L, 1)) {
        lua_pushnil(L);
        lua_pushliteral(L, "no value");
        return 2;
    }
    const char *text = luaL_checklstring(L, 1, &len);
    int result = match_test(p->m, text, len);
    if (result == -ENOMEM)
        return luaL_error(L, "not enough memory");
    if (result >= 0) {
        lua_pushboolean(L, result);
        return 1;
    }
    struct host *h = host_of(L);
    if (h->current)
        h->current->count->undecided++;
    lua_pushnil(L);
    lua_pushliteral(L, "limit");
    return 2;
}

/* --- making one ------------------------------------------------------------------------------- */

struct reading {
    struct match *m;
    const char *name;
    bool lenient; /* leave out what is no pattern */
    int skipped;
};

/* The pattern on top of the stack, the number-th.  [-0, +0, e] */
static void add(lua_State *L, struct reading *r, int number)
{
    size_t len, at = 0;
    char why[128];
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "mw.match.%s: pattern %d must be a string, not a %s", r->name, number,
                   luaL_typename(L, -1));
        return;
    }
    const char *pattern = lua_tolstring(L, -1, &len);
    int error = match_add(r->m, pattern, len, why, &at);
    if (error == -ENOMEM)
        luaL_error(L, "not enough memory");
    if (error == -EINVAL && r->lenient)
        r->skipped++;
    else if (error == -EINVAL)
        luaL_error(L, "mw.match.%s: pattern %d, at byte %d: %s: '%s'", r->name, number, (int)at + 1,
                   why, pattern);
}

/* { cased = false }.  [-0, +0, e] */
static void read_options(lua_State *L, int index, bool *cased, bool *lenient)
{
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (!strcmp(key, "cased"))
            *cased = lua_toboolean(L, -1);
        else if (!strcmp(key, "lenient"))
            *lenient = lua_toboolean(L, -1);
        else
            luaL_error(L, "no option is named '%s'; there are cased, lenient", key);
    }
}

/* mw.match.NAME(pattern or list [, options]) -> predicate; if lenient, how many were left out */
static int make(lua_State *L)
{
    enum match_op op = (enum match_op)lua_tointeger(L, lua_upvalueindex(1));
    struct reading r = { .name = names[op] };
    bool cased = true;

    lua_settop(L, 2);
    read_options(L, 2, &cased, &r.lenient);
    struct predicate *p = lua_newuserdata(L, sizeof *p);
    *p = (struct predicate){ 0 };
    p->alloc = lua_getallocf(L, &p->ud);
    luaL_getmetatable(L, METATABLE);
    lua_setmetatable(L, -2);
    p->m = r.m = match_new(op, cased, &(struct memory){ get, put, p });
    if (!r.m)
        return luaL_error(L, "not enough memory");
    if (lua_istable(L, 1)) {
        for (int i = 1, n = (int)lua_objlen(L, 1); i <= n; i++) {
            lua_rawgeti(L, 1, i);
            add(L, &r, i);
            lua_pop(L, 1);
        }
    } else {
        lua_pushvalue(L, 1);
        add(L, &r, 1);
        lua_pop(L, 1);
    }
    match_finish(r.m);
    lua_pushcclosure(L, test, 1);
    if (!r.lenient)
        return 1;
    lua_pushinteger(L, r.skipped);
    return 2;
}

/* mw.match.NAME */
static int look_up(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1))
        return luaL_error(L,
                          "mw.match has no '%s'; there are contains, startswith, endswith, glob, "
                          "regex, cidr, windash",
                          lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
    return 1;
}

void api_match_open(lua_State *L)
{
    luaL_newmetatable(L, METATABLE);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);

    lua_newuserdata(L, 0);
    lua_createtable(L, 0, 2);
    lua_createtable(L, 0, MATCH_OPS);
    for (int op = 0; op < MATCH_OPS; op++) {
        lua_pushinteger(L, op);
        lua_pushcclosure(L, make, 1);
        lua_setfield(L, -2, names[op]);
    }
    lua_pushcclosure(L, look_up, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "mw.match");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "match");
}
