/* program.c - makes a set fast: which literals, found where, make which rules worth a look. See
 * set.h.
 *
 * A rule is evaluated only when it could hold: for each, a few literals are chosen of which one
 * must be there whenever it holds, or cannot be said to (a field may be missing, then all that wait
 * for it are evaluated). Of what is joined by `and` the rarest is enough; of `or` every part must
 * be watched; behind `not` nothing is known. A long list of values gets a mark of its own, so that
 * it is one look and not thousands. */
#include "sigma/set.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONG_LIST 8 /* values, from which on a list is marked as one */

/* --- numbers of literals ---------------------------------------------------------------------- */

static int by_field(const void *a, const void *b)
{
    const struct literal *x = a, *y = b;
    return x->field != y->field ? (x->field > y->field) - (x->field < y->field)
                                : (x->number > y->number) - (x->number < y->number);
}

/* Those of a field in a row; `to` has the number of each by the one that it was given first. */
static void sort_literals(struct sigma *s, uint32_t *to)
{
    for (uint32_t i = 0; i < s->literals_len; i++)
        s->literals[i].number = i;
    if (s->literals_len)
        qsort(s->literals, s->literals_len, sizeof *s->literals, by_field);
    for (uint32_t i = 0; i < s->literals_len; i++) {
        struct field *field = &s->fields[s->literals[i].field];
        to[s->literals[i].number] = i;
        s->literals[i].number = i;
        if (!field->literals_len++)
            field->first = i;
    }
}

typedef void visit(struct sigma *s, struct node *node, void *ctx);

/* What hangs in several places of a tree is visited as often. */
static void walk(struct sigma *s, struct node *node, visit *f, void *ctx)
{
    for (size_t i = 0; i < node->len; i++)
        walk(s, node->nodes[i], f, ctx);
    f(s, node, ctx);
}

static void renumber(struct sigma *s, struct node *node, void *ctx)
{
    const uint32_t *to = ctx;
    (void)s;
    if (node->kind != NODE_ITEM || node->cost != -1)
        return;
    node->cost = -2;
    for (uint32_t i = 0; i < node->item->tests_len; i++)
        if (node->item->tests[i].literal != NONE)
            node->item->tests[i].literal = to[node->item->tests[i].literal];
}

static void walk_all(struct sigma *s, visit *f, void *ctx)
{
    for (size_t i = 0; i < s->rules_len; i++)
        if (s->rules[i]->root)
            walk(s, s->rules[i]->root, f, ctx);
}

/* --- what it costs to watch ------------------------------------------------------------------- */

/* How often a text is found where it says little, as a guess: short ones are everywhere. And each
 * rule that watches it is looked at then. */
static double cost_of_literal(const struct literal *l)
{
    static const double by_len[] = { 10000, 3000, 500, 80, 20, 8, 4 };
    bool anywhere = l->place == AHO_ANYWHERE || l->place == AHO_BEGIN;
    double often = !anywhere ? 1 : l->len < 7 ? by_len[l->len] : 2;
    return often * (double)l->uses;
}

static double cost_of_item(const struct sigma *s, const struct item *item)
{
    double cost = 0;
    for (uint32_t i = 0; i < item->tests_len; i++) {
        const struct test *t = &item->tests[i];
        cost += t->literal == NONE ? INFINITY : cost_of_literal(&s->literals[t->literal]);
    }
    return cost;
}

static int by_trial(const void *a, const void *b)
{
    const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;
    return x->tried != y->tried ? x->tried - y->tried : (x->cost > y->cost) - (x->cost < y->cost);
}

static bool is_costly(const struct test *t)
{
    return t->kind == TEST_REGEX || t->kind == TEST_GLOB;
}

/* Called for what is below a node first. */
static void weigh(struct sigma *s, struct node *node, void *ctx)
{
    (void)ctx;
    if (node->cost >= 0)
        return;
    node->cost = node->kind == NODE_AND || node->kind == NODE_NOT ? INFINITY : 0;
    for (size_t i = 0; i < node->len; i++) {
        double cost = node->nodes[i]->cost;
        node->tried = node->tried || node->nodes[i]->tried;
        if (node->kind == NODE_AND && cost < node->cost)
            node->cost = cost;
        else if (node->kind == NODE_OR || node->kind == NODE_NAME)
            node->cost += cost;
    }
    if (node->kind == NODE_ITEM) {
        node->cost = cost_of_item(s, node->item);
        for (uint32_t i = node->item->texts_len; i < node->item->tests_len; i++)
            node->tried = node->tried || is_costly(&node->item->tests[i]);
    }
    if (node->kind == NODE_AND || node->kind == NODE_OR)
        qsort(node->nodes, node->len, sizeof(struct node *), by_trial);
}

/* --- lists of numbers ------------------------------------------------------------------------- */

/* In two rounds: how many each gets, then which. */
struct dealing {
    bool count;
    uint32_t rule, next_group;
    int error;
};

static void deal(struct sigma *s, uint32_t **list, uint32_t *len, uint32_t number,
                 struct dealing *d)
{
    if (d->count) {
        ++*len;
        return;
    }
    if (!*list) {
        *list = arena_get(&s->arena, *len * sizeof **list);
        *len = 0;
        if (!*list) {
            d->error = -ENOMEM;
            return;
        }
    }
    if (!*len || (*list)[*len - 1] != number)
        (*list)[(*len)++] = number;
}

