/* pack.c - plain Lua data as bytes, and back. See pack.h.
 *
 * Each value is a tag and what follows it. Writing calls nothing of Lua that can throw, so that it
 * may hold memory of its own. */
#include "host/pack.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum tag {
    TAG_NIL,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INT,    /* zigzag varint */
    TAG_NUMBER, /* eight bytes */
    TAG_STRING, /* varint, that many bytes */
    TAG_TABLE,  /* varint n, varint m, n values, m times key and value */
};

/* A claim of a long table is believed as far as this; then it has to grow. */
#define PRESIZE_MAX 256

/* --- writing ---------------------------------------------------------------------------------- */

struct writer {
    lua_State *L;
    struct buf *out;
    size_t most; /* length that `out` may have */
    int culprit;
};

static enum pack_failure write_value(struct writer *w, int index, int depth);

static enum pack_failure state_of(const struct writer *w)
{
    if (w->out->failed)
        return PACK_MEMORY;
    return w->out->len > w->most ? PACK_LARGE : PACK_FINE;
}

static void put_varint(struct buf *out, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        buf_putc(out, (char)(number | 0x80));
    buf_putc(out, (char)number);
}

/* Whole numbers that a double holds exactly; -0 is none of them. */
static bool is_whole(lua_Number number)
{
    return number >= -9007199254740992.0 && number <= 9007199254740992.0 &&
           number == floor(number) && !(number == 0 && signbit(number));
}

static void put_number(struct buf *out, lua_Number number)
{
    if (number != number)
        number = NAN; /* of the many, one */
    if (is_whole(number)) {
        int64_t whole = (int64_t)number;
        buf_putc(out, TAG_INT);
        put_varint(out, (uint64_t)whole << 1 ^ (whole < 0 ? UINT64_MAX : 0));
        return;
    }
    buf_putc(out, TAG_NUMBER);
    buf_add(out, &number, sizeof number);
}

static void put_string(struct writer *w, int index)
{
    size_t len;
    const char *text = lua_tolstring(w->L, index, &len);
    buf_putc(w->out, TAG_STRING);
    put_varint(w->out, len);
    if (len <= w->most) /* else it is refused in any case */
        buf_add(w->out, text, len);
    else
        w->out->len = w->most + 1;
}

/* Elements 1..n without a gap. */
static size_t count_sequence(lua_State *L, int index)
{
    size_t n = 0;
    for (bool nil = false; !nil; n += !nil) {
        lua_rawgeti(L, index, (int)n + 1);
        nil = lua_isnil(L, -1);
        lua_pop(L, 1);
    }
    return n;
}

/* Is the key at `index` one of 1..n? */
static bool in_sequence(lua_State *L, int index, size_t n)
{
    lua_Number key = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    return key >= 1 && key <= (lua_Number)n && key == floor(key);
}

static size_t count_others(lua_State *L, int index, size_t n)
{
    size_t others = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        others += !in_sequence(L, -2, n);
    return others;
}

static enum pack_failure write_sequence(struct writer *w, int index, size_t n, int depth)
{
    enum pack_failure failure = state_of(w);
    for (size_t i = 1; i <= n && !failure; i++) {
        lua_rawgeti(w->L, index, (int)i);
        failure = write_value(w, lua_gettop(w->L), depth);
        lua_pop(w->L, 1);
    }
    return failure;
}

/* A key and its value in the output. */
struct pair {
    size_t at, key_len, len;
};

