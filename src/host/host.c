/* host.c - one lua_State, the scripts in it, and the events that they get. See host.h.
 *
 * Every call of a script goes through host_call, which keeps its budget; how versions of scripts
 * come and go is in versions.c. */
#include "host/state.h"

#include "base/clock.h"
#include "base/crc.h"
#include "base/log.h"
#include "host/library.h"
#include "host/needs.h"
#include "host/sandbox.h"

#include <errno.h>
#include <lualib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char host_key;

struct host *host_of(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&host_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct host *h = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return h;
}

void host_set_error(struct host *h, const char *text)
{
    buf_clear(&h->error);
    buf_puts(&h->error, text);
}

const char *host_error(const struct host *h)
{
    return buf_str((struct buf *)&h->error);
}

/* --- calling ------------------------------------------------------------------------------ */

/* How far the script's own code is from where an error was thrown: the library, what it calls. */
#define SOURCE_LEVELS 16

/* Put the message on top of the stack before its line.  [-0, +0, m] */
static void add_source(lua_State *L, const struct buf *line)
{
    lua_pushlstring(L, line->data, line->len);
    lua_concat(L, 2);
}

/* The chunk that is loaded called the library by its last `return`: that leaves no frame. */
static void show_return(lua_State *L, struct buf *scratch)
{
    const struct host_chunk *chunk = &host_of(L)->loading;
    int line = chunk->text ? source_return_line(chunk->text, chunk->len) : 0;
    if (!line || !source_show_line(chunk->text, chunk->len, line, scratch))
        return;
    lua_pushfstring(L, "%s:%d: ", chunk->name + 1, line);
    if (strstr(lua_tostring(L, -2), chunk->name + 1))
        lua_pop(L, 1); /* the message has a place already */
    else
        lua_insert(L, -2), lua_concat(L, 2);
    add_source(L, scratch);
}

/* To the message on top of the stack, the line of the script in which it arose.  [-0, +0, m] */
static void show_source(lua_State *L, struct buf *scratch)
{
    const struct policy *policy = host_of(L)->current;
    lua_Debug at;
    buf_clear(scratch);
    for (int level = 1; policy && level < SOURCE_LEVELS && lua_getstack(L, level, &at); level++)
        if (lua_getinfo(L, "Sl", &at) &&
            source_show(policy->sources, at.source, at.currentline, scratch)) {
            add_source(L, scratch);
            return;
        }
    show_return(L, scratch);
}

/* Message handler: text with a traceback, whatever was thrown. The text may be a process's: only
 * the traceback's own newlines stay newlines. */
static int add_traceback(lua_State *L)
{
    budget_tell(&host_of(L)->budget, true);
    size_t len = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    struct buf *harmless = &host_of(L)->scratch;
    if (text) {
        buf_clear(harmless);
        buf_harmless(harmless, text, len);
        text = buf_str(harmless);
        const char *hint = sandbox_hint(host_of(L), text);
        if (hint)
            text = lua_pushfstring(L, "%s%s", text, hint);
    } else {
        text = lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, 1));
    }
    lua_pushstring(L, text); /* its place in `harmless` is needed */
    if (host_of(L)->current && host_of(L)->current->line)
        return 1;
    show_source(L, harmless);
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    budget_tell(&host_of(L)->budget, false);
    return 1;
}

/* The clock is read for a sample of the calls only. */
static bool timed(const struct policy *policy)
{
    return policy->count->calls < 64 || policy->count->calls % 8 == 0;
}

static int call(struct host *h, struct policy *policy, int args, int results, int base)
{
    int64_t from = timed(policy) ? clock_mono_ns() : 0;
    policy->count->calls++;
    budget_begin(&h->budget, policy->id);
    int failed = lua_pcall(h->L, args, results, base);
    h->late = budget_end(&h->budget);
    if (from)
        tally_add(&policy->times, clock_mono_ns() - from);
    return failed;
}

/* A call that was over its time may end by what came of it, such as no memory or no more stack. */
static void set_call_error(struct host *h, bool late)
{
    const char *text = lua_tostring(h->L, -1);
    if (!text)
        text = "not enough memory for the message";
    buf_clear(&h->error);
    if (late && !strstr(text, BUDGET_OVER)) {
        buf_puts(&h->error, h->budget.place);
        buf_puts(&h->error, BUDGET_OVER ", which ended with: ");
    }
    buf_puts(&h->error, text);
}

