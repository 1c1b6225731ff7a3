/* test_request.c - questions cross the socket and are answered or refused; whoever hangs up, nobody
 * hangs. */
#include "host/request.h"

#include "base/clock.h"
#include "collect/answers.h"
#include "embed/steward.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* As it goes over the socket. */
struct question {
    uint32_t kind, len, number;
    struct request_probe probe;
} __attribute__((packed));

struct reply {
    int32_t result;
    uint32_t len, number;
};

static struct procfs fs;
static struct steward *steward;
static struct buf answer, direct;
static int ends[2]; /* we ask on ends[0]; ends[1] is the steward's */

static struct request_link asking;

static int start(void)
{
    asking = (struct request_link){ .fd = ends[0] };
    struct steward_means means = { .proc = &fs };
    int result = steward_new(&steward, &means);
    return result ? result : steward_start(steward, ends[1]);
}

static int begin(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (procfs_open(&fs, "/proc") || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return 1;
    return start();
}

static int end(void **state)
{
    (void)state;
    steward_free(steward, INT64_MAX / 2);
    steward = NULL;
    close(ends[0]);
    procfs_close(&fs);
    buf_free(&answer);
    buf_free(&direct);
    return 0;
}

static int probe(struct request_link *link, int pid, int64_t starttime, enum topic topic)
{
    struct request_probe q = { starttime, pid, topic };
    return request_ask(link, REQUEST_PROBE, &q, sizeof q, &answer, NULL);
}

static int ask(int pid, int64_t starttime, enum topic topic)
{
    buf_clear(&answer);
    asking.fd = ends[0];
    return probe(&asking, pid, starttime, topic);
}

static void an_answer_crosses_the_socket_as_it_is(void **state)
{
    (void)state;
    for (enum topic topic = 0; topic < TOPICS; topic++) {
        buf_clear(&direct);
        int want = answers_read(&fs, getpid(), -1, topic, &direct);
        assert_int_equal(ask(getpid(), -1, topic), want);
        if (topic != TOPIC_LIMITS && topic != TOPIC_NS && topic != TOPIC_ENVIRON)
            continue; /* the others change between two looks */
        assert_int_equal(want, 0);
        assert_int_equal(answer.len, direct.len);
        assert_memory_equal(answer.data, direct.data, answer.len);
    }
}

static void an_answer_is_appended(void **state)
{
    (void)state;
    buf_clear(&answer);
    buf_puts(&answer, "before");
    assert_int_equal(probe(&asking, getpid(), -1, TOPIC_NS), 0);
    assert_memory_equal(answer.data, "before", 6);
    assert_true(answer.len > 6);
}

static void a_process_that_is_gone_or_another_is_no_fault(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    assert_int_equal(ask(pid, -1, TOPIC_FDS), -ESRCH);
    assert_int_equal(ask(getpid(), 1, TOPIC_FDS), -ESRCH); /* not started then */
    assert_int_equal(ask(-5, -1, TOPIC_FDS), -ESRCH);
    assert_int_equal(ask(0, -1, TOPIC_FDS), -ESRCH);
    assert_int_equal(answer.len, 0);
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), 0); /* still in step */
}

static void a_question_about_no_topic_is_refused(void **state)
{
    (void)state;
    assert_int_equal(ask(getpid(), -1, TOPICS), -EINVAL);
    assert_int_equal(ask(getpid(), -1, (enum topic)UINT32_MAX), -EINVAL);
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), 0);
}

