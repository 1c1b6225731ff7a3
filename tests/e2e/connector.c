/* connector.c - the collector's socket and its ledger against the connector of this kernel.
 *
 * Other processes of the machine may come and go meanwhile: a test looks only at its own, and waits
 * for events, never for time. Where the connector cannot be had every test is skipped, with the
 * reason; whether it can is asked without the code under test, so that a broken handshake fails. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/ledger.h"
#include "collect/netlink.h"

extern char **environ;

#define DEADLINE_NS (60 * NS_PER_SECOND) /* of a test that hangs, not of one that waits */
#define MIB         (1024 * 1024)

static const struct netlink_filter everything = { ON_ALL, true };

/* --- a watch: socket, ledger and what came ---------------------------------------------- */

enum { KEPT = 4096 };

struct watch {
    struct netlink nl;
    struct ledger ledger;
    uint64_t numbers; /* datagrams handed to the sink: events, acks, unknown ones */
    uint64_t kept;    /* the last KEPT events */
    struct kernel_event events[KEPT];
    void (*also)(struct watch *w, const struct kernel_event *ev); /* or NULL */
    void *ctx;
};

static void on_event(void *ctx, const struct kernel_event *ev)
{
    struct watch *w = ctx;

    ledger_note(&w->ledger, ev->cpu, ev->seq, ev->mono_ns);
    w->numbers++;
    if (ev->kind == EVENT_NONE)
        return;
    w->events[w->kept++ % KEPT] = *ev;
    if (w->also)
        w->also(w, ev);
}

__attribute__((noreturn)) static void skip_for(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
    abort(); /* not reached */
}

/* What this machine allows, found out by hand. */
static struct {
    bool answers; /* a LISTEN is acknowledged */
    bool force;   /* a buffer beyond net.core.rmem_max is permitted */
} machine;

static int probe(void **state)
{
    uint32_t request[10] = { sizeof request, NLMSG_DONE, 0, 0, 1, 1, 0, 0, 4, 1 }, got[19];
    struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };
    int64_t until_ns = clock_mono_ns() + NS_PER_SECOND;
    int bytes = 32 * MIB, fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
    (void)state;

    machine.force = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (bind(fd, (struct sockaddr *)&group, sizeof group) == 0 &&
        send(fd, request, sizeof request, 0) == (ssize_t)sizeof request)
        while (!machine.answers && clock_mono_ns() < until_ns && poll(&p, 1, 1000) > 0)
            machine.answers = recv(fd, got, sizeof got, MSG_DONTWAIT) == (ssize_t)sizeof got &&
                              got[9] == 0 && got[13] == 0; /* what, error */
    request[9] = 2;                                        /* IGNORE */
    if (machine.answers)
        send(fd, request, sizeof request, 0);
    close(fd);
    return 0;
}

static enum netlink_refusal watch_try(struct watch *w, struct netlink_filter filter, int buffer)
{
    memset(w, 0, sizeof *w);
    ledger_init(&w->ledger);
    ledger_set_unfiltered(&w->ledger, netlink_filter_passes_all(filter));

    int error = netlink_open(&w->nl, filter, buffer);
    return error ? netlink_refusal_of(error) : netlink_listen(&w->nl, on_event, w);
}

static struct watch *watch_new(struct netlink_filter filter, int buffer)
{
    struct watch *w = malloc(sizeof *w);
    assert_non_null(w);

    enum netlink_refusal refusal = watch_try(w, filter, buffer);
    if (refusal != NETLINK_OK) {
        netlink_close(&w->nl);
        free(w);
        if (machine.answers)
            fail_msg("refused where it answers: %s", netlink_refusal_text(refusal));
        skip_for(netlink_refusal_text(refusal));
    }
    return w;
}

static void watch_free(struct watch *w)
{
    netlink_close(&w->nl);
    free(w);
}

/* Everything that is queued. As the collector does it: drain, look at the drops, close. */
static void watch_drain(struct watch *w)
{
    struct ledger_episode ep;
    int got;

    while ((got = netlink_receive(&w->nl, on_event, w)) != 0) {
        if (got == -ENOBUFS)
            ledger_dropped(&w->ledger, netlink_dropped(&w->nl, NULL), true);
        else
            assert_true(got > 0);
    }
    ledger_dropped(&w->ledger, netlink_dropped(&w->nl, NULL), false);
    ledger_close(&w->ledger, clock_mono_ns(), &ep);
}

