/* persist.c - mw.persist{}: what a script keeps beyond its own life.
 *
 * The values are in the Lua state as bytes (pack.h), so that what p:get() gives is what would be
 * there after a restart, whatever a script did to a table meanwhile; each change is also appended
 * to the store's file (sink/store.h), which the privileged side opened. A store belongs to a
 * script, not to one version of it: the next version that asks for the name gets the same. */
#include "host/state.h"

#include "host/pack.h"
#include "sink/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_DEFAULT ((size_t)1 << 20)

static const char stores_key, metatable_key;

/* The userdata; its environment is { key = bytes of the value }. */
struct keep {
    struct store store;
    size_t entries;
    size_t compact_at; /* not before the file has this length */
    uint32_t script;
    char script_name[STORE_NAME], name[STORE_NAME];
    char why[200]; /* nothing outlives the process, because; "": it does */
};

static struct keep *keep_of(lua_State *L)
{
    struct keep *k = lua_touserdata(L, 1);
    bool ours = k && lua_getmetatable(L, 1);
    if (ours) {
        lua_pushlightuserdata(L, (void *)&metatable_key);
        lua_rawget(L, LUA_REGISTRYINDEX);
        ours = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (!ours)
        luaL_argerror(L, 1, "what mw.persist gave is expected: call it as p:get(key)");
    return k;
}

/* --- keys and values -------------------------------------------------------------------------- */

/* The bytes of the key at `index` into `out`.  [-0, +0, e] */
static void pack_key(lua_State *L, int index, struct buf *out)
{
    int type = lua_type(L, index);
    lua_Number number = type == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    if ((type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) || number != number)
        luaL_argerror(L, index, "a key is a string, a number or a boolean");
    if (type == LUA_TNUMBER && number == 0) { /* -0 is the same key */
        lua_pushinteger(L, 0);
        lua_replace(L, index);
    }
    buf_clear(out);
    if (pack_write(L, index, STORE_MOST, out, NULL))
        luaL_argerror(L, index, "the key is too large");
}

/* The bytes at the top of the stack as a value.  [-1, +1, m] */
static void unpack_top(lua_State *L)
{
    size_t len;
    const char *bytes = lua_tolstring(L, -1, &len);
    if (!bytes || !pack_read(L, bytes, len))
        lua_pushnil(L);
    lua_remove(L, -2);
}

/* --- loading ---------------------------------------------------------------------------------- */

/* One record into the table on top of the stack, unless it is none of ours.  [-0, +0, m] */
static void take_record(lua_State *L, struct keep *k, const struct store_record *r)
{
    if (!pack_read(L, r->key, r->key_len))
        return;
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        lua_pop(L, 1);
        return;
    }
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (!lua_isnil(L, -1)) {
        k->store.live -= store_cost(r->key_len, lua_objlen(L, -1));
        k->entries--;
    }
    lua_pop(L, 1);
    if (r->value) {
        lua_pushlstring(L, r->value, r->value_len);
        k->store.live += store_cost(r->key_len, r->value_len);
        k->entries++;
    } else {
        lua_pushnil(L);
    }
    lua_rawset(L, -3);
}

/* The file's records into the table on top of the stack.  [-0, +0, m] */
static void load(lua_State *L, struct keep *k)
{
    struct buf *bytes = &host_of(L)->answer;
    struct store_record record;
    buf_clear(bytes);
    int result = store_read(k->store.fd, bytes);
    if (result < 0)
        luaL_error(L, "mw.persist '%s': cannot read it: %s", k->name, strerror(-result));
    const char *end = bytes->data + bytes->len;
    const char *at = bytes->len ? store_begin(bytes->data, bytes->len) : NULL;
    k->store.file = bytes->len;
    while (at && store_next(&at, end, &record))
        take_record(L, k, &record);
    if (bytes->cap > STORE_SLACK)
        buf_free(bytes);
}

/* --- the privileged side ---------------------------------------------------------------------- */

