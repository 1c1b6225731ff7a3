/* correlate.c - rules about several events: so many of them, so many values, one after another. See
 * set.h.
 *
 * What is gathered is kept for each group of events that have the same values under `group-by`, in
 * bounded memory: who was not heard of for longest goes first, and is counted. Without an upper
 * bound a correlation fires as soon as enough has come together within its span, and begins anew.
 * With one ("fewer than"), a span begins with the first event of a group, and what was in it is
 * judged at its end. */
#include "sigma/set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS_MAX  10000
#define BYTES_MAX   ((size_t)8 << 20) /* of one correlation */
#define BUCKETS     1024
#define COUNT_MAX   100000
#define VALUES_MAX  10000
#define FIELDS_EACH 16
#define KEY_MAX     ((size_t)4096)
#define SPAN_MAX_S  (366.0 * 86400)

enum type { EVENT_COUNT, VALUE_COUNT, TEMPORAL, TEMPORAL_ORDERED, TYPES };

static const char *const type_names[TYPES] = { "event_count", "value_count", "temporal",
                                               "temporal_ordered" };

struct alias {
    const char *name, *rule, *field;
};

struct group {
    struct group *chain;         /* with the same bucket */
    struct group *older, *newer; /* by `time` */
    uint64_t hash;
    int64_t time;               /* of the first event where spans begin with it, else of the last */
    uint32_t count, first, cap; /* of: */
    struct mark {
        int64_t time;
        uint64_t value; /* VALUE_COUNT: a hash of it, so that any length will do */
    } * marks;          /* EVENT_COUNT: a ring; VALUE_COUNT: a list; TEMPORAL: one for each rule */
    uint32_t key_len;
    char key[];
};

struct correlation {
    enum type type;
    int64_t span_ns;
    uint32_t low, high; /* how many it takes; high 0: no upper bound */
    const char *fields[FIELDS_EACH], *values[FIELDS_EACH];
    size_t fields_len, values_len;
    struct alias *aliases;
    size_t aliases_len, aliases_cap;
    bool generate;
    uint64_t definition; /* a hash of all that it says */

    unsigned sources;  /* of the events that it may hear of */
    uint32_t *numbers; /* of fields: by reference, source, and place among fields and values */
    uint32_t seen;     /* stamp of the event that it was told of */

    struct group **buckets; /* owned */
    struct group *oldest, *newest;
    size_t groups_len, bytes;
    uint64_t evicted;
    char told[KEY_MAX + 64]; /* the key of the group that fired last */
    uint32_t told_len, told_count;
};

/* --- reading ---------------------------------------------------------------------------------- */

static int read_type(struct reader *r, const struct yaml_node *node, struct correlation *c)
{
    for (int type = 0; type < TYPES; type++)
        if (yaml_is(node, type_names[type])) {
            c->type = (enum type)type;
            return 0;
        }
    return reader_refuse(r, node ? node : r->document,
                         "the type of a correlation is event_count, value_count, temporal or "
                         "temporal_ordered here");
}

static int read_span(struct reader *r, const struct yaml_node *node, struct correlation *c)
{
    const char *text = yaml_scalar(node);
    char *unit;
    double count = text ? strtod(text, &unit) : 0, seconds = 0;
    if (text && *text >= '0' && *text <= '9' && strlen(unit) == 1)
        seconds = count * (*unit == 's'   ? 1
                           : *unit == 'm' ? 60
                           : *unit == 'h' ? 3600
                           : *unit == 'd' ? 86400
                           : *unit == 'w' ? 7 * 86400
                                          : 0);
    if (seconds <= 0 || seconds > SPAN_MAX_S)
        return reader_refuse(r, node ? node : r->document,
                             "the timespan of a correlation is a number and s, m, h, d or w: 10m");
    c->span_ns = (int64_t)(seconds * 1e9);
    return 0;
}

