/* test_pack.c - plain data comes back as it was, the same data is the same bytes, and no bytes do
 * harm. */
#include "host/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include <cmocka.h>

static lua_State *L;
static struct buf bytes, again;

/* same(a, b): equal in type, value, keys; NaN equals NaN, 0 differs from -0 */
static const char prelude[] =
    "function same(a, b)\n"
    "  if type(a) ~= type(b) then return false end\n"
    "  if type(a) == 'number' then return a == b and 1 / a == 1 / b or a ~= a and b ~= b end\n"
    "  if type(a) ~= 'table' then return a == b end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n";

static int begin(void **state)
{
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    return luaL_dostring(L, prelude);
}

static int end(void **state)
{
    (void)state;
    lua_close(L);
    buf_free(&bytes);
    buf_free(&again);
    return 0;
}

/* [-0, +1, -] */
static void push(const char *expression)
{
    char text[1024];
    snprintf(text, sizeof text, "return %s", expression);
    if (luaL_dostring(L, text))
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
}

static enum pack_failure pack(struct buf *out)
{
    buf_clear(out);
    return pack_write(L, -1, 1 << 20, out, NULL);
}

static enum pack_failure pack_of(const char *expression)
{
    push(expression);
    enum pack_failure failure = pack(&bytes);
    lua_pop(L, 1);
    return failure;
}

/* The value on top of the stack and what comes back of it. */
static void expect_same(const char *what)
{
    assert_int_equal(pack(&bytes), PACK_FINE);
    lua_getglobal(L, "same");
    lua_pushvalue(L, -2);
    if (!pack_read(L, bytes.data, bytes.len))
        fail_msg("%s cannot be read", what);
    assert_int_equal(pack(&again), PACK_FINE);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1))
        fail_msg("%s is another", what);
    lua_settop(L, 0);
}

static void every_plain_value_comes_back(void **state)
{
    static const char *const values[] = {
        "nil", "true", "false", "0", "-0", "1", "-1", "127", "128", "2^53", "-2^53", "2^53 + 2", "2^63",
        "0.1", "1/0", "-1/0", "0/0", "5e-324", "''", "'a'", "'\\0\\255'", "('x'):rep(100000)",
        "{}", "{1,2,3}", "{{}, {{}}}", "{a=1, [2]=2}", "{[0]=1, 1}", "{[-1]=1, [1.5]=2, [true]=3, [false]=4}",
        "{nil, 2}", "{1, nil, 3}", "{[1e300]=1, [2^40]=2}", "{['1']=1, [1]='1'}",
        "{{{{{{{{{{{{{{{{}}}}}}}}}}}}}}}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        push(values[i]);
        expect_same(values[i]);
    }
}

/* A made-up value; its shape is the generator's. [-0, +1, m] */
static void push_random(unsigned *seed, int depth)
{
    char text[64];
    switch (rand_r(seed) % (depth < 5 ? 8 : 6)) {
    case 0:
        lua_pushboolean(L, rand_r(seed) & 1);
        break;
    case 1:
        lua_pushnumber(L, rand_r(seed) % 1000 - 500);
        break;
    case 2:
        lua_pushnumber(L, (double)rand_r(seed) / (1 + rand_r(seed) % 7) * (rand_r(seed) & 1 ? 1e9 : 1));
        break;
    case 3:
    case 4:
    case 5:
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)rand_r(seed);
        lua_pushlstring(L, text, (size_t)rand_r(seed) % sizeof text);
        break;
    default:
        lua_newtable(L);
        luaL_checkstack(L, 8, NULL);
        for (int i = rand_r(seed) % 6; i; i--) {
            if (rand_r(seed) & 1)
                lua_pushinteger(L, rand_r(seed) % 5);
            else
                push_random(seed, 99); /* no table */
            push_random(seed, depth + 1);
            lua_rawset(L, -3);
        }
    }
}

static void random_values_come_back(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 3000; seed++) {
        unsigned at = seed;
        push_random(&at, 0);
        expect_same("a random value");
    }
}

static void the_order_of_insertion_does_not_show(void **state)
{
    (void)state;
    push("(function() local t = {} for i = 1, 200 do t['k' .. i] = i; t[i] = i end return t end)()");
    assert_int_equal(pack(&bytes), PACK_FINE);
    push("(function() local t = {} for i = 300, 1, -1 do t['k' .. i] = i; t[i] = i end "
         "for i = 201, 300 do t['k' .. i] = nil; t[i] = nil end return t end)()");
    assert_int_equal(pack(&again), PACK_FINE);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    lua_settop(L, 0);
}

