/* screen.h - the state of a watch and its scripts as a table. */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include "cli/value.h"

/* How wide and long it may be; 0: any. */
struct screen {
    FILE *to;
    int columns, rows;
    const char *end; /* of a line: "\n", or what clears the rest of it on a terminal */
    bool colour;
};

/* `before` is the status `seconds` earlier, for what happens in a second; NULL: means since the start.
 * Names are shown harmless: they cannot steer the terminal, nor move a column. They make theirs as wide
 * as the longest, up to 40; then, and where the screen ends, what is too long is cut. */
void screen_status(const struct screen *s, const struct value *status, const struct value *before, double seconds);

#endif
