/* procfs.h - reads the facts of one process out of /proc.
 *
 * Everything goes through a held /proc/PID directory: the kernel ties that descriptor to one
 * process for good, so once its start time was checked no read through it can describe the next
 * owner of the pid (it fails with ESRCH instead). Knows nothing of sockets, scripts or who asks.
 *
 * The quick half fills the state fields of a record and never allocates. The answering half
 * (answers.h) takes its time and any amount of memory. */
#ifndef COLLECT_PROCFS_H
#define COLLECT_PROCFS_H

#include "event/event.h"

#include <sys/types.h>

struct procfs {
    int root;     /* owned: descriptor of the /proc directory */
    int64_t boot; /* CLOCK_REALTIME minus CLOCK_BOOTTIME in ns: turns start times into dates */
    bool hidden;  /* mounted with hidepid=: processes of others look as if they were gone */
};

/* Open `root` ("/proc", or a made-up tree in tests). 0, or -errno. */
int procfs_open(struct procfs *fs, const char *root);
void procfs_close(struct procfs *fs);

/* A descriptor of /proc/PID, or -errno (-ENOENT: no such process, or hidden). The caller closes. */
int procfs_pid_open(const struct procfs *fs, int pid);

/* Read NAME under a held directory, at most cap bytes. Returns the length, or -errno; -ESRCH and
 * -ENOENT mean that the process is gone, which is an answer and not a fault. */
ssize_t procfs_read(int pid_dir, const char *name, char *to, size_t cap);

/* The target of a link under a held directory. Returns its length, or -errno. No NUL is added. */
ssize_t procfs_link(int pid_dir, const char *name, char *to, size_t cap);

/* What /proc/PID/stat holds; names and units of proc(5). */
struct procfs_stat {
    int pid;
    const char *comm; /* borrowed from the bytes parsed; any bytes, also ')' and newlines */
    size_t comm_len;
    char state;
    int ppid, pgrp, session, tty_nr;
    uint64_t flags, minflt, majflt;
    uint64_t utime, stime; /* ticks */
    int64_t priority, nice, num_threads;
    uint64_t starttime;  /* ticks since boot */
    uint64_t vsize;      /* bytes */
    int64_t rss;         /* pages */
    uint64_t start_code; /* 1 when we may not know; 0 with memory: an exec is under way */
    int processor;
    uint64_t rt_priority, policy;
};

/* 0, or -EBADMSG. Pure. */
int procfs_parse_stat(const char *bytes, size_t len, struct procfs_stat *out);

/* "pts/3", "tty1", "ttyS0", ... for stat's tty_nr; length, or 0 when there is none. */
#define PROCFS_TTY_MAX 24
size_t procfs_tty_name(int tty_nr, char *to);

/* From the text of /proc/PID/cgroup: the path worth showing (see fields.def), and the container id
 * in it, first 12 characters. Lengths of 0 where there is none. Results borrow from `bytes`. Pure.
 * Known shapes: docker-ID.scope, /docker/ID, cri-containerd-ID.scope, crio-ID.scope,
 * libpod-ID.scope, kubepods/.../ID, lxc/NAME, lxc.payload.NAME, machine.slice/machine-NAME.scope.
 */
struct procfs_cgroup {
    const char *path, *container;
    size_t path_len, container_len;
};
void procfs_parse_cgroup(const char *bytes, size_t len, struct procfs_cgroup *out);

/* A mask of fields: FIELD(COMM) | FIELD(EXE). */
#define FIELD(NAME) (UINT64_C(1) << F_##NAME)

/* The fields that procfs_fill can read. */
#define PROCFS_FIELDS                                                                              \
    (FIELD(PPID) | FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(EGID) | FIELD(SID) |              \
     FIELD(LOGINUID) | FIELD(START) | FIELD(STARTTIME) | FIELD(PID_NS) | FIELD(MNT_NS) |           \
     FIELD(NET_NS) | FIELD(USER_NS) | FIELD(DELETED) | FIELD(COMM) | FIELD(EXE) | FIELD(ARGS) |    \
     FIELD(CWD) | FIELD(TTY) | FIELD(CGROUP) | FIELD(CONTAINER))

/* Those that come from stat, which is read in any case. */
#define PROCFS_STAT_FIELDS                                                                         \
    (FIELD(PPID) | FIELD(SID) | FIELD(START) | FIELD(STARTTIME) | FIELD(COMM) | FIELD(TTY))

/* Read the `wanted` fields of process `pid` into the box, each as WHY_PROC, WHY_ABSENT (does not
 * apply: no tty, kernel thread's exe is WHY_KTHREAD) or with the reason why it is missing. Fields
 * not wanted stay as they are. Opens only the files that the wanted fields need, and first those
 * that vanish first: cmdline, exe, cwd, ns/, then stat, status, loginuid, cgroup.
 * `starttime` >= 0: the process must be that one, give or take one tick, else -ESRCH; -1: any.
 * stat is always read. While an exec is under way, what belongs to one image is WHY_GONE: some of
 * it may be of the old one and some of the new.
 * Returns 0 when stat could be read; -ESRCH when the process is gone or another: then all
 * wanted fields that were not read before are WHY_GONE, and nothing of the other one is kept;
 * another -errno when stat itself was denied or unreadable: then they are WHY_DENIED. */
int procfs_fill(const struct procfs *fs, int pid, int64_t starttime, uint64_t wanted,
                struct event_box *box);

/* Call for every process in /proc. Stops and returns what `each` returns when that is not 0;
 * -errno when /proc cannot be listed. */
typedef int procfs_each(void *ctx, int pid);
int procfs_scan(const struct procfs *fs, procfs_each *each, void *ctx);

#endif
