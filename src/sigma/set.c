/* set.c - a set of rules: takes texts, and makes everything ready at the end. See sigma.h. */
#include "sigma/set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

uint32_t set_field(struct sigma *s, enum sigma_source source, const char *name)
{
    for (size_t i = 0; i < s->fields_len; i++)
        if (s->fields[i].source == source && !strcmp(s->fields[i].name, name))
            return (uint32_t)i;
    struct field *more =
        s->fields_len < FIELDS_MAX
            ? arena_grow(&s->arena, s->fields, s->fields_len, &s->fields_cap, 1, sizeof *more)
            : NULL;
    char *copy = more ? arena_copy(&s->arena, name, strlen(name)) : NULL;
    if (more)
        s->fields = more;
    if (!copy)
        return NONE;
    more[s->fields_len] = (struct field){ .name = copy, .source = source };
    return (uint32_t)s->fields_len++;
}

static uint64_t hash(uint32_t field, enum aho_place place, const char *text, size_t len)
{
    uint64_t h = (0xcbf29ce484222325u ^ field) * 0x100000001b3u ^ place; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static uint32_t *slot_of(const struct sigma *s, uint32_t *slots, size_t cap,
                         const struct literal *wanted)
{
    size_t at = hash(wanted->field, wanted->place, wanted->text, wanted->len) & (cap - 1);
    for (; slots[at]; at = (at + 1) & (cap - 1)) {
        const struct literal *l = &s->literals[slots[at] - 1];
        if (l->field == wanted->field && l->place == wanted->place && l->len == wanted->len &&
            !memcmp(l->text, wanted->text, l->len))
            break;
    }
    return &slots[at];
}

static bool widen(struct sigma *s)
{
    if (s->literals_len < s->interned_cap / 2)
        return true;
    size_t cap = s->interned_cap ? s->interned_cap * 2 : 256;
    uint32_t *slots = memory_get(&s->options.memory, cap * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0, cap * sizeof *slots);
    for (size_t i = 0; i < s->literals_len; i++)
        *slot_of(s, slots, cap, &s->literals[i]) = (uint32_t)i + 1;
    if (s->interned)
        memory_put(&s->options.memory, s->interned);
    s->interned = slots;
    s->interned_cap = cap;
    return true;
}

static void forget_interned(struct sigma *s)
{
    if (s->interned)
        memory_put(&s->options.memory, s->interned);
    s->interned = NULL;
    s->interned_cap = 0;
}

/* There are many: what they grow out of is given back. */
static bool room_for_literal(struct sigma *s)
{
    const struct memory *m = &s->options.memory;
    if (s->literals_len < s->literals_cap)
        return true;
    size_t cap = s->literals_cap ? s->literals_cap * 2 : 256;
    struct literal *more = memory_get(m, cap * sizeof *more);
    if (!more)
        return false;
    if (s->literals) {
        memcpy(more, s->literals, s->literals_len * sizeof *more);
        memory_put(m, s->literals);
    }
    s->literals = more;
    s->literals_cap = cap;
    return true;
}

uint32_t set_literal(struct sigma *s, uint32_t field, enum aho_place place,
                     const struct pattern *text)
{
    char *small = pattern_bytes(&s->trees, text);
    if (!small || !widen(s))
        return NONE;
    for (size_t i = 0; i < text->len; i++)
        small[i] = (char)pattern_small((unsigned char)small[i]);
    struct literal wanted = { .field = field, .place = (uint8_t)place, .text = small };
    wanted.len = (uint32_t)text->len;
    uint32_t *slot = slot_of(s, s->interned, s->interned_cap, &wanted);
    if (!*slot) {
        wanted.text = arena_copy(&s->arena, small, text->len);
        if (!wanted.text || !room_for_literal(s))
            return NONE;
        s->literals[s->literals_len] = wanted;
        *slot = (uint32_t)++s->literals_len;
    }
    s->literals[*slot - 1].uses++;
    return *slot - 1;
}

/* --- taking texts ----------------------------------------------------------------------------- */

int sigma_new(struct sigma **out, const struct sigma_options *options)
{
    struct sigma *s = memory_get(&options->memory, sizeof *s);
    if (!s)
        return -ENOMEM;
    *s = (struct sigma){ .options = *options };
    s->arena.memory = s->trees.memory = options->memory;
    *out = s;
    return 0;
}

void sigma_free(struct sigma *s)
{
    if (!s)
        return;
    struct memory memory = s->options.memory;
    for (size_t i = 0; i < s->rules_len; i++)
        correlation_free(s, s->rules[i]->correlation);
    for (size_t i = 0; i < s->fields_len; i++)
        aho_free(s->fields[i].aho);
    forget_interned(s);
    if (s->literals)
        memory_put(&memory, s->literals);
    regex_close(s);
    arena_free(&s->trees);
    arena_free(&s->arena);
    memory_put(&memory, s);
}

static void say_unreadable(struct sigma *s, const char *path, const struct yaml_text *text)
{
    struct sigma_remark remark = { .kind = SIGMA_REFUSED,
                                   .path = path,
                                   .line = text->line,
                                   .column = text->column,
                                   .title = "",
                                   .text = text->why };
    if (s->options.remarked)
        s->options.remarked(s->options.ctx, &remark);
}

/* Behind a last "---" there is nothing. */
static bool is_empty(const struct yaml_node *document)
{
    return !document || (document->kind == YAML_SCALAR && document->plain && !document->len);
}

int sigma_add(struct sigma *s, const char *path, const char *text, size_t len)
{
    struct yaml_text yaml;
    const char *kept = arena_copy(&s->arena, path, strlen(path));
    if (!kept)
        return -ENOMEM;
    int result = yaml_read(&s->trees, text, len, &yaml);
    bool wrong = result == -EINVAL; /* from some place on: the documents before it are good */
    result = wrong ? 0 : result;
    for (size_t i = 0; i < yaml.len && result == 0; i++)
        if (!is_empty(yaml.documents[i]))
            result = rule_read(s, kept, yaml.documents[i]);
    if (wrong && result == 0)
        say_unreadable(s, kept, &yaml);
    arena_free(&s->trees);
    return result;
}

/* --- rules that mean others ------------------------------------------------------------------- */

static void say(struct sigma *s, enum sigma_remark_kind kind, const struct rule *rule,
                const char *format, const char *with)
{
    struct reader r = { .s = s, .path = rule->about.path, .rule = (struct rule *)rule };
    struct yaml_node at = { .line = rule->about.line, .column = rule->column };
    struct buf text = { 0 };
    const char *hole = strstr(format, "%s");
    buf_add(&text, format, hole ? (size_t)(hole - format) : strlen(format));
    buf_puts(&text, hole ? with : "");
    buf_puts(&text, hole ? hole + 2 : "");
    reader_say(&r, kind, &at, "%s", buf_str(&text));
    buf_free(&text);
}

static bool is_named(const struct rule *rule, const char *name)
{
    return !strcmp(rule->about.id, name) || (*rule->about.name && !strcmp(rule->about.name, name));
}

static struct rule *rule_named(const struct sigma *s, const char *name)
{
    for (size_t i = 0; i < s->rules_len; i++)
        if (is_named(s->rules[i], name))
            return s->rules[i];
    return NULL;
}

/* Two with one id could not be told apart. Sorted by id, the first that came stays. */
static int by_id(const void *a, const void *b)
{
    const struct rule *x = *(struct rule *const *)a, *y = *(struct rule *const *)b;
    int order = strcmp(x->about.id, y->about.id);
    return order ? order : (x->seen > y->seen) - (x->seen < y->seen);
}

static int by_arrival(const void *a, const void *b)
{
    const struct rule *x = *(struct rule *const *)a, *y = *(struct rule *const *)b;
    return (x->seen > y->seen) - (x->seen < y->seen);
}

static void refuse_doubles(struct sigma *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->rules_len; i++)
        s->rules[i]->seen = (uint32_t)i;
    if (s->rules_len)
        qsort(s->rules, s->rules_len, sizeof(struct rule *), by_id);
    for (size_t i = 0; i < s->rules_len; i++) {
        struct rule *rule = s->rules[i];
        if (kept && !strcmp(s->rules[kept - 1]->about.id, rule->about.id)) {
            say(s, SIGMA_REFUSED, rule, "its id is that of a rule in %s",
                s->rules[kept - 1]->about.path);
            correlation_free(s, rule->correlation);
        } else {
            s->rules[kept++] = rule;
        }
    }
    s->rules_len = kept;
    if (s->rules_len)
        qsort(s->rules, s->rules_len, sizeof(struct rule *), by_arrival);
    for (size_t i = 0; i < s->rules_len; i++)
        s->rules[i]->seen = 0;
}

