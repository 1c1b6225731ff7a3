/* test_versions.c - versions of a script come and go between two events, and no script's budget is
 * its neighbour's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/budget.h"
#include "host/host.h"
#include "host/tally.h"
#include "host_fixture.h"

#include <errno.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int64_t alarm_ns;

static void alarm_at(void *ctx, int64_t mono_ns)
{
    (void)ctx;
    alarm_ns = mono_ns;
}
static char off_why[512];
static int off_id;
static _Atomic uint64_t marks[BUDGET_MARKS];

static void went_off(void *ctx, uint32_t id, const char *why)
{
    (void)ctx;
    off_id = (int)id;
    snprintf(off_why, sizeof off_why, "%s", why);
}

static void keep_last(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    snprintf(logged, sizeof logged, "%s", text);
}

static int open_host(size_t memory, int errors)
{
    struct host_options options = {
        .world = { .alarm = alarm_at, .off = went_off },
        .table_bytes = 1 << 20,
        .boot = 0xb007,
        .fd = out,
        .soft_ns = 20 * NS_PER_SECOND / 1000,
        .memory_bytes = memory,
        .errors_a_minute = errors,
        .marks = marks,
    };
    return host_new(&host, &options);
}

static int begin(void **state)
{
    (void)state;
    out = memfd_create("out", 0);
    alarm_ns = INT64_MAX;
    off_id = -1;
    logged[0] = off_why[0] = '\0';
    memset(marks, 0, sizeof marks);
    log_to(keep_last, NULL);
    return open_host(16u << 20, 5);
}

static timer_t ticking;
static bool ticks;

static int end(void **state)
{
    (void)state;
    if (ticks)
        timer_delete(ticking);
    ticks = false;
    end_host();
    return 0;
}

static int replace(uint32_t id, uint32_t generation, const char *text, bool shadow)
{
    char name[32];
    snprintf(name, sizeof name, "@s%u.lua", id);
    struct host_source source = { .id = id,
                                  .generation = generation,
                                  .name = name,
                                  .text = text,
                                  .len = strlen(text),
                                  .shadow = shadow };
    return host_replace(host, &source);
}

static void load(uint32_t id, const char *text)
{
    if (replace(id, 1, text, false) < 0)
        fail_msg("%s", host_error(host));
}

static void tell(int seq)
{
    static struct event_box box;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_SEQ, seq, WHY_COMPUTED);
    event_set(&box, F_PID, 100 + seq, WHY_KERNEL);
    event_set(&box, F_TID, 100 + seq, WHY_KERNEL);
    event_set_text(&box, F_COMM, "ls", 2, WHY_PROC);
    host_event(host, &box.ev);
}

static struct host_script figures(uint32_t id)
{
    struct host_script all[16];
    int n = host_scripts(host, all, 16);
    for (int i = 0; i < n; i++)
        if (all[i].id == id && !all[i].shadow)
            return all[i];
    fail_msg("there is no script %u", id);
    return all[0];
}

#define SCRIPT(name, more)                                                                         \
    "local mw = require 'moonwatch' return mw.script { name = '" name "', " more " }"
#define PRINTS(what) "on = { exec = function(ev, state) print(" what ") end }"

/* --- the next version --------------------------------------------------------------------- */

static void the_next_version_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    load(1, SCRIPT("a", PRINTS("'a1', ev.seq")));
    load(2, SCRIPT("b", PRINTS("'b', ev.seq")));
    tell(1);
    assert_int_equal(replace(1, 2, SCRIPT("a", PRINTS("'a2', ev.seq")), false), 0);
    tell(2);
    assert_string_equal(written(), "a1\t1\nb\t1\na2\t2\nb\t2\n");
    assert_int_equal(figures(1).generation, 2);
    assert_int_equal(figures(1).events, 2); /* the script's, whatever its version */
    assert_int_equal(host_scripts(host, NULL, 0), 2);
}

static void a_version_that_cannot_be_loaded_leaves_the_old_one(void **state)
{
    static const char *const broken[] = {
        "local mw = requ",
        "error('no')",
        SCRIPT("a", "on = { exce = print }"),
        "local mw = require 'moonwatch' mw.every(1, print) mw.script { name = 'a', on = { exec = "
        "print } } error { 1 }",
        SCRIPT("a", "state = {}, reload = function(old) return old.x.y end, on = { exec = print }"),
        SCRIPT("a", "reload = 7, on = { exec = print }"),
        "while true do local x = nil + 1 end",
    };
    (void)state;
    load(1, SCRIPT("a", "state = {}, " PRINTS("'old', ev.seq")));
    for (int i = 0; i < (int)(sizeof broken / sizeof *broken); i++) {
        if (replace(1, 2, broken[i], false) != -EINVAL)
            fail_msg("loaded: %s", broken[i]);
        assert_true(*host_error(host));
        tell(i);
        char wanted[32];
        snprintf(wanted, sizeof wanted, "old\t%d\n", i);
        assert_string_equal(written(), wanted);
        assert_int_equal(host_scripts(host, NULL, 0), 1);
    }
    assert_int_equal(alarm_ns, INT64_MAX);
}

