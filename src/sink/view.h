/* view.h - writes an event as one line for people.
 *
 * Aligned columns, tree indentation by depth, colour by meaning when asked. Nothing that a process
 * put into its name or arguments reaches the terminal as anything but printable characters:
 * control characters, escapes, bidirectional marks and broken UTF-8 are shown as \xHH or \u{HHHH}.
 * Knows nothing of where events come from. */
#ifndef SINK_VIEW_H
#define SINK_VIEW_H

#include "base/buf.h"
#include "event/event.h"

struct view {
    int columns; /* width of the terminal; 0: do not cut lines */
    bool colour;
    bool date; /* full date and time; else HH:MM:SS.mmm, local time */
};

/* Append the line of one event, with its newline. `depth` is how many ancestors are known (0:
 * none); `parent` its parent's state or NULL. */
void view_event(struct buf *out, const struct view *view, const struct event *ev, int depth,
                const struct event *parent);

/* The heading over the columns, with its newline. */
void view_heading(struct buf *out, const struct view *view);

/* One line of `moonwatch ps` (heading: view_process_heading) or `moonwatch tree`. `branch` is the
 * drawn part before a tree's name ("|-- "), "" for ps. */
void view_process_heading(struct buf *out, const struct view *view);
void view_process(struct buf *out, const struct view *view, const struct event *ev,
                  const char *branch);

/* An alert: severity low|medium|high|critical, the text, the script's name; ev may be NULL. */
void view_alert(struct buf *out, const struct view *view, const char *severity, const char *script,
                const char *text, size_t text_len, const struct event *ev);

/* The program and its arguments as the lines above show them, without a newline. At most `cells`
 * columns wide (0: no limit; what is cut ends in an ellipsis). */
void view_command(struct buf *out, const struct event *ev, int cells);

/* The same of all that stands behind the columns of an event's line: "curl: exit 6 after 1.2 s". */
void view_what(struct buf *out, const struct event *ev, int cells);

/* Any bytes made safe for a terminal, at most `cells` columns wide (0: no limit; what is cut ends
 * in an ellipsis). Returns the columns used. */
int view_text(struct buf *out, const char *bytes, size_t len, int cells);

/* "SIGSEGV" for 11, "signal 99" for what has no name; static or thread-local text. */
const char *view_signal_name(int signal);

#endif
