/* script.c - the functions of `mw` that reach into the host: subscribe, time, write, ask.
 *
 * The Lua half is lua/moonwatch/init.lua, which wraps what begins with an underscore. */
#include "host/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/needs.h"

#include <stdlib.h>
#include <string.h>

static struct policy *current(lua_State *L, const char *what)
{
    struct host *h = host_of(L);
    if (!h->current)
        luaL_error(L, "mw.%s: no script is running", what);
    return h->current;
}

/* --- subscribing -------------------------------------------------------------------------- */

/* Add the function on top of the stack for this kind; pops it.  [-1, +0, m] */
static void add_handler(lua_State *L, struct handler **list, const struct where *where,
                        struct api_sigma *sigma, int where_ref)
{
    struct handler *handler = calloc(1, sizeof *handler);
    if (!handler)
        luaL_error(L, "not enough memory");
    *handler = (struct handler){ .policy = host_of(L)->current,
                                 .where = where,
                                 .sigma = sigma,
                                 .where_ref = where_ref,
                                 .function_ref = luaL_ref(L, LUA_REGISTRYINDEX) };
    while (*list && (*list)->policy->id <= handler->policy->id)
        list = &(*list)->next;
    handler->next = *list;
    *list = handler;
}

/* Subscribe what is on top of the stack (a function, or { where, handler }) to `kinds`.
 * [-0, +0, e] */
static void subscribe(lua_State *L, uint32_t kinds, const char *key)
{
    struct host *h = host_of(L);
    int value = lua_gettop(L);
    const struct where *where = NULL;
    struct api_sigma *sigma = NULL;

    if (lua_istable(L, value)) {
        lua_getfield(L, value, "where");
        where = where_at(L, -1);
        sigma = api_sigma_at(L, -1);
        lua_getfield(L, value, "handler");
        if (!where && !sigma && !lua_isnil(L, -2))
            luaL_error(L, "on.%s: `where` must come from mw.where { ... }", key);
    } else {
        lua_pushnil(L);
        lua_pushvalue(L, value);
    }
    if (!lua_isfunction(L, -1))
        luaL_error(L,
                   "on.%s must be a function, mw.where { ... } (function), or a list of these; "
                   "it is a %s",
                   key, luaL_typename(L, value));

    for (int kind = 1; kind < EVENT_KINDS; kind++) {
        if (!(kinds & (UINT32_C(1) << kind)))
            continue;
        lua_pushvalue(L, -2);
        int where_ref = where || sigma ? luaL_ref(L, LUA_REGISTRYINDEX) : LUA_NOREF;
        if (!where && !sigma)
            lua_pop(L, 1);
        lua_pushvalue(L, -1);
        add_handler(L, &h->handlers[kind], where, sigma, where_ref);
    }
    if ((kinds & ON(STORM)) && host_want_storm(h, h->current) < 0)
        luaL_error(L, "not enough memory");
    h->current->kinds |= kinds;
    if (where)
        host_need(h, where_needs(where));
    lua_settop(L, value);
}

/* `any` leaves out storms: a script that does not name them is to be told everything. */
static uint32_t kinds_of_key(lua_State *L)
{
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (!strcmp(key, "any"))
        return ON_ALL & ~(ON(NONE) | ON(STORM));
    enum event_kind kind = event_kind_named(key);
    if (kind == EVENT_NONE)
        luaL_error(L,
                   "on.%s: no event is named so; there are fork exec exit uid gid sid ptrace comm "
                   "coredump snapshot lost reload storm, and any",
                   key);
    return UINT32_C(1) << kind;
}

static bool is_list(lua_State *L)
{
    return lua_istable(L, -1) && lua_objlen(L, -1) > 0;
}

