/* plan.c - what a watch with these scripts would ask the kernel for, and what that would cost. */
#include "moonwatch.h"

#include "base/buf.h"
#include "collect/collector.h"
#include "collect/sources.h"
#include "embed/watch.h"
#include "event/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The texts that a plan points to. */
struct texts {
    struct buf *buf; /* owned: each of them its own text */
    int len, cap;
};

static struct buf *new_text(struct texts *t)
{
    static struct buf none = { .failed = true };
    return t->len < t->cap ? &t->buf[t->len++] : &none;
}

/* --- words ---------------------------------------------------------------------------------- */

static const char *kept(struct texts *t, const char *text)
{
    struct buf *out = new_text(t);
    buf_puts(out, text);
    return buf_str(out);
}

static const char *kinds_text(struct texts *t, uint32_t kinds)
{
    char names[EVENT_KINDS_TEXT];
    return kept(t, event_kinds_text(kinds, names, sizeof names));
}

static const char *script_kinds_text(struct texts *t, uint32_t kinds)
{
    char names[EVENT_KINDS_TEXT];
    return kept(t, event_handled_text(kinds, names, sizeof names));
}

static const char *fields_text(struct texts *t, uint64_t fields)
{
    if (fields == UINT64_MAX)
        return "all";
    struct buf *out = new_text(t);
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (fields >> f & 1)
            buf_printf(out, "%s%s", out->len ? " " : "", event_fields[f].name);
    return buf_str(out);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void add_key(struct buf *out, const char *key)
{
    buf_printf(out, "%s\"%s\":", out->len && !strchr("{[", out->data[out->len - 1]) ? "," : "",
               key);
}

static void add_words(struct buf *out, const char *key, const char *words)
{
    add_key(out, key);
    buf_putc(out, '[');
    for (size_t len; *words; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        if (out->data[out->len - 1] != '[')
            buf_putc(out, ',');
        json_string(out, words, len);
    }
    buf_putc(out, ']');
}

static void add_text(struct buf *out, const char *key, const char *text)
{
    add_key(out, key);
    json_string(out, text, strlen(text));
}

static void add_us(struct buf *out, const char *key, double us)
{
    add_key(out, key);
    json_number(out, round(us * 10) / 10);
}

static void add_truth(struct buf *out, const char *key, bool truth)
{
    add_key(out, key);
    buf_puts(out, truth ? "true" : "false");
}

static void begin_row(struct buf *out, int row)
{
    buf_puts(out, row ? ",{" : "{");
}

/* A buf that failed says so at its end. */
static const char *plan_json(struct texts *t, const struct moonwatch_plan *plan)
{
    struct buf *out = new_text(t);
    if (!buf_reserve(out, 4096))
        return "";
    buf_putc(out, '{');
    add_key(out, "scripts");
    buf_putc(out, '[');
    for (int i = 0; i < plan->scripts_len; i++) {
        begin_row(out, i);
        add_text(out, "name", plan->scripts[i].name);
        add_words(out, "events", plan->scripts[i].events);
        add_truth(out, "threads", plan->scripts[i].threads);
        add_words(out, "fields", plan->scripts[i].fields);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    add_words(out, "fields", plan->fields);
    add_words(out, "kernel_events", plan->kernel_events);
    add_words(out, "kernel_events_unasked", plan->kernel_events_unasked);
    add_truth(out, "threads", plan->threads);
    add_key(out, "sources");
    buf_putc(out, '[');
    for (int i = 0; i < plan->sources_len; i++) {
        begin_row(out, i);
        add_text(out, "name", plan->sources[i].name);
        add_truth(out, "read", plan->sources[i].read);
        add_us(out, "us", plan->sources[i].us);
        add_words(out, "fields", plan->sources[i].fields);
        if (*plan->sources[i].note)
            add_text(out, "note", plan->sources[i].note);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    add_us(out, "exec_us", plan->exec_us);
    add_us(out, "all_us", plan->all_us);
    if (*plan->no_tap)
        add_text(out, "no_tap", plan->no_tap);
    else
        add_us(out, "tap_us", plan->tap_us);
    buf_putc(out, '}');
    return buf_str(out);
}

/* --- the plan ------------------------------------------------------------------------------- */

static void add_scripts(struct texts *t, const struct watch_wants *wants,
                        struct moonwatch_plan_script *to)
{
    for (int i = 0; i < wants->scripts_len; i++) {
        const struct host_script *script = &wants->scripts[i];
        to[i] = (struct moonwatch_plan_script){ .name = script->name,
                                                .events = script_kinds_text(t, script->kinds),
                                                .threads = script->threads,
                                                .fields = fields_text(t, script->needs) };
    }
}

static void add_sources(struct texts *t, const struct sources *sources,
                        struct moonwatch_plan_source *to)
{
    for (int i = 0; i < SOURCES; i++) {
        const struct source *source = &sources->source[i];
        to[i] = (struct moonwatch_plan_source){ .name = source->name,
                                                .fields = fields_text(t, source->fields),
                                                .note = source->note,
                                                .read = source->read,
                                                .us = source->us };
    }
}

#define KERNEL_EVENTS                                                                              \
    (ON(FORK) | ON(EXEC) | ON(EXIT) | ON(UID) | ON(GID) | ON(SID) | ON(PTRACE) | ON(COMM) |        \
     ON(COREDUMP))

static int tell(struct watch_wants *wants, struct texts *t, moonwatch_planned *planned, void *ctx)
{
    struct sources sources;
    struct moonwatch_plan_source rows[SOURCES];
    int result = sources_measure(&sources, wants->needs);
    struct moonwatch_plan_script *scripts = calloc((size_t)wants->scripts_len + 1, sizeof *scripts);
    if (!scripts)
        result = -ENOMEM;
    if (result == 0) {
        uint32_t asked = collector_asks(wants->kinds);
        add_scripts(t, wants, scripts);
        add_sources(t, &sources, rows);
        struct moonwatch_plan plan = {
            .scripts = scripts,
            .scripts_len = wants->scripts_len,
            .fields = fields_text(t, wants->needs),
            .kernel_events = kinds_text(t, asked),
            .kernel_events_unasked = kinds_text(t, KERNEL_EVENTS & ~asked),
            .threads = wants->threads,
            .sources = rows,
            .sources_len = SOURCES,
            .exec_us = sources.exec_us,
            .all_us = sources.all_us,
            .tap_us = sources.tap_us,
            .no_tap = sources.no_tap,
        };
        plan.json = plan_json(t, &plan);
        planned(ctx, &plan);
    }
    free(scripts);
    return result;
}

int moonwatch_plan(struct moonwatch *m, moonwatch_planned *planned, void *ctx)
{
    struct watch_wants wants = { 0 };
    int result = watch_wants(m, &wants);
    if (result == 0) {
        struct texts t = { .cap = 2 * wants.scripts_len + SOURCES + 8 };
        t.buf = calloc((size_t)t.cap, sizeof *t.buf);
        result = t.buf ? tell(&wants, &t, planned, ctx) : -ENOMEM;
        while (t.len)
            buf_free(&t.buf[--t.len]);
        free(t.buf);
    }
    free(wants.scripts);
    return result;
}
