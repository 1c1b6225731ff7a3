/* What came to scripts besides events is handed out again as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "embed/tape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct recording_writer *writer;
static int fd;

static void begin(void)
{
    struct recording_head head = { .boot = 1, .host = "x" };
    fd = memfd_create("tape", 0);
    assert_int_equal(recording_begin(&writer, fd, &head), 0);
}

static void add(struct recording_note note, const char *question, const char *answer)
{
    note.question = question;
    note.answer = answer;
    note.question_len = question ? (uint32_t)strlen(question) : 0;
    note.answer_len = answer ? (uint32_t)strlen(answer) : 0;
    recording_note(writer, &note);
}

#define ADD(question, answer, ...) add((struct recording_note){ __VA_ARGS__ }, question, answer)

static struct tape *play(void)
{
    char path[64], why[256];
    struct recording *r;
    struct tape *t;
    assert_int_equal(recording_end(writer), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_int_equal(recording_open(&r, path, why, sizeof why), 0);
    assert_int_equal(tape_new(&t), 0);
    assert_int_equal(tape_read(t, r), 0);
    recording_close(r);
    close(fd);
    return t;
}

static const char *answer(struct tape *t, unsigned what, const char *question, uint64_t seq, bool exact)
{
    static char text[256];
    bool is;
    const struct recording_note *note = tape_answer(t, what, question, strlen(question), seq, &is);
    if (!note)
        return NULL;
    assert_int_equal(is, exact);
    snprintf(text, sizeof text, "%.*s", (int)note->answer_len, (const char *)note->answer);
    return text;
}

static void an_answer_is_that_of_its_record(void **state)
{
    (void)state;
    begin();
    ADD("who", "first", .kind = NOTE_ANSWER, .what = 1, .seq = 5);
    ADD("who", "second", .kind = NOTE_ANSWER, .what = 1, .seq = 5);
    ADD("what", "else", .kind = NOTE_ANSWER, .what = 1, .seq = 6);
    ADD("who", "third", .kind = NOTE_ANSWER, .what = 1, .seq = 9);
    ADD("who", "another kind", .kind = NOTE_ANSWER, .what = 2, .seq = 5);
    struct tape *t = play();
    assert_string_equal(answer(t, 1, "who", 5, true), "first");
    assert_string_equal(answer(t, 1, "who", 5, true), "second");
    assert_string_equal(answer(t, 1, "who", 5, false), "second"); /* asked once more than then */
    assert_string_equal(answer(t, 1, "who", 7, false), "second"); /* the last one before it */
    assert_string_equal(answer(t, 1, "who", 9, true), "third");
    assert_string_equal(answer(t, 2, "who", 1, false), "another kind"); /* the first one after it */
    assert_null(answer(t, 1, "whom", 5, false));
    assert_null(answer(t, 3, "who", 5, false));
    tape_free(t);
}

static void many_questions_are_told_apart(void **state)
{
    char question[32], text[32];
    (void)state;
    begin();
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < 2000; i++) {
            snprintf(question, sizeof question, "q%d", i);
            snprintf(text, sizeof text, "a%d.%d", i, turn);
            ADD(question, text, .kind = NOTE_ANSWER, .what = 1, .seq = (uint64_t)(turn * 10));
        }
    struct tape *t = play();
    for (int i = 0; i < 2000; i++) {
        snprintf(question, sizeof question, "q%d", i);
        snprintf(text, sizeof text, "a%d.1", i);
        assert_string_equal(answer(t, 1, question, 10, true), text);
    }
    tape_free(t);
}

static void ticks_are_of_the_first_host_with_scripts(void **state)
{
    (void)state;
    begin();
    ADD(NULL, NULL, .kind = NOTE_TICK, .group = 1, .mono_ns = 1);
    ADD("web", "12345678", .kind = NOTE_LOADED, .group = 1);
    ADD(NULL, NULL, .kind = NOTE_TICK, .group = 2, .mono_ns = 2);
    ADD("db", "12345678", .kind = NOTE_LOADED, .group = 2);
    ADD(NULL, NULL, .kind = NOTE_TICK, .group = 1, .seq = 4, .mono_ns = 3);
    ADD(NULL, NULL, .kind = NOTE_STORM, .group = 1, .seq = 4, .result = 2);
    ADD("x", "y", .kind = NOTE_ANSWER, .group = 1, .seq = 4);
    ADD(NULL, NULL, .kind = NOTE_TICK, .group = 1, .seq = 7, .mono_ns = 5);
    struct tape *t = play();
    assert_int_equal(tape_group(t), 1);
    assert_int_equal(tape_next(t, 1)->mono_ns, 1);
    assert_null(tape_next(t, 4)); /* came after 4 */
    assert_int_equal(tape_next(t, 5)->mono_ns, 3);
    assert_int_equal(tape_next(t, 5)->kind, NOTE_STORM);
    assert_null(tape_next(t, 7));
    assert_int_equal(tape_next(t, UINT64_MAX)->mono_ns, 5);
    assert_null(tape_next(t, UINT64_MAX));

    uint64_t hash;
    int loaded;
    memcpy(&hash, "12345678", 8);
    assert_true(tape_has_script(t, "web", hash, &loaded));
    assert_int_equal(loaded, 1);
    assert_false(tape_has_script(t, "web", hash + 1, &loaded));
    assert_false(tape_has_script(t, "we", hash, &loaded));
    assert_false(tape_has_script(t, "db", hash, &loaded)); /* of the other host */
    tape_free(t);
}

static void without_scripts_there_is_no_host(void **state)
{
    (void)state;
    begin();
    struct tape *t = play();
    assert_int_equal(tape_group(t), -1);
    assert_null(tape_next(t, UINT64_MAX));
    assert_null(answer(t, 1, "x", 1, false));
    tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_that_of_its_record),
        cmocka_unit_test(many_questions_are_told_apart),
        cmocka_unit_test(ticks_are_of_the_first_host_with_scripts),
        cmocka_unit_test(without_scripts_there_is_no_host),
    };
    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
