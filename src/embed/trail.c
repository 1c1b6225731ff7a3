/* trail.c - follows a path step by step. See trail.h. */
#include "embed/trail.h"

#include "moonwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define LINKS_MAX 40 /* the kernel's own limit */
#define OTHERS    (S_IWGRP | S_IWOTH)

struct walk {
    struct trail *t;
    const char *name;
    trail_step *step;
    void *ctx;
    int dir; /* owned, O_PATH */
    struct stat dir_about;
    int links;
    bool astray; /* by a link in the place of the last name */
    char rest[PATH_MAX];
};

static uid_t also_trusted;

void moonwatch_trust_owner(unsigned owner)
{
    also_trusted = owner;
}

static bool trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid() || owner == also_trusted;
}

static bool open_to_others(const struct stat *about)
{
    return about->st_mode & OTHERS && !(S_ISDIR(about->st_mode) && about->st_mode & S_ISVTX);
}

/* --- sentences ----------------------------------------------------------------------------- */

static __attribute__((format(printf, 3, 4))) int say(struct trail *t, int error, const char *format,
                                                     ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->why, sizeof t->why, format, args);
    va_end(args);
    return error;
}

static int say_errno(struct trail *t, const char *name, int error)
{
    return say(t, error, "cannot read %s: %s", name, strerror(-error));
}

/* As a shell takes it: the mend is there to be pasted. */
static void quote(const char *path, char *out, size_t cap)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+,:@%=";
    if (path[strspn(path, plain)] == '\0' && *path != '-')
        snprintf(out, cap, "%s", path);
    else if (!strchr(path, '\''))
        snprintf(out, cap, "'%s'", path);
    else
        snprintf(out, cap, "\"%s\"", path);
}

