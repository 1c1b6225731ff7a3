/* extract.c - of recordings, those that matter now. See extract.h.
 *
 * Reads twice. First, who lived and whose child each was, which process each record is of, and how
 * all were when the span began; then the records that are wanted are written. */
#include "record/extract.h"

#include "collect/tracker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIDS        ((int64_t)1 << 22) /* the kernel gives no larger one */
#define TABLE_BYTES ((size_t)256 * 1024 * 1024)

/* 0 is nobody, wherever a process is meant. */
struct process {
    int64_t pid, starttime; /* -1: not known */
    uint32_t parent;        /* always before its children */
    uint32_t older;         /* that had this pid */
    uint32_t first;         /* record */
    bool forked, ended;
    bool family, ancestor; /* all descendants are wanted, too; it alone is */
};

/* Records, as bytes one after another, and where that of each process is. */
struct records {
    char *bytes; /* owned */
    size_t len, cap;
    struct place {
        uint32_t process;
        size_t off;
    } * place; /* owned */
    size_t places, place_cap;
};

struct extraction {
    struct recording *const *from;
    size_t n;
    const struct extract_what *what;
    struct extract_result *result;
    struct event_box box, made;

    /* where reading is */
    uint32_t record; /* its number */
    uint64_t last_seq;
    int64_t last_mono, time;
    bool anew, reboot; /* this file: who lives is told again; all of them are others */
    uint64_t missing;  /* events, before the next that is written */

    /* who lived */
    struct process *process; /* owned */
    uint32_t len;
    size_t cap;
    uint32_t *latest; /* owned: the last one of each pid */
    uint32_t *owner;  /* owned: the process of each record */
    size_t owner_cap;
    struct tracker *tracker; /* owned */
    uint32_t begin;          /* the first record of the span; 0: there is none */
    struct records known;    /* those who lived then */

    /* what was written */
    int fd;
    struct recording_writer *to;
    uint64_t remembered, span_first, span_last; /* F_SEQ of this run of a watch; 0: none yet */
    uint64_t *seq;                              /* owned: of those outside of the span */
    size_t seq_len, seq_cap;
    size_t file; /* number of the recording */
};

/* With room for one more of `size` bytes each; NULL: no memory, and the array is as it was. */
static void *grown(void *array, size_t len, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 1024;
    if (len < *cap)
        return array;
    void *moved = realloc(array, more * size);
    if (moved)
        *cap = more;
    return moved;
}

/* --- reading ---------------------------------------------------------------------------------- */

typedef int visit_record(struct extraction *x, bool known);
typedef int visit_file(struct extraction *x);

static bool is_new(struct extraction *x)
{
    const struct event *ev = &x->box.ev;
    uint64_t seq = (uint64_t)event_int(ev, F_SEQ, 0);
    if (seq && seq <= x->last_seq)
        return false;
    if (seq)
        x->last_seq = seq;
    x->time = event_int(ev, F_TIME, x->time);
    if (event_int(ev, F_MONO, 0) > x->last_mono)
        x->last_mono = ev->cell[F_MONO].num;
    return true;
}

static int read_file(struct extraction *x, struct recording *r, visit_record *visit)
{
    uint64_t missing;
    int result;
    recording_rewind(r);
    while ((result = recording_next(r, &x->box, &missing)) != 0) {
        x->missing += missing;
        if (result < 0 && result != -EOVERFLOW && result != -EBADMSG)
            return result;
        if (result < 0 || !is_new(x))
            continue;
        if (++x->record == UINT32_MAX)
            return -EFBIG;
        result = visit(x, result == 2);
        if (result < 0)
            return result;
    }
    return 0;
}

/* A file that was begun before the last record of the one before is a copy, or overlaps it. Of any
 * other the numbers may begin anew: those of another run. */
