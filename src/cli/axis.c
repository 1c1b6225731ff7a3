/* axis.c - where instants are on a line of pixels. See axis.h. */
#include "cli/axis.h"

#include <math.h>
#include <stdlib.h>

#define TICK_LEAST 84    /* pixels between two */
#define CROWDED    0.03  /* half of all is nearer to zero than this part of the whole */
#define LEAST      20e-6 /* seconds that are told apart */

static double along(const struct axis *a, double time)
{
    return a->tau > 0 ? asinh((time - a->zero) / a->tau) : time - a->zero;
}

double axis_x(const struct axis *a, double time)
{
    double from = along(a, a->from), part = (along(a, time) - from) / (along(a, a->to) - from);
    return a->x + a->width * fmin(fmax(part, 0), 1);
}

void axis_begin(struct axis *a, double zero, double x, double width)
{
    *a = (struct axis){ .x = x, .width = width, .from = zero, .to = zero, .zero = zero };
}

void axis_widen(struct axis *a, double time)
{
    a->from = fmin(a->from, time);
    a->to = fmax(a->to, time);
}

static int by_size(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

void axis_settle(struct axis *a, double *distances, int n)
{
    qsort(distances, (size_t)n, sizeof *distances, by_size);
    if (n && distances[n / 2] < CROWDED * (a->to - a->from))
        a->tau = fmax(distances[n / 2] / 3, LEAST);
    double room = a->tau > 0 ? a->tau : fmax((a->to - a->from) * 0.02, LEAST);
    a->from -= room;
    a->to += room;
}

/* --- names --------------------------------------------------------------------------------------- */

static double decimal_step(double least)
{
    double power = pow(10, floor(log10(least)));
    return power * (least <= power ? 1 : least <= 2 * power ? 2 : least <= 5 * power ? 5 : 10);
}

/* The least that leaves room for its names: 1, 2 or 5 of something, or a part of minutes, hours, days. */
static double nice_step(double least)
{
    static const double coarse[] = { 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400 };
    if (least > 86400)
        return 86400 * decimal_step(least / 86400);
    for (size_t i = 0; least > 50 && i < sizeof coarse / sizeof *coarse; i++)
        if (coarse[i] >= least)
            return coarse[i];
    return decimal_step(least);
}

static void visit_even(const struct axis *a, axis_tick *tick, void *ctx)
{
    double step = nice_step((a->to - a->from) * TICK_LEAST / a->width);
    int decimals = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    double first = ceil((a->from - a->zero) / step), last = floor((a->to - a->zero) / step);
    for (double i = first; i <= last && i - first < 100; i++)
        tick(ctx, i * step, decimals);
}

/* Where there is room. */
struct ticks {
    const struct axis *axis;
    axis_tick *tick;
    void *ctx;
    double x[64];
    int len;
};

static void try_tick(struct ticks *t, double seconds)
{
    const struct axis *a = t->axis;
    double time = a->zero + seconds, x = axis_x(a, time);
    if (time < a->from || time > a->to || t->len == sizeof t->x / sizeof *t->x)
        return;
    for (int i = 0; i < t->len; i++)
        if (fabs(t->x[i] - x) < TICK_LEAST)
            return;
    t->x[t->len++] = x;
    t->tick(t->ctx, seconds, 0);
}

static void try_both(struct ticks *t, double seconds)
{
    try_tick(t, -seconds);
    try_tick(t, seconds);
}

/* Zero first, tenfold steps, then what fits between them. */
static void visit_distant(const struct axis *a, axis_tick *tick, void *ctx)
{
    static const double coarse[] = { 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 21600, 86400 };
    static const double factors[] = { 1, 2, 5 };
    struct ticks t = { .axis = a, .tick = tick, .ctx = ctx };
    try_tick(&t, 0);
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        for (size_t i = 0; i < sizeof coarse / sizeof *coarse; i++)
            try_both(&t, factors[f] * coarse[i]);
        for (double days = 10; days < 1e6; days *= 10)
            try_both(&t, factors[f] * days * 86400);
    }
}

void axis_ticks(const struct axis *a, axis_tick *tick, void *ctx)
{
    if (a->tau > 0)
        visit_distant(a, tick, ctx);
    else
        visit_even(a, tick, ctx);
}
