/* host.h - one lua_State, the scripts in it, and the events that they get.
 *
 * Takes whole records, keeps its own process table from them, and calls what the scripts
 * subscribed to: first `where` in C, then one table per event, shared by all who want it. A
 * script's error costs one event and one tick of its counter. Told that it falls behind, it adds up
 * instead of telling, for the scripts that asked for it (storm.h). Knows no /proc, no ring and no
 * loop: timers and questions go through the functions that it is given. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "collect/answers.h"
#include "collect/tracker.h"
#include "event/event.h"
#include "host/figures.h"
#include "host/request.h"
#include "record/recording.h"
#include "sink/output.h"

struct host; /* opaque */

/* What scripts may do: see sandbox.h. */
enum profile {
    PROFILE_POLICY,
    PROFILE_TRUSTED /* all of LuaJIT: the operator says so, never a script */
};

/* An alert that was told, not held back. Borrowed. */
struct host_alert {
    const struct json_alert *alert;
    uint32_t id;            /* of the script */
    uint64_t seq;           /* of the event that it is about; 0: of none */
    int64_t time_ns;        /* mw.now() */
    int64_t pid, starttime; /* whom it is about; -1: nobody */
    double dump_s;          /* the seconds before and after that it wants kept; 0: none */
};

/* What the host needs of the world around it. */
struct host_world {
    void *ctx;

    /* Ask the privileged side: request_ask's contract. NULL: there is nobody to ask. */
    int (*request)(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *out, int *fds);

    /* Call host_clock() at this time of CLOCK_MONOTONIC, or soon after; INT64_MAX: it need not be. Each
     * call takes the place of the one before. NULL: time goes on with the events only. */
    void (*alarm)(void *ctx, int64_t mono_ns);

    /* Call host_writable(id) whenever this descriptor can be written to, until stopped. */
    void (*writable_start)(void *ctx, int id, int fd);
    void (*writable_stop)(void *ctx, int id);

    /* A script called mw.stop(): end the watch soon. */
    void (*stop)(void *ctx);

    /* A script looked at what nobody was known to need: from now on these fields are needed. Called
     * in the middle of an event, once per field at most. */
    void (*need)(void *ctx, uint64_t fields);

    /* A script was switched off, for good. NULL: nobody cares. */
    void (*off)(void *ctx, uint32_t id, const char *why);

    /* CLOCK_MONOTONIC, read now; NULL: it is always the scripts' time. */
    int64_t (*clock)(void *ctx);

    /* The figures of the watch as of now; NULL: they are all 0. */
    void (*figures)(void *ctx, struct figures *out);

    /* An alert was told. NULL: nobody cares. */
    void (*alert)(void *ctx, const struct host_alert *alert);

    /* Something came to the scripts that is no event, or of them: for a recording, from which a later host
     * can be told the same. Borrowed for the call; `group` is not set. NULL: nobody records. */
    void (*note)(void *ctx, const struct recording_note *note);
};

/* What the operator set for mw.option: `script` is the name of a file, without .lua. */
struct host_setting {
    const char *script, *name, *value;
};
struct host_settings {
    struct host_setting *all;
    int len;
    bool strict; /* a name that the first version of its script does not ask for makes it wrong */
};

/* What is counted of a script, whatever its version. */
struct host_count {
    uint64_t events, errors, alerts, undecided, calls;
};

/* Counts that outlive a process that is killed: the next one goes on with them. Zeroed: empty. */
#define HOST_COUNTS 1024
struct host_counts {
    struct {
        uint32_t taken, id;
        struct host_count count;
    } of[HOST_COUNTS];
};

struct host_options {
    struct host_world world;
    enum profile profile;
    size_t table_bytes; /* bound of the table of processes */
    uint64_t boot;      /* event_boot_id() of the machine that the events come from */
    int fd;             /* where lines go; borrowed */
    bool json;
    bool print_all; /* write every event that is told, scripts or not */
    const struct host_settings *settings; /* borrowed; NULL: none */

    /* Budgets; 0: no bound. */
    int64_t soft_ns;         /* processor time of one call, as far as host_tick is called */
    size_t memory_bytes;     /* of all scripts together */
    int errors_a_minute;     /* of one script: more switch it off */
    _Atomic uint64_t *marks; /* BUDGET_MARKS words for who watches from outside, or NULL; borrowed.
                                What a predecessor left there says where to go on. */

    /* Where lines wait until they are written, so that they outlive a process that is killed; NULL:
     * in memory of our own. With it a lock for who shares the descriptor, or -1. */
    struct output_memory *output_memory;
    struct host_counts *counts; /* the same for counts */
    int output_lock;
};

/* 0, or -errno. */
int host_new(struct host **out, const struct host_options *options);
void host_free(struct host *h);

/* A script to load. */
struct host_source {
    uint32_t id;         /* names the script for good; scripts get an event in the order of ids */
    uint32_t generation; /* of its text, for people */
    const char *name;    /* for messages: "@" and the path, or "=" and a word, as in Lua; NULL: the
                            text is a one-liner: "exec: comm == 'curl'" */
    const char *text;
    size_t len;
    bool shadow; /* beside the version that counts: what it tells is noted, not told */
};

