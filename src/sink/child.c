/* child.c - the privileged side: starts the program of an exec. See place.h. */
#include "sink/place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    NULL,
};

struct child {
    const char *argv[SPEC_ARGS_MAX + 1];
    struct place_user user;
    int input, null;
    int told; /* closed by the exec; else the errno of what went wrong */
};

#define ENTRY_MOST ((size_t)1 << 20) /* bytes: a directory of users may have long ones */

struct place_user place_find_user(const struct place_rules *rules)
{
    struct place_user user = { 0 };
    struct passwd entry, *found = NULL;
    if (!rules->allow_exec || !rules->user || geteuid() != 0)
        return user;
    user.error = ERANGE;
    for (size_t size = 16 << 10; user.error == ERANGE && size <= ENTRY_MOST; size *= 4) {
        char *text = malloc(size);
        user.error = text ? getpwnam_r(rules->user, &entry, text, size, &found) : ENOMEM;
        if (found)
            user = (struct place_user){ found->pw_uid, found->pw_gid, true, 0 };
        free(text);
    }
    if (!found && !user.error)
        user.error = ENOENT;
    return user;
}

/* The kernel's own calls: those of the C library would first stop the threads that it believes to
 * be there. */
static bool give_up(const struct child *child)
{
    if (child->user.becomes && (syscall(SYS_setgroups, 0, NULL) ||
                           syscall(SYS_setresgid, child->user.gid, child->user.gid, child->user.gid) ||
                           syscall(SYS_setresuid, child->user.uid, child->user.uid, child->user.uid)))
        return false;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* signal() refuses the two that the C library keeps for its threads, which the one that started us
 * may have left ignored. */
static void forget_signals(void)
{
    static const unsigned long by_default[8]; /* the kernel's struct sigaction: SIG_DFL, no flags */
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        syscall(SYS_rt_sigaction, i, by_default, NULL, NSIG / 8);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Its input, no output, our standard error; and the way to tell, which the exec closes. */
static bool keep_descriptors(struct child *child)
{
    int told = fcntl(child->told, F_DUPFD_CLOEXEC, 3);
    if (told < 0 || dup2(child->input, 0) < 0 || dup2(child->null, 1) < 0 || dup2(told, 3) < 0)
        return false;
    child->told = 3;
    fcntl(3, F_SETFD, FD_CLOEXEC);
    return syscall(SYS_close_range, 4, ~0U, 0) == 0 || errno == ENOSYS;
}

/* After the fork of one thread among several: nothing here may take a lock. */
static void run(struct child *child)
{
    struct sched_param none = { 0 };
    setsid();
    sched_setscheduler(0, SCHED_OTHER, &none);
    setpriority(PRIO_PROCESS, 0, 0);
    umask(022);
    forget_signals();
    if (chdir("/") == 0 && keep_descriptors(child) && give_up(child))
        execvpe(child->argv[0], (char **)child->argv, (char **)environment);
    int error = errno;
    if (write(child->told, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

/* No signal handler of ours runs in the child. */
static pid_t fork_quietly(struct child *child)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        run(child);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return pid;
}

static pid_t start(struct child *child, char *why)
{
    int told[2], error = 0;
    if (pipe2(told, O_CLOEXEC) < 0)
        return -errno;
    child->told = told[1];
    pid_t pid = fork_quietly(child);
    if (pid < 0)
        error = errno;
    close(told[1]);
    while (pid > 0 && read(told[0], &error, sizeof error) < 0 && errno == EINTR)
        ;
    close(told[0]);
    if (!error)
        return pid;
    if (pid > 0)
        waitpid(pid, NULL, 0);
    snprintf(why, PLACE_WHY_MAX, "cannot run %s: %s", child->argv[0], strerror(error));
    return -error;
}

pid_t place_start(const struct place_rules *rules, const struct place_user *user,
                  const struct sink_spec *spec, int input, char *why)
{
    struct child child = { .input = input, .user = *user };
    *why = '\0';
    if (!rules->allow_exec) {
        snprintf(why, PLACE_WHY_MAX, "not allowed: start with --allow-exec");
        return -EACCES;
    }
    spec_argv(spec, child.argv);
    if (user->error) {
        snprintf(why, PLACE_WHY_MAX, "cannot run %s as user '%s': %s", child.argv[0], rules->user,
                 user->error == ENOENT ? "there is none" : strerror(user->error));
        return -user->error;
    }
    child.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (child.null < 0)
        return -errno;
    pid_t pid = start(&child, why);
    close(child.null);
    return pid;
}
