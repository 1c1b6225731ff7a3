/* test_procfs.c - the facts of one process: from a made-up /proc, and from the real one. */
#include "collect/procfs.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/sched.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* --- a made-up /proc -------------------------------------------------------------------- */

static char tree[64];
static struct procfs fs;
static struct event_box box;

static const char *in_tree(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return path;
}

static void put_bytes(const char *name, const void *bytes, size_t len)
{
    char dir[256];
    snprintf(dir, sizeof dir, "%s", in_tree(name));
    *strrchr(dir, '/') = '\0';
    assert_true(!mkdir(dir, 0755) || errno == EEXIST);
    FILE *f = fopen(in_tree(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static void put_link(const char *name, const char *target)
{
    assert_int_equal(symlink(target, in_tree(name)), 0);
}

/* A stat line of process 7. Its numbers are told apart by their values. */
static const char *stat_line(const char *comm, char state, int tty, unsigned flags,
                             long long starttime)
{
    static char line[1024];
    snprintf(line, sizeof line,
             "7 (%s) %c 3 7 5 %d -1 %u 11 12 13 14 150 16 17 18 20 -5 2 0 %lld 8462336 1041 "
             "18446744073709551615 1 2 3 0 0 0 0 528386 134433281 0 0 0 17 3 50 2 0 0 0 1 2 3 4 5 "
             "6 7 0\n",
             comm, state, tty, flags, starttime);
    return line;
}

static void put_process(char state, unsigned flags)
{
    put("7/stat", stat_line("worker", state, 0x8803, flags, 5000));
    put("7/status", "Name:\tworker\nUmask:\t0022\nUid:\t10\t11\t12\t13\nGid:\t20\t21\t22\t23\n");
    put("7/loginuid", "1000");
    put("7/cgroup", "0::/system.slice/w.service\n");
}

static void put_image(void)
{
    put_bytes("7/cmdline", "work\0-x", 8);
    put_link("7/exe", "/usr/bin/work");
    put_link("7/cwd", "/srv");
}

static int set_up(void **state)
{
    (void)state;
    strcpy(tree, "/tmp/procfs-XXXXXX");
    assert_non_null(mkdtemp(tree));
    assert_int_equal(chmod(tree, 0755), 0);
    assert_int_equal(procfs_open(&fs, tree), 0);
    event_begin(&box, EVENT_EXEC);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    procfs_close(&fs);
    nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int set_up_real(void **state)
{
    set_up(state);
    procfs_close(&fs);
    return procfs_open(&fs, "/proc");
}

/* --- what is in the box ----------------------------------------------------------------- */

static void assert_text(enum event_field field, const char *want, size_t want_len)
{
    size_t len;
    assert_int_equal(box.ev.why[field], WHY_PROC);
    const char *text = event_text(&box.ev, field, &len);
    assert_int_equal(len, want_len);
    assert_memory_equal(text, want, want_len);
}

static void assert_str(enum event_field field, const char *want)
{
    assert_text(field, want, strlen(want));
}

static void assert_num(enum event_field field, int64_t want)
{
    assert_int_equal(box.ev.why[field], WHY_PROC);
    assert_int_equal(box.ev.cell[field].num, want);
}

static void assert_all(uint64_t fields, enum event_why why)
{
    for (int field = 0; field < EVENT_FIELDS; field++)
        if (fields >> field & 1 && box.ev.why[field] != why)
            fail_msg("%s is %s, not %s", event_fields[field].name,
                     event_why_text(box.ev.why[field]), event_why_text(why));
}

static int fill(uint64_t wanted)
{
    return procfs_fill(&fs, 7, -1, wanted, &box);
}

/* --- parsers ---------------------------------------------------------------------------- */

static void stat_survives_hostile_names(void **state)
{
    (void)state;
    static const char *const names[] = { "a) b",         ") R 1 7 7 0 (",
                                         "two\nlines",   "",
                                         "((((",         "))))",
                                         "\xff\x01\x7f", "kworker/u8:3-events_unbound" };
    for (size_t i = 0; i < LENGTH(names); i++) {
        struct procfs_stat st;
        const char *line = stat_line(names[i], 'S', 0, 0, 5000);
        assert_int_equal(procfs_parse_stat(line, strlen(line), &st), 0);
        assert_int_equal(st.comm_len, strlen(names[i]));
        assert_memory_equal(st.comm, names[i], st.comm_len);
        assert_int_equal(st.state, 'S');
        assert_int_equal(st.starttime, 5000);
    }
}

static void stat_has_every_number_in_its_place(void **state)
{
    (void)state;
    struct procfs_stat st;
    const char *line = stat_line("w", 'R', 34816, 4194304, 5000);
    assert_int_equal(procfs_parse_stat(line, strlen(line), &st), 0);
    assert_int_equal(st.pid, 7);
    assert_int_equal(st.ppid, 3);
    assert_int_equal(st.pgrp, 7);
    assert_int_equal(st.session, 5);
    assert_int_equal(st.tty_nr, 34816);
    assert_int_equal(st.flags, 4194304);
    assert_int_equal(st.minflt, 11);
    assert_int_equal(st.majflt, 13);
    assert_int_equal(st.utime, 150);
    assert_int_equal(st.stime, 16);
    assert_int_equal(st.priority, 20);
    assert_int_equal(st.nice, -5);
    assert_int_equal(st.num_threads, 2);
    assert_int_equal(st.vsize, 8462336);
    assert_int_equal(st.rss, 1041);
    assert_int_equal(st.processor, 3);
    assert_int_equal(st.rt_priority, 50);
    assert_int_equal(st.policy, 2);
}

static void malformed_stat_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *why, *stat;
    } cases[] = {
        { "empty", "" },
        { "no pid", "(w) R 1 2" },
        { "cut off inside the name", "7 (ca" },
        { "a parenthesis and cut off inside the name", "7 (ca) c" },
        { "no state", "7 (w) " },
        { "state of two letters", "7 (w) RR 1 2 3" },
        { "a word for a number", "7 (w) R one 2 3" },
        { "a number that 64 bits cannot hold", "7 (w) R 99999999999999999999 2 3" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct procfs_stat st;
        if (procfs_parse_stat(cases[i].stat, strlen(cases[i].stat), &st) != -EBADMSG)
            fail_msg("accepted: %s", cases[i].why);
    }
}

static void stat_cut_off_before_the_last_number_is_refused(void **state)
{
    (void)state;
    const char *line = stat_line("a) b", 'R', 0, 0, 5000);
    size_t enough = (size_t)(strstr(line, " 17 3 50 2 ") - line) + strlen(" 17 3 50 2");
    for (size_t len = 0; len <= strlen(line); len++) {
        struct procfs_stat st;
        char *exact = malloc(len + !len); /* so that the sanitizer sees a byte too far */
        memcpy(exact, line, len);
        assert_int_equal(procfs_parse_stat(exact, len, &st), len < enough ? -EBADMSG : 0);
        free(exact);
    }
}

static void terminals_are_named_as_ps_names_them(void **state)
{
    (void)state;
    static const struct {
        int nr;
        const char *name;
    } cases[] = {
        { 0, "" },
        { 136 << 8, "pts/0" },
        { 136 << 8 | 3, "pts/3" },
        { 137 << 8 | 1, "pts/257" },
        { 136 << 8 | 0x2c | 1 << 20, "pts/300" },
        { (int)0xfff088ff, "pts/1048575" },
        { 4 << 8 | 1, "tty1" },
        { 4 << 8 | 64, "ttyS0" },
        { 5 << 8 | 1, "console" },
        { 204 << 8 | 64, "ttyAMA0" },
        { 229 << 8, "hvc0" },
        { 188 << 8 | 2, "ttyUSB2" },
        { 250 << 8 | 9, "250:9" },
        { -1, "4095:1048575" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char name[PROCFS_TTY_MAX];
        assert_int_equal(procfs_tty_name(cases[i].nr, name), strlen(cases[i].name));
        assert_memory_equal(name, cases[i].name, strlen(cases[i].name));
    }
}

#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define POD "pod1b2c3d4e_0000_1111_2222_333344445555"

static void cgroup_shows_path_and_container(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path, *container;
    } cases[] = {
        { "", "", "" },
        { "\n\n:::\n", "", "" },
        { "0::", "", "" },
        { "0::/", "/", "" },
        { "0::/user.slice/session-2.scope\n", "/user.slice/session-2.scope", "" },
        { "0::/a:b::c\n", "/a:b::c", "" },
        { "0::/system.slice/docker-" ID ".scope\n", "/system.slice/docker-" ID ".scope",
          "0123456789ab" },
        { "0::/docker/" ID "\n", "/docker/" ID, "0123456789ab" },
        { "0::/docker/" ID "/init.scope\n", "/docker/" ID "/init.scope", "0123456789ab" },
        { "0::/kubepods.slice/kubepods-" POD ".slice/cri-containerd-" ID ".scope",
          "/kubepods.slice/kubepods-" POD ".slice/cri-containerd-" ID ".scope", "0123456789ab" },
        { "0::/kubepods/burstable/" POD "/" ID "\n", "/kubepods/burstable/" POD "/" ID,
          "0123456789ab" },
        { "0::/kubepods.slice/crio-" ID ".scope\n", "/kubepods.slice/crio-" ID ".scope",
          "0123456789ab" },
        { "0::/m.slice/libpod-" ID ".scope/container\n", "/m.slice/libpod-" ID ".scope/container",
          "0123456789ab" },
        { "0::/k.slice:cri-containerd:" ID "\n", "/k.slice:cri-containerd:" ID, "0123456789ab" },
        { "0::/lxc/web\n", "/lxc/web", "web" },
        { "0::/lxc.payload.a-long-name-here\n", "/lxc.payload.a-long-name-here", "a-long-name-" },
        { "0::/lxc.payload/web/init.scope\n", "/lxc.payload/web/init.scope", "web" },
        { "0::/machine.slice/machine-deb.scope\n", "/machine.slice/machine-deb.scope", "deb" },
        { "0::/machine.slice/systemd-nspawn@deb.service/payload\n",
          "/machine.slice/systemd-nspawn@deb.service/payload", "deb" },
        /* a container inside of one: the inner one */
        { "0::/lxc.payload.web/docker/" ID "\n", "/lxc.payload.web/docker/" ID, "0123456789ab" },
        /* helpers and virtual machines are outside */
        { "0::/machine.slice/libpod-conmon-" ID ".scope\n",
          "/machine.slice/libpod-conmon-" ID ".scope", "" },
        { "0::/lxc.monitor.web\n", "/lxc.monitor.web", "" },
        { "0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n",
          "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "" },
        /* not ids */
        { "0::/system.slice/docker.service\n", "/system.slice/docker.service", "" },
        { "0::/system.slice/docker-cleanup.service\n", "/system.slice/docker-cleanup.service", "" },
        { "0::/docker/\n", "/docker/", "" },
        { "0::/x" ID "\n", "/x" ID, "" },
        /* version 1 only, and both */
        { "3:cpu:/\n1:name=systemd:/user.slice\n", "/user.slice", "" },
        { "3:cpu:/a\n2:memory:/b\n", "/a", "" },
        { "4:memory:/docker/" ID "\n1:name=systemd:/x\n0::/\n", "/docker/" ID, "0123456789ab" },
        { "4:memory:/docker/" ID "\n0::/system.slice/containerd.service\n",
          "/system.slice/containerd.service", "0123456789ab" },
        { "4:memory:/x\n0::/\n", "/", "" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct procfs_cgroup got;
        procfs_parse_cgroup(cases[i].text, strlen(cases[i].text), &got);
        if (got.path_len != strlen(cases[i].path) ||
            memcmp(got.path_len ? got.path : "", cases[i].path, got.path_len) != 0)
            fail_msg("path of %s: %.*s", cases[i].text, (int)got.path_len, got.path);
        if (got.container_len != strlen(cases[i].container) ||
            memcmp(got.container_len ? got.container : "", cases[i].container, got.container_len) !=
                0)
            fail_msg("container of %s: %.*s", cases[i].text, (int)got.container_len, got.container);
    }
}

/* --- filling, made-up ------------------------------------------------------------------- */

static void a_whole_process_fills_every_field(void **state)
{
    (void)state;
    put_process('S', 0);
    put_image();
    fs.boot = 1000;
    assert_int_equal(fill(PROCFS_FIELDS), 0);

    assert_num(F_PPID, 3);
    assert_num(F_SID, 5);
    assert_num(F_STARTTIME, 5000);
    assert_num(F_START, 1000 + 50 * NS_PER_SECOND);
    assert_num(F_UID, 10);
    assert_num(F_EUID, 11);
    assert_num(F_GID, 20);
    assert_num(F_EGID, 21);
    assert_num(F_LOGINUID, 1000);
    assert_str(F_COMM, "worker");
    assert_str(F_TTY, "pts/3");
    assert_str(F_EXE, "/usr/bin/work");
    assert_str(F_CWD, "/srv");
    assert_text(F_ARGS, "work\0-x", 8);
    assert_str(F_CGROUP, "/system.slice/w.service");
    assert_all(FIELD(DELETED) | FIELD(CONTAINER) | FIELD(TRUNCATED), WHY_ABSENT);
    assert_true(event_valid(&box.ev, sizeof box));
}

static void what_was_not_wanted_stays_as_it_is(void **state)
{
    (void)state;
    put_process('S', 0);
    put_image();
    for (int field = F_PPID; field <= EVENT_LAST_STATE; field++)
        event_set_missing(&box, (enum event_field)field, WHY_UNSEEN);
    assert_int_equal(fill(FIELD(EXE) | FIELD(UID) | FIELD(PID)), 0);
    assert_str(F_EXE, "/usr/bin/work");
    assert_num(F_UID, 10);
    assert_all(PROCFS_FIELDS & ~(FIELD(EXE) | FIELD(UID)), WHY_UNSEEN);
}

static void nothing_there_is_absent_and_no_fault(void **state)
{
    (void)state;
    put("7/stat", stat_line("w", 'S', 0, 0, 1));
    put("7/loginuid", "4294967295");
    put("7/cgroup", "0::/x\n");
    assert_int_equal(fill(FIELD(TTY) | FIELD(LOGINUID) | FIELD(CONTAINER) | FIELD(CGROUP)), 0);
    assert_all(FIELD(TTY) | FIELD(LOGINUID) | FIELD(CONTAINER), WHY_ABSENT);
    assert_str(F_CGROUP, "/x");
}

static void a_kernel_without_audit_or_cgroups_is_no_fault(void **state)
{
    (void)state;
    put("7/stat", stat_line("w", 'S', 0, 0, 1));
    assert_int_equal(fill(FIELD(LOGINUID) | FIELD(CGROUP) | FIELD(CONTAINER)), 0);
    assert_all(FIELD(LOGINUID) | FIELD(CGROUP) | FIELD(CONTAINER), WHY_ABSENT);
}

#define IMAGE (FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(CWD))

static void an_empty_cmdline_is_told_apart(void **state)
{
    (void)state;
    static const struct {
        char state;
        unsigned flags;
        enum event_why args, exe, cwd;
    } cases[] = {
        { 'Z', 0x40000c, WHY_ZOMBIE, WHY_ZOMBIE, WHY_ZOMBIE },
        { 'X', 0x40000c, WHY_ZOMBIE, WHY_ZOMBIE, WHY_ZOMBIE },
        { 'R', 0x400004, WHY_ZOMBIE, WHY_ZOMBIE, WHY_ZOMBIE }, /* exiting, memory is gone */
        { 'S', 0x208040, WHY_KTHREAD, WHY_KTHREAD, WHY_GONE },
        { 'S', 0x400000, WHY_PROC, WHY_GONE, WHY_GONE },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        put_process(cases[i].state, cases[i].flags);
        put("7/cmdline", "");
        event_begin(&box, EVENT_EXEC);
        assert_int_equal(fill(IMAGE), 0);
        assert_all(FIELD(ARGS), cases[i].args);
        assert_all(FIELD(EXE) | FIELD(DELETED), cases[i].exe);
        assert_all(FIELD(CWD), cases[i].cwd);
    }
    assert_text(F_ARGS, "", 0);
}

static void each_namespace_is_known_or_says_why_not(void **state)
{
    (void)state;
    put_process('S', 0);
    put("7/ns/there", "");
    put_link("7/ns/pid", "pid:[4026531836]");
    put_link("7/ns/net", "net:[not a number]");
    put_link("7/ns/user", "user:[18446744073709551616]");
    assert_int_equal(fill(FIELD(PID_NS) | FIELD(MNT_NS) | FIELD(NET_NS) | FIELD(USER_NS)), 0);
    assert_num(F_PID_NS, 4026531836);
    assert_all(FIELD(MNT_NS), WHY_GONE);
    assert_all(FIELD(NET_NS) | FIELD(USER_NS), WHY_DENIED);
}

static void in_the_middle_of_an_exec_no_image_is_told(void **state)
{
    static const struct {
        const char *why;
        char state;
        const char *memory; /* vsize, rss, its limit, start_code */
        bool told;
    } cases[] = {
        { "a program runs", 'R', "8462336 1041 1 4194304", true },
        { "we may not know", 'R', "8462336 1041 1 1", true },
        { "no program yet", 'R', "8462336 1041 1 0", false },
        { "its memory has gone", 'Z', "0 0 1 0", true },
    };
    (void)state;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        char line[512];
        snprintf(
            line, sizeof line,
            "7 (next) %c 3 7 5 0 -1 0 11 12 13 14 150 16 17 18 20 -5 2 0 5000 %s 2 3 0 0 0 0 0 0 "
            "0 0 0 17 3 50 2 0 0 0 1 2 3 4 5 6 7 0\n",
            cases[i].state, cases[i].memory);
        put("7/stat", line);
        put_bytes("7/cmdline", "before\0", 7);
        event_begin(&box, EVENT_EXEC);
        assert_int_equal(procfs_fill(&fs, 7, 5000, FIELD(ARGS) | FIELD(COMM) | FIELD(SID), &box),
                         0);
        if (event_has(&box.ev, F_ARGS) != cases[i].told ||
            event_has(&box.ev, F_COMM) != cases[i].told)
            fail_msg("%s: told, or not told", cases[i].why);
        if (!cases[i].told)
            assert_int_equal(box.ev.why[F_ARGS], WHY_GONE);
        assert_int_equal(event_int(&box.ev, F_SID, 0), 5);
    }
}

static void a_zombies_image_that_was_read_in_time_is_kept(void **state)
{
    (void)state;
    put_process('Z', 0);
    put_image();
    assert_int_equal(fill(IMAGE), 0);
    assert_text(F_ARGS, "work\0-x", 8);
    assert_str(F_EXE, "/usr/bin/work");
}

static void args_of_any_bytes_are_kept(void **state)
{
    (void)state;
    put_process('S', 0);
    put("7/cmdline", "nginx: worker\n\xff process");
    assert_int_equal(fill(FIELD(ARGS)), 0);
    assert_text(F_ARGS, "nginx: worker\n\xff process\0", 24); /* ended by event_set_text */
    assert_all(FIELD(TRUNCATED), WHY_ABSENT);
    assert_true(event_valid(&box.ev, sizeof box));
}

static void args_are_cut_at_64_kib_and_say_so(void **state)
{
    (void)state;
    static char big[3 * EVENT_TEXT_MAX];
    memset(big, 'x', sizeof big);
    big[EVENT_TEXT_MAX - 1] = '\0';
    static const struct {
        size_t len;
        enum event_why truncated;
    } cases[] = {
        { EVENT_TEXT_MAX, WHY_ABSENT },
        { EVENT_TEXT_MAX + 1, WHY_PROC },
        { sizeof big, WHY_PROC },
        { 10, WHY_ABSENT },
    };
    put_process('S', 0);
    put_image();
    for (size_t i = 0; i < LENGTH(cases); i++) {
        put_bytes("7/cmdline", big, cases[i].len);
        event_begin(&box, EVENT_EXEC);
        assert_int_equal(fill(PROCFS_FIELDS), 0);
        assert_all(FIELD(TRUNCATED), cases[i].truncated);
        assert_str(F_CGROUP, "/system.slice/w.service");
        assert_true(event_valid(&box.ev, sizeof box));
        if (cases[i].len > 10)
            assert_text(F_ARGS, big, EVENT_TEXT_MAX);
    }
}

static void a_missing_file_says_nothing_of_what_was_not_wanted(void **state)
{
    (void)state;
    put_bytes("7/cmdline", "work\0-x", 8);
    for (int field = F_PPID; field <= EVENT_LAST_STATE; field++)
        event_set_missing(&box, (enum event_field)field, WHY_UNSEEN);
    assert_int_equal(fill(FIELD(ARGS) | FIELD(PPID)), -ESRCH);
    assert_all(FIELD(PPID), WHY_GONE);
    assert_all(PROCFS_FIELDS & ~(FIELD(ARGS) | FIELD(PPID)), WHY_UNSEEN);
    put("7/stat", stat_line("w", 'S', 0, 0, 1));
    assert_int_equal(fill(FIELD(EGID) | FIELD(EXE)), 0);
    assert_all(FIELD(EGID) | FIELD(EXE), WHY_GONE);
    assert_all(FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(DELETED), WHY_UNSEEN);
}

static void malformed_status_and_loginuid_are_missing_not_zero(void **state)
{
    (void)state;
    static const char *const cases[] = { "",
                                         "Name:\tw\n",
                                         "Uid:\t1\t1\n",
                                         "Uid:\t1\nGid:\t1\t1\n",
                                         "Uid:\tx\ty\nGid:\t1\t1\n",
                                         "xUid:\t1\t1\nGid:\t1\t1\n" };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        put_process('S', 0);
        put("7/status", cases[i]);
        put("7/loginuid", "root");
        assert_int_equal(fill(FIELD(UID) | FIELD(EGID) | FIELD(LOGINUID)), 0);
        assert_all(FIELD(UID) | FIELD(EGID) | FIELD(LOGINUID), WHY_DENIED);
    }
}

static void another_start_time_discards_what_was_read(void **state)
{
    (void)state;
    put_process('S', 0);
    put_image();
    uint32_t size = box.ev.size;
    assert_int_equal(procfs_fill(&fs, 7, 5002, PROCFS_FIELDS, &box), -ESRCH);
    assert_all(PROCFS_FIELDS, WHY_GONE);
    assert_int_equal(box.ev.size, size);
    assert_int_equal(procfs_fill(&fs, 7, 4998, PROCFS_FIELDS, &box), -ESRCH);
    assert_int_equal(procfs_fill(&fs, 7, 0, PROCFS_FIELDS, &box), -ESRCH);
}

static void a_start_time_may_differ_by_one_tick(void **state)
{
    (void)state;
    put_process('S', 0);
    for (int64_t start = 4999; start <= 5001; start++) {
        assert_int_equal(procfs_fill(&fs, 7, start, FIELD(COMM) | FIELD(STARTTIME), &box), 0);
        assert_num(F_STARTTIME, 5000);
    }
}

static void a_process_that_goes_before_stat_leaves_what_was_read(void **state)
{
    (void)state;
    put_bytes("7/cmdline", "work\0-x", 8);
    assert_int_equal(procfs_fill(&fs, 7, 5000, PROCFS_FIELDS, &box), -ESRCH);
    assert_text(F_ARGS, "work\0-x", 8);
    assert_all(PROCFS_FIELDS & ~FIELD(ARGS), WHY_GONE);
}

static void a_process_that_was_never_there_is_gone(void **state)
{
    (void)state;
    assert_int_equal(fill(PROCFS_FIELDS), -ESRCH);
    assert_all(PROCFS_FIELDS, WHY_GONE);
    assert_int_equal(procfs_fill(&fs, 0, -1, PROCFS_FIELDS, &box), -ESRCH);
    assert_int_equal(procfs_fill(&fs, -7, -1, PROCFS_FIELDS, &box), -ESRCH);
}

static void malformed_stat_keeps_nothing(void **state)
{
    (void)state;
    put_bytes("7/cmdline", "work", 5);
    put("7/stat", "7 (work) R 1");
    assert_int_equal(fill(PROCFS_FIELDS), -EBADMSG);
    assert_all(PROCFS_FIELDS, WHY_DENIED);
}

/* Drop root's powers for a while; made-up files of mode 0 are then as closed as real ones. */
static void be_nobody(void)
{
    if (!geteuid())
        assert_int_equal(seteuid(65534), 0);
}

static void be_root_again(void)
{
    if (!getuid())
        assert_int_equal(seteuid(0), 0);
}

static void a_closed_file_is_denied_not_gone(void **state)
{
    (void)state;
    put_process('S', 0);
    put_image();
    chmod(in_tree("7/cmdline"), 0);
    chmod(in_tree("7/status"), 0);
    chmod(in_tree("7/loginuid"), 0);
    be_nobody();
    assert_int_equal(fill(PROCFS_FIELDS), 0);
    be_root_again();
    assert_all(FIELD(ARGS) | FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(EGID) | FIELD(LOGINUID),
               WHY_DENIED);
    assert_str(F_EXE, "/usr/bin/work");
    assert_str(F_COMM, "worker");
}

static void of_a_process_that_went_nothing_is_called_denied(void **state)
{
    (void)state;
    put("7/cmdline", "x");
    chmod(in_tree("7/cmdline"), 0);
    be_nobody();
    int err = fill(PROCFS_FIELDS);
    be_root_again();
    assert_int_equal(err, -ESRCH);
    assert_all(PROCFS_FIELDS, WHY_GONE);
}

static void a_closed_stat_is_denied_and_keeps_nothing(void **state)
{
    (void)state;
    put_process('S', 0);
    put_image();
    chmod(in_tree("7/stat"), 0);
    be_nobody();
    int err = fill(PROCFS_FIELDS);
    be_root_again();
    assert_int_equal(err, -EACCES);
    assert_all(PROCFS_FIELDS, WHY_DENIED);
}

static void read_stops_at_cap_and_link_adds_no_nul(void **state)
{
    (void)state;
    put("7/comm", "abcdef");
    put_link("7/exe", "/x/y");
    char bytes[8] = "........";
    int dir = procfs_pid_open(&fs, 7);
    assert_int_equal(procfs_read(dir, "comm", bytes, 3), 3);
    assert_memory_equal(bytes, "abc.", 4);
    assert_int_equal(procfs_read(dir, "comm", bytes, 0), 0);
    assert_int_equal(procfs_link(dir, "exe", bytes, 8), 4);
    assert_memory_equal(bytes, "/x/y..", 6);
    assert_int_equal(procfs_read(dir, "none", bytes, 8), -ENOENT);
    assert_int_equal(procfs_link(dir, "comm", bytes, 8), -EINVAL);
    close(dir);
}

static int sum_pids(void *ctx, int pid)
{
    *(int64_t *)ctx += pid;
    return pid == 99 ? 42 : 0;
}

static void scan_calls_for_processes_only(void **state)
{
    (void)state;
    static const char *const entries[] = { "1",   "20", "300", "self", "3x", "99999999999",
                                           "sys", "0",  "-5",  " 8",   ".",  "" };
    for (size_t i = 0; i < LENGTH(entries); i++)
        mkdir(in_tree(entries[i]), 0755);
    for (int again = 0; again < 2; again++) { /* each scan begins at the beginning */
        int64_t sum = 0;
        assert_int_equal(procfs_scan(&fs, sum_pids, &sum), 0);
        assert_int_equal(sum, 321);
    }
    int64_t sum = 0;
    mkdir(in_tree("99"), 0755);
    assert_int_equal(procfs_scan(&fs, sum_pids, &sum), 42);
}

static void opening_what_is_not_there_fails(void **state)
{
    (void)state;
    struct procfs other;
    assert_int_equal(procfs_open(&other, in_tree("none")), -ENOENT);
    procfs_close(&other);
    put("7/stat", "");
    assert_int_equal(procfs_open(&other, in_tree("7/stat")), -ENOTDIR);
    assert_false(fs.hidden);
}

/* --- filling, real ---------------------------------------------------------------------- */

/* Of our own file, by other means than the code under test. */
static size_t slurp(const char *path, char *to, size_t cap)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t len = fread(to, 1, cap, f);
    fclose(f);
    return len;
}

static void we_are_who_we_are(void **state)
{
    (void)state;
    char text[4096];
    prctl(PR_SET_NAME, "odd) na\nme (");
    assert_int_equal(procfs_fill(&fs, getpid(), -1, PROCFS_FIELDS, &box), 0);

    assert_str(F_COMM, "odd) na\nme (");
    assert_text(F_ARGS, text, slurp("/proc/self/cmdline", text, sizeof text));
    assert_str(F_CWD, getcwd(text, sizeof text));
    ssize_t len = readlink("/proc/self/exe", text, sizeof text);
    assert_text(F_EXE, text, (size_t)len);
    assert_num(F_PPID, getppid());
    assert_num(F_SID, getsid(0));
    assert_num(F_UID, getuid());
    assert_num(F_EGID, getegid());
    assert_all(FIELD(DELETED), WHY_ABSENT);
    struct stat ns;
    assert_int_equal(stat("/proc/self/ns/mnt", &ns), 0);
    assert_num(F_MNT_NS, (int64_t)ns.st_ino);

    int64_t age = clock_real_ns() - event_int(&box.ev, F_START, 0);
    assert_true(age > -NS_PER_SECOND && age < 3600 * NS_PER_SECOND);
    assert_int_equal(
        procfs_fill(&fs, getpid(), event_int(&box.ev, F_STARTTIME, 0) + 2, PROCFS_FIELDS, &box),
        -ESRCH);
    assert_all(PROCFS_FIELDS, WHY_GONE);
}

/* The kernel gives a long list page by page. */
static void a_file_that_takes_several_reads_is_read_whole(void **state)
{
    (void)state;
    static char text[1 << 20];
    int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    ssize_t first = read(fd, text, sizeof text);
    close(fd);
    int dir = procfs_pid_open(&fs, getpid());
    ssize_t all = procfs_read(dir, "smaps", text, sizeof text);
    close(dir);
    assert_true(first > 0 && all > first);
    assert_int_equal(text[all - 1], '\n');
}

static int find_us(void *ctx, int pid)
{
    *(bool *)ctx |= pid == getpid();
    return 0;
}

static void scan_finds_us(void **state)
{
    (void)state;
    bool found = false;
    assert_int_equal(procfs_scan(&fs, find_us, &found), 0);
    assert_true(found);
}

/* A child that has exited and was not reaped. */
static pid_t make_zombie(void)
{
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

static void a_real_zombie_is_called_so_and_a_reaped_one_is_gone(void **state)
{
    (void)state;
    pid_t pid = make_zombie();
    int dir = procfs_pid_open(&fs, pid);
    assert_true(dir >= 0);

    assert_int_equal(procfs_fill(&fs, pid, -1, PROCFS_FIELDS, &box), 0);
    assert_all(IMAGE, WHY_ZOMBIE);
    assert_num(F_PPID, getpid());
    assert_num(F_UID, getuid());

    char text[16];
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(procfs_fill(&fs, pid, -1, PROCFS_FIELDS, &box), -ESRCH);
    assert_all(PROCFS_FIELDS, WHY_GONE);
    assert_int_equal(procfs_read(dir, "stat", text, sizeof text), -ESRCH);
    assert_int_equal(procfs_link(dir, "exe", text, sizeof text), -ESRCH);
    close(dir);
}

/* A child with this pid that waits to be killed; -errno where that needs more privilege. */
static pid_t fork_as(pid_t pid)
{
    struct clone_args args = { .exit_signal = SIGCHLD,
                               .set_tid = (uintptr_t)&pid,
                               .set_tid_size = 1 };
    long child = syscall(SYS_clone3, &args, sizeof args);
    if (child)
        return child < 0 ? -errno : (pid_t)child;
    for (;;)
        pause();
}

static void a_held_directory_never_shows_the_next_owner_of_the_pid(void **state)
{
    (void)state;
    pid_t pid = make_zombie();
    int dir = procfs_pid_open(&fs, pid);
    waitpid(pid, NULL, 0);
    pid_t next = fork_as(pid);
    if (next == -EPERM || next == -ENOSYS) {
        close(dir);
        skip();
    }
    assert_int_equal(next, pid);

    char text[1024];
    assert_int_equal(procfs_read(dir, "stat", text, sizeof text), -ESRCH);
    assert_int_equal(procfs_read(dir, "cmdline", text, sizeof text), -ESRCH);
    assert_int_equal(procfs_link(dir, "exe", text, sizeof text), -ESRCH);
    close(dir);
    dir = procfs_pid_open(&fs, pid);
    assert_true(procfs_read(dir, "stat", text, sizeof text) > 0);
    close(dir);
    kill(next, SIGKILL);
    waitpid(next, NULL, 0);
}

static void a_kernel_thread_has_neither_exe_nor_args(void **state)
{
    (void)state;
    char comm[32] = "";
    if (access("/proc/2/comm", R_OK) || !slurp("/proc/2/comm", comm, sizeof comm) ||
        strcmp(comm, "kthreadd\n") != 0)
        skip(); /* in a container */
    assert_int_equal(procfs_fill(&fs, 2, -1, PROCFS_FIELDS, &box), 0);
    assert_all(FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED), WHY_KTHREAD);
    assert_str(F_COMM, "kthreadd");
}

static void exe_of_a_foreign_process_is_denied(void **state)
{
    (void)state;
    if (getuid())
        skip(); /* a child of ours is foreign only once we are somebody else */
    pid_t child = fork();
    if (!child)
        for (;;)
            pause();
    be_nobody();
    int err = procfs_fill(&fs, child, -1, PROCFS_FIELDS, &box);
    be_root_again();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(err, 0);
    assert_all(FIELD(EXE) | FIELD(DELETED) | FIELD(CWD), WHY_DENIED);
    assert_all(FIELD(ARGS) | FIELD(COMM) | FIELD(UID), WHY_PROC);
}

/* Copies our program to `path`. */
static void copy_self(const char *path)
{
    static char bytes[1 << 16];
    size_t len;
    FILE *from = fopen("/proc/self/exe", "r"), *to = fopen(path, "w");
    assert_non_null(from);
    assert_non_null(to);
    while ((len = fread(bytes, 1, sizeof bytes, from)))
        assert_int_equal(fwrite(bytes, 1, len, to), len);
    fclose(from);
    fclose(to);
    chmod(path, 0755);
}

struct runner {
    pid_t pid;
    int up, down; /* its output and its input */
};

/* Run `path`, a copy of ourselves, and come back when its main runs. */
static struct runner run_copy(const char *path)
{
    int up[2], down[2];
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(down, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (!pid) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        execl(path, "copy", "--wait", (char *)NULL);
        _exit(127);
    }
    close(up[1]);
    close(down[0]);
    char byte;
    assert_int_equal(read(up[0], &byte, 1), 1);
    return (struct runner){ pid, up[0], down[1] };
}

static void end_copy(struct runner r)
{
    int status;
    close(r.down);
    close(r.up);
    assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
    assert_int_equal(status, 0);
}

static void a_removed_program_is_told_from_an_odd_name(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool link, unlink; /* a second name of the file stays; this one goes */
        bool impostor;     /* then another file is called NAME (deleted) */
        bool deleted;
    } cases[] = {
        { "plain", false, false, false, false },
        { "plain", false, true, false, true },
        { "plain", true, true, false, true },
        { "plain", false, true, true, true },
        { "plain", true, true, true, true },
        { "odd (deleted)", false, false, false, false },
        { "odd (deleted)", true, false, false, false },
        { "odd (deleted)", false, true, false, true },
        { "odd (deleted)", true, true, false, true },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char path[128], other[160], impostor[160];
        snprintf(path, sizeof path, "%s", in_tree(cases[i].name));
        snprintf(other, sizeof other, "%s.link", path);
        snprintf(impostor, sizeof impostor, "%s (deleted)", path);
        copy_self(path);
        if (cases[i].link)
            assert_int_equal(link(path, other), 0);
        struct runner copy = run_copy(path);
        if (cases[i].unlink)
            assert_int_equal(unlink(path), 0);
        if (cases[i].impostor)
            copy_self(impostor);

        event_begin(&box, EVENT_EXEC);
        int err = procfs_fill(&fs, copy.pid, -1, IMAGE, &box);
        end_copy(copy);
        unlink(path);
        unlink(other);
        unlink(impostor);

        assert_int_equal(err, 0);
        assert_str(F_EXE, path);
        assert_text(F_ARGS, "copy\0--wait", 12);
        assert_all(FIELD(DELETED), cases[i].deleted ? WHY_PROC : WHY_ABSENT);
    }
}

/* Mounts proc with `options` in a mount namespace of its own and opens `root`. 0 or 1: is it
 * hidden; 2: mounting is not permitted. */
static int hidden_with(const char *options, const char *root)
{
    pid_t pid = fork();
    if (!pid) {
        struct procfs other;
        if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
            mount("proc", tree, "proc", 0, options))
            _exit(2);
        _exit(procfs_open(&other, root) ? 3 : other.hidden);
    }
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static void hidepid_is_noticed(void **state)
{
    (void)state;
    if (hidden_with("hidepid=2", tree) == 2)
        skip();
    assert_int_equal(hidden_with("hidepid=2", tree), 1);
    assert_int_equal(hidden_with("hidepid=ptraceable", tree), 1);
    assert_int_equal(hidden_with("hidepid=1", tree), 0); /* denied, which shows */
    assert_int_equal(hidden_with(NULL, tree), 0);
    assert_int_equal(hidden_with("hidepid=2", "/proc"), fs.hidden); /* another mount of proc */
}

#define MADE_UP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define REAL(test)    cmocka_unit_test_setup_teardown(test, set_up_real, tear_down)

int main(int argc, char **argv)
{
    char byte = 0;
    if (argc > 1 && !strcmp(argv[1], "--wait"))
        return write(1, "!", 1) == 1 && read(0, &byte, 1) == 0 ? 0 : 1;

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stat_survives_hostile_names),
        cmocka_unit_test(stat_has_every_number_in_its_place),
        cmocka_unit_test(malformed_stat_is_refused),
        cmocka_unit_test(stat_cut_off_before_the_last_number_is_refused),
        cmocka_unit_test(terminals_are_named_as_ps_names_them),
        cmocka_unit_test(cgroup_shows_path_and_container),
        MADE_UP(a_whole_process_fills_every_field),
        MADE_UP(what_was_not_wanted_stays_as_it_is),
        MADE_UP(nothing_there_is_absent_and_no_fault),
        MADE_UP(a_kernel_without_audit_or_cgroups_is_no_fault),
        MADE_UP(an_empty_cmdline_is_told_apart),
        MADE_UP(each_namespace_is_known_or_says_why_not),
        MADE_UP(in_the_middle_of_an_exec_no_image_is_told),
        MADE_UP(a_zombies_image_that_was_read_in_time_is_kept),
        MADE_UP(args_of_any_bytes_are_kept),
        MADE_UP(args_are_cut_at_64_kib_and_say_so),
        MADE_UP(a_missing_file_says_nothing_of_what_was_not_wanted),
        MADE_UP(malformed_status_and_loginuid_are_missing_not_zero),
        MADE_UP(another_start_time_discards_what_was_read),
        MADE_UP(a_start_time_may_differ_by_one_tick),
        MADE_UP(a_process_that_goes_before_stat_leaves_what_was_read),
        MADE_UP(a_process_that_was_never_there_is_gone),
        MADE_UP(malformed_stat_keeps_nothing),
        MADE_UP(a_closed_file_is_denied_not_gone),
        MADE_UP(of_a_process_that_went_nothing_is_called_denied),
        MADE_UP(a_closed_stat_is_denied_and_keeps_nothing),
        MADE_UP(read_stops_at_cap_and_link_adds_no_nul),
        MADE_UP(scan_calls_for_processes_only),
        MADE_UP(opening_what_is_not_there_fails),
        REAL(we_are_who_we_are),
        REAL(a_file_that_takes_several_reads_is_read_whole),
        REAL(scan_finds_us),
        REAL(a_real_zombie_is_called_so_and_a_reaped_one_is_gone),
        REAL(a_held_directory_never_shows_the_next_owner_of_the_pid),
        REAL(a_kernel_thread_has_neither_exe_nor_args),
        REAL(exe_of_a_foreign_process_is_denied),
        REAL(a_removed_program_is_told_from_an_odd_name),
        REAL(hidepid_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
