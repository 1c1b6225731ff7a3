/* test_tracker.c - who lives, whose child it is and what it was then, inside a hard bound. */
#include "collect/tracker.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PLENTY       ((size_t)1 << 30)

static struct tracker *t;
static struct event_box box;

static int begin(void **state)
{
    (void)state;
    t = tracker_new(PLENTY);
    return !t;
}

static int end(void **state)
{
    (void)state;
    tracker_free(t);
    t = NULL;
    return 0;
}

static void begin_anew(size_t bound)
{
    tracker_free(t);
    t = tracker_new(bound);
    assert_non_null(t);
}

/* --- telling it what happens -------------------------------------------------------------- */

static void start_event(enum event_kind kind, int64_t pid)
{
    event_begin(&box, kind);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
}

static void set_text(enum event_field field, const char *text)
{
    event_set_text(&box, field, text, strlen(text), WHY_PROC);
}

static void fork_at(int64_t pid, int64_t ppid, int64_t start, const char *comm)
{
    start_event(EVENT_FORK, pid);
    event_set(&box, F_MONO, start * NS_PER_TICK, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    event_set(&box, F_STARTTIME, start, WHY_COMPUTED);
    set_text(F_COMM, comm);
    tracker_apply(t, &box.ev);
}

static void found(int64_t pid, int64_t ppid, int64_t start, const char *comm)
{
    start_event(EVENT_SNAPSHOT, pid);
    event_set(&box, F_PPID, ppid, WHY_PROC);
    event_set(&box, F_STARTTIME, start, WHY_PROC);
    set_text(F_COMM, comm);
    tracker_apply(t, &box.ev);
}

/* As the collector does it: what is known already is in the event. */
static void changed(enum event_kind kind, int64_t pid, const char *comm, const char *exe)
{
    start_event(kind, pid);
    tracker_copy_state(t, tracker_alive(t, pid), &box, WHY_KEPT);
    set_text(F_COMM, comm);
    if (exe)
        set_text(F_EXE, exe);
    tracker_apply(t, &box.ev);
}

static void execs(int64_t pid, const char *comm)
{
    changed(EVENT_EXEC, pid, comm, NULL);
}

static void exits(int64_t pid)
{
    start_event(EVENT_EXIT, pid);
    tracker_apply(t, &box.ev);
}

static bool is_named(tracker_ref ref, const char *comm)
{
    size_t len;
    const char *text = tracker_text(t, ref, F_COMM, &len);
    return text && len == strlen(comm) && !memcmp(text, comm, len);
}

static void assert_named(tracker_ref ref, const char *comm)
{
    size_t len;
    const char *text = tracker_text(t, ref, F_COMM, &len);
    if (!is_named(ref, comm))
        fail_msg("it is %.*s, not %s", (int)len, text ? text : "", comm);
}

/* --- folding ------------------------------------------------------------------------------ */

static void a_fork_lives_until_its_exit(void **state)
{
    (void)state;
    assert_int_equal(tracker_alive(t, 10), 0);
    fork_at(10, 1, 100, "sh");
    tracker_ref ref = tracker_alive(t, 10);
    assert_named(ref, "sh");
    assert_int_equal(tracker_int(t, ref, F_PPID, -1), 1);
    assert_int_equal(tracker_forked_at(t, ref), 100 * NS_PER_TICK);
    assert_int_equal(tracker_count(t).alive, 1);

    exits(10);
    assert_int_equal(tracker_alive(t, 10), 0);
    assert_int_equal(tracker_count(t).alive, 0);
    assert_int_equal(tracker_find(t, 10, 100), ref); /* remembered */
    assert_named(ref, "sh");
}

static void a_change_changes_what_is_alive(void **state)
{
    static const enum event_kind kinds[] = { EVENT_EXEC, EVENT_UID, EVENT_GID,
                                             EVENT_SID,  EVENT_COMM };
    (void)state;
    fork_at(10, 1, 100, "sh");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char name[16];
        snprintf(name, sizeof name, "name-%zu", i);
        changed(kinds[i], 10, name, NULL);
        assert_named(tracker_alive(t, 10), name);
    }
    assert_int_equal(tracker_count(t).nodes, 1);
    assert_int_equal(tracker_int(t, tracker_alive(t, 10), F_STARTTIME, -1), 100);
    assert_int_equal(tracker_forked_at(t, tracker_alive(t, 10)), 100 * NS_PER_TICK);
}

