/* fuzz_store.c - any bytes are records or none, and what is read lies in the bytes that were given. */
#include "sink/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void read_records(const char *at, const char *end)
{
    struct store_record r;
    const char *before = at;
    while (store_next(&at, end, &r)) {
        expect(at > before && at <= end);
        expect(r.key >= before && r.key + r.key_len <= at);
        expect(!r.value || (r.value == r.key + r.key_len && r.value + r.value_len == at));
        before = at;
    }
    expect(at == before);
}

/* With the checksum that it should have, the first record may be one. */
static void read_mended(char *bytes, size_t len)
{
    uint32_t lengths[2];
    if (len < 12)
        return;
    memcpy(lengths, bytes + 4, sizeof lengths);
    size_t left = len - 12, value_len = lengths[1] == UINT32_MAX ? 0 : lengths[1];
    if (lengths[0] > left || value_len > left - lengths[0])
        return;
    uint32_t crc = crc32c(0, bytes + 4, 8 + lengths[0] + value_len);
    memcpy(bytes, &crc, sizeof crc);
    const char *at = bytes;
    struct store_record r;
    expect(store_next(&at, bytes + len, &r));
    read_records(bytes, bytes + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1); /* exact: a read beyond is found */
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes, data, size);
    const char *begin = store_begin(bytes, size);
    expect(!begin || (begin > bytes && begin <= bytes + size));
    read_records(begin ? begin : bytes, bytes + size);
    read_mended(bytes, size);
    free(bytes);
    return 0;
}
