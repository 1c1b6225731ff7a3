/* test_notes.c - what was learnt is claimed by process and stamp, and nothing is lost in silence. */
#include "collect/notes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY  24 /* what an entry takes besides its bytes, and the unit of its size */
#define MS     INT64_C(1000000)
#define WINDOW (5 * MS) /* of disorder */

enum { KIND = 1, OTHER_KIND };

static struct notes *f;

static int begin(void **state)
{
    (void)state;
    f = notes_new(4096);
    return f == NULL;
}

static int end(void **state)
{
    (void)state;
    notes_free(f);
    return 0;
}

static void put(int pid, int64_t mono_ns, const char *text)
{
    assert_non_null(notes_put(f, KIND, pid, mono_ns, text, strlen(text) + 1));
}

static void assert_taken(int pid, int64_t mono_ns, const char *want)
{
    size_t len = 0;
    const char *got = notes_take(f, KIND, pid, mono_ns, &len);
    if (!want) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_int_equal(len, strlen(want) + 1);
    assert_string_equal(got, want);
}

/* --- claiming ------------------------------------------------------------------------------ */

static void what_was_put_is_taken_once(void **state)
{
    (void)state;
    assert_taken(7, 100, NULL);
    put(7, 10, "seven");
    put(8, 11, "eight");
    assert_taken(8, 100, "eight");
    assert_taken(8, 100, NULL);
    assert_taken(7, 10, "seven"); /* at the very moment */
    assert_taken(7, 100, NULL);
    assert_int_equal(notes_unclaimed(f), 0);
}

static void the_newest_before_the_stamp_wins_and_the_older_go(void **state)
{
    (void)state;
    put(7, 10, "first");
    put(8, 15, "another's");
    put(7, 20, "second");
    put(7, 30, "third");
    assert_taken(7, 9, NULL);
    assert_taken(7, 29, "second");
    assert_int_equal(notes_unclaimed(f), 1); /* the first: it is of no later message */
    assert_taken(7, 29, NULL);
    assert_taken(7, 30, "third");
    assert_taken(8, 30, "another's");
    assert_int_equal(notes_unclaimed(f), 1);
}

static void kinds_are_apart(void **state)
{
    size_t len;
    (void)state;
    put(7, 10, "exec");
    assert_null(notes_take(f, OTHER_KIND, 7, 100, &len));
    assert_non_null(notes_put(f, OTHER_KIND, 7, 11, "end", 4));
    assert_taken(7, 100, "exec");
    assert_string_equal(notes_take(f, OTHER_KIND, 7, 100, &len), "end");
}

static void finding_takes_nothing(void **state)
{
    size_t len;
    (void)state;
    put(7, 10, "first");
    put(7, 20, "second");
    for (int i = 0; i < 2; i++) {
        char *got = notes_find(f, KIND, 7, 100, &len);
        assert_string_equal(got, "second");
        assert_int_equal(len, 7);
    }
    assert_string_equal(notes_find(f, KIND, 7, 19, &len), "first");
    assert_null(notes_find(f, KIND, 8, 100, &len));
    assert_int_equal(notes_unclaimed(f), 0);

    strcpy(notes_find(f, KIND, 7, 100, &len), "doubt"); /* what is found may be changed */
    size_t taken;
    assert_string_equal(notes_take(f, KIND, 7, 100, &taken), "doubt");
}

/* Processors write nearly in the order of their stamps. What is further ahead ends the search. */
static void disorder_within_the_window_is_seen_through(void **state)
{
    (void)state;
    put(8, WINDOW + 1000, "ahead of its time");
    put(7, 1000, "late");
    assert_taken(7, 1000, "late");
    put(7, 999, "later still");
    assert_taken(7, 999, NULL); /* more than the window behind */
    assert_taken(7, 1000, "later still");
}

static void a_claimed_one_ends_no_search(void **state)
{
    (void)state;
    put(6, 1, "keeps the next from being given back");
    put(8, 90 * WINDOW, "far ahead");
    put(7, 1000, "late");
    assert_taken(8, 90 * WINDOW, "far ahead");
    assert_taken(7, 1000, "late");
}

/* --- room ---------------------------------------------------------------------------------- */