/* _subscribe(name, on, threads, script) */
static int script_subscribe(lua_State *L)
{
    struct policy *policy = current(L, "script");
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);

    for (size_t i = 0; name[i]; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return luaL_error(L, "mw.script: a name has no control characters");
    strncpy(policy->name, name, sizeof policy->name - 1);
    policy->name[sizeof policy->name - 1] = '\0';
    policy->threads = lua_toboolean(L, 3);

    lua_settop(L, 4);
    luaL_unref(L, LUA_REGISTRYINDEX, policy->script_ref);
    policy->script_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        uint32_t kinds = kinds_of_key(L);
        const char *key = lua_tostring(L, -2);
        if (!is_list(L)) {
            subscribe(L, kinds, key);
            continue;
        }
        for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
            lua_rawgeti(L, -1, i);
            subscribe(L, kinds, key);
            lua_pop(L, 1);
        }
    }
    return 0;
}

/* Refuse this name of a field, with its line where the text has it.  [-0, +0, e] */
static void refuse_need(lua_State *L, const char *name)
{
    const struct host_chunk *chunk = &host_of(L)->loading;
    int line = chunk->text ? needs_line(chunk->text, chunk->len, name) : 0;
    if (line)
        lua_pushfstring(L, "%s:%d: ", chunk->name + 1, line);
    else
        lua_pushliteral(L, "");
    lua_pushfstring(L, "mw.script: needs: no field is named '%s'; `moonwatch fields` lists them",
                    name);
    lua_concat(L, 2);
    lua_error(L);
}

/* [-0, +0, e] */
static void declare_need(lua_State *L, int index)
{
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "mw.script: `needs` holds a %s, but fields are strings",
                   luaL_typename(L, index));
    const char *name = lua_tolstring(L, index, &len);
    uint64_t fields = !strcmp(name, "all") ? NEEDS_ALL : needs_of_name(name, len);
    if (!fields)
        refuse_need(L, name);
    host_need(host_of(L), fields);
}

/* _needs("all", or a list of fields) */
static int script_needs(lua_State *L)
{
    current(L, "script");
    if (!lua_istable(L, 1)) {
        declare_need(L, 1);
        return 0;
    }
    for (int i = 1, n = (int)lua_objlen(L, 1); i <= n; i++) {
        lua_rawgeti(L, 1, i);
        declare_need(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    return 0;
}

/* _need_all(): a whole event is looked at */
static int script_need_all(lua_State *L)
{
    host_need(host_of(L), NEEDS_ALL);
    return 0;
}

/* mw.at_exit(function) */
static int script_at_exit(lua_State *L)
{
    current(L, "at_exit");
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    add_handler(L, &host_of(L)->at_exit, NULL, NULL, LUA_NOREF);
    return 0;
}

/* --- time --------------------------------------------------------------------------------- */

static int start_timer(lua_State *L, const char *what, bool repeats)
{
    struct host *h = host_of(L);
    struct policy *policy = current(L, what);
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    luaL_argcheck(L, seconds >= (repeats ? 0.001 : 0) && seconds < 1e9, 1,
                  "seconds, at least 0.001 to repeat");
    lua_settop(L, 2);
    int id = timers_place(&h->timers);
    if (id < 0)
        return luaL_error(L, "not enough memory");
    h->timers.all[id] = (struct timer){ .policy = policy,
                                        .repeats = repeats,
                                        .after_ns = (int64_t)(seconds * 1e9),
                                        .at = -1,
                                        .function_ref = luaL_ref(L, LUA_REGISTRYINDEX) };
    if (policy->live) /* else when it has taken over */
        host_timer_start(h, id);
    lua_pushinteger(L, id);
    return 1;
}

/* mw.every(seconds, function) -> timer */
static int script_every(lua_State *L)
{
    return start_timer(L, "every", true);
}

/* mw.after(seconds, function) -> timer */
static int script_after(lua_State *L)
{
    return start_timer(L, "after", false);
}

/* mw.cancel(timer) */
static int script_cancel(lua_State *L)
{
    struct host *h = host_of(L);
    lua_Integer id = luaL_checkinteger(L, 1);
    struct timer *timer = timers_at(&h->timers, id);
    if (!timer || timer->policy != h->current)
        return 0;
    timers_stop(&h->timers, (int)id);
    luaL_unref(L, LUA_REGISTRYINDEX, timer->function_ref);
    timer->function_ref = TIMER_FREE;
    host_alarm(h);
    return 0;
}

static int64_t now_ns(const struct host *h)
{
    return h->event ? event_int(h->event, F_TIME, h->clock_real_ns) : h->clock_real_ns;
}

/* mw.now() -> seconds since the epoch: of the event that is handled, else when the call began */
static int script_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)now_ns(host_of(L)) / 1e9);
    return 1;
}