/* Thousands of maps: an answer far larger than what a socket holds. */
static void a_large_answer_arrives_whole(void **state)
{
    enum { MAPS = 8000 };
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at = mmap(NULL, MAPS * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    for (size_t i = 0; i < MAPS; i += 2)
        mprotect(at + i * page, page, PROT_NONE);
    assert_int_equal(ask(getpid(), -1, TOPIC_MAPS), 0);
    munmap(at, MAPS * page);
    assert_true(answer.len > 500000);

    int cells = 0, columns = topics[TOPIC_MAPS].columns_len;
    struct answer_cell cell;
    const char *from = answer.data, *stop = from + answer.len;
    while (answer_next(&from, stop, topics[TOPIC_MAPS].columns[cells % columns].type, &cell))
        cells++;
    assert_ptr_equal(from, stop);
    assert_true(cells >= MAPS * columns && cells % columns == 0);
}

static void garbage_is_refused_and_does_not_stop_the_steward(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 2000; i++) {
        struct question q = { i % 2 ? REQUEST_PROBE : REQUESTS + i, sizeof q.probe, i,
                              { (int64_t)(i * UINT64_C(0x9e3779b97f4a7c15)),
                                (int32_t)(i * 2654435761u), TOPICS + i } };
        struct reply reply = { 0 };
        assert_int_equal(send(ends[0], &q, sizeof q, 0), sizeof q);
        assert_int_equal(recv(ends[0], &reply, sizeof reply, MSG_WAITALL), sizeof reply);
        assert_int_equal(reply.result, -EINVAL);
        assert_int_equal(reply.len, 0);
    }
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), 0);
}

/* A server of our own, on a thread: it gives a pipe's end for each question. */
static int give_pipe(void *ctx, uint32_t kind, const void *bytes, size_t len, struct buf *out,
                     int *fds)
{
    int both[2];
    (void)ctx;
    if (kind == REQUESTS - 1)
        return -EPERM;
    if (pipe2(both, O_CLOEXEC))
        return -errno;
    if (write(both[1], bytes, len) != (ssize_t)len)
        return -EIO;
    buf_puts(out, "a pipe");
    fds[0] = both[0];
    fds[1] = both[1];
    return 2;
}

static int given[2]; /* questions go to given[0] */

static void *serve_pipes(void *arg)
{
    request_serve(given[1], give_pipe, arg);
    return arg;
}

static void descriptors_come_with_an_answer(void **state)
{
    pthread_t thread;
    struct request_link to_us = { 0 };
    int fds[REQUEST_FDS], before = dup(0);
    char back[8];
    (void)state;

    close(before);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, given), 0);
    to_us.fd = given[0];
    assert_int_equal(pthread_create(&thread, NULL, serve_pipes, NULL), 0);
    buf_clear(&answer);
    assert_int_equal(request_ask(&to_us, REQUEST_PROBE, "hello", 5, &answer, fds), 2);
    assert_string_equal(buf_str(&answer), "a pipe");
    assert_int_equal(read(fds[0], back, sizeof back), 5);
    assert_memory_equal(back, "hello", 5);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close(fds[0]);
    close(fds[1]);

    assert_int_equal(request_ask(&to_us, REQUEST_PROBE, "x", 1, &answer, NULL), 0);
    assert_int_equal(request_ask(&to_us, REQUESTS - 1, "x", 1, &answer, fds), -EPERM);
    close(given[0]);
    pthread_join(thread, NULL);
    close(given[1]);
    int after = dup(0); /* those that nobody wanted did not stay open */
    close(after);
    assert_int_equal(after, before);
}

static void a_question_that_is_too_large_is_refused(void **state)
{
    struct question q = { REQUEST_PROBE, REQUEST_MAX + 1, 1, { 0 } };
    char byte;
    (void)state;
    assert_int_equal(request_ask(&asking, REQUEST_PROBE, &q, REQUEST_MAX + 1, &answer, NULL), -E2BIG);
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), 0); /* nothing was sent */
    assert_int_equal(send(ends[0], &q, 12, 0), 12);
    steward_free(steward, INT64_MAX / 2); /* does not wait for the rest */
    steward = NULL;
    assert_int_equal(recv(ends[0], &byte, 1, 0), 0);
}

