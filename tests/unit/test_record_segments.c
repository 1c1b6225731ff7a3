/* test_record_segments.c - the files in a directory take no more room than they may, each can be
 * read alone, and nobody else's is touched. */
#include "record/segments.h"

#define STORY_CLOCK
#include "record_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TOTAL SEGMENTS_LEAST

static char directory[64];
static int dir = -1;
static struct segments *seg;
static struct story s;
static struct event_box box;
static const struct recording_head head = { .boot = 7, .host = "machine" };
static int known;

/* Two processes live at any time. */
static void tell_known(void *ctx, void (*sink)(void *to, const struct event *ev), void *to)
{
    struct story other = STORY;
    assert_ptr_equal(ctx, &known);
    for (int pid = 1; pid <= 2; pid++)
        sink(to, story_begin(&other, EVENT_SNAPSHOT, pid, 0));
    known++;
}

static int start(void)
{
    return segments_open(&seg, dir, TOTAL, &head, tell_known, &known);
}

static int begin(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/moonwatch-segments-XXXXXX");
    signal(SIGXFSZ, SIG_IGN);
    if (!mkdtemp(directory))
        return 1;
    dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s = STORY;
    known = 0;
    return start();
}

static void stop(void)
{
    if (seg)
        segments_close(seg);
    seg = NULL;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    stop();
    close(dir);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

/* Execs with arguments that no compression makes smaller: about `kib` KiB of them. */
static void record(int kib)
{
    static char args[1024];
    for (int i = 0; i < kib; i++) {
        for (size_t at = 0; at + 8 <= sizeof args; at += 8) {
            uint64_t random = story_random(&s);
            memcpy(args + at, &random, 8);
        }
        segments_event(seg, story_exec(&s, 100 + i % 9, 1, args, sizeof args));
    }
}

static uint64_t bytes_there(const char *pattern)
{
    char command[160], line[64] = "";
    snprintf(command, sizeof command, "cd %s && cat %s 2>/dev/null | wc -c", directory, pattern);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    pclose(f);
    return strtoull(line, NULL, 10);
}

static void put_file(const char *name, uint64_t bytes)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    close(fd);
}

static bool exists(const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Read one file whole; returns how many events it has besides the known ones. */
static int read_file(const char *path, uint64_t *first, uint64_t *last, uint64_t *gaps)
{
    struct recording *r;
    char why[256];
    uint64_t missing;
    int result, n = 0, old = 0;
    *first = *last = *gaps = 0;
    assert_int_equal(recording_open(&r, path, why, sizeof why), 0);
    assert_int_equal(recording_head(r)->boot, 7);
    assert_int_equal(recording_head(r)->real_ns, REAL_NS);
    while ((result = recording_next(r, &box, &missing)) != 0) {
        *gaps += missing;
        if (result == -EOVERFLOW)
            continue;
        assert_true(result > 0);
        assert_true(result == 1 || !n); /* known ones come first */
        old += result == 2;
        if (result == 2)
            continue;
        *last = (uint64_t)box.ev.cell[F_SEQ].num;
        if (!n++)
            *first = *last;
        assert_int_equal(*last, *first + (uint64_t)n - 1);
    }
    recording_close(r);
    assert_int_equal(old, 2);
    return n;
}

/* All files: each one goes on where the one before ended. Returns the number of the first event. */
static uint64_t read_all(size_t *files, uint64_t *last, uint64_t *gaps)
{
    struct segments_list list;
    uint64_t first = 0, from, until, missing;
    *last = *gaps = 0;
    assert_int_equal(segments_list(directory, &list), 0);
    *files = list.len;
    for (size_t i = 0; i < list.len; i++) {
        if (!read_file(list.path[i], &from, &until, &missing))
            continue;
        assert_true(!*last || from == *last + 1 + missing);
        first = first ? first : from;
        *last = until;
        *gaps += missing;
    }
    segments_list_free(&list);
    return first;
}

static void the_whole_never_takes_more_than_it_may(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        record(50);
        segments_flush(seg);
        assert_true(bytes_there("*") <= TOTAL);
        assert_int_equal(segments_count(seg).bytes, bytes_there("*"));
    }
    assert_int_equal(segments_count(seg).dropped, 0);
    assert_true(bytes_there("*") > TOTAL * 7 / 8);
    stop();
    assert_true(bytes_there("*") <= TOTAL);
    size_t files;
    uint64_t last, gaps, first = read_all(&files, &last, &gaps);
    assert_true(files >= 14 && files <= 18);
    assert_true(first > 5000);
    assert_int_equal(last, 10000);
    assert_int_equal(gaps, 0);
    assert_true(known > 30);
}

static void a_burst_between_flushes_keeps_to_it_too(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        record(3000);
        assert_true(bytes_there("*") <= TOTAL);
        segments_flush(seg);
        assert_true(bytes_there("*") <= TOTAL);
    }
    stop();
    size_t files;
    uint64_t last, gaps;
    read_all(&files, &last, &gaps);
    assert_int_equal(last, 15000);
}

