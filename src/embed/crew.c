/* crew.c - the scripts of a watch, and the workers that run them. See crew.h. */
#include "embed/crew.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/json.h"
#include "host/budget.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_PATIENCE_NS   (10 * NS_PER_SECOND)
#define DEATH_PATIENCE_MS  500 /* from hanging up to being gone */
#define ANSWER_PATIENCE_S  2.0 /* for figures: then what is there must do */
#define MESSAGES_A_TURN    16  /* of a worker's: then others on the loop get theirs */
#define LOOKS_A_LIMIT      4   /* how exactly the hard limit is kept */
#define UNEXPLAINED_MOST   3   /* deaths in no script's call, within UNEXPLAINED_NS */
#define UNEXPLAINED_NS     (60 * NS_PER_SECOND)
#define ID_STEP            (1u << 16) /* between scripts, so that others fit in between */
#define FIRST_WARD         2

_Static_assert(BUDGET_MARKS <= RING_WORDS, "the marks fit beside the cursor");

/* Somebody waits for an answer of a worker; they come in order. */
struct waiting {
    crew_done *done;
    void *ctx;
    struct waiting *next;
};

/* What outlives a worker. */
struct shared {
    struct output_memory output;
    struct host_counts counts;
};

/* One place for a worker; its number is that of its cursor in the ring. */
struct worker_slot {
    struct crew *crew;
    int reader;
    enum crew_group group;
    pid_t pid;               /* 0: none */
    int control;             /* owned; -1: none */
    struct steward *steward; /* owned */
    ev_io said;
    bool ready;
    unsigned restarts;
    uint32_t ward_of; /* WARD: the script in it */
    struct crew_wants wants;
    uint64_t missed, missed_before; /* by this one, by those before */
    uint64_t memory_bytes;
    bool jit;

    uint64_t seen_call; /* the call that runs, since when at least */
    int64_t seen_ns;
    bool killed;  /* because it ran for too long */
    bool failed;  /* it said which script it could not load */
    bool retired; /* its script is to run elsewhere */

    struct shared *shared;        /* owned mapping */
    struct waiting *waiting;      /* owned list */
    struct buf answer;            /* owned: pieces of the first one's */
};

struct settling {
    struct settling *next;
    int changed;
    crew_done *done;
    void *ctx;
};

/* A script runs code that is in this file. */
struct dependence {
    struct dependence *next;
    uint32_t id;
    uint64_t hash;
    char file[PATH_MAX];
};

struct crew {
    struct crew_options options;
    struct ring *ring;   /* owned; NULL: no workers */
    struct host *host;   /* borrowed; NULL: workers */
    struct ev_loop *loop; /* NULL until it is listened */
    bool started;
    struct buf error;

    struct crew_script **scripts; /* owned, by id */
    int scripts_len;
    struct worker_slot slots[RING_READERS];
    ev_timer watching, patience;
    ev_async depended;
    pthread_mutex_t mutex;   /* of the names, which stewards read, and of the next two */
    struct dependence *found; /* owned list: by stewards, to be told */
    int lock; /* owned: descriptor whose copies are locked in turn; -1: none */
    struct last_words *last_words; /* owned list: threads that write them */
    int64_t retell_at_ns;
    unsigned unexplained;
    int64_t unexplained_ns;
    void (*asked)(void *ctx); /* who wants the figures; NULL: nobody */
    void *asked_ctx;
    int reports; /* still to come */

    struct settling *settling; /* owned list: who waits until no version is being loaded */
    struct buf refused;        /* owned: sentences since somebody waits, as JSON */
};

static int fail(struct crew *c, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct crew *c, int error, const char *format, ...)
{
    char text[WORKER_TEXT + 512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_clear(&c->error);
    buf_puts(&c->error, text);
    return error;
}

const char *crew_error(const struct crew *c)
{
    return buf_str((struct buf *)&c->error);
}

/* --- the list of scripts ------------------------------------------------------------------------ */

const struct crew_script *crew_script_at(const struct crew *c, int index)
{
    return index < c->scripts_len ? c->scripts[index] : NULL;
}

static struct crew_script *script_of(const struct crew *c, uint32_t id)
{
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->id == id)
            return c->scripts[i];
    return NULL;
}

static struct crew_script *script_named(const struct crew *c, const char *name)
{
    for (int i = 0; i < c->scripts_len; i++) {
        const struct crew_script *s = c->scripts[i];
        if (s->state != SCRIPT_GONE &&
            (!strcmp(s->figures.name, name) || (s->name && !strcmp(s->name + 1, name))))
            return c->scripts[i];
    }
    return NULL;
}

const char *crew_script_name(const struct crew_script *s)
{
    return *s->figures.name ? s->figures.name : s->name ? s->name + 1 : "-e";
}

static void script_free(struct crew_script *s)
{
    free(s->name);
    free(s->text);
    free(s->next);
    free(s->after);
    free(s->shadow);
    free(s);
}

static char *copy(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    if (to) {
        memcpy(to, text, len);
        to[len] = '\0';
    }
    return to;
}

/* Where it belongs: behind the last whose name is not greater; one-liners and what has a different
 * directory keep the order in which they came. */
static int place_for(const struct crew *c, const char *name)
{
    const char *slash = name ? strrchr(name, '/') : NULL;
    if (!c->started || !slash)
        return c->scripts_len;
    int place = c->scripts_len;
    for (int i = c->scripts_len - 1; i >= 0; i--) {
        const char *other = c->scripts[i]->name;
        if (other && !strncmp(other, name, (size_t)(slash - name) + 1) &&
            !strchr(other + (slash - name) + 1, '/') && strcmp(other, name) > 0)
            place = i;
    }
    return place;
}

/* A number between its neighbours', so that it gets events between them; 0: there is none left. */
static uint32_t id_for(const struct crew *c, int place)
{
    uint32_t before = place ? c->scripts[place - 1]->id : 0;
    if (place == c->scripts_len)
        return before + (before < UINT32_MAX - ID_STEP ? ID_STEP : 1);
    uint32_t after = c->scripts[place]->id;
    return after - before > 1 ? before + (after - before) / 2 : 0;
}

static bool make_room(struct crew *c)
{
    pthread_mutex_lock(&c->mutex);
    struct crew_script **more =
        realloc(c->scripts, (size_t)(c->scripts_len + 1) * sizeof *c->scripts);
    if (more)
        c->scripts = more;
    pthread_mutex_unlock(&c->mutex);
    return more;
}

static struct worker_slot *slot_of(struct crew *c, const struct crew_script *s);

/* This one of the worker, or all (0), whose file is gone: once nothing that it says can be about
 * it, for a later script may get the same id. */
static void forget_gone(struct crew *c, const struct worker_slot *slot, uint32_t id)
{
    int kept = 0;
    pthread_mutex_lock(&c->mutex);
    for (int i = 0; i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        if (s->state == SCRIPT_GONE && (!id || s->id == id) && (c->host || slot_of(c, s) == slot))
            script_free(s);
        else
            c->scripts[kept++] = s;
    }
    c->scripts_len = kept;
    pthread_mutex_unlock(&c->mutex);
}

