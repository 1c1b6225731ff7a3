/* read.c - makes events of lines of JSON. See read.h. */
#include "event/read.h"

#include "base/clock.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define LINE_MOST  ((size_t)4 * 1024 * 1024)
#define PIDS       65536 /* places: a pid that shares one with another is seen anew */
#define MADE_UP    1000  /* ticks between processes whose start nobody tells */
#define MONO_BEGIN (INT64_C(1000) * NS_PER_SECOND)
#define TICK_NS    (NS_PER_SECOND / 100)
#define COMM_MOST  15

struct reader {
    struct event_box event, parent;
    char bytes[EVENT_TEXT_MAX + 4]; /* of args, or decoded */
    struct seen {
        int64_t pid, ticks; /* pid 0: free */
    } seen[PIDS];
    int64_t seq, made_up;
    uint64_t boot;
    int64_t mono_ns, first_ns; /* of the last event; time of the first one, 0: there was none */
};

int reader_new(struct reader **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : -ENOMEM;
}

uint64_t reader_boot(const struct reader *r)
{
    return r->boot;
}

void reader_free(struct reader *r)
{
    free(r);
}

/* --- values -------------------------------------------------------------------------------------- */

/* "process.parent.pid": nested, or with a name that has the dots, or a bit of both. */
static const json_t *find(const json_t *in, const char *path)
{
    const json_t *found = json_object_get(in, path);
    char key[64];
    for (const char *dot = strchr(path, '.'); !found && dot; dot = strchr(dot + 1, '.')) {
        size_t len = (size_t)(dot - path);
        if (len >= sizeof key)
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        const json_t *inner = json_object_get(in, key);
        if (json_is_object(inner))
            found = find(inner, dot + 1);
    }
    return found;
}

/* Numbers beyond 2^53, and users' ids, are texts. */
static bool get_int(const json_t *v, int64_t *to)
{
    char *end;
    if (json_is_integer(v)) {
        *to = json_integer_value(v);
        return true;
    }
    if (json_is_real(v) && fabs(json_real_value(v)) < 9e18) {
        *to = (int64_t)json_real_value(v);
        return true;
    }
    if (!json_is_string(v) || !json_string_length(v))
        return false;
    errno = 0;
    *to = strtoll(json_string_value(v), &end, 10);
    return !*end && !errno;
}

static bool get_number(const json_t *v, double *to)
{
    char *end;
    if (json_is_string(v) && json_string_length(v)) {
        *to = strtod(json_string_value(v), &end);
        return !*end && isfinite(*to);
    }
    *to = json_number_value(v);
    return json_is_number(v);
}

/* ".123456789" as nanoseconds; moves *text behind it. */
static int64_t take_fraction(const char **text)
{
    int64_t ns = 0, unit = NS_PER_SECOND;
    if (**text != '.' && **text != ',')
        return 0;
    for (++*text; **text >= '0' && **text <= '9'; ++*text) {
        unit /= 10;
        ns += (**text - '0') * unit;
    }
    return ns;
}

/* "+02:00", "-0330", "Z": seconds to the east; false: it is none of them. */
static bool take_offset(const char *text, int *to)
{
    unsigned hours, minutes = 0;
    *to = 0;
    if (!*text || !strcasecmp(text, "z"))
        return true;
    if ((*text != '+' && *text != '-') ||
        (sscanf(text + 1, "%2u:%2u", &hours, &minutes) != 2 && sscanf(text + 1, "%2u%2u", &hours, &minutes) < 1) ||
        hours > 18 || minutes > 59)
        return false;
    *to = (int)(hours * 3600 + minutes * 60) * (*text == '-' ? -1 : 1);
    return true;
}

