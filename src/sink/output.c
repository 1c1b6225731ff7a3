/* output.c - where lines go. See output.h. */
#include "sink/output.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FLUSH_AT ((size_t)64 * 1024)

void output_init(struct output *o, int fd, bool json)
{
    struct winsize size = { 0 };
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(fd);

    *o = (struct output){ .fd = fd, .json = json, .terminal = terminal };
    if (terminal && ioctl(fd, TIOCGWINSZ, &size) == 0)
        o->view.columns = size.ws_col;
    o->view.colour = terminal && !(no_color && *no_color);
}

void output_free(struct output *o)
{
    output_flush(o);
    buf_free(&o->lines);
}

static void added(struct output *o)
{
    if (o->lines.len >= FLUSH_AT)
        output_flush(o);
}

void output_heading(struct output *o)
{
    if (!o->json)
        view_heading(&o->lines, &o->view);
}

static struct json_context json_context(const struct output_context *context)
{
    return (struct json_context){ .boot = context->boot,
                                  .parent = context->parent,
                                  .labels = context->labels,
                                  .labels_len = context->labels_len };
}

void output_event(struct output *o, const struct event *ev, const struct output_context *context)
{
    if (o->json) {
        struct json_context json = json_context(context);
        json_event(&o->lines, ev, &json);
        buf_putc(&o->lines, '\n');
    } else {
        view_event(&o->lines, &o->view, ev, context->depth, context->parent);
    }
    added(o);
}

void output_alert(struct output *o, const struct json_alert *alert, const struct event *ev,
                  const struct output_context *context)
{
    if (o->json) {
        struct json_context json = json_context(context);
        json.alert = alert;
        json_event(&o->lines, ev, &json);
        buf_putc(&o->lines, '\n');
    } else {
        view_alert(&o->lines, &o->view, alert->severity, alert->script, alert->text,
                   alert->text_len, ev);
    }
    added(o);
}

void output_text(struct output *o, const char *text, size_t len)
{
    const char *end = text + len;
    while (o->terminal && text < end) { /* what is between newlines and tabs is made safe */
        size_t safe = 0;
        while (text + safe < end && text[safe] != '\n' && text[safe] != '\t')
            safe++;
        view_text(&o->lines, text, safe, 0);
        text += safe;
        if (text < end)
            buf_putc(&o->lines, *text++);
    }
    if (!o->terminal)
        buf_add(&o->lines, text, len);
    buf_putc(&o->lines, '\n');
    added(o);
}

void output_raw(struct output *o, const char *bytes, size_t len)
{
    buf_add(&o->lines, bytes, len);
    buf_putc(&o->lines, '\n');
    added(o);
}

/* *written gets how many bytes arrived. 0, or -errno. */
static int write_all(int fd, const char *bytes, size_t len, size_t *written)
{
    while (*written < len) {
        ssize_t done = write(fd, bytes + *written, len - *written);
        if (done >= 0) {
            *written += (size_t)done;
        } else if (errno == EAGAIN) {
            struct pollfd room = { .fd = fd, .events = POLLOUT };
            poll(&room, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static uint64_t count_lines(const struct buf *b, size_t from)
{
    uint64_t lines = 0;
    for (size_t i = from; i < b->len; i++)
        lines += b->data[i] == '\n';
    return lines;
}

int output_flush(struct output *o)
{
    size_t written = 0;
    if (o->lines.len && !o->error)
        o->error = -write_all(o->fd, o->lines.data, o->lines.len, &written);
    if (o->error)
        o->unwritten += count_lines(&o->lines, written);
    buf_clear(&o->lines);
    return -o->error;
}