bool host_call(struct host *h, struct policy *policy, int args, int results)
{
    lua_State *L = h->L;
    int base = lua_gettop(L) - args;
    struct policy *outer = h->current;

    if (!outer)
        sandbox_mark_stack(h);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->traceback);
    lua_insert(L, base);
    h->current = policy;
    int failed = outer ? lua_pcall(L, args, results, base) : call(h, policy, args, results, base);
    h->current = outer;
    lua_remove(L, base);
    if (!failed)
        return true;

    budget_tell(&h->budget, false); /* when the message could not be made */
    set_call_error(h, !outer && h->late);
    lua_pop(L, 1);
    if (failed == LUA_ERRMEM)
        h->unsettled = true;
    return false;
}

void host_alarm(struct host *h)
{
    int64_t due = timers_due(&h->timers);
    if (h->sinks.due_ns && h->sinks.due_ns < due)
        due = h->sinks.due_ns;
    if (due == h->alarm_ns || !h->options.world.alarm)
        return;
    h->alarm_ns = due;
    h->options.world.alarm(h->options.world.ctx, due);
}

void host_timer_start(struct host *h, int id)
{
    timers_start(&h->timers, id, h->clock_ns + h->timers.all[id].after_ns);
    host_alarm(h);
}

/* --- what is recorded --------------------------------------------------------------------------- */

static void note(struct host *h, struct recording_note note)
{
    if (!h->options.world.note)
        return;
    note.seq = h->seq;
    note.mono_ns = h->clock_ns;
    note.real_ns = h->clock_real_ns;
    h->options.world.note(h->options.world.ctx, &note);
}

void host_note_answer(struct host *h, enum request_kind kind, const void *answer, size_t len)
{
    note(h, (struct recording_note){ .kind = NOTE_ANSWER, .what = (uint16_t)kind, .answer = answer,
                                     .answer_len = (uint32_t)len });
}

void host_note_alert(struct host *h, const struct host_alert *alert)
{
    const struct host_world *world = &h->options.world;
    if (world->note) {
        buf_clear(&h->witness);
        api_witness(h->L, alert, &h->witness);
        note(h, (struct recording_note){ .kind = NOTE_ALERT, .answer = h->witness.data,
                                         .answer_len = (uint32_t)h->witness.len });
    }
    if (world->alert)
        world->alert(world->ctx, alert);
}

size_t host_source_mark(const struct host_source *source, char *stem, size_t cap, uint64_t *hash)
{
    source_stem(source->name ? source->name : "=-e", stem, cap);
    *hash = (uint64_t)crc32c(0, source->text, source->len) << 32 | (uint32_t)source->len;
    return strlen(stem);
}

void host_note_loaded(struct host *h, const struct host_source *source)
{
    char stem[64];
    uint64_t hash;
    size_t len = host_source_mark(source, stem, sizeof stem, &hash);
    note(h, (struct recording_note){ .kind = NOTE_LOADED, .question = stem, .question_len = len,
                                .answer = &hash, .answer_len = sizeof hash });
}

/* What a replay has to hand out again: the rest lies beside the script, or is an output. */
static bool is_recorded(enum request_kind kind)
{
    return kind == REQUEST_PROBE || kind == REQUEST_CENSUS || kind == REQUEST_SIGNAL || kind == REQUEST_USER;
}

int host_request(struct host *h, enum request_kind kind, const void *bytes, size_t len,
                 struct buf *out, int *fds)
{
    const struct host_world *world = &h->options.world;
    if (!world->request)
        return -ENOTCONN;
    size_t before = out->len;
    budget_pause(&h->budget, true);
    int result = world->request(world->ctx, kind, bytes, len, out, fds);
    budget_pause(&h->budget, false);
    if (is_recorded(kind))
        note(h, (struct recording_note){ .kind = NOTE_ANSWER, .what = (uint16_t)kind, .result = result,
                                         .question = bytes, .question_len = (uint32_t)len,
                                         .answer = out->data ? out->data + before : NULL,
                                         .answer_len = (uint32_t)(out->len - before) });
    return result;
}

