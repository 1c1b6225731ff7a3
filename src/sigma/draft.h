/* draft.h - values of a rule while modifiers are being applied to them: between value.c, which does
 * that, and item.c, which makes tests of them. Private to these two. */
#ifndef SIGMA_DRAFT_H
#define SIGMA_DRAFT_H

#include "sigma/set.h"

enum draft_kind { DRAFT_TEXT, DRAFT_NULL, DRAFT_REGEX, DRAFT_FIELD, DRAFT_CIDR, DRAFT_EXISTS };

/* One value while it is being modified. */
struct draft {
    enum draft_kind kind;
    const struct yaml_node *node;
    const char *written;      /* in the set's memory, once tests are made of it */
    struct pattern *patterns; /* TEXT: any of them */
    size_t len, cap;
    enum aho_place place; /* FIELD, REGEX: where contains and its like want it */
};

/* All of them, and what concerns them together. */
struct drafts {
    struct reader *r;
    const struct yaml_node *key; /* NULL: keywords */
    const char *label;           /* the same in the set's memory */
    const char *modifier;        /* that is being applied */
    const char *applied;         /* before it; NULL: none */
    bool keyword, all, negated, cased;
    bool anchored;  /* contains, startswith or endswith came */
    uint32_t flags; /* of regular expressions */
    int compare;    /* enum compare; -1: it is none */
    enum time_part part;
    struct draft *list;
    size_t len;
};

/* A node of these drafts on this field: any of them, or each with `all`. 0, -EINVAL, -ENOMEM. */
int item_make(struct drafts *d, uint32_t field, struct node **out);

#endif
