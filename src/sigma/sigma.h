/* sigma.h - Sigma rules: reads them, and says which of them an event fits.
 *
 * A set takes texts of YAML, is finished once, and then is asked event by event. What it does not
 * know it refuses, with file, line and reason, and goes on with the other rules. Answers are of
 * three values: what cannot be said because a field is missing is undecided, and counted. Knows
 * Sigma and fields by their names; no Lua, no loop, no /proc, and no file: texts come from whoever
 * has them. */
#ifndef SIGMA_SIGMA_H
#define SIGMA_SIGMA_H

#include "base/arena.h"
#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sigma; /* opaque */

/* What sort of record rules are about. */
enum sigma_source {
    SIGMA_PROCESS, /* product linux, category process_creation */
    SIGMA_AUDITD,  /* product linux, service auditd: what an exec is there */
    SIGMA_SOURCES
};

enum sigma_level {
    SIGMA_INFORMATIONAL,
    SIGMA_LOW,
    SIGMA_MEDIUM,
    SIGMA_HIGH,
    SIGMA_CRITICAL,
    SIGMA_LEVELS
};

/* "high" */
const char *sigma_level_name(enum sigma_level level);

enum sigma_verdict { SIGMA_FALSE, SIGMA_TRUE, SIGMA_UNDECIDED };

/* --- reading rules ---------------------------------------------------------------------------- */

enum sigma_remark_kind {
    SIGMA_REFUSED, /* the document is not taken: it is wrong, or says what is not known here */
    SIGMA_SKIPPED, /* it is about other records, such as those of Windows */
    SIGMA_NOTED,   /* it is taken; something about it should be known */
};

/* What is said of a document; borrowed for the call. */
struct sigma_remark {
    enum sigma_remark_kind kind;
    const char *path;
    int line, column;  /* from 1 */
    const char *title; /* of the rule, or "" */
    const char *text;
};
typedef void sigma_remarked(void *ctx, const struct sigma_remark *remark);

/* What %NAME% stands for in values that are to be expanded. */
struct sigma_placeholder {
    const char *name;
    const char *const *values;
    int values_len;
};

struct sigma_options {
    struct memory memory;     /* of everything; zeroed: malloc's */
    sigma_remarked *remarked; /* or NULL */
    void *ctx;
    const struct sigma_placeholder *placeholders; /* borrowed until it is finished */
    int placeholders_len;
    bool no_jit; /* regular expressions are not compiled to machine code */
};

/* 0, or -ENOMEM. */
int sigma_new(struct sigma **out, const struct sigma_options *options);
void sigma_free(struct sigma *s);

/* Take the documents of a text. 0, also when they were refused; or -ENOMEM. */
int sigma_add(struct sigma *s, const char *path, const char *text, size_t len);

/* After the last text: rules that mean others find them, and everything is made ready. 0, or
 * -ENOMEM. */
int sigma_finish(struct sigma *s);

/* Go on with what correlations of `before` have gathered, where they are the same ones. */
void sigma_take_over(struct sigma *s, struct sigma *before);

/* --- what there is ---------------------------------------------------------------------------- */

/* A rule as people know it; texts are borrowed from the set, "" where there is none. */
struct sigma_rule {
    const char *id, *title, *author, *status, *path;
    const char *name; /* as other rules refer to it */
    int line;
    enum sigma_level level;
    enum sigma_source source;
    const char *const *tags;
    int tags_len;
    bool correlation;                 /* else it is about single events */
    bool silent;                      /* only others ask for it */
    uint64_t asked, fired, undecided; /* events */
};

/* By number; false after the last. */
bool sigma_rule_at(const struct sigma *s, int index, struct sigma_rule *out);
int sigma_rules(const struct sigma *s);

/* The number of a rule by its id, its name or its title; -1: there is none. */
int sigma_rule_named(const struct sigma *s, const char *name);

/* Does any rule ask for this source? */
bool sigma_asks(const struct sigma *s, enum sigma_source source);

/* The fields that rules look at, by number; false after the last. The name "" stands for the whole
 * record, in which keywords are looked for. */
struct sigma_field {
    const char *name;
    enum sigma_source source;
};
bool sigma_field_at(const struct sigma *s, int index, struct sigma_field *out);
int sigma_fields(const struct sigma *s);

/* Literals, states of their automata, regular expressions, bytes. */
struct sigma_size {
    size_t rules, literals, states, regexes, bytes;
};
struct sigma_size sigma_size(const struct sigma *s);

/* --- events ----------------------------------------------------------------------------------- */

/* What an event has under a name. */
enum sigma_state {
    SIGMA_MISSING, /* nothing, and nobody knows why: what looks at it is undecided */
    SIGMA_UNKNOWN, /* there is one, but it could not be read: even whether it exists is undecided */
    SIGMA_ABSENT,  /* it is known that there is none */
    SIGMA_NULL,    /* it is there, and empty as null is */
    SIGMA_VALUE,
};

/* A text of any bytes; numbers as number_text writes them, truths as "true" and "false". */
struct sigma_value {
    enum sigma_state state;
    bool cut; /* there was more of it: what is not found is undecided */
    const char *text;
    size_t len;
};

struct sigma_event {
    unsigned sources;                 /* 1 << enum sigma_source: which rules to ask */
    const struct sigma_value *values; /* sigma_fields(s) of them, by number */
    int64_t time_ns;                  /* since the epoch, for correlations */
};

/* Ask all rules. Returns how many have something to say: then sigma_fired names them, by number, in
 * the order of rules, until the next event. Or -ENOMEM. */
int sigma_match(struct sigma *s, const struct sigma_event *ev);
int sigma_fired(const struct sigma *s, int index);

/* Time has passed without an event: correlations about too few of them may have something to say.
 * As sigma_match. */
int sigma_pass(struct sigma *s, int64_t time_ns);

/* For a rule that fired on this event: call `matched` for each value that made it do so, or for
 * each figure of a correlation (item "count"). */
struct sigma_reason {
    const char *selection; /* its name in the rule */
    const char *item;      /* "CommandLine|contains" */
    const char *value;     /* as the rule has it */
    const char *found;     /* in the event; any bytes */
    size_t found_len;
};
typedef void sigma_matched(void *ctx, const struct sigma_reason *reason);
void sigma_reasons(struct sigma *s, int rule, const struct sigma_event *ev, sigma_matched *matched,
                   void *ctx);

/* --- looking at rules ------------------------------------------------------------------------- */

/* Write what each branch of a rule says of this event, one on a line. Returns what the rule says.
 */
enum sigma_verdict sigma_explain(struct sigma *s, int rule, const struct sigma_event *ev,
                                 struct buf *out);

/* What is wrong with rules that load. */
enum sigma_finding_kind {
    SIGMA_NEVER,     /* it can never fire here */
    SIGMA_HARDLY,    /* only where files have names that nobody gives them */
    SIGMA_DUPLICATE, /* another one says the same */
    SIGMA_SLOW,      /* a regular expression that takes long */
    SIGMA_USELESS,   /* a part of it that changes nothing */
};
struct sigma_finding {
    enum sigma_finding_kind kind;
    const char *path;
    int line, column;
    const char *text;
};
typedef void sigma_found(void *ctx, const struct sigma_finding *finding);

/* `knows`: does an event of this source ever have this field? 0, or -ENOMEM. */
int sigma_check(struct sigma *s, bool (*knows)(enum sigma_source source, const char *field),
                sigma_found *found, void *ctx);

#endif
