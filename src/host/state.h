/* state.h - what host/ and host/api/ share: the insides of struct host.
 *
 * Private to these two folders. Stack comments are the Lua manual's: [-popped, +pushed, throws]. */
#ifndef HOST_STATE_H
#define HOST_STATE_H

#include "host/budget.h"
#include "host/host.h"
#include "host/sinks.h"
#include "host/source.h"
#include "host/storm.h"
#include "host/tally.h"
#include "host/timers.h"
#include "host/where.h"

#include <lauxlib.h>
#include <lua.h>

/* An option that a script asked for. */
struct host_option {
    struct host_option *next;
    char name[];
};

/* One version of one script: a name, what it subscribed to, its figures. */
struct policy {
    struct policy *next;
    char name[64];
    uint32_t id; /* the script's: of who loads it, and the order of delivery */
    uint32_t generation;
    bool live;   /* gets events; not while it is being loaded, nor when it is off */
    bool shadow; /* runs beside the version that counts: what it says is noted and not told */
    bool off;    /* for good, `why` says why: only the figures are left */
    char why[256];
    struct host_count *count, own; /* where it is counted: shared, or here */
    uint64_t memory_bytes; /* as of the last look */
    uint64_t minute_errors;
    int64_t minute_ns; /* since when they are counted */
    struct tally times; /* of calls, a sample */
    struct buf verdicts; /* owned: see versions.c */
    uint64_t verdicts_lost;
    int script_ref, state_ref; /* what mw.script{} was given, and its `state` */
    uint64_t needs; /* fields that it looks at */
    uint32_t kinds; /* events that it subscribed to */
    bool threads; /* wants forks and exits of threads */
    bool storm;   /* in a storm it wants sums */
    bool line;    /* made of one line: calls below it tell its author nothing */
    int env;      /* registry reference of its environment */
    struct source *sources; /* owned: the texts that it is made of */
    struct host_option *asked; /* owned */
};

/* One function of one policy for one kind of event. */
struct handler {
    struct policy *policy;
    const struct where *where; /* NULL: every event; kept alive by where_ref */
    struct api_sigma *sigma;   /* the same */
    int where_ref, function_ref;
    uint64_t told; /* events */
    struct handler *next;
};

struct host {
    lua_State *L; /* owned */
    struct host_options options;
    struct tracker *tracker; /* owned */
    struct output output;
    struct buf answer, scratch, witness, details; /* owned: reused */
    struct buf error;           /* owned */

    struct policy *policies;               /* owned list, in the order of loading */
    struct handler *handlers[EVENT_KINDS]; /* owned lists, in the order of loading */
    struct handler *at_exit;
    struct timers timers; /* owned */
    int lines;        /* one-liners loaded */
    uint32_t next_id; /* for who gives none */
    struct budget budget;
    bool unsettled;   /* somebody was switched off, or memory is short */
    bool late;        /* the last outermost call was over its time */
    int comparing;    /* shadows that run */
    int64_t resume_seq; /* record that a predecessor died in, 0: none; and who had it last: id + 1 */
    uint64_t resume_after;
    uint64_t seen; /* fields that were looked at when no script was running */
    struct host_chunk {
        const char *name, *text; /* NULL: nothing is being loaded */
        size_t len;
    } loading;

    struct api_sigma *sigmas; /* those of live versions; memory of the state */
    struct sinks sinks;
    struct storm *storm;         /* owned; NULL until a script wants sums */
    struct event_box *storm_box; /* owned; goes with it */
    int64_t time_ns, mono_ns;    /* of the last event */
    int64_t clock_ns, clock_real_ns; /* the scripts' time: of the last event or host_clock */
    int64_t alarm_ns;                /* as the world was told last */
    uint64_t seq;                    /* of the last record */

    struct policy *current;    /* whose code runs; NULL between calls */
    const struct event *event; /* being delivered, or NULL */
    const char *stack;         /* where the outermost call of a script began, see sandbox.h */
    int traceback;             /* registry reference of the message handler */

    struct event_shape *shapes; /* of api/event.c; memory of the state */

