/* frame.c - the parts of a recording's file, byte by byte. See frame.h. */
#include "record/frame.h"

#include "base/crc.h"
#include "record/wire.h"

#include <errno.h>

/* A text file's editor or transfer damages it at the second byte. */
static const char magic[8] = { 'm', '\r', '\n', 'w', 'r', 'e', 'c', '\x1a' };
static const char trailer_magic[4] = { 'd', 'o', 'n', 'e' };

#define HOST_SIZE 72

static uint8_t *put_crc(uint8_t *begin, uint8_t *at)
{
    return put_u32(at, crc32c(0, begin, (size_t)(at - begin)));
}

/* Of what precedes the last four bytes. */
static bool crc_fits(const uint8_t *bytes, size_t len)
{
    const uint8_t *at = bytes + len - 4;
    return crc32c(0, bytes, len - 4) == take_u32(&at);
}

void frame_put(uint8_t to[FRAME_HEAD], const struct frame *f, const uint8_t marker[MARKER])
{
    uint8_t *at = (uint8_t *)memcpy(to, marker, MARKER) + MARKER;
    *at++ = f->kind;
    *at++ = f->packing;
    at = put_u16(at, 0);
    at = put_u32(at, f->stored);
    at = put_u32(at, f->raw);
    at = put_u32(at, f->count);
    at = put_u64(at, f->number);
    at = put_u64(at, (uint64_t)f->first_ns);
    at = put_u64(at, (uint64_t)f->last_ns);
    at = put_u32(at, f->crc);
    put_crc(to, at);
}

bool frame_take(struct frame *f, const uint8_t bytes[FRAME_HEAD], const uint8_t marker[MARKER])
{
    const uint8_t *at = bytes + MARKER;
    if (memcmp(bytes, marker, MARKER) || !crc_fits(bytes, FRAME_HEAD))
        return false;
    f->kind = *at++;
    f->packing = *at++;
    at += 2;
    f->stored = take_u32(&at);
    f->raw = take_u32(&at);
    f->count = take_u32(&at);
    f->number = take_u64(&at);
    f->first_ns = (int64_t)take_u64(&at);
    f->last_ns = (int64_t)take_u64(&at);
    f->crc = take_u32(&at);
    return f->stored <= FRAME_MOST && f->raw <= FRAME_MOST;
}

void header_put(uint8_t to[HEADER_SIZE], const struct recording_head *head,
                const uint8_t marker[MARKER])
{
    uint8_t *at = (uint8_t *)memcpy(to, magic, sizeof magic) + sizeof magic;
    at = put_u32(at, RECORDING_VERSION);
    at = put_u32(at, HEADER_SIZE);
    at = put_u64(at, head->boot);
    at = put_u64(at, (uint64_t)head->real_ns);
    at = put_u64(at, (uint64_t)head->mono_ns);
    at = put_u32(at, (uint32_t)head->utc_offset_s);
    memset(at, 0, HOST_SIZE);
    memcpy(at, head->host, strnlen(head->host, sizeof head->host - 1));
    at = (uint8_t *)memcpy(at + HOST_SIZE, marker, MARKER) + MARKER;
    memset(at, 0, HEADER_SIZE - 4 - (size_t)(at - to));
    put_crc(to, to + HEADER_SIZE - 4);
}

int header_take(struct recording_head *head, uint8_t marker[MARKER],
                const uint8_t bytes[HEADER_SIZE])
{
    const uint8_t *at = bytes + sizeof magic;
    if (memcmp(bytes, magic, sizeof magic))
        return -EBADMSG;
    if (take_u32(&at) != RECORDING_VERSION || take_u32(&at) != HEADER_SIZE)
        return -ENOTSUP;
    if (!crc_fits(bytes, HEADER_SIZE))
        return -EBADMSG;
    memset(head, 0, sizeof *head);
    head->boot = take_u64(&at);
    head->real_ns = (int64_t)take_u64(&at);
    head->mono_ns = (int64_t)take_u64(&at);
    head->utc_offset_s = (int32_t)take_u32(&at);
    memcpy(head->host, at, sizeof head->host - 1);
    memcpy(marker, at + HOST_SIZE, MARKER);
    return 0;
}

void trailer_put(uint8_t to[TRAILER_SIZE], uint64_t index_at, const uint8_t marker[MARKER])
{
    uint8_t *at = put_u64(to, index_at);
    at = (uint8_t *)memcpy(at, marker, MARKER) + MARKER;
    at = (uint8_t *)memcpy(at, trailer_magic, sizeof trailer_magic) + sizeof trailer_magic;
    put_crc(to, at);
}

bool trailer_take(uint64_t *index_at, const uint8_t bytes[TRAILER_SIZE],
                  const uint8_t marker[MARKER])
{
    const uint8_t *at = bytes;
    *index_at = take_u64(&at);
    return !memcmp(at, marker, MARKER) &&
           !memcmp(at + MARKER, trailer_magic, sizeof trailer_magic) &&
           crc_fits(bytes, TRAILER_SIZE);
}

