/* sinks.c - the outputs that the scripts of a host have opened. See sinks.h. */
#include "host/sinks.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLOSING_PATIENCE_NS (60 * NS_PER_SECOND)
#define TICK_NS             NS_PER_SECOND
#define FINISH_PATIENCE_NS  (2 * NS_PER_SECOND)
#define ASKS_A_TURN         4

struct outlet {
    struct outlet *next;
    int id;
    uint32_t script; /* who opened it first */
    struct sink *sink;           /* owned */
    const struct policy **users; /* owned array */
    int users_len;
    bool watched;        /* the loop tells when it can be written to */
    int64_t unwanted_ns; /* since when it has no users */
};

/* --- asking the keeper ------------------------------------------------------------------------ */

/* Returns how many descriptors came; *answer says the rest. */
static int ask(struct host *h, enum request_kind kind, struct request_sink q, const void *spec,
               size_t len, struct keeper_answer *answer, int *fds)
{
    struct buf question = { 0 };
    struct buf *out = &h->sinks.answer;
    if (!h->sinks.life)
        h->sinks.life = (uint64_t)getpid() << 32 | (uint32_t)clock_boot_ns();
    q.life = h->sinks.life;
    buf_add(&question, &q, sizeof q);
    buf_add(&question, spec, len);
    buf_clear(out);
    int n =
        question.failed ? -ENOMEM : host_request(h, kind, question.data, question.len, out, fds);
    buf_free(&question);
    *answer = (struct keeper_answer){ 0 };
    if (n >= 0 && out->len >= sizeof *answer) {
        memcpy(answer, out->data, sizeof *answer);
        answer->why[sizeof answer->why - 1] = '\0';
        return n;
    }
    answer->error = n < 0 ? -n : EPROTO;
    snprintf(answer->why, sizeof answer->why, "nobody can open it: %s", strerror(answer->error));
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return 0;
}

/* --- the list --------------------------------------------------------------------------------- */

static struct outlet *find(const struct host *h, int id)
{
    struct outlet *o = h->sinks.open;
    while (o && o->id != id)
        o = o->next;
    return o;
}

static struct outlet *find_spec(const struct host *h, uint32_t script, const struct sink_spec *spec)
{
    for (struct outlet *o = h->sinks.open; o; o = o->next)
        if (spec_size(sink_spec(o->sink)) == spec_size(spec) &&
            !memcmp(sink_spec(o->sink), spec, spec_size(spec)) &&
            (spec->kind != SINK_FILE || o->script == script))
            return o;
    return NULL;
}

static bool is_used_by(const struct outlet *o, const struct policy *policy)
{
    for (int i = 0; i < o->users_len; i++)
        if (o->users[i] == policy)
            return true;
    return false;
}

static struct outlet *add(struct host *h, uint32_t script, struct sink *sink)
{
    struct outlet *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    if (!h->sinks.open && !h->sinks.finishing) {
        h->sinks.due_ns = clock_mono_ns() + TICK_NS;
        host_alarm(h);
    }
    *o = (struct outlet){
        .next = h->sinks.open, .id = ++h->sinks.last_id, .script = script, .sink = sink
    };
    o->unwanted_ns = clock_mono_ns();
    h->sinks.open = o;
    return o;
}

static void watch(struct host *h, struct outlet *o, bool on)
{
    const struct host_world *world = &h->options.world;
    if (o->watched == on || !world->writable_start || h->sinks.finishing)
        return;
    o->watched = on;
    if (on)
        world->writable_start(world->ctx, o->id, sink_fd(o->sink));
    else
        world->writable_stop(world->ctx, o->id);
}

static void remove_outlet(struct host *h, struct outlet *o)
{
    struct outlet **at = &h->sinks.open;
    watch(h, o, false);
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    if (!h->sinks.open)
        h->sinks.due_ns = 0;
    sink_close(o->sink);
    free(o->users);
    free(o);
}

/* The keeper forgets it too, and says what was left in it. */
static void close_outlet(struct host *h, struct outlet *o)
{
    struct request_sink q = { .id = sink_id(o->sink) };
    struct keeper_answer answer;
    sink_tell(o->sink);
    remove_outlet(h, o);
    ask(h, REQUEST_SINK_CLOSE, q, NULL, 0, &answer, NULL);
}

