/* test_sandbox.c - attempts to get out of a script's world, and a neighbour who must not notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "host/host.h"
#include "sink/keeper.h"
#include "host/state.h"
#include "host_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the world ----------------------------------------------------------------------------- */

/* What lies beside the scripts. */
static const struct {
    const char *path, *text;
} files[] = {
    { "x.txt", "one\n" },
    { "lib/util.lua", "counter = (counter or 0) + 1 return { n = counter, cwd = function(ev) return "
                      "ev.cwd end, name = ... }" },
    { "round.lua", "return require 'about'" },
    { "about.lua", "return require 'round'" },
    { "nothing.lua", "seen = true" },
    { "broken.lua", "local x =" },
    { "throws.lua", "error 'thrown'" },
    { "x.txt", "one\ntwo\n" },
    { "later.lua", "return function() error 'later' end" },
    { "bytes.lua", "\x1bLJ\x02" },
    { "out.lua", "return { io = io, ffi = pcall(require, 'ffi'), debug = debug }" },
};

static int asked;
static char asked_for[256];

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *answer, int *fds)
{
    const struct request_file *file = bytes;
    uint64_t hash = 1;
    (void)ctx, (void)fds;
    if (kind == REQUEST_SINK_OPEN) { /* nothing was opened, and nothing is wrong */
        struct keeper_answer nothing = { 0 };
        buf_add(answer, &nothing, sizeof nothing);
        return 0;
    }
    if (kind != REQUEST_FILE)
        return -EINVAL;
    asked++;
    snprintf(asked_for, sizeof asked_for, "%.*s", (int)(len - sizeof *file),
             (const char *)bytes + sizeof *file);
    assert_int_equal(file->module, strstr(asked_for, ".txt") == NULL);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(asked_for, files[i].path)) {
            buf_add(answer, (const char *)&hash, sizeof hash);
            buf_puts(answer, files[i].text);
            return 0;
        }
    return -ENOENT;
}

static void begin_host(enum profile profile)
{
    struct host_options options = {
        .world = { .request = request },
        .profile = profile,
        .table_bytes = 1 << 20,
        .boot = 0xb007,
        .json = true,
        .memory_bytes = 64 << 20,
    };
    options.fd = out = memfd_create("out", 0);
    logged[0] = '\0';
    asked = 0;
    log_to(keep_log, NULL);
    assert_int_equal(host_new(&host, &options), 0);
}

static int begin(void **state)
{
    (void)state;
    begin_host(PROFILE_POLICY);
    return 0;
}

static int begin_trusted(void **state)
{
    (void)state;
    begin_host(PROFILE_TRUSTED);
    return 0;
}

static int end(void **state)
{
    (void)state;
    end_host();
    return 0;
}

/* What it does, it does when it is loaded; a script has to wait for something besides. */
static void load_as(const char *name, const char *body)
{
    static char text[65536];
    snprintf(text, sizeof text, "require('moonwatch').at_exit(function() end) %s", body);
    if (host_load(host, name, text, strlen(text)) < 0)
        fail_msg("%s", host_error(host));
}

static void tell(int pid)
{
    static struct event_box box;
    event_begin(&box, EVENT_EXEC);
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        event_set_missing(&box, f, WHY_UNASKED);
    event_set(&box, F_TIME, 1700000000123456789, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, 1, WHY_KERNEL);
    event_set(&box, F_STARTTIME, pid * 10, WHY_COMPUTED);
    event_set_text(&box, F_COMM, "ls", 2, WHY_PROC);
    event_set_text(&box, F_ARGS, "ls\0-l", 6, WHY_PROC);
    host_event(host, &box.ev);
}

/* --- attempts -------------------------------------------------------------------------------- */

