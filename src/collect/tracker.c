/* tracker.c - who lives, whose child it is, and what it was when it forked. See tracker.h. */
#include "collect/tracker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NONE UINT32_MAX /* no index */

/* A node that is not in the table any more is on one of two lists, oldest first. */
enum standing {
    LIVE,  /* the present image of a living process */
    HELD,  /* dead or past, but a child's node points at it */
    LOOSE, /* dead, nobody points at it: remembered until its turn comes */
};

struct node {
    tracker_ref parent;
    uint32_t index;    /* own place in slots */
    uint32_t children; /* nodes whose parent this is */
    uint32_t hash_next;
    uint32_t list_prev, list_next;
    uint32_t round;
    uint8_t class;
    uint8_t standing;
    bool in_hash;
    int64_t forked_at;                         /* CLOCK_MONOTONIC ns; 0: fork not seen */
    union event_cell cell[EVENT_STATE_FIELDS]; /* text offsets count from the node's start */
    uint8_t why[EVENT_STATE_FIELDS];
    /* text follows */
};

struct slot {
    struct node *node; /* NULL: free; then `next` links the free ones */
    uint32_t generation;
    uint32_t next;
};

struct list {
    uint32_t head, tail, len;
};

/* Size classes: 384 512 768 1024 ... 128 KiB. */
#define CLASSES 18
#define CHUNK   ((size_t)256 * 1024)

struct tracker {
    size_t bound;
    struct slot *slots; /* owned */
    uint32_t slots_cap, slots_len, free_slot;
    uint32_t *buckets; /* owned: by pid */
    uint32_t buckets_mask;
    struct list held, loose;
    uint32_t round;
    struct tracker_counters count;

    void *free_blocks[CLASSES]; /* each begins with a pointer to the next */
    char *chunk;                /* where the next new block comes from */
    size_t chunk_left;
    struct chunk *chunks; /* owned: for freeing */
};

struct chunk {
    struct chunk *next;
    size_t bytes;
};

/* --- memory --------------------------------------------------------------------------- */

static size_t class_size(int class)
{
    return ((size_t)(class % 2 ? 512 : 384)) << (class / 2);
}

static int class_for(size_t bytes)
{
    int class = 0;
    while (class < CLASSES && class_size(class) < bytes)
        class ++;
    return class;
}

static bool add_chunk(struct tracker *t, size_t at_least)
{
    size_t bytes =
        at_least + sizeof(struct chunk) > CHUNK ? at_least + sizeof(struct chunk) : CHUNK;
    struct chunk *c = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return false;
    c->next = t->chunks;
    c->bytes = bytes;
    t->chunks = c;
    t->chunk = (char *)(c + 1);
    t->chunk_left = bytes - sizeof *c;
    return true;
}

static void *block_new(struct tracker *t, int class)
{
    void *block = t->free_blocks[class];
    if (block) {
        memcpy(&t->free_blocks[class], block, sizeof(void *));
        return block;
    }
    size_t size = class_size(class);
    if (t->chunk_left < size && !add_chunk(t, size))
        return NULL;
    block = t->chunk;
    t->chunk += size;
    t->chunk_left -= size;
    return block;
}

static void block_free(struct tracker *t, void *block, int class)
{
    memcpy(block, &t->free_blocks[class], sizeof(void *));
    t->free_blocks[class] = block;
}

/* --- slots and references ------------------------------------------------------------- */

static tracker_ref ref_of(const struct tracker *t, const struct node *n)
{
    return (uint64_t)t->slots[n->index].generation << 32 | (n->index + 1u);
}

static struct node *deref(const struct tracker *t, tracker_ref ref)
{
    uint32_t index = (uint32_t)ref - 1u;
    if (!ref || index >= t->slots_len || t->slots[index].generation != ref >> 32)
        return NULL;
    return t->slots[index].node;
}

static uint32_t slot_new(struct tracker *t)
{
    if (t->free_slot != NONE) {
        uint32_t index = t->free_slot;
        t->free_slot = t->slots[index].next;
        return index;
    }
    if (t->slots_len == t->slots_cap) {
        uint32_t cap = t->slots_cap * 2;
        struct slot *more = realloc(t->slots, cap * sizeof *more);
        if (!more)
            return NONE;
        t->slots = more;
        t->slots_cap = cap;
    }
    t->slots[t->slots_len] = (struct slot){ .generation = 1 };
    return t->slots_len++;
}