static int read_all(struct extraction *x, visit_file *begin, visit_record *visit, visit_file *end)
{
    int result = 0;
    x->record = 0;
    x->last_seq = 0;
    x->last_mono = INT64_MIN;
    x->time = 0;
    x->missing = 0;
    for (x->file = 0; x->file < x->n && !result; x->file++) {
        const struct recording_head *h = recording_head(x->from[x->file]);
        bool reboot = x->file && h->boot != recording_head(x->from[x->file - 1])->boot;
        bool anew = reboot || h->mono_ns >= x->last_mono;
        if (anew)
            x->last_seq = 0;
        x->anew = anew;
        x->reboot = reboot;
        if (reboot)
            x->last_mono = INT64_MIN;
        result = begin ? begin(x) : 0;
        if (!result)
            result = read_file(x, x->from[x->file], visit);
        if (!result && end)
            result = end(x);
    }
    return result;
}

/* --- who lived -------------------------------------------------------------------------------- */

static uint32_t latest(const struct extraction *x, int64_t pid)
{
    return pid > 0 && pid < PIDS ? x->latest[pid] : 0;
}

#define OLDER 64 /* that had the same pid, and may be told of late */

/* -1: whoever had this pid last. */
static uint32_t find(const struct extraction *x, int64_t pid, int64_t starttime)
{
    uint32_t at = latest(x, pid);
    for (int i = 0; at && i < OLDER; i++) {
        int64_t begun = x->process[at].starttime;
        if (starttime < 0 || begun < 0 || tracker_same_start(begun, starttime))
            return at;
        at = x->process[at].older;
    }
    return 0;
}

/* Who has its parent's pid now; of one that was forked unseen, unless it is younger. */
static uint32_t parent_of(const struct extraction *x, const struct event *ev)
{
    uint32_t at = latest(x, event_int(ev, F_PPID, 0));
    int64_t child = event_int(ev, F_STARTTIME, INT64_MAX), parent = x->process[at].starttime;
    bool younger =
        event_kind(ev) != EVENT_FORK && parent > child && !tracker_same_start(parent, child);
    return x->process[at].ended || younger ? 0 : at;
}

/* 0: no memory, or no pid. */
static uint32_t add_process(struct extraction *x, const struct event *ev)
{
    int64_t pid = ev->cell[F_PID].num, starttime = event_int(ev, F_STARTTIME, -1);
    if (pid <= 0 || pid >= PIDS)
        return 0;
    struct process *more = grown(x->process, x->len, &x->cap, sizeof *more);
    if (!more)
        return 0;
    x->process = more;
    x->process[x->len] = (struct process){
        .pid = pid,
        .starttime = starttime,
        .parent = parent_of(x, ev),
        .older = x->latest[pid],
        .first = x->record,
    };
    x->latest[pid] = x->len;
    return x->len++;
}

static bool of_main_thread(const struct event *ev)
{
    return event_int(ev, F_TID, ev->cell[F_PID].num) == ev->cell[F_PID].num;
}

/* The process that this record is of; a new one when nobody knows it. */
static uint32_t owner_of(struct extraction *x, const struct event *ev, bool known)
{
    if (!event_has(ev, F_PID))
        return 0;
    bool forked = event_kind(ev) == EVENT_FORK && of_main_thread(ev);
    uint32_t at = find(x, ev->cell[F_PID].num, event_int(ev, F_STARTTIME, -1));
    if (!at || (forked && (x->process[at].forked || x->process[at].ended)))
        at = add_process(x, ev);
    struct process *p = &x->process[at];
    if (!at)
        return 0;
    p->forked |= forked;
    if (known)
        p->ended = false;
    if (event_kind(ev) == EVENT_EXIT && of_main_thread(ev))
        p->ended = true;
    return at;
}

/* --- how it was when the span began ----------------------------------------------------------- */

static int add_record(struct records *to, const struct event *ev, uint32_t owner)
{
    struct place *place = grown(to->place, to->places, &to->place_cap, sizeof *place);
    if (!place)
        return -ENOMEM;
    to->place = place;
    while (to->cap - to->len < ev->size) {
        char *bytes = grown(to->bytes, to->cap, &to->cap, 1);
        if (!bytes)
            return -ENOMEM;
        to->bytes = bytes;
    }
    memcpy(to->bytes + to->len, ev, ev->size);
    to->place[to->places].process = owner;
    to->place[to->places++].off = to->len;
    to->len += ev->size;
    return 0;
}

