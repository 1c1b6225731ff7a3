/* test_sigma.c - rules say of events what the specification of Sigma has them say; what it does not
 * have is refused with its line, and whatever could not be seen is undecided. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/flat.h"
#include "sigma/view.h"
#include "sigma/yaml.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define F SIGMA_FALSE
#define T SIGMA_TRUE
#define U SIGMA_UNDECIDED

/* --- a set, and events in JSON ---------------------------------------------------------------- */

struct said {
    char text[8192];
    int refused, skipped, noted, line;
};

static void remember(void *ctx, const struct sigma_remark *r)
{
    struct said *said = ctx;
    size_t len = strlen(said->text);
    snprintf(said->text + len, sizeof said->text - len, "%d: %s\n", r->line, r->text);
    said->refused += r->kind == SIGMA_REFUSED;
    said->skipped += r->kind == SIGMA_SKIPPED;
    said->noted += r->kind == SIGMA_NOTED;
    said->line = r->line;
}

static const char *const names[] = { "root", "www-*" };
static const char *const one[] = { "a*" };
static const struct sigma_placeholder placeholders[] = {
    { "users", names, 2 },
    { "one", one, 1 },
};

static struct sigma *set_of(const char *text, struct said *said)
{
    struct sigma *s;
    struct sigma_options options = { .remarked = said ? remember : NULL,
                                     .ctx = said,
                                     .placeholders = placeholders,
                                     .placeholders_len = 2 };
    if (said)
        *said = (struct said){ 0 };
    assert_int_equal(sigma_new(&s, &options), 0);
    assert_int_equal(sigma_add(s, "rule.yml", text, strlen(text)), 0);
    assert_int_equal(sigma_finish(s), 0);
    return s;
}

static enum sigma_verdict ask(struct sigma *s, const char *json)
{
    struct sigma_view *view;
    struct flat flat = { 0 };
    struct sigma_rule before, after;
    char why[200] = "";
    assert_int_equal(sigma_view_new(&view, s), 0);
    if (flat_read(&flat, json, strlen(json), why, sizeof why) < 0)
        fail_msg("%s: %s", json, why);
    assert_true(sigma_rule_at(s, 0, &before));
    int fired = sigma_match(s, sigma_view_flat(view, &flat));
    assert_true(sigma_rule_at(s, 0, &after));
    sigma_view_free(view);
    flat_free(&flat);
    assert_int_equal(fired, after.fired - before.fired);
    return fired ? T : after.undecided > before.undecided ? U : F;
}

static const char head[] = "title: a rule\nid: one\nlogsource: { product: linux, category: "
                           "process_creation }\ndetection:\n";

/* A rule with this detection, of which each line begins with a blank. */
static struct sigma *set_with(const char *detection)
{
    char text[16384];
    struct said said;
    snprintf(text, sizeof text, "%s%s%s", head, detection,
             strstr(detection, "condition:") ? "" : "\n condition: s\n");
    struct sigma *s = set_of(text, &said);
    if (said.refused || !sigma_rules(s))
        fail_msg("%s\n%s", text, said.text);
    return s;
}

struct one_case {
    const char *detection, *json;
    enum sigma_verdict want;
};

static void check_cases(const struct one_case *cases, size_t len)
{
    const char *detection = NULL;
    for (size_t i = 0; i < len; i++) {
        if (cases[i].detection)
            detection = cases[i].detection;
        struct sigma *s = set_with(detection);
        enum sigma_verdict got = ask(s, cases[i].json);
        if (got != cases[i].want)
            fail_msg("%s\nof %s: %d instead of %d", detection, cases[i].json, got, cases[i].want);
        sigma_free(s);
    }
}

/* --- values ----------------------------------------------------------------------------------- */

