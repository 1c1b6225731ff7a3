/* record_fixture.h - records to write down: ordinary lives of processes, and records with anything
 * in them. */
#ifndef RECORD_FIXTURE_H
#define RECORD_FIXTURE_H

#include "event/event.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REAL_NS INT64_C(1717243845123456789) /* of the first record */
#define MONO_NS INT64_C(81234567890123)

struct story {
    uint64_t seq, seed;
    int64_t ns;
    int pid;
    struct event_box box;
};

static inline uint64_t story_random(struct story *s)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return s->seed;
}

#define STORY                                                                                      \
    (struct story)                                                                                 \
    {                                                                                              \
        .seed = 88172645463325252, .pid = 1000                                                     \
    }

static inline void story_text(struct event_box *box, enum event_field field, const char *text,
                              enum event_why why)
{
    event_set_text(box, field, text, strlen(text), why);
}

static inline struct event *story_begin(struct story *s, enum event_kind kind, int pid, int ppid)
{
    struct event_box *box = &s->box;
    s->ns += 100000 + (int64_t)(story_random(s) % 500000);
    event_begin(box, kind);
    event_set(box, F_SEQ, (int64_t)++s->seq, WHY_COMPUTED);
    event_set(box, F_TIME, REAL_NS + s->ns, WHY_KERNEL);
    event_set(box, F_MONO, MONO_NS + s->ns, WHY_KERNEL);
    event_set(box, F_CPU, (int64_t)(story_random(s) % 2), WHY_KERNEL);
    event_set(box, F_PID, pid, WHY_KERNEL);
    event_set(box, F_TID, pid, WHY_KERNEL);
    event_set(box, F_PPID, ppid, WHY_KEPT);
    event_set(box, F_UID, 1000, WHY_KEPT);
    event_set(box, F_EUID, 1000, WHY_KEPT);
    event_set(box, F_SID, 812, WHY_KEPT);
    event_set(box, F_STARTTIME, 8123456 + pid, WHY_COMPUTED);
    event_set_missing(box, F_LOGINUID, WHY_DENIED);
    story_text(box, F_CWD, "/home/user/src", WHY_INHERITED);
    story_text(box, F_CGROUP, "/user.slice", WHY_INHERITED);
    return &box->ev;
}

static inline const struct event *story_fork(struct story *s, int pid, int ppid)
{
    story_begin(s, EVENT_FORK, pid, ppid);
    event_set(&s->box, F_START, REAL_NS + s->ns, WHY_KERNEL);
    story_text(&s->box, F_COMM, "make", WHY_INHERITED);
    story_text(&s->box, F_EXE, "/usr/bin/make", WHY_INHERITED);
    return &s->box.ev;
}

static inline const struct event *story_exec(struct story *s, int pid, int ppid, const char *args,
                                             size_t len)
{
    story_begin(s, EVENT_EXEC, pid, ppid);
    story_text(&s->box, F_COMM, "gcc", WHY_TAP);
    story_text(&s->box, F_EXE, "/usr/bin/x86_64-linux-gnu-gcc-12", WHY_TAP);
    event_set_text(&s->box, F_ARGS, args, len, WHY_TAP);
    story_text(&s->box, F_WAS_COMM, "make", WHY_KEPT);
    story_text(&s->box, F_WAS_EXE, "/usr/bin/make", WHY_KEPT);
    return &s->box.ev;
}

static inline const struct event *story_exit(struct story *s, int pid, int ppid)
{
    story_begin(s, EVENT_EXIT, pid, ppid);
    story_text(&s->box, F_COMM, "gcc", WHY_KEPT);
    event_set(&s->box, F_CODE, (int64_t)(story_random(s) % 4 == 0), WHY_KERNEL);
    event_set(&s->box, F_MAX_RSS, (int64_t)(story_random(s) % 9000) * 4096, WHY_TAP);
    event_set(&s->box, F_READ_BYTES, (int64_t)(story_random(s) % 99999), WHY_TAP);
    return &s->box.ev;
}

/* One record after another of processes that come, run a program and go. */
static inline const struct event *story_next(struct story *s)
{
    char args[256];
    int len, pid = s->pid;
    switch (s->seq % 3) {
    case 0:
        return story_fork(s, pid, 999);
    case 1:
        len = snprintf(args, sizeof args, "gcc%c-c%c-o%cbuild/obj/part%d.o%cpart%d.c", 0, 0, 0, pid,
                       0, pid);
        return story_exec(s, pid, 999, args, (size_t)len + 1);
    default:
        s->pid++;
        return story_exit(s, pid, 999);
    }
}

/* Any fields with any reason and any value. */
static inline const struct event *story_odd(struct story *s)
{
    static char bytes[3000];
    event_begin(&s->box, 1 + (enum event_kind)(story_random(s) % (EVENT_KINDS - 1)));
    for (int f = F_TYPE + 1; f < EVENT_FIELDS; f++) {
        uint64_t dice = story_random(s);
        enum event_why why = (enum event_why)(dice >> 8 & 0xff);
        if (dice % 3 == 0)
            continue;
        if (event_is_text((enum event_field)f)) {
            size_t len = (dice >> 16) % (dice % 17 ? 40 : sizeof bytes);
            for (size_t i = 0; i < len; i++)
                bytes[i] = (char)(story_random(s) >> 60);
            event_set_text(&s->box, (enum event_field)f, bytes, len, why);
        } else {
            int64_t value = (int64_t)(story_random(s) >> (dice >> 16 & 63));
            event_set(&s->box, (enum event_field)f, dice & 4 ? -value : value, why);
        }
    }
    return &s->box.ev;
}

static inline bool same_text(const struct event *a, const struct event *b, enum event_field field)
{
    size_t a_len, b_len;
    const char *x = event_text(a, field, &a_len), *y = event_text(b, field, &b_len);
    return a_len == b_len && !memcmp(x, y, a_len);
}

/* All that accessors can tell. */
static inline bool same_record(const struct event *a, const struct event *b)
{
    for (int f = 0; f < EVENT_FIELDS; f++) {
        enum event_field field = (enum event_field)f;
        if (a->why[f] != b->why[f])
            return false;
        if (!event_has(a, field))
            continue;
        if (event_is_text(field) ? !same_text(a, b, field) : a->cell[f].num != b->cell[f].num)
            return false;
    }
    return true;
}

#ifdef STORY_CLOCK
/* In front of our own, so that a second need not pass. */
static int64_t later_ns;

int64_t clock_mono_ns(void);
int64_t clock_real_ns(void);

int64_t clock_mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec + later_ns;
}

int64_t clock_real_ns(void)
{
    return REAL_NS;
}

#endif

#endif
