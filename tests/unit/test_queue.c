/* test_queue.c - records come out whole, in order and once, whoever dies when, and what is given up
 * is counted to the record.
 *
 * The queue's own file is included: a test writes into the memory that nobody may trust. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "sink/queue.c"

#define SIZE  SPEC_QUEUE_MIN
#define SPOOL ((uint64_t)2 * SPEC_QUEUE_MIN)
#define PARTS 64

static struct queue queue;
static int memory = -1, spool = -1;

static int new_memory(void **state)
{
    (void)state;
    memory = queue_make(SIZE);
    spool = memfd_create("test-spool", MFD_CLOEXEC);
    return memory < 0 || spool < 0;
}

static int free_memory(void **state)
{
    (void)state;
    queue_detach(&queue);
    close(memory);
    close(spool);
    return 0;
}

static int attach(enum sink_full full)
{
    queue_detach(&queue);
    return queue_attach(&queue, memory, SIZE, full, full == SINK_SPOOL ? spool : -1, SPOOL);
}

/* Record n tells its number and has a length that follows from it. */
static size_t make_record(uint64_t n, char *to)
{
    size_t len = (size_t)sprintf(to, "%llu:", (unsigned long long)n);
    size_t more = n % 97 == 0 ? 9000 : n * 7919 % 600;
    memset(to + len, 'a' + (int)(n % 26), more);
    to[len + more] = '\n';
    return len + more + 1;
}

static bool push_number(uint64_t n)
{
    static char record[16384];
    return queue_push(&queue, record, make_record(n, record));
}

/* --- against a model ---------------------------------------------------------------------- */

/* The plainest queue there is: which records wait, and how far the first one is written. */
struct model {
    uint64_t numbers[8192];
    int first, len;
    size_t at;
    uint64_t dropped, sent, pushed;
};

static struct model model;

static void expect_bytes(const struct iovec *part, size_t len)
{
    static char record[16384];
    for (size_t i = 0; i < len;) {
        assert_true(model.len > 0);
        size_t size = make_record(model.numbers[model.first], record);
        size_t n = size - model.at < len - i ? size - model.at : len - i;
        assert_memory_equal((const char *)part->iov_base + i, record + model.at, n);
        i += n;
        model.at += n;
        if (model.at == size) {
            model.at = 0;
            model.first++;
            model.len--;
            model.sent++;
        }
    }
}

static void write_some(size_t most, size_t reader_takes)
{
    struct iovec parts[PARTS];
    int n = queue_next(&queue, parts, PARTS, most);
    size_t offered = 0, left;
    for (int i = 0; i < n; i++)
        offered += parts[i].iov_len;
    assert_true(offered <= most);
    size_t taken = offered < reader_takes ? offered : reader_takes;
    queue_intend(&queue, offered, 0);
    left = taken;
    for (int i = 0; i < n && left; i++) {
        size_t part = parts[i].iov_len < left ? parts[i].iov_len : left;
        expect_bytes(&parts[i], part);
        left -= part;
    }
    queue_wrote(&queue, taken);
}

static void expect_counts(void)
{
    struct queue_counts count = queue_count(&queue);
    assert_int_equal(count.sent, model.sent);
    assert_int_equal(count.dropped, model.dropped);
    assert_int_equal(count.queued + count.spooled, model.len);
    assert_int_equal(count.doubtful, 0);
    assert_int_equal(count.sent + count.dropped + count.queued + count.spooled, model.pushed);
}

/* What the policy says of a record that finds no room is taken from the count; that the right ones
 * went, from the bytes that come out. */
static void push_one(enum sink_full full)
{
    uint64_t before = queue_count(&queue).dropped;
    uint64_t n = model.pushed++;
    bool kept = push_number(n);
    uint64_t dropped = queue_count(&queue).dropped - before;
    assert_int_equal(dropped == 0, kept);
    model.dropped += dropped;
    if (full != SINK_DROP_OLDEST && dropped) {
        assert_int_equal(dropped, 1);
        return;
    }
    int begun = model.at > 0; /* that one is never given up */
    for (uint64_t i = 0; i < dropped; i++) {
        assert_true(model.len > begun);
        if (begun)
            model.numbers[model.first + 1] = model.numbers[model.first];
        model.first++;
        model.len--;
    }
    model.numbers[model.first + model.len++] = n;
}

