/* drain.c - the floor: takes every message of the process connector and does nothing with it.
 *
 * Reads as moonwatch does: 32 at a time, with the same buffer. At SIGINT prints how many messages
 * came and how many the kernel dropped, and with -l how old each exec was when it was read, in
 * microseconds, a line each. */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 32
#define AGES  100000

/* Offsets into a message; see linux/cn_proc.h. */
enum { AT_WHAT = 36, AT_TIMESTAMP = 44 };
#define WHAT_EXEC 2

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

static volatile sig_atomic_t ended;
static double ages[AGES];
static int ages_len;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static int fail(const char *what)
{
    fprintf(stderr, "drain: %s: %s\n", what, strerror(errno));
    return 1;
}

enum { OP_LISTEN = 1, OP_IGNORE = 2 };

static bool ask(int fd, uint32_t op)
{
    uint32_t request[10] = { sizeof request, NLMSG_DONE, 0, 0, 1, 1, 0, 0, 4, op };
    return send(fd, request, sizeof request, 0) == (ssize_t)sizeof request;
}

static int open_socket(void)
{
    struct sockaddr_nl group = { .nl_family = AF_NETLINK, .nl_groups = 1 };
    int bytes = 32 << 20;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (bind(fd, (struct sockaddr *)&group, sizeof group) < 0 || !ask(fd, OP_LISTEN))
        return -1;
    return fd;
}

static void note_age(const unsigned char *message)
{
    struct timespec t;
    uint64_t stamp;
    uint32_t what;
    memcpy(&what, message + AT_WHAT, sizeof what);
    if (what != WHAT_EXEC || ages_len == AGES)
        return;
    memcpy(&stamp, message + AT_TIMESTAMP, sizeof stamp);
    clock_gettime(CLOCK_MONOTONIC, &t);
    ages[ages_len++] = ((double)t.tv_sec * 1e9 + (double)t.tv_nsec - (double)stamp) / 1e3;
}

int main(int argc, char **argv)
{
    static unsigned char bytes[BATCH][128];
    struct mmsghdr messages[BATCH] = { 0 };
    struct iovec parts[BATCH];
    bool timed = argc > 1 && !strcmp(argv[1], "-l");
    struct sigaction action = { .sa_handler = on_signal };
    sigset_t blocked, before;
    uint64_t taken = 0;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before); /* they come in ppoll only */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int fd = open_socket();
    if (fd < 0)
        return fail("the process connector");
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ bytes[i], sizeof bytes[i] };
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }

    while (!ended) {
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        ppoll(&readable, 1, NULL, &before);
        int got;
        while ((got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL)) > 0 ||
               (got < 0 && errno == ENOBUFS)) {
            for (int i = 0; timed && i < got; i++)
                note_age(bytes[i]);
            taken += got > 0 ? (uint64_t)got : 0;
        }
    }

    uint32_t info[9] = { 0 };
    socklen_t len = sizeof info;
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len);
    ask(fd, OP_IGNORE);
    fprintf(stderr, "drain: %llu messages, %u dropped by the kernel\n", (unsigned long long)taken,
            info[8]);
    for (int i = 0; i < ages_len; i++)
        printf("%.1f\n", ages[i]);
    return 0;
}
