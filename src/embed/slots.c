/* slots.c - how workers begin, how they end, and how long a call of theirs may take. See
 * crew_state.h. */
#include "embed/crew_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/budget.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEWARD_PATIENCE_NS (NS_PER_SECOND / 200)
#define MESSAGES_A_TURN   16  /* of a worker's: then others on the loop get theirs */
#define LAST_MESSAGES     1024
#define READY_PATIENCE_NS (60 * NS_PER_SECOND) /* from the fork, but for calls of scripts */
#define UNEXPLAINED_MOST  3   /* deaths in no script's call, within UNEXPLAINED_NS */
#define UNEXPLAINED_NS    (60 * NS_PER_SECOND)

_Static_assert(BUDGET_MARKS <= RING_WORDS, "the marks fit beside the cursor");

/* --- beginning -------------------------------------------------------------------------------- */

/* Does this worker run it? */
static bool runs(const struct worker_slot *slot, const struct crew_script *s)
{
    if (s->state != SCRIPT_ON)
        return false;
    if (s->warded)
        return slot->group == CREW_WARD && slot->ward_of == s->id;
    return slot->group == (s->trusted ? CREW_TRUSTED : CREW_POLICY);
}

/* The scripts of this worker; the array is the caller's. */
static struct host_source *sources_of(const struct worker_slot *slot, int *len)
{
    const struct crew *c = slot->crew;
    struct host_source *sources = calloc((size_t)c->scripts_len + 1, sizeof *sources);
    *len = 0;
    for (int i = 0; sources && i < c->scripts_len; i++) {
        const struct crew_script *s = c->scripts[i];
        if (runs(slot, s))
            sources[(*len)++] = (struct host_source){ .id = s->id,
                                                      .generation = s->generation,
                                                      .name = s->name,
                                                      .text = s->text,
                                                      .len = s->len };
    }
    return sources;
}

bool slots_wanted(const struct crew *c, enum crew_group group)
{
    if (group == CREW_POLICY)
        return true;
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->trusted)
            return true;
    return false;
}

