/* ahead.h - reads /proc at each exec at once, while all other messages wait to be read in batches.
 *
 * A second socket of the connector that lets only execs through: being woken for each of them is
 * what names short processes, being woken for nothing else is what makes it cheap. What it read
 * is found by the stamp of the message, which is the same in both sockets. When a process execs
 * twice in a row, a reading that may have seen the second image is not believed. Needless with
 * the tap, which cannot be late. */
#ifndef COLLECT_AHEAD_H
#define COLLECT_AHEAD_H

#include "collect/notes.h"
#include "collect/netlink.h"
#include "collect/procfs.h"

/* The kind of its notes. */
enum { AHEAD_NOTES = 3 };

struct ahead {
    struct netlink netlink;
    const struct procfs *fs; /* borrowed */
    struct notes *notes;     /* borrowed */
    uint64_t needs;          /* fields to read: FIELD(ARGS) | ... */
    bool behind;             /* there are more execs queued than were read of in one turn */
    uint64_t doubtful;       /* reads that may have seen the next image of the process */
    struct event_box box;
};

/* 0, or -errno. Caller's storage. */
int ahead_open(struct ahead *a, const struct procfs *fs, struct notes *notes, int buffer_bytes);
void ahead_close(struct ahead *a);

/* Read of every process whose exec is queued. */
void ahead_read(struct ahead *a);

/* Did this process exec again after this moment, as far as is known now? */
bool ahead_doubts(struct ahead *a, int pid, int64_t mono_ns);

/* Set the `wanted` fields of the exec at this stamp from what was read then; returns those of which
 * nothing was read. */
uint64_t ahead_fill(struct ahead *a, int pid, int64_t mono_ns, uint64_t wanted,
                    struct event_box *box);

#endif