/* One name, or a list of them. */
static int read_names(struct reader *r, const struct yaml_node *node, const char **out, size_t *len)
{
    struct references names = { 0 };
    if (!node)
        return 0;
    int result = read_references(r, node, &names);
    if (result < 0)
        return result;
    if (names.len > FIELDS_EACH)
        return reader_refuse(r, node, "more than %d fields", FIELDS_EACH);
    memcpy(out, names.names, names.len * sizeof *out);
    *len = names.len;
    return 0;
}

static int read_alias(struct reader *r, const struct yaml_node *name, const struct yaml_node *map,
                      struct correlation *c)
{
    struct arena *a = &r->s->arena;
    if (map->kind != YAML_MAP)
        return reader_refuse(r, map, "an alias is a map of rule: field");
    for (size_t i = 0; i < map->len; i += 2) {
        const char *field = yaml_scalar(map->nodes[i + 1]);
        if (!field)
            return reader_refuse(r, map, "an alias is a map of rule: field");
        struct alias *more =
            arena_grow(a, c->aliases, c->aliases_len, &c->aliases_cap, 1, sizeof *more);
        if (!more)
            return -ENOMEM;
        c->aliases = more;
        struct alias *alias = &more[c->aliases_len++];
        alias->name = arena_copy(a, name->text, name->len);
        alias->rule = arena_copy(a, map->nodes[i]->text, map->nodes[i]->len);
        alias->field = arena_copy(a, field, strlen(field));
        if (!alias->name || !alias->rule || !alias->field)
            return -ENOMEM;
    }
    return 0;
}

static int read_aliases(struct reader *r, const struct yaml_node *node, struct correlation *c)
{
    if (!node)
        return 0;
    if (node->kind != YAML_MAP)
        return reader_refuse(r, node, "aliases must be a map");
    for (size_t i = 0; i < node->len; i += 2) {
        int result = read_alias(r, node->nodes[i], node->nodes[i + 1], c);
        if (result < 0)
            return result;
    }
    return 0;
}

static int read_bound(struct reader *r, const struct yaml_node *key, const struct yaml_node *value,
                      struct correlation *c)
{
    const char *text = yaml_scalar(value);
    char *end = "x";
    long number = text ? strtol(text, &end, 10) : 0;
    if (!text || !*text || *end || number < 0 || number > COUNT_MAX)
        return reader_refuse(r, value, "condition: '%s' takes a whole number up to 100,000",
                             key->text);
    uint32_t count = (uint32_t)number;
    if (yaml_is(key, "gte"))
        c->low = count;
    else if (yaml_is(key, "gt"))
        c->low = count + 1;
    else if (yaml_is(key, "lte"))
        c->high = count;
    else if (yaml_is(key, "lt"))
        c->high = count ? count - 1 : 0;
    else if (yaml_is(key, "eq"))
        c->low = c->high = count;
    else
        return reader_refuse(r, key, "condition: '%s' is none of gt, gte, lt, lte, eq, field",
                             key->text);
    if (!yaml_is(key, "gte") && !yaml_is(key, "gt") && !c->high)
        return reader_refuse(r, value, "condition: no event is nothing to hear of: the least is 1");
    return 0;
}

