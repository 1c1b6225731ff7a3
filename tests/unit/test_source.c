/* test_source.c - an error shows the line that it is about, whatever the text holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "host/host.h"
#include "host/source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- lines ------------------------------------------------------------------------------ */

static void a_line_is_shown_with_its_number(void **state)
{
    static const struct {
        const char *why, *text;
        int line;
        const char *want;
    } cases[] = {
        { "first", "one\ntwo\n", 1, "\n\t1 | one" },
        { "last, without a newline", "one\ntwo", 2, "\n\t2 | two" },
        { "empty", "one\n\nthree", 2, "\n\t2 | " },
        { "ended by CR LF", "one\r\ntwo\r\n", 1, "\n\t1 | one" },
        { "tabs are blanks", "\tx =\t1\n", 1, "\n\t1 |     x =    1" },
        { "what steers a terminal does not", "\x1b[2J\x7f\n", 1, "\n\t1 | \\x1b[2J\\x7f" },
        { "beyond the end", "one\n", 2, NULL },
        { "far beyond", "one\n", 1000000000, NULL },
        { "none", "one\n", 0, NULL },
        { "of nothing", "", 1, NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = { 0 };
        bool shown = source_show_line(cases[i].text, strlen(cases[i].text), cases[i].line, &out);
        if (shown != (cases[i].want != NULL) || strcmp(buf_str(&out), cases[i].want ? cases[i].want : ""))
            fail_msg("%s: %s", cases[i].why, buf_str(&out));
        buf_free(&out);
    }
}

static void a_long_line_is_cut_between_characters(void **state)
{
    char text[4096];
    struct buf out = { 0 };
    (void)state;
    text[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    assert_true(source_show_line(text, sizeof text - 1, 1, &out));
    assert_true(out.len < 200);
    assert_memory_equal(out.data + out.len - 6, "\xc3\xa9 ...", 6);
    buf_free(&out);
}

static void the_text_is_found_by_its_chunk(void **state)
{
    struct source *list = NULL;
    struct buf out = { 0 };
    (void)state;
    assert_null(source_first(list));
    assert_int_equal(source_add(&list, "@a.lua", "a1\na2", 5), 0);
    assert_int_equal(source_add(&list, "@b.lua", "b1", 2), 0);
    assert_string_equal(source_first(list), "@a.lua");
    assert_true(source_show(list, "@a.lua", 2, &out));
    assert_false(source_show(list, "@c.lua", 1, &out));
    assert_false(source_show(list, "@b.lua", 2, &out));
    assert_string_equal(buf_str(&out), "\n\t2 | a2");
    buf_free(&out);
    source_free(&list);
    assert_null(list);
}

static void the_compilers_line_is_found(void **state)
{
    static const struct {
        const char *name, *message;
        int want;
    } cases[] = {
        { "@a.lua", "a.lua:12: '=' expected", 12 },
        { "@/x:3:/a.lua", "/x:3:/a.lua:7: '=' expected", 7 },
        { "@/a/very/long/path/that/lua/cuts/in/its/messages/because/it/is/long.lua",
          "...that/lua/cuts/in/its/messages/because/it/is/long.lua:4: '=' expected", 4 },
        { "=-e", "-e:1: x", 1 },
        { "@a.lua", "not enough memory", 0 },
        { "@a.lua", "a.lua:-4: x", 0 },
        { "@a.lua", "a.lua:99999999999999999999: x", 0 },
        { "", ":5: x", 5 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(source_line_of(cases[i].name, cases[i].message), cases[i].want);
}

static void a_script_is_named_after_its_file(void **state)
{
    static const char *const cases[][2] = {
        { "@/etc/moonwatch/web-shell.lua", "web-shell" }, { "@x.lua", "x" }, { "=-e", "-e" },
        { "@.lua", ".lua" }, { "@a\nb", "a?b" }, { "@/a.lua/", "" }, { "@0123456789abcdef.lua", "0123456789abcde" },
    };
    char to[16];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        source_stem(cases[i][0], to, sizeof to);
        assert_string_equal(to, cases[i][1]);
    }
}

/* --- in a host ---------------------------------------------------------------------------- */

static struct host *host;
static char logged[8192];

static void keep_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    strncat(logged, text, sizeof logged - strlen(logged) - 1);
}

static int begin(void **state)
{
    struct host_options options = { .table_bytes = 1 << 20, .fd = -1 };
    (void)state;
    logged[0] = '\0';
    log_to(keep_log, NULL);
    return host_new(&host, &options);
}

static int end(void **state)
{
    (void)state;
    host_free(host);
    log_to(NULL, NULL);
    return 0;
}

static int load(const char *name, const char *text)
{
    return host_load(host, name, text, strlen(text));
}

static void an_error_in_a_handler_shows_its_line(void **state)
{
    static struct event_box box;
    (void)state;
    assert_int_equal(load("@web.lua", "local mw = require 'moonwatch'\n"
                                      "mw.script { name = 'renamed', on = { lost = function(ev)\n"
                                      "  local name = ev.parent.comm\n"
                                      "end } }\n"),
                     0);
    event_begin(&box, EVENT_LOST);
    host_event(host, &box.ev);
    assert_non_null(strstr(logged, "renamed: web.lua:3: attempt to index field 'parent' (a nil value)\n"
                                   "\t3 |   local name = ev.parent.comm\nstack traceback:\n"));
}

static void an_error_below_the_script_shows_the_scripts_line(void **state)
{
    (void)state;
    assert_true(load("@web.lua", "local mw = require 'moonwatch'\n\nmw.seconds 'soon'\n") < 0);
    assert_non_null(strstr(host_error(host), "\n\t3 | mw.seconds 'soon'\nstack traceback:\n"));
    assert_true(load("@web.lua", "\n\nerror {}\n") < 0);
    assert_non_null(strstr(host_error(host), "(the error is a table)\n\t3 | error {}\n"));
}

/* A tail call leaves no frame: the place is that of the `return`. */
static void a_script_described_wrongly_shows_where_it_is_described(void **state)
{
    (void)state;
    assert_true(load("@/etc/web.lua", "local mw = require 'moonwatch'\n\nreturn mw.script { name = 1 }\n") < 0);
    assert_memory_equal(host_error(host),
                        "/etc/web.lua:3: mw.script: `name` must be a string\n\t3 | return mw.script { name = 1 }\n",
                        85);
    assert_true(load("@web.lua", "return error()") < 0);
    assert_memory_equal(host_error(host), "web.lua:1: (the error is a nil)\n\t1 | return error()\n", 50);
}

static void what_is_no_lua_shows_its_line(void **state)
{
    (void)state;
    assert_true(load("@web.lua", "local x = 1\nlocal y = = \x1b[31m\n") < 0);
    assert_string_equal(host_error(host), "web.lua:2: unexpected symbol near '='\n\t2 | local y = = \\x1b[31m");
    assert_true(load("@web\n.lua", "x = = 1") < 0);
    assert_null(strstr(host_error(host), "web\n"));
    assert_true(load("@web.lua", "\x1bLJ") < 0); /* bytecode: an error, and no crash */
}

/* A script cannot show another text than its own, nor break out of the line. */
static void an_error_that_looks_like_another_line_is_its_own(void **state)
{
    (void)state;
    assert_int_equal(load("@other.lua", "require('moonwatch').script { name = 'secret' } -- secret\n"), 0);
    assert_true(load("@web.lua", "error('other.lua:1: \\n\\t1 | forged', 0)") < 0);
    assert_null(strstr(host_error(host), "secret"));
    assert_memory_equal(host_error(host), "other.lua:1: \\x0a\\x091 | forged\n\t1 | error(", 41);
}

#define IN_HOST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_shown_with_its_number),
        cmocka_unit_test(a_long_line_is_cut_between_characters),
        cmocka_unit_test(the_text_is_found_by_its_chunk),
        cmocka_unit_test(the_compilers_line_is_found),
        cmocka_unit_test(a_script_is_named_after_its_file),
        IN_HOST(an_error_in_a_handler_shows_its_line),
        IN_HOST(an_error_below_the_script_shows_the_scripts_line),
        IN_HOST(a_script_described_wrongly_shows_where_it_is_described),
        IN_HOST(what_is_no_lua_shows_its_line),
        IN_HOST(an_error_that_looks_like_another_line_is_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