/* A descriptor; -ENOTCONN: nobody keeps anything; another -errno. The reason is in h->answer. */
static int ask(struct host *h, const struct keep *k, enum request_kind kind)
{
    char bytes[sizeof(struct request_store) + 2 * STORE_NAME];
    struct request_store question = { .script = k->script };
    size_t len = sizeof question;
    int fds[REQUEST_FDS];

    memcpy(bytes, &question, sizeof question);
    for (int i = 0; i < 2; i++) {
        const char *text = i ? k->name : k->script_name;
        memcpy(bytes + len, text, strlen(text) + 1);
        len += strlen(text) + 1;
    }
    buf_clear(&h->answer);
    int n = host_request(h, kind, bytes, len, &h->answer, fds);
    if (n > 0)
        return fds[0];
    struct request_refusal refusal = { .error = n };
    if (n == 0 && h->answer.len >= sizeof refusal) {
        memcpy(&refusal, h->answer.data, sizeof refusal);
        h->answer.len -= sizeof refusal;
        memmove(h->answer.data, h->answer.data + sizeof refusal, h->answer.len);
    } else {
        buf_clear(&h->answer);
        buf_puts(&h->answer, n == -ENOTCONN ? "nothing is kept here" : strerror(n ? -n : EPROTO));
    }
    return refusal.error < 0 ? refusal.error : -EPROTO;
}

/* 0, or -EBUSY; else values are kept in memory, and `why` says so.  [-0, +0, -] */
static int open_file(struct host *h, struct keep *k, bool shadow)
{
    if (shadow) {
        strcpy(k->why, "a shadow run keeps nothing");
        return 0;
    }
    int fd = ask(h, k, REQUEST_STORE_OPEN);
    if (fd >= 0) {
        k->store.fd = fd;
        return 0;
    }
    snprintf(k->why, sizeof k->why, "%s", buf_str(&h->answer));
    return fd == -EBUSY ? fd : 0;
}

/* The file is too long, or its end is torn: another takes its place. Not again soon when that
 * fails: what can be appended is. */
static void compact(struct host *h, struct keep *k)
{
    if (!store_wants_compaction(&k->store) || (!k->store.torn && k->store.file < k->compact_at))
        return;
    int fd = ask(h, k, REQUEST_STORE_COMPACT);
    if (fd < 0) {
        k->compact_at = k->store.file + STORE_SLACK;
        return;
    }
    close(k->store.fd);
    k->store.fd = fd;
    k->store.torn = false;
    off_t len = lseek(fd, 0, SEEK_END);
    k->store.file = len < 0 ? 0 : (size_t)len;
}

/* --- methods ---------------------------------------------------------------------------------- */

/* p:get(key) -> value, or nil */
static int keep_get(lua_State *L)
{
    keep_of(L);
    lua_settop(L, 2);
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    if (lua_isnil(L, -1))
        return 1;
    lua_rawget(L, 3);
    if (!lua_isnil(L, -1))
        unpack_top(L);
    return 1;
}

/* nil, and why it was not kept.  [-0, +2, m] */
static int not_kept(lua_State *L, const struct keep *k, int result, size_t cost)
{
    lua_pushnil(L);
    if (result == -EDQUOT)
        lua_pushfstring(L, "full: %d of %d bytes are taken, and this takes %d", (int)k->store.live,
                        (int)k->store.most, (int)cost);
    else if (result == -EUCLEAN)
        lua_pushliteral(L, "an earlier write was cut off, and the file could not be mended");
    else
        lua_pushfstring(L, "cannot write: %s", strerror(-result));
    return 2;
}

/* The bytes of the value at 3, nil for nil, after those of the key in h->scratch.  [-0, +1, e] */
static enum pack_failure push_packed(lua_State *L, struct buf *bytes, size_t key_len, size_t most)
{
    int culprit;
    if (lua_isnil(L, 3)) {
        lua_pushnil(L);
        return PACK_FINE;
    }
    enum pack_failure failure = pack_write(L, 3, most, bytes, &culprit);
    if (failure == PACK_LARGE)
        return failure;
    if (failure)
        luaL_error(L, "p:set: %s", pack_failure_text(failure, culprit));
    lua_pushlstring(L, bytes->data + key_len, bytes->len - key_len);
    return PACK_FINE;
}

