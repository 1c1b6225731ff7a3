/* orders.c - what an operator can ask of a running watch, by words. See moonwatch_order.
 *
 * Each answer comes once: at once, or when the worker that it concerns has answered. */
#include "moonwatch.h"

#include "base/clock.h"
#include "embed/crew_state.h"
#include "embed/shelf.h"
#include "embed/watch.h"
#include "event/json.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* Who asked, while the answer is on its way. */
struct asker {
    struct moonwatch *watch;
    moonwatch_reply *reply; /* NULL: answered */
    void *ctx;
    const char *order; /* borrowed from who asks: not to be looked at later */
    struct asker *next; /* of those who want the status */
};

/* --- refusals ---------------------------------------------------------------------------------- */

#define NAMES_MOST 10

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *file_of(const struct crew_script *s)
{
    return s->name ? file_name(s->name + 1) : "";
}

/* "; there are: web, db and 3 more" */
static void add_names(struct buf *to, const struct crew *crew, bool files)
{
    const struct crew_script *s;
    int n = 0;
    for (int i = 0; (s = crew_script_at(crew, i)); i++) {
        const char *name = files ? file_of(s) : crew_script_name(s);
        if (s->state == SCRIPT_GONE || !*name || n++ >= NAMES_MOST)
            continue;
        buf_printf(to, "%s%s", n == 1 ? "; there are: " : ", ", name);
    }
    if (n > NAMES_MOST)
        buf_printf(to, " and %d more", n - NAMES_MOST);
}

/* With ".lua" or without: which of them would it be? */
static bool is_of_many(const struct crew *crew, const char *name)
{
    const struct crew_script *s;
    size_t len = strlen(name);
    int n = 0;
    for (int i = 0; (s = crew_script_at(crew, i)); i++) {
        const char *file = file_of(s);
        n += s->state != SCRIPT_GONE && len && !strncmp(file, name, len) &&
             (!file[len] || !strcmp(file + len, ".lua"));
    }
    return n > 1;
}

static void say_absent(struct buf *to, const struct asker *a, const char *name)
{
    const struct crew *crew = watch_crew(a->watch);
    if (!strcmp(a->order, "shadow")) {
        buf_printf(to, "no running script has the file name %s", file_name(name));
        add_names(to, crew, true);
    } else if (roster_named(crew, name)) {
        buf_printf(to, "'%s' has no shadow", name);
    } else if (is_of_many(crew, name)) {
        buf_printf(to, "more than one script has the file name %s: give the path of one", name);
    } else {
        buf_printf(to, "no script is named '%s'", name);
        add_names(to, crew, false);
    }
}

static void refuse(const struct asker *a, int error, const char *name)
{
    struct buf text = { 0 };
    switch (error) {
    case -ENOENT:
        say_absent(&text, a, name);
        break;
    case -EALREADY:
        buf_printf(&text, "'%s' is %s already", name, strcmp(a->order, "enable") ? "off" : "on");
        break;
    case -EBUSY:
        buf_printf(&text, "'%s' is off, or a version of it is just being loaded", name);
        break;
    default:
        buf_printf(&text, "'%s': %s", name, strerror(-error));
        break;
    }
    a->reply(a->ctx, error, buf_str(&text));
    buf_free(&text);
}

static void confirm(const struct asker *a, int error, const char *name)
{
    if (error < 0)
        refuse(a, error, name);
    else
        a->reply(a->ctx, 0, "{}");
}

/* --- status ----------------------------------------------------------------------------------- */

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    json_string(out, text, strlen(text));
}

static void add_int(struct buf *out, const char *key, uint64_t value)
{
    buf_printf(out, ",\"%s\":", key);
    json_int(out, (int64_t)value);
}

static void add_number(struct buf *out, const char *key, double value)
{
    buf_printf(out, ",\"%s\":", key);
    json_number(out, value);
}

static const char *const groups[] = { "policy", "trusted", "ward" };

static void add_worker(struct buf *out, const struct moonwatch *m, const struct crew_worker *w)
{
    buf_printf(out, "{\"group\":\"%s\"", groups[w->group]);
    add_int(out, "pid", (uint64_t)w->pid);
    add_int(out, "memory_bytes", w->memory_bytes);
    add_int(out, "memory_limit_bytes", watch_options(m)->memory_bytes);
    buf_printf(out, ",\"jit\":%s", w->jit ? "true" : "false");
    add_int(out, "restarts", w->restarts);
    add_int(out, "missed", w->missed);
    add_number(out, "backlog", w->backlog);
    buf_putc(out, '}');
}

