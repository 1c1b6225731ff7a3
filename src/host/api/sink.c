/* sink.c - mw.sink: outputs that scripts open, and what they send there. */
#include "host/state.h"

#include "collect/procfs.h"
#include "host/needs.h"
#include "sink/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE "moonwatch.sink"

/* The userdata: a number, so that it cannot outlive what it names. */
struct handle {
    int id; /* 0: takes everything and writes nothing */
    enum sink_kind kind;
    struct frame *frame; /* owned; NULL: JSON */
};

/* --- options ---------------------------------------------------------------------------------- */

/* [-0, +0, e] */
static uint64_t size_option(lua_State *L, const char *name, uint64_t otherwise)
{
    lua_getfield(L, 1, name);
    double bytes = lua_isnil(L, -1) ? (double)otherwise : api_size(L, -1);
    if (!(bytes >= 0 && bytes <= 1e15))
        luaL_error(L, "mw.sink: `%s` is a size: " API_SIZE, name);
    lua_pop(L, 1);
    return (uint64_t)bytes;
}

static void set_text(lua_State *L, struct sink_spec *spec, const char *text, size_t len)
{
    if (len > SPEC_TEXT_MAX - spec->text_len)
        luaL_error(L, "mw.sink: path or argv is longer than %d bytes", SPEC_TEXT_MAX);
    memcpy(spec->text + spec->text_len, text, len);
    spec->text_len += (uint32_t)len;
}

/* [-0, +0, e] */
static void path_option(lua_State *L, struct sink_spec *spec)
{
    size_t len;
    lua_getfield(L, 1, "path");
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *path = lua_tolstring(L, -1, &len);
        set_text(L, spec, path, len);
    } else if (!lua_isnil(L, -1)) {
        luaL_error(L, "mw.sink: `path` is a string");
    }
    lua_pop(L, 1);
}

