/* sigma.c - mw.sigma: rules are asked about an event in C, before a table is made of it.
 *
 * A set is a userdata, which a handler has in the place of a `where`; its memory counts as the
 * scripts'. Texts come from who may read them (request.h), and come again when they look different. The
 * Lua half is lua/moonwatch/sigma.lua. */
#include "host/state.h"

#include "base/clock.h"
#include "host/needs.h"
#include "host/texts.h"
#include "sigma/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METATABLE "moonwatch.sigma"

#define USERS_KNOWN   64 /* uids in a set's memory */
#define USER_KEPT_NS  (60 * NS_PER_SECOND)
#define USER_NAME_MAX 64

struct user {
    int64_t uid, until_ns;
    char name[USER_NAME_MAX]; /* "": there is none */
};

struct api_sigma {
    struct api_sigma *next; /* of the host's list */
    struct host *host;
    struct policy *policy;
    lua_Alloc alloc;
    void *ud;
    struct sigma *set;       /* owned */
    struct sigma_view *view; /* owned */
    struct event_box *parent; /* owned; NULL: no rule looks at it */
    const struct sigma_event *event; /* that was looked at last */
    int fired;                       /* rules that it fits */
    uint64_t looks, hash;
    struct user *users; /* owned; NULL: none was asked for */
    struct texts texts; /* owned: those that are in use */
    struct buf remarks; /* owned: of the last reading, struct remark_head and three texts each */
    char path[1024];
};

/* --- memory, as the state's own --------------------------------------------------------------- */

/* Who frees says no size, the state's allocator wants it. */
union head {
    size_t size;
    max_align_t align;
};

static void *get(size_t size, void *ctx)
{
    const struct api_sigma *s = ctx;
    union head *head = s->alloc(s->ud, NULL, 0, sizeof *head + size);
    if (!head)
        return NULL;
    head->size = size;
    return head + 1;
}

static void put(void *block, void *ctx)
{
    const struct api_sigma *s = ctx;
    union head *head = block;
    if (head)
        s->alloc(s->ud, head - 1, sizeof *head + head[-1].size, 0);
}

static struct api_sigma *sigma_at(lua_State *L, int index)
{
    return luaL_checkudata(L, index, METATABLE);
}

static int collect(lua_State *L)
{
    struct api_sigma *s = lua_touserdata(L, 1);
    struct api_sigma **at = &s->host->sigmas;
    while (*at && *at != s)
        at = &(*at)->next;
    if (*at)
        *at = s->next;
    sigma_view_free(s->view);
    sigma_free(s->set);
    free(s->parent);
    free(s->users);
    buf_free(&s->remarks);
    texts_free(&s->texts);
    s->view = NULL;
    s->set = NULL;
    s->parent = NULL;
    s->users = NULL;
    return 0;
}

/* --- users -------------------------------------------------------------------------------------- */

/* Its place, taken from the one that is known for longest when it has none. */
static struct user *place_of(struct api_sigma *s, int64_t uid)
{
    struct user *oldest = s->users;
    for (int i = 0; i < USERS_KNOWN; i++) {
        if (s->users[i].until_ns && s->users[i].uid == uid)
            return &s->users[i];
        if (s->users[i].until_ns < oldest->until_ns)
            oldest = &s->users[i];
    }
    *oldest = (struct user){ .uid = uid };
    return oldest;
}

static const char *user_named(void *ctx, int64_t uid)
{
    struct api_sigma *s = ctx;
    struct host *h = s->host;
    uint32_t asked = (uint32_t)uid;
    int64_t now_ns = clock_mono_ns();
    if (!s->users)
        s->users = calloc(USERS_KNOWN, sizeof *s->users);
    if (!s->users)
        return NULL;
    struct user *user = place_of(s, uid);
    if (now_ns >= user->until_ns) {
        buf_clear(&h->answer);
        int result = host_request(h, REQUEST_USER, &asked, sizeof asked, &h->answer, NULL);
        size_t len = result == 0 && h->answer.len < USER_NAME_MAX ? h->answer.len : 0;
        memcpy(user->name, len ? h->answer.data : "", len);
        user->name[len] = '\0';
        user->until_ns = now_ns + USER_KEPT_NS;
    }
    return *user->name ? user->name : NULL;
}

