/* test_netlink.c - bytes of the connector become events, all others become nothing.
 *
 * Messages are built from the structures of <linux/cn_proc.h>, which netlink.c does not use: a
 * second opinion on every offset. Filters run in the real kernel, on a pair of unix sockets. */
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "collect/netlink.h"

enum { UNION_AT = 52, WHOLE = 76, ROOM = 256 };

/* What a test asks for; `a` to `f` are the words of the union in the kernel's order. */
struct message {
    uint32_t what;
    uint32_t a, b, c, d, e, f;
};

static void put(unsigned char *bytes, size_t at, const void *from, size_t len)
{
    memcpy(bytes + at, from, len);
}

/* A datagram with `length` bytes of the union; zeros and then `extra` bytes after the known ones.
 */
static size_t build(unsigned char *bytes, const struct message *m, size_t length)
{
    struct proc_event ev;
    size_t event_len = offsetof(struct proc_event, event_data) + length;
    struct cn_msg cn = {
        .id = { CN_IDX_PROC, CN_VAL_PROC }, .seq = 0x01020304, .ack = 77, .len = (uint16_t)event_len
    };
    struct nlmsghdr nl = { .nlmsg_len = (uint32_t)(sizeof nl + sizeof cn + event_len),
                           .nlmsg_type = NLMSG_DONE,
                           .nlmsg_seq = cn.seq };
    uint32_t words[6] = { m->a, m->b, m->c, m->d, m->e, m->f };
    uint64_t stamp = 0x1122334455667788;

    memset(bytes, 0, ROOM);
    memset(&ev, 0, sizeof ev);
    memcpy(&ev.what, &m->what, sizeof m->what);
    ev.cpu = 3;
    memcpy((char *)&ev + offsetof(struct proc_event, timestamp_ns), &stamp, sizeof stamp);
    put(bytes, 0, &nl, sizeof nl);
    put(bytes, sizeof nl, &cn, sizeof cn);
    put(bytes, sizeof nl + sizeof cn, &ev, offsetof(struct proc_event, event_data));
    put(bytes, UNION_AT, words, length < sizeof words ? length : sizeof words);
    return nl.nlmsg_len;
}

/* On the heap and as long as it says, so that the sanitizer sees the first byte read beyond. */
static enum netlink_verdict decode_exactly(const unsigned char *bytes, size_t len,
                                           struct kernel_event *ev, struct netlink_ack *ack)
{
    unsigned char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum netlink_verdict verdict = netlink_decode(copy, len, ev, ack);
    free(copy);
    return verdict;
}

