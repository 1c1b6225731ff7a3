/* fuzz_tap.c - no record, however odd, and no run of notes makes the readers of the tap go where they
 * should not.
 *
 * The first byte chooses: a record, or operations on a queue of notes. */
#include "collect/notes.h"
#include "collect/tap.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool claim)
{
    if (!claim)
        __builtin_trap();
}

static void fuzz_record(const uint8_t *data, size_t size)
{
    static struct event_box box;
    struct process_end end;
    uint64_t wanted = PROCFS_FIELDS;
    void *record = malloc(size + !size); /* aligned, and not a byte longer */
    must(record != NULL);
    memcpy(record, data, size);
    event_begin(&box, EVENT_EXEC);
    uint64_t rest = tap_fill(record, size, 0, wanted, &box);
    must(!(rest & ~wanted));
    must(event_valid(&box, sizeof box));
    if (tap_end(record, size, &end))
        must(rest == wanted); /* it cannot be both */
    free(record);
}

/* Four bytes an operation: what, which process, when, how long. */
static void fuzz_facts(const uint8_t *data, size_t size)
{
    struct notes *f = notes_new(1024);
    uint64_t put = 0, taken = 0;
    must(f != NULL);
    for (; size >= 4; data += 4, size -= 4) {
        int kind = data[0] >> 7, pid = data[1] & 7;
        int64_t at = (int64_t)data[2] * 100000;
        size_t len = data[3];
        const char *got;
        char *place;
        switch (data[0] & 3) {
        case 0:
            place = notes_put(f, kind, pid, at, NULL, len);
            must((place != NULL) == (len <= 1024 / 24 * 24 / 4 / 24 * 24 - 24));
            if (place)
                memset(place, pid, len);
            put += place != NULL;
            break;
        case 1:
        case 2:
            got = data[0] & 1 ? notes_take(f, kind, pid, at, &len) : notes_find(f, kind, pid, at, &len);
            taken += (data[0] & 1) && got;
            for (size_t i = 0; got && i < len; i++)
                must(got[i] == pid);
            break;
        case 3:
            notes_expire(f, at);
            break;
        }
        must(notes_unclaimed(f) + taken <= put);
    }
    notes_expire(f, INT64_MAX);
    must(notes_unclaimed(f) + taken == put);
    notes_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] & 1)
        fuzz_record(data + 1, size - 1);
    else
        fuzz_facts(data + 1, size - 1);
    return 0;
}
