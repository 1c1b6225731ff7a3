/* event.h - the record that every part of moonwatch speaks.
 *
 * One flat, versioned, pointer-free run of bytes: the same in the collector, in the ring, in a
 * file and in the host. It holds facts and how each is known; what they mean is a script's
 * affair. Knows no /proc, no socket, no Lua. */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_VERSION 1

/* Text of one field is cut at this length (args set `truncated`); a record is never larger
 * than EVENT_MAX bytes. */
#define EVENT_TEXT_MAX (64 * 1024)
#define EVENT_MAX      (128 * 1024)

enum event_kind {
    EVENT_NONE, /* no event: a record that was never filled */
    EVENT_FORK,
    EVENT_EXEC,
    EVENT_EXIT,
    EVENT_UID,
    EVENT_GID,
    EVENT_SID,
    EVENT_PTRACE,
    EVENT_COMM,
    EVENT_COREDUMP,
    EVENT_SNAPSHOT, /* was running when the watch began, or was found after a loss */
    EVENT_LOST,
    EVENT_RELOAD,
    EVENT_STORM, /* more than the scripts can take: what is summed up, see storm.h */
    EVENT_KINDS
};

#define ON(kind)   (UINT32_C(1) << EVENT_##kind)
#define ON_ALL     (UINT32_MAX)
#define ON_PROCESS (ON_ALL & ~(ON(LOST) | ON(RELOAD)))

enum event_type { TYPE_KIND, TYPE_INT, TYPE_BOOL, TYPE_TIME, TYPE_SPAN, TYPE_TEXT, TYPE_ARGS };

enum event_field {
#define F(NAME, ...) F_##NAME,
#include "event/fields.def"
#undef F
    EVENT_FIELDS,
    EVENT_FIRST_STATE = F_PID, /* the state of a process: what the tracker keeps */
    EVENT_LAST_STATE = F_CONTAINER,
    EVENT_STATE_FIELDS = EVENT_LAST_STATE - EVENT_FIRST_STATE + 1
};

/* How a field is known, or why it is not. Below WHY_MISSING the field has a value. */
enum event_why {
    WHY_ABSENT,    /* events of this kind do not have it, or it does not apply: nil, no fault */
    WHY_KERNEL,    /* in the connector's message */
    WHY_TAP,       /* told by the tap, in the kernel, at the exec or the exit itself */
    WHY_TASKSTATS, /* in the taskstats message of the process's end */
    WHY_PROC,      /* read from /proc */
    WHY_INHERITED, /* from the parent, at the fork */
    WHY_KEPT,      /* from an earlier event of the same process */
    WHY_COMPUTED,  /* moonwatch's own figure */
    WHY_MISSING = 0x80,
    WHY_GONE = WHY_MISSING, /* the process was gone before it was read */
    WHY_ZOMBIE,             /* it had exited, not yet reaped, before it was read */
    WHY_DENIED,             /* reading was not permitted */
    WHY_KTHREAD,            /* kernel threads have none */
    WHY_UNSEEN,             /* its fork was lost or came before the watch */
    WHY_EVICTED,            /* dropped to keep the process table inside its bound */
    WHY_UNASKED,            /* no script needs it, so it was not read */
};

/* One value. `num` for all types but TEXT and ARGS; those say where in the record it lies. */
union event_cell {
    int64_t num;
    struct {
        uint32_t off; /* from the start of the record */
        uint32_t len; /* TEXT: without a NUL; ARGS: with the NUL of the last one */
    } text;
};

struct event {
    uint32_t size;    /* whole record, text included; a multiple of 8 */
    uint16_t version; /* EVENT_VERSION of the writer */
    uint16_t fields;  /* EVENT_FIELDS of the writer */
    union event_cell cell[EVENT_FIELDS];
    uint8_t why[(EVENT_FIELDS + 7) / 8 * 8]; /* enum event_why */
    /* text follows */
};

/* Storage in which a record is built; reused from event to event. */
struct event_box {
    _Alignas(8) struct event ev;
    char text[EVENT_MAX - sizeof(struct event)];
};

/* What the field table says of one field. */
struct event_field_info {
    const char *name;
    enum event_type type;
    uint32_t kinds;                                      /* bit per enum event_kind: ON(EXEC) */
    const char *unit, *ecs, *sigma, *ocsf, *falco, *doc; /* "" where there is none */
};
extern const struct event_field_info event_fields[EVENT_FIELDS];

