/* test_library.c - what the library's Lua reaches in C: patterns, files beside a script, owners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "host/host.h"
#include "host_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int64_t now_ns;

/* --- a world with one file --------------------------------------------------------------------- */

static const char *file_text; /* NULL: there is none */
static uint64_t file_hash;
static int file_error, asked;

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *answer, int *fds)
{
    const struct request_file *q = bytes;
    (void)ctx, (void)fds;
    if (kind != REQUEST_FILE)
        return kind == REQUEST_PROBE ? -ESRCH : -ENOTCONN;
    assert_int_equal(q->module, 0);
    assert_int_equal(len, sizeof *q + strlen("bad.txt"));
    assert_memory_equal(q + 1, "bad.txt", strlen("bad.txt"));
    asked++;
    if (file_error)
        return file_error;
    if (!file_text)
        return -ENOENT;
    buf_add(answer, &file_hash, sizeof file_hash);
    if (q->known != file_hash)
        buf_puts(answer, file_text);
    return 0;
}


/* The scripts' time goes on. */
static void pass(double span_s)
{
    now_ns += (int64_t)(span_s * 1e9);
    host_pass(host, now_ns, 1700000000000000000 + now_ns - 5000000000);
    host_clock(host, now_ns, 1700000000000000000 + now_ns - 5000000000);
}

static int begin(void **state)
{
    struct host_options options = {
        .world = { .request = request },
        .table_bytes = 1 << 20,
        .boot = 0xb007,
        .memory_bytes = 64 << 20,
    };
    (void)state;
    options.fd = out = memfd_create("out", 0);
    logged[0] = '\0';
    file_text = NULL;
    file_hash = 7;
    file_error = asked = 0;
    now_ns = 5000000000;
    log_to(keep_log, NULL);
    int result = host_new(&host, &options);
    pass(0);
    return result;
}

static int end(void **state)
{
    (void)state;
    end_host();
    return 0;
}

/* What it does, it does when it is loaded; a script has to wait for something besides. */
static void load(const char *body)
{
    char text[4096];
    snprintf(text, sizeof text, "require('moonwatch').at_exit(function() end) %s", body);
    if (host_load(host, "@/etc/moonwatch/x.lua", text, strlen(text)) < 0)
        fail_msg("%s", host_error(host));
}

static void refuse(const char *text, const char *wanted)
{
    assert_int_equal(host_load(host, "@/etc/moonwatch/x.lua", text, strlen(text)), -EINVAL);
    if (!strstr(host_error(host), wanted))
        fail_msg("%s", host_error(host));
}

/* --- patterns ---------------------------------------------------------------------------------- */

static void a_pattern_is_a_predicate(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch'\n"
         "local tmp = mw.match.glob { '/tmp/*', '/dev/shm/*' }\n"
         "assert(tmp '/tmp/x' == true and tmp '/dev/shm/y' == true and tmp '/usr/bin/x' == false)\n"
         "local c = mw.match.contains('Mimi', { cased = false })\n"
         "assert(c 'xMIMIx' and c 'mimi' and not c 'mim')\n"
         "assert(mw.match.startswith '/tmp/' '/tmp/x')\n"
         "assert(mw.match.endswith { '.sh', '.py' } 'a.py')\n"
         "assert(mw.match.regex [[^/tmp/\\.\\w+$]] '/tmp/.x')\n"
         "assert(mw.match.cidr { '10.0.0.0/8', 'fe80::/10' } '10.1.2.3')\n"
         "assert(mw.match.windash ' -enc' 'powershell /enc x')\n"
         "assert(mw.match.contains 'a\\0b' 'xa\\0bx')\n"
         "assert(mw.match.contains '44' (4444))\n"
         "assert(mw.match.glob {} '' == false)\n");
}

/* The examples of lua/meta/moonwatch.lua. */
static void patterns_as_in_the_documentation(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch'\n"
         "local hidden = mw.match.glob { '/tmp/.*', '/dev/shm/*' }\n"
         "assert(hidden '/tmp/.x/y' and hidden '/dev/shm/x' and not hidden '/tmp/x')\n"
         "local script = mw.match.glob('*.sh', { cased = false })\n"
         "assert(script 'X.SH')\n"
         "local pipe_to_shell = mw.match.regex [[\\b(curl|wget)\\b.*\\|\\s*(ba|da|z)?sh\\b]]\n"
         "assert(pipe_to_shell 'sh -c curl -s http://x | bash' and not pipe_to_shell 'curl x | less')\n"
         "local inside = mw.match.cidr { '10.0.0.0/8', '192.168.0.0/16', 'fd00::/8' }\n"
         "assert(inside '192.168.7.1' and inside 'fd12::1' and not inside '8.8.8.8')\n"
         "local encoded = mw.match.windash({ ' -enc ', ' -EncodedCommand ' }, { cased = false })\n"
         "assert(encoded 'pwsh /encodedcommand x' and not encoded 'pwsh -encoding x')\n");
}

