/* value.c - a key of a selection and its values: what the modifiers make of them. See set.h.
 *
 * Modifiers are applied in the order in which they stand. What each of them takes is checked: one
 * that nobody knows, or that does not go with what stands before it, makes the rule refused. */
#include "sigma/set.h"

#include "base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum draft_kind { DRAFT_TEXT, DRAFT_NULL, DRAFT_REGEX, DRAFT_FIELD, DRAFT_CIDR, DRAFT_EXISTS };

/* One value while it is being modified. */
struct draft {
    enum draft_kind kind;
    const struct yaml_node *node;
    struct pattern *patterns; /* TEXT: any of them */
    size_t len, cap;
    enum aho_place place; /* FIELD, REGEX: where contains and its like want it */
};

/* All of them, and what concerns them together. */
struct drafts {
    struct reader *r;
    const struct yaml_node *key;
    const char *modifier; /* that is being applied */
    const char *applied;  /* before it; NULL: none */
    bool keyword, all, negated, cased;
    bool anchored;  /* contains, startswith or endswith came */
    uint32_t flags; /* of regular expressions */
    int compare;    /* enum compare; -1: it is none */
    enum time_part part;
    struct draft *list;
    size_t len;
};

/* --- numbers ---------------------------------------------------------------------------------- */

/* A number as YAML 1.2 and JSON have it. */
static bool is_number(const char *text)
{
    const char *digits = text + (*text == '-');
    size_t whole = strspn(digits, "0123456789");
    if (!whole || (whole > 1 && *digits == '0'))
        return false;
    digits += whole;
    if (*digits == '.') {
        size_t part = strspn(digits + 1, "0123456789");
        digits += part ? part + 1 : 0;
    }
    if (*digits == 'e' || *digits == 'E') {
        size_t sign = digits[1] == '-' || digits[1] == '+';
        size_t power = strspn(digits + 1 + sign, "0123456789");
        digits += power ? power + sign + 1 : 0;
    }
    return !*digits;
}

static bool is_null(const struct yaml_node *node)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    for (size_t i = 0; node->plain && i < sizeof nulls / sizeof *nulls; i++)
        if (yaml_is(node, nulls[i]))
            return true;
    return false;
}

/* --- patterns of a draft ------------------------------------------------------------------------
 */