/* A lock of its own: what is open in two processes by one open counts as one owner. */
static int open_lock(const struct crew *c)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", c->lock);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int make_memory(struct worker_slot *slot)
{
    if (slot->shared)
        return 0;
    void *memory =
        mmap(NULL, sizeof *slot->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    slot->shared = memory;
    return 0;
}

/* A ward keeps the trust of the script in it. */
static enum profile profile_of(const struct worker_slot *slot)
{
    const struct crew_script *s = roster_of(slot->crew, slot->ward_of);
    bool trusted = slot->group == CREW_WARD ? s && s->trusted : slot->group == CREW_TRUSTED;
    return trusted ? PROFILE_TRUSTED : PROFILE_POLICY;
}

static void send_note(void *ctx, const struct recording_note *note)
{
    recorder_note(ctx, note);
}

static void run_worker(struct worker_slot *slot, int control, int questions, int lock)
{
    struct crew *c = slot->crew;
    int len;
    struct host_source *sources = sources_of(slot, &len);
    struct worker_options options = {
        .ring = c->ring,
        .reader = slot->reader,
        .control = control,
        .questions = questions,
        .user = c->options.user,
        .scripts = sources,
        .scripts_len = len,
        .only_load = c->options.only_load,
        .know = c->started ? c->options.calls.know : NULL,
        .know_ctx = c->options.calls.ctx,
        .note = c->recorder ? send_note : NULL,
        .note_ctx = c->recorder,
        .notes = c->recorder ? recorder_notes(c->recorder) : -1,
        .host = c->options.host,
    };
    options.host.output_memory = &slot->shared->output;
    options.host.counts = &slot->shared->counts;
    options.host.output_lock = lock;
    options.host.profile = profile_of(slot);
    options.host.print_all = c->options.host.print_all && slot->group == CREW_POLICY;
    _exit(sources ? worker_run(&options) : 1);
}

static void on_said(struct ev_loop *loop, ev_io *watcher, int events);
static void on_ended(struct ev_loop *loop, ev_io *watcher, int events);

void slot_listen(struct worker_slot *slot)
{
    ev_io_init(&slot->said, on_said, slot->control, EV_READ);
    ev_io_init(&slot->ended, on_ended, slot->pidfd, EV_READ);
    slot->said.data = slot->ended.data = slot;
    ev_io_start(slot->crew->loop, &slot->said);
    if (slot->pidfd >= 0)
        ev_io_start(slot->crew->loop, &slot->ended);
    slots_watch(slot->crew);
}

bool slot_has_ended(const struct worker_slot *slot)
{
    struct pollfd ended = { .fd = slot->pidfd, .events = POLLIN };
    return slot->pidfd >= 0 && poll(&ended, 1, 0) > 0;
}

static void clear_marks(struct worker_slot *slot)
{
    budget_clear_call(ring_words(slot->crew->ring, slot->reader));
    slot->seen_call = 0;
    slot->seen_ns = slot->spawned_ns = clock_mono_ns();
}

/* An answering side for it. 0, or -errno: then the questions' end is closed. */
static int start_steward(struct worker_slot *slot, int questions)
{
    struct crew *c = slot->crew;
    struct steward_means means = c->options.means;
    means.owner = (uint32_t)slot->reader;
    int result = steward_new(&slot->steward, &means);
    for (int i = 0; result == 0 && i < c->scripts_len; i++)
        if (runs(slot, c->scripts[i]))
            result = steward_script(slot->steward, c->scripts[i]->id, c->scripts[i]->name);
    if (result < 0)
        close(questions);
    return result < 0 ? result : steward_start(slot->steward, questions);
}

static void close_pair(const int *pair)
{
    close(pair[0]);
    close(pair[1]);
}

int slot_spawn(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    int control[2], questions[2];
    if (make_memory(slot) < 0)
        return crew_fail(c, -ENOMEM, "not enough memory for a script worker");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
        return crew_fail(c, -errno, "cannot make a socket: %s", strerror(errno));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, questions) < 0) {
        int error = errno;
        close_pair(control);
        return crew_fail(c, -error, "cannot make a socket: %s", strerror(error));
    }
    int lock = open_lock(c);
    slot->ready = slot->killed = slot->failed = slot->retired = false;
    clear_marks(slot);
    slot->pid = fork();
    if (slot->pid == 0)
        run_worker(slot, control[1], questions[1], lock);
    int error = errno;
    close(control[1]);
    close(questions[1]);
    if (lock >= 0)
        close(lock);
    if (slot->pid < 0) {
        slot->pid = 0;
        close(control[0]);
        close(questions[0]);
        return crew_fail(c, -error, "cannot start a script worker: %s", strerror(error));
    }
    slot->control = control[0];
    slot->pidfd = (int)syscall(SYS_pidfd_open, slot->pid, 0); /* before 5.3 there is none */
    int result = start_steward(slot, questions[0]);
    if (c->loop)
        slot_listen(slot);
    return result < 0 ? crew_fail(c, result, "cannot start a thread: %s", strerror(-result)) : 0;
}

/* --- ending ----------------------------------------------------------------------------------- */

/* It has ended, or hung up and is not ours any more: to who is ending already the signal means
 * nothing. */
