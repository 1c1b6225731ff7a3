/* sandbox.c - what a script may reach of Lua. See sandbox.h.
 *
 * The functions here stand in for those of LuaJIT that leak addresses (tostring, format), can be
 * made to run for hours (patterns) or to overflow the C stack (gsub, coroutines), or reach tables
 * that all scripts share (getmetatable, setmetatable). They replace them in the state itself, so
 * that our own modules use no others, and no road leads back to the old ones. */
#include "host/sandbox.h"

#include "base/log.h"
#include "host/confine.h"
#include "host/needs.h"
#include "host/pattern.h"
#include "host/source.h"
#include "host/state.h"

#include <errno.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define STACK_MOST (4u << 20) /* its frames are larger */
#else
#define STACK_MOST (512u << 10)
#endif

#define REPEAT_MOST (4u << 20) /* bytes that string.rep makes */

void sandbox_mark_stack(struct host *h)
{
    h->stack = __builtin_frame_address(0);
}

void sandbox_check_stack(lua_State *L)
{
    const char *from = host_of(L)->stack, *here = __builtin_frame_address(0);
    if (from && (from > here ? from - here : here - from) > (ptrdiff_t)STACK_MOST)
        luaL_error(L, "stack overflow (calls that C makes are nested too deeply)");
}

/* --- text ---------------------------------------------------------------------------------- */

/* tostring(value), without addresses */
static int safe_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__tostring")) {
        sandbox_check_stack(L);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "'tostring' must return a string");
        return 1;
    }
    switch (lua_type(L, 1)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
        lua_settop(L, 1);
        lua_tostring(L, 1);
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
        break;
    default:
        lua_pushstring(L, luaL_typename(L, 1));
        break;
    }
    return 1;
}

/* Does the format have a %p?  */
static bool wants_address(const char *format, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (format[i] != '%')
            continue;
        while (++i < len && strchr("-+ #0123456789.", format[i]) && format[i])
            ;
        if (i < len && format[i] == 'p')
            return true;
    }
    return false;
}

/* string.format: what is no text, number or truth value is written as by tostring.
 * Upvalue: the real one. */
