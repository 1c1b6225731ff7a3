/* client.h - speaks to a running watch, over the socket of control.h. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/value.h"

/* A connection. Zeroed but for fd -1: none. */
struct client_link {
    int fd;
    char *text; /* owned: the answer as it came, without its newline */
    size_t len, cap;
};

/* Connect to the watch at `path`; NULL: $MOONWATCH_CONTROL, or the usual place. 0, or EXIT_ABSENT with
 * the reason said. */
int client_connect(struct client_link *link, const char *path);
void client_close(struct client_link *link);

/* Give an order and wait for the answer. The result, the caller's to free, with `link->text` as it came;
 * or NULL with one sentence in `why`: refused (`*gone` false), or the watch is gone. */
struct value *client_order(struct client_link *link, const char *const *words, int n, char *why,
                           size_t cap, bool *gone);

/* The same for commands: says what is wrong. EXIT_OK, EXIT_FAILED when it was refused, or EXIT_ABSENT. */
int client_ask(struct client_link *link, const char *const *words, int n, struct value **result);

#endif
