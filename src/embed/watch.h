/* watch.h - what the rest of embed/ asks of a watch that was not started. */
#ifndef EMBED_WATCH_H
#define EMBED_WATCH_H

#include "embed/flight.h"
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

/* Have the flight recorder write a file. 0; -ENOENT: there is none; another -errno. */
struct watch_dump {
    const char *name; /* goes into the file's */
    double before_s, after_s;
    int64_t pid, starttime; /* whose family is kept whole; -1: nobody's */
};
int watch_dump(struct moonwatch *m, const struct watch_dump *what, flight_done *done, void *ctx);

/* --- for replays: scripts in this process, and a world that is not this machine --------------- */

struct host_world;

/* Make the host. 0, or -errno with moonwatch_error(). */
int watch_open_host(struct moonwatch *m, const struct host_world *world, uint64_t boot,
                    struct host_counts *counts, struct host **out);

/* Load the scripts into it. 0; -EINVAL: one is wrong. */
int watch_load(struct moonwatch *m);

/* Script number `index`, from 0; false after the last. Borrowed. */
bool watch_source(const struct moonwatch *m, int index, struct host_source *out);

/* As steward_answer: what may be asked without a watch. */
int watch_answer(struct moonwatch *m, enum request_kind kind, const void *bytes, size_t len,
                 struct buf *out, int *fds);

/* Keep the sentence; returns `error`. */
int watch_fail(struct moonwatch *m, int error, const char *why);
int watch_fail_output(struct moonwatch *m, int error);

/* The scripts' figures are kept, the host goes. */
void watch_end_replay(struct moonwatch *m);

/* A list that is kept for orders.c: put it, or take it with NULL. */
struct asker;
struct asker *watch_askers(struct moonwatch *m, struct asker *list);

#endif
