/* test_coverage.c - what ran in the tests of a script is told apart from what did not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "host/coverage.h"
#include "host/rehearsal.h"

#define HEAD "local mw = require 'moonwatch' return mw.script { name = 'x', on = {\n"

static struct buf told;

static void ended(void *ctx, const struct rehearsal_result *r)
{
    (void)ctx;
    buf_puts(&told, r->verdict == REHEARSAL_PASSED ? "" : r->why);
}

/* "x.lua: exec:2=1 | f:2=1 | 3>4=1 3>0=- | 2=1 3=1": handlers, functions, ways, lines. */
static void part(void *ctx, const struct coverage_part *p)
{
    static const char *const marks[] = { "handler ", "function ", "way ", "line " };
    (void)ctx;
    buf_puts(&told, marks[p->kind]);
    if (p->kind == COVERAGE_WAY)
        buf_printf(&told, "%d>%d=", p->line, p->to);
    else
        buf_printf(&told, "%s%s%d=", p->name, *p->name ? ":" : "", p->line);
    if (p->kind == COVERAGE_WAY && !p->reached)
        buf_puts(&told, "-");
    else
        buf_printf(&told, "%d", (int)p->runs);
    buf_putc(&told, '\n');
}

static const char *covered(const char *script, const char *test)
{
    struct rehearsal_text texts[2] = { { "@x.lua", script, strlen(script) }, { "@x_test.lua", test, strlen(test) } };
    struct coverage *c;
    struct buf why = { 0 };
    assert_int_equal(coverage_new(&c), 0);
    struct rehearsal_world world = { .ended = ended, .coverage = c };
    buf_clear(&told);
    if (rehearse(&texts[0], &texts[1], &world, &why) < 0)
        buf_printf(&told, "wrong: %s", buf_str(&why));
    assert_int_equal(coverage_tell(c, part, NULL), 0);
    coverage_free(c);
    buf_free(&why);
    return buf_str(&told);
}

static int end(void **state)
{
    (void)state;
    buf_free(&told);
    log_to(NULL, NULL);
    return 0;
}

static void quiet(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level, (void)text;
}

#define EVENTS "return { { name = 'a', alerts = 0, errors = %s, events = { { comm = 'a' }, { comm = 'b' } } },\n" \
               "{ name = 'b', alerts = 0, errors = %s, events = { { comm = 'c' } } } }"

static const struct {
    const char *why, *script, *errors, *wanted[12]; /* lines that are told */
} cases[] = {
    { "both ways, of which one leaves the function", HEAD
      "exec = function(ev)\n"
      "if ev.comm == 'a' then return end\n"
      "ev.uid = 1\n"
      "end } }", "0",
      { "handler exec:2=3", "function exec:2=3", "way 3>0=1", "way 3>4=2", "line 3=3", "line 4=2", "line 5=4" } },
    { "a way that is never taken, and the line where it leads", HEAD
      "exec = function(ev)\n"
      "if ev.uid == 0 and ev.comm then\n"
      "ev.uid = 1\n"
      "end\n"
      "ev.uid = 2\n"
      "end } }", "0",
      { "way 3>4=0", "way 3>6=3", "line 4=0", "line 6=3" } },
    { "a condition that is never come to", HEAD
      "exec = function(ev)\n"
      "end, exit = function(ev)\n"
      "if ev.uid == 0 then\n"
      "ev.uid = 1\n"
      "end\n"
      "end } }", "0",
      { "handler exec:2=3", "handler exit:3=0", "function exit:3=0", "way 4>5=-", "way 4>7=-", "line 4=0" } },
    { "calls come back to their line, and are no ways from it", HEAD
      "exec = function(ev)\n"
      "local function f(n)\n"
      "if n == 0 then return 0 end\n"
      "return f(n - 1) + 1\n"
      "end\n"
      "if f(2) == 2 then\n"
      "ev.uid = 1\n"
      "end\n"
      "end } }", "0",
      { "function f:3=9", "way 4>0=3", "way 4>5=6", "way 7>8=3", "way 7>10=0", "line 4=9", "line 7=3" } },
    { "loops", HEAD
      "exec = function(ev)\n"
      "local n = 0\n"
      "while n < 3 do\n"
      "n = n + 1\n"
      "end\n"
      "end } }", "0",
      { "way 4>5=9", "way 4>7=3", "line 5=9" } },
    { "an error ends its function, and the next call is another one", HEAD
      "exec = function(ev)\n"
      "if ev.uid then\n"
      "ev.none.uid = 1\n"
      "end\n"
      "ev.uid = 2\n"
      "end } }", "mw",
      { "handler exec:2=3", "way 3>4=3", "way 3>6=0", "line 4=3", "line 6=0" } },
    { "where it was when it ended by an error is not where the next call begins", HEAD
      "exec = function(ev)\n"
      "repeat\n"
      "ev.uid = 1\n"
      "until ev.none.uid\n"
      "end } }", "mw",
      { "way 5>3=0", "way 5>6=0", "line 3=3", "line 5=3" } },
    { "coroutines", HEAD
      "exec = function(ev)\n"
      "local c = coroutine.wrap(function(n)\n"
      "if n then\n"
      "coroutine.yield(n)\n"
      "end\n"
      "end)\n"
      "c(1)\n"
      "c()\n"
      "end } }", "0",
      { "function c:3=3", "way 4>5=3", "way 4>7=0", "line 8=3", "line 9=3" } },
    { "one function for all events is one handler", HEAD
      "any = function(ev)\n"
      "ev.uid = 1\n"
      "end } }", "0",
      { "handler any:2=3", "function any:2=3", "line 3=3" } },
};

static void what_ran_is_told_apart(void **state)
{
    (void)state;
    log_to(quiet, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char test[512], line[64];
        bool errors = !strcmp(cases[i].errors, "mw");
        snprintf(test, sizeof test, EVENTS, errors ? "2" : "0", errors ? "1" : "0");
        const char *found = covered(cases[i].script, test);
        for (int w = 0; w < 12 && cases[i].wanted[w]; w++) {
            snprintf(line, sizeof line, "%s\n", cases[i].wanted[w]);
            if (!strstr(found, line))
                fail_msg("%s: %s is not in\n%s", cases[i].why, cases[i].wanted[w], found);
        }
        assert_null(strstr(found, "x_test"));
    }
}

static void nothing_is_told_of_what_does_not_load(void **state)
{
    (void)state;
    assert_string_equal(covered("x = = 1", "return { { name = 'x', alerts = 0, events = {} } }"),
                        "wrong: x.lua:1: unexpected symbol near '='\n\t1 | x = = 1");
    assert_string_equal(covered(HEAD "} }", "return {}"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ran_is_told_apart),
        cmocka_unit_test(nothing_is_told_of_what_does_not_load),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
