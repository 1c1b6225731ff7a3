/* watch.h - what the rest of embed/ asks of a watch that was not started. */
#ifndef EMBED_WATCH_H
#define EMBED_WATCH_H

#include "host/host.h"
#include "moonwatch.h"

/* What a start would ask the collector for, and each script's share. */
struct watch_wants {
    uint32_t kinds;
    bool threads;
    uint64_t needs;
    struct host_script *scripts; /* owned by the caller: free() */
    int scripts_len;
};

/* Load the scripts as moonwatch_start does, but open no socket and let none of them handle
 * anything. 0, or -errno with moonwatch_error(). The watch cannot be started any more. */
int watch_wants(struct moonwatch *m, struct watch_wants *wants);

/* Parts of a watch, borrowed. */
struct crew;
struct shelf;
struct crew *watch_crew(const struct moonwatch *m);
struct shelf *watch_shelf(const struct moonwatch *m);
const struct moonwatch_options *watch_options(const struct moonwatch *m);
double watch_uptime_s(const struct moonwatch *m);

/* Ask for the figures of the scripts with their memory; `done` is told, and with it whoever asked
 * through moonwatch_ask_scripts meanwhile. */
void watch_ask(struct moonwatch *m, void (*done)(void *ctx), void *ctx);

/* A list that is kept for orders.c: put it, or take it with NULL. */
struct asker;
struct asker *watch_askers(struct moonwatch *m, struct asker *list);

#endif
