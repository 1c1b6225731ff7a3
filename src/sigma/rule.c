/* rule.c - a document becomes a rule, a filter or a correlation, or is refused. See set.h. */
#include "sigma/set.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONDITIONS_MAX 100
#define TAGS_MAX       64

/* --- what is said of it ----------------------------------------------------------------------- */

static void tell(struct reader *r, enum sigma_remark_kind kind, const char *text)
{
    struct sigma_remark remark = { .kind = kind,
                                   .path = r->path,
                                   .line = r->line,
                                   .column = r->column,
                                   .title =
                                       r->rule && r->rule->about.title ? r->rule->about.title : "",
                                   .text = text };
    if (r->s->options.remarked)
        r->s->options.remarked(r->s->options.ctx, &remark);
}

__attribute__((format(printf, 3, 0))) static void
write_why(struct reader *r, const struct yaml_node *at, const char *format, va_list args)
{
    r->line = at ? at->line : 1;
    r->column = at ? at->column : 1;
    vsnprintf(r->why, sizeof r->why, format, args);
}

int reader_refuse(struct reader *r, const struct yaml_node *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_why(r, at, format, args);
    va_end(args);
    return -EINVAL;
}

void reader_say(struct reader *r, enum sigma_remark_kind kind, const struct yaml_node *at,
                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_why(r, at, format, args);
    va_end(args);
    tell(r, kind, r->why);
}

/* --- nodes ------------------------------------------------------------------------------------ */

struct node *node_new(struct sigma *s, enum node_kind kind, int line)
{
    struct node *node = arena_get(&s->arena, sizeof *node);
    if (node)
        *node = (struct node){ .kind = (uint8_t)kind,
                               .line = line,
                               .depth = 1,
                               .weight = 1,
                               .cost = -1,
                               .number = s->nodes_len++ };
    return node;
}

int node_add(struct sigma *s, struct node *to, struct node *child)
{
    if (to->kind == NODE_NOT || to->kind == NODE_NAME) {
        to->nodes = arena_get(&s->arena, sizeof(struct node *));
        to->cap = 1;
    }
    size_t cap = to->cap;
    struct node **more = to->nodes || !cap ? arena_grow(&s->arena, to->nodes, to->len, &cap, 1,
                                                        sizeof(struct node *))
                                           : NULL;
    if (!more)
        return -ENOMEM;
    to->nodes = more;
    to->cap = (uint32_t)cap;
    more[to->len++] = child;
    if (to->depth <= child->depth)
        to->depth = (uint16_t)(child->depth + 1);
    to->weight += child->weight;
    return to->depth > NODE_DEPTH_MAX || to->weight > NODE_WEIGHT_MAX ? -EINVAL : 0;
}

/* --- selections ------------------------------------------------------------------------------- */

static int read_selection(struct reader *r, const struct yaml_node *from, struct node **out);

static int read_map(struct reader *r, const struct yaml_node *map, struct node **out)
{
    struct node *all, *one;
    if (!map->len)
        return reader_refuse(r, map, "the selection is empty");
    if (map->len == 2)
        return value_read(r, map->nodes[0], map->nodes[1], r->rule->about.source, out);
    all = node_new(r->s, NODE_AND, map->line);
    int result = all ? 0 : -ENOMEM;
    for (size_t i = 0; i < map->len && result == 0; i += 2) {
        result = value_read(r, map->nodes[i], map->nodes[i + 1], r->rule->about.source, &one);
        if (result == 0)
            result = node_add(r->s, all, one);
    }
    *out = all;
    return result;
}

static bool all_scalars(const struct yaml_node *list)
{
    for (size_t i = 0; i < list->len; i++)
        if (list->nodes[i]->kind != YAML_SCALAR)
            return false;
    return true;
}

static int read_list(struct reader *r, const struct yaml_node *list, struct node **out)
{
    struct node *any = node_new(r->s, NODE_OR, list->line), *one;
    int result = any ? 0 : -ENOMEM;
    for (size_t i = 0; i < list->len && result == 0; i++) {
        result = read_selection(r, list->nodes[i], &one);
        if (result == 0)
            result = node_add(r->s, any, one);
    }
    *out = any;
    return result;
}

