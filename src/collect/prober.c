/* prober.c - answers the worker's questions about processes. See prober.h. */
#include "collect/prober.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 2000

struct question {
    int64_t starttime;
    int32_t pid;
    uint32_t topic;
};

struct reply {
    int32_t result;
    uint32_t len; /* bytes that follow */
};

struct prober {
    pthread_t thread;
    const struct procfs *fs;
    int fd;
};

/* All `len` bytes, or false: hung up, or `patience_ms` (-1: none) without a byte. */
static bool read_all(int fd, void *to, size_t len, int patience_ms)
{
    char *at = to;
    while (len) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        int polled = poll(&ready, 1, patience_ms);
        if (polled < 0 && errno == EINTR)
            continue;
        if (polled == 0)
            errno = ETIMEDOUT;
        if (polled <= 0)
            return false;
        ssize_t got = read(fd, at, len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EPIPE;
        if (got <= 0)
            return false;
        at += got;
        len -= (size_t)got;
    }
    return true;
}

static bool send_all(int fd, const void *from, size_t len)
{
    const char *at = from;
    while (len) {
        ssize_t put = send(fd, at, len, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return true;
}

/* --- the answering side -------------------------------------------------------------------- */

static void *serve(void *arg)
{
    struct prober *p = arg;
    struct question q;
    struct buf answer = { 0 };

    while (read_all(p->fd, &q, sizeof q, -1)) {
        buf_clear(&answer);
        int result = q.topic < TOPICS
                         ? answers_read(p->fs, q.pid, q.starttime, (enum topic)q.topic, &answer)
                         : -EINVAL;
        if (result == 0 && answer.len > UINT32_MAX)
            result = -E2BIG;
        struct reply reply = { .result = result, .len = result ? 0 : (uint32_t)answer.len };
        if (!send_all(p->fd, &reply, sizeof reply) || !send_all(p->fd, answer.data, reply.len))
            break;
    }
    buf_free(&answer);
    return NULL;
}

int prober_start(struct prober **out, const struct procfs *fs, int fd)
{
    struct prober *p = calloc(1, sizeof *p);
    if (!p) {
        close(fd);
        return -ENOMEM;
    }
    *p = (struct prober){ .fs = fs, .fd = fd };
    int error = pthread_create(&p->thread, NULL, serve, p);
    if (error) {
        close(fd);
        free(p);
        return -error;
    }
    *out = p;
    return 0;
}

void prober_stop(struct prober *p)
{
    if (!p)
        return;
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    free(p);
}

/* --- the asking side ----------------------------------------------------------------------- */

/* After a late answer the stream is out of step: close it for good. */
static int give_up(int fd)
{
    int error = errno ? errno : EPIPE;
    shutdown(fd, SHUT_RDWR);
    return -error;
}

int prober_ask(int fd, int pid, int64_t starttime, enum topic topic, struct buf *out)
{
    struct question q = { .starttime = starttime, .pid = pid, .topic = topic };
    struct reply reply;

    errno = 0;
    if (!send_all(fd, &q, sizeof q) || !read_all(fd, &reply, sizeof reply, PATIENCE_MS))
        return give_up(fd);
    if (reply.result < 0)
        return reply.result;
    char *to = buf_reserve(out, reply.len);
    if (!to && reply.len) {
        errno = ENOMEM;
        return give_up(fd);
    }
    if (!read_all(fd, to, reply.len, PATIENCE_MS))
        return give_up(fd);
    out->len += reply.len;
    return 0;
}
