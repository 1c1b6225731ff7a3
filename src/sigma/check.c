/* check.c - what is wrong with rules that load: they cannot fire, say the same twice, take long.
 * See sigma.h.
 *
 * What cannot be is told only where it is certain: that a field does not exist, that a path begins
 * with a slash, that two ends of one text exclude each other. A backslash in a path is told as what
 * hardly ever is: it comes from another system, but a file may be named so. */
#include "sigma/set.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX   64   /* of an `and`, that are compared with each other */
#define LIST_MAX    500  /* values of a list, that are */
#define HOSTILE_LEN 4000 /* bytes of the texts that regular expressions are tried on */
#define SLOW_NS     (2 * 1000000)

struct checking {
    struct sigma *s;
    bool (*knows)(enum sigma_source source, const char *field);
    sigma_found *found;
    void *ctx;
    const struct rule *rule;
    bool certain; /* leave out what is so only as long as nobody names files oddly */
};

__attribute__((format(printf, 5, 6))) static void tell(const struct checking *c,
                                                       enum sigma_finding_kind kind, int line,
                                                       int column, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->found(c->ctx, &(struct sigma_finding){ kind, c->rule->about.path, line, column, text });
}

/* --- what cannot be --------------------------------------------------------------------------- */

/* Why something never holds, and where that stands. */
struct reason {
    int line, column;
    char text[300];
};

__attribute__((format(printf, 4, 5))) static bool because(struct reason *r, int line, int column,
                                                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->text, sizeof r->text, format, args);
    va_end(args);
    r->line = line;
    r->column = column;
    return true;
}

static bool is_path(const struct field *field)
{
    return field->source == SIGMA_PROCESS &&
           (!strcmp(field->name, "Image") || !strcmp(field->name, "ParentImage"));
}

static bool never_in_path(const struct checking *c, const struct test *t, const struct literal *l,
                          struct reason *r)
{
    bool begins = l->place == AHO_BEGIN || l->place == AHO_WHOLE;
    if (begins && *l->text != '/')
        return because(r, t->line, t->column, "'%s' is never found: a path begins with / here",
                       t->written);
    if (!c->certain && memchr(l->text, '\\', l->len))
        return because(r, t->line, t->column,
                       "'%s' is found only where a file's name has a \\: paths have / here",
                       t->written);
    return false;
}

static bool test_never_holds(const struct checking *c, const struct item *item,
                             const struct test *t, struct reason *r)
{
    const struct field *field = &c->s->fields[item->field];
    if (t->kind == TEST_NULL || (t->kind == TEST_EXISTS && !t->wanted))
        return false;
    if (!c->knows(field->source, field->name))
        return because(r, item->line, item->column, "no event here has the field '%s'",
                       field->name);
    if (t->kind != TEST_TEXT)
        return false;
    const struct literal *l = &c->s->literals[t->literal];
    if (is_path(field) && l->len)
        return never_in_path(c, t, l, r);
    if (field->source == SIGMA_AUDITD && !strcmp(field->name, "type") && l->place == AHO_WHOLE &&
        strcmp(l->text, "execve"))
        return because(r, t->line, t->column,
                       "'%s': the only record of auditd that there is here is "
                       "EXECVE",
                       t->written);
    return false;
}

static bool item_never_holds(const struct checking *c, const struct item *item, struct reason *r)
{
    for (uint32_t i = item->tests_len; i-- > 0;)
        if (!test_never_holds(c, item, &item->tests[i], r))
            return false;
    return true;
}

/* --- what excludes each other ----------------------------------------------------------------- */

/* The one text that an item is about; NULL: it is about more, or something else. */
static const struct test *only_text(const struct item *item)
{
    return item->tests_len == 1 && item->tests[0].kind == TEST_TEXT ? &item->tests[0] : NULL;
}

static bool differ(const struct literal *a, const struct literal *b, bool ends)
{
    size_t len = a->len < b->len ? a->len : b->len;
    const char *x = ends ? a->text + a->len - len : a->text;
    const char *y = ends ? b->text + b->len - len : b->text;
    return memcmp(x, y, len);
}

static bool exclude(const struct literal *a, const struct literal *b)
{
    bool begin = (a->place == AHO_BEGIN || a->place == AHO_WHOLE) &&
                 (b->place == AHO_BEGIN || b->place == AHO_WHOLE);
    bool end = (a->place == AHO_END || a->place == AHO_WHOLE) &&
               (b->place == AHO_END || b->place == AHO_WHOLE);
    if (a->place == AHO_WHOLE && b->place == AHO_WHOLE && a->len != b->len)
        return true;
    return (begin && differ(a, b, false)) || (end && differ(a, b, true));
}

/* All items that must hold together. */
struct parts {
    const struct item *items[PARTS_MAX];
    size_t len;
};

