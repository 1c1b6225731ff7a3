/* signals.h - sends the signals that scripts ask for, when the operator allows that.
 *
 * To the process that was meant or to none: it is held by a pidfd, its start time is read through a
 * held /proc/PID, and only then is it sent to. Never to pid 1, to this process, to its children
 * (the workers, what outputs run) or to kernel threads. Each request is told to the operator. Safe
 * to be called from several threads. */
#ifndef EMBED_SIGNALS_H
#define EMBED_SIGNALS_H

#include "base/buf.h"
#include "collect/procfs.h"

#include <stdbool.h>

#define SIGNALS_BURST    20 /* at once */
#define SIGNALS_A_SECOND 5  /* in the long run */

struct signals; /* opaque */

/* `proc` is borrowed. 0, or -ENOMEM. */
int signals_new(struct signals **out, const struct procfs *proc, bool allowed);
void signals_free(struct signals *s);

/* Send `signal` to the process of this pid that started then (in ticks, give or take one), for
 * `script`. 0; or -errno with a sentence appended to `why`: -EPERM: refused; -ESRCH: it is gone, or
 * the pid is another's; -EAGAIN: too many; -EINVAL: no such signal is sent. */
int signals_send(struct signals *s, const char *script, int pid, int64_t starttime, int signal,
                 struct buf *why);

#endif