/* "rules": { "count": 73, "fired": 5, "blind": 1, "worst": [...] } */
static void add_rules(struct buf *out, const struct crew_script *s)
{
    buf_printf(out, ",\"rules\":{\"count\":%u", s->rules.count);
    add_int(out, "fired", s->rules.fired);
    add_int(out, "blind", s->rules.blind);
    buf_puts(out, ",\"worst\":[");
    for (int i = 0; i < s->worst_len; i++) {
        const struct host_rule *rule = &s->worst[i];
        buf_puts(out, i ? ",{\"id\":" : "{\"id\":");
        json_string(out, rule->id, strlen(rule->id));
        add_text(out, "title", rule->title);
        add_int(out, "asked", rule->asked);
        add_int(out, "fired", rule->fired);
        add_int(out, "undecided", rule->undecided);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}");
}

static void add_script(struct buf *out, const struct crew_script *s)
{
    const struct host_script *f = &s->figures;
    char kinds[EVENT_KINDS_TEXT];
    buf_puts(out, "{\"name\":");
    json_string(out, crew_script_name(s), strlen(crew_script_name(s)));
    add_text(out, "path", s->name ? s->name + 1 : "");
    add_text(out, "group", groups[s->warded ? CREW_WARD : s->trusted ? CREW_TRUSTED : CREW_POLICY]);
    add_int(out, "generation", s->generation);
    add_text(out, "state", s->shadow ? "shadow" : s->state == SCRIPT_ON ? "on" : "off");
    add_text(out, "why", s->why);
    add_text(out, "events", event_handled_text(f->kinds, kinds, sizeof kinds));
    add_int(out, "calls", f->calls);
    add_int(out, "errors", f->errors);
    add_int(out, "alerts", f->alerts);
    add_int(out, "undecided", f->undecided);
    add_number(out, "p50_us", (double)f->p50_ns / 1e3);
    add_number(out, "p99_us", (double)f->p99_ns / 1e3);
    add_int(out, "memory_bytes", f->memory_bytes);
    if (s->rules.count)
        add_rules(out, s);
    buf_putc(out, '}');
}

static void add_recorded(struct buf *out, const struct moonwatch_recorded *r)
{
    buf_printf(out, ",\"%s\":{\"events\":", r->flight ? "flight" : "recording");
    json_int(out, (int64_t)r->events);
    add_int(out, "bytes", r->bytes);
    add_int(out, "missed", r->missed);
    add_int(out, "dropped", r->dropped);
    add_int(out, "notes", r->notes);
    add_int(out, "notes_lost", r->notes_lost);
    add_int(out, "redacted", r->redacted);
    add_text(out, "error", r->error ? strerror(r->error) : "");
    buf_putc(out, '}');
}

static void write_status(struct moonwatch *m, struct buf *out)
{
    struct moonwatch_summary s;
    struct crew_worker worker;
    const struct crew_script *script;
    moonwatch_summarize(m, &s);
    buf_printf(out, "{\"pid\":%d", (int)getpid());
    add_number(out, "uptime_s", watch_uptime_s(m));
    add_int(out, "events", s.events);
    add_int(out, "lost", s.lost);
    add_int(out, "missed", s.missed);
    add_text(out, "sources", s.sources);
    add_text(out, "priority", s.priority);
    struct moonwatch_recorded r;
    if (moonwatch_recorded(m, &r))
        add_recorded(out, &r);
    buf_puts(out, ",\"workers\":[");
    for (int i = 0; crew_worker_at(watch_crew(m), i, &worker); i++) {
        buf_puts(out, i ? "," : "");
        add_worker(out, m, &worker);
    }
    buf_puts(out, "],\"scripts\":[");
    bool any = false;
    for (int i = 0; (script = crew_script_at(watch_crew(m), i)); i++) {
        if (script->state == SCRIPT_GONE)
            continue;
        buf_puts(out, any ? "," : "");
        add_script(out, script);
        any = true;
    }
    buf_puts(out, "]}");
}

static void tell_status(void *ctx)
{
    struct moonwatch *m = ctx;
    struct buf out = { 0 };
    struct asker *asker = watch_askers(m, NULL), *next;
    write_status(m, &out);
    for (; asker; asker = next) {
        next = asker->next;
        asker->reply(asker->ctx, 0, buf_str(&out));
        free(asker);
    }
    buf_free(&out);
}

static void order_status(const struct asker *a)
{
    struct asker *kept = malloc(sizeof *kept);
    if (!kept) {
        refuse(a, -ENOMEM, "status");
        return;
    }
    *kept = *a;
    kept->next = watch_askers(a->watch, NULL);
    watch_askers(a->watch, kept);
    watch_ask(a->watch, tell_status, a->watch);
}

/* --- scripts ---------------------------------------------------------------------------------- */

/* The answer of a worker, for one who waits for it. */
static void pass_on(void *ctx, int error, const char *text)
{
    struct asker *a = ctx;
    a->reply(a->ctx, error, error || *text ? text : "{}");
    free(a);
}

static struct asker *keep(const struct asker *a)
{
    struct asker *kept = malloc(sizeof *kept);
    if (kept)
        *kept = *a;
    return kept;
}

