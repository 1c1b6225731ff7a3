/* client.c - speaks to a running watch. See client.h. */
#include "cli/client.h"

#include "cli/cli.h"
#include "cli/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S  30                 /* for an answer: a worker may have to be waited for */
#define ANSWER_MOST (64 * 1024 * 1024) /* more is no watch of ours */

static int say_absent(const char *path, int error)
{
    if (error == ENOENT || error == ECONNREFUSED)
        cli_say("no watch answers at %s: is `moonwatch run` running, and as this user? --control names "
                "another place", path);
    else
        cli_say("cannot speak to the watch at %s: %s", path, strerror(error));
    return EXIT_ABSENT;
}

int client_connect(struct client_link *link, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = PATIENCE_S };
    char usual[sizeof address.sun_path];
    *link = (struct client_link){ .fd = -1 };
    if (!path)
        path = getenv("MOONWATCH_CONTROL");
    if (!path && control_default(usual, sizeof usual, 0))
        path = usual;
    if (!path) {
        cli_say("where does the watch listen? --control PATH says so; $XDG_RUNTIME_DIR is not set");
        return EXIT_ABSENT;
    }
    if (strlen(path) >= sizeof address.sun_path)
        return say_absent(path, ENAMETOOLONG);
    strcpy(address.sun_path, path);
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return say_absent(path, errno);
    setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(link->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return EXIT_OK;
    int error = errno;
    client_close(link);
    return say_absent(path, error);
}

void client_close(struct client_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    free(link->text);
    *link = (struct client_link){ .fd = -1 };
}

/* --- lines ------------------------------------------------------------------------------------- */

static char *order_line(const char *const *words, int n, size_t *len)
{
    char *line = NULL;
    FILE *to = open_memstream(&line, len);
    if (!to)
        return NULL;
    for (int i = 0; i < n; i++) {
        fputc(i ? ',' : '[', to);
        value_quote(to, words[i]);
    }
    fputs("]\n", to);
    if (fclose(to)) {
        free(line);
        return NULL;
    }
    return line;
}

static int send_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return -errno;
        bytes += sent;
        len -= (size_t)sent;
    }
    return 0;
}

static int make_room(struct client_link *link)
{
    if (link->len < link->cap)
        return 0;
    size_t cap = link->cap ? link->cap * 2 : 65536;
    char *more = cap <= ANSWER_MOST ? realloc(link->text, cap) : NULL;
    if (!more)
        return -EMSGSIZE;
    link->text = more;
    link->cap = cap;
    return 0;
}

/* One order is on its way at a time: what comes is one line. */
static int receive_line(struct client_link *link)
{
    link->len = 0;
    for (;;) {
        if (make_room(link) < 0)
            return -EMSGSIZE;
        ssize_t got = recv(link->fd, link->text + link->len, link->cap - link->len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -ECONNRESET;
        link->len += (size_t)got;
        if (link->text[link->len - 1] == '\n') {
            link->text[--link->len] = '\0';
            return 0;
        }
    }
}

/* --- orders ------------------------------------------------------------------------------------- */

/* Take the member out of its object: it is the caller's then. */
static struct value *take(struct value *object, const char *key)
{
    for (struct value **at = object ? &object->first : NULL; at && *at; at = &(*at)->next) {
        if (!(*at)->key || strcmp((*at)->key, key))
            continue;
        struct value *found = *at;
        *at = found->next;
        found->next = NULL;
        return found;
    }
    return NULL;
}

struct value *client_order(struct client_link *link, const char *const *words, int n, char *why,
                           size_t cap, bool *gone)
{
    size_t len = 0;
    char *line = order_line(words, n, &len);
    int result = line ? send_all(link->fd, line, len) : -ENOMEM;
    free(line);
    if (result == 0)
        result = receive_line(link);
    *gone = result < 0;
    if (result < 0) {
        snprintf(why, cap, "%s", result == -EAGAIN       ? "the watch does not answer"
                                 : result == -ECONNRESET || result == -EPIPE ? "the watch has ended"
                                                         : strerror(-result));
        return NULL;
    }
    struct value *answer = value_parse(link->text, link->len), *found = NULL;
    if (value_number(answer, "ok") != 0)
        found = take(answer, "result");
    if (!found)
        snprintf(why, cap, "%s", answer && *value_text(answer, "error") ? value_text(answer, "error")
                                                                       : "the answer makes no sense");
    value_free(answer);
    return found;
}

int client_ask(struct client_link *link, const char *const *words, int n, struct value **result)
{
    char why[4096];
    bool gone;
    *result = client_order(link, words, n, why, sizeof why, &gone);
    if (*result)
        return EXIT_OK;
    cli_say("%s", why);
    return gone ? EXIT_ABSENT : EXIT_FAILED;
}
