/* test_taskstats.c - accounts of the kernel become ends, all other bytes become nothing.
 *
 * Messages are built from the struct of <linux/taskstats.h>, which taskstats.c does not use: a
 * second opinion on every offset. The filter runs in the real kernel, on a pair of unix sockets. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define taskstats account /* ours has that name */
#include <linux/taskstats.h>
#undef taskstats

#include <cmocka.h>

#include "collect/taskstats.h"

enum { FAMILY = 0x011f, ROOM = 4096, LAST = 0x20, FORKED = 1 };

_Static_assert(sizeof(struct account) >= 400, "headers of 5.19 or newer");

/* What a test asks for. */
struct message {
    bool padded;     /* STATS moved by 4, as where a CPU wants it aligned */
    bool group;      /* with the group's account */
    size_t appended; /* bytes that a newer kernel has behind each account */
    size_t missing;  /* and that an older one has not */
    struct account task, sums;
};

static struct message a_message(void)
{
    struct message m = { .task = { .version = 16,
                                   .ac_exitcode = 7 << 8,
                                   .ac_flag = LAST,
                                   .cpu_run_real_total = 10000000,
                                   .cpu_run_virtual_total = 8000000,
                                   .ac_comm = "fifteen letters",
                                   .ac_uid = 1000,
                                   .ac_gid = 100,
                                   .ac_pid = 4389,
                                   .ac_ppid = 42,
                                   .ac_etime = 5,
                                   .ac_utime = 6000,
                                   .ac_stime = 2000,
                                   .hiwater_rss = 3,
                                   .read_bytes = 1024,
                                   .write_bytes = 2048,
                                   .ac_tgid = 4388,
                                   .ac_tgetime = 1234567,
                                   .ac_exe_dev = 0xfe01,
                                   .ac_exe_inode = 0x1122334455667788 },
                         .sums = { .version = 16,
                                   .cpu_run_real_total = 40000000,
                                   .cpu_run_virtual_total = 100000000,
                                   .ac_utime = 10000,
                                   .ac_stime = 30000 } };
    return m;
}

static size_t put_attribute(unsigned char *to, uint16_t type, const void *data, size_t len)
{
    struct nlattr head = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type };
    memcpy(to, &head, sizeof head);
    if (len)
        memmove(to + NLA_HDRLEN, data, len);
    return NLA_ALIGN(head.nla_len);
}

static size_t put_account(unsigned char *to, const struct message *m, uint16_t aggregate,
                          uint16_t id_type, uint32_t id, const struct account *a)
{
    unsigned char stats[ROOM] = { 0 };
    size_t len = NLA_HDRLEN, whole = sizeof *a + m->appended - m->missing;

    memcpy(stats, a, sizeof *a);
    len += put_attribute(to + len, id_type, &id, sizeof id);
    if (m->padded)
        len += put_attribute(to + len, TASKSTATS_TYPE_NULL, NULL, 0);
    len += put_attribute(to + len, TASKSTATS_TYPE_STATS, stats, whole);
    struct nlattr head = { .nla_len = (uint16_t)len, .nla_type = aggregate };
    memcpy(to, &head, sizeof head);
    return len;
}

/* Returns its length. */
static size_t build(unsigned char *bytes, const struct message *m)
{
    struct genlmsghdr genl = { .cmd = TASKSTATS_CMD_NEW, .version = TASKSTATS_GENL_VERSION };
    size_t len = NLMSG_HDRLEN + GENL_HDRLEN;

    memset(bytes, 0, ROOM);
    memcpy(bytes + NLMSG_HDRLEN, &genl, sizeof genl);
    len += put_account(bytes + len, m, TASKSTATS_TYPE_AGGR_PID, TASKSTATS_TYPE_PID, m->task.ac_pid,
                       &m->task);
    if (m->group)
        len += put_account(bytes + len, m, TASKSTATS_TYPE_AGGR_TGID, TASKSTATS_TYPE_TGID,
                           m->task.ac_tgid, &m->sums);
    struct nlmsghdr nl = { .nlmsg_len = (uint32_t)len, .nlmsg_type = FAMILY };
    memcpy(bytes, &nl, sizeof nl);
    return len;
}

