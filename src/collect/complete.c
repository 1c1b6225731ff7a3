/* complete.c - turns what the kernel said into events that are whole. See complete.h. */
#include "collect/complete.h"

#include "base/clock.h"

#include <string.h>

/* What an exec can change, and what /proc tells about a process that the table knows. The ids
 * are not among them: the connector tells of every change. */
#define READ_AT_EXEC                                                                               \
    (FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(COMM) | FIELD(CWD) | FIELD(TTY) |           \
     FIELD(SID) | FIELD(LOGINUID) | FIELD(PID_NS) | FIELD(MNT_NS) | FIELD(NET_NS) |                \
     FIELD(USER_NS) | FIELD(CGROUP) | FIELD(CONTAINER))

/* Read in any case: the table finds a process by its start and shows it by its name. They are
 * in stat, and so what else is there costs nothing more. */
#define ALWAYS_NEEDED PROCFS_STAT_FIELDS

/* These belong to one exec: what an earlier image had is no answer. */
#define OF_ONE_IMAGE (FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(COMM))

void complete_init(struct completer *c, struct tracker *tracker, const struct procfs *fs,
                   complete_sink *sink, void *ctx)
{
    *c = (struct completer){
        .tracker = tracker, .fs = fs, .sink = sink, .ctx = ctx, .needs = UINT64_MAX
    };
    complete_clocks(c);
}

void complete_clocks(struct completer *c)
{
    int64_t mono = clock_mono_ns();
    c->real_minus_mono = clock_real_ns() - mono;
    c->boot_minus_mono = clock_boot_ns() - mono;
}

/* --- parts ---------------------------------------------------------------------------- */

static void stamp(struct completer *c, int64_t mono_ns)
{
    event_set(&c->box, F_MONO, mono_ns, WHY_KERNEL);
    event_set(&c->box, F_TIME, mono_ns + c->real_minus_mono, WHY_KERNEL);
}

static void begin(struct completer *c, enum event_kind kind, const struct kernel_event *kev)
{
    event_begin(&c->box, kind);
    stamp(c, kev->mono_ns);
    event_set(&c->box, F_CPU, kev->cpu, WHY_KERNEL);
}

static void set_ids(struct completer *c, const struct kernel_event *kev)
{
    event_set(&c->box, F_PID, kev->pid, WHY_KERNEL);
    event_set(&c->box, F_TID, kev->tid, WHY_KERNEL);
}

/* Hand on, and fold into the table. */
static void tell(struct completer *c)
{
    tracker_apply(c->tracker, &c->box.ev);
    c->sink(c->ctx, &c->box);
}

static void all_state_missing(struct completer *c, enum event_why why)
{
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        event_set_missing(&c->box, f, why);
}

static void copy_node_field(struct completer *c, tracker_ref ref, enum event_field field,
                            enum event_field to)
{
    size_t len;
    if (!event_is_text(field)) {
        int64_t value = tracker_int(c->tracker, ref, field, INT64_MIN);
        if (value != INT64_MIN)
            event_set(&c->box, to, value, WHY_KEPT);
        return;
    }
    const char *text = tracker_text(c->tracker, ref, field, &len);
    if (text)
        event_set_text(&c->box, to, text, len, WHY_KEPT);
}

/* State of a process that is not being exec'ed: from the table, else from /proc. */
static tracker_ref fill_known(struct completer *c, const struct kernel_event *kev)
{
    tracker_ref ref = tracker_alive(c->tracker, kev->pid);
    if (!tracker_copy_state(c->tracker, ref, &c->box, WHY_KEPT)) {
        all_state_missing(c, WHY_UNSEEN);
        procfs_fill(c->fs, kev->pid, -1, PROCFS_FIELDS, &c->box);
    }
    set_ids(c, kev);
    return ref;
}

/* --- fork ----------------------------------------------------------------------------- */

static void await_late_exit(struct completer *c, tracker_ref ref)
{
    if (c->awaited_len == COMPLETE_AWAITED)
        complete_awaited(c);
    c->awaited[c->awaited_len++] = ref;
}

/* The message is stamped a little after the start: right after a tick, the start may be before it.
 */
#define STAMPED_LATE_NS (NS_PER_TICK / 50)

