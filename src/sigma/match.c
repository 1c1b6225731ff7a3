/* match.c - asks the rules of a set about an event. See sigma.h.
 *
 * One pass over each value finds the literals that are in it and the rules that these make worth a
 * look; those are evaluated, and no others. */
#include "sigma/set.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- tests ------------------------------------------------------------------------------------ */

static enum sigma_verdict truth(bool holds)
{
    return holds ? SIGMA_TRUE : SIGMA_FALSE;
}

static bool compare(double value, enum compare op, double with)
{
    switch (op) {
    case COMPARE_EQ:
        return value == with;
    case COMPARE_LT:
        return value < with;
    case COMPARE_LTE:
        return value <= with;
    case COMPARE_GT:
        return value > with;
    case COMPARE_GTE:
        return value >= with;
    }
    return false;
}

/* The whole text as a number. */
static bool read_number(const struct sigma_value *value, double *out)
{
    char copy[64], *end;
    if (!value->len || value->len >= sizeof copy || memchr(value->text, '\0', value->len))
        return false;
    memcpy(copy, value->text, value->len);
    copy[value->len] = '\0';
    *out = strtod(copy, &end);
    return !*end && isfinite(*out) && copy[0] != ' ';
}

static bool read_digits(const char **at, int least, int most, int *out)
{
    int n = 0;
    for (*out = 0; n < most && **at >= '0' && **at <= '9'; n++)
        *out = *out * 10 + *(*at)++ - '0';
    return n >= least;
}

/* "2024-06-01 12:30:45.5", "2024-06-01T12:30:45Z": as it is written, whatever the zone. */
static bool read_date(const char *at, struct tm *out)
{
    *out = (struct tm){ 0 };
    if (!read_digits(&at, 4, 4, &out->tm_year) || *at++ != '-' ||
        !read_digits(&at, 2, 2, &out->tm_mon) || *at++ != '-' ||
        !read_digits(&at, 2, 2, &out->tm_mday))
        return false;
    out->tm_year -= 1900;
    out->tm_mon--;
    if (*at != ' ' && *at != 'T')
        return !*at;
    at++;
    return read_digits(&at, 2, 2, &out->tm_hour) && *at++ == ':' &&
           read_digits(&at, 2, 2, &out->tm_min);
}

/* Of a date, or of seconds since the epoch. */
static bool read_time(const struct sigma_value *value, struct tm *out)
{
    char copy[64];
    double number;
    if (read_number(value, &number)) {
        time_t seconds = (time_t)floor(number);
        return fabs(number) < 1e11 && gmtime_r(&seconds, out);
    }
    if (value->len >= sizeof copy)
        return false;
    memcpy(copy, value->text, value->len);
    copy[value->len] = '\0';
    if (!read_date(copy, out))
        return false;
    struct tm whole = *out;
    timegm(&whole); /* finds the day of the week and of the year */
    out->tm_wday = whole.tm_wday;
    out->tm_yday = whole.tm_yday;
    return true;
}

static int part_of(const struct tm *tm, enum time_part part)
{
    char week[8];
    switch (part) {
    case PART_MINUTE:
        return tm->tm_min;
    case PART_HOUR:
        return tm->tm_hour;
    case PART_DAY:
        return tm->tm_mday;
    case PART_MONTH:
        return tm->tm_mon + 1;
    case PART_WEEK: /* of ISO 8601 */
        return strftime(week, sizeof week, "%V", tm) ? atoi(week) : 0;
    default:
        return tm->tm_year + 1900;
    }
}

static bool same_bytes(const char *a, const char *b, size_t len, bool cased)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];
        if (cased ? x != y : pattern_small(x) != pattern_small(y))
            return false;
    }
    return true;
}

static bool contains(const struct sigma_value *value, const struct sigma_value *part, bool cased)
{
    for (size_t at = 0; at + part->len <= value->len; at++)
        if (same_bytes(value->text + at, part->text, part->len, cased))
            return true;
    return false;
}

static bool other_fits(const struct sigma_value *value, const struct sigma_value *other,
                       enum aho_place place, bool cased)
{
    if (other->len > value->len || (place == AHO_WHOLE && other->len != value->len))
        return false;
    if (place == AHO_ANYWHERE)
        return contains(value, other, cased);
    size_t from = place == AHO_END ? value->len - other->len : 0;
    return same_bytes(value->text + from, other->text, other->len, cased);
}

