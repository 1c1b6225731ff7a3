/* programs.h - which path a program's file (device, inode) had when it was last seen.
 *
 * For processes that were gone before their link was read: taskstats names their file by number.
 * A fixed table; what collides is replaced. */
#ifndef COLLECT_PROGRAMS_H
#define COLLECT_PROGRAMS_H

#include <stddef.h>
#include <stdint.h>

#define PROGRAMS         512
#define PROGRAM_PATH_MAX 240 /* longer ones are not remembered */

struct programs {
    struct program {
        uint64_t dev, inode; /* inode 0: free */
        size_t len;
        char path[PROGRAM_PATH_MAX];
    } slots[PROGRAMS];
};

void programs_learn(struct programs *p, uint64_t dev, uint64_t inode, const char *path, size_t len);

/* NULL when it is not known. Borrowed until the next learn; no NUL at its end. */
const char *programs_find(const struct programs *p, uint64_t dev, uint64_t inode, size_t *len);

#endif
