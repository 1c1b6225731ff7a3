/* value.c - a key of a selection and its values: what the modifiers make of them. See set.h.
 *
 * Modifiers are applied in the order in which they stand. What each of them takes is checked: one
 * that nobody knows, or that does not go with what stands before it, makes the rule refused. */
#include "sigma/draft.h"

#include "base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* --- patterns of a draft ---------------------------------------------------------------------- */

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

/* --- modifiers -------------------------------------------------------------------------------- */

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

/* --- placeholders ----------------------------------------------------------------------------- */

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

/* --- names ------------------------------------------------------------------------------------ */

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

/* --- all of it -------------------------------------------------------------------------------- */

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
    return item_make(d, field, out);
}

int value_read(struct reader *r, const struct yaml_node *key, const struct yaml_node *value,
               enum sigma_source source, struct node **out)
{
    struct drafts d = { .r = r, .compare = -1, .modifier = "", .key = key };
    char *name = arena_copy(&r->s->trees, key->text, key->len);
    char *bar = name ? strchr(name, '|') : NULL;
    if (!name)
        return -ENOMEM;
    d.keyword = bar == name || !*name;
    if (strlen(name) != key->len || (!*name && !bar))
        return reader_refuse(r, key, "the name of a field is wrong");
    int result = begin_drafts(&d, value);
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
        result = open_keywords(&d);
    return result < 0 ? result : finish_drafts(&d, source, "", out);
}