static int read_condition(struct reader *r, const struct yaml_node *node, struct correlation *c)
{
    bool counts = c->type == EVENT_COUNT || c->type == VALUE_COUNT;
    size_t rules = r->rule->references.len;
    if (!node && counts)
        return reader_refuse(r, r->document, "the correlation has no condition");
    if (node && node->kind != YAML_MAP)
        return reader_refuse(r, node, "the condition of a correlation must be a map here");
    for (size_t i = 0; node && i < node->len; i += 2) {
        const struct yaml_node *key = node->nodes[i], *value = node->nodes[i + 1];
        int result = yaml_is(key, "field") ? read_names(r, value, c->values, &c->values_len)
                                           : read_bound(r, key, value, c);
        if (result < 0)
            return result;
    }
    if (!c->low)
        c->low = counts ? 1 : (uint32_t)rules;
    if ((c->high && c->high < c->low) || (c->type == VALUE_COUNT && c->low > VALUES_MAX))
        return reader_refuse(r, node, "condition: so many there will never be");
    if (!counts && (c->high || c->low > rules || (c->type == TEMPORAL_ORDERED && c->low != rules)))
        return reader_refuse(r, node, "condition: %s wants %s", type_names[c->type],
                             c->type == TEMPORAL ? "gte and at most as many as there are rules"
                                                 : "all of its rules");
    if ((c->type == VALUE_COUNT) != (c->values_len > 0))
        return reader_refuse(r, node, "condition: value_count has a field, the others have none");
    return 0;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u; /* FNV-1a */
    return (hash ^ 0x100) * 0x100000001b3u;
}

#define HASH_START 0xcbf29ce484222325u

static uint64_t hash_tree(uint64_t hash, const struct yaml_node *node)
{
    if (node->kind == YAML_SCALAR)
        return mix(hash, node->text, node->len);
    for (size_t i = 0; i < node->len; i++)
        hash = hash_tree(hash, node->nodes[i]);
    return mix(hash, &node->len, sizeof node->len);
}

static int read_rules(struct reader *r, const struct yaml_node *node)
{
    if (!node || (node->kind == YAML_LIST && !node->len))
        return reader_refuse(r, r->document, "the correlation names no rules");
    return read_references(r, node, &r->rule->references);
}

int correlation_read(struct reader *r, const struct yaml_node *from)
{
    struct correlation *c = memory_get(&r->s->options.memory, sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct correlation){ .definition = hash_tree(HASH_START, from) };
    r->rule->correlation = c;
    const struct yaml_node *generate = yaml_get(from, "generate");
    c->generate = yaml_is(generate, "true");
    int result = from->kind != YAML_MAP ? reader_refuse(r, from, "a correlation must be a map") : 0;
    if (result == 0)
        result = read_type(r, yaml_get(from, "type"), c);
    if (result == 0)
        result = read_rules(r, yaml_get(from, "rules"));
    if (result == 0)
        result = read_span(r, yaml_get(from, "timespan"), c);
    if (result == 0)
        result = read_names(r, yaml_get(from, "group-by"), c->fields, &c->fields_len);
    if (result == 0)
        result = read_aliases(r, yaml_get(from, "aliases"), c);
    if (result == 0)
        result = read_condition(r, yaml_get(from, "condition"), c);
    if (result < 0) {
        correlation_free(r->s, c);
        r->rule->correlation = NULL;
    }
    return result;
}

/* --- joining ---------------------------------------------------------------------------------- */

static void refuse(struct sigma *s, const struct rule *rule, const char *format, const char *with)
{
    struct reader r = { .s = s, .path = rule->about.path, .rule = (struct rule *)rule };
    struct yaml_node at = { .line = rule->about.line, .column = rule->column };
    char text[512];
    snprintf(text, sizeof text, "%s%s", format, with);
    reader_say(&r, SIGMA_REFUSED, &at, "%s", text);
}

static uint32_t number_of(const struct sigma *s, const char *name)
{
    for (size_t i = 0; i < s->rules_len; i++) {
        const struct sigma_rule *about = &s->rules[i]->about;
        if (!strcmp(about->id, name) || (*about->name && !strcmp(about->name, name)))
            return (uint32_t)i;
    }
    return NONE;
}

/* Take it out of the set; what others think to know by number is found out anew. */
static void drop(struct sigma *s, size_t at)
{
    correlation_free(s, s->rules[at]->correlation);
    s->rules[at]->correlation = NULL;
    memmove(s->rules + at, s->rules + at + 1, (s->rules_len - at - 1) * sizeof(struct rule *));
    s->rules_len--;
}