static struct crew_script *insert(struct crew *c, const char *name, bool trusted)
{
    struct crew_script *s = calloc(1, sizeof *s);
    if (s && name)
        s->name = strdup(name);
    if (!s || (name && !s->name) || !make_room(c)) {
        free(s);
        return NULL;
    }
    struct crew_script **more = c->scripts;
    int place = place_for(c, name);
    uint32_t id = id_for(c, place);
    if (!id) {
        place = c->scripts_len;
        id = id_for(c, place);
    }
    pthread_mutex_lock(&c->mutex);
    memmove(more + place + 1, more + place, (size_t)(c->scripts_len - place) * sizeof *more);
    more[place] = s;
    c->scripts_len++;
    s->id = id;
    pthread_mutex_unlock(&c->mutex);
    s->trusted = trusted;
    s->generation = 1;
    return s;
}

/* --- for stewards, on their threads ---------------------------------------------------------------
 */

static bool path_of(void *ctx, uint32_t id, char *path, size_t cap)
{
    struct crew *c = ctx;
    pthread_mutex_lock(&c->mutex);
    const struct crew_script *s = script_of(c, id);
    int len = s && s->name && *s->name == '@' ? snprintf(path, cap, "%s", s->name + 1) : -1;
    pthread_mutex_unlock(&c->mutex);
    return len >= 0 && (size_t)len < cap;
}

static void note_dependence(void *ctx, uint32_t id, const char *file, uint64_t hash)
{
    struct crew *c = ctx;
    struct dependence *found = malloc(sizeof *found);
    if (!found)
        return;
    *found = (struct dependence){ .id = id, .hash = hash };
    snprintf(found->file, sizeof found->file, "%s", file);
    pthread_mutex_lock(&c->mutex);
    found->next = c->found;
    c->found = found;
    if (c->loop)
        ev_async_send(c->loop, &c->depended);
    pthread_mutex_unlock(&c->mutex);
}

static void tell_dependences(struct crew *c)
{
    pthread_mutex_lock(&c->mutex);
    struct dependence *found = c->found, *next;
    c->found = NULL;
    pthread_mutex_unlock(&c->mutex);
    for (; found; found = next) {
        const struct crew_script *s = script_of(c, found->id);
        next = found->next;
        if (s)
            c->options.calls.depends(c->options.calls.ctx, s->name + 1, found->file, found->hash);
        free(found);
    }
}

static void on_depended(struct ev_loop *loop, ev_async *watcher, int events)
{
    (void)loop, (void)events;
    tell_dependences(watcher->data);
}

const struct steward_means *crew_means(const struct crew *c)
{
    return &c->options.means;
}

/* --- orders ---------------------------------------------------------------------------------------
 */

static struct worker_slot *ward_of(struct crew *c, const struct crew_script *s)
{
    for (int i = FIRST_WARD; s->warded && i < RING_READERS; i++)
        if (c->slots[i].pid && c->slots[i].ward_of == s->id)
            return &c->slots[i];
    return NULL;
}

static struct worker_slot *slot_of(struct crew *c, const struct crew_script *s)
{
    struct worker_slot *ward = ward_of(c, s);
    return ward ? ward : &c->slots[s->trusted ? CREW_TRUSTED : CREW_POLICY];
}

static int text_fd(const char *text, size_t len)
{
    int fd = memfd_create("moonwatch-text", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < len;) {
        ssize_t put = write(fd, text + at, len - at);
        if (put < 0 && errno != EINTR) {
            close(fd);
            return -EIO;
        }
        at += put > 0 ? (size_t)put : 0;
    }
    /* mapped by the worker: it must not change under its hands, nor shrink */
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

/* Never waits: a worker that does not take its orders is as good as dead, and watched for. */
static int send_order(struct worker_slot *slot, const struct worker_order *order, const char *text)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { .bytes = "" };
    struct iovec part = { (void *)order, sizeof *order };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    int fd = text ? text_fd(text, order->len) : -1;
    if (!slot->pid || (text && fd < 0))
        return !slot->pid ? -ESRCH : fd;
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    ssize_t put = sendmsg(slot->control, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    int result = put < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return result;
}

static int order_of(struct worker_slot *slot, const struct crew_script *s, enum worker_do what,
                    const char *text, size_t len, bool shadow)
{
    struct worker_order order = { .what = what,
                                  .id = s->id,
                                  .generation = s->generation + (text ? 1 : 0),
                                  .shadow = shadow,
                                  .len = len };
    if (s->name)
        snprintf(order.name, sizeof order.name, "%s", s->name);
    if (what == DO_LOAD && slot->steward && steward_script(slot->steward, s->id, s->name) < 0)
        return -ENOMEM;
    return send_order(slot, &order, text);
}

static void begin_watching(struct crew *c);
static int spawn(struct worker_slot *slot);
static void send_next(struct crew *c, struct crew_script *s);
static void send_unsent(struct worker_slot *slot);
static void summarize_host(struct crew *c);

/* --- answers ---------------------------------------------------------------------------------- */

static int await_answer(struct worker_slot *slot, crew_done *done, void *ctx)
{
    struct waiting *waiting = calloc(1, sizeof *waiting), **end = &slot->waiting;
    if (!waiting)
        return -ENOMEM;
    *waiting = (struct waiting){ done, ctx, NULL };
    while (*end)
        end = &(*end)->next;
    *end = waiting;
    return 0;
}

static void answer(struct worker_slot *slot, int error, const char *text)
{
    struct waiting *first = slot->waiting;
    if (!first)
        return;
    slot->waiting = first->next;
    first->done(first->ctx, error, text);
    free(first);
}

static void hear_answer(struct worker_slot *slot, const struct worker_message *message)
{
    if (slot->answer.len < (4u << 20))
        buf_puts(&slot->answer, message->text);
    if (message->more)
        return;
    answer(slot, message->error, buf_str(&slot->answer));
    buf_clear(&slot->answer);
}

static void figures_came(struct crew *c)
{
    void (*asked)(void *ctx) = c->asked;
    c->asked = NULL;
    c->reports = 0;
    if (c->loop)
        ev_timer_stop(c->loop, &c->patience);
    if (asked)
        asked(c->asked_ctx);
}

static void reported(struct crew *c)
{
    if (c->reports && --c->reports == 0)
        figures_came(c);
}

/* --- what workers say --------------------------------------------------------------------------- */

static void switch_off(struct crew_script *s, const char *why)
{
    snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof s->why - 1, why);
    s->state = SCRIPT_OFF;
    s->warded = false;
}

/* What came while `next` was being loaded is the next one now. */
static void advance(struct crew_script *s)
{
    s->next = s->after;
    s->next_len = s->after_len;
    s->asked_ns = clock_mono_ns();
    s->after = NULL;
}

