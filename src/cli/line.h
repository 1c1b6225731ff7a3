/* line.h - lines from a terminal, with history and completion, while other things happen; or from a pipe. */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

struct line; /* opaque */

/* What the reading of lines asks of who reads them. */
struct line_calls {
    void *ctx;
    /* Let the rest of the world go on until standard input can be read. False: an end is wanted. */
    bool (*wait)(void *ctx);
    /* The words that can follow `word`, one after another from `index` 0; NULL after the last. */
    const char *(*complete)(void *ctx, const char *word, int index);
};

/* `history`: a file, or NULL. NULL: no memory. */
struct line *line_new(const struct line_calls *calls, const char *history);
void line_free(struct line *l);

/* Is there a terminal to edit lines on? */
bool line_edits(const struct line *l);

/* One line without its newline, borrowed until the next; NULL: the end, or an end is wanted. `*broken`: it
 * was given up by Ctrl-C. */
const char *line_read(struct line *l, const char *prompt, bool *broken);

/* Write above the line that is being edited, if there is one. */
void line_print(struct line *l, const char *text);

/* Keep what was typed in the history. */
void line_keep(struct line *l, const char *text);

/* From a signal: what is being typed is given up. */
void line_break(struct line *l);

#endif
