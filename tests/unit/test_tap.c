/* test_tap.c - the tap's records, made by hand: every field, every reason, and no byte too far. */
#include "collect/tap.h"

#include "base/clock.h"

#include <linux/types.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "collect/tap_record.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BOOT         INT64_C(1700000000000000000)
#define GROUPED      (FIELD(CGROUP) | FIELD(CONTAINER))
#define ALL          PROCFS_FIELDS

/* --- a record by hand ---------------------------------------------------------------------- */

static struct event_box box;
static char *record; /* owned: just as long as it claims, so that reading on is seen */
static size_t record_len;

static int begin(void **state)
{
    (void)state;
    record = NULL;
    event_begin(&box, EVENT_EXEC);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(record);
    return 0;
}

static const struct tap_exec plain = {
    .head = { TAP_EXEC, 7, 1000 },
    .start_boot_ns = 50123456789,
    .cgroup_key = 99,
    .ppid = 3,
    .sid = 5,
    .uid = 10,
    .euid = 11,
    .gid = 20,
    .egid = 21,
    .loginuid = 1000,
    .tty_nr = 0x8803,
    .comm = "worker",
};

/* Components from the last to the first. */
static void make(struct tap_exec exec, const char *exe, size_t exe_len, const char *cwd,
                 size_t cwd_len, const char *args, size_t args_len)
{
    exec.exe.len = (__u32)exe_len;
    exec.cwd.len = (__u32)cwd_len;
    exec.args_len = (__u32)args_len;
    record_len = sizeof exec + exe_len + cwd_len + args_len;
    free(record);
    record = malloc(record_len);
    memcpy(record, &exec, sizeof exec);
    memcpy(record + sizeof exec, exe, exe_len);
    memcpy(record + sizeof exec + exe_len, cwd, cwd_len);
    memcpy(record + sizeof exec + exe_len + cwd_len, args, args_len);
    event_begin(&box, EVENT_EXEC);
}

#define MAKE(exec, exe, cwd, args)                                                                 \
    make(exec, exe, sizeof exe - 1, cwd, sizeof cwd - 1, args, sizeof args - 1)

static uint64_t fill(uint64_t wanted)
{
    uint64_t rest = tap_fill(record, record_len, BOOT, wanted, &box);
    assert_true(event_valid(&box, sizeof box));
    return rest;
}

static void assert_text(enum event_field field, const char *want, size_t want_len)
{
    size_t len;
    const char *text = event_text(&box.ev, field, &len);
    if (!text || len != want_len || memcmp(text, want, len) != 0)
        fail_msg("%s is '%.*s'", event_fields[field].name, (int)len, text ? text : "");
    assert_int_equal(box.ev.why[field], WHY_TAP);
}

static void assert_str(enum event_field field, const char *want)
{
    assert_text(field, want, strlen(want));
}

static void assert_num(enum event_field field, int64_t want)
{
    assert_int_equal(box.ev.why[field], WHY_TAP);
    assert_int_equal(box.ev.cell[field].num, want);
}

/* --- execs --------------------------------------------------------------------------------- */

static void each_field_is_told_by_the_tap(void **state)
{
    (void)state;
    MAKE(plain, "work\0bin\0usr\0", "srv\0", "work\0-x\0");
    assert_int_equal(fill(ALL), GROUPED);
    assert_num(F_PPID, 3);
    assert_num(F_SID, 5);
    assert_num(F_UID, 10);
    assert_num(F_EUID, 11);
    assert_num(F_GID, 20);
    assert_num(F_EGID, 21);
    assert_num(F_LOGINUID, 1000);
    assert_num(F_START, 50123456789 + BOOT);
    assert_num(F_STARTTIME, 5012);
    assert_str(F_COMM, "worker");
    assert_str(F_TTY, "pts/3");
    assert_str(F_EXE, "/usr/bin/work");
    assert_str(F_CWD, "/srv");
    assert_text(F_ARGS, "work\0-x", 8);
    assert_int_equal(box.ev.why[F_DELETED], WHY_ABSENT);
    assert_int_equal(box.ev.why[F_TRUNCATED], WHY_ABSENT);
    assert_int_equal(tap_cgroup_key(record), 99);
}