static void take_next(struct crew_script *s)
{
    free(s->text);
    s->text = s->next;
    s->len = s->next_len;
    advance(s);
    s->generation++;
    s->state = SCRIPT_ON;
    s->why[0] = '\0';
}

static void drop_next(struct crew_script *s)
{
    free(s->next);
    advance(s);
}

static void drop_shadow(struct crew_script *s)
{
    free(s->shadow);
    s->shadow = NULL;
}

/* Is nobody's next version on its way any more? Then tell who waits for it. */
static void check_settled(struct crew *c)
{
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->next)
            return;
    struct settling *first = c->settling, *next;
    c->settling = NULL;
    for (; first; first = next) {
        struct buf text = { 0 };
        next = first->next;
        buf_printf(&text, "{\"changed\":%d,\"refused\":[", first->changed);
        buf_add(&text, c->refused.data, c->refused.len);
        buf_puts(&text, "]}");
        first->done(first->ctx, 0, buf_str(&text));
        buf_free(&text);
        free(first);
    }
    buf_clear(&c->refused);
}

void crew_settle(struct crew *c, int changed, crew_done *done, void *ctx)
{
    struct settling *one = calloc(1, sizeof *one);
    if (!one) {
        done(ctx, -ENOMEM, "not enough memory");
        return;
    }
    *one = (struct settling){ c->settling, changed, done, ctx };
    c->settling = one;
    check_settled(c);
}

/* The operator reads it, and so does who waits for the outcome. */
static void refuse_next(struct crew *c, struct crew_script *s, const char *why)
{
    struct buf text = { 0 };
    drop_next(s);
    buf_printf(&text, "%s: %s%s", crew_script_name(s), why,
               s->state == SCRIPT_ON ? "; the version from before goes on" : "");
    log_error("%s", buf_str(&text));
    if (c->settling) {
        buf_puts(&c->refused, c->refused.len ? "," : "");
        json_string(&c->refused, text.data, text.len);
    }
    buf_free(&text);
}

static void say_loaded(const struct crew_script *s, int64_t took_ns)
{
    log_warn("%s %s in %.1f ms (generation %u)", s->generation == 1 ? "loaded" : "reloaded",
             crew_script_name(s), (double)took_ns / 1e6, s->generation);
}

/* A report tells of the version that counts, and of its shadow; that one has the same id. */
static void hear_script(struct crew *c, const struct host_script *figures)
{
    struct crew_script *s = script_of(c, figures->id);
    if (s && !figures->shadow)
        s->figures = *figures;
}

/* The version that was asked for last is in place, or was refused. */
static void hear_loaded(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    struct crew_script *s = script_of(c, message->id);
    slot->wants = (struct crew_wants){ message->kinds, message->threads, message->needs };
    c->options.calls.wants(c->options.calls.ctx);
    if (message->shadow) { /* somebody waits for it, whatever came between */
        if (message->error && s)
            drop_shadow(s);
        answer(slot, message->error, message->text);
    } else if (s && s->next && message->generation == s->generation + 1) {
        if (message->error == 0) {
            take_next(s);
            hear_script(c, &message->script);
            say_loaded(s, message->took_ns);
        } else {
            refuse_next(c, s, message->text);
        }
        if (s->next)
            send_next(c, s);
        check_settled(c);
    }
    send_unsent(slot);
}

static void hear_off(struct crew *c, const struct worker_message *message)
{
    struct crew_script *s = script_of(c, message->id);
    if (s && s->state != SCRIPT_GONE)
        switch_off(s, message->text);
}

/* What a dead worker had counted of this script since its last report. */
static void count_last(struct worker_slot *slot, struct crew_script *s)
{
    for (int i = 0; slot->shared && i < HOST_COUNTS; i++) {
        const struct host_count *count = &slot->shared->counts.of[i].count;
        if (!slot->shared->counts.of[i].taken || slot->shared->counts.of[i].id != s->id)
            continue;
        s->figures.events = count->events;
        s->figures.errors = count->errors;
        s->figures.alerts = count->alerts;
        s->figures.undecided = count->undecided;
        s->figures.calls = count->calls;
    }
}

/* A worker asks once a second at most; one that asks more often is not heard. */
static void hear_retell(struct crew *c)
{
    int64_t now = clock_mono_ns();
    if (now < c->retell_at_ns)
        return;
    c->retell_at_ns = now + NS_PER_SECOND / 2;
    c->options.calls.retell(c->options.calls.ctx);
}

/* It begins with the versions that are known to load; what was on its way comes after. */
static void hear_ready(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    slot->ready = true;
    slot->wants = (struct crew_wants){ message->kinds, message->threads, message->needs };
    c->options.calls.wants(c->options.calls.ctx);
    forget_gone(c, slot, 0);
    for (int i = 0; i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        if (slot_of(c, s) == slot)
            s->unsent = s->next;
    }
    send_unsent(slot);
}

static void hear_unloaded(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    slot->wants = (struct crew_wants){ message->kinds, message->threads, message->needs };
    c->options.calls.wants(c->options.calls.ctx);
    if (message->id)
        forget_gone(c, slot, message->id);
    send_unsent(slot);
}

/* What loaded before does not any more; or privileges cannot be given up. */
static void hear_failed(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew_script *s = script_of(slot->crew, message->id);
    if (!slot->crew->started)
        return; /* await_ready tells it */
    log_error("%s%s%s", s ? crew_script_name(s) : "", s ? " is off until its file changes: " : "",
              message->text);
    slot->failed = s;
    if (s)
        switch_off(s, message->text);
}

/* The worker runs scripts: what it says is checked, never trusted. */
static void hear(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    const struct crew_calls *calls = &c->options.calls;
    switch ((enum worker_say)message->say) {
    case WORKER_RETELL:
        slot->missed = message->missed;
        hear_retell(c);
        break;
    case WORKER_STOP:
        if (c->options.only_load) /* there is nothing to end */
            break;
        calls->ending(calls->ctx, message->error ? CREW_OUTPUT : CREW_STOPPED, message->error);
        break;
    case WORKER_NEEDS:
        slot->wants.needs |= message->needs;
        calls->need(calls->ctx, message->needs);
        break;
    case WORKER_MISSED: /* a report begins */
        slot->missed = message->missed;
        slot->memory_bytes = message->memory_bytes;
        slot->jit = message->jit;
        break;
    case WORKER_REPORTED:
        reported(c);
        break;
    case WORKER_SCRIPT:
        hear_script(c, &message->script);
        break;
    case WORKER_LOADED:
        hear_loaded(slot, message);
        break;
    case WORKER_UNLOADED:
        hear_unloaded(slot, message);
        break;
    case WORKER_OFF:
        hear_off(c, message);
        break;
    case WORKER_BUSY:
        begin_watching(c);
        break;
    case WORKER_ANSWER:
        hear_answer(slot, message);
        break;
    case WORKER_READY:
        hear_ready(slot, message);
        break;
    case WORKER_FAILED:
        hear_failed(slot, message);
        break;
    }
}

