/* file.c - reads files beside a script for lua/moonwatch/list.lua: lists of values, one a line.
 *
 * The worker may open nothing: who does is asked (request.h). The lines become tables here, because
 * 100,000 of them in Lua would take longer than a call may. */
#include "host/state.h"

#include <errno.h>
#include <string.h>

#define KEEP ((size_t)1 << 20) /* an answer's memory is kept up to here */

static const char *failure_text(int error)
{
    switch (error) {
    case -ENOENT:
        return "no such file";
    case -EPERM:
    case -EACCES:
        return "not taken: it must lie below the script's directory, and only root and its owner "
               "may be able to change it";
    case -ENOTCONN:
        return "nobody to ask: the events are not live";
    case -ETIMEDOUT:
        return "no answer in time";
    default:
        return strerror(-error);
    }
}

/* [-0, +2, -] */
static int fail(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* [-0, +0, m] */
static int ask(struct host *h, const char *name, size_t len, uint64_t known)
{
    struct request_file q = { .known = known, .script = h->current ? h->current->id : 0 };
    buf_clear(&h->scratch);
    buf_add(&h->scratch, &q, sizeof q);
    buf_add(&h->scratch, name, len);
    if (h->scratch.failed)
        return -ENOMEM;
    buf_clear(&h->answer);
    int result = host_request(h, REQUEST_FILE, h->scratch.data, h->scratch.len, &h->answer, NULL);
    return result < 0 ? result : h->answer.len < sizeof known ? -EBADMSG : 0;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The value in a line: without blanks around it, and without what follows a # at the beginning or
 * behind a blank. Returns its length. */
static size_t value_of(const char **line, size_t len)
{
    const char *from = *line, *end = from + len;
    while (from < end && blank(*from))
        from++;
    const char *to = from;
    for (; to < end; to++)
        if (*to == '#' && (to == from || blank(to[-1])))
            break;
    while (to > from && blank(to[-1]))
        to--;
    *line = from;
    return (size_t)(to - from);
}

/* Values by number, and as a set.  [-0, +4, m] list, set, how many, how many found no room */
static void push_values(lua_State *L, const char *text, size_t len, int max)
{
    const char *end = text + len;
    int n = 0, dropped = 0;
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        text += 3;
    lua_newtable(L);
    lua_newtable(L);
    int set = lua_gettop(L);
    while (text < end) {
        const char *line = text, *newline = memchr(text, '\n', (size_t)(end - text));
        size_t value_len = value_of(&line, (size_t)((newline ? newline : end) - text));
        text = newline ? newline + 1 : end;
        if (!value_len)
            continue;
        lua_pushlstring(L, line, value_len);
        lua_pushvalue(L, -1);
        lua_rawget(L, set);
        bool known = !lua_isnil(L, -1);
        lua_pop(L, 1);
        if (known || n == max) {
            dropped += !known;
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -1);
        lua_rawseti(L, set - 1, ++n);
        lua_pushboolean(L, 1);
        lua_rawset(L, set);
    }
    lua_pushinteger(L, n);
    lua_pushinteger(L, dropped);
}

/* _values(name, max, hash or nil) -> values, set, how many, how many found no room, hash;
 * nil, "unchanged" when it has this hash; nil, reason */
static int file_values(lua_State *L)
{
    struct host *h = host_of(L);
    size_t name_len, hash_len = 0;
    const char *name = luaL_checklstring(L, 1, &name_len);
    int max = (int)luaL_checkinteger(L, 2);
    const char *hash = luaL_optlstring(L, 3, "", &hash_len);
    uint64_t known = 0, now;

    if (hash_len == sizeof known)
        memcpy(&known, hash, sizeof known);
    int result = ask(h, name, name_len, known);
    if (result < 0)
        return fail(L, failure_text(result));
    memcpy(&now, h->answer.data, sizeof now);
    if (now == known)
        return fail(L, "unchanged");
    push_values(L, h->answer.data + sizeof now, h->answer.len - sizeof now, max);
    lua_pushlstring(L, h->answer.data, sizeof now);
    if (h->answer.cap > KEEP)
        buf_free(&h->answer);
    return 5;
}

void api_file_open(lua_State *L)
{
    lua_pushcfunction(L, file_values);
    lua_setfield(L, -2, "_values");
}
