/* secrets.c - reads from a Lua file what is a secret. See secrets.h. */
#include "host/secrets.h"

#include "host/library.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MOST (100 * 1000 * 1000)

/* Rules, and behind them everything that they point to. */
struct loaded {
    struct redact_rules rules; /* first: it is what the caller has */
    lua_State *L;              /* owned: the texts are its */
    void **blocks;             /* owned */
    int blocks_len;
};

static void *block(struct loaded *all, lua_State *L, size_t n, size_t size)
{
    void **more = realloc(all->blocks, (size_t)(all->blocks_len + 1) * sizeof *more);
    if (more)
        all->blocks = more;
    void *made = more ? calloc(n + 1, size) : NULL;
    if (!made)
        luaL_error(L, "not enough memory");
    all->blocks[all->blocks_len++] = made;
    return made;
}

/* The text at the top, which stays in the state.  [-1, +0, e] */
static const char *take_text(lua_State *L, const char *where, int i, size_t *len)
{
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s[%d] is a %s: a rule is a regular expression, or { EXPRESSION, has = { LITERAL, ... } }",
                   where, i, luaL_typename(L, -1));
    const char *text = lua_tolstring(L, -1, len);
    luaL_ref(L, LUA_REGISTRYINDEX);
    return text;
}

/* `has` of the rule at the top.  [-0, +0, e] */
static void take_literals(struct loaded *all, lua_State *L, const char *where, int i, struct redact_rule *rule)
{
    lua_getfield(L, -1, "has");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        luaL_error(L, "%s[%d]: `has` is a list of texts, not a %s", where, i, luaL_typename(L, -1));
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    struct redact_literal *has = block(all, L, (size_t)n, sizeof *has);
    for (int k = 1; k <= n; k++) {
        lua_rawgeti(L, -1, k);
        has[k - 1].bytes = take_text(L, where, i, &has[k - 1].len);
    }
    rule->has = has;
    rule->has_len = (size_t)n;
    lua_pop(L, 1);
}

/* The list at the top.  [-1, +0, e] */
static void take_list(struct loaded *all, lua_State *L, const char *where, struct redact_list *to)
{
    if (!lua_isnil(L, -1) && !lua_istable(L, -1))
        luaL_error(L, "`%s` is a list of rules, not a %s", where, luaL_typename(L, -1));
    int n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0;
    struct redact_rule *rules = block(all, L, (size_t)n, sizeof *rules);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (lua_istable(L, -1)) {
            take_literals(all, L, where, i, &rules[i - 1]);
            lua_rawgeti(L, -1, 1);
            rules[i - 1].regex = take_text(L, where, i, &rules[i - 1].regex_len);
            lua_pop(L, 1);
        } else {
            rules[i - 1].regex = take_text(L, where, i, &rules[i - 1].regex_len);
        }
    }
    *to = (struct redact_list){ rules, (size_t)n };
    lua_pop(L, 1);
}

static void take_all(struct loaded *all, lua_State *L)
{
    static const char *const keys[] = { "args", "environ" };
    if (!lua_istable(L, -1))
        luaL_error(L, "it returns a %s, and not { args = { ... }, environ = { names = { ... }, values = { ... } } }",
                   luaL_typename(L, -1));
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(key, keys[0]) && strcmp(key, keys[1]))
            luaL_error(L, "there is no '%s': a file of secrets has args and environ", key);
    }
    lua_getfield(L, -1, "args");
    take_list(all, L, "args", &all->rules.args);
    lua_getfield(L, -1, "environ");
    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        luaL_error(L, "`environ` is { names = { ... }, values = { ... } }, not a %s", luaL_typename(L, -1));
    lua_getfield(L, -1, "names");
    take_list(all, L, "environ.names", &all->rules.names);
    lua_getfield(L, -1, "values");
    take_list(all, L, "environ.values", &all->rules.values);
}

static void too_long(lua_State *L, lua_Debug *at)
{
    (void)at;
    luaL_error(L, "it does not come to an end");
}

struct loading {
    struct loaded *all;
    const char *file;
};

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* Called protected. */
static int load(lua_State *L)
{
    struct loading *loading = lua_touserdata(L, 1);
    open_library(L, "", luaopen_base);
    open_library(L, LUA_LOADLIBNAME, luaopen_package);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    library_open(L);
    lua_sethook(L, too_long, LUA_MASKCOUNT, STEPS_MOST);
    if (!loading->file) {
        lua_getglobal(L, "require");
        lua_pushliteral(L, "moonwatch.redact");
    } else if (luaL_loadfilex(L, loading->file, "t")) {
        return lua_error(L);
    }
    lua_call(L, loading->file ? 0 : 1, 1);
    take_all(loading->all, L);
    return 0;
}

/* Is each of them an expression? */
static int try_rules(const struct redact_rules *rules, const char *file, char *why, size_t cap)
{
    char what[512];
    struct redact *redact = NULL;
    int result = redact_new(&redact, rules, what, sizeof what);
    redact_free(redact);
    if (result < 0)
        snprintf(why, cap, "%s: %s", file ? file : "the usual secrets", result == -EINVAL ? what : strerror(-result));
    return result;
}

int secrets_load(struct redact_rules **out, const char *file, char *why, size_t cap)
{
    struct loaded *all = calloc(1, sizeof *all);
    struct loading loading = { all, file };
    if (!all || !(all->L = luaL_newstate())) {
        free(all);
        snprintf(why, cap, "not enough memory for the rules of secrets");
        return -ENOMEM;
    }
    int result = 0;
    if (lua_cpcall(all->L, load, &loading)) {
        const char *text = lua_tostring(all->L, -1);
        bool named = file && text && strstr(text, file);
        snprintf(why, cap, "%s%s%s", named ? "" : file ? file : "the usual secrets", named ? "" : ": ",
                 text ? text : "it throws what is no text");
        result = -EINVAL;
    }
    if (result == 0)
        result = try_rules(&all->rules, file, why, cap);
    if (result < 0)
        secrets_free(&all->rules);
    else
        *out = &all->rules;
    return result;
}

void secrets_free(struct redact_rules *rules)
{
    struct loaded *all = (struct loaded *)rules;
    if (!all)
        return;
    while (all->blocks_len)
        free(all->blocks[--all->blocks_len]);
    free(all->blocks);
    lua_close(all->L);
    free(all);
}
