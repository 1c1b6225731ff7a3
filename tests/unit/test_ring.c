/* test_ring.c - nothing is lost or torn when the reader keeps up; when it does not, the loss is told
 * to the record, whoever dies when.
 *
 * The ring's own file is included: a test looks at cursors that no function shows. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "ring/ring.c"

#define SMALLEST    ((size_t)4 * EVENT_MAX)
#define DEADLINE_MS 20000

static struct ring *ring;
static struct event_box in, out;
static uint64_t missed;

static int open_ring(void **state)
{
    (void)state;
    missed = 0;
    return ring_new(&ring, 1);
}

static int close_ring(void **state)
{
    (void)state;
    ring_free(ring);
    ring = NULL;
    return 0;
}

/* Record number n is told by its pid, and its text by both. */
static void write_record(uint64_t n, size_t text_len)
{
    static char text[EVENT_TEXT_MAX];
    event_begin(&in, EVENT_EXEC);
    event_set(&in, F_PID, (int64_t)n, WHY_KERNEL);
    memset(text, 'a' + (int)(n % 26), text_len);
    event_set_text(&in, F_EXE, text, text_len, WHY_PROC);
    if (text_len > EVENT_TEXT_MAX / 2)
        event_set_text(&in, F_CWD, text, text_len - 4096, WHY_PROC);
    ring_write(ring, &in);
}

static bool is_record(const struct event *ev, uint64_t n)
{
    size_t len;
    const char *text = event_text(ev, F_EXE, &len);
    if ((uint64_t)ev->cell[F_SEQ].num != n || (uint64_t)ev->cell[F_PID].num != n)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] != 'a' + (int)(n % 26))
            return false;
    return true;
}

static void expect(uint64_t n)
{
    assert_int_equal(ring_read(ring, 0, &out, &missed), 1);
    assert_true(is_record(&out.ev, n));
}

static void expect_none(void)
{
    assert_int_equal(ring_read(ring, 0, &out, &missed), 0);
}

/* A size from nothing to nearly the largest, the same for the same number. */
static size_t size_of(uint64_t n)
{
    uint32_t dice = (uint32_t)n * 2654435761u;
    return dice % 61 == 0 ? 61000 : dice >> 8 & 0x3ff;
}

static pid_t run(void (*child)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        child();
        _exit(0);
    }
    return pid;
}

static int reap(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool wait_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, DEADLINE_MS) == 1;
}

/* --- one process -------------------------------------------------------------------------- */

static void a_new_ring_is_empty(void **state)
{
    (void)state;
    for (int reader = 0; reader < RING_READERS; reader++) {
        assert_int_equal(ring_read(ring, reader, &out, &missed), 0);
        assert_int_equal(ring_waiting(ring, reader), 0);
    }
    assert_int_equal(ring_next_seq(ring), 1);
    assert_int_equal(ring_count(ring).records, 0);
}

static void records_come_in_order_numbered_from_one(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 100; n++)
        write_record(n, 10);
    assert_int_equal(ring_waiting(ring, 0), ring_count(ring).bytes);
    for (uint64_t n = 1; n <= 100; n++)
        expect(n);
    expect_none();
    assert_int_equal(ring_waiting(ring, 0), 0);
    assert_int_equal(ring_count(ring).records, 100);
    assert_int_equal(ring_next_seq(ring), 101);
}

static void every_reader_has_a_cursor_of_its_own(void **state)
{
    (void)state;
    write_record(1, 0);
    ring_reader_start(ring, 1); /* at the next record */
    write_record(2, 0);
    expect(1);
    assert_int_equal(ring_read(ring, 1, &out, &missed), 1);
    assert_true(is_record(&out.ev, 2));
    assert_int_equal(ring_read(ring, 1, &out, &missed), 0);
    expect(2);
}

