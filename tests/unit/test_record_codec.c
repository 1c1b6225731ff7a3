/* test_record_codec.c - what is packed comes out as it went in, and what is no frame is refused. */
#include "record/codec.h"

#include "record_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { KEPT = 4096 };

static struct encoder *e;
static struct decoder *d;
static struct event *told[KEPT]; /* owned copies */
static int told_len;
static struct event_box box;
static uint8_t frame[ENCODER_MOST + DECODER_SLACK];
static size_t frame_len;
static struct story s;

static int begin(void **state)
{
    (void)state;
    struct codec_dictionary ours;
    dictionary_ours(&ours);
    e = encoder_new();
    s = STORY;
    return !e || decoder_new(&d, &ours);
}

static int end(void **state)
{
    (void)state;
    encoder_free(e);
    decoder_free(d);
    d = NULL;
    while (told_len)
        free(told[--told_len]);
    return 0;
}

/* Packed and remembered; false: the frame is full. */
static bool add(const struct event *ev, bool known)
{
    assert_true(event_valid(ev, ev->size));
    int result = encoder_add(e, ev, known);
    if (result == -ENOBUFS)
        return false;
    assert_int_equal(result, 0);
    assert_true(told_len < KEPT);
    told[told_len] = malloc(ev->size);
    assert_non_null(told[told_len]);
    memcpy(told[told_len++], ev, ev->size);
    return true;
}

static void take_frame(void)
{
    struct iovec parts[CODEC_STREAMS + 1];
    size_t len = encoder_parts(e, parts);
    frame_len = 0;
    for (int i = 0; i <= CODEC_STREAMS; i++) {
        memcpy(frame + frame_len, parts[i].iov_base, parts[i].iov_len);
        frame_len += parts[i].iov_len;
    }
    assert_int_equal(frame_len, len);
    memset(frame + frame_len, 0, DECODER_SLACK);
}

/* All that was added comes out again. */
static void check(struct decoder *from, int result)
{
    take_frame();
    assert_int_equal(encoder_count(e), told_len);
    assert_int_equal(decoder_begin(from, frame, frame_len, (uint32_t)told_len), 0);
    for (int i = 0; i < told_len; i++) {
        assert_int_equal(decoder_next(from, &box), result);
        assert_true(event_valid(&box, sizeof box));
        assert_true(same_record(&box.ev, told[i]));
    }
    assert_int_equal(decoder_next(from, &box), 0);
}

static void lives_come_out_as_they_went_in(void **state)
{
    (void)state;
    while (told_len < 1200)
        assert_true(add(story_next(&s), false));
    check(d, 1);
    assert_true(frame_len < 1200 * 40);
}

static void known_ones_are_told_apart(void **state)
{
    (void)state;
    while (told_len < 30)
        add(story_next(&s), true);
    check(d, 2);
}

static void anything_comes_out_as_it_went_in(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        while (add(story_odd(&s), false)) {
        }
        assert_true(told_len > 50);
        check(d, 1);
        while (told_len)
            free(told[--told_len]);
        encoder_clear(e);
    }
}

static void the_largest_record_fits(void **state)
{
    (void)state;
    static char bytes[EVENT_TEXT_MAX];
    memset(bytes, 'x', sizeof bytes - 1);
    do
        bytes[told_len % 100]++;
    while (add(story_exec(&s, 5, 1, bytes, sizeof bytes), false));
    assert_true(told_len > 10);
    check(d, 1);
}

static void a_process_can_exec_for_ever(void **state)
{
    (void)state;
    char args[40] = { 0 };
    add(story_fork(&s, 5, 1), false);
    do
        snprintf(args, sizeof args, "sh%c%d", 0, told_len);
    while (add(story_exec(&s, 5, 1, args, sizeof args), false));
    assert_true(told_len > 1000);
    check(d, 1);
}

static void a_text_may_hold_nuls_or_nothing(void **state)
{
    (void)state;
    struct event *ev = story_begin(&s, EVENT_EXEC, 7, 1);
    event_set_text(&s.box, F_COMM, "abc", 3, WHY_PROC);
    event_set_text(&s.box, F_ARGS, "", 0, WHY_PROC);
    ((char *)ev)[ev->cell[F_COMM].text.off + 1] = '\0'; /* as bytes from outside can be */
    add(ev, false);
    add(ev, false);
    check(d, 1);
}

/* Two fields that share bytes need room of their own later: such a record may be too large. */
static void what_would_grow_beyond_a_record_is_refused(void **state)
{
    (void)state;
    static char bytes[EVENT_TEXT_MAX];
    memset(bytes, 'x', sizeof bytes);
    struct event *ev = story_begin(&s, EVENT_EXEC, 7, 1);
    event_set_text(&s.box, F_CWD, bytes, sizeof bytes, WHY_PROC);
    ev->cell[F_EXE] = ev->cell[F_TTY] = ev->cell[F_CWD];
    ev->why[F_EXE] = ev->why[F_TTY] = WHY_PROC;
    assert_true(event_valid(ev, sizeof s.box));
    assert_int_equal(encoder_add(e, ev, false), -E2BIG);
    add(story_next(&s), false);
    check(d, 1);
}

/* --- dictionaries ----------------------------------------------------------------------------- */

static uint8_t names[DICTIONARY_MOST + 1];

