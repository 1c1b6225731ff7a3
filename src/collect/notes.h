/* notes.h - what was learnt of an exec or an end before the connector's message of it is read.
 *
 * The tap and the reader that runs ahead write here, in their order; the collector takes out by
 * process when the message comes. A bounded queue of bytes: what nobody claims is pushed out by
 * what is new. Knows not what the bytes mean. */
#ifndef COLLECT_NOTES_H
#define COLLECT_NOTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct notes; /* opaque */

/* The pages are not touched before they are used. NULL when there is no memory. */
struct notes *notes_new(size_t bytes);
void notes_free(struct notes *f);

/* Add a copy of `len` bytes (NULL: to be filled in) about process `pid`, learnt at `mono_ns`.
 * Pushes out the oldest when there is no room. Returns the copy's place, aligned to 8 and valid
 * until the next put; NULL when `len` is more than a quarter of the queue. */
void *notes_put(struct notes *f, int kind, int pid, int64_t mono_ns, const void *bytes, size_t len);

/* The newest that was learnt of this kind and process at `mono_ns` or before; the older ones of
 * them go too. Borrowed until the next put; NULL: there is none. */
const void *notes_take(struct notes *f, int kind, int pid, int64_t mono_ns, size_t *len);

/* The same without taking it. */
void *notes_find(struct notes *f, int kind, int pid, int64_t mono_ns, size_t *len);

/* Was something of this kind and process learnt after `mono_ns`? */
bool notes_newer(struct notes *f, int kind, int pid, int64_t mono_ns);

/* Forget what was learnt before this moment. */
void notes_expire(struct notes *f, int64_t before_ns);

/* How many were pushed out or expired, claimed by nobody. */
uint64_t notes_unclaimed(const struct notes *f);

#endif