static void texts_are_compared_whole_and_in_whatever_letters(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A: 'FooBar' }", "{\"A\":\"foobar\"}", T },
        { NULL, "{\"A\":\"foobar2\"}", F },
        { NULL, "{\"A\":\"\"}", F },
        { NULL, "{\"a\":\"foobar\"}", U }, /* names are what they are */
        { " s: { A: [ one, Two ] }", "{\"A\":\"two\"}", T },
        { NULL, "{\"A\":\"three\"}", F },
        { " s: { A: '\xc3\x84' }", "{\"A\":\"\xc3\xa4\"}", F }, /* of ASCII only */
        { NULL, "{\"A\":\"\xc3\x84\"}", T },
        { " s: { A: '' }", "{\"A\":\"\"}", T },
        { NULL, "{\"A\":\"x\"}", F },
        { " s: { A|cased: 'Foo' }", "{\"A\":\"Foo\"}", T },
        { NULL, "{\"A\":\"foo\"}", F },
        { " s: { A|contains|cased: 'Foo' }", "{\"A\":\"a foo Foo\"}", T },
        { NULL, "{\"A\":\"a foo\"}", F },
        { " s: { A|cased|startswith: 'Foo' }", "{\"A\":\"Food\"}", T },
        { NULL, "{\"A\":\"food\"}", F },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void wildcards_stand_for_what_they_should(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A: 'a*c' }", "{\"A\":\"abbc\"}", T },
        { NULL, "{\"A\":\"ac\"}", T },
        { NULL, "{\"A\":\"acd\"}", F },
        { NULL, "{\"A\":\"xac\"}", F },
        { NULL, "{\"A\":\"A\\nb\\nC\"}", T },
        { " s: { A: 'a?c' }", "{\"A\":\"abc\"}", T },
        { NULL, "{\"A\":\"ac\"}", F },
        { NULL,
          "{\"A\":\"a\xc3\xa4"
          "c\"}",
          T }, /* one character, two bytes */
        { " s: { A: '*' }", "{\"A\":\"\"}", T },
        { NULL, "{\"A\":\"x\"}", T },
        { NULL, "{\"A\":null}", F },
        { NULL, "{}", U },
        { " s: { A: 'a\\*c' }", "{\"A\":\"a*c\"}", T },
        { NULL, "{\"A\":\"abc\"}", F },
        { " s: { A: 'a\\?c' }", "{\"A\":\"a?c\"}", T },
        { NULL, "{\"A\":\"abc\"}", F },
        { " s: { A: 'a\\\\*c' }", "{\"A\":\"a\\\\xxc\"}", T }, /* a backslash, then a star */
        { NULL, "{\"A\":\"axxc\"}", F },
        { " s: { A: 'a\\\\\\*c' }", "{\"A\":\"a\\\\*c\"}", T }, /* both plain */
        { NULL, "{\"A\":\"a\\\\xc\"}", F },
        { " s: { A: 'a\\b' }", "{\"A\":\"a\\\\b\"}", T }, /* no wildcard follows: as it is */
        { " s: { A: 'a\\\\b' }", "{\"A\":\"a\\\\b\"}", T },
        { " s: { A: 'a\\' }", "{\"A\":\"a\\\\\"}", T },
        { " s: { A|contains: 'b*d' }", "{\"A\":\"abcde\"}", T },
        { NULL, "{\"A\":\"abc\"}", F },
        { " s: { A|contains: '*b*' }", "{\"A\":\"abc\"}", T },
        { " s: { A|startswith: '*b' }", "{\"A\":\"aabc\"}", T },
        { " s: { A|endswith: 'b?' }", "{\"A\":\"abc\"}", T },
        { NULL, "{\"A\":\"ab\"}", F },
        { " s: { A: 'a*b*c*d' }", "{\"A\":\"aXbYcZd\"}", T },
        { NULL, "{\"A\":\"aXcYbZd\"}", F },
        { " s: { A: 'a*bc' }", "{\"A\":\"abbcbc\"}", T },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void places_in_a_text_are_told_apart(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|contains: 'b' }", "{\"A\":\"abc\"}", T },
        { " s: { A|contains: '' }", "{\"A\":\"abc\"}", T },
        { " s: { A|startswith: 'ab' }", "{\"A\":\"ABc\"}", T },
        { NULL, "{\"A\":\"xab\"}", F },
        { NULL, "{\"A\":\"a\"}", F },
        { " s: { A|endswith: 'bc' }", "{\"A\":\"abC\"}", T },
        { NULL, "{\"A\":\"abc\\n\"}", F }, /* a newline at the end counts */
        { NULL, "{\"A\":\"c\"}", F },
        { " s: { A|contains|all: [ a, b ] }", "{\"A\":\"bxa\"}", T },
        { NULL, "{\"A\":\"bxb\"}", F },
        { " s: { A|contains|all: [ a ] }", "{\"A\":\"a\"}", T },
        { " s: { A|all|startswith: [ a, ab ] }", "{\"A\":\"abc\"}", T },
        { " s: { A|contains: [ aa, aaa, baa ] }", "{\"A\":\"aab\"}", T },
        { NULL, "{\"A\":\"bab\"}", F },
        { " s: { A|endswith: [ she, he, hers ] }", "{\"A\":\"ushers\"}", T },
        { " s: { A|contains: '\\' }", "{\"A\":\"a\\\\b\"}", T },
        { " s: { A|contains: 'a\\u0000b' }", "{\"A\":\"a\\u0000b\"}", F }, /* written so */
        { " s: { A|contains: \"a\\0b\" }", "{\"A\":\"xa\\u0000b\"}", T },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void scalars_are_what_was_written(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A: no }", "{\"A\":\"no\"}", T },
        { NULL, "{\"A\":false}", F },
        { " s: { A: 012 }", "{\"A\":\"012\"}", T },
        { NULL, "{\"A\":10}", F },
        { NULL, "{\"A\":12}", F },
        { " s: { A: 1e3 }", "{\"A\":1000}", T },
        { NULL, "{\"A\":\"1e3\"}", T },
        { " s: { A: 5 }", "{\"A\":5}", T },
        { NULL, "{\"A\":\"5\"}", T },
        { NULL, "{\"A\":5.0}", T },
        { NULL, "{\"A\":55}", F },
        { " s: { A: 5.0 }", "{\"A\":5}", T },
        { NULL, "{\"A\":\"5.0\"}", T },
        { " s: { A: '5' }", "{\"A\":5}", T },
        { " s: { A: 4294967295 }", "{\"A\":4294967295}", T },
        { " s: { A: -1 }", "{\"A\":-1}", T },
        { " s: { A: 0x10 }", "{\"A\":16}", F },
        { NULL, "{\"A\":\"0X10\"}", T },
        { " s: { A: 2024-01-01 }", "{\"A\":\"2024-01-01\"}", T },
        { " s: { A: 12:30:45 }", "{\"A\":\"12:30:45\"}", T },
        { " s: { A: true }", "{\"A\":true}", T },
        { NULL, "{\"A\":\"True\"}", T },
        { NULL, "{\"A\":false}", F },
        { " s: { A|contains: 44 }", "{\"A\":\"x443\"}", T },
        { " s: { A: 'null' }", "{\"A\":\"null\"}", T },
        { NULL, "{\"A\":null}", F },
        { " s: { A: 'a b' }", "{\"A\":[\"a\",\"b\"]}", T }, /* a list is its values */
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void what_is_missing_is_undecided_but_for_null_and_exists(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A: null }", "{}", T },
        { NULL, "{\"A\":null}", T },
        { NULL, "{\"A\":\"\"}", F },
        { NULL, "{\"A\":\"null\"}", F },
        { " s: { A: ~ }", "{}", T },
        { " s: { A: [] }", "{}", T },
        { " s: { A: }", "{}", T },
        { " s: { A: [ null, x ] }", "{\"A\":\"x\"}", T },
        { NULL, "{}", T },
        { NULL, "{\"A\":\"y\"}", F },
        { " s: { A|exists: true }", "{}", F },
        { NULL, "{\"A\":null}", T },
        { NULL, "{\"A\":\"\"}", T },
        { " s: { A|exists: false }", "{}", T },
        { NULL, "{\"A\":null}", F },
        { NULL, "{\"A\":1}", F },
        { " s: { A: x }", "{}", U },
        { NULL, "{\"A\":null}", F },
        { " s: { A|re: x }", "{}", U },
        { " s: { A|gt: 1 }", "{}", U },
        { " s: { A|cidr: 10.0.0.0/8 }", "{}", U },
        { " s: { A|neq: x }", "{}", U },
        { " s: { A: x, B: y }", "{\"A\":\"z\"}", F }, /* one says no, whatever the other is */
        { NULL, "{\"A\":\"x\"}", U },
        { NULL, "{\"B\":\"y\"}", U },
        { NULL, "{\"A\":\"x\",\"B\":\"y\"}", T },
        { " s: [ { A: x }, { B: y } ]", "{\"A\":\"x\"}", T }, /* one says yes */
        { NULL, "{\"A\":\"z\"}", U },
        { NULL, "{\"A\":\"z\",\"B\":\"z\"}", F },
        { " s: { A: x }\n f: { B: y }\n condition: s and not f", "{\"A\":\"x\"}", U },
        { NULL, "{\"A\":\"z\"}", F },
        { NULL, "{\"A\":\"x\",\"B\":\"z\"}", T },
        { NULL, "{\"B\":\"y\"}", F },
        { " s: { A: x }\n condition: not s", "{}", U },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void numbers_are_compared_as_numbers(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|lt: 10 }", "{\"A\":9.5}", T },
        { NULL, "{\"A\":10}", F },
        { NULL, "{\"A\":\"9\"}", T },
        { NULL, "{\"A\":\"nine\"}", F },
        { NULL, "{\"A\":\"9 \"}", F },
        { NULL, "{\"A\":\"\"}", F },
        { " s: { A|lte: 10 }", "{\"A\":10}", T },
        { " s: { A|gt: -1 }", "{\"A\":0}", T },
        { " s: { A|gte: 1.5 }", "{\"A\":1.5}", T },
        { NULL, "{\"A\":1.4}", F },
        { " s: { A|gt: [ 100, 5 ] }", "{\"A\":6}", T },
        { " s: { A|neq: 5 }", "{\"A\":5}", F },
        { NULL, "{\"A\":6}", T },
        { NULL, "{\"A\":\"x\"}", T },
        { " s: { A|neq: [ x, y ] }", "{\"A\":\"y\"}", F },
        { NULL, "{\"A\":\"z\"}", T },
        { " s: { A|contains|neq: x }", "{\"A\":\"axb\"}", F },
        { " s: { A|contains|all|neq: [ x, y ] }", "{\"A\":\"ax\"}", T },
        { NULL, "{\"A\":\"axy\"}", F },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void regular_expressions_are_cased_and_stand_anywhere(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|re: 'b+c' }", "{\"A\":\"abbcd\"}", T },
        { NULL, "{\"A\":\"aBBC\"}", F },
        { NULL, "{\"A\":\"ac\"}", F },
        { " s: { A|re|i: 'b+c' }", "{\"A\":\"aBBC\"}", T },
        { " s: { A|re: '^b$' }", "{\"A\":\"a\\nb\\nc\"}", F },
        { NULL, "{\"A\":\"b\"}", T },
        { " s: { A|re|m: '^b$' }", "{\"A\":\"a\\nb\\nc\"}", T },
        { " s: { A|re: 'a.c' }", "{\"A\":\"a\\nc\"}", F },
        { " s: { A|re|s: 'a.c' }", "{\"A\":\"a\\nc\"}", T },
        { " s: { A|re|i|s|m: '^A.C$' }", "{\"A\":\"x\\na\\nc\"}", T },
        { " s: { A|re|ignorecase|dotall: 'A.C' }", "{\"A\":\"a\\nc\"}", T },
        { " s: { A|re: [ 'x+', 'y+' ] }", "{\"A\":\"y\"}", T },
        { " s: { A|re|all: [ 'x+', 'y+' ] }", "{\"A\":\"y\"}", F },
        { NULL, "{\"A\":\"yx\"}", T },
        { " s: { A|re: 'a\\*b' }", "{\"A\":\"a*b\"}", T }, /* as it is written */
        { " s: { A|re: '\\\\\\\\' }", "{\"A\":\"a\\\\\\\\b\"}", T },
        { " s: { A|re: '' }", "{\"A\":\"x\"}", T },
        { " s: { A|re|contains: 'b' }", "{\"A\":\"abc\"}", T },
        { " s: { A|re|startswith: 'b|a' }", "{\"A\":\"abc\"}", T },
        { NULL, "{\"A\":\"cab\"}", F },
        { " s: { A|re|endswith: 'b|c' }", "{\"A\":\"abc\"}", T },
        { NULL, "{\"A\":\"bca\"}", F },
        { " s: { A|re: '(a+)+$' }",
          "{\"A\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"}",
          U }, /* at its limit */
        /* what must be there for them to be tried is there */
        { " s: { A|re: 'abc?d' }", "{\"A\":\"abd\"}", T },
        { " s: { A|re: 'abc{0,2}d' }", "{\"A\":\"abd\"}", T },
        { " s: { A|re: 'ab(cd)?ef' }", "{\"A\":\"abef\"}", T },
        { " s: { A|re: 'ab|cd' }", "{\"A\":\"cd\"}", T },
        { " s: { A|re: '(?i)abc' }", "{\"A\":\"ABC\"}", T },
        { " s: { A|re: '(?x) a b c' }", "{\"A\":\"abc\"}", T },
        { " s: { A|re: 'a\\x42c' }", "{\"A\":\"aBc\"}", T },
        { " s: { A|re: '[^a-c]def' }", "{\"A\":\"xdef\"}", T },
        { " s: { A|re: '[]x]def' }", "{\"A\":\"]def\"}", T },
        { " s: { A|re: '\\Qa.b\\E' }", "{\"A\":\"a.b\"}", T },
        { " s: { A|re: '(?!x)abc(?=d)' }", "{\"A\":\"abcd\"}", T },
        { " s: { A|re: 'ab(?#c)d' }", "{\"A\":\"abd\"}", T },
        { " s: { A|re: 'a{2}b' }", "{\"A\":\"aab\"}", T },
        { " s: { A|re: 'a{x' }", "{\"A\":\"a{x\"}", T },
        { " s: { A|re: '(?|abc|def)x' }", "{\"A\":\"defx\"}", T },
        { " s: { A|re: '[[:alpha:]]bc' }", "{\"A\":\"xbc\"}", T },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void encodings_are_what_they_were_made_for(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|base64: foobar }", "{\"A\":\"Zm9vYmFy\"}", T },
        { " s: { A|base64|contains: foobar }", "{\"A\":\"x Zm9vYmFy\"}", T },
        { " s: { A|base64offset|contains: foobar }", "{\"A\":\"Zm9vYmFy\"}", T }, /* foobar */
        { NULL, "{\"A\":\"YWZvb2Jhcg==\"}", T },                                  /* afoobar */
        { NULL, "{\"A\":\"YWFmb29iYXI=\"}", T },                                  /* aafoobar */
        { NULL, "{\"A\":\"YWFhZm9vYmFyYg==\"}", T },                              /* aaafoobarb */
        { NULL, "{\"A\":\"Zm9vYmE=\"}", F },                                      /* fooba */
        { " s: { A|utf16le|base64offset|contains: foo }", "{\"A\":\"ZgBvAG8A\"}", T },
        { " s: { A|wide|base64: foo }", "{\"A\":\"ZgBvAG8A\"}", T },
        { " s: { A|utf16be|base64: foo }", "{\"A\":\"AGYAbwBv\"}", T },
        { " s: { A|utf16|base64: foo }", "{\"A\":\"//5mAG8AbwA=\"}", T },
        { " s: { A|wide: foo }", "{\"A\":\"f\\u0000o\\u0000o\\u0000\"}", T },
        { " s: { A|wide|base64: \xc3\xa4 }", "{\"A\":\"5AA=\"}", T },
        { " s: { A|wide|base64: '\xf0\x9f\x98\x80' }", "{\"A\":\"PdgA3g==\"}", T },
        { " s: { A|base64: 'a\\*b' }", "{\"A\":\"YSpi\"}", T }, /* a star that is none */
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void dashes_of_options_are_all_the_same_to_windash(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|windash|contains: ' -f ' }", "{\"A\":\"x -f y\"}", T },
        { NULL, "{\"A\":\"x /F y\"}", T },
        { NULL,
          "{\"A\":\"x \xe2\x80\x93"
          "f y\"}",
          T },
        { NULL,
          "{\"A\":\"x \xe2\x80\x94"
          "f y\"}",
          T },
        { NULL,
          "{\"A\":\"x \xe2\x80\x95"
          "f y\"}",
          T },
        { NULL, "{\"A\":\"x _f y\"}", F },
        { " s: { A|contains|windash: '-a -b' }", "{\"A\":\"x /a -b\"}", T },
        { NULL, "{\"A\":\"x -a /b\"}", T },
        { NULL, "{\"A\":\"x /a\"}", F },
        { " s: { A|windash: '-param-name' }", "{\"A\":\"/param-name\"}", T },
        { NULL, "{\"A\":\"-param/name\"}", F }, /* not inside of a word */
        { " s: { A|windash|contains|all: [ '-a', '/b' ] }", "{\"A\":\"/a -b\"}", T },
        { NULL, "{\"A\":\"-a\"}", F },
        { " s: { A|windash: '-a' }", "{\"A\":\"-a\"}", T },
        { " s: { A|windash|contains: ' - ' }", "{\"A\":\"a / b\"}", F }, /* no option */
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void addresses_fields_and_placeholders(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|cidr: 192.168.0.0/16 }", "{\"A\":\"192.168.7.7\"}", T },
        { NULL, "{\"A\":\"192.169.0.1\"}", F },
        { NULL, "{\"A\":\"x\"}", F },
        { " s: { A|cidr: [ 10.0.0.0/8, '2001:db8::/32' ] }", "{\"A\":\"2001:db8::7\"}", T },
        { " s: { A|fieldref: B }", "{\"A\":\"x\",\"B\":\"X\"}", T },
        { NULL, "{\"A\":\"x\",\"B\":\"y\"}", F },
        { NULL, "{\"A\":\"x\"}", U },
        { " s: { A|fieldref|cased: B }", "{\"A\":\"x\",\"B\":\"X\"}", F },
        { " s: { A|fieldref|startswith: B }", "{\"A\":\"xyz\",\"B\":\"xy\"}", T },
        { " s: { A|fieldref|endswith: B }", "{\"A\":\"xyz\",\"B\":\"yz\"}", T },
        { NULL, "{\"A\":\"xyz\",\"B\":\"xy\"}", F },
        { " s: { A|fieldref|contains: B }", "{\"A\":\"xyz\",\"B\":\"y\"}", T },
        { " s: { A|fieldref|neq: B }", "{\"A\":\"x\",\"B\":\"x\"}", F },
        { NULL, "{\"A\":\"x\",\"B\":\"y\"}", T },
        { " s: { A|expand: '%users%' }", "{\"A\":\"www-data\"}", T },
        { NULL, "{\"A\":\"root\"}", T },
        { NULL, "{\"A\":\"nobody\"}", F },
        { " s: { A|expand: 'x%one%y%users%' }", "{\"A\":\"xa!yroot\"}", T },
        { NULL, "{\"A\":\"xa!ynobody\"}", F },
        { " s: { A|expand: '\\%users%' }", "{\"A\":\"%users%\"}", T },
        { " s: { A: '%users%' }", "{\"A\":\"%users%\"}", T }, /* not to be expanded */
        { " s: { A|expand|contains: '%users%' }", "{\"A\":\"a root b\"}", T },
        { " s: { A|expand: '100% of it' }", "{\"A\":\"100% of it\"}", T },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void parts_of_times(void **state)
{
    static const struct one_case cases[] = {
        { " s: { A|hour: 3 }", "{\"A\":\"2024-06-01 03:59:00.123\"}", T },
        { NULL, "{\"A\":\"2024-06-01T04:00:00Z\"}", F },
        { NULL, "{\"A\":1717210800}", T },
        { NULL, "{\"A\":\"three\"}", F },
        { " s: { A|minute: 59 }", "{\"A\":\"2024-06-01 03:59:00\"}", T },
        { " s: { A|day: 1 }", "{\"A\":\"2024-06-01\"}", T },
        { " s: { A|month: [ 5, 6 ] }", "{\"A\":\"2024-06-01\"}", T },
        { " s: { A|year: 2024 }", "{\"A\":\"2024-06-01\"}", T },
        { " s: { A|week: 22 }", "{\"A\":\"2024-06-01\"}", T },
        { " s: { A|week: 1 }", "{\"A\":\"2024-12-31\"}", T },
        { " s: { A|hour|gte: 22 }", "{\"A\":\"2024-06-01 23:00:00\"}", T },
        { NULL, "{\"A\":\"2024-06-01 21:00:00\"}", F },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

static void keywords_are_looked_for_in_the_whole_event(void **state)
{
    static const struct one_case cases[] = {
        { " s: [ foo, bar ]", "{\"X\":\"a BAR b\"}", T },
        { NULL, "{\"X\":\"a\",\"Y\":{\"Z\":\"foo\"}}", T },
        { NULL, "{\"X\":\"fo\",\"Y\":\"o\"}", F },
        { " s: foo", "{\"X\":\"food\"}", T },
        { " s: { '|all': [ foo, bar ] }", "{\"X\":\"bar\",\"Y\":\"foo\"}", T },
        { NULL, "{\"X\":\"bar\"}", F },
        { " s: [ 'f*d' ]", "{\"X\":\"a food b\"}", T },
        { " s: { '|re': 'fo+d' }", "{\"X\":\"a food b\"}", T },
        { " s: [ 4711 ]", "{\"X\":4711}", T },
        { " s: [ foo, { A: x } ]", "{\"A\":\"x\"}", T }, /* texts and maps in one list */
        { NULL, "{\"A\":\"y\",\"B\":\"foo\"}", T },
    };
    (void)state;
    check_cases(cases, COUNT(cases));
}

/* --- conditions ------------------------------------------------------------------------------- */

static void conditions_join_selections(void **state)
{
#define SELECTIONS " s_a: { A: x }\n s_b: { B: x }\n f_c: { C: x }\n _d: { D: x }\n condition: "
    static const struct {
        const char *condition;
        const char *holds[4], *holds_not[4]; /* fields that are x */
    } cases[] = {
        { "s_a", { "A", "ABC" }, { "", "BCD" } },
        { "not s_a", { "", "B" }, { "A" } },
        { "not not s_a", { "A" }, { "" } },
        { "s_a and s_b", { "AB" }, { "A", "B" } },
        { "s_a or s_b", { "A", "B" }, { "C" } },
        { "s_a or s_b and f_c", { "A", "BC" }, { "B", "C" } },
        { "(s_a or s_b) and f_c", { "AC", "BC" }, { "A", "AB" } },
        { "s_a and not f_c", { "A", "AB" }, { "AC" } },
        { "not s_a and s_b", { "B" }, { "AB", "" } },
        { "not (s_a and s_b)", { "A", "" }, { "AB" } },
        { "1 of s_*", { "A", "B" }, { "C" } },
        { "any of s_*", { "A", "B" }, { "C" } },
        { "all of s_*", { "AB", "ABC" }, { "A", "BC" } },
        { "1 of them", { "A", "C" }, { "D", "" } },
        { "all of them", { "ABC" }, { "AB" } },
        { "all of s_* and not 1 of f_*", { "AB" }, { "ABC", "A" } },
        { "1 of *_c", { "C" }, { "A" } },
        { "1 of s_a", { "A" }, { "B" } },
        { "_d", { "D" }, { "A" } },
        { "S_A or s_b", { NULL }, { NULL } }, /* refused, see below */
        { "s_a AND s_b", { "AB" }, { "A" } },
        { "((((s_a))))", { "A" }, { "B" } },
        { "  s_a\tor\ts_b ", { "A" }, { "C" } },
        { "[ s_a, s_b ]", { "A", "B" }, { "C" } },
        { "[ s_a and s_b, f_c ]", { "C", "AB" }, { "A" } },
        { "'1 of s_* or s_a'", { "B" }, { "C" } },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char detection[512];
        if (!cases[i].holds[0])
            continue;
        snprintf(detection, sizeof detection, SELECTIONS "%s\n", cases[i].condition);
        struct sigma *s = set_with(detection);
        for (int wanted = 1; wanted >= 0; wanted--) {
            const char *const *list = wanted ? cases[i].holds : cases[i].holds_not;
            for (size_t n = 0; n < 4 && list[n]; n++) {
                char json[128] = "{";
                for (const char *name = "ABCD"; *name; name++)
                    snprintf(json + strlen(json), sizeof json - strlen(json), "%s\"%c\":\"%s\"",
                             *name == 'A' ? "" : ",", *name, strchr(list[n], *name) ? "x" : "y");
                strcat(json, "}");
                if (ask(s, json) != (wanted ? T : F))
                    fail_msg("%s of %s is not %d", cases[i].condition, json, wanted);
            }
        }
        sigma_free(s);
    }
}

/* --- what is refused -------------------------------------------------------------------------- */

static void what_is_not_known_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *detection, *why;
        int line;
    } cases[] = {
        { " s: { A|containz: x }", "there is no modifier 'containz'", 5 },
        { " s: { A|: x }", "there is no modifier ''", 5 },
        { " s: { A|re: '(' }", "the regular expression is wrong at byte 2", 5 },
        { " s:\n  A|re:\n   - a\n   - '[z-a]'", "the regular expression is wrong", 8 },
        { " s: { A|contains|re: x }", "'re' must be the first modifier", 5 },
        { " s: { A|i: x }", "'i' does not go with a text", 5 },
        { " s: { A|cidr: 10.0.0.0/33 }", "0 to 32", 5 },
        { " s: { A|cidr: host }", "no address", 5 },
        { " s: { A|gt: ten }", "takes a number", 5 },
        { " s: { A|gt: }", "takes a number", 5 },
        { " s: { A|exists: maybe }", "exists takes true or false", 5 },
        { " s: { A|exists: 'true' }", "exists takes true or false", 5 },
        { " s: { A|contains: null }", "does not go with null", 5 },
        { " s: { A|base64: 'a*b' }", "plain texts", 5 },
        { " s: { A|contains|base64: ab }", "plain texts", 5 },
        { " s: { A|base64offset: '' }", "leaves nothing", 5 },
        { " s: { A|fieldref: 'a*' }", "the name of a field", 5 },
        { " s: { A|expand: '%nobody%' }", "nobody has said what %nobody% stands for", 5 },
        { " s: { A|re|expand: '%one%' }", "does not go with a regular expression", 5 },
        { " s: { A: { B: c } }", "not a map", 5 },
        { " s: { A: [ [ b ] ] }", "not a list", 5 },
        { " s: [ null ]", "null must be the value of a field", 5 },
        { " s: {}", "the selection is empty", 5 },
        { " s: []", "the selection is empty", 5 },
        { " condition: s", "there is no selection", 5 },
        { " s: { A: x }\n condition: t", "there is no selection 't'", 6 },
        { " s: { A: x }\n condition: S", "there is no selection 'S'", 6 },
        { " s: { A: x }\n condition: 1 of t*", "no selection is named 't*'", 6 },
        { " s: { A: x }\n condition: 2 of s*", "'of' takes 1, any or all", 6 },
        { " s: { A: x }\n condition: s*", "must stand before a name with *", 6 },
        { " s: { A: x }\n condition: s and", "something is missing at its end", 6 },
        { " s: { A: x }\n condition: (s", "a ) is missing", 6 },
        { " s: { A: x }\n condition: s)", "cannot be read from here on", 6 },
        { " s: { A: x }\n condition: s s", "cannot be read from here on", 6 },
        { " s: { A: x }\n condition: s | count() > 5", "write a correlation", 6 },
        { " s: { A: x }\n condition: ''", "something is missing", 6 },
        { " s: { A: x }\n condition: []", "1 to 100", 6 },
        { " s: { A: x }\n condition: { a: b }", "must be a text", 6 },
        { " s: { A: x }\n timeframe: 5m\n condition: s", "write a correlation", 6 },
        { " s: { A: x, A: y }", "the key is there twice", 5 },
        { " s: { A: !!binary x }", "tags are not taken", 5 },
        { " s: { <<: x }", "merge keys", 5 },
        { " s: { A: [ x }", "it is no YAML", 5 },
        { " s: { A: *b }", "nothing has the name of this alias", 5 },
        { " s: { A: &b [ *b ] }", "the alias stands for what it is in", 5 },
        { " s: { A: \"a\tb\x01\" }", "it is no YAML", 0 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[4096];
        struct said said;
        snprintf(text, sizeof text, "%s%s%s", head, cases[i].detection,
                 strstr(cases[i].detection, "condition:") ? "\n" : "\n condition: s\n");
        struct sigma *s = set_of(text, &said);
        if (said.refused != 1 || sigma_rules(s) != 0 || !strstr(said.text, cases[i].why) ||
            (cases[i].line && said.line != cases[i].line))
            fail_msg("%s\nrefused %d: %s\nnot in line %d for: %s", cases[i].detection, said.refused,
                     said.text, cases[i].line, cases[i].why);
        sigma_free(s);
    }
}

static void a_rule_that_is_wrong_costs_the_others_nothing(void **state)
{
    static const char text[] =
        "title: one\nlogsource: { category: process_creation }\ndetection: { s: { A: x }, "
        "condition: s }\n---\ntitle: two\nlogsource: { category: process_creation }\ndetection: { "
        "s: "
        "{ A|no: x }, condition: s }\n---\ntitle: three\nlogsource: { product: windows, category: "
        "process_creation }\ndetection: { s: { A: x }, condition: s }\n---\n- a list\n---\n"
        "title: five\nlogsource: { product: linux, service: auditd }\ndetection: { s: { a0: x }, "
        "condition: s }\nlevel: high\ntags: [ attack.t1059, attack.execution ]\nauthor: [ A, B ]\n";
    struct said said;
    struct sigma_rule rule;
    (void)state;
    struct sigma *s = set_of(text, &said);
    assert_int_equal(said.refused, 2);
    assert_int_equal(said.skipped, 1);
    assert_non_null(strstr(said.text, "7: A|no: there is no modifier 'no'"));
    assert_non_null(strstr(said.text, "windows process_creation"));
    assert_non_null(strstr(said.text, "13: a rule must be a map"));
    assert_int_equal(sigma_rules(s), 2);
    assert_true(sigma_rule_at(s, 1, &rule));
    assert_string_equal(rule.title, "five");
    assert_string_equal(rule.id, "five");
    assert_string_equal(rule.author, "A, B");
    assert_int_equal(rule.level, SIGMA_HIGH);
    assert_int_equal(rule.tags_len, 2);
    assert_string_equal(rule.tags[0], "attack.t1059");
    assert_int_equal(rule.source, SIGMA_AUDITD);
    assert_int_equal(sigma_rule_named(s, "one"), 0);
    assert_int_equal(sigma_rule_named(s, "two"), -1);
    sigma_free(s);
}

static void two_rules_of_one_id_are_one(void **state)
{
#define RULE(ID, VALUE)                                                                            \
    "id: " ID "\nlogsource: { category: process_creation }\ndetection: { s: { A: " VALUE           \
    " }, condition: s }\n---\n"
    struct said said;
    (void)state;
    struct sigma *s = set_of(RULE("a", "x") RULE("b", "x") RULE("a", "y"), &said);
    assert_int_equal(said.refused, 1);
    assert_non_null(strstr(said.text, "its id is that of a rule in rule.yml"));
    assert_int_equal(sigma_rules(s), 2);
    assert_int_equal(ask(s, "{\"A\":\"y\"}"), F);
    sigma_free(s);
}

static void what_unfolds_without_end_is_refused(void **state)
{
    struct buf text = { 0 };
    struct said said;
    (void)state;

    /* a billion of them in a few lines */
    buf_puts(&text, "a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (char c = 'b'; c <= 'j'; c++)
        buf_printf(&text, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1,
                   c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
    struct sigma *s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "unfold to more than 200,000"));
    sigma_free(s);

    /* names among which each alias would have to be looked for */
    buf_clear(&text);
    buf_puts(&text, "a: [");
    for (int i = 0; i < 300; i++)
        buf_printf(&text, "&n%d x,", i);
    buf_puts(&text, "]\n");
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "more than 250 values"));
    sigma_free(s);

    buf_clear(&text);
    buf_puts(&text, "a: [&n x");
    for (int i = 0; i < 200001; i++)
        buf_puts(&text, ",*n");
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "it holds too much"));
    sigma_free(s);

    buf_clear(&text);
    for (int i = 0; i < 1000; i++)
        buf_putc(&text, '[');
    s = set_of(buf_str(&text), &said);
    assert_int_equal(said.refused, 1);
    sigma_free(s);

    buf_clear(&text);
    buf_puts(&text, head);
    buf_puts(&text, " s: { A: x }\n condition: ");
    for (int i = 0; i < 500; i++)
        buf_putc(&text, '(');
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "too deep"));
    sigma_free(s);

    /* a tree of all selections, again and again */
    buf_clear(&text);
    buf_puts(&text, head);
    for (int i = 0; i < 900; i++)
        buf_printf(&text, " s%d: { A: x }\n", i);
    buf_puts(&text, " condition: 1 of them");
    for (int i = 0; i < 600; i++)
        buf_puts(&text, " or 1 of them");
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "too large"));
    sigma_free(s);

    buf_clear(&text);
    buf_puts(&text, head);
    buf_puts(&text, " condition: s\n s: { A|expand: '");
    for (int i = 0; i < 16; i++)
        buf_puts(&text, "%users%");
    buf_puts(&text, "' }\n");
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "unfolds to too much"));
    sigma_free(s);

    buf_clear(&text);
    buf_puts(&text, "{");
    for (int i = 0; i < 3000; i++)
        buf_printf(&text, "k%d: x, ", i);
    buf_puts(&text, "}");
    s = set_of(buf_str(&text), &said);
    assert_non_null(strstr(said.text, "more than 1,000 keys"));
    sigma_free(s);
    buf_free(&text);
}

