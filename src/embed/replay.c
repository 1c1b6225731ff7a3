/* replay.c - tells the scripts of a watch what was recorded, instead of what happens.
 *
 * Nothing here is read of this machine, its clock neither: the same recording and the same scripts give
 * the same output. Where the scripts are those that ran when it was recorded, they are told the time at
 * the very places where they were told it then; for others it goes on with the events. */
#include "moonwatch.h"

#include "base/log.h"
#include "embed/tape.h"
#include "embed/watch.h"
#include "event/read.h"
#include "host/figures.h"
#include "record/segments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_EVERY 256 /* events */

struct replay {
    struct moonwatch *m;
    struct moonwatch_replay *o;
    struct host *host;
    struct recording **files; /* owned array */
    int files_len;
    struct tape *tape; /* owned */
    struct host_counts *counts; /* owned: of all watches together */
    bool exact;        /* the scripts are those of then */
    bool stopped;      /* by a script */
    uint64_t seq;      /* of the record that is told */
    int64_t mono_ns;   /* of it */
    int64_t skew_ns;   /* real minus monotonic */
    int64_t began_ns, first_ns; /* of our clock and of theirs, with a speed */
    int output_error;
    uint64_t skip_until; /* these records their host never got */
    struct event_box box;
};

static int fail(struct replay *r, int error, const char *why)
{
    return watch_fail(r->m, error, why);
}

/* --- the world of the scripts -------------------------------------------------------------------- */

static int give(const struct recording_note *note, struct buf *out)
{
    buf_add(out, note->answer, note->answer_len);
    return out->failed ? -ENOMEM : note->result;
}

static int refuse_signal(struct buf *out)
{
    static const char text[] = "not sent: this is a replay";
    struct request_refusal refusal = { .error = -EPERM };
    buf_add(out, &refusal, sizeof refusal);
    buf_puts(out, text);
    return out->failed ? -ENOMEM : 0;
}

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len, struct buf *out,
                   int *fds)
{
    struct replay *r = ctx;
    bool exact;
    if (kind == REQUEST_FILE || kind == REQUEST_RULES) /* they lie beside the script */
        return watch_answer(r->m, kind, bytes, len, out, fds);
    if (kind != REQUEST_PROBE && kind != REQUEST_CENSUS && kind != REQUEST_SIGNAL && kind != REQUEST_USER)
        return -ENOTCONN;
    const struct recording_note *note = tape_answer(r->tape, kind, bytes, len, r->seq, &exact);
    if (kind == REQUEST_SIGNAL && !(note && exact && r->exact))
        return refuse_signal(out);
    r->o->answered += note != NULL;
    r->o->unanswered += note == NULL;
    return note ? give(note, out) : -ENODATA;
}

static int64_t clock_then(void *ctx)
{
    struct replay *r = ctx;
    bool exact;
    int64_t then = r->mono_ns;
    const struct recording_note *note = tape_answer(r->tape, REQUEST_CLOCK, NULL, 0, r->seq, &exact);
    if (r->exact && note && exact && note->answer_len == sizeof then)
        memcpy(&then, note->answer, sizeof then);
    return then;
}

static void figures_then(void *ctx, struct figures *out)
{
    struct replay *r = ctx;
    bool exact;
    const struct recording_note *note = tape_answer(r->tape, REQUEST_FIGURES, NULL, 0, r->seq, &exact);
    if (note && note->answer_len == sizeof *out)
        memcpy(out, note->answer, sizeof *out);
    else
        out->events = r->o->events;
}

static void stop(void *ctx)
{
    struct replay *r = ctx;
    r->stopped = true;
}

static void alert(void *ctx, const struct host_alert *told)
{
    struct replay *r = ctx;
    const struct json_alert *a = told->alert;
    struct moonwatch_alert alert = { .script = a->script, .severity = a->severity,
                                     .text = a->text ? a->text : "", .text_len = a->text_len,
                                     .key = a->key ? a->key : "", .key_len = a->key_len,
                                     .seq = told->seq ? told->seq : r->seq, .time = (double)told->time_ns / 1e9,
                                     .json = host_witness(r->host) };
    if (r->o->on_alert)
        r->o->on_alert(r->o->ctx, &alert);
}

