/* test_base.c - bytes gather in a buf whatever their number, and no log line can steer a terminal. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- buf -------------------------------------------------------------------------------- */

static void a_zeroed_buf_is_an_empty_one(void **state)
{
    struct buf b = { 0 };
    (void)state;

    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
    buf_free(&b);
    buf_add(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    assert_false(b.failed);
    buf_free(&b);
}

static void what_is_appended_stays_while_it_grows(void **state)
{
    struct buf b = { 0 };
    (void)state;

    for (unsigned i = 0; i < 100000; i++)
        buf_putc(&b, (char)(i * 7));
    assert_int_equal(b.len, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal((char)(i * 7), b.data[i]);
    buf_free(&b);
}

static void the_end_of_a_text_is_not_part_of_it(void **state)
{
    struct buf b = { 0 };
    (void)state;

    for (size_t len = 0; len < 600; len++) { /* over the first growth at 256 */
        buf_clear(&b);
        for (size_t i = 0; i < len; i++)
            buf_putc(&b, 'x');
        assert_int_equal(strlen(buf_str(&b)), len);
        assert_int_equal(b.len, len);
    }
    buf_puts(&b, "y");
    assert_string_equal(buf_str(&b) + b.len - 2, "xy");
    buf_free(&b);
}

static void a_cleared_buf_keeps_its_memory(void **state)
{
    struct buf b = { 0 };
    (void)state;

    buf_printf(&b, "%0999d", 1);
    const char *data = b.data;
    buf_clear(&b);
    buf_printf(&b, "%0999d", 2);
    assert_ptr_equal(b.data, data);
    assert_int_equal(b.len, 999);
    buf_free(&b);
}

static void numbers_are_written_whole(void **state)
{
    static const struct {
        int64_t number;
        const char *want;
    } cases[] = {
        { 0, "0" },
        { -1, "-1" },
        { 10, "10" },
        { INT64_MAX, "9223372036854775807" },
        { INT64_MIN, "-9223372036854775808" },
    };
    struct buf b = { 0 };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&b);
        buf_int(&b, cases[i].number);
        assert_string_equal(buf_str(&b), cases[i].want);
    }
    buf_free(&b);
}

static void no_memory_leaves_what_was_there_and_is_remembered(void **state)
{
    struct buf b = { 0 };
    (void)state;

    buf_puts(&b, "kept");
    assert_null(buf_reserve(&b, SIZE_MAX - 10)); /* cannot be counted */
    assert_true(b.failed);
    buf_puts(&b, "more");
    buf_printf(&b, "%d", 1);
    buf_int(&b, 1);
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "kept", 4);
    assert_string_equal(buf_str(&b), "");
    buf_clear(&b);
    buf_puts(&b, "again");
    assert_string_equal(buf_str(&b), "again");
    buf_free(&b);
}

/* --- log -------------------------------------------------------------------------------- */

static char said[9000];
static int lines;
static enum log_level said_level;

static void keep(void *ctx, enum log_level level, const char *text)
{
    assert_ptr_equal(ctx, &lines);
    lines++;
    said_level = level;
    snprintf(said, sizeof said, "%s", text);
}

static int begin_log(void **state)
{
    (void)state;
    lines = 0;
    *said = '\0';
    log_to(keep, &lines);
    return 0;
}

static int end_log(void **state)
{
    (void)state;
    log_to(NULL, NULL);
    log_level(LOG_LEVEL_WARN);
    return 0;
}

static const struct {
    const char *why, *text, *want;
} lines_of_log[] = {
    { "plain", "a b~", "a b~" },
    { "escape sequence", "\033[2J", "\\x1b[2J" },
    { "carriage return, backspace, bell", "\r\b\a", "\\x0d\\x08\\x07" },
    { "DEL", "\x7f", "\\x7f" },
    { "newline and tab of a traceback stay", "a\n\tb", "a\n\tb" },
    { "letters of other languages stay", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
      "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "C1 control (CSI) as UTF-8",
      "\xc2\x9b"
      "2J",
      "\\xc2\\x9b"
      "2J" },
    { "the last C1 control and the first that is none", "\xc2\x9f\xc2\xa0", "\\xc2\\x9f\xc2\xa0" },
    { "C1 control as a single byte",
      "\x9b"
      "2J",
      "\\x9b"
      "2J" },
    { "cut sequence",
      "\xe2\x82"
      "x",
      "\\xe2\\x82"
      "x" },
    { "cut at the end", "\xf0\x9f\x98", "\\xf0\\x9f\\x98" },
    { "overlong escape", "\xc0\x9b", "\\xc0\\x9b" },
    { "overlong escape of three", "\xe0\x80\x9b", "\\xe0\\x80\\x9b" },
};