static void only_what_is_wanted_is_set(void **state)
{
    (void)state;
    for (int f = 0; f < EVENT_FIELDS; f++) {
        uint64_t bit = UINT64_C(1) << f;
        if (!(ALL & bit))
            continue;
        MAKE(plain, "work\0bin\0", "srv\0", "work\0");
        for (int g = EVENT_FIRST_STATE; g <= EVENT_LAST_STATE; g++)
            event_set_missing(&box, g, WHY_EVICTED);
        assert_int_equal(fill(bit), bit & GROUPED);
        for (int g = EVENT_FIRST_STATE; g <= EVENT_LAST_STATE; g++)
            if (g != f && box.ev.why[g] != WHY_EVICTED)
                fail_msg("%s was set, only %s was wanted", event_fields[g].name,
                         event_fields[f].name);
        if (!(bit & GROUPED))
            assert_int_not_equal(box.ev.why[f], WHY_EVICTED);
    }
    MAKE(plain, "work\0", "srv\0", "work\0");
    assert_int_equal(fill(0), 0);
}

static void what_is_missing_is_left_for_proc(void **state)
{
    (void)state;
    struct tap_exec exec = plain;
    exec.exe.missing = exec.cwd.missing = exec.args_missing = exec.loginuid_missing = 1;
    uint64_t missing = FIELD(EXE) | FIELD(DELETED) | FIELD(CWD) | FIELD(ARGS) | FIELD(LOGINUID);
    MAKE(exec, "", "", "");
    for (int g = EVENT_FIRST_STATE; g <= EVENT_LAST_STATE; g++)
        event_set_missing(&box, g, WHY_EVICTED);
    assert_int_equal(fill(ALL), missing | GROUPED);
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (missing >> f & 1)
            assert_int_equal(box.ev.why[f], WHY_EVICTED);
    assert_int_equal(fill(FIELD(EXE) | FIELD(UID)), FIELD(EXE));
}

static void what_does_not_apply_is_absent(void **state)
{
    (void)state;
    struct tap_exec exec = plain;
    exec.loginuid = UINT32_MAX;
    exec.tty_nr = 0;
    MAKE(exec, "work\0", "", "");
    assert_int_equal(fill(ALL), GROUPED);
    assert_int_equal(box.ev.why[F_LOGINUID], WHY_ABSENT);
    assert_int_equal(box.ev.why[F_TTY], WHY_ABSENT);
    assert_int_equal(box.ev.why[F_DELETED], WHY_ABSENT);
    assert_str(F_CWD, "/");
}

static void terminals_have_the_names_of_proc(void **state)
{
    static const struct {
        uint32_t number;
        const char *name;
    } cases[] = { { 0x8803, "pts/3" },       { 0x108800, "pts/256" }, { 0x401, "tty1" },
                  { 0x440, "ttyS0" },        { 0x501, "console" },    { 0xfff00fff, "255:1048575" } };
    (void)state;
    for (size_t i = 0; i + 1 < COUNT(cases); i++) {
        struct tap_exec exec = plain;
        exec.tty_nr = cases[i].number;
        MAKE(exec, "", "", "");
        fill(FIELD(TTY));
        assert_str(F_TTY, cases[i].name);
    }
    struct tap_exec exec = plain;
    for (exec.tty_nr = 1; exec.tty_nr; exec.tty_nr <<= 1) {
        MAKE(exec, "", "", "");
        assert_int_equal(fill(FIELD(TTY)), 0);
        assert_int_equal(box.ev.why[F_TTY], WHY_TAP);
    }
}

