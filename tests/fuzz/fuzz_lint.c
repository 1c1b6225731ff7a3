/* fuzz_lint.c - any text is looked at to its end, and each remark lies inside of it. */
#include "host/lint.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct about {
    int lines;
};

static void found(void *ctx, const struct lint_finding *f)
{
    const struct about *about = ctx;
    assert(f->line >= 1 && f->line <= about->lines && f->column >= 1);
    assert(*f->code && *f->text);
    assert(strcmp(f->code, "lint")); /* the library itself is not at fault */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lint *lint;
    if (!lint && lint_new(&lint, false) < 0)
        abort();
    struct about about = { .lines = 1 };
    for (size_t i = 0; i < size; i++)
        about.lines += data[i] == '\n' || data[i] == '\r';
    lint_text(lint, size % 2 ? "a.lua" : "a_test.lua", (const char *)data, size, found, &about);
    return 0;
}
