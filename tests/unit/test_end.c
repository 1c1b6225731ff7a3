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

static void a_pid_that_was_used_again_has_its_ends_in_order(void **state)
{
    struct ends *ends = ends_new();
    (void)state;

    for (uint32_t code = 1; code <= 5; code++)
        assert_int_equal(put(ends, 7, code), 0);
    for (uint32_t code = 1; code <= 5; code++) {
        const struct process_end *next = ends_find(ends, 7);
        assert_non_null(next);
        assert_int_equal(next->exit_code, code);
        assert_true(has(ends, 7, code));
    }
    assert_null(ends_find(ends, 7));
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
    enum { PIDS = 6000, STEPS = 200000, DEEP = 4 };
    struct ends *ends = ends_new();
    int64_t(*came)[DEEP] = calloc(PIDS, sizeof *came); /* numbers of the puts, 0: none */
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
        int64_t *mine = came[i];
        while (mine[0] && mine[0] <= puts - ENDS_MAX) { /* pushed out */
            memmove(mine, mine + 1, (DEEP - 1) * sizeof *mine);
            mine[DEEP - 1] = 0;
        }
        int waiting = 0;
        while (waiting < DEEP && mine[waiting])
            waiting++;
        if (random >> 30 && waiting < DEEP) {
            put(ends, pid, (uint32_t)++puts);
            mine[waiting] = puts;
        } else {
            assert_int_equal(has(ends, pid, (uint32_t)mine[0]), waiting > 0);
            memmove(mine, mine + 1, (DEEP - 1) * sizeof *mine);
            mine[DEEP - 1] = 0;
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
        cmocka_unit_test(a_pid_that_was_used_again_has_its_ends_in_order),
        cmocka_unit_test(the_oldest_of_a_full_table_is_pushed_out),
        cmocka_unit_test(what_was_taken_is_not_pushed_out),
        cmocka_unit_test(any_order_of_putting_and_taking_is_kept),
        cmocka_unit_test(a_table_that_is_not_there_is_freed_too),
    };
    return cmocka_run_group_tests_name("end", tests, NULL, NULL);
}
