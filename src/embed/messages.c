/* messages.c - what is said between a crew and its workers: orders, answers, reports. See
 * crew_state.h. Waits for nobody, and believes nothing that it has not checked. */
#include "embed/crew_state.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- orders ----------------------------------------------------------------------------------- */

struct worker_slot *slot_ward_of(struct crew *c, const struct crew_script *s)
{
    for (int i = FIRST_WARD; s->warded && i < CREW_SLOTS; i++)
        if (c->slots[i].pid && c->slots[i].ward_of == s->id)
            return &c->slots[i];
    return NULL;
}

struct worker_slot *slot_of(struct crew *c, const struct crew_script *s)
{
    struct worker_slot *ward = slot_ward_of(c, s);
    return ward ? ward : &c->slots[s->trusted ? CREW_TRUSTED : CREW_POLICY];
}

void slot_leave_ward(struct crew *c, struct crew_script *s)
{
    struct worker_slot *ward = slot_ward_of(c, s);
    s->warded = false;
    if (!ward)
        return;
    ward->retired = true;
    kill(ward->pid, SIGKILL);
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
int slot_send(struct worker_slot *slot, const struct worker_order *order, const char *text)
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

int slot_order_named(struct worker_slot *slot, const struct crew_script *s, enum worker_do what,
                     const char *name,
               const char *text, size_t len, bool shadow)
{
    struct worker_order order = { .what = what,
                                  .id = s->id,
                                  .generation = s->generation + (text ? 1 : 0),
                                  .shadow = shadow,
                                  .len = len };
    if (name)
        snprintf(order.name, sizeof order.name, "%s", name);
    if (what == DO_LOAD && slot->steward && steward_script(slot->steward, s->id, s->name) < 0)
        return -ENOMEM;
    return slot_send(slot, &order, text);
}

int slot_order(struct worker_slot *slot, const struct crew_script *s, enum worker_do what,
               const char *text, size_t len, bool shadow)
{
    return slot_order_named(slot, s, what, s->name, text, len, shadow);
}

/* The worker of its group, started if there is none. */
static struct worker_slot *worker_for(struct crew *c, struct crew_script *s)
{
    struct worker_slot *slot = slot_of(c, s);
    if (!slot->pid && slot->group != CREW_WARD) {
        ring_reader_start(c->ring, slot->reader);
        if (slot_spawn(slot) < 0)
            log_error("%s", crew_error(c));
    }
    return slot;
}

/* To a worker that begins it is given when it is ready. */
void slot_send_next(struct crew *c, struct crew_script *s)
{
    struct worker_slot *slot = worker_for(c, s);
    int result = slot->ready ? slot_order(slot, s, DO_LOAD, s->next, s->next_len, false) : 0;
    s->unsent = result == -EAGAIN;
    if (result < 0 && result != -ESRCH && result != -EAGAIN)
        roster_refuse_next(c, s, "its worker takes no new version");
}

void slot_send_unload(struct crew *c, struct crew_script *s)
{
    s->unsent = slot_order(slot_of(c, s), s, DO_UNLOAD, NULL, 0, false) == -EAGAIN;
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
            slot_send_next(c, s);
        else
            slot_send_unload(c, s);
        room = !s->unsent;
    }
}

/* --- answers ---------------------------------------------------------------------------------- */

int slot_await(struct worker_slot *slot, crew_done *done, void *ctx)
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

void slot_answer(struct worker_slot *slot, int error, const char *text)
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
    slot_answer(slot, message->error, buf_str(&slot->answer));
    buf_clear(&slot->answer);
}

void crew_figures_came(struct crew *c)
{
    void (*asked)(void *ctx) = c->asked;
    c->asked = NULL;
    c->reports = 0;
    if (c->loop)
        ev_timer_stop(c->loop, &c->patience);
    if (asked)
        asked(c->asked_ctx);
}

void crew_reported(struct crew *c)
{
    if (c->reports && --c->reports == 0)
        crew_figures_came(c);
}

/* --- what workers say ------------------------------------------------------------------------- */

/* The script of this id, if it is one that this worker has. */
static struct crew_script *own_script(struct worker_slot *slot, uint32_t id)
{
    struct crew_script *s = roster_of(slot->crew, id);
    return s && slot_of(slot->crew, s) == slot ? s : NULL;
}

/* A report tells of the version that counts, and of its shadow; that one has the same id. */
void roster_count(struct crew *c, const struct host_script *figures)
{
    struct crew_script *s = roster_of(c, figures->id);
    if (s && !figures->shadow)
        s->figures = *figures;
}

void roster_count_rules(struct crew_script *s, const struct host_rules *rules)
{
    s->rules = *rules;
    s->worst_len = 0;
    if (!s->worst)
        s->worst = calloc(WORKER_RULES_MOST, sizeof *s->worst);
}

