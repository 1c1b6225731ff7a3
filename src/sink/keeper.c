/* keeper.c - the privileged side: keeps what scripts opened. See keeper.h. */
#include "sink/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "sink/queue.h"
#include "sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_MAX   64
#define QUEUES_MAX ((uint64_t)256 << 20) /* memory of all queues */

/* A child that ends is started again: soon, and later and later when it ends at once. */
#define RESTART_FIRST_NS (NS_PER_SECOND / 4)
#define RESTART_LAST_NS  (30 * NS_PER_SECOND)
#define GOOD_LIFE_NS     (10 * NS_PER_SECOND)

#define LEFT_PATIENCE_NS  NS_PER_SECOND /* for what is in queues at the end */
#define CHILD_PATIENCE_NS (2 * NS_PER_SECOND) /* at the end, for all children together */

/* From the end of a child's input to what it is told, while the watch goes on. */
#define TERM_AFTER_NS (60 * NS_PER_SECOND)
#define KILL_AFTER_NS (70 * NS_PER_SECOND)

struct kept {
    struct kept *next;
    struct keeper_asker asker;
    uint32_t script; /* who opened it first */
    uint32_t id;
    struct sink_spec spec;
    int queue, spool, target; /* owned; -1: none */
    enum place_target target_kind;

    int input; /* owned: the reading end of a child's pipe, so that what it left unread is not lost
                */
    pid_t child; /* 0: none */
    int64_t started_ns, restart_ns, pause_ns;
    int64_t closed_ns; /* its input has ended; 0: not yet */
    bool told_to_end;
};

struct keeper {
    const struct place_rules *rules;
    struct place_user user; /* of children */
    struct kept *kept;   /* owned list */
    struct kept *ending; /* owned list: closed ones whose child has not ended yet */
    uint32_t last_id;
    pthread_mutex_t lock;
};

