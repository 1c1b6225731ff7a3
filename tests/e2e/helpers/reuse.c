/* reuse.c - one pid, given to one process after the other, each as soon as the last was reaped.
 *
 *   reuse ROUNDS TICKS PROGRAM
 *
 * In each round a new process (the middle one) starts PROGRAM under the same pid with the arguments
 * "round-N" and "child exec:kid-N wait exit:K | exit:C" (see act.c), and waits for its end. One line
 * per round: MIDDLE'S-PID PID STATUS NS, the last one being the time from before the fork to after
 * the wait. With TICKS each round begins as many hundredths of a second after the one before. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static pid_t fork_as(pid_t pid)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1
    };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void run(int round, pid_t wanted, char *program)
{
    char name[32], steps[128];
    int status;
    snprintf(name, sizeof name, "round-%d", round);
    snprintf(steps, sizeof steps, "child exec:kid-%d wait exit:%d | exit:%d", round,
             (round + 100) % 256, round % 256);

    int64_t before = now_ns(CLOCK_MONOTONIC);
    pid_t pid = fork_as(wanted);
    if (pid == 0) {
        char *argv[] = { name, steps, NULL };
        execv(program, argv);
        _exit(127);
    }
    if (pid < 0) {
        perror("clone3");
        _exit(errno == EEXIST ? 3 : 4);
    }
    if (waitpid(pid, &status, 0) != pid)
        _exit(1);
    int64_t ns = now_ns(CLOCK_MONOTONIC) - before;
    dprintf(1, "%d %d %d %lld\n", getpid(), pid, status, (long long)ns);
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int ticks = atoi(argv[2]);

    /* just used, so it is not given out again before all others were */
    pid_t wanted = fork();
    if (wanted == 0)
        _exit(0);
    waitpid(wanted, NULL, 0);

    for (int round = 0; round < atoi(argv[1]); round++) {
        int64_t next = now_ns(CLOCK_BOOTTIME) / 10000000 + ticks;
        int status;
        pid_t middle = fork();
        if (middle == 0)
            run(round, wanted, argv[3]);
        if (waitpid(middle, &status, 0) != middle || status)
            return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
        while (now_ns(CLOCK_BOOTTIME) / 10000000 < next)
            usleep(500);
    }
    return 0;
}
