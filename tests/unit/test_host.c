/* test_host.c - scripts get the events that they asked for, and their errors stay theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "host/host.h"
#include "host/worker.h"
#include "host_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t alarm_ns = INT64_MAX;

/* --- a world that does nothing by itself ------------------------------------------------ */

static void alarm_at(void *ctx, int64_t mono_ns)
{
    (void)ctx;
    alarm_ns = mono_ns;
}

static int needs_told;
static uint64_t last_needs;

static void need(void *ctx, uint64_t fields)
{
    (void)ctx;
    needs_told++;
    last_needs = fields;
}

static void give_figures(void *ctx, struct figures *f)
{
    (void)ctx;
    *f = (struct figures){ .events = 7, .lost = 1, .execs = 4, .exe_asked = 2, .exe = 2, .args_asked = 4,
                           .args = 3, .comm = 0,
                           .processes = 99, .missed = 5, .fill_permille = 250,
                           .backlog_permille = 500 };
}

static enum profile profile;

static int begin(void **state)
{
    struct host_options options = {
        .world = { .alarm = alarm_at, .need = need,
                   .figures = give_figures },
        .profile = profile,
        .table_bytes = 1 << 20,
        .boot = 0xb007,
        .json = true,
    };
    (void)state;
    options.fd = out = memfd_create("out", 0);
    logged[0] = '\0';
    alarm_ns = INT64_MAX;
    needs_told = 0;
    last_needs = 0;
    log_to(keep_log, NULL);
    return host_new(&host, &options);
}

static int begin_trusted(void **state)
{
    profile = PROFILE_TRUSTED;
    return begin(state);
}

static int end(void **state)
{
    profile = PROFILE_POLICY;
    (void)state;
    end_host();
    return 0;
}

static void load(const char *text)
{
    if (host_load(host, "@test.lua", text, strlen(text)) < 0)
        fail_msg("%s", host_error(host));
}

static void tell(enum event_kind kind, int pid, int ppid, const char *comm, const char *args,
                 size_t len)
{
    static struct event_box box;
    event_begin(&box, kind);
    event_set(&box, F_TIME, 1700000000123456789, WHY_KERNEL);
    event_set(&box, F_MONO, 5000000000, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    event_set(&box, F_UID, 1000, WHY_INHERITED);
    event_set(&box, F_STARTTIME, pid * 10, WHY_COMPUTED);
    event_set_text(&box, F_COMM, comm, strlen(comm), WHY_PROC);
    if (args)
        event_set_text(&box, F_ARGS, args, len, WHY_PROC);
    else
        event_set_missing(&box, F_ARGS, WHY_GONE);
    if (kind == EVENT_EXIT)
        event_set(&box, F_CODE, 3, WHY_KERNEL);
    if (kind == EVENT_EXEC)
        event_set_text(&box, F_WAS_COMM, "before", 6, WHY_KEPT);
    host_event(host, &box.ev);
}

static struct host_script figures(int script)
{
    struct host_script all[8];
    assert_true(host_scripts(host, all, 8) > script);
    return all[script];
}

/* --- events ----------------------------------------------------------------------------- */

#define SCRIPT(on) "local mw = require 'moonwatch' return mw.script { name = 't', on = { " on " } }"

static void an_event_is_an_ordinary_table(void **state)
{
    (void)state;
    load(SCRIPT(
        "exec = function(ev) print(ev.type, ev.pid, ev.comm, #ev.args, ev.args[2], ev.cmdline, "
        "ev.was.comm, ev.time, ev.cwd) end"));
    tell(EVENT_EXEC, 10, 1, "ls", "ls\0a b", 7);
    assert_string_equal(written(), "exec\t10\tls\t2\ta b\tls a b\tbefore\t1700000000.1235\tnil\n");
}

static void only_what_was_subscribed_comes(void **state)
{
    (void)state;
    load(SCRIPT("exit = function(ev) print(ev.code) end"));
    assert_int_equal(host_kinds(host), ON(EXIT));
    tell(EVENT_EXEC, 10, 1, "ls", NULL, 0);
    tell(EVENT_EXIT, 10, 1, "ls", NULL, 0);
    assert_string_equal(written(), "3\n");
}

static void a_parent_is_known_after_its_end_and_as_of_the_fork(void **state)
{
    (void)state;
    load(SCRIPT(
        "exit = function(ev) local p = ev.parent print(ev.pid, p and p.comm, p and p.parent and "
        "p.parent.comm, p and p.cmdline) end"));
    tell(EVENT_SNAPSHOT, 1, 0, "init", "init", 5);
    tell(EVENT_FORK, 20, 1, "init", "init", 5);
    tell(EVENT_EXEC, 20, 1, "sh", "sh\0-c", 6);
    tell(EVENT_FORK, 30, 20, "sh", "sh\0-c", 6);
    tell(EVENT_EXEC, 20, 1, "make", "make", 5);
    tell(EVENT_EXIT, 20, 1, "make", "make", 5);
    tell(EVENT_EXIT, 30, 20, "sh", "sh\0-c", 6);
    assert_string_equal(written(), "20\tinit\tnil\tinit\n30\tsh\tinit\tsh -c\n");
}

static void each_field_says_how_it_is_known(void **state)
{
    (void)state;
    load(
        SCRIPT("exec = function(ev) print(ev:why 'pid', ev:why 'uid', ev:why 'args', ev:why 'cwd', "
               "ev:why 'cmdline') end"));
    tell(EVENT_EXEC, 10, 1, "ls", NULL, 0);
    assert_string_equal(written(), "connector\tinherited\tmissing: gone before read\tabsent\t"
                                   "missing: gone before read\n");
}

static void an_id_outlives_the_pid(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) print(ev.id) end"));
    tell(EVENT_EXEC, 10, 1, "ls", NULL, 0);
    assert_string_equal(written(), "000000000000b007-10-100\n");
}

