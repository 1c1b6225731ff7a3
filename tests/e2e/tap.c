/* tap.c - what the tap tells of execs and ends, against what /proc and wait4() tell of the same.
 *
 * Children exec this very program (or copies of it in odd places) and then wait, so that /proc can be
 * read in peace: any difference is a fault of the program in the kernel. Where the tap cannot be
 * had every test is skipped, with the reason. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/tap.h"

#define DEADLINE_NS (30 * NS_PER_SECOND) /* of a test that hangs, not of one that waits */
#define CANNOT      77                   /* status of a child that was not permitted its part */
#define GROUPED     (FIELD(CGROUP) | FIELD(CONTAINER))
#define MS          INT64_C(1000000)

static struct tap *tap;
static struct notes *notes;
static struct procfs fs;
static char dir[64], program[80];

__attribute__((noreturn)) static void skip_for(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
    abort(); /* not reached */
}

/* --- a tap and a place for files ----------------------------------------------------------- */

static const char *refused; /* why there is no tap */

/* rm, because nftw does not go below paths of 4 KiB. */
static int remove_tree(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static bool copy_program(const char *to)
{
    char bytes[65536];
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int into = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    ssize_t got = -1;
    while (from >= 0 && into >= 0 && (got = read(from, bytes, sizeof bytes)) > 0)
        if (write(into, bytes, (size_t)got) != got)
            got = -1;
    close(from);
    close(into);
    return got == 0 && chmod(to, 0755) == 0;
}

static int begin_all(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/moonwatch-tap-XXXXXX");
    notes = notes_new(16 << 20);
    if (!notes || !mkdtemp(dir) || chmod(dir, 0755) || procfs_open(&fs, "/proc"))
        return 1;
    snprintf(program, sizeof program, "%s/p", dir);
    return copy_program(program) && tap_open(&tap, 8 << 20, &refused) == 0 ? 0 : 1;
}

static int end_all(void **state)
{
    (void)state;
    tap_close(tap);
    notes_free(notes);
    procfs_close(&fs);
    return remove_tree();
}

static int begin(void **state)
{
    (void)state;
    tap_need(tap, UINT64_MAX);
    tap_drain(tap, notes);
    notes_expire(notes, INT64_MAX);
    return 0;
}

/* --- children ------------------------------------------------------------------------------ */

/* What a child does between fork and exec; all of it may be left out. */
struct child {
    void (*before)(void *ctx);
    void *ctx;
    const char *path;    /* else the program */
    char *const *argv;   /* else one word */
    void (*exec)(const struct child *c, char *const envp[]);
};

static char *const waits[] = { "MOONWATCH_TAP_CHILD=wait", NULL };
static char *const one_word[] = { "word", NULL };

static void need(bool done)
{
    if (!done)
        _exit(CANNOT);
}

static pid_t start(const struct child *c)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    alarm(60); /* nobody may outlive a test that failed */
    if (c->before)
        c->before(c->ctx);
    if (c->exec)
        c->exec(c, waits);
    else
        execve(c->path ? c->path : program, c->argv ? c->argv : one_word, waits);
    _exit(CANNOT);
}

static void stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* What the tap told of its exec: borrowed until the next drain. */
static const void *await_exec(pid_t pid, size_t *len)
{
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;
    const void *record;
    int status;
    for (;;) {
        tap_drain(tap, notes);
        if ((record = notes_take(notes, TAP_NOTES_EXEC, pid, INT64_MAX / 2, len)))
            return record;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT)
                skip_for("what this needs is not permitted here");
            fail_msg("the child ended with %x", status);
        }
        if (clock_mono_ns() > until_ns)
            fail_msg("no record of the exec came");
        poll(NULL, 0, 1);
    }
}

/* --- comparing with /proc ------------------------------------------------------------------ */

static struct event_box told, shown;

static void assert_same_text(enum event_field field)
{
    size_t a_len, b_len;
    const char *a = event_text(&told.ev, field, &a_len), *b = event_text(&shown.ev, field, &b_len);
    if (a_len != b_len || memcmp(a, b, a_len) != 0)
        fail_msg("%s: the tap tells %zu bytes '%.*s', /proc shows %zu bytes '%.*s'",
                 event_fields[field].name, a_len, (int)a_len, a, b_len, (int)b_len, b);
}

static void assert_same_field(enum event_field field)
{
    bool a = event_has(&told.ev, field), b = event_has(&shown.ev, field);
    if (!b && shown.ev.why[field] == WHY_DENIED)
        return; /* the tap sees more than we may: the test says what is right */
    if (a != b)
        fail_msg("%s: the tap says %s, /proc says %s", event_fields[field].name,
                 event_why_text(told.ev.why[field]), event_why_text(shown.ev.why[field]));
    if (!a)
        assert_int_equal(told.ev.why[field], shown.ev.why[field]);
    else if (event_is_text(field))
        assert_same_text(field);
    else if (field == F_START) /* /proc counts in ticks */
        assert_in_range(told.ev.cell[field].num - shown.ev.cell[field].num, 0, 10 * MS - 1);
    else if (told.ev.cell[field].num != shown.ev.cell[field].num)
        fail_msg("%s: the tap tells %lld, /proc shows %lld", event_fields[field].name,
                 (long long)told.ev.cell[field].num, (long long)shown.ev.cell[field].num);
}

