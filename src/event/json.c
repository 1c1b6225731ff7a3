/* json.c - writes an event as one line of ECS JSON. See json.h.
 *
 * The ECS paths of the field table become, once, a plan: a flat list of steps with their key
 * text ready ("pid":), groups opened and closed in between. An event is written by walking the
 * plan into memory reserved up front for the worst case, so that no step checks for room.
 * Every item ends in a comma, which the end of its group turns into a brace. */
#include "event/json.h"

#include "base/clock.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names of event.* and process.* are those of this version. */
#define ECS_VERSION "8.11.0"

/* Readers that keep numbers as doubles are exact up to here. */
#define INT_EXACT (INT64_C(1) << 53)

/* --- text ------------------------------------------------------------------------------- */

/* No byte of a string takes more: \u001f. */
#define ESCAPED_MAX 6

/* Length of the UTF-8 character at `at`, or minus that of the longest run that could have begun one
 * (Unicode 3.9, table 3-7, "maximal subpart"): overlong forms and surrogates are no characters. */
static int utf8_length(const unsigned char *at, const unsigned char *end)
{
    unsigned char lead = at[0], low = 0x80, high = 0xbf;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return -1;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;

    int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    for (int i = 1; i <= more; i++) {
        if (at + i == end || at[i] < low || at[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return more + 1;
}

/* Are these eight bytes printable ASCII without quote and backslash? A clean byte beside one that
 * is not may be called unclean too, never the other way round. */
static bool eight_plain(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;
    uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';

    uint64_t control = x - ones * 0x20;
    uint64_t high_or_del = x | (x + ones);
    return !((control | high_or_del | (quote - ones) | (slash - ones)) & tops);
}

static char *put_hex(char *to, uint64_t value, int digits)
{
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[value >> shift & 15];
    return to;
}

static char *put_escape(char *to, unsigned code)
{
    *to++ = '\\';
    *to++ = 'u';
    return put_hex(to, code, 4);
}

static char *put_ascii(char *to, unsigned char c)
{
    static const char short_form[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
        ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
    };

    if (short_form[c]) {
        *to++ = '\\';
        *to++ = short_form[c];
        return to;
    }
    if (c < 0x20 || c == 0x7f)
        return put_escape(to, c);
    *to++ = (char)c;
    return to;
}

/* A character of two bytes or more. C1 controls can steer a terminal, U+2028 and U+2029 end a line
 * in JavaScript: both are escaped. */
static char *put_wide(char *to, const unsigned char *at, int len)
{
    if (at[0] == 0xc2 && at[1] < 0xa0)
        return put_escape(to, at[1]);
    if (at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
        return put_escape(to, 0x2000u | (at[2] & 0x3fu));
    memcpy(to, at, (size_t)len);
    return to + len;
}

/* The inside of a string. `*bad` becomes true when something was not UTF-8. */
static char *put_text(char *to, const char *bytes, size_t len, bool *bad)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;

    while (at < end) {
        uint64_t eight;
        while (end - at >= 8 && (memcpy(&eight, at, 8), eight_plain(eight))) {
            memcpy(to, at, 8);
            to += 8;
            at += 8;
        }
        for (int i = 0; i < 8 && at < end; i++) {
            int width = utf8_length(at, end);
            if (width == 1) {
                to = put_ascii(to, *at);
            } else if (width > 1) {
                to = put_wide(to, at, width);
            } else {
                *bad = true;
                memcpy(to, "\xef\xbf\xbd", 3);
                to += 3;
                width = -width;
            }
            at += width;
        }
    }
    return to;
}

static char *put_quoted(char *to, const char *bytes, size_t len, bool *bad)
{
    *to++ = '"';
    to = put_text(to, bytes, len, bad);
    *to++ = '"';
    return to;
}

static char *put_raw(char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

static char *put_base64(char *to, const char *bytes, size_t len)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)bytes;

    for (; len; len -= len < 3 ? len : 3, at += 3) {
        unsigned three = (unsigned)at[0] << 16 | (len > 1 ? at[1] << 8 : 0) | (len > 2 ? at[2] : 0);
        *to++ = digit[three >> 18];
        *to++ = digit[three >> 12 & 63];
        *to++ = len > 1 ? digit[three >> 6 & 63] : '=';
        *to++ = len > 2 ? digit[three & 63] : '=';
    }
    return to;
}

/* --- numbers ---------------------------------------------------------------------------- */

/* The longest number of ours is an int64_t or a span, quoted or not. */
#define NUMBER_MAX 32

static char *put_unsigned(char *to, uint64_t value)
{
    char digits[20];
    int count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *to++ = digits[--count];
    return to;
}

static char *put_digits(char *to, uint64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + count;
}

static uint64_t put_sign(char **to, int64_t value)
{
    if (value >= 0)
        return (uint64_t)value;
    *(*to)++ = '-';
    return 0 - (uint64_t)value;
}

static char *put_signed(char *to, int64_t value)
{
    uint64_t size = put_sign(&to, value);
    return put_unsigned(to, size);
}

static char *put_int_quoted(char *to, int64_t value)
{
    *to++ = '"';
    to = put_signed(to, value);
    *to++ = '"';
    return to;
}

static char *put_int(char *to, int64_t value)
{
    if (value > INT_EXACT || value < -INT_EXACT)
        return put_int_quoted(to, value);
    return put_signed(to, value);
}

/* Seconds from nanoseconds, in decimal: a double would round. */
static char *put_span(char *to, int64_t ns)
{
    uint64_t size = put_sign(&to, ns);
    to = put_unsigned(to, size / 1000000000);
    *to++ = '.';
    return put_digits(to, size % 1000000000, 9);
}

struct date {
    unsigned year, month, day;
};

/* Days since 1970 to the Gregorian calendar. Years begin in March here, so that the leap day is the
 * last of its year, and are counted in eras of 400, 146097 days each. An int64_t of nanoseconds
 * spans 1677 to 2262: nothing here is negative. */
static struct date date_of(int64_t days)
{
    unsigned long since = (unsigned long)(days + 719468); /* 0000-03-01 */
    unsigned era = (unsigned)(since / 146097), in_era = (unsigned)(since % 146097);
    unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * in_year + 2) / 153;

    struct date date = { .day = in_year - (153 * month + 2) / 5 + 1 };
    date.month = month < 10 ? month + 3 : month - 9;
    date.year = year + era * 400 + (date.month <= 2);
    return date;
}

/* "2024-05-06T07:08:09.123456Z" with its quotes. */
static char *put_time(char *to, int64_t ns)
{
    const int64_t day_ns = INT64_C(86400) * 1000000000;
    int64_t days = ns / day_ns, in_day = ns % day_ns;
    if (in_day < 0) {
        days--;
        in_day += day_ns;
    }
    struct date date = date_of(days);
    uint64_t us = (uint64_t)in_day / 1000, second = us / 1000000;

    *to++ = '"';
    to = put_digits(to, date.year, 4);
    *to++ = '-';
    to = put_digits(to, date.month, 2);
    *to++ = '-';
    to = put_digits(to, date.day, 2);
    *to++ = 'T';
    to = put_digits(to, second / 3600, 2);
    *to++ = ':';
    to = put_digits(to, second / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, second % 60, 2);
    *to++ = '.';
    to = put_digits(to, us % 1000000, 6);
    *to++ = 'Z';
    *to++ = '"';
    return to;
}

/* --- the plan --------------------------------------------------------------------------- */

enum op {
    OP_OPEN,
    OP_CLOSE,
    OP_INT,
    OP_INT_QUOTED, /* ECS ids are keywords */
    OP_BOOL,
    OP_TIME,
    OP_SPAN,
    OP_TEXT,
    OP_ARGS, /* args and args_count */
    OP_ID,
    OP_CMDLINE,
    OP_PPID,
    OP_HOST,
    OP_KIND,
    OP_ECS,
    OP_NOW,
    OP_LABELS,
    OP_SEVERITY,
    OP_SEVERITY_NUMBER,
    OP_RULE,
    OP_RULE_ID,
    OP_RULE_AUTHOR,
    OP_RULESET,
    OP_DETAILS,
    OP_TAGS,
    OP_MESSAGE,
    OP_HELD,
    OP_KEY,
    OP_EVENT,   /* event.{kind,category,type,action} */
    OP_MISSING, /* the inside of moonwatch.missing */
    OP_RAW,     /* the inside of moonwatch.raw */
};

/* Whose facts a step writes. */
enum who { SELF, PARENT, CONTEXT, WHO };

#define BIT(field) (UINT64_C(1) << (field))

/* What the context knows, as bits like those of fields. */
#define HAVE_HOST     BIT(0)
#define HAVE_PPID     BIT(1)
#define HAVE_NO_EVENT BIT(2)
#define HAVE_LABELS   BIT(3)
#define HAVE_SEVERITY BIT(4)
#define HAVE_NUMBER   BIT(5) /* of the severity */
#define HAVE_RULE     BIT(6)
#define HAVE_TAGS     BIT(7)
#define HAVE_MESSAGE  BIT(8)
#define HAVE_HELD     BIT(9)
#define HAVE_KEY      BIT(10)
#define HAVE_ID       BIT(11)
#define HAVE_TITLE    BIT(12)
#define HAVE_AUTHOR   BIT(13)
#define HAVE_DETAILS  BIT(14)

/* Written when all of `need` is known. A path whose last part is "*" is written by its op, key and
 * all. */
struct item {
    const char *path;
    enum op op;
    enum who who;
    int field;
    uint64_t need;
};

#define NEED_ID (BIT(F_PID) | BIT(F_STARTTIME))

static const struct item items_first[] = {
    { "@timestamp", OP_NOW, CONTEXT, 0, HAVE_NO_EVENT },
    { "ecs.version", OP_ECS, SELF, 0, 0 },
    { "event.*", OP_EVENT, SELF, 0, 0 },
    { "event.severity", OP_SEVERITY_NUMBER, CONTEXT, 0, HAVE_NUMBER },
    { "rule.id", OP_RULE_ID, CONTEXT, 0, HAVE_ID },
    { "rule.name", OP_RULE, CONTEXT, 0, HAVE_RULE },
    { "rule.author", OP_RULE_AUTHOR, CONTEXT, 0, HAVE_AUTHOR },
    { "rule.ruleset", OP_RULESET, CONTEXT, 0, HAVE_TITLE | HAVE_RULE },
    { "rule.tags", OP_TAGS, CONTEXT, 0, HAVE_TAGS },
    { "process.parent.pid", OP_PPID, CONTEXT, 0, HAVE_PPID },
    { "process.parent.entity_id", OP_ID, PARENT, 0, NEED_ID },
    { "process.parent.name", OP_TEXT, PARENT, F_COMM, BIT(F_COMM) },
    { "process.parent.executable", OP_TEXT, PARENT, F_EXE, BIT(F_EXE) },
    { "process.parent.args", OP_ARGS, PARENT, F_ARGS, BIT(F_ARGS) },
    { "process.parent.command_line", OP_CMDLINE, PARENT, 0, BIT(F_ARGS) },
    { "process.parent.start", OP_TIME, PARENT, F_START, BIT(F_START) },
    { "host.name", OP_HOST, CONTEXT, 0, HAVE_HOST },
    { "moonwatch.type", OP_KIND, SELF, 0, BIT(F_TYPE) },
};

/* Behind the fields of their groups; moonwatch.raw is only known when all else is written. */
static const struct item items_last[] = {
    { "message", OP_MESSAGE, CONTEXT, 0, HAVE_MESSAGE },
    { "labels", OP_LABELS, CONTEXT, 0, HAVE_LABELS },
    { "moonwatch.alert.severity", OP_SEVERITY, CONTEXT, 0, HAVE_SEVERITY },
    { "moonwatch.alert.held", OP_HELD, CONTEXT, 0, HAVE_HELD },
    { "moonwatch.alert.key", OP_KEY, CONTEXT, 0, HAVE_KEY },
    { "moonwatch.alert.details", OP_DETAILS, CONTEXT, 0, HAVE_DETAILS },
    { "moonwatch.missing.*", OP_MISSING, SELF, 0, 0 },
    { "moonwatch.raw.*", OP_RAW, SELF, 0, 0 },
};

static const char *const groups_first[] = { "ecs.",     "event.",     "rule.",
                                            "process.", "container.", "host." };

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define ITEMS_MAX    (COUNT(items_first) + EVENT_FIELDS + EVENT_DERIVED + COUNT(items_last))
#define DEPTH_MAX    8
#define KEY_MAX      44

struct step {
    uint64_t need;
    uint8_t op, who, field, len;
    char key[KEY_MAX];
};

static struct {
    size_t count;
    size_t room; /* bytes that an event takes at most, its texts aside */
    uint64_t bools;
    size_t texts;
    uint8_t text[EVENT_FIELDS]; /* the fields that are text */
    struct step step[ITEMS_MAX * 3];
} plan;

static enum op field_op(int field)
{
    const char *dot = strrchr(event_fields[field].ecs, '.');

    switch (event_fields[field].type) {
    case TYPE_BOOL:
        return OP_BOOL;
    case TYPE_TIME:
        return OP_TIME;
    case TYPE_SPAN: /* event.duration is in nanoseconds by ECS's definition */
        return field == F_DURATION ? OP_INT : OP_SPAN;
    case TYPE_TEXT:
        return OP_TEXT;
    case TYPE_ARGS:
        return OP_ARGS;
    case TYPE_KIND:
    case TYPE_INT:
        break;
    }
    /* ids of users and groups are keywords in ECS, that of a thread is a number */
    bool quoted = dot && !strcmp(dot, ".id") && field != F_TID;
    return quoted ? OP_INT_QUOTED : OP_INT;
}

static size_t collect_items(struct item *items)
{
    size_t n = 0;

    for (size_t i = 0; i < COUNT(items_first); i++)
        items[n++] = items_first[i];
    for (int field = 0; field < EVENT_FIELDS; field++)
        if (field != F_TYPE && field != F_PPID) /* OP_EVENT and OP_PPID write them */
            items[n++] =
                (struct item){ event_fields[field].ecs, field_op(field), SELF, field, BIT(field) };
    items[n++] = (struct item){ event_derived[DERIVED_ID].ecs, OP_ID, SELF, 0, NEED_ID };
    items[n++] =
        (struct item){ event_derived[DERIVED_CMDLINE].ecs, OP_CMDLINE, SELF, 0, BIT(F_ARGS) };
    for (size_t i = 0; i < COUNT(items_last); i++)
        items[n++] = items_last[i];
    return n;
}

static void add_step(const struct item *item, const char *name, size_t len)
{
    struct step *step = &plan.step[plan.count++];

    assert(plan.count <= COUNT(plan.step) && len + 4 < KEY_MAX);
    *step = (struct step){ .need = item->need,
                           .op = (uint8_t)item->op,
                           .who = (uint8_t)item->who,
                           .field = (uint8_t)item->field };
    if (len)
        step->len = (uint8_t)snprintf(step->key, KEY_MAX, "\"%.*s\":%s", (int)len, name,
                                      item->op == OP_OPEN ? "{" : "");
}

/* The members of the group named by the first `len` bytes of `prefix` ("process.parent."), those
 * that are groups themselves behind the others. What was planned loses its path. */
static void plan_group(struct item *items, size_t n, const char *prefix, size_t len, int depth)
{
    static const struct item open = { .op = OP_OPEN }, close = { .op = OP_CLOSE };

    assert(depth < DEPTH_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!items[i].path || strncmp(items[i].path, prefix, len) != 0)
            continue;
        const char *name = items[i].path + len;
        if (strchr(name, '.'))
            continue;
        add_step(&items[i], name, strlen(name));
        items[i].path = NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!items[i].path || strncmp(items[i].path, prefix, len) != 0)
            continue;
        const char *path = items[i].path, *name = path + len, *dot = strchr(name, '.');
        add_step(&open, name, (size_t)(dot - name));
        plan_group(items, n, path, (size_t)(dot + 1 - path), depth + 1);
        add_step(&close, "", 0);
    }
}