static void the_room_is_a_power_of_two_of_at_least_four_records(void **state)
{
    static const struct {
        size_t want, get;
    } cases[] = {
        { 0, SMALLEST },
        { SMALLEST, SMALLEST },
        { SMALLEST + 1, 2 * SMALLEST },
        { (size_t)3 << 20, (size_t)4 << 20 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ring *r;
        assert_int_equal(ring_new(&r, cases[i].want), 0);
        assert_int_equal(r->size, cases[i].get);
        ring_free(r);
    }
    ring_free(NULL);
}

/* The ends of records fall onto every place around the end of the memory. */
static void a_record_over_the_edge_is_whole(void **state)
{
    (void)state;
    uint64_t n = 1, crossed = 0;
    for (size_t round = 0; round < 200; round++) {
        for (;;) {
            uint64_t before = ring->written->head;
            write_record(n, 1024 + 8 * round);
            expect(n++);
            uint64_t after = ring->written->head;
            if (before / ring->size != after / ring->size) {
                crossed += after % ring->size != 0;
                break;
            }
        }
    }
    /* and one that ends exactly at the edge */
    size_t left = ring->size - ring->written->head % ring->size;
    while (left > 30000) {
        write_record(n, 20000);
        expect(n++);
        left = ring->size - ring->written->head % ring->size;
    }
    write_record(n, left - sizeof(struct event));
    assert_int_equal(ring->written->head % ring->size, 0);
    expect(n++);
    write_record(n, 10);
    expect(n);
    assert_true(crossed > 100);
    assert_int_equal(missed, 0);
}

static void records_of_the_largest_size_fit(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 20; n++) {
        write_record(n, EVENT_TEXT_MAX);
        expect(n);
    }
}

static void an_overrun_is_told_to_the_record(void **state)
{
    (void)state;
    uint64_t n = 0, next = 1;
    for (int round = 1; round <= 300; round++) {
        for (int i = 0; i < round * 13; i++, n++)
            write_record(n + 1, size_of(n + 1));
        int got = ring_read(ring, 0, &out, &missed);
        if (got == -EOVERFLOW) {
            assert_true(missed > 0 && missed < 100000);
            next += missed;
            got = ring_read(ring, 0, &out, &missed);
        }
        assert_int_equal(got, 1);
        assert_true(is_record(&out.ev, next)); /* what is said to be missed, and no more */
        next++;
        while ((got = ring_read(ring, 0, &out, &missed)) == 1)
            assert_true(is_record(&out.ev, next++));
        assert_int_equal(got, 0);
        assert_int_equal(next, n + 1);
    }
    assert_true(n > 10000);
}

static void the_end_comes_after_the_last_record(void **state)
{
    (void)state;
    write_record(1, 5);
    write_record(2, 5);
    ring_finish(ring);
    expect(1);
    expect(2);
    assert_int_equal(ring_read(ring, 0, &out, &missed), -EPIPE);
    assert_int_equal(ring_read(ring, 0, &out, &missed), -EPIPE);
}

/* --- sleep -------------------------------------------------------------------------------- */

static bool is_awake(void)
{
    struct pollfd p = { .fd = ring_reader_fd(ring, 0), .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

static void a_sleeper_is_woken_by_a_flush_and_by_nothing_else(void **state)
{
    (void)state;
    assert_false(is_awake());
    write_record(1, 0);
    ring_flush(ring); /* not asleep: it will look by itself */
    assert_false(is_awake());
    expect(1);
    expect_none();
    ring_flush(ring); /* there is nothing */
    assert_false(is_awake());
    write_record(2, 0);
    assert_false(is_awake());
    ring_flush(ring);
    assert_true(is_awake());
    expect(2);
    expect_none();
    assert_false(is_awake());
    ring_finish(ring);
    assert_true(is_awake());
}

static void write_to_backlog(double part)
{
    while (ring_backlog(ring, 0) < part)
        write_record(1, 100);
}

static void one_that_rests_is_woken_when_so_much_waits(void **state)
{
    (void)state;
    ring_rest(ring, 0, 0.25);
    write_to_backlog(0.24);
    ring_flush(ring);
    assert_false(is_awake());
    write_to_backlog(0.25);
    ring_flush(ring);
    assert_true(is_awake());
    while (ring_waiting(ring, 0)) {
        assert_int_equal(ring_read(ring, 0, &out, &missed), 1);
        ring_done(ring, 0);
    }
    ring_rest(ring, 0, 0.25); /* what woke it is forgotten */
    write_to_backlog(0.1);
    ring_flush(ring);
    assert_false(is_awake());
    ring_finish(ring);
    assert_true(is_awake());
}

/* Each record is written only after the one before was read by a sleeper: one wake-up that is lost
 * ends it all. */
enum { PINGS = 20000 };

static int answers[2];

static void pong(void)
{
    if (ring_read_only(ring, 0) < 0)
        _exit(2);
    for (uint64_t n = 1; n <= PINGS;) {
        int got = ring_read(ring, 0, &out, &missed);
        if (got == 0 && !wait_readable(ring_reader_fd(ring, 0)))
            _exit(3);
        if (got == 0)
            continue;
        if (got != 1 || !is_record(&out.ev, n++) || write(answers[1], "", 1) != 1)
            _exit(4);
    }
}

static void no_wake_up_is_lost(void **state)
{
    char c;
    (void)state;

    assert_int_equal(pipe(answers), 0);
    pid_t pid = run(pong);
    close(answers[1]);
    for (uint64_t n = 1; n <= PINGS; n++) {
        write_record(n, 0);
        ring_flush(ring);
        if (!wait_readable(answers[0]) || read(answers[0], &c, 1) != 1) {
            kill(pid, SIGKILL);
            fail_msg("record %llu was not answered, status %d", (unsigned long long)n, reap(pid));
        }
    }
    assert_int_equal(reap(pid), 0);
    close(answers[0]);
}

/* The end and the last record come in one breath, while the reader looks. */
enum { ENDINGS = 3000 };

static void finish_at_once(void)
{
    write_record(1, 0);
    ring_finish(ring);
}

static void the_last_record_is_not_lost_to_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < ENDINGS / 10; i++) {
        close_ring(NULL);
        assert_int_equal(open_ring(NULL), 0);
        pid_t pid = run(finish_at_once);
        int got;
        while ((got = ring_read(ring, 0, &out, &missed)) == 0)
            ;
        assert_int_equal(got, 1);
        assert_int_equal(reap(pid), 0);
    }
}

