/* world.c - gives a host its timers and wakes it for its sinks, on a libev loop. See world.h. */
#include "host/world.h"

#include "base/log.h"
#include "host/host.h"

#include <ev.h>
#include <stdlib.h>

struct world_timer {
    ev_timer watcher;
    struct world_timer *next;
    struct world *world;
    int id;
};

static void due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct world_timer *timer = (struct world_timer *)watcher;
    struct host *host = timer->world->host;
    int id = timer->id;
    (void)loop, (void)events;

    if (!ev_is_active(watcher))
        world_timer_stop(timer->world, id); /* was to fire once */
    host_timer(host, id);
    host_flush(host);
}

void world_timer_start(void *ctx, int id, double after, double every)
{
    struct world *w = ctx;
    struct world_timer *timer = calloc(1, sizeof *timer);
    if (!timer) {
        log_error("no memory for a timer");
        return;
    }
    *timer = (struct world_timer){ .next = w->timers, .world = w, .id = id };
    w->timers = timer;
    ev_timer_init(&timer->watcher, due, after, every);
    ev_now_update(w->loop); /* a handler may have run for long: count from now */
    ev_timer_start(w->loop, &timer->watcher);
}

void world_timer_stop(void *ctx, int id)
{
    struct world *w = ctx;
    for (struct world_timer **at = &w->timers; *at; at = &(*at)->next) {
        struct world_timer *timer = *at;
        if (timer->id != id)
            continue;
        *at = timer->next;
        ev_timer_stop(w->loop, &timer->watcher);
        free(timer);
        return;
    }
}

/* --- what can be written to ----------------------------------------------------------------- */

struct world_io {
    ev_io watcher;
    struct world_io *next;
    struct world *world;
    int id;
};

static void writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct world_io *io = (struct world_io *)watcher;
    (void)loop, (void)events;
    host_writable(io->world->host, io->id);
}

void world_writable_start(void *ctx, int id, int fd)
{
    struct world *w = ctx;
    struct world_io *io = calloc(1, sizeof *io);
    if (!io) {
        log_error("no memory to wait for a descriptor");
        return;
    }
    *io = (struct world_io){ .next = w->ios, .world = w, .id = id };
    w->ios = io;
    ev_io_init(&io->watcher, writable, fd, EV_WRITE);
    ev_io_start(w->loop, &io->watcher);
}

void world_writable_stop(void *ctx, int id)
{
    struct world *w = ctx;
    for (struct world_io **at = &w->ios; *at; at = &(*at)->next) {
        struct world_io *io = *at;
        if (io->id != id)
            continue;
        *at = io->next;
        ev_io_stop(w->loop, &io->watcher);
        free(io);
        return;
    }
}

void world_fini(struct world *w)
{
    while (w->ios)
        world_writable_stop(w, w->ios->id);
    while (w->timers)
        world_timer_stop(w, w->timers->id);
}