/* Once one goes, those that need it go, too. */
static bool drop_lost(struct sigma *s)
{
    for (size_t i = 0; i < s->rules_len; i++) {
        struct references *of = &s->rules[i]->references;
        for (size_t n = 0; s->rules[i]->correlation && n < of->len; n++) {
            of->rules[n] = number_of(s, of->names[n]);
            if (of->rules[n] != NONE)
                continue;
            refuse(s, s->rules[i], "there is no rule that it could be about: ", of->names[n]);
            drop(s, i);
            return true;
        }
    }
    return false;
}

/* Lower ones first: again and again those of which all that they need has a place. What is left in
 * the end needs itself. */
static int put_in_order(struct sigma *s)
{
    size_t correlations = 0;
    for (size_t i = 0; i < s->rules_len; i++)
        correlations += s->rules[i]->correlation != NULL;
    s->correlations = arena_get(&s->arena, (correlations + 1) * sizeof *s->correlations);
    if (!s->correlations)
        return -ENOMEM;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < s->rules_len; i++) {
            struct rule *rule = s->rules[i];
            bool ready = rule->correlation && !rule->seen;
            for (size_t n = 0; ready && n < rule->references.len; n++) {
                const struct rule *below = s->rules[rule->references.rules[n]];
                ready = !below->correlation || below->seen;
            }
            if (!ready)
                continue;
            rule->seen = 1;
            s->correlations[s->correlations_len++] = i;
            more = true;
        }
    }
    return 0;
}

static const char *field_for(const struct correlation *c, const struct rule *below,
                             const char *name)
{
    for (size_t i = 0; i < c->aliases_len; i++) {
        const struct alias *alias = &c->aliases[i];
        if (!strcmp(alias->name, name) &&
            (!strcmp(alias->rule, below->about.name) || !strcmp(alias->rule, below->about.id)))
            return alias->field;
    }
    return name;
}

static unsigned sources_of(const struct rule *rule)
{
    return rule->correlation ? rule->correlation->sources : 1u << rule->about.source;
}

static size_t numbers_each(const struct correlation *c)
{
    return c->fields_len + c->values_len;
}

static int find_fields(struct sigma *s, struct rule *rule)
{
    struct correlation *c = rule->correlation;
    size_t each = numbers_each(c), at = 0;
    c->numbers = arena_get(&s->arena,
                           (rule->references.len * SIGMA_SOURCES * each + 1) * sizeof *c->numbers);
    if (!c->numbers)
        return -ENOMEM;
    for (size_t n = 0; n < rule->references.len; n++) {
        const struct rule *below = s->rules[rule->references.rules[n]];
        c->sources |= sources_of(below);
        for (int source = 0; source < SIGMA_SOURCES; source++)
            for (size_t f = 0; f < each; f++, at++) {
                const char *name = f < c->fields_len ? c->fields[f] : c->values[f - c->fields_len];
                if (!(sources_of(below) >> source & 1))
                    continue;
                c->numbers[at] = set_field(s, (enum sigma_source)source, field_for(c, below, name));
                if (c->numbers[at] == NONE)
                    return -ENOMEM;
            }
    }
    while (!(c->sources >> rule->about.source & 1))
        rule->about.source++;
    return 0;
}

static int hang_below(struct sigma *s, uint32_t number)
{
    const struct rule *rule = s->rules[number];
    for (size_t n = 0; n < rule->references.len; n++) {
        struct rule *below = s->rules[rule->references.rules[n]];
        uint32_t *more = arena_grow(&s->arena, below->above, below->above_len, &below->above_cap, 1,
                                    sizeof *more);
        if (!more)
            return -ENOMEM;
        below->above = more;
        more[below->above_len++] = number;
        below->about.silent |= !rule->correlation->generate;
    }
    return 0;
}

