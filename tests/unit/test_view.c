/* test_view.c - one safe, aligned line per event, whatever a process calls itself. */
#include "sink/view.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include <cmocka.h>

#define COUNT(array)         (sizeof(array) / sizeof *(array))
#define TEXT(field, literal) event_set_text(&box, field, literal, sizeof(literal) - 1, WHY_PROC)

/* 2024-06-01 12:10:45.223456789 UTC */
#define NOON INT64_C(1717243845223456789)

static struct event_box box, parent_box;
static struct buf out;
static const struct view narrow = { .columns = 80 }, wide = { .columns = 200 }, uncut = { 0 };

static int prepare(void **state)
{
    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    /* Only for wcwidth, against which the widths are held. */
    return setlocale(LC_CTYPE, "C.UTF-8") || setlocale(LC_CTYPE, "C.utf8") ? 0 : -1;
}

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

static void begin(enum event_kind kind)
{
    event_begin(&box, kind);
    set(F_TIME, NOON);
    set(F_PID, 42);
    TEXT(F_COMM, "sh");
}

static const char *line_of(const struct view *view, int depth)
{
    buf_clear(&out);
    view_event(&out, view, &box.ev, depth, NULL);
    return buf_str(&out);
}

/* What stands behind the columns of an uncut line, without the newline. */
static const char *body_of(void)
{
    static char body[4096];
    const char *line = line_of(&uncut, 0);
    assert_true(out.len > 37);
    snprintf(body, sizeof body, "%s", line + 37);
    body[strcspn(body, "\n")] = '\0';
    return body;
}

/* --- text ------------------------------------------------------------------------------- */

static const struct {
    const char *why, *bytes;
    size_t len;
    int cells;
    const char *want;
    int columns;
} texts[] = {
#define T(why, bytes, cells, want, columns)                                                        \
    {                                                                                              \
        why, bytes, sizeof(bytes) - 1, cells, want, columns                                        \
    }
    T("escape sequence", "\x1b[31mred", 0, "\\x1b[31mred", 11),
    T("newline and NUL", "a\n\0b", 0, "a\\x0a\\x00b", 10),
    T("DEL", "\x7f", 0, "\\x7f", 4),
    T("C1 control",
      "\xc2\x9b"
      "1m",
      0, "\\x9b1m", 6),
    T("right-to-left override", "\xe2\x80\xae", 0, "\\u{202e}", 8),
    T("bidi isolate", "\xe2\x81\xa6", 0, "\\u{2066}", 8),
    T("Arabic letter mark", "\xd8\x9c", 0, "\\u{061c}", 8),
    T("zero-width space",
      "a\xe2\x80\x8b"
      "b",
      0, "a\\u{200b}b", 10),
    T("byte order mark", "\xef\xbb\xbf", 0, "\\u{feff}", 8),
    T("line separator", "\xe2\x80\xa8", 0, "\\u{2028}", 8),
    T("tag character", "\xf3\xa0\x81\x81", 0, "\\u{e0041}", 9),
    T("no-break space", "\xc2\xa0", 0, "\\u{00a0}", 8),
    T("Hangul filler", "\xe3\x85\xa4", 0, "\\u{3164}", 8),
    T("broken UTF-8",
      "\xff\xe2\x82"
      "a",
      0, "\\xff\\xe2\\x82a", 13),
    T("overlong", "\xc0\xaf", 0, "\\xc0\\xaf", 8),
    T("surrogate", "\xed\xa0\x80", 0, "\\xed\\xa0\\x80", 12),
    T("beyond U+10FFFF", "\xf4\x90\x80\x80", 0, "\\xf4\\x90\\x80\\x80", 16),
    T("backslash stays", "a\\b", 0, "a\\b", 3),
    T("mark at the front",
      "\xcc\x81"
      "a",
      0, "\\u{0301}a", 9),
    T("mark upon a letter",
      "e\xcc\x81"
      "a",
      0,
      "e\xcc\x81"
      "a",
      2),
    T("a fourth mark upon a letter", "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81", 0,
      "e\xcc\x81\xcc\x81\xcc\x81\\u{0301}", 9),
    T("wide characters", "\xe4\xb8\xad\xf0\x9f\x98\x80", 0, "\xe4\xb8\xad\xf0\x9f\x98\x80", 4),
    T("fits to the column", "abcd", 4, "abcd", 4),
    T("cut", "abcde", 4, "abc…", 4),
    T("cut to one", "ab", 1, "…", 1),
    T("cut before a wide one", "a\xe4\xb8\xad\xe4\xb8\xad", 4, "a\xe4\xb8\xad…", 4),
    T("a wide one does not fit beside the ellipsis", "ab\xe4\xb8\xad\xe4\xb8\xad", 4, "ab…", 3),
    T("an escape is not split",
      "ab\x1b"
      "cd",
      5, "ab…", 3),
    T("marks upon the last column stay", "abe\xcc\x81", 3, "abe\xcc\x81", 3),
    T("empty", "", 5, "", 0),
#undef T
};

