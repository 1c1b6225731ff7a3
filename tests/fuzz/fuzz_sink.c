/* fuzz_sink.c - a spec, a queue and a template of any bytes: refused, or served inside their
 * bounds.
 *
 * The first two come from a process that runs scripts. The input: a spec's bytes; or, when its
 * first byte is odd, what is written over the queue's state and records before it is attached, then
 * what is done with it; or, after a brace, a template and what fills it in. */
#include "../../src/sink/queue.c" /* for the private part: what is shared */

#include "sink/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void try_spec(const unsigned char *bytes, size_t len)
{
    static struct sink_spec spec;
    const char *argv[SPEC_ARGS_MAX + 1];
    char name[SPEC_NAME_MAX];
    if (spec_take(&spec, bytes, len) < 0)
        return;
    require(spec_size(&spec) == len && !spec_fault(&spec));
    spec_name(&spec, name);
    require(strlen(name) < sizeof name);
    if (spec.kind == SINK_EXEC)
        require(spec_argv(&spec, argv) >= 1 && *argv[0]);
}

static void use(struct queue *q, unsigned char what)
{
    static char record[40000];
    struct iovec parts[8];
    size_t bytes = 0, most = 1 + (size_t)(what >> 3) * 700;
    if (what % 8 == 0)
        queue_drop_first(q);
    else if (what % 8 == 1)
        queue_settle(q, what & 8, q->now.before + (what >> 4));
    else if (what % 8 < 5)
        queue_push(q, record, most);
    int n = queue_next(q, parts, 8, most);
    for (int i = 0; i < n; i++)
        bytes += parts[i].iov_len;
    require(bytes <= most);
    for (int i = 0; i < n; i++) /* readable to the last byte */
        memcpy(record, parts[i].iov_base, parts[i].iov_len);
    if (what % 8 > 5) {
        queue_intend(q, bytes, what);
        queue_wrote(q, what & 8 ? bytes : bytes / 2);
    }
    require(state_holds(q));
}

static void try_queue(const unsigned char *bytes, size_t len)
{
    int memory = queue_make(SPEC_QUEUE_MIN), spool = memfd_create("fuzz-spool", 0);
    struct queue q;
    size_t state = sizeof(struct queue_shared), head = len < state - 8 ? len : state - 8;
    require(pwrite(memory, bytes, head, 8) == (ssize_t)head); /* the magic stays */
    require(pwrite(memory, bytes, len, (off_t)page_round(state)) == (ssize_t)len);
    require(pwrite(spool, bytes, len, 0) == (ssize_t)len);
    int result = queue_attach(&q, memory, SPEC_QUEUE_MIN, bytes[0] % SINK_FULLS, spool, 1 << 17);
    require(result == 0 || result == -EBADMSG);
    for (size_t i = 0; i < len && i < 200; i++)
        use(&q, bytes[len - 1 - i]);
    queue_detach(&q);
    close(memory);
    close(spool);
}

/* One line, of printable characters, whatever was put in. */
static void require_line(const struct buf *line)
{
    for (size_t i = 0; i < line->len; i++)
        require((unsigned char)line->data[i] >= ' ' && line->data[i] != 0x7f);
}

/* The template is the operator's, so its own text may be anything: here it is made harmless. */
static void try_frame(const unsigned char *bytes, size_t len)
{
    static struct event_box box;
    struct frame *f = NULL;
    char why[256];
    const unsigned char *end = memchr(bytes, '\n', len);
    size_t text_len = end ? (size_t)(end - bytes) : len;
    struct buf line = { 0 }, template = { 0 };
    buf_harmless(&template, (const char *)bytes, text_len);
    event_begin(&box, EVENT_EXEC);
    event_set_text(&box, F_COMM, (const char *)bytes, len, WHY_PROC);
    event_set_text(&box, F_ARGS, (const char *)bytes, len, WHY_PROC);
    struct json_alert alert = { .severity = "low", .text = (const char *)bytes, .text_len = len };
    struct json_context json = { .alert = &alert, .parent = &box.ev };
    struct frame_item item = { .script = "s", .ev = &box.ev, .json = &json };
    if (frame_parse(&f, buf_str(&template), template.len, why) == 0) {
        frame_line(&line, f, &item);
        require_line(&line);
        buf_clear(&line);
        frame_syslog(&line, f, &item);
        require_line(&line);
        require(line.len <= FRAME_SYSLOG_MAX);
        frame_journald(&line, f, &item);
        frame_free(f);
    }
    buf_free(&line);
    buf_free(&template);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    if (len > 1 && bytes[0] == '{')
        try_frame(bytes, len);
    else if (len > 1 && bytes[0] & 1)
        try_queue(bytes + 1, len - 1);
    else
        try_spec(bytes, len);
    return 0;
}