int correlations_join(struct sigma *s)
{
    while (drop_lost(s))
        continue;
    int result = put_in_order(s);
    for (size_t i = 0; i < s->rules_len && result == 0; i++) {
        struct rule *rule = s->rules[i];
        if (!rule->correlation || rule->seen)
            continue;
        refuse(s, rule, "the correlation is about itself", "");
        drop(s, i);
        for (size_t n = 0; n < s->rules_len; n++)
            s->rules[n]->seen = 0;
        s->correlations_len = 0;
        return correlations_join(s);
    }
    for (size_t i = 0; i < s->correlations_len && result == 0; i++) {
        struct rule *rule = s->rules[s->correlations[i]];
        rule->seen = 0;
        result = find_fields(s, rule);
        if (result == 0)
            result = hang_below(s, s->correlations[i]);
    }
    return result;
}

/* --- groups ----------------------------------------------------------------------------------- */

static void unlink_group(struct correlation *c, struct group *g)
{
    *(g->older ? &g->older->newer : &c->oldest) = g->newer;
    *(g->newer ? &g->newer->older : &c->newest) = g->older;
}

static void link_newest(struct correlation *c, struct group *g)
{
    g->older = c->newest;
    g->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = g;
    c->newest = g;
}

static size_t size_of(const struct group *g)
{
    return sizeof *g + g->key_len + g->cap * sizeof *g->marks;
}

static void free_group(struct sigma *s, struct correlation *c, struct group *g)
{
    struct group **at = &c->buckets[g->hash % BUCKETS];
    while (*at != g)
        at = &(*at)->chain;
    *at = g->chain;
    unlink_group(c, g);
    c->groups_len--;
    c->bytes -= size_of(g);
    if (g->marks)
        memory_put(&s->options.memory, g->marks);
    memory_put(&s->options.memory, g);
}

static void free_groups(struct sigma *s, struct correlation *c)
{
    while (c->oldest)
        free_group(s, c, c->oldest);
    if (c->buckets)
        memory_put(&s->options.memory, c->buckets);
    c->buckets = NULL;
}

void correlation_free(struct sigma *s, struct correlation *c)
{
    if (!c)
        return;
    free_groups(s, c);
    memory_put(&s->options.memory, c);
}

static struct group *find_group(const struct correlation *c, uint64_t hash, const char *key,
                                size_t len)
{
    struct group *g = c->buckets ? c->buckets[hash % BUCKETS] : NULL;
    while (g && (g->hash != hash || g->key_len != len || memcmp(g->key, key, len)))
        g = g->chain;
    return g;
}

static void make_way(struct sigma *s, struct correlation *c, const struct group *keep)
{
    while (c->oldest && (c->groups_len > GROUPS_MAX || c->bytes > BYTES_MAX)) {
        struct group *g = c->oldest == keep ? c->oldest->newer : c->oldest;
        if (!g)
            return;
        free_group(s, c, g);
        c->evicted++;
    }
}

static struct group *new_group(struct sigma *s, struct correlation *c, uint64_t hash,
                               const char *key, size_t len)
{
    const struct memory *m = &s->options.memory;
    if (!c->buckets) {
        c->buckets = memory_get(m, BUCKETS * sizeof(struct group *));
        if (!c->buckets)
            return NULL;
        memset(c->buckets, 0, BUCKETS * sizeof(struct group *));
    }
    struct group *g = memory_get(m, sizeof *g + len);
    if (!g)
        return NULL;
    *g = (struct group){ .hash = hash, .key_len = (uint32_t)len };
    memcpy(g->key, key, len);
    g->chain = c->buckets[hash % BUCKETS];
    c->buckets[hash % BUCKETS] = g;
    link_newest(c, g);
    c->groups_len++;
    c->bytes += size_of(g);
    return g;
}