/* --- notes ------------------------------------------------------------------------------------ */

size_t note_put(uint8_t to[NOTE_FRONT], const struct recording_note *note,
                const struct recording_note *before)
{
    uint8_t *at = to;
    *at++ = note->kind;
    *at++ = note->group;
    at = put_varint(at, note->what);
    at = put_varint(at, zigzag((uint64_t)note->result));
    at = put_varint(at, zigzag(note->seq - before->seq));
    at = put_varint(at, zigzag((uint64_t)note->mono_ns - (uint64_t)before->mono_ns));
    at = put_varint(at, zigzag((uint64_t)note->real_ns - (uint64_t)before->real_ns));
    at = put_varint(at, note->question_len);
    at = put_varint(at, note->answer_len);
    return (size_t)(at - to);
}

/* `bytes` of these are to follow. */
static bool take_part(const void **part, const uint8_t **at, const uint8_t *end, uint64_t bytes)
{
    if (bytes > (size_t)(end - *at))
        return false;
    *part = *at;
    *at += bytes;
    return true;
}

bool note_take(struct recording_note *note, const uint8_t **at, const uint8_t *end,
               const struct recording_note *before)
{
    uint8_t front[NOTE_FRONT] = { 0 }; /* a number at the end may be read beyond it */
    size_t left = (size_t)(end - *at);
    memcpy(front, *at, left < sizeof front ? left : sizeof front);
    const uint8_t *from = front;
    note->kind = *from++;
    note->group = *from++;
    note->what = (uint16_t)take_varint(&from);
    note->result = (int32_t)unzigzag(take_varint(&from));
    note->seq = before->seq + unzigzag(take_varint(&from));
    note->mono_ns = (int64_t)((uint64_t)before->mono_ns + unzigzag(take_varint(&from)));
    note->real_ns = (int64_t)((uint64_t)before->real_ns + unzigzag(take_varint(&from)));
    uint64_t question = take_varint(&from), answer = take_varint(&from);
    if ((size_t)(from - front) > left)
        return false;
    *at += from - front;
    if (!take_part(&note->question, at, end, question) ||
        !take_part(&note->answer, at, end, answer))
        return false;
    note->question_len = (uint32_t)question;
    note->answer_len = (uint32_t)answer;
    return true;
}

/* --- the index -------------------------------------------------------------------------------- */

static void thin_out(struct index *x)
{
    x->len /= 2;
    for (uint32_t i = 0; i < x->len; i++)
        x->entry[i] = x->entry[2 * i];
    x->every *= 2;
    x->passed = 0;
}

static void add_entry(struct index *x, uint64_t at)
{
    if (!x->every)
        x->every = 1;
    if (x->len && ++x->passed < x->every)
        return;
    if (x->len == INDEX_MOST)
        thin_out(x);
    x->passed = 0;
    x->entry[x->len++] = (struct index_entry){ at, x->about.last_ns };
}

void index_add(struct index *x, const struct frame *f, uint64_t at)
{
    struct recording_about *about = &x->about;
    if (f->kind == FRAME_NOTES)
        about->notes += f->count;
    if (f->kind == FRAME_GAP)
        about->gaps += f->number;
    if (f->kind != FRAME_EVENTS)
        return;
    about->events += f->count;
    if (f->first_ns && (!about->first_ns || f->first_ns < about->first_ns))
        about->first_ns = f->first_ns;
    if (f->last_ns > about->last_ns)
        about->last_ns = f->last_ns;
    add_entry(x, at);
}

size_t index_put(uint8_t to[INDEX_BYTES], const struct index *x)
{
    uint8_t *at = put_u64(to, x->about.events);
    at = put_u64(at, x->about.notes);
    at = put_u64(at, x->about.gaps);
    at = put_u64(at, (uint64_t)x->about.first_ns);
    at = put_u64(at, (uint64_t)x->about.last_ns);
    at = put_u32(at, x->every);
    at = put_u32(at, x->len);
    for (uint32_t i = 0; i < x->len; i++) {
        at = put_u64(at, x->entry[i].at);
        at = put_u64(at, (uint64_t)x->entry[i].last_ns);
    }
    return (size_t)(at - to);
}

bool index_take(struct index *x, const uint8_t *bytes, size_t len)
{
    const uint8_t *at = bytes;
    memset(x, 0, sizeof *x);
    if (len < 48)
        return false;
    x->about.events = take_u64(&at);
    x->about.notes = take_u64(&at);
    x->about.gaps = take_u64(&at);
    x->about.first_ns = (int64_t)take_u64(&at);
    x->about.last_ns = (int64_t)take_u64(&at);
    x->every = take_u32(&at);
    x->len = take_u32(&at);
    if (x->len > INDEX_MOST || len != 48 + (size_t)16 * x->len)
        return false;
    for (uint32_t i = 0; i < x->len; i++) {
        x->entry[i].at = take_u64(&at);
        x->entry[i].last_ns = (int64_t)take_u64(&at);
    }
    return true;
}
