/* test_record_file.c - what was recorded is read, whatever became of the file: cut anywhere,
 * damaged anywhere, on a full disk. */
#include "record/recording.h"

#include "record/frame.h"
#define STORY_CLOCK
#include "record_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { KEPT = 20000 };

static char path[64];
static int fd = -1;
static struct recording_writer *w;
static struct recording *r;
static struct story s;
static struct event *told[KEPT]; /* owned copies */
static int told_len;
static struct event_box box;
static const struct recording_head head = {
    .boot = 0x0123456789abcdef,
    .real_ns = REAL_NS,
    .mono_ns = MONO_NS,
    .utc_offset_s = -3600,
    .host = "machine",
};

static int begin(void **state)
{
    (void)state;
    strcpy(path, "/tmp/moonwatch-recording-XXXXXX");
    fd = mkstemp(path);
    s = STORY;
    signal(SIGXFSZ, SIG_IGN);
    return fd < 0 || recording_begin(&w, fd, &head);
}

static void forget(void)
{
    while (told_len)
        free(told[--told_len]);
}

static int end(void **state)
{
    (void)state;
    if (w)
        recording_end(w);
    w = NULL;
    recording_close(r);
    r = NULL;
    close(fd);
    unlink(path);
    forget();
    return 0;
}

static void keep(const struct event *ev)
{
    assert_true(told_len < KEPT);
    told[told_len] = malloc(ev->size);
    assert_non_null(told[told_len]);
    memcpy(told[told_len++], ev, ev->size);
}

static void record(int events)
{
    for (int i = 0; i < events; i++) {
        const struct event *ev = story_next(&s);
        recording_event(w, ev, false);
        keep(ev);
    }
}

static void finish(void)
{
    assert_int_equal(recording_end(w), 0);
    w = NULL;
}

static void open_it(void)
{
    char why[256] = "";
    int result = recording_open(&r, path, why, sizeof why);
    if (result)
        print_message("%s\n", why);
    assert_int_equal(result, 0);
}

static int next(void)
{
    uint64_t missing;
    int result = recording_next(r, &box, &missing);
    assert_true(result < 1 || event_valid(&box, sizeof box));
    return result;
}

/* The records from the `from`th to before the `to`th come next. */
static void expect(int from, int to)
{
    for (; from < to; from++) {
        assert_int_equal(next(), 1);
        assert_true(same_record(&box.ev, told[from]));
    }
}

static void expect_gap(uint64_t want)
{
    uint64_t missing;
    assert_int_equal(recording_next(r, &box, &missing), -EOVERFLOW);
    assert_int_equal(missing, want);
}

static void close_it(void)
{
    recording_close(r);
    r = NULL;
}

static uint64_t size(void)
{
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return (uint64_t)about.st_size;
}

/* --- as it should be -------------------------------------------------------------------------- */

static void what_was_recorded_is_read(void **state)
{
    (void)state;
    record(6000);
    assert_int_equal(recording_count(w).events, 6000);
    finish();
    open_it();
    const struct recording_about *about = recording_about(r);
    assert_int_equal(about->events, 6000);
    assert_int_equal(about->gaps, 0);
    assert_int_equal(about->bytes, size());
    assert_int_equal(about->first_ns, told[0]->cell[F_TIME].num);
    assert_int_equal(about->last_ns, told[5999]->cell[F_TIME].num);
    assert_false(about->torn);
    assert_int_equal(about->torn_bytes + about->bad_frames, 0);
    assert_memory_equal(recording_head(r), &head, sizeof head);
    expect(0, 6000);
    assert_int_equal(next(), 0);
    assert_int_equal(next(), 0);
    recording_rewind(r);
    expect(0, 6000);
    assert_int_equal(next(), 0);
    assert_true(about->bytes < 6000 * 40);
}

static void one_that_holds_nothing_is_one(void **state)
{
    (void)state;
    finish();
    open_it();
    assert_int_equal(next(), 0);
    assert_int_equal(recording_about(r)->events, 0);
    assert_int_equal(recording_about(r)->first_ns, 0);
    assert_false(recording_about(r)->torn);
}