static void watch_wait(struct watch *w, int64_t until_ns)
{
    struct pollfd p = { .fd = w->nl.fd, .events = POLLIN };
    int64_t left_ns = until_ns - clock_mono_ns();

    if (left_ns <= 0)
        fail_msg("the event did not come");
    poll(&p, 1, (int)(left_ns / 1000000) + 1);
    watch_drain(w);
}

/* The first event of this kind about this process since the `from`th, or NULL. */
static const struct kernel_event *find(struct watch *w, uint64_t from, enum event_kind kind,
                                       int pid)
{
    if (w->kept > KEPT && from < w->kept - KEPT)
        from = w->kept - KEPT;
    for (; from < w->kept; from++)
        if (w->events[from % KEPT].kind == kind && w->events[from % KEPT].pid == pid)
            return &w->events[from % KEPT];
    return NULL;
}

/* Borrowed: the next wait may overwrite it. */
static const struct kernel_event *await(struct watch *w, uint64_t from, enum event_kind kind,
                                        int pid)
{
    const struct kernel_event *ev;
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;

    while (!(ev = find(w, from, kind, pid)))
        watch_wait(w, until_ns);
    return ev;
}

/* An event of our own: there is one queue, so whatever was queued before it was read too. */
static void send_marker(const char *name)
{
    assert_int_equal(prctl(PR_SET_NAME, name), 0);
}

static void read_to_marker(struct watch *w)
{
    uint64_t from = w->kept;
    send_marker("moonwatch-mark");
    await(w, from, EVENT_COMM, getpid());
}

/* --- children --------------------------------------------------------------------------- */

typedef void child_main(void);

/* The child does nothing before it is told to go: `to_go` is written to. */
static pid_t start_child(child_main *act, int *to_go)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char c;
        close(fds[1]);
        if (read(fds[0], &c, 1) != 1)
            _exit(99);
        act();
        _exit(98);
    }
    close(fds[0]);
    *to_go = fds[1];
    return pid;
}

static void tell_go(int to_go)
{
    assert_int_equal(write(to_go, "g", 1), 1);
    close(to_go);
}

static int reap(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Run it, wait until its exit was seen, and only then reap: the kernel still knows the parent. */
static pid_t run_child(struct watch *w, child_main *act, int *status)
{
    uint64_t from = w->kept;
    int to_go;
    pid_t pid = start_child(act, &to_go);

    tell_go(to_go);
    await(w, from, EVENT_EXIT, pid);
    *status = reap(pid);
    return pid;
}

static void act_exit(void)
{
    _exit(7);
}

static void act_killed(void)
{
    kill(getpid(), SIGKILL);
    pause();
}

static void act_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
}

static void act_ids(void)
{
    int bad = setresgid(3456, 4567, 0) || setresuid(1234, 2345, 0);
    _exit(bad);
}

static void act_sid(void)
{
    _exit(setsid() < 0);
}

static void act_comm(void)
{
    _exit(prctl(PR_SET_NAME, "fifteen letters and more") != 0);
}

/* A limit too small for any file: the event comes all the same. */
static void act_dump(void)
{
    struct rlimit one = { 1, 1 };
    setrlimit(RLIMIT_CORE, &one);
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void act_wait(void)
{
    for (;;)
        pause();
}

/* --- (a) what is seen ------------------------------------------------------------------- */

static void fork_and_exit_are_seen_with_parent_and_status(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    int64_t before_ns = clock_mono_ns();
    pid_t pid = run_child(w, act_exit, &status);

    const struct kernel_event *ev = find(w, 0, EVENT_FORK, pid);
    assert_non_null(ev);
    assert_int_equal(ev->tid, pid);
    assert_int_equal(ev->parent.ppid, getpid());
    assert_int_equal(ev->parent.ptid, syscall(SYS_gettid));
    assert_true(ev->mono_ns >= before_ns && ev->mono_ns <= clock_mono_ns());

    ev = find(w, 0, EVENT_EXIT, pid);
    assert_int_equal(ev->tid, pid);
    assert_int_equal(ev->exit_code, 7 << 8);
    assert_int_equal(ev->exit_code, status);
    assert_int_equal(ev->exit_signal, SIGCHLD);
    assert_int_equal(ev->parent.ppid, getpid());
    watch_free(w);
}

static void a_killed_process_exits_with_the_signal(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_killed, &status);
    assert_int_equal(find(w, 0, EVENT_EXIT, pid)->exit_code, SIGKILL);
    watch_free(w);
}