/* _clock() -> seconds of a clock that goes on during a call, for measuring what asking takes */
static int script_clock(lua_State *L)
{
    struct host *h = host_of(L);
    int64_t now = h->clock_ns;
    if (h->options.world.clock)
        now = h->options.world.clock(h->options.world.ctx);
    host_note_answer(h, REQUEST_CLOCK, &now, sizeof now);
    lua_pushnumber(L, (lua_Number)now / 1e9);
    return 1;
}

/* --- writing ------------------------------------------------------------------------------ */

static struct output_context context_of(struct host *h, const struct event *ev)
{
    struct output_context context = { .boot = h->options.boot };
    if (!ev || !event_has(ev, F_PID) || !event_has(ev, F_STARTTIME))
        return context;
    tracker_ref ref = tracker_find(h->tracker, ev->cell[F_PID].num, ev->cell[F_STARTTIME].num);
    tracker_ref parent = tracker_parent(h->tracker, ref);
    event_begin(&h->parent_box, EVENT_SNAPSHOT);
    if (tracker_copy_state(h->tracker, parent, &h->parent_box, WHY_ABSENT))
        context.parent = &h->parent_box.ev;
    context.depth = tracker_depth(h->tracker, ref);
    return context;
}

void api_write_event(struct host *h, const struct event *ev)
{
    struct output_context context = context_of(h, ev);
    output_event(&h->output, ev, &context);
}

/* Is the key on top of the stack one that events have by themselves?  [-0, +0, -] */
static bool own_key(lua_State *L)
{
    const char *key = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (!*key || !strcmp(key, "was") || !strcmp(key, "parent") || event_field_named(key) >= 0)
        return true;
    for (int d = 0; d < EVENT_DERIVED; d++)
        if (!strcmp(key, event_derived[d].name))
            return true;
    return false;
}

/* What scripts added to the event at `index`, as a JSON object in h->scratch; nothing when they
 * added nothing.  [-0, +0, m] */
static void add_labels(lua_State *L, int index, struct output_context *context)
{
    struct buf *out = &host_of(L)->scratch;
    lua_newtable(L);
    bool any = false;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (!own_key(L)) {
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
            any = true;
        } else {
            lua_pop(L, 1);
        }
    }
    if (any) {
        buf_clear(out);
        api_json(L, -1, out);
        context->labels = out->data;
        context->labels_len = out->len;
    }
    lua_pop(L, 1);
}

/* A shadow tells nobody anything. */
static bool in_shadow(const struct host *h)
{
    return h->current && h->current->shadow;
}

static void emit_event(lua_State *L, bool to_sink)
{
    struct host *h = host_of(L);
    if (api_event_lacks(&h->box.ev))
        host_need(h, NEEDS_ALL);
    struct output_context context = context_of(h, &h->box.ev);
    add_labels(L, 1, &context);
    if (to_sink)
        api_sink_event(L, 2, &h->box.ev, &context, NULL);
    else
        output_event(&h->output, &h->box.ev, &context);
}

void api_emit_to(lua_State *L)
{
    struct host *h = host_of(L);
    bool to_sink = !lua_isnoneornil(L, 2);
    current(L, "emit");
    if (in_shadow(h))
        return;
    if (api_event_record(L, 1, &h->box)) {
        emit_event(L, to_sink);
        return;
    }
    size_t len;
    bool is_json = lua_type(L, 1) != LUA_TSTRING;
    if (is_json) {
        buf_clear(&h->scratch);
        api_json(L, 1, &h->scratch);
    }
    const char *text = is_json ? h->scratch.data : lua_tolstring(L, 1, &len);
    len = is_json ? h->scratch.len : len;
    if (to_sink)
        api_sink_text(L, 2, text, len, is_json);
    else if (is_json)
        output_raw(&h->output, text, len);
    else
        output_text(&h->output, text, len);
}

