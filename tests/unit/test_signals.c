/* test_signals.c - a signal reaches the process that was meant, or none, and the operator hears of
 * it. */
#include "embed/signals.h"

#include "base/log.h"

#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct procfs fs;
static struct signals *signals;
static struct buf why;
static char logged[65536];

static void keep_log(void *ctx, enum log_level level, const char *text)
{
    size_t len = strlen(logged);
    (void)ctx, (void)level;
    snprintf(logged + len, sizeof logged - len, "%s\n", text);
}

static int begin(void **state)
{
    (void)state;
    *logged = '\0';
    log_to(keep_log, NULL);
    return procfs_open(&fs, "/proc") || signals_new(&signals, &fs, true);
}

static int end(void **state)
{
    (void)state;
    log_to(NULL, NULL);
    signals_free(signals);
    procfs_close(&fs);
    buf_free(&why);
    return 0;
}

static int send_signal(int pid, int64_t starttime, int signal)
{
    buf_clear(&why);
    return signals_send(signals, "script", pid, starttime, signal, &why);
}

/* --- processes that are not our children ------------------------------------------------------ */

/* It lives until a signal ends it or we close `life`; its parent, our child, ends with it. */
struct stranger {
    pid_t pid, parent;
    int life;
};

static pid_t fork_as(pid_t wanted)
{
    struct clone_args args = { .exit_signal = SIGCHLD,
                               .set_tid = wanted ? (uintptr_t)&wanted : 0,
                               .set_tid_size = wanted != 0 };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void be_parent(pid_t wanted, int life, int told)
{
    char byte;
    pid_t pid = fork_as(wanted);
    if (pid == 0)
        _exit(read(life, &byte, 1) == 0 ? 0 : 1);
    int status = 0;
    if (write(told, &pid, sizeof pid) == sizeof pid && pid > 0)
        waitpid(pid, &status, 0);
    _exit(status != 0);
}

/* False: this pid cannot be had. */
static bool start_stranger(struct stranger *s, pid_t wanted)
{
    int life[2], told[2];
    assert_int_equal(pipe(life) || pipe(told), 0);
    s->parent = fork();
    if (s->parent == 0) {
        close(life[1]);
        be_parent(wanted, life[0], told[1]);
    }
    assert_int_equal(read(told[0], &s->pid, sizeof s->pid), sizeof s->pid);
    s->life = life[1];
    close(life[0]);
    close(told[0]);
    close(told[1]);
    return s->pid > 0;
}

/* Ended by a signal, and reaped. */
static void await_end(struct stranger *s)
{
    waitpid(s->parent, NULL, 0);
    close(s->life);
}

/* Nothing has ended it so far. */
static void end_stranger(struct stranger *s)
{
    int status;
    close(s->life);
    waitpid(s->parent, &status, 0);
    assert_int_equal(status, 0); /* no signal did */
}

static char state_of(pid_t pid, int64_t *starttime)
{
    char bytes[1024];
    struct procfs_stat st;
    int dir = procfs_pid_open(&fs, pid);
    assert_true(dir >= 0);
    ssize_t len = procfs_read(dir, "stat", bytes, sizeof bytes);
    close(dir);
    assert_true(len > 0);
    assert_int_equal(procfs_parse_stat(bytes, (size_t)len, &st), 0);
    if (starttime)
        *starttime = (int64_t)st.starttime;
    return st.state;
}

static int64_t start_of(pid_t pid)
{
    int64_t starttime;
    state_of(pid, &starttime);
    return starttime;
}

static void await_state(pid_t pid, bool stopped)
{
    while ((state_of(pid, NULL) == 'T') != stopped)
        usleep(1000);
}

/* --- claims ------------------------------------------------------------------------------------ */

static void the_process_that_is_meant_gets_it(void **state)
{
    struct stranger s;
    (void)state;
    assert_true(start_stranger(&s, 0));
    int64_t starttime = start_of(s.pid);
    assert_int_equal(send_signal(s.pid, starttime, SIGSTOP), 0);
    await_state(s.pid, true);
    assert_int_equal(send_signal(s.pid, starttime, SIGCONT), 0);
    await_state(s.pid, false);
    assert_int_equal(send_signal(s.pid, starttime, SIGTERM), 0);
    await_end(&s);
    assert_int_equal(why.len, 0);

    char line[128];
    snprintf(line, sizeof line, "script: SIGTERM to %d (test_signals): sent\n", s.pid);
    assert_non_null(strstr(logged, line));
}

static void expect_refusal(int pid, int64_t starttime, int signal, int error, const char *text)
{
    assert_int_equal(send_signal(pid, starttime, signal), error);
    if (!strstr(buf_str(&why), text))
        fail_msg("'%s' is not in '%s'", text, buf_str(&why));
    assert_non_null(strstr(logged, buf_str(&why)));
}

static void a_start_may_be_a_tick_off_and_no_more(void **state)
{
    struct stranger s;
    (void)state;
    assert_true(start_stranger(&s, 0));
    int64_t starttime = start_of(s.pid);
    expect_refusal(s.pid, starttime - 2, SIGKILL, -ESRCH, "another");
    expect_refusal(s.pid, starttime + 2, SIGKILL, -ESRCH, "another");
    expect_refusal(s.pid, 0, SIGKILL, -ESRCH, "another");
    expect_refusal(s.pid, INT64_MAX, SIGKILL, -ESRCH, "another");
    assert_int_equal(send_signal(s.pid, starttime - 1, SIGCONT), 0);
    assert_int_equal(send_signal(s.pid, starttime + 1, SIGCONT), 0);
    expect_refusal(s.pid, -1, SIGKILL, -EINVAL, "not known");
    end_stranger(&s);
}

static void the_next_owner_of_a_pid_is_never_hit(void **state)
{
    struct stranger first, second;
    (void)state;
    assert_true(start_stranger(&first, 0));
    int64_t starttime = start_of(first.pid);
    end_stranger(&first);
    expect_refusal(first.pid, starttime, SIGKILL, -ESRCH, "gone");
    for (int64_t now = 0; now < starttime + 3;) { /* as far as /proc tells starts apart */
        struct timespec t;
        clock_gettime(CLOCK_BOOTTIME, &t);
        now = t.tv_sec * 100 + t.tv_nsec / 10000000;
        usleep(1000);
    }
    if (!start_stranger(&second, first.pid))
        skip(); /* no right to choose a pid here, or somebody else has got it */
    assert_int_equal(second.pid, first.pid);
    expect_refusal(first.pid, starttime, SIGKILL, -ESRCH, "its pid is another process's by now");
    end_stranger(&second);
}

static void who_waits_for_its_parent_is_gone(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    expect_refusal(pid, start_of(pid), SIGKILL, -ESRCH, "gone");
    waitpid(pid, NULL, 0);
}

static void *outlive(void *life)
{
    char byte;
    _exit(read(*(int *)life, &byte, 1) == 0 ? 0 : 1);
}

static void be_parent_of_threads(int life, int told)
{
    pthread_t thread;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_create(&thread, NULL, outlive, &life);
        syscall(SYS_exit, 0); /* of the main thread alone */
    }
    int status = 0;
    if (write(told, &pid, sizeof pid) == sizeof pid)
        waitpid(pid, &status, 0);
    _exit(status != 0);
}