static void exec_is_seen_between_fork_and_exit(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_exec, &status);
    const struct kernel_event *forked = find(w, 0, EVENT_FORK, pid),
                              *execed = find(w, 0, EVENT_EXEC, pid),
                              *exited = find(w, 0, EVENT_EXIT, pid);
    assert_true(forked && execed && exited);
    if (w->kept <= KEPT) /* else the places say nothing about the order */
        assert_true(forked < execed && execed < exited);
    assert_int_equal(execed->tid, pid);
    assert_int_equal(exited->exit_code, 0);
    watch_free(w);
}

static void uid_and_gid_are_seen_real_and_effective(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_ids, &status);
    if (status != 0) {
        watch_free(w);
        skip_for("setresuid is not permitted here");
    }
    const struct kernel_event *ev = find(w, 0, EVENT_UID, pid);
    assert_non_null(ev);
    assert_int_equal(ev->id.real, 1234);
    assert_int_equal(ev->id.effective, 2345);
    ev = find(w, 0, EVENT_GID, pid);
    assert_non_null(ev);
    assert_int_equal(ev->id.real, 3456);
    assert_int_equal(ev->id.effective, 4567);
    watch_free(w);
}

static void a_new_session_is_seen(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_sid, &status);
    assert_int_equal(status, 0);
    const struct kernel_event *ev = find(w, 0, EVENT_SID, pid);
    assert_non_null(ev);
    assert_int_equal(ev->tid, pid);
    watch_free(w);
}

static void a_new_name_is_seen_as_the_kernel_cut_it(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_comm, &status);
    const struct kernel_event *ev = find(w, 0, EVENT_COMM, pid);
    assert_non_null(ev);
    assert_memory_equal(ev->comm, "fifteen letters", sizeof ev->comm);
    watch_free(w);
}

static void a_coredump_is_seen_with_its_parent(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status;
    (void)state;

    pid_t pid = run_child(w, act_dump, &status);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    const struct kernel_event *ev = find(w, 0, EVENT_COREDUMP, pid);
    assert_non_null(ev);
    assert_int_equal(ev->tid, pid);
    assert_int_equal(ev->parent.ppid, getpid());
    assert_int_equal(find(w, 0, EVENT_EXIT, pid)->exit_code, status);
    watch_free(w);
}

static void ptrace_is_seen_from_attach_to_detach(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    int status, to_go;
    (void)state;

    pid_t pid = start_child(act_wait, &to_go);
    if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0) {
        kill(pid, SIGKILL);
        reap(pid);
        close(to_go);
        watch_free(w);
        skip_for("ptrace is not permitted here");
    }
    assert_int_equal(waitpid(pid, &status, __WALL), pid);
    const struct kernel_event *ev = await(w, 0, EVENT_PTRACE, pid);
    assert_int_equal(ev->tid, pid);
    assert_int_equal(ev->tracer.pid, getpid());
    assert_int_equal(ev->tracer.tid, syscall(SYS_gettid));

    watch_drain(w);
    uint64_t from = w->kept;
    assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
    ev = await(w, from, EVENT_PTRACE, pid);
    assert_int_equal(ev->tracer.pid, 0);
    assert_int_equal(ev->tracer.tid, 0);
    kill(pid, SIGKILL);
    close(to_go);
    reap(pid);
    watch_free(w);
}

static void *end_at_once(void *unused)
{
    return unused;
}