static void close_if_over(struct host *h, struct outlet *o)
{
    if (!o->users_len &&
        (sink_is_empty(o->sink) || clock_mono_ns() - o->unwanted_ns > CLOSING_PATIENCE_NS))
        close_outlet(h, o);
}

static void each(struct host *h, void (*f)(struct host *h, struct outlet *o))
{
    for (struct outlet *o = h->sinks.open, *next; o; o = next) {
        next = o->next;
        f(h, o);
    }
}

static bool use(struct outlet *o, const struct policy *policy)
{
    if (is_used_by(o, policy))
        return true;
    const struct policy **more = realloc(o->users, (size_t)(o->users_len + 1) * sizeof(void *));
    if (!more)
        return false;
    o->users = more;
    more[o->users_len++] = policy;
    return true;
}

/* --- opening ---------------------------------------------------------------------------------- */

static struct outlet *take_answer(struct host *h, uint32_t script, const struct sink_spec *spec,
                                  const struct keeper_answer *answer, const int *fds, int n)
{
    struct sink *sink = NULL;
    if (sink_open(&sink, spec, answer, fds, n) < 0)
        return NULL;
    struct outlet *o = add(h, script, sink);
    if (!o)
        sink_close(sink);
    return o;
}

static int refuse(char *why, int error, const char *text)
{
    snprintf(why, PLACE_WHY_MAX, "%s", text);
    return -error;
}

/* What another version of the script has open goes with it, so the next one may change the options.
 */
static bool collides(const struct host *h, const struct policy *policy,
                     const struct sink_spec *spec)
{
    for (const struct outlet *o = h->sinks.open; o; o = o->next)
        if (is_used_by(o, policy) && spec_collides(sink_spec(o->sink), spec))
            return true;
    return false;
}

static int count_of(const struct host *h, const struct policy *policy)
{
    int n = 0;
    for (const struct outlet *o = h->sinks.open; o; o = o->next)
        n += is_used_by(o, policy);
    return n;
}

int sinks_open(struct host *h, struct policy *policy, const struct sink_spec *spec, char *why)
{
    int fds[REQUEST_FDS];
    struct keeper_answer answer;
    struct outlet *o = find_spec(h, policy->id, spec);
    if (!h->options.world.request)
        return 0;
    if ((!o || !is_used_by(o, policy)) && count_of(h, policy) >= KEEPER_A_SCRIPT)
        return refuse(why, EMFILE, "a script has 16 outputs at most");
    if (!o) {
        struct request_sink q = { .script = policy->id };
        if (collides(h, policy, spec))
            return refuse(why, EBUSY, "the script has this file open already, with other options");
        each(h, close_if_over); /* a script that has just gone has its files no more */
        int n = ask(h, REQUEST_SINK_OPEN, q, spec, spec_size(spec), &answer, fds);
        if (!answer.id)
            return answer.error ? refuse(why, answer.error, answer.why) : 0;
        o = take_answer(h, policy->id, spec, &answer, fds, n);
    }
    if (!o || !use(o, policy))
        return refuse(why, ENOMEM, "not enough memory");
    return o->id;
}

/* What processes before this one left in their queues. */
static void adopt(struct host *h)
{
    static struct sink_spec spec;
    int fds[REQUEST_FDS];
    struct keeper_answer answer;
    const struct buf *out = &h->sinks.answer;
    h->sinks.began = true;
    for (;;) {
        int n = ask(h, REQUEST_SINK_ADOPT, (struct request_sink){ 0 }, NULL, 0, &answer, fds);
        if (!answer.id)
            return;
        if (spec_take(&spec, out->data + sizeof answer, out->len - sizeof answer) < 0 ||
            !take_answer(h, answer.script, &spec, &answer, fds, n))
            return;
    }
}

bool sinks_is_open(const struct host *h, int id)
{
    const struct outlet *o = find(h, id);
    return o && o->users_len;
}