static void a_change_of_an_unknown_process_makes_it_known(void **state)
{
    (void)state;
    execs(77, "new");
    assert_named(tracker_alive(t, 77), "new");
    assert_int_equal(tracker_forked_at(t, tracker_alive(t, 77)), 0);
}

static void what_is_not_about_a_life_changes_nothing(void **state)
{
    static const enum event_kind kinds[] = { EVENT_NONE, EVENT_PTRACE, EVENT_COREDUMP, EVENT_LOST,
                                             EVENT_RELOAD, EVENT_STORM };
    (void)state;
    fork_at(10, 1, 100, "sh");
    for (size_t i = 0; i < COUNT(kinds); i++) {
        start_event(kinds[i], 10);
        set_text(F_COMM, "other");
        tracker_apply(t, &box.ev);
        start_event(kinds[i], 11);
        tracker_apply(t, &box.ev);
    }
    event_begin(&box, EVENT_EXEC); /* no pid */
    tracker_apply(t, &box.ev);
    assert_named(tracker_alive(t, 10), "sh");
    assert_int_equal(tracker_count(t).nodes, 1);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "sh");
    for (enum event_kind kind = EVENT_FORK; kind < EVENT_KINDS; kind++) {
        start_event(kind, 10);
        event_set(&box, F_TID, 11, WHY_KERNEL);
        set_text(F_COMM, "thread");
        tracker_apply(t, &box.ev);
    }
    assert_named(tracker_alive(t, 10), "sh");
    assert_int_equal(tracker_alive(t, 11), 0);
    assert_int_equal(tracker_count(t).nodes, 1);
}

static void who_is_held_outlives_the_remembered(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "make");
    tracker_ref ref = tracker_alive(t, 10);
    for (int holds = 0; holds < 2; holds++)
        tracker_hold(t, ref);
    for (int round = 0; round < 3; round++) {
        start_event(EVENT_EXIT, 10);
        tracker_apply(t, &box.ev);
        for (int i = 0; i < 2 * TRACKER_REMEMBERED; i++) {
            fork_at(1000 + i, 1, 200, "x");
            start_event(EVENT_EXIT, 1000 + i);
            tracker_apply(t, &box.ev);
        }
        if (round < 2) {
            assert_named(ref, "make");
            tracker_release(t, ref);
        }
    }
    assert_int_equal(tracker_why(t, ref, F_COMM), WHY_ABSENT);
    tracker_hold(t, ref); /* gone: nothing to hold */
    tracker_release(t, ref);
    assert_int_equal(tracker_count(t).nodes, TRACKER_REMEMBERED);
}

static void an_exit_of_another_start_is_not_its_own(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "sh");
    start_event(EVENT_EXIT, 10);
    event_set(&box, F_STARTTIME, 50, WHY_KEPT);
    tracker_apply(t, &box.ev);
    assert_named(tracker_alive(t, 10), "sh");
    event_set(&box, F_STARTTIME, 101, WHY_KEPT); /* one tick: the clocks are not read at once */
    tracker_apply(t, &box.ev);
    assert_int_equal(tracker_alive(t, 10), 0);
    exits(10); /* twice: nothing more to end */
    assert_int_equal(tracker_count(t).alive, 0);
}

/* --- lineage ------------------------------------------------------------------------------ */

static void a_child_has_the_parent_that_forked_it(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "sh");
    fork_at(11, 10, 101, "child");
    execs(10, "make");
    fork_at(12, 10, 102, "grandchild");

    assert_named(tracker_parent(t, tracker_alive(t, 11)), "sh");
    assert_named(tracker_parent(t, tracker_alive(t, 12)), "make");
    assert_named(tracker_alive(t, 10), "make");
    assert_int_equal(tracker_count(t).alive, 3);
    assert_int_equal(tracker_count(t).nodes, 4);
}

static void a_child_that_execs_keeps_its_parent(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "sh");
    fork_at(11, 10, 101, "sh");
    execs(11, "ls");
    fork_at(12, 11, 102, "ls"); /* now 11 has a child: its next image is another node */
    execs(11, "a program with a much longer name");
    execs(10, "make");
    assert_named(tracker_parent(t, tracker_alive(t, 11)), "sh");
    assert_int_equal(tracker_depth(t, tracker_alive(t, 12)), 2);
    assert_named(tracker_parent(t, tracker_alive(t, 12)), "ls");
}

