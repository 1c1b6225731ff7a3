/* versions.c - how versions of scripts come, take over, are compared, and go. See state.h.
 *
 * The next version is loaded beside the one that runs and gets nothing until it is whole. Then it
 * is given the other's state, and between two events takes its place: handlers are found by kind
 * and in the order of ids, so neighbours see no change. A shadow is a version that stays beside:
 * what it would tell is noted, as is what the other tells meanwhile, to be compared. */
#include "host/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/needs.h"
#include "host/sandbox.h"
#include "host/weigh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERDICTS_MOST (256u << 10) /* bytes of what a version told while it is compared */
#define WEIGH_MOST    2000000      /* things that are looked at */

/* --- going ---------------------------------------------------------------------------------- */

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

static void remove_timers(struct host *h, const struct policy *policy)
{
    for (int id = 0; id < h->timers.len; id++) {
        struct timer *timer = timers_at(&h->timers, id);
        if (!timer || timer->policy != policy)
            continue;
        timers_stop(&h->timers, id);
        luaL_unref(h->L, LUA_REGISTRYINDEX, timer->function_ref);
        timer->function_ref = TIMER_FREE;
    }
    host_alarm(h);
}

/* All that it registered goes; what it was and did stays to be told. */
static void strip(struct host *h, struct policy *policy)
{
    for (int kind = 0; kind < EVENT_KINDS; kind++)
        remove_handlers(h, &h->handlers[kind], policy);
    remove_handlers(h, &h->at_exit, policy);
    remove_timers(h, policy);
    sinks_release(h, policy);
    api_sigma_forget(h, policy);
    luaL_unref(h->L, LUA_REGISTRYINDEX, policy->env);
    luaL_unref(h->L, LUA_REGISTRYINDEX, policy->script_ref);
    luaL_unref(h->L, LUA_REGISTRYINDEX, policy->state_ref);
    policy->env = policy->script_ref = policy->state_ref = LUA_NOREF;
}

void version_free(struct host *h, struct policy *policy)
{
    strip(h, policy);
    h->comparing -= policy->shadow && policy->live;
    struct policy **at = &h->policies;
    while (*at != policy)
        at = &(*at)->next;
    *at = policy->next;
    buf_free(&policy->verdicts);
    source_free(&policy->sources);
    api_option_free(policy);
    free(policy);
}

/* --- coming --------------------------------------------------------------------------------- */

/* The place for counts of this script, of a predecessor's maybe; NULL: none is left. */
static struct host_count *shared_count(const struct host *h, uint32_t id)
{
    struct host_counts *counts = h->options.counts;
    for (int i = 0; counts && i < HOST_COUNTS; i++) {
        if (!counts->of[i].taken)
            counts->of[i].id = id;
        counts->of[i].taken = 1;
        if (counts->of[i].id == id)
            return &counts->of[i].count;
    }
    return NULL;
}

/* A version that may still be refused counts for itself, and so does a shadow. */
static void count_for_all(const struct host *h, struct policy *policy)
{
    struct host_count *shared = shared_count(h, policy->id);
    if (shared)
        policy->count = shared;
}

struct policy *version_new(struct host *h, uint32_t id, const char *chunk)
{
    struct policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return NULL;
    *policy = (struct policy){
        .id = id, .env = LUA_NOREF, .script_ref = LUA_NOREF, .state_ref = LUA_NOREF
    };
    policy->count = &policy->own;
    source_stem(chunk, policy->name, sizeof policy->name);
    struct policy **at = &h->policies;
    while (*at && (*at)->id <= id)
        at = &(*at)->next;
    policy->next = *at;
    *at = policy;
    if (h->next_id <= id)
        h->next_id = id + 1;

    policy->env = sandbox_env(h, chunk);
    if (policy->env == LUA_NOREF) {
        version_free(h, policy);
        return NULL;
    }
    return policy;
}

/* The version that counts, or one that is off; not `beside`. */
static struct policy *version_before(const struct host *h, const struct policy *beside)
{
    for (struct policy *p = h->policies; p; p = p->next)
        if (p != beside && p->id == beside->id && !p->shadow)
            return p;
    return NULL;
}

/* Push a field of what mw.script{} was given, nil when it was not called.  [-0, +1, -] */
static void push_part(lua_State *L, const struct policy *policy, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->script_ref);
    if (!lua_istable(L, -1))
        return;
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* [-1, +0, m] */
static void set_state(lua_State *L, struct policy *policy)
{
    luaL_unref(L, LUA_REGISTRYINDEX, policy->state_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->script_ref);
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "state");
        lua_pushvalue(L, -3);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    policy->state_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Its own state; or what its `reload` makes of the one before. False: it threw. */