static int add_pattern(struct drafts *d, struct draft *draft, struct pattern p)
{
    struct arena *a = &d->r->s->trees;
    if (draft->len == TESTS_MAX || p.len > PATTERN_MAX)
        return reader_refuse(d->r, draft->node, "%s: it unfolds to too much", d->modifier);
    struct pattern *more = arena_grow(a, draft->patterns, draft->len, &draft->cap, 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    draft->patterns = more;
    more[draft->len++] = p;
    return 0;
}

/* A number is looked for as it is written, and as events write it. */
static int add_number(struct drafts *d, struct draft *draft)
{
    struct arena *a = &d->r->s->trees;
    const struct yaml_node *node = draft->node;
    char canonical[NUMBER_TEXT];
    struct pattern p;
    if (!pattern_plain(a, node->text, node->len, &p))
        return -ENOMEM;
    int result = add_pattern(d, draft, p);
    number_text(strtod(node->text, NULL), canonical);
    if (result < 0 || !strpbrk(node->text, ".eE") || !strcmp(canonical, node->text))
        return result;
    return pattern_plain(a, canonical, strlen(canonical), &p) ? add_pattern(d, draft, p) : -ENOMEM;
}

static int begin_draft(struct drafts *d, struct draft *draft, const struct yaml_node *node)
{
    struct pattern p;
    *draft = (struct draft){ .node = node, .place = AHO_WHOLE };
    if (node->kind != YAML_SCALAR)
        return reader_refuse(d->r, node, "%s: a value must be a text or a number, not a %s",
                             d->key ? d->key->text : "keywords",
                             node->kind == YAML_MAP ? "map" : "list");
    if (is_null(node)) {
        draft->kind = DRAFT_NULL;
        return 0;
    }
    if (node->len > PATTERN_MAX)
        return reader_refuse(d->r, node, "the value is longer than 65,536 bytes");
    if (node->plain && is_number(node->text))
        return add_number(d, draft);
    return pattern_read(&d->r->s->trees, node->text, node->len, &p) ? add_pattern(d, draft, p)
                                                                    : -ENOMEM;
}

/* --- modifiers ----------------------------------------------------------------------------------
 */

typedef int modify(struct drafts *d, struct draft *draft);

static int wrong_kind(struct drafts *d, const struct draft *draft)
{
    static const char *const kinds[] = { "a text",  "null",      "a regular expression",
                                         "a field", "a network", "a truth" };
    return reader_refuse(d->r, draft->node, "%s: the modifier '%s' does not go with %s%s%s%s",
                         d->key->text, d->modifier, kinds[draft->kind],
                         d->applied ? " (behind '" : "", d->applied ? d->applied : "",
                         d->applied ? "')" : "");
}

static int anchor(struct drafts *d, struct draft *draft, enum aho_place place)
{
    draft->place = place;
    if (draft->kind == DRAFT_FIELD || draft->kind == DRAFT_REGEX)
        return 0;
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    for (size_t i = 0; i < draft->len; i++)
        if (!pattern_star(&d->r->s->trees, &draft->patterns[i], place != AHO_BEGIN,
                          place != AHO_END))
            return -ENOMEM;
    d->anchored = true;
    return 0;
}

static int contains(struct drafts *d, struct draft *draft)
{
    return anchor(d, draft, AHO_ANYWHERE);
}

static int startswith(struct drafts *d, struct draft *draft)
{
    return anchor(d, draft, AHO_BEGIN);
}

static int endswith(struct drafts *d, struct draft *draft)
{
    return anchor(d, draft, AHO_END);
}

/* One dash is written out in each of its forms: plain texts are found faster. */
static int unfold_dash(struct drafts *d, struct draft *draft, struct pattern *p)
{
    static const uint16_t forms[][3] = {
        { '-' }, { '/' }, { 0xe2, 0x80, 0x93 }, { 0xe2, 0x80, 0x94 }, { 0xe2, 0x80, 0x95 }
    };
    struct pattern dashed = *p;
    size_t at = 0;
    while (dashed.elements[at] != PATTERN_DASH)
        at++;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct pattern one = dashed;
        if (!pattern_replace(&d->r->s->trees, &one, at, 1, forms[i], forms[i][1] ? 3 : 1))
            return -ENOMEM;
        int result = add_pattern(d, draft, one);
        if (result < 0)
            return result;
    }
    return 0;
}

