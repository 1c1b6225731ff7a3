/* flight.c - the flight recorder of a watch. See flight.h. */
#include "embed/flight.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASKED_MOST 16

struct flight {
    int dir, dumps;   /* owned descriptors */
    char *dumps_path; /* owned */
    uint32_t last;    /* number */
    struct asked {
        uint32_t number; /* 0: the place is free */
        char *path;      /* owned */
        flight_done *done;
        void *ctx;
    } asked[ASKED_MOST];
};

static int refuse(char *why, size_t cap, const char *what, const char *path)
{
    int error = errno;
    snprintf(why, cap, "cannot %s %s: %s", what, path, strerror(error));
    return -error;
}

/* A directory that only we can read; -1 with errno. */
static int make_dir(int above, const char *name)
{
    if (mkdirat(above, name, 0700) < 0 && errno != EEXIST)
        return -1;
    return openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static int open_dirs(struct flight *f, const char *state_dir, char *why, size_t cap)
{
    if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
        return refuse(why, cap, "make", state_dir);
    int above = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0)
        return refuse(why, cap, "open", state_dir);
    f->dir = make_dir(above, "flight");
    f->dumps = f->dir < 0 ? -1 : make_dir(above, "dumps");
    int result = f->dumps < 0 ? refuse(why, cap, "make directories in", state_dir) : 0;
    close(above);
    return result;
}

int flight_open(struct flight **out, const char *state_dir, char *why, size_t cap)
{
    struct flight *f = calloc(1, sizeof *f);
    char path[PATH_MAX];
    if (!f)
        return -ENOMEM;
    f->dir = f->dumps = -1;
    int result = open_dirs(f, state_dir, why, cap);
    if (result == 0 && flock(f->dir, LOCK_EX | LOCK_NB) < 0) {
        result = -EBUSY;
        snprintf(why, cap, "another watch keeps the flight recorder in %s", state_dir);
    }
    snprintf(path, sizeof path, "%s/dumps", state_dir);
    if (result == 0 && !(f->dumps_path = strdup(path)))
        result = -ENOMEM;
    if (result < 0) {
        flight_close(f);
        return result;
    }
    *out = f;
    return 0;
}

int flight_dir(const struct flight *f)
{
    return f->dir;
}

/* --- dumps --------------------------------------------------------------------------------------- */

static int is_dump(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && !strcmp(entry->d_name + len - 4, ".mwr");
}

/* Names begin with the time: the first ones are the oldest. */
static void make_room(struct flight *f)
{
    struct dirent **names;
    int n = scandirat(f->dumps, ".", &names, is_dump, alphasort);
    for (int i = 0; i < n; i++) {
        if (n - i >= FLIGHT_DUMPS_KEPT && unlinkat(f->dumps, names[i]->d_name, 0) < 0)
            log_warn("%s/%s: %s", f->dumps_path, names[i]->d_name, strerror(errno));
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

/* "20261125T043012.123Z-shell-under-web-server.mwr" */
static int create(struct flight *f, const char *name, char **path)
{
    char file[160], plain[64] = "", stamp[32];
    struct timespec now;
    struct tm utc;
    for (size_t i = 0; i < sizeof plain - 1 && name[i]; i++) {
        bool fine = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", name[i]);
        plain[i] = fine ? name[i] : '_';
        plain[i + 1] = '\0';
    }
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &utc);
    snprintf(file, sizeof file, "%s.%06ldZ-%s.mwr", stamp, now.tv_nsec / 1000, plain);
    int fd = openat(f->dumps, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (asprintf(path, "%s/%s", f->dumps_path, file) < 0) {
        close(fd);
        return -ENOMEM;
    }
    return fd;
}

static struct asked *place(struct flight *f, uint32_t number)
{
    for (int i = 0; i < ASKED_MOST; i++)
        if (f->asked[i].number == number)
            return &f->asked[i];
    return NULL;
}

int flight_dump(struct flight *f, struct recorder *recorder, const char *name,
                struct recorder_dump dump, flight_done *done, void *ctx)
{
    struct asked *a = place(f, 0);
    char *path = NULL;
    if (!a)
        return -EBUSY;
    make_room(f);
    int fd = create(f, name, &path);
    if (fd < 0)
        return fd;
    dump.number = ++f->last ? f->last : ++f->last;
    int result = recorder_ask(recorder, &dump, fd);
    close(fd);
    if (result < 0) {
        unlink(path);
        free(path);
        return result;
    }
    *a = (struct asked){ .number = dump.number, .path = path, .done = done, .ctx = ctx };
    return 0;
}

void flight_dumped(struct flight *f, uint32_t number, int error)
{
    struct asked *found = number ? place(f, number) : NULL, a;
    if (!found)
        return;
    a = *found;
    *found = (struct asked){ 0 };
    if (error)
        unlink(a.path);
    a.done(a.ctx, error, a.path);
    free(a.path);
}

void flight_close(struct flight *f)
{
    if (!f)
        return;
    for (int i = 0; i < ASKED_MOST; i++)
        free(f->asked[i].path);
    if (f->dir >= 0)
        close(f->dir);
    if (f->dumps >= 0)
        close(f->dumps);
    free(f->dumps_path);
    free(f);
}
