/* groups.h - remembers which control groups the tap's keys stand for.
 *
 * A key names one place in all hierarchies; its path is read from /proc by the first execs that
 * have it. One of them may have been moved before it was read, so two must agree. */
#ifndef COLLECT_GROUPS_H
#define COLLECT_GROUPS_H

#include "event/event.h"

#define GROUPS 1024

struct groups {
    struct group {
        uint64_t key;             /* 0: free */
        bool sure;                /* two agreed */
        char *cgroup, *container; /* owned; NULL: there is none */
    } slots[GROUPS];
    int used;
};

/* Set both fields of the box; false when what the key stands for is not sure. */
bool groups_fill(const struct groups *g, uint64_t key, struct event_box *box);

/* Remember what the box says, if it says anything. Forgets all others when there are too many. */
void groups_learn(struct groups *g, uint64_t key, const struct event *ev);

void groups_free(struct groups *g);

#endif
