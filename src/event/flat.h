/* flat.h - reads a JSON object as a flat list of names and texts.
 *
 * For lines of events that other programs, or we ourselves, have written. What is nested gets a
 * name with dots: { "process": { "pid": 7 } } is "process.pid". A list of plain values is these
 * with blanks between them. Numbers are written in one way only, see base/number.h. */
#ifndef EVENT_FLAT_H
#define EVENT_FLAT_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

struct flat_value {
    const char *name; /* NUL-ended */
    const char *text; /* any bytes, a NUL behind them */
    size_t len;
    bool null;
};

struct flat {
    struct arena arena; /* owned */
    struct flat_value *values;
    size_t len, cap;
};

/* Into a zeroed or used one, whose memory goes. 0; -EINVAL with a sentence in `why`; -ENOMEM. */
int flat_read(struct flat *f, const char *json, size_t len, char *why, size_t cap);

/* The first value of this name, or NULL. */
const struct flat_value *flat_get(const struct flat *f, const char *name);

void flat_free(struct flat *f);

#endif