/* --- asking ------------------------------------------------------------------------------------- */

/* In a box of its own: what scripts ask meanwhile must not change it. */
static const struct event *parent_of(struct api_sigma *s, const struct event *ev)
{
    struct tracker *tracker = s->host->tracker;
    if (!s->parent)
        return NULL;
    tracker_ref ref = tracker_find(tracker, event_int(ev, F_PID, -1), event_int(ev, F_STARTTIME, -1));
    event_begin(s->parent, EVENT_SNAPSHOT);
    bool known = tracker_copy_state(tracker, tracker_parent(tracker, ref), s->parent, WHY_ABSENT);
    return known ? &s->parent->ev : NULL;
}

bool api_sigma_asks(struct api_sigma *s, const struct event *ev)
{
    s->fired = 0;
    if (!s->set)
        return false;
    s->event = sigma_view_event(s->view, ev, parent_of(s, ev), user_named, s);
    int fired = sigma_match(s->set, s->event);
    s->fired = fired < 0 ? 0 : fired;
    return s->fired > 0;
}

struct api_sigma *api_sigma_at(lua_State *L, int index)
{
    void *s = lua_touserdata(L, index);
    if (!s || lua_islightuserdata(L, index) || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, METATABLE);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return is ? s : NULL;
}

/* --- reading ------------------------------------------------------------------------------------ */

struct remark_head {
    int32_t kind, line, column;
    uint32_t path_len, title_len, text_len;
};

static void on_remark(void *ctx, const struct sigma_remark *remark)
{
    struct api_sigma *s = ctx;
    struct remark_head head = { (int32_t)remark->kind,          remark->line,
                                remark->column,                 (uint32_t)strlen(remark->path),
                                (uint32_t)strlen(remark->title), (uint32_t)strlen(remark->text) };
    buf_add(&s->remarks, &head, sizeof head);
    buf_puts(&s->remarks, remark->path);
    buf_puts(&s->remarks, remark->title);
    buf_puts(&s->remarks, remark->text);
}

/* The placeholders of the table at `index`, { name = { value, ... } }, all of them strings: Lua has seen to
 * that. Pushes what keeps the memory.  [-0, +1, m] */
static int read_placeholders(lua_State *L, int index, struct sigma_placeholder **out)
{
    int n = 0, at = 0, holder;
    lua_newtable(L);
    holder = lua_gettop(L);
    for (lua_pushnil(L); lua_istable(L, index) && lua_next(L, index); lua_pop(L, 1))
        n++;
    lua_settop(L, holder);
    struct sigma_placeholder *list = *out = lua_newuserdata(L, ((size_t)n + 1) * sizeof *list);
    lua_rawseti(L, holder, n + 1);
    for (lua_pushnil(L); at < n && lua_next(L, index); lua_pop(L, 1)) {
        int values = (int)lua_objlen(L, -1);
        const char **texts = lua_newuserdata(L, ((size_t)values + 1) * sizeof *texts);
        lua_rawseti(L, holder, at + 1);
        for (int i = 0; i < values; i++) {
            lua_rawgeti(L, -1, i + 1);
            texts[i] = lua_tostring(L, -1);
            lua_pop(L, 1);
        }
        list[at++] = (struct sigma_placeholder){ lua_tostring(L, -2), texts, values };
    }
    lua_settop(L, holder);
    return at;
}

/* Ask for the texts. 1: they are in h->answer; 0: they are as they were; or -errno. */
static int ask(struct api_sigma *s)
{
    struct host *h = s->host;
    struct request_rules q = { .known = s->looks };
    struct request_rules_seen seen;
    if (!s->policy) /* unloaded */
        return -ENOTCONN;
    q.script = s->policy->id;
    buf_clear(&h->scratch);
    buf_add(&h->scratch, &q, sizeof q);
    buf_puts(&h->scratch, s->path);
    if (h->scratch.failed)
        return -ENOMEM;
    buf_clear(&h->answer);
    int result =
        host_request(h, REQUEST_RULES, h->scratch.data, h->scratch.len, &h->answer, NULL);
    if (result < 0)
        return result;
    if (h->answer.len < sizeof seen)
        return -EBADMSG;
    memcpy(&seen, h->answer.data, sizeof seen);
    bool same = s->set && (seen.looks == s->looks || seen.hash == s->hash);
    s->looks = seen.looks;
    s->hash = same ? s->hash : seen.hash;
    return same ? 0 : 1;
}