static void text_is_safe_and_cut_to_its_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        buf_clear(&out);
        int columns = view_text(&out, texts[i].bytes, texts[i].len, texts[i].cells);
        if (strcmp(buf_str(&out), texts[i].want) != 0 || columns != texts[i].columns)
            fail_msg("%s: got \"%s\", %d columns", texts[i].why, buf_str(&out), columns);
    }
}

static int encode(uint32_t c, char *to)
{
    if (c < 0x80)
        return to[0] = (char)c, 1;
    if (c < 0x800)
        return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 63));
        to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63));
    to[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void no_character_is_wider_than_it_is_counted(void **state)
{
    (void)state;
    for (uint32_t c = 1; c < 0x110000; c++) {
        char bytes[8] = "x";
        if (c >= 0xd800 && c < 0xe000)
            continue;
        int len = 1 + encode(c, bytes + 1);
        buf_clear(&out);
        int columns = view_text(&out, bytes, (size_t)len, 0) - 1;
        bool shown = (int)out.len == len;
        if (shown && wcwidth((wchar_t)c) > columns)
            fail_msg("U+%04X counts %d, takes %d", c, columns, wcwidth((wchar_t)c));
        if (!shown && out.data[1] != '\\')
            fail_msg("U+%04X is neither shown nor escaped", c);
    }
}

static void common_characters_are_counted_exactly(void **state)
{
    static const uint32_t common[] = { 'a',    0xe9,   0x3b1,  0x416,   0x5d0,   0x301,
                                       0x5b0,  0x64b,  0x2192, 0x2713,  0x2500,  0x3042,
                                       0x4e2d, 0xac00, 0xff21, 0x1f600, 0x1f680, 0x20000 };
    (void)state;
    for (size_t i = 0; i < COUNT(common); i++) {
        char bytes[8] = "x";
        int len = 1 + encode(common[i], bytes + 1);
        buf_clear(&out);
        assert_int_equal(view_text(&out, bytes, (size_t)len, 0) - 1, wcwidth((wchar_t)common[i]));
    }
}

/* --- events ----------------------------------------------------------------------------- */

static void build_fork(void)
{
    set(F_PPID, 7);
}
static void build_exec(void)
{
    TEXT(F_EXE, "/usr/bin/ls");
    TEXT(F_ARGS, "ls\0-l\0a b\0\0it's\0$HOME\0caf\xc3\xa9\0");
}
static void build_exec_alias(void)
{
    TEXT(F_EXE, "/usr/bin/dash");
    TEXT(F_ARGS, "sh\0x\0");
}
static void build_exec_usr_merged(void)
{
    TEXT(F_EXE, "/usr/bin/ls");
    TEXT(F_ARGS, "/bin/ls\0");
}
static void build_exec_impostor(void)
{
    TEXT(F_EXE, "/tmp/ls");
    TEXT(F_ARGS, "/bin/ls\0");
}
static void build_exec_login(void)
{
    TEXT(F_EXE, "/bin/bash");
    TEXT(F_ARGS, "-bash\0");
}
static void build_exec_title(void)
{
    TEXT(F_EXE, "/usr/sbin/nginx");
    TEXT(F_ARGS, "nginx: worker process\0");
}
static void build_exec_deleted(void)
{
    TEXT(F_EXE, "/tmp/x");
    TEXT(F_ARGS, "x\0");
    set(F_DELETED, 1);
}
static void build_exec_unknown(void)
{
    event_set_missing(&box, F_ARGS, WHY_GONE);
}
static void build_exec_long_comm(void)
{
    TEXT(F_COMM, "a-very-long-nam");
    TEXT(F_EXE, "/opt/a-very-long-name-indeed");
}
static void build_exec_injection(void)
{
    TEXT(F_ARGS, "sh\0\x1b]0;title\x07\n12:10:45.223 fake\0");
}
static void build_exit_0(void)
{
    set(F_CODE, 0);
    set(F_DURATION, 1234567);
}
static void build_exit_3(void)
{
    set(F_CODE, 3);
    set(F_DURATION, INT64_C(125999999999));
}
static void build_exit_core(void)
{
    set(F_SIGNAL, 11);
    set(F_CORE, 1);
    set(F_DURATION, INT64_C(3499999999));
}
static void build_exit_unknown(void)
{
    event_set_missing(&box, F_COMM, WHY_UNSEEN);
}
static void build_uid(void)
{
    set(F_WAS_UID, 1000);
    set(F_UID, 0);
    set(F_WAS_EUID, 1000);
    set(F_EUID, 1000);
}
static void build_gid(void)
{
    set(F_GID, 5);
}
static void build_sid(void)
{
    set(F_WAS_SID, 1);
    set(F_SID, 42);
}
static void build_ptrace(void)
{
    set(F_TRACER, 4711);
}
static void build_ptrace_end(void)
{
    set(F_TRACER, 0);
}
static void build_comm(void)
{
    TEXT(F_WAS_COMM, "a\n");
}
static void build_coredump(void)
{
    set(F_SIGNAL, 6);
}
static void build_inferred(void)
{
    set(F_CODE, 0);
    set(F_INFERRED, 1);
}
static void build_lost(void)
{
    set(F_LOST, 123);
    set(F_FROM, NOON - INT64_C(1000000000));
    set(F_UNTIL, NOON);
}
static void build_lost_one(void)
{
    set(F_LOST, 1);
}
static void build_storm_begin(void)
{
    event_set_text(&box, F_PHASE, "begin", 5, WHY_COMPUTED);
    event_set_missing(&box, F_PID, WHY_ABSENT);
}

static void build_storm_sum(void)
{
    event_set_text(&box, F_COMM, "make", 4, WHY_KEPT);
    event_set_text(&box, F_PHASE, "sum", 3, WHY_COMPUTED);
    event_set(&box, F_CHILDREN, 41200, WHY_COMPUTED);
    event_set(&box, F_DISTINCT, 38, WHY_COMPUTED);
    event_set(&box, F_FROM, 0, WHY_COMPUTED);
    event_set(&box, F_UNTIL, INT64_C(60000000000), WHY_COMPUTED);
}

static void build_storm_others(void)
{
    build_storm_sum();
    event_set_missing(&box, F_PID, WHY_ABSENT);
}

static void build_nothing(void)
{
}

static const struct {
    const char *why;
    enum event_kind kind;
    void (*build)(void);
    const char *want;
} bodies[] = {
    { "fork", EVENT_FORK, build_fork, "sh ← 7" },
    { "quotes where a shell needs them", EVENT_EXEC, build_exec,
      "ls -l 'a b' '' 'it'\\''s' '$HOME' caf\xc3\xa9" },
    { "program under another name", EVENT_EXEC, build_exec_alias, "/usr/bin/dash: sh x" },
    { "/bin is /usr/bin", EVENT_EXEC, build_exec_usr_merged, "/bin/ls" },
    { "same name, other directory", EVENT_EXEC, build_exec_impostor, "/tmp/ls: /bin/ls" },
    { "login shell", EVENT_EXEC, build_exec_login, "-bash" },
    { "title", EVENT_SNAPSHOT, build_exec_title, "'nginx: worker process'" },
    { "deleted program", EVENT_EXEC, build_exec_deleted, "/tmp/x (deleted): x" },
    { "arguments not known", EVENT_EXEC, build_exec_unknown, "[sh]" },
    { "name cut by the kernel", EVENT_EXEC, build_exec_long_comm, "[a-very-long-nam]" },
    { "injection", EVENT_EXEC, build_exec_injection,
      "sh '\\x1b]0;title\\x07\\x0a12:10:45.223 fake'" },
    { "exit 0", EVENT_EXIT, build_exit_0, "sh: exit 0 after 1.2 ms" },
    { "exit 3", EVENT_EXIT, build_exit_3, "sh: exit 3 after 2 m 05 s" },
    { "signal", EVENT_EXIT, build_exit_core, "sh: SIGSEGV (core dumped) after 3.4 s" },
    { "nothing known", EVENT_EXIT, build_exit_unknown, "?: exit ?" },
    { "uid", EVENT_UID, build_uid, "sh: uid 1000 → 0, euid 1000" },
    { "gid", EVENT_GID, build_gid, "sh: gid 5" },
    { "sid", EVENT_SID, build_sid, "sh: session 1 → 42" },
    { "attached", EVENT_PTRACE, build_ptrace, "sh: traced by 4711" },
    { "let go", EVENT_PTRACE, build_ptrace_end, "sh: no longer traced" },
    { "comm", EVENT_COMM, build_comm, "a\\x0a → sh" },
    { "coredump", EVENT_COREDUMP, build_coredump, "sh: SIGABRT, dumping core" },
    { "inferred", EVENT_EXIT, build_inferred, "sh: exit 0 (found after a loss)" },
    { "lost", EVENT_LOST, build_lost, "123 events lost, 12:10:44.223 to 12:10:45.223" },
    { "lost one", EVENT_LOST, build_lost_one, "1 event lost" },
    { "lost, not counted", EVENT_LOST, build_nothing, "some events lost" },
    { "reload", EVENT_RELOAD, build_nothing, "scripts reloaded" },
    { "storm begins", EVENT_STORM, build_storm_begin, "storm: begin" },
    { "storm summed", EVENT_STORM, build_storm_sum,
      "make: 41200 children in 1 m 00 s, 38 distinct comm" },
    { "storm summed of the others", EVENT_STORM, build_storm_others,
      "others: 41200 children in 1 m 00 s, 38 distinct comm" },
    { "no event", EVENT_NONE, build_nothing, "sh" },
};

static void every_kind_says_what_happened(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bodies); i++) {
        begin(bodies[i].kind);
        bodies[i].build();
        if (strcmp(body_of(), bodies[i].want) != 0)
            fail_msg("%s: got \"%s\"", bodies[i].why, body_of());
    }
}

