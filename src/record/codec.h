/* codec.h - records as few bytes: what is not as it was to be expected.
 *
 * The records of one frame are written as differences, each from an earlier one of the same frame,
 * its reference: the last of the same process, else the last of its parent, else the one before it.
 * What has a value and how that is known comes in a handful of combinations; they are listed when
 * they first come, as shapes, and a record has the number of its shape. So does text: each one is
 * written once. Fields are numbered as in the dictionary of the file, which has their names and how
 * they are guessed.
 *
 * Equal after reading are the reason of every field, and every value and text; not the bytes that
 * no field owns. Knows no file and no compression. */
#ifndef RECORD_CODEC_H
#define RECORD_CODEC_H

#include "event/event.h"

#include <sys/uio.h>

#define CODEC_FIELDS      64 /* in a dictionary */
#define CODEC_KINDS       32
#define CODEC_SHAPES      512                /* in a frame */
#define CODEC_TEXTS       4096               /* in a frame */
#define CODEC_WINDOW      (1024 * 1024)      /* bytes of records, unpacked, in a frame of ours */
#define CODEC_WINDOW_MOST (16 * 1024 * 1024) /* in one of any version */

/* What a field is guessed to be. R: the same field in the reference, or 0; V: a field of this
 * record. C: what the last record had that has such a field, or 0; of PID and STARTTIME, only
 * records that are the first of their process here count. `young`: this is one of them. The order
 * is that in which numbers are read. */
#define CODEC_GUESSES(G)                                                                           \
    G(MONO, C(MONO))                                                                               \
    G(SEQ, C(SEQ) + 1)                                                                             \
    G(TIME, C(TIME) + V(MONO) - C(MONO))                                                           \
    G(CPU, C(CPU))                                                                                 \
    G(PID, young ? C(PID) + 1 : R(PID))                                                            \
    G(TID, V(PID))                                                                                 \
    G(PPID, young ? R(PID) : R(PPID))                                                              \
    G(START, young ? V(TIME) : R(START))                                                           \
    G(STARTTIME, young ? C(STARTTIME) : R(STARTTIME))                                              \
    G(EXECS, young ? 0 : R(EXECS))                                                                 \
    G(DURATION, V(TIME) - V(START))

enum codec_method {
    METHOD_KEPT,                      /* guessed as in the reference */
#define G(NAME, guess) METHOD_##NAME, /* at most one field each */
    CODEC_GUESSES(G)
#undef G
        METHOD_KIND, /* what happened: it is in the shape */
    METHOD_BYTES,    /* as KEPT; often a multiple of 4096 */
    METHOD_BEFORE,   /* guessed as another field is in the reference */
    METHODS
};

struct codec_dictionary {
    uint8_t fields, kinds;
    uint32_t window; /* a frame's records take no more */
    struct codec_field {
        char name[32];
        uint8_t type;   /* enum event_type */
        uint8_t method; /* enum codec_method */
        uint8_t other;  /* METHOD_BEFORE: which */
    } field[CODEC_FIELDS];
    char kind[CODEC_KINDS][16]; /* names */
};

/* Of this program. */
void dictionary_ours(struct codec_dictionary *d);

#define DICTIONARY_MOST 4096 /* bytes, written */

/* Returns how many bytes. */
size_t dictionary_put(const struct codec_dictionary *d, uint8_t to[DICTIONARY_MOST]);

/* 0; -EBADMSG: these are not the bytes of one; -ENOTSUP: it is guessed in ways that are not known.
 */
int dictionary_take(struct codec_dictionary *d, const uint8_t *bytes, size_t len);

/* A frame: the length of each of these (u32), and they:
 *
 *   HEADS    for each record the number of its shape (0: a new one follows), and how many records
 * back its reference is (0: it has none). A shape: flags, kind, the fields that are not as guessed
 *            (u64), the reason of each field
 *   TIMES    what MONO is more than guessed
 *   NUMBERS  the same of the other numbers that are not as guessed: of CODEC_GUESSES first, then of
 * the rest as they are numbered IDS      of each text that is not as guessed: its number; 0: it is
 * new, its length follows TEXT     the new ones */
enum codec_stream { CODEC_HEADS, CODEC_TIMES, CODEC_NUMBERS, CODEC_IDS, CODEC_TEXT, CODEC_STREAMS };

enum codec_flag { CODEC_YOUNG = 1, CODEC_KNOWN = 2 };

/* --- packing ---------------------------------------------------------------------------------- */

struct encoder; /* opaque */

/* NULL: no memory. Nothing else allocates. */
struct encoder *encoder_new(void);
void encoder_free(struct encoder *e);

/* Append a record. 0; -ENOBUFS: the frame is full; -E2BIG: it cannot be kept. */
int encoder_add(struct encoder *e, const struct event *ev, bool known);

/* The frame as it is now: where its parts lie (borrowed), to be read as one. Returns how many
 * bytes. */
size_t encoder_parts(struct encoder *e, struct iovec parts[CODEC_STREAMS + 1]);

#define ENCODER_MOST (2 * 1024 * 1024) /* encoder_parts returns no more */

uint32_t encoder_count(const struct encoder *e);

/* Begin a new frame. */
void encoder_clear(struct encoder *e);

/* --- unpacking -------------------------------------------------------------------------------- */

struct decoder; /* opaque */

/* For files of this dictionary. 0, or -ENOMEM. */
int decoder_new(struct decoder **out, const struct codec_dictionary *d);
void decoder_free(struct decoder *d);

#define DECODER_SLACK 1024 /* bytes behind a frame that may be read, whatever they are */

/* A frame of `count` records; borrowed until the last of them was taken. 0, or -EBADMSG. */
int decoder_begin(struct decoder *d, const void *bytes, size_t len, uint32_t count);

/* The next record, valid by event_valid. 1, or 2: it was `known`; 0: there is none left; -EBADMSG:
 * and none is left. Records of kinds that this program does not know are left out. */
int decoder_next(struct decoder *d, struct event_box *box);

#endif