/* On the heap and as long as it says, so that the sanitizer sees the first byte read beyond. */
static enum taskstats_verdict decode_exactly(const unsigned char *bytes, size_t len,
                                             struct process_end *end)
{
    unsigned char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    enum taskstats_verdict verdict = taskstats_decode(copy, len, FAMILY, end);
    free(copy);
    return verdict;
}

static enum taskstats_verdict decode(const struct message *m, struct process_end *end)
{
    unsigned char bytes[ROOM];
    size_t len = build(bytes, m);
    return decode_exactly(bytes, len, end);
}

/* --- the decoder ---------------------------------------------------------------------------- */

static void every_field_of_an_end_is_decoded(void **state)
{
    struct message m = a_message();
    struct process_end end;
    (void)state;

    assert_int_equal(decode(&m, &end), TASKSTATS_END);
    assert_int_equal(end.pid, 4388);
    assert_int_equal(end.ppid, 42);
    assert_int_equal(end.uid, 1000);
    assert_int_equal(end.gid, 100);
    assert_int_equal(end.exit_code, 7 << 8);
    assert_true(end.elapsed_ns == INT64_C(1234567000));
    assert_int_equal(end.max_rss, 3072);
    assert_int_equal(end.read_bytes, 1024);
    assert_int_equal(end.write_bytes, 2048);
    assert_true(end.exe_dev == 0xfe01 && end.exe_inode == 0x1122334455667788);
    assert_false(end.forked_only);
    assert_true(end.single);
    assert_string_equal(end.comm, "fifteen letters");

    m.task.ac_flag |= FORKED;
    memset(m.task.ac_comm, 'x', sizeof m.task.ac_comm); /* no kernel has one so long */
    assert_int_equal(decode(&m, &end), TASKSTATS_END);
    assert_true(end.forked_only);
    assert_string_equal(end.comm, "xxxxxxxxxxxxxxx");
}

static void cpu_time_is_the_exact_sum_divided_as_the_ticks_are(void **state)
{
    static const struct {
        const char *why;
        uint64_t exact, ticks, user_us, system_us;
        int64_t want_user, want_system;
    } cases[] = {
        { "a quarter of ticks in the system", 8000000, 8, 6000, 2000, 6000000, 2000000 },
        { "no tick at all", 700000, 0, 0, 0, 700000, 0 },
        { "all of it in the system", 700000, 4000000, 0, 4000, 0, 700000 },
        { "no exact sum in this kernel", 0, 4000000, 4000, 8000, 4000000, 8000000 },
        { "nothing", 0, 0, 0, 0, 0, 0 },
        { "ticks are not divided in this kernel", 700000, 4000000, 0, 0, -1, -1 },
        { "more than fits", UINT64_MAX, 1, 1, 0, INT64_MAX, 0 },
        { "more than fits in the system", UINT64_MAX, 1, 1, UINT64_MAX, 0, INT64_MAX },
        { "ticks that are more than fits", 0, 1, UINT64_MAX, UINT64_MAX, INT64_MAX, INT64_MAX },
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int group = 0; group < 2; group++) {
            struct message m = a_message();
            struct process_end end;
            struct account *a = group ? &m.sums : &m.task;
            m.group = group;
            a->cpu_run_virtual_total = cases[i].exact;
            a->cpu_run_real_total = cases[i].ticks;
            a->ac_utime = cases[i].user_us;
            a->ac_stime = cases[i].system_us;
            assert_int_equal(decode(&m, &end), TASKSTATS_END);
            if (end.cpu_user_ns != cases[i].want_user || end.cpu_system_ns != cases[i].want_system)
                fail_msg("%s: %lld, %lld", cases[i].why, (long long)end.cpu_user_ns,
                         (long long)end.cpu_system_ns);
        }
}