static void slot_free(struct tracker *t, uint32_t index)
{
    t->slots[index].node = NULL;
    t->slots[index].generation++;
    t->slots[index].next = t->free_slot;
    t->free_slot = index;
}

/* --- the two lists of the dead -------------------------------------------------------- */

static struct list *list_for(struct tracker *t, const struct node *n)
{
    return n->standing == HELD ? &t->held : &t->loose;
}

static void list_append(struct tracker *t, struct node *n, enum standing standing)
{
    n->standing = (uint8_t)standing;
    struct list *l = list_for(t, n);
    n->list_prev = l->tail;
    n->list_next = NONE;
    if (l->tail != NONE)
        t->slots[l->tail].node->list_next = n->index;
    else
        l->head = n->index;
    l->tail = n->index;
    l->len++;
}

static void list_remove(struct tracker *t, struct node *n)
{
    struct list *l = list_for(t, n);
    if (n->list_prev != NONE)
        t->slots[n->list_prev].node->list_next = n->list_next;
    else
        l->head = n->list_next;
    if (n->list_next != NONE)
        t->slots[n->list_next].node->list_prev = n->list_prev;
    else
        l->tail = n->list_prev;
    l->len--;
}

/* --- the table by pid ----------------------------------------------------------------- */

static uint32_t *bucket(const struct tracker *t, int64_t pid)
{
    return &t->buckets[((uint32_t)pid * UINT32_C(2654435761) >> 7) & t->buckets_mask];
}

static int64_t node_int(const struct node *n, enum event_field field, int64_t otherwise)
{
    int at = field - EVENT_FIRST_STATE;
    return n->why[at] - 1u < WHY_MISSING - 1u ? n->cell[at].num : otherwise;
}

static int64_t node_pid(const struct node *n)
{
    return n->cell[F_PID - EVENT_FIRST_STATE].num;
}

static void hash_add(struct tracker *t, struct node *n)
{
    uint32_t *at = bucket(t, node_pid(n));
    n->hash_next = *at;
    *at = n->index;
    n->in_hash = true;
}

static void hash_remove(struct tracker *t, struct node *n)
{
    if (!n->in_hash)
        return;
    uint32_t *at = bucket(t, node_pid(n));
    while (*at != n->index)
        at = &t->slots[*at].node->hash_next;
    *at = n->hash_next;
    n->in_hash = false;
}

/* The same chain, oldest first. */
static uint32_t reversed(const struct tracker *t, uint32_t chain)
{
    uint32_t before = NONE;
    while (chain != NONE) {
        struct node *n = t->slots[chain].node;
        uint32_t next = n->hash_next;
        n->hash_next = before;
        before = chain;
        chain = next;
    }
    return before;
}

/* Chains stay short: grow when there are more nodes than buckets. On no memory they get longer.
 * They stay newest first: what was in one bucket goes to two that nothing else goes to. */
static void hash_grow(struct tracker *t)
{
    size_t cap = (size_t)t->buckets_mask + 1;
    if (t->count.nodes <= cap)
        return;
    uint32_t *old = t->buckets, *more = malloc(cap * 2 * sizeof *more);
    if (!more)
        return;
    t->buckets = more;
    t->buckets_mask = (uint32_t)(cap * 2 - 1);
    memset(more, 0xff, cap * 2 * sizeof *more);
    for (size_t b = 0; b < cap; b++)
        for (uint32_t i = reversed(t, old[b]), next; i != NONE; i = next) {
            next = t->slots[i].node->hash_next;
            hash_add(t, t->slots[i].node);
        }
    free(old);
}

static struct node *find_alive(const struct tracker *t, int64_t pid)
{
    for (uint32_t i = *bucket(t, pid); i != NONE; i = t->slots[i].node->hash_next)
        if (node_pid(t->slots[i].node) == pid && t->slots[i].node->standing == LIVE)
            return t->slots[i].node;
    return NULL;
}

/* --- nodes ---------------------------------------------------------------------------- */

static void let_go_of_parent(struct tracker *t, struct node *n)
{
    tracker_ref parent = n->parent;
    n->parent = 0;
    tracker_release(t, parent);
}