/* "2026-11-25T04:57:38.563002Z", or seconds, or milliseconds since the epoch as some write them. */
static bool get_time(const json_t *v, int64_t *to)
{
    struct tm tm = { 0 };
    double number;
    int offset;
    const char *at = json_is_string(v) ? strptime(json_string_value(v), "%Y-%m-%d", &tm) : NULL;
    if (!at) {
        if (!get_number(v, &number) || !(number > 0 && number < 9e12))
            return false;
        *to = (int64_t)(number * (number > 1e11 ? 1e6 : 1e9));
        return true;
    }
    if (*at != 'T' && *at != ' ' && *at != 't')
        return false;
    at = strptime(at + 1, "%H:%M:%S", &tm);
    if (!at || tm.tm_year < 70 || tm.tm_year > 350) /* nanoseconds end in 2262 */
        return false;
    int64_t ns = take_fraction(&at);
    if (!take_offset(at, &offset))
        return false;
    *to = ((int64_t)timegm(&tm) - offset) * NS_PER_SECOND + ns;
    return true;
}

static int digit64(char c)
{
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Bytes into r->bytes; -1: it is no base64, or too long. */
static int64_t decode64(struct reader *r, const char *text, size_t len)
{
    size_t n = 0;
    uint32_t bits = 0;
    while (len && text[len - 1] == '=')
        len--;
    if (len / 4 * 3 > EVENT_TEXT_MAX)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int digit = digit64(text[i]);
        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            r->bytes[n++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    return (int64_t)n;
}

/* --- fields -------------------------------------------------------------------------------------- */

/* As one run of NUL-ended strings; false: it is no list of texts. */
static bool join(struct reader *r, const json_t *list, size_t *len)
{
    size_t i;
    const json_t *one;
    *len = 0;
    json_array_foreach(list, i, one) {
        size_t n = json_string_length(one);
        if (!json_is_string(one) || memchr(json_string_value(one), '\0', n))
            return false;
        if (n + 1 > EVENT_TEXT_MAX - *len)
            break;
        memcpy(r->bytes + *len, json_string_value(one), n + 1);
        *len += n + 1;
    }
    return json_is_array(list);
}

/* Who tells the line only is believed to have split at blanks; what stood in quotes is lost to us. */
static bool split(struct reader *r, const json_t *line, size_t *len)
{
    const char *text = json_string_value(line);
    *len = 0;
    for (size_t n; text && *(text += strspn(text, " ")); text += n) {
        n = strcspn(text, " ");
        if (n + 1 > EVENT_TEXT_MAX - *len)
            break;
        memcpy(r->bytes + *len, text, n);
        r->bytes[*len + n] = '\0';
        *len += n + 1;
    }
    return *len;
}

/* The bytes as they were, where they are no UTF-8. */
static bool set_raw(struct reader *r, struct event_box *to, enum event_field field, const json_t *raw)
{
    int64_t len = json_is_string(raw) ? decode64(r, json_string_value(raw), json_string_length(raw)) : -1;
    if (len < 0)
        return false;
    return event_set_text(to, field, r->bytes, (size_t)len, WHY_COMPUTED);
}

static void set_field(struct reader *r, struct event_box *to, enum event_field field, const json_t *v)
{
    size_t len;
    int64_t num;
    double number;
    switch (event_fields[field].type) {
    case TYPE_KIND:
        break;
    case TYPE_INT:
        if (get_int(v, &num))
            event_set(to, field, num, WHY_COMPUTED);
        break;
    case TYPE_BOOL:
        if (json_is_true(v))
            event_set(to, field, 1, WHY_COMPUTED);
        break;
    case TYPE_TIME:
        if (get_time(v, &num))
            event_set(to, field, num, WHY_COMPUTED);
        break;
    case TYPE_SPAN: /* ECS has durations in nanoseconds; ours are seconds */
        if (field == F_DURATION && get_int(v, &num) && num >= 0)
            event_set(to, field, num, WHY_COMPUTED);
        else if (field != F_DURATION && get_number(v, &number) && fabs(number) < 9e9)
            event_set(to, field, llround(number * 1e9), WHY_COMPUTED);
        break;
    case TYPE_TEXT:
        if (json_is_string(v))
            event_set_text(to, field, json_string_value(v), json_string_length(v), WHY_COMPUTED);
        break;
    case TYPE_ARGS:
        if (join(r, v, &len))
            event_set_text(to, field, r->bytes, len, WHY_COMPUTED);
        break;
    }
}

/* "gone before read" -> WHY_GONE */
static void set_missing(struct event_box *to, const char *name, const json_t *reason)
{
    static const char prefix[] = "missing: ";
    int field = event_field_named(name);
    if (field < 0 || !json_is_string(reason) || event_has(&to->ev, field))
        return;
    for (int why = WHY_MISSING; why <= WHY_UNASKED; why++) {
        const char *text = event_why_text((enum event_why)why);
        if (!strncmp(text, prefix, sizeof prefix - 1) && !strcmp(text + sizeof prefix - 1, json_string_value(reason)))
            event_set_missing(to, field, (enum event_why)why);
    }
}

/* --- kinds --------------------------------------------------------------------------------------- */

static const struct {
    const char *action;
    enum event_kind kind;
} actions[] = {
    { "fork", EVENT_FORK },           { "clone", EVENT_FORK },
    { "exec", EVENT_EXEC },           { "execve", EVENT_EXEC },
    { "executed", EVENT_EXEC },       { "process_started", EVENT_EXEC },
    { "start", EVENT_EXEC },          { "exec_event", EVENT_EXEC },
    { "creation", EVENT_EXEC },       { "process-started", EVENT_EXEC },
    { "end", EVENT_EXIT },            { "exit", EVENT_EXIT },
    { "process_stopped", EVENT_EXIT }, { "termination", EVENT_EXIT },
    { "terminated", EVENT_EXIT },     { "process-stopped", EVENT_EXIT },
    { "existing_process", EVENT_SNAPSHOT }, { "already_running", EVENT_SNAPSHOT },
    { "info", EVENT_SNAPSHOT },       { "uid_change", EVENT_UID },
    { "gid_change", EVENT_GID },      { "session_id_change", EVENT_SID },
};

/* Of a word, or of the first word of a list that says something. */
static enum event_kind kind_of(const json_t *v)
{
    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        enum event_kind kind = kind_of(json_array_get(v, i));
        if (kind)
            return kind;
    }
    for (size_t i = 0; json_is_string(v) && i < sizeof actions / sizeof *actions; i++)
        if (!strcasecmp(json_string_value(v), actions[i].action))
            return actions[i].kind;
    return EVENT_NONE;
}

static bool says_process(const json_t *category)
{
    bool says = !category || (json_is_string(category) && !strcmp(json_string_value(category), "process"));
    for (size_t i = 0; json_is_array(category) && i < json_array_size(category); i++)
        says = says || says_process(json_array_get(category, i));
    return says;
}

static enum event_kind find_kind(const json_t *line)
{
    const json_t *own = find(line, "moonwatch.type");
    if (json_is_string(own))
        return event_kind_named(json_string_value(own));
    if (!says_process(find(line, "event.category")))
        return EVENT_NONE;
    enum event_kind kind = kind_of(find(line, "event.action"));
    return kind ? kind : kind_of(find(line, "event.type"));
}

/* --- who it is ----------------------------------------------------------------------------------- */

static struct seen *place_of(struct reader *r, int64_t pid)
{
    return &r->seen[(uint64_t)pid % PIDS];
}

static bool is_seen(struct reader *r, int64_t pid)
{
    return place_of(r, pid)->pid == pid;
}

/* A process without a start has one of its own from its first line to its exit. */
static void set_start(struct reader *r, struct event_box *box)
{
    int64_t pid = event_int(&box->ev, F_PID, 0);
    struct seen *seen = place_of(r, pid);
    bool known = seen->pid == pid;
    if (!event_has(&box->ev, F_STARTTIME)) {
        if (event_has(&box->ev, F_START))
            event_set(box, F_STARTTIME, box->ev.cell[F_START].num / TICK_NS, WHY_COMPUTED);
        else
            event_set(box, F_STARTTIME, known ? seen->ticks : (r->made_up += MADE_UP), WHY_COMPUTED);
    }
    *seen = (struct seen){ pid, box->ev.cell[F_STARTTIME].num };
    if (event_kind(&box->ev) == EVENT_EXIT)
        seen->pid = 0;
}

static void set_names(struct reader *r, struct event_box *box, const json_t *process)
{
    size_t len;
    if (!event_has(&box->ev, F_ARGS) && split(r, find(process, "command_line"), &len))
        event_set_text(box, F_ARGS, r->bytes, len, WHY_COMPUTED);
    const char *text = event_text(&box->ev, F_COMM, &len);
    if (text && len > COMM_MOST) { /* a whole file name, as some tell it */
        char comm[COMM_MOST];
        memcpy(comm, text, sizeof comm);
        event_set_text(box, F_COMM, comm, sizeof comm, WHY_COMPUTED);
    }
    text = event_text(&box->ev, F_EXE, &len);
    if (!event_has(&box->ev, F_COMM) && text) {
        const char *slash = memrchr(text, '/', len), *base = slash ? slash + 1 : text;
        size_t rest = len - (size_t)(base - text);
        char comm[COMM_MOST];
        memcpy(comm, base, rest < sizeof comm ? rest : sizeof comm);
        event_set_text(box, F_COMM, comm, rest < sizeof comm ? rest : sizeof comm, WHY_COMPUTED);
    }
}

static void set_by_path(struct reader *r, struct event_box *box, enum event_field field, const json_t *line,
                        const char *path)
{
    if (!event_has(&box->ev, field))
        set_field(r, box, field, find(line, path));
}

/* Start time in our own ids: "BOOT-PID-STARTTIME". */
static void set_from_id(struct event_box *box, const json_t *id)
{
    long long pid, ticks;
    if (json_is_string(id) && sscanf(json_string_value(id), "%*16[0-9a-f]-%lld-%lld", &pid, &ticks) == 2 &&
        pid == event_int(&box->ev, F_PID, -1))
        event_set(box, F_STARTTIME, ticks, WHY_COMPUTED);
}

static uint64_t boot_of(const json_t *id)
{
    unsigned long long boot;
    return json_is_string(id) && sscanf(json_string_value(id), "%16llx-", &boot) == 1 ? boot : 0;
}

/* --- time ---------------------------------------------------------------------------------------- */

/* A clock that never goes back, whatever the lines say. */
static void set_time(struct reader *r)
{
    struct event_box *box = &r->event;
    int64_t time_ns = event_int(&box->ev, F_TIME, r->first_ns), mono_ns;
    if (!r->first_ns)
        r->first_ns = time_ns;
    if (!event_has(&box->ev, F_TIME))
        event_set(box, F_TIME, time_ns + r->mono_ns - (r->mono_ns ? MONO_BEGIN : 0), WHY_COMPUTED);
    mono_ns = event_int(&box->ev, F_MONO, MONO_BEGIN + time_ns - r->first_ns);
    r->mono_ns = mono_ns > r->mono_ns ? mono_ns : r->mono_ns;
    event_set(box, F_MONO, r->mono_ns, WHY_COMPUTED);
    r->seq = event_int(&box->ev, F_SEQ, r->seq + 1);
    event_set(box, F_SEQ, r->seq, WHY_COMPUTED);
}

/* A program has a file, arguments and a name: whoever does not tell them leaves them out. */
static void say_untold(struct event_box *box)
{
    static const enum event_field always[] = { F_EXE, F_ARGS, F_COMM };
    for (size_t i = 0; event_kind(&box->ev) == EVENT_EXEC && i < sizeof always / sizeof *always; i++)
        if (box->ev.why[always[i]] == WHY_ABSENT)
            event_set_missing(box, always[i], WHY_UNSEEN);
}

/* --- a line -------------------------------------------------------------------------------------- */

static void read_fields(struct reader *r, const json_t *line)
{
    const json_t *raw = find(line, "moonwatch.raw"), *missing = find(line, "moonwatch.missing");
    for (int field = F_SEQ; field < EVENT_FIELDS; field++) {
        const char *own = event_fields[field].name;
        if (!set_raw(r, &r->event, field, json_object_get(raw, own)) && *event_fields[field].ecs)
            set_field(r, &r->event, field, find(line, event_fields[field].ecs));
    }
    for (void *at = json_object_iter((json_t *)missing); at; at = json_object_iter_next((json_t *)missing, at))
        set_missing(&r->event, json_object_iter_key(at), json_object_iter_value(at));
    set_by_path(r, &r->event, F_UID, line, "user.id");
    set_by_path(r, &r->event, F_EUID, line, "user.effective.id");
    set_by_path(r, &r->event, F_GID, line, "group.id");
    if (!event_has(&r->event.ev, F_EUID) && event_has(&r->event.ev, F_UID))
        event_set(&r->event, F_EUID, r->event.ev.cell[F_UID].num, WHY_COMPUTED);
    if (!event_has(&r->event.ev, F_TID))
        event_set(&r->event, F_TID, event_int(&r->event.ev, F_PID, 0), WHY_COMPUTED);
    set_names(r, &r->event, find(line, "process"));
    if (!find(line, "moonwatch.type"))
        say_untold(&r->event);
}

/* What the line says of the parent; false: nothing that is new. */
static bool read_parent(struct reader *r, const json_t *line)
{
    static const enum event_field told[] = { F_PID, F_COMM, F_EXE, F_ARGS, F_CWD, F_START, F_PPID };
    const json_t *parent = find(line, "process.parent"), *raw = find(line, "moonwatch.raw");
    char name[64];
    int64_t ppid = event_int(&r->event.ev, F_PPID, 0);
    if (!json_is_object(parent) || ppid <= 0 || is_seen(r, ppid))
        return false;
    event_begin(&r->parent, EVENT_SNAPSHOT);
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        const char *path = strchr(event_fields[told[i]].ecs, '.') + 1;
        snprintf(name, sizeof name, "parent.%s", event_fields[told[i]].name);
        if (!set_raw(r, &r->parent, told[i], json_object_get(raw, name)))
            set_field(r, &r->parent, told[i], find(parent, path));
    }
    event_set(&r->parent, F_PID, ppid, WHY_COMPUTED);
    event_set(&r->parent, F_TID, ppid, WHY_COMPUTED);
    event_copy_field(&r->parent, F_TIME, &r->event.ev, F_TIME, WHY_COMPUTED);
    event_copy_field(&r->parent, F_MONO, &r->event.ev, F_MONO, WHY_COMPUTED);
    set_from_id(&r->parent, find(parent, "entity_id"));
    set_names(r, &r->parent, parent);
    set_start(r, &r->parent);
    return true;
}

