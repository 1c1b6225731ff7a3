/* sources.c - where the fields of an exec come from, and what that costs. See sources.h. */
#include "collect/sources.h"

#include "base/clock.h"
#include "collect/complete.h"
#include "collect/tap.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS     200
#define TAP_ROUNDS 30

static const struct source files[SOURCES] = {
    { "/proc/PID/stat", PROCFS_STAT_FIELDS, true, "in any case: which process is it?", 0 },
    { "/proc/PID/cmdline", FIELD(ARGS) | FIELD(TRUNCATED), false, "", 0 },
    { "/proc/PID/exe", FIELD(EXE) | FIELD(DELETED), false, "", 0 },
    { "/proc/PID/cwd", FIELD(CWD), false, "", 0 },
    { "/proc/PID/ns", FIELD(PID_NS) | FIELD(MNT_NS) | FIELD(NET_NS) | FIELD(USER_NS), false, "", 0 },
    { "/proc/PID/status", FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(EGID), false,
      "the kernel tells of each change", 0 },
    { "/proc/PID/loginuid", FIELD(LOGINUID), false, "", 0 },
    { "/proc/PID/cgroup", FIELD(CGROUP) | FIELD(CONTAINER), false, "", 0 },
};

/* What is measured besides the sources. */
enum { THIS_EXEC = SOURCES, WHOLE_EXEC, MEASURED };

static pid_t idle_child(void)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent)
        pause();
    _exit(0);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double median_us(int64_t *ns)
{
    qsort(ns, ROUNDS, sizeof *ns, compare);
    return (double)ns[ROUNDS / 2] / 1e3;
}

/* In turn, so that whatever else the machine does meets all alike. */
static void measure(const struct procfs *fs, pid_t child, struct event_box *box,
                    const uint64_t wanted[MEASURED], int64_t ns[MEASURED][ROUNDS])
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MEASURED; i++) {
            event_begin(box, EVENT_EXEC);
            int64_t began = clock_mono_ns();
            procfs_fill(fs, child, -1, wanted[i], box);
            ns[i][round] = clock_mono_ns() - began;
        }
    }
}

static void conclude(struct sources *out, uint64_t needs, int64_t ns[MEASURED][ROUNDS])
{
    uint64_t reads = complete_reads(needs);
    double least = median_us(ns[0]);
    for (int i = 0; i < SOURCES; i++) {
        struct source *s = &out->source[i];
        double us = i ? median_us(ns[i]) - least : least;
        *s = files[i];
        s->read = (s->fields & reads) != 0;
        s->us = us > 0 ? us : 0;
    }
    out->exec_us = median_us(ns[THIS_EXEC]);
    out->all_us = median_us(ns[WHOLE_EXEC]);
    if (out->exec_us > out->all_us || reads == complete_reads(UINT64_MAX))
        out->exec_us = out->all_us; /* the rest is the noise of the clock */
}

static void exec_some(void)
{
    char *argv[] = { "true", "--option=value", "/some/path/of/a/file", NULL };
    char *envp[] = { NULL };
    pid_t child;
    for (int i = 0; i < TAP_ROUNDS; i++)
        if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, envp) == 0)
            waitpid(child, NULL, 0);
}

/* The kernel's own figure, of execs made for it. */
static void measure_tap(struct sources *out, uint64_t needs)
{
    struct tap *tap;
    out->no_tap = "";
    if (tap_open(&tap, 1 << 16, &out->no_tap) < 0)
        return;
    out->no_tap = "";
    tap_need(tap, needs);
    int meter = tap_meter();
    exec_some();
    out->tap_us = tap_exec_us(tap);
    if (meter >= 0)
        close(meter);
    tap_close(tap);
}

int sources_measure(struct sources *out, uint64_t needs)
{
    struct procfs fs;
    uint64_t wanted[MEASURED];
    int result = procfs_open(&fs, "/proc");
    if (result < 0)
        return result;

    for (int i = 0; i < SOURCES; i++)
        wanted[i] = files[i].fields;
    wanted[THIS_EXEC] = complete_reads(needs);
    wanted[WHOLE_EXEC] = complete_reads(UINT64_MAX);

    struct event_box *box = malloc(sizeof *box);
    int64_t(*ns)[ROUNDS] = malloc(sizeof *ns * MEASURED);
    pid_t child = box && ns ? idle_child() : -1;
    result = !box || !ns ? -ENOMEM : child < 0 ? -errno : 0;
    if (result == 0) {
        measure(&fs, child, box, wanted, ns);
        conclude(out, needs, ns);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (result == 0)
        measure_tap(out, needs);
    free(ns);
    free(box);
    procfs_close(&fs);
    return result;
}
