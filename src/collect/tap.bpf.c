/* tap.bpf.c - runs in the kernel: at each exec and each end of a process, writes down what it is.
 *
 * At these two points nothing can be raced: the arguments lie in the new image's stack before its
 * first instruction runs. Two programs, one ring buffer that nobody is woken for, and no state but
 * a scratch area per processor. Where the memory of a struct lies is found when it is loaded (CO-RE),
 * from the kernel's own type information; only members that are used are declared. */
typedef signed int __s32;
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "collect/tap_record.h"

#define KERNEL __attribute__((preserve_access_index))

enum { AVAILABLE = 0, RING_SIZE = 1 }; /* of bpf_ringbuf_query */
enum { MAP_ARRAY = 2, MAP_RINGBUF = 27, NO_WAKEUP = 1, WAKEUP = 2, SESSION = 3, GROUP_EXIT = 4 };

struct hlist_bl_node {
    void **pprev;
} KERNEL;

struct qstr {
    const unsigned char *name;
} KERNEL;

struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
} KERNEL;

struct vfsmount {
    struct dentry *mnt_root;
} KERNEL;

struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
} KERNEL;

struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
} KERNEL;

struct file {
    struct path f_path;
} KERNEL;

struct fs_struct {
    struct path pwd;
} KERNEL;

struct mm_struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
} KERNEL;

struct kuid {
    __u32 val;
} KERNEL;

struct ns_common {
    __u32 inum;
} KERNEL;

struct user_namespace {
    struct ns_common ns;
} KERNEL;

struct pid_namespace {
    struct ns_common ns;
} KERNEL;

struct mnt_namespace {
    struct ns_common ns;
} KERNEL;

struct net {
    struct ns_common ns;
} KERNEL;

struct nsproxy {
    struct mnt_namespace *mnt_ns;
    struct net *net_ns;
} KERNEL;

struct cred {
    struct kuid uid, gid, euid, egid;
    struct user_namespace *user_ns;
} KERNEL;

struct upid {
    __s32 nr;
    struct pid_namespace *ns;
} KERNEL;

struct pid {
    __u32 level;
    struct upid numbers[1];
} KERNEL;

struct tty_driver {
    __s32 major, minor_start;
} KERNEL;

struct tty_struct {
    __s32 index;
    struct tty_driver *driver;
} KERNEL;

struct task_io_accounting {
    __u64 read_bytes, write_bytes;
} KERNEL;

struct signal_struct {
    struct {
        __s32 counter;
    } live;
    __s32 group_exit_code;
    __u32 flags;
    struct pid *pids[4];
    struct tty_struct *tty;
    __u64 utime, stime;
    unsigned long maxrss;
    struct task_io_accounting ioac;
    unsigned long long sum_sched_runtime;
} KERNEL;

struct list_head {
    struct list_head *next;
} KERNEL;

struct cgroup_subsys_state {
    __u64 serial_nr;
} KERNEL;

struct cgroup {
    struct cgroup_subsys_state self;
} KERNEL;

struct cgrp_cset_link {
    struct cgroup *cgrp;
    struct list_head cgrp_link;
} KERNEL;

struct css_set {
    struct list_head cgrp_links;
} KERNEL;

struct sched_entity {
    __u64 sum_exec_runtime;
} KERNEL;

struct task_struct {
    __s32 tgid;
    __s32 exit_code;
    struct task_struct *real_parent, *group_leader;
    __u64 start_boottime, utime, stime;
    struct mm_struct *mm;
    struct fs_struct *fs;
    struct signal_struct *signal;
    const struct cred *cred;
    struct nsproxy *nsproxy;
    struct pid *thread_pid;
    struct css_set *cgroups;
    struct kuid loginuid;
    struct task_io_accounting ioac;
    struct sched_entity se;
    char comm[16];
} KERNEL;

struct {
    __uint(type, MAP_RINGBUF);
    __uint(max_entries, 1); /* set before it is loaded */
} ring SEC(".maps");

/* 255 bytes of a name and a NUL must fit behind the last place where one can begin. */
#define NAME_ROOM 256
#define PATHS_MAX (2 * (TAP_PATH_MAX + NAME_ROOM))

/* One exec in the making. No exec is interrupted by another on the same processor: the kernel's
 * tracepoints run with preemption off. */
struct scratch {
    struct walk {
        struct dentry *dentry;
        struct mount *mount;
        __u64 at, end; /* in data */
        __u8 pseudo, whole;
    } walk;
    struct tap_exec exec;
    char data[PATHS_MAX + TAP_ARGS_MAX];
};

struct {
    __uint(type, MAP_ARRAY);
    __uint(max_entries, 1); /* as many as there are processors */
    __type(key, __u32);
    __type(value, struct scratch);
} scratches SEC(".maps");

__u32 wanted;   /* TAP_WANT_*: may change while it runs */
__u64 dropped;  /* records that found no room */

