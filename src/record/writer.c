/* writer.c - writes a recording. See recording.h, and frame.h for what is in the file.
 *
 * A frame is put together in memory and written by one call. What a failed call left is cut off
 * again, so the file ends with a whole frame or with the part of one that could not be cut. */
#include "record/writer.h"

#include "base/clock.h"
#include "record/codec.h"
#include "record/frame.h"

#include "base/crc.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zstd.h>

#define LEVEL      1 /* 3 and 5 make it 3 % smaller and cost 20 % and 100 % more */
#define RETRY_NS   NS_PER_SECOND
#define NOTES_ROOM (64 * 1024) /* larger ones have a frame of their own */
#define PARTS      4

struct recording_writer {
    int fd; /* borrowed */
    uint8_t marker[MARKER];
    struct encoder *encoder; /* owned */
    ZSTD_CCtx *zstd;         /* owned */
    struct index index;      /* of what was written */
    struct frame frame;      /* what is known of that of events that is being filled */
    uint64_t end;            /* of the last whole frame */
    uint64_t missing;        /* events that no gap frame tells of yet */
    uint64_t dropped, notes_dropped;
    int error;
    int64_t retry_ns; /* after an error nothing is tried before */
    recording_room *room;
    void *room_ctx;
    uint32_t notes; /* in notes_bytes */
    size_t notes_len;
    struct recording_note last_note;
    uint8_t notes_bytes[NOTES_ROOM + NOTE_FRONT];
    uint8_t raw[ENCODER_MOST];
    uint8_t packed[ENCODER_MOST]; /* of what is no smaller then, the raw bytes are written */
};

/* --- bytes into the file ---------------------------------------------------------------------- */

static size_t length(const struct iovec *parts, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += parts[i].iov_len;
    return sum;
}