/* --- filters ---------------------------------------------------------------------------------- */

static void filters_narrow_the_rules_that_they_name(void **state)
{
#define FILTER(RULES)                                                                              \
    "title: no admins\nlogsource: { category: process_creation }\nfilter: { rules: " RULES         \
    ", admin: { B|startswith: adm }, condition: not admin }\n"
    struct said said;
    (void)state;
    struct sigma *s = set_of(RULE("a", "x") FILTER("[ a ]"), &said);
    assert_int_equal(said.refused + said.noted, 0);
    assert_int_equal(sigma_rules(s), 1);
    assert_int_equal(ask(s, "{\"A\":\"x\",\"B\":\"adm1\"}"), F);
    assert_int_equal(ask(s, "{\"A\":\"x\",\"B\":\"eve\"}"), T);
    assert_int_equal(ask(s, "{\"A\":\"x\"}"), U);
    sigma_free(s);

    s = set_of(RULE("a", "x") RULE("b", "x") FILTER("b"), &said);
    assert_int_equal(ask(s, "{\"A\":\"x\",\"B\":\"adm1\"}"), T);
    sigma_free(s);

    s = set_of(FILTER("any") "---\n" RULE("a", "x"), &said);
    assert_int_equal(ask(s, "{\"A\":\"x\",\"B\":\"adm1\"}"), F);
    sigma_free(s);

    s = set_of(RULE("a", "x") FILTER("[ z ]"), &said);
    assert_int_equal(said.noted, 1);
    assert_non_null(strstr(said.text, "applies to no rule"));
    sigma_free(s);

    s = set_of("logsource: { category: process_creation }\nfilter: { a: { B: c }, condition: a }\n",
               &said);
    assert_non_null(strstr(said.text, "which rules it is for"));
    sigma_free(s);
}

