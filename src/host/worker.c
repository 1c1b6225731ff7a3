/* worker.c - the unprivileged process in which scripts run. See worker.h. */
#include "host/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "host/confine.h"
#include "host/world.h"

#include <errno.h>
#include <ev.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RECORDS_A_TURN 256
#define TICKS_A_BUDGET 5 /* how exactly a call's time is measured */

/* How often to look how far behind we are: the smallest ring holds some six hundred records, and a
 * script may take milliseconds for one. */
#define PRESSURE_EVERY 8    /* records */
#define STORM_LOOK_S   0.25 /* in a storm, when no record comes */

/* Who asks to be told of all processes again gets a record for each. Asking at each gap while the
 * ring is full makes the next gap: so not then, or once a second at most. */
#define RETELL_BELOW    0.5 /* of the ring */
#define RETELL_EVERY_NS NS_PER_SECOND

#define MEMORY_BESIDES ((size_t)512 << 20) /* what no budget counts may map so much */

struct worker {
    const struct worker_options *options;
    struct ev_loop *loop;
    struct host *host;
    struct world world;
    struct request_link link;
    ev_io readable, parent;
    ev_timer storm; /* runs while a storm lasts */
    ev_idle more;   /* runs while the ring is not empty, so that timers get their turn */
    uint64_t missed;
    bool gap; /* something was missed since we last asked to be told of all processes */
    int64_t retold_ns;
    bool stopping;
    struct event_box box;
};

static struct worker worker;

/* --- talking to the parent ---------------------------------------------------------------- */

static void say(const struct worker_message *message)
{
    if (send(worker.options->control, message, sizeof *message, MSG_NOSIGNAL) < 0)
        log_debug("worker: %s", strerror(errno)); /* the parent is gone: its hang-up ends us */
}

static int fail(const char *text, uint32_t id)
{
    struct worker_message message = { .say = WORKER_FAILED, .id = id };
    snprintf(message.text, sizeof message.text, "%s", text);
    say(&message);
    return 1;
}

static void ask_to_stop(int error)
{
    if (worker.stopping)
        return;
    worker.stopping = true;
    say(&(struct worker_message){ .say = WORKER_STOP, .error = error });
}

/* --- giving up ----------------------------------------------------------------------------- */

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Close every descriptor above standard error but these. */
static void close_others(int *keep, size_t n)
{
    int from = 3;
    qsort(keep, n, sizeof *keep, compare_ints);
    for (size_t i = 0; i < n; i++) {
        if (keep[i] > from)
            syscall(SYS_close_range, from, keep[i] - 1, 0);
        if (keep[i] >= from)
            from = keep[i] + 1;
    }
    syscall(SYS_close_range, from, ~0U, 0);
}

/* --- the world of the host ------------------------------------------------------------------ */

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *out, int *fds)
{
    (void)ctx;
    return request_ask(&worker.link, kind, bytes, len, out, fds);
}

static void figures(void *ctx, struct figures *out)
{
    (void)ctx;
    ring_posted(worker.options->ring, (uint64_t *)out, FIGURES_WORDS);
    double backlog = ring_backlog(worker.options->ring, worker.options->reader);
    out->missed = worker.missed;
    out->backlog_permille = backlog < 1 ? (uint64_t)(backlog * 1000) : 1000;
}

static void stop(void *ctx)
{
    (void)ctx;
    ask_to_stop(0);
}

static void off(void *ctx, uint32_t id, const char *why)
{
    struct worker_message message = { .say = WORKER_OFF, .id = id };
    (void)ctx;
    snprintf(message.text, sizeof message.text, "%s", why);
    say(&message);
}

static void note(void *ctx, const struct recording_note *from)
{
    struct recording_note to = *from;
    (void)ctx;
    to.group = (uint8_t)worker.options->reader;
    worker.options->note(worker.options->note_ctx, &to);
}

static void alert(void *ctx, const struct host_alert *told)
{
    (void)ctx;
    if (told->dump_s > 0)
        say(&(struct worker_message){ .say = WORKER_DUMP,
                                      .dump_s = told->dump_s,
                                      .id = told->id,
                                      .pid = told->pid,
                                      .starttime = told->starttime });
}

static void need(void *ctx, uint64_t fields)
{
    (void)ctx;
    say(&(struct worker_message){ .say = WORKER_NEEDS, .needs = fields });
}

/* --- the loop -------------------------------------------------------------------------------- */

static void flush(void)
{
    int result = host_flush(worker.host);
    if (result < 0)
        ask_to_stop(-result);
}

