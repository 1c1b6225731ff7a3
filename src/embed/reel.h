/* reel.h - the recordings of one path, a file or the flight recorder's directory, read as one.
 *
 * Each file begins with who lived then; of the first one that is news, of the others it was told before.
 * Knows nothing of what happened in them. */
#ifndef EMBED_REEL_H
#define EMBED_REEL_H

#include "record/recording.h"

struct reel; /* opaque */

/* 0; -ENOENT: something there cannot be read; -ENOMEM. With one sentence in `why` unless 0. */
int reel_open(struct reel **out, const char *path, char *why, size_t cap);
void reel_close(struct reel *r);

/* As recording_next, over all files; what cannot be read any more is the end of its file. */
int reel_next(struct reel *r, struct event_box *box, uint64_t *missing);
void reel_rewind(struct reel *r);

/* Time of the first and the last event, in ns since the epoch; of the begin when there is none. */
int64_t reel_first_ns(const struct reel *r);
int64_t reel_last_ns(const struct reel *r);

/* As recording_notes, over all files. */
int reel_notes(struct reel *r, recording_visit *visit, void *ctx);

#endif
