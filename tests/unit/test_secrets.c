/* What is a secret is read from a Lua file, which can do nothing but say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "host/secrets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/secrets-%d.lua", (int)getpid());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static struct redact_rules *load(const char *text, char *why, size_t cap)
{
    struct redact_rules *rules = NULL;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    *why = '\0';
    int result = secrets_load(&rules, path, why, cap);
    assert_int_equal(result, rules ? 0 : -EINVAL);
    return rules;
}

static void refuse(const char *text, const char *said)
{
    char why[512];
    assert_null(load(text, why, sizeof why));
    if (!strstr(why, said) || !strstr(why, path))
        fail_msg("%s: it says %s", text, why);
    assert_null(strchr(why, '\n'));
}

static void the_usual_ones_are_all_expressions(void **state)
{
    struct redact_rules *rules;
    char why[512] = "";
    (void)state;
    assert_int_equal(secrets_load(&rules, NULL, why, sizeof why), 0);
    assert_true(rules->args.len > 10 && rules->names.len && rules->values.len > 5);
    secrets_free(rules);
}

static void a_file_says_what_is_a_secret(void **state)
{
    char why[512];
    (void)state;
    struct redact_rules *rules = load("local usual = require 'moonwatch.redact'\n"
                                      "usual.args[#usual.args + 1] = { '--pin=(%d+)', has = { '--pin', 'x' } }\n"
                                      "return { args = { 'a(b)', { 'c', has = { 'c' } }, usual.args[#usual.args] },\n"
                                      "         environ = { values = { 'z' } } }",
                                      why, sizeof why);
    assert_string_equal(why, "");
    assert_int_equal(rules->args.len, 3);
    assert_string_equal(rules->args.rule[0].regex, "a(b)");
    assert_int_equal(rules->args.rule[0].has_len, 0);
    assert_string_equal(rules->args.rule[1].has[0].bytes, "c");
    assert_string_equal(rules->args.rule[2].regex, "--pin=(%d+)");
    assert_int_equal(rules->args.rule[2].has_len, 2);
    assert_int_equal(rules->names.len, 0);
    assert_int_equal(rules->values.len, 1);
    secrets_free(rules);
}

static void what_is_wrong_is_said_in_one_sentence(void **state)
{
    (void)state;
    refuse("return 7", "it returns a number, and not {");
    refuse("return { args = 'x' }", "`args` is a list of rules, not a string");
    refuse("return { args = { 'x', 7 } }", "args[2] is a number: a rule is");
    refuse("return { args = { { 'x', has = 'y' } } }", "args[1]: `has` is a list of texts, not a string");
    refuse("return { environ = { names = { {} } } }", "environ.names[1] is a nil");
    refuse("return { environ = 1 }", "`environ` is {");
    refuse("return { arg = {} }", "there is no 'arg'");
    refuse("return {", "unexpected symbol");
    refuse("return { args = { '(' } }", "rule 1 of args");
    refuse("while true do end", "it does not come to an end");
    refuse("os.exit(0)", "global 'os'");
    refuse("io.open('/etc/passwd')", "global 'io'");
    refuse("error {}", "what is no text");
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct redact_rules *rules;
    char why[512];
    (void)state;
    assert_int_equal(secrets_load(&rules, "/nonexistent/x.lua", why, sizeof why), -EINVAL);
    assert_string_equal(why, "cannot open /nonexistent/x.lua: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_ones_are_all_expressions),
        cmocka_unit_test(a_file_says_what_is_a_secret),
        cmocka_unit_test(what_is_wrong_is_said_in_one_sentence),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests_name("secrets", tests, set_up, tear_down);
}
