/* sink.h - the unprivileged side: writes a queue's records to what was opened for it.
 *
 * Never waits: says when it could go on and what it needs of the privileged side. A record is
 * written whole or not at all as far as any reader can tell; what cannot be written now stays in
 * the queue, whose policy decides what gives way, and every loss is counted and told. */
#ifndef SINK_SINK_H
#define SINK_SINK_H

#include "sink/keeper.h"
#include "sink/queue.h"

struct sink; /* opaque */

/* What a turn of writing ended with. */
enum sink_turn {
    SINK_DONE,  /* nothing waits */
    SINK_MORE,  /* more, when sink_fd can be written to */
    SINK_LATER, /* more, but not before sink_retry_ns */
    SINK_ASKS,  /* ask the keeper to tend it: sink_asks says what; then write again */
};

/* Take what keeper_open or keeper_adopt gave: `n` descriptors, owned from now on whatever comes of
 * it. 0, or -errno. */
int sink_open(struct sink **out, const struct sink_spec *spec, const struct keeper_answer *answer,
              const int *fds, int n);
void sink_close(struct sink *s);

/* Queue one record: a line with its newline, or a datagram's bytes. */
void sink_push(struct sink *s, const void *bytes, size_t len);

/* Would a push find room without anything giving way? */
bool sink_has_room(const struct sink *s, size_t len);

/* Write for a turn. */
enum sink_turn sink_write(struct sink *s, int64_t now_ns);

/* What it asks for, and what came of it: `fd` is the new target (owned from now on) or -1. */
enum keeper_what sink_asks(const struct sink *s);
void sink_tended(struct sink *s, const struct keeper_answer *answer, int fd, int64_t now_ns);

/* Once a second: is the keeper to be asked for KEEPER_EMPTY? What comes of that it need not hear. */
bool sink_holds_disk(const struct sink *s);

/* Once a second: tell the operator what was dropped. */
void sink_tell(struct sink *s);

struct sink_counts {
    struct queue_counts records;
    uint64_t errors; /* writes that failed, and tries to open anew that did */
};
struct sink_counts sink_count(const struct sink *s);

bool sink_is_empty(const struct sink *s);
int sink_fd(const struct sink *s); /* borrowed; -1: none now */
int64_t sink_retry_ns(const struct sink *s);
uint32_t sink_id(const struct sink *s);
const struct sink_spec *sink_spec(const struct sink *s);
const char *sink_name(const struct sink *s);

#endif