/* --- two processes ------------------------------------------------------------------------ */

enum { STORM = 200000 };

/* Written so fast that the reader can keep up: it is waited for when it is half a ring behind. */
static void write_politely(void)
{
    for (uint64_t n = 1; n <= STORM; n++) {
        write_record(n, size_of(n) % 1024);
        if (n % 8 == 0)
            ring_flush(ring);
        while (ring_waiting(ring, 0) > ring->size / 2)
            sched_yield();
    }
    ring_finish(ring);
}

static void write_rudely(void)
{
    for (uint64_t n = 1; n <= STORM; n++) {
        write_record(n, size_of(n));
        if (n % 8 == 0)
            ring_flush(ring);
    }
    ring_finish(ring);
}

struct tally {
    uint64_t got, lost;
};

/* Every record is either read whole or counted as missed. */
static struct tally read_storm(int reader, bool slow)
{
    struct tally t = { 0 };
    for (;;) {
        uint64_t gone = 0;
        int got = ring_read(ring, reader, &out, &gone);
        if (got == -EPIPE)
            return t;
        if (got == 0) {
            if (!wait_readable(ring_reader_fd(ring, reader)))
                fail_msg("nobody woke the reader");
        } else if (got == -EOVERFLOW) {
            assert_true(gone > 0);
            t.lost += gone;
        } else {
            assert_int_equal(got, 1);
            t.got++;
            if (!is_record(&out.ev, t.got + t.lost))
                fail_msg("record %llu is torn or out of place",
                         (unsigned long long)(t.got + t.lost));
            if (slow && t.got % 64 == 0)
                sched_yield();
        }
    }
}

static void nothing_is_lost_or_torn_when_the_reader_keeps_up(void **state)
{
    (void)state;
    pid_t pid = run(write_politely);
    struct tally t = read_storm(0, false);
    assert_int_equal(reap(pid), 0);
    assert_int_equal(t.got, STORM);
    assert_int_equal(t.lost, 0);
}

static void the_loss_is_exact_when_the_reader_does_not_keep_up(void **state)
{
    (void)state;
    pid_t pid = run(write_rudely);
    struct tally t = read_storm(0, true);
    assert_int_equal(reap(pid), 0);
    print_message("  %d written, %llu read, %llu missed\n", STORM, (unsigned long long)t.got,
                  (unsigned long long)t.lost);
    assert_int_equal(t.got + t.lost, STORM);
}

/* --- the board ---------------------------------------------------------------------------- */

enum { POSTS = 300000 };

