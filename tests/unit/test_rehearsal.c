/* test_rehearsal.c - tests of scripts are judged by what they claim, and each of them ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/rehearsal.h"

#define LIBRARY "local mw = require 'moonwatch'\n"

/* Tells of each exec what its arguments say: severity, text, key. */
#define TELLER                                                                                     \
    LIBRARY "return mw.script { name = 'x', tags = { 'of.script', 'b' }, on = { exec = function(ev)\n" \
            "if ev.args[1] == 'hang' then while true do pcall(error) end end\n"                    \
            "if ev.args[1] == 'grow' then local t = {} for i = 1, 1e9 do t[i] = { i } end end\n"   \
            "if ev.args[1] == 'quiet' then return end\n"                                           \
            "mw.alert { severity = ev.args[1], text = ev.args[2], key = ev.args[3], event = ev }\n" \
            "ev.comm = 'changed'\n"                                                                \
            "end } }\n"

static struct buf told; /* "NAME: passed" or "NAME: WHY", a line each */
static double limit_s; /* 0: the usual one */

static void ended(void *ctx, const struct rehearsal_result *r)
{
    (void)ctx;
    buf_printf(&told, "%s: %s\n", r->name, r->passed ? "passed" : r->why);
}

static const char *rehearsed(const char *script, const char *test)
{
    struct rehearsal_text texts[2] = { { "@x.lua", script, strlen(script) }, { "@x_test.lua", test, strlen(test) } };
    struct rehearsal_world world = { .ended = ended, .limit_s = limit_s };
    struct buf why = { 0 };
    buf_clear(&told);
    if (rehearse(&texts[0], &texts[1], &world, &why) < 0)
        buf_printf(&told, "wrong: %s", buf_str(&why));
    buf_free(&why);
    return buf_str(&told);
}

static int end(void **state)
{
    (void)state;
    buf_free(&told);
    log_to(NULL, NULL);
    return 0;
}

static void quiet(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level, (void)text;
}

/* --- alerts --------------------------------------------------------------------------------------- */

static const struct {
    const char *alerts; /* of a test in which high/'a b'/k and low/-/- are told */
    const char *want;
} lists[] = {
    { "{ {}, {} }", "passed" },
    { "{ { severity = 'low' }, { severity = 'high' } }", "passed" },
    { "{ { severity = 'high', text = 'a b', key = 'k', tags = { 'b' }, event = { pid = 7, comm = 'sh', "
      "args = { 'high', 'a b', 'k' }, parent = { comm = 'nginx', parent = { pid = 1 } } } }, { severity = 'low' } }", "passed" },
    { "{ { text = mw.match.glob 'a*' }, { event = { exe = mw.match.endswith { '/sh', '/bash' } } } }", "passed" },
    { "{ { text = mw.match.glob 'a*', tags = mw.match.contains '.script' }, { text = function(t) return t == nil end } }", "passed" },
    /* both fit the first, one of them only that */
    { "{ { event = { comm = 'sh' } }, { key = 'k' } }", "passed" },
    { "{ { key = 'k' }, { event = { comm = 'sh' } } }", "passed" },
    { "{}", "0 alerts wanted, 2 told, 0 of them as wanted; wanted -, told +\n"
            "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, "
            "event = { comm = \"sh\", pid = 7, type = \"exec\" } }\n"
            "  + { severity = \"low\", tags = { \"of.script\", \"b\" }, event = { comm = \"sh\", pid = 1002, type = \"exec\" } }" },
    { "{ { severity = 'critical', key = 'k' }, { severity = 'low' } }",
      "2 alerts wanted, 2 told, 1 of them as wanted; wanted -, told +\n"
      "  - { severity = \"critical\", key = \"k\" }\n"
      "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, "
      "event = { comm = \"sh\", pid = 7, type = \"exec\" } }" },
    { "{ { severity = 'low' }, { severity = 'high' }, { key = 'none', tags = { 'c' } } }",
      "3 alerts wanted, 2 told, 2 of them as wanted; wanted -, told +\n"
      "  - { key = \"none\", tags = { \"c\" } }" },
    { "{ { severity = 'low' }, { severity = 'high', event = { uid = 0, nosuch = 1, parent = { exe = '/x', comm = mw.match.glob 'n*' } } } }",
      "2 alerts wanted, 2 told, 1 of them as wanted; wanted -, told +\n"
      "  - { severity = \"high\", event = { nosuch = 1, parent = { comm = <pattern>, exe = \"/x\" }, uid = 0 } }\n"
      "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, event = { comm = \"sh\", "
      "nosuch = nil, parent = { comm = \"nginx\", exe = \"/usr/bin/nginx\" }, pid = 7, uid = 1000 } }" },
};

static void lists_of_alerts_are_compared_by_what_they_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char test[4096], want[2048];
        snprintf(test, sizeof test,
                 LIBRARY "local nginx = { comm = 'nginx', parent = { pid = 1, comm = 'init' } }\n"
                         "return { { name = 'x', alerts = %s, events = {\n"
                         "{ comm = 'sh', pid = 7, args = { 'high', 'a b', 'k' }, parent = nginx },\n"
                         "{ comm = 'quiet', args = { 'quiet' } },\n"
                         "{ comm = 'sh', args = { 'low' } } } } }",
                 lists[i].alerts);
        snprintf(want, sizeof want, "x: %s\n", lists[i].want);
        const char *found = rehearsed(TELLER, test);
        if (strcmp(found, want))
            fail_msg("%s\nfound  %s\nwanted %s", lists[i].alerts, found, want);
    }
}

