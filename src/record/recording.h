/* recording.h - a file that holds what a watch saw: its records, and what its hosts were told
 * beside them.
 *
 * One format for recording, replay, tests and the flight recorder. A header, then frames of some
 * hundred kilobytes, each compressed and with its checksum, then an index when the file was closed
 * in order. A frame is readable without the ones before it: what is torn off at the end costs that
 * frame alone. Records are kept by the names of their fields, so that files outlive versions. Knows
 * no ring, no loop and no Lua. */
#ifndef RECORD_RECORDING_H
#define RECORD_RECORDING_H

#include "event/event.h"

#define RECORDING_VERSION 1

/* Where and when it was made. */
struct recording_head {
    uint64_t boot;            /* event_boot_id() */
    int64_t real_ns, mono_ns; /* at its begin */
    int32_t utc_offset_s;     /* of local time */
    char host[65];            /* the machine's name */
};

/* What a host was told beside the records, in the order in which it was told. */
enum recording_note_kind {
    NOTE_ANSWER = 1, /* to a question: `question`, `result`, `answer` */
    NOTE_TICK,       /* its clock went on to `mono_ns`, `real_ns` */
    NOTE_STORM,      /* `result` is the step, as host/storm.h has them */
    NOTE_MISSED,     /* it was not told of the `result` records after `seq` */
    NOTE_ALERT,      /* one was told: `answer` is an object of JSON, see host/api/witness.c */
    NOTE_LOADED, /* a version of a script: `question` is its stem, `answer` a uint64_t hash of its
                    text */
};

struct recording_note {
    uint8_t kind;  /* enum recording_note_kind */
    uint8_t group; /* which host: the number of its place */
    uint16_t what; /* ANSWER: the kind of question */
    int32_t result;
    uint64_t seq; /* the last record that it was told of; 0: none yet */
    int64_t mono_ns, real_ns;
    const void *question, *answer; /* borrowed */
    uint32_t question_len, answer_len;
};

/* --- writing ---------------------------------------------------------------------------------- */

struct recording_writer; /* opaque */

struct recording_counters {
    uint64_t events, notes; /* in the file, or about to be */
    uint64_t dropped;       /* events that could not be written: disk full or worse */
    uint64_t notes_dropped; /* the same */
    uint64_t untold;        /* events that are missing, and nothing in the file says so yet */
    uint64_t bytes;         /* of the file */
    int error;              /* errno of the last write that failed; 0: the last one went well */
};

/* Begin a file on `fd` (borrowed; empty, positioned at 0). 0, or -errno. */
int recording_begin(struct recording_writer **out, int fd, const struct recording_head *head);

/* Append. `known`: nothing happened, the process was there already when the file began. Never
 * allocates but in the begin. What cannot be written is dropped and counted; later ones are tried
 * again, and a gap frame says how many are missing there. */
void recording_event(struct recording_writer *w, const struct event *ev, bool known);
void recording_note(struct recording_writer *w, const struct recording_note *note);

/* Records that never came here: the same gap. */
void recording_gap(struct recording_writer *w, uint64_t events);

/* Write what waits, so that a kill costs nothing before this. About once a second. */
void recording_flush(struct recording_writer *w);

struct recording_counters recording_count(const struct recording_writer *w);

/* Flush, write the index, free. 0, or -errno of what could not be written. */
int recording_end(struct recording_writer *w);

/* --- reading ---------------------------------------------------------------------------------- */

struct recording; /* opaque */

/* Open a file for reading. 0; -EBADMSG: it is no recording, or of a version that is not known;
 * another -errno. With a sentence in `why` (what, where, how to mend) unless 0. */
int recording_open(struct recording **out, const char *path, char *why, size_t cap);
void recording_close(struct recording *r);

const struct recording_head *recording_head(const struct recording *r);

struct recording_about {
    uint64_t events, notes, gaps; /* gaps: events that are missing, as gap frames say */
    int64_t first_ns, last_ns;    /* F_TIME of the first and last event; 0: there is none */
    uint64_t bytes;
    bool torn;           /* no index: it was not closed in order */
    uint64_t torn_bytes; /* at its end, that hold no whole frame */
    uint64_t bad_frames; /* whose checksum is wrong */
};
/* From the index, or from a walk over the frames' heads. */
const struct recording_about *recording_about(const struct recording *r);

/* The next event into the box (valid by event_valid, F_SEQ as written). 1: an event; 2: a process
 * that was there at the begin; 0: the end; -EOVERFLOW: `*missing` events are missing here (call
 * again); -EBADMSG: a frame is damaged and was skipped, and with it `*missing` events, 0: nobody
 * knows how many (call again); another -errno: nothing more can be read. */
int recording_next(struct recording *r, struct event_box *box, uint64_t *missing);

/* To the first frame that may hold an event of this time (F_TIME) or later. */
void recording_seek(struct recording *r, int64_t time_ns);
void recording_rewind(struct recording *r);

/* Visit all notes in order; those of damaged frames are left out. Independent of recording_next. 0,
 * or -errno. */
typedef void recording_visit(void *ctx, const struct recording_note *note);
int recording_notes(struct recording *r, recording_visit *visit, void *ctx);

#endif