/* Every kind, as the main thread's and as another thread's: pid 10, tid 10 or 11. */
static const struct {
    const char *why;
    struct message m;
    enum event_kind kind;
    size_t needs;
    bool thread;      /* about a thread that is not the main one */
    bool thread_only; /* dropped for that when threads are not asked for */
} kinds[] = {
    { "fork of a process", { PROC_EVENT_FORK, 4, 4, 10, 10, 0, 0 }, EVENT_FORK, 16, false, false },
    { "fork of a process by a thread",
      { PROC_EVENT_FORK, 5, 4, 10, 10, 0, 0 },
      EVENT_FORK,
      16,
      false,
      false },
    { "fork of a thread", { PROC_EVENT_FORK, 5, 4, 11, 10, 0, 0 }, EVENT_FORK, 16, true, true },
    { "exec", { PROC_EVENT_EXEC, 10, 10, 0, 0, 0, 0 }, EVENT_EXEC, 8, false, false },
    { "exec by a thread", { PROC_EVENT_EXEC, 11, 10, 0, 0, 0, 0 }, EVENT_EXEC, 8, true, false },
    { "exit", { PROC_EVENT_EXIT, 10, 10, 256, 17, 5, 4 }, EVENT_EXIT, 16, false, false },
    { "exit of a thread",
      { PROC_EVENT_EXIT, 11, 10, 9, UINT32_MAX, 0, 0 },
      EVENT_EXIT,
      16,
      true,
      true },
    { "uid", { PROC_EVENT_UID, 10, 10, 1000, UINT32_MAX, 0, 0 }, EVENT_UID, 16, false, false },
    { "uid of a thread", { PROC_EVENT_UID, 11, 10, 1000, 0, 0, 0 }, EVENT_UID, 16, true, true },
    { "gid", { PROC_EVENT_GID, 10, 10, 100, 50, 0, 0 }, EVENT_GID, 16, false, false },
    { "gid of a thread", { PROC_EVENT_GID, 11, 10, 100, 50, 0, 0 }, EVENT_GID, 16, true, true },
    { "sid", { PROC_EVENT_SID, 10, 10, 0, 0, 0, 0 }, EVENT_SID, 8, false, false },
    { "sid of a thread", { PROC_EVENT_SID, 11, 10, 0, 0, 0, 0 }, EVENT_SID, 8, true, true },
    { "ptrace", { PROC_EVENT_PTRACE, 10, 10, 7, 6, 0, 0 }, EVENT_PTRACE, 16, false, false },
    { "ptrace of a thread",
      { PROC_EVENT_PTRACE, 11, 10, 0, 0, 0, 0 },
      EVENT_PTRACE,
      16,
      true,
      false },
    { "comm",
      { PROC_EVENT_COMM, 10, 10, 0x64636261, 0x31303938, 0x41414141, 0x42424242 },
      EVENT_COMM,
      24,
      false,
      false },
    { "comm of a thread",
      { PROC_EVENT_COMM, 11, 10, 0x64636261, 0, 0, 0 },
      EVENT_COMM,
      24,
      true,
      true },
    { "coredump", { PROC_EVENT_COREDUMP, 10, 10, 5, 4, 0, 0 }, EVENT_COREDUMP, 8, false, false },
    { "coredump of a thread",
      { PROC_EVENT_COREDUMP, 11, 10, 0, 0, 0, 0 },
      EVENT_COREDUMP,
      8,
      true,
      false },
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static void check_rest(const struct kernel_event *ev, const struct message *m)
{
    switch (ev->kind) {
    case EVENT_FORK:
        assert_int_equal(ev->parent.ptid, m->a);
        assert_int_equal(ev->parent.ppid, m->b);
        break;
    case EVENT_EXIT:
        assert_int_equal(ev->exit_code, m->c);
        assert_int_equal(ev->exit_signal, m->d);
        assert_int_equal(ev->parent.ptid, m->e);
        assert_int_equal(ev->parent.ppid, m->f);
        break;
    case EVENT_COREDUMP:
        assert_int_equal(ev->parent.ptid, m->c);
        assert_int_equal(ev->parent.ppid, m->d);
        break;
    case EVENT_UID:
    case EVENT_GID:
        assert_int_equal(ev->id.real, m->c);
        assert_int_equal(ev->id.effective, m->d);
        break;
    case EVENT_PTRACE:
        assert_int_equal(ev->tracer.tid, m->c);
        assert_int_equal(ev->tracer.pid, m->d);
        break;
    case EVENT_COMM:
        assert_memory_equal(ev->comm, &m->c, sizeof ev->comm);
        break;
    default:
        break;
    }
}

static void every_kind_is_decoded(void **state)
{
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < KINDS; i++) {
        size_t len = build(bytes, &kinds[i].m, 24);
        assert_int_equal(len, WHOLE);
        assert_int_equal(decode_exactly(bytes, len, &ev, &ack), NETLINK_EVENT);
        assert_int_equal(ev.kind, kinds[i].kind);
        assert_int_equal(ev.cpu, 3);
        assert_int_equal(ev.seq, 0x01020304);
        assert_true(ev.mono_ns == 0x1122334455667788);
        assert_int_equal(ev.pid, 10);
        assert_int_equal(ev.tid, kinds[i].thread ? 11 : 10);
        check_rest(&ev, &kinds[i].m);
    }
}

static void a_truncated_datagram_is_bad_at_every_length(void **state)
{
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < KINDS; i++) {
        size_t whole = build(bytes, &kinds[i].m, 24);
        for (size_t len = 0; len < whole; len++)
            assert_int_equal(decode_exactly(bytes, len, &ev, &ack), NETLINK_BAD);
    }
}

