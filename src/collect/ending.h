/* ending.h - when has a process ended, and how?
 *
 * The EXIT of a main thread is not the end of its process: other threads may live on, and one of
 * them may exec and take its place. The tap and taskstats tell the end of the process itself; what
 * is told by neither is found out with a pidfd, at once or once it becomes readable. */
#ifndef COLLECT_ENDING_H
#define COLLECT_ENDING_H

#include "collect/complete.h"
#include "collect/notes.h"
#include "collect/tap.h"
#include "collect/taskstats.h"

#include <ev.h>

/* Main threads that exited before their process did, at one time; and how many of them have a pidfd,
 * so that descriptors do not run out. The others are looked at with each batch. */
#define LINGERING 1024
#define WATCHED   64

/* Read what messages there are, and pass on what came of them: what is told outside of a batch must
 * come after what happened before. */
typedef void ending_read(void *ctx);

struct ending {
    struct completer *completer; /* borrowed, as are the next two */
    const struct procfs *fs;
    struct notes *notes;
    struct tap *tap;             /* borrowed; NULL: none */
    struct taskstats *taskstats; /* borrowed; NULL: none */
    struct ev_loop *loop;        /* NULL: nothing lingers */
    ev_timer patience;
    ending_read *read;
    void *ctx;
    struct lingering {
        ev_io watcher; /* of a pidfd, owned */
        bool used, watched;
        int64_t kept_ns; /* since when; of exit.mono_ns 0: found by looking at /proc */
        struct kernel_event exit;
    } lingering[LINGERING];
    int used, watched; /* how many of them */
};

/* From now on, ends may be awaited on this loop. */
void ending_start(struct ending *e, struct ev_loop *loop);

/* The EXIT of a main thread: completes it, or keeps it until its process has ended. */
void ending_exit(struct ending *e, const struct kernel_event *kev);

/* The main thread of this process was found dead, by looking at /proc: does the process live on?
 * Then its end will be told. */
bool ending_lingers(struct ending *e, int pid);

/* An EXEC, by what was another thread: the process goes on under the same pid. */
void ending_exec(struct ending *e, const struct kernel_event *kev);

/* A FORK that gives a pid out anew: its last owner has ended before. */
void ending_fork(struct ending *e, const struct kernel_event *kev);

/* All messages of before this moment were read: tell of the ends that were told until then. */
void ending_settle(struct ending *e, int64_t read_until_ns);

/* Tell of the ends that are known or assumed, stop all watchers. */
void ending_stop(struct ending *e);

#endif