static int take_set(struct api_sigma *s, struct sigma *set)
{
    struct sigma_view *view;
    if (sigma_view_new(&view, set) < 0)
        return -ENOMEM;
    uint64_t of_parent = sigma_view_needs_of_parent(view);
    if (of_parent && !s->parent && !(s->parent = malloc(sizeof *s->parent))) {
        sigma_view_free(view);
        return -ENOMEM;
    }
    if (s->set)
        sigma_take_over(set, s->set);
    sigma_view_free(s->view);
    sigma_free(s->set);
    s->set = set;
    s->view = view;
    s->fired = 0;
    uint64_t needs = sigma_view_needs(view) | of_parent | NEEDS_OF_ALERT;
    if (of_parent)
        needs |= FIELD(PPID) | FIELD(STARTTIME) | FIELD(PID);
    host_need(s->host, needs);
    return 0;
}

static const char *failure_text(int error)
{
    switch (error) {
    case -ENOENT:
        return "no such file or directory";
    case -ENODATA:
        return "there is no *.yml in it";
    case -E2BIG:
    case -EFBIG:
        return "there are too many files, or they are too large";
    case -EPERM:
    case -EACCES:
        return "not taken: it must lie below the script's directory, and only root and its owner "
               "may be able to change it";
    case -ENOTCONN:
        return "nobody to ask: the events are not live";
    case -ETIMEDOUT:
        return "no answer in time";
    case -ENOMEM:
        return "not enough memory";
    default:
        return strerror(-error);
    }
}

/* Push { { kind, path, line, column, title, text }, ... }.  [-0, +1, m] */
static void push_remarks(lua_State *L, const struct buf *remarks)
{
    struct remark_head head;
    int n = 0;
    lua_newtable(L);
    for (size_t at = 0; remarks->len - at >= sizeof head;) {
        memcpy(&head, remarks->data + at, sizeof head);
        const char *text = remarks->data + at + sizeof head;
        lua_createtable(L, 0, 6);
        lua_pushinteger(L, head.kind);
        lua_setfield(L, -2, "kind");
        lua_pushinteger(L, head.line);
        lua_setfield(L, -2, "line");
        lua_pushinteger(L, head.column);
        lua_setfield(L, -2, "column");
        lua_pushlstring(L, text, head.path_len);
        lua_setfield(L, -2, "path");
        lua_pushlstring(L, text + head.path_len, head.title_len);
        lua_setfield(L, -2, "title");
        lua_pushlstring(L, text + head.path_len + head.title_len, head.text_len);
        lua_setfield(L, -2, "text");
        lua_rawseti(L, -2, ++n);
        at += sizeof head + head.path_len + head.title_len + head.text_len;
    }
}

/* The texts of h->answer become the set that counts. 0, or -errno: then it is as it was. */
static int replace_set(struct api_sigma *s, const struct sigma_options *options)
{
    struct sigma *set = NULL;
    struct texts texts = { 0 };
    buf_clear(&s->remarks);
    budget_pause(&s->host->budget, true); /* thousands of rules take their time */
    int result = sigma_new(&set, options);
    if (result == 0)
        result = texts_add(&s->texts, &s->host->answer, set, options, &texts);
    if (result == 0)
        result = sigma_finish(set);
    if (result == 0)
        result = take_set(s, set);
    budget_pause(&s->host->budget, false);
    texts_free(result < 0 ? &texts : &s->texts);
    if (result == 0) {
        s->texts = texts;
        return 0;
    }
    sigma_free(set);
    s->looks = 0; /* to be tried again */
    return result;
}