static void set_birth(struct completer *c, const struct kernel_event *kev)
{
    int64_t boot_ns = kev->mono_ns + c->boot_minus_mono, tick = boot_ns / NS_PER_TICK;
    event_set(&c->box, F_START, kev->mono_ns + c->real_minus_mono, WHY_KERNEL);
    if (boot_ns % NS_PER_TICK < STAMPED_LATE_NS)
        procfs_fill(c->fs, kev->pid, tick, FIELD(STARTTIME), &c->box);
    if (boot_ns % NS_PER_TICK >= STAMPED_LATE_NS || !event_has(&c->box.ev, F_STARTTIME))
        event_set(&c->box, F_STARTTIME, tick, WHY_COMPUTED);
    event_set(&c->box, F_EXECS, 0, WHY_COMPUTED);
}

static void complete_process_fork(struct completer *c, const struct kernel_event *kev)
{
    struct event_box *box = &c->box;
    int64_t starttime = (kev->mono_ns + c->boot_minus_mono) / NS_PER_TICK;
    tracker_ref old = tracker_alive(c->tracker, kev->pid);

    if (old && !tracker_forked_at(c->tracker, old) &&
        tracker_same_start(tracker_int(c->tracker, old, F_STARTTIME, -9), starttime))
        return; /* a scan of /proc was faster than this message */

    tracker_ref parent = tracker_alive(c->tracker, kev->parent.ppid);
    if (!tracker_copy_state(c->tracker, parent, box, WHY_INHERITED)) {
        all_state_missing(c, WHY_UNSEEN);
        procfs_fill(c->fs, kev->pid, starttime, PROCFS_FIELDS, box);
    }
    set_ids(c, kev);
    event_set(box, F_PPID, kev->parent.ppid, WHY_KERNEL);
    set_birth(c, kev);
    tell(c);
    if (old)
        await_late_exit(c, old); /* may make other events in the box */
}

static void complete_fork(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_FORK, kev);
    if (kev->pid == kev->tid) {
        complete_process_fork(c, kev);
    } else {
        fill_known(c, kev);
        tell(c);
    }
}

/* --- exec ----------------------------------------------------------------------------- */

/* What was not read, or could not be, stays as it was before, unless it belongs to one image: also
 * that there was none, as of a container. What an exec can change and nobody needs is not known any
 * more. */
static void keep_unread(struct completer *c, tracker_ref ref, uint64_t read)
{
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++) {
        uint64_t bit = UINT64_C(1) << f;
        if (!(read & bit) && (READ_AT_EXEC & bit)) {
            event_set_missing(&c->box, f, WHY_UNASKED);
            continue;
        }
        bool missing = c->box.ev.why[f] >= WHY_MISSING && !(OF_ONE_IMAGE & bit);
        enum event_why before = tracker_why(c->tracker, ref, f);
        if (!(read & bit) || (missing && before == WHY_ABSENT))
            event_set_missing(&c->box, f, before); /* for when there is no value to copy */
        if (!(read & bit) || missing)
            copy_node_field(c, ref, f, f);
    }
}

static void count_names(struct completer *c)
{
    c->count.execs++;
    c->count.exe_asked += c->box.ev.why[F_EXE] != WHY_UNASKED;
    c->count.args_asked += c->box.ev.why[F_ARGS] != WHY_UNASKED;
    c->count.exe += event_has(&c->box.ev, F_EXE);
    c->count.args += event_has(&c->box.ev, F_ARGS);
    c->count.comm += event_has(&c->box.ev, F_COMM);
}

uint64_t complete_reads(uint64_t needs)
{
    return READ_AT_EXEC & (needs | ALWAYS_NEEDED);
}

/* What the source told of a process that has this pid now, but is not the one of the table. */
static bool of_another(const struct completer *c, int64_t starttime)
{
    return starttime >= 0 && event_has(&c->box.ev, F_STARTTIME) &&
           !tracker_same_start(starttime, c->box.ev.cell[F_STARTTIME].num);
}

static void forget(struct completer *c, uint64_t fields)
{
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        if ((fields >> f & 1) && c->box.ev.why[f] < WHY_MISSING)
            event_set_missing(&c->box, f, WHY_GONE);
    if (fields & FIELD(ARGS))
        event_set_missing(&c->box, F_TRUNCATED, WHY_ABSENT);
}