/* Takes its record, fills `told` and `shown`, and compares all fields. */
static void compare(pid_t pid)
{
    size_t len;
    const void *record = await_exec(pid, &len);
    event_begin(&told, EVENT_EXEC);
    event_begin(&shown, EVENT_EXEC);
    assert_int_equal(tap_fill(record, len, fs.boot, PROCFS_FIELDS, &told), GROUPED);
    assert_int_equal(procfs_fill(&fs, pid, -1, PROCFS_FIELDS, &shown), 0);
    for (int f = 0; f < EVENT_FIELDS; f++)
        if ((PROCFS_FIELDS & ~GROUPED) >> f & 1)
            assert_same_field(f);
    if (shown.ev.why[F_EXE] != WHY_DENIED && shown.ev.why[F_CWD] != WHY_DENIED)
        assert_same_field(F_TRUNCATED);
}

static void assert_told(enum event_field field, const char *want)
{
    size_t len;
    const char *text = event_text(&told.ev, field, &len);
    if (len != strlen(want) || memcmp(text, want, len) != 0)
        fail_msg("%s is '%.*s', not '%s'", event_fields[field].name, (int)len, text, want);
}

static void compare_child(const struct child *c)
{
    pid_t pid = start(c);
    compare(pid);
    stop(pid);
}

/* --- execs --------------------------------------------------------------------------------- */

static void a_thousand_children_are_told_as_proc_shows_them(void **state)
{
    char first[32], second[32];
    char *argv[] = { first, second, "", "third  word", NULL };
    struct child c = { .argv = argv };
    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(first, sizeof first, "child-%d", i);
        snprintf(second, sizeof second, "%0*d", i % 20 + 1, i * 7919);
        compare_child(&c);
        assert_told(F_COMM, "p");
        assert_told(F_EXE, program);
        assert_int_equal(told.ev.cell[F_PPID].num, getpid());
    }
    assert_int_equal(tap_dropped(tap), 0);
}

/* Their records are read only when they are all gone. */
static void short_children_are_told_whole_when_they_are_gone(void **state)
{
    enum { MANY = 1000 };
    static pid_t pids[MANY];
    (void)state;
    for (int i = 0; i < MANY; i++) {
        char word[32];
        snprintf(word, sizeof word, "number-%d", i);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            execl("/bin/true", "true", word, NULL);
            _exit(1);
        }
        waitpid(pids[i], NULL, 0);
    }
    tap_drain(tap, notes);
    assert_int_equal(tap_dropped(tap), 0);
    for (int i = 0; i < MANY; i++) {
        char want[64];
        size_t len, args_len;
        int want_len = snprintf(want, sizeof want, "true%cnumber-%d", 0, i) + 1;
        const void *record = notes_take(notes, TAP_NOTES_EXEC, pids[i], INT64_MAX / 2, &len);
        assert_non_null(record);
        event_begin(&told, EVENT_EXEC);
        assert_int_equal(tap_fill(record, len, fs.boot, PROCFS_FIELDS, &told), GROUPED);
        const char *args = event_text(&told.ev, F_ARGS, &args_len);
        assert_int_equal(args_len, want_len);
        assert_memory_equal(args, want, args_len);
    }
}

static void make_args(size_t bytes, char ***argv, char **text)
{
    *text = test_malloc(bytes + 1);
    *argv = test_calloc(bytes / 100 + 3, sizeof **argv);
    int at = 0;
    for (size_t i = 0; i < bytes; i++)
        (*text)[i] = i % 100 == 99 ? '\0' : (char)('a' + i % 26);
    (*text)[bytes - 1] = '\0';
    for (size_t i = 0; i < bytes; i += 100)
        (*argv)[at++] = *text + i;
}

static void args_of_any_length_are_told(void **state)
{
    static const size_t lengths[] = { 1, 2, 4095, 4096, 4097, 32768, 65534, 65535, 65536, 65537, 200000 };
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char **argv, *text;
        size_t len;
        make_args(lengths[i], &argv, &text);
        compare_child(&(struct child){ .argv = argv });
        event_text(&told.ev, F_ARGS, &len);
        assert_int_equal(len, lengths[i] > 65536 ? 65537 : lengths[i]); /* its own NUL at a cut */
        assert_int_equal(event_has(&told.ev, F_TRUNCATED), lengths[i] > 65536);
        test_free(argv);
        test_free(text);
    }
}

static void odd_args_are_told_byte_by_byte(void **state)
{
    char *nothing[] = { NULL }, *empty[] = { "", NULL }, *empties[] = { "", "", "x", "", NULL };
    char *bytes[] = { "\xff\x01\n\x1b[31m", "\\", " ", NULL };
    char *const *cases[] = { nothing, empty, empties, bytes };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare_child(&(struct child){ .argv = cases[i] });
}

static void act_session(void *ctx)
{
    (void)ctx;
    need(setsid() > 0);
}

