/* test_storm.c - when a storm begins and ends, and that what is added up is exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "host/storm.h"

#include <stdio.h>
#include <string.h>

static struct storm *storm;
static struct tracker *tracker;
static int64_t now, event_time;
static uint64_t told, asked;
static const char *parent_exe;
static int parent_uid;

static int begin(void **state)
{
    (void)state;
    now = 100 * NS_PER_SECOND;
    event_time = 1000;
    told = asked = 0;
    parent_exe = "/bin/make";
    parent_uid = 0;
    tracker = tracker_new(1 << 20);
    return storm_new(&storm, tracker);
}

static int end(void **state)
{
    (void)state;
    storm_free(storm);
    tracker_free(tracker);
    return 0;
}

static enum storm_step press(double backlog, double seconds_later)
{
    now += (int64_t)(seconds_later * 1e9);
    return storm_pressure(storm, backlog, now);
}

/* An event of a child of this parent. True when it was added up. */
static bool tell(enum event_kind kind, int parent_pid, int parent_start, const char *comm,
                 const char *exe)
{
    static struct event_box box;
    struct storm_parent parent = { parent_pid, parent_start, parent_uid, { "make", 4 },
                                   { parent_exe, strlen(parent_exe) }, { "/", 1 }, 0 };
    event_begin(&box, kind);
    event_set(&box, F_TIME, event_time += 10, WHY_KERNEL);
    event_set(&box, F_PID, 7, WHY_KERNEL);
    if (comm)
        event_set_text(&box, F_COMM, comm, strlen(comm), WHY_PROC);
    if (exe)
        event_set_text(&box, F_EXE, exe, strlen(exe), WHY_PROC);
    bool summed = storm_sums(storm, &box.ev, &parent);
    asked++;
    told += !summed;
    return summed;
}

/* --- reports ------------------------------------------------------------------------------- */

static struct storm_row rows[STORM_PARENTS + 1];
static int rows_len;

static void keep(void *ctx, const struct storm_row *row)
{
    (void)ctx;
    assert_true(rows_len <= STORM_PARENTS);
    rows[rows_len++] = *row;
}

static uint64_t report(void)
{
    uint64_t summed = 0;
    rows_len = 0;
    storm_report(storm, keep, NULL);
    for (int i = 0; i < rows_len; i++)
        summed += rows[i].summed;
    return summed;
}

/* --- the mode ------------------------------------------------------------------------------ */

static void it_begins_at_half_and_ends_below_an_eighth(void **state)
{
    (void)state;
    assert_int_equal(press(0.49, 0), STORM_CALM);
    assert_false(storm_on(storm));
    assert_int_equal(press(0.5, 0), STORM_BEGINS);
    assert_true(storm_on(storm));
    assert_int_equal(press(0.3, 0.9), STORM_LASTS); /* neither nor: it stays as it is */
    assert_int_equal(press(0.3, 0.2), STORM_REPORTS);
    assert_int_equal(press(0.125, 0.1), STORM_LASTS);
    assert_int_equal(press(0.12, 0), STORM_ENDS);
    assert_false(storm_on(storm));
    assert_int_equal(press(0.3, 5), STORM_CALM);
}

static void it_lasts_for_a_second_at_least(void **state)
{
    (void)state;
    assert_int_equal(press(1, 0), STORM_BEGINS);
    assert_int_equal(press(0, 0.5), STORM_LASTS);
    assert_int_equal(press(0, 0.49), STORM_LASTS);
    assert_int_equal(press(0, 0.01), STORM_ENDS);
}

static void one_that_comes_back_at_once_lasts_longer(void **state)
{
    static const double seconds[] = { 1, 2, 4, 8, 8 };
    (void)state;
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        assert_int_equal(press(1, 0.1), STORM_BEGINS);
        assert_int_not_equal(press(0, seconds[i] - 0.1), STORM_ENDS);
        assert_int_equal(press(0, 0.1), STORM_ENDS);
    }
    assert_int_equal(press(1, 9), STORM_BEGINS); /* calm for long enough: as at first */
    assert_int_equal(press(0, 1), STORM_ENDS);
}

static void a_report_is_due_each_second(void **state)
{
    int due = 0;
    (void)state;
    press(1, 0);
    for (int i = 1; i <= 1000; i++)
        due += press(1, 0.01) == STORM_REPORTS;
    assert_int_equal(due, 10);
}

static void the_end_of_the_watch_ends_it(void **state)
{
    (void)state;
    assert_int_equal(storm_finish(storm), STORM_CALM);
    press(1, 0);
    assert_int_equal(storm_finish(storm), STORM_ENDS);
    assert_int_equal(storm_finish(storm), STORM_CALM);
}

