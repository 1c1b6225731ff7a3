/* request.c - how the worker asks the privileged side for what it may not do itself. See request.h.
 */
#include "host/request.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 2000

struct question {
    uint32_t kind;
    uint32_t len; /* bytes that follow */
    uint32_t number;
};

struct reply {
    int32_t result;
    uint32_t len; /* bytes that follow; descriptors come with the reply itself */
    uint32_t number; /* the question's */
};

/* Wait until there is something to read; false: hung up, or `patience_ms` (-1: none) are over. */
static bool await(int fd, int patience_ms)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    int polled;
    do
        polled = poll(&ready, 1, patience_ms);
    while (polled < 0 && errno == EINTR);
    if (polled == 0)
        errno = ETIMEDOUT;
    return polled > 0;
}

/* All `len` bytes, or false. */
static bool read_all(int fd, void *to, size_t len, int patience_ms)
{
    char *at = to;
    while (len) {
        if (!await(fd, patience_ms))
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

/* --- descriptors --------------------------------------------------------------------------- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(REQUEST_FDS * sizeof(int))];
};

static bool send_reply(int fd, const struct reply *reply, const int *fds, int n)
{
    union control control = { .bytes = "" };
    struct iovec part = { (void *)reply, sizeof *reply };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (n > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
    }
    ssize_t put;
    do
        put = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put == (ssize_t)sizeof *reply ||
           (put > 0 && send_all(fd, (const char *)reply + put, sizeof *reply - (size_t)put));
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

/* How many descriptors came with the message. */
static int take_descriptors(struct msghdr *message, int *fds)
{
    int n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
    }
    return n;
}

static bool receive_reply(int fd, struct reply *reply, int *fds, int *n, int patience_ms)
{
    union control control;
    struct iovec part = { reply, sizeof *reply };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof control.bytes };
    if (!await(fd, patience_ms))
        return false;
    ssize_t got;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        errno = EPIPE;
    if (got <= 0)
        return false;
    *n = take_descriptors(&message, fds);
    return read_all(fd, (char *)reply + got, sizeof *reply - (size_t)got, PATIENCE_MS);
}

/* --- the answering side -------------------------------------------------------------------- */

static bool serve_one(int fd, request_answer *answer, void *ctx, void *bytes, struct buf *out)
{
    struct question q;
    int fds[REQUEST_FDS];
    if (!read_all(fd, &q, sizeof q, -1) || q.len > REQUEST_MAX || !read_all(fd, bytes, q.len, -1))
        return false;
    buf_clear(out);
    int result = answer(ctx, q.kind, bytes, q.len, out, fds);
    int n = result > 0 ? result : 0;
    if (out->failed || out->len > UINT32_MAX) {
        close_all(fds, n);
        n = 0;
        result = out->failed ? -ENOMEM : -E2BIG;
    }
    struct reply reply = {
        .result = result, .len = result < 0 ? 0 : (uint32_t)out->len, .number = q.number
    };
    bool sent = send_reply(fd, &reply, fds, n) && send_all(fd, out->data, reply.len);
    close_all(fds, n);
    return sent;
}

void request_serve(int fd, request_answer *answer, void *ctx)
{
    struct buf out = { 0 };
    void *bytes = malloc(REQUEST_MAX);
    while (bytes && serve_one(fd, answer, ctx, bytes, &out))
        ;
    free(bytes);
    buf_free(&out);
}

/* --- the asking side ----------------------------------------------------------------------- */

/* What comes now would be in the middle of something: close it for good. */
static int give_up(struct request_link *link, const int *fds, int n)
{
    int error = errno ? errno : EPIPE;
    close_all(fds, n);
    shutdown(link->fd, SHUT_RDWR);
    return -error;
}

static bool skip(int fd, size_t len)
{
    char bytes[4096];
    while (len) {
        size_t piece = len < sizeof bytes ? len : sizeof bytes;
        if (!read_all(fd, bytes, piece, PATIENCE_MS))
            return false;
        len -= piece;
    }
    return true;
}

/* Throw away answers that came too late, as far as they are there. 0; -EBUSY: one is still to come;
 * or -errno for good. */
static int catch_up(struct request_link *link)
{
    while (link->answered != link->asked) {
        struct reply late = { 0 };
        int got[REQUEST_FDS], n = 0;
        errno = 0;
        if (!receive_reply(link->fd, &late, got, &n, 0))
            return errno == ETIMEDOUT ? -EBUSY : give_up(link, got, n);
        close_all(got, n);
        if (!skip(link->fd, late.len))
            return give_up(link, got, 0);
        link->answered = late.number;
    }
    return 0;
}

int request_ask(struct request_link *link, enum request_kind kind, const void *bytes, size_t len,
                struct buf *out, int *fds)
{
    struct reply reply = { 0 };
    int got[REQUEST_FDS], n = 0, result = catch_up(link);

    if (result < 0 || len > REQUEST_MAX)
        return result < 0 ? result : -E2BIG;
    struct question q = { .kind = kind, .len = (uint32_t)len, .number = link->asked + 1 };
    errno = 0;
    if (!send_all(link->fd, &q, sizeof q) || !send_all(link->fd, bytes, len))
        return give_up(link, got, n);
    link->asked++;
    if (!receive_reply(link->fd, &reply, got, &n, PATIENCE_MS))
        return errno == ETIMEDOUT && !n ? -ETIMEDOUT : give_up(link, got, n);
    link->answered = reply.number;
    char *to = buf_reserve(out, reply.len);
    if (!to && reply.len) {
        errno = ENOMEM;
        return give_up(link, got, n);
    }
    if (!read_all(link->fd, to, reply.len, PATIENCE_MS))
        return give_up(link, got, n);
    out->len += reply.len;
    if (!fds || reply.result < 0) {
        close_all(got, n);
        return reply.result < 0 ? reply.result : 0;
    }
    memcpy(fds, got, (size_t)n * sizeof *fds);
    return n;
}
