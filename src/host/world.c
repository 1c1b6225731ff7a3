/* world.c - gives a host its timers, on a libev loop. See world.h. */
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

void world_fini(struct world *w)
{
    while (w->timers)
        world_timer_stop(w, w->timers->id);
}
