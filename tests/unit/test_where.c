/* test_where.c - what a script says in mw.where is decided exactly, and what it says wrong is named. */
#include "host/where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static lua_State *L;
static struct event_box box;

/* Memory of the C library, so that a sanitizer sees every step outside of a userdata. */
static void *allocate(void *ctx, void *block, size_t old, size_t size)
{
    (void)ctx, (void)old;
    if (size)
        return realloc(block, size);
    free(block);
    return NULL;
}

static int begin(void **state)
{
    (void)state;
    L = lua_newstate(allocate, NULL);
    if (!L) /* some builds of LuaJIT insist on their own */
        L = luaL_newstate();
    luaL_openlibs(L);
    where_open(L);
    lua_pushcfunction(L, where_new);
    lua_setglobal(L, "where");
    return 0;
}

static int end(void **state)
{
    (void)state;
    lua_close(L);
    return 0;
}

/* The where of this Lua text stays on the stack; NULL: the error does. */
static const struct where *make(const char *text)
{
    char chunk[512];
    snprintf(chunk, sizeof chunk, "return where { %s }", text);
    lua_settop(L, 0);
    if (luaL_loadstring(L, chunk) || lua_pcall(L, 0, 1, 0))
        return NULL;
    const struct where *w = where_at(L, -1);
    assert_non_null(w);
    return w;
}

static void set_text(enum event_field field, const char *text)
{
    event_set_text(&box, field, text, strlen(text), WHY_PROC);
}

static void make_event(void)
{
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_PID, 42, WHY_KERNEL);
    event_set(&box, F_UID, 0, WHY_KEPT);
    event_set(&box, F_EUID, UINT32_MAX, WHY_KEPT);
    event_set(&box, F_DELETED, 1, WHY_PROC);
    event_set_missing(&box, F_GID, WHY_GONE);
    event_set_missing(&box, F_CWD, WHY_DENIED);
    set_text(F_COMM, "bash");
    set_text(F_EXE, "/usr/bin/bash");
    set_text(F_CGROUP, "");
    event_set_text(&box, F_ARGS, "bash\0-c\0id; ls\0", 15, WHY_PROC);
}

/* Decided about a copy that ends where the record does. */
static bool matches(const struct where *w)
{
    struct event *ev = malloc(box.ev.size);
    assert_non_null(ev);
    memcpy(ev, &box.ev, box.ev.size);
    bool result = where_matches(w, ev);
    free(ev);
    return result;
}

/* --- matching ------------------------------------------------------------------------------ */

static const struct {
    const char *where;
    bool want;
} decisions[] = {
    { "", true },
    { "comm = 'bash'", true },
    { "comm = 'bas'", false },
    { "comm = 'bashh'", false },
    { "comm = ''", false },
    { "cgroup = ''", true },
    { "comm = { 'sh', 'bash' }", true },
    { "comm = { 'sh', 'dash' }", false },
    { "comm = 'bash', uid = 0", true },
    { "comm = 'bash', uid = 1", false },
    { "uid = 0", true },
    { "uid = { 5, 0 }", true },
    { "euid = 4294967295", true },
    { "euid = -1", false },
    { "pid = 42", true },
    { "deleted = true", true },
    { "deleted = false", false },
    { "deleted = 1", true },
    { "inferred = true", false }, /* nil */
    { "inferred = false", true },
    { "exe = { op = 'is', '/usr/bin/bash' }", true },
    { "exe = { op = 'prefix', '/usr/' }", true },
    { "exe = { op = 'prefix', '/tmp/', '/usr/bin/bash' }", true },
    { "exe = { op = 'prefix', '/usr/bin/bash2' }", false },
    { "exe = { op = 'prefix', 'usr' }", false },
    { "exe = { op = 'prefix', '' }", true },
    { "exe = { op = 'suffix', '/bash' }", true },
    { "exe = { op = 'suffix', '/bas' }", false },
    { "exe = { op = 'suffix', 'x/usr/bin/bash' }", false },
    { "exe = { op = 'contains', '/bin/' }", true },
    { "exe = { op = 'contains', '' }", true },
    { "exe = { op = 'contains', '/sbin/', 'bash' }", true },
    { "exe = { op = 'contains', 'Bash' }", false },
    { "cmdline = 'bash -c id; ls'", true },
    { "cmdline = { op = 'contains', '-c id' }", true },
    { "cmdline = { op = 'suffix', 'ls' }", true },
    { "cmdline = { op = 'prefix', 'bash -' }", true },
    { "cmdline = 'bash'", false },
    { "gid = 0", false }, /* missing: matches nothing ... */
    { "cwd = '/'", false },
    { "cwd = { op = 'prefix', '' }", false },
    { "['was.uid'] = 0", false },
    { "comm = { negated = true, 'sh' }", true }, /* ... but is none of those */
    { "comm = { negated = true, 'sh', 'bash' }", false },
    { "cwd = { negated = true, '/' }", true },
    { "gid = { negated = true, 0 }", true },
    { "uid = { negated = true, 0 }", false },
    { "exe = { op = 'prefix', negated = true, '/tmp/' }", true },
    { "exe = { op = 'suffix', negated = true, 'bash' }", false },
    { "exe = { op = 'contains', negated = true, 'tmp', 'bin' }", false },
    { "cmdline = { op = 'contains', negated = true, 'curl' }", true },
    { "deleted = { negated = true, true }", false },
    { "inferred = { negated = true, true }", true },
    { "comm = 'bash', exe = { op = 'suffix', 'bash' }, uid = 0, gid = { negated = true, 1 }", true },
    { "comm = 'b\\0sh'", false },
};