void host_off(struct host *h, struct policy *policy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(policy->why, sizeof policy->why, format, args);
    va_end(args);
    policy->live = false;
    policy->off = h->unsettled = true;
    if (policy->shadow) { /* the version that counts goes on */
        h->comparing--;
        log_error("the shadow of %s is off: %s", policy->name, policy->why);
        return;
    }
    log_error("%s is off until its file changes: %s", policy->name, policy->why);
    if (h->options.world.off)
        h->options.world.off(h->options.world.ctx, policy->id, policy->why);
}

/* The first error of a script is shown, all are counted; too many within a minute switch it off. */
void host_count_error(struct host *h, struct policy *policy)
{
    int64_t now = h->clock_ns;
    if (!policy->count->errors++)
        log_error("%s: %s", policy->name, host_error(h));
    if (now - policy->minute_ns >= 60 * NS_PER_SECOND) {
        policy->minute_ns = now;
        policy->minute_errors = 0;
    }
    int most = h->options.errors_a_minute;
    if (most && ++policy->minute_errors > (uint64_t)most && policy->live)
        host_off(h, policy, "more than %d errors within a minute, the last: %.*s", most,
                 (int)strcspn(host_error(h), "\n"), host_error(h));
}

/* --- the scripts' time ---------------------------------------------------------------------------- */

/* It never goes back: an event may be older than the alarm that went off before it was read. */
static void set_clock(struct host *h, int64_t mono_ns, int64_t real_ns)
{
    if (mono_ns < h->clock_ns)
        return;
    h->clock_ns = mono_ns;
    h->clock_real_ns = real_ns;
}

static void call_timer(struct host *h, int id)
{
    struct timer *t = timers_at(&h->timers, id);
    struct policy *policy = t->policy;
    int function = t->function_ref;
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, function);
    if (t->repeats) {
        int64_t next = t->due_ns + t->after_ns; /* in step, but never to catch up */
        timers_start(&h->timers, id, next > h->clock_ns ? next : h->clock_ns + t->after_ns);
    } else {
        timers_stop(&h->timers, id);
        t->function_ref = TIMER_FREE; /* the call may start anew in its place */
        luaL_unref(h->L, LUA_REGISTRYINDEX, function);
    }
    if (!policy->live)
        lua_pop(h->L, 1);
    else if (!host_call(h, policy, 0, 0))
        host_count_error(h, policy);
}

/* One that is started meanwhile is due later, were it for no time at all: each call ends. */
static void call_due(struct host *h)
{
    uint64_t newest = h->timers.orders;
    for (int id; (id = timers_first(&h->timers)) >= 0; ) {
        const struct timer *t = timers_at(&h->timers, id);
        if (t->due_ns > h->clock_ns || t->order > newest)
            return;
        call_timer(h, id);
    }
}

/* An event came: what is due by its time is called first. */
static void go_on(struct host *h, int64_t mono_ns, int64_t real_ns)
{
    set_clock(h, mono_ns, real_ns);
    call_due(h);
    host_alarm(h);
}

/* --- events ------------------------------------------------------------------------------- */

static bool about_thread(const struct event *ev)
{
    enum event_kind kind = event_kind(ev);
    return kind != EVENT_PTRACE && kind != EVENT_COREDUMP && event_has(ev, F_TID) &&
           ev->cell[F_TID].num != event_int(ev, F_PID, 0);
}

static bool wanted(const struct handler *handler, const struct event *ev, bool thread, bool summed)
{
    const struct policy *policy = handler->policy;
    if (!policy->live || (thread && !policy->threads) || (summed && policy->storm))
        return false;
    return !handler->where || where_matches(handler->where, ev);
}

/* A predecessor died in this record: who had it before does not get it again. */
static bool had_it(const struct host *h, const struct event *ev, const struct policy *policy)
{
    return h->resume_seq && event_int(ev, F_SEQ, -1) == h->resume_seq &&
           policy->id < h->resume_after;
}

/* The table is built when the first handler wants it, and shared. `summed`: not for those who want
 * sums. */
