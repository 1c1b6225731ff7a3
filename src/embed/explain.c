/* explain.c - the story of a process from a recording: first whose child it was when it mattered, then, from
 * the begin again, what became of the whole family. */
#include "moonwatch.h"

#include "base/buf.h"
#include "collect/tracker.h"
#include "embed/family.h"
#include "embed/reel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BYTES ((size_t)1 << 30)
#define LATER_NS    INT64_C(1000000000) /* an alert is told no earlier than its event, but clocks step */

struct ancestor {
    int64_t forked_at_ns;
    struct event *state; /* owned */
};

struct explain {
    uint64_t seq;
    int64_t time_ns; /* of the alert; 0: not known */
    int64_t pid, starttime;
    struct reel *reel;       /* owned */
    struct tracker *tracker; /* owned */
    tracker_ref held;        /* of the process, while it is not known what it was at the event */
    bool found;              /* the event */
    int64_t found_ns;
    struct ancestor line[FAMILY_ANCESTORS_MOST]; /* the process first */
    int line_len;
    bool failed; /* no memory */
    struct event_box box, state;
};

/* --- the alerts that were noted ------------------------------------------------------------------ */

struct noted {
    moonwatch_noted *noted;
    void *ctx;
    struct buf json;
};

static void visit_note(void *ctx, const struct recording_note *note)
{
    struct noted *n = ctx;
    if (note->kind != NOTE_ALERT)
        return;
    buf_clear(&n->json);
    buf_add(&n->json, note->answer, note->answer_len);
    n->noted(n->ctx, note->seq, (double)note->real_ns / 1e9, buf_str(&n->json));
}

int moonwatch_noted_alerts(const char *path, moonwatch_noted *noted, void *ctx, char *why, size_t cap)
{
    struct noted n = { .noted = noted, .ctx = ctx };
    struct reel *reel;
    int result = reel_open(&reel, path, why, cap);
    if (result < 0)
        return result;
    result = reel_notes(reel, visit_note, &n);
    if (result == 0 && n.json.failed)
        result = -ENOMEM;
    if (result < 0)
        snprintf(why, cap, "the alerts in %s cannot be read: %s", path, strerror(-result));
    buf_free(&n.json);
    reel_close(reel);
    return result == 0 || result == -ENOMEM ? result : -ENOENT;
}

/* --- whose child it was -------------------------------------------------------------------------- */

static void forget_line(struct explain *x)
{
    while (x->line_len)
        free(x->line[--x->line_len].state);
}

/* Records from outside can make two processes each other's parents. */
static bool is_in_line(const struct explain *x, tracker_ref ref)
{
    int64_t pid = tracker_int(x->tracker, ref, F_PID, -1);
    int64_t starttime = tracker_int(x->tracker, ref, F_STARTTIME, -1);
    for (int i = 0; i < x->line_len; i++)
        if (event_int(x->line[i].state, F_PID, -1) == pid &&
            event_int(x->line[i].state, F_STARTTIME, -1) == starttime)
            return true;
    return false;
}

static bool add_to_line(struct explain *x, tracker_ref ref)
{
    event_begin(&x->state, EVENT_SNAPSHOT);
    if (!tracker_copy_state(x->tracker, ref, &x->state, WHY_ABSENT))
        return false;
    struct ancestor *a = &x->line[x->line_len];
    a->forked_at_ns = tracker_forked_at(x->tracker, ref);
    a->state = malloc(x->state.ev.size);
    if (!a->state) {
        x->failed = true;
        return false;
    }
    memcpy(a->state, &x->state.ev, x->state.ev.size);
    x->line_len++;
    return true;
}

static tracker_ref find_process(const struct explain *x, int64_t pid)
{
    if (x->starttime >= 0)
        return tracker_find(x->tracker, pid, x->starttime);
    tracker_ref alive = tracker_alive(x->tracker, pid);
    return alive ? alive : tracker_dead(x->tracker, pid);
}

/* Who it is now, and as of each fork who forked it. */
static void draw_line(struct explain *x, tracker_ref ref)
{
    forget_line(x);
    while (ref && x->line_len < FAMILY_ANCESTORS_MOST && !is_in_line(x, ref) && add_to_line(x, ref))
        ref = tracker_parent(x->tracker, ref);
}

static bool is_wanted(const struct explain *x, const struct event *ev)
{
    return x->seq && (uint64_t)event_int(ev, F_SEQ, 0) == x->seq &&
           (!x->found || !x->time_ns || event_int(ev, F_TIME, 0) <= x->time_ns + LATER_NS);
}