/* --- correlations ----------------------------------------------------------------------------- */

#define BASE(NAME, VALUE)                                                                          \
    "name: " NAME "\nid: id-" NAME                                                                 \
    "\nlogsource: { category: process_creation }\ndetection: { s: { "                              \
    "A: " VALUE " }, condition: s }\n---\n"

/* "x u 5.5" for { "A": "x", "U": "u", "time": 5.5 }; which rules fire, by their ids. */
struct step {
    const char *event, *fires;
};

static void play(struct sigma *s, struct sigma_view *view, const struct step *steps, size_t len)
{
    struct flat flat = { 0 };
    for (size_t i = 0; i < len; i++) {
        char json[200], fired[200] = "", a[32], u[32], b[32] = "";
        double time;
        assert_true(sscanf(steps[i].event, "%31s %31s %lf %31s", a, u, &time, b) >= 3);
        snprintf(json, sizeof json, "{\"A\":\"%s\",%s%s%s\"B\":\"%s\",\"time\":%f}", a,
                 *u == '-' ? "" : "\"U\":\"", *u == '-' ? "" : u, *u == '-' ? "" : "\",", b,
                 1700000000 + time);
        assert_int_equal(flat_read(&flat, json, strlen(json), a, sizeof a), 0);
        int n = sigma_match(s, sigma_view_flat(view, &flat));
        for (int f = 0; f < n; f++) {
            struct sigma_rule rule;
            sigma_rule_at(s, sigma_fired(s, f), &rule);
            snprintf(fired + strlen(fired), sizeof fired - strlen(fired), "%s%s", f ? " " : "",
                     rule.id);
        }
        if (strcmp(fired, steps[i].fires))
            fail_msg("step %zu, %s: fired '%s', not '%s'", i, steps[i].event, fired,
                     steps[i].fires);
    }
    flat_free(&flat);
}

