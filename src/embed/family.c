/* family.c - the processes around one, folded from records. See family.h. */
#include "embed/family.h"

#include "base/buf.h"
#include "collect/tracker.h"
#include "sink/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CELLS   4096 /* columns of one text */
#define BLOCK_BYTES  ((size_t)64 * 1024)
#define PENDING_MOST 65536 /* snapshots whose parent did not come yet */
#define ROUNDS_MOST  64
#define NONE         (-1)

enum standing { EXPECTED, LIVE, OVER };

/* Texts go into blocks that never move. */
struct block {
    struct block *next;
    size_t used, size;
};

/* What is known of a process besides what the story tells. */
struct member {
    enum standing standing;
    int64_t forked_at_ns; /* of one that is expected */
    int same_hash;        /* the next live one, or NONE */
    int came;             /* as which, of all that were seen; NONE: not yet */
};

/* When those came who came last before the event of the story. */
struct crowd {
    int64_t *came_ns; /* owned: a ring */
    int most;         /* of them: half of what there is room for */
    uint64_t len;     /* that came in all */
    int64_t since_ns; /* who was forked before this is left out */
};

struct family {
    int64_t first_ns;
    uint64_t seq; /* 0: the event that it is about is not there */
    int64_t seq_ns;
    int root, itself; /* NONE: nobody is expected yet */
    struct moonwatch_story_process *processes; /* owned; in the order in which they came */
    struct member *members;                    /* owned, beside them */
    int len, cap, others, came;
    struct moonwatch_story_event *events; /* owned */
    int events_len, events_cap, other_events;
    int *buckets; /* owned: live ones by pid */
    int buckets_mask;
    struct event **pending; /* owned copies: snapshots of whose family nobody is known yet */
    int pending_len;
    struct crowd crowds[2]; /* of the others, of the own */
    struct block *blocks;   /* owned */
    struct buf scratch;
    int64_t now_ns; /* of the last event with a time */
    bool failed;
    struct moonwatch_story story;
};

/* --- texts --------------------------------------------------------------------------------------- */

static const char *keep_text(struct family *f, const char *text, size_t len)
{
    if (len == 0)
        return "";
    if (!f->blocks || f->blocks->size - f->blocks->used < len + 1) {
        size_t size = len + 1 > BLOCK_BYTES ? len + 1 : BLOCK_BYTES;
        struct block *b = malloc(sizeof *b + size);
        if (!b) {
            f->failed = true;
            return "";
        }
        *b = (struct block){ .next = f->blocks, .size = size };
        f->blocks = b;
    }
    char *to = (char *)(f->blocks + 1) + f->blocks->used;
    memcpy(to, text, len);
    to[len] = '\0';
    f->blocks->used += len + 1;
    return to;
}

/* `before` is what it was: kept once when it is the same. */
static const char *keep_field(struct family *f, const struct event *ev, enum event_field field, const char *before)
{
    size_t len;
    const char *bytes = event_text(ev, field, &len);
    if (!bytes)
        return before;
    buf_clear(&f->scratch);
    view_text(&f->scratch, bytes, len, TEXT_CELLS);
    if (!strcmp(buf_str(&f->scratch), before))
        return before;
    return keep_text(f, f->scratch.data, f->scratch.len);
}

static const char *keep_what(struct family *f, const struct event *ev)
{
    buf_clear(&f->scratch);
    view_what(&f->scratch, ev, TEXT_CELLS);
    return keep_text(f, f->scratch.data, f->scratch.len);
}

/* `before`: as above. */
static const char *keep_command(struct family *f, const struct event *ev, const char *before)
{
    buf_clear(&f->scratch);
    view_command(&f->scratch, ev, TEXT_CELLS);
    if (!strcmp(buf_str(&f->scratch), before))
        return before;
    return keep_text(f, f->scratch.data, f->scratch.len);
}

/* --- who lives ----------------------------------------------------------------------------------- */

static int *bucket(const struct family *f, int64_t pid)
{
    return &f->buckets[(int)((uint32_t)pid * UINT32_C(2654435761) >> 7) & f->buckets_mask];
}

static int find_live(const struct family *f, int64_t pid)
{
    for (int i = *bucket(f, pid); i != NONE; i = f->members[i].same_hash)
        if (f->processes[i].pid == pid)
            return i;
    return NONE;
}

static void put_live(struct family *f, int number)
{
    int *at = bucket(f, f->processes[number].pid);
    f->members[number].same_hash = *at;
    *at = number;
}

