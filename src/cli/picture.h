/* picture.h - the story of an alert as a picture: SVG that needs nothing but itself. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H

#include "cli/tale.h"

/* A row for each process, along an axis of time. Of large families the alert's own line and what descends
 * from it come first, and what is not drawn is counted. False: no memory. */
bool picture_draw(const struct tale *t, FILE *to);

#endif
