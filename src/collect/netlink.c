/* netlink.c - turns process-connector bytes into kernel events. See netlink.h.
 *
 * Read in this order: the format, the decoder, the filter, the socket, the handshake.
 *
 * Not done: NETLINK_BROADCAST_ERROR, against the kernels (about 6.6.13-6.6.17 and 6.7.1-6.7.5)
 * that forget their listeners once nobody took a message. It helps there when a buffer was full,
 * but not when a filter said no, which is the common case; only a heartbeat and a new socket
 * cure both. */
#include "collect/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* --- the kernel's format -------------------------------------------------------------- */

/* One datagram is one event. The EXIT of process 4388 with status 7, child of 4347, as it came from
 * a little-endian 6.18 (nlmsghdr; cn_msg; proc_event up to the union; the union):
 *
 *   4c000000 0300 0000 02000000 00000000
 *   01000000 01000000 02000000 00000000 2800 0000
 *   00000080 01000000 356caf8cb8010000
 *   24110000 24110000 00070000 11000000 fb100000 fb100000
 *
 * The 64-bit stamp lies at 44, so nothing may be read in place. */
enum {
    AT_NLMSG_LEN = 0,
    AT_NLMSG_TYPE = 4,
    AT_CN_IDX = 16,
    AT_CN_VAL = 20,
    AT_CN_SEQ = 24,
    AT_CN_ACK = 28,
    AT_CN_LEN = 32,
    AT_WHAT = 36, /* proc_event: cn_msg's len counts from here */
    AT_CPU = 40,
    AT_STAMP = 44,
    AT_DATA = 52, /* a union by `what` */

    AT_PID = AT_DATA, /* every kind but FORK begins with whom it is about */
    AT_TGID = AT_DATA + 4,
    AT_FORK_PARENT_PID = AT_DATA,
    AT_FORK_PARENT_TGID = AT_DATA + 4,
    AT_FORK_CHILD_PID = AT_DATA + 8,
    AT_FORK_CHILD_TGID = AT_DATA + 12,
    AT_REST = AT_DATA + 8, /* ids, name, tracer, exit code; COREDUMP: parent */
    AT_EXIT_PARENT = AT_DATA + 16,
};

#define CONNECTOR_IDX 1 /* CN_IDX_PROC: also the multicast group */
#define CONNECTOR_VAL 1 /* CN_VAL_PROC */

enum { OP_LISTEN = 1, OP_IGNORE = 2 };

#define WHAT_NONE 0u /* the answer to a request */

/* `needs` is how much of the union the kind cannot do without. The parent of EXIT and COREDUMP
 * came later than the kinds themselves and is not in it. The values are single bits. */
static const struct {
    uint32_t what;
    enum event_kind kind;
    uint32_t needs;
} kinds[] = {
    { 0x00000001, EVENT_FORK, 16 },    { 0x80000000, EVENT_EXIT, 16 },
    { 0x00000002, EVENT_EXEC, 8 },     { 0x00000200, EVENT_COMM, 24 },
    { 0x00000080, EVENT_SID, 8 },      { 0x00000004, EVENT_UID, 16 },
    { 0x00000040, EVENT_GID, 16 },     { 0x00000100, EVENT_PTRACE, 16 },
    { 0x40000000, EVENT_COREDUMP, 8 },
};

#define KINDS_LEN (sizeof kinds / sizeof kinds[0])

#define EVERY_KIND                                                                                 \
    (ON(FORK) | ON(EXEC) | ON(EXIT) | ON(UID) | ON(GID) | ON(SID) | ON(PTRACE) | ON(COMM) |        \
     ON(COREDUMP))

