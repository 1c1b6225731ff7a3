/* test_complete.c - each message of the kernel becomes a whole event, and each field says how it is
 * known or why it is not. /proc is a made-up tree. */
#include "collect/complete.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- a made-up /proc ---------------------------------------------------------------------- */

static char root[64];

struct made_up {
    const char *comm;
    char state;
    int ppid, sid;
    int64_t start; /* ticks */
    int uid, euid;
    const char *exe, *cwd; /* NULL: no such link */
    const char *args;      /* separated by spaces; NULL: empty */
};

static const struct made_up shell = {
    .comm = "sh",
    .state = 'S',
    .ppid = 1,
    .sid = 50,
    .start = 5000,
    .uid = 1000,
    .euid = 1000,
    .exe = "/bin/sh",
    .cwd = "/home/u",
    .args = "sh -c make",
};

__attribute__((format(printf, 3, 4))) static void write_file(int pid, const char *name,
                                                             const char *format, ...)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d/%s", root, pid, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    va_list args;
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    fclose(f);
}

static void write_link(int pid, const char *name, const char *target)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d/%s", root, pid, name);
    unlink(path);
    if (target)
        assert_int_equal(symlink(target, path), 0);
}

static void write_args(int pid, const char *args)
{
    char path[128], bytes[256] = "";
    size_t len = args ? (size_t)snprintf(bytes, sizeof bytes, "%s", args) + 1 : 0;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == ' ')
            bytes[i] = '\0';
    snprintf(path, sizeof path, "%s/%d/cmdline", root, pid);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void live(int pid, struct made_up p)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d", root, pid);
    mkdir(path, 0755);
    write_file(
        pid, "stat",
        "%d (%s) %c %d %d %d 0 -1 %d 1 2 3 4 5 6 7 8 20 0 1 0 %lld 1000 10 1 1 0 0 0 0 0 0 0 "
        "0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        pid, p.comm, p.state, p.ppid, pid, p.sid, p.state == 'Z' ? 4 : 0, (long long)p.start);
    write_file(pid, "status", "Name:\t%s\nUid:\t%d\t%d\t0\t0\nGid:\t%d\t%d\t0\t0\n", p.comm, p.uid,
               p.euid, p.uid, p.euid);
    write_file(pid, "loginuid", "%d", 4294967295u == (unsigned)p.uid ? 0 : p.uid);
    write_file(pid, "cgroup", "0::/user.slice\n");
    write_args(pid, p.args);
    write_link(pid, "exe", p.exe);
    write_link(pid, "cwd", p.cwd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void gone(int pid)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%d", root, pid);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- what is told -------------------------------------------------------------------------- */

enum { TOLD = 256 };

static struct procfs fs;
static struct tracker *tracker;
static struct completer c;
static struct event *told[TOLD]; /* owned copies */
static int told_len;

static void keep(void *ctx, struct event_box *box)
{
    assert_ptr_equal(ctx, &told_len);
    assert_true(event_valid(box, sizeof *box));
    assert_true(told_len < TOLD);
    assert_true(event_has(&box->ev, F_TIME) && event_has(&box->ev, F_MONO));
    told[told_len] = malloc(box->ev.size);
    memcpy(told[told_len++], &box->ev, box->ev.size);
}

static void forget_told(void)
{
    while (told_len)
        free(told[--told_len]);
}

static int begin(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/test_complete.XXXXXX");
    tracker = tracker_new(8 << 20);
    if (!mkdtemp(root) || procfs_open(&fs, root) || !tracker)
        return 1;
    complete_init(&c, tracker, &fs, keep, &told_len);
    c.boot_minus_mono = 7 * NS_PER_SECOND; /* slept for seven seconds */
    return 0;
}

static int end(void **state)
{
    (void)state;
    forget_told();
    tracker_free(tracker);
    procfs_close(&fs);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The stamp of a process that /proc says started at this tick. */
static int64_t stamp_of(int64_t start)
{
    return start * NS_PER_TICK - c.boot_minus_mono;
}

static const struct event *say(struct kernel_event kev)
{
    int before = told_len;
    if (!kev.tid)
        kev.tid = kev.pid;
    complete_event(&c, &kev);
    return told_len == before ? NULL : told[told_len - 1];
}

static const struct event *say_fork(int pid, int ppid, int64_t start)
{
    return say((struct kernel_event){
        .kind = EVENT_FORK, .pid = pid, .mono_ns = stamp_of(start), .parent = { ppid, ppid } });
}

static const struct event *say_exec(int pid, int64_t at)
{
    return say((struct kernel_event){ .kind = EVENT_EXEC, .pid = pid, .mono_ns = stamp_of(at) });
}

static const struct event *say_exit(int pid, int64_t at, uint32_t status)
{
    return say((struct kernel_event){
        .kind = EVENT_EXIT, .pid = pid, .mono_ns = stamp_of(at), .exit_code = status });
}

static void assert_is(const struct event *ev, enum event_field field, const char *want,
                      enum event_why why)
{
    size_t len;
    const char *text = event_text(ev, field, &len);
    if (!text || len != strlen(want) || memcmp(text, want, len) != 0)
        fail_msg("%s is '%.*s', not '%s'", event_fields[field].name, (int)len, text ? text : "",
                 want);
    if (ev->why[field] != why)
        fail_msg("%s is known as '%s', not '%s'", event_fields[field].name,
                 event_why_text(ev->why[field]), event_why_text(why));
}

static void assert_number(const struct event *ev, enum event_field field, int64_t want,
                          enum event_why why)
{
    if (ev->cell[field].num != want || ev->why[field] != why)
        fail_msg("%s is %lld (%s), not %lld (%s)", event_fields[field].name,
                 (long long)ev->cell[field].num, event_why_text(ev->why[field]), (long long)want,
                 event_why_text(why));
}

static void assert_why(const struct event *ev, enum event_field field, enum event_why why)
{
    if (ev->why[field] != why)
        fail_msg("%s: '%s', not '%s'", event_fields[field].name, event_why_text(ev->why[field]),
                 event_why_text(why));
}

static void assert_args(const struct event *ev, const char *joined, enum event_why why)
{
    char line[256];
    size_t len = event_cmdline(ev, line, sizeof line);
    assert_why(ev, F_ARGS, why);
    assert_int_equal(len, strlen(joined));
    assert_memory_equal(line, joined, len);
}

/* A shell, pid 100, that the table has from a scan. */
static void know_shell(void)
{
    live(100, shell);
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, 1);
    assert_int_equal(event_kind(told[0]), EVENT_SNAPSHOT);
    forget_told();
}

/* --- fork ---------------------------------------------------------------------------------- */

static void a_child_inherits_what_its_parent_was(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev = say_fork(101, 100, 6000); /* gone already: /proc is not asked */

    assert_int_equal(event_kind(ev), EVENT_FORK);
    assert_number(ev, F_PID, 101, WHY_KERNEL);
    assert_number(ev, F_TID, 101, WHY_KERNEL);
    assert_number(ev, F_PPID, 100, WHY_KERNEL);
    assert_number(ev, F_UID, 1000, WHY_INHERITED);
    assert_number(ev, F_SID, 50, WHY_INHERITED);
    assert_number(ev, F_EXECS, 0, WHY_COMPUTED);
    assert_number(ev, F_STARTTIME, 6000, WHY_COMPUTED);
    assert_number(ev, F_START, stamp_of(6000) + c.real_minus_mono, WHY_KERNEL);
    assert_number(ev, F_MONO, stamp_of(6000), WHY_KERNEL);
    assert_is(ev, F_COMM, "sh", WHY_INHERITED);
    assert_is(ev, F_EXE, "/bin/sh", WHY_INHERITED);
    assert_is(ev, F_CWD, "/home/u", WHY_INHERITED);
    assert_is(ev, F_CGROUP, "/user.slice", WHY_INHERITED);
    assert_args(ev, "sh -c make", WHY_INHERITED);
    assert_why(ev, F_TTY, WHY_ABSENT);
    assert_int_equal(tracker_parent(tracker, tracker_alive(tracker, 101)),
                     tracker_alive(tracker, 100));
}

/* The kernel stamps the message a little after the start: the tick may lie between the two. */
static void a_birth_stamped_right_after_a_tick_is_read(void **state)
{
    struct made_up child = shell;
    int64_t tick = stamp_of(6000);
    (void)state;

    child.start = 5999;
    live(101, child);
    const struct event *ev = say((struct kernel_event){
        .kind = EVENT_FORK, .pid = 101, .mono_ns = tick + 1000, .parent = { 77, 77 } });
    assert_number(ev, F_STARTTIME, 5999, WHY_PROC);

    ev = say((struct kernel_event){
        .kind = EVENT_FORK, .pid = 102, .mono_ns = tick + NS_PER_TICK / 2, .parent = { 77, 77 } });
    assert_number(ev, F_STARTTIME, 6000, WHY_COMPUTED);
}

static void a_child_of_an_unknown_parent_is_read(void **state)
{
    struct made_up child = shell;
    (void)state;

    child.start = 6000;
    live(101, child);
    const struct event *ev = say_fork(101, 77, 6000);
    assert_is(ev, F_COMM, "sh", WHY_PROC);
    assert_number(ev, F_PPID, 77, WHY_KERNEL);
    assert_number(ev, F_STARTTIME, 6000, WHY_PROC); /* stamped right on a tick */

    ev = say_fork(102, 77, 6001); /* and this one cannot be */
    assert_why(ev, F_COMM, WHY_GONE);
    assert_why(ev, F_UID, WHY_GONE);
    assert_number(ev, F_PPID, 77, WHY_KERNEL);

    ev = say_fork(101, 77, 7000); /* /proc shows who had the pid before */
    assert_why(ev, F_COMM, WHY_GONE);
}

/* --- exec ---------------------------------------------------------------------------------- */

static void an_exec_is_read_and_remembers_what_was(void **state)
{
    struct made_up make = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    make.comm = "make";
    make.exe = "/usr/bin/make";
    make.args = "make all";
    make.start = 6001; /* one tick off */
    make.uid = make.euid = 4242;
    make.cwd = "/src";
    live(101, make);
    const struct event *ev = say_exec(101, 6010);

    assert_int_equal(event_kind(ev), EVENT_EXEC);
    assert_is(ev, F_COMM, "make", WHY_PROC);
    assert_is(ev, F_EXE, "/usr/bin/make", WHY_PROC);
    assert_is(ev, F_CWD, "/src", WHY_PROC);
    assert_args(ev, "make all", WHY_PROC);
    assert_is(ev, F_WAS_COMM, "sh", WHY_KEPT);
    assert_is(ev, F_WAS_EXE, "/bin/sh", WHY_KEPT);
    assert_number(ev, F_EXECS, 1, WHY_COMPUTED);
    assert_number(ev, F_PPID, 100, WHY_KEPT); /* as of the fork */
    assert_number(ev, F_STARTTIME, 6000, WHY_KEPT);
    assert_number(ev, F_UID, 1000, WHY_KEPT); /* every change of it is told */
    assert_int_equal(c.count.execs, 1);
    assert_int_equal(c.count.args, 1);
}

static void an_exec_reads_only_what_is_needed(void **state)
{
    (void)state;
    know_shell();
    c.needs = FIELD(ARGS) | FIELD(CODE);
    assert_int_equal(complete_reads(c.needs), FIELD(ARGS) | FIELD(COMM) | FIELD(SID) | FIELD(TTY));
    const struct event *ev = say_exec(100, 6000);
    assert_args(ev, "sh -c make", WHY_PROC);
    assert_is(ev, F_COMM, "sh", WHY_PROC);
    assert_number(ev, F_SID, 50, WHY_PROC); /* stat is read in any case */
    assert_why(ev, F_EXE, WHY_UNASKED);     /* it may be another one now */
    assert_why(ev, F_CWD, WHY_UNASKED);
    assert_why(ev, F_CGROUP, WHY_UNASKED);
    assert_number(ev, F_UID, 1000, WHY_KEPT); /* the kernel tells when it changes */
    assert_is(ev, F_WAS_EXE, "/bin/sh", WHY_KEPT);
    assert_int_equal(c.count.exe_asked, 0);
    assert_int_equal(c.count.args_asked, 1);
    assert_int_equal(complete_reads(UINT64_MAX) & ~PROCFS_FIELDS, 0);
}

static void what_is_needed_later_is_read_of_who_lacks_it(void **state)
{
    (void)state;
    know_shell();
    c.needs = FIELD(ARGS);
    say_exec(100, 6000);
    int before = told_len;
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, before);
    c.needs |= FIELD(CWD);
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, before + 1);
    assert_is(told[before], F_CWD, "/home/u", WHY_PROC);
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, before + 1);
}