static const struct {
    int64_t ns;
    const char *want;
} durations[] = {
    { -1, " 0 us" },
    { 99999, " 99 us" },
    { 100000, " 0.1 ms" },
    { 999999999, " 999.9 ms" },
    { INT64_C(1000000000), " 1.0 s" },
    { INT64_C(59999999999), " 59.9 s" },
    { INT64_C(60000000000), " 1 m 00 s" },
    { INT64_C(3599999999999), " 59 m 59 s" },
    { INT64_C(3600000000000), " 1 h 00 m" },
    { INT64_C(86400000000000), " 1 d 00 h" },
    { INT64_MAX, " 106751 d 23 h" },
};

static void durations_have_the_unit_that_fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(durations); i++) {
        begin(EVENT_EXIT);
        set(F_DURATION, durations[i].ns);
        assert_string_equal(strrchr(body_of(), 'r') + 1, durations[i].want);
    }
}

static void columns_are_aligned_under_their_heading(void **state)
{
    (void)state;
    buf_clear(&out);
    view_heading(&out, &narrow);
    assert_string_equal(buf_str(&out), "TIME             PID EVENT    PROCESS\n");
    begin(EVENT_COREDUMP);
    assert_string_equal(line_of(&narrow, 0), "12:10:45.223      42 coredump sh: dumping core\n");
    begin(EVENT_FORK);
    set(F_PID, 4194304);
    assert_string_equal(line_of(&narrow, 1), "12:10:45.223 4194304 fork       sh\n");
    begin(EVENT_FORK);
    event_set_missing(&box, F_TIME, WHY_GONE);
    assert_string_equal(line_of(&narrow, 0), "                  42 fork     sh\n");

    buf_clear(&out);
    view_heading(&out, &wide);
    assert_string_equal(buf_str(&out), "TIME             PID    UID EVENT    PROCESS\n");
    begin(EVENT_FORK);
    set(F_UID, 1000);
    assert_string_equal(line_of(&wide, 0), "12:10:45.223      42   1000 fork     sh\n");
    set(F_EUID, 0);
    assert_string_equal(line_of(&wide, 0), "12:10:45.223      42      0 fork     sh\n");
}

