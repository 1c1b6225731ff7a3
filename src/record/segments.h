/* segments.h - the last hours of a watch in a directory, as recordings that never take more room
 * than they may.
 *
 * Files flight-00000001.mwr and so on, each a recording that can be read alone: it begins with
 * every process that lived then. The oldest is removed when a new byte would be one too many; those
 * that earlier watches left count, and go first. Touches no file of another name. */
#ifndef RECORD_SEGMENTS_H
#define RECORD_SEGMENTS_H

#include "record/recording.h"

#define SEGMENTS_LEAST ((uint64_t)4 * 1024 * 1024)
#define SEGMENTS_MOST  256 /* files: those of many short watches are all open in who reads them */

struct segments; /* opaque */

/* Tell `sink` of every living process, as a snapshot. */
typedef void segments_known(void *ctx, void (*sink)(void *to, const struct event *ev), void *to);

/* Begin in the directory `dir` (borrowed), `total` bytes at most. Of `head`, the clocks are read
 * anew for each file. `known` is called from here and from segments_flush only: what tells of
 * processes may be in the midst of an event else. 0; -EBUSY: another watch writes there; -EINVAL:
 * less than SEGMENTS_LEAST; another -errno. */
int segments_open(struct segments **out, int dir, uint64_t total, const struct recording_head *head,
                  segments_known *known, void *ctx);

/* As recording_event and its like. A disk that is full, or worse, costs what would be written
 * meanwhile. */
void segments_event(struct segments *s, const struct event *ev);
void segments_note(struct segments *s, const struct recording_note *note);
void segments_gap(struct segments *s, uint64_t events);

/* Write what waits; go on to the next file when this one is large enough. About once a second, not
 * while an event is told. */
void segments_flush(struct segments *s);

/* `events`: with those that each file begins with; `bytes`: of all files there. */
struct recording_counters segments_count(const struct segments *s);

/* Write what waits, and free. 0, or -errno of what could not be written. */
int segments_close(struct segments *s);

/* --- reading ---------------------------------------------------------------------------------- */

struct segments_list {
    char **path; /* owned, as are the texts; the oldest first */
    size_t len;
};

/* The files in this directory. 0, or -errno; none is 0, too. */
int segments_list(const char *directory, struct segments_list *out);
void segments_list_free(struct segments_list *list);

#endif
