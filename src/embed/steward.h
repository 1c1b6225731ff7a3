/* steward.h - does for a worker what it may not do itself: the answering side of host/request.h.
 *
 * A thread of the privileged process, one for each worker, or called directly where scripts run
 * in this process. Each kind of request has one function in steward.c's table, which checks what
 * it is given: the asker runs scripts. */
#ifndef EMBED_STEWARD_H
#define EMBED_STEWARD_H

#include "base/buf.h"
#include "collect/procfs.h"

#include <stdbool.h>
#include <stdint.h>

struct signals;
struct steward; /* opaque */
struct vault;
struct keeper;

/* What the answers need; borrowed, and must outlive the steward. Read from its thread. */
struct steward_means {
    const struct procfs *proc;
    struct vault *vault;     /* NULL: nothing is kept */
    struct signals *signals; /* NULL: none is sent */
    struct keeper *keeper; /* NULL: scripts are only loaded and open nothing */
    uint32_t owner;        /* of what this worker opens: the same for the one that follows it */

    /* The path of a script; false: there is none of this id. */
    bool (*script_path)(void *ctx, uint32_t id, char *path, size_t cap);
    /* It runs code that is in this file: to be loaded anew when the hash is another. */
    void (*script_depends)(void *ctx, uint32_t id, const char *file, uint64_t hash);
    void *ctx;
};

/* 0, or -ENOMEM. */
int steward_new(struct steward **out, const struct steward_means *means);

/* The worker runs this script, by the name that it was loaded by: "@" and its path; NULL: a
 * one-liner. Before it is started or after. 0, or -ENOMEM. */
int steward_script(struct steward *s, uint32_t id, const char *name);

/* The worker has unloaded this script: what was open for it is closed. */
void steward_forget(struct steward *s, uint32_t id);

/* Serve the worker behind `fd`, one end of a stream socket (owned from now on), on a thread. 0, or
 * -errno. */
int steward_start(struct steward *s, int fd);

/* Answer here and now: request_answer's contract, with ctx a struct steward. */
int steward_answer(void *ctx, uint32_t kind, const void *bytes, size_t len, struct buf *out,
                   int *fds);

/* Hang up, wait for the thread until `patience_ns` (monotonic), free. False: it is still at something,
 * and all that it needs must stay; to be called again. NULL is fine. */
bool steward_free(struct steward *s, int64_t patience_ns);

#endif