static void bear(struct family *f, int number)
{
    f->members[number].standing = LIVE;
    f->members[number].came = f->came++;
    put_live(f, number);
}

static void bury(struct family *f, int number)
{
    int *at = bucket(f, f->processes[number].pid);
    while (*at != number)
        at = &f->members[*at].same_hash;
    *at = f->members[number].same_hash;
    f->members[number].standing = OVER;
}

static bool grow_buckets(struct family *f)
{
    int places = f->buckets ? (f->buckets_mask + 1) * 2 : 256;
    int *buckets = malloc((size_t)places * sizeof *buckets);
    if (!buckets)
        return false;
    free(f->buckets);
    f->buckets = buckets;
    f->buckets_mask = places - 1;
    for (int i = 0; i < places; i++)
        buckets[i] = NONE;
    for (int i = 0; i < f->len; i++)
        if (f->members[i].standing == LIVE)
            put_live(f, i);
    return true;
}

/* --- processes ----------------------------------------------------------------------------------- */

static bool grow_processes(struct family *f)
{
    int cap = f->cap ? f->cap * 2 : 128;
    struct moonwatch_story_process *processes = realloc(f->processes, (size_t)cap * sizeof *processes);
    if (processes)
        f->processes = processes;
    struct member *members = processes ? realloc(f->members, (size_t)cap * sizeof *members) : NULL;
    if (!members)
        return false;
    f->members = members;
    f->cap = cap;
    return grow_buckets(f);
}

/* The number of a new one that is not in the table yet; NONE: no memory. */
static int add_process(struct family *f, int parent, enum moonwatch_kin kin, const struct event *ev)
{
    if (f->len == f->cap && !grow_processes(f)) {
        f->failed = true;
        return NONE;
    }
    f->processes[f->len] = (struct moonwatch_story_process){
        .parent = parent,
        .depth = parent == NONE ? 0 : f->processes[parent].depth + 1,
        .kin = kin,
        .pid = event_int(ev, F_PID, -1),
        .starttime = event_int(ev, F_STARTTIME, -1),
        .uid = -1,
        .comm = "", .command = "", .exe = "", .cwd = "",
        .code = -1, .signal = -1,
    };
    f->members[f->len] = (struct member){ .standing = EXPECTED, .same_hash = NONE, .came = NONE };
    return f->len++;
}

static bool same_start(const struct moonwatch_story_process *p, const struct event *ev)
{
    int64_t start = event_int(ev, F_STARTTIME, -1);
    return start < 0 || p->starttime < 0 || tracker_same_start(p->starttime, start);
}

static void set_begin(struct family *f, struct moonwatch_story_process *p, const struct event *ev, bool forked)
{
    int64_t start_ns = event_int(ev, F_START, forked ? event_int(ev, F_TIME, 0) : 0);
    p->began = (double)start_ns / 1e9;
    p->before = !forked && start_ns <= f->first_ns;
}

/* What it is now, as far as the record tells. */
static void set_state(struct family *f, struct moonwatch_story_process *p, const struct event *ev)
{
    p->uid = event_int(ev, F_EUID, event_int(ev, F_UID, p->uid));
    p->comm = keep_field(f, ev, F_COMM, p->comm);
    p->exe = keep_field(f, ev, F_EXE, p->exe);
    p->cwd = keep_field(f, ev, F_CWD, p->cwd);
}

void family_expect(struct family *f, const struct event *state, int64_t forked_at_ns)
{
    int parent = f->len - 1;
    int number = add_process(f, parent, MOONWATCH_ITSELF, state);
    if (number == NONE)
        return;
    struct moonwatch_story_process *p = &f->processes[number];
    if (parent != NONE)
        f->processes[parent].kin = MOONWATCH_ANCESTOR;
    f->members[number].forked_at_ns = forked_at_ns;
    set_begin(f, p, state, forked_at_ns != 0);
    set_state(f, p, state);
    p->command = keep_command(f, state, "");
    f->itself = number;
    if (number == 0 || p->before)
        f->root = number;
}

/* Is it one of those who are expected? Forks have a stamp, to the nanosecond. */
static int find_expected(const struct family *f, const struct event *ev)
{
    bool fork = event_kind(ev) == EVENT_FORK;
    for (int i = f->itself; i >= 0; i--) {
        const struct moonwatch_story_process *p = &f->processes[i];
        const struct member *m = &f->members[i];
        if (m->standing != EXPECTED || p->pid != event_int(ev, F_PID, -1))
            continue;
        if (fork ? m->forked_at_ns && m->forked_at_ns == event_int(ev, F_MONO, 0)
                 : !m->forked_at_ns && same_start(p, ev))
            return i;
    }
    return NONE;
}

