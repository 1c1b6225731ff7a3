/* test_sink.c - what is written arrives whole and in order; what cannot be written waits, and the
 * operator hears of it once. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/sink.h"

static struct sink *sink;
static int memory, reader;
static char said[4096];
static int64_t now;

static void note_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    strncat(said, text, sizeof said - strlen(said) - 1);
    strcat(said, "\n");
}

static int setup(void **state)
{
    (void)state;
    *said = '\0';
    now = clock_mono_ns();
    reader = -1;
    log_to(note_log, NULL);
    memory = queue_make(SPEC_QUEUE_MIN);
    return memory < 0;
}

static int teardown(void **state)
{
    (void)state;
    sink_close(sink);
    sink = NULL;
    close(memory);
    if (reader >= 0)
        close(reader);
    log_to(NULL, NULL);
    return 0;
}

/* A worker's life begins: the target is given away. */
static void live(enum sink_kind kind, enum place_target target, int fd)
{
    struct sink_spec spec = { .kind = kind, .queue = SPEC_QUEUE_MIN };
    struct keeper_answer answer = { .id = 1, .target = target };
    int fds[] = { dup(memory), fd };
    sink_close(sink);
    assert_int_equal(sink_open(&sink, &spec, &answer, fds, fd < 0 ? 1 : 2), 0);
}

static void push(const char *line)
{
    sink_push(sink, line, strlen(line));
}

static void expect_read(const char *want)
{
    char got[65536];
    ssize_t len = read(reader, got, sizeof got - 1);
    got[len > 0 ? len : 0] = '\0';
    assert_string_equal(got, want);
}

static int open_pipe(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    reader = ends[0];
    return ends[1];
}

static int open_socket(int type)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    reader = ends[0];
    return ends[1];
}

static void a_pipe_gets_lines(void **state)
{
    (void)state;
    live(SINK_EXEC, PLACE_PIPE, open_pipe());
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    push("one\n");
    push("two\n");
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("one\ntwo\n");
    assert_int_equal(sink_count(sink).records.sent, 2);
    assert_string_equal(said, "");
}

static void a_full_pipe_is_waited_for_and_goes_on_byte_exact(void **state)
{
    static char long_line[10001], got[400000], want[400000];
    size_t len = 0, wanted = 0;
    (void)state;
    memset(long_line, 'x', sizeof long_line - 2);
    long_line[sizeof long_line - 2] = '\n';
    live(SINK_EXEC, PLACE_PIPE, open_pipe());
    bool stopped = false;
    for (int i = 0; i < 30; i++) {
        push(long_line);
        memcpy(want + wanted, long_line, sizeof long_line - 1);
        wanted += sizeof long_line - 1;
        if (sink_write(sink, now) == SINK_MORE)
            stopped = true;
        if (i % 3 == 2) /* dies and is followed by another */
            live(SINK_EXEC, PLACE_PIPE, dup(sink_fd(sink)));
        ssize_t more = read(reader, got + len, 7001);
        len += more > 0 ? (size_t)more : 0;
    }
    assert_true(stopped);
    while (!sink_is_empty(sink) || len < wanted) {
        ssize_t more = read(reader, got + len, 7001);
        len += more > 0 ? (size_t)more : 0;
        sink_write(sink, now);
    }
    assert_int_equal(sink_count(sink).records.dropped, 0);
    assert_int_equal(len, wanted);
    assert_memory_equal(got, want, len);
}

static void drops_are_told_with_their_number(void **state)
{
    char line[1001];
    (void)state;
    memset(line, 'x', 999);
    strcpy(line + 999, "\n");
    live(SINK_UNIX, PLACE_NONE, -1);
    for (int i = 0; i < 100; i++)
        push(line);
    uint64_t dropped = sink_count(sink).records.dropped;
    assert_int_equal(dropped + sink_count(sink).records.queued, 100);
    char want[64];
    snprintf(want, sizeof want, "sink unix: %d dropped (queue full)\n", (int)dropped);
    live(SINK_UNIX, PLACE_NONE, -1); /* the next one tells for who died */
    sink_tell(sink);
    sink_tell(sink);
    assert_string_equal(said, want);
}

static void datagrams_are_records_without_their_newline(void **state)
{
    (void)state;
    live(SINK_SYSLOG, PLACE_DATAGRAM, open_socket(SOCK_DGRAM));
    push("one\n");
    push("two\n");
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("one");
    expect_read("two");
    live(SINK_JOURNALD, PLACE_DATAGRAM, dup(sink_fd(sink)));
    push("MESSAGE=x\n");
    sink_write(sink, now);
    expect_read("MESSAGE=x\n");
}