static void run_against_model(enum sink_full full, unsigned seed)
{
    model = (struct model){ 0 };
    srand(seed);
    assert_int_equal(attach(full), 0);
    for (int step = 0; step < 6000; step++) {
        int what = rand() % 100, busy = step / 1000 % 2;
        if (what < (busy ? 90 : 40))
            push_one(full);
        else if (what < 97)
            write_some(1 + (size_t)rand() % 30000, (size_t)rand() % (busy ? 2000 : 20000));
        else
            assert_int_equal(attach(full), 0);
        expect_counts();
    }
    assert_true(model.dropped > 0);
    while (!queue_is_empty(&queue))
        write_some(4096, 4096);
    expect_counts();
    assert_int_equal(model.len, 0);
}

static void oldest_records_give_way(void **state)
{
    (void)state;
    run_against_model(SINK_DROP_OLDEST, 1);
}

static void newest_records_are_refused(void **state)
{
    (void)state;
    run_against_model(SINK_DROP_NEWEST, 2);
}

static void what_was_spooled_comes_back_in_order(void **state)
{
    (void)state;
    run_against_model(SINK_SPOOL, 3);
    assert_true(queue_holds_disk(&queue));
    assert_int_equal(ftruncate(spool, 0), 0); /* not ours to do */
    assert_false(queue_holds_disk(&queue));
}

/* --- death at any instruction ------------------------------------------------------------- */

static uint64_t pushed_so_far(void)
{
    struct queue_counts c = queue_count(&queue);
    return c.sent + c.dropped + c.queued + c.spooled;
}

static off_t size_of(int fd)
{
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    return about.st_size;
}

/* As a sink does it; `most` makes it write records in parts. */
static void write_to_file(int file, size_t most)
{
    struct iovec parts[PARTS];
    size_t bytes = 0;
    int n = queue_next(&queue, parts, PARTS, most);
    for (int i = 0; i < n; i++)
        bytes += parts[i].iov_len;
    queue_intend(&queue, bytes, (uint64_t)lseek(file, 0, SEEK_END));
    ssize_t done = writev(file, parts, n);
    queue_wrote(&queue, done > 0 ? (size_t)done : 0);
}

static void settle(int file)
{
    if (queue_in_doubt(&queue))
        queue_settle(&queue, true, (uint64_t)size_of(file));
}

/* A little of everything: fill until records are given up or spooled, write whole ones and parts.
 */
static void live(int file)
{
    push_number(pushed_so_far());
    push_number(pushed_so_far());
    write_to_file(file, 700);
    write_to_file(file, 3000);
    push_number(pushed_so_far());
}

/* All lines whole, their numbers growing; returns how many. */
static uint64_t check_file(int file)
{
    static char record[16384];
    ssize_t len = (ssize_t)size_of(file);
    uint64_t lines = 0, next = 0;
    char *text = mmap(NULL, (size_t)len, PROT_READ, MAP_SHARED, file, 0);
    assert_ptr_not_equal(text, MAP_FAILED);
    for (ssize_t at = 0; at < len; lines++) {
        uint64_t n = strtoull(text + at, NULL, 10);
        size_t size = make_record(n, record);
        assert_true(n >= next);
        assert_true(at + (ssize_t)size <= len);
        assert_memory_equal(text + at, record, size);
        next = n + 1;
        at += (ssize_t)size;
    }
    munmap(text, (size_t)len);
    return lines;
}

static int copy_of(int fd)
{
    int copy = memfd_create("test-copy", MFD_CLOEXEC);
    off_t from = 0, size = size_of(fd);
    while (from < size && sendfile(copy, fd, &from, (size_t)(size - from)) > 0)
        ;
    assert_int_equal(from, size);
    return copy;
}

/* The writer is dead as of now: what the next one makes of all this must be whole. */
static void look(enum sink_full full, int file)
{
    int after = copy_of(memory), file_after = copy_of(file), spool_after = copy_of(spool);
    struct queue kept = queue;
    assert_int_equal(
        queue_attach(&queue, after, SIZE, full, full == SINK_SPOOL ? spool_after : -1, SPOOL), 0);
    settle(file_after);
    uint64_t pushed = pushed_so_far(), dropped = queue_count(&queue).dropped;
    assert_true(pushed >= 400);
    while (!queue_is_empty(&queue))
        write_to_file(file_after, 65536);
    assert_int_equal(check_file(file_after), pushed - dropped);
    assert_int_equal(queue_count(&queue).sent, pushed - dropped);
    assert_int_equal(queue_count(&queue).doubtful, 0);
    queue_detach(&queue);
    queue = kept;
    close(after);
    close(file_after);
    close(spool_after);
}