static void node_free(struct tracker *t, struct node *n)
{
    if (n->standing != LIVE)
        list_remove(t, n);
    else
        t->count.alive--;
    hash_remove(t, n);
    let_go_of_parent(t, n);
    t->count.nodes--;
    t->count.bytes -= class_size(n->class);
    slot_free(t, n->index);
    block_free(t, n, n->class);
}

/* Make room below the bound. The loose are only remembered; the held cost somebody an ancestor. */
static bool make_room(struct tracker *t, size_t bytes)
{
    while (t->count.bytes + bytes > t->bound) {
        uint32_t oldest = t->loose.head != NONE ? t->loose.head : t->held.head;
        if (oldest == NONE)
            return false;
        t->count.evicted++;
        node_free(t, t->slots[oldest].node);
    }
    return true;
}

static size_t state_text_size(const struct event *ev)
{
    size_t bytes = 0;
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        if (event_is_text(f) && event_has(ev, f))
            bytes += ev->cell[f].text.len;
    return bytes;
}

static void fill_state(struct node *n, const struct event *ev)
{
    size_t at = sizeof *n;
    memcpy(n->cell, &ev->cell[EVENT_FIRST_STATE], sizeof n->cell);
    memcpy(n->why, &ev->why[EVENT_FIRST_STATE], sizeof n->why);
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++) {
        if (!event_is_text(f) || !event_has(ev, f))
            continue;
        union event_cell *cell = &n->cell[f - EVENT_FIRST_STATE];
        memcpy((char *)n + at, (const char *)ev + ev->cell[f].text.off, cell->text.len);
        cell->text.off = (uint32_t)at;
        at += cell->text.len;
    }
}

/* A live node with the state of `ev`; NULL (counted as refused) when there is no room. */
static struct node *node_new(struct tracker *t, const struct event *ev)
{
    int class = class_for(sizeof(struct node) + state_text_size(ev));
    if (class == CLASSES || !make_room(t, class_size(class)))
        goto refused;

    uint32_t index = slot_new(t);
    if (index == NONE)
        goto refused;
    struct node *n = block_new(t, class);
    if (!n) {
        slot_free(t, index);
        goto refused;
    }

    *n = (struct node){
        .index = index, .class = (uint8_t) class, .standing = LIVE, .round = t->round
    };
    fill_state(n, ev);
    t->slots[index].node = n;
    t->count.nodes++;
    t->count.alive++;
    t->count.bytes += class_size(class);
    hash_add(t, n);
    hash_grow(t);
    return n;

refused:
    t->count.refused++;
    return NULL;
}

static void set_parent(struct node *n, struct node *parent, tracker_ref ref)
{
    n->parent = ref;
    parent->children++;
}

static void die(struct tracker *t, struct node *n)
{
    t->count.alive--;
    list_append(t, n, n->children ? HELD : LOOSE);
    while (t->loose.len > TRACKER_REMEMBERED) /* the last child of one may make its parent loose */
        node_free(t, t->slots[t->loose.head].node);
}

/* The process changed: its node gets the state of `ev`. Children keep the old image. */
static void replace(struct tracker *t, struct node *old, const struct event *ev)
{
    size_t need = sizeof *old + state_text_size(ev);
    if (!old->children && need <= class_size(old->class)) {
        fill_state(old, ev);
        return;
    }

    tracker_ref old_ref = ref_of(t, old);
    hash_remove(t, old); /* so that the table never holds two images of one process */
    struct node *n = node_new(t, ev);
    old = deref(t, old_ref); /* making room may not free a live node, but keep it obvious */
    if (!n) {
        hash_add(t, old);
        return;
    }
    n->forked_at = old->forked_at;
    n->round = old->round;
    struct node *parent = deref(t, old->parent);
    if (parent)
        set_parent(n, parent, old->parent);
    if (old->children) {
        t->count.alive--;
        list_append(t, old, HELD);
    } else {
        node_free(t, old);
    }
}

/* --- folding -------------------------------------------------------------------------- */

static void apply_fork(struct tracker *t, const struct event *ev)
{
    int64_t pid = ev->cell[F_PID].num;
    struct node *old = find_alive(t, pid);
    if (old)
        die(t, old); /* its exit was not seen */

    struct node *n = node_new(t, ev);
    if (!n)
        return;
    n->forked_at = event_int(ev, F_MONO, 0);
    struct node *parent = find_alive(t, event_int(ev, F_PPID, -1));
    if (parent && parent != n)
        set_parent(n, parent, ref_of(t, parent));
}

