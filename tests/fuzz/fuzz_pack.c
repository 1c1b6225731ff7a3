/* fuzz_pack.c - any bytes are a plain value or none; a value that was read is written and read again as
 * the same bytes. */
#include "host/pack.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *L;
static struct buf once, twice;
static const uint8_t *input;
static size_t input_len;

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* Protected: memory may run out. */
static int read_and_write(lua_State *state)
{
    if (!pack_read(state, input, input_len))
        return 0;
    buf_clear(&once);
    enum pack_failure failure = pack_write(state, -1, 16 << 20, &once, NULL);
    expect(!failure);
    expect(pack_read(state, once.data, once.len));
    buf_clear(&twice);
    expect(!pack_write(state, -1, 16 << 20, &twice, NULL));
    expect(once.len == twice.len && !memcmp(once.data, twice.data, once.len));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!L)
        L = luaL_newstate();
    input = data;
    input_len = size;
    expect(lua_cpcall(L, read_and_write, NULL) == 0);
    lua_gc(L, LUA_GCCOLLECT, 0);
    return 0;
}