static int write_all(int fd, struct iovec *parts, int n, uint64_t at)
{
    while (n) {
        ssize_t put = pwritev(fd, parts, n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        at += (uint64_t)put;
        for (; n && (size_t)put >= parts->iov_len; parts++, n--)
            put -= (ssize_t)parts->iov_len;
        if (n) {
            parts->iov_base = (char *)parts->iov_base + put;
            parts->iov_len -= (size_t)put;
        }
    }
    return 0;
}

/* All of it or nothing, at the end of what is whole. */
static int append(struct recording_writer *w, struct iovec *parts, int n)
{
    size_t len = length(parts, n);
    if (w->error && clock_mono_ns() < w->retry_ns)
        return -w->error;
    int result = w->room ? w->room(w->room_ctx, len) : 0;
    if (!result)
        result = write_all(w->fd, parts, n, w->end);
    w->error = -result;
    if (!result) {
        w->end += len;
        return 0;
    }
    w->retry_ns = clock_mono_ns() + RETRY_NS;
    if (ftruncate(w->fd, (off_t)w->end) < 0)
        return result; /* the next one is written over it */
    return result;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* Raw bytes as a frame: its head and what is stored. */
static void pack(struct recording_writer *w, struct frame *f, const void *raw, size_t len,
                 struct iovec *stored)
{
    size_t packed = ZSTD_compress2(w->zstd, w->packed, sizeof w->packed, raw, len);
    bool smaller = !ZSTD_isError(packed) && packed < len;
    stored->iov_base = smaller ? w->packed : (void *)raw;
    stored->iov_len = smaller ? packed : len;
    f->packing = smaller ? PACKING_ZSTD : PACKING_NONE;
    f->raw = (uint32_t)len;
    f->stored = (uint32_t)stored->iov_len;
    f->crc = crc32c(0, stored->iov_base, stored->iov_len);
}

/* A frame with these parts behind its head, and before it one that tells of what is missing. */
static int put_frame(struct recording_writer *w, const struct frame *f, const struct iovec *stored,
                     int n)
{
    uint8_t gap[FRAME_HEAD], head[FRAME_HEAD];
    struct frame missing = { .kind = FRAME_GAP, .number = w->missing };
    struct iovec parts[PARTS + 2];
    int at = 0;
    if (w->missing && f->kind != FRAME_NOTES) {
        frame_put(gap, &missing, w->marker);
        parts[at++] = (struct iovec){ gap, sizeof gap };
    }
    size_t before = length(parts, at);
    frame_put(head, f, w->marker);
    parts[at++] = (struct iovec){ head, sizeof head };
    for (int i = 0; i < n; i++)
        parts[at++] = stored[i];
    uint64_t begin = w->end;
    int result = append(w, parts, at);
    if (result < 0)
        return result;
    if (before) {
        index_add(&w->index, &missing, begin);
        w->missing = 0;
    }
    index_add(&w->index, f, begin + before);
    return 0;
}

static int put_gap(struct recording_writer *w)
{
    uint8_t head[FRAME_HEAD];
    struct frame gap = { .kind = FRAME_GAP, .number = w->missing };
    if (!w->missing)
        return 0;
    frame_put(head, &gap, w->marker);
    int result = append(w, &(struct iovec){ head, sizeof head }, 1);
    if (result < 0)
        return result;
    index_add(&w->index, &gap, w->end - FRAME_HEAD);
    w->missing = 0;
    return 0;
}

static int put_events(struct recording_writer *w)
{
    struct iovec parts[CODEC_STREAMS + 1], stored;
    uint32_t count = encoder_count(w->encoder);
    uint8_t *at = w->raw;
    if (!count)
        return 0;
    encoder_parts(w->encoder, parts);
    for (int i = 0; i <= CODEC_STREAMS; i++)
        at = (uint8_t *)memcpy(at, parts[i].iov_base, parts[i].iov_len) + parts[i].iov_len;
    w->frame.kind = FRAME_EVENTS;
    w->frame.count = count;
    pack(w, &w->frame, w->raw, (size_t)(at - w->raw), &stored);
    int result = put_frame(w, &w->frame, &stored, 1);
    if (result < 0) {
        w->dropped += count;
        w->missing += count;
    }
    encoder_clear(w->encoder);
    w->frame = (struct frame){ 0 };
    return result;
}

static int put_notes(struct recording_writer *w)
{
    struct frame f = { .kind = FRAME_NOTES, .count = w->notes };
    struct iovec stored;
    if (!w->notes)
        return 0;
    pack(w, &f, w->notes_bytes, w->notes_len, &stored);
    int result = put_frame(w, &f, &stored, 1);
    if (result < 0)
        w->notes_dropped += w->notes;
    w->notes = 0;
    w->notes_len = 0;
    w->last_note = (struct recording_note){ 0 };
    return result;
}

/* --- the file's begin and end ----------------------------------------------------------------- */

static int put_begin(struct recording_writer *w, const struct recording_head *head)
{
    uint8_t header[HEADER_SIZE], front[FRAME_HEAD], names[DICTIONARY_MOST];
    struct codec_dictionary dictionary;
    dictionary_ours(&dictionary);
    size_t len = dictionary_put(&dictionary, names);
    struct frame f = { .kind = FRAME_DICTIONARY };
    struct iovec parts[] = { { header, sizeof header }, { front, sizeof front }, { 0 } };
    header_put(header, head, w->marker);
    pack(w, &f, names, len, &parts[2]);
    frame_put(front, &f, w->marker);
    return append(w, parts, 3);
}

static int put_end(struct recording_writer *w)
{
    uint8_t bytes[INDEX_BYTES], head[FRAME_HEAD], trailer[TRAILER_SIZE];
    struct frame f = { .kind = FRAME_INDEX };
    struct iovec parts[] = { { head, sizeof head }, { 0 }, { trailer, sizeof trailer } };
    pack(w, &f, bytes, index_put(bytes, &w->index), &parts[1]);
    frame_put(head, &f, w->marker);
    trailer_put(trailer, w->end, w->marker);
    return append(w, parts, 3);
}

static void free_writer(struct recording_writer *w)
{
    encoder_free(w->encoder);
    ZSTD_freeCCtx(w->zstd);
    free(w);
}

/* The largest frame now, so that no later one makes zstd ask for memory. */
static bool warm_up(struct recording_writer *w)
{
    w->zstd = ZSTD_createCCtx();
    return w->zstd &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL)) &&
           !ZSTD_isError(
               ZSTD_compress2(w->zstd, w->packed, sizeof w->packed, w->raw, sizeof w->raw));
}

