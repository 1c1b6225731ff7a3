/* test_census.c - which pids live, by three ways of asking: each is asked, and scripts are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "embed/census.h"
#include "embed/steward.h"
#include "host/host.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct procfs fs;
static struct buf answer;
static char tree[64];

static int begin(void **state)
{
    (void)state;
    strcpy(tree, "/tmp/moonwatch-census-XXXXXX");
    return procfs_open(&fs, "/proc") || !mkdtemp(tree);
}

static int end(void **state)
{
    char command[96];
    (void)state;
    procfs_close(&fs);
    buf_free(&answer);
    snprintf(command, sizeof command, "rm -rf %s", tree);
    return system(command);
}

/* What is said of one pid. */
static int flags_of(int32_t pid)
{
    buf_clear(&answer);
    assert_int_equal(census_take(&fs, &pid, 1, &answer), 0);
    assert_int_equal(answer.len % sizeof pid, 1);
    return answer.data[0];
}

static bool is_listed(int32_t pid)
{
    for (size_t at = 1; at < answer.len; at += sizeof pid)
        if (!memcmp(answer.data + at, &pid, sizeof pid))
            return true;
    return false;
}

/* --- the real one ---------------------------------------------------------------------------- */

static void *tell_tid(void *arg)
{
    int *ends = arg;
    int32_t tid = (int32_t)syscall(SYS_gettid);
    char byte;
    assert_int_equal(write(ends[1], &tid, sizeof tid), sizeof tid);
    assert_int_equal(read(ends[2], &byte, 1), 0);
    return NULL;
}

static void a_process_is_told_from_a_thread_and_from_none(void **state)
{
    int ends[4];
    int32_t tid;
    pthread_t thread;
    (void)state;
    assert_int_equal(flags_of(getpid()), CENSUS_LISTED | CENSUS_OPEN | CENSUS_LIVES);
    assert_true(is_listed(getpid()) && is_listed(1));

    assert_int_equal(pipe(ends) || pipe(ends + 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, tell_tid, ends), 0);
    assert_int_equal(read(ends[0], &tid, sizeof tid), sizeof tid);
    assert_int_equal(flags_of(tid), CENSUS_OPEN | CENSUS_LIVES | CENSUS_THREAD);
    assert_false(is_listed(tid));
    close(ends[3]);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++)
        close(ends[i]);
}

static void who_waits_for_its_parent_is_there_and_then_is_not(void **state)
{
    siginfo_t info;
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    assert_int_equal(flags_of(pid), CENSUS_LISTED | CENSUS_OPEN | CENSUS_LIVES);
    waitpid(pid, NULL, 0);
    assert_int_equal(flags_of(pid), 0);
    assert_int_equal(flags_of(0), 0);
    assert_int_equal(flags_of(-getpid()), 0);
}

/* --- one that lies --------------------------------------------------------------------------- */

static void look_at_tree(void)
{
    procfs_close(&fs);
    assert_int_equal(procfs_open(&fs, tree), 0);
}

static void write_stat(int pid, int said)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%d/stat", tree, pid);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%d (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 4096 1 1 1 1 1 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 "
                  "0 0 0 0 0\n", said);
    fclose(file);
}

static void what_proc_does_not_show_still_lives(void **state)
{
    char path[96];
    (void)state;
    look_at_tree();
    assert_int_equal(flags_of(getpid()), CENSUS_LIVES);
    snprintf(path, sizeof path, "%s/%d", tree, getpid());
    mkdir(path, 0700);
    assert_int_equal(flags_of(getpid()), CENSUS_LIVES | CENSUS_LISTED);
    write_stat(getpid(), getpid() + 1);
    assert_int_equal(flags_of(getpid()), CENSUS_LIVES | CENSUS_LISTED);
    write_stat(getpid(), getpid());
    assert_int_equal(flags_of(getpid()), CENSUS_LIVES | CENSUS_LISTED | CENSUS_OPEN);
}

static void where_the_ways_cannot_agree_it_is_refused(void **state)
{
    char path[96];
    int32_t pid = getpid();
    (void)state;
    look_at_tree();
    fs.hidden = true;
    assert_int_equal(census_take(&fs, &pid, 1, &answer), -EACCES);
    fs.hidden = false;
    snprintf(path, sizeof path, "%s/self", tree);
    assert_int_equal(symlink("1", path), 0);
    assert_int_equal(census_take(&fs, &pid, 1, &answer), -EXDEV);
}

