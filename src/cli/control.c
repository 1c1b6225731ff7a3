/* control.c - the socket by which an operator speaks to a running watch. See control.h. */
#include "cli/control.h"

#include "cli/value.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MOST (256 * 1024)      /* one line: a text to be evaluated is the longest */
#define ANSWER_MOST  (8 * 1024 * 1024) /* a status of thousands of scripts */
#define WORDS_MOST   16
#define CLIENTS_MOST 32
#define A_TURN       4096
#define REST_S       1. /* when there is no descriptor for who comes */

struct client {
    ev_io io;
    struct control *control;
    struct client *next;
    char *in; /* owned: what came and is no whole line yet */
    size_t in_len;
    char *out; /* owned: an answer that is on its way */
    size_t out_len, out_at;
    struct asked *asked; /* the order that is being carried out, or NULL */
    bool ended;          /* it sends no more */
};

/* An order on its way: outlives who gave it. */
struct asked {
    struct client *client; /* NULL: it is gone */
    struct asked *next, **link;
};

struct control {
    struct ev_loop *loop;
    control_order *order;
    void *ctx;
    ev_io listening;
    ev_timer rest;
    struct client *clients; /* owned list */
    int clients_len;
    struct asked *asked; /* owned list */
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
    dev_t dev; /* of the socket that we made */
    ino_t ino;
};

/* --- clients ------------------------------------------------------------------------------------ */

static void watch_for(struct client *client, int events)
{
    if (ev_is_active(&client->io) && client->io.events == events)
        return;
    ev_io_stop(client->control->loop, &client->io);
    ev_io_set(&client->io, client->io.fd, events);
    if (events)
        ev_io_start(client->control->loop, &client->io);
}

static void drop_client(struct client *client)
{
    struct control *c = client->control;
    struct client **at = &c->clients;
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    c->clients_len--;
    if (client->asked)
        client->asked->client = NULL;
    ev_io_stop(c->loop, &client->io);
    close(client->io.fd);
    free(client->in);
    free(client->out);
    free(client);
}

/* --- answers ------------------------------------------------------------------------------------- */

/* One line; the memory is the caller's. NULL: there is none. */
static char *answer_line(int result, const char *text, size_t *len)
{
    char *line = NULL;
    FILE *to = open_memstream(&line, len);
    if (!to)
        return NULL;
    fprintf(to, "{\"ok\":%s,\"%s\":", result == 0 ? "true" : "false", result == 0 ? "result" : "error");
    if (result == 0 && (*text == '{' || *text == '['))
        fputs(text, to); /* JSON */
    else
        value_quote(to, text);
    fputs("}\n", to);
    if (fclose(to)) {
        free(line);
        return NULL;
    }
    return line;
}

static void answer(struct client *client, int result, const char *text)
{
    if (strlen(text) > ANSWER_MOST) {
        result = -EMSGSIZE;
        text = "the answer is too long";
    }
    free(client->out);
    client->out_at = client->out_len = 0;
    client->out = answer_line(result, text, &client->out_len);
    if (!client->out)
        client->ended = true; /* no memory: hang up */
}

static void forget(struct asked *asked)
{
    *asked->link = asked->next;
    if (asked->next)
        asked->next->link = asked->link;
    free(asked);
}

/* May come at once, when the order is being given: what follows is then up to who gave it. */
static void on_reply(void *ctx, int result, const char *text)
{
    struct asked *asked = ctx;
    struct client *client = asked->client;
    forget(asked);
    if (!client)
        return;
    client->asked = NULL;
    answer(client, result, text);
    watch_for(client, EV_WRITE); /* written from the loop: never from within an order */
}

/* --- orders -------------------------------------------------------------------------------------- */

static bool words_of(const struct value *list, const char **words, int *n)
{
    if (!list || list->type != VALUE_LIST)
        return false;
    *n = 0;
    for (const struct value *word = list->first; word; word = word->next) {
        if (word->type != VALUE_TEXT || *n == WORDS_MOST)
            return false;
        words[(*n)++] = word->text;
    }
    return *n > 0;
}

