/* test_match.c - which texts fit which patterns, what is no pattern, and that no text takes long. */
#include "host/match.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int blocks, fail_after = -1;

static void *get(size_t size, void *ctx)
{
    (void)ctx;
    if (fail_after == 0)
        return NULL;
    fail_after -= fail_after > 0;
    blocks++;
    return malloc(size);
}

static void put(void *block, void *ctx)
{
    (void)ctx;
    blocks -= block != NULL;
    free(block);
}

static const struct memory memory = { get, put, NULL };

static char why[128];
static size_t at;

/* One pattern against one text, both ended by NUL. */
static int fits(enum match_op op, bool cased, const char *pattern, const char *text)
{
    struct match *m = match_new(op, cased, &memory);
    assert_non_null(m);
    int result = match_add(m, pattern, strlen(pattern), why, &at);
    match_finish(m);
    if (result == 0)
        result = match_test(m, text, strlen(text));
    match_free(m);
    assert_int_equal(blocks, 0);
    return result;
}

struct row {
    enum match_op op;
    const char *pattern, *text;
    int cased, uncased;
};

static const struct row rows[] = {
    { MATCH_CONTAINS, "b", "abc", 1, 1 },
    { MATCH_CONTAINS, "B", "abc", 0, 1 },
    { MATCH_CONTAINS, "b", "ABC", 0, 1 },
    { MATCH_CONTAINS, "abcd", "abc", 0, 0 },
    { MATCH_CONTAINS, "a", "", 0, 0 },
    { MATCH_STARTSWITH, "/tmp/", "/tmp/x", 1, 1 },
    { MATCH_STARTSWITH, "/TMP/", "/tmp/x", 0, 1 },
    { MATCH_STARTSWITH, "/tmp/", "/var/tmp/x", 0, 0 },
    { MATCH_ENDSWITH, ".sh", "x.sh", 1, 1 },
    { MATCH_ENDSWITH, ".sh", "x.SH", 0, 1 },
    { MATCH_ENDSWITH, ".sh", "x.shx", 0, 0 },

    { MATCH_GLOB, "*", "", 1, 1 },
    { MATCH_GLOB, "*", "any\nthing/at all", 1, 1 },
    { MATCH_GLOB, "a", "a", 1, 1 },
    { MATCH_GLOB, "a", "A", 0, 1 },
    { MATCH_GLOB, "a", "ab", 0, 0 },
    { MATCH_GLOB, "a", "", 0, 0 },
    { MATCH_GLOB, "?", "", 0, 0 },
    { MATCH_GLOB, "?", "\xff", 1, 1 },
    { MATCH_GLOB, "/tmp/*", "/tmp/a/b", 1, 1 },
    { MATCH_GLOB, "/tmp/*", "/tmp", 0, 0 },
    { MATCH_GLOB, "*.sh", "a.sh.sh", 1, 1 },
    { MATCH_GLOB, "*.sh", "a.sh.x", 0, 0 },
    { MATCH_GLOB, "a*b*c", "a-b-b-c", 1, 1 },
    { MATCH_GLOB, "a*b*c", "a-c-b", 0, 0 },
    { MATCH_GLOB, "a**b", "ab", 1, 1 },
    { MATCH_GLOB, "[a-c]x", "bx", 1, 1 },
    { MATCH_GLOB, "[a-c]x", "Bx", 0, 1 },
    { MATCH_GLOB, "[A-C]x", "bx", 0, 1 },
    { MATCH_GLOB, "[!a-c]x", "bx", 0, 0 },
    { MATCH_GLOB, "[!a-c]x", "Bx", 1, 0 },
    { MATCH_GLOB, "[^a]", "b", 1, 1 },
    { MATCH_GLOB, "[]]", "]", 1, 1 },
    { MATCH_GLOB, "[!]]", "]", 0, 0 },
    { MATCH_GLOB, "[a-]", "-", 1, 1 },
    { MATCH_GLOB, "[\\]x]", "]", 1, 1 },
    { MATCH_GLOB, "[c-a]", "b", 0, 0 },
    { MATCH_GLOB, "\\*", "*", 1, 1 },
    { MATCH_GLOB, "\\*", "x", 0, 0 },
    { MATCH_GLOB, "[\\a-\\c]", "b", 1, 1 },

    { MATCH_REGEX, "^a.c$", "abc", 1, 1 },
    { MATCH_REGEX, "^a.c$", "ABC", 0, 1 },
    { MATCH_REGEX, "\\d+", "pid 12", 1, 1 },
    { MATCH_REGEX, "^\\xff$", "\xff", 1, 1 },
    { MATCH_REGEX, "b", "a", 0, 0 },

    { MATCH_CIDR, "10.0.0.0/8", "10.255.0.1", 1, 1 },
    { MATCH_CIDR, "10.0.0.0/8", "11.0.0.1", 0, 0 },
    { MATCH_CIDR, "10.0.0.0/8", "::ffff:10.1.2.3", 1, 1 },
    { MATCH_CIDR, "::ffff:10.0.0.0/104", "10.1.2.3", 1, 1 },
    { MATCH_CIDR, "10.1.2.3", "10.1.2.3", 1, 1 },
    { MATCH_CIDR, "10.1.2.3", "10.1.2.4", 0, 0 },
    { MATCH_CIDR, "10.1.2.3/8", "10.9.9.9", 1, 1 },
    { MATCH_CIDR, "0.0.0.0/0", "255.255.255.255", 1, 1 },
    { MATCH_CIDR, "0.0.0.0/0", "::1", 0, 0 },
    { MATCH_CIDR, "::/0", "fe80::1", 1, 1 },
    { MATCH_CIDR, "::/0", "10.0.0.1", 0, 0 },
    { MATCH_CIDR, "::/0", "::ffff:10.0.0.1", 0, 0 },
    { MATCH_CIDR, "::ffff:0:0/90", "10.0.0.1", 0, 0 },
    { MATCH_CIDR, "::ffff:0:0/90", "::fffe:1:1", 1, 1 },
    { MATCH_CIDR, "2001:db8::/33", "2001:db8:7fff::1", 1, 1 },
    { MATCH_CIDR, "2001:db8::/33", "2001:db8:8000::1", 0, 0 },
    { MATCH_CIDR, "fe80::/10", "fe80::1%eth0", 1, 1 },
    { MATCH_CIDR, "10.0.0.0/8", "10.0.0.1%eth0", 0, 0 },
    { MATCH_CIDR, "10.0.0.0/8", "", 0, 0 },
    { MATCH_CIDR, "10.0.0.0/8", "10.0.0", 0, 0 },
    { MATCH_CIDR, "10.0.0.0/8", "10.0.0.1 and more than fits into any address at all", 0, 0 },

    { MATCH_WINDASH, "-enc", "powershell -enc x", 1, 1 },
    { MATCH_WINDASH, "-enc", "powershell /enc x", 1, 1 },
    { MATCH_WINDASH, "/enc", "powershell -enc x", 1, 1 },
    { MATCH_WINDASH, "-enc", "powershell \xe2\x80\x93"
                             "enc x", 1, 1 },
    { MATCH_WINDASH, "-enc", "powershell \xe2\x80\x94"
                             "enc x", 1, 1 },
    { MATCH_WINDASH, "\xe2\x80\x95"
                     "enc", "powershell /ENC x", 0, 1 },
    { MATCH_WINDASH, "-enc", "powershell \xe2\x80\x96"
                             "enc x", 0, 0 },
    { MATCH_WINDASH, " -a -b", "x /a -b", 1, 1 },
    { MATCH_WINDASH, "a-b", "a/b", 0, 0 },
    { MATCH_WINDASH, "a-b", "xa-bx", 1, 1 },
    { MATCH_WINDASH, "x - y", "x / y", 0, 0 },
    { MATCH_WINDASH, "-enc", "\xe2\x80\xe2\x80\x93"
                             "enc", 1, 1 },
};

