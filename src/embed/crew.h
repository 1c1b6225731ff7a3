/* crew.h - the scripts of a watch, and the workers that run them.
 *
 * Keeps the list of scripts, each with its text, and a worker for each group of trust. A worker
 * that dies is followed by another at the same record; the script in whose call it died is switched
 * off, or runs on alone in a ward. A call that goes on for too long is ended with its worker. Where
 * scripts run in this process there is no worker, and the same list speaks to the host itself.
 *
 * Hears workers on the caller's loop and trusts nothing that they say. Knows no socket to the
 * kernel and no script's insides. */
#ifndef EMBED_CREW_H
#define EMBED_CREW_H

#include "embed/recorder.h"
#include "embed/steward.h"
#include "host/worker.h"

struct crew; /* opaque */
struct ev_loop;

enum crew_group { CREW_POLICY, CREW_TRUSTED, CREW_WARD };

enum crew_end { CREW_STOPPED, CREW_OUTPUT, CREW_DIED, CREW_RECORDED };

/* What the crew wants of the watch. */
struct crew_calls {
    void *ctx;
    void (*wants)(void *ctx); /* crew_wants tells something new */
    void (*need)(void *ctx, uint64_t fields);
    void (*retell)(void *ctx); /* a worker missed records: tell of all processes again */
    /* A script runs code that is in this file. */
    void (*depends)(void *ctx, const char *script, const char *file, uint64_t hash);
    /* The recorder has written what was asked for with this number; `error`: 0, or errno. */
    void (*dumped)(void *ctx, uint32_t number, int error);
    /* The end of the watch is wanted; RECORDED: the file has its size; `error`: OUTPUT: errno of it. */
    void (*ending)(void *ctx, enum crew_end why, int error);
    /* A script wants what happens around its alert kept: seconds before and after, and the family of
     * this process (-1: nobody). */
    void (*dump)(void *ctx, const char *script, double span_s, int64_t pid, int64_t starttime);
    /* Each process that is known, for a worker that begins later; runs in the worker. */
    void (*know)(void *ctx, void (*sink)(void *to, const struct event *ev), void *to);
};

struct crew_options {
    struct crew_calls calls;
    struct steward_means means; /* borrowed contents; what concerns scripts is filled in here */
    struct host_options host;   /* for every host; world and memories are filled in */
    const char *user;           /* of the workers; borrowed */
    size_t ring_bytes;
    int64_t hard_ns; /* a call that goes on for longer ends with its worker; 0: never */
    bool ward;       /* an offender goes on alone instead of being off */
    bool only_load;  /* see worker.h */
};

/* 0, or -ENOMEM. */
int crew_new(struct crew **out, const struct crew_options *options);

/* False: a question of a worker is still being answered after two seconds, so all that the crew was
 * given must stay, and it too. */
bool crew_free(struct crew *c);

/* The last failure: one sentence, maybe a traceback below. */
const char *crew_error(const struct crew *c);

/* --- scripts ---------------------------------------------------------------------------------- */

enum crew_state { SCRIPT_ON, SCRIPT_OFF, SCRIPT_GONE };

struct crew_script {
    uint32_t id, generation;
    char *name; /* owned: "@path"; NULL: a one-liner */
    char *text; /* owned: of the version that runs */
    size_t len;
    bool trusted, warded, optional;
    bool disabled; /* by the operator, until he says otherwise */
    bool unsent; /* there was no room for the order to load or unload it: it follows */
    enum crew_state state;
    char why[512];              /* it is off */
    struct host_script figures; /* as of the last report */
    struct host_rules rules;    /* the same; none: count is 0 */
    struct host_rule *worst;    /* owned: of its rules, WORKER_RULES_MOST at most */
    int worst_len;

    char *next; /* owned: the version that is being loaded; NULL: none */
    size_t next_len;
    char *after; /* owned: what came meanwhile, and is loaded then; NULL: nothing */
    size_t after_len;
    char *shadow; /* owned: the version that runs beside; NULL: none */
    size_t shadow_len;
};

