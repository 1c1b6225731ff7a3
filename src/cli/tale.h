/* tale.h - the story of an alert for people: as text here, as a picture in picture.c. */
#ifndef CLI_TALE_H
#define CLI_TALE_H

#include "cli/cli.h"
#include "cli/value.h"

struct tale {
    int number;
    double time;               /* of the alert, since the epoch */
    const struct value *alert; /* what is kept of it: see told_alert.json */
    const char *host;          /* where it was recorded; "": not known */
    const struct moonwatch_story *story; /* NULL: it is about no process */
};

/* What was told, by whom, and whose child it is about. */
void tale_head(const struct tale *t);

/* What happened in the family: all of it, or the lineage and the descendants, and of the others what is
 * nearest to the alert, so that it is 60 lines. False: no memory. */
bool tale_timeline(const struct tale *t, bool all);

/* --- parts, for the picture as well --- */

/* "told by on.exec of web, line 12, with server = nginx (811)": values of any bytes. */
void tale_teller(FILE *to, const struct tale *t);

/* "curl (pid 7, uid 33) was started by sh (6), which ran before the recording began"; commands are cut. */
void tale_lineage(FILE *to, const struct tale *t);

/* "2026-11-25 04:57:15.192, event 89 on vm". */
void tale_when(FILE *to, const struct tale *t);

/* The instant that times are relative to. */
double tale_zero(const struct tale *t);

/* Is it the explained process, or one above or below it? */
bool tale_is_own(const struct moonwatch_story *s, int process);

/* Bytes of the character, and how many columns it takes; what is no UTF-8 is a byte. */
size_t tale_character(const char *text, int *columns);

/* At most so many columns; what is cut ends in an ellipsis. Of harmless text only. */
void tale_cut(FILE *to, const char *text, int columns);

#endif
