/* steward.c - does for a worker what it may not do itself. See steward.h. */
#include "embed/steward.h"

#include "base/log.h"
#include "collect/answers.h"
#include "embed/shelf.h"
#include "host/request.h"
#include "sink/keeper.h"

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

/* --- sinks --------------------------------------------------------------------------------------- */

/* What all four have in common: who asks, and what. False: it is no question. */
static bool take_sink_question(struct steward *s, const void *bytes, size_t len,
                               struct keeper_asker *asker, struct request_sink *q)
{
    if (len < sizeof *q)
        return false;
    memcpy(q, bytes, sizeof *q);
    *asker = (struct keeper_asker){ s->means.owner, q->life };
    return true;
}

/* Without a keeper the answer is empty: nothing was opened, and nothing is wrong. */
static int answer_sink_open(struct steward *s, const void *bytes, size_t len, struct buf *out,
                            int *fds)
{
    struct keeper_answer answer = { 0 };
    struct keeper_asker asker;
    struct request_sink q;
    int n = 0;
    if (!take_sink_question(s, bytes, len, &asker, &q))
        return -EINVAL;
    if (s->means.keeper)
        n = keeper_open(s->means.keeper, asker, (const char *)bytes + sizeof q, len - sizeof q,
                        &answer, fds);
    buf_add(out, &answer, sizeof answer);
    return n;
}

static int answer_sink_adopt(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds)
{
    struct keeper_answer answer = { 0 };
    struct sink_spec spec;
    struct keeper_asker asker;
    struct request_sink q;
    int n = 0;
    if (!take_sink_question(s, bytes, len, &asker, &q))
        return -EINVAL;
    if (s->means.keeper)
        n = keeper_adopt(s->means.keeper, asker, &spec, &answer, fds);
    buf_add(out, &answer, sizeof answer);
    buf_add(out, &spec, answer.spec_len);
    return n;
}

static int answer_sink_tend(struct steward *s, const void *bytes, size_t len, struct buf *out,
                            int *fds)
{
    struct keeper_answer answer = { 0 };
    struct keeper_asker asker;
    struct request_sink q;
    int n = 0;
    if (!take_sink_question(s, bytes, len, &asker, &q))
        return -EINVAL;
    if (s->means.keeper)
        n = keeper_tend(s->means.keeper, asker, q.id, (enum keeper_what)q.what, &answer, fds);
    buf_add(out, &answer, sizeof answer);
    return n;
}

static int answer_sink_close(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds)
{
    struct keeper_asker asker;
    struct request_sink q;
    (void)out, (void)fds;
    if (!take_sink_question(s, bytes, len, &asker, &q))
        return -EINVAL;
    if (s->means.keeper)
        keeper_close(s->means.keeper, asker, q.id);
    return 0;
}

typedef int steward_function(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds);

static steward_function *const functions[REQUESTS] = {
    [REQUEST_PROBE] = answer_probe,
    [REQUEST_FILE] = answer_file,
    [REQUEST_SINK_OPEN] = answer_sink_open,
    [REQUEST_SINK_ADOPT] = answer_sink_adopt,
    [REQUEST_SINK_TEND] = answer_sink_tend,
    [REQUEST_SINK_CLOSE] = answer_sink_close,
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
