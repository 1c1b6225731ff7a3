/* tap.c - loads the programs of tap.bpf.c and decodes their records. See tap.h.
 *
 * The records come from our own program, but args and names in them from anybody: lengths are
 * checked, bytes are taken as they are. */
#include "collect/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "collect/tap_record.h"

/* --- decoding --------------------------------------------------------------------------------- */

#define ALWAYS_TOLD                                                                                \
    (FIELD(PPID) | FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(EGID) | FIELD(SID) |              \
     FIELD(LOGINUID) | FIELD(START) | FIELD(STARTTIME) | FIELD(PID_NS) | FIELD(MNT_NS) |           \
     FIELD(NET_NS) | FIELD(USER_NS) | FIELD(COMM) | FIELD(TTY))

/* The components lie from the last to the first. Returns the length of the path in `to`, which
 * holds len + 1 bytes. */
static size_t turn_path(const char *bytes, size_t len, char *to)
{
    size_t at = len + 1;
    for (size_t from = 0; from < len;) {
        size_t one = strnlen(bytes + from, len - from);
        if (one + 1 > at)
            break;
        at -= one;
        memcpy(to + at, bytes + from, one);
        to[--at] = '/';
        from += one + 1;
    }
    if (at > len)
        to[--at] = '/'; /* the root directory */
    memmove(to, to + at, len + 1 - at);
    return len + 1 - at;
}

/* A path that was cut has lost its beginning: it is told without the first slash. */
static void set_path(struct event_box *box, enum event_field field, const struct tap_path *path,
                     const char *bytes, const char *suffix)
{
    char text[TAP_PATH_MAX + 256 + sizeof " (deleted)"];
    size_t len = turn_path(bytes, path->len, text);
    size_t skip = path->cut ? 1 : 0;
    memcpy(text + len, suffix, strlen(suffix));
    event_set_text(box, field, text + skip, len - skip + strlen(suffix), WHY_TAP);
    if (path->cut)
        event_set(box, F_TRUNCATED, 1, WHY_TAP);
}

static void set_ints(const struct tap_exec *exec, int64_t boot, uint64_t wanted,
                     struct event_box *box)
{
    const struct {
        enum event_field field;
        int64_t value;
    } ints[] = {
        { F_PPID, exec->ppid },
        { F_UID, exec->uid },
        { F_EUID, exec->euid },
        { F_GID, exec->gid },
        { F_EGID, exec->egid },
        { F_SID, exec->sid },
        { F_PID_NS, exec->pid_ns },
        { F_MNT_NS, exec->mnt_ns },
        { F_NET_NS, exec->net_ns },
        { F_USER_NS, exec->user_ns },
        { F_START, (int64_t)exec->start_boot_ns + boot },
        { F_STARTTIME, (int64_t)(exec->start_boot_ns / NS_PER_TICK) },
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (wanted & UINT64_C(1) << ints[i].field)
            event_set(box, ints[i].field, ints[i].value, WHY_TAP);

    if ((wanted & FIELD(LOGINUID)) && exec->loginuid == UINT32_MAX)
        event_set_missing(box, F_LOGINUID, WHY_ABSENT);
    else if ((wanted & FIELD(LOGINUID)) && !exec->loginuid_missing)
        event_set(box, F_LOGINUID, exec->loginuid, WHY_TAP);
}

static void set_names(const struct tap_exec *exec, uint64_t wanted, struct event_box *box)
{
    char tty[PROCFS_TTY_MAX];
    size_t len = exec->tty_nr ? procfs_tty_name((int)exec->tty_nr, tty) : 0;
    if (wanted & FIELD(COMM))
        event_set_text(box, F_COMM, exec->comm, strnlen(exec->comm, sizeof exec->comm), WHY_TAP);
    if ((wanted & FIELD(TTY)) && len)
        event_set_text(box, F_TTY, tty, len, WHY_TAP);
    else if (wanted & FIELD(TTY))
        event_set_missing(box, F_TTY, WHY_ABSENT);
}

static void set_exe(const struct tap_path *exe, const char *bytes, uint64_t wanted,
                    struct event_box *box)
{
    if (wanted & FIELD(EXE))
        set_path(box, F_EXE, exe, bytes, "");
    if ((wanted & FIELD(DELETED)) && (exe->deleted || exe->pseudo))
        event_set(box, F_DELETED, 1, WHY_TAP);
    else if (wanted & FIELD(DELETED))
        event_set_missing(box, F_DELETED, WHY_ABSENT);
}

static bool whole(const struct tap_exec *exec, size_t len)
{
    return len >= sizeof *exec && exec->head.kind == TAP_EXEC &&
           exec->exe.len <= TAP_PATH_MAX + 256 && exec->cwd.len <= TAP_PATH_MAX + 256 &&
           exec->args_len <= TAP_ARGS_MAX &&
           len - sizeof *exec >= (size_t)exec->exe.len + exec->cwd.len + exec->args_len;
}

uint64_t tap_fill(const void *record, size_t len, int64_t boot, uint64_t wanted,
                  struct event_box *box)
{
    const struct tap_exec *exec = record;
    uint64_t told = ALWAYS_TOLD;
    if (!whole(exec, len))
        return wanted;
    const char *exe = (const char *)(exec + 1), *cwd = exe + exec->exe.len;
    const char *args = cwd + exec->cwd.len;