static void a_worker_that_lies_gets_nothing(void **state)
{
    struct steward_means means = { .proc = &fs };
    struct steward *steward;
    static int32_t pids[CENSUS_MOST + 1];
    int fds[REQUEST_FDS];
    (void)state;
    assert_int_equal(steward_new(&steward, &means), 0);
    assert_int_equal(steward_answer(steward, REQUEST_CENSUS, pids, sizeof pids, &answer, fds), -EINVAL);
    assert_int_equal(steward_answer(steward, REQUEST_CENSUS, pids, 3, &answer, fds), -EINVAL);
    assert_int_equal(steward_answer(steward, REQUEST_CENSUS, pids, sizeof pids - 4, &answer, fds), 0);
    assert_int_equal(strnlen(answer.data, CENSUS_MOST), 0); /* there is no pid 0 */
    steward_free(steward, 0); /* has no thread */
}

/* --- scripts --------------------------------------------------------------------------------- */

static const char *told;
static size_t told_len;
static int told_result;

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *to, int *fds)
{
    static const int32_t asked[] = { 1, 7, 9 };
    (void)ctx, (void)fds;
    if (kind != REQUEST_CENSUS)
        return -ENOTCONN;
    assert_int_equal(len, sizeof asked);
    assert_memory_equal(bytes, asked, sizeof asked);
    buf_add(to, told, told_len);
    return told_result;
}

static void expect(const char *body, const char *wanted)
{
    char script[2048], text[1024];
    struct host *host;
    int out = memfd_create("out", 0);
    struct host_options options = {
        .world = { .request = request },
        .table_bytes = 1 << 16,
        .fd = out,
    };
    snprintf(script, sizeof script,
             "local mw = require 'moonwatch' local function show(f) return f and (f.listed and 'L' or '-') .. "
             "(f.open and 'O' or '-') .. (f.lives and 'K' or '-') .. (f.thread and 'T' or '-') end\n%s\n"
             "return mw.script { name = 'x' }",
             body);
    assert_int_equal(host_new(&host, &options), 0);
    if (host_load(host, "@x.lua", script, strlen(script)))
        fail_msg("%s", host_error(host));
    host_flush(host);
    ssize_t len = pread(out, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    assert_string_equal(text, wanted);
    host_free(host);
    close(out);
}

static void tell(const char *bytes, size_t len, int result)
{
    told = bytes;
    told_len = len;
    told_result = result;
}

static void scripts_are_told(void **state)
{
    static const char ask[] = "local c, l = mw.census { 1, 7, 9 } "
                              "print(c and show(c[1]), c and show(c[7]), c and c[9], c and #l or l, c and l[2])";
    (void)state;
    tell("\7\14\0\1\0\0\0\0\1\0\0", 11, 0);
    expect(ask, "LOK-\t--KT\tnil\t2\t256\n");
    tell("\0\0\0", 3, 0);
    expect(ask, "nil\tnil\tnil\t0\tnil\n");
    tell("\7\0", 2, 0);
    expect(ask, "nil\tnil\tnil\tProtocol error\tnil\n");
    tell("\7\0\0\1\0", 5, 0);
    expect(ask, "nil\tnil\tnil\tProtocol error\tnil\n");
    tell("", 0, -EACCES);
    expect(ask, "nil\tnil\tnil\t/proc is mounted with hidepid: it hides the processes of others from us\tnil\n");
    tell("", 0, -ENOTCONN);
    expect(ask, "nil\tnil\tnil\tnobody is here to ask: the events are not live\tnil\n");
}

static void mistakes_are_errors(void **state)
{
    (void)state;
    expect("for _, pids in ipairs { { 0 }, { -1 }, { 2^31 }, { 'x' }, { 0/0 } } do assert(not pcall(mw.census, pids)) end "
           "assert(not pcall(mw.census)) local many = {} for i = 1, 8193 do many[i] = i end "
           "print(select(2, pcall(mw.census, many)))",
           "bad argument #1 to '?' (8192 pids at most)\n");
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(a_process_is_told_from_a_thread_and_from_none),
        CLAIM(who_waits_for_its_parent_is_there_and_then_is_not),
        CLAIM(what_proc_does_not_show_still_lives),
        CLAIM(where_the_ways_cannot_agree_it_is_refused),
        CLAIM(a_worker_that_lies_gets_nothing),
        CLAIM(scripts_are_told),
        CLAIM(mistakes_are_errors),
    };
    return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
