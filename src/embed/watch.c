/* watch.c - one watch: the collector, and the scripts in a worker or in this process.
 *
 * The only place that knows both halves: events go from the collector to the crew, which has the
 * scripts, and what scripts want of events goes back. */
#include "moonwatch.h"

#include "base/clock.h"
#include "base/log.h"
#include "collect/collector.h"
#include "collect/priority.h"
#include "embed/crew.h"
#include "embed/flight.h"
#include "embed/rules.h"
#include "embed/signals.h"
#include "embed/shelf.h"
#include "embed/steward.h"
#include "embed/vault.h"
#include "embed/watch.h"
#include "host/secrets.h"
#include "host/source.h"
#include "host/world.h"
#include "sink/keeper.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct moonwatch {
    struct moonwatch_options options;
    struct ev_loop *loop; /* NULL until started */
    struct collector *collector;
    struct shelf *shelf;           /* owned: their files */
    int shelf_error;               /* of what it told last */
    bool of_directory; /* what it tells now is one of many */
    bool unwatched;                /* a file that a script requires, and that was told */
    struct crew *crew;             /* owned: the scripts, and the workers if there are any */
    struct host_settings settings; /* owned, and their texts */
    struct buf error;
    struct procfs proc;      /* for the scripts' questions */
    struct vault *vault;     /* owned; NULL: nothing is kept */
    struct signals *signals; /* owned */
    struct recorder_options record;
    struct redact_rules *secrets; /* owned; NULL: none is left out */
    struct flight *flight;      /* owned; NULL: there is none */
    struct crew_wants wants; /* as the collector was told */
    uint64_t needs;          /* fields that somebody looks at; only grows */
    bool only_load;          /* end when the scripts are loaded */
    int sigmas;              /* scripts that were made of rules */

    /* one process */
    struct host *host;
    struct steward *steward; /* owned */
    struct keeper *keeper;   /* owned: of what scripts open */
    struct place_rules rules;
    struct world world;
    ev_timer needing; /* due at once when scripts need more: not in the middle of an event */
    uint64_t seq;     /* of the last event */

    enum priority priority; /* granted at the start */
    struct priority_guard guard;
    int64_t guard_at_ns; /* when to look at it again */
    uint64_t yields;
    moonwatch_answered *answered; /* NULL: nobody asked */
    void *answered_ctx;
    void (*asked)(void *ctx); /* the same for the rest of embed/ */
    void *asked_ctx;
    struct asker *askers; /* owned by orders.c */
    int64_t began_ns;
    struct moonwatch_script_summary *summaries; /* owned */
    int summaries_len;
};