static void execs_are_counted_along_a_chain(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 5000);
    for (int i = 1; i <= 5; i++) {
        struct made_up next = shell;
        char name[16];
        snprintf(name, sizeof name, "step-%d", i);
        next.comm = name;
        live(101, next);
        const struct event *ev = say_exec(101, 6000 + i);
        assert_number(ev, F_EXECS, i, WHY_COMPUTED);
        if (i > 1) {
            snprintf(name, sizeof name, "step-%d", i - 1);
            assert_is(ev, F_WAS_COMM, name, WHY_KEPT);
        }
    }
    const struct event *ev = say_exit(101, 7000, 0);
    assert_number(ev, F_EXECS, 5, WHY_KEPT);
    assert_is(ev, F_COMM, "step-5", WHY_KEPT);
}

static void what_belongs_to_one_image_is_not_kept_over_an_exec(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 6000);
    const struct event *ev = say_exec(101, 6010); /* gone before it was read */

    assert_why(ev, F_ARGS, WHY_GONE);
    assert_why(ev, F_EXE, WHY_GONE);
    assert_why(ev, F_COMM, WHY_GONE);
    assert_is(ev, F_CWD, "/home/u", WHY_KEPT);
    assert_is(ev, F_CGROUP, "/user.slice", WHY_KEPT);
    assert_why(ev, F_CONTAINER, WHY_ABSENT); /* that it had none is known as well */
    assert_why(ev, F_TTY, WHY_ABSENT);
    assert_number(ev, F_SID, 50, WHY_KEPT);
    assert_number(ev, F_LOGINUID, 1000, WHY_KEPT);
    assert_is(ev, F_WAS_COMM, "sh", WHY_KEPT);
    assert_int_equal(c.count.execs, 1);
    assert_int_equal(c.count.args + c.count.exe + c.count.comm, 0);
    ev = say_exit(101, 6011, 0);
    assert_why(ev, F_EXE, WHY_GONE);
}

