/* test_priority.c - the guard lets go of a core and takes it back, each after its time; raising and
 * lowering is what the kernel says it is. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/priority.h"

#define MS (NS_PER_SECOND / 1000)

/* --- the guard, on a clock of its own ----------------------------------------------------- */

struct run {
    struct priority_guard guard;
    int64_t now_ns, cpu_ns;
};

static struct run begin(void)
{
    struct run r = { .now_ns = 5000 * NS_PER_SECOND, .cpu_ns = 77 };
    assert_int_equal(priority_guard_note(&r.guard, r.now_ns, r.cpu_ns), PRIORITY_KEEP);
    return r;
}

/* So much time passes in steps, with so much of a core used. The first verdict that is not KEEP,
 * and when it came. */
static enum priority_verdict pass(struct run *r, int64_t wall_ns, int64_t step_ns, int percent,
                                  int64_t *after_ns)
{
    enum priority_verdict verdict = PRIORITY_KEEP;
    int64_t from_ns = r->now_ns;

    while (verdict == PRIORITY_KEEP && r->now_ns < from_ns + wall_ns) {
        r->now_ns += step_ns;
        r->cpu_ns += step_ns * percent / 100;
        verdict = priority_guard_note(&r->guard, r->now_ns, r->cpu_ns);
    }
    if (after_ns)
        *after_ns = r->now_ns - from_ns;
    return verdict;
}

static void a_second_above_the_mark_yields(void **state)
{
    int64_t after_ns;
    (void)state;

    for (int64_t step_ns = MS; step_ns <= 1000 * MS; step_ns *= 10) {
        struct run r = begin();
        assert_int_equal(pass(&r, 10 * NS_PER_SECOND, step_ns, 71, &after_ns), PRIORITY_YIELD);
        assert_int_equal(after_ns, NS_PER_SECOND);
    }
}

static void the_mark_itself_is_kept_for_ever(void **state)
{
    struct run r = begin();
    (void)state;
    assert_int_equal(pass(&r, 1000 * NS_PER_SECOND, 10 * MS, 70, NULL), PRIORITY_KEEP);
}

static void a_burst_shorter_than_a_second_is_kept(void **state)
{
    struct run r = begin();
    (void)state;

    for (int i = 0; i < 100; i++) {
        assert_int_equal(pass(&r, 300 * MS, MS, 100, NULL), PRIORITY_KEEP);
        assert_int_equal(pass(&r, 700 * MS, MS, 0, NULL), PRIORITY_KEEP);
    }
}

/* It begins in the middle of a stretch: seen in the next one. */
static void a_load_after_sleep_is_seen_within_two_seconds(void **state)
{
    struct run r = begin();
    int64_t after_ns;
    (void)state;

    assert_int_equal(pass(&r, 3600 * NS_PER_SECOND, 1800 * NS_PER_SECOND, 0, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&r, 900 * MS, 10 * MS, 0, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&r, 10 * NS_PER_SECOND, 10 * MS, 100, &after_ns), PRIORITY_YIELD);
    assert_true(after_ns <= 2 * NS_PER_SECOND);
}

static struct run yielded(void)
{
    struct run r = begin();
    assert_int_equal(pass(&r, 10 * NS_PER_SECOND, 10 * MS, 100, NULL), PRIORITY_YIELD);
    return r;
}

static void ten_calm_seconds_regain(void **state)
{
    struct run r = yielded();
    int64_t after_ns;
    (void)state;

    assert_int_equal(pass(&r, 60 * NS_PER_SECOND, 10 * MS, 34, &after_ns), PRIORITY_REGAIN);
    assert_int_equal(after_ns, 10 * NS_PER_SECOND);
    assert_int_equal(pass(&r, 60 * NS_PER_SECOND, 10 * MS, 34, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&r, 60 * NS_PER_SECOND, 10 * MS, 90, NULL), PRIORITY_YIELD);
}

static void between_the_marks_nothing_changes(void **state)
{
    struct run r = begin(), s = yielded();
    (void)state;

    assert_int_equal(pass(&r, 1000 * NS_PER_SECOND, 10 * MS, 50, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&s, 1000 * NS_PER_SECOND, 10 * MS, 50, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&s, 1000 * NS_PER_SECOND, 10 * MS, 100, NULL), PRIORITY_KEEP);
}