/* A session with a terminal of its own: pseudo terminals are found by their number. */
static void act_terminal(void *ctx)
{
    need(setsid() > 0);
    need(ioctl(*(int *)ctx, TIOCSCTTY, 0) == 0);
}

static void sessions_and_terminals_are_told(void **state)
{
    char name[64];
    size_t len;
    (void)state;
    compare_child(&(struct child){ .before = act_session });
    assert_int_equal(told.ev.why[F_TTY], WHY_ABSENT);

    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof name))
        skip_for("no pseudo terminals here");
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    compare_child(&(struct child){ .before = act_terminal, .ctx = &slave });
    assert_non_null(event_text(&told.ev, F_TTY, &len));
    assert_told(F_TTY, name + strlen("/dev/"));
    close(slave);
    close(master);
}

static void act_ids(void *ctx)
{
    (void)ctx;
    need(!setresgid(3456, 4567, 0) && !setresuid(1234, 2345, 0));
}

static void ids_of_another_user_are_told(void **state)
{
    (void)state;
    compare_child(&(struct child){ .before = act_ids });
    assert_int_equal(told.ev.cell[F_UID].num, 1234);
    assert_int_equal(told.ev.cell[F_EUID].num, 2345);
    assert_int_equal(told.ev.cell[F_GID].num, 3456);
    assert_int_equal(told.ev.cell[F_EGID].num, 4567);
    assert_told(F_EXE, program);
}

static void act_user(void *ctx)
{
    (void)ctx;
    need(!setresgid(3456, 3456, 3456) && !setresuid(1234, 1234, 1234));
}

static void a_setuid_program_is_told_with_its_owner(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/setuid", dir);
    assert_true(copy_program(path));
    if (chown(path, 77, 88) || chmod(path, 06755))
        skip_for("no setuid files here");
    compare_child(&(struct child){ .before = act_user, .path = path });
    assert_int_equal(told.ev.cell[F_UID].num, 1234);
    assert_int_equal(told.ev.cell[F_EUID].num, 77);
    assert_int_equal(told.ev.cell[F_EGID].num, 88);
}

static void act_loginuid(void *ctx)
{
    (void)ctx;
    int fd = open("/proc/self/loginuid", O_WRONLY);
    need(fd >= 0 && write(fd, "1717", 4) == 4);
    close(fd);
}

static void a_login_is_told(void **state)
{
    (void)state;
    compare_child(&(struct child){ .before = act_loginuid });
    assert_int_equal(told.ev.cell[F_LOGINUID].num, 1717);
}

static void *exec_here(void *ctx)
{
    const struct child *c = ctx;
    execve(program, c->argv, waits);
    _exit(CANNOT);
}

static void exec_in_a_thread(const struct child *c, char *const envp[])
{
    pthread_t thread;
    (void)envp;
    need(!pthread_create(&thread, NULL, exec_here, (void *)c));
    for (;;)
        pause();
}

static void an_exec_of_another_thread_is_that_of_its_process(void **state)
{
    char *argv[] = { "by", "a", "thread", NULL };
    (void)state;
    compare_child(&(struct child){ .argv = argv, .exec = exec_in_a_thread });
}

/* Parent and child of a process that ended: the kernel gives it another parent. */
static void an_orphan_is_told_with_its_new_parent(void **state)
{
    int ends[2], go[2];
    pid_t pid = 0;
    (void)state;
    assert_true(!pipe(ends) && !pipe(go));
    pid_t between = fork();
    if (between == 0) {
        pid_t orphan = fork();
        if (orphan == 0) {
            alarm(60);
            char byte;
            need(read(go[0], &byte, 1) == 1);
            execve(program, one_word, waits);
            _exit(CANNOT);
        }
        _exit(write(ends[1], &orphan, sizeof orphan) < 0);
    }
    waitpid(between, NULL, 0);
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    assert_int_equal(write(go[1], "g", 1), 1);
    compare(pid);
    assert_int_not_equal(told.ev.cell[F_PPID].num, between);
    kill(pid, SIGKILL);
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        close(go[i]);
    }
}

static void a_script_is_told_with_its_interpreter(void **state)
{
    char path[96], *argv[] = { "ignored", "x", NULL };
    (void)state;
    snprintf(path, sizeof path, "%s/script", dir);
    FILE *f = fopen(path, "w");
    fprintf(f, "#!%s one argument\n", program);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
    compare_child(&(struct child){ .path = path, .argv = argv });
    assert_told(F_EXE, program);
    assert_told(F_COMM, "script");
}

/* --- paths --------------------------------------------------------------------------------- */

/* Goes down `count` directories from the test's; they are made. */
struct deep {
    int count;
    size_t len; /* of each name */
    bool run_there;
};

static void go_deep(const struct deep *deep)
{
    char name[256];
    need(chdir(dir) == 0);
    memset(name, 'n', sizeof name);
    name[deep->len] = '\0';
    for (int i = 0; i < deep->count; i++) {
        name[0] = (char)('a' + deep->len % 26);
        need((mkdir(name, 0755) == 0 || errno == EEXIST) && chdir(name) == 0);
    }
}

static void act_deep(void *ctx)
{
    go_deep(ctx);
}