static uint32_t u32_at(const unsigned char *msg, size_t at)
{
    uint32_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

static uint16_t u16_at(const unsigned char *msg, size_t at)
{
    uint16_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

static int32_t i32_at(const unsigned char *msg, size_t at)
{
    return (int32_t)u32_at(msg, at);
}

static int64_t i64_at(const unsigned char *msg, size_t at)
{
    int64_t value;
    memcpy(&value, msg + at, sizeof value);
    return value;
}

/* --- the decoder ---------------------------------------------------------------------- */

/* How many bytes of the union a datagram of the connector holds, or -1 when it is none. Longer
 * than we know is well: the kernel appends. */
static int union_length(const unsigned char *msg, size_t len)
{
    if (len < AT_DATA || u16_at(msg, AT_NLMSG_TYPE) != NLMSG_DONE)
        return -1;
    if (u32_at(msg, AT_CN_IDX) != CONNECTOR_IDX || u32_at(msg, AT_CN_VAL) != CONNECTOR_VAL)
        return -1;

    size_t end = AT_WHAT + (size_t)u16_at(msg, AT_CN_LEN);
    uint32_t claimed = u32_at(msg, AT_NLMSG_LEN);
    if (end < AT_DATA || end > claimed || claimed > len)
        return -1;
    return (int)(end - AT_DATA);
}

static void read_parent(const unsigned char *msg, size_t at, int length, struct kernel_event *out)
{
    if (AT_DATA + length < (int)at + 8)
        return;
    out->parent.ptid = i32_at(msg, at);
    out->parent.ppid = i32_at(msg, at + 4);
}

static void read_union(const unsigned char *msg, int length, struct kernel_event *out)
{
    out->tid = i32_at(msg, AT_PID);
    out->pid = i32_at(msg, AT_TGID);

    switch (out->kind) {
    case EVENT_FORK:
        read_parent(msg, AT_FORK_PARENT_PID, length, out);
        out->tid = i32_at(msg, AT_FORK_CHILD_PID);
        out->pid = i32_at(msg, AT_FORK_CHILD_TGID);
        break;
    case EVENT_EXIT:
        out->exit_code = u32_at(msg, AT_REST);
        out->exit_signal = u32_at(msg, AT_REST + 4);
        read_parent(msg, AT_EXIT_PARENT, length, out);
        break;
    case EVENT_COREDUMP:
        read_parent(msg, AT_REST, length, out);
        break;
    case EVENT_UID:
    case EVENT_GID:
        out->id.real = u32_at(msg, AT_REST);
        out->id.effective = u32_at(msg, AT_REST + 4);
        break;
    case EVENT_PTRACE:
        out->tracer.tid = i32_at(msg, AT_REST);
        out->tracer.pid = i32_at(msg, AT_REST + 4);
        break;
    case EVENT_COMM:
        memcpy(out->comm, msg + AT_REST, sizeof out->comm);
        break;
    default: /* EXEC, SID: nothing more */
        break;
    }
}

enum netlink_verdict netlink_decode(const void *bytes, size_t len, struct kernel_event *out,
                                    struct netlink_ack *ack)
{
    const unsigned char *msg = bytes;

    memset(out, 0, sizeof *out);
    memset(ack, 0, sizeof *ack);
    int length = union_length(msg, len);
    if (length < 0)
        return NETLINK_BAD;

    out->seq = u32_at(msg, AT_CN_SEQ);
    out->cpu = u32_at(msg, AT_CPU);
    out->mono_ns = i64_at(msg, AT_STAMP);

    uint32_t what = u32_at(msg, AT_WHAT);
    if (what == WHAT_NONE) {
        if (length < 4)
            return NETLINK_BAD;
        ack->ack = u32_at(msg, AT_CN_ACK);
        ack->error = u32_at(msg, AT_DATA);
        return NETLINK_ACK;
    }

    for (size_t i = 0; i < KINDS_LEN; i++) {
        if (kinds[i].what != what)
            continue;
        if (length < (int)kinds[i].needs)
            return NETLINK_BAD;
        out->kind = kinds[i].kind;
        read_union(msg, length, out);
        return NETLINK_EVENT;
    }
    return NETLINK_UNKNOWN;
}

/* --- the filter ----------------------------------------------------------------------- */

/* Jumps are written with these names and become distances at the end. */
enum label { NEXT, PASS, DROP, FORKED, PROCESS, LABELS };

struct program {
    struct sock_filter *to;
    int len;
    int at[LABELS];
};

static void emit(struct program *p, uint16_t code, uint32_t k, enum label yes, enum label no)
{
    p->to[p->len++] =
        (struct sock_filter){ .code = code, .jt = (uint8_t)yes, .jf = (uint8_t)no, .k = k };
}

static void emit_load(struct program *p, uint32_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, offset, NEXT, NEXT);
}

/* Jump when `what` is one of a set; no instruction for the empty set. */
static void emit_any_of(struct program *p, uint32_t set, enum label yes)
{
    if (set)
        emit(p, BPF_JMP | BPF_JSET | BPF_K, htonl(set), yes, NEXT);
}

/* Pass when two words are equal, that is, when the thread is the main one of its process. */
static void emit_equal(struct program *p, enum label name, uint32_t one, uint32_t other)
{
    p->at[name] = p->len;
    emit_load(p, one);
    emit(p, BPF_MISC | BPF_TAX, 0, NEXT, NEXT);
    emit_load(p, other);
    emit(p, BPF_JMP | BPF_JEQ | BPF_X, 0, PASS, DROP);
}

static void emit_return(struct program *p, enum label name, uint32_t bytes)
{
    p->at[name] = p->len;
    emit(p, BPF_RET | BPF_K, bytes, NEXT, NEXT);
}

static uint8_t distance(const struct program *p, int from, enum label name)
{
    return name == NEXT ? 0 : (uint8_t)(p->at[name] - (from + 1));
}

static void resolve(struct program *p)
{
    for (int i = 0; i < p->len; i++) {
        p->to[i].jt = distance(p, i, (enum label)p->to[i].jt);
        p->to[i].jf = distance(p, i, (enum label)p->to[i].jf);
    }
}

static uint32_t whats_of(uint32_t mask)
{
    uint32_t set = 0;
    for (size_t i = 0; i < KINDS_LEN; i++)
        if (mask & UINT32_C(1) << kinds[i].kind)
            set |= kinds[i].what;
    return set;
}

bool netlink_filter_passes_all(struct netlink_filter filter)
{
    return filter.threads && (filter.kinds & EVERY_KIND) == EVERY_KIND;
}

/* A load is big-endian whatever the machine while the message is in its own order, so a constant
 * is turned over first and only equality and bit tests mean anything. A load beyond the end of
 * the datagram ends the program with 0: what is too short to be an event is dropped before it
 * takes room. The kernel sends nothing so short. */
int netlink_filter_program(struct netlink_filter filter, struct sock_filter *to)
{
    const uint32_t of_threads =
        filter.threads ? 0 : ON(FORK) | ON(EXIT) | ON(UID) | ON(GID) | ON(SID) | ON(COMM);
    uint32_t checked = filter.kinds & of_threads;
    uint32_t forks = whats_of(checked & ON(FORK));
    uint32_t others = whats_of(checked & ~ON(FORK));
    struct program p = { .to = to };

    if (netlink_filter_passes_all(filter)) { /* also kinds that we do not know: no false gaps */
        emit_return(&p, PASS, UINT32_MAX);
        return p.len;
    }

    emit_load(&p, AT_WHAT);
    emit_any_of(&p, whats_of(filter.kinds & ~of_threads), PASS);
    emit_any_of(&p, forks, FORKED);
    emit_any_of(&p, others, PROCESS);
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, htonl(WHAT_NONE), PASS, DROP);
    if (forks)
        emit_equal(&p, FORKED, AT_FORK_CHILD_PID, AT_FORK_CHILD_TGID);
    if (others)
        emit_equal(&p, PROCESS, AT_PID, AT_TGID);
    emit_return(&p, PASS, UINT32_MAX);
    emit_return(&p, DROP, 0);
    resolve(&p);
    return p.len;
}

