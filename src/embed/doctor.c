/* doctor.c - tries each source of events for real and explains what it finds. */
#include "moonwatch.h"

#include "base/clock.h"
#include "collect/netlink.h"
#include "collect/priority.h"
#include "collect/tap.h"
#include "collect/taskstats.h"
#include "collect/procfs.h"
#include "embed/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

struct exam {
    moonwatch_finding *finding;
    void *ctx;
    int broken;
};

static void found(struct exam *e, const char *name, enum moonwatch_health health, const char *mend,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

static void found(struct exam *e, const char *name, enum moonwatch_health health, const char *mend,
                  const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->broken += health == MOONWATCH_BROKEN;
    e->finding(e->ctx, name, health, text, health == MOONWATCH_GOOD ? "" : mend);
}

/* --- the connector -------------------------------------------------------------------------- */

struct own_life {
    pid_t child;
    int64_t delay_ns;
    bool exit;
};

static void look_for_child(void *ctx, const struct kernel_event *kev)
{
    struct own_life *life = ctx;
    if (kev->pid != life->child || !life->child)
        return;
    if (kev->kind == EVENT_EXIT) {
        life->exit = true;
        life->delay_ns = clock_mono_ns() - kev->mono_ns;
    }
}

static void fork_and_wait(struct netlink *nl, struct own_life *life)
{
    life->child = fork();
    if (life->child == 0)
        _exit(0);
    waitpid(life->child, NULL, 0);
    struct pollfd ready = { .fd = nl->fd, .events = POLLIN };
    while (!life->exit && poll(&ready, 1, 500) > 0)
        while (!life->exit && netlink_receive(nl, look_for_child, life) > 0)
            ;
}

static void examine_connector(struct exam *e)
{
    const char *name = "process connector";
    struct netlink nl = { .fd = -1 };
    struct netlink_filter filter = { .kinds = ON(FORK) | ON(EXEC) | ON(EXIT) };
    struct own_life life = { 0 };

    int result = netlink_open(&nl, filter, 32 << 20);
    enum netlink_refusal refusal =
        result < 0 ? netlink_refusal_of(result) : netlink_listen(&nl, look_for_child, &life);
    if (refusal != NETLINK_OK) {
        found(e, name, MOONWATCH_BROKEN, netlink_refusal_text(refusal), "no events");
        netlink_close(&nl);
        return;
    }
    fork_and_wait(&nl, &life);
    if (life.exit)
        found(e, name, MOONWATCH_GOOD, "",
              "the kernel answers; the exit of an own child came after %.0f us",
              (double)life.delay_ns / 1e3);
    else
        found(e, name, MOONWATCH_BROKEN,
              "is another tool ending the kernel's events for all (before Linux 6.6)?",
              "the kernel answers, but the exit of an own child never came");

    if (nl.buffer_bytes >= 32 << 20)
        found(e, "receive buffer", MOONWATCH_GOOD, "", "%d MiB, room for %d events",
              nl.buffer_bytes >> 20, nl.buffer_bytes / 832);
    else
        found(e, "receive buffer", MOONWATCH_LIMITED,
              "give CAP_NET_ADMIN, or raise net.core.rmem_max",
              "%d KiB, room for %d events: bursts will be lost", nl.buffer_bytes >> 10,
              nl.buffer_bytes / 832);
    netlink_close(&nl);
}

static void examine_tap(struct exam *e)
{
    struct tap *tap;
    const char *why = "";
    if (tap_open(&tap, 1 << 16, &why) < 0) {
        found(e, "tap", MOONWATCH_LIMITED,
              "without it /proc is read at each exec: dearer, and a race", "%s", why);
        return;
    }
    found(e, "tap", MOONWATCH_GOOD, "", "the kernel tells arguments and paths at the exec itself");
    tap_close(tap);
}

static void examine_taskstats(struct exam *e)
{
    struct taskstats ts = { .fd = -1 };
    const char *why = "";
    if (taskstats_open(&ts, 1 << 20, &why) == 0)
        found(e, "taskstats", MOONWATCH_GOOD, "",
              "the kernel accounts for ended processes: the tap's stand-in");
    else
        found(e, "taskstats", MOONWATCH_LIMITED,
              "needless with the tap; without both, exits lack what the process used", "%s", why);
    taskstats_close(&ts);
}

/* --- /proc ----------------------------------------------------------------------------------- */

/* A child that is another user's, until the end of the pipe; -1: we may not make one. */
static pid_t begin_other(const int until[2])
{
    const struct passwd *nobody = getpwnam("nobody");
    uid_t uid = nobody ? nobody->pw_uid : 65534;
    char byte;
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        close(until[1]);
        bool other = uid != geteuid() && setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0;
        if (other && write(ready[1], "", 1) == 1)
            (void)!read(until[0], &byte, 1);
        _exit(0);
    }
    close(ready[1]);
    bool is_other = child > 0 && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    if (child > 0 && !is_other)
        waitpid(child, NULL, 0);
    return is_other ? child : -1;
}

/* Why the program of a process of another user has no path, or WHY_ABSENT: it has. Pid 1 is nobody's
 * measure: where it is another namespace's, root may be refused too. */
