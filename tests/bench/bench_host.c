/* bench_host.c - what the parts behind the socket cost: an event to scripts, a record through the
 * ring, a process through the table.
 *
 *   bench_host [RUNS [NAME]]    NAME: only this figure, or those that begin so when it ends in '-'
 *
 * Feeds made-up exec records of 8192 processes, each with a parent, all different. Prints one line
 * for each figure: NAME MEDIAN MIN MAX, in nanoseconds of CPU time (of wall time for two threads);
 * for pause-* the median, p99 and p99.99 of single events, for gc-* the percentage of the time.
 * "interpreted" is the policy profile, in which nothing is compiled. */
#include "base/buf.h"
#include "base/clock.h"
#include "collect/tracker.h"
#include "host/state.h"
#include "ring/ring.h"
#include "sink/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES  8192
#define PARENTS    64
#define FIRST_PID  10000
#define RUNS_MAX   99

static struct event *forks[PROCESSES], *execs[PROCESSES], *exits[PROCESSES], *parents[PARENTS];
static int runs = 5;
static const char *only = "";

static bool wanted(const char *name)
{
    size_t len = strlen(only);
    bool part = !len || only[len - 1] == '-';
    return part ? !strncmp(name, only, len) : !strcmp(name, only);
}

/* --- records ------------------------------------------------------------------------------ */

static struct event_box box;