static void patterns_fit_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int cased = fits(rows[i].op, true, rows[i].pattern, rows[i].text);
        int uncased = fits(rows[i].op, false, rows[i].pattern, rows[i].text);
        if (cased != rows[i].cased || uncased != rows[i].uncased)
            fail_msg("'%s' on '%s': %d %d", rows[i].pattern, rows[i].text, cased, uncased);
    }
}

static const struct {
    enum match_op op;
    const char *pattern, *why;
    size_t at;
} bad[] = {
    { MATCH_CONTAINS, "", "it is empty", 0 },
    { MATCH_GLOB, "ab[c", "the [ has no ]", 2 },
    { MATCH_GLOB, "[]", "the [ has no ]", 0 },
    { MATCH_GLOB, "[a\\", "the [ has no ]", 0 },
    { MATCH_GLOB, "[a-\\", "the [ has no ]", 0 },
    { MATCH_GLOB, "ab\\", "nothing follows the \\", 2 },
    { MATCH_REGEX, "a(b", "missing closing parenthesis", 3 },
    { MATCH_REGEX, "a**?*", "quantifier does not follow a repeatable item", 2 },
    { MATCH_REGEX, "(*UTF)a", "using UTF is disabled by the application", 6 },
    { MATCH_CIDR, "10.0.0", "it is no address", 0 },
    { MATCH_CIDR, "10.0.0.0/33", "a prefix is 0 to 32 bits", 9 },
    { MATCH_CIDR, "10.0.0.0/", "a prefix is 0 to 32 bits", 9 },
    { MATCH_CIDR, "::/129", "a prefix is 0 to 128 bits", 3 },
    { MATCH_CIDR, "::/x", "a prefix is 0 to 128 bits", 3 },
    { MATCH_CIDR, "example.org", "it is no address", 0 },
};

