/* test_json.c - what is written parses everywhere and says exactly what the event says. */
#include "event/json.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array)              (sizeof(array) / sizeof *(array))
#define TEXT(box, field, literal) event_set_text(box, field, literal, sizeof(literal) - 1, WHY_PROC)

static struct event_box box, parent_box;
static struct buf out;

static int release(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static void set(enum event_field field, int64_t value)
{
    event_set(&box, field, value, WHY_KERNEL);
}

static const char *json_of(const struct json_context *context)
{
    buf_clear(&out);
    json_event(&out, &box.ev, context);
    return buf_str(&out);
}

static const char *plain_json(void)
{
    static const struct json_context context = { .boot = 0xab };
    return json_of(&context);
}

/* --- the parts -------------------------------------------------------------------------- */

#define BAD "\xef\xbf\xbd"

static const struct {
    const char *why, *bytes;
    size_t len;
    const char *want;
    bool clean;
} strings[] = {
#define S(why, bytes, want, clean)                                                                 \
    {                                                                                              \
        why, bytes, sizeof(bytes) - 1, want, clean                                                 \
    }
    S("stray continuation", "a\x80", "\"a" BAD "\"", false),
    S("overlong slash is two", "\xc0\xaf", "\"" BAD BAD "\"", false),
    S("overlong of three is three", "\xe0\x80\xaf", "\"" BAD BAD BAD "\"", false),
    S("surrogate is three", "\xed\xa0\x80", "\"" BAD BAD BAD "\"", false),
    S("beyond U+10FFFF", "\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"", false),
    S("cut after two of three is one", "\xe2\x82", "\"" BAD "\"", false),
    S("cut after three of four is one",
      "\xf0\x9f\x98"
      "x",
      "\"" BAD "x\"", false),
    S("fe and ff", "\xfe\xff", "\"" BAD BAD "\"", false),
    S("good behind bad", "\xe2(\xc3\xa9", "\"" BAD "(\xc3\xa9\"", false),
    S("control characters", "\x01\x1f", "\"\\u0001\\u001f\"", true),
    S("NUL", "a\0b", "\"a\\u0000b\"", true),
    S("short forms", "\"\\\b\f\n\r\t/", "\"\\\"\\\\\\b\\f\\n\\r\\t/\"", true),
    S("DEL", "\x7f", "\"\\u007f\"", true),
    S("C1 control",
      "\xc2\x9b"
      "1m\xc2\xa0",
      "\"\\u009b1m\xc2\xa0\"", true),
    S("line separators", "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\"",
      true),
    S("two, three, four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
      "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", true),
    S("the ends of the ranges",
      "\xc2\xa1\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
      "\"\xc2\xa1\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
      true),
    S("empty", "", "\"\"", true),
    S("long plain text", "0123456789abcdef !#$[]^~", "\"0123456789abcdef !#$[]^~\"", true),
#undef S
};

static void strings_are_escaped_and_repaired(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(strings); i++) {
        buf_clear(&out);
        bool clean = json_string(&out, strings[i].bytes, strings[i].len);
        if (strcmp(buf_str(&out), strings[i].want) != 0 || clean != strings[i].clean)
            fail_msg("%s: got %s, clean %d", strings[i].why, buf_str(&out), clean);
    }
}

/* Eight bytes are looked at as one word. */
static void every_byte_is_treated_alike_at_every_place_in_a_word(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char alone[16], bytes[17];
        buf_clear(&out);
        json_string(&out, (char[]){ (char)c }, 1);
        snprintf(alone, sizeof alone, "%.*s", (int)out.len - 2, out.data + 1);
        for (int at = 0; at < 16; at++) {
            memset(bytes, 'x', sizeof bytes);
            bytes[at] = (char)c;
            buf_clear(&out);
            json_string(&out, bytes, sizeof bytes);
            buf_str(&out);
            assert_memory_equal(out.data + 1 + at, alone, strlen(alone));
            assert_int_equal(out.len, 2 + 16 + strlen(alone));
        }
    }
}

static const struct {
    int64_t value;
    const char *want;
} ints[] = {
    { 0, "0" },
    { -1, "-1" },
    { 4294967295, "4294967295" },
    { INT64_C(9007199254740992), "9007199254740992" },
    { INT64_C(9007199254740993), "\"9007199254740993\"" },
    { -INT64_C(9007199254740992), "-9007199254740992" },
    { -INT64_C(9007199254740993), "\"-9007199254740993\"" },
    { INT64_MAX, "\"9223372036854775807\"" },
    { INT64_MIN, "\"-9223372036854775808\"" },
};