static void text(enum event_field field, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void text(enum event_field field, const char *format, ...)
{
    char bytes[128];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(bytes, sizeof bytes, format, args);
    va_end(args);
    event_set_text(&box, field, bytes, (size_t)len, WHY_PROC);
}

static void begin(enum event_kind kind, int pid, int ppid, int number)
{
    event_begin(&box, kind);
    event_set(&box, F_SEQ, number + 1, WHY_COMPUTED);
    event_set(&box, F_TIME, INT64_C(1700000000000000000) + number * INT64_C(1000), WHY_KERNEL);
    event_set(&box, F_MONO, INT64_C(500000000000) + number * INT64_C(1000), WHY_KERNEL);
    event_set(&box, F_CPU, number % 2, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    for (enum event_field f = F_UID; f <= F_EGID; f++)
        event_set(&box, f, 1000, WHY_PROC);
    event_set(&box, F_SID, ppid, WHY_PROC);
    event_set(&box, F_LOGINUID, 1000, WHY_PROC);
    event_set(&box, F_START, INT64_C(1700000000000000000) + number, WHY_KERNEL);
    event_set(&box, F_STARTTIME, 50000, WHY_COMPUTED);
    event_set(&box, F_EXECS, kind == EVENT_EXEC, WHY_COMPUTED);
    text(F_CWD, "/home/user/src/project-%d", number % 16);
    text(F_TTY, "pts/%d", number % 4);
    text(F_CGROUP, "/user.slice/user-1000.slice/session-%d.scope", number % 4);
    text(F_COMM, "program-%d", number % 256);
    text(F_EXE, "/usr/bin/program-%d", number % 256);
}

static void set_args(int number)
{
    char bytes[256];
    int len = snprintf(bytes, sizeof bytes, "program-%d%c--option%c%d%c--output=build/obj/%d.o%cfile.c",
                       number % 256, 0, 0, number, 0, number, 0);
    event_set_text(&box, F_ARGS, bytes, (size_t)len + 1, WHY_PROC);
}

static struct event *kept(void)
{
    struct event *copy = malloc(box.ev.size);
    if (!copy)
        exit(1);
    memcpy(copy, &box.ev, box.ev.size);
    return copy;
}

static void make_records(void)
{
    for (int i = 0; i < PARENTS; i++) {
        begin(EVENT_SNAPSHOT, 1000 + i, 1, i);
        set_args(i);
        parents[i] = kept();
    }
    for (int i = 0; i < PROCESSES; i++) {
        int pid = FIRST_PID + i, ppid = 1000 + i % PARENTS;
        begin(EVENT_FORK, pid, ppid, i);
        forks[i] = kept();
        begin(EVENT_EXEC, pid, ppid, i);
        set_args(i);
        text(F_WAS_COMM, "parent-%d", i % PARENTS);
        text(F_WAS_EXE, "/usr/bin/parent-%d", i % PARENTS);
        execs[i] = kept();
        begin(EVENT_EXIT, pid, ppid, i);
        set_args(i);
        event_set(&box, F_CODE, 0, WHY_KERNEL);
        event_set(&box, F_DURATION, 1000000, WHY_COMPUTED);
        exits[i] = kept();
    }
}

/* --- figures ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, double *ns)
{
    qsort(ns, (size_t)runs, sizeof *ns, by_size);
    printf("%s %.0f %.0f %.0f\n", name, ns[runs / 2], ns[0], ns[runs - 1]);
    fflush(stdout);
}

/* --- an event to scripts ------------------------------------------------------------------ */

static const char filter_script[] =
    "local mw = require 'moonwatch'\n"
    "local hits = 0\n"
    "return mw.script { name = 'filter', on = { exec = function(ev)\n"
    "  if ev.uid == 1000 and ev.comm == 'program-7' and ev.ppid > 1 then hits = hits + 1 end\n"
    "end } }\n";

static const char touch_script[] =
    "local mw = require 'moonwatch'\n"
    "local sum = 0\n"
    "return mw.script { name = 'touch', on = { exec = function(ev)\n"
    "  local n = 0\n"
    "  for key, value in pairs(ev) do n = n + #key end\n"
    "  for _, arg in ipairs(ev.args) do n = n + #arg end\n"
    "  local parent = ev.parent\n"
    "  if parent then n = n + parent.pid + #parent.comm end\n"
    "  sum = sum + n\n"
    "end } }\n";

static void no_stop(void *ctx)
{
    (void)ctx;
}

static struct host *new_host(const char *script, int scripts, bool compiled)
{
    struct host_options options = {
        .world = { .stop = no_stop },
        .table_bytes = 64 << 20,
        .profile = compiled ? PROFILE_TRUSTED : PROFILE_POLICY,
        .fd = open("/dev/null", O_WRONLY),
    };
    struct host *h;
    if (host_new(&h, &options))
        exit(1);
    for (int i = 0; i < scripts; i++)
        if (host_load(h, "=bench", script, strlen(script))) {
            fprintf(stderr, "bench_host: %s\n", host_error(h));
            exit(1);
        }
    for (int i = 0; i < PARENTS; i++)
        host_event(h, parents[i]);
    for (int i = 0; i < PROCESSES; i++)
        host_event(h, forks[i]);
    return h;
}

static void measure_script(const char *name, const char *script, int scripts, int laps,
                           bool compiled)
{
    double ns[RUNS_MAX];
    char title[64];
    snprintf(title, sizeof title, "%s-%s%d", name, compiled ? "" : "interpreted-", scripts);
    if (!wanted(title))
        return;
    struct host *h = new_host(script, scripts, compiled);

    for (int i = 0; i < PROCESSES; i++) /* warm: traces are compiled, strings interned */
        host_event(h, execs[i]);
    for (int run = 0; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int lap = 0; lap < laps; lap++)
            for (int i = 0; i < PROCESSES; i++)
                host_event(h, execs[i]);
        ns[run] = (double)(clock_cpu_ns() - began) / laps / PROCESSES;
    }
    host_free(h);
    print(title, ns);
}

static void measure_host(const char *name, const char *script, int scripts, int laps)
{
    if (scripts)
        measure_script(name, script, scripts, laps, false);
    measure_script(name, script, scripts, laps, true);
}

/* --- the garbage collector ---------------------------------------------------------------- */

/* The touching script, with this many tables that live on. */
static const char *with_live_entries(int live)
{
    static char text[sizeof touch_script + 100];
    snprintf(text, sizeof text, "live = {} for i = 1, %d do live[i] = { n = i } end\n%s", live,
             touch_script); /* of the environment: a local would not outlive the loading */
    return text;
}

/* How long single events take: the collector works a step at a time within them. */
static void measure_pauses(int live, bool compiled)
{
    int n = runs < 5 ? 100000 : 300000;
    if (!wanted("pause-"))
        return;
    double *ns = calloc((size_t)n, sizeof *ns);
    struct host *h = new_host(with_live_entries(live), 1, compiled);
    if (!ns)
        exit(1);
    for (int i = 0; i < PROCESSES; i++)
        host_event(h, execs[i]);
    for (int i = 0; i < n; i++) {
        int64_t began = clock_thread_cpu_ns(); /* others on the machine are no pause of ours */
        host_event(h, execs[i % PROCESSES]);
        ns[i] = (double)(clock_thread_cpu_ns() - began);
    }
    qsort(ns, (size_t)n, sizeof *ns, by_size);
    printf("pause-%s%d %.0f %.0f %.0f\n", compiled ? "" : "interpreted-", live, ns[n / 2],
           ns[n / 100 * 99], ns[n / 10000 * 9999]);
    fflush(stdout);
    free(ns);
    host_free(h);
}

/* Whole cycles by hand, each when the heap has doubled, as the collector does it step by step:
 * its steps cannot be timed from outside. */
static double gc_percent(struct host *h)
{
    int64_t collecting = 0, began = clock_cpu_ns();
    lua_gc(h->L, LUA_GCCOLLECT, 0);
    int live_kib = lua_gc(h->L, LUA_GCCOUNT, 0);
    int64_t before = clock_cpu_ns() - began;
    for (int i = 0, cycles = 0; i < 4 * PROCESSES || cycles < 2; i++) {
        lua_gc(h->L, LUA_GCSTOP, 0);
        host_event(h, execs[i % PROCESSES]);
        if (lua_gc(h->L, LUA_GCCOUNT, 0) < 2 * live_kib)
            continue;
        int64_t from = clock_cpu_ns();
        lua_gc(h->L, LUA_GCCOLLECT, 0);
        collecting += clock_cpu_ns() - from;
        cycles++;
    }
    return 100.0 * (double)collecting / (double)(clock_cpu_ns() - began - before);
}

static void measure_gc(int live, bool compiled)
{
    double percent[RUNS_MAX];
    if (!wanted("gc-"))
        return;
    struct host *h = new_host(with_live_entries(live), 1, compiled);
    for (int run = 0; run < runs; run++)
        percent[run] = gc_percent(h);
    host_free(h);
    qsort(percent, (size_t)runs, sizeof *percent, by_size);
    printf("gc-%s%d %.1f %.1f %.1f\n", compiled ? "" : "interpreted-", live, percent[runs / 2],
           percent[0], percent[runs - 1]);
    fflush(stdout);
}

/* --- what surrounds a call ---------------------------------------------------------------- */

/* The marks for who watches from outside, and the clock for a sample of the calls. */
static void measure_budget(void)
{
    enum { CALLS = 1000000 };
    double ns[RUNS_MAX];
    struct budget budget;
    struct tally times = { 0 };
    budget_init(&budget, NULL, 50000000, 0);
    for (int run = 0; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int i = 0; i < CALLS; i++) {
            int64_t from = i % 8 ? 0 : clock_mono_ns();
            budget_served(&budget, 1);
            budget_begin(&budget, 1);
            budget_end(&budget);
            if (from)
                tally_add(&times, clock_mono_ns() - from);
        }
        ns[run] = (double)(clock_cpu_ns() - began) / CALLS;
    }
    print("budget-call", ns);
}