static int fail(struct moonwatch *m, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct moonwatch *m, int error, const char *format, ...)
{
    char text[WORKER_TEXT + 512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_clear(&m->error);
    buf_puts(&m->error, text);
    return error;
}

const char *moonwatch_error(const struct moonwatch *m)
{
    return buf_str((struct buf *)&m->error);
}

const char *moonwatch_version(void)
{
    return MOONWATCH_VERSION;
}

void moonwatch_options_init(struct moonwatch_options *options)
{
    *options = (struct moonwatch_options){
        .size = sizeof *options,
        .output = STDOUT_FILENO,
        .user = "nobody",
        .buffer_bytes = 32u << 20,
        .ring_bytes = 8u << 20,
        .table_bytes = 256u << 20,
        .delay = 0.008,
        .soft = 0.05,
        .hard = 1,
        .memory_bytes = 64u << 20,
        .errors_a_minute = 60,
        .state_dir = "/var/lib/moonwatch",
        .record = -1,
    };
}

static struct crew_calls calls_of(struct moonwatch *m);
static void on_shelf(void *ctx, enum shelf_change change, const struct shelf_script *script);

/* What workers ask for beside /proc. */
static int new_means(struct moonwatch *m)
{
    int result = signals_new(&m->signals, &m->proc, m->options.allow_kill);
    if (!result && m->options.state_dir)
        result = vault_new(&m->vault, m->options.state_dir);
    return result;
}

static int new_crew(struct moonwatch *m)
{
    const struct moonwatch_options *o = &m->options;
    struct crew_options options = {
        .calls = calls_of(m),
        .means = { .proc = &m->proc,
                   .vault = m->vault,
                   .signals = m->signals,
                   .keeper = m->keeper },
        .host = { .table_bytes = o->table_bytes,
                  .boot = event_boot_id(),
                  .fd = o->output,
                  .json = o->json,
                  .print_all = o->print,
                  .settings = &m->settings,
                  .soft_ns = (int64_t)(o->soft * 1e9),
                  .memory_bytes = o->memory_bytes,
                  .errors_a_minute = o->errors_a_minute },
        .user = o->user,
        .ring_bytes = o->ring_bytes,
        .hard_ns = (int64_t)(o->hard * 1e9),
        .ward = o->ward,
    };
    return crew_new(&m->crew, &options);
}

/* What scripts may open. */
static struct place_rules rules_of(const struct moonwatch_options *o)
{
    return (struct place_rules){ .output_dir = o->output_dir,
                                 .sockets = o->sockets,
                                 .sockets_len = o->sockets_len,
                                 .allow_exec = o->allow_exec,
                                 .user = o->user,
                                 .output = o->output };
}

struct moonwatch *moonwatch_new(const struct moonwatch_options *options)
{
    struct moonwatch *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    moonwatch_options_init(&m->options);
    memcpy(&m->options, options,
           options->size < sizeof m->options ? options->size : sizeof m->options);
    m->proc.root = -1;
    m->priority = PRIORITY_NORMAL;
    m->rules = rules_of(&m->options);
    if (new_means(m) < 0 || keeper_new(&m->keeper, &m->rules) < 0 ||
        shelf_new(&m->shelf, on_shelf, m) < 0 || new_crew(m) < 0) {
        vault_free(m->vault);
        signals_free(m->signals);
        keeper_free(m->keeper);
        shelf_free(m->shelf);
        free(m);
        return NULL;
    }
    return m;
}

/* --- scripts ------------------------------------------------------------------------------- */

static int add_script(struct moonwatch *m, const char *name, const char *text, size_t len,
                      bool trusted)
{
    int result = crew_add(m->crew, name, text, len, trusted, false);
    return result < 0 ? fail(m, result, "%s", crew_error(m->crew)) : 0;
}

static char *chunk_name(const char *path)
{
    char *name = malloc(strlen(path) + 2);
    if (name)
        sprintf(name, "@%s", path);
    return name;
}

/* A file that came, changed or went; before the start, those that there are. */
static void on_shelf(void *ctx, enum shelf_change change, const struct shelf_script *script)
{
    struct moonwatch *m = ctx;
    char *name = chunk_name(script->path);
    int result = name ? 0 : -ENOMEM;
    if (result == 0 && change == SHELF_CHANGED)
        result = crew_change(m->crew, name, script->text, script->len);
    if (result == -ENOENT || (result == 0 && change == SHELF_ADDED))
        result = crew_add(m->crew, name, script->text, script->len, script->tag,
                          m->of_directory);
    if (result == 0 && change == SHELF_REMOVED)
        crew_remove(m->crew, name);
    if (change == SHELF_REFUSED)
        log_error("%s", script->why);
    if (result < 0)
        m->shelf_error = result;
    free(name);
}

static int add_path(struct moonwatch *m, const char *path, bool trusted)
{
    const char *why = "";
    size_t len = strlen(path);
    struct stat about;
    m->shelf_error = 0;
    m->of_directory = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    int added = shelf_add(m->shelf, path, trusted, &why);
    if (added == -ENOENT && len && path[len - 1] == '/') /* may come later */
        added = shelf_expect(m->shelf, path, trusted) < 0 ? -ENOENT : 1;
    if (added < 0)
        return fail(m, added, "%s", why);
    if (m->shelf_error)
        return fail(m, m->shelf_error, "%s", crew_error(m->crew));
    if (added == 0)
        return fail(m, -ENOENT, "no script in %s: its files must end in .lua", path);
    return 0;
}

int moonwatch_add_path(struct moonwatch *m, const char *path)
{
    return add_path(m, path, false);
}

int moonwatch_add_trusted(struct moonwatch *m, const char *path)
{
    return add_path(m, path, true);
}

int moonwatch_add_text(struct moonwatch *m, const char *name, const char *text)
{
    char *chunk = chunk_name(name);
    int result = chunk ? add_script(m, chunk, text, strlen(text), false)
                       : fail(m, -ENOMEM, "not enough memory for the scripts");
    free(chunk);
    return result;
}

/* Its script lies, so to speak, beside the rules: they are read for it as for any other script. */
int moonwatch_add_sigma(struct moonwatch *m, const char *path, const char *const *placeholders,
                        int placeholders_len)
{
    struct rule_script script = { .number = ++m->sigmas };
    int result = rules_script(&script, path, placeholders, placeholders_len);
    if (result < 0)
        result = fail(m, result, "%s", script.why);
    else
        result = add_script(m, script.name, script.text.data, script.text.len, false);
    buf_free(&script.text);
    return result;
}

int moonwatch_add_line(struct moonwatch *m, const char *line)
{
    return add_script(m, NULL, line, strlen(line), false);
}

static void free_setting(struct host_setting *s)
{
    free((char *)s->script);
    free((char *)s->name);
    free((char *)s->value);
}

int moonwatch_set(struct moonwatch *m, const char *script, const char *name, const char *value)
{
    int len = m->settings.len;
    struct host_setting *more = realloc(m->settings.all, (size_t)(len + 1) * sizeof *more);
    struct host_setting s = { strdup(script), strdup(name), strdup(value) };
    if (more)
        m->settings.all = more;
    if (!more || !s.script || !s.name || !s.value) {
        free_setting(&s);
        return fail(m, -ENOMEM, "not enough memory for the settings");
    }
    more[len] = s;
    m->settings.len = len + 1;
    return 0;
}

static bool has_script(const struct moonwatch *m, const char *name)
{
    const struct crew_script *script;
    char stem[64];
    for (int i = 0; (script = crew_script_at(m->crew, i)); i++) {
        source_stem(script->name ? script->name : "", stem, sizeof stem);
        if (!strcmp(stem, name))
            return true;
    }
    return false;
}

/* What is set for nobody would be found missing when it is too late. */
static int check_settings(struct moonwatch *m)
{
    m->settings.strict = true;
    for (int i = 0; i < m->settings.len; i++) {
        const struct host_setting *s = &m->settings.all[i];
        if (!has_script(m, s->script))
            return fail(m, -EINVAL, "--set %s.%s: no script is named %s.lua", s->script, s->name,
                        s->script);
    }
    return 0;
}

/* --- events -------------------------------------------------------------------------------- */

static void tell_embedder(struct moonwatch *m, const struct event_box *box)
{
    if (m->options.on_event)
        m->options.on_event(m->options.ctx, (const struct moonwatch_event *)&box->ev);
}

static void to_ring(void *ctx, struct event_box *box)
{
    struct moonwatch *m = ctx;
    crew_write(m->crew, box);
    tell_embedder(m, box);
}

/* First in line for a processor, but never for long: above its mark the collector becomes one of
 * many, and says so. */
static void guard_priority(struct moonwatch *m)
{
    int64_t now = clock_mono_ns();
    if (m->priority > PRIORITY_NICE || now < m->guard_at_ns)
        return;
    m->guard_at_ns = now + PRIORITY_YIELD_SECONDS * NS_PER_SECOND;
    switch (priority_guard_note(&m->guard, now, clock_thread_cpu_ns())) {
    case PRIORITY_YIELD:
        priority_lower();
        m->yields++;
        log_warn("the collector took more than %d %% of a core for %d s: no longer first in line "
                 "until it is calm, so short processes may lose their names",
                 PRIORITY_YIELD_PERCENT, PRIORITY_YIELD_SECONDS);
        break;
    case PRIORITY_REGAIN:
        priority_raise(m->priority);
        log_warn("calm for %d s: first in line again", PRIORITY_REGAIN_SECONDS);
        break;
    case PRIORITY_KEEP:
        break;
    }
}

_Static_assert(FIGURES_WORDS <= RING_BOARD, "the figures fit onto the ring's board");

static struct figures figures_of(struct moonwatch *m)
{
    struct collector_counters count = collector_count(m->collector);
    return (struct figures){
        .events = count.netlink.received,
        .lost = count.lost,
        .inferred = count.complete.inferred,
        .forged = count.netlink.forged,
        .execs = count.complete.execs,
        .exe_asked = count.complete.exe_asked,
        .args_asked = count.complete.args_asked,
        .exe = count.complete.exe,
        .args = count.complete.args,
        .comm = count.complete.comm,
        .processes = count.tracker.alive,
        .evicted = count.tracker.evicted,
        .unheard = count.source_lost,
        .buffer_bytes = (uint64_t)count.buffer_bytes,
        .fill_permille = (uint64_t)(count.fill * 1000),
    };
}

/* The figures first: who is woken finds them no older than the records. */
static void flush_ring(void *ctx)
{
    struct moonwatch *m = ctx;
    struct figures figures;
    if (m->collector)
        figures = figures_of(m);
    crew_flush(m->crew, m->collector ? &figures : NULL);
    keeper_tidy(m->keeper);
    guard_priority(m);
}

static void ending(struct moonwatch *m, enum moonwatch_end why)
{
    if (m->options.on_end)
        m->options.on_end(m->options.ctx, why);
}

static void ending_output(struct moonwatch *m, int error)
{
    if (error != EPIPE)
        fail(m, -error, "cannot write the output: %s", strerror(error));
    ending(m, error == EPIPE ? MOONWATCH_READER_GONE : MOONWATCH_OUTPUT_LOST);
}

static void to_host(void *ctx, struct event_box *box)
{
    struct moonwatch *m = ctx;
    event_set(box, F_SEQ, (int64_t)++m->seq, WHY_COMPUTED);
    host_event(m->host, &box->ev);
    tell_embedder(m, box);
}

static void flush_host(void *ctx)
{
    struct moonwatch *m = ctx;
    int result = host_flush(m->host);
    keeper_tidy(m->keeper);
    if (result < 0)
        ending_output(m, -result);
}

/* --- what scripts want --------------------------------------------------------------------- */

/* Each field begins to be needed once: a worker cannot make us read all of /proc again and again.
 */
static void need(void *ctx, uint64_t fields)
{
    struct moonwatch *m = ctx;
    if (!m->collector || !(fields & ~m->needs))
        return;
    m->needs |= fields;
    collector_need(m->collector, m->needs);
}

static struct crew_wants wants_of(const struct moonwatch *m)
{
    struct crew_wants wants = crew_wants(m->crew);
    if (m->options.on_event || m->options.record >= 0) /* what is looked at nobody can tell */
        wants = (struct crew_wants){ ON_ALL, wants.threads, UINT64_MAX };
    if (m->flight)
        wants.kinds |= ON_PROCESS; /* those that no script wants are rare */
    return wants;
}

/* A script came, went or has a new version. */
static void wants_changed(void *ctx)
{
    struct moonwatch *m = ctx;
    if (!m->collector)
        return;
    struct crew_wants wants = wants_of(m);
    if (wants.kinds != m->wants.kinds || wants.threads != m->wants.threads)
        collector_subscribe(m->collector, wants.kinds, wants.threads);
    m->wants = wants;
    need(m, wants.needs);
}

static void retell(void *ctx)
{
    struct moonwatch *m = ctx;
    if (m->collector)
        collector_retell(m->collector);
}

static void want_end(void *ctx, enum crew_end why, int error)
{
    struct moonwatch *m = ctx;
    if (why == CREW_OUTPUT)
        ending_output(m, error);
    if (why == CREW_DIED)
        fail(m, -EIO, "%s", crew_error(m->crew));
    if (why != CREW_OUTPUT)
        ending(m, why == CREW_DIED       ? MOONWATCH_WORKER_DIED
                  : why == CREW_RECORDED ? MOONWATCH_RECORDED
                                         : MOONWATCH_STOPPED);
}

static void told_dump(void *ctx, int error, const char *path)
{
    (void)ctx;
    if (error)
        log_error("%s is not written: %s", path, strerror(error));
    else
        log_warn("%s is written", path);
}

/* A script asked for it: there may be nobody who could. */
static void dump(void *ctx, const char *script, double span_s, int64_t pid, int64_t starttime)
{
    struct moonwatch *m = ctx;
    struct watch_dump dump = { .name = script, .before_s = span_s, .after_s = span_s, .pid = pid,
                               .starttime = starttime };
    int result = watch_dump(m, &dump, told_dump, m);
    if (result < 0)
        log_warn("%s: what happened around its alert is not kept: %s", script,
                 result == -ENOENT ? "there is no flight recorder" : strerror(-result));
}

static void dumped(void *ctx, uint32_t number, int error)
{
    struct moonwatch *m = ctx;
    if (m->flight)
        flight_dumped(m->flight, number, error);
}

static void know(void *ctx, void (*sink)(void *to, const struct event *ev), void *to)
{
    struct moonwatch *m = ctx;
    if (m->collector)
        collector_tell(m->collector, sink, to);
}

static void depends(void *ctx, const char *script, const char *file, uint64_t hash)
{
    struct moonwatch *m = ctx;
    int result = shelf_depends(m->shelf, script, file, hash);
    if (result < 0 && result != -ENOENT && !m->unwatched)
        log_warn("%s, and maybe others, is not watched for changes: %s", file, strerror(-result));
    m->unwatched |= result < 0 && result != -ENOENT; /* told once: a worker can ask without end */
}

static struct crew_calls calls_of(struct moonwatch *m)
{
    return (struct crew_calls){ .ctx = m,
                                .wants = wants_changed,
                                .need = need,
                                .retell = retell,
                                .depends = depends,
                                .ending = want_end,
                                .dump = dump,
                                .dumped = dumped,
                                .know = know };
}

/* --- workers --------------------------------------------------------------------------------- */

/* What the tap tells costs nothing more; what /proc has to be read for is read for scripts only. */
static void need_for_flight(struct moonwatch *m)
{
    static const enum event_field basic[] = { F_EXE, F_ARGS, F_COMM, F_UID, F_EUID };
    uint64_t fields = 0;
    if (!m->flight)
        return;
    for (size_t i = 0; i < sizeof basic / sizeof *basic; i++)
        fields |= UINT64_C(1) << basic[i];
    need(m, strstr(collector_count(m->collector).sources, "tap") ? UINT64_MAX : fields);
}

/* Memory that is not there when an event comes costs the event. Only pages that are used are
 * locked; without the right to, it goes on without. */
static void lock_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
        log_info("memory is not locked: %s", strerror(errno));
}

