/* prober.h - answers the worker's questions about processes, beside the collector.
 *
 * A thread of the privileged process at ordinary priority: a question may take milliseconds, and
 * the collector waits for nobody. Shares nothing with it but /proc. */
#ifndef COLLECT_PROBER_H
#define COLLECT_PROBER_H

#include "collect/answers.h"

struct prober; /* opaque */

/* Serve the questions that arrive on `fd`, one end of a stream socket; owned from now on. `fs` is
 * borrowed until prober_stop. 0, or -errno. */
int prober_start(struct prober **out, const struct procfs *fs, int fd);

/* Hang up, wait for the thread, free. NULL is fine. */
void prober_stop(struct prober *p);

/* The asking side: send the question on `fd`, wait for its answer, two seconds at most. The
 * contract of answers_read; -ETIMEDOUT or -EPIPE when nobody answers, and ever after. */
int prober_ask(int fd, int pid, int64_t starttime, enum topic topic, struct buf *out);

#endif
