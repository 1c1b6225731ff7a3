/* taskstats.c - the accounts of ended processes, against this kernel and against what wait4 tells
 * the parent.
 *
 * Other processes of the machine may come and go meanwhile: a test looks only at its own. An end is
 * queued before the parent can reap, so nothing here waits for it. Where the accounts cannot be had
 * every test is skipped, with the reason; whether they can is asked without the code under test. */
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/taskstats.h"

#define MIB         (1024 * 1024)
#define MS          (NS_PER_SECOND / 1000)
#define DEADLINE_NS (60 * NS_PER_SECOND) /* of a test that hangs, not of one that waits */

/* Two ticks at HZ=100: what an account may lack, and by how much ticks may divide otherwise. */
#define TICKS_NS (20 * MS)

__attribute__((noreturn)) static void skip_for(const char *why)
{
    print_message("skipped: %s\n", why);
    skip();
    abort(); /* not reached */
}

/* Where the kernel can, and we may: found out by hand. NULL, or why not. */
static const char *cannot;

/* nlmsghdr, genlmsghdr, one attribute. Returns the bytes of the answer, or -1. */
static ssize_t request(int fd, uint16_t family, uint8_t cmd, uint16_t attr, const void *data,
                       uint16_t len, uint16_t *answer, size_t cap)
{
    uint16_t words[32] = { (uint16_t)(24 + len), 0, family, NLM_F_REQUEST };
    words[8] = cmd;
    words[10] = (uint16_t)(4 + len);
    words[11] = attr;
    memcpy(&words[12], data, len);
    if (send(fd, words, 24 + (size_t)((len + 3) & ~3), 0) < 0)
        return -1;
    return recv(fd, answer, cap, MSG_DONTWAIT);
}

static int probe(void **state)
{
    uint16_t answer[1024] = { 0 };
    uint32_t pid = (uint32_t)getpid();
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_GENERIC);
    (void)state;

    /* the answer's first two attributes are the name and the number */
    ssize_t got = request(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, "TASKSTATS",
                          10, answer, sizeof answer);
    if (got < 44 || answer[2] == NLMSG_ERROR || answer[19] != CTRL_ATTR_FAMILY_ID) {
        cannot = "this kernel has no CONFIG_TASKSTATS";
    } else {
        got = request(fd, answer[20], 1, 1, &pid, sizeof pid, answer, sizeof answer);
        if (got < 40 || answer[2] == NLMSG_ERROR)
            cannot = "no CAP_NET_ADMIN";
        else if (got < 36 + 400)
            cannot = "the accounts of this kernel (older than 5.19) do not tell the last task";
    }
    struct stat st;
    if (!cannot && (stat("/proc/self/ns/pid", &st) < 0 || st.st_ino != 4026531836u))
        cannot = "not in the initial pid namespace";
    close(fd);
    return 0;
}

static void open_watch(struct taskstats *ts, int buffer_bytes)
{
    const char *why;

    if (cannot)
        skip_for(cannot);
    if (taskstats_open(ts, buffer_bytes, &why) < 0)
        fail_msg("refused where it can be had: %s (%s)", why, strerror(errno));
    assert_null(why);
    assert_in_range(ts->version, 12, 1000);
}

/* --- children --------------------------------------------------------------------------- */

/* What a child does is known by name; `number` is its own. */
typedef void child_main(int number);

/* Never longer than the test: whoever hangs is killed. */
static pid_t start_child(child_main *act, int number)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        act(number);
        _exit(98);
    }
    return pid;
}

/* A child, what the parent was told of it, and what the kernel's account says. */
struct life {
    pid_t pid;
    int status;
    struct rusage used;
    int64_t elapsed_ns; /* at most */
    struct process_end end;
};

/* On a busy machine thousands of others end while one child burns: the newest are in the table. */
static void drain(struct taskstats *ts)
{
    int got;
    while ((got = taskstats_drain(ts)) > 0)
        ;
    assert_int_equal(got, 0);
    taskstats_dropped(ts);
}

static struct life live(struct taskstats *ts, child_main *act, int number)
{
    struct life l = { 0 };
    int64_t from_ns = clock_mono_ns();

