/* kill.c - mw.kill, mw.stop, mw.cont: signals to the process of an event.
 *
 * Only asks: whether it is allowed, and whether it is still the same process, the privileged side
 * decides. */
#include "host/state.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "TERM", SIGTERM }, { "KILL", SIGKILL }, { "STOP", SIGSTOP },
    { "CONT", SIGCONT }, { "INT", SIGINT },   { "HUP", SIGHUP },
    { "QUIT", SIGQUIT }, { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },
};

/* "TERM", "SIGTERM", 15  [-0, +0, e] */
static int check_signal(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return SIGTERM;
    if (lua_type(L, index) == LUA_TNUMBER)
        return (int)lua_tointeger(L, index);
    const char *name = luaL_checkstring(L, index);
    const char *bare = strncmp(name, "SIG", 3) ? name : name + 3;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (!strcmp(bare, signals[i].name))
            return signals[i].number;
    return luaL_argerror(L, index, lua_pushfstring(L, "no signal '%s' can be sent", name));
}

static int refused(lua_State *L, const char *reason)
{
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

/* A whole number of the table at 1, or -1.  [-0, +0, -] */
static int64_t whole(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    lua_Number value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    return value >= 0 && value < 9007199254740992.0 ? (int64_t)value : -1;
}

/* The process at 1.  [-0, +(1|2), e] */
static int send(lua_State *L, int signal)
{
    struct host *h = host_of(L);
    char bytes[sizeof(struct request_signal) + sizeof h->current->name];
    if (!lua_istable(L, 1))
        return luaL_argerror(L, 1,
                             "an event or a process expected: a pid alone may be another's by "
                             "now");
    if (!h->current)
        return luaL_error(L, "signals are sent by scripts");
    int64_t pid = whole(L, "pid"), starttime = whole(L, "starttime");
    if (pid < 1 || pid > INT32_MAX || starttime < 0)
        return refused(L, "it is not known when it started, so not whether it is still the same");
    if (h->current->shadow)
        return refused(L, "a shadow run sends no signals");
    struct request_signal q = {
        .pid = (int32_t)pid, .starttime = starttime, .signal = signal, .script = h->current->id
    };

    size_t name_len = strlen(h->current->name) + 1;
    memcpy(bytes, &q, sizeof q);
    memcpy(bytes + sizeof q, h->current->name, name_len);
    buf_clear(&h->answer);
    int result = host_request(h, REQUEST_SIGNAL, bytes, sizeof q + name_len, &h->answer, NULL);
    if (result == -ENOTCONN)
        return refused(L, "nobody is here to send it: the events are not live");
    if (result < 0)
        return refused(L, strerror(-result));
    if (h->answer.len >= sizeof(struct request_refusal))
        return refused(L, buf_str(&h->answer) + sizeof(struct request_refusal));
    lua_pushboolean(L, 1);
    return 1;
}

/* mw.kill(process [, signal]) -> true; nil, reason */
static int api_kill(lua_State *L)
{
    return send(L, check_signal(L, 2));
}

/* mw.stop(process) -> true; nil, reason. mw.stop() ends the watch. */
static int api_stop(lua_State *L)
{
    if (lua_gettop(L))
        return send(L, SIGSTOP);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_call(L, 0, 0);
    return 0;
}

/* mw.cont(process) -> true; nil, reason */
static int api_cont(lua_State *L)
{
    return send(L, SIGCONT);
}

void api_kill_open(lua_State *L)
{
    lua_pushcfunction(L, api_kill);
    lua_setfield(L, -2, "kill");
    lua_getfield(L, -1, "stop");
    lua_pushcclosure(L, api_stop, 1);
    lua_setfield(L, -2, "stop");
    lua_pushcfunction(L, api_cont);
    lua_setfield(L, -2, "cont");
}