static void exec_deep(const struct child *c, char *const envp[])
{
    go_deep(c->ctx);
    unlink("./here");
    need(linkat(AT_FDCWD, program, AT_FDCWD, "./here", 0) == 0);
    execve("./here", one_word, envp);
}

static void paths_of_any_depth_are_told(void **state)
{
    static const struct deep cases[] = {
        { 1, 1, 0 },     { 10, 3, 0 },  { 41, 1, 0 },  { 60, 20, 0 },  { 123, 1, 0 }, { 124, 1, 0 },
        { 125, 1, 0 },   { 126, 1, 0 }, { 127, 1, 0 }, { 200, 1, 0 },  { 1000, 1, 0 },
        { 2000, 1, 0 },  { 15, 250, 0 }, { 15, 255, 0 }, { 400, 8, 0 }, { 14, 255, 0 },
        { 1, 255, 0 },   { 800, 4, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("  %d directories of %zu letters\n", cases[i].count, cases[i].len);
        compare_child(&(struct child){ .before = act_deep, .ctx = (void *)&cases[i] });
        assert_false(event_has(&told.ev, F_TRUNCATED));
        compare_child(&(struct child){ .exec = exec_deep, .ctx = (void *)&cases[i] });
        assert_false(event_has(&told.ev, F_TRUNCATED));
    }
}

/* Every length around the longest that /proc tells. */
static void paths_around_the_longest_are_told(void **state)
{
    (void)state;
    size_t base = strlen(dir) + 16 * 241 + 1; /* a slash and the last name are left */
    for (size_t len = 4080; len <= 4110; len++) {
        char last[256];
        struct deep deep = { 16, 240, 0 };
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            go_deep(&deep);
            memset(last, 'l', sizeof last);
            last[len - base] = '\0';
            need((mkdir(last, 0755) == 0 || errno == EEXIST) && chdir(last) == 0);
            execve(program, one_word, waits);
            _exit(CANNOT);
        }
        compare(pid);
        size_t told_len;
        event_text(&told.ev, F_CWD, &told_len);
        if (event_has(&shown.ev, F_CWD)) {
            assert_int_equal(told_len, len);
            assert_false(event_has(&told.ev, F_TRUNCATED));
        } else {
            assert_true(told_len > 3800);
        }
        stop(pid);
    }
}

/* /proc does not tell these at all. */
static void a_path_beyond_the_longest_is_told_from_its_end(void **state)
{
    struct deep deep = { 30, 200, 0 };
    size_t len;
    (void)state;
    compare_child(&(struct child){ .exec = exec_deep, .ctx = &deep });
    assert_int_equal(shown.ev.why[F_EXE], WHY_DENIED);
    assert_true(event_has(&told.ev, F_TRUNCATED));
    const char *exe = event_text(&told.ev, F_EXE, &len);
    assert_true(len > 3800 && len <= 4096 + 256);
    assert_int_equal(exe[0], 's'); /* no slash: it is no whole path */
    assert_memory_equal(exe + len - 7, "nn/here", 7);
    const char *cwd = event_text(&told.ev, F_CWD, &len);
    assert_true(len > 3800);
    assert_memory_equal(cwd + len - 2, "nn", 2);
}

static void odd_names_are_told_byte_by_byte(void **state)
{
    static const char *const names[] = { "two\nlines", "\x1b[31m", "back\\slash", "\xff\xfe", " ",
                                         "a (deleted)", "..." };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        assert_true(copy_program(path));
        compare_child(&(struct child){ .path = path });
        assert_told(F_EXE, path);
        assert_false(event_has(&told.ev, F_DELETED));
    }
}

static void act_root_directory(void *ctx)
{
    (void)ctx;
    need(chdir("/") == 0);
}

static void the_root_directory_is_told(void **state)
{
    (void)state;
    compare_child(&(struct child){ .before = act_root_directory });
    assert_told(F_CWD, "/");
}

static void exec_deleted(const struct child *c, char *const envp[])
{
    char path[96];
    (void)c;
    snprintf(path, sizeof path, "%s/soon", dir);
    need(mkdir(path, 0755) == 0 && chdir(path) == 0 && copy_program("./gone"));
    int fd = open("./gone", O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && unlink("./gone") == 0 && rmdir(path) == 0);
    fexecve(fd, one_word, envp);
}

static void deleted_programs_and_directories_are_told(void **state)
{
    char want[128];
    (void)state;
    compare_child(&(struct child){ .exec = exec_deleted });
    assert_true(event_has(&told.ev, F_DELETED));
    snprintf(want, sizeof want, "%s/soon/gone", dir);
    assert_told(F_EXE, want);
    snprintf(want, sizeof want, "%s/soon (deleted)", dir);
    assert_told(F_CWD, want);
}