static void missed(uint64_t records)
{
    worker.missed += records;
    host_missed(worker.host, records);
    worker.gap = true;
}

static void mend_gap(double backlog, int64_t now_ns)
{
    if (!worker.gap || (backlog >= RETELL_BELOW && now_ns - worker.retold_ns < RETELL_EVERY_NS))
        return;
    worker.gap = false;
    worker.retold_ns = now_ns;
    say(&(struct worker_message){ .say = WORKER_RETELL, .missed = worker.missed });
}

static void look_how_far_behind(void)
{
    double backlog = ring_backlog(worker.options->ring, worker.options->reader);
    int64_t now_ns = clock_mono_ns();
    bool storm = host_pressure(worker.host, backlog, now_ns);
    mend_gap(backlog, now_ns);
    if (storm == ev_is_active(&worker.storm))
        return;
    if (storm)
        ev_timer_again(worker.loop, &worker.storm);
    else
        ev_timer_stop(worker.loop, &worker.storm);
}

static void on_storm(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    look_how_far_behind();
    flush();
}

/* Read for a turn. Returns 1 when there is more, 0 when not, -EPIPE at the end. */
static int read_some(void)
{
    for (int i = 0; i < RECORDS_A_TURN; i++) {
        uint64_t lost = 0;
        if (i % PRESSURE_EVERY == 0)
            look_how_far_behind();
        int got = ring_read(worker.options->ring, worker.options->reader, &worker.box, &lost);
        if (got == -EOVERFLOW)
            missed(lost);
        else if (got != 1)
            return got;
        else
            host_event(worker.host, &worker.box.ev);
        ring_done(worker.options->ring, worker.options->reader);
    }
    return 1;
}

static void turn(struct ev_loop *loop)
{
    int got = read_some();
    look_how_far_behind();
    flush();
    if (got == 1) {
        ev_idle_start(loop, &worker.more);
        return;
    }
    ev_idle_stop(loop, &worker.more);
    if (got < 0) {
        if (got != -EPIPE)
            log_error("the ring holds no record where one should be");
        ev_break(loop, EVBREAK_ALL);
    }
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)watcher, (void)events;
    turn(loop);
}

static void on_more(struct ev_loop *loop, ev_idle *watcher, int events)
{
    (void)watcher, (void)events;
    turn(loop);
}

static void report_rules(uint32_t id)
{
    static struct host_rule worst[WORKER_RULES_MOST];
    struct worker_message message = { .say = WORKER_RULES, .id = id };
    int n = host_rules(worker.host, id, &message.rules, worst, WORKER_RULES_MOST);
    if (message.rules.count)
        say(&message);
    for (int i = 0; i < n; i++)
        say(&(struct worker_message){ .say = WORKER_RULE, .id = id, .rule = worst[i] });
}

static void report(void)
{
    int n = host_scripts(worker.host, NULL, 0);
    struct host_script *scripts = calloc((size_t)n + 1, sizeof *scripts);
    say(&(struct worker_message){ .say = WORKER_MISSED,
                                  .missed = worker.missed,
                                  .memory_bytes = host_memory(worker.host),
                                  .jit = host_jit(worker.host) });
    if (!scripts)
        return;
    host_scripts(worker.host, scripts, n);
    for (int i = 0; i < n; i++) {
        say(&(struct worker_message){ .say = WORKER_SCRIPT, .script = scripts[i] });
        if (!scripts[i].shadow)
            report_rules(scripts[i].id);
    }
    free(scripts);
}

/* --- what the parent wants -------------------------------------------------------------------- */

/* The text of an order, mapped; NULL: it is not there. */
static char *map_text(int fd, size_t len)
{
    char *text = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    return text == MAP_FAILED ? NULL : text;
}

/* A new version may have given itself another name. */
static void add_figures(struct worker_message *message)
{
    int n = host_scripts(worker.host, NULL, 0);
    struct host_script *scripts = calloc((size_t)n + 1, sizeof *scripts);
    if (!scripts)
        return;
    host_scripts(worker.host, scripts, n);
    for (int i = 0; i < n; i++)
        if (scripts[i].id == message->id && !scripts[i].shadow)
            message->script = scripts[i];
    free(scripts);
}

static void say_loaded(const struct worker_order *order, int error, const char *why,
                       int64_t took_ns)
{
    struct worker_message message = {
        .say = WORKER_LOADED,
        .id = order->id,
        .generation = order->generation,
        .shadow = order->shadow,
        .error = error,
        .took_ns = took_ns,
        .kinds = host_kinds(worker.host),
        .threads = host_threads(worker.host),
        .needs = host_needs(worker.host),
    };
    if (error)
        snprintf(message.text, sizeof message.text, "%s", why);
    add_figures(&message);
    say(&message);
}