static void a_datagram_that_is_too_long_is_dropped_and_told(void **state)
{
    static char line[60001];
    int size = 4096, fd = open_socket(SOCK_DGRAM);
    (void)state;
    memset(line, 'x', 60000);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    live(SINK_SYSLOG, PLACE_DATAGRAM, fd);
    push(line);
    push("next\n");
    assert_int_equal(sink_write(sink, now), SINK_MORE);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("next");
    assert_int_equal(sink_count(sink).records.dropped, 1);
    assert_string_equal(said, "sink syslog: 1 dropped (too long for a datagram)\n");
    sink_tell(sink);
    assert_string_equal(said, "sink syslog: 1 dropped (too long for a datagram)\n");
}

static void a_reader_that_vanished_is_looked_for_with_patience(void **state)
{
    struct keeper_answer failed = { .id = 1, .error = ECONNREFUSED, .why = "nobody" };
    struct keeper_answer good = { .id = 1, .target = PLACE_STREAM };
    (void)state;
    live(SINK_UNIX, PLACE_STREAM, open_socket(SOCK_STREAM));
    close(reader);
    push("one\n");
    assert_int_equal(sink_write(sink, now), SINK_LATER);
    assert_int_equal(sink_fd(sink), -1);
    assert_int_equal(sink_write(sink, now), SINK_LATER);
    now = sink_retry_ns(sink);
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    assert_int_equal(sink_asks(sink), KEEPER_REOPEN);
    sink_tended(sink, &failed, -1, now);
    assert_true(sink_retry_ns(sink) >= now + 2 * NS_PER_SECOND);
    assert_int_equal(sink_write(sink, now), SINK_LATER);
    now = sink_retry_ns(sink);
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    sink_tended(sink, &good, open_socket(SOCK_STREAM), now);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("one\n");
    assert_string_equal(said, "sink unix: Broken pipe; records wait in the queue\n"
                              "sink unix: it takes records again\n");
    assert_int_equal(sink_count(sink).errors, 2);
}

static void a_new_reader_gets_the_record_from_its_beginning(void **state)
{
    static char line[40001];
    struct keeper_answer good = { .id = 1, .target = PLACE_PIPE };
    (void)state;
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    live(SINK_UNIX, PLACE_PIPE, open_pipe());
    assert_true(fcntl(reader, F_SETPIPE_SZ, 4096) > 0);
    push(line);
    assert_int_equal(sink_write(sink, now), SINK_MORE);
    close(reader);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(sink_write(sink, now), SINK_LATER);
    sink_tended(sink, &good, open_pipe(), now);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read(line);
}

/* --- files ------------------------------------------------------------------------------------ */

static char path[64];

/* The first time it asks whether the path leads to the file: it does. */
static enum sink_turn write_checked(void)
{
    struct keeper_answer none = { .id = 1 };
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    assert_int_equal(sink_asks(sink), KEEPER_CHECK);
    sink_tended(sink, &none, -1, now);
    return sink_write(sink, now);
}

static int open_file(void)
{
    strcpy(path, "/tmp/moonwatch-sink-XXXXXX");
    int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    reader = open(path, O_RDONLY | O_CLOEXEC);
    return fd;
}

static void a_full_disk_keeps_what_it_cannot_take(void **state)
{
    struct keeper_answer good = { .id = 1, .target = PLACE_FILE }, none = { .id = 1 };
    (void)state;
    live(SINK_FILE, PLACE_FILE, open("/dev/full", O_WRONLY | O_CLOEXEC));
    push("one\n");
    assert_int_equal(write_checked(), SINK_LATER);
    now = sink_retry_ns(sink);
    enum sink_turn turn = sink_write(sink, now);
    if (turn == SINK_ASKS) {
        sink_tended(sink, &none, -1, now);
        turn = sink_write(sink, now);
    }
    assert_int_equal(turn, SINK_LATER);
    assert_string_equal(said, "sink file: No space left on device; records wait in the queue\n");
    sink_tended(sink, &good, open_file(), now);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("one\n");
    assert_non_null(strstr(said, "it takes records again"));
    unlink(path);
}

static void a_file_that_somebody_touched_is_asked_about_before_the_next_record(void **state)
{
    struct keeper_answer none = { .id = 1 };
    char moved[80];
    (void)state;
    live(SINK_FILE, PLACE_FILE, open_file());
    push("one\n");
    assert_int_equal(write_checked(), SINK_DONE);
    push("two\n");
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    usleep(20000); /* a tick of the kernel's clock for times of change */
    snprintf(moved, sizeof moved, "%s.1", path);
    assert_int_equal(rename(path, moved), 0);
    push("three\n");
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    assert_int_equal(sink_asks(sink), KEEPER_CHECK);
    sink_tended(sink, &none, -1, now);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    push("four\n");
    assert_int_equal(sink_write(sink, now + 2 * NS_PER_SECOND), SINK_ASKS); /* and now and then */
    unlink(moved);
}