/* Older kernels: the union ends early and all lengths say so. */
static void a_shorter_event_of_an_old_kernel_is_decoded_as_far_as_it_goes(void **state)
{
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < KINDS; i++)
        for (size_t length = 0; length <= 24; length++) {
            size_t len = build(bytes, &kinds[i].m, length);
            enum netlink_verdict want = length < kinds[i].needs ? NETLINK_BAD : NETLINK_EVENT;
            assert_int_equal(decode_exactly(bytes, len, &ev, &ack), want);
        }

    const struct message exits = { PROC_EVENT_EXIT, 10, 10, 256, 17, 5, 4 };
    for (size_t length = 16; length < 24; length++) {
        decode_exactly(bytes, build(bytes, &exits, length), &ev, &ack);
        assert_int_equal(ev.exit_code, 256);
        assert_int_equal(ev.parent.ppid, 0);
        assert_int_equal(ev.parent.ptid, 0);
    }
    const struct message dumps = { PROC_EVENT_COREDUMP, 10, 10, 5, 4, 0, 0 };
    decode_exactly(bytes, build(bytes, &dumps, 12), &ev, &ack);
    assert_int_equal(ev.pid, 10);
    assert_int_equal(ev.parent.ppid, 0);
}

static void a_longer_event_of_a_new_kernel_is_decoded(void **state)
{
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < KINDS; i++) {
        size_t len = build(bytes, &kinds[i].m, 60);
        assert_int_equal(decode_exactly(bytes, len, &ev, &ack), NETLINK_EVENT);
        assert_int_equal(decode_exactly(bytes, len + 40, &ev, &ack), NETLINK_EVENT);
        check_rest(&ev, &kinds[i].m);
    }
}

static void an_event_at_an_odd_address_is_decoded(void **state)
{
    unsigned char bytes[ROOM], shifted[ROOM + 8];
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    size_t len = build(bytes, &kinds[5].m, 24);
    for (size_t by = 0; by < 8; by++) {
        memcpy(shifted + by, bytes, len);
        assert_int_equal(netlink_decode(shifted + by, len, &ev, &ack), NETLINK_EVENT);
        assert_true(ev.mono_ns == 0x1122334455667788);
    }
}

static void what_the_connector_would_not_send_is_bad(void **state)
{
    static const struct {
        const char *why;
        size_t at, width;
        uint32_t value;
    } cases[] = {
        { "type of an error", offsetof(struct nlmsghdr, nlmsg_type), 2, NLMSG_ERROR },
        { "type of nothing", offsetof(struct nlmsghdr, nlmsg_type), 2, NLMSG_NOOP },
        { "type of another family", offsetof(struct nlmsghdr, nlmsg_type), 2, 0x103 },
        { "message longer than the datagram", offsetof(struct nlmsghdr, nlmsg_len), 4, WHOLE + 1 },
        { "message longest", offsetof(struct nlmsghdr, nlmsg_len), 4, UINT32_MAX },
        { "message shorter than its data", offsetof(struct nlmsghdr, nlmsg_len), 4, WHOLE - 1 },
        { "message of no length", offsetof(struct nlmsghdr, nlmsg_len), 4, 0 },
        { "idx of another connector", 16 + offsetof(struct cn_msg, id.idx), 4, 2 },
        { "val of another connector", 16 + offsetof(struct cn_msg, id.val), 4, 0 },
        { "data longer than the message", 16 + offsetof(struct cn_msg, len), 2, 41 },
        { "data longest", 16 + offsetof(struct cn_msg, len), 2, UINT16_MAX },
        { "data too short for a head", 16 + offsetof(struct cn_msg, len), 2, 15 },
        { "no data", 16 + offsetof(struct cn_msg, len), 2, 0 },
    };
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint16_t narrow = (uint16_t)cases[i].value;
        size_t len = build(bytes, &kinds[5].m, 24);
        put(bytes, cases[i].at, cases[i].width == 2 ? (void *)&narrow : (void *)&cases[i].value,
            cases[i].width);
        if (decode_exactly(bytes, len, &ev, &ack) != NETLINK_BAD)
            fail_msg("not bad: %s", cases[i].why);
    }
}

static void random_bytes_are_decoded_without_a_fault(void **state)
{
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    uint32_t random = 1;
    (void)state;

    for (int round = 0; round < 20000; round++) {
        size_t len = build(bytes, &kinds[(size_t)round % KINDS].m, 24);
        for (int changes = round % 7; changes >= 0; changes--) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % (UNION_AT + 4)] = (unsigned char)(random >> 24);
        }
        decode_exactly(bytes, random % 2 ? len : random % len, &ev, &ack);
    }
}

