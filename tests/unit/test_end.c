/* test_end.c - ends wait for whoever asks, the oldest gives way, and none is found twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collect/end.h"

static struct process_end end_of(int32_t pid, uint32_t code)
{
    return (struct process_end){ .pid = pid, .exit_code = code };
}

static unsigned put(struct ends *ends, int32_t pid, uint32_t code)
{
    struct process_end end = end_of(pid, code);
    return ends_put(ends, &end);
}

static bool has(struct ends *ends, int32_t pid, uint32_t code)
{
    struct process_end end = end_of(0, 0);
    return ends_take(ends, pid, &end) && end.pid == pid && end.exit_code == code;
}

static void an_end_is_found_once(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    assert_false(has(ends, 7, 1));
    assert_int_equal(put(ends, 7, 1), 0);
    assert_false(has(ends, 8, 1));
    assert_true(has(ends, 7, 1));
    assert_false(has(ends, 7, 1));
    ends_free(ends);
}

static void a_pid_that_was_used_again_replaces_its_old_end(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    put(ends, 7, 1);
    assert_int_equal(put(ends, 7, 2), 1);
    assert_true(has(ends, 7, 2));
    assert_false(has(ends, 7, 1));
    ends_free(ends);
}

static void the_oldest_of_a_full_table_is_pushed_out(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    for (int pid = 1; pid <= ENDS_MAX; pid++)
        assert_int_equal(put(ends, pid, 0), 0);
    for (int pid = ENDS_MAX + 1; pid <= ENDS_MAX + 10; pid++)
        assert_int_equal(put(ends, pid, 0), 1);
    for (int pid = 1; pid <= 10; pid++)
        assert_false(has(ends, pid, 0));
    for (int pid = 11; pid <= ENDS_MAX + 10; pid++)
        assert_true(has(ends, pid, 0));
    ends_free(ends);
}

/* The oldest and the old end of the same pid: two, or one when they are the same. */
static void a_full_table_counts_all_that_it_pushed_out(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    for (int pid = 1; pid <= ENDS_MAX; pid++)
        put(ends, pid, 0);
    assert_int_equal(put(ends, 100, 5), 2); /* 1 and the old 100 */
    assert_int_equal(put(ends, 2, 5), 1);   /* the old 2, which was the oldest */
    assert_true(has(ends, 100, 5));
    assert_true(has(ends, 2, 5));
    assert_false(has(ends, 1, 0));
    assert_true(has(ends, 3, 0));
    ends_free(ends);
}

static void what_was_taken_is_not_pushed_out(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    for (int pid = 1; pid <= 10 * ENDS_MAX; pid++) {
        assert_int_equal(put(ends, pid, (uint32_t)pid), 0);
        assert_true(has(ends, pid, (uint32_t)pid));
    }
    ends_free(ends);
}

/* Against a table that cannot be wrong: who came when, by pid. */
static void any_order_of_putting_and_taking_is_kept(void **state)
{
    enum { PIDS = 6000, STEPS = 200000 };
    struct ends *ends = ends_new();
    int64_t *came = calloc(PIDS, sizeof *came); /* number of the put, 0: not there */
    int64_t puts = 0;
    uint32_t random = 1;
    (void)state;

    assert_true(ends && came);
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        /* strides make pids collide */
        int32_t i = (int32_t)((random >> 8) % PIDS), pid = 1 + i * (1 + step / 50000 * 8192);
        if (step % 50000 == 0) { /* another stride: other pids */
            ends_free(ends);
            ends = ends_new();
            assert_non_null(ends);
            memset(came, 0, PIDS * sizeof *came);
            puts = 0;
        }
        bool there = came[i] > 0 && came[i] > puts - ENDS_MAX;
        if (random >> 30) {
            put(ends, pid, (uint32_t)++puts);
            came[i] = puts;
        } else {
            assert_int_equal(has(ends, pid, (uint32_t)came[i]), there);
            came[i] = 0;
        }
    }
    free(came);
    ends_free(ends);
}

static void a_table_that_is_not_there_is_freed_too(void **state)
{
    (void)state;
    ends_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_is_found_once),
        cmocka_unit_test(a_pid_that_was_used_again_replaces_its_old_end),
        cmocka_unit_test(the_oldest_of_a_full_table_is_pushed_out),
        cmocka_unit_test(a_full_table_counts_all_that_it_pushed_out),
        cmocka_unit_test(what_was_taken_is_not_pushed_out),
        cmocka_unit_test(any_order_of_putting_and_taking_is_kept),
        cmocka_unit_test(a_table_that_is_not_there_is_freed_too),
    };
    return cmocka_run_group_tests_name("end", tests, NULL, NULL);
}