static void ancestors_stay_while_a_descendant_lives(void **state)
{
    enum { DEPTH = 500 };
    (void)state;
    fork_at(1000, 1, 1, "p-0");
    for (int i = 1; i <= DEPTH; i++) {
        char name[16];
        snprintf(name, sizeof name, "p-%d", i);
        fork_at(1000 + i, 999 + i, 1 + i, name);
        exits(999 + i);
    }
    for (int i = 0; i < 3000; i++) { /* more than are remembered */
        fork_at(100, 1, 10000 + i, "other");
        exits(100);
    }

    tracker_ref ref = tracker_alive(t, 1000 + DEPTH);
    assert_int_equal(tracker_depth(t, ref), DEPTH);
    for (int i = DEPTH; i >= 0; i--) {
        char name[16];
        snprintf(name, sizeof name, "p-%d", i);
        assert_named(ref, name);
        ref = tracker_parent(t, ref);
    }
    assert_int_equal(ref, 0);
    assert_int_equal(tracker_count(t).evicted, 0);
}

static void a_long_dead_family_is_forgotten(void **state)
{
    (void)state;
    fork_at(10, 1, 1, "p");
    fork_at(11, 10, 2, "c");
    exits(10);
    exits(11);
    tracker_ref parent = tracker_find(t, 10, 1), child = tracker_find(t, 11, 2);
    assert_true(parent && child);
    assert_int_equal(tracker_parent(t, child), parent);
    for (int i = 0; i <= 2 * TRACKER_REMEMBERED; i++) { /* the parent's time begins later */
        fork_at(100, 1, 1000 + i, "other");
        exits(100);
    }
    assert_int_equal(tracker_find(t, 11, 2), 0);
    assert_int_equal(tracker_find(t, 10, 1), 0);
    assert_int_equal(tracker_int(t, child, F_PID, -5), -5);
}

static void the_last_dead_are_remembered(void **state)
{
    (void)state;
    for (int i = 0; i < TRACKER_REMEMBERED; i++) {
        fork_at(100 + i, 1, 1000 + i, "x");
        exits(100 + i);
    }
    for (int i = 0; i < TRACKER_REMEMBERED; i++)
        assert_int_not_equal(tracker_find(t, 100 + i, 1000 + i), 0);
    fork_at(50, 1, 9999, "x");
    exits(50);
    assert_int_equal(tracker_find(t, 100, 1000), 0); /* the oldest went */
    assert_int_not_equal(tracker_find(t, 101, 1001), 0);
    assert_int_equal(tracker_count(t).nodes, TRACKER_REMEMBERED);
    assert_int_equal(tracker_count(t).evicted, 0); /* its time had come */
}

/* A shell that changes between its children: each child dies, and with it one image of the shell. */
static void past_images_are_forgotten_with_the_last_child(void **state)
{
    (void)state;
    fork_at(10, 1, 1, "sh");
    for (int i = 0; i < 20000; i++) {
        fork_at(100, 10, 100 + i, "sh");
        changed(EVENT_COMM, 10, i % 2 ? "sh" : "sh2", NULL);
        exits(100);
    }
    assert_true(tracker_count(t).nodes <= 2 * TRACKER_REMEMBERED + 2);
}

/* --- pids come again ---------------------------------------------------------------------- */

static void a_fork_ends_the_owner_of_the_pid_before_it(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "old");
    tracker_ref old = tracker_alive(t, 10);
    fork_at(10, 1, 200, "new");
    assert_named(tracker_alive(t, 10), "new");
    assert_named(old, "old");
    assert_int_equal(tracker_find(t, 10, 100), old);
    assert_int_equal(tracker_find(t, 10, 200), tracker_alive(t, 10));
    assert_int_equal(tracker_find(t, 10, 150), 0);
    assert_int_equal(tracker_dead(t, 10), old);
    assert_int_equal(tracker_count(t).alive, 1);
}

static void a_start_is_found_give_or_take_one_tick(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "sh");
    for (int64_t start = 97; start <= 103; start++)
        assert_int_equal(tracker_find(t, 10, start) != 0, start >= 99 && start <= 101);
    found(11, 1, INT64_MAX, "far");
    assert_int_not_equal(tracker_find(t, 11, INT64_MAX), 0);
    assert_int_equal(tracker_find(t, 11, INT64_MIN), 0);
    assert_int_equal(tracker_find(t, 11, -1), 0);
    found(12, 11, INT64_MIN, "farther");
    assert_int_equal(tracker_parent(t, tracker_alive(t, 12)), 0);
    found(13, 12, INT64_MAX, "back");
    assert_named(tracker_parent(t, tracker_alive(t, 13)), "farther");
}