static void later_scripts_see_what_earlier_ones_added(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) ev.site = 'here' kept = ev end"));
    load(SCRIPT(
        "exec = function(ev) print(ev.site, kept) mw_ = 1 end, exit = function() print(mw_) end"));
    tell(EVENT_EXEC, 10, 1, "ls", NULL, 0);
    tell(EVENT_EXIT, 10, 1, "ls", NULL, 0);
    assert_string_equal(written(), "here\tnil\n1\n"); /* the globals of one are not the other's */
}

static void where_decides_before_a_table_is_made(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' return mw.script { name = 't', on = { exec = "
         "mw.where { comm = { 'sh', 'bash' }, uid = 1000 } (function(ev) print(ev.comm) end) } }");
    tell(EVENT_EXEC, 10, 1, "ls", NULL, 0);
    tell(EVENT_EXEC, 11, 1, "bash", NULL, 0);
    assert_string_equal(written(), "bash\n");
    assert_int_equal(figures(0).events, 1);
}

static void what_a_script_changed_is_what_it_emits(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' return mw.script { name = 't', on = { exec = function(ev) "
         "ev.comm = 'renamed' ev.team = 'red' mw.emit(ev) end } }");
    tell(EVENT_EXEC, 10, 1, "ls", "ls", 3);
    const char *line = written();
    assert_non_null(strstr(line, "\"name\":\"renamed\""));
    assert_non_null(strstr(line, "\"labels\":{\"team\":\"red\"}"));
    assert_non_null(strstr(line, "\"@timestamp\":\"2023-11-14T22:13:20.123456Z\"")); /* exact */
}

static void an_alert_is_an_event_with_a_rule(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' return mw.script { name = 'rule', on = { exec = "
         "function(ev) "
         "mw.alert { severity = 'high', text = 'look', event = ev, tags = { 'a', 'b' } } end } }");
    tell(EVENT_EXEC, 10, 1, "ls", "ls", 3);
    const char *line = written();
    assert_non_null(strstr(line, "\"kind\":\"alert\""));
    assert_non_null(strstr(line, "\"message\":\"look\""));
    assert_non_null(strstr(line, "\"name\":\"rule\""));
    assert_int_equal(figures(0).alerts, 1);
}

static void an_alert_has_the_tags_of_its_script_unless_it_has_its_own(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' return mw.script { name = 'rule', tags = { 'a', 'b' }, "
         "on = { exec = function(ev) mw.alert { event = ev } mw.alert { event = ev, tags = { 'c' } } "
         "mw.alert { event = ev, tags = {} } end } }");
    tell(EVENT_EXEC, 10, 1, "ls", "ls", 3);
    const char *line = written();
    assert_non_null(strstr(line, "\"rule\":{\"name\":\"rule\",\"tags\":[\"a\",\"b\"]}"));
    line = strchr(line, '\n') + 1;
    assert_non_null(strstr(line, "\"rule\":{\"name\":\"rule\",\"tags\":[\"c\"]}"));
    line = strchr(line, '\n') + 1;
    assert_null(strstr(line, "\"tags\""));
}

