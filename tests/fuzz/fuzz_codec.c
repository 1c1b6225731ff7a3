/* fuzz_codec.c - any records, built or received, come out of a frame as they went in; of any bytes
 * as a dictionary and a frame, only whole records come. */
#include "record/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST 256 /* records */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_box box;
static struct event *told[MOST]; /* owned */
static size_t told_len;
static uint8_t frame[ENCODER_MOST + DECODER_SLACK];

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t take(const uint8_t **at, size_t *left)
{
    if (!*left)
        return 0;
    --*left;
    return *(*at)++;
}

/* --- records ---------------------------------------------------------------------------------- */

/* Fields from "number, reason, length, bytes" up to a number that is none. */
static void build(const uint8_t **at, size_t *left)
{
    event_begin(&box, (enum event_kind)(take(at, left) % EVENT_KINDS));
    while (*left) {
        unsigned field = take(at, left);
        if (field >= EVENT_FIELDS || field == F_TYPE)
            return;
        enum event_why why = (enum event_why)take(at, left);
        size_t len = take(at, left);
        len = len < *left ? len : *left;
        if (event_is_text((enum event_field)field)) {
            event_set_text(&box, (enum event_field)field, (const char *)*at, len, why);
        } else {
            int64_t value = 0;
            memcpy(&value, *at, len < sizeof value ? len : sizeof value);
            event_set(&box, (enum event_field)field, value, why);
        }
        *at += len;
        *left -= len;
    }
}

/* Bytes as they may come out of a ring: texts may overlap. */
static void receive(const uint8_t **at, size_t *left)
{
    unsigned texts = take(at, left);
    size_t len = *left < sizeof box.ev ? *left : sizeof box.ev;
    event_begin(&box, EVENT_NONE);
    memcpy(&box, *at, len);
    box.ev.size = (uint32_t)sizeof box.ev + 8u * texts;
    box.ev.version = EVENT_VERSION;
    box.ev.fields = EVENT_FIELDS;
    *at += len;
    *left -= len;
}

static bool same(const struct event *a, const struct event *b)
{
    for (int f = 0; f < EVENT_FIELDS; f++) {
        enum event_field field = (enum event_field)f;
        size_t a_len, b_len;
        if (a->why[f] != b->why[f])
            return false;
        if (!event_has(a, field))
            continue;
        if (!event_is_text(field)) {
            if (a->cell[f].num != b->cell[f].num)
                return false;
            continue;
        }
        const char *x = event_text(a, field, &a_len), *y = event_text(b, field, &b_len);
        if (a_len != b_len || memcmp(x, y, a_len))
            return false;
    }
    return true;
}

static size_t take_frame(struct encoder *e)
{
    struct iovec parts[CODEC_STREAMS + 1];
    size_t at = 0, len = encoder_parts(e, parts);
    expect(len <= ENCODER_MOST);
    for (int i = 0; i <= CODEC_STREAMS; i++) {
        memcpy(frame + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    expect(at == len);
    memset(frame + len, 0xff, DECODER_SLACK);
    return len;
}

static void check(struct encoder *e, struct decoder *d)
{
    size_t len = take_frame(e);
    expect(encoder_count(e) == told_len);
    expect(decoder_begin(d, frame, len, (uint32_t)told_len) == 0);
    for (size_t i = 0; i < told_len; i++) {
        expect(decoder_next(d, &box) == 1 + (int)(i % 2));
        expect(event_valid(&box, sizeof box));
        expect(same(told[i], &box.ev));
    }
    expect(decoder_next(d, &box) == 0);
    while (told_len)
        free(told[--told_len]);
    encoder_clear(e);
}

static void add(struct encoder *e, struct decoder *d)
{
    struct event *copy = malloc(box.ev.size); /* exact: a read beyond is found */
    expect(copy);
    memcpy(copy, &box, box.ev.size);
    int result = encoder_add(e, copy, told_len % 2);
    expect(!result || result == -E2BIG || result == -ENOBUFS);
    if (!result)
        told[told_len++] = copy;
    else
        free(copy);
    if (result == -ENOBUFS)
        check(e, d);
}

static void round_trip(const uint8_t *data, size_t size)
{
    static struct encoder *e;
    static struct decoder *d;
    struct codec_dictionary ours;
    dictionary_ours(&ours);
    if (!e) {
        e = encoder_new();
        expect(e && !decoder_new(&d, &ours));
    }
    while (size && told_len < MOST) {
        if (take(&data, &size) & 1)
            receive(&data, &size);
        else
            build(&data, &size);
        if (event_valid(&box, sizeof box))
            add(e, d);
    }
    check(e, d);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void read_frame(struct decoder *d, const uint8_t *data, size_t size, uint32_t count)
{
    uint8_t *bytes = calloc(1, size + DECODER_SLACK);
    expect(bytes);
    memcpy(bytes, data, size);
    if (!decoder_begin(d, bytes, size, count))
        while (decoder_next(d, &box) > 0)
            expect(event_valid(&box, sizeof box));
    expect(decoder_next(d, &box) == 0);
    free(bytes);
}

static void read_bytes(const uint8_t *data, size_t size)
{
    struct codec_dictionary dictionary;
    struct decoder *d = NULL;
    size_t len = (size_t)take(&data, &size) * 16;
    uint32_t count = take(&data, &size);
    dictionary_ours(&dictionary);
    if (len && (len > size || dictionary_take(&dictionary, data, len)))
        return;
    if (decoder_new(&d, &dictionary))
        return;
    read_frame(d, data + len, size - len, count);
    decoder_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1)
        read_bytes(data + 1, size - 1);
    else
        round_trip(data + 1, size - 1);
    return 0;
}