static void the_newest_dead_is_found_also_after_the_table_grew(void **state)
{
    char longer[600];
    (void)state;

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    fork_at(5, 1, 10, "grows");
    fork_at(7, 1, 20, "old");
    exits(7);
    changed(EVENT_EXEC, 5, "grows", longer); /* moves: its first place is free again */
    fork_at(7, 1, 30, "new");
    exits(7);
    assert_named(tracker_dead(t, 7), "new");
    for (int i = 0; i < 5000; i++) {
        fork_at(1000 + i, 1, 100, "x");
        assert_named(tracker_dead(t, 7), "new");
    }
    assert_named(tracker_find(t, 7, 20), "old");
}

/* --- snapshots ---------------------------------------------------------------------------- */

static void a_snapshot_of_the_same_process_merges(void **state)
{
    (void)state;
    fork_at(1, 0, 1, "init");
    fork_at(10, 1, 100, "sh");
    tracker_ref ref = tracker_alive(t, 10);
    found(10, 1, 101, "bash"); /* another clock: one tick off */
    assert_int_equal(tracker_alive(t, 10), ref);
    assert_named(ref, "bash");
    assert_int_equal(tracker_forked_at(t, ref), 100 * NS_PER_TICK);
    assert_named(tracker_parent(t, ref), "init");
    assert_int_equal(tracker_count(t).alive, 2);
}

static void a_snapshot_of_another_process_takes_the_pid(void **state)
{
    (void)state;
    fork_at(10, 1, 100, "old");
    tracker_ref old = tracker_alive(t, 10);
    found(10, 1, 500, "new");
    assert_named(tracker_alive(t, 10), "new");
    assert_int_equal(tracker_dead(t, 10), old);
    assert_int_equal(tracker_count(t).alive, 1);
}

static void a_parent_that_is_found_later_is_adopted(void **state)
{
    (void)state;
    found(20, 10, 200, "child");
    assert_int_equal(tracker_parent(t, tracker_alive(t, 20)), 0);
    found(10, 1, 100, "parent");
    tracker_ref parent = tracker_parent(t, tracker_alive(t, 20));
    assert_named(parent, "parent");
    execs(10, "changed"); /* from now on as it was when first asked */
    assert_named(tracker_parent(t, tracker_alive(t, 20)), "parent");
    exits(10);
    assert_named(tracker_parent(t, tracker_alive(t, 20)), "parent");
}

static void nobody_adopts_who_is_younger(void **state)
{
    (void)state;
    found(20, 10, 200, "child");
    found(10, 1, 300, "reused pid");
    assert_int_equal(tracker_parent(t, tracker_alive(t, 20)), 0);
    found(30, 30, 100, "its own parent");
    assert_int_equal(tracker_parent(t, tracker_alive(t, 30)), 0);
    assert_int_equal(tracker_depth(t, tracker_alive(t, 30)), 0);
}

static void a_circle_of_parents_ends_somewhere(void **state)
{
    (void)state;
    found(10, 11, 100, "a");
    found(11, 10, 100, "b");
    assert_true(tracker_depth(t, tracker_alive(t, 10)) <= 1000);
    exits(10);
    exits(11);
}

/* --- references --------------------------------------------------------------------------- */

static void a_reference_outlives_what_it_named(void **state)
{
    size_t len = 9;
    (void)state;

    fork_at(10, 1, 1, "gone");
    tracker_ref ref = tracker_alive(t, 10);
    exits(10);
    for (int i = 0; i < 3 * TRACKER_REMEMBERED; i++) {
        fork_at(11, 1, 100 + i, "other");
        exits(11);
    }
    assert_int_equal(tracker_int(t, ref, F_PID, -3), -3);
    assert_null(tracker_text(t, ref, F_COMM, &len));
    assert_int_equal(len, 0);
    assert_int_equal(tracker_parent(t, ref), 0);
    assert_int_equal(tracker_depth(t, ref), 0);
    assert_int_equal(tracker_forked_at(t, ref), 0);
    tracker_mark(t, ref);
    event_begin(&box, EVENT_SNAPSHOT);
    assert_false(tracker_copy_state(t, ref, &box, WHY_KEPT));
    assert_int_equal(box.ev.size, sizeof box.ev);
}