static void an_ack_carries_cookie_error_and_number(void **state)
{
    const struct message m = { PROC_EVENT_NONE, EPERM, 0, 0, 0, 0, 0 };
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    assert_int_equal(decode_exactly(bytes, build(bytes, &m, 24), &ev, &ack), NETLINK_ACK);
    assert_int_equal(ack.ack, 77);
    assert_int_equal(ack.error, EPERM);
    assert_int_equal(ev.kind, EVENT_NONE);
    assert_int_equal(ev.seq, 0x01020304);
    assert_int_equal(ev.cpu, 3);
    assert_int_equal(decode_exactly(bytes, build(bytes, &m, 4), &ev, &ack), NETLINK_ACK);
    assert_int_equal(decode_exactly(bytes, build(bytes, &m, 3), &ev, &ack), NETLINK_BAD);
}

static void an_unknown_kind_still_uses_up_a_number(void **state)
{
    static const uint32_t unknown[] = { 8, 0x10, 0x400, 0x20000000, 3, UINT32_MAX };
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const struct message m = { unknown[i], 1, 2, 3, 4, 5, 6 };
        assert_int_equal(decode_exactly(bytes, build(bytes, &m, 24), &ev, &ack), NETLINK_UNKNOWN);
        assert_int_equal(ev.kind, EVENT_NONE);
        assert_int_equal(ev.seq, 0x01020304);
        assert_int_equal(ev.pid, 0);
    }
}

