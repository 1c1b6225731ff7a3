/* queue.h - records on their way to a slow reader, in memory that outlives who fills it.
 *
 * One process at a time fills and empties it. It may die at any instruction: the next one attaches
 * and goes on, with whole records only and with exact counts. That works because every change is
 * one: the positions and counts are kept twice, the new ones are written beside the valid ones,
 * and one store makes them valid. Nothing that is found in the memory is trusted.
 *
 * The one thing that no memory can tell is whether the kernel had taken bytes from a process that
 * died before it heard so: what was being written then is *in doubt*. For a file its size tells;
 * for anything else the records are written again, and counted. */
#ifndef SINK_QUEUE_H
#define SINK_QUEUE_H

#include "sink/spec.h"

#include <stdbool.h>
#include <sys/uio.h>

/* A figure for people, since the memory was made. */
struct queue_counts {
    uint64_t sent;     /* records written whole */
    uint64_t dropped;  /* given up because there was no room, or because nobody could take them */
    uint64_t doubtful; /* may have been written twice, see above */
    uint64_t queued;   /* wait in memory */
    uint64_t spooled;  /* wait on disk */
};

struct queue_state {
    uint64_t head, tail;             /* of the records, in bytes since ever */
    uint64_t spool_head, spool_tail; /* the same in the spool */
    uint64_t flight_len, flight_at;  /* the record that is written in parts: its bytes, and the next
                                        one; length 0: none */
    uint64_t intent, before;         /* bytes being written, and the file's size before that */
    uint64_t sent, dropped, doubtful, queued, spooled;
    uint64_t told; /* of the dropped ones */
};

struct queue {
    struct queue_shared *shared; /* owned mapping */
    char *data;                  /* owned mapping, twice in a row: no record is torn at the end */
    char *flight;                /* owned mapping */
    uint64_t size;
    struct queue_state now; /* as it is valid in the memory */
    enum sink_full full;
    int spool; /* borrowed; -1: none */
    uint64_t spool_size;
};

/* The privileged side: memory for a queue of so many bytes (a power of two, SPEC_QUEUE_MIN at
 * least), empty, of a size that nobody can change any more. A descriptor, or -errno. */
int queue_make(uint64_t size);

/* Go on with what is there. `spool` is a file of at most `spool_size` bytes, -1 and 0 without one.
 * 0; -EBADMSG when the memory did not hold a queue's state: it is then empty and usable, but what
 * it held is lost; another -errno: no queue. */
int queue_attach(struct queue *q, int fd, uint64_t size, enum sink_full full, int spool,
                 uint64_t spool_size);
void queue_detach(struct queue *q);

/* For who does not trust those that have the descriptor, and who may write there at any time: a
 * copy that only the caller has, to attach instead. A descriptor, or -errno. */
int queue_copy(int fd, uint64_t size);

/* The figures alone, without a look at the records; all 0 when there are none. */
struct queue_counts queue_peek(int fd);

/* Append one record. False when a record was dropped for it, this one or an older one; the count
 * tells how many. */
bool queue_push(struct queue *q, const void *bytes, size_t len);

/* Would it find room in memory as it is? */
bool queue_has_room(const struct queue *q, size_t len);

bool queue_is_empty(const struct queue *q);
struct queue_counts queue_count(const struct queue *q);

/* Nothing waits on disk, and yet the spool takes room there: who may cut it can do so now. */
bool queue_holds_disk(const struct queue *q);

/* How many were dropped since this was asked last, by whichever process. */
uint64_t queue_take_untold(struct queue *q);

/* Is a record begun and not finished? */
bool queue_is_within_record(const struct queue *q);

/* --- writing it out ---------------------------------------------------------------------- */

/* What comes next: the rest of a record begun, and whole records after it, as long as all fit into
 * `most` bytes and `cap` parts; a first record that is longer comes in part. Returns how many
 * parts. */
int queue_next(const struct queue *q, struct iovec *parts, int cap, size_t most);

/* About to write `n` bytes of that; `before` is the file's size (0 where it has none). Then say how
 * many were written. */
void queue_intend(struct queue *q, size_t n, uint64_t before);
void queue_wrote(struct queue *q, size_t n);

/* Was somebody writing who did not live to say how much? Settle it: `before` and a size now tell
 * for a file (pass true), else the records are written again, one that was begun after a newline.
 */
bool queue_in_doubt(const struct queue *q);
void queue_settle(struct queue *q, bool is_file, uint64_t size_now);

/* The record that is written in parts is to be written from its beginning: its reader is a new one.
 */
void queue_restart(struct queue *q);

/* Nobody can take the first record: give it up. */
void queue_drop_first(struct queue *q);

#endif
