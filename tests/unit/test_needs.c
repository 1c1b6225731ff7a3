/* test_needs.c - the text of a script tells which fields it looks at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/procfs.h"
#include "host/needs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define PARENT (FIELD(PPID) | FIELD(STARTTIME))

/* Read from a piece of memory that ends where the text does, so that any step beyond it shows. */
static uint64_t needs(const char *text, size_t len)
{
    char *copy = malloc(len ? len : 1);
    memcpy(copy, text, len);
    uint64_t found = needs_of_text(copy, len);
    free(copy);
    return found;
}

static const struct {
    const char *why, *text;
    uint64_t wanted;
} cases[] = {
    { "nothing", "", 0 },
    { "no field", "local mw = require 'moonwatch'", 0 },
    { "a name", "print(ev.cwd)", FIELD(CWD) },
    { "a plain name of a one-liner", "exec: euid == 0 => print(cgroup)",
      FIELD(EUID) | FIELD(CGROUP) },
    { "part of a name", "print(ev.cwds, xcwd, cwd1)", 0 },
    { "a key", "mw.where { exe = '/bin/sh' }", FIELD(EXE) },
    { "a string", "return ev['tty'], ev[\"cgroup\"], ev[ [[cwd]] ], ev[ [==[exe]==] ]",
      FIELD(TTY) | FIELD(CGROUP) | FIELD(CWD) | FIELD(EXE) },
    { "escapes", "ev['c\\119\\x64'] .. ev['\\z \n exe']", FIELD(CWD) | FIELD(EXE) },
    { "part of a string", "print 'no cwd here'", 0 },
    { "comments", "-- cwd\n--[[ cgroup\n exe ]] --[=[ tty ]] ]=] x = 1 - -1 --args", 0 },
    { "behind a comment", "--[[]]cwd--\nexe", FIELD(CWD) | FIELD(EXE) },
    { "long brackets that look like others", "x = [==[ ]] ]=] cwd ]==] exe", FIELD(EXE) },
    { "a quote inside of the other one", "x = '\"' cwd = \"'\" exe = '\\'' tty = 1",
      FIELD(CWD) | FIELD(EXE) | FIELD(TTY) },
    { "indexing is no long bracket", "t[cwd[1]] = t[ [[exe]] ]", FIELD(CWD) | FIELD(EXE) },
    { "what is derived", "print(ev.cmdline, ev.id)", FIELD(ARGS) | FIELD(PID) | FIELD(STARTTIME) },
    { "names of other schemas", "ev:get 'CommandLine' ev:get('process.working_directory')",
      FIELD(ARGS) | FIELD(CWD) },
    { "such a name as a key", "local rule = { Image = 'x' }", FIELD(EXE) },
    { "a parent's names", "ev:get 'ParentImage'", FIELD(EXE) | PARENT },
    { "more of them", "ev:get 'process.parent.args' ev:get 'proc.pname'",
      FIELD(ARGS) | FIELD(COMM) | PARENT },
    { "the parent's pid is a field of the child", "ev:get 'process.parent.pid'", FIELD(PPID) },
    { "ancestors", "ev:ancestor { cwd = '/' }", FIELD(CWD) | PARENT },
    { "what was before was known before", "ev:get 'was.exe'", FIELD(WAS_EXE) | FIELD(EXE) },
    { "the table of what was before", "print(ev.was.exe)", FIELD(EXE) },
    { "cut arguments", "print(ev.truncated)", FIELD(TRUNCATED) | FIELD(ARGS) },
    { "the line of an alert", "mw.alert { event = ev }", NEEDS_OF_ALERT },

    { "bytecode", "\x1bLJ", NEEDS_ALL },
    { "emit of an event", "mw.emit(ev)", NEEDS_ALL },
    { "emit to a sink", "sink:emit(ev)", NEEDS_ALL },
    { "a text to a sink", "sink:emit('a' .. ev.cwd)", FIELD(CWD) },
    { "emit of anything", "local row = make() mw.emit(row)", NEEDS_ALL },
    { "emit under another name", "local tell = mw.emit", NEEDS_ALL },
    { "emit at the end", "f(mw.emit", NEEDS_ALL },
    { "emit of a text", "mw.emit 'x' mw.emit('a' .. ev.cwd)", FIELD(CWD) },
    { "emit of a table in place", "function(ev) mw.emit { p = ev.cwd, n = f(ev) } end",
      FIELD(CWD) },
    { "the same in parentheses", "mw.emit({ p = ev.cwd })", FIELD(CWD) },
    { "an event in such a table", "function(e) mw.emit { a = { 1 }, event = e } end", NEEDS_ALL },
    { "an event first in it", "mw.emit { ev }", NEEDS_ALL },
    { "an event behind it", "mw.emit { a = 1 } local t = { ev, 2 }", 0 },
    { "json of an event", "print(mw.json(ev))", NEEDS_ALL },
    { "another's json", "local json = require 'json' json.encode(x)", 0 },
    { "pairs of a parameter", "on = function(e) for k, v in pairs(e) do end end", NEEDS_ALL },
    { "pairs of the second one", "local function f(a, b) for k in pairs(b) do end end", NEEDS_ALL },
    { "pairs of a method's event", "function x.y:z(a) for k in pairs(self) do end end", NEEDS_ALL },
    { "pairs of a table of one's own", "local t = {} for k in pairs(t) do end", 0 },
    { "pairs of a part", "function f(e) for k in pairs(t.x) do end end", 0 },
    { "pairs of the parent", "for k in pairs(x.parent) do end", NEEDS_ALL },
    { "next of a parameter", "function f(e) return next(e) end", NEEDS_ALL },
    { "next in a loop", "function f(e) for k in next, e do end end", NEEDS_ALL },
    { "ipairs", "function f(e) for i, a in ipairs(e) do end end", 0 },
    { "a one-liner's event", "exit: => for k, v in pairs(ev) do print(k, v) end", NEEDS_ALL },
};

