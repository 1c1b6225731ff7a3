/* host.c - one lua_State, the scripts in it, and the events that they get. See host.h.
 *
 * Budgets belong into host_call, the profiles of the sandbox into open_state, a new generation of a
 * script into load: each has one place. */
#include "host/state.h"

#include "base/log.h"
#include "host/library.h"
#include "host/needs.h"

#include <errno.h>
#include <lualib.h>
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

static void set_error(struct host *h, const char *text)
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
    size_t len = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    struct buf *harmless = &host_of(L)->scratch;
    if (text) {
        buf_clear(harmless);
        buf_harmless(harmless, text, len);
        text = buf_str(harmless);
    } else {
        text = lua_pushfstring(L, "(the error is a %s)", luaL_typename(L, 1));
    }
    lua_pushstring(L, text); /* its place in `harmless` is needed */
    show_source(L, harmless);
    luaL_traceback(L, L, lua_tostring(L, -1), 1);
    return 1;
}

bool host_call(struct host *h, struct policy *policy, int args, int results)
{
    lua_State *L = h->L;
    int base = lua_gettop(L) - args;
    struct policy *outer = h->current;

    lua_rawgeti(L, LUA_REGISTRYINDEX, h->traceback);
    lua_insert(L, base);
    h->current = policy;
    int failed = lua_pcall(L, args, results, base);
    h->current = outer;
    lua_remove(L, base);
    if (!failed)
        return true;

    const char *text = lua_tostring(L, -1);
    set_error(h, text ? text : "not enough memory for the message");
    lua_pop(L, 1);
    return false;
}

int host_request(struct host *h, enum request_kind kind, const void *bytes, size_t len,
                 struct buf *out, int *fds)
{
    const struct host_world *world = &h->options.world;
    return world->request ? world->request(world->ctx, kind, bytes, len, out, fds) : -ENOTCONN;
}

/* The first error of a script is shown, all are counted. */
static void count_error(struct host *h, struct policy *policy)
{
    if (!policy->errors++)
        log_error("%s: %s", policy->name, host_error(h));
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
    if ((thread && !handler->policy->threads) || (summed && handler->policy->storm))
        return false;
    return !handler->where || where_matches(handler->where, ev);
}

/* The table is built when the first handler wants it, and shared. `summed`: not for those who want
 * sums. */
static void deliver(struct host *h, const struct event *ev, bool summed)
{
    lua_State *L = h->L;
    int base = lua_gettop(L);
    bool thread = about_thread(ev);

    h->event = ev;
    for (struct handler *handler = h->handlers[event_kind(ev)]; handler; handler = handler->next) {
        if (!wanted(handler, ev, thread, summed))
            continue;
        if (lua_gettop(L) == base)
            api_event_push(L, ev);
        handler->policy->events++;
        lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function_ref);
        lua_pushvalue(L, base + 1);
        if (!host_call(h, handler->policy, 1, 0))
            count_error(h, handler->policy);
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
    tracker_apply(h->tracker, ev);
    h->time_ns = event_int(ev, F_TIME, h->time_ns);
    h->mono_ns = event_int(ev, F_MONO, h->mono_ns);
    bool summed = h->storm && storm_on(h->storm) && sum_up(h, ev);
    if (h->options.print_all && shown(ev) && !about_thread(ev))
        api_write_event(h, ev);
    if (h->handlers[event_kind(ev)])
        deliver(h, ev, summed);
}

void host_missed(struct host *h, uint64_t records)
{
    struct event_box *box = calloc(1, sizeof *box);
    if (!box)
        return;
    event_begin(box, EVENT_LOST);
    event_set(box, F_LOST, (int64_t)records, WHY_COMPUTED);
    host_event(h, &box->ev);
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
    take_step(h, storm_pressure(h->storm, backlog, now_ns));
    return storm_on(h->storm);
}

/* --- time --------------------------------------------------------------------------------- */

void host_timer(struct host *h, int id)
{
    if (id < 0 || id >= h->timers_len || h->timers[id].function_ref == LUA_NOREF)
        return;
    struct timer timer =
        h->timers[id]; /* the call may move the array, or start anew in its place */
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, timer.function_ref);
    if (!timer.repeats) {
        luaL_unref(h->L, LUA_REGISTRYINDEX, timer.function_ref);
        h->timers[id].function_ref = LUA_NOREF;
    }
    if (!host_call(h, timer.policy, 0, 0))
        count_error(h, timer.policy);
}

void host_finish(struct host *h)
{
    if (h->storm)
        take_step(h, storm_finish(h->storm));
    while (h->at_exit) {
        struct handler *handler = h->at_exit;
        h->at_exit = handler->next;
        lua_rawgeti(h->L, LUA_REGISTRYINDEX, handler->function_ref);
        if (!host_call(h, handler->policy, 0, 0))
            count_error(h, handler->policy);
        free(handler);
    }
    host_flush(h);
}

int host_flush(struct host *h)
{
    return output_flush(&h->output);
}

/* --- loading ------------------------------------------------------------------------------ */

static void remove_handlers(struct host *h, struct handler **list, const struct policy *policy)
{
    while (*list) {
        struct handler *handler = *list;
        if (handler->policy != policy) {
            list = &handler->next;
            continue;
        }
        *list = handler->next;
        luaL_unref(h->L, LUA_REGISTRYINDEX, handler->function_ref);
        luaL_unref(h->L, LUA_REGISTRYINDEX, handler->where_ref);
        free(handler);
    }
}

