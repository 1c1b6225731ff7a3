/* steward.c - does for a worker what it may not do itself. See steward.h. */
#include "embed/steward.h"

#include "base/clock.h"
#include "base/log.h"
#include "collect/answers.h"
#include "embed/census.h"
#include "embed/rules.h"
#include "embed/signals.h"
#include "embed/vault.h"
#include "embed/shelf.h"
#include "host/request.h"
#include "host/source.h"
#include "sink/keeper.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct steward {
    struct steward_means means;
    pthread_t thread;
    int fd; /* owned; -1: no thread */
    int refused; /* stores, as was told */

    pthread_mutex_t lock;   /* of: */
    struct script *scripts; /* owned list: those of the worker */
};

struct script {
    struct script *next;
    uint32_t id;
    char name[256]; /* for files and people */
};

/* A script may ask again and again. */
#define REFUSALS_TOLD 10

/* --- one function for each kind --------------------------------------------------------------- */

static int answer_probe(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds)
{
    const struct request_probe *q = bytes;
    (void)fds;
    if (len != sizeof *q || q->topic >= TOPICS)
        return -EINVAL;
    return answers_read(s->means.proc, q->pid, q->starttime, (enum topic)q->topic, out);
}

/* Does the worker run it? In this process there is no worker to lie. */
static bool is_its(struct steward *s, uint32_t id)
{
    bool its = s->fd < 0;
    pthread_mutex_lock(&s->lock);
    for (const struct script *script = s->scripts; script; script = script->next)
        its = its || script->id == id;
    pthread_mutex_unlock(&s->lock);
    return its;
}

/* The path of the asker's script, and what follows the head of its question as a text. 0, or -errno. */
static int read_beside(struct steward *s, uint32_t id, const char *text, size_t len,
                       char script[PATH_MAX], char name[PATH_MAX])
{
    if (!len || len >= PATH_MAX)
        return -EINVAL;
    memcpy(name, text, len);
    name[len] = '\0';
    if (strlen(name) != len || !s->means.script_path || !is_its(s, id) ||
        !s->means.script_path(s->means.ctx, id, script, PATH_MAX))
        return -ENOENT;
    return 0;
}

