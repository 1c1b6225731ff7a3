/* trail.h - follows a path step by step, and takes what it leads to only if nobody else could have
 * put it there.
 *
 * What is read runs with the operator's trust. So the file, each directory in which a name on the
 * way was looked up, links' directories among them, must belong to root, to us or to who has
 * moonwatch_trust_owner, and nobody else may write to it; in a sticky directory others cannot
 * replace what is ours. Everything is looked up from descriptors that are held, judged by them and
 * read from them: whoever moves things about meanwhile gains nothing. Knows no loop and keeps
 * nothing. */
#ifndef EMBED_TRAIL_H
#define EMBED_TRAIL_H

#include "base/buf.h"

#include <limits.h>
#include <sys/stat.h>

#define TRAIL_WHY (3 * PATH_MAX)

/* Told before `name` is looked up in the directory `dir` (O_PATH, borrowed). */
typedef void trail_step(void *ctx, int dir, const struct stat *about, const char *name);

struct trail {
    int fd; /* O_PATH; -1 when it led to nothing */
    struct stat about;
    bool gone; /* with -ENOENT: its directory is there, and it was not a link that led astray */
    char why[TRAIL_WHY]; /* after a failure: one sentence that names the path */
};

/* `name` is what the operator calls it, `absolute` where it is; step may be NULL. Returns 0,
 * -EPERM when somebody else could write to it, or another -errno; only 0 wants a trail_close. */
int trail_follow(struct trail *t, const char *name, const char *absolute, trail_step *step,
                 void *ctx);
void trail_close(struct trail *t);

/* Where it is when all links are followed; "" when that cannot be told. */
void trail_real(const struct trail *t, char out[PATH_MAX]);

/* Does somebody have the file open for writing? false where that cannot be known. */
bool trail_being_written(const struct trail *t);

/* Append the file's bytes. 0, -EAGAIN when it changed meanwhile, -EFBIG beyond `most`, or another
 * -errno; with a sentence in why. A pipe or a device is read to its end, which may take its time.
 */
int trail_read(struct trail *t, const char *name, size_t most, struct buf *out);

/* The same file, and nobody wrote to it, moved it or changed whose it is. */
bool trail_same(const struct stat *a, const struct stat *b);

/* `path` made absolute, without "//", "/./" and a slash at its end; ".." stays, for what it means
 * depends on links. 0, -ENOENT for "", or -ENAMETOOLONG. */
int trail_absolute(const char *path, char out[PATH_MAX]);

#endif
