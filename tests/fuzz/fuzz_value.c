/* fuzz_value.c - any bytes are JSON or are not, and what was read can be written and read again. */
#include "cli/value.c"

#include <stdint.h>

static void write_value(FILE *to, const struct value *v)
{
    switch (v->type) {
    case VALUE_NULL:
        fputs("null", to);
        break;
    case VALUE_BOOLEAN:
        fputs(v->number != 0 ? "true" : "false", to);
        break;
    case VALUE_NUMBER:
        fputs("1", to);
        break;
    case VALUE_TEXT:
        value_quote(to, v->text);
        break;
    case VALUE_LIST:
    case VALUE_OBJECT:
        fputc(v->type == VALUE_LIST ? '[' : '{', to);
        for (const struct value *inner = v->first; inner; inner = inner->next) {
            if (inner->key)
                value_quote(to, inner->key);
            fputs(inner->key ? ":" : "", to);
            write_value(to, inner);
            fputs(inner->next ? "," : "", to);
        }
        fputc(v->type == VALUE_LIST ? ']' : '}', to);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1); /* to the byte */
    memcpy(exact, data, size);
    struct value *v = value_parse(exact, size);
    free(exact);
    if (!v)
        return 0;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    write_value(to, v);
    fclose(to);
    struct value *again = value_parse(text, len);
    if (!again || value_count(again) != value_count(v))
        abort();
    value_get(again, "a");
    value_free(again);
    value_free(v);
    free(text);
    return 0;
}