/* Instruction by instruction; whatever changes in the memory is looked at. */
static void die_everywhere(enum sink_full full)
{
    int file = memfd_create("test-file", MFD_CLOEXEC), status, looks = 0;
    struct queue_shared last;
    assert_int_equal(attach(full), 0);
    for (int i = 0; i < 400; i++) /* full from the start */
        push_number((uint64_t)i);
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        live(file);
        raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    last = *queue.shared;
    while (WIFSTOPPED(status) && (WSTOPSIG(status) != SIGSTOP || !looks)) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!memcmp(&last, queue.shared, sizeof last))
            continue;
        last = *queue.shared;
        looks++;
        look(full, file);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_true(looks > 15);
    close(file);
}

static void no_instruction_is_a_bad_one_to_die_at_dropping_the_oldest(void **state)
{
    (void)state;
    die_everywhere(SINK_DROP_OLDEST);
}

static void no_instruction_is_a_bad_one_to_die_at_dropping_the_newest(void **state)
{
    (void)state;
    die_everywhere(SINK_DROP_NEWEST);
}

static void no_instruction_is_a_bad_one_to_die_at_spooling(void **state)
{
    (void)state;
    die_everywhere(SINK_SPOOL);
}

/* The same at full speed: a child that never stops by itself is killed again and again. */
static void a_writer_that_is_killed_leaves_whole_lines(void **state)
{
    int file = memfd_create("test-file", MFD_CLOEXEC);
    (void)state;
    assert_int_equal(attach(SINK_DROP_NEWEST), 0);
    for (int death = 0; death < 40; death++) {
        uint64_t before = pushed_so_far();
        pid_t child = fork();
        for (; child == 0; write_to_file(file, 3000))
            for (int i = 0; i < 4; i++)
                push_number(pushed_so_far());
        while (queue.shared->state[0].sent + queue.shared->state[0].dropped < before + 20 + death)
            usleep(20);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_int_equal(attach(SINK_DROP_NEWEST), 0);
        settle(file);
    }
    while (!queue_is_empty(&queue))
        write_to_file(file, 65536);
    assert_int_equal(check_file(file), queue_count(&queue).sent);
    close(file);
}

/* --- in doubt ------------------------------------------------------------------------------ */

static void expect_next(const char *text, size_t most)
{
    struct iovec part;
    assert_int_equal(queue_next(&queue, &part, 1, most), 1);
    assert_int_equal(part.iov_len, strlen(text));
    assert_memory_equal(part.iov_base, text, part.iov_len);
}

static void doubt_writes_whole_records_again_and_counts_them(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_DROP_NEWEST), 0);
    queue_push(&queue, "one\n", 4);
    queue_push(&queue, "two\n", 4);
    queue_intend(&queue, 8, 0);
    assert_int_equal(attach(SINK_DROP_NEWEST), 0);
    assert_true(queue_in_doubt(&queue));
    queue_settle(&queue, false, 0);
    assert_false(queue_in_doubt(&queue));
    assert_int_equal(queue_count(&queue).doubtful, 2);
    expect_next("one\n", 4);
}

static void doubt_within_a_record_puts_a_newline_before_it(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_DROP_NEWEST), 0);
    queue_push(&queue, "a long one\n", 11);
    queue_intend(&queue, 4, 0); /* its first part */
    queue_settle(&queue, false, 0);
    expect_next("\na long one\n", 100);
    assert_int_equal(queue_count(&queue).doubtful, 1);

    queue_wrote(&queue, 5); /* "\na lo" */
    expect_next("ng one\n", 100);
    queue_intend(&queue, 7, 0);
    queue_settle(&queue, false, 0);
    expect_next("\na long one\n", 100);

    queue_restart(&queue); /* another reader: no newline for it */
    expect_next("a long one\n", 100);
}

static void a_file_that_shrank_leaves_doubt(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_DROP_NEWEST), 0);
    queue_push(&queue, "one\n", 4);
    queue_intend(&queue, 4, 1000);
    queue_settle(&queue, true, 3);
    assert_int_equal(queue_count(&queue).doubtful, 1);
    assert_int_equal(queue_count(&queue).queued, 1);
}

/* --- hostile ------------------------------------------------------------------------------- */

static void a_record_that_can_never_fit_is_counted_and_harms_none(void **state)
{
    static char huge[SIZE + 1];
    (void)state;
    assert_int_equal(attach(SINK_DROP_OLDEST), 0);
    queue_push(&queue, "one\n", 4);
    assert_false(queue_push(&queue, huge, SIZE - HEAD + 1));
    assert_int_equal(queue_count(&queue).dropped, 1);
    expect_next("one\n", 100);
    assert_false(queue_push(&queue, huge, SIZE - HEAD)); /* "one" gives way */
    assert_int_equal(queue_count(&queue).queued, 1);
}

