/* end.h - what is known of a process when it has ended, whoever told it. */
#ifndef COLLECT_END_H
#define COLLECT_END_H

#include <stdbool.h>
#include <stdint.h>

struct process_end {
    int32_t pid, ppid;                  /* tgid */
    uint32_t uid, gid;                  /* of the last task */
    uint32_t exit_code;                 /* raw wait status of the last task; see `single` */
    int64_t elapsed_ns;                 /* -1 unknown */
    int64_t cpu_user_ns, cpu_system_ns; /* whole group; -1 unknown */
    int64_t max_rss;                    /* bytes; -1 unknown */
    int64_t read_bytes, write_bytes;    /* -1 unknown */
    uint64_t exe_dev, exe_inode;        /* 0: unknown */
    bool forked_only;                   /* never exec'ed */
    bool single;                        /* exit_code is the process's own */
    char comm[16];                      /* "" unknown */
};

#endif
