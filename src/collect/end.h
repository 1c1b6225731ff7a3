/* end.h - what is known of a process when it has ended, whoever told it, and the table that keeps
 * it until it is asked for.
 *
 * The end of a process and the question for it come by different ways, so one waits for the other.
 * The table is bounded and allocates once; it knows nothing of who fills it. */
#ifndef COLLECT_END_H
#define COLLECT_END_H

#include <stdbool.h>
#include <stdint.h>

/* One process, ended. Ids are those of the initial namespaces. */
struct process_end {
    int32_t pid, ppid;                  /* processes (tgid) */
    uint32_t uid, gid;                  /* real ids of the last task */
    uint32_t exit_code;                 /* raw wait status of the last task: see `single` */
    int64_t elapsed_ns;                 /* from its fork to its end, CLOCK_MONOTONIC */
    int64_t cpu_user_ns, cpu_system_ns; /* whole process; -1 unknown */
    int64_t max_rss;                    /* bytes, of the last image (since exec); -1 unknown */
    int64_t read_bytes, write_bytes;    /* from and to storage, whole process; -1 unknown */
    uint64_t exe_dev, exe_inode;        /* of the last image: what stat(2) tells, but on btrfs and
                                           overlayfs, which make numbers up; 0 unknown */
    bool forked_only;                   /* certainly never exec'ed; false proves nothing when it was
                                           not the main thread that ended last */
    bool single;                        /* it never had a second thread: exit_code is the process's
                                           own by definition and not only by how kernels behave */
    char comm[16];                      /* name of the last task; NUL-terminated */
};

/* Ends that nobody has asked for yet. One is kept while fewer than ENDS_MAX newer ones came. */
#define ENDS_MAX 4096
struct ends;

/* NULL without memory. */
struct ends *ends_new(void);
void ends_free(struct ends *ends);

/* Copies. Returns how many were pushed out: 1 when the time of the oldest one has come, else 0. */
unsigned ends_put(struct ends *ends, const struct process_end *end);

/* The oldest end of this pid, borrowed until the next put or take; NULL: there is none. */
const struct process_end *ends_find(const struct ends *ends, int32_t pid);

/* Removes the oldest end of this pid into *out. False: there is none. */
bool ends_take(struct ends *ends, int32_t pid, struct process_end *out);

#endif
