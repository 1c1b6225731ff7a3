/* crew_state.h - what crew.c, roster.c, slots.c and messages.c share: the insides of struct crew.
 *
 * Private to these four. roster.c is the list of scripts and their versions, slots.c how workers
 * begin and end, messages.c what is said between them and us, crew.c what others ask for. */
#ifndef EMBED_CREW_STATE_H
#define EMBED_CREW_STATE_H

#include "embed/crew.h"

#include <ev.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#define LEAVING_MOST 64
#define FIRST_WARD 2 /* slots before it: policy, trusted */
#define CREW_SLOTS (RING_READERS - 1) /* the last cursor is the recorder's */

/* Somebody waits for an answer of a worker; they come in order. */
struct waiting {
    crew_done *done;
    void *ctx;
    struct waiting *next;
};

/* What outlives a worker. */
struct shared {
    struct output_memory output;
    struct host_counts counts;
};

/* One place for a worker; its number is that of its cursor in the ring. */
struct worker_slot {
    struct crew *crew;
    int reader;
    enum crew_group group;
    pid_t pid;               /* 0: none */
    int control;             /* owned; -1: none */
    struct steward *steward; /* owned */
    ev_io said;
    bool ready;
    unsigned restarts;
    uint32_t ward_of; /* WARD: the script in it */
    struct crew_wants wants;
    uint64_t missed, missed_before; /* by this one, by those before */
    uint64_t memory_bytes;
    bool jit;

    uint64_t seen_call; /* the call that runs, since when at least */
    int64_t seen_ns;
    bool killed;  /* because it ran for too long */
    bool failed;  /* it said which script it could not load */
    bool retired; /* its script is to run elsewhere */
    bool reporting; /* it was asked for figures and has not told them all */
    int pidfd;      /* owned; -1: then its hanging up tells of its end */
    ev_io ended;
    int64_t spawned_ns;

    struct shared *shared;   /* owned mapping */
    struct waiting *waiting; /* owned list */
    struct buf answer;       /* owned: pieces of the first one's */
};

struct settling {
    struct settling *next;
    int changed;
    crew_done *done;
    void *ctx;
};

/* A script runs code that is in this file. */
struct dependence {
    struct dependence *next;
    uint32_t id;
    uint64_t hash;
    char file[PATH_MAX];
};

struct crew {
    struct crew_options options;
    struct ring *ring;    /* owned; NULL: no workers */
    struct host *host;    /* borrowed; NULL: workers */
    struct ev_loop *loop; /* NULL until it is listened */
    bool started;
    struct buf error;

    struct crew_script **scripts; /* owned, by id */
    int scripts_len;
    struct worker_slot slots[CREW_SLOTS];
    struct recorder *recorder; /* owned; NULL: nothing is recorded */
    const struct recorder_options *record; /* borrowed; NULL: nothing is to be recorded */
    struct recorder_counters recorded_last; /* of one that has ended */
    ev_io recorded;
    ev_timer watching, patience;
    ev_async depended;
    pthread_mutex_t mutex;         /* of the names, which stewards read, and of the next two */
    struct dependence *found;      /* owned list: by stewards, to be told */
    int lock;                      /* owned: descriptor whose copies are locked in turn; -1: none */
    struct steward *leaving[LEAVING_MOST]; /* owned: of dead workers, still at something */
    struct last_words *last_words; /* owned list: threads that write them */
    int64_t retell_at_ns;
    unsigned unexplained;
    int64_t unexplained_ns;
    void (*asked)(void *ctx); /* who wants the figures; NULL: nobody */
    void *asked_ctx;
    int reports; /* still to come */

    bool collecting;           /* refusals, for who is about to wait */
    struct settling *settling; /* owned list: who waits until no version is being loaded */
    struct buf refused;        /* owned: sentences since somebody waits, as JSON */
};

/* --- crew.c -------------------------------------------------------------------------- */

