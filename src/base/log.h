/* log.h - the only way this code speaks to the operator.
 *
 * A line goes to the sink that the embedder set, or to stderr as "moonwatch: text".
 * Bytes that came from a process are made harmless: control characters become \xHH. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `text` is one line, NUL-terminated, without the newline, borrowed for the call. */
typedef void log_sink(void *ctx, enum log_level level, const char *text);

/* NULL restores stderr. */
void log_to(log_sink *sink, void *ctx);

/* Lines above `most` are not made. LOG_LEVEL_WARN at start. */
void log_level(enum log_level most);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