static bool in_doubt(void *ctx, const struct kernel_event *exec)
{
    assert_int_equal(exec->pid, 101);
    return *(bool *)ctx;
}

static void what_may_be_of_a_later_image_is_not_told(void **state)
{
    bool doubt = true;
    struct made_up make = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    make.start = 6000;
    make.args = "make all";
    make.cwd = "/home/u/src";
    live(101, make);
    c.doubt = in_doubt;
    c.source_ctx = &doubt;
    const struct event *ev = say_exec(101, 6001);
    assert_why(ev, F_ARGS, WHY_GONE);
    assert_why(ev, F_EXE, WHY_GONE);
    assert_why(ev, F_COMM, WHY_GONE);
    assert_is(ev, F_CWD, "/home/u", WHY_KEPT);
    assert_number(ev, F_STARTTIME, 6000, WHY_KEPT);
    assert_int_equal(c.count.args + c.count.exe + c.count.comm, 0);

    doubt = false;
    ev = say_exec(101, 6003);
    assert_args(ev, "make all", WHY_PROC);
    assert_is(ev, F_CWD, "/home/u/src", WHY_PROC);
}

static void an_exec_has_no_empty_arguments(void **state)
{
    struct made_up changing = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    changing.start = 6000;
    changing.args = NULL; /* the memory of the next program, before it is filled */
    live(101, changing);
    const struct event *ev = say_exec(101, 6001);
    assert_why(ev, F_ARGS, WHY_GONE);
    assert_why(ev, F_EXE, WHY_GONE);
    assert_why(ev, F_COMM, WHY_GONE);
}

static void a_zombie_says_that_it_is_one(void **state)
{
    struct made_up dead = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    dead.state = 'Z';
    dead.comm = "true";
    dead.start = 6000;
    dead.exe = dead.cwd = dead.args = NULL;
    live(101, dead);
    const struct event *ev = say_exec(101, 6001);
    assert_why(ev, F_ARGS, WHY_ZOMBIE);
    assert_why(ev, F_EXE, WHY_ZOMBIE);
    assert_is(ev, F_COMM, "true", WHY_PROC);
    assert_is(ev, F_CWD, "/home/u", WHY_KEPT);
}

