/* embed.c - a program with a libev loop of its own that watches processes: one script in Lua, one
 * handler in C. Ends after the seconds in argv[1] (5), or by Ctrl-C.
 *
 *   cc embed.c $(pkg-config --cflags --libs moonwatch) -lev -o embed && sudo ./embed */
#include <ev.h>
#include <moonwatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char script[] =
    "local mw = require 'moonwatch'\n"
    "return mw.script {\n"
    "  name = 'embedded',\n"
    "  on = { exec = function(ev) print('lua: ' .. (ev.cmdline or ev.comm or ev.pid)) end },\n"
    "}\n";

struct counts {
    int exec, exit;
    int pid, code; /* numbers of fields, looked up once */
};

static void on_event(void *ctx, const struct moonwatch_event *event)
{
    struct counts *counts = ctx;
    int64_t pid, code;

    if (!strcmp(moonwatch_type(event), "exec"))
        counts->exec++;
    if (strcmp(moonwatch_type(event), "exit"))
        return;
    counts->exit++;
    if (moonwatch_int(event, counts->pid, &pid) && moonwatch_int(event, counts->code, &code) &&
        code)
        printf("c: process %lld failed with %lld\n", (long long)pid, (long long)code);
}

static void on_time(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_interrupt(struct ev_loop *loop, ev_signal *signal, int events)
{
    (void)signal, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(0);
    struct counts counts = { .pid = moonwatch_field("pid"), .code = moonwatch_field("code") };
    struct moonwatch_options options;

    moonwatch_options_init(&options);
    options.on_event = on_event;
    options.ctx = &counts;
    struct moonwatch *watch = moonwatch_new(&options);
    if (!watch || moonwatch_add_text(watch, "embedded", script) < 0 ||
        moonwatch_start(watch, loop) < 0) {
        fprintf(stderr, "embed: %s\n", watch ? moonwatch_error(watch) : "not enough memory");
        return 1;
    }

    ev_timer timer;
    ev_timer_init(&timer, on_time, argc > 1 ? atof(argv[1]) : 5, 0);
    ev_timer_start(loop, &timer);
    ev_signal interrupt;
    ev_signal_init(&interrupt, on_interrupt, SIGINT);
    ev_signal_start(loop, &interrupt);
    ev_run(loop, 0);

    moonwatch_stop(watch);
    moonwatch_free(watch);
    printf("c: %d execs, %d exits\n", counts.exec, counts.exit);
    return 0;
}
