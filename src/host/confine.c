/* confine.c - what the process of a worker gives up for good. See confine.h. */
#include "host/confine.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_MOST 256 /* those of scripts' outputs and stores come later, by the socket */

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65 /* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* The sanitizers map, open and ask for more than any filter could foresee. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int refuse(char *why, size_t cap, const char *what)
{
    int error = errno;
    snprintf(why, cap, "cannot %s: %s", what, strerror(error));
    return -error;
}

bool confine_may_compile(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return false;
    bool may = !mprotect(at, page, PROT_READ | PROT_EXEC);
    munmap(at, page);
    return may;
}

/* --- user and capabilities ------------------------------------------------------------------- */

/* What nobody gets, not by any file's bits either. Only root may shrink it. */
static void drop_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return (int)syscall(SYS_capset, &head, none);
}

static int become(const char *name, char *why, size_t cap)
{
    const struct passwd *user = getpwnam(name);
    if (!user) {
        snprintf(why, cap, "there is no user '%s': create it, or name another with --user", name);
        return -ENOENT;
    }
    gid_t gid = user->pw_gid;
    uid_t uid = user->pw_uid;
    drop_bounding_set();
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)) {
        int error = errno;
        snprintf(why, cap, "cannot become user '%s': %s", name, strerror(error));
        return -error;
    }
    return 0;
}

static int give_up_privileges(const struct confine_options *options, char *why, size_t cap)
{
    int result = 0;
    if (options->user && geteuid() == 0)
        result = become(options->user, why, cap);
    else
        drop_bounding_set();
    if (result < 0)
        return result;
    if (drop_capabilities() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return refuse(why, cap, "give up privileges");
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* another worker of the same user cannot trace us */
    return 0;
}

/* --- limits ------------------------------------------------------------------------------------ */

static void limit(int what, rlim_t most)
{
    struct rlimit now;
    if (getrlimit(what, &now))
        return;
    if (most > now.rlim_max)
        most = now.rlim_max;
    setrlimit(what, &(struct rlimit){ most, most });
}

static rlim_t mapped_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void set_limits(const struct confine_options *options)
{
    rlim_t mapped = mapped_bytes();
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, DESCRIPTORS_MOST);
    limit(RLIMIT_MSGQUEUE, 0);
    limit(RLIMIT_RTPRIO, 0);
    if (options->profile == PROFILE_POLICY)
        limit(RLIMIT_NPROC, 0);
    if (options->memory_bytes && mapped && !SANITIZED)
        limit(RLIMIT_AS, mapped + options->memory_bytes);
}

/* --- the filter -------------------------------------------------------------------------------- */

/* The answer to what is not allowed is EPERM: libraries that ask out of habit (nscd's socket, a
 * locale's file) then go on without. */
#define REFUSED SCMP_ACT_ERRNO(EPERM)

/* Nobody calls these out of habit: who does has left Lua already, and gets no second try. The parent
 * sees a death by SIGSYS and knows whose call it was. */
#define DEADLY SCMP_ACT_KILL_PROCESS

static const char *const deadly[] = {
    "execve",           "execveat",         "ptrace",          "process_vm_readv",
    "process_vm_writev", "process_madvise", "pidfd_getfd",     "kcmp",
    "bpf",              "perf_event_open",  "userfaultfd",     "io_uring_setup",
    "io_uring_enter",   "io_uring_register", "init_module",    "finit_module",
    "delete_module",    "kexec_load",       "kexec_file_load", "mount",
    "umount2",          "pivot_root",       "chroot",          "setns",
    "unshare",          "open_by_handle_at", "keyctl",         "add_key",
    "request_key",      "reboot",           "swapon",          "swapoff",
};