static void any_table_becomes_one_line_of_json(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' mw.at_exit(print) local loop = {} loop[1] = loop "
         "mw.emit { b = 1, a = { 1, 2, 'x' }, c = { [1] = 1, [3] = 3 }, d = 0/0, e = {}, f = print "
         "} "
         "mw.emit { loop = loop }");
    const char *text = written();
    assert_memory_equal(text,
                        "{\"a\":[1,2,\"x\"],\"b\":1,\"c\":{\"1\":1,\"3\":3},\"d\":null,\"e\":{},"
                        "\"f\":\"(function)\"}\n",
                        71);
    assert_non_null(strstr(text, "(deeper than 16 tables)"));
}

/* --- errors ----------------------------------------------------------------------------- */

static void an_error_costs_one_event_and_is_shown_once(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) error('broken ' .. ev.comm) end"));
    load(SCRIPT("exec = function(ev) print 'fine' end"));
    tell(EVENT_EXEC, 10, 1, "one\ntwo", NULL, 0);
    tell(EVENT_EXEC, 11, 1, "three", NULL, 0);
    assert_string_equal(written(), "fine\nfine\n");
    assert_int_equal(figures(0).errors, 2);
    assert_int_equal(figures(1).errors, 0);
    assert_non_null(strstr(logged, "broken one\\x0atwo")); /* no line of its own for the process */
    assert_non_null(strstr(logged, "stack traceback"));
    assert_null(strstr(logged, "three"));
}

static void errors_of_any_type_are_errors(void **state)
{
    (void)state;
    load(SCRIPT("exec = function() error({}) end, exit = function() error(nil) end"));
    tell(EVENT_EXEC, 10, 1, "a", NULL, 0);
    tell(EVENT_EXIT, 10, 1, "a", NULL, 0);
    assert_int_equal(figures(0).errors, 2);
    assert_non_null(strstr(logged, "(the error is a table)"));
}

static void a_script_that_fails_to_load_leaves_nothing(void **state)
{
    static const char bad[] = "local mw = require 'moonwatch' mw.every(1, print) "
                              "mw.script { name = 'x', on = { exec = print } } error 'late'";
    (void)state;
    assert_int_equal(host_load(host, "@bad.lua", bad, sizeof bad - 1), -22);
    assert_non_null(strstr(host_error(host), "bad.lua:1: late"));
    assert_int_equal(alarm_ns, INT64_MAX);
    tell(EVENT_EXEC, 10, 1, "a", NULL, 0);
    assert_string_equal(written(), "");
    assert_int_equal(host_load(host, "@bad.lua", "x =", 3), -22);
    assert_non_null(strstr(host_error(host), "bad.lua:1:"));
    assert_int_equal(host_load(host, "@bytes.lua", "\x1bLJ", 3), -22);
}

static void wrong_subscriptions_are_refused_by_name(void **state)
{
    static const char *const bad[][2] = {
        { "exce = print", "on.exce: no event is named so" },
        { "exec = 1", "on.exec must be a function" },
        { "exec = { where = 1, handler = print }", "`where` must come from mw.where" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, SCRIPT("%s"), bad[i][0]);
        assert_int_equal(host_load(host, "@bad.lua", text, strlen(text)), -22);
        assert_non_null(strstr(host_error(host), bad[i][1]));
    }
}

static void print_writes_one_line_whatever_it_is_given(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' mw.at_exit(function() end) print('a\\nb', 'c\\td', '\\27[2J') "
         "print() print(nil, 5) mw.log('x\\ny', 7, nil)");
    assert_string_equal(written(), "a\\x0ab\tc\\x09d\t\\x1b[2J\n\nnil\t5\n");
    assert_string_equal(logged, "test: x\\x0ay 7 nil\n");
}

static void an_error_of_a_line_shows_no_calls_of_ours(void **state)
{
    (void)state;
    assert_int_equal(host_load_line(host, "exec: comm.x.y == 1"), 0);
    assert_int_equal(host_load_line(host, "exec: => error('on purpose')"), 0);
    tell(EVENT_EXEC, 10, 1, "ls", "ls", 3);
    assert_non_null(strstr(logged, "-e:1: attempt to index"));
    assert_non_null(strstr(logged, "-e:1: on purpose"));
    assert_null(strstr(logged, "oneliner.lua"));
    assert_null(strstr(logged, "traceback"));
    assert_int_equal(host_load_line(host, "exec: comm = 'ls'"), -22);
    assert_string_equal(host_error(host), "-e: the condition is not Lua: '<eof>' expected near '='; == compares");
}

