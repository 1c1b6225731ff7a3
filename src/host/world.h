/* world.h - gives a host its timers and wakes it for its sinks, on a libev loop.
 *
 * The one place in host/ besides the worker that knows of libev, so that scripts' timers work the
 * same in the worker and in an embedder's loop. */
#ifndef HOST_WORLD_H
#define HOST_WORLD_H

struct ev_loop;
struct host;
struct world_timer;
struct world_io;

struct world {
    struct ev_loop *loop;       /* borrowed */
    struct host *host;          /* borrowed; set before the first timer is due */
    struct world_timer *timers; /* owned list */
    struct world_io *ios;       /* owned list */
};

/* As host_world's functions want them; ctx is a struct world. */
void world_timer_start(void *ctx, int id, double after, double every);
void world_timer_stop(void *ctx, int id);

void world_writable_start(void *ctx, int id, int fd);
void world_writable_stop(void *ctx, int id);

void world_fini(struct world *w);

#endif