static void a_thread_is_seen_with_an_id_of_its_own(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    uint64_t from = w->kept;
    pthread_t thread;
    (void)state;

    assert_int_equal(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    pthread_join(thread, NULL);
    const struct kernel_event *ev = await(w, from, EVENT_FORK, getpid());
    assert_int_not_equal(ev->tid, getpid());
    int tid = ev->tid;
    ev = await(w, from, EVENT_EXIT, getpid());
    assert_int_equal(ev->tid, tid);
    assert_int_equal(ev->exit_signal, UINT32_MAX);
    assert_int_equal(ev->parent.ppid, 0);
    watch_free(w);
}

static void an_ack_to_another_listener_is_not_taken_for_ours(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    uint64_t before = w->numbers, events = w->nl.count.received;
    (void)state;

    watch_free(watch_new(everything, 4 * MIB)); /* its two acks come to us as well */
    read_to_marker(w);
    assert_true(w->numbers - before >= w->nl.count.received - events + 2);
    assert_int_equal(w->nl.count.unknown + w->nl.count.bad, 0);
    assert_int_equal(w->ledger.lost, 0); /* they used up numbers: no gap */
    watch_free(w);
}

static void the_granted_buffer_is_told(void **state)
{
    struct watch *w = watch_new(everything, 4096);
    double fill = -1;
    (void)state;

    assert_int_equal(w->nl.buffer_bytes, 8192); /* the kernel doubles */
    netlink_dropped(&w->nl, &fill);
    assert_true(fill >= 0 && fill <= 1);
    watch_free(w);
}

static void what_was_queued_before_the_watch_began_is_not_part_of_it(void **state)
{
    struct watch *other = watch_new(everything, 4 * MIB); /* now events flow to all */
    struct watch *w = malloc(sizeof *w);
    int status;
    (void)state;

    assert_non_null(w);
    memset(w, 0, sizeof *w);
    ledger_init(&w->ledger);
    ledger_set_unfiltered(&w->ledger, true);
    assert_int_equal(netlink_open(&w->nl, everything, 4096), 0);
    for (int i = 0; i < 20; i++) /* more than fits: an overrun is pending */
        run_child(other, act_exit, &status);

    assert_int_equal(netlink_listen(&w->nl, on_event, w), NETLINK_OK);
    watch_drain(w);
    for (uint64_t i = 0; i < w->kept; i++)
        assert_int_not_equal(w->events[i].parent.ppid, getpid());
    assert_int_equal(w->nl.count.overruns, 0);
    assert_int_equal(w->nl.count.dropped, 0);
    watch_free(w);
    watch_free(other);
}

static void the_answer_is_got_though_the_queue_is_full(void **state)
{
    struct watch *other = watch_new(everything, 4 * MIB), *w = watch_new(everything, 4096);
    int status;
    (void)state;

    for (int i = 0; i < 20; i++)
        run_child(other, act_exit, &status);
    assert_int_equal(netlink_listen(&w->nl, on_event, w), NETLINK_OK);
    assert_true(w->nl.count.overruns > 0);
    assert_true(netlink_dropped(&w->nl, NULL) > 0);
    run_child(w, act_exit, &status);
    watch_free(w);
    watch_free(other);
}

/* --- (b) forgery ------------------------------------------------------------------------ */

#define FORGED_PID 0x7ffffff0

/* A FORK as the kernel would send it, from root in the same network namespace. */
static void forge(int fd, uint32_t port, uint32_t groups)
{
    uint32_t words[19] = { 76, NLMSG_DONE, 0, 0, 1, 1, 0,          0,         40,
                           1,  0,          0, 0, 1, 1, FORGED_PID, FORGED_PID };
    struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };

    if (sendto(fd, words, sizeof words, 0, (struct sockaddr *)&to, sizeof to) < 0)
        fail_msg("sendto: %s", strerror(errno));
}

static void a_forged_event_is_rejected_and_counted(void **state)
{
    struct watch *w = watch_new(everything, 4 * MIB);
    struct sockaddr_nl us;
    socklen_t len = sizeof us;
    (void)state;

    if (geteuid() != 0) {
        watch_free(w);
        skip_for("only root can forge");
    }
    assert_int_equal(getsockname(w->nl.fd, (struct sockaddr *)&us, &len), 0);
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
    forge(fd, us.nl_pid, 0); /* to our port */
    forge(fd, 0, 1);         /* to the group */
    close(fd);

    read_to_marker(w);
    assert_int_equal(w->nl.count.forged, 2);
    assert_int_equal(w->nl.count.bad, 0);
    assert_null(find(w, 0, EVENT_FORK, FORGED_PID));
    watch_free(w);
}

/* --- (c) loss --------------------------------------------------------------------------- */

enum { SPAWNERS = 3, SPAWNS = 1000, TRIES = 1000 };