    l.pid = start_child(act, number);
    assert_int_equal(wait4(l.pid, &l.status, 0, &l.used), l.pid);
    l.elapsed_ns = clock_mono_ns() - from_ns;
    drain(ts);
    if (!taskstats_take(ts, l.pid, &l.end))
        fail_msg("no end of %d, status %x; %d came, %d dropped", l.pid, (unsigned)l.status,
                 (int)ts->count.received, (int)ts->count.dropped);
    assert_false(taskstats_take(ts, l.pid, &l.end));
    assert_int_equal(l.end.pid, l.pid);
    assert_int_equal(l.end.ppid, getpid());
    assert_int_equal(l.end.exit_code, l.status);
    assert_true(l.end.elapsed_ns >= 0 && l.end.elapsed_ns <= l.elapsed_ns);
    return l;
}

static int64_t ns_of(struct timeval t)
{
    return t.tv_sec * NS_PER_SECOND + t.tv_usec * INT64_C(1000);
}

static void assert_near(int64_t got_ns, int64_t want_ns)
{
    if (got_ns < want_ns - TICKS_NS || got_ns > want_ns + TICKS_NS)
        fail_msg("%lld us instead of %lld us", (long long)got_ns / 1000, (long long)want_ns / 1000);
}

/* CPU time as the parent was told, which is that of all threads. */
static void check_cpu(const struct life *l, int64_t at_least_ns)
{
    int64_t user = ns_of(l->used.ru_utime), system = ns_of(l->used.ru_stime);

    assert_true(user + system >= at_least_ns);
    assert_near(l->end.cpu_user_ns + l->end.cpu_system_ns, user + system);
    assert_near(l->end.cpu_user_ns, user);
    assert_near(l->end.cpu_system_ns, system);
}

static void check_comm(const struct life *l, const char *want)
{
    assert_string_equal(l->end.comm, want);
}

/* Until the calling thread has used so much of a processor. */
static void burn(int64_t ns)
{
    struct timespec t;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec * NS_PER_SECOND + t.tv_nsec < ns);
}

static void start_thread(void *(*act)(void *), void *arg)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, act, arg))
        _exit(97);
    pthread_detach(thread);
}

/* --- each process has one end ------------------------------------------------------------- */

enum { LIVES = 500 };

static void act_one_of_five(int i)
{
    char name[32];

    switch (i % 5) {
    case 0:
        _exit(i % 256);
    case 1:
        kill(getpid(), i % 2 ? SIGKILL : SIGTERM);
        pause();
        break;
    case 2:
        snprintf(name, sizeof name, "mw (%d) x", i);
        prctl(PR_SET_NAME, name);
        _exit(2);
    case 3:
        if (setresgid((gid_t)(20000 + i), 1, 1) || setresuid((uid_t)(30000 + i), 2, 2))
            _exit(97);
        _exit(3);
    default:
        execl("/bin/true", "true", (char *)NULL);
    }
}

/* Some file systems tell stat(2) other numbers than they have. */
static void check_program(const struct life *l, const char *path)
{
    struct stat st;
    struct statfs fs;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(statfs(path, &fs), 0);
    assert_true(l->end.exe_inode > 0);
    if (fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC)
        return;
    assert_true(l->end.exe_inode == st.st_ino);
    assert_true(l->end.exe_dev == st.st_dev);
}

static void check_one_of_five(const struct life *l, int i)
{
    char name[32] = "";

    prctl(PR_GET_NAME, name);
    if (i % 5 == 2)
        snprintf(name, sizeof name, "mw (%d) x", i);
    check_comm(l, i % 5 == 4 ? "true" : name);
    assert_int_equal(l->end.uid, i % 5 == 3 ? (uid_t)(30000 + i) : getuid());
    assert_int_equal(l->end.gid, i % 5 == 3 ? (gid_t)(20000 + i) : getgid());
    assert_int_equal(l->end.forked_only, i % 5 != 4);
    assert_true(l->end.single);
    assert_true(l->end.max_rss > 0);

    check_program(l, i % 5 == 4 ? "/bin/true" : "/proc/self/exe");
}