static void an_exec_of_who_took_the_pid_tells_nothing_of_it(void **state)
{
    struct made_up other = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    other.comm = "other";
    other.start = 9000;
    live(101, other);
    const struct event *ev = say_exec(101, 6001);
    assert_why(ev, F_COMM, WHY_GONE);
    assert_why(ev, F_ARGS, WHY_GONE);
    assert_is(ev, F_CWD, "/home/u", WHY_KEPT);
}

static void the_reason_why_something_is_missing_outlives_an_exec(void **state)
{
    (void)state;
    const struct event *ev = say_fork(101, 77, 6000);
    assert_why(ev, F_UID, WHY_GONE);
    ev = say_exec(101, 6001);
    assert_why(ev, F_UID, WHY_GONE);
    assert_why(ev, F_WAS_COMM, WHY_ABSENT); /* there was none to be missing */
}

static void an_exec_of_an_unknown_process_is_read_whole(void **state)
{
    (void)state;
    live(101, shell);
    const struct event *ev = say_exec(101, 6000);
    assert_number(ev, F_UID, 1000, WHY_PROC);
    assert_number(ev, F_STARTTIME, 5000, WHY_PROC);
    assert_number(ev, F_EXECS, 1, WHY_COMPUTED);
    assert_why(ev, F_WAS_COMM, WHY_ABSENT);
    assert_int_not_equal(tracker_alive(tracker, 101), 0);

    ev = say_exec(102, 6000);
    assert_why(ev, F_UID, WHY_GONE);
    assert_why(ev, F_ARGS, WHY_GONE);
}

/* --- exit ---------------------------------------------------------------------------------- */

static void wait_statuses_are_taken_apart(void **state)
{
    static const struct {
        uint32_t status;
        int64_t code, signal, core; /* -1: nil */
    } cases[] = {
        { 0, 0, -1, -1 },   { 1 << 8, 1, -1, -1 },          { 255 << 8, 255, -1, -1 },
        { 9, -1, 9, -1 },   { 6 | 0x80, -1, 6, 1 },         { 11 | 0x80, -1, 11, 1 },
        { 64, -1, 64, -1 }, { 0xff00 | 0x80, 255, -1, -1 },
    };
    (void)state;

    know_shell();
    for (size_t i = 0; i < COUNT(cases); i++) {
        say_fork(101, 100, 6000 + 10 * (int64_t)i);
        const struct event *ev = say_exit(101, 6001 + 10 * (int64_t)i, cases[i].status);
        assert_int_equal(event_int(ev, F_CODE, -1), cases[i].code);
        assert_int_equal(event_int(ev, F_SIGNAL, -1), cases[i].signal);
        assert_int_equal(event_int(ev, F_CORE, -1), cases[i].core);
    }
}

static void an_exit_tells_who_it_was_and_for_how_long(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 6000);
    const struct event *ev = say_exit(101, 6250, 0);
    assert_number(ev, F_DURATION, 250 * NS_PER_TICK, WHY_COMPUTED);
    assert_is(ev, F_COMM, "sh", WHY_KEPT);
    assert_number(ev, F_PPID, 100, WHY_KEPT);
    assert_int_equal(tracker_alive(tracker, 101), 0);

    ev = say_exit(100, 8000, 0); /* since its start, over the sleep */
    assert_number(ev, F_DURATION, 3000 * NS_PER_TICK, WHY_COMPUTED);
}

static void an_exit_of_an_unknown_process_is_told(void **state)
{
    struct made_up dead = shell;
    (void)state;

    const struct event *ev = say((struct kernel_event){ .kind = EVENT_EXIT,
                                                        .pid = 300,
                                                        .mono_ns = stamp_of(6000),
                                                        .exit_code = 3 << 8,
                                                        .parent = { 42, 42 } });
    assert_number(ev, F_CODE, 3, WHY_KERNEL);
    assert_number(ev, F_PPID, 42, WHY_KERNEL);
    assert_why(ev, F_COMM, WHY_GONE);
    assert_why(ev, F_DURATION, WHY_ABSENT);

    dead.state = 'Z';
    dead.exe = dead.cwd = dead.args = NULL;
    live(301, dead);
    ev = say_exit(301, 6000, 0);
    assert_is(ev, F_COMM, "sh", WHY_PROC);
    assert_why(ev, F_EXE, WHY_ZOMBIE);
    assert_number(ev, F_DURATION, 1000 * NS_PER_TICK, WHY_COMPUTED);
}

/* --- pids come again ----------------------------------------------------------------------- */

static void a_late_exit_is_about_the_owner_before(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 6000);
    say((struct kernel_event){
        .kind = EVENT_COMM, .pid = 101, .mono_ns = stamp_of(6001), .comm = "first" });
    say_fork(101, 100, 6010); /* its exit was not read yet */
    forget_told();

    const struct event *ev = say_exit(101, 6009, 5 << 8);
    assert_non_null(ev);
    assert_number(ev, F_CODE, 5, WHY_KERNEL);
    assert_is(ev, F_COMM, "first", WHY_KEPT);
    assert_number(ev, F_STARTTIME, 6000, WHY_KEPT);
    assert_number(ev, F_DURATION, 9 * NS_PER_TICK, WHY_COMPUTED);
    assert_int_not_equal(tracker_alive(tracker, 101), 0); /* the second lives */

    ev = say_exit(101, 6020, 0);
    assert_number(ev, F_STARTTIME, 6010, WHY_KEPT);
    assert_is(ev, F_COMM, "sh", WHY_KEPT);
    assert_int_equal(tracker_alive(tracker, 101), 0);
    assert_int_equal(told_len, 2);
}

