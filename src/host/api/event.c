/* event.c - the event's table: how a record becomes one, and what can be asked of it.
 *
 * A constructor per kind, written in Lua from the field table, takes the values by position and
 * makes the table from one literal: several times cheaper than setting keys from C. What costs
 * more than a copy (args of other events than exec, cmdline, id, parent) is made when asked for
 * and then stays. Where a field comes from is the same for nearly all events of a kind, so it
 * lives in a metatable shared by all events with the same origin of fields. */
#include "host/state.h"

#include <string.h>

static const char metatables_key, methods_key, fields_key, why_key;

/* Constructors are numbered by event kind; a process (a parent) has one of its own. */
#define PROCESS      EVENT_KINDS
#define CONSTRUCTORS (EVENT_KINDS + 1)

/* Origins of fields whose metatables are at hand, for each constructor: there are few. */
#define ORIGINS 4

/* What a constructor takes, by position. References are the registry's. */
struct event_shape {
    uint8_t fields[EVENT_FIELDS];
    int len, constructor_ref;
    unsigned next; /* origin to give way */
    struct origin {
        uint8_t why[EVENT_FIELDS];
        int metatable_ref; /* LUA_NOREF: free */
    } origins[ORIGINS];
};

/* --- which fields a table has ----------------------------------------------------------- */

static bool is_state(int field)
{
    return field >= EVENT_FIRST_STATE && field <= EVENT_LAST_STATE;
}

static bool table_has(int kind, int field)
{
    if (field == F_TYPE)
        return false; /* a constant in the constructor */
    if (kind == PROCESS)
        return is_state(field);
    if (!(event_fields[field].kinds & (UINT32_C(1) << kind)))
        return false;
    return field != F_ARGS || kind == EVENT_EXEC || kind == EVENT_SNAPSHOT;
}

static const char *was_name(int field)
{
    const char *name = event_fields[field].name;
    return strncmp(name, "was.", 4) ? NULL : name + 4;
}

/* Not in the literal, so that an exec and what is made when asked for (parent, cmdline) find room in
 * 32 places: one more makes the table be built anew. */
static bool is_rare(int field)
{
    return event_fields[field].type == TYPE_BOOL;
}

/* function(mt, a1, a2, ...) local t = setmetatable({ type = "exec", seq = a1, ... }, mt)
 * if a17 ~= nil then t["deleted"] = a17 end return t end */
static void write_constructor(struct buf *out, int kind)
{
    bool was = false;
    buf_puts(out, "local setmetatable = setmetatable return function(mt");
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (table_has(kind, f)) {
            buf_printf(out, ",a%d", f);
            was = was || was_name(f);
        }
    buf_puts(out, ") ");
    if (was) {
        buf_puts(out, "local was if false");
        for (int f = 0; f < EVENT_FIELDS; f++)
            if (table_has(kind, f) && was_name(f))
                buf_printf(out, " or a%d ~= nil", f);
        buf_puts(out, " then was = {");
        for (int f = 0; f < EVENT_FIELDS; f++)
            if (table_has(kind, f) && was_name(f))
                buf_printf(out, "%s=a%d,", was_name(f), f);
        buf_puts(out, "} end ");
    }
    buf_puts(out, "local t = setmetatable({");
    if (kind != PROCESS)
        buf_printf(out, "type=\"%s\",", event_kind_name((enum event_kind)kind));
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (table_has(kind, f) && !was_name(f) && !is_rare(f))
            buf_printf(out, "['%s']=a%d,", event_fields[f].name, f);
    buf_printf(out, "%s}, mt) ", was ? "was=was" : "");
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (table_has(kind, f) && is_rare(f))
            buf_printf(out, "if a%d ~= nil then t['%s']=a%d end ", f, event_fields[f].name, f);
    buf_puts(out, "return t end");
}

/* --- values ------------------------------------------------------------------------------ */

