/* test_record_fixtures.c - recordings that other versions made are read: recording-v1.mwr is of the
 * first one, recording-other.mwr of one that has other fields.
 *
 * The latter has the fields type, seq, time, mono, colour (text), pid, exe (a number), args, comm
 * and weight (a number), and the kinds exec, sing and fork. Its records: an exec, a sing, a fork,
 * each as the one before but for its time and, of the fork, the pid; then a frame of a kind that
 * nobody knows. */
#include "record/recording.h"

#include "record_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct event_box box;

static struct recording *open_fixture(const char *path)
{
    struct recording *r = NULL;
    char why[256];
    if (recording_open(&r, path, why, sizeof why))
        fail_msg("%s", why);
    return r;
}

static int next(struct recording *r)
{
    uint64_t missing;
    int result = recording_next(r, &box, &missing);
    assert_true(result < 1 || event_valid(&box, sizeof box));
    return result;
}

static void assert_text(enum event_field field, const char *want, size_t want_len)
{
    size_t len;
    const char *bytes = event_text(&box.ev, field, &len);
    assert_non_null(bytes);
    assert_int_equal(len, want_len);
    assert_memory_equal(bytes, want, len);
}

static void count_note(void *ctx, const struct recording_note *note)
{
    (void)note;
    ++*(uint64_t *)ctx;
}

static void a_recording_of_version_1_is_read(void **state)
{
    (void)state;
    struct recording *r = open_fixture("tests/fixtures/recording-v1.mwr");
    const struct recording_about *about = recording_about(r);
    uint64_t events = 0, notes = 0;
    int64_t last_seq = 0;
    int result, execs = 0;
    while ((result = next(r)) > 0) {
        events++;
        if (result == 2)
            continue;
        execs += event_kind(&box.ev) == EVENT_EXEC && event_has(&box.ev, F_ARGS);
        assert_true(box.ev.cell[F_SEQ].num > last_seq);
        assert_true(event_has(&box.ev, F_TIME));
        last_seq = box.ev.cell[F_SEQ].num;
    }
    assert_int_equal(result, 0);
    assert_true(execs > 0);
    assert_int_equal(recording_notes(r, count_note, &notes), 0);
    assert_int_equal(events, about->events);
    assert_int_equal(notes, about->notes);
    assert_int_equal(about->bad_frames + about->torn_bytes, 0);
    assert_false(about->torn);
    recording_close(r);
}

/* What both have, and nothing made up for what this version has besides. */
static void check_fields(enum event_kind kind, int64_t seq, int64_t mono_ns, int64_t pid)
{
    assert_int_equal(event_kind(&box.ev), kind);
    assert_int_equal(event_int(&box.ev, F_SEQ, 0), seq);
    assert_int_equal(event_int(&box.ev, F_TIME, 0), 1000000000 + mono_ns);
    assert_int_equal(event_int(&box.ev, F_MONO, 0), mono_ns);
    assert_int_equal(event_int(&box.ev, F_PID, 0), pid);
    assert_text(F_ARGS, "ls\0-l", 6);
    assert_text(F_COMM, "ls", 2);
    assert_int_equal(box.ev.why[F_ARGS], WHY_TAP);
    int known = 0;
    for (int f = 0; f < EVENT_FIELDS; f++)
        known += box.ev.why[f] != WHY_ABSENT;
    assert_int_equal(known, 7);
}

static void one_that_has_other_fields_is_read_by_their_names(void **state)
{
    (void)state;
    struct recording *r = open_fixture("tests/fixtures/recording-other.mwr");
    assert_string_equal(recording_head(r)->host, "other");
    assert_int_equal(recording_about(r)->events, 3);
    assert_int_equal(next(r), 1);
    check_fields(EVENT_EXEC, 10, 5000, 77);
    assert_int_equal(next(r), 1); /* to sing is no event here */
    check_fields(EVENT_FORK, 12, 6500, 78);
    assert_int_equal(next(r), 0);
    assert_int_equal(recording_about(r)->bad_frames, 0);
    recording_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recording_of_version_1_is_read),
        cmocka_unit_test(one_that_has_other_fields_is_read_by_their_names),
    };
    return cmocka_run_group_tests_name("record_fixtures", tests, NULL, NULL);
}