static void an_exit_that_never_comes_is_inferred_after_a_loss(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 6000);
    say_fork(101, 100, 6010);
    forget_told();
    complete_awaited(&c);
    assert_int_equal(told_len, 1);
    assert_int_equal(event_kind(told[0]), EVENT_EXIT);
    assert_number(told[0], F_INFERRED, 1, WHY_COMPUTED);
    assert_number(told[0], F_STARTTIME, 6000, WHY_KEPT);
    assert_why(told[0], F_CODE, WHY_UNSEEN);
    assert_int_not_equal(tracker_alive(tracker, 101), 0);
    complete_awaited(&c);
    assert_int_equal(told_len, 1);
}

/* Each process is born once and ends once, however many of them are awaited. */
static void many_late_exits_neither_swallow_nor_double_an_event(void **state)
{
    enum { REUSED = 3 * COMPLETE_AWAITED };
    int born[REUSED] = { 0 }, ended[REUSED] = { 0 };
    (void)state;

    know_shell();
    for (int i = 0; i < REUSED; i++)
        say_fork(200 + i, 100, 6000);
    for (int i = 0; i < REUSED; i++)
        say_fork(200 + i, 100, 7000 + i);
    for (int i = 0; i < REUSED; i++)
        say_exit(200 + i, 6500, 0); /* late, all of them */
    for (int i = 0; i < told_len; i++) {
        int at = (int)told[i]->cell[F_PID].num - 200;
        bool first = told[i]->cell[F_STARTTIME].num == 6000;
        assert_true(at >= 0 && at < REUSED);
        if (event_kind(told[i]) == EVENT_FORK)
            born[at] += first ? 1 : 100;
        else
            ended[at] += first ? 1 : 100;
    }
    for (int i = 0; i < REUSED; i++) {
        assert_int_equal(born[i], 101);
        assert_int_equal(ended[i], 1);
        assert_int_not_equal(tracker_alive(tracker, 200 + i), 0);
    }
}

/* A scan saw the next owner of the pid before the exit of the one before was read. */
static void an_exit_from_before_a_scan_does_not_end_who_was_found(void **state)
{
    struct made_up next = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    next.comm = "next";
    next.start = 6500;
    live(101, next);
    complete_from_proc(&c, 101, true); /* says that the first one ended */
    forget_told();
    say_exit(101, 6400, 0);
    assert_int_equal(told_len, 0);
    assert_int_not_equal(tracker_alive(tracker, 101), 0);
    say_fork(101, 100, 6500); /* told already, as a snapshot */
    assert_int_equal(told_len, 0);
    assert_non_null(say_exit(101, 7000, 0));
}

/* --- changes ------------------------------------------------------------------------------- */

static void changes_of_ids_tell_what_was(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev = say((struct kernel_event){
        .kind = EVENT_UID, .pid = 100, .mono_ns = stamp_of(6000), .id = { 0, UINT32_MAX } });
    assert_number(ev, F_UID, 0, WHY_KERNEL);
    assert_number(ev, F_EUID, UINT32_MAX, WHY_KERNEL);
    assert_number(ev, F_WAS_UID, 1000, WHY_KEPT);
    assert_number(ev, F_WAS_EUID, 1000, WHY_KEPT);
    assert_why(ev, F_WAS_GID, WHY_ABSENT);

    ev = say((struct kernel_event){
        .kind = EVENT_GID, .pid = 100, .mono_ns = stamp_of(6001), .id = { 7, 8 } });
    assert_number(ev, F_EGID, 8, WHY_KERNEL);
    assert_number(ev, F_WAS_EGID, 1000, WHY_KEPT);
    assert_number(ev, F_UID, 0, WHY_KEPT);
    assert_int_equal(tracker_int(tracker, tracker_alive(tracker, 100), F_GID, -1), 7);
}

static void a_new_session_has_no_terminal(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev =
        say((struct kernel_event){ .kind = EVENT_SID, .pid = 100, .mono_ns = stamp_of(6000) });
    assert_number(ev, F_SID, 100, WHY_KERNEL);
    assert_number(ev, F_WAS_SID, 50, WHY_KEPT);
    assert_why(ev, F_TTY, WHY_ABSENT);
}

static void a_name_of_sixteen_bytes_is_taken_whole(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev = say((struct kernel_event){
        .kind = EVENT_COMM, .pid = 100, .mono_ns = stamp_of(6000), .comm = "0123456789abcdef" });
    assert_is(ev, F_COMM, "0123456789abcdef", WHY_KERNEL);
    assert_is(ev, F_WAS_COMM, "sh", WHY_KEPT);
}

static void ptrace_and_coredump_are_whole_and_change_nothing(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev = say((struct kernel_event){
        .kind = EVENT_PTRACE, .pid = 100, .mono_ns = stamp_of(6000), .tracer = { 55, 56 } });
    assert_number(ev, F_TRACER, 55, WHY_KERNEL);
    assert_is(ev, F_COMM, "sh", WHY_KEPT);
    ev =
        say((struct kernel_event){ .kind = EVENT_COREDUMP, .pid = 100, .mono_ns = stamp_of(6001) });
    assert_args(ev, "sh -c make", WHY_KEPT);
    assert_int_equal(tracker_count(tracker).nodes, 1);
}

static void threads_are_told_with_their_process_and_leave_the_table_alone(void **state)
{
    (void)state;
    know_shell();
    for (enum event_kind kind = EVENT_FORK; kind <= EVENT_COREDUMP; kind++) {
        if (kind == EVENT_EXEC || kind == EVENT_SID)
            continue; /* the kernel says these of the main thread */
        const struct event *ev = say((struct kernel_event){
            .kind = kind, .pid = 100, .tid = 150, .mono_ns = stamp_of(6000) });
        assert_non_null(ev);
        assert_number(ev, F_PID, 100, WHY_KERNEL);
        assert_number(ev, F_TID, 150, WHY_KERNEL);
        assert_number(ev, F_STARTTIME, 5000, WHY_KEPT);
        assert_why(ev, F_DURATION, WHY_ABSENT);
    }
    tracker_ref ref = tracker_alive(tracker, 100);
    size_t len;
    assert_memory_equal(tracker_text(tracker, ref, F_COMM, &len), "sh", 2);
    assert_int_equal(tracker_int(tracker, ref, F_UID, -1), 1000);
    assert_int_equal(tracker_count(tracker).nodes, 1);
}