static void real_path(int fd, char out[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    out[len < 0 ? 0 : len] = '\0';
}

void trail_real(const struct trail *t, char out[PATH_MAX])
{
    real_path(t->fd, out);
}

/* `what` is of the kind "it" or "its directory /srv". */
static int refuse(struct walk *w, const char *what, const char *path, const struct stat *about)
{
    char quoted[PATH_MAX + 2];
    quote(path, quoted, sizeof quoted);
    const char *link = S_ISLNK(about->st_mode) ? "-h " : "";
    const char * or = S_ISDIR(about->st_mode) ? ", or keep it in a directory of root's" : "";
    if (!trusted(about->st_uid))
        return say(w->t, -EPERM, "%s is not taken: %s belongs to user %u; mend: chown %sroot %s%s",
                   w->name, what, about->st_uid, link, quoted, or);
    return say(w->t, -EPERM, "%s is not taken: others may write to %s; mend: chmod go-w %s",
               w->name, what, quoted);
}

static int judge_dir(struct walk *w, int fd, const struct stat *about)
{
    if (trusted(about->st_uid) && !open_to_others(about))
        return 0;
    char path[PATH_MAX], what[PATH_MAX + 32];
    real_path(fd, path);
    snprintf(what, sizeof what, "its directory %s", path);
    return refuse(w, what, path, about);
}

static int judge_end(struct walk *w, int fd, const struct stat *about)
{
    if (trusted(about->st_uid) && !open_to_others(about))
        return 0;
    char path[PATH_MAX];
    real_path(fd, path);
    return w->links ? refuse(w, path, path, about) : refuse(w, "it", w->name, about);
}

/* What others may put into a sticky directory they may also point elsewhere. */
static int judge_link(struct walk *w, const char *name, const struct stat *about)
{
    if (!(w->dir_about.st_mode & OTHERS) || trusted(about->st_uid))
        return 0;
    char path[PATH_MAX], link[2 * PATH_MAX], what[2 * PATH_MAX + 32];
    real_path(w->dir, path);
    snprintf(link, sizeof link, "%s/%s", path, name);
    snprintf(what, sizeof what, "the link %s", link);
    return refuse(w, what, link, about);
}

/* --- the walk ------------------------------------------------------------------------------ */

/* Takes fd over. */
static int enter(struct walk *w, int fd)
{
    if (w->dir >= 0)
        close(w->dir);
    w->dir = fd;
    if (fd < 0 || fstat(fd, &w->dir_about) < 0)
        return say_errno(w->t, w->name, -errno);
    return judge_dir(w, fd, &w->dir_about);
}

static int enter_root(struct walk *w)
{
    return enter(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* The first name of what is left, and what is left then. false: nothing is. */
static bool next_name(struct walk *w, char name[PATH_MAX])
{
    const char *at = w->rest + strspn(w->rest, "/");
    size_t len = strcspn(at, "/");
    memcpy(name, at, len);
    name[len] = '\0';
    at += len;
    at += strspn(at, "/");
    memmove(w->rest, at, strlen(at) + 1);
    return len;
}

static int turn_off(struct walk *w, const char *name, int link, const struct stat *about)
{
    char to[PATH_MAX], path[PATH_MAX];
    int result = judge_link(w, name, about);
    if (result < 0)
        return result;
    if (++w->links > LINKS_MAX)
        return say_errno(w->t, w->name, -ELOOP);
    ssize_t len = readlinkat(link, "", to, sizeof to - 1);
    if (len <= 0)
        return say_errno(w->t, w->name, len < 0 ? -errno : -ENOENT);
    to[len] = '\0';
    w->astray |= !*w->rest;
    if (snprintf(path, sizeof path, "%s/%s", to, w->rest) >= (int)sizeof path)
        return say_errno(w->t, w->name, -ENAMETOOLONG);
    memcpy(w->rest, path, strlen(path) + 1);
    return *to == '/' ? enter_root(w) : 0;
}

/* A link below /proc/PID/fd to what has no path: "pipe:[4026531836]". Only the kernel can follow.
 */
static bool leads_past_paths(const struct walk *w, int link)
{
    struct statfs fs;
    char to[8];
    return fstatfs(w->dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC &&
           readlinkat(link, "", to, sizeof to) > 0 && memchr(to, ':', sizeof to) && to[0] != '/';
}

static int look_up(struct walk *w, const char *name, struct stat *about)
{
    int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, about) == 0 && S_ISLNK(about->st_mode) && leads_past_paths(w, fd)) {
        close(fd);
        fd = openat(w->dir, name, O_PATH | O_CLOEXEC);
    }
    if (fd >= 0 && fstat(fd, about) == 0)
        return fd;
    int error = -errno;
    if (fd >= 0)
        close(fd);
    return error;
}

static int arrive(struct walk *w, int fd, const struct stat *about)
{
    int result = judge_end(w, fd, about);
    if (result < 0) {
        close(fd);
        return result;
    }
    w->t->fd = fd;
    w->t->about = *about;
    return 0;
}

/* 1: go on; 0: arrived. */
static int go(struct walk *w, const char *name)
{
    struct stat about;
    if (w->step)
        w->step(w->ctx, w->dir, &w->dir_about, name);
    int fd = look_up(w, name, &about);
    if (fd < 0) {
        w->t->gone = fd == -ENOENT && !*w->rest && !w->astray;
        if (fd == -ENOENT && w->astray)
            return say(w->t, fd, "cannot read %s: it is a link that leads to nothing", w->name);
        return say_errno(w->t, w->name, fd);
    }
    if (S_ISLNK(about.st_mode)) {
        int result = turn_off(w, name, fd, &about);
        close(fd);
        return result < 0 ? result : 1;
    }
    if (!*w->rest)
        return arrive(w, fd, &about);
    int result = enter(w, fd);
    if (result == 0 && !S_ISDIR(about.st_mode))
        result = say_errno(w->t, w->name, -ENOTDIR);
    return result < 0 ? result : 1;
}

int trail_follow(struct trail *t, const char *name, const char *absolute, trail_step *step,
                 void *ctx)
{
    struct walk w = { .t = t, .name = name, .step = step, .ctx = ctx, .dir = -1 };
    char next[PATH_MAX];
    t->fd = -1;
    t->gone = false;
    t->why[0] = '\0';
    if (strlen(absolute) >= sizeof w.rest)
        return say_errno(t, name, -ENAMETOOLONG);
    strcpy(w.rest, absolute);

    int result = enter_root(&w);
    result = result < 0 ? result : 1;
    while (result == 1 && next_name(&w, next))
        result = go(&w, next);
    if (result == 1) /* it ended in a directory: "/", or a link to "." */
        result = arrive(&w, dup(w.dir), &w.dir_about);
    if (w.dir >= 0)
        close(w.dir);
    return result;
}

void trail_close(struct trail *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

int trail_absolute(const char *path, char out[PATH_MAX])
{
    char whole[PATH_MAX];
    if (!*path)
        return -ENOENT;
    if (*path != '/' && !getcwd(whole, sizeof whole))
        return -errno;
    size_t len = *path == '/' ? 0 : strlen(whole);
    if (snprintf(whole + len, sizeof whole - len, "/%s", path) >= (int)(sizeof whole - len))
        return -ENAMETOOLONG;

    char *to = out;
    for (const char *at = whole; *at; at += strcspn(at, "/")) {
        at += strspn(at, "/");
        size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && *at == '.'))
            continue;
        *to++ = '/';
        memcpy(to, at, n);
        to += n;
    }
    if (to == out)
        *to++ = '/';
    *to = '\0';
    return 0;
}

/* --- the file ------------------------------------------------------------------------------ */

static int reopen(const struct trail *t, int flags)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", t->fd);
    int fd = open(link, O_RDONLY | O_NOCTTY | O_CLOEXEC | flags);
    return fd < 0 ? -errno : fd;
}