static void a_record_that_nobody_takes_is_given_up(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_DROP_OLDEST), 0);
    queue_push(&queue, "one\n", 4);
    queue_push(&queue, "two\n", 4);
    queue_drop_first(&queue);
    expect_next("two\n", 100);
    assert_int_equal(queue_count(&queue).dropped, 1);
}

static void memory_that_lies_becomes_an_empty_queue(void **state)
{
    static const struct queue_state lies[] = {
        { .head = 8, .tail = 0 },
        { .tail = SIZE + 8 },
        { .tail = 8, .queued = 1 }, /* its length is 0: there are two */
        { .tail = 7, .queued = 1 },
        { .queued = 1 },
        { .spool_tail = 8 },
        { .spool_tail = SPOOL + 8, .spooled = 1 },
        { .spooled = 1 },
        { .flight_len = SIZE + 2 },
        { .flight_len = 5, .flight_at = 5 },
        { .flight_at = UINT64_MAX },
        { .intent = 1 },
        { .head = UINT64_MAX - 7, .tail = UINT64_MAX, .queued = 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        assert_int_equal(attach(SINK_SPOOL), 0);
        queue.shared->state[0] = queue.shared->state[1] = lies[i];
        if (attach(SINK_SPOOL) != -EBADMSG)
            fail_msg("lie %zu was believed", i);
        assert_true(queue_is_empty(&queue));
        push_number(1);
        assert_int_equal(attach(SINK_SPOOL), 0);
        queue_drop_first(&queue);
        queue.now = (struct queue_state){ 0 };
        commit(&queue);
    }
}

static void nobody_can_change_the_size_of_the_memory(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(memory, 0), -1);
    assert_int_equal(ftruncate(memory, 1 << 30), -1);
    struct queue q;
    assert_int_equal(queue_attach(&q, memory, 2 * SIZE, SINK_SPOOL, -1, 0), -EINVAL);
}

static void a_copy_is_what_it_was(void **state)
{
    (void)state;
    attach(SINK_DROP_OLDEST);
    for (uint64_t n = 1; n < 50; n++)
        push_number(n);
    int copy = queue_copy(memory, SIZE);
    assert_true(copy >= 0);
    assert_int_equal(queue_peek(memory).queued, 49);
    memset(queue.data, 0xff, SIZE);
    *queue.shared = (struct queue_shared){ 0 };
    assert_int_equal(queue_peek(memory).queued, 0);
    queue_detach(&queue);
    assert_int_equal(queue_attach(&queue, copy, SIZE, SINK_DROP_OLDEST, -1, 0), 0);
    assert_int_equal(queue_count(&queue).queued, 49);
    close(copy);
    assert_int_equal(queue_copy(memory, 2 * SIZE), -EINVAL);
}

static void a_spool_that_lies_is_given_up_and_counted(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_SPOOL), 0);
    uint64_t n = 0;
    while (queue_count(&queue).spooled < 3)
        push_number(n++);
    assert_int_equal(pwrite(spool, "\xff\xff\xff\xff", 4, 0), 4);
    while (!queue_is_empty(&queue))
        queue_drop_first(&queue);
    assert_int_equal(queue_count(&queue).dropped, n);
}

static void a_spool_that_has_no_room_drops_the_newest(void **state)
{
    (void)state;
    assert_int_equal(attach(SINK_SPOOL), 0);
    uint64_t n = 0;
    while (queue_count(&queue).dropped == 0)
        push_number(n++);
    assert_true(queue_count(&queue).spooled > queue_count(&queue).queued);
    expect_next("0:", 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_memory, free_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(oldest_records_give_way),
        TEST(newest_records_are_refused),
        TEST(what_was_spooled_comes_back_in_order),
        TEST(no_instruction_is_a_bad_one_to_die_at_dropping_the_oldest),
        TEST(no_instruction_is_a_bad_one_to_die_at_dropping_the_newest),
        TEST(no_instruction_is_a_bad_one_to_die_at_spooling),
        TEST(a_writer_that_is_killed_leaves_whole_lines),
        TEST(doubt_writes_whole_records_again_and_counts_them),
        TEST(doubt_within_a_record_puts_a_newline_before_it),
        TEST(a_file_that_shrank_leaves_doubt),
        TEST(a_record_that_can_never_fit_is_counted_and_harms_none),
        TEST(a_record_that_nobody_takes_is_given_up),
        TEST(memory_that_lies_becomes_an_empty_queue),
        TEST(nobody_can_change_the_size_of_the_memory),
        TEST(a_copy_is_what_it_was),
        TEST(a_spool_that_lies_is_given_up_and_counted),
        TEST(a_spool_that_has_no_room_drops_the_newest),
    };
    queue.spool = -1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