/* For people: the name that it gave itself, else that of its file. */
const char *crew_script_name(const struct crew_script *s);

/* Told when a version was loaded or refused: the sentence of the second. */
typedef void crew_done(void *ctx, int error, const char *text);

/* Add a script; the text is copied. In the order of delivery. Before the start it is kept for it;
 * after, it is loaded. `optional`: when it is wrong at the start, the others begin without it. 0, or
 * -ENOMEM. */
int crew_add(struct crew *c, const char *name, const char *text, size_t len, bool trusted,
             bool optional);

/* The next text of the script of this name; one that was off runs again. 0, or -ENOENT. */
int crew_change(struct crew *c, const char *name, const char *text, size_t len);

/* The script's file is gone: so is it. */
void crew_remove(struct crew *c, const char *name);

/* Changes are about to be given in, and somebody will wait for what comes of them. */
void crew_collect(struct crew *c);

/* `changed` versions were just given in: `done` is told when all are loaded or refused. Its text is
 * an object: { "changed": 2, "refused": ["..."] }. */
void crew_settle(struct crew *c, int changed, crew_done *done, void *ctx);

/* By name, as summaries show it, or by path; -ENOENT: there is none, -EALREADY: it is so. */
int crew_disable(struct crew *c, const char *name);
int crew_enable(struct crew *c, const char *name);

/* A version beside the one that runs, from this file; then one of the two goes. `done` is told. */
int crew_shadow(struct crew *c, const char *path, const char *text, size_t len, crew_done *done,
                void *ctx);
int crew_compare(struct crew *c, const char *name, crew_done *done, void *ctx);
int crew_promote(struct crew *c, const char *name);
int crew_drop(struct crew *c, const char *name);

/* Run a text in the policy group's worker; `done` is told what it returned. */
int crew_eval(struct crew *c, const char *text, size_t len, crew_done *done, void *ctx);

/* The scripts in the order of delivery. NULL after the last. */
const struct crew_script *crew_script_at(const struct crew *c, int index);

/* What the steward of scripts in this process needs. */
const struct steward_means *crew_means(const struct crew *c);

/* --- life ------------------------------------------------------------------------------------- */

/* Start the workers and load the scripts. 0; -EINVAL: a script is wrong; another -errno. With
 * `host` they are loaded into it, and there are no workers. */
int crew_start(struct crew *c, struct host *host);

/* Before the start: load the scripts and no more; what they print goes to `fd`. */
void crew_only_load(struct crew *c, int fd);

/* Hear the workers from now on. */
void crew_listen(struct crew *c, struct ev_loop *loop);

/* With only_load: hear them to their end. */
int crew_hear_out(struct crew *c);

struct crew_wants {
    uint32_t kinds;
    bool threads;
    uint64_t needs;
};
struct crew_wants crew_wants(const struct crew *c);

/* Records for the workers, and the end of a batch of them. */
void crew_write(struct crew *c, struct event_box *box);
void crew_flush(struct crew *c, const struct figures *figures);

/* Ask for the figures of all scripts; `done` is told when they are there, or after a while. Asking
 * again before only changes what is told. */
void crew_ask(struct crew *c, bool weigh, void (*done)(void *ctx), void *ctx);

/* No record will follow: let the workers finish, ten seconds at most. */
void crew_stop(struct crew *c);

struct crew_worker {
    enum crew_group group;
    int pid;
    unsigned restarts;
    uint64_t missed, memory_bytes;
    double backlog;
    bool ready, jit;
};

/* Before the start: record this; borrowed. */
void crew_record(struct crew *c, const struct recorder_options *options);

/* What it wrote, also after its end; false: there was none. */
bool crew_recorded(const struct crew *c, struct recorder_counters *out);

/* The recorder, or NULL: there is none, or it has ended. Borrowed. */
struct recorder *crew_recorder(const struct crew *c);

/* The workers that there are; false after the last. */
bool crew_worker_at(const struct crew *c, int index, struct crew_worker *out);
uint64_t crew_missed(const struct crew *c);

#endif
