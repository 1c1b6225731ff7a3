/* worker.h - the unprivileged process in which scripts run.
 *
 * Forked by the process that owns the sockets. Keeps the ring's reading end, one socket for
 * questions, one to talk to its parent, and the output; everything else it gives up: user,
 * capabilities, descriptors, the right to gain any of them back. */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H

#include "host/host.h"
#include "ring/ring.h"

/* One script, read while there were privileges to read it. */
struct worker_script {
    char *name; /* owned: "@path"; NULL for a one-liner */
    char *text; /* owned */
    size_t len;
};

struct worker_options {
    struct ring *ring;
    int reader;       /* its cursor in the ring */
    int control;      /* SOCK_SEQPACKET to the parent */
    int questions;    /* stream to who answers requests */
    const char *user; /* run as; NULL: stay who we are */
    const struct worker_script *scripts;
    int scripts_len;
    bool only_load; /* say what the scripts want, and end: no event, no timer, no last word */
    struct host_options host; /* world is filled in here */
};

/* What goes over the control socket. The parent sends a byte of any value to ask for the scripts'
 * figures, and hangs up to end the worker. */
enum worker_say {
    WORKER_READY,  /* loaded: kinds, threads and needs are set */
    WORKER_FAILED, /* a script could not be loaded, or privileges not be dropped: text */
    WORKER_RETELL, /* records were missed (in all: missed): tell of all processes again */
    WORKER_STOP,   /* a script asked for the end, or nobody reads the output */
    WORKER_SCRIPT, /* at the end and when asked for, one per script: its figures */
    WORKER_MISSED, /* before these: records that it missed in all */
    WORKER_REPORTED, /* after these, when the parent asked for them */
    WORKER_NEEDS, /* a script looked at more than was known: needs is set */
};

#define WORKER_TEXT 4000

struct worker_message {
    uint32_t say; /* enum worker_say */
    uint32_t kinds;
    uint32_t threads;
    int32_t error; /* STOP: errno of the output, or 0 */
    uint64_t missed;
    uint64_t needs; /* as host_needs has them */
    struct host_script script;
    char text[WORKER_TEXT];
};

/* The worker's life, after the fork. Returns its exit status: 0, or 1 with WORKER_FAILED said. */
int worker_run(const struct worker_options *options);

/* Load scripts into a host, the one-liners too. 0, or -EINVAL with host_error(). */
int worker_load(struct host *h, const struct worker_script *scripts, int len);

#endif
