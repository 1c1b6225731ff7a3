/* covered.h - what of scripts ran in their tests: a summary for people, and a file for lcov's tools. */
#ifndef CLI_COVERED_H
#define CLI_COVERED_H

#include "moonwatch.h"

struct covered; /* opaque */

/* `path`: where what lcov's tools read goes; NULL: nowhere. 0, or -errno. */
int covered_new(struct covered **out, const char *path);
void covered_free(struct covered *c);

/* A moonwatch_covered with the above as `ctx`: files are summed up on standard output as comments of TAP. */
void covered_take(void *ctx, const struct moonwatch_covered_part *part);

/* The last file is summed up, the other one written. 0, or -errno: it could not be. */
int covered_end(struct covered *c);

#endif