/* mw.emit(event or any table or string [, sink or list of sinks]) */
static int script_emit(lua_State *L)
{
    luaL_checkany(L, 1);
    api_emit_to(L);
    return 0;
}

#define TAGS_MAX 32

/* The strings of the list at `index`; borrowed from it.  [-0, +0, -] */
static int collect_tags(lua_State *L, int index, const char **tags)
{
    int n = 0;
    if (!lua_istable(L, index))
        return 0;
    for (int i = 1; n < TAGS_MAX && i <= (int)lua_objlen(L, index); i++) {
        lua_rawgeti(L, index, i);
        if (lua_type(L, -1) == LUA_TSTRING)
            tags[n++] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return n;
}

/* Push the tags that mw.script{} was given, nil when there are none.  [-0, +1, -] */
static void push_script_tags(lua_State *L, const struct policy *policy)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->script_ref);
    if (!lua_istable(L, -1))
        return;
    lua_pushliteral(L, "tags");
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* A string of the table on top of the stack, "" when it has none; borrowed from it.  [-0, +0, -] */
static const char *text_of_key(lua_State *L, const char *key)
{
    lua_pushstring(L, key);
    lua_rawget(L, -2);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    lua_pop(L, 1);
    return text;
}

/* { id, title, author, details } at the index; details are written to `details`.  [-0, +0, m] */
static void read_rule(lua_State *L, int index, struct json_rule *rule, struct buf *details)
{
    if (!lua_istable(L, index))
        return;
    lua_pushvalue(L, index);
    rule->id = text_of_key(L, "id");
    rule->title = text_of_key(L, "title");
    rule->author = text_of_key(L, "author");
    lua_pushliteral(L, "details");
    lua_rawget(L, -2);
    if (lua_istable(L, -1)) {
        buf_clear(details);
        api_json(L, -1, details);
        rule->details = details->data;
        rule->details_len = details->failed ? 0 : details->len;
    }
    lua_pop(L, 2);
}

/* _alert(severity, text, event, tags, key, held, sink or list of sinks, rule, seconds to keep): without tags
 * of its own it has those of the script */
static int script_alert(lua_State *L)
{
    struct host *h = host_of(L);
    struct policy *policy = current(L, "alert");
    const char *tags[TAGS_MAX];
    struct json_alert alert = { .severity = luaL_checkstring(L, 1), .script = policy->name };
    alert.text = luaL_optlstring(L, 2, NULL, &alert.text_len);
    double dump_s = luaL_optnumber(L, 9, 0);
    lua_settop(L, 8);
    read_rule(L, 8, &alert.rule, &h->details);
    if (lua_isnil(L, 4)) {
        push_script_tags(L, policy);
        lua_replace(L, 4);
    }
    alert.tags_len = collect_tags(L, 4, tags);
    alert.tags = tags;
    alert.key = luaL_optlstring(L, 5, NULL, &alert.key_len);
    alert.held = luaL_optinteger(L, 6, 0);

    const struct event *ev = api_event_record(L, 3, &h->box) ? &h->box.ev : NULL;
    struct output_context context = context_of(h, ev);
    if (ev && api_event_lacks(ev))
        host_need(h, NEEDS_OF_ALERT);
    if (ev)
        add_labels(L, 3, &context);
    if (!policy->shadow && lua_isnoneornil(L, 7))
        output_alert(&h->output, &alert, ev, &context);
    else if (!policy->shadow)
        api_sink_event(L, 7, ev, &context, &alert);
    policy->count->alerts++;
    struct host_alert told = { .alert = &alert,
                               .id = policy->id,
                               .seq = ev ? (uint64_t)event_int(ev, F_SEQ, 0) : 0,
                               .time_ns = now_ns(h),
                               .pid = ev ? event_int(ev, F_PID, -1) : -1,
                               .starttime = ev ? event_int(ev, F_STARTTIME, -1) : -1,
                               .dump_s = dump_s };
    if (!policy->shadow)
        host_note_alert(h, &told);
    return 0;
}