static void state_is_handed_over(void **state)
{
    (void)state;
    load(1, SCRIPT("a", "state = { n = 0 }, on = { exec = function(ev, s) s.n = s.n + 1 end }"));
    tell(1);
    tell(2);
    load(1, SCRIPT("a", "state = { n = 100 }, reload = function(old) return { m = old.n * 10 } end, "
                        PRINTS("state.m, state.n")));
    tell(3);
    load(1, SCRIPT("a", "reload = function(old) return old end, " PRINTS("state.m")));
    tell(4);
    load(1, SCRIPT("a", "state = { n = 7 }, " PRINTS("state.n"))); /* does not want it */
    tell(5);
    assert_string_equal(written(), "20\tnil\n20\n7\n");
}

static void the_state_is_that_of_the_script_table_too(void **state)
{
    (void)state;
    load(1, SCRIPT("a", "state = { n = 1 }"));
    load(1, "local mw = require 'moonwatch' local s s = mw.script { name = 'a', reload = "
            "function(old) return old end, on = { exec = function() print(s.state.n) end } } "
            "return s");
    tell(1);
    assert_string_equal(written(), "1\n");
}

static void timers_belong_to_the_version(void **state)
{
    (void)state;
    load(1, "local mw = require 'moonwatch' mw.every(1, print) mw.after(2, print) return mw.script "
            "{ name = 'a' }");
    assert_int_equal(alarm_ns, 1000000000);
    load(1, SCRIPT("a", PRINTS("1")));
    assert_int_equal(alarm_ns, INT64_MAX);
    host_clock(host, 5000000000, 0); /* one that was due meanwhile */
    assert_string_equal(written(), "");
}

static void reloading_keeps_memory_flat(void **state)
{
    (void)state;
    size_t after_some = 0;
    for (int i = 0; i < 3000; i++) {
        load(1, SCRIPT("a", "state = {}, reload = function(old) return old end, "
                            PRINTS("string.rep('x', 10)")));
        tell(i);
        written();
        if (i == 1000)
            after_some = host_memory(host);
    }
    host_weigh(host); /* collects */
    assert_true(host_memory(host) < after_some + (64u << 10));
}

static void a_reload_is_an_event_for_who_wants_it(void **state)
{
    (void)state;
    host_clock(host, 7000000000, 1700000000000000000);
    load(1, SCRIPT("a", "on = { reload = function(ev) print(ev.type, ev.time == 17e8 and ev.mono == 7) end }"));
    load(2, SCRIPT("b", PRINTS("1")));
    assert_string_equal(written(), "");
    load(2, SCRIPT("b", PRINTS("2")));
    assert_int_equal(replace(2, 3, "no Lua", false), -EINVAL);
    assert_string_equal(written(), "reload\ttrue\n");
}

static void an_unloaded_script_is_gone(void **state)
{
    (void)state;
    load(1, SCRIPT("a", PRINTS("'a'")));
    load(2, SCRIPT("b", PRINTS("'b'")));
    host_unload(host, 1);
    host_unload(host, 77);
    tell(1);
    assert_string_equal(written(), "b\n");
    assert_int_equal(host_scripts(host, NULL, 0), 1);
}

/* --- shadows -------------------------------------------------------------------------------- */

#define ALERTS(test)                                                                               \
    "on = { exec = function(ev) print 'said' if " test                                             \
    " then mw.alert { event = ev, text = 'at ' .. ev.seq } end end }"