static void every_length_is_aligned_and_kept(void **state)
{
    char bytes[200];
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t got_len = 999;
        void *place = notes_put(f, KIND, 7, (int64_t)len, bytes, len);
        assert_non_null(place);
        assert_int_equal((uintptr_t)place % 8, 0);
        const char *got = notes_take(f, KIND, 7, (int64_t)len, &got_len);
        assert_int_equal(got_len, len);
        assert_memory_equal(got, bytes, len);
    }
}

static void a_place_is_filled_in_by_the_caller(void **state)
{
    (void)state;
    strcpy(notes_put(f, KIND, 7, 1, NULL, 8), "by hand");
    put(8, 2, "next");
    size_t len;
    assert_string_equal(notes_take(f, KIND, 7, 1, &len), "by hand");
    assert_int_equal(len, 8);
}

static void more_than_a_quarter_is_refused(void **state)
{
    static const char bytes[4096];
    size_t quarter = 4096 / ENTRY * ENTRY / 4, most = quarter / ENTRY * ENTRY - ENTRY;
    (void)state;
    put(7, 1, "stays");
    assert_null(notes_put(f, KIND, 8, 2, bytes, most + 1));
    assert_null(notes_put(f, KIND, 8, 2, bytes, sizeof bytes));
    assert_null(notes_put(f, KIND, 8, 2, bytes, SIZE_MAX / 2));
    assert_int_equal(notes_unclaimed(f), 0);
    assert_taken(7, 5, "stays");
    assert_non_null(notes_put(f, KIND, 8, 2, bytes, most));

    struct notes *tiny = notes_new(10);
    assert_non_null(tiny);
    assert_null(notes_put(tiny, KIND, 8, 2, bytes, 0));
    notes_free(tiny);
}

static void the_oldest_is_pushed_out_and_counted(void **state)
{
    char bytes[5 * ENTRY];
    int fit = 4096 / ENTRY / 6;
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < fit; i++)
        assert_non_null(notes_put(f, KIND, 100 + i, i, bytes, sizeof bytes));
    assert_int_equal(notes_unclaimed(f), 0);
    for (int i = fit; i < 3 * fit; i++) {
        size_t len;
        assert_non_null(notes_put(f, KIND, 100 + i, i, bytes, sizeof bytes));
        assert_in_range(notes_unclaimed(f), i - fit + 1, i - fit + 2);
        assert_non_null(notes_find(f, KIND, 100 + i, 999, &len));
        int gone = 100 + (int)notes_unclaimed(f) - 1;
        assert_null(notes_find(f, KIND, gone, 999, &len));
        assert_non_null(notes_find(f, KIND, gone + 1, 999, &len));
    }
}

static void an_emptied_queue_begins_anew(void **state)
{
    (void)state;
    void *first = notes_put(f, KIND, 7, 1, "a", 2);
    put(8, 2, "b");
    assert_taken(7, 10, "a");
    assert_taken(8, 10, "b");
    assert_ptr_equal(notes_put(f, KIND, 9, 3, "c", 2), first); /* the bytes in the cache */
    notes_expire(f, 100);
    assert_ptr_equal(notes_put(f, KIND, 9, 3, "d", 2), first);
    assert_int_equal(notes_unclaimed(f), 1);
}

/* --- time ---------------------------------------------------------------------------------- */

static void what_nobody_claims_expires_and_is_counted(void **state)
{
    (void)state;
    put(7, 10, "a");
    put(8, 20, "b");
    put(9, 30, "c");
    assert_taken(8, 20, "b");
    notes_expire(f, 10);
    assert_int_equal(notes_unclaimed(f), 0);
    notes_expire(f, 30);
    assert_int_equal(notes_unclaimed(f), 1); /* b was claimed */
    assert_taken(7, 99, NULL);
    assert_taken(9, 99, "c");
    notes_expire(f, INT64_MAX);
    assert_int_equal(notes_unclaimed(f), 1);
}

/* --- against a model ----------------------------------------------------------------------- */

/* The model never forgets by itself: what is not in the queue must have been pushed out, and
 * that is always the oldest. */
enum { STEPS = 40000, PIDS = 12, MODEL = STEPS };

struct known {
    int kind, pid;
    int64_t mono_ns;
    uint32_t seed;
    size_t len;
    bool here;
};

static struct known model[MODEL];
static int model_len, model_head;
static uint64_t model_claimed;

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)random_state * limit >> 32);
}

static void pattern(char *to, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 69069 + 1;
        to[i] = (char)(seed >> 24);
    }
}

