/* decode.c - unpacks the records of a frame. See codec.h.
 *
 * A record is made in a window, where later ones find it as their reference, laid out as a struct
 * event would be that has the fields of the file: where these are our own, it is one. */
#include "record/codec.h"

#include "record/wire.h"

#include <errno.h>
#include <stdlib.h>

/* The front of every record; cells, reasons and text follow. */
struct front {
    uint32_t size;
    uint16_t version, fields;
};

_Static_assert(sizeof(struct front) == offsetof(struct event, cell), "as a struct event begins");

struct shape {
    uint64_t has, odd;
    uint8_t flags, kind;
    uint8_t why[CODEC_FIELDS];
};

struct text {
    const uint8_t *bytes;
    uint32_t len;
};

struct record {
    uint32_t off, size;
    uint64_t has;
};

struct stream {
    const uint8_t *at, *end;
};

struct decoder {
    struct codec_dictionary dictionary;
    bool ours;                                       /* the dictionary is that of this program */
    size_t front;                                    /* bytes of a record before its text */
    uint64_t texts, vectors, guessed, bytes, before; /* fields that are so */
    uint8_t at[METHODS];                             /* which field has this method */
    uint64_t bit[METHODS];                           /* the same as a mask; 0: none has */
    int8_t field[CODEC_FIELDS];                      /* our number, or -1 */
    uint8_t kind[CODEC_KINDS];                       /* our number, or EVENT_NONE */

    uint32_t left, records, shapes, texts_len;
    size_t used; /* of the window */
    uint64_t last[METHODS];
    struct stream stream[CODEC_STREAMS];
    struct shape shape[CODEC_SHAPES];
    struct text text[CODEC_TEXTS];
    uint32_t records_most;
    struct record *record; /* owned */
    uint8_t *window;       /* owned */
};

/* --- the dictionary --------------------------------------------------------------------------- */

static void find_methods(struct decoder *d)
{
    for (int f = 0; f < d->dictionary.fields; f++) {
        const struct codec_field *field = &d->dictionary.field[f];
        uint64_t bit = UINT64_C(1) << f;
        d->texts |= field->type >= TYPE_TEXT ? bit : 0;
        d->vectors |= field->type == TYPE_ARGS ? bit : 0;
        d->bytes |= field->method == METHOD_BYTES ? bit : 0;
        d->before |= field->method == METHOD_BEFORE ? bit : 0;
        if (field->method > METHOD_KEPT && field->method <= METHOD_KIND) {
            d->guessed |= bit;
            d->at[field->method] = (uint8_t)f;
            d->bit[field->method] = bit;
        }
    }
}

static void find_names(struct decoder *d)
{
    for (int f = 0; f < d->dictionary.fields; f++) {
        int ours = event_field_named(d->dictionary.field[f].name);
        if (ours >= 0 && event_fields[ours].type != d->dictionary.field[f].type)
            ours = -1;
        d->field[f] = (int8_t)ours;
    }
    for (int kind = 0; kind < d->dictionary.kinds; kind++)
        d->kind[kind] = (uint8_t)event_kind_named(d->dictionary.kind[kind]);
}

int decoder_new(struct decoder **out, const struct codec_dictionary *dictionary)
{
    struct codec_dictionary ours;
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->dictionary = *dictionary;
    dictionary_ours(&ours);
    d->ours = !memcmp(&ours, dictionary, sizeof ours);
    size_t fields = dictionary->fields;
    d->front = sizeof(struct front) + fields * sizeof(union event_cell) + (fields + 7) / 8 * 8;
    find_methods(d);
    find_names(d);
    d->records_most = (uint32_t)(dictionary->window / d->front) + 1;
    d->record = malloc(d->records_most * sizeof *d->record);
    /* the first has no reference: nothing but zeros, which is never written to */
    d->window = aligned_alloc(8, d->front + (dictionary->window + 7u) / 8 * 8);
    if (!d->record || !d->window) {
        decoder_free(d);
        return -ENOMEM;
    }
    memset(d->window, 0, d->front);
    *out = d;
    return 0;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    free(d->record);
    free(d->window);
    free(d);
}