static void made_up_references_name_nothing(void **state)
{
    static const tracker_ref refs[] = { 0, 1, 2, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(7) << 32 };
    (void)state;
    fork_at(10, 1, 1, "x");
    for (size_t i = 0; i < COUNT(refs); i++)
        if (refs[i] != tracker_alive(t, 10))
            assert_int_equal(tracker_int(t, refs[i], F_PID, -3), -3);
}

static void state_is_copied_with_its_reasons(void **state)
{
    (void)state;
    start_event(EVENT_FORK, 10);
    event_set(&box, F_PPID, 1, WHY_KERNEL);
    event_set_missing(&box, F_UID, WHY_DENIED);
    event_set_missing(&box, F_EXE, WHY_GONE);
    set_text(F_COMM, "sh");
    event_set_text(&box, F_ARGS, "sh\0-c\0", 6, WHY_INHERITED);
    tracker_apply(t, &box.ev);

    event_begin(&box, EVENT_EXIT);
    assert_true(tracker_copy_state(t, tracker_alive(t, 10), &box, WHY_ABSENT));
    assert_int_equal(box.ev.why[F_PPID], WHY_KERNEL);
    assert_int_equal(box.ev.why[F_UID], WHY_DENIED);
    assert_int_equal(box.ev.why[F_EXE], WHY_GONE);
    assert_int_equal(box.ev.why[F_ARGS], WHY_INHERITED);
    assert_int_equal(box.ev.why[F_TTY], WHY_ABSENT);

    event_begin(&box, EVENT_EXIT);
    assert_true(tracker_copy_state(t, tracker_alive(t, 10), &box, WHY_KEPT));
    assert_int_equal(box.ev.why[F_PPID], WHY_KEPT);
    assert_int_equal(box.ev.why[F_UID], WHY_DENIED);
    assert_int_equal(box.ev.why[F_COMM], WHY_KEPT);
    assert_true(event_valid(&box, sizeof box));
    size_t len;
    const char *args = event_text(&box.ev, F_ARGS, &len);
    assert_int_equal(len, 6);
    assert_memory_equal(args, "sh\0-c\0", 6);
}

/* --- marks -------------------------------------------------------------------------------- */

static uint64_t visited;

static void note_visit(void *ctx, tracker_ref ref)
{
    assert_ptr_equal(ctx, &visited);
    visited |= UINT64_C(1) << tracker_int(t, ref, F_PID, 63);
}

static uint64_t unmarked(void)
{
    visited = 0;
    tracker_unmarked(t, note_visit, &visited);
    return visited;
}

static void who_is_not_marked_in_a_round_is_visited(void **state)
{
    (void)state;
    fork_at(1, 0, 1, "a");
    fork_at(2, 1, 2, "b");
    fork_at(3, 1, 3, "c");
    exits(3);
    assert_int_equal(unmarked(), 0); /* born in this round */
    tracker_round(t);
    assert_int_equal(unmarked(), 1 << 1 | 1 << 2);
    tracker_mark(t, tracker_alive(t, 1));
    fork_at(4, 1, 4, "d");
    assert_int_equal(unmarked(), 1 << 2);
    execs(1, "a marked one stays so in a new image");
    execs(2, "b");
    assert_int_equal(unmarked(), 1 << 2);
    tracker_round(t);
    assert_int_equal(unmarked(), 1 << 1 | 1 << 2 | 1 << 4);

    visited = 0;
    tracker_each(t, note_visit, &visited);
    assert_int_equal(visited, 1 << 1 | 1 << 2 | 1 << 4);
}

static void end_it(void *ctx, tracker_ref ref)
{
    (void)ctx;
    exits(tracker_int(t, ref, F_PID, -1));
}

static void a_visitor_may_end_what_it_visits(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++)
        fork_at(100 + i, i % 3 ? 99 + i : 1, 100 + i, "x");
    tracker_each(t, end_it, NULL);
    assert_int_equal(tracker_count(t).alive, 0);
}

/* --- the bound ---------------------------------------------------------------------------- */

