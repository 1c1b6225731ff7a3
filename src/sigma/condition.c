/* condition.c - "1 of selection_* and not filter" becomes a tree over the selections. See set.h.
 *
 *     or:    and ('or' and)*             and: not ('and' not)*
 *     not:   'not' not | '(' or ')' | name | ('1' | 'any' | 'all') 'of' ('them' | pattern) */
#include "sigma/set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX 256

struct condition {
    struct reader *r;
    const struct yaml_node *node; /* its text */
    const char *at;
    struct selection *selections;
    size_t selections_len;
    int depth;
};

static int read_or(struct condition *c, struct node **out);

/* --- words ------------------------------------------------------------------------------------ */

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '*';
}

static void skip_blank(struct condition *c)
{
    c->at += strspn(c->at, " \t\r\n");
}

/* The next word; "" when there is none. Returns where it ends. */
static const char *peek(struct condition *c, char word[WORD_MAX])
{
    size_t len = 0;
    skip_blank(c);
    while (len < WORD_MAX - 1 && in_word(c->at[len]))
        len++;
    memcpy(word, c->at, len);
    word[len] = '\0';
    return c->at + len;
}

static bool take(struct condition *c, const char *wanted)
{
    char word[WORD_MAX];
    const char *end = peek(c, word);
    if (strcasecmp(word, wanted))
        return false;
    c->at = end;
    return true;
}

static int refuse_here(struct condition *c, const char *what)
{
    return reader_refuse(c->r, c->node, "condition, at byte %d: %s",
                         (int)(c->at - c->node->text) + 1, what);
}

/* --- selections ------------------------------------------------------------------------------- */

static int name_selection(struct condition *c, struct selection *selection, struct node **out)
{
    struct node *node = node_new(c->r->s, NODE_NAME, selection->line);
    if (!node)
        return -ENOMEM;
    node->name = selection->name;
    selection->used = true;
    *out = node;
    return node_add(c->r->s, node, selection->node);
}

static int find(struct condition *c, const char *name, struct node **out)
{
    for (size_t i = 0; i < c->selections_len; i++)
        if (!strcmp(c->selections[i].name, name))
            return name_selection(c, &c->selections[i], out);
    return reader_refuse(c->r, c->node, "condition: there is no selection '%s'", name);
}

/* A pattern of the whole name, in which * stands for any letters. */
static bool name_fits(const char *pattern, const char *name)
{
    uint16_t elements[WORD_MAX];
    struct pattern p = { elements, 0 };
    for (; pattern[p.len]; p.len++)
        elements[p.len] = pattern[p.len] == '*' ? PATTERN_STAR : (unsigned char)pattern[p.len];
    return pattern_fits(&p, name, strlen(name), true);
}

static int read_some(struct condition *c, bool all, struct node **out)
{
    char pattern[WORD_MAX];
    struct node *some = node_new(c->r->s, all ? NODE_AND : NODE_OR, c->node->line), *one;
    c->at = peek(c, pattern);
    bool them = !strcasecmp(pattern, "them");
    int result = some ? 0 : -ENOMEM;
    if (!*pattern)
        return refuse_here(c, "'them' or the names of selections must follow 'of'");
    for (size_t i = 0; i < c->selections_len && result == 0; i++) {
        struct selection *selection = &c->selections[i];
        if (*selection->name == '_' || !(them || name_fits(pattern, selection->name)))
            continue;
        result = name_selection(c, selection, &one);
        if (result == 0)
            result = node_add(c->r->s, some, one);
    }
    if (result == 0 && !some->len)
        return reader_refuse(c->r, c->node, "condition: no selection is named '%s'", pattern);
    *out = some;
    return result;
}

/* --- the grammar ------------------------------------------------------------------------------ */

static int read_name(struct condition *c, struct node **out)
{
    char word[WORD_MAX], next[WORD_MAX];
    const char *begin, *end = peek(c, word);
    bool all = !strcasecmp(word, "all"), any = !strcmp(word, "1") || !strcasecmp(word, "any");
    if (!*word)
        return refuse_here(c, *c->at == '|' ? "aggregations are no longer part of Sigma: write a "
                                              "correlation"
                              : *c->at      ? "it cannot be read from here on"
                                            : "something is missing at its end");
    begin = c->at;
    c->at = end;
    const char *behind = peek(c, next);
    if (!strcasecmp(next, "of") && (all || any)) {
        c->at = behind;
        return read_some(c, all, out);
    }
    c->at = begin;
    if (!strcasecmp(next, "of"))
        return refuse_here(c, "'of' takes 1, any or all");
    if (strchr(word, '*'))
        return refuse_here(c, "'1 of' or 'all of' must stand before a name with *");
    c->at = end;
    return find(c, word, out);
}

static int read_bracket(struct condition *c, struct node **out)
{
    c->at++;
    int result = read_or(c, out);
    skip_blank(c);
    if (result < 0)
        return result;
    if (*c->at != ')')
        return refuse_here(c, "a ) is missing");
    c->at++;
    return 0;
}

static int read_not(struct condition *c, struct node **out)
{
    int negations = 0;
    while (take(c, "not"))
        negations++;
    skip_blank(c);
    int result = *c->at == '(' ? read_bracket(c, out) : read_name(c, out);
    if (result < 0 || negations % 2 == 0)
        return result;
    struct node *inner = *out;
    *out = node_new(c->r->s, NODE_NOT, c->node->line);
    return *out ? node_add(c->r->s, *out, inner) : -ENOMEM;
}

typedef int read_part(struct condition *c, struct node **out);

/* Parts that this word joins; a single one stands for itself. */
static int read_joined(struct condition *c, enum node_kind kind, const char *word, read_part *part,
                       struct node **out)
{
    struct node *joined = NULL, *one;
    int result = part(c, out);
    while (result == 0 && take(c, word)) {
        if (!joined) {
            joined = node_new(c->r->s, kind, c->node->line);
            result = joined ? node_add(c->r->s, joined, *out) : -ENOMEM;
            *out = joined;
        }
        if (result == 0)
            result = part(c, &one);
        if (result == 0)
            result = node_add(c->r->s, joined, one);
    }
    return result;
}

static int read_and(struct condition *c, struct node **out)
{
    return read_joined(c, NODE_AND, "and", read_not, out);
}

static int read_or(struct condition *c, struct node **out)
{
    if (++c->depth > NODE_DEPTH_MAX / 4)
        return refuse_here(c, "the brackets are too deep in each other");
    int result = read_joined(c, NODE_OR, "or", read_and, out);
    c->depth--;
    return result;
}

int condition_read(struct reader *r, const struct yaml_node *text, struct selection *selections,
                   size_t selections_len, struct node **out)
{
    struct condition c = { .r = r, .node = text, .selections = selections };
    c.selections_len = selections_len;
    if (text->kind != YAML_SCALAR)
        return reader_refuse(r, text, "a condition must be a text");
    if (text->len > CONDITION_MAX || strlen(text->text) != text->len)
        return reader_refuse(r, text, "the condition is longer than %d bytes", CONDITION_MAX);
    c.at = text->text;
    int result = read_or(&c, out);
    skip_blank(&c);
    if (result == 0 && *c.at)
        result = refuse_here(&c, *c.at == '|' ? "aggregations are no longer part of Sigma: write a "
                                                "correlation"
                                              : "it cannot be read from here on");
    return result;
}