/* Where a socket's stream stands at each mark; marks are names "mw-N" that we give ourselves. */
struct stand {
    uint64_t numbers[2 * TRIES];
    bool at[2 * TRIES];
    int spawners_left;
    const pid_t *spawners;
};

static void note_stand(struct watch *w, const struct kernel_event *ev)
{
    struct stand *s = w->ctx;
    int mark;

    if (ev->kind == EVENT_COMM && ev->pid == getpid() && sscanf(ev->comm, "mw-%d", &mark) == 1 &&
        mark >= 0 && mark < 2 * TRIES) {
        s->numbers[mark] = w->numbers;
        s->at[mark] = true;
    }
    for (int i = 0; ev->kind == EVENT_EXIT && i < SPAWNERS; i++)
        s->spawners_left -= ev->tid == s->spawners[i];
}

/* Set a mark at which the victim provably stands still: it was drained, nothing was dropped until
 * the mark itself was read. With others about that may take several tries. */
static int mark_exactly(struct watch *victim, int first, uint64_t *dropped)
{
    struct stand *s = victim->ctx;

    for (int mark = first; mark < first + TRIES; mark++) {
        char name[16];
        snprintf(name, sizeof name, "mw-%d", mark);
        watch_drain(victim);
        *dropped = victim->nl.count.dropped;
        send_marker(name);
        watch_drain(victim);
        if (s->at[mark] && victim->nl.count.dropped == *dropped)
            return mark;
    }
    fail_msg("no quiet moment in %d tries", TRIES);
    return -1;
}

static void act_storm(void)
{
    for (int i = 0; i < SPAWNS; i++) {
        char *argv[] = { (char *)"true", NULL };
        pid_t pid;
        if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0)
            waitpid(pid, NULL, 0);
    }
    _exit(0);
}

static void a_loss_is_counted_to_the_last_event(void **state)
{
    struct watch *victim = watch_new(everything, 4096);
    struct watch *witness = watch_new(everything, 32 * MIB);
    struct stand *of_victim = calloc(1, sizeof *of_victim),
                 *of_witness = calloc(1, sizeof *of_witness);
    pid_t spawners[SPAWNERS];
    int to_go[SPAWNERS];
    (void)state;

    if (!machine.force) {
        free(of_victim);
        free(of_witness);
        watch_free(victim);
        watch_free(witness);
        skip_for("a buffer of 32 MiB is not permitted here");
    }
    assert_true(of_victim && of_witness);
    assert_int_equal(witness->nl.buffer_bytes, 2 * 32 * MIB);
    *of_victim = *of_witness = (struct stand){ .spawners_left = SPAWNERS, .spawners = spawners };
    victim->ctx = of_victim;
    witness->ctx = of_witness;
    for (int i = 0; i < SPAWNERS; i++)
        spawners[i] = start_child(act_storm, &to_go[i]);
    victim->also = witness->also = note_stand;

    uint64_t dropped_first, dropped_last;
    int first = mark_exactly(victim, 0, &dropped_first);
    uint64_t lost_first = victim->ledger.lost;

    for (int i = 0; i < SPAWNERS; i++)
        tell_go(to_go[i]);
    /* The victim reads only after the witness got more than the victim can hold. */
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;
    uint64_t next = witness->numbers + 64;
    while (of_witness->spawners_left > 0) {
        watch_wait(witness, until_ns);
        if (witness->numbers < next)
            continue;
        watch_drain(victim);
        next = witness->numbers + 64;
    }
    for (int i = 0; i < SPAWNERS; i++)
        reap(spawners[i]);

    int last = mark_exactly(victim, TRIES, &dropped_last);
    while (!of_witness->at[last])
        watch_wait(witness, until_ns);

    uint64_t got = of_victim->numbers[last] - of_victim->numbers[first];
    uint64_t dropped = dropped_last - dropped_first;
    uint64_t truth = of_witness->numbers[last] - of_witness->numbers[first];
    print_message("  storm: %llu events, victim got %llu and dropped %llu in %llu episodes, "
                  "%llu overruns; marks after %d and %d tries\n",
                  (unsigned long long)truth, (unsigned long long)got, (unsigned long long)dropped,
                  (unsigned long long)victim->ledger.episodes,
                  (unsigned long long)victim->nl.count.overruns, first + 1, last - TRIES + 1);
    assert_int_equal(witness->nl.count.dropped, 0);
    assert_int_equal(witness->ledger.lost, 0);
    assert_true(truth >= SPAWNERS * SPAWNS * 3);
    assert_true(dropped > 0);
    assert_int_equal(got + dropped, truth);
    assert_int_equal(victim->ledger.lost - lost_first, dropped);
    assert_true(victim->nl.count.overruns > 0);
    assert_true(victim->ledger.gaps <= victim->ledger.lost);

    watch_free(victim);
    watch_free(witness);
    free(of_victim);
    free(of_witness);
}

