/* lookout.h - tells that something may have changed at the places that were named to it.
 *
 * inotify on directories, with the names in them that matter; a hint and no more: what it is must
 * be looked at. Hints are gathered until it has been quiet for 150 ms, a second at most. Without
 * changes it costs nothing: there is no timer. libev's own ev_stat misses writes within one second.
 */
#ifndef EMBED_LOOKOUT_H
#define EMBED_LOOKOUT_H

#include <stdbool.h>
#include <sys/stat.h>

struct ev_loop;
struct lookout; /* opaque */

/* Time to look. */
typedef void lookout_look(void *ctx);

/* Nothing is watched before lookout_start. 0 or -errno: of inotify, whose instances are counted
 * per user. The watchers live on `loop` until lookout_free. */
int lookout_new(struct lookout **out, lookout_look *look, void *ctx);
int lookout_start(struct lookout *l, struct ev_loop *loop);
void lookout_free(struct lookout *l);

/* Between these, each place is named again; those that were not are watched no more. A place is
 * watched from the moment it is named, so name it, then look. */
void lookout_begin(struct lookout *l);
void lookout_end(struct lookout *l);

/* `dir` is a descriptor, O_PATH will do, and `about` its fstat. name: a file in it, which may not
 * be there yet. NULL: any script. */
void lookout_at(struct lookout *l, int dir, const struct stat *about, const char *name);

/* Look again in 150 ms, as if there had been a hint. */
void lookout_again(struct lookout *l);

/* What lookout_at with NULL takes for a script: "*.lua", but no test of one, "*_test.lua", and no
 * file that an editor or a person has hidden, ".#x.lua" among them. */
bool lookout_script(const char *name);

#endif
