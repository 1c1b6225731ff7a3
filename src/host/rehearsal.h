/* rehearsal.h - a script and made-up events: does it tell what its author expects?
 *
 * In this process, with the same host that a watch has, but little of a world around it: only files
 * beside the script can be asked for, and the time is that of the events. Commands are run by who is
 * asked to, and what was told of them is played afterwards. Each test has a host of its own, and ends:
 * neither time nor memory is without a bound. */
#ifndef HOST_REHEARSAL_H
#define HOST_REHEARSAL_H

#include "base/buf.h"
#include "host/coverage.h"
#include "host/request.h"

struct recording;

/* A file: its name as in "@path", and its text. */
struct rehearsal_text {
    const char *name, *text;
    size_t len;
};

/* One test has ended; borrowed for the call. */
struct rehearsal_result {
    const char *name;
    enum { REHEARSAL_PASSED, REHEARSAL_FAILED, REHEARSAL_SKIPPED } verdict;
    const char *why;      /* it has not passed, or could not be run, or figures; one line each */
    const char *output;   /* what the script wrote */
    const char *commands; /* what its commands wrote */
    double seconds;     /* that it took */
};

/* Commands that a test wants to be really run. The first three are given, the rest is for who runs them. */
struct rehearsal_commands {
    char *const *const *argv; /* of each, NULL-ended */
    int len;
    double limit_s; /* for all of them together */

    int *status;         /* room for each: how it ended, 128 + the signal that ended it */
    struct buf records;  /* struct event, one after another; SNAPSHOT: an ancestor, known before */
    struct buf output;   /* what they wrote */
    struct buf refused;  /* nobody can watch them here: a sentence */
    struct buf problem;  /* they did not all come to their end, or were not seen: a sentence */
};

/* What tests need of the world around them. */
struct rehearsal_world {
    void *ctx;

    /* As host_world.request. */
    int (*request)(void *ctx, enum request_kind kind, const void *bytes, size_t len, struct buf *out,
                   int *fds);
    void (*ended)(void *ctx, const struct rehearsal_result *result);

    /* 0, or -errno. NULL: nobody can. */
    int (*run)(void *ctx, struct rehearsal_commands *commands);

    /* A recording is about to be played: who answers questions may take its notes. Then with NULL for each of
     * its records, before it is told. NULL: nobody wants to know. */
    void (*playing)(void *ctx, struct recording *r, uint64_t seq);

    struct coverage *coverage; /* where it is noted what ran; NULL: nowhere */
    double limit_s; /* of a test: then it is ended; 0: 10 */
};

/* Run each test of a file, `return { { name = ..., events = { ... }, alerts = 1 }, ... }`. How many
 * there are; or -EINVAL with a sentence in `why`: script or test are wrong as a whole; or -ENOMEM. */
int rehearse(const struct rehearsal_text *script, const struct rehearsal_text *test,
             const struct rehearsal_world *world, struct buf *why);

/* A recording in which nothing is amiss: what a script tells of it are false alarms. */
struct rehearsal_baseline {
    const char *path;
    uint64_t allow; /* so many of them */
};

/* Play it to a script, as its only test; `why` of the result has the figures in any case. 0, or -errno with a
 * sentence in `why`: the script does not load, or the recording cannot be read. */
int rehearse_baseline(const struct rehearsal_text *script, const struct rehearsal_baseline *wanted,
                      const struct rehearsal_world *world, struct buf *why);

#endif
