/* The heap of timers, against a list that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "host/timers.h"

#include <stdlib.h>

#define TIMERS 50

/* The first one due, of those that run; the one that was started first of two. */
static int first_of(const struct timers *t)
{
    int first = -1;
    for (int id = 0; id < t->len; id++) {
        const struct timer *one = &t->all[id], *best = first < 0 ? NULL : &t->all[first];
        if (one->at >= 0 && (!best || one->due_ns < best->due_ns ||
                             (one->due_ns == best->due_ns && one->order < best->order)))
            first = id;
    }
    return first;
}

static void the_first_is_always_the_first(void **state)
{
    struct timers t = { 0 };
    (void)state;
    srand(7);
    assert_int_equal(timers_place(&t), 0);
    for (int turn = 0; turn < 20000; turn++) {
        int id = rand() % t.len;
        if (rand() % 3)
            timers_start(&t, id, rand() % 40);
        else
            timers_stop(&t, id);
        assert_int_equal(timers_first(&t), first_of(&t));
        int first = timers_first(&t);
        assert_int_equal(timers_due(&t), first < 0 ? INT64_MAX : t.all[first].due_ns);
    }
    timers_fini(&t);
}

static void places_are_taken_again(void **state)
{
    struct timers t = { 0 };
    (void)state;
    for (int i = 0; i < TIMERS; i++) {
        int id = timers_place(&t);
        assert_int_equal(id, i);
        assert_null(timers_at(&t, id));
        t.all[id].function_ref = i;
        assert_ptr_equal(timers_at(&t, id), &t.all[id]);
        timers_start(&t, id, i);
    }
    timers_stop(&t, 7);
    t.all[7].function_ref = TIMER_FREE;
    assert_int_equal(timers_place(&t), 7);
    assert_null(timers_at(&t, -1));
    assert_null(timers_at(&t, INT64_MAX));
    timers_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_always_the_first),
        cmocka_unit_test(places_are_taken_again),
    };
    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
