/* test_ahead.c - what was read of an exec ahead is told to its message and no other, and what may be of
 * the next image is not told. /proc is a made-up tree; the readings come about as if the socket had
 * told of the execs. */
#include "collect/ahead.c"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define EXEC_FIELDS (FIELD(ARGS) | FIELD(EXE) | FIELD(CWD) | FIELD(COMM) | FIELD(DELETED))

static char root[64];
static struct procfs fs;
static struct notes *notes;
static struct ahead ahead;
static struct event_box box;

static void put(const char *name, const char *bytes, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/7/%s", root, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void put_link(const char *name, const char *target)
{
    char path[128];
    snprintf(path, sizeof path, "%s/7/%s", root, name);
    unlink(path);
    assert_int_equal(symlink(target, path), 0);
}

/* Process 7 runs this program, whose only argument is its name. */
static void shows(const char *name)
{
    char text[512];
    int len = snprintf(text, sizeof text,
                       "7 (%s) S 3 7 5 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 5000 1000 10 1 1 0 0 0 0 0 0 "
                       "0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                       name);
    put("stat", text, (size_t)len);
    put("cmdline", name, strlen(name) + 1);
    snprintf(text, sizeof text, "/bin/%s", name);
    put_link("exe", text);
    put_link("cwd", "/srv");
}

static int begin(void **state)
{
    char path[128];
    (void)state;
    strcpy(root, "/tmp/test_ahead.XXXXXX");
    notes = notes_new(1 << 20);
    if (!notes || !mkdtemp(root) || procfs_open(&fs, root))
        return 1;
    snprintf(path, sizeof path, "%s/7", root);
    mkdir(path, 0755);
    ahead = (struct ahead){ .fs = &fs, .notes = notes, .needs = EXEC_FIELDS };
    ahead.netlink.fd = -1; /* nothing is queued there */
    event_begin(&box, EVENT_EXEC);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    notes_free(notes);
    procfs_close(&fs);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void say_exec(int64_t mono_ns)
{
    on_exec(&ahead, &(struct kernel_event){ .kind = EVENT_EXEC, .pid = 7, .mono_ns = mono_ns });
}

static void assert_args(const char *want)
{
    size_t len;
    const char *text = event_text(&box.ev, F_ARGS, &len);
    assert_int_equal(box.ev.why[F_ARGS], WHY_PROC);
    assert_int_equal(len, strlen(want) + 1);
    assert_memory_equal(text, want, len);
}

static void what_was_read_is_told_to_its_message(void **state)
{
    (void)state;
    shows("first");
    int64_t now = clock_mono_ns();
    say_exec(now);
    shows("later"); /* nobody reads it again */
    assert_int_equal(ahead_fill(&ahead, 7, now, EXEC_FIELDS | FIELD(UID), &box), FIELD(UID));
    assert_args("first");
    assert_int_equal(box.ev.why[F_EXE], WHY_PROC);
    assert_int_equal(box.ev.why[F_TRUNCATED], WHY_ABSENT);
    assert_int_equal(ahead.doubtful, 0);
    assert_int_equal(ahead_fill(&ahead, 7, now, EXEC_FIELDS, &box), EXEC_FIELDS); /* told once */
}

static void only_what_is_wanted_and_was_read_is_told(void **state)
{
    (void)state;
    shows("first");
    int64_t now = clock_mono_ns();
    ahead.needs = FIELD(ARGS);
    say_exec(now);
    assert_int_equal(ahead_fill(&ahead, 7, now, FIELD(ARGS) | FIELD(EXE), &box), FIELD(EXE));
    assert_args("first");
    assert_int_equal(box.ev.why[F_EXE], WHY_ABSENT);
}

static void nothing_read_means_that_all_is_left(void **state)
{
    (void)state;
    assert_int_equal(ahead_fill(&ahead, 7, 100, EXEC_FIELDS, &box), EXEC_FIELDS);
    say_exec(100); /* gone before it was read: that is an answer */
    assert_int_equal(ahead_fill(&ahead, 7, 100, EXEC_FIELDS, &box), 0);
    assert_int_equal(box.ev.why[F_ARGS], WHY_GONE);
}

static void another_exec_is_not_taken_for_this_one(void **state)
{
    (void)state;
    shows("second");
    int64_t now = clock_mono_ns();
    say_exec(now);
    assert_int_equal(ahead_fill(&ahead, 7, now - 1, EXEC_FIELDS, &box), EXEC_FIELDS);
    assert_int_equal(ahead_fill(&ahead, 8, now, EXEC_FIELDS, &box), EXEC_FIELDS);
    on_exec(&ahead, &(struct kernel_event){ .kind = EVENT_FORK, .pid = 7, .mono_ns = now + 1 });
    assert_int_equal(ahead_fill(&ahead, 7, now + 2, EXEC_FIELDS, &box), 0);
    assert_args("second");
}

/* Two execs in one turn: when the first was read, /proc may have shown the second. */
static void a_reading_that_came_too_late_is_doubted(void **state)
{
    (void)state;
    shows("second");
    int64_t now = clock_mono_ns();
    say_exec(now - 1000);
    say_exec(now);
    assert_int_equal(ahead.doubtful, 1);
    assert_int_equal(ahead_fill(&ahead, 7, now - 1000, EXEC_FIELDS, &box), 0);
    assert_int_equal(box.ev.why[F_ARGS], WHY_GONE);
    assert_int_equal(box.ev.why[F_EXE], WHY_GONE);
    assert_int_equal(box.ev.why[F_COMM], WHY_GONE);
    assert_int_equal(box.ev.why[F_CWD], WHY_PROC); /* does not belong to one image */
    assert_int_equal(box.ev.why[F_DELETED], WHY_ABSENT);
    event_begin(&box, EVENT_EXEC);
    assert_int_equal(ahead_fill(&ahead, 7, now, EXEC_FIELDS, &box), 0);
    assert_args("second");
}

static void a_reading_in_good_time_is_not_doubted(void **state)
{
    (void)state;
    shows("first");
    int64_t now = clock_mono_ns();
    say_exec(now);
    shows("second");
    int64_t next = clock_mono_ns() + SHOWN_EARLY_NS + 1;
    say_exec(next);
    assert_int_equal(ahead.doubtful, 0);
    assert_int_equal(ahead_fill(&ahead, 7, now, EXEC_FIELDS, &box), 0);
    assert_args("first");
    event_begin(&box, EVENT_EXEC);
    assert_int_equal(ahead_fill(&ahead, 7, next, EXEC_FIELDS, &box), 0);
    assert_args("second");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_read_is_told_to_its_message),
        TEST(only_what_is_wanted_and_was_read_is_told),
        TEST(nothing_read_means_that_all_is_left),
        TEST(another_exec_is_not_taken_for_this_one),
        TEST(a_reading_that_came_too_late_is_doubted),
        TEST(a_reading_in_good_time_is_not_doubted),
    };
    return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
