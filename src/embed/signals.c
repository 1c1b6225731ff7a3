/* signals.c - sends the signals that scripts ask for. See signals.h. */
#include "embed/signals.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAG_KTHREAD 0x00200000 /* PF_KTHREAD of include/linux/sched.h, in /proc/PID/stat */

struct signals {
    const struct procfs *proc;
    bool allowed;
    pthread_mutex_t lock;
    double tokens;
    int64_t filled_ns;
    uint64_t unheard; /* requests that were refused for coming too fast, not told yet */
};

static const int permitted[] = { SIGTERM, SIGKILL, SIGSTOP, SIGCONT, SIGINT,
                                 SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2 };

static bool is_permitted(int signal)
{
    for (size_t i = 0; i < sizeof permitted / sizeof *permitted; i++)
        if (permitted[i] == signal)
            return true;
    return false;
}

static int refuse(struct buf *why, int error, const char *sentence)
{
    buf_puts(why, sentence);
    return error;
}

/* A request takes a token; they come back with time. */
static bool take_token(struct signals *s)
{
    int64_t now = clock_mono_ns();
    s->tokens += (double)(now - s->filled_ns) / NS_PER_SECOND * SIGNALS_A_SECOND;
    s->filled_ns = now;
    if (s->tokens > SIGNALS_BURST)
        s->tokens = SIGNALS_BURST;
    if (s->tokens < 1)
        return false;
    s->tokens--;
    return true;
}

/* 0, and what /proc/PID/stat says, borrowed from `bytes`; -ESRCH. */
static int read_stat(int pid_dir, char *bytes, size_t cap, struct procfs_stat *st)
{
    ssize_t len = procfs_read(pid_dir, "stat", bytes, cap);
    return len < 0 || procfs_parse_stat(bytes, (size_t)len, st) < 0 ? -ESRCH : 0;
}

/* Is it the one that is meant, and one that may be sent to? `comm`: its name, 16 bytes or more. */
static int check(struct signals *s, int pid, int64_t starttime, char *comm, struct buf *why)
{
    char bytes[1024];
    struct procfs_stat st;
    int dir = procfs_pid_open(s->proc, pid);
    int result = dir < 0 ? -ESRCH : read_stat(dir, bytes, sizeof bytes, &st);
    if (dir >= 0)
        close(dir);
    if (result < 0)
        return refuse(why, -ESRCH, "gone");
    snprintf(comm, 16, "%.*s", (int)st.comm_len, st.comm);
    if ((int64_t)st.starttime + 1 < starttime || (int64_t)st.starttime > starttime + 1)
        return refuse(why, -ESRCH, "gone: its pid is another process's by now");
    /* Its main thread may have ended, and others live on. */
    if ((st.state == 'Z' && st.num_threads <= 1) || st.state == 'X')
        return refuse(why, -ESRCH, "gone: it has ended and waits for its parent");
    if (st.flags & FLAG_KTHREAD)
        return refuse(why, -EPERM, "not allowed: it is a thread of the kernel");
    if (pid == getpid() || st.ppid == getpid())
        return refuse(why, -EPERM, "not allowed: it is moonwatch's own");
    return 0;
}

/* The descriptor first: whatever has the pid later, it stays this process's. If that one ended
 * before its start was read, the one that was read is another and the signal reaches nobody. */
static int send_checked(struct signals *s, int pid, int64_t starttime, int signal, char *comm,
                        struct buf *why)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH || errno == EINVAL ? refuse(why, -ESRCH, "gone")
                                                 : refuse(why, -errno, strerror(errno));
    int result = check(s, pid, starttime, comm, why);
    if (!result && syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0)
        result = refuse(why, -errno, errno == ESRCH ? "gone" : strerror(errno));
    close(fd);
    return result;
}

static int decide(struct signals *s, int pid, int64_t starttime, int signal, char *comm,
                  struct buf *why)
{
    if (!s->allowed)
        return refuse(why, -EPERM, "not allowed: start with --allow-kill");
    if (!is_permitted(signal))
        return refuse(why, -EINVAL,
                      "no such signal is sent: TERM, KILL, STOP, CONT, INT, HUP, "
                      "QUIT, USR1 and USR2 are");
    if (pid < 1 || starttime < 0)
        return refuse(why, -EINVAL, "it is not known which process that is");
    if (pid == 1)
        return refuse(why, -EPERM, "not allowed: it is the first process");
    return send_checked(s, pid, starttime, signal, comm, why);
}

static void tell(struct signals *s, const char *script, int pid, int signal, const char *comm,
                 const char *result)
{
    if (s->unheard)
        log_warn("%llu more signals that scripts asked for were refused for coming too fast",
                 (unsigned long long)s->unheard);
    s->unheard = 0;
    const char *name = sigabbrev_np(signal);
    log_warn("%s: SIG%s to %d (%s): %s", script, name ? name : "?", pid, comm, result);
}

int signals_send(struct signals *s, const char *script, int pid, int64_t starttime, int signal,
                 struct buf *why)
{
    char comm[16] = "?";
    size_t before = why->len;
    int result = -EAGAIN;

    pthread_mutex_lock(&s->lock);
    if (!take_token(s)) {
        s->unheard++;
        buf_puts(why, "too many: 20 at once, and 5 a second, are sent");
    } else {
        result = decide(s, pid, starttime, signal, comm, why);
        tell(s, script, pid, signal, comm, result < 0 ? buf_str(why) + before : "sent");
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

int signals_new(struct signals **out, const struct procfs *proc, bool allowed)
{
    struct signals *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct signals){
        .proc = proc, .allowed = allowed, .tokens = SIGNALS_BURST, .filled_ns = clock_mono_ns()
    };
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return 0;
}

void signals_free(struct signals *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}