/* Prints "fine" as long as nothing that it uses is another's. */
static const char neighbour[] =
    "local mw = require 'moonwatch'\n"
    "local util = require 'lib.util'\n"
    "local names, known = 0, {}\n"
    "for _, t in ipairs { _G, mw, string, table, math, bit, os, coroutine } do\n"
    "  for k, v in pairs(t) do names = names + 1 known[#known + 1] = { t, k, v } end\n"
    "end\n"
    "return mw.script { name = 'neighbour', on = { exec = function(ev)\n"
    "  local n = 0\n"
    "  for _, t in ipairs { _G, mw, string, table, math, bit, os, coroutine } do\n"
    "    for _ in pairs(t) do n = n + 1 end\n"
    "  end\n"
    "  assert(n == names, 'other names')\n"
    "  for _, one in ipairs(known) do assert(one[1][one[2]] == one[3], 'another ' .. one[2]) end\n"
    "  assert(('x'):rep(3) == 'xxx' and ('abc'):find 'b' == 2 and ('a1'):gsub('%d', '') == 'a')\n"
    "  assert(('x').evil == nil and getmetatable '' == false)\n"
    "  assert(select(2, pcall(error, 'e')) == 'e' and evil == nil and mw.evil == nil)\n"
    "  assert(mw.set { 'a' }.a and mw.seconds '5m' == 300 and mw.now() > 0)\n"
    "  assert(ev:why 'pid' == 'connector' and ev:get 'process.pid' == ev.pid and ev.evil == nil)\n"
    "  assert(ev:ancestor { comm = 'nobody' } == nil and #ev.args == 2 and not ev.__index)\n"
    "  assert(coroutine.wrap(function() return coroutine.yield(7) end)() == 7)\n"
    "  assert(tostring(1) == '1' and string.format('%d', 7) == '7')\n"
    "  assert(require 'moonwatch' == mw and require 'lib.util' == util and util.n == 1)\n"
    "  print 'fine'\n"
    "end } }\n";

struct attempt {
    const char *name, *text, *want; /* what the text returns or throws has `want` in it */
};

#define NOT_THERE "nil value"

