/* trial.c - a short watch of our own over processes of our own. See trial.h. */
#include "embed/trial.h"

#include "moonwatch.h"

#include "event/event.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 10

extern char **environ;

struct attempt {
    struct trial *trial; /* shared with the caller */
    struct ev_loop *loop;
    pid_t spawner;
};

/* --- who is watched ------------------------------------------------------------------------- */

/* As short as a process can be: a program that returns at once. */
static int spawn_one(void)
{
    static const char *const programs[] = { "/bin/true", "/usr/bin/true" };
    char *argv[] = { "true", "of", "moonwatch", "doctor", NULL };
    pid_t pid;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (!posix_spawn(&pid, programs[i], NULL, NULL, argv, environ))
            return waitpid(pid, NULL, 0) == pid ? 0 : -errno;
    return -ENOENT;
}

/* Begins when the watch says so by closing its end; the exit status is whether all were started. */
static pid_t fork_spawner(int count, int go[2])
{
    pid_t pid = fork();
    if (pid)
        return pid;
    char byte;
    int failed = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(go[1]);
    if (read(go[0], &byte, 1) != 0)
        _exit(1);
    for (int i = 0; i < count && !failed; i++)
        failed = spawn_one();
    _exit(failed ? 1 : 0);
}

/* --- the watch ------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct moonwatch_event *event)
{
    struct attempt *a = ctx;
    const struct event *ev = (const struct event *)event;

    if (event_kind(ev) == EVENT_EXIT && event_int(ev, F_PID, 0) == a->spawner)
        ev_break(a->loop, EVBREAK_ALL); /* after all of its children's execs */
    if (event_kind(ev) != EVENT_EXEC || event_int(ev, F_PPID, 0) != a->spawner)
        return;
    a->trial->seen++;
    a->trial->exe += event_has(ev, F_EXE);
    a->trial->args += event_has(ev, F_ARGS);
    a->trial->comm += event_has(ev, F_COMM);
}

static void on_time(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)watcher, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_end(void *ctx, enum moonwatch_end why)
{
    struct attempt *a = ctx;
    (void)why;
    ev_break(a->loop, EVBREAK_ALL);
}

static void watch_spawner(struct attempt *a, struct moonwatch *m, int go)
{
    ev_timer end;
    struct moonwatch_summary s;
    if (moonwatch_start(m, a->loop) < 0) {
        snprintf(a->trial->error, sizeof a->trial->error, "%s", moonwatch_error(m));
        return;
    }
    ev_timer_init(&end, on_time, PATIENCE_S, 0);
    ev_timer_start(a->loop, &end);
    close(go);
    ev_run(a->loop, 0);
    moonwatch_stop(m);
    moonwatch_summarize(m, &s);
    a->trial->lost = s.lost;
}

/* The life of the child in which the watch runs: as `moonwatch` would, with a worker and first in
 * line. */
static void attempt(struct trial *trial, int count)
{
    int go[2];
    struct attempt a = { .trial = trial, .loop = ev_loop_new(EVFLAG_AUTO) };
    struct moonwatch_options options;
    moonwatch_options_init(&options);
    options.worker = options.realtime = true;
    options.on_event = on_event;
    options.on_end = on_end;
    options.ctx = &a;

    struct moonwatch *m = moonwatch_new(&options);
    if (!a.loop || !m || pipe(go) < 0 || (a.spawner = fork_spawner(count, go)) < 0) {
        snprintf(trial->error, sizeof trial->error, "%s", strerror(errno));
        return;
    }
    watch_spawner(&a, m, go[1]);
    kill(a.spawner, SIGKILL); /* it has ended, or never will */
    int status = 0;
    waitpid(a.spawner, &status, 0);
    trial->started = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? (uint32_t)count : trial->seen;
    moonwatch_free(m);
}

int trial_run(int count, struct trial *out)
{
    struct trial *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        attempt(shared, count);
        _exit(0);
    }
    int status = -1;
    if (child > 0)
        waitpid(child, &status, 0);
    *out = *shared;
    munmap(shared, sizeof *shared);
    return child < 0 ? -ENOMEM : status ? -EIO : 0;
}