/* Top-level groups that have their place come first, in it. */
static size_t group_rank(const struct item *item)
{
    size_t rank = 0;
    while (rank < COUNT(groups_first) &&
           strncmp(item->path, groups_first[rank], strlen(groups_first[rank])) != 0)
        rank++;
    return rank;
}

static void sort_items(struct item *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct item moved = items[i];
        size_t to = i;
        for (; to && group_rank(&items[to - 1]) > group_rank(&moved); to--)
            items[to] = items[to - 1];
        items[to] = moved;
    }
}

static void plan_build(void)
{
    struct item items[ITEMS_MAX];
    size_t n = collect_items(items);

    sort_items(items, n);
    plan_group(items, n, "", 0, 0);

    /* Fixed parts: the event.* texts, ids and numbers; then moonwatch.missing and moonwatch.raw,
     * which name any field once with the longest reason, or twice with the parent's. */
    plan.room = 512;
    for (size_t i = 0; i < plan.count; i++)
        plan.room += plan.step[i].len + EVENT_ID_MAX + NUMBER_MAX;
    for (int field = 0; field < EVENT_FIELDS; field++) {
        if (event_is_text((enum event_field)field))
            plan.text[plan.texts++] = (uint8_t)field;
        if (event_fields[field].type == TYPE_BOOL)
            plan.bools |= BIT(field);
        plan.room += 3 * (strlen(event_fields[field].name) + 64);
    }
}