/* Nothing of what others could have written, and nothing outside of the script's directory. */
static int answer_file(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds)
{
    const struct request_file *q = bytes;
    char script[PATH_MAX], name[PATH_MAX], resolved[PATH_MAX];
    const char *why = "";
    (void)fds;
    if (len < sizeof *q)
        return -EINVAL;
    int result = read_beside(s, q->script, (const char *)(q + 1), len - sizeof *q, script, name);
    if (result < 0)
        return result;

    uint64_t hash = 0;
    buf_add(out, &hash, sizeof hash);
    result = shelf_read_beside(script, name, out, resolved, sizeof resolved, &why);
    if (result == 0)
        hash = shelf_hash(out->data + sizeof hash, out->len - sizeof hash);
    else if (result != -ENOENT && s->refused++ < REFUSALS_TOLD)
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

static int answer_rules(struct steward *s, const void *bytes, size_t len, struct buf *out,
                        int *fds)
{
    const struct request_rules *q = bytes;
    char script[PATH_MAX], name[PATH_MAX];
    (void)fds;
    if (len < sizeof *q)
        return -EINVAL;
    int result = read_beside(s, q->script, (const char *)(q + 1), len - sizeof *q, script, name);
    return result < 0 ? result : rules_read_beside(script, name, q->known, out);
}

/* Of this system's own list; asking further could take as long as a network likes. */
static int answer_user(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds)
{
    uint32_t uid;
    char line[4096];
    struct passwd user, *found = NULL;
    (void)s, (void)fds;
    if (len != sizeof uid)
        return -EINVAL;
    memcpy(&uid, bytes, sizeof uid);
    FILE *from = fopen("/etc/passwd", "re");
    while (from && !fgetpwent_r(from, &user, line, sizeof line, &found) && found->pw_uid != uid)
        found = NULL;
    buf_puts(out, found ? found->pw_name : "");
    if (from)
        fclose(from);
    return 0;
}

/* --- names ----------------------------------------------------------------------------------- */

/* The next of the NUL-ended texts up to `end`; NULL when there is none. */
static const char *take_text(const char **at, const char *end)
{
    const char *text = *at, *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;
    if (nul)
        *at = nul + 1;
    return nul ? text : NULL;
}

/* Byte for byte: stores of two scripts must not have one name. */
static void name_after(const char *chunk, char *to, size_t cap)
{
    const char *stem;
    size_t len = source_stem_in(chunk, &stem);
    snprintf(to, cap, "%.*s", (int)len, stem);
}

/* What the script is called here, whatever its worker calls it; in this process there is no worker
 * to lie. -EPERM: it is none of its. */
static int name_of_script(struct steward *s, uint32_t id, const char *said, char *to, size_t cap)
{
    char path[PATH_MAX];
    int result = s->fd < 0 ? 0 : -EPERM;
    if (!result && s->means.script_path && s->means.script_path(s->means.ctx, id, path, sizeof path))
        name_after(path, to, cap);
    else
        snprintf(to, cap, "%s", said);
    pthread_mutex_lock(&s->lock);
    for (const struct script *script = s->scripts; script; script = script->next)
        if (script->id == id) {
            snprintf(to, cap, "%s", script->name);
            result = 0;
        }
    pthread_mutex_unlock(&s->lock);
    return result;
}

int steward_script(struct steward *s, uint32_t id, const char *name)
{
    struct script *script = malloc(sizeof *script);
    if (!script)
        return -ENOMEM;
    script->id = id;
    name_after(name ? name : "=-e", script->name, sizeof script->name);
    pthread_mutex_lock(&s->lock);
    struct script **at = &s->scripts;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    script->next = *at ? (*at)->next : NULL;
    free(*at);
    *at = script;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void steward_forget(struct steward *s, uint32_t id)
{
    if (s->means.vault)
        vault_forget(s->means.vault, s, id);
}

/* --- stores ---------------------------------------------------------------------------------- */

static void add_refusal(struct buf *out, int error, struct buf *why)
{
    struct request_refusal refusal = { .error = error };
    buf_add(out, &refusal, sizeof refusal);
    buf_add(out, why->data ? why->data : "", why->len);
}

typedef int vault_function(struct vault *v, const struct vault_holder *holder, const char *store,
                           struct buf *why);

static int answer_store(struct steward *s, const void *bytes, size_t len, struct buf *out,
                        int *fds, vault_function *function)
{
    const struct request_store *q = bytes;
    const char *end = (const char *)bytes + len, *at = (const char *)(q + 1);
    char name[256];
    if (len < sizeof *q)
        return -EINVAL;
    const char *said = take_text(&at, end), *store = take_text(&at, end);
    if (!said || !store || at != end)
        return -EINVAL;
    if (!s->means.vault)
        return -ENOTCONN;
    int result = name_of_script(s, q->script, said, name, sizeof name);
    if (result < 0)
        return result;

    struct buf why = { 0 };
    struct vault_holder holder = { .worker = s, .script = q->script, .name = name };
    fds[0] = function(s->means.vault, &holder, store, &why);
    if (fds[0] < 0) {
        if (s->refused++ < REFUSALS_TOLD)
            log_warn("store '%s' of script '%s': %s", store, name, buf_str(&why));
        add_refusal(out, fds[0], &why);
    }
    buf_free(&why);
    return fds[0] >= 0;
}

static int answer_store_open(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds)
{
    return answer_store(s, bytes, len, out, fds, vault_open);
}

static int answer_store_compact(struct steward *s, const void *bytes, size_t len, struct buf *out,
                                int *fds)
{
    return answer_store(s, bytes, len, out, fds, vault_compact);
}

/* --- signals --------------------------------------------------------------------------------- */

static int answer_signal(struct steward *s, const void *bytes, size_t len, struct buf *out,
                         int *fds)
{
    const struct request_signal *q = bytes;
    const char *end = (const char *)bytes + len, *at = (const char *)(q + 1);
    char name[256];
    (void)fds;
    if (len < sizeof *q)
        return -EINVAL;
    const char *said = take_text(&at, end);
    if (!said || at != end)
        return -EINVAL;
    if (!s->means.signals)
        return -ENOTCONN;
    int result = name_of_script(s, q->script, said, name, sizeof name);
    if (result < 0)
        return result;

    struct buf why = { 0 };
    result = signals_send(s->means.signals, name, q->pid, q->starttime, q->signal, &why);
    if (result < 0)
        add_refusal(out, result, &why);
    buf_free(&why);
    return 0;
}

/* --- census ---------------------------------------------------------------------------------- */

static int answer_census(struct steward *s, const void *bytes, size_t len, struct buf *out,
                         int *fds)
{
    (void)fds;
    if (len % sizeof(int32_t) || len / sizeof(int32_t) > CENSUS_MOST)
        return -EINVAL;
    return census_take(s->means.proc, bytes, len / sizeof(int32_t), out);
}

/* --- sinks --------------------------------------------------------------------------------------- */

/* What it was asked, and where the answer goes. */
struct sink_question {
    struct keeper *keeper;
    struct keeper_asker asker;
    struct request_sink q;
    const void *rest; /* after it */
    size_t rest_len;
    struct keeper_answer answer;
    struct sink_spec spec; /* answer.spec_len bytes of it follow the answer */
};

/* Returns how many descriptors. */
typedef int sink_function(struct sink_question *question, int *fds);

/* Without a keeper the answer is empty: nothing was opened, and nothing is wrong. */
static int answer_sink(struct steward *s, const void *bytes, size_t len, struct buf *out, int *fds,
                       sink_function *function)
{
    struct sink_question question = { .keeper = s->means.keeper };
    int n = 0;
    if (len < sizeof question.q)
        return -EINVAL;
    memcpy(&question.q, bytes, sizeof question.q);
    question.asker = (struct keeper_asker){ s->means.owner, question.q.life };
    question.rest = (const char *)bytes + sizeof question.q;
    question.rest_len = len - sizeof question.q;
    if (question.keeper)
        n = function(&question, fds);
    buf_add(out, &question.answer, sizeof question.answer);
    buf_add(out, &question.spec, question.answer.spec_len);
    return n;
}

static int open_sink(struct sink_question *a, int *fds)
{
    return keeper_open(a->keeper, a->asker, a->q.script, a->rest, a->rest_len, &a->answer, fds);
}

static int adopt_sink(struct sink_question *a, int *fds)
{
    return keeper_adopt(a->keeper, a->asker, &a->spec, &a->answer, fds);
}

static int tend_sink(struct sink_question *a, int *fds)
{
    enum keeper_what what = (enum keeper_what)a->q.what;
    return keeper_tend(a->keeper, a->asker, a->q.id, what, &a->answer, fds);
}

static int close_sink(struct sink_question *a, int *fds)
{
    (void)fds;
    keeper_close(a->keeper, a->asker, a->q.id);
    return 0;
}

static int answer_sink_open(struct steward *s, const void *bytes, size_t len, struct buf *out,
                            int *fds)
{
    struct request_sink q;
    char name[256];
    if (len < sizeof q)
        return -EINVAL;
    memcpy(&q, bytes, sizeof q);
    int result = name_of_script(s, q.script, "", name, sizeof name);
    return result < 0 ? result : answer_sink(s, bytes, len, out, fds, open_sink);
}

static int answer_sink_adopt(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds)
{
    return answer_sink(s, bytes, len, out, fds, adopt_sink);
}

static int answer_sink_tend(struct steward *s, const void *bytes, size_t len, struct buf *out,
                            int *fds)
{
    return answer_sink(s, bytes, len, out, fds, tend_sink);
}

static int answer_sink_close(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds)
{
    return answer_sink(s, bytes, len, out, fds, close_sink);
}

typedef int steward_function(struct steward *s, const void *bytes, size_t len, struct buf *out,
                             int *fds);

static steward_function *const functions[REQUESTS] = {
    [REQUEST_PROBE] = answer_probe,
    [REQUEST_FILE] = answer_file,
    [REQUEST_STORE_OPEN] = answer_store_open,
    [REQUEST_STORE_COMPACT] = answer_store_compact,
    [REQUEST_SIGNAL] = answer_signal,
    [REQUEST_SINK_OPEN] = answer_sink_open,
    [REQUEST_SINK_ADOPT] = answer_sink_adopt,
    [REQUEST_SINK_TEND] = answer_sink_tend,
    [REQUEST_SINK_CLOSE] = answer_sink_close,
    [REQUEST_RULES] = answer_rules,
    [REQUEST_USER] = answer_user,
    [REQUEST_CENSUS] = answer_census,
};

int steward_answer(void *ctx, uint32_t kind, const void *bytes, size_t len, struct buf *out,
                   int *fds)
{
    if (kind >= REQUESTS || !functions[kind])
        return -EINVAL;
    return functions[kind](ctx, bytes, len, out, fds);
}

/* --- life ------------------------------------------------------------------------------------- */

int steward_new(struct steward **out, const struct steward_means *means)
{
    struct steward *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct steward){ .means = *means, .fd = -1 };
    pthread_mutex_init(&s->lock, NULL);
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

/* A thread that reads a dead disk, or the memory of who holds its lock, does not end. */
static bool has_ended(struct steward *s, int64_t patience_ns)
{
    struct timespec until = { patience_ns / NS_PER_SECOND, patience_ns % NS_PER_SECOND };
    shutdown(s->fd, SHUT_RDWR);
    return pthread_clockjoin_np(s->thread, NULL, CLOCK_MONOTONIC, &until) == 0;
}

bool steward_free(struct steward *s, int64_t patience_ns)
{
    if (!s)
        return true;
    if (s->fd >= 0) {
        if (!has_ended(s, patience_ns))
            return false;
        close(s->fd);
    }
    if (s->means.vault)
        vault_release(s->means.vault, s);
    while (s->scripts) {
        struct script *script = s->scripts;
        s->scripts = script->next;
        free(script);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
    return true;
}