/* --- what the scripts look at ---------------------------------------------------------------- */

/* An exec of which only the arguments were read. */
static void tell_bare(int pid)
{
    static struct event_box box;
    event_begin(&box, EVENT_EXEC);
    for (int f = EVENT_FIRST_STATE; f <= EVENT_LAST_STATE; f++)
        event_set_missing(&box, f, WHY_UNASKED);
    event_set(&box, F_TIME, 1700000000123456789, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, pid - 1, WHY_PROC);
    event_set(&box, F_STARTTIME, pid * 10, WHY_COMPUTED);
    event_set_missing(&box, F_TTY, WHY_ABSENT);
    event_set_text(&box, F_ARGS, "ls", 3, WHY_PROC);
    host_event(host, &box.ev);
}

static void needs_are_those_of_all_scripts(void **state)
{
    (void)state;
    assert_int_equal(host_needs(host), 0);
    load(SCRIPT("exec = function(ev) print(ev.cmdline) end"));
    assert_int_equal(host_needs(host) & PROCFS_FIELDS, FIELD(ARGS));
    load("local mw = require 'moonwatch' return mw.script { name = 't', on = { exec = "
         "mw.where { ['c' .. 'wd'] = '/' } (print) } }");
    assert_int_equal(host_needs(host) & PROCFS_FIELDS, FIELD(ARGS) | FIELD(CWD));
    assert_int_equal(host_load_line(host, "exit: euid == 0 => print(exe)"), 0);
    assert_int_equal(host_needs(host) & PROCFS_FIELDS,
                     FIELD(ARGS) | FIELD(CWD) | FIELD(EUID) | FIELD(EXE));
    assert_int_equal(figures(0).needs & PROCFS_FIELDS, FIELD(ARGS));
    assert_int_equal(figures(1).needs & PROCFS_FIELDS, FIELD(CWD));
    assert_int_equal(figures(1).kinds, ON(EXEC));
    assert_int_equal(figures(2).kinds, ON(EXIT));
    assert_int_equal(host_load_line(host, "exec: comm == 'ls'"), 0);
    assert_true(host_needs(host) == UINT64_MAX); /* it writes events */
}

static void a_script_may_declare_what_it_needs(void **state)
{
    static const char *const bad[][2] = {
        { "{ 'cwd',\n 'cgruop' }", "bad.lua:2: mw.script: needs: no field is named 'cgruop'" },
        { "'cwd'", "`needs` must be \"all\" or a list of fields" },
        { "{ 'no' .. 'ne' }", "mw.script: needs: no field is named 'none'" },
        { "{ 7 }", "`needs` holds a number, but fields are strings" },
        { "true", "`needs` must be \"all\" or a list of fields" },
    };
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "require 'moonwatch'.script { name = 'x', needs = %s }",
                 bad[i][0]);
        assert_int_equal(host_load(host, "@bad.lua", text, strlen(text)), -22);
        if (!strstr(host_error(host), bad[i][1]))
            fail_msg("%s", host_error(host));
    }
    assert_int_equal(host_needs(host), 0);
    load("require 'moonwatch'.script { name = 'x', needs = { 'c' .. 'wd', 'Command' .. 'Line' } }");
    assert_int_equal(host_needs(host), FIELD(CWD) | FIELD(ARGS));
    load("require 'moonwatch'.script { name = 'y', needs = 'al' .. 'l' }");
    assert_true(host_needs(host) == UINT64_MAX);
}

static void a_module_that_is_required_counts(void **state)
{
    char dir[] = "/tmp/test_host.XXXXXX", path[64], text[256];
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/looks.lua", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("return function(ev) return ev.cgroup end", file);
    fclose(file);
    snprintf(text, sizeof text,
             "package.path = '%s/?.lua' local looks = require 'looks' require 'moonwatch'.at_exit(print) "
             "assert(not pcall(require, 'no such one')) assert(looks {} == nil)",
             dir);
    load(text);
    assert_int_equal(host_needs(host) & PROCFS_FIELDS, FIELD(CGROUP));
    unlink(path);
    rmdir(dir);
}

