/* output.h - where lines go: one descriptor, JSON for programs or text for people.
 *
 * Collects the lines of a batch and writes them at its end, so that a pipe sees an event at once
 * and a terminal is not written to byte by byte. */
#ifndef SINK_OUTPUT_H
#define SINK_OUTPUT_H

#include "base/buf.h"
#include "event/event.h"
#include "event/json.h"
#include "sink/view.h"

/* Memory for lines that wait to be written. Shared by processes, it outlives one that is killed:
 * the next one goes on with it. Zeroed: empty. */
#define OUTPUT_SHARED ((size_t)256 * 1024)
struct output_memory {
    uint64_t start, len; /* what waits is from `start` to `len` */
    char bytes[OUTPUT_SHARED];
};

struct output {
    int fd; /* borrowed */
    bool json;
    bool terminal; /* somebody looks at it: what scripts print is made safe */
    struct view view;
    struct buf lines;   /* owned */
    int error;          /* errno of the write that failed; then nothing is written any more */
    uint64_t unwritten; /* lines given up because of it */
    struct output_memory *shared; /* borrowed, or NULL: lines wait in `lines` */
    int lock; /* descriptor to lock while a batch is written, so that writers take turns; -1: none */
    void (*waits)(void *ctx, bool begins); /* around what may wait for the reader; or NULL */
    void *waits_ctx;
};

/* What surrounds an event. */
struct output_context {
    uint64_t boot;
    const struct event *parent; /* or NULL */
    int depth;                  /* ancestors known */
    const char *labels;         /* a script's own values, a JSON object; or NULL */
    size_t labels_len;
};

/* `json` or text; text takes the width and the colour from the descriptor and from NO_COLOR. */
void output_init(struct output *o, int fd, bool json);

/* Let lines wait in `shared` (borrowed), what a predecessor left there first; `lock` as in the
 * struct. */
void output_share(struct output *o, struct output_memory *shared, int lock);

void output_free(struct output *o);

void output_heading(struct output *o);
void output_event(struct output *o, const struct event *ev, const struct output_context *context);

/* An alert about `ev` (NULL: about none). */
void output_alert(struct output *o, const struct json_alert *alert, const struct event *ev,
                  const struct output_context *context);

/* A script's own text: made safe, but for its newlines and tabs, unless it goes between lines of JSON. A
 * newline is added. */
void output_text(struct output *o, const char *text, size_t len);

/* A ready line of JSON; the newline is added. */
void output_raw(struct output *o, const char *bytes, size_t len);

/* Write what was collected. 0, or -errno (-EPIPE: the reader has gone), now and ever after. */
int output_flush(struct output *o);

#endif
