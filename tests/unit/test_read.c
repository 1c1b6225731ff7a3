/* Lines of JSON become the events that they were, and those of others become events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "event/json.h"
#include "event/read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct reader *reader;
static const struct event *ev, *parent;
static char why[512];

static int set_up(void **state)
{
    (void)state;
    return reader_new(&reader);
}

static int tear_down(void **state)
{
    (void)state;
    reader_free(reader);
    return 0;
}

static int line(const char *text)
{
    *why = '\0';
    return reader_line(reader, text, strlen(text), &ev, &parent, why, sizeof why);
}

static const char *text_of(const struct event *of, enum event_field field)
{
    static char texts[4][4096];
    static int turn;
    size_t len;
    char *to = texts[turn = (turn + 1) % 4];
    const char *bytes = event_text(of, field, &len);
    if (!bytes)
        return "(none)";
    for (size_t i = 0; i < len; i++) /* args: one after another */
        to[i] = bytes[i] ? bytes[i] : '|';
    to[len] = '\0';
    return to;
}

/* --- our own --------------------------------------------------------------------------------------- */

static struct event_box box;

static void random_text(enum event_field field)
{
    char bytes[200];
    size_t len = (size_t)rand() % sizeof bytes;
    bool wild = rand() % 3 == 0;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(wild ? 1 + rand() % 255 : 32 + rand() % 95);
    if (event_fields[field].type == TYPE_ARGS)
        for (size_t i = 0; i < len; i += 1 + (size_t)rand() % 40)
            bytes[i] = '\0';
    event_set_text(&box, field, bytes, field == F_COMM && len > 15 ? 15 : len, WHY_PROC);
}

static void random_event(void)
{
    enum event_kind kind = (enum event_kind)(1 + rand() % (EVENT_KINDS - 1));
    event_begin(&box, kind);
    for (int field = F_SEQ; field < EVENT_FIELDS; field++) {
        if (!(event_fields[field].kinds & (UINT32_C(1) << kind)) || rand() % 4 == 0)
            continue;
        if (event_is_text(field))
            random_text(field);
        else if (event_fields[field].type == TYPE_BOOL)
            event_set(&box, field, 1, WHY_PROC);
        else if (event_fields[field].type == TYPE_TIME)
            event_set(&box, field, INT64_C(1700000000000000000) + rand() * INT64_C(1000), WHY_PROC);
        else
            event_set(&box, field, rand() % 5 || event_fields[field].type == TYPE_SPAN ? rand() : (int64_t)rand() << 28,
                      WHY_PROC); /* spans are read as doubles: exact within a hundred days */
    }
    event_set(&box, F_SEQ, 1 + rand(), WHY_COMPUTED);
    event_set(&box, F_PID, 1 + rand() % 4000000, WHY_KERNEL);
    event_set(&box, F_TID, 1 + rand() % 4000000, WHY_KERNEL);
    event_set(&box, F_UID, rand() % 3, WHY_KERNEL);
    event_set(&box, F_EUID, rand() % 3, WHY_KERNEL);
    event_set(&box, F_TIME, INT64_C(1700000000000000000) + rand() * INT64_C(1000), WHY_KERNEL);
    event_set(&box, F_MONO, INT64_C(1000000000000) + rand(), WHY_KERNEL);
    event_set(&box, F_STARTTIME, rand(), WHY_KERNEL);
    if (!event_has(&box.ev, F_COMM))
        random_text(F_COMM);
    if (!event_has(&box.ev, F_ARGS))
        event_set_missing(&box, F_ARGS, rand() % 2 ? WHY_GONE : WHY_DENIED);
}

