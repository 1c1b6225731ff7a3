/* test_frame.c - a record is one line, one datagram, or fields with their lengths, whatever a
 * process put into its name. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sink/frame.h"

static struct event_box box, parent_box;
static struct buf out;
static struct json_alert alert;
static struct json_context context;
static struct frame_item item;
static char why[256];

#define TEXT(box, field, text) event_set_text(box, field, text, sizeof(text) - 1, WHY_PROC)

static int make_item(void **state)
{
    (void)state;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_TIME, INT64_C(1700000000123456000), WHY_KERNEL);
    event_set(&box, F_PID, 42, WHY_KERNEL);
    event_set(&box, F_STARTTIME, 7, WHY_PROC);
    event_set(&box, F_DELETED, 1, WHY_PROC);
    TEXT(&box, F_COMM, "sh\x1b[2J");
    TEXT(&box, F_EXE, "/usr/bin/dash");
    TEXT(&box, F_ARGS, "sh\0-c\0echo a\nb\0");
    event_begin(&parent_box, EVENT_SNAPSHOT);
    TEXT(&parent_box, F_COMM, "nginx");
    alert = (struct json_alert){ .severity = "high", .script = "web shell" };
    context = (struct json_context){ .boot = 0xab, .parent = &parent_box.ev, .alert = &alert };
    item = (struct frame_item){ .script = "web shell", .ev = &box.ev, .json = &context };
    buf_clear(&out);
    return 0;
}

static void expect_line(const char *template, const char *want)
{
    struct frame *f = NULL;
    if (frame_parse(&f, template, strlen(template), why))
        fail_msg("%s: %s", template, why);
    buf_clear(&out);
    frame_line(&out, f, &item);
    assert_string_equal(buf_str(&out), want);
    frame_free(f);
}

static void a_template_is_filled_in(void **state)
{
    static const char *const tags[] = { "attack.t1505", "x\ny" };
    (void)state;
    expect_line("{time} {severity} {script}: {exe}", "2023-11-14T22:13:20.123456Z high web shell: "
                                                     "/usr/bin/dash");
    expect_line("{type} {pid} {deleted} {code} {parent.comm} {parent.exe} {id}",
                "exec 42 true - nginx - 00000000000000ab-42-7");
    expect_line("{{{pid}}} }}{{", "{42} }{");
    expect_line("", "");
    expect_line("{held} {key} {tags}", "0 - -");
    alert.tags = tags;
    alert.tags_len = 2;
    alert.key = "k";
    alert.key_len = 1;
    alert.held = 3;
    expect_line("{held} {key} {tags}", "3 k attack.t1505,x\\x0ay");
}

static void what_a_process_wrote_is_safe_for_lines_and_terminals(void **state)
{
    (void)state;
    expect_line("{comm}|{cmdline}|{args}", "sh\\x1b[2J|sh -c echo a\\x0ab|sh -c echo a\\x0ab");
}

static void the_text_is_what_the_alert_says_or_what_it_is_about(void **state)
{
    (void)state;
    expect_line("{text}", "/usr/bin/dash (deleted): sh -c 'echo a\\x0ab'");
    alert.text = "it\n";
    alert.text_len = 3;
    expect_line("{text}", "it\\x0a");
    context.alert = NULL;
    expect_line("{severity} {script}", "info web shell");
}

static void unknown_names_and_lone_braces_are_refused(void **state)
{
    static const char *const bad[] = { "{nope}", "{",         "}",         "{pid",
                                       "{pid}}", "a{}",       "{ pid}",    "{parent.code}",
                                       "{{pid}", "{parent.}", "{\x1b[31m}" };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct frame *f = NULL;
        *why = '\0';
        if (frame_parse(&f, bad[i], strlen(bad[i]), why) != -EINVAL || !*why)
            fail_msg("'%s' was taken", bad[i]);
        assert_null(strchr(why, '\x1b'));
    }
    struct frame *f = NULL;
    assert_int_equal(frame_parse(&f, "a\0b", 3, why), -EINVAL);
}

static void a_template_knows_what_it_needs(void **state)
{
    struct frame *f = NULL;
    (void)state;
    assert_int_equal(frame_parse(&f, "{exe} {parent.cwd} {script}", 27, why), 0);
    assert_true(frame_needs(f) == (UINT64_C(1) << F_EXE | UINT64_C(1) << F_CWD));
    frame_free(f);
    assert_int_equal(frame_parse(&f, "{json}", 6, why), 0);
    assert_true(frame_needs(f) == UINT64_MAX);
    frame_free(f);
}

static void without_a_template_it_is_json(void **state)
{
    struct buf want = { 0 };
    (void)state;
    json_event(&want, &box.ev, &context);
    frame_line(&out, NULL, &item);
    assert_string_equal(buf_str(&out), buf_str(&want));
    assert_null(strchr(out.data, '\n'));
    buf_free(&want);
}

static void a_line_of_its_own_stays_one_line(void **state)
{
    (void)state;
    item = (struct frame_item){ .script = "s", .text = "a\tb\nc\x1b[0m", .text_len = 9 };
    frame_line(&out, NULL, &item);
    assert_string_equal(buf_str(&out), "a\tb\\x0ac\\x1b[0m");
    expect_line("{pid}: {text}", "a\tb\\x0ac\\x1b[0m");
    item =
        (struct frame_item){ .script = "s", .text = "{\"a\":1}", .text_len = 7, .is_json = true };
    expect_line("{script} {text} {json}", "s {\"a\":1} {\"a\":1}");
}

/* --- syslog --------------------------------------------------------------------------------- */