/* What nobody told in time is read from /proc now, and believed only while no later image of the
 * process is known. An exec that is under way shows as an empty list: the new memory has no
 * arguments yet, and a program always has one (5.18). */
static void look_at_exec(struct completer *c, const struct kernel_event *kev, int64_t starttime,
                         uint64_t wanted)
{
    uint64_t rest = wanted;
    if (c->source)
        rest = c->source(c->source_ctx, kev, wanted | FIELD(STARTTIME), &c->box);
    if (of_another(c, starttime))
        forget(c, wanted);
    if (!(rest & wanted))
        return;
    procfs_fill(c->fs, kev->pid, starttime, rest & wanted, &c->box);
    size_t len;
    if (c->doubt && c->doubt(c->source_ctx, kev))
        forget(c, rest & wanted);
    else if (event_text(&c->box.ev, F_ARGS, &len) && !len)
        forget(c, rest & wanted & OF_ONE_IMAGE);
}

static void complete_exec(struct completer *c, const struct kernel_event *kev)
{
    tracker_ref ref = tracker_alive(c->tracker, kev->pid);
    int64_t starttime = tracker_int(c->tracker, ref, F_STARTTIME, -1);
    int64_t execs = tracker_int(c->tracker, ref, F_EXECS, 0);
    uint64_t wanted = ref ? complete_reads(c->needs) : PROCFS_FIELDS & (c->needs | ALWAYS_NEEDED);

    begin(c, EVENT_EXEC, kev);
    if (!ref)
        all_state_missing(c, c->needs == UINT64_MAX ? WHY_UNSEEN : WHY_UNASKED);
    look_at_exec(c, kev, starttime, wanted);
    if (ref) {
        keep_unread(c, ref, wanted);
        copy_node_field(c, ref, F_COMM, F_WAS_COMM);
        copy_node_field(c, ref, F_EXE, F_WAS_EXE);
    }
    set_ids(c, kev);
    event_set(&c->box, F_EXECS, execs + 1, WHY_COMPUTED);
    count_names(c);
    tell(c);
}

/* --- exit ----------------------------------------------------------------------------- */

static void set_wait_status(struct event_box *box, uint32_t status)
{
    if (status == KERNEL_EXIT_UNKNOWN) {
        event_set_missing(box, F_CODE, WHY_GONE);
        return;
    }
    if ((status & 0x7f) == 0) {
        event_set(box, F_CODE, status >> 8 & 0xff, WHY_KERNEL);
        return;
    }
    event_set(box, F_SIGNAL, status & 0x7f, WHY_KERNEL);
    if (status & 0x80)
        event_set(box, F_CORE, 1, WHY_KERNEL);
}

static void set_duration(struct completer *c, tracker_ref ref)
{
    int64_t mono = c->box.ev.cell[F_MONO].num;
    int64_t forked_at = tracker_forked_at(c->tracker, ref);
    if (forked_at)
        event_set(&c->box, F_DURATION, mono - forked_at, WHY_COMPUTED);
    else if (event_has(&c->box.ev, F_STARTTIME))
        event_set(&c->box, F_DURATION,
                  mono + c->boot_minus_mono - c->box.ev.cell[F_STARTTIME].num * NS_PER_TICK,
                  WHY_COMPUTED);
}

/* An end may name the program's file by number: the path is that of an earlier process. */
static void settle_exe(struct completer *c)
{
    uint64_t dev = c->end->exe_dev, inode = c->end->exe_inode;
    size_t len;
    const char *path = event_text(&c->box.ev, F_EXE, &len);
    if (path) {
        tracker_ref ref = tracker_alive(c->tracker, event_int(&c->box.ev, F_PID, -1));
        if (tracker_why(c->tracker, ref, F_EXE) == WHY_PROC && !event_has(&c->box.ev, F_DELETED))
            programs_learn(&c->programs, dev, inode, path, len);
    } else {
        path = programs_find(&c->programs, dev, inode, &len);
        if (path)
            event_set_text(&c->box, F_EXE, path, len, c->end_why);
    }
}