static void the_date_is_there_when_asked(void **state)
{
    struct view view = { .columns = 80, .date = true };
    (void)state;
    begin(EVENT_FORK);
    assert_string_equal(line_of(&view, 0), "2024-06-01 12:10:45.223      42 fork     sh\n");
    set(F_TIME, -1);
    assert_string_equal(line_of(&view, 0), "1969-12-31 23:59:59.999      42 fork     sh\n");
    buf_clear(&out);
    view_heading(&out, &view);
    assert_string_equal(buf_str(&out), "TIME                        PID EVENT    PROCESS\n");
}

static void deep_trees_leave_thirty_columns_for_the_text(void **state)
{
    (void)state;
    begin(EVENT_EXEC);
    TEXT(F_ARGS, "0123456789012345678901234567890\0");
    for (int depth = 10; depth < 100000; depth = depth * 7) {
        line_of(&narrow, depth);
        assert_int_equal(strcspn(out.data, "\n"), 50 + 29 + strlen("…"));
        assert_memory_equal(out.data + 50, "01234567890123456789012345678…\n", 33);
    }
    assert_non_null(strstr(line_of(&narrow, 2), "exec         0123"));
    assert_non_null(strstr(line_of(&narrow, -2), "exec     0123"));
}

static void a_process_without_a_name_borrows_that_of_its_parent(void **state)
{
    (void)state;
    event_begin(&parent_box, EVENT_SNAPSHOT);
    event_set_text(&parent_box, F_COMM, "make", 4, WHY_PROC);
    begin(EVENT_FORK);
    event_set_missing(&box, F_COMM, WHY_UNSEEN);
    buf_clear(&out);
    view_event(&out, &narrow, &box.ev, 0, &parent_box.ev);
    box.ev.cell[F_TYPE].num = EVENT_SNAPSHOT;
    view_event(&out, &narrow, &box.ev, 0, &parent_box.ev);
    box.ev.cell[F_TYPE].num = EVENT_EXEC; /* a new program has a new name */
    view_event(&out, &narrow, &box.ev, 0, &parent_box.ev);
    assert_string_equal(buf_str(&out), "12:10:45.223      42 fork     make\n"
                                       "12:10:45.223      42 snapshot [make]\n"
                                       "12:10:45.223      42 exec     [?]\n");
}

