/* confine.c - what a confined process cannot do any more, each tried by one that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "host/confine.h"
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOT_CONFINED 100

static int shared_fd, other_pid, datagrams[2]; /* made before: an eventfd, somebody else of the same user */

static const char *user(void)
{
    return geteuid() == 0 ? "nobody" : NULL;
}

/* --- attempts: 0, or -errno ------------------------------------------------------------------- */

static int result_of(long result)
{
    return result < 0 ? -errno : 0;
}

static int open_a_file(void) { return result_of(open("/dev/null", O_RDONLY)); }
static int openat2_a_file(void) { return result_of(syscall(437, AT_FDCWD, "/dev/null", "", 24)); }
static int create_a_file(void) { return result_of(creat("/tmp/none", 0600)); }
static int stat_a_file(void) { struct stat s; return result_of(stat("/", &s)); }
static int read_a_link(void) { char s[9]; return result_of(readlink("/proc/self/exe", s, 9)); }
static int remove_a_file(void) { return result_of(unlink("/tmp/none")); }
static int change_directory(void) { return result_of(chdir("/")); }
static int list_a_directory(void) { return result_of(syscall(SYS_getdents64, 0, "", 0)); }
static int make_a_socket(void) { return result_of(socket(AF_INET, SOCK_STREAM, 0)); }
static int make_a_netlink_socket(void) { return result_of(socket(AF_NETLINK, SOCK_DGRAM, 0)); }
static int make_a_pair(void) { int p[2]; return result_of(socketpair(AF_UNIX, SOCK_STREAM, 0, p)); }
static int cut_a_file(void) { return result_of(ftruncate(shared_fd, 0)); }
static int punch_a_hole(void) { return result_of(fallocate(shared_fd, 0, 0, 1)); }
static int send_to_somebody(void)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
    return result_of(sendto(datagrams[0], "x", 1, 0, (struct sockaddr *)&name, sizeof name));
}
static int send_to_its_peer(void) { return result_of(send(datagrams[0], "x", 1, 0)); }
static int make_a_memfd(void) { return result_of(memfd_create("x", 0)); }
static int duplicate(void) { return result_of(dup2(0, 1)); }
static int fork_off(void) { return result_of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }
static int clone3_off(void) { char a[64] = ""; return result_of(syscall(SYS_clone3, a, sizeof a)); }
static int start_a_thread(void) { return result_of(syscall(SYS_clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0)); }
static int kill_another(void) { return result_of(kill(other_pid, 0)); }
static int kill_its_thread(void) { return result_of(syscall(SYS_tgkill, other_pid, other_pid, 0)); }
static int kill_by_pidfd(void) { return result_of(syscall(SYS_pidfd_open, other_pid, 0)); }
static int queue_a_signal(void) { return result_of(sigqueue(other_pid, 0, (union sigval){ 0 })); }
static int kill_itself(void) { return result_of(kill(getpid(), 0)); }
static int make_the_eventfd_wait(void) { return result_of(fcntl(shared_fd, F_SETFL, 0)); }
static int make_it_signal(void) { return result_of(fcntl(shared_fd, F_SETOWN, other_pid)); }
static int lease(void) { return result_of(fcntl(shared_fd, F_SETLEASE, F_RDLCK)); }
static int make_it_wait_by_ioctl(void) { int no = 0; return result_of(ioctl(shared_fd, FIONBIO, &no)); }
static int type_into_the_terminal(void) { return result_of(ioctl(0, TIOCSTI, "x")); }
static int gain_privileges(void) { return result_of(setuid(0)); }
static int set_a_limit(void) { return result_of(setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 })); }
static int be_dumpable(void) { return result_of(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }
static int be_first_in_line(void) { return result_of(setpriority(PRIO_PROCESS, 0, -1)); }

static int map_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? -errno
               : 0;
}

static int turn_into_code(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    return result_of(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int turn_into_code_by_key(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    return result_of(syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1));
}

static int execute(void)
{
    char *argv[] = { "true", NULL };
    return result_of(execve("/bin/true", argv, argv + 1));
}

static int execute_at(void)
{
    return result_of(syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0));
}

static int trace(void) { return result_of(ptrace(PTRACE_ATTACH, other_pid, 0, 0)); }
static int be_traced(void) { return result_of(ptrace(PTRACE_TRACEME, 0, 0, 0)); }
static int load_bpf(void) { return result_of(syscall(SYS_bpf, 0, NULL, 0)); }
static int make_a_ring(void) { return result_of(syscall(425, 1, NULL)); }
static int leave_the_namespace(void) { return result_of(unshare(CLONE_NEWUSER)); }
static int read_anothers_memory(void)
{
    char byte;
    struct iovec here = { &byte, 1 };
    return result_of(process_vm_readv(other_pid, &here, 1, &here, 1, 0));
}