static void one_busy_second_begins_the_calm_anew(void **state)
{
    struct run r = yielded();
    int64_t after_ns;
    (void)state;

    assert_int_equal(pass(&r, 9 * NS_PER_SECOND, 10 * MS, 10, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&r, NS_PER_SECOND, 10 * MS, 40, NULL), PRIORITY_KEEP);
    assert_int_equal(pass(&r, 60 * NS_PER_SECOND, 10 * MS, 10, &after_ns), PRIORITY_REGAIN);
    assert_int_equal(after_ns, 10 * NS_PER_SECOND);
}

/* As when another thread's clocks are given: measured anew from there, and not never again. */
static void a_clock_that_went_back_is_no_verdict(void **state)
{
    struct run r = begin();
    int64_t after_ns;
    (void)state;

    r.now_ns -= 1000 * NS_PER_SECOND;
    assert_int_equal(pass(&r, 10 * NS_PER_SECOND, 10 * MS, 100, &after_ns), PRIORITY_YIELD);
    assert_in_range(after_ns, NS_PER_SECOND, NS_PER_SECOND + 10 * MS);

    r = begin();
    r.cpu_ns = -1000 * NS_PER_SECOND;
    assert_int_equal(pass(&r, 10 * NS_PER_SECOND, 10 * MS, 100, &after_ns), PRIORITY_YIELD);
    assert_in_range(after_ns, NS_PER_SECOND, NS_PER_SECOND + 10 * MS);
}

/* --- in the kernel ------------------------------------------------------------------------- */

enum { OK, WRONG_POLICY, WRONG_NICE, NO_RESET, WRONG_GRANT, INHERITED };

static int fault_of(int policy, int nice_value)
{
    int got = sched_getscheduler(0);
    if ((got & ~SCHED_RESET_ON_FORK) != policy)
        return WRONG_POLICY;
    if (!(got & SCHED_RESET_ON_FORK))
        return NO_RESET;
    return getpriority(PRIO_PROCESS, 0) == nice_value ? OK : WRONG_NICE;
}

static int fault_of_granted(enum priority granted)
{
    switch (granted) {
    case PRIORITY_FIFO:
        return fault_of(SCHED_FIFO, 0);
    case PRIORITY_NICE:
        return fault_of(SCHED_OTHER, -20);
    default:
        return OK; /* the kernel's age and our privileges decide */
    }
}

static int fault_of_child(void)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(sched_getscheduler(0) == SCHED_OTHER && getpriority(PRIO_PROCESS, 0) == 0
                  ? OK
                  : INHERITED);
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

/* Up from `best`, down, up again. */
static int try_from(enum priority best)
{
    for (int round = 0; round < 2; round++) {
        enum priority granted = priority_raise(best);
        int fault = granted < best ? WRONG_GRANT : fault_of_granted(granted);
        if (fault == OK)
            fault = fault_of_child();
        if (fault != OK || best == PRIORITY_NORMAL)
            return fault;
        priority_lower();
        fault = fault_of(SCHED_OTHER, 0);
        if (fault != OK)
            return fault;
    }
    return OK;
}

static void raised_and_lowered_is_what_the_kernel_says(void **state)
{
    (void)state;

    if (getpriority(PRIO_PROCESS, 0) != 0 || sched_getscheduler(0) != SCHED_OTHER) {
        print_message("skipped: this test was started with a priority of its own\n");
        skip();
    }
    for (int best = PRIORITY_FIFO; best <= PRIORITY_NORMAL; best++) {
        int status = -1;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(try_from((enum priority)best));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("from %s: fault %d", priority_text((enum priority)best), WEXITSTATUS(status));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_above_the_mark_yields),
        cmocka_unit_test(the_mark_itself_is_kept_for_ever),
        cmocka_unit_test(a_burst_shorter_than_a_second_is_kept),
        cmocka_unit_test(a_load_after_sleep_is_seen_within_two_seconds),
        cmocka_unit_test(ten_calm_seconds_regain),
        cmocka_unit_test(between_the_marks_nothing_changes),
        cmocka_unit_test(one_busy_second_begins_the_calm_anew),
        cmocka_unit_test(a_clock_that_went_back_is_no_verdict),
        cmocka_unit_test(raised_and_lowered_is_what_the_kernel_says),
    };
    return cmocka_run_group_tests_name("priority", tests, NULL, NULL);
}
