/* where.c - decides in C whether a script wants an event. See where.h. */
#include "host/where.h"

#include <lauxlib.h>
#include <string.h>

#define METATABLE "moonwatch.where"
#define CMDLINE   EVENT_FIELDS       /* stands for the derived cmdline */
#define WHOLE_MAX 9007199254740992.0 /* beyond 2^53 not every whole number is one of Lua's */

/* Everything is inside the userdata: tests, then values, then the bytes of the texts. */
struct value {
    int64_t num;
    uint32_t off, len; /* text: from the start of the where */
};

struct test {
    uint16_t field;
    uint8_t op; /* enum where_op */
    bool text, negated;
    uint32_t first, count; /* values */
};

struct where {
    uint32_t tests_len, values_len;
    struct test tests[];
};

static const struct value *values(const struct where *w)
{
    return (const struct value *)(w->tests + w->tests_len);
}

/* --- matching ------------------------------------------------------------------------- */

static bool text_fits(enum where_op op, const char *text, size_t len, const char *want,
                      size_t want_len)
{
    if (want_len > len)
        return false;
    switch (op) {
    case WHERE_IS:
        return len == want_len && !memcmp(text, want, len);
    case WHERE_PREFIX:
        return !memcmp(text, want, want_len);
    case WHERE_SUFFIX:
        return !memcmp(text + len - want_len, want, want_len);
    case WHERE_CONTAINS:
        return memmem(text, len, want, want_len) != NULL;
    }
    return false;
}

static bool one_text_fits(const struct where *w, const struct test *t, const char *text, size_t len)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct value *v = values(w) + t->first + i;
        if (text_fits((enum where_op)t->op, text, len, (const char *)w + v->off, v->len))
            return true;
    }
    return false;
}

static bool one_number_fits(const struct where *w, const struct test *t, int64_t num)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (values(w)[t->first + i].num == num)
            return true;
    return false;
}

static bool test_holds(const struct where *w, const struct test *t, const struct event *ev)
{
    static _Thread_local char joined[EVENT_TEXT_MAX];
    size_t len;

    if (t->field == CMDLINE) {
        if (!event_has(ev, F_ARGS))
            return false;
        len = event_cmdline(ev, joined, sizeof joined);
        return one_text_fits(w, t, joined, len);
    }
    if (!event_has(ev, t->field))
        return false;
    if (!t->text)
        return one_number_fits(w, t, ev->cell[t->field].num);
    const char *text = event_text(ev, t->field, &len);
    return one_text_fits(w, t, text, len);
}

bool where_matches(const struct where *w, const struct event *ev)
{
    for (uint32_t i = 0; i < w->tests_len; i++)
        if (test_holds(w, &w->tests[i], ev) == w->tests[i].negated)
            return false;
    return true;
}

uint64_t where_needs(const struct where *w)
{
    uint64_t needs = 0;
    for (uint32_t i = 0; i < w->tests_len; i++)
        needs |= UINT64_C(1) << (w->tests[i].field == CMDLINE ? F_ARGS : w->tests[i].field);
    return needs;
}

/* --- making one ------------------------------------------------------------------------ */

/* The value of a key is: a plain value; a list of them; or what mw.prefix and the like return,
 * { op = "prefix", negated = bool, [1] = value, ... }. */
struct counts {
    uint32_t tests, values;
    size_t bytes;
};

static int named_field(lua_State *L, const char *name)
{
    if (!strcmp(name, "cmdline"))
        return CMDLINE;
    int field = event_field_named(name);
    if (field < 0)
        luaL_error(L, "where: no field is named '%s'; `moonwatch fields` lists them", name);
    if (field == F_TYPE)
        luaL_error(L, "where: the type of event is the key in `on`, as in on = { exec = ... }");
    if (event_fields[field].type == TYPE_ARGS)
        luaL_error(L, "where: test 'cmdline' instead of '%s'", name);
    if (event_fields[field].type == TYPE_TIME || event_fields[field].type == TYPE_SPAN)
        luaL_error(L, "where: '%s' is a time, which equals nothing; test it in the handler", name);
    return field;
}

static bool takes_text(int field)
{
    return field == CMDLINE || event_is_text((enum event_field)field);
}

/* Is the value on top of the stack right for the field?  [-0, +0, e] */
static void check_value(lua_State *L, int field, const char *name, enum where_op op)
{
    int type = lua_type(L, -1);
    bool number = !takes_text(field);
    if (number && op != WHERE_IS)
        luaL_error(L, "where: '%s' is a number: it has no prefix, suffix or part", name);
    if (number && event_fields[field].type == TYPE_BOOL && type == LUA_TBOOLEAN)
        return;
    if (number && type != LUA_TNUMBER)
        luaL_error(L, "where: '%s' is a number, but the value is a %s", name, luaL_typename(L, -1));
    lua_Number value = number ? lua_tonumber(L, -1) : 0;
    if (!(value >= -WHOLE_MAX && value <= WHOLE_MAX) || (lua_Number)(int64_t)value != value)
        luaL_error(L, "where: '%s' is a whole number, which %f is not", name, value);
    if (!number && type != LUA_TSTRING)
        luaL_error(L, "where: '%s' is a string, but the value is a %s", name, luaL_typename(L, -1));
}

/* A field of the table at `list` as it is: a metamethod could change what is being read.
 * [-0, +1, m] */
static void raw_field(lua_State *L, int list, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, list);
}