static void apply_change(struct tracker *t, const struct event *ev)
{
    struct node *n = find_alive(t, ev->cell[F_PID].num);
    if (n)
        replace(t, n, ev);
    else
        node_new(t, ev);
}

static void apply_snapshot(struct tracker *t, const struct event *ev)
{
    struct node *n = find_alive(t, ev->cell[F_PID].num);
    if (n && !tracker_same_start(node_int(n, F_STARTTIME, 0), event_int(ev, F_STARTTIME, 0))) {
        die(t, n);
        n = NULL;
    }
    if (n)
        replace(t, n, ev);
    else
        node_new(t, ev);
}

static void apply_exit(struct tracker *t, const struct event *ev)
{
    struct node *n = find_alive(t, ev->cell[F_PID].num);
    if (n && tracker_same_start(node_int(n, F_STARTTIME, 0),
                                event_int(ev, F_STARTTIME, node_int(n, F_STARTTIME, 0))))
        die(t, n);
}

void tracker_apply(struct tracker *t, const struct event *ev)
{
    if (!event_has(ev, F_PID))
        return;
    if (event_has(ev, F_TID) && ev->cell[F_TID].num != ev->cell[F_PID].num)
        return;

    switch (event_kind(ev)) {
    case EVENT_FORK:
        apply_fork(t, ev);
        break;
    case EVENT_SNAPSHOT:
        apply_snapshot(t, ev);
        break;
    case EVENT_EXEC:
    case EVENT_UID:
    case EVENT_GID:
    case EVENT_SID:
    case EVENT_COMM:
        apply_change(t, ev);
        break;
    case EVENT_EXIT:
        apply_exit(t, ev);
        break;
    case EVENT_NONE:
    case EVENT_PTRACE:
    case EVENT_COREDUMP:
    case EVENT_LOST:
    case EVENT_RELOAD:
    case EVENT_STORM:
    case EVENT_KINDS:
        break;
    }
}

/* --- questions ------------------------------------------------------------------------ */

tracker_ref tracker_alive(const struct tracker *t, int64_t pid)
{
    const struct node *n = find_alive(t, pid);
    return n ? ref_of(t, n) : 0;
}

tracker_ref tracker_find(const struct tracker *t, int64_t pid, int64_t starttime)
{
    for (uint32_t i = *bucket(t, pid); i != NONE; i = t->slots[i].node->hash_next) {
        const struct node *n = t->slots[i].node;
        if (node_pid(n) == pid && tracker_same_start(node_int(n, F_STARTTIME, -9), starttime))
            return ref_of(t, n);
    }
    return 0;
}

tracker_ref tracker_dead(const struct tracker *t, int64_t pid)
{
    /* chains are newest first */
    for (uint32_t i = *bucket(t, pid); i != NONE; i = t->slots[i].node->hash_next)
        if (node_pid(t->slots[i].node) == pid && t->slots[i].node->standing != LIVE)
            return ref_of(t, t->slots[i].node);
    return 0;
}

/* A process found by a scan comes without its parent's node, and maybe before it: look it up by
 * pid when first asked. A parent cannot be younger than its child. */
static void adopt(struct tracker *t, struct node *n)
{
    struct node *parent = find_alive(t, node_int(n, F_PPID, 0));
    if (!parent || node_pid(parent) == node_pid(n) || n->forked_at)
        return;
    int64_t born = node_int(n, F_STARTTIME, 0), parent_born = node_int(parent, F_STARTTIME, 0);
    if (parent_born > born && !tracker_same_start(parent_born, born))
        return;
    set_parent(n, parent, ref_of(t, parent));
}

tracker_ref tracker_parent(struct tracker *t, tracker_ref ref)
{
    struct node *n = deref(t, ref);
    if (!n)
        return 0;
    if (!n->parent)
        adopt(t, n);
    return deref(t, n->parent) ? n->parent : 0;
}

int tracker_depth(struct tracker *t, tracker_ref ref)
{
    int depth = 0;
    while (depth < 1000 && (ref = tracker_parent(t, ref)))
        depth++;
    return depth;
}

