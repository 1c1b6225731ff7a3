/* reader.c - reads a recording. See recording.h, and frame.h for what is in the file.
 *
 * The bytes may be anybody's: nothing is believed but what a checksum covers, and of that only what
 * stays inside its bounds. Reads by pread: a file that is cut meanwhile is a short one, no signal.
 */
#include "record/recording.h"

#include "base/crc.h"
#include "record/codec.h"
#include "record/frame.h"
#include "record/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define SEARCH ((size_t)64 * 1024) /* read at once when a marker is looked for */

/* Bytes of frames, in memory that is kept from one to the next. */
struct loader {
    ZSTD_DCtx *zstd;       /* owned */
    uint8_t *stored, *raw; /* owned */
    size_t stored_cap, raw_cap;
};

struct recording {
    int fd;
    uint64_t begin, end, at; /* of the frames; the next one */
    uint8_t marker[MARKER];
    struct recording_head head;
    struct index index;      /* its `about` is what is told */
    struct decoder *decoder; /* owned */
    struct loader loader;
    uint32_t left;   /* records of this frame that were not told */
    uint64_t judged; /* damage before this is counted */
};

/* --- bytes of the file ------------------------------------------------------------------------ */

/* Returns how many there were, or -errno. */
static ssize_t read_at(int fd, void *to, size_t len, uint64_t at)
{
    size_t have = 0;
    while (have < len) {
        ssize_t got = pread(fd, (char *)to + have, len - have, (off_t)(at + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* The frame that begins here and ends before `end`. 1; 0: there is none; -errno. */
static int frame_at(const struct recording *r, struct frame *f, uint64_t at, uint64_t end)
{
    uint8_t bytes[FRAME_HEAD];
    if (at > end || end - at < FRAME_HEAD)
        return 0;
    ssize_t got = read_at(r->fd, bytes, sizeof bytes, at);
    if (got < 0)
        return (int)got;
    return got == FRAME_HEAD && frame_take(f, bytes, r->marker) &&
           f->stored <= end - at - FRAME_HEAD;
}

/* Where the first whole frame begins at `*at` or behind it. 1; 0: there is none; -errno. */
static int find_frame(const struct recording *r, struct frame *f, uint64_t *at, uint64_t end)
{
    uint8_t bytes[SEARCH];
    int here = frame_at(r, f, *at, end);
    if (here)
        return here;
    while (*at < end && end - *at >= FRAME_HEAD) {
        ssize_t got = read_at(r->fd, bytes, sizeof bytes, *at);
        if (got < FRAME_HEAD)
            return got < 0 ? (int)got : 0;
        const uint8_t *found = memmem(bytes, (size_t)got, r->marker, MARKER);
        if (!found) {
            *at += (uint64_t)got - MARKER + 1;
            continue;
        }
        *at += (uint64_t)(found - bytes);
        int result = frame_at(r, f, *at, end);
        if (result)
            return result;
        *at += 1;
    }
    return 0;
}

static bool grow(uint8_t **bytes, size_t *cap, size_t len)
{
    if (len <= *cap)
        return true;
    free(*bytes);
    *bytes = malloc(len);
    *cap = *bytes ? len : 0;
    return *bytes;
}

/* The bytes of the frame at `at`, with slack behind them; they stay in `raw` until the next. 0;
 * -EBADMSG: not those that were written; another -errno. */
static int load(struct loader *l, const struct recording *r, const struct frame *f, uint64_t at)
{
    if (!grow(&l->stored, &l->stored_cap, (size_t)f->stored + DECODER_SLACK) ||
        !grow(&l->raw, &l->raw_cap, (size_t)f->raw + DECODER_SLACK))
        return -ENOMEM;
    ssize_t got = read_at(r->fd, l->stored, f->stored, at + FRAME_HEAD);
    if (got < 0)
        return (int)got;
    if ((size_t)got != f->stored || crc32c(0, l->stored, f->stored) != f->crc)
        return -EBADMSG;
    if (f->packing == PACKING_NONE && f->stored == f->raw)
        memcpy(l->raw, l->stored, f->raw);
    else if (f->packing != PACKING_ZSTD ||
             ZSTD_decompressDCtx(l->zstd, l->raw, f->raw, l->stored, f->stored) != f->raw)
        return -EBADMSG;
    memset(l->raw + f->raw, 0, DECODER_SLACK);
    return 0;
}

static bool loader_init(struct loader *l)
{
    *l = (struct loader){ .zstd = ZSTD_createDCtx() };
    return l->zstd;
}

static void loader_fini(struct loader *l)
{
    ZSTD_freeDCtx(l->zstd);
    free(l->stored);
    free(l->raw);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int take_dictionary(struct recording *r)
{
    struct codec_dictionary d;
    struct frame f;
    int result = frame_at(r, &f, HEADER_SIZE, r->end);
    if (result <= 0 || f.kind != FRAME_DICTIONARY)
        return result < 0 ? result : -EBADMSG;
    result = load(&r->loader, r, &f, HEADER_SIZE);
    if (!result)
        result = dictionary_take(&d, r->loader.raw, f.raw);
    if (!result)
        result = decoder_new(&r->decoder, &d);
    r->begin = r->at = HEADER_SIZE + FRAME_HEAD + f.stored;
    return result;
}

/* False: there is no index that can be believed. */
static bool take_index(struct recording *r)
{
    uint8_t bytes[TRAILER_SIZE];
    struct frame f;
    uint64_t at;
    if (r->end < r->begin + FRAME_HEAD + TRAILER_SIZE ||
        read_at(r->fd, bytes, sizeof bytes, r->end - sizeof bytes) != sizeof bytes ||
        !trailer_take(&at, bytes, r->marker) || at < r->begin)
        return false;
    if (frame_at(r, &f, at, r->end - sizeof bytes) != 1 || f.kind != FRAME_INDEX ||
        load(&r->loader, r, &f, at) || !index_take(&r->index, r->loader.raw, f.raw))
        return false;
    r->end = at;
    return true;
}

/* What is known from the heads of the frames. */
static int walk(struct recording *r)
{
    uint64_t at = r->begin, whole = r->begin;
    struct frame f;
    int result;
    memset(&r->index, 0, sizeof r->index);
    r->index.about.torn = true;
    while ((result = find_frame(r, &f, &at, r->end)) > 0) {
        r->index.about.bad_frames += at != whole;
        index_add(&r->index, &f, at);
        whole = at += FRAME_HEAD + f.stored;
    }
    r->index.about.torn_bytes = r->end - whole;
    r->end = whole;
    return result;
}

static int take_file(struct recording *r)
{
    uint8_t bytes[HEADER_SIZE];
    struct stat about;
    if (fstat(r->fd, &about) < 0)
        return -errno;
    if (!S_ISREG(about.st_mode))
        return -EBADMSG;
    ssize_t got = read_at(r->fd, bytes, sizeof bytes, 0);
    if (got < 0)
        return (int)got;
    int result = got < HEADER_SIZE ? -EBADMSG : header_take(&r->head, r->marker, bytes);
    if (result < 0)
        return result;
    r->end = (uint64_t)about.st_size;
    result = take_dictionary(r);
    if (!result && !take_index(r))
        result = walk(r);
    r->index.about.bytes = (uint64_t)about.st_size;
    return result;
}

static void explain(int error, const char *path, char *why, size_t cap)
{
    if (error == -EBADMSG)
        snprintf(why, cap, "%s: is no recording, or its beginning is damaged: give another file",
                 path);
    else if (error == -ENOTSUP)
        snprintf(why, cap,
                 "%s: was recorded by another version of moonwatch: read it with that version",
                 path);
    else
        snprintf(why, cap, "%s: %s", path, strerror(-error));
}

int recording_open(struct recording **out, const char *path, char *why, size_t cap)
{
    struct recording *r = calloc(1, sizeof *r);
    int result = -ENOMEM;
    if (r && loader_init(&r->loader)) {
        r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        result = r->fd < 0 ? -errno : take_file(r);
    } else if (r) {
        r->fd = -1;
    }
    if (!result) {
        *out = r;
        return 0;
    }
    explain(result, path, why, cap);
    recording_close(r);
    return result;
}

void recording_close(struct recording *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    decoder_free(r->decoder);
    loader_fini(&r->loader);
    free(r);
}

const struct recording_head *recording_head(const struct recording *r)
{
    return &r->head;
}

const struct recording_about *recording_about(const struct recording *r)
{
    return &r->index.about;
}

/* --- events ----------------------------------------------------------------------------------- */

/* 0; -EBADMSG: this frame is damaged. */
static int begin_frame(struct recording *r, const struct frame *f, uint64_t at)
{
    int result = load(&r->loader, r, f, at);
    if (!result)
        result = decoder_begin(r->decoder, r->loader.raw, f->raw, f->count);
    r->left = result ? 0 : f->count;
    return result;
}

/* What ends here is damaged: counted once, however often it is read. */
static void judge(struct recording *r)
{
    if (r->at <= r->judged)
        return;
    r->index.about.bad_frames++;
    r->judged = r->at;
}

/* On to the next frame. 1: it has events; 0: it has not; otherwise as recording_next. */
static int next_frame(struct recording *r, uint64_t *missing)
{
    struct frame f;
    uint64_t at = r->at;
    int result = find_frame(r, &f, &at, r->end);
    bool skipped = at != r->at;
    if (result < 0)
        return result;
    r->at = result ? at : r->end;
    if (skipped || !result) {
        if (!r->index.about.torn) /* else the walk has counted it */
            judge(r);
        return -EBADMSG;
    }
    r->at += FRAME_HEAD + f.stored;
    *missing = f.kind == FRAME_GAP ? f.number : f.count;
    if (f.kind == FRAME_GAP)
        return -EOVERFLOW;
    if (f.kind != FRAME_EVENTS)
        return 0;
    result = begin_frame(r, &f, at);
    if (result == -EBADMSG)
        judge(r);
    return result ? result : 1;
}

int recording_next(struct recording *r, struct event_box *box, uint64_t *missing)
{
    *missing = 0;
    for (;;) {
        int result = r->left ? decoder_next(r->decoder, box) : 0;
        if (result > 0) {
            r->left--;
            return result;
        }
        uint64_t lost = result < 0 ? r->left : 0;
        r->left = 0;
        if (!result && r->at >= r->end)
            return 0;
        if (result < 0)
            judge(r);
        else
            result = next_frame(r, &lost);
        if (result < 0) {
            *missing = lost;
            return result;
        }
    }
}

void recording_rewind(struct recording *r)
{
    r->at = r->begin;
    r->left = 0;
}

/* The last entry of the index whose frame, and all before it, end before this time. */
static uint64_t seek_from(const struct recording *r, int64_t time_ns)
{
    uint64_t at = r->begin;
    for (uint32_t i = 0; i < r->index.len && r->index.entry[i].last_ns < time_ns; i++)
        at = r->index.entry[i].at;
    return at;
}

void recording_seek(struct recording *r, int64_t time_ns)
{
    struct frame f;
    uint64_t at = seek_from(r, time_ns);
    r->left = 0;
    r->at = at < r->begin || at > r->end ? r->begin : at;
    for (at = r->at; find_frame(r, &f, &at, r->end) > 0; at += FRAME_HEAD + f.stored) {
        r->at = at;
        if (f.kind == FRAME_EVENTS && f.last_ns >= time_ns)
            return;
    }
    r->at = r->end;
}

/* --- notes ------------------------------------------------------------------------------------ */

static void visit_frame(const struct loader *l, const struct frame *f, recording_visit *visit,
                        void *ctx)
{
    const uint8_t *at = l->raw, *end = l->raw + f->raw;
    struct recording_note before = { 0 }, note;
    for (uint32_t i = 0; i < f->count && note_take(&note, &at, end, &before); i++) {
        visit(ctx, &note);
        before = note;
    }
}

int recording_notes(struct recording *r, recording_visit *visit, void *ctx)
{
    struct loader l;
    struct frame f;
    uint64_t at = r->begin;
    int result = loader_init(&l) ? 0 : -ENOMEM;
    while (!result && (result = find_frame(r, &f, &at, r->end)) > 0) {
        result = f.kind == FRAME_NOTES ? load(&l, r, &f, at) : 0;
        if (!result && f.kind == FRAME_NOTES)
            visit_frame(&l, &f, visit, ctx);
        if (result == -EBADMSG)
            result = 0;
        at += FRAME_HEAD + f.stored;
    }
    loader_fini(&l);
    return result;
}
