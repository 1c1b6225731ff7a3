/* storm.c - starts short processes one after the other, in several spawners at once.
 *
 *   storm CHILD SPAWNERS COUNT TAG [GAP_US]
 *
 * Each child gets arguments that no other one has. Prints how long it took, in nanoseconds, from
 * the moment when all spawners were ready. With a gap each child starts on a beat. */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void wait_until(int64_t ns)
{
    struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* The arguments are those that bench.py looks for. */
static int spawn_one(char *child, const char *tag, int spawner, int i)
{
    char first[64], last[64];
    char *argv[] = { child, first, "--option=value", "/some/path/of/a/file", last, NULL };
    pid_t pid;

    snprintf(first, sizeof first, "%s-%d-%d", tag, spawner, i);
    snprintf(last, sizeof last, "end-%s-%d-%d", tag, spawner, i);
    int error = posix_spawn(&pid, child, NULL, NULL, argv, environ);
    if (error) {
        errno = error;
        return -1;
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static int spawn_all(char *child, const char *tag, int spawner, int count, int64_t gap_ns)
{
    int64_t next = now_ns();
    for (int i = 0; i < count; i++) {
        if (gap_ns)
            wait_until(next += gap_ns);
        if (spawn_one(child, tag, spawner, i) < 0) {
            perror("storm");
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    int ready[2], go[2], failed = 0;
    char byte;

    if (argc < 5 || pipe(ready) || pipe(go)) {
        fputs("usage: storm CHILD SPAWNERS COUNT TAG [GAP_US]\n", stderr);
        return 2;
    }
    int spawners = atoi(argv[2]), count = atoi(argv[3]);
    int64_t gap_ns = argc > 5 ? atoll(argv[5]) * 1000 : 0;

    for (int s = 0; s < spawners; s++) {
        if (fork())
            continue;
        close(go[1]);
        if (write(ready[1], "", 1) != 1 || read(go[0], &byte, 1) != 0)
            _exit(1);
        _exit(spawn_all(argv[1], argv[4], s, count, gap_ns));
    }
    for (int s = 0; s < spawners; s++)
        failed |= read(ready[0], &byte, 1) != 1;
    int64_t began = now_ns();
    close(go[1]);
    for (int s = 0, status; s < spawners; s++)
        failed |= wait(&status) < 0 || status;
    printf("%lld\n", (long long)(now_ns() - began));
    return failed;
}
