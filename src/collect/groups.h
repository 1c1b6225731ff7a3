/* groups.h - remembers which control groups the tap's keys stand for.
 *
 * A key names one place in all hierarchies; its path is read from /proc once, by the first exec
 * that has it. */
#ifndef COLLECT_GROUPS_H
#define COLLECT_GROUPS_H

#include "event/event.h"

#define GROUPS 1024

struct groups {
    struct group {
        uint64_t key;             /* 0: free */
        char *cgroup, *container; /* owned; NULL: there is none */
    } slots[GROUPS];
    int used;
};

/* Set both fields of the box; false when the key is not known. */
bool groups_fill(const struct groups *g, uint64_t key, struct event_box *box);

/* Remember what the box says, if it says anything. Forgets all others when there are too many. */
void groups_learn(struct groups *g, uint64_t key, const struct event *ev);

void groups_free(struct groups *g);

#endif