/* --- an event --------------------------------------------------------------------------- */

struct writer {
    char *at;
    const struct event *ev[WHO];
    const struct json_context *context;
    uint64_t have[WHO]; /* bits per field: has something to write */
    uint64_t missing;   /* has a reason instead of a value */
    uint64_t bad[WHO];  /* was not UTF-8 */
    char *open[DEPTH_MAX];
    int depth;
};

static const char *const ecs_event[EVENT_KINDS] = {
#define ECS(type, action)                                                                          \
    "\"category\":[\"process\"],\"type\":[\"" type "\"],\"action\":\"" action "\","
    /* exec, fork, end and the *_change are the actions that Elastic's rules test for. */
    [EVENT_NONE] = ECS("info", "none"),
    [EVENT_FORK] = ECS("start", "fork"),
    [EVENT_EXEC] = ECS("start", "exec"),
    [EVENT_EXIT] = ECS("end", "end"),
    [EVENT_UID] = ECS("change", "uid_change"),
    [EVENT_GID] = ECS("change", "gid_change"),
    [EVENT_SID] = ECS("change", "session_id_change"),
    [EVENT_PTRACE] = ECS("change", "ptrace"),
    [EVENT_COMM] = ECS("change", "comm"),
    [EVENT_COREDUMP] = ECS("info", "coredump"),
    [EVENT_SNAPSHOT] = ECS("info", "snapshot"),
    [EVENT_LOST] = ECS("info", "lost"),
    [EVENT_RELOAD] = ECS("info", "reload"),
    [EVENT_STORM] = ECS("info", "storm"),
#undef ECS
};

