/* groups.c - remembers which control groups the tap's keys stand for. See groups.h. */
#include "collect/groups.h"

#include <stdlib.h>
#include <string.h>

#define FULL (GROUPS / 4 * 3)

static struct group *slot_of(const struct groups *g, uint64_t key)
{
    size_t at = key * 0x9e3779b97f4a7c15u >> 32;
    while (g->slots[at % GROUPS].key && g->slots[at % GROUPS].key != key)
        at++;
    return (struct group *)&g->slots[at % GROUPS];
}

static void set(struct event_box *box, enum event_field field, const char *text)
{
    if (text)
        event_set_text(box, field, text, strlen(text), WHY_TAP);
    else
        event_set_missing(box, field, WHY_ABSENT);
}

bool groups_fill(const struct groups *g, uint64_t key, struct event_box *box)
{
    const struct group *group = slot_of(g, key);
    if (!key || !group->key || !group->sure)
        return false;
    set(box, F_CGROUP, group->cgroup);
    set(box, F_CONTAINER, group->container);
    return true;
}

static char *copy_of(const struct event *ev, enum event_field field)
{
    size_t len;
    const char *text = event_text(ev, field, &len);
    return text ? strndup(text, len) : NULL;
}

static bool same(const char *known, const struct event *ev, enum event_field field)
{
    size_t len = 0;
    const char *text = event_text(ev, field, &len);
    return known && text ? strlen(known) == len && !memcmp(known, text, len) : !known && !text;
}

void groups_learn(struct groups *g, uint64_t key, const struct event *ev)
{
    if (!key || ev->why[F_CGROUP] >= WHY_MISSING)
        return;
    struct group *group = slot_of(g, key);
    if (group->key && same(group->cgroup, ev, F_CGROUP) &&
        same(group->container, ev, F_CONTAINER)) {
        group->sure = true;
        return;
    }
    if (group->sure)
        return;
    if (!group->key && g->used == FULL) {
        groups_free(g);
        group = slot_of(g, key);
    }
    g->used += !group->key;
    free(group->cgroup);
    free(group->container);
    *group = (struct group){ .key = key,
                             .cgroup = copy_of(ev, F_CGROUP),
                             .container = copy_of(ev, F_CONTAINER) };
}

void groups_free(struct groups *g)
{
    for (int i = 0; i < GROUPS; i++) {
        free(g->slots[i].cgroup);
        free(g->slots[i].container);
    }
    *g = (struct groups){ 0 };
}