/* --- what scripts keep -------------------------------------------------------------------- */

static void measure_store(void)
{
    enum { PUTS = 2000 };
    double ns[RUNS_MAX];
    struct buf why = { 0 };
    char path[] = "/tmp/moonwatch-bench-XXXXXX", file[STORE_FILE], value[80] = "";
    size_t cut;
    int dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY) : -1;
    struct store store = { .fd = store_open(dir, "bench", "put", &cut, &why), .most = 1 << 20 };
    for (int run = 0; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int i = 0; i < PUTS; i++)
            if (store_put(&store, (char *)&i, sizeof i, value, sizeof value,
                          run ? store_cost(sizeof i, sizeof value) : 0) < 0)
                exit(1);
        ns[run] = (double)(clock_cpu_ns() - began) / PUTS;
    }
    print("store-put", ns);
    close(store.fd);
    store_file_name("bench", "put", file);
    unlinkat(dir, file, 0);
    close(dir);
    rmdir(path);
    buf_free(&why);
}

/* --- an event that is added up in a storm ------------------------------------------------- */

static const char storm_script[] =
    "local mw = require 'moonwatch'\n"
    "local told, summed = 0, 0\n"
    "local function count() told = told + 1 end\n"
    "return mw.script { name = 'storm', on = { fork = count, exec = count, exit = count,\n"
    "  storm = function(ev) summed = summed + (ev.summed or 0) end } }\n";

/* The process table's part included; 256 programs under 64 parents, each of a program of its own. */
static void measure_storm(void)
{
    double ns[RUNS_MAX];
    struct host *h = new_host(storm_script, 1, true);

    host_pressure(h, 1, clock_mono_ns());
    for (int run = -1; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int lap = 0; lap < 4; lap++)
            for (int i = 0; i < PROCESSES; i++) {
                host_event(h, forks[i]);
                host_event(h, execs[i]);
                host_event(h, exits[i]);
            }
        host_pressure(h, 1, clock_mono_ns());
        if (run >= 0)
            ns[run] = (double)(clock_cpu_ns() - began) / 4 / PROCESSES / 3;
    }
    host_free(h);
    print("storm-summed-event", ns);
}