static int read_selection(struct reader *r, const struct yaml_node *from, struct node **out)
{
    if (from->kind == YAML_MAP)
        return read_map(r, from, out);
    if (from->kind == YAML_LIST && !from->len)
        return reader_refuse(r, from, "the selection is empty");
    if (from->kind == YAML_SCALAR || all_scalars(from))
        return value_read_keywords(r, from, r->rule->about.source, out);
    return read_list(r, from, out);
}

/* Everything in `detection` but its condition; `other` is a key that is none either, or NULL. */
static int read_selections(struct reader *r, const struct yaml_node *detection, const char *other)
{
    struct rule *rule = r->rule;
    rule->selections = arena_get(&r->s->arena, (detection->len / 2 + 1) * sizeof *rule->selections);
    if (!rule->selections)
        return -ENOMEM;
    for (size_t i = 0; i < detection->len; i += 2) {
        const struct yaml_node *key = detection->nodes[i], *value = detection->nodes[i + 1];
        struct selection *selection = &rule->selections[rule->selections_len];
        if (yaml_is(key, "condition") || (other && yaml_is(key, other)))
            continue;
        if (yaml_is(key, "timeframe"))
            return reader_refuse(r, key,
                                 "a timeframe in a detection is no longer part of Sigma: "
                                 "write a correlation");
        selection->name = arena_copy(&r->s->arena, key->text, key->len);
        selection->line = key->line;
        selection->column = key->column;
        if (!selection->name)
            return -ENOMEM;
        int result = read_selection(r, value, &selection->node);
        if (result < 0)
            return result;
        rule->selections_len++;
    }
    return rule->selections_len ? 0 : reader_refuse(r, detection, "there is no selection");
}

/* One, or a list of which any may hold. */
static int read_conditions(struct reader *r, const struct yaml_node *detection)
{
    const struct yaml_node *condition = yaml_get(detection, "condition");
    struct rule *rule = r->rule;
    if (!condition)
        return reader_refuse(r, detection, "there is no condition");
    if (condition->kind != YAML_LIST)
        return condition_read(r, condition, rule->selections, rule->selections_len, &rule->root);
    if (!condition->len || condition->len > CONDITIONS_MAX)
        return reader_refuse(r, condition, "a list of conditions has 1 to %d", CONDITIONS_MAX);
    rule->root = node_new(r->s, NODE_OR, condition->line);
    int result = rule->root ? 0 : -ENOMEM;
    for (size_t i = 0; i < condition->len && result == 0; i++) {
        struct node *one;
        result =
            condition_read(r, condition->nodes[i], rule->selections, rule->selections_len, &one);
        if (result == 0)
            result = node_add(r->s, rule->root, one);
    }
    return result;
}

static int read_detection(struct reader *r, const struct yaml_node *detection, const char *other)
{
    if (detection->kind != YAML_MAP)
        return reader_refuse(r, detection, "the detection must be a map");
    int result = read_selections(r, detection, other);
    return result < 0 ? result : read_conditions(r, detection);
}

/* --- what it is about ------------------------------------------------------------------------- */

static int keep_text(struct reader *r, const struct yaml_node *node, const char **out)
{
    *out = node ? arena_copy(&r->s->arena, node->text, node->len) : "";
    return *out ? 0 : -ENOMEM;
}

/* A text, or a list of them as one. */
static int read_text(struct reader *r, const char *key, const char **out)
{
    const struct yaml_node *node = yaml_get(r->document, key);
    struct buf joined = { 0 };
    if (!node || node->kind == YAML_SCALAR)
        return keep_text(r, node, out);
    if (node->kind == YAML_MAP || !all_scalars(node))
        return reader_refuse(r, node, "%s must be a text", key);
    for (size_t i = 0; i < node->len; i++)
        buf_printf(&joined, "%s%s", i ? ", " : "", node->nodes[i]->text);
    *out = arena_copy(&r->s->arena, buf_str(&joined), joined.len);
    int result = *out && !joined.failed ? 0 : -ENOMEM;
    buf_free(&joined);
    return result;
}

const char *sigma_level_name(enum sigma_level level)
{
    static const char *const levels[SIGMA_LEVELS] = { "informational", "low", "medium", "high",
                                                      "critical" };
    return levels[level];
}