static const struct attempt attempts[] = {
    /* the string library by the back door */
    { "the metatable of strings", "return tostring(getmetatable('').__index)", "attempt to index" },
    { "a method put into all strings", "local s = 'x' s.evil = 1", "attempt to index" },
    { "string.dump", "return string.dump(function() end)", NOT_THERE },
    { "('x').dump", "return ('x').dump", "nil" },
    { "an own string library changed", "string.find = nil string.evil = 1 return ('abc'):find 'b'",
      "2" },

    /* bytecode */
    { "bytecode by load", "return tostring((select(2, load '\\27LJ\\2')))", "wrong mode" },
    { "bytecode by load in pieces",
      "local done return tostring((select(2, load(function() if not done then done = true "
      "return '\\27LJ\\2' end end))))",
      "wrong mode" },
    { "bytecode by loadstring", "return tostring((select(2, loadstring '\\27LJ\\2')))",
      "wrong mode" },
    { "bytecode by mode", "return tostring((select(2, load('\\27LJ', 'x', 'b'))))", "wrong mode" },
    { "loaded text sees this world only", "return tostring(loadstring 'return io or ffi or debug or jit'())",
      "nil" },
    { "loaded text into a table", "return load('return x', 'n', 't', { x = 5 })()", "5" },
    { "a text too large to parse",
      "local s = ('x=1 '):rep(2^14) return tostring((select(2, loadstring(s .. s))))", "no more than" },
    { "a reader without end", "return tostring((select(2, load(function() return ('-'):rep(1e5) end))))",
      "no more than" },

    /* other worlds */
    { "getfenv(0)", "return getfenv(0)", NOT_THERE },
    { "getfenv of a function of the library", "return getfenv(print)", NOT_THERE },
    { "setfenv", "setfenv(1, {})", NOT_THERE },
    { "the globals of the library", "return tostring(_G == _G._G) .. tostring(rawget(_G, 'debug'))",
      "truenil" },
    { "debug.getregistry", "return debug.getregistry()", NOT_THERE },
    { "debug by require", "return require 'debug'", "not found" },
    { "jit", "jit.off()", NOT_THERE },
    { "io.open", "return io.open '/etc/passwd'", NOT_THERE },
    { "os.execute", "os.execute 'true'", NOT_THERE },
    { "os.exit", "os.exit(0)", NOT_THERE },
    { "os.getenv", "return os.getenv 'HOME'", NOT_THERE },
    { "os.remove", "os.remove '/tmp/none'", NOT_THERE },
    { "dofile", "dofile '/etc/passwd'", NOT_THERE },
    { "loadfile", "loadfile '/etc/passwd'", NOT_THERE },
    { "module", "module 'x'", NOT_THERE },
    { "newproxy with __gc", "getmetatable(newproxy(true)).__gc = function() end", NOT_THERE },
    { "collectgarbage('stop')", "collectgarbage 'stop'", NOT_THERE },
    { "gcinfo", "gcinfo()", NOT_THERE },
    { "the core of the library", "return tostring(require 'moonwatch'._core)", "nil" },
    { "modules of the host", "return require 'moonwatch.oneliner'", "not found" },
    { "the sandbox itself", "return require 'moonwatch.sandbox'", "not found" },

    /* require */
    { "require 'ffi'", "return require 'ffi'", "not found" },
    { "require 'jit.util'", "return require 'jit.util'", "not found" },
    { "require 'string.buffer'", "return require 'string.buffer'", "not found" },
    { "package.preload", "return package.preload.ffi", NOT_THERE },
    { "package.loadlib", "package.loadlib('libc.so.6', 'system')", NOT_THERE },
    { "a 64-bit number, which opens ffi unasked", "local x = 1LL return tostring(x + 1) .. "
      "tostring(getmetatable(x)) .. tostring(pcall(require, 'ffi'))", "2LLfalsefalse" },
    { "fields of a 64-bit number", "local x = 1LL return x.new", "has no member" },
    { "require of a path", "return require '/etc/passwd'", "not found" },
    { "require of a directory above", "return require '...etc.passwd'", "not found" },
    { "require of a name with bytes", "return require 'a\\nb'", "not found" },
    { "require of an endless name", "return require(('x'):rep(1000))", "not found" },
    { "a module that is bytecode", "return require 'bytes'", "wrong mode" },
    { "a module in this world only",
      "local m = require 'out' return tostring(m.io) .. tostring(m.ffi) .. tostring(m.debug)",
      "nilfalsenil" },
    { "modules that require each other", "return require 'round'", "requires itself" },
    { "a table of modules that is changed", "require 'moonwatch'.evil = 1 require 'string'.evil = 1",
      "" },

    /* what is shared */
    { "the metatable of an event", "return tostring(getmetatable(ev))", "false" },
    { "another metatable for an event", "setmetatable(ev, { __index = function() return 'evil' end })",
      "protected" },
    { "the metatable of a process", "return tostring(getmetatable(ev.parent or ev))", "false" },
    { "methods of events", "ev.why = nil rawset(ev, 'ancestor', nil) return type(ev.__index)", "nil" },
    { "the table of aliases", "return tostring(ev._aliases) .. tostring(ev._methods)", "nilnil" },
    { "an event that is made up", "local mw = require 'moonwatch' "
      "local it = setmetatable({ type = 'exec' }, { why = ('\\255'):rep(200), unasked = true }) "
      "mw.emit(it) return pcall(ev.why, it, 'pid') and 'told' or 'refused'", "refused" },
    { "rawset on mw", "rawset(require 'moonwatch', 'script', 1) rawset(require 'moonwatch', 'evil', 1)",
      "" },
    { "mw.alert for a neighbour", "require 'moonwatch'.alert = function() end mw.alert = nil", "" },
    { "all functions of mw away", "for k in pairs(mw) do mw[k] = nil end", "" },
    { "all functions of all libraries away",
      "for _, t in pairs { string, table, math, bit, coroutine, os } do for k in pairs(t) do "
      "t[k] = nil end end", "" },
    { "all globals away", "for k in pairs(_G) do _G[k] = nil end", "" },
    { "a global for all", "evil = 1 _G.evil = 1 rawset(_G, 'evil', 1)", "" },
    { "a metatable for all globals", "setmetatable(_G, { __index = function() return 'evil' end })",
      "" },
    { "numbers that are foreseen", "math.randomseed(7) local a = math.random() math.randomseed(7) "
      "return tostring(a == math.random())", "false" },
    { "the metatable of a window", "return tostring(getmetatable(mw.window { span = '1m' }))", "false" },
    { "methods of all windows", "mw.window { span = '1m' }.__index.add = error", "attempt to index" },
    { "a where with a metatable", "return tostring(getmetatable(mw.where { pid = 1 }))", "false" },
    { "a where with another's handler", "mw.where { pid = 1 } {}", "function expected" },
    { "a where that is no where", "mw.script { name = 'x', on = { exec = { where = ev, handler = print } } }",
      "must come from mw.where" },
    { "a metatable with __gc", "setmetatable({}, { __gc = function() end })", "no __gc" },
    { "__metatable respected", "local t = setmetatable({}, { __metatable = 'mine' }) "
      "return getmetatable(t) .. tostring(pcall(setmetatable, t, {}))", "minefalse" },
    { "an own metatable", "local m = {} return tostring(getmetatable(setmetatable({}, m)) == m)", "true" },

    /* the host's own calls */
    { "an error with __tostring", "error(setmetatable({}, { __tostring = function() evil = 1 "
      "return 'run by the host' end }))", "run by the host" },
    { "print of a __tostring that fails", "print(setmetatable({}, { __tostring = function() error 'no' end }))",
      "no" },
    { "print of a __tostring that is no text", "print(setmetatable({}, { __tostring = function() "
      "return {} end }))", "must return a string" },
    { "tostring that is replaced", "tostring = function() return 'evil' end print(1) return 'x'", "x" },
    { "JSON of a table with traps", "return mw.json(setmetatable({ a = 1 }, { __index = error, "
      "__pairs = error, __len = error }))", "{\"a\":1}" },

    /* addresses */
    { "tostring of a function", "return '<' .. tostring(print) .. '>'", "<function>" },
    { "tostring of a table", "return '<' .. tostring({}) .. tostring(mw.where { pid = 1 }) .. '>'",
      "<tableuserdata>" },
    { "tostring of a thread", "return '<' .. tostring(coroutine.create(print)) .. '>'", "<thread>" },
    { "%s of a table", "return ('<%s %d>'):format({}, 1)", "<table 1>" },
    { "%p", "return ('%p'):format {}", "no addresses" },
    { "%p behind a width", "return ('%%%-20p'):format {}", "no addresses" },
    { "%p of a text", "return string.format('%p', 'x')", "no addresses" },

    /* without an end */
    { "a pattern of the third degree", "return ('a'):rep(400):find '.-.-.-b'", "too many steps" },
    { "a pattern over 32 KiB", "return ('a'):rep(32768):find '.-b'", "too many steps" },
    { "a pattern in a gsub", "return ('a'):rep(65536):gsub('[^b]-b', '')", "too many steps" },
    { "a pattern in a gmatch", "for x in ('a'):rep(65536):gmatch '.-b' do end", "too many steps" },
    { "balanced without end", "return ('('):rep(65536):find '%b()'", "too many steps" },
    { "captures that repeat", "return ('a'):rep(65536):find '(.*)%1b'", "too many steps" },
    { "a pattern that nests", "return ('a'):rep(300):match(('a?'):rep(300) .. ('a'):rep(300))",
      "too complex" },
    { "brackets without end", "return ('a'):find(('('):rep(300))", "too " },
    { "a table that is moved up from below", "table.insert({}, -2^31, 1)", "out of bounds" },
    { "a hole in a table", "table.insert({}, 7, 1)", "out of bounds" },
    { "table.insert", "local t = { 1, 2 } table.insert(t, 3) table.insert(t, 1, 0) table.insert(t, 5, 4) "
      "return table.concat(t)", "01234" },
    { "a date beyond all calendars", "return tostring(os.date('*t', 1e18)) .. #os.date(('%%'):rep(1e4))",
      "nil" },
    { "yield without a coroutine", "coroutine.yield(1)", "attempt to yield" },
    { "arguments that are none", "ev.args = { {}, 7, print } mw.emit(ev) local line = ev.cmdline "
      "ev.args, ev.cmdline = { 'ls', '-l' } return '<' .. line .. '>'",
      "< 7 >" },
    { "an event with wrong values in it", "ev.pid = {} ev.comm = 7 ev.was = 'x' ev.parent = 1 ev.args = 5 "
      "ev.time = 'now' mw.emit(ev) ev.pid = 10 ev.comm = 'ls' ev.args = { 'ls', '-l' } ev.parent = nil "
      "return 'told'", "told" },
    { "string.rep of gigabytes", "return #('x'):rep(2^31)", "larger than" },
    { "string.rep of nothing, often", "return #(''):rep(2^52)", "0" },
    { "string.rep with a separator", "return #string.rep('', 2^24, 'xx')", "larger than" },
    { "string.rep of NaN", "return #('x'):rep(0/0)", "0" },
    { "a gsub that makes gigabytes", "return ('x'):rep(1e5):gsub('x', ('y'):rep(1e5))",
      "larger than" },
    { "a gsub that calls gsub",
      "local function f(s) return (s:gsub('.', f)) end return f 'x'", "nested too deeply" },
    { "a gsub whose table calls gsub",
      "local t t = setmetatable({}, { __index = function(_, k) return (k:gsub('.', t)) end }) "
      "return ('x'):gsub('.', t)", "nested too deeply" },
    { "gsubs that were nested and failed leave no mark",
      "local function f(s) return (s:gsub('.', f)) end for i = 1, 50 do pcall(f, 'x') end "
      "return (('x'):gsub('.', 'y'))", "y" },
    { "a coroutine that wraps itself",
      "local function f() return coroutine.wrap(f)() end return f()", "nested too deeply" },
    { "a coroutine that resumes another, and so on",
      "local function f() local co = coroutine.create(f) return select(2, coroutine.resume(co)) end "
      "return f()", "nested too deeply" },
    { "a tostring that calls itself",
      "local t = setmetatable({}, { __tostring = function(t) return tostring(t) end }) return tostring(t)",
      "overflow" },
    { "a print that calls itself",
      "local t = setmetatable({}, { __tostring = function(t) print(t) return '' end }) return print(t)",
      "overflow" },
    { "a format that calls itself",
      "local t = setmetatable({}, { __tostring = function(t) return ('%s'):format(t) end }) "
      "return tostring(t)", "overflow" },
    { "a sort that calls itself",
      "local function f() table.sort({ 1, 2 }, f) end f()", "overflow" },
    { "coroutines of sorts of coroutines",
      "local function f() table.sort({ 1, 2 }, function() return coroutine.wrap(f)() end) end f()",
      "nested too deeply" },
    { "a call that calls itself", "local function f() return 1 + f() end return f()", "overflow" },
    { "an __index that asks itself",
      "local t = {} setmetatable(t, { __index = function(t, k) return t[k] end }) return t.x", "overflow" },
    { "an __index chain in a ring",
      "local a, b = {}, {} setmetatable(a, { __index = b }) setmetatable(b, { __index = a }) return a.x",
      "loop" },
    { "xpcall whose handler fails", "return tostring(select('#', xpcall(error, error, 'x')))", "2" },
    { "xpcall", "return xpcall(function(...) return ... end, print, 1, 2)", "true" },
    { "xpcall has a handler", "return (select(2, xpcall(error, function(e) return e .. '!' end, 'x')))", "x!" },
    { "more results than fit", "return unpack({}, 1, 1e8)", "too many results" },
    { "memory without end", "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
      "not enough memory" },
    { "memory without end, shielded",
      "for i = 1, 3 do local t = {} pcall(function() while true do t[#t + 1] = ('x'):rep(1e6) .. #t "
      "end end) end return 'shielded'", "shielded" },
};

