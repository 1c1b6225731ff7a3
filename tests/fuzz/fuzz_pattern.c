/* fuzz_pattern.c - any bytes are a pattern or an error, never more than their text, and end. */
#include "base/log.h"
#include "host/host.h"
#include "host/state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char use[] =
    "local pattern, text, with = ... local n = 0 "
    "local function bounded(ok, from, to) if ok and from then assert(from >= 1 and to <= #text) end end "
    "bounded(pcall(string.find, text, pattern)) bounded(pcall(string.find, text, pattern, -3)) "
    "bounded(pcall(string.find, text, pattern, 2, true)) pcall(string.match, text, pattern, 3) "
    "pcall(string.gsub, text, pattern, with) pcall(string.gsub, text, pattern, function(a) return a end) "
    "pcall(function() for a, b in text:gmatch(pattern) do n = n + 1 assert(n <= #text + 1) end end)";

static struct host *make_host(void)
{
    struct host *h;
    struct host_options options = {
        .fd = memfd_create("out", 0),
        .table_bytes = 1 << 20,
    };
    if (host_new(&h, &options) < 0 || luaL_loadstring(h->L, use))
        abort();
    return h;
}

/* length of the pattern, pattern, length of the replacement, replacement, text */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host *h;
    if (!h)
        h = make_host();
    lua_State *L = h->L;
    const char *at = (const char *)data, *end = at + size;

    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    for (int i = 0; i < 3; i++) {
        size_t len = at < end && i < 2 ? *(const unsigned char *)at++ % 64 : (size_t)(end - at);
        if (len > (size_t)(end - at))
            len = (size_t)(end - at);
        if (len > 256)
            len = 256;
        lua_pushlstring(L, at, len);
        at += len;
    }
    lua_insert(L, -2); /* pattern, text, replacement */
    if (lua_pcall(L, 3, 0, 0))
        abort();
    return 0;
}