/* [-0, +1, m] */
static void push_args(lua_State *L, const char *bytes, size_t len)
{
    const char *end = bytes + len;
    int count = 0;
    for (const char *at = bytes; at < end; at++)
        count += !*at;
    lua_createtable(L, count, 0);
    for (int i = 1; i <= count; i++) {
        size_t one = strlen(bytes);
        lua_pushlstring(L, bytes, one);
        lua_rawseti(L, -2, i);
        bytes += one + 1;
    }
}

/* [-0, +1, m] */
static void push_field(lua_State *L, const struct event *ev, int field)
{
    size_t len;
    const char *text;

    if (!event_has(ev, (enum event_field)field)) {
        lua_pushnil(L);
        return;
    }
    int64_t num = ev->cell[field].num;
    switch (event_fields[field].type) {
    case TYPE_KIND:
        lua_pushstring(L, event_kind_name((enum event_kind)num));
        break;
    case TYPE_INT:
        lua_pushnumber(L, (lua_Number)num);
        break;
    case TYPE_BOOL:
        lua_pushboolean(L, num != 0);
        break;
    case TYPE_TIME:
    case TYPE_SPAN:
        lua_pushnumber(L, (lua_Number)num / 1e9);
        break;
    case TYPE_TEXT:
        text = event_text(ev, (enum event_field)field, &len);
        lua_pushlstring(L, text, len);
        break;
    case TYPE_ARGS:
        text = event_text(ev, (enum event_field)field, &len);
        push_args(L, text, len);
        break;
    }
}

bool api_event_lacks(const struct event *ev)
{
    return memchr(ev->why, WHY_UNASKED, EVENT_FIELDS) != NULL;
}

/* The metatable for this origin of fields.  [-0, +1, m] */
static void push_metatable(lua_State *L, const struct event *ev)
{
    lua_pushlightuserdata(L, (void *)&metatables_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushlstring(L, (const char *)ev->why, EVENT_FIELDS);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_istable(L, -1)) {
        lua_replace(L, -3);
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);

    bool lacks = api_event_lacks(ev);
    lua_createtable(L, 0, 4);
    lua_pushlightuserdata(L, (void *)&why_key);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* all scripts share it */
    lua_getfield(L, -3, lacks ? "unasked" : "__index");
    lua_setfield(L, -2, "__index");
    if (lacks) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "unasked");
    }
    lua_pushvalue(L, -2); /* metatables[why] = the new one */
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

void api_event_adopt(lua_State *L)
{
    static const struct event nothing_known;
    push_metatable(L, &nothing_known);
    lua_setmetatable(L, -2);
}

/* The same, from what is at hand: finding it by its bytes costs a twentieth of an event.
 * [-0, +1, m] */
static void push_origin(lua_State *L, struct event_shape *shape, const struct event *ev)
{
    for (int i = 0; i < ORIGINS; i++)
        if (!memcmp(shape->origins[i].why, ev->why, EVENT_FIELDS) &&
            shape->origins[i].metatable_ref != LUA_NOREF) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, shape->origins[i].metatable_ref);
            return;
        }
    struct origin *origin = &shape->origins[shape->next++ % ORIGINS];
    push_metatable(L, ev);
    luaL_unref(L, LUA_REGISTRYINDEX, origin->metatable_ref);
    origin->metatable_ref = LUA_NOREF; /* what follows may throw */
    lua_pushvalue(L, -1);
    origin->metatable_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    memcpy(origin->why, ev->why, EVENT_FIELDS);
}

/* [-0, +1, m] */
static void push_table(lua_State *L, struct event_shape *shape, const struct event *ev)
{
    luaL_checkstack(L, EVENT_FIELDS + 8, "event");
    lua_rawgeti(L, LUA_REGISTRYINDEX, shape->constructor_ref);
    push_origin(L, shape, ev);
    for (int i = 0; i < shape->len; i++)
        push_field(L, ev, shape->fields[i]);
    lua_call(L, shape->len + 1, 1);
}

