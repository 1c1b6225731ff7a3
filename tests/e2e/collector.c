/* collector.c - the collector on a loop of its own, against this kernel: what its sink is told, and
 * how it knows.
 *
 * Other processes of the machine may come and go meanwhile: a test looks only at its own, and waits
 * for events, never for time. Where the connector cannot be had every test is skipped, with the
 * reason. */
#include "collect/collector.h"

#include "base/clock.h"

#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 60.0 /* of a test that hangs, not of one that waits */
#define MIB        (1024 * 1024)

/* --- a collector and what it told -------------------------------------------------------- */

enum { TOLD = 65536 };

static struct ev_loop *loop;
static struct collector *c;
static struct event *told[TOLD]; /* owned copies */
static int told_len, flushed_at, flushes;

static void keep(void *ctx, struct event_box *box)
{
    assert_ptr_equal(ctx, &told_len);
    assert_true(event_valid(box, sizeof *box));
    assert_true(told_len < TOLD);
    told[told_len] = malloc(box->ev.size);
    assert_non_null(told[told_len]);
    memcpy(told[told_len++], &box->ev, box->ev.size);
}

static void flush(void *ctx)
{
    assert_ptr_equal(ctx, &told_len);
    flushed_at = told_len;
    flushes++;
}

__attribute__((noreturn)) static void skip_for(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
    abort(); /* not reached */
}

static int try_open(struct collector_options options, const char **why)
{
    return collector_open(&c, &options, keep, flush, &told_len, why);
}

/* Opened, not started. */
static void open_with(int buffer, uint32_t kinds, bool threads, uint64_t needs)
{
    const char *why = NULL;
    struct collector_options options = { .buffer_bytes = buffer,
                                         .table_bytes = 64 * MIB,
                                         .proc = "/proc",
                                         .kinds = kinds,
                                         .threads = threads,
                                         .needs = needs };
    int result = try_open(options, &why);
    if (result == -EPERM || result == -ENOTSUP || result == -ECONNREFUSED)
        skip_for(why);
    assert_int_equal(result, 0);
}

static void start(void)
{
    collector_start(c, loop);
    assert_true(flushes > 0);
    assert_int_equal(flushed_at, told_len);
}

static int begin(void **state)
{
    (void)state;
    loop = ev_loop_new(EVFLAG_AUTO);
    flushes = flushed_at = 0;
    return !loop;
}

static int end(void **state)
{
    (void)state;
    collector_free(c);
    c = NULL;
    while (told_len)
        free(told[--told_len]);
    ev_loop_destroy(loop);
    return 0;
}

/* The first event of this kind and process since the `from`th, or NULL. */
static const struct event *find(int from, enum event_kind kind, int pid)
{
    for (; from < told_len; from++)
        if (event_kind(told[from]) == kind && event_int(told[from], F_PID, -1) == pid &&
            event_int(told[from], F_TID, pid) == pid)
            return told[from];
    return NULL;
}

static int count(int from, enum event_kind kind, int pid)
{
    int n = 0;
    for (; from < told_len; from++)
        n += event_kind(told[from]) == kind && event_int(told[from], F_PID, -1) == pid;
    return n;
}

static int place(const struct event *ev)
{
    int at = 0;
    while (told[at] != ev)
        at++;
    return at;
}

static void too_late(struct ev_loop *l, ev_timer *timer, int events)
{
    (void)l, (void)events;
    *(bool *)timer->data = true;
}

/* Run the loop until it was told. */
static const struct event *await(int from, enum event_kind kind, int pid)
{
    const struct event *ev;
    bool late = false;
    ev_timer timer;
    ev_timer_init(&timer, too_late, DEADLINE_S, 0);
    timer.data = &late;
    ev_timer_start(loop, &timer);
    while (!(ev = find(from, kind, pid)) && !late)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &timer);
    if (!ev)
        fail_msg("%s of %d did not come", event_kind_name(kind), pid);
    assert_true(flushed_at > place(ev)); /* nothing is told and then kept back */
    return ev;
}