/* --- filters ---------------------------------------------------------------------------------- */

static bool part_fits(const char *wanted, const char *has)
{
    return !wanted || (has && !strcmp(wanted, has));
}

static bool is_filtered(const struct rule *filter, const struct rule *rule)
{
    const struct logsource *wanted = &filter->logsource, *has = &rule->logsource;
    if (rule->document != DOCUMENT_RULE || filter->about.source != rule->about.source ||
        !part_fits(wanted->product, has->product) || !part_fits(wanted->category, has->category) ||
        !part_fits(wanted->service, has->service))
        return false;
    for (size_t i = 0; i < filter->references.len; i++)
        if (is_named(rule, filter->references.names[i]))
            return true;
    return filter->references.all;
}

/* The rule and the filter's condition. */
static int apply_filter(struct sigma *s, const struct rule *filter, struct rule *rule)
{
    struct node *both = node_new(s, NODE_AND, rule->root->line);
    struct node *name = node_new(s, NODE_NAME, filter->root->line);
    if (!both || !name)
        return -ENOMEM;
    name->name = filter->about.title;
    int result = node_add(s, name, filter->root);
    if (result == 0)
        result = node_add(s, both, rule->root);
    if (result == 0)
        result = node_add(s, both, name);
    if (result == 0)
        rule->root = both;
    if (result == -EINVAL)
        say(s, SIGMA_NOTED, rule, "the filter '%s' is not applied: it makes the rule too deep",
            filter->about.title);
    return result == -EINVAL ? 0 : result;
}

