/* taskstats.c - the kernel's account of every process that ended. See taskstats.h.
 *
 * Read in this order: the format, the decoder, the filter, the socket, the requests.
 *
 * By hand and not with libmnl or libnl: three fixed requests and one flat message do not earn a
 * dependency. The constants are our own, under our own names: the headers of Debian 12 end with
 * version 13 of the message, and <linux/taskstats.h> has a struct of our name. */
#include "collect/taskstats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the kernel's format -------------------------------------------------------------- */

/* One datagram is one task's account: nlmsghdr, genlmsghdr, attributes (length, type, data; rounded
 * up to 4). The last task of a process with threads, with numbers from a 6.18:
 *
 *    0  len 1172, type 31 (the family)
 *   16  cmd 2 (NEW)
 *   20  AGGR_PID, 576 long, and in it
 *   24    PID   8 long: 14616
 *   32    STATS 564 long: the account, from 36 on
 *  596  AGGR_TGID, the same again with TGID and the sums of the group
 *
 * Where the CPU cannot load a misaligned word (CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS is off) an
 * empty attribute, NULL, comes before STATS and moves it by 4. The account is misaligned here, so
 * nothing is read in place. */
enum {
    AT_NLMSG_LEN = 0,
    AT_NLMSG_TYPE = 4,
    AT_ERROR = 16, /* in an NLMSG_ERROR */
    AT_CMD = 16,
    AT_ATTRIBUTES = 20,
    AT_STATS = 32, /* or 4 on: for the filter only, which cannot search */
    AT_STATS_PADDED = 36,
};

enum { ATTRIBUTE_HEAD = 4, ATTRIBUTE_TYPE = 0x3fff /* the other bits are flags */ };

enum { CMD_GET = 1, CMD_NEW = 2 };
enum { TYPE_STATS = 3, TYPE_AGGR_PID = 4, TYPE_AGGR_TGID = 5, TYPE_NULL = 6 };
enum { ASK_PID = 1, ASK_REGISTER = 3, ASK_DEREGISTER = 4 };

/* The account. Version 12 (5.19) is what we need; later ones append. */
enum {
    AT_VERSION = 0,
    AT_EXIT_CODE = 4,
    AT_FLAGS = 8,
    AT_TICKS_SUM = 64, /* ns of user and system, by ticks */
    AT_EXACT = 72,     /* ns, from the scheduler; 0 without CONFIG_TASK_DELAY_ACCT */
    AT_COMM = 80,
    AT_UID = 120,
    AT_GID = 124,
    AT_PPID = 132,
    AT_USER = 152, /* us */
    AT_SYSTEM = 160,
    SUMS_NEEDED = 168,
    AT_MAX_RSS = 200, /* KiB */
    AT_READ = 248,
    AT_WRITTEN = 256,
    AT_TGID = 368,
    AT_GROUP_ELAPSED = 376, /* us */
    AT_EXE_DEV = 384,
    AT_EXE_INODE = 392,
    STATS_NEEDED = 400,
};

#define VERSION_NEEDED 12

enum { FLAG_FORKED = 0x01, FLAG_LAST = 0x20 }; /* AFORK, AGROUP */