static void who_was_there_at_the_begin_is_told_apart(void **state)
{
    (void)state;
    recording_event(w, story_exec(&s, 1, 0, "init", 5), true);
    record(1);
    finish();
    open_it();
    assert_int_equal(next(), 2);
    expect(0, 1);
}

static void what_was_flushed_outlives_a_kill(void **state)
{
    (void)state;
    record(10);
    recording_flush(w);
    uint64_t flushed = size();
    recording_flush(w); /* nothing new */
    assert_int_equal(size(), flushed);
    open_it();
    assert_true(recording_about(r)->torn);
    assert_int_equal(recording_about(r)->torn_bytes, 0);
    assert_int_equal(recording_about(r)->events, 10);
    expect(0, 10);
    assert_int_equal(next(), 0);
}

static void a_seek_finds_the_frame_of_a_time(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        record(20);
        recording_flush(w);
    }
    for (int closed = 0; closed < 2; closed++) {
        open_it();
        for (int i = 0; i < 4000; i += 37) {
            recording_seek(r, told[i]->cell[F_TIME].num);
            expect(i / 20 * 20, i + 1);
        }
        recording_seek(r, told[3999]->cell[F_TIME].num + 1);
        assert_int_equal(next(), 0);
        recording_seek(r, 0);
        expect(0, 21);
        close_it();
        if (!closed)
            finish();
    }
}

static void an_index_of_many_frames_stays_small(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) {
        record(1);
        recording_flush(w);
    }
    uint64_t before = size();
    finish();
    assert_true(size() - before < 20000);
    open_it();
    for (int i = 0; i < 5000; i += 111) {
        recording_seek(r, told[i]->cell[F_TIME].num);
        expect(i, i + 1);
    }
}

static void events_that_never_came_are_missing_there(void **state)
{
    (void)state;
    record(5);
    recording_gap(w, 7);
    recording_gap(w, 3);
    record(5);
    recording_gap(w, 1);
    finish();
    open_it();
    assert_int_equal(recording_about(r)->gaps, 11);
    expect(0, 5);
    expect_gap(10);
    expect(5, 10);
    expect_gap(1);
    assert_int_equal(next(), 0);
}

/* Texts that share bytes need room of their own in the file: some records do not have it. */
static void a_record_that_cannot_be_kept_is_missing_there(void **state)
{
    (void)state;
    static char text[EVENT_TEXT_MAX];
    memset(text, 'x', sizeof text);
    record(5);
    struct event *ev = story_begin(&s, EVENT_EXEC, 7, 1);
    event_set_text(&s.box, F_CWD, text, sizeof text, WHY_PROC);
    ev->cell[F_EXE] = ev->cell[F_TTY] = ev->cell[F_CWD];
    ev->why[F_EXE] = ev->why[F_TTY] = WHY_PROC;
    recording_event(w, ev, false);
    record(5);
    assert_int_equal(recording_count(w).dropped, 1);
    assert_int_equal(recording_count(w).error, 0);
    finish();
    open_it();
    expect(0, 5);
    expect_gap(1);
    expect(5, 10);
    assert_int_equal(next(), 0);
}

/* --- notes ------------------------------------------------------------------------------------ */

static char large[200000];
static int notes_seen;

static void make_note(struct recording_note *note, int i)
{
    *note = (struct recording_note){ .kind = (uint8_t)(1 + i % 4),
                                     .group = (uint8_t)(i % 3),
                                     .what = (uint16_t)(i * 7),
                                     .result = i % 5 - 2,
                                     .seq = (uint64_t)i / 2,
                                     .mono_ns = MONO_NS + i * 1000,
                                     .real_ns = REAL_NS - i,
                                     .question = large + i % 10,
                                     .answer = large + i % 11,
                                     .question_len = (uint32_t)(i % 10),
                                     .answer_len = (uint32_t)(i % 50 ? i % 300 : 190000) };
}