static void play_text(const char *text, const struct step *steps, size_t len)
{
    struct sigma_view *view;
    struct said said;
    struct sigma *s = set_of(text, &said);
    if (said.refused)
        fail_msg("%s", said.text);
    assert_int_equal(sigma_view_new(&view, s), 0);
    play(s, view, steps, len);
    sigma_view_free(view);
    sigma_free(s);
}

static void events_are_counted_by_group_and_within_the_span(void **state)
{
    static const struct step steps[] = {
        { "x u 0", "" },   { "x u 1", "" },   { "x v 2", "" },
        { "y u 3", "" },   { "x u 9", "c" }, /* the third of u */
        { "x u 9.5", "" }, { "x u 10", "" }, /* it begins anew */
        { "x u 20", "" },                    /* only one within ten seconds is left */
        { "x u 21", "" },  { "x u 22", "c" }, { "x - 23", "" },
        { "x - 23", "" },  { "x - 23", "" }, /* whose group nobody knows */
    };
    (void)state;
    play_text(BASE("a", "x") "id: c\ncorrelation: { type: event_count, rules: a, group-by: [ U ], "
                             "timespan: 10s, condition: { gte: 3 } }\n",
              steps, COUNT(steps));
}

static void rules_below_a_correlation_are_silent_unless_it_says_so(void **state)
{
    static const struct step steps[] = { { "x u 0", "id-a" }, { "x u 1", "id-a c" } };
    (void)state;
    play_text(
        BASE("a", "x") "id: c\ncorrelation: { type: event_count, rules: [ id-a ], group-by: U, "
                       "timespan: 10s, generate: true, condition: { gt: 1 } }\n",
        steps, COUNT(steps));
}