static void control_characters_reach_no_terminal(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lines_of_log); i++) {
        log_error("%s", lines_of_log[i].text);
        if (strcmp(said, lines_of_log[i].want) != 0)
            fail_msg("%s: got \"%s\"", lines_of_log[i].why, said);
    }
}

/* Whatever the bytes: no control but newline and tab, no byte beyond ASCII that is not UTF-8. */
static void no_byte_is_forgotten(void **state)
{
    (void)state;
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b++) {
            const char text[] = { (char)a, (char)b, 'x', '\0' };
            log_error("%s", text);
            for (const char *at = said; *at; at++) {
                unsigned char c = (unsigned char)*at;
                assert_true(c >= 0x20 || c == '\n' || c == '\t');
                assert_int_not_equal(c, 0x7f);
                if (c < 0x80)
                    continue;
                assert_true(c >= 0xc2 && c <= 0xdf); /* two bytes and an x hold no longer ones */
                unsigned char next = (unsigned char)*++at;
                assert_true((next & 0xc0) == 0x80 && (c > 0xc2 || next >= 0xa0));
            }
        }
}

static void lines_above_the_level_are_not_made(void **state)
{
    static const struct {
        enum log_level most;
        int lines;
    } cases[] = {
        { LOG_LEVEL_ERROR, 1 },
        { LOG_LEVEL_WARN, 2 },
        { LOG_LEVEL_INFO, 3 },
        { LOG_LEVEL_DEBUG, 4 },
    };
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        log_level(cases[i].most);
        lines = 0;
        log_error("e");
        assert_int_equal(said_level, LOG_LEVEL_ERROR);
        log_warn("w");
        log_info("i");
        log_debug("d");
        assert_int_equal(lines, cases[i].lines);
        assert_int_equal(said_level, cases[i].most);
    }
}

static void a_huge_line_is_cut_and_stays_harmless(void **state)
{
    static char huge[20000];
    (void)state;

    memset(huge, '\033', sizeof huge - 1);
    log_error("%s", huge);
    assert_true(strlen(said) > 4000 && strlen(said) % 4 == 0);
    assert_null(strchr(said, '\033'));
}

static void without_a_sink_lines_go_to_standard_error(void **state)
{
    int fds[2], old = dup(STDERR_FILENO);
    char got[64] = "";
    (void)state;

    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    log_to(NULL, NULL);
    log_warn("%s", "a\033b");
    dup2(old, STDERR_FILENO);
    assert_true(read(fds[0], got, sizeof got - 1) > 0);
    assert_string_equal(got, "moonwatch: a\\x1bb\n");
    close(fds[0]);
    close(fds[1]);
    close(old);
}

/* --- clock ------------------------------------------------------------------------------ */

static void clocks_run_forward(void **state)
{
    (void)state;
    int64_t mono = clock_mono_ns(), boot = clock_boot_ns(), cpu = clock_cpu_ns();
    assert_true(mono > 0 && boot > 0 && cpu > 0);
    assert_true(clock_real_ns() > INT64_C(1500000000) * NS_PER_SECOND);
    assert_true(clock_mono_ns() >= mono && clock_boot_ns() >= boot && clock_cpu_ns() >= cpu);
}

/* --- arena ------------------------------------------------------------------------------ */

static int blocks_out;

static void *counted_get(size_t size, void *ctx)
{
    if (*(int *)ctx == 0)
        return NULL;
    --*(int *)ctx;
    blocks_out++;
    return malloc(size);
}

static void counted_put(void *block, void *ctx)
{
    (void)ctx;
    blocks_out--;
    free(block);
}

