/* store.h - keys and values in a file that outlives whoever writes it.
 *
 * A log of records, each with its checksum. To set is to append a record with one write(2), to
 * delete is to append one that says so, and the last record of a key counts. So whoever writes can
 * be killed at any instruction, and what was set before is there. What is no whole record at the
 * end (a write that was cut by a kill, a full disk or a crash of the machine) is cut off.
 *
 * Two halves. Who writes has a descriptor and needs no other right: store_load, store_put. Who owns
 * the directory opens, cuts and compacts: store_open, store_compact; one holder at a time, by
 * flock. Keys and values are any bytes. No loop, no Lua. */
#ifndef SINK_STORE_H
#define SINK_STORE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_LEAST ((size_t)4 << 10)  /* of a store's bound */
#define STORE_MOST  ((size_t)16 << 20) /* the same */
#define STORE_SLACK ((size_t)64 << 10) /* dead bytes that are not worth a compaction */
#define STORE_NAME  64                 /* bytes of a script's or a store's name, with the NUL */
#define STORE_FILE  256                /* bytes of a file's name, with the NUL */

/* --- records: pure --------------------------------------------------------------------------- */

/* All borrowed from the bytes that were read. */
struct store_record {
    const char *key, *value; /* value NULL: the key was deleted */
    size_t key_len, value_len;
};

/* What a live record takes of the bound. */
size_t store_cost(size_t key_len, size_t value_len);

/* Where the records of these bytes of a file begin; NULL when they are no store's. */
const char *store_begin(const char *bytes, size_t len);

/* Take the next record from *at. False at the end, or when the rest begins with no whole record:
 * then *at stays where it is. */
bool store_next(const char **at, const char *end, struct store_record *out);

/* --- writing: with a descriptor alone -------------------------------------------------------- */

struct store {
    int fd;      /* owned; -1: none, what is put counts and is written nowhere */
    size_t most; /* bytes that live records may take */
    size_t live; /* that they take; who keeps the values keeps this, see store_put */
    size_t file; /* length of the file */
    bool torn;   /* a write went wrong half-way: to be cut before the next */
};

/* The whole file into `out`; it is not read beyond what a store can hold. 0, or -errno. */
int store_read(int fd, struct buf *out);

/* Append: from now on `key` has this value (NULL: none). `replaced` is what its record took until
 * now, 0: there was none. Returns 0: it outlives this process; -EDQUOT: it would not fit into the
 * bound; another -errno of the write, or -EUCLEAN: it is torn. Then the old value stands. */
int store_put(struct store *s, const char *key, size_t key_len, const char *value, size_t value_len,
              size_t replaced);

/* More of the file is dead than alive, or its end is torn: it should be compacted. */
bool store_wants_compaction(const struct store *s);

/* --- owning: in the directory ---------------------------------------------------------------- */

/* The name of the file of this script's store: its own names where they are plain, else what is
 * plain of them and a hash. No two pairs of names have the same. */
void store_file_name(const char *script, const char *name, char to[STORE_FILE]);

/* Open the store's file in directory `dir`, or make it; lock it, cut a torn end, compact it when
 * that is worth it. Returns a descriptor to append to and *cut, how many bytes were cut; or -errno
 * with a sentence appended to `why`: -EBUSY: somebody else has it open. */
int store_open(int dir, const char *script, const char *name, size_t *cut, struct buf *why);

/* Cut a torn end, *cut bytes; then, when that is worth it, write the live records to a new file that takes the
 * place of the old one, synced. Nobody may append meanwhile. Returns a descriptor that takes the
 * place of `fd`, which may be `fd` itself; or -errno with a sentence: then `fd` is still good, and
 * whole if it could be cut. */
int store_compact(int dir, const char *script, const char *name, int fd, size_t *cut,
                  struct buf *why);

#endif