static void different_values_are_counted(void **state)
{
    static const struct step steps[] = {
        { "x u 0 one", "" },     { "x u 1 one", "" },      { "x u 2 two", "" },
        { "x v 3 three", "" },   { "x u 11.5 three", "" }, /* `one` is too long ago: it was seen
                                                              last at 1 */
        { "x u 11.9 one", "c" },
    };
    (void)state;
    play_text(
        BASE("a", "x") "id: c\ncorrelation: { type: value_count, rules: [ a ], group-by: [ U ], "
                       "timespan: 10s, condition: { field: B, gte: 3 } }\n",
        steps, COUNT(steps));
}

static void rules_come_together_in_any_order(void **state)
{
    static const struct step steps[] = {
        { "y u 0", "" },  { "x v 1", "" },  { "x u 10", "c" },
        { "y u 11", "" }, { "x u 22", "" }, { "y u 23", "c" },
    };
    (void)state;
    play_text(BASE("a", "x")
                  BASE("b", "y") "id: c\ncorrelation: { type: temporal, rules: [ a, b ], "
                                 "group-by: [ U ], timespan: 10s }\n",
              steps, COUNT(steps));
}

static void rules_follow_each_other(void **state)
{
    static const struct step steps[] = {
        { "y u 0", "" },  { "x u 1", "" },  { "z u 2", "" }, /* no y between them */
        { "y u 3", "" },  { "x v 3", "" },  { "z u 4", "c" },  { "z u 5", "" }, { "x u 6", "" },
        { "x u 9", "" },  { "y u 15", "" }, { "z u 19", "c" }, /* from the later x */
        { "x u 20", "" }, { "y u 21", "" }, { "z u 31", "" },
    };
    (void)state;
    play_text(BASE("a", "x") BASE("b", "y")
                  BASE("d", "z") "id: c\ncorrelation: { type: temporal_ordered,"
                                 " rules: [ a, b, d ], group-by: [ U ], timespan: 10s }\n",
              steps, COUNT(steps));
}

static void one_event_is_one_step(void **state)
{
    static const struct step steps[] = { { "x u 0", "" }, { "x u 1", "c" } };
    (void)state;
    play_text(BASE("a", "x")
                  BASE("b", "x") "id: c\ncorrelation: { type: temporal_ordered, rules: [ a, b ],"
                                 " group-by: [ U ], timespan: 10s }\n",
              steps, COUNT(steps));
}

static void too_few_events_are_judged_at_the_end_of_the_span(void **state)
{
    static const struct step steps[] = {
        { "x u 0", "" },   { "x u 1", "" },  { "x u 2", "" },
        { "x v 3", "" },   { "y w 11", "" }, /* u had three: too many */
        { "y w 14", "c" },                   /* v had one */
        { "y w 15", "" },
    };
    (void)state;
    play_text(
        BASE("a", "x") "id: c\ncorrelation: { type: event_count, rules: [ a ], group-by: [ U ], "
                       "timespan: 10s, condition: { lt: 3 } }\n",
        steps, COUNT(steps));
}

static void correlations_stand_above_each_other_and_have_aliases(void **state)
{
    static const struct step steps[] = {
        { "x u 0 q", "" },
        { "x u 1 q", "" },
        { "y q 2 u", "top" },
        { "y u 3 q", "" },
    };
    (void)state;
    play_text(
        "id: top\ncorrelation: { type: temporal_ordered, rules: [ many, b ], group-by: [ who ], "
        "timespan: "
        "1m, aliases: { who: { many: U, b: B } } }\nlevel: critical\n---\n" BASE("a", "x") BASE(
            "b", "y") "id: id-many\nname: many\ncorrelation: { type: event_count, rules: [ a ], "
                      "group-by: [ U ], timespan: 1m, condition: { gte: 2 } }\n",
        steps, COUNT(steps));
}

static void what_correlations_gathered_is_taken_over(void **state)
{
    static const char text[] =
        BASE("a", "x") "id: c\ncorrelation: { type: event_count, rules: a, "
                       "group-by: U, timespan: 10s, condition: { gte: 2 } }\n";
    static const struct step first[] = { { "x u 0", "" } }, second[] = { { "x u 1", "c" } };
    struct sigma_view *view;
    struct sigma_rule rule;
    (void)state;
    struct sigma *before = set_of(text, NULL);
    assert_int_equal(sigma_view_new(&view, before), 0);
    play(before, view, first, 1);
    sigma_view_free(view);
    struct sigma *after = set_of(text, NULL);
    sigma_take_over(after, before);
    sigma_free(before);
    assert_int_equal(sigma_view_new(&view, after), 0);
    play(after, view, second, 1);
    assert_true(sigma_rule_at(after, sigma_rule_named(after, "a"), &rule));
    assert_int_equal(rule.fired, 2);
    assert_int_equal(rule.asked, 2);
    sigma_view_free(view);
    sigma_free(after);
}

static void correlations_of_many_groups_stay_in_their_bounds(void **state)
{
    struct sigma_view *view;
    struct flat flat = { 0 };
    (void)state;
    struct sigma *s =
        set_of(BASE("a", "x") "id: c\ncorrelation: { type: value_count, rules: a, group-by: "
                              "U, timespan: 1h, condition: { gte: 100, field: B } }\n",
               NULL);
    assert_int_equal(sigma_view_new(&view, s), 0);
    for (int i = 0; i < 30000; i++) {
        char json[200], why[64];
        snprintf(json, sizeof json, "{\"A\":\"x\",\"U\":\"%d\",\"B\":\"%d\",\"time\":%d}", i / 2, i,
                 1700000000 + i / 100);
        assert_int_equal(flat_read(&flat, json, strlen(json), why, sizeof why), 0);
        assert_int_equal(sigma_match(s, sigma_view_flat(view, &flat)), 0);
    }
    flat_free(&flat);
    sigma_view_free(view);
    sigma_free(s);
}

static void correlations_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *correlation, *why;
    } cases[] = {
        { "{ type: value_sum, rules: a, timespan: 1s }", "the type of a correlation" },
        { "{ rules: a, timespan: 1s }", "the type of a correlation" },
        { "{ type: temporal, timespan: 1s }", "names no rules" },
        { "{ type: temporal, rules: a }", "the timespan" },
        { "{ type: temporal, rules: a, timespan: 5 }", "the timespan" },
        { "{ type: temporal, rules: a, timespan: 5y }", "the timespan" },
        { "{ type: temporal, rules: a, timespan: -5s }", "the timespan" },
        { "{ type: event_count, rules: a, timespan: 5s }", "has no condition" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: a }", "must be a map" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: { gte: x } }",
          "a whole number" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: { neq: 5 } }", "is none of" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: { lt: 1 } }",
          "nothing to hear of" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: { gt: 5, lt: 3 } }",
          "never be" },
        { "{ type: event_count, rules: a, timespan: 5s, condition: { gte: 2, field: B } }",
          "a field" },
        { "{ type: value_count, rules: a, timespan: 5s, condition: { gte: 2 } }", "a field" },
        { "{ type: temporal, rules: z, timespan: 5s }", "no rule that it could be about: z" },
        { "{ type: temporal, rules: c, timespan: 5s }", "about itself" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1024];
        struct said said;
        snprintf(text, sizeof text, BASE("a", "x") "id: c\ncorrelation: %s\n",
                 cases[i].correlation);
        struct sigma *s = set_of(text, &said);
        if (said.refused != 1 || !strstr(said.text, cases[i].why) || sigma_rules(s) != 1)
            fail_msg("%s: %s", cases[i].correlation, said.text);
        assert_int_equal(ask(s, "{\"A\":\"x\"}"), T);
        sigma_free(s);
    }
}

