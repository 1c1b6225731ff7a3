/* item.c - values that were modified become the tests of an item. See draft.h. */
#include "sigma/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- one test --------------------------------------------------------------------------------- */

/* --- tests ------------------------------------------------------------------------------------ */

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
    *t = (struct test){ .literal = NONE, .written = draft->written };
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

/* The trees go, what is told of rules stays. */
static int keep_texts(struct drafts *d)
{
    struct arena *a = &d->r->s->arena;
    d->label = d->key ? arena_copy(a, d->key->text, d->key->len) : "keywords";
    for (size_t i = 0; i < d->len; i++) {
        const struct yaml_node *node = d->list[i].node;
        d->list[i].written = arena_copy(a, node->text, node->len);
        if (!d->list[i].written)
            return -ENOMEM;
    }
    return d->label ? 0 : -ENOMEM;
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
    item->label = d->label;
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
int item_make(struct drafts *d, uint32_t field, struct node **out)
{
    struct node *node = NULL, *one;
    int result = keep_texts(d);
    if (result < 0)
        return result;
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
