/* fuzz_event.c - bytes that event_valid accepts can be read without leaving them. */
#include "event/event.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum;

static void read_all(const struct event *ev)
{
    char id[EVENT_ID_MAX], line[256];
    size_t len;

    sum += (unsigned)event_kind_name(event_kind(ev))[0];
    for (int field = 0; field < EVENT_FIELDS; field++) {
        sum += (unsigned)event_why_text((enum event_why)ev->why[field])[0];
        sum += (unsigned)event_int(ev, field, 0);
        if (!event_is_text(field))
            continue;
        const char *bytes = event_text(ev, field, &len);
        for (size_t i = 0; i < len; i++)
            sum += (unsigned char)bytes[i];
    }
    if (event_id(ev, UINT64_MAX, id) >= sizeof id)
        abort();
    if (event_cmdline(ev, line, sizeof line) > sizeof line)
        abort();
}

static void copy_all(const struct event *ev)
{
    static struct event_box box;

    event_begin(&box, event_kind(ev));
    for (int field = F_TYPE + 1; field < EVENT_FIELDS; field++)
        event_copy_field(&box, field, ev, field, WHY_ABSENT);
    if (!event_valid(&box, sizeof box))
        abort();
    read_all(&box.ev);
}

/* The header is right in most inputs: a fuzzer guesses it too rarely. */
static void mend_header(struct event *ev, size_t size)
{
    ev->size = (uint32_t)size;
    ev->version = EVENT_VERSION;
    ev->fields = EVENT_FIELDS;
    ev->why[F_TYPE] = WHY_KERNEL;
    ev->cell[F_TYPE].num &= 7;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool mend = size && data[0] & 1;
    size_t len = size ? size - 1 : 0;
    if (mend)
        len &= ~(size_t)7;

    void *bytes = malloc(len ? len : 1); /* to the byte, so that any step outside shows */
    if (!bytes)
        return 0;
    if (len)
        memcpy(bytes, data + 1, len);
    if (mend && len >= sizeof(struct event))
        mend_header(bytes, len);
    if (event_valid(bytes, len)) {
        read_all(bytes);
        copy_all(bytes);
    }
    free(bytes);
    return 0;
}