static void give_order(struct client *client, const char *line, size_t len)
{
    struct control *c = client->control;
    const char *words[WORDS_MOST];
    int n;
    struct value *list = memchr(line, '\0', len) ? NULL : value_parse(line, len);
    struct asked *asked = calloc(1, sizeof *asked);
    if (!asked || !words_of(list, words, &n)) {
        free(asked);
        value_free(list);
        answer(client, -EINVAL, "an order is a line with a JSON array of up to 16 words");
        watch_for(client, EV_WRITE);
        return;
    }
    *asked = (struct asked){ .client = client, .next = c->asked, .link = &c->asked };
    if (c->asked)
        c->asked->link = &asked->next;
    c->asked = asked;
    client->asked = asked;
    watch_for(client, 0); /* until the answer: one at a time */
    c->order(c->ctx, words, n, on_reply, asked);
    value_free(list);
}

/* The first whole line of what came, if there is one. */
static void take_line(struct client *client)
{
    char *newline = client->in_len ? memchr(client->in, '\n', client->in_len) : NULL;
    if (!newline) {
        if (client->ended)
            drop_client(client);
        else if (client->in_len >= REQUEST_MOST) {
            client->ended = true;
            client->in_len = 0;
            answer(client, -EMSGSIZE, "an order is no longer than 256 KiB");
            watch_for(client, EV_WRITE);
        } else
            watch_for(client, EV_READ);
        return;
    }
    size_t len = (size_t)(newline - client->in), rest = client->in_len - len - 1;
    char *line = malloc(len + 1);
    if (!line) {
        drop_client(client);
        return;
    }
    memcpy(line, client->in, len);
    memmove(client->in, newline + 1, rest);
    client->in_len = rest;
    give_order(client, line, len);
    free(line);
}

static void read_client(struct client *client)
{
    if (!client->in && !(client->in = malloc(REQUEST_MOST))) {
        drop_client(client);
        return;
    }
    size_t room = REQUEST_MOST - client->in_len;
    ssize_t got = recv(client->io.fd, client->in + client->in_len, room < A_TURN ? room : A_TURN, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0) {
        drop_client(client);
        return;
    }
    client->ended = got == 0;
    client->in_len += (size_t)got;
    take_line(client);
}

static void flush_client(struct client *client)
{
    ssize_t sent = 0;
    if (client->out)
        sent = send(client->io.fd, client->out + client->out_at, client->out_len - client->out_at,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (sent < 0 || !client->out) {
        drop_client(client);
        return;
    }
    client->out_at += (size_t)sent;
    if (client->out_at < client->out_len)
        return;
    free(client->out);
    client->out = NULL;
    take_line(client);
}

static void on_client(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct client *client = watcher->data;
    (void)loop;
    if (events & EV_WRITE)
        flush_client(client);
    else
        read_client(client);
}

/* --- coming ---------------------------------------------------------------------------------------- */

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* Who waits stays in the queue, and would wake us again at once. */
static void rest(struct control *c)
{
    ev_io_stop(c->loop, &c->listening);
    ev_timer_set(&c->rest, REST_S, 0.);
    ev_timer_start(c->loop, &c->rest);
}

static void on_rested(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct control *c = watcher->data;
    (void)events;
    ev_io_start(loop, &c->listening);
}

static void on_listening(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct control *c = watcher->data;
    (void)events;
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(c);
        return;
    }
    struct client *client = is_ours(fd) && c->clients_len < CLIENTS_MOST ? calloc(1, sizeof *client) : NULL;
    if (!client) {
        static const char no[] = "{\"ok\":false,\"error\":\"not for you, or too many ask already\"}\n";
        send(fd, no, sizeof no - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        close(fd);
        return;
    }
    client->control = c;
    client->next = c->clients;
    c->clients = client;
    c->clients_len++;
    ev_io_init(&client->io, on_client, fd, EV_READ);
    client->io.data = client;
    ev_io_start(loop, &client->io);
}

/* --- the socket -------------------------------------------------------------------------------------- */

bool control_default(char *path, size_t cap, pid_t pid)
{
    const char *directory = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
    if (!directory || *directory != '/')
        return false;
    int len = pid ? snprintf(path, cap, "%s/moonwatch-%d.sock", directory, (int)pid)
                  : snprintf(path, cap, "%s/moonwatch.sock", directory);
    return len > 0 && (size_t)len < cap;
}

/* Does a living process listen there? 1, 0, or -errno. */
static int answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int result = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 1 : -errno;
    close(fd);
    if (result == -EAGAIN || result == -EINPROGRESS) /* its queue is full: it lives */
        return 1;
    return result == -ECONNREFUSED || result == -ENOENT ? 0 : result;
}

