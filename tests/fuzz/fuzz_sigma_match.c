/* fuzz_sigma_match.c - the fast evaluation of rules says what the slow one of slow_sigma.h says.
 *
 * The input is a row of choices: three rules of a few selections over texts from a small alphabet, so
 * that they often fit, then events. */
#include "slow_sigma.h"

#include "event/flat.h"
#include "event/json.h"
#include "sigma/view.h"

#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RULES 3

struct choices {
    const uint8_t *at, *end;
};

static unsigned choose(struct choices *c, unsigned among)
{
    return c->at < c->end ? *c->at++ % among : 0;
}

/* --- rules -------------------------------------------------------------------------------------- */

static const char *const pieces[] = { "a", "b", "ab", "A", "-a", "/b", " ", "*", "?", "\\", "\\*", "aa",
                                      "-", "1", "12", "" };
static const char *const plain[] = { "a", "b", "ab", "A", "-a", "/b", " ", "*", "?", "\\", "B", "aa",
                                     "-", "1", "12", "\xe2\x80\x93" };

static void choose_text(struct choices *c, char *to, const char *const *from, unsigned most)
{
    unsigned n = choose(c, most + 1);
    *to = '\0';
    for (unsigned i = 0; i < n; i++)
        strcat(to, from[choose(c, 16)]);
}

static void choose_item(struct choices *c, struct slow_item *item)
{
    unsigned kind = choose(c, 16);
    item->field = (int)choose(c, 16) % 5 - 1 < SLOW_FIELDS ? (int)choose(c, 4) - 1 : 0;
    item->kind = kind == 0 ? SLOW_NULL : kind == 1 ? SLOW_EXISTS : kind == 2 ? SLOW_LESS : SLOW_TEXT;
    if (item->field < 0 && item->kind != SLOW_TEXT)
        item->field = 0;
    item->place = (enum slow_place)choose(c, 4);
    unsigned flags = choose(c, 64);
    item->cased = (flags & 1) != 0 && item->kind == SLOW_TEXT;
    item->all = (flags & 2) != 0;
    item->negated = (flags & 12) == 12;
    item->windash = (flags & 48) == 48 && item->kind == SLOW_TEXT;
    item->len = 1 + (int)choose(c, flags & 4 ? SLOW_VALUES : 3);
    for (int i = 0; i < item->len; i++) {
        if (item->kind == SLOW_EXISTS)
            strcpy(item->values[i], choose(c, 2) ? "true" : "false");
        else if (item->kind == SLOW_LESS)
            snprintf(item->values[i], sizeof item->values[i], "%u", choose(c, 20));
        else
            choose_text(c, item->values[i], pieces, 4);
    }
}

static void choose_condition(struct choices *c, char *to)
{
    static const char *const words[] = { "s_a", "s_b", "f", "_g",  "and", "or", "not",   "(",
                                         ")",   "1",   "of", "all", "s_*", "them", "any", "and" };
    static const char *const good[] = { "s_a", "s_a and s_b", "1 of s_*", "all of them and not f",
                                        "s_a or ( s_b and not f )", "not s_a", "all of s_*", "1 of them" };
    if (choose(c, 4)) {
        strcpy(to, good[choose(c, 8)]);
        return;
    }
    *to = '\0';
    for (unsigned i = 0, n = choose(c, 16); i < n; i++) {
        strcat(to, words[choose(c, 16)]);
        strcat(to, " ");
    }
}

static void choose_rule(struct choices *c, struct slow_rule *rule)
{
    static const char *const names[] = { "s_a", "s_b", "f", "_g" };
    rule->len = 4;
    for (int s = 0; s < rule->len; s++) {
        struct slow_selection *selection = &rule->selections[s];
        selection->name = names[s];
        selection->len = 1 + (int)choose(c, 6) / 3;
        for (int m = 0; m < selection->len; m++) {
            struct slow_map *map = &selection->maps[m];
            map->len = 1 + (int)choose(c, 6) / 3;
            for (int i = 0; i < map->len; i++)
                choose_item(c, &map->items[i]);
        }
    }
    choose_condition(c, rule->condition);
}

static bool same_key(const struct slow_item *a, const struct slow_item *b)
{
    struct buf x = { 0 }, y = { 0 };
    slow_write_key(&x, a);
    slow_write_key(&y, b);
    bool same = !strcmp(buf_str(&x), buf_str(&y));
    buf_free(&x);
    buf_free(&y);
    return same;
}