static int open_collector(struct moonwatch *m, const struct collector_options *options)
{
    const char *why = "";
    bool worker = m->options.worker;
    int result = collector_open(&m->collector, options, worker ? to_ring : to_host,
                                worker ? flush_ring : flush_host, m, &why);
    return result < 0 ? fail(m, result, "%s", why) : 0;
}

static int open_proc(struct moonwatch *m, const char *proc)
{
    int result = procfs_open(&m->proc, proc);
    return result < 0 ? fail(m, result, "cannot open %s: %s", proc, strerror(-result)) : 0;
}

static int start_crew(struct moonwatch *m, struct host *host)
{
    int result = crew_start(m->crew, host);
    return result < 0 ? fail(m, result, "%s", crew_error(m->crew)) : 0;
}

static void take_wants(struct moonwatch *m, struct collector_options *options)
{
    m->wants = wants_of(m);
    m->needs = m->wants.needs;
    options->kinds = m->wants.kinds;
    options->threads = m->wants.threads;
    options->needs = m->needs;
}

/* --- what is written down ---------------------------------------------------------------------- */

static int load_rules(struct moonwatch *m)
{
    char why[512];
    const char *file = m->options.redact;
    if (file && !strcmp(file, "none"))
        return 0;
    int result = secrets_load(&m->secrets, file, why, sizeof why);
    return result < 0 ? fail(m, -EINVAL, "%s", why) : 0;
}

