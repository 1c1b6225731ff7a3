/* tap.h - two small programs in the kernel that tell of each exec and each end without a race.
 *
 * Optional: built where clang, bpftool and libbpf are, loaded where it is permitted (CAP_BPF and
 * CAP_PERFMON, Linux 5.17 with type information). Its records come before the connector's message
 * of the same exec or exit, and nobody is woken for them before half of the ring is full. Without it /proc is read instead. */
#ifndef COLLECT_TAP_H
#define COLLECT_TAP_H

#include "collect/end.h"
#include "collect/notes.h"
#include "collect/procfs.h"

struct tap; /* opaque */

/* What notes_take hands out: their bytes are for tap_fill and tap_end. */
enum { TAP_NOTES_EXEC = 1, TAP_NOTES_END = 2 };

/* Load and attach. 0, or -errno with one sentence and its mend in *why (static text). */
int tap_open(struct tap **out, size_t ring_bytes, const char **why);
void tap_close(struct tap *t);

/* Fields that an exec's record should carry. It always has those that cost nothing. */
void tap_need(struct tap *t, uint64_t fields);

/* Becomes readable when half of the ring is full; borrowed. */
int tap_fd(const struct tap *t);

/* Move what has come into `to`. Returns how many records. */
int tap_drain(struct tap *t, struct notes *to);

/* Have the kernel measure all its BPF programs until the returned descriptor is closed; -errno. */
int tap_meter(void);

/* Mean time that the program at the exec took while it was measured, in us; 0: there was no exec. */
double tap_exec_us(const struct tap *t);

/* How many records found no room, ever. */
uint64_t tap_dropped(const struct tap *t);

/* Set the `wanted` fields of an exec's record as WHY_TAP, WHY_ABSENT or missing.
 * Returns those that it could not set: they must be read elsewhere. `boot` as in struct procfs. */
uint64_t tap_fill(const void *record, size_t len, int64_t boot, uint64_t wanted,
                  struct event_box *box);

/* Is this exec's record of the exec that the connector stamped with this? The stamps are close. */
bool tap_is_of(const void *record, int64_t mono_ns);

/* The same number for all processes of the same control groups. 0: not asked for. */
uint64_t tap_cgroup_key(const void *record);

/* An end's record, decoded. False when it is none. */
bool tap_end(const void *record, size_t len, struct process_end *end);

#endif