static uint16_t u16_at(const unsigned char *msg, size_t at)
{
    uint16_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

static uint32_t u32_at(const unsigned char *msg, size_t at)
{
    uint32_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

static uint64_t u64_at(const unsigned char *msg, size_t at)
{
    uint64_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

/* --- the decoder ---------------------------------------------------------------------- */

/* A stretch of the datagram: attributes, or what is in one. */
struct span {
    const unsigned char *bytes;
    size_t len;
};

/* Takes the next attribute off `rest`. False at the end, and where a length is impossible. */
static bool next_attribute(struct span *rest, unsigned *type, struct span *data)
{
    if (rest->len < ATTRIBUTE_HEAD)
        return false;
    size_t len = u16_at(rest->bytes, 0);
    if (len < ATTRIBUTE_HEAD || len > rest->len)
        return false;

    *type = u16_at(rest->bytes, 2) & ATTRIBUTE_TYPE;
    *data = (struct span){ rest->bytes + ATTRIBUTE_HEAD, len - ATTRIBUTE_HEAD };
    size_t whole = (len + 3) & ~(size_t)3;
    if (whole > rest->len)
        whole = rest->len;
    rest->bytes += whole;
    rest->len -= whole;
    return true;
}

/* The first attribute of this type, or nothing. */
static struct span find_attribute(struct span in, unsigned wanted)
{
    unsigned type;
    struct span data;

    while (next_attribute(&in, &type, &data))
        if (type == wanted)
            return data;
    return (struct span){ NULL, 0 };
}

/* Do the attributes fill it, and nothing stand out or remain? */
static bool is_well_formed(struct span in)
{
    unsigned type;
    struct span data;

    while (next_attribute(&in, &type, &data))
        ;
    return in.len == 0;
}

/* Units of `factor`, most of them never near the limit. */
static int64_t scaled(uint64_t value, int64_t factor)
{
    return value > (uint64_t)(INT64_MAX / factor) ? INT64_MAX : (int64_t)value * factor;
}

/* The scheduler's sum, divided as the ticks are; the ticks alone where there is no sum. No ticks
 * at all: all of it was user time, as wait4 would say. */
static void read_cpu(struct span stats, struct process_end *out)
{
    uint64_t user = u64_at(stats.bytes, AT_USER), system = u64_at(stats.bytes, AT_SYSTEM);
    int64_t exact = scaled(u64_at(stats.bytes, AT_EXACT), 1);

    if (user == 0 && system == 0 && u64_at(stats.bytes, AT_TICKS_SUM) > 0)
        return; /* an older kernel: sums for the group, but not these */
    if (exact == 0) {
        out->cpu_user_ns = scaled(user, 1000);
        out->cpu_system_ns = scaled(system, 1000);
        return;
    }

    double share = system == 0 ? 0 : (double)system / ((double)user + (double)system);
    out->cpu_system_ns = share >= 1 ? exact : (int64_t)((double)exact * share);
    if (out->cpu_system_ns > exact)
        out->cpu_system_ns = exact;
    out->cpu_user_ns = exact - out->cpu_system_ns;
}

static void read_stats(struct span stats, struct process_end *out)
{
    const unsigned char *at = stats.bytes;
    uint64_t max_rss = u64_at(at, AT_MAX_RSS);

    out->pid = (int32_t)u32_at(at, AT_TGID);
    out->ppid = (int32_t)u32_at(at, AT_PPID);
    out->uid = u32_at(at, AT_UID);
    out->gid = u32_at(at, AT_GID);
    out->exit_code = u32_at(at, AT_EXIT_CODE);
    out->elapsed_ns = scaled(u64_at(at, AT_GROUP_ELAPSED), 1000);
    out->max_rss = max_rss ? scaled(max_rss, 1024) : -1; /* none: a kernel thread */
    out->exe_dev = u64_at(at, AT_EXE_DEV);
    out->exe_inode = u64_at(at, AT_EXE_INODE);
    out->forked_only = at[AT_FLAGS] & FLAG_FORKED;
    memcpy(out->comm, at + AT_COMM, sizeof out->comm - 1);
}

/* `group` is the second account, of nothing when there never was a second thread. The kernel makes
 * it when the first of several threads ends, listened to or not. */
static void read_sums(struct span stats, struct span group, struct process_end *out)
{
    out->single = group.bytes == NULL;
    out->cpu_user_ns = out->cpu_system_ns = -1;
    out->read_bytes = out->write_bytes = -1;

    if (out->single) {
        read_cpu(stats, out);
        out->read_bytes = scaled(u64_at(stats.bytes, AT_READ), 1);
        out->write_bytes = scaled(u64_at(stats.bytes, AT_WRITTEN), 1);
        return;
    }
    struct span sums = find_attribute(group, TYPE_STATS);
    if (sums.len >= SUMS_NEEDED)
        read_cpu(sums, out);
}

/* What a datagram holds behind its two headers. False: it is not as long as it says. */
static bool attributes_of(const unsigned char *msg, size_t len, struct span *out)
{
    if (len < AT_ATTRIBUTES)
        return false;
    size_t claimed = u32_at(msg, AT_NLMSG_LEN);
    if (claimed < AT_ATTRIBUTES || claimed > len)
        return false;
    *out = (struct span){ msg + AT_ATTRIBUTES, claimed - AT_ATTRIBUTES };
    return true;
}

enum taskstats_verdict taskstats_decode(const void *bytes, size_t len, uint16_t family,
                                        struct process_end *out)
{
    const unsigned char *msg = bytes;
    struct span attributes;

    memset(out, 0, sizeof *out);
    if (!attributes_of(msg, len, &attributes))
        return TASKSTATS_BAD;
    if (u16_at(msg, AT_NLMSG_TYPE) != family)
        return TASKSTATS_OTHER;
    if (msg[AT_CMD] != CMD_NEW || !is_well_formed(attributes))
        return TASKSTATS_BAD;

    struct span stats = find_attribute(find_attribute(attributes, TYPE_AGGR_PID), TYPE_STATS);
    if (stats.len < STATS_NEEDED || u16_at(stats.bytes, AT_VERSION) < VERSION_NEEDED)
        return TASKSTATS_BAD;
    if ((int32_t)u32_at(stats.bytes, AT_TGID) <= 0)
        return TASKSTATS_BAD;
    if (!(stats.bytes[AT_FLAGS] & FLAG_LAST))
        return TASKSTATS_THREAD;

    read_stats(stats, out);
    read_sums(stats, find_attribute(attributes, TYPE_AGGR_TGID), out);
    return TASKSTATS_END;
}

/* --- the filter ----------------------------------------------------------------------- */

/* Jumps name lines; `here` is the line of the jump itself. */
#define LOAD_HALF(at) BPF_STMT(BPF_LD | BPF_H | BPF_ABS, at)
#define LOAD_BYTE(at) BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at)
#define RETURN(bytes) BPF_STMT(BPF_RET | BPF_K, bytes)
#define IF_EQUAL(here, value, yes, no)                                                             \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(value), (yes) - (here)-1, (no) - (here)-1)
#define IF_FLAG(here, value, yes, no)                                                              \
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, value, (yes) - (here)-1, (no) - (here)-1)

enum { PADDED = 4, FLAG_PADDED = 7, FLAG = 9, PASS = 11, DROP = 12, PROGRAM_LEN };

/* Loads are big-endian whatever the machine, hence htons. A load beyond the end drops the datagram:
 * the kernel sends none so short. */
int taskstats_filter_program(uint16_t family, struct sock_filter *to)
{
    const struct sock_filter program[PROGRAM_LEN] = {
        [0] = LOAD_HALF(AT_NLMSG_TYPE),
        [1] = IF_EQUAL(1, family, 2, PASS),
        [2] = LOAD_HALF(AT_STATS + 2),
        [3] = IF_EQUAL(3, TYPE_STATS, FLAG, PADDED),
        [PADDED] = IF_EQUAL(PADDED, TYPE_NULL, 5, PASS),
        [5] = LOAD_HALF(AT_STATS_PADDED + 2),
        [6] = IF_EQUAL(6, TYPE_STATS, FLAG_PADDED, PASS),
        [FLAG_PADDED] = LOAD_BYTE(AT_STATS_PADDED + ATTRIBUTE_HEAD + AT_FLAGS),
        [8] = IF_FLAG(8, FLAG_LAST, PASS, DROP),
        [FLAG] = LOAD_BYTE(AT_STATS + ATTRIBUTE_HEAD + AT_FLAGS),
        [10] = IF_FLAG(10, FLAG_LAST, PASS, DROP),
        [PASS] = RETURN(UINT32_MAX),
        [DROP] = RETURN(0),
    };

    memcpy(to, program, sizeof program);
    return PROGRAM_LEN;
}

/* --- the socket ----------------------------------------------------------------------- */

/* As many at a time as netlink.c takes. An end has 596 bytes, 1172 when there were threads; room
 * for accounts four times as long, for newer kernels. */
#define BATCH        32
#define DATAGRAM_MAX 4096

struct taskstats_batch {
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    struct sockaddr_nl from[BATCH];
    unsigned char bytes[BATCH][DATAGRAM_MAX];
};

/* Not in all versions of <sys/socket.h> and <linux/sock_diag.h>. */
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
enum { MEMINFO_DROPS = 8, MEMINFO_VARS = 9 };

static struct taskstats_batch *batch_new(void)
{
    struct taskstats_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;

    for (int i = 0; i < BATCH; i++) {
        b->iov[i] = (struct iovec){ b->bytes[i], DATAGRAM_MAX };
        b->msgs[i].msg_hdr.msg_iov = &b->iov[i];
        b->msgs[i].msg_hdr.msg_iovlen = 1;
        b->msgs[i].msg_hdr.msg_name = &b->from[i];
    }
    return b;
}

/* Returns what the kernel granted: twice what was asked, its own overhead included. */
static int size_buffer(int fd, int bytes)
{
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0)
        return -errno;

    int granted = 0;
    socklen_t len = sizeof granted;
    if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &len) < 0)
        return -errno;
    return granted;
}