/* _verdict(severity, text, event, key): an alert, whether or not it is told */
static int script_verdict(lua_State *L)
{
    struct host *h = host_of(L);
    if (!h->comparing || !h->current)
        return 0;
    size_t text_len = 0, key_len = 0;
    const char *text = luaL_optlstring(L, 2, "", &text_len);
    const char *key = luaL_optlstring(L, 4, "", &key_len);
    struct buf *line = &h->scratch;
    const struct event *ev = api_event_record(L, 3, &h->box) ? &h->box.ev : NULL;
    buf_clear(line);
    buf_puts(line, luaL_optstring(L, 1, ""));
    if (ev) {
        size_t comm_len = 0;
        const char *comm = event_has(ev, F_COMM) ? event_text(ev, F_COMM, &comm_len) : "";
        buf_printf(line, " event %lld", (long long)event_int(ev, F_SEQ, 0));
        buf_printf(line, " pid %lld ", (long long)event_int(ev, F_PID, 0));
        buf_add(line, comm, comm_len);
    }
    buf_puts(line, text_len ? ": " : "");
    buf_add(line, text, text_len);
    buf_puts(line, key_len ? " key " : "");
    buf_add(line, key, key_len);
    version_verdict(h, h->current, line->data, line->len);
    return 0;
}

/* tostring() of each argument, with this between, in h->scratch. An argument may be a process's: it
 * cannot end the line, nor look like two.  [-0, +0, e] */
static struct buf *join_arguments(lua_State *L, char between)
{
    struct buf *line = &host_of(L)->scratch;
    int n = lua_gettop(L);
    buf_clear(line);
    for (int i = 1; i <= n; i++) {
        size_t len;
        lua_getglobal(L, "tostring");
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        const char *text = lua_tolstring(L, -1, &len);
        if (!text)
            luaL_error(L, "'tostring' must return a string");
        if (i > 1)
            buf_putc(line, between);
        buf_harmless(line, text, len);
        lua_pop(L, 1);
    }
    return line;
}

/* print(...): one line of the output */
static int script_print(lua_State *L)
{
    struct buf *line = join_arguments(L, '\t');
    if (in_shadow(host_of(L)))
        return 0;
    output_text(&host_of(L)->output, buf_str(line), line->len);
    return 0;
}

/* mw.log(...): a line to the operator */
static int script_log(lua_State *L)
{
    struct host *h = host_of(L);
    struct buf *line = join_arguments(L, ' ');
    if (in_shadow(h))
        return 0;
    log_warn("%s: %s", h->current ? h->current->name : "script", buf_str(line));
    return 0;
}

/* --- asking -------------------------------------------------------------------------------- */

/* mw.proc(pid) -> the living process, or nil */
static int script_proc(lua_State *L)
{
    return api_process_push(L, tracker_alive(host_of(L)->tracker, luaL_checkinteger(L, 1)));
}

struct gathering {
    lua_State *L;
    int n;
};

static void gather(void *ctx, tracker_ref ref)
{
    struct gathering *g = ctx;
    lua_pushnumber(g->L, (lua_Number)tracker_int(host_of(g->L)->tracker, ref, F_PID, 0));
    lua_rawseti(g->L, -2, ++g->n);
}

/* mw.pids() -> the pids of all living processes */
static int script_pids(lua_State *L)
{
    struct gathering g = { .L = L };
    lua_newtable(L);
    tracker_each(host_of(L)->tracker, gather, &g);
    return 1;
}

static void set_number(lua_State *L, const char *key, uint64_t value)
{
    lua_pushnumber(L, (lua_Number)value);
    lua_setfield(L, -2, key);
}

static void set_ratio(lua_State *L, const char *key, uint64_t part, uint64_t whole)
{
    lua_pushnumber(L, whole ? (lua_Number)part / (lua_Number)whole : 1);
    lua_setfield(L, -2, key);
}