static void each_of_500_short_processes_has_an_exact_end(void **state)
{
    struct taskstats ts;
    int signals = 0, exits = 0;
    (void)state;

    if (geteuid() != 0)
        skip_for("only root can change its ids");
    open_watch(&ts, 32 * MIB);
    for (int i = 0; i < LIVES; i++) {
        struct life l = live(&ts, act_one_of_five, i);
        signals += WIFSIGNALED(l.status);
        exits += WIFEXITED(l.status);
        check_one_of_five(&l, i);
    }
    assert_int_equal(signals, LIVES / 5);
    assert_int_equal(exits, LIVES - LIVES / 5);
    assert_true(ts.count.received >= LIVES);
    assert_int_equal(taskstats_dropped(&ts), 0);
    assert_int_equal(ts.count.bad + ts.count.forged + ts.count.overruns, 0);
    taskstats_close(&ts);
}

/* All of them reaped before the first is asked for, in the other order. */
static void ends_wait_until_they_are_asked_for(void **state)
{
    struct taskstats ts;
    struct process_end end;
    pid_t pids[LIVES / 5]; /* others end meanwhile, and there is room for 4096 */
    int status;
    (void)state;

    open_watch(&ts, 32 * MIB);
    for (int i = 0; i < LIVES / 5; i++) {
        pids[i] = start_child(act_one_of_five, 5 * i);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
    }
    drain(&ts);
    for (int i = LIVES / 5 - 1; i >= 0; i--) {
        assert_true(taskstats_take(&ts, pids[i], &end));
        assert_int_equal(end.exit_code, (5 * i % 256) << 8);
    }
    assert_int_equal(taskstats_dropped(&ts), 0);
    assert_int_equal(ts.count.unclaimed, 0);
    taskstats_close(&ts);
}

static void act_on_cpu(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    _exit(sched_setaffinity(0, sizeof set, &set) ? 97 : sched_getcpu());
}

static void every_processor_is_listened_to(void **state)
{
    struct taskstats ts;
    cpu_set_t ours;
    (void)state;

    open_watch(&ts, 32 * MIB);
    assert_int_equal(sched_getaffinity(0, sizeof ours, &ours), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &ours))
            assert_int_equal(live(&ts, act_on_cpu, cpu).end.exit_code, (cpu & 255) << 8);
    taskstats_close(&ts);
}

/* --- threads ------------------------------------------------------------------------------ */

enum { THREADS = 1000 };

static void *end_at_once(void *arg)
{
    return arg;
}

static void act_many_threads(int code)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end_at_once, NULL))
            _exit(97);
        pthread_join(thread, NULL);
    }
    _exit(code);
}

static void a_thousand_threads_give_one_message(void **state)
{
    struct taskstats ts;
    (void)state;

    open_watch(&ts, 32 * MIB);
    struct life l = live(&ts, act_many_threads, 7);
    assert_false(l.end.single);
    assert_int_equal(ts.count.threads, 0);
    if (ts.count.received <
        ENDS_MAX) /* nobody's time has come: a second one pushed the first out */
        assert_int_equal(ts.count.unclaimed, 0);
    assert_int_equal(taskstats_dropped(&ts), 0);
    taskstats_close(&ts);
}

static void *burn_and_end(void *arg)
{
    prctl(PR_SET_NAME, "worker");
    burn(60 * MS);
    return arg;
}

static void act_burn_in_threads(int code)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, burn_and_end, NULL))
            _exit(97);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    burn(20 * MS);
    _exit(code);
}

static void cpu_time_is_that_of_all_threads(void **state)
{
    struct taskstats ts;
    (void)state;

    open_watch(&ts, 32 * MIB);
    struct life l = live(&ts, act_burn_in_threads, 4);
    check_cpu(&l, 200 * MS);
    assert_false(l.end.single);
    assert_int_equal(l.end.read_bytes, -1);
    assert_int_equal(l.end.write_bytes, -1);
    taskstats_close(&ts);
}

/* Thread and test talk over these: told[1] -> the test, told[2] -> the thread. */
static int told[4];

static bool is_zombie(int tid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[2] == 'Z';
}

static void *end_after_the_main_thread(void *arg)
{
    char c = 'z';
    prctl(PR_SET_NAME, "late");
    burn(50 * MS);
    while (!is_zombie(getpid()))
        sched_yield();
    if (write(told[1], &c, 1) != 1 || read(told[2], &c, 1) != 1)
        _exit(96);
    syscall(SYS_exit, 5);
    return arg;
}

static void act_main_thread_first(int code)
{
    burn(30 * MS);
    start_thread(end_after_the_main_thread, NULL);
    syscall(SYS_exit, code);
}

