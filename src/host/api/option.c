/* option.c - mw.option(name, default): what the operator set for this script on the command line.
 *
 * The type of the default says what the text means; a text that means nothing of this type ends the
 * loading of the script. A script is known by its file's name, since that is what the operator
 * sees before anything runs. */
#include "host/state.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Is it for this script? */
static bool is_for(const struct host_setting *s, const struct policy *policy)
{
    char stem[sizeof policy->name];
    const char *chunk = source_first(policy->sources);
    source_stem(chunk ? chunk : policy->name, stem, sizeof stem);
    return !strcmp(s->script, stem);
}

/* The last one counts, as ever on a command line. */
static const struct host_setting *find(const struct host *h, const struct policy *policy,
                                       const char *name)
{
    const struct host_settings *settings = h->options.settings;
    for (int i = settings ? settings->len - 1 : -1; i >= 0; i--) {
        const struct host_setting *s = &settings->all[i];
        if (!strcmp(s->name, name) && is_for(s, policy))
            return s;
    }
    return NULL;
}

/* --- values ------------------------------------------------------------------------------- */

static bool push_number(lua_State *L, const char *text)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || number != number)
        return false;
    lua_pushnumber(L, number);
    return true;
}

static bool push_boolean(lua_State *L, const char *text)
{
    static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(text, words[i])) {
            lua_pushboolean(L, i & 1);
            return true;
        }
    return false;
}

/* The text between commas, without the blanks around it: { "a", "b" } for "a, b".  [-0, +1, m] */
static void push_list(lua_State *L, const char *text)
{
    lua_newtable(L);
    for (int n = 0; *text;) {
        size_t wide = strcspn(text, ","), from = strspn(text, " "), len = wide;
        while (len > from && text[len - 1] == ' ')
            len--;
        if (len > from) {
            lua_pushlstring(L, text + from, len - from);
            lua_rawseti(L, -2, ++n);
        }
        text += wide + (text[wide] == ',');
    }
}

/* [-0, +1, e] */
static void push_value(lua_State *L, const struct host_setting *s, int type)
{
    bool right = true;
    switch (type) {
    case LUA_TNUMBER:
        right = push_number(L, s->value);
        break;
    case LUA_TBOOLEAN:
        right = push_boolean(L, s->value);
        break;
    case LUA_TTABLE:
        push_list(L, s->value);
        break;
    default:
        lua_pushstring(L, s->value);
    }
    if (!right)
        luaL_error(L, "--set %s.%s=%s: it takes a %s", s->script, s->name, s->value,
                   type == LUA_TNUMBER ? "number" : "boolean (yes or no)");
}

/* --- the function ------------------------------------------------------------------------- */

static bool is_known(const struct host_option *list, const char *name)
{
    while (list && strcmp(list->name, name))
        list = list->next;
    return list;
}

/* What was asked for, to be told when something else was set.  [-0, +0, e] */
static void note(lua_State *L, struct policy *policy, const char *name)
{
    if (is_known(policy->asked, name))
        return;
    size_t len = strlen(name) + 1;
    struct host_option *option = malloc(sizeof *option + len);
    if (!option)
        luaL_error(L, "not enough memory");
    memcpy(option->name, name, len);
    option->next = policy->asked;
    policy->asked = option;
}

/* mw.option(name, default) -> the operator's value, of the default's type; else the default */
int api_option(lua_State *L)
{
    struct host *h = host_of(L);
    const char *name = luaL_checkstring(L, 1);
    if (!h->current)
        return luaL_error(L, "mw.option: no script is running");
    lua_settop(L, 2);
    int type = lua_type(L, 2);
    if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN &&
        type != LUA_TTABLE)
        return luaL_error(L, "mw.option: a default is a string, a number, a boolean or a list, not a %s",
                          luaL_typename(L, 2));
    note(L, h->current, name);
    const struct host_setting *s = find(h, h->current, name);
    if (s)
        push_value(L, s, type);
    return 1;
}

/* --- what is of no use --------------------------------------------------------------------- */

/* "--set web.maxx: the script has no such option; it has max, min" */
static void describe(struct buf *to, const struct host_setting *s, const struct policy *policy)
{
    bool first = true;
    buf_printf(to, "--set %s.%s: the script has no such option; it has ", s->script, s->name);
    for (const struct host_option *o = policy->asked; o; o = o->next, first = false) {
        buf_puts(to, first ? "" : ", ");
        buf_harmless(to, o->name, strlen(o->name));
    }
    buf_puts(to, first ? "none" : "");
}

int api_option_check(struct host *h, const struct policy *policy)
{
    const struct host_settings *settings = h->options.settings;
    bool wrong = false;
    for (int i = 0; settings && i < settings->len && !wrong; i++) {
        const struct host_setting *s = &settings->all[i];
        if (!is_for(s, policy) || is_known(policy->asked, s->name))
            continue;
        struct buf text = { 0 };
        describe(&text, s, policy);
        wrong = settings->strict && policy->generation == 1;
        if (wrong)
            host_set_error(h, buf_str(&text));
        else
            log_warn("%s", buf_str(&text));
        buf_free(&text);
    }
    return wrong ? -EINVAL : 0;
}

void api_option_free(struct policy *policy)
{
    while (policy->asked) {
        struct host_option *option = policy->asked;
        policy->asked = option->next;
        free(option);
    }
}
