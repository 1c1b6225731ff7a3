/* needs.c - which fields a script looks at, as far as its text tells. See needs.h. */
#include "host/needs.h"

#include "event/event.h"

#include <stdbool.h>
#include <string.h>

#define OF_PARENT (FIELD(PPID) | FIELD(STARTTIME))

/* --- names ---------------------------------------------------------------------------------- */

static bool is(const char *name, size_t len, const char *text)
{
    return len == strlen(text) && !memcmp(name, text, len);
}

static bool begins(const char *name, size_t len, const char *text)
{
    return len > strlen(text) && !memcmp(name, text, strlen(text));
}

static bool has_name(const struct event_field_info *info, const char *name, size_t len)
{
    const char *const names[] = { info->name, info->ecs, info->sigma, info->ocsf, info->falco };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (*names[i] == *name && is(name, len, names[i]))
            return true;
    return false;
}

/* The field, and what it is made of. */
static uint64_t with_origin(int field)
{
    uint64_t bit = UINT64_C(1) << field;
    const char *name = event_fields[field].name;
    if (!strncmp(name, "was.", 4)) /* what was before is what was known then */
        bit |= UINT64_C(1) << event_field_named(name + 4);
    if (field == F_TRUNCATED)
        bit |= FIELD(ARGS);
    return bit;
}

static uint64_t of_own_name(const char *name, size_t len)
{
    uint64_t found = 0; /* one name may be that of several fields in several schemas */
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (has_name(&event_fields[f], name, len))
            found |= with_origin(f);
    if (has_name(&event_derived[DERIVED_CMDLINE], name, len))
        found |= FIELD(ARGS);
    if (has_name(&event_derived[DERIVED_ID], name, len))
        found |= FIELD(PID) | FIELD(STARTTIME);
    return found;
}

uint64_t needs_of_name(const char *name, size_t len)
{
    char own[64];
    if (!len || len > sizeof own - 8)
        return 0;
    uint64_t found = of_own_name(name, len);
    for (size_t i = 0; !found && i < EVENT_PARENT_NAMES; i++) {
        const char *const *parent = event_parent_names[i];
        size_t cut = strlen(parent[0]), put = strlen(parent[1]);
        if (!begins(name, len, parent[0]))
            continue;
        memcpy(own, parent[1], put);
        memcpy(own + put, name + cut, len - cut);
        found = of_own_name(own, put + len - cut);
        found |= found ? OF_PARENT : 0;
    }
    return found;
}

/* --- tokens --------------------------------------------------------------------------------- */

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_SYMBOL };

/* No name of a field is longer; what is cut is none. */
#define TOKEN_MAX 64

struct token {
    enum token_kind kind;
    char text[TOKEN_MAX]; /* of a name, or of a string without its escapes */
    size_t len;           /* of the text; TOKEN_MAX: it was longer */
    char symbol;
};

struct reader {
    const char *at, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           (unsigned char)c >= 0x80;
}

static void add(struct token *t, char c)
{
    if (t->len < TOKEN_MAX)
        t->text[t->len++] = c;
}

/* How many '=' a long bracket has at this place; -1: there is none. */
static int long_bracket(const struct reader *r)
{
    const char *at = r->at;
    if (at == r->end || *at != '[')
        return -1;
    for (at++; at < r->end && *at == '=';)
        at++;
    return at < r->end && *at == '[' ? (int)(at - r->at) - 1 : -1;
}

static void read_long(struct reader *r, int level, struct token *t)
{
    r->at += level + 2;
    while (r->at < r->end) {
        const char *at = r->at;
        if (*at == ']' && r->end - at >= level + 2 && at[level + 1] == ']') {
            int same = 0;
            while (same < level && at[same + 1] == '=')
                same++;
            if (same == level) {
                r->at += level + 2;
                return;
            }
        }
        add(t, *r->at++);
    }
}

