/* fuzz_netlink.c - any bytes, as datagrams, through the decoder into a ledger.
 *
 * The input is a run of datagrams, each behind one byte: up to 127 its length, above that a look
 * at the drop counter, which closes the episode. */
#include <stdlib.h>
#include <string.h>

#include <linux/filter.h>

#include "collect/ledger.h"
#include "collect/netlink.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* In memory of its own, so that a read beyond the end is seen. */
static void feed(struct ledger *l, const unsigned char *bytes, size_t len)
{
    struct kernel_event ev;
    struct netlink_ack ack;
    unsigned char *copy = malloc(len + 1);

    require(copy != NULL);
    memcpy(copy, bytes, len);
    enum netlink_verdict verdict = netlink_decode(copy, len, &ev, &ack);
    require(verdict == NETLINK_BAD || len >= 52);
    require((verdict == NETLINK_EVENT) == (ev.kind != EVENT_NONE));
    if (verdict != NETLINK_BAD)
        ledger_note(l, ev.cpu, ev.seq, ev.mono_ns);
    free(copy);
}

static void look(struct ledger *l, unsigned drops)
{
    struct ledger_episode ep;
    uint64_t before = l->lost;

    ledger_dropped(l, drops, drops & 1);
    bool any = ledger_close(l, l->last_mono_ns, &ep);
    require(any == (l->lost > before));
    require(!any || (l->lost == before + ep.lost && ep.from_ns <= ep.until_ns));
    require(l->lost >= l->dropped && l->lost <= l->dropped + l->gaps);
}

static void filter_of(unsigned char first, unsigned char second)
{
    struct sock_filter code[NETLINK_FILTER_MAX];
    struct netlink_filter filter = { (uint32_t)first << 1 | (uint32_t)(second & 0x7f) << 8,
                                     second & 0x80 };
    int n = netlink_filter_program(filter, code);
    require(n >= 1 && n <= NETLINK_FILTER_MAX);
    require(BPF_CLASS(code[n - 1].code) == BPF_RET);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    static struct ledger l;

    if (len < 2)
        return 0;
    filter_of(bytes[0], bytes[1]);
    ledger_init(&l);
    ledger_set_unfiltered(&l, bytes[0] & 1);
    feed(&l, bytes, len);

    for (size_t at = 2; at < len;) {
        unsigned char head = bytes[at++];
        if (head > 127) {
            look(&l, head & 127);
            continue;
        }
        size_t n = head < len - at ? head : len - at;
        feed(&l, bytes + at, n);
        at += n;
    }
    look(&l, 0);
    return 0;
}