/* A read lease is refused with EAGAIN while the file is open for writing. The signal, if somebody
 * opens it in the instant that the lease is held, is one that is ignored by default. */
bool trail_being_written(const struct trail *t)
{
    int fd = S_ISREG(t->about.st_mode) ? reopen(t, O_NONBLOCK) : -1;
    if (fd < 0)
        return false;
    fcntl(fd, F_SETSIG, SIGURG);
    bool written = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    return written;
}

bool trail_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Until the end, or one byte beyond `most`. */
static int read_out(int fd, size_t most, struct buf *out)
{
    size_t begin = out->len;
    while (out->len - begin <= most) {
        char *to = buf_reserve(out, 4096);
        if (!to)
            return -ENOMEM;
        size_t room = out->cap - out->len;
        size_t left = most + 1 - (out->len - begin);
        ssize_t got = read(fd, to, room < left ? room : left);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : 0;
        out->len += (size_t)got;
    }
    return -EFBIG;
}

static int too_large(struct trail *t, const char *name, size_t most)
{
    return say(t, -EFBIG, "cannot read %s: it is larger than %zu MiB", name, most >> 20);
}

int trail_read(struct trail *t, const char *name, size_t most, struct buf *out)
{
    bool regular = S_ISREG(t->about.st_mode);
    size_t begin = out->len;
    if (regular && (size_t)t->about.st_size > most)
        return too_large(t, name, most);
    int fd = reopen(t, regular ? O_NONBLOCK : 0);
    if (fd < 0)
        return say_errno(t, name, fd);

    struct stat after;
    int result = read_out(fd, most, out);
    if (fstat(fd, &after) < 0 && result == 0)
        result = -errno;
    close(fd);
    bool changed = regular && result == 0 &&
                   (!trail_same(&t->about, &after) || out->len - begin != (size_t)after.st_size);
    if (changed)
        result = -EAGAIN;
    if (result < 0)
        out->len = begin;
    return result == -EFBIG    ? too_large(t, name, most)
           : result == -EAGAIN ? say(t, result, "cannot read %s: it is being written", name)
           : result < 0        ? say_errno(t, name, result)
                               : 0;
}