/* mw.stats() -> a fresh table: the figures of the watch as of now */
static int script_stats(lua_State *L)
{
    struct host *h = host_of(L);
    struct figures f = { 0 };
    if (h->options.world.figures)
        h->options.world.figures(h->options.world.ctx, &f);
    host_note_answer(h, REQUEST_FIGURES, &f, sizeof f);

    lua_createtable(L, 0, 16);
    set_number(L, "events", f.events);
    set_number(L, "lost", f.lost);
    set_number(L, "inferred", f.inferred);
    set_number(L, "forged", f.forged);
    set_number(L, "missed", f.missed);
    set_number(L, "summed", h->storm ? storm_summed(h->storm) : 0);
    set_number(L, "execs", f.execs);
    set_number(L, "processes", f.processes);
    set_number(L, "evicted", f.evicted);
    set_number(L, "buffer_bytes", f.buffer_bytes);
    set_ratio(L, "buffer_fill", f.fill_permille, 1000);
    set_ratio(L, "backlog", f.backlog_permille, 1000);
    lua_pushboolean(L, h->storm && storm_on(h->storm));
    lua_setfield(L, -2, "storm");
    set_number(L, "unheard", f.unheard);
    lua_createtable(L, 0, 3);
    if (f.exe_asked)
        set_ratio(L, "exe", f.exe, f.exe_asked);
    if (f.args_asked)
        set_ratio(L, "args", f.args, f.args_asked);
    set_ratio(L, "comm", f.comm, f.execs);
    lua_setfield(L, -2, "named");
    return 1;
}

/* mw.json(value) -> one line of JSON */
static int script_json(lua_State *L)
{
    struct buf *out = &host_of(L)->scratch;
    luaL_checkany(L, 1);
    buf_clear(out);
    api_json(L, 1, out);
    lua_pushlstring(L, out->data, out->len);
    return 1;
}

/* mw.stop(): end the watch */
static int script_stop(lua_State *L)
{
    struct host *h = host_of(L);
    if (h->options.world.stop)
        h->options.world.stop(h->options.world.ctx);
    return 0;
}

/* _undecided(): the event lacked what the expression looked at */
static int script_undecided(lua_State *L)
{
    current(L, "undecided")->count->undecided++;
    return 0;
}

/* _owner() -> a number of the script that runs, for what outlives its versions; a shadow has another */
static int script_owner(lua_State *L)
{
    const struct policy *policy = host_of(L)->current;
    lua_pushnumber(L, policy ? (lua_Number)policy->id * 2 + policy->shadow : -1);
    return 1;
}

/* --- opening ------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    { "_subscribe", script_subscribe },
    { "_needs", script_needs },
    { "_need_all", script_need_all },
    { "at_exit", script_at_exit },
    { "every", script_every },
    { "after", script_after },
    { "cancel", script_cancel },
    { "now", script_now },
    { "_clock", script_clock },
    { "emit", script_emit },
    { "_alert", script_alert },
    { "_verdict", script_verdict },
    { "log", script_log },
    { "print", script_print },
    { "proc", script_proc },
    { "pids", script_pids },
    { "stats", script_stats },
    { "json", script_json },
    { "option", api_option },
    { "stop", script_stop },
    { "where", where_new },
    { "_undecided", script_undecided },
    { "_owner", script_owner },
    { NULL, NULL },
};

void api_script_open(lua_State *L)
{
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    lua_getfield(L, -1, "print");
    lua_setglobal(L, "print");

    lua_newtable(L); /* mw._fields: name -> true, for the one-liners */
    for (int f = 0; f < EVENT_FIELDS; f++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, event_fields[f].name);
    }
    for (int d = 0; d < EVENT_DERIVED; d++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, event_derived[d].name);
    }
    lua_setfield(L, -2, "_fields");
    api_event_push_methods(L);
    lua_setfield(L, -2, "_methods");
    api_event_push_aliases(L);
    lua_setfield(L, -2, "_aliases");
    api_persist_open(L);
    api_kill_open(L);
}