/* --- (d) the filter --------------------------------------------------------------------- */

enum { THREADS = 20000 };

static void act_threads(void)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end_at_once, NULL))
            _exit(1);
        pthread_join(thread, NULL);
    }
    _exit(0);
}

struct thread_count {
    pid_t pid;
    uint64_t forks, exits;
};

static void count_threads(struct watch *w, const struct kernel_event *ev)
{
    struct thread_count *c = w->ctx;
    if (ev->pid != c->pid || ev->tid == c->pid)
        return;
    c->forks += ev->kind == EVENT_FORK;
    c->exits += ev->kind == EVENT_EXIT;
}

static void threads_cost_a_filtered_socket_nothing(void **state)
{
    const struct netlink_filter processes = { ON_ALL, false };
    struct watch *with = watch_new(everything, 32 * MIB);
    struct watch *without = watch_new(processes, 4 * MIB);
    struct thread_count all = { 0 }, few = { 0 };
    int to_go;
    (void)state;

    pid_t pid = start_child(act_threads, &to_go);
    all.pid = few.pid = pid;
    with->ctx = &all;
    without->ctx = &few;
    with->also = without->also = count_threads;
    uint64_t from = without->kept, numbers = without->numbers, numbers_all = with->numbers;

    tell_go(to_go);
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;
    while (!find(without, from, EVENT_EXIT, pid)) {
        watch_wait(with, until_ns);
        watch_drain(without);
    }
    watch_drain(with);
    assert_int_equal(reap(pid), 0);

    print_message("  %d threads: %llu datagrams with them, %llu without\n", THREADS,
                  (unsigned long long)(with->numbers - numbers_all),
                  (unsigned long long)(without->numbers - numbers));
    assert_int_equal(few.forks + few.exits, 0);
    assert_int_equal(without->nl.count.dropped, 0);
    if (with->nl.count.dropped == 0) {
        assert_int_equal(all.forks, THREADS);
        assert_int_equal(all.exits, THREADS);
        assert_true(with->numbers - numbers_all >= without->numbers - numbers + 2 * THREADS);
    }
    watch_free(with);
    watch_free(without);
}

/* --- (f) the filter, replaced ----------------------------------------------------------- */

static void a_filter_is_replaced_while_running(void **state)
{
    const struct netlink_filter execs = { ON(EXEC) | ON(COMM), false },
                                lives = { ON(FORK) | ON(EXIT) | ON(COMM), false };
    struct watch *w = watch_new(execs, 4 * MIB);
    int status, to_go;
    (void)state;

    pid_t pid = start_child(act_exec, &to_go);
    tell_go(to_go);
    reap(pid);
    read_to_marker(w);
    assert_non_null(find(w, 0, EVENT_EXEC, pid));
    assert_null(find(w, 0, EVENT_FORK, pid));
    assert_null(find(w, 0, EVENT_EXIT, pid));

    assert_int_equal(netlink_set_filter(&w->nl, lives), 0);
    assert_int_equal(w->nl.filter.kinds, lives.kinds);
    pid = run_child(w, act_exec, &status);
    assert_non_null(find(w, 0, EVENT_FORK, pid));
    assert_null(find(w, 0, EVENT_EXEC, pid));

    assert_int_equal(netlink_set_filter(&w->nl, execs), 0);
    uint64_t from = w->kept;
    pid = start_child(act_exec, &to_go);
    tell_go(to_go);
    reap(pid);
    read_to_marker(w);
    assert_non_null(find(w, from, EVENT_EXEC, pid));
    assert_null(find(w, from, EVENT_FORK, pid));
    assert_int_equal(w->nl.count.dropped, 0);
    assert_int_equal(w->ledger.lost, 0); /* holes of the filter are no loss */
    watch_free(w);
}