static void exec_memfd(const struct child *c, char *const envp[])
{
    char path[64];
    (void)c;
    int fd = memfd_create("in memory", 0);
    need(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    need(copy_program(path));
    int run = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    fexecve(run, one_word, envp);
}

static void a_program_in_memory_is_told(void **state)
{
    (void)state;
    compare_child(&(struct child){ .exec = exec_memfd });
    assert_told(F_EXE, "/memfd:in memory");
    assert_true(event_has(&told.ev, F_DELETED));
}

/* --- mounts -------------------------------------------------------------------------------- */

static void own_mounts(void)
{
    need(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static void go(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    need((mkdir(path, 0755) == 0 || errno == EEXIST) && chdir(path) == 0);
}

static void run_here(char *const envp[])
{
    need(copy_program("./p"));
    execve("./p", one_word, envp);
}

static void exec_in_tmpfs(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("tmpfs");
    need(mount("tmpfs", ".", "tmpfs", 0, NULL) == 0);
    go("tmpfs");
    need(mkdir("below", 0755) == 0 && chdir("below") == 0);
    run_here(envp);
}

static void exec_in_bind(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("source");
    go("source/inner");
    go("target");
    need(mount("../source/inner", ".", NULL, MS_BIND, NULL) == 0);
    go("target");
    run_here(envp);
}

/* The mount's root is a file. */
static void exec_bound_file(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("file");
    close(open("./mounted", O_CREAT | O_RDWR, 0755));
    need(mount(program, "./mounted", NULL, MS_BIND, NULL) == 0);
    execve("./mounted", one_word, envp);
}

static void exec_in_overlay(const struct child *c, char *const envp[])
{
    char options[512];
    (void)c;
    own_mounts();
    go("over");
    need(mount("tmpfs", ".", "tmpfs", 0, NULL) == 0);
    go("over");
    need(!mkdir("low", 0755) && !mkdir("up", 0755) && !mkdir("work", 0755) && !mkdir("all", 0755));
    need(copy_program("low/p"));
    snprintf(options, sizeof options, "lowerdir=%s/over/low,upperdir=%s/over/up,workdir=%s/over/work", dir,
             dir, dir);
    need(mount("overlay", "all", "overlay", 0, options) == 0 && chdir("all") == 0);
    execve("./p", one_word, envp);
}

static void exec_in_chroot(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("root");
    need(mount("/", ".", NULL, MS_BIND | MS_REC, NULL) == 0);
    go("root");
    need(chroot(".") == 0 && chdir(dir) == 0);
    execve(program, one_word, envp);
}

/* As a container does it: its root is the top of its own mounts. */
static void exec_in_pivoted_root(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("pivot");
    need(mount("/", ".", NULL, MS_BIND, NULL) == 0);
    go("pivot");
    need(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0);
    need(chdir(dir) == 0);
    execve(program, one_word, envp);
}

/* A mount that is left from the tree but lives on in who is there. */
static void exec_in_detached(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("detached");
    need(mount("tmpfs", ".", "tmpfs", 0, NULL) == 0);
    go("detached");
    need(mkdir("below", 0755) == 0 && chdir("below") == 0 && copy_program("./p"));
    need(umount2("..", MNT_DETACH) == 0);
    execve("./p", one_word, envp);
}

/* One mount upon another. */
static void exec_in_stack(const struct child *c, char *const envp[])
{
    (void)c;
    own_mounts();
    go("stack");
    for (int i = 0; i < 3; i++) {
        need(mount("tmpfs", ".", "tmpfs", 0, NULL) == 0);
        go("stack");
    }
    run_here(envp);
}

static void compare_mounted(void (*exec)(const struct child *c, char *const envp[]))
{
    compare_child(&(struct child){ .exec = exec });
}

static void a_program_in_a_mount_of_its_own_is_told(void **state)
{
    char want[128];
    (void)state;
    compare_mounted(exec_in_tmpfs);
    snprintf(want, sizeof want, "%s/tmpfs/below/p", dir);
    assert_told(F_EXE, want);
}

static void a_program_below_a_bind_mount_is_told_as_it_was_reached(void **state)
{
    char want[128];
    (void)state;
    compare_mounted(exec_in_bind);
    snprintf(want, sizeof want, "%s/target/p", dir);
    assert_told(F_EXE, want);
    compare_mounted(exec_bound_file);
    snprintf(want, sizeof want, "%s/file/mounted", dir);
    assert_told(F_EXE, want);
}

static void a_program_in_an_overlay_is_told(void **state)
{
    char want[128];
    (void)state;
    compare_mounted(exec_in_overlay);
    snprintf(want, sizeof want, "%s/over/all/p", dir);
    assert_told(F_EXE, want);
}

static void a_program_below_another_root_is_told_from_the_top(void **state)
{
    char want[192];
    (void)state;
    compare_mounted(exec_in_chroot);
    snprintf(want, sizeof want, "%s/root%s", dir, program);
    assert_told(F_EXE, want);
}

static void a_program_in_a_container_is_told_as_seen_there(void **state)
{
    (void)state;
    compare_mounted(exec_in_pivoted_root);
    assert_told(F_EXE, program);
}

static void a_detached_mount_is_told_as_far_as_it_goes(void **state)
{
    (void)state;
    compare_mounted(exec_in_detached);
    assert_told(F_EXE, "/below/p");
}

static void mounts_upon_mounts_are_told(void **state)
{
    char want[128];
    (void)state;
    compare_mounted(exec_in_stack);
    snprintf(want, sizeof want, "%s/stack/p", dir);
    assert_told(F_EXE, want);
}

/* --- needs and room ------------------------------------------------------------------------ */

static void what_nobody_needs_is_not_told(void **state)
{
    static const struct {
        uint64_t needs, missing;
    } cases[] = {
        { 0, FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(CWD) },
        { FIELD(ARGS), FIELD(EXE) | FIELD(DELETED) | FIELD(CWD) },
        { FIELD(EXE), FIELD(ARGS) | FIELD(CWD) },
        { FIELD(DELETED), FIELD(ARGS) | FIELD(CWD) },
        { FIELD(CWD), FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) },
        { FIELD(CWD) | FIELD(EXE), FIELD(ARGS) },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len;
        tap_need(tap, cases[i].needs);
        pid_t pid = start(&(struct child){ 0 });
        const void *record = await_exec(pid, &len);
        event_begin(&told, EVENT_EXEC);
        assert_int_equal(tap_fill(record, len, fs.boot, PROCFS_FIELDS, &told),
                         cases[i].missing | GROUPED);
        assert_int_equal(tap_cgroup_key(record), 0);
        assert_told(F_COMM, "p");
        stop(pid);
    }
}

static void a_record_without_room_is_counted(void **state)
{
    struct tap *tiny;
    const char *why;
    (void)state;
    assert_int_equal(tap_open(&tiny, 4096, &why), 0);
    tap_need(tiny, UINT64_MAX);
    for (int i = 0; i < 100; i++)
        waitpid(start(&(struct child){ .path = "/bin/true" }), NULL, 0);
    uint64_t dropped = tap_dropped(tiny);
    assert_true(dropped >= 50);
    int got = tap_drain(tiny, notes);
    assert_true(got > 0);
    assert_true(dropped + (uint64_t)got >= 100);

    /* and then there is room again */
    waitpid(start(&(struct child){ .path = "/bin/true" }), NULL, 0);
    assert_true(tap_drain(tiny, notes) >= 2);
    tap_close(tiny);
}

/* --- control groups ------------------------------------------------------------------------ */

static uint64_t key_of(const struct child *c)
{
    size_t len;
    pid_t pid = start(c);
    uint64_t key = tap_cgroup_key(await_exec(pid, &len));
    stop(pid);
    return key;
}

static void act_move(void *ctx)
{
    char path[256], pid[16];
    snprintf(path, sizeof path, "%s/cgroup.procs", (const char *)ctx);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int len = snprintf(pid, sizeof pid, "%d", getpid());
    need(fd >= 0 && write(fd, pid, (size_t)len) == len);
    close(fd);
}

/* Every hierarchy that is mounted, also those without a controller. */
static void each_control_group_has_a_key_of_its_own(void **state)
{
    char line[1024], type[64], at[512], first[600], second[600];
    int hierarchies = 0;
    (void)state;
    uint64_t key = key_of(&(struct child){ 0 });
    assert_int_not_equal(key, 0);
    assert_int_equal(key_of(&(struct child){ 0 }), key);

    FILE *mounts = fopen("/proc/self/mounts", "r");
    while (fgets(line, sizeof line, mounts)) {
        if (sscanf(line, "%*s %511s %63s", at, type) != 2 || strncmp(type, "cgroup", 6))
            continue;
        snprintf(first, sizeof first, "%s/moonwatch-test-1", at);
        snprintf(second, sizeof second, "%s/moonwatch-test-2", at);
        if (strstr(line, "cpuset") || mkdir(first, 0755) || mkdir(second, 0755)) {
            rmdir(first);
            continue;
        }
        uint64_t one = key_of(&(struct child){ .before = act_move, .ctx = first });
        uint64_t two = key_of(&(struct child){ .before = act_move, .ctx = second });
        uint64_t again = key_of(&(struct child){ .before = act_move, .ctx = first });
        rmdir(first);
        rmdir(second);
        if (one == key || two == key || one == two || again != one)
            fail_msg("%s: keys are %llx here, %llx and %llx and %llx below", at,
                     (unsigned long long)key, (unsigned long long)one, (unsigned long long)two,
                     (unsigned long long)again);
        hierarchies++;
    }
    fclose(mounts);
    if (!hierarchies)
        skip_for("no control groups can be made here");
    print_message("  %d hierarchies\n", hierarchies);
}

/* --- ends ---------------------------------------------------------------------------------- */

/* Runs it in a child; the end's record, and what wait4() told. */
static struct process_end end_of(void (*act)(void *ctx), void *ctx, int *status, struct rusage *usage)
{
    struct process_end end;
    size_t len;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        act(ctx);
        _exit(98);
    }
    assert_int_equal(wait4(pid, status, 0, usage), pid);
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == CANNOT)
        skip_for("what this needs is not permitted here");
    tap_drain(tap, notes);
    const void *record = notes_take(notes, TAP_NOTES_END, pid, clock_mono_ns(), &len);
    assert_non_null(record);
    assert_true(tap_end(record, len, &end));
    assert_null(notes_take(notes, TAP_NOTES_END, pid, INT64_MAX / 2, &len));
    assert_int_equal(end.pid, pid);
    return end;
}