/* 1: a message; 0: none now; -EPIPE: the worker hung up. */
static int receive(struct worker_slot *slot, struct worker_message *message, int patience_ms)
{
    struct pollfd ready = { .fd = slot->control, .events = POLLIN };
    if (poll(&ready, 1, patience_ms) <= 0)
        return 0;
    ssize_t got = recv(slot->control, message, sizeof *message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got != sizeof *message)
        return -EPIPE;
    message->text[sizeof message->text - 1] = '\0';
    message->script.name[sizeof message->script.name - 1] = '\0';
    return 1;
}

/* --- beginning ---------------------------------------------------------------------------------- */

/* Does this worker run it? */
static bool runs(const struct worker_slot *slot, const struct crew_script *s)
{
    if (s->state != SCRIPT_ON)
        return false;
    if (s->warded)
        return slot->group == CREW_WARD && slot->ward_of == s->id;
    return slot->group == (s->trusted ? CREW_TRUSTED : CREW_POLICY);
}

/* The scripts of this worker; the array is the caller's. */
static struct host_source *sources_of(const struct worker_slot *slot, int *len)
{
    const struct crew *c = slot->crew;
    struct host_source *sources = calloc((size_t)c->scripts_len + 1, sizeof *sources);
    *len = 0;
    for (int i = 0; sources && i < c->scripts_len; i++) {
        const struct crew_script *s = c->scripts[i];
        if (runs(slot, s))
            sources[(*len)++] = (struct host_source){ .id = s->id,
                                                      .generation = s->generation,
                                                      .name = s->name,
                                                      .text = s->text,
                                                      .len = s->len };
    }
    return sources;
}

static bool wanted(const struct crew *c, enum crew_group group)
{
    if (group == CREW_POLICY)
        return true;
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->trusted)
            return true;
    return false;
}

/* A lock of its own: what is open in two processes by one open counts as one owner. -1: nobody else
 * writes. */
