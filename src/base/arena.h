/* arena.h - memory that is given back all at once.
 *
 * For what is read as a whole and thrown away as a whole: many small pieces with one owner. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

/* Where memory comes from; as malloc and free. Zeroed: those. */
struct memory {
    void *(*get)(size_t size, void *ctx);
    void (*put)(void *block, void *ctx);
    void *ctx;
};

void *memory_get(const struct memory *m, size_t size);
void memory_put(const struct memory *m, void *block);

/* A zeroed struct arena is an empty one, of malloc. */
struct arena {
    struct memory memory;
    struct arena_block *blocks; /* owned list; the first has room left */
    size_t bytes;               /* taken from memory */
};

/* Aligned for any type, zeroed. NULL: no memory. */
void *arena_get(struct arena *a, size_t size);

/* Room for n more behind an array of `len`, moved when it must be, to twice its size: what it was
 * before is lost until the end. `cap` is kept here. NULL: no memory, the array stands. */
void *arena_grow(struct arena *a, void *array, size_t len, size_t *cap, size_t more, size_t size);

/* NUL-ended copies. */
char *arena_copy(struct arena *a, const char *bytes, size_t len);

void arena_free(struct arena *a);

#endif