static void a_main_thread_that_ends_first_is_no_end(void **state)
{
    struct taskstats ts;
    struct life l = { 0 };
    char c = 0;
    (void)state;

    open_watch(&ts, 32 * MIB);
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    assert_int_equal(pipe2(told + 2, O_CLOEXEC), 0);
    l.pid = start_child(act_main_thread_first, 9);
    assert_int_equal(read(told[0], &c, 1), 1);
    assert_int_equal(c, 'z');
    assert_false(taskstats_take(&ts, l.pid, &l.end));

    assert_int_equal(write(told[3], &c, 1), 1);
    assert_int_equal(wait4(l.pid, &l.status, 0, &l.used), l.pid);
    drain(&ts);
    assert_true(taskstats_take(&ts, l.pid, &l.end));
    assert_int_equal(l.end.exit_code, 5 << 8); /* of the last one, and so is the name */
    assert_int_equal(l.end.exit_code, l.status);
    assert_int_equal(l.end.ppid, getpid());
    assert_int_equal(l.end.pid, l.pid);
    check_comm(&l, "late");
    check_cpu(&l, 80 * MS);
    assert_true(l.end.elapsed_ns >= 80 * MS); /* the thread itself had 50 */
    assert_false(l.end.single);
    assert_false(l.end.forked_only); /* though it is so: said of main threads only */
    assert_int_equal(ts.count.threads, 0);
    for (int i = 0; i < 4; i++)
        close(told[i]);
    taskstats_close(&ts);
}

static void *end_all(void *arg)
{
    burn(10 * MS);
    syscall(SYS_exit_group, (int)(intptr_t)arg);
    return arg;
}

static void *wait_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void act_thread_ends_all(int code)
{
    start_thread(wait_for_ever, NULL);
    start_thread(end_all, (void *)(intptr_t)code);
    wait_for_ever(NULL);
}

static void act_thread_ends_all_after_the_main_thread(int code)
{
    start_thread(end_all, (void *)(intptr_t)code);
    syscall(SYS_exit, 9);
}

static void act_killed_with_threads(int signal)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    start_thread(wait_for_ever, NULL);
    start_thread(wait_for_ever, NULL);
    kill(getpid(), signal);
    wait_for_ever(NULL);
}

/* What live() checks anyway: the code is the parent's. */
static void the_code_is_the_parents_however_threads_end(void **state)
{
    struct taskstats ts;
    (void)state;

    open_watch(&ts, 32 * MIB);
    assert_int_equal(live(&ts, act_thread_ends_all, 7).end.exit_code, 7 << 8);
    assert_int_equal(live(&ts, act_thread_ends_all_after_the_main_thread, 8).end.exit_code, 8 << 8);
    assert_int_equal(live(&ts, act_killed_with_threads, SIGKILL).end.exit_code, SIGKILL);
    assert_int_equal(live(&ts, act_killed_with_threads, SIGTERM).end.exit_code, SIGTERM);
    assert_int_equal(live(&ts, act_killed_with_threads, SIGABRT).end.exit_code & 0x7f, SIGABRT);
    assert_int_equal(ts.count.threads, 0);
    taskstats_close(&ts);
}

static void *burn_and_exec(void *arg)
{
    char c;
    burn(50 * MS);
    if (read(told[0], &c, 1) != 1) /* the main thread has burnt, too */
        _exit(96);
    execl("/bin/sh", "sh", "-c", "exit 3", (char *)NULL);
    _exit(97);
    return arg;
}

static void act_exec_by_a_thread(int code)
{
    (void)code;
    if (pipe2(told, O_CLOEXEC) < 0)
        _exit(97);
    start_thread(burn_and_exec, NULL);
    burn(40 * MS);
    if (write(told[1], "b", 1) != 1)
        _exit(97);
    wait_for_ever(NULL);
}

static void an_exec_by_a_thread_is_no_end(void **state)
{
    struct taskstats ts;
    (void)state;

    open_watch(&ts, 32 * MIB);
    struct life l = live(&ts, act_exec_by_a_thread, 0);
    assert_int_equal(l.end.exit_code, 3 << 8);
    check_comm(&l, "sh");
    check_cpu(&l, 90 * MS); /* the main thread's too, which the exec put away */
    assert_true(l.end.elapsed_ns >= 50 * MS);
    assert_false(l.end.single);
    assert_false(l.end.forked_only);
    taskstats_close(&ts);
}