/* Load a script, or the next version of one that is there: it is loaded beside the old one, takes
 * over its state and then its place, between two events. 0; or -EINVAL with the message in
 * host_error(): then nothing of it is left but what it printed, and the old one goes on. */
int host_replace(struct host *h, const struct host_source *source);

/* By what a recording knows it again: the stem of its file, "-e" for a line. Returns its length; the
 * hash is of the text. */
size_t host_source_mark(const struct host_source *source, char *stem, size_t cap, uint64_t *hash);

/* The same with the next id that is free. */
int host_load(struct host *h, const char *name, const char *text, size_t len);
int host_load_line(struct host *h, const char *line);

/* The script goes, and its shadow. */
void host_unload(struct host *h, uint32_t id);

/* Append what script and shadow told, as one JSON object: { "both": 3, "only_old": ["..."],
 * "only_new": ["..."], "lost": 0 }. 0, or -ENOENT: it has no shadow. */
int host_compare(struct host *h, uint32_t id, struct buf *out);

/* The shadow goes. */
void host_drop_shadow(struct host *h, uint32_t id);

/* In the marks, for host_eval. */
#define HOST_EVAL_ID (UINT32_MAX - 1)

/* Run a line of somebody's in an environment that is kept from line to line; what it returned goes,
 * as text, to `out`. 0, or -EINVAL with host_error(). */
int host_eval(struct host *h, const char *text, size_t len, struct buf *out);

/* Is a call of a script over its time? Safe in a signal handler of the same thread. */
void host_tick(struct host *h, int64_t cpu_ns);

/* Is it? In a signal handler too. */
bool host_over(const struct host *h);

/* Is their code compiled? */
bool host_jit(const struct host *h);

/* What a recording would keep of the alert that is being told, during the world's `alert`; "" when nobody
 * records. */
const char *host_witness(const struct host *h);

/* Memory that the scripts hold, in bytes. */
size_t host_memory(const struct host *h);

/* The last failure: one sentence, with the traceback below it where there is one. */
const char *host_error(const struct host *h);

/* What the loaded scripts subscribed to. */
uint32_t host_kinds(const struct host *h);
bool host_threads(const struct host *h);

/* The fields that the scripts look at, FIELD(ARGS) | ...: by their texts and those of the modules
 * that they require, by their `where`, as they declared, and as was seen since. UINT64_MAX: all. */
uint64_t host_needs(const struct host *h);

/* Deliver one record; borrowed for the call. */
void host_event(struct host *h, const struct event *ev);

/* The events are of this boot of their machine. */
void host_set_boot(struct host *h, uint64_t boot);

/* An event from somebody who tells of changes only: what it does not say of its process is as it was. */
void host_fill(struct host *h, struct event_box *box);

/* A process that is known already: scripts are told nothing. */
void host_know(struct host *h, const struct event *ev);

/* This many records never reached the host; scripts get a `lost` event. */
void host_missed(struct host *h, uint64_t records);

/* How far the scripts are behind: which part of the ring waits, 0..1; `now_ns` is of the monotonic
 * clock. Begins, reports and ends a storm (storm.h). True while one lasts: then to be asked several
 * times a second, also when no record comes. */
bool host_pressure(struct host *h, double backlog, int64_t now_ns);

/* It is this time, of CLOCK_MONOTONIC and since the epoch: what is due is called. To be told before
 * scripts are loaded, when the alarm goes off, and before anything else that is no event. Events bring
 * their own time. */
void host_clock(struct host *h, int64_t mono_ns, int64_t real_ns);

/* Let the time pass until then where there is no world: each timer is called at the time it is due. */
void host_pass(struct host *h, int64_t mono_ns, int64_t real_ns);

/* Where scripts are told again what was recorded: the next step of a storm is this one. */
void host_storm(struct host *h, int step);

/* A descriptor can be written to. */
void host_writable(struct host *h, int id);

/* End a storm that lasts; run all functions given to mw.at_exit, once. */
void host_finish(struct host *h);

/* Pass on what was written during a batch, and clean up. 0, or -errno: nobody reads the output any
 * more. */
int host_flush(struct host *h);

/* One script: its figures, and what it subscribed to and looks at. */
struct host_script {
    char name[64];
    uint32_t id, generation;
    uint64_t events, errors, alerts, undecided, calls;
    int64_t p50_ns, p99_ns; /* of a call */
    uint64_t memory_bytes;  /* 0: not weighed */
    uint64_t needs;
    uint32_t kinds;
    bool threads, off, shadow;
};

/* Find out what each holds, for host_scripts: takes milliseconds for megabytes. */
void host_weigh(struct host *h);

/* Copy at most `cap`; returns how many scripts there are. */
int host_scripts(const struct host *h, struct host_script *to, int cap);

/* One rule of a script that has many, see mw.sigma. */
struct host_rule {
    char id[64], title[128];          /* cut when they are longer */
    uint64_t asked, fired, undecided; /* events */
};

/* All of its rules. */
struct host_rules {
    uint32_t count, blind; /* blind: could not say of some events */
    uint64_t fired;
};

/* The rules of the script of this id, of the version that counts: those that are blind, the worst first,
 * at most `cap`. Returns how many were copied. */
int host_rules(const struct host *h, uint32_t id, struct host_rules *all, struct host_rule *to,
               int cap);

#endif