static void with_threads_the_group_has_its_own_figures_and_the_rest_is_unknown(void **state)
{
    struct message m = a_message();
    struct process_end end;
    (void)state;

    m.group = true;
    assert_int_equal(decode(&m, &end), TASKSTATS_END);
    assert_false(end.single);
    assert_int_equal(end.cpu_user_ns, 25000000);
    assert_int_equal(end.cpu_system_ns, 75000000);
    assert_int_equal(end.read_bytes, -1);
    assert_int_equal(end.write_bytes, -1);
    assert_int_equal(end.max_rss, 3072);
}

static void a_kernel_thread_has_no_memory_of_its_own(void **state)
{
    struct message m = a_message();
    struct process_end end;
    (void)state;

    m.task.hiwater_rss = 0;
    assert_int_equal(decode(&m, &end), TASKSTATS_END);
    assert_int_equal(end.max_rss, -1);
}

static void a_thread_before_the_last_is_no_end(void **state)
{
    struct message m = a_message();
    struct process_end end, nothing;
    (void)state;

    memset(&nothing, 0, sizeof nothing);
    m.task.ac_flag = (uint8_t)~LAST;
    assert_int_equal(decode(&m, &end), TASKSTATS_THREAD);
    assert_memory_equal(&end, &nothing, sizeof end);
}

static void older_kernels_are_refused_and_newer_ones_understood(void **state)
{
    struct message m = a_message();
    struct process_end end;
    (void)state;

    for (unsigned version = 0; version < 40; version++) {
        m.task.version = (uint16_t)version;
        assert_int_equal(decode(&m, &end), version < 12 ? TASKSTATS_BAD : TASKSTATS_END);
    }
    for (m.appended = 0; m.appended < 800; m.appended += 8) {
        m.group = m.appended / 8 % 2;
        m.padded = m.appended / 16 % 2;
        assert_int_equal(decode(&m, &end), TASKSTATS_END);
        assert_int_equal(end.pid, 4388);
        assert_int_equal(end.cpu_system_ns, m.group ? 75000000 : 2000000);
    }
    m.appended = 0;
    for (m.missing = 0; m.missing <= sizeof m.task; m.missing++) {
        size_t left = sizeof m.task - m.missing;
        assert_int_equal(decode(&m, &end), left < 400 ? TASKSTATS_BAD : TASKSTATS_END);
    }
}

static void a_truncated_datagram_is_bad_at_every_length(void **state)
{
    unsigned char bytes[ROOM];
    struct process_end end;
    (void)state;

    for (int shape = 0; shape < 4; shape++) {
        struct message m = a_message();
        m.group = shape & 1;
        m.padded = shape & 2;
        size_t whole = build(bytes, &m);
        for (size_t len = 0; len < whole; len++)
            assert_int_equal(decode_exactly(bytes, len, &end), TASKSTATS_BAD);
        assert_int_equal(decode_exactly(bytes, whole, &end), TASKSTATS_END);
        /* the message claims less than there is: attributes are cut */
        for (uint32_t claimed = 0; claimed < whole; claimed++) {
            memcpy(bytes, &claimed, sizeof claimed);
            enum taskstats_verdict verdict = decode_exactly(bytes, whole, &end);
            bool task_alone = m.group && claimed == whole - (whole - 20) / 2;
            assert_int_equal(verdict, task_alone ? TASKSTATS_END : TASKSTATS_BAD);
        }
    }
}