static void at_the_bound_the_dead_go_and_are_counted(void **state)
{
    enum { BOUND = 64 * 1024 };
    (void)state;
    begin_anew(BOUND);
    fork_at(10, 1, 1, "parent");
    fork_at(11, 10, 2, "child");
    exits(10); /* its child still needs it */
    for (int i = 0; tracker_count(t).bytes < BOUND - 2048; i++) {
        fork_at(100 + i, 1, 10 + i, "alive");
        assert_int_equal(tracker_count(t).evicted, 0);
    }
    fork_at(50, 1, 5000, "dead");
    exits(50);
    assert_int_not_equal(tracker_find(t, 50, 5000), 0);

    int i = 0; /* first who is only remembered, then who is held */
    while (tracker_find(t, 50, 5000))
        fork_at(10000 + i++, 1, 6000, "more");
    assert_named(tracker_parent(t, tracker_alive(t, 11)), "parent");
    assert_int_equal(tracker_count(t).evicted, 1);
    while (tracker_parent(t, tracker_alive(t, 11)))
        fork_at(10000 + i++, 1, 6000, "more");
    assert_int_equal(tracker_count(t).evicted, 2);
    assert_named(tracker_alive(t, 11), "child");
    assert_true(tracker_count(t).bytes <= BOUND);
}

static void who_finds_no_room_is_refused_and_counted(void **state)
{
    char longer[3000];
    (void)state;

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    begin_anew(16 * 1024);
    int i = 0;
    while (!tracker_count(t).refused)
        fork_at(100 + i++, 1, 100, "x");
    uint64_t alive = tracker_count(t).alive;
    assert_int_equal(alive, (uint64_t)i - 1);
    assert_int_equal(tracker_alive(t, 100 + i - 1), 0);
    for (int pid = 100; pid < 100 + i - 1; pid++)
        assert_named(tracker_alive(t, pid), "x");

    changed(EVENT_EXEC, 100, "y", longer); /* it lives on as what it was */
    assert_int_equal(tracker_count(t).refused, 2);
    assert_named(tracker_alive(t, 100), "x");
    exits(101);
    exits(102); /* the dead make room */
    for (int pid = 103; pid < 115; pid++)
        exits(pid);
    changed(EVENT_EXEC, 100, "y", longer);
    assert_named(tracker_alive(t, 100), "y");
    assert_true(tracker_count(t).bytes <= 16 * 1024);
}

static void a_state_too_large_for_any_node_is_refused(void **state)
{
    static char big[EVENT_TEXT_MAX];
    (void)state;

    memset(big, 'x', sizeof big);
    start_event(EVENT_EXEC, 10);
    event_set_text(&box, F_EXE, big, 60000, WHY_PROC);
    box.ev.cell[F_COMM] = box.ev.cell[F_CWD] = box.ev.cell[F_CGROUP] = box.ev.cell[F_EXE];
    box.ev.why[F_COMM] = box.ev.why[F_CWD] = box.ev.why[F_CGROUP] = WHY_PROC;
    assert_true(event_valid(&box, sizeof box)); /* one text, told four times: 240 kB of state */
    tracker_apply(t, &box.ev);
    assert_int_equal(tracker_alive(t, 10), 0);
    assert_int_equal(tracker_count(t).refused, 1);

    start_event(EVENT_EXEC, 10);
    event_set_text(&box, F_EXE, big, EVENT_TEXT_MAX, WHY_PROC);
    event_set_text(&box, F_ARGS, big, 60000, WHY_PROC);
    tracker_apply(t, &box.ev);
    size_t len;
    assert_non_null(tracker_text(t, tracker_alive(t, 10), F_EXE, &len));
    assert_int_equal(len, EVENT_TEXT_MAX);
}

/* --- against an obvious model ------------------------------------------------------------- */

/* Images are never changed nor forgotten; a process is the index of its present one. */
enum { PIDS = 40, IMAGES = 4096, UNKNOWN = -1 };

struct image {
    int pid, ppid, start, parent;
    int64_t forked_at;
    char comm[16];
};

static struct image images[IMAGES];
static int images_len, now_alive[PIDS];

static uint32_t dice_state;

static uint32_t dice(uint32_t sides)
{
    dice_state = dice_state * 1664525 + 1013904223;
    return (dice_state >> 10) % sides;
}

static int model_parent(int image)
{
    struct image *i = &images[image];
    int above = i->ppid < PIDS ? now_alive[i->ppid] : UNKNOWN;
    if (i->parent == UNKNOWN && !i->forked_at && above != UNKNOWN && images[above].pid != i->pid &&
        images[above].start <= i->start + 1)
        i->parent = above;
    return i->parent;
}

static void model_compare(void)
{
    int alive = 0;
    for (int pid = 1; pid < PIDS; pid++) {
        int image = now_alive[pid];
        tracker_ref ref = tracker_alive(t, pid);
        assert_int_equal(ref != 0, image != UNKNOWN);
        alive += ref != 0;
        for (int level = 0; image != UNKNOWN && level < 30; level++) {
            assert_int_equal(tracker_int(t, ref, F_PID, -1), images[image].pid);
            assert_named(ref, images[image].comm);
            assert_int_equal(tracker_forked_at(t, ref), images[image].forked_at);
            image = model_parent(image);
            ref = tracker_parent(t, ref);
            assert_int_equal(ref != 0, image != UNKNOWN);
        }
    }
    assert_int_equal(tracker_count(t).alive, alive);
}