static enum event_kind known_kind(const struct event *ev)
{
    enum event_kind kind = event_kind(ev);
    return (unsigned)kind < EVENT_KINDS ? kind : EVENT_NONE;
}

static void write_key(struct writer *w, const struct step *step)
{
    /* A fixed length is one load and store; the room for it is counted in plan.room. */
    memcpy(w->at, step->key, KEY_MAX);
    w->at += step->len;
}

static void write_name(struct writer *w, const char *name)
{
    *w->at++ = '"';
    w->at = put_raw(w->at, name);
    *w->at++ = '"';
    *w->at++ = ':';
}

static void write_open(struct writer *w, const struct step *step)
{
    w->open[w->depth++] = w->at;
    write_key(w, step);
}

static void write_close(struct writer *w)
{
    char *opened = w->open[--w->depth];

    if (w->at[-1] == '{') { /* nothing in it */
        w->at = opened;
        return;
    }
    w->at[-1] = '}';
    *w->at++ = ',';
}

static void note_bad(struct writer *w, int who, int field, bool bad)
{
    w->bad[who] |= (uint64_t)bad << field;
}

static void write_text(struct writer *w, const struct step *step)
{
    size_t len;
    const char *bytes = event_text(w->ev[step->who], step->field, &len);
    bool bad = false;

    w->at = put_quoted(w->at, bytes, len, &bad);
    note_bad(w, step->who, step->field, bad);
}

