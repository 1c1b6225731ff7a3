/* test_sigma_host.c - rules as a handler of scripts: what they fit is told with its reasons, a guard decides
 * of it, and files that change are read again or go on as they were. */
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

#define COUNT(array) (sizeof(array) / sizeof *(array))

static int64_t now_ns;
static uint64_t needed;
static char lines[1 << 20]; /* all that was written */

/* --- a world with files ------------------------------------------------------------------------- */

static struct {
    const char *path, *text; /* "!": it is refused, and this is why */
} files[8];
static int files_len, error_of_rules, users_asked;
static uint64_t looks;

static void add_file(struct buf *answer, const char *path, const char *text)
{
    struct request_rules_file head = { (uint32_t)strlen(path), (uint32_t)strlen(text), *text == '!' };
    buf_add(answer, &head, sizeof head);
    buf_puts(answer, path);
    buf_puts(answer, text);
}

static int answer_rules(const void *bytes, size_t len, struct buf *answer)
{
    const struct request_rules *q = bytes;
    struct request_rules_seen seen = { .looks = looks, .hash = looks };
    assert_int_equal(len, sizeof *q + strlen("rules"));
    assert_memory_equal(q + 1, "rules", strlen("rules"));
    if (error_of_rules)
        return error_of_rules;
    buf_add(answer, &seen, sizeof seen);
    for (int i = 0; i < files_len && q->known != looks; i++)
        add_file(answer, files[i].path, files[i].text);
    return 0;
}

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *answer, int *fds)
{
    (void)ctx, (void)fds;
    if (kind == REQUEST_RULES)
        return answer_rules(bytes, len, answer);
    if (kind != REQUEST_USER)
        return -ENOTCONN;
    users_asked++;
    uint32_t uid;
    memcpy(&uid, bytes, sizeof uid);
    buf_puts(answer, uid == 33 ? "www-data" : "");
    return 0;
}

static void need(void *ctx, uint64_t fields)
{
    (void)ctx;
    needed |= fields;
}

static int begin(void **state)
{
    struct host_options options = {
        .world = { .request = request,
                   .need = need },
        .table_bytes = 1 << 20,
        .boot = 0xb007,
        .json = true,
        .memory_bytes = 64 << 20,
    };
    (void)state;
    options.fd = out = memfd_create("out", 0);
    logged[0] = lines[0] = '\0';
    files_len = error_of_rules = users_asked = 0;
    looks = 1;
    now_ns = 0;
    needed = 0;
    log_to(keep_log, NULL);
    return host_new(&host, &options);
}

static int end(void **state)
{
    (void)state;
    end_host();
    return 0;
}

static void set_file(int at, const char *path, const char *text)
{
    files[at].path = path;
    files[at].text = text;
    files_len = files_len > at ? files_len : at + 1;
    looks++;
}

#define RULE(ID, DETECTION)                                                                        \
    "title: about " ID "\nid: " ID                                                                 \
    "\nauthor: Ann Author\nlevel: high\ntags: [ attack.t1059 ]\nlogsource: { product: linux, "     \
    "category: process_creation }\ndetection: { sel: { " DETECTION " }, condition: sel }\n"

#define SCRIPT(OPTIONS)                                                                            \
    "local mw = require 'moonwatch'\n"                                                             \
    "local rules = mw.sigma('rules'" OPTIONS ")\n"                                                 \
    "return mw.script { name = 'sig', on = { exec = rules } }"

static void load(const char *text)
{
    if (host_load(host, "@/etc/moonwatch/x.lua", text, strlen(text)) < 0)
        fail_msg("%s", host_error(host));
}

static void exec_of(const char *exe, const char *args, size_t args_len, int64_t euid)
{
    static struct event_box box;
    static int64_t seq, pid = 100;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_SEQ, ++seq, WHY_COMPUTED);
    event_set(&box, F_TIME, INT64_C(1717243845000000000) + seq * 1000000, WHY_COMPUTED);
    event_set(&box, F_PID, ++pid, WHY_KERNEL);
    event_set(&box, F_TID, pid, WHY_KERNEL);
    event_set(&box, F_PPID, 42, WHY_KERNEL);
    event_set(&box, F_STARTTIME, pid, WHY_PROC);
    event_set(&box, F_EUID, euid, WHY_KERNEL);
    if (exe)
        event_set_text(&box, F_EXE, exe, strlen(exe), WHY_TAP);
    else
        event_set_missing(&box, F_EXE, WHY_GONE);
    event_set_text(&box, F_ARGS, args, args_len, WHY_TAP);
    host_event(host, &box.ev);
    host_flush(host);
}

