/* flat.c - reads a JSON object as a flat list of names and texts. See flat.h. */
#include "event/flat.h"

#include "base/buf.h"
#include "base/number.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 32

static int add(struct flat *f, const char *name, const char *text, size_t len, bool null)
{
    struct flat_value *more = arena_grow(&f->arena, f->values, f->len, &f->cap, 1, sizeof *more);
    char *name_copy = arena_copy(&f->arena, name, strlen(name));
    char *text_copy = arena_copy(&f->arena, text, len);
    if (more)
        f->values = more;
    if (!more || !name_copy || !text_copy)
        return -ENOMEM;
    more[f->len++] = (struct flat_value){ name_copy, text_copy, len, null };
    return 0;
}

/* Of a text, a number or a truth. False: it is neither. */
static bool add_plain(struct buf *to, const json_t *value)
{
    char number[NUMBER_TEXT];
    switch (json_typeof(value)) {
    case JSON_STRING:
        buf_add(to, json_string_value(value), json_string_length(value));
        return true;
    case JSON_INTEGER:
        buf_int(to, json_integer_value(value));
        return true;
    case JSON_REAL:
        buf_puts(to, number_text(json_real_value(value), number));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_puts(to, json_is_true(value) ? "true" : "false");
        return true;
    default:
        return false;
    }
}

/* What in a list is not plain is left out. */
static void add_list(struct buf *to, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (i && !json_is_array(one) && !json_is_object(one) && !json_is_null(one))
            buf_putc(to, ' ');
        add_plain(to, one);
    }
}

static int add_value(struct flat *f, const char *name, const json_t *value)
{
    struct buf text = { 0 };
    if (json_is_array(value))
        add_list(&text, value);
    else
        add_plain(&text, value);
    int result = text.failed
                     ? -ENOMEM
                     : add(f, name, text.data ? text.data : "", text.len, json_is_null(value));
    buf_free(&text);
    return result;
}

static int add_object(struct flat *f, json_t *object, struct buf *name, int depth)
{
    size_t len = name->len;
    int result = depth > DEPTH_MAX ? -EINVAL : 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (result < 0)
            break;
        buf_puts(name, len ? "." : "");
        buf_puts(name, key);
        if (name->failed)
            return -ENOMEM;
        result = json_is_object(value) ? add_object(f, value, name, depth + 1)
                                       : add_value(f, buf_str(name), value);
        name->len = len;
    }
    return result;
}

int flat_read(struct flat *f, const char *json, size_t len, char *why, size_t cap)
{
    json_error_t error;
    struct buf name = { 0 };
    arena_free(&f->arena);
    f->values = NULL;
    f->len = f->cap = 0;
    json_t *root = json_loadb(json, len, JSON_ALLOW_NUL, &error);
    if (!root) {
        snprintf(why, cap, "it is no JSON: %s", error.text);
        return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
    }
    int result = -EINVAL;
    if (json_is_object(root))
        result = add_object(f, root, &name, 0);
    if (result == -EINVAL)
        snprintf(why, cap, "%s",
                 json_is_object(root) ? "its objects are more than 32 deep in each other"
                                      : "it must be an object");
    json_decref(root);
    buf_free(&name);
    return result;
}

const struct flat_value *flat_get(const struct flat *f, const char *name)
{
    for (size_t i = 0; i < f->len; i++)
        if (!strcmp(f->values[i].name, name))
            return &f->values[i];
    return NULL;
}

void flat_free(struct flat *f)
{
    arena_free(&f->arena);
    *f = (struct flat){ 0 };
}