static void what_has_no_value_and_what_takes_too_long_is_undecided(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch'\n"
         "local r, why = mw.match.contains 'x' (nil)\n"
         "assert(r == nil and why == 'no value')\n"
         "r, why = mw.match.regex '^(a+)+[bc]' (('a'):rep(1000))\n"
         "assert(r == nil and why == 'limit')\n"
         "assert(not pcall(mw.match.contains 'x', {}))\n");
    struct host_script s;
    host_scripts(host, &s, 1);
    assert_int_equal(s.undecided, 1);
}

static void a_bad_pattern_is_refused_where_it_was_written(void **state)
{
    (void)state;
    refuse("local mw = require 'moonwatch'\n\nlocal r = mw.match.regex { 'a', '(b' }",
           "x.lua:3: mw.match.regex: pattern 2, at byte 3: missing closing parenthesis: '(b'");
    refuse("require('moonwatch').match.glob(7)", "pattern 1 must be a string, not a number");
    refuse("require('moonwatch').match.glob('a', { case = 1 })", "no option is named 'case'");
    refuse("require('moonwatch').match.globs('a')", "mw.match has no 'globs'; there are contains,");
    refuse("require('moonwatch').match.glob()", "pattern 1 must be a string, not a nil");
}

static void what_is_no_pattern_may_be_left_out(void **state)
{
    (void)state;
    load("local m = require('moonwatch').match\n"
         "local f, skipped = m.cidr({ 'x', '10.0.0.1', '::/200' }, { lenient = true })\n"
         "assert(f '10.0.0.1' and skipped == 2)\n");
}

static void scripts_cannot_change_the_patterns_of_others(void **state)
{
    (void)state;
    load("local m = require('moonwatch').match\n"
         "assert(not pcall(function() m.glob = 1 end))\n"
         "assert(type(m) == 'userdata' and type(getmetatable(m)) ~= 'table')\n");
}

static void patterns_count_as_the_scripts(void **state)
{
    (void)state;
    size_t before = host_memory(host);
    load("local m, list = require('moonwatch').match, {}\n"
         "for i = 1, 2000 do list[i] = ('x'):rep(60) .. i end\n"
         "kept = m.glob(list)\n");
    assert_true(host_memory(host) > before + 2000 * 256 * 8);
    host_unload(host, 0);
}

/* --- files ------------------------------------------------------------------------------------- */

static void a_list_is_a_file_with_one_value_a_line(void **state)
{
    (void)state;
    file_text = "\xef\xbb\xbf# bad ones\none\r\n  two words  \n\nthree # why\nfour#5\none\n#six\nlast";
    load("local mw = require 'moonwatch'\n"
         "local l = mw.list 'bad.txt'\n"
         "assert(table.concat(l:values(), '|') == 'one|two words|three|four#5|last')\n"
         "assert(l.count == 5 and l:has 'two words' and l:has 'four#5' and not l:has 'six')\n"
         "assert(not l:has(nil) and not l:has '')\n");
}

static void a_list_is_read_again_when_it_changes(void **state)
{
    (void)state;
    file_text = "one\n10.0.0.0/8\n";
    load("local mw = require 'moonwatch'\n"
         "local changes, n = 0, 0\n"
         "local l = mw.list { file = 'bad.txt', changed = function() changes = changes + 1 end }\n"
         "assert(l:has 'one' and l:contains_ip '10.1.2.3' and l.skipped == 1)\n"
         "check = function() n = n + 1 return l, changes end\n"
         "mw.every(2, function() local l = check()\n"
         "  if n == 1 then assert(l:has 'one' and changes == 0)\n"
         "  elseif n == 2 then assert(not l:has 'one' and l:has 'two' and not l:contains_ip '10.1.2.3')\n"
         "    assert(l:contains_ip '::1' and changes == 1)\n"
         "  else assert(l:has 'two' and l.problem == 'no such file') end end)\n");
    pass(2.5); /* unchanged */
    file_text = "two\n::1";
    file_hash = 8;
    pass(2);
    file_text = NULL;
    pass(2);
    pass(2);
    assert_int_equal(asked, 5);
    struct host_script s;
    host_scripts(host, &s, 1);
    if (s.errors)
        fail_msg("%s", host_error(host));
    assert_string_equal(logged, "x: list 'bad.txt' stays as it was: no such file\n");
}