static int windash(struct drafts *d, struct draft *draft)
{
    struct draft before = *draft;
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    draft->patterns = NULL;
    draft->len = draft->cap = 0;
    for (size_t i = 0; i < before.len; i++) {
        int result = pattern_windash(&before.patterns[i]) == 1
                         ? unfold_dash(d, draft, &before.patterns[i])
                         : add_pattern(d, draft, before.patterns[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int in_utf16(struct drafts *d, struct draft *draft, enum pattern_utf16 how)
{
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    for (size_t i = 0; i < draft->len; i++) {
        int result = pattern_utf16(&d->r->s->trees, &draft->patterns[i], how);
        if (result == -EINVAL)
            return reader_refuse(d->r, draft->node, "%s: '%s' takes texts in UTF-8", d->key->text,
                                 d->modifier);
        if (result < 0)
            return result;
    }
    return 0;
}

static int utf16le(struct drafts *d, struct draft *draft)
{
    return in_utf16(d, draft, UTF16_LE);
}

static int utf16be(struct drafts *d, struct draft *draft)
{
    return in_utf16(d, draft, UTF16_BE);
}

static int utf16(struct drafts *d, struct draft *draft)
{
    return in_utf16(d, draft, UTF16_MARKED);
}

/* Each pattern becomes one for each shift. */
static int encode(struct drafts *d, struct draft *draft, int from, int to)
{
    struct draft before = *draft;
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    draft->patterns = NULL;
    draft->len = draft->cap = 0;
    for (size_t i = 0; i < before.len; i++) {
        if (!pattern_is_plain(&before.patterns[i]))
            return reader_refuse(d->r, draft->node,
                                 "%s: '%s' takes plain texts: without wildcards, and before "
                                 "contains, startswith and endswith",
                                 d->key->text, d->modifier);
        for (int shift = from; shift <= to; shift++) {
            struct pattern p;
            if (!pattern_base64(&d->r->s->trees, &before.patterns[i], shift, &p))
                return -ENOMEM;
            int result = p.len ? add_pattern(d, draft, p) : 0;
            if (result < 0)
                return result;
        }
    }
    return draft->len ? 0
                      : reader_refuse(d->r, draft->node, "%s: '%s' leaves nothing of this value",
                                      d->key->text, d->modifier);
}

static int base64(struct drafts *d, struct draft *draft)
{
    return encode(d, draft, -1, -1);
}

static int base64offset(struct drafts *d, struct draft *draft)
{
    return encode(d, draft, 0, 2);
}

static int cased(struct drafts *d, struct draft *draft)
{
    d->cased = true;
    return draft->kind == DRAFT_TEXT || draft->kind == DRAFT_FIELD || draft->kind == DRAFT_REGEX
               ? 0
               : wrong_kind(d, draft);
}

static int need_first(struct drafts *d, const struct draft *draft)
{
    return d->applied ? reader_refuse(d->r, draft->node, "%s: '%s' must be the first modifier",
                                      d->key->text, d->modifier)
                      : 0;
}

static int re(struct drafts *d, struct draft *draft)
{
    draft->kind = DRAFT_REGEX; /* null, too, is a text here */
    return need_first(d, draft);
}

static int flag(struct drafts *d, struct draft *draft, uint32_t flags)
{
    d->flags |= flags;
    return draft->kind == DRAFT_REGEX ? 0 : wrong_kind(d, draft);
}

static int ignorecase(struct drafts *d, struct draft *draft)
{
    return flag(d, draft, PCRE2_CASELESS);
}

static int multiline(struct drafts *d, struct draft *draft)
{
    return flag(d, draft, PCRE2_MULTILINE);
}

static int dotall(struct drafts *d, struct draft *draft)
{
    return flag(d, draft, PCRE2_DOTALL);
}

static int cidr(struct drafts *d, struct draft *draft)
{
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    draft->kind = DRAFT_CIDR;
    return need_first(d, draft);
}

static int exists(struct drafts *d, struct draft *draft)
{
    bool truth =
        draft->node->plain && (yaml_is(draft->node, "true") || yaml_is(draft->node, "false"));
    if (draft->kind != DRAFT_TEXT || !truth || d->keyword)
        return reader_refuse(d->r, draft->node, "%s: exists takes true or false", d->key->text);
    draft->kind = DRAFT_EXISTS;
    return need_first(d, draft);
}

static int fieldref(struct drafts *d, struct draft *draft)
{
    if (draft->kind != DRAFT_TEXT || draft->len != 1 || !draft->patterns->len ||
        !pattern_is_plain(draft->patterns))
        return reader_refuse(d->r, draft->node, "%s: fieldref takes the name of a field",
                             d->key->text);
    draft->kind = DRAFT_FIELD;
    return 0;
}

static int set_compare(struct drafts *d, struct draft *draft, enum compare compare)
{
    char *end;
    double number = draft->kind == DRAFT_TEXT ? strtod(draft->node->text, &end) : NAN;
    if (draft->kind != DRAFT_TEXT || d->anchored || !draft->node->len || *end || !isfinite(number))
        return reader_refuse(d->r, draft->node, "%s: '%s' takes a number", d->key->text,
                             d->modifier);
    d->compare = (int)compare;
    return 0;
}

static int lt(struct drafts *d, struct draft *draft)
{
    return set_compare(d, draft, COMPARE_LT);
}

static int lte(struct drafts *d, struct draft *draft)
{
    return set_compare(d, draft, COMPARE_LTE);
}

static int gt(struct drafts *d, struct draft *draft)
{
    return set_compare(d, draft, COMPARE_GT);
}

static int gte(struct drafts *d, struct draft *draft)
{
    return set_compare(d, draft, COMPARE_GTE);
}

static int set_part(struct drafts *d, struct draft *draft, enum time_part part)
{
    int compare = d->compare;
    int result = set_compare(d, draft, COMPARE_EQ);
    d->part = part;
    if (compare >= 0)
        d->compare = compare;
    return result;
}

static int minute(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_MINUTE);
}

static int hour(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_HOUR);
}

static int day(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_DAY);
}

static int week(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_WEEK);
}

