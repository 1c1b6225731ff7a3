/* tape.h - what came to the scripts besides events, as a recording has it, handed out again.
 *
 * Answers are found by their question: the one that was given at the same record, else the last one
 * before it, else the first one after. Knows no host and no Lua. */
#ifndef EMBED_TAPE_H
#define EMBED_TAPE_H

#include "record/recording.h"

struct tape; /* opaque */

/* 0, or -ENOMEM. */
int tape_new(struct tape **out);
void tape_free(struct tape *t);

/* Take the notes of a recording: 0, or -errno. */
int tape_read(struct tape *t, struct recording *r);

/* The number of the host whose notes these are, of those that had scripts: the first one; -1: no scripts ran. */
int tape_group(const struct tape *t);

/* Was this script loaded there, before the first record? `loaded` of them were, in all. */
bool tape_has_script(const struct tape *t, const char *stem, uint64_t hash, int *loaded);

/* The next note of the first host that is a tick, a step of a storm or a loss, and that came before the record
 * `seq`; NULL: there is none. Borrowed. */
const struct recording_note *tape_next(struct tape *t, uint64_t seq);

/* An answer; NULL: nothing like it was asked. `exact` is set when it was given at this very record and is
 * taken now: the next one to the same question is another. */
const struct recording_note *tape_answer(struct tape *t, unsigned what, const void *question, size_t len,
                                         uint64_t seq, bool *exact);

/* Visit the alerts, in order. */
void tape_alerts(const struct tape *t, recording_visit *visit, void *ctx);

#endif
