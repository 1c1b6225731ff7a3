/* writer.h - of a recording's writer, what the flight recorder asks for besides. */
#ifndef RECORD_WRITER_H
#define RECORD_WRITER_H

#include "record/recording.h"

/* Called before `bytes` more are written. 0, or -errno: they must not be. */
typedef int recording_room(void *ctx, size_t bytes);

void recording_ask_room(struct recording_writer *w, recording_room *room, void *ctx);

#endif
