/* world.c - gives a host its timers and wakes it for its sinks, on a libev loop. See world.h. */
#include "host/world.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/host.h"

#include <ev.h>
#include <stdlib.h>

static void on_alarm(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct world *w = watcher->data;
    (void)loop, (void)events;
    world_tell_time(w);
    host_flush(w->host);
}

void world_init(struct world *w, struct ev_loop *loop)
{
    *w = (struct world){ .loop = loop };
    ev_timer_init(&w->alarm, on_alarm, 0, 0);
    w->alarm.data = w;
}

void world_tell_time(struct world *w)
{
    host_clock(w->host, clock_mono_ns(), clock_real_ns());
}

void world_alarm(void *ctx, int64_t mono_ns)
{
    struct world *w = ctx;
    int64_t left_ns = mono_ns - clock_mono_ns();
    ev_timer_stop(w->loop, &w->alarm);
    if (mono_ns == INT64_MAX)
        return;
    ev_now_update(w->loop); /* a handler may have run for long: count from now */
    ev_timer_set(&w->alarm, left_ns > 0 ? (double)left_ns / (double)NS_PER_SECOND : 0, 0);
    ev_timer_start(w->loop, &w->alarm);
}

int64_t world_clock(void *ctx)
{
    (void)ctx;
    return clock_mono_ns();
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
    if (w->loop)
        ev_timer_stop(w->loop, &w->alarm);
}
