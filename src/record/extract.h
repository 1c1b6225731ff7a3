/* extract.h - of recordings, those that matter now: a span of time, and the lives of a process, of
 * those that it stems from and of those that stem from it.
 *
 * What comes out is a recording like any other. It begins with the processes that lived when the
 * span began, and with those of the family that no fork in these recordings tells of. */
#ifndef RECORD_EXTRACT_H
#define RECORD_EXTRACT_H

#include "record/recording.h"

/* What is wanted. */
struct extract_what {
    int64_t from_ns, until_ns; /* F_TIME; until < from: no span */

    /* Its ancestors' own events, and all of its descendants', whenever. pid 0: of none. */
    struct extract_process {
        int64_t pid, starttime;
    } process, top; /* of `top` the descendants alone: of the session that `process` is in, say */
};

struct extract_result {
    uint64_t events, known, notes;
    uint64_t gaps; /* events that are missing */
};

/* From these recordings (borrowed; read from their begins on, the older ones first; what is in two
 * of them is taken once) into an empty file. 0; -ESRCH: no such process is in them; another -errno.
 */
int extract(struct recording *const *from, size_t n, const struct extract_what *what, int fd,
            struct extract_result *result);

#endif