struct snapshot {
    struct extraction *x;
    int result;
};

static void add_known(void *ctx, tracker_ref ref)
{
    struct snapshot *s = ctx;
    struct extraction *x = s->x;
    uint32_t owner = find(x, tracker_int(x->tracker, ref, F_PID, 0),
                          tracker_int(x->tracker, ref, F_STARTTIME, -1));
    event_begin(&x->made, EVENT_SNAPSHOT);
    event_copy_field(&x->made, F_TIME, &x->box.ev, F_TIME, WHY_COMPUTED);
    event_copy_field(&x->made, F_MONO, &x->box.ev, F_MONO, WHY_COMPUTED);
    if (!s->result && tracker_copy_state(x->tracker, ref, &x->made, WHY_ABSENT))
        s->result = add_record(&x->known, &x->made.ev, owner);
}

static bool has_span(const struct extraction *x)
{
    return x->what->from_ns <= x->what->until_ns;
}

static int forget(struct extraction *x)
{
    if (!x->anew)
        return 0;
    for (uint32_t i = 1; i < x->len; i++)
        x->process[i].ended = true;
    if (x->reboot)
        memset(x->latest, 0, (size_t)PIDS * sizeof *x->latest);
    tracker_free(x->tracker);
    x->tracker = tracker_new(TABLE_BYTES);
    return x->tracker ? 0 : -ENOMEM;
}

static int learn(struct extraction *x, bool known)
{
    const struct event *ev = &x->box.ev;
    uint32_t *more = grown(x->owner, x->record, &x->owner_cap, sizeof *more);
    int result = 0;
    if (!more)
        return -ENOMEM;
    x->owner = more;
    if (!x->begin && !known && has_span(x) && x->time >= x->what->from_ns) {
        struct snapshot s = { x, 0 };
        x->begin = x->record;
        tracker_each(x->tracker, add_known, &s);
        result = s.result;
    }
    x->owner[x->record] = owner_of(x, ev, known);
    tracker_apply(x->tracker, ev);
    return result;
}

/* --- who is wanted ---------------------------------------------------------------------------- */

static uint32_t find_wanted(const struct extraction *x, const struct extract_process *want)
{
    for (uint32_t at = x->len - 1; at; at--)
        if (x->process[at].pid == want->pid &&
            tracker_same_start(x->process[at].starttime, want->starttime))
            return at;
    return 0;
}

static int mark_family(struct extraction *x, const struct extract_process *want, bool ancestors)
{
    if (!want->pid)
        return 0;
    uint32_t root = find_wanted(x, want);
    if (!root)
        return -ESRCH;
    x->process[root].family = true;
    for (uint32_t at = x->process[root].parent; at && ancestors; at = x->process[at].parent)
        x->process[at].ancestor = true;
    return 0;
}

static int mark_wanted(struct extraction *x)
{
    int result = mark_family(x, &x->what->process, true);
    if (!result)
        result = mark_family(x, &x->what->top, false);
    for (uint32_t i = 1; i < x->len; i++)
        x->process[i].family |= x->process[x->process[i].parent].family;
    return result;
}

static bool wanted(const struct extraction *x, uint32_t process)
{
    return x->process[process].family || x->process[process].ancestor;
}

