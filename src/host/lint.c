/* lint.c - what is wrong with scripts, as far as their texts tell. See lint.h. */
#include "host/lint.h"

#include "collect/answers.h"
#include "host/library.h"
#include "host/sandbox.h"
#include "host/state.h"

#include <errno.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

struct lint {
    lua_State *L; /* owned; at 1 the function, at 2 the facts */
};

#define FUNCTION 1
#define FACTS    2

/* --- facts -------------------------------------------------------------------------------- */

static void set_true(lua_State *L, const char *key)
{
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, key);
}

/* { exec = true, ... }; what all process events have is no set.  [-0, +(0|1), m] */
static bool push_kinds(lua_State *L, uint32_t kinds)
{
    if (kinds == ON_ALL || kinds == ON_PROCESS)
        return false;
    lua_newtable(L);
    for (int kind = EVENT_FORK; kind < EVENT_KINDS; kind++)
        if (kinds >> kind & 1)
            set_true(L, event_kind_name((enum event_kind)kind));
    return true;
}

/* [-0, +0, m] */
static void add_field(lua_State *L, const struct event_field_info *info, bool state)
{
    lua_newtable(L);
    if (info->kinds && push_kinds(L, info->kinds))
        lua_setfield(L, -2, "kinds");
    lua_pushboolean(L, state);
    lua_setfield(L, -2, "state");
    lua_pushboolean(L, info->type == TYPE_TEXT || info->type == TYPE_KIND);
    lua_setfield(L, -2, "text");
    lua_setfield(L, -2, info->name);
}

static void set_fields(lua_State *L)
{
    lua_newtable(L);
    for (int f = 0; f < EVENT_FIELDS; f++)
        add_field(L, &event_fields[f], f >= EVENT_FIRST_STATE && f <= EVENT_LAST_STATE);
    for (int d = 0; d < EVENT_DERIVED; d++)
        add_field(L, &event_derived[d], true);
    lua_setfield(L, FACTS, "fields");
}

/* [-0, +0, m] */
static void add_topic(lua_State *L, const struct topic_info *topic)
{
    lua_newtable(L);
    lua_pushboolean(L, topic->rows);
    lua_setfield(L, -2, "rows");
    lua_newtable(L);
    for (int c = 0; c < topic->columns_len; c++)
        set_true(L, topic->columns[c].name);
    lua_setfield(L, -2, "columns");
    lua_setfield(L, -2, topic->name);
}

static void set_events(lua_State *L)
{
    lua_newtable(L);
    for (int kind = EVENT_FORK; kind < EVENT_KINDS; kind++)
        set_true(L, event_kind_name((enum event_kind)kind));
    set_true(L, "any");
    lua_setfield(L, FACTS, "kinds");
    lua_newtable(L);
    for (int t = 0; t < TOPICS; t++)
        add_topic(L, &topics[t]);
    lua_setfield(L, FACTS, "topics");
}

/* --- what the library has ------------------------------------------------------------------ */

/* Has the table on top of the stack keys? An object may answer to more than it has: it has none.
 * [-0, +0, -] */
static bool has_names(lua_State *L)
{
    lua_pushnil(L);
    if (!lua_next(L, -2))
        return false;
    lua_pop(L, 2);
    return true;
}

/* Copy the names of the table at `index` of a host's state, and of the tables in it, to the top
 * of ours.  [-0, +0, m] of both */
static void copy_names(lua_State *from, int index, lua_State *to, int deeper)
{
    luaL_checkstack(from, 4, "names");
    lua_pushvalue(from, index);
    for (lua_pushnil(from); lua_next(from, -2); lua_pop(from, 1)) {
        const char *key = lua_type(from, -2) == LUA_TSTRING ? lua_tostring(from, -2) : "_";
        if (*key == '_')
            continue;
        if (lua_istable(from, -1) && deeper && has_names(from)) {
            lua_newtable(to);
            copy_names(from, -1, to, deeper - 1);
        } else {
            lua_pushboolean(to, 1);
        }
        lua_setfield(to, -2, key);
    }
    lua_pop(from, 1);
}

static void set_names(lua_State *L, lua_State *from, const char *fact)
{
    lua_newtable(L);
    copy_names(from, -1, L, 1);
    lua_setfield(L, FACTS, fact);
}

