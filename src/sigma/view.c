/* view.c - shows events to rules under their names. See view.h. */
#include "sigma/view.h"

#include "base/number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNSET "4294967295" /* how auditd writes that there was no login */

enum origin {
    FROM_NOWHERE, /* no event of ours has it */
    FROM_FIELD,   /* the field of this number */
    FROM_CMDLINE,
    FROM_ID,
    FROM_USER,
    FROM_ARGUMENT, /* a0, a1, ... */
    FROM_COUNT,    /* argc */
    FROM_EXECVE,   /* the type of the record */
    FROM_RECORD,   /* all of it, for keywords */
};

#define NAMES 4 /* of one field, in JSON */

struct shown {
    enum origin origin;
    bool parent;
    int field;                /* or which argument */
    const char *names[NAMES]; /* owned from the second on: other names in JSON */
    size_t names_len;
    struct buf text; /* owned: what is made for the event */
};

struct sigma_view {
    struct sigma *s;
    struct shown *shown;        /* owned: by number of the field */
    struct sigma_value *values; /* owned */
    size_t len;
    struct sigma_event event;
    struct buf record; /* owned */
    uint64_t boot;
};

/* --- names ------------------------------------------------------------------------------------ */

static bool same(const char *name, const char *text)
{
    return *text && !strcmp(name, text);
}

static bool is_named(const struct event_field_info *info, const char *name)
{
    return same(name, info->name) || same(name, info->sigma) || same(name, info->ecs) ||
           same(name, info->ocsf) || same(name, info->falco);
}

/* Rules have names of Sigma first: ours come before those of other schemas, where one name is in
 * two. */
static int field_named(const char *name)
{
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (same(name, event_fields[f].sigma))
            return f;
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (is_named(&event_fields[f], name))
            return f;
    return -1;
}

static bool find_own(const char *name, struct shown *out)
{
    out->field = field_named(name);
    if (!strcmp(name, "User"))
        out->origin = FROM_USER;
    else if (out->field >= 0)
        out->origin = out->field == F_ARGS ? FROM_CMDLINE : FROM_FIELD;
    else if (is_named(&event_derived[DERIVED_CMDLINE], name))
        out->origin = FROM_CMDLINE;
    else if (is_named(&event_derived[DERIVED_ID], name))
        out->origin = FROM_ID;
    return out->origin != FROM_NOWHERE;
}

/* "ParentImage" is Image of the parent. */
static bool find_of_parent(const char *name, struct shown *out)
{
    char own[128];
    for (int i = 0; i < EVENT_PARENT_NAMES; i++) {
        const char *const *parent = event_parent_names[i];
        size_t cut = strlen(parent[0]);
        if (strncmp(name, parent[0], cut) || !name[cut])
            continue;
        snprintf(own, sizeof own, "%s%s", parent[1], name + cut);
        if (find_own(own, out))
            return out->parent = true;
    }
    return false;
}

static bool is_argument(const char *name, int *number)
{
    size_t digits = *name == 'a' ? strspn(name + 1, "0123456789") : 0;
    if (!digits || digits > 5 || name[1 + digits] || (digits > 1 && name[1] == '0'))
        return false;
    *number = atoi(name + 1);
    return true;
}

static void find_in_record(const char *name, struct shown *out)
{
    if (!strcmp(name, "type"))
        out->origin = FROM_EXECVE;
    else if (!strcmp(name, "argc"))
        out->origin = FROM_COUNT;
    else if (is_argument(name, &out->field))
        out->origin = FROM_ARGUMENT;
    else if (!strcmp(name, "auid"))
        *out = (struct shown){ .origin = FROM_FIELD, .field = F_LOGINUID };
    else
        find_own(name, out);
}

static struct shown find(enum sigma_source source, const char *name)
{
    struct shown out = { .origin = FROM_NOWHERE };
    if (!*name)
        out.origin = FROM_RECORD;
    else if (source == SIGMA_AUDITD)
        find_in_record(name, &out);
    else if (!find_own(name, &out))
        find_of_parent(name, &out);
    return out;
}