int recording_begin(struct recording_writer **out, int fd, const struct recording_head *head)
{
    struct recording_writer *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->fd = fd;
    w->encoder = encoder_new();
    int result = w->encoder && warm_up(w) ? 0 : -ENOMEM;
    if (!result && getrandom(w->marker, sizeof w->marker, GRND_NONBLOCK) != sizeof w->marker)
        result = -errno;
    if (!result)
        result = put_begin(w, head);
    if (result < 0) {
        free_writer(w);
        return result;
    }
    *out = w;
    return 0;
}

void recording_ask_room(struct recording_writer *w, recording_room *room, void *ctx)
{
    w->room = room;
    w->room_ctx = ctx;
}

static int flush(struct recording_writer *w)
{
    int events = put_events(w), notes = put_notes(w), gap = put_gap(w);
    return events ? events : notes ? notes : gap;
}

void recording_flush(struct recording_writer *w)
{
    flush(w);
}

int recording_end(struct recording_writer *w)
{
    int result = flush(w);
    if (!result)
        result = put_end(w);
    free_writer(w);
    return result;
}

/* --- what happened ---------------------------------------------------------------------------- */

static void drop(struct recording_writer *w)
{
    put_events(w); /* they come before what is missing */
    w->dropped++;
    w->missing++;
}

static void widen(struct frame *f, const struct event *ev)
{
    int64_t time = event_int(ev, F_TIME, 0);
    if (!f->number)
        f->number = (uint64_t)event_int(ev, F_SEQ, 0);
    if (time && (!f->first_ns || time < f->first_ns))
        f->first_ns = time;
    if (time > f->last_ns)
        f->last_ns = time;
}

void recording_event(struct recording_writer *w, const struct event *ev, bool known)
{
    int result = encoder_add(w->encoder, ev, known);
    if (result == -ENOBUFS) {
        put_events(w);
        result = encoder_add(w->encoder, ev, known);
    }
    if (result < 0)
        drop(w);
    else
        widen(&w->frame, ev);
}

void recording_gap(struct recording_writer *w, uint64_t events)
{
    put_events(w);
    w->missing += events;
}

static void put_large_note(struct recording_writer *w, const struct recording_note *note)
{
    uint8_t front[NOTE_FRONT];
    struct iovec stored[] = { { front, note_put(front, note, &(struct recording_note){ 0 }) },
                              { (void *)note->question, note->question_len },
                              { (void *)note->answer, note->answer_len } };
    size_t len = length(stored, 3);
    struct frame f = { .kind = FRAME_NOTES, .count = 1 };
    if (len > FRAME_MOST) {
        w->notes_dropped++;
        return;
    }
    f.stored = f.raw = (uint32_t)len;
    for (int i = 0; i < 3; i++)
        f.crc = crc32c(f.crc, stored[i].iov_base, stored[i].iov_len);
    if (put_frame(w, &f, stored, 3) < 0)
        w->notes_dropped++;
}

void recording_note(struct recording_writer *w, const struct recording_note *note)
{
    size_t len = (size_t)note->question_len + note->answer_len;
    if (len > NOTES_ROOM - w->notes_len)
        put_notes(w);
    if (len > NOTES_ROOM) {
        put_large_note(w, note);
        return;
    }
    uint8_t *at = w->notes_bytes + w->notes_len;
    at += note_put(at, note, &w->last_note);
    if (note->question_len)
        memcpy(at, note->question, note->question_len);
    if (note->answer_len)
        memcpy(at + note->question_len, note->answer, note->answer_len);
    w->notes_len = (size_t)(at - w->notes_bytes) + len;
    w->last_note = *note;
    w->notes++;
    if (w->notes_len > NOTES_ROOM)
        put_notes(w);
}

struct recording_counters recording_count(const struct recording_writer *w)
{
    return (struct recording_counters){
        .events = w->index.about.events + encoder_count(w->encoder),
        .notes = w->index.about.notes + w->notes,
        .dropped = w->dropped,
        .notes_dropped = w->notes_dropped,
        .untold = w->missing,
        .bytes = w->end,
        .error = w->error,
    };
}