static void put_why(struct keeper_answer *answer, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_why(struct keeper_answer *answer, int error, const char *format, ...)
{
    va_list args;
    answer->error = error;
    va_start(args, format);
    vsnprintf(answer->why, sizeof answer->why, format, args);
    va_end(args);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- children --------------------------------------------------------------------------------- */

/* Has it ended? The loop of an embedder may have reaped it: then how, nobody can tell. */
static bool has_ended(pid_t child, int *status)
{
    *status = 0;
    pid_t ended = waitpid(child, status, WNOHANG);
    return ended == child || (ended < 0 && errno == ECHILD);
}

static void say_ended(const struct kept *s, int status)
{
    char name[SPEC_NAME_MAX], how[64] = "";
    spec_name(&s->spec, name);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, " by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status))
        snprintf(how, sizeof how, " with status %d", WEXITSTATUS(status));
    log_warn("sink %s: it ended%s; started again in %g s", name, how,
             (double)s->pause_ns / NS_PER_SECOND);
}

static int start_child(struct keeper *k, struct kept *s, char *why)
{
    pid_t pid = place_start(k->rules, &k->user, &s->spec, s->input, why);
    if (pid < 0)
        return pid;
    s->child = pid;
    s->started_ns = clock_mono_ns();
    return 0;
}

/* Bury the child if it ended, start it anew when its time has come. */
static void mind_child(struct keeper *k, struct kept *s)
{
    char why[PLACE_WHY_MAX];
    int64_t now = clock_mono_ns();
    int status;
    if (s->child && has_ended(s->child, &status)) {
        s->child = 0;
        bool good = now - s->started_ns > GOOD_LIFE_NS;
        s->pause_ns = good || !s->pause_ns ? RESTART_FIRST_NS : s->pause_ns * 2;
        if (s->pause_ns > RESTART_LAST_NS)
            s->pause_ns = RESTART_LAST_NS;
        s->restart_ns = now + s->pause_ns;
        say_ended(s, status);
    }
    if (!s->child && now >= s->restart_ns && start_child(k, s, why) < 0) {
        s->restart_ns = now + RESTART_LAST_NS;
        log_warn("sink: %s", why);
    }
}

/* The pipe stays when the child goes: the next one reads on where that one stopped. */
static int open_exec(struct keeper *k, struct kept *s, char *why)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    s->input = ends[0];
    s->target = ends[1];
    s->target_kind = PLACE_PIPE;
    return start_child(k, s, why);
}

/* The child leads a group of its own: those that it started hear of it too. */
static void kill_child(struct kept *s)
{
    char name[SPEC_NAME_MAX];
    spec_name(&s->spec, name);
    log_warn("sink %s: it did not end with its input: killed", name);
    kill(-s->child, SIGKILL);
    s->told_to_end = true;
    s->closed_ns = INT64_MAX / 2; /* nothing more to be said */
}

/* Its input has ended: it may finish, but not for ever. */
static void press_child(struct kept *s, int64_t now)
{
    if (now - s->closed_ns > KILL_AFTER_NS) {
        kill_child(s);
    } else if (now - s->closed_ns > TERM_AFTER_NS && !s->told_to_end) {
        kill(-s->child, SIGTERM);
        s->told_to_end = true;
    }
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* What nobody will write any more is said. */
static void say_left(const struct kept *s)
{
    char name[SPEC_NAME_MAX];
    struct queue_counts count = queue_peek(s->queue);
    spec_name(&s->spec, name);
    if (count.queued + count.spooled)
        log_warn("sink %s: %llu records were not written", name,
                 (unsigned long long)(count.queued + count.spooled));
}

static void close_kept(struct kept *s)
{
    if (s->queue >= 0)
        say_left(s);
    close_fd(&s->target);
    close_fd(&s->queue);
    close_fd(&s->spool);
}

/* Its child has ended, and what that left in the pipe nobody will read. */
static void free_kept(struct kept *s)
{
    char name[SPEC_NAME_MAX];
    int unread = 0;
    spec_name(&s->spec, name);
    if (s->input >= 0 && ioctl(s->input, FIONREAD, &unread) == 0 && unread)
        log_warn("sink %s: %d bytes were not read", name, unread);
    close_fd(&s->input);
    free(s);
}

/* Nobody waits for those that are about to end. */
static void bury_ended(struct keeper *k)
{
    int64_t now = clock_mono_ns();
    int status;
    for (struct kept **at = &k->ending; *at;) {
        struct kept *s = *at;
        if (s->child && !has_ended(s->child, &status)) {
            press_child(s, now);
            at = &s->next;
            continue;
        }
        *at = s->next;
        free_kept(s);
    }
}

static struct kept *find(struct keeper *k, struct keeper_asker asker, uint32_t id)
{
    for (struct kept *s = k->kept; s; s = s->next)
        if (s->id == id && s->asker.owner == asker.owner)
            return s;
    return NULL;
}

static struct kept *find_spec(struct keeper *k, struct keeper_asker asker, uint32_t script,
                              const struct sink_spec *spec)
{
    for (struct kept *s = k->kept; s; s = s->next)
        if (s->asker.owner == asker.owner && spec_size(&s->spec) == spec_size(spec) &&
            !memcmp(&s->spec, spec, spec_size(spec)) &&
            (spec->kind != SINK_FILE || s->script == script))
            return s;
    return NULL;
}

static const struct kept *find_collision(const struct keeper *k, uint32_t script,
                                         const struct sink_spec *spec)
{
    const struct kept *s = k->kept;
    while (s && (s->script == script || !spec_collides(&s->spec, spec)))
        s = s->next;
    return s;
}

static const char *excess(const struct keeper *k, uint32_t script, const struct sink_spec *spec)
{
    uint64_t bytes = spec->queue, own_bytes = bytes;
    int n = 0, own = 0;
    for (const struct kept *s = k->kept; s; s = s->next, n++) {
        bytes += s->spec.queue;
        own_bytes += s->script == script ? s->spec.queue : 0;
        own += s->script == script;
    }
    for (const struct kept *s = k->ending; s; s = s->next, n++)
        own += s->script == script; /* their programs are still there */
    if (n >= KEPT_MAX || own >= 2 * KEEPER_A_SCRIPT)
        return n >= KEPT_MAX ? "too many outputs are open" : "the script has too many outputs open";
    return bytes > QUEUES_MAX           ? "the queues take too much memory"
           : own_bytes > QUEUES_MAX / 2 ? "the script's queues take too much memory"
                                        : NULL;
}

/* Duplicates for the asker, in their order. Returns how many; none when not all could be made. */
static int give(struct kept *s, bool all, int *fds)
{
    int from[KEEPER_FDS], n = 0, made = 0;
    if (all)
        from[n++] = s->queue;
    if (all && s->spool >= 0)
        from[n++] = s->spool;
    if (s->target >= 0)
        from[n++] = s->target;
    while (made < n && (fds[made] = fcntl(from[made], F_DUPFD_CLOEXEC, 3)) >= 0)
        made++;
    while (made < n && made > 0)
        close(fds[--made]);
    return made;
}

static int tell(struct kept *s, bool all, struct keeper_answer *answer, int *fds)
{
    answer->id = s->id;
    answer->target = s->target >= 0 ? s->target_kind : PLACE_NONE;
    return give(s, all, fds);
}

/* The target of one that has none. 0; -EAGAIN: not now; another -errno: never. */
static int open_target(struct keeper *k, struct kept *s, char *why)
{
    if (s->spec.kind == SINK_EXEC)
        return open_exec(k, s, why);
    int fd = place_open(k->rules, &s->spec, &s->target_kind, why);
    if (fd < 0)
        return fd;
    s->target = fd;
    return 0;
}

static int make_parts(struct keeper *k, struct kept *s, char *why)
{
    int result = open_target(k, s, why);
    if (result < 0 && result != -EAGAIN)
        return result;
    s->queue = queue_make(s->spec.queue);
    if (s->queue < 0) {
        snprintf(why, PLACE_WHY_MAX, "no memory for a queue: %s", strerror(-s->queue));
        return s->queue;
    }
    if (s->spec.full == SINK_SPOOL && (s->spool = place_spool(k->rules, why)) < 0)
        return s->spool;
    return result;
}

static struct kept *make_kept(struct keeper *k, struct keeper_asker asker, uint32_t script,
                              const struct sink_spec *spec, struct keeper_answer *answer)
{
    struct kept *s = malloc(sizeof *s);
    if (!s) {
        put_why(answer, ENOMEM, "not enough memory");
        return NULL;
    }
    *s = (struct kept){ .asker = asker, .script = script, .spec = *spec };
    s->queue = s->spool = s->target = s->input = -1;
    int result = make_parts(k, s, answer->why);
    answer->error = -result;
    if (result < 0 && result != -EAGAIN) {
        close_fd(&s->queue); /* there is nothing in it to speak of */
        close_kept(s);
        free_kept(s);
        return NULL;
    }
    s->id = ++k->last_id;
    s->next = k->kept;
    k->kept = s;
    return s;
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool may_open(const struct keeper *k, uint32_t script, const struct sink_spec *spec,
                     struct keeper_answer *answer)
{
    const struct kept *other = find_collision(k, script, spec);
    char name[SPEC_NAME_MAX];
    if (other) {
        spec_name(&other->spec, name);
        put_why(answer, EBUSY, "another script has %s open%s: each needs a file of its own", name,
                other->spec.rotate ? ", with those that it puts aside" : "");
        return false;
    }
    const char *no = excess(k, script, spec);
    if (no)
        put_why(answer, EMFILE, "%s", no);
    return !no;
}

static int open_locked(struct keeper *k, struct keeper_asker asker, uint32_t script,
                       const struct sink_spec *spec, struct keeper_answer *answer, int *fds)
{
    struct kept *s = find_spec(k, asker, script, spec);
    if (!s && may_open(k, script, spec, answer))
        s = make_kept(k, asker, script, spec, answer);
    if (!s)
        return 0;
    s->asker = asker;
    return tell(s, true, answer, fds);
}

int keeper_open(struct keeper *k, struct keeper_asker asker, uint32_t script, const void *bytes,
                size_t len, struct keeper_answer *answer, int *fds)
{
    struct sink_spec spec;
    *answer = (struct keeper_answer){ 0 };
    if (spec_take(&spec, bytes, len) < 0) {
        put_why(answer, EINVAL, "it is no request for an output");
        return 0;
    }
    pthread_mutex_lock(&k->lock);
    int n = open_locked(k, asker, script, &spec, answer, fds);
    pthread_mutex_unlock(&k->lock);
    return n;
}

static int reopen(struct keeper *k, struct kept *s, struct keeper_answer *answer, int *fds)
{
    enum place_target kind;
    int fd = place_open(k->rules, &s->spec, &kind, answer->why);
    if (fd < 0) {
        answer->error = -fd;
        return 0;
    }
    close_fd(&s->target);
    s->target = fd;
    s->target_kind = kind;
    return tell(s, false, answer, fds);
}

static int rotate(struct keeper *k, struct kept *s, struct keeper_answer *answer, int *fds)
{
    struct stat about;
    if (!s->spec.rotate || s->target < 0 || fstat(s->target, &about) < 0 ||
        about.st_size < (off_t)s->spec.rotate)
        return 0;
    if (place_is_there(k->rules, &s->spec, s->target)) {
        int result = place_rotate(k->rules, &s->spec, answer->why);
        if (result < 0) {
            answer->error = -result;
            return 0;
        }
    }
    return reopen(k, s, answer, fds);
}

/* An asker cannot cut a file, so that what it is given to append to stays as it was. */
static void empty_spool(struct kept *s, struct keeper_answer *answer)
{
    if (s->spool >= 0 && ftruncate(s->spool, 0) < 0)
        put_why(answer, errno, "the disk of the spool is not given back: %s", strerror(errno));
}

static int tend(struct keeper *k, struct kept *s, enum keeper_what what,
                struct keeper_answer *answer, int *fds)
{
    if (what == KEEPER_EMPTY) {
        empty_spool(s, answer);
        return 0;
    }
    if (s->spec.kind == SINK_EXEC) {
        mind_child(k, s);
        return 0;
    }
    if (what == KEEPER_ROTATE)
        return rotate(k, s, answer, fds);
    if (what == KEEPER_REOPEN)
        return reopen(k, s, answer, fds);
    if (s->spec.kind == SINK_FILE && !place_is_there(k->rules, &s->spec, s->target))
        return reopen(k, s, answer, fds);
    return 0;
}

int keeper_tend(struct keeper *k, struct keeper_asker asker, uint32_t id, enum keeper_what what,
                struct keeper_answer *answer, int *fds)
{
    int n = 0;
    *answer = (struct keeper_answer){ 0 };
    pthread_mutex_lock(&k->lock);
    bury_ended(k);
    struct kept *s = find(k, asker, id);
    if (s) {
        answer->id = id;
        n = tend(k, s, what, answer, fds);
    } else {
        put_why(answer, ENOENT, "it is not open");
    }
    pthread_mutex_unlock(&k->lock);
    return n;
}

int keeper_adopt(struct keeper *k, struct keeper_asker asker, struct sink_spec *spec,
                 struct keeper_answer *answer, int *fds)
{
    int n = 0;
    *answer = (struct keeper_answer){ 0 };
    pthread_mutex_lock(&k->lock);
    struct kept *s = k->kept;
    while (s && (s->asker.owner != asker.owner || s->asker.life == asker.life))
        s = s->next;
    if (s) {
        s->asker = asker;
        *spec = s->spec;
        answer->spec_len = (uint32_t)spec_size(spec);
        answer->script = s->script;
        n = tell(s, true, answer, fds);
    }
    pthread_mutex_unlock(&k->lock);
    return n;
}

static void take_out(struct kept **list, struct kept *s)
{
    while (*list != s)
        list = &(*list)->next;
    *list = s->next;
}

static void let_end(struct keeper *k, struct kept *s)
{
    close_kept(s);
    s->closed_ns = clock_mono_ns();
    s->next = k->ending;
    k->ending = s;
}

void keeper_tidy(struct keeper *k)
{
    if (pthread_mutex_trylock(&k->lock))
        return; /* somebody is at it */
    bury_ended(k);
    pthread_mutex_unlock(&k->lock);
}

void keeper_close(struct keeper *k, struct keeper_asker asker, uint32_t id)
{
    pthread_mutex_lock(&k->lock);
    bury_ended(k);
    struct kept *s = find(k, asker, id);
    if (s) {
        take_out(&k->kept, s);
        let_end(k, s);
        bury_ended(k);
    }
    pthread_mutex_unlock(&k->lock);
}

/* --- what nobody came to write ---------------------------------------------------------------- */

/* A worker that is still there, or left somebody behind, may write to the memory as we read: what
 * was checked must stay what it was. */
static bool make_own(struct kept *s)
{
    int copy = queue_copy(s->queue, s->spec.queue);
    if (copy < 0)
        return false;
    close_fd(&s->queue);
    s->queue = copy;
    return true;
}

static struct sink *open_left(struct kept *s)
{
    struct keeper_answer answer = { 0 };
    struct queue_counts count = queue_peek(s->queue);
    struct sink *sink = NULL;
    int fds[KEEPER_FDS];
    if (!(count.queued + count.spooled) || !make_own(s))
        return NULL;
    int n = tell(s, true, &answer, fds);
    return sink_open(&sink, &s->spec, &answer, fds, n) == 0 ? sink : NULL;
}

static void tend_left(struct keeper *k, struct kept *s, struct sink *sink)
{
    struct keeper_answer answer = { .id = s->id };
    int fds[KEEPER_FDS];
    int n = tend(k, s, sink_asks(sink), &answer, fds);
    sink_tended(sink, &answer, n ? fds[0] : -1, clock_mono_ns());
}

/* The script is off or its worker was killed, and no other took its place. Its records are only
 * bytes to us. */
static void write_left(struct keeper *k, struct kept *s, int64_t until_ns)
{
    struct sink *sink = open_left(s);
    enum sink_turn turn = SINK_MORE;
    if (sink && !sink_is_empty(sink) && s->spec.kind == SINK_EXEC)
        mind_child(k, s);
    while (sink && turn != SINK_DONE && turn != SINK_LATER && clock_mono_ns() < until_ns) {
        turn = sink_write(sink, clock_mono_ns());
        if (turn == SINK_ASKS)
            tend_left(k, s, sink);
        if (turn == SINK_MORE)
            poll(&(struct pollfd){ .fd = sink_fd(sink), .events = POLLOUT }, 1, 50);
    }
    sink_close(sink);
}

/* --- life ------------------------------------------------------------------------------------- */

int keeper_new(struct keeper **out, const struct place_rules *rules)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->rules = rules;
    k->user = place_find_user(rules);
    pthread_mutex_init(&k->lock, NULL);
    *out = k;
    return 0;
}

/* All have heard that it is over: they have one time together, then they are killed. */
static void end_children(struct keeper *k)
{
    int64_t until_ns = clock_mono_ns() + CHILD_PATIENCE_NS;
    int status;
    for (bury_ended(k); k->ending && clock_mono_ns() < until_ns; bury_ended(k))
        usleep(1000);
    for (struct kept *s = k->ending; s; s = s->next)
        kill_child(s);
    while (k->ending) {
        struct kept *s = k->ending;
        k->ending = s->next;
        waitpid(s->child, &status, 0);
        free_kept(s);
    }
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    int64_t until_ns = clock_mono_ns() + LEFT_PATIENCE_NS;
    for (struct kept *s = k->kept; s; s = s->next)
        write_left(k, s, until_ns);
    while (k->kept) {
        struct kept *s = k->kept;
        k->kept = s->next;
        let_end(k, s);
    }
    end_children(k);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