/* p:set(key, value) -> true; nil, reason */
static int keep_set(lua_State *L)
{
    struct keep *k = keep_of(L);
    struct host *h = host_of(L);
    struct buf *bytes = &h->scratch;
    lua_settop(L, 3);
    pack_key(L, 2, bytes);
    size_t key_len = bytes->len;
    lua_getfenv(L, 1); /* 4 */
    lua_pushvalue(L, 2);
    lua_rawget(L, 4);                                  /* 5: what it was */
    if (push_packed(L, bytes, key_len, k->store.most)) /* 6: what it will be */
        return not_kept(L, k, -EDQUOT, k->store.most + 1);
    if (lua_rawequal(L, 5, 6)) { /* the same value is the same bytes */
        lua_pushboolean(L, 1);
        return 1;
    }

    size_t replaced = lua_isnil(L, 5) ? 0 : store_cost(key_len, lua_objlen(L, 5));
    const char *value = lua_isnil(L, 6) ? NULL : bytes->data + key_len;
    size_t value_len = bytes->len - key_len;
    lua_pushvalue(L, 2); /* first here, where memory may run out */
    lua_pushvalue(L, 6);
    lua_rawset(L, 4);
    compact(h, k);
    int result = store_put(&k->store, bytes->data, key_len, value, value_len, replaced);
    if (result < 0) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 5);
        lua_rawset(L, 4);
        return not_kept(L, k, result, store_cost(key_len, value_len));
    }
    k->entries += (size_t)(value != NULL) - (size_t)(replaced != 0);
    lua_pushboolean(L, 1);
    return 1;
}

/* next(): upvalues: the values, the keys, the number of the last one */
static int each_next(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    for (;;) {
        lua_settop(L, 0);
        lua_rawgeti(L, lua_upvalueindex(2), (int)++i);
        if (lua_isnil(L, 1))
            return 1;
        lua_pushvalue(L, 1);
        lua_rawget(L, lua_upvalueindex(1));
        if (lua_isnil(L, 2)) /* deleted meanwhile */
            continue;
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(3));
        unpack_top(L);
        return 2;
    }
}

/* for key, value in p:each(): of what is there at the beginning; the loop may set and delete */
static int keep_each(lua_State *L)
{
    struct keep *k = keep_of(L);
    int n = 0;
    lua_settop(L, 1);
    lua_getfenv(L, 1);
    lua_createtable(L, (int)k->entries, 0);
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, 3, ++n);
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, each_next, 3);
    return 1;
}

/* p:size() -> bytes, of how many, entries */
static int keep_size(lua_State *L)
{
    struct keep *k = keep_of(L);
    lua_pushnumber(L, (lua_Number)k->store.live);
    lua_pushnumber(L, (lua_Number)k->store.most);
    lua_pushnumber(L, (lua_Number)k->entries);
    return 3;
}

/* p:durable() -> true; false, reason */
static int keep_durable(lua_State *L)
{
    struct keep *k = keep_of(L);
    lua_pushboolean(L, !*k->why);
    if (!*k->why)
        return 1;
    lua_pushstring(L, k->why);
    return 2;
}

static void close_file(struct keep *k)
{
    if (k->store.fd >= 0)
        close(k->store.fd);
    k->store.fd = -1;
}

static int keep_close(lua_State *L)
{
    close_file(keep_of(L));
    return 0;
}

/* --- mw.persist ------------------------------------------------------------------------------- */

/* [-0, +0, e] */
static size_t check_most(lua_State *L, int index)
{
    if (lua_isnil(L, index))
        return MOST_DEFAULT;
    double bytes = api_size(L, index);
    if (!(bytes >= (double)STORE_LEAST && bytes <= (double)STORE_MOST))
        luaL_error(L, "mw.persist: `max` is a size from 4k to 16M: " API_SIZE);
    return (size_t)bytes;
}