static void deliver(struct host *h, const struct event *ev, bool summed)
{
    lua_State *L = h->L;
    int base = lua_gettop(L);
    bool thread = about_thread(ev);

    h->event = ev;
    budget_serve(&h->budget, event_int(ev, F_SEQ, 0));
    for (struct handler *handler = h->handlers[event_kind(ev)]; handler; handler = handler->next) {
        if (!wanted(handler, ev, thread, summed) || had_it(h, ev, handler->policy) ||
            (handler->sigma && !api_sigma_asks(handler->sigma, ev)))
            continue;
        if (lua_gettop(L) == base)
            api_event_push(L, ev);
        handler->policy->count->events++;
        handler->told++;
        budget_served(&h->budget, handler->policy->id);
        lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function_ref);
        lua_pushvalue(L, base + 1);
        lua_rawgeti(L, LUA_REGISTRYINDEX, handler->policy->state_ref);
        if (!host_call(h, handler->policy, 2, 0))
            host_count_error(h, handler->policy);
    }
    h->event = NULL;
    lua_settop(L, base);
}

static bool shown(const struct event *ev)
{
    return event_kind(ev) != EVENT_SNAPSHOT || event_has(ev, F_INFERRED);
}

static struct storm_text text_of(const struct host *h, tracker_ref ref, enum event_field field)
{
    struct storm_text text;
    text.bytes = tracker_text(h->tracker, ref, field, &text.len);
    return text;
}

/* Is it added up? The parent is asked for by the event's own process, which the table knows by now;
 * the parent's pid alone could be somebody else's already, so it comes second. */
static bool sum_up(struct host *h, const struct event *ev)
{
    if (about_thread(ev))
        return false;
    tracker_ref ref =
        tracker_find(h->tracker, event_int(ev, F_PID, -1), event_int(ev, F_STARTTIME, -1));
    tracker_ref above = tracker_parent(h->tracker, ref);
    if (!above)
        above = tracker_alive(h->tracker, event_int(ev, F_PPID, -1));
    struct storm_parent parent = {
        .pid = event_int(ev, F_PPID, tracker_int(h->tracker, above, F_PID, -1)),
        .starttime = tracker_int(h->tracker, above, F_STARTTIME, -1),
        .uid = tracker_int(h->tracker, above, F_UID, -1),
        .comm = text_of(h, above, F_COMM),
        .exe = text_of(h, above, F_EXE),
        .cgroup = text_of(h, above, F_CGROUP),
        .ref = above,
    };
    return storm_sums(h->storm, ev, &parent);
}

void host_event(struct host *h, const struct event *ev)
{
    int64_t mono_ns = event_int(ev, F_MONO, 0);
    if (mono_ns >= timers_due(&h->timers)) /* before the table knows of it */
        go_on(h, mono_ns, event_int(ev, F_TIME, h->clock_real_ns));
    else
        set_clock(h, mono_ns, event_int(ev, F_TIME, h->clock_real_ns));
    tracker_apply(h->tracker, ev);
    h->seq = (uint64_t)event_int(ev, F_SEQ, (int64_t)h->seq);
    h->time_ns = event_int(ev, F_TIME, h->time_ns);
    h->mono_ns = event_int(ev, F_MONO, h->mono_ns);
    bool summed = h->storm && storm_on(h->storm) && sum_up(h, ev);
    bool told = h->resume_seq && event_int(ev, F_SEQ, -1) == h->resume_seq && h->resume_after;
    if (h->options.print_all && !told && shown(ev) && !about_thread(ev))
        api_write_event(h, ev);
    if (h->unsettled)
        versions_settle(h);
    if (h->handlers[event_kind(ev)])
        deliver(h, ev, summed);
}

void host_missed(struct host *h, uint64_t records)
{
    struct event_box *box = calloc(1, sizeof *box);
    if (!box)
        return;
    note(h, (struct recording_note){ .kind = NOTE_MISSED,
                                .result = records < INT32_MAX ? (int32_t)records : INT32_MAX });
    event_begin(box, EVENT_LOST);
    event_set(box, F_LOST, (int64_t)records, WHY_COMPUTED);
    host_event(h, &box->ev);
    free(box);
}