int decoder_begin(struct decoder *d, const void *bytes, size_t len, uint32_t count)
{
    const uint8_t *at = bytes, *end = at + len;
    uint32_t length[CODEC_STREAMS];
    d->left = 0;
    if (len < sizeof length || count >= d->records_most)
        return -EBADMSG;
    for (int s = 0; s < CODEC_STREAMS; s++)
        length[s] = take_u32(&at);
    for (int s = 0; s < CODEC_STREAMS; s++) {
        if (length[s] > (size_t)(end - at))
            return -EBADMSG;
        d->stream[s] = (struct stream){ at, at + length[s] };
        at += length[s];
    }
    if (at != end)
        return -EBADMSG;
    d->left = count;
    d->records = d->shapes = d->texts_len = 0;
    d->used = d->front;
    memset(d->last, 0, sizeof d->last);
    d->record[d->records++] = (struct record){ 0, (uint32_t)d->front, 0 };
    return 0;
}

/* --- one record ------------------------------------------------------------------------------- */

/* A record while it is made, beside its reference. */
struct pair {
    uint8_t *to;
    const uint8_t *from;
    const struct shape *shape;
    const struct record *ref;
};

static union event_cell *cells(const uint8_t *record)
{
    return (union event_cell *)(record + sizeof(struct front));
}

static bool inside(const struct decoder *d)
{
    bool all = true;
    for (int s = 0; s < CODEC_STREAMS; s++)
        all &= d->stream[s].at <= d->stream[s].end;
    return all;
}

static bool take_new_shape(struct decoder *d)
{
    struct shape *s = &d->shape[d->shapes];
    struct stream *heads = &d->stream[CODEC_HEADS];
    size_t fields = d->dictionary.fields;
    if (d->shapes == CODEC_SHAPES || (size_t)(heads->end - heads->at) < 10 + fields)
        return false;
    memset(s, 0, sizeof *s);
    s->flags = *heads->at++;
    s->kind = *heads->at++;
    s->odd = take_u64(&heads->at);
    memcpy(s->why, heads->at, fields);
    heads->at += fields;
    for (size_t f = 0; f < fields; f++)
        s->has |= (uint64_t)(s->why[f] - 1u < WHY_MISSING - 1u) << f;
    d->shapes++;
    return !(s->odd & ~s->has) && !(s->odd & d->bit[METHOD_KIND]);
}

/* The shape and the reference. */
static bool take_head(struct decoder *d, struct pair *p)
{
    uint64_t shape = take_varint(&d->stream[CODEC_HEADS].at);
    if (d->stream[CODEC_HEADS].at > d->stream[CODEC_HEADS].end || shape > d->shapes)
        return false;
    if (!shape) {
        if (!take_new_shape(d))
            return false;
        shape = d->shapes;
    }
    p->shape = &d->shape[shape - 1];
    uint64_t back = take_varint(&d->stream[CODEC_HEADS].at);
    if (back >= d->records)
        return false;
    p->ref = &d->record[back ? d->records - back : 0];
    p->from = d->window + p->ref->off;
    p->to = d->window + d->used;
    return d->dictionary.window - (d->used - d->front) >= d->front;
}

static uint64_t take_number(struct decoder *d, enum codec_stream stream)
{
    return unzigzag(take_varint(&d->stream[stream].at));
}