static void what_is_read_is_needed_from_then_on(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) print(ev.pid, ev['c' .. 'wd'], ev:why('c' .. 'wd'), "
                "ev['t' .. 'ty'], ev.nonsense, ev.args[1]) end"));
    uint64_t before = host_needs(host);
    assert_false(before & FIELD(CWD));
    tell_bare(10);
    tell_bare(11);
    const char *why = "\tnil\tmissing: no script needs it\tnil\tnil\tls\n";
    char want[256];
    snprintf(want, sizeof want, "10%s11%s", why, why);
    assert_string_equal(written(), want);
    assert_int_equal(needs_told, 1); /* once per field */
    assert_int_equal(last_needs, before | FIELD(CWD));
    assert_int_equal(host_needs(host), last_needs);
}

static void a_parents_field_is_seen_too(void **state)
{
    (void)state;
    load(SCRIPT(
        "exec = function(ev) if ev.parent then print(ev.parent:get('Im' .. 'age')) end end"));
    tell_bare(10);
    tell_bare(11);
    assert_int_equal(needs_told, 1);
    assert_true(last_needs & FIELD(EXE));
    assert_false(last_needs & FIELD(CWD));
}

/* Each looks at whole events in a way that the text does not tell. */
static void who_looks_at_whole_events_needs_all(void **state)
{
    static const char *const ways[] = {
        "for k in pairs(x[1]) do end",
        "mw['em' .. 'it'](x[1])",
        "mw['em' .. 'it'] { x }",
        "mw['js' .. 'on'](x)",
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char on[256];
        end(state);
        assert_int_equal(begin(state), 0);
        snprintf(on, sizeof on, SCRIPT("exec = function(ev) local x = { ev } %s end"), ways[i]);
        load(on);
        assert_false(host_needs(host) & FIELD(CWD));
        tell(EVENT_EXEC, 10, 1, "ls", "ls", 3); /* lacks nothing */
        assert_int_equal(needs_told, 0);
        tell_bare(10);
        tell_bare(11);
        if (needs_told != 1 || last_needs != UINT64_MAX)
            fail_msg("%s: told %d times", ways[i], needs_told);
        assert_int_equal(figures(0).errors, 0);
    }
}

static void an_alert_needs_what_its_line_shows(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) mw['al' .. 'ert'] { event = ev } end"));
    assert_false(host_needs(host) & PROCFS_FIELDS);
    tell_bare(10);
    assert_int_equal(needs_told, 1);
    assert_int_equal(last_needs & PROCFS_FIELDS,
                     FIELD(ARGS) | FIELD(EXE) | FIELD(DELETED) | FIELD(COMM));
    const char *line = written();
    assert_non_null(strstr(line, "\"cwd\":\"no script needs it\""));
}

/* --- the worker says it ----------------------------------------------------------------------- */

static struct worker_message hear(int from)
{
    struct worker_message message = { .say = 99 };
    if (recv(from, &message, sizeof message, 0) != sizeof message)
        message.say = 99;
    return message;
}

static void a_worker_says_what_its_scripts_need(void **state)
{
    static char text[] = SCRIPT("exec = function(ev) print(ev.cmdline, ev['c' .. 'wd']) end");
    struct host_source script = { .name = "@test.lua", .text = text };
    struct ring *ring;
    static struct event_box box;
    int control[2], questions[2];
    (void)state;
    script.len = strlen(text);
    for (int only_load = 0; only_load < 2; only_load++) {
        assert_int_equal(ring_new(&ring, 1 << 20), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, questions), 0);
        struct worker_options options = { .ring = ring,
                                          .control = control[1],
                                          .questions = questions[1],
                                          .scripts = &script,
                                          .scripts_len = 1,
                                          .only_load = only_load,
                                          .host = { .table_bytes = 1 << 20, .fd = out } };
        pid_t pid = fork();
        if (pid == 0)
            _exit(worker_run(&options));
        close(control[1]);
        close(questions[1]);

        struct timeval deadline = { .tv_sec = 10 };
        setsockopt(control[0], SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        assert_int_equal(hear(control[0]).say, WORKER_MISSED);
        struct worker_message named = hear(control[0]);
        assert_int_equal(named.say, WORKER_SCRIPT);
        assert_string_equal(named.script.name, "t");
        struct worker_message ready = hear(control[0]);
        assert_int_equal(ready.say, WORKER_READY);
        assert_int_equal(ready.needs & PROCFS_FIELDS, FIELD(ARGS));
        assert_int_equal(ready.kinds, ON(EXEC));
        if (!only_load) {
            event_begin(&box, EVENT_EXEC);
            event_set(&box, F_PID, 10, WHY_KERNEL);
            event_set_missing(&box, F_CWD, WHY_UNASKED);
            ring_write(ring, &box);
            ring_flush(ring);
            struct worker_message more = hear(control[0]);
            assert_int_equal(more.say, WORKER_NEEDS);
            assert_int_equal(more.needs, ready.needs | FIELD(CWD));
            ring_finish(ring);
        }
        assert_int_equal(hear(control[0]).say, WORKER_MISSED);
        struct worker_message about = hear(control[0]);
        assert_int_equal(about.say, WORKER_SCRIPT);
        assert_int_equal(about.script.kinds, ON(EXEC));
        assert_int_equal(about.script.events, !only_load);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        close(control[0]);
        close(questions[0]);
        ring_free(ring);
    }
}