static void attempt(void **state)
{
    const struct attempt *a = *state;
    char text[4096];
    snprintf(text, sizeof text,
             "local mw = require 'moonwatch'\n"
             "local pcall, print, tostring, select = pcall, print, tostring, select\n"
             "local function attempt(ev) %s\nend\n"
             "mw.script { name = 'attacker', on = { exec = function(ev) local ok, result = "
             "pcall(attempt, ev) print(result) end } }",
             a->text);
    begin_host(PROFILE_POLICY);
    load_as("@/etc/moonwatch/attacker.lua", text);
    load_as("@/etc/moonwatch/neighbour.lua", neighbour);
    tell(10);
    char said[65536];
    snprintf(said, sizeof said, "%.65535s", written());
    size_t len = strlen(said);
    if (len < 5 || strcmp(said + len - 5, "fine\n"))
        fail_msg("the neighbour: %s\n%s", said, logged);
    said[len - 5] = '\0';
    if (!strstr(said, a->want))
        fail_msg("wanted: %s\ngot: %.2000s", a->want, said);
    tell(11); /* and the time after */
    assert_non_null(strstr(written(), "fine\n"));
    end(NULL);
}

/* --- whose is what --------------------------------------------------------------------------- */

/* reach(value) -> { [table or userdata] = how }: all that a script could get hold of by reading */
static const char reach[] =
    "local getmetatable = debug.getmetatable "
    "local function walk(seen, value, how) "
    "  local kind = type(value) "
    "  if kind ~= 'table' and kind ~= 'userdata' or seen[value] then return end "
    "  seen[value] = how "
    "  if kind == 'table' then for k, v in next, value do walk(seen, k, how) "
    "    walk(seen, v, how .. '.' .. tostring(k)) end end "
    "  local meta = getmetatable(value) "
    "  local index = meta and rawget(meta, '__index') "
    "  while type(index) == 'table' do "
    "    for k, v in next, index do walk(seen, v, how .. ':' .. tostring(k)) end "
    "    meta = getmetatable(index) index = meta and rawget(meta, '__index') "
    "  end "
    "end "
    "return function(value) local seen = {} walk(seen, value, '') return seen end";