/* Nobody is woken until half of the ring is full. */
static void send(void *record, __u64 size)
{
    __u64 waiting = bpf_ringbuf_query(&ring, AVAILABLE), room = bpf_ringbuf_query(&ring, RING_SIZE);
    if (bpf_ringbuf_output(&ring, record, size, waiting > room / 2 ? WAKEUP : NO_WAKEUP))
        __sync_fetch_and_add(&dropped, 1);
}

/* --- paths -------------------------------------------------------------------------------------- */

/* As many components as a path can have, and some mounts; the room ends a longer walk. */
#define STEPS_MAX (TAP_PATH_MAX / 2 + 256)

/* One step of d_path()'s walk: a component is written, or a mount is left. 1 ends it. */
static long step(__u32 number, struct scratch **scratch)
{
    struct walk *walk = &(*scratch)->walk;
    struct dentry *dentry = walk->dentry, *parent;
    struct mount *mount = walk->mount;
    __u64 at = walk->at;

    if (dentry == BPF_CORE_READ(mount, mnt.mnt_root)) {
        walk->mount = BPF_CORE_READ(mount, mnt_parent);
        walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
        walk->whole = walk->mount == mount;
        return walk->whole ? 1 : 0;
    }
    parent = BPF_CORE_READ(dentry, d_parent);
    if (dentry == parent && !walk->pseudo)
        return walk->whole = 1;
    if (at >= walk->end || at > PATHS_MAX - NAME_ROOM)
        return 1;
    long got = bpf_probe_read_kernel_str((*scratch)->data + at, NAME_ROOM,
                                         BPF_CORE_READ(dentry, d_name.name));
    if (got < 1)
        return 1;
    walk->at = at + got;
    walk->dentry = parent;
    walk->whole = walk->pseudo;
    return walk->whole ? 1 : 0;
}

/* Write a path behind the first `at` bytes of the scratch area; returns where it ends. */
static __u64 write_path(struct scratch *scratch, const struct path *path, __u64 at,
                        struct tap_path *about)
{
    struct vfsmount *vfsmount = BPF_CORE_READ(path, mnt);
    struct dentry *dentry = BPF_CORE_READ(path, dentry);
    struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
    scratch->walk = (struct walk){
        .dentry = dentry,
        .mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt),
        .at = at,
        .end = at + TAP_PATH_MAX,
        .pseudo = dentry == parent && dentry != BPF_CORE_READ(vfsmount, mnt_root),
    };
    if (dentry)
        bpf_loop(STEPS_MAX, step, &scratch, 0);

    about->missing = !dentry;
    about->cut = !scratch->walk.whole;
    about->pseudo = scratch->walk.pseudo;
    about->deleted = dentry != parent && !BPF_CORE_READ(dentry, d_hash.pprev);
    about->len = scratch->walk.at - at;
    return scratch->walk.at;
}

/* --- exec --------------------------------------------------------------------------------------- */

#define HIERARCHIES 32

/* From the numbers of its groups in all hierarchies, also in those without a controller, such as
 * systemd's: the kernel gives none twice, but 0 to each root. */
static __u64 cgroup_key(const struct css_set *set)
{
    const struct list_head *at = BPF_CORE_READ(set, cgrp_links.next);
    __u64 key = 0xcbf29ce484222325ull;
    for (int i = 0; i < HIERARCHIES && at != &set->cgrp_links; i++) {
        const struct cgrp_cset_link *link =
            (const void *)at - bpf_core_field_offset(struct cgrp_cset_link, cgrp_link);
        key = (key ^ BPF_CORE_READ(link, cgrp, self.serial_nr)) * 0x100000001b3ull;
        at = BPF_CORE_READ(at, next);
    }
    return key;
}

/* As the kernel's new_encode_dev(tty_devnum()). */
static __u32 tty_number(const struct tty_struct *tty)
{
    if (!tty)
        return 0;
    __u32 major = BPF_CORE_READ(tty, driver, major);
    __u32 minor = BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index);
    return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

/* A pid has a number in its own namespace and in each above; its own is the last. */
static __u32 pid_namespace(const struct pid *pid)
{
    __u32 level = BPF_CORE_READ(pid, level);
    const struct upid *upid = (const void *)&pid->numbers[0] + level * bpf_core_type_size(struct upid);
    return BPF_CORE_READ(upid, ns, ns.inum);
}