/* --- the socket ----------------------------------------------------------------------- */

/* 32 at a time saves a quarter of the CPU time of one at a time; more saves nothing. A datagram
 * has 76 bytes, so one that was cut to 128 (MSG_TRUNC) is none of today's kernels. */
#define DATAGRAM_MAX 128

struct netlink_batch {
    bool waiting; /* for the answer to our LISTEN */
    uint32_t cookie;
    uint32_t error; /* what the answer said */
    struct mmsghdr msgs[NETLINK_BATCH];
    struct iovec iov[NETLINK_BATCH];
    struct sockaddr_nl from[NETLINK_BATCH];
    unsigned char bytes[NETLINK_BATCH][DATAGRAM_MAX];
};

/* Not in all versions of <sys/socket.h> and <linux/sock_diag.h>. */
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif
enum { MEMINFO_RMEM_ALLOC = 0, MEMINFO_RCVBUF = 1, MEMINFO_DROPS = 8, MEMINFO_VARS = 9 };

static struct netlink_batch *batch_new(void)
{
    struct netlink_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;

    for (int i = 0; i < NETLINK_BATCH; i++) {
        b->iov[i] = (struct iovec){ b->bytes[i], DATAGRAM_MAX };
        b->msgs[i].msg_hdr.msg_iov = &b->iov[i];
        b->msgs[i].msg_hdr.msg_iovlen = 1;
        b->msgs[i].msg_hdr.msg_name = &b->from[i];
    }
    return b;
}