static void post_all(void)
{
    for (uint64_t n = 1; n <= POSTS; n++) {
        uint64_t words[RING_BOARD];
        for (int i = 0; i < RING_BOARD; i++)
            words[i] = n + (uint64_t)i;
        ring_post(ring, words, RING_BOARD);
    }
}

/* The words of one post are never mixed with those of another. */
static void what_was_posted_is_read_whole(void **state)
{
    uint64_t words[RING_BOARD], last = 0, seen = 0;
    (void)state;
    ring_posted(ring, words, RING_BOARD);
    for (int i = 0; i < RING_BOARD; i++)
        assert_int_equal(words[i], 0);

    pid_t pid = run(post_all);
    while (last < POSTS) {
        ring_posted(ring, words, RING_BOARD);
        if (!words[0])
            continue;
        for (int i = 0; i < RING_BOARD; i++)
            assert_int_equal(words[i], words[0] + (uint64_t)i);
        assert_true(words[0] >= last);
        seen += words[0] != last;
        last = words[0];
    }
    assert_int_equal(reap(pid), 0);
    print_message("  %llu of %d posts seen\n", (unsigned long long)seen, POSTS);
}

static void a_writer_that_died_in_a_post_does_not_hold_the_reader(void **state)
{
    uint64_t word = 7;
    (void)state;
    ring_post(ring, &word, 1);
    atomic_store(&ring->written->posts, 1);
    word = 0;
    ring_posted(ring, &word, 1);
    assert_int_equal(word, 7);
}

static void a_read_only_reader_sees_the_board(void **state)
{
    uint64_t word = 7;
    (void)state;
    ring_post(ring, &word, 1);
    assert_int_equal(ring_read_only(ring, 0), 0);
    word = 0;
    ring_posted(ring, &word, 1);
    assert_int_equal(word, 7);
}

static void the_backlog_is_a_part_of_the_ring(void **state)
{
    (void)state;
    assert_true(ring_backlog(ring, 0) == 0);
    while (ring_waiting(ring, 0) * 2 < ring->size)
        write_record(1, 100);
    assert_true(ring_backlog(ring, 0) >= 0.5 && ring_backlog(ring, 0) < 0.51);
}

/* --- a reader that may only read ---------------------------------------------------------- */

static void store_into_records(void)
{
    ring_read_only(ring, 0);
    signal(SIGSEGV, SIG_DFL); /* the sanitizer's handler would exit instead */
    *(volatile char *)ring->data = 'x';
}

static void store_into_counters(void)
{
    ring_read_only(ring, 0);
    signal(SIGSEGV, SIG_DFL);
    *(volatile uint32_t *)&ring->written->finished = 1;
}

static void a_reader_that_writes_faults(void **state)
{
    void (*const attempts[])(void) = { store_into_records, store_into_counters };
    struct rlimit none = { 0, 0 };
    (void)state;

    setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < 2; i++) {
        int status = reap(run(attempts[i]));
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    }
    assert_int_equal(ring->data[0], 0);
    assert_int_equal(ring_read(ring, 0, &out, &missed), 0);
}

/* Each way to write that is refused is one bit. */
static void try_to_take_it_back(void)
{
    int refused = 0;
    char path[64];
    if (ring_read_only(ring, 0) < 0)
        _exit(100);

    refused |= (mprotect(ring->data, ring->size, PROT_READ | PROT_WRITE) < 0) << 0;
    refused |= (mprotect(ring->written, 4096, PROT_READ | PROT_WRITE) < 0) << 1;
    refused |= (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0) == MAP_FAILED)
               << 2;
    refused |= (pwrite(ring->fd, "x", 1, 4096) < 0) << 3;
    refused |= (ftruncate(ring->fd, 0) < 0) << 4;
    snprintf(path, sizeof path, "/proc/self/fd/%d", ring->fd);
    int again = open(path, O_RDWR);
    refused |= (again < 0 || pwrite(again, "x", 1, 4096) < 0) << 5;
    int mem = open("/proc/self/mem", O_RDWR); /* as debuggers write into read-only memory */
    refused |= (mem < 0 || pwrite(mem, "x", 1, (off_t)(uintptr_t)ring->data) < 0) << 6;
    _exit(refused);
}

static void what_was_given_up_cannot_be_taken_back(void **state)
{
    (void)state;
    int status = reap(run(try_to_take_it_back));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0x7f);
    assert_int_equal(ring->data[0], 0);
}

