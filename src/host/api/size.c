/* size.c - a size among the options of a function, as all of them take it. */
#include "host/state.h"

#include <stdlib.h>
#include <string.h>

/* The factor of what stands behind a number; 0: it is no unit. */
static double factor_of(const char *unit)
{
    static const char units[] = "kmg";
    if (!*unit)
        return 1;
    const char *found = strchr(units, *unit | ('a' ^ 'A'));
    return found && !unit[1] ? (double)(UINT64_C(1024) << (10 * (found - units))) : 0;
}

double api_size(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TNUMBER)
        return lua_tonumber(L, index) >= 0 ? lua_tonumber(L, index) : -1;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    if (*text < '0' || *text > '9')
        return -1;
    char *end;
    double number = strtod(text, &end), factor = factor_of(end);
    return factor > 0 ? number * factor : -1;
}