static const struct {
    const char *why;
    enum event_kind kind;
    void (*build)(void);
    const char *want;
} colours[] = {
    { "exec is green", EVENT_EXEC, build_exec_usr_merged, "\033[32mexec\033[0m     /bin/ls\n" },
    { "exit 0 is dim", EVENT_EXIT, build_exit_0,
      "\033[2mexit\033[0m     \033[2msh: exit 0 after 1.2 ms\033[0m\n" },
    { "failing is red", EVENT_EXIT, build_exit_3,
      "\033[31mexit\033[0m     \033[31msh: exit 3 after 2 m 05 s\033[0m\n" },
    { "a loss is loud", EVENT_LOST, build_lost_one,
      "\033[1;31mlost\033[0m     \033[1;31m1 event lost\033[0m\n" },
    { "uid is yellow", EVENT_UID, build_uid,
      "\033[33muid\033[0m      sh: uid 1000 → 0, euid 1000\n" },
};

static void colours_carry_the_meaning(void **state)
{
    struct view view = { .columns = 80, .colour = true };
    (void)state;
    for (size_t i = 0; i < COUNT(colours); i++) {
        begin(colours[i].kind);
        colours[i].build();
        const char *line = line_of(&view, 0), *prefix = "\033[2m12:10:45.223\033[0m      42 ";
        assert_memory_equal(line, prefix, strlen(prefix));
        if (strcmp(line + strlen(prefix), colours[i].want) != 0)
            fail_msg("%s: got %s", colours[i].why, line);
    }
}

static void a_cut_line_resets_its_colour(void **state)
{
    (void)state;
    begin(EVENT_EXIT);
    build_exit_3();
    for (int columns = 1; columns < 60; columns++) {
        struct view view = { .columns = columns, .colour = true };
        const char *line = line_of(&view, 0);
        assert_string_equal(line + out.len - 5, "\033[0m\n");
    }
}

/* --- processes and alerts --------------------------------------------------------------- */