static void every_test_decides_as_it_reads(void **state)
{
    (void)state;
    make_event();
    for (size_t i = 0; i < COUNT(decisions); i++) {
        const struct where *w = make(decisions[i].where);
        if (!w)
            fail_msg("{ %s }: %s", decisions[i].where, lua_tostring(L, -1));
        if (matches(w) != decisions[i].want)
            fail_msg("{ %s } should say %d", decisions[i].where, decisions[i].want);
    }
}

static void an_event_with_nothing_in_it_matches_only_what_denies(void **state)
{
    static const char *const deny[] = { "", "comm = { negated = true, 'x' }", "deleted = false",
                                        "cmdline = { negated = true, 'x' }" };
    static const char *const ask[] = { "comm = { op = 'prefix', '' }", "pid = 0", "uid = { 0, 1 }",
                                       "cmdline = ''", "deleted = true" };
    (void)state;
    event_begin(&box, EVENT_LOST);
    for (size_t i = 0; i < COUNT(deny); i++)
        assert_true(matches(make(deny[i])));
    for (size_t i = 0; i < COUNT(ask); i++)
        assert_false(matches(make(ask[i])));
}

static void a_thousand_values_are_looked_through(void **state)
{
    (void)state;
    make_event();
    assert_int_equal(luaL_dostring(L, "local v = {} for i = 1, 1000 do v[i] = 'x' .. i end "
                                      "v[1000] = 'bash' return where { comm = v }"),
                     0);
    assert_true(matches(where_at(L, -1)));
    assert_int_equal(luaL_dostring(L, "local v = {} for i = 1, 1000 do v[i] = i * 3 end "
                                      "return where { pid = v, uid = 0 }"),
                     0);
    assert_true(matches(where_at(L, -1)));
}

/* A long argument vector is compared as far as a text of an event can be. */
static void a_huge_command_line_is_compared_inside_its_bounds(void **state)
{
    static char args[EVENT_TEXT_MAX];
    (void)state;
    memset(args, 'a', sizeof args);
    for (size_t i = 9; i < sizeof args; i += 10)
        args[i] = '\0';
    args[sizeof args - 1] = '\0';
    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_ARGS, args, sizeof args, WHY_PROC);
    assert_true(matches(make("cmdline = { op = 'prefix', 'aaaaaaaaa aaaaaaaaa' }")));
    assert_true(matches(make("cmdline = { op = 'suffix', ' aaaaa' }")));
    assert_false(matches(make("cmdline = { op = 'contains', 'b' }")));
    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_ARGS, "", 0, WHY_PROC);
    assert_true(matches(make("cmdline = ''")));
}

/* --- what is wrong ------------------------------------------------------------------------- */

static const struct {
    const char *where, *say; /* the error contains this, and so the field */
} mistakes[] = {
    { "com = 'sh'", "'com'" },
    { "['parent.comm'] = 'sh'", "'parent.comm'" },
    { "id = 'x'", "'id'" },
    { "type = 'exec'", "type" },
    { "args = { 'sh' }", "'args'" },
    { "time = 5", "'time'" },
    { "duration = 5", "'duration'" },
    { "'sh'", "field = value" },
    { "[true] = 1", "field = value" },
    { "comm = 5", "'comm' is a string" },
    { "comm = true", "'comm' is a string" },
    { "comm = print", "'comm' is a string" },
    { "comm = { 'sh', 5 }", "'comm' is a string" },
    { "comm = {}", "'comm'" },
    { "comm = { sh = true }", "'comm'" },
    { "comm = { op = 'prefix' }", "'comm'" },
    { "comm = { op = 'regex', 'x' }", "'comm'" },
    { "comm = { op = 5, 'x' }", "'comm'" },
    { "comm = { op = {}, 'x' }", "'comm'" },
    { "cmdline = 5", "'cmdline' is a string" },
    { "uid = 'root'", "'uid' is a number" },
    { "uid = '0'", "'uid' is a number" },
    { "uid = true", "'uid' is a number" },
    { "uid = { 0, 'x' }", "'uid' is a number" },
    { "uid = { op = 'prefix', 1 }", "'uid' is a number" },
    { "uid = 1.5", "'uid'" }, /* would be told of uid 1 */
    { "uid = { 0, 0/0 }", "'uid'" },
    { "uid = 1/0", "'uid'" },
    { "uid = -1/0", "'uid'" },
    { "uid = 1e300", "'uid'" },
    { "deleted = 'yes'", "'deleted'" },
    { "deleted = { op = 'contains', true }", "'deleted'" },
};