/* --- figures ---------------------------------------------------------------------------- */

static void stats_are_a_fresh_table_of_the_figures(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' mw.at_exit(print) local s = mw.stats() print(s.events, s.lost, s.execs, "
         "s.processes, s.missed, s.buffer_fill, s.backlog, s.named.exe, s.named.args, "
         "s.named.comm, s.storm, s.summed) s.events = 0 assert(mw.stats().events == 7)");
    assert_string_equal(written(), "7\t1\t4\t99\t5\t0.25\t0.5\t1\t0.75\t0\tfalse\t0\n");
}

/* --- storms ----------------------------------------------------------------------------- */

#define SECOND INT64_C(1000000000)

/* The child of make's: forked, runs cc, ends. */
static void tell_child(int pid)
{
    tell(EVENT_FORK, pid, 20, "make", NULL, 0);
    tell(EVENT_EXEC, pid, 20, "cc", NULL, 0);
    tell(EVENT_EXIT, pid, 20, "cc", NULL, 0);
}

static void in_a_storm_children_are_added_up_by_parent(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' local told = 0 local function count() told = told + 1 end "
         "return mw.script { name = 't', on = { fork = count, exit = count, "
         "exec = function(ev) count() print(ev.pid, ev.comm) end, uid = function() print 'uid' end, "
         "storm = function(ev) print(ev.phase, ev.comm, ev.pid, ev.parent and ev.parent.comm, "
         "ev.children, ev.summed, ev.distinct, told) end } }");
    load(SCRIPT("exec = function(ev) all = (all or 0) + 1 end, "
                "uid = function() print('all', all) end, "
                "any = function(ev) assert(ev.type ~= 'storm') end"));
    tell(EVENT_SNAPSHOT, 1, 0, "init", NULL, 0);
    tell(EVENT_FORK, 20, 1, "make", NULL, 0);
    assert_string_equal(written(), "");
    assert_false(host_pressure(host, 0.4, SECOND));
    assert_true(host_pressure(host, 0.5, SECOND));
    assert_string_equal(written(), "begin\tnil\tnil\tnil\tnil\tnil\tnil\t1\n");
    for (int i = 0; i < 100; i++)
        tell_child(100 + i);
    assert_string_equal(written(), "100\tcc\n");
    assert_true(host_pressure(host, 0.5, 2 * SECOND));
    assert_string_equal(written(), "sum\tmake\t20\tinit\t99\t297\t1\t4\n");
    tell_child(300);
    tell(EVENT_UID, 20, 1, "make", NULL, 0);
    assert_string_equal(written(), "uid\nall\t101\n");
    assert_false(host_pressure(host, 0.1, 3 * SECOND));
    assert_string_equal(written(), "sum\tmake\t20\tinit\t1\t3\t1\t4\n"
                                   "end\tnil\tnil\tnil\tnil\tnil\tnil\t4\n");
    tell(EVENT_EXEC, 301, 20, "cc", NULL, 0);
    assert_string_equal(written(), "301\tcc\n");
    assert_int_equal(figures(1).errors, 0);
}

static void a_parent_is_whole_in_its_sum_however_many_ended_after_it(void **state)
{
    (void)state;
    load(SCRIPT("storm = function(ev) if ev.comm == 'make' then print(ev.pid, ev.uid, "
                "ev.parent and ev.parent.comm) end end"));
    tell(EVENT_SNAPSHOT, 1, 0, "init", NULL, 0);
    tell(EVENT_FORK, 20, 1, "make", NULL, 0);
    host_pressure(host, 1, SECOND);
    tell_child(100);
    tell_child(101);
    tell(EVENT_EXIT, 20, 1, "make", NULL, 0);
    for (int pid = 1000; pid < 1000 + 3 * TRACKER_REMEMBERED; pid++) {
        tell(EVENT_FORK, pid, 1, "init", NULL, 0);
        tell(EVENT_EXIT, pid, 1, "init", NULL, 0);
    }
    host_pressure(host, 0, 3 * SECOND);
    assert_string_equal(written(), "20\t1000\tinit\n");
}

