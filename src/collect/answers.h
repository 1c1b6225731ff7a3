/* answers.h - answers questions about one living process at any length.
 *
 * The half of the /proc reading that scripts ask for: it allocates, it may take milliseconds (a
 * socket table of a busy server), and so it never runs between two kernel events. An answer is
 * rows of cells as topics.def lists them, in bytes that can cross a socket or go into a recording.
 */
#ifndef COLLECT_ANSWERS_H
#define COLLECT_ANSWERS_H

#include "base/buf.h"
#include "collect/procfs.h"

enum topic {
#define TOPIC(NAME, ...) TOPIC_##NAME,
#define COLUMN(...)
#include "collect/topics.def"
#undef TOPIC
#undef COLUMN
    TOPICS
};

struct topic_column {
    const char *name;
    enum event_type type; /* TYPE_INT, TYPE_BOOL, TYPE_SPAN (ns) or TYPE_TEXT */
    const char *unit, *doc;
};

struct topic_info {
    const char *name; /* also the name of the method in Lua */
    bool rows;        /* an array of tables; else one table */
    const char *doc;
    const struct topic_column *columns;
    int columns_len;
};
extern const struct topic_info topics[TOPICS];

/* TOPICS when there is no such topic. */
enum topic topic_named(const char *name);

/* Append the answer's rows to `out`. `starttime` as in procfs_fill; checked before the first and
 * after the last read. Returns 0; -ESRCH when the process is gone or another; -EACCES when
 * reading is not permitted; -ENOMEM; another -errno. On failure `out` is as it was. */
int answers_read(const struct procfs *fs, int pid, int64_t starttime, enum topic topic,
                 struct buf *out);

/* Reading an answer back. A cell is a u32 length (ANSWER_NIL: no value) and that many bytes in the
 * machine's order: 8 for TYPE_INT, TYPE_SPAN and TYPE_BOOL. */
#define ANSWER_NIL UINT32_MAX

struct answer_cell {
    bool nil;
    int64_t num;       /* INT, SPAN, BOOL */
    const char *bytes; /* TEXT: borrowed from the answer */
    size_t len;
};

/* Take the next cell of type `type` from *at. False at the end, or when the bytes are not a whole
 * cell (then *at stays where it is, before `end`). */
bool answer_next(const char **at, const char *end, enum event_type type, struct answer_cell *out);

#endif
