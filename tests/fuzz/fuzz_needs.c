/* fuzz_needs.c - any bytes can be read as a script, and what was mentioned first stays needed. */
#include "collect/procfs.h"
#include "host/needs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char first[] = "ev.cwd\n";
    size_t len = sizeof first - 1 + size;
    char *alone = malloc(size ? size : 1), *both = malloc(len); /* to the byte */
    if (!alone || !both)
        abort();
    if (size)
        memcpy(alone, data, size);
    memcpy(both, first, sizeof first - 1);
    memcpy(both + sizeof first - 1, alone, size);

    uint64_t needs = needs_of_text(alone, size);
    bool bytecode = size && *alone == '\x1b'; /* only at the beginning */
    if (!bytecode && needs_of_text(both, len) != (needs | FIELD(CWD)))
        abort();
    needs_of_name(alone, size);
    free(alone);
    free(both);
    return 0;
}