static void threads_are_told_in_a_storm_too(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' return mw.script { name = 't', threads = true, on = { "
         "fork = function(ev) print(ev.tid) end, storm = function() end } }");
    host_pressure(host, 1, SECOND);
    static struct event_box box;
    for (int tid = 11; tid < 14; tid++) {
        event_begin(&box, EVENT_FORK);
        event_set(&box, F_PID, 10, WHY_KERNEL);
        event_set(&box, F_TID, tid, WHY_KERNEL);
        host_event(host, &box.ev);
    }
    assert_string_equal(written(), "11\n12\n13\n");
}

static void without_a_handler_there_is_no_storm(void **state)
{
    (void)state;
    load(SCRIPT("exec = function(ev) print(ev.pid) end, any = function() end"));
    assert_false(host_pressure(host, 1, SECOND));
    tell(EVENT_EXEC, 10, 1, "cc", NULL, 0);
    tell(EVENT_EXEC, 10, 1, "cc", NULL, 0);
    assert_string_equal(written(), "10\n10\n");
}

static void the_end_of_the_watch_ends_a_storm(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' mw.at_exit(function() print 'bye' end) "
         "return mw.script { name = 't', on = { storm = function(ev) print(ev.phase, ev.summed, "
         "ev.comm, ev:why 'comm', ev.time) end } }");
    host_pressure(host, 1, SECOND);
    tell(EVENT_FORK, 20, 1, "make", NULL, 0);
    tell(EVENT_FORK, 100, 20, "make", NULL, 0);
    tell(EVENT_FORK, 101, 20, "make", NULL, 0);
    written();
    host_finish(host);
    assert_string_equal(written(), "sum\t1\tmake\tproc\t1700000000.1235\n"
                                   "end\tnil\tnil\tabsent\t1700000000.1235\nbye\n");
}

static void an_error_in_a_storms_handler_is_the_scripts(void **state)
{
    (void)state;
    load(SCRIPT("storm = function(ev) error 'broken' end"));
    assert_true(host_pressure(host, 1, SECOND));
    assert_false(host_pressure(host, 0, 3 * SECOND));
    assert_int_equal(figures(0).errors, 2);
}

/* --- time ------------------------------------------------------------------------------- */

static void clock_s(double mono)
{
    host_clock(host, (int64_t)(mono * 1e9), 1700000000000000000 + (int64_t)(mono * 1e9));
}

static void a_timer_is_due_by_the_time_that_the_host_is_told(void **state)
{
    (void)state;
    clock_s(100);
    load("local mw = require 'moonwatch' local t0 = mw.now()\n"
         "mw.every(5, function() print('tick', mw.now() - t0) end)");
    assert_int_equal(alarm_ns, 105000000000);
    clock_s(104.9);
    assert_string_equal(written(), "");
    assert_int_equal(alarm_ns, 105000000000); /* anew: the one before has gone off */
    clock_s(105);
    clock_s(111); /* late: one call, the next in step */
    assert_string_equal(written(), "tick\t5\ntick\t11\n");
    assert_int_equal(alarm_ns, 115000000000);
    clock_s(130); /* several late: never to catch up */
    assert_string_equal(written(), "tick\t30\n");
    assert_int_equal(alarm_ns, 135000000000);
}

static void time_that_passes_calls_each_timer_when_it_is_due(void **state)
{
    (void)state;
    clock_s(100);
    load("local mw = require 'moonwatch' local t0 = mw.now()\n"
         "mw.every(2, function() print('two', mw.now() - t0) end)\n"
         "mw.every(3, function() print('three', mw.now() - t0) end)\n"
         "mw.after(0, function() mw.after(0, function() print 'later' end) print 'now' end)");
    host_pass(host, 106500000000, 1700000106500000000);
    assert_string_equal(written(), "now\nlater\ntwo\t2\nthree\t3\ntwo\t4\nthree\t6\ntwo\t6\n");
}