static void a_name_fills_its_sixteen_bytes(void **state)
{
    (void)state;
    struct tap_exec exec = plain;
    memcpy(exec.comm, "sixteen bytes ab", 16);
    MAKE(exec, "", "", "");
    fill(FIELD(COMM));
    assert_str(F_COMM, "sixteen bytes ab");
    exec.comm[0] = '\0';
    MAKE(exec, "", "", "");
    fill(FIELD(COMM));
    assert_str(F_COMM, "");
}

/* --- paths --------------------------------------------------------------------------------- */

static void paths_are_turned_around(void **state)
{
    (void)state;
    for (int count = 0; count <= 60; count++) {
        char turned[512] = "", want[512] = "";
        size_t len = 0, want_len = 0;
        for (int i = count; i > 0; i--)
            len += (size_t)sprintf(turned + len, "part%d", i) + 1;
        for (int i = 1; i <= count; i++)
            want_len += (size_t)sprintf(want + want_len, "/part%d", i);
        make(plain, turned, len, turned, len, "", 0);
        assert_int_equal(fill(FIELD(EXE) | FIELD(CWD)), 0);
        assert_str(F_EXE, count ? want : "/");
        assert_str(F_CWD, count ? want : "/");
    }
}

static void odd_components_are_kept_byte_by_byte(void **state)
{
    (void)state;
    MAKE(plain, "two\nlines\0\x1b[31m\0\xff\xfe\0", "\\\0 \0", "");
    fill(FIELD(EXE) | FIELD(CWD));
    assert_str(F_EXE, "/\xff\xfe/\x1b[31m/two\nlines");
    assert_str(F_CWD, "/ /\\");
    MAKE(plain, "open end", "\0\0", ""); /* what the tap never writes, but nothing breaks */
    fill(FIELD(EXE) | FIELD(CWD));
    assert_str(F_EXE, "/open end");
    assert_str(F_CWD, "//");
}

static void the_longest_paths_fit(void **state)
{
    char bytes[TAP_PATH_MAX + 256];
    size_t len;
    (void)state;
    struct tap_exec exec = plain;
    exec.cwd.deleted = 1; /* and its suffix too */
    memset(bytes, 'x', sizeof bytes);
    bytes[sizeof bytes - 1] = '\0';
    make(exec, bytes, sizeof bytes, bytes, sizeof bytes, "", 0);
    assert_int_equal(fill(FIELD(EXE) | FIELD(CWD)), 0);
    event_text(&box.ev, F_EXE, &len);
    assert_int_equal(len, sizeof bytes);
    event_text(&box.ev, F_CWD, &len);
    assert_int_equal(len, sizeof bytes + strlen(" (deleted)"));
    memset(bytes, 0, sizeof bytes);
    make(exec, bytes, sizeof bytes, bytes, sizeof bytes, "", 0);
    assert_int_equal(fill(FIELD(EXE) | FIELD(CWD)), 0);
}

static void a_cut_path_has_no_first_slash(void **state)
{
    (void)state;
    struct tap_exec exec = plain;
    exec.exe.cut = 1;
    MAKE(exec, "work\0bin\0", "srv\0", "work\0");
    fill(ALL);
    assert_str(F_EXE, "bin/work");
    assert_str(F_CWD, "/srv");
    assert_num(F_TRUNCATED, 1);
    exec.exe.cut = 0, exec.cwd.cut = exec.cwd.deleted = 1;
    MAKE(exec, "work\0bin\0", "srv\0", "work\0");
    fill(ALL);
    assert_str(F_EXE, "/bin/work");
    assert_str(F_CWD, "srv (deleted)");
    assert_num(F_TRUNCATED, 1);
    exec.exe.cut = 1;
    MAKE(exec, "", "", "");
    fill(FIELD(EXE));
    assert_str(F_EXE, "");
}