bool sigma_view_knows(enum sigma_source source, const char *field)
{
    return find(source, field).origin != FROM_NOWHERE;
}

static const struct event_field_info *info_of(const struct shown *shown)
{
    if (shown->origin == FROM_FIELD)
        return &event_fields[shown->field];
    return shown->origin == FROM_CMDLINE ? &event_derived[DERIVED_CMDLINE]
           : shown->origin == FROM_ID    ? &event_derived[DERIVED_ID]
                                         : NULL;
}

/* What else it may be called in JSON: as Sigma, we and ECS have it. */
static int add_names(struct shown *shown, const char *name)
{
    const struct event_field_info *info = info_of(shown);
    char text[128];
    shown->names[shown->names_len++] = name;
    if (!info)
        return 0;
    const char *const own[] = { info->sigma, info->name, info->ecs };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (!*own[i])
            continue;
        bool ecs = own[i] == info->ecs && !strncmp(own[i], "process.", 8);
        if (shown->parent && !ecs && own[i] != info->sigma)
            continue;
        snprintf(text, sizeof text, "%s%s",
                 !shown->parent ? ""
                 : ecs          ? "process.parent."
                                : "Parent",
                 shown->parent && ecs ? own[i] + 8 : own[i]);
        char *copy = strdup(text);
        if (!copy)
            return -ENOMEM;
        shown->names[shown->names_len++] = copy;
    }
    return 0;
}

/* --- life ------------------------------------------------------------------------------------- */

int sigma_view_new(struct sigma_view **out, struct sigma *s)
{
    struct sigma_view *v = calloc(1, sizeof *v);
    struct sigma_field field;
    if (!v)
        return -ENOMEM;
    v->s = s;
    v->boot = event_boot_id();
    v->shown = calloc((size_t)sigma_fields(s) + 1, sizeof *v->shown);
    v->values = calloc((size_t)sigma_fields(s) + 1, sizeof *v->values);
    int result = v->shown && v->values ? 0 : -ENOMEM;
    while (result == 0 && sigma_field_at(s, (int)v->len, &field)) {
        v->shown[v->len] = find(field.source, field.name);
        result = add_names(&v->shown[v->len++], field.name);
    }
    if (result < 0)
        sigma_view_free(v);
    else
        *out = v;
    return result;
}

void sigma_view_free(struct sigma_view *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->len; i++) {
        for (size_t n = 1; n < v->shown[i].names_len; n++)
            free((char *)v->shown[i].names[n]);
        buf_free(&v->shown[i].text);
    }
    buf_free(&v->record);
    free(v->shown);
    free(v->values);
    free(v);
}

#define BIT(field) (UINT64_C(1) << F_##field)

static uint64_t needs_of(const struct shown *shown)
{
    switch (shown->origin) {
    case FROM_FIELD:
        return UINT64_C(1) << shown->field;
    case FROM_CMDLINE:
    case FROM_ARGUMENT:
    case FROM_COUNT:
        return BIT(ARGS) | BIT(TRUNCATED);
    case FROM_ID:
        return BIT(PID) | BIT(STARTTIME);
    case FROM_USER:
        return BIT(EUID);
    case FROM_RECORD:
        return BIT(ARGS) | BIT(TRUNCATED) | BIT(EXE) | BIT(CWD) | BIT(EUID);
    default:
        return 0;
    }
}

uint64_t sigma_view_needs(const struct sigma_view *v)
{
    uint64_t needs = 0;
    for (size_t i = 0; i < v->len; i++)
        if (!v->shown[i].parent)
            needs |= needs_of(&v->shown[i]);
    return needs;
}

