/* source.c - the texts of what a script is made of, to show the line that an error is about. See
 * source.h. */
#include "host/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More of a line tells a reader nothing, and a generated file may be one line of megabytes. */
#define LINE_MAX_SHOWN 160

/* Lua cuts the names of chunks for its messages: so much of the end is always there. */
#define NAME_TAIL 40

struct source {
    struct source *next;
    char *name; /* owned */
    char *text; /* owned */
    size_t len;
};

int source_add(struct source **list, const char *name, const char *text, size_t len)
{
    struct source *s = calloc(1, sizeof *s);
    if (s) {
        *s = (struct source){ .next = *list, .name = strdup(name), .text = malloc(len + 1), .len = len };
        if (s->name && s->text) {
            memcpy(s->text, text, len);
            *list = s;
            return 0;
        }
        free(s->name);
        free(s->text);
        free(s);
    }
    return -ENOMEM;
}

void source_free(struct source **list)
{
    while (*list) {
        struct source *s = *list;
        *list = s->next;
        free(s->name);
        free(s->text);
        free(s);
    }
}

void source_each(const struct source *list, source_visit *visit, void *ctx)
{
    for (; list; list = list->next)
        visit(ctx, list->name, list->text, list->len);
}

const char *source_first(const struct source *list)
{
    while (list && list->next)
        list = list->next;
    return list ? list->name : NULL;
}

/* Tabs become blanks: the line stays one of the traceback's, and readable. */
void source_add_shown(struct buf *out, const char *line, size_t len)
{
    bool cut = len > LINE_MAX_SHOWN;
    if (cut)
        len = LINE_MAX_SHOWN;
    while (cut && len && ((unsigned char)line[len] & 0xc0) == 0x80)
        len--; /* not within a character */
    for (size_t i = 0, from = 0; i <= len; i++) {
        if (i < len && line[i] != '\t')
            continue;
        buf_harmless(out, line + from, i - from);
        if (i < len)
            buf_puts(out, "    ");
        from = i + 1;
    }
    if (cut)
        buf_puts(out, " ...");
}

const char *source_line(const char *text, size_t len, int line, size_t *wide)
{
    const char *at = text, *end = text + len;
    for (int i = 1; at < end && i < line; i++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    if (line < 1 || at >= end)
        return NULL;
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    *wide = (size_t)((newline ? newline : end) - at);
    if (*wide && at[*wide - 1] == '\r')
        --*wide;
    return at;
}

bool source_show_line(const char *text, size_t len, int line, struct buf *out)
{
    size_t wide = 0;
    const char *at = source_line(text, len, line, &wide);
    if (!at)
        return false;
    buf_printf(out, "\n\t%d | ", line);
    source_add_shown(out, at, wide);
    return true;
}

bool source_has(const struct source *list, const char *name)
{
    while (list && strcmp(list->name, name))
        list = list->next;
    return list;
}

bool source_show(const struct source *list, const char *name, int line, struct buf *out)
{
    for (; list; list = list->next)
        if (!strcmp(list->name, name))
            return source_show_line(list->text, list->len, line, out);
    return false;
}

int source_line_of(const char *name, const char *message)
{
    size_t len = strlen(name + (*name == '@' || *name == '='));
    const char *tail = name + strlen(name) - (len < NAME_TAIL ? len : NAME_TAIL);
    const char *at = strstr(message, tail);
    if (!at)
        return 0;
    at += strlen(tail);
    long line = *at == ':' ? strtol(at + 1, NULL, 10) : 0;
    return line > 0 && line < 100000000 ? (int)line : 0;
}

int source_return_line(const char *text, size_t len)
{
    int found = 0, line = 1;
    for (const char *at = text, *end = text + len; at < end; line++) {
        if ((size_t)(end - at) > 6 && !memcmp(at, "return", 6))
            found = line;
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        at = newline ? newline + 1 : end;
    }
    return found;
}

size_t source_stem_in(const char *name, const char **stem)
{
    const char *slash = strrchr(name, '/');
    const char *base = *stem = slash ? slash + 1 : name + (*name == '@' || *name == '=');
    size_t len = strlen(base);
    return len > 4 && !strcmp(base + len - 4, ".lua") ? len - 4 : len;
}

void source_stem(const char *name, char *to, size_t cap)
{
    const char *base;
    size_t len = source_stem_in(name, &base);
    if (len >= cap)
        len = cap - 1;
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)base[i] < ' ' || base[i] == 0x7f ? '?' : base[i];
    to[len] = '\0';
}