/* Without a place for it the watch does without a flight recorder. */
static void open_flight(struct moonwatch *m)
{
    char why[512];
    if (!m->options.flight_bytes || !m->options.state_dir)
        return;
    if (flight_open(&m->flight, m->options.state_dir, why, sizeof why) < 0)
        log_info("no flight recorder: %s", why);
}

static int open_record(struct moonwatch *m)
{
    bool file = m->options.record >= 0;
    if (!file)
        open_flight(m);
    if (!file && !m->flight)
        return 0;
    int result = load_rules(m);
    m->record = (struct recorder_options){ .fd = m->options.record,
                                           .dir = m->flight ? flight_dir(m->flight) : -1,
                                           .bytes = file ? m->options.record_bytes
                                                         : m->options.flight_bytes,
                                           .table_bytes = m->options.table_bytes,
                                           .rules = m->secrets };
    crew_record(m->crew, &m->record);
    return result;
}

/* The workers first: so their own start is no news, and their scripts say what to ask the kernel
 * for. */
static int start_with_workers(struct moonwatch *m, struct collector_options *options)
{
    int result = open_proc(m, options->proc);
    if (result == 0)
        result = open_record(m);
    if (result == 0)
        result = start_crew(m, NULL);
    if (result < 0)
        return result;
    take_wants(m, options);
    result = open_collector(m, options);
    if (result < 0)
        return result;
    need_for_flight(m);
    crew_listen(m->crew, m->loop);
    if (m->options.realtime) {
        m->priority = priority_raise((enum priority)m->options.priority);
        lock_memory();
    }
    return 0;
}