static void what_is_not_plain_is_refused(void **state)
{
    static const struct {
        const char *expression;
        enum pack_failure want;
    } bad[] = {
        { "print", PACK_TYPE },
        { "{1, {2, function() end}}", PACK_TYPE },
        { "{[print] = 1}", PACK_TYPE },
        { "io.stdout", PACK_TYPE },
        { "coroutine.create(print)", PACK_TYPE },
        { "{[{}] = 1}", PACK_KEY },
        { "setmetatable({}, {})", PACK_META },
        { "{a = setmetatable({}, {__index = function() error('called') end})}", PACK_META },
        { "{{{{{{{{{{{{{{{{{}}}}}}}}}}}}}}}}}", PACK_DEEP },
        { "(function() local t = {} t.t = t return t end)()", PACK_DEEP },
        { "('x'):rep(2^20)", PACK_LARGE },
        { "('x'):rep(2^24)", PACK_LARGE },
        { "{('x'):rep(2^19), ('x'):rep(2^19)}", PACK_LARGE },
        /* ten times ten times ...: 10^15 values, if somebody wrote them all */
        { "(function() local t = {} for d = 1, 15 do local u = {} for i = 1, 10 do u[i] = t end t = u end "
          "return t end)()", PACK_LARGE },
        { "(function() local t = {} for i = 1, 2^18 do t['key' .. i] = i end return t end)()", PACK_LARGE },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int culprit;
        push(bad[i].expression);
        buf_clear(&bytes);
        buf_puts(&bytes, "before");
        assert_int_equal(pack_write(L, 1, 1 << 20, &bytes, &culprit), bad[i].want);
        assert_int_equal(bytes.len, 6);
        assert_true(*pack_failure_text(bad[i].want, culprit));
        assert_int_equal(lua_gettop(L), 1);
        lua_pop(L, 1);
    }
}

static void a_limit_is_exact(void **state)
{
    (void)state;
    push("{1, 'abc', x = {true}}");
    assert_int_equal(pack(&bytes), PACK_FINE);
    for (size_t most = 0; most <= bytes.len; most++) {
        buf_clear(&again);
        assert_int_equal(pack_write(L, 1, most, &again, NULL),
                         most < bytes.len ? PACK_LARGE : PACK_FINE);
    }
    lua_pop(L, 1);
}

static void bytes_that_are_cut_or_longer_are_none(void **state)
{
    (void)state;
    assert_int_equal(pack_of("{1, 'abc', 0.5, x = {true, y = {}}, [1e9] = ''}"), PACK_FINE);
    for (size_t len = 0; len < bytes.len; len++)
        assert_false(pack_read(L, bytes.data, len));
    buf_putc(&bytes, '\0');
    assert_false(pack_read(L, bytes.data, bytes.len));
    assert_int_equal(lua_gettop(L), 0);
}

static void claims_are_not_believed(void **state)
{
    /* tags: 5 string, 6 table; lengths of 2^62, 2^64 and more, in many tables */
    static const char *const bad[] = {
        "\x05\xff\xff\xff\xff\xff\xff\xff\xff\x3f",
        "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        "\x06\xff\xff\xff\xff\x07\x01", "\x06\x01\xff\xff\xff\xff\x07", "\x07", "\xff", "\x03", "\x04" "1234567",
        "\x06\x80", "\x06\x01\x01\x01\x04\x04",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(pack_read(L, bad[i], strlen(bad[i])));

    /* a key that no table has: nil, NaN */
    assert_false(pack_read(L, "\x06\x00\x01\x00\x02", 5));
    assert_false(pack_read(L, "\x06\x00\x01\x06\x00\x00\x02", 7)); /* nor a table */
    assert_false(pack_read(L, "\x06\x00\x01\x04\x00\x00\x00\x00\x00\x00\xf8\x7f\x02", 13));

    /* each of 200,000 tables claims all of the rest */
    size_t len = 1 << 20;
    char *nested = malloc(len);
    for (size_t i = 0; i < len; i += 5)
        memcpy(nested + i, "\x06\xff\xff\x20\x00", len - i < 5 ? len - i : 5);
    int before = lua_gc(L, LUA_GCCOUNT, 0);
    assert_false(pack_read(L, nested, len));
    assert_true(lua_gc(L, LUA_GCCOUNT, 0) - before < 1024);
    free(nested);
    assert_int_equal(lua_gettop(L), 0);
}

static void flipped_bits_are_another_value_or_none(void **state)
{
    (void)state;
    assert_int_equal(pack_of("{1, 'abc', 0.5, x = {true, y = {}}, [1e9] = ''}"), PACK_FINE);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        if (pack_read(L, bytes.data, bytes.len))
            assert_int_equal(pack(&again), PACK_FINE);
        lua_settop(L, 0);
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plain_value_comes_back),
        cmocka_unit_test(random_values_come_back),
        cmocka_unit_test(the_order_of_insertion_does_not_show),
        cmocka_unit_test(what_is_not_plain_is_refused),
        cmocka_unit_test(a_limit_is_exact),
        cmocka_unit_test(bytes_that_are_cut_or_longer_are_none),
        cmocka_unit_test(claims_are_not_believed),
        cmocka_unit_test(flipped_bits_are_another_value_or_none),
    };
    return cmocka_run_group_tests_name("pack", tests, begin, end);
}