void host_tell_reload(struct host *h)
{
    struct event_box *box = h->handlers[EVENT_RELOAD] ? calloc(1, sizeof *box) : NULL;
    if (!box)
        return;
    event_begin(box, EVENT_RELOAD);
    event_set(box, F_TIME, h->clock_real_ns, WHY_COMPUTED);
    event_set(box, F_MONO, h->clock_ns, WHY_COMPUTED);
    deliver(h, &box->ev, false);
    free(box);
}

/* --- storms ------------------------------------------------------------------------------- */

int host_want_storm(struct host *h, struct policy *policy)
{
    if (!h->storm_box)
        h->storm_box = malloc(sizeof *h->storm_box);
    if (!h->storm_box || (!h->storm && storm_new(&h->storm, h->tracker) < 0))
        return -ENOMEM;
    policy->storm = true;
    policy->needs |= UINT64_C(1) << F_COMM | UINT64_C(1) << F_EXE | UINT64_C(1) << F_CGROUP |
                     UINT64_C(1) << F_UID; /* sorts of parents, see storm.h */
    return 0;
}

/* The time is that of the event before it: the stream stays in order, however far behind it is. */
static void begin_storm_event(struct host *h, const char *phase)
{
    event_begin(h->storm_box, EVENT_STORM);
    event_set(h->storm_box, F_TIME, h->time_ns, WHY_COMPUTED);
    event_set(h->storm_box, F_MONO, h->mono_ns, WHY_COMPUTED);
    event_set_text(h->storm_box, F_PHASE, phase, strlen(phase), WHY_COMPUTED);
}

static void tell_phase(struct host *h, const char *phase)
{
    begin_storm_event(h, phase);
    deliver(h, &h->storm_box->ev, false);
}

/* The parent as it was at the fork; when it was not known, or had to make room, what the row has. */
static void describe_parent(struct host *h, const struct storm_row *row)
{
    struct event_box *box = h->storm_box;
    if (row->pid < 0 || tracker_copy_state(h->tracker, row->ref, box, WHY_ABSENT))
        return;
    event_set(box, F_PID, row->pid, WHY_KEPT);
    if (row->starttime >= 0)
        event_set(box, F_STARTTIME, row->starttime, WHY_KEPT);
    if (*row->comm)
        event_set_text(box, F_COMM, row->comm, strlen(row->comm), WHY_KEPT);
}

static void tell_row(void *ctx, const struct storm_row *row)
{
    struct host *h = ctx;
    struct event_box *box = h->storm_box;
    begin_storm_event(h, "sum");
    describe_parent(h, row);
    event_set(box, F_CHILDREN, (int64_t)row->children, WHY_COMPUTED);
    event_set(box, F_SUMMED, (int64_t)row->summed, WHY_COMPUTED);
    event_set(box, F_DISTINCT, (int64_t)row->distinct, WHY_COMPUTED);
    event_set(box, F_FROM, row->from_ns, WHY_COMPUTED);
    event_set(box, F_UNTIL, row->until_ns, WHY_COMPUTED);
    deliver(h, &box->ev, false);
}

static void take_step(struct host *h, enum storm_step step)
{
    if (step == STORM_BEGINS)
        tell_phase(h, "begin");
    if (step == STORM_REPORTS || step == STORM_ENDS)
        storm_report(h->storm, tell_row, h);
    if (step == STORM_ENDS)
        tell_phase(h, "end");
}

bool host_pressure(struct host *h, double backlog, int64_t now_ns)
{
    if (!h->storm)
        return false;
    enum storm_step step = storm_pressure(h->storm, backlog, now_ns);
    if (step != STORM_CALM && step != STORM_LASTS)
        note(h, (struct recording_note){ .kind = NOTE_STORM, .result = step });
    take_step(h, step);
    return storm_on(h->storm);
}

void host_storm(struct host *h, int step)
{
    if (!h->storm)
        return;
    storm_force(h->storm, (enum storm_step)step);
    take_step(h, (enum storm_step)step);
}

/* --- time --------------------------------------------------------------------------------- */

