/* test_explain.c - the story of a process from a recording: whose child it was, what its family did, and
 * nothing of anybody who only had the same pid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "embed/family.h"
#include "moonwatch.h"
#include "record/recording.h"
#include "record_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char path[64], why[512];
static int fd = -1;
static struct recording_writer *w;
static struct event_box box;
static uint64_t seq;
static int64_t ms; /* of what is recorded next */
static const struct recording_head head = { .boot = 1, .real_ns = REAL_NS, .mono_ns = MONO_NS, .host = "machine" };

static int begin(void **state)
{
    (void)state;
    strcpy(path, "/tmp/moonwatch-explain-XXXXXX");
    fd = mkstemp(path);
    seq = 0;
    ms = 0;
    return fd < 0 || recording_begin(&w, fd, &head);
}

static int end(void **state)
{
    (void)state;
    if (w)
        recording_end(w);
    w = NULL;
    close(fd);
    return unlink(path);
}

/* --- what is recorded ---------------------------------------------------------------------------- */

/* `tick`: the start time that tells processes of one pid apart. */
static void make(enum event_kind kind, int pid, int tick, int ppid)
{
    event_begin(&box, kind);
    event_set(&box, F_SEQ, (int64_t)++seq, WHY_COMPUTED);
    event_set(&box, F_TIME, REAL_NS + ms * 1000000, WHY_KERNEL);
    event_set(&box, F_MONO, MONO_NS + ms * 1000000, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    event_set(&box, F_STARTTIME, tick, WHY_COMPUTED);
    event_set(&box, F_UID, 1000, WHY_KEPT);
    event_set(&box, F_EUID, 33, WHY_KEPT);
    ms += 10;
}

static uint64_t put(void)
{
    recording_event(w, &box.ev, false);
    return seq;
}

/* "sh\0-c\0id" as words. */
static void say_command(const char *words)
{
    char args[256];
    size_t len = strlen(words) + 1;
    memcpy(args, words, len);
    for (char *c = args; *c; c++)
        *c = *c == ' ' ? '\0' : *c;
    event_set_text(&box, F_ARGS, args, len, WHY_TAP);
    story_text(&box, F_COMM, args, WHY_TAP);
    story_text(&box, F_CWD, "/srv", WHY_TAP);
    snprintf(args, sizeof args, "/bin/%.*s", (int)strcspn(words, " "), words);
    story_text(&box, F_EXE, args, WHY_TAP);
}

static void was_there(int pid, int tick, int ppid, const char *command)
{
    make(EVENT_SNAPSHOT, pid, tick, ppid);
    event_set(&box, F_START, REAL_NS - 60 * INT64_C(1000000000), WHY_COMPUTED);
    say_command(command);
    put();
}

static uint64_t forks(int pid, int tick, int ppid)
{
    make(EVENT_FORK, pid, tick, ppid);
    event_set(&box, F_START, box.ev.cell[F_TIME].num, WHY_KERNEL);
    story_text(&box, F_COMM, "copy", WHY_INHERITED);
    return put();
}

static uint64_t execs(int pid, int tick, int ppid, const char *command)
{
    make(EVENT_EXEC, pid, tick, ppid);
    say_command(command);
    return put();
}

static uint64_t exits(int pid, int tick, int code)
{
    make(EVENT_EXIT, pid, tick, 0);
    story_text(&box, F_COMM, "copy", WHY_KEPT);
    event_set(&box, F_CODE, code, WHY_KERNEL);
    return put();
}

/* --- what is told -------------------------------------------------------------------------------- */

/* A deep copy of a story, all in static storage. */
static struct {
    struct moonwatch_story story;
    struct moonwatch_story_process processes[2000];
    struct moonwatch_story_event events[4000];
    char commands[2000][128], texts[4000][128];
    int times;
} told;

static void keep(void *ctx, const struct moonwatch_story *s)
{
    (void)ctx;
    assert_true(s->processes_len <= 2000 && s->events_len <= 4000);
    told.story = *s;
    told.times++;
    for (int i = 0; i < s->processes_len; i++) {
        told.processes[i] = s->processes[i];
        snprintf(told.commands[i], sizeof told.commands[i], "%s", s->processes[i].command);
    }
    for (int i = 0; i < s->events_len; i++) {
        told.events[i] = s->events[i];
        snprintf(told.texts[i], sizeof told.texts[i], "%s", s->events[i].text);
    }
}

/* Parents come first, whoever is below one follows it at once, and what is said of kin is true. */
static void check_tree(void)
{
    const struct moonwatch_story *s = &told.story;
    assert_true(s->itself >= 0 && s->itself < s->processes_len && s->root <= s->itself);
    assert_int_equal(told.processes[s->itself].kin, MOONWATCH_ITSELF);
    for (int i = 0; i < s->processes_len; i++) {
        const struct moonwatch_story_process *p = &told.processes[i];
        assert_true(p->parent < i && (p->parent >= 0) == (i > 0));
        if (i == 0)
            continue;
        int at = i - 1;
        while (at != p->parent && at >= 0)
            at = told.processes[at].parent; /* the one before is the parent or below it */
        assert_int_equal(at, p->parent);
        assert_int_equal(p->depth, told.processes[p->parent].depth + 1);
        bool below = told.processes[p->parent].kin >= MOONWATCH_ITSELF;
        assert_int_equal(p->kin == MOONWATCH_DESCENDANT, below);
    }
    for (int i = s->itself; i >= 0; i = told.processes[i].parent)
        assert_int_equal(told.processes[i].kin, i == s->itself ? MOONWATCH_ITSELF : MOONWATCH_ANCESTOR);
    for (int i = 0; i < s->events_len; i++)
        assert_true(told.events[i].process >= -1 && told.events[i].process < s->processes_len);
}

static int explain_at(uint64_t number, double time, int pid, int tick)
{
    if (w) {
        assert_int_equal(recording_end(w), 0);
        w = NULL;
    }
    memset(&told, 0, sizeof told);
    int result = moonwatch_explain(path, number, time, pid, tick, keep, NULL, why, sizeof why);
    assert_int_equal(told.times, result == 0);
    if (result == 0)
        check_tree();
    return result;
}

static int explain(uint64_t number, int pid, int tick)
{
    return explain_at(number, 0, pid, tick);
}

/* The only one of this pid; NULL: there is none. */
static const struct moonwatch_story_process *one(int pid)
{
    const struct moonwatch_story_process *found = NULL;
    for (int i = 0; i < told.story.processes_len; i++)
        if (told.processes[i].pid == pid) {
            assert_null(found);
            found = &told.processes[i];
        }
    return found;
}

static const char *command_of(int pid)
{
    return told.commands[one(pid) - told.processes];
}

/* "7 fork copy ← 5|7 exec sh -c id": of all events with a process. */
static const char *events(void)
{
    static char text[8192];
    size_t len = 0;
    *text = '\0';
    for (int i = 0; i < told.story.events_len && len < sizeof text; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d %s %s", i ? "|" : "",
                                told.events[i].process < 0 ? 0 : (int)told.processes[told.events[i].process].pid,
                                told.events[i].type, told.texts[i]);
    return text;
}

#define AT(number) (((double)REAL_NS + (double)(number) * 1e6) / 1e9)

#define assert_near(a, b) assert_true((a) - (b) < 1e-5 && (b) - (a) < 1e-5)

/* --- the story ----------------------------------------------------------------------------------- */

static uint64_t record_web(void)
{
    was_there(1, 1, 0, "init");
    was_there(5, 50, 1, "nginx master");
    was_there(6, 60, 5, "nginx worker");
    was_there(9, 90, 1, "sshd");
    forks(7, 100, 6);                          /* 40 */
    execs(7, 100, 6, "sh -c id");              /* 50 */
    forks(8, 101, 7);                          /* 60 */
    uint64_t alert = execs(8, 101, 7, "curl -O x"); /* 70 */
    forks(20, 200, 9);                         /* 80: of another family */
    forks(10, 110, 6);                         /* 90 */
    forks(11, 111, 8);                         /* 100 */
    exits(11, 111, 0);                         /* 110 */
    exits(20, 200, 0);                         /* 120 */
    exits(8, 101, 6);                          /* 130 */
    return alert;
}

static void the_line_the_family_and_what_happened_are_told(void **state)
{
    (void)state;
    uint64_t alert = record_web();
    assert_int_equal(explain(alert, 8, 101), 0);
    assert_int_equal(told.story.processes_len, 7);
    static const int pids[] = { 1, 5, 6, 7, 8, 11, 10 };
    for (int i = 0; i < 7; i++)
        assert_int_equal(told.processes[i].pid, pids[i]);
    assert_int_equal(told.processes[told.story.root].pid, 6);
    assert_int_equal(told.processes[told.story.itself].pid, 8);
    assert_string_equal(command_of(8), "curl -O x");
    assert_string_equal(command_of(7), "sh -c id");
    assert_string_equal(command_of(6), "nginx worker");
    assert_int_equal(one(8)->uid, 33);
    assert_true(one(6)->before && one(1)->before && !one(7)->before);
    assert_near(one(8)->began, AT(60));
    assert_near(one(8)->ended, AT(130));
    assert_int_equal(one(8)->code, 6);
    assert_int_equal(one(8)->signal, -1);
    assert_true(one(10)->ended == 0 && one(10)->kin == MOONWATCH_OTHER);
    assert_int_equal(one(11)->kin, MOONWATCH_DESCENDANT);
    assert_near(told.story.time, AT(70));
    assert_near(told.story.first, AT(0));
    assert_near(told.story.last, AT(130));
    assert_string_equal(events(), "7 fork copy ← 6|7 exec sh -c id|8 fork copy ← 7|8 exec curl -O x|"
                                  "10 fork copy ← 6|11 fork copy ← 8|11 exit copy: exit 0|8 exit copy: exit 6");
    assert_int_equal(told.events[told.story.alert].seq, alert);
    assert_string_equal(told.events[told.story.alert].type, "exec");
}

static void without_a_pid_it_is_the_process_of_the_event(void **state)
{
    (void)state;
    uint64_t alert = record_web();
    assert_int_equal(explain(alert, -1, -1), 0);
    assert_int_equal(told.processes[told.story.itself].pid, 8);
    assert_int_equal(explain(alert, 7, -1), 0); /* any start time */
    assert_int_equal(told.processes[told.story.itself].pid, 7);
    assert_int_equal(told.processes[told.story.alert < 0 ? 0 : told.events[told.story.alert].process].pid, 8);
}

static void who_ran_before_is_its_own_root(void **state)
{
    (void)state;
    record_web();
    assert_int_equal(explain(1, 5, 50), 0);
    assert_int_equal(told.story.root, told.story.itself);
    assert_int_equal(told.story.processes_len, 7);
    assert_int_equal(one(11)->kin, MOONWATCH_DESCENDANT);
}

static void ancestors_are_what_they_were_at_the_fork(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(7, 100, 5);
    execs(7, 100, 5, "sh first");
    forks(8, 101, 7);
    execs(7, 100, 5, "sh second");
    uint64_t alert = execs(8, 101, 7, "curl");
    execs(8, 101, 7, "later");
    assert_int_equal(explain(alert, 8, 101), 0);
    assert_string_equal(command_of(7), "sh first");
    assert_string_equal(command_of(8), "curl");
    assert_non_null(strstr(events(), "7 exec sh second|8 exec curl|8 exec later"));
}

static void an_exited_parent_is_known_and_its_children_stay_in_the_family(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(7, 100, 5);
    forks(8, 101, 7);
    exits(7, 100, 0);
    uint64_t alert = execs(8, 101, 1, "daemon");
    forks(9, 102, 8);
    exits(8, 101, 0);
    forks(10, 103, 9);
    assert_int_equal(explain(alert, 8, 101), 0);
    assert_int_equal(told.processes[one(8)->parent].pid, 7);
    assert_int_equal(told.processes[one(7)->parent].pid, 5);
    assert_int_equal(one(10)->kin, MOONWATCH_DESCENDANT);
}

static void an_alert_on_the_exit_is_about_who_exited(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(8, 101, 5);
    uint64_t alert = exits(8, 101, 3);
    assert_int_equal(explain(alert, 8, 101), 0);
    assert_int_equal(one(8)->code, 3);
}

/* --- pids are used again ------------------------------------------------------------------------- */

static void a_pid_that_is_used_again_is_another_process(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(8, 100, 5);
    execs(8, 100, 5, "first");
    forks(30, 105, 8); /* of the first */
    exits(8, 100, 1);
    forks(8, 200, 5);
    uint64_t alert = execs(8, 200, 5, "second");
    forks(31, 205, 8);
    exits(8, 200, 2);
    forks(8, 300, 5);
    execs(8, 300, 5, "third");
    forks(32, 305, 8);
    for (int tick = 100; tick <= 300; tick += 100) {
        assert_int_equal(explain(tick == 200 ? alert : 0, 8, tick), 0);
        const struct moonwatch_story_process *p = &told.processes[told.story.itself];
        assert_int_equal(p->starttime, tick);
        assert_int_equal(p->code, tick == 300 ? -1 : tick / 100);
        for (int child = 30; child <= 32; child++) {
            bool own = child - 30 == tick / 100 - 1;
            assert_int_equal(one(child)->kin == MOONWATCH_DESCENDANT, own);
            assert_int_equal(told.processes[one(child)->parent].starttime, (child - 29) * 100);
        }
    }
    assert_string_equal(told.commands[told.story.itself], "third");
}

static void the_pid_of_an_ancestor_used_again_is_no_ancestor(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(7, 100, 5);
    forks(8, 101, 7);
    exits(7, 100, 0);
    was_there(6, 60, 1, "cron");
    forks(7, 300, 6);
    execs(7, 300, 6, "innocent");
    uint64_t alert = execs(8, 101, 1, "daemon");
    forks(9, 301, 7); /* of the innocent one */
    assert_int_equal(explain(alert, 8, 101), 0);
    assert_int_equal(told.story.processes_len, 3);
    assert_int_equal(one(7)->starttime, 100);
    assert_null(strstr(events(), "innocent"));
}

/* Pids can come round within a tick; the stamps of the forks differ. */
static void within_one_tick_it_is_the_fork_that_counts(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(8, 100, 5);
    execs(8, 100, 5, "first");
    exits(8, 100, 1);
    forks(8, 100, 5);
    uint64_t alert = execs(8, 100, 5, "second");
    exits(8, 100, 2);
    assert_int_equal(explain(alert, 8, 100), 0);
    assert_int_equal(told.processes[told.story.itself].code, 2);
    assert_string_equal(told.commands[told.story.itself], "second");
    assert_int_equal(told.story.processes_len, 3);
}

static void who_did_not_seem_to_end_has_ended_when_the_pid_is_forked_again(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    uint64_t alert = forks(8, 100, 5);
    int64_t later = ms;
    forks(8, 200, 5);
    assert_int_equal(explain(alert, 8, 100), 0);
    assert_near(told.processes[told.story.itself].ended, AT(later));
    assert_int_equal(told.processes[told.story.itself].code, -1);
    assert_int_equal(told.story.processes_len, 3);
}

/* --- what is missing ----------------------------------------------------------------------------- */

static void snapshots_come_in_any_order(void **state)
{
    (void)state;
    was_there(3, 30, 40, "grandchild");
    was_there(4, 35, 3, "below");
    was_there(40, 20, 50, "child");
    was_there(50, 10, 1, "server");
    was_there(60, 10, 1, "stranger");
    uint64_t alert = forks(70, 100, 50);
    forks(71, 101, 4);
    assert_int_equal(explain(alert, 70, 100), 0);
    assert_int_equal(told.story.processes_len, 6);
    assert_int_equal(told.processes[one(71)->parent].pid, 4);
    assert_string_equal(command_of(4), "below");
    assert_null(one(60));
}

static void who_was_known_at_the_begin_ran_before(void **state)
{
    (void)state;
    for (int pid = 5; pid <= 6; pid++) { /* as the flight recorder writes it: without a time */
        make(EVENT_SNAPSHOT, pid, pid * 10, pid - 1);
        say_command("server");
        box.ev.why[F_TIME] = box.ev.why[F_SEQ] = box.ev.why[F_MONO] = WHY_ABSENT;
        recording_event(w, &box.ev, true);
    }
    forks(7, 100, 6);
    uint64_t alert = execs(7, 100, 6, "sh");
    assert_int_equal(explain(alert, 7, 100), 0);
    assert_int_equal(told.processes[told.story.root].pid, 6);
    assert_true(one(6)->before && one(6)->began == 0);
    assert_string_equal(events(), "7 fork copy ← 6|7 exec sh");
}

static void what_is_found_after_a_loss_did_not_run_before(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    make(EVENT_LOST, 0, 0, 0);
    box.ev.why[F_PID] = WHY_ABSENT;
    event_set(&box, F_LOST, 3, WHY_KERNEL);
    put();
    make(EVENT_SNAPSHOT, 7, 100, 5);
    event_set(&box, F_START, REAL_NS + 5000000, WHY_PROC);
    event_set(&box, F_INFERRED, 1, WHY_COMPUTED);
    say_command("sh");
    put();
    recording_gap(w, 12);
    make(EVENT_EXEC, 7, 100, 5);
    event_set(&box, F_START, REAL_NS + 5000000, WHY_KEPT);
    say_command("curl");
    uint64_t alert = put();
    assert_int_equal(explain(alert, 7, 100), 0);
    assert_int_equal(told.processes[told.story.root].pid, 5);
    assert_false(one(7)->before);
    assert_string_equal(events(), "0 lost 3 events lost|7 snapshot sh (found after a loss)|"
                                  "0 gap 12 events are missing in the recording here|7 exec curl");
}

static void who_is_not_there_is_said_so(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    make(EVENT_LOST, 0, 0, 0);
    box.ev.why[F_PID] = WHY_ABSENT;
    uint64_t lost = put();
    assert_int_equal(explain(77, 8, 100), -ESRCH);
    assert_non_null(strstr(why, "does not know the process 8"));
    assert_int_equal(explain(77, -1, -1), -ESRCH);
    assert_non_null(strstr(why, "does not hold the event 77"));
    assert_int_equal(explain(lost, -1, -1), -ESRCH);
    assert_non_null(strstr(why, "is about no process"));
    assert_int_equal(moonwatch_explain("/no/such.mwr", 1, 0, -1, -1, keep, NULL, why, sizeof why), -ENOENT);
    assert_non_null(strstr(why, "/no/such.mwr"));
    assert_int_equal(moonwatch_explain("/dev/null", 1, 0, -1, -1, keep, NULL, why, sizeof why), -ENOENT);
}

static void without_the_event_what_is_known_of_the_process_is_told(void **state)
{
    (void)state;
    record_web();
    for (int i = 0; i < 3000; i++) { /* nobody remembers who has ended for so long */
        forks(1000 + i, 1000 + i, 9);
        exits(1000 + i, 1000 + i, 0);
    }
    assert_int_equal(explain(UINT64_MAX, 8, 101), 0);
    assert_int_equal(told.processes[told.story.root].pid, 6);
    assert_string_equal(told.commands[told.story.itself], "curl -O x");
    assert_true(told.story.time == 0 && told.story.alert == -1);
}

static void of_two_watches_with_the_same_numbers_time_tells(void **state)
{
    uint64_t alerts[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        seq = 0;
        was_there(5, 50, 1, i ? "new" : "old");
        forks(8, 100 + 1000 * i, 5);
        alerts[i] = execs(8, 100 + 1000 * i, 5, i ? "second" : "first");
        ms += 60000;
    }
    assert_int_equal(alerts[0], alerts[1]);
    assert_int_equal(explain_at(alerts[0], AT(25), -1, -1), 0);
    assert_string_equal(told.commands[told.story.itself], "first");
    assert_near(told.story.time, AT(20));
    assert_int_equal(explain_at(1, AT(5), -1, -1), 0); /* of the second, it is the first one that is too late */
    assert_string_equal(told.commands[told.story.itself], "old");
    assert_int_equal(explain_at(alerts[0], AT(60060), -1, -1), 0);
    assert_string_equal(told.commands[told.story.itself], "second");
    assert_int_equal(explain_at(alerts[0], 0, -1, -1), 0);
    assert_string_equal(told.commands[told.story.itself], "second");
}

/* --- what others chose --------------------------------------------------------------------------- */

static void texts_are_harmless_and_bounded(void **state)
{
    static char args[EVENT_TEXT_MAX];
    (void)state;
    was_there(5, 50, 1, "nginx");
    forks(8, 100, 5);
    make(EVENT_EXEC, 8, 100, 5);
    memset(args, '\x1b', sizeof args - 1);
    event_set_text(&box, F_ARGS, args, sizeof args, WHY_TAP);
    story_text(&box, F_COMM, "a\nb\xff\xe2\x80\xae", WHY_TAP);
    story_text(&box, F_EXE, "/tmp/\x1b[31m", WHY_TAP);
    uint64_t alert = put();
    assert_int_equal(explain(alert, 8, 100), 0);
    const char *command = told.commands[told.story.itself];
    assert_ptr_equal(strstr(command, "/tmp/\\x1b[31m: '\\x1b\\x1b"), command);
    struct moonwatch_story_process *p = &told.processes[told.story.itself];
    (void)p;
    for (int i = 0; i < told.story.events_len; i++)
        assert_null(strpbrk(told.texts[i], "\x1b\n\xff"));
}

static void lengths(void *ctx, const struct moonwatch_story *s)
{
    size_t *longest = ctx;
    for (int i = 0; i < s->processes_len; i++) {
        const char *const texts[] = { s->processes[i].command, s->processes[i].comm, s->processes[i].exe,
                                      s->processes[i].cwd };
        for (int j = 0; j < 4; j++)
            *longest = strlen(texts[j]) > *longest ? strlen(texts[j]) : *longest;
    }
}

static void a_long_text_is_cut(void **state)
{
    static char args[EVENT_TEXT_MAX];
    size_t longest = 0;
    (void)state;
    was_there(5, 50, 1, "nginx");
    make(EVENT_EXEC, 5, 50, 1);
    memset(args, 'x', sizeof args - 1);
    event_set_text(&box, F_ARGS, args, sizeof args, WHY_TAP);
    uint64_t alert = put();
    assert_int_equal(recording_end(w), 0);
    w = NULL;
    assert_int_equal(moonwatch_explain(path, alert, 0, 5, 50, lengths, &longest, why, sizeof why), 0);
    assert_in_range(longest, 4096, 4100); /* columns; the ellipsis has three bytes */
}

static void threads_are_no_processes(void **state)
{
    (void)state;
    was_there(5, 50, 1, "nginx");
    make(EVENT_FORK, 5, 50, 1);
    event_set(&box, F_TID, 6, WHY_KERNEL);
    put();
    make(EVENT_EXIT, 5, 50, 1);
    event_set(&box, F_TID, 6, WHY_KERNEL);
    put();
    uint64_t alert = execs(5, 50, 1, "nginx again");
    assert_int_equal(explain(alert, 5, 50), 0);
    assert_int_equal(told.story.processes_len, 1);
    assert_string_equal(events(), "5 exec nginx again");
}

static void two_that_claim_to_be_each_others_parents_have_an_end(void **state)
{
    (void)state;
    was_there(5, 50, 6, "one");
    was_there(6, 50, 5, "other");
    uint64_t alert = execs(5, 50, 6, "again");
    assert_int_equal(explain(alert, 5, 50), 0);
    assert_int_equal(told.story.processes_len, 2);
}

static void a_line_without_end_is_cut(void **state)
{
    uint64_t alert = 0;
    (void)state;
    was_there(5, 50, 1, "nginx");
    for (int i = 6; i < 1000; i++)
        alert = forks(i, 100 + i, i - 1);
    assert_int_equal(explain(alert, 999, 1099), 0);
    assert_int_equal(told.story.processes_len, FAMILY_ANCESTORS_MOST);
    assert_int_equal(told.processes[told.story.itself].depth, FAMILY_ANCESTORS_MOST - 1);
}

static void near_ones(void *ctx, const struct moonwatch_story *s)
{
    bool *seen = ctx;
    for (int i = 0; i < s->processes_len; i++)
        if (s->processes[i].kin == MOONWATCH_OTHER)
            seen[s->processes[i].pid] = true;
    assert_in_range(s->processes_len, 10000, FAMILY_OTHERS_MOST + 3);
    assert_true(s->processes_left > 20000);
}

static void of_a_crowd_the_nearest_are_kept(void **state)
{
    static bool seen[60000];
    uint64_t alert = 0;
    (void)state;
    was_there(5, 50, 1, "nginx");
    was_there(6, 60, 5, "old worker");
    for (int i = 0; i < 50000; i++) {
        if (i == 25000)
            alert = forks(8, 99, 5);
        forks(10 + i, 100 + i, 5);
        exits(10 + i, 100 + i, 0);
    }
    assert_int_equal(recording_end(w), 0);
    w = NULL;
    assert_int_equal(moonwatch_explain(path, alert, 0, 8, 99, near_ones, seen, why, sizeof why), 0);
    assert_true(seen[6]);
    for (int i = 15001; i < 34000; i++)
        assert_true(seen[10 + i]);
    assert_false(seen[10] || seen[10 + 49999]);
}

static uint64_t random_of(struct story *s, uint64_t below)
{
    return story_random(s) % below;
}

/* Lives of few pids that come again and again, with events that are missing. */
static void any_family_is_a_tree(void **state)
{
    struct story s = STORY;
    (void)state;
    for (int round = 0; round < 40; round++) {
        end(NULL);
        assert_int_equal(begin(NULL), 0);
        for (int i = 0; i < 300; i++) {
            int pid = 2 + (int)random_of(&s, 12), ppid = 2 + (int)random_of(&s, 12);
            static const enum event_kind kinds[] = { EVENT_FORK, EVENT_FORK, EVENT_EXEC, EVENT_EXIT, EVENT_SNAPSHOT,
                                                     EVENT_UID, EVENT_COMM };
            make(kinds[random_of(&s, 7)], pid, (int)random_of(&s, 4) * 10, ppid);
            if (random_of(&s, 3))
                say_command("any thing");
            if (random_of(&s, 10) == 0)
                event_set_missing(&box, F_STARTTIME, WHY_UNSEEN);
            put();
        }
        int found = 0;
        for (uint64_t number = 1; number <= 300; number += 7)
            found += explain(number, -1, -1) == 0;
        assert_true(found > 10);
    }
}

static void any_records_do_no_harm(void **state)
{
    struct story s = STORY;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        story_odd(&s);
        if (random_of(&s, 4)) {
            int64_t pid = 2 + (int64_t)random_of(&s, 6);
            event_set(&s.box, F_PID, pid, WHY_KERNEL);
            event_set(&s.box, F_TID, pid, WHY_KERNEL);
            event_set(&s.box, F_PPID, 2 + (int64_t)random_of(&s, 6), WHY_KERNEL);
        }
        event_set(&s.box, F_SEQ, i, WHY_COMPUTED);
        recording_event(w, &s.box.ev, random_of(&s, 50) == 0);
    }
    int found = 0;
    for (int i = 0; i < 3000; i += 211)
        found += explain((uint64_t)i, -1, -1) == 0;
    assert_true(found > 3);
}

