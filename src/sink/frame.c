/* frame.c - makes a record of what a script sends to a sink. See frame.h. */
#include "sink/frame.h"

#include "base/clock.h"
#include "sink/view.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What a template can name besides the fields of events. */
enum special {
    SPECIAL_LITERAL, /* no name: text of the template's own */
    SPECIAL_FIELD,
    SPECIAL_PARENT,
    SPECIAL_TIME,
    SPECIAL_SEVERITY,
    SPECIAL_SCRIPT,
    SPECIAL_TEXT,
    SPECIAL_KEY,
    SPECIAL_TAGS,
    SPECIAL_HELD,
    SPECIAL_JSON,
    SPECIAL_CMDLINE,
    SPECIAL_ID,
};

static const struct {
    const char *name;
    enum special special;
} specials[] = {
    { "time", SPECIAL_TIME }, { "severity", SPECIAL_SEVERITY }, { "script", SPECIAL_SCRIPT },
    { "text", SPECIAL_TEXT }, { "key", SPECIAL_KEY },           { "tags", SPECIAL_TAGS },
    { "held", SPECIAL_HELD }, { "json", SPECIAL_JSON },         { "cmdline", SPECIAL_CMDLINE },
    { "id", SPECIAL_ID },
};

struct part {
    enum special special;
    int field;       /* FIELD and PARENT: enum event_field, or -1 for the command line */
    size_t off, len; /* LITERAL */
};

struct frame {
    char *text;         /* owned */
    struct part *parts; /* owned */
    int parts_len;
};

/* --- parsing ---------------------------------------------------------------------------------- */

static bool find_name(const char *name, struct part *part)
{
    for (size_t i = 0; i < COUNT(specials); i++)
        if (!strcmp(specials[i].name, name)) {
            part->special = specials[i].special;
            return true;
        }
    bool parent = !strncmp(name, "parent.", 7);
    part->special = parent ? SPECIAL_PARENT : SPECIAL_FIELD;
    part->field = event_field_named(parent ? name + 7 : name);
    if (parent && !strcmp(name + 7, "cmdline"))
        part->field = F_ARGS;
    return part->field >= 0 &&
           (!parent || (part->field >= EVENT_FIRST_STATE && part->field <= EVENT_LAST_STATE));
}

static bool add_part(struct frame *f, struct part part)
{
    struct part *more = realloc(f->parts, (size_t)(f->parts_len + 1) * sizeof *more);
    if (!more)
        return false;
    f->parts = more;
    more[f->parts_len++] = part;
    return true;
}

/* The text up to a brace, or one of "{{" and "}}". */
static size_t literal_length(const char *text)
{
    size_t len = strcspn(text, "{}");
    return len ? len : 1;
}

/* Returns how many bytes of the text are used; -EINVAL, -ENOMEM. */
static int parse_part(struct frame *f, const char *text, char *why)
{
    struct part part = { .off = (size_t)(text - f->text) };
    char name[64];
    size_t len = strcspn(text, "}");
    if ((*text != '{' && *text != '}') || text[1] == *text) {
        part.len = literal_length(text);
        return add_part(f, part) ? (int)part.len + (*text == '{' || *text == '}') : -ENOMEM;
    }
    if (*text == '}' || text[len] != '}') {
        snprintf(why, 256, "a brace has no other one; for a brace itself write it twice");
        return -EINVAL;
    }
    snprintf(name, sizeof name, "%.*s", len - 1 < sizeof name ? (int)len - 1 : 0, text + 1);
    if (!find_name(name, &part)) {
        struct buf safe = { 0 };
        buf_harmless(&safe, text + 1, len - 1 < 64 ? len - 1 : 64);
        snprintf(why, 256,
                 "no field is named '%s'; `moonwatch fields` lists them, and there are time "
                 "severity script text key tags held json",
                 buf_str(&safe));
        buf_free(&safe);
        return -EINVAL;
    }
    return add_part(f, part) ? (int)len + 1 : -ENOMEM;
}

