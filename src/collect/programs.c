/* programs.c - which path a program's file had when it was last seen. See programs.h. */
#include "collect/programs.h"

#include <string.h>

static size_t slot_of(uint64_t dev, uint64_t inode)
{
    return ((inode ^ dev << 48) * 0x9e3779b97f4a7c15u >> 32) % PROGRAMS;
}

void programs_learn(struct programs *p, uint64_t dev, uint64_t inode, const char *path, size_t len)
{
    struct program *program = &p->slots[slot_of(dev, inode)];
    if (!inode || len > PROGRAM_PATH_MAX)
        return;
    program->dev = dev;
    program->inode = inode;
    program->len = len;
    memcpy(program->path, path, len);
}

const char *programs_find(const struct programs *p, uint64_t dev, uint64_t inode, size_t *len)
{
    const struct program *program = &p->slots[slot_of(dev, inode)];
    if (!inode || program->inode != inode || program->dev != dev)
        return NULL;
    *len = program->len;
    return program->path;
}
