/* crew.c - the scripts of a watch, and the workers that run them. See crew.h. */
#include "embed/crew.h"

#include "base/clock.h"
#include "base/log.h"
#include "embed/crew_state.h"
#include "embed/vault.h"
#include "host/budget.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_PATIENCE_NS  (10 * NS_PER_SECOND)
#define FREE_PATIENCE_NS  (2 * NS_PER_SECOND)
#define LOAD_LOOK_MS      250
#define ANSWER_PATIENCE_S 2.0 /* for figures: then what is there must do */
#define LOOKS_A_LIMIT     4   /* how exactly the hard limit is kept */

int crew_fail(struct crew *c, int error, const char *format, ...)
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

void crew_tell_wants(struct crew *c)
{
    c->options.calls.wants(c->options.calls.ctx);
}

static void summarize_rules(struct crew *c, uint32_t id)
{
    static struct host_rule worst[WORKER_RULES_MOST];
    struct crew_script *s = roster_of(c, id);
    struct host_rules rules;
    int n = host_rules(c->host, id, &rules, worst, WORKER_RULES_MOST);
    if (!s || !rules.count)
        return;
    roster_count_rules(s, &rules);
    for (int i = 0; i < n; i++)
        roster_add_rule(s, &worst[i]);
}

void crew_summarize_host(struct crew *c)
{
    int n = host_scripts(c->host, NULL, 0);
    struct host_script *all = calloc((size_t)n + 1, sizeof *all);
    if (!all)
        return;
    host_scripts(c->host, all, n);
    for (int i = 0; i < n; i++) {
        roster_count(c, &all[i]);
        if (!all[i].shadow)
            summarize_rules(c, all[i].id);
    }
    free(all);
}

/* --- the start -------------------------------------------------------------------------------- */

/* While there is no loop yet: the marks are looked at in between. */
static int await_ready(struct worker_slot *slot, struct crew_script **wrong)
{
    struct crew *c = slot->crew;
    struct worker_message message;
    char how[128];
    int got;
    while ((got = slot_receive(slot, &message, LOAD_LOOK_MS)) >= 0) {
        if (got == 0 && c->options.hard_ns)
            slot_look(slot, clock_mono_ns());
        if (got == 0 && slot_has_ended(slot))
            break;
        if (got == 1 && message.say == WORKER_FAILED) {
            *wrong = roster_of(c, message.id);
            slot_reap(slot, how, sizeof how);
            slot_close(slot);
            return crew_fail(c, -EINVAL, "%s", message.text);
        }
        if (got == 1)
            slot_hear(slot, &message);
        if (slot->ready)
            return 0;
    }
    struct crew_script *s = *wrong = slot_offender(slot);
    slot_reap(slot, how, sizeof how);
    bool killed = slot->killed;
    slot_close(slot);
    if (s && killed)
        return crew_fail(c, -EINVAL, "%s: loading it took longer than %g s", crew_script_name(s),
                         (double)c->options.hard_ns * BUDGET_LOADING / 1e9);
    if (s)
        return crew_fail(c, -EINVAL, "%s: the script worker %s while it was loaded",
                         crew_script_name(s), how);
    return crew_fail(c, -EIO, "the script worker %s while it loaded the scripts", how);
}

/* Is it one that the others can begin without? Then they do. */
static bool leave_out(struct crew *c, struct crew_script *s)
{
    if (!s || !s->optional)
        return false;
    log_error("%s; the others begin without it", crew_error(c));
    roster_switch_off(s, crew_error(c));
    return true;
}

static int start_one(struct worker_slot *slot)
{
    struct crew_script *wrong;
    int result;
    do {
        wrong = NULL;
        result = slot_spawn(slot);
        if (result == 0 && !slot->crew->options.only_load)
            result = await_ready(slot, &wrong);
    } while (result == -EINVAL && leave_out(slot->crew, wrong));
    return result;
}

static int start_workers(struct crew *c)
{
    int result = ring_new(&c->ring, c->options.ring_bytes);
    if (result < 0)
        return crew_fail(c, result, "no shared memory for the ring: %s", strerror(-result));
    c->lock = memfd_create("moonwatch-lock", MFD_CLOEXEC);
    if (c->record && !c->options.only_load)
        result = recorder_start(&c->recorder, c->record, c->ring, CREW_SLOTS);
    if (result < 0)
        return crew_fail(c, result, "cannot start the process that records: %s", strerror(-result));
    for (int group = CREW_POLICY; group <= CREW_TRUSTED && result == 0; group++) {
        if (slots_wanted(c, (enum crew_group)group))
            result = start_one(&c->slots[group]);
    }
    return result;
}

