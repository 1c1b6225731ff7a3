/* redact_rules.h - the rules of lua/moonwatch/redact.lua, for tests that run where the repository
 * is. */
#ifndef REDACT_RULES_H
#define REDACT_RULES_H

#include "record/redact.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static lua_State *rules_state; /* has the texts */
static struct redact_rule rules[3][REDACT_RULES];
static struct redact_literal rules_literals[2048];
static size_t rules_literals_len;

static inline struct redact_literal rules_text(int index)
{
    struct redact_literal text = { 0 };
    text.bytes = lua_tolstring(rules_state, index, &text.len);
    return text;
}

/* The rule on top of the stack. */
static inline struct redact_rule rules_take(void)
{
    lua_State *L = rules_state;
    lua_rawgeti(L, -1, 1);
    struct redact_literal regex = rules_text(-1);
    lua_getfield(L, -2, "has");
    struct redact_rule rule = { regex.bytes, regex.len, rules_literals + rules_literals_len,
                                lua_objlen(L, -1) };
    for (size_t k = 0; k < rule.has_len; k++) {
        lua_rawgeti(L, -1, (int)k + 1);
        rules_literals[rules_literals_len++] = rules_text(-1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return rule;
}

/* The list on top of the stack, which goes. */
static inline struct redact_list rules_list(struct redact_rule *to)
{
    struct redact_list list = { to, lua_objlen(rules_state, -1) };
    for (size_t i = 0; i < list.len; i++) {
        lua_rawgeti(rules_state, -1, (int)i + 1);
        to[i] = rules_take();
        lua_pop(rules_state, 1);
    }
    lua_pop(rules_state, 1);
    return list;
}

/* NULL, and it was said why not. */
static inline struct redact *rules_load(void)
{
    struct redact *r = NULL;
    struct redact_rules all;
    char why[512] = "no memory";
    lua_State *L = rules_state = luaL_newstate();
    luaL_openlibs(L);
    if (luaL_dofile(L, "lua/moonwatch/redact.lua")) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        return NULL;
    }
    lua_getfield(L, -1, "args");
    all.args = rules_list(rules[0]);
    lua_getfield(L, -1, "environ");
    lua_getfield(L, -1, "names");
    all.names = rules_list(rules[1]);
    lua_getfield(L, -1, "values");
    all.values = rules_list(rules[2]);
    if (redact_new(&r, &all, why, sizeof why))
        fprintf(stderr, "%s\n", why);
    return r;
}

static inline void rules_free(void)
{
    lua_close(rules_state);
}

#endif