static void a_shadow_is_compared_and_tells_nothing(void **state)
{
    struct buf difference = { 0 };
    (void)state;
    load(1, SCRIPT("a", ALERTS("ev.seq % 2 == 0")));
    assert_int_equal(host_compare(host, 1, &difference), -ENOENT);
    assert_int_equal(replace(1, 2, SCRIPT("a", ALERTS("ev.seq % 3 == 0")), true), 0);
    for (int seq = 1; seq <= 6; seq++)
        tell(seq);
    const char *text = written();
    int alerts = 0, said = 0;
    for (const char *at = text; (at = strstr(at, "ALERT")); at++)
        alerts++;
    for (const char *at = text; (at = strstr(at, "said")); at++)
        said++;
    assert_int_equal(alerts, 3);
    assert_int_equal(said, 6);
    assert_int_equal(host_compare(host, 1, &difference), 0);
    assert_string_equal(buf_str(&difference),
                        "{\"both\":1,\"only_old\":[\"medium event 2 pid 102 ls: at 2\",\"medium "
                        "event 4 pid 104 ls: at 4\"],\"only_new\":[\"medium event 3 pid 103 ls: at "
                        "3\"],\"lost\":0}");
    host_drop_shadow(host, 1);
    assert_int_equal(host_compare(host, 1, &difference), -ENOENT);
    tell(12);
    assert_non_null(strstr(written(), "at 12"));
    buf_free(&difference);
}

static void what_a_shadow_tells_is_bounded(void **state)
{
    struct buf difference = { 0 };
    (void)state;
    load(1, SCRIPT("a", PRINTS("1")));
    assert_int_equal(replace(1, 2,
                             SCRIPT("a", "on = { exec = function(ev) mw.alert { text = "
                                         "string.rep('x', 1000) } end }"),
                             true),
                     0);
    for (int seq = 1; seq <= 1000; seq++)
        tell(seq);
    assert_int_equal(host_compare(host, 1, &difference), 0);
    assert_true(difference.len < 300000);
    assert_null(strstr(buf_str(&difference), "\"lost\":0}"));
    buf_free(&difference);
}

/* --- budgets ---------------------------------------------------------------------------------- */

static void on_tick(int signal)
{
    (void)signal;
    host_tick(host, clock_thread_cpu_ns());
}

static void start_ticking(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    struct itimerspec each = { .it_interval = { 0, 4000000 }, .it_value = { 0, 4000000 } };
    signal(SIGALRM, on_tick);
    assert_int_equal(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &ticking), 0);
    ticks = true;
    assert_int_equal(timer_settime(ticking, 0, &each, NULL), 0);
}

static void a_call_over_its_time_ends_and_its_neighbours_go_on(void **state)
{
    static const char *const endless[] = {
        "while true do end",
        "for i = 1, 1e15 do end",
        "local function f() return f() end f()",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "local t = {} while true do t[#t % 100 + 1] = tostring(#t) end",
        "local s = '' while true do s = (s .. 'x'):sub(1, 100) end",
        "table.sort({ 3, 1, 2, 5, 4, 9, 8, 7 }, function() while true do end end)",
        "setmetatable({}, { __index = function() while true do end end }).x = nil local _ = "
        "setmetatable({}, { __index = function() while true do end end }).x",
        "local s = string.rep('x', 1000000) while true do s:gsub('.', '%0%0') end",
    };
    (void)state;
    load(1, "require('moonwatch').script { name = 'jit' } local ok, jit = pcall(require, 'jit') if ok then jit.off() jit.flush() end");
    start_ticking();
    for (uint32_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        char text[512];
        snprintf(text, sizeof text, SCRIPT("runaway", "on = { exec = function() %s end }"),
                 endless[i]);
        load(2, text);
        load(3, SCRIPT("neighbour", PRINTS("ev.seq")));
        int64_t from = clock_mono_ns();
        tell((int)i + 1);
        int64_t took = clock_mono_ns() - from;
        if (took > 5 * NS_PER_SECOND)
            fail_msg("%s: took %lld ms", endless[i], (long long)took / 1000000);
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%u\n", i + 1);
        assert_string_equal(written(), wanted);
        if (!strstr(host_error(host), "over its budget") &&
            !strstr(host_error(host), "not enough memory"))
            fail_msg("%s: %s", endless[i], host_error(host));
        host_unload(host, 2);
    }
}

