/* test_groups.c - a key stands for the control group that was read for it, until it is forgotten. */
#include "collect/groups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct groups groups;
static struct event_box box;

static int begin(void **state)
{
    (void)state;
    memset(&groups, 0, sizeof groups);
    event_begin(&box, EVENT_EXEC);
    return 0;
}

static int end(void **state)
{
    (void)state;
    groups_free(&groups);
    return 0;
}

static void learn_once(uint64_t key, const char *cgroup, const char *container)
{
    static struct event_box read;
    event_begin(&read, EVENT_EXEC);
    if (cgroup)
        event_set_text(&read, F_CGROUP, cgroup, strlen(cgroup), WHY_PROC);
    if (container)
        event_set_text(&read, F_CONTAINER, container, strlen(container), WHY_PROC);
    groups_learn(&groups, key, &read.ev);
}

static void learn(uint64_t key, const char *cgroup, const char *container)
{
    learn_once(key, cgroup, container);
    learn_once(key, cgroup, container);
}

static void assert_field(enum event_field field, const char *want)
{
    size_t len;
    const char *text = event_text(&box.ev, field, &len);
    assert_int_equal(box.ev.why[field], want ? WHY_TAP : WHY_ABSENT);
    assert_int_equal(len, want ? strlen(want) : 0);
    if (want)
        assert_memory_equal(text, want, len);
}

static void assert_known(uint64_t key, const char *cgroup, const char *container)
{
    event_begin(&box, EVENT_EXEC);
    assert_true(groups_fill(&groups, key, &box));
    assert_field(F_CGROUP, cgroup);
    assert_field(F_CONTAINER, container);
}

static void what_was_learnt_is_told(void **state)
{
    (void)state;
    assert_false(groups_fill(&groups, 5, &box));
    learn(5, "/docker/0123456789ab", "0123456789ab");
    learn(6, "/user.slice", NULL);
    assert_known(5, "/docker/0123456789ab", "0123456789ab");
    assert_known(6, "/user.slice", NULL);
    assert_false(groups_fill(&groups, 7, &box));
}

/* One of them was moved between its exec and the reading. */
static void two_must_agree(void **state)
{
    (void)state;
    learn_once(5, "/moved/to", NULL);
    assert_false(groups_fill(&groups, 5, &box));
    learn_once(5, "/docker/0123456789ab", "0123456789ab");
    assert_false(groups_fill(&groups, 5, &box));
    learn_once(5, "/docker/0123456789ab", NULL);
    assert_false(groups_fill(&groups, 5, &box));
    learn_once(5, "/docker/0123456789ab", NULL);
    assert_known(5, "/docker/0123456789ab", NULL);
    assert_int_equal(groups.used, 1);
}

static void no_control_group_is_an_answer_too(void **state)
{
    (void)state;
    learn(5, NULL, NULL); /* WHY_ABSENT: a kernel without them */
    assert_known(5, NULL, NULL);
}

static void what_could_not_be_read_is_not_learnt(void **state)
{
    (void)state;
    static const enum event_why whys[] = { WHY_GONE, WHY_ZOMBIE, WHY_DENIED };
    for (size_t i = 0; i < 3; i++) {
        event_set_missing(&box, F_CGROUP, whys[i]);
        event_set_missing(&box, F_CONTAINER, whys[i]);
        groups_learn(&groups, 5, &box.ev);
        assert_false(groups_fill(&groups, 5, &box));
    }
    assert_int_equal(groups.used, 0);
}

static void key_zero_is_nobodys(void **state)
{
    (void)state;
    learn(0, "/everybody", NULL);
    assert_int_equal(groups.used, 0);
    assert_false(groups_fill(&groups, 0, &box));
}

static void what_two_agreed_on_stays(void **state)
{
    (void)state;
    learn(5, "/first", NULL);
    learn(5, "/second", NULL);
    assert_known(5, "/first", NULL);
    assert_int_equal(groups.used, 1);
}

/* Keys that fall into one place, those that wrap around the table's end among them. */
static void keys_that_collide_are_apart(void **state)
{
    char name[32];
    (void)state;
    int count = 0;
    uint64_t keys[8];
    for (uint64_t key = 1; count < 8; key++)
        if ((key * 0x9e3779b97f4a7c15u >> 32) % GROUPS == GROUPS - 2)
            keys[count++] = key;
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "/group/%d", i);
        learn(keys[i], name, NULL);
    }
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "/group/%d", i);
        assert_known(keys[i], name, NULL);
    }
}

static void a_full_table_forgets_and_goes_on(void **state)
{
    char name[32];
    (void)state;
    int forgotten = 0;
    for (uint64_t key = 1; key <= 5000; key++) {
        int before = groups.used;
        snprintf(name, sizeof name, "/group/%llu", (unsigned long long)key);
        learn(key, name, key % 3 ? NULL : "0123456789ab");
        forgotten += groups.used < before;
        assert_known(key, name, key % 3 ? NULL : "0123456789ab");
        assert_true(groups.used < GROUPS); /* a free place ends every search */
        assert_false(groups_fill(&groups, key + 1, &box));
    }
    assert_true(forgotten >= 5 && forgotten <= 8);
    assert_false(groups_fill(&groups, 1, &box));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_learnt_is_told),
        TEST(two_must_agree),
        TEST(no_control_group_is_an_answer_too),
        TEST(what_could_not_be_read_is_not_learnt),
        TEST(key_zero_is_nobodys),
        TEST(what_two_agreed_on_stays),
        TEST(keys_that_collide_are_apart),
        TEST(a_full_table_forgets_and_goes_on),
    };
    return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