/* A key that is there twice is refused. */
static bool has_doubles(const struct slow_rule *rule)
{
    for (int s = 0; s < rule->len; s++)
        for (int m = 0; m < rule->selections[s].len; m++) {
            const struct slow_map *map = &rule->selections[s].maps[m];
            for (int i = 1; i < map->len; i++)
                for (int n = 0; n < i; n++)
                    if (same_key(&map->items[i], &map->items[n]))
                        return true;
        }
    return false;
}

/* --- events -------------------------------------------------------------------------------------- */

static void choose_event(struct choices *c, struct slow_event *ev)
{
    for (int f = 0; f < SLOW_FIELDS; f++) {
        unsigned state = choose(c, 8);
        ev->states[f] = state == 0 ? SLOW_MISSING : state == 1 ? SLOW_NULL_VALUE : SLOW_VALUE;
        choose_text(c, ev->values[f], plain, 6);
    }
}

static void write_event(struct buf *to, const struct slow_event *ev)
{
    bool any = false;
    buf_clear(to);
    buf_putc(to, '{');
    for (int f = 0; f < SLOW_FIELDS; f++) {
        if (ev->states[f] == SLOW_MISSING)
            continue;
        buf_printf(to, "%s\"%c\":", any ? "," : "", 'A' + f);
        if (ev->states[f] == SLOW_VALUE)
            json_string(to, ev->values[f], strlen(ev->values[f]));
        else
            buf_puts(to, "null");
        any = true;
    }
    buf_putc(to, '}');
}

static char refusal[256]; /* the last one */

static void remember(void *ctx, const struct sigma_remark *r)
{
    (void)ctx;
    snprintf(refusal, sizeof refusal, "%d: %s", r->line, r->text);
}

static const char *id_of(int number)
{
    static char id[8];
    snprintf(id, sizeof id, "r%d", number);
    return id;
}

static void compare(struct sigma *s, struct sigma_view *view, const struct slow_rule *rules,
                    const struct slow_event *ev, const char *yaml)
{
    struct buf json = { 0 };
    struct flat flat = { 0 };
    struct sigma_rule before[RULES] = { { 0 } }, after;
    char why[100];
    write_event(&json, ev);
    for (int i = 0; i < RULES; i++)
        sigma_rule_at(s, sigma_rule_named(s, id_of(i)), &before[i]);
    if (flat_read(&flat, json.data, json.len, why, sizeof why) < 0)
        abort();
    const struct sigma_event *event = sigma_view_flat(view, &flat);
    sigma_match(s, event);
    for (int i = 0; i < RULES; i++) {
        bool bad;
        int number = sigma_rule_named(s, id_of(i));
        enum sigma_verdict want = slow_rule(&rules[i], ev, &bad);
        if (bad || has_doubles(&rules[i])) {
            if (number >= 0) {
                fprintf(stderr, "%srule %d is taken, and should not be\n", yaml, i);
                abort();
            }
            continue;
        }
        if (!sigma_rule_at(s, number, &after)) {
            fprintf(stderr, "%srule %d is refused: %s\n", yaml, i, refusal);
            abort();
        }
        enum sigma_verdict got = after.fired > before[i].fired           ? SIGMA_TRUE
                                 : after.undecided > before[i].undecided ? SIGMA_UNDECIDED
                                                                         : SIGMA_FALSE;
        struct buf explained = { 0 };
        enum sigma_verdict said = sigma_explain(s, number, event, &explained);
        if (got != want || said != want) {
            fprintf(stderr, "%s%s\n%s\nrule %d: fast %d, explained %d, slow %d\n", yaml,
                    buf_str(&json), buf_str(&explained), i, got, said, want);
            abort();
        }
        buf_free(&explained);
    }
    buf_free(&json);
    flat_free(&flat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct slow_rule rules[RULES];
    struct choices c = { data, data + size };
    struct sigma *s;
    struct sigma_view *view;
    struct buf yaml = { 0 };
    memset(rules, 0, sizeof rules);
    if (sigma_new(&s, &(struct sigma_options){ .no_jit = true, .remarked = remember }) < 0)
        abort();
    for (int i = 0; i < RULES; i++) {
        size_t from = yaml.len;
        choose_rule(&c, &rules[i]);
        slow_write(&yaml, &rules[i], i);
        if (sigma_add(s, "x", buf_str(&yaml) + from, yaml.len - from) < 0)
            abort();
    }
    if (sigma_finish(s) < 0 || sigma_view_new(&view, s) < 0)
        abort();
    for (int i = 0; i < 6; i++) {
        struct slow_event ev = { .states = { SLOW_MISSING } };
        choose_event(&c, &ev);
        compare(s, view, rules, &ev, buf_str(&yaml));
    }
    sigma_view_free(view);
    sigma_free(s);
    buf_free(&yaml);
    return 0;
}