/* The hook goes on throwing until the outermost call has ended: none of that is in the message. */
static void who_is_over_its_time_is_told_so_with_the_line(void **state)
{
    static const char *const endless[] = {
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do pcall(error) end",
        "while true do pcall(pcall, error) end",
        "while true do xpcall(error, function(e) return e .. e end, 'x') end",
        "while true do xpcall(function() while true do end end, tostring) end",
        "local function f() return pcall(f) end while true do f() end",
        "local function f() return 1 + f() end while true do pcall(f) end",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end while true do end end f(5000)",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end while true do end end "
        "while true do pcall(f, 60000) end",
        "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) "
        "while true do pcall(function() return t[1] end) end",
        "local s = '' while true do s = (s .. 'x'):sub(1, 100) end",
        "local s = '' while true do s = s .. 'x' if #s > 100000 then s = '' end end",
        "while true do local s = ('x'):rep(1000000) end",
        "while true do pcall(string.rep, 'x', 1000000) end",
        "local t = {} while true do t[#t % 100 + 1] = tostring(#t) end",
        "while true do pcall(error, setmetatable({}, { __tostring = function() while true do end "
        "end })) end",
        "local co = coroutine.wrap(function() while true do end end) co()",
        "while true do local co = coroutine.create(function() while true do end end) "
        "coroutine.resume(co) end",
        "table.sort({ 3, 1, 2, 5, 4, 9, 8, 7 }, function() while true do end end)",
    };
    (void)state;
    start_ticking();
    for (uint32_t i = 0; i < 3 * sizeof endless / sizeof *endless; i++) {
        const char *body = endless[i / 3];
        char text[512];
        snprintf(text, sizeof text, SCRIPT("runaway", "on = { exec = function()\n%s\nend }"), body);
        load(2, text);
        tell((int)i + 1);
        const char *said = host_error(host), *end = strchr(said, '\n');
        const char *over = strstr(said, "over its budget of processor time for one call");
        if (!over || (end && end < over) || strncmp(said, "s2.lua:2: ", 10) != 0)
            fail_msg("%s: %s", body, said);
        host_unload(host, 2);
    }
}

static void errors_without_end_switch_a_script_off(void **state)
{
    (void)state;
    load(1, SCRIPT("bad", "on = { exec = function(ev) error('again ' .. ev.seq) end }"));
    load(2, SCRIPT("good", PRINTS("ev.seq")));
    for (int seq = 1; seq <= 8; seq++)
        tell(seq);
    assert_string_equal(written(), "1\n2\n3\n4\n5\n6\n7\n8\n");
    assert_int_equal(figures(1).errors, 6);
    assert_true(figures(1).off);
    assert_int_equal(off_id, 1);
    assert_non_null(strstr(off_why, "more than 5 errors within a minute"));
    assert_non_null(strstr(off_why, "again 6"));
    assert_int_equal(host_kinds(host), ON(EXEC));
    load(1, SCRIPT("bad", PRINTS("'better'"))); /* its file changed */
    tell(9);
    assert_string_equal(written(), "better\n9\n");
}

static void who_fills_the_memory_is_named_and_goes(void **state)
{
    (void)state;
    load(1, SCRIPT("small", "state = { string.rep('s', 100000) }, " PRINTS("ev.seq")));
    load(2, "local mw = require 'moonwatch' local kept = {} return mw.script { name = 'hoarder', on = "
            "{ exec = function() kept[#kept + 1] = string.rep('x', 500000) .. #kept end } }");
    for (int seq = 1; seq <= 60; seq++) {
        tell(seq);
        written();
    }
    assert_int_equal(off_id, 2);
    assert_non_null(strstr(off_why, "memory is full (16 MiB)"));
    assert_true(host_memory(host) < 4u << 20);
    tell(99);
    assert_string_equal(written(), "99\n");
    host_weigh(host);
    assert_true(figures(1).memory_bytes > 100000 && figures(1).memory_bytes < 200000);
}

static void a_call_that_wants_it_all_at_once_gets_an_error(void **state)
{
    static const char *const greedy[] = {
        "string.rep('x', 2 ^ 30)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
        "local s = 'x' while true do s = s .. s end",
    };
    (void)state;
    load(1, "require('moonwatch').script { name = 'jit' } local ok, jit = pcall(require, 'jit') if ok then jit.off() jit.flush() end");
    start_ticking();
    for (uint32_t i = 0; i < sizeof greedy / sizeof *greedy; i++) {
        char text[512];
        snprintf(text, sizeof text, SCRIPT("greedy", "on = { exec = function() %s end }"), greedy[i]);
        load(2, text);
        load(3, SCRIPT("neighbour", PRINTS("ev.seq")));
        tell((int)i + 1);
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%u\n", i + 1);
        assert_string_equal(written(), wanted);
        assert_int_equal(figures(2).errors, 1);
        host_unload(host, 2);
    }
}

/* --- a predecessor's death ------------------------------------------------------------------ */