/* A filtered event must not end the stream: some kernels forgot their listeners then. */
static void the_stream_goes_on_after_all_was_filtered(void **state)
{
    const struct netlink_filter nothing = { 0, false };
    struct watch *w = watch_new(nothing, 4 * MIB);
    int status;
    (void)state;

    for (int i = 0; i < 50; i++) {
        int to_go;
        pid_t pid = start_child(act_exit, &to_go);
        tell_go(to_go);
        reap(pid);
    }
    watch_drain(w);
    assert_int_equal(w->nl.count.received, 0);
    assert_int_equal(netlink_set_filter(&w->nl, everything), 0);
    run_child(w, act_exit, &status);
    watch_free(w);
}

/* --- (e) refusal ------------------------------------------------------------------------ */

enum { CANNOT_UNSHARE = 100 };

/* In a child that leaves the given namespace; a pid namespace begins with the child's child. */
static int refusal_in(int namespaces)
{
    static struct watch w;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (unshare(namespaces) < 0)
            _exit(CANNOT_UNSHARE);
        pid_t inner = namespaces & CLONE_NEWPID ? fork() : 0;
        if (inner == 0)
            _exit((int)watch_try(&w, everything, 65536));
        int status = 0;
        waitpid(inner, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    int status = reap(pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void silence_in_the_initial_namespaces_is_blamed_on_the_kernel(void **state)
{
    (void)state;

    watch_free(watch_new(everything, 65536)); /* or skip: who is answered is in those */
    assert_int_equal(netlink_refusal_of(-ETIMEDOUT), NETLINK_NO_PROC_EVENTS);
    assert_int_equal(netlink_refusal_of(-EPERM), NETLINK_NOT_PERMITTED);
}

static void a_namespace_is_refused_by_name(void **state)
{
    static const struct {
        const char *why;
        int namespaces;
        enum netlink_refusal want;
    } cases[] = {
        { "new net", CLONE_NEWNET, NETLINK_OTHER_NETNS },
        { "new pid", CLONE_NEWPID, NETLINK_OTHER_PIDNS },
        { "new user", CLONE_NEWUSER, NETLINK_OTHER_USERNS },
        { "new user and pid", CLONE_NEWUSER | CLONE_NEWPID, NETLINK_OTHER_PIDNS },
        { "none", 0, NETLINK_OK },
    };
    (void)state;

    watch_free(watch_new(everything, 65536)); /* or skip */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = refusal_in(cases[i].namespaces);
        if (got == CANNOT_UNSHARE)
            skip_for("unshare is not permitted here");
        print_message("  %s: %s\n", cases[i].why, netlink_refusal_text((enum netlink_refusal)got));
        assert_int_equal(got, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_namespace_is_refused_by_name),
        cmocka_unit_test(silence_in_the_initial_namespaces_is_blamed_on_the_kernel),
        cmocka_unit_test(a_forged_event_is_rejected_and_counted),
        cmocka_unit_test(a_loss_is_counted_to_the_last_event),
        cmocka_unit_test(what_was_queued_before_the_watch_began_is_not_part_of_it),
        cmocka_unit_test(the_answer_is_got_though_the_queue_is_full),
        cmocka_unit_test(fork_and_exit_are_seen_with_parent_and_status),
        cmocka_unit_test(a_killed_process_exits_with_the_signal),
        cmocka_unit_test(exec_is_seen_between_fork_and_exit),
        cmocka_unit_test(uid_and_gid_are_seen_real_and_effective),
        cmocka_unit_test(a_new_session_is_seen),
        cmocka_unit_test(a_new_name_is_seen_as_the_kernel_cut_it),
        cmocka_unit_test(a_coredump_is_seen_with_its_parent),
        cmocka_unit_test(ptrace_is_seen_from_attach_to_detach),
        cmocka_unit_test(a_thread_is_seen_with_an_id_of_its_own),
        cmocka_unit_test(an_ack_to_another_listener_is_not_taken_for_ours),
        cmocka_unit_test(the_granted_buffer_is_told),
        cmocka_unit_test(threads_cost_a_filtered_socket_nothing),
        cmocka_unit_test(a_filter_is_replaced_while_running),
        cmocka_unit_test(the_stream_goes_on_after_all_was_filtered),
    };
    return cmocka_run_group_tests_name("connector", tests, probe, NULL);
}
