/* keeper.h - the privileged side: keeps what scripts opened, for as long as any worker wants it.
 *
 * A worker asks with a spec and gets descriptors: the queue's memory, the spool, the target. When
 * it dies, they stay here; the worker that takes its place asks with the same spec and goes on with
 * the same queue, and is handed those that no script asks for any more, to write out what is in
 * them. Keeps the children of execs alive. Safe to be called from several threads. */
#ifndef SINK_KEEPER_H
#define SINK_KEEPER_H

#include "sink/place.h"

struct keeper; /* opaque */

#define KEEPER_FDS 3

/* Outputs that a script may have. Its next version opens its own before those of the one before
 * are closed: so what is kept for a script may be twice as much. */
#define KEEPER_A_SCRIPT 16

/* Who asks: the owner is given by who calls, the rest by the asker. */
struct keeper_asker {
    uint32_t owner; /* a group of workers of which one lives at a time */
    uint64_t life;  /* another number for each process */
};

enum keeper_what {
    KEEPER_CHECK,  /* is all as it should be? a file may have been moved, a child have ended */
    KEEPER_REOPEN, /* the target does not work any more */
    KEEPER_ROTATE, /* the file is as large as it may be */
    KEEPER_EMPTY,  /* nothing waits in the spool: its room on the disk can be given back */
};

/* What the asker is told. The descriptors are, in this order: the queue's memory and the spool (of
 * an opened one; the spool only when the spec has one), the target (when there is a new one). They
 * are the caller's. */
struct keeper_answer {
    int32_t error;   /* 0, or an errno with its sentence; with an id it is a state that may pass */
    uint32_t id;     /* 0: nothing is kept */
    uint32_t target; /* enum place_target of the descriptor */
    uint32_t spec_len; /* of keeper_adopt: the spec's bytes in `spec` */
    uint32_t script;   /* of keeper_adopt: whose it is */
    char why[PLACE_WHY_MAX];
};

/* 0, or -ENOMEM. The rules are borrowed and must outlive the keeper. */
int keeper_new(struct keeper **out, const struct place_rules *rules);

/* Write what nobody came to write, for a second at most; close everything, give the programs two
 * seconds to end, and say what is left.
 * NULL is fine. */
void keeper_free(struct keeper *k);

/* Each returns how many descriptors it put into `fds` (KEEPER_FDS places). Bytes may be anything,
 * but the script is one of the asker's. A file that another script has open is refused, and so is
 * what that puts aside; the same script may, with other options: its next version does. */
int keeper_open(struct keeper *k, struct keeper_asker asker, uint32_t script, const void *spec,
                size_t len, struct keeper_answer *answer, int *fds);
int keeper_tend(struct keeper *k, struct keeper_asker asker, uint32_t id, enum keeper_what what,
                struct keeper_answer *answer, int *fds);

/* One that this owner's workers before this life left behind; answer->id is 0 when there is none.
 */
int keeper_adopt(struct keeper *k, struct keeper_asker asker, struct sink_spec *spec,
                 struct keeper_answer *answer, int *fds);

/* Bury programs that ended after their sinks, and end those that will not: SIGTERM after a minute,
 * SIGKILL ten seconds later, to all of their group. To be called now and then; never waits. */
void keeper_tidy(struct keeper *k);

/* Nobody wants it any more. */
void keeper_close(struct keeper *k, struct keeper_asker asker, uint32_t id);

#endif