/* --- figures of a process with one thread --------------------------------------------------- */

static void act_use(int mib)
{
    char path[] = "/var/tmp/moonwatch-XXXXXX";
    size_t len = (size_t)mib * MIB;
    void *block = NULL;
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        _exit(97);
    memset(memory, 1, len);
    munmap(memory, len);
    burn(60 * MS);

    int fd = mkostemp(path, O_DIRECT);
    if (fd < 0) /* no O_DIRECT there: nothing to read and write */
        _exit(0);
    unlink(path);
    if (posix_memalign(&block, 4096, 65536) == 0) {
        memset(block, 1, 65536);
        if (pwrite(fd, block, 65536, 0) == 65536 && pread(fd, block, 65536, 0) == 65536)
            _exit(1);
    }
    _exit(0);
}

static void memory_time_and_bytes_are_what_the_parent_is_told(void **state)
{
    struct taskstats ts;
    (void)state;

    open_watch(&ts, 32 * MIB);
    struct life l = live(&ts, act_use, 30);
    check_cpu(&l, 60 * MS);
    assert_true(l.end.max_rss >= 30 * MIB);
    assert_in_range(l.end.max_rss, l.used.ru_maxrss * 1024 - 2 * MIB,
                    l.used.ru_maxrss * 1024 + 2 * MIB);
    assert_int_equal(l.end.read_bytes, l.used.ru_inblock * 512 & ~1023L);
    assert_int_equal(l.end.write_bytes, l.used.ru_oublock * 512 & ~1023L);
    print_message("  %s, read %lld and wrote %lld bytes\n",
                  l.status ? "with storage" : "without storage", (long long)l.end.read_bytes,
                  (long long)l.end.write_bytes);
    assert_true(l.end.elapsed_ns >= 60 * MS);
    taskstats_close(&ts);
}

/* --- loss ----------------------------------------------------------------------------------- */

static uint64_t seen_by(struct taskstats *ts)
{
    drain(ts);
    return ts->count.received + ts->count.dropped;
}

/* Ends since both were opened that only one was told of: looked at while nobody ends. */
static int64_t difference(struct taskstats *one, struct taskstats *other)
{
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;

    while (clock_mono_ns() < until_ns) {
        uint64_t a = seen_by(one), b = seen_by(other);
        sched_yield();
        if (seen_by(one) == a && seen_by(other) == b)
            return (int64_t)(a - b);
    }
    fail_msg("no quiet moment");
    return 0;
}

static void a_loss_is_counted_to_the_last_end(void **state)
{
    struct taskstats victim, witness;
    uint64_t truth = 0;
    (void)state;

    open_watch(&victim, 8192);
    open_watch(&witness, 32 * MIB);
    int64_t before = difference(&victim, &witness);
    uint64_t from = witness.count.received;
    for (int i = 0; i < LIVES; i++) {
        int status;
        pid_t pid = start_child(act_one_of_five, 5 * i);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (i % 100 == 99) /* it gets some air, and is overrun once more */
            drain(&victim);
    }
    int64_t after = difference(&victim, &witness);
    truth = witness.count.received - from;
    print_message("  %llu ends, victim got %llu and dropped %llu, %llu overruns\n",
                  (unsigned long long)truth, (unsigned long long)victim.count.received,
                  (unsigned long long)victim.count.dropped,
                  (unsigned long long)victim.count.overruns);
    assert_true(truth >= LIVES);
    assert_int_equal(witness.count.dropped, 0);
    assert_in_range(victim.count.dropped, LIVES / 2, truth);
    assert_true(victim.count.overruns >= 5);
    assert_int_equal(after, before);

    live(&victim, act_one_of_five, 5); /* it goes on */
    taskstats_close(&victim);
    taskstats_close(&witness);
}

static void act_fork_for_ever(int nothing)
{
    (void)nothing;
    for (;;) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        waitpid(pid, NULL, 0);
    }
}

/* The kernel knows listeners by port number, and a process gets the same one again at once. An
 * account that was on its way to the old socket must not take the new one off the list. */
