/* commands.h - runs commands, and keeps what the kernel told of them meanwhile: for tests of scripts.
 *
 * Under a short watch of our own, in a child, because a watch raises the priority of its process. Of
 * other processes nothing is kept but who the ancestors are. What still runs when the last command has
 * ended is killed. */
#ifndef EMBED_COMMANDS_H
#define EMBED_COMMANDS_H

#include "host/rehearsal.h"

/* A rehearsal_world.run. */
int commands_run(void *ctx, struct rehearsal_commands *commands);

#endif
