/* processes.c - every process that runs now, from /proc alone: the way of ps. */
#include "moonwatch.h"

#include "base/clock.h"
#include "collect/procfs.h"
#include "event/event.h"

#include <errno.h>
#include <stdlib.h>

struct pids {
    int *pid; /* owned */
    int len, cap;
};

static int gather(void *ctx, int pid)
{
    struct pids *p = ctx;
    if (p->len == p->cap) {
        int cap = p->cap ? p->cap * 2 : 256;
        int *more = realloc(p->pid, (size_t)cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        p->pid = more;
        p->cap = cap;
    }
    p->pid[p->len++] = pid;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void tell(const struct procfs *fs, int pid, struct event_box *box,
                 moonwatch_handler *handler, void *ctx)
{
    event_begin(box, EVENT_SNAPSHOT);
    if (procfs_fill(fs, pid, -1, PROCFS_FIELDS, box) < 0)
        return; /* gone meanwhile */
    event_set(box, F_PID, pid, WHY_PROC);
    event_set(box, F_TID, pid, WHY_PROC);
    event_set(box, F_TIME, clock_real_ns(), WHY_COMPUTED);
    event_set(box, F_MONO, clock_mono_ns(), WHY_COMPUTED);
    handler(ctx, (const struct moonwatch_event *)&box->ev);
}

int moonwatch_processes(moonwatch_handler *handler, void *ctx)
{
    struct procfs fs;
    struct pids pids = { 0 };
    int result = procfs_open(&fs, "/proc");
    if (result < 0)
        return result;

    struct event_box *box = malloc(sizeof *box);
    result = box ? procfs_scan(&fs, gather, &pids) : -ENOMEM;
    if (result == 0) {
        qsort(pids.pid, (size_t)pids.len, sizeof *pids.pid, compare);
        for (int i = 0; i < pids.len; i++)
            tell(&fs, pids.pid[i], box, handler, ctx);
    }
    free(box);
    free(pids.pid);
    procfs_close(&fs);
    return result;
}
