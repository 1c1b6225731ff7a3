/* redact.h - takes secrets out of arguments and environments before they are written down.
 *
 * What a regular expression finds becomes [redacted:XXXXXXXX]. The digits are a keyed hash of the
 * secret: the same one has the same digits, and who has the recording but not the key, which is
 * never written, cannot try guesses. Where an expression comes to its limit everything is taken
 * out: rather too much than a secret. Knows no Lua: what is looked for comes as plain data. */
#ifndef RECORD_REDACT_H
#define RECORD_REDACT_H

#include "base/buf.h"
#include "collect/answers.h"
#include "event/event.h"

#define REDACT_RULES    64   /* of a list, at most */
#define REDACT_LITERALS 256  /* of a rule, at most */
#define REDACT_LITERAL  32   /* bytes of a literal, at most */
#define REDACT_LONGEST  4096 /* bytes of an expression, at most */

struct redact_literal {
    const char *bytes;
    size_t len;
};

/* A PCRE2 expression, on bytes. What its first group matched is the secret, or all that it matched.
 */
struct redact_rule {
    const char *regex;
    size_t regex_len;
    /* It can match only where one of these is (in capital or small letters). None: anywhere, and
     * then every list of arguments costs a try. */
    const struct redact_literal *has;
    size_t has_len;
};

struct redact_list {
    const struct redact_rule *rule;
    size_t len;
};

struct redact_rules {
    struct redact_list args;   /* in the arguments, each with its NUL, one after another */
    struct redact_list names;  /* in the name of a variable: its value is a secret */
    struct redact_list values; /* in the value of a variable */
};

struct redact; /* opaque */

/* The rules are copied. 0; -EINVAL with what is wrong and where in `why`; another -errno. */
int redact_new(struct redact **out, const struct redact_rules *rules, char *why, size_t cap);
void redact_free(struct redact *r);

/* True: the record has secrets, `out` has it without them. */
bool redact_event(struct redact *r, const struct event *in, struct event_box *out);

/* The bytes of an answer as answers_read made them. 1: appended to `out` without secrets; 0: it has
 * none; -ENOMEM. */
int redact_answer(struct redact *r, enum topic topic, const void *bytes, size_t len,
                  struct buf *out);

#endif