/* The table of this script's stores, by name.  [-0, +1, m] */
static void push_stores(lua_State *L, uint32_t script)
{
    lua_pushlightuserdata(L, (void *)&stores_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushnumber(L, script);
    lua_rawget(L, -2);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushnumber(L, script);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

void api_persist_forget(lua_State *L, uint32_t script)
{
    lua_pushlightuserdata(L, (void *)&stores_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushnumber(L, script);
    lua_rawget(L, -2);
    if (lua_istable(L, -1)) {
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            struct keep *k = lua_touserdata(L, -1);
            close_file(k);
            strcpy(k->why, "the script is unloaded");
        }
        lua_pushnumber(L, script);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    lua_pop(L, 2);
}

/* [-0, +1, m] */
static struct keep *push_new(lua_State *L, const struct policy *policy, const char *name,
                             size_t most)
{
    struct keep *k = lua_newuserdata(L, sizeof *k);
    *k = (struct keep){ .store = { .fd = -1, .most = most }, .script = policy->id };
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(k->script_name, sizeof k->script_name, "%s", policy->name);
    lua_pushlightuserdata(L, (void *)&metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setfenv(L, -2);
    return k;
}

/* What the store at `from` holds goes into the one on top, which is new.  [-0, +0, m] */
static void copy_values(lua_State *L, int from, struct keep *k)
{
    const struct keep *source = lua_touserdata(L, from);
    lua_getfenv(L, from);
    lua_getfenv(L, -2);
    for (lua_pushnil(L); lua_next(L, -3);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_pop(L, 2);
    k->store.live = source->store.live;
    k->entries = source->entries;
}

/* The names of options at 1 are those that there are.  [-0, +0, e] */
static void check_options(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(key, "name") && strcmp(key, "max"))
            luaL_error(L, "mw.persist: there is no option '%s': `name` and `max` are", key);
    }
}

static const char *check_name(lua_State *L, int index)
{
    size_t len = 0;
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : "";
    if (!len || len >= STORE_NAME || strlen(name) != len)
        luaL_error(L, "mw.persist: `name` is a string of 1 to %d bytes", STORE_NAME - 1);
    return name;
}

/* mw.persist{ name = "seen", max = "1M" } -> p */
static int persist(lua_State *L)
{
    struct host *h = host_of(L);
    if (!h->current)
        return luaL_error(L, "mw.persist belongs into a script");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_options(L);
    lua_getfield(L, 1, "name"); /* 2 */
    lua_getfield(L, 1, "max");  /* 3 */
    const char *name = check_name(L, 2);
    size_t most = check_most(L, 3);
    push_stores(L, h->current->id); /* 4 */
    lua_pushvalue(L, 2);
    lua_rawget(L, 4); /* 5: of an earlier version, or asked for before */
    bool shadow = h->current->shadow, there = !lua_isnil(L, 5);
    if (there && !shadow) {
        ((struct keep *)lua_touserdata(L, 5))->store.most = most;
        return 1;
    }
    struct keep *k = push_new(L, h->current, name, most); /* 6 */
    if (open_file(h, k, shadow) < 0)
        return luaL_error(L, "mw.persist '%s': %s; another --state-dir is another store", name,
                          k->why);
    if (there)
        copy_values(L, 5, k);
    if (k->store.fd >= 0) {
        lua_getfenv(L, 6);
        load(L, k);
        lua_pop(L, 1);
    }
    if (!shadow) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 6);
        lua_rawset(L, 4);
    }
    return 1;
}

void api_persist_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "get", keep_get },   { "set", keep_set },         { "each", keep_each },
        { "size", keep_size }, { "durable", keep_durable }, { NULL, NULL },
    };
    lua_pushcfunction(L, persist);
    lua_setfield(L, -2, "persist");

    lua_pushlightuserdata(L, (void *)&stores_key);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_pushlightuserdata(L, (void *)&metatable_key);
    lua_newtable(L);
    lua_newtable(L);
    for (const luaL_Reg *m = methods; m->name; m++) {
        lua_pushcfunction(L, m->func);
        lua_setfield(L, -2, m->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, keep_close);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0); /* getmetatable() shows nothing, setmetatable() is refused */
    lua_setfield(L, -2, "__metatable");
    lua_rawset(L, LUA_REGISTRYINDEX);
}
