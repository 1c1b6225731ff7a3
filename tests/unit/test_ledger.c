/* test_ledger.c - losses are proved, counted once, and reported as stretches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collect/ledger.h"

/* A ledger is 5 KiB: one for all, begun anew by each test. */
static struct ledger l;

static void begin(bool unfiltered)
{
    ledger_init(&l);
    ledger_set_unfiltered(&l, unfiltered);
}

static uint64_t close_at(int64_t now, struct ledger_episode *out)
{
    return ledger_close(&l, now, out) ? out->lost : 0;
}

/* What happened, one letter each; the rows below are stories told with it. */
enum act { END, NOTE, DROP, OVERRUN, CLOSE, UNFILTER, FILTER };

struct step {
    enum act act;
    uint32_t cpu, seq; /* NOTE; DROP: how many in seq; CLOSE: what is lost in seq */
};

static const struct {
    const char *why;
    bool filtered;
    struct step steps[16];
    uint64_t lost, episodes, gaps, dropped;
} stories[] = {
    { "numbers without a hole are no loss",
      false,
      { { NOTE, 0, 7 }, { NOTE, 0, 8 }, { NOTE, 1, 3 }, { NOTE, 0, 9 }, { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "the first event of a CPU only sets what is expected",
      false,
      { { NOTE, 0, 1000 }, { NOTE, 5, 4000000000u }, { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "a hole is a loss, even without a drop: the kernel had no memory",
      false,
      { { NOTE, 0, 1 }, { NOTE, 0, 5 }, { CLOSE, 0, 3 } },
      3,
      1,
      3,
      0 },
    { "each CPU has numbers of its own",
      false,
      { { NOTE, 0, 1 }, { NOTE, 1, 50 }, { NOTE, 0, 3 }, { NOTE, 1, 53 }, { CLOSE, 0, 3 } },
      3,
      1,
      3,
      0 },
    { "numbers go on after the largest one",
      false,
      { { NOTE, 0, UINT32_MAX }, { NOTE, 0, 0 }, { NOTE, 0, 1 }, { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "a hole across the largest number is measured right",
      false,
      { { NOTE, 0, UINT32_MAX - 1 }, { NOTE, 0, 2 }, { CLOSE, 0, 3 } },
      3,
      1,
      3,
      0 },
    { "a number from before is a counter begun anew, not a loss of four billion",
      false,
      { { NOTE, 0, 100 }, { NOTE, 0, 5 }, { NOTE, 0, 6 }, { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "a CPU beyond the table is passed over",
      false,
      { { NOTE, LEDGER_CPUS, 1 }, { NOTE, LEDGER_CPUS, 9 }, { NOTE, UINT32_MAX, 1 } },
      0,
      0,
      0,
      0 },
    { "what both witnesses saw is counted once",
      false,
      { { NOTE, 0, 1 }, { DROP, 0, 4 }, { NOTE, 0, 6 }, { CLOSE, 0, 4 } },
      4,
      1,
      4,
      4 },
    { "so also when the hole is seen before the drops are looked at",
      false,
      { { NOTE, 0, 1 }, { NOTE, 0, 6 }, { DROP, 0, 4 }, { CLOSE, 0, 4 } },
      4,
      1,
      4,
      4 },
    { "a tail of drops whose hole shows after the episode is not counted again",
      false,
      { { NOTE, 0, 1 }, { DROP, 0, 4 }, { CLOSE, 0, 4 }, { NOTE, 0, 6 }, { CLOSE, 0, 0 } },
      4,
      1,
      4,
      4 },
    { "the tails of two CPUs, shown piece by piece, are not counted again",
      false,
      { { NOTE, 0, 1 },
        { NOTE, 1, 1 },
        { DROP, 0, 10 },
        { NOTE, 0, 5 },
        { CLOSE, 0, 10 },
        { NOTE, 0, 8 },
        { CLOSE, 0, 0 },
        { NOTE, 1, 7 },
        { CLOSE, 0, 0 },
        { NOTE, 1, 9 },
        { CLOSE, 0, 1 } },
      11,
      2,
      11,
      10 },
    { "more holes than drops: the rest was lost elsewhere",
      false,
      { { NOTE, 0, 1 }, { DROP, 0, 2 }, { NOTE, 0, 7 }, { CLOSE, 0, 5 } },
      5,
      1,
      5,
      2 },
    { "an overrun whose drop is not counted yet is reported when it is",
      false,
      { { OVERRUN, 0, 0 }, { CLOSE, 0, 0 }, { DROP, 0, 1 }, { CLOSE, 0, 1 } },
      1,
      1,
      0,
      1 },
    { "drops add up within one episode",
      false,
      { { DROP, 0, 3 }, { OVERRUN, 0, 0 }, { DROP, 0, 4 }, { CLOSE, 0, 7 }, { CLOSE, 0, 0 } },
      7,
      1,
      0,
      7 },
    { "no drops and no overrun is no episode",
      false,
      { { DROP, 0, 0 }, { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "filtered: a hole means nothing, a drop does",
      true,
      { { NOTE, 0, 1 }, { NOTE, 0, 900 }, { DROP, 0, 2 }, { NOTE, 0, 950 }, { CLOSE, 0, 2 } },
      2,
      1,
      0,
      2 },
    { "filter taken away: trusted from the next event of each CPU on",
      true,
      { { NOTE, 0, 1 },
        { UNFILTER, 0, 0 },
        { NOTE, 0, 90 },
        { CLOSE, 0, 0 },
        { NOTE, 0, 92 },
        { CLOSE, 0, 1 } },
      1,
      1,
      1,
      0 },
    { "filter set: not trusted any more, and not the old number when it is taken away",
      false,
      { { NOTE, 0, 1 },
        { FILTER, 0, 0 },
        { NOTE, 0, 50 },
        { UNFILTER, 0, 0 },
        { NOTE, 0, 99 },
        { NOTE, 0, 100 },
        { CLOSE, 0, 0 } },
      0,
      0,
      0,
      0 },
    { "holes seen before the filter was set stay proved",
      false,
      { { NOTE, 0, 1 }, { NOTE, 0, 4 }, { FILTER, 0, 0 }, { CLOSE, 0, 2 } },
      2,
      1,
      2,
      0 },
    { "drops before a filter explain no hole after it",
      false,
      { { NOTE, 0, 1 },
        { DROP, 0, 5 },
        { CLOSE, 0, 5 },
        { FILTER, 0, 0 },
        { UNFILTER, 0, 0 },
        { NOTE, 0, 9 },
        { NOTE, 0, 12 },
        { CLOSE, 0, 2 } },
      7,
      2,
      2,
      5 },
    { "drops under a filter explain no hole after it",
      true,
      { { DROP, 0, 5 },
        { CLOSE, 0, 5 },
        { UNFILTER, 0, 0 },
        { NOTE, 0, 1 },
        { NOTE, 0, 4 },
        { CLOSE, 0, 2 } },
      7,
      2,
      2,
      5 },
};

static void play(const struct step *step)
{
    struct ledger_episode ep;

    switch (step->act) {
    case NOTE:
        ledger_note(&l, step->cpu, step->seq, 1);
        break;
    case DROP:
        ledger_dropped(&l, step->seq, false);
        break;
    case OVERRUN:
        ledger_dropped(&l, 0, true);
        break;
    case CLOSE:
        assert_int_equal(close_at(2, &ep), step->seq);
        break;
    case UNFILTER:
    case FILTER:
        ledger_set_unfiltered(&l, step->act == UNFILTER);
        break;
    case END:
        break;
    }
}

static void losses_are_counted_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        print_message("  %s\n", stories[i].why);
        begin(!stories[i].filtered);
        for (const struct step *step = stories[i].steps; step->act != END; step++)
            play(step);
        assert_int_equal(l.lost, stories[i].lost);
        assert_int_equal(l.episodes, stories[i].episodes);
        assert_int_equal(l.gaps, stories[i].gaps);
        assert_int_equal(l.dropped, stories[i].dropped);
    }
}

static void an_episode_reaches_from_the_last_event_before_it_to_its_end(void **state)
{
    struct ledger_episode ep;
    (void)state;

    begin(true);
    ledger_note(&l, 0, 1, 1000);
    ledger_note(&l, 1, 1, 900); /* stamped before, arrived after */
    ledger_dropped(&l, 2, true);
    ledger_note(&l, 0, 4, 5000);
    assert_true(ledger_close(&l, 6000, &ep));
    assert_int_equal(ep.from_ns, 1000);
    assert_int_equal(ep.until_ns, 6000);
    assert_int_equal(ep.lost, 2);

    ledger_note(&l, 0, 5, 7000);
    ledger_note(&l, 0, 9, 8000); /* the hole lies before this event */
    assert_true(ledger_close(&l, 8500, &ep));
    assert_int_equal(ep.from_ns, 7000);
    assert_int_equal(ep.until_ns, 8500);
}

static void an_episode_never_ends_before_it_begins(void **state)
{
    struct ledger_episode ep;
    (void)state;

    begin(true);
    ledger_note(&l, 0, 1, INT64_MAX);
    ledger_dropped(&l, 1, true);
    assert_true(ledger_close(&l, 10, &ep));
    assert_true(ep.from_ns <= ep.until_ns);
}

/* A socket of fixed room in front of two CPUs, drained now and then, with the drop counter looked
 * at late as in life: whatever the order, the sum is what was lost. */
static void the_sum_is_exact_under_any_schedule(void **state)
{
    enum { ROOM = 8, STEPS = 20000 };
    (void)state;

    for (uint32_t seed = 1; seed <= 50; seed++) {
        struct ledger_episode ep;
        uint32_t queue_cpu[ROOM], queue_seq[ROOM], random = seed;
        uint32_t next[2] = { UINT32_MAX - 500, 0 }, drops = 0, drops_seen = 0;
        int queued = 0;

        begin(true);
        ledger_note(&l, 0, next[0]++, 1);
        ledger_note(&l, 1, next[1]++, 1);
        for (int step = 0; step < STEPS; step++) {
            random = random * 1664525 + 1013904223;
            uint32_t cpu = random >> 16 & 1, dice = random >> 20 & 63;
            if (queued < ROOM) {
                queue_cpu[queued] = cpu;
                queue_seq[queued++] = next[cpu];
            } else {
                drops++;
            }
            next[cpu]++;
            if (dice > 3)
                continue;
            if (dice > 1) { /* drained, looked, closed */
                for (int i = 0; i < queued; i++)
                    ledger_note(&l, queue_cpu[i], queue_seq[i], step);
                queued = 0;
            } /* else the queue filled up again before the look */
            ledger_dropped(&l, drops - drops_seen, false);
            drops_seen = drops;
            ledger_close(&l, step, &ep);
            assert_int_equal(l.lost, drops);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_counted_once),
        cmocka_unit_test(an_episode_reaches_from_the_last_event_before_it_to_its_end),
        cmocka_unit_test(an_episode_never_ends_before_it_begins),
        cmocka_unit_test(the_sum_is_exact_under_any_schedule),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
