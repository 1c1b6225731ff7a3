/* buf.h - a growable run of bytes.
 *
 * For building text and answers of unknown length. Not for per-event work in the
 * collector, which has fixed storage: a buf may allocate. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* owned; not NUL-terminated unless buf_str was called */
    size_t len;
    size_t cap;
    bool failed; /* an append found no memory; later appends do nothing */
};

/* A zeroed struct buf is an empty one. Keeps the memory: the next use is free of malloc. */
void buf_clear(struct buf *b);

/* Release the memory; the buf is empty and usable again. */
void buf_free(struct buf *b);

/* Make room for `more` bytes after len. Returns where they go, or NULL (and sets failed). */
char *buf_reserve(struct buf *b, size_t more);

/* Appends. On no memory they set failed and leave what was there. */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_int(struct buf *b, int64_t number);

/* Any bytes as printable text on one line: control characters become \xHH. */
void buf_harmless(struct buf *b, const char *bytes, size_t len);

/* NUL-terminate without counting the NUL. Returns the text, or "" when failed. */
const char *buf_str(struct buf *b);

#endif