static bool take_state(struct host *h, struct policy *policy, const struct policy *before)
{
    lua_State *L = h->L;
    push_part(L, policy, "state");
    set_state(L, policy);
    if (!before || before->script_ref == LUA_NOREF)
        return true;
    push_part(L, policy, "reload");
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return true;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, before->state_ref);
    if (!host_call(h, policy, 1, 1))
        return false;
    set_state(L, policy);
    return true;
}

static void start_timers(struct host *h, const struct policy *policy)
{
    for (int id = 0; id < h->timers.len; id++) {
        const struct timer *timer = timers_at(&h->timers, id);
        if (timer && timer->policy == policy)
            host_timer_start(h, id);
    }
}

static bool registered(const struct host *h, const struct policy *policy)
{
    if (policy->script_ref != LUA_NOREF)
        return true;
    for (int id = 0; id < h->timers.len; id++)
        if (timers_at(&h->timers, id) && timers_at(&h->timers, id)->policy == policy)
            return true;
    for (const struct handler *handler = h->at_exit; handler; handler = handler->next)
        if (handler->policy == policy)
            return true;
    return false;
}

static void set_idle_error(struct host *h)
{
    const char *name = h->loading.name ? h->loading.name + 1 : "-e";
    buf_clear(&h->error);
    buf_harmless(&h->error, name, strlen(name));
    buf_puts(&h->error, ": it calls no mw.script { ... } and sets no timer: it would do nothing");
}

int version_begin(struct host *h, struct policy *policy)
{
    struct policy *before = policy->shadow ? NULL : version_before(h, policy);
    if (!registered(h, policy)) { /* maybe a file that is half written */
        set_idle_error(h);
        version_free(h, policy);
        return -EINVAL;
    }
    if (!take_state(h, policy, before)) {
        version_free(h, policy);
        return -EINVAL;
    }
    if (!policy->shadow)
        count_for_all(h, policy);
    policy->live = true;
    h->comparing += policy->shadow;
    start_timers(h, policy);
    if (before) {
        policy->own = *before->count;
        version_free(h, before);
        host_tell_reload(h);
    }
    return 0;
}

/* --- loading --------------------------------------------------------------------------------- */

/* Run the chunk below its `args` arguments on the stack as the new version.  [-(args + 1), +0, -]
 */
static int run_chunk(struct host *h, struct policy *policy, int args)
{
    if (host_call(h, policy, args, 0) && api_option_check(h, policy) == 0)
        return version_begin(h, policy);
    version_free(h, policy);
    return -EINVAL;
}

/* The compiler's message on top of the stack, and the line that it is about.  [-0, +0, -] */
static void set_syntax_error(struct host *h, const struct host_source *s)
{
    const char *message = lua_tostring(h->L, -1);
    buf_clear(&h->error);
    buf_harmless(&h->error, message, strlen(message));
    source_show_line(s->text, s->len, source_line_of(s->name, message), &h->error);
}

static int load_file(struct host *h, struct policy *policy, const struct host_source *s)
{
    if (source_add(&policy->sources, s->name, s->text, s->len) < 0) {
        host_set_error(h, "not enough memory");
        version_free(h, policy);
        return -ENOMEM;
    }
    budget_begin(&h->budget, policy->id); /* the parser cannot be interrupted, only watched */
    int wrong = luaL_loadbufferx(h->L, s->text, s->len, s->name, "t");
    budget_end(&h->budget);
    if (wrong) {
        set_syntax_error(h, s);
        lua_pop(h->L, 1);
        version_free(h, policy);
        return -EINVAL;
    }
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, policy->env);
    lua_setfenv(h->L, -2);
    policy->needs = needs_of_text(s->text, s->len);
    h->loading = (struct host_chunk){ s->name, s->text, s->len };
    int result = run_chunk(h, policy, 0);
    h->loading = (struct host_chunk){ 0 };
    return result;
}

/* (its name) */
static int push_module(lua_State *L)
{
    host_require(L, lua_tostring(L, 1));
    return 1;
}

static int load_line(struct host *h, struct policy *policy, const struct host_source *s)
{
    policy->line = true;
    lua_pushcfunction(h->L, push_module);
    lua_pushliteral(h->L, "moonwatch.oneliner");
    if (!host_call(h, policy, 1, 1)) {
        version_free(h, policy);
        return -EINVAL;
    }
    policy->needs = needs_of_text(s->text, s->len);
    lua_pushstring(h->L, policy->name);
    lua_pushlstring(h->L, s->text, s->len);
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, policy->env);
    return run_chunk(h, policy, 3);
}

