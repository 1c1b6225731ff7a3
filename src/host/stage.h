/* stage.h - a host that is played to: made-up events, those that commands made, or a recording.
 *
 * In this process, with little of a world around it: only what the given function answers can be asked
 * for. Time goes on with what is played, and timers are called when they are due in it. Whatever a
 * script does, it ends: neither time nor memory is without a bound. */
#ifndef HOST_STAGE_H
#define HOST_STAGE_H

#include "base/buf.h"
#include "host/coverage.h"
#include "host/host.h"

#include <lua.h>

struct recording;

struct stage {
    struct host *host;         /* owned */
    int output;                /* borrowed: where it writes, from its position on */
    struct coverage *coverage; /* borrowed, or NULL */
    void (*playing)(void *ctx, struct recording *r, uint64_t seq); /* as in rehearsal_world */
    void *ctx;
    int64_t limit_from_ns;     /* of what may take limit_s; move it where something else begins */
    double limit_s;
    bool late; /* it took longer, and was ended: nothing more is to be played */
};

/* `limit_s` 0: 10. 0, or -errno. */
struct stage_options {
    struct host_world world; /* only `request` and `ctx` */
    int output;
    struct coverage *coverage;
    void (*playing)(void *ctx, struct recording *r, uint64_t seq);
    double limit_s;
};
int stage_open(struct stage *s, const struct stage_options *options);
void stage_close(struct stage *s);

/* It is this time when the script is loaded. */
void stage_clock(struct stage *s, int64_t mono_ns, int64_t real_ns);

/* Load the script; false: `why` says why not. */
bool stage_load(struct stage *s, const char *name, const char *text, size_t len, struct buf *why);

/* Call the function below its `args` arguments on the stack, which is no script's, within the same bounds.
 * False: a message takes the place of the results.  [-(args + 1), +(results|1), -] */
bool stage_call(struct stage *s, int args, int results);

/* Let the time pass until this event, and tell it. */
void stage_play(struct stage *s, const struct event *ev);

/* What a recording holds. */
struct stage_played {
    uint64_t events, execs, missing;
};

/* The time at which it begins; 0, or -errno with a sentence in `why`. */
int stage_begin_recording(struct stage *s, const char *path, struct buf *why);

/* Play all of it. `each_limited`: each event may take as long as all together otherwise. The same. */
int stage_play_recording(struct stage *s, const char *path, bool each_limited, struct stage_played *out,
                         struct buf *why);

/* At most a megabyte of what it wrote. */
void stage_read_output(struct stage *s, struct buf *to);

/* Where it was when its time was over: "web.lua:3: it was ended: it takes more than 10 s". */
void stage_say_late(const struct stage *s, struct buf *why);

#endif
