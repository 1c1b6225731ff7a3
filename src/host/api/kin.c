/* kin.c - who lives of a process and its descendants, for lua/moonwatch/watch.lua.
 *
 * Asked once a second for some processes, so each living one is followed up to its ancestors: that
 * takes microseconds for hundreds of them and needs no lists of children that had to be kept. */
#include "host/state.h"

struct search {
    struct tracker *tracker;
    int64_t pid, starttime; /* of the root; starttime below 0: whoever has the pid */
    tracker_ref *found;     /* `most` of them */
    int n, most;
};

/* A parent as it was at the fork is another entry than what it became by an exec. */
static bool is_root(const struct search *s, tracker_ref ref)
{
    if (tracker_int(s->tracker, ref, F_PID, -1) != s->pid)
        return false;
    int64_t apart = tracker_int(s->tracker, ref, F_STARTTIME, -1) - s->starttime;
    return s->starttime < 0 || (apart >= -1 && apart <= 1); /* as tracker_find has it */
}

static bool descends(const struct search *s, tracker_ref ref)
{
    while (ref && !is_root(s, ref))
        ref = tracker_parent(s->tracker, ref);
    return ref != 0;
}

static void look(void *ctx, tracker_ref ref)
{
    struct search *s = ctx;
    if (!descends(s, ref))
        return;
    if (s->n < s->most)
        s->found[s->n] = ref;
    s->n++;
}

/* _kin(process, most) -> list of those that live, itself included; how many there are */
static int kin(lua_State *L)
{
    struct host *h = host_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer most = luaL_checkinteger(L, 2);
    luaL_argcheck(L, most >= 0 && most <= 1024, 2, "0 to 1024");
    lua_getfield(L, 1, "pid");
    lua_getfield(L, 1, "starttime");

    struct search s = {
        .tracker = h->tracker,
        .pid = (int64_t)lua_tonumber(L, 3),
        .starttime = lua_isnumber(L, 4) ? (int64_t)lua_tonumber(L, 4) : -1,
        .found = lua_newuserdata(L, (size_t)most * sizeof(tracker_ref) + 1),
        .most = (int)most,
    };
    tracker_each(h->tracker, look, &s);
    int listed = s.n < s.most ? s.n : s.most, n = 0;
    lua_createtable(L, listed, 0);
    for (int i = 0; i < listed; i++)
        if (api_process_push(L, s.found[i]))
            lua_rawseti(L, -2, ++n);
    lua_pushinteger(L, s.n);
    return 2;
}

void api_kin_open(lua_State *L)
{
    lua_pushcfunction(L, kin);
    lua_setfield(L, -2, "_kin");
}