static void remember(struct crowd *c, int64_t now_ns)
{
    c->came_ns[c->len++ % (uint64_t)c->most] = now_ns;
}

/* Is there room for one more of this kind? */
static bool has_room(struct family *f, enum moonwatch_kin kin, bool fork)
{
    bool own = kin != MOONWATCH_OTHER;
    struct crowd *c = &f->crowds[own];
    if (fork && f->seq && f->now_ns <= f->seq_ns)
        remember(c, f->now_ns);
    bool room = (own ? f->len - f->others : f->others) < 2 * c->most && (!fork || f->now_ns >= c->since_ns);
    f->story.processes_left += !room;
    f->others += room && !own;
    return room;
}

/* The child of one of the family, by the fork or, where that was not recorded, by what /proc said; NONE. */
static int adopt(struct family *f, const struct event *ev)
{
    bool fork = event_kind(ev) == EVENT_FORK;
    int parent = find_live(f, event_int(ev, F_PPID, -1));
    if (parent == NONE || parent < f->root)
        return NONE;
    const struct moonwatch_story_process *above = &f->processes[parent];
    if (!fork && above->starttime > event_int(ev, F_STARTTIME, above->starttime) && !same_start(above, ev))
        return NONE;
    enum moonwatch_kin kin = above->kin >= MOONWATCH_ITSELF ? MOONWATCH_DESCENDANT : MOONWATCH_OTHER;
    int number = has_room(f, kin, fork) ? add_process(f, parent, kin, ev) : NONE;
    if (number == NONE)
        return NONE;
    struct moonwatch_story_process *p = &f->processes[number];
    above = &f->processes[parent];
    set_begin(f, p, ev, fork);
    if (fork) {
        p->command = above->command;
        p->exe = above->exe;
        p->cwd = above->cwd;
    }
    return number;
}

/* --- events -------------------------------------------------------------------------------------- */

static struct moonwatch_story_event *add_event(struct family *f, int process)
{
    bool own = process != NONE && f->processes[process].kin != MOONWATCH_OTHER;
    if (own ? f->events_len - f->other_events >= FAMILY_OWN_EVENTS_MOST
            : f->other_events >= FAMILY_OTHERS_EVENTS_MOST) {
        f->story.events_left++;
        return NULL;
    }
    if (f->events_len == f->events_cap) {
        int cap = f->events_cap ? f->events_cap * 2 : 256;
        struct moonwatch_story_event *events = realloc(f->events, (size_t)cap * sizeof *events);
        if (!events) {
            f->failed = true;
            return NULL;
        }
        f->events = events;
        f->events_cap = cap;
    }
    f->other_events += !own;
    struct moonwatch_story_event *e = &f->events[f->events_len++];
    *e = (struct moonwatch_story_event){ .time = (double)f->now_ns / 1e9, .process = process, .text = "" };
    return e;
}

static const char *tell(struct family *f, int process, const struct event *ev)
{
    struct moonwatch_story_event *e = add_event(f, process);
    if (!e)
        return NULL;
    e->seq = (uint64_t)event_int(ev, F_SEQ, 0);
    e->type = event_kind_name(event_kind(ev));
    e->text = keep_what(f, ev);
    if (f->seq && e->seq == f->seq && f->now_ns == f->seq_ns)
        f->story.alert = f->events_len - 1;
    return e->text;
}

static void end(struct family *f, int number, const struct event *ev)
{
    struct moonwatch_story_process *p = &f->processes[number];
    p->ended = (double)f->now_ns / 1e9;
    if (ev) {
        p->code = (int)event_int(ev, F_CODE, -1);
        p->signal = (int)event_int(ev, F_SIGNAL, -1);
    }
    bury(f, number);
}

/* Does the record say what command it runs? */
static bool tells_command(const struct event *ev)
{
    enum event_kind kind = event_kind(ev);
    return kind == EVENT_EXEC || kind == EVENT_SNAPSHOT || (kind == EVENT_FORK && event_has(ev, F_ARGS));
}

/* Nothing happened to one who was found when the recording began. */
static bool is_told(const struct family *f, int number, const struct event *ev, bool known)
{
    return !known && !(event_kind(ev) == EVENT_SNAPSHOT && f->processes[number].before);
}