/* What it used, as its end was told: by the tap, by taskstats, or by nobody. */
static void set_usage(struct completer *c)
{
    static const struct process_end nobody = {
        .cpu_user_ns = -1, .cpu_system_ns = -1, .max_rss = -1, .read_bytes = -1, .write_bytes = -1
    };
    const struct process_end *end = c->end ? c->end : &nobody;
    const struct {
        enum event_field field;
        int64_t value;
    } usage[] = {
        { F_CPU_USER, end->cpu_user_ns },    { F_CPU_SYSTEM, end->cpu_system_ns },
        { F_MAX_RSS, end->max_rss },         { F_READ_BYTES, end->read_bytes },
        { F_WRITE_BYTES, end->write_bytes },
    };
    for (size_t i = 0; i < sizeof usage / sizeof *usage; i++)
        if (usage[i].value >= 0)
            event_set(&c->box, usage[i].field, usage[i].value, c->end_why);
        else
            event_set_missing(&c->box, usage[i].field, WHY_GONE);
    if (!c->end)
        return;
    if (!event_has(&c->box.ev, F_COMM) && *end->comm)
        event_set_text(&c->box, F_COMM, end->comm, strnlen(end->comm, sizeof end->comm),
                       c->end_why);
    settle_exe(c);
}

static void forget_awaited(struct completer *c, int at)
{
    c->awaited_len--;
    memmove(&c->awaited[at], &c->awaited[at + 1],
            (size_t)(c->awaited_len - at) * sizeof c->awaited[0]);
}

/* Did it begin after this moment? What happened then was about the owner of its pid before it. */
static bool began_after(const struct completer *c, tracker_ref ref, int64_t mono_ns)
{
    int64_t forked_at = tracker_forked_at(c->tracker, ref);
    if (forked_at)
        return forked_at > mono_ns;
    return tracker_int(c->tracker, ref, F_STARTTIME, -1) - 1 >
           (mono_ns + c->boot_minus_mono) / NS_PER_TICK;
}

/* Where the owner of this pid is among those whose exit is awaited, or -1. The first that comes is of
 * the first that is awaited: what it was stamped with may even be after the next one's fork. */
static int find_awaited(const struct completer *c, int pid)
{
    for (int i = 0; i < c->awaited_len; i++)
        if (tracker_int(c->tracker, c->awaited[i], F_PID, -1) == pid)
            return i;
    return -1;
}

tracker_ref complete_exit_of(const struct completer *c, const struct kernel_event *kev)
{
    int awaited = find_awaited(c, kev->pid);
    tracker_ref now = tracker_alive(c->tracker, kev->pid);
    if (awaited >= 0)
        return c->awaited[awaited];
    return now && began_after(c, now, kev->mono_ns) ? 0 : now;
}

/* The pid was given out again before this exit was read. */
static void complete_late_exit(struct completer *c, const struct kernel_event *kev, int awaited)
{
    tracker_ref ref = c->awaited[awaited];
    tracker_copy_state(c->tracker, ref, &c->box, WHY_KEPT);
    set_ids(c, kev);
    set_wait_status(&c->box, kev->exit_code);
    set_duration(c, ref);
    set_usage(c);
    forget_awaited(c, awaited);
    c->sink(c->ctx, &c->box); /* the table knows already */
}

static void complete_exit(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_EXIT, kev);
    tracker_ref now = tracker_alive(c->tracker, kev->pid);
    int awaited = kev->pid == kev->tid ? find_awaited(c, kev->pid) : -1;
    if (awaited >= 0) {
        complete_late_exit(c, kev, awaited);
        return;
    }
    if (kev->pid == kev->tid && now && began_after(c, now, kev->mono_ns))
        return; /* it was told to have ended already */

    tracker_ref ref = fill_known(c, kev);
    if (kev->parent.ppid && !event_has(&c->box.ev, F_PPID))
        event_set(&c->box, F_PPID, kev->parent.ppid, WHY_KERNEL);
    set_wait_status(&c->box, kev->exit_code);
    if (kev->pid == kev->tid)
        set_duration(c, ref);
    set_usage(c);
    tell(c);
}

