/* fuzz_read.c - any lines are read as events that are whole, or not at all; what is read once is read the same
 * again. */
#include "event/json.h"
#include "event/read.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct event *ev)
{
    struct json_context context = { .boot = 1 };
    struct buf first = { 0 }, second = { 0 };
    struct reader *other;
    const struct event *same, *parent;
    char why[256];
    if (reader_new(&other) < 0)
        abort();
    json_event(&first, ev, &context);
    if (reader_line(other, first.data, first.len, &same, &parent, why, sizeof why) != 1)
        abort();
    json_event(&second, same, &context);
    struct buf third = { 0 };
    reader_free(other);
    if (reader_new(&other) < 0)
        abort();
    if (reader_line(other, second.data, second.len, &same, &parent, why, sizeof why) != 1)
        abort();
    json_event(&third, same, &context);
    if (second.len != third.len || memcmp(second.data, third.data, third.len))
        abort();
    reader_free(other);
    buf_free(&first);
    buf_free(&second);
    buf_free(&third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reader *reader;
    const struct event *ev, *parent;
    char why[256];
    if (!reader && reader_new(&reader) < 0)
        abort();
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        if (reader_line(reader, (const char *)data + at, len, &ev, &parent, why, sizeof why) == 1) {
            if (!event_valid(ev, ev->size) || (parent && !event_valid(parent, parent->size)))
                abort();
            again(ev);
        }
        at += len + 1;
    }
    return 0;
}