/* Only a socket is removed, and only when nobody listens. */
static int remove_stale(const struct sockaddr_un *address, char *why, size_t cap)
{
    struct stat about;
    if (lstat(address->sun_path, &about) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(about.st_mode)) {
        snprintf(why, cap, "%s is there and is no socket", address->sun_path);
        return -EEXIST;
    }
    int result = answers(address);
    if (result == 1) {
        snprintf(why, cap, "another watch listens at %s", address->sun_path);
        return -EADDRINUSE;
    }
    if (result == 0 && unlink(address->sun_path) < 0 && errno != ENOENT)
        result = -errno;
    return result;
}

/* fchmod before the bind: the file is never there with another mode, whatever the umask. */
static int bind_socket(int fd, const struct sockaddr_un *address, char *why, size_t cap)
{
    if (fchmod(fd, 0600) < 0)
        return -errno;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (bind(fd, (const struct sockaddr *)address, sizeof *address) == 0)
            return listen(fd, CLIENTS_MOST) < 0 ? -errno : 0;
        if (errno != EADDRINUSE)
            return -errno;
        int result = remove_stale(address, why, cap);
        if (result < 0)
            return result;
    }
    return -EADDRINUSE;
}

/* Two that start at once must not take each other's socket for a dead one: the directory is locked
 * from bind to listen. Where it cannot be, there is no such rival. */
static int lock_directory(const char *path)
{
    char directory[sizeof ((struct sockaddr_un *)0)->sun_path];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int ms = 0; fd >= 0 && ms < 100 && flock(fd, LOCK_EX | LOCK_NB) < 0; ms++)
        usleep(1000);
    return fd;
}

static int listen_at(struct control *c, char *why, size_t cap)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat about;
    memcpy(address.sun_path, c->path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int lock = lock_directory(c->path);
    int result = bind_socket(fd, &address, why, cap);
    if (result == 0 && lstat(c->path, &about) == 0) {
        c->dev = about.st_dev;
        c->ino = about.st_ino;
    }
    if (lock >= 0)
        close(lock);
    if (result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

int control_open(struct control **out, struct ev_loop *loop, const char *path, control_order *order,
                 void *ctx, char *why, size_t cap)
{
    struct control *c = calloc(1, sizeof *c);
    *why = '\0';
    if (!c)
        return -ENOMEM;
    *c = (struct control){ .loop = loop, .order = order, .ctx = ctx };
    int result = -ENAMETOOLONG;
    if (*path && strlen(path) < sizeof c->path) {
        strcpy(c->path, path);
        result = listen_at(c, why, cap);
    }
    if (result < 0) {
        if (!*why)
            snprintf(why, cap, "cannot listen at %s: %s", path, strerror(-result));
        free(c);
        return result;
    }
    ev_io_init(&c->listening, on_listening, result, EV_READ);
    c->listening.data = c;
    ev_init(&c->rest, on_rested);
    c->rest.data = c;
    ev_io_start(loop, &c->listening);
    *out = c;
    return 0;
}

const char *control_path(const struct control *c)
{
    return c->path;
}

void control_stop(struct control *c)
{
    struct stat about;
    if (!c || !c->loop)
        return;
    while (c->clients)
        drop_client(c->clients);
    ev_io_stop(c->loop, &c->listening);
    ev_timer_stop(c->loop, &c->rest);
    if (lstat(c->path, &about) == 0 && about.st_dev == c->dev && about.st_ino == c->ino)
        unlink(c->path); /* not that of another one who took the place */
    close(c->listening.fd);
    c->loop = NULL;
}

void control_free(struct control *c)
{
    if (!c)
        return;
    control_stop(c);
    while (c->asked)
        forget(c->asked);
    free(c);
}
