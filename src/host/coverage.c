/* coverage.c - which lines, functions and handlers of scripts ran, and which could have. See
 * coverage.h. */
#include "host/coverage.h"

#include "host/library.h"
#include "host/state.h"

#include <errno.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES    1024    /* a power of two */
#define LINES_MAX 1000000 /* a text is 4 MiB at most */

/* From the line on to another one of the same call. */
struct edge {
    int to;
    uint64_t runs;
};

struct line {
    uint64_t runs;   /* how often control came here, from another line or by a call */
    uint64_t starts; /* calls of functions that are defined here */
    uint64_t told[EVENT_KINDS];
    uint32_t handled; /* events that the functions defined here are handlers of */
    struct edge *edges; /* owned */
    int edges_len;
};

struct file {
    struct file *next;
    char *name;   /* owned: "@path" */
    char *text;   /* owned; NULL: it is no script's */
    size_t len;
    struct line *lines; /* owned */
    int lines_len;
};

/* A call that is under way, and its line; 0: it has just begun. */
struct frame {
    const lua_State *L;
    int at; /* where its frame is on the stack */
    int line;
};

struct coverage {
    struct file *files; /* owned list, the last one first */
    struct file *last;  /* that was looked for */
    struct frame frames[FRAMES]; /* by place; who finds another one there has just begun */
    bool failed;
};

/* --- noting ---------------------------------------------------------------------------------------- */

static struct file *new_file(struct coverage *c, const char *name)
{
    struct file *file = calloc(1, sizeof *file);
    if (file)
        file->name = strdup(name);
    if (!file || !file->name) {
        free(file);
        c->failed = true;
        return NULL;
    }
    file->next = c->files;
    c->files = file;
    return file;
}

/* NULL: it is of no file, or of our library; or no memory. */
static struct file *file_of(struct coverage *c, const char *name)
{
    if (*name != '@' || !strncmp(name, "@lua/moonwatch/", 15))
        return NULL;
    if (c->last && !strcmp(c->last->name, name))
        return c->last;
    for (struct file *file = c->files; file; file = file->next)
        if (!strcmp(file->name, name))
            return c->last = file;
    return c->last = new_file(c, name);
}

static struct line *line_of(struct coverage *c, struct file *file, int number)
{
    if (number < 0 || number > LINES_MAX)
        return NULL;
    if (number >= file->lines_len) {
        int len = number + 64;
        struct line *more = realloc(file->lines, (size_t)len * sizeof *more);
        if (!more) {
            c->failed = true;
            return NULL;
        }
        memset(more + file->lines_len, 0, (size_t)(len - file->lines_len) * sizeof *more);
        file->lines = more;
        file->lines_len = len;
    }
    return &file->lines[number];
}

static void add_edge(struct coverage *c, struct line *line, int to)
{
    for (int i = 0; i < line->edges_len; i++)
        if (line->edges[i].to == to) {
            line->edges[i].runs++;
            return;
        }
    struct edge *more = realloc(line->edges, (size_t)(line->edges_len + 1) * sizeof *more);
    if (!more) {
        c->failed = true;
        return;
    }
    line->edges = more;
    more[line->edges_len++] = (struct edge){ to, 1 };
}

/* Control goes from the frame's line to this one; 0: out of it. */
static void go(struct coverage *c, struct file *file, struct frame *frame, int to)
{
    struct line *from = frame->line && frame->line != to ? line_of(c, file, frame->line) : NULL;
    if (from)
        add_edge(c, from, to);
    frame->line = to;
}

int coverage_hooks(void)
{
    return LUA_MASKCALL | LUA_MASKLINE | LUA_MASKRET;
}

/* A line is entered, and once more after each call that it makes: that is no news. i_ci is where LuaJIT
 * has the frame, and the only thing that tells one call from another. */
void coverage_note(struct coverage *c, lua_State *L, lua_Debug *at)
{
    struct frame *frame = &c->frames[((uintptr_t)L / 16 + (unsigned)at->i_ci) % FRAMES];
    int event = at->event, now = at->currentline;
    if (frame->L != L || frame->at != at->i_ci || event == LUA_HOOKCALL)
        *frame = (struct frame){ .L = L, .at = at->i_ci };
    lua_getinfo(L, "S", at);
    struct file *file = *at->what == 'C' ? NULL : file_of(c, at->source);
    struct line *line = NULL;
    if (!file)
        return;
    if (event == LUA_HOOKRET)
        go(c, file, frame, 0);
    else if (event == LUA_HOOKCALL && (line = line_of(c, file, at->linedefined)))
        line->starts++;
    else if (event == LUA_HOOKLINE && (line = line_of(c, file, now))) {
        line->runs += now != frame->line;
        go(c, file, frame, now);
    }
}

/* --- keeping ---------------------------------------------------------------------------------------- */

static void keep_text(void *ctx, const char *name, const char *text, size_t len)
{
    struct coverage *c = ctx;
    struct file *file = file_of(c, name);
    if (!file || file->text)
        return;
    file->text = malloc(len + 1);
    file->len = len;
    if (file->text)
        memcpy(file->text, text, len);
    c->failed |= !file->text;
}

