/* event.c - the record that every part of moonwatch speaks. See event.h. */
#include "event/event.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

_Static_assert(EVENT_FIELDS <= 64, "masks of fields are 64 bits wide");

/* UBSan's view of 1u << 31 aside, ON_ALL & ON(x) must stay unsigned: kinds fit into 32 bits. */
_Static_assert(EVENT_KINDS <= 32, "masks of kinds are 32 bits wide");

const struct event_field_info event_fields[EVENT_FIELDS] = {
#define F(NAME, name, type, kinds, unit, ecs, sigma, ocsf, falco, doc)                             \
    [F_##NAME] = { name, TYPE_##type, kinds, unit, ecs, sigma, ocsf, falco, doc },
#include "event/fields.def"
#undef F
};

const struct event_field_info event_derived[EVENT_DERIVED] = {
#define D(NAME, name, type, ecs, sigma, ocsf, falco, doc)                                          \
    [DERIVED_##NAME] = { name, TYPE_##type, ON_PROCESS, "", ecs, sigma, ocsf, falco, doc },
#include "event/derived.def"
#undef D
};

const char *const event_parent_names[EVENT_PARENT_NAMES][2] = {
    { "process.parent.", "process." },
    { "process.parent_process.", "process." },
    { "Parent", "" },
    { "proc.p", "proc." },
};

static const char *const kind_names[EVENT_KINDS] = {
    [EVENT_NONE] = "none",         [EVENT_FORK] = "fork",         [EVENT_EXEC] = "exec",
    [EVENT_EXIT] = "exit",         [EVENT_UID] = "uid",           [EVENT_GID] = "gid",
    [EVENT_SID] = "sid",           [EVENT_PTRACE] = "ptrace",     [EVENT_COMM] = "comm",
    [EVENT_COREDUMP] = "coredump", [EVENT_SNAPSHOT] = "snapshot", [EVENT_LOST] = "lost",
    [EVENT_RELOAD] = "reload",     [EVENT_STORM] = "storm",
};

const char *event_kind_name(enum event_kind kind)
{
    return (unsigned)kind < EVENT_KINDS ? kind_names[kind] : "none";
}

enum event_kind event_kind_named(const char *name)
{
    for (int kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++)
        if (!strcmp(kind_names[kind], name))
            return (enum event_kind)kind;
    return EVENT_NONE;
}

const char *event_kinds_text(uint32_t kinds, char *to, size_t cap)
{
    size_t len = 0;
    to[0] = '\0';
    for (int kind = EVENT_NONE + 1; kind < EVENT_KINDS; kind++) {
        const char *name = kind_names[kind];
        if (!(kinds & (UINT32_C(1) << kind)) || len + strlen(name) + 2 > cap)
            continue;
        if (len)
            to[len++] = ' ';
        memcpy(to + len, name, strlen(name) + 1);
        len += strlen(name);
    }
    return to;
}

const char *event_handled_text(uint32_t kinds, char *to, size_t cap)
{
    uint32_t any = (ON_ALL & ~(ON(NONE) | ON(STORM))) & ((UINT32_C(1) << EVENT_KINDS) - 1);
    return (kinds & any) == any ? "any" : event_kinds_text(kinds, to, cap);
}

int event_field_named(const char *name)
{
    for (int field = 0; field < EVENT_FIELDS; field++)
        if (!strcmp(event_fields[field].name, name))
            return field;
    return -1;
}

const char *event_why_text(enum event_why why)
{
    switch (why) {
    case WHY_ABSENT:
        return "absent";
    case WHY_KERNEL:
        return "connector";
    case WHY_TAP:
        return "tap";
    case WHY_TASKSTATS:
        return "taskstats";
    case WHY_PROC:
        return "proc";
    case WHY_INHERITED:
        return "inherited";
    case WHY_KEPT:
        return "kept";
    case WHY_COMPUTED:
        return "computed";
    case WHY_GONE:
        return "missing: gone before read";
    case WHY_ZOMBIE:
        return "missing: exited before read";
    case WHY_DENIED:
        return "missing: permission denied";
    case WHY_KTHREAD:
        return "missing: kernel threads have none";
    case WHY_UNSEEN:
        return "missing: its fork was not seen";
    case WHY_EVICTED:
        return "missing: dropped to bound the process table";
    case WHY_UNASKED:
        return "missing: no script needs it";
    }
    return "missing";
}

/* --- building ------------------------------------------------------------------------- */

void event_begin(struct event_box *box, enum event_kind kind)
{
    memset(&box->ev, 0, sizeof box->ev);
    box->ev.size = sizeof box->ev;
    box->ev.version = EVENT_VERSION;
    box->ev.fields = EVENT_FIELDS;
    event_set(box, F_TYPE, kind, WHY_COMPUTED);
}

void event_set(struct event_box *box, enum event_field field, int64_t value, enum event_why why)
{
    box->ev.cell[field].num = value;
    box->ev.why[field] = (uint8_t)why;
}

void event_set_missing(struct event_box *box, enum event_field field, enum event_why why)
{
    event_set(box, field, 0, why);
}

static size_t round_up_8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

bool event_set_text(struct event_box *box, enum event_field field, const char *bytes, size_t len,
                    enum event_why why)
{
    bool whole = len <= EVENT_TEXT_MAX;
    if (!whole)
        len = EVENT_TEXT_MAX;
    if (event_fields[field].type == TYPE_TEXT)
        len = strnlen(bytes, len);

    bool ends_open = event_fields[field].type == TYPE_ARGS && len && bytes[len - 1] != '\0';
    size_t room = sizeof *box - box->ev.size;
    size_t need = round_up_8(len + ends_open);
    if (need > room) {
        event_set_missing(box, field, WHY_ABSENT);
        return false;
    }

    char *to = (char *)box + box->ev.size;
    memcpy(to, bytes, len);
    memset(to + len, 0, need - len);
    box->ev.cell[field].text.off = box->ev.size;
    box->ev.cell[field].text.len = (uint32_t)(len + ends_open);
    box->ev.why[field] = (uint8_t)why;
    box->ev.size += (uint32_t)need;
    return whole;
}

void event_copy_field(struct event_box *box, enum event_field to, const struct event *from,
                      enum event_field field, enum event_why why)
{
    if (!event_has(from, field)) {
        event_set_missing(box, to, (enum event_why)from->why[field]);
        return;
    }
    if (why == WHY_ABSENT)
        why = (enum event_why)from->why[field];
    if (event_is_text(field)) {
        size_t len;
        const char *bytes = event_text(from, field, &len);
        event_set_text(box, to, bytes, len, why);
    } else {
        event_set(box, to, from->cell[field].num, why);
    }
}

/* --- reading -------------------------------------------------------------------------- */

static bool text_inside(const struct event *ev, enum event_field field)
{
    uint64_t off = ev->cell[field].text.off, len = ev->cell[field].text.len;
    if (off < sizeof *ev || off + len > ev->size)
        return false;
    if (event_fields[field].type == TYPE_ARGS)
        return len == 0 || ((const char *)ev)[off + len - 1] == '\0';
    return true;
}

bool event_valid(const void *bytes, size_t len)
{
    const struct event *ev = bytes;
    if ((uintptr_t)bytes % 8 || len < sizeof *ev || ev->size < sizeof *ev || ev->size > len ||
        ev->size > EVENT_MAX || ev->size % 8)
        return false;
    if (ev->version != EVENT_VERSION || ev->fields != EVENT_FIELDS)
        return false;
    if (!event_has(ev, F_TYPE) || (uint64_t)ev->cell[F_TYPE].num >= EVENT_KINDS)
        return false;
    for (int field = 0; field < EVENT_FIELDS; field++)
        if (event_is_text(field) && event_has(ev, field) && !text_inside(ev, field))
            return false;
    return true;
}

/* --- derived -------------------------------------------------------------------------- */

size_t event_id(const struct event *ev, uint64_t boot, char *to)
{
    if (!event_has(ev, F_PID) || !event_has(ev, F_STARTTIME))
        return 0;
    int len = snprintf(to, EVENT_ID_MAX, "%016llx-%lld-%lld", (unsigned long long)boot,
                       (long long)ev->cell[F_PID].num, (long long)ev->cell[F_STARTTIME].num);
    return len > 0 ? (size_t)len : 0;
}

size_t event_cmdline(const struct event *ev, char *to, size_t cap)
{
    size_t len;
    const char *args = event_text(ev, F_ARGS, &len);
    if (!args || !len)
        return 0;

    len -= 1; /* the last NUL ends, it does not separate */
    if (len > cap)
        len = cap;
    for (size_t i = 0; i < len; i++)
        to[i] = args[i] ? args[i] : ' ';
    return len;
}

uint64_t event_boot_id(void)
{
    /* 3f9d1f0c-3b1e-4b0e-9c86-0c1d6f0f8f3e */
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);

    uint64_t id = 0;
    int digits = 0;
    for (ssize_t i = 0; i < len && digits < 16; i++) {
        const char *hex = "0123456789abcdef";
        const char *at = text[i] ? strchr(hex, text[i]) : NULL;
        if (!at)
            continue;
        id = id << 4 | (uint64_t)(at - hex);
        digits++;
    }
    return id;
}