void sinks_release(struct host *h, const struct policy *policy)
{
    for (struct outlet *o = h->sinks.open; o; o = o->next)
        for (int i = 0; i < o->users_len; i++)
            if (o->users[i] == policy) {
                o->users[i] = o->users[--o->users_len];
                o->unwanted_ns = clock_mono_ns();
            }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void tend(struct host *h, struct outlet *o, enum keeper_what what, int64_t now_ns)
{
    int fds[REQUEST_FDS];
    struct keeper_answer answer;
    struct request_sink q = { .id = sink_id(o->sink), .what = what };
    int n = ask(h, REQUEST_SINK_TEND, q, NULL, 0, &answer, fds);
    if (n) /* another descriptor: the loop may have the old one */
        watch(h, o, false);
    sink_tended(o->sink, &answer, n ? fds[0] : -1, now_ns);
    for (int i = 1; i < n; i++)
        close(fds[i]);
}

static enum sink_turn write_turn(struct host *h, struct outlet *o)
{
    int64_t now_ns = clock_mono_ns();
    enum sink_turn turn = sink_write(o->sink, now_ns);
    for (int asks = 0; turn == SINK_ASKS && asks < ASKS_A_TURN; asks++) {
        tend(h, o, sink_asks(o->sink), now_ns);
        turn = sink_write(o->sink, now_ns);
    }
    watch(h, o, turn == SINK_MORE);
    return turn;
}

static void write_out(struct host *h, struct outlet *o)
{
    if (!sink_is_empty(o->sink))
        write_turn(h, o);
    close_if_over(h, o);
}

void sinks_send(struct host *h, int id, const void *bytes, size_t len)
{
    struct outlet *o = find(h, id);
    if (!o)
        return;
    if (!sink_has_room(o->sink, len)) { /* before something gives way */
        budget_pause(&h->budget, true);
        write_turn(h, o);
        budget_pause(&h->budget, false);
    }
    sink_push(o->sink, bytes, len);
}

struct sink_counts sinks_count(const struct host *h, int id)
{
    const struct outlet *o = find(h, id);
    return o ? sink_count(o->sink) : (struct sink_counts){ 0 };
}

void sinks_flush(struct host *h)
{
    if (!h->sinks.began)
        adopt(h);
    each(h, write_out);
}

void sinks_writable(struct host *h, int id)
{
    struct outlet *o = find(h, id);
    if (o)
        write_out(h, o);
}

static void give_disk_back(struct host *h, const struct outlet *o)
{
    int fds[REQUEST_FDS];
    struct keeper_answer answer;
    struct request_sink q = { .id = sink_id(o->sink), .what = KEEPER_EMPTY };
    for (int n = ask(h, REQUEST_SINK_TEND, q, NULL, 0, &answer, fds); n > 0; n--)
        close(fds[n - 1]);
}

static void tick_one(struct host *h, struct outlet *o)
{
    if (sink_holds_disk(o->sink))
        give_disk_back(h, o);
    if (sink_spec(o->sink)->kind == SINK_EXEC)
        tend(h, o, KEEPER_CHECK, clock_mono_ns());
    sink_tell(o->sink);
    write_out(h, o);
}

void sinks_tick(struct host *h, int64_t now_ns)
{
    h->sinks.due_ns = now_ns + TICK_NS;
    each(h, tick_one);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Wait until one of them can be written to; false: for nothing. */
static bool await_room(const struct host *h, int64_t until_ns)
{
    struct pollfd room[64];
    nfds_t n = 0;
    for (const struct outlet *o = h->sinks.open; o && n < 64; o = o->next)
        if (!sink_is_empty(o->sink) && sink_fd(o->sink) >= 0)
            room[n++] = (struct pollfd){ .fd = sink_fd(o->sink), .events = POLLOUT };
    int64_t left_ms = (until_ns - clock_mono_ns()) / 1000000;
    return n && left_ms > 0 && poll(room, n, left_ms < 100 ? (int)left_ms : 100) >= 0;
}

void sinks_finish(struct host *h)
{
    int64_t until_ns = clock_mono_ns() + FINISH_PATIENCE_NS;
    bool more = true;
    while (more && clock_mono_ns() < until_ns) {
        more = false;
        for (struct outlet *o = h->sinks.open; o; o = o->next)
            if (!sink_is_empty(o->sink) && write_turn(h, o) == SINK_MORE)
                more = true;
        more = more && await_room(h, until_ns);
    }
    for (struct outlet *o = h->sinks.open; o; o = o->next)
        sink_tell(o->sink);
}

void sinks_free(struct host *h)
{
    while (h->sinks.open)
        remove_outlet(h, h->sinks.open);
    buf_free(&h->sinks.record);
    buf_free(&h->sinks.answer);
}