static void half_a_question_waits_for_its_other_half(void **state)
{
    struct question q = { REQUEST_PROBE, sizeof q.probe, 7, { -1, getpid(), TOPIC_LIMITS } };
    struct reply reply = { 0 };
    struct pollfd p = { .fd = ends[0], .events = POLLIN };
    (void)state;

    assert_int_equal(send(ends[0], &q, 5, 0), 5);
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(send(ends[0], (char *)&q + 5, sizeof q - 5, 0), (ssize_t)sizeof q - 5);
    assert_int_equal(recv(ends[0], &reply, sizeof reply, MSG_WAITALL), sizeof reply);
    assert_int_equal(reply.result, 0);
    assert_true(reply.len > 0);
}

static void the_asker_may_hang_up_at_any_time(void **state)
{
    struct question q = { REQUEST_PROBE, sizeof q.probe, 1, { -1, getpid(), TOPIC_MAPS } };
    (void)state;

    for (size_t sent = 0; sent <= sizeof q; sent += 4) {
        steward_free(steward, INT64_MAX / 2);
        close(ends[0]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        assert_int_equal(start(), 0);
        assert_int_equal(send(ends[0], &q, sent, 0), (ssize_t)sent);
        close(ends[0]); /* the answer finds nobody */
        steward_free(steward, INT64_MAX / 2);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        assert_int_equal(start(), 0);
    }
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), 0);
}

static void stopping_hangs_up_on_the_asker(void **state)
{
    (void)state;
    steward_free(steward, INT64_MAX / 2);
    steward = NULL;
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), -EPIPE);
    assert_int_equal(ask(getpid(), -1, TOPIC_STAT), -EPIPE);
    assert_int_equal(answer.len, 0);
    assert_true(steward_free(NULL, 0));
}

static void nobody_is_waited_for_for_ever(void **state)
{
    int mute[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, mute), 0);
    int64_t from = clock_mono_ns();
    struct request_link late = { .fd = mute[0] };
    assert_int_equal(probe(&late, getpid(), -1, TOPIC_STAT), -ETIMEDOUT);
    int64_t took = clock_mono_ns() - from;
    assert_true(took > NS_PER_SECOND && took < 10 * NS_PER_SECOND);
    from = clock_mono_ns(); /* while that is being answered nothing else is asked */
    assert_int_equal(probe(&late, getpid(), -1, TOPIC_STAT), -EBUSY);
    assert_true(clock_mono_ns() - from < NS_PER_SECOND);

    /* a late answer is not taken for that to the next question */
    struct {
        struct reply head;
        char bytes[5];
    } __attribute__((packed)) first = { { 0, 5, 1 }, "late" }, second = { { 0, 5, 2 }, "next" };
    assert_int_equal(send(mute[1], &first, sizeof first, MSG_NOSIGNAL), sizeof first);
    assert_int_equal(send(mute[1], &second, sizeof second, MSG_NOSIGNAL), sizeof second);
    buf_clear(&answer);
    assert_int_equal(probe(&late, getpid(), -1, TOPIC_STAT), 0);
    assert_string_equal(buf_str(&answer), "next");
    close(mute[1]);
    assert_int_equal(probe(&late, getpid(), -1, TOPIC_STAT), -EPIPE);
    close(mute[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_crosses_the_socket_as_it_is),
        TEST(an_answer_is_appended),
        TEST(a_process_that_is_gone_or_another_is_no_fault),
        TEST(a_question_about_no_topic_is_refused),
        TEST(a_large_answer_arrives_whole),
        TEST(garbage_is_refused_and_does_not_stop_the_steward),
        TEST(descriptors_come_with_an_answer),
        TEST(a_question_that_is_too_large_is_refused),
        TEST(half_a_question_waits_for_its_other_half),
        TEST(the_asker_may_hang_up_at_any_time),
        TEST(stopping_hangs_up_on_the_asker),
        TEST(nobody_is_waited_for_for_ever),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
