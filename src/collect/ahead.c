/* ahead.c - reads /proc at each exec at once, while all other messages wait to be read in batches.
 * See ahead.h. */
#include "collect/ahead.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>

/* One reading, as it lies in the notes. */
struct reading {
    int64_t read_ns; /* CLOCK_MONOTONIC after the last file was read */
    struct event ev; /* and its text */
};

/* /proc shows a new image this long before the connector's stamp of its exec, at most. */
#define SHOWN_EARLY_NS INT64_C(200000)

#define BATCHES_A_TURN 16 /* then others on the loop get theirs */

#define OF_ONE_IMAGE (FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(COMM))

/* An exec follows another: did the reading for the first one see the second's image? */
static void doubt_reading_before(struct ahead *a, const struct kernel_event *kev)
{
    size_t len;
    struct reading *before = notes_find(a->notes, AHEAD_NOTES, kev->pid, kev->mono_ns, &len);
    if (!before || before->read_ns < kev->mono_ns - SHOWN_EARLY_NS)
        return;
    a->doubtful++;
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        if ((OF_ONE_IMAGE >> f & 1) && before->ev.why[f] != WHY_ABSENT)
            before->ev.why[f] = WHY_GONE;
}

static void on_exec(void *ctx, const struct kernel_event *kev)
{
    struct ahead *a = ctx;
    if (kev->kind != EVENT_EXEC)
        return;
    doubt_reading_before(a, kev);
    event_begin(&a->box, EVENT_EXEC);
    procfs_fill(a->fs, kev->pid, -1, a->needs, &a->box);

    struct reading *r = notes_put(a->notes, AHEAD_NOTES, kev->pid, kev->mono_ns, NULL,
                                  offsetof(struct reading, ev) + a->box.ev.size);
    if (r) {
        r->read_ns = clock_mono_ns();
        memcpy(&r->ev, &a->box.ev, a->box.ev.size);
    }
}

int ahead_open(struct ahead *a, const struct procfs *fs, struct notes *notes, int buffer_bytes)
{
    a->fs = fs;
    a->notes = notes;
    int result =
        netlink_open(&a->netlink, (struct netlink_filter){ .kinds = ON(EXEC) }, buffer_bytes);
    if (result == 0 && netlink_listen(&a->netlink, on_exec, a) != NETLINK_OK)
        result = -ENOTSUP;
    if (result < 0)
        netlink_close(&a->netlink);
    return result;
}

void ahead_close(struct ahead *a)
{
    netlink_close(&a->netlink);
}

void ahead_read(struct ahead *a)
{
    int got = 1;
    for (int batches = BATCHES_A_TURN; batches > 0 && (got > 0 || got == -ENOBUFS); batches--)
        got = netlink_receive(&a->netlink, on_exec, a);
    a->behind = got > 0 || got == -ENOBUFS;
}

bool ahead_doubts(struct ahead *a, int pid, int64_t mono_ns)
{
    ahead_read(a);
    return a->behind || notes_newer(a->notes, AHEAD_NOTES, pid, mono_ns);
}

uint64_t ahead_fill(struct ahead *a, int pid, int64_t mono_ns, uint64_t wanted,
                    struct event_box *box)
{
    size_t len;
    const struct reading *r = notes_take(a->notes, AHEAD_NOTES, pid, mono_ns, &len);
    if (!r) {
        ahead_read(a);
        r = notes_take(a->notes, AHEAD_NOTES, pid, mono_ns, &len);
    }
    if (!r)
        return wanted;
    uint64_t set = wanted & a->needs;
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        if (set >> f & 1)
            event_copy_field(box, f, &r->ev, f, WHY_ABSENT);
    for (int f = EVENT_FIRST_STATE; a->behind && f <= EVENT_LAST_STATE; f++)
        if (set & OF_ONE_IMAGE & UINT64_C(1) << f)
            event_set_missing(box, f, WHY_GONE); /* a later exec may be among those not seen yet */
    if (set & FIELD(ARGS))
        event_copy_field(box, F_TRUNCATED, &r->ev, F_TRUNCATED, WHY_ABSENT);
    return wanted & ~set;
}
