/* world.h - gives a host the time and wakes it for its sinks, on a libev loop.
 *
 * The one place in host/ besides the worker that knows of libev, so that scripts' timers work the
 * same in the worker and in an embedder's loop. */
#ifndef HOST_WORLD_H
#define HOST_WORLD_H

#include <ev.h>
#include <stdint.h>

struct host;
struct world_io;

struct world {
    struct ev_loop *loop; /* borrowed */
    struct host *host;    /* borrowed; set before the alarm goes off */
    ev_timer alarm;
    struct world_io *ios; /* owned list */
};

void world_init(struct world *w, struct ev_loop *loop);

/* Tell the host what time it is: before scripts are loaded, and before what is no event. */
void world_tell_time(struct world *w);

/* As host_world's functions want them; ctx is a struct world. */
void world_alarm(void *ctx, int64_t mono_ns);
int64_t world_clock(void *ctx);

void world_writable_start(void *ctx, int id, int fd);
void world_writable_stop(void *ctx, int id);

/* Nothing goes off any more. Zeroed: nothing to do. */
void world_fini(struct world *w);

#endif
