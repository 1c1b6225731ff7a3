/* ledger.c - proves how much was lost. See ledger.h.
 *
 * Why the larger of the two, and why there is a credit. A datagram that the socket drops has used
 * up a sequence number, so it is also part of a gap; but the gap shows only with the next event
 * that arrives from the same CPU, maybe long after the episode was closed. Until then the drop
 * counter is ahead. The other way round, a message for which the kernel found no memory never
 * reached a socket: only the gap shows it, and the gaps are ahead for good. So within an episode
 * the larger one counts, and by how much the drops were ahead is kept as a credit, which explains
 * as many of the gaps that follow.
 *
 * The sum is never more than was lost. It is less only when gaps without a drop are explained by
 * drops that never show as a gap: those before the first event of a CPU. */
#include "collect/ledger.h"

#include <string.h>

void ledger_init(struct ledger *l)
{
    memset(l, 0, sizeof *l);
}

void ledger_set_unfiltered(struct ledger *l, bool unfiltered)
{
    l->unfiltered = unfiltered;
    memset(l->seen, 0, sizeof l->seen);
    l->credit = 0; /* gaps from before cannot show any more */
}

static void open_episode(struct ledger *l)
{
    if (l->open)
        return;
    l->open = true;
    l->open_from_ns = l->last_mono_ns;
}

static void add_gap(struct ledger *l, uint64_t gap)
{
    uint64_t explained = gap < l->credit ? gap : l->credit;

    l->gaps += gap;
    l->credit -= explained;
    if (gap == explained)
        return;
    open_episode(l);
    l->pending_gaps += gap - explained;
}

/* The kernel numbers and queues the events of one CPU under one lock: they arrive in order, so
 * a step of more than half the circle is no loss but a counter begun anew. */
static void check_number(struct ledger *l, uint32_t cpu, uint32_t seq)
{
    uint32_t gap = seq - l->next_seq[cpu];

    if (l->seen[cpu] && gap != 0 && gap <= INT32_MAX)
        add_gap(l, gap);
    l->seen[cpu] = true;
    l->next_seq[cpu] = seq + 1;
}

void ledger_note(struct ledger *l, uint32_t cpu, uint32_t seq, int64_t mono_ns)
{
    if (l->unfiltered && cpu < LEDGER_CPUS)
        check_number(l, cpu, seq);
    if (mono_ns > l->last_mono_ns) /* stamps of two CPUs may arrive the wrong way round */
        l->last_mono_ns = mono_ns;
}

void ledger_dropped(struct ledger *l, uint64_t count, bool overrun)
{
    if (count == 0 && !overrun)
        return;
    open_episode(l);
    l->dropped += count;
    l->pending_dropped += count;
}

bool ledger_close(struct ledger *l, int64_t now_mono_ns, struct ledger_episode *out)
{
    if (!l->open)
        return false;

    uint64_t dropped = l->pending_dropped, gaps = l->pending_gaps;
    l->open = false;
    l->pending_dropped = l->pending_gaps = 0;
    if (l->unfiltered && dropped > gaps)
        l->credit += dropped - gaps;

    out->lost = dropped > gaps ? dropped : gaps;
    out->from_ns = l->open_from_ns < now_mono_ns ? l->open_from_ns : now_mono_ns;
    out->until_ns = now_mono_ns;
    if (out->lost == 0) /* an overrun of which the drop is not counted yet: it comes next time */
        return false;
    l->lost += out->lost;
    l->episodes++;
    return true;
}
