/* remark.h - tells remarks about a text, each with the line that it is about. */
#ifndef EMBED_REMARK_H
#define EMBED_REMARK_H

#include "moonwatch.h"

#include "base/buf.h"

struct remarker {
    moonwatch_remarked *remarked;
    void *ctx;
    struct buf text, source, json; /* owned: reused */
};

/* Of which text; `text` NULL: it could not be read. */
struct remark_about {
    const char *path, *text;
    size_t len;
};

/* What is said may hold what the text holds: it is made harmless. */
void remark_tell(struct remarker *r, const struct remark_about *about, int line, int column,
                 enum moonwatch_level level, const char *code, const char *text);

void remark_free(struct remarker *r);

#endif
