/* storm.c - decides when scripts are overrun, and adds up by parent. See storm.h.
 *
 * Who was told is remembered as 64 bits of a keyed hash. The key is made anew by chance at each
 * start, because names are an attacker's to choose: with a hash that he can compute, an exec could
 * be given the number of one that was told before, and hide. */
#include "host/storm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Places for hashes, open addressing; 0 is an empty place. At most three quarters are taken. */
struct hashes {
    uint64_t *places; /* owned */
    uint32_t size;    /* a power of two */
    uint32_t used;
};

#define INDEX_SIZE (4 * STORM_PARENTS)

struct storm {
    struct tracker *tracker; /* borrowed */
    bool on;
    int64_t began_ns, ended_ns, report_ns; /* by the clock of storm_pressure */
    int64_t hold_ns;                       /* what this storm or the last one lasts at least */
    uint64_t summed;
    uint64_t key[2];
    struct hashes firsts, comms;
    struct storm_row rows[STORM_PARENTS], others;
    int rows_len;
    uint16_t index[INDEX_SIZE]; /* number of a row plus one, by pid; 0: empty place */
};

/* --- hashes -------------------------------------------------------------------------------- */

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* Length first: then no text can run into the next one. */
static void sip_text(uint64_t v[4], const char *bytes, size_t len)
{
    uint64_t word;
    sip_word(v, len);
    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        sip_word(v, word);
    }
    if (len) {
        word = 0;
        memcpy(&word, bytes, len);
        sip_word(v, word);
    }
}

static void sip_begin(const uint64_t key[2], uint64_t v[4])
{
    v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
    v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
    v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
    v[3] = key[1] ^ UINT64_C(0x7465646279746573);
}

/* SipHash-1-3's end. The state is a copy: what was put in so far can be gone on from. */
static uint64_t sip_end(const uint64_t from[4])
{
    uint64_t v[4] = { from[0], from[1], from[2] ^ 0xff, from[3] };
    sip_round(v);
    sip_round(v);
    sip_round(v);
    uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash ? hash : 1;
}

static bool hashes_full(const struct hashes *h)
{
    return h->used >= h->size / 4 * 3;
}

/* True when it was not there. */
static bool hashes_add(struct hashes *h, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (h->size - 1);
    while (h->places[at]) {
        if (h->places[at] == hash)
            return false;
        at = (at + 1) & (h->size - 1);
    }
    h->places[at] = hash;
    h->used++;
    return true;
}

static void hashes_clear(struct hashes *h)
{
    if (h->used)
        memset(h->places, 0, h->size * sizeof *h->places);
    h->used = 0;
}

/* --- rows ---------------------------------------------------------------------------------- */

/* An unknown start is that of any: it is unknown for children of before the watch, say. */
static bool same_parent(const struct storm_row *row, const struct storm_parent *parent)
{
    return row->pid == parent->pid &&
           (row->starttime < 0 || parent->starttime < 0 ||
            tracker_same_start(row->starttime, parent->starttime));
}

static void name_row(struct storm *s, struct storm_row *row, const struct storm_parent *parent)
{
    size_t len = parent->comm.len < sizeof row->comm ? parent->comm.len : sizeof row->comm - 1;
    row->pid = parent->pid;
    row->starttime = parent->starttime;
    row->ref = parent->ref;
    tracker_hold(s->tracker, row->ref);
    if (parent->comm.bytes)
        memcpy(row->comm, parent->comm.bytes, len);
}

/* The parent's row, made when there is room; else that of the others. */
static struct storm_row *row_of(struct storm *s, const struct storm_parent *parent)
{
    if (parent->pid < 0)
        return &s->others;
    uint32_t at = ((uint32_t)parent->pid * UINT32_C(2654435761) >> 7) & (INDEX_SIZE - 1);
    for (; s->index[at]; at = (at + 1) & (INDEX_SIZE - 1)) {
        struct storm_row *row = &s->rows[s->index[at] - 1];
        if (!same_parent(row, parent))
            continue;
        if (row->starttime < 0 && !row->ref)
            name_row(s, row, parent);
        return row;
    }
    if (s->rows_len == STORM_PARENTS)
        return &s->others;
    struct storm_row *row = &s->rows[s->rows_len++];
    s->index[at] = (uint16_t)s->rows_len;
    *row = (struct storm_row){ 0 };
    name_row(s, row, parent);
    return row;
}

static void clear_rows(struct storm *s)
{
    for (int i = 0; i < s->rows_len; i++)
        tracker_release(s->tracker, s->rows[i].ref);
    s->rows_len = 0;
    memset(s->index, 0, sizeof s->index);
    s->others = (struct storm_row){ .pid = -1, .starttime = -1 };
    hashes_clear(&s->comms);
}

/* --- the mode ------------------------------------------------------------------------------ */

bool storm_on(const struct storm *s)
{
    return s->on;
}

