/* shelf.h - the scripts that the operator named: reads them, watches them, tells what changed.
 *
 * A path is a file, or a directory whose *.lua are taken in the order of their names. Only what
 * nobody else could have written is taken (trail.h). What changed is told by content: a touched
 * file is no change. Knows no Lua; one thread. */
#ifndef EMBED_SHELF_H
#define EMBED_SHELF_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

#define SHELF_SCRIPT_MAX  ((size_t)4 << 20)  /* bytes */
#define SHELF_BESIDE_MAX  ((size_t)16 << 20) /* modules and lists */
#define SHELF_SCRIPTS_MAX 1000
#define SHELF_NEEDS_MAX   4096 /* files that scripts depend on, all together */
#define SHELF_NEEDS_EACH  100  /* of one script: each look looks at them */

struct ev_loop;
struct shelf; /* opaque */

enum shelf_change {
    SHELF_ADDED,
    SHELF_CHANGED, /* another text; or the same, when a file that it depends on changed, or when it
                      was refused before */
    SHELF_REMOVED, /* no text */
    SHELF_REFUSED, /* no text: why says what is wrong; the text told last is the last that was good.
                      Told once until something changes. The path may be a directory's: then none
                      of its scripts could be looked at */
};

/* Borrowed for the call. */
struct shelf_script {
    const char *path; /* as the operator named it, below a directory with "/name.lua" */
    const char *text; /* not NUL-terminated */
    size_t len;
    uint64_t hash;   /* shelf_hash of the text */
    int tag;         /* as given to shelf_add */
    const char *why; /* with SHELF_REFUSED: one sentence that names the file */
};

/* May call shelf_depends and nothing else of the shelf's. */
typedef void shelf_sink(void *ctx, enum shelf_change change, const struct shelf_script *script);

/* 0, or -ENOMEM. shelf_free takes NULL too. */
int shelf_new(struct shelf **out, shelf_sink *sink, void *ctx);
void shelf_free(struct shelf *s);

/* Tells SHELF_ADDED for each script of the path, and SHELF_REFUSED for those of a directory that
 * cannot be taken. Returns how many it has of the path now, those of a path before among them (who
 * comes first gives the tag), or -errno and one sentence, borrowed until the next call: then the
 * path is not on the shelf. A pipe is read to its end, once. */
int shelf_add(struct shelf *s, const char *path, int tag, const char **why);

/* A path that may come into being later. 0 or -errno. */
int shelf_expect(struct shelf *s, const char *path, int tag);

/* From now on changes are told from within the loop, those since shelf_add first: 150 ms after
 * the last sign of one. 0, or -errno of inotify. */
int shelf_watch(struct shelf *s, struct ev_loop *loop);

/* Look at everything now and tell what changed. Returns how many scripts were told. */
int shelf_check(struct shelf *s);

/* `file` was read for `script` (both by path) and its text has this hash, 0 when there was none.
 * Once that is no longer so, the script is told as SHELF_CHANGED. Lasts until the script is
 * removed. 0, -ENOENT: no such script, -ENOSPC, or -ENOMEM. */
int shelf_depends(struct shelf *s, const char *script, const char *file, uint64_t hash);

/* Read a file below the directory of a script, links followed as long as they stay there. `out`
 * gets its bytes and `resolved` the path that shelf_depends takes, also when it fails because
 * there is none. 0, or -errno and a sentence, borrowed until the thread's next call: -EPERM when
 * it is not below, or others may write to it. Any thread. */
int shelf_read_beside(const char *script, const char *relative, struct buf *out, char *resolved,
                      size_t cap, const char **why);

/* Never 0. */
uint64_t shelf_hash(const void *bytes, size_t len);

#endif