static bool in_span(const struct extraction *x)
{
    return x->begin && x->record >= x->begin && x->time <= x->what->until_ns;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int by_process(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Of those who lived when the span began, parents first; whoever is wanted is told of since its
 * first record. */
static void put_known(struct extraction *x)
{
    const struct records *known = &x->known;
    if (known->places)
        qsort(known->place, known->places, sizeof *known->place, by_process);
    for (size_t i = 0; i < known->places; i++) {
        if (wanted(x, known->place[i].process))
            continue;
        recording_event(x->to, (const void *)(known->bytes + known->place[i].off), true);
        x->result->known++;
    }
}

/* At the first record that is wanted: the file begins there. */
static int begin_writing(struct extraction *x)
{
    struct recording_head head = *recording_head(x->from[x->file < x->n ? x->file : 0]);
    if (x->to)
        return 0;
    head.real_ns = event_int(&x->box.ev, F_TIME, head.real_ns);
    head.mono_ns = event_int(&x->box.ev, F_MONO, head.mono_ns);
    int result = recording_begin(&x->to, x->fd, &head);
    if (!result)
        put_known(x);
    return result;
}

static int put_missing(struct extraction *x)
{
    if (x->missing)
        recording_gap(x->to, x->missing);
    x->result->gaps += x->missing;
    x->missing = 0;
    return -recording_count(x->to).error;
}

/* Notes name the record before them. */
static int remember(struct extraction *x)
{
    uint64_t seq = (uint64_t)event_int(&x->box.ev, F_SEQ, 0);
    if (!seq)
        return 0;
    if (seq <= x->remembered) { /* another run of a watch */
        x->span_first = 0;
        x->seq_len = 0;
    }
    x->remembered = seq;
    if (in_span(x)) {
        x->span_first = x->span_first ? x->span_first : seq;
        x->span_last = seq;
        return 0;
    }
    uint64_t *more = grown(x->seq, x->seq_len, &x->seq_cap, sizeof *more);
    if (!more)
        return -ENOMEM;
    x->seq = more;
    x->seq[x->seq_len++] = seq;
    return 0;
}

static int put(struct extraction *x, bool known)
{
    uint32_t owner = x->owner[x->record];
    const struct process *p = &x->process[owner];
    if ((!wanted(x, owner) && !in_span(x)) || (known && p->first != x->record))
        return 0;
    int result = begin_writing(x);
    if (!result)
        result = put_missing(x);
    if (result < 0)
        return result;
    recording_event(x->to, &x->box.ev, known);
    x->result->events += !known;
    x->result->known += known;
    return known ? 0 : remember(x);
}

/* --- notes ------------------------------------------------------------------------------------ */

static int compare_seqs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void put_note(void *ctx, const struct recording_note *note)
{
    struct extraction *x = ctx;
    bool spanned = x->span_first && note->seq + 1 >= x->span_first && note->seq <= x->span_last;
    if (!spanned && (note->kind != NOTE_ANSWER || !x->seq_len ||
                     !bsearch(&note->seq, x->seq, x->seq_len, sizeof *x->seq, compare_seqs)))
        return;
    recording_note(x->to, note);
    x->result->notes++;
}

static int put_notes(struct extraction *x)
{
    return x->to ? recording_notes(x->from[x->file], put_note, x) : 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int write_out(struct extraction *x)
{
    int result = read_all(x, NULL, put, put_notes);
    if (!result)
        result = begin_writing(x); /* nothing was wanted: an empty one */
    if (!x->to)
        return result;
    int ended = recording_end(x->to);
    return result ? result : ended;
}

int extract(struct recording *const *from, size_t n, const struct extract_what *what, int fd,
            struct extract_result *result)
{
    *result = (struct extract_result){ 0 };
    if (!n)
        return -EINVAL;
    struct extraction *x = calloc(1, sizeof *x);
    if (!x)
        return -ENOMEM;
    *x = (struct extraction){ .from = from, .n = n, .what = what, .result = result, .fd = fd };
    x->latest = calloc((size_t)PIDS, sizeof *x->latest);
    x->process = calloc(1024, sizeof *x->process);
    x->len = 1;
    x->cap = 1024;
    int failed = x->latest && x->process ? 0 : -ENOMEM;
    if (!failed)
        failed = read_all(x, forget, learn, NULL);
    if (!failed)
        failed = mark_wanted(x);
    if (!failed)
        failed = write_out(x);
    tracker_free(x->tracker);
    free(x->process);
    free(x->latest);
    free(x->owner);
    free(x->known.bytes);
    free(x->known.place);
    free(x->seq);
    free(x);
    return failed;
}