static void start(struct storm *s, int64_t now_ns)
{
    bool again = s->hold_ns && now_ns - s->ended_ns < s->hold_ns;
    s->hold_ns = !again ? STORM_EVERY_NS : s->hold_ns * 2;
    if (s->hold_ns > STORM_HOLD_NS)
        s->hold_ns = STORM_HOLD_NS;
    s->on = true;
    s->began_ns = s->report_ns = now_ns;
    hashes_clear(&s->firsts);
}

enum storm_step storm_pressure(struct storm *s, double backlog, int64_t now_ns)
{
    if (!s->on) {
        if (backlog < STORM_BEGINS_AT)
            return STORM_CALM;
        start(s, now_ns);
        return STORM_BEGINS;
    }
    if (backlog < STORM_ENDS_AT && now_ns - s->began_ns >= s->hold_ns) {
        s->ended_ns = now_ns;
        return storm_finish(s);
    }
    if (now_ns - s->report_ns < STORM_EVERY_NS)
        return STORM_LASTS;
    s->report_ns = now_ns;
    return STORM_REPORTS;
}

enum storm_step storm_finish(struct storm *s)
{
    if (!s->on)
        return STORM_CALM;
    s->on = false;
    return STORM_ENDS;
}

void storm_force(struct storm *s, enum storm_step step)
{
    if (step == STORM_BEGINS)
        start(s, 0);
    if (step == STORM_ENDS)
        s->on = false;
}

/* --- adding up ----------------------------------------------------------------------------- */

static bool first_of_kind(struct storm *s, const struct event *ev,
                          const struct storm_parent *parent)
{
    uint64_t v[4];
    size_t comm_len, exe_len;
    const char *comm = event_text(ev, F_COMM, &comm_len), *exe = event_text(ev, F_EXE, &exe_len);

    sip_begin(s->key, v);
    sip_word(v, (uint64_t)parent->uid);
    sip_text(v, parent->comm.bytes, parent->comm.len);
    sip_text(v, parent->exe.bytes, parent->exe.len);
    sip_text(v, parent->cgroup.bytes, parent->cgroup.len);
    sip_word(v, (uint64_t)event_kind(ev));
    sip_text(v, comm, comm_len);
    sip_text(v, exe, exe_len);
    if (hashes_full(&s->firsts))
        hashes_clear(&s->firsts);
    return hashes_add(&s->firsts, sip_end(v));
}

/* A fork still has its parent's name: only later events tell the child's own. */
static bool new_comm(struct storm *s, const struct event *ev, const struct storm_row *row)
{
    uint64_t v[4];
    size_t len;
    const char *comm = event_text(ev, F_COMM, &len);
    if (!comm || event_kind(ev) == EVENT_FORK || hashes_full(&s->comms))
        return false;
    sip_begin(s->key, v);
    sip_word(v, (uint64_t)(row == &s->others ? -1 : row - s->rows));
    sip_text(v, comm, len);
    return hashes_add(&s->comms, sip_end(v));
}

static void add_up(struct storm *s, const struct event *ev, struct storm_row *row)
{
    int64_t time_ns = event_int(ev, F_TIME, 0);
    if (!row->summed++)
        row->from_ns = time_ns;
    row->until_ns = time_ns;
    row->children += event_kind(ev) == EVENT_FORK;
    row->distinct += new_comm(s, ev, row);
    s->summed++;
}

bool storm_sums(struct storm *s, const struct event *ev, const struct storm_parent *parent)
{
    uint32_t kind = UINT32_C(1) << event_kind(ev);
    if (!(kind & (ON(FORK) | ON(EXEC) | ON(EXIT))) || first_of_kind(s, ev, parent))
        return false;
    add_up(s, ev, row_of(s, parent));
    return true;
}

void storm_report(struct storm *s, storm_visit *visit, void *ctx)
{
    for (int i = 0; i < s->rows_len; i++)
        visit(ctx, &s->rows[i]);
    if (s->others.summed)
        visit(ctx, &s->others);
    clear_rows(s);
}

uint64_t storm_summed(const struct storm *s)
{
    return s->summed;
}

/* --- life ---------------------------------------------------------------------------------- */

static bool hashes_init(struct hashes *h, uint32_t size)
{
    h->size = size;
    h->places = calloc(size, sizeof *h->places); /* pages come with the first storm */
    return h->places != NULL;
}

int storm_new(struct storm **out, struct tracker *tracker)
{
    struct storm *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->tracker = tracker;
    if (!hashes_init(&s->firsts, STORM_FIRSTS) || !hashes_init(&s->comms, STORM_COMMS) ||
        getrandom(s->key, sizeof s->key, GRND_NONBLOCK) != sizeof s->key) {
        storm_free(s);
        return -ENOMEM;
    }
    clear_rows(s);
    *out = s;
    return 0;
}

void storm_free(struct storm *s)
{
    if (!s)
        return;
    free(s->firsts.places);
    free(s->comms.places);
    free(s);
}