static void check_note(void *ctx, const struct recording_note *note)
{
    struct recording_note want;
    make_note(&want, notes_seen);
    assert_ptr_equal(ctx, &notes_seen);
    assert_int_equal(note->kind, want.kind);
    assert_int_equal(note->group, want.group);
    assert_int_equal(note->what, want.what);
    assert_int_equal(note->result, want.result);
    assert_int_equal(note->seq, want.seq);
    assert_int_equal(note->mono_ns, want.mono_ns);
    assert_int_equal(note->real_ns, want.real_ns);
    assert_int_equal(note->question_len, want.question_len);
    assert_int_equal(note->answer_len, want.answer_len);
    assert_memory_equal(note->question, want.question, want.question_len);
    assert_memory_equal(note->answer, want.answer, want.answer_len);
    notes_seen++;
}

static void notes_are_visited_in_order_beside_the_events(void **state)
{
    (void)state;
    struct recording_note note;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(story_random(&s) >> 60);
    for (int i = 0; i < 1000; i++) {
        make_note(&note, i);
        recording_note(w, &note);
        record(2);
    }
    assert_int_equal(recording_count(w).notes, 1000);
    finish();
    open_it();
    assert_int_equal(recording_about(r)->notes, 1000);
    expect(0, 100);
    notes_seen = 0;
    assert_int_equal(recording_notes(r, check_note, &notes_seen), 0);
    assert_int_equal(notes_seen, 1000);
    expect(100, 2000);
    assert_int_equal(next(), 0);
}

/* --- cut and damaged -------------------------------------------------------------------------- */

static uint8_t bytes[1 << 20];
static size_t bytes_len;

static size_t read_file(void)
{
    int in = open(path, O_RDONLY);
    ssize_t len = read(in, bytes, sizeof bytes);
    close(in);
    assert_true(len > 0 && (size_t)len < sizeof bytes);
    return (size_t)len;
}

/* A small file of several frames; the events of frame i begin at frames[i]. */
static void small_file(bool close_in_order)
{
    struct recording_note note;
    for (int i = 0; i < 4; i++) {
        record(6);
        make_note(&note, i + 1);
        recording_note(w, &note);
        recording_flush(w);
    }
    recording_gap(w, 2);
    recording_flush(w);
    if (close_in_order)
        finish();
    bytes_len = read_file();
}

static void put_back(const uint8_t *from, size_t len)
{
    int out = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(out, from, len), len);
    close(out);
}

static void count_note(void *ctx, const struct recording_note *note)
{
    (void)note;
    ++*(int *)ctx;
}

/* How many records come, each as it was and in order; *bad: how many frames were said to be
 * damaged. */
static int read_all(int *bad)
{
    int result, from = 0, n = 0;
    uint64_t missing;
    *bad = 0;
    while ((result = recording_next(r, &box, &missing)) != 0) {
        assert_true(result == 1 || result == -EBADMSG || result == -EOVERFLOW);
        *bad += result == -EBADMSG;
        if (result != 1)
            continue;
        while (from < told_len && !same_record(&box.ev, told[from]))
            from++;
        assert_true(from++ < told_len);
        n++;
    }
    return n;
}

static void a_file_cut_anywhere_has_its_whole_frames(void **state)
{
    (void)state;
    small_file(true);
    char why[256];
    int bad, before = 0, notes, result;
    for (size_t len = 0; len < bytes_len; len++) {
        put_back(bytes, len);
        result = recording_open(&r, path, why, sizeof why);
        if (result) {
            assert_int_equal(result, -EBADMSG);
            assert_non_null(strstr(why, path));
            assert_int_equal(before, 0);
            continue;
        }
        int n = read_all(&bad);
        assert_int_equal(bad, 0);
        assert_true(n % 6 == 0 && n >= before);
        assert_true(recording_about(r)->torn);
        assert_int_equal(recording_about(r)->events, n);
        assert_true(recording_about(r)->torn_bytes < len);
        notes = 0;
        assert_int_equal(recording_notes(r, count_note, &notes), 0);
        assert_int_equal(notes, recording_about(r)->notes);
        before = n;
        close_it();
    }
    assert_int_equal(before, 24);
}