static void what_is_no_event_is_not_told(void **state)
{
    static const enum event_kind kinds[] = { EVENT_NONE, EVENT_SNAPSHOT, EVENT_LOST, EVENT_RELOAD, EVENT_STORM };
    (void)state;
    know_shell();
    for (size_t i = 0; i < COUNT(kinds); i++)
        assert_null(say((struct kernel_event){ .kind = kinds[i], .pid = 100 }));
}

/* --- scans --------------------------------------------------------------------------------- */

static void what_is_known_is_not_told_again(void **state)
{
    (void)state;
    know_shell();
    complete_from_proc(&c, 100, true);
    assert_int_equal(told_len, 0);
    assert_int_equal(c.count.inferred, 0);
}

static void a_fork_read_after_the_scan_that_saw_it_is_not_told_twice(void **state)
{
    struct made_up child = shell;
    (void)state;

    know_shell();
    child.start = 6000;
    child.ppid = 100;
    live(101, child);
    complete_from_proc(&c, 101, false);
    assert_int_equal(told_len, 1);
    assert_null(say_fork(101, 100, 6000));
    assert_int_equal(tracker_count(tracker).alive, 2);
    assert_int_equal(tracker_parent(tracker, tracker_alive(tracker, 101)),
                     tracker_alive(tracker, 100));
}

static void a_scan_after_the_fork_tells_nothing_new(void **state)
{
    struct made_up child = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    forget_told();
    child.start = 6001;
    child.ppid = 1; /* the parent has ended since */
    live(101, child);
    complete_from_proc(&c, 101, true);
    assert_int_equal(told_len, 0);
}

static void a_change_that_was_missed_is_inferred(void **state)
{
    struct made_up changed = shell;
    (void)state;

    know_shell();
    say_fork(101, 100, 6000);
    forget_told();
    changed.comm = "curl";
    changed.exe = "/usr/bin/curl";
    changed.args = "curl evil";
    changed.start = 6001;
    changed.ppid = 1;
    live(101, changed);
    tracker_round(tracker);
    complete_from_proc(&c, 101, true);
    assert_int_equal(told_len, 1);
    assert_int_equal(event_kind(told[0]), EVENT_SNAPSHOT);
    assert_number(told[0], F_INFERRED, 1, WHY_COMPUTED);
    assert_number(told[0], F_PPID, 100, WHY_KEPT); /* as of the fork */
    assert_number(told[0], F_STARTTIME, 6000, WHY_KEPT);
    assert_args(told[0], "curl evil", WHY_PROC);
    assert_int_equal(c.count.inferred, 1);
    assert_int_equal(tracker_forked_at(tracker, tracker_alive(tracker, 101)), stamp_of(6000));
}

static void a_pid_that_changed_hands_ends_one_and_begins_another(void **state)
{
    struct made_up next = shell;
    (void)state;

    know_shell();
    next.comm = "next";
    next.start = 9000;
    live(100, next);
    complete_from_proc(&c, 100, true);
    assert_int_equal(told_len, 2);
    assert_int_equal(event_kind(told[0]), EVENT_EXIT);
    assert_is(told[0], F_COMM, "sh", WHY_KEPT);
    assert_number(told[0], F_INFERRED, 1, WHY_COMPUTED);
    assert_int_equal(event_kind(told[1]), EVENT_SNAPSHOT);
    assert_is(told[1], F_COMM, "next", WHY_PROC);
    assert_number(told[1], F_STARTTIME, 9000, WHY_PROC);
    assert_int_equal(tracker_count(tracker).alive, 1);
}

static void who_vanished_is_told_to_have_ended(void **state)
{
    (void)state;
    know_shell();
    gone(100);
    complete_vanished(&c, tracker_alive(tracker, 100));
    assert_int_equal(told_len, 1);
    assert_int_equal(event_kind(told[0]), EVENT_EXIT);
    assert_number(told[0], F_TID, 100, WHY_KEPT);
    assert_why(told[0], F_CODE, WHY_UNSEEN);
    assert_int_equal(tracker_alive(tracker, 100), 0);
    complete_vanished(&c, 12345); /* names nothing */
    assert_int_equal(told_len, 1);
}

static void zombies_and_the_gone_are_not_found(void **state)
{
    struct made_up dead = shell;
    (void)state;

    dead.state = 'Z';
    dead.exe = dead.cwd = dead.args = NULL;
    live(101, dead);
    complete_from_proc(&c, 101, false);
    complete_from_proc(&c, 102, false);
    assert_int_equal(told_len, 0);
    assert_int_equal(tracker_count(tracker).alive, 0);
}

static void end_unmarked(void *ctx, tracker_ref ref)
{
    complete_vanished(ctx, ref);
}

static void who_was_scanned_is_marked(void **state)
{
    (void)state;
    know_shell();
    live(102, shell);
    tracker_round(tracker);
    complete_from_proc(&c, 100, true);
    complete_from_proc(&c, 102, true);
    forget_told();
    tracker_unmarked(tracker, end_unmarked, &c);
    assert_int_equal(told_len, 0);
}