/* Every length and type field, with every value that may trip a decoder. */
static void impossible_attributes_are_bad_or_passed_over(void **state)
{
    static const uint16_t values[] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 403, 404, 405, 559, 564, 0x3fff, 32767, 32768, 65534, 65535
    };
    unsigned char bytes[ROOM];
    struct process_end end;
    struct message m = a_message();
    (void)state;

    m.group = true;
    size_t whole = build(bytes, &m), second = 20 + (whole - 20) / 2;
    const size_t at[] = { 20,     22,         24,         26,         32,          34,
                          second, second + 2, second + 4, second + 6, second + 12, second + 14 };
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            build(bytes, &m);
            memcpy(bytes + at[i], &values[v], sizeof values[v]);
            enum taskstats_verdict verdict = decode_exactly(bytes, whole, &end);
            assert_true(verdict == TASKSTATS_BAD || verdict == TASKSTATS_END);
            assert_true(verdict == TASKSTATS_BAD || end.pid == 4388);
        }

    build(bytes, &m); /* a group's account with an impossible length: not taken for none */
    bytes[second] = 3;
    bytes[second + 1] = 0;
    assert_int_equal(decode_exactly(bytes, whole, &end), TASKSTATS_BAD);
}

static void what_the_kernel_would_not_send_is_bad_or_none_of_ours(void **state)
{
    static const struct {
        const char *why;
        size_t at, width;
        uint32_t value;
        enum taskstats_verdict want;
    } cases[] = {
        { "an answer", 4, 2, NLMSG_ERROR, TASKSTATS_OTHER },
        { "another family", 4, 2, FAMILY + 1, TASKSTATS_OTHER },
        { "longer than the datagram", 0, 4, UINT32_MAX, TASKSTATS_BAD },
        { "not a message but a request", 16, 1, TASKSTATS_CMD_GET, TASKSTATS_BAD },
        { "process 0", 36 + offsetof(struct account, ac_tgid), 4, 0, TASKSTATS_BAD },
        { "a negative process", 36 + offsetof(struct account, ac_tgid), 4, 0x80000000,
          TASKSTATS_BAD },
        { "no account of a task", 22, 2, TASKSTATS_TYPE_AGGR_TGID, TASKSTATS_BAD },
        { "no account in it", 34, 2, TASKSTATS_TYPE_NULL, TASKSTATS_BAD },
        { "marked as nested", 22, 2, TASKSTATS_TYPE_AGGR_PID | NLA_F_NESTED, TASKSTATS_END },
    };
    unsigned char bytes[ROOM];
    struct process_end end;
    struct message m = a_message();
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = build(bytes, &m);
        uint16_t narrow = (uint16_t)cases[i].value;
        uint8_t byte = (uint8_t)cases[i].value;
        const void *from = cases[i].width == 1   ? (const void *)&byte
                           : cases[i].width == 2 ? (const void *)&narrow
                                                 : (const void *)&cases[i].value;
        memcpy(bytes + cases[i].at, from, cases[i].width);
        if (decode_exactly(bytes, len, &end) != cases[i].want)
            fail_msg("wrong: %s", cases[i].why);
    }
}

static void an_end_at_an_odd_address_is_decoded(void **state)
{
    unsigned char bytes[ROOM], shifted[ROOM + 8];
    struct process_end end;
    struct message m = a_message();
    (void)state;

    size_t len = build(bytes, &m);
    for (size_t by = 0; by < 8; by++) {
        memcpy(shifted + by, bytes, len);
        assert_int_equal(taskstats_decode(shifted + by, len, FAMILY, &end), TASKSTATS_END);
        assert_int_equal(end.pid, 4388);
    }
}

/* --- the filter, in the kernel ---------------------------------------------------------------- */