/* Names that an architecture does not have are passed over. */
static const char *const allowed[] = {
    /* descriptors that are there; not to cut what may only be appended to: ftruncate, fallocate */
    "read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "lseek",
    "_llseek", "close", "close_range", "fstat", "fstat64", "flock", "fsync", "fdatasync", "sendmsg", "recvmsg", "recvfrom", "shutdown", "getsockopt",
    /* waiting */
    "poll", "ppoll", "select", "_newselect", "pselect6", "epoll_create1", "epoll_create",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create",
    "timerfd_settime", "timerfd_gettime",
    /* time */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "nanosleep",
    "gettimeofday", "time", "times", "getrusage", "timer_create", "timer_settime", "timer_gettime",
    "timer_getoverrun", "timer_delete", "setitimer", "getitimer",
    /* memory; what makes it executable is sorted out below */
    "brk", "munmap", "mremap", "madvise", "mincore", "msync", "membarrier",
    /* signals, to ourselves */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait",
    "sigaltstack", "restart_syscall",
    /* who and where we are */
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getpgrp", "getpgid",
    "getsid", "uname", "sysinfo", "getcpu", "sched_getaffinity", "sched_yield", "getrandom",
    /* the C library's own */
    "futex", "futex_time64", "set_robust_list", "rseq", "set_tid_address", "exit", "exit_group",
};

static int add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, action, number, 0);
}

static int add_if(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp one)
{
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR ? 0
                                     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, one);
}

/* Changing a descriptor's flags would reach who shares it: the collector's eventfd could be made to
 * wait. */
static int add_fcntl(scmp_filter_ctx filter)
{
    static const int harmless[] = { F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC };
    int result = 0;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless && !result; i++) {
        result = add_if(filter, "fcntl", SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)harmless[i], 0));
        if (!result)
            result = add_if(filter, "fcntl64", SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)harmless[i], 0));
    }
    return result;
}

static int add_ioctl(scmp_filter_ctx filter)
{
    int result = add_if(filter, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, (scmp_datum_t)TCGETS, 0));
    return result ? result
                  : add_if(filter, "ioctl", SCMP_A1_32(SCMP_CMP_EQ, (scmp_datum_t)TIOCGWINSZ, 0));
}

static int add_memory(scmp_filter_ctx filter)
{
    static const char *const makers[] = { "mmap", "mmap2", "mprotect" };
    int result = 0;
    for (size_t i = 0; i < sizeof makers / sizeof *makers && !result; i++)
        result = add_if(filter, makers[i], SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return result;
}

/* abort() signals its own thread; fstat() is newfstatat of nothing; send() is sendto to nobody. (An
 * address inside of sendmsg's structure no filter can see: the datagram socket of a sink can be made
 * to write to another socket that its user may write to.) */
static int add_rest(scmp_filter_ctx filter)
{
    int result = add_if(filter, "tgkill", SCMP_A0_32(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (!result)
        result = add_if(filter, "newfstatat", SCMP_A3_32(SCMP_CMP_EQ, AT_EMPTY_PATH, 0));
    if (!result)
        result = add_if(filter, "sendto", SCMP_A4(SCMP_CMP_EQ, 0, 0));
    return result;
}

static int fill(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed && !result; i++)
        result = add(filter, SCMP_ACT_ALLOW, allowed[i]);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly && !result; i++)
        result = add(filter, DEADLY, deadly[i]);
    if (!result)
        result = add_fcntl(filter);
    if (!result)
        result = add_ioctl(filter);
    if (!result)
        result = add_memory(filter);
    return result ? result : add_rest(filter);
}

static int filter_calls(void)
{
    scmp_filter_ctx filter = seccomp_init(REFUSED);
    int result = filter ? fill(filter) : -ENOMEM;
    if (!result)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: we are asked often */
    if (!result)
        result = seccomp_load(filter);
    if (filter)
        seccomp_release(filter);
    return result;
}

/* A kernel without seccomp is no reason not to watch at all; but it is said. */
static void filter_or_say(void)
{
    if (SANITIZED) {
        log_info("built with a sanitizer: scripts run without a filter of system calls");
        return;
    }
    int result = filter_calls();
    if (result < 0)
        log_warn("no filter of system calls for the scripts: %s", strerror(-result));
}

/* --- all of it ----------------------------------------------------------------------------------- */

/* What the C library reads later, and then could not: the zone of local time. With TZ set it does
 * not look for the file again. */
static void remember_zone(void)
{
    setenv("TZ", ":/etc/localtime", 0);
    tzset();
}

int confine(const struct confine_options *options, char *why, size_t cap)
{
    if (options->profile == PROFILE_POLICY)
        remember_zone();
    set_limits(options);
    int result = give_up_privileges(options, why, cap);
    if (result < 0)
        return result;
    if (options->profile == PROFILE_POLICY) {
        prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
        filter_or_say();
    }
    return 0;
}