static enum sigma_verdict match_other(const struct test *test, const struct sigma_value *value,
                                      const struct sigma_event *ev)
{
    const struct sigma_value *other = &ev->values[test->field];
    if (other->state == SIGMA_MISSING || other->state == SIGMA_UNKNOWN)
        return SIGMA_UNDECIDED;
    return truth(other->state == SIGMA_VALUE &&
                 other_fits(value, other, (enum aho_place)test->place, test->cased));
}

static enum sigma_verdict match_regex(struct sigma *s, const struct test *test,
                                      const struct sigma_value *value)
{
    size_t from, to;
    int result = regex_fits(s, test->regex, value->text, value->len, &from, &to);
    return result < 0 ? SIGMA_UNDECIDED : truth(result);
}

/* The value is one. */
static enum sigma_verdict match_value(struct sigma *s, const struct test *test,
                                      const struct sigma_value *value, const struct sigma_event *ev)
{
    struct address address;
    struct tm tm;
    double number;
    if (test->literal != NONE && s->literal_stamps[test->literal] != s->stamp)
        return SIGMA_FALSE;
    switch ((enum test_kind)test->kind) {
    case TEST_TEXT:
    case TEST_ANY:
        return SIGMA_TRUE;
    case TEST_GLOB:
        return truth(pattern_fits(&test->pattern, value->text, value->len, test->cased));
    case TEST_REGEX:
        return match_regex(s, test, value);
    case TEST_NUMBER:
        return truth(read_number(value, &number) &&
                     compare(number, (enum compare)test->op, test->number));
    case TEST_TIME:
        return truth(read_time(value, &tm) && compare(part_of(&tm, (enum time_part)test->part),
                                                      (enum compare)test->op, test->number));
    case TEST_CIDR:
        return truth(address_read(value->text, value->len, &address) &&
                     address_within(&address, test->range));
    case TEST_FIELD:
        return match_other(test, value, ev);
    case TEST_NULL:
        return SIGMA_FALSE;
    case TEST_EXISTS:
        return truth(test->wanted);
    }
    return SIGMA_FALSE;
}

/* There is none. */
static enum sigma_verdict match_nothing(const struct test *test, enum sigma_state state)
{
    if (state == SIGMA_UNKNOWN)
        return SIGMA_UNDECIDED;
    if (test->kind == TEST_NULL)
        return SIGMA_TRUE;
    if (test->kind == TEST_EXISTS)
        return truth((state == SIGMA_NULL) == test->wanted);
    return state == SIGMA_MISSING ? SIGMA_UNDECIDED : SIGMA_FALSE;
}

/* What is missing of a value could hold what was looked for, or end in something else. */
static enum sigma_verdict doubt(const struct test *test, enum sigma_verdict verdict)
{
    const struct pattern *p = &test->pattern;
    bool to_end =
        (test->kind == TEST_TEXT && (test->place == AHO_END || test->place == AHO_WHOLE)) ||
        (test->kind == TEST_GLOB && p->elements[p->len - 1] != PATTERN_STAR);
    if (test->kind == TEST_NULL || test->kind == TEST_EXISTS)
        return verdict;
    return verdict == SIGMA_FALSE || to_end ? SIGMA_UNDECIDED : verdict;
}

enum sigma_verdict verdict_of_test(struct sigma *s, const struct test *test,
                                   const struct sigma_value *value, const struct sigma_event *ev)
{
    if (value->state != SIGMA_VALUE)
        return match_nothing(test, value->state);
    enum sigma_verdict verdict = match_value(s, test, value, ev);
    return value->cut ? doubt(test, verdict) : verdict;
}

/* --- trees ------------------------------------------------------------------------------------ */

/* Any of its tests. Of texts only whether they were found counts, when there is a value. */
static enum sigma_verdict match_item(struct sigma *s, const struct item *item,
                                     const struct sigma_event *ev)
{
    const struct sigma_value *value = &ev->values[item->field];
    enum sigma_verdict result = SIGMA_FALSE;
    uint32_t from = 0;
    if (value->state != SIGMA_VALUE && item->texts_len) {
        from = item->texts_len - 1; /* they all say the same */
    } else if (item->group != NONE && !value->cut) {
        if (s->group_stamps[item->group] == s->stamp)
            return SIGMA_TRUE;
        from = item->texts_len;
    }
    for (uint32_t i = from; i < item->tests_len; i++) {
        enum sigma_verdict one = verdict_of_test(s, &item->tests[i], value, ev);
        if (one == SIGMA_TRUE)
            return one;
        result = one == SIGMA_UNDECIDED ? one : result;
    }
    return result;
}

