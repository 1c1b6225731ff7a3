/* codec.c - the dictionary: which fields the records of a file have. See codec.h. */
#include "record/codec.h"

#include "record/wire.h"

#include <errno.h>
#include <stdio.h>

_Static_assert(EVENT_FIELDS <= CODEC_FIELDS, "a dictionary has room for all fields");
_Static_assert(EVENT_KINDS <= CODEC_KINDS, "and for all kinds");

static const struct {
    enum event_field field;
    enum codec_method method;
    enum event_field other;
} methods[] = {
#define G(NAME, guess) { F_##NAME, METHOD_##NAME, 0 },
    CODEC_GUESSES(G)
#undef G
        { F_TYPE, METHOD_KIND, 0 },
    { F_MAX_RSS, METHOD_BYTES, 0 },
    { F_READ_BYTES, METHOD_BYTES, 0 },
    { F_WRITE_BYTES, METHOD_BYTES, 0 },
    { F_WAS_UID, METHOD_BEFORE, F_UID },
    { F_WAS_EUID, METHOD_BEFORE, F_EUID },
    { F_WAS_GID, METHOD_BEFORE, F_GID },
    { F_WAS_EGID, METHOD_BEFORE, F_EGID },
    { F_WAS_SID, METHOD_BEFORE, F_SID },
    { F_WAS_COMM, METHOD_BEFORE, F_COMM },
    { F_WAS_EXE, METHOD_BEFORE, F_EXE },
};

void dictionary_ours(struct codec_dictionary *d)
{
    memset(d, 0, sizeof *d);
    d->fields = EVENT_FIELDS;
    d->kinds = EVENT_KINDS;
    d->window = CODEC_WINDOW;
    for (int f = 0; f < EVENT_FIELDS; f++) {
        snprintf(d->field[f].name, sizeof d->field[f].name, "%s", event_fields[f].name);
        d->field[f].type = (uint8_t)event_fields[f].type;
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        d->field[methods[i].field].method = (uint8_t)methods[i].method;
        d->field[methods[i].field].other = (uint8_t)methods[i].other;
    }
    for (int kind = 0; kind < EVENT_KINDS; kind++)
        snprintf(d->kind[kind], sizeof d->kind[kind], "%s", event_kind_name(kind));
}

/* --- as bytes --------------------------------------------------------------------------------- */

static uint8_t *put_name(uint8_t *to, const char *name)
{
    size_t len = strlen(name);
    *to++ = (uint8_t)len;
    return (uint8_t *)memcpy(to, name, len) + len;
}

size_t dictionary_put(const struct codec_dictionary *d, uint8_t to[DICTIONARY_MOST])
{
    uint8_t *at = put_u32(to, d->window);
    *at++ = d->fields;
    for (int f = 0; f < d->fields; f++) {
        at = put_name(at, d->field[f].name);
        *at++ = d->field[f].type;
        *at++ = d->field[f].method;
        *at++ = d->field[f].other;
    }
    *at++ = d->kinds;
    for (int kind = 0; kind < d->kinds; kind++)
        at = put_name(at, d->kind[kind]);
    return (size_t)(at - to);
}

static bool take_byte(const uint8_t **at, const uint8_t *end, uint8_t *v)
{
    if (*at == end)
        return false;
    *v = *(*at)++;
    return true;
}

/* `cap` with the NUL. */
static bool take_name(const uint8_t **at, const uint8_t *end, char *to, size_t cap)
{
    uint8_t len;
    if (!take_byte(at, end, &len) || len >= cap || len > end - *at || memchr(*at, 0, len))
        return false;
    memcpy(to, *at, len);
    to[len] = '\0';
    *at += len;
    return true;
}

static bool take_field(const uint8_t **at, const uint8_t *end, struct codec_field *f)
{
    return take_name(at, end, f->name, sizeof f->name) && take_byte(at, end, &f->type) &&
           take_byte(at, end, &f->method) && take_byte(at, end, &f->other);
}

static bool is_text(const struct codec_field *f)
{
    return f->type >= TYPE_TEXT;
}

/* Each guess is of one field, a number; a text is kept, or as another text was before. */
static int check_methods(const struct codec_dictionary *d)
{
    uint64_t used = 0;
    for (int i = 0; i < d->fields; i++) {
        const struct codec_field *f = &d->field[i];
        if (f->method >= METHODS || f->type > TYPE_ARGS)
            return -ENOTSUP;
        bool single = f->method > METHOD_KEPT && f->method <= METHOD_KIND;
        if (single && (used >> f->method & 1))
            return -EBADMSG;
        used |= UINT64_C(1) << f->method;
        if (is_text(f) && f->method != METHOD_KEPT && f->method != METHOD_BEFORE)
            return -EBADMSG;
        if (f->method == METHOD_BEFORE &&
            (f->other >= d->fields || d->field[f->other].type != f->type))
            return -EBADMSG;
    }
    return 0;
}

int dictionary_take(struct codec_dictionary *d, const uint8_t *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = bytes + len;
    memset(d, 0, sizeof *d);
    if (len < 5)
        return -EBADMSG;
    d->window = take_u32(&at);
    if (d->window > CODEC_WINDOW_MOST || !take_byte(&at, end, &d->fields) ||
        d->fields > CODEC_FIELDS)
        return -EBADMSG;
    for (int f = 0; f < d->fields; f++)
        if (!take_field(&at, end, &d->field[f]))
            return -EBADMSG;
    if (!take_byte(&at, end, &d->kinds) || d->kinds > CODEC_KINDS)
        return -EBADMSG;
    for (int kind = 0; kind < d->kinds; kind++)
        if (!take_name(&at, end, d->kind[kind], sizeof d->kind[kind]))
            return -EBADMSG;
    return at == end ? check_methods(d) : -EBADMSG;
}