void complete_end(struct completer *c, const struct kernel_event *kev,
                  const struct process_end *end, enum event_why why)
{
    c->end = end;
    c->end_why = why;
    complete_exit(c, kev);
    c->end = NULL;
}

/* --- changes -------------------------------------------------------------------------- */

static void complete_ids(struct completer *c, const struct kernel_event *kev)
{
    bool user = kev->kind == EVENT_UID;
    enum event_field real = user ? F_UID : F_GID, effective = user ? F_EUID : F_EGID;

    begin(c, kev->kind, kev);
    tracker_ref ref = fill_known(c, kev);
    copy_node_field(c, ref, real, user ? F_WAS_UID : F_WAS_GID);
    copy_node_field(c, ref, effective, user ? F_WAS_EUID : F_WAS_EGID);
    event_set(&c->box, real, kev->id.real, WHY_KERNEL);
    event_set(&c->box, effective, kev->id.effective, WHY_KERNEL);
    tell(c);
}

/* setsid(2) makes a process the leader of a session that has no terminal yet. */
static void complete_sid(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_SID, kev);
    tracker_ref ref = fill_known(c, kev);
    copy_node_field(c, ref, F_SID, F_WAS_SID);
    event_set(&c->box, F_SID, kev->pid, WHY_KERNEL);
    event_set(&c->box, F_TTY, 0, WHY_ABSENT);
    tell(c);
}

static void complete_comm(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_COMM, kev);
    tracker_ref ref = fill_known(c, kev);
    if (kev->pid == kev->tid)
        copy_node_field(c, ref, F_COMM, F_WAS_COMM);
    event_set_text(&c->box, F_COMM, kev->comm, strnlen(kev->comm, sizeof kev->comm), WHY_KERNEL);
    tell(c);
}

static void complete_ptrace(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_PTRACE, kev);
    fill_known(c, kev);
    event_set(&c->box, F_TRACER, kev->tracer.pid, WHY_KERNEL);
    tell(c);
}

static void complete_coredump(struct completer *c, const struct kernel_event *kev)
{
    begin(c, EVENT_COREDUMP, kev);
    fill_known(c, kev);
    tell(c);
}

void complete_event(struct completer *c, const struct kernel_event *kev)
{
    switch (kev->kind) {
    case EVENT_FORK:
        complete_fork(c, kev);
        break;
    case EVENT_EXEC:
        complete_exec(c, kev);
        break;
    case EVENT_EXIT:
        complete_exit(c, kev);
        break;
    case EVENT_UID:
    case EVENT_GID:
        complete_ids(c, kev);
        break;
    case EVENT_SID:
        complete_sid(c, kev);
        break;
    case EVENT_COMM:
        complete_comm(c, kev);
        break;
    case EVENT_PTRACE:
        complete_ptrace(c, kev);
        break;
    case EVENT_COREDUMP:
        complete_coredump(c, kev);
        break;
    case EVENT_NONE:
    case EVENT_SNAPSHOT:
    case EVENT_LOST:
    case EVENT_RELOAD:
    case EVENT_STORM:
    case EVENT_KINDS:
        break;
    }
}

/* --- what /proc shows ----------------------------------------------------------------- */

static bool same_text(const struct completer *c, tracker_ref ref, enum event_field field)
{
    size_t a_len, b_len;
    if (tracker_why(c->tracker, ref, field) == WHY_UNASKED)
        return true; /* it was never read: no change that was missed */
    const char *a = event_text(&c->box.ev, field, &a_len);
    const char *b = tracker_text(c->tracker, ref, field, &b_len);
    return !a || (b && a_len == b_len && !memcmp(a, b, a_len));
}

static bool same_int(const struct completer *c, tracker_ref ref, enum event_field field)
{
    int64_t now = event_int(&c->box.ev, field, INT64_MIN);
    return now == INT64_MIN || now == tracker_int(c->tracker, ref, field, INT64_MIN);
}

/* Does somebody need by now what was not read of it? */
static bool lacks_needed(const struct completer *c, tracker_ref ref)
{
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        if ((c->needs >> f & 1) && tracker_why(c->tracker, ref, f) == WHY_UNASKED)
            return true;
    return false;
}