static void model_image(int pid, int ppid, int start, int64_t forked_at, int parent,
                        const char *comm)
{
    struct image *i = &images[images_len];
    *i = (struct image){ .pid = pid, .ppid = ppid, .start = start, .parent = parent,
                         .forked_at = forked_at };
    snprintf(i->comm, sizeof i->comm, "%s", comm);
    now_alive[pid] = images_len++;
}

static void step(int number)
{
    int pid = 1 + (int)dice(PIDS - 1), ppid = 1 + (int)dice(PIDS - 1), start = 10 + number * 5;
    int image = now_alive[pid];
    char comm[16], exe[300];
    snprintf(comm, sizeof comm, "c%d", number);
    snprintf(exe, sizeof exe, "%0*d", 1 + (int)dice(290), 0);

    switch (dice(6)) {
    case 0:
    case 1:
        fork_at(pid, ppid, start, comm);
        model_image(pid, ppid, start, start * NS_PER_TICK,
                    pid == ppid ? UNKNOWN : now_alive[ppid], comm);
        break;
    case 2:
        if (image == UNKNOWN)
            break;
        exits(pid);
        now_alive[pid] = UNKNOWN;
        break;
    case 3:
    case 4:
        if (image == UNKNOWN)
            break;
        changed(EVENT_EXEC, pid, comm, exe);
        model_image(pid, images[image].ppid, images[image].start, images[image].forked_at,
                    images[image].parent, comm);
        break;
    case 5:
        if (image != UNKNOWN && dice(2)) { /* the same process, seen once more */
            found(pid, ppid, images[image].start + (int)dice(3) - 1, comm);
            model_image(pid, ppid, (int)tracker_int(t, tracker_alive(t, pid), F_STARTTIME, 0),
                        images[image].forked_at, images[image].parent, comm);
        } else {
            found(pid, ppid, start, comm);
            model_image(pid, ppid, start, 0, UNKNOWN, comm);
        }
        break;
    }
}

static void any_history_gives_what_an_obvious_table_gives(void **state)
{
    enum { SEEDS = 60, STEPS = 900 }; /* fewer dead than are remembered */
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        begin_anew(PLENTY);
        dice_state = seed;
        images_len = 0;
        for (int pid = 0; pid < PIDS; pid++)
            now_alive[pid] = UNKNOWN;
        for (int number = 0; number < STEPS; number++) {
            step(number);
            if (number % 16 == 0)
                model_compare();
        }
        model_compare();
        assert_int_equal(tracker_count(t).evicted, 0);
    }
}

/* With too little room there is less, but what there is is right, and the bound is never passed. */
static void in_any_history_the_bound_holds(void **state)
{
    enum { SEEDS = 30, STEPS = 4000, BOUND = 12 * 1024 };
    uint64_t evicted = 0, refused = 0;
    (void)state;

    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        begin_anew(BOUND);
        dice_state = seed;
        images_len = 0;
        for (int pid = 0; pid < PIDS; pid++)
            now_alive[pid] = UNKNOWN;
        for (int number = 0; number < STEPS; number++) {
            step(number);
            struct tracker_counters c = tracker_count(t);
            assert_true(c.bytes <= BOUND);
            assert_true(c.alive <= c.nodes);
            for (int pid = 1; pid < PIDS; pid++) {
                int image = now_alive[pid];
                tracker_ref ref = tracker_alive(t, pid);
                if (image == UNKNOWN) {
                    assert_int_equal(ref, 0);
                    continue;
                }
                if (!ref) { /* refused */
                    now_alive[pid] = UNKNOWN;
                    continue;
                }
                assert_int_equal(tracker_int(t, ref, F_PID, -1), pid);
                for (int level = 0; ref && level < 5; level++)
                    ref = tracker_parent(t, ref);
            }
            if (images_len > IMAGES - 8)
                break;
        }
        evicted += tracker_count(t).evicted;
        refused += tracker_count(t).refused;
    }
    print_message("  %llu evicted, %llu refused\n", (unsigned long long)evicted,
                  (unsigned long long)refused);
    assert_true(evicted > 1000 && refused > 100);
}