static int run(lua_State *L, const char *text, int args, int results)
{
    int failed = luaL_loadstring(L, text);
    if (!failed) {
        lua_insert(L, -(args + 1));
        failed = lua_pcall(L, args, results, 0);
    }
    if (failed)
        fail_msg("%s", lua_tostring(L, -1));
    return failed;
}

static void two_scripts_share_no_table(void **state)
{
    static const char objects[] =
        "local mw = require 'moonwatch' objects = { "
        "mw.set { 1 }, mw.where { pid = 1 }, mw.prefix 'x', mw.stats(), "
        "mw.window and mw.window { span = '1m' }, mw.dedup and mw.dedup { span = '1m' }, "
        "mw.throttle and mw.throttle { per = '1m', limit = 1 }, "
        "mw.sequence and mw.sequence { by = print, within = '1m', steps = { print, print }, "
        "matched = print }, mw.persist and mw.persist { name = 'x' }, mw.proc(1), "
        "mw.sink, mw.match and mw.match.glob '*', "
        "mw.list and mw.list 'x.txt', mw.baseline and mw.baseline { name = 'x' } }";
    (void)state;
    load_as("@one.lua", objects);
    load_as("@two.lua", objects);
    lua_State *L = host->L;
    run(L, "assert(getmetatable('') == false)", 0, 0); /* not even our own modules hand it on */
    run(L, reach, 0, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, host->policies->env);
    lua_rawgeti(L, LUA_REGISTRYINDEX, host->policies->next->env);
    run(L,
        "local reach, one, two = ... one, two = reach(one), reach(two) local n = 0 "
        "for value, how in pairs(one) do n = n + 1 "
        "  if two[value] then error('both reach ' .. how .. ' and ' .. two[value], 0) end end "
        "local forbidden = { _G, debug.getregistry(), package, debug, package.loaded.moonwatch, "
        "  debug.getregistry().moonwatch, debug.getregistry().moonwatch._methods } "
        "for _, t in pairs(forbidden) do assert(not one[t], one[t]) end "
        "return n",
        3, 1);
    assert_true(lua_tointeger(L, -1) > 10); /* it did walk */
    lua_settop(L, 0);
}

