/* coverage.h - which lines, functions and handlers of scripts ran in their tests, and which could have.
 *
 * What ran is noted by a hook, by lines; what could is read from the bytecode of the same texts
 * (lua/moonwatch/coverage.lua). Code must be interpreted meanwhile: what is compiled calls no hook.
 * Knows no tests. */
#ifndef HOST_COVERAGE_H
#define HOST_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>

struct coverage; /* opaque */
struct host;
struct lua_State;
struct lua_Debug;

/* 0, or -ENOMEM. */
int coverage_new(struct coverage **out);
void coverage_free(struct coverage *c);

/* What a hook has to be called for. */
int coverage_hooks(void);

/* Note it. In the hook. */
void coverage_note(struct coverage *c, struct lua_State *L, struct lua_Debug *at);

/* A host is about to go: keep the texts of its scripts, and which of their handlers were called. */
void coverage_keep(struct coverage *c, struct host *h);

enum coverage_kind {
    COVERAGE_HANDLER,  /* `name`: of what event */
    COVERAGE_FUNCTION, /* `name`, as its text has it */
    COVERAGE_WAY,      /* from a line with a condition on to line `to`; 0: out of the function */
    COVERAGE_LINE,
};

/* A part of a script. */
struct coverage_part {
    const char *path;
    enum coverage_kind kind;
    const char *name; /* "" where it has none */
    int line, to;
    uint64_t runs;
    bool reached; /* WAY: its line ran */
};

/* Tell all parts of each text that was kept, in the order of kinds and lines; borrowed for the call. A
 * way is told only where there are several. 0, or -ENOMEM, also when something could not be noted. */
typedef void coverage_told(void *ctx, const struct coverage_part *part);
int coverage_tell(struct coverage *c, coverage_told *told, void *ctx);

#endif