void host_clock(struct host *h, int64_t mono_ns, int64_t real_ns)
{
    h->alarm_ns = INT64_MIN; /* whatever it was, it has gone off or comes too early */
    set_clock(h, mono_ns, real_ns);
    note(h, (struct recording_note){ .kind = NOTE_TICK });
    call_due(h);
    if (h->sinks.due_ns && mono_ns >= h->sinks.due_ns)
        sinks_tick(h, mono_ns);
    host_alarm(h);
}

void host_pass(struct host *h, int64_t mono_ns, int64_t real_ns)
{
    for (int64_t due; (due = timers_due(&h->timers)) < mono_ns; )
        host_clock(h, due, real_ns - (mono_ns - due));
}

void host_writable(struct host *h, int id)
{
    sinks_writable(h, id);
}

void host_finish(struct host *h)
{
    h->sinks.finishing = true;
    if (h->storm)
        take_step(h, storm_finish(h->storm));
    while (h->at_exit) {
        struct handler *handler = h->at_exit;
        h->at_exit = handler->next;
        lua_rawgeti(h->L, LUA_REGISTRYINDEX, handler->function_ref);
        if (!host_call(h, handler->policy, 0, 0))
            host_count_error(h, handler->policy);
        free(handler);
    }
    host_flush(h);
    sinks_finish(h);
}

int host_flush(struct host *h)
{
    if (h->unsettled ||
        (h->options.memory_bytes && h->budget.memory > h->options.memory_bytes / 4 * 3))
        versions_settle(h);
    sinks_flush(h);
    return output_flush(&h->output);
}

void host_set_boot(struct host *h, uint64_t boot)
{
    h->options.boot = boot;
}

void host_fill(struct host *h, struct event_box *box)
{
    const struct event *known = &h->parent_box.ev;
    tracker_ref ref = tracker_alive(h->tracker, event_int(&box->ev, F_PID, -1));
    event_begin(&h->parent_box, EVENT_SNAPSHOT);
    if (!tracker_copy_state(h->tracker, ref, &h->parent_box, WHY_KEPT))
        return;
    bool exec = event_kind(&box->ev) == EVENT_EXEC;
    for (int field = EVENT_FIRST_STATE; field <= EVENT_LAST_STATE; field++)
        if (exec && (field == F_COMM || field == F_EXE || field == F_ARGS || field == F_DELETED))
            continue; /* of another program now */
        else if (box->ev.why[field] == WHY_ABSENT && event_has(known, field))
            event_copy_field(box, field, known, field, WHY_KEPT);
}

void host_know(struct host *h, const struct event *ev)
{
    tracker_apply(h->tracker, ev);
}

void host_tick(struct host *h, int64_t cpu_ns)
{
    budget_tick(&h->budget, cpu_ns);
}

bool host_over(const struct host *h)
{
    return h->budget.over;
}

/* Asked of the state itself: code that cannot be placed in memory switches it off, too. */
bool host_jit(const struct host *h)
{
    lua_State *L = h->L;
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "jit");
    bool on = false;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "status");
        on = lua_pcall(L, 0, 1, 0) == 0 && lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return on;
}

const char *host_witness(const struct host *h)
{
    return buf_str((struct buf *)&h->witness);
}

size_t host_memory(const struct host *h)
{
    return h->budget.memory;
}

/* --- what scripts want --------------------------------------------------------------------- */

uint32_t host_kinds(const struct host *h)
{
    uint32_t kinds = h->options.print_all ? ON_ALL : 0;
    for (const struct policy *policy = h->policies; policy; policy = policy->next)
        kinds |= policy->off ? 0 : policy->kinds;
    return kinds;
}

bool host_threads(const struct host *h)
{
    for (const struct policy *policy = h->policies; policy; policy = policy->next)
        if (policy->threads && !policy->off)
            return true;
    return false;
}

uint64_t host_needs(const struct host *h)
{
    uint64_t needs = h->options.print_all ? NEEDS_ALL : h->seen;
    for (const struct policy *policy = h->policies; policy; policy = policy->next)
        needs |= policy->needs;
    return needs;
}