int host_replace(struct host *h, const struct host_source *s)
{
    char line[24] = "=-e";
    if (!s->name && h->lines++)
        snprintf(line, sizeof line, "=-e #%d", h->lines);
    struct policy *policy = version_new(h, s->id, s->name ? s->name : line);
    if (!policy) {
        host_set_error(h, "not enough memory");
        return -ENOMEM;
    }
    policy->generation = s->generation;
    policy->shadow = s->shadow;
    budget_loading(&h->budget, true);
    int result = s->name ? load_file(h, policy, s) : load_line(h, policy, s);
    budget_loading(&h->budget, false);
    if (result == 0 && !s->shadow)
        host_note_loaded(h, s);
    return result;
}

int host_load(struct host *h, const char *name, const char *text, size_t len)
{
    struct host_source source = { .id = h->next_id, .name = name, .text = text, .len = len };
    return host_replace(h, &source);
}

int host_load_line(struct host *h, const char *line)
{
    struct host_source source = { .id = h->next_id, .text = line, .len = strlen(line) };
    return host_replace(h, &source);
}

void host_unload(struct host *h, uint32_t id)
{
    for (struct policy *p = h->policies, *next; p; p = next) {
        next = p->next;
        if (p->id == id)
            version_free(h, p);
    }
    api_persist_forget(h->L, id);
}

/* --- shadows --------------------------------------------------------------------------------- */

static struct policy *shadow_of(const struct host *h, uint32_t id)
{
    for (struct policy *p = h->policies; p; p = p->next)
        if (p->id == id && p->shadow)
            return p;
    return NULL;
}

void host_drop_shadow(struct host *h, uint32_t id)
{
    struct policy *shadow = shadow_of(h, id), *live = shadow ? version_before(h, shadow) : NULL;
    if (live) {
        buf_free(&live->verdicts);
        live->verdicts_lost = 0;
    }
    if (shadow)
        version_free(h, shadow);
}

/* Kept as NUL-ended texts in a row. */
void version_verdict(struct host *h, struct policy *policy, const char *text, size_t len)
{
    if (!policy->shadow && !shadow_of(h, policy->id))
        return;
    if (policy->verdicts.len + len >= VERDICTS_MOST) {
        policy->verdicts_lost++;
        return;
    }
    buf_harmless(&policy->verdicts, text, len);
    buf_putc(&policy->verdicts, '\0');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The texts, sorted; the array is the caller's. NULL: no memory. */
static const char **sorted(const struct buf *verdicts, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < verdicts->len; i++)
        *n += !verdicts->data[i];
    const char **texts = calloc(*n + 1, sizeof *texts);
    const char *at = verdicts->data;
    for (size_t i = 0; texts && i < *n; i++, at += strlen(at) + 1)
        texts[i] = at;
    if (texts)
        qsort(texts, *n, sizeof *texts, by_text);
    return texts;
}

static void add_text(struct buf *list, const char *text)
{
    if (list->len)
        buf_putc(list, ',');
    json_string(list, text, strlen(text));
}

static void write_difference(struct buf *out, const char **old, size_t old_n, const char **fresh,
                             size_t fresh_n, uint64_t lost)
{
    struct buf only_old = { 0 }, only_new = { 0 };
    size_t i = 0, j = 0, both = 0;
    while (i < old_n || j < fresh_n) {
        int order = i == old_n ? 1 : j == fresh_n ? -1 : strcmp(old[i], fresh[j]);
        both += order == 0;
        if (order < 0)
            add_text(&only_old, old[i]);
        if (order > 0)
            add_text(&only_new, fresh[j]);
        i += order <= 0;
        j += order >= 0;
    }
    buf_printf(out, "{\"both\":%zu,\"only_old\":[%s],\"only_new\":[", both, buf_str(&only_old));
    buf_add(out, only_new.data, only_new.len);
    buf_printf(out, "],\"lost\":%llu}", (unsigned long long)lost);
    buf_free(&only_old);
    buf_free(&only_new);
}

