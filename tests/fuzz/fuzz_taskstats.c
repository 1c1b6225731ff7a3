/* fuzz_taskstats.c - any bytes, as accounts of ended tasks, through the decoder into the table.
 *
 * The input is a run of datagrams, each behind two bytes: its length, and with the top bit set a
 * pid to ask for. Lengths and types of a whole message are put right, so that the inside is met. */
#include <stdlib.h>
#include <string.h>

#include <linux/filter.h>

#include "collect/taskstats.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

enum { FAMILY = 31 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void put16(unsigned char *to, size_t value)
{
    uint16_t narrow = (uint16_t)value;
    memcpy(to, &narrow, sizeof narrow);
}

/* Headers as the kernel writes them, when there is room. */
static void put_right(unsigned char *msg, size_t len)
{
    uint32_t whole = (uint32_t)len;

    if (len < 440)
        return;
    memcpy(msg, &whole, sizeof whole);
    put16(msg + 4, FAMILY);
    msg[16] = 2;
    put16(msg + 20, len < 840 ? len - 20 : 420); /* in the long ones, what follows is arbitrary */
    put16(msg + 22, 4);
    put16(msg + 32, (len < 840 ? len : 440) - 32);
    put16(msg + 34, 3);
}

static void check(const struct process_end *end)
{
    require(end->pid > 0 && end->elapsed_ns >= 0);
    require(end->cpu_user_ns >= -1 && end->cpu_system_ns >= -1);
    require((end->cpu_user_ns < 0) == (end->cpu_system_ns < 0));
    require(end->max_rss != 0 && end->max_rss >= -1);
    require(end->single == (end->read_bytes >= 0) && end->single == (end->write_bytes >= 0));
    require(memchr(end->comm, '\0', sizeof end->comm) != NULL);
}

/* In memory of its own, so that a read beyond the end is seen. */
static void feed(struct ends *ends, const unsigned char *bytes, size_t len, bool right)
{
    struct process_end end, found;
    unsigned char *copy = malloc(len + 1);

    require(copy != NULL);
    memcpy(copy, bytes, len);
    if (right)
        put_right(copy, len);
    enum taskstats_verdict verdict = taskstats_decode(copy, len, FAMILY, &end);
    require(verdict != TASKSTATS_END || len >= 436);
    require((verdict == TASKSTATS_END) == (end.pid > 0));
    if (verdict == TASKSTATS_END) {
        check(&end);
        require(ends_put(ends, &end) <= 2);
        require(ends_take(ends, end.pid, &found) && found.pid == end.pid);
        require(ends_put(ends, &end) <= 1);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    struct sock_filter code[TASKSTATS_FILTER_MAX];
    struct process_end end;
    struct ends *ends = ends_new();

    require(ends != NULL);
    int n = taskstats_filter_program(len ? bytes[0] : 0, code);
    require(n >= 1 && n <= TASKSTATS_FILTER_MAX && BPF_CLASS(code[n - 1].code) == BPF_RET);
    feed(ends, bytes, len, false);
    feed(ends, bytes, len, true);
    for (size_t at = 0; at + 2 < len;) {
        unsigned head = bytes[at] | (unsigned)bytes[at + 1] << 8;
        at += 2;
        if (head & 0x8000) {
            int32_t pid = (int32_t)(head & 0x7fff);
            require(!ends_take(ends, pid, &end) || end.pid == pid);
            continue;
        }
        size_t whole = head < len - at ? head : len - at;
        feed(ends, bytes + at, whole, head & 1);
        at += whole;
    }
    ends_free(ends);
    return 0;
}