static void a_file_that_cannot_be_had_is_an_error_with_the_reason(void **state)
{
    (void)state;
    refuse("require('moonwatch').list 'bad.txt'", "x.lua:1: mw.list: 'bad.txt': no such file");
    file_error = -EPERM;
    refuse("require('moonwatch').list 'bad.txt'", "not taken: it must lie below the script's directory");
    file_error = -ENOTCONN;
    refuse("require('moonwatch').list 'bad.txt'", "the events are not live");
    load("local l = require('moonwatch').list { file = 'bad.txt', optional = true }\n"
         "assert(not l:has 'one' and #l:values() == 0 and l.problem)");
}

static void too_many_values_are_left_out_and_told(void **state)
{
    (void)state;
    file_text = "1\n2\n3\n2\n4\n";
    load("local l = require('moonwatch').list { file = 'bad.txt', max = 2 }\n"
         "assert(l.count == 2 and l.dropped == 2 and l:has(2) and not l:has(3))");
    assert_non_null(strstr(logged, "list 'bad.txt' has 2 values too many, which are left out"));
}

static void a_list_may_be_of_patterns(void **state)
{
    (void)state;
    file_text = "/TMP/*\n[x\n*.sh\n";
    load("local l = require('moonwatch').list { file = 'bad.txt', match = 'glob', cased = false }\n"
         "assert(l:has '/tmp/x' and l:has 'a.SH' and not l:has '/usr/x' and l.skipped == 1)");
    assert_non_null(strstr(logged, "list 'bad.txt': 1 of 3 lines are no glob, and are left out"));
}

static void a_hundred_thousand_values_are_read(void **state)
{
    (void)state;
    size_t len = 0;
    char *text = malloc(2000000);
    for (int i = 0; i < 100000; i++)
        len += (size_t)sprintf(text + len, "value-%d\n", i);
    file_text = text;
    load("local l = require('moonwatch').list 'bad.txt'\n"
         "assert(l.count == 100000 and l:has 'value-0' and l:has 'value-99999' and l.dropped == 0)");
    free(text);
}

/* --- kin --------------------------------------------------------------------------------------- */

static void tell(enum event_kind kind, int pid, int ppid, int64_t ms)
{
    static struct event_box box;
    event_begin(&box, kind);
    event_set(&box, F_TIME, 1700000000000000000 + ms * 1000000, WHY_KERNEL);
    event_set(&box, F_MONO, 5000000000 + ms * 1000000, WHY_KERNEL);
    event_set(&box, F_PID, pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, ppid, WHY_KERNEL);
    if (kind == EVENT_FORK)
        event_set(&box, F_START, 1700000000000000000 + ms * 1000000, WHY_KERNEL);
    event_set(&box, F_STARTTIME, pid * 10 + (ms == 7 ? 5 : 0), WHY_COMPUTED);
    event_set_text(&box, F_COMM, "x", 1, WHY_PROC);
    host_event(host, &box.ev);
}

static void a_watch_is_of_those_that_live(void **state)
{
    (void)state;
    load("require('moonwatch').script { name = 'w', on = { exec = function(ev)\n"
         "  if ev.pid ~= 20 then return end\n"
         "  ev:watch { sample = function(p, f) print(p.pid, f.processes, f.left_out) end,\n"
         "             done = function(p, why) print(why) end }\n"
         "end } }\n");
    tell(EVENT_FORK, 20, 1, 0);
    tell(EVENT_FORK, 21, 20, 1);
    tell(EVENT_FORK, 22, 21, 2);
    tell(EVENT_FORK, 30, 1, 3);
    tell(EVENT_EXIT, 21, 20, 4);
    tell(EVENT_EXEC, 20, 1, 5);
    pass(1.1);
    assert_string_equal(written(), "20\t2\t0\n");
    tell(EVENT_EXIT, 20, 1, 6);
    tell(EVENT_FORK, 20, 1, 7); /* the pid is another's */
    pass(1);
    tell(EVENT_EXIT, 22, 21, 8);
    pass(2);
    assert_string_equal(written(), "20\t1\t0\ngone\n");
}

