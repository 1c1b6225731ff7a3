/* fuzz_tracker.c - any records, folded into the process table: it stays inside its bound, its
 * counts add up, and each answer is about the process that was asked for.
 *
 * The input is a bound and then steps of four bytes: what, which pid, whose, and when. */
#include "base/clock.h"
#include "collect/tracker.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

enum { PIDS = 64, REFS = 16 };

static struct tracker *t;
static tracker_ref refs[REFS]; /* kept, also when what they name is gone */
static unsigned refs_len;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void keep(tracker_ref ref)
{
    refs[refs_len++ % REFS] = ref;
}

/* Eight each that are in the same bucket, whatever its number of bits up to 17. */
static int64_t pid_of(unsigned char byte)
{
    return byte % 8 * INT64_C(0x20000) + byte % PIDS / 8;
}

static unsigned char byte_of(int64_t pid)
{
    return (unsigned char)((pid & 0x1ffff) * 8 + (pid >> 17));
}

/* Any field may be there or not, of any size, also one that the kind does not have. */
static void fold(const unsigned char *step)
{
    static struct event_box box;
    static char text[4096];
    int64_t pid = pid_of(step[1]);

    event_begin(&box, (enum event_kind)(step[0] % EVENT_KINDS));
    if (step[0] < 0xf0)
        event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, step[3] == 0xff ? pid + 1 : pid, WHY_KERNEL);
    event_set(&box, F_PPID, pid_of(step[2]), step[2] < 0xf0 ? WHY_KERNEL : WHY_GONE);
    event_set(&box, F_MONO, step[3] * NS_PER_TICK, step[3] & 1 ? WHY_KERNEL : WHY_ABSENT);
    event_set(&box, F_STARTTIME, step[3] == 0xfe ? INT64_MIN : step[3] / 2, WHY_COMPUTED);
    if (step[2] & 1)
        event_set_text(&box, F_COMM, (const char *)step, 3, WHY_PROC);
    memset(text, step[1] | 1, sizeof text);
    if (step[2] & 2)
        event_set_text(&box, F_ARGS, text, step[3] * (size_t)16, WHY_PROC);
    tracker_apply(t, &box.ev);
}

static void visit(void *ctx, tracker_ref ref)
{
    require(tracker_alive(t, tracker_int(t, ref, F_PID, -1)) == ref);
    ++*(uint64_t *)ctx;
}

/* What a visitor does in the collector: end it. */
static void end(void *ctx, tracker_ref ref)
{
    unsigned char exit[4] = { EVENT_EXIT, byte_of(tracker_int(t, ref, F_PID, 0)), 0, 0xfd };
    (void)ctx;
    fold(exit);
}

static void ask_about(tracker_ref ref)
{
    static struct event_box box;
    size_t n;

    event_begin(&box, EVENT_EXIT);
    bool there = tracker_copy_state(t, ref, &box, WHY_KEPT);
    require(event_valid(&box, sizeof box));
    require(there == (tracker_int(t, ref, F_PID, -1) >= 0));
    require(there || (!tracker_parent(t, ref) && !tracker_text(t, ref, F_COMM, &n)));
    require(tracker_depth(t, ref) <= 1000);
    const char *comm = tracker_text(t, ref, F_COMM, &n);
    require(comm ? n <= 3 : n == 0);
    tracker_forked_at(t, ref);
    tracker_mark(t, ref);
}

static void ask(unsigned char which)
{
    int64_t pid = pid_of(which);
    tracker_ref alive = tracker_alive(t, pid), dead = tracker_dead(t, pid);

    require(!alive || tracker_int(t, alive, F_PID, -1) == pid);
    require(!dead || (tracker_int(t, dead, F_PID, -1) == pid && dead != alive));
    tracker_ref found = tracker_find(t, pid, which / 2);
    require(!found || (tracker_int(t, found, F_PID, -1) == pid &&
                       tracker_same_start(tracker_int(t, found, F_STARTTIME, -9), which / 2)));
    tracker_ref parent = tracker_parent(t, alive);
    require(!parent || parent != alive);
    keep(alive);
    keep(dead);
    for (int i = 0; i < REFS; i++)
        ask_about(refs[i]);
}

static void check_counts(size_t bound)
{
    struct tracker_counters n = tracker_count(t);
    uint64_t living = 0;

    tracker_each(t, visit, &living);
    require(living == n.alive && n.alive <= n.nodes && n.alive <= PIDS);
    require(n.bytes <= bound);
    require(n.bytes >= n.nodes * 384);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    if (len < 2)
        return 0;
    size_t bound = ((size_t)bytes[0] << 8 | bytes[1]) * 8;
    t = tracker_new(bound);
    require(t != NULL);
    memset(refs, 0, sizeof refs);
    refs_len = 0;

    for (size_t at = 2; at + 4 <= len; at += 4) {
        const unsigned char *step = bytes + at;
        if (step[0] % 32 == 31)
            ask(step[1]);
        else if (step[0] == 30)
            tracker_round(t);
        else if (step[0] == 62)
            tracker_unmarked(t, end, NULL);
        else
            fold(step);
        check_counts(bound);
    }
    tracker_free(t);
    return 0;
}