/* Who holds counts as a child. */
void tracker_hold(struct tracker *t, tracker_ref ref)
{
    struct node *n = deref(t, ref);
    if (!n || n->children++ || n->standing != LOOSE)
        return;
    list_remove(t, n);
    list_append(t, n, HELD);
}

void tracker_release(struct tracker *t, tracker_ref ref)
{
    struct node *n = deref(t, ref);
    if (!n || --n->children || n->standing != HELD)
        return;
    list_remove(t, n);
    list_append(t, n, LOOSE);
}

int64_t tracker_forked_at(const struct tracker *t, tracker_ref ref)
{
    const struct node *n = deref(t, ref);
    return n ? n->forked_at : 0;
}

bool tracker_copy_state(const struct tracker *t, tracker_ref ref, struct event_box *box,
                        enum event_why why)
{
    const struct node *n = deref(t, ref);
    if (!n)
        return false;

    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++) {
        int at = f - EVENT_FIRST_STATE;
        enum event_why as = (enum event_why)n->why[at];
        bool has = n->why[at] - 1u < WHY_MISSING - 1u;
        if (has && why != WHY_ABSENT)
            as = why;
        if (has && event_is_text(f))
            event_set_text(box, f, (const char *)n + n->cell[at].text.off, n->cell[at].text.len,
                           as);
        else
            event_set(box, f, has ? n->cell[at].num : 0, as);
    }
    return true;
}

int64_t tracker_int(const struct tracker *t, tracker_ref ref, enum event_field field,
                    int64_t otherwise)
{
    const struct node *n = deref(t, ref);
    assert(field >= EVENT_FIRST_STATE && field <= EVENT_LAST_STATE);
    return n ? node_int(n, field, otherwise) : otherwise;
}

const char *tracker_text(const struct tracker *t, tracker_ref ref, enum event_field field,
                         size_t *len)
{
    const struct node *n = deref(t, ref);
    int at = field - EVENT_FIRST_STATE;
    *len = 0;
    if (!n || !(n->why[at] - 1u < WHY_MISSING - 1u))
        return NULL;
    *len = n->cell[at].text.len;
    return (const char *)n + n->cell[at].text.off;
}

enum event_why tracker_why(const struct tracker *t, tracker_ref ref, enum event_field field)
{
    const struct node *n = deref(t, ref);
    return n ? (enum event_why)n->why[field - EVENT_FIRST_STATE] : WHY_ABSENT;
}

void tracker_round(struct tracker *t)
{
    t->round++;
}

void tracker_mark(struct tracker *t, tracker_ref ref)
{
    struct node *n = deref(t, ref);
    if (n)
        n->round = t->round;
}

static void visit_live(struct tracker *t, bool unmarked, tracker_visit *visit, void *ctx)
{
    /* slots_len as of now: what a visitor adds is not visited */
    for (uint32_t i = 0, end = t->slots_len; i < end; i++) {
        const struct node *n = t->slots[i].node;
        if (n && n->standing == LIVE && !(unmarked && n->round == t->round))
            visit(ctx, ref_of(t, n));
    }
}

void tracker_unmarked(struct tracker *t, tracker_visit *visit, void *ctx)
{
    visit_live(t, true, visit, ctx);
}

void tracker_each(struct tracker *t, tracker_visit *visit, void *ctx)
{
    visit_live(t, false, visit, ctx);
}

struct tracker_counters tracker_count(const struct tracker *t)
{
    return t->count;
}

/* --- life ----------------------------------------------------------------------------- */

struct tracker *tracker_new(size_t bound)
{
    struct tracker *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->bound = bound;
    t->free_slot = NONE;
    t->held = t->loose = (struct list){ NONE, NONE, 0 };
    t->slots_cap = 1024;
    t->slots = malloc(t->slots_cap * sizeof *t->slots);
    t->buckets_mask = 1023;
    t->buckets = malloc((t->buckets_mask + 1u) * sizeof *t->buckets);
    if (!t->slots || !t->buckets) {
        tracker_free(t);
        return NULL;
    }
    memset(t->buckets, 0xff, (t->buckets_mask + 1u) * sizeof *t->buckets);
    return t;
}

void tracker_free(struct tracker *t)
{
    if (!t)
        return;
    for (struct chunk *c = t->chunks; c;) {
        struct chunk *next = c->next;
        munmap(c, c->bytes);
        c = next;
    }
    free(t->slots);
    free(t->buckets);
    free(t);
}