static void gather(const struct node *node, struct parts *parts)
{
    if (node->kind == NODE_ITEM && parts->len < PARTS_MAX)
        parts->items[parts->len++] = node->item;
    if (node->kind == NODE_AND || node->kind == NODE_NAME)
        for (size_t i = 0; i < node->len; i++)
            gather(node->nodes[i], parts);
}

static bool parts_exclude(const struct checking *c, const struct node *node, struct reason *r)
{
    struct parts parts = { .len = 0 };
    gather(node, &parts);
    for (size_t i = 0; i < parts.len; i++) {
        const struct test *a = only_text(parts.items[i]);
        for (size_t n = i + 1; a && n < parts.len; n++) {
            const struct test *b = only_text(parts.items[n]);
            if (b && parts.items[i]->field == parts.items[n]->field &&
                exclude(&c->s->literals[a->literal], &c->s->literals[b->literal]))
                return because(r, b->line, b->column, "'%s' and '%s' exclude each other",
                               a->written, b->written);
        }
    }
    return false;
}

static bool never_holds(const struct checking *c, const struct node *node, struct reason *r)
{
    if (node->kind == NODE_ITEM)
        return item_never_holds(c, node->item, r);
    if (node->kind == NODE_NOT)
        return false;
    if (node->kind == NODE_NAME)
        return never_holds(c, node->nodes[0], r);
    for (size_t i = 0; i < node->len; i++)
        if (never_holds(c, node->nodes[i], r) != (node->kind == NODE_OR))
            return node->kind == NODE_AND;
    return node->kind == NODE_OR || parts_exclude(c, node, r);
}

/* --- parts that change nothing ---------------------------------------------------------------- */

static bool holds_other(const struct literal *l, const struct literal *other)
{
    return l->len > other->len && memmem(l->text, l->len, other->text, other->len);
}

static void check_list(const struct checking *c, const struct item *item)
{
    struct reason r;
    uint32_t len = item->texts_len < LIST_MAX ? item->texts_len : LIST_MAX;
    for (uint32_t i = 0; i < len; i++) {
        const struct literal *l = &c->s->literals[item->tests[i].literal];
        for (uint32_t n = 0; n < len; n++) {
            const struct literal *other = &c->s->literals[item->tests[n].literal];
            if (l->place != AHO_ANYWHERE || other->place != AHO_ANYWHERE || !holds_other(l, other))
                continue;
            tell(c, SIGMA_USELESS, item->tests[i].line, item->tests[i].column,
                 "'%s' adds nothing: '%s' is found wherever it is", item->tests[i].written,
                 item->tests[n].written);
            break;
        }
    }
    for (uint32_t i = 0; i < item->tests_len; i++)
        if (item->tests_len > 1 && test_never_holds(c, item, &item->tests[i], &r) &&
            !item_never_holds(c, item, &(struct reason){ 0 }))
            tell(c, SIGMA_USELESS, r.line, r.column, "%s", r.text);
}

static void check_items(const struct checking *c, const struct node *node)
{
    if (node->kind == NODE_ITEM)
        check_list(c, node->item);
    for (size_t i = 0; i < node->len; i++)
        check_items(c, node->nodes[i]);
}

/* As never_holds, whatever files are named; `r` is written only when so. */
static bool certainly_never_holds(const struct checking *c, const struct node *node,
                                  struct reason *r)
{
    struct checking strict = *c;
    struct reason why;
    strict.certain = true;
    if (!never_holds(&strict, node, &why))
        return false;
    *r = why;
    return true;
}

static void check_selections(const struct checking *c, bool never)
{
    struct reason r;
    for (size_t i = 0; i < c->rule->selections_len; i++) {
        const struct selection *selection = &c->rule->selections[i];
        if (!selection->used)
            tell(c, SIGMA_USELESS, selection->line, selection->column,
                 "the condition does not use the selection '%s'", selection->name);
        else if (!never && never_holds(c, selection->node, &r)) {
            bool certain = certainly_never_holds(c, selection->node, &r);
            tell(c, SIGMA_USELESS, r.line, r.column, "the selection '%s' %s holds: %s",
                 selection->name, certain ? "never" : "hardly ever", r.text);
        }
        check_items(c, selection->node);
    }
}

/* --- regular expressions ---------------------------------------------------------------------- */

/* A text on which those that try again and again do so: what fits, over and over, and in the end
 * what does not. */
static void make_hostile(char *text, size_t len, const char *of)
{
    size_t of_len = strlen(of);
    for (size_t i = 0; i < len; i++)
        text[i] = of[i % of_len];
    text[len - 1] = '\1';
}