#define EXEC(EXE, ARGS) exec_of(EXE, ARGS, sizeof ARGS, 0)

static const char *told(void)
{
    size_t len = strlen(lines);
    snprintf(lines + len, sizeof lines - len, "%s", written());
    return lines;
}

/* So far. */
static int alerts(void)
{
    int n = 0;
    for (const char *text = told(); (text = strstr(text, "\"kind\":\"alert\"")); text++)
        n++;
    return n;
}

static void tick(void)
{
    now_ns = now_ns ? now_ns + 2000000000 : 100000000000;
    host_clock(host, now_ns, 1700000000000000000 + now_ns);
    host_flush(host);
}

/* --- alerts -------------------------------------------------------------------------------------- */

static void what_a_rule_fits_is_told_with_its_reasons(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image|endswith: /nc, CommandLine|contains: ' -e '"));
    load(SCRIPT(""));
    EXEC("/bin/sh", "sh\0-e\0x");
    assert_int_equal(alerts(), 0);
    EXEC("/usr/bin/nc", "nc\0-e\0/bin/sh");
    assert_int_equal(alerts(), 1);
    const char *text = told();
    assert_non_null(strstr(text, "\"rule\":{\"id\":\"a\",\"name\":\"about a\",\"author\":[\"Ann Author\"],"
                                 "\"ruleset\":\"sig\",\"tags\":[\"attack.t1059\"]}"));
    assert_non_null(strstr(text, "\"severity\":\"high\""));
    assert_non_null(strstr(text, "about a, by Ann Author: sel: Image|endswith '/nc', "
                                 "CommandLine|contains ' -e '"));
    assert_non_null(strstr(text, "{\"found\":\" -e \",\"item\":\"CommandLine|contains\",\"selection\":\"sel\","
                                 "\"value\":\" -e \"}"));
    assert_non_null(strstr(text, "\"level\":\"high\""));
}

static void only_what_rules_look_at_is_needed(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    load(SCRIPT(""));
    assert_true(needed & UINT64_C(1) << F_EXE);
    assert_false(needed & UINT64_C(1) << F_CWD);
    set_file(0, "rules/a.yml", RULE("a", "CurrentDirectory: /x"));
    tick();
    assert_true(needed & UINT64_C(1) << F_CWD);
}

static void a_guard_decides_and_one_that_fails_hides_nothing(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/b.yml", RULE("b", "Image: /x"));
    set_file(2, "rules/c.yml", RULE("c", "Image: /x"));
    load(SCRIPT(", { guard = function(ev, rule) if rule.id == 'a' then error 'oh' end return rule.id ~= "
                "'b' and ev.pid > 0 end }"));
    EXEC("/x", "x");
    assert_int_equal(alerts(), 2);
    assert_null(strstr(told(), "\"id\":\"b\""));
    assert_non_null(strstr(logged, "oh"));
}

static void levels_and_dedup_hold_back(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/low.yml",
             "id: low\nlevel: low\nlogsource: { category: process_creation }\ndetection: { s: { Image: /x "
             "}, condition: s }\n");
    load(SCRIPT(", { level = 'medium', dedup = '5m' }"));
    EXEC("/x", "x");
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
}

static void users_are_asked_for_once(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "User: www-data"));
    load(SCRIPT(""));
    exec_of("/x", "x", 2, 33);
    exec_of("/x", "x", 2, 33);
    exec_of("/x", "x", 2, 0);
    exec_of("/x", "x", 2, 77);
    assert_int_equal(alerts(), 2);
    assert_int_equal(users_asked, 2);
}