static void fold(struct family *f, int number, const struct event *ev, bool known)
{
    bool expected = number <= f->itself; /* the state of these is that of the story */
    const char *text = is_told(f, number, ev, known) ? tell(f, number, ev) : NULL;
    struct moonwatch_story_process *p = &f->processes[number];
    if (event_kind(ev) == EVENT_EXIT) {
        end(f, number, ev);
        return;
    }
    if (event_kind(ev) == EVENT_FORK && p->began <= 0)
        p->began = (double)f->now_ns / 1e9;
    if (expected)
        return;
    set_state(f, p, ev);
    if (text && event_kind(ev) == EVENT_EXEC)
        p->command = text;
    else if (tells_command(ev) || !*p->command)
        p->command = keep_command(f, ev, p->command);
}

/* --- snapshots ----------------------------------------------------------------------------------- */

/* Children can be told of before their parents. */
static void put_off(struct family *f, const struct event *ev)
{
    if (f->pending_len == PENDING_MOST)
        return;
    if (f->pending_len % 256 == 0) {
        struct event **pending = realloc(f->pending, (size_t)(f->pending_len + 256) * sizeof(*pending));
        if (!pending) {
            f->failed = true;
            return;
        }
        f->pending = pending;
    }
    struct event **copy = &f->pending[f->pending_len];
    *copy = malloc(ev->size);
    if (*copy)
        memcpy(*copy, ev, ev->size);
    f->pending_len += *copy != NULL;
    f->failed = f->failed || !*copy;
}

/* One round: those whose parent is known now. */
static bool settle_some(struct family *f)
{
    int left = 0;
    for (int i = 0; i < f->pending_len; i++) {
        struct event *ev = f->pending[i];
        int number = find_live(f, event_int(ev, F_PID, -1)) == NONE ? adopt(f, ev) : NONE;
        if (number == NONE) {
            f->pending[left++] = ev;
            continue;
        }
        bear(f, number);
        fold(f, number, ev, true);
        free(ev);
    }
    bool some = left < f->pending_len;
    f->pending_len = left;
    return some;
}

static void settle(struct family *f)
{
    for (int i = 0; i < ROUNDS_MOST && f->pending_len && settle_some(f); i++)
        ;
    while (f->pending_len)
        free(f->pending[--f->pending_len]);
}

/* --- records ------------------------------------------------------------------------------------- */

/* Whose record it is; NONE: of nobody here. */
static int find(struct family *f, const struct event *ev)
{
    enum event_kind kind = event_kind(ev);
    int number = find_live(f, event_int(ev, F_PID, -1));
    bool another = number != NONE && (kind == EVENT_FORK || !same_start(&f->processes[number], ev));
    if (number != NONE && !another)
        return number;
    if (kind == EVENT_EXIT)
        return NONE;
    if (another)
        end(f, number, NULL); /* how was not recorded */
    number = find_expected(f, ev);
    if (number == NONE)
        number = adopt(f, ev);
    if (number != NONE)
        bear(f, number);
    return number;
}

static void take_process(struct family *f, const struct event *ev, bool known)
{
    bool snapshot = event_kind(ev) == EVENT_SNAPSHOT;
    if (!snapshot && f->pending_len)
        settle(f);
    int number = find(f, ev);
    if (number != NONE)
        fold(f, number, ev, known);
    else if (snapshot)
        put_off(f, ev);
}

void family_take(struct family *f, const struct event *ev, bool known)
{
    if (f->failed || f->itself == NONE)
        return;
    f->now_ns = event_int(ev, F_TIME, f->now_ns);
    if (event_kind(ev) == EVENT_LOST)
        tell(f, NONE, ev);
    else if (event_has(ev, F_PID) && event_int(ev, F_TID, ev->cell[F_PID].num) == ev->cell[F_PID].num)
        take_process(f, ev, known);
}

void family_gap(struct family *f, uint64_t missing)
{
    struct moonwatch_story_event *e = f->failed || f->itself == NONE ? NULL : add_event(f, NONE);
    if (!e)
        return;
    buf_clear(&f->scratch);
    if (missing)
        buf_printf(&f->scratch, "%llu events are missing in the recording here", (unsigned long long)missing);
    else
        buf_puts(&f->scratch, "a piece of the recording is damaged here");
    e->type = "gap";
    e->text = keep_text(f, f->scratch.data, f->scratch.len);
}

/* --- the story ----------------------------------------------------------------------------------- */

/* Room for the work on all processes. */
struct tree {
    int *number; /* that a process gets in the order of a tree */
    int *first, *next; /* child, and the next one of the same parent */
    int *at;     /* who came as this */
};

