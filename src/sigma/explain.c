/* explain.c - why a rule says what it says of an event: branch by branch, and with what was found.
 * See sigma.h. */
#include "sigma/set.h"

#include <string.h>

/* --- what was found --------------------------------------------------------------------------- */

struct part {
    const char *text;
    size_t len;
};

static bool same_small(const char *small, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (small[i] != (char)pattern_small((unsigned char)text[i]))
            return false;
    return true;
}

static struct part find_literal(const struct literal *l, const struct sigma_value *value)
{
    size_t last = value->len - l->len;
    size_t from = l->place == AHO_END ? last : 0;
    size_t to = l->place == AHO_BEGIN || l->place == AHO_WHOLE ? 0 : last;
    for (size_t at = from; at <= to; at++)
        if (same_small(l->text, value->text + at, l->len))
            return (struct part){ value->text + at, l->len };
    return (struct part){ value->text, value->len };
}

/* The part of the value that the test holds for; it does. */
static struct part found_by(struct sigma *s, const struct test *test,
                            const struct sigma_value *value)
{
    size_t from, to;
    if (value->state != SIGMA_VALUE)
        return (struct part){ "", 0 };
    if (test->kind == TEST_TEXT)
        return find_literal(&s->literals[test->literal], value);
    if (test->kind == TEST_REGEX &&
        regex_fits(s, test->regex, value->text, value->len, &from, &to) > 0)
        return (struct part){ value->text + from, to - from };
    return (struct part){ value->text, value->len };
}

static const struct test *test_that_holds(struct sigma *s, const struct item *item,
                                          const struct sigma_event *ev)
{
    for (uint32_t i = 0; i < item->tests_len; i++)
        if (verdict_of_test(s, &item->tests[i], &ev->values[item->field], ev) == SIGMA_TRUE)
            return &item->tests[i];
    return NULL;
}

/* --- reasons ---------------------------------------------------------------------------------- */

struct telling {
    struct sigma *s;
    const struct sigma_event *ev;
    sigma_matched *matched;
    void *ctx;
    const char *selection;
};

static void tell_item(struct telling *t, const struct item *item)
{
    const struct test *test = test_that_holds(t->s, item, t->ev);
    if (!test)
        return;
    struct part part = found_by(t->s, test, &t->ev->values[item->field]);
    t->matched(t->ctx, &(struct sigma_reason){ .selection = t->selection,
                                               .item = item->label,
                                               .value = test->written,
                                               .found = part.text,
                                               .found_len = part.len });
}

/* What holds makes what is above it hold; behind `not`, nothing has to. */
static void tell_node(struct telling *t, const struct node *node)
{
    const char *before = t->selection;
    if (node->kind == NODE_NOT || verdict_of_node(t->s, node, t->ev) != SIGMA_TRUE)
        return;
    if (node->kind == NODE_ITEM)
        tell_item(t, node->item);
    if (node->kind == NODE_NAME)
        t->selection = node->name;
    for (size_t i = 0; i < node->len; i++)
        tell_node(t, node->nodes[i]);
    t->selection = before;
}

void sigma_reasons(struct sigma *s, int rule, const struct sigma_event *ev, sigma_matched *matched,
                   void *ctx)
{
    struct telling t = { .s = s, .ev = ev, .matched = matched, .ctx = ctx, .selection = "" };
    if (s->rules[rule]->correlation)
        correlation_reasons(s->rules[rule], matched, ctx);
    else
        tell_node(&t, s->rules[rule]->root);
}

/* --- explaining ------------------------------------------------------------------------------- */

struct explaining {
    struct sigma *s;
    const struct sigma_event *ev;
    struct buf *out;
};

static const char *const verdicts[] = { "false", "true", "undecided" };
static const char *const states[] = { "the event does not have it", "it could not be read",
                                      "there is none", "it is null" };

#define TEXT_MOST 200 /* of a value, bytes */

static void write_text(struct buf *out, const char *text, size_t len)
{
    buf_putc(out, '\'');
    buf_harmless(out, text, len < TEXT_MOST ? len : TEXT_MOST);
    buf_puts(out, len < TEXT_MOST ? "'" : "...'");
}

static void write_values(struct buf *out, const struct item *item)
{
    const char *last = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < item->tests_len; i++) {
        const char *written = item->tests[i].written;
        if (last == written) /* one value that was unfolded */
            continue;
        if (n++ == 3)
            break;
        buf_puts(out, last ? " or " : " ");
        write_text(out, written, strlen(written));
        last = written;
    }
    if (n > 3)
        buf_puts(out, " or ...");
}

static void begin_line(struct explaining *e, int depth, enum sigma_verdict verdict)
{
    buf_printf(e->out, "%-9s  %*s", verdicts[verdict], 2 * depth, "");
}

static void explain_item(struct explaining *e, const struct item *item, int depth)
{
    const struct sigma_value *value = &e->ev->values[item->field];
    struct node node = { .kind = NODE_ITEM, .item = (struct item *)item };
    enum sigma_verdict verdict = verdict_of_node(e->s, &node, e->ev);
    begin_line(e, depth, verdict);
    buf_puts(e->out, item->label);
    buf_putc(e->out, ':');
    write_values(e->out, item);
    const struct test *test = verdict == SIGMA_TRUE ? test_that_holds(e->s, item, e->ev) : NULL;
    if (value->state != SIGMA_VALUE) {
        buf_printf(e->out, "; %s", states[value->state]);
    } else if (test) {
        struct part part = found_by(e->s, test, value);
        buf_puts(e->out, "; found ");
        write_text(e->out, part.text, part.len);
    } else {
        buf_puts(e->out, "; it is ");
        write_text(e->out, value->text, value->len);
    }
    buf_putc(e->out, '\n');
}

static const char *title_of(const struct node *node)
{
    return node->kind == NODE_AND   ? "all of"
           : node->kind == NODE_OR  ? "any of"
           : node->kind == NODE_NOT ? "not"
                                    : node->name;
}

/* In the order of the rule, which is not that of evaluation. */
static const struct node *next_in_order(const struct node *of, const struct node *before)
{
    const struct node *next = NULL;
    for (size_t i = 0; i < of->len; i++) {
        const struct node *one = of->nodes[i];
        if ((!before || one->number > before->number) && (!next || one->number < next->number))
            next = one;
    }
    return next;
}

static void explain_node(struct explaining *e, const struct node *node, int depth)
{
    const struct node *one = NULL;
    if (node->kind == NODE_ITEM) {
        explain_item(e, node->item, depth);
        return;
    }
    begin_line(e, depth, verdict_of_node(e->s, node, e->ev));
    buf_puts(e->out, title_of(node));
    buf_putc(e->out, '\n');
    while ((one = next_in_order(node, one)))
        explain_node(e, one, depth + 1);
}

enum sigma_verdict sigma_explain(struct sigma *s, int rule, const struct sigma_event *ev,
                                 struct buf *out)
{
    struct explaining e = { .s = s, .ev = ev, .out = out };
    const struct rule *of = s->rules[rule];
    sigma_match(s, ev); /* finds the literals */
    if (of->correlation) {
        buf_puts(out, "a correlation is about several events: one alone tells nothing of it\n");
        return SIGMA_UNDECIDED;
    }
    explain_node(&e, of->root, 0);
    return verdict_of_node(s, of->root, ev);
}