/* --- events of ours --------------------------------------------------------------------------- */

static const char *user_named(void *ctx, int64_t uid)
{
    (void)ctx;
    return uid == 33 ? "www-data" : NULL;
}

static void text(struct event_box *box, enum event_field field, const char *bytes, size_t len)
{
    event_set_text(box, field, bytes, len, WHY_PROC);
}

static enum sigma_verdict ask_event(const char *yaml, const struct event *ev,
                                    const struct event *parent)
{
    struct sigma_view *view;
    struct sigma_rule rule;
    struct said said;
    struct sigma *s = set_of(yaml, &said);
    if (said.refused)
        fail_msg("%s", said.text);
    assert_int_equal(sigma_view_new(&view, s), 0);
    int fired = sigma_match(s, sigma_view_event(view, ev, parent, user_named, NULL));
    sigma_rule_at(s, 0, &rule);
    sigma_view_free(view);
    sigma_free(s);
    return fired ? T : rule.undecided ? U : F;
}

static void an_exec_has_the_fields_of_sigma(void **state)
{
    static struct event_box box, parent;
    static const struct {
        const char *detection;
        enum sigma_verdict want, alone; /* without the parent */
    } cases[] = {
        { "Image: /usr/bin/nc", T, T },
        { "CommandLine: 'nc -e /bin/sh a b'", T, T },
        { "CurrentDirectory: /tmp", T, T },
        { "User: www-data", T, T },
        { "User: root", F, F },
        { "LogonId: 4294967295", T, T }, /* of no login */
        { "ProcessId: 4711", T, T },
        { "ParentProcessId: 42", T, T },
        { "ParentImage|endswith: /bash", T, U },
        { "ParentCommandLine: 'bash -c x'", T, U },
        { "ParentUser: root", T, U },
        { "exe|startswith: /usr", T, T },            /* our name */
        { "process.executable: /usr/bin/nc", T, T }, /* and ECS's */
        { "process.parent.name: bash", T, U },
        { "OriginalFileName: nc", U, U },
        { "OriginalFileName|exists: true", F, F },
        { "OriginalFileName: null", T, T },
        { "tty: null", T, T }, /* known to have none */
        { "tty: x", F, F },
        { "container|exists: false", U, U }, /* could not be read */
        { "container: null", U, U },
        { "UtcTime|year: 2024", T, T },
        { "UtcTime|hour: 12", T, T },
    };
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_TIME, INT64_C(1717243845123456789), WHY_COMPUTED);
    event_set(&box, F_PID, 4711, WHY_KERNEL);
    event_set(&box, F_PPID, 42, WHY_KERNEL);
    event_set(&box, F_EUID, 33, WHY_KERNEL);
    event_set_missing(&box, F_LOGINUID, WHY_ABSENT);
    event_set_missing(&box, F_TTY, WHY_ABSENT);
    event_set_missing(&box, F_CONTAINER, WHY_GONE);
    text(&box, F_EXE, "/usr/bin/nc", 11);
    text(&box, F_ARGS, "nc\0-e\0/bin/sh\0a b\0", 18);
    text(&box, F_CWD, "/tmp", 4);
    event_begin(&parent, EVENT_SNAPSHOT);
    event_set(&parent, F_PID, 42, WHY_KERNEL);
    event_set(&parent, F_EUID, 0, WHY_KERNEL);
    text(&parent, F_EXE, "/usr/bin/bash", 13);
    text(&parent, F_COMM, "bash", 4);
    text(&parent, F_ARGS, "bash\0-c\0x\0", 10);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml, "%s s: { %s }\n condition: s\n", head, cases[i].detection);
        if (ask_event(yaml, &box.ev, &parent.ev) != cases[i].want ||
            ask_event(yaml, &box.ev, NULL) != cases[i].alone)
            fail_msg("%s", cases[i].detection);
    }
}

static void an_exec_is_shown_to_auditd_rules_as_its_record(void **state)
{
    static struct event_box box;
    static const struct {
        const char *detection;
        enum sigma_verdict want;
    } cases[] = {
        { "{ type: EXECVE, a0: nc, a1: '-e' }", T },
        { "{ type: EXECVE, a3: 'a b' }", T },
        { "{ type: EXECVE, a4: x }", F },
        { "{ a4: null }", T },
        { "{ a4|exists: true }", F },
        { "{ argc: 4 }", T },
        { "{ type: PATH, name: x }", F },
        { "{ a1|contains|all: [ e, '-' ] }", T },
        { "[ 'a1=\"-e\"' ]", T },
        { "[ 'type=EXECVE msg=audit(1717243845.123:' ]", T },
        { "{ '|all': [ EXECVE, 'a b' ] }", T },
        { "[ 'nowhere' ]", F },
        { "{ auid: 4294967295 }", T },
        { "{ exe: /usr/bin/nc }", T },
        { "{ key: x }", U },
        { "{ a01: nc }", U },
    };
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_TIME, INT64_C(1717243845123456789), WHY_COMPUTED);
    event_set_missing(&box, F_LOGINUID, WHY_ABSENT);
    text(&box, F_EXE, "/usr/bin/nc", 11);
    text(&box, F_ARGS, "nc\0-e\0/bin/sh\0a b\0", 18);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char yaml[1024];
        snprintf(yaml, sizeof yaml,
                 "id: x\nlogsource: { product: linux, service: auditd }\ndetection: { s: %s, "
                 "condition: s "
                 "}\n",
                 cases[i].detection);
        enum sigma_verdict got = ask_event(yaml, &box.ev, NULL);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].detection, got);
    }
}

static void what_was_cut_off_is_undecided(void **state)
{
    static struct event_box box;
    static const struct {
        const char *detection;
        enum sigma_verdict want;
    } cases[] = {
        { "CommandLine|contains: cat", T },
        { "CommandLine|contains: dog", U },
        { "CommandLine|startswith: cat", T },
        { "CommandLine|endswith: shadow", U },
        { "CommandLine|contains|all: [ cat, dog ]", U },
        { "CommandLine|contains: [ a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 ]", U },
        { "CommandLine|contains: [ a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, cat ]", T },
        { "CommandLine|re: 'c.t'", T },
        { "CommandLine|re: 'd.g'", U },
        { "CommandLine|exists: true", T },
        { "Image: /bin/dog", F },
        { "{ Image: /bin/dog, CommandLine: x }", F },
    };
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_TRUNCATED, 1, WHY_COMPUTED);
    text(&box, F_ARGS, "cat\0/etc/shadow\0", 16);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char yaml[1024];
        bool map = *cases[i].detection == '{';
        if (strstr(cases[i].detection, "Image")) {
            event_begin(&box, EVENT_EXEC);
            text(&box, F_EXE, "/bin/cat", 8);
            text(&box, F_ARGS, "cat\0/etc/shadow\0", 16);
        }
        snprintf(yaml, sizeof yaml, "%s s: %s%s%s\n condition: s\n", head, map ? "" : "{ ",
                 cases[i].detection, map ? "" : " }");
        enum sigma_verdict got = ask_event(yaml, &box.ev, NULL);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].detection, got);
    }
}

/* --- why -------------------------------------------------------------------------------------- */

static void append(void *ctx, const struct sigma_reason *r)
{
    buf_printf(ctx, "%s %s %s %.*s;", r->selection, r->item, r->value, (int)r->found_len, r->found);
}