/* Room for one more; a ring comes out straightened. */
static bool widen(struct sigma *s, struct correlation *c, struct group *g, uint32_t least)
{
    uint32_t cap = g->cap ? g->cap * 2 : least > 4 ? least : 4;
    if (g->cap >= least)
        return true;
    struct mark *marks = memory_get(&s->options.memory, cap * sizeof *marks);
    if (!marks)
        return false;
    memset(marks, 0, cap * sizeof *marks);
    for (uint32_t i = 0; i < g->count; i++)
        marks[i] = g->marks[(g->first + i) % g->cap];
    if (g->marks)
        memory_put(&s->options.memory, g->marks);
    c->bytes += (cap - g->cap) * sizeof *marks;
    g->marks = marks;
    g->cap = cap;
    g->first = 0;
    return true;
}

/* --- hearing of events ------------------------------------------------------------------------ */

static bool judged_at_end(const struct correlation *c)
{
    return c->high > 0;
}

/* The values of these fields, each with its length; false: one of them is not known. */
static bool write_key(const struct sigma_event *ev, const uint32_t *numbers, size_t len,
                      struct buf *key)
{
    for (size_t i = 0; i < len; i++) {
        const struct sigma_value *value = &ev->values[numbers[i]];
        if (value->state == SIGMA_MISSING || value->state == SIGMA_UNKNOWN)
            return false;
        uint32_t value_len = value->state == SIGMA_VALUE ? (uint32_t)value->len : NONE;
        buf_add(key, &value_len, sizeof value_len);
        buf_add(key, value->text, value_len == NONE ? 0 : value->len);
    }
    return true;
}

/* So many events within the span? Those before it are forgotten. */
static uint32_t count_event(struct sigma *s, struct correlation *c, struct group *g, int64_t now)
{
    while (g->count && now - g->marks[g->first].time > c->span_ns) {
        g->first = (g->first + 1) % g->cap;
        g->count--;
    }
    if (!widen(s, c, g, g->count + 1))
        return 0;
    g->marks[(g->first + g->count++) % g->cap].time = now;
    return g->count;
}

static uint32_t count_value(struct sigma *s, struct correlation *c, struct group *g, int64_t now,
                            uint64_t value)
{
    bool known = false, ends = judged_at_end(c);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->marks[i].value == value) {
            g->marks[i].time = now;
            known = true;
        }
        if (ends || now - g->marks[i].time <= c->span_ns)
            g->marks[kept++] = g->marks[i];
    }
    g->count = kept;
    if (known || (ends && g->count > c->high)) /* it is too many already */
        return g->count;
    if (!widen(s, c, g, g->count + 1))
        return 0;
    g->marks[g->count++] = (struct mark){ now, value };
    return g->count;
}

static uint32_t count_rules(const struct sigma *s, const struct rule *rule, struct group *g,
                            int64_t now)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < rule->references.len; i++) {
        struct mark *mark = &g->marks[i];
        if (s->rules[rule->references.rules[i]]->held == s->stamp)
            *mark = (struct mark){ now, 1 };
        n += mark->value && now - mark->time <= rule->correlation->span_ns;
    }
    return n;
}

/* When did the steps up to each rule begin, at the latest? From the last on, for one event is one
 * step. */
static uint32_t follow_steps(const struct sigma *s, const struct rule *rule, struct group *g,
                             int64_t now)
{
    uint32_t len = (uint32_t)rule->references.len;
    int64_t span_ns = rule->correlation->span_ns;
    for (uint32_t i = len; i-- > 0;) {
        if (s->rules[rule->references.rules[i]]->held != s->stamp)
            continue;
        const struct mark *before = i ? &g->marks[i - 1] : NULL;
        if (!before)
            g->marks[i] = (struct mark){ now, 1 };
        else if (before->value && now - before->time <= span_ns)
            g->marks[i] = *before;
    }
    const struct mark *last = &g->marks[len - 1];
    return last->value && now - last->time <= span_ns ? len : 0;
}

static void remember(struct correlation *c, const struct group *g, uint32_t count)
{
    c->told_len = g->key_len < sizeof c->told ? g->key_len : (uint32_t)sizeof c->told;
    memcpy(c->told, g->key, c->told_len);
    c->told_count = count;
}