/* [-0, +0, e] */
static enum where_op op_of(lua_State *L, int list, const char *name, bool *negated)
{
    static const char *const ops[] = { "is", "prefix", "suffix", "contains" };
    raw_field(L, list, "negated");
    *negated = lua_toboolean(L, -1);
    raw_field(L, list, "op");
    const char *op = lua_isnil(L, -1)                 ? "is"
                     : lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                      : "";
    int found = WHERE_IS;
    while (found <= WHERE_CONTAINS && strcmp(op, ops[found]) != 0)
        found++;
    if (found > WHERE_CONTAINS)
        luaL_error(L, "where: '%s': the op is one of is, prefix, suffix, contains", name);
    lua_pop(L, 2);
    return (enum where_op)found;
}

/* Count what the table at 1 needs, and refuse what is wrong with it.  [-0, +0, e] */
static struct counts count(lua_State *L)
{
    struct counts n = { 0 };
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "where: takes field = value pairs, as in mw.where { comm = \"sh\" }");
        const char *name = lua_tostring(L, -2);
        int field = named_field(L, name);
        n.tests++;
        if (!lua_istable(L, -1)) {
            check_value(L, field, name, WHERE_IS);
            n.values++;
            n.bytes += takes_text(field) ? lua_objlen(L, -1) : 0;
            continue;
        }
        bool negated;
        enum where_op op = op_of(L, lua_gettop(L), name, &negated);
        if (lua_objlen(L, -1) == 0)
            luaL_error(L, "where: the list for '%s' is empty: it would match nothing", name);
        for (size_t i = 1; i <= lua_objlen(L, -1); i++) {
            lua_rawgeti(L, -1, (int)i);
            check_value(L, field, name, op);
            n.values++;
            n.bytes += takes_text(field) ? lua_objlen(L, -1) : 0;
            lua_pop(L, 1);
        }
    }
    return n;
}

struct filling {
    struct where *w;
    uint32_t tests, values;
    size_t at, end;
};

/* Finalizers run whenever memory is taken, and one may have grown a table since it was counted. */
static void check_room(lua_State *L, bool room)
{
    if (!room)
        luaL_error(L, "where: the table changed while it was read");
}

/* Store the value on top of the stack.  [-0, +0, e] */
static void store_value(lua_State *L, struct filling *f, const struct test *t, const char *name)
{
    check_value(L, t->field, name, (enum where_op)t->op);
    check_room(L, f->values < f->w->values_len);
    struct value *v = (struct value *)(f->w->tests + f->w->tests_len) + f->values++;
    if (!t->text) {
        v->num = lua_isboolean(L, -1) ? lua_toboolean(L, -1) : (int64_t)lua_tonumber(L, -1);
        return;
    }
    size_t len;
    const char *bytes = lua_tolstring(L, -1, &len);
    check_room(L, len <= f->end - f->at);
    memcpy((char *)f->w + f->at, bytes, len);
    v->off = (uint32_t)f->at;
    v->len = (uint32_t)len;
    f->at += len;
}

/* Store the pair of key and value on top of the stack.  [-0, +0, e] */
static void store_test(lua_State *L, struct filling *f)
{
    check_room(L, f->tests < f->w->tests_len && lua_type(L, -2) == LUA_TSTRING);
    const char *name = lua_tostring(L, -2);
    int field = named_field(L, name);
    struct test *t = &f->w->tests[f->tests++];
    *t = (struct test){ .field = (uint16_t)field, .text = takes_text(field), .first = f->values };
    if (!lua_istable(L, -1)) {
        store_value(L, f, t, name);
        if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) { /* false: it does not hold */
            ((struct value *)(f->w->tests + f->w->tests_len))[t->first].num = 1;
            t->negated = true;
        }
    } else {
        bool negated;
        t->op = (uint8_t)op_of(L, lua_gettop(L), name, &negated);
        t->negated = negated;
        for (size_t i = 1; i <= lua_objlen(L, -1); i++) {
            lua_rawgeti(L, -1, (int)i);
            store_value(L, f, t, name);
            lua_pop(L, 1);
        }
    }
    t->count = f->values - t->first;
}

int where_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct counts n = count(L);
    size_t fixed =
        sizeof(struct where) + n.tests * sizeof(struct test) + n.values * sizeof(struct value);
    struct where *w = lua_newuserdata(L, fixed + n.bytes);
    memset(w, 0, fixed);
    w->tests_len = n.tests;
    w->values_len = n.values;
    luaL_getmetatable(L, METATABLE);
    lua_setmetatable(L, 2);

    struct filling f = { .w = w, .at = fixed, .end = fixed + n.bytes };
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1))
        store_test(L, &f);
    return 1;
}

/* where(handler) -> { where = where, handler = handler } */
static int where_call(lua_State *L)
{
    luaL_checkudata(L, 1, METATABLE);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_setfield(L, 3, "where");
    lua_pushvalue(L, 2);
    lua_setfield(L, 3, "handler");
    return 1;
}

void where_open(lua_State *L)
{
    luaL_newmetatable(L, METATABLE);
    lua_pushcfunction(L, where_call);
    lua_setfield(L, -2, "__call");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

const struct where *where_at(lua_State *L, int index)
{
    const void *w = lua_touserdata(L, index);
    if (!w || lua_islightuserdata(L, index) || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, METATABLE);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? w : NULL;
}
