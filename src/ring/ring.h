/* ring.h - carries records from the one writer to its readers through shared memory.
 *
 * The writer never waits: what a reader does not take in time is overwritten, and that reader is
 * told exactly how many records it missed. A reader's cursor lives in the shared memory and moves
 * on when a record is done with, so a process that takes a dead reader's place gets first what the
 * dead one had in its hands. The memory is shared by fork: create before, use after. Knows nothing
 * of where records come from. */
#ifndef RING_RING_H
#define RING_RING_H

#include "event/event.h"

#define RING_READERS 9
#define RING_BOARD 20 /* words */
#define RING_WORDS 8

struct ring; /* opaque */

struct ring_counters {
    uint64_t records, bytes; /* written in all */
};

/* `bytes` of room, rounded up to a power of two of at least 4 * EVENT_MAX. 0, or -errno. */
int ring_new(struct ring **out, size_t bytes);

/* In a process that only reads, after the fork: give up writing the records for good (the memory
 * is sealed, so it cannot be taken back) and the cursors of the others. Its own stays writable. 0,
 * or -errno: stop then. */
int ring_read_only(struct ring *r, int reader);

/* Unmap; the memory goes with the last process that has it. */
void ring_free(struct ring *r);

/* --- writing -------------------------------------------------------------------------- */

/* Append one record; numbers it (F_SEQ, gap-free from 1). Readers see it at once. */
void ring_write(struct ring *r, struct event_box *box);

/* Wake the readers that sleep. Once per batch. */
void ring_flush(struct ring *r);

/* No record will follow; readers drain and then get -EPIPE. */
void ring_finish(struct ring *r);

/* Put these words (at most RING_BOARD) where readers see them beside the records; what they mean is
 * between writer and reader. */
void ring_post(struct ring *r, const uint64_t *words, size_t n);

/* The record that the next ring_write will number. */
uint64_t ring_next_seq(const struct ring *r);

struct ring_counters ring_count(const struct ring *r);

/* --- reading -------------------------------------------------------------------------- */

/* Descriptor that becomes readable after ring_flush while `reader` slept; borrowed. */
int ring_reader_fd(const struct ring *r, int reader);

/* Start `reader` (0..RING_READERS-1) at the next record that is written. */
void ring_reader_start(struct ring *r, int reader);

/* In a process that takes a dead reader's place: go on where its cursor is. */
void ring_reader_resume(struct ring *r, int reader);

/* Let `reader` stand where `leader` stands, with its words. */
void ring_reader_follow(struct ring *r, int leader, int reader);

/* RING_WORDS words beside the cursor of `reader`, for it to tell the writer something; what they
 * mean is between the two. */
_Atomic uint64_t *ring_words(struct ring *r, int reader);

/* Take the next record into the box; the one before it is done with. Returns 1; 0 when there is none (the reader now counts as
 * asleep: wait for its descriptor); -EOVERFLOW when records were overwritten, *missed says how
 * many (call again); -EPIPE at the end; -EBADMSG when what is there is no record. */
int ring_read(struct ring *r, int reader, struct event_box *box, uint64_t *missed);

/* For a reader that looks when it likes, and never reads to the end: its descriptor becomes readable
 * after a ring_flush with which its backlog is `part` of the ring, or when no record will follow. */
void ring_rest(struct ring *r, int reader, double part);

/* What was read last is done with, though no next one is asked for. */
void ring_done(struct ring *r, int reader);

/* The words of the last ring_post, all of the same one; zeros before it. */
void ring_posted(const struct ring *r, uint64_t *words, size_t n);

/* How many bytes wait for this reader; for back-pressure figures. */
uint64_t ring_waiting(const struct ring *r, int reader);

/* The same as a part of the ring: from 1 on, records are being missed. */
double ring_backlog(const struct ring *r, int reader);

#endif