static void load(const struct worker_order *order, const char *text)
{
    if (order->len && !text) {
        say_loaded(order, -ENOMEM, "its text did not arrive", 0);
        return;
    }
    struct host_source source = { .id = order->id,
                                  .generation = order->generation,
                                  .name = *order->name ? order->name : NULL,
                                  .text = text ? text : "",
                                  .len = text ? order->len : 0,
                                  .shadow = order->shadow };
    int64_t from = clock_mono_ns();
    int error = host_replace(worker.host, &source);
    say_loaded(order, error, host_error(worker.host), clock_mono_ns() - from);
}

static void say_unloaded(uint32_t id)
{
    say(&(struct worker_message){ .say = WORKER_UNLOADED,
                                  .id = id,
                                  .kinds = host_kinds(worker.host),
                                  .threads = host_threads(worker.host),
                                  .needs = host_needs(worker.host) });
}

static void unload(const struct worker_order *order)
{
    host_unload(worker.host, order->id);
    say_unloaded(order->id);
}

static void say_answer(int error, const char *text, size_t len)
{
    struct worker_message message = { .say = WORKER_ANSWER, .error = error };
    do {
        size_t piece = len < WORKER_TEXT - 1 ? len : WORKER_TEXT - 1;
        memcpy(message.text, text, piece);
        message.text[piece] = '\0';
        text += piece;
        len -= piece;
        message.more = len > 0;
        say(&message);
    } while (len);
}

static void compare(const struct worker_order *order)
{
    struct buf out = { 0 };
    int error = host_compare(worker.host, order->id, &out);
    say_answer(error, buf_str(&out), out.len);
    buf_free(&out);
}

static void evaluate(const struct worker_order *order, const char *text)
{
    struct buf out = { 0 };
    uint32_t kinds = host_kinds(worker.host);
    int error = host_eval(worker.host, text ? text : "", text ? order->len : 0, &out);
    const char *answer = error ? host_error(worker.host) : buf_str(&out);
    if (host_kinds(worker.host) != kinds)
        say_unloaded(0); /* nothing is gone, but more is wanted */
    say_answer(error, answer, strlen(answer));
    buf_free(&out);
}

static void obey(const struct worker_order *order, int fd)
{
    char *text = fd >= 0 ? map_text(fd, order->len) : NULL;
    if (order->what != DO_REPORT)
        world_tell_time(&worker.world);
    switch ((enum worker_do)order->what) {
    case DO_REPORT:
        if (order->weigh)
            host_weigh(worker.host);
        report();
        say(&(struct worker_message){ .say = WORKER_REPORTED });
        break;
    case DO_LOAD:
        load(order, text);
        break;
    case DO_UNLOAD:
        unload(order);
        break;
    case DO_COMPARE:
        compare(order);
        break;
    case DO_DROP_SHADOW:
        host_drop_shadow(worker.host, order->id);
        break;
    case DO_EVAL:
        evaluate(order, text);
        break;
    }
    if (text)
        munmap(text, order->len);
    flush();
}

/* 1: an order, and *fd is the descriptor that came with it, or -1; 0: none now; -1: hung up. */
static int take_order(int socket, struct worker_order *order, int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = { order, sizeof *order };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = control.bytes,
                              .msg_controllen = sizeof control.bytes };
    ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got != sizeof *order)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    *fd = -1;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    order->name[sizeof order->name - 1] = '\0';
    return 1;
}

/* An order; or the parent hung up: it is gone, and nothing more will be written. */
static void on_parent(struct ev_loop *loop, ev_io *watcher, int events)
{
    static struct worker_order order;
    int fd, got = take_order(watcher->fd, &order, &fd);
    (void)events;
    if (got == 1) {
        obey(&order, fd);
        if (fd >= 0)
            close(fd);
    }
    if (got >= 0)
        return;
    while (read_some() == 1)
        ;
    ev_break(loop, EVBREAK_ALL);
}