/* One frame at most is lost by one wrong bit; nothing is told that was not so. */
static void any_bit_may_be_wrong(void **state)
{
    (void)state;
    for (int in_order = 1; in_order >= 0; in_order--) {
        small_file(in_order);
        char why[256];
        int bad, opened = 0;
        for (size_t bit = 0; bit < bytes_len * 8; bit += 3) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            put_back(bytes, bytes_len);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int result = recording_open(&r, path, why, sizeof why);
            if (result) {
                assert_true(result == -EBADMSG || result == -ENOTSUP);
                continue;
            }
            opened++;
            int n = read_all(&bad);
            assert_true(n == 24 || n == 18);
            if (n == 18)
                assert_true(bad || recording_about(r)->bad_frames ||
                            recording_about(r)->torn_bytes);
            int notes = 0;
            assert_int_equal(recording_notes(r, count_note, &notes), 0);
            assert_true(notes >= 3);
            close_it();
        }
        assert_true(opened > 1000);
        if (in_order) { /* once more, not closed */
            forget();
            put_back(bytes, 0);
            s = STORY;
            assert_int_equal(recording_begin(&w, fd, &head), 0);
        }
    }
}

static void a_damaged_frame_costs_itself_and_is_said(void **state)
{
    (void)state;
    small_file(true);
    size_t at = HEADER_SIZE, frames = 0;
    uint8_t marker[MARKER];
    struct recording_head was;
    struct frame f;
    uint64_t missing;
    assert_int_equal(header_take(&was, marker, bytes), 0);
    while (frame_take(&f, bytes + at, marker) && !(f.kind == FRAME_EVENTS && ++frames == 2))
        at += FRAME_HEAD + f.stored;
    bytes[at + FRAME_HEAD + f.stored / 2] ^= 1;
    put_back(bytes, bytes_len);
    open_it();
    expect(0, 6);
    assert_int_equal(recording_next(r, &box, &missing), -EBADMSG);
    assert_int_equal(missing, 6);
    assert_int_equal(recording_about(r)->bad_frames, 1);
    expect(12, 24);
    expect_gap(2);
    assert_int_equal(next(), 0);
    recording_rewind(r);
    while (next()) {
    }
    assert_int_equal(recording_about(r)->bad_frames, 1);
    close_it();

    bytes[at + 20] ^= 1; /* its head, too: then nobody knows how many */
    put_back(bytes, bytes_len);
    open_it();
    expect(0, 6);
    assert_int_equal(recording_next(r, &box, &missing), -EBADMSG);
    assert_int_equal(missing, 0);
    expect(12, 24);
}

/* The marker of the next frame lies anywhere in what is read at once to look for it. */
static void the_next_frame_is_found_behind_long_damage(void **state)
{
    (void)state;
    struct recording_note note = { .kind = NOTE_ANSWER, .question = large, .answer = large };
    uint8_t marker[MARKER];
    struct recording_head was;
    struct frame f;
    int bad;
    for (uint32_t shift = 0; shift < 40; shift++) {
        record(6);
        recording_flush(w);
        uint64_t at = size();
        note.answer_len = 2 * 64 * 1024 - FRAME_HEAD - 30 + shift;
        recording_note(w, &note);
        record(6);
        finish();
        bytes_len = read_file();
        assert_int_equal(header_take(&was, marker, bytes), 0);
        assert_true(frame_take(&f, bytes + at, marker) && f.kind == FRAME_NOTES);
        bytes[at + MARKER] ^= 1;
        put_back(bytes, bytes_len);
        open_it();
        assert_int_equal(read_all(&bad), 12);
        assert_int_equal(bad, 1);
        close_it();
        forget();
        put_back(bytes, 0);
        s = STORY;
        assert_int_equal(recording_begin(&w, fd, &head), 0);
    }
}

/* What is in an argument looks like a frame; behind damage it is not taken for one. */
static void no_argument_is_a_frame(void **state)
{
    (void)state;
    uint8_t args[FRAME_HEAD + 1] = { 0 }, guess[MARKER] = "markers";
    struct frame f = { .kind = FRAME_GAP, .number = 666 };
    frame_put(args, &f, guess);
    recording_event(w, story_exec(&s, 5, 1, (const char *)args, sizeof args), false);
    recording_flush(w);
    record(3);
    finish();
    open_it();
    assert_int_equal(next(), 1);
    expect(0, 3);
    assert_int_equal(recording_about(r)->gaps, 0);
}