int frame_parse(struct frame **out, const char *text, size_t len, char *why)
{
    struct frame *f = calloc(1, sizeof *f);
    if (!f || !(f->text = malloc(len + 1))) {
        free(f);
        return -ENOMEM;
    }
    memcpy(f->text, text, len);
    f->text[len] = '\0';
    int used = memchr(text, '\0', len) ? -EINVAL : 0;
    if (used < 0)
        snprintf(why, 256, "a template has no NUL");
    for (char *at = f->text; *at && used >= 0; at += used > 0 ? used : 0)
        used = parse_part(f, at, why);
    if (used < 0) {
        frame_free(f);
        return used;
    }
    *out = f;
    return 0;
}

void frame_free(struct frame *f)
{
    if (!f)
        return;
    free(f->text);
    free(f->parts);
    free(f);
}

uint64_t frame_needs(const struct frame *f)
{
    uint64_t needs = 0;
    for (int i = 0; f && i < f->parts_len; i++) {
        const struct part *part = &f->parts[i];
        if (part->special == SPECIAL_FIELD || part->special == SPECIAL_PARENT)
            needs |= UINT64_C(1) << part->field;
        else if (part->special == SPECIAL_CMDLINE)
            needs |= UINT64_C(1) << F_ARGS;
        else if (part->special == SPECIAL_TEXT)
            needs |= UINT64_C(1) << F_ARGS | UINT64_C(1) << F_EXE | UINT64_C(1) << F_COMM;
        else if (part->special == SPECIAL_JSON)
            needs = UINT64_MAX;
    }
    return needs;
}

/* --- values ----------------------------------------------------------------------------------- */

static const struct json_alert *alert_of(const struct frame_item *item)
{
    return item->json ? item->json->alert : NULL;
}

static void put_safe(struct buf *out, const char *bytes, size_t len)
{
    if (bytes && len)
        view_text(out, bytes, len, 0);
    else
        buf_putc(out, '-');
}

static void put_date(struct buf *out, int64_t epoch_ns)
{
    size_t quote = out->len;
    json_time(out, epoch_ns);
    if (out->failed || out->len < quote + 2)
        return;
    memmove(out->data + quote, out->data + quote + 1, out->len - quote - 2);
    out->len -= 2;
}

static int64_t time_of(const struct frame_item *item)
{
    return item->ev ? event_int(item->ev, F_TIME, clock_real_ns()) : clock_real_ns();
}

static void put_cmdline(struct buf *out, const struct event *ev, bool safe)
{
    struct buf line = { 0 };
    size_t len;
    event_text(ev, F_ARGS, &len);
    char *to = buf_reserve(&line, len + 1);
    len = to ? event_cmdline(ev, to, len) : 0;
    if (safe)
        put_safe(out, to, len);
    else
        buf_add(out, to, len);
    buf_free(&line);
}

static void put_number(struct buf *out, enum event_type type, int64_t value)
{
    switch (type) {
    case TYPE_KIND:
        buf_puts(out, event_kind_name((enum event_kind)value));
        break;
    case TYPE_BOOL:
        buf_puts(out, value ? "true" : "false");
        break;
    case TYPE_TIME:
        put_date(out, value);
        break;
    case TYPE_SPAN:
        json_number(out, (double)value / (double)NS_PER_SECOND);
        break;
    case TYPE_INT:
    case TYPE_TEXT:
    case TYPE_ARGS:
        buf_int(out, value);
        break;
    }
}

static void put_field(struct buf *out, const struct event *ev, int field, bool safe)
{
    size_t len;
    if (!ev || !event_has(ev, (enum event_field)field)) {
        buf_putc(out, '-');
    } else if (field == F_ARGS) {
        put_cmdline(out, ev, safe);
    } else if (event_is_text((enum event_field)field)) {
        const char *text = event_text(ev, (enum event_field)field, &len);
        if (safe)
            put_safe(out, text, len);
        else
            buf_add(out, text, len);
    } else {
        put_number(out, event_fields[field].type, ev->cell[field].num);
    }
}

static void put_id(struct buf *out, const struct frame_item *item)
{
    char id[EVENT_ID_MAX];
    size_t len = item->ev && item->json ? event_id(item->ev, item->json->boot, id) : 0;
    put_safe(out, id, len);
}

/* What an alert says; else what it is about. */
static void put_text(struct buf *out, const struct frame_item *item)
{
    const struct json_alert *alert = alert_of(item);
    if (alert && alert->text_len) {
        put_safe(out, alert->text, alert->text_len);
        return;
    }
    if (!item->ev) {
        put_safe(out, item->text, item->text_len);
        return;
    }
    if (!alert)
        buf_printf(out, "%s: ", event_kind_name(event_kind(item->ev)));
    view_command(out, item->ev, 0);
}