/* --- one process ------------------------------------------------------------------------------ */

static int request_here(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                        struct buf *out, int *fds)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    int got[REQUEST_FDS];
    return steward_answer(m->steward, kind, bytes, len, out, fds ? fds : got);
}

static void figures_here(void *ctx, struct figures *out)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    if (m->collector) /* not yet while the scripts are loaded */
        *out = figures_of(m);
}

static void stop_here(void *ctx)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    ending(m, MOONWATCH_STOPPED);
}

static void on_needing(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct moonwatch *m = watcher->data;
    (void)loop, (void)events;
    collector_need(m->collector, m->needs);
}

/* Comparing with /proc makes events, and one is being handled right now: do it next. */
static void need_here(void *ctx, uint64_t fields)
{
    struct world *world = ctx;
    struct moonwatch *m = (struct moonwatch *)((char *)world - offsetof(struct moonwatch, world));
    if (!m->collector || !(fields & ~m->needs))
        return; /* of scripts that are being loaded host_needs tells */
    m->needs |= fields;
    ev_timer_start(m->loop, &m->needing);
}

/* One state has one profile: that of who may the most. */
static struct host_options host_options_of(const struct moonwatch *m)
{
    struct host_options host = {
        .table_bytes = m->options.table_bytes,
        .boot = event_boot_id(),
        .fd = m->options.output,
        .json = m->options.json,
        .print_all = m->options.print,
        .settings = &m->settings,
        .output_lock = -1,
    };
    const struct crew_script *s;
    for (int i = 0; (s = crew_script_at(m->crew, i)); i++)
        if (s->trusted)
            host.profile = PROFILE_TRUSTED;
    return host;
}

