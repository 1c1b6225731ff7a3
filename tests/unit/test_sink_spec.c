/* test_sink_spec.c - what crosses to the privileged side is served only when all of it makes
 * sense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sink/spec.h"

static struct sink_spec spec_of(enum sink_kind kind, const char *text, size_t len)
{
    struct sink_spec spec = { .kind = kind, .queue = SPEC_QUEUE_MIN, .text_len = (uint32_t)len };
    memcpy(spec.text, text, len);
    return spec;
}

#define SPEC(kind, text) spec_of(SINK_##kind, text, sizeof(text) - 1)

static void a_good_spec_survives_the_way(void **state)
{
    const struct sink_spec good[] = {
        SPEC(STDOUT, ""),       SPEC(FILE, "a/b.jsonl"),         SPEC(UNIX, "/run/x.sock"),
        SPEC(SYSLOG, ""),       SPEC(SYSLOG, "/run/other"),      SPEC(JOURNALD, ""),
        SPEC(EXEC, "logger\0"), SPEC(EXEC, "logger\0-t\0\0x\0"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct sink_spec taken;
        assert_null(spec_fault(&good[i]));
        assert_int_equal(spec_take(&taken, &good[i], spec_size(&good[i])), 0);
        assert_memory_equal(&taken, &good[i], sizeof taken);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct sink_spec bad[] = {
        SPEC(KINDS, "x"),
        SPEC(STDOUT, "x"),
        SPEC(FILE, ""),
        SPEC(FILE, "a\0b"),
        SPEC(UNIX, ""),
        SPEC(EXEC, ""),
        SPEC(EXEC, "logger"),
        SPEC(EXEC, "\0"),
        SPEC(FILE, "q"),
        SPEC(FILE, "full"),
        SPEC(FILE, "spool"),
        SPEC(FILE, "no spool"),
        SPEC(FILE, "r"),
        SPEC(UNIX, "rotate"),
        SPEC(FILE, "keep 0"),
        SPEC(FILE, "keep 100"),
        SPEC(FILE, "keep without rotate"),
    };
    (void)state;
    bad[8].queue = SPEC_QUEUE_MIN + 1;
    bad[9].full = SINK_FULLS;
    bad[10].spool = 1 << 20;
    bad[11].full = SINK_SPOOL;
    bad[12].rotate = 1;
    bad[12].keep = 1;
    bad[13].rotate = 1 << 20;
    bad[13].keep = 1;
    bad[14].rotate = 1 << 20;
    bad[15].rotate = 1 << 20;
    bad[15].keep = 100;
    bad[16].keep = 3;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct sink_spec taken;
        if (!spec_fault(&bad[i]) || spec_take(&taken, &bad[i], spec_size(&bad[i])) != -EINVAL)
            fail_msg("case %zu was taken", i);
    }
}

static void a_length_that_lies_is_refused(void **state)
{
    struct sink_spec good = SPEC(FILE, "alerts.jsonl"), taken;
    size_t size = spec_size(&good);
    (void)state;
    for (size_t len = 0; len <= size + 8; len++)
        assert_int_equal(spec_take(&taken, &good, len), len == size ? 0 : -EINVAL);
    good.text_len = UINT32_MAX;
    assert_int_equal(spec_take(&taken, &good, sizeof good), -EINVAL);
    good.text_len = SPEC_TEXT_MAX + 1;
    assert_int_equal(spec_take(&taken, &good, sizeof good), -EINVAL);
}

static void arguments_come_apart_where_they_were_joined(void **state)
{
    struct sink_spec spec = SPEC(EXEC, "logger\0-t\0\0last\0");
    const char *argv[SPEC_ARGS_MAX + 1];
    (void)state;
    assert_int_equal(spec_argv(&spec, argv), 4);
    assert_string_equal(argv[0], "logger");
    assert_string_equal(argv[1], "-t");
    assert_string_equal(argv[2], "");
    assert_string_equal(argv[3], "last");
    assert_null(argv[4]);

    memset(spec.text, 0, sizeof spec.text);
    spec.text[0] = 'x';
    spec.text_len = 2 + SPEC_ARGS_MAX;
    assert_non_null(spec_fault(&spec));
    spec.text_len--;
    assert_null(spec_fault(&spec));
    assert_int_equal(spec_argv(&spec, argv), SPEC_ARGS_MAX);
}

static void a_name_cannot_reach_the_terminal_as_an_escape(void **state)
{
    struct sink_spec spec = SPEC(FILE, "a\x1b[31m\n");
    char name[SPEC_NAME_MAX];
    (void)state;
    spec_name(&spec, name);
    assert_string_equal(name, "file a\\x1b[31m\\x0a");
}

static void a_queue_has_the_next_power_of_two(void **state)
{
    (void)state;
    assert_int_equal(spec_queue(0), SPEC_QUEUE_MIN);
    assert_int_equal(spec_queue((1 << 20) - 1), 1 << 20);
    assert_int_equal(spec_queue((1 << 20) + 1), 2 << 20);
    assert_int_equal(spec_queue(UINT64_MAX), SPEC_QUEUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_spec_survives_the_way),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_length_that_lies_is_refused),
        cmocka_unit_test(arguments_come_apart_where_they_were_joined),
        cmocka_unit_test(a_name_cannot_reach_the_terminal_as_an_escape),
        cmocka_unit_test(a_queue_has_the_next_power_of_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