static void the_writer_still_writes_after_a_reader_gave_up_writing(void **state)
{
    (void)state;
    answers[0] = answers[1] = -1;
    pid_t pid = run(write_politely);
    assert_int_equal(ring_read_only(ring, 0), 0);
    struct tally t = read_storm(0, false);
    assert_int_equal(reap(pid), 0);
    assert_int_equal(t.got, STORM);
}

/* --- a reader that dies ------------------------------------------------------------------- */

static void read_until_killed(void)
{
    for (uint64_t n = 1;;) {
        int got = ring_read(ring, 0, &out, &missed);
        if (got == 1 && (!is_record(&out.ev, n) || write(answers[1], &n, sizeof n) != sizeof n))
            _exit(1);
        n += got == 1;
    }
}

static void a_second_reader_goes_on_where_the_first_was_killed(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        uint64_t told, last = 0;
        close_ring(NULL);
        assert_int_equal(open_ring(NULL), 0);
        assert_int_equal(pipe(answers), 0);
        pid_t pid = run(read_until_killed);
        for (uint64_t n = 1; n <= 200; n++) {
            write_record(n, 50);
            if (n == 20 + 2u * (unsigned)round)
                while (last == 0) /* it lives */
                    assert_int_equal(read(answers[0], &last, sizeof last), sizeof last);
        }
        kill(pid, SIGKILL);
        assert_true(WIFSIGNALED(reap(pid)));
        close(answers[1]);
        while (read(answers[0], &told, sizeof told) == sizeof told)
            last = told;
        close(answers[0]);

        ring_reader_resume(ring, 0);
        int got = ring_read(ring, 0, &out, &missed);
        if (last == 200 && got == 0)
            continue;
        assert_int_equal(got, 1);
        uint64_t next = (uint64_t)out.ev.cell[F_SEQ].num;
        assert_true(next == last || next == last + 1); /* what it had in its hands comes again */
        while (next < 200)
            expect(++next);
        expect_none();
        assert_int_equal(missed, 0);
    }
}

/* The cursor of reader 0 at one instant of a call that a traced child is making. */
struct instant {
    uint64_t at, seq, asleep;
};

static struct instant note_instant(void)
{
    return (struct instant){ ring->readers[0]->at, ring->readers[0]->seq, ring->readers[0]->asleep };
}

static void go_back_to(struct instant i)
{
    ring->readers[0]->at = i.at;
    ring->readers[0]->seq = i.seq;
    ring->readers[0]->asleep = i.asleep;
}

static void stop_and_read(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    ring_read(ring, 0, &out, &missed);
    raise(SIGSTOP);
}

/* Make a child call ring_read one instruction at a time; where it would leave another cursor behind
 * if it were killed now, look what its successor gets. */
static int step_through(void (*look)(uint64_t cursors))
{
    int status, steps = 0;
    uint64_t cursors = 0;
    struct instant last = note_instant();
    pid_t pid = run(stop_and_read);

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status)) {
        print_message("skipped: ptrace is not permitted here\n");
        skip();
    }
    for (; steps < 2000000; steps++) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSTOPPED(status));
        if (WSTOPSIG(status) != SIGTRAP)
            break; /* the second SIGSTOP */
        struct instant now = note_instant();
        if (now.at == last.at && now.seq == last.seq)
            continue;
        look(++cursors);
        last = now;
        go_back_to(now);
    }
    kill(pid, SIGKILL);
    reap(pid);
    assert_true(cursors > 0);
    return steps;
}

/* The record that the dead one was done with counts as missed until its number was moved, too. */
static void the_next_record_and_one_missed_at_most(uint64_t cursors)
{
    uint64_t gone = 0;
    ring_reader_resume(ring, 0);
    int got = ring_read(ring, 0, &out, &gone);
    if (cursors == 1) {
        assert_int_equal(got, -EOVERFLOW);
        assert_int_equal(gone, 1);
        got = ring_read(ring, 0, &out, &gone);
    }
    assert_int_equal(got, 1);
    assert_true(is_record(&out.ev, 3));
    expect(4);
}

static void a_reader_killed_at_any_instruction_leaves_a_cursor_that_fits(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 6; n++)
        write_record(n, 10);
    expect(1);
    expect(2);
    int steps = step_through(the_next_record_and_one_missed_at_most);
    print_message("  %d instructions\n", steps);
}