static size_t from_hex(const char *hex, unsigned char *to)
{
    size_t len = strlen(hex) / 2;
    for (size_t i = 0; i < len; i++) {
        char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        to[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return len;
}

/* As they came from a 6.18 on x86-64: an ack to cookie 777, a fork, the child's exit(7). */
static void recorded_datagrams_are_decoded(void **state)
{
    static const char *const recorded[] = {
        "4c0000000300000000000000000000000100000001000000000000000a03000028000000"
        "0000000001000000ad0c998cb8010000000000000000000000000000000000000000000000000000",
        "4c0000000300000001000000000000000100000001000000010000000000000028000000"
        "0100000001000000d5889e8cb8010000fb100000fb10000024110000241100000000000000000000",
        "4c0000000300000002000000000000000100000001000000020000000000000028000000"
        "0000008001000000356caf8cb801000024110000241100000007000011000000fb100000fb100000",
    };
    unsigned char bytes[ROOM] = { 0 };
    struct kernel_event ev;
    struct netlink_ack ack;
    (void)state;

    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
        print_message("skipped: the recording is little-endian\n");
        skip();
    }
    assert_int_equal(netlink_decode(bytes, from_hex(recorded[0], bytes), &ev, &ack), NETLINK_ACK);
    assert_int_equal(ack.ack, 778);
    assert_int_equal(ack.error, 0);

    assert_int_equal(netlink_decode(bytes, from_hex(recorded[1], bytes), &ev, &ack), NETLINK_EVENT);
    assert_int_equal(ev.kind, EVENT_FORK);
    assert_int_equal(ev.pid, 4388);
    assert_int_equal(ev.parent.ppid, 4347);

    assert_int_equal(netlink_decode(bytes, from_hex(recorded[2], bytes), &ev, &ack), NETLINK_EVENT);
    assert_int_equal(ev.kind, EVENT_EXIT);
    assert_int_equal(ev.cpu, 1);
    assert_int_equal(ev.seq, 2);
    assert_true(ev.mono_ns == INT64_C(0x01b88caf6c35));
    assert_int_equal(ev.pid, 4388);
    assert_int_equal(ev.exit_code, 7 << 8);
    assert_int_equal(ev.exit_signal, 17);
    assert_int_equal(ev.parent.ppid, 4347);
}

/* --- the filter, in the kernel -------------------------------------------------------- */

struct pipe {
    int to, from;
};

static struct pipe pipe_open(struct netlink_filter filter)
{
    struct sock_filter code[NETLINK_FILTER_MAX];
    int len = netlink_filter_program(filter, code), fds[2];
    struct sock_fprog program = { .len = (unsigned short)len, .filter = code };

    assert_in_range(len, 1, NETLINK_FILTER_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    return (struct pipe){ fds[0], fds[1] };
}

static void pipe_close(struct pipe p)
{
    close(p.to);
    close(p.from);
}

/* Does it arrive, and whole? */
static bool passes(struct pipe p, const unsigned char *bytes, size_t len)
{
    unsigned char got[ROOM];
    assert_int_equal(send(p.to, bytes, len, 0), len);
    ssize_t n = recv(p.from, got, sizeof got, MSG_DONTWAIT);
    if (n < 0)
        return false;
    assert_int_equal(n, len);
    return true;
}

static void check_filter(struct netlink_filter filter)
{
    struct pipe p = pipe_open(filter);
    unsigned char bytes[ROOM] = { 0 };

    for (size_t i = 0; i < KINDS; i++) {
        bool asked = filter.kinds & UINT32_C(1) << kinds[i].kind;
        bool want = asked && (filter.threads || !kinds[i].thread_only);
        if (passes(p, bytes, build(bytes, &kinds[i].m, 24)) != want)
            fail_msg("%s should %s with kinds %x, threads %d", kinds[i].why,
                     want ? "pass" : "be dropped", (unsigned)filter.kinds, filter.threads);
    }
    const struct message none = { PROC_EVENT_NONE, 0, 0, 0, 0, 0, 0 };
    assert_true(passes(p, bytes, build(bytes, &none, 24)));
    pipe_close(p);
}

/* All 512 sets of kinds, with threads and without. */
static void the_filter_lets_through_what_was_asked_for_and_the_ack(void **state)
{
    static const enum event_kind each[] = { EVENT_FORK,   EVENT_EXEC, EVENT_EXIT,
                                            EVENT_UID,    EVENT_GID,  EVENT_SID,
                                            EVENT_PTRACE, EVENT_COMM, EVENT_COREDUMP };
    (void)state;

    for (unsigned set = 0; set < 512; set++)
        for (int threads = 0; threads < 2; threads++) {
            uint32_t mask = ON(SNAPSHOT) | ON(LOST); /* not the kernel's: no meaning here */
            for (unsigned i = 0; i < 9; i++)
                if (set & 1u << i)
                    mask |= UINT32_C(1) << each[i];
            check_filter((struct netlink_filter){ mask, threads });
        }
}

static void a_datagram_too_short_to_be_an_event_is_dropped(void **state)
{
    struct pipe p = pipe_open((struct netlink_filter){ ON_ALL, false });
    unsigned char bytes[ROOM] = { 0 };
    (void)state;

    build(bytes, &kinds[0].m, 24);
    for (size_t len = 1; len < UNION_AT + 16; len++)
        assert_false(passes(p, bytes, len));
    assert_true(passes(p, bytes, UNION_AT + 16));
    pipe_close(p);
}

static void with_everything_asked_for_unknown_kinds_pass_too(void **state)
{
    const struct message unknown = { 0x400, 1, 2, 3, 4, 5, 6 };
    struct netlink_filter all = { ON_ALL, true }, most = { ON_ALL & ~ON(SID), true },
                          main_only = { ON_ALL, false };
    unsigned char bytes[ROOM] = { 0 };
    size_t len = build(bytes, &unknown, 24);
    (void)state;

    assert_true(netlink_filter_passes_all(all));
    assert_false(netlink_filter_passes_all(most));
    assert_false(netlink_filter_passes_all(main_only));

    struct pipe p = pipe_open(all), q = pipe_open(most);
    assert_true(passes(p, bytes, len));
    assert_false(passes(q, bytes, len));
    pipe_close(p);
    pipe_close(q);
}

/* --- the socket, without a listener --------------------------------------------------- */

static void count_one(void *ctx, const struct kernel_event *ev)
{
    (void)ev;
    ++*(int *)ctx;
}

/* A netlink socket whose descriptor is then one end of a unix pair: real code, our own bytes. */
static int open_on_pair(struct netlink *nl)
{
    struct netlink_filter all = { ON_ALL, true };
    int fds[2], result = netlink_open(nl, all, 65536);

    if (result < 0) {
        print_message("skipped: no connector socket here: %s\n", strerror(-result));
        skip();
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_true(dup2(fds[1], nl->fd) >= 0);
    close(fds[1]);
    return fds[0];
}

static void a_sender_that_is_not_the_kernel_is_counted_and_not_heard(void **state)
{
    struct netlink nl;
    int peer = open_on_pair(&nl), heard = 0;
    unsigned char bytes[ROOM] = { 0 };
    (void)state;

    size_t len = build(bytes, &kinds[0].m, 24);
    for (int i = 0; i < 3; i++)
        assert_int_equal(send(peer, bytes, len, 0), len);
    assert_int_equal(send(peer, bytes, sizeof bytes, 0), sizeof bytes); /* cut by the buffer */
    assert_int_equal(send(peer, bytes, 0, 0), 0);

    assert_int_equal(netlink_receive(&nl, count_one, &heard), 5);
    assert_int_equal(heard, 0);
    assert_int_equal(nl.count.forged, 5);
    assert_int_equal(nl.count.received + nl.count.bad + nl.count.unknown, 0);
    netlink_close(&nl);
    close(peer);
}

static void an_empty_queue_is_no_error(void **state)
{
    struct netlink nl;
    int peer = open_on_pair(&nl), heard = 0;
    (void)state;

    assert_int_equal(netlink_receive(&nl, count_one, &heard), 0);
    assert_int_equal(nl.count.overruns, 0);
    netlink_close(&nl);
    close(peer);
}

static void a_drop_counter_that_wrapped_is_read_right(void **state)
{
    int fds[2];
    double fill = -1;
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    struct netlink nl = { .fd = fds[0], .dropped_seen = UINT32_MAX - 2 }; /* it stands at 0 */
    assert_int_equal(netlink_dropped(&nl, &fill), 3);
    assert_int_equal(nl.count.dropped, 3);
    assert_int_equal(netlink_dropped(&nl, NULL), 0);
    assert_true(fill >= 0 && fill <= 1);
    close(fds[0]);
    close(fds[1]);
}

static void a_closed_socket_does_nothing_and_says_so(void **state)
{
    struct netlink nl = { .fd = -1, .dropped_seen = 5 };
    const struct netlink_filter other = { ON(EXEC), false };
    (void)state;

    assert_int_equal(netlink_set_filter(&nl, other), -EBADF);
    assert_int_equal(nl.filter.kinds, 0);
    assert_int_equal(netlink_dropped(&nl, NULL), 0);
    assert_int_equal(netlink_receive(&nl, count_one, NULL), -EBADF);
    assert_int_equal(netlink_listen(&nl, count_one, NULL), NETLINK_FAILED);
    assert_int_equal(errno, EBADF);
    netlink_close(&nl);
    netlink_close(&nl);
}

static void a_refusal_is_one_sentence(void **state)
{
    (void)state;
    for (int r = NETLINK_OK; r <= NETLINK_FAILED; r++) {
        const char *text = netlink_refusal_text((enum netlink_refusal)r);
        assert_true(strlen(text) > 20);
        assert_null(strchr(text, '\n'));
        assert_int_equal(text[strlen(text) - 1], '.');
        for (int other = NETLINK_OK; other < r; other++)
            assert_string_not_equal(text, netlink_refusal_text((enum netlink_refusal)other));
    }
}

static void an_error_of_open_is_named(void **state)
{
    (void)state;
    assert_int_equal(netlink_refusal_of(0), NETLINK_OK);
    assert_int_equal(netlink_refusal_of(-ECONNREFUSED), NETLINK_OTHER_NETNS);
    assert_int_equal(netlink_refusal_of(-EPROTONOSUPPORT), NETLINK_NO_PROC_EVENTS);
    errno = 0;
    assert_int_equal(netlink_refusal_of(-EMFILE), NETLINK_FAILED);
    assert_int_equal(errno, EMFILE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_truncated_datagram_is_bad_at_every_length),
        cmocka_unit_test(what_the_connector_would_not_send_is_bad),
        cmocka_unit_test(random_bytes_are_decoded_without_a_fault),
        cmocka_unit_test(every_kind_is_decoded),
        cmocka_unit_test(a_shorter_event_of_an_old_kernel_is_decoded_as_far_as_it_goes),
        cmocka_unit_test(a_longer_event_of_a_new_kernel_is_decoded),
        cmocka_unit_test(an_event_at_an_odd_address_is_decoded),
        cmocka_unit_test(an_ack_carries_cookie_error_and_number),
        cmocka_unit_test(an_unknown_kind_still_uses_up_a_number),
        cmocka_unit_test(recorded_datagrams_are_decoded),
        cmocka_unit_test(the_filter_lets_through_what_was_asked_for_and_the_ack),
        cmocka_unit_test(a_datagram_too_short_to_be_an_event_is_dropped),
        cmocka_unit_test(with_everything_asked_for_unknown_kinds_pass_too),
        cmocka_unit_test(a_sender_that_is_not_the_kernel_is_counted_and_not_heard),
        cmocka_unit_test(an_empty_queue_is_no_error),
        cmocka_unit_test(a_drop_counter_that_wrapped_is_read_right),
        cmocka_unit_test(a_closed_socket_does_nothing_and_says_so),
        cmocka_unit_test(a_refusal_is_one_sentence),
        cmocka_unit_test(an_error_of_open_is_named),
    };
    return cmocka_run_group_tests_name("netlink", tests, NULL, NULL);
}
