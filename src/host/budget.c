/* budget.c - how long a call may take and how much memory a state may hold. See budget.h. */
#include "host/budget.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STARVE_NS INT64_C(50000000) /* after the hook was set */

void budget_clear_call(_Atomic uint64_t *marks)
{
    for (int i = 0; i < BUDGET_MARKS; i++)
        if (i != MARK_SEQ && i != MARK_SERVED)
            atomic_store(&marks[i], 0);
}

void budget_init(struct budget *b, _Atomic uint64_t *marks, int64_t soft_ns, size_t memory_most)
{
    *b = (struct budget){ .soft_ns = soft_ns, .memory_most = memory_most };
    b->marks = marks ? marks : b->own;
    budget_clear_call(b->marks);
}

/* Only a call can be refused: outside of one nothing catches what LuaJIT throws then. */
static bool refused(const struct budget *b, size_t more)
{
    if (!atomic_load_explicit(&b->marks[MARK_SCRIPT], memory_order_relaxed))
        return false;
    return b->starved || (b->memory_most && b->memory + more > b->memory_most);
}

void *budget_alloc(void *ud, void *block, size_t from, size_t to)
{
    struct budget *b = ud;
    if (!to) {
        free(block);
        b->memory -= from;
        return NULL;
    }
    if (to > from && refused(b, to - from))
        return NULL;
    void *moved = realloc(block, to);
    if (moved)
        b->memory += to - from;
    return moved;
}

static void mark(struct budget *b, enum budget_mark word, uint64_t value)
{
    atomic_store_explicit(&b->marks[word], value, memory_order_relaxed);
}

static uint64_t marked(const struct budget *b, enum budget_mark word)
{
    return atomic_load_explicit(&b->marks[word], memory_order_relaxed);
}

void budget_begin(struct budget *b, uint32_t script)
{
    mark(b, MARK_CALL, marked(b, MARK_CALL) + 1);
    b->telling = false;
    b->place[0] = '\0';
    atomic_store_explicit(&b->marks[MARK_SCRIPT], (uint64_t)script + 1, memory_order_release);
}

/* From the first store on a tick does nothing: it runs on this thread. */
bool budget_end(struct budget *b)
{
    mark(b, MARK_SCRIPT, 0);
    if (!b->over)
        return false;
    lua_sethook(b->L, NULL, 0, 0);
    b->over = b->starved = 0;
    return true;
}

void budget_tell(struct budget *b, bool begins)
{
    b->telling = begins;
}

/* Nobody has it, and then its number: who dies between the two was at the record before. */
void budget_serve(struct budget *b, int64_t seq)
{
    mark(b, MARK_SERVED, 0);
    mark(b, MARK_SEQ, (uint64_t)seq);
}

void budget_served(struct budget *b, uint32_t script)
{
    mark(b, MARK_SERVED, (uint64_t)script + 1);
}

void budget_pause(struct budget *b, bool paused)
{
    mark(b, MARK_PAUSED, paused);
    b->tick_call = 0; /* counts anew */
}

void budget_loading(struct budget *b, bool begins)
{
    mark(b, MARK_LOADING, begins);
}

#define LEVELS 8

/* The line of the innermost function that is not our library's. */
static void find_place(lua_State *L, lua_Debug *at, char *place, size_t cap)
{
    *place = '\0';
    for (int level = 0; level < LEVELS && lua_getstack(L, level, at); level++) {
        lua_getinfo(L, "Sl", at);
        bool ours = strncmp(at->source, "@lua/moonwatch/", 15) == 0;
        if (at->currentline > 0 && (!ours || !*place))
            snprintf(place, cap, "%s:%d: ", at->short_src, at->currentline);
        if (at->currentline > 0 && !ours)
            return;
    }
}

/* Throws in each instruction until the call has ended: also what is shielded by pcall ends. */
static void throw_over(lua_State *L, lua_Debug *at)
{
    void *ud;
    lua_getallocf(L, &ud);
    struct budget *b = ud;
    if (b->telling)
        return;
    char place[sizeof b->place];
    find_place(L, at, place, sizeof place);
    if (!*b->place)
        memcpy(b->place, place, sizeof place);
    lua_pushfstring(L, "%s" BUDGET_OVER, place);
    lua_error(L);
}

void budget_tick(struct budget *b, int64_t now_ns)
{
    uint64_t call = marked(b, MARK_CALL);
    if (!b->soft_ns || !marked(b, MARK_SCRIPT) || marked(b, MARK_PAUSED))
        return;
    if (call != b->tick_call) {
        b->tick_call = call;
        b->tick_since_ns = now_ns;
        return;
    }
    int64_t soft_ns = b->soft_ns * (marked(b, MARK_LOADING) ? BUDGET_LOADING : 1);
    if (now_ns - b->tick_since_ns < soft_ns)
        return;
    if (now_ns - b->tick_since_ns >= soft_ns + STARVE_NS)
        b->starved = 1;
    b->over = 1;
    lua_sethook(b->L, throw_over, LUA_MASKCOUNT | LUA_MASKCALL | LUA_MASKRET, 1);
}
