/* procfs.c - reads the facts of one process out of /proc. See procfs.h.
 *
 * Hot path: no malloc and one read per file. The kernel makes each of the files read here whole on
 * the first read, so a read that did not fill the buffer has seen the end. What things cost, warm,
 * in microseconds: open and close of the directory 1.9, stat 6, status 10, cmdline 4, exe 2. */
#include "collect/procfs.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Bits of stat's flags field, the same since Linux 2.6. */
#define FLAG_EXITING 0x00000004
#define FLAG_KTHREAD 0x00200000

/* Uid: and Gid: come within this much of status, also after the longest name. */
#define STATUS_HEAD 1024

struct slice {
    const char *at;
    size_t len;
};

/* --- words and numbers ------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool slice_is(struct slice s, const char *text)
{
    return s.len == strlen(text) && !memcmp(s.at, text, s.len);
}

static bool starts_with(struct slice s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && !memcmp(s.at, prefix, len);
}

static bool ends_with(struct slice s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && !memcmp(s.at + s.len - len, suffix, len);
}

static struct slice without_first(struct slice s, size_t count)
{
    return (struct slice){ s.at + count, s.len - count };
}

/* Take what comes before the next `stop`, and that one too; all that is left when there is none. */
static struct slice take_until(struct slice *left, char stop)
{
    const char *end = left->len ? memchr(left->at, stop, left->len) : NULL;
    struct slice taken = { left->at, end ? (size_t)(end - left->at) : left->len };
    *left = without_first(*left, taken.len + (end != NULL));
    return taken;
}

/* Skip blanks, take a decimal number with an optional '-'. Values above INT64_MAX wrap, as a u64
 * that is cast would. False: no number here, or one that 64 bits cannot hold. */
static bool take_number(struct slice *left, uint64_t *out)
{
    size_t i = 0;
    while (i < left->len && (left->at[i] == ' ' || left->at[i] == '\t'))
        i++;
    bool negative = i < left->len && left->at[i] == '-';
    i += negative;

    size_t first = i;
    uint64_t number = 0;
    for (; i < left->len && is_digit(left->at[i]); i++) {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(left->at[i] - '0'), &number))
            return false;
    }
    if (i == first)
        return false;

    *left = without_first(*left, i);
    *out = negative ? 0 - number : number;
    return true;
}