/* --- a hundred thousand ------------------------------------------------------------------- */

/* The best of several rounds of lookups among `asked` processes, each `apart` from the one before. */
static double ns_a_lookup(uint32_t asked, uint32_t apart)
{
    enum { LOOKUPS = 200000, ROUNDS = 7 };
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t sum = 0;
        dice_state = 1;
        int64_t from = clock_cpu_ns();
        for (int i = 0; i < LOOKUPS; i++)
            sum += tracker_alive(t, 2 + dice(asked) * apart);
        double ns = (double)(clock_cpu_ns() - from) / LOOKUPS;
        assert_int_not_equal(sum, 0);
        best = ns < best ? ns : best;
    }
    return best;
}

static void fill_up_to(int processes)
{
    static const char exe[] = "/usr/lib/x86_64-linux-gnu/some-program/bin/some-program";
    static const char args[] = "some-program\0--config\0/etc/some-program/config.yaml\0--verbose\0";
    for (int i = (int)tracker_count(t).alive; i < processes; i++) {
        start_event(EVENT_FORK, 2 + i);
        event_set(&box, F_PPID, 1 + i / 2, WHY_KERNEL);
        event_set(&box, F_STARTTIME, i, WHY_COMPUTED);
        set_text(F_COMM, "some-program");
        set_text(F_EXE, exe);
        set_text(F_CWD, "/var/lib/some-program");
        set_text(F_CGROUP, "/system.slice/some-program.service");
        event_set_text(&box, F_ARGS, args, sizeof args - 1, WHY_PROC);
        tracker_apply(t, &box.ev);
    }
}

static void a_hundred_thousand_processes_are_found_as_quickly_as_a_thousand(void **state)
{
    (void)state;
    fill_up_to(1000);
    double few = ns_a_lookup(1000, 1);
    fill_up_to(100000);
    double many = ns_a_lookup(1000, 100), cold = ns_a_lookup(100000, 1);
    struct tracker_counters c = tracker_count(t);
    print_message("  a lookup takes %.0f ns among 1,000 and %.0f ns among 100,000 processes, %.0f ns "
                  "when all of these are asked for in turn; %.0f bytes a process\n",
                  few, many, cold, (double)c.bytes / (double)c.alive);
    assert_int_equal(c.alive, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(tracker_int(t, tracker_alive(t, 2 + i), F_PID, -1), 2 + i);
    assert_true(many < 4 * few + 20); /* the cold ones measure the memory, not the table */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fork_lives_until_its_exit),
        TEST(a_change_changes_what_is_alive),
        TEST(a_change_of_an_unknown_process_makes_it_known),
        TEST(what_is_not_about_a_life_changes_nothing),
        TEST(threads_change_nothing),
        TEST(who_is_held_outlives_the_remembered),
        TEST(an_exit_of_another_start_is_not_its_own),
        TEST(a_child_has_the_parent_that_forked_it),
        TEST(a_child_that_execs_keeps_its_parent),
        TEST(ancestors_stay_while_a_descendant_lives),
        TEST(a_long_dead_family_is_forgotten),
        TEST(the_last_dead_are_remembered),
        TEST(past_images_are_forgotten_with_the_last_child),
        TEST(a_fork_ends_the_owner_of_the_pid_before_it),
        TEST(a_start_is_found_give_or_take_one_tick),
        TEST(the_newest_dead_is_found_also_after_the_table_grew),
        TEST(a_snapshot_of_the_same_process_merges),
        TEST(a_snapshot_of_another_process_takes_the_pid),
        TEST(a_parent_that_is_found_later_is_adopted),
        TEST(nobody_adopts_who_is_younger),
        TEST(a_circle_of_parents_ends_somewhere),
        TEST(a_reference_outlives_what_it_named),
        TEST(made_up_references_name_nothing),
        TEST(state_is_copied_with_its_reasons),
        TEST(who_is_not_marked_in_a_round_is_visited),
        TEST(a_visitor_may_end_what_it_visits),
        TEST(at_the_bound_the_dead_go_and_are_counted),
        TEST(who_finds_no_room_is_refused_and_counted),
        TEST(a_state_too_large_for_any_node_is_refused),
        TEST(any_history_gives_what_an_obvious_table_gives),
        TEST(in_any_history_the_bound_holds),
        TEST(a_hundred_thousand_processes_are_found_as_quickly_as_a_thousand),
    };
    return cmocka_run_group_tests_name("tracker", tests, NULL, NULL);
}