/* What a worker lives of. */
static int do_what_a_worker_does(void)
{
    struct stat about;
    struct pollfd ready = { .fd = shared_fd, .events = POLLOUT };
    struct timespec now;
    timer_t timer;
    time_t at = 0;
    char *memory = malloc(8 << 20);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event one = { .events = EPOLLIN };
    struct sigevent by = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };

    if (!memory || epoll < 0 || fstat(shared_fd, &about) || poll(&ready, 1, 0) != 1 ||
        clock_gettime(CLOCK_MONOTONIC, &now) || epoll_ctl(epoll, EPOLL_CTL_ADD, shared_fd, &one) ||
        epoll_wait(epoll, &one, 1, 0) < 0 || eventfd_write(shared_fd, 1) ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &by, &timer) || fcntl(shared_fd, F_GETFL) < 0 ||
        dprintf(2, "%s", "") || !localtime(&at) || raise(0))
        return -errno;
    signal(SIGUSR1, SIG_IGN);
    free(memory);
    close(epoll);
    return 0;
}

static int run_lua(void)
{
    struct host_options options = { .fd = shared_fd, .table_bytes = 1 << 20 };
    struct host *h;
    static const char text[] = "local t = {} for i = 1, 1e5 do t[i] = { i } end "
                               "assert(os.date('*t').year > 2000) assert(not pcall(error)) "
                               "require 'moonwatch'.script { name = 'x' }";
    int result = host_new(&h, &options);
    if (result)
        return result;
    host_clock(h, clock_mono_ns(), clock_real_ns());
    return host_load(h, "=x", text, sizeof text - 1);
}

enum outcome { ALLOWED, REFUSED, DEADLY };

static const struct attempt {
    const char *name;
    int (*attempt)(void);
    enum outcome want;
} attempts[] = {
    { "do what a worker does", do_what_a_worker_does, ALLOWED },
    { "run Lua", run_lua, ALLOWED },
    { "open a file", open_a_file, REFUSED },
    { "openat2 a file", openat2_a_file, REFUSED },
    { "create a file", create_a_file, REFUSED },
    { "stat a file", stat_a_file, REFUSED },
    { "read a link", read_a_link, REFUSED },
    { "remove a file", remove_a_file, REFUSED },
    { "change directory", change_directory, REFUSED },
    { "list a directory", list_a_directory, REFUSED },
    { "cut a file", cut_a_file, REFUSED },
    { "punch a hole", punch_a_hole, REFUSED },
    { "make a socket", make_a_socket, REFUSED },
    { "make a netlink socket", make_a_netlink_socket, REFUSED },
    { "make a pair of sockets", make_a_pair, REFUSED },
    { "send to its peer", send_to_its_peer, ALLOWED },
    { "send to somebody by name", send_to_somebody, REFUSED },
    { "make a memfd", make_a_memfd, REFUSED },
    { "put a descriptor in another's place", duplicate, REFUSED },
    { "fork", fork_off, REFUSED },
    { "clone3", clone3_off, REFUSED },
    { "start a thread", start_a_thread, REFUSED },
    { "signal another process", kill_another, REFUSED },
    { "signal another's thread", kill_its_thread, REFUSED },
    { "open a pidfd", kill_by_pidfd, REFUSED },
    { "queue a signal", queue_a_signal, REFUSED },
    { "signal itself by kill", kill_itself, REFUSED },
    { "make the shared eventfd wait", make_the_eventfd_wait, REFUSED },
    { "make the eventfd signal another", make_it_signal, REFUSED },
    { "take a lease", lease, REFUSED },
    { "make the eventfd wait by ioctl", make_it_wait_by_ioctl, REFUSED },
    { "type into the terminal", type_into_the_terminal, REFUSED },
    { "become root again", gain_privileges, REFUSED },
    { "set a limit", set_a_limit, REFUSED },
    { "be dumpable again", be_dumpable, REFUSED },
    { "be first in line", be_first_in_line, REFUSED },
    { "map executable memory", map_code, REFUSED },
    { "make memory executable", turn_into_code, REFUSED },
    { "make memory executable with a key", turn_into_code_by_key, REFUSED },
    { "execute a program", execute, DEADLY },
    { "execute a program by descriptor", execute_at, DEADLY },
    { "trace another process", trace, DEADLY },
    { "be traced", be_traced, DEADLY },
    { "load BPF", load_bpf, DEADLY },
    { "make an io_uring", make_a_ring, DEADLY },
    { "leave the namespace", leave_the_namespace, DEADLY },
    { "read another's memory", read_anothers_memory, DEADLY },
};