static void what_could_not_be_said_is_counted_and_told(void **state)
{
    struct host_rules all;
    struct host_rule worst[4];
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/b.yml", RULE("b", "CommandLine: x"));
    load(SCRIPT(""));
    EXEC(NULL, "y");
    for (int i = 0; i < 8; i++)
        EXEC("/y", "y");
    EXEC("/x", "y");
    assert_non_null(strstr(told(), "[blind on 10.0 % of execs]"));
    assert_non_null(strstr(told(), "\"undecided\":1"));
    struct host_script script;
    assert_int_equal(host_scripts(host, &script, 1), 1);
    assert_int_equal(host_rules(host, script.id, &all, worst, 4), 1);
    assert_int_equal(all.count, 2);
    assert_int_equal(all.blind, 1);
    assert_int_equal(all.fired, 1);
    assert_string_equal(worst[0].id, "a");
    assert_int_equal(worst[0].asked, 10);
    assert_int_equal(worst[0].undecided, 1);
}

static void the_worst_rules_come_first(void **state)
{
    struct host_rules all;
    struct host_rule worst[3];
    struct host_script script;
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/b.yml", RULE("b", "CommandLine: x, Nothing: y"));
    set_file(2, "rules/c.yml", RULE("c", "Nothing: x"));
    set_file(3, "rules/d.yml", RULE("d", "ParentImage: x"));
    load(SCRIPT(""));
    EXEC(NULL, "y");
    EXEC("/y", "x");
    EXEC("/y", "x");
    assert_int_equal(host_scripts(host, &script, 1), 1);
    assert_int_equal(host_rules(host, script.id, &all, worst, 3), 3);
    assert_int_equal(all.blind, 4);
    assert_int_equal(worst[0].undecided, 3);
    assert_int_equal(worst[1].undecided, 3);
    assert_string_equal(worst[2].id, "b");
    assert_int_equal(worst[2].undecided, 2);
}

static void correlations_are_alerts(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml",
             RULE("a", "Image: /x") "name: base\n---\nid: many\ntitle: too many\nlevel: critical\ncorrelation: { "
                                    "type: event_count, rules: base, group-by: Image, timespan: 1m, condition: "
                                    "{ gte: 3 } }\n");
    load(SCRIPT(""));
    EXEC("/x", "x");
    EXEC("/x", "x");
    assert_int_equal(alerts(), 0);
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
    assert_non_null(strstr(told(), "too many: correlation: event_count '3 or more within 60 s', group-by: "
                                      "Image '/x'"));
    assert_non_null(strstr(told(), "\"severity\":\"critical\""));
}

static void auditd_rules_see_the_arguments(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml",
             "id: a\nlogsource: { product: linux, service: auditd }\ndetection: { s: { type: EXECVE, a0: nc, "
             "a1: '-e' }, condition: s }\n");
    load(SCRIPT(""));
    EXEC("/usr/bin/nc", "nc\0-e\0/bin/sh");
    assert_int_equal(alerts(), 1);
}

/* --- files --------------------------------------------------------------------------------------- */

static void rules_that_change_are_read_again(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    load(SCRIPT(""));
    set_file(0, "rules/a.yml", RULE("a", "Image: /y"));
    tick();
    EXEC("/x", "x");
    assert_int_equal(alerts(), 0);
    EXEC("/y", "x");
    assert_int_equal(alerts(), 1);
    assert_non_null(strstr(logged, "rules: 1 rules, read again"));
}

static void a_file_that_is_wrong_goes_on_as_it_was(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/b.yml", RULE("b", "Image: /y"));
    load(SCRIPT(""));
    set_file(0, "rules/a.yml", RULE("a", "Image|containz: /z"));
    set_file(1, "rules/b.yml", RULE("b", "Image: /z"));
    tick();
    assert_non_null(strstr(logged, "rules/a.yml:7:21: Image|containz: there is no modifier 'containz'; the "
                                   "version from before goes on"));
    EXEC("/x", "x");
    EXEC("/z", "x");
    assert_int_equal(alerts(), 2);
    set_file(0, "rules/a.yml", "!others may write to it");
    tick();
    assert_non_null(strstr(logged, "others may write to it; the version from before goes on"));
    EXEC("/x", "x");
    assert_int_equal(alerts(), 3);
    files_len = 1; /* b is gone */
    looks++;
    tick();
    EXEC("/z", "x");
    assert_int_equal(alerts(), 3);
}