/* --- noted alerts -------------------------------------------------------------------------------- */

static char noted_text[512];

static void note_one(void *ctx, uint64_t number, double time, const char *json)
{
    size_t len = strlen(noted_text);
    (void)ctx;
    snprintf(noted_text + len, sizeof noted_text - len, "%llu %.3f %s|", (unsigned long long)number, time - AT(0), json);
}

static void noted_alerts_are_told_in_order(void **state)
{
    (void)state;
    for (int i = 1; i <= 2; i++) {
        struct recording_note note = { .kind = NOTE_ALERT, .seq = (uint64_t)i, .answer = i == 1 ? "{}" : "{\"a\":1}",
                                       .answer_len = i == 1 ? 2 : 7, .real_ns = REAL_NS + i * INT64_C(1000000000) };
        struct recording_note tick = { .kind = NOTE_TICK, .seq = (uint64_t)i };
        recording_note(w, &note);
        recording_note(w, &tick);
    }
    assert_int_equal(recording_end(w), 0);
    w = NULL;
    *noted_text = '\0';
    assert_int_equal(moonwatch_noted_alerts(path, note_one, NULL, why, sizeof why), 0);
    assert_string_equal(noted_text, "1 1.000 {}|2 2.000 {\"a\":1}|");
    assert_int_equal(moonwatch_noted_alerts("/no/such.mwr", note_one, NULL, why, sizeof why), -ENOENT);
}