static void what_earlier_watches_left_goes_first(void **state)
{
    (void)state;
    record(1500);
    segments_flush(seg);
    stop();
    uint64_t before = bytes_there("*");
    assert_int_equal(start(), 0);
    assert_true(segments_count(seg).bytes >= before);
    assert_true(exists("flight-00000001.mwr"));
    assert_true(exists("flight-00000002.mwr"));
    record(3300);
    segments_flush(seg);
    assert_true(bytes_there("*") <= TOTAL);
    assert_false(exists("flight-00000001.mwr"));
    assert_true(exists("flight-00000002.mwr"));
}

static void other_names_are_nobodys_business(void **state)
{
    (void)state;
    static const char *const names[] = { "flight-1.mwr",         "flight-00000000.mwr",
                                         "flight-000000001.mwr", "flight-00000001.mwr.bak",
                                         "flight--0000001.mwr",  "other.mwr" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put_file(names[i], TOTAL);
    assert_int_equal(symlinkat("other.mwr", dir, "flight-00000005.mwr"), 0);
    for (int i = 0; i < 100; i++) {
        record(100);
        segments_flush(seg);
    }
    assert_int_equal(segments_count(seg).dropped, 0);
    assert_true(segments_count(seg).bytes > TOTAL / 2);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_true(exists(names[i]));
    assert_true(exists("flight-00000005.mwr"));
}

static void what_others_remove_is_room_again(void **state)
{
    (void)state;
    record(3000);
    segments_flush(seg);
    assert_int_equal(unlinkat(dir, "flight-00000001.mwr", 0), 0);
    record(3000);
    segments_flush(seg);
    assert_int_equal(segments_count(seg).dropped, 0);
    assert_int_equal(segments_count(seg).bytes, bytes_there("*"));
}

static void many_short_watches_leave_no_more_than_so_many_files(void **state)
{
    (void)state;
    for (int i = 0; i < SEGMENTS_MOST + 20; i++) {
        stop();
        assert_int_equal(start(), 0);
    }
    struct segments_list list = { 0 };
    assert_int_equal(segments_list(directory, &list), 0);
    assert_int_equal(list.len, SEGMENTS_MOST);
    segments_list_free(&list);
}

static void two_watches_do_not_share_a_directory(void **state)
{
    (void)state;
    struct segments *other;
    int again = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(segments_open(&other, again, TOTAL, &head, tell_known, &known), -EBUSY);
    stop();
    assert_int_equal(segments_open(&other, again, TOTAL, &head, tell_known, &known), 0);
    assert_int_equal(segments_close(other), 0);
    assert_int_equal(segments_open(&other, again, TOTAL - 1, &head, tell_known, &known), -EINVAL);
    close(again);
}

static void limit(uint64_t most)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ most, RLIM_INFINITY }), 0);
}

static void a_full_disk_costs_what_came_meanwhile(void **state)
{
    (void)state;
    record(300);
    limit(0);
    segments_flush(seg); /* of these nothing is written */
    assert_int_equal(segments_count(seg).error, EFBIG);
    limit(RLIM_INFINITY);
    later_ns += INT64_C(1000000001);
    record(10);
    segments_flush(seg);
    assert_int_equal(segments_count(seg).error, 0);
    assert_int_equal(segments_count(seg).dropped, 300);
    stop();
    size_t files;
    uint64_t last, gaps;
    read_all(&files, &last, &gaps);
    assert_int_equal(last, 310);
    assert_int_equal(gaps, 300);
}

static void a_file_that_cannot_be_begun_is_tried_again(void **state)
{
    (void)state;
    record(1500); /* a frame is full, and with it the file */
    limit(0);
    segments_flush(seg);
    assert_false(exists("flight-00000002.mwr"));
    assert_int_equal(segments_count(seg).error, EFBIG);
    record(10);
    limit(RLIM_INFINITY);
    segments_flush(seg); /* within the second */
    assert_false(exists("flight-00000002.mwr"));
    later_ns += INT64_C(1000000001);
    segments_flush(seg);
    record(5);
    uint64_t dropped = segments_count(seg).dropped;
    assert_int_equal(segments_count(seg).error, 0);
    stop();
    size_t files;
    uint64_t last, gaps;
    assert_int_equal(read_all(&files, &last, &gaps), 1);
    assert_int_equal(files, 2);
    assert_int_equal(last, 1515);
    assert_int_equal(gaps, dropped);
    assert_true(gaps > 10 && gaps < 1000);
}

static void a_list_of_no_directory_is_an_error(void **state)
{
    (void)state;
    struct segments_list list;
    assert_int_equal(segments_list("/nonexistent", &list), -ENOENT);
    stop();
    assert_int_equal(unlinkat(dir, "flight-00000001.mwr", 0), 0);
    assert_int_equal(segments_list(directory, &list), 0);
    assert_int_equal(list.len, 0);
    segments_list_free(&list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_whole_never_takes_more_than_it_may),
        TEST(a_burst_between_flushes_keeps_to_it_too),
        TEST(what_earlier_watches_left_goes_first),
        TEST(other_names_are_nobodys_business),
        TEST(what_others_remove_is_room_again),
        TEST(many_short_watches_leave_no_more_than_so_many_files),
        TEST(two_watches_do_not_share_a_directory),
        TEST(a_full_disk_costs_what_came_meanwhile),
        TEST(a_file_that_cannot_be_begun_is_tried_again),
        TEST(a_list_of_no_directory_is_an_error),
    };
    return cmocka_run_group_tests_name("record_segments", tests, NULL, NULL);
}