static void a_text_tells_what_it_looks_at(void **state)
{
    int failed = 0;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t found = needs(cases[i].text, strlen(cases[i].text));
        if (found == cases[i].wanted)
            continue;
        failed++;
        print_error("%s: found %llx, wanted %llx\n", cases[i].why, (unsigned long long)found,
                    (unsigned long long)cases[i].wanted);
    }
    assert_int_equal(failed, 0);
}

/* Whatever name a field has anywhere, asking for it by that name needs it. */
static void every_name_of_every_field_is_known(void **state)
{
    (void)state;
    for (int f = 0; f < EVENT_FIELDS; f++) {
        const struct event_field_info *info = &event_fields[f];
        const char *names[] = { info->name, info->ecs, info->sigma, info->ocsf, info->falco };
        for (size_t n = 0; n < COUNT(names); n++) {
            char text[128];
            if (!*names[n])
                continue;
            int len = snprintf(text, sizeof text, "ev:get '%s'", names[n]);
            if (!(needs(text, (size_t)len) >> f & 1))
                fail_msg("%s by the name %s", info->name, names[n]);
        }
    }
    assert_int_equal(needs_of_name("", 0), 0);
    assert_int_equal(needs_of_name("nonsense", 8), 0);
    assert_int_equal(needs_of_name("process.parent.", 15), 0);
}

static void the_line_of_a_name_is_that_of_its_first_string(void **state)
{
    static const char text[] = "a = cwd -- 'cwd'\n[[\n]]\n'c\\119d' 'cwd'";
    (void)state;
    assert_int_equal(needs_line(text, sizeof text - 1, "cwd"), 4);
    assert_int_equal(needs_line(text, sizeof text - 1, "exe"), 0);
}

static void what_is_cut_off_is_read_to_its_end(void **state)
{
    static const char *const texts[] = {
        "'",          "\"",        "[[",         "[=[",           "[==",      "--",     "--[[",
        "--[==[ ]=]", "'\\",       "'\\x",       "'\\1",          "'\\z",     "]]",     "[[ ]",
        "[=[ ]=",     "emit",      "x.emit",     "x.emit(",       "pairs",    "pairs(", "next,",
        "function",   "function(", "function(a", "function a.b:", "pairs(a.", "\\",     "-",
        "x.emit {",   "}}}}",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char before[64];
        int len = snprintf(before, sizeof before, "cwd %s", texts[i]);
        assert_true(needs(before, (size_t)len) & FIELD(CWD));
    }
    assert_int_equal(needs("\0cwd\0\xff\xfe", 7), FIELD(CWD));
}

static void a_hostile_text_costs_no_more_than_its_length(void **state)
{
    static const char *const pieces[] = {
        "function ", "function(a,",     "pairs(a.", "x.emit{", "a.",  "[=",      "--[",
        "next,",     "process.parent.", "]]",       "{",       "'\\", "x.emit ", "--[["
    };
    size_t len = 1 << 20;
    char *text = malloc(len);
    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        for (size_t at = 0; at < len; at++)
            text[at] = pieces[i][at % strlen(pieces[i])];
        int64_t began = clock_mono_ns();
        needs_of_text(text, len);
        if (clock_mono_ns() - began > 20 * NS_PER_SECOND) /* quadratic: minutes */
            fail_msg("1 MiB of '%s' took too long", pieces[i]);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_tells_what_it_looks_at),
        cmocka_unit_test(every_name_of_every_field_is_known),
        cmocka_unit_test(the_line_of_a_name_is_that_of_its_first_string),
        cmocka_unit_test(what_is_cut_off_is_read_to_its_end),
        cmocka_unit_test(a_hostile_text_costs_no_more_than_its_length),
    };
    return cmocka_run_group_tests_name("needs", tests, NULL, NULL);
}