static void a_mistake_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        if (make(mistakes[i].where))
            fail_msg("{ %s } was taken", mistakes[i].where);
        const char *error = lua_tostring(L, -1);
        if (!strstr(error, mistakes[i].say))
            fail_msg("{ %s }: %s", mistakes[i].where, error);
    }
}

static void it_takes_a_table_and_then_a_function(void **state)
{
    static const char *const wrong[] = { "where()", "where('x')", "where(5)", "where{}()",
                                         "where{}('x')", "where{}{}" };
    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_not_equal(luaL_dostring(L, wrong[i]), 0);
    lua_settop(L, 0);
    assert_int_equal(luaL_dostring(L, "w = where{ comm = 'x' } f = function() end r = w(f) "
                                      "return r.where == w and r.handler == f, next(r, next(r, next(r)))"),
                     0);
    assert_true(lua_toboolean(L, 1));
    assert_true(lua_isnil(L, 2));
    assert_int_equal(luaL_dostring(L, "return getmetatable(w)"), 0);
    assert_false(lua_toboolean(L, -1)); /* nothing to take hold of */
}

static void only_a_where_is_taken_for_one(void **state)
{
    (void)state;
    assert_int_equal(luaL_dostring(L, "return nil, 5, 'x', {}, newproxy(true), io.stdout, "
                                      "where{}, print"),
                     0);
    for (int i = 1; i <= 8; i++)
        assert_int_equal(where_at(L, i) != NULL, i == 7);
    lua_pushlightuserdata(L, &box);
    assert_null(where_at(L, -1));
    assert_null(where_at(L, 100));
}

/* A table that changes while it is read gets an error or what it was: never memory of others. */
static void a_table_that_changes_meanwhile_does_no_harm(void **state)
{
    static const char grow[] =
        "for round = 1, 6 do "
        "  local list, asked = { 'a', 'b' }, 0 "
        "  setmetatable(list, { __index = function(self, key)"
        "    asked = asked + 1 "
        "    if asked == round then"
        "      for i = 1, 5000 do rawset(self, i, ('x'):rep(100)) end"
        "    end "
        "  end })"
        "  pcall(where, { comm = list }) "
        "end";
    static const char collect[] = /* a finalizer runs where memory is taken */
        "local list = { 'a', 'b' }"
        "local function arm()"
        "  getmetatable(newproxy(true)).__gc = function()"
        "    for i = 1, 300 do list[i] = ('x'):rep(100) end"
        "  end "
        "end "
        "collectgarbage('setpause', 0) collectgarbage('setstepmul', 100000)"
        "for round = 1, 300 do"
        "  for i = #list, 3, -1 do list[i] = nil end list[1], list[2] = 'a', 'b'"
        "  arm() pcall(where, { comm = list, exe = list })"
        "end";
    (void)state;
    assert_int_equal(luaL_dostring(L, grow), 0);
    assert_int_equal(luaL_dostring(L, collect), 0);
}

static void it_keeps_nothing_of_its_table(void **state)
{
    (void)state;
    make_event();
    assert_int_equal(luaL_dostring(L, "t = { comm = { 'ba' .. 'sh' } } w = where(t) t.comm[1] = 'x' "
                                      "t = nil for i = 1, 5 do collectgarbage() end return w"),
                     0);
    assert_true(matches(where_at(L, -1)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_test_decides_as_it_reads),
        TEST(an_event_with_nothing_in_it_matches_only_what_denies),
        TEST(a_thousand_values_are_looked_through),
        TEST(a_huge_command_line_is_compared_inside_its_bounds),
        TEST(a_mistake_is_named),
        TEST(it_takes_a_table_and_then_a_function),
        TEST(only_a_where_is_taken_for_one),
        TEST(a_table_that_changes_meanwhile_does_no_harm),
        TEST(it_keeps_nothing_of_its_table),
    };
    return cmocka_run_group_tests_name("where", tests, NULL, NULL);
}