static void integers_are_exact_and_strings_where_doubles_are_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ints); i++) {
        buf_clear(&out);
        json_int(&out, ints[i].value);
        assert_string_equal(buf_str(&out), ints[i].want);
    }
}

static const struct {
    double value;
    const char *want;
} numbers[] = {
    { NAN, "null" },
    { INFINITY, "null" },
    { -INFINITY, "null" },
    { 0, "0" },
    { -3, "-3" },
    { 1.5, "1.5" },
    { 0.1, "0.1" },
    { 1.0 / 3, "0.3333333333333333" },
    { 1e300, "1e+300" },
    { 5e-324, "4.94065645841247e-324" },
    { 9007199254740992.0, "9007199254740992" },
    { 18014398509481984.0, "18014398509481984" },
    { 1700000000.123456, "1700000000.123456" },
};

static void numbers_read_back_as_the_same_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        buf_clear(&out);
        json_number(&out, numbers[i].value);
        assert_string_equal(buf_str(&out), numbers[i].want);
        if (isfinite(numbers[i].value))
            assert_true(strtod(buf_str(&out), NULL) == numbers[i].value);
    }
}

static const struct {
    int64_t ns;
    const char *want;
} times[] = {
    { 0, "\"1970-01-01T00:00:00.000000Z\"" },
    { -1, "\"1969-12-31T23:59:59.999999Z\"" },
    { 999, "\"1970-01-01T00:00:00.000000Z\"" },
    { INT64_C(951782400000001000), "\"2000-02-29T00:00:00.000001Z\"" },
    { INT64_C(4107542399999999999), "\"2100-02-28T23:59:59.999999Z\"" },
    { INT64_C(4107542400000000000), "\"2100-03-01T00:00:00.000000Z\"" },
    { INT64_C(1735689599999999000), "\"2024-12-31T23:59:59.999999Z\"" },
    { INT64_MAX, "\"2262-04-11T23:47:16.854775Z\"" },
    { INT64_MIN, "\"1677-09-21T00:12:43.145224Z\"" },
};

static void times_are_iso_8601_in_utc(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        buf_clear(&out);
        json_time(&out, times[i].ns);
        assert_string_equal(buf_str(&out), times[i].want);
    }
}

static void days_agree_with_gmtime_over_four_centuries(void **state)
{
    (void)state;
    for (int64_t day = -106000; day < 106000; day++) {
        time_t second = day * 86400;
        struct tm tm;
        char want[64];
        gmtime_r(&second, &tm);
        strftime(want, sizeof want, "\"%Y-%m-%dT%H:%M:%S.000000Z\"", &tm);
        buf_clear(&out);
        json_time(&out, day * 86400 * INT64_C(1000000000));
        assert_string_equal(buf_str(&out), want);
    }
}

/* --- events ----------------------------------------------------------------------------- */

static void an_exit_reads_like_this(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXIT);
    set(F_SEQ, 7);
    set(F_TIME, INT64_C(1717243845223456789));
    set(F_MONO, INT64_C(81234000000123));
    set(F_PID, 42);
    set(F_PPID, 1);
    set(F_STARTTIME, 99);
    TEXT(&box, F_COMM, "sh");
    set(F_CODE, 3);
    set(F_DURATION, INT64_C(1234567890));
    assert_string_equal(
        plain_json(),
        "{\"@timestamp\":\"2024-06-01T12:10:45.223456Z\",\"ecs\":{\"version\":\"8.11.0\"},"
        "\"event\":{\"kind\":\"event\",\"category\":[\"process\"],\"type\":[\"end\"],"
        "\"action\":\"end\",\"sequence\":7,\"duration\":1234567890},"
        "\"process\":{\"pid\":42,\"name\":\"sh\",\"exit_code\":3,"
        "\"entity_id\":\"00000000000000ab-42-99\",\"parent\":{\"pid\":1}},"
        "\"moonwatch\":{\"type\":\"exit\",\"mono\":81234.000000123,\"starttime\":99}}");
}

