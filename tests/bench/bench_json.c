/* bench_json.c - what it costs to write one event as JSON.
 *
 * Prints the median of several runs in nanoseconds per event, for an exec with all that /proc gives
 * and its parent, and for the small events around it. */
#include "event/json.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RUNS   15
#define EVENTS 20000

static struct event_box box, parent_box;

static void text(struct event_box *to, enum event_field field, const char *bytes, size_t len)
{
    event_set_text(to, field, bytes, len, WHY_PROC);
}

#define TEXT(to, field, literal) text(to, field, literal, sizeof(literal) - 1)

static void state(struct event_box *to, int64_t pid, int64_t ppid)
{
    event_set(to, F_PID, pid, WHY_KERNEL);
    event_set(to, F_TID, pid, WHY_KERNEL);
    event_set(to, F_PPID, ppid, WHY_PROC);
    event_set(to, F_UID, 1000, WHY_PROC);
    event_set(to, F_EUID, 1000, WHY_PROC);
    event_set(to, F_GID, 1000, WHY_PROC);
    event_set(to, F_EGID, 1000, WHY_PROC);
    event_set(to, F_SID, 812, WHY_PROC);
    event_set(to, F_LOGINUID, 1000, WHY_PROC);
    event_set(to, F_START, INT64_C(1717243845123456789), WHY_COMPUTED);
    event_set(to, F_STARTTIME, 8123456, WHY_PROC);
    event_set(to, F_EXECS, 1, WHY_COMPUTED);
    TEXT(to, F_CWD, "/home/user/src/project");
    TEXT(to, F_TTY, "pts/3");
    TEXT(to, F_CGROUP, "/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope");
}

static void stamp(enum event_kind kind)
{
    event_begin(&box, kind);
    event_set(&box, F_SEQ, 123456, WHY_COMPUTED);
    event_set(&box, F_TIME, INT64_C(1717243845223456789), WHY_COMPUTED);
    event_set(&box, F_MONO, INT64_C(81234567890123), WHY_KERNEL);
    event_set(&box, F_CPU, 3, WHY_KERNEL);
}

static void build_exec(void)
{
    stamp(EVENT_EXEC);
    state(&box, 48213, 48100);
    TEXT(&box, F_COMM, "gcc");
    TEXT(&box, F_EXE, "/usr/bin/x86_64-linux-gnu-gcc-12");
    TEXT(&box, F_ARGS,
         "gcc\0-std=gnu11\0-O2\0-g\0-Wall\0-Isrc\0-c\0-o\0build/obj/event.o\0event.c\0");
    TEXT(&box, F_WAS_COMM, "make");
    TEXT(&box, F_WAS_EXE, "/usr/bin/make");
}

static void build_parent(void)
{
    event_begin(&parent_box, EVENT_SNAPSHOT);
    state(&parent_box, 48100, 812);
    TEXT(&parent_box, F_COMM, "make");
    TEXT(&parent_box, F_EXE, "/usr/bin/make");
    TEXT(&parent_box, F_ARGS, "make\0-j8\0all\0");
}

static void build_exit(void)
{
    stamp(EVENT_EXIT);
    event_set(&box, F_PID, 48213, WHY_KERNEL);
    event_set(&box, F_PPID, 48100, WHY_KERNEL);
    event_set(&box, F_STARTTIME, 8123456, WHY_KEPT);
    TEXT(&box, F_COMM, "gcc");
    event_set(&box, F_CODE, 0, WHY_KERNEL);
    event_set(&box, F_DURATION, 41234567, WHY_COMPUTED);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, const struct event *parent)
{
    struct json_context context = { .boot = 0x0123456789abcdef, .host = "host", .parent = parent };
    struct buf out = { 0 };
    int64_t ns[RUNS];

    for (int run = 0; run < RUNS; run++) {
        int64_t begin = clock_cpu_ns();
        for (int i = 0; i < EVENTS; i++) {
            buf_clear(&out);
            json_event(&out, &box.ev, &context);
        }
        ns[run] = (clock_cpu_ns() - begin) / EVENTS;
    }
    qsort(ns, RUNS, sizeof *ns, by_size);
    printf("%-24s %6" PRId64 " ns/event  (min %" PRId64 ", max %" PRId64 ")  %zu bytes\n", name,
           ns[RUNS / 2], ns[0], ns[RUNS - 1], out.len);
    buf_free(&out);
}

int main(void)
{
    build_parent();
    build_exec();
    measure("exec, all fields, parent", &parent_box.ev);
    measure("exec, all fields", NULL);
    build_exit();
    measure("exit", NULL);
    return 0;
}
