/* pattern.h - Lua's string patterns with an end in sight: find, match, gmatch and gsub for scripts.
 *
 * The same language and the same answers as LuaJIT's own, but each call has a number of steps that
 * it may take: '.-.-.-b' on 400 bytes takes LuaJIT ten seconds, in which nothing can stop it. Here
 * it is an error after some 40 ms. One difference: a zero byte in a pattern means itself, where LuaJIT's
 * pattern ends there. */
#ifndef HOST_PATTERN_H
#define HOST_PATTERN_H

#include <lua.h>

#define PATTERN_STEPS  8000000           /* single comparisons of one call */
#define PATTERN_RESULT (4 * 1024 * 1024) /* bytes that gsub makes at most */

/* string.find and so on, as lua_CFunctions. */
int pattern_find(lua_State *L);
int pattern_match(lua_State *L);
int pattern_gmatch(lua_State *L);
int pattern_gsub(lua_State *L);

#endif