static void an_exec_with_its_parent_reads_like_this(void **state)
{
    (void)state;
    event_begin(&parent_box, EVENT_SNAPSHOT);
    event_set(&parent_box, F_PID, 41, WHY_PROC);
    event_set(&parent_box, F_STARTTIME, 5, WHY_PROC);
    event_set(&parent_box, F_START, 0, WHY_PROC);
    TEXT(&parent_box, F_COMM, "ba\xff");
    TEXT(&parent_box, F_EXE, "/bin/bash");
    TEXT(&parent_box, F_ARGS, "bash\0-l\0");

    event_begin(&box, EVENT_EXEC);
    set(F_PID, 42);
    set(F_TID, 42);
    set(F_PPID, 41);
    set(F_EUID, 1000);
    set(F_DELETED, 1);
    event_set_missing(&box, F_EXE, WHY_GONE);
    event_set_missing(&box, F_CWD, WHY_DENIED);
    TEXT(&box, F_ARGS, "ls\0\0-\x80\0");
    TEXT(&box, F_CONTAINER, "0123456789ab");
    TEXT(&box, F_WAS_COMM, "\xff");

    struct json_context context = { .boot = 0xab, .host = "h\n", .parent = &parent_box.ev };
    assert_string_equal(
        json_of(&context),
        "{\"ecs\":{\"version\":\"8.11.0\"},"
        "\"event\":{\"kind\":\"event\",\"category\":[\"process\"],\"type\":[\"start\"],"
        "\"action\":\"exec\"},"
        "\"process\":{\"pid\":42,\"args\":[\"ls\",\"\",\"-" BAD "\"],\"args_count\":3,"
        "\"command_line\":\"ls  -" BAD "\","
        "\"parent\":{\"pid\":41,\"entity_id\":\"00000000000000ab-41-5\",\"name\":\"ba" BAD "\","
        "\"executable\":\"/bin/bash\",\"args\":[\"bash\",\"-l\"],\"args_count\":2,"
        "\"command_line\":\"bash -l\",\"start\":\"1970-01-01T00:00:00.000000Z\"},"
        "\"thread\":{\"id\":42},\"user\":{\"id\":\"1000\"}},"
        "\"container\":{\"id\":\"0123456789ab\"},\"host\":{\"name\":\"h\\n\"},"
        "\"moonwatch\":{\"type\":\"exec\",\"deleted\":true,\"was\":{\"comm\":\"" BAD "\"},"
        "\"missing\":{\"exe\":\"gone before read\",\"cwd\":\"permission denied\"},"
        "\"raw\":{\"args\":\"bHMAAC2AAA==\",\"was.comm\":\"/w==\",\"parent.comm\":\"YmH/\"}}}");
}

static void a_loss_reads_like_this(void **state)
{
    (void)state;
    event_begin(&box, EVENT_LOST);
    set(F_LOST, 12);
    set(F_FROM, 0);
    set(F_UNTIL, 1000000000);
    assert_string_equal(
        plain_json(),
        "{\"ecs\":{\"version\":\"8.11.0\"},"
        "\"event\":{\"kind\":\"event\",\"category\":[\"process\"],\"type\":[\"info\"],"
        "\"action\":\"lost\",\"start\":\"1970-01-01T00:00:00.000000Z\","
        "\"end\":\"1970-01-01T00:00:01.000000Z\"},"
        "\"moonwatch\":{\"type\":\"lost\",\"lost\":12}}");
}

static const struct {
    enum event_kind kind;
    const char *type, *action;
} kinds[] = {
    { EVENT_NONE, "info", "none" },
    { EVENT_FORK, "start", "fork" },
    { EVENT_EXEC, "start", "exec" },
    { EVENT_EXIT, "end", "end" },
    { EVENT_UID, "change", "uid_change" },
    { EVENT_GID, "change", "gid_change" },
    { EVENT_SID, "change", "session_id_change" },
    { EVENT_PTRACE, "change", "ptrace" },
    { EVENT_COMM, "change", "comm" },
    { EVENT_COREDUMP, "info", "coredump" },
    { EVENT_SNAPSHOT, "info", "snapshot" },
    { EVENT_LOST, "info", "lost" },
    { EVENT_RELOAD, "info", "reload" },
    { EVENT_STORM, "info", "storm" },
};