void correlation_wake(struct sigma *s, uint32_t number)
{
    s->rules[number]->correlation->seen = s->stamp;
}

static void fire(struct sigma *s, uint32_t number)
{
    struct rule *rule = s->rules[number];
    rule->held = s->stamp;
    rule->about.fired++;
    if (!rule->about.silent)
        s->fired[s->fired_len++] = number;
    for (size_t i = 0; i < rule->above_len; i++)
        correlation_wake(s, rule->above[i]);
}

/* A span that began long enough ago is judged, and gone. */
static void judge_oldest(struct sigma *s, uint32_t number, int64_t now)
{
    struct correlation *c = s->rules[number]->correlation;
    bool once = false;
    while (c->oldest && now - c->oldest->time > c->span_ns && !once) {
        struct group *g = c->oldest;
        if (judged_at_end(c) && g->count >= c->low && g->count <= c->high) {
            remember(c, g, g->count);
            fire(s, number);
            once = true; /* the next one in the next round: a rule fires once */
        }
        free_group(s, c, g);
    }
}

static uint32_t count(struct sigma *s, struct rule *rule, struct group *g, int64_t now,
                      uint64_t value)
{
    struct correlation *c = rule->correlation;
    switch (c->type) {
    case EVENT_COUNT:
        if (judged_at_end(c))
            return g->count += g->count <= c->high;
        return count_event(s, c, g, now);
    case VALUE_COUNT:
        return count_value(s, c, g, now, value);
    case TEMPORAL:
    case TEMPORAL_ORDERED:
        if (!widen(s, c, g, (uint32_t)rule->references.len))
            return 0;
        return c->type == TEMPORAL ? count_rules(s, rule, g, now) : follow_steps(s, rule, g, now);
    default:
        return 0;
    }
}

/* One of its rules fired: count it in its group. */
static int hear(struct sigma *s, uint32_t number, size_t reference, const struct sigma_event *ev,
                struct buf *key)
{
    struct rule *rule = s->rules[number];
    struct correlation *c = rule->correlation;
    size_t each = numbers_each(c);
    const struct rule *below = s->rules[rule->references.rules[reference]];
    const uint32_t *numbers = c->numbers + (reference * SIGMA_SOURCES + below->held_source) * each;
    uint64_t value = 0;
    buf_clear(key);
    bool known = write_key(ev, numbers + c->fields_len, c->values_len, key);
    if (c->values_len)
        value = mix(HASH_START, key->data, key->len);
    buf_clear(key);
    if (!known || !write_key(ev, numbers, c->fields_len, key)) {
        rule->about.undecided++;
        return 0;
    }
    size_t len = key->len < KEY_MAX ? key->len : KEY_MAX;
    uint64_t hash = mix(HASH_START, key->data, key->len);
    if (key->failed)
        return -ENOMEM;
    struct group *g = find_group(c, hash, key->data ? key->data : "", len);
    bool fresh = !g;
    if (!g && !(g = new_group(s, c, hash, key->data ? key->data : "", len)))
        return -ENOMEM;
    if (fresh || !judged_at_end(c)) {
        g->time = ev->time_ns;
        unlink_group(c, g);
        link_newest(c, g);
    }
    uint32_t n = count(s, rule, g, ev->time_ns, value);
    if (!judged_at_end(c) && n >= c->low) {
        remember(c, g, n);
        fire(s, number);
        free_group(s, c, g);
        return 1;
    }
    make_way(s, c, g);
    return 0;
}

/* Events of several rules at once are one for those that count rules. */
static int hear_all(struct sigma *s, uint32_t number, const struct sigma_event *ev, struct buf *key)
{
    const struct rule *rule = s->rules[number];
    bool rules = rule->correlation->type == TEMPORAL || rule->correlation->type == TEMPORAL_ORDERED;
    s->rules[number]->about.asked++;
    for (size_t i = 0; i < rule->references.len; i++) {
        struct rule *below = s->rules[rule->references.rules[i]];
        if (below->held != s->stamp)
            continue;
        s->rules[number]->held_source = below->held_source;
        int result = hear(s, number, i, ev, key);
        if (result)
            return result < 0 ? result : 0;
        if (rules)
            return 0;
    }
    return 0;
}