static int attach(int fd, uint16_t family)
{
    struct sock_filter code[TASKSTATS_FILTER_MAX];
    int len = taskstats_filter_program(family, code);
    struct sock_fprog program = { .len = (unsigned short)len, .filter = code };

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        return -errno;
    return 0;
}

/* The sender's address is the kernel's word, and its own is 0. Root in our network namespace can
 * send what it likes to our port. */
static bool from_kernel(const struct msghdr *hdr)
{
    const struct sockaddr_nl *from = hdr->msg_name;
    return hdr->msg_namelen >= sizeof *from && from->nl_family == AF_NETLINK && from->nl_pid == 0;
}

/* Fill the batch. Returns how many there are, or -errno. The error of an overrun comes ahead of
 * what is queued, once: what is queued is still there. */
static int receive(struct taskstats *ts)
{
    struct taskstats_batch *b = ts->batch;

    if (!b)
        return -EBADF;
    for (int tries = 0; tries < 2; tries++) {
        for (int i = 0; i < BATCH; i++)
            b->msgs[i].msg_hdr.msg_namelen = sizeof b->from[i];
        int got = recvmmsg(ts->fd, b->msgs, BATCH, MSG_DONTWAIT, NULL);
        if (got >= 0)
            return got;
        if (errno != ENOBUFS)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        ts->count.overruns++;
    }
    return 0;
}