static void every_kind_has_its_ecs_type_and_action(void **state)
{
    (void)state;
    assert_int_equal(COUNT(kinds), EVENT_KINDS);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char want[512];
        event_begin(&box, kinds[i].kind);
        snprintf(want, sizeof want,
                 "{\"ecs\":{\"version\":\"8.11.0\"},\"event\":{\"kind\":\"event\",\"category\":"
                 "[\"process\"],\"type\":[\"%s\"],\"action\":\"%s\"},\"moonwatch\":{\"type\":"
                 "\"%s\"}}",
                 kinds[i].type, kinds[i].action, event_kind_name(kinds[i].kind));
        assert_string_equal(plain_json(), want);
    }
}

static void an_alert_adds_its_rule_to_the_event(void **state)
{
    static const char *const tags[] = { "attack.t1059", "a\"b" };
    struct json_alert alert = { .severity = "high",
                                .script = "from-tmp",
                                .text = "ran\n\xff",
                                .text_len = 5,
                                .tags = tags,
                                .tags_len = 2,
                                .held = 3,
                                .key = "k\xc0",
                                .key_len = 2 };
    struct json_context context = { .alert = &alert, .labels = "{\"a\":1}", .labels_len = 7 };
    (void)state;
    event_begin(&box, EVENT_EXEC);
    set(F_TIME, 0);
    set(F_PID, 42);
    assert_string_equal(
        json_of(&context),
        "{\"@timestamp\":\"1970-01-01T00:00:00.000000Z\",\"message\":\"ran\\n" BAD "\","
        "\"labels\":{\"a\":1},\"ecs\":{\"version\":\"8.11.0\"},"
        "\"event\":{\"kind\":\"alert\",\"category\":[\"process\"],\"type\":[\"start\"],"
        "\"action\":\"exec\",\"severity\":73},"
        "\"rule\":{\"name\":\"from-tmp\",\"tags\":[\"attack.t1059\",\"a\\\"b\"]},"
        "\"process\":{\"pid\":42},"
        "\"moonwatch\":{\"type\":\"exec\","
        "\"alert\":{\"severity\":\"high\",\"held\":3,\"key\":\"k" BAD "\"},"
        "\"raw\":{\"message\":\"cmFuCv8=\",\"alert.key\":\"a8A=\"}}}");
}

static void an_alert_about_no_event_bears_the_time_of_day(void **state)
{
    struct json_alert alert = { .severity = "urgent" };
    struct json_context context = { .alert = &alert };
    char today[32];
    (void)state;
    time_t now = time(NULL);
    buf_clear(&out);
    json_event(&out, NULL, &context);
    const char *got = buf_str(&out);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(today, sizeof today, "{\"@timestamp\":\"%Y-", &tm);
    assert_memory_equal(got, today, strlen(today));
    assert_string_equal(strchr(got, ','), ",\"ecs\":{\"version\":\"8.11.0\"},"
                                          "\"event\":{\"kind\":\"alert\"},"
                                          "\"moonwatch\":{\"alert\":{\"severity\":\"urgent\"}}}");
}

static void a_parent_is_numbered_by_itself_when_ppid_is_not_known(void **state)
{
    (void)state;
    event_begin(&parent_box, EVENT_SNAPSHOT);
    event_set(&parent_box, F_PID, 41, WHY_PROC);
    event_begin(&box, EVENT_FORK);
    struct json_context context = { .parent = &parent_box.ev };
    assert_non_null(strstr(json_of(&context), "\"process\":{\"parent\":{\"pid\":41}}"));
}

static void entity_id_is_what_event_id_says(void **state)
{
    static const int64_t values[] = { 0, 1, 4194304, INT64_MAX, INT64_MIN };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        struct json_context context = { .boot = UINT64_C(0xfedcba9876543210) };
        char id[EVENT_ID_MAX], want[EVENT_ID_MAX + 32];
        event_begin(&box, EVENT_EXEC);
        set(F_PID, values[i]);
        set(F_STARTTIME, values[COUNT(values) - 1 - i]);
        assert_true(event_id(&box.ev, context.boot, id));
        snprintf(want, sizeof want, "\"entity_id\":\"%s\"", id);
        assert_non_null(strstr(json_of(&context), want));
    }
}

static void command_line_is_what_event_cmdline_says(void **state)
{
    char line[64], want[128];
    (void)state;
    event_begin(&box, EVENT_EXEC);
    TEXT(&box, F_ARGS, "a\0\0b c\0");
    size_t len = event_cmdline(&box.ev, line, sizeof line);
    snprintf(want, sizeof want, "\"command_line\":\"%.*s\"", (int)len, line);
    assert_non_null(strstr(plain_json(), want));
}

