/* lint.h - what is wrong with scripts, as far as their texts tell.
 *
 * Runs lua/moonwatch/lint.lua in a state of its own and tells it what there is: the fields, the
 * questions, and the functions that the library really has. Runs nothing of what it looks at, reads
 * no file. */
#ifndef HOST_LINT_H
#define HOST_LINT_H

#include <stdbool.h>
#include <stddef.h>

struct lint; /* opaque */

enum lint_level { LINT_ERROR, LINT_WARNING, LINT_HINT };

struct lint_finding {
    int line, column; /* from 1 */
    enum lint_level level;
    const char *code, *text;
};

/* The finding is borrowed for the call; its texts may hold bytes of the script. */
typedef void lint_found(void *ctx, const struct lint_finding *finding);

/* `trusted`: scripts have all that LuaJIT has. 0, or -ENOMEM. */
int lint_new(struct lint **out, bool trusted);
void lint_free(struct lint *l);

/* Look at one text; NAME_test.lua is a test. `found` may be NULL: then only what it puts into events
 * is remembered, for the texts that come after. 0, or -ENOMEM. */
int lint_text(struct lint *l, const char *name, const char *text, size_t len, lint_found *found,
              void *ctx);

#endif
