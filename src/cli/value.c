/* value.c - JSON as the command line reads and writes it. See value.h. */
#include "cli/value.h"

#include <stdlib.h>
#include <string.h>

#define DEEPEST 32

struct reader {
    const char *at, *end;
};

static struct value *read_value(struct reader *r, int depth);

static void skip_blank(struct reader *r)
{
    while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
        r->at++;
}

static bool take_char(struct reader *r, char c)
{
    skip_blank(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len))
        return false;
    r->at += len;
    return true;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Four hex digits, or -1. */
static int read_hex(struct reader *r)
{
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = r->at < r->end ? *r->at++ : '\0';
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static char *put_utf8(char *to, int code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* After the u of an escape. NULL: it is none. Half a pair stands for nothing: U+FFFD. */
static char *read_unicode(struct reader *r, char *to)
{
    int code = read_hex(r);
    if (code >= 0xd800 && code < 0xdc00 && take_word(r, "\\u")) {
        int low = read_hex(r);
        if (low < 0)
            return NULL;
        code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    }
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd;
    return code < 0 ? NULL : put_utf8(to, code);
}

/* After the backslash. NULL: no escape of JSON. */
static char *read_escape(struct reader *r, char *to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : '\0';
    const char *known = c ? strchr(from, c) : NULL;
    if (c == 'u')
        return read_unicode(r, to);
    if (!known)
        return NULL;
    *to = into[known - from];
    return to + 1;
}

/* After the quote. An escape is never shorter than what it means. */
static char *read_text(struct reader *r)
{
    const char *quote = r->at;
    while (quote < r->end && *quote != '"')
        quote += 1 + (*quote == '\\' && quote + 1 < r->end);
    char *text = quote < r->end ? malloc((size_t)(quote - r->at) + 1) : NULL, *to = text;
    while (to && r->at < quote) {
        unsigned char c = (unsigned char)*r->at++;
        if (c == '\\')
            to = read_escape(r, to);
        else if (c >= 0x20)
            *to++ = (char)c;
        else
            to = NULL;
    }
    if (!to || r->at != quote) {
        free(text);
        return NULL;
    }
    r->at++;
    *to = '\0';
    return text;
}

/* --- values ------------------------------------------------------------------------------------ */

static struct value *new_value(enum value_type type)
{
    struct value *v = calloc(1, sizeof *v);
    if (v)
        v->type = type;
    return v;
}

static struct value *read_number(struct reader *r)
{
    char text[64];
    size_t len = 0;
    while (r->at < r->end && len + 1 < sizeof text && *r->at && strchr("+-.0123456789eE", *r->at))
        text[len++] = *r->at++;
    text[len] = '\0';
    char *end;
    double number = strtod(text, &end);
    struct value *v = len && !*end ? new_value(VALUE_NUMBER) : NULL;
    if (v)
        v->number = number;
    return v;
}

static struct value *read_word(struct reader *r)
{
    if (take_word(r, "null"))
        return new_value(VALUE_NULL);
    bool truth = take_word(r, "true");
    struct value *v = truth || take_word(r, "false") ? new_value(VALUE_BOOLEAN) : NULL;
    if (v)
        v->number = truth;
    return v;
}

/* One member of an object, or one value of a list. */
static struct value *read_member(struct reader *r, bool object, int depth)
{
    char *key = NULL;
    if (object) {
        key = take_char(r, '"') ? read_text(r) : NULL;
        if (!key || !take_char(r, ':')) {
            free(key);
            return NULL;
        }
    }
    struct value *v = read_value(r, depth);
    if (v)
        v->key = key;
    else
        free(key);
    return v;
}

static struct value *read_inside(struct reader *r, bool object, int depth)
{
    char close = object ? '}' : ']';
    struct value *v = depth < DEEPEST ? new_value(object ? VALUE_OBJECT : VALUE_LIST) : NULL;
    struct value **end = v ? &v->first : NULL;
    if (!v || take_char(r, close))
        return v;
    do {
        *end = read_member(r, object, depth + 1);
        if (!*end) {
            value_free(v);
            return NULL;
        }
        end = &(*end)->next;
    } while (take_char(r, ','));
    if (take_char(r, close))
        return v;
    value_free(v);
    return NULL;
}

static struct value *read_value(struct reader *r, int depth)
{
    skip_blank(r);
    if (r->at == r->end)
        return NULL;
    char c = *r->at;
    if (c == '{' || c == '[') {
        r->at++;
        return read_inside(r, c == '{', depth);
    }
    if (c != '"')
        return strchr("tfn", c) && c ? read_word(r) : read_number(r);
    r->at++;
    char *text = read_text(r);
    struct value *v = text ? new_value(VALUE_TEXT) : NULL;
    if (v)
        v->text = text;
    else
        free(text);
    return v;
}

struct value *value_parse(const char *text, size_t len)
{
    struct reader r = { text, text + len };
    struct value *v = read_value(&r, 0);
    skip_blank(&r);
    if (v && r.at == r.end)
        return v;
    value_free(v);
    return NULL;
}

/* Beside one after another, inside by recursion: no deeper than what was read. */
void value_free(struct value *v)
{
    while (v) {
        struct value *next = v->next;
        value_free(v->first);
        free(v->key);
        free(v->text);
        free(v);
        v = next;
    }
}

/* --- looking ------------------------------------------------------------------------------------- */

const struct value *value_get(const struct value *v, const char *key)
{
    if (!v || v->type != VALUE_OBJECT)
        return NULL;
    for (const struct value *member = v->first; member; member = member->next)
        if (!strcmp(member->key, key))
            return member;
    return NULL;
}

const char *value_text(const struct value *v, const char *key)
{
    const struct value *member = value_get(v, key);
    return member && member->text ? member->text : "";
}

double value_number(const struct value *v, const char *key)
{
    const struct value *member = value_get(v, key);
    return member ? member->number : 0;
}

int value_count(const struct value *v)
{
    int n = 0;
    for (const struct value *inner = v ? v->first : NULL; inner; inner = inner->next)
        n++;
    return n;
}

/* --- writing ------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence, 0: it is none. */
static size_t sequence(const unsigned char *s)
{
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

void value_quote(FILE *to, const char *text)
{
    fputc('"', to);
    while (*text) {
        unsigned char c = (unsigned char)*text;
        size_t len = c >= 0x80 ? sequence((const unsigned char *)text) : 1;
        if (c == '"' || c == '\\')
            fprintf(to, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(to, "\\u%04x", c);
        else if (len)
            fwrite(text, 1, len, to);
        else
            fputs("\\ufffd", to);
        text += len ? len : 1;
    }
    fputc('"', to);
}
