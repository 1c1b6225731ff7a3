/* cli.h - what the subcommands share. They see moonwatch.h and nothing behind it. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "moonwatch.h"

#include <stdio.h>

/* Exit statuses; `moonwatch --help` lists them. */
enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,  /* the watch broke off: worker died, output cannot be written */
    EXIT_USAGE = 2,   /* the command line is wrong */
    EXIT_SCRIPT = 3,  /* a script cannot be read or loaded */
    EXIT_REFUSED = 4, /* the kernel does not let us watch here */
    EXIT_ABSENT = 5,  /* no watch answers there */
};

/* One subcommand: argv[0] is its name. Returns an exit status. */
typedef int cli_command(int argc, char **argv);

cli_command cli_watch, cli_run, cli_ps, cli_tree, cli_fields, cli_plan, cli_doctor, cli_lint, cli_test, cli_new, cli_ctl, cli_reload,
    cli_top, cli_repl, cli_record, cli_replay, cli_backtest, cli_explain, cli_sigma;

/* "moonwatch: text" on stderr. Paths and names in it cannot steer a terminal or begin a line. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes from outside, which cannot steer a terminal or begin a line. */
void cli_put(FILE *to, const char *text);

/* The same for a wrong command line; returns EXIT_USAGE, adding where help is to be had. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "10s", "5m", "1.5h", "250ms", "90": seconds, or -1. */
double cli_seconds(const char *text);

/* "4k", "32M", "1G", "4096": bytes, or -1. */
long long cli_bytes(const char *text);

/* --set SCRIPT.NAME=VALUE, many of them. */
struct cli_settings {
    const char *texts[256];
    int len;
};

/* Take one; -1, or EXIT_USAGE with the reason said. */
int cli_take_setting(struct cli_settings *settings, const char *command, const char *text);

/* Pass them on. 0, or -errno with moonwatch_error(). */
int cli_set(struct moonwatch *m, const struct cli_settings *settings);

/* Remarks about files, for people or as JSON: cli_remark is a moonwatch_remarked with a struct
 * cli_remarks for its ctx. The end tells how many there were, and returns an exit status. */
struct cli_remarks {
    bool json, colour;
    int counts[3]; /* by level */
};
void cli_remark(void *ctx, const struct moonwatch_remark *remark);
int cli_remarks_end(const struct cli_remarks *remarks);

/* Width and colour of standard output. 0 columns: not a terminal. */
int cli_columns(void);
bool cli_colour(void);

/* The rest of a line of standard output that has been written up to column `at`: what is too long for
 * the terminal, elsewhere for 80 columns, goes on below from there. Ends the line. */
void cli_fold(const char *text, int at);

#endif
