/* fuzz_view.c - any event is one line, inside its columns, of printable characters only. */
#include "sink/view.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* For mbtowc and wcwidth, which judge what was written. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    if (!setlocale(LC_CTYPE, "C.UTF-8") && !setlocale(LC_CTYPE, "C.utf8"))
        abort();
    return 0;
}

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* Is there "\033[", digits and semicolons, "m" here? */
static size_t colour_length(const char *at)
{
    if (strncmp(at, "\033[", 2) != 0)
        return 0;
    size_t len = 2 + strspn(at + 2, "0123456789;");
    return at[len] == 'm' ? len + 1 : 0;
}

static void check_line(struct buf *out, const struct view *view)
{
    const char *at = buf_str(out), *end = at + out->len;
    int columns = 0;
    bool tinted = false;

    if (out->failed)
        return;
    expect(out->len && end[-1] == '\n');
    while (at < end - 1) {
        size_t colour = colour_length(at);
        if (colour) {
            expect(view->colour);
            tinted = strncmp(at, "\033[0m", 4) != 0;
            at += colour;
            continue;
        }
        wchar_t c;
        int len = mbtowc(&c, at, (size_t)(end - at));
        expect(len > 0 && c >= 0x20 && (c < 0x7f || c >= 0xa0));
        expect((c < 0x202a || c > 0x202e) && (c < 0x2066 || c > 0x2069));
        columns += wcwidth(c) < 0 ? 1 : wcwidth(c);
        at += len;
    }
    expect(!tinted);
    expect(view->columns <= 0 || columns <= view->columns);
}

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

static void write_line(struct buf *out, const struct view *view, uint8_t what,
                       const struct event *ev, const struct event *parent, const char *text)
{
    switch (what % 5) {
    case 0:
    case 1:
        view_event(out, view, ev, what, what & 64 ? parent : NULL);
        break;
    case 2:
        view_process(out, view, ev, what & 64 ? text : "");
        break;
    case 3:
        view_alert(out, view, what & 64 ? "high" : text, text, text, strlen(text),
                   what & 128 ? ev : NULL);
        break;
    default:
        view_heading(out, view);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct event_box box, parent;
    static struct buf out;
    char text[64] = "";

    if (size < 3)
        return 0;
    struct view view = { .columns = data[0], .colour = data[1] & 1, .date = data[1] & 2 };
    uint8_t what = data[2];
    data += 3;
    size -= 3;
    build(&box, &data, &size);
    build(&parent, &data, &size);
    memcpy(text, box.text, sizeof text - 1);

    buf_clear(&out);
    if (event_valid(&box, sizeof box))
        write_line(&out, &view, what, &box.ev, &parent.ev, text);
    if (out.len)
        check_line(&out, &view);
    return 0;
}