/* When there is only to be loaded, nothing will be due. */
static int open_host(struct moonwatch *m, const char *proc)
{
    struct host_options host = host_options_of(m);
    host.world = (struct host_world){
                   .ctx = &m->world,
                   .request = request_here,
                   .stop = stop_here,
                   .need = need_here,
                   .figures = figures_here,
                   .alarm = world_alarm,
                   .clock = world_clock,
                   .writable_start = world_writable_start,
                   .writable_stop = world_writable_stop };
    if (m->only_load) {
        host.world.alarm = NULL;
        host.world.stop = NULL;
    }
    world_init(&m->world, m->loop);
    ev_timer_init(&m->needing, on_needing, 0, 0);
    m->needing.data = m;
    int result = open_proc(m, proc);
    if (result < 0)
        return result;
    if (steward_new(&m->steward, crew_means(m->crew)) < 0 || host_new(&m->host, &host) < 0)
        return fail(m, -ENOMEM, "not enough memory for the script host");
    m->world.host = m->host;
    return 0;
}

static int load_here(struct moonwatch *m, const char *proc)
{
    int result = open_host(m, proc);
    if (result < 0)
        return result;
    world_tell_time(&m->world);
    return start_crew(m, m->host);
}

/* The scripts first, as with workers: they say what to ask the kernel for. */
static int start_in_one(struct moonwatch *m, struct collector_options *options)
{
    int result = load_here(m, options->proc);
    if (result < 0)
        return result;
    take_wants(m, options);
    result = open_collector(m, options);
    if (result == 0)
        crew_listen(m->crew, m->loop);
    return result;
}

/* --- life ------------------------------------------------------------------------------------- */

int moonwatch_start(struct moonwatch *m, struct ev_loop *loop)
{
    struct collector_options options = {
        .buffer_bytes = (int)m->options.buffer_bytes,
        .table_bytes = m->options.table_bytes,
        .proc = "/proc",
        .tap = !(m->options.without & MOONWATCH_TAP),
        .taskstats = !(m->options.without & MOONWATCH_TASKSTATS),
        .delay_s = m->options.delay,
    };
    m->loop = loop;
    m->began_ns = clock_mono_ns();
    int result = check_settings(m);
    if (result < 0)
        return result;
    result = m->options.worker ? start_with_workers(m, &options) : start_in_one(m, &options);
    if (result < 0)
        return result;
    collector_start(m->collector, loop);
    result = shelf_watch(m->shelf, loop);
    if (result < 0)
        log_warn("changes of scripts are not seen: %s", strerror(-result));
    return 0;
}

/* --- what a start would ask for --------------------------------------------------------------- */

static int load_only(struct moonwatch *m)
{
    if (!m->options.worker)
        return load_here(m, "/proc");
    int result = open_proc(m, "/proc");
    if (result == 0)
        result = start_crew(m, NULL);
    if (result == 0 && (result = crew_hear_out(m->crew)) < 0)
        fail(m, result, "%s", crew_error(m->crew));
    return result;
}

static int keep_scripts(struct moonwatch *m, struct watch_wants *wants)
{
    int n = 0;
    while (crew_script_at(m->crew, n))
        n++;
    wants->scripts = calloc((size_t)n + 1, sizeof *wants->scripts);
    if (!wants->scripts)
        return fail(m, -ENOMEM, "not enough memory for the plan");
    for (; wants->scripts_len < n; wants->scripts_len++)
        wants->scripts[wants->scripts_len] = crew_script_at(m->crew, wants->scripts_len)->figures;
    return 0;
}