/* Keep the sentence for crew_error; returns the error. */
int crew_fail(struct crew *c, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Scripts want other events or fields than before. */
void crew_tell_wants(struct crew *c);

/* Where scripts run in this process: take their figures from the host. */
void crew_summarize_host(struct crew *c);

/* --- roster.c ------------------------------------------------------------------------ */

/* What came while `next` was being loaded is the next one now. */
void roster_advance(struct crew_script *s);

/* Is nobody's next version on its way any more? Then tell who waits for it. */
void roster_check_settled(struct crew *c);

/* A copy with a NUL behind it, the caller's; NULL: no memory. */
char *roster_copy(const char *text, size_t len);

/* The version that was being loaded goes. */
void roster_drop_next(struct crew_script *s);

/* The shadow goes. */
void roster_drop_shadow(struct crew_script *s);

/* Scripts of this worker whose files are gone, this one or all (0), are forgotten: nothing that it
 * says can be about them any more, and a later script may get the same id. */
void roster_forget_gone(struct crew *c, const struct worker_slot *slot, uint32_t id);

/* Free what a script owns, and it. */
void roster_free_one(struct crew_script *s);

/* A place for a new script, where its name belongs. NULL: no memory. */
struct crew_script *roster_insert(struct crew *c, const char *name, bool trusted);

/* By the name that it gave itself, or by path; NULL: there is none. */
struct crew_script *roster_named(const struct crew *c, const char *name);

/* steward_means.script_depends and script_path, on any thread. */
void roster_note_dependence(void *ctx, uint32_t id, const char *file, uint64_t hash);
bool roster_path_of(void *ctx, uint32_t id, char *path, size_t cap);

/* By id; NULL: there is none. */
struct crew_script *roster_of(const struct crew *c, uint32_t id);

/* A steward noted something. */
void roster_on_depended(struct ev_loop *loop, ev_async *watcher, int events);

/* Its next version was refused: the operator reads why, and so does who waits for the outcome. */
void roster_refuse_next(struct crew *c, struct crew_script *s, const char *why);

/* Tell the operator that its version is in place. */
void roster_say_loaded(const struct crew_script *s, int64_t took_ns);

/* It is off from now on. */
void roster_switch_off(struct crew_script *s, const char *why);

/* The version that was being loaded is the one that counts. */
void roster_take_next(struct crew_script *s);

/* Tell the watch what stewards noted. */
void roster_tell_dependences(struct crew *c);

/* --- messages.c ---------------------------------------------------------------------- */

/* The figures that were asked for are there, or nobody waits any longer. */
void crew_figures_came(struct crew *c);

/* One of the workers that were asked has told all of its. */
void crew_reported(struct crew *c);

/* The figures of a script, of the version that counts. */
void roster_count(struct crew *c, const struct host_script *figures);

/* The rules of a script: how many, then the worst one by one. */
void roster_count_rules(struct crew_script *s, const struct host_rules *rules);
void roster_add_rule(struct crew_script *s, const struct host_rule *rule);

/* The first who waits for an answer of this worker gets it. */
void slot_answer(struct worker_slot *slot, int error, const char *text);

/* Wait for its next answer: they come in order. 0, or -ENOMEM. */
int slot_await(struct worker_slot *slot, crew_done *done, void *ctx);

/* What a dead worker had counted of this script since its last report. */
void slot_count_last(struct worker_slot *slot, struct crew_script *s);

/* Do what a message of a worker says. It runs scripts: nothing in it is trusted. */
void slot_hear(struct worker_slot *slot, const struct worker_message *message);

/* The worker that runs this script, or would. */
struct worker_slot *slot_of(struct crew *c, const struct crew_script *s);

/* An order about a script; with a text, about its next version. 0, or -errno: -EAGAIN when there is
 * no room for it now, -ESRCH when there is no worker. */
int slot_order(struct worker_slot *slot, const struct crew_script *s, enum worker_do what,
               const char *text, size_t len, bool shadow);

/* The same, with a name of the text that is not the script's. */
int slot_order_named(struct worker_slot *slot, const struct crew_script *s, enum worker_do what,
                     const char *name, const char *text, size_t len, bool shadow);

/* 1: a message; 0: none within the patience; -EPIPE: the worker hung up. */
int slot_receive(struct worker_slot *slot, struct worker_message *message, int patience_ms);

/* The same for any order. Never waits. */
int slot_send(struct worker_slot *slot, const struct worker_order *order, const char *text);

/* Give its worker the next version; to one that begins it is given when it is ready. */
void slot_send_next(struct crew *c, struct crew_script *s);

/* Take the script from its worker. */
void slot_send_unload(struct crew *c, struct crew_script *s);

/* It is to run elsewhere, or not at all: its ward ends. */
void slot_leave_ward(struct crew *c, struct crew_script *s);

/* The ward that it is in, or NULL. */
struct worker_slot *slot_ward_of(struct crew *c, const struct crew_script *s);

/* --- slots.c ------------------------------------------------------------------------- */

/* Forget a worker that has ended: its descriptors, its steward, who waits for it. */
void slot_close(struct worker_slot *slot);

/* No successor comes: what the dead one had said and not written is written by a thread. */
void slot_leave_last_words(struct worker_slot *slot);

/* Stewards of dead workers that have ended go, waiting for each until `patience_ns` (monotonic). False:
 * some have not. */
bool slots_free_stewards(struct crew *c, int64_t patience_ns);

/* Hear it on the loop. */
void slot_listen(struct worker_slot *slot);

/* How long does its call take? Kills it beyond the limit. True while it has a call. */
bool slot_look(struct worker_slot *slot, int64_t now);

/* In whose call did it die? NULL: in none. */
struct crew_script *slot_offender(const struct worker_slot *slot);

/* Is it dead already, whoever holds its socket open? */
bool slot_has_ended(const struct worker_slot *slot);

/* How it ended, as a part of a sentence. Kills it if it has not. */
void slot_reap(struct worker_slot *slot, char *how, size_t cap);

/* Another takes the place of a dead one, if there is work. False: not again. */
bool slot_replace(struct worker_slot *slot, const char *how);

/* Fork a worker. 0, or -errno with crew_error(). */
int slot_spawn(struct worker_slot *slot);

/* At the end: wait for last words, until `patience_ns` (monotonic). */
void slots_hear_last_words(struct crew *c, int64_t patience_ns);

/* The timer of the hard limit. */
void slots_on_look(struct ev_loop *loop, ev_timer *watcher, int events);

/* Is there to be a worker for this group? */
bool slots_wanted(const struct crew *c, enum crew_group group);

/* Look at the hard limit from now on, until no worker has a call. */
void slots_watch(struct crew *c);

#endif
