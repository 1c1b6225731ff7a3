/* priority.c - puts the collector first in line for a processor. See priority.h. */
#include "collect/priority.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_setattr(2) has no wrapper in Debian 12's glibc, and its struct none in its headers. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

#define FLAG_RESET_ON_FORK 1

static bool set_slice(void)
{
    struct attributes a = { .size = sizeof a,
                            .policy = SCHED_OTHER,
                            .flags = FLAG_RESET_ON_FORK,
                            .nice = getpriority(PRIO_PROCESS, 0),
                            .runtime = 100000 };
    if (syscall(SYS_sched_setattr, 0, &a, 0) < 0)
        return false;

    /* before 6.12 the call succeeds and forgets the slice */
    struct attributes got = { .size = sizeof got };
    return syscall(SYS_sched_getattr, 0, &got, sizeof got, 0) == 0 && got.runtime == a.runtime;
}

enum priority priority_raise(void)
{
    struct sched_param first = { .sched_priority = 1 };
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0)
        return PRIORITY_FIFO;
    if (setpriority(PRIO_PROCESS, 0, -20) == 0) {
        struct sched_param other = { 0 };
        sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &other);
        return PRIORITY_NICE;
    }
    return set_slice() ? PRIORITY_SLICE : PRIORITY_NORMAL;
}

const char *priority_text(enum priority priority)
{
    switch (priority) {
    case PRIORITY_FIFO:
        return "SCHED_FIFO 1";
    case PRIORITY_NICE:
        return "nice -20";
    case PRIORITY_SLICE:
        return "a time slice of 0.1 ms";
    case PRIORITY_NORMAL:
        break;
    }
    return "normal";
}