uint64_t sigma_view_needs_of_parent(const struct sigma_view *v)
{
    uint64_t needs = 0;
    for (size_t i = 0; i < v->len; i++)
        if (v->shown[i].parent)
            needs |= needs_of(&v->shown[i]);
    return needs;
}

/* --- values of our events --------------------------------------------------------------------- */

struct looking {
    struct sigma_view *v;
    const struct event *ev; /* the one that is looked at: the event, or its parent */
    sigma_user *user;
    void *ctx;
};

static struct sigma_value text_value(const char *text, size_t len)
{
    return (struct sigma_value){ .state = SIGMA_VALUE, .text = text, .len = len };
}

static struct sigma_value nothing(const struct event *ev, enum event_field field)
{
    uint8_t why = ev->why[field];
    bool none = why == WHY_ABSENT || why == WHY_KTHREAD;
    return (struct sigma_value){ .state = none ? SIGMA_ABSENT : SIGMA_UNKNOWN };
}

/* Without memory for it nobody knows it. */
static struct sigma_value made(struct shown *shown)
{
    if (shown->text.failed)
        return (struct sigma_value){ .state = SIGMA_UNKNOWN };
    return text_value(buf_str(&shown->text), shown->text.len);
}

static struct sigma_value number_value(struct shown *shown, const struct event *ev)
{
    int64_t number = ev->cell[shown->field].num;
    char text[NUMBER_TEXT];
    enum event_type type = event_fields[shown->field].type;
    if (type == TYPE_KIND)
        buf_puts(&shown->text, event_kind_name((enum event_kind)number));
    else if (type == TYPE_BOOL)
        buf_puts(&shown->text, number ? "true" : "false");
    else if (type == TYPE_TIME || type == TYPE_SPAN)
        buf_puts(&shown->text, number_text((double)number / 1e9, text));
    else
        buf_int(&shown->text, number);
    return made(shown);
}

static struct sigma_value field_value(const struct looking *l, struct shown *shown)
{
    enum event_field field = (enum event_field)shown->field;
    size_t len;
    if (!event_has(l->ev, field)) {
        if (field == F_LOGINUID && l->ev->why[field] == WHY_ABSENT)
            return text_value(UNSET, strlen(UNSET));
        return nothing(l->ev, field);
    }
    if (!event_is_text(field))
        return number_value(shown, l->ev);
    const char *text = event_text(l->ev, field, &len);
    struct sigma_value value = text_value(text, len);
    value.cut = field == F_EXE && event_has(l->ev, F_TRUNCATED);
    return value;
}

static void add_cmdline(struct buf *to, const struct event *ev)
{
    size_t len;
    event_text(ev, F_ARGS, &len);
    char *at = buf_reserve(to, len);
    if (at)
        to->len += event_cmdline(ev, at, len);
}

static struct sigma_value cmdline_value(const struct looking *l, struct shown *shown)
{
    if (!event_has(l->ev, F_ARGS))
        return nothing(l->ev, F_ARGS);
    add_cmdline(&shown->text, l->ev);
    struct sigma_value value = made(shown);
    value.cut = event_has(l->ev, F_TRUNCATED);
    return value;
}

static struct sigma_value id_value(const struct looking *l, struct shown *shown)
{
    char id[EVENT_ID_MAX];
    size_t len = event_id(l->ev, l->v->boot, id);
    if (!len)
        return (struct sigma_value){ .state = SIGMA_UNKNOWN };
    buf_add(&shown->text, id, len);
    return made(shown);
}

static struct sigma_value user_value(const struct looking *l, struct shown *shown)
{
    if (!event_has(l->ev, F_EUID))
        return nothing(l->ev, F_EUID);
    int64_t uid = l->ev->cell[F_EUID].num;
    const char *name = uid == 0 ? "root" : l->user ? l->user(l->ctx, uid) : NULL;
    if (!name)
        return (struct sigma_value){ .state = SIGMA_UNKNOWN };
    buf_puts(&shown->text, name);
    return made(shown);
}

