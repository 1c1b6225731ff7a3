/* flight.h - the flight recorder of a watch: where its segments lie, and the files that are cut out of
 * them when somebody asks.
 *
 *   STATE_DIR/flight/flight-N.mwr   the last hours, the oldest one makes room
 *   STATE_DIR/dumps/TIME-NAME.mwr   what was asked for; the oldest of DUMPS_KEPT makes room
 *
 * One watch at a time: who comes second records nothing. */
#ifndef EMBED_FLIGHT_H
#define EMBED_FLIGHT_H

#include "embed/recorder.h"

struct flight; /* opaque */

#define FLIGHT_DUMPS_KEPT 64

/* Make the directories, take the lock. 0; or -errno with one sentence in `why`: -EBUSY: another watch
 * has it. */
int flight_open(struct flight **out, const char *state_dir, char *why, size_t cap);

/* Of the segments; borrowed. */
int flight_dir(const struct flight *f);

/* `error` 0: the file at `path` is written; else why not. */
typedef void flight_done(void *ctx, int error, const char *path);

/* Have the recorder write a dump; `name` goes into the file's name. `done` is told, or never when the
 * watch ends before. 0, or -errno. */
int flight_dump(struct flight *f, struct recorder *recorder, const char *name,
                struct recorder_dump dump, flight_done *done, void *ctx);

/* The recorder is done with this one. */
void flight_dumped(struct flight *f, uint32_t number, int error);

/* NULL is fine. */
void flight_close(struct flight *f);

#endif