static void write_args(struct writer *w, const struct step *step)
{
    size_t len;
    const char *arg = event_text(w->ev[step->who], F_ARGS, &len), *end = arg + len;
    uint64_t count = 0;
    bool bad = false;

    *w->at++ = '[';
    for (; arg < end; count++) {
        size_t width = strnlen(arg, (size_t)(end - arg));
        w->at = put_quoted(w->at, arg, width, &bad);
        *w->at++ = ',';
        arg += width + 1;
    }
    if (count)
        w->at--;
    w->at = put_unsigned(put_raw(w->at, "],\"args_count\":"), count);
    note_bad(w, step->who, F_ARGS, bad);
}

/* What event_cmdline says, without the copy. */
static void write_cmdline(struct writer *w, const struct event *ev)
{
    size_t len;
    const char *arg = event_text(ev, F_ARGS, &len), *end = arg + len;
    bool bad = false;

    *w->at++ = '"';
    while (arg < end) {
        size_t width = strnlen(arg, (size_t)(end - arg));
        w->at = put_text(w->at, arg, width, &bad);
        *w->at++ = ' ';
        arg += width + 1;
    }
    if (len)
        w->at--;
    *w->at++ = '"';
}

/* What event_id says; its printf would take a quarter of the time of an event. */
static void write_id(struct writer *w, const struct event *ev)
{
    *w->at++ = '"';
    w->at = put_hex(w->at, w->context->boot, 16);
    *w->at++ = '-';
    w->at = put_signed(w->at, ev->cell[F_PID].num);
    *w->at++ = '-';
    w->at = put_signed(w->at, ev->cell[F_STARTTIME].num);
    *w->at++ = '"';
}

static void write_kind(struct writer *w)
{
    *w->at++ = '"';
    w->at = put_raw(w->at, event_kind_name(known_kind(w->ev[SELF])));
    *w->at++ = '"';
}