static int safe_format(lua_State *L)
{
    size_t len;
    const char *format = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, !wants_address(format, len), 1, "scripts see no addresses");
    for (int i = 2, n = lua_gettop(L); i <= n; i++) {
        int type = lua_type(L, i);
        if (type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER || type == LUA_TSTRING)
            continue;
        lua_pushcfunction(L, safe_tostring);
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        lua_replace(L, i);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* string.rep. Upvalue: the real one. */
static int safe_rep(lua_State *L)
{
    size_t len, separator_len = 0;
    luaL_checklstring(L, 1, &len);
    lua_Number times = luaL_checknumber(L, 2);
    luaL_optlstring(L, 3, "", &separator_len);
    if (times * (lua_Number)(len + separator_len) > REPEAT_MOST)
        return luaL_error(L, "the result of string.rep is larger than %d bytes", (int)REPEAT_MOST);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* table.insert: LuaJIT's walks from the end of the table to any position, 2^31 places below 1 too.
 * Upvalue: the real one. */
static int safe_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int len = (int)lua_objlen(L, 1);
    if (lua_gettop(L) == 2) {
        lua_rawseti(L, 1, len + 1);
        return 0;
    }
    lua_Number at = luaL_checknumber(L, 2);
    luaL_argcheck(L, at >= 1 && at <= len + 1.0, 2, "position out of bounds");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

/* --- metatables ------------------------------------------------------------------------------ */

/* Upvalue of both: { [metatable] = true }, those that scripts set. Another one is ours, and all
 * scripts share it. */

/* Is the table on top of the stack such a metatable?  [-0, +0, -] */
static bool is_scripts_own(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_rawget(L, lua_upvalueindex(1));
    bool is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

/* getmetatable(value): what a script has set; false when it is another's */
static int safe_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    if (!lua_istable(L, 1) || !is_scripts_own(L)) {
        lua_pushboolean(L, 0);
        return 1;
    }
    lua_pushliteral(L, "__metatable");
    lua_rawget(L, -2);
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    return 1;
}

/* setmetatable(table, metatable or nil) */
static int safe_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argcheck(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2, "nil or table expected");
    lua_settop(L, 2);
    if (lua_getmetatable(L, 1)) {
        bool own = is_scripts_own(L);
        if (luaL_getmetafield(L, 1, "__metatable") || !own)
            return luaL_error(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        lua_rawget(L, 2);
        luaL_argcheck(L, lua_isnil(L, -1), 2, "scripts have no __gc");
        lua_pushvalue(L, 2);
        lua_pushboolean(L, 1);
        lua_rawset(L, lua_upvalueindex(1));
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* --- coroutines ------------------------------------------------------------------------------- */

/* Each resume takes a piece of the C stack, and each coroutine has a Lua stack of its own: nothing
 * in LuaJIT bounds how deeply they nest. These do. */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argcheck(L, co, 1, "coroutine expected");
    return co;
}

static const char *status_of(lua_State *L, lua_State *co)
{
    lua_Debug at;
    if (L == co)
        return "running";
    if (lua_status(co) == LUA_YIELD)
        return "suspended";
    if (lua_status(co) != 0)
        return "dead";
    if (lua_getstack(co, 0, &at) > 0)
        return "normal";
    return lua_gettop(co) ? "suspended" : "dead";
}

/* Hand over the `args` on top of the stack and run it. Returns how many values it gave, or -1 with
 * the error on top.  [-args, +n or 1, e] */
static int resume(lua_State *L, lua_State *co, int args)
{
    const char *status = status_of(L, co);
    sandbox_check_stack(L);
    if (strcmp(status, "suspended")) {
        lua_pushfstring(L, "cannot resume %s coroutine", strcmp(status, "dead") ? "non-suspended" : status);
        return -1;
    }
    if (!lua_checkstack(co, args))
        luaL_error(L, "too many arguments to resume");
    lua_xmove(L, co, args);
    int result = lua_resume(co, args);
    if (result != 0 && result != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    int n = lua_gettop(co);
    if (!lua_checkstack(L, n + 1))
        luaL_error(L, "too many results to resume");
    lua_xmove(co, L, n);
    return n;
}

static int safe_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int safe_resume(lua_State *L)
{
    int n = resume(L, check_coroutine(L), lua_gettop(L) - 1);
    lua_pushboolean(L, n >= 0);
    n = n < 0 ? 1 : n;
    lua_insert(L, -(n + 1));
    return n + 1;
}

/* Upvalue: the coroutine */
static int wrapped(lua_State *L)
{
    int n = resume(L, lua_tothread(L, lua_upvalueindex(1)), lua_gettop(L));
    if (n >= 0)
        return n;
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int safe_wrap(lua_State *L)
{
    safe_create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int safe_status(lua_State *L)
{
    lua_pushstring(L, status_of(L, check_coroutine(L)));
    return 1;
}

/* --- modules ----------------------------------------------------------------------------------- */

/* _read("lib/util.lua", chunk name) -> the text of a file beside the script that runs; nil, reason */
static int read_module(lua_State *L)
{
    struct host *h = host_of(L);
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len), *chunk = luaL_checkstring(L, 2);
    struct buf *question = &h->scratch, *text = &h->answer;
    struct request_file head = { .script = h->current ? h->current->id : 0, .module = 1 };

    buf_clear(question);
    buf_clear(text);
    buf_add(question, (const char *)&head, sizeof head);
    buf_add(question, path, len);
    int result = question->failed ? -ENOMEM
                                  : host_request(h, REQUEST_FILE, question->data, question->len,
                                                 text, NULL);
    if (result >= 0 && text->len < sizeof(uint64_t)) /* the hash comes first */
        result = -EBADMSG;
    if (result < 0) {
        lua_pushnil(L);
        lua_pushstring(L, result == -ENOTCONN ? "nobody to ask for files" : strerror(-result));
        return 2;
    }
    const char *from = text->data + sizeof(uint64_t);
    size_t from_len = text->len - sizeof(uint64_t);
    host_need(h, needs_of_text(from, from_len));
    if (h->current)
        source_add(&h->current->sources, chunk, from, from_len); /* without it, an error shows no line */
    lua_pushlstring(L, from, from_len);
    return 1;
}

/* --- what it does not reach --------------------------------------------------------------------- */

static const char *const withheld[] = {
    "global 'io'",       "global 'ffi'",      "global 'jit'",     "global 'debug'",
    "global 'package'",  "global 'dofile'",   "global 'loadfile'", "global 'collectgarbage'",
    "global 'getfenv'",  "global 'setfenv'",  "global 'module'",  "global 'newproxy'",
    "field 'execute'",   "field 'exit'",      "field 'getenv'",   "field 'remove'",
    "field 'rename'",    "field 'tmpname'",   "field 'setlocale'", "field 'dump'",
};

const char *sandbox_hint(const struct host *h, const char *message)
{
    if (h->options.profile == PROFILE_TRUSTED || !strstr(message, "' (a nil value)"))
        return NULL;
    for (size_t i = 0; i < sizeof withheld / sizeof *withheld; i++)
        if (strstr(message, withheld[i]))
            return "; only scripts that the operator trusts have it (--trusted)";
    return NULL;
}

/* --- opening ------------------------------------------------------------------------------------ */

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* Put a function into the table on top of the stack, with what is there now as its upvalue.
 * [-0, +0, m] */
static void stand_in(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

static void put(lua_State *L, const luaL_Reg *functions)
{
    for (; functions->name; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
}

static void take_away(lua_State *L, const char *name)
{
    lua_pushnil(L);
    lua_setfield(L, -2, name);
}

static const luaL_Reg pattern_functions[] = {
    { "find", pattern_find },
    { "match", pattern_match },
    { "gmatch", pattern_gmatch },
    { "gsub", pattern_gsub },
    { NULL, NULL },
};

static const luaL_Reg coroutine_functions[] = {
    { "create", safe_create },
    { "resume", safe_resume },
    { "wrap", safe_wrap },
    { "status", safe_status },
    { NULL, NULL },
};

static void bound_strings(lua_State *L)
{
    lua_getglobal(L, "string");
    put(L, pattern_functions);
    stand_in(L, "rep", safe_rep);
    stand_in(L, "format", safe_format);
    take_away(L, "dump");
    take_away(L, "gfind");
    lua_pop(L, 1);
}

static void bound_tables(lua_State *L)
{
    lua_getglobal(L, "table");
    stand_in(L, "insert", safe_insert);
    lua_pop(L, 1);
}

static void bound_coroutines(lua_State *L)
{
    lua_getglobal(L, "coroutine");
    put(L, coroutine_functions);
    lua_pop(L, 1);
}

/* Only what was compiled in can be required. */
static void bound_package(lua_State *L)
{
    lua_getglobal(L, "package");
    take_away(L, "loadlib");
    take_away(L, "searchpath");
    lua_getfield(L, -1, "loaders");
    lua_createtable(L, 1, 0);
    lua_rawgeti(L, -2, 1);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -3, "loaders");
    lua_pop(L, 2);
    lua_pushnil(L);
    lua_setglobal(L, "loadfile");
    lua_pushnil(L);
    lua_setglobal(L, "dofile");
}

/* Neither ffi, jit nor io is opened: what is not there nobody finds. `os` is, for three functions
 * of it that sandbox.lua takes before it takes it away. */
static void open_policy(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    open_library(L, "", luaopen_base);
    open_library(L, LUA_LOADLIBNAME, luaopen_package);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, LUA_BITLIBNAME, luaopen_bit);
    open_library(L, LUA_DBLIBNAME, luaopen_debug);
    open_library(L, LUA_OSLIBNAME, luaopen_os);
    bound_strings(L);
    bound_tables(L);
    bound_coroutines(L);
    bound_package(L);
    lua_pushcfunction(L, safe_tostring);
    lua_setglobal(L, "tostring");
    lua_pushnil(L);
    lua_setglobal(L, "newproxy");
}

/* Where memory may not become executable, compiled code would end the process. */
static void open_trusted(lua_State *L)
{
    luaL_openlibs(L);
    if (confine_may_compile())
        return;
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    log_warn("memory may not become executable here: trusted scripts run without LuaJIT's compiler");
}

/* ("").anything is the string library; the way to its table is shut. */
static void seal_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void sandbox_open_libraries(lua_State *L, enum profile profile)
{
    if (profile == PROFILE_TRUSTED) {
        open_trusted(L);
        return;
    }
    open_policy(L);
    seal_strings(L);
}

void sandbox_open(lua_State *L, enum profile profile)
{
    lua_pushstring(L, profile == PROFILE_TRUSTED ? "trusted" : "policy");
    lua_setfield(L, -2, "_profile");
    lua_pushcfunction(L, read_module);
    lua_setfield(L, -2, "_read");

    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, safe_getmetatable, 1);
    lua_setfield(L, -3, "_getmetatable");
    lua_pushcclosure(L, safe_setmetatable, 1);
    lua_setfield(L, -2, "_setmetatable");
}

/* [-0, +1, e] */
static int make_env(lua_State *L)
{
    host_require(L, "moonwatch.sandbox");
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

int sandbox_env(struct host *h, const char *chunk)
{
    lua_State *L = h->L;
    lua_pushcfunction(L, make_env);
    lua_pushstring(L, chunk);
    if (!lua_pcall(L, 1, 1, 0))
        return luaL_ref(L, LUA_REGISTRYINDEX);
    log_error("%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return LUA_NOREF;
}