/* Not in the table because nobody needed it: then /proc says nothing new. */
static bool unasked(const struct completer *c, tracker_ref ref, enum event_field field)
{
    return tracker_why(c->tracker, ref, field) == WHY_UNASKED;
}

static bool as_known(const struct completer *c, tracker_ref ref)
{
    if (lacks_needed(c, ref))
        return false;
    static const enum event_field texts[] = { F_COMM, F_EXE, F_ARGS };
    static const enum event_field ints[] = { F_UID, F_EUID, F_GID, F_EGID, F_SID };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!unasked(c, ref, texts[i]) && !same_text(c, ref, texts[i]))
            return false;
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (!unasked(c, ref, ints[i]) && !same_int(c, ref, ints[i]))
            return false;
    return true;
}

bool complete_from_proc(struct completer *c, int pid, bool inferred)
{
    event_begin(&c->box, EVENT_SNAPSHOT);
    if (procfs_fill(c->fs, pid, -1, PROCFS_FIELDS, &c->box) < 0)
        return true;
    if (c->box.ev.why[F_ARGS] == WHY_ZOMBIE || c->box.ev.why[F_EXE] == WHY_ZOMBIE)
        return false;

    tracker_ref ref = tracker_alive(c->tracker, pid);
    bool same = ref && tracker_same_start(tracker_int(c->tracker, ref, F_STARTTIME, -9),
                                          event_int(&c->box.ev, F_STARTTIME, 0));
    if (ref && !same)
        complete_vanished(c, ref); /* makes another event in the box: start again */
    if (ref && !same) {
        event_begin(&c->box, EVENT_SNAPSHOT);
        if (procfs_fill(c->fs, pid, -1, PROCFS_FIELDS, &c->box) < 0)
            return true;
    }
    if (same && as_known(c, ref)) {
        tracker_mark(c->tracker, ref);
        return true;
    }

    stamp(c, clock_mono_ns());
    event_set(&c->box, F_PID, pid, WHY_PROC);
    event_set(&c->box, F_TID, pid, WHY_PROC);
    event_set(&c->box, F_EXECS, 0, WHY_COMPUTED);
    if (same) /* the birth is known better, and the parent as of then */
        for (int f = F_PPID; f <= F_EXECS; f++)
            if (f == F_PPID || f == F_START || f == F_STARTTIME || f == F_EXECS)
                copy_node_field(c, ref, f, f);
    if (inferred) {
        event_set(&c->box, F_INFERRED, 1, WHY_COMPUTED);
        c->count.inferred++;
    }
    tell(c);
    tracker_mark(c->tracker, tracker_alive(c->tracker, pid));
    return true;
}

static bool begin_inferred_exit(struct completer *c, tracker_ref ref)
{
    event_begin(&c->box, EVENT_EXIT);
    stamp(c, clock_mono_ns());
    if (!tracker_copy_state(c->tracker, ref, &c->box, WHY_KEPT))
        return false;
    event_copy_field(&c->box, F_TID, &c->box.ev, F_PID, WHY_KEPT);
    event_set_missing(&c->box, F_CODE, WHY_UNSEEN);
    event_set(&c->box, F_INFERRED, 1, WHY_COMPUTED);
    c->count.inferred++;
    return true;
}

void complete_vanished(struct completer *c, tracker_ref ref)
{
    if (begin_inferred_exit(c, ref))
        tell(c);
}

void complete_awaited(struct completer *c)
{
    while (c->awaited_len) {
        tracker_ref ref = c->awaited[0];
        forget_awaited(c, 0);
        if (begin_inferred_exit(c, ref))
            c->sink(c->ctx, &c->box); /* the table knows already */
    }
}

void complete_lost(struct completer *c, uint64_t lost, int64_t from_ns, int64_t until_ns)
{
    memset(&c->programs, 0, sizeof c->programs); /* an exec among them may have changed a program */
    event_begin(&c->box, EVENT_LOST);
    stamp(c, until_ns);
    event_set(&c->box, F_LOST, (int64_t)lost, WHY_KERNEL);
    event_set(&c->box, F_FROM, from_ns + c->real_minus_mono, WHY_COMPUTED);
    event_set(&c->box, F_UNTIL, until_ns + c->real_minus_mono, WHY_COMPUTED);
    c->sink(c->ctx, &c->box);
}
