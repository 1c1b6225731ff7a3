/* test_option.c - what an operator sets reaches the right script, as the type that it expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "host/host.h"
#include "host_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct host_setting set[] = {
    { "web", "max", "3" },      { "web", "max", "1e3" },           { "web", "on", "no" },
    { "web", "off", "yes" },    { "web", "names", " a,, b c ,d" }, { "web", "text", "x=y" },
    { "web", "empty", "" },     { "web", "bad", "12x" },           { "other", "max", "9" },
    { "unheard", "maxx", "1" }, { "unheard", "\x1b[2J", "1" },
};

static struct host_settings settings = { .all = set, .len = sizeof set / sizeof *set };

static int begin(void **state)
{
    struct host_options options = { .table_bytes = 1 << 20, .settings = &settings };
    (void)state;
    logged[0] = '\0';
    log_to(keep_log, NULL);
    options.fd = out = memfd_create("out", 0);
    return host_new(&host, &options);
}

static int end(void **state)
{
    (void)state;
    end_host();
    settings.strict = false;
    return 0;
}

static int load(const char *name, const char *body)
{
    char text[1024];
    snprintf(text, sizeof text, "local mw = require 'moonwatch' mw.at_exit(function() end) %s",
             body);
    return host_load(host, name, text, strlen(text));
}

static void says(const char *name, const char *body, const char *want)
{
    static char text[1024];
    if (load(name, body) < 0)
        fail_msg("%s", host_error(host));
    host_flush(host);
    ssize_t len = pread(out, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    assert_string_equal(text, want);
    assert_int_equal(ftruncate(out, 0), 0);
    lseek(out, 0, SEEK_SET);
}

static void a_value_has_the_type_of_the_default(void **state)
{
    (void)state;
    says("@/x/web.lua", "print(mw.option('max', 5) + 1, type(mw.option('max', 'a')))",
         "1001\tstring\n");
    says("@web.lua", "print(mw.option('on', true), mw.option('off', false))", "false\ttrue\n");
    says("@web.lua", "print(table.concat(mw.option('names', {}), '|'))", "a|b c|d\n");
    says("@web.lua", "print(mw.option('text'), '<' .. mw.option('empty', 'x') .. '>')",
         "x=y\t<>\n");
    says("@web.lua", "print(#mw.option('empty', { 'x' }))", "0\n");
}

static void what_is_not_set_is_the_default(void **state)
{
    (void)state;
    says("@web.lua",
         "local d = {} print(mw.option('none', 5), mw.option('none'), mw.option('none', d) == d)",
         "5\tnil\ttrue\n");
    says("@unset.lua", "print(mw.option('max', 5))", "5\n");
    says("@other.lua", "mw.script { name = 'web' } print(mw.option('max', 5))", "9\n");
}

static void a_value_of_another_type_makes_the_script_wrong(void **state)
{
    (void)state;
    assert_true(load("@web.lua", "mw.option('bad', 5)") < 0);
    assert_non_null(strstr(host_error(host), "web.lua:1: --set web.bad=12x: it takes a number"));
    assert_true(load("@web.lua", "mw.option('bad', true)") < 0);
    assert_non_null(strstr(host_error(host), "it takes a boolean (yes or no)"));
    assert_true(load("@web.lua", "mw.option('bad', print)") < 0);
    assert_non_null(strstr(host_error(host), "not a function"));
}

static void what_a_script_does_not_know_is_said(void **state)
{
    (void)state;
    says("@unheard.lua", "mw.option('max', 5) mw.option('min', 1) mw.option('max', 5)", "");
    assert_non_null(
        strstr(logged, "--set unheard.maxx: the script has no such option; it has min, max\n"));
    assert_null(strstr(logged, "\x1b"));
    assert_null(strstr(logged, "web."));
}

static int replace(const char *text, uint32_t generation)
{
    struct host_source source = {
        .id = 7, .generation = generation, .name = "@unheard.lua", .text = text, .len = strlen(text)
    };
    return host_replace(host, &source);
}

static void with_strict_settings_only_the_first_version_is_wrong(void **state)
{
    const char *text = "local mw = require 'moonwatch' mw.option('max', 5) "
                       "mw.script { name = 'u', on = { exec = print } }";
    (void)state;
    settings.strict = true;
    assert_true(replace(text, 1) < 0);
    assert_string_equal(host_error(host),
                        "--set unheard.maxx: the script has no such option; it has max");
    assert_string_equal(logged, "");
    assert_int_equal(
        replace("local mw = require 'moonwatch' mw.option('maxx') mw.option('\\27[2J') "
                "mw.script { name = 'u' }",
                1),
        0);
    assert_int_equal(replace(text, 2), 0);
    assert_non_null(
        strstr(logged, "--set unheard.maxx: the script has no such option; it has max\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_has_the_type_of_the_default),
        TEST(what_is_not_set_is_the_default),
        TEST(a_value_of_another_type_makes_the_script_wrong),
        TEST(what_a_script_does_not_know_is_said),
        TEST(with_strict_settings_only_the_first_version_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
