/* yaml.c - reads a YAML text into trees. See yaml.h.
 *
 * libyaml tells of one event after another; a stack of the lists and maps that are open says where
 * each belongs. An alias is the node itself once more, so a tree may be small and yet unfold to
 * millions: what each node unfolds to is counted. */
#include "sigma/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    const char *name;
    struct yaml_node *node;
};

struct reading {
    struct arena *arena;
    struct yaml_text *out;
    struct yaml_node *open[YAML_DEPTH_MAX];
    size_t depth;
    struct yaml_node *root; /* of the document that is being read */
    struct anchor *anchors; /* of this document */
    size_t anchors_len, anchors_cap, documents_cap, nodes;
};

static int refuse(struct reading *r, const yaml_mark_t *at, const char *why)
{
    r->out->line = (int)at->line + 1;
    r->out->column = (int)at->column + 1;
    snprintf(r->out->why, sizeof r->out->why, "%s", why);
    return -EINVAL;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static bool expects_key(const struct yaml_node *map)
{
    return map->kind == YAML_MAP && map->len % 2 == 0;
}

static bool same_text(const struct yaml_node *a, const struct yaml_node *b)
{
    return a->len == b->len && !memcmp(a->text, b->text, a->len);
}

static const char *wrong_key(const struct yaml_node *map, const struct yaml_node *key)
{
    if (key->kind != YAML_SCALAR)
        return "a key must be a text";
    if (map->len / 2 == YAML_KEYS_MAX)
        return "a map has more than 1,000 keys";
    if (key->plain && yaml_is(key, "<<"))
        return "merge keys (<<) are not taken";
    for (size_t i = 0; i < map->len; i += 2)
        if (same_text(map->nodes[i], key))
            return "the key is there twice";
    return NULL;
}

/* Put the node where it belongs. It weighs nothing yet if it is a list or a map: who closes it
 * counts it. */
static int place(struct reading *r, struct yaml_node *node, const yaml_mark_t *at)
{
    struct yaml_node *parent = r->depth ? r->open[r->depth - 1] : NULL;
    if (!parent) {
        r->root = node;
        return 0;
    }
    const char *wrong = expects_key(parent) ? wrong_key(parent, node) : NULL;
    if (wrong)
        return refuse(r, at, wrong);
    struct yaml_node **nodes = arena_grow(r->arena, parent->nodes, parent->len, &parent->cap, 1,
                                          sizeof(struct yaml_node *));
    if (!nodes)
        return -ENOMEM;
    parent->nodes = nodes;
    nodes[parent->len++] = node;
    return 0;
}

static int remember(struct reading *r, const yaml_event_t *event, const yaml_char_t *name,
                    struct yaml_node *node)
{
    if (!name)
        return 0;
    if (r->anchors_len == YAML_NAMES_MAX)
        return refuse(r, &event->start_mark, "it names more than 250 values for aliases");
    struct anchor *more =
        arena_grow(r->arena, r->anchors, r->anchors_len, &r->anchors_cap, 1, sizeof(struct anchor));
    char *copy = arena_copy(r->arena, (const char *)name, strlen((const char *)name));
    if (!more || !copy)
        return -ENOMEM;
    r->anchors = more;
    more[r->anchors_len++] = (struct anchor){ copy, node };
    return 0;
}

static int count_node(struct reading *r, const yaml_event_t *event)
{
    return ++r->nodes > YAML_NODES_MAX
               ? refuse(r, &event->start_mark, "it holds too much: more than 200,000 values")
               : 0;
}

static int new_node(struct reading *r, const yaml_event_t *event, enum yaml_kind kind,
                    const yaml_char_t *anchor, struct yaml_node **out)
{
    struct yaml_node *node = arena_get(r->arena, sizeof *node);
    if (!node)
        return -ENOMEM;
    int result = count_node(r, event);
    if (result < 0)
        return result;
    node->kind = kind;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    node->weight = 1;
    *out = node;
    return remember(r, event, anchor, node);
}

static bool is_string_tag(const yaml_char_t *tag)
{
    return !tag || !strcmp((const char *)tag, YAML_STR_TAG) || !strcmp((const char *)tag, "!");
}

static int take_scalar(struct reading *r, const yaml_event_t *event)
{
    struct yaml_node *node;
    if (!is_string_tag(event->data.scalar.tag))
        return refuse(r, &event->start_mark, "tags are not taken");
    int result = new_node(r, event, YAML_SCALAR, event->data.scalar.anchor, &node);
    if (result < 0)
        return result;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event->data.scalar.tag;
    node->len = event->data.scalar.length;
    node->text = arena_copy(r->arena, (const char *)event->data.scalar.value, node->len);
    return node->text ? place(r, node, &event->start_mark) : -ENOMEM;
}

static int begin(struct reading *r, const yaml_event_t *event, enum yaml_kind kind,
                 const yaml_char_t *anchor, const yaml_char_t *tag)
{
    struct yaml_node *node;
    if (tag)
        return refuse(r, &event->start_mark, "tags are not taken");
    if (r->depth == YAML_DEPTH_MAX)
        return refuse(r, &event->start_mark, "lists and maps are more than 64 deep in each other");
    int result = new_node(r, event, kind, anchor, &node);
    if (result == 0)
        result = place(r, node, &event->start_mark);
    r->open[r->depth++] = node;
    return result;
}

static int finish(struct reading *r, const yaml_event_t *event)
{
    struct yaml_node *node = r->open[--r->depth];
    for (size_t i = 0; i < node->len; i++)
        node->weight += node->nodes[i]->weight;
    return node->weight > YAML_NODES_MAX
               ? refuse(r, &event->end_mark, "its aliases unfold to more than 200,000 values")
               : 0;
}

/* A node that is still open would hold itself. */
static bool is_open(const struct reading *r, const struct yaml_node *node)
{
    for (size_t i = 0; i < r->depth; i++)
        if (r->open[i] == node)
            return true;
    return false;
}

static int take_alias(struct reading *r, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    int result = count_node(r, event);
    if (result < 0)
        return result;
    for (size_t i = r->anchors_len; i-- > 0;)
        if (!strcmp(r->anchors[i].name, name))
            return is_open(r, r->anchors[i].node)
                       ? refuse(r, &event->start_mark, "the alias stands for what it is in")
                       : place(r, r->anchors[i].node, &event->start_mark);
    return refuse(r, &event->start_mark, "nothing has the name of this alias");
}

static int add_document(struct reading *r)
{
    struct yaml_text *out = r->out;
    struct yaml_node **more = arena_grow(r->arena, out->documents, out->len, &r->documents_cap, 1,
                                         sizeof(struct yaml_node *));
    if (!more)
        return -ENOMEM;
    out->documents = more;
    more[out->len++] = r->root;
    r->root = NULL;
    r->anchors_len = 0;
    r->nodes = 0;
    return 0;
}

/* --- events ---------------------------------------------------------------------------------- */

static int take(struct reading *r, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        return begin(r, event, YAML_LIST, event->data.sequence_start.anchor,
                     event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return begin(r, event, YAML_MAP, event->data.mapping_start.anchor,
                     event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return finish(r, event);
    case YAML_ALIAS_EVENT:
        return take_alias(r, event);
    case YAML_DOCUMENT_END_EVENT:
        return add_document(r);
    default:
        return 0;
    }
}

/* What libyaml has to say. */
static int pass_on(struct reading *r, const yaml_parser_t *parser)
{
    bool of_bytes = parser->error == YAML_READER_ERROR;
    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    r->out->line = (int)(of_bytes ? parser->mark.line : parser->problem_mark.line) + 1;
    r->out->column = (int)(of_bytes ? parser->mark.column : parser->problem_mark.column) + 1;
    snprintf(r->out->why, sizeof r->out->why, "it is no YAML: %s",
             parser->problem ? parser->problem : "it cannot be read");
    return -EINVAL;
}

int yaml_read(struct arena *arena, const char *text, size_t len, struct yaml_text *out)
{
    struct reading r = { .arena = arena, .out = out };
    yaml_parser_t parser;
    yaml_event_t event;
    *out = (struct yaml_text){ 0 };
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int result = 0;
    bool more = true;
    while (result == 0 && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            result = pass_on(&r, &parser);
            break;
        }
        result = take(&r, &event);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

/* --- reading the tree ------------------------------------------------------------------------ */

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i + 1 < map->len; i += 2)
        if (yaml_is(map->nodes[i], key))
            return map->nodes[i + 1];
    return NULL;
}

const char *yaml_scalar(const struct yaml_node *node)
{
    return node && node->kind == YAML_SCALAR ? node->text : NULL;
}

bool yaml_is(const struct yaml_node *node, const char *text)
{
    return node && node->kind == YAML_SCALAR && node->len == strlen(text) &&
           !memcmp(node->text, text, node->len);
}