void slot_reap(struct worker_slot *slot, char *how, size_t cap)
{
    int status = 0;
    pid_t ended;
    kill(slot->pid, SIGKILL);
    while ((ended = waitpid(slot->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    if (ended < 0) /* the caller's loop was quicker to ask */
        snprintf(how, cap, "ended");
    else if (WIFSIGNALED(status))
        snprintf(how, cap, "was killed by %s", strsignal(WTERMSIG(status)));
    else
        snprintf(how, cap, "ended with status %d", WEXITSTATUS(status));
}

bool slots_free_stewards(struct crew *c, int64_t patience_ns)
{
    bool all = true;
    for (int i = 0; i < LEAVING_MOST; i++)
        if (steward_free(c->leaving[i], patience_ns))
            c->leaving[i] = NULL;
        else
            all = false;
    return all;
}

/* Mostly it ends at once. One that is at something that takes long is not waited for; when there are
 * too many of these, a worker's questions must stay without an answer for a while. */
static void let_steward_go(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    struct steward *steward = slot->steward;
    slot->steward = NULL;
    if (steward_free(steward, clock_mono_ns() + STEWARD_PATIENCE_NS))
        return;
    for (int i = 0; i < LEAVING_MOST; i++)
        if (!c->leaving[i] || steward_free(c->leaving[i], 0)) {
            c->leaving[i] = steward;
            return;
        }
    log_error("%d questions of workers that ended are still being answered: one is forgotten",
              LEAVING_MOST);
}

void slot_close(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    if (c->loop) {
        ev_io_stop(c->loop, &slot->said);
        ev_io_stop(c->loop, &slot->ended);
    }
    if (slot->control >= 0)
        close(slot->control);
    if (slot->pidfd >= 0)
        close(slot->pidfd);
    slot->control = slot->pidfd = -1;
    slot->pid = 0;
    slot->ready = false;
    let_steward_go(slot);
    slot->missed_before += slot->missed;
    slot->missed = 0;
    buf_clear(&slot->answer);
    while (slot->waiting)
        slot_answer(slot, -EIO, "the script worker ended");
}

/* --- last words ----------------------------------------------------------------------------------
 *
 * What a worker has said and not written is written by its successor. Where there is none, a thread
 * does it: who reads the output may be slow, and we wait for nobody. */

struct last_words {
    struct last_words *next;
    pthread_t thread;
    bool running;
    struct output_memory said; /* a copy: a child of the dead one may still write to the memory */
    int fd, lock;              /* lock: owned */
};

static void *write_last_words(void *arg)
{
    struct last_words *words = arg;
    struct output output;
    output_init(&output, words->fd, true);
    output_share(&output, &words->said, words->lock);
    output_free(&output);
    return NULL;
}

void slot_leave_last_words(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    if (!slot->shared || slot->shared->output.start >= slot->shared->output.len)
        return;
    struct last_words *words = calloc(1, sizeof *words);
    if (!words)
        return;
    words->said = slot->shared->output;
    slot->shared->output.start = slot->shared->output.len = 0;
    words->fd = c->options.host.fd;
    words->lock = open_lock(c);
    words->next = c->last_words;
    c->last_words = words;
    words->running = pthread_create(&words->thread, NULL, write_last_words, words) == 0;
    if (!words->running)
        write_last_words(words);
}

/* At the end: they are given until `patience_ns`. */
void slots_hear_last_words(struct crew *c, int64_t patience_ns)
{
    while (c->last_words) {
        struct last_words *words = c->last_words;
        struct timespec until = { patience_ns / NS_PER_SECOND, patience_ns % NS_PER_SECOND };
        c->last_words = words->next;
        if (words->running && pthread_clockjoin_np(words->thread, NULL, CLOCK_MONOTONIC, &until))
            continue; /* it goes with the process */
        if (words->lock >= 0)
            close(words->lock);
        free(words);
    }
}

static uint64_t mark_of(const struct worker_slot *slot, enum budget_mark mark)
{
    return atomic_load(&ring_words(slot->crew->ring, slot->reader)[mark]);
}

/* In whose call did it die? Only of scripts that it had. */
struct crew_script *slot_offender(const struct worker_slot *slot)
{
    uint64_t script = mark_of(slot, MARK_SCRIPT);
    struct crew_script *s = script ? roster_of(slot->crew, (uint32_t)(script - 1)) : NULL;
    return s && (runs(slot, s) || (s->next && slot_of(slot->crew, s) == slot)) ? s : NULL;
}

/* What was counted of it goes along. */
static void move_counts(const struct worker_slot *from, struct worker_slot *to, uint32_t id)
{
    struct host_counts *counts = &to->shared->counts;
    for (int i = 0; from->shared && i < HOST_COUNTS; i++)
        if (from->shared->counts.of[i].taken && from->shared->counts.of[i].id == id) {
            *counts = (struct host_counts){ 0 };
            counts->of[0] = from->shared->counts.of[i];
        }
}

/* A worker for this script alone, which goes on where the dead one was. False: no room. */
static bool open_ward(struct worker_slot *dead, struct crew_script *s)
{
    struct crew *c = dead->crew;
    for (int i = FIRST_WARD; i < CREW_SLOTS; i++) {
        struct worker_slot *ward = &c->slots[i];
        if (ward->pid)
            continue;
        s->warded = true;
        ward->group = CREW_WARD;
        ward->ward_of = s->id;
        ring_reader_follow(c->ring, dead->reader, i);
        ward->wants = dead->wants;
        if (make_memory(ward) == 0)
            move_counts(dead, ward, s->id);
        if (slot_spawn(ward) == 0)
            return true;
        s->warded = false;
        log_error("%s", crew_error(c));
    }
    return false;
}

static void blame(struct worker_slot *slot, struct crew_script *s, const char *how)
{
    struct crew *c = slot->crew;
    char why[512];
    slot_count_last(slot, s);
    if (slot->killed)
        snprintf(why, sizeof why, "a call took longer than %g s",
                 (double)c->options.hard_ns / (double)NS_PER_SECOND);
    else
        snprintf(why, sizeof why, "its worker %s in one of its calls", how);
    if (s->next && !s->unsent && mark_of(slot, MARK_LOADING)) {
        roster_refuse_next(c, s, why); /* it died of the version that was being loaded */
        roster_check_settled(c);
        return;
    }
    if (s->next) { /* a version that was saved since is loaded when the successor is ready */
        log_error("%s: %s; its next version follows", crew_script_name(s), why);
        roster_switch_off(s, why);
        return;
    }
    if (s->shadow) {
        log_error("%s: it or its shadow: %s; the shadow is gone", crew_script_name(s), why);
        roster_drop_shadow(s);
        return;
    }
    if (c->options.ward && slot->group != CREW_WARD && open_ward(slot, s)) {
        log_error("%s runs alone from now on: %s", crew_script_name(s), why);
        snprintf(s->why, sizeof s->why, "%s", why);
        return;
    }
    roster_switch_off(s, why);
    s->warded = false; /* if it was, this was its ward */
    log_error("%s is off until its file changes: %s", crew_script_name(s), why);
}

/* Shadows die with their workers: what they noted went with them. */
static void drop_shadows(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->shadow && slot_of(c, c->scripts[i]) == slot) {
            log_error("the shadow of %s is gone with its worker",
                      crew_script_name(c->scripts[i]));
            roster_drop_shadow(c->scripts[i]);
        }
}

/* True: there were too many of them. */
static bool count_unexplained(struct crew *c)
{
    int64_t now = clock_mono_ns();
    if (now - c->unexplained_ns > UNEXPLAINED_NS)
        c->unexplained = 0;
    c->unexplained_ns = now;
    return ++c->unexplained > UNEXPLAINED_MOST;
}

static void end_watch(struct crew *c)
{
    c->options.calls.ending(c->options.calls.ctx, CREW_DIED, 0);
}

static bool has_work(const struct worker_slot *slot)
{
    const struct crew_script *s = roster_of(slot->crew, slot->ward_of);
    return slot->group != CREW_WARD || (s && runs(slot, s));
}

/* The others go on with the record that the dead one had in its hands. False: not again. */
bool slot_replace(struct worker_slot *slot, const char *how)
{
    struct crew *c = slot->crew;
    struct crew_script *s = slot_offender(slot);
    bool line = mark_of(slot, MARK_SCRIPT) == (uint64_t)HOST_EVAL_ID + 1;
    if (s)
        blame(slot, s, how);
    else if (!slot->failed)
        log_error("a script worker %s, %s", how,
                  line ? "in a line that was evaluated" : "in no script's call");
    drop_shadows(slot);
    if (!has_work(slot)) {
        slot_leave_last_words(slot);
        slot->wants = (struct crew_wants){ 0 };
        return true;
    }
    if (!s && !line && !slot->failed && count_unexplained(c)) {
        crew_fail(c, -EIO, "the script worker %s, again and again", how);
        return false;
    }
    slot->restarts++;
    return slot_spawn(slot) == 0;
}

static void worker_died(struct worker_slot *slot)
{
    struct crew *c = slot->crew;
    char how[128];
    slot_reap(slot, how, sizeof how);
    bool reporting = slot->reporting;
    slot->reporting = false;
    slot_close(slot);
    if (slot->retired) {
        slot_leave_last_words(slot);
        slot->wants = (struct crew_wants){ 0 };
    } else if (!slot_replace(slot, how)) {
        end_watch(c);
    }
    if (reporting)
        crew_reported(c);
}

/* Its end is known by its pidfd: a child of a worker may hold the socket open. */
static void on_ended(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct worker_slot *slot = watcher->data;
    struct worker_message message;
    (void)loop, (void)events;
    for (int left = LAST_MESSAGES; left && slot_receive(slot, &message, 0) == 1; left--)
        slot_hear(slot, &message);
    worker_died(slot);
}

static void on_said(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct worker_slot *slot = watcher->data;
    struct worker_message message;
    (void)events;

    int got = 0;
    for (int left = MESSAGES_A_TURN; left && (got = slot_receive(slot, &message, 0)) == 1; left--)
        slot_hear(slot, &message);
    if (got >= 0)
        return;
    if (slot->pidfd < 0) {
        worker_died(slot);
        return;
    }
    ev_io_stop(loop, &slot->said); /* it ends, or is made to, and then its pidfd says so */
    kill(slot->pid, SIGKILL);
}

/* --- the hard limit ------------------------------------------------------------------------------
 *
 * Looks at the marks of each worker from time to time while any has a call: the same call twice,
 * with the limit in between, is too long. When none has one, the looking stops, until the next
 * batch of records or until a worker says that a call takes long. */

static int64_t limit_of(const struct worker_slot *slot)
{
    return slot->crew->options.hard_ns * (mark_of(slot, MARK_LOADING) ? BUDGET_LOADING : 1);
}

/* What hangs before it is ready hangs in no script's call. */
static void look_at_start(struct worker_slot *slot, int64_t now)
{
    if (slot->killed || now - slot->spawned_ns < READY_PATIENCE_NS)
        return;
    slot->killed = true;
    kill(slot->pid, SIGKILL);
}

/* True while it has a call, or is not ready. */
bool slot_look(struct worker_slot *slot, int64_t now)
{
    uint64_t call = mark_of(slot, MARK_CALL);
    if (!slot->pid)
        return false;
    if (!mark_of(slot, MARK_SCRIPT)) {
        if (!slot->ready)
            look_at_start(slot, now);
        return !slot->ready;
    }
    if (call != slot->seen_call || mark_of(slot, MARK_PAUSED)) {
        slot->seen_call = call;
        slot->seen_ns = now;
    } else if (now - slot->seen_ns >= limit_of(slot) && !slot->killed) {
        slot->killed = true;
        kill(slot->pid, SIGKILL);
    }
    return true;
}

void slots_on_look(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct crew *c = watcher->data;
    int64_t now = clock_mono_ns();
    bool any = false;
    (void)events;
    for (int i = 0; i < CREW_SLOTS; i++)
        any = slot_look(&c->slots[i], now) || any;
    if (!any)
        ev_timer_stop(loop, watcher);
}

void slots_watch(struct crew *c)
{
    if (c->loop && c->options.hard_ns && !ev_is_active(&c->watching))
        ev_timer_again(c->loop, &c->watching);
}