static int attach(int fd, struct netlink_filter filter)
{
    struct sock_filter code[NETLINK_FILTER_MAX];
    int len = netlink_filter_program(filter, code);
    struct sock_fprog program = { .len = (unsigned short)len, .filter = code };

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        return -errno;
    return 0;
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

/* The kernel chooses our port: getpid() may be taken by another library of this process. */
static int bind_to_events(int fd)
{
    struct sockaddr_nl us = { .nl_family = AF_NETLINK, .nl_groups = CONNECTOR_IDX };

    return bind(fd, (struct sockaddr *)&us, sizeof us) < 0 ? -errno : 0;
}

int netlink_open(struct netlink *nl, struct netlink_filter filter, int buffer_bytes)
{
    *nl = (struct netlink){ .fd = -1, .filter = filter };

    int result = -ENOMEM;
    nl->batch = batch_new();
    if (!nl->batch)
        goto out;

    nl->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    result = nl->fd < 0 ? -errno : 0;
    if (result < 0)
        goto out;
    result = nl->buffer_bytes = size_buffer(nl->fd, buffer_bytes);
    if (result < 0)
        goto out;
    /* As soon as it is bound, whatever others listen for is queued here too. */
    result = attach(nl->fd, filter);
    if (result < 0)
        goto out;
    result = bind_to_events(nl->fd);

out:
    if (result < 0)
        netlink_close(nl);
    return result;
}

int netlink_set_filter(struct netlink *nl, struct netlink_filter filter)
{
    int result = attach(nl->fd, filter); /* the kernel puts the new one in place of the old */
    if (result == 0)
        nl->filter = filter;
    return result;
}

/* Fill the batch. As netlink_receive. */
static int take(struct netlink *nl)
{
    struct netlink_batch *b = nl->batch;

    if (!b)
        return -EBADF;
    for (int i = 0; i < NETLINK_BATCH; i++)
        b->msgs[i].msg_hdr.msg_namelen = sizeof b->from[i];
    int got = recvmmsg(nl->fd, b->msgs, NETLINK_BATCH, MSG_DONTWAIT, NULL);
    if (got >= 0)
        return got;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno == ENOBUFS)
        nl->count.overruns++;
    return -errno;
}

/* Root in our network namespace can send to our port and to the group, and can write what it
 * likes into the message; the sender's address is the kernel's word. The kernel's own is 0. */
static bool from_kernel(const struct msghdr *hdr)
{
    const struct sockaddr_nl *from = hdr->msg_name;
    return hdr->msg_namelen >= sizeof *from && from->nl_family == AF_NETLINK && from->nl_pid == 0;
}

/* Answers go to everyone who listens; only the cookie tells whose it is. */
static void note_ack(struct netlink_batch *b, const struct netlink_ack *ack)
{
    if (!b->waiting || ack->ack != b->cookie + 1)
        return;
    b->waiting = false;
    b->error = ack->error;
}

static void judge(struct netlink *nl, const struct mmsghdr *msg, netlink_sink *sink, void *ctx)
{
    if (!from_kernel(&msg->msg_hdr)) {
        nl->count.forged++;
        return;
    }

    struct kernel_event ev;
    struct netlink_ack ack;
    enum netlink_verdict verdict = NETLINK_BAD;
    if (!(msg->msg_hdr.msg_flags & MSG_TRUNC))
        verdict = netlink_decode(msg->msg_hdr.msg_iov->iov_base, msg->msg_len, &ev, &ack);

    switch (verdict) {
    case NETLINK_EVENT:
        nl->count.received++;
        break;
    case NETLINK_ACK:
        note_ack(nl->batch, &ack);
        break;
    case NETLINK_UNKNOWN:
        nl->count.unknown++;
        break;
    case NETLINK_BAD:
        nl->count.bad++;
        return;
    }
    sink(ctx, &ev);
}