static uint64_t oldest; /* that is still there */

/* Until both halves of the cursor are moved the loss has not been told, so it is told again. */
static void the_loss_is_told(uint64_t cursors)
{
    uint64_t gone = 0;
    ring_reader_resume(ring, 0);
    int got = ring_read(ring, 0, &out, &gone);
    if (cursors == 1) {
        assert_int_equal(got, -EOVERFLOW);
        assert_int_equal(gone, oldest - 3);
        got = ring_read(ring, 0, &out, &gone);
    }
    assert_int_equal(got, 1);
    assert_true(is_record(&out.ev, oldest));
}

static void a_loss_is_told_though_its_finder_was_killed(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (; n <= 4; n++)
        write_record(n, 10);
    expect(1);
    expect(2);
    ring_done(ring, 0);
    while (ring->written->tail <= ring->readers[0]->at)
        write_record(n++, 60000);
    oldest = (uint64_t)record_at(ring, ring->written->tail)->cell[F_SEQ].num;
    step_through(the_loss_is_told);
}

static void what_was_not_done_with_comes_again(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 4; n++)
        write_record(n, 10);
    expect(1);
    expect(2);
    ring_reader_resume(ring, 0); /* as a successor does */
    expect(2);
    ring_done(ring, 0);
    ring_reader_resume(ring, 0);
    expect(3);
    expect(4);
    expect_none();
    ring_reader_resume(ring, 0);
    expect_none(); /* who asked for the next one was done with the last */
    assert_int_equal(missed, 0);
}

/* --- damage ------------------------------------------------------------------------------- */

static void what_is_no_record_is_refused(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint32_t value;
    } cases[] = {
        { "no size", offsetof(struct event, size), 0 },
        { "a size below the smallest", offsetof(struct event, size), 16 },
        { "a size not of eights", offsetof(struct event, size), sizeof(struct event) + 3 },
        { "a huge size", offsetof(struct event, size), UINT32_MAX },
        { "a size beyond the largest", offsetof(struct event, size), EVENT_MAX + 8 },
        { "another version", offsetof(struct event, version), 77 },
        { "text outside", offsetof(struct event, cell[F_EXE].text.off), 1u << 30 },
        { "text inside the header", offsetof(struct event, cell[F_EXE].text.off), 8 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        close_ring(NULL);
        assert_int_equal(open_ring(NULL), 0);
        write_record(1, 20);
        memcpy(ring->data + cases[i].at, &cases[i].value, sizeof cases[i].value);
        int got = ring_read(ring, 0, &out, &missed);
        if (got != -EBADMSG)
            fail_msg("%s: %d", cases[i].why, got);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_ring, close_ring)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_ring_is_empty),
        TEST(records_come_in_order_numbered_from_one),
        TEST(every_reader_has_a_cursor_of_its_own),
        TEST(the_room_is_a_power_of_two_of_at_least_four_records),
        TEST(a_record_over_the_edge_is_whole),
        TEST(records_of_the_largest_size_fit),
        TEST(an_overrun_is_told_to_the_record),
        TEST(the_end_comes_after_the_last_record),
        TEST(a_sleeper_is_woken_by_a_flush_and_by_nothing_else),
        TEST(one_that_rests_is_woken_when_so_much_waits),
        TEST(no_wake_up_is_lost),
        TEST(the_last_record_is_not_lost_to_the_end),
        TEST(nothing_is_lost_or_torn_when_the_reader_keeps_up),
        TEST(what_was_posted_is_read_whole),
        TEST(a_writer_that_died_in_a_post_does_not_hold_the_reader),
        TEST(a_read_only_reader_sees_the_board),
        TEST(the_backlog_is_a_part_of_the_ring),
        TEST(the_loss_is_exact_when_the_reader_does_not_keep_up),
        TEST(a_reader_that_writes_faults),
        TEST(what_was_given_up_cannot_be_taken_back),
        TEST(the_writer_still_writes_after_a_reader_gave_up_writing),
        TEST(a_second_reader_goes_on_where_the_first_was_killed),
        TEST(a_reader_killed_at_any_instruction_leaves_a_cursor_that_fits),
        TEST(a_loss_is_told_though_its_finder_was_killed),
        TEST(what_was_not_done_with_comes_again),
        TEST(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