static void put_tags(struct buf *out, const struct json_alert *alert)
{
    for (int i = 0; i < alert->tags_len; i++) {
        if (i)
            buf_putc(out, ',');
        put_safe(out, alert->tags[i], strlen(alert->tags[i]));
    }
    if (!alert->tags_len)
        buf_putc(out, '-');
}

static void put_json(struct buf *out, const struct frame_item *item)
{
    if (item->json)
        json_event(out, item->ev, item->json);
    else if (item->is_json)
        buf_add(out, item->text, item->text_len);
    else
        json_string(out, item->text, item->text_len);
}

static const char *severity_of(const struct frame_item *item)
{
    const struct json_alert *alert = alert_of(item);
    return alert ? alert->severity : "info";
}

static void put_part(struct buf *out, const struct frame *f, const struct part *part,
                     const struct frame_item *item)
{
    static const struct json_alert none;
    const struct json_alert *alert = alert_of(item) ? alert_of(item) : &none;
    switch (part->special) {
    case SPECIAL_LITERAL:
        buf_add(out, f->text + part->off, part->len);
        break;
    case SPECIAL_FIELD:
        put_field(out, item->ev, part->field, true);
        break;
    case SPECIAL_PARENT:
        put_field(out, item->json ? item->json->parent : NULL, part->field, true);
        break;
    case SPECIAL_TIME:
        put_date(out, time_of(item));
        break;
    case SPECIAL_SEVERITY:
        put_safe(out, severity_of(item), strlen(severity_of(item)));
        break;
    case SPECIAL_SCRIPT:
        put_safe(out, item->script, strlen(item->script));
        break;
    case SPECIAL_TEXT:
        put_text(out, item);
        break;
    case SPECIAL_KEY:
        put_safe(out, alert->key, alert->key_len);
        break;
    case SPECIAL_TAGS:
        put_tags(out, alert);
        break;
    case SPECIAL_HELD:
        buf_int(out, alert->held);
        break;
    case SPECIAL_JSON:
        put_json(out, item);
        break;
    case SPECIAL_CMDLINE:
        put_field(out, item->ev, F_ARGS, true);
        break;
    case SPECIAL_ID:
        put_id(out, item);
        break;
    }
}

/* A script's own line is its own; only that it is one line is seen to. */
static void put_own_line(struct buf *out, const struct frame_item *item)
{
    const char *at = item->text, *end = at + item->text_len;
    while (at < end) {
        size_t len = 0;
        while (at + len < end && at[len] != '\t')
            len++;
        view_text(out, at, len, 0);
        at += len;
        if (at < end)
            buf_putc(out, *at++);
    }
}

void frame_line(struct buf *out, const struct frame *f, const struct frame_item *item)
{
    if (!item->json && !item->is_json) {
        put_own_line(out, item);
        return;
    }
    if (!f) {
        put_json(out, item);
        return;
    }
    for (int i = 0; i < f->parts_len; i++)
        put_part(out, f, &f->parts[i], item);
}

/* --- syslog ----------------------------------------------------------------------------------- */

enum priority { CRITICAL = 2, ERROR = 3, WARNING = 4, NOTICE = 5, INFO = 6 };

static enum priority priority_of(const struct frame_item *item)
{
    static const struct {
        const char *severity;
        enum priority priority;
    } table[] = {
        { "critical", CRITICAL }, { "high", ERROR }, { "medium", WARNING }, { "low", NOTICE }
    };
    for (size_t i = 0; i < COUNT(table); i++)
        if (!strcmp(table[i].severity, severity_of(item)))
            return table[i].priority;
    return INFO;
}

static int facility_of(const struct frame_item *item)
{
    enum { DAEMON = 3, AUTHPRIV = 10 };
    return alert_of(item) ? AUTHPRIV : DAEMON;
}

static char host[256];

void frame_begin(void)
{
    if (gethostname(host, sizeof host - 1) < 0)
        *host = '\0';
}

/* A word of the header: printable ASCII without blanks, of at most `most` bytes. */
static void put_word(struct buf *out, const char *text, size_t most)
{
    size_t n = 0;
    for (; n < most && text[n]; n++)
        buf_putc(out, text[n] > ' ' && text[n] < 0x7f ? text[n] : '_');
    if (!n)
        buf_putc(out, '-');
}