static void a_process_reads_like_ps(void **state)
{
    (void)state;
    buf_clear(&out);
    view_process_heading(&out, &narrow);
    begin(EVENT_SNAPSHOT);
    set(F_PPID, 1);
    set(F_EUID, 1000);
    set(F_START, NOON - INT64_C(3600000000000));
    TEXT(F_TTY, "pts/3");
    TEXT(F_CONTAINER, "0123456789ab");
    TEXT(F_ARGS, "sh\0-c\0a b\0");
    view_process(&out, &narrow, &box.ev, "");
    view_process(&out, &narrow, &box.ev, "|-- ");
    view_process_heading(&out, &wide);
    view_process(&out, &wide, &box.ev, "");

    event_begin(&box, EVENT_SNAPSHOT);
    set(F_TIME, NOON);
    set(F_START, NOON - INT64_C(86400000000000) * 3);
    view_process(&out, &wide, &box.ev, "");
    set(F_START, NOON - INT64_C(86400000000000) * 300);
    view_process(&out, &narrow, &box.ev, "");

    assert_string_equal(buf_str(&out),
                        "    PID    PPID    UID TTY      START COMMAND\n"
                        "     42       1   1000 pts/3    11:10 sh -c 'a b'\n"
                        "     42       1   1000 pts/3    11:10 |-- sh -c 'a b'\n"
                        "    PID    PPID    UID TTY      START CONTAINER    COMMAND\n"
                        "     42       1   1000 pts/3    11:10 0123456789ab sh -c 'a b'\n"
                        "      ?       ?      ? ?        May29 -            [?]\n"
                        "      ?       ?      ? ?         2023 [?]\n");
}

static void an_alert_is_one_line_whatever_it_says(void **state)
{
    struct view view = { .columns = 80, .colour = true };
    (void)state;
    begin(EVENT_EXEC);
    buf_clear(&out);
    view_alert(&out, &narrow, "high", "from-tmp", "a\n\x1b[0m", 6, &box.ev);
    assert_string_equal(buf_str(&out),
                        "12:10:45.223 ALERT high     from-tmp: a\\x0a\\x1b[0m (42 sh)\n");

    buf_clear(&out);
    view_alert(&out, &view, "critical", "s", "t", 1, &box.ev);
    assert_string_equal(buf_str(&out),
                        "\033[2m12:10:45.223\033[0m \033[1;31mALERT\033[0m "
                        "\033[1;37;41mcritical\033[0m \033[1ms\033[0m: t\033[2m (42 sh)\033[0m\n");

    TEXT(F_ARGS, "sh\0-c\0id\0");
    buf_clear(&out);
    view_alert(&out, &narrow, "low", "s", NULL, 0, &box.ev);
    assert_string_equal(buf_str(&out), "12:10:45.223 ALERT low      s: sh -c id (42 sh)\n");

    buf_clear(&out);
    view_alert(&out, &narrow, "no such\x1b", "s\r", "t", 1, NULL);
    assert_string_equal(buf_str(&out) + 12, " ALERT no such\\x1b s\\x0d: t\n");
}