static void bad_ones_are_refused_with_what_is_wrong_and_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        int result = fits(bad[i].op, true, bad[i].pattern, "");
        if (result != -EINVAL || !strstr(why, bad[i].why) || at != bad[i].at)
            fail_msg("'%s': %d, '%s' at %zu", bad[i].pattern, result, why, at);
    }
}

static void any_bytes_are_taken(void **state)
{
    (void)state;
    static const char text[] = "a\0b\0c";
    static const struct {
        enum match_op op;
        const char *pattern;
        size_t len;
        int want;
    } with_nul[] = {
        { MATCH_CONTAINS, "\0b", 2, 1 }, { MATCH_ENDSWITH, "\0c", 2, 1 }, { MATCH_GLOB, "a?b*", 4, 1 },
        { MATCH_GLOB, "a\0*c", 4, 1 },   { MATCH_GLOB, "a\0c", 3, 0 },    { MATCH_REGEX, "^a\\0b.c$", 8, 1 },
        { MATCH_REGEX, "a\0b", 3, 1 },   { MATCH_WINDASH, "b\0c", 3, 1 },
    };
    for (size_t i = 0; i < COUNT(with_nul); i++) {
        struct match *m = match_new(with_nul[i].op, true, &memory);
        assert_int_equal(match_add(m, with_nul[i].pattern, with_nul[i].len, why, &at), 0);
        match_finish(m);
        if (match_test(m, text, sizeof text - 1) != with_nul[i].want)
            fail_msg("row %zu", i);
        match_free(m);
    }
    struct match *m = match_new(MATCH_CIDR, true, &memory);
    assert_int_equal(match_add(m, "10.0.0.1", 8, why, &at), 0);
    match_finish(m);
    assert_int_equal(match_test(m, "10.0.0.1\0x", 10), 0);
    match_free(m);
    assert_int_equal(blocks, 0);
}

static void there_may_be_many(void **state)
{
    (void)state;
    struct match *m = match_new(MATCH_CIDR, true, &memory);
    for (int i = 0; i < 2000; i++) { /* every other /24 of 10.0-7.0.0, backwards and overlapping */
        char text[32];
        int n = 1999 - i;
        int len = snprintf(text, sizeof text, "10.%d.%d.0/%d", n / 256, n % 256 & ~1, 24 + i % 2);
        assert_int_equal(match_add(m, text, (size_t)len, why, &at), 0);
    }
    match_finish(m);
    for (int n = 0; n < 2000; n++) {
        char text[32];
        int len = snprintf(text, sizeof text, "10.%d.%d.7", n / 256, n % 256);
        assert_int_equal(match_test(m, text, (size_t)len), n % 2 == 0);
    }
    match_free(m);

    m = match_new(MATCH_CIDR, true, &memory); /* one inside of the other */
    assert_int_equal(match_add(m, "10.0.0.0/8", 10, why, &at), 0);
    assert_int_equal(match_add(m, "10.1.0.0/16", 11, why, &at), 0);
    assert_int_equal(match_add(m, "10.255.0.0/15", 13, why, &at), 0);
    match_finish(m);
    assert_int_equal(match_test(m, "10.200.0.1", 10), 1);
    assert_int_equal(match_test(m, "11.0.0.0", 8), 0);
    match_free(m);

    m = match_new(MATCH_GLOB, false, &memory);
    for (int i = 0; i < 300; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "*x%dx*", i);
        assert_int_equal(match_add(m, text, (size_t)len, why, &at), 0);
    }
    assert_int_equal(match_test(m, "aX299Xb", 7), 1);
    assert_int_equal(match_test(m, "aX300Xb", 7), 0);
    match_free(m);
    assert_int_equal(blocks, 0);
}

