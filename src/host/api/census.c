/* census.c - mw.census: which of these pids live, by three ways of asking that should agree. */
#include "host/state.h"

#include <errno.h>
#include <string.h>

static int refused(lua_State *L, int error)
{
    lua_pushnil(L);
    lua_pushstring(L, error == -ENODATA ? "not recorded" : error == -ENOTCONN ? "nobody is here to ask: the events are not live"
                      : error == -EACCES ? "/proc is mounted with hidepid: it hides the processes of others from us"
                      : error == -EXDEV  ? "/proc is of another pid namespace"
                                         : strerror(-error));
    return 2;
}

/* The pids of the table at 1.  [-0, +1, e] */
static int32_t *check_pids(lua_State *L, size_t *n)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    *n = lua_objlen(L, 1);
    luaL_argcheck(L, *n <= CENSUS_MOST, 1, "8192 pids at most");
    int32_t *pids = lua_newuserdata(L, (*n + 1) * sizeof *pids);
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        lua_Number pid = lua_tonumber(L, -1);
        luaL_argcheck(L, pid >= 1 && pid <= INT32_MAX, 1, "a list of pids");
        pids[i] = (int32_t)pid;
        lua_pop(L, 1);
    }
    return pids;
}

/* [-0, +1, m] */
static void push_flags(lua_State *L, int flags)
{
    static const struct {
        int flag;
        const char *name;
    } names[] = { { CENSUS_LISTED, "listed" }, { CENSUS_OPEN, "open" },
                  { CENSUS_LIVES, "lives" },   { CENSUS_THREAD, "thread" } };
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_pushboolean(L, flags & names[i].flag);
        lua_setfield(L, -2, names[i].name);
    }
}

/* mw.census(pids) -> { [pid] = { listed, open, lives, thread } } without those that nothing tells
 * of, list of all pids that /proc lists; nil, reason */
static int census(lua_State *L)
{
    struct host *h = host_of(L);
    size_t n;
    const int32_t *pids = check_pids(L, &n);
    buf_clear(&h->answer);
    int result = host_request(h, REQUEST_CENSUS, pids, n * sizeof *pids, &h->answer, NULL);
    if (result < 0)
        return refused(L, result);
    if (h->answer.len < n || (h->answer.len - n) % sizeof *pids)
        return refused(L, -EPROTO);

    lua_newtable(L);
    for (size_t i = 0; i < n; i++) {
        if (!h->answer.data[i])
            continue;
        push_flags(L, h->answer.data[i]);
        lua_rawseti(L, -2, pids[i]);
    }
    size_t listed = (h->answer.len - n) / sizeof *pids;
    lua_createtable(L, (int)listed, 0);
    for (size_t i = 0; i < listed; i++) {
        int32_t pid;
        memcpy(&pid, h->answer.data + n + i * sizeof pid, sizeof pid);
        lua_pushinteger(L, pid);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 2;
}

void api_census_open(lua_State *L)
{
    lua_pushcfunction(L, census);
    lua_setfield(L, -2, "census");
}