/* The line of a template, where there is one, is the message; JSON is one too. */
static void put_message(struct buf *out, const struct frame *f, const struct frame_item *item)
{
    if (!item->json && !item->is_json) {
        put_safe(out, item->script, strlen(item->script));
        buf_puts(out, ": ");
    }
    frame_line(out, f, item);
}

/* Cut where a character begins, so that what is left is UTF-8. */
static void cut(struct buf *out, size_t from)
{
    static const char mark[] = " [cut]";
    if (out->len - from <= FRAME_SYSLOG_MAX)
        return;
    size_t len = from + FRAME_SYSLOG_MAX - (sizeof mark - 1);
    while (len > from && ((unsigned char)out->data[len] & 0xc0) == 0x80)
        len--;
    out->len = len;
    buf_puts(out, mark);
}

/* No BOM before the message: it is MSG-ANY to the RFC then, and what receivers show as rubbish is
 * left out. No structured data: it is in the message. */
void frame_syslog(struct buf *out, const struct frame *f, const struct frame_item *item)
{
    size_t from = out->len;
    buf_printf(out, "<%d>1 ", facility_of(item) * 8 + (int)priority_of(item));
    put_date(out, time_of(item));
    buf_putc(out, ' ');
    put_word(out, host, 255);
    buf_printf(out, " moonwatch %d ", (int)getpid());
    put_word(out, item->script, 32);
    buf_puts(out, " - ");
    put_message(out, f, item);
    cut(out, from);
}

/* --- journald --------------------------------------------------------------------------------- */

/* NAME=value, or where the value has a newline: NAME, newline, eight bytes of length, value. */
static void put_entry(struct buf *out, const char *name, const char *value, size_t len)
{
    buf_puts(out, name);
    if (!memchr(value, '\n', len)) {
        buf_putc(out, '=');
    } else {
        buf_putc(out, '\n');
        for (int shift = 0; shift < 64; shift += 8)
            buf_putc(out, (char)((uint64_t)len >> shift));
    }
    buf_add(out, value, len);
    buf_putc(out, '\n');
}

static void put_entry_text(struct buf *out, const char *name, const char *text)
{
    if (text)
        put_entry(out, name, text, strlen(text));
}

/* "was.uid" -> MOONWATCH_WAS_UID */
static void field_name(char *to, size_t cap, const char *name)
{
    size_t n = (size_t)snprintf(to, cap, "MOONWATCH_");
    for (; *name && n + 1 < cap; name++)
        to[n++] = isalnum((unsigned char)*name) ? (char)toupper((unsigned char)*name) : '_';
    to[n] = '\0';
}

static void put_fields(struct buf *out, const struct event *ev, struct buf *value)
{
    char name[64];
    for (int f = 0; f < EVENT_FIELDS; f++) {
        if (!event_has(ev, (enum event_field)f))
            continue;
        field_name(name, sizeof name, f == F_ARGS ? "cmdline" : event_fields[f].name);
        buf_clear(value);
        put_field(value, ev, f, false);
        if (value->len)
            put_entry(out, name, value->data, value->len);
    }
}

void frame_journald(struct buf *out, const struct frame *f, const struct frame_item *item)
{
    struct buf value = { 0 };
    const struct json_alert *alert = alert_of(item);
    put_message(&value, f, item);
    put_entry(out, "MESSAGE", value.data ? value.data : "", value.len);
    buf_printf(out, "PRIORITY=%d\n", (int)priority_of(item));
    buf_printf(out, "SYSLOG_FACILITY=%d\n", facility_of(item));
    buf_puts(out, "SYSLOG_IDENTIFIER=moonwatch\n");
    put_entry_text(out, "MOONWATCH_SCRIPT", item->script);
    if (alert)
        put_entry_text(out, "MOONWATCH_SEVERITY", alert->severity);
    if (alert && alert->key)
        put_entry(out, "MOONWATCH_KEY", alert->key, alert->key_len);
    for (int i = 0; alert && i < alert->tags_len; i++)
        put_entry_text(out, "MOONWATCH_TAG", alert->tags[i]);
    if (item->ev)
        put_fields(out, item->ev, &value);
    buf_free(&value);
}
