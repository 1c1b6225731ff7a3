/* set.h - what the files of sigma/ share: the insides of a set of rules.
 *
 * Private to this folder. A rule is a tree: its condition above, named selections in it, and items
 * at its leaves, each a field and the tests that its value must pass one of. A text that a test
 * looks for is a literal; all literals of a field are found in one pass over its value. */
#ifndef SIGMA_SET_H
#define SIGMA_SET_H

#include "base/address.h"
#include "sigma/aho.h"
#include "sigma/pattern.h"
#include "sigma/sigma.h"
#include "sigma/yaml.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define NONE UINT32_MAX

#define FIELDS_MAX      1000
#define TESTS_MAX       50000 /* of one item, once everything in it is expanded */
#define CONDITION_MAX   10000 /* bytes of a condition */
#define NODE_DEPTH_MAX  200   /* of a tree */
#define NODE_WEIGHT_MAX 300000

enum test_kind {
    TEST_TEXT,   /* its literal was found: that is all */
    TEST_GLOB,   /* pattern, where the literal allows */
    TEST_REGEX,  /* the same */
    TEST_ANY,    /* any value */
    TEST_NUMBER, /* op number */
    TEST_TIME,   /* a part of a time, op number */
    TEST_CIDR,
    TEST_FIELD, /* what another field has; place */
    TEST_NULL,
    TEST_EXISTS, /* wanted */
};

enum compare { COMPARE_EQ, COMPARE_LT, COMPARE_LTE, COMPARE_GT, COMPARE_GTE };
enum time_part { PART_NONE, PART_MINUTE, PART_HOUR, PART_DAY, PART_WEEK, PART_MONTH, PART_YEAR };

struct regex {
    struct regex *next;
    pcre2_code *code; /* owned */
};

struct test {
    uint8_t kind, op, part, place; /* enums test_kind, compare, time_part, aho_place */
    bool cased, wanted;
    uint32_t literal;    /* without it the test does not hold; NONE: it is to be tried */
    const char *written; /* as the rule has it */
    int line, column;    /* there */
    union {
        struct pattern pattern;
        struct regex *regex;
        double number;
        struct address_range *range;
        uint32_t field;
    };
};

/* One key of a selection and its values. The tests of literals come first. */
struct item {
    uint32_t field;
    int line, column;
    const char *label; /* "CommandLine|contains" */
    struct test *tests;
    uint32_t tests_len, texts_len;
    uint32_t group; /* stamped when one of its literals is found; NONE: too few for that */
};

enum node_kind { NODE_AND, NODE_OR, NODE_NOT, NODE_NAME, NODE_ITEM };

struct node {
    uint8_t kind; /* enum node_kind */
    bool tried;   /* something in it is costly to try */
    uint16_t depth;
    int line;
    uint32_t number; /* in the order in which they were read */
    uint32_t weight; /* nodes below it, each as often as it is there */
    uint32_t len, cap;
    struct node **nodes; /* NOT and NAME: one */
    const char *name;    /* NAME: of the selection */
    struct item *item;   /* ITEM */
    double cost;         /* of finding out by literals whether it could hold; < 0: not known yet */
};

struct logsource {
    const char *product, *category, *service; /* or NULL */
};

enum document { DOCUMENT_RULE, DOCUMENT_CORRELATION, DOCUMENT_FILTER };

/* The rules that a document names; what they are is known at the end. */
struct references {
    const char **names;
    uint32_t *rules; /* their numbers, when they were found */
    size_t len;
    bool all; /* of a filter: any rule of its log source */
};

struct selection {
    const char *name;
    struct node *node;
    int line, column;
    bool used;
};

struct rule {
    struct sigma_rule about;
    enum document document;
    int column;
    struct logsource logsource;
    struct node *root; /* NULL: it is a correlation */
    struct selection *selections;
    size_t selections_len;
    struct references references;
    struct correlation *correlation; /* owned by correlate.c */
    uint32_t *above;                 /* correlations that want to know of it, by number */
    size_t above_len, above_cap;
    uint32_t seen;                 /* stamp of the event that it is a candidate of */
    uint32_t held;                 /* stamp of the event that it fired on, */
    enum sigma_source held_source; /* and what that was */
};

struct literal {
    uint32_t field;
    uint8_t place;
    const char *text; /* small letters */
    uint32_t len;
    uint32_t number;          /* from the end on: by field */
    uint32_t uses;            /* items that look for it */
    uint32_t *groups, *rules; /* to stamp, to try, when it is found */
    uint32_t groups_len, rules_len;
};

struct field {
    const char *name;
    enum sigma_source source;
    struct aho *aho;              /* owned; NULL: no literal is looked for in it */
    uint32_t first, literals_len; /* its literals */
    uint32_t *waiting;            /* rules to try when it is missing */
    size_t waiting_len, waiting_cap;
};

struct sigma {
    struct sigma_options options;
    struct arena arena; /* of nearly everything */
    struct arena trees; /* of the text that is being read */
    bool finished;