/* Children in the order in which they came. */
static void link_children(struct family *f, const struct tree *t)
{
    for (int i = 0; i < f->len; i++) {
        t->first[i] = t->next[i] = NONE;
        if (f->members[i].came == NONE)
            f->members[i].came = f->came++;
        t->at[f->members[i].came] = i;
    }
    for (int i = f->len - 1; i >= 0; i--) {
        int child = t->at[i], parent = f->processes[child].parent;
        if (parent == NONE)
            continue;
        t->next[child] = t->first[parent];
        t->first[parent] = child;
    }
}

static void number_tree(const struct family *f, const struct tree *t)
{
    int last = 0, at = 0;
    while (at != NONE) {
        t->number[at] = last++;
        if (t->first[at] != NONE) {
            at = t->first[at];
            continue;
        }
        while (at != NONE && t->next[at] == NONE)
            at = f->processes[at].parent;
        at = at == NONE ? NONE : t->next[at];
    }
}

static bool sort_tree(struct family *f)
{
    struct moonwatch_story_process *sorted = calloc((size_t)f->len, sizeof *sorted);
    int *numbers = calloc((size_t)f->len * 4, sizeof *numbers);
    if (sorted && numbers) {
        struct tree t = { numbers, numbers + f->len, numbers + 2 * f->len, numbers + 3 * f->len };
        link_children(f, &t);
        number_tree(f, &t);
        for (int i = 0; i < f->len; i++) {
            struct moonwatch_story_process *p = &sorted[numbers[i]];
            *p = f->processes[i];
            p->parent = p->parent == NONE ? NONE : numbers[p->parent];
        }
        for (int i = 0; i < f->events_len; i++)
            if (f->events[i].process != NONE)
                f->events[i].process = numbers[f->events[i].process];
        f->root = numbers[f->root];
        f->itself = numbers[f->itself];
        free(f->processes);
        f->processes = sorted;
        sorted = NULL;
    } else {
        f->failed = true;
    }
    free(sorted);
    free(numbers);
    return !f->failed;
}

const struct moonwatch_story *family_story(struct family *f)
{
    settle(f);
    if (f->failed || f->itself == NONE || !sort_tree(f))
        return NULL;
    f->story.processes = f->processes;
    f->story.processes_len = f->len;
    f->story.events = f->events;
    f->story.events_len = f->events_len;
    f->story.itself = f->itself;
    f->story.root = f->root;
    return &f->story;
}

static bool make_crowd(struct crowd *c, int most)
{
    c->most = most;
    c->since_ns = INT64_MIN;
    c->came_ns = malloc((size_t)most * sizeof *c->came_ns);
    return c->came_ns != NULL;
}

struct family *family_new(int64_t first_ns, uint64_t seq, int64_t seq_ns)
{
    struct family *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->first_ns = f->now_ns = first_ns;
    f->seq = seq;
    f->seq_ns = seq_ns;
    f->root = f->itself = f->story.alert = NONE;
    f->story.time = (double)(seq ? seq_ns : 0) / 1e9;
    if (make_crowd(&f->crowds[0], FAMILY_OTHERS_MOST / 2) && make_crowd(&f->crowds[1], FAMILY_OWN_MOST / 2))
        return f;
    family_free(f);
    return NULL;
}

static bool is_crowded(const struct crowd *c)
{
    return c->since_ns == INT64_MIN && c->len > (uint64_t)c->most;
}

bool family_crowded(const struct family *f)
{
    return f->story.processes_left && (is_crowded(&f->crowds[0]) || is_crowded(&f->crowds[1]));
}

struct family *family_nearer(const struct family *crowded)
{
    struct family *f = family_new(crowded->first_ns, crowded->seq, crowded->seq_ns);
    for (int i = 0; f && i < 2; i++)
        if (is_crowded(&crowded->crowds[i]))
            f->crowds[i].since_ns = crowded->crowds[i].came_ns[crowded->crowds[i].len % (uint64_t)f->crowds[i].most];
    return f;
}

void family_free(struct family *f)
{
    if (!f)
        return;
    while (f->blocks) {
        struct block *next = f->blocks->next;
        free(f->blocks);
        f->blocks = next;
    }
    while (f->pending_len)
        free(f->pending[--f->pending_len]);
    free(f->pending);
    free(f->processes);
    free(f->members);
    free(f->events);
    free(f->buckets);
    free(f->crowds[0].came_ns);
    free(f->crowds[1].came_ns);
    buf_free(&f->scratch);
    free(f);
}
