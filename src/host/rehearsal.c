/* rehearsal.c - a script and made-up events: does it tell what its author expects? See
 * rehearsal.h. */
#include "host/rehearsal.h"

#include "host/stage.h"
#include "host/state.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SETTINGS     64
#define WRITTEN_MOST (64 << 20) /* bytes */

struct rehearsal {
    struct stage stage;
    int output;           /* owned: where the script writes */
    struct buf text, why; /* owned: what it wrote; what is wrong, a line each */
    struct rehearsal_commands commands; /* owned: what came of them */
    int64_t began_ns;
    struct host_setting setting[SETTINGS]; /* texts borrowed from the test's table */
    struct host_settings settings;
};

/* --- a host for one test --------------------------------------------------------------------- */

/* Memory that does not grow, however much a script writes. */
static int open_output(void)
{
    int fd = memfd_create("rehearsal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && (ftruncate(fd, WRITTEN_MOST) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int begin(struct rehearsal *r, const struct rehearsal_world *world)
{
    *r = (struct rehearsal){ .output = open_output(), .began_ns = clock_mono_ns() };
    struct stage_options options = { .world = { .request = world->request, .ctx = world->ctx },
                                     .output = r->output,
                                     .coverage = world->coverage,
                                     .playing = world->playing,
                                     .limit_s = world->limit_s };
    return r->output < 0 ? -errno : stage_open(&r->stage, &options);
}

static void end(struct rehearsal *r)
{
    stage_close(&r->stage);
    if (r->output >= 0)
        close(r->output);
    buf_free(&r->text);
    buf_free(&r->why);
    buf_free(&r->commands.records);
    buf_free(&r->commands.output);
    buf_free(&r->commands.refused);
    buf_free(&r->commands.problem);
}

static lua_State *state(const struct rehearsal *r)
{
    return r->stage.host->L;
}

/* --- what is wrong ------------------------------------------------------------------------------ */

static void complain(struct rehearsal *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(struct rehearsal *r, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (r->why.len)
        buf_putc(&r->why, '\n');
    buf_harmless(&r->why, text, strlen(text));
}

/* --- the test's file --------------------------------------------------------------------------- */

/* Run the file and leave its list on the stack. False: `why` says why.  [-0, +(1|0), m] */
static bool push_tests(struct rehearsal *r, const struct rehearsal_text *test, struct buf *why)
{
    lua_State *L = state(r);
    struct buf line = { 0 };
    bool ok = !luaL_loadbufferx(L, test->text, test->len, test->name, "t");
    if (!ok)
        source_show_line(test->text, test->len, source_line_of(test->name, lua_tostring(L, -1)), &line);
    ok = ok && stage_call(&r->stage, 0, 1);
    if (ok && lua_istable(L, -1))
        return true;
    if (r->stage.late)
        stage_say_late(&r->stage, why);
    else if (ok)
        buf_printf(why, "%s returns no list of tests", test->name + 1);
    else
        buf_puts(why, lua_tostring(L, -1) ? lua_tostring(L, -1) : "it throws what is no text");
    buf_puts(why, buf_str(&line));
    buf_free(&line);
    lua_pop(L, 1);
    return false;
}

/* --- its settings -------------------------------------------------------------------------------- */

/* "x" for a string or a number, yes and no; NULL for what no command line can say.  [-0, +0, m] */
static const char *setting_text(lua_State *L, int index)
{
    if (lua_isboolean(L, index))
        return lua_toboolean(L, index) ? "yes" : "no";
    return lua_isnumber(L, index) || lua_isstring(L, index) ? lua_tostring(L, index) : NULL;
}

/* The `options` of the test on top of the stack, as --set would have them. The texts stay where they
 * are, in its table.  [-0, +0, m] */
static void take_settings(struct rehearsal *r, const struct rehearsal_text *script, char *stem)
{
    lua_State *L = state(r);
    int n = 0;
    source_stem(script->name, stem, 64);
    lua_getfield(L, -1, "options");
    if (lua_istable(L, -1))
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || n == SETTINGS || !setting_text(L, -1))
                continue;
            lua_pushstring(L, setting_text(L, -1)); /* a number becomes a text of its own */
            const char *text = lua_tostring(L, -1);
            luaL_ref(L, LUA_REGISTRYINDEX);
            r->setting[n++] = (struct host_setting){ stem, lua_tostring(L, -2), text };
        }
    lua_pop(L, 1);
    r->settings = (struct host_settings){ .all = r->setting, .len = n };
    r->stage.host->options.settings = &r->settings;
}

/* --- its events ------------------------------------------------------------------------------- */

/* Play the records in the list of this reference, one by one.  [-0, +0, m] */
static void tell_records(struct rehearsal *r, int records)
{
    lua_State *L = state(r);
    lua_rawgeti(L, LUA_REGISTRYINDEX, records);
    int list = lua_gettop(L);
    struct event_box *box = lua_newuserdata(L, sizeof *box);
    for (int i = 1, n = (int)lua_objlen(L, list); i <= n && !r->stage.late; i++) {
        lua_rawgeti(L, list, i);
        api_event_adopt(L);
        if (api_event_record(L, -1, box)) {
            event_set(box, F_SEQ, i, WHY_COMPUTED);
            stage_play(&r->stage, &box->ev);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

/* A reference to what lua/moonwatch/rehearsal.lua makes of the test on top of the stack; LUA_NOREF: it is
 * no test, which is said.  [-0, +0, m] */
static int take_records(struct rehearsal *r)
{
    lua_State *L = state(r);
    host_require(L, "moonwatch.rehearsal");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2);
    const char *problem = lua_tostring(L, -1);
    if (!lua_istable(L, -2))
        complain(r, "%s", problem ? problem : "it cannot be read");
    lua_pop(L, 1);
    if (lua_istable(L, -1))
        return luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    return LUA_NOREF;
}

/* A field of the test on top of the stack: a file beside the test's own. "": it has none; the caller's to
 * free.  [-0, +0, m] */
static void path_beside(lua_State *L, const char *field, const char *name, struct buf *path)
{
    lua_getfield(L, -1, field);
    const char *file = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    const char *slash = strrchr(name, '/');
    if (*file && *file != '/' && slash)
        buf_add(path, name + 1, (size_t)(slash - name));
    buf_puts(path, file);
    lua_pop(L, 1);
}

/* When the script is loaded: before the first event. False: there is none to be had.  [-0, +0, m] */
static bool begin_time(struct rehearsal *r, int records, struct buf *recording)
{
    lua_State *L = state(r);
    struct buf why = { 0 };
    int result = recording->len ? stage_begin_recording(&r->stage, buf_str(recording), &why) : 0;
    if (result < 0)
        complain(r, "%s", why.len ? buf_str(&why) : strerror(-result));
    buf_free(&why);
    if (recording->len)
        return result == 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, records);
    lua_getfield(L, -1, "mono");
    lua_getfield(L, -2, "time");
    if (lua_isnumber(L, -2))
        stage_clock(&r->stage, (int64_t)(lua_tonumber(L, -2) * 1e9), (int64_t)(lua_tonumber(L, -1) * 1e9));
    else
        stage_clock(&r->stage, clock_mono_ns(), clock_real_ns());
    lua_pop(L, 3);
    return true;
}

static void tell_recording(struct rehearsal *r, struct buf *path)
{
    struct stage_played played = { 0 };
    struct buf why = { 0 };
    int result = stage_play_recording(&r->stage, buf_str(path), false, &played, &why);
    if (result < 0)
        complain(r, "%s", why.len ? buf_str(&why) : strerror(-result));
    buf_free(&why);
}

/* --- its commands ------------------------------------------------------------------------------ */

/* The list of words on top of the stack as an argument vector, which borrows from it; goes when it is
 * not on the stack any more.  [-0, +1, m] */
static char *const *push_argv(lua_State *L)
{
    int n = (int)lua_objlen(L, -1);
    const char **argv = lua_newuserdata(L, (size_t)(n + 1) * sizeof *argv);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, -2, i + 1);
        argv[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return (char *const *)argv;
}

/* A copy of each, with the sequence number that it has in this test. */
static void tell_kept(struct rehearsal *r)
{
    const struct buf *records = &r->commands.records;
    struct event_box *box = lua_newuserdata(state(r), sizeof *box);
    int64_t seq = 0;
    for (size_t at = 0, size; at + sizeof(struct event) <= records->len && !r->stage.late; at += size) {
        const struct event *ev = (const struct event *)(records->data + at);
        size = ev->size;
        if (at + size > records->len || !event_valid(ev, size))
            break;
        if (event_kind(ev) == EVENT_SNAPSHOT) {
            host_know(r->stage.host, ev);
            continue;
        }
        memcpy(box, ev, size);
        event_set(box, F_SEQ, ++seq, WHY_COMPUTED);
        stage_play(&r->stage, &box->ev);
    }
    lua_pop(state(r), 1);
}

/* `status`, of all commands or of each.  [-0, +0, -] */
static void judge_status(struct rehearsal *r)
{
    lua_State *L = state(r);
    lua_getfield(L, -1, "status");
    for (int i = 0; i < r->commands.len && !lua_isnil(L, -1); i++) {
        bool list = lua_istable(L, -1);
        if (list)
            lua_rawgeti(L, -1, i + 1);
        int want = (int)lua_tointeger(L, -1), found = r->commands.status[i];
        lua_pop(L, list);
        if (found != want)
            complain(r, "command %d, '%s', ends with status %d, not %d", i + 1, r->commands.argv[i][0], found, want);
    }
    lua_pop(L, 1);
}

/* Run the list on top of the stack. False: they were not run, or not to their end.  [-0, +0, m] */
static bool run_listed(struct rehearsal *r, const struct rehearsal_world *world)
{
    lua_State *L = state(r);
    int list = lua_gettop(L), n = (int)lua_objlen(L, list);
    struct rehearsal_commands *c = &r->commands;
    char *const **argv = lua_newuserdata(L, (size_t)n * sizeof *argv);
    c->status = lua_newuserdata(L, (size_t)n * sizeof *c->status);
    luaL_checkstack(L, n * 2 + 4, "too many commands");
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        argv[i] = push_argv(L);
    }
    c->argv = argv;
    c->len = n;
    c->limit_s = r->stage.limit_s;
    int result = world->run ? world->run(world->ctx, c) : -ENOSYS;
    r->stage.limit_from_ns = clock_mono_ns();
    if (result < 0)
        complain(r, "the commands cannot be run: %s", strerror(-result));
    else if (c->problem.len)
        complain(r, "%s", buf_str(&c->problem));
    return result == 0 && !c->problem.len && !c->refused.len;
}

/* --- its judgement ------------------------------------------------------------------------------ */

/* A number of the test on top of the stack; -1: it says none.  [-0, +0, -] */
static long long wanted(lua_State *L, const char *key)
{
    lua_getfield(L, -1, key);
    long long n = lua_isnumber(L, -1) ? (long long)lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    return n;
}

/* As it stands in the output, where what steers a terminal is shown. */
static void judge_text(struct rehearsal *r, const char *text, size_t len)
{
    struct buf shown = { 0 };
    buf_harmless(&shown, text, len);
    if (!memmem(r->text.data, r->text.len, shown.data, shown.len) &&
        !memmem(r->text.data, r->text.len, text, len))
        complain(r, "it does not write '%s'", text);
    buf_free(&shown);
}

/* `output`: a text, or a list of texts.  [-0, +0, m] */
static void judge_output(struct rehearsal *r)
{
    lua_State *L = state(r);
    size_t len;
    lua_getfield(L, -1, "output");
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, -1, &len);
        judge_text(r, text, len);
    }
    for (int i = 1, n = lua_istable(L, -1) ? (int)lua_objlen(L, -1) : 0; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        const char *text = lua_tolstring(L, -1, &len);
        if (text)
            judge_text(r, text, len);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void complain_of_errors(struct rehearsal *r, long long expected, uint64_t thrown)
{
    const char *last = thrown ? host_error(r->stage.host) : "";
    const char *end = strstr(last, "\nstack traceback:");
    complain(r, "%lld errors wanted, %llu thrown", expected, (unsigned long long)thrown);
    buf_puts(&r->why, *last ? "\n" : ""); /* harmless already, with the line below it */
    buf_add(&r->why, last, end ? (size_t)(end - last) : strlen(last));
}

/* A function of lua/moonwatch/expect.lua.  [-0, +1, e] */
static void push_expect(lua_State *L, const char *name)
{
    host_require(L, "moonwatch.expect");
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* Note what is told, when the test on top of the stack has a list of alerts.  [-0, +0, e] */
static void listen(lua_State *L)
{
    push_expect(L, "listen");
    lua_getfield(L, -2, "alerts");
    if (lua_istable(L, -1))
        lua_call(L, 1, 0);
    else
        lua_pop(L, 2);
}

/* The lines on top of the stack: what is wanted, what was told.  [-0, +0, m] */
static void complain_of_alerts(struct rehearsal *r)
{
    lua_State *L = state(r);
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        const char *line = lua_tolstring(L, -1, &len);
        buf_puts(&r->why, r->why.len ? i > 1 ? "\n  " : "\n" : "");
        buf_harmless(&r->why, line ? line : "", line ? len : 0);
        lua_pop(L, 1);
    }
}

/* `alerts`: how many, or a list.  [-0, +0, m] */
static void judge_alerts(struct rehearsal *r, uint64_t told)
{
    lua_State *L = state(r);
    long long alerts = wanted(L, "alerts");
    if (alerts >= 0 && (uint64_t)alerts != told)
        complain(r, "%lld alerts wanted, %llu told", alerts, (unsigned long long)told);
    lua_getfield(L, -1, "alerts");
    if (lua_istable(L, -1)) {
        push_expect(L, "difference");
        lua_insert(L, -2);
        if (!stage_call(&r->stage, 1, 1) && !r->stage.late)
            complain(r, "the alerts cannot be compared: %s", lua_tostring(L, -1));
        else if (lua_istable(L, -1))
            complain_of_alerts(r);
    }
    lua_pop(L, 1);
}

/* [-0, +0, m] */
static void judge(struct rehearsal *r)
{
    struct host_script figures = { 0 };
    host_scripts(r->stage.host, &figures, 1);
    long long errors = wanted(state(r), "errors");
    judge_alerts(r, figures.alerts);
    if (figures.errors != (uint64_t)(errors < 0 ? 0 : errors))
        complain_of_errors(r, errors < 0 ? 0 : errors, figures.errors);
    judge_output(r);
}

/* --- one test ------------------------------------------------------------------------------------ */

struct job {
    struct rehearsal rehearsal;
    const struct rehearsal_text *script, *test;
    int number; /* of the test, from 1 */
    const struct rehearsal_world *world;
    struct buf *why; /* borrowed: script or test are wrong as a whole */
    int result;
};

/* Those of the test on top of the stack, if it has any. False: it has ended with them.  [-0, +0, m] */
static bool run_commands(struct job *job)
{
    struct rehearsal *r = &job->rehearsal;
    lua_State *L = state(r);
    int base = lua_gettop(L);
    lua_getfield(L, base, "commands");
    bool well = !lua_istable(L, -1) || run_listed(r, job->world);
    if (well)
        tell_kept(r);
    lua_pushvalue(L, base);
    if (well)
        judge_status(r);
    lua_settop(L, base);
    return well;
}

static bool load(struct job *job)
{
    const struct rehearsal_text *script = job->script;
    return stage_load(&job->rehearsal.stage, script->name, script->text, script->len, job->why);
}

/* The script has been told all: let it end, and see.  [-0, +0, m] */
static void finish(struct rehearsal *r)
{
    if (!r->stage.late)
        host_finish(r->stage.host);
    stage_read_output(&r->stage, &r->text);
    if (!r->stage.late)
        judge(r);
    if (r->stage.late) {
        buf_puts(&r->why, r->why.len ? "\n" : "");
        stage_say_late(&r->stage, &r->why);
    }
}

/* The test on top of the stack. False: the script does not load.  [-0, +0, m] */
static bool run(struct job *job)
{
    char stem[64];
    struct rehearsal *r = &job->rehearsal;
    struct buf recording = { 0 };
    lua_State *L = state(r);
    int records = take_records(r);
    path_beside(L, "recording", job->test->name, &recording);
    bool readable = records != LUA_NOREF && begin_time(r, records, &recording);
    take_settings(r, job->script, stem);
    listen(L);
    bool loaded = load(job);
    if (loaded && readable && recording.len)
        tell_recording(r, &recording);
    else if (loaded && readable)
        tell_records(r, records);
    if (loaded && readable && run_commands(job))
        finish(r);
    buf_free(&recording);
    return loaded;
}

/* The test on top of the stack.  [-0, +0, m] */
static void report(struct job *job)
{
    struct rehearsal *r = &job->rehearsal;
    lua_State *L = state(r);
    struct buf name = { 0 };
    size_t len;
    lua_getfield(L, -1, "name");
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (text)
        buf_harmless(&name, text, len);
    else
        buf_printf(&name, "number %d", job->number);
    bool skipped = r->commands.refused.len;
    struct rehearsal_result result = { .name = buf_str(&name),
                                       .verdict = r->why.len ? REHEARSAL_FAILED
                                                  : skipped  ? REHEARSAL_SKIPPED
                                                             : REHEARSAL_PASSED,
                                       .why = buf_str(skipped ? &r->commands.refused : &r->why),
                                       .output = buf_str(&r->text),
                                       .commands = buf_str(&r->commands.output),
                                       .seconds = (double)(clock_mono_ns() - r->began_ns) / 1e9 };
    job->world->ended(job->world->ctx, &result);
    buf_free(&name);
    lua_pop(L, 1);
}

/* Called protected: what throws is memory that is not there. */
static int rehearse_one(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    if (!push_tests(&job->rehearsal, job->test, job->why))
        return 0;
    job->result = 0;
    if (job->number > (int)lua_objlen(L, -1))
        return 0;
    job->result = 1;
    lua_rawgeti(L, -1, job->number);
    if (!lua_istable(L, -1)) {
        complain(&job->rehearsal, "a test is a table, and this is a %s", luaL_typename(L, -1));
        lua_newtable(L);
    } else if (!run(job)) {
        job->result = -EINVAL;
        return 0;
    }
    report(job);
    return 0;
}

/* 1: there was one; 0: there are no more; or -errno with `why`. */
static int one(struct job *job)
{
    job->result = -EINVAL;
    int result = begin(&job->rehearsal, job->world);
    if (result == 0 && lua_cpcall(state(&job->rehearsal), rehearse_one, job))
        result = -ENOMEM;
    if (result < 0)
        buf_puts(job->why, "not enough memory");
    end(&job->rehearsal);
    return result < 0 ? result : job->result;
}

int rehearse(const struct rehearsal_text *script, const struct rehearsal_text *test,
             const struct rehearsal_world *world, struct buf *why)
{
    struct job job = { .script = script, .test = test, .world = world, .why = why };
    int result = 1;
    while (result == 1) {
        job.number++;
        result = one(&job);
    }
    return result < 0 ? result : job.number - 1;
}