int host_compare(struct host *h, uint32_t id, struct buf *out)
{
    static const struct buf none;
    const struct policy *shadow = shadow_of(h, id);
    if (!shadow)
        return -ENOENT;
    const struct policy *live = version_before(h, shadow);
    size_t old_n, fresh_n;
    const char **old = sorted(live ? &live->verdicts : &none, &old_n);
    const char **fresh = sorted(&shadow->verdicts, &fresh_n);
    if (old && fresh)
        write_difference(out, old, old_n, fresh, fresh_n,
                         shadow->verdicts_lost + (live ? live->verdicts_lost : 0));
    int result = old && fresh ? 0 : -ENOMEM;
    free(old);
    free(fresh);
    return result;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Push what the script holds directly, one after another, and weigh it.  [-0, +0, m] */
static size_t weigh_policy(struct host *h, const struct policy *policy, int walked)
{
    lua_State *L = h->L;
    const int refs[] = { policy->env, policy->script_ref, policy->state_ref };
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, refs[i]);
        bytes += weigh(L, walked, WEIGH_MOST);
    }
    for (int kind = 0; kind < EVENT_KINDS; kind++)
        for (const struct handler *handler = h->handlers[kind]; handler; handler = handler->next)
            if (handler->policy == policy) {
                lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function_ref);
                bytes += weigh(L, walked, WEIGH_MOST);
            }
    for (int id = 0; id < h->timers.len; id++)
        if (timers_at(&h->timers, id) && timers_at(&h->timers, id)->policy == policy) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, h->timers.all[id].function_ref);
            bytes += weigh(L, walked, WEIGH_MOST);
        }
    return bytes;
}

/* What all share counts for nobody: it is walked first. */
static int weigh_all(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    weigh_begin(L);
    int walked = lua_gettop(L);
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    weigh(L, walked, WEIGH_MOST);
    lua_getfield(L, LUA_REGISTRYINDEX, "moonwatch");
    weigh(L, walked, WEIGH_MOST);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    weigh(L, walked, WEIGH_MOST);
    for (struct policy *p = h->policies; p; p = p->next)
        p->memory_bytes = weigh_policy(h, p, walked);
    return 0;
}

static int collect(lua_State *L)
{
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}

void host_weigh(struct host *h)
{
    if (lua_cpcall(h->L, weigh_all, h))
        lua_pop(h->L, 1);
    lua_cpcall(h->L, collect, NULL); /* what was remembered of the walk */
}

static bool memory_short(const struct host *h)
{
    size_t most = h->options.memory_bytes;
    return most && h->budget.memory > most / 4 * 3;
}

/* Garbage alone is no fault. If it is not that, who holds the most goes. */
static void mend_memory(struct host *h)
{
    struct policy *most = NULL;
    lua_cpcall(h->L, collect, NULL);
    if (!memory_short(h))
        return;
    host_weigh(h);
    for (struct policy *p = h->policies; p; p = p->next)
        if (p->live && (!most || p->memory_bytes > most->memory_bytes))
            most = p;
    if (!most)
        return;
    host_off(h, most, "the scripts' memory is full (%zu MiB), and of it this one holds %llu MiB",
             h->options.memory_bytes >> 20, (unsigned long long)(most->memory_bytes >> 20));
    strip(h, most);
    lua_cpcall(h->L, collect, NULL);
}

void versions_settle(struct host *h)
{
    h->unsettled = false;
    for (struct policy *p = h->policies; p; p = p->next)
        if (p->off && p->env != LUA_NOREF)
            strip(h, p);
    if (memory_short(h))
        mend_memory(h);
}

/* --- lines of somebody's ---------------------------------------------------------------------- */

static struct policy *eval_policy(struct host *h)
{
    for (struct policy *p = h->policies; p; p = p->next)
        if (p->id == HOST_EVAL_ID && !p->off)
            return p;
    host_unload(h, HOST_EVAL_ID); /* one that filled the memory */
    uint32_t next = h->next_id;
    struct policy *policy = version_new(h, HOST_EVAL_ID, "=repl");
    h->next_id = next;
    if (policy)
        policy->live = true;
    return policy;
}

int host_eval(struct host *h, const char *text, size_t len, struct buf *out)
{
    struct policy *policy = eval_policy(h);
    lua_State *L = h->L;
    if (!policy)
        return -ENOMEM;
    lua_pushcfunction(L, push_module);
    lua_pushliteral(L, "moonwatch.repl"); /* it returns function(text, env) -> text */
    if (!host_call(h, policy, 1, 1))
        return -EINVAL;
    lua_pushlstring(L, text, len);
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->env);
    if (!host_call(h, policy, 2, 1))
        return -EINVAL;
    size_t result_len = 0;
    const char *result = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &result_len) : "";
    buf_add(out, result, result_len);
    lua_pop(L, 1);
    return 0;
}
