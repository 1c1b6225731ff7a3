/* steward.c - does for a worker what it may not do itself. See steward.h. */
#include "embed/steward.h"

#include "collect/answers.h"
#include "host/request.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct steward {
    struct steward_means means;
    pthread_t thread;
    int fd; /* owned; -1: no thread */
};

/* --- one function for each kind ---------------------------------------------------------------
 */

static int answer_probe(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds)
{
    const struct request_probe *q = bytes;
    (void)fds;
    if (len != sizeof *q || q->topic >= TOPICS)
        return -EINVAL;
    return answers_read(s->means.proc, q->pid, q->starttime, (enum topic)q->topic, out);
}

typedef int steward_function(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds);

static steward_function *const functions[REQUESTS] = {
    [REQUEST_PROBE] = answer_probe,
};

int steward_answer(void *ctx, uint32_t kind, const void *bytes, size_t len, struct buf *out,
                   int *fds)
{
    if (kind >= REQUESTS || !functions[kind])
        return -EINVAL;
    return functions[kind](ctx, bytes, len, out, fds);
}

/* --- life -------------------------------------------------------------------------------------
 */

int steward_new(struct steward **out, const struct steward_means *means)
{
    struct steward *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct steward){ .means = *means, .fd = -1 };
    *out = s;
    return 0;
}

static void *serve(void *arg)
{
    struct steward *s = arg;
    request_serve(s->fd, steward_answer, s);
    return NULL;
}

int steward_start(struct steward *s, int fd)
{
    s->fd = fd;
    int error = pthread_create(&s->thread, NULL, serve, s);
    if (error) {
        close(fd);
        s->fd = -1;
    }
    return -error;
}

void steward_free(struct steward *s)
{
    if (!s)
        return;
    if (s->fd >= 0) {
        shutdown(s->fd, SHUT_RDWR);
        pthread_join(s->thread, NULL);
        close(s->fd);
    }
    free(s);
}