/* Read the rules if there can be news of them. Pushes whether there is another set, and its remarks; or nil
 * and why not.  [-0, +3, m] */
static int look(lua_State *L, struct api_sigma *s, int placeholders)
{
    struct sigma_placeholder *list;
    int len = read_placeholders(L, placeholders, &list);
    struct sigma_options options = {
        .memory = { get, put, s },
        .remarked = on_remark,
        .ctx = s,
        .placeholders = list,
        .placeholders_len = len,
        .no_jit = s->host->options.profile == PROFILE_POLICY, /* it may not be had there */
    };
    int result = ask(s), news = result > 0;
    if (news)
        result = replace_set(s, &options);
    if (result < 0) {
        lua_pushnil(L);
        lua_pushstring(L, failure_text(result));
        return 2;
    }
    lua_pushboolean(L, news);
    push_remarks(L, news ? &s->remarks : &(struct buf){ 0 });
    return 2;
}

/* _sigma_new(path, placeholders) -> set, remarks; nil, why */
static int sigma_make(lua_State *L)
{
    struct host *h = host_of(L);
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    if (!h->current)
        return luaL_error(L, "mw.sigma: no script is running");
    lua_settop(L, 2);
    struct api_sigma *s = lua_newuserdata(L, sizeof *s);
    *s = (struct api_sigma){ .host = h, .policy = h->current };
    s->alloc = lua_getallocf(L, &s->ud);
    s->next = h->sigmas;
    h->sigmas = s;
    luaL_getmetatable(L, METATABLE);
    lua_setmetatable(L, -2);
    if (len >= sizeof s->path || memchr(path, '\0', len))
        return luaL_error(L, "mw.sigma: the path is too long");
    memcpy(s->path, path, len + 1);
    look(L, s, 2);
    if (lua_isnil(L, -2))
        return 2;
    lua_pushvalue(L, 3);
    lua_replace(L, -3); /* the set for what is true */
    return 2;
}

/* _sigma_look(set, placeholders) -> is there another one, remarks; nil, why */
static int sigma_look(lua_State *L)
{
    lua_settop(L, 2);
    return look(L, sigma_at(L, 1), 2);
}

/* --- what fired ----------------------------------------------------------------------------------- */