void host_need(struct host *h, uint64_t fields)
{
    uint64_t before = host_needs(h);
    uint64_t *to = h->current ? &h->current->needs : &h->seen;
    *to |= fields;
    if ((fields & ~before) && h->options.world.need)
        h->options.world.need(h->options.world.ctx, before | fields);
}

int host_scripts(const struct host *h, struct host_script *to, int cap)
{
    int n = 0;
    for (const struct policy *p = h->policies; p; p = p->next, n++) {
        if (n >= cap)
            continue;
        to[n] = (struct host_script){ .id = p->id,
                                      .generation = p->generation,
                                      .events = p->count->events,
                                      .errors = p->count->errors,
                                      .alerts = p->count->alerts,
                                      .undecided = p->count->undecided,
                                      .calls = p->count->calls,
                                      .p50_ns = tally_percentile(&p->times, 0.5),
                                      .p99_ns = tally_percentile(&p->times, 0.99),
                                      .memory_bytes = p->memory_bytes,
                                      .off = p->off,
                                      .shadow = p->shadow,
                                      .needs = p->needs,
                                      .kinds = p->kinds,
                                      .threads = p->threads };
        memcpy(to[n].name, p->name, sizeof to[n].name);
    }
    return n;
}

/* --- life --------------------------------------------------------------------------------- */

void host_require(lua_State *L, const char *module)
{
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
}

/* Fill the state; called protected, with the host as light userdata. */
static int open_state(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, (void *)&host_key);
    lua_pushlightuserdata(L, h);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, add_traceback);
    h->traceback = luaL_ref(L, LUA_REGISTRYINDEX);

    enum profile profile = h->options.profile;
    sandbox_open_libraries(L, profile);
    library_open(L);
    where_open(L);
    api_event_open(L);
    lua_newtable(L);
    api_script_open(L);
    api_match_open(L);
    api_file_open(L);
    api_sigma_open(L);
    api_kin_open(L);
    api_census_open(L);
    api_sink_open(L);
    sandbox_open(L, profile);
    lua_setfield(L, LUA_REGISTRYINDEX, "moonwatch"); /* lua/moonwatch/init.lua takes it from here */
    host_require(L, "moonwatch");
    lua_pop(L, 1);
    host_require(L, "moonwatch.pairs");
    lua_setglobal(L, "pairs");
    if (profile == PROFILE_TRUSTED)
        api_require_open(L);
    host_require(L, "moonwatch.sandbox");
    lua_pop(L, 1);
    return 0;
}

static void waits(void *ctx, bool begins)
{
    struct host *h = ctx;
    budget_pause(&h->budget, begins);
}

int host_new(struct host **out, const struct host_options *options)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->options = *options;
    h->alarm_ns = INT64_MAX;
    h->tracker = tracker_new(options->table_bytes);
    budget_init(&h->budget, options->marks, options->soft_ns, options->memory_bytes);
    h->resume_seq = (int64_t)atomic_load(&h->budget.marks[MARK_SEQ]);
    h->resume_after = atomic_load(&h->budget.marks[MARK_SERVED]);
    h->L = h->budget.L = lua_newstate(budget_alloc, &h->budget);
    output_init(&h->output, options->fd, options->json);
    h->output.waits = waits;
    h->output.waits_ctx = h;
    if (options->output_memory)
        output_share(&h->output, options->output_memory, options->output_lock);
    if (!h->tracker || !h->L || lua_cpcall(h->L, open_state, h)) {
        if (h->L && lua_isstring(h->L, -1))
            log_error("%s", lua_tostring(h->L, -1));
        host_free(h);
        return -ENOMEM;
    }
    if (options->print_all)
        output_heading(&h->output);
    *out = h;
    return 0;
}

void host_free(struct host *h)
{
    if (!h)
        return;
    while (h->L && h->policies)
        version_free(h, h->policies);
    if (h->L)
        lua_close(h->L);
    sinks_free(h);
    tracker_free(h->tracker);
    storm_free(h->storm);
    free(h->storm_box);
    output_free(&h->output);
    buf_free(&h->answer);
    buf_free(&h->scratch);
    buf_free(&h->witness);
    buf_free(&h->details);
    buf_free(&h->error);
    timers_fini(&h->timers);
    free(h);
}
