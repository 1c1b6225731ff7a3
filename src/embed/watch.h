/* watch.h - what the rest of embed/ asks of a watch that was not started. */
#ifndef EMBED_WATCH_H
#define EMBED_WATCH_H

#include "host/host.h"

struct moonwatch;

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

#endif