static void threads_that_outlive_the_main_one_are_hit(void **state)
{
    int life[2], told[2], status;
    pid_t pid;
    (void)state;
    assert_int_equal(pipe(life) || pipe(told), 0);
    pid_t parent = fork();
    if (parent == 0) {
        close(life[1]);
        be_parent_of_threads(life[0], told[1]);
    }
    assert_int_equal(read(told[0], &pid, sizeof pid), sizeof pid);
    while (state_of(pid, NULL) != 'Z')
        usleep(1000);
    int result = send_signal(pid, start_of(pid), SIGKILL);
    for (int i = 0; i < 2; i++) {
        close(life[i]);
        close(told[i]);
    }
    waitpid(parent, &status, 0);
    assert_int_equal(result, 0);
    assert_int_equal(WEXITSTATUS(status), 1); /* by the signal */
}

static void some_are_never_hit(void **state)
{
    (void)state;
    expect_refusal(1, start_of(1), SIGTERM, -EPERM, "the first process");
    expect_refusal(getpid(), start_of(getpid()), SIGTERM, -EPERM, "moonwatch's own");
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    expect_refusal(pid, start_of(pid), SIGKILL, -EPERM, "moonwatch's own");
    kill(pid, SIGKILL);
    int status;
    waitpid(pid, &status, 0);
    for (int bad = -2; bad <= 0; bad++)
        expect_refusal(bad, 1, SIGTERM, -EINVAL, "not known");
    expect_refusal(INT32_MAX, 1, SIGTERM, -ESRCH, "gone");
}

