/* control.h - the socket by which an operator speaks to a running watch.
 *
 * A unix socket of its owner alone, on the watch's loop: one order per line, a JSON array of words; one
 * answer per line, {"ok":true,"result":...} or {"ok":false,"error":"..."}. A client that is not our user
 * or root is not heard. Nobody can hold the loop: nothing blocks, and what a client sends and is sent is
 * bounded. Knows no order by name: what they mean is said elsewhere. */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include "moonwatch.h"

#include <sys/types.h>

struct ev_loop;
struct control; /* opaque */

/* moonwatch_order's contract. */
typedef void control_order(void *ctx, const char *const *words, int n, moonwatch_reply *reply,
                           void *reply_ctx);

/* Listen at `path`. The socket of a watch that is dead is replaced. 0; -EADDRINUSE: a living one has it;
 * or another -errno; with one sentence in `why`. */
int control_open(struct control **out, struct ev_loop *loop, const char *path, control_order *order,
                 void *ctx, char *why, size_t cap);

const char *control_path(const struct control *c);

/* Hang up on all and remove the socket. Orders that were given may still be answered: to nobody. */
void control_stop(struct control *c);

/* After the last answer that can come. */
void control_free(struct control *c);

/* Where a watch listens when nothing else is said: /run/moonwatch.sock for root, else below
 * $XDG_RUNTIME_DIR. False: there is no such place. `pid` not 0: that of this watch alone. */
bool control_default(char *path, size_t cap, pid_t pid);

#endif
