/* require.c - what a script requires looks at events too: the texts of its modules count as its
 * own.
 *
 * Stands between `require` and the loader of Lua files, so that what is read here is what require
 * found, wherever that was. The library's own modules are compiled in and pass by. */
#include "host/needs.h"
#include "host/state.h"

#include <stdio.h>
#include <stdlib.h>

#define MODULE_MAX (4 * 1024 * 1024)

/* What cannot be read may look at anything. */
static uint64_t needs_of_file(const char *path)
{
    uint64_t needs = NEEDS_ALL;
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(MODULE_MAX) : NULL;
    if (text) {
        size_t len = fread(text, 1, MODULE_MAX, file);
        if (!ferror(file) && len < MODULE_MAX)
            needs = needs_of_text(text, len);
    }
    free(text);
    if (file)
        fclose(file);
    return needs;
}

/* loader(name) -> function, or a text that says why not */
static int load_module(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (!lua_isfunction(L, 2))
        return 1;

    lua_getglobal(L, "package");
    lua_getfield(L, 3, "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, 3, "path");
    lua_call(L, 2, 1);
    if (lua_isstring(L, -1))
        host_need(host_of(L), needs_of_file(lua_tostring(L, -1)));
    lua_settop(L, 2);
    return 1;
}

void api_require_open(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "loaders");
    lua_rawgeti(L, -1, 2); /* the first one knows what is compiled in */
    lua_pushcclosure(L, load_module, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}
