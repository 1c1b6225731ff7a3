/* bench_record.c - what it costs to record an event and to read it again, and how large it is then.
 *
 *   bench_record --record FILE COMMAND...   record what happens on this host while COMMAND runs
 *   bench_record FILE...                    measure with the events of these recordings
 *
 * Prints medians of several runs, in nanoseconds of processor time per event, for whole recordings
 * that are flushed once a second of the events' own time. */
#include "record/recording.h"

#include "base/clock.h"
#include "collect/collector.h"
#include "record/redact.h"

#include "../unit/redact_rules.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS 9
#define MIB  (1024 * 1024)

static struct event_box box;

/* --- recording -------------------------------------------------------------------------------- */

static uint64_t seq;

static void keep(void *ctx, struct event_box *told)
{
    event_set(told, F_SEQ, (int64_t)++seq, WHY_COMPUTED);
    recording_event(ctx, &told->ev, false);
}

static void flush(void *ctx)
{
    (void)ctx;
}

static void ended(struct ev_loop *loop, ev_child *child, int events)
{
    (void)child, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static int run_beside(struct collector *c, char **command)
{
    struct ev_loop *loop = ev_default_loop(0);
    ev_child child;
    collector_start(c, loop);
    pid_t pid = fork();
    if (!pid) {
        execvp(*command, command);
        _exit(127);
    }
    ev_child_init(&child, ended, pid, 0);
    ev_child_start(loop, &child);
    ev_run(loop, 0);
    collector_stop(c);
    return child.rstatus;
}

static int record(const char *path, char **command)
{
    struct recording_head head = { .boot = event_boot_id(),
                                   .real_ns = clock_real_ns(),
                                   .mono_ns = clock_mono_ns() };
    struct collector_options options = { .buffer_bytes = 64 * MIB,
                                         .table_bytes = 64 * MIB,
                                         .proc = "/proc",
                                         .kinds = ON_ALL,
                                         .needs = UINT64_MAX,
                                         .tap = true,
                                         .taskstats = true,
                                         .delay_s = 0.008 };
    struct recording_writer *w;
    struct collector *c;
    const char *why = "";
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gethostname(head.host, sizeof head.host - 1);
    int result = fd < 0 ? -errno : recording_begin(&w, fd, &head);
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-result));
        return 1;
    }
    result = collector_open(&c, &options, keep, flush, w, &why);
    if (result < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    int status = run_beside(c, command);
    printf("%" PRIu64 " events, %" PRIu64 " lost, status %d\n", seq, collector_count(c).lost,
           status);
    collector_free(c);
    return recording_end(w) != 0;
}

/* --- measuring -------------------------------------------------------------------------------- */

static char *events; /* owned: one after another */
static size_t events_len, events_cap, count;

static bool load(const char *path)
{
    struct recording *r;
    uint64_t missing;
    char why[512];
    int result;
    if (recording_open(&r, path, why, sizeof why)) {
        fprintf(stderr, "%s\n", why);
        return false;
    }
    events_len = count = 0;
    while ((result = recording_next(r, &box, &missing)) > 0) {
        if (events_len + box.ev.size > events_cap) {
            events_cap = events_cap * 2 + sizeof box;
            events = realloc(events, events_cap);
            if (!events)
                abort();
        }
        memcpy(events + events_len, &box, box.ev.size);
        events_len += box.ev.size;
        count++;
    }
    recording_close(r);
    return count > 0 && !result;
}

static uint64_t write_all(const char *path)
{
    struct recording_head head = { 0 };
    struct recording_writer *w;
    int64_t flushed = 0;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || recording_begin(&w, fd, &head))
        abort();
    for (size_t at = 0; at < events_len;) {
        const struct event *ev = (const void *)(events + at);
        int64_t now = event_int(ev, F_MONO, flushed);
        recording_event(w, ev, false);
        if (now - flushed >= NS_PER_SECOND) {
            recording_flush(w);
            flushed = now;
        }
        at += ev->size;
    }
    recording_flush(w);
    uint64_t bytes = recording_count(w).bytes;
    if (recording_end(w))
        abort();
    close(fd);
    return bytes;
}

static void read_all(const char *path)
{
    struct recording *r;
    uint64_t missing;
    char why[512];
    size_t n = 0;
    if (recording_open(&r, path, why, sizeof why))
        abort();
    while (recording_next(r, &box, &missing) > 0)
        n++;
    recording_close(r);
    if (n != count)
        abort();
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, double *ns)
{
    qsort(ns, RUNS, sizeof *ns, by_size);
    printf("  %-8s %6.0f ns/event  (min %.0f, max %.0f)\n", name, ns[RUNS / 2], ns[0],
           ns[RUNS - 1]);
}

static struct redact *redact;

static void redact_all(void)
{
    static struct event_box out;
    for (size_t at = 0; at < events_len; at += ((const struct event *)(events + at))->size)
        redact_event(redact, (const void *)(events + at), &out);
}

static void measure(const char *path)
{
    char copy[] = "/tmp/bench_record-XXXXXX";
    double write_ns[RUNS], read_ns[RUNS], redact_ns[RUNS];
    uint64_t bytes = 0;
    close(mkstemp(copy));
    for (int run = 0; run < RUNS; run++) {
        int64_t begin = clock_cpu_ns();
        bytes = write_all(copy);
        int64_t written = clock_cpu_ns();
        read_all(copy);
        write_ns[run] = (double)(written - begin) / (double)count;
        int64_t read = clock_cpu_ns();
        redact_all();
        read_ns[run] = (double)(read - written) / (double)count;
        redact_ns[run] = (double)(clock_cpu_ns() - read) / (double)count;
    }
    unlink(copy);
    printf("%s: %zu events, %.1f bytes each, %.1f before\n", path, count,
           (double)bytes / (double)count, (double)events_len / (double)count);
    tell("write", write_ns);
    tell("read", read_ns);
    tell("redact", redact_ns);
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "--record"))
        return record(argv[2], argv + 3);
    if (argc < 2) {
        fprintf(stderr, "usage: bench_record --record FILE COMMAND... | bench_record FILE...\n");
        return 2;
    }
    redact = rules_load();
    if (!redact)
        return 1;
    for (int i = 1; i < argc; i++) {
        if (!load(argv[i]))
            return 1;
        measure(argv[i]);
    }
    free(events);
    redact_free(redact);
    rules_free();
    return 0;
}
