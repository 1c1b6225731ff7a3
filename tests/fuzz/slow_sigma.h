/* slow_sigma.h - a slow and obvious reading of Sigma, to compare the fast one with.
 *
 * Rules are plain structures here; slow_write makes YAML of them for the other side. Nothing is shared
 * with src/sigma but the names of its verdicts: wildcards are tried recursively, conditions are read
 * and evaluated in one go, and every value is looked at. */
#ifndef SLOW_SIGMA_H
#define SLOW_SIGMA_H

#include "base/buf.h"
#include "sigma/sigma.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_VALUES     16
#define SLOW_ITEMS      4
#define SLOW_MAPS       3
#define SLOW_SELECTIONS 4
#define SLOW_FIELDS     3 /* named A, B, C */

enum slow_place { SLOW_WHOLE, SLOW_CONTAINS, SLOW_BEGIN, SLOW_END };
enum slow_kind { SLOW_TEXT, SLOW_NULL, SLOW_EXISTS, SLOW_LESS };

/* A key and its values. */
struct slow_item {
    int field; /* -1: keywords */
    enum slow_kind kind;
    enum slow_place place;
    bool cased, all, negated, windash;
    char values[SLOW_VALUES][24]; /* as they stand in the rule; EXISTS: "true"; LESS: a number */
    int len;
};

struct slow_map {
    struct slow_item items[SLOW_ITEMS];
    int len;
};

struct slow_selection {
    const char *name;
    struct slow_map maps[SLOW_MAPS]; /* more than one: a list of them */
    int len;
};

struct slow_rule {
    struct slow_selection selections[SLOW_SELECTIONS];
    int len;
    char condition[256];
};

enum slow_state { SLOW_MISSING, SLOW_NULL_VALUE, SLOW_VALUE };
struct slow_event {
    enum slow_state states[SLOW_FIELDS];
    char values[SLOW_FIELDS][64];
};

/* --- three values ----------------------------------------------------------------------------- */

static inline enum sigma_verdict slow_not(enum sigma_verdict a)
{
    return a == SIGMA_UNDECIDED ? a : a == SIGMA_TRUE ? SIGMA_FALSE : SIGMA_TRUE;
}

static inline enum sigma_verdict slow_or(enum sigma_verdict a, enum sigma_verdict b)
{
    if (a == SIGMA_TRUE || b == SIGMA_TRUE)
        return SIGMA_TRUE;
    return a == SIGMA_UNDECIDED || b == SIGMA_UNDECIDED ? SIGMA_UNDECIDED : SIGMA_FALSE;
}

static inline enum sigma_verdict slow_and(enum sigma_verdict a, enum sigma_verdict b)
{
    return slow_not(slow_or(slow_not(a), slow_not(b)));
}

/* --- texts ------------------------------------------------------------------------------------ */