    struct event_box box; /* for records made here */
    struct event_box parent_box;
};

/* The host of a state.  [-0, +0, -] */
struct host *host_of(lua_State *L);

/* What require() gives for a module of ours.  [-0, +1, e] */
void host_require(lua_State *L, const char *module);

/* Call the function below its `args` arguments on the stack, as `policy`: time, errors and the
 * first message are the policy's. Returns whether it went well; the stack is then as before the
 * function was pushed, plus `results`.  [-(args + 1), +results or 0, -] */
bool host_call(struct host *h, struct policy *policy, int args, int results);

/* Switch the script off, for good; from now on it is not called. The rest follows between two
 * events. */
void host_off(struct host *h, struct policy *policy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The message that host_error() tells from now on. */
void host_set_error(struct host *h, const char *text);

/* Count an error of its code, host_error() has it; too many switch it off. */
void host_count_error(struct host *h, struct policy *policy);

/* A version took the place of another: whoever wants to know. */
void host_tell_reload(struct host *h);

/* These fields are looked at, by the script that runs; tells the world what is new.  [-0, +0, -] */
void host_need(struct host *h, uint64_t fields);

/* Something is due at another time than before: tell the world. */
void host_alarm(struct host *h);

/* Start a timer's span now. */
void host_timer_start(struct host *h, int id);

/* An alert was told: whoever wants to know. */
void host_note_alert(struct host *h, const struct host_alert *alert);

/* Note that a version of a script took its place. */
void host_note_loaded(struct host *h, const struct host_source *source);

/* Note an answer that did not come through host_request. */
void host_note_answer(struct host *h, enum request_kind kind, const void *answer, size_t len);

/* Ask the privileged side, see request.h; -ENOTCONN when there is nobody. */
int host_request(struct host *h, enum request_kind kind, const void *bytes, size_t len,
                 struct buf *out, int *fds);

/* A script wants sums in a storm. 0, or -ENOMEM. */
int host_want_storm(struct host *h, struct policy *policy);

/* --- versions.c --------------------------------------------------------------------------- */

/* A version that gets nothing yet. NULL: no memory. `chunk` as host_load takes it. */
struct policy *version_new(struct host *h, uint32_t id, const char *chunk);

/* Everything that it registered goes, and so does it. */
void version_free(struct host *h, struct policy *policy);

/* It was loaded: it takes the place of the version before, with its state, from now on. 0; or
 * -EINVAL: it refused the state, see host_error(), and it is gone. */
int version_begin(struct host *h, struct policy *policy);

/* Between two events: what is off gives up what it holds; short memory is looked into. */
void versions_settle(struct host *h);

/* While a shadow runs beside it: note what it would tell, for host_compare. */
void version_verdict(struct host *h, struct policy *policy, const char *text, size_t len);

/* --- api/event.c ------------------------------------------------------------------------ */

/* Metatables and constructors.  [-0, +0, m] */
void api_event_open(lua_State *L);

/* The table of a record.  [-0, +1, m] */
void api_event_push(lua_State *L, const struct event *ev);

/* The table of a process in the table; false and nothing pushed when it is gone.  [-0, +(0|1), m]
 */
bool api_process_push(lua_State *L, tracker_ref ref);

/* The table of methods that events and processes share.  [-0, +1, -] */
void api_event_push_methods(lua_State *L);

/* { ["process.executable"] = "exe", Image = "exe", ... } for ev:get().  [-0, +1, m] */
void api_event_push_aliases(lua_State *L);

/* A record from an event's or a process's table, with what the script changed. False when the value
 * is no such table.  [-0, +0, m] */
bool api_event_record(lua_State *L, int index, struct event_box *box);

/* The table on top of the stack becomes an event's: its fields are somebody's own figures.
 * [-0, +0, m] */
void api_event_adopt(lua_State *L);

/* Does it lack fields because no script was known to need them? */
bool api_event_lacks(const struct event *ev);

/* --- api/option.c ------------------------------------------------------------------------ */

/* mw.option */
int api_option(lua_State *L);

/* What was set for this script and is no option of it, when it has been run: 0, it is said on the
 * log at most; -EINVAL and the error of the host: with strict settings its first version is wrong. */
int api_option_check(struct host *h, const struct policy *policy);
void api_option_free(struct policy *policy);

/* --- api/require.c ----------------------------------------------------------------------- */

/* From now on the texts of modules that scripts require count as theirs.  [-0, +0, m] */
void api_require_open(lua_State *L);

/* --- api/topics.c ------------------------------------------------------------------------ */

/* Put ev:fds() and the like into the table of methods on top of the stack.  [-0, +0, m] */
void api_topics_open(lua_State *L);

/* --- api/size.c -------------------------------------------------------------------------- */

#define API_SIZE "a number of bytes, or one with k, M or G behind it, such as \"10M\""

/* Bytes: 4096, "64k", "1M", "2g"; -1: it is no size.  [-0, +0, -] */
double api_size(lua_State *L, int index);

/* --- api/sink.c -------------------------------------------------------------------------- */

/* Put `sink` into the table on top of the stack.  [-0, +0, m] */
void api_sink_open(lua_State *L);

/* Send to the sink at `index`, or each of the list there.  [-0, +0, e] */
void api_sink_event(lua_State *L, int index, const struct event *ev,
                    const struct output_context *context, const struct json_alert *alert);
void api_sink_text(lua_State *L, int index, const char *text, size_t len, bool is_json);

/* --- api/script.c ------------------------------------------------------------------------ */

/* Write one event to the output, with its parent and depth.  */
void api_write_event(struct host *h, const struct event *ev);

/* Write the value at 1 to the sinks at 2, to the output when there is nothing at 2.  [-0, +0, e] */
void api_emit_to(lua_State *L);

/* Put script, where, alert, emit ... into the table on top of the stack.  [-0, +0, m] */
void api_script_open(lua_State *L);

/* --- api/witness.c ----------------------------------------------------------------------- */

/* Append what a recording keeps of an alert that is being told.  [-0, +0, m] */
void api_witness(lua_State *L, const struct host_alert *alert, struct buf *out);

/* --- api/persist.c, api/kill.c ------------------------------------------------------------ */

/* Put persist, and kill, stop and cont, into the table on top of the stack.  [-0, +0, m] */
void api_persist_open(lua_State *L);

/* The script is unloaded: close its stores, and forget what is in them.  [-0, +0, -] */
void api_persist_forget(lua_State *L, uint32_t script);

void api_kill_open(lua_State *L);

/* --- api/match.c ------------------------------------------------------------------------- */

/* Put match into the table of `mw` on top of the stack.  [-0, +0, m] */
void api_match_open(lua_State *L);

/* --- api/file.c -------------------------------------------------------------------------- */

/* Put _values into the table of `mw` on top of the stack.  [-0, +0, m] */
void api_file_open(lua_State *L);

/* --- api/sigma.c ------------------------------------------------------------------------- */

/* Put _sigma_new and its like into the table of `mw` on top of the stack.  [-0, +0, m] */
void api_sigma_open(lua_State *L);

/* The set of rules at this index, or NULL.  [-0, +0, -] */
struct api_sigma *api_sigma_at(lua_State *L, int index);

/* Does a rule of the set fit the event? */
bool api_sigma_asks(struct api_sigma *s, const struct event *ev);

/* The policy goes, and its sets with it. */
void api_sigma_forget(struct host *h, const struct policy *policy);

/* --- api/kin.c --------------------------------------------------------------------------- */

/* Put _kin into the table of `mw` on top of the stack.  [-0, +0, m] */
void api_kin_open(lua_State *L);

/* --- api/census.c ------------------------------------------------------------------------ */

/* Put census into the table of `mw` on top of the stack.  [-0, +0, m] */
void api_census_open(lua_State *L);

/* --- api/json.c -------------------------------------------------------------------------- */

/* Append any Lua value as JSON: sequences become arrays, other tables objects with sorted keys;
 * functions, cycles and what is deeper than 16 become a string that says so.  [-0, +0, m] */
void api_json(lua_State *L, int index, struct buf *out);

#endif
