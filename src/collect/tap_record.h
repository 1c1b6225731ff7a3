/* tap_record.h - the records that the program in the kernel sends to the one outside.
 *
 * Included by both, so it includes nothing: __u32 and friends are there before. */
#ifndef COLLECT_TAP_RECORD_H
#define COLLECT_TAP_RECORD_H

#define TAP_PATH_MAX 4096
#define TAP_ARGS_MAX (64 * 1024)

enum { TAP_EXEC = 1, TAP_END };

/* What is wanted of an exec; the rest of the record costs too little to be left out. */
enum { TAP_WANT_ARGS = 1, TAP_WANT_EXE = 2, TAP_WANT_CWD = 4, TAP_WANT_CGROUP = 8 };

struct tap_head {
    __u32 kind;
    __s32 pid;     /* tgid in the initial pid namespace */
    __u64 mono_ns; /* CLOCK_MONOTONIC, before the connector's stamp of the same exec or exit */
};

/* A path: its components from the last to the first, each with a NUL, behind the record. */
struct tap_path {
    __u32 len;
    __u8 missing; /* not wanted, or it could not be read */
    __u8 cut;     /* too long: the first components are missing */
    __u8 deleted;
    __u8 pseudo; /* of no directory: a memfd */
};

struct tap_exec {
    struct tap_head head;
    __u64 start_boot_ns; /* CLOCK_BOOTTIME */
    __u64 cgroup_key;    /* the same for all processes of the same control groups */
    __s32 ppid, sid;
    __u32 uid, euid, gid, egid;
    __u32 pid_ns, mnt_ns, net_ns, user_ns; /* inodes, as in /proc/PID/ns */
    __u32 loginuid;                        /* -1: none */
    __u32 tty_nr;                          /* as in /proc/PID/stat */
    __u32 args_len;
    __u8 args_cut, args_missing, loginuid_missing, unused;
    struct tap_path exe, cwd;
    char comm[16];
}; /* exe, cwd and args follow */

struct tap_end {
    struct tap_head head;
    __u64 runtime_ns;         /* of all threads, exact */
    __u64 user_ns, system_ns; /* counted in ticks */
    __u64 max_rss_pages;
    __u64 read_bytes, write_bytes;
    __u32 exit_code; /* wait status of the process */
    __u32 unused;
};

#endif