static int read_level(struct reader *r)
{
    const struct yaml_node *node = yaml_get(r->document, "level");
    r->rule->about.level = SIGMA_MEDIUM;
    if (!node)
        return 0;
    for (int level = 0; level < SIGMA_LEVELS; level++)
        if (yaml_is(node, sigma_level_name((enum sigma_level)level))) {
            r->rule->about.level = (enum sigma_level)level;
            return 0;
        }
    return reader_refuse(r, node, "the level is informational, low, medium, high or critical");
}

static int read_tags(struct reader *r)
{
    const struct yaml_node *node = yaml_get(r->document, "tags");
    if (!node || (node->kind == YAML_SCALAR && !node->len))
        return 0;
    if (node->kind != YAML_LIST || !all_scalars(node))
        return reader_refuse(r, node, "tags must be a list of texts");
    if (node->len > TAGS_MAX)
        return reader_refuse(r, node, "more than %d tags", TAGS_MAX);
    const char **tags = arena_get(&r->s->arena, (node->len + 1) * sizeof *tags);
    if (!tags)
        return -ENOMEM;
    r->rule->about.tags = tags;
    for (size_t i = 0; i < node->len; i++) {
        int result = keep_text(r, node->nodes[i], &tags[i]);
        if (result < 0)
            return result;
        r->rule->about.tags_len++;
    }
    return 0;
}

static int read_about(struct reader *r)
{
    struct sigma_rule *about = &r->rule->about;
    const struct {
        const char *key, **to;
    } texts[] = {
        { "title", &about->title },   { "id", &about->id },         { "name", &about->name },
        { "author", &about->author }, { "status", &about->status },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int result = read_text(r, texts[i].key, texts[i].to);
        if (result < 0)
            return result;
    }
    int result = read_level(r);
    return result < 0 ? result : read_tags(r);
}

/* What has no title is called by its id, what has no id by its title, and both by the file. */
static int name_it(struct reader *r)
{
    struct sigma_rule *about = &r->rule->about;
    char name[512];
    const char *slash = strrchr(r->path, '/');
    if (!*about->id && !*about->title) {
        snprintf(name, sizeof name, "%s:%d", slash ? slash + 1 : r->path, about->line);
        about->id = arena_copy(&r->s->arena, name, strlen(name));
    }
    if (!about->id)
        return -ENOMEM;
    if (!*about->title)
        about->title = about->id;
    if (!*about->id)
        about->id = about->title;
    return 0;
}