static void other_files_are_refused_in_one_sentence(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "hello", "mwstore\n" };
    char why[256];
    small_file(true);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_back((const uint8_t *)texts[i], strlen(texts[i]));
        assert_int_equal(recording_open(&r, path, why, sizeof why), -EBADMSG);
        assert_non_null(strstr(why, "is no recording"));
    }
    bytes[8] = RECORDING_VERSION + 1;
    put_back(bytes, bytes_len);
    assert_int_equal(recording_open(&r, path, why, sizeof why), -ENOTSUP);
    assert_non_null(strstr(why, "another version"));
    assert_int_equal(recording_open(&r, "/nonexistent/x.mwr", why, sizeof why), -ENOENT);
    assert_non_null(strstr(why, "/nonexistent/x.mwr: No such file"));
    assert_int_equal(recording_open(&r, "/tmp", why, sizeof why), -EBADMSG);
    assert_int_equal(recording_open(&r, "/dev/null", why, sizeof why), -EBADMSG);
    r = NULL;
}

/* --- no room ---------------------------------------------------------------------------------- */

static void limit(uint64_t most)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ most, RLIM_INFINITY }), 0);
}

static void what_finds_no_room_is_counted_and_missing_there(void **state)
{
    (void)state;
    record(10);
    recording_flush(w);
    uint64_t whole = size();
    limit(whole + 100);
    record(20);
    recording_flush(w);
    assert_int_equal(recording_count(w).error, EFBIG);
    assert_int_equal(recording_count(w).dropped, 20);
    assert_int_equal(recording_count(w).events, 10);
    assert_int_equal(size(), whole); /* what was half written is cut off */
    limit(RLIM_INFINITY);
    record(5);
    recording_flush(w); /* within the second */
    assert_int_equal(recording_count(w).dropped, 25);
    assert_int_equal(size(), whole);
    later_ns += INT64_C(1000000001);
    record(5);
    recording_flush(w);
    assert_int_equal(recording_count(w).error, 0);
    assert_int_equal(recording_count(w).events, 15);
    finish();
    open_it();
    assert_int_equal(recording_about(r)->gaps, 25);
    expect(0, 10);
    expect_gap(25);
    expect(35, 40);
    assert_int_equal(next(), 0);
}

static void a_descriptor_that_cannot_be_written_to_is_said(void **state)
{
    (void)state;
    struct recording_writer *other;
    int in = open(path, O_RDONLY);
    assert_int_equal(recording_begin(&other, in, &head), -EBADF);
    record(3);
    assert_int_equal(dup2(in, fd), fd);
    recording_flush(w);
    assert_int_equal(recording_count(w).error, EBADF);
    assert_int_equal(recording_count(w).dropped, 3);
    assert_int_equal(recording_end(w), -EBADF);
    w = NULL;
    close(in);
    open_it();
    assert_int_equal(next(), 0);
    assert_true(recording_about(r)->torn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_recorded_is_read),
        TEST(one_that_holds_nothing_is_one),
        TEST(who_was_there_at_the_begin_is_told_apart),
        TEST(what_was_flushed_outlives_a_kill),
        TEST(a_seek_finds_the_frame_of_a_time),
        TEST(an_index_of_many_frames_stays_small),
        TEST(events_that_never_came_are_missing_there),
        TEST(a_record_that_cannot_be_kept_is_missing_there),
        TEST(notes_are_visited_in_order_beside_the_events),
        TEST(a_file_cut_anywhere_has_its_whole_frames),
        TEST(any_bit_may_be_wrong),
        TEST(a_damaged_frame_costs_itself_and_is_said),
        TEST(the_next_frame_is_found_behind_long_damage),
        TEST(no_argument_is_a_frame),
        TEST(other_files_are_refused_in_one_sentence),
        TEST(what_finds_no_room_is_counted_and_missing_there),
        TEST(a_descriptor_that_cannot_be_written_to_is_said),
    };
    return cmocka_run_group_tests_name("record_file", tests, NULL, NULL);
}
