/* witness.c - what a recording keeps of an alert: who told it, where, and with what values.
 *
 * One JSON object:
 *   {"script":"web","severity":"high","text":"...","key":"...","tags":["attack.t1505"],"held":0,
 *    "seq":17,"pid":9,"starttime":90,"handler":"exec","line":12,"values":{"server":"nginx (7)"}}
 * `values` are the local variables of the function that called mw.alert, as far as they say something in
 * a few words. */
#include "host/state.h"

#include "event/json.h"

#include <stdio.h>
#include <string.h>

#define VALUES_MOST 32
#define TEXT_MOST   256

static void add_key(struct buf *out, const char *key)
{
    if (out->data[out->len - 1] != '{')
        buf_putc(out, ',');
    json_string(out, key, strlen(key));
    buf_putc(out, ':');
}

static void add_text(struct buf *out, const char *key, const char *text, size_t len)
{
    add_key(out, key);
    json_string(out, text, len);
}

static void add_int(struct buf *out, const char *key, int64_t value)
{
    add_key(out, key);
    json_int(out, value);
}

/* "nginx (7)" for a process or an event; else how many entries it has.  [-0, +0, m] */
static void describe_table(lua_State *L, int index, struct buf *out)
{
    char text[TEXT_MOST];
    if (lua_getmetatable(L, index)) { /* its fields may be functions of ours only */
        lua_pop(L, 1);
        lua_pushliteral(L, "pid");
        lua_rawget(L, index);
        lua_pushliteral(L, "comm");
        lua_rawget(L, index);
        int len = lua_isnumber(L, -2) ? snprintf(text, sizeof text, "%s (%.0f)",
                                                 lua_isstring(L, -1) ? lua_tostring(L, -1) : "?",
                                                 lua_tonumber(L, -2))
                                      : snprintf(text, sizeof text, "an object");
        json_string(out, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
        lua_pop(L, 2);
        return;
    }
    snprintf(text, sizeof text, "a table of %d", (int)lua_objlen(L, index));
    json_string(out, text, strlen(text));
}

/* The value on top; false: it says nothing.  [-0, +0, m] */
static bool add_value(lua_State *L, const char *name, struct buf *out)
{
    size_t len;
    const char *text;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        add_key(out, name);
        buf_puts(out, lua_toboolean(L, -1) ? "true" : "false");
        return true;
    case LUA_TNUMBER:
        add_key(out, name);
        json_number(out, lua_tonumber(L, -1));
        return true;
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        add_text(out, name, text, len < TEXT_MOST ? len : TEXT_MOST);
        return true;
    case LUA_TTABLE:
        add_key(out, name);
        describe_table(L, lua_gettop(L), out);
        return true;
    default:
        return false;
    }
}

/* [-0, +0, m] */
static void add_values(lua_State *L, lua_Debug *at, struct buf *out)
{
    const char *name;
    int n = 0;
    add_key(out, "values");
    buf_putc(out, '{');
    for (int i = 1; n < VALUES_MOST && (name = lua_getlocal(L, at, i)); i++) {
        n += *name != '(' && add_value(L, name, out);
        lua_pop(L, 1);
    }
    buf_putc(out, '}');
}

/* The script's own function that called mw.alert.  [-0, +0, -] */
static bool find_caller(lua_State *L, const struct policy *policy, lua_Debug *at)
{
    for (int level = 1; level < 8 && lua_getstack(L, level, at); level++)
        if (lua_getinfo(L, "Sl", at) && at->currentline > 0 && source_has(policy->sources, at->source))
            return true;
    return false;
}

void api_witness(lua_State *L, const struct host_alert *told, struct buf *out)
{
    const struct json_alert *alert = told->alert;
    struct host *h = host_of(L);
    lua_Debug at;
    buf_putc(out, '{');
    add_text(out, "script", alert->script, strlen(alert->script));
    add_text(out, "severity", alert->severity, strlen(alert->severity));
    if (alert->text)
        add_text(out, "text", alert->text, alert->text_len);
    if (alert->key)
        add_text(out, "key", alert->key, alert->key_len);
    add_key(out, "tags");
    for (int i = 0; i < alert->tags_len; i++) {
        buf_putc(out, i ? ',' : '[');
        json_string(out, alert->tags[i], strlen(alert->tags[i]));
    }
    buf_puts(out, alert->tags_len ? "]" : "[]");
    add_int(out, "held", alert->held);
    add_int(out, "seq", (int64_t)told->seq);
    if (told->pid >= 0)
        add_int(out, "pid", told->pid);
    if (told->starttime >= 0)
        add_int(out, "starttime", told->starttime);
    const char *handler = h->event ? event_kind_name(event_kind(h->event)) : "timer";
    add_text(out, "handler", handler, strlen(handler));
    if (find_caller(L, h->current, &at)) {
        add_int(out, "line", at.currentline);
        add_values(L, &at, out);
    }
    buf_putc(out, '}');
}
