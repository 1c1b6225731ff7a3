/* test_record_extract.c - of recordings come a span of time and the family of a process: all of it,
 * nothing twice, nothing else. */
#include "record/extract.h"

#include "record_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define S      INT64_C(1000000000)
#define NOWHEN .from_ns = 1, .until_ns = 0
#define MOST   64

static char directory[64];
static struct story s;
static struct recording_writer *w;
static int fd;
static struct recording *in[4];
static size_t in_len;
static struct extract_result result;
static struct event_box box;

/* What came out, as text: "known 10, fork 20, ...". */
static char told[1024];

static int begin(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/moonwatch-extract-XXXXXX");
    s = STORY;
    return !mkdtemp(directory);
}

static int end(void **state)
{
    char command[128];
    (void)state;
    while (in_len)
        recording_close(in[--in_len]);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void path_of(const char *name, char to[128])
{
    snprintf(to, 128, "%s/%s", directory, name);
}

static void begin_file(const char *name, uint64_t boot)
{
    char path[128];
    struct recording_head head = {
        .boot = boot, .real_ns = REAL_NS + s.ns, .mono_ns = MONO_NS + s.ns, .host = "machine"
    };
    path_of(name, path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(recording_begin(&w, fd, &head), 0);
}

static void end_file(void)
{
    assert_int_equal(recording_end(w), 0);
    close(fd);
}

static struct recording *open_file(const char *name)
{
    char path[128], why[256];
    struct recording *r = NULL;
    path_of(name, path);
    if (recording_open(&r, path, why, sizeof why))
        fail_msg("%s", why);
    return r;
}

/* A record at this second. */
static void happens(enum event_kind kind, int second, int pid, int ppid)
{
    s.ns = second * S;
    story_begin(&s, kind, pid, ppid);
    s.ns = second * S;
    event_set(&s.box, F_TIME, REAL_NS + s.ns, WHY_KERNEL);
    recording_event(w, &s.box.ev, false);
}

static void knows(int pid, int ppid)
{
    uint64_t seq = s.seq;
    story_begin(&s, EVENT_SNAPSHOT, pid, ppid);
    event_set_missing(&s.box, F_SEQ, WHY_ABSENT);
    recording_event(w, &s.box.ev, true);
    s.seq = seq;
}

static void asks(int second)
{
    struct recording_note note = { .kind = NOTE_ANSWER,
                                   .seq = s.seq,
                                   .real_ns = REAL_NS + second * S,
                                   .question = "q",
                                   .question_len = 1 };
    recording_note(w, &note);
}

static void ticks(int second)
{
    struct recording_note note = { .kind = NOTE_TICK,
                                   .seq = s.seq,
                                   .real_ns = REAL_NS + second * S };
    recording_note(w, &note);
}

/* init 1 has a shell 10; it has 20; that has 30 and 31; 30 has 40, and that 50. Others are 60
 * and 70. */
static void first_hour(void)
{
    begin_file("1.mwr", 1);
    knows(1, 0);
    knows(10, 1);
    happens(EVENT_FORK, 1, 20, 10);
    happens(EVENT_EXEC, 2, 20, 10);
    asks(2);
    happens(EVENT_FORK, 3, 60, 1);
    asks(3);
    happens(EVENT_FORK, 4, 30, 20);
    happens(EVENT_FORK, 5, 31, 20);
    happens(EVENT_EXEC, 6, 30, 20);
    asks(6);
    happens(EVENT_EXIT, 7, 31, 20);
    happens(EVENT_EXEC, 8, 10, 1);
}

static void second_hour(void)
{
    happens(EVENT_FORK, 11, 70, 1);
    happens(EVENT_FORK, 12, 40, 30);
    ticks(12);
    happens(EVENT_EXIT, 13, 60, 1);
    happens(EVENT_EXIT, 14, 20, 10);
    happens(EVENT_EXIT, 15, 30, 1);
    happens(EVENT_FORK, 16, 50, 40);
    happens(EVENT_EXIT, 17, 70, 1);
    happens(EVENT_EXIT, 18, 50, 40);
}

static void two_files(void)
{
    first_hour();
    end_file();
    begin_file("2.mwr", 1);
    for (int i = 0; i < 5; i++) {
        static const int living[][2] = { { 1, 0 }, { 10, 1 }, { 20, 10 }, { 60, 1 }, { 30, 20 } };
        knows(living[i][0], living[i][1]);
    }
    second_hour();
    end_file();
    in[in_len++] = open_file("1.mwr");
    in[in_len++] = open_file("2.mwr");
}

static void one_file(void)
{
    first_hour();
    second_hour();
    end_file();
    in[in_len++] = open_file("1.mwr");
}

static int extract_to(const char *name, struct extract_what what)
{
    char path[128];
    path_of(name, path);
    int out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int error = extract(in, in_len, &what, out, &result);
    close(out);
    return error;
}

static struct extract_process process(int pid)
{
    return (struct extract_process){ pid, 8123456 + pid };
}

static void tell(const char *kind, int64_t number)
{
    size_t len = strlen(told);
    snprintf(told + len, sizeof told - len, "%s%s %lld", len ? ", " : "", kind, (long long)number);
}

static void read_out(const char *name)
{
    struct recording *r = open_file(name);
    uint64_t missing, events = 0, known = 0;
    int64_t last = 0;
    int got;
    told[0] = '\0';
    while ((got = recording_next(r, &box, &missing)) != 0) {
        if (got == -EOVERFLOW) {
            tell("gap", (int64_t)missing);
            continue;
        }
        assert_true(got > 0);
        tell(got == 2 ? "known" : event_kind_name(event_kind(&box.ev)), box.ev.cell[F_PID].num);
        assert_true(got == 2 || event_int(&box.ev, F_SEQ, 0) > last);
        last = event_int(&box.ev, F_SEQ, last);
        known += got == 2;
        events += got == 1;
    }
    assert_int_equal(events, result.events);
    assert_int_equal(known, result.known);
    assert_int_equal(recording_about(r)->notes, result.notes);
    assert_int_equal(recording_about(r)->gaps, result.gaps);
    recording_close(r);
}

static void expect(struct extract_what what, const char *want)
{
    assert_int_equal(extract_to("out.mwr", what), 0);
    read_out("out.mwr");
    assert_string_equal(told, want);
}

/* The same of one file and of two. */
static void expect_both(struct extract_what what, const char *want)
{
    one_file();
    expect(what, want);
    recording_close(in[--in_len]);
    char path[128];
    path_of("1.mwr", path);
    unlink(path);
    s = STORY;
    two_files();
    expect(what, want);
}

static void a_span_begins_with_those_who_lived(void **state)
{
    (void)state;
    expect_both((struct extract_what){ .from_ns = REAL_NS + 13 * S, .until_ns = REAL_NS + 16 * S },
                "known 1, known 10, known 20, known 60, known 30, known 70, known 40, "
                "exit 60, exit 20, exit 30, fork 50");
    assert_int_equal(result.notes, 1); /* the tick at the record before it */
}

static void who_is_known_is_as_it_was_then(void **state)
{
    (void)state;
    one_file();
    struct extract_what what = { .from_ns = REAL_NS + 7 * S, .until_ns = REAL_NS + 20 * S };
    assert_int_equal(extract_to("out.mwr", what), 0);
    struct recording *r = open_file("out.mwr");
    uint64_t missing;
    int found = 0;
    assert_int_equal(recording_head(r)->real_ns, REAL_NS + 7 * S);
    assert_int_equal(recording_head(r)->boot, 1);
    while (recording_next(r, &box, &missing) == 2) {
        found += box.ev.cell[F_PID].num == 30;
        assert_int_equal(event_kind(&box.ev), EVENT_SNAPSHOT);
        assert_int_equal(box.ev.cell[F_TIME].num, REAL_NS + 7 * S);
    }
    assert_int_equal(found, 1);
    recording_close(r);
}

static void a_process_comes_with_its_ancestors_and_descendants(void **state)
{
    (void)state;
    expect_both((struct extract_what){ NOWHEN, .process = process(30) },
                "known 1, known 10, fork 20, exec 20, fork 30, exec 30, exec 10, "
                "fork 40, exit 20, exit 30, fork 50, exit 50");
    assert_int_equal(result.notes, 2); /* answers about exec 20 and exec 30 */
}

static void those_below_the_top_come_too(void **state)
{
    (void)state;
    expect_both((struct extract_what){ NOWHEN, .process = process(50), .top = process(20) },
                "known 1, known 10, fork 20, exec 20, fork 30, fork 31, exec 30, exit 31, exec 10, "
                "fork 40, exit 20, exit 30, fork 50, exit 50");
}

static void a_family_and_a_span_are_told_once(void **state)
{
    (void)state;
    expect_both(
        (struct extract_what){
            .from_ns = REAL_NS + 13 * S, .until_ns = REAL_NS + 14 * S, .process = process(40) },
        "known 60, known 70, known 1, known 10, fork 20, exec 20, fork 30, exec 30, exec 10, "
        "fork 40, exit 60, exit 20, exit 30, fork 50, exit 50");
}

static void what_is_in_two_recordings_is_taken_once(void **state)
{
    (void)state;
    one_file();
    in[in_len++] = open_file("1.mwr");
    expect((struct extract_what){ NOWHEN, .process = process(31) },
           "known 1, known 10, fork 20, exec 20, fork 31, exit 31, exec 10, exit 20");
}

/* The watch was started again, and counts from 1; then the machine was, and pids are others'. */
static void runs_and_boots_are_told_apart(void **state)
{
    (void)state;
    one_file();
    s.seq = 0;
    s.ns = 20 * S;
    begin_file("2.mwr", 1);
    knows(1, 0);
    knows(40, 30);
    happens(EVENT_EXIT, 21, 40, 30);
    end_file();
    s.seq = 0;
    s.ns = 0;
    begin_file("3.mwr", 2);
    knows(1, 0);
    knows(40, 1);
    happens(EVENT_EXIT, 1, 40, 30);
    end_file();
    in[in_len++] = open_file("2.mwr");
    in[in_len++] = open_file("3.mwr");
    struct extract_what what = { NOWHEN, .process = process(30) };
    assert_int_equal(extract_to("out.mwr", what), 0);
    assert_int_equal(result.events, 11); /* with the exit in the second run */
    assert_int_equal(result.known, 2);
}

static void a_pid_that_is_used_again_is_another(void **state)
{
    (void)state;
    begin_file("1.mwr", 1);
    knows(1, 0);
    happens(EVENT_FORK, 1, 20, 1);
    happens(EVENT_EXIT, 2, 20, 1);
    s.ns = 3 * S;
    story_begin(&s, EVENT_FORK, 20, 1);
    event_set(&s.box, F_STARTTIME, 9000000, WHY_COMPUTED);
    recording_event(w, &s.box.ev, false);
    happens(EVENT_FORK, 4, 30, 20); /* of the second */
    end_file();
    in[in_len++] = open_file("1.mwr");
    expect((struct extract_what){ NOWHEN, .process = process(20) }, "known 1, fork 20, exit 20");
    expect((struct extract_what){ NOWHEN, .process = { 20, 9000000 } },
           "known 1, fork 20, fork 30");
    expect((struct extract_what){ NOWHEN, .process = process(30) }, "known 1, fork 20, fork 30");
}

static void what_is_missing_is_missing_there(void **state)
{
    (void)state;
    begin_file("1.mwr", 1);
    happens(EVENT_FORK, 1, 20, 1);
    recording_gap(w, 5);
    happens(EVENT_FORK, 2, 30, 1);
    recording_gap(w, 2);
    happens(EVENT_EXIT, 3, 20, 1);
    end_file();
    in[in_len++] = open_file("1.mwr");
    expect((struct extract_what){ NOWHEN, .process = process(20) }, "fork 20, gap 7, exit 20");
}

static void nobody_of_that_name_is_an_error(void **state)
{
    (void)state;
    one_file();
    struct extract_what what = { NOWHEN, .process = process(99) };
    assert_int_equal(extract_to("out.mwr", what), -ESRCH);
    what.process = (struct extract_process){ 30, 1 };
    assert_int_equal(extract_to("out.mwr", what), -ESRCH);
    what.process = process(30);
    what.top = process(99);
    assert_int_equal(extract_to("out.mwr", what), -ESRCH);
    assert_int_equal(extract(in, 0, &what, -1, &result), -EINVAL);
}

static void what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    char path[128];
    one_file();
    path_of("1.mwr", path);
    int only_read = open(path, O_RDONLY);
    struct extract_what what = { NOWHEN, .process = process(30) };
    assert_int_equal(extract(in, in_len, &what, only_read, &result), -EBADF);
    close(only_read);
}

static void nothing_is_a_recording_too(void **state)
{
    (void)state;
    one_file();
    expect((struct extract_what){ .from_ns = REAL_NS + 100 * S, .until_ns = REAL_NS + 101 * S },
           "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_span_begins_with_those_who_lived),
        TEST(who_is_known_is_as_it_was_then),
        TEST(a_process_comes_with_its_ancestors_and_descendants),
        TEST(those_below_the_top_come_too),
        TEST(a_family_and_a_span_are_told_once),
        TEST(what_is_in_two_recordings_is_taken_once),
        TEST(runs_and_boots_are_told_apart),
        TEST(a_pid_that_is_used_again_is_another),
        TEST(what_is_missing_is_missing_there),
        TEST(nobody_of_that_name_is_an_error),
        TEST(what_cannot_be_written_is_an_error),
        TEST(nothing_is_a_recording_too),
    };
    return cmocka_run_group_tests_name("record_extract", tests, NULL, NULL);
}