static int find_kthread(void *ctx, int pid)
{
    char bytes[1024];
    struct procfs_stat st;
    int dir = procfs_pid_open(&fs, pid);
    ssize_t len = dir < 0 ? -1 : procfs_read(dir, "stat", bytes, sizeof bytes);
    close(dir);
    if (len < 0 || procfs_parse_stat(bytes, (size_t)len, &st) || !(st.flags & 0x200000))
        return 0;
    *(int64_t *)ctx = (int64_t)st.starttime;
    return pid;
}

static void threads_of_the_kernel_are_never_hit(void **state)
{
    int64_t starttime;
    (void)state;
    int pid = procfs_scan(&fs, find_kthread, &starttime);
    if (pid <= 0)
        skip(); /* none is seen from this pid namespace */
    expect_refusal(pid, starttime, SIGCONT, -EPERM, "thread of the kernel");
}

static void only_some_signals_are_sent(void **state)
{
    struct stranger s;
    static const int bad[] = { 0, -1, SIGSEGV, SIGCHLD, 64, 65, INT32_MAX, INT32_MIN };
    (void)state;
    assert_true(start_stranger(&s, 0));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refusal(s.pid, start_of(s.pid), bad[i], -EINVAL, "no such signal");
    end_stranger(&s);
}

static void nothing_is_sent_unless_the_operator_allows_it(void **state)
{
    struct stranger s;
    (void)state;
    signals_free(signals);
    assert_int_equal(signals_new(&signals, &fs, false), 0);
    assert_true(start_stranger(&s, 0));
    expect_refusal(s.pid, start_of(s.pid), SIGKILL, -EPERM, "not allowed: start with --allow-kill");
    end_stranger(&s);
}

static void too_many_are_refused_and_counted(void **state)
{
    int refused = 0;
    (void)state;
    for (int i = 0; i < 3000; i++)
        refused += send_signal(1, 1, SIGTERM) == -EAGAIN;
    assert_true(refused >= 3000 - SIGNALS_BURST - 100 && refused <= 3000 - SIGNALS_BURST);
    assert_non_null(strstr(buf_str(&why), "too many"));

    int lines = 0, sum = 0;
    while (send_signal(1, 1, SIGTERM) == -EAGAIN) /* one comes back */
        refused++;
    for (const char *at = logged; (at = strchr(at, '\n')); at++)
        lines++;
    assert_true(lines <= 2 * (SIGNALS_BURST + 100));
    for (const char *at = logged; (at = strstr(at, " more signals")); at++) {
        const char *number = at;
        while (number > logged && number[-1] >= '0' && number[-1] <= '9')
            number--;
        sum += atoi(number);
    }
    assert_int_equal(sum, refused);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(the_process_that_is_meant_gets_it),
        CLAIM(a_start_may_be_a_tick_off_and_no_more),
        CLAIM(the_next_owner_of_a_pid_is_never_hit),
        CLAIM(who_waits_for_its_parent_is_gone),
        CLAIM(threads_that_outlive_the_main_one_are_hit),
        CLAIM(some_are_never_hit),
        CLAIM(threads_of_the_kernel_are_never_hit),
        CLAIM(only_some_signals_are_sent),
        CLAIM(nothing_is_sent_unless_the_operator_allows_it),
        CLAIM(too_many_are_refused_and_counted),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