void api_event_push(lua_State *L, const struct event *ev)
{
    push_table(L, &host_of(L)->shapes[event_kind(ev)], ev);
}

bool api_process_push(lua_State *L, tracker_ref ref)
{
    struct host *h = host_of(L);
    event_begin(&h->parent_box, EVENT_SNAPSHOT);
    if (!tracker_copy_state(h->tracker, ref, &h->parent_box, WHY_ABSENT))
        return false;
    push_table(L, &h->shapes[PROCESS], &h->parent_box.ev);
    return true;
}

/* --- questions a table answers itself ---------------------------------------------------- */

/* An integer field of the table at 1.  [-0, +0, -] */
static int64_t table_int(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, 1);
    int64_t value = lua_isnumber(L, -1) ? (int64_t)lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    return value;
}

static tracker_ref table_ref(lua_State *L)
{
    int64_t pid = table_int(L, "pid"), starttime = table_int(L, "starttime");
    return pid < 0 ? 0 : tracker_find(host_of(L)->tracker, pid, starttime);
}

/* [-0, +(0|1), m] each: push the value, or nothing when there is none */
static bool lazy_parent(lua_State *L)
{
    tracker_ref parent = tracker_parent(host_of(L)->tracker, table_ref(L));
    return parent && api_process_push(L, parent);
}

static bool lazy_args(lua_State *L)
{
    size_t len;
    const char *bytes = tracker_text(host_of(L)->tracker, table_ref(L), F_ARGS, &len);
    if (!bytes)
        return false;
    push_args(L, bytes, len);
    return true;
}

static bool lazy_id(lua_State *L)
{
    struct host *h = host_of(L);
    char id[EVENT_ID_MAX];
    event_begin(&h->parent_box, EVENT_SNAPSHOT);
    int64_t pid = table_int(L, "pid"), starttime = table_int(L, "starttime");
    if (pid < 0 || starttime < 0)
        return false;
    event_set(&h->parent_box, F_PID, pid, WHY_KEPT);
    event_set(&h->parent_box, F_STARTTIME, starttime, WHY_KEPT);
    lua_pushlstring(L, id, event_id(&h->parent_box.ev, h->options.boot, id));
    return true;
}

static bool lazy_cmdline(lua_State *L)
{
    lua_getfield(L, 1, "args"); /* may be made just now */
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    int args = lua_gettop(L);
    luaL_Buffer joined;
    luaL_buffinit(L, &joined);
    for (int i = 1, n = (int)lua_objlen(L, args); i <= n; i++) {
        if (i > 1)
            luaL_addchar(&joined, ' ');
        lua_rawgeti(L, args, i);
        luaL_addvalue(&joined);
    }
    luaL_pushresult(&joined);
    lua_remove(L, args);
    return true;
}

static const struct {
    const char *name;
    bool (*push)(lua_State *L);
} lazies[] = {
    { "parent", lazy_parent },
    { "args", lazy_args },
    { "cmdline", lazy_cmdline },
    { "id", lazy_id },
};

/* __index(table, key): a method, or a value that is made now and kept. */
static int event_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, 3))
        return 1;
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    for (size_t i = 0; i < sizeof lazies / sizeof *lazies; i++) {
        if (strcmp(key, lazies[i].name) || !lazies[i].push(L))
            continue;
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        return 1;
    }
    return 0;
}

/* The origin of the fields of the table at `index`; NULL when it is no event. The key is one that
 * no script can make: what it holds is ours.  [-0, +0, -] */
static const uint8_t *whys_of(lua_State *L, int index)
{
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return NULL;
    lua_pushlightuserdata(L, (void *)&why_key);
    lua_rawget(L, -2);
    const char *why = lua_tostring(L, -1);
    lua_pop(L, 2);
    return (const uint8_t *)why;
}

/* The field of this name, cmdline and id standing for what they are made of; -1: none.
 * [-0, +0, -] */