static void act_exit(void *ctx)
{
    _exit(*(int *)ctx);
}

static void act_signal(void *ctx)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    signal(*(int *)ctx, SIG_DFL);
    kill(getpid(), *(int *)ctx);
    for (;;)
        pause();
}

static void codes_and_signals_are_those_of_wait(void **state)
{
    struct rusage usage;
    int status;
    (void)state;
    for (int code = 0; code < 256; code += 51) {
        struct process_end end = end_of(act_exit, &code, &status, &usage);
        assert_int_equal(end.exit_code, status);
        assert_int_equal(end.exit_code, code << 8);
    }
    int signals[] = { SIGKILL, SIGTERM, SIGSEGV, SIGRTMAX };
    for (int i = 0; i < 4; i++) {
        struct process_end end = end_of(act_signal, &signals[i], &status, &usage);
        assert_int_equal(end.exit_code, status);
        assert_int_equal(end.exit_code, signals[i]);
    }
}

enum { THREADS = 100 };

static pthread_barrier_t all_there;

static void *wait_for_end(void *ctx)
{
    (void)ctx;
    pthread_barrier_wait(&all_there);
    pause();
    return NULL;
}

static void *end_group(void *ctx)
{
    pthread_barrier_wait(&all_there);
    syscall(SYS_exit_group, *(int *)ctx);
    return NULL;
}