/* Everything that a script registered goes with it. */
static void unload(struct host *h, struct policy *policy)
{
    for (int kind = 0; kind < EVENT_KINDS; kind++)
        remove_handlers(h, &h->handlers[kind], policy);
    remove_handlers(h, &h->at_exit, policy);
    for (int id = 0; id < h->timers_len; id++) {
        if (h->timers[id].function_ref == LUA_NOREF || h->timers[id].policy != policy)
            continue;
        h->options.world.timer_stop(h->options.world.ctx, id);
        luaL_unref(h->L, LUA_REGISTRYINDEX, h->timers[id].function_ref);
        h->timers[id].function_ref = LUA_NOREF;
    }
    luaL_unref(h->L, LUA_REGISTRYINDEX, policy->env);
    source_free(&policy->sources);
    api_option_free(policy);

    struct policy **at = &h->policies;
    while (*at != policy)
        at = &(*at)->next;
    *at = policy->next;
    free(policy);
}

static struct policy *new_policy(struct host *h, const char *chunk)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return NULL;
    source_stem(chunk, policy->name, sizeof policy->name);
    struct policy **end = &h->policies;
    while (*end)
        end = &(*end)->next;
    *end = policy;

    lua_State *L = h->L;
    lua_newtable(L); /* its environment: reads fall through to the globals, writes stay */
    lua_newtable(L);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    policy->env = luaL_ref(L, LUA_REGISTRYINDEX);
    return policy;
}

/* Run the chunk below its `args` arguments on the stack as the new policy.  [-(args + 1), +0, -] */
static int run_chunk(struct host *h, struct policy *policy, int args)
{
    if (host_call(h, policy, args, 0))
        return 0;
    unload(h, policy);
    return -EINVAL;
}

/* The compiler's message on top of the stack, and the line that it is about.  [-0, +0, -] */
static void set_syntax_error(struct host *h, const char *name, const char *text, size_t len)
{
    const char *message = lua_tostring(h->L, -1);
    buf_clear(&h->error);
    buf_harmless(&h->error, message, strlen(message));
    source_show_line(text, len, source_line_of(name, message), &h->error);
}

int host_load(struct host *h, const char *name, const char *text, size_t len)
{
    struct policy *policy = new_policy(h, name);
    if (!policy || source_add(&policy->sources, name, text, len) < 0) {
        set_error(h, "not enough memory");
        if (policy)
            unload(h, policy);
        return -ENOMEM;
    }
    if (luaL_loadbufferx(h->L, text, len, name, "t")) {
        set_syntax_error(h, name, text, len);
        lua_pop(h->L, 1);
        unload(h, policy);
        return -EINVAL;
    }
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, policy->env);
    lua_setfenv(h->L, -2);
    policy->needs = needs_of_text(text, len);
    h->loading = (struct host_chunk){ name, text, len };
    int result = run_chunk(h, policy, 0);
    h->loading = (struct host_chunk){ 0 };
    if (result == 0)
        api_option_check(h, policy);
    return result;
}

/* [-0, +1, e] */
static int push_oneliner(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonwatch.oneliner");
    lua_call(L, 1, 1);
    return 1;
}

int host_load_line(struct host *h, const char *line)
{
    char name[24] = "=-e";
    if (h->lines++)
        snprintf(name, sizeof name, "=-e #%d", h->lines);
    struct policy *policy = new_policy(h, name);
    if (!policy) {
        set_error(h, "not enough memory");
        return -ENOMEM;
    }
    lua_pushcfunction(h->L, push_oneliner);
    if (!host_call(h, policy, 0, 1)) {
        unload(h, policy);
        return -EINVAL;
    }
    policy->needs = needs_of_text(line, strlen(line));
    lua_pushstring(h->L, policy->name);
    lua_pushstring(h->L, line);
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, policy->env);
    int result = run_chunk(h, policy, 3);
    char *below = result < 0 ? memmem(h->error.data, h->error.len, "\nstack traceback", 16) : NULL;
    if (below) /* a traceback through the library tells the author of a line nothing */
        h->error.len = (size_t)(below - h->error.data);
    return result;
}

uint32_t host_kinds(const struct host *h)
{
    return h->options.print_all ? ON_ALL : h->kinds;
}

bool host_threads(const struct host *h)
{
    for (const struct policy *policy = h->policies; policy; policy = policy->next)
        if (policy->threads)
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
        to[n] = (struct host_script){ .events = p->events,
                                      .errors = p->errors,
                                      .alerts = p->alerts,
                                      .undecided = p->undecided,
                                      .needs = p->needs,
                                      .kinds = p->kinds,
                                      .threads = p->threads };
        memcpy(to[n].name, p->name, sizeof to[n].name);
    }
    return n;
}

/* --- life --------------------------------------------------------------------------------- */

/* Fill the state; called protected, with the host as light userdata. */
static int open_state(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, (void *)&host_key);
    lua_pushlightuserdata(L, h);
    lua_rawset(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, add_traceback);
    h->traceback = luaL_ref(L, LUA_REGISTRYINDEX);

    luaL_openlibs(L);
    library_open(L);
    where_open(L);
    api_event_open(L);
    lua_newtable(L);
    api_script_open(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "moonwatch"); /* lua/moonwatch/init.lua takes it from here */
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonwatch");
    lua_call(L, 1, 0);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonwatch.pairs");
    lua_call(L, 1, 1);
    lua_setglobal(L, "pairs");
    api_require_open(L);
    return 0;
}

int host_new(struct host **out, const struct host_options *options)
{
    struct host *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->options = *options;
    h->tracker = tracker_new(options->table_bytes);
    h->L = luaL_newstate();
    output_init(&h->output, options->fd, options->json);
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
        unload(h, h->policies);
    if (h->L)
        lua_close(h->L);
    tracker_free(h->tracker);
    storm_free(h->storm);
    free(h->storm_box);
    output_free(&h->output);
    buf_free(&h->answer);
    buf_free(&h->scratch);
    buf_free(&h->error);
    free(h->timers);
    free(h);
}