static void deal_groups(struct sigma *s, struct node *node, void *ctx)
{
    struct item *item = node->item;
    struct dealing *d = ctx;
    if (node->kind != NODE_ITEM || item->texts_len <= LONG_LIST)
        return;
    if (d->count && item->group == NONE)
        item->group = s->groups_len++;
    else if (d->count || item->group < d->next_group)
        return; /* it hangs in a second place */
    d->next_group = item->group + 1;
    for (uint32_t i = 0; i < item->texts_len && !d->error; i++) {
        struct literal *l = &s->literals[item->tests[i].literal];
        deal(s, &l->groups, &l->groups_len, item->group, d);
    }
}

static int wait_for(struct sigma *s, uint32_t field, uint32_t rule)
{
    struct field *f = &s->fields[field];
    if (f->waiting_len && f->waiting[f->waiting_len - 1] == rule)
        return 0;
    uint32_t *more =
        arena_grow(&s->arena, f->waiting, f->waiting_len, &f->waiting_cap, 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    f->waiting = more;
    more[f->waiting_len++] = rule;
    return 0;
}

/* The literals that this rule is watched by. */
static void deal_rule(struct sigma *s, const struct node *node, struct dealing *d)
{
    if (node->kind == NODE_AND) { /* sorted by trial, not by cost */
        const struct node *least = node->nodes[0];
        for (size_t i = 1; i < node->len; i++)
            least = node->nodes[i]->cost < least->cost ? node->nodes[i] : least;
        deal_rule(s, least, d);
        return;
    }
    for (size_t i = 0; i < node->len; i++)
        deal_rule(s, node->nodes[i], d);
    if (node->kind != NODE_ITEM)
        return;
    for (uint32_t i = 0; i < node->item->tests_len && !d->error; i++) {
        struct literal *l = &s->literals[node->item->tests[i].literal];
        deal(s, &l->rules, &l->rules_len, d->rule, d);
    }
    if (!d->count && !d->error)
        d->error = wait_for(s, node->item->field, d->rule);
}

static int always(struct sigma *s, uint32_t rule)
{
    uint32_t *more =
        arena_grow(&s->arena, s->always, s->always_len, &s->always_cap, 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    s->always = more;
    more[s->always_len++] = rule;
    return 0;
}

static int deal_rules(struct sigma *s, bool count)
{
    struct dealing d = { .count = count };
    for (uint32_t i = 0; i < s->rules_len && !d.error; i++) {
        const struct node *root = s->rules[i]->root;
        d.rule = i;
        if (root && isfinite(root->cost))
            deal_rule(s, root, &d);
        else if (root && !count)
            d.error = always(s, i);
    }
    return d.error;
}

/* --- automata --------------------------------------------------------------------------------- */

static int build_automaton(struct sigma *s, struct field *field)
{
    struct aho_word *words = malloc((field->literals_len + 1) * sizeof *words);
    if (!words)
        return -ENOMEM;
    for (uint32_t i = 0; i < field->literals_len; i++) {
        const struct literal *l = &s->literals[field->first + i];
        words[i] = (struct aho_word){ l->text, l->len, (enum aho_place)l->place };
    }
    int result = aho_new(&field->aho, &s->options.memory, words, field->literals_len);
    if (result == 0) {
        s->states += aho_states(field->aho);
        s->automata_bytes += aho_bytes(field->aho);
    }
    free(words);
    return result;
}

/* What is stamped, and where the results of an event go. */
static int make_room(struct sigma *s)
{
    struct arena *a = &s->arena;
    s->literal_stamps = arena_get(a, (s->literals_len + 1) * sizeof *s->literal_stamps);
    s->found = arena_get(a, (s->literals_len + 1) * sizeof *s->found);
    s->group_stamps = arena_get(a, (s->groups_len + 1) * sizeof *s->group_stamps);
    s->candidates = arena_get(a, (s->rules_len + 1) * sizeof *s->candidates);
    s->fired = arena_get(a, (s->rules_len + 1) * sizeof *s->fired);
    return s->literal_stamps && s->found && s->group_stamps && s->candidates && s->fired ? 0
                                                                                         : -ENOMEM;
}

int program_build(struct sigma *s)
{
    struct dealing groups = { .count = true };
    uint32_t *to = malloc((s->literals_len + 1) * sizeof *to);
    if (!to)
        return -ENOMEM;
    sort_literals(s, to);
    walk_all(s, renumber, to);
    free(to);
    walk_all(s, weigh, NULL);
    walk_all(s, deal_groups, &groups);
    groups = (struct dealing){ .count = false };
    walk_all(s, deal_groups, &groups);
    int result = groups.error;
    if (result == 0)
        result = deal_rules(s, true);
    if (result == 0)
        result = deal_rules(s, false);
    for (size_t i = 0; i < s->fields_len && result == 0; i++)
        if (s->fields[i].literals_len)
            result = build_automaton(s, &s->fields[i]);
    return result ? result : make_room(s);
}
