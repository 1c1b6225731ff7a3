/* pattern.c - Lua's string patterns with an end in sight. See pattern.h.
 *
 * A backtracking matcher after the manual of Lua 5.1 (section 5.4.1), with the character class %g
 * that LuaJIT has besides. Each look at a byte of the subject is a step. */
#include "host/pattern.h"

#include "host/sandbox.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#define DEPTH_MAX  200 /* of the matcher calling itself */
#define OPEN       (-1)
#define POSITION   (-2)
#define ESCAPE     '%'
#define SPECIALS   "^$*+?.([%-"

struct capture {
    const char *from;
    ptrdiff_t len; /* or OPEN, POSITION */
};

struct search {
    lua_State *L;
    const char *text, *text_end;
    const char *pattern_end;
    int steps_left, depth_left;
    int captures_len;
    size_t made; /* bytes put in place of others */
    struct capture captures[LUA_MAXCAPTURES];
};

/* Where the match of the pattern from `p` on ends, begun at `s`; NULL: none. */
static const char *match(struct search *m, const char *s, const char *p);

static void step(struct search *m)
{
    if (--m->steps_left < 0)
        luaL_error(m->L, "the pattern takes too many steps on a text of %d bytes",
                   (int)(m->text_end - m->text));
}

/* --- one character ------------------------------------------------------------------------- */

/* The end of the single-character class that begins at `p`. */
static const char *class_end(struct search *m, const char *p)
{
    if (*p++ == ESCAPE) {
        if (p >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (p[-1] != '[')
        return p;
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* a ] that comes first is one of the set */
        if (p >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && p < m->pattern_end)
            p++;
    } while (p >= m->pattern_end || *p != ']');
    return p + 1;
}

static bool in_named_class(int c, int name)
{
    bool is;
    switch (tolower(name)) {
    case 'a': is = isalpha(c); break;
    case 'c': is = iscntrl(c); break;
    case 'd': is = isdigit(c); break;
    case 'g': is = isgraph(c); break;
    case 'l': is = islower(c); break;
    case 'p': is = ispunct(c); break;
    case 's': is = isspace(c); break;
    case 'u': is = isupper(c); break;
    case 'w': is = isalnum(c); break;
    case 'x': is = isxdigit(c); break;
    case 'z': is = c == 0; break;
    default: return name == c;
    }
    return isupper(name) ? !is : is;
}

/* `p` is at the '[', `last` at the ']' that ends the set. */
static bool in_set(int c, const char *p, const char *last)
{
    bool is = true;
    if (p[1] == '^') {
        is = false;
        p++;
    }
    while (++p < last) {
        if (*p == ESCAPE) {
            if (in_named_class(c, (unsigned char)*++p))
                return is;
        } else if (p[1] == '-' && p + 2 < last) {
            if ((unsigned char)*p <= c && c <= (unsigned char)p[2])
                return is;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return is;
        }
    }
    return !is;
}