/* --- what is added up ---------------------------------------------------------------------- */

static void the_first_of_each_kind_is_told(void **state)
{
    (void)state;
    press(1, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tell(EVENT_FORK, 50, 1, "make", "/bin/make"), i > 0);
        assert_int_equal(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"), i > 0);
        assert_int_equal(tell(EVENT_EXIT, 50, 1, "cc", "/bin/cc"), i > 0);
        assert_int_equal(tell(EVENT_EXEC, 50, 1, "cc", "/tmp/cc"), i > 0);  /* another file */
        assert_int_equal(tell(EVENT_EXEC, 50, 1, NULL, NULL), i > 0);
        assert_true(tell(EVENT_EXEC, 51, 1, "cc", "/bin/cc")); /* another parent of the same sort */
        parent_exe = "/tmp/make";
        assert_int_equal(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"), i > 0);
        parent_uid = 1000;
        assert_int_equal(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"), i > 0);
        parent_exe = "/bin/make";
        parent_uid = 0;
    }
    /* where one text ends and the next begins matters */
    assert_false(tell(EVENT_EXEC, 50, 1, "ab", "c"));
    assert_false(tell(EVENT_EXEC, 50, 1, "a", "bc"));
}

static void in_the_next_storm_the_first_is_told_again(void **state)
{
    (void)state;
    press(1, 0);
    assert_false(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"));
    assert_true(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"));
    assert_int_equal(press(0, 1), STORM_ENDS);
    assert_int_equal(report(), 1);
    press(1, 0);
    assert_false(tell(EVENT_EXEC, 50, 1, "cc", "/bin/cc"));
    assert_int_equal(report(), 0);
    assert_int_equal(rows_len, 0);
}

static void other_kinds_are_always_told(void **state)
{
    (void)state;
    press(1, 0);
    for (int kind = 1; kind < EVENT_KINDS; kind++)
        for (int i = 0; i < 3; i++)
            if (kind != EVENT_FORK && kind != EVENT_EXEC && kind != EVENT_EXIT)
                assert_false(tell((enum event_kind)kind, 50, 1, "cc", "/bin/cc"));
}

static void a_row_has_the_parent_and_its_figures(void **state)
{
    (void)state;
    press(1, 0);
    event_time = 0;
    for (int i = 0; i < 11; i++) { /* times 10 to 330; the first of each is told */
        tell(EVENT_FORK, 50, 100, "make", "/bin/make");
        tell(EVENT_EXEC, 50, 100, "cc", "/bin/cc");
        tell(EVENT_EXIT, 50, 100, "cc", "/bin/cc");
    }
    tell(EVENT_EXIT, 50, 101, "sh", "/bin/sh"); /* the same parent, its start a tick off */
    tell(EVENT_EXIT, 50, 101, "sh", "/bin/sh");
    assert_int_equal(report(), 31);
    assert_int_equal(rows_len, 1);
    assert_int_equal(rows[0].pid, 50);
    assert_int_equal(rows[0].starttime, 100);
    assert_string_equal(rows[0].comm, "make");
    assert_int_equal(rows[0].children, 10);
    assert_int_equal(rows[0].distinct, 2); /* cc and sh: forks have their parent's name */
    assert_int_equal(rows[0].from_ns, 40);
    assert_int_equal(rows[0].until_ns, 350);
}

static void reports_are_differences(void **state)
{
    (void)state;
    press(1, 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            tell(EVENT_EXEC, 50, 1, i % 2 ? "cc" : "ld", "/bin/x");
        assert_int_equal(report(), round ? 100 : 98);
        assert_int_equal(rows[0].distinct, 2);
    }
    assert_int_equal(report(), 0);
}

static void what_was_told_and_the_sums_are_all(void **state)
{
    uint64_t summed = 0;
    (void)state;
    press(1, 0);
    for (int i = 0; i < 300000; i++) {
        char comm[16];
        snprintf(comm, sizeof comm, "c%d", i % 7);
        tell(EVENT_FORK + i % 3, i % 1499, 5, comm, "/bin/x"); /* more parents than rows */
        if (i % 10007 == 0)
            summed += report();
    }
    summed += report();
    assert_int_equal(told + summed, asked);
    assert_int_equal(summed, storm_summed(storm));
    assert_true(summed > 0);
}

/* --- bounds -------------------------------------------------------------------------------- */

static void a_parent_whose_start_is_not_known_has_one_row(void **state)
{
    (void)state;
    press(1, 0);
    for (int start = -1; start < 500; start += 500)
        for (int i = 0; i < 2; i++)
            tell(EVENT_EXEC, 50, start, "cc", "/bin/cc");
    assert_int_equal(report(), 3);
    assert_int_equal(rows_len, 1);
    assert_int_equal(rows[0].starttime, 499);
}

static void parents_without_a_row_share_one(void **state)
{
    (void)state;
    press(1, 0);
    for (int pid = 0; pid < STORM_PARENTS + 10; pid++)
        for (int i = 0; i < 3; i++)
            tell(EVENT_FORK, 1000 + pid, pid, "x", "/bin/x");
    tell(EVENT_EXEC, -1, -1, "a", "/bin/a"); /* of an unknown parent, too */
    tell(EVENT_EXEC, -1, -1, "a", "/bin/a");
    assert_int_equal(report(), 3 * (STORM_PARENTS + 10) - 1 + 1);
    assert_int_equal(rows_len, STORM_PARENTS + 1);
    assert_int_equal(rows[STORM_PARENTS].pid, -1);
    assert_int_equal(rows[STORM_PARENTS].summed, 31);
    assert_int_equal(rows[STORM_PARENTS].children, 30);
    assert_int_equal(rows[STORM_PARENTS].distinct, 1);

    tell(EVENT_FORK, 1000 + STORM_PARENTS + 5, STORM_PARENTS + 5, "x", "/bin/x");
    assert_int_equal(report(), 1);
    assert_int_equal(rows[0].pid, 1000 + STORM_PARENTS + 5); /* rows are free again */
}

/* Every exec has a name that no other has: each is a first, and none may be held back. */
static void more_names_than_can_be_remembered_are_all_told(void **state)
{
    (void)state;
    press(1, 0);
    for (int i = 0; i < 3 * STORM_FIRSTS; i++) {
        char exe[32];
        snprintf(exe, sizeof exe, "/tmp/%d", i);
        assert_false(tell(EVENT_EXEC, 50, 1, "x", exe));
        tell(EVENT_EXIT, 50, 1, "x", exe);
    }
    report();
    for (int i = 0; i < 2 * STORM_COMMS; i++) {
        char comm[16];
        snprintf(comm, sizeof comm, "c%d", i);
        tell(EVENT_EXEC, 50, 1, comm, "/tmp/x");
        tell(EVENT_EXEC, 50, 1, comm, "/tmp/x");
    }
    report();
    assert_in_range(rows[0].distinct, STORM_COMMS / 2, STORM_COMMS);
}

static void it_costs_little(void **state)
{
    static const char *const names[] = { "cc1", "as", "ld", "sh", "collect2" };
    enum { EVENTS = 1000000 };
    static struct event_box boxes[5];
    (void)state;
    press(1, 0);
    for (int i = 0; i < 5; i++) {
        event_begin(&boxes[i], EVENT_EXEC);
        event_set(&boxes[i], F_TIME, 5, WHY_KERNEL);
        event_set_text(&boxes[i], F_COMM, names[i], strlen(names[i]), WHY_PROC);
        event_set_text(&boxes[i], F_EXE, "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", 36, WHY_PROC);
    }
    int64_t began = clock_cpu_ns();
    uint64_t summed = 0;
    for (int i = 0; i < EVENTS; i++) {
        struct storm_parent parent = { 1000 + i % 64, 5, 1000, { "make", 4 }, { "/usr/bin/make", 13 },
                                       { "/user.slice/user-1000.slice", 27 }, 0 };
        summed += storm_sums(storm, &boxes[i % 5].ev, &parent);
    }
    double ns = (double)(clock_cpu_ns() - began) / EVENTS;
    assert_int_equal(summed, EVENTS - 5);
    print_message("  %.0f ns for an event that is added up\n", ns);
    assert_true(ns < 20000); /* sanitized, on a busy machine; it would be a loop gone wrong */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_begins_at_half_and_ends_below_an_eighth),
        TEST(it_lasts_for_a_second_at_least),
        TEST(one_that_comes_back_at_once_lasts_longer),
        TEST(a_report_is_due_each_second),
        TEST(the_end_of_the_watch_ends_it),
        TEST(the_first_of_each_kind_is_told),
        TEST(in_the_next_storm_the_first_is_told_again),
        TEST(other_kinds_are_always_told),
        TEST(a_row_has_the_parent_and_its_figures),
        TEST(reports_are_differences),
        TEST(what_was_told_and_the_sums_are_all),
        TEST(a_parent_whose_start_is_not_known_has_one_row),
        TEST(parents_without_a_row_share_one),
        TEST(more_names_than_can_be_remembered_are_all_told),
        TEST(it_costs_little),
    };
    return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