    set_ints(exec, boot, wanted, box);
    set_names(exec, wanted, box);
    if (wanted & FIELD(ARGS))
        event_set_missing(box, F_TRUNCATED, WHY_ABSENT);
    if (exec->loginuid_missing)
        told &= ~FIELD(LOGINUID);
    if (!exec->exe.missing && (wanted & (FIELD(EXE) | FIELD(DELETED)))) {
        set_exe(&exec->exe, exe, wanted, box);
        told |= FIELD(EXE) | FIELD(DELETED);
    }
    if (!exec->cwd.missing && (wanted & FIELD(CWD))) {
        set_path(box, F_CWD, &exec->cwd, cwd, exec->cwd.deleted ? " (deleted)" : "");
        told |= FIELD(CWD);
    }
    if (!exec->args_missing && (wanted & FIELD(ARGS))) {
        event_set_text(box, F_ARGS, args, exec->args_len, WHY_TAP);
        if (exec->args_cut)
            event_set(box, F_TRUNCATED, 1, WHY_TAP);
        told |= FIELD(ARGS);
    }
    return wanted & ~told;
}

/* Between both stamps the process may have waited for a processor. */
#define APART_NS (NS_PER_SECOND / 10)

bool tap_is_of(const void *record, int64_t mono_ns)
{
    return mono_ns - (int64_t)((const struct tap_head *)record)->mono_ns < APART_NS;
}

uint64_t tap_cgroup_key(const void *record)
{
    return ((const struct tap_exec *)record)->cgroup_key;
}

/* As the kernel tells getrusage(): the exact sum, split as the ticks were. */
static void split_runtime(const struct tap_end *from, struct process_end *to)
{
    uint64_t ticks = from->user_ns + from->system_ns;
    unsigned __int128 system = (unsigned __int128)from->runtime_ns * from->system_ns;
    to->cpu_system_ns = ticks ? (int64_t)(system / ticks) : 0;
    to->cpu_user_ns = (int64_t)(from->runtime_ns - (uint64_t)to->cpu_system_ns);
}

bool tap_end(const void *record, size_t len, struct process_end *end)
{
    const struct tap_end *from = record;
    if (len < sizeof *from || from->head.kind != TAP_END)
        return false;
    *end = (struct process_end){
        .pid = from->head.pid,
        .exit_code = from->exit_code,
        .elapsed_ns = -1,
        .max_rss = (int64_t)(from->max_rss_pages * (uint64_t)sysconf(_SC_PAGESIZE)),
        .read_bytes = (int64_t)from->read_bytes,
        .write_bytes = (int64_t)from->write_bytes,
        .single = true,
    };
    split_runtime(from, end);
    return true;
}

/* --- loading ---------------------------------------------------------------------------------- */

#ifdef MOONWATCH_TAP

#include <bpf/bpf.h>
#include <malloc.h>

#include "tap.skel.h"

struct tap {
    struct tap_bpf *skeleton;   /* owned */
    struct ring_buffer *reader; /* owned */
    struct notes *to;           /* of the drain that runs */
};

static const char *refusal_text(int error)
{
    switch (error) {
    case -EPERM:
    case -EACCES:
        return "the kernel does not permit the tap: give CAP_BPF and CAP_PERFMON";
    case -ENOENT:
    case -ESRCH:
    case -ENOTSUP:
        return "the kernel has no type information (CONFIG_DEBUG_INFO_BTF) for the tap";
    case -EXDEV:
        return "the tap tells paths of the host, and this root directory is another";
    case -ENOMEM:
        return "not enough memory for the tap";
    default:
        return "the kernel does not take the tap: it needs Linux 5.17 or later";
    }
}

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
    (void)level, (void)format, (void)args;
    return 0;
}