/* event.severity is a number of one's own choice in ECS; these are Elastic's scores. */
static int severity_number(const char *severity)
{
    static const struct {
        const char *name;
        int number;
    } scores[] = { { "low", 21 }, { "medium", 47 }, { "high", 73 }, { "critical", 99 } };

    for (size_t i = 0; severity && i < COUNT(scores); i++)
        if (!strcmp(scores[i].name, severity))
            return scores[i].number;
    return 0;
}

static void write_event_kind(struct writer *w)
{
    w->at = put_raw(w->at, w->context->alert ? "\"kind\":\"alert\"," : "\"kind\":\"event\",");
    if (w->have[SELF] & BIT(F_TYPE))
        w->at = put_raw(w->at, ecs_event[known_kind(w->ev[SELF])]);
}

static bool write_quoted(struct writer *w, const char *bytes, size_t len)
{
    bool bad = false;
    w->at = put_quoted(w->at, bytes, len, &bad);
    return bad;
}

static bool given(const char *text)
{
    return text && *text;
}

static void write_tags(struct writer *w)
{
    const struct json_alert *alert = w->context->alert;

    *w->at++ = '[';
    for (int i = 0; i < alert->tags_len; i++) {
        write_quoted(w, alert->tags[i], strlen(alert->tags[i]));
        *w->at++ = ',';
    }
    w->at[-1] = ']';
}

/* A script that has no rules is one. */
static void write_title(struct writer *w)
{
    const struct json_alert *alert = w->context->alert;
    const char *title = given(alert->rule.title) ? alert->rule.title : alert->script;
    write_quoted(w, title, strlen(title));
}

/* The event's own word, or else the parent's. */
static int64_t ppid(const struct writer *w)
{
    if (w->have[SELF] & BIT(F_PPID))
        return w->ev[SELF]->cell[F_PPID].num;
    return w->ev[PARENT]->cell[F_PID].num;
}

/* What comes with the event. */
static void write_context(struct writer *w, enum op op)
{
    const struct json_context *context = w->context;
    const struct json_alert *alert = context->alert;

    switch (op) {
    case OP_PPID:
        w->at = put_int(w->at, ppid(w));
        break;
    case OP_HOST:
        write_quoted(w, context->host, strlen(context->host));
        break;
    case OP_NOW:
        w->at = put_time(w->at, clock_real_ns());
        break;
    case OP_LABELS:
        memcpy(w->at, context->labels, context->labels_len);
        w->at += context->labels_len;
        break;
    case OP_SEVERITY:
        write_quoted(w, alert->severity, strlen(alert->severity));
        break;
    case OP_SEVERITY_NUMBER:
        w->at = put_int(w->at, severity_number(alert->severity));
        break;
    case OP_RULE:
        write_title(w);
        break;
    case OP_RULE_ID:
        write_quoted(w, alert->rule.id, strlen(alert->rule.id));
        break;
    case OP_RULE_AUTHOR: /* an array in ECS */
        *w->at++ = '[';
        write_quoted(w, alert->rule.author, strlen(alert->rule.author));
        *w->at++ = ']';
        break;
    case OP_RULESET:
        write_quoted(w, alert->script, strlen(alert->script));
        break;
    case OP_DETAILS:
        memcpy(w->at, alert->rule.details, alert->rule.details_len);
        w->at += alert->rule.details_len;
        break;
    case OP_TAGS:
        write_tags(w);
        break;
    case OP_MESSAGE:
        if (write_quoted(w, alert->text, alert->text_len))
            w->bad[CONTEXT] |= HAVE_MESSAGE;
        break;
    case OP_HELD:
        w->at = put_int(w->at, alert->held);
        break;
    case OP_KEY:
        if (write_quoted(w, alert->key, alert->key_len))
            w->bad[CONTEXT] |= HAVE_KEY;
        break;
    default:
        assert(!"not of the context");
    }
}

static void write_missing(struct writer *w)
{
    static const char prefix[] = "missing: ";

    for (uint64_t left = w->missing; left; left &= left - 1) {
        int field = __builtin_ctzll(left);
        const char *why = event_why_text((enum event_why)w->ev[SELF]->why[field]);
        if (!strncmp(why, prefix, sizeof prefix - 1))
            why += sizeof prefix - 1;
        write_name(w, event_fields[field].name);
        *w->at++ = '"';
        w->at = put_raw(w->at, why);
        *w->at++ = '"';
        *w->at++ = ',';
    }
}

