/* frame.h - makes a record of what a script sends to a sink: JSON, text by a template, syslog,
 * journald.
 *
 * What a process put into its name or arguments cannot look like another line or field, nor reach a
 * terminal as an escape: in text it is made safe as in view.h, in JSON as in json.h, and journald
 * gets it with its length. */
#ifndef SINK_FRAME_H
#define SINK_FRAME_H

#include "base/buf.h"
#include "event/event.h"
#include "event/json.h"

/* What is sent; borrowed. One of: an event, an alert about one or about none, a line of the
 * script's own, any value as ready JSON. */
struct frame_item {
    const char *script;              /* its name */
    const struct event *ev;          /* or NULL */
    const struct json_context *json; /* with the alert in it, or NULL: then `text` is all */
    const char *text;                /* its own line, or ready JSON */
    size_t text_len;
    bool is_json; /* the text is */
};

/* A text with the names of what is put in: "{time} {severity} {script}: {exe} {cmdline}". */
struct frame; /* opaque */

/* What {script}: {text} of these is. */
#define FRAME_LOG "{script}: {text}"

/* Each name must be a field of events, of their parent ("parent.comm"), or one of time, severity,
 * script, text, key, tags, held, json; "{{" is a brace. 0; -EINVAL with a sentence in `why` (256
 * bytes); -ENOMEM. */
int frame_parse(struct frame **out, const char *text, size_t len, char *why);
void frame_free(struct frame *f);

/* The fields that a template looks at, FIELD(...) bits of the event. */
uint64_t frame_needs(const struct frame *f);

/* Look up once what a worker may not ask for later: the name of this host. */
void frame_begin(void);

/* Each appends a record to `out`. The first two have no newline in or after them; `f` NULL is
 * JSON. */
void frame_line(struct buf *out, const struct frame *f, const struct frame_item *item);

/* RFC 5424: facility authpriv for alerts, daemon for the rest, of at most FRAME_SYSLOG_MAX bytes:
 * what is cut ends in " [cut]". */
#define FRAME_SYSLOG_MAX ((size_t)8 * 1024)
void frame_syslog(struct buf *out, const struct frame *f, const struct frame_item *item);

/* journald's native protocol: MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, MOONWATCH_SCRIPT, and each
 * field of the event as it is, MOONWATCH_EXE and the like. */
void frame_journald(struct buf *out, const struct frame *f, const struct frame_item *item);

#endif