static int load_here(struct crew *c)
{
    for (int i = 0; i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        struct host_source source = { .id = s->id,
                                      .generation = s->generation,
                                      .name = s->name,
                                      .text = s->text,
                                      .len = s->len };
        int result = host_replace(c->host, &source);
        if (result < 0)
            crew_fail(c, result, "%s", host_error(c->host));
        if (result < 0 && !leave_out(c, s))
            return result;
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
    for (int i = 0; i < CREW_SLOTS; i++) {
        struct worker_slot *slot = &c->slots[i];
        int got, result = 0;
        while (slot->pid && (got = slot_receive(slot, &message, LOAD_LOOK_MS)) >= 0) {
            if (got == 0 && c->options.hard_ns)
                slot_look(slot, clock_mono_ns());
            if (got == 1 && message.say == WORKER_FAILED)
                result = crew_fail(c, -EINVAL, "%s", message.text);
            else if (got == 1)
                slot_hear(slot, &message);
        }
        if (!slot->pid)
            continue;
        bool ready = slot->ready;
        slot_reap(slot, how, sizeof how);
        struct crew_wants wants = slot->wants;
        slot_close(slot);
        slot->wants = wants;
        if (result < 0)
            return result;
        if (!ready)
            return crew_fail(c, -EIO, "the script worker %s while it loaded the scripts", how);
    }
    return 0;
}

static void on_patience(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    crew_figures_came(watcher->data);
}

static void stop_recorder(struct crew *c)
{
    if (!c->recorder)
        return;
    int result = recorder_stop(c->recorder);
    c->recorded_last = recorder_count(c->recorder);
    if (result < 0 && !c->recorded_last.error)
        c->recorded_last.error = -result;
    recorder_free(c->recorder);
    c->recorder = NULL;
}

/* Without it the watch goes on, unless it was there for nothing else. */
static void recorder_died(struct crew *c)
{
    ev_io_stop(c->loop, &c->recorded);
    stop_recorder(c);
    bool file = c->record->fd >= 0;
    crew_fail(c, -EIO, "the process that records has ended: %s", strerror(c->recorded_last.error ? c->recorded_last.error : EIO));
    log_error("%s", crew_error(c));
    if (file)
        c->options.calls.ending(c->options.calls.ctx, CREW_DIED, 0);
}

static void on_recorded(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct crew *c = watcher->data;
    struct recorder_message message;
    int got;
    (void)loop, (void)events;
    while ((got = recorder_hear(c->recorder, &message)) == 1)
        if (message.say == RECORDER_FULL)
            c->options.calls.ending(c->options.calls.ctx, CREW_RECORDED, 0);
        else
            c->options.calls.dumped(c->options.calls.ctx, message.number, message.error);
    if (got < 0)
        recorder_died(c);
}

void crew_record(struct crew *c, const struct recorder_options *options)
{
    c->record = options;
}

struct recorder *crew_recorder(const struct crew *c)
{
    return c->recorder;
}

bool crew_recorded(const struct crew *c, struct recorder_counters *out)
{
    if (c->recorder)
        *out = recorder_count(c->recorder);
    else
        *out = c->recorded_last;
    return c->record;
}

void crew_listen(struct crew *c, struct ev_loop *loop)
{
    double every = (double)c->options.hard_ns / 1e9 / LOOKS_A_LIMIT;
    ev_timer_init(&c->watching, slots_on_look, every, every);
    ev_timer_init(&c->patience, on_patience, 0, ANSWER_PATIENCE_S);
    c->watching.data = c->patience.data = c->depended.data = c;
    ev_async_init(&c->depended, roster_on_depended);
    ev_async_start(loop, &c->depended);
    ev_unref(loop);                /* it keeps no loop alive */
    pthread_mutex_lock(&c->mutex); /* stewards may send from now on */
    c->loop = loop;
    pthread_mutex_unlock(&c->mutex);
    roster_tell_dependences(c);
    if (c->recorder) {
        ev_io_init(&c->recorded, on_recorded, recorder_fd(c->recorder), EV_READ);
        c->recorded.data = c;
        ev_io_start(loop, &c->recorded);
    }
    for (int i = 0; i < CREW_SLOTS; i++)
        if (c->slots[i].pid)
            slot_listen(&c->slots[i]);
}

/* --- records ---------------------------------------------------------------------------------- */

void crew_write(struct crew *c, struct event_box *box)
{
    ring_write(c->ring, box);
}

void crew_flush(struct crew *c, const struct figures *figures)
{
    if (figures)
        ring_post(c->ring, (const uint64_t *)figures, FIGURES_WORDS);
    ring_flush(c->ring);
    slots_watch(c);
}

struct crew_wants crew_wants(const struct crew *c)
{
    struct crew_wants wants = { 0 };
    if (c->host)
        return (struct crew_wants){ host_kinds(c->host), host_threads(c->host),
                                    host_needs(c->host) };
    for (int i = 0; i < CREW_SLOTS; i++) {
        wants.kinds |= c->slots[i].wants.kinds;
        wants.threads = wants.threads || c->slots[i].wants.threads;
        wants.needs |= c->slots[i].wants.needs;
    }
    return wants;
}

/* --- changes ---------------------------------------------------------------------------------- */

/* In this process there is no worker to tell the scripts what time it is. */
static void tell_time(struct crew *c)
{
    host_clock(c->host, clock_mono_ns(), clock_real_ns());
}

static int load_now(struct crew *c, struct crew_script *s)
{
    struct host_source source = { .id = s->id,
                                  .generation = s->generation + 1,
                                  .name = s->name,
                                  .text = s->next,
                                  .len = s->next_len };
    int64_t from = clock_mono_ns();
    tell_time(c);
    int result = host_replace(c->host, &source);
    if (result < 0) {
        roster_refuse_next(c, s, host_error(c->host));
        return result;
    }
    roster_take_next(s);
    crew_summarize_host(c);
    roster_say_loaded(s, clock_mono_ns() - from);
    crew_tell_wants(c);
    return 0;
}

/* The text is kept for when it is enabled. */
static int keep_text(struct crew_script *s, const char *text, size_t len)
{
    char *kept = roster_copy(text, len);
    if (!kept)
        return -ENOMEM;
    free(s->text);
    s->text = kept;
    s->len = len;
    log_warn("%s has changed, and is off until it is enabled", crew_script_name(s));
    return 0;
}

/* One at a time: so it is known which one an answer is about. */
static int load_next(struct crew *c, struct crew_script *s, const char *text, size_t len)
{
    if (s->disabled)
        return keep_text(s, text, len);
    free(s->after);
    s->after = roster_copy(text, len);
    s->after_len = len;
    if (!s->after)
        return -ENOMEM;
    if (s->next)
        return 0;
    roster_advance(s);
    if (c->host)
        return load_now(c, s);
    if (s->warded)
        slot_leave_ward(c, s);
    slot_send_next(c, s);
    return 0;
}

int crew_add(struct crew *c, const char *name, const char *text, size_t len, bool trusted,
             bool optional)
{
    struct crew_script *s = roster_insert(c, name, trusted);
    if (!s)
        return crew_fail(c, -ENOMEM, "not enough memory for the scripts");
    s->optional = optional;
    if (!c->started) {
        s->text = roster_copy(text, len);
        s->len = len;
        return s->text ? 0 : crew_fail(c, -ENOMEM, "not enough memory for the scripts");
    }
    s->generation = 0;
    s->state = SCRIPT_OFF; /* until it is loaded */
    snprintf(s->why, sizeof s->why, "it could not be loaded");
    return load_next(c, s, text, len);
}

int crew_change(struct crew *c, const char *name, const char *text, size_t len)
{
    struct crew_script *s = roster_named(c, name + (*name == '@'));
    return s ? load_next(c, s, text, len) : -ENOENT;
}

static void unload(struct crew *c, struct crew_script *s)
{
    roster_drop_shadow(s);
    roster_drop_next(s);
    roster_drop_next(s); /* and what came after it */
    roster_check_settled(c);
    if (!c->host)
        slot_count_last(slot_of(c, s), s);
    if (c->host) {
        host_unload(c->host, s->id);
        if (c->options.means.vault)
            vault_forget(c->options.means.vault, NULL, s->id);
        crew_tell_wants(c);
    } else if (s->warded) {
        slot_leave_ward(c, s);
    } else {
        slot_send_unload(c, s);
    }
}

void crew_remove(struct crew *c, const char *name)
{
    struct crew_script *s = roster_named(c, name + (*name == '@'));
    if (!s)
        return;
    s->state = SCRIPT_GONE;
    log_warn("%s is gone: its file is", crew_script_name(s));
    unload(c, s);
    if (c->host)
        roster_forget_gone(c, NULL, 0);
}

int crew_disable(struct crew *c, const char *name)
{
    struct crew_script *s = roster_named(c, name);
    if (!s || s->state == SCRIPT_OFF)
        return s ? -EALREADY : -ENOENT;
    s->generation += s->next != NULL; /* an answer about that one is too late */
    s->disabled = true;
    roster_switch_off(s, "disabled by the operator");
    unload(c, s);
    log_warn("%s is off until it is enabled", crew_script_name(s));
    return 0;
}

int crew_enable(struct crew *c, const char *name)
{
    struct crew_script *s = roster_named(c, name);
    if (!s || s->state == SCRIPT_ON)
        return s ? -EALREADY : -ENOENT;
    if (!s->text)
        return -EINVAL;
    s->disabled = false;
    char *text = roster_copy(s->text, s->len);
    int result = text ? load_next(c, s, text, s->len) : -ENOMEM;
    free(text);
    return result;
}

/* --- shadows ---------------------------------------------------------------------------------- */

/* By its name or path, or by a file of the same name elsewhere: the next version of it. */
static struct crew_script *script_like(const struct crew *c, const char *path)
{
    struct crew_script *s = roster_named(c, path);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    for (int i = 0; !s && i < c->scripts_len; i++) {
        const char *name = c->scripts[i]->name, *cut = name ? strrchr(name, '/') : NULL;
        if (name && c->scripts[i]->state != SCRIPT_GONE && !strcmp(cut ? cut + 1 : name + 1, base))
            s = c->scripts[i];
    }
    return s;
}

int crew_shadow(struct crew *c, const char *path, const char *text, size_t len, crew_done *done,
                void *ctx)
{
    char chunk[PATH_MAX + 1];
    struct crew_script *s = script_like(c, path);
    snprintf(chunk, sizeof chunk, "@%s", path);
    if (!s || s->state != SCRIPT_ON || s->next)
        return s ? -EBUSY : -ENOENT;
    crew_drop(c, crew_script_name(s));
    s->shadow = roster_copy(text, len);
    s->shadow_len = len;
    if (!s->shadow)
        return -ENOMEM;
    if (c->host) {
        struct host_source source = { .id = s->id,
                                      .generation = s->generation + 1,
                                      .name = chunk,
                                      .text = text,
                                      .len = len,
                                      .shadow = true };
        tell_time(c);
        int result = host_replace(c->host, &source);
        if (result < 0)
            roster_drop_shadow(s);
        done(ctx, result, result < 0 ? host_error(c->host) : "");
        return 0;
    }
    struct worker_slot *slot = slot_of(c, s);
    int result = slot_order_named(slot, s, DO_LOAD, chunk, text, len, true);
    if (result == 0)
        result = slot_await(slot, done, ctx);
    if (result < 0)
        roster_drop_shadow(s);
    return result;
}

int crew_compare(struct crew *c, const char *name, crew_done *done, void *ctx)
{
    struct crew_script *s = roster_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    if (c->host) {
        struct buf out = { 0 };
        int result = host_compare(c->host, s->id, &out);
        done(ctx, result, buf_str(&out));
        buf_free(&out);
        return 0;
    }
    int result = slot_order(slot_of(c, s), s, DO_COMPARE, NULL, 0, false);
    return result < 0 ? result : slot_await(slot_of(c, s), done, ctx);
}

int crew_drop(struct crew *c, const char *name)
{
    struct crew_script *s = roster_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    roster_drop_shadow(s);
    if (c->host)
        host_drop_shadow(c->host, s->id);
    else
        slot_order(slot_of(c, s), s, DO_DROP_SHADOW, NULL, 0, false);
    return 0;
}

int crew_promote(struct crew *c, const char *name)
{
    struct crew_script *s = roster_named(c, name);
    if (!s || !s->shadow)
        return -ENOENT;
    char *text = s->shadow;
    size_t len = s->shadow_len;
    s->shadow = roster_copy("", 0);
    crew_drop(c, name);
    int result = load_next(c, s, text, len);
    free(text);
    return result;
}

/* --- lines of somebody's ---------------------------------------------------------------------- */

int crew_eval(struct crew *c, const char *text, size_t len, crew_done *done, void *ctx)
{
    if (c->host) {
        struct buf out = { 0 };
        tell_time(c);
        int result = host_eval(c->host, text, len, &out);
        done(ctx, result, result < 0 ? host_error(c->host) : buf_str(&out));
        buf_free(&out);
        crew_tell_wants(c);
        return 0;
    }
    struct worker_slot *slot = &c->slots[CREW_POLICY];
    struct worker_order order = { .what = DO_EVAL, .len = len };
    int result = slot_send(slot, &order, text);
    return result < 0 ? result : slot_await(slot, done, ctx);
}

/* --- figures ---------------------------------------------------------------------------------- */

void crew_ask(struct crew *c, bool weigh, void (*done)(void *ctx), void *ctx)
{
    bool asked = c->asked;
    struct worker_order order = { .what = DO_REPORT, .weigh = weigh };
    c->asked = done;
    c->asked_ctx = ctx;
    if (c->host) {
        if (weigh)
            host_weigh(c->host);
        crew_summarize_host(c);
        crew_figures_came(c);
        return;
    }
    for (int i = 0; !asked && i < CREW_SLOTS; i++) {
        struct worker_slot *slot = &c->slots[i];
        slot->reporting = slot->ready && slot_send(slot, &order, NULL) == 0;
        c->reports += slot->reporting;
    }
    if (!c->reports)
        crew_figures_came(c);
    else if (c->loop && !asked)
        ev_timer_again(c->loop, &c->patience);
}

bool crew_worker_at(const struct crew *c, int index, struct crew_worker *out)
{
    for (int i = 0; i < CREW_SLOTS; i++) {
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
    for (int i = 0; i < CREW_SLOTS; i++)
        missed += c->slots[i].missed + c->slots[i].missed_before;
    return missed;
}

/* --- life ------------------------------------------------------------------------------------- */

int crew_new(struct crew **out, const struct crew_options *options)
{
    struct crew *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->options = *options;
    c->lock = -1;
    c->options.means.script_path = roster_path_of;
    c->options.means.script_depends = roster_note_dependence;
    c->options.means.ctx = c;
    pthread_mutex_init(&c->mutex, NULL);
    for (int i = 0; i < CREW_SLOTS; i++)
        c->slots[i] =
            (struct worker_slot){ .crew = c,
                                  .reader = i,
                                  .control = -1, .pidfd = -1,
                                  .group = i < FIRST_WARD ? (enum crew_group)i : CREW_WARD };
    *out = c;
    return 0;
}

/* True when it has ended by itself. */
static bool hear_until(struct worker_slot *slot, int64_t patience_ns)
{
    struct worker_message message;
    int got = 0;
    while (got >= 0 && clock_mono_ns() < patience_ns) {
        got = slot_receive(slot, &message, 100);
        if (got == 1)
            slot_hear(slot, &message);
        if (got == 0 && slot->crew->options.hard_ns)
            slot_look(slot, clock_mono_ns());
        if (got == 0 && slot_has_ended(slot))
            return true;
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
        slot_reap(slot, how, sizeof how);
        slot_close(slot);
        if (ended && slot_offender(slot) && slot_replace(slot, how))
            continue;
        slot_leave_last_words(slot);
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
    for (int i = 0; c->loop && i < CREW_SLOTS; i++)
        if (c->slots[i].pid)
            ev_io_stop(c->loop, &c->slots[i].said);
    if (c->loop && c->recorder)
        ev_io_stop(c->loop, &c->recorded);
    if (c->loop) {
        ev_ref(c->loop);
        ev_async_stop(c->loop, &c->depended);
    }
    pthread_mutex_lock(&c->mutex);
    c->loop = NULL;
    pthread_mutex_unlock(&c->mutex);
    if (c->ring)
        ring_finish(c->ring);
    for (int i = 0; i < CREW_SLOTS; i++)
        hear_to_the_end(&c->slots[i], patience_ns);
    slots_hear_last_words(c, patience_ns);
    stop_recorder(c); /* after the last notes */
    if (c->host)
        crew_summarize_host(c);
}

bool crew_free(struct crew *c)
{
    if (!c)
        return true;
    for (int i = 0; i < CREW_SLOTS; i++) {
        struct worker_slot *slot = &c->slots[i];
        if (slot->pid) { /* the start failed half-way */
            kill(slot->pid, SIGKILL);
            waitpid(slot->pid, NULL, 0);
            slot_close(slot);
        }
        if (slot->shared)
            munmap(slot->shared, sizeof *slot->shared);
        buf_free(&slot->answer);
    }
    if (!slots_free_stewards(c, clock_mono_ns() + FREE_PATIENCE_NS))
        return false;
    recorder_free(c->recorder);
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
        roster_free_one(c->scripts[i]);
    free(c->scripts);
    while (c->settling) {
        struct settling *next = c->settling->next;
        free(c->settling);
        c->settling = next;
    }
    buf_free(&c->refused);
    buf_free(&c->error);
    free(c);
    return true;
}