static int read_logsource(struct reader *r)
{
    const struct yaml_node *node = yaml_get(r->document, "logsource");
    struct logsource *source = &r->rule->logsource;
    const struct {
        const char *key, **to;
    } parts[] = {
        { "product", &source->product },
        { "category", &source->category },
        { "service", &source->service },
    };
    if (!node || node->kind != YAML_MAP)
        return reader_refuse(r, node ? node : r->document, "there is no logsource");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const struct yaml_node *part = yaml_get(node, parts[i].key);
        if (part && part->kind != YAML_SCALAR)
            return reader_refuse(r, part, "%s must be a text", parts[i].key);
        if (part && part->len && keep_text(r, part, parts[i].to) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool is(const char *text, const char *other)
{
    return text && !strcmp(text, other);
}

/* Is it about records that we have? */
static bool find_source(struct rule *rule)
{
    const struct logsource *of = &rule->logsource;
    bool ours = !of->product || is(of->product, "linux");
    if (ours && is(of->category, "process_creation") && !of->service)
        rule->about.source = SIGMA_PROCESS;
    else if (ours && is(of->service, "auditd") && !of->category)
        rule->about.source = SIGMA_AUDITD;
    else
        return false;
    return true;
}

static int skip(struct reader *r)
{
    const struct logsource *of = &r->rule->logsource;
    const char *const parts[] = { of->product, of->category, of->service };
    char text[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < 3; i++)
        if (parts[i] && len < sizeof text)
            len +=
                (size_t)snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "", parts[i]);
    reader_say(r, SIGMA_SKIPPED, yaml_get(r->document, "logsource"), "%s",
               *text ? text : "no log source");
    return 0;
}

/* --- documents -------------------------------------------------------------------------------- */

int read_references(struct reader *r, const struct yaml_node *node, struct references *out)
{
    struct yaml_node *const single[] = { (struct yaml_node *)node };
    struct yaml_node *const *names = node->kind == YAML_LIST ? node->nodes : single;
    size_t len = node->kind == YAML_LIST ? node->len : 1;
    if (node->kind == YAML_MAP || (node->kind == YAML_LIST && !all_scalars(node)))
        return reader_refuse(r, node, "rules must be ids or names of rules");
    if (len > 1000)
        return reader_refuse(r, node, "more than 1,000 rules");
    out->names = arena_get(&r->s->arena, (len + 1) * sizeof *out->names);
    out->rules = arena_get(&r->s->arena, (len + 1) * sizeof *out->rules);
    if (!out->names || !out->rules)
        return -ENOMEM;
    for (; out->len < len; out->len++)
        if (keep_text(r, names[out->len], &out->names[out->len]) < 0)
            return -ENOMEM;
    return 0;
}

static int read_filter(struct reader *r, const struct yaml_node *filter)
{
    const struct yaml_node *rules = yaml_get(filter, "rules");
    struct references *references = &r->rule->references;
    if (!rules)
        return reader_refuse(r, filter,
                             "the filter does not say which rules it is for: rules: any, "
                             "or ids");
    references->all =
        (rules->kind == YAML_LIST && !rules->len) || yaml_is(rules, "any") || yaml_is(rules, "all");
    int result = references->all ? 0 : read_references(r, rules, references);
    return result < 0 ? result : read_detection(r, filter, "rules");
}

static int add(struct sigma *s, struct rule ***list, size_t *len, size_t *cap, struct rule *rule)
{
    struct rule **more = arena_grow(&s->arena, *list, *len, cap, 1, sizeof(struct rule *));
    if (!more)
        return -ENOMEM;
    *list = more;
    more[(*len)++] = rule;
    return 0;
}

static int read_body(struct reader *r)
{
    struct sigma *s = r->s;
    const struct yaml_node *filter = yaml_get(r->document, "filter");
    const struct yaml_node *correlation = yaml_get(r->document, "correlation");
    const struct yaml_node *detection = yaml_get(r->document, "detection");
    struct rule *rule = r->rule;
    if (correlation) {
        rule->document = DOCUMENT_CORRELATION;
        rule->about.correlation = true;
        int result = correlation_read(r, correlation);
        return result < 0 ? result : add(s, &s->rules, &s->rules_len, &s->rules_cap, rule);
    }
    int result = read_logsource(r);
    if (result < 0)
        return result;
    if (!find_source(rule))
        return skip(r);
    if (filter) {
        rule->document = DOCUMENT_FILTER;
        result = read_filter(r, filter);
        return result < 0 ? result : add(s, &s->filters, &s->filters_len, &s->filters_cap, rule);
    }
    if (!detection)
        return reader_refuse(r, r->document, "there is no detection");
    result = read_detection(r, detection, NULL);
    return result < 0 ? result : add(s, &s->rules, &s->rules_len, &s->rules_cap, rule);
}

static int read_document(struct reader *r)
{
    const struct yaml_node *action = yaml_get(r->document, "action");
    if (r->document->kind != YAML_MAP)
        return reader_refuse(r, r->document, "a rule must be a map");
    if (action)
        return reader_refuse(r, action, "action: is no longer part of Sigma");
    int result = read_about(r);
    if (result == 0)
        result = name_it(r);
    if (result == 0 && !strcmp(r->rule->about.status, "unsupported"))
        return reader_refuse(r, yaml_get(r->document, "status"), "its status is unsupported");
    return result < 0 ? result : read_body(r);
}

int rule_read(struct sigma *s, const char *path, const struct yaml_node *document)
{
    struct reader r = { .s = s, .path = path, .document = document };
    r.rule = arena_get(&s->arena, sizeof *r.rule);
    if (!r.rule)
        return -ENOMEM;
    r.rule->about.path = path;
    r.rule->about.line = document->line;
    r.rule->column = document->column;
    int result = read_document(&r);
    if (result == -EINVAL && !*r.why)
        reader_refuse(&r, document,
                      "it is too large, or its lists, maps and brackets too deep in each other");
    if (result == -EINVAL)
        tell(&r, SIGMA_REFUSED, r.why);
    return result == -EINVAL ? 0 : result;
}