/* [-0, +0, -] */
static void keep_handler(struct coverage *c, lua_State *L, const struct handler *handler, int kind)
{
    lua_Debug at;
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function_ref);
    if (!lua_isfunction(L, -1) || lua_iscfunction(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_getinfo(L, ">S", &at);
    struct file *file = file_of(c, at.source);
    struct line *line = file ? line_of(c, file, at.linedefined) : NULL;
    if (line) {
        line->handled |= UINT32_C(1) << kind;
        line->told[kind] += handler->told;
    }
}

void coverage_keep(struct coverage *c, struct host *h)
{
    for (const struct policy *p = h->policies; p; p = p->next)
        source_each(p->sources, keep_text, c);
    for (int kind = 0; kind < EVENT_KINDS; kind++)
        for (const struct handler *handler = h->handlers[kind]; handler; handler = handler->next)
            keep_handler(c, h->L, handler, kind);
    memset(c->frames, 0, sizeof c->frames);
}

/* --- telling ---------------------------------------------------------------------------------------- */

struct telling {
    struct coverage *c;
    struct file *file;
    coverage_told *told;
    void *ctx;
};

static void tell(const struct telling *t, struct coverage_part part)
{
    part.path = t->file->name + 1;
    part.name = part.name ? part.name : "";
    t->told(t->ctx, &part);
}

/* A function for all that `any` means is one handler. */
static void tell_handlers(const struct telling *t)
{
    char names[EVENT_KINDS_TEXT];
    for (int n = 0; n < t->file->lines_len; n++) {
        const struct line *line = &t->file->lines[n];
        bool any = !strcmp(event_handled_text(line->handled, names, sizeof names), "any");
        uint64_t all = 0;
        for (int kind = 0; kind < EVENT_KINDS; kind++) {
            all += line->told[kind];
            if (!any && (line->handled & UINT32_C(1) << kind))
                tell(t, (struct coverage_part){ .kind = COVERAGE_HANDLER, .line = n, .runs = line->told[kind],
                                                .name = event_kind_name((enum event_kind)kind) });
        }
        if (any)
            tell(t, (struct coverage_part){ .kind = COVERAGE_HANDLER, .line = n, .runs = all, .name = "any" });
    }
}

/* What is at `index` of the list on top of the stack.  [-0, +0, -] */
static int int_at(lua_State *L, int index)
{
    lua_rawgeti(L, -1, index);
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static uint64_t runs_of(const struct line *line, int to)
{
    for (int i = 0; i < line->edges_len; i++)
        if (line->edges[i].to == to)
            return line->edges[i].runs;
    return 0;
}

/* The list on top of the stack is { line, name } or { line, to }.  [-0, +0, m] */
static void tell_pair(const struct telling *t, lua_State *L, enum coverage_kind kind)
{
    int n = int_at(L, 1), to = kind == COVERAGE_WAY ? int_at(L, 2) : 0;
    const struct line *line = line_of(t->c, t->file, n);
    if (!line)
        return;
    lua_rawgeti(L, -1, 2);
    bool way = kind == COVERAGE_WAY;
    tell(t, (struct coverage_part){ .kind = kind, .line = n, .to = to, .reached = line->runs,
                                    .name = way ? "" : lua_tostring(L, -1),
                                    .runs = way ? runs_of(line, to) : line->starts });
    lua_pop(L, 1);
}

/* The lists in the table on top of the stack.  [-0, +0, m] */
static void tell_list(const struct telling *t, lua_State *L, const char *name, enum coverage_kind kind)
{
    lua_getfield(L, -1, name);
    for (int i = 1, n = (int)lua_objlen(L, -1); i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (kind == COVERAGE_LINE) {
            int number = (int)lua_tointeger(L, -1);
            const struct line *line = line_of(t->c, t->file, number);
            tell(t, (struct coverage_part){ .kind = kind, .line = number, .runs = line ? line->runs : 0 });
        } else {
            tell_pair(t, L, kind);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* (telling), with lua/moonwatch/coverage.lua's function as upvalue. */
static int tell_file(lua_State *L)
{
    const struct telling *t = lua_touserdata(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushlstring(L, t->file->text, t->file->len);
    lua_pushstring(L, t->file->name);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1))
        return 0;
    tell_handlers(t);
    tell_list(t, L, "functions", COVERAGE_FUNCTION);
    tell_list(t, L, "ways", COVERAGE_WAY);
    tell_list(t, L, "lines", COVERAGE_LINE);
    return 0;
}

/* A state of its own: in that of a host there is no `jit`. */
static int open_state(lua_State *L)
{
    luaL_openlibs(L);
    library_open(L);
    host_require(L, "moonwatch.coverage");
    lua_pushcclosure(L, tell_file, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "tell");
    return 0;
}

/* In the order in which they were first seen. */
static void turn_round(struct coverage *c)
{
    struct file *turned = NULL;
    while (c->files) {
        struct file *file = c->files;
        c->files = file->next;
        file->next = turned;
        turned = file;
    }
    c->files = turned;
}

int coverage_tell(struct coverage *c, coverage_told *told, void *ctx)
{
    struct telling t = { .c = c, .told = told, .ctx = ctx };
    lua_State *L = luaL_newstate();
    bool failed = !L || lua_cpcall(L, open_state, NULL);
    turn_round(c);
    for (struct file *file = c->files; file && !failed; file = file->next) {
        t.file = file;
        lua_getfield(L, LUA_REGISTRYINDEX, "tell");
        lua_pushlightuserdata(L, &t);
        failed = file->text && lua_pcall(L, 1, 0, 0);
    }
    turn_round(c);
    if (L)
        lua_close(L);
    return failed || c->failed ? -ENOMEM : 0;
}

/* --- life ------------------------------------------------------------------------------------------- */

int coverage_new(struct coverage **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : -ENOMEM;
}

static void free_file(struct file *file)
{
    for (int n = 0; n < file->lines_len; n++)
        free(file->lines[n].edges);
    free(file->lines);
    free(file->name);
    free(file->text);
    free(file);
}

void coverage_free(struct coverage *c)
{
    while (c && c->files) {
        struct file *file = c->files;
        c->files = file->next;
        free_file(file);
    }
    free(c);
}