/* Is the byte at `s` one of the class from `p` to `end`? */
static bool fits(struct search *m, const char *s, const char *p, const char *end)
{
    step(m);
    if (s >= m->text_end)
        return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case ESCAPE:
        return in_named_class(c, (unsigned char)p[1]);
    case '[':
        return in_set(c, p, end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* --- repetitions ---------------------------------------------------------------------------- */

static const char *most(struct search *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t n = 0;
    while (fits(m, s + n, p, end))
        n++;
    for (; n >= 0; n--) {
        const char *found = match(m, s + n, end + 1);
        if (found)
            return found;
    }
    return NULL;
}

static const char *least(struct search *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *found = match(m, s, end + 1);
        if (found)
            return found;
        if (!fits(m, s, p, end))
            return NULL;
        s++;
    }
}

/* --- captures -------------------------------------------------------------------------------- */

static const char *open_capture(struct search *m, const char *s, const char *p, ptrdiff_t len)
{
    if (m->captures_len >= LUA_MAXCAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->captures_len++] = (struct capture){ s, len };
    const char *found = match(m, s, p);
    if (!found)
        m->captures_len--;
    return found;
}

static const char *close_capture(struct search *m, const char *s, const char *p)
{
    int i = m->captures_len - 1;
    while (i >= 0 && m->captures[i].len != OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].from;
    const char *found = match(m, s, p);
    if (!found)
        m->captures[i].len = OPEN;
    return found;
}

/* %1: the same text as that capture */
static const char *match_again(struct search *m, const char *s, int digit)
{
    int i = digit - '1';
    if (i < 0 || i >= m->captures_len || m->captures[i].len == OPEN)
        luaL_error(m->L, "invalid capture index");
    ptrdiff_t len = m->captures[i].len;
    if (len == POSITION) /* is no text */
        return NULL;
    if (m->steps_left > 0)
        m->steps_left -= (int)(len / 64);
    step(m);
    if (m->text_end - s < len || memcmp(m->captures[i].from, s, (size_t)len))
        return NULL;
    return s + len;
}

/* %bxy: from an x to the y that balances it */
static const char *match_balanced(struct search *m, const char *s, const char *p)
{
    if (m->pattern_end - p < 2)
        luaL_error(m->L, "unbalanced pattern");
    if (s >= m->text_end || *s != p[0])
        return NULL;
    for (int open = 1; ++s < m->text_end;) {
        step(m);
        if (*s == p[1]) {
            if (--open == 0)
                return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/* %f[set]: between a byte that is not of the set and one that is; sets *end behind the set */
static bool at_frontier(struct search *m, const char *s, const char *p, const char **end)
{
    if (p >= m->pattern_end || *p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    *end = class_end(m, p);
    step(m);
    int before = s == m->text ? 0 : (unsigned char)s[-1];
    int here = s < m->text_end ? (unsigned char)*s : 0;
    return !in_set(before, p, *end - 1) && in_set(here, p, *end - 1);
}

/* --- the matcher ------------------------------------------------------------------------------ */

/* One item and its repetition. True: go on at *s and *p; false: *s is the answer. */
static bool match_item(struct search *m, const char **s, const char **p)
{
    const char *end = class_end(m, *p);
    char repeat = end < m->pattern_end ? *end : '\0';
    const char *found;
    switch (repeat) {
    case '*':
        *s = most(m, *s, *p, end);
        return false;
    case '+':
        *s = fits(m, *s, *p, end) ? most(m, *s + 1, *p, end) : NULL;
        return false;
    case '-':
        *s = least(m, *s, *p, end);
        return false;
    case '?':
        if (fits(m, *s, *p, end) && (found = match(m, *s + 1, end + 1))) {
            *s = found;
            return false;
        }
        *p = end + 1;
        return true;
    default:
        if (!fits(m, *s, *p, end)) {
            *s = NULL;
            return false;
        }
        (*s)++;
        *p = end;
        return true;
    }
}

/* What begins with a %. As match_item. */
static bool match_escape(struct search *m, const char **s, const char **p)
{
    char what = *p + 1 < m->pattern_end ? (*p)[1] : '\0';
    const char *end;
    switch (what) {
    case 'b':
        *s = match_balanced(m, *s, *p + 2);
        *p += 4;
        return *s != NULL;
    case 'f':
        if (!at_frontier(m, *s, *p + 2, &end))
            *s = NULL;
        *p = end;
        return *s != NULL;
    case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        *s = match_again(m, *s, what);
        *p += 2;
        return *s != NULL;
    default:
        return match_item(m, s, p);
    }
}

static const char *match_from(struct search *m, const char *s, const char *p)
{
    while (p < m->pattern_end) {
        bool on;
        switch (*p) {
        case '(':
            if (p + 1 < m->pattern_end && p[1] == ')')
                return open_capture(m, s, p + 2, POSITION);
            return open_capture(m, s, p + 1, OPEN);
        case ')':
            return close_capture(m, s, p + 1);
        case '$':
            if (p + 1 == m->pattern_end)
                return s == m->text_end ? s : NULL;
            on = match_item(m, &s, &p);
            break;
        case ESCAPE:
            on = match_escape(m, &s, &p);
            break;
        default:
            on = match_item(m, &s, &p);
            break;
        }
        if (!on)
            return s;
    }
    return s;
}

static const char *match(struct search *m, const char *s, const char *p)
{
    if (--m->depth_left < 0)
        luaL_error(m->L, "pattern too complex");
    const char *found = match_from(m, s, p);
    m->depth_left++;
    return found;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void begin(struct search *m, lua_State *L, const char *text, size_t len, const char *pattern,
                  size_t pattern_len)
{
    m->L = L;
    m->text = text;
    m->text_end = text + len;
    m->pattern_end = pattern + pattern_len;
    m->steps_left = PATTERN_STEPS;
    m->made = 0;
}

/* A match begun at `s`, all captures forgotten. */
static const char *try_at(struct search *m, const char *s, const char *pattern)
{
    m->captures_len = 0;
    m->depth_left = DEPTH_MAX;
    return match(m, s, pattern);
}

/* Capture `i`; the whole match when there is none and `i` is 0.  [-0, +1, e] */
static void push_capture(struct search *m, int i, const char *s, const char *end)
{
    if (i >= m->captures_len) {
        if (i != 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    const struct capture *c = &m->captures[i];
    if (c->len == OPEN)
        luaL_error(m->L, "unfinished capture");
    if (c->len == POSITION)
        lua_pushinteger(m->L, c->from - m->text + 1);
    else
        lua_pushlstring(m->L, c->from, (size_t)c->len);
}

/* All captures; the whole match when there are none and `s` is given.  [-0, +n, e] */
static int push_captures(struct search *m, const char *s, const char *end)
{
    int n = m->captures_len == 0 && s ? 1 : m->captures_len;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(m, i, s, end);
    return n;
}

static bool has_specials(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (pattern[i] && strchr(SPECIALS, pattern[i]))
            return true;
    return false;
}

static int find_plain(lua_State *L, const char *text, const char *from, size_t len,
                      const char *what, size_t what_len)
{
    const char *found =
        what_len ? memmem(from, len - (size_t)(from - text), what, what_len) : from;
    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - text + 1);
    lua_pushinteger(L, found - text + (ptrdiff_t)what_len);
    return 2;
}

/* The place that the third argument names, inside the text. */
static const char *start_of(lua_State *L, const char *text, size_t len)
{
    ptrdiff_t at = luaL_optinteger(L, 3, 1);
    if (at < 0)
        at += (ptrdiff_t)len + 1;
    at = at < 1 ? 0 : at - 1;
    return text + (at > (ptrdiff_t)len ? (ptrdiff_t)len : at);
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    const char *s = start_of(L, text, len);
    if (find && (lua_toboolean(L, 4) || !has_specials(pattern, pattern_len)))
        return find_plain(L, text, s, len, pattern, pattern_len);

    struct search m;
    begin(&m, L, text, len, pattern, pattern_len);
    bool anchored = pattern_len && *pattern == '^';
    pattern += anchored;
    do {
        const char *end = try_at(&m, s, pattern);
        if (!end)
            continue;
        if (!find)
            return push_captures(&m, s, end);
        lua_pushinteger(L, s - text + 1);
        lua_pushinteger(L, end - text);
        return push_captures(&m, NULL, NULL) + 2;
    } while (s++ < m.text_end && !anchored);
    lua_pushnil(L);
    return 1;
}

int pattern_find(lua_State *L)
{
    return find_or_match(L, true);
}

int pattern_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* Upvalues: text, pattern, where to go on. */
static int next_match(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct search m;
    begin(&m, L, text, len, pattern, pattern_len);
    for (const char *s = text + lua_tointeger(L, lua_upvalueindex(3)); s <= m.text_end; s++) {
        const char *end = try_at(&m, s, pattern);
        if (!end)
            continue;
        lua_pushinteger(L, end - text + (end == s)); /* an empty match: go on behind it */
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, s, end);
    }
    lua_pushinteger(L, (lua_Integer)len + 1); /* asked again, it has ended still */
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

int pattern_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* --- gsub --------------------------------------------------------------------------------------- */

/* What is on top of the stack goes to the result.  [-1, +0, e] */
static void add_value(struct search *m, luaL_Buffer *to)
{
    m->made += lua_objlen(m->L, -1);
    if (m->made > PATTERN_RESULT)
        luaL_error(m->L, "the result of string.gsub is larger than %d bytes", PATTERN_RESULT);
    luaL_addvalue(to);
}

/* "%1 and %%" */
static void add_template(struct search *m, luaL_Buffer *to, const char *s, const char *end)
{
    size_t len;
    const char *text = lua_tolstring(m->L, 3, &len), *stop = text + len;
    while (text < stop) {
        const char *mark = memchr(text, ESCAPE, (size_t)(stop - text));
        lua_pushlstring(m->L, text, (size_t)((mark ? mark : stop) - text));
        add_value(m, to);
        if (!mark)
            return;
        unsigned char c = mark + 1 < stop ? (unsigned char)mark[1] : 0;
        text = mark + 2;
        if (c == '0')
            lua_pushlstring(m->L, s, (size_t)(end - s));
        else if (isdigit(c))
            push_capture(m, c - '1', s, end);
        else
            lua_pushlstring(m->L, (const char *)&c, 1);
        add_value(m, to);
    }
}

/* What takes the place of the match from `s` to `end`. */
static void add_replacement(struct search *m, luaL_Buffer *to, const char *s, const char *end)
{
    lua_State *L = m->L;
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, end), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, s, end);
        lua_gettable(L, 3);
        break;
    default:
        add_template(m, to, s, end);
        return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, s, (size_t)(end - s));
    } else if (!lua_isstring(L, -1)) {
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    }
    lua_tostring(L, -1); /* a number becomes text, and has a length */
    add_value(m, to);
}

/* Replace from the start on, `most` times. Returns how often.  [-0, +1, e] */
static lua_Integer replace(struct search *m, const char *pattern, lua_Integer most_often)
{
    bool anchored = pattern < m->pattern_end && *pattern == '^';
    const char *s = m->text;
    lua_Integer n = 0;
    luaL_Buffer to;

    luaL_buffinit(m->L, &to);
    while (n < most_often) {
        const char *end = try_at(m, s, pattern + anchored);
        if (end) {
            n++;
            add_replacement(m, &to, s, end);
        }
        if (end && end > s)
            s = end;
        else if (s < m->text_end)
            luaL_addchar(&to, *s++);
        else
            break;
        if (anchored)
            break;
    }
    luaL_addlstring(&to, s, (size_t)(m->text_end - s));
    luaL_pushresult(&to);
    return n;
}

int pattern_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    int type = lua_type(L, 3);
    luaL_argcheck(L,
                  type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                      type == LUA_TTABLE,
                  3, "string/function/table expected");
    lua_Integer most_often = luaL_optinteger(L, 4, (lua_Integer)len + 1);
    lua_settop(L, 4);
    sandbox_check_stack(L); /* the function may call gsub again */

    struct search m;
    begin(&m, L, text, len, pattern, pattern_len);
    lua_pushinteger(L, replace(&m, pattern, most_often));
    return 2;
}