static enum sigma_verdict negate(enum sigma_verdict verdict)
{
    return verdict == SIGMA_UNDECIDED ? verdict : truth(verdict == SIGMA_FALSE);
}

enum sigma_verdict verdict_of_node(struct sigma *s, const struct node *node,
                                   const struct sigma_event *ev)
{
    if (node->kind == NODE_ITEM)
        return match_item(s, node->item, ev);
    if (node->kind == NODE_NAME)
        return verdict_of_node(s, node->nodes[0], ev);
    if (node->kind == NODE_NOT)
        return negate(verdict_of_node(s, node->nodes[0], ev));
    enum sigma_verdict decides = truth(node->kind == NODE_OR), result = negate(decides);
    for (size_t i = 0; i < node->len; i++) {
        enum sigma_verdict one = verdict_of_node(s, node->nodes[i], ev);
        if (one == decides)
            return one;
        result = one == SIGMA_UNDECIDED ? one : result;
    }
    return result;
}

/* --- events ----------------------------------------------------------------------------------- */

/* Stamps of long ago would look like new ones. */
void stamp_next(struct sigma *s)
{
    if (++s->stamp)
        return;
    memset(s->literal_stamps, 0, s->literals_len * sizeof *s->literal_stamps);
    memset(s->group_stamps, 0, s->groups_len * sizeof *s->group_stamps);
    for (size_t i = 0; i < s->rules_len; i++)
        s->rules[i]->seen = s->rules[i]->held = 0;
    s->stamp = 1;
}

static void add_candidates(struct sigma *s, const uint32_t *rules, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        struct rule *rule = s->rules[rules[i]];
        if (rule->seen == s->stamp)
            continue;
        rule->seen = s->stamp;
        s->candidates[s->candidates_len++] = rules[i];
    }
}

static void look_for_literals(struct sigma *s, const struct field *field,
                              const struct sigma_value *value)
{
    uint32_t n = aho_find(field->aho, value->text, value->len, s->literal_stamps + field->first,
                          s->stamp, s->found);
    for (uint32_t i = 0; i < n; i++) {
        const struct literal *l = &s->literals[field->first + s->found[i]];
        for (uint32_t g = 0; g < l->groups_len; g++)
            s->group_stamps[l->groups[g]] = s->stamp;
        add_candidates(s, l->rules, l->rules_len);
    }
}

static void find_candidates(struct sigma *s, const struct sigma_event *ev)
{
    s->candidates_len = 0;
    for (size_t i = 0; i < s->fields_len; i++) {
        const struct field *field = &s->fields[i];
        const struct sigma_value *value = &ev->values[i];
        if (!(ev->sources >> field->source & 1))
            continue;
        bool missing = value->state == SIGMA_MISSING || value->state == SIGMA_UNKNOWN;
        if (value->state == SIGMA_VALUE && field->aho)
            look_for_literals(s, field, value);
        if (missing || (value->state == SIGMA_VALUE && value->cut))
            add_candidates(s, field->waiting, field->waiting_len);
    }
    add_candidates(s, s->always, s->always_len);
}

static void fire(struct sigma *s, uint32_t number)
{
    struct rule *rule = s->rules[number];
    rule->about.fired++;
    rule->held = s->stamp;
    rule->held_source = rule->about.source;
    if (!rule->about.silent)
        s->fired[s->fired_len++] = number;
    for (size_t i = 0; i < rule->above_len; i++)
        correlation_wake(s, rule->above[i]);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int sigma_match(struct sigma *s, const struct sigma_event *ev)
{
    stamp_next(s);
    s->fired_len = 0;
    for (int source = 0; source < SIGMA_SOURCES; source++)
        s->asked[source] += ev->sources >> source & 1;
    find_candidates(s, ev);
    for (size_t i = 0; i < s->candidates_len; i++) {
        struct rule *rule = s->rules[s->candidates[i]];
        if (!(ev->sources >> rule->about.source & 1))
            continue;
        enum sigma_verdict verdict = verdict_of_node(s, rule->root, ev);
        rule->about.undecided += verdict == SIGMA_UNDECIDED;
        if (verdict == SIGMA_TRUE)
            fire(s, s->candidates[i]);
    }
    int result = s->correlations_len ? correlations_hear(s, ev) : 0;
    if (result < 0)
        return result;
    if (s->fired_len > 1)
        qsort(s->fired, s->fired_len, sizeof *s->fired, by_number);
    return (int)s->fired_len;
}

int sigma_fired(const struct sigma *s, int index)
{
    return (int)s->fired[index];
}