/* Only so that alerts come with what they were told about. */
static void note(void *ctx, const struct recording_note *note)
{
    (void)ctx, (void)note;
}

/* --- time ---------------------------------------------------------------------------------------- */

static bool ended(const struct replay *r)
{
    return r->stopped || r->output_error || (r->o->stop && *r->o->stop);
}

/* With a speed: wait until it is their time. */
static void keep_pace(struct replay *r, int64_t mono_ns)
{
    struct timespec now, until;
    if (r->o->speed <= 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!r->began_ns) {
        r->began_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        r->first_ns = mono_ns;
    }
    int64_t at_ns = r->began_ns + (int64_t)((double)(mono_ns - r->first_ns) / r->o->speed);
    until = (struct timespec){ at_ns / 1000000000, at_ns % 1000000000 };
    if (at_ns <= (int64_t)now.tv_sec * 1000000000 + now.tv_nsec)
        return;
    host_flush(r->host);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        if (ended(r))
            return;
}

/* Their host was told the time here, or made a step of a storm, or lost something. */
static void apply(struct replay *r, const struct recording_note *note)
{
    if (note->kind == NOTE_TICK) {
        keep_pace(r, note->mono_ns);
        r->mono_ns = note->mono_ns;
        host_clock(r->host, note->mono_ns, note->real_ns);
    } else if (note->kind == NOTE_STORM) {
        host_storm(r->host, note->result);
    } else {
        r->skip_until = note->seq + (uint64_t)note->result;
        host_missed(r->host, (uint64_t)note->result);
    }
}

/* What came to them before this record. */
static void go_on(struct replay *r, uint64_t seq, int64_t mono_ns, int64_t real_ns)
{
    const struct recording_note *note;
    if (!r->exact) {
        host_pass(r->host, mono_ns, real_ns);
        return;
    }
    while (!ended(r) && (note = tape_next(r->tape, seq)))
        apply(r, note);
}

/* --- events -------------------------------------------------------------------------------------- */

static bool is_early(const struct replay *r, const struct event *ev)
{
    return (r->o->from > 0 && (double)event_int(ev, F_TIME, 0) / 1e9 < r->o->from) ||
           (uint64_t)event_int(ev, F_SEQ, 0) < r->o->from_seq;
}

static bool is_late(const struct replay *r, const struct event *ev)
{
    return (r->o->until_seq && (uint64_t)event_int(ev, F_SEQ, 0) >= r->o->until_seq) ||
           (r->o->until > 0 && (double)event_int(ev, F_TIME, 0) / 1e9 >= r->o->until);
}

static void tell(struct replay *r, const struct event *ev)
{
    uint64_t seq = (uint64_t)event_int(ev, F_SEQ, 0);
    int64_t mono_ns = event_int(ev, F_MONO, r->mono_ns);
    if (is_early(r, ev)) {
        host_know(r->host, ev);
        return;
    }
    go_on(r, seq, mono_ns, event_int(ev, F_TIME, 0));
    keep_pace(r, mono_ns);
    r->seq = seq;
    r->mono_ns = mono_ns > r->mono_ns ? mono_ns : r->mono_ns;
    r->skew_ns = event_int(ev, F_TIME, mono_ns + r->skew_ns) - mono_ns;
    r->o->events++;
    if (!r->o->first)
        r->o->first = (double)event_int(ev, F_TIME, 0) / 1e9;
    r->o->last = (double)event_int(ev, F_TIME, 0) / 1e9;
    if (seq > r->skip_until || !r->exact)
        host_event(r->host, ev);
    if (r->o->events % FLUSH_EVERY == 0 && host_flush(r->host) < 0)
        r->output_error = errno;
}

/* Of segments each begins with who lives: of the first one that is news. */
static void play_file(struct replay *r, struct recording *file, bool first)
{
    uint64_t missing = 0;
    int got;
    while (!ended(r) && (got = recording_next(file, &r->box, &missing)) != 0) {
        if (got == -EOVERFLOW)
            r->o->missing += missing;
        else if (got == -EBADMSG)
            r->o->damaged++;
        else if (got < 0)
            return;
        else if (is_late(r, &r->box.ev))
            return;
        else if (got == 1 || first)
            tell(r, &r->box.ev);
    }
}