static void what_is_deleted_is_told_as_proc_does(void **state)
{
    (void)state;
    struct tap_exec exec = plain;
    exec.exe.deleted = exec.cwd.deleted = 1;
    MAKE(exec, "work\0bin\0", "srv\0", "");
    fill(ALL);
    assert_str(F_EXE, "/bin/work");
    assert_num(F_DELETED, 1);
    assert_str(F_CWD, "/srv (deleted)");
    exec.exe.deleted = 0, exec.exe.pseudo = 1;
    MAKE(exec, "memfd:x\0", "srv\0", "");
    fill(ALL);
    assert_str(F_EXE, "/memfd:x");
    assert_num(F_DELETED, 1);
}

/* --- args ---------------------------------------------------------------------------------- */

static void args_are_told_byte_by_byte(void **state)
{
    (void)state;
    MAKE(plain, "", "", "");
    assert_int_equal(fill(FIELD(ARGS)), 0);
    assert_text(F_ARGS, "", 0);
    MAKE(plain, "", "", "\0");
    fill(FIELD(ARGS));
    assert_text(F_ARGS, "", 1);
    MAKE(plain, "", "", "\0a\0\0\xff\n\0");
    fill(FIELD(ARGS));
    assert_text(F_ARGS, "\0a\0\0\xff\n", 7);
}

static void the_most_args_are_told_and_longer_ones_are_cut(void **state)
{
    static char bytes[TAP_ARGS_MAX];
    size_t len;
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    bytes[sizeof bytes - 1] = '\0';
    make(plain, "a", 2, "b", 2, bytes, sizeof bytes);
    assert_int_equal(fill(ALL), GROUPED);
    assert_text(F_ARGS, bytes, sizeof bytes);
    assert_int_equal(box.ev.why[F_TRUNCATED], WHY_ABSENT);

    struct tap_exec exec = plain;
    exec.args_cut = 1;
    bytes[sizeof bytes - 1] = 'x';
    make(exec, "a", 2, "b", 2, bytes, sizeof bytes);
    fill(ALL);
    event_text(&box.ev, F_ARGS, &len);
    assert_int_equal(len, sizeof bytes + 1); /* ended by a NUL of our own */
    assert_num(F_TRUNCATED, 1);
}

/* --- hostile records ----------------------------------------------------------------------- */

static void a_record_that_claims_too_much_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t exe, cwd, args;
    } cases[] = {
        { "exe by one", 13, 4, 5 },
        { "cwd by one", 12, 5, 5 },
        { "args by one", 12, 4, 6 },
        { "exe beyond its bound", TAP_PATH_MAX + 257, 0, 0 },
        { "cwd beyond its bound", 0, TAP_PATH_MAX + 257, 0 },
        { "args beyond their bound", 0, 0, TAP_ARGS_MAX + 1 },
        { "sums that wrap", UINT32_MAX, UINT32_MAX, UINT32_MAX },
        { "a sum that wraps to what is there", UINT32_MAX, 1, 5 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        MAKE(plain, "work\0bin\0usr", "srv\0", "work\0");
        struct tap_exec *exec = (struct tap_exec *)record;
        exec->exe.len = cases[i].exe;
        exec->cwd.len = cases[i].cwd;
        exec->args_len = cases[i].args;
        if (fill(ALL) != ALL || event_has(&box.ev, F_COMM))
            fail_msg("%s", cases[i].why);
    }
    MAKE(plain, "work\0bin\0", "srv\0", "work\0"); /* all of it is there, but it says little */
    for (size_t len = 0; len < record_len; len++) {
        char *part = malloc(len + !len);
        memcpy(part, record, len);
        assert_int_equal(tap_fill(part, len, BOOT, ALL, &box), ALL);
        free(part);
    }
    /* its bounds hold also where there are bytes enough */
    static char bytes[TAP_ARGS_MAX + TAP_PATH_MAX];
    make(plain, bytes, TAP_PATH_MAX + 257, "", 0, "", 0);
    assert_int_equal(fill(ALL), ALL);
    make(plain, "", 0, "", 0, bytes, TAP_ARGS_MAX + 1);
    assert_int_equal(fill(ALL), ALL);
}