static int field_of_key(lua_State *L, int index)
{
    lua_pushlightuserdata(L, (void *)&fields_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushvalue(L, index);
    lua_rawget(L, -2);
    int field = lua_isnumber(L, -1) ? (int)lua_tointeger(L, -1) : -1;
    lua_pop(L, 2);
    return field;
}

/* The same for events that lack what no script was known to need: who asks for it needs it. */
static int unasked_index(lua_State *L)
{
    if (event_index(L))
        return 1;
    const uint8_t *whys = whys_of(L, 1);
    int field = field_of_key(L, 2);
    if (whys && field >= 0 && whys[field] == WHY_UNASKED)
        host_need(host_of(L), UINT64_C(1) << field);
    return 0;
}

/* ev:why(name) -> "proc", "missing: gone before read", ... */
static int event_why_method(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);
    const uint8_t *whys = whys_of(L, 1);
    luaL_argcheck(L, whys, 1, "an event or a process expected");
    if (!strcmp(name, "cmdline"))
        name = "args";
    if (!strcmp(name, "id"))
        name = "starttime";
    int field = event_field_named(name);
    if (field < 0)
        return luaL_argerror(L, 2, lua_pushfstring(L, "no field is named '%s'", name));
    lua_pushstring(L, event_why_text((enum event_why)whys[field]));
    return 1;
}

/* --- the way back ------------------------------------------------------------------------ */

static void read_args(lua_State *L, struct event_box *box, enum event_why why)
{
    struct buf *joined = &host_of(L)->scratch;
    buf_clear(joined);
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        const char *one = lua_tolstring(L, -1, &len);
        if (one)
            buf_add(joined, one, strnlen(one, len));
        buf_putc(joined, '\0');
        lua_pop(L, 1);
    }
    event_set_text(box, F_ARGS, joined->data ? joined->data : "", joined->len, why);
}

/* Seconds in a double hold the time of day to 0.2 us: take the record's own figure when that is
 * what the number was made of.  [-0, +0, -] */
static int64_t exact_ns(lua_State *L, int field)
{
    const struct event *ev = host_of(L)->event;
    lua_Number seconds = lua_tonumber(L, -1);
    if (ev && (lua_Number)ev->cell[field].num / 1e9 == seconds)
        return ev->cell[field].num;
    return (int64_t)(seconds * 1e9 + 0.5);
}

/* Set the field from the value on top of the stack; what has the wrong type is left out. */
static void read_value(lua_State *L, struct event_box *box, int field, enum event_why why)
{
    size_t len;
    const char *text;
    if (why == WHY_ABSENT || why >= WHY_MISSING)
        why = WHY_COMPUTED; /* a script gave it one */

    switch (event_fields[field].type) {
    case TYPE_KIND:
        break;
    case TYPE_INT:
        if (lua_isnumber(L, -1))
            event_set(box, (enum event_field)field, (int64_t)lua_tonumber(L, -1), why);
        break;
    case TYPE_BOOL:
        if (lua_toboolean(L, -1))
            event_set(box, (enum event_field)field, 1, why);
        break;
    case TYPE_TIME:
    case TYPE_SPAN:
        if (lua_isnumber(L, -1))
            event_set(box, (enum event_field)field, exact_ns(L, field), why);
        break;
    case TYPE_TEXT:
        text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (text)
            event_set_text(box, (enum event_field)field, text, len, why);
        break;
    case TYPE_ARGS:
        if (lua_istable(L, -1))
            read_args(L, box, why);
        break;
    }
}