static void a_dictionary_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct codec_dictionary ours, read;
    dictionary_ours(&ours);
    size_t len = dictionary_put(&ours, names);
    assert_int_equal(dictionary_take(&read, names, len), 0);
    assert_memory_equal(&ours, &read, sizeof ours);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(dictionary_take(&read, names, i), -EBADMSG);
    names[len] = 0;
    assert_int_equal(dictionary_take(&read, names, len + 1), -EBADMSG);
}

static void refuses(const struct codec_dictionary *bad, int want)
{
    struct codec_dictionary read;
    size_t len = dictionary_put(bad, names);
    assert_int_equal(dictionary_take(&read, names, len), want);
}

static void what_a_dictionary_cannot_say_is_refused(void **state)
{
    (void)state;
    struct codec_dictionary bad;
    dictionary_ours(&bad);
    bad.field[F_CODE].method = METHODS;
    refuses(&bad, -ENOTSUP);
    dictionary_ours(&bad);
    bad.field[F_CODE].type = TYPE_ARGS + 1;
    refuses(&bad, -ENOTSUP);
    dictionary_ours(&bad);
    bad.field[F_CODE].method = METHOD_SEQ; /* a second one */
    refuses(&bad, -EBADMSG);
    dictionary_ours(&bad);
    bad.field[F_COMM].method = METHOD_BYTES; /* of text */
    refuses(&bad, -EBADMSG);
    dictionary_ours(&bad);
    bad.field[F_WAS_UID].other = F_COMM; /* a number guessed from text */
    refuses(&bad, -EBADMSG);
    dictionary_ours(&bad);
    bad.field[F_WAS_UID].other = bad.fields;
    refuses(&bad, -EBADMSG);
    dictionary_ours(&bad);
    bad.window = CODEC_WINDOW_MOST + 1;
    refuses(&bad, -EBADMSG);
}

/* A file of a version that names a field otherwise, has one of another type, and does not know a
 * kind. */
static void fields_and_kinds_are_found_by_name(void **state)
{
    (void)state;
    struct codec_dictionary theirs;
    struct decoder *other;
    dictionary_ours(&theirs);
    strcpy(theirs.field[F_CWD].name, "directory");
    theirs.field[F_CGROUP].type = TYPE_ARGS;
    strcpy(theirs.kind[EVENT_EXIT], "end");
    char kind[16];
    memcpy(kind, theirs.kind[EVENT_FORK], sizeof kind);
    memcpy(theirs.kind[EVENT_FORK], theirs.kind[EVENT_EXEC], sizeof kind);
    memcpy(theirs.kind[EVENT_EXEC], kind, sizeof kind);
    assert_int_equal(decoder_new(&other, &theirs), 0);

    while (told_len < 30) {
        story_next(&s);
        event_set_text(&s.box, F_CGROUP, "a\0", 2, WHY_PROC); /* may be a vector */
        s.box.ev.cell[F_CGROUP].text.len = 2;
        add(&s.box.ev, false);
    }
    take_frame();
    assert_int_equal(decoder_begin(other, frame, frame_len, (uint32_t)told_len), 0);
    for (int i = 0; i < told_len; i++) {
        struct event *want = told[i];
        enum event_kind was = event_kind(want);
        if (was == EVENT_EXIT)
            continue;
        want->cell[F_TYPE].num = was == EVENT_FORK ? EVENT_EXEC : EVENT_FORK;
        want->why[F_CWD] = want->why[F_CGROUP] = WHY_ABSENT;
        assert_int_equal(decoder_next(other, &box), 1);
        assert_true(event_valid(&box, sizeof box));
        assert_true(same_record(&box.ev, want));
    }
    assert_int_equal(decoder_next(other, &box), 0);
    decoder_free(other);
}

/* --- damage ----------------------------------------------------------------------------------- */

/* Whatever comes out is a record; and it ends. */
static void read_all(uint32_t count)
{
    int result, n = 0;
    if (decoder_begin(d, frame, frame_len, count))
        return;
    while ((result = decoder_next(d, &box)) > 0) {
        assert_true(event_valid(&box, sizeof box));
        n++;
    }
    assert_true(n <= (int)count);
    assert_int_equal(decoder_next(d, &box), 0);
}

static void any_bit_may_be_wrong(void **state)
{
    (void)state;
    while (told_len < 12)
        add(story_next(&s), false);
    take_frame();
    for (size_t bit = 0; bit < frame_len * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read_all(12);
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check(d, 1);
}

static void any_end_may_be_missing(void **state)
{
    (void)state;
    while (told_len < 12)
        add(story_next(&s), false);
    take_frame();
    size_t whole = frame_len;
    for (frame_len = 0; frame_len < whole; frame_len++)
        read_all(12);
    read_all(13);
    read_all(UINT32_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lives_come_out_as_they_went_in),
        TEST(known_ones_are_told_apart),
        TEST(anything_comes_out_as_it_went_in),
        TEST(the_largest_record_fits),
        TEST(a_process_can_exec_for_ever),
        TEST(a_text_may_hold_nuls_or_nothing),
        TEST(what_would_grow_beyond_a_record_is_refused),
        TEST(a_dictionary_is_read_as_it_was_written),
        TEST(what_a_dictionary_cannot_say_is_refused),
        TEST(fields_and_kinds_are_found_by_name),
        TEST(any_bit_may_be_wrong),
        TEST(any_end_may_be_missing),
    };
    return cmocka_run_group_tests_name("record_codec", tests, NULL, NULL);
}