static void another_kind_of_record_is_refused(void **state)
{
    struct process_end got;
    (void)state;
    struct tap_exec exec = plain;
    exec.head.kind = TAP_END;
    MAKE(exec, "work\0", "srv\0", "work\0");
    assert_int_equal(fill(ALL), ALL);
    MAKE(plain, "work\0", "srv\0", "work\0");
    assert_false(tap_end(record, record_len, &got));
}

/* --- ends ---------------------------------------------------------------------------------- */

static const struct tap_end ended = {
    .head = { TAP_END, 7, 1000 },
    .runtime_ns = 10000000,
    .user_ns = 3000000,
    .system_ns = 1000000,
    .max_rss_pages = 100,
    .read_bytes = 4096,
    .write_bytes = 8192,
    .exit_code = 5 << 8,
};

static void an_end_is_told_whole(void **state)
{
    struct process_end got;
    (void)state;
    assert_true(tap_end(&ended, sizeof ended, &got));
    assert_int_equal(got.pid, 7);
    assert_int_equal(got.exit_code, 5 << 8);
    assert_int_equal(got.max_rss, 100 * sysconf(_SC_PAGESIZE));
    assert_int_equal(got.read_bytes, 4096);
    assert_int_equal(got.write_bytes, 8192);
    assert_int_equal(got.elapsed_ns, -1);
    assert_true(got.single);
    assert_string_equal(got.comm, "");
    assert_int_equal(got.cpu_user_ns, 7500000); /* as the ticks were: three to one */
    assert_int_equal(got.cpu_system_ns, 2500000);
    for (size_t len = 0; len < sizeof ended; len++)
        assert_false(tap_end(&ended, len, &got));
}

static void processor_time_is_split_and_its_sum_stays(void **state)
{
    static const uint64_t values[] = { 0, 1, 999, 4000000, UINT64_C(86400000000000) };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++)
        for (size_t j = 0; j < COUNT(values); j++)
            for (size_t k = 0; k < COUNT(values); k++) {
                struct process_end got;
                struct tap_end from = ended;
                from.runtime_ns = values[i], from.user_ns = values[j], from.system_ns = values[k];
                assert_true(tap_end(&from, sizeof from, &got));
                assert_int_equal(got.cpu_user_ns + got.cpu_system_ns, values[i]);
                assert_true(got.cpu_user_ns >= 0 && got.cpu_system_ns >= 0);
                if (!values[j] && !values[k]) /* no tick: all of it was in user space */
                    assert_int_equal(got.cpu_system_ns, 0);
            }
}

static void storage_that_is_not_counted_is_unknown(void **state)
{
    struct process_end got;
    struct tap_end from = ended;
    (void)state;
    from.read_bytes = from.write_bytes = UINT64_MAX;
    assert_true(tap_end(&from, sizeof from, &got));
    assert_int_equal(got.read_bytes, -1);
    assert_int_equal(got.write_bytes, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_field_is_told_by_the_tap),
        TEST(only_what_is_wanted_is_set),
        TEST(what_is_missing_is_left_for_proc),
        TEST(what_does_not_apply_is_absent),
        TEST(terminals_have_the_names_of_proc),
        TEST(a_name_fills_its_sixteen_bytes),
        TEST(paths_are_turned_around),
        TEST(odd_components_are_kept_byte_by_byte),
        TEST(the_longest_paths_fit),
        TEST(a_cut_path_has_no_first_slash),
        TEST(what_is_deleted_is_told_as_proc_does),
        TEST(args_are_told_byte_by_byte),
        TEST(the_most_args_are_told_and_longer_ones_are_cut),
        TEST(a_record_that_claims_too_much_is_refused),
        TEST(another_kind_of_record_is_refused),
        TEST(an_end_is_told_whole),
        TEST(processor_time_is_split_and_its_sum_stays),
        TEST(storage_that_is_not_counted_is_unknown),
    };
    return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