/* _sigma_fired(set) -> numbers of rules, a list */
static int sigma_list_fired(lua_State *L)
{
    const struct api_sigma *s = sigma_at(L, 1);
    lua_createtable(L, s->fired, 0);
    for (int i = 0; i < s->fired; i++) {
        lua_pushinteger(L, sigma_fired(s->set, i));
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* _sigma_pass(set, now): time passes without an event; as _sigma_fired */
static int sigma_pass_time(lua_State *L)
{
    struct api_sigma *s = sigma_at(L, 1);
    s->event = NULL;
    s->fired = s->set ? sigma_pass(s->set, (int64_t)(luaL_checknumber(L, 2) * 1e9)) : 0;
    return sigma_list_fired(L);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, key);
}

/* _sigma_rule(set, number) -> what is known of the rule, a table; nil: there is none */
static int sigma_push_rule(lua_State *L)
{
    const struct api_sigma *s = sigma_at(L, 1);
    struct sigma_rule rule;
    if (!s->set || !sigma_rule_at(s->set, (int)luaL_checkinteger(L, 2), &rule))
        return 0;
    lua_createtable(L, 0, 12);
    set_text(L, "id", rule.id);
    set_text(L, "title", rule.title);
    set_text(L, "author", rule.author);
    set_text(L, "level", sigma_level_name(rule.level));
    set_text(L, "status", rule.status);
    set_text(L, "path", rule.path);
    set_number(L, "line", rule.line);
    lua_createtable(L, rule.tags_len, 0);
    for (int i = 0; i < rule.tags_len; i++) {
        lua_pushstring(L, rule.tags[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "tags");
    return 1;
}

/* _sigma_counts(set, number) -> events it was asked about, fitted, could not say */
static int sigma_push_counts(lua_State *L)
{
    const struct api_sigma *s = sigma_at(L, 1);
    struct sigma_rule rule;
    if (!s->set || !sigma_rule_at(s->set, (int)luaL_checkinteger(L, 2), &rule))
        return 0;
    lua_pushnumber(L, (lua_Number)rule.asked);
    lua_pushnumber(L, (lua_Number)rule.fired);
    lua_pushnumber(L, (lua_Number)rule.undecided);
    return 3;
}

#define REASONS_MAX 32
#define FOUND_MAX   512 /* bytes of what was found */

static void push_reason(void *ctx, const struct sigma_reason *reason)
{
    lua_State *L = ctx;
    int n = (int)lua_objlen(L, -1);
    if (n == REASONS_MAX)
        return;
    lua_createtable(L, 0, 4);
    set_text(L, "selection", reason->selection);
    set_text(L, "item", reason->item);
    set_text(L, "value", reason->value);
    lua_pushlstring(L, reason->found, reason->found_len < FOUND_MAX ? reason->found_len : FOUND_MAX);
    lua_setfield(L, -2, "found");
    lua_rawseti(L, -2, n + 1);
}

/* _sigma_reasons(set, number) -> why it fired on the last event, a list of tables */
static int sigma_push_reasons(lua_State *L)
{
    struct api_sigma *s = sigma_at(L, 1);
    int number = (int)luaL_checkinteger(L, 2);
    struct sigma_rule rule;
    lua_settop(L, 2);
    lua_newtable(L);
    luaL_checkstack(L, 8, "reasons");
    if (s->set && sigma_rule_at(s->set, number, &rule) && (s->event || rule.correlation))
        sigma_reasons(s->set, number, s->event, push_reason, L);
    return 1;
}

/* --- for the operator ------------------------------------------------------------------------------ */

static bool is_worse(const struct sigma_rule *rule, const struct host_rule *than)
{
    return (double)rule->undecided * (double)than->asked >
           (double)than->undecided * (double)rule->asked;
}

/* Where it belongs among the worst. Returns how many there are then. */
static int insert(struct host_rule *to, int len, int cap, const struct sigma_rule *rule)
{
    int at = len;
    while (at > 0 && is_worse(rule, &to[at - 1]))
        at--;
    if (at == cap)
        return len;
    len = len < cap ? len + 1 : cap;
    memmove(to + at + 1, to + at, (size_t)(len - at - 1) * sizeof *to);
    to[at] = (struct host_rule){ .asked = rule->asked,
                                 .fired = rule->fired,
                                 .undecided = rule->undecided };
    snprintf(to[at].id, sizeof to[at].id, "%s", rule->id);
    snprintf(to[at].title, sizeof to[at].title, "%s", rule->title);
    return len;
}

int host_rules(const struct host *h, uint32_t id, struct host_rules *all, struct host_rule *to,
               int cap)
{
    struct sigma_rule rule;
    int len = 0;
    *all = (struct host_rules){ 0 };
    for (const struct api_sigma *s = h->sigmas; s; s = s->next) {
        if (s->policy->id != id || s->policy->shadow || !s->policy->live || !s->set)
            continue;
        for (int i = 0; sigma_rule_at(s->set, i, &rule); i++) {
            all->count++;
            all->fired += rule.fired;
            all->blind += rule.undecided > 0;
            if (rule.undecided)
                len = insert(to, len, cap, &rule);
        }
    }
    return len;
}

void api_sigma_forget(struct host *h, const struct policy *policy)
{
    struct api_sigma **at = &h->sigmas;
    while (*at) {
        struct api_sigma *s = *at;
        if (s->policy == policy) {
            *at = s->next;
            s->policy = NULL;
        } else {
            at = &s->next;
        }
    }
}

void api_sigma_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "_sigma_new", sigma_make },         { "_sigma_look", sigma_look },
        { "_sigma_fired", sigma_list_fired }, { "_sigma_pass", sigma_pass_time },
        { "_sigma_rule", sigma_push_rule },   { "_sigma_counts", sigma_push_counts },
        { "_sigma_reasons", sigma_push_reasons },
    };
    luaL_newmetatable(L, METATABLE);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
}