static void assert_why(const struct event *ev, enum event_field field, enum event_why why)
{
    if (ev->why[field] != why)
        fail_msg("%s of %s: '%s', not '%s'", event_fields[field].name,
                 event_kind_name(event_kind(ev)), event_why_text((enum event_why)ev->why[field]),
                 event_why_text(why));
}

static void assert_number(const struct event *ev, enum event_field field, int64_t want,
                          enum event_why why)
{
    assert_why(ev, field, why);
    assert_int_equal(ev->cell[field].num, want);
}

static void assert_line(const struct event *ev, const char *want)
{
    char line[4096];
    size_t len = event_cmdline(ev, line, sizeof line - 1);
    line[len] = '\0';
    assert_string_equal(line, want);
}

static void assert_same_process(const struct event *a, const struct event *b)
{
    assert_int_equal(event_int(a, F_PID, -1), event_int(b, F_PID, -2));
    assert_true(tracker_same_start(event_int(a, F_STARTTIME, -1), event_int(b, F_STARTTIME, -9)));
}

/* --- children ---------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int go; /* written to when it may begin */
};

/* sh that waits for a line and then runs `script`, which has its arguments as the program. */
static struct child start_shell(const char *script)
{
    int in[2];
    char text[1024];
    snprintf(text, sizeof text, "read x; %s", script);
    assert_int_equal(pipe(in), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(in[0], 0);
        close(in[0]);
        close(in[1]);
        execl("/bin/sh", "sh", "-c", text, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    return (struct child){ pid, in[1] };
}

static void go(struct child *child)
{
    assert_int_equal(write(child->go, "\n", 1), 1);
}

static int reap(struct child *child)
{
    int status = -1;
    close(child->go);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    return status;
}

/* As many forks and exits, at once. */
static void storm(int forks)
{
    while (forks-- > 0) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
}

/* --- tests ------------------------------------------------------------------------------- */

static void who_lives_is_told_before_what_happens(void **state)
{
    (void)state;
    struct child before = start_shell("exit 3");
    open_with(4 * MIB, ON_ALL, false, UINT64_MAX);
    pid_t queued = fork(); /* after the handshake, before the start */
    if (queued == 0)
        _exit(5);
    waitpid(queued, NULL, 0);
    start();

    const struct event *us = await(0, EVENT_SNAPSHOT, getpid()),
                       *snapshot = await(0, EVENT_SNAPSHOT, before.pid);
    assert_number(us, F_PPID, getppid(), WHY_PROC);
    assert_number(snapshot, F_PPID, getpid(), WHY_PROC);
    assert_why(snapshot, F_INFERRED, WHY_ABSENT);
    assert_int_equal(count(0, EVENT_SNAPSHOT, before.pid), 1);
    assert_number(await(0, EVENT_EXIT, queued), F_CODE, 5, WHY_KERNEL);

    go(&before);
    const struct event *exited = await(0, EVENT_EXIT, before.pid);
    reap(&before);
    assert_number(exited, F_CODE, 3, WHY_KERNEL);
    assert_true(event_int(exited, F_DURATION, 0) > 0);
    assert_same_process(snapshot, exited);
    assert_true(place(snapshot) < place(exited));
    assert_int_equal(count(0, EVENT_EXIT, before.pid), 1);
}

static void a_life_is_told_whole_and_each_field_says_how_it_is_known(void **state)
{
    (void)state;
    open_with(4 * MIB, ON_ALL, false, UINT64_MAX);
    start();
    int from = told_len;
    struct child child = start_shell("exec /bin/sleep 1000");

    const struct event *born = await(from, EVENT_FORK, child.pid);
    assert_number(born, F_PPID, getpid(), WHY_KERNEL);
    assert_number(born, F_UID, getuid(), WHY_INHERITED);
    assert_number(born, F_EXECS, 0, WHY_COMPUTED);
    assert_why(born, F_COMM, WHY_INHERITED);
    assert_true(born->why[F_STARTTIME] == WHY_COMPUTED || born->why[F_STARTTIME] == WHY_PROC);

    const struct event *shell = await(from, EVENT_EXEC, child.pid);
    assert_why(shell, F_ARGS, WHY_PROC);
    assert_line(shell, "sh -c read x; exec /bin/sleep 1000");
    assert_number(shell, F_EXECS, 1, WHY_COMPUTED);
    assert_number(shell, F_PPID, getpid(), WHY_KEPT);

    int second = told_len;
    go(&child);
    const struct event *sleeping = await(second, EVENT_EXEC, child.pid);
    char cwd[PATH_MAX];
    size_t len;
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_line(sleeping, "/bin/sleep 1000");
    assert_why(sleeping, F_EXE, WHY_PROC);
    const char *text = event_text(sleeping, F_CWD, &len);
    assert_true(text && len == strlen(cwd) && !memcmp(text, cwd, len));
    assert_number(sleeping, F_EXECS, 2, WHY_COMPUTED);
    assert_why(sleeping, F_WAS_COMM, WHY_KEPT);

    kill(child.pid, SIGTERM);
    const struct event *exited = await(second, EVENT_EXIT, child.pid);
    reap(&child);
    assert_number(exited, F_SIGNAL, SIGTERM, WHY_KERNEL);
    assert_why(exited, F_CODE, WHY_ABSENT);
    assert_why(exited, F_ARGS, WHY_KEPT);
    assert_line(exited, "/bin/sleep 1000");
    assert_number(exited, F_DURATION, exited->cell[F_MONO].num - born->cell[F_MONO].num,
                  WHY_COMPUTED);
    assert_same_process(born, exited);
    assert_true(collector_count(c).complete.execs >= 2);
    assert_int_equal(collector_count(c).lost, 0);
}

static void of_execs_read_late_only_the_last_has_arguments(void **state)
{
    (void)state;
    open_with(4 * MIB, ON_ALL, false, UINT64_MAX);
    start();
    struct child child = start_shell("exec env /bin/sh -c 'read y; exit 4'");
    await(0, EVENT_EXEC, child.pid);
    int from = told_len;
    go(&child);
    char path[64], now[256] = "";
    snprintf(path, sizeof path, "/proc/%d/cmdline", child.pid);
    while (strcmp(now, "/bin/sh") != 0) { /* the loop does not run: both execs are queued then */
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        now[fread(now, 1, sizeof now - 1, f)] = '\0';
        fclose(f);
    }

    const struct event *first = await(from, EVENT_EXEC, child.pid),
                       *last = await(place(first) + 1, EVENT_EXEC, child.pid);
    assert_number(first, F_EXECS, 2, WHY_COMPUTED);
    assert_why(first, F_ARGS, WHY_GONE);
    assert_why(first, F_EXE, WHY_GONE);
    assert_why(first, F_COMM, WHY_GONE);
    assert_number(last, F_EXECS, 3, WHY_COMPUTED);
    assert_line(last, "/bin/sh -c read y; exit 4");
    go(&child);
    assert_number(await(from, EVENT_EXIT, child.pid), F_CODE, 4, WHY_KERNEL);
    reap(&child);
}

static void *end_at_once(void *unused)
{
    return unused;
}

static int threads_told(int from)
{
    int n = 0;
    for (; from < told_len; from++)
        n += event_kind(told[from]) == EVENT_FORK && event_int(told[from], F_PID, 0) == getpid() &&
             event_int(told[from], F_TID, 0) != getpid();
    return n;
}

/* A thread and then a child whose exit is awaited: the kernel told of the thread before. */
static int threads_told_of_one(void)
{
    int from = told_len;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    pthread_join(thread, NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    await(from, EVENT_EXIT, pid);
    return threads_told(from);
}

static int dumps_told_of_one(void)
{
    int from = told_len;
    pid_t pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 1, 1 });
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    waitpid(pid, NULL, 0);
    assert_number(await(from, EVENT_EXIT, pid), F_SIGNAL, SIGABRT, WHY_KERNEL);
    return count(from, EVENT_COREDUMP, pid);
}

static void what_is_subscribed_to_can_change(void **state)
{
    (void)state;
    open_with(4 * MIB, ON(EXEC), false, UINT64_MAX);
    start();
    assert_int_equal(dumps_told_of_one(), 0);
    assert_int_equal(threads_told_of_one(), 0);
    collector_subscribe(c, ON_ALL, true);
    assert_int_equal(dumps_told_of_one(), 1);
    assert_int_equal(threads_told_of_one(), 1);
    collector_subscribe(c, ON(COREDUMP), false);
    assert_int_equal(dumps_told_of_one(), 1);
    assert_int_equal(threads_told_of_one(), 0);
    assert_int_equal(collector_count(c).lost, 0); /* what was filtered is no loss */
}

static void a_loss_is_told_and_repaired_from_proc(void **state)
{
    (void)state;
    open_with(65536, ON_ALL, true, UINT64_MAX); /* room for some 150 messages */
    start();
    struct child ended = start_shell("exit 3"), stays = start_shell("exit 4");
    await(0, EVENT_EXEC, ended.pid);
    await(0, EVENT_EXEC, stays.pid);
    int from = told_len;

    storm(500); /* the loop does not run: the queue is full after this */
    go(&ended);
    reap(&ended);
    struct child born = start_shell("exit 5");
    storm(10);

    const struct event *lost = NULL, *exited = await(from, EVENT_EXIT, ended.pid),
                       *found = await(from, EVENT_SNAPSHOT, born.pid);
    uint64_t sum = 0;
    for (int i = 0; i < told_len; i++)
        if (event_kind(told[i]) == EVENT_LOST) {
            lost = lost || i < from ? lost : told[i];
            sum += (uint64_t)event_int(told[i], F_LOST, 0);
        }
    assert_non_null(lost);
    assert_true(event_int(lost, F_LOST, 0) > 500);
    assert_true(event_int(lost, F_FROM, 0) <= event_int(lost, F_UNTIL, -1));
    assert_true(place(lost) < place(exited) && place(lost) < place(found));
    assert_int_equal(collector_count(c).lost, sum);
    assert_true(collector_count(c).scans >= 2);

    assert_number(exited, F_INFERRED, 1, WHY_COMPUTED);
    assert_why(exited, F_CODE, WHY_UNSEEN);
    assert_line(exited, "sh -c read x; exit 3");
    assert_number(found, F_INFERRED, 1, WHY_COMPUTED);
    assert_number(found, F_PPID, getpid(), WHY_PROC);
    assert_int_equal(count(from, EVENT_SNAPSHOT, stays.pid), 0); /* known, unchanged: not told */
    assert_int_equal(count(from, EVENT_EXIT, stays.pid), 0);

    go(&born); /* and who was found is followed to its end */
    await(from, EVENT_EXIT, born.pid);
    go(&stays);
    await(from, EVENT_EXIT, stays.pid);
    reap(&born);
    reap(&stays);
    assert_int_equal(count(0, EVENT_EXIT, ended.pid), 1);
}

static void the_living_are_told_again_as_they_are_known(void **state)
{
    (void)state;
    open_with(4 * MIB, ON_ALL, false, UINT64_MAX);
    start();
    struct child child = start_shell("exit 0"), ended = start_shell("exit 0");
    const struct event *execed = await(0, EVENT_EXEC, child.pid);
    go(&ended);
    await(0, EVENT_EXIT, ended.pid);
    reap(&ended);

    int from = told_len, flushed = flushes;
    uint64_t scans = collector_count(c).scans;
    collector_retell(c);
    const struct event *again = find(from, EVENT_SNAPSHOT, child.pid);
    assert_non_null(again);
    assert_same_process(execed, again);
    assert_line(again, "sh -c read x; exit 0");
    assert_number(again, F_PPID, getpid(), WHY_KEPT);
    assert_int_equal(count(from, EVENT_SNAPSHOT, child.pid), 1);
    assert_non_null(find(from, EVENT_SNAPSHOT, getpid()));
    assert_null(find(from, EVENT_SNAPSHOT, ended.pid));
    assert_int_equal(collector_count(c).scans, scans); /* from the table */
    assert_true(flushes > flushed);
    go(&child);
    reap(&child);
}

static void what_nobody_needs_is_not_read_until_somebody_does(void **state)
{
    (void)state;
    open_with(4 * MIB, ON_ALL, false, FIELD(ARGS));
    start();
    struct child child = start_shell("exit 0");
    const struct event *execed = await(0, EVENT_EXEC, child.pid);
    assert_why(execed, F_ARGS, WHY_PROC);
    assert_why(execed, F_COMM, WHY_PROC);
    assert_why(execed, F_CWD, WHY_UNASKED);
    assert_why(execed, F_CGROUP, WHY_UNASKED);
    assert_why(execed, F_EXE, WHY_UNASKED);

    int from = told_len;
    collector_need(c, FIELD(ARGS)); /* nothing new */
    assert_int_equal(told_len, from);
    collector_need(c, FIELD(ARGS) | FIELD(CWD));
    const struct event *again = await(from, EVENT_SNAPSHOT, child.pid);
    assert_why(again, F_CWD, WHY_PROC);
    assert_why(again, F_INFERRED, WHY_ABSENT);
    assert_number(again, F_PPID, getpid(), WHY_KEPT);
    assert_same_process(execed, again);
    go(&child);
    assert_why(await(from, EVENT_EXIT, child.pid), F_CWD, WHY_KEPT);
    reap(&child);
}

static void what_is_queued_at_the_stop_is_told(void **state)
{
    (void)state;
    open_with(32 * MIB, ON_ALL, false, UINT64_MAX);
    start();
    int from = told_len;
    storm(1200); /* more than one turn, and the loop does not run */
    pid_t pid = fork();
    if (pid == 0)
        _exit(9);
    waitpid(pid, NULL, 0);
    collector_stop(c);
    const struct event *last = find(from, EVENT_FORK, pid);
    assert_non_null(last);
    assert_int_equal(flushed_at, told_len);
    assert_int_equal(collector_count(c).lost, 0);
    int len = told_len;
    collector_stop(c); /* twice is once */
    assert_int_equal(told_len, len);
}

static void a_backlog_of_many_turns_is_told_to_its_end(void **state)
{
    (void)state;
    open_with(32 * MIB, ON_ALL, false, UINT64_MAX);
    if (collector_count(c).buffer_bytes < 32 * MIB)
        skip_for("a receive buffer of this size is not permitted here");
    start();
    struct child child = start_shell("exec /bin/true"); /* its exec takes all the rest in at once */
    await(0, EVENT_EXEC, child.pid);
    int from = told_len;
    go(&child);
    reap(&child);
    storm(5000);
    pid_t pid = fork(); /* the last of them */
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 50; i++) /* turns without waiting: nothing new wakes the loop */
        ev_run(loop, EVRUN_NOWAIT);
    assert_non_null(find(from, EVENT_FORK, pid));
    assert_int_equal(collector_count(c).lost, 0);
}

static void without_proc_it_says_so(void **state)
{
    const char *why = NULL;
    (void)state;
    struct collector_options options = {
        .buffer_bytes = MIB, .table_bytes = MIB, .proc = "/nonexistent", .needs = UINT64_MAX
    };
    assert_int_equal(try_open(options, &why), -ENOENT);
    assert_non_null(why);
    assert_non_null(strstr(why, "/proc"));
    c = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_lives_is_told_before_what_happens),
        TEST(a_life_is_told_whole_and_each_field_says_how_it_is_known),
        TEST(of_execs_read_late_only_the_last_has_arguments),
        TEST(what_is_subscribed_to_can_change),
        TEST(a_loss_is_told_and_repaired_from_proc),
        TEST(the_living_are_told_again_as_they_are_known),
        TEST(what_nobody_needs_is_not_read_until_somebody_does),
        TEST(what_is_queued_at_the_stop_is_told),
        TEST(a_backlog_of_many_turns_is_told_to_its_end),
        TEST(without_proc_it_says_so),
    };
    return cmocka_run_group_tests_name("collector", tests, NULL, NULL);
}
