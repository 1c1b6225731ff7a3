/* spec.c - what a script asks for when it opens an output of its own. See spec.h. */
#include "sink/spec.h"

#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

_Static_assert(offsetof(struct sink_spec, text) == 40, "no padding: specs are compared as bytes");

size_t spec_size(const struct sink_spec *spec)
{
    return offsetof(struct sink_spec, text) + spec->text_len;
}

uint64_t spec_queue(uint64_t bytes)
{
    uint64_t size = SPEC_QUEUE_MIN;
    while (size < bytes && size < SPEC_QUEUE_MAX)
        size *= 2;
    return size;
}

int spec_argv(const struct sink_spec *spec, const char **argv)
{
    int n = 0;
    for (size_t at = 0; at < spec->text_len && n < SPEC_ARGS_MAX; n++) {
        argv[n] = spec->text + at;
        at += strlen(argv[n]) + 1;
    }
    argv[n] = NULL;
    return n;
}

static int count_args(const struct sink_spec *spec)
{
    int n = 0;
    for (size_t i = 0; i < spec->text_len; i++)
        n += spec->text[i] == '\0';
    return n;
}

static const char *exec_fault(const struct sink_spec *spec)
{
    if (!spec->text_len || !spec->text[0] || spec->text[spec->text_len - 1])
        return "argv must begin with the name of a program";
    if (count_args(spec) > SPEC_ARGS_MAX)
        return "argv has more than 64 arguments";
    return NULL;
}

static const char *path_fault(const struct sink_spec *spec)
{
    bool has_default = spec->kind == SINK_SYSLOG || spec->kind == SINK_JOURNALD;
    if (spec->kind == SINK_STDOUT)
        return spec->text_len ? "standard output has no path" : NULL;
    if (!spec->text_len && !has_default)
        return "a path is missing";
    if (memchr(spec->text, '\0', spec->text_len))
        return "a path has no NUL";
    return NULL;
}

static const char *rotation_fault(const struct sink_spec *spec)
{
    if (!spec->rotate)
        return spec->keep ? "keep goes with rotate" : NULL;
    if (spec->kind != SINK_FILE)
        return "only a file is rotated";
    if (spec->rotate < SPEC_ROTATE_MIN || spec->rotate > INT64_MAX)
        return "rotate is at least 4k";
    if (!spec->keep || spec->keep > SPEC_KEEP_MAX)
        return "keep is 1 to 99";
    return NULL;
}

static bool is_queue_size(uint64_t bytes)
{
    return bytes >= SPEC_QUEUE_MIN && bytes <= SPEC_QUEUE_MAX && !(bytes & (bytes - 1));
}

const char *spec_fault(const struct sink_spec *spec)
{
    if (spec->kind >= SINK_KINDS || spec->full >= SINK_FULLS || spec->text_len > SPEC_TEXT_MAX)
        return "it is no request for an output";
    if (!is_queue_size(spec->queue))
        return "queue is 64k to 64M";
    if ((spec->spool != 0) != (spec->full == SINK_SPOOL))
        return "spool goes with full = \"spool\"";
    if (spec->spool && (spec->spool < SPEC_QUEUE_MIN || spec->spool > SPEC_SPOOL_MAX))
        return "spool is 64k to 16G";
    const char *fault = rotation_fault(spec);
    if (fault)
        return fault;
    return spec->kind == SINK_EXEC ? exec_fault(spec) : path_fault(spec);
}

/* Is `b` what `a` calls one of those that it puts aside, NAME.1 to NAME.keep? */
static bool puts_aside(const struct sink_spec *a, const struct sink_spec *b)
{
    char number[16];
    if (b->text_len <= a->text_len || memcmp(a->text, b->text, a->text_len))
        return false;
    size_t len = b->text_len - a->text_len;
    for (uint32_t i = 1; i <= a->keep; i++)
        if (snprintf(number, sizeof number, ".%u", i) == (int)len &&
            !memcmp(b->text + a->text_len, number, len))
            return true;
    return false;
}

bool spec_collides(const struct sink_spec *a, const struct sink_spec *b)
{
    if (a->kind != SINK_FILE || b->kind != SINK_FILE)
        return false;
    return (a->text_len == b->text_len && !memcmp(a->text, b->text, a->text_len)) ||
           puts_aside(a, b) || puts_aside(b, a);
}

int spec_take(struct sink_spec *spec, const void *bytes, size_t len)
{
    if (len < offsetof(struct sink_spec, text) || len > sizeof *spec)
        return -EINVAL;
    memset(spec, 0, sizeof *spec);
    memcpy(spec, bytes, len);
    if (spec->text_len > SPEC_TEXT_MAX || spec_size(spec) != len || spec_fault(spec))
        return -EINVAL;
    return 0;
}

const char *spec_kind_name(enum sink_kind kind)
{
    static const char *const names[SINK_KINDS] = { "stdout", "file",     "unix",
                                                   "syslog", "journald", "exec" };
    return names[kind];
}

void spec_name(const struct sink_spec *spec, char *to)
{
    struct buf name = { 0 };
    buf_puts(&name, spec_kind_name((enum sink_kind)spec->kind));
    if (spec->text_len) {
        buf_putc(&name, ' ');
        buf_harmless(&name, spec->text, strnlen(spec->text, spec->text_len));
    }
    snprintf(to, SPEC_NAME_MAX, "%s", buf_str(&name));
    buf_free(&name);
}