static void try_regex(const struct checking *c, const struct item *item, const struct test *t)
{
    static const char *const kinds[] = { "a", " ", "a ", "/a", "-a ", "0", "aA0 ", "=", "\"" };
    char text[HOSTILE_LEN];
    size_t from, to;
    int64_t worst = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds + 1; i++) {
        bool own = i == sizeof kinds / sizeof *kinds;
        if (own && !*t->written)
            continue;
        make_hostile(text, sizeof text, own ? t->written : kinds[i]);
        int64_t begin = clock_thread_cpu_ns();
        int result = regex_fits(c->s, t->regex, text, sizeof text, &from, &to);
        int64_t took = clock_thread_cpu_ns() - begin;
        if (result == -EAGAIN) {
            tell(c, SIGMA_SLOW, t->line, t->column,
                 "%s: the regular expression comes to its limit on a text of %d bytes, and is "
                 "undecided then",
                 item->label, HOSTILE_LEN);
            return;
        }
        worst = took > worst ? took : worst;
    }
    if (worst > SLOW_NS)
        tell(c, SIGMA_SLOW, t->line, t->column,
             "%s: the regular expression takes %.1f ms on a text of %d bytes", item->label,
             (double)worst / 1e6, HOSTILE_LEN);
}

static void check_regexes(const struct checking *c, const struct node *node, bool always)
{
    for (size_t i = 0; i < node->len; i++)
        check_regexes(c, node->nodes[i], always);
    for (uint32_t i = 0; node->kind == NODE_ITEM && i < node->item->tests_len; i++) {
        const struct test *t = &node->item->tests[i];
        if (t->kind != TEST_REGEX)
            continue;
        if (always && t->literal == NONE)
            tell(c, SIGMA_SLOW, t->line, t->column,
                 "%s: nothing that must be there tells when the regular expression is worth a try: "
                 "it is tried on every event",
                 node->item->label);
        try_regex(c, node->item, t);
    }
}

/* --- rules that say the same ------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, uint64_t number)
{
    hash = (hash ^ number) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return mix(hash, 1);
}

/* In whatever order the values stand. */
static uint64_t hash_item(const struct item *item)
{
    const char *bar = strchr(item->label, '|');
    uint64_t sum = 0;
    for (uint32_t i = 0; i < item->tests_len; i++)
        sum += mix_text(item->tests[i].kind, item->tests[i].written);
    return mix(mix_text(item->field, bar ? bar : ""), sum);
}

static uint64_t hash_node(const struct node *node)
{
    uint64_t sum = 0;
    if (node->kind == NODE_ITEM)
        return hash_item(node->item);
    if (node->kind == NODE_NAME || (node->len == 1 && node->kind != NODE_NOT))
        return hash_node(node->nodes[0]);
    for (size_t i = 0; i < node->len; i++)
        sum += mix(hash_node(node->nodes[i]), 3);
    return mix(node->kind, sum);
}

struct hashed {
    uint64_t hash;
    uint32_t rule;
};

static int by_hash(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash)
                              : (x->rule > y->rule) - (x->rule < y->rule);
}

static int check_doubles(struct checking *c)
{
    struct sigma *s = c->s;
    struct hashed *all = malloc((s->rules_len + 1) * sizeof *all);
    size_t len = 0;
    if (!all)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->rules_len; i++)
        if (s->rules[i]->root)
            all[len++] = (struct hashed){ hash_node(s->rules[i]->root), i };
    qsort(all, len, sizeof *all, by_hash);
    for (size_t i = 1, first = 0; i < len; i++) {
        if (all[i].hash != all[first].hash) {
            first = i;
            continue;
        }
        const struct sigma_rule *other = &s->rules[all[first].rule]->about;
        c->rule = s->rules[all[i].rule];
        tell(c, SIGMA_DUPLICATE, c->rule->about.line, c->rule->column,
             "it says the same as '%s' in %s", other->title, other->path);
    }
    free(all);
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

int sigma_check(struct sigma *s, bool (*knows)(enum sigma_source source, const char *field),
                sigma_found *found, void *ctx)
{
    struct checking c = { .s = s, .knows = knows, .found = found, .ctx = ctx };
    struct reason r;
    for (size_t i = 0; i < s->rules_len; i++) {
        c.rule = s->rules[i];
        if (!c.rule->root)
            continue;
        bool never = never_holds(&c, c.rule->root, &r);
        if (never && certainly_never_holds(&c, c.rule->root, &r))
            tell(&c, SIGMA_NEVER, r.line, r.column, "the rule can never fire: %s", r.text);
        else if (never)
            tell(&c, SIGMA_HARDLY, r.line, r.column, "the rule hardly ever fires: %s", r.text);
        check_selections(&c, never);
        check_regexes(&c, c.rule->root, !isfinite(c.rule->root->cost));
    }
    return check_doubles(&c);
}