static int compare_pairs(const void *a, const void *b, void *bytes)
{
    const struct pair *x = a, *y = b;
    size_t shorter = x->key_len < y->key_len ? x->key_len : y->key_len;
    int order = memcmp((char *)bytes + x->at, (char *)bytes + y->at, shorter);
    return order ? order : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

/* Bring the pairs, which are the end of the output, into the order of their keys. */
static enum pack_failure sort_pairs(struct buf *out, struct pair *pairs, size_t n)
{
    if (n < 2)
        return PACK_FINE;
    size_t begin = pairs[0].at, len = out->len - begin;
    char *sorted = malloc(len), *to = sorted;
    if (!sorted)
        return PACK_MEMORY;
    qsort_r(pairs, n, sizeof *pairs, compare_pairs, out->data);
    for (size_t i = 0; i < n; i++) {
        memcpy(to, out->data + pairs[i].at, pairs[i].len);
        to += pairs[i].len;
    }
    memcpy(out->data + begin, sorted, len);
    free(sorted);
    return PACK_FINE;
}

/* The key and the value on top of the stack. */
static enum pack_failure write_pair(struct writer *w, struct pair *pair, int depth)
{
    int value = lua_gettop(w->L);
    if (lua_istable(w->L, value - 1))
        return PACK_KEY;
    pair->at = w->out->len;
    enum pack_failure failure = write_value(w, value - 1, depth);
    pair->key_len = w->out->len - pair->at;
    if (!failure)
        failure = write_value(w, value, depth);
    pair->len = w->out->len - pair->at;
    return failure;
}

static enum pack_failure write_others(struct writer *w, int index, size_t n, size_t others,
                                      int depth)
{
    struct pair *pairs = malloc(others * sizeof *pairs);
    enum pack_failure failure = pairs ? PACK_FINE : PACK_MEMORY;
    size_t done = 0;
    int top = lua_gettop(w->L);

    for (lua_pushnil(w->L); !failure && lua_next(w->L, index);) {
        if (!in_sequence(w->L, -2, n))
            failure = write_pair(w, &pairs[done++], depth);
        lua_settop(w->L, top + 1);
    }
    lua_settop(w->L, top);
    if (!failure)
        failure = sort_pairs(w->out, pairs, done);
    free(pairs);
    return failure;
}

static enum pack_failure write_table(struct writer *w, int index, int depth)
{
    if (depth == PACK_DEPTH || !lua_checkstack(w->L, 8))
        return PACK_DEEP;
    if (lua_getmetatable(w->L, index)) {
        lua_pop(w->L, 1);
        return PACK_META;
    }
    size_t n = count_sequence(w->L, index), others = count_others(w->L, index, n);
    buf_putc(w->out, TAG_TABLE);
    put_varint(w->out, n);
    put_varint(w->out, others);
    enum pack_failure failure = write_sequence(w, index, n, depth + 1);
    return failure || !others ? failure : write_others(w, index, n, others, depth + 1);
}

static enum pack_failure write_value(struct writer *w, int index, int depth)
{
    switch (lua_type(w->L, index)) {
    case LUA_TNIL:
        buf_putc(w->out, TAG_NIL);
        break;
    case LUA_TBOOLEAN:
        buf_putc(w->out, lua_toboolean(w->L, index) ? TAG_TRUE : TAG_FALSE);
        break;
    case LUA_TNUMBER:
        put_number(w->out, lua_tonumber(w->L, index));
        break;
    case LUA_TSTRING:
        put_string(w, index);
        break;
    case LUA_TTABLE:
        return write_table(w, index, depth);
    default:
        w->culprit = lua_type(w->L, index);
        return PACK_TYPE;
    }
    return state_of(w);
}

enum pack_failure pack_write(lua_State *L, int index, size_t most, struct buf *out, int *culprit)
{
    size_t before = out->len;
    struct writer w = { .L = L, .out = out, .most = before + most, .culprit = LUA_TNONE };
    index = index < 0 ? lua_gettop(L) + index + 1 : index;
    if (!lua_checkstack(L, 8))
        return PACK_DEEP;
    enum pack_failure failure = write_value(&w, index, 0);
    if (failure)
        out->len = before;
    if (culprit)
        *culprit = w.culprit;
    return failure;
}

const char *pack_failure_text(enum pack_failure failure, int culprit)
{
    switch (failure) {
    case PACK_TYPE:
        return culprit == LUA_TFUNCTION ? "a function cannot be kept"
                                        : "only plain data can be kept: nil, booleans, numbers, "
                                          "strings and tables of them";
    case PACK_META:
        return "a table with a metatable (an event, an object) cannot be kept: copy what you need "
               "of it into a table";
    case PACK_KEY:
        return "a table that is a key of another cannot be kept";
    case PACK_DEEP:
        return "tables can be 16 deep and have no cycles";
    case PACK_LARGE:
        return "too large";
    case PACK_MEMORY:
        return "not enough memory";
    case PACK_FINE:
        break;
    }
    return "";
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    lua_State *L;
    const char *at, *end;
};

static bool read_value(struct reader *r, int depth);

static bool take_varint(struct reader *r, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; r->at < r->end && shift < 64; shift += 7) {
        uint64_t byte = (unsigned char)*r->at++;
        *out |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static uint64_t left(const struct reader *r)
{
    return (uint64_t)(r->end - r->at);
}

static bool read_int(struct reader *r)
{
    uint64_t zigzag;
    if (!take_varint(r, &zigzag))
        return false;
    lua_pushnumber(r->L, (lua_Number)(int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1))));
    return true;
}