/* Returns the length; `to` has room for 10 digits. No NUL is added. */
static size_t put_number(char *to, unsigned number)
{
    char digits[10];
    size_t len = 0;
    do {
        digits[len++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (size_t i = 0; i < len; i++)
        to[i] = digits[len - 1 - i];
    return len;
}

/* --- opening and reading ---------------------------------------------------------------- */

/* Do the options contain one of those with which foreign processes cannot be found at all?
 * hidepid=noaccess (1) is not among them: there reading is denied, which shows as such. */
static bool options_hide(struct slice options)
{
    while (options.len) {
        struct slice option = take_until(&options, ',');
        if (slice_is(option, "hidepid=invisible") || slice_is(option, "hidepid=2") ||
            slice_is(option, "hidepid=ptraceable") || slice_is(option, "hidepid=4"))
            return true;
    }
    return false;
}

/* Is this line of mountinfo a proc mount of device major:minor that hides processes?
 *
 *   22 27 0:21 / /proc rw,relatime shared:12 - proc proc rw,hidepid=invisible */
static bool mount_hides(struct slice line, unsigned major, unsigned minor)
{
    uint64_t number[2] = { 0 };
    take_until(&line, ' ');
    take_until(&line, ' ');
    struct slice dev = take_until(&line, ' ');
    if (!take_number(&dev, &number[0]) || !starts_with(dev, ":"))
        return false;
    dev = without_first(dev, 1);
    if (!take_number(&dev, &number[1]) || number[0] != major || number[1] != minor)
        return false;

    /* root, mount point and options cannot hold a blank: the kernel writes it as \040 */
    while (line.len && !slice_is(take_until(&line, ' '), "-"))
        ;
    if (!slice_is(take_until(&line, ' '), "proc"))
        return false;
    take_until(&line, ' ');
    return options_hide(line);
}

/* Read mountinfo through a window that holds several of its longest sensible lines. */
static bool mounts_hide(int fd, unsigned major, unsigned minor)
{
    char window[32 * 1024];
    size_t len = 0;
    for (;;) {
        ssize_t got = read(fd, window + len, sizeof window - len);
        if (got <= 0)
            return false;
        struct slice left = { window, len + (size_t)got };
        while (left.len && memchr(left.at, '\n', left.len))
            if (mount_hides(take_until(&left, '\n'), major, minor))
                return true;
        if (left.len == sizeof window)
            left.len = 0; /* a line like no other: not ours */
        len = left.len;
        memmove(window, left.at, len);
    }
}

/* hidepid belongs to the mounted proc instance, and that is told by its device number. False for
 * anything that is not a mounted proc. */
static bool is_hidden(int root)
{
    struct statfs type;
    struct stat st;
    if (fstatfs(root, &type) < 0 || type.f_type != PROC_SUPER_MAGIC || fstat(root, &st) < 0)
        return false;

    int fd = openat(root, "self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool hidden = mounts_hide(fd, major(st.st_dev), minor(st.st_dev));
    close(fd);
    return hidden;
}

int procfs_open(struct procfs *fs, const char *root)
{
    fs->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs->root < 0)
        return -errno;
    fs->boot = clock_real_ns() - clock_boot_ns();
    fs->hidden = is_hidden(fs->root);
    return 0;
}

void procfs_close(struct procfs *fs)
{
    if (fs->root >= 0)
        close(fs->root);
    fs->root = -1;
}

/* O_PATH makes the descriptor a little cheaper and it names the same inode: /proc ties that to one
 * struct pid, so openat through it fails with ESRCH once the process was reaped. */
int procfs_pid_open(const struct procfs *fs, int pid)
{
    char name[16];
    if (pid <= 0)
        return -ENOENT;
    name[put_number(name, (unsigned)pid)] = '\0';
    int fd = openat(fs->root, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* NONBLOCK: a made-up tree may hold a pipe. */
static int open_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* As procfs_read, but for the files that the kernel makes whole on the first read. */
static ssize_t read_once(int dir, const char *name, char *to, size_t cap)
{
    int fd = open_file(dir, name);
    if (fd < 0)
        return fd;
    ssize_t got = read(fd, to, cap);
    if (got < 0)
        got = -errno;
    close(fd);
    return got;
}

ssize_t procfs_read(int pid_dir, const char *name, char *to, size_t cap)
{
    int fd = open_file(pid_dir, name);
    if (fd < 0)
        return fd;

    ssize_t got = 0;
    size_t len = 0;
    while (len < cap && (got = read(fd, to + len, cap - len)) > 0)
        len += (size_t)got;

    ssize_t result = got < 0 ? -errno : (ssize_t)len;
    close(fd);
    return result;
}

ssize_t procfs_link(int pid_dir, const char *name, char *to, size_t cap)
{
    ssize_t len = readlinkat(pid_dir, name, to, cap);
    return len < 0 ? -errno : len;
}

/* --- stat ------------------------------------------------------------------------------- */

/* Field numbers as in proc(5); 4 is the first number after the state. */
enum { STAT_PPID = 4, STAT_POLICY = 41 };

/* The name may hold anything, so the last ')' ends it; after it come only numbers.
 *
 *   1478 (tmux: server) S 1 1478 1478 0 -1 4194368 1187 3054 1 2 31 17 2 5 20 0 1 0 3309 8462336
 *   1041 18446744073709551615 94201503289344 94201504057829 140727771205680 0 0 0 0 528386
 * 134433281 0 0 0 17 0 0 0 0 0 0 94201504242144 94201504294208 94201526558720 140727771211605 ... 0
 */
int procfs_parse_stat(const char *bytes, size_t len, struct procfs_stat *out)
{
    struct slice left = { bytes, len };
    uint64_t number[STAT_POLICY + 1];
    if (!take_number(&left, &number[0]) || !starts_with(left, " ("))
        return -EBADMSG;

    const char *comm = left.at + 2;
    const char *close_paren = memrchr(comm, ')', left.len - 2);
    if (!close_paren)
        return -EBADMSG;
    left = without_first(left, (size_t)(close_paren - left.at));
    if (left.len < 4 || left.at[1] != ' ' || left.at[3] != ' ')
        return -EBADMSG;
    char state = left.at[2];
    left = without_first(left, 4);

    for (int field = STAT_PPID; field <= STAT_POLICY; field++)
        if (!take_number(&left, &number[field]))
            return -EBADMSG;

    *out = (struct procfs_stat){
        .pid = (int)number[0],
        .comm = comm,
        .comm_len = (size_t)(close_paren - comm),
        .state = state,
        .ppid = (int)number[4],
        .pgrp = (int)number[5],
        .session = (int)number[6],
        .tty_nr = (int)number[7],
        .flags = number[9],
        .minflt = number[10],
        .majflt = number[12],
        .utime = number[14],
        .stime = number[15],
        .priority = (int64_t)number[18],
        .nice = (int64_t)number[19],
        .num_threads = (int64_t)number[20],
        .starttime = number[22],
        .vsize = number[23],
        .rss = (int64_t)number[24],
        .start_code = number[26],
        .processor = (int)number[39],
        .rt_priority = number[40],
        .policy = number[41],
    };
    return 0;
}

/* --- tty -------------------------------------------------------------------------------- */

/* From Documentation/admin-guide/devices.txt; what is not here is shown as MAJOR:MINOR. */
static const struct {
    uint16_t major, last_major;
    uint32_t minor, last_minor; /* the first minor is number 0 */
    const char *name;
    bool numbered;
} ttys[] = {
    { 136, 143, 0, UINT32_MAX, "pts/", true },
    { 4, 4, 0, 63, "tty", true },
    { 4, 4, 64, 255, "ttyS", true },
    { 5, 5, 0, 0, "tty", false },
    { 5, 5, 1, 1, "console", false },
    { 166, 166, 0, UINT32_MAX, "ttyACM", true },
    { 188, 188, 0, UINT32_MAX, "ttyUSB", true },
    { 204, 204, 64, 79, "ttyAMA", true },
    { 229, 229, 0, UINT32_MAX, "hvc", true },
};

/* The kernel packs it as mmmM MMmm in hex digits: 12 bits of major between the minor's. */
size_t procfs_tty_name(int tty_nr, char *to)
{
    unsigned nr = (unsigned)tty_nr;
    unsigned maj = nr >> 8 & 0xfff;
    unsigned min = (nr & 0xff) | (nr >> 12 & 0xfff00);
    if (!nr)
        return 0;

    for (size_t i = 0; i < sizeof ttys / sizeof *ttys; i++) {
        if (maj < ttys[i].major || maj > ttys[i].last_major || min < ttys[i].minor ||
            min > ttys[i].last_minor)
            continue;
        size_t len = strlen(ttys[i].name);
        memcpy(to, ttys[i].name, len);
        unsigned number = min - ttys[i].minor + (maj - ttys[i].major) * 256;
        return ttys[i].numbered ? len + put_number(to + len, number) : len;
    }

    size_t len = put_number(to, maj);
    to[len++] = ':';
    return len + put_number(to + len, min);
}

/* --- cgroup ----------------------------------------------------------------------------- */

#define ID_SHOWN 12 /* characters of a container id, as `docker ps` shows it */
#define ID_WHOLE 64

static bool is_hex(struct slice s, size_t at_least)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_digit(s.at[i]) && (s.at[i] < 'a' || s.at[i] > 'f'))
            return false;
    return s.len >= at_least;
}

/* Names that runtimes give to the directory of a container: PREFIX and its id or its name. */
static const struct {
    const char *prefix;
    bool hex;
} runtimes[] = {
    { "docker-", true }, { "cri-containerd-", true }, { "crio-", true },
    { "libpod-", true }, { "lxc.payload.", false },   { "systemd-nspawn@", false },
};

static const struct slice nothing;

/* The id when this part of a cgroup path (in the part `above`) is a container's, else nothing.
 *
 * A runtime's helper outside of the container has a part of its own (libpod-conmon-ID.scope,
 * lxc.monitor.NAME) and is not in the container. Neither is a machine-qemu\x2d... scope: that holds
 * the program that runs a virtual machine. */
static struct slice container_id(struct slice above, struct slice part)
{
    bool scope = ends_with(part, ".scope");
    if (scope)
        part.len -= strlen(".scope");
    else if (ends_with(part, ".service"))
        part.len -= strlen(".service");

    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        if (!starts_with(part, runtimes[i].prefix))
            continue;
        struct slice id = without_first(part, strlen(runtimes[i].prefix));
        if (id.len && (!runtimes[i].hex || is_hex(id, ID_SHOWN)))
            return id;
    }
    if (scope && starts_with(part, "machine-") && !starts_with(part, "machine-qemu"))
        return without_first(part, strlen("machine-"));
    if (slice_is(above, "lxc") || slice_is(above, "lxc.payload"))
        return part;
    if (slice_is(above, "docker") && is_hex(part, ID_SHOWN))
        return part;

    /* kubepods/burstable/podUID/ID, ecs/TASK/ID, ANY-ID.scope, pod.slice:cri-containerd:ID */
    if (part.len < ID_WHOLE)
        return nothing;
    struct slice before = { part.at, part.len - ID_WHOLE };
    struct slice id = without_first(part, before.len);
    bool apart = !before.len || ends_with(before, "-") || ends_with(before, ":");
    return apart && !ends_with(before, "conmon-") && is_hex(id, ID_WHOLE) ? id : nothing;
}

/* The innermost container of a path: in a container that runs containers it is the inner one. */
static struct slice find_container(struct slice path)
{
    struct slice found = nothing, above = nothing;
    while (path.len) {
        struct slice part = take_until(&path, '/');
        struct slice id = container_id(above, part);
        if (id.len)
            found = id;
        above = part;
    }
    if (found.len > ID_SHOWN)
        found.len = ID_SHOWN;
    return found;
}

/* One line per hierarchy, the unified one is number 0. The kernel lets no cgroup have a newline in
 * its name.
 *
 *   12:memory:/docker/f31e0b2a8d6c...
 *   1:name=systemd:/docker/f31e0b2a8d6c...
 *   0::/system.slice/docker-f31e0b2a8d6c....scope
 *
 * A host with both kinds may keep everything in "/" of the unified one, which says nothing; then
 * the path that names a container is worth more, and then systemd's. */
void procfs_parse_cgroup(const char *bytes, size_t len, struct procfs_cgroup *out)
{
    struct slice left = { bytes, len };
    struct slice unified = nothing, contained = nothing, systemd = nothing, any = nothing;
    struct slice container = nothing;

    while (left.len) {
        struct slice line = take_until(&left, '\n');
        struct slice id = take_until(&line, ':');
        struct slice controllers = take_until(&line, ':');
        if (!starts_with(line, "/"))
            continue;

        bool is_unified = slice_is(id, "0") && !controllers.len;
        struct slice found = find_container(line);
        if (found.len && (is_unified || !container.len)) {
            container = found;
            contained = line;
        }
        if (is_unified)
            unified = line;
        else if (slice_is(controllers, "name=systemd"))
            systemd = line;
        if (!any.len)
            any = line;
    }

    struct slice path = unified.len > 1   ? unified
                        : contained.len   ? contained
                        : unified.len     ? unified
                        : systemd.len > 1 ? systemd
                                          : any;
    *out = (struct procfs_cgroup){ path.at, container.at, path.len, container.len };
}

/* --- filling a record ------------------------------------------------------------------- */

/* One visit to one process. */
struct visit {
    int dir;         /* owned by procfs_fill */
    uint64_t wanted; /* FIELD(...) */
    struct event_box *box;
    bool alive;  /* stat was read: */
    bool exited; /* a zombie, or about to be one: its memory is gone */
    bool kthread;
    char *buf; /* EVENT_TEXT_MAX + 1 bytes, what one file gave */
};

static void set(struct visit *v, enum event_field field, int64_t value)
{
    if (v->wanted >> field & 1)
        event_set(v->box, field, value, WHY_PROC);
}

static void set_text(struct visit *v, enum event_field field, const char *bytes, size_t len)
{
    if (v->wanted >> field & 1)
        event_set_text(v->box, field, bytes, len, WHY_PROC);
}

static void set_absent(struct visit *v, enum event_field field)
{
    if (v->wanted >> field & 1)
        event_set_missing(v->box, field, WHY_ABSENT);
}

/* Every wanted one of `fields` is missing for this reason. */
static void set_missing(struct visit *v, uint64_t fields, enum event_why why)
{
    for (fields &= v->wanted; fields; fields &= fields - 1)
        event_set_missing(v->box, (enum event_field)__builtin_ctzll(fields), why);
}

/* Why reading a file of the process failed with -err. Out of descriptors or memory, and a path
 * longer than the kernel wants to tell (ENAMETOOLONG, 4 KiB), count as denied: it is there. */
static enum event_why why_missing(const struct visit *v, int err)
{
    if (!v->alive)
        return WHY_GONE; /* the kernel may say EACCES for a link of a process that just went */
    if (err == -ENOENT || err == -ESRCH)
        return v->exited ? WHY_ZOMBIE : WHY_GONE;
    return WHY_DENIED;
}

/* What the first reads gave: a length, or -errno. */
struct vanishing {
    ssize_t args, exe, cwd, ns[4];
};

/* cmdline has the strings of argv, each with its NUL; a process can write other bytes there. */
static ssize_t fill_args(struct visit *v)
{
    ssize_t len = read_once(v->dir, "cmdline", v->buf, EVENT_TEXT_MAX + 1);
    if (len <= 0)
        return len;
    set_text(v, F_ARGS, v->buf, (size_t)len);
    if (len > EVENT_TEXT_MAX)
        event_set(v->box, F_TRUNCATED, 1, WHY_PROC);
    return len;
}

/* Does a file of this name lead to the inode of `exe`? Only names in the kernel's cache count: that
 * of a running program is there, and so no file system is asked, which for FUSE could mean to wait
 * for a hostile user's program. */
static bool same_file(int root, const char *path, const struct statx *exe)
{
    struct open_how how = { .flags = O_PATH | O_CLOEXEC,
                            .resolve = RESOLVE_CACHED | RESOLVE_IN_ROOT };
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0)
        return false;

    struct statx st;
    bool same = !statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) &&
                st.stx_ino == exe->stx_ino && st.stx_dev_major == exe->stx_dev_major &&
                st.stx_dev_minor == exe->stx_dev_minor;
    close(fd);
    return same;
}

