/* topics.c - ev:fds(), ev:sockets(), ...: questions about a process while it lives.
 *
 * Each asks the collector (or /proc itself, in one process) and turns the rows of the answer into
 * tables, as topics.def lists them. A process that is gone gives nil and the reason. */
#include "host/state.h"

#include <errno.h>
#include <string.h>

/* Append to the table on top what the cell holds.  [-0, +0, m] */
static void set_cell(lua_State *L, const struct topic_column *column,
                     const struct answer_cell *cell)
{
    if (cell->nil)
        return;
    switch (column->type) {
    case TYPE_BOOL:
        if (!cell->num)
            return;
        lua_pushboolean(L, 1);
        break;
    case TYPE_SPAN:
        lua_pushnumber(L, (lua_Number)cell->num / 1e9);
        break;
    case TYPE_INT:
        lua_pushnumber(L, (lua_Number)cell->num);
        break;
    default:
        lua_pushlstring(L, cell->bytes, cell->len);
        break;
    }
    lua_setfield(L, -2, column->name);
}

/* One row as a table; false and nothing pushed at the end.  [-0, +(0|1), m] */
static bool push_row(lua_State *L, const struct topic_info *topic, const char **at, const char *end)
{
    if (*at == end)
        return false;
    lua_createtable(L, 0, topic->columns_len);
    for (int i = 0; i < topic->columns_len; i++) {
        struct answer_cell cell;
        if (!answer_next(at, end, topic->columns[i].type, &cell)) {
            lua_pop(L, 1);
            return false;
        }
        set_cell(L, &topic->columns[i], &cell);
    }
    return true;
}

static const char *failure_text(int error)
{
    switch (error) {
    case -ESRCH:
    case -ENOENT:
        return "gone";
    case -EACCES:
    case -EPERM:
        return "permission denied";
    case -ENOTCONN:
        return "nobody to ask: the events are not live";
    case -ENODATA:
        return "not recorded";
    case -ETIMEDOUT:
        return "no answer in time";
    case -EBUSY:
        return "the answer before is still being made";
    case -EFBIG:
        return "larger than 512 MiB";
    default:
        return strerror(-error);
    }
}

/* ev:TOPIC() -> table; nil, reason */
static int ask(lua_State *L)
{
    enum topic number = (enum topic)lua_tointeger(L, lua_upvalueindex(1));
    const struct topic_info *topic = &topics[number];
    struct host *h = host_of(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "pid");
    lua_getfield(L, 1, "starttime");
    int pid = (int)luaL_checkinteger(L, -2);
    int64_t starttime = lua_isnumber(L, -1) ? (int64_t)lua_tonumber(L, -1) : -1;

    buf_clear(&h->answer);
    struct request_probe question = { .starttime = starttime, .pid = pid, .topic = number };
    int result = host_request(h, REQUEST_PROBE, &question, sizeof question, &h->answer, NULL);
    if (result < 0) {
        lua_pushnil(L);
        lua_pushstring(L, failure_text(result));
        return 2;
    }

    const char *at = h->answer.data, *end = at + h->answer.len;
    if (!topic->rows)
        return push_row(L, topic, &at, end) ? 1 : 0;
    lua_newtable(L);
    for (int i = 1; push_row(L, topic, &at, end); i++)
        lua_rawseti(L, -2, i);
    return 1;
}

void api_topics_open(lua_State *L)
{
    for (int i = 0; i < TOPICS; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, ask, 1);
        lua_setfield(L, -2, topics[i].name);
    }
}
