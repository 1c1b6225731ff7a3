/* census.h - which pids live, by three ways of asking that should agree.
 *
 * The list of /proc, /proc/PID itself, and kill(pid, 0). Who hides a process has to lie to each of
 * them; a difference that stays is a lie, one that does not is a process that began or ended. */
#ifndef EMBED_CENSUS_H
#define EMBED_CENSUS_H

#include "base/buf.h"
#include "collect/procfs.h"

/* The answer to REQUEST_CENSUS about `n` pids, appended to `out`. 0, or -errno: -EACCES when /proc
 * is mounted so that it hides others anyway, -EXDEV when its pids are not ours. */
int census_take(const struct procfs *proc, const int32_t *pids, size_t n, struct buf *out);

#endif
