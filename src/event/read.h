/* read.h - makes events of lines of JSON: those that we write, and those of others in ECS.
 *
 * The reverse of json.h. What a line does not say is missing in the event; what is nested may as well have a
 * name with dots. Any bytes in: a line that is no event, or whose values are of other types, costs that line
 * or that value. */
#ifndef EVENT_READ_H
#define EVENT_READ_H

#include "event/event.h"

struct reader; /* opaque: one stream of lines */

/* 0, or -ENOMEM. */
int reader_new(struct reader **out);
void reader_free(struct reader *r);

/* One line. 1: an event, *ev, and *parent is what the line says of the parent, as a snapshot, or NULL;
 * both borrowed until the next call. 0: a line about no process: an empty one,
 * another category. -EBADMSG, with a sentence in `why`. */
int reader_line(struct reader *r, const char *line, size_t len, const struct event **ev,
                const struct event **parent, char *why, size_t cap);

/* The boot that the ids of our own lines are of; 0: no line had one yet. */
uint64_t reader_boot(const struct reader *r);

#endif