static void an_empty_argument_vector_is_an_empty_array(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_ARGS, "", 0, WHY_PROC);
    assert_non_null(strstr(plain_json(), "\"args\":[],\"args_count\":0,\"command_line\":\"\""));
}

static void false_is_absent(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    set(F_DELETED, 0);
    assert_null(strstr(plain_json(), "deleted"));
}

static void spans_are_exact(void **state)
{
    static const struct {
        int64_t ns;
        const char *want;
    } cases[] = {
        { 1, "\"mono\":0.000000001" },
        { -1500000000, "\"mono\":-1.500000000" },
        { INT64_MAX, "\"mono\":9223372036.854775807" },
        { INT64_MIN, "\"mono\":-9223372036.854775808" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        event_begin(&box, EVENT_EXEC);
        set(F_MONO, cases[i].ns);
        assert_non_null(strstr(plain_json(), cases[i].want));
    }
}

static void an_unknown_reason_is_still_named(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set_missing(&box, F_EXE, (enum event_why)0xff);
    assert_non_null(strstr(plain_json(), "\"missing\":{\"exe\":\"missing\"}"));
}

static void events_are_appended_and_written_alike_each_time(void **state)
{
    struct json_context context = { .boot = 1 };
    (void)state;
    event_begin(&box, EVENT_FORK);
    buf_clear(&out);
    buf_puts(&out, "x");
    json_event(&out, &box.ev, &context);
    size_t len = out.len - 1;
    json_event(&out, &box.ev, &context);
    assert_int_equal(out.len, 1 + 2 * len);
    assert_memory_equal(out.data + 1, out.data + 1 + len, len);
}

static void nothing_is_written_into_a_failed_buffer(void **state)
{
    struct buf failed = { .failed = true };
    struct json_context context = { .boot = 1 };
    (void)state;
    event_begin(&box, EVENT_FORK);
    json_event(&failed, &box.ev, &context);
    json_string(&failed, "x", 1);
    json_int(&failed, 1);
    json_time(&failed, 1);
    json_number(&failed, 1.5);
    assert_int_equal(failed.len, 0);
}

/* Written to a fresh buffer; json_event asserts that it reserved enough. */
static void write_fresh(const struct event *ev, const struct json_context *context)
{
    struct buf fresh = { 0 };
    json_event(&fresh, ev, context);
    assert_false(fresh.failed);
    buf_free(&fresh);
}

static void write_filled(const char *bytes, size_t len)
{
    struct json_alert alert = { .text = bytes, .text_len = len, .held = INT64_MIN };
    struct json_context with_alert = { .alert = &alert }, with_parent = { .parent = &box.ev };
    struct json_context alone = { .boot = 1 };

    write_fresh(NULL, &with_alert);
    alert = (struct json_alert){ .key = bytes, .key_len = len };
    write_fresh(NULL, &with_alert);
    for (int field = F_TYPE; field < EVENT_FIELDS; field++) {
        event_begin(&box, EVENT_EXEC);
        for (int other = F_TYPE + 1; other < EVENT_FIELDS; other++)
            if (!event_is_text(other))
                set(other, INT64_MIN);
        if (event_is_text(field))
            event_set_text(&box, field, bytes, len, WHY_PROC);
        write_fresh(&box.ev, &alone);
        write_fresh(&box.ev, &with_parent);
    }
}

/* A record may be as large as it likes and made of what grows most. */
static void the_worst_texts_fit(void **state)
{
    static const char fills[] = { '\x01', '\xff', '\0', '"', '\xc3' };
    static char bytes[EVENT_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < COUNT(fills); i++) {
        memset(bytes, fills[i], sizeof bytes);
        write_filled(bytes, 0);
        write_filled(bytes, 100);
        write_filled(bytes, sizeof bytes);
    }
}

static void every_field_missing_fits(void **state)
{
    struct json_context context = { .boot = 1 };
    (void)state;
    event_begin(&box, EVENT_EXEC);
    for (int field = F_TYPE + 1; field < EVENT_FIELDS; field++)
        event_set_missing(&box, field, WHY_EVICTED);
    write_fresh(&box.ev, &context);
}

/* --- against another implementation ----------------------------------------------------- */

static uint64_t seed = 88172645463325252;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 11) % n);
}