/* --- patterns --------------------------------------------------------------------------------- */

static const char same_patterns[] =
    "local seed = 12345\n"
    "local function random(n) seed = seed * 16807 % 2147483647 return seed % n + 1 end\n"
    "local parts = { 'a', 'b', '.', '%a', '%d', '%s', '%w', '%x', '%p', '%u', '%l', '%c', '%z', '%g', '%A', '%W', '%S',\n"
    "  '[ab]', '[^a]', '[a-c]', '[%a_]', '[]]', '[^]x]', '[a-]', '[%-x]', '(', ')', '()', '%1', '%b()', '%f[a]', '%f[%w]', '^',\n"
    "  '$', '*', '+', '-', '?', '%%', '%.', 'x', '[', ']', '%', '%bab', '%f', '%2', '[%', '\\200', '[\\128-\\255]', 'B' }\n"
    "local letters = { 'a', 'b', 'c', 'x', '(', ')', ' ', '1', '_', '-', 'B', '\\0', '.', '\\200', ']', '%' }\n"
    "local function word(from, most) local t = {} for i = 1, random(most) - 1 do t[i] = from[random(#from)] end return table.concat(t) end\n"
    "local function show(...) local t = { ... } for i = 1, select('#', ...) do t[i] = tostring(t[i]) end return table.concat(t, '|') end\n"
    "local sum, n, good = 0, 0, 0\n"
    "local function note(what, ok, ...)\n"
    "  local text = ok and show(...) or 'error'\n"
    "  n, good = n + 1, good + (ok and 1 or 0)\n"
    "  for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 2147483647 end\n"
    "  if VERBOSE then print(what, text) end\n"
    "end\n"
    "local function walk(s, p) local t = {} for a, b in s:gmatch(p) do t[#t + 1] = show(a, b) if #t > 50 then break end end return table.concat(t, ',') end\n"
    "for i = 1, 40000 do\n"
    "  local s, p = word(letters, 13), word(parts, 7)\n"
    "  local at = random(20) - 10\n"
    "  note('find', pcall(string.find, s, p, at))\n"
    "  note('match', pcall(string.match, s, p, at))\n"
    "  note('plain', pcall(string.find, s, p, at, true))\n"
    "  note('gsub', pcall(string.gsub, s, p, ({ '<%0>', '%1', '%%', 'x', '%2y', '%', '' })[random(7)]))\n"
    "  note('gsub', pcall(string.gsub, s, p, function(a, b) return a == 'a' and 'A' or nil end, random(4) - 1))\n"
    "  note('gsub', pcall(string.gsub, s, p, { a = 'A', b = 7, c = false }))\n"
    "  note('gmatch', pcall(walk, s, p))\n"
    "  if i % 1000 == 0 then print(i, n, good, sum) end\n"
    "end\n";