static int play_lines(struct replay *r)
{
    struct reader *reader;
    char *line = NULL, why[512], text[640];
    size_t cap = 0;
    ssize_t len;
    int result = reader_new(&reader);
    FILE *in = result < 0 ? NULL : fdopen(dup(r->o->lines), "r");
    if (!in)
        return fail(r, -ENOMEM, "not enough memory for the input");
    for (int number = 1; !ended(r) && (len = getline(&line, &cap, in)) >= 0; number++) {
        const struct event *ev, *parent;
        int got = reader_line(reader, line, (size_t)len, &ev, &parent, why, sizeof why);
        if (got < 0 && r->o->damaged++ < 10) {
            snprintf(text, sizeof text, "input, line %d: %s: left out", number, why);
            log_warn("%s", text);
        }
        if (got != 1 || is_late(r, ev))
            continue;
        if (reader_boot(reader))
            host_set_boot(r->host, reader_boot(reader));
        if (parent)
            host_know(r->host, parent);
        memcpy(&r->box.ev, ev, ev->size);
        host_fill(r->host, &r->box);
        tell(r, &r->box.ev);
    }
    if (ferror(in))
        result = fail(r, -EIO, "the input cannot be read");
    fclose(in);
    free(line);
    reader_free(reader);
    return result;
}

/* The number of its first event; 0: it has none. */
static uint64_t first_seq(struct replay *r, struct recording *file)
{
    uint64_t missing;
    int got;
    while ((got = recording_next(file, &r->box, &missing)) != 0 && got != 1)
        ;
    recording_rewind(file);
    return got == 1 ? (uint64_t)event_int(&r->box.ev, F_SEQ, 0) : 0;
}

/* --- opening ------------------------------------------------------------------------------------- */

static int open_file(struct replay *r, const char *path)
{
    char why[640];
    struct recording **files = realloc(r->files, (size_t)(r->files_len + 1) * sizeof *files);
    if (!files)
        return fail(r, -ENOMEM, "not enough memory for the recordings");
    r->files = files;
    int result = recording_open(&files[r->files_len], path, why, sizeof why);
    if (result < 0)
        return fail(r, result == -ENOMEM ? result : -ENOENT, why);
    const struct recording_about *about = recording_about(files[r->files_len++]);
    r->o->torn_bytes += about->torn_bytes;
    result = r->tape ? tape_read(r->tape, files[r->files_len - 1]) : 0;
    return result < 0 ? fail(r, result, "the recording's notes cannot be read") : 0;
}

static int open_segments(struct replay *r, const char *dir)
{
    struct segments_list list = { 0 };
    char why[512];
    int result = segments_list(dir, &list);
    if (result < 0 || !list.len) {
        snprintf(why, sizeof why, "%s: %s", dir,
                 result < 0 ? strerror(-result) : "there is no recording of a flight recorder in it");
        return fail(r, -ENOENT, why);
    }
    for (size_t i = 0; i < list.len && result == 0; i++)
        result = open_file(r, list.path[i]);
    segments_list_free(&list);
    return result;
}

static int open_all(struct replay *r)
{
    struct stat about;
    int result = 0;
    for (int i = 0; i < r->o->files_len && result == 0; i++) {
        bool directory = stat(r->o->files[i], &about) == 0 && S_ISDIR(about.st_mode);
        result = directory ? open_segments(r, r->o->files[i]) : open_file(r, r->o->files[i]);
    }
    return result;
}

static void close_all(struct replay *r)
{
    for (int i = 0; i < r->files_len; i++)
        recording_close(r->files[i]);
    free(r->files);
    free(r->counts);
    tape_free(r->tape);
}

/* Are the scripts those that ran when it was recorded, and all of them? */
static bool same_scripts(const struct replay *r)
{
    struct host_source source;
    int loaded = 0, n = 0;
    for (; watch_source(r->m, n, &source); n++) {
        char stem[64];
        uint64_t hash;
        host_source_mark(&source, stem, sizeof stem, &hash);
        if (!tape_has_script(r->tape, stem, hash, &loaded))
            return false;
    }
    return n && n == loaded && !r->o->from && !r->o->from_seq;
}