/* What scripts print while they are loaded is no part of the answer. */
int watch_wants(struct moonwatch *m, struct watch_wants *wants)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return fail(m, -errno, "cannot open /dev/null: %s", strerror(errno));
    *wants = (struct watch_wants){ 0 };
    m->options.output = nowhere;
    m->only_load = true;
    crew_only_load(m->crew, nowhere);
    int result = check_settings(m);
    if (result == 0)
        result = load_only(m);
    if (result == 0 && m->host)
        crew_ask(m->crew, false, NULL, NULL);
    if (result == 0)
        result = keep_scripts(m, wants);
    struct crew_wants all = wants_of(m);
    host_free(m->host); /* before its output goes */
    m->host = NULL;
    close(nowhere);
    wants->kinds = all.kinds;
    wants->threads = all.threads;
    wants->needs = all.needs;
    return result;
}

/* --- figures ---------------------------------------------------------------------------------- */

static struct moonwatch_script_summary summary_of(const struct crew_script *s)
{
    struct moonwatch_script_summary summary = { .events = s->figures.events,
                                                .errors = s->figures.errors,
                                                .alerts = s->figures.alerts,
                                                .undecided = s->figures.undecided,
                                                .off = s->state == SCRIPT_OFF ? s->why : NULL,
                                                .rules = s->rules.count,
                                                .rules_blind = s->rules.blind };
    for (; summary.worst_len < s->worst_len && summary.worst_len < MOONWATCH_RULES_TOLD;
         summary.worst_len++)
        memcpy(&summary.worst[summary.worst_len], &s->worst[summary.worst_len],
               sizeof *summary.worst);
    memcpy(summary.name, s->figures.name, sizeof summary.name);
    return summary;
}

_Static_assert(sizeof(struct moonwatch_rule_summary) == sizeof(struct host_rule) &&
                   offsetof(struct moonwatch_rule_summary, undecided) ==
                       offsetof(struct host_rule, undecided),
               "they are the same for both");

/* Of all that were loaded once. */
static void summarize_scripts(struct moonwatch *m)
{
    const struct crew_script *s;
    m->summaries_len = 0;
    for (int i = 0; (s = crew_script_at(m->crew, i)); i++) {
        struct moonwatch_script_summary *more =
            realloc(m->summaries, (size_t)(i + 1) * sizeof *more);
        if (!more)
            return;
        m->summaries = more;
        if (*s->figures.name)
            more[m->summaries_len++] = summary_of(s);
    }
}

/* --- replays ---------------------------------------------------------------------------------- */

int watch_open_host(struct moonwatch *m, const struct host_world *world, uint64_t boot,
                    struct host_counts *counts, struct host **out)
{
    struct host_options host = host_options_of(m);
    host.world = *world;
    host.boot = boot;
    host.counts = counts;
    host.errors_a_minute = m->options.errors_a_minute;
    int result = check_settings(m);
    if (result < 0)
        return result;
    if ((!m->steward && steward_new(&m->steward, crew_means(m->crew)) < 0) || host_new(&m->host, &host) < 0)
        return fail(m, -ENOMEM, "not enough memory for the script host");
    *out = m->host;
    return 0;
}

int watch_load(struct moonwatch *m)
{
    return start_crew(m, m->host);
}

bool watch_source(const struct moonwatch *m, int index, struct host_source *out)
{
    const struct crew_script *s = crew_script_at(m->crew, index);
    if (s)
        *out = (struct host_source){ .id = s->id, .name = s->name, .text = s->text, .len = s->len };
    return s;
}

int watch_answer(struct moonwatch *m, enum request_kind kind, const void *bytes, size_t len,
                 struct buf *out, int *fds)
{
    int got[REQUEST_FDS];
    return steward_answer(m->steward, kind, bytes, len, out, fds ? fds : got);
}

int watch_fail(struct moonwatch *m, int error, const char *why)
{
    return fail(m, error, "%s", why);
}

int watch_fail_output(struct moonwatch *m, int error)
{
    return fail(m, -error, "cannot write the output: %s", strerror(error));
}

