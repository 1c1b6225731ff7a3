/* encode.c - packs records into a frame. See codec.h. */
#include "record/codec.h"

#include "record/hash.h"
#include "record/wire.h"

#include <errno.h>
#include <stdlib.h>

#define BIT(field) (UINT64_C(1) << (field))

/* Of our own fields, as masks. */
static const uint64_t texts = 0
#define F(NAME, name, type, ...) | (uint64_t)(TYPE_##type >= TYPE_TEXT) << F_##NAME
#include "event/fields.def"
#undef F
    ;
static const uint64_t guessed = BIT(F_TYPE)
#define G(NAME, guess) | BIT(F_##NAME)
    CODEC_GUESSES(G)
#undef G
    ;

#define RECORDS      (CODEC_WINDOW / sizeof(struct event))
#define PID_PLACES   4096
#define SHAPE_PLACES (2 * CODEC_SHAPES)
#define TEXT_PLACES  (2 * CODEC_TEXTS)
#define PROBES       16 /* for a text: who makes many that look alike costs room, not time */

_Static_assert(PID_PLACES >= RECORDS * 3 / 2, "the table of pids is never full");

struct place {
    uint32_t frame, number;
};

struct shape {
    uint64_t odd; /* fields that are not as guessed */
    uint8_t flags, kind;
    uint8_t why[EVENT_FIELDS];
};

struct text {
    uint32_t hash, off, len; /* off: in the stream */
};

struct encoder {
    uint8_t *stream[CODEC_STREAMS], *at[CODEC_STREAMS];
    size_t copied, unpacked; /* bytes in `window`; that a reader will need */
    uint32_t count, shapes, texts;
    uint32_t frame;         /* its number: places that have it are taken */
    uint64_t last[METHODS]; /* what CODEC_GUESSES calls C */
    struct codec_dictionary dictionary;
    uint8_t lengths[CODEC_STREAMS * sizeof(uint32_t)];
    uint32_t record[RECORDS]; /* offsets in `window` */
    struct place pid[PID_PLACES], shape_at[SHAPE_PLACES], text_at[TEXT_PLACES];
    struct shape shape[CODEC_SHAPES];
    struct text text[CODEC_TEXTS];
    _Alignas(8) uint8_t window[CODEC_WINDOW]; /* the records as they came */
    uint8_t bytes[];                          /* the streams */
};

static const size_t stream_room[CODEC_STREAMS] = {
    [CODEC_HEADS] = 96 * 1024, [CODEC_TIMES] = 32 * 1024,   [CODEC_NUMBERS] = 192 * 1024,
    [CODEC_IDS] = 96 * 1024,   [CODEC_TEXT] = CODEC_WINDOW,
};

/* What one record takes at most; of TEXT its own length. */
static const size_t record_most[CODEC_STREAMS] = {
    [CODEC_HEADS] = 2 * VARINT_MOST + 2 + sizeof(uint64_t) + EVENT_FIELDS,
    [CODEC_TIMES] = VARINT_MOST,
    [CODEC_NUMBERS] = (size_t)(VARINT_MOST + 1) * EVENT_FIELDS,
    [CODEC_IDS] = (size_t)2 * VARINT_MOST * EVENT_FIELDS,
};

struct encoder *encoder_new(void)
{
    size_t room = 0;
    for (int s = 0; s < CODEC_STREAMS; s++)
        room += stream_room[s];
    struct encoder *e = calloc(1, sizeof *e + room);
    if (!e)
        return NULL;
    dictionary_ours(&e->dictionary);
    uint8_t *at = e->bytes;
    for (int s = 0; s < CODEC_STREAMS; s++) {
        e->stream[s] = at;
        at += stream_room[s];
    }
    encoder_clear(e);
    return e;
}

void encoder_free(struct encoder *e)
{
    free(e);
}

void encoder_clear(struct encoder *e)
{
    for (int s = 0; s < CODEC_STREAMS; s++)
        e->at[s] = e->stream[s];
    e->copied = e->unpacked = 0;
    e->count = e->shapes = e->texts = 0;
    memset(e->last, 0, sizeof e->last);
    if (++e->frame)
        return;
    memset(e->pid, 0, sizeof e->pid); /* the number came round */
    memset(e->shape_at, 0, sizeof e->shape_at);
    memset(e->text_at, 0, sizeof e->text_at);
    e->frame = 1;
}