static void a_file_that_cannot_be_opened_anew_is_not_written_to_where_it_was(void **state)
{
    struct keeper_answer gone = { .id = 1, .error = ENOENT, .why = "cannot reach it" };
    struct keeper_answer good = { .id = 1, .target = PLACE_FILE };
    (void)state;
    live(SINK_FILE, PLACE_FILE, open_file());
    push("one\n");
    assert_int_equal(write_checked(), SINK_DONE);
    unlink(path);
    for (int i = 0; i < 3; i++) {
        push("two\n");
        assert_int_equal(sink_write(sink, now), SINK_ASKS);
        sink_tended(sink, &gone, -1, now);
        assert_int_equal(sink_write(sink, now), SINK_LATER);
        assert_int_equal(sink_retry_ns(sink), now + NS_PER_SECOND); /* as long as it takes */
        now = sink_retry_ns(sink);
    }
    assert_int_equal(sink_count(sink).records.sent, 1);
    assert_int_equal(sink_count(sink).records.queued, 3);
    close(reader);
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    assert_int_equal(sink_asks(sink), KEEPER_REOPEN);
    sink_tended(sink, &good, open_file(), now);
    assert_int_equal(sink_write(sink, now), SINK_DONE);
    expect_read("two\ntwo\ntwo\n");
    assert_string_equal(said, "sink file: cannot reach it; records wait in the queue\n"
                              "sink file: it takes records again\n");
    unlink(path);
}

static void a_large_file_asks_for_rotation_between_records(void **state)
{
    struct sink_spec spec = {
        .kind = SINK_FILE, .queue = SPEC_QUEUE_MIN, .rotate = 4096, .keep = 1
    };
    struct keeper_answer answer = { .id = 1, .target = PLACE_FILE };
    static char line[5001];
    (void)state;
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    int fds[] = { dup(memory), open_file() };
    assert_int_equal(sink_open(&sink, &spec, &answer, fds, 2), 0);
    push(line);
    assert_int_equal(write_checked(), SINK_DONE);
    push("two\n");
    assert_int_equal(sink_write(sink, now), SINK_ASKS);
    assert_int_equal(sink_asks(sink), KEEPER_ROTATE);
    sink_tended(sink, &(struct keeper_answer){ .error = EACCES, .why = "no" }, -1, now);
    assert_int_equal(sink_write(sink, now), SINK_DONE); /* rather too large than lost */
    unlink(path);
}

static void who_died_while_writing_is_settled_by_the_files_size(void **state)
{
    struct queue queue;
    (void)state;
    live(SINK_FILE, PLACE_FILE, open_file());
    push("one\n");
    push("two\n");
    int fd = dup(sink_fd(sink));
    assert_int_equal(queue_attach(&queue, memory, SPEC_QUEUE_MIN, SINK_DROP_OLDEST, -1, 0), 0);
    queue_intend(&queue, 8, 0);
    assert_int_equal(write(fd, "one\ntw", 6), 6); /* and dead */
    queue_detach(&queue);
    live(SINK_FILE, PLACE_FILE, fd);
    sink_write(sink, now); /* in the middle of a record nothing is asked */
    expect_read("one\ntwo\n");
    assert_string_equal(said, "");
    unlink(path);
}

static void wrong_descriptors_are_refused_and_closed(void **state)
{
    struct sink_spec spec = { .kind = SINK_FILE, .queue = SPEC_QUEUE_MIN };
    struct keeper_answer answer = { .id = 1, .target = PLACE_FILE };
    int fds[] = { dup(memory), dup(0), dup(0) };
    (void)state;
    assert_int_equal(sink_open(&sink, &spec, &answer, fds, 1), -EPROTO);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    fds[0] = dup(0);
    assert_int_equal(sink_open(&sink, &spec, &answer, fds, 2), -EINVAL); /* no queue's memory */
    assert_int_equal(fcntl(fds[1], F_GETFD), -1);
    close(fds[2]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pipe_gets_lines),
        TEST(a_full_pipe_is_waited_for_and_goes_on_byte_exact),
        TEST(drops_are_told_with_their_number),
        TEST(datagrams_are_records_without_their_newline),
        TEST(a_datagram_that_is_too_long_is_dropped_and_told),
        TEST(a_reader_that_vanished_is_looked_for_with_patience),
        TEST(a_new_reader_gets_the_record_from_its_beginning),
        TEST(a_full_disk_keeps_what_it_cannot_take),
        TEST(a_file_that_somebody_touched_is_asked_about_before_the_next_record),
        TEST(a_file_that_cannot_be_opened_anew_is_not_written_to_where_it_was),
        TEST(a_large_file_asks_for_rotation_between_records),
        TEST(who_died_while_writing_is_settled_by_the_files_size),
        TEST(wrong_descriptors_are_refused_and_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