/* As same_file, below the root directory of `dir`, or of ours ("/"). */
static bool same_file_below(int dir, const char *root, const char *path, const struct statx *exe)
{
    int fd = openat(dir, root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = same_file(fd, path, exe);
    close(fd);
    return same;
}

/* `path` ends in " (deleted)". Was it the kernel who said so, or is that the file's name? No link
 * left: deleted. Else the name decides: another hard link may live on while the one that was run is
 * gone. The name is one below our root, or below the root of the process (containers). */
static bool is_deleted(int dir, const char *path)
{
    struct statx st;
    if (statx(dir, "exe", AT_STATX_DONT_SYNC, STATX_NLINK | STATX_INO, &st) < 0 || !st.stx_nlink)
        return true;
    return !same_file_below(AT_FDCWD, "/", path, &st) && !same_file_below(dir, "root", path, &st);
}

static ssize_t fill_exe(struct visit *v)
{
    static const char suffix[] = " (deleted)";
    ssize_t len = procfs_link(v->dir, "exe", v->buf, PATH_MAX);
    if (len < 0)
        return len;
    v->buf[len] = '\0';

    struct slice path = { v->buf, (size_t)len };
    bool deleted = ends_with(path, suffix) && is_deleted(v->dir, v->buf);
    if (deleted) {
        path.len -= strlen(suffix);
        set(v, F_DELETED, 1);
    } else {
        set_absent(v, F_DELETED);
    }
    set_text(v, F_EXE, path.at, path.len);
    return len;
}

static ssize_t fill_cwd(struct visit *v)
{
    ssize_t len = procfs_link(v->dir, "cwd", v->buf, PATH_MAX);
    if (len >= 0)
        set_text(v, F_CWD, v->buf, (size_t)len);
    return len;
}

static const struct {
    enum event_field field;
    const char *link;
} namespaces[] = {
    { F_PID_NS, "ns/pid" },
    { F_MNT_NS, "ns/mnt" },
    { F_NET_NS, "ns/net" },
    { F_USER_NS, "ns/user" },
};

/* "mnt:[4026531841]" */
static ssize_t fill_namespace(struct visit *v, enum event_field field, const char *link)
{
    uint64_t inode;
    ssize_t len = procfs_link(v->dir, link, v->buf, 64);
    if (len < 0)
        return len;
    const char *at = memchr(v->buf, '[', (size_t)len);
    struct slice left = { at ? at + 1 : v->buf, at ? (size_t)(v->buf + len - at - 1) : 0 };
    if (!take_number(&left, &inode))
        return -EBADMSG;
    set(v, field, (int64_t)inode);
    return len;
}

#define NAMESPACES (sizeof namespaces / sizeof *namespaces)
#define NS_FIELDS  (FIELD(PID_NS) | FIELD(MNT_NS) | FIELD(NET_NS) | FIELD(USER_NS))

/* The memory of a process goes first of all, long before it becomes a zombie. */
static struct vanishing fill_vanishing(struct visit *v)
{
    struct vanishing got = { 0 };
    if (v->wanted & FIELD(ARGS))
        got.args = fill_args(v);
    if (v->wanted & (FIELD(EXE) | FIELD(DELETED)))
        got.exe = fill_exe(v);
    if (v->wanted & FIELD(CWD))
        got.cwd = fill_cwd(v);
    for (size_t i = 0; (v->wanted & NS_FIELDS) && i < NAMESPACES; i++)
        if (v->wanted >> namespaces[i].field & 1)
            got.ns[i] = fill_namespace(v, namespaces[i].field, namespaces[i].link);
    return got;
}

/* An empty cmdline is a zombie's, a kernel thread's, that of a process which execve is just giving
 * a new image (then a second look finds it), or really empty. */
static void settle_args(struct visit *v, ssize_t len)
{
    if (!len && v->alive && !v->exited && !v->kthread)
        len = fill_args(v);

    if (len < 0)
        set_missing(v, FIELD(ARGS), v->kthread ? WHY_KTHREAD : why_missing(v, (int)len));
    else if (!len && (!v->alive || v->exited))
        set_missing(v, FIELD(ARGS), why_missing(v, -ENOENT));
    else if (!len && v->kthread)
        set_missing(v, FIELD(ARGS), WHY_KTHREAD);
    else if (!len)
        set_text(v, F_ARGS, "", 0);
}

/* Once stat told what kind of process it is, or that it is gone, say why things are missing. */
static void settle_vanishing(struct visit *v, struct vanishing got)
{
    if (v->wanted & FIELD(ARGS))
        settle_args(v, got.args);
    if (got.exe < 0)
        set_missing(v, FIELD(EXE) | FIELD(DELETED),
                    v->kthread ? WHY_KTHREAD : why_missing(v, (int)got.exe));
    if (got.cwd < 0)
        set_missing(v, FIELD(CWD), why_missing(v, (int)got.cwd));
    for (size_t i = 0; i < NAMESPACES; i++)
        if (got.ns[i] < 0)
            set_missing(v, UINT64_C(1) << namespaces[i].field, why_missing(v, (int)got.ns[i]));
}

static bool same_start(int64_t wanted, uint64_t found)
{
    return wanted < 0 || (found + 1 >= (uint64_t)wanted && found <= (uint64_t)wanted + 1);
}

/* 0 when it is the process of this start, -ESRCH when another, or why stat could not be read. The
 * result borrows from v->buf. */
static int read_stat(struct visit *v, int64_t starttime, struct procfs_stat *st)
{
    ssize_t len = read_once(v->dir, "stat", v->buf, EVENT_TEXT_MAX);
    if (len < 0)
        return len == -ENOENT ? -ESRCH : (int)len;
    int bad = procfs_parse_stat(v->buf, (size_t)len, st);
    if (bad)
        return bad;
    v->alive = true;
    /* Other threads may live on when the first one has exited; its files are those of a zombie. */
    v->exited = st->state == 'Z' || st->state == 'X' || (st->flags & FLAG_EXITING);
    v->kthread = st->flags & FLAG_KTHREAD;
    return same_start(starttime, st->starttime) ? 0 : -ESRCH;
}

static void fill_from_stat(struct visit *v, const struct procfs *fs, const struct procfs_stat *st)
{
    set(v, F_PPID, st->ppid);
    set(v, F_SID, st->session);
    set(v, F_STARTTIME, (int64_t)st->starttime);
    set(v, F_START, (int64_t)((uint64_t)fs->boot + st->starttime * NS_PER_TICK));
    set_text(v, F_COMM, st->comm, st->comm_len);

    char tty[PROCFS_TTY_MAX];
    size_t len = procfs_tty_name(st->tty_nr, tty);
    if (len)
        set_text(v, F_TTY, tty, len);
    else
        set_absent(v, F_TTY);
}

#define STATUS_FIELDS (FIELD(UID) | FIELD(EUID) | FIELD(GID) | FIELD(EGID))

/* Real and effective id from a line of status. It escapes newlines in the name, so that no process
 * can forge a line.
 *
 *   Name:	tmux: server
 *   Umask:	0022
 *   ...
 *   Uid:	1000	1000	1000	1000
 *   Gid:	1000	1000	1000	1000 */
static bool parse_ids(struct slice status, const char *key, uint64_t ids[2])
{
    while (status.len) {
        struct slice line = take_until(&status, '\n');
        if (!starts_with(line, key))
            continue;
        line = without_first(line, strlen(key));
        return take_number(&line, &ids[0]) && take_number(&line, &ids[1]);
    }
    return false;
}

static void fill_from_status(struct visit *v)
{
    uint64_t uid[2], gid[2];
    ssize_t len = read_once(v->dir, "status", v->buf, STATUS_HEAD);
    struct slice status = { v->buf, len > 0 ? (size_t)len : 0 };
    if (len >= 0 && (!parse_ids(status, "Uid:", uid) || !parse_ids(status, "Gid:", gid)))
        len = -EBADMSG;
    if (len < 0) {
        set_missing(v, STATUS_FIELDS, why_missing(v, (int)len));
        return;
    }
    set(v, F_UID, (int64_t)uid[0]);
    set(v, F_EUID, (int64_t)uid[1]);
    set(v, F_GID, (int64_t)gid[0]);
    set(v, F_EGID, (int64_t)gid[1]);
}

/* A file that not every kernel has could not be read. When the process still answers it does not
 * apply here. */
static enum event_why why_optional(const struct visit *v, int err)
{
    bool lives = err == -ENOENT && !faccessat(v->dir, "stat", F_OK, 0);
    return lives ? WHY_ABSENT : why_missing(v, err);
}

static void fill_loginuid(struct visit *v)
{
    uint64_t uid;
    ssize_t len = read_once(v->dir, "loginuid", v->buf, 32);
    struct slice text = { v->buf, len > 0 ? (size_t)len : 0 };
    if (len >= 0 && !take_number(&text, &uid))
        len = -EBADMSG;

    if (len < 0)
        set_missing(v, FIELD(LOGINUID), why_optional(v, (int)len));
    else if (uid == UINT32_MAX)
        set_absent(v, F_LOGINUID);
    else
        set(v, F_LOGINUID, (int64_t)uid);
}

static void fill_cgroup(struct visit *v)
{
    ssize_t len = read_once(v->dir, "cgroup", v->buf, EVENT_TEXT_MAX);
    if (len < 0) {
        set_missing(v, FIELD(CGROUP) | FIELD(CONTAINER), why_optional(v, (int)len));
        return;
    }
    struct procfs_cgroup cgroup;
    procfs_parse_cgroup(v->buf, (size_t)len, &cgroup);
    if (cgroup.path_len)
        set_text(v, F_CGROUP, cgroup.path, cgroup.path_len);
    else
        set_absent(v, F_CGROUP);
    if (cgroup.container_len)
        set_text(v, F_CONTAINER, cgroup.container, cgroup.container_len);
    else
        set_absent(v, F_CONTAINER);
}

/* Past the point where an exec takes on its new memory and name, and before that memory has a
 * program. The kernel sets start_code last, and sends its message right after. */
static bool execs_now(const struct visit *v, const struct procfs_stat *st)
{
    return !v->exited && st->vsize && !st->start_code;
}

static int visit_process(struct visit *v, const struct procfs *fs, int64_t starttime)
{
    uint32_t size_before = v->box->ev.size;
    struct vanishing got = fill_vanishing(v);

    struct procfs_stat st = { 0 };
    int err = read_stat(v, starttime, &st);
    if (err && (v->alive || err != -ESRCH)) {
        /* Another process, or one that cannot be told: what was read may not be kept. */
        v->box->ev.size = size_before;
        set_missing(v, v->wanted, v->alive ? WHY_GONE : WHY_DENIED);
        if (v->wanted & FIELD(ARGS))
            event_set_missing(v->box, F_TRUNCATED, WHY_ABSENT);
        return err;
    }
    if (!err)
        fill_from_stat(v, fs, &st);
    else
        set_missing(v, PROCFS_FIELDS & ~(FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(CWD) | NS_FIELDS),
                    WHY_GONE);
    settle_vanishing(v, got);
    if (err)
        return err;
    if (execs_now(v, &st)) {
        set_missing(v, FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(COMM), WHY_GONE);
        if (v->wanted & FIELD(ARGS))
            event_set_missing(v->box, F_TRUNCATED, WHY_ABSENT);
    }

    if (v->wanted & STATUS_FIELDS)
        fill_from_status(v);
    if (v->wanted & FIELD(LOGINUID))
        fill_loginuid(v);
    if (v->wanted & (FIELD(CGROUP) | FIELD(CONTAINER)))
        fill_cgroup(v);
    return 0;
}

int procfs_fill(const struct procfs *fs, int pid, int64_t starttime, uint64_t wanted,
                struct event_box *box)
{
    char buf[EVENT_TEXT_MAX + 1];
    struct visit v = { .wanted = wanted & PROCFS_FIELDS, .box = box, .buf = buf };
    if (v.wanted & FIELD(ARGS))
        event_set_missing(box, F_TRUNCATED, WHY_ABSENT);

    v.dir = procfs_pid_open(fs, pid);
    if (v.dir < 0) {
        bool gone = v.dir == -ENOENT || v.dir == -ESRCH;
        set_missing(&v, v.wanted, gone ? WHY_GONE : WHY_DENIED);
        return gone ? -ESRCH : v.dir;
    }
    int err = visit_process(&v, fs, starttime);
    close(v.dir);
    return err;
}

/* --- listing ---------------------------------------------------------------------------- */

/* The pid that a directory is named after, or 0: /proc has other entries too. */
static int pid_named(const char *name)
{
    struct slice left = { name, strlen(name) };
    uint64_t number;
    if (!is_digit(name[0]) || !take_number(&left, &number) || left.len || number > INT_MAX)
        return 0;
    return (int)number;
}

static int scan_entries(const char *entries, size_t len, procfs_each *each, void *ctx)
{
    for (size_t at = 0; at < len;) {
        const struct dirent64 *entry = (const void *)(entries + at);
        at += entry->d_reclen;
        int pid = pid_named(entry->d_name);
        int stop = pid ? each(ctx, pid) : 0;
        if (stop)
            return stop;
    }
    return 0;
}

int procfs_scan(const struct procfs *fs, procfs_each *each, void *ctx)
{
    _Alignas(struct dirent64) char entries[16 * 1024];
    int fd = openat(fs->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;

    int stop = 0;
    ssize_t len;
    while (!stop && (len = getdents64(fd, entries, sizeof entries)) != 0)
        stop = len < 0 ? -errno : scan_entries(entries, (size_t)len, each, ctx);
    close(fd);
    return stop;
}