static void a_socket_opened_after_another_was_closed_misses_nothing(void **state)
{
    int64_t until_ns = clock_mono_ns() + DEADLINE_NS;
    pid_t others[2];
    (void)state;

    if (cannot)
        skip_for(cannot);
    for (int i = 0; i < 2; i++)
        others[i] = start_child(act_fork_for_ever, 0);
    for (int i = 0; i < 300 && clock_mono_ns() < until_ns; i++) {
        struct taskstats ts;
        open_watch(&ts, 32 * MIB);
        for (int child = 0; child < 4; child++)
            live(&ts, act_one_of_five, 5 * child);
        taskstats_close(&ts);
    }
    for (int i = 0; i < 2; i++) {
        kill(others[i], SIGKILL);
        waitpid(others[i], NULL, 0);
    }
}

/* --- forgery and refusal -------------------------------------------------------------------- */

static void a_sender_that_is_not_the_kernel_is_counted_and_not_heard(void **state)
{
    struct taskstats ts;
    struct sockaddr_nl us;
    socklen_t len = sizeof us;
    struct nlmsghdr refusal[2] = { { .nlmsg_len = 32, .nlmsg_type = NLMSG_ERROR } };
    (void)state;

    open_watch(&ts, 32 * MIB);
    if (geteuid() != 0) {
        taskstats_close(&ts);
        skip_for("only root can forge");
    }
    assert_int_equal(getsockname(ts.fd, (struct sockaddr *)&us, &len), 0);
    refusal[1].nlmsg_len = (uint32_t)-EPERM; /* where an error has its number */
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_GENERIC);
    assert_int_equal(sendto(fd, refusal, sizeof refusal, 0, (struct sockaddr *)&us, sizeof us),
                     sizeof refusal);
    close(fd);
    drain(&ts);
    assert_int_equal(ts.count.forged, 1);
    assert_int_equal(ts.refused, 0);
    taskstats_close(&ts);
}

enum { CANNOT_UNSHARE = 200 };

static void act_open_elsewhere(int namespaces)
{
    struct taskstats ts;
    const char *why;

    if (namespaces == 0 && setresuid(65534, 65534, 65534) < 0)
        _exit(CANNOT_UNSHARE);
    if (unshare(namespaces) < 0)
        _exit(CANNOT_UNSHARE);
    if (namespaces & CLONE_NEWPID) { /* it begins with the child */
        int status = 0;
        pid_t inner = fork();
        if (inner > 0 && waitpid(inner, &status, 0) == inner)
            _exit(WEXITSTATUS(status));
    }
    int result = taskstats_open(&ts, 65536, &why);
    if (result < 0 && (strlen(why) < 20 || ts.fd != -1))
        _exit(199);
    _exit(-result);
}

static void a_refusal_is_told_by_its_reason(void **state)
{
    static const struct {
        const char *why;
        int namespaces, want;
    } cases[] = {
        { "nobody", 0, EPERM },
        { "new net", CLONE_NEWNET, ECONNREFUSED },
        { "new pid", CLONE_NEWPID, EINVAL },
        { "new user", CLONE_NEWUSER, EPERM },
    };
    (void)state;

    if (cannot)
        skip_for(cannot);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status;
        pid_t pid = start_child(act_open_elsewhere, cases[i].namespaces);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == CANNOT_UNSHARE)
            skip_for("unshare is not permitted here");
        if (WEXITSTATUS(status) != cases[i].want)
            fail_msg("%s: errno %d instead of %d", cases[i].why, WEXITSTATUS(status),
                     cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_is_told_by_its_reason),
        cmocka_unit_test(a_sender_that_is_not_the_kernel_is_counted_and_not_heard),
        cmocka_unit_test(a_loss_is_counted_to_the_last_end),
        cmocka_unit_test(a_socket_opened_after_another_was_closed_misses_nothing),
        cmocka_unit_test(each_of_500_short_processes_has_an_exact_end),
        cmocka_unit_test(ends_wait_until_they_are_asked_for),
        cmocka_unit_test(every_processor_is_listened_to),
        cmocka_unit_test(a_thousand_threads_give_one_message),
        cmocka_unit_test(cpu_time_is_that_of_all_threads),
        cmocka_unit_test(a_main_thread_that_ends_first_is_no_end),
        cmocka_unit_test(the_code_is_the_parents_however_threads_end),
        cmocka_unit_test(an_exec_by_a_thread_is_no_end),
        cmocka_unit_test(memory_time_and_bytes_are_what_the_parent_is_told),
    };
    return cmocka_run_group_tests_name("taskstats", tests, probe, NULL);
}
