/* source.h - the texts of what a script is made of, to show the line that an error is about.
 *
 * Knows texts and lines; where an error arose it is told. What it appends cannot steer a terminal
 * or begin a line of its own: it is one line, begun by a tab as those of a traceback are. */
#ifndef HOST_SOURCE_H
#define HOST_SOURCE_H

#include "base/buf.h"

struct source;

/* Keep a copy of a chunk's text under its name ("@/etc/moonwatch/web.lua") in front of `list`. 0,
 * or -ENOMEM. */
int source_add(struct source **list, const char *name, const char *text, size_t len);
void source_free(struct source **list);

/* Each text that is kept, the last one first; borrowed for the call. */
typedef void source_visit(void *ctx, const char *name, const char *text, size_t len);
void source_each(const struct source *list, source_visit *visit, void *ctx);

/* The name of the chunk that was kept first, the script's own; NULL: none. */
const char *source_first(const struct source *list);

/* Is the chunk of this name kept? */
bool source_has(const struct source *list, const char *name);

/* Append "\n\t12 | the line" when the chunk is kept and has this line. Returns whether it did. */
bool source_show(const struct source *list, const char *name, int line, struct buf *out);

/* A line of a text without its end, borrowed; NULL when there is no such line. */
const char *source_line(const char *text, size_t len, int line, size_t *wide);

/* A part of a line as a terminal may show it: tabs are four blanks, and what steers is shown. Cut
 * when it is long. */
void source_add_shown(struct buf *out, const char *line, size_t len);

/* The same for a text that is not (yet) kept. */
bool source_show_line(const char *text, size_t len, int line, struct buf *out);

/* The line that a message of the compiler names, for a chunk of this name; 0: none. */
int source_line_of(const char *name, const char *message);

/* The line of the last `return` that begins a line; 0: none. What it calls at once has no place of
 * its own in a traceback: `return mw.script { ... }` is a tail call. */
int source_return_line(const char *text, size_t len);

/* "@/etc/moonwatch/web.lua" -> "web", as it is: its length, and where in `name` it begins. */
size_t source_stem_in(const char *name, const char **stem);

/* The same for people, in `to`: at most cap - 1 bytes, control characters as '?'. */
void source_stem(const char *name, char *to, size_t cap);

#endif
