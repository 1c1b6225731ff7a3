/* facts.c - what moonwatch.h tells of events, fields and questions. */
#include "moonwatch.h"

#include "base/buf.h"
#include "collect/answers.h"
#include "event/event.h"
#include "event/json.h"
#include "sink/view.h"

#include <stdlib.h>
#include <string.h>

static const struct event *record(const struct moonwatch_event *event)
{
    return (const struct event *)event;
}

static bool known_field(int field)
{
    return field >= 0 && field < EVENT_FIELDS;
}

const char *moonwatch_type(const struct moonwatch_event *event)
{
    return event_kind_name(event_kind(record(event)));
}

int moonwatch_field(const char *name)
{
    return event_field_named(name);
}

bool moonwatch_int(const struct moonwatch_event *event, int field, int64_t *value)
{
    if (!known_field(field) || event_is_text((enum event_field)field) ||
        !event_has(record(event), (enum event_field)field))
        return false;
    *value = record(event)->cell[field].num;
    return true;
}

const char *moonwatch_text(const struct moonwatch_event *event, int field, size_t *len)
{
    *len = 0;
    if (!known_field(field) || !event_is_text((enum event_field)field))
        return NULL;
    return event_text(record(event), (enum event_field)field, len);
}

const char *moonwatch_why(const struct moonwatch_event *event, int field)
{
    return known_field(field) ? event_why_text((enum event_why)record(event)->why[field])
                              : "no such field";
}

struct moonwatch_event *moonwatch_copy(const struct moonwatch_event *event)
{
    void *copy = malloc(record(event)->size);
    if (copy)
        memcpy(copy, event, record(event)->size);
    return copy;
}

char *moonwatch_format(const struct moonwatch_event *event, enum moonwatch_format format,
                       const char *branch, int columns, bool colour)
{
    struct buf out = { 0 };
    struct view view = { .columns = columns, .colour = colour };
    struct json_context json = { .boot = event_boot_id() };

    if (format == MOONWATCH_JSON && event)
        json_event(&out, record(event), &json);
    else if (format == MOONWATCH_LINE && event)
        view_event(&out, &view, record(event), 0, NULL);
    else if (format == MOONWATCH_PROCESS && event)
        view_process(&out, &view, record(event), branch ? branch : "");
    else if (format == MOONWATCH_PROCESS)
        view_process_heading(&out, &view);
    else if (format == MOONWATCH_LINE)
        view_heading(&out, &view);

    if (out.len && out.data[out.len - 1] == '\n')
        out.len--;
    buf_str(&out);
    if (out.failed) {
        buf_free(&out);
        return NULL;
    }
    return out.data; /* the caller's now */
}

/* --- tables ------------------------------------------------------------------------------- */

static const char *type_name(enum event_type type)
{
    switch (type) {
    case TYPE_KIND:
    case TYPE_TEXT:
        return "string";
    case TYPE_INT:
        return "integer";
    case TYPE_BOOL:
        return "boolean";
    case TYPE_TIME:
    case TYPE_SPAN:
        return "number";
    case TYPE_ARGS:
        return "string[]";
    }
    return "any";
}

static const char *kinds_text(uint32_t kinds, char *to, size_t cap)
{
    if (kinds == ON_ALL)
        return "all";
    if (kinds == ON_PROCESS)
        return "process";
    return event_kinds_text(kinds, to, cap);
}

bool moonwatch_field_at(int index, struct moonwatch_field_info *out)
{
    static char kinds[EVENT_FIELDS][EVENT_KINDS_TEXT];
    if (index < 0 || index >= EVENT_FIELDS + EVENT_DERIVED)
        return false;
    bool computed = index >= EVENT_FIELDS;
    const struct event_field_info *info =
        computed ? &event_derived[index - EVENT_FIELDS] : &event_fields[index];
    *out = (struct moonwatch_field_info){
        .name = info->name,
        .type = type_name(info->type),
        .unit = info->unit,
        .kinds = computed ? "process" : kinds_text(info->kinds, kinds[index], sizeof *kinds),
        .ecs = info->ecs,
        .sigma = info->sigma,
        .ocsf = info->ocsf,
        .falco = info->falco,
        .doc = info->doc,
        .computed = computed,
    };
    return true;
}

bool moonwatch_topic_at(int index, struct moonwatch_topic_info *out)
{
    if (index < 0 || index >= TOPICS)
        return false;
    *out =
        (struct moonwatch_topic_info){ topics[index].name, topics[index].doc, topics[index].rows };
    return true;
}

bool moonwatch_column_at(int topic, int index, struct moonwatch_field_info *out)
{
    if (topic < 0 || topic >= TOPICS || index < 0 || index >= topics[topic].columns_len)
        return false;
    const struct topic_column *column = &topics[topic].columns[index];
    *out = (struct moonwatch_field_info){ .name = column->name,
                                          .type = type_name(column->type),
                                          .unit = column->unit,
                                          .doc = column->doc,
                                          .kinds = "",
                                          .ecs = "",
                                          .sigma = "",
                                          .ocsf = "",
                                          .falco = "" };
    return true;
}
