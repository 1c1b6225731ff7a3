/* junit.h - results of tests as JUnit's XML, which build servers read. */
#ifndef CLI_JUNIT_H
#define CLI_JUNIT_H

#include "moonwatch.h"

struct junit; /* opaque */

/* Create the file, so that a wrong path is known at once. 0, or -errno. */
int junit_new(struct junit **out, const char *path);
void junit_free(struct junit *j);

/* Those of a script come together. */
void junit_add(struct junit *j, const struct moonwatch_tested_case *result);

/* Write it all. 0, or -errno. */
int junit_end(struct junit *j);

#endif