static void pieces_of_an_arena_are_apart_zeroed_and_go_at_once(void **state)
{
    int left = 1000;
    struct arena a = { .memory = { counted_get, counted_put, &left } };
    unsigned char *pieces[300];
    (void)state;

    for (size_t i = 0; i < COUNT(pieces); i++) {
        pieces[i] = arena_get(&a, i * 37);
        assert_int_equal((uintptr_t)pieces[i] % sizeof(max_align_t), 0);
        for (size_t n = 0; n < i * 37; n++)
            assert_int_equal(pieces[i][n], 0);
        memset(pieces[i], (int)i, i * 37);
    }
    for (size_t i = 0; i < COUNT(pieces); i++)
        for (size_t n = 0; n < i * 37; n++)
            assert_int_equal(pieces[i][n], (unsigned char)i);
    arena_free(&a);
    assert_int_equal(blocks_out, 0);
    assert_int_equal(a.bytes, 0);
}

static void an_array_in_an_arena_keeps_what_it_has(void **state)
{
    struct arena a = { 0 };
    int *array = NULL;
    size_t cap = 0;
    (void)state;

    for (int i = 0; i < 10000; i++) {
        array = arena_grow(&a, array, (size_t)i, &cap, 1, sizeof *array);
        array[i] = i;
    }
    for (int i = 0; i < 10000; i++)
        assert_int_equal(array[i], i);
    arena_free(&a);
}

static void an_arena_without_memory_says_so(void **state)
{
    int left = 1;
    struct arena a = { .memory = { counted_get, counted_put, &left } };
    size_t cap = 0;
    (void)state;

    assert_non_null(arena_get(&a, 10));
    assert_null(arena_get(&a, 1000000));
    assert_null(arena_get(&a, SIZE_MAX));
    assert_null(arena_copy(&a, "x", SIZE_MAX));
    assert_null(arena_grow(&a, NULL, 0, &cap, SIZE_MAX / 4, 16));
    assert_string_equal(arena_copy(&a, "text", 2), "te");
    arena_free(&a);
    assert_int_equal(blocks_out, 0);
}

/* --- address ---------------------------------------------------------------------------- */

static void addresses_are_in_the_networks_that_have_them(void **state)
{
    static const struct {
        const char *range, *address;
        bool within;
    } cases[] = {
        { "10.0.0.0/8", "10.255.0.1", true },     { "10.0.0.0/8", "11.0.0.0", false },
        { "10.1.2.3", "10.1.2.3", true },         { "10.0.0.0/8", "::ffff:10.0.0.1", true },
        { "2001:db8::/32", "2001:db8::1", true }, { "::/0", "10.0.0.1", false },
        { "fe80::/10", "fe80::1%eth0", true },    { "0.0.0.0/0", "255.255.255.255", true },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address address;
        struct address_range range;
        size_t at;
        assert_null(address_read_range(cases[i].range, strlen(cases[i].range), &range, &at));
        assert_true(address_read(cases[i].address, strlen(cases[i].address), &address));
        assert_int_equal(address_within(&address, &range), cases[i].within);
    }
    static const char *const wrong[] = { "", "10.0.0", "10.0.0.0/33", "::/129", "a", "1.2.3.4/" };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct address_range range;
        size_t at = SIZE_MAX;
        assert_non_null(address_read_range(wrong[i], strlen(wrong[i]), &range, &at));
        assert_true(at <= strlen(wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_buf_is_an_empty_one),
        cmocka_unit_test(what_is_appended_stays_while_it_grows),
        cmocka_unit_test(the_end_of_a_text_is_not_part_of_it),
        cmocka_unit_test(a_cleared_buf_keeps_its_memory),
        cmocka_unit_test(numbers_are_written_whole),
        cmocka_unit_test(no_memory_leaves_what_was_there_and_is_remembered),
        cmocka_unit_test_setup_teardown(control_characters_reach_no_terminal, begin_log, end_log),
        cmocka_unit_test_setup_teardown(no_byte_is_forgotten, begin_log, end_log),
        cmocka_unit_test_setup_teardown(lines_above_the_level_are_not_made, begin_log, end_log),
        cmocka_unit_test_setup_teardown(a_huge_line_is_cut_and_stays_harmless, begin_log, end_log),
        cmocka_unit_test_setup_teardown(without_a_sink_lines_go_to_standard_error, begin_log,
                                        end_log),
        cmocka_unit_test(clocks_run_forward),
        cmocka_unit_test(pieces_of_an_arena_are_apart_zeroed_and_go_at_once),
        cmocka_unit_test(an_array_in_an_arena_keeps_what_it_has),
        cmocka_unit_test(an_arena_without_memory_says_so),
        cmocka_unit_test(addresses_are_in_the_networks_that_have_them),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
