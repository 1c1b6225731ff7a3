/* output.c - where lines go. See output.h. */
#include "sink/output.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FLUSH_AT         ((size_t)64 * 1024)
#define LOCK_PATIENCE_MS 1000

void output_init(struct output *o, int fd, bool json)
{
    struct winsize size = { 0 };
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(fd);

    *o = (struct output){ .fd = fd, .json = json, .terminal = terminal, .lock = -1 };
    if (terminal && ioctl(fd, TIOCGWINSZ, &size) == 0)
        o->view.columns = size.ws_col;
    o->view.colour = terminal && !(no_color && *no_color);
}

void output_share(struct output *o, struct output_memory *shared, int lock)
{
    if (shared->len > OUTPUT_SHARED || shared->start > shared->len)
        shared->start = shared->len = 0; /* a predecessor may have written anything there */
    o->shared = shared;
    o->lock = lock;
}

void output_free(struct output *o)
{
    output_flush(o);
    buf_free(&o->lines);
}

static void added(struct output *o);

void output_heading(struct output *o)
{
    if (!o->json)
        view_heading(&o->lines, &o->view);
    added(o);
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
    bool shown = o->terminal || !o->json;
    while (shown && text < end) { /* what is between newlines and tabs is made safe */
        size_t safe = 0;
        while (text + safe < end && text[safe] != '\n' && text[safe] != '\t')
            safe++;
        view_text(&o->lines, text, safe, 0);
        text += safe;
        if (text < end)
            buf_putc(&o->lines, *text++);
    }
    if (!shown)
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

/* *written gets how many bytes arrived, as they do. 0, or -errno. */
static int write_all(int fd, const char *bytes, size_t len, uint64_t *written)
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

static uint64_t count_lines(const char *bytes, size_t from, size_t to)
{
    uint64_t lines = 0;
    for (size_t i = from; i < to; i++)
        lines += bytes[i] == '\n';
    return lines;
}

/* One that never gives it back is not waited for. */
static bool take_turn(int lock)
{
    for (int ms = 0; lock >= 0 && ms < LOCK_PATIENCE_MS; ms++) {
        if (flock(lock, LOCK_EX | LOCK_NB) == 0)
            return true;
        usleep(1000);
    }
    return false;
}

static void write_out(struct output *o, const char *bytes, size_t len, uint64_t *written)
{
    if (o->waits)
        o->waits(o->waits_ctx, true);
    bool locked = take_turn(o->lock);
    if (!o->error)
        o->error = -write_all(o->fd, bytes, len, written);
    if (locked)
        flock(o->lock, LOCK_UN);
    if (o->waits)
        o->waits(o->waits_ctx, false);
    if (o->error)
        o->unwritten += count_lines(bytes, *written, len);
}

/* `start` moves on with each write, so a successor does not repeat what was written. */
static void flush_shared(struct output *o)
{
    struct output_memory *m = o->shared;
    if (m->start < m->len)
        write_out(o, m->bytes, m->len, &m->start);
    m->len = 0;
    atomic_signal_fence(memory_order_seq_cst);
    m->start = 0;
}

/* Whole lines go to where they outlive this process. */
static void share(struct output *o)
{
    struct output_memory *m = o->shared;
    uint64_t written = 0;
    if (m->len + o->lines.len > OUTPUT_SHARED)
        flush_shared(o);
    if (o->lines.len > OUTPUT_SHARED) {
        write_out(o, o->lines.data, o->lines.len, &written);
    } else {
        memcpy(m->bytes + m->len, o->lines.data, o->lines.len);
        atomic_signal_fence(memory_order_seq_cst);
        m->len += o->lines.len;
    }
    buf_clear(&o->lines);
}

static void added(struct output *o)
{
    if (o->shared && o->lines.len)
        share(o);
    else if (o->lines.len >= FLUSH_AT)
        output_flush(o);
}

int output_flush(struct output *o)
{
    uint64_t written = 0;
    if (o->shared)
        flush_shared(o);
    if (o->lines.len)
        write_out(o, o->lines.data, o->lines.len, &written);
    buf_clear(&o->lines);
    return -o->error;
}