/* The next of NUL-ended strings in a row. */
static const char *next_argument(const char **at, const char *end, size_t *len)
{
    const char *from = *at;
    if (from >= end)
        return NULL;
    *len = strnlen(from, (size_t)(end - from));
    *at = from + *len + 1;
    return from;
}

static struct sigma_value argument_value(const struct looking *l, int number)
{
    size_t len, one = 0;
    const char *at = event_text(l->ev, F_ARGS, &len), *end = at ? at + len : NULL, *text = NULL;
    if (!at)
        return nothing(l->ev, F_ARGS);
    for (int i = 0; i <= number; i++)
        if (!(text = next_argument(&at, end, &one)))
            break;
    bool cut = event_has(l->ev, F_TRUNCATED);
    if (!text)
        return (struct sigma_value){ .state = cut ? SIGMA_UNKNOWN : SIGMA_ABSENT };
    struct sigma_value value = text_value(text, one);
    value.cut = cut && at >= end;
    return value;
}

static int count_arguments(const struct event *ev)
{
    size_t len, one;
    const char *at = event_text(ev, F_ARGS, &len), *end = at ? at + len : NULL;
    int n = 0;
    while (at && next_argument(&at, end, &one))
        n++;
    return n;
}

static struct sigma_value count_value(const struct looking *l, struct shown *shown)
{
    if (!event_has(l->ev, F_ARGS) || event_has(l->ev, F_TRUNCATED))
        return nothing(l->ev, F_ARGS);
    buf_int(&shown->text, count_arguments(l->ev));
    return made(shown);
}

/* type=EXECVE msg=audit(1717243845.223:1234): argc=2 a0="nc" a1="-e": as auditd has it, but for
 * what it would write in hexadecimal digits. */
static void write_execve(struct buf *to, const struct event *ev)
{
    int64_t ms = event_int(ev, F_TIME, 0) / 1000000;
    size_t len, one;
    const char *at = event_text(ev, F_ARGS, &len), *end = at ? at + len : NULL, *text;
    buf_printf(to, "type=EXECVE msg=audit(%lld.%03d:%lld): argc=%d", (long long)(ms / 1000),
               (int)(ms % 1000), (long long)event_int(ev, F_SEQ, 0), count_arguments(ev));
    for (int i = 0; at && (text = next_argument(&at, end, &one)); i++) {
        buf_printf(to, " a%d=\"", i);
        buf_add(to, text, one);
        buf_putc(to, '"');
    }
}

/* Its texts, one on a line. */
static void write_process(struct buf *to, const struct event *ev)
{
    static const enum event_field texts[] = { F_EXE, F_CWD };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t len;
        const char *text = event_text(ev, texts[i], &len);
        buf_add(to, text, len);
        buf_putc(to, '\n');
    }
    add_cmdline(to, ev);
}

static struct sigma_value record_value(const struct looking *l, struct shown *shown,
                                       enum sigma_source source)
{
    if (!event_has(l->ev, F_ARGS))
        return nothing(l->ev, F_ARGS);
    if (source == SIGMA_AUDITD)
        write_execve(&shown->text, l->ev);
    else
        write_process(&shown->text, l->ev);
    struct sigma_value value = made(shown);
    value.cut = event_has(l->ev, F_TRUNCATED);
    return value;
}

static struct sigma_value look(const struct looking *l, struct shown *shown,
                               enum sigma_source source)
{
    buf_clear(&shown->text);
    switch (shown->origin) {
    case FROM_FIELD:
        return field_value(l, shown);
    case FROM_CMDLINE:
        return cmdline_value(l, shown);
    case FROM_ID:
        return id_value(l, shown);
    case FROM_USER:
        return user_value(l, shown);
    case FROM_ARGUMENT:
        return argument_value(l, shown->field);
    case FROM_COUNT:
        return count_value(l, shown);
    case FROM_EXECVE:
        return text_value("EXECVE", 6);
    case FROM_RECORD:
        return record_value(l, shown, source);
    default:
        return (struct sigma_value){ .state = SIGMA_MISSING };
    }
}