static void write_raw_bytes(struct writer *w, const char *prefix, const char *name,
                            const char *bytes, size_t len)
{
    *w->at++ = '"';
    w->at = put_raw(w->at, prefix);
    w->at = put_raw(w->at, name);
    w->at = put_raw(w->at, "\":\"");
    w->at = put_base64(w->at, bytes, len);
    *w->at++ = '"';
    *w->at++ = ',';
}

static void write_raw_fields(struct writer *w, int who, const char *prefix)
{
    for (uint64_t left = w->bad[who]; left; left &= left - 1) {
        int field = __builtin_ctzll(left);
        size_t len;
        const char *bytes = event_text(w->ev[who], field, &len);
        write_raw_bytes(w, prefix, event_fields[field].name, bytes, len);
    }
}

static void write_raw(struct writer *w)
{
    const struct json_alert *alert = w->context->alert;

    write_raw_fields(w, SELF, "");
    write_raw_fields(w, PARENT, "parent.");
    if (w->bad[CONTEXT] & HAVE_MESSAGE)
        write_raw_bytes(w, "", "message", alert->text, alert->text_len);
    if (w->bad[CONTEXT] & HAVE_KEY)
        write_raw_bytes(w, "", "alert.key", alert->key, alert->key_len);
}

static void write_value(struct writer *w, const struct step *step)
{
    const struct event *ev = w->ev[step->who];
    int64_t num = ev->cell[step->field].num;

    write_key(w, step);
    switch ((enum op)step->op) {
    case OP_INT:
        w->at = put_int(w->at, num);
        break;
    case OP_INT_QUOTED:
        w->at = put_int_quoted(w->at, num);
        break;
    case OP_BOOL:
        w->at = put_raw(w->at, "true");
        break;
    case OP_TIME:
        w->at = put_time(w->at, num);
        break;
    case OP_SPAN:
        w->at = put_span(w->at, num);
        break;
    case OP_TEXT:
        write_text(w, step);
        break;
    case OP_ARGS:
        write_args(w, step);
        break;
    case OP_ID:
        write_id(w, ev);
        break;
    case OP_CMDLINE:
        write_cmdline(w, ev);
        break;
    case OP_KIND:
        write_kind(w);
        break;
    case OP_ECS:
        w->at = put_raw(w->at, "\"" ECS_VERSION "\"");
        break;
    default:
        write_context(w, (enum op)step->op);
    }
    *w->at++ = ',';
}

static void write_step(struct writer *w, const struct step *step)
{
    switch ((enum op)step->op) {
    case OP_OPEN:
        write_open(w, step);
        return;
    case OP_CLOSE:
        write_close(w);
        return;
    case OP_EVENT:
        write_event_kind(w);
        return;
    case OP_MISSING:
        write_missing(w);
        return;
    case OP_RAW:
        write_raw(w);
        return;
    default:
        write_value(w, step);
    }
}

/* The fields that have a value to write. Of a BOOL only `true` is one. */
static uint64_t fields_of(const struct event *ev)
{
    uint64_t have = 0;

    for (int field = 0; field < EVENT_FIELDS; field++)
        have |= (uint64_t)event_has(ev, (enum event_field)field) << field;
    for (uint64_t left = have & plan.bools; left; left &= left - 1)
        if (!ev->cell[__builtin_ctzll(left)].num)
            have &= ~(left & -left);
    return have;
}

static uint64_t context_has(const struct writer *w)
{
    const struct json_context *context = w->context;
    const struct json_alert *alert = context->alert;
    uint64_t have = 0;

    if (context->host)
        have |= HAVE_HOST;
    if ((w->have[SELF] & BIT(F_PPID)) || (w->have[PARENT] & BIT(F_PID)))
        have |= HAVE_PPID;
    if (!(w->have[SELF] & BIT(F_TYPE)))
        have |= HAVE_NO_EVENT;
    if (context->labels && context->labels_len)
        have |= HAVE_LABELS;
    if (!alert)
        return have;

    have |= alert->severity ? HAVE_SEVERITY : 0;
    have |= severity_number(alert->severity) ? HAVE_NUMBER : 0;
    have |= alert->script ? HAVE_RULE : 0;
    have |= alert->tags_len > 0 ? HAVE_TAGS : 0;
    have |= alert->text && alert->text_len ? HAVE_MESSAGE : 0;
    have |= alert->held ? HAVE_HELD : 0;
    have |= alert->key && alert->key_len ? HAVE_KEY : 0;
    have |= given(alert->rule.id) ? HAVE_ID : 0;
    have |= given(alert->rule.title) ? HAVE_TITLE : 0;
    have |= given(alert->rule.author) ? HAVE_AUTHOR : 0;
    have |= alert->rule.details_len ? HAVE_DETAILS : 0;
    return have;
}