uint32_t encoder_count(const struct encoder *e)
{
    return e->count;
}

size_t encoder_parts(struct encoder *e, struct iovec parts[CODEC_STREAMS + 1])
{
    uint8_t *at = e->lengths;
    size_t sum = sizeof e->lengths;
    parts[0] = (struct iovec){ e->lengths, sizeof e->lengths };
    for (int s = 0; s < CODEC_STREAMS; s++) {
        size_t len = (size_t)(e->at[s] - e->stream[s]);
        at = put_u32(at, (uint32_t)len);
        parts[s + 1] = (struct iovec){ e->stream[s], len };
        sum += len;
    }
    return sum;
}

/* --- what differs ----------------------------------------------------------------------------- */

/* A record and its reference, while it is packed. */
struct pair {
    const struct event *ev, *ref;
    uint64_t has, ref_has;
    uint64_t odd;
    bool young; /* the first of its process here */
};

/* Bit i: the i-th of these eight reasons says that there is a value. */
static uint64_t has_eight(const uint8_t *why)
{
    uint64_t w, low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    memcpy(&w, why, sizeof w);
    w = le64toh(w);
    uint64_t has = ((w & low) + low) & ~w & ~low;
    return (has >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static uint64_t has_mask(const struct event *ev)
{
    uint64_t has = 0;
    for (size_t i = 0; i < sizeof ev->why; i += 8)
        has |= has_eight(ev->why + i) << i;
    return has & (UINT64_MAX >> (64 - EVENT_FIELDS));
}

static void put_number(struct encoder *e, enum codec_stream stream, uint64_t difference)
{
    e->at[stream] = put_varint(e->at[stream], zigzag(difference));
}

static void put_guessed(struct encoder *e, struct pair *p)
{
    const bool young = p->young;
#define V(NAME) (p->has & BIT(F_##NAME) ? (uint64_t)p->ev->cell[F_##NAME].num : 0)
#define R(NAME) (p->ref_has & BIT(F_##NAME) ? (uint64_t)p->ref->cell[F_##NAME].num : 0)
#define C(NAME) (e->last[METHOD_##NAME])
#define G(NAME, guess)                                                                             \
    if (p->has & BIT(F_##NAME)) {                                                                  \
        uint64_t more = V(NAME) - (guess);                                                         \
        if (more) {                                                                                \
            put_number(e, METHOD_##NAME == METHOD_MONO ? CODEC_TIMES : CODEC_NUMBERS, more);       \
            p->odd |= BIT(F_##NAME);                                                               \
        }                                                                                          \
    }
    CODEC_GUESSES(G)
#undef G
#define G(NAME, guess)                                                                             \
    if ((p->has & BIT(F_##NAME)) &&                                                                \
        (young || (METHOD_##NAME != METHOD_PID && METHOD_##NAME != METHOD_STARTTIME)))             \
        C(NAME) = V(NAME);
    CODEC_GUESSES(G)
#undef G
#undef C
#undef R
#undef V
}

/* 4096 * n is 4 * n, what is below 2^62 is 4 * n + 1, the rest follows a 2. */
static void put_bytes(struct encoder *e, uint64_t more)
{
    uint8_t *at = e->at[CODEC_NUMBERS];
    if (more % 4096 == 0)
        at = put_varint(at, more >> 12 << 2);
    else if (more >> 62 == 0)
        at = put_varint(at, more << 2 | 1);
    else
        at = put_varint(put_varint(at, 2), more);
    e->at[CODEC_NUMBERS] = at;
}

/* What the reference has where `field` is guessed from, or 0. */
static uint64_t kept(const struct encoder *e, const struct pair *p, int field)
{
    const struct codec_field *f = &e->dictionary.field[field];
    int from = f->method == METHOD_BEFORE ? f->other : field;
    return p->ref_has >> from & 1 ? (uint64_t)p->ref->cell[from].num : 0;
}

static void put_kept(struct encoder *e, struct pair *p)
{
    uint64_t rest = p->has & ~texts & ~guessed, differ = 0;
    for (int f = 0; f < EVENT_FIELDS; f++)
        differ |= (uint64_t)(p->ev->cell[f].num != p->ref->cell[f].num) << f;
    const uint64_t before =
        BIT(F_WAS_UID) | BIT(F_WAS_EUID) | BIT(F_WAS_GID) | BIT(F_WAS_EGID) | BIT(F_WAS_SID);
    for (uint64_t left = rest & (differ | ~p->ref_has | before); left; left &= left - 1) {
        int f = __builtin_ctzll(left);
        uint64_t more = (uint64_t)p->ev->cell[f].num - kept(e, p, f);
        if (!more)
            continue;
        p->odd |= BIT(f);
        if (e->dictionary.field[f].method == METHOD_BYTES)
            put_bytes(e, more);
        else
            put_number(e, CODEC_NUMBERS, more);
    }
}

/* --- text ------------------------------------------------------------------------------------- */

static void put_new_text(struct encoder *e, struct place *place, const struct text *t,
                         const uint8_t *bytes)
{
    if (place)
        *place = (struct place){ e->frame, e->texts };
    e->text[e->texts] = *t;
    e->text[e->texts++].off = (uint32_t)(e->at[CODEC_TEXT] - e->stream[CODEC_TEXT]);
    e->at[CODEC_IDS] = put_varint(put_varint(e->at[CODEC_IDS], 0), t->len);
    memcpy(e->at[CODEC_TEXT], bytes, t->len);
    e->at[CODEC_TEXT] += t->len;
}

static void put_text(struct encoder *e, const uint8_t *bytes, uint32_t len)
{
    struct text new = { .hash = hash_bytes(bytes, len), .len = len };
    struct place *free_place = NULL;
    for (uint32_t i = 0; i < PROBES && !free_place; i++) {
        struct place *place = &e->text_at[(new.hash + i) % TEXT_PLACES];
        const struct text *t = &e->text[place->number];
        if (place->frame != e->frame)
            free_place = place;
        else if (t->hash == new.hash && t->len == len &&
                 !memcmp(e->stream[CODEC_TEXT] + t->off, bytes, len)) {
            e->at[CODEC_IDS] = put_varint(e->at[CODEC_IDS], place->number + 1);
            return;
        }
    }
    put_new_text(e, free_place, &new, bytes);
}

static const uint8_t *text_of(const struct event *ev, uint64_t has, int field, uint32_t *len)
{
    *len = has >> field & 1 ? ev->cell[field].text.len : 0;
    return *len ? (const uint8_t *)ev + ev->cell[field].text.off : (const uint8_t *)"";
}

static void put_texts(struct encoder *e, struct pair *p)
{
    for (uint64_t left = p->has & texts; left; left &= left - 1) {
        int f = __builtin_ctzll(left);
        int from =
            e->dictionary.field[f].method == METHOD_BEFORE ? e->dictionary.field[f].other : f;
        uint32_t len, kept_len;
        const uint8_t *bytes = text_of(p->ev, p->has, f, &len);
        const uint8_t *before = text_of(p->ref, p->ref_has, from, &kept_len);
        if (len == kept_len && !memcmp(bytes, before, len))
            continue;
        p->odd |= BIT(f);
        put_text(e, bytes, len);
    }
}

/* --- records ---------------------------------------------------------------------------------- */

/* What a reader makes of it: each text by itself, in steps of 8. */
static size_t unpacked_size(const struct event *ev, uint64_t has)
{
    size_t size = sizeof *ev;
    for (uint64_t left = has & texts; left; left &= left - 1)
        size += ((size_t)ev->cell[__builtin_ctzll(left)].text.len + 7) & ~(size_t)7;
    return size;
}

static bool fits(const struct encoder *e, const struct event *ev, size_t unpacked)
{
    for (int s = 0; s < CODEC_STREAMS; s++) {
        size_t most = s == CODEC_TEXT ? unpacked : record_most[s];
        if ((size_t)(e->at[s] - e->stream[s]) + most > stream_room[s])
            return false;
    }
    return e->copied + ev->size <= CODEC_WINDOW && e->unpacked + unpacked <= CODEC_WINDOW &&
           e->shapes < CODEC_SHAPES && e->texts + EVENT_FIELDS <= CODEC_TEXTS;
}

/* Where this pid's last record is noted, or is to be. */
static struct place *pid_place(struct encoder *e, int64_t pid)
{
    uint32_t at = (uint32_t)((uint64_t)pid * UINT64_C(0x9e3779b97f4a7c15) >> 40);
    for (;; at++) {
        struct place *place = &e->pid[at % PID_PLACES];
        if (place->frame != e->frame)
            return place;
        const struct event *ev = (const void *)(e->window + e->record[place->number]);
        if (ev->cell[F_PID].num == pid)
            return place;
    }
}

/* Returns how many records back the reference is; 0: there is none. */
static uint32_t find_reference(struct encoder *e, struct pair *p, struct place **mine)
{
    static const struct event nothing;
    struct place *place = NULL;
    *mine = NULL;
    p->ref = &nothing;
    if (!(p->has & BIT(F_PID)))
        return 0;
    *mine = place = pid_place(e, p->ev->cell[F_PID].num);
    p->young = place->frame != e->frame;
    if (p->young && (p->has & BIT(F_PPID)))
        place = pid_place(e, p->ev->cell[F_PPID].num);
    if (!e->count)
        return 0;
    uint32_t number = place->frame == e->frame ? place->number : e->count - 1;
    p->ref = (const void *)(e->window + e->record[number]);
    p->ref_has = has_mask(p->ref);
    return e->count - number;
}

static bool same_shape(const struct shape *a, const struct shape *b)
{
    return a->odd == b->odd && a->flags == b->flags && a->kind == b->kind &&
           !memcmp(a->why, b->why, sizeof a->why);
}

static void put_new_shape(struct encoder *e, struct place *place, const struct shape *s)
{
    *place = (struct place){ e->frame, e->shapes };
    e->shape[e->shapes++] = *s;
    uint8_t *at = put_varint(e->at[CODEC_HEADS], 0);
    *at++ = s->flags;
    *at++ = s->kind;
    at = put_u64(at, s->odd);
    memcpy(at, s->why, sizeof s->why);
    e->at[CODEC_HEADS] = at + sizeof s->why;
}

static void put_shape(struct encoder *e, const struct pair *p, bool known)
{
    struct shape s = { .odd = p->odd,
                       .flags = (p->young ? CODEC_YOUNG : 0) | (known ? CODEC_KNOWN : 0),
                       .kind = (uint8_t)p->ev->cell[F_TYPE].num };
    memcpy(s.why, p->ev->why, sizeof s.why);
    uint32_t at = hash_bytes(s.why, sizeof s.why) ^ hash_bytes(&s.odd, 10);
    for (;; at++) {
        struct place *place = &e->shape_at[at % SHAPE_PLACES];
        if (place->frame != e->frame) {
            put_new_shape(e, place, &s);
            return;
        }
        if (same_shape(&e->shape[place->number], &s)) {
            e->at[CODEC_HEADS] = put_varint(e->at[CODEC_HEADS], place->number + 1);
            return;
        }
    }
}

static void remember(struct encoder *e, const struct event *ev, struct place *place)
{
    if (place)
        *place = (struct place){ e->frame, e->count };
    memcpy(e->window + e->copied, ev, ev->size);
    e->record[e->count++] = (uint32_t)e->copied;
    e->copied += ev->size;
}

int encoder_add(struct encoder *e, const struct event *ev, bool known)
{
    struct pair p = { .ev = ev, .has = has_mask(ev) };
    size_t unpacked = unpacked_size(ev, p.has);
    if (unpacked > EVENT_MAX || (uint64_t)ev->cell[F_TYPE].num >= EVENT_KINDS)
        return -E2BIG;
    if (!fits(e, ev, unpacked))
        return -ENOBUFS;
    struct place *mine;
    uint32_t back = find_reference(e, &p, &mine);
    put_guessed(e, &p);
    put_kept(e, &p);
    put_texts(e, &p);
    put_shape(e, &p, known);
    e->at[CODEC_HEADS] = put_varint(e->at[CODEC_HEADS], back);
    remember(e, ev, mine);
    e->unpacked += unpacked;
    return 0;
}