static void take_guessed(struct decoder *d, const struct pair *p)
{
    const bool young = p->shape->flags & CODEC_YOUNG;
    const uint64_t has = p->shape->has, odd = p->shape->odd, ref_has = p->ref->has;
    union event_cell *to = cells(p->to);
    const union event_cell *from = cells(p->from);
#define V(NAME) (has & d->bit[METHOD_##NAME] ? (uint64_t)to[d->at[METHOD_##NAME]].num : 0)
#define R(NAME) (ref_has & d->bit[METHOD_##NAME] ? (uint64_t)from[d->at[METHOD_##NAME]].num : 0)
#define C(NAME) (d->last[METHOD_##NAME])
#define G(NAME, guess)                                                                             \
    if (has & d->bit[METHOD_##NAME]) {                                                             \
        uint64_t value = (guess);                                                                  \
        if (odd & d->bit[METHOD_##NAME])                                                           \
            value += take_number(d, METHOD_##NAME == METHOD_MONO ? CODEC_TIMES : CODEC_NUMBERS);   \
        to[d->at[METHOD_##NAME]].num = (int64_t)value;                                             \
    }
    CODEC_GUESSES(G)
#undef G
#define G(NAME, guess)                                                                             \
    if ((has & d->bit[METHOD_##NAME]) &&                                                           \
        (young || (METHOD_##NAME != METHOD_PID && METHOD_##NAME != METHOD_STARTTIME)))             \
        C(NAME) = V(NAME);
    CODEC_GUESSES(G)
#undef G
#undef C
#undef R
#undef V
    if (has & d->bit[METHOD_KIND])
        to[d->at[METHOD_KIND]].num = p->shape->kind;
}

static uint64_t take_bytes(struct decoder *d)
{
    const uint8_t **at = &d->stream[CODEC_NUMBERS].at;
    uint64_t v = take_varint(at);
    if ((v & 3) == 0)
        return v >> 2 << 12;
    return v & 1 ? v >> 2 : take_varint(at);
}

/* Numbers that are not as in the reference, or that it does not have. */
static void take_kept(struct decoder *d, const struct pair *p)
{
    uint64_t rest = p->shape->has & ~d->texts & ~d->guessed;
    union event_cell *to = cells(p->to);
    const union event_cell *from = cells(p->from);
    for (uint64_t left = rest & (p->shape->odd | ~p->ref->has | d->before); left;
         left &= left - 1) {
        int f = __builtin_ctzll(left);
        int other = d->before >> f & 1 ? d->dictionary.field[f].other : f;
        uint64_t value = p->ref->has >> other & 1 ? (uint64_t)from[other].num : 0;
        if (p->shape->odd >> f & 1)
            value += d->bytes >> f & 1 ? take_bytes(d) : take_number(d, CODEC_NUMBERS);
        to[f].num = (int64_t)value;
    }
}

/* --- text ------------------------------------------------------------------------------------- */

static bool take_text(struct decoder *d, struct text *t)
{
    struct stream *ids = &d->stream[CODEC_IDS], *text = &d->stream[CODEC_TEXT];
    uint64_t id = take_varint(&ids->at);
    if (id) {
        if (id > d->texts_len)
            return false;
        *t = d->text[id - 1];
        return true;
    }
    uint64_t len = take_varint(&ids->at);
    if (ids->at > ids->end || len > (size_t)(text->end - text->at) || d->texts_len == CODEC_TEXTS)
        return false;
    *t = d->text[d->texts_len++] = (struct text){ text->at, (uint32_t)len };
    text->at += len;
    return true;
}

/* That of the reference where `f` is guessed from, or an empty one. */
static struct text kept_text(const struct decoder *d, const struct pair *p, int f)
{
    int other = d->before >> f & 1 ? d->dictionary.field[f].other : f;
    if (!(p->ref->has >> other & 1))
        return (struct text){ (const uint8_t *)"", 0 };
    union event_cell cell = cells(p->from)[other];
    return (struct text){ p->from + cell.text.off, cell.text.len };
}

/* Returns the bytes that the record has then, or 0. */
static size_t take_texts(struct decoder *d, const struct pair *p)
{
    size_t size = d->front, most = d->dictionary.window - (d->used - d->front);
    for (uint64_t left = p->shape->has & d->texts; left; left &= left - 1) {
        int f = __builtin_ctzll(left);
        struct text t = kept_text(d, p, f);
        if ((p->shape->odd >> f & 1) && !take_text(d, &t))
            return 0;
        size_t padded = ((size_t)t.len + 7) & ~(size_t)7;
        if (padded > most - size || ((d->vectors >> f & 1) && t.len && t.bytes[t.len - 1]))
            return 0;
        memset(p->to + size + padded - (padded ? 8 : 0), 0, padded ? 8 : 0);
        memcpy(p->to + size, t.bytes, t.len);
        cells(p->to)[f].text.off = (uint32_t)size;
        cells(p->to)[f].text.len = t.len;
        size += padded;
    }
    return size;
}

/* Where all texts are those of the reference, they lie as they do there. */
static size_t copy_texts(const struct decoder *d, const struct pair *p)
{
    size_t len = p->ref->size - d->front;
    if (len > d->dictionary.window - (d->used - d->front) - d->front)
        return 0;
    memcpy(p->to + d->front, p->from + d->front, len);
    return p->ref->size;
}

/* False: the bytes are no frame. */
static bool unpack(struct decoder *d, struct pair *p)
{
    if (!take_head(d, p))
        return false;
    const struct shape *s = p->shape;
    memcpy(p->to, p->from, d->front);
    memcpy(p->to + sizeof(struct front) + d->dictionary.fields * sizeof(union event_cell), s->why,
           (size_t)(d->dictionary.fields + 7) / 8 * 8);
    take_guessed(d, p);
    take_kept(d, p);
    bool same = !((s->has ^ p->ref->has) & d->texts) && !(s->odd & d->texts) &&
                !(s->has & d->texts & d->before);
    size_t size = same ? copy_texts(d, p) : take_texts(d, p);
    if (!size || !inside(d))
        return false;
    *(struct front *)p->to = (struct front){ (uint32_t)size, EVENT_VERSION, d->dictionary.fields };
    d->record[d->records++] = (struct record){ (uint32_t)d->used, (uint32_t)size, s->has };
    d->used += size;
    d->left--;
    return true;
}

/* --- as one of ours --------------------------------------------------------------------------- */

static bool translate_text(struct event_box *box, int field, const uint8_t *bytes, uint32_t len)
{
    size_t padded = ((size_t)len + 7) & ~(size_t)7;
    if (padded > EVENT_MAX - box->ev.size)
        return false;
    box->ev.cell[field].text.off = box->ev.size;
    box->ev.cell[field].text.len = len;
    memset((char *)box + box->ev.size, 0, padded);
    memcpy((char *)box + box->ev.size, bytes, len);
    box->ev.size += (uint32_t)padded;
    return true;
}

/* By name, what both have. False: we know no event of this kind, or it is too large. */
static bool translate(const struct decoder *d, const struct pair *p, struct event_box *box)
{
    const struct shape *s = p->shape;
    if (!(s->has & d->bit[METHOD_KIND]) || s->kind >= d->dictionary.kinds || !d->kind[s->kind])
        return false;
    event_begin(box, (enum event_kind)d->kind[s->kind]);
    for (int f = 0; f < d->dictionary.fields; f++) {
        int ours = d->field[f];
        if (ours < 0)
            continue;
        box->ev.why[ours] = s->why[f];
        if (ours == F_TYPE || !(s->has >> f & 1))
            continue;
        union event_cell cell = cells(p->to)[f];
        if (!event_is_text((enum event_field)ours))
            box->ev.cell[ours] = cell;
        else if (!translate_text(box, ours, p->to + cell.text.off, cell.text.len))
            return false;
    }
    return true;
}

static bool deliver(const struct decoder *d, const struct pair *p, struct event_box *box)
{
    const struct shape *s = p->shape;
    size_t size = d->record[d->records - 1].size;
    if (!d->ours)
        return translate(d, p, box);
    if (!(s->has & d->bit[METHOD_KIND]) || s->kind >= EVENT_KINDS || size > EVENT_MAX)
        return false;
    memcpy(box, p->to, size);
    return true;
}

int decoder_next(struct decoder *d, struct event_box *box)
{
    struct pair p;
    while (d->left) {
        if (!unpack(d, &p)) {
            d->left = 0;
            return -EBADMSG;
        }
        if (deliver(d, &p, box))
            return p.shape->flags & CODEC_KNOWN ? 2 : 1;
    }
    return 0;
}
