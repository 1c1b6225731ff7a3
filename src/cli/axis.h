/* axis.h - where instants are on a line of pixels, and which of them get a name.
 *
 * Evenly; or, where most of what is to be seen is near one instant and the rest far away, by the logarithm of
 * the distance to it. */
#ifndef CLI_AXIS_H
#define CLI_AXIS_H

#include <stdbool.h>

struct axis {
    double x, width;       /* pixels */
    double from, to, zero; /* seconds */
    double tau;            /* 0: evenly; else within this distance it is about even */
};

/* It shows `zero`, and nothing else yet. */
void axis_begin(struct axis *a, double zero, double x, double width);
void axis_widen(struct axis *a, double time);

/* All is in it. `distances`: seconds to `zero` of what matters most, n of them; they are sorted. */
void axis_settle(struct axis *a, double *distances, int n);

/* What is outside is at the end. */
double axis_x(const struct axis *a, double time);

/* Visit what gets a name: seconds after `zero`, and how many decimals of a second tell it from its neighbours. */
typedef void axis_tick(void *ctx, double seconds, int decimals);
void axis_ticks(const struct axis *a, axis_tick *tick, void *ctx);

#endif
