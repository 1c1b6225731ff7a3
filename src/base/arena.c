/* arena.c - memory that is given back all at once. See arena.h. */
#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)16 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    max_align_t bytes[];
};

void *memory_get(const struct memory *m, size_t size)
{
    return m->get ? m->get(size, m->ctx) : malloc(size);
}

void memory_put(const struct memory *m, void *block)
{
    if (m->put)
        m->put(block, m->ctx);
    else
        free(block);
}

static struct arena_block *add_block(struct arena *a, size_t size)
{
    struct arena_block *block = memory_get(&a->memory, sizeof *block + size);
    if (!block)
        return NULL;
    *block = (struct arena_block){ .size = size };
    a->bytes += sizeof *block + size;
    return block;
}

/* What is larger than a block has one of its own, behind the one that is being filled. */
static struct arena_block *room_for(struct arena *a, size_t size)
{
    struct arena_block *first = a->blocks;
    if (first && first->size - first->used >= size)
        return first;
    struct arena_block *block = add_block(a, size > BLOCK / 4 ? size : BLOCK);
    if (!block)
        return NULL;
    bool alone = first && size > BLOCK / 4;
    block->next = alone ? first->next : first;
    *(alone ? &first->next : &a->blocks) = block;
    return block;
}

void *arena_get(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct arena_block *block = room_for(a, size);
    if (!block)
        return NULL;
    char *at = (char *)block->bytes + block->used;
    block->used += size;
    return memset(at, 0, size);
}

void *arena_grow(struct arena *a, void *array, size_t len, size_t *cap, size_t more, size_t size)
{
    if (len + more <= *cap)
        return array;
    size_t wanted = *cap ? *cap * 2 : 4;
    if (wanted < len + more)
        wanted = len + more;
    if (wanted > SIZE_MAX / size / 2)
        return NULL;
    void *moved = arena_get(a, wanted * size);
    if (!moved)
        return NULL;
    if (len)
        memcpy(moved, array, len * size);
    *cap = wanted;
    return moved;
}

char *arena_copy(struct arena *a, const char *bytes, size_t len)
{
    char *to = len < SIZE_MAX / 2 ? arena_get(a, len + 1) : NULL;
    if (to && len)
        memcpy(to, bytes, len);
    return to;
}

void arena_free(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *block = a->blocks;
        a->blocks = block->next;
        memory_put(&a->memory, block);
    }
    a->bytes = 0;
}