int netlink_receive(struct netlink *nl, netlink_sink *sink, void *ctx)
{
    int got = take(nl);

    for (int i = 0; i < got; i++)
        judge(nl, &nl->batch->msgs[i], sink, ctx);
    return got;
}

/* `raw` is the socket's counter; 32 bits, so differences are taken modulo 2^32. */
static bool look(const struct netlink *nl, uint32_t *raw, double *fill)
{
    uint32_t info[MEMINFO_VARS] = { 0 };
    socklen_t len = sizeof info;

    if (getsockopt(nl->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 || len < sizeof info)
        return false;
    *raw = info[MEMINFO_DROPS];
    *fill = info[MEMINFO_RCVBUF] ? (double)info[MEMINFO_RMEM_ALLOC] / info[MEMINFO_RCVBUF] : 0;
    if (*fill > 1) /* the last one may stand out */
        *fill = 1;
    return true;
}

uint64_t netlink_dropped(struct netlink *nl, double *fill)
{
    uint32_t raw = nl->dropped_seen;
    double full = 0;

    look(nl, &raw, &full);
    uint32_t more = raw - nl->dropped_seen;
    nl->dropped_seen = raw;
    nl->count.dropped += more;
    if (fill)
        *fill = full;
    return more;
}

/* --- the handshake -------------------------------------------------------------------- */

#define ACK_WAIT_NS (200 * (NS_PER_SECOND / 1000))

/* The form with 4 bytes of data: all kinds. The one with 8 bytes (6.6) carries a mask, but older
 * kernels pass over it in silence, and none answers it unless the mask is full. */
struct request {
    struct nlmsghdr header;
    uint32_t idx, val, seq, ack;
    uint16_t len, flags;
    uint32_t op;
};
_Static_assert(sizeof(struct request) == 40, "nlmsghdr, cn_msg and one word, without a hole");

static int ask(int fd, uint32_t op, uint32_t cookie)
{
    struct request request = {
        .header = { .nlmsg_len = sizeof request, .nlmsg_type = NLMSG_DONE },
        .idx = CONNECTOR_IDX,
        .val = CONNECTOR_VAL,
        .ack = cookie,
        .len = sizeof request.op,
        .op = op,
    };

    return send(fd, &request, sizeof request, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static uint32_t random_cookie(void)
{
    uint32_t cookie;
    if (getrandom(&cookie, sizeof cookie, GRND_NONBLOCK) != sizeof cookie)
        cookie = (uint32_t)clock_mono_ns() ^ (uint32_t)getpid() << 16;
    return cookie;
}

/* Forget what came since bind: with other listeners about, the queue may hold anything, even an
 * overrun. The watch begins here. */
static void begin_clean(struct netlink *nl, int64_t until_ns)
{
    double fill;
    int got;

    while ((got = take(nl)) > 0 || got == -ENOBUFS)
        if (clock_mono_ns() >= until_ns)
            break;
    nl->count.overruns = 0;
    look(nl, &nl->dropped_seen, &fill);
}

/* Receive until the answer is there. 0, -ETIMEDOUT or another -errno. After an overrun the answer
 * may be among what was lost, and nothing more is queued before the queue was empty: ask again
 * then. */
static int await_ack(struct netlink *nl, int64_t until_ns, netlink_sink *sink, void *ctx)
{
    bool overrun = false;

    while (nl->batch->waiting) {
        int64_t left_ns = until_ns - clock_mono_ns();
        if (left_ns <= 0)
            return -ETIMEDOUT;

        int result = netlink_receive(nl, sink, ctx);
        if (result == -ENOBUFS) {
            overrun = true;
        } else if (result == 0 && overrun) {
            overrun = false;
            result = ask(nl->fd, OP_LISTEN, nl->batch->cookie);
        } else if (result == 0) {
            struct pollfd p = { .fd = nl->fd, .events = POLLIN };
            poll(&p, 1, (int)(left_ns / 1000000) + 1);
        }
        if (result < 0 && result != -ENOBUFS)
            return result;
    }
    return 0;
}

/* The initial namespaces have fixed inode numbers (PROC_PID_INIT_INO, PROC_USER_INIT_INO). */
static bool is_other_ns(const char *link, ino_t initial)
{
    struct stat st;
    return stat(link, &st) == 0 && st.st_ino != initial;
}

static bool in_other_pidns(void)
{
    return is_other_ns("/proc/self/ns/pid", 4026531836u);
}

static bool in_other_userns(void)
{
    return is_other_ns("/proc/self/ns/user", 4026531837u);
}

/* Outside the initial pid and user namespaces the kernel passes over a LISTEN in silence. */
static enum netlink_refusal blame_silence(void)
{
    if (in_other_pidns())
        return NETLINK_OTHER_PIDNS;
    if (in_other_userns())
        return NETLINK_OTHER_USERNS;
    return NETLINK_NO_PROC_EVENTS;
}

enum netlink_refusal netlink_refusal_of(int error)
{
    switch (error) {
    case 0:
        return NETLINK_OK;
    case -EPERM:
    case -EACCES:
        return in_other_userns() ? NETLINK_OTHER_USERNS : NETLINK_NOT_PERMITTED;
    case -ECONNREFUSED: /* the connector's own socket lives in the initial one */
        return NETLINK_OTHER_NETNS;
    case -EPROTONOSUPPORT: /* no CONFIG_CONNECTOR */
    case -EAFNOSUPPORT:
        return NETLINK_NO_PROC_EVENTS;
    case -ETIMEDOUT:
        return blame_silence();
    default:
        errno = -error;
        return NETLINK_FAILED;
    }
}

enum netlink_refusal netlink_listen(struct netlink *nl, netlink_sink *sink, void *ctx)
{
    struct netlink_batch *b = nl->batch;
    int64_t until_ns = clock_mono_ns() + ACK_WAIT_NS;

    if (!b)
        return netlink_refusal_of(-EBADF);
    if (!nl->listening)
        begin_clean(nl, until_ns - ACK_WAIT_NS / 2);
    b->cookie = random_cookie();
    b->waiting = true;
    b->error = 0;

    int result = ask(nl->fd, OP_LISTEN, b->cookie);
    if (result == 0)
        result = await_ack(nl, until_ns, sink, ctx);
    if (result == 0)
        result = -(int)b->error;
    b->waiting = false;
    nl->listening = result == 0;
    return netlink_refusal_of(result);
}

const char *netlink_refusal_text(enum netlink_refusal refusal)
{
    switch (refusal) {
    case NETLINK_OK:
        return "the process connector answered.";
    case NETLINK_NOT_PERMITTED:
        return "the process connector of this kernel (older than 6.6) wants CAP_NET_ADMIN: run as "
               "root, or grant it with `setcap cap_net_admin+ep` or AmbientCapabilities=.";
    case NETLINK_OTHER_NETNS:
        return "the process connector lives in the host's network namespace: run there "
               "(--network=host for a container, PrivateNetwork=no for a unit).";
    case NETLINK_OTHER_PIDNS:
        return "the process connector does not answer in a pid namespace of its own: run on the "
               "host, or with --pid=host for a container.";
    case NETLINK_OTHER_USERNS:
        return "the process connector does not answer in a user namespace of its own: run on the "
               "host (--userns=host for a container, PrivateUsers=no for a unit).";
    case NETLINK_NO_PROC_EVENTS:
        return "this kernel has no process events: use one that was built with CONFIG_CONNECTOR=y "
               "and CONFIG_PROC_EVENTS=y.";
    case NETLINK_FAILED:
        break;
    }
    return "the process connector's socket failed: errno tells why.";
}

/* Without IGNORE the kernel never takes us off its count, and goes on making events for nobody.
 * Never without a LISTEN that was answered: before 6.6 that would silence someone else. */
void netlink_close(struct netlink *nl)
{
    if (nl->listening)
        ask(nl->fd, OP_IGNORE, random_cookie());
    if (nl->fd >= 0)
        close(nl->fd);
    free(nl->batch);
    nl->fd = -1;
    nl->batch = NULL;
    nl->listening = false;
}
