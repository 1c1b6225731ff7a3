/* vault.h - the stores of one watch: opens them for the scripts' workers, compacts them, and sees
 * to it that they reach the disk.
 *
 * The privileged side of sink/store.h. A store that was opened stays open, and locked against other
 * watches, for as long as its script runs: its holder may die and the next one take over within a
 * minute. What a holder appended is in the kernel's hands at once, and on the disk five seconds later at most. Safe to be
 * called from several threads. */
#ifndef EMBED_VAULT_H
#define EMBED_VAULT_H

#include "base/buf.h"

#include <stdint.h>

struct vault; /* opaque */

#define VAULT_SCRIPT_MOST 32   /* stores that one script may have open */
#define VAULT_MOST        1024 /* all together; fewer where this process may open less than 2048 */

/* Stores are below `path`, a directory that is made when the first one is asked for. 0, or -ENOMEM.
 */
int vault_new(struct vault **out, const char *path);

/* Whose store it is: a script of a worker. */
struct vault_holder {
    const void *worker; /* told apart by this alone */
    uint32_t script;    /* the same */
    const char *name;   /* of the script: part of the store's name */
};

/* Open this script's store of that name, cut and compacted. Another worker of the same script loses
 * it: that one is about to end. Returns a descriptor, the caller's; or
 * -errno with a sentence appended to `why`: -EBUSY: somebody else holds it; -EMFILE, -ENFILE: the
 * script, or all together, have as many open as may be. */
int vault_open(struct vault *v, const struct vault_holder *holder, const char *store,
               struct buf *why);

/* Cut and compact it: its holder appends nothing meanwhile and takes the new descriptor. Else as
 * vault_open; -ENOENT: this holder has no such store open. */
int vault_compact(struct vault *v, const struct vault_holder *holder, const char *store,
                  struct buf *why);

/* This worker is gone, others may open what it held; what none has opened after a minute is closed. */
void vault_release(struct vault *v, const void *worker);

/* This script of the worker (NULL: of whichever) runs no more: what it held is closed soon, unless
 * it is opened again before; with its worker, where the disk makes everybody wait. */
void vault_forget(struct vault *v, const void *worker, uint32_t script);

/* Sync and close everything. NULL is fine. */
void vault_free(struct vault *v);

#endif