bool api_event_record(lua_State *L, int index, struct event_box *box)
{
    const uint8_t *whys = whys_of(L, index);
    if (!whys)
        return false;

    index = index < 0 ? lua_gettop(L) + index + 1 : index;
    lua_getfield(L, index, "type");
    const char *type = lua_tostring(L, -1);
    enum event_kind kind = type ? event_kind_named(type) : EVENT_SNAPSHOT;
    event_begin(box, kind ? kind : EVENT_SNAPSHOT);
    lua_pop(L, 1);

    lua_getfield(L, index, "was");
    for (int f = F_SEQ; f < EVENT_FIELDS; f++) {
        const char *was = was_name(f);
        if (was && !lua_istable(L, -1))
            continue;
        if (f == F_ARGS) { /* may be made just now */
            lua_getfield(L, index, "args");
        } else {
            lua_pushstring(L, was ? was : event_fields[f].name);
            lua_rawget(L, was ? -2 : index);
        }
        if (!lua_isnil(L, -1))
            read_value(L, box, f, (enum event_why)whys[f]);
        else if (whys[f] >= WHY_MISSING)
            event_set_missing(box, (enum event_field)f, (enum event_why)whys[f]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return true;
}

/* --- opening ------------------------------------------------------------------------------ */

void api_event_push_aliases(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; i < EVENT_FIELDS + EVENT_DERIVED; i++) {
        const struct event_field_info *info =
            i < EVENT_FIELDS ? &event_fields[i] : &event_derived[i - EVENT_FIELDS];
        const char *names[] = { info->falco, info->ocsf, info->sigma, info->ecs, info->name };
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            if (!*names[n])
                continue;
            lua_pushstring(L, info->name);
            lua_setfield(L, -2, names[n]);
        }
    }
}

/* { cwd = F_CWD, ..., cmdline = F_ARGS, id = F_STARTTIME }  [-0, +1, m] */
static void push_fields(lua_State *L)
{
    lua_createtable(L, 0, EVENT_FIELDS + EVENT_DERIVED);
    for (int f = 0; f < EVENT_FIELDS; f++) {
        lua_pushinteger(L, f);
        lua_setfield(L, -2, event_fields[f].name);
    }
    lua_pushinteger(L, F_ARGS);
    lua_setfield(L, -2, event_derived[DERIVED_CMDLINE].name);
    lua_pushinteger(L, F_STARTTIME);
    lua_setfield(L, -2, event_derived[DERIVED_ID].name);
}

/* [-0, +0, m] */
static void make_shape(lua_State *L, struct event_shape *shape, int kind)
{
    struct buf *source = &host_of(L)->scratch;
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (table_has(kind, f))
            shape->fields[shape->len++] = (uint8_t)f;
    for (int i = 0; i < ORIGINS; i++)
        shape->origins[i].metatable_ref = LUA_NOREF;
    buf_clear(source);
    write_constructor(source, kind);
    if (luaL_loadbuffer(L, source->data, source->len, "=constructor"))
        lua_error(L);
    lua_call(L, 0, 1);
    shape->constructor_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [-0, +0, m] */
static void make_shapes(lua_State *L)
{
    struct event_shape *shapes = lua_newuserdata(L, CONSTRUCTORS * sizeof *shapes);
    memset(shapes, 0, CONSTRUCTORS * sizeof *shapes);
    for (int kind = 0; kind < CONSTRUCTORS; kind++)
        make_shape(L, &shapes[kind], kind);
    luaL_ref(L, LUA_REGISTRYINDEX); /* it stays */
    host_of(L)->shapes = shapes;
}

void api_event_open(lua_State *L)
{
    make_shapes(L);

    lua_newtable(L); /* methods: what Lua adds is seen too */
    lua_pushcfunction(L, event_why_method);
    lua_setfield(L, -2, "why");
    api_topics_open(L);

    lua_pushlightuserdata(L, (void *)&methods_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_pushlightuserdata(L, (void *)&metatables_key);
    lua_newtable(L);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, event_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, unasked_index, 1);
    lua_setfield(L, -2, "unasked");
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);

    lua_pushlightuserdata(L, (void *)&fields_key);
    push_fields(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* The table that the Lua half of the library adds its methods to. */
void api_event_push_methods(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&methods_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
}
