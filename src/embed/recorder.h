/* recorder.h - the process that writes down what the watch sees: into one file, or round and round into
 * those of the flight recorder.
 *
 * Reads the ring as a worker does, but looks at it once a second, or when much waits. A disk that is slow
 * or full costs records of the recording, which are counted in it, and holds up nobody.
 * Workers send it what came to their scripts besides events. It runs no script, keeps no capability, and
 * sees to it that secrets are left out. */
#ifndef EMBED_RECORDER_H
#define EMBED_RECORDER_H

#include "record/recording.h"
#include "ring/ring.h"

#include <stdatomic.h>

struct recorder; /* opaque */
struct redact_rules;

struct recorder_options {
    int fd;              /* of the file, empty; -1: segments in `dir` */
    int dir;             /* descriptor of the directory */
    uint64_t bytes;      /* of the file: then no more is written; of all segments together */
    size_t table_bytes;  /* bound of its table of processes, for segments */
    const struct redact_rules *rules; /* NULL: nothing is left out */
};

/* Start it, as this reader of the ring. 0, or -errno. */
int recorder_start(struct recorder **out, const struct recorder_options *options, struct ring *ring,
                   int reader);

/* Where workers send notes (recorder_note), and how it is known that something is said. Borrowed. */
int recorder_notes(const struct recorder *r);
int recorder_fd(const struct recorder *r);

/* In a worker: send it one; what it has no room for now is counted and left out. */
void recorder_note(const struct recorder *r, const struct recording_note *note);

/* What a segment keeper is to write into a file of its own (`fd`: borrowed). */
struct recorder_dump {
    int64_t from_ns, until_ns; /* F_TIME; it begins when `until_ns` is over */
    int64_t pid, starttime;    /* whose family is kept however early or late; -1: nobody's */
    uint32_t number;           /* to know it again */
};
int recorder_ask(struct recorder *r, const struct recorder_dump *dump, int fd);

enum recorder_say { RECORDER_FULL, RECORDER_DUMPED };
struct recorder_message {
    uint32_t say;    /* enum recorder_say */
    uint32_t number; /* DUMPED: of which */
    int32_t error;   /* DUMPED: 0, or errno */
};

/* 1: it said something; 0: not now; -EPIPE: it has ended. */
int recorder_hear(struct recorder *r, struct recorder_message *message);

struct recorder_counters {
    uint64_t events, notes;
    uint64_t missed;  /* records that it was too slow for */
    uint64_t dropped; /* that could not be written */
    uint64_t notes_lost, bytes, redacted;
    int error;        /* errno of the last write, 0: it went well */
};
struct recorder_counters recorder_count(const struct recorder *r);

/* No record follows: let it write what is left, ten seconds at most. 0, or -errno: what could not be
 * written, or -EIO: it had to be killed. */
int recorder_stop(struct recorder *r);

/* Stops it too. NULL is fine. */
void recorder_free(struct recorder *r);

#endif