static void a_loss_says_how_much_and_from_when_to_when(void **state)
{
    (void)state;
    complete_lost(&c, 17, stamp_of(100), stamp_of(200));
    assert_int_equal(event_kind(told[0]), EVENT_LOST);
    assert_number(told[0], F_LOST, 17, WHY_KERNEL);
    assert_number(told[0], F_FROM, stamp_of(100) + c.real_minus_mono, WHY_COMPUTED);
    assert_number(told[0], F_UNTIL, stamp_of(200) + c.real_minus_mono, WHY_COMPUTED);
    assert_number(told[0], F_MONO, stamp_of(200), WHY_KERNEL);
}

static void the_clocks_are_those_of_the_machine(void **state)
{
    (void)state;
    complete_clocks(&c);
    int64_t real = clock_real_ns() - clock_mono_ns(), boot = clock_boot_ns() - clock_mono_ns();
    assert_true(llabs(c.real_minus_mono - real) < NS_PER_SECOND);
    assert_true(llabs(c.boot_minus_mono - boot) < NS_PER_SECOND);
}

/* --- sources ------------------------------------------------------------------------------- */

/* What the source of a test tells: these fields, and this start. */
static struct {
    uint64_t sets, asked;
    int64_t starttime;
    int calls;
} source;

static uint64_t tell_some(void *ctx, const struct kernel_event *kev, uint64_t wanted,
                          struct event_box *box)
{
    assert_ptr_equal(ctx, &source);
    assert_int_equal(kev->kind, EVENT_EXEC);
    source.calls++;
    source.asked = wanted;
    uint64_t set = wanted & source.sets;
    if (set & FIELD(ARGS))
        event_set_text(box, F_ARGS, "told", 5, WHY_TAP);
    if (set & FIELD(EXE))
        event_set_text(box, F_EXE, "/told", 5, WHY_TAP);
    if (set & FIELD(COMM))
        event_set_text(box, F_COMM, "told", 4, WHY_TAP);
    if (set & FIELD(STARTTIME))
        event_set(box, F_STARTTIME, source.starttime, WHY_TAP);
    return wanted & ~set;
}

static void use_source(uint64_t sets, int64_t starttime)
{
    source.sets = sets;
    source.starttime = starttime;
    source.calls = 0;
    c.source = tell_some;
    c.source_ctx = &source;
}

static void what_the_source_tells_is_not_read(void **state)
{
    (void)state;
    know_shell();
    use_source(FIELD(ARGS) | FIELD(EXE) | FIELD(COMM) | FIELD(STARTTIME), shell.start);
    const struct event *ev = say_exec(100, 6010);
    assert_int_equal(source.calls, 1);
    assert_true(source.asked & FIELD(STARTTIME));
    assert_args(ev, "told", WHY_TAP);
    assert_is(ev, F_EXE, "/told", WHY_TAP);
    assert_is(ev, F_COMM, "told", WHY_TAP);
    assert_is(ev, F_CWD, "/home/u", WHY_PROC); /* and the rest is */
    assert_is(ev, F_CGROUP, "/user.slice", WHY_PROC);
}

static void what_the_source_tells_needs_no_proc(void **state)
{
    (void)state;
    know_shell();
    gone(100);
    use_source(FIELD(ARGS) | FIELD(EXE) | FIELD(COMM) | FIELD(STARTTIME), shell.start + 1);
    const struct event *ev = say_exec(100, 6010);
    assert_args(ev, "told", WHY_TAP);
    assert_why(ev, F_DELETED, WHY_GONE);
    assert_is(ev, F_CWD, "/home/u", WHY_KEPT);
}

static void what_the_source_tells_of_another_process_is_gone(void **state)
{
    (void)state;
    know_shell();
    gone(100);
    use_source(FIELD(ARGS) | FIELD(EXE) | FIELD(COMM) | FIELD(STARTTIME), shell.start + 700);
    const struct event *ev = say_exec(100, 6010);
    assert_why(ev, F_ARGS, WHY_GONE);
    assert_why(ev, F_EXE, WHY_GONE);
    assert_why(ev, F_COMM, WHY_GONE);
    assert_number(ev, F_STARTTIME, shell.start, WHY_KEPT);
}

/* --- needs --------------------------------------------------------------------------------- */

static void what_no_script_needs_is_not_read_and_said_so(void **state)
{
    (void)state;
    know_shell();
    c.needs = FIELD(EXE);
    assert_int_equal(complete_reads(c.needs), FIELD(EXE) | FIELD(COMM) | FIELD(TTY) | FIELD(SID));
    const struct event *ev = say_exec(100, 6010);
    assert_is(ev, F_EXE, "/bin/sh", WHY_PROC);
    assert_is(ev, F_COMM, "sh", WHY_PROC);
    assert_why(ev, F_ARGS, WHY_UNASKED);
    assert_why(ev, F_CWD, WHY_UNASKED);
    assert_why(ev, F_CGROUP, WHY_UNASKED);
    assert_number(ev, F_UID, 1000, WHY_KEPT);
    assert_string_equal(event_why_text(WHY_UNASKED), "missing: no script needs it");
}

static void what_is_needed_later_is_told_by_a_snapshot(void **state)
{
    (void)state;
    know_shell();
    c.needs = FIELD(EXE);
    say_exec(100, 6010);
    forget_told();
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, 0); /* nobody lacks anything */
    c.needs = FIELD(EXE) | FIELD(ARGS);
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, 1);
    assert_int_equal(event_kind(told[0]), EVENT_SNAPSHOT);
    assert_args(told[0], "sh -c make", WHY_PROC);
    assert_false(event_has(told[0], F_INFERRED));
    complete_from_proc(&c, 100, false);
    assert_int_equal(told_len, 1);
}

/* --- ends ---------------------------------------------------------------------------------- */

