/* remark.c - tells remarks about a text. See remark.h. */
#include "embed/remark.h"

#include "event/json.h"
#include "host/source.h"

#include <string.h>

static const char *const level_names[] = { "error", "warning", "hint" };

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\":", key);
    json_string(out, text, strlen(text));
    buf_putc(out, ',');
}

static const char *remark_json(struct buf *out, const struct moonwatch_remark *r)
{
    buf_clear(out);
    buf_putc(out, '{');
    add_text(out, "path", r->path);
    add_text(out, "level", level_names[r->level]);
    add_text(out, "code", r->code);
    add_text(out, "text", r->text);
    buf_printf(out, "\"line\":%d,\"column\":%d}", r->line, r->column);
    return buf_str(out);
}

/* Characters, not bytes. */
static int width(const struct buf *text)
{
    int n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += ((unsigned char)text->data[i] & 0xc0) != 0x80;
    return n;
}

static void show_source(struct remarker *to, const struct remark_about *about,
                        struct moonwatch_remark *r)
{
    size_t wide = 0;
    const char *line = about->text ? source_line(about->text, about->len, r->line, &wide) : NULL;
    buf_clear(&to->source);
    r->source = "";
    if (!line)
        return;
    size_t before = (size_t)r->column - 1 < wide ? (size_t)r->column - 1 : wide;
    source_add_shown(&to->source, line, before);
    r->caret = width(&to->source);
    buf_clear(&to->source);
    source_add_shown(&to->source, line, wide);
    r->source = buf_str(&to->source);
}

void remark_tell(struct remarker *to, const struct remark_about *about, int line, int column,
                 enum moonwatch_level level, const char *code, const char *text)
{
    buf_clear(&to->text);
    buf_harmless(&to->text, text, strlen(text));
    struct moonwatch_remark r = { .path = about->path,
                                  .line = line > 0 ? line : 1,
                                  .column = column > 0 ? column : 1,
                                  .level = level,
                                  .code = code,
                                  .text = buf_str(&to->text) };
    show_source(to, about, &r);
    r.json = remark_json(&to->json, &r);
    to->remarked(to->ctx, &r);
}

void remark_free(struct remarker *to)
{
    buf_free(&to->text);
    buf_free(&to->source);
    buf_free(&to->json);
}