static void signals_have_their_linux_names(void **state)
{
    static const struct {
        int number;
        const char *want;
    } cases[] = {
        { 1, "SIGHUP" },
        { 9, "SIGKILL" },
        { 11, "SIGSEGV" },
        { 15, "SIGTERM" },
        { 31, "SIGSYS" },
        { 32, "signal 32" },
        { 34, "SIGRTMIN" },
        { 64, "SIGRTMIN+30" },
        { 65, "signal 65" },
        { 0, "signal 0" },
        { -1, "signal -1" },
        { 99, "signal 99" },
        { INT32_MIN, "signal -2147483648" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(view_signal_name(cases[i].number), cases[i].want);
    for (int number = 1; number < 32; number++)
        assert_memory_equal(view_signal_name(number), "SIG", 3);
}

/* --- any bytes -------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 11) % n);
}

static size_t random_bytes(char *to, size_t cap)
{
    static const char *const pieces[] = {
        "\xcc\x81", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xe2\x80\xae", "\xf3\xa0\x81\x81",
        "\x1b[31m", "\xe2\x82",     "\xc2\x9b",         "text",         "'",
        " ",        "\n",
    };
    size_t len = 0, want = below((unsigned)cap - 8);

    while (len < want) {
        const char *piece = pieces[below(COUNT(pieces))];
        if (below(3) == 0) {
            to[len++] = (char)below(256);
        } else {
            memcpy(to + len, piece, strlen(piece));
            len += strlen(piece);
        }
    }
    return len;
}

static void random_event(struct event_box *to)
{
    char bytes[200];

    event_begin(to, (enum event_kind)below(EVENT_KINDS));
    for (int field = F_TYPE + 1; field < EVENT_FIELDS; field++) {
        if (below(4) == 0)
            continue;
        if (event_is_text(field))
            event_set_text(to, field, bytes, random_bytes(bytes, sizeof bytes), WHY_PROC);
        else
            event_set(to, field, below(2) ? (int64_t)below(100000) : (int64_t)(seed * 31),
                      WHY_PROC);
    }
}

/* Is there "\033[", digits and semicolons, "m" here? */
static size_t colour_length(const char *at)
{
    if (strncmp(at, "\033[", 2) != 0)
        return 0;
    size_t len = 2 + strspn(at + 2, "0123456789;");
    return at[len] == 'm' ? len + 1 : 0;
}

static void check_line(const char *line, const struct view *view)
{
    int columns = 0;
    bool tinted = false;

    for (const char *at = line; *at != '\n' || at[1];) {
        size_t colour = colour_length(at);
        if (colour) {
            assert_true(view->colour);
            tinted = strncmp(at, "\033[0m", 4) != 0;
            at += colour;
            continue;
        }
        wchar_t c;
        int len = mbtowc(&c, at, 8);
        if (len < 1 || c < 0x20 || (c >= 0x7f && c < 0xa0))
            fail_msg("unsafe at byte %d of %s", (int)(at - line), line);
        columns += wcwidth(c) < 0 ? 1 : wcwidth(c);
        at += len;
    }
    assert_false(tinted);
    if (view->columns > 0 && columns > view->columns)
        fail_msg("%d columns of %d: %s", columns, view->columns, line);
}

static void add_line(int what, const struct view *view)
{
    char text[200];
    size_t len = random_bytes(text, sizeof text - 1);
    int depth = (int)below(50) - 2;

    text[len] = '\0';
    buf_clear(&out);
    if (what == 0)
        view_event(&out, view, &box.ev, depth, below(2) ? &parent_box.ev : NULL);
    else if (what == 1)
        view_process(&out, view, &box.ev, below(2) ? "├── " : text);
    else if (what == 2)
        view_alert(&out, view, below(2) ? "high" : text, text, text, len,
                   below(2) ? &box.ev : NULL);
    else if (what == 3)
        view_heading(&out, view);
    else
        view_process_heading(&out, view);
}

static void any_bytes_make_one_safe_line_inside_its_columns(void **state)
{
    static const int widths[] = { 0, 1, 2, 3, 10, 20, 31, 32, 33, 60, 80, 100, 160, 200 };
    (void)state;
    for (int i = 0; i < 30000; i++) {
        struct view view = { .columns = widths[below(COUNT(widths))],
                             .colour = below(2),
                             .date = below(4) == 0 };
        random_event(&box);
        random_event(&parent_box);
        add_line(i % 5, &view);
        assert_int_equal(strlen(buf_str(&out)), out.len);
        check_line(buf_str(&out), &view);
    }
}

static void nothing_is_written_into_a_failed_buffer(void **state)
{
    struct buf failed = { .failed = true };
    struct view view = { .columns = 5, .colour = true };
    (void)state;
    begin(EVENT_EXIT);
    view_event(&failed, &view, &box.ev, 0, NULL);
    assert_int_equal(failed.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_safe_and_cut_to_its_columns),
        cmocka_unit_test(no_character_is_wider_than_it_is_counted),
        cmocka_unit_test(common_characters_are_counted_exactly),
        cmocka_unit_test(every_kind_says_what_happened),
        cmocka_unit_test(durations_have_the_unit_that_fits),
        cmocka_unit_test(columns_are_aligned_under_their_heading),
        cmocka_unit_test(the_date_is_there_when_asked),
        cmocka_unit_test(deep_trees_leave_thirty_columns_for_the_text),
        cmocka_unit_test(a_process_without_a_name_borrows_that_of_its_parent),
        cmocka_unit_test(colours_carry_the_meaning),
        cmocka_unit_test(a_cut_line_resets_its_colour),
        cmocka_unit_test(a_process_reads_like_ps),
        cmocka_unit_test(an_alert_is_one_line_whatever_it_says),
        cmocka_unit_test(signals_have_their_linux_names),
        cmocka_unit_test(any_bytes_make_one_safe_line_inside_its_columns),
        cmocka_unit_test(nothing_is_written_into_a_failed_buffer),
    };
    return cmocka_run_group_tests(tests, prepare, release);
}
