/* test_value.c - JSON is read as it was meant, and what is none is refused, whatever it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/value.c"

static struct value *parse(const char *text)
{
    return value_parse(text, strlen(text));
}

static void texts_numbers_lists_and_objects_are_read(void **state)
{
    struct value *v = parse(" { \"a\" : [1, -2.5e3, true, false, null, \"x\"], \"b\": {\"c\": \"d\"}, \"e\": {} } ");
    (void)state;
    assert_non_null(v);
    const struct value *list = value_get(v, "a");
    assert_int_equal(value_count(list), 6);
    assert_true(list->first->number == 1 && list->first->next->number == -2500);
    assert_string_equal(value_text(value_get(v, "b"), "c"), "d");
    assert_int_equal(value_count(value_get(v, "e")), 0);
    assert_string_equal(value_text(v, "none"), "");
    assert_string_equal(value_text(NULL, "none"), "");
    assert_true(value_number(v, "none") == 0);
    value_free(v);
}

static void escapes_mean_what_they_say(void **state)
{
    static const char *const cases[][2] = {
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
        { "\"\\u00e9\\u20ac\\ud83d\\ude00\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "\"\\ud83d x\"", "\xef\xbf\xbd x" },
        { "\"\\ude00\\ud83d\\u0041\"", "\xef\xbf\xbd\xef\xbf\xbd" }, /* a low half, a high one without */
        { "\"\\u001b[2J\"", "\x1b[2J" },
        { "\"\"", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct value *v = parse(cases[i][0]);
        if (!v || strncmp(v->text, cases[i][1], strlen(cases[i][1])))
            fail_msg("%s: %s", cases[i][0], v ? v->text : "refused");
        value_free(v);
    }
}

static void what_is_no_json_is_refused(void **state)
{
    static const char *const cases[] = {
        "", " ", "[", "]", "[1", "[1,", "[1,]", "[,1]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{1:2}", "\"",
        "\"\\", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud83d\\u\"", "\"a\nb\"", "tru", "nul", "1 2", "1x",
        "--1", "[1}", "{\"a\":1]", "'a'", "[\"a\" \"b\"]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(cases[i]))
            fail_msg("%s", cases[i]);
    assert_null(value_parse("\0", 1));
    assert_null(value_parse("1\0", 2));
}

static void depth_is_bounded(void **state)
{
    char text[200001];
    (void)state;
    memset(text, '[', 100000);
    memset(text + 100000, ']', 100000);
    assert_null(value_parse(text, 200000));
    struct value *v = value_parse(text + 100000 - 32, 64);
    assert_non_null(v);
    value_free(v);
    memset(text, '[', sizeof text);
    assert_null(value_parse(text, sizeof text));
}

static void what_is_quoted_is_read_again(void **state)
{
    static const char *const cases[] = { "", "a", "\"\\\n\r\t\x01\x1f\x7f", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text;
        size_t len;
        FILE *to = open_memstream(&text, &len);
        value_quote(to, cases[i]);
        fclose(to);
        struct value *v = value_parse(text, len);
        assert_non_null(v);
        assert_string_equal(v->text, cases[i]);
        value_free(v);
        free(text);
    }
}

static void any_bytes_are_quoted_as_utf8(void **state)
{
    char *text;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    (void)state;
    value_quote(to, "\xff\xc3(\xed\xa0\x80\xe2\x82");
    fclose(to);
    assert_string_equal(text, "\"\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_numbers_lists_and_objects_are_read),
        cmocka_unit_test(escapes_mean_what_they_say),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(what_is_quoted_is_read_again),
        cmocka_unit_test(any_bytes_are_quoted_as_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
