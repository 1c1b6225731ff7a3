/* rules_script.c - the script that stands for the rules of a path. See rules.h. */
#include "embed/rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

__attribute__((format(printf, 3, 4))) static int refuse(struct rule_script *s, int error,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->why, sizeof s->why, format, args);
    va_end(args);
    return error;
}

/* Any bytes as a string of Lua. */
static void add_quoted(struct buf *to, const char *text, size_t len)
{
    buf_putc(to, '"');
    for (size_t i = 0; i < len; i++)
        buf_printf(to, "\\%03u", (unsigned char)text[i]);
    buf_putc(to, '"');
}

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return len == strcspn(b, "=") && !strncmp(a, b, len);
}

/* The values of one name together, where it comes first. */
static void add_values(struct buf *to, const char *const *placeholders, int len, int at)
{
    for (int i = 0; i < at; i++)
        if (same_name(placeholders[i], placeholders[at]))
            return;
    buf_putc(to, '[');
    add_quoted(to, placeholders[at], strcspn(placeholders[at], "="));
    buf_puts(to, "] = { ");
    for (int i = at; i < len; i++) {
        if (!same_name(placeholders[i], placeholders[at]))
            continue;
        const char *value = strchr(placeholders[i], '=') + 1;
        add_quoted(to, value, strlen(value));
        buf_puts(to, ", ");
    }
    buf_puts(to, "}, ");
}

static void write_text(struct buf *to, const char *name, const char *relative,
                       const char *const *placeholders, int placeholders_len)
{
    buf_puts(to, "local mw = require 'moonwatch'\n"
                 "local dedup = mw.option('dedup', '')\n"
                 "return mw.script { name = ");
    add_quoted(to, name, strlen(name));
    buf_puts(to, ", on = { exec = mw.sigma(");
    add_quoted(to, relative, strlen(relative));
    buf_puts(to, ", { level = mw.option('level', 'informational'),\n"
                 "  dedup = dedup ~= '' and dedup or nil, placeholders = { ");
    for (int i = 0; i < placeholders_len; i++)
        add_values(to, placeholders, placeholders_len, i);
    buf_puts(to, "} }) } }\n");
}

/* A script in the directory of the file, or in the directory that is meant. */
static void place(struct rule_script *s, const char *path, const char *name, const char **relative)
{
    struct stat about;
    size_t len = strlen(path);
    const char *slash = strrchr(path, '/');
    bool directory = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    *relative = directory ? "." : slash ? slash + 1 : path;
    if (directory)
        snprintf(s->name, sizeof s->name, "@%s%s%s", path, len && path[len - 1] == '/' ? "" : "/",
                 name);
    else
        snprintf(s->name, sizeof s->name, "@%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, name);
}

int rules_script(struct rule_script *s, const char *path, const char *const *placeholders,
                 int placeholders_len)
{
    struct rule_files files = { 0 };
    const char *relative;
    char name[32] = "sigma";
    int result = rules_find(&files, path);
    rules_free(&files);
    if (result < 0)
        return refuse(s, result, "cannot read rules of '%s': %s", path, rules_error(result));
    for (int i = 0; i < placeholders_len; i++)
        if (!strchr(placeholders[i], '=') || *placeholders[i] == '=')
            return refuse(s, -EINVAL, "a placeholder is NAME=VALUE, not '%s'", placeholders[i]);
    if (s->number > 1)
        snprintf(name, sizeof name, "sigma-%d", s->number);
    place(s, path, name, &relative);
    write_text(&s->text, name, relative, placeholders, placeholders_len);
    return s->text.failed ? refuse(s, -ENOMEM, "not enough memory for the rules") : 0;
}
