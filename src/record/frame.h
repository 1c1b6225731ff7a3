/* frame.h - the parts of a recording's file, byte by byte.
 *
 *   file      header, frame of the DICTIONARY, frames, INDEX, trailer
 *   header    magic, version, size of the header, boot, real_ns, mono_ns, utc_offset_s, host,
 * marker, checksum frame     head, and `stored` bytes: `raw` bytes, maybe compressed trailer where
 * the frame of the index begins, marker, magic, checksum
 *
 * Numbers have their low byte first. The marker, by which frames are found again behind damage, is
 * drawn for each file: who starts processes cannot write a frame into their arguments. */
#ifndef RECORD_FRAME_H
#define RECORD_FRAME_H

#include "record/recording.h"

#define MARKER       8
#define HEADER_SIZE  136
#define FRAME_HEAD   56
#define TRAILER_SIZE 24
#define FRAME_MOST   (16 * 1024 * 1024) /* bytes after the head, compressed or not */

enum frame_kind {
    FRAME_DICTIONARY = 1, /* see dictionary_take */
    FRAME_EVENTS,         /* `count` records, see decoder_begin */
    FRAME_NOTES,          /* `count` notes, see note_take */
    FRAME_GAP,            /* `number` events are missing here */
    FRAME_INDEX,          /* struct index */
};

enum frame_packing { PACKING_NONE, PACKING_ZSTD };

struct frame {
    uint8_t kind, packing;
    uint32_t stored, raw, count;
    uint32_t crc;              /* of the stored bytes */
    uint64_t number;           /* EVENTS: the first F_SEQ, 0: none has one */
    int64_t first_ns, last_ns; /* EVENTS: the least F_TIME, and the largest; 0: none has one */
};

void frame_put(uint8_t to[FRAME_HEAD], const struct frame *f, const uint8_t marker[MARKER]);

/* False: these bytes are not the head of a frame. */
bool frame_take(struct frame *f, const uint8_t bytes[FRAME_HEAD], const uint8_t marker[MARKER]);

void header_put(uint8_t to[HEADER_SIZE], const struct recording_head *head,
                const uint8_t marker[MARKER]);

/* 0; -EBADMSG: it is no recording; -ENOTSUP: one of another version. */
int header_take(struct recording_head *head, uint8_t marker[MARKER],
                const uint8_t bytes[HEADER_SIZE]);

void trailer_put(uint8_t to[TRAILER_SIZE], uint64_t index_at, const uint8_t marker[MARKER]);
bool trailer_take(uint64_t *index_at, const uint8_t bytes[TRAILER_SIZE],
                  const uint8_t marker[MARKER]);

/* --- notes ------------------------------------------------------------------------------------ */

#define NOTE_FRONT 80 /* bytes of a note before question and answer, at most */

/* Times and numbers are written as what they are more than in the note before in the frame. Returns
 * how many bytes; question and answer are to follow. */
size_t note_put(uint8_t to[NOTE_FRONT], const struct recording_note *note,
                const struct recording_note *before);

/* Take the next note, its parts borrowed from the bytes. False: there is none, whole. */
bool note_take(struct recording_note *note, const uint8_t **at, const uint8_t *end,
               const struct recording_note *before);

/* --- the index -------------------------------------------------------------------------------- */

#define INDEX_MOST 1024

/* Every `every`th frame of events: where it is, and the largest F_TIME up to its end. */
struct index {
    struct recording_about about; /* what is in the file before the index */
    uint32_t every, passed;       /* passed: since the last entry */
    uint32_t len;
    struct index_entry {
        uint64_t at;
        int64_t last_ns;
    } entry[INDEX_MOST];
};

/* A frame of this file comes at `at`. Never fails: a full index loses every second entry. */
void index_add(struct index *x, const struct frame *f, uint64_t at);

#define INDEX_BYTES (48 + 16 * INDEX_MOST)

size_t index_put(uint8_t to[INDEX_BYTES], const struct index *x);

/* False: these are not the bytes of an index. */
bool index_take(struct index *x, const uint8_t *bytes, size_t len);

#endif