    struct rule **rules; /* those that count, by number, and after the end only these */
    size_t rules_len, rules_cap;
    struct rule **filters;
    size_t filters_len, filters_cap;
    struct field *fields;
    size_t fields_len, fields_cap;
    struct literal *literals; /* owned */
    size_t literals_len, literals_cap, states, automata_bytes;
    uint32_t *interned; /* owned until the end: literals by their text, + 1 */
    size_t interned_cap;
    uint32_t groups_len, nodes_len;
    uint32_t *literal_stamps, *group_stamps;
    uint32_t stamp;
    uint32_t *found; /* literals, in one value */

    uint32_t *always; /* rules that no literal speaks for */
    size_t always_len, always_cap;
    uint32_t *candidates, *fired;
    size_t candidates_len, fired_len;
    uint32_t *correlations; /* those that are rules, lower ones first */
    size_t correlations_len;
    uint64_t asked[SIGMA_SOURCES];

    struct regex *regexes; /* owned list */
    size_t regexes_len;
    pcre2_general_context *general; /* owned, as are the next four */
    pcre2_compile_context *compiling;
    pcre2_match_context *limits;
    pcre2_match_data *match_data;
    pcre2_jit_stack *jit_stack;
};

/* --- rule.c ----------------------------------------------------------------------------------- */

/* Whoever reads a document. */
struct reader {
    struct sigma *s;
    const char *path;
    const struct yaml_node *document;
    struct rule *rule; /* that is being made */
    int line, column;  /* of what is wrong */
    char why[512];
};

/* Remember what is wrong with the document. -EINVAL. */
int reader_refuse(struct reader *r, const struct yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reader_say(struct reader *r, enum sigma_remark_kind kind, const struct yaml_node *at,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Read one document into the set. 0, also when it was refused; -ENOMEM. */
int rule_read(struct sigma *s, const char *path, const struct yaml_node *document);

struct node *node_new(struct sigma *s, enum node_kind kind, int line);

/* The child is complete. 0; -EINVAL: it is too deep or too large; -ENOMEM. */
int node_add(struct sigma *s, struct node *to, struct node *child);

/* A list of names, or one. */
int read_references(struct reader *r, const struct yaml_node *node, struct references *out);

/* --- value.c ---------------------------------------------------------------------------------- */

/* "CommandLine|contains|all" and its values. 0, -EINVAL, -ENOMEM. */
int value_read(struct reader *r, const struct yaml_node *key, const struct yaml_node *value,
               enum sigma_source source, struct node **out);

/* Values without a key: looked for in the whole record. */
int value_read_keywords(struct reader *r, const struct yaml_node *value, enum sigma_source source,
                        struct node **out);

/* --- condition.c ------------------------------------------------------------------------------ */

/* "1 of selection_* and not filter" over these selections. 0, -EINVAL, -ENOMEM. */
int condition_read(struct reader *r, const struct yaml_node *text, struct selection *selections,
                   size_t selections_len, struct node **out);

/* --- correlate.c ------------------------------------------------------------------------------ */

int correlation_read(struct reader *r, const struct yaml_node *correlation);
void correlation_free(struct sigma *s, struct correlation *c);

/* Find the rules that correlations are about, and bring them into an order in which each comes
 * behind those. What finds nothing is refused. 0, or -ENOMEM. */
int correlations_join(struct sigma *s);

/* Rules fired on this event: ask those above them, and add what fires to s->fired. 0, or -ENOMEM.
 */
int correlations_hear(struct sigma *s, const struct sigma_event *ev);

/* A rule below this one fired on the event. */
void correlation_wake(struct sigma *s, uint32_t number);

/* The reasons of one that fired on the last event. */
void correlation_reasons(const struct rule *rule, sigma_matched *matched, void *ctx);

/* --- set.c, program.c, regex.c, match.c ------------------------------------------------------- */

/* The number of a field; NONE: no memory, or there are too many. */
uint32_t set_field(struct sigma *s, enum sigma_source source, const char *name);

/* The number of a literal, as it will be found in a field; NONE: no memory. */
uint32_t set_literal(struct sigma *s, uint32_t field, enum aho_place place,
                     const struct pattern *text);

/* Literals, automata, and which rules each literal speaks for. 0, or -ENOMEM. */
int program_build(struct sigma *s);

/* 0; -EINVAL with `why` and the byte `at`; -ENOMEM. */
int regex_new(struct sigma *s, const char *pattern, uint32_t options, struct regex **out, char *why,
              size_t cap, size_t *at);

/* A text that everything which the pattern fits contains, in whatever letters; NULL: none is known.
 */
char *regex_literal(struct arena *a, const char *pattern, size_t *len);

/* 1, 0, -EAGAIN at a limit, -ENOMEM. Sets where it was found. */
int regex_fits(struct sigma *s, const struct regex *regex, const char *text, size_t len,
               size_t *from, size_t *to);
void regex_close(struct sigma *s);

/* A new event: nothing was found in it yet. */
void stamp_next(struct sigma *s);

enum sigma_verdict verdict_of_node(struct sigma *s, const struct node *node,
                                   const struct sigma_event *ev);
enum sigma_verdict verdict_of_test(struct sigma *s, const struct test *test,
                                   const struct sigma_value *value, const struct sigma_event *ev);

#endif
