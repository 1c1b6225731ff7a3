/* storm.h - decides when scripts are overrun, and adds up by parent what they are not told.
 *
 * A storm begins when half of the ring waits for the scripts and ends, after a second at least,
 * when less than an eighth does. One that comes back at once lasts twice as long at least, and so
 * on up to eight: a slow script does not make hundreds of them. While it lasts, forks, execs and
 * exits are added up by parent. Of each (kind, comm, exe) under each sort of parent (comm, exe, uid,
 * cgroup) the first one is still told. What was added up is reported each second, as what came since
 * the last report: the sums and what was told are all events, exactly.
 *
 * The first one under each single parent was tried: a compiler driver has one child of each kind, so
 * most of a build was told one by one, and who was behind stayed so.
 *
 * All memory is taken at the start and never grows. Parents without a row of their own share one.
 * When there is no more room to remember who was told, everyone is forgotten: a first one may then
 * be told again, but is never held back. Knows no Lua and no ring; of the process table only that
 * a parent stays in it until it has been reported. */
#ifndef HOST_STORM_H
#define HOST_STORM_H

#include "collect/tracker.h"

#define STORM_PARENTS   1024        /* with rows of their own, from report to report */
#define STORM_FIRSTS    (64 * 1024) /* of those told, remembered until the end */
#define STORM_COMMS     (32 * 1024) /* (parent, comm) counted, from report to report */
#define STORM_EVERY_NS  INT64_C(1000000000) /* from report to report, and the shortest storm */
#define STORM_HOLD_NS   (8 * STORM_EVERY_NS) /* the shortest of those that come back at once */
#define STORM_BEGINS_AT 0.5   /* of the ring */
#define STORM_ENDS_AT   0.125

struct storm; /* opaque */

/* What is known of the parent of an event's process. */
struct storm_parent {
    int64_t pid;       /* -1: not known */
    int64_t starttime; /* ticks since boot; -1: not known */
    int64_t uid;
    struct storm_text {
        const char *bytes; /* borrowed; not NUL-terminated; NULL: not known */
        size_t len;
    } comm, exe, cgroup;
    tracker_ref ref; /* or 0 */
};

/* What was added up for one parent since the last report. */
struct storm_row {
    int64_t pid, starttime; /* as above; both -1 in the row of the others */
    tracker_ref ref;        /* held in the table; 0: not known */
    char comm[16];          /* as of the first event added up; "" when not known */
    uint64_t children;      /* forks */
    uint64_t summed;        /* events, the forks among them */
    uint64_t distinct;      /* comms; of more than STORM_COMMS in all, not every one is counted */
    int64_t from_ns, until_ns; /* F_TIME of the first event and of the last */
};

enum storm_step {
    STORM_CALM,   /* all events are told */
    STORM_BEGINS, /* storm_sums may be asked from now on */
    STORM_LASTS,
    STORM_REPORTS, /* it lasts, and a report is due */
    STORM_ENDS     /* the last report is due; then it is calm */
};

/* 0, or -ENOMEM. `tracker` is borrowed, where the refs are from. */
int storm_new(struct storm **out, struct tracker *tracker);
void storm_free(struct storm *s);

bool storm_on(const struct storm *s);

/* `backlog`: which part of the ring waits, 0..1; `now_ns`: of any clock that does not step. To be
 * asked often while records are taken, and several times a second in a storm. */
enum storm_step storm_pressure(struct storm *s, double backlog, int64_t now_ns);

/* The watch ends: STORM_ENDS, or STORM_CALM. */
enum storm_step storm_finish(struct storm *s);

/* Make the step that a recorded storm made, instead of asking how far behind somebody is. */
void storm_force(struct storm *s, enum storm_step step);

/* In a storm: is this event added up? If not, tell of it. */
bool storm_sums(struct storm *s, const struct event *ev, const struct storm_parent *parent);

/* Visit each row with something in it, in the order of their first events, the others last; then
 * begin anew at zero. `row` is borrowed for the call. */
typedef void storm_visit(void *ctx, const struct storm_row *row);
void storm_report(struct storm *s, storm_visit *visit, void *ctx);

/* Events added up since the start, in all storms. */
uint64_t storm_summed(const struct storm *s);

#endif