static int open_lock(const struct crew *c)
{
    char path[64];
    if (!c->options.ward && !wanted(c, CREW_TRUSTED))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", c->lock);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int make_memory(struct worker_slot *slot)
{
    if (slot->shared)
        return 0;
    void *memory = mmap(NULL, sizeof *slot->shared, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    slot->shared = memory;
    return 0;
}

/* A ward keeps the trust of the script in it. */
static enum profile profile_of(const struct worker_slot *slot)
{
    const struct crew_script *s = script_of(slot->crew, slot->ward_of);
    bool trusted = slot->group == CREW_WARD ? s && s->trusted : slot->group == CREW_TRUSTED;
    return trusted ? PROFILE_TRUSTED : PROFILE_POLICY;
}

static void run_worker(struct worker_slot *slot, int control, int questions, int lock)
{
    struct crew *c = slot->crew;
    int len;
    struct host_source *sources = sources_of(slot, &len);
    struct worker_options options = {
        .ring = c->ring,
        .reader = slot->reader,
        .control = control,
        .questions = questions,
        .user = c->options.user,
        .scripts = sources,
        .scripts_len = len,
        .only_load = c->options.only_load,
        .know = c->loop ? c->options.calls.know : NULL,
        .know_ctx = c->options.calls.ctx,
        .host = c->options.host,
    };
    options.host.output_memory = &slot->shared->output;
    options.host.counts = &slot->shared->counts;
    options.host.output_lock = lock;
    options.host.profile = profile_of(slot);
    options.host.print_all = c->options.host.print_all && slot->group == CREW_POLICY;
    _exit(sources ? worker_run(&options) : 1);
}

static void on_said(struct ev_loop *loop, ev_io *watcher, int events);

static void listen_to(struct worker_slot *slot)
{
    ev_io_init(&slot->said, on_said, slot->control, EV_READ);
    slot->said.data = slot;
    ev_io_start(slot->crew->loop, &slot->said);
}

static void close_pair(const int *pair)
{
    close(pair[0]);
    close(pair[1]);
}

static int spawn(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    int control[2], questions[2];
    if (make_memory(slot) < 0)
        return fail(c, -ENOMEM, "not enough memory for a script worker");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
        return fail(c, -errno, "cannot make a socket: %s", strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, questions) < 0) {
        int error = errno;
        close_pair(control);
        return fail(c, -error, "cannot make a socket: %s", strerror(error));
    }
    int lock = open_lock(c);
    slot->ready = slot->killed = slot->failed = slot->retired = false;
    slot->wants = (struct crew_wants){ 0 };
    slot->pid = fork();
    if (slot->pid == 0)
        run_worker(slot, control[1], questions[1], lock);
    int error = errno;
    close(control[1]);
    close(questions[1]);
    if (lock >= 0)
        close(lock);
    if (slot->pid < 0) {
        slot->pid = 0;
        close(control[0]);
        close(questions[0]);
        return fail(c, -error, "cannot start a script worker: %s", strerror(error));
    }
    slot->control = control[0];
    struct steward_means means = c->options.means;
    means.owner = (uint32_t)slot->reader;
    int result = steward_new(&slot->steward, &means);
    for (int i = 0; result == 0 && i < c->scripts_len; i++)
        if (runs(slot, c->scripts[i]))
            result = steward_script(slot->steward, c->scripts[i]->id, c->scripts[i]->name);
    if (result == 0)
        result = steward_start(slot->steward, questions[0]);
    if (c->loop)
        listen_to(slot);
    return result < 0 ? fail(c, result, "cannot start a thread: %s", strerror(-result)) : 0;
}

/* --- ending ------------------------------------------------------------------------------------- */

/* How it ended, as a part of a sentence. It hung up, so it ends soon, or is made to. */
static void reap(struct worker_slot *slot, char *how, size_t cap)
{
    int status = 0;
    pid_t ended = 0;
    for (int ms = 0; ms < DEATH_PATIENCE_MS && ended == 0; ms++) {
        ended = waitpid(slot->pid, &status, WNOHANG);
        if (ended == 0)
            usleep(1000);
    }
    if (ended == 0) { /* it hung up and lives on: it is not ours any more */
        kill(slot->pid, SIGKILL);
        while ((ended = waitpid(slot->pid, &status, 0)) < 0 && errno == EINTR)
            ;
    }
    if (ended < 0) /* the caller's loop was quicker to ask */
        snprintf(how, cap, "ended");
    else if (WIFSIGNALED(status))
        snprintf(how, cap, "was killed by %s", strsignal(WTERMSIG(status)));
    else
        snprintf(how, cap, "ended with status %d", WEXITSTATUS(status));
}

static void close_slot(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    if (c->loop && ev_is_active(&slot->said))
        ev_io_stop(c->loop, &slot->said);
    if (slot->control >= 0)
        close(slot->control);
    slot->control = -1;
    slot->pid = 0;
    slot->ready = false;
    steward_free(slot->steward);
    slot->steward = NULL;
    slot->missed_before += slot->missed;
    slot->missed = 0;
    buf_clear(&slot->answer);
    while (slot->waiting)
        answer(slot, -EIO, "the script worker ended");
}

/* --- last words -----------------------------------------------------------------------------------
 *
 * What a worker has said and not written is written by its successor. Where there is none, a thread
 * does it: who reads the output may be slow, and we wait for nobody. */

struct last_words {
    struct last_words *next;
    pthread_t thread;
    bool running;
    struct shared *shared; /* owned mapping */
    int fd, lock;          /* lock: owned */
};

static void *write_last_words(void *arg)
{
    struct last_words *words = arg;
    struct output output;
    output_init(&output, words->fd, true);
    output_share(&output, &words->shared->output, words->lock);
    output_free(&output);
    return NULL;
}

static void leave_last_words(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    struct last_words *words = calloc(1, sizeof *words);
    if (!words || !slot->shared || slot->shared->output.start >= slot->shared->output.len) {
        free(words);
        return;
    }
    words->shared = slot->shared;
    words->fd = c->options.host.fd;
    words->lock = open_lock(c);
    slot->shared = NULL;
    words->next = c->last_words;
    c->last_words = words;
    words->running = pthread_create(&words->thread, NULL, write_last_words, words) == 0;
    if (!words->running)
        write_last_words(words);
}

/* At the end: they are given until `patience_ns`. */
static void hear_last_words(struct crew *c, int64_t patience_ns)
{
    while (c->last_words) {
        struct last_words *words = c->last_words;
        int64_t left = patience_ns - clock_mono_ns();
        int64_t until_ns = clock_real_ns() + (left > 0 ? left : 0);
        struct timespec until = { until_ns / NS_PER_SECOND, until_ns % NS_PER_SECOND };
        c->last_words = words->next;
        if (words->running && pthread_timedjoin_np(words->thread, NULL, &until))
            continue; /* it goes with the process */
        munmap(words->shared, sizeof *words->shared);
        if (words->lock >= 0)
            close(words->lock);
        free(words);
    }
}

static uint64_t mark_of(const struct worker_slot *slot, enum budget_mark mark)
{
    return atomic_load(&ring_words(slot->crew->ring, slot->reader)[mark]);
}

/* In whose call did it die? Only of scripts that it had. */
static struct crew_script *offender_of(const struct worker_slot *slot)
{
    uint64_t script = mark_of(slot, MARK_SCRIPT);
    struct crew_script *s = script ? script_of(slot->crew, (uint32_t)(script - 1)) : NULL;
    return s && (s->next || runs(slot, s)) ? s : NULL;
}

/* A worker for this script alone, which goes on where the dead one was. False: no room. */
static bool open_ward(struct worker_slot *dead, struct crew_script *s)
{
    struct crew *c = dead->crew;
    for (int i = FIRST_WARD; i < RING_READERS; i++) {
        struct worker_slot *ward = &c->slots[i];
        if (ward->pid)
            continue;
        s->warded = true;
        ward->group = CREW_WARD;
        ward->ward_of = s->id;
        ring_reader_follow(c->ring, dead->reader, i);
        if (spawn(ward) == 0)
            return true;
        s->warded = false;
        log_error("%s", crew_error(c));
    }
    return false;
}

static void blame(struct worker_slot *slot, struct crew_script *s, const char *how)
{
    struct crew *c = slot->crew;
    char why[512];
    count_last(slot, s);
    if (slot->killed)
        snprintf(why, sizeof why, "a call took longer than %g s",
                 (double)c->options.hard_ns / (double)NS_PER_SECOND);
    else
        snprintf(why, sizeof why, "its worker %s in one of its calls", how);
    if (s->next && !s->unsent) { /* it died of the version that was being loaded */
        refuse_next(c, s, why);
        check_settled(c);
        return;
    }
    if (s->shadow) {
        log_error("%s: it or its shadow: %s; the shadow is gone", crew_script_name(s), why);
        drop_shadow(s);
        return;
    }
    if (c->options.ward && slot->group != CREW_WARD && open_ward(slot, s)) {
        log_error("%s runs alone from now on: %s", crew_script_name(s), why);
        snprintf(s->why, sizeof s->why, "%s", why);
        return;
    }
    switch_off(s, why);
    log_error("%s is off until its file changes: %s", crew_script_name(s), why);
}

/* True: there were too many of them. */
static bool count_unexplained(struct crew *c)
{
    int64_t now = clock_mono_ns();
    if (now - c->unexplained_ns > UNEXPLAINED_NS)
        c->unexplained = 0;
    c->unexplained_ns = now;
    return ++c->unexplained > UNEXPLAINED_MOST;
}

static void end_watch(struct crew *c)
{
    c->options.calls.ending(c->options.calls.ctx, CREW_DIED, 0);
}

static bool has_work(const struct worker_slot *slot)
{
    const struct crew_script *s = script_of(slot->crew, slot->ward_of);
    return slot->group != CREW_WARD || (s && runs(slot, s));
}

/* The others go on with the record that the dead one had in its hands. False: not again. */
static bool replace(struct worker_slot *slot, const char *how)
{
    struct crew *c = slot->crew;
    struct crew_script *s = offender_of(slot);
    if (s)
        blame(slot, s, how);
    else if (!slot->failed)
        log_error("a script worker %s, in no script's call", how);
    if (!has_work(slot)) {
        leave_last_words(slot);
        return true;
    }
    if (!s && !slot->failed && count_unexplained(c)) {
        fail(c, -EIO, "the script worker %s, again and again", how);
        return false;
    }
    slot->restarts++;
    return spawn(slot) == 0;
}

static void worker_died(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    char how[128];
    reap(slot, how, sizeof how);
    bool reporting = c->reports > 0;
    close_slot(slot);
    if (slot->retired)
        leave_last_words(slot);
    else if (!replace(slot, how))
        end_watch(c);
    if (reporting)
        reported(c);
}

static void on_said(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct worker_slot *slot = watcher->data;
    struct worker_message message;
    (void)loop, (void)events;

    int got = 0;
    for (int left = MESSAGES_A_TURN; left && (got = receive(slot, &message, 0)) == 1; left--)
        hear(slot, &message);
    if (got < 0)
        worker_died(slot);
}

/* --- the hard limit -------------------------------------------------------------------------------
 *
 * Looks at the marks of each worker from time to time while any has a call: the same call twice,
 * with the limit in between, is too long. When none has one, the looking stops, until the next batch
 * of records or until a worker says that a call takes long. */

static int64_t limit_of(const struct worker_slot *slot)
{
    return slot->crew->options.hard_ns * (mark_of(slot, MARK_LOADING) ? BUDGET_LOADING : 1);
}

/* True while it has a call. */
static bool look_at(struct worker_slot *slot, int64_t now)
{
    uint64_t call = mark_of(slot, MARK_CALL);
    if (!slot->pid || !mark_of(slot, MARK_SCRIPT))
        return false;
    if (call != slot->seen_call || mark_of(slot, MARK_PAUSED)) {
        slot->seen_call = call;
        slot->seen_ns = now;
    } else if (now - slot->seen_ns >= limit_of(slot) && !slot->killed) {
        slot->killed = true;
        kill(slot->pid, SIGKILL);
    }
    return true;
}

static void on_look(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct crew *c = watcher->data;
    int64_t now = clock_mono_ns();
    bool any = false;
    (void)events;
    for (int i = 0; i < RING_READERS; i++)
        any = look_at(&c->slots[i], now) || any;
    if (!any)
        ev_timer_stop(loop, watcher);
}

static void begin_watching(struct crew *c)
{
    if (c->loop && c->options.hard_ns && !ev_is_active(&c->watching))
        ev_timer_again(c->loop, &c->watching);
}

/* --- the start ---------------------------------------------------------------------------------- */

/* While there is no loop yet: the marks are looked at in between. */
static int await_ready(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    struct worker_message message;
    char how[128];
    int got;
    while ((got = receive(slot, &message, 250)) >= 0) {
        if (got == 0 && c->options.hard_ns)
            look_at(slot, clock_mono_ns());
        if (got == 1 && message.say == WORKER_FAILED)
            return fail(c, -EINVAL, "%s", message.text);
        if (got == 1)
            hear(slot, &message);
        if (slot->ready)
            return 0;
    }
    struct crew_script *s = offender_of(slot);
    reap(slot, how, sizeof how);
    bool killed = slot->killed;
    close_slot(slot);
    if (s && killed)
        return fail(c, -EINVAL, "%s: loading it took longer than %g s", crew_script_name(s),
                    (double)c->options.hard_ns * BUDGET_LOADING / 1e9);
    if (s)
        return fail(c, -EINVAL, "%s: the script worker %s while it was loaded", crew_script_name(s), how);
    return fail(c, -EIO, "the script worker %s while it loaded the scripts", how);
}

static int start_workers(struct crew *c)
{
    int result = ring_new(&c->ring, c->options.ring_bytes);
    if (result < 0)
        return fail(c, result, "no shared memory for the ring: %s", strerror(-result));
    c->lock = memfd_create("moonwatch-lock", MFD_CLOEXEC);
    for (int group = CREW_POLICY; group <= CREW_TRUSTED && result == 0; group++) {
        if (!wanted(c, (enum crew_group)group))
            continue;
        result = spawn(&c->slots[group]);
        if (result == 0 && !c->options.only_load)
            result = await_ready(&c->slots[group]);
    }
    return result;
}

static int load_here(struct crew *c)
{
    for (int i = 0; i < c->scripts_len; i++) {
        const struct crew_script *s = c->scripts[i];
        struct host_source source = { .id = s->id,
                                      .generation = s->generation,
                                      .name = s->name,
                                      .text = s->text,
                                      .len = s->len };
        int result = host_replace(c->host, &source);
        if (result < 0)
            return fail(c, result, "%s", host_error(c->host));
    }
    return 0;
}

void crew_only_load(struct crew *c, int fd)
{
    c->options.only_load = true;
    c->options.means.vault = NULL; /* what is only loaded keeps nothing and harms nobody */
    c->options.means.signals = NULL;
    c->options.means.keeper = NULL;
    c->options.host.fd = fd;
}

int crew_start(struct crew *c, struct host *host)
{
    c->host = host;
    int result = host ? load_here(c) : start_workers(c);
    c->started = result == 0;
    return result;
}

int crew_hear_out(struct crew *c)
{
    struct worker_message message;
    char how[128];
    for (int i = 0; i < RING_READERS; i++) {
        struct worker_slot *slot = &c->slots[i];
        int got, result = 0;
        while (slot->pid && (got = receive(slot, &message, -1)) >= 0) {
            if (got == 1 && message.say == WORKER_FAILED)
                result = fail(c, -EINVAL, "%s", message.text);
            else if (got == 1)
                hear(slot, &message);
        }
        if (!slot->pid)
            continue;
        bool ready = slot->ready;
        reap(slot, how, sizeof how);
        struct crew_wants wants = slot->wants;
        close_slot(slot);
        slot->wants = wants;
        if (result < 0)
            return result;
        if (!ready)
            return fail(c, -EIO, "the script worker %s while it loaded the scripts", how);
    }
    return 0;
}

static void on_patience(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    figures_came(watcher->data);
}

void crew_listen(struct crew *c, struct ev_loop *loop)
{
    double every = (double)c->options.hard_ns / 1e9 / LOOKS_A_LIMIT;
    ev_timer_init(&c->watching, on_look, every, every);
    ev_timer_init(&c->patience, on_patience, ANSWER_PATIENCE_S, 0);
    c->watching.data = c->patience.data = c->depended.data = c;
    ev_async_init(&c->depended, on_depended);
    ev_async_start(loop, &c->depended);
    ev_unref(loop); /* it keeps no loop alive */
    pthread_mutex_lock(&c->mutex); /* stewards may send from now on */
    c->loop = loop;
    pthread_mutex_unlock(&c->mutex);
    tell_dependences(c);
    for (int i = 0; i < RING_READERS; i++)
        if (c->slots[i].pid)
            listen_to(&c->slots[i]);
}

/* --- records ------------------------------------------------------------------------------------ */

void crew_write(struct crew *c, struct event_box *box)
{
    ring_write(c->ring, box);
}

void crew_flush(struct crew *c, const struct figures *figures)
{
    if (figures)
        ring_post(c->ring, (const uint64_t *)figures, FIGURES_WORDS);
    ring_flush(c->ring);
    begin_watching(c);
}

struct crew_wants crew_wants(const struct crew *c)
{
    struct crew_wants wants = { 0 };
    if (c->host)
        return (struct crew_wants){ host_kinds(c->host), host_threads(c->host),
                                    host_needs(c->host) };
    for (int i = 0; i < RING_READERS; i++) {
        wants.kinds |= c->slots[i].wants.kinds;
        wants.threads = wants.threads || c->slots[i].wants.threads;
        wants.needs |= c->slots[i].wants.needs;
    }
    return wants;
}

/* --- changes ------------------------------------------------------------------------------------ */

static void tell_wants(struct crew *c)
{
    c->options.calls.wants(c->options.calls.ctx);
}

static int load_now(struct crew *c, struct crew_script *s)
{
    struct host_source source = { .id = s->id,
                                  .generation = s->generation + 1,
                                  .name = s->name,
                                  .text = s->next,
                                  .len = s->next_len };
    int64_t from = clock_mono_ns();
    int result = host_replace(c->host, &source);
    if (result < 0) {
        refuse_next(c, s, host_error(c->host));
        return result;
    }
    take_next(s);
    summarize_host(c);
    say_loaded(s, clock_mono_ns() - from);
    tell_wants(c);
    return 0;
}

/* The worker of its group, started if there is none. */
static struct worker_slot *worker_for(struct crew *c, struct crew_script *s)
{
    struct worker_slot *slot = slot_of(c, s);
    if (!slot->pid && slot->group != CREW_WARD) {
        ring_reader_start(c->ring, slot->reader);
        if (spawn(slot) < 0)
            log_error("%s", crew_error(c));
    }
    return slot;
}

/* Out of its ward, with a new text. */
static void leave_ward(struct crew *c, struct crew_script *s)
{
    struct worker_slot *ward = ward_of(c, s);
    s->warded = false;
    if (!ward)
        return;
    ward->retired = true;
    kill(ward->pid, SIGKILL);
}

/* To a worker that begins it is given when it is ready. */
static void send_next(struct crew *c, struct crew_script *s)
{
    struct worker_slot *slot = worker_for(c, s);
    int result = slot->ready ? order_of(slot, s, DO_LOAD, s->next, s->next_len, false) : 0;
    s->unsent = result == -EAGAIN;
    if (result < 0 && result != -ESRCH && result != -EAGAIN)
        refuse_next(c, s, "its worker takes no new version");
}

static void send_unload(struct crew *c, struct crew_script *s)
{
    s->unsent = order_of(slot_of(c, s), s, DO_UNLOAD, NULL, 0, false) == -EAGAIN;
}

/* An answer came, so there is room again: orders wait only for those before them. */
static void send_unsent(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    bool room = slot->ready;
    for (int i = 0; room && i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        if (!s->unsent || slot_of(c, s) != slot)
            continue;
        if (s->next)
            send_next(c, s);
        else
            send_unload(c, s);
        room = !s->unsent;
    }
}

/* One at a time: so it is known which one an answer is about. */
static int load_next(struct crew *c, struct crew_script *s, const char *text, size_t len)
{
    free(s->after);
    s->after = copy(text, len);
    s->after_len = len;
    if (!s->after)
        return -ENOMEM;
    if (s->next)
        return 0;
    advance(s);
    if (c->host)
        return load_now(c, s);
    if (s->warded)
        leave_ward(c, s);
    send_next(c, s);
    return 0;
}

int crew_add(struct crew *c, const char *name, const char *text, size_t len, bool trusted)
{
    struct crew_script *s = insert(c, name, trusted);
    if (!s)
        return fail(c, -ENOMEM, "not enough memory for the scripts");
    if (!c->started) {
        s->text = copy(text, len);
        s->len = len;
        return s->text ? 0 : fail(c, -ENOMEM, "not enough memory for the scripts");
    }
    s->generation = 0;
    s->state = SCRIPT_OFF; /* until it is loaded */
    snprintf(s->why, sizeof s->why, "it could not be loaded");
    return load_next(c, s, text, len);
}

int crew_change(struct crew *c, const char *name, const char *text, size_t len)
{
    struct crew_script *s = script_named(c, name + (*name == '@'));
    return s ? load_next(c, s, text, len) : -ENOENT;
}

static void unload(struct crew *c, struct crew_script *s)
{
    drop_shadow(s);
    drop_next(s);
    drop_next(s); /* and what came after it */
    check_settled(c);
    if (!c->host)
        count_last(slot_of(c, s), s);
    if (c->host) {
        host_unload(c->host, s->id);
        tell_wants(c);
    } else if (s->warded) {
        leave_ward(c, s);
    } else {
        send_unload(c, s);
    }
}

void crew_remove(struct crew *c, const char *name)
{
    struct crew_script *s = script_named(c, name + (*name == '@'));
    if (!s)
        return;
    s->state = SCRIPT_GONE;
    log_warn("%s is gone: its file is", crew_script_name(s));
    unload(c, s);
    if (c->host)
        forget_gone(c, NULL, 0);
}

int crew_disable(struct crew *c, const char *name)
{
    struct crew_script *s = script_named(c, name);
    if (!s || s->state == SCRIPT_OFF)
        return s ? -EALREADY : -ENOENT;
    switch_off(s, "disabled by the operator");
    unload(c, s);
    return 0;
}

int crew_enable(struct crew *c, const char *name)
{
    struct crew_script *s = script_named(c, name);
    if (!s || s->state == SCRIPT_ON)
        return s ? -EALREADY : -ENOENT;
    if (!s->text)
        return -EINVAL;
    char *text = copy(s->text, s->len);
    int result = text ? load_next(c, s, text, s->len) : -ENOMEM;
    free(text);
    return result;
}

/* --- shadows ------------------------------------------------------------------------------------- */

/* By its name or path, or by a file of the same name elsewhere: the next version of it. */
static struct crew_script *script_like(const struct crew *c, const char *path)
{
    struct crew_script *s = script_named(c, path);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    for (int i = 0; !s && i < c->scripts_len; i++) {
        const char *name = c->scripts[i]->name, *cut = name ? strrchr(name, '/') : NULL;
        if (name && c->scripts[i]->state != SCRIPT_GONE && !strcmp(cut ? cut + 1 : name + 1, base))
            s = c->scripts[i];
    }
    return s;
}

int crew_shadow(struct crew *c, const char *name, const char *text, size_t len, crew_done *done,
                void *ctx)
{
    struct crew_script *s = script_like(c, name);
    if (!s || s->state != SCRIPT_ON || s->next)
        return s ? -EBUSY : -ENOENT;
    crew_drop(c, crew_script_name(s));
    s->shadow = copy(text, len);
    s->shadow_len = len;
    if (!s->shadow)
        return -ENOMEM;
    if (c->host) {
        struct host_source source = { .id = s->id,
                                      .generation = s->generation + 1,
                                      .name = s->name,
                                      .text = text,
                                      .len = len,
                                      .shadow = true };
        int result = host_replace(c->host, &source);
        if (result < 0)
            drop_shadow(s);
        done(ctx, result, result < 0 ? host_error(c->host) : "");
        return 0;
    }
    struct worker_slot *slot = slot_of(c, s);
    int result = order_of(slot, s, DO_LOAD, text, len, true);
    if (result == 0)
        result = await_answer(slot, done, ctx);
    if (result < 0)
        drop_shadow(s);
    return result;
}

int crew_compare(struct crew *c, const char *name, crew_done *done, void *ctx)
{
    struct crew_script *s = script_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    if (c->host) {
        struct buf out = { 0 };
        int result = host_compare(c->host, s->id, &out);
        done(ctx, result, buf_str(&out));
        buf_free(&out);
        return 0;
    }
    int result = order_of(slot_of(c, s), s, DO_COMPARE, NULL, 0, false);
    return result < 0 ? result : await_answer(slot_of(c, s), done, ctx);
}

int crew_drop(struct crew *c, const char *name)
{
    struct crew_script *s = script_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    drop_shadow(s);
    if (c->host)
        host_drop_shadow(c->host, s->id);
    else
        order_of(slot_of(c, s), s, DO_DROP_SHADOW, NULL, 0, false);
    return 0;
}

int crew_promote(struct crew *c, const char *name)
{
    struct crew_script *s = script_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    char *text = s->shadow;
    size_t len = s->shadow_len;
    s->shadow = copy("", 0);
    crew_drop(c, name);
    int result = load_next(c, s, text, len);
    free(text);
    return result;
}

/* --- lines of somebody's --------------------------------------------------------------------------
 */

int crew_eval(struct crew *c, const char *text, size_t len, crew_done *done, void *ctx)
{
    if (c->host) {
        struct buf out = { 0 };
        int result = host_eval(c->host, text, len, &out);
        done(ctx, result, result < 0 ? host_error(c->host) : buf_str(&out));
        buf_free(&out);
        tell_wants(c);
        return 0;
    }
    struct worker_slot *slot = &c->slots[CREW_POLICY];
    struct worker_order order = { .what = DO_EVAL, .len = len };
    int result = send_order(slot, &order, text);
    return result < 0 ? result : await_answer(slot, done, ctx);
}

/* --- figures -------------------------------------------------------------------------------------- */

static void summarize_host(struct crew *c)
{
    int n = host_scripts(c->host, NULL, 0);
    struct host_script *all = calloc((size_t)n + 1, sizeof *all);
    if (!all)
        return;
    host_scripts(c->host, all, n);
    for (int i = 0; i < n; i++)
        hear_script(c, &all[i]);
    free(all);
}

void crew_ask(struct crew *c, bool weigh, void (*done)(void *ctx), void *ctx)
{
    bool asked = c->asked;
    struct worker_order order = { .what = DO_REPORT, .weigh = weigh };
    c->asked = done;
    c->asked_ctx = ctx;
    if (c->host) {
        if (weigh)
            host_weigh(c->host);
        summarize_host(c);
        figures_came(c);
        return;
    }
    for (int i = 0; !asked && i < RING_READERS; i++)
        c->reports += c->slots[i].ready && send_order(&c->slots[i], &order, NULL) == 0;
    if (!c->reports)
        figures_came(c);
    else if (c->loop && !asked)
        ev_timer_again(c->loop, &c->patience);
}

bool crew_worker_at(const struct crew *c, int index, struct crew_worker *out)
{
    for (int i = 0; i < RING_READERS; i++) {
        const struct worker_slot *slot = &c->slots[i];
        if (!slot->pid || index--)
            continue;
        *out = (struct crew_worker){ .group = slot->group,
                                     .pid = slot->pid,
                                     .restarts = slot->restarts,
                                     .missed = slot->missed + slot->missed_before,
                                     .memory_bytes = slot->memory_bytes,
                                     .backlog = ring_backlog(c->ring, i),
                                     .ready = slot->ready,
                                     .jit = slot->jit };
        return true;
    }
    return false;
}

uint64_t crew_missed(const struct crew *c)
{
    uint64_t missed = 0;
    for (int i = 0; i < RING_READERS; i++)
        missed += c->slots[i].missed + c->slots[i].missed_before;
    return missed;
}

/* --- life ----------------------------------------------------------------------------------------- */

int crew_new(struct crew **out, const struct crew_options *options)
{
    struct crew *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->options = *options;
    c->lock = -1;
    c->options.means.script_path = path_of;
    c->options.means.script_depends = note_dependence;
    c->options.means.ctx = c;
    pthread_mutex_init(&c->mutex, NULL);
    for (int i = 0; i < RING_READERS; i++)
        c->slots[i] = (struct worker_slot){ .crew = c,
                                            .reader = i,
                                            .control = -1,
                                            .group = i < FIRST_WARD ? (enum crew_group)i
                                                                    : CREW_WARD };
    *out = c;
    return 0;
}

/* True when it has ended by itself. */
static bool hear_until(struct worker_slot *slot, int64_t patience_ns)
{
    struct worker_message message;
    int got = 0;
    while (got >= 0 && clock_mono_ns() < patience_ns) {
        got = receive(slot, &message, 100);
        if (got == 1)
            hear(slot, &message);
        if (got == 0 && slot->crew->options.hard_ns)
            look_at(slot, clock_mono_ns());
    }
    return got < 0;
}

/* One worker, to its end or that of our patience. One that a script takes down is followed by
 * another that lets the others finish. */
static void hear_to_the_end(struct worker_slot *slot, int64_t patience_ns)
{
    char how[128];
    while (slot->pid) {
        bool ended = hear_until(slot, patience_ns);
        if (!ended) {
            log_warn("a script worker did not end in %d s: killed",
                     (int)(STOP_PATIENCE_NS / NS_PER_SECOND));
            kill(slot->pid, SIGKILL);
        }
        reap(slot, how, sizeof how);
        close_slot(slot);
        if (ended && offender_of(slot) && replace(slot, how))
            continue;
        leave_last_words(slot);
        return;
    }
}

void crew_stop(struct crew *c)
{
    int64_t patience_ns = clock_mono_ns() + STOP_PATIENCE_NS;
    c->asked = NULL;
    if (c->loop) {
        ev_timer_stop(c->loop, &c->watching);
        ev_timer_stop(c->loop, &c->patience);
    }
    for (int i = 0; c->loop && i < RING_READERS; i++)
        if (c->slots[i].pid)
            ev_io_stop(c->loop, &c->slots[i].said);
    if (c->loop) {
        ev_ref(c->loop);
        ev_async_stop(c->loop, &c->depended);
    }
    pthread_mutex_lock(&c->mutex);
    c->loop = NULL;
    pthread_mutex_unlock(&c->mutex);
    if (c->ring)
        ring_finish(c->ring);
    for (int i = 0; i < RING_READERS; i++)
        hear_to_the_end(&c->slots[i], patience_ns);
    hear_last_words(c, patience_ns);
    if (c->host)
        summarize_host(c);
}

void crew_free(struct crew *c)
{
    if (!c)
        return;
    for (int i = 0; i < RING_READERS; i++) {
        struct worker_slot *slot = &c->slots[i];
        if (slot->pid) { /* the start failed half-way */
            kill(slot->pid, SIGKILL);
            waitpid(slot->pid, NULL, 0);
            close_slot(slot);
        }
        if (slot->shared)
            munmap(slot->shared, sizeof *slot->shared);
        buf_free(&slot->answer);
    }
    ring_free(c->ring);
    while (c->found) {
        struct dependence *next = c->found->next;
        free(c->found);
        c->found = next;
    }
    pthread_mutex_destroy(&c->mutex);
    if (c->lock >= 0)
        close(c->lock);
    for (int i = 0; i < c->scripts_len; i++)
        script_free(c->scripts[i]);
    free(c->scripts);
    while (c->settling) {
        struct settling *next = c->settling->next;
        free(c->settling);
        c->settling = next;
    }
    buf_free(&c->refused);
    buf_free(&c->error);
    free(c);
}
