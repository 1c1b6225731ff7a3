/* terminal.h - the terminal as a screen of our own, given back on every way out. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

/* Take it: the other screen, no echo, keys at once, no cursor. False: standard input or output is none. */
bool terminal_take(void);

/* Give it back as it was. Nothing when it is not taken; also called at exit and by signals. */
void terminal_give(void);

/* Wait for a key, for `seconds` at most. The key; 0: none came; -1: Ctrl-C or another end is wanted, or the
 * terminal is gone; -2: its size changed, or it is ours again after a stop. */
int terminal_key(double seconds);

/* Seconds of CLOCK_MONOTONIC. */
double terminal_clock(void);

/* Its size now. */
void terminal_size(int *columns, int *rows);

#endif
