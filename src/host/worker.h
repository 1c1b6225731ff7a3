/* worker.h - the unprivileged process in which scripts run.
 *
 * Forked by the process that owns the sockets. Keeps the ring's reading end, one socket for
 * questions, one to talk to its parent, and the output; everything else it gives up: user,
 * capabilities, descriptors, the right to gain any of them back. */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include "host/host.h"
#include "ring/ring.h"

struct worker_options {
    struct ring *ring;
    int reader;       /* its cursor in the ring: it goes on where that is */
    int control;      /* SOCK_SEQPACKET to the parent */
    int questions;    /* stream to who answers requests */
    const char *user; /* run as; NULL: stay who we are */
    const struct host_source *scripts; /* read while there were privileges to read them */
    int scripts_len;
    bool only_load; /* say what the scripts want, and end: no event, no timer, no last word */

    /* Tell `sink` of each process that is known already; NULL: none is. Runs in the worker. */
    void (*know)(void *ctx, void (*sink)(void *to, const struct event *ev), void *to);
    void *know_ctx;

    /* Send a note to who records, on `notes`; NULL: nobody does. */
    void (*note)(void *ctx, const struct recording_note *note);
    void *note_ctx;
    int notes; /* -1: none */

    struct host_options host; /* world and marks are filled in here */
};

/* What goes over the control socket, one message each. The parent hangs up to end the worker. */
enum worker_say {
    WORKER_READY,  /* the scripts are loaded: kinds, threads and needs are set */
    WORKER_FAILED, /* a script could not be loaded (its id), or privileges not be dropped: text */
    WORKER_RETELL, /* records were missed (in all: missed): tell of all processes again */
    WORKER_STOP,   /* a script asked for the end, or nobody reads the output */
    WORKER_SCRIPT, /* at the end and when asked for, one per script: its figures */
    WORKER_RULES,  /* after it when the script has rules: how many, `rules`; and for each of the worst: */
    WORKER_RULE,   /* `rule` */
    WORKER_MISSED, /* before these: records that it missed in all, memory that it holds */
    WORKER_REPORTED, /* after these, when the parent asked for them */
    WORKER_NEEDS,  /* a script looked at more than was known: needs is set */
    WORKER_LOADED, /* answers DO_LOAD: id, generation, error and its text, took_ns, script; and what
                      all want now */
    WORKER_UNLOADED, /* answers DO_UNLOAD: id, 0: nothing is gone; and what all want now */
    WORKER_OFF,    /* a script (id) was switched off: text */
    WORKER_BUSY,   /* a call takes long: watch us */
    WORKER_DUMP,   /* keep what happens around an alert: id, dump_s, pid, starttime */
    WORKER_ANSWER, /* answers DO_COMPARE and DO_EVAL: error, text, in pieces while `more` */
};

#define WORKER_TEXT  4000
#define WORKER_RULES_MOST 32 /* rules that are told of one by one */

struct worker_message {
    uint32_t say; /* enum worker_say */
    uint32_t kinds;
    uint32_t threads;
    int32_t error; /* STOP: errno of the output, or 0; LOADED, ANSWER: -errno, or 0 */
    uint32_t id, generation, shadow, more, jit;
    uint64_t missed;
    uint64_t memory_bytes;
    uint64_t needs; /* as host_needs has them */
    int64_t took_ns;
    double dump_s;
    int64_t pid, starttime; /* -1: nobody */
    struct host_script script; /* SCRIPT, LOADED */
    struct host_rules rules;
    struct host_rule rule;
    char text[WORKER_TEXT];
};

/* What the parent wants done. */
enum worker_do {
    DO_REPORT,      /* the scripts' figures; `weigh`: their memory too */
    DO_LOAD,        /* a script, or its next version, or its shadow: the text is in a descriptor */
    DO_UNLOAD,      /* the script goes */
    DO_COMPARE,     /* script and shadow */
    DO_DROP_SHADOW, /* the shadow goes */
    DO_EVAL,        /* run the text in the descriptor */
};

struct worker_order {
    uint32_t what; /* enum worker_do */
    uint32_t id, generation, shadow, weigh;
    uint64_t len;    /* of the text */
    char name[4096]; /* of the chunk; "" for a one-liner */
};

/* The worker's life, after the fork. Returns its exit status: 0, or 1 with WORKER_FAILED said. */
int worker_run(const struct worker_options *options);

/* Load scripts into a host. 0; or -EINVAL with host_error(), and *wrong is the id of the script. */
int worker_load(struct host *h, const struct host_source *scripts, int len, uint32_t *wrong);

#endif
