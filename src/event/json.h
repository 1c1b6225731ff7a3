/* json.h - writes an event as one line of ECS JSON.
 *
 * Names and nesting come from the field table. Any bytes in, valid JSON out: what is not UTF-8
 * becomes U+FFFD and the bytes as they were go, in base64, to moonwatch.raw.NAME; control
 * characters are escaped; integers are exact, beyond 2^53 they are strings. Never null: a field
 * that is missing is named in moonwatch.missing with its reason. Keys come in a fixed order. */
#ifndef EVENT_JSON_H
#define EVENT_JSON_H

#include "base/buf.h"
#include "event/event.h"

/* The rule by which an alert was told, where scripts have many; NULL or "": left out. */
struct json_rule {
    const char *id, *title, *author; /* rule.id, rule.name, rule.author; then rule.ruleset is the script */
    const char *details;             /* a ready JSON object: moonwatch.alert.details */
    size_t details_len;
};

/* What a script says of an event. Texts are any bytes; NULL or 0 length: left out. */
struct json_alert {
    const char *severity; /* low, medium, high, critical */
    const char *script;   /* rule.name */
    const char *text;     /* message */
    size_t text_len;
    const char *const *tags; /* rule.tags: tags_len of them */
    int tags_len;
    int64_t held;    /* equal alerts held back since the last one; 0: left out */
    const char *key; /* what alerts are equal by, or NULL */
    size_t key_len;
    struct json_rule rule;
};

/* What an event needs besides itself. */
struct json_context {
    uint64_t boot;    /* for process.entity_id */
    const char *host; /* host.name, or NULL to leave it out */
    const struct event
        *parent; /* state of the parent as of the fork for process.parent.*, or NULL */
    const struct json_alert
        *alert;         /* makes event.kind "alert" and adds rule and message, or NULL */
    const char *labels; /* a ready JSON object of a script's own values, or NULL */
    size_t labels_len;
};

/* Append one object, without a newline. `ev` may be NULL when there is an alert about no event. */
void json_event(struct buf *out, const struct event *ev, const struct json_context *context);

/* The parts, for others who write JSON: a quoted string of any bytes (returns false when some were
 * not UTF-8 and were replaced), an integer, a number (NaN and infinities become null), an ISO 8601
 * date in UTC with microseconds, quoted. */
bool json_string(struct buf *out, const char *bytes, size_t len);
void json_int(struct buf *out, int64_t value);
void json_number(struct buf *out, double value);
void json_time(struct buf *out, int64_t epoch_ns);

#endif
