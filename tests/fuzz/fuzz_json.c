/* fuzz_json.c - any event, built or received, becomes one line of valid JSON without null. */
#include "event/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- a reader of JSON ------------------------------------------------------------------- */

struct reader {
    const unsigned char *at, *end;
};

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static unsigned char next(struct reader *r)
{
    expect(r->at < r->end);
    return *r->at++;
}

static unsigned char peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : 0;
}

static void read_word(struct reader *r, const char *word)
{
    for (; *word; word++)
        expect(next(r) == (unsigned char)*word);
}

/* RFC 3629's grammar, by value. */
static void read_utf8(struct reader *r, unsigned lead)
{
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    static const unsigned least[] = { 0, 0x80, 0x800, 0x10000 };
    expect(lead >= 0xc2 && lead <= 0xf4);

    unsigned code = lead & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        unsigned c = next(r);
        expect((c & 0xc0) == 0x80);
        code = code << 6 | (c & 0x3f);
    }
    expect(code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff));
    expect(code >= 0xa0 && code != 0x2028 && code != 0x2029);
}

static void read_escape(struct reader *r)
{
    unsigned char c = next(r);

    expect(c && strchr("\"\\bfnrtu", c));
    for (int i = 0; c == 'u' && i < 4; i++) {
        unsigned char digit = next(r);
        expect(digit && strchr("0123456789abcdef", digit));
    }
}

static void read_string(struct reader *r)
{
    expect(next(r) == '"');
    for (;;) {
        unsigned char c = next(r);
        if (c == '"')
            return;
        expect(c >= 0x20 && c != 0x7f);
        if (c == '\\')
            read_escape(r);
        else if (c >= 0x80)
            read_utf8(r, c);
    }
}

static void read_digits(struct reader *r)
{
    expect(peek(r) >= '0' && peek(r) <= '9');
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
}

static void read_number(struct reader *r)
{
    if (peek(r) == '-')
        r->at++;
    if (peek(r) == '0')
        r->at++;
    else
        read_digits(r);
    if (peek(r) == '.') {
        r->at++;
        read_digits(r);
    }
}

static void read_value(struct reader *r);

static void read_members(struct reader *r, unsigned char close)
{
    r->at++;
    if (peek(r) == close && close == ']') { /* only arrays may be empty */
        r->at++;
        return;
    }
    do {
        if (close == '}') {
            read_string(r);
            expect(next(r) == ':');
        }
        read_value(r);
    } while (peek(r) == ',' && r->at++);
    expect(next(r) == close);
}

static void read_value(struct reader *r)
{
    switch (peek(r)) {
    case '{':
        read_members(r, '}');
        return;
    case '[':
        read_members(r, ']');
        return;
    case '"':
        read_string(r);
        return;
    case 't':
        read_word(r, "true");
        return;
    default:
        read_number(r);
    }
}

static void read_line(const struct buf *out)
{
    struct reader r = { (const unsigned char *)out->data,
                        (const unsigned char *)out->data + out->len };
    read_value(&r);
    expect(r.at == r.end);
}

/* --- events ----------------------------------------------------------------------------- */

/* Fields from "number, why, length, bytes" until the input ends. */
static void build(struct event_box *box, const uint8_t **at, size_t *left)
{
    event_begin(box, EVENT_EXEC);
    while (*left >= 3) {
        enum event_field field = (*at)[0] % EVENT_FIELDS;
        enum event_why why = (enum event_why)(*at)[1];
        size_t len = (*at)[2];
        bool stop = (*at)[0] == 0xff;
        *at += 3;
        *left -= 3;
        if (stop)
            return;
        len = len < *left ? len : *left;
        if (event_is_text(field)) {
            event_set_text(box, field, (const char *)*at, len, why);
        } else {
            int64_t value = 0;
            memcpy(&value, *at, len < sizeof value ? len : sizeof value);
            event_set(box, field, value, why);
        }
        *at += len;
        *left -= len;
    }
}

static void write_and_read(const struct event *ev, const struct event *parent, bool more)
{
    size_t len;
    const char *text = event_text(ev, F_ARGS, &len);
    const char *tags[] = { "tag", "\xff\n" };
    struct json_alert alert = { .severity = "low",
                                .script = "s",
                                .text = text,
                                .text_len = len,
                                .tags = tags,
                                .tags_len = 2,
                                .held = ev->cell[F_PID].num,
                                .key = text,
                                .key_len = len / 2 };
    struct json_context context = { .boot = 1, .parent = parent };
    if (more) {
        context.host = "h\xff";
        context.alert = &alert;
        context.labels = "[]";
        context.labels_len = 2;
    }
    struct buf out = { 0 };

    json_event(&out, ev, &context);
    if (!out.failed)
        read_line(&out);
    buf_free(&out);
}

/* Bytes as they may come out of a ring or a file. */
static void received(const uint8_t *data, size_t size)
{
    static struct event_box box;

    event_begin(&box, EVENT_NONE);
    memcpy(&box, data, size < sizeof box ? size : sizeof box);
    box.ev.size = (uint32_t)(sizeof box.ev + (size & 1016));
    box.ev.version = EVENT_VERSION;
    box.ev.fields = EVENT_FIELDS;
    if (event_valid(&box, sizeof box))
        write_and_read(&box.ev, &box.ev, true);
}

static void parts(const uint8_t *data, size_t size)
{
    struct buf out = { 0 };
    int64_t value = 0;
    double number;

    memcpy(&value, data, size < sizeof value ? size : sizeof value);
    memcpy(&number, &value, sizeof number);
    buf_putc(&out, '[');
    json_string(&out, (const char *)data, size);
    buf_putc(&out, ',');
    json_int(&out, value);
    buf_putc(&out, ',');
    json_time(&out, value);
    buf_putc(&out, ']');
    read_line(&out);
    json_number(&out, number);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_box box, parent;

    if (!size)
        return 0;
    uint8_t mode = data[0];
    data++;
    size--;
    parts(data, size);
    if (mode & 1) {
        received(data, size);
        return 0;
    }
    build(&box, &data, &size);
    build(&parent, &data, &size);
    if (event_valid(&box, sizeof box))
        write_and_read(&box.ev, mode & 2 ? &parent.ev : NULL, mode & 4);
    return 0;
}
