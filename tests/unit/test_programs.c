/* A program's file is named by the path that it had last. */
#include "collect/programs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct programs programs;

static void learn(uint64_t dev, uint64_t inode, const char *path)
{
    programs_learn(&programs, dev, inode, path, strlen(path));
}

static void assert_path(uint64_t dev, uint64_t inode, const char *want)
{
    size_t len = 0;
    const char *path = programs_find(&programs, dev, inode, &len);
    if (!want) {
        assert_null(path);
        return;
    }
    assert_non_null(path);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(path, want, len);
}

static void what_was_learnt_is_found_by_both_numbers(void **state)
{
    (void)state;
    assert_path(8, 15, NULL);
    learn(8, 15, "/usr/bin/env");
    assert_path(8, 15, "/usr/bin/env");
    assert_path(9, 15, NULL);
    assert_path(8, 16, NULL);
}

static void the_last_path_counts(void **state)
{
    (void)state;
    learn(8, 15, "/usr/bin/env");
    learn(8, 15, "/tmp/env");
    assert_path(8, 15, "/tmp/env");
}

static void no_inode_is_no_file(void **state)
{
    (void)state;
    learn(0, 0, "/usr/bin/env");
    assert_path(0, 0, NULL);
}

static void a_long_path_is_not_cut_but_left_out(void **state)
{
    (void)state;
    char path[PROGRAM_PATH_MAX + 2];
    memset(path, 'x', sizeof path);
    path[PROGRAM_PATH_MAX] = '\0';
    learn(8, 1, path);
    assert_path(8, 1, path);
    memset(path, 'y', PROGRAM_PATH_MAX + 1);
    path[PROGRAM_PATH_MAX + 1] = '\0';
    learn(8, 2, path);
    assert_path(8, 2, NULL);
}

/* Whatever collides, a path is never that of another file. */
static void no_file_gets_the_path_of_another(void **state)
{
    (void)state;
    char path[32];
    size_t len, known = 0;
    for (uint64_t i = 1; i <= 5000; i++) {
        snprintf(path, sizeof path, "/p/%d", (int)i);
        learn(i % 7, i, path);
    }
    for (uint64_t i = 1; i <= 5000; i++) {
        snprintf(path, sizeof path, "/p/%d", (int)i);
        const char *found = programs_find(&programs, i % 7, i, &len);
        known += found != NULL;
        if (found)
            assert_memory_equal(found, path, strlen(path));
    }
    assert_in_range(known, PROGRAMS / 2, PROGRAMS);
}

static int set_up(void **state)
{
    (void)state;
    memset(&programs, 0, sizeof programs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_learnt_is_found_by_both_numbers, set_up),
        cmocka_unit_test_setup(the_last_path_counts, set_up),
        cmocka_unit_test_setup(no_inode_is_no_file, set_up),
        cmocka_unit_test_setup(a_long_path_is_not_cut_but_left_out, set_up),
        cmocka_unit_test_setup(no_file_gets_the_path_of_another, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
