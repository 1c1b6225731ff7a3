/* family.h - the processes around one, and what happened to them, folded from records.
 *
 * Told first who its ancestors were, then every record of a recording in order, it keeps what belongs to
 * the story: these processes, and all that descend from the nearest of them that ran before. Who is who is
 * decided by the forks, not by pids alone, which are used again. Bounded: what is too much is counted.
 * Knows no file and no clock. */
#ifndef EMBED_FAMILY_H
#define EMBED_FAMILY_H

#include "event/event.h"
#include "moonwatch.h"

#define FAMILY_ANCESTORS_MOST 256

/* How many processes are kept of those that are only of the same family, and of the others. */
#define FAMILY_OTHERS_MOST        20000
#define FAMILY_OWN_MOST           100000
#define FAMILY_OTHERS_EVENTS_MOST 100000
#define FAMILY_OWN_EVENTS_MOST    500000

struct family; /* opaque */

/* NULL: no memory. `first_ns`: who was there already, and was forked before that, ran before the
 * recording began; `seq` and `seq_ns`: number and F_TIME of the event that the story is about, 0: none. */
struct family *family_new(int64_t first_ns, uint64_t seq, int64_t seq_ns);
void family_free(struct family *f);

/* Expect a process: the farthest ancestor first, then its child that is the next one, at last the one that
 * is explained. `state`: what it was at the fork of that child, or at the event; `forked_at_ns` on
 * CLOCK_MONOTONIC, 0: the fork was not recorded. */
void family_expect(struct family *f, const struct event *state, int64_t forked_at_ns);

/* Take in a record. `known`: nothing happened, it was there when the recording began. */
void family_take(struct family *f, const struct event *ev, bool known);

/* Records are missing here, so many; 0: nobody knows how many. */
void family_gap(struct family *f, uint64_t missing);

/* All is told. Borrowed until family_free; NULL: there was no memory. */
const struct moonwatch_story *family_story(struct family *f);

/* What came first took the room of what is nearer to the event? Then one that begins later can be told all
 * of it again, and has room for half before and half after. NULL: no memory. */
bool family_crowded(const struct family *f);
struct family *family_nearer(const struct family *crowded);

#endif