static inline char slow_small(char c, bool cased)
{
    return !cased && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline bool slow_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static inline bool slow_dash(char c)
{
    return c == '-' || c == '/';
}

/* What stands behind the pattern, in which dashes of options are now '\1' and plain characters that look
 * like wildcards have '\2' before them. */
static inline void slow_tokens(const struct slow_item *item, const char *value, char *to)
{
    char plain[64];
    bool wild[64];
    int n = 0;
    for (const char *c = value; *c; c++) {
        if (*c == '\\' && (c[1] == '*' || c[1] == '?' || c[1] == '\\')) {
            plain[n] = *++c;
            wild[n++] = false;
        } else {
            plain[n] = *c;
            wild[n++] = *c == '*' || *c == '?';
        }
    }
    bool before = item->place == SLOW_CONTAINS || item->place == SLOW_END || item->field < 0;
    bool behind = item->place == SLOW_CONTAINS || item->place == SLOW_BEGIN || item->field < 0;
    if (before)
        *to++ = '*';
    for (int i = 0; i < n; i++) {
        bool word_before = i > 0 && !wild[i - 1] && slow_word(plain[i - 1]);
        bool word_behind = i + 1 < n && !wild[i + 1] && slow_word(plain[i + 1]);
        if (item->windash && !wild[i] && slow_dash(plain[i]) && !word_before && word_behind) {
            *to++ = '\1';
            continue;
        }
        if (!wild[i] && (plain[i] == '*' || plain[i] == '?'))
            *to++ = '\2';
        *to++ = plain[i];
    }
    if (behind)
        *to++ = '*';
    *to = '\0';
}

static inline bool slow_fits(const char *p, const char *text, bool cased)
{
    if (!*p)
        return !*text;
    if (*p == '*')
        return slow_fits(p + 1, text, cased) || (*text && slow_fits(p, text + 1, cased));
    if (!*text)
        return false;
    if (*p == '\1')
        return (slow_dash(*text) && slow_fits(p + 1, text + 1, cased)) ||
               (!strncmp(text, "\xe2\x80\x93", 3) && slow_fits(p + 1, text + 3, cased));
    if (*p == '?') /* one character: the only one of more bytes that events have here */
        return slow_fits(p + 1, text + (strncmp(text, "\xe2\x80\x93", 3) ? 1 : 3), cased);
    if (*p == '\2')
        p++;
    return slow_small(*p, cased) == slow_small(*text, cased) && slow_fits(p + 1, text + 1, cased);
}

/* --- items ------------------------------------------------------------------------------------ */

static inline enum sigma_verdict slow_value(const struct slow_item *item, const char *value,
                                            enum slow_state state, const char *text)
{
    char tokens[160];
    if (item->kind == SLOW_EXISTS)
        return (state != SLOW_MISSING) == !strcmp(value, "true") ? SIGMA_TRUE : SIGMA_FALSE;
    if (item->kind == SLOW_NULL)
        return state == SLOW_VALUE ? SIGMA_FALSE : SIGMA_TRUE;
    if (state != SLOW_VALUE)
        return state == SLOW_MISSING ? SIGMA_UNDECIDED : SIGMA_FALSE;
    if (item->kind == SLOW_LESS) {
        char *end;
        double number = strtod(text, &end);
        bool is = *text && !*end && *text != ' ' && number - number == 0;
        return is && number < strtod(value, NULL) ? SIGMA_TRUE : SIGMA_FALSE;
    }
    slow_tokens(item, value, tokens);
    return slow_fits(tokens, text, item->cased) ? SIGMA_TRUE : SIGMA_FALSE;
}

static inline enum sigma_verdict slow_item(const struct slow_item *item, const struct slow_event *ev)
{
    enum sigma_verdict result = item->all ? SIGMA_TRUE : SIGMA_FALSE;
    char whole[256] = "";
    for (int f = 0; f < SLOW_FIELDS; f++) {
        if (ev->states[f] == SLOW_MISSING)
            continue;
        strcat(whole, ev->states[f] == SLOW_VALUE ? ev->values[f] : "");
        strcat(whole, "\n");
    }
    for (int i = 0; i < item->len; i++) {
        enum sigma_verdict one =
            slow_value(item, item->values[i], item->field < 0 ? SLOW_VALUE : ev->states[item->field],
                       item->field < 0 ? whole : ev->values[item->field]);
        result = item->all ? slow_and(result, one) : slow_or(result, one);
    }
    return item->negated ? slow_not(result) : result;
}

static inline enum sigma_verdict slow_selection(const struct slow_selection *s,
                                                const struct slow_event *ev)
{
    enum sigma_verdict any = SIGMA_FALSE;
    for (int m = 0; m < s->len; m++) {
        enum sigma_verdict all = SIGMA_TRUE;
        for (int i = 0; i < s->maps[m].len; i++)
            all = slow_and(all, slow_item(&s->maps[m].items[i], ev));
        any = slow_or(any, all);
    }
    return any;
}

/* --- conditions ------------------------------------------------------------------------------- */

/* Reads and evaluates; `bad` when it is no condition. Only words and brackets with blanks between. */
struct slow_reading {
    const struct slow_rule *rule;
    const struct slow_event *ev;
    char words[128][16];
    int len, at;
    bool bad;
};

static inline enum sigma_verdict slow_read_or(struct slow_reading *r);

static inline const char *slow_next(struct slow_reading *r)
{
    return r->at < r->len ? r->words[r->at] : "";
}

static inline bool slow_take(struct slow_reading *r, const char *word)
{
    if (strcmp(slow_next(r), word) || r->at == r->len)
        return false;
    r->at++;
    return true;
}

static inline bool slow_name_fits(const char *pattern, const char *name)
{
    if (!strcmp(pattern, "them"))
        return true;
    if (!*pattern)
        return !*name;
    if (*pattern == '*')
        return slow_name_fits(pattern + 1, name) || (*name && slow_name_fits(pattern, name + 1));
    return *pattern == *name && slow_name_fits(pattern + 1, name + 1);
}

static inline enum sigma_verdict slow_read_name(struct slow_reading *r)
{
    const char *word = slow_next(r);
    bool all = !strcmp(word, "all");
    enum sigma_verdict result = all ? SIGMA_TRUE : SIGMA_FALSE;
    int n = 0;
    r->at++;
    if ((all || !strcmp(word, "1") || !strcmp(word, "any")) && slow_take(r, "of")) {
        const char *pattern = slow_next(r);
        r->at++;
        for (int i = 0; i < r->rule->len; i++) {
            const struct slow_selection *s = &r->rule->selections[i];
            if (*s->name == '_' || !slow_name_fits(pattern, s->name))
                continue;
            n++;
            enum sigma_verdict one = slow_selection(s, r->ev);
            result = all ? slow_and(result, one) : slow_or(result, one);
        }
    } else {
        for (int i = 0; i < r->rule->len; i++)
            if (!strcmp(r->rule->selections[i].name, word)) {
                n++;
                result = slow_selection(&r->rule->selections[i], r->ev);
            }
    }
    r->bad = r->bad || !n || r->at > r->len;
    return result;
}

static inline enum sigma_verdict slow_read_not(struct slow_reading *r)
{
    if (slow_take(r, "not"))
        return slow_not(slow_read_not(r));
    if (!slow_take(r, "("))
        return slow_read_name(r);
    enum sigma_verdict inner = slow_read_or(r);
    r->bad = r->bad || !slow_take(r, ")");
    return inner;
}

static inline enum sigma_verdict slow_read_and(struct slow_reading *r)
{
    enum sigma_verdict result = slow_read_not(r);
    while (!r->bad && slow_take(r, "and"))
        result = slow_and(result, slow_read_not(r));
    return result;
}

static inline enum sigma_verdict slow_read_or(struct slow_reading *r)
{
    enum sigma_verdict result = slow_read_and(r);
    while (!r->bad && slow_take(r, "or"))
        result = slow_or(result, slow_read_and(r));
    return result;
}

/* What the rule says; *bad: its condition cannot be read. */
static inline enum sigma_verdict slow_rule(const struct slow_rule *rule, const struct slow_event *ev,
                                           bool *bad)
{
    struct slow_reading r = { .rule = rule, .ev = ev };
    for (const char *c = rule->condition; *c;) {
        size_t len = strcspn(c, " ");
        if (len && r.len < 128) {
            memcpy(r.words[r.len], c, len < 15 ? len : 15);
            r.words[r.len++][len < 15 ? len : 15] = '\0';
        }
        c += len + (c[len] == ' ');
    }
    enum sigma_verdict result = slow_read_or(&r);
    *bad = r.bad || r.at != r.len;
    return result;
}

/* --- as YAML ---------------------------------------------------------------------------------- */

static inline void slow_write_text(struct buf *to, const char *text)
{
    buf_putc(to, '\'');
    for (; *text; text++)
        buf_puts(to, *text == '\'' ? "''" : (char[]){ *text, '\0' });
    buf_putc(to, '\'');
}

static inline void slow_write_key(struct buf *to, const struct slow_item *item)
{
    static const char *const places[] = { "", "|contains", "|startswith", "|endswith" };
    static const char *const fields[] = { "", "A", "B", "C" };
    buf_puts(to, fields[item->field + 1]);
    if (item->kind == SLOW_TEXT)
        buf_printf(to, "%s%s%s", item->windash ? "|windash" : "",
                   item->field < 0 ? "|contains" : places[item->place], item->cased ? "|cased" : "");
    buf_printf(to, "%s%s%s%s", item->kind == SLOW_EXISTS ? "|exists" : "",
               item->kind == SLOW_LESS ? "|lt" : "", item->all ? "|all" : "",
               item->negated ? "|neq" : "");
}

static inline void slow_write_item(struct buf *to, const struct slow_item *item)
{
    buf_putc(to, '\'');
    slow_write_key(to, item);
    buf_puts(to, "': [");
    for (int i = 0; i < item->len; i++) {
        buf_puts(to, i ? ", " : "");
        if (item->kind == SLOW_TEXT)
            slow_write_text(to, item->values[i]);
        else
            buf_puts(to, item->kind == SLOW_NULL ? "null" : item->values[i]);
    }
    buf_puts(to, "]");
}

static inline void slow_write(struct buf *to, const struct slow_rule *rule, int number)
{
    buf_printf(to, "id: r%d\nlogsource: { category: process_creation }\ndetection:\n", number);
    for (int s = 0; s < rule->len; s++) {
        const struct slow_selection *selection = &rule->selections[s];
        buf_printf(to, "  %s: [", selection->name);
        for (int m = 0; m < selection->len; m++) {
            buf_puts(to, m ? ", {" : "{");
            for (int i = 0; i < selection->maps[m].len; i++) {
                buf_puts(to, i ? ", " : " ");
                slow_write_item(to, &selection->maps[m].items[i]);
            }
            buf_puts(to, " }");
        }
        buf_puts(to, "]\n");
    }
    buf_puts(to, "  condition: ");
    slow_write_text(to, rule->condition);
    buf_puts(to, "\n---\n");
}

#endif