const struct sigma_event *sigma_view_event(struct sigma_view *v, const struct event *ev,
                                           const struct event *parent, sigma_user *user, void *ctx)
{
    struct looking self = { v, ev, user, ctx }, above = { v, parent, user, ctx };
    struct sigma_field field;
    for (size_t i = 0; i < v->len; i++) {
        struct shown *shown = &v->shown[i];
        sigma_field_at(v->s, (int)i, &field);
        if (shown->parent && !parent)
            v->values[i] = (struct sigma_value){ .state = SIGMA_UNKNOWN };
        else
            v->values[i] = look(shown->parent ? &above : &self, shown, field.source);
    }
    v->event = (struct sigma_event){ .sources = 1u << SIGMA_PROCESS | 1u << SIGMA_AUDITD,
                                     .values = v->values,
                                     .time_ns = event_int(ev, F_TIME, v->event.time_ns) };
    return &v->event;
}

/* --- values of JSON --------------------------------------------------------------------------- */

static struct sigma_value value_of(const struct flat_value *value)
{
    if (!value)
        return (struct sigma_value){ .state = SIGMA_MISSING };
    if (value->null)
        return (struct sigma_value){ .state = SIGMA_NULL };
    return text_value(value->text, value->len);
}

static struct sigma_value find_flat(const struct flat *flat, const struct shown *shown)
{
    for (size_t i = 0; i < shown->names_len; i++) {
        const struct flat_value *value = flat_get(flat, shown->names[i]);
        if (value)
            return value_of(value);
    }
    return value_of(NULL);
}

/* Keywords are looked for in all values: one on a line. */
static struct sigma_value whole(struct sigma_view *v, const struct flat *flat)
{
    if (!v->record.len)
        for (size_t i = 0; i < flat->len; i++) {
            buf_add(&v->record, flat->values[i].text, flat->values[i].len);
            buf_putc(&v->record, '\n');
        }
    if (v->record.failed)
        return (struct sigma_value){ .state = SIGMA_UNKNOWN };
    return text_value(buf_str(&v->record), v->record.len);
}

/* Seconds, or a date in UTC. */
static bool read_time(const char *text, int64_t *out)
{
    struct tm tm = { 0 };
    char *end;
    double seconds = strtod(text, &end);
    if (*text && !*end && seconds > 0 && seconds < 9e9) {
        *out = (int64_t)(seconds * 1e9);
        return true;
    }
    const char *rest = strptime(text, "%Y-%m-%d", &tm);
    if (!rest || (*rest != 'T' && *rest != ' ') || !(rest = strptime(rest + 1, "%H:%M:%S", &tm)))
        return false;
    *out = (int64_t)timegm(&tm) * 1000000000;
    if (*rest == '.')
        *out += (int64_t)(strtod(rest, NULL) * 1e9);
    return true;
}

static int64_t time_of(const struct flat *flat, int64_t otherwise)
{
    static const char *const names[] = { "@timestamp", "UtcTime", "time" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct flat_value *value = flat_get(flat, names[i]);
        int64_t time_ns;
        if (value && read_time(value->text, &time_ns))
            return time_ns;
    }
    return otherwise;
}

const struct sigma_event *sigma_view_flat(struct sigma_view *v, const struct flat *flat)
{
    buf_clear(&v->record);
    for (size_t i = 0; i < v->len; i++)
        v->values[i] =
            v->shown[i].origin == FROM_RECORD ? whole(v, flat) : find_flat(flat, &v->shown[i]);
    v->event = (struct sigma_event){ .sources = 1u << SIGMA_PROCESS | 1u << SIGMA_AUDITD,
                                     .values = v->values,
                                     .time_ns = time_of(flat, v->event.time_ns) };
    return &v->event;
}
