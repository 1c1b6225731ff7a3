/* stage.c - a host that is played to. See stage.h. */
#include "host/stage.h"

#include "host/state.h"

#include "base/clock.h"
#include "record/recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT_MOST ((size_t)1 << 20)
#define MEMORY_MOST ((size_t)256 << 20) /* of a script and its test together */
#define LIMIT_S     10
#define LOOK_EVERY  10000 /* instructions */

static const char stage_key;

/* --- bounds ----------------------------------------------------------------------------------------- */

static struct stage *stage_of(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&stage_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct stage *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return s;
}

/* A call has an end by the budget of the host, which ends it at the second look. */
static void look_at_clock(struct stage *s)
{
    int64_t now = clock_mono_ns();
    if ((double)(now - s->limit_from_ns) < s->limit_s * 1e9)
        return;
    s->late = true;
    host_tick(s->host, now);
    host_tick(s->host, now + s->host->options.soft_ns);
}

static void on_hook(lua_State *L, lua_Debug *at)
{
    struct stage *s = stage_of(L);
    if (at->event == LUA_HOOKCOUNT)
        look_at_clock(s);
    else
        coverage_note(s->coverage, L, at);
}

/* Called protected, with the stage as light userdata. */
static int put_stage(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&stage_key);
    lua_insert(L, 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return 0;
}

void stage_say_late(const struct stage *s, struct buf *why)
{
    const char *place = s->host->budget.place;
    buf_harmless(why, place, strlen(place));
    buf_printf(why, "it was ended: it takes more than %g s", s->limit_s);
}

/* --- life ------------------------------------------------------------------------------------------- */

int stage_open(struct stage *s, const struct stage_options *o)
{
    struct host_options options = { .world = { .request = o->world.request, .ctx = o->world.ctx },
                                    .table_bytes = 16u << 20, .boot = 1, .fd = o->output, .output_lock = -1,
                                    .soft_ns = 1, .memory_bytes = MEMORY_MOST };
    *s = (struct stage){ .output = o->output,
                         .coverage = o->coverage,
                         .playing = o->playing,
                         .ctx = o->world.ctx,
                         .limit_from_ns = clock_mono_ns(),
                         .limit_s = o->limit_s > 0 ? o->limit_s : LIMIT_S };
    int result = host_new(&s->host, &options);
    if (result == 0 && lua_cpcall(s->host->L, put_stage, s))
        result = -ENOMEM;
    if (result == 0)
        lua_sethook(s->host->L, on_hook, LUA_MASKCOUNT | (s->coverage ? coverage_hooks() : 0), LOOK_EVERY);
    return result;
}

void stage_close(struct stage *s)
{
    if (s->coverage && s->host)
        coverage_keep(s->coverage, s->host);
    host_free(s->host);
    s->host = NULL;
}

void stage_clock(struct stage *s, int64_t mono_ns, int64_t real_ns)
{
    host_clock(s->host, mono_ns, real_ns);
}

bool stage_load(struct stage *s, const char *name, const char *text, size_t len, struct buf *why)
{
    if (host_load(s->host, name, text, len) == 0)
        return true;
    if (s->late)
        stage_say_late(s, why);
    else
        buf_puts(why, host_error(s->host));
    return false;
}

bool stage_call(struct stage *s, int args, int results)
{
    struct host *h = s->host;
    int base = lua_gettop(h->L) - args;
    lua_rawgeti(h->L, LUA_REGISTRYINDEX, h->traceback);
    lua_insert(h->L, base);
    budget_begin(&h->budget, 0);
    bool ok = !lua_pcall(h->L, args, results, base);
    budget_end(&h->budget);
    lua_remove(h->L, base);
    return ok;
}

void stage_read_output(struct stage *s, struct buf *to)
{
    host_flush(s->host);
    buf_clear(to);
    char *place = buf_reserve(to, OUTPUT_MOST);
    off_t written = lseek(s->output, 0, SEEK_CUR);
    size_t most = written < (off_t)OUTPUT_MOST ? (size_t)written : OUTPUT_MOST;
    ssize_t len = place && written > 0 ? pread(s->output, place, most, 0) : 0;
    to->len = len > 0 ? (size_t)len : 0;
}

/* --- playing ---------------------------------------------------------------------------------------- */

/* As host_pass, but it ends with the time that the test has. */
static void pass_time(struct stage *s, int64_t mono_ns, int64_t real_ns)
{
    for (int64_t due; !s->late && (due = timers_due(&s->host->timers)) < mono_ns; )
        host_clock(s->host, due, real_ns - (mono_ns - due));
}

void stage_play(struct stage *s, const struct event *ev)
{
    if (event_has(ev, F_MONO))
        pass_time(s, event_int(ev, F_MONO, 0), event_int(ev, F_TIME, 0));
    if (!s->late)
        host_event(s->host, ev);
}

static int open_recording(struct recording **r, const char *path, struct buf *why)
{
    char text[512];
    int result = recording_open(r, path, text, sizeof text);
    if (result < 0)
        buf_puts(why, text);
    return result;
}

/* What can be read ends here? `result` as recording_next gives it. */
static bool goes_on(int result)
{
    return result > 0 || result == -EOVERFLOW || result == -EBADMSG;
}

int stage_begin_recording(struct stage *s, const char *path, struct buf *why)
{
    struct recording *r;
    uint64_t missing;
    int result = open_recording(&r, path, why);
    if (result < 0)
        return result;
    struct event_box *box = malloc(sizeof *box);
    int next = box ? 0 : -ENOMEM;
    while (box && goes_on(next = recording_next(r, box, &missing)) && next != 1)
        ;
    s->host->options.boot = recording_head(r)->boot;
    if (next == 1) /* a part of a longer one begins later than that */
        stage_clock(s, event_int(&box->ev, F_MONO, 0), event_int(&box->ev, F_TIME, 0));
    free(box);
    recording_close(r);
    return next == -ENOMEM ? -ENOMEM : 0;
}

/* One more event, or what is missing. */
static void play_next(struct stage *s, int next, const struct event_box *box, uint64_t missing,
                      struct stage_played *played)
{
    if (next < 0) {
        played->missing += missing;
        host_missed(s->host, missing);
        return;
    }
    if (s->playing)
        s->playing(s->ctx, NULL, (uint64_t)event_int(&box->ev, F_SEQ, 0));
    played->events += next == 1; /* else it was there already */
    played->execs += event_kind(&box->ev) == EVENT_EXEC;
    stage_play(s, &box->ev);
}

int stage_play_recording(struct stage *s, const char *path, bool each_limited, struct stage_played *played,
                         struct buf *why)
{
    struct recording *r;
    uint64_t missing = 0;
    int next = open_recording(&r, path, why);
    if (next < 0)
        return next;
    struct event_box *box = malloc(sizeof *box);
    if (!box) {
        recording_close(r);
        return -ENOMEM;
    }
    if (s->playing)
        s->playing(s->ctx, r, 0);
    for (; !s->late && goes_on(next = recording_next(r, box, &missing)); missing = 0) {
        if (each_limited)
            s->limit_from_ns = clock_mono_ns();
        play_next(s, next, box, missing, played);
    }
    free(box);
    recording_close(r);
    if (next < 0 && !s->late)
        buf_printf(why, "%s cannot be read to its end: %s", path, strerror(-next));
    return next < 0 && !s->late ? next : 0;
}