static void labels_follow_the_forks(void **state)
{
    (void)state;
    load("local mw = require 'moonwatch'\n"
         "mw.script { name = 'l', on = { fork = function(ev)\n"
         "  if ev.pid == 20 then mw.label(ev, 'a') end\n"
         "  if ev.pid == 40 then mw.label(ev.parent, 'late') end\n"
         "  local names = {}\n"
         "  for name in pairs(mw.labels(ev)) do names[#names + 1] = name end\n"
         "  table.sort(names)\n"
         "  print(ev.pid, table.concat(names, ' '), mw.labelled(ev, 'a'))\n"
         "end } }\n");
    tell(EVENT_FORK, 20, 1, 0);
    tell(EVENT_FORK, 21, 20, 1);
    tell(EVENT_FORK, 30, 1, 2);
    tell(EVENT_EXIT, 20, 1, 3);
    tell(EVENT_FORK, 22, 21, 4);
    tell(EVENT_FORK, 31, 30, 5);
    tell(EVENT_FORK, 40, 31, 6);
    tell(EVENT_FORK, 41, 31, 7);
    tell(EVENT_FORK, 42, 30, 8);
    assert_string_equal(written(), "20\ta\ttrue\n21\ta\ttrue\n30\t\tfalse\n22\ta\ttrue\n31\t\tfalse\n"
                                   "40\tlate\tfalse\n41\tlate\tfalse\n42\t\tfalse\n");
}

/* --- owners ------------------------------------------------------------------------------------ */

static void a_script_is_its_own_owner_through_all_versions(void **state)
{
    (void)state;
    static const char text[] = "local mw = require 'moonwatch'\n"
                               "mw.script { name = 'a', on = {} }\n"
                               "print(tostring(mw.alert { key = 'k', dedup = '1h' }))\n";
    struct host_source source = { .id = 5, .name = "@a.lua", .text = text, .len = sizeof text - 1 };
    assert_int_equal(host_replace(host, &source), 0);
    assert_int_equal(host_replace(host, &source), 0); /* held back: it was told already */
    source.shadow = true;
    assert_int_equal(host_replace(host, &source), 0); /* holds back nothing of the other's */
    source.shadow = false;
    source.id = 6;
    assert_int_equal(host_replace(host, &source), 0);
    assert_int_equal(host_flush(host), 0);
    char written[4096] = "";
    ssize_t got = pread(out, written, sizeof written - 1, 0);
    assert_true(got > 0);
    int told = 0, held = 0;
    for (const char *at = written; (at = strstr(at, "true\n")); at++)
        told++;
    for (const char *at = written; (at = strstr(at, "false\n")); at++)
        held++;
    assert_int_equal(told, 2);
    assert_int_equal(held, 1);
}

static void a_size_is_said_the_same_way_everywhere(void **state)
{
    static const char *const sizes[] = { "1048576", "'1048576'", "'1024k'", "'1024K'", "'1m'", "'1M'", "'1.5m'" };
    static const char *const wrong[] = { "''", "'k'", "'1kb'", "'-1k'", "'1T'", "'1 M'",
                                        "'nan'", "0/0", "-1", "{}", "true" };
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(text, sizeof text, "require('moonwatch').persist { name = 's', max = %s }", sizes[i]);
        load(text);
        snprintf(text, sizeof text, "require('moonwatch').sink.stdout { queue = %s }", sizes[i]);
        refuse(text, "nobody can open it");
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "require('moonwatch').persist { name = 's', max = %s }", wrong[i]);
        refuse(text, "`max` is a size from 4k to 16M: a number of bytes, or one with k, M or G behind it");
        snprintf(text, sizeof text, "require('moonwatch').sink.stdout { queue = %s }", wrong[i]);
        refuse(text, "`queue` is a size: a number of bytes, or one with k, M or G behind it");
        snprintf(text, sizeof text, "require('moonwatch').baseline { name = 's', size = %s }", wrong[i]);
        refuse(text, "`size` must be a number of bytes, or one with k, M or G behind it");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_size_is_said_the_same_way_everywhere),
        TEST(a_pattern_is_a_predicate),
        TEST(patterns_as_in_the_documentation),
        TEST(what_has_no_value_and_what_takes_too_long_is_undecided),
        TEST(a_bad_pattern_is_refused_where_it_was_written),
        TEST(what_is_no_pattern_may_be_left_out),
        TEST(scripts_cannot_change_the_patterns_of_others),
        TEST(patterns_count_as_the_scripts),
        TEST(a_list_is_a_file_with_one_value_a_line),
        TEST(a_list_is_read_again_when_it_changes),
        TEST(a_file_that_cannot_be_had_is_an_error_with_the_reason),
        TEST(too_many_values_are_left_out_and_told),
        TEST(a_list_may_be_of_patterns),
        TEST(a_hundred_thousand_values_are_read),
        TEST(a_watch_is_of_those_that_live),
        TEST(labels_follow_the_forks),
        TEST(a_script_is_its_own_owner_through_all_versions),
    };
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