/* Longer than a word of states, with the crossing at every place. */
static void a_thousand_elements_fit_as_few_do(void **state)
{
    (void)state;
    char pattern[1100], text[1100];
    for (size_t len = 60; len <= MATCH_ELEMENTS_MAX; len += len < 200 ? 1 : 91) {
        memset(pattern, 'a', len);
        pattern[len] = '\0';
        memset(text, 'a', len);
        text[len] = '\0';
        assert_int_equal(fits(MATCH_GLOB, true, pattern, text), 1);
        text[len - 1] = 'b';
        assert_int_equal(fits(MATCH_GLOB, true, pattern, text), 0);
        memcpy(pattern + len - 4, " -en", 4);
        memcpy(text + len - 4, " /en", 4);
        if (len + 2 <= MATCH_ELEMENTS_MAX)
            assert_int_equal(fits(MATCH_WINDASH, true, pattern, text), 1);
        memcpy(text + len - 4, " /eN", 4);
        if (len + 2 <= MATCH_ELEMENTS_MAX)
            assert_int_equal(fits(MATCH_WINDASH, true, pattern, text), 0);
    }
    memset(pattern, 'a', sizeof pattern);
    pattern[MATCH_ELEMENTS_MAX + 1] = '\0';
    assert_int_equal(fits(MATCH_GLOB, true, pattern, "a"), -EINVAL);
    assert_int_equal(fits(MATCH_WINDASH, true, pattern, "a"), -EINVAL);
}

static void no_text_takes_long(void **state)
{
    (void)state;
    size_t len = 64 * 1024;
    char *text = malloc(len + 1), pattern[200];
    memset(text, 'a', len);
    text[len] = '\0';
    for (size_t i = 0; i < sizeof pattern - 2; i += 2)
        memcpy(pattern + i, "*a", 2);
    memcpy(pattern + sizeof pattern - 2, "b", 2);
    clock_t from = clock();
    assert_int_equal(fits(MATCH_GLOB, true, pattern, text), 0);
    assert_int_equal(fits(MATCH_REGEX, true, "(a*)*[bc]", text), -EAGAIN);
    assert_int_equal(fits(MATCH_REGEX, true, "^(?:a|aa)+[bc]", text), -EAGAIN);
    assert_int_equal(fits(MATCH_REGEX, true, "^(?:(a)(?1)?)*[bc]", text), -EAGAIN);
    for (int i = 0; i < 3; i++) /* few at once, again and again: steps, where those above need memory */
        assert_int_equal(fits(MATCH_REGEX, true, "^(a+)+[bc]", text + len - 60), -EAGAIN);
    double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
    assert_true(seconds < 0.3); /* each a few ms; with PCRE2's own limit a second, without any, years */
    free(text);
}

static void undecided_is_told_unless_another_one_fits(void **state)
{
    (void)state;
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct match *m = match_new(MATCH_REGEX, true, &memory);
    assert_int_equal(match_add(m, "(a+)+b|(a+)+c", 13, why, &at), 0);
    assert_int_equal(match_test(m, text, sizeof text - 1), -EAGAIN);
    assert_int_equal(match_add(m, "x", 1, why, &at), 0);
    assert_int_equal(match_test(m, text, sizeof text - 1), -EAGAIN);
    assert_int_equal(match_add(m, "^a", 2, why, &at), 0);
    assert_int_equal(match_test(m, text, sizeof text - 1), 1);
    match_free(m);
}

static void no_memory_is_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int n = 0; n < 40; n++) {
            fail_after = n;
            struct match *m = match_new(rows[i].op, false, &memory);
            int result = m ? match_add(m, rows[i].pattern, strlen(rows[i].pattern), why, &at) : -ENOMEM;
            if (m)
                match_finish(m);
            if (result == 0)
                result = match_test(m, rows[i].text, strlen(rows[i].text));
            match_free(m);
            assert_int_equal(blocks, 0);
            if (fail_after > 0) { /* it had enough */
                assert_int_equal(result, rows[i].uncased);
                break;
            }
            assert_true(result == -ENOMEM || result == rows[i].uncased);
        }
        fail_after = -1;
    }
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_fit_as_the_table_says),
        TEST(bad_ones_are_refused_with_what_is_wrong_and_where),
        TEST(any_bytes_are_taken),
        TEST(there_may_be_many),
        TEST(a_thousand_elements_fit_as_few_do),
        TEST(no_text_takes_long),
        TEST(undecided_is_told_unless_another_one_fits),
        TEST(no_memory_is_an_answer),
    };
    return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