int worker_load(struct host *h, const struct host_source *scripts, int len, uint32_t *wrong)
{
    for (int i = 0; i < len; i++) {
        int result = host_replace(h, &scripts[i]);
        *wrong = scripts[i].id;
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- the budget of a call ------------------------------------------------------------------------
 *
 * A timer that counts the processor time of this thread: it does not run while we wait for events,
 * and a machine that is busy with others costs no script its time. */

static volatile sig_atomic_t told_busy;

static void on_tick(int signal)
{
    static const struct worker_message busy = { .say = WORKER_BUSY };
    int error = errno;
    (void)signal;
    host_tick(worker.host, clock_thread_cpu_ns());
    if (host_over(worker.host) && !told_busy) {
        told_busy = 1;
        send(worker.options->control, &busy, sizeof busy, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (!host_over(worker.host)) {
        told_busy = 0;
    }
    errno = error;
}

static int start_ticking(int64_t soft_ns)
{
    struct sigaction act = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    int64_t every = soft_ns / TICKS_A_BUDGET;
    struct timespec each = { every / NS_PER_SECOND, every % NS_PER_SECOND };
    timer_t timer;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    if (!soft_ns)
        return 0;
    if (sigaction(SIGALRM, &act, NULL) || sigprocmask(SIG_UNBLOCK, &alarm, NULL) ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) ||
        timer_settime(timer, 0, &(struct itimerspec){ each, each }, NULL))
        return -errno;
    return 0;
}

static void run_loop(void)
{
    int fd = ring_reader_fd(worker.options->ring, worker.options->reader);
    ev_io_init(&worker.readable, on_readable, fd, EV_READ);
    ev_io_init(&worker.parent, on_parent, worker.options->control, EV_READ);
    ev_idle_init(&worker.more, on_more);
    ev_timer_init(&worker.storm, on_storm, STORM_LOOK_S, STORM_LOOK_S);
    ev_io_start(worker.loop, &worker.readable);
    ev_io_start(worker.loop, &worker.parent);
    ev_idle_start(worker.loop, &worker.more); /* look once; an empty ring puts us to sleep */
    ev_run(worker.loop, 0);
}

static void know(void *to, const struct event *ev)
{
    host_know(to, ev);
}

int worker_run(const struct worker_options *options)
{
    char why[256];
    uint32_t wrong = 0;
    worker.options = options;
    worker.link.fd = options->questions;

    /* the terminal's Ctrl-C goes to the whole group; the parent says when to end */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* `pkill -USR1 moonwatch` means us, too; the parent's handler, which
                                 we inherited, writes to a descriptor that is another one here */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow: the write tells */
    prctl(PR_SET_NAME, "moonwatch-lua");

    int keep[] = { options->control, options->questions, options->host.fd,
                   options->host.output_lock, options->notes, ring_reader_fd(options->ring, options->reader) };
    if (ring_read_only(options->ring, options->reader) < 0)
        return fail("cannot map the ring for reading", 0);
    ring_reader_resume(options->ring, options->reader);
    close_others(keep, sizeof keep / sizeof *keep);

    worker.loop = ev_loop_new(EVFLAG_AUTO);
    world_init(&worker.world, worker.loop);
    struct host_options host = options->host;
    host.world = (struct host_world){ .ctx = &worker.world,
                                      .request = request,
                                      .stop = stop,
                                      .need = need,
                                      .off = off,
                                      .figures = figures,
                                      .alert = alert,
                                      .note = options->note ? note : NULL,
                                      .alarm = world_alarm,
                                      .clock = world_clock,
                                      .writable_start = world_writable_start,
                                      .writable_stop = world_writable_stop };
    host.marks = ring_words(options->ring, options->reader);
    if (!worker.loop || host_new(&worker.host, &host) < 0)
        return fail("not enough memory for the script host", 0);
    worker.world.host = worker.host;
    if (options->know)
        options->know(options->know_ctx, know, worker.host);
    struct confine_options walls = { .profile = host.profile, .user = options->user };
    if (host.memory_bytes) /* a table that grows is there twice for a while */
        walls.memory_bytes = host.table_bytes + 2 * host.memory_bytes + MEMORY_BESIDES;
    if (confine(&walls, why, sizeof why) < 0)
        return fail(why, 0);
    if (start_ticking(host.soft_ns) < 0)
        return fail("cannot set the timer of the scripts' budgets", 0);
    world_tell_time(&worker.world);
    if (worker_load(worker.host, options->scripts, options->scripts_len, &wrong) < 0)
        return fail(host_error(worker.host), wrong);
    flush();
    report(); /* their names */

    say(&(struct worker_message){ .say = WORKER_READY,
                                  .kinds = host_kinds(worker.host),
                                  .threads = host_threads(worker.host),
                                  .needs = host_needs(worker.host) });
    if (!options->only_load)
        run_loop();
    world_fini(&worker.world);
    if (!options->only_load) {
        world_tell_time(&worker.world);
        host_finish(worker.host);
    }
    report();
    signal(SIGALRM, SIG_IGN); /* it looks into the host */
    host_free(worker.host);
    ev_loop_destroy(worker.loop);
    return 0;
}