static const struct process_end used = { .cpu_user_ns = 11,
                                         .cpu_system_ns = 12,
                                         .max_rss = 13,
                                         .read_bytes = 14,
                                         .write_bytes = 15,
                                         .comm = "ended" };

static const struct event *say_end(int pid, int64_t at, const struct process_end *what,
                                   enum event_why why)
{
    struct kernel_event kev = { .kind = EVENT_EXIT, .pid = pid, .tid = pid, .mono_ns = stamp_of(at) };
    int before = told_len;
    complete_end(&c, &kev, what, why);
    return told_len == before ? NULL : told[told_len - 1];
}

static void assert_used(const struct event *ev, enum event_why why)
{
    assert_number(ev, F_CPU_USER, 11, why);
    assert_number(ev, F_CPU_SYSTEM, 12, why);
    assert_number(ev, F_MAX_RSS, 13, why);
    assert_number(ev, F_READ_BYTES, 14, why);
    assert_number(ev, F_WRITE_BYTES, 15, why);
}

static void an_end_tells_what_was_used(void **state)
{
    (void)state;
    know_shell();
    const struct event *ev = say_end(100, 6020, &used, WHY_TASKSTATS);
    assert_used(ev, WHY_TASKSTATS);
    assert_is(ev, F_COMM, "sh", WHY_KEPT); /* known better */
    assert_number(ev, F_CODE, 0, WHY_KERNEL);
    ev = say_exit(100, 6030, 0);
    assert_false(event_has(ev, F_CPU_USER)); /* only that one's */
}

static void an_end_of_an_unknown_process_tells_its_name(void **state)
{
    (void)state;
    const struct event *ev = say_end(101, 6020, &used, WHY_TAP);
    assert_used(ev, WHY_TAP);
    assert_is(ev, F_COMM, "ended", WHY_TAP);
}

static void what_is_unknown_of_an_end_says_so(void **state)
{
    struct process_end nothing = { .cpu_user_ns = -1, .cpu_system_ns = -1, .max_rss = -1,
                                   .read_bytes = -1, .write_bytes = -1 };
    (void)state;
    const struct event *ev = say_end(101, 6020, &nothing, WHY_TAP);
    for (int f = F_CPU_USER; f <= F_WRITE_BYTES; f++)
        assert_why(ev, f, WHY_GONE);
    assert_why(ev, F_COMM, WHY_GONE);
}

static void a_late_end_tells_what_was_used_too(void **state)
{
    (void)state;
    know_shell();
    say_fork(101, 100, 6000);
    say_fork(101, 100, 7000); /* the pid is given out again before the exit is read */
    const struct event *ev = say_end(101, 6500, &used, WHY_TAP);
    assert_used(ev, WHY_TAP);
    assert_number(ev, F_STARTTIME, 6000, WHY_KEPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_child_inherits_what_its_parent_was),
        TEST(a_child_of_an_unknown_parent_is_read),
        TEST(a_birth_stamped_right_after_a_tick_is_read),
        TEST(an_exec_is_read_and_remembers_what_was),
        TEST(an_exec_reads_only_what_is_needed),
        TEST(what_is_needed_later_is_read_of_who_lacks_it),
        TEST(execs_are_counted_along_a_chain),
        TEST(what_belongs_to_one_image_is_not_kept_over_an_exec),
        TEST(what_may_be_of_a_later_image_is_not_told),
        TEST(an_exec_has_no_empty_arguments),
        TEST(a_zombie_says_that_it_is_one),
        TEST(an_exec_of_who_took_the_pid_tells_nothing_of_it),
        TEST(the_reason_why_something_is_missing_outlives_an_exec),
        TEST(an_exec_of_an_unknown_process_is_read_whole),
        TEST(wait_statuses_are_taken_apart),
        TEST(an_exit_tells_who_it_was_and_for_how_long),
        TEST(an_exit_of_an_unknown_process_is_told),
        TEST(a_late_exit_is_about_the_owner_before),
        TEST(an_exit_that_never_comes_is_inferred_after_a_loss),
        TEST(many_late_exits_neither_swallow_nor_double_an_event),
        TEST(an_exit_from_before_a_scan_does_not_end_who_was_found),
        TEST(changes_of_ids_tell_what_was),
        TEST(a_new_session_has_no_terminal),
        TEST(a_name_of_sixteen_bytes_is_taken_whole),
        TEST(ptrace_and_coredump_are_whole_and_change_nothing),
        TEST(threads_are_told_with_their_process_and_leave_the_table_alone),
        TEST(what_is_no_event_is_not_told),
        TEST(what_is_known_is_not_told_again),
        TEST(a_fork_read_after_the_scan_that_saw_it_is_not_told_twice),
        TEST(a_scan_after_the_fork_tells_nothing_new),
        TEST(a_change_that_was_missed_is_inferred),
        TEST(a_pid_that_changed_hands_ends_one_and_begins_another),
        TEST(who_vanished_is_told_to_have_ended),
        TEST(zombies_and_the_gone_are_not_found),
        TEST(who_was_scanned_is_marked),
        TEST(a_loss_says_how_much_and_from_when_to_when),
        TEST(the_clocks_are_those_of_the_machine),
        TEST(what_the_source_tells_is_not_read),
        TEST(what_the_source_tells_needs_no_proc),
        TEST(what_the_source_tells_of_another_process_is_gone),
        TEST(what_no_script_needs_is_not_read_and_said_so),
        TEST(what_is_needed_later_is_told_by_a_snapshot),
        TEST(an_end_tells_what_was_used),
        TEST(an_end_of_an_unknown_process_tells_its_name),
        TEST(what_is_unknown_of_an_end_says_so),
        TEST(a_late_end_tells_what_was_used_too),
    };
    return cmocka_run_group_tests_name("complete", tests, NULL, NULL);
}