static void patterns_give_what_luajit_gives(void **state)
{
    static char bounded[65536];
    (void)state;
    begin_host(PROFILE_POLICY);
    load_as("@patterns.lua", same_patterns);
    snprintf(bounded, sizeof bounded, "%.65535s", written());
    end(NULL);
    begin_host(PROFILE_TRUSTED);
    load_as("@patterns.lua", same_patterns);
    assert_string_equal(bounded, written());
    end(NULL);
}

/* --- require ----------------------------------------------------------------------------------- */

static void a_module_is_each_scripts_own(void **state)
{
    static const char text[] =
        "local m = require 'lib.util' assert(m == require 'lib.util') m.mark = 1 "
        "print(m.n, counter, m.name) assert(require 'nothing' == true and seen)";
    (void)state;
    load_as("@/etc/moonwatch/one.lua", text);
    assert_string_equal(asked_for, "nothing.lua");
    assert_true(host_needs(host) & FIELD(CWD));
    assert_int_equal(asked, 2);
    load_as("@/etc/moonwatch/two.lua", text);
    assert_string_equal(written(), "1\t1\tlib.util\n1\t1\tlib.util\n");
}

static void errors_of_modules_name_their_file(void **state)
{
    static const char *const bad[][2] = {
        { "require 'broken'", "/etc/moonwatch/broken.lua:1:" },
        { "require 'throws'", "/etc/moonwatch/throws.lua:1: thrown" },
        { "require 'none.such'", "x.lua:1: module 'none.such' not found" },
        { "pcall(require, 'throws') require 'throws'", "/etc/moonwatch/throws.lua:1: thrown" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(host_load(host, "@/etc/moonwatch/x.lua", bad[i][0], strlen(bad[i][0])), -EINVAL);
        if (!strstr(host_error(host), bad[i][1]))
            fail_msg("%s: %s", bad[i][0], host_error(host));
    }
}

static void an_error_says_who_has_what_is_not_there(void **state)
{
    static const char text[] = "\nlocal file = io.open 'x'";
    (void)state;
    assert_int_equal(host_load(host, "@x.lua", text, sizeof text - 1), -EINVAL);
    assert_non_null(strstr(host_error(host), "x.lua:2: attempt to index global 'io' (a nil value); only "
                                             "scripts that the operator trusts have it (--trusted)\n"));
    assert_int_equal(host_load(host, "@x.lua", "require 'ffi'", 13), -EINVAL);
    assert_non_null(strstr(host_error(host), "x.lua:1: module 'ffi' not found; only scripts that the "
                                             "operator trusts have it (--trusted)\n"));
    assert_int_equal(host_load(host, "@x.lua", "iq.open()", 9), -EINVAL);
    assert_null(strstr(host_error(host), "trusted"));
}

static void an_error_in_a_module_shows_its_line(void **state)
{
    (void)state;
    load_as("@/etc/moonwatch/x.lua",
            "local later = require 'later' require 'moonwatch'.script { name = 'x', on = { exec = later } }");
    tell(10);
    assert_non_null(strstr(logged, "/etc/moonwatch/later.lua:1: later"));
    assert_non_null(strstr(logged, "\n\t1 | return function() error 'later' end"));
}

static void a_trusted_script_has_all_of_luajit(void **state)
{
    (void)state;
    load_as("@/etc/moonwatch/x.lua",
            "local ffi = require 'ffi' print(type(ffi.new), jit.status(), type(io.open), "
            "require 'lib.util'.n, require 'moonwatch' == require 'moonwatch') counter = 7");
    load_as("@/etc/moonwatch/y.lua", "print(counter, require 'lib.util'.n, require 'moonwatch'.evil)");
    const char *said = written();
    assert_memory_equal(said, "function\ttrue", 13);
    assert_non_null(strstr(said, "function\t1\ttrue\n"));
    assert_non_null(strstr(said, "nil\t1\tnil\n"));
    load_as("@z.lua", "require 'moonwatch'.script { name = 'z', on = { exec = function(ev) "
                      "print(getmetatable(ev), pcall(setmetatable, ev, {})) end } }");
    tell(10);
    assert_memory_equal(written(), "false\tfalse\t", 12);
}

static void bytecode_is_no_script_for_the_trusted_either(void **state)
{
    (void)state;
    assert_int_equal(host_load(host, "@x.lua", "\x1bLJ\x02", 4), -EINVAL);
}

static void a_line_lives_in_the_same_world(void **state)
{
    (void)state;
    assert_int_equal(host_load_line(host, "exec: comm == 'ls' => print(io, ffi, debug, #args, "
                                          "mw.alert ~= nil, mw._core) mw.alert = nil"), 0);
    assert_int_equal(host_load_line(host, "exec: => print(mw.alert ~= nil, comm:find 's')"), 0);
    tell(10);
    assert_string_equal(logged, "");
    assert_string_equal(written(), "nil\tnil\tnil\t2\ttrue\tnil\ntrue\t2\t2\n");
}

/* --- who walks an event ------------------------------------------------------------------------- */

static void pairs_of_an_event_still_needs_all(void **state)
{
    (void)state;
    load_as("@x.lua", "require 'moonwatch'.script { name = 'x', on = { exec = function(ev) "
                      "local x = { ev } for k in pairs(x[1]) do end end } }");
    assert_false(host_needs(host) == UINT64_MAX);
    tell(10);
    assert_string_equal(logged, "");
    assert_true(host_needs(host) == UINT64_MAX);
}

/* --- where memory may not become executable ------------------------------------------------------ */

static void without_executable_memory_the_compiler_is_off(void **state)
{
    int told[2];
    char said[4096] = "";
    (void)state;
    assert_int_equal(pipe(told), 0);
    pid_t child = fork();
    if (child == 0) {
        if (prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0))
            _exit(77);
        begin_host(PROFILE_TRUSTED);
        load_as("@x.lua", "local n = 0 for i = 1, 1e5 do n = n + i % 7 end print(n, jit.status())");
        dprintf(told[1], "%s%s", written(), logged);
        _exit(0);
    }
    close(told[1]);
    ssize_t len = read(told[0], said, sizeof said - 1);
    said[len > 0 ? len : 0] = '\0';
    int status;
    waitpid(child, &status, 0);
    close(told[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* Linux before 6.3 */
    assert_int_equal(status, 0);
    assert_memory_equal(said, "300000\tfalse", 12);
    assert_non_null(strstr(said, "without LuaJIT's compiler"));
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, begin, end)
#define TRUSTED(name) cmocka_unit_test_setup_teardown(name, begin_trusted, end)

int main(void)
{
    const struct CMUnitTest whole[] = {
        TEST(two_scripts_share_no_table),
        cmocka_unit_test(patterns_give_what_luajit_gives),
        TEST(a_module_is_each_scripts_own),
        TEST(errors_of_modules_name_their_file),
        TEST(an_error_in_a_module_shows_its_line),
        TEST(an_error_says_who_has_what_is_not_there),
        TRUSTED(a_trusted_script_has_all_of_luajit),
        TRUSTED(bytecode_is_no_script_for_the_trusted_either),
        TEST(a_line_lives_in_the_same_world),
        TEST(pairs_of_an_event_still_needs_all),
        cmocka_unit_test(without_executable_memory_the_compiler_is_off),
    };
    enum { ATTEMPTS = sizeof attempts / sizeof *attempts, WHOLE = sizeof whole / sizeof *whole };
    struct CMUnitTest tests[ATTEMPTS + WHOLE];
    for (int i = 0; i < ATTEMPTS; i++)
        tests[i] = (struct CMUnitTest){ attempts[i].name, attempt, NULL, NULL,
                                        (void *)&attempts[i] };
    memcpy(tests + ATTEMPTS, whole, sizeof whole);
    return _cmocka_run_group_tests("sandbox", tests, ATTEMPTS + WHOLE, NULL, NULL);
}