static void write_ids(struct task_struct *task, struct tap_exec *to)
{
    to->start_boot_ns = BPF_CORE_READ(task, start_boottime);
    to->ppid = BPF_CORE_READ(task, real_parent, tgid);
    to->sid = BPF_CORE_READ(task, signal, pids[SESSION], numbers[0].nr);
    to->uid = BPF_CORE_READ(task, cred, uid.val);
    to->euid = BPF_CORE_READ(task, cred, euid.val);
    to->gid = BPF_CORE_READ(task, cred, gid.val);
    to->egid = BPF_CORE_READ(task, cred, egid.val);
    to->pid_ns = pid_namespace(BPF_CORE_READ(task, thread_pid));
    to->mnt_ns = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
    to->net_ns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
    to->user_ns = BPF_CORE_READ(task, cred, user_ns, ns.inum);
    to->tty_nr = tty_number(BPF_CORE_READ(task, signal, tty));
    to->loginuid_missing = !bpf_core_field_exists(task->loginuid);
    to->loginuid = to->loginuid_missing ? 0 : BPF_CORE_READ(task, loginuid.val);
    bpf_probe_read_kernel_str(to->comm, sizeof to->comm, &task->comm);
}

/* How many bytes. The whole of it lies in one run, as it was just copied there. */
static __u64 write_args(const struct mm_struct *mm, struct tap_exec *to, char *at)
{
    __u64 start = BPF_CORE_READ(mm, arg_start), len = BPF_CORE_READ(mm, arg_end) - start;
    to->args_cut = len > TAP_ARGS_MAX;
    if (len > TAP_ARGS_MAX)
        len = TAP_ARGS_MAX;
    to->args_missing = bpf_probe_read_user(at, len, (void *)start) != 0;
    to->args_len = to->args_missing ? 0 : len;
    return to->args_len;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(at_exec, struct task_struct *task)
{
    __u32 cpu = bpf_get_smp_processor_id(), want = wanted;
    __u64 len = 0;
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &cpu);
    if (!scratch)
        return 0;
    struct tap_exec *exec = &scratch->exec;
    exec->head.kind = TAP_EXEC;
    exec->head.pid = BPF_CORE_READ(task, tgid);
    exec->head.mono_ns = bpf_ktime_get_ns();
    write_ids(task, exec);
    exec->cgroup_key = want & TAP_WANT_CGROUP ? cgroup_key(BPF_CORE_READ(task, cgroups)) : 0;

    exec->exe.missing = exec->cwd.missing = exec->args_missing = 1;
    exec->exe.len = exec->cwd.len = exec->args_len = 0;
    if (want & TAP_WANT_EXE)
        len = write_path(scratch, &BPF_CORE_READ(task, mm, exe_file)->f_path, len, &exec->exe);
    if (want & TAP_WANT_CWD)
        len = write_path(scratch, &BPF_CORE_READ(task, fs)->pwd, len, &exec->cwd);
    if (len > PATHS_MAX)
        return 0; /* never, but the verifier does not know */
    barrier_var(len);
    if (want & TAP_WANT_ARGS)
        len += write_args(BPF_CORE_READ(task, mm), exec, scratch->data + len);
    if (len > sizeof scratch->data)
        return 0;
    send(exec, sizeof *exec + len);
    return 0;
}

/* --- end ---------------------------------------------------------------------------------------- */

static void add_task(struct task_struct *task, struct tap_end *to)
{
    to->runtime_ns += BPF_CORE_READ(task, se.sum_exec_runtime);
    to->user_ns += BPF_CORE_READ(task, utime);
    to->system_ns += BPF_CORE_READ(task, stime);
    if (bpf_core_field_exists(task->ioac.read_bytes)) {
        to->read_bytes += BPF_CORE_READ(task, ioac.read_bytes);
        to->write_bytes += BPF_CORE_READ(task, ioac.write_bytes);
    }
}

/* Of a process's last thread: then its figures and those of the others are complete, but for a
 * main thread that ended before it and waits to be reaped with it. Threads that end at the same
 * time on several processors may each see that nobody is left: the newest record is the best. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(at_exit, struct task_struct *task)
{
    struct signal_struct *signal = BPF_CORE_READ(task, signal);
    if (BPF_CORE_READ(signal, live.counter) != 0)
        return 0;
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    struct tap_end end = {
        .head = { TAP_END, BPF_CORE_READ(task, tgid), bpf_ktime_get_ns() },
        .runtime_ns = BPF_CORE_READ(signal, sum_sched_runtime),
        .user_ns = BPF_CORE_READ(signal, utime),
        .system_ns = BPF_CORE_READ(signal, stime),
        .max_rss_pages = BPF_CORE_READ(signal, maxrss),
        .exit_code = BPF_CORE_READ(signal, flags) & GROUP_EXIT
                         ? BPF_CORE_READ(signal, group_exit_code)
                         : BPF_CORE_READ(leader, exit_code),
    };
    if (bpf_core_field_exists(signal->ioac.read_bytes)) {
        end.read_bytes = BPF_CORE_READ(signal, ioac.read_bytes);
        end.write_bytes = BPF_CORE_READ(signal, ioac.write_bytes);
    } else {
        end.read_bytes = end.write_bytes = -1; /* not known, which is not 0 */
    }
    add_task(task, &end);
    if (leader != task)
        add_task(leader, &end);
    send(&end, sizeof end);
    return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