/* The same for what is computed: only name, type, names in other schemas and doc are set. */
enum event_derived {
#define D(NAME, ...) DERIVED_##NAME,
#include "event/derived.def"
#undef D
    EVENT_DERIVED
};
extern const struct event_field_info event_derived[EVENT_DERIVED];

/* "exec" for EVENT_EXEC. Out of range: "none". */
const char *event_kind_name(enum event_kind kind);

/* EVENT_NONE when there is no such kind. */
enum event_kind event_kind_named(const char *name);

#define EVENT_KINDS_TEXT 128 /* bytes for the names of all kinds */

/* The names of these kinds, "fork exec": those that fit, whole. Returns `to`. */
const char *event_kinds_text(uint32_t kinds, char *to, size_t cap);

/* The same of what a script's handlers are for: "any" when it is every kind that `any` means. */
const char *event_handled_text(uint32_t kinds, char *to, size_t cap);

/* The field of this name (our own), or -1. */
int event_field_named(const char *name);

/* How other schemas call what is the parent's: { prefix of its name, prefix of the same field's name for
 * the process itself }. */
#define EVENT_PARENT_NAMES 4
extern const char *const event_parent_names[EVENT_PARENT_NAMES][2];

/* "proc", "inherited", "missing: gone before read", ...: what ev:why() says. Static text. */
const char *event_why_text(enum event_why why);

/* --- building ------------------------------------------------------------------------- */

/* Empty the box: no field known, type, seq, times unset. */
void event_begin(struct event_box *box, enum event_kind kind);

void event_set(struct event_box *box, enum event_field field, int64_t value, enum event_why why);

/* Copies at most EVENT_TEXT_MAX bytes; cuts TEXT at its first NUL. A value that no longer fits
 * into the record is left out as WHY_ABSENT; returns false then, or when it was cut. Setting a
 * field anew leaves the old text's bytes unused until the next event_begin. */
bool event_set_text(struct event_box *box, enum event_field field, const char *bytes, size_t len,
                    enum event_why why);

/* Say why a field has no value. */
void event_set_missing(struct event_box *box, enum event_field field, enum event_why why);

/* Copy one field with its why, or with `why` where that is not WHY_ABSENT and it has a value. */
void event_copy_field(struct event_box *box, enum event_field to, const struct event *from,
                      enum event_field field, enum event_why why);

/* --- reading -------------------------------------------------------------------------- */

static inline bool event_has(const struct event *ev, enum event_field field)
{
    return ev->why[field] - 1u < WHY_MISSING - 1u;
}

static inline enum event_kind event_kind(const struct event *ev)
{
    return (enum event_kind)ev->cell[F_TYPE].num;
}

/* The value, or `otherwise` when it has none. */
static inline int64_t event_int(const struct event *ev, enum event_field field, int64_t otherwise)
{
    return event_has(ev, field) ? ev->cell[field].num : otherwise;
}

/* The bytes, or NULL when it has none. Borrowed from the record; not NUL-terminated. */
static inline const char *event_text(const struct event *ev, enum event_field field, size_t *len)
{
    if (!event_has(ev, field)) {
        *len = 0;
        return NULL;
    }
    *len = ev->cell[field].text.len;
    return (const char *)ev + ev->cell[field].text.off;
}

static inline bool event_is_text(enum event_field field)
{
    return event_fields[field].type >= TYPE_TEXT;
}

/* Is this a whole, self-consistent record of our version? For bytes from outside (ring, file):
 * after `true`, every accessor stays inside size bytes. */
bool event_valid(const void *bytes, size_t len);

/* --- derived -------------------------------------------------------------------------- */

/* Identity that outlives pid reuse: "BOOT-PID-STARTTIME", boot being 16 hex digits of the boot
 * id. Writes at most EVENT_ID_MAX bytes with the NUL; returns the length, 0 when unknown. */
#define EVENT_ID_MAX 64
size_t event_id(const struct event *ev, uint64_t boot, char *to);

/* args joined by spaces into `to` (at most cap bytes, no NUL); returns the length. */
size_t event_cmdline(const struct event *ev, char *to, size_t cap);

/* The first eight bytes of this boot's random id, or 0. */
uint64_t event_boot_id(void);

#endif
