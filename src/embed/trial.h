/* trial.h - a short watch of our own over processes of our own: are they named in time?
 *
 * For the doctor. In a child, because a watch raises the priority of its process. */
#ifndef EMBED_TRIAL_H
#define EMBED_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

struct trial {
    uint32_t started;               /* processes that ran a program and ended at once */
    uint32_t seen, exe, args, comm; /* their execs, and how many with each name */
    uint64_t lost;                  /* events, by the kernel, in this watch */
    char error[256];                /* "" when the watch could start */
};

/* Start `count` processes under a watch and wait until all of them have been told of, or for ten
 * seconds. 0, or -errno when there could be no trial at all. */
int trial_run(int count, struct trial *out);

#endif