static void what_is_no_list_of_alerts_is_said(void **state)
{
    static const char *const cases[][2] = {
        { "{ { severty = 'high' } }", "alerts[1]: an alert has no 'severty': did you mean severity?" },
        { "{ { [7] = 'high' } }", "alerts[1]: an alert has no '7'" },
        { "{ {}, { text = {} } }", "alerts[2]: `text` is a text, or a pattern such as mw.match.glob \"...\", not a table" },
        { "{ { event = 'sh' } }", "alerts[1]: `event` is a table of fields, not a string" },
        { "{ { tags = 'x' } }", "alerts[1]: `tags` is a list of texts, not a string" },
        { "{ { tags = { x = 1 } } }", "alerts[1]: `tags` is a list of texts, not a table" },
        { "{ 'high' }", "`alerts` holds a string at 1, but an alert is a table of what it has" },
        { "{ severity = 'high' }", "`alerts` is a whole number, or a list of tables, one for each alert" },
        { "'high'", "`alerts` is a whole number, how many there are to be, not 'high'" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char test[512], want[512];
        snprintf(test, sizeof test, "return { { name = 'x', events = {}, alerts = %s } }", cases[i][0]);
        snprintf(want, sizeof want, "x: %s\n", cases[i][1]);
        assert_string_equal(rehearsed(TELLER, test), want);
    }
}

static void what_processes_chose_is_shown_on_one_line_and_cut(void **state)
{
    (void)state;
    const char *found = rehearsed(TELLER, "return { { name = 'x', alerts = { { text = 'a\\nb' } }, events = {\n"
                                          "{ args = { 'low', 'x\\27[2J\\n\"\\\\' .. ('y'):rep(500) } } } } }");
    assert_non_null(strstr(found, "\n  - { text = \"a\\x0ab\" }\n"));
    assert_non_null(strstr(found, "text = \"x\\x1b[2J\\x0a\\\"\\\\yyyy"));
    assert_non_null(strstr(found, "yyyy...\" (508 bytes), tags"));
    assert_null(strchr(found, '\x1b'));
}

static void thousands_are_counted_and_twenty_shown(void **state)
{
    (void)state;
    const char *found = rehearsed(TELLER, "local many, some = {}, {}\n"
                                          "for i = 1, 3000 do many[i] = { args = { 'low', 'x', tostring(i) } } end\n"
                                          "for i = 1, 50 do some[i] = { key = 'none' .. i } end\n"
                                          "return { { name = 'x', alerts = some, events = many } }");
    assert_non_null(strstr(found, "50 alerts wanted, 3000 told, 0 of them as wanted"));
    assert_non_null(strstr(found, "\n  - and 30 more\n"));
    assert_non_null(strstr(found, "\n  + and 2980 more\n"));
    assert_true(strlen(found) < 8000);
}

/* An event is changed, and its process forgotten, after the alert. */
static void what_is_told_is_noted_as_it_is_told(void **state)
{
    (void)state;
    assert_string_equal(rehearsed(TELLER, "return { { name = 'x', alerts = { { event = { comm = 'sh' } } }, events = {\n"
                                          "{ comm = 'sh', args = { 'low' } } } } }"), "x: passed\n");
    assert_string_equal(rehearsed(LIBRARY "mw.alert { severity = 'low', text = 'early' }\n"
                                          "return mw.script { name = 'x', on = {} }",
                                  "return { { name = 'x', events = {}, alerts = { { severity = 'low', text = 'early' } } } }"),
                        "x: passed\n");
}

/* --- ends ----------------------------------------------------------------------------------------- */

static void a_test_ends_whoever_hangs(void **state)
{
    static const struct {
        const char *script, *test, *want;
    } cases[] = {
        { TELLER, "return { { name = 'x', alerts = 0, events = { { args = { 'hang' } }, { args = { 'low' } } } },\n"
                  "{ name = 'y', alerts = {{}}, events = { { args = { 'low' } } } } }",
          "x: x.lua:3: it was ended: it takes more than 0.5 s\ny: passed\n" },
        { LIBRARY "while true do end", "return { { name = 'x', alerts = 0, events = {} } }",
          "wrong: x.lua:2: it was ended: it takes more than 0.5 s" },
        { TELLER, "while true do end", "wrong: x_test.lua:1: it was ended: it takes more than 0.5 s" },
        { TELLER, "return { { name = 'x', alerts = { { text = function() while true do end end } }, events = { { args = { 'low' } } } } }",
          "x: x_test.lua:1: it was ended: it takes more than 0.5 s\n" },
        { LIBRARY "mw.at_exit(function() while true do end end)", "return { { name = 'x', alerts = 0, events = {} } }",
          "x: x.lua:2: it was ended: it takes more than 0.5 s\n" },
    };
    (void)state;
    log_to(quiet, NULL);
    limit_s = 0.5;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(rehearsed(cases[i].script, cases[i].test), cases[i].want);
    limit_s = 0;
}

static void memory_has_a_bound(void **state)
{
    (void)state;
    log_to(quiet, NULL);
    const char *found = rehearsed(TELLER, "return { { name = 'x', alerts = 0, events = { { args = { 'grow' } } } } }");
    assert_non_null(strstr(found, "x: 0 errors wanted, 1 thrown\n"));
    assert_non_null(strstr(found, "not enough memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_alerts_are_compared_by_what_they_name),
        cmocka_unit_test(what_is_no_list_of_alerts_is_said),
        cmocka_unit_test(what_processes_chose_is_shown_on_one_line_and_cut),
        cmocka_unit_test(thousands_are_counted_and_twenty_shown),
        cmocka_unit_test(what_is_told_is_noted_as_it_is_told),
        cmocka_unit_test(a_test_ends_whoever_hangs),
        cmocka_unit_test(memory_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