void watch_end_replay(struct moonwatch *m)
{
    if (!m->host)
        return;
    crew_ask(m->crew, false, NULL, NULL);
    summarize_scripts(m);
    host_free(m->host);
    m->host = NULL;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void stop_host(struct moonwatch *m)
{
    world_fini(&m->world);
    world_tell_time(&m->world);
    host_finish(m->host);
}

void moonwatch_stop(struct moonwatch *m)
{
    if (!m->loop || !m->collector)
        return;
    m->options.on_end = NULL; /* it is ending */
    shelf_free(m->shelf);
    m->shelf = NULL;
    m->answered = NULL;
    m->asked = NULL;
    collector_stop(m->collector);
    if (m->host)
        stop_host(m);
    crew_stop(m->crew);
    summarize_scripts(m);
    ev_timer_stop(m->loop, &m->needing);
    m->loop = NULL;
}

/* What stewards need, and the recorder. */
static void free_means(struct moonwatch *m)
{
    flight_close(m->flight);
    secrets_free(m->secrets);
    vault_free(m->vault);
    signals_free(m->signals);
    keeper_free(m->keeper); /* after all who write: children see the end of their input */
    if (m->proc.root >= 0)
        procfs_close(&m->proc);
}

void moonwatch_free(struct moonwatch *m)
{
    if (!m)
        return;
    moonwatch_stop(m);
    bool answered = crew_free(m->crew);
    shelf_free(m->shelf);
    steward_free(m->steward, 0); /* has no thread */
    host_free(m->host);
    if (answered)
        free_means(m);
    else
        log_warn("a question of a script is still being answered: what that needs is left behind");
    collector_free(m->collector);
    while (m->settings.len)
        free_setting(&m->settings.all[--m->settings.len]);
    free(m->settings.all);
    free(m->summaries);
    buf_free(&m->error);
    free(m);
}

void moonwatch_summarize(struct moonwatch *m, struct moonwatch_summary *out)
{
    *out = (struct moonwatch_summary){ .priority = priority_text(m->priority),
                                       .yields = m->yields,
                                       .sources = "none",
                                       .missed = crew_missed(m->crew),
                                       .scripts = m->summaries,
                                       .scripts_len = m->summaries_len };
    if (!m->collector)
        return;
    struct figures f = figures_of(m);
    out->events = f.events;
    out->lost = f.lost;
    out->forged = f.forged;
    out->inferred = f.inferred;
    out->execs = f.execs;
    out->exe_asked = f.exe_asked;
    out->args_asked = f.args_asked;
    out->exe = f.exe;
    out->args = f.args;
    out->comm = f.comm;
    out->processes = f.processes;
    out->evicted = f.evicted;
    out->unheard = f.unheard;
    out->sources = collector_count(m->collector).sources;
    out->buffer_bytes = (size_t)f.buffer_bytes;
}

bool moonwatch_recorded(struct moonwatch *m, struct moonwatch_recorded *out)
{
    struct recorder_counters c;
    if (!crew_recorded(m->crew, &c))
        return false;
    *out = (struct moonwatch_recorded){ .events = c.events,
                                        .notes = c.notes,
                                        .bytes = c.bytes,
                                        .missed = c.missed,
                                        .dropped = c.dropped,
                                        .notes_lost = c.notes_lost,
                                        .redacted = c.redacted,
                                        .error = c.error,
                                        .flight = m->flight };
    return true;
}

/* Whoever asks while an answer is on its way gets the same one. */
static void answer(void *ctx)
{
    struct moonwatch *m = ctx;
    moonwatch_answered *answered = m->answered;
    void (*done)(void *ctx) = m->asked;
    m->answered = NULL;
    m->asked = NULL;
    summarize_scripts(m);
    if (answered)
        answered(m->answered_ctx);
    if (done)
        done(m->asked_ctx);
}

void moonwatch_ask_scripts(struct moonwatch *m, moonwatch_answered *answered, void *ctx)
{
    m->answered = answered;
    m->answered_ctx = ctx;
    crew_ask(m->crew, false, answer, m);
}

/* --- for the rest of embed/ ------------------------------------------------------------------- */

void watch_ask(struct moonwatch *m, void (*done)(void *ctx), void *ctx)
{
    m->asked = done;
    m->asked_ctx = ctx;
    crew_ask(m->crew, true, answer, m);
}

int watch_dump(struct moonwatch *m, const struct watch_dump *what, flight_done *done, void *ctx)
{
    struct recorder *recorder = crew_recorder(m->crew);
    int64_t now_ns = clock_real_ns();
    struct recorder_dump dump = { .from_ns = now_ns - (int64_t)(what->before_s * 1e9),
                                  .until_ns = now_ns + (int64_t)(what->after_s * 1e9),
                                  .pid = what->pid,
                                  .starttime = what->starttime };
    if (!m->flight || !recorder)
        return -ENOENT;
    return flight_dump(m->flight, recorder, what->name, dump, done, ctx);
}

struct crew *watch_crew(const struct moonwatch *m)
{
    return m->crew;
}

struct shelf *watch_shelf(const struct moonwatch *m)
{
    return m->shelf;
}

const struct moonwatch_options *watch_options(const struct moonwatch *m)
{
    return &m->options;
}

double watch_uptime_s(const struct moonwatch *m)
{
    return (double)(clock_mono_ns() - m->began_ns) / (double)NS_PER_SECOND;
}

struct asker *watch_askers(struct moonwatch *m, struct asker *list)
{
    struct asker *before = m->askers;
    m->askers = list;
    return list ? list : before;
}
