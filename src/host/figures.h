/* figures.h - the live figures of a watch, as mw.stats() tells them.
 *
 * The collector's side posts them with each batch; in a worker they come through memory that it can
 * only read, so a script cannot make the watch look better than it is to the others. */
#ifndef HOST_FIGURES_H
#define HOST_FIGURES_H

#include <stdint.h>

struct figures {
    uint64_t events;    /* told by the kernel */
    uint64_t lost;      /* by the kernel, proved by its counters */
    uint64_t inferred;  /* made by comparing with /proc after a loss */
    uint64_t forged;    /* messages rejected because the kernel did not send them */
    uint64_t execs;     /* seen, and how many of them with each name */
    uint64_t exe, args, comm;
    uint64_t exe_asked, args_asked; /* execs of which somebody needed to know it */
    uint64_t processes; /* alive now */
    uint64_t evicted;   /* table entries dropped to stay inside the bound */
    uint64_t unheard;   /* records of other sources that found no room: costs names */
    uint64_t buffer_bytes;  /* receive buffer granted by the kernel */
    uint64_t fill_permille; /* of it, at the last look */

    /* known to the reading side alone, 0 when posted */
    uint64_t missed;           /* records that the scripts were too slow for */
    uint64_t backlog_permille; /* of the memory between collector and scripts */
};

#define FIGURES_WORDS (sizeof(struct figures) / sizeof(uint64_t))

#endif
