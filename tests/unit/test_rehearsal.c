/* test_rehearsal.c - tests of scripts are judged by what they claim, and each of them ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "event/event.h"
#include "host/rehearsal.h"
#include "record/recording.h"

#define LIBRARY "local mw = require 'moonwatch'\n"

/* Tells of each exec what its arguments say: severity, text, key. */
#define TELLER                                                                                     \
    LIBRARY "return mw.script { name = 'x', tags = { 'of.script', 'b' }, on = { exec = function(ev)\n" \
            "if ev.args[1] == 'hang' then while true do pcall(error) end end\n"                    \
            "if ev.args[1] == 'grow' then local t = {} for i = 1, 1e9 do t[i] = { i } end end\n"   \
            "if ev.args[1] == 'quiet' then return end\n"                                           \
            "mw.alert { severity = ev.args[1], text = ev.args[2], key = ev.args[3], event = ev }\n" \
            "ev.comm = 'changed'\n"                                                                \
            "end } }\n"

static struct buf told; /* "NAME: passed" or "NAME: WHY", a line each */
static int verdict;       /* of the last test */
static char last_why[4096];
static double limit_s; /* 0: the usual one */

static void ended(void *ctx, const struct rehearsal_result *r)
{
    (void)ctx;
    verdict = r->verdict;
    snprintf(last_why, sizeof last_why, "%s", r->why);
    buf_printf(&told, "%s: %s\n", r->name, r->verdict == REHEARSAL_PASSED ? "passed" : r->why);
}

static int fake_run(void *ctx, struct rehearsal_commands *c);

static const char *rehearsed(const char *script, const char *test)
{
    struct rehearsal_text texts[2] = { { "@x.lua", script, strlen(script) }, { "@x_test.lua", test, strlen(test) } };
    struct rehearsal_world world = { .ended = ended, .run = fake_run, .limit_s = limit_s };
    struct buf why = { 0 };
    buf_clear(&told);
    if (rehearse(&texts[0], &texts[1], &world, &why) < 0)
        buf_printf(&told, "wrong: %s", buf_str(&why));
    buf_free(&why);
    return buf_str(&told);
}

static int end(void **state)
{
    (void)state;
    buf_free(&told);
    log_to(NULL, NULL);
    return 0;
}

static void quiet(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level, (void)text;
}

/* --- alerts --------------------------------------------------------------------------------------- */

static const struct {
    const char *alerts; /* of a test in which high/'a b'/k and low/-/- are told */
    const char *want;
} lists[] = {
    { "{ {}, {} }", "passed" },
    { "{ { severity = 'low' }, { severity = 'high' } }", "passed" },
    { "{ { severity = 'high', text = 'a b', key = 'k', tags = { 'b' }, event = { pid = 7, comm = 'sh', "
      "args = { 'high', 'a b', 'k' }, parent = { comm = 'nginx', parent = { pid = 1 } } } }, { severity = 'low' } }", "passed" },
    { "{ { text = mw.match.glob 'a*' }, { event = { exe = mw.match.endswith { '/sh', '/bash' } } } }", "passed" },
    { "{ { text = mw.match.glob 'a*', tags = mw.match.contains '.script' }, { text = function(t) return t == nil end } }", "passed" },
    /* both fit the first, one of them only that */
    { "{ { event = { comm = 'sh' } }, { key = 'k' } }", "passed" },
    { "{ { key = 'k' }, { event = { comm = 'sh' } } }", "passed" },
    { "{}", "0 alerts wanted, 2 told, 0 of them as wanted; wanted -, told +\n"
            "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, "
            "event = { comm = \"sh\", pid = 7, type = \"exec\" } }\n"
            "  + { severity = \"low\", tags = { \"of.script\", \"b\" }, event = { comm = \"sh\", pid = 1002, type = \"exec\" } }" },
    { "{ { severity = 'critical', key = 'k' }, { severity = 'low' } }",
      "2 alerts wanted, 2 told, 1 of them as wanted; wanted -, told +\n"
      "  - { severity = \"critical\", key = \"k\" }\n"
      "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, "
      "event = { comm = \"sh\", pid = 7, type = \"exec\" } }" },
    { "{ { severity = 'low' }, { severity = 'high' }, { key = 'none', tags = { 'c' } } }",
      "3 alerts wanted, 2 told, 2 of them as wanted; wanted -, told +\n"
      "  - { key = \"none\", tags = { \"c\" } }" },
    { "{ { severity = 'low' }, { severity = 'high', event = { uid = 0, nosuch = 1, parent = { exe = '/x', comm = mw.match.glob 'n*' } } } }",
      "2 alerts wanted, 2 told, 1 of them as wanted; wanted -, told +\n"
      "  - { severity = \"high\", event = { nosuch = 1, parent = { comm = <pattern>, exe = \"/x\" }, uid = 0 } }\n"
      "  + { severity = \"high\", text = \"a b\", key = \"k\", tags = { \"of.script\", \"b\" }, event = { comm = \"sh\", "
      "nosuch = nil, parent = { comm = \"nginx\", exe = \"/usr/bin/nginx\" }, pid = 7, uid = 1000 } }" },
};

