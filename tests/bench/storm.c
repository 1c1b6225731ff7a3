/* storm.c - starts short processes one after the other, in several spawners at once.
 *
 *   storm CHILD SPAWNERS COUNT|SECONDSs TAG [GAP_US]
 *
 * Each child gets arguments that no other one has. COUNT is for each spawner; "60s" goes on for that
 * long instead. With a gap each child starts on a beat. Prints how long it took, in nanoseconds,
 * from the moment when all spawners were ready, and how many children were started and waited for. */
#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* When a spawner ends: after so many children, or at this time; the other one is 0. */
struct end {
    int count;
    int64_t at_ns;
};

static bool has_ended(const struct end *end, int spawned)
{
    return end->at_ns ? now_ns() >= end->at_ns : spawned == end->count;
}

/* How many were spawned, or -1. */
static int spawn_all(char *child, const char *tag, int spawner, const struct end *end, int64_t gap_ns)
{
    int64_t next = now_ns();
    int i;
    for (i = 0; !has_ended(end, i); i++) {
        if (gap_ns)
            wait_until(next += gap_ns);
        if (spawn_one(child, tag, spawner, i) < 0) {
            perror("storm");
            return -1;
        }
    }
    return i;
}

/* One spawner: says that it is ready, waits for the pipe `go` to be closed, spawns, says how many. */
static int spawner_run(char **argv, int spawner, int go, int answer)
{
    int64_t gap_ns = argv[5] ? atoll(argv[5]) * 1000 : 0;
    struct end end = { .count = atoi(argv[3]) };
    int spawned = 0;
    char byte;

    if (write(answer, &spawned, sizeof spawned) != sizeof spawned || read(go, &byte, 1) != 0)
        return 1;
    if (strchr(argv[3], 's'))
        end.at_ns = now_ns() + end.count * INT64_C(1000000000);
    spawned = spawn_all(argv[1], argv[4], spawner, &end, gap_ns);
    return spawned < 0 || write(answer, &spawned, sizeof spawned) != sizeof spawned;
}

int main(int argc, char **argv)
{
    int answers[2], go[2], failed = 0, spawned;
    int64_t total = 0;

    if (argc < 5 || pipe(answers) || pipe(go)) {
        fputs("usage: storm CHILD SPAWNERS COUNT|SECONDSs TAG [GAP_US]\n", stderr);
        return 2;
    }
    int spawners = atoi(argv[2]);

    for (int s = 0; s < spawners; s++) {
        if (fork())
            continue;
        close(go[1]);
        _exit(spawner_run(argv, s, go[0], answers[1]));
    }
    close(answers[1]);
    for (int s = 0; s < spawners; s++)
        failed |= read(answers[0], &spawned, sizeof spawned) != sizeof spawned;
    int64_t began = now_ns();
    close(go[1]);
    for (int s = 0, status; s < spawners; s++)
        failed |= wait(&status) < 0 || status;
    int64_t took = now_ns() - began;
    while (read(answers[0], &spawned, sizeof spawned) == sizeof spawned)
        total += spawned;
    printf("%lld %lld\n", (long long)took, (long long)total);
    return failed;
}