int correlations_hear(struct sigma *s, const struct sigma_event *ev)
{
    struct buf key = { 0 };
    int result = 0;
    for (size_t i = 0; i < s->correlations_len && result == 0; i++) {
        uint32_t number = s->correlations[i];
        judge_oldest(s, number, ev->time_ns);
        if (s->rules[number]->correlation->seen == s->stamp && s->rules[number]->held != s->stamp)
            result = hear_all(s, number, ev, &key);
    }
    buf_free(&key);
    return result;
}

int sigma_pass(struct sigma *s, int64_t time_ns)
{
    stamp_next(s);
    s->fired_len = 0;
    for (size_t i = 0; i < s->correlations_len; i++)
        judge_oldest(s, s->correlations[i], time_ns);
    return (int)s->fired_len;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void describe_bound(const struct correlation *c, char text[96])
{
    double seconds = (double)c->span_ns / 1e9;
    if (c->high && c->high != c->low)
        snprintf(text, 96, "%u to %u within %g s", c->low, c->high, seconds);
    else
        snprintf(text, 96, "%u%s within %g s", c->low, c->high ? "" : " or more", seconds);
}

void correlation_reasons(const struct rule *rule, sigma_matched *matched, void *ctx)
{
    const struct correlation *c = rule->correlation;
    char wanted[96], count[32];
    describe_bound(c, wanted);
    snprintf(count, sizeof count, "%u", c->told_count);
    matched(ctx, &(struct sigma_reason){ .selection = "correlation",
                                         .item = type_names[c->type],
                                         .value = wanted,
                                         .found = count,
                                         .found_len = strlen(count) });
    uint32_t at = 0, len;
    for (size_t i = 0; i < c->fields_len && at + sizeof len <= c->told_len; i++) {
        memcpy(&len, c->told + at, sizeof len);
        at += sizeof len;
        if (len == NONE)
            continue;
        uint32_t there = c->told_len - at < len ? c->told_len - at : len;
        matched(ctx, &(struct sigma_reason){ .selection = "group-by",
                                             .item = c->fields[i],
                                             .value = "",
                                             .found = c->told + at,
                                             .found_len = there });
        at += there;
    }
}

/* --- from one set to the next ----------------------------------------------------------------- */

static uint64_t definition_of(const struct sigma *s, const struct rule *rule)
{
    uint64_t hash = rule->correlation->definition;
    for (size_t i = 0; i < rule->references.len; i++) {
        const char *id = s->rules[rule->references.rules[i]]->about.id;
        hash = mix(hash, id, strlen(id));
    }
    return hash;
}

static void take_groups(struct correlation *to, struct correlation *from)
{
    to->buckets = from->buckets;
    to->oldest = from->oldest;
    to->newest = from->newest;
    to->groups_len = from->groups_len;
    to->bytes = from->bytes;
    from->buckets = NULL;
    from->oldest = from->newest = NULL;
    from->groups_len = from->bytes = 0;
}

void sigma_take_over(struct sigma *s, struct sigma *before)
{
    for (size_t i = 0; i < s->rules_len; i++) {
        struct sigma_rule *about = &s->rules[i]->about;
        uint32_t old = number_of(before, about->id);
        if (old == NONE)
            continue;
        struct rule *other = before->rules[old];
        about->fired = other->about.fired;
        about->undecided = other->about.undecided;
        if (!about->correlation || !other->about.correlation)
            continue;
        about->asked = other->about.asked;
        if (definition_of(s, s->rules[i]) == definition_of(before, other))
            take_groups(s->rules[i]->correlation, other->correlation);
    }
    memcpy(s->asked, before->asked, sizeof s->asked);
}