static void syslog_has_the_header_of_the_rfc(void **state)
{
    struct frame *f = NULL;
    char host[300], msgid[64], sd[64], message[256], date[64], app[32];
    int priority = 0, version = 0, pid = 0;
    (void)state;
    assert_int_equal(frame_parse(&f, FRAME_LOG, strlen(FRAME_LOG), why), 0);
    frame_begin();
    frame_syslog(&out, f, &item);
    assert_int_equal(sscanf(buf_str(&out), "<%d>%d %63s %299s %31s %d %63s %63s %255[^\n]",
                            &priority, &version, date, host, app, &pid, msgid, sd, message),
                     9);
    assert_int_equal(priority, 10 * 8 + 3);
    assert_int_equal(version, 1);
    assert_string_equal(date, "2023-11-14T22:13:20.123456Z");
    assert_string_equal(app, "moonwatch");
    assert_string_equal(msgid, "web_shell");
    assert_string_equal(sd, "-");
    assert_memory_equal(message, "web shell: /usr/bin/dash", 24);
    frame_free(f);

    context.alert = NULL;
    buf_clear(&out);
    frame_syslog(&out, NULL, &item);
    assert_memory_equal(buf_str(&out), "<30>1 ", 6); /* daemon, info */
}

static void a_long_message_is_cut_at_a_character_and_says_so(void **state)
{
    static char text[20000];
    (void)state;
    for (size_t i = 0; i + 3 <= sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3); /* three bytes each */
    alert.text = text;
    alert.text_len = sizeof text / 3 * 3;
    for (size_t shift = 0; shift < 3; shift++) {
        struct frame *f = NULL;
        assert_int_equal(frame_parse(&f, "xx{text}" + shift, 8 - shift, why), 0);
        buf_clear(&out);
        frame_syslog(&out, f, &item);
        assert_in_range(out.len, FRAME_SYSLOG_MAX - 3, FRAME_SYSLOG_MAX);
        assert_string_equal(buf_str(&out) + out.len - 9, "\xe2\x82\xac [cut]");
        frame_free(f);
    }
}

/* --- journald --------------------------------------------------------------------------------- */

/* The value of a field as a reader of the protocol finds it; NULL when there is none. */
static const char *entry(const char *name, size_t *len)
{
    const char *at = out.data, *end = out.data + out.len;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        const char *equals = memchr(at, '=', (size_t)(line - at));
        size_t name_len = (size_t)((equals ? equals : line) - at);
        bool found = name_len == strlen(name) && !memcmp(at, name, name_len);
        const char *value = equals ? equals + 1 : line + 9;
        if (equals) {
            *len = (size_t)(line - value);
        } else {
            *len = 0;
            for (int i = 0; i < 8; i++)
                *len |= (size_t)(unsigned char)line[1 + i] << (8 * i);
        }
        if (found)
            return value;
        at = value + *len + 1;
    }
    assert_ptr_equal(at, end);
    return NULL;
}

static void expect_entry(const char *name, const char *want)
{
    size_t len;
    const char *value = entry(name, &len);
    if (!value)
        fail_msg("no %s", name);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(value, want, len);
}

static void journald_gets_each_field_as_it_is(void **state)
{
    struct frame *f = NULL;
    size_t len;
    (void)state;
    assert_int_equal(frame_parse(&f, FRAME_LOG, strlen(FRAME_LOG), why), 0);
    frame_journald(&out, f, &item);
    expect_entry("PRIORITY", "3");
    expect_entry("SYSLOG_IDENTIFIER", "moonwatch");
    expect_entry("MOONWATCH_SCRIPT", "web shell");
    expect_entry("MOONWATCH_SEVERITY", "high");
    expect_entry("MOONWATCH_COMM", "sh\x1b[2J");
    expect_entry("MOONWATCH_CMDLINE", "sh -c echo a\nb"); /* with its newline, no line of its own */
    expect_entry("MOONWATCH_PID", "42");
    expect_entry("MOONWATCH_TYPE", "exec");
    assert_non_null(entry("MESSAGE", &len));
    assert_null(entry("b", &len));
    assert_null(entry("NOTHING", &len));
    frame_free(f);
}

static void a_process_cannot_add_a_field_to_the_journal(void **state)
{
    size_t len;
    (void)state;
    TEXT(&box, F_COMM, "x\nPRIORITY=0\n_UID=0");
    alert.key = "k\nFORGED=1";
    alert.key_len = 10;
    frame_journald(&out, NULL, &item);
    expect_entry("PRIORITY", "3");
    assert_null(entry("_UID", &len));
    assert_null(entry("FORGED", &len));
    expect_entry("MOONWATCH_COMM", "x\nPRIORITY=0\n_UID=0");
}

#define CASE(name) cmocka_unit_test_setup(name, make_item)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_template_is_filled_in),
        CASE(what_a_process_wrote_is_safe_for_lines_and_terminals),
        CASE(the_text_is_what_the_alert_says_or_what_it_is_about),
        CASE(unknown_names_and_lone_braces_are_refused),
        CASE(a_template_knows_what_it_needs),
        CASE(without_a_template_it_is_json),
        CASE(a_line_of_its_own_stays_one_line),
        CASE(syslog_has_the_header_of_the_rfc),
        CASE(a_long_message_is_cut_at_a_character_and_says_so),
        CASE(journald_gets_each_field_as_it_is),
        CASE(a_process_cannot_add_a_field_to_the_journal),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&out);
    return failed;
}