void roster_add_rule(struct crew_script *s, const struct host_rule *rule)
{
    if (!s->worst || s->worst_len == WORKER_RULES_MOST)
        return;
    struct host_rule *to = &s->worst[s->worst_len++];
    *to = *rule;
    to->id[sizeof to->id - 1] = to->title[sizeof to->title - 1] = '\0';
}

static void hear_rules(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew_script *s = own_script(slot, message->id);
    if (s && message->say == WORKER_RULES)
        roster_count_rules(s, &message->rules);
    else if (s)
        roster_add_rule(s, &message->rule);
}

/* The version that was asked for last is in place, or was refused. */
static void hear_loaded(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    struct crew_script *s = own_script(slot, message->id);
    slot->wants = (struct crew_wants){ message->kinds, message->threads, message->needs };
    c->options.calls.wants(c->options.calls.ctx);
    if (message->shadow) { /* somebody waits for it, whatever came between */
        if (message->error && s)
            roster_drop_shadow(s);
        slot_answer(slot, message->error, message->text);
    } else if (s && s->next && message->generation == s->generation + 1) {
        if (message->error == 0) {
            roster_take_next(s);
            roster_count(c, &message->script);
            roster_say_loaded(s, message->took_ns);
        } else {
            roster_refuse_next(c, s, message->text);
        }
        if (s->next)
            slot_send_next(c, s);
        roster_check_settled(c);
    }
    send_unsent(slot);
}

static void hear_off(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew_script *s = own_script(slot, message->id);
    if (!s || s->state == SCRIPT_GONE)
        return;
    roster_switch_off(s, message->text);
    if (s->warded)
        slot_leave_ward(slot->crew, s);
}

/* What a dead worker had counted of this script since its last report. */
void slot_count_last(struct worker_slot *slot, struct crew_script *s)
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
    roster_forget_gone(c, slot, 0);
    for (int i = 0; i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        if (slot_of(c, s) == slot)
            s->unsent = s->next;
    }
    send_unsent(slot);
}

/* Not when it is loaded again already: the next version has opened them, or is about to. */
static void forget_stores(struct worker_slot *slot, uint32_t id)
{
    const struct crew_script *s = roster_of(slot->crew, id);
    if (slot->steward && (!s || (s->state != SCRIPT_ON && !s->next)))
        steward_forget(slot->steward, id);
}

static void hear_unloaded(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew *c = slot->crew;
    slot->wants = (struct crew_wants){ message->kinds, message->threads, message->needs };
    c->options.calls.wants(c->options.calls.ctx);
    if (message->id) {
        forget_stores(slot, message->id);
        roster_forget_gone(c, slot, message->id);
    }
    send_unsent(slot);
}

/* What loaded before does not any more; or privileges cannot be given up. */
static void hear_failed(struct worker_slot *slot, const struct worker_message *message)
{
    struct crew_script *s = own_script(slot, message->id);
    if (!slot->crew->started || slot->ready || slot->failed)
        return; /* at the start await_ready tells it; and it is said once */
    log_error("%s%s%s", s ? crew_script_name(s) : "", s ? " is off until its file changes: " : "",
              message->text);
    slot->failed = s;
    if (!s)
        return;
    roster_switch_off(s, message->text);
    s->warded = false; /* its ward is about to end */
}

static void hear_dump(struct worker_slot *slot, const struct worker_message *message)
{
    const struct crew_calls *calls = &slot->crew->options.calls;
    const struct crew_script *s = own_script(slot, message->id);
    if (s && message->dump_s > 0 && message->dump_s <= 3600)
        calls->dump(calls->ctx, crew_script_name(s), message->dump_s, message->pid, message->starttime);
}

/* The worker runs scripts: what it says is checked, never trusted. */
void slot_hear(struct worker_slot *slot, const struct worker_message *message)
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
        if (slot->reporting)
            crew_reported(c);
        slot->reporting = false;
        break;
    case WORKER_SCRIPT:
        if (own_script(slot, message->script.id))
            roster_count(c, &message->script);
        break;
    case WORKER_RULES:
    case WORKER_RULE:
        hear_rules(slot, message);
        break;
    case WORKER_LOADED:
        hear_loaded(slot, message);
        break;
    case WORKER_UNLOADED:
        hear_unloaded(slot, message);
        break;
    case WORKER_OFF:
        hear_off(slot, message);
        break;
    case WORKER_BUSY:
        slots_watch(c);
        break;
    case WORKER_DUMP:
        hear_dump(slot, message);
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
int slot_receive(struct worker_slot *slot, struct worker_message *message, int patience_ms)
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