/* Lines of some other stream in between do not matter: each is read by a reader of its own. */
static void what_we_write_we_read(void **state)
{
    struct json_context context = { .boot = 0xb007 };
    (void)state;
    srand(11);
    for (int i = 0; i < 3000; i++) {
        struct buf first = { 0 }, second = { 0 };
        random_event();
        json_event(&first, &box.ev, &context);
        struct reader *one;
        assert_int_equal(reader_new(&one), 0);
        int got = reader_line(one, first.data, first.len, &ev, &parent, why, sizeof why);
        if (got != 1)
            fail_msg("%d, %s: %.*s", got, why, (int)first.len, first.data);
        assert_true(event_valid(ev, ev->size));
        json_event(&second, ev, &context);
        bool same = first.len == second.len && !memcmp(first.data, second.data, first.len);
        if (!same) /* longer than a message of cmocka's may be */
            fprintf(stderr, "%.*s\nis read as\n%.*s\n", (int)first.len, first.data, (int)second.len, second.data);
        assert_true(same);
        assert_int_equal(reader_boot(one), 0xb007);
        reader_free(one);
        buf_free(&first);
        buf_free(&second);
    }
}

static void the_parent_comes_with_the_line(void **state)
{
    (void)state;
    static const char *const text =
        "{\"moonwatch\":{\"type\":\"exec\",\"starttime\":70},\"process\":{\"pid\":7,\"name\":\"sh\","
        "\"parent\":{\"pid\":5,\"name\":\"nginx\",\"entity_id\":\"000000000000b007-5-50\",\"args\":[\"nginx\",\"-g\"]}}}";
    assert_int_equal(line(text), 1);
    assert_non_null(parent);
    assert_int_equal(event_kind(parent), EVENT_SNAPSHOT);
    assert_int_equal(event_int(parent, F_PID, 0), 5);
    assert_int_equal(event_int(parent, F_STARTTIME, 0), 50);
    assert_string_equal(text_of(parent, F_COMM), "nginx");
    assert_string_equal(text_of(parent, F_ARGS), "nginx|-g|");
    assert_int_equal(event_int(ev, F_PPID, 0), 5);
    assert_int_equal(line("{\"moonwatch\":{\"type\":\"exit\"},\"process\":{\"pid\":7}}"), 1);
    assert_null(parent);
}

/* --- those of others ------------------------------------------------------------------------------- */

static void auditbeat_is_understood(void **state)
{
    (void)state;
    assert_int_equal(line("{\"@timestamp\":\"2026-11-25T06:00:00.123Z\",\"event\":{\"module\":\"system\",\"category\":[\"process\"],"
                          "\"type\":[\"start\"],\"action\":\"process_started\"},\"process\":{\"pid\":4711,\"name\":\"curl\","
                          "\"executable\":\"/usr/bin/curl\",\"args\":[\"curl\",\"-s\"],\"working_directory\":\"/tmp\","
                          "\"start\":\"2026-11-25T05:59:59.500Z\",\"parent\":{\"pid\":4700}},\"user\":{\"id\":\"33\","
                          "\"effective\":{\"id\":\"0\"},\"group\":{\"id\":\"33\"}}}"), 1);
    assert_int_equal(event_kind(ev), EVENT_EXEC);
    assert_int_equal(event_int(ev, F_TIME, 0), INT64_C(1795586400123000000));
    assert_int_equal(event_int(ev, F_START, 0), INT64_C(1795586399500000000));
    assert_int_equal(event_int(ev, F_UID, -1), 33);
    assert_int_equal(event_int(ev, F_EUID, -1), 0);
    assert_string_equal(text_of(ev, F_EXE), "/usr/bin/curl");
    assert_string_equal(text_of(ev, F_CWD), "/tmp");
    assert_non_null(parent);
    int64_t start = event_int(ev, F_STARTTIME, -1);
    assert_int_equal(line("{\"@timestamp\":\"2026-11-25T08:00:01.5+02:00\",\"event.category\":\"process\","
                          "\"event.action\":\"process_stopped\",\"process.pid\":4711,\"process.exit_code\":2,"
                          "\"process.start\":\"2026-11-25T05:59:59.500Z\"}"), 1);
    assert_int_equal(event_kind(ev), EVENT_EXIT);
    assert_int_equal(event_int(ev, F_CODE, -1), 2);
    assert_int_equal(event_int(ev, F_STARTTIME, -1), start);
    assert_int_equal(event_int(ev, F_TIME, 0), INT64_C(1795586401500000000));
    assert_int_equal(event_int(ev, F_MONO, 0), INT64_C(1001377000000));
    assert_int_equal(event_int(ev, F_SEQ, 0), 2);
}