static void a_rule_says_what_made_it_fire(void **state)
{
    struct sigma_view *view;
    struct flat flat = { 0 };
    struct buf out = { 0 };
    char why[64];
    static const char json[] = "{\"A\":\"say FOO and bar\",\"B\":\"/bin/sh\",\"C\":\"n 12\"}";
    (void)state;
    struct sigma *s =
        set_with(" s_a: { A|contains|all: [ foo, bar ] }\n s_b: { B|endswith: [ /bash, "
                 "/sh ] }\n s_c: { C|re: '[0-9]+' }\n s_d: { A: other }\n f: { B: x }\n "
                 "condition: all of s_* and not f or s_a and s_b and s_c\n");
    assert_int_equal(sigma_view_new(&view, s), 0);
    assert_int_equal(flat_read(&flat, json, strlen(json), why, sizeof why), 0);
    const struct sigma_event *ev = sigma_view_flat(view, &flat);
    assert_int_equal(sigma_match(s, ev), 1);
    sigma_reasons(s, sigma_fired(s, 0), ev, append, &out);
    const char *text_of = buf_str(&out);
    assert_non_null(strstr(text_of, "s_a A|contains|all foo FOO;"));
    assert_non_null(strstr(text_of, "s_a A|contains|all bar bar;"));
    assert_non_null(strstr(text_of, "s_b B|endswith /sh /sh;"));
    assert_non_null(strstr(text_of, "s_c C|re [0-9]+ 12;"));
    assert_null(strstr(text_of, "s_d"));
    buf_clear(&out);
    assert_int_equal(sigma_explain(s, 0, ev, &out), T);
    assert_non_null(strstr(buf_str(&out), "false            s_d"));
    assert_non_null(strstr(buf_str(&out), "A: 'other'; it is 'say FOO and bar'"));
    buf_free(&out);
    flat_free(&flat);
    sigma_view_free(view);
    sigma_free(s);
}

static void note_finding(void *ctx, const struct sigma_finding *f)
{
    buf_printf(ctx, "%d:%d %s\n", f->kind, f->line, f->text);
}

static void what_cannot_be_is_found(void **state)
{
    static const struct {
        const char *detection, *finding; /* NULL: none */
    } cases[] = {
        { " s: { Image: /bin/sh }", NULL },
        { " s: { Image|endswith: '\\bash' }", "1:5 the rule hardly ever fires: '\\bash'" },
        { " s: { Image|endswith: [ '\\bash', /sh ] }", "4:5 '\\bash' is found only where" },
        { " s: { Image: [ '\\bash', /bin/sh ] }", "4:5 '\\bash' is never found: a path begins" },
        { " s: { Image|endswith: '\\bash' }\n t: { Image: bin/sh }\n condition: s and t",
          "0:6 the rule can never fire: 'bin/sh' is never found" },
        { " s: { Image|endswith: '\\bash' }\n t: { Image: bin/sh }\n condition: s or t",
          "the rule hardly ever fires" },
        { " s: { Image|startswith: [ 'c:\\', bin ] }", "0:5 the rule can never fire" },
        { " s: { Image: /a }\n t: { Image|contains: '\\b' }\n condition: s or t",
          "4:6 the selection 't' hardly ever holds" },
        { " s: { Image|startswith: usr }", "0:5 the rule can never fire" },
        { " s: { Hashes: x }",
          "0:5 the rule can never fire: no event here has the field 'Hashes'" },
        { " s: { Image: /a }\n t: { Hashes: x }\n condition: s or t",
          "4:6 the selection 't' never holds" },
        { " s: { Image: /a }\n t: { Hashes: x }\n condition: s and not t", "4:6" },
        { " s: { Image|endswith: /a }\n t: { Image|endswith: /b }\n condition: s and t",
          "exclude each other" },
        { " s: { Image|endswith: /a }\n t: { Image|endswith: x/a }\n condition: s and t", NULL },
        { " s: { Image|endswith: /a }\n t: { Image|endswith: /b }\n condition: s or t", NULL },
        { " s: { CommandLine|contains: [ abc, b ] }", "4:5 'abc' adds nothing: 'b'" },
        { " s: { Image: /a }\n t: { Image: /b }\n condition: s", "4:6 the condition does not use" },
        { " s: { CommandLine|re: '(a+)+$' }", "comes to its limit" },
        { " s: { CommandLine|re: 'a.b' }", "tried on every event" },
        { " s: { CommandLine|re: 'abc.b' }", NULL },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out = { 0 };
        struct sigma *s = set_with(cases[i].detection);
        assert_int_equal(sigma_check(s, sigma_view_knows, note_finding, &out), 0);
        if (cases[i].finding ? !strstr(buf_str(&out), cases[i].finding) : out.len > 0)
            fail_msg("%s: %s", cases[i].detection, buf_str(&out));
        sigma_free(s);
        buf_free(&out);
    }
    struct buf out = { 0 };
    struct sigma *s = set_of(RULE("a", "[ x, y ]") RULE("b", "z") RULE("d", "[ y, x ]"), NULL);
    assert_int_equal(sigma_check(s, sigma_view_knows, note_finding, &out), 0);
    assert_non_null(strstr(buf_str(&out), "it says the same as 'a'"));
    sigma_free(s);
    buf_free(&out);
}

/* --- memory ----------------------------------------------------------------------------------- */

static int left, held;

static void *limited_get(size_t size, void *ctx)
{
    (void)ctx;
    if (left-- <= 0)
        return NULL;
    held++;
    return malloc(size);
}

static void limited_put(void *block, void *ctx)
{
    (void)ctx;
    held--;
    free(block);
}

static void no_memory_is_an_answer(void **state)
{
    static const char yaml[] = BASE("a", "[ x, 'y*z' ]") BASE("b", "y")
        RULE("r", "'q'") "id: c\ncorrelation: { type: event_count, rules: [ a, b ], group-by: U, "
                         "timespan: 1s, condition: { "
                         "gte: 2 } }\n---\nid: re\nlogsource: { category: process_creation "
                         "}\ndetection: { s: { A|re: "
                         "'a+' }, condition: s }\n";
    struct sigma_options options = { .memory = { limited_get, limited_put, NULL } };
    bool done = false;
    (void)state;
    for (int most = 0; !done; most++) {
        struct sigma *s = NULL;
        left = most;
        int result = sigma_new(&s, &options);
        if (result == 0)
            result = sigma_add(s, "x", yaml, strlen(yaml));
        if (result == 0)
            result = sigma_finish(s);
        done = result == 0;
        assert_true(done || result == -12);
        sigma_free(s);
        assert_int_equal(held, 0);
        assert_true(most < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_compared_whole_and_in_whatever_letters),
        cmocka_unit_test(wildcards_stand_for_what_they_should),
        cmocka_unit_test(places_in_a_text_are_told_apart),
        cmocka_unit_test(scalars_are_what_was_written),
        cmocka_unit_test(what_is_missing_is_undecided_but_for_null_and_exists),
        cmocka_unit_test(numbers_are_compared_as_numbers),
        cmocka_unit_test(regular_expressions_are_cased_and_stand_anywhere),
        cmocka_unit_test(encodings_are_what_they_were_made_for),
        cmocka_unit_test(dashes_of_options_are_all_the_same_to_windash),
        cmocka_unit_test(addresses_fields_and_placeholders),
        cmocka_unit_test(parts_of_times),
        cmocka_unit_test(keywords_are_looked_for_in_the_whole_event),
        cmocka_unit_test(conditions_join_selections),
        cmocka_unit_test(what_is_not_known_is_refused_with_its_line),
        cmocka_unit_test(a_rule_that_is_wrong_costs_the_others_nothing),
        cmocka_unit_test(two_rules_of_one_id_are_one),
        cmocka_unit_test(what_unfolds_without_end_is_refused),
        cmocka_unit_test(filters_narrow_the_rules_that_they_name),
        cmocka_unit_test(events_are_counted_by_group_and_within_the_span),
        cmocka_unit_test(rules_below_a_correlation_are_silent_unless_it_says_so),
        cmocka_unit_test(different_values_are_counted),
        cmocka_unit_test(rules_come_together_in_any_order),
        cmocka_unit_test(rules_follow_each_other),
        cmocka_unit_test(one_event_is_one_step),
        cmocka_unit_test(too_few_events_are_judged_at_the_end_of_the_span),
        cmocka_unit_test(correlations_stand_above_each_other_and_have_aliases),
        cmocka_unit_test(what_correlations_gathered_is_taken_over),
        cmocka_unit_test(correlations_of_many_groups_stay_in_their_bounds),
        cmocka_unit_test(correlations_that_cannot_be_are_refused),
        cmocka_unit_test(an_exec_has_the_fields_of_sigma),
        cmocka_unit_test(an_exec_is_shown_to_auditd_rules_as_its_record),
        cmocka_unit_test(what_was_cut_off_is_undecided),
        cmocka_unit_test(a_rule_says_what_made_it_fire),
        cmocka_unit_test(what_cannot_be_is_found),
        cmocka_unit_test(no_memory_is_an_answer),
    };
    return cmocka_run_group_tests_name("sigma", tests, NULL, NULL);
}