/* An answer that is no account: only that of a refusal matters. */
static void note_answer(struct taskstats *ts, const unsigned char *msg, size_t len)
{
    if (u16_at(msg, AT_NLMSG_TYPE) == NLMSG_ERROR && len >= AT_ERROR + 4)
        ts->refused = (int32_t)u32_at(msg, AT_ERROR);
}

static void judge(struct taskstats *ts, const struct mmsghdr *msg)
{
    if (!from_kernel(&msg->msg_hdr)) {
        ts->count.forged++;
        return;
    }

    struct process_end end;
    const unsigned char *bytes = msg->msg_hdr.msg_iov->iov_base;
    enum taskstats_verdict verdict = TASKSTATS_BAD;
    if (!(msg->msg_hdr.msg_flags & MSG_TRUNC))
        verdict = taskstats_decode(bytes, msg->msg_len, ts->family, &end);

    switch (verdict) {
    case TASKSTATS_END:
        ts->count.received++;
        ts->count.unclaimed += ends_put(ts->ends, &end);
        break;
    case TASKSTATS_THREAD:
        ts->count.threads++;
        break;
    case TASKSTATS_OTHER:
        note_answer(ts, bytes, msg->msg_len);
        break;
    case TASKSTATS_BAD:
        ts->count.bad++;
        break;
    }
}

int taskstats_drain(struct taskstats *ts)
{
    int got = receive(ts);

    for (int i = 0; i < got; i++)
        judge(ts, &ts->batch->msgs[i]);
    return got;
}

const struct process_end *taskstats_find(struct taskstats *ts, int32_t pid)
{
    const struct process_end *end = ts->ends ? ends_find(ts->ends, pid) : NULL;
    for (int batches = 0; ts->ends && !end && batches < ENDS_MAX / 2 / BATCH; batches++) {
        if (taskstats_drain(ts) <= 0)
            break;
        end = ends_find(ts->ends, pid);
    }
    return end;
}

bool taskstats_take(struct taskstats *ts, int32_t pid, struct process_end *out)
{
    return taskstats_find(ts, pid) && ends_take(ts->ends, pid, out);
}

