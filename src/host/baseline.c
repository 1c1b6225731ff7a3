/* baseline.c - what a script tells of a recording in which nothing is amiss: its false alarms. See
 * rehearsal.h. */
#include "host/rehearsal.h"

#include "host/stage.h"
#include "host/state.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KEYS_SHOWN 5
#define KEY_SHOWN  100 /* bytes */

struct baseline {
    struct stage stage;
    const struct rehearsal_baseline *wanted;
    const struct rehearsal_text *script;
    struct stage_played played;
    struct host_script figures;
    struct buf why;    /* owned: lines about it */
    struct buf *wrong; /* the script does not load */
    int result;
};

/* [-0, +1, e] */
static void push_tally(lua_State *L, const char *name)
{
    host_require(L, "moonwatch.tally");
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* The list of { count, key } on top of the stack.  [-0, +0, m] */
static void show_keys(lua_State *L, struct buf *out)
{
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        size_t len;
        lua_rawgeti(L, -1, i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        const char *key = lua_tolstring(L, -1, &len);
        buf_printf(out, "\n  %6.0f  ", lua_tonumber(L, -2));
        buf_harmless(out, key, len < KEY_SHOWN ? len : KEY_SHOWN);
        buf_puts(out, len < KEY_SHOWN ? "" : "...");
        lua_pop(L, 3);
    }
}

static void show_errors(struct baseline *b)
{
    const char *last = host_error(b->stage.host);
    buf_printf(&b->why, "\n%llu errors, the last: ", (unsigned long long)b->figures.errors);
    buf_add(&b->why, last, strcspn(last, "\n")); /* harmless already */
}

/* [-0, +0, m] */
static void describe(struct baseline *b)
{
    lua_State *L = b->stage.host->L;
    const struct stage_played *played = &b->played;
    unsigned long long alerts = b->figures.alerts, execs = played->execs;
    buf_printf(&b->why, "%llu alerts, %.2f for 1,000 execs: %llu events, %llu execs", alerts,
               execs ? 1000.0 * (double)alerts / (double)execs : 0, (unsigned long long)played->events, execs);
    if (played->missing)
        buf_printf(&b->why, ", %llu events missing", (unsigned long long)played->missing);
    push_tally(L, "most");
    lua_pushinteger(L, KEYS_SHOWN);
    lua_call(L, 1, 1);
    show_keys(L, &b->why);
    lua_pop(L, 1);
    if (b->figures.errors)
        show_errors(b);
}

/* Called protected: what throws is memory that is not there. */
static int play(lua_State *L)
{
    struct baseline *b = lua_touserdata(L, 1);
    struct stage *s = &b->stage;
    const char *path = b->wanted->path;
    b->result = stage_begin_recording(s, path, b->wrong);
    if (b->result < 0)
        return 0;
    b->result = -EINVAL;
    push_tally(L, "listen");
    lua_call(L, 0, 0);
    if (!stage_load(s, b->script->name, b->script->text, b->script->len, b->wrong))
        return 0;
    b->result = stage_play_recording(s, path, true, &b->played, b->wrong);
    if (b->result < 0)
        return 0;
    s->limit_from_ns = clock_mono_ns();
    if (!s->late)
        host_finish(s->host);
    host_scripts(s->host, &b->figures, 1);
    describe(b);
    return 0;
}

static void report(struct baseline *b, const struct rehearsal_world *world, double seconds)
{
    struct buf name = { 0 };
    const char *slash = strrchr(b->wanted->path, '/'), *file = slash ? slash + 1 : b->wanted->path;
    buf_printf(&name, "at most %llu alerts in ", (unsigned long long)b->wanted->allow);
    buf_harmless(&name, file, strlen(file));
    if (b->stage.late) {
        buf_putc(&b->why, '\n');
        stage_say_late(&b->stage, &b->why);
    }
    bool failed = b->stage.late || b->figures.errors || b->figures.alerts > b->wanted->allow;
    struct rehearsal_result result = { .name = buf_str(&name),
                                       .verdict = failed ? REHEARSAL_FAILED : REHEARSAL_PASSED,
                                       .why = buf_str(&b->why),
                                       .output = "",
                                       .commands = "",
                                       .seconds = seconds };
    world->ended(world->ctx, &result);
    buf_free(&name);
}

/* What it writes nobody reads. */
int rehearse_baseline(const struct rehearsal_text *script, const struct rehearsal_baseline *wanted,
                      const struct rehearsal_world *world, struct buf *why)
{
    struct baseline b = { .wanted = wanted, .script = script, .wrong = why };
    int64_t began_ns = clock_mono_ns();
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct stage_options options = { .world = { .request = world->request, .ctx = world->ctx },
                                     .output = nowhere,
                                     .coverage = world->coverage,
                                     .playing = world->playing,
                                     .limit_s = world->limit_s };
    int result = nowhere < 0 ? -errno : stage_open(&b.stage, &options);
    if (result == 0 && lua_cpcall(b.stage.host->L, play, &b))
        b.result = -ENOMEM;
    result = result < 0 ? result : b.result;
    if (result < 0 && !why->len)
        buf_puts(why, strerror(-result));
    else if (result == 0)
        report(&b, world, (double)(clock_mono_ns() - began_ns) / 1e9);
    stage_close(&b.stage);
    buf_free(&b.why);
    if (nowhere >= 0)
        close(nowhere);
    return result;
}