static void survey(struct writer *w)
{
    const struct event *ev = w->ev[SELF], *parent = w->ev[PARENT];

    for (int i = 0; i < EVENT_FIELDS; i++)
        w->missing |= (uint64_t)(ev->why[i] >= WHY_MISSING) << i;
    w->have[SELF] = fields_of(ev);
    w->have[PARENT] = parent ? fields_of(parent) : 0;
    w->have[CONTEXT] = context_has(w);
}

/* What the texts of an event take at most: escaped, once more in base64, with quotes and a comma
 * for each empty argument; args twice, command_line repeats them. */
static size_t text_room(size_t len)
{
    return len * (ESCAPED_MAX + 2) + 16;
}

static size_t event_room(const struct event *ev)
{
    size_t room = 0;

    for (size_t i = 0; ev && i < plan.texts; i++) {
        enum event_field field = (enum event_field)plan.text[i];
        if (event_has(ev, field))
            room += text_room(ev->cell[field].text.len) * (field == F_ARGS ? 2 : 1);
    }
    return room;
}

static size_t alert_room(const struct json_alert *alert)
{
    size_t room = 0;

    if (!alert)
        return 0;
    const char *const texts[] = { alert->severity, alert->script,     alert->script,
                                  alert->rule.id,  alert->rule.title, alert->rule.author };
    for (int i = 0; i < alert->tags_len; i++)
        room += text_room(strlen(alert->tags[i]));
    for (size_t i = 0; i < COUNT(texts); i++)
        room += text_room(texts[i] ? strlen(texts[i]) : 0);
    return room + alert->rule.details_len + text_room(alert->text_len) + text_room(alert->key_len);
}

static size_t context_room(const struct json_context *context)
{
    size_t host = context->host ? strlen(context->host) : 0;
    return text_room(host) + context->labels_len + event_room(context->parent) +
           alert_room(context->alert);
}

void json_event(struct buf *out, const struct event *ev, const struct json_context *context)
{
    static const struct event nothing;

    if (!plan.count)
        plan_build();
    if (!ev)
        ev = &nothing;

    size_t room = plan.room + event_room(ev) + context_room(context);
    char *start = buf_reserve(out, room);
    if (!start)
        return;

    struct writer w = { .at = start, .ev = { ev, context->parent, ev }, .context = context };
    survey(&w);
    *w.at++ = '{';
    for (const struct step *step = plan.step; step < plan.step + plan.count; step++)
        if (!(step->need & ~w.have[step->who]))
            write_step(&w, step);
    w.at[-1] = '}';

    assert((size_t)(w.at - start) <= room);
    out->len += (size_t)(w.at - start);
}

/* --- the parts -------------------------------------------------------------------------- */

static void commit(struct buf *out, const char *start, const char *end)
{
    out->len += (size_t)(end - start);
}

bool json_string(struct buf *out, const char *bytes, size_t len)
{
    char *start = buf_reserve(out, len * ESCAPED_MAX + 2);
    bool bad = false;

    if (start)
        commit(out, start, put_quoted(start, bytes, len, &bad));
    return !bad;
}

void json_int(struct buf *out, int64_t value)
{
    char *start = buf_reserve(out, NUMBER_MAX);
    if (start)
        commit(out, start, put_int(start, value));
}

void json_time(struct buf *out, int64_t epoch_ns)
{
    char *start = buf_reserve(out, NUMBER_MAX);
    if (start)
        commit(out, start, put_time(start, epoch_ns));
}

/* The embedder's locale may have printf write "1,5", or several bytes in place of the comma. */
static void add_in_c_locale(struct buf *out, const char *text)
{
    bool in_point = false;

    for (; *text; text++) {
        bool point = !strchr("0123456789+-e", *text);
        if (!point)
            buf_putc(out, *text);
        else if (!in_point)
            buf_putc(out, '.');
        in_point = point;
    }
}

void json_number(struct buf *out, double value)
{
    if (!isfinite(value)) {
        buf_puts(out, "null");
        return;
    }
    const double exact = (double)INT_EXACT;
    if (value >= -exact && value <= exact && value == (double)(int64_t)value) {
        json_int(out, (int64_t)value);
        return;
    }

    /* 17 digits always read back as the same double; most need fewer. */
    char text[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    add_in_c_locale(out, text);
}