static void set_library(lua_State *L, struct host *h)
{
    lua_State *from = h->L;
    lua_getfield(from, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(from, -1, "moonwatch");
    set_names(L, from, "mw");
    lua_pop(from, 2);
    api_event_push_methods(from);
    set_names(L, from, "methods");
    lua_pop(from, 1);
    api_event_push_aliases(from);
    set_names(L, from, "aliases");
    lua_pop(from, 1);
    lua_getfield(L, FACTS, "aliases");
    set_true(L, "all");
    lua_pop(L, 1);
}

/* What a script of this profile sees. */
static void set_globals(lua_State *L, struct host *h)
{
    int env = sandbox_env(h, "@lint.lua");
    if (env == LUA_NOREF)
        luaL_error(L, "there is no environment for scripts");
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, env);
    set_names(L, h->L, "globals");
    lua_pop(h->L, 1);
    lua_getfield(L, FACTS, "globals");
    set_true(L, "_G");
    set_true(L, "_VERSION");
    lua_pop(L, 1);
}

/* --- opening ------------------------------------------------------------------------------- */

/* (host, trusted), called protected; what it leaves is the state's. */
static int open_lint(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    bool trusted = lua_toboolean(L, 2);
    lua_settop(L, 0);
    host_require(L, "moonwatch.lint");
    lua_newtable(L);
    lua_pushboolean(L, trusted);
    lua_setfield(L, FACTS, "trusted");
    lua_newtable(L);
    lua_setfield(L, FACTS, "set");
    set_fields(L);
    set_events(L);
    set_library(L, h);
    set_globals(L, h);
    return 2;
}

int lint_new(struct lint **out, bool trusted)
{
    struct host_options options = { .table_bytes = 1 << 16, .fd = -1, .output_lock = -1 };
    struct host *h = NULL;
    struct lint *l = calloc(1, sizeof *l);
    int result = l && host_new(&h, &options) == 0 && (l->L = luaL_newstate()) ? 0 : -ENOMEM;
    if (result == 0) {
        luaL_openlibs(l->L);
        library_open(l->L);
        lua_pushcfunction(l->L, open_lint);
        lua_pushlightuserdata(l->L, h);
        lua_pushboolean(l->L, trusted);
        result = lua_pcall(l->L, 2, 2, 0) ? -ENOMEM : 0;
    }
    host_free(h);
    if (result < 0) {
        lint_free(l);
        return result;
    }
    *out = l;
    return 0;
}

void lint_free(struct lint *l)
{
    if (l && l->L)
        lua_close(l->L);
    free(l);
}

/* --- looking ------------------------------------------------------------------------------- */

static int int_of(lua_State *L, const char *key)
{
    lua_getfield(L, -1, key);
    int value = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

/* Borrowed from the finding on top of the stack.  [-0, +0, m] */
static const char *text_of(lua_State *L, const char *key)
{
    lua_getfield(L, -1, key);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1);
    return text ? text : "";
}

static enum lint_level level_of(const char *word)
{
    return !strcmp(word, "error") ? LINT_ERROR : !strcmp(word, "hint") ? LINT_HINT : LINT_WARNING;
}

/* The list of findings on top of the stack.  [-0, +0, m] */
static void tell(lua_State *L, lint_found *found, void *ctx)
{
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        lua_rawgeti(L, -1, i);
        struct lint_finding finding = { .line = int_of(L, "line"),
                                        .column = int_of(L, "col"),
                                        .level = level_of(text_of(L, "level")),
                                        .code = text_of(L, "code"),
                                        .text = text_of(L, "text") };
        found(ctx, &finding);
        lua_pop(L, 1);
    }
}

int lint_text(struct lint *l, const char *name, const char *text, size_t len, lint_found *found,
              void *ctx)
{
    lua_State *L = l->L;
    lua_settop(L, FACTS);
    lua_pushvalue(L, FUNCTION);
    lua_pushstring(L, name);
    lua_pushlstring(L, text, len);
    lua_pushvalue(L, FACTS);
    if (lua_pcall(L, 3, 1, 0)) {
        struct lint_finding broken = { 1, 1, LINT_ERROR, "lint", lua_tostring(L, -1) };
        if (found)
            found(ctx, &broken);
        lua_settop(L, FACTS);
        return 0;
    }
    if (found)
        tell(L, found, ctx);
    lua_settop(L, FACTS);
    return 0;
}