static void a_command_line_is_split_when_there_are_no_args(void **state)
{
    (void)state;
    assert_int_equal(line("{\"event\":{\"category\":[\"process\"],\"action\":[\"fork\",\"exec\"]},\"process\":{\"pid\":9,"
                          "\"executable\":\"/opt/a-name-that-is-rather-long\",\"command_line\":\" a  b c \"}}"), 1);
    assert_int_equal(event_kind(ev), EVENT_FORK);
    assert_string_equal(text_of(ev, F_ARGS), "a|b|c|");
    assert_string_equal(text_of(ev, F_COMM), "a-name-that-is-");
    int64_t made_up = event_int(ev, F_STARTTIME, -1);
    assert_true(made_up > 0);
    line("{\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":9}}");
    assert_int_equal(event_int(ev, F_STARTTIME, -1), made_up); /* the same process until its exit */
    line("{\"event\":{\"action\":\"exit\"},\"process\":{\"pid\":9}}");
    assert_int_equal(event_int(ev, F_STARTTIME, -1), made_up);
    line("{\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":9}}");
    assert_int_not_equal(event_int(ev, F_STARTTIME, -1), made_up);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    line("{\"@timestamp\":1795586400.5,\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":1}}");
    assert_int_equal(event_int(ev, F_TIME, 0), INT64_C(1795586400500000000));
    int64_t first = event_int(ev, F_MONO, 0);
    line("{\"@timestamp\":1795586300500,\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":1}}");
    assert_int_equal(event_int(ev, F_MONO, 0), first);
    line("{\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":1}}");
    assert_int_equal(event_int(ev, F_MONO, 0), first);
    assert_true(event_has(ev, F_TIME));
}

static void what_is_no_event_is_passed_over(void **state)
{
    static const char *const lines[] = {
        "", "  \r\n", "{}", "{\"event\":{\"category\":[\"network\"],\"action\":\"start\"},\"process\":{\"pid\":1}}",
        "{\"event\":{\"action\":\"something\"},\"process\":{\"pid\":1}}", "{\"moonwatch\":{\"type\":\"nothing\"}}",
        "{\"event\":\"exec\",\"process\":7}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(line(lines[i]), 0);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *said;
    } lines[] = {
        { "7", "it is no JSON object" }, { "[]", "it is no JSON object" }, { "{\"a\":", "it is no JSON object: " },
        { "{\"event\":{\"action\":\"exec\"}}", "without process.pid" },
        { "{\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":-4}}", "without process.pid" },
        { "{\"event\":{\"action\":\"exec\"},\"process\":{\"pid\":\"x\"}}", "without process.pid" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(line(lines[i].text), -EBADMSG);
        if (!strstr(why, lines[i].said))
            fail_msg("%s: it says %s", lines[i].text, why);
    }
}

static void values_of_other_types_are_left_out(void **state)
{
    (void)state;
    assert_int_equal(line("{\"@timestamp\":{},\"event\":{\"action\":\"exec\",\"sequence\":\"x\"},\"process\":{\"pid\":\"12\",\"name\":7,"
                          "\"executable\":[\"x\"],\"args\":[\"a\",7],\"start\":\"yesterday\",\"exit_code\":1e300,"
                          "\"parent\":[1]},\"user\":{\"id\":\"root\"},\"moonwatch\":{\"raw\":{\"exe\":\"***\"},\"missing\":{\"args\":1}}}"), 1);
    assert_int_equal(event_int(ev, F_PID, 0), 12);
    static const enum event_field none[] = { F_COMM, F_EXE, F_ARGS, F_START, F_CODE, F_UID, F_PPID };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(event_has(ev, none[i]));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_we_write_we_read),
        TEST(the_parent_comes_with_the_line),
        TEST(auditbeat_is_understood),
        TEST(a_command_line_is_split_when_there_are_no_args),
        TEST(time_never_goes_back),
        TEST(what_is_no_event_is_passed_over),
        TEST(what_is_wrong_is_said),
        TEST(values_of_other_types_are_left_out),
    };
    return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
