/* lookout.c - tells that something may have changed. See lookout.h. */
#include "embed/lookout.h"

#include "base/log.h"

#include <errno.h>
#include <ev.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define QUIET_S 0.150 /* an editor's dance and a deployment of several files are one change */
#define MOST_S  1.0   /* but somebody who never stops writing does not keep us from looking */
#define REST_S  0.050 /* between two readings: in a busy directory, most is of no concern */
#define BLIND_S 30.0  /* where nothing could be watched */

#define EVENTS                                                                                     \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB |            \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct place {
    int wd;
    dev_t dev;
    ino_t ino;
    bool scripts; /* any script in it matters */
    bool named;   /* since lookout_begin */
    char **names; /* owned, each of them too */
    int names_len;
};

struct lookout {
    lookout_look *look;
    void *ctx;
    struct ev_loop *loop; /* NULL until started */
    int fd;               /* inotify; -1 until started */
    ev_io readable;
    ev_timer rest, settle, blind;
    bool pending; /* a hint since the last look */
    ev_tstamp since;
    bool unwatched; /* since lookout_begin, a place could not be watched */
    bool complained;
    struct place *places; /* owned */
    int places_len;
};

bool lookout_script(const char *name)
{
    size_t len = strlen(name);
    bool test = len > 9 && !strcmp(name + len - 9, "_test.lua");
    return len > 4 && !strcmp(name + len - 4, ".lua") && !test && *name != '.' && *name != '#';
}

/* --- hints --------------------------------------------------------------------------------- */

static void hint(struct lookout *l)
{
    ev_tstamp now = ev_now(l->loop);
    if (!l->pending)
        l->since = now;
    l->pending = true;
    ev_tstamp left = l->since + MOST_S - now;
    ev_timer_stop(l->loop, &l->settle);
    ev_timer_set(&l->settle, left < QUIET_S ? (left > 0 ? left : 0) : QUIET_S, 0);
    ev_timer_start(l->loop, &l->settle);
}

static struct place *place_of(struct lookout *l, int wd)
{
    for (int i = 0; i < l->places_len; i++)
        if (l->places[i].wd == wd)
            return &l->places[i];
    return NULL;
}

static bool has_name(const struct place *p, const char *name)
{
    for (int i = 0; i < p->names_len; i++)
        if (!strcmp(p->names[i], name))
            return true;
    return false;
}

/* Without a name it is the directory itself that was moved, removed or changed. */
static bool matters(struct lookout *l, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    const struct place *p = place_of(l, event->wd);
    if (!p || event->mask & IN_IGNORED)
        return p; /* not of one that we gave up ourselves */
    return !event->len || (p->scripts && lookout_script(event->name)) || has_name(p, event->name);
}

/* Returns whether any of them matters. */
static bool read_events(struct lookout *l)
{
    _Alignas(struct inotify_event) char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
    bool any = false;
    ssize_t got;
    while ((got = read(l->fd, bytes, sizeof bytes)) > 0) {
        const struct inotify_event *event;
        for (char *at = bytes; at < bytes + got; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)at;
            any |= matters(l, event);
        }
    }
    return any;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct lookout *l = watcher->data;
    (void)events;
    ev_io_stop(loop, watcher);
    ev_timer_set(&l->rest, REST_S, 0);
    ev_timer_start(loop, &l->rest);
    if (read_events(l))
        hint(l);
}

static void on_rested(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct lookout *l = watcher->data;
    (void)events;
    ev_io_start(loop, &l->readable);
}

static void on_settled(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct lookout *l = watcher->data;
    (void)loop, (void)events;
    l->pending = false;
    l->look(l->ctx);
}

/* --- places -------------------------------------------------------------------------------- */

static void drop_names(struct place *p)
{
    for (int i = 0; i < p->names_len; i++)
        free(p->names[i]);
    p->names_len = 0;
}

static void forget(struct lookout *l, struct place *p)
{
    inotify_rm_watch(l->fd, p->wd); /* fails when the directory is gone, and the watch with it */
    drop_names(p);
    free(p->names);
}

static void blind(struct lookout *l, const char *why)
{
    l->unwatched = true;
    if (!l->complained)
        log_warn("cannot watch all scripts for changes: %s; looking every %.0f s", why, BLIND_S);
    l->complained = true;
}

