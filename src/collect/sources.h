/* sources.h - where the fields of an exec come from, and what that costs on this machine: the tap, or
 * the files of /proc.
 *
 * For people who want to know what their scripts cost; the watch itself does not ask. A source that
 * is not a file of /proc gets a row of its own in sources.c. */
#ifndef COLLECT_SOURCES_H
#define COLLECT_SOURCES_H

#include "collect/procfs.h"

struct source {
    const char *name; /* "/proc/PID/cmdline" */
    uint64_t fields;  /* FIELD(ARGS) | ...: what it tells */
    bool read;        /* at each exec, when these fields are needed */
    const char *note; /* why it is read or not whatever is needed; "" where that decides */
    double us;        /* median of what it adds; of the first row: of the least that is read */
};

#define SOURCES 8

struct sources {
    struct source source[SOURCES]; /* in the order of reading; the first one is always read */
    double exec_us;                /* median of all that is read at an exec */
    double all_us;                 /* the same if everything were needed */
    double tap_us;                 /* mean of what the tap takes instead, where it can be had */
    const char *no_tap;            /* why it cannot be had, static text; "": it can */
};

/* Measured on a child that does nothing: takes some 50 ms. 0, or -errno. */
int sources_measure(struct sources *out, uint64_t needs);

#endif