/* Any bytes, with enough of UTF-8 among them. */
static size_t random_bytes(char *to, size_t cap)
{
    static const char *const pieces[] = {
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xe2\x80\xa8",
        "\xf4\x90", "\xe2\x82",     "\xf0\x9f\x98",     "\xc2\x85",     "plain text of some length",
        "\"\\",     "\x1b[31m",
    };
    size_t len = 0, want = below((unsigned)cap - 32);
    bool ascii = below(3) == 0;

    while (len < want) {
        const char *piece = pieces[below(COUNT(pieces))];
        if (ascii || below(2)) {
            to[len++] = (char)(ascii ? 1 + below(127) : 1 + below(255));
        } else {
            memcpy(to + len, piece, strlen(piece));
            len += strlen(piece);
        }
    }
    return len;
}

static void put_hex(FILE *to, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        fprintf(to, "%02x", (unsigned char)bytes[i]);
    fputc(' ', to);
}

/* Reads lines of "hex hex hex hex JSON". Python repairs UTF-8 by maximal subparts, too. */
static const char check_texts[] =
    "import sys, json, base64\n"
    "def pairs(items):\n"
    "    seen = dict(items)\n"
    "    assert len(seen) == len(items), items\n"
    "    assert None not in seen.values()\n"
    "    return seen\n"
    "for line in sys.stdin.buffer:\n"
    "    *texts, text = line.rstrip(b\"\\n\").split(b\" \", 4)\n"
    "    assert all(c >= 32 and c != 127 for c in text)\n"
    "    comm, exe, args, was = (bytes.fromhex(t.decode()) for t in texts)\n"
    "    j = json.loads(text.decode(\"utf-8\"), object_pairs_hook=pairs)\n"
    "    p, raw = j[\"process\"], j[\"moonwatch\"].get(\"raw\", {})\n"
    "    def same(name, shown, was):\n"
    "        good = was.decode(\"utf-8\", \"replace\")\n"
    "        assert shown == good, (shown, was)\n"
    "        try:\n"
    "            was.decode(\"utf-8\")\n"
    "            assert name not in raw\n"
    "        except UnicodeDecodeError:\n"
    "            assert base64.b64decode(raw[name], validate=True) == was\n"
    "    same(\"comm\", p[\"name\"], comm)\n"
    "    same(\"exe\", p[\"executable\"], exe)\n"
    "    same(\"was.exe\", p[\"previous\"][\"executable\"], was)\n"
    "    same(\"args\", \"\".join(a + \"\\0\" for a in p[\"args\"]), args)\n"
    "    same(\"parent.args\", \"\".join(a + \"\\0\" for a in p[\"parent\"][\"args\"]), args)\n"
    "    assert p[\"args_count\"] == len(p[\"args\"])\n"
    "    assert p[\"command_line\"] == \" \".join(p[\"args\"])\n";

static FILE *python(const char *script)
{
    static char command[8192];

    signal(SIGPIPE, SIG_IGN);
    snprintf(command, sizeof command, "python3 -c '%s'", script);
    FILE *to = popen(command, "w");
    assert_non_null(to);
    return to;
}

static void random_event(FILE *to)
{
    char comm[300], exe[300], args[600], was[300];
    size_t comm_len = random_bytes(comm, sizeof comm), exe_len = random_bytes(exe, sizeof exe);
    size_t args_len = random_bytes(args, sizeof args - 1), was_len = random_bytes(was, sizeof was);

    for (int i = 0; args_len && i < 4; i++)
        args[below((unsigned)args_len)] = '\0';
    args[args_len++] = '\0';

    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_COMM, comm, comm_len, WHY_PROC);
    event_set_text(&box, F_EXE, exe, exe_len, WHY_PROC);
    event_set_text(&box, F_ARGS, args, args_len, WHY_PROC);
    event_set_text(&box, F_WAS_EXE, was, was_len, WHY_PROC);
    put_hex(to, comm, comm_len);
    put_hex(to, exe, exe_len);
    put_hex(to, args, args_len);
    put_hex(to, was, was_len);
    struct json_context context = { .boot = 1, .host = "host", .parent = &box.ev };
    fprintf(to, "%s\n", json_of(&context));
}

static void any_bytes_parse_and_come_back(void **state)
{
    FILE *to = python(check_texts);
    (void)state;
    for (int i = 0; i < 3000; i++)
        random_event(to);
    assert_int_equal(pclose(to), 0);
}