static uint64_t model_here(void)
{
    uint64_t here = 0;
    for (int i = model_head; i < model_len; i++)
        here += model[i].here;
    return here;
}

/* Pushed out since the last look: the oldest that are here. */
static void follow_unclaimed(uint64_t *told)
{
    uint64_t more = notes_unclaimed(f) - *told;
    *told += more;
    for (; more; model_head++) {
        assert_true(model_head < model_len);
        more -= model[model_head].here;
        model[model_head].here = false;
    }
}

static struct known *model_newest(int kind, int pid, int64_t mono_ns)
{
    struct known *found = NULL;
    for (int i = model_head; i < model_len; i++)
        if (model[i].here && model[i].kind == kind && model[i].pid == pid &&
            model[i].mono_ns <= mono_ns)
            found = &model[i];
    return found;
}

static void step_put(int64_t now, uint64_t *told)
{
    static char bytes[2048];
    struct known *k = &model[model_len];
    *k = (struct known){ KIND + (int)random_below(2), 1 + (int)random_below(PIDS), now,
                         random_below(UINT32_MAX), random_below(8) ? random_below(80) : 0, true };
    if (!random_below(20))
        k->len = 80 + random_below(500);
    pattern(bytes, k->len, k->seed);
    bool fits = notes_put(f, k->kind, k->pid, now, bytes, k->len) != NULL;
    assert_int_equal(fits, (ENTRY + k->len + ENTRY - 1) / ENTRY * ENTRY <= 2016 / 4);
    follow_unclaimed(told);
    model_len += fits;
}

static void step_ask(int64_t now, uint64_t *told)
{
    static char want[2048];
    int kind = KIND + (int)random_below(2), pid = 1 + (int)random_below(PIDS);
    int64_t at = now - random_below(3000);
    bool claim = random_below(4);
    size_t len = 0;
    struct known *k = model_newest(kind, pid, at);
    const char *got = claim ? notes_take(f, kind, pid, at, &len) : notes_find(f, kind, pid, at, &len);
    assert_int_equal(got != NULL, k != NULL);
    if (!k)
        return;
    assert_int_equal(len, k->len);
    pattern(want, k->len, k->seed);
    assert_memory_equal(got, want, k->len);
    if (!claim)
        return;
    for (struct known *older = &model[model_head]; older < k; older++)
        if (older->here && older->kind == kind && older->pid == pid) {
            older->here = false;
            ++*told; /* it counts as pushed out */
        }
    k->here = false;
    model_claimed++;
    assert_int_equal(notes_unclaimed(f), *told);
}

static void any_run_is_as_a_simple_list(void **state)
{
    uint64_t told = 0;
    int64_t now = 0;
    (void)state;
    notes_free(f);
    f = notes_new(2030); /* 2016: wraps often */
    random_state = 4711;
    model_len = model_head = 0;
    model_claimed = 0;

    for (int i = 0; i < STEPS; i++) {
        uint32_t kind = random_below(100);
        now += random_below(200);
        if (kind < 50) {
            step_put(now, &told);
        } else if (kind < 99) {
            step_ask(now, &told);
        } else {
            notes_expire(f, now - 2500);
            follow_unclaimed(&told);
            for (int at = model_head; at < model_len; at++)
                assert_false(model[at].here && model[at].mono_ns < now - 2500);
        }
    }
    assert_int_equal(told + model_claimed + model_here(), model_len);
    assert_true(told > 1000 && model_claimed > 1000);
    notes_expire(f, INT64_MAX);
    assert_int_equal(notes_unclaimed(f) + model_claimed, model_len);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_put_is_taken_once),
        TEST(the_newest_before_the_stamp_wins_and_the_older_go),
        TEST(kinds_are_apart),
        TEST(finding_takes_nothing),
        TEST(disorder_within_the_window_is_seen_through),
        TEST(a_claimed_one_ends_no_search),
        TEST(every_length_is_aligned_and_kept),
        TEST(a_place_is_filled_in_by_the_caller),
        TEST(more_than_a_quarter_is_refused),
        TEST(the_oldest_is_pushed_out_and_counted),
        TEST(an_emptied_queue_begins_anew),
        TEST(what_nobody_claims_expires_and_is_counted),
        TEST(any_run_is_as_a_simple_list),
    };
    return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}