static void what_cannot_be_read_leaves_everything_as_it_was(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    load(SCRIPT(""));
    error_of_rules = -EACCES;
    tick();
    assert_non_null(strstr(logged, "the rules stay as they were: not taken"));
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
}

static void what_is_wrong_at_the_start_is_told(void **state)
{
    static const struct {
        const char *options, *why;
    } cases[] = {
        { ", { gard = print }", "no option is named 'gard': did you mean guard?" },
        { ", { level = 'loud' }", "`level` is informational" },
        { ", { placeholders = { a = 'b' } }", "`placeholders` is a table of lists" },
        { ", { placeholders = { a = { 1 } } }", "`placeholders` is a table of lists" },
        { ", { every = 'often' }", "a span of time" },
        { ", { guard = 1 }", "a function" },
        { ", 5", "takes a table of options" },
    };
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image|expand: '%x%'"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "local mw = require 'moonwatch' mw.script { name = 'x', on = { exec = mw.sigma('rules'%s) } }",
                 cases[i].options);
        assert_int_equal(host_load(host, "@/etc/moonwatch/x.lua", text, strlen(text)), -EINVAL);
        if (!strstr(host_error(host), cases[i].why))
            fail_msg("%s", host_error(host));
    }
    error_of_rules = -ENOENT;
    assert_int_equal(host_load(host, "@/etc/moonwatch/x.lua", SCRIPT(""), strlen(SCRIPT(""))), -EINVAL);
    assert_non_null(strstr(host_error(host), "x.lua:2: mw.sigma: 'rules': no such file or directory"));
    error_of_rules = 0;
    load(SCRIPT(", { placeholders = { x = { '/x', '/y*' } } }"));
    EXEC("/yes", "x");
    assert_int_equal(alerts(), 1);
}

static void answers_that_make_no_sense_harm_nobody(void **state)
{
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    set_file(1, "rules/b.yml", "a: [\n");
    set_file(2, "rules/c.yml", "");
    load(SCRIPT(""));
    assert_non_null(strstr(logged, "rules/b.yml:2:1: it is no YAML"));
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
}

static void a_script_that_goes_takes_its_rules_with_it(void **state)
{
    struct host_rules all;
    struct host_rule worst[1];
    struct host_script script;
    (void)state;
    set_file(0, "rules/a.yml", RULE("a", "Image: /x"));
    load(SCRIPT(""));
    assert_int_equal(host_scripts(host, &script, 1), 1);
    struct host_source next = { .id = script.id,
                                .generation = 2,
                                .name = "@/etc/moonwatch/x.lua",
                                .text = SCRIPT(", { level = 'low' }"),
                                .len = strlen(SCRIPT(", { level = 'low' }")) };
    assert_int_equal(host_replace(host, &next), 0);
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
    host_rules(host, script.id, &all, worst, 1);
    assert_int_equal(all.count, 1);
    host_unload(host, script.id);
    host_flush(host);
    EXEC("/x", "x");
    assert_int_equal(alerts(), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_rule_fits_is_told_with_its_reasons),
        TEST(only_what_rules_look_at_is_needed),
        TEST(a_guard_decides_and_one_that_fails_hides_nothing),
        TEST(levels_and_dedup_hold_back),
        TEST(users_are_asked_for_once),
        TEST(what_could_not_be_said_is_counted_and_told),
        TEST(the_worst_rules_come_first),
        TEST(correlations_are_alerts),
        TEST(auditd_rules_see_the_arguments),
        TEST(rules_that_change_are_read_again),
        TEST(a_file_that_is_wrong_goes_on_as_it_was),
        TEST(what_cannot_be_read_leaves_everything_as_it_was),
        TEST(what_is_wrong_at_the_start_is_told),
        TEST(answers_that_make_no_sense_harm_nobody),
        TEST(a_script_that_goes_takes_its_rules_with_it),
    };
    return cmocka_run_group_tests_name("sigma_host", tests, NULL, NULL);
}
