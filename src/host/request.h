/* request.h - how the worker asks the privileged side for what it may not do itself.
 *
 * A question of some kind with some bytes goes over a stream socket; an answer of bytes and maybe
 * descriptors comes back. Who answers serves one asker at a time, on a thread at ordinary
 * priority: a question may take milliseconds, and the collector waits for nobody. What the asker
 * sends is never trusted: it runs scripts. */
#ifndef HOST_REQUEST_H
#define HOST_REQUEST_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

/* What can be asked for (recordings have these numbers: new ones come last), and the bytes of the question; the answer's are what host_world.request
 * says. */
enum request_kind {
    REQUEST_PROBE, /* struct request_probe: the rows of answers_read */
    REQUEST_FILE,  /* struct request_file and a name: a file beside a script */
    REQUEST_STORE_OPEN,    /* struct request_store and two names: a descriptor to append to */
    REQUEST_STORE_COMPACT, /* the same: one that takes its place */
    REQUEST_SIGNAL,        /* struct request_signal and a name */
    REQUEST_SINK_OPEN,  /* struct request_sink and a spec: these four are those of sink/keeper.h */
    REQUEST_SINK_ADOPT, /* struct request_sink */
    REQUEST_SINK_TEND,
    REQUEST_SINK_CLOSE,
    REQUEST_CENSUS, /* int32_t pids, CENSUS_MOST at most: a byte for each, and the pids in /proc */
    REQUEST_RULES, /* struct request_rules and a path: rules beside a script */
    REQUEST_USER,  /* uint32_t uid: the name of the user, nothing when there is none */
    REQUESTS,
    REQUEST_CLOCK = 100, /* never asked: what scripts were told, in recordings. An int64_t, ns */
    REQUEST_FIGURES,     /* struct figures */
};

struct request_probe {
    int64_t starttime;
    int32_t pid;
    uint32_t topic;
};

/* Followed by the name, relative to the script's directory. The answer is a uint64_t hash and the
 * text; the hash alone when it is the known one. */
struct request_file {
    uint64_t known; /* hash of the text that the asker has, 0: none */
    uint32_t script;
    uint32_t module; /* 1: its code is run: a change of it reloads the script */
};

/* Followed by the path of a file or a directory, relative to the script's directory, which is ".". The
 * answer is a struct request_rules_seen, alone when it looks as it is known to; else followed by each
 * file: a struct request_rules_file, its path, and its text or why it is not taken. */
struct request_rules {
    uint64_t known; /* how it looked; 0: it was never seen */
    uint32_t script;
    uint32_t unused;
};

struct request_rules_seen {
    uint64_t looks, hash; /* of all that follows */
};

struct request_rules_file {
    uint32_t path_len, text_len, refused;
};

/* Followed by the name of the script and that of the store, each with its NUL. A refusal is a
 * struct request_refusal and a sentence without NUL, in an answer that went well. */
struct request_store {
    uint32_t script;
};

/* Followed by the name of the script with its NUL. The answer is empty when it was sent, else a
 * refusal. */
struct request_signal {
    int64_t starttime; /* as in request_probe, but never -1 */
    int32_t pid;
    int32_t signal;
    uint32_t script;
    uint32_t unused;
};

struct request_refusal {
    int32_t error; /* -errno */
};

/* The answer is a struct keeper_answer, and to ADOPT a spec after it. */
struct request_sink {
    uint64_t life; /* of the asker, see struct keeper_asker */
    uint32_t id, what;
    uint32_t script; /* who opens it */
    uint32_t unused;
};

/* What is known of a pid that lives; of others only whether it is listed. */
enum census_flag {
    CENSUS_LISTED = 1, /* in the list of /proc */
    CENSUS_OPEN = 2,   /* /proc/PID is there, and is about it */
    CENSUS_LIVES = 4,  /* kill() reaches it */
    CENSUS_THREAD = 8, /* of a process with another pid */
};

#define CENSUS_MOST 8192 /* pids in a question */

#define REQUEST_MAX ((size_t)256 * 1024) /* bytes of a question */
#define REQUEST_FDS 4                    /* descriptors of an answer */

/* The asking side's end; begun with { .fd = ... }. */
struct request_link {
    int fd;             /* borrowed */
    uint32_t asked;     /* the number of the last question */
    uint32_t answered;  /* that of the last answer that came */
};

/* Ask and wait, two seconds at most. The answer is appended to `out`; its descriptors go to `fds`
 * (room for REQUEST_FDS; NULL: none is wanted). Returns how many came, or what the answering side
 * returned below 0. -ETIMEDOUT: it takes longer; its answer will be thrown away when it comes, and
 * until then nothing else is asked: -EBUSY. -EPIPE: nobody answers any more. */
int request_ask(struct request_link *link, enum request_kind kind, const void *bytes, size_t len,
                struct buf *out, int *fds);

/* Answer one question: append bytes to `out`, put descriptors (sent and then closed) into `fds`.
 * Returns how many descriptors, or -errno. `bytes` is aligned for any type. */
typedef int request_answer(void *ctx, uint32_t kind, const void *bytes, size_t len,
                           struct buf *out, int *fds);

/* Answer on `fd` until the asker hangs up or talks nonsense. */
void request_serve(int fd, request_answer *answer, void *ctx);

#endif