/* The exit status of a confined child: 0, or errno; or the signal that ended it, plus 256. */
static int in_a_child(enum profile profile, int (*what)(void))
{
    char why[256];
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct confine_options walls = { .profile = profile,
                                         .user = user(),
                                         .memory_bytes = 256 << 20 };
        if (confine(&walls, why, sizeof why) < 0)
            _exit(NOT_CONFINED);
        _exit(-what());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool kernel_filters(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
}

static void try_it(void **state)
{
    const struct attempt *a = *state;
    if (!kernel_filters())
        skip();
    int got = in_a_child(PROFILE_POLICY, a->attempt);
    if (a->want == DEADLY)
        assert_int_equal(got, 256 + SIGSYS);
    else
        assert_int_equal(got, a->want == REFUSED ? EPERM : 0);
}

/* --- what /proc says about one ------------------------------------------------------------------- */

static const char *line_of(const char *status, const char *name)
{
    static char value[64];
    const char *at = strstr(status, name);
    *value = '\0';
    if (at)
        sscanf(at + strlen(name), " %63s", value);
    return value;
}

static void read_status(pid_t pid, char *text, size_t cap)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(text, 1, cap - 1, file);
    text[len] = '\0';
    fclose(file);
}

/* A confined child that waits; it ends when `hold` is closed. */
static pid_t start_confined(enum profile profile, int *hold, bool *confined)
{
    int ready[2], end[2];
    char why[256], byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        struct confine_options walls = { .profile = profile, .user = user() };
        close(end[1]);
        byte = confine(&walls, why, sizeof why) == 0;
        ssize_t n = write(ready[1], &byte, 1);
        n = read(end[0], &byte, 1);
        _exit(n == 0 ? 0 : 1);
    }
    close(ready[1]);
    close(end[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *hold = end[1];
    *confined = byte;
    return child;
}

static void check_status(enum profile profile, const char *seccomp)
{
    static const char *const none[] = { "CapInh:", "CapPrm:", "CapEff:", "CapAmb:" };
    char status[8192];
    int hold;
    bool confined;
    pid_t child = start_confined(profile, &hold, &confined);
    read_status(child, status, sizeof status);
    close(hold);
    waitpid(child, NULL, 0);

    assert_true(confined);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_string_equal(line_of(status, none[i]), "0000000000000000");
    assert_string_equal(line_of(status, "NoNewPrivs:"), "1");
    assert_string_equal(line_of(status, "Seccomp:"), seccomp);
    if (geteuid())
        return;
    char uid[16];
    snprintf(uid, sizeof uid, "%u", getpwnam("nobody")->pw_uid);
    assert_string_equal(line_of(status, "Uid:"), uid);
    assert_string_equal(line_of(status, "CapBnd:"), "0000000000000000");
}

static void a_policy_worker_has_nothing_left(void **state)
{
    (void)state;
    if (!kernel_filters())
        skip();
    check_status(PROFILE_POLICY, "2");
}

static void a_trusted_worker_has_no_privileges_but_no_filter(void **state)
{
    (void)state;
    check_status(PROFILE_TRUSTED, "0");
}

/* --- limits ------------------------------------------------------------------------------------ */

static int open_without_end(void)
{
    for (int i = 0; i < 300; i++)
        if (eventfd(0, 0) < 0)
            return -errno;
    return 0;
}

static int map_without_end(void)
{
    return mmap(NULL, 512u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED
               ? -errno
               : 0;
}

static int trusted_things(void)
{
    int fd = open("/dev/null", O_RDONLY);
    if (fd < 0 || !confine_may_compile())
        return -EIO;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return child < 0 || waitpid(child, NULL, 0) != child ? -errno : 0;
}

static void limits_hold(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(PROFILE_POLICY, open_without_end), EMFILE);
    assert_int_equal(in_a_child(PROFILE_POLICY, map_without_end), ENOMEM);
}

static void a_trusted_worker_opens_forks_and_compiles(void **state)
{
    (void)state;
    assert_int_equal(in_a_child(PROFILE_TRUSTED, trusted_things), 0);
}

static void an_unknown_user_is_refused_by_name(void **state)
{
    char why[256] = "";
    (void)state;
    if (geteuid())
        skip();
    struct confine_options walls = { .user = "no such user" };
    assert_int_equal(confine(&walls, why, sizeof why), -ENOENT);
    assert_non_null(strstr(why, "there is no user 'no such user'"));
}

int main(void)
{
    const struct CMUnitTest whole[] = {
        cmocka_unit_test(a_policy_worker_has_nothing_left),
        cmocka_unit_test(a_trusted_worker_has_no_privileges_but_no_filter),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_trusted_worker_opens_forks_and_compiles),
        cmocka_unit_test(an_unknown_user_is_refused_by_name),
    };
    enum { ATTEMPTS = sizeof attempts / sizeof *attempts, WHOLE = sizeof whole / sizeof *whole };
    struct CMUnitTest tests[ATTEMPTS + WHOLE];
    for (int i = 0; i < ATTEMPTS; i++)
        tests[i] = (struct CMUnitTest){ attempts[i].name, try_it, NULL, NULL, (void *)&attempts[i] };
    memcpy(tests + ATTEMPTS, whole, sizeof whole);

    bool confined;
    int hold;
    shared_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams))
        return 1;
    other_pid = start_confined(PROFILE_TRUSTED, &hold, &confined);
    int failed = _cmocka_run_group_tests("confine", tests, ATTEMPTS + WHOLE, NULL, NULL);
    close(hold);
    waitpid(other_pid, NULL, 0);
    return failed;
}