static enum event_why look_at_other(struct procfs *fs, struct event_box *box)
{
    int until[2];
    if (pipe2(until, O_CLOEXEC) < 0)
        return WHY_ABSENT;
    pid_t child = begin_other(until);
    event_begin(box, EVENT_SNAPSHOT);
    procfs_fill(fs, child > 0 ? child : 1, -1, PROCFS_FIELDS, box);
    close(until[0]);
    close(until[1]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return event_has(&box->ev, F_EXE) ? WHY_ABSENT : (enum event_why)box->ev.why[F_EXE];
}

static void examine_proc(struct exam *e)
{
    struct procfs fs;
    struct event_box *box = malloc(sizeof *box);
    int result = box ? procfs_open(&fs, "/proc") : -ENOMEM;
    if (result < 0) {
        found(e, "/proc", MOONWATCH_BROKEN, "mount it: mount -t proc proc /proc",
              "cannot be opened: %s", strerror(-result));
        free(box);
        return;
    }
    enum event_why refused = look_at_other(&fs, box);
    event_begin(box, EVENT_SNAPSHOT);
    procfs_fill(&fs, 1, -1, PROCFS_FIELDS, box);
    if (fs.hidden)
        found(e, "/proc", MOONWATCH_LIMITED, "give CAP_SYS_PTRACE, or mount it without hidepid",
              "is mounted with hidepid: processes of "
              "others look as if they were gone");
    else if (refused)
        found(e, "/proc", MOONWATCH_LIMITED, "give CAP_SYS_PTRACE (root has it)",
              "programs of other users have no path (exe of one %s)", event_why_text(refused));
    else if (!event_has(&box->ev, F_EXE))
        found(e, "/proc", MOONWATCH_GOOD, "",
              "all fields of other users' processes can be read, but not of pid 1 (exe %s)",
              event_why_text((enum event_why)box->ev.why[F_EXE]));
    else
        found(e, "/proc", MOONWATCH_GOOD, "", "all fields of other users' processes can be read");
    procfs_close(&fs);
    free(box);
}

/* --- the rest -------------------------------------------------------------------------------- */

#define SHORT_ONES 200

static double percent(uint32_t part, uint32_t whole)
{
    return whole ? 100.0 * part / whole : 0;
}

/* What the summary of a watch says, tried out. */
static void examine_names(struct exam *e)
{
    const char *name = "short processes";
    struct trial t = { 0 };
    int result = trial_run(SHORT_ONES, &t);
    if (result < 0 || *t.error) {
        found(e, name, MOONWATCH_BROKEN, "mend what is broken above", "no watch could be tried: %s",
              *t.error ? t.error : strerror(-result));
        return;
    }
    if (!t.started || t.seen < t.started) {
        found(e, name, MOONWATCH_LIMITED,
              "try again: a busy machine can lose events to a small receive buffer",
              "only %u of %u short processes were seen; %llu events were lost", t.seen,
              (unsigned)SHORT_ONES, (unsigned long long)t.lost);
        return;
    }
    bool all = t.exe == t.seen && t.args == t.seen && t.comm == t.seen;
    found(e, name, all ? MOONWATCH_GOOD : MOONWATCH_LIMITED,
          "be first in line for a processor (CAP_SYS_NICE), on a machine that is less busy",
          "exe %.4g %%, args %.4g %%, comm %.4g %% of %u that ended at once",
          percent(t.exe, t.seen), percent(t.args, t.seen), percent(t.comm, t.seen), t.seen);
}

/* In a child: the priority should not stay with the caller. */
static void examine_priority(struct exam *e)
{
    pid_t child = fork();
    if (child == 0)
        _exit(priority_raise(PRIORITY_FIFO));
    int status = 0;
    waitpid(child, &status, 0);
    enum priority got = WIFEXITED(status) ? (enum priority)WEXITSTATUS(status) : PRIORITY_NORMAL;
    found(e, "priority", got <= PRIORITY_NICE ? MOONWATCH_GOOD : MOONWATCH_LIMITED,
          "give CAP_SYS_NICE: a reader that waits for a processor finds short processes gone", "%s",
          priority_text(got));
}

static void examine_user(struct exam *e)
{
    struct moonwatch_options options;
    moonwatch_options_init(&options);
    if (geteuid() != 0)
        found(e, "worker's user", MOONWATCH_LIMITED, "start as root to run scripts as another user",
              "scripts run as user id %d, like the collector", (int)geteuid());
    else if (getpwnam(options.user))
        found(e, "worker's user", MOONWATCH_GOOD, "", "scripts run as '%s', without capabilities",
              options.user);
    else
        found(e, "worker's user", MOONWATCH_BROKEN, "create it, or name another with --user",
              "there is no user '%s'", options.user);
}

/* Where writable memory may never become executable, LuaJIT's compiler cannot work. */
static void examine_jit(struct exam *e)
{
    pid_t child = fork();
    if (child == 0) {
        lua_State *L = luaL_newstate();
        if (!L)
            _exit(1);
        luaL_openlibs(L);
        _exit(luaL_dostring(L, "local n = 0 for i = 1, 1000 do n = n + i % 7 end return n") ? 1
                                                                                            : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    found(e, "LuaJIT", status == 0 ? MOONWATCH_GOOD : MOONWATCH_BROKEN,
          "remove MemoryDenyWriteExecute= from the unit", "%s",
          status == 0 ? LUAJIT_VERSION
                      : "compiled code cannot run: memory may not become executable");
}

int moonwatch_doctor(moonwatch_finding *finding, void *ctx)
{
    struct exam e = { .finding = finding, .ctx = ctx };
    struct utsname kernel = { 0 };

    uname(&kernel);
    found(&e, "kernel", MOONWATCH_GOOD, "", "Linux %s, %s", kernel.release, kernel.machine);
    examine_connector(&e);
    examine_tap(&e);
    examine_taskstats(&e);
    examine_proc(&e);
    examine_priority(&e);
    examine_user(&e);
    examine_jit(&e);
    examine_names(&e);
    return e.broken;
}
