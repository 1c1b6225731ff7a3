/* told.h - what scripts tell of a recording: for the commands that replay one. */
#ifndef CLI_TOLD_H
#define CLI_TOLD_H

#include "cli/cli.h"

/* A replay to be made, maybe more than once. All texts are borrowed. */
struct told_run {
    struct moonwatch_options options;
    struct moonwatch_replay replay;
    char **scripts;
    int scripts_len;
    const char *lines[64], *trusted[64], *sigma[64];
    int lines_len, trusted_len, sigma_len;
    struct cli_settings settings;
    const char *file; /* the one that `replay.files` holds */
};

struct told_alert {
    uint64_t seq;
    double time;
    char *line; /* owned: "high     web: a text (key)" */
    char *key, *script, *json; /* owned */
    bool taken; /* for who compares */
};

struct told_list {
    struct told_alert *all; /* owned */
    int len, cap;
    bool failed; /* no memory */
};

void told_init(struct told_run *run);

/* The recording, or the directory of the flight recorder. */
void told_file(struct told_run *run, const char *path);

/* A one-liner, a trusted script or Sigma rules of the command line. -1, or EXIT_USAGE with the reason said. */
enum told_kind { TOLD_LINE, TOLD_TRUSTED, TOLD_SIGMA };
int told_take(struct told_run *run, enum told_kind kind, const char *text, const char *command);

/* --from and --to, either may be NULL: "2026-11-25T06:00:00", "06:00" of the recording's first day, "+5m"
 * from its begin. -1, or an exit status with the reason said. */
int told_times(struct told_run *run, const char *from, const char *to, const char *command);

/* Local time is that of the machine where it was recorded, here too: the same text everywhere. An exit
 * status, EXIT_OK or what is wrong with the file is said. */
int told_zone(const struct told_run *run);

/* Make it. An exit status, what was wrong is said; *m is the watch with its figures, to be freed, or NULL. */
int told_replay(struct told_run *run, struct moonwatch **m);

/* The same, writing nothing: append what was told. */
int told_collect(struct told_run *run, struct told_list *list);

/* The watch, with its figures, is the caller's to free; NULL: there is none. */
int told_collect_with(struct told_run *run, struct told_list *list, struct moonwatch **m);

/* A line of standard output. */
void told_print(const struct told_alert *alert);

/* Write the event of this number as a line. An exit status. */
int told_print_event(struct told_run *run, uint64_t seq);

void told_free(struct told_list *list);

#endif