static int apply_filters(struct sigma *s)
{
    for (size_t f = 0; f < s->filters_len; f++) {
        size_t n = 0;
        for (size_t i = 0; i < s->rules_len; i++) {
            if (!is_filtered(s->filters[f], s->rules[i]))
                continue;
            int result = apply_filter(s, s->filters[f], s->rules[i]);
            if (result < 0)
                return result;
            n++;
        }
        if (!n)
            say(s, SIGMA_NOTED, s->filters[f], "the filter applies to no rule that is here", "");
    }
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

int sigma_finish(struct sigma *s)
{
    refuse_doubles(s);
    int result = apply_filters(s);
    if (result == 0)
        result = correlations_join(s);
    if (result == 0)
        result = program_build(s);
    forget_interned(s);
    s->finished = result == 0;
    return result;
}

/* --- what there is ---------------------------------------------------------------------------- */

int sigma_rules(const struct sigma *s)
{
    return (int)s->rules_len;
}

bool sigma_rule_at(const struct sigma *s, int index, struct sigma_rule *out)
{
    if (index < 0 || (size_t)index >= s->rules_len)
        return false;
    *out = s->rules[index]->about;
    if (!out->correlation)
        out->asked = s->asked[out->source];
    return true;
}

int sigma_rule_named(const struct sigma *s, const char *name)
{
    const struct rule *rule = rule_named(s, name);
    for (size_t i = 0; i < s->rules_len; i++)
        if (s->rules[i] == rule || (!rule && !strcmp(s->rules[i]->about.title, name)))
            return (int)i;
    return -1;
}

bool sigma_asks(const struct sigma *s, enum sigma_source source)
{
    for (size_t i = 0; i < s->rules_len; i++)
        if (!s->rules[i]->about.correlation && s->rules[i]->about.source == source)
            return true;
    return false;
}

int sigma_fields(const struct sigma *s)
{
    return (int)s->fields_len;
}

bool sigma_field_at(const struct sigma *s, int index, struct sigma_field *out)
{
    if (index < 0 || (size_t)index >= s->fields_len)
        return false;
    *out = (struct sigma_field){ s->fields[index].name, s->fields[index].source };
    return true;
}

struct sigma_size sigma_size(const struct sigma *s)
{
    return (struct sigma_size){ .rules = s->rules_len,
                                .literals = s->literals_len,
                                .states = s->states,
                                .regexes = s->regexes_len,
                                .bytes = s->arena.bytes + s->automata_bytes +
                                         s->literals_cap * sizeof *s->literals };
}