/* Without the event: what is known last of the process, which is not to be forgotten. */
static void hold(struct explain *x, const struct event *ev)
{
    if (x->pid < 0 || event_int(ev, F_PID, -1) != x->pid)
        return;
    tracker_ref ref = find_process(x, x->pid);
    if (!ref || ref == x->held)
        return;
    tracker_hold(x->tracker, ref);
    tracker_release(x->tracker, x->held);
    x->held = ref;
}

static void look(struct explain *x, const struct event *ev)
{
    tracker_apply(x->tracker, ev);
    hold(x, ev);
    if (!is_wanted(x, ev))
        return;
    x->found = true;
    x->found_ns = event_int(ev, F_TIME, 0);
    draw_line(x, find_process(x, x->pid >= 0 ? x->pid : event_int(ev, F_PID, -1)));
}

/* Several watches may have written one after the other: numbers come again. */
static bool is_past(const struct explain *x, const struct event *ev)
{
    return x->found && x->time_ns && event_int(ev, F_TIME, 0) > x->time_ns + LATER_NS;
}

static int find_line(struct explain *x)
{
    uint64_t missing;
    int got;
    while (!x->failed && (got = reel_next(x->reel, &x->box, &missing)) != 0) {
        if (got < 0)
            continue;
        look(x, &x->box.ev);
        if (is_past(x, &x->box.ev))
            break;
    }
    if (!x->failed && !x->line_len && x->held)
        draw_line(x, x->held);
    if (x->failed)
        return -ENOMEM;
    return x->line_len ? 0 : -ESRCH;
}

/* --- the family ---------------------------------------------------------------------------------- */

static const struct moonwatch_story *fold(struct explain *x, struct family *f)
{
    uint64_t missing;
    int got;
    for (int i = x->line_len - 1; i >= 0; i--)
        family_expect(f, x->line[i].state, x->line[i].forked_at_ns);
    reel_rewind(x->reel);
    while ((got = reel_next(x->reel, &x->box, &missing)) != 0) {
        if (got > 0)
            family_take(f, &x->box.ev, got == 2);
        else
            family_gap(f, missing);
    }
    return family_story(f);
}

/* With what is near to the event, if it cannot be all. */
static const struct moonwatch_story *fold_nearest(struct explain *x, struct family **f)
{
    const struct moonwatch_story *told = fold(x, *f);
    if (!told || !family_crowded(*f))
        return told;
    struct family *nearer = family_nearer(*f);
    family_free(*f);
    *f = nearer;
    return nearer ? fold(x, nearer) : NULL;
}

static int tell(struct explain *x, moonwatch_explained *explained, void *ctx)
{
    struct family *f = family_new(reel_first_ns(x->reel), x->found ? x->seq : 0, x->found_ns);
    const struct moonwatch_story *told = f ? fold_nearest(x, &f) : NULL;
    if (told) {
        struct moonwatch_story story = *told;
        story.first = (double)reel_first_ns(x->reel) / 1e9;
        story.last = (double)reel_last_ns(x->reel) / 1e9;
        explained(ctx, &story);
    }
    family_free(f);
    return told ? 0 : -ENOMEM;
}

/* --- both ---------------------------------------------------------------------------------------- */

static int run(struct explain *x, const char *path, char *why, size_t cap)
{
    int result = reel_open(&x->reel, path, why, cap);
    if (result < 0)
        return result;
    x->tracker = tracker_new(TABLE_BYTES);
    result = x->tracker ? find_line(x) : -ENOMEM;
    tracker_free(x->tracker);
    if (result == -ESRCH && x->pid >= 0)
        snprintf(why, cap, "%s does not know the process %lld", path, (long long)x->pid);
    else if (result == -ESRCH && x->found)
        snprintf(why, cap, "event %llu in %s is about no process", (unsigned long long)x->seq, path);
    else if (result == -ESRCH)
        snprintf(why, cap, "%s does not hold the event %llu", path, (unsigned long long)x->seq);
    return result;
}

int moonwatch_explain(const char *path, uint64_t seq, double time, int64_t pid, int64_t starttime,
                      moonwatch_explained *explained, void *ctx, char *why, size_t cap)
{
    struct explain *x = calloc(1, sizeof *x);
    int result = x ? 0 : -ENOMEM;
    if (x) {
        x->seq = seq;
        x->pid = pid;
        x->starttime = pid >= 0 ? starttime : -1;
        x->time_ns = time > 0 && time < 9e9 ? (int64_t)(time * 1e9) : 0;
        result = run(x, path, why, cap);
    }
    if (result == 0)
        result = tell(x, explained, ctx);
    if (result == -ENOMEM)
        snprintf(why, cap, "not enough memory for the story of a process in %s", path);
    if (x) {
        forget_line(x);
        reel_close(x->reel);
    }
    free(x);
    return result;
}
