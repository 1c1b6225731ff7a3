/* test_plan.c - a plan says what scripts would make a watch read, and does nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collect/sources.h"
#include "moonwatch.h"

#include <errno.h>
#include <string.h>

static const char talks[] =
    "local mw = require 'moonwatch' print 'loading' mw.stop() "
    "mw.every(0.001, print) mw.at_exit(function() print 'end' end) "
    "return mw.script { name = 'a \"b\"', needs = { 'cwd' }, threads = true, "
    "on = { exec = function(ev) return ev.cmdline end, ptrace = print } }";

static int planned_times;

static void planned(void *ctx, const struct moonwatch_plan *plan)
{
    (void)ctx;
    planned_times++;
    assert_int_equal(plan->scripts_len, 2);
    assert_string_equal(plan->scripts[0].name, "a \"b\"");
    assert_string_equal(plan->scripts[0].events, "exec ptrace");
    assert_non_null(strstr(plan->scripts[0].fields, "args cwd"));
    assert_true(plan->scripts[0].threads);
    assert_string_equal(plan->scripts[1].events, "exit");
    assert_true(plan->threads);
    assert_string_equal(plan->kernel_events, "fork exec exit uid gid sid ptrace comm");
    assert_string_equal(plan->kernel_events_unasked, "coredump");
    assert_int_equal(plan->sources_len, SOURCES);
    for (int i = 0; i < plan->sources_len; i++) {
        const struct moonwatch_plan_source *s = &plan->sources[i];
        const char *file = strrchr(s->name, '/') + 1;
        bool wanted = !strcmp(file, "stat") || !strcmp(file, "cmdline") || !strcmp(file, "cwd");
        assert_int_equal(s->read, wanted);
    }
    assert_true(plan->exec_us > 0 && plan->all_us > 0);
    const char *begin = "{\"scripts\":[{\"name\":\"a \\\"b\\\"\",";
    assert_ptr_equal(strstr(plan->json, begin), plan->json);
    assert_int_equal(plan->json[strlen(plan->json) - 1], '}');
}

static void never(void *ctx, enum moonwatch_end why)
{
    (void)ctx, (void)why;
    fail_msg("nothing was watched that could end");
}

static struct moonwatch *watch(bool worker)
{
    struct moonwatch_options options;
    moonwatch_options_init(&options);
    options.worker = worker;
    options.on_end = never;
    struct moonwatch *m = moonwatch_new(&options);
    assert_non_null(m);
    return m;
}

static void a_plan_tells_and_does_nothing_else(void **state)
{
    (void)state;
    for (int worker = 0; worker < 2; worker++) {
        struct moonwatch *m = watch(worker);
        assert_int_equal(moonwatch_add_text(m, "talks.lua", talks), 0);
        assert_int_equal(moonwatch_add_line(m, "exit: => print(pid)"), 0);
        planned_times = 0;
        assert_int_equal(moonwatch_plan(m, planned, NULL), 0);
        assert_int_equal(planned_times, 1);
        moonwatch_free(m);
    }
}

static void a_wrong_script_has_no_plan(void **state)
{
    (void)state;
    for (int worker = 0; worker < 2; worker++) {
        struct moonwatch *m = watch(worker);
        assert_int_equal(moonwatch_add_text(m, "wrong.lua", "error 'on purpose'"), 0);
        planned_times = 0;
        assert_int_equal(moonwatch_plan(m, planned, NULL), -EINVAL);
        assert_int_equal(planned_times, 0);
        assert_non_null(strstr(moonwatch_error(m), "wrong.lua:1: on purpose"));
        moonwatch_free(m);
    }
}

/* Every field that procfs can read has one row. */
static void each_field_comes_from_one_source(void **state)
{
    struct sources sources;
    uint64_t all = 0;
    (void)state;
    assert_int_equal(sources_measure(&sources, FIELD(ARGS)), 0);
    for (int i = 0; i < SOURCES; i++) {
        assert_int_equal(all & sources.source[i].fields, 0);
        all |= sources.source[i].fields;
    }
    assert_int_equal(all & PROCFS_FIELDS, PROCFS_FIELDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_tells_and_does_nothing_else),
        cmocka_unit_test(a_wrong_script_has_no_plan),
        cmocka_unit_test(each_field_comes_from_one_source),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