/* --- a record through the ring ------------------------------------------------------------ */

static struct event_box written, got;

static void ring_exec(struct ring *r, int i)
{
    memcpy(&written.ev, execs[i], execs[i]->size);
    ring_write(r, &written);
}

/* As in the collector: a batch is written, then the reader takes it. */
static void measure_ring(void)
{
    double ns[RUNS_MAX];
    struct ring *r;
    uint64_t missed;

    if (ring_new(&r, 8 << 20))
        exit(1);
    for (int run = 0; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int lap = 0; lap < 8; lap++)
            for (int i = 0; i < PROCESSES; i += 32) {
                for (int j = 0; j < 32; j++)
                    ring_exec(r, i + j);
                ring_flush(r);
                while (ring_read(r, 0, &got, &missed) == 1)
                    ;
            }
        ns[run] = (double)(clock_cpu_ns() - began) / 8 / PROCESSES;
    }
    ring_free(r);
    print("ring-same-thread", ns);
}

static void *write_all(void *ctx)
{
    struct ring *r = ctx;
    for (int lap = 0; lap < 8; lap++)
        for (int i = 0; i < PROCESSES; i++) {
            while (ring_waiting(r, 0) > 4 << 20)
                sched_yield();
            ring_exec(r, i);
        }
    ring_finish(r);
    return NULL;
}

static void measure_ring_threads(void)
{
    double ns[RUNS_MAX];

    for (int run = 0; run < runs; run++) {
        struct ring *r;
        pthread_t writer;
        uint64_t missed;
        int result;
        if (ring_new(&r, 8 << 20))
            exit(1);
        int64_t began = clock_mono_ns();
        if (pthread_create(&writer, NULL, write_all, r))
            exit(1);
        while ((result = ring_read(r, 0, &got, &missed)) >= 0)
            if (!result)
                sched_yield();
        ns[run] = (double)(clock_mono_ns() - began) / 8 / PROCESSES;
        pthread_join(writer, NULL);
        ring_free(r);
    }
    print("ring-two-threads", ns);
}

/* --- a process through the table ---------------------------------------------------------- */

static void measure_tracker(void)
{
    double ns[RUNS_MAX];
    struct tracker *t = tracker_new(64 << 20);

    if (!t)
        exit(1);
    for (int i = 0; i < PARENTS; i++)
        tracker_apply(t, parents[i]);
    for (int run = -1; run < runs; run++) {
        int64_t began = clock_cpu_ns();
        for (int lap = 0; lap < 4; lap++)
            for (int i = 0; i < PROCESSES; i++) {
                tracker_apply(t, forks[i]);
                tracker_apply(t, execs[i]);
                tracker_apply(t, exits[i]);
            }
        if (run >= 0)
            ns[run] = (double)(clock_cpu_ns() - began) / 4 / PROCESSES;
    }
    tracker_free(t);
    print("tracker-lifecycle", ns);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        runs = atoi(argv[1]);
    if (argc > 2)
        only = argv[2];
    if (runs < 1 || runs > RUNS_MAX)
        return 2;
    make_records();
    measure_host("filter", NULL, 0, 8);
    measure_host("filter", filter_script, 1, 8);
    measure_host("filter", filter_script, 10, 8);
    measure_host("filter", filter_script, 100, 4);
    measure_host("touch", touch_script, 1, 8);
    measure_host("touch", touch_script, 10, 4);
    measure_host("touch", touch_script, 100, 1);
    static const int lives[] = { 0, 10000, 100000 };
    for (int i = 0; i < 6; i++)
        measure_pauses(lives[i / 2], i % 2);
    for (int i = 0; i < 6; i++)
        measure_gc(lives[i / 2], i % 2);
    static void (*const others[])(void) = { measure_budget,       measure_store,
                                            measure_storm,        measure_ring,
                                            measure_ring_threads, measure_tracker };
    static const char *const names[] = { "budget-call", "store-put",
                                         "storm-summed-event", "ring-same-thread",
                                         "ring-two-threads", "tracker-lifecycle" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (wanted(names[i]))
            others[i]();
    return 0;
}