static void *end_self(void *ctx)
{
    pthread_barrier_wait(&all_there);
    (void)ctx;
    syscall(SYS_exit, 0);
    return NULL;
}

static void start_threads(void *(*run)(void *ctx), int count, void *ctx)
{
    pthread_t thread;
    for (int i = 0; i < count; i++)
        need(!pthread_create(&thread, NULL, run, ctx));
}

static void act_group_exit(void *ctx)
{
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    start_threads(wait_for_end, THREADS - 1, NULL);
    start_threads(end_group, 1, ctx);
    pthread_barrier_wait(&all_there);
    for (;;)
        pause();
}

/* All at once: on each processor one may see that nobody else is left. */
static void act_threads_end(void *ctx)
{
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    start_threads(end_self, THREADS, NULL);
    pthread_barrier_wait(&all_there);
    syscall(SYS_exit, *(int *)ctx);
}

static void *end_later(void *ctx)
{
    poll(NULL, 0, 20);
    syscall(SYS_exit, *(int *)ctx);
    return NULL;
}

static void *end_group_later(void *ctx)
{
    poll(NULL, 0, 20);
    syscall(SYS_exit_group, *(int *)ctx);
    return NULL;
}

static void act_leader_first(void *ctx)
{
    int other = 9 + *(int *)ctx;
    start_threads(end_later, 1, &other);
    syscall(SYS_exit, *(int *)ctx);
}

static void act_leader_first_group(void *ctx)
{
    start_threads(end_group_later, 1, ctx);
    syscall(SYS_exit, 3);
}

static void threads_make_one_end(void **state)
{
    void (*const acts[])(void *ctx) = { act_group_exit, act_threads_end, act_leader_first,
                                        act_leader_first_group };
    struct rusage usage;
    int status, code = 5;
    (void)state;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        for (int round = 0; round < (i < 2 ? 30 : 3); round++) {
            struct process_end end = end_of(acts[i], &code, &status, &usage);
            assert_int_equal(end.exit_code, status); /* whose it is differs among kernels */
        }
}

/* --- what a process used ------------------------------------------------------------------- */