/* Does it arrive at a socket with the filter, and whole? */
static bool passes(const unsigned char *bytes, size_t len)
{
    struct sock_filter code[TASKSTATS_FILTER_MAX];
    int n = taskstats_filter_program(FAMILY, code), fds[2];
    struct sock_fprog program = { .len = (unsigned short)n, .filter = code };
    unsigned char got[ROOM];

    assert_in_range(n, 1, TASKSTATS_FILTER_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    assert_int_equal(send(fds[0], bytes, len, 0), len);
    ssize_t arrived = recv(fds[1], got, sizeof got, MSG_DONTWAIT);
    close(fds[0]);
    close(fds[1]);
    assert_true(arrived < 0 || arrived == (ssize_t)len);
    return arrived >= 0;
}

static void the_filter_keeps_last_tasks_wherever_the_account_lies(void **state)
{
    unsigned char bytes[ROOM];
    (void)state;

    for (int shape = 0; shape < 4; shape++)
        for (unsigned flags = 0; flags < 256; flags++) {
            struct message m = a_message();
            m.group = shape & 1;
            m.padded = shape & 2;
            m.task.ac_flag = (uint8_t)flags;
            size_t len = build(bytes, &m);
            assert_int_equal(passes(bytes, len), (flags & LAST) != 0);
        }
}

static void the_filter_lets_answers_and_strange_shapes_through(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint16_t value;
        bool padded;
    } cases[] = {
        { "an answer", 4, NLMSG_ERROR, false },
        { "the controller's answer", 4, GENL_ID_CTRL, false },
        { "a family with its bytes turned over", 4, 0x1f01, false },
        { "something else where the account was", 34, 77, false },
        { "something else behind the padding", 38, 77, true },
    };
    unsigned char bytes[ROOM];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message m = a_message();
        m.task.ac_flag = 0;
        m.padded = cases[i].padded;
        size_t len = build(bytes, &m);
        assert_false(passes(bytes, len));
        memcpy(bytes + cases[i].at, &cases[i].value, sizeof cases[i].value);
        if (!passes(bytes, len))
            fail_msg("dropped: %s", cases[i].why);
    }

    struct message m = a_message();
    build(bytes, &m);
    for (size_t len = 1; len < 45; len++)
        assert_false(passes(bytes, len)); /* too short to tell */
    assert_true(passes(bytes, 45));
}

/* --- the socket ---------------------------------------------------------------------------- */

static void a_closed_socket_does_nothing_and_says_so(void **state)
{
    struct taskstats ts = { .fd = -1, .dropped_seen = 5 };
    struct process_end end;
    (void)state;

    assert_int_equal(taskstats_drain(&ts), -EBADF);
    assert_false(taskstats_take(&ts, 1, &end));
    assert_int_equal(taskstats_dropped(&ts), 0);
    taskstats_close(&ts);
    taskstats_close(&ts);
}

static void a_drop_counter_that_wrapped_is_read_right(void **state)
{
    int fds[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    struct taskstats ts = { .fd = fds[0], .dropped_seen = UINT32_MAX - 2 }; /* it stands at 0 */
    assert_int_equal(taskstats_dropped(&ts), 3);
    assert_int_equal(ts.count.dropped, 3);
    assert_int_equal(taskstats_dropped(&ts), 0);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_truncated_datagram_is_bad_at_every_length),
        cmocka_unit_test(impossible_attributes_are_bad_or_passed_over),
        cmocka_unit_test(what_the_kernel_would_not_send_is_bad_or_none_of_ours),
        cmocka_unit_test(every_field_of_an_end_is_decoded),
        cmocka_unit_test(cpu_time_is_the_exact_sum_divided_as_the_ticks_are),
        cmocka_unit_test(with_threads_the_group_has_its_own_figures_and_the_rest_is_unknown),
        cmocka_unit_test(a_kernel_thread_has_no_memory_of_its_own),
        cmocka_unit_test(a_thread_before_the_last_is_no_end),
        cmocka_unit_test(older_kernels_are_refused_and_newer_ones_understood),
        cmocka_unit_test(an_end_at_an_odd_address_is_decoded),
        cmocka_unit_test(the_filter_keeps_last_tasks_wherever_the_account_lies),
        cmocka_unit_test(the_filter_lets_answers_and_strange_shapes_through),
        cmocka_unit_test(a_closed_socket_does_nothing_and_says_so),
        cmocka_unit_test(a_drop_counter_that_wrapped_is_read_right),
    };
    return cmocka_run_group_tests_name("taskstats", tests, NULL, NULL);
}