/* First line the JSON, then "path value" for every field. */
static const char check_paths[] = "import sys, json\n"
                                  "j = json.loads(sys.stdin.readline())\n"
                                  "for line in sys.stdin:\n"
                                  "    path, want = line.split()\n"
                                  "    at = j\n"
                                  "    for part in path.split(\".\"):\n"
                                  "        at = at[part]\n"
                                  "    at = at[0] if isinstance(at, list) else at\n"
                                  "    assert str(at) == want, (path, at, want)\n";

static void expect_at_path(FILE *to, int field)
{
    const struct event_field_info *info = &event_fields[field];

    assert_true(*info->ecs);
    fprintf(to, "%s ", info->ecs);
    if (field == F_TYPE)
        fprintf(to, "exec\n");
    else if (info->type == TYPE_TEXT || info->type == TYPE_ARGS)
        fprintf(to, "text-%d\n", field);
    else if (info->type == TYPE_BOOL)
        fprintf(to, "True\n");
    else if (info->type == TYPE_TIME)
        fprintf(to, "1970-01-01T00:00:00.%06dZ\n", field);
    else if (info->type == TYPE_SPAN && field != F_DURATION)
        fprintf(to, "%d.5\n", field);
    else
        fprintf(to, "%d\n", field);
}

static void set_field(int field)
{
    const struct event_field_info *info = &event_fields[field];
    char text[32];

    if (info->type >= TYPE_TEXT) {
        snprintf(text, sizeof text, "text-%d", field);
        event_set_text(&box, field, text, strlen(text) + (info->type == TYPE_ARGS), WHY_PROC);
    } else if (info->type == TYPE_TIME) {
        set(field, field * 1000);
    } else if (info->type == TYPE_SPAN && field != F_DURATION) {
        set(field, field * INT64_C(1000000000) + 500000000);
    } else if (field != F_TYPE) {
        set(field, field);
    }
}

static void every_field_is_at_its_ecs_path(void **state)
{
    FILE *to = python(check_paths);
    (void)state;
    event_begin(&box, EVENT_EXEC);
    for (int field = 0; field < EVENT_FIELDS; field++)
        set_field(field);
    fprintf(to, "%s\n", plain_json());
    for (int field = 0; field < EVENT_FIELDS; field++)
        expect_at_path(to, field);
    fprintf(to, "%s 00000000000000ab-%d-%d\n", event_derived[DERIVED_ID].ecs, F_PID, F_STARTTIME);
    fprintf(to, "%s text-%d\n", event_derived[DERIVED_CMDLINE].ecs, F_ARGS);
    assert_int_equal(pclose(to), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_and_repaired),
        cmocka_unit_test(every_byte_is_treated_alike_at_every_place_in_a_word),
        cmocka_unit_test(integers_are_exact_and_strings_where_doubles_are_not),
        cmocka_unit_test(numbers_read_back_as_the_same_double),
        cmocka_unit_test(times_are_iso_8601_in_utc),
        cmocka_unit_test(days_agree_with_gmtime_over_four_centuries),
        cmocka_unit_test(an_exit_reads_like_this),
        cmocka_unit_test(an_exec_with_its_parent_reads_like_this),
        cmocka_unit_test(a_loss_reads_like_this),
        cmocka_unit_test(every_kind_has_its_ecs_type_and_action),
        cmocka_unit_test(an_alert_adds_its_rule_to_the_event),
        cmocka_unit_test(an_alert_about_no_event_bears_the_time_of_day),
        cmocka_unit_test(a_parent_is_numbered_by_itself_when_ppid_is_not_known),
        cmocka_unit_test(entity_id_is_what_event_id_says),
        cmocka_unit_test(command_line_is_what_event_cmdline_says),
        cmocka_unit_test(an_empty_argument_vector_is_an_empty_array),
        cmocka_unit_test(false_is_absent),
        cmocka_unit_test(spans_are_exact),
        cmocka_unit_test(an_unknown_reason_is_still_named),
        cmocka_unit_test(events_are_appended_and_written_alike_each_time),
        cmocka_unit_test(nothing_is_written_into_a_failed_buffer),
        cmocka_unit_test(the_worst_texts_fit),
        cmocka_unit_test(every_field_missing_fits),
        cmocka_unit_test(any_bytes_parse_and_come_back),
        cmocka_unit_test(every_field_is_at_its_ecs_path),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