static int read_object(struct reader *r, const json_t *line, const struct event **ev,
                       const struct event **parent, char *why, size_t cap)
{
    enum event_kind kind = find_kind(line);
    *parent = NULL;
    if (kind == EVENT_NONE)
        return 0;
    event_begin(&r->event, kind);
    read_fields(r, line);
    bool about_process = ON_PROCESS & (UINT32_C(1) << kind);
    if (about_process && event_int(&r->event.ev, F_PID, 0) <= 0) {
        snprintf(why, cap, "an event of a process without process.pid");
        return -EBADMSG;
    }
    set_time(r);
    if (about_process && read_parent(r, line))
        *parent = &r->parent.ev;
    if (about_process)
        set_start(r, &r->event);
    if (!r->boot)
        r->boot = boot_of(find(line, "process.entity_id"));
    *ev = &r->event.ev;
    return 1;
}

static bool is_blank(const char *line, size_t len)
{
    while (len && strchr(" \t\r\n", line[len - 1]) && line[len - 1])
        len--;
    return !len;
}

int reader_line(struct reader *r, const char *line, size_t len, const struct event **ev,
                const struct event **parent, char *why, size_t cap)
{
    json_error_t error;
    if (is_blank(line, len))
        return 0;
    if (len > LINE_MOST) {
        snprintf(why, cap, "it is longer than %zu MiB", LINE_MOST >> 20);
        return -EBADMSG;
    }
    json_t *object = json_loadb(line, len, 0, &error);
    if (!json_is_object(object)) {
        snprintf(why, cap, "it is no JSON object%s%s", object ? "" : ": ", object ? "" : error.text);
        json_decref(object);
        return -EBADMSG;
    }
    int result = read_object(r, object, ev, parent, why, cap);
    json_decref(object);
    return result;
}