static struct place *watch(struct lookout *l, int dir, const struct stat *about)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    int wd = inotify_add_watch(l->fd, path, EVENTS);
    if (wd < 0) {
        blind(l, strerror(errno));
        return NULL;
    }
    struct place *p = place_of(l, wd);
    if (p)
        return p;
    struct place *more = realloc(l->places, (size_t)(l->places_len + 1) * sizeof *more);
    if (!more) {
        inotify_rm_watch(l->fd, wd);
        blind(l, strerror(ENOMEM));
        return NULL;
    }
    l->places = more;
    p = &more[l->places_len++];
    *p = (struct place){ .wd = wd, .dev = about->st_dev, .ino = about->st_ino };
    return p;
}

/* The kernel is asked once in a round for each directory: a watch may have ended with what it was
 * on, and another directory have its number now. */
static struct place *named_place(struct lookout *l, const struct stat *about)
{
    for (int i = 0; i < l->places_len; i++)
        if (l->places[i].named && l->places[i].ino == about->st_ino &&
            l->places[i].dev == about->st_dev)
            return &l->places[i];
    return NULL;
}

static void add_name(struct lookout *l, struct place *p, const char *name)
{
    if (has_name(p, name))
        return;
    char **more = realloc(p->names, (size_t)(p->names_len + 1) * sizeof *more);
    if (more)
        p->names = more;
    char *copy = more ? strdup(name) : NULL;
    if (copy)
        p->names[p->names_len++] = copy;
    else
        blind(l, strerror(ENOMEM));
}

void lookout_at(struct lookout *l, int dir, const struct stat *about, const char *name)
{
    if (!l->loop)
        return;
    struct place *p = named_place(l, about);
    if (!p)
        p = watch(l, dir, about);
    if (!p)
        return;
    p->named = true;
    if (!name)
        p->scripts = true;
    else if (!p->scripts || !lookout_script(name))
        add_name(l, p, name);
}

void lookout_begin(struct lookout *l)
{
    l->unwatched = false;
    for (int i = 0; i < l->places_len; i++) {
        l->places[i].named = l->places[i].scripts = false;
        drop_names(&l->places[i]);
    }
}

void lookout_end(struct lookout *l)
{
    if (!l->loop)
        return;
    int kept = 0;
    for (int i = 0; i < l->places_len; i++) {
        if (l->places[i].named)
            l->places[kept++] = l->places[i];
        else
            forget(l, &l->places[i]);
    }
    l->places_len = kept;
    if (l->unwatched && !ev_is_active(&l->blind)) {
        ev_timer_set(&l->blind, BLIND_S, 0);
        ev_timer_start(l->loop, &l->blind);
    }
}

void lookout_again(struct lookout *l)
{
    if (l->loop)
        hint(l);
}

/* --- life ---------------------------------------------------------------------------------- */

int lookout_new(struct lookout **out, lookout_look *look, void *ctx)
{
    struct lookout *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    *l = (struct lookout){ .look = look, .ctx = ctx, .fd = -1 };
    *out = l;
    return 0;
}

int lookout_start(struct lookout *l, struct ev_loop *loop)
{
    l->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (l->fd < 0)
        return -errno;
    l->loop = loop;
    ev_io_init(&l->readable, on_readable, l->fd, EV_READ);
    ev_timer_init(&l->rest, on_rested, 0, 0);
    ev_timer_init(&l->settle, on_settled, 0, 0);
    ev_timer_init(&l->blind, on_settled, 0, 0);
    l->readable.data = l->rest.data = l->settle.data = l->blind.data = l;
    ev_io_start(loop, &l->readable);
    return 0;
}

void lookout_free(struct lookout *l)
{
    if (!l)
        return;
    if (l->loop) {
        ev_io_stop(l->loop, &l->readable);
        ev_timer_stop(l->loop, &l->rest);
        ev_timer_stop(l->loop, &l->settle);
        ev_timer_stop(l->loop, &l->blind);
    }
    for (int i = 0; i < l->places_len; i++)
        forget(l, &l->places[i]);
    free(l->places);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}
