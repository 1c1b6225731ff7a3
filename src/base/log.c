/* log.c - the only way this code speaks to the operator. See log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static log_sink *current_sink;
static void *current_ctx;
static enum log_level current_most = LOG_LEVEL_WARN;

void log_to(log_sink *sink, void *ctx)
{
    current_sink = sink;
    current_ctx = ctx;
}

void log_level(enum log_level most)
{
    current_most = most;
}

/* Bytes of the UTF-8 sequence at `s` (beyond ASCII), or 0 when there is no whole one or it is a C1
 * control: terminals take U+009B for the beginning of an escape sequence. Stops at the NUL. */
static size_t sequence_length(const unsigned char *s)
{
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) ||
        (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

/* Script errors carry newlines (tracebacks): those stay. The rest cannot reach a terminal. */
static void copy_harmless(char *to, size_t cap, const char *from)
{
    size_t len = 0;
    while (*from && len + 5 < cap) {
        unsigned char c = (unsigned char)*from;
        size_t whole = c >= 0x80 ? sequence_length((const unsigned char *)from)
                                 : (c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t';
        if (whole)
            memcpy(to + len, from, whole);
        len += whole ? whole : (size_t)snprintf(to + len, cap - len, "\\x%02x", c);
        from += whole ? whole : 1;
    }
    to[len] = '\0';
}

__attribute__((format(printf, 2, 0))) static void say(enum log_level level, const char *format,
                                                      va_list args)
{
    if (level > current_most)
        return;

    char raw[4096], text[8192];
    vsnprintf(raw, sizeof raw, format, args);
    copy_harmless(text, sizeof text, raw);

    if (current_sink)
        current_sink(current_ctx, level, text);
    else
        dprintf(STDERR_FILENO, "moonwatch: %s\n", text);
}

#define LOG_FUNCTION(name, level)                                                                  \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        say(level, format, args);                                                                  \
        va_end(args);                                                                              \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