static void lists_of_alerts_are_compared_by_what_they_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char test[4096], want[2048];
        snprintf(test, sizeof test,
                 LIBRARY "local nginx = { comm = 'nginx', parent = { pid = 1, comm = 'init' } }\n"
                         "return { { name = 'x', alerts = %s, events = {\n"
                         "{ comm = 'sh', pid = 7, args = { 'high', 'a b', 'k' }, parent = nginx },\n"
                         "{ comm = 'quiet', args = { 'quiet' } },\n"
                         "{ comm = 'sh', args = { 'low' } } } } }",
                 lists[i].alerts);
        snprintf(want, sizeof want, "x: %s\n", lists[i].want);
        const char *found = rehearsed(TELLER, test);
        if (strcmp(found, want))
            fail_msg("%s\nfound  %s\nwanted %s", lists[i].alerts, found, want);
    }
}

static void what_is_no_list_of_alerts_is_said(void **state)
{
    static const char *const cases[][2] = {
        { "{ { severty = 'high' } }", "alerts[1]: an alert has no 'severty': did you mean severity?" },
        { "{ { [7] = 'high' } }", "alerts[1]: an alert has no '7'" },
        { "{ {}, { text = {} } }", "alerts[2]: `text` is a text, or a pattern such as mw.match.glob \"...\", not a table" },
        { "{ { event = 'sh' } }", "alerts[1]: `event` is a table of fields, not a string" },
        { "{ { tags = 'x' } }", "alerts[1]: `tags` is a list of texts, not a string" },
        { "{ { tags = { x = 1 } } }", "alerts[1]: `tags` is a list of texts, not a table" },
        { "{ 'high' }", "`alerts` holds a string at 1, but an alert is a table of what it has" },
        { "{ severity = 'high' }", "`alerts` is a whole number, or a list of tables, one for each alert" },
        { "'high'", "`alerts` is a whole number, how many there are to be, not 'high'" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char test[512], want[512];
        snprintf(test, sizeof test, "return { { name = 'x', events = {}, alerts = %s } }", cases[i][0]);
        snprintf(want, sizeof want, "x: %s\n", cases[i][1]);
        assert_string_equal(rehearsed(TELLER, test), want);
    }
}

static void what_processes_chose_is_shown_on_one_line_and_cut(void **state)
{
    (void)state;
    const char *found = rehearsed(TELLER, "return { { name = 'x', alerts = { { text = 'a\\nb' } }, events = {\n"
                                          "{ args = { 'low', 'x\\27[2J\\n\"\\\\' .. ('y'):rep(500) } } } } }");
    assert_non_null(strstr(found, "\n  - { text = \"a\\x0ab\" }\n"));
    assert_non_null(strstr(found, "text = \"x\\x1b[2J\\x0a\\\"\\\\yyyy"));
    assert_non_null(strstr(found, "yyyy...\" (508 bytes), tags"));
    assert_null(strchr(found, '\x1b'));
}

static void thousands_are_counted_and_twenty_shown(void **state)
{
    (void)state;
    const char *found = rehearsed(TELLER, "local many, some = {}, {}\n"
                                          "for i = 1, 3000 do many[i] = { args = { 'low', 'x', tostring(i) } } end\n"
                                          "for i = 1, 50 do some[i] = { key = 'none' .. i } end\n"
                                          "return { { name = 'x', alerts = some, events = many } }");
    assert_non_null(strstr(found, "50 alerts wanted, 3000 told, 0 of them as wanted"));
    assert_non_null(strstr(found, "\n  - and 30 more\n"));
    assert_non_null(strstr(found, "\n  + and 2980 more\n"));
    assert_true(strlen(found) < 8000);
}

/* An event is changed, and its process forgotten, after the alert. */
static void what_is_told_is_noted_as_it_is_told(void **state)
{
    (void)state;
    assert_string_equal(rehearsed(TELLER, "return { { name = 'x', alerts = { { event = { comm = 'sh' } } }, events = {\n"
                                          "{ comm = 'sh', args = { 'low' } } } } }"), "x: passed\n");
    assert_string_equal(rehearsed(LIBRARY "mw.alert { severity = 'low', text = 'early' }\n"
                                          "return mw.script { name = 'x', on = {} }",
                                  "return { { name = 'x', events = {}, alerts = { { severity = 'low', text = 'early' } } } }"),
                        "x: passed\n");
}

/* --- commands ------------------------------------------------------------------------------------- */

static int fake_result;
static const char *fake_refused, *fake_problem;
static char fake_words[256];

static void add_record(struct buf *records, enum event_kind kind, int pid, int ppid, const char *comm)
{
    static struct event_box box;
    event_begin(&box, kind);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    event_set(&box, F_STARTTIME, pid, WHY_KERNEL);
    event_set(&box, F_SEQ, 4711, WHY_COMPUTED);
    event_set_text(&box, F_COMM, comm, strlen(comm), WHY_KERNEL);
    event_set_text(&box, F_ARGS, "low\0x\0", 6, WHY_KERNEL);
    buf_add(records, &box.ev, box.ev.size);
}

/* An ancestor, a command and what is no record. */
static int fake_run(void *ctx, struct rehearsal_commands *c)
{
    (void)ctx;
    fake_words[0] = '\0';
    for (int i = 0; i < c->len; i++) {
        for (char *const *word = c->argv[i]; *word; word++)
            snprintf(fake_words + strlen(fake_words), sizeof fake_words - strlen(fake_words), "%s|", *word);
        c->status[i] = i + 3;
    }
    add_record(&c->records, EVENT_SNAPSHOT, 10, 1, "nginx");
    add_record(&c->records, EVENT_EXEC, 11, 10, "sh");
    buf_puts(&c->records, "no record: what is torn is not read");
    buf_puts(&c->refused, fake_refused ? fake_refused : "");
    buf_puts(&c->problem, fake_problem ? fake_problem : "");
    return fake_result;
}

static void what_was_told_of_commands_is_played_and_their_status_judged(void **state)
{
    static const struct {
        const char *test, *want;
    } cases[] = {
        { "alerts = { { severity = 'low', event = { pid = 11, seq = 1, parent = { pid = 10, comm = 'nginx' } } } }", "passed" },
        { "alerts = 1, status = { 3, 4 }", "passed" },
        { "alerts = 0", "0 alerts wanted, 1 told" },
        { "status = 3", "command 2, 'b', ends with status 4, not 3" },
        { "status = { 1, 4 }", "command 1, 'a', ends with status 3, not 1" },
        { "status = { 1 }", "`status` is what the commands end with: a number for all of them, or a list of one for each" },
        { "status = -1", "`status` is what the commands end with: a number for all of them, or a list of one for each" },
        { "status = { 1, 'x' }", "`status` is what the commands end with: a number for all of them, or a list of one for each" },
        { "alerts = 0, events = {}", "a test has `events`, `commands` or a `recording`: one of them" },
        { "", "it checks nothing: say how many `alerts`, or which, or which `output`" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char test[512], want[256];
        snprintf(test, sizeof test, "return { { name = 'x', commands = { { 'a', 'x y' }, { 'b' } }, %s } }", cases[i].test);
        snprintf(want, sizeof want, "x: %s\n", cases[i].want);
        assert_string_equal(rehearsed(TELLER, test), want);
    }
    assert_string_equal(fake_words, "a|x y|b|");
}

static void what_is_no_command_is_said_and_nothing_is_run(void **state)
{
    static const char *const cases[][2] = {
        { "'true'", "`commands` is a list of commands, not 'true'" },
        { "{}", "`commands` is a list of commands, not a table" },
        { "{ 'true' }", "`commands` holds 'true', but a command is a list of words: { \"sh\", \"-c\", \"exit 3\" }" },
        { "{ { 'true' }, {} }", "`commands` holds a table, but a command is a list of words: { \"sh\", \"-c\", \"exit 3\" }" },
        { "{ { 'true', 7 } }", "a command is a list of words, texts without a NUL, and one is 7" },
        { "{ { 'a\\0b' } }", "a command is a list of words, texts without a NUL, and one is 'a" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char test[512];
        snprintf(test, sizeof test, "return { { name = 'x', alerts = 0, commands = %s } }", cases[i][0]);
        strcpy(fake_words, "not run");
        assert_non_null(strstr(rehearsed(TELLER, test), cases[i][1]));
        assert_string_equal(fake_words, "not run");
    }
    rehearsed(TELLER, "return { { name = 'x', alerts = 0, events = {}, status = 0 } }");
    assert_string_equal(buf_str(&told), "x: `status` is what commands end with, and this test has none\n");
}

static void commands_that_could_not_be_watched_are_no_failure_and_others_are(void **state)
{
    static const char test[] = "return { { name = 'x', alerts = 0, status = 7, commands = { { 'a' } } } }";
    (void)state;
    fake_refused = "no right to";
    rehearsed(TELLER, test);
    assert_int_equal(verdict, REHEARSAL_SKIPPED);
    assert_string_equal(buf_str(&told), "x: no right to\n");
    fake_refused = NULL;
    fake_problem = "it takes too long";
    rehearsed(TELLER, test);
    assert_int_equal(verdict, REHEARSAL_FAILED);
    assert_string_equal(buf_str(&told), "x: it takes too long\n");
    fake_problem = NULL;
    fake_result = -ENOMEM;
    rehearsed(TELLER, test);
    assert_int_equal(verdict, REHEARSAL_FAILED);
    assert_string_equal(buf_str(&told), "x: the commands cannot be run: Cannot allocate memory\n");
    fake_result = 0;
}

/* --- recordings ----------------------------------------------------------------------------------- */

#define SECOND  INT64_C(1000000000)
#define REAL_NS INT64_C(1717243845123500000)
#define MONO_NS INT64_C(81234567890123)

static char recording_path[64];

static void write_event(struct recording_writer *w, enum event_kind kind, int pid, int ppid, int seconds,
                        const char *comm, bool known)
{
    static struct event_box box;
    static int64_t seq;
    event_begin(&box, kind);
    event_set(&box, F_SEQ, ++seq, WHY_COMPUTED);
    event_set(&box, F_TIME, REAL_NS + seconds * SECOND, WHY_KERNEL);
    event_set(&box, F_MONO, MONO_NS + seconds * SECOND, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    event_set(&box, F_STARTTIME, pid, WHY_KERNEL);
    event_set_text(&box, F_COMM, comm, strlen(comm), WHY_KERNEL);
    event_set_text(&box, F_ARGS, "low\0x\0", 6, WHY_KERNEL);
    recording_event(w, &box.ev, known);
}

/* nginx, known; sh and ls below it, 60 s apart; a gap of 7. */
static int write_recording(void **state)
{
    struct recording_writer *w;
    struct recording_head head = { .boot = 7, .real_ns = REAL_NS - SECOND, .mono_ns = MONO_NS - SECOND };
    (void)state;
    strcpy(recording_path, "/tmp/moonwatch-recording-XXXXXX");
    int fd = mkstemp(recording_path);
    assert_true(fd >= 0);
    assert_int_equal(recording_begin(&w, fd, &head), 0);
    write_event(w, EVENT_SNAPSHOT, 10, 1, 0, "nginx", true);
    write_event(w, EVENT_EXEC, 11, 10, 0, "sh", false);
    recording_gap(w, 7);
    write_event(w, EVENT_EXEC, 12, 10, 60, "ls", false);
    write_event(w, EVENT_EXIT, 12, 10, 60, "ls", false);
    assert_int_equal(recording_end(w), 0);
    close(fd);
    return 0;
}

static int remove_recording(void **state)
{
    (void)state;
    return unlink(recording_path);
}

#define CLOCKED                                                                                    \
    LIBRARY "print('load', mw.now())\n"                                                            \
            "mw.every(25, function() print('timer', mw.now()) end)\n"                              \
            "return mw.script { name = 'x', on = { any = function(ev)\n"                           \
            "print(ev.type, ev.comm, ev.lost, ev.parent and ev.parent.comm, mw.now(), ev.id) end } }\n"

static void a_recording_is_played_in_its_own_time(void **state)
{
    char test[1024];
    (void)state;
    snprintf(test, sizeof test, "return { { name = 'x', recording = '%s', output = {\n"
             "'load\\t1717243845.1235\\nsnapshot\\tnginx\\tnil\\tnil\\t1717243845.1235\\t0000000000000007-10-10\\nexec\\tsh\\tnil\\tnginx\\t1717243845.1235\\t0000000000000007-11-11\\n',\n"
             "'lost\\tnil\\t7\\tnil\\t1717243845.1235',\n"
             "'timer\\t1717243870.1235\\ntimer\\t1717243895.1235\\nexec\\tls\\tnil\\tnginx\\t1717243905.1235' } } }",
             recording_path);
    assert_string_equal(rehearsed(CLOCKED, test), "x: passed\n");
    snprintf(test, sizeof test, "return { { name = 'x', recording = '%s', alerts = { { event = { comm = 'sh' } }, "
             "{ event = { comm = 'ls', parent = { comm = 'nginx' } } } } } }", recording_path);
    assert_string_equal(rehearsed(TELLER, test), "x: passed\n");
}

static void made_up_events_have_a_time_that_passes_too(void **state)
{
    (void)state;
    assert_string_equal(rehearsed(CLOCKED, "return { { name = 'x', events = { { comm = 'a' }, { comm = 'b', at = '1m' } }, output = {\n"
                                           "'load\\t1700000000\\n', 'timer\\t1700000025\\ntimer\\t1700000050\\nexec\\tb' } } }"),
                        "x: passed\n");
    log_to(quiet, NULL);
    limit_s = 0.5;
    assert_string_equal(rehearsed(LIBRARY "mw.every(0.001, function() end)",
                                  "return { { name = 'x', alerts = 0, events = { { at = '3650d' } } } }"),
                        "x: x.lua:2: it was ended: it takes more than 0.5 s\n");
    limit_s = 0;
}

static void what_is_no_recording_is_said(void **state)
{
    (void)state;
    const char *found = rehearsed(TELLER, "return { { name = 'x', alerts = 0, recording = 'no/such.mwr' },\n"
                                          "{ name = 'y', alerts = 0, recording = '/etc/passwd' },\n"
                                          "{ name = 'z', alerts = 0, recording = 7 },\n"
                                          "{ name = 'u', alerts = 0, recording = 'x', events = {} } }");
    assert_non_null(strstr(found, "x: "));
    assert_non_null(strstr(found, "no/such.mwr"));
    assert_non_null(strstr(found, "No such file"));
    assert_non_null(strstr(found, "\ny: "));
    assert_non_null(strstr(found, "/etc/passwd"));
    assert_non_null(strstr(found, "\nz: `recording` is the name of a file beside the test, not 7\n"));
    assert_non_null(strstr(found, "\nu: a test has `events`, `commands` or a `recording`: one of them\n"));
}

static const char *baseline(const char *script, const char *path, uint64_t allow)
{
    struct rehearsal_text text = { "@x.lua", script, strlen(script) };
    struct rehearsal_world world = { .ended = ended, .limit_s = limit_s };
    struct rehearsal_baseline wanted = { path, allow };
    struct buf why = { 0 };
    verdict = -1;
    buf_clear(&told);
    if (rehearse_baseline(&text, &wanted, &world, &why) < 0)
        buf_printf(&told, "wrong: %s", buf_str(&why));
    else if (verdict == REHEARSAL_FAILED) /* its text is figures in any case */
        buf_puts(&told, "failed\n");
    buf_free(&why);
    return buf_str(&told);
}

static void a_baseline_counts_alerts_by_their_keys(void **state)
{
    (void)state;
    log_to(quiet, NULL);
    const char *found = baseline(TELLER, recording_path, 1);
    assert_int_equal(verdict, REHEARSAL_FAILED);
    assert_non_null(strstr(found, "at most 1 alerts in moonwatch-recording-"));
    baseline(TELLER, recording_path, 2);
    assert_int_equal(verdict, REHEARSAL_PASSED);
    assert_string_equal(last_why, "2 alerts, 1000.00 for 1,000 execs: 3 events, 2 execs, 7 events missing\n       2  x");

    baseline(LIBRARY "return mw.script { name = 'x', on = { any = function(ev)\n"
                     "mw.alert { key = ev.comm and ev.comm .. '\\n' .. ('y'):rep(300), event = ev } end } }", recording_path, 9);
    assert_int_equal(verdict, REHEARSAL_PASSED);
    assert_non_null(strstr(last_why, "\n       2  ls\\x0ayyy"));
    assert_non_null(strstr(last_why, "yyy...\n       1  neither key nor text"));
    assert_non_null(strstr(last_why, "\n       1  sh\\x0ayyy"));
    assert_true(strlen(last_why) < 700);

    baseline(LIBRARY "return mw.script { name = 'x', on = { exit = function(ev) error 'no' end } }", recording_path, 9);
    assert_int_equal(verdict, REHEARSAL_FAILED);
    assert_non_null(strstr(last_why, "\n1 errors, the last: x.lua:2: no"));
}

static void a_baseline_ends_and_says_what_is_wrong(void **state)
{
    (void)state;
    log_to(quiet, NULL);
    limit_s = 0.5;
    baseline(LIBRARY "return mw.script { name = 'x', on = { exit = function(ev) while true do end end } }", recording_path, 9);
    assert_int_equal(verdict, REHEARSAL_FAILED);
    assert_non_null(strstr(last_why, "\nx.lua:2: it was ended: it takes more than 0.5 s"));
    limit_s = 0;
    assert_string_equal(baseline("x = = 1", recording_path, 0), "wrong: x.lua:1: unexpected symbol near '='\n\t1 | x = = 1");
    assert_non_null(strstr(baseline(TELLER, "/no/such.mwr", 0), "wrong: "));
    assert_non_null(strstr(buf_str(&told), "/no/such.mwr"));
}

/* --- ends ----------------------------------------------------------------------------------------- */

static void a_test_ends_whoever_hangs(void **state)
{
    static const struct {
        const char *script, *test, *want;
    } cases[] = {
        { TELLER, "return { { name = 'x', alerts = 0, events = { { args = { 'hang' } }, { args = { 'low' } } } },\n"
                  "{ name = 'y', alerts = {{}}, events = { { args = { 'low' } } } } }",
          "x: x.lua:3: it was ended: it takes more than 0.5 s\ny: passed\n" },
        { LIBRARY "while true do end", "return { { name = 'x', alerts = 0, events = {} } }",
          "wrong: x.lua:2: it was ended: it takes more than 0.5 s" },
        { TELLER, "while true do end", "wrong: x_test.lua:1: it was ended: it takes more than 0.5 s" },
        { TELLER, "return { { name = 'x', alerts = { { text = function() while true do end end } }, events = { { args = { 'low' } } } } }",
          "x: x_test.lua:1: it was ended: it takes more than 0.5 s\n" },
        { LIBRARY "mw.at_exit(function() while true do end end)", "return { { name = 'x', alerts = 0, events = {} } }",
          "x: x.lua:2: it was ended: it takes more than 0.5 s\n" },
    };
    (void)state;
    log_to(quiet, NULL);
    limit_s = 0.5;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(rehearsed(cases[i].script, cases[i].test), cases[i].want);
    limit_s = 0;
}

static void memory_has_a_bound(void **state)
{
    (void)state;
    log_to(quiet, NULL);
    const char *found = rehearsed(TELLER, "return { { name = 'x', alerts = 0, events = { { args = { 'grow' } } } } }");
    assert_non_null(strstr(found, "x: 0 errors wanted, 1 thrown\n"));
    assert_non_null(strstr(found, "not enough memory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_alerts_are_compared_by_what_they_name),
        cmocka_unit_test(what_is_no_list_of_alerts_is_said),
        cmocka_unit_test(what_processes_chose_is_shown_on_one_line_and_cut),
        cmocka_unit_test(thousands_are_counted_and_twenty_shown),
        cmocka_unit_test(what_is_told_is_noted_as_it_is_told),
        cmocka_unit_test(what_was_told_of_commands_is_played_and_their_status_judged),
        cmocka_unit_test(what_is_no_command_is_said_and_nothing_is_run),
        cmocka_unit_test(commands_that_could_not_be_watched_are_no_failure_and_others_are),
        cmocka_unit_test_setup_teardown(a_recording_is_played_in_its_own_time, write_recording, remove_recording),
        cmocka_unit_test(made_up_events_have_a_time_that_passes_too),
        cmocka_unit_test(what_is_no_recording_is_said),
        cmocka_unit_test_setup_teardown(a_baseline_counts_alerts_by_their_keys, write_recording, remove_recording),
        cmocka_unit_test_setup_teardown(a_baseline_ends_and_says_what_is_wrong, write_recording, remove_recording),
        cmocka_unit_test(a_test_ends_whoever_hangs),
        cmocka_unit_test(memory_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