uint64_t taskstats_dropped(struct taskstats *ts)
{
    uint32_t info[MEMINFO_VARS] = { 0 };
    socklen_t len = sizeof info;

    if (getsockopt(ts->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 || len < sizeof info)
        return 0;
    uint32_t more = info[MEMINFO_DROPS] - ts->dropped_seen; /* 32 bits wide: modulo 2^32 */
    ts->dropped_seen = info[MEMINFO_DROPS];
    ts->count.dropped += more;
    return more;
}

/* --- the requests --------------------------------------------------------------------- */

#define REQUEST_MAX 8192 /* a list of CPUs is the longest */

/* One request with one attribute. The kernel works on it within send(2): when this returns, the
 * answer is queued. */
static int ask(int fd, uint16_t family, uint8_t cmd, uint16_t type, const void *data, size_t len)
{
    union {
        struct nlmsghdr header;
        unsigned char bytes[REQUEST_MAX];
    } request = { 0 };
    struct genlmsghdr command = { .cmd = cmd, .version = 1 };
    struct nlattr attribute = { .nla_len = (uint16_t)(sizeof attribute + len), .nla_type = type };
    size_t whole = NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN + NLA_ALIGN(len);

    if (whole > sizeof request)
        return -EMSGSIZE;
    request.header = (struct nlmsghdr){ .nlmsg_len = (uint32_t)whole,
                                        .nlmsg_type = family,
                                        .nlmsg_flags = NLM_F_REQUEST };
    memcpy(request.bytes + NLMSG_HDRLEN, &command, sizeof command);
    memcpy(request.bytes + NLMSG_HDRLEN + GENL_HDRLEN, &attribute, sizeof attribute);
    memcpy(request.bytes + NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN, data, len);
    return send(fd, request.bytes, whole, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The attributes of the answer, in `bytes`. 0 or -errno: the kernel's refusal, or -EBADMSG. */
static int answer(int fd, unsigned char *bytes, size_t cap, struct span *out)
{
    struct sockaddr_nl from = { 0 };
    struct iovec iov = { bytes, cap };
    struct msghdr hdr = {
        .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1
    };
    ssize_t got = recvmsg(fd, &hdr, MSG_DONTWAIT);

    if (got < 0)
        return -errno;
    if (!from_kernel(&hdr) || got < AT_ERROR + 4)
        return -EBADMSG;
    if (u16_at(bytes, AT_NLMSG_TYPE) == NLMSG_ERROR)
        return (int32_t)u32_at(bytes, AT_ERROR);
    return attributes_of(bytes, (size_t)got, out) ? 0 : -EBADMSG;
}

/* The families are numbered as they come. */
static int find_family(struct taskstats *ts)
{
    static const char name[] = "TASKSTATS";
    struct span attributes;
    int result =
        ask(ts->fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, name, sizeof name);

    if (result == 0)
        result = answer(ts->fd, ts->batch->bytes[0], DATAGRAM_MAX, &attributes);
    if (result < 0)
        return result;
    struct span id = find_attribute(attributes, CTRL_ATTR_FAMILY_ID);
    if (id.len < sizeof ts->family)
        return -EBADMSG;
    ts->family = u16_at(id.bytes, 0);
    return 0;
}

/* Our own account tells the version, and whether we may ask. */
static int find_version(struct taskstats *ts)
{
    uint32_t pid = (uint32_t)getpid();
    struct span attributes;
    int result = ask(ts->fd, ts->family, CMD_GET, ASK_PID, &pid, sizeof pid);

    if (result == 0)
        result = answer(ts->fd, ts->batch->bytes[0], DATAGRAM_MAX, &attributes);
    if (result < 0)
        return result;
    struct span stats = find_attribute(find_attribute(attributes, TYPE_AGGR_PID), TYPE_STATS);
    if (stats.len < AT_VERSION + sizeof ts->version)
        return -EBADMSG;
    ts->version = u16_at(stats.bytes, AT_VERSION);
    return ts->version < VERSION_NEEDED || stats.len < STATS_NEEDED ? -ENOTSUP : 0;
}

/* "0-3", as the kernel wants it back. Possible and not online: others may come. */
static int read_cpus(char *text, size_t cap)
{
    int fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t len = read(fd, text, cap - 1);
    int result = len < 0 ? -errno : len == 0 ? -ENODATA : 0;
    close(fd);
    if (result == 0)
        text[text[len - 1] == '\n' ? len - 1 : len] = '\0';
    return result;
}

static int ask_for_cpus(struct taskstats *ts, uint16_t type)
{
    char cpus[REQUEST_MAX / 2];
    int result = read_cpus(cpus, sizeof cpus);

    if (result == 0)
        result = ask(ts->fd, ts->family, CMD_GET, type, cpus, strlen(cpus) + 1);
    return result;
}

/* The kernel keeps port numbers and not sockets, strikes off one that nobody has when an account
 * could not be delivered, and a process gets the number of a socket that it closed again. Taken off
 * first, in case that an earlier owner is still on the lists: an account on its way to that one
 * could strike us off afterwards, for one CPU, and nobody would tell.
 *
 * Only a refusal is answered, and then nothing else is queued: it cannot be lost. */
static int enlist(struct taskstats *ts)
{
    int result = ask_for_cpus(ts, ASK_DEREGISTER);

    if (result == 0)
        result = ask_for_cpus(ts, ASK_REGISTER);
    if (result == 0)
        result = taskstats_drain(ts);
    ts->listening = result >= 0 && ts->refused == 0;
    return result < 0 ? result : ts->refused;
}

/* Elsewhere than in the initial network namespace every request is granted and no message ever
 * comes: they are sent to our port number in the initial one, whoever has it. Its namespace has no
 * fixed number; but the connector lives there only, so nobody takes an empty message elsewhere.
 * Without a connector we cannot know and hope. */
static bool in_other_netns(void)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    struct nlmsghdr nothing = { .nlmsg_len = sizeof nothing, .nlmsg_type = NLMSG_NOOP };
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);

    if (fd < 0)
        return false;
    bool refused = sendto(fd, &nothing, sizeof nothing, MSG_NOSIGNAL | MSG_DONTWAIT,
                          (struct sockaddr *)&kernel, sizeof kernel) < 0 &&
                   errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The initial user namespace has a fixed inode number (PROC_USER_INIT_INO). */
static bool in_other_userns(void)
{
    struct stat st;
    return stat("/proc/self/ns/user", &st) == 0 && st.st_ino != 4026531837u;
}

static const char *blame(int error)
{
    switch (error) {
    case -ENOENT: /* no such family */
    case -EPROTONOSUPPORT:
    case -EAFNOSUPPORT:
        return "this kernel keeps no accounts of ended processes: use one that was built with "
               "CONFIG_TASKSTATS=y.";
    case -ENOTSUP:
        return "the task accounts of this kernel (older than 5.19) do not tell which task was the "
               "last one of its process: use a newer kernel.";
    case -EPERM:
    case -EACCES:
        if (!in_other_userns())
            return "the kernel's task accounts want CAP_NET_ADMIN: run as root, or grant it with "
                   "`setcap cap_net_admin+ep` or AmbientCapabilities=.";
        return "the kernel's task accounts are not for a user namespace of its own: run on the "
               "host (--userns=host for a container, PrivateUsers=no for a unit).";
    case -EINVAL:
        return "the kernel's task accounts are not for a pid or user namespace of its own: run on "
               "the host, or with --pid=host for a container.";
    case -ECONNREFUSED:
        return "the kernel's task accounts go to the host's network namespace: run there "
               "(--network=host for a container, PrivateNetwork=no for a unit).";
    default:
        return "the socket for the kernel's task accounts failed: errno tells why.";
    }
}

static int open_socket(struct taskstats *ts, int buffer_bytes)
{
    struct sockaddr_nl us = { .nl_family = AF_NETLINK }; /* the kernel chooses our port */

    ts->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
    if (ts->fd < 0)
        return -errno;
    int result = ts->buffer_bytes = size_buffer(ts->fd, buffer_bytes);
    if (result < 0)
        return result;
    return bind(ts->fd, (struct sockaddr *)&us, sizeof us) < 0 ? -errno : 0;
}

int taskstats_open(struct taskstats *ts, int buffer_bytes, const char **why)
{
    *ts = (struct taskstats){ .fd = -1 };
    *why = NULL;

    int result = -ENOMEM;
    ts->batch = batch_new();
    ts->ends = ends_new();
    if (!ts->batch || !ts->ends)
        goto out;

    result = open_socket(ts, buffer_bytes);
    if (result == 0)
        result = find_family(ts);
    if (result == 0)
        result = find_version(ts);
    if (result == 0 && in_other_netns())
        result = -ECONNREFUSED;
    if (result == 0)
        result = attach(ts->fd, ts->family); /* from the first message on */
    if (result == 0)
        result = enlist(ts);

out:
    if (result < 0) {
        *why = blame(result);
        taskstats_close(ts);
        errno = -result;
    }
    return result;
}

/* Off the lists first: see enlist. */
void taskstats_close(struct taskstats *ts)
{
    if (ts->listening)
        ask_for_cpus(ts, ASK_DEREGISTER);
    if (ts->fd >= 0)
        close(ts->fd);
    ends_free(ts->ends);
    free(ts->batch);
    ts->fd = -1;
    ts->listening = false;
    ts->ends = NULL;
    ts->batch = NULL;
}