static int start(struct replay *r, const struct recording_head *head)
{
    struct host_world world = { .ctx = r,
                                .request = request,
                                .clock = clock_then,
                                .figures = figures_then,
                                .stop = stop,
                                .alert = alert,
                                .note = r->o->on_alert ? note : NULL };
    int result = watch_open_host(r->m, &world, head ? head->boot : 1, r->counts, &r->host);
    if (result < 0)
        return result;
    const struct recording_note *tick = r->exact ? tape_next(r->tape, 1) : NULL;
    if (tick && tick->kind == NOTE_TICK)
        host_clock(r->host, tick->mono_ns, tick->real_ns);
    else if (head)
        host_clock(r->host, head->mono_ns, head->real_ns);
    return watch_load(r->m);
}

static void add_about(struct moonwatch_recording *to, const struct recording *r)
{
    const struct recording_about *about = recording_about(r);
    const struct recording_head *head = recording_head(r);
    if (about->first_ns && !to->first)
        to->first = (double)about->first_ns / 1e9;
    if (about->last_ns)
        to->last = (double)about->last_ns / 1e9;
    to->events += about->events;
    to->bytes += about->bytes;
    to->torn = about->torn;
    to->utc_offset = head->utc_offset_s;
    memcpy(to->host, head->host, sizeof to->host);
}

int moonwatch_recording(const char *path, struct moonwatch_recording *out, char *why, size_t cap)
{
    struct moonwatch_options options;
    moonwatch_options_init(&options);
    struct moonwatch_replay replay = { .files = &path, .files_len = 1 };
    struct replay r = { .o = &replay };
    *out = (struct moonwatch_recording){ 0 };
    if (!(r.m = moonwatch_new(&options)))
        return -ENOMEM;
    int result = open_all(&r);
    for (int i = 0; i < r.files_len && result == 0; i++)
        add_about(out, r.files[i]);
    if (result < 0)
        snprintf(why, cap, "%s", moonwatch_error(r.m));
    close_all(&r);
    moonwatch_free(r.m);
    return result;
}

void moonwatch_replay_init(struct moonwatch_replay *replay)
{
    *replay = (struct moonwatch_replay){ .size = sizeof *replay, .lines = -1 };
}

static int finish(struct replay *r)
{
    if (!r->stopped && r->exact)
        go_on(r, UINT64_MAX, 0, 0);
    r->seq = UINT64_MAX;
    host_finish(r->host);
    int result = host_flush(r->host);
    return result < 0 && result != -EPIPE ? watch_fail_output(r->m, -result) : 0;
}

/* The files of one watch, from number `*at` on: those of the next one begin to count anew. */
static void play_watch(struct replay *r, int *at)
{
    bool first = true;
    do {
        play_file(r, r->files[*at], first);
        first = false;
    } while (++*at < r->files_len && !ended(r) && first_seq(r, r->files[*at]) > r->seq);
}

/* Scripts begin anew with each watch, as they did. */
static int play(struct replay *r)
{
    int result = 0;
    for (int at = 0; at < r->files_len && !ended(r) && result == 0;) {
        if (at)
            result = start(r, recording_head(r->files[at]));
        if (result < 0)
            return result;
        play_watch(r, &at);
        if (at < r->files_len && !ended(r)) {
            result = finish(r);
            watch_end_replay(r->m);
            r->seq = 0;
            r->mono_ns = 0;
        }
    }
    return result;
}

int moonwatch_replay(struct moonwatch *m, struct moonwatch_replay *options)
{
    struct replay *r = calloc(1, sizeof *r);
    if (r)
        r->counts = calloc(1, sizeof *r->counts);
    if (!r || !r->counts) {
        free(r);
        return watch_fail(m, -ENOMEM, "not enough memory for the replay");
    }
    r->m = m;
    r->o = options;
    int result = tape_new(&r->tape);
    if (result == 0)
        result = open_all(r);
    if (result == 0) {
        r->exact = options->same_scripts = same_scripts(r);
        result = start(r, r->files_len ? recording_head(r->files[0]) : NULL);
    }
    if (result == 0 && options->lines >= 0)
        result = play_lines(r);
    else if (result == 0)
        result = play(r);
    if (result == 0)
        result = finish(r);
    watch_end_replay(m);
    close_all(r);
    free(r);
    return result;
}