static bool read_number(struct reader *r)
{
    lua_Number number;
    if (left(r) < sizeof number)
        return false;
    memcpy(&number, r->at, sizeof number);
    r->at += sizeof number;
    if (number != number)
        number = NAN; /* LuaJIT tells values apart by the bits of NaNs */
    lua_pushnumber(r->L, number);
    return true;
}

static bool read_string(struct reader *r)
{
    uint64_t len;
    if (!take_varint(r, &len) || len > left(r))
        return false;
    lua_pushlstring(r->L, r->at, (size_t)len);
    r->at += len;
    return true;
}

static bool read_sequence(struct reader *r, uint64_t n, int depth)
{
    for (uint64_t i = 1; i <= n; i++) {
        if (!read_value(r, depth))
            return false;
        lua_rawseti(r->L, -2, (int)i);
    }
    return true;
}

/* No table has nil or NaN as a key; two tables with the same content would be two keys. */
static bool is_key(lua_State *L)
{
    return !lua_isnil(L, -1) && !lua_istable(L, -1) &&
           (lua_type(L, -1) != LUA_TNUMBER || lua_tonumber(L, -1) == lua_tonumber(L, -1));
}

static bool read_others(struct reader *r, uint64_t m, int depth)
{
    for (; m; m--) {
        if (!read_value(r, depth))
            return false;
        if (!is_key(r->L) || !read_value(r, depth))
            return false;
        lua_rawset(r->L, -3);
    }
    return true;
}

static int presize(uint64_t claimed)
{
    return (int)(claimed < PRESIZE_MAX ? claimed : PRESIZE_MAX);
}

static bool read_table(struct reader *r, int depth)
{
    uint64_t n, m;
    if (depth == PACK_DEPTH || !lua_checkstack(r->L, 8) || !take_varint(r, &n) ||
        !take_varint(r, &m) || n > left(r) || m > left(r) / 2)
        return false;
    lua_createtable(r->L, presize(n), presize(m));
    return read_sequence(r, n, depth + 1) && read_others(r, m, depth + 1);
}

static bool read_value(struct reader *r, int depth)
{
    if (r->at == r->end)
        return false;
    switch ((enum tag) * r->at++) {
    case TAG_NIL:
        lua_pushnil(r->L);
        return true;
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(r->L, r->at[-1] == TAG_TRUE);
        return true;
    case TAG_INT:
        return read_int(r);
    case TAG_NUMBER:
        return read_number(r);
    case TAG_STRING:
        return read_string(r);
    case TAG_TABLE:
        return read_table(r, depth);
    }
    return false;
}

bool pack_read(lua_State *L, const void *bytes, size_t len)
{
    struct reader r = { .L = L, .at = bytes, .end = (const char *)bytes + len };
    int top = lua_gettop(L);
    if (lua_checkstack(L, 8) && read_value(&r, 0) && r.at == r.end)
        return true;
    lua_settop(L, top);
    return false;
}