#define TEST(claim) cmocka_unit_test_setup_teardown(claim, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_line_the_family_and_what_happened_are_told),
        TEST(without_a_pid_it_is_the_process_of_the_event),
        TEST(who_ran_before_is_its_own_root),
        TEST(ancestors_are_what_they_were_at_the_fork),
        TEST(an_exited_parent_is_known_and_its_children_stay_in_the_family),
        TEST(an_alert_on_the_exit_is_about_who_exited),
        TEST(a_pid_that_is_used_again_is_another_process),
        TEST(the_pid_of_an_ancestor_used_again_is_no_ancestor),
        TEST(within_one_tick_it_is_the_fork_that_counts),
        TEST(who_did_not_seem_to_end_has_ended_when_the_pid_is_forked_again),
        TEST(snapshots_come_in_any_order),
        TEST(who_was_known_at_the_begin_ran_before),
        TEST(what_is_found_after_a_loss_did_not_run_before),
        TEST(who_is_not_there_is_said_so),
        TEST(without_the_event_what_is_known_of_the_process_is_told),
        TEST(of_two_watches_with_the_same_numbers_time_tells),
        TEST(texts_are_harmless_and_bounded),
        TEST(a_long_text_is_cut),
        TEST(threads_are_no_processes),
        TEST(two_that_claim_to_be_each_others_parents_have_an_end),
        TEST(a_line_without_end_is_cut),
        TEST(of_a_crowd_the_nearest_are_kept),
        TEST(any_family_is_a_tree),
        TEST(any_records_do_no_harm),
        TEST(noted_alerts_are_told_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
