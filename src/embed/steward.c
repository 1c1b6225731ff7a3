/* steward.c - does for a worker what it may not do itself. See steward.h. */
#include "embed/steward.h"

#include "base/log.h"
#include "collect/answers.h"
#include "embed/shelf.h"
#include "host/request.h"

#include <errno.h>
#include <limits.h>
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

/* Nothing of what others could have written, and nothing outside of the script's directory. */
static int answer_file(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds)
{
    const struct request_file *q = bytes;
    char script[PATH_MAX], name[PATH_MAX], resolved[PATH_MAX];
    const char *why = "";
    size_t name_len = len - sizeof *q;
    (void)fds;
    if (len <= sizeof *q || name_len >= sizeof name)
        return -EINVAL;
    memcpy(name, q + 1, name_len);
    name[name_len] = '\0';
    if (strlen(name) != name_len || !s->means.script_path ||
        !s->means.script_path(s->means.ctx, q->script, script, sizeof script))
        return -ENOENT;

    uint64_t hash = 0;
    buf_add(out, &hash, sizeof hash);
    int result = shelf_read_beside(script, name, out, resolved, sizeof resolved, &why);
    if (result == 0)
        hash = shelf_hash(out->data + sizeof hash, out->len - sizeof hash);
    else if (result != -ENOENT)
        log_warn("%s", why);
    if (q->module && (result == 0 || result == -ENOENT))
        s->means.script_depends(s->means.ctx, q->script, resolved, hash);
    if (result < 0)
        return result;
    memcpy(out->data, &hash, sizeof hash);
    if (hash == q->known)
        out->len = sizeof hash;
    return 0;
}

typedef int steward_function(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds);

static steward_function *const functions[REQUESTS] = {
    [REQUEST_PROBE] = answer_probe,
    [REQUEST_FILE] = answer_file,
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