static int hex_digit(char c)
{
    return is_digit(c)                              ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* After the backslash. What these escapes make other than ASCII is in no name. */
static void read_escape(struct reader *r, struct token *t)
{
    int number = 0;
    if (r->at == r->end)
        return;
    char c = *r->at++;
    if (c == 'x') {
        for (int i = 0; i < 2 && r->at < r->end && hex_digit(*r->at) >= 0; i++)
            number = number * 16 + hex_digit(*r->at++);
        add(t, (char)number);
    } else if (c == 'z') {
        while (r->at < r->end && (*r->at == ' ' || (*r->at >= '\t' && *r->at <= '\r')))
            r->at++;
    } else if (is_digit(c)) {
        number = c - '0';
        for (int i = 0; i < 2 && r->at < r->end && is_digit(*r->at); i++)
            number = number * 10 + (*r->at++ - '0');
        add(t, (char)number);
    } else {
        add(t, memchr("abfnrtv", c, 7) ? '\n' : c);
    }
}

static void read_quoted(struct reader *r, struct token *t)
{
    char quote = *r->at++;
    while (r->at < r->end && *r->at != quote && *r->at != '\n') {
        char c = *r->at++;
        if (c == '\\')
            read_escape(r, t);
        else
            add(t, c);
    }
    if (r->at < r->end)
        r->at++;
}

static void skip_comment(struct reader *r)
{
    struct token nothing = { 0 };
    r->at += 2;
    int level = long_bracket(r);
    if (level >= 0) {
        read_long(r, level, &nothing);
        return;
    }
    const char *line = memchr(r->at, '\n', (size_t)(r->end - r->at));
    r->at = line ? line : r->end;
}

static void skip_blank(struct reader *r)
{
    while (r->at < r->end) {
        if (*r->at == ' ' || (*r->at >= '\t' && *r->at <= '\r'))
            r->at++;
        else if (r->end - r->at >= 2 && r->at[0] == '-' && r->at[1] == '-')
            skip_comment(r);
        else
            return;
    }
}

static struct token next_token(struct reader *r)
{
    struct token t = { .kind = TOKEN_END };
    skip_blank(r);
    if (r->at == r->end)
        return t;

    int level = long_bracket(r);
    if (level >= 0) {
        t.kind = TOKEN_STRING;
        read_long(r, level, &t);
    } else if (*r->at == '"' || *r->at == '\'') {
        t.kind = TOKEN_STRING;
        read_quoted(r, &t);
    } else if (in_name(*r->at)) { /* or a number, which is nobody's name */
        t.kind = is_digit(*r->at) ? TOKEN_SYMBOL : TOKEN_NAME;
        t.symbol = '0';
        while (r->at < r->end && in_name(*r->at))
            add(&t, *r->at++);
    } else {
        t.kind = TOKEN_SYMBOL;
        t.symbol = *r->at++;
    }
    return t;
}

static struct token peek(const struct reader *r)
{
    struct reader ahead = *r;
    return next_token(&ahead);
}

static bool is_name(const struct token *t, const char *name)
{
    return t->kind == TOKEN_NAME && is(t->text, t->len, name);
}

static bool is_symbol(const struct token *t, char symbol)
{
    return t->kind == TOKEN_SYMBOL && t->symbol == symbol;
}

/* --- whole events --------------------------------------------------------------------------- */

/* Names of parameters, as a set of hashes: two names that share a place cost time, no value. */
struct parameters {
    uint64_t bits[16];
};

static unsigned hash(const struct token *t)
{
    unsigned h = 2166136261u;
    for (size_t i = 0; i < t->len; i++)
        h = (h ^ (unsigned char)t->text[i]) * 16777619u;
    return h ^ h >> 16;
}

static void add_parameter(struct parameters *p, const struct token *t)
{
    p->bits[hash(t) / 64 % 16] |= UINT64_C(1) << hash(t) % 64;
}

static bool is_parameter(const struct parameters *p, const struct token *t)
{
    return t->kind == TOKEN_NAME && (p->bits[hash(t) / 64 % 16] >> hash(t) % 64 & 1);
}

static void add_parameter_named(struct parameters *p, const char *name)
{
    struct token t = { .kind = TOKEN_NAME, .len = strlen(name) };
    memcpy(t.text, name, t.len);
    add_parameter(p, &t);
}

/* How far to look ahead: a hostile text must not make the reading quadratic. */
#define AHEAD_MAX 256

/* After `function`: its name, if any, is skipped. */
static void note_parameters(struct reader ahead, struct parameters *p)
{
    struct token t = next_token(&ahead);
    int tokens = 0;
    while (tokens++ < AHEAD_MAX &&
           (t.kind == TOKEN_NAME || is_symbol(&t, '.') || is_symbol(&t, ':')))
        t = next_token(&ahead);
    if (!is_symbol(&t, '('))
        return;
    while (tokens++ < AHEAD_MAX &&
           ((t = next_token(&ahead)).kind == TOKEN_NAME || is_symbol(&t, ',')))
        if (t.kind == TOKEN_NAME)
            add_parameter(p, &t);
}

/* After `pairs` or `next`, maybe `(` or `,`: a parameter alone, or a chain of names that ends in
 * `parent`. */
static bool walks_event(struct reader ahead, const struct parameters *p)
{
    struct token t = next_token(&ahead);
    if (is_symbol(&t, '(') || is_symbol(&t, ','))
        t = next_token(&ahead);
    if (t.kind != TOKEN_NAME)
        return false;
    struct token last = t, after = next_token(&ahead);
    bool alone = !is_symbol(&after, '.') && !is_symbol(&after, '[') && !is_symbol(&after, ':') &&
                 !is_symbol(&after, '(');
    for (int i = 0; i < AHEAD_MAX && is_symbol(&after, '.'); i++) {
        last = next_token(&ahead);
        after = next_token(&ahead);
    }
    return (alone && is_parameter(p, &t)) || is_name(&last, "parent");
}

/* What `emit` or `json` is called with; something else when it is not called. */
static struct token argument(struct reader ahead)
{
    struct token t = next_token(&ahead);
    return is_symbol(&t, '(') ? next_token(&ahead) : t;
}

/* Inside of such a table: is this name a whole event, as in { event = ev }? */
static bool stands_alone(const struct token *before, const struct reader *after)
{
    struct token t = peek(after);
    bool begins_value = is_symbol(before, '=') || is_symbol(before, ',') ||
                        is_symbol(before, '{') || is_symbol(before, ';');
    return begins_value && (is_symbol(&t, ',') || is_symbol(&t, '}') || is_symbol(&t, ';'));
}

/* --- texts ---------------------------------------------------------------------------------- */

struct reading {
    struct reader reader;
    struct parameters parameters;
    struct token before;
    int braces; /* how deep inside of {} */
    int outer;  /* `braces` outside of the table that is handed on; -1: in none */
    uint64_t needs;
};

static uint64_t of_word(const char *name, size_t len)
{
    if (is(name, len, "alert"))
        return NEEDS_OF_ALERT;
    if (is(name, len, "parent") || is(name, len, "ancestor") || is(name, len, "ancestors"))
        return OF_PARENT;
    return needs_of_name(name, len);
}

/* mw.emit, mw.json, or emit of a sink */
static void take_output(struct reading *r)
{
    struct token t = argument(r->reader);
    if (t.kind != TOKEN_STRING && !is_symbol(&t, '{'))
        r->needs = NEEDS_ALL;
    else if (t.kind == TOKEN_SYMBOL && r->outer < 0)
        r->outer = r->braces;
}

static void take_name(struct reading *r, const struct token *t)
{
    if (is_name(t, "function"))
        note_parameters(r->reader, &r->parameters);
    else if ((is_name(t, "emit") || is_name(t, "json")) &&
             (is_symbol(&r->before, '.') || is_symbol(&r->before, ':')))
        take_output(r);
    else if ((is_name(t, "pairs") || is_name(t, "next")) && walks_event(r->reader, &r->parameters))
        r->needs = NEEDS_ALL;
    else if (r->outer >= 0 && r->braces > r->outer && is_parameter(&r->parameters, t) &&
             stands_alone(&r->before, &r->reader))
        r->needs = NEEDS_ALL;
}

static void take_symbol(struct reading *r, char symbol)
{
    r->braces += symbol == '{';
    if (symbol == '}' && --r->braces <= r->outer)
        r->outer = -1;
}

uint64_t needs_of_text(const char *text, size_t len)
{
    struct reading r = { .reader = { text, text + len }, .outer = -1 };
    if (len && *text == '\x1b')
        return NEEDS_ALL;
    add_parameter_named(&r.parameters, "ev"); /* of a one-liner */
    add_parameter_named(&r.parameters, "self");

    struct token t;
    while (r.needs != NEEDS_ALL && (t = next_token(&r.reader)).kind != TOKEN_END) {
        if (t.kind == TOKEN_NAME)
            take_name(&r, &t);
        else if (t.kind == TOKEN_SYMBOL)
            take_symbol(&r, t.symbol);
        if (t.kind != TOKEN_SYMBOL && t.len < TOKEN_MAX)
            r.needs |= of_word(t.text, t.len);
        r.before = t;
    }
    return r.needs;
}

int needs_line(const char *text, size_t len, const char *name)
{
    struct reader r = { text, text + len };
    struct token t;
    while ((t = next_token(&r)).kind != TOKEN_END) {
        if (t.kind != TOKEN_STRING || t.len == TOKEN_MAX || !is(t.text, t.len, name))
            continue;
        int line = 1;
        for (const char *at = text; at < r.at; at++)
            line += *at == '\n';
        return line;
    }
    return 0;
}