/* [-0, +0, e] */
static void argv_option(lua_State *L, struct sink_spec *spec)
{
    lua_getfield(L, 1, "argv");
    if (!lua_istable(L, -1))
        luaL_error(L, "mw.sink.exec: `argv` is a list of strings: { \"logger\", \"-t\", \"x\" }");
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        const char *arg = lua_tolstring(L, -1, &len);
        if (!arg || strlen(arg) != len)
            luaL_error(L, "mw.sink.exec: `argv` is a list of strings without NUL");
        set_text(L, spec, arg, len + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void full_option(lua_State *L, struct sink_spec *spec)
{
    static const char *const words[] = { "drop_oldest", "drop_newest", "spool", NULL };
    lua_getfield(L, 1, "full");
    const char *word = luaL_optstring(L, -1, "drop_oldest");
    int i = 0;
    while (words[i] && strcmp(words[i], word))
        i++;
    if (!words[i])
        luaL_error(L, "mw.sink: `full` is \"drop_oldest\", \"drop_newest\" or \"spool\"");
    spec->full = (uint32_t)i;
    lua_pop(L, 1);
    spec->spool = size_option(L, "spool", spec->full == SINK_SPOOL ? UINT64_C(64) << 20 : 0);
}

static void rotate_option(lua_State *L, struct sink_spec *spec)
{
    spec->rotate = size_option(L, "rotate", 0);
    lua_getfield(L, 1, "keep");
    int keep = (int)luaL_optinteger(L, -1, spec->rotate ? 5 : 0);
    if (keep < 0)
        luaL_error(L, "mw.sink: `keep` is how many old files are kept");
    spec->keep = (uint32_t)keep;
    lua_pop(L, 1);
}

/* A word that is misspelt is not silently ignored.  [-0, +0, e] */
static void check_options(lua_State *L)
{
    static const char *const words[] = { "path",  "argv", "rotate", "keep",
                                         "queue", "full", "spool",  "format" };
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        size_t i = 0;
        while (i < sizeof words / sizeof *words &&
               (lua_type(L, -2) != LUA_TSTRING || strcmp(words[i], lua_tostring(L, -2))))
            i++;
        if (i < sizeof words / sizeof *words)
            continue;
        lua_pushvalue(L, -2);
        luaL_error(L,
                   "mw.sink: no option is named '%s'; there are path argv rotate keep queue full "
                   "spool format",
                   lua_tostring(L, -1) ? lua_tostring(L, -1) : "?");
    }
}

/* [-0, +0, e] */
static void parse_format(lua_State *L, struct handle *handle)
{
    char why[256];
    size_t len;
    bool log = handle->kind == SINK_SYSLOG || handle->kind == SINK_JOURNALD;
    lua_getfield(L, 1, "format");
    const char *format = luaL_optlstring(L, -1, log ? FRAME_LOG : "json", &len);
    if (strcmp(format, "json")) {
        int result = frame_parse(&handle->frame, format, len, why);
        if (result < 0)
            luaL_error(L, "mw.sink: format: %s", result == -EINVAL ? why : "not enough memory");
        host_need(host_of(L), frame_needs(handle->frame));
    }
    lua_pop(L, 1);
}

static void fill_spec(lua_State *L, enum sink_kind kind, struct sink_spec *spec)
{
    *spec = (struct sink_spec){ .kind = kind };
    check_options(L);
    if (kind == SINK_EXEC)
        argv_option(L, spec);
    else
        path_option(L, spec);
    full_option(L, spec);
    rotate_option(L, spec);
    spec->queue = spec_queue(size_option(L, "queue", 1 << 20));
    const char *fault = spec_fault(spec);
    if (fault)
        luaL_error(L, "mw.sink: %s", fault);
}

/* mw.sink.KIND { ... } -> sink */
static int sink_new(lua_State *L)
{
    struct host *h = host_of(L);
    enum sink_kind kind = (enum sink_kind)lua_tointeger(L, lua_upvalueindex(1));
    struct sink_spec spec;
    char why[PLACE_WHY_MAX];
    if (!h->current)
        return luaL_error(L, "mw.sink.%s: no script is running", spec_kind_name(kind));
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    fill_spec(L, kind, &spec);
    struct handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct handle){ .kind = kind };
    luaL_getmetatable(L, METATABLE);
    lua_setmetatable(L, -2);
    parse_format(L, handle);
    if (!h->current->shadow)
        handle->id = sinks_open(h, h->current, &spec, why);
    if (handle->id < 0)
        return luaL_error(L, "mw.sink.%s: %s", spec_kind_name(kind), why);
    return 1;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void send_to(lua_State *L, const struct handle *handle, const struct frame_item *item)
{
    struct host *h = host_of(L);
    struct buf *record = &h->sinks.record;
    if (!handle->id || h->current->shadow)
        return;
    if (!sinks_is_open(h, handle->id))
        luaL_error(L, "this sink is closed: the version of the script that opened it has gone");
    buf_clear(record);
    if (handle->kind == SINK_SYSLOG)
        frame_syslog(record, handle->frame, item);
    else if (handle->kind == SINK_JOURNALD)
        frame_journald(record, handle->frame, item);
    else
        frame_line(record, handle->frame, item);
    if (handle->kind != SINK_JOURNALD)
        buf_putc(record, '\n');
    if (record->failed)
        luaL_error(L, "not enough memory");
    sinks_send(h, handle->id, record->data, record->len);
}

static struct handle *handle_at(lua_State *L, int index)
{
    struct handle *handle = luaL_testudata(L, index, METATABLE);
    if (!handle)
        luaL_error(L, "a sink is what mw.sink.file { ... } and the like return, not a %s",
                   luaL_typename(L, index));
    return handle;
}

/* Call for the sink at `index`, or each of the list there.  [-0, +0, e] */
static void send_to_all(lua_State *L, int index, const struct frame_item *item)
{
    if (!lua_istable(L, index)) {
        send_to(L, handle_at(L, index), item);
        return;
    }
    for (int i = 1, n = (int)lua_objlen(L, index); i <= n; i++) {
        lua_rawgeti(L, index, i);
        send_to(L, handle_at(L, lua_gettop(L)), item);
        lua_pop(L, 1);
    }
}

void api_sink_event(lua_State *L, int index, const struct event *ev,
                    const struct output_context *context, const struct json_alert *alert)
{
    const struct policy *policy = host_of(L)->current;
    struct json_context json = { .boot = context->boot,
                                 .parent = context->parent,
                                 .labels = context->labels,
                                 .labels_len = context->labels_len,
                                 .alert = alert };
    struct frame_item item = { .script = policy->name, .ev = ev, .json = &json };
    send_to_all(L, index, &item);
}

void api_sink_text(lua_State *L, int index, const char *text, size_t len, bool is_json)
{
    struct frame_item item = {
        .script = host_of(L)->current->name, .text = text, .text_len = len, .is_json = is_json
    };
    send_to_all(L, index, &item);
}

/* sink:emit(event or table or string) */
static int sink_emit(lua_State *L)
{
    handle_at(L, 1);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_insert(L, 1); /* value, sink: as mw.emit has them */
    api_emit_to(L);
    return 0;
}

static void set_count(lua_State *L, const char *name, uint64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
    lua_setfield(L, -2, name);
}

/* sink:stats() -> { sent, dropped, queued, spooled, errors, doubtful } */
static int sink_stats(lua_State *L)
{
    struct sink_counts count = sinks_count(host_of(L), handle_at(L, 1)->id);
    lua_createtable(L, 0, 6);
    set_count(L, "sent", count.records.sent);
    set_count(L, "dropped", count.records.dropped);
    set_count(L, "queued", count.records.queued);
    set_count(L, "spooled", count.records.spooled);
    set_count(L, "doubtful", count.records.doubtful);
    set_count(L, "errors", count.errors);
    return 1;
}

static int sink_gc(lua_State *L)
{
    struct handle *handle = lua_touserdata(L, 1);
    frame_free(handle->frame);
    handle->frame = NULL;
    handle->id = 0;
    return 0;
}

void api_sink_open(lua_State *L)
{
    frame_begin();
    luaL_newmetatable(L, METATABLE);
    lua_pushliteral(L, "a sink's insides are its own");
    lua_setfield(L, -2, "__metatable");
    lua_pushcfunction(L, sink_gc);
    lua_setfield(L, -2, "__gc");
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, sink_emit);
    lua_setfield(L, -2, "emit");
    lua_pushcfunction(L, sink_stats);
    lua_setfield(L, -2, "stats");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);

    lua_createtable(L, 0, SINK_KINDS);
    for (int kind = 0; kind < SINK_KINDS; kind++) {
        lua_pushinteger(L, kind);
        lua_pushcclosure(L, sink_new, 1);
        lua_setfield(L, -2, spec_kind_name((enum sink_kind)kind));
    }
    lua_setfield(L, -2, "sink");
}
