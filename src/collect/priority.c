/* priority.c - puts the collector first in line for a processor. See priority.h. */
#include "collect/priority.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

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

static bool set_fifo(void)
{
    struct sched_param first = { .sched_priority = 1 };
    return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0;
}

/* Ordinary scheduling before the nice value: it means nothing to SCHED_FIFO. */
static bool set_nice(int nice)
{
    struct sched_param other = { 0 };
    sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &other);
    return setpriority(PRIO_PROCESS, 0, nice) == 0;
}

enum priority priority_raise(enum priority best)
{
    if (best <= PRIORITY_FIFO && set_fifo())
        return PRIORITY_FIFO;
    if (best <= PRIORITY_NICE && set_nice(-20))
        return PRIORITY_NICE;
    if (best <= PRIORITY_SLICE && set_slice())
        return PRIORITY_SLICE;
    return PRIORITY_NORMAL;
}

/* One call for policy, nice value and slice: a slice of 0 is the kernel's own choice again. Without
 * privilege a nice value cannot come down to 0 from above, and then it stays. */
void priority_lower(void)
{
    struct attributes a = { .size = sizeof a, .policy = SCHED_OTHER, .flags = FLAG_RESET_ON_FORK };

    if (syscall(SYS_sched_setattr, 0, &a, 0) < 0) {
        a.nice = getpriority(PRIO_PROCESS, 0);
        syscall(SYS_sched_setattr, 0, &a, 0);
    }
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

/* --- the guard ------------------------------------------------------------------------ */

static bool is_above(int64_t used_ns, int64_t wall_ns, int percent)
{
    return (double)used_ns * 100 > (double)wall_ns * percent;
}

/* One stretch, a second or longer, is over. A long one is a thread that slept or one that had no
 * chance to look at the clock: its share tells which. */
static enum priority_verdict judge(struct priority_guard *g, int64_t wall_ns, int64_t used_ns)
{
    if (!g->yielded) {
        g->yielded = is_above(used_ns, wall_ns, PRIORITY_YIELD_PERCENT);
        g->calm_ns = 0;
        return g->yielded ? PRIORITY_YIELD : PRIORITY_KEEP;
    }

    g->calm_ns = is_above(used_ns, wall_ns, PRIORITY_REGAIN_PERCENT) ? 0 : g->calm_ns + wall_ns;
    if (g->calm_ns < PRIORITY_REGAIN_SECONDS * NS_PER_SECOND)
        return PRIORITY_KEEP;
    g->yielded = false;
    return PRIORITY_REGAIN;
}

enum priority_verdict priority_guard_note(struct priority_guard *g, int64_t now_ns, int64_t cpu_ns)
{
    int64_t wall_ns = now_ns - g->from_ns, used_ns = cpu_ns - g->from_cpu_ns;

    /* a clock that went back: another thread's, begin anew */
    bool anew = !g->begun || wall_ns < 0 || used_ns < 0;
    if (!anew && wall_ns < PRIORITY_YIELD_SECONDS * NS_PER_SECOND)
        return PRIORITY_KEEP;

    g->begun = true;
    g->from_ns = now_ns;
    g->from_cpu_ns = cpu_ns;
    return anew ? PRIORITY_KEEP : judge(g, wall_ns, used_ns);
}