/* The tap tells paths as they are below the root of the mount tree. Where we may not look at that of
 * pid 1, ours at least must be the root of a mount: a plain directory was chrooted into. */
static bool root_is_the_hosts(void)
{
    struct stat ours, hosts;
    struct statx about;
    if (stat("/", &ours) == 0 && stat("/proc/1/root", &hosts) == 0)
        return ours.st_dev == hosts.st_dev && ours.st_ino == hosts.st_ino;
    return statx(AT_FDCWD, "/", AT_STATX_DONT_SYNC, 0, &about) < 0 ||
           !(about.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) ||
           (about.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static int keep(void *ctx, void *bytes, size_t len)
{
    struct tap *t = ctx;
    const struct tap_head *head = bytes;
    if (len < sizeof *head)
        return 0;
    int kind = head->kind == TAP_EXEC ? TAP_NOTES_EXEC : TAP_NOTES_END;
    notes_put(t->to, kind, head->pid, (int64_t)head->mono_ns, bytes, len);
    return 0;
}

static int load(struct tap *t, size_t ring_bytes)
{
    t->skeleton = tap_bpf__open();
    if (!t->skeleton)
        return -errno;
    bpf_map__set_max_entries(t->skeleton->maps.ring, (uint32_t)ring_bytes);
    bpf_map__set_max_entries(t->skeleton->maps.scratches, (uint32_t)libbpf_num_possible_cpus());
    int result = tap_bpf__load(t->skeleton);
    if (result == 0)
        result = tap_bpf__attach(t->skeleton);
    if (result < 0)
        return result;
    t->reader = ring_buffer__new(bpf_map__fd(t->skeleton->maps.ring), keep, t, NULL);
    return t->reader ? 0 : -errno;
}

int tap_open(struct tap **out, size_t ring_bytes, const char **why)
{
    struct tap *t = calloc(1, sizeof *t);
    *why = refusal_text(-ENOMEM);
    if (!t)
        return -ENOMEM;
    libbpf_set_print(silent);
    int result = root_is_the_hosts() ? load(t, ring_bytes) : -EXDEV;
    malloc_trim(0); /* the kernel's types were many megabytes */
    if (result < 0) {
        *why = refusal_text(result);
        tap_close(t);
        return result;
    }
    *out = t;
    return 0;
}

void tap_close(struct tap *t)
{
    if (!t)
        return;
    ring_buffer__free(t->reader);
    tap_bpf__destroy(t->skeleton);
    free(t);
}

void tap_need(struct tap *t, uint64_t fields)
{
    t->skeleton->bss->wanted = (fields & FIELD(ARGS) ? TAP_WANT_ARGS : 0) |
                               (fields & (FIELD(EXE) | FIELD(DELETED)) ? TAP_WANT_EXE : 0) |
                               (fields & FIELD(CWD) ? TAP_WANT_CWD : 0) |
                               (fields & (FIELD(CGROUP) | FIELD(CONTAINER)) ? TAP_WANT_CGROUP : 0);
}

int tap_fd(const struct tap *t)
{
    return ring_buffer__epoll_fd(t->reader);
}

int tap_drain(struct tap *t, struct notes *to)
{
    t->to = to;
    return ring_buffer__consume(t->reader);
}

int tap_meter(void)
{
    return bpf_enable_stats(BPF_STATS_RUN_TIME);
}

double tap_exec_us(const struct tap *t)
{
    struct bpf_prog_info info = { 0 };
    uint32_t len = sizeof info;
    int fd = bpf_program__fd(t->skeleton->progs.at_exec);
    if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0 || !info.run_cnt)
        return 0;
    return (double)info.run_time_ns / (double)info.run_cnt / 1e3;
}

uint64_t tap_dropped(const struct tap *t)
{
    return t->skeleton->bss->dropped;
}

#else

int tap_open(struct tap **out, size_t ring_bytes, const char **why)
{
    (void)out, (void)ring_bytes;
    *why = "built without the tap: install clang, bpftool and libbpf-dev, and build again";
    return -ENOTSUP;
}

void tap_close(struct tap *t)
{
    (void)t;
}

void tap_need(struct tap *t, uint64_t fields)
{
    (void)t, (void)fields;
}

int tap_fd(const struct tap *t)
{
    (void)t;
    return -1;
}

int tap_drain(struct tap *t, struct notes *to)
{
    (void)t, (void)to;
    return 0;
}

int tap_meter(void)
{
    return -1;
}

double tap_exec_us(const struct tap *t)
{
    (void)t;
    return 0;
}

uint64_t tap_dropped(const struct tap *t)
{
    (void)t;
    return 0;
}

#endif