static void a_successor_serves_only_those_who_did_not_have_the_record(void **state)
{
    (void)state;
    load(1, SCRIPT("a", PRINTS("'a', ev.seq")));
    load(2, SCRIPT("b", "on = { exec = function(ev) end }"));
    load(3, SCRIPT("c", PRINTS("'c', ev.seq")));
    tell(7);
    written();
    host_free(host);
    marks[MARK_SERVED] = 3; /* it died in b's call */
    assert_int_equal(open_host(16u << 20, 5), 0);
    load(1, SCRIPT("a", PRINTS("'a', ev.seq")));
    load(3, SCRIPT("c", PRINTS("'c', ev.seq")));
    tell(7);
    tell(8);
    assert_string_equal(written(), "c\t7\na\t8\nc\t8\n");
}

static void the_marks_say_whose_call_runs(void **state)
{
    (void)state;
    assert_int_equal(marks[MARK_SCRIPT], 0);
    load(41, SCRIPT("a", PRINTS("ev.seq")));
    tell(9);
    assert_int_equal(marks[MARK_SCRIPT], 0);
    assert_int_equal(marks[MARK_SEQ], 9);
    assert_int_equal(marks[MARK_SERVED], 42);
    assert_true(marks[MARK_CALL] >= 2);
}

/* --- figures ----------------------------------------------------------------------------------- */

static void percentiles_are_at_most_a_quarter_too_high(void **state)
{
    static const int64_t values[] = { 0, 1, 3, 4, 7, 100, 1023, 1024, 123456, 99999999999 };
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct tally t = { 0 };
        assert_int_equal(tally_percentile(&t, 0.5), 0);
        for (int n = 0; n < 100; n++)
            tally_add(&t, n < 98 ? values[i] : INT64_MAX);
        int64_t p50 = tally_percentile(&t, 0.5);
        assert_true(p50 > values[i]);
        assert_true(p50 <= values[i] + values[i] / 4 + 1);
        assert_true(tally_percentile(&t, 0.99) > values[i] * 1.25);
    }
}

static void lines_are_evaluated_in_an_environment_of_their_own(void **state)
{
    struct buf result = { 0 };
    (void)state;
    assert_int_equal(host_eval(host, "x = 6", 5, &result), 0);
    buf_clear(&result);
    assert_int_equal(host_eval(host, "x * 7", 5, &result), 0);
    assert_string_equal(buf_str(&result), "=42"); /* what a line gave begins so, see repl.lua */
    assert_int_equal(host_eval(host, "error 'no'", 10, &result), -EINVAL);
    assert_non_null(strstr(host_error(host), "no"));
    buf_free(&result);
}

static void a_script_that_would_do_nothing_is_refused(void **state)
{
    static const char *const idle[] = { "", "local mw = require 'moonwatch'",
                                        "local mw = require 'moonwatch' mw.cancel(mw.every(5, print))" };
    static const char *const busy[] = { "require 'moonwatch'.script { name = 'x' }",
                                        "require 'moonwatch'.after(5, print)",
                                        "require 'moonwatch'.at_exit(print)" };
    (void)state;
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        assert_int_equal(host_load(host, "@/etc/idle.lua", idle[i], strlen(idle[i])), -22);
        assert_string_equal(host_error(host), "/etc/idle.lua: it calls no mw.script { ... } and sets "
                                              "no timer: it would do nothing");
    }
    for (size_t i = 0; i < sizeof busy / sizeof *busy; i++)
        assert_int_equal(host_load(host, "@/etc/busy.lua", busy[i], strlen(busy[i])), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_next_version_takes_the_place_of_the_one_before),
        TEST(a_script_that_would_do_nothing_is_refused),
        TEST(a_version_that_cannot_be_loaded_leaves_the_old_one),
        TEST(state_is_handed_over),
        TEST(the_state_is_that_of_the_script_table_too),
        TEST(timers_belong_to_the_version),
        TEST(reloading_keeps_memory_flat),
        TEST(a_reload_is_an_event_for_who_wants_it),
        TEST(an_unloaded_script_is_gone),
        TEST(a_shadow_is_compared_and_tells_nothing),
        TEST(what_a_shadow_tells_is_bounded),
        TEST(a_call_over_its_time_ends_and_its_neighbours_go_on),
        TEST(who_is_over_its_time_is_told_so_with_the_line),
        TEST(errors_without_end_switch_a_script_off),
        TEST(who_fills_the_memory_is_named_and_goes),
        TEST(a_call_that_wants_it_all_at_once_gets_an_error),
        TEST(a_successor_serves_only_those_who_did_not_have_the_record),
        TEST(the_marks_say_whose_call_runs),
        TEST(percentiles_are_at_most_a_quarter_too_high),
        TEST(lines_are_evaluated_in_an_environment_of_their_own),
    };
    return cmocka_run_group_tests_name("versions", tests, NULL, NULL);
}