static void order_reload(const struct asker *a)
{
    struct asker *kept = keep(a);
    if (!kept) {
        refuse(a, -ENOMEM, "reload");
        return;
    }
    crew_collect(watch_crew(a->watch));
    crew_settle(watch_crew(a->watch), shelf_check(watch_shelf(a->watch)), pass_on, kept);
}

static void order_compare(const struct asker *a, const char *name)
{
    struct asker *kept = keep(a);
    int result = kept ? crew_compare(watch_crew(a->watch), name, pass_on, kept) : -ENOMEM;
    if (result == 0)
        return;
    free(kept);
    refuse(a, result, name);
}

static void order_eval(const struct asker *a, const char *text)
{
    struct asker *kept = keep(a);
    int result =
        kept ? crew_eval(watch_crew(a->watch), text, strlen(text), pass_on, kept) : -ENOMEM;
    if (result == 0)
        return;
    free(kept);
    refuse(a, result, "eval");
}

/* Which script is it to run beside? That with the same file name, or the one that is named. */
static void order_shadow(const struct asker *a, const char *path)
{
    struct buf text = { 0 };
    char resolved[PATH_MAX];
    const char *why = "";
    int result =
        shelf_read_beside(path, file_name(path), &text, resolved, sizeof resolved, &why);
    if (result < 0) {
        a->reply(a->ctx, result, why);
        buf_free(&text);
        return;
    }
    struct asker *kept = keep(a);
    result = kept ? crew_shadow(watch_crew(a->watch), path, text.data ? text.data : "", text.len,
                                pass_on, kept)
                  : -ENOMEM;
    buf_free(&text);
    if (result == 0)
        return;
    free(kept);
    refuse(a, result, path);
}

static void tell_path(void *ctx, int error, const char *path)
{
    struct asker *a = ctx;
    struct buf text = { 0 };
    if (error) {
        buf_printf(&text, "%s is not written: %s", path, strerror(error));
    } else {
        buf_puts(&text, "{\"path\":");
        json_string(&text, path, strlen(path));
        buf_putc(&text, '}');
    }
    a->reply(a->ctx, -error, buf_str(&text));
    buf_free(&text);
    free(a);
}

static void order_dump(const struct asker *a, const char *before, const char *pid, const char *after)
{
    struct watch_dump dump = { .name = "ctl",
                               .before_s = strtod(before, NULL),
                               .after_s = strtod(after, NULL),
                               .pid = strtol(pid, NULL, 10),
                               .starttime = -1 };
    struct asker *kept = keep(a);
    bool fits = dump.before_s >= 0 && dump.before_s < 1e8 && dump.after_s >= 0 && dump.after_s <= 3600;
    int result = !kept ? -ENOMEM : fits ? watch_dump(a->watch, &dump, tell_path, kept) : -EINVAL;
    if (result == 0)
        return;
    free(kept);
    a->reply(a->ctx, result, result == -ENOENT ? "there is no flight recorder: it needs `moonwatch run` as root, "
                                                 "without --flight none, and a --state-dir of its own"
                             : result == -EBUSY ? "16 files are being written already"
                             : result == -EINVAL ? "dump takes seconds, a pid and seconds"
                                                 : strerror(-result));
}

static bool is(const char *const *words, int n, const char *word, int len)
{
    return n == len && !strcmp(words[0], word);
}

void moonwatch_order(struct moonwatch *m, const char *const *words, int n, moonwatch_reply *reply,
                     void *ctx)
{
    struct asker a = { .watch = m, .reply = reply, .ctx = ctx, .order = words[0] };
    struct crew *crew = watch_crew(m);
    if (is(words, n, "status", 1))
        order_status(&a);
    else if (is(words, n, "reload", 1))
        order_reload(&a);
    else if (is(words, n, "disable", 2))
        confirm(&a, crew_disable(crew, words[1]), words[1]);
    else if (is(words, n, "enable", 2))
        confirm(&a, crew_enable(crew, words[1]), words[1]);
    else if (is(words, n, "shadow", 2))
        order_shadow(&a, words[1]);
    else if (is(words, n, "diff", 2))
        order_compare(&a, words[1]);
    else if (is(words, n, "promote", 2))
        confirm(&a, crew_promote(crew, words[1]), words[1]);
    else if (is(words, n, "drop", 2))
        confirm(&a, crew_drop(crew, words[1]), words[1]);
    else if (is(words, n, "dump", 4))
        order_dump(&a, words[1], words[2], words[3]);
    else if (is(words, n, "eval", 2))
        order_eval(&a, words[1]);
    else
        reply(ctx, -EINVAL,
              "no such order: there are status, reload, disable NAME, enable NAME, shadow FILE, "
              "diff NAME, promote NAME, drop NAME, dump SECONDS PID AFTER, eval TEXT");
}