static int month(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_MONTH);
}

static int year(struct drafts *d, struct draft *draft)
{
    return set_part(d, draft, PART_YEAR);
}

/* --- placeholders -------------------------------------------------------------------------------
 */

static bool in_name(uint16_t c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Where the placeholder that begins at this % ends; 0: it is none. */
static size_t placeholder_end(const struct pattern *p, size_t at)
{
    size_t end = at + 1;
    while (end < p->len && in_name(p->elements[end]))
        end++;
    return end > at + 1 && end < p->len && p->elements[end] == '%' ? end + 1 : 0;
}

static const struct sigma_placeholder *placeholder_named(const struct sigma *s, const char *name)
{
    for (int i = 0; i < s->options.placeholders_len; i++)
        if (!strcmp(s->options.placeholders[i].name, name))
            return &s->options.placeholders[i];
    return NULL;
}

/* One after another: the patterns that this one becomes go to the end of the list, where they are
 * looked at from behind what was put in. */
struct unfolding {
    struct pattern pattern;
    size_t from;
};

static int unfold(struct drafts *d, struct draft *draft, struct unfolding u, int depth);

static int put_in(struct drafts *d, struct draft *draft, const struct unfolding *u, size_t from,
                  size_t to, int depth)
{
    struct arena *a = &d->r->s->trees;
    char name[128] = "";
    for (size_t i = from + 1; i + 1 < to && i - from < sizeof name; i++)
        name[i - from - 1] = (char)u->pattern.elements[i];
    const struct sigma_placeholder *with = placeholder_named(d->r->s, name);
    if (!with || !with->values_len)
        return reader_refuse(d->r, draft->node, "%s: nobody has said what %%%s%% stands for",
                             d->key->text, name);
    for (int i = 0; i < with->values_len; i++) {
        struct pattern value;
        struct unfolding next = { .pattern = u->pattern };
        if (!pattern_read(a, with->values[i], strlen(with->values[i]), &value) ||
            !pattern_replace(a, &next.pattern, from, to - from, value.elements, value.len))
            return -ENOMEM;
        next.from = from + value.len;
        int result = unfold(d, draft, next, depth + 1);
        if (result < 0)
            return result;
    }
    return 0;
}

#define PLACEHOLDERS_MAX 16 /* in one value */

static int unfold(struct drafts *d, struct draft *draft, struct unfolding u, int depth)
{
    struct arena *a = &d->r->s->trees;
    if (depth > PLACEHOLDERS_MAX)
        return reader_refuse(d->r, draft->node, "%s: more than 16 placeholders", d->key->text);
    for (size_t i = u.from; i < u.pattern.len; i++) {
        if (u.pattern.elements[i] != '%')
            continue;
        if (i && u.pattern.elements[i - 1] == '\\') { /* \%: as it is */
            if (!pattern_replace(a, &u.pattern, i - 1, 1, NULL, 0))
                return -ENOMEM;
            i--;
            continue;
        }
        size_t end = placeholder_end(&u.pattern, i);
        if (end)
            return put_in(d, draft, &u, i, end, depth);
    }
    return add_pattern(d, draft, u.pattern);
}

static int expand(struct drafts *d, struct draft *draft)
{
    struct draft before = *draft;
    if (draft->kind != DRAFT_TEXT)
        return wrong_kind(d, draft);
    draft->patterns = NULL;
    draft->len = draft->cap = 0;
    for (size_t i = 0; i < before.len; i++) {
        int result = unfold(d, draft, (struct unfolding){ before.patterns[i], 0 }, 0);
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- names --------------------------------------------------------------------------------------
 */

static int of_all(struct drafts *d, struct draft *draft)
{
    (void)draft;
    d->all = true;
    return 0;
}

static int neq(struct drafts *d, struct draft *draft)
{
    (void)draft;
    d->negated = true;
    return 0;
}

static const struct modifier {
    const char *name;
    modify *apply;
} modifiers[] = {
    { "all", of_all },
    { "base64", base64 },
    { "base64offset", base64offset },
    { "cased", cased },
    { "cidr", cidr },
    { "contains", contains },
    { "day", day },
    { "dotall", dotall },
    { "endswith", endswith },
    { "exists", exists },
    { "expand", expand },
    { "fieldref", fieldref },
    { "gt", gt },
    { "gte", gte },
    { "hour", hour },
    { "i", ignorecase },
    { "ignorecase", ignorecase },
    { "lt", lt },
    { "lte", lte },
    { "m", multiline },
    { "minute", minute },
    { "month", month },
    { "multiline", multiline },
    { "neq", neq },
    { "re", re },
    { "s", dotall },
    { "startswith", startswith },
    { "utf16", utf16 },
    { "utf16be", utf16be },
    { "utf16le", utf16le },
    { "week", week },
    { "wide", utf16le },
    { "windash", windash },
    { "year", year },
};

static int apply(struct drafts *d, const char *name)
{
    const struct modifier *found = NULL;
    for (size_t i = 0; i < sizeof modifiers / sizeof *modifiers; i++)
        if (!strcmp(modifiers[i].name, name))
            found = &modifiers[i];
    if (!found)
        return reader_refuse(d->r, d->key, "%s: there is no modifier '%s'", d->key->text, name);
    d->modifier = found->name;
    for (size_t i = 0; i < d->len; i++) {
        int result = found->apply(d, &d->list[i]);
        if (result < 0)
            return result;
    }
    d->applied = found->name;
    return 0;
}

/* "|contains|all", which is in pieces afterwards. */
static int apply_all(struct drafts *d, char *names)
{
    while (names && *names) {
        char *name = names + 1;
        names = strchr(name, '|');
        if (names)
            *names = '\0';
        int result = apply(d, name);
        if (names)
            *names = '|';
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- tests --------------------------------------------------------------------------------------
 */

/* Of a pattern that is one text, with or without stars at its ends: that one. */
static bool plain_text(const struct pattern *p, struct pattern *text, enum aho_place *place)
{
    size_t from = p->len && p->elements[0] == PATTERN_STAR;
    size_t to = p->len > from && p->elements[p->len - 1] == PATTERN_STAR ? p->len - 1 : p->len;
    for (size_t i = from; i < to; i++)
        if (p->elements[i] > 0xff)
            return false;
    *text = (struct pattern){ p->elements + from, to - from };
    *place = from ? (to < p->len ? AHO_ANYWHERE : AHO_END) : to < p->len ? AHO_BEGIN : AHO_WHOLE;
    return true;
}

/* What must be found before the test is worth a try: its longest text. */
static int set_literal_of(struct drafts *d, struct test *t, uint32_t field, const struct pattern *p)
{
    size_t at, len = pattern_longest(p, &at);
    struct pattern run = { p->elements + at, len };
    if (!len)
        return 0;
    t->literal = set_literal(d->r->s, field, AHO_ANYWHERE, &run);
    return t->literal == NONE ? -ENOMEM : 0;
}

static int test_of_pattern(struct drafts *d, struct test *t, uint32_t field,
                           const struct pattern *p)
{
    struct pattern text;
    enum aho_place place;
    if (p->len == 1 && p->elements[0] == PATTERN_STAR) {
        t->kind = TEST_ANY;
        return 0;
    }
    if (plain_text(p, &text, &place) && !d->cased) {
        t->kind = TEST_TEXT;
        t->place = (uint8_t)place;
        t->literal = set_literal(d->r->s, field, place, &text);
        return t->literal == NONE ? -ENOMEM : 0;
    }
    t->kind = TEST_GLOB;
    t->cased = d->cased;
    t->pattern.len = p->len;
    t->pattern.elements = arena_get(&d->r->s->arena, p->len * sizeof *p->elements);
    if (!t->pattern.elements)
        return -ENOMEM;
    memcpy(t->pattern.elements, p->elements, p->len * sizeof *p->elements);
    return set_literal_of(d, t, field, p);
}

static int set_literal_of_regex(struct drafts *d, struct test *t, uint32_t field, const char *text)
{
    size_t len;
    struct pattern p;
    const char *literal = regex_literal(&d->r->s->trees, text, &len);
    if (!literal)
        return 0;
    return pattern_plain(&d->r->s->trees, literal, len, &p) ? set_literal_of(d, t, field, &p)
                                                            : -ENOMEM;
}

static int test_of_regex(struct drafts *d, const struct draft *draft, struct test *t,
                         uint32_t field)
{
    char why[160];
    size_t at = 0;
    const char *text = draft->node->text;
    struct buf anchored = { 0 };
    t->kind = TEST_REGEX;
    if (strlen(text) != draft->node->len)
        return reader_refuse(d->r, draft->node, "%s: the regular expression holds a NUL",
                             d->key->text);
    if (draft->place == AHO_BEGIN || draft->place == AHO_END) {
        buf_printf(&anchored, "%s(?:%s)%s", draft->place == AHO_BEGIN ? "\\A" : "", text,
                   draft->place == AHO_END ? "\\z" : "");
        text = buf_str(&anchored);
    }
    int result = anchored.failed
                     ? -ENOMEM
                     : regex_new(d->r->s, text, d->flags, &t->regex, why, sizeof why, &at);
    buf_free(&anchored);
    if (result == -EINVAL)
        return reader_refuse(d->r, draft->node,
                             "%s: the regular expression is wrong at byte %zu: %s", d->key->text,
                             at + 1, why);
    return result < 0 ? result : set_literal_of_regex(d, t, field, draft->node->text);
}

static int test_of_cidr(struct drafts *d, const struct draft *draft, struct test *t)
{
    size_t at;
    t->kind = TEST_CIDR;
    t->range = arena_get(&d->r->s->arena, sizeof *t->range);
    if (!t->range)
        return -ENOMEM;
    const char *wrong = address_read_range(draft->node->text, draft->node->len, t->range, &at);
    return wrong ? reader_refuse(d->r, draft->node, "%s: %s", d->key->text, wrong) : 0;
}

static int test_of_field(struct drafts *d, const struct draft *draft, struct test *t,
                         uint32_t field)
{
    enum sigma_source source = d->r->s->fields[field].source;
    char *name = pattern_bytes(&d->r->s->arena, draft->patterns);
    if (!name)
        return -ENOMEM;
    t->kind = TEST_FIELD;
    t->cased = d->cased;
    t->place = (uint8_t)draft->place;
    t->field = set_field(d->r->s, source, name);
    return t->field == NONE
               ? reader_refuse(d->r, draft->node, "more than %d different fields", FIELDS_MAX)
               : 0;
}

static int make_test(struct drafts *d, const struct draft *draft, size_t pattern, struct test *t,
                     uint32_t field)
{
    *t = (struct test){ .literal = NONE, .written = draft->node->text };
    t->line = draft->node->line;
    t->column = draft->node->column;
    if (d->compare >= 0) {
        t->kind = d->part ? TEST_TIME : TEST_NUMBER;
        t->op = (uint8_t)d->compare;
        t->part = (uint8_t)d->part;
        t->number = strtod(draft->node->text, NULL);
        return 0;
    }
    switch (draft->kind) {
    case DRAFT_NULL:
        t->kind = TEST_NULL;
        return d->keyword ? reader_refuse(d->r, draft->node, "null must be the value of a field")
                          : 0;
    case DRAFT_REGEX:
        return test_of_regex(d, draft, t, field);
    case DRAFT_FIELD:
        return test_of_field(d, draft, t, field);
    case DRAFT_CIDR:
        return test_of_cidr(d, draft, t);
    case DRAFT_EXISTS:
        t->kind = TEST_EXISTS;
        t->wanted = yaml_is(draft->node, "true");
        return 0;
    case DRAFT_TEXT:
        break;
    }
    return test_of_pattern(d, t, field, &draft->patterns[pattern]);
}

static size_t tests_of(const struct draft *draft)
{
    return draft->kind == DRAFT_TEXT ? draft->len : 1;
}

/* Those of literals first: they are known already when the others are to be tried. */
static void sort_tests(struct item *item, struct test *sorted)
{
    size_t n = 0;
    for (int texts = 1; texts >= 0; texts--) {
        for (size_t i = 0; i < item->tests_len; i++)
            if ((item->tests[i].kind == TEST_TEXT) == texts)
                sorted[n++] = item->tests[i];
        if (texts)
            item->texts_len = (uint32_t)n;
    }
    item->tests = sorted;
}

/* One item of these drafts: any of them. */
static int make_item(struct drafts *d, const struct draft *drafts, size_t len, uint32_t field,
                     struct node **out)
{
    struct sigma *s = d->r->s;
    struct node *node = node_new(s, NODE_ITEM, d->key ? d->key->line : drafts->node->line);
    struct item *item = arena_get(&s->arena, sizeof *item);
    size_t tests = 0;
    for (size_t i = 0; i < len; i++)
        tests += tests_of(&drafts[i]);
    if (tests > TESTS_MAX)
        return reader_refuse(d->r, drafts->node, "more than %d values", TESTS_MAX);
    struct test *sorted = arena_get(&s->arena, tests * sizeof *sorted);
    if (!node || !item || !sorted)
        return -ENOMEM;
    *item = (struct item){ .field = field, .line = node->line, .group = NONE };
    item->column = d->key ? d->key->column : drafts->node->column;
    item->label = d->key ? d->key->text : "keywords";
    item->tests = arena_get(&s->trees, tests * sizeof *item->tests);
    if (!item->tests)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++)
        for (size_t n = 0; n < tests_of(&drafts[i]); n++) {
            int result = make_test(d, &drafts[i], n, &item->tests[item->tests_len++], field);
            if (result < 0)
                return result;
        }
    sort_tests(item, sorted);
    node->item = item;
    *out = node;
    return 0;
}

/* With `all` each value is an item of its own. */
static int make_items(struct drafts *d, uint32_t field, struct node **out)
{
    struct node *node, *one;
    int result = 0;
    if (!d->all || d->len == 1) {
        result = make_item(d, d->list, d->len, field, &node);
    } else {
        node = node_new(d->r->s, NODE_AND, d->list->node->line);
        if (!node)
            return -ENOMEM;
        for (size_t i = 0; i < d->len && result == 0; i++) {
            result = make_item(d, &d->list[i], 1, field, &one);
            if (result == 0)
                result = node_add(d->r->s, node, one);
        }
    }
    if (result < 0 || !d->negated) {
        *out = node;
        return result;
    }
    *out = node_new(d->r->s, NODE_NOT, node->line);
    return *out ? node_add(d->r->s, *out, node) : -ENOMEM;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static int begin_drafts(struct drafts *d, const struct yaml_node *value)
{
    static const struct yaml_node nothing = { .kind = YAML_SCALAR, .plain = true, .text = "" };
    struct yaml_node *const single[] = { (struct yaml_node *)value };
    struct yaml_node *const empty[] = { (struct yaml_node *)&nothing };
    bool list = value->kind == YAML_LIST;
    struct yaml_node *const *nodes = !list ? single : value->len ? value->nodes : empty;
    d->len = list && value->len ? value->len : 1;
    d->list = arena_get(&d->r->s->trees, d->len * sizeof *d->list);
    if (!d->list)
        return -ENOMEM;
    for (size_t i = 0; i < d->len; i++) {
        int result = begin_draft(d, &d->list[i], nodes[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

/* A word is looked for anywhere in the record. */
static int open_keywords(struct drafts *d)
{
    for (size_t i = 0; i < d->len; i++) {
        d->modifier = "contains";
        int result = d->list[i].kind == DRAFT_TEXT && d->compare < 0 ? contains(d, &d->list[i]) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

static int finish_drafts(struct drafts *d, enum sigma_source source, const char *name,
                         struct node **out)
{
    uint32_t field = set_field(d->r->s, source, name);
    if (field == NONE)
        return reader_refuse(d->r, d->key ? d->key : d->list->node, "more than %d different fields",
                             FIELDS_MAX);
    return make_items(d, field, out);
}

/* The tree goes, the label and the values stay. */
static const struct yaml_node *keep(struct sigma *s, const struct yaml_node *node)
{
    struct yaml_node *kept = arena_get(&s->arena, sizeof *kept);
    if (!kept)
        return NULL;
    *kept = *node;
    kept->text = arena_copy(&s->arena, node->text, node->len);
    return kept->text ? kept : NULL;
}

static int keep_values(struct drafts *d)
{
    for (size_t i = 0; i < d->len; i++)
        if (!(d->list[i].node = keep(d->r->s, d->list[i].node)))
            return -ENOMEM;
    return 0;
}

int value_read(struct reader *r, const struct yaml_node *key, const struct yaml_node *value,
               enum sigma_source source, struct node **out)
{
    struct drafts d = { .r = r, .compare = -1, .modifier = "", .key = keep(r->s, key) };
    if (!d.key)
        return -ENOMEM;
    char *name = arena_copy(&r->s->arena, key->text, key->len),
         *bar = name ? strchr(name, '|') : NULL;
    if (!name)
        return -ENOMEM;
    d.keyword = bar == name || !*name;
    if (strlen(name) != key->len || (!*name && !bar))
        return reader_refuse(r, key, "the name of a field is wrong");
    int result = begin_drafts(&d, value);
    if (result == 0)
        result = keep_values(&d);
    if (result == 0)
        result = apply_all(&d, bar);
    if (result == 0 && d.keyword && !d.anchored)
        result = open_keywords(&d);
    if (result < 0)
        return result;
    if (bar)
        *bar = '\0';
    return finish_drafts(&d, source, name, out);
}

int value_read_keywords(struct reader *r, const struct yaml_node *value, enum sigma_source source,
                        struct node **out)
{
    struct drafts d = { .r = r, .compare = -1, .modifier = "", .keyword = true };
    int result = begin_drafts(&d, value);
    if (result == 0)
        result = keep_values(&d);
    if (result == 0)
        result = open_keywords(&d);
    return result < 0 ? result : finish_drafts(&d, source, "", out);
}