static void an_event_brings_its_time(void **state)
{
    static struct event_box box;
    (void)state;
    clock_s(1);
    load("local mw = require 'moonwatch' mw.after(5, function() print 'due' end)\n"
         "mw.script { name = 'a', on = { exec = function() print 'exec' mw.after(1, function() print 'one' end) end } }");
    for (int64_t s = 5; s <= 7; s++) {
        event_begin(&box, EVENT_EXEC);
        event_set(&box, F_MONO, s * 1000000000, WHY_KERNEL);
        event_set(&box, F_TIME, 1700000000000000000 + s * 1000000000, WHY_KERNEL);
        event_set(&box, F_PID, 9, WHY_KERNEL);
        host_event(host, &box.ev);
    }
    assert_string_equal(written(), "exec\ndue\none\nexec\none\nexec\n");
    clock_s(6); /* it never goes back */
    assert_int_equal(alarm_ns, 8000000000);
}

static void a_call_that_starts_timers_of_no_time_ends(void **state)
{
    (void)state;
    clock_s(1);
    load("local mw = require 'moonwatch' local n = 0\n"
         "local function again() n = n + 1 print(n) mw.after(0, again) end mw.after(0, again)");
    clock_s(2);
    clock_s(3);
    assert_string_equal(written(), "1\n2\n");
}

static void the_last_words_are_said_once(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch' mw.at_exit(function() print 'bye' end)");
    host_finish(host);
    host_finish(host);
    assert_string_equal(written(), "bye\n");
}

static void many_events_leave_memory_flat(void **state)
{
    (void)state;
    load(SCRIPT(
        "exec = function(ev) local x = ev.cmdline .. ev.id end, "
        "exit = function() collectgarbage() collectgarbage() print(collectgarbage 'count') end"));
    double kib[2];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 10000; i++)
            tell(EVENT_EXEC, 10 + i % 100, 1, "ls", "ls\0a", 5);
        tell(EVENT_EXIT, 10, 1, "ls", NULL, 0);
        assert_int_equal(sscanf(written(), "%lf", &kib[round]), 1);
    }
    assert_true(kib[1] < kib[0] + 32);
}

#define TEST(name)    cmocka_unit_test_setup_teardown(name, begin, end)
#define TRUSTED(name) cmocka_unit_test_setup_teardown(name, begin_trusted, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_an_ordinary_table),
        TEST(only_what_was_subscribed_comes),
        TEST(a_parent_is_known_after_its_end_and_as_of_the_fork),
        TEST(each_field_says_how_it_is_known),
        TEST(an_id_outlives_the_pid),
        TEST(later_scripts_see_what_earlier_ones_added),
        TEST(where_decides_before_a_table_is_made),
        TEST(what_a_script_changed_is_what_it_emits),
        TEST(an_alert_is_an_event_with_a_rule),
        TEST(an_alert_has_the_tags_of_its_script_unless_it_has_its_own),
        TEST(any_table_becomes_one_line_of_json),
        TEST(an_error_costs_one_event_and_is_shown_once),
        TEST(errors_of_any_type_are_errors),
        TEST(a_script_that_fails_to_load_leaves_nothing),
        TEST(wrong_subscriptions_are_refused_by_name),
        TEST(an_error_of_a_line_shows_no_calls_of_ours),
        TEST(print_writes_one_line_whatever_it_is_given),
        TEST(needs_are_those_of_all_scripts),
        TEST(a_script_may_declare_what_it_needs),
        TRUSTED(a_module_that_is_required_counts),
        TEST(what_is_read_is_needed_from_then_on),
        TEST(a_parents_field_is_seen_too),
        TEST(who_looks_at_whole_events_needs_all),
        TEST(an_alert_needs_what_its_line_shows),
        TEST(a_worker_says_what_its_scripts_need),
        TEST(stats_are_a_fresh_table_of_the_figures),
        TEST(in_a_storm_children_are_added_up_by_parent),
        TEST(a_parent_is_whole_in_its_sum_however_many_ended_after_it),
        TEST(threads_are_told_in_a_storm_too),
        TEST(without_a_handler_there_is_no_storm),
        TEST(the_end_of_the_watch_ends_a_storm),
        TEST(an_error_in_a_storms_handler_is_the_scripts),
        TEST(a_timer_is_due_by_the_time_that_the_host_is_told),
        TEST(time_that_passes_calls_each_timer_when_it_is_due),
        TEST(an_event_brings_its_time),
        TEST(a_call_that_starts_timers_of_no_time_ends),
        TEST(the_last_words_are_said_once),
        TRUSTED(many_events_leave_memory_flat),
    };
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