static int64_t usage_ns(const struct rusage *usage)
{
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * NS_PER_SECOND +
           (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000;
}

static int64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static void *burn(void *ctx)
{
    while (thread_ns() < *(int64_t *)ctx)
        ;
    return NULL;
}

static void act_burn(void *ctx)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        need(!pthread_create(&threads[i], NULL, burn, ctx));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

static void act_burn_alone(void *ctx)
{
    burn(ctx);
    _exit(0);
}

/* The burning threads are ended by the group's end. */
static void act_burn_to_the_end(void *ctx)
{
    pthread_t thread;
    static int64_t forever = INT64_MAX;
    for (int i = 0; i < 3; i++)
        need(!pthread_create(&thread, NULL, burn, &forever));
    burn(ctx);
    _exit(0);
}

static void assert_near(const char *what, int64_t got, int64_t want, int64_t tolerance)
{
    print_message("  %s: %lld us, wait4 tells %lld us\n", what, (long long)got / 1000,
                  (long long)want / 1000);
    if (got < want - tolerance || got > want + tolerance)
        fail_msg("%s: %lld is not near %lld", what, (long long)got, (long long)want);
}

static void processor_time_is_that_of_all_threads(void **state)
{
    int64_t span = 17 * MS;
    struct rusage usage;
    int status;
    (void)state;
    struct process_end end = end_of(act_burn, &span, &status, &usage);
    assert_true(usage_ns(&usage) >= 3 * span);
    assert_near("three threads", end.cpu_user_ns + end.cpu_system_ns, usage_ns(&usage), 6 * MS);
    assert_true(end.cpu_user_ns >= 0 && end.cpu_system_ns >= 0);

    end = end_of(act_burn_alone, &span, &status, &usage);
    assert_near("one thread", end.cpu_user_ns + end.cpu_system_ns, usage_ns(&usage), 6 * MS);

    end = end_of(act_burn_to_the_end, &span, &status, &usage);
    assert_near("ended by the group", end.cpu_user_ns + end.cpu_system_ns, usage_ns(&usage), 6 * MS);
}

static void act_memory(void *ctx)
{
    size_t bytes = *(size_t *)ctx;
    char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(area != MAP_FAILED);
    memset(area, 1, bytes);
    munmap(area, bytes);
    _exit(0);
}

static void memory_is_the_most_that_it_had(void **state)
{
    struct rusage usage;
    int status;
    (void)state;
    for (size_t bytes = 1 << 20; bytes <= 64 << 20; bytes *= 8) {
        struct process_end end = end_of(act_memory, &bytes, &status, &usage);
        assert_true(end.max_rss >= (int64_t)bytes);
        assert_in_range(end.max_rss, (usage.ru_maxrss - 512) * 1024, (usage.ru_maxrss + 512) * 1024);
    }
}

struct io {
    int to;
    bool in_thread;
};

static void *write_and_read(void *ctx)
{
    char path[96], bytes[4096] = "x";
    (void)ctx;
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    need(fd >= 0);
    for (int i = 0; i < 64; i++)
        need(write(fd, bytes, sizeof bytes) == sizeof bytes);
    need(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    for (int i = 0; i < 64; i++)
        need(pread(fd, bytes, sizeof bytes, i * 4096) == sizeof bytes);
    close(fd);
    return NULL;
}

static void act_io(void *ctx)
{
    const struct io *io = ctx;
    char text[512];
    pthread_t thread;
    if (io->in_thread)
        need(!pthread_create(&thread, NULL, write_and_read, NULL) && !pthread_join(thread, NULL));
    else
        write_and_read(NULL);
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, text, sizeof text);
    need(len > 0 && write(io->to, text, (size_t)len) == len);
    _exit(0);
}

static void storage_is_counted_as_proc_counts_it(void **state)
{
    (void)state;
    for (int in_thread = 0; in_thread < 2; in_thread++) {
        char text[513] = "";
        struct rusage usage;
        int status, ends[2];
        long long read_bytes = -1, write_bytes = -1;
        assert_int_equal(pipe(ends), 0);
        struct io io = { ends[1], in_thread };
        struct process_end end = end_of(act_io, &io, &status, &usage);
        assert_true(read(ends[0], text, 512) > 0);
        close(ends[0]);
        close(ends[1]);
        sscanf(strstr(text, "read_bytes:"), "read_bytes: %lld write_bytes: %lld", &read_bytes,
               &write_bytes);
        assert_true(write_bytes >= 64 * 4096);
        assert_int_equal(end.read_bytes, read_bytes);
        assert_int_equal(end.write_bytes, write_bytes);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, NULL)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_children_are_told_as_proc_shows_them),
        TEST(short_children_are_told_whole_when_they_are_gone),
        TEST(args_of_any_length_are_told),
        TEST(odd_args_are_told_byte_by_byte),
        TEST(sessions_and_terminals_are_told),
        TEST(ids_of_another_user_are_told),
        TEST(a_setuid_program_is_told_with_its_owner),
        TEST(a_login_is_told),
        TEST(an_exec_of_another_thread_is_that_of_its_process),
        TEST(an_orphan_is_told_with_its_new_parent),
        TEST(a_script_is_told_with_its_interpreter),
        TEST(paths_of_any_depth_are_told),
        TEST(paths_around_the_longest_are_told),
        TEST(a_path_beyond_the_longest_is_told_from_its_end),
        TEST(odd_names_are_told_byte_by_byte),
        TEST(the_root_directory_is_told),
        TEST(deleted_programs_and_directories_are_told),
        TEST(a_program_in_memory_is_told),
        TEST(a_program_in_a_mount_of_its_own_is_told),
        TEST(a_program_below_a_bind_mount_is_told_as_it_was_reached),
        TEST(a_program_in_an_overlay_is_told),
        TEST(a_program_below_another_root_is_told_from_the_top),
        TEST(a_program_in_a_container_is_told_as_seen_there),
        TEST(a_detached_mount_is_told_as_far_as_it_goes),
        TEST(mounts_upon_mounts_are_told),
        TEST(what_nobody_needs_is_not_told),
        TEST(a_record_without_room_is_counted),
        TEST(each_control_group_has_a_key_of_its_own),
        TEST(codes_and_signals_are_those_of_wait),
        TEST(threads_make_one_end),
        TEST(processor_time_is_that_of_all_threads),
        TEST(memory_is_the_most_that_it_had),
        TEST(storage_is_counted_as_proc_counts_it),
    };
    if (getenv("MOONWATCH_TAP_CHILD"))
        pause();
    const char *why = "";
    if (tap_open(&tap, 1 << 16, &why) < 0) {
        size_t count = sizeof tests / sizeof *tests;
        for (size_t i = 0; i < count; i++)
            printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, why);
        printf("1..%zu\n", count);
        return 0;
    }
    tap_close(tap);
    return cmocka_run_group_tests_name("tap", tests, begin_all, end_all);
}
