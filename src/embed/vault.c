/* vault.c - the stores of one watch. See vault.h. */
#include "embed/vault.h"

#include "base/log.h"
#include "sink/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SYNC_SECONDS 5
#define SYNC_AT_ONCE 16 /* descriptors */

struct slot {
    struct slot *next;
    char *script, *store; /* owned */
    const void *worker;   /* NULL: nobody holds it */
    uint32_t id;          /* of the script */
    int fd;               /* owned, locked */
    off_t synced;         /* length that is on the disk */
};

struct vault {
    char *path;         /* owned */
    int dir;            /* -1: not opened yet */
    struct slot *slots; /* owned list */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t syncer;
    bool syncing, ending;
};

/* --- reaching the disk -------------------------------------------------------------------------
 */

/* A descriptor of what is longer than it was, noted as synced; or -1. */
static int take_unsynced(struct slot *slot)
{
    struct stat about;
    if (fstat(slot->fd, &about) < 0 || about.st_size == slot->synced)
        return -1;
    int fd = fcntl(slot->fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        slot->synced = about.st_size;
    return fd;
}

/* The disk may take its time: nobody waits for it with the lock. */
static void sync_some(struct vault *v)
{
    int fds[SYNC_AT_ONCE], n = 0;
    for (struct slot *slot = v->slots; slot && n < SYNC_AT_ONCE; slot = slot->next)
        if ((fds[n] = take_unsynced(slot)) >= 0)
            n++;
    pthread_mutex_unlock(&v->lock);
    for (int i = 0; i < n; i++) {
        if (fdatasync(fds[i]) < 0)
            log_warn("what scripts keep may not be on the disk: %s", strerror(errno));
        close(fds[i]);
    }
    pthread_mutex_lock(&v->lock);
}

static void *sync_now_and_then(void *arg)
{
    struct vault *v = arg;
    pthread_mutex_lock(&v->lock);
    while (!v->ending) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += SYNC_SECONDS;
        if (pthread_cond_timedwait(&v->wake, &v->lock, &until) == ETIMEDOUT)
            sync_some(v);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static void start_syncing(struct vault *v)
{
    if (v->syncing)
        return;
    int error = pthread_create(&v->syncer, NULL, sync_now_and_then, v);
    v->syncing = !error;
    if (error)
        log_warn("what scripts keep reaches the disk when the system sees fit: %s",
                 strerror(error));
}

/* --- the directory ------------------------------------------------------------------------------
 */

static int complain(struct buf *why, const char *what, const char *path, int error)
{
    buf_printf(why, "%s %s: %s", what, path, strerror(error));
    return -error;
}

/* Who else could write here could put a store of his own into it. */
static int check_directory(const struct vault *v, int fd, struct buf *why)
{
    struct stat about;
    if (fstat(fd, &about) < 0)
        return complain(why, "cannot look at", v->path, errno);
    if ((about.st_uid == geteuid() || about.st_uid == 0) && !(about.st_mode & 022))
        return 0;
    buf_printf(why, "%s belongs to somebody else, or others may write to it", v->path);
    return -EPERM;
}

/* 0, or -errno with a sentence. */
static int open_directory(struct vault *v, struct buf *why)
{
    if (v->dir >= 0)
        return 0;
    if (mkdir(v->path, 0700) < 0 && errno != EEXIST)
        return complain(why, "cannot make", v->path, errno);
    int above = open(v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0)
        return complain(why, "cannot open", v->path, errno);
    int result = check_directory(v, above, why);
    if (!result && mkdirat(above, "stores", 0700) < 0 && errno != EEXIST)
        result = complain(why, "cannot make a directory in", v->path, errno);
    if (!result)
        v->dir = openat(above, "stores", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!result && v->dir < 0)
        result = complain(why, "cannot open the directory 'stores' in", v->path, errno);
    close(above);
    return result;
}

/* --- slots --------------------------------------------------------------------------------------
 */

static struct slot *find(struct vault *v, const char *script, const char *store)
{
    for (struct slot *slot = v->slots; slot; slot = slot->next)
        if (!strcmp(slot->script, script) && !strcmp(slot->store, store))
            return slot;
    return NULL;
}

static void free_slot(struct slot *slot)
{
    if (slot->fd >= 0)
        close(slot->fd);
    free(slot->script);
    free(slot->store);
    free(slot);
}

static int add_slot(struct vault *v, const char *script, const char *store, int fd,
                    struct slot **out)
{
    struct slot *slot = calloc(1, sizeof *slot);
    if (!slot) {
        close(fd);
        return -ENOMEM;
    }
    *slot = (struct slot){ .script = strdup(script), .store = strdup(store), .fd = fd };
    if (!slot->script || !slot->store) {
        free_slot(slot);
        return -ENOMEM;
    }
    slot->next = v->slots;
    v->slots = *out = slot;
    return 0;
}

static void tell_cut(const char *script, const char *store, size_t cut)
{
    if (cut)
        log_warn("store '%s' of script '%s': its last %zu bytes were no whole record and are cut: "
                 "whoever wrote it was stopped, or the disk was full",
                 store, script, cut);
}

/* It was opened before: look at its end, and whether it should be compacted. */
static int settle(struct vault *v, struct slot *slot, struct buf *why)
{
    size_t cut;
    int fd = store_compact(v->dir, slot->script, slot->store, slot->fd, &cut, why);
    tell_cut(slot->script, slot->store, cut);
    if (fd < 0)
        return fd;
    if (fd != slot->fd) {
        close(slot->fd);
        slot->fd = fd;
        slot->synced = 0;
    }
    return 0;
}

static int open_first(struct vault *v, const char *script, const char *store, struct slot **out,
                      struct buf *why)
{
    size_t cut;
    int fd = store_open(v->dir, script, store, &cut, why);
    if (fd < 0)
        return fd;
    tell_cut(script, store, cut);
    int result = add_slot(v, script, store, fd, out);
    if (result < 0)
        buf_puts(why, "not enough memory");
    return result;
}


static int hand_out(const struct slot *slot, struct buf *why)
{
    int fd = fcntl(slot->fd, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? complain(why, "cannot hand out store", slot->store, errno) : fd;
}

static int open_locked(struct vault *v, const struct vault_holder *holder, const char *store,
                       struct buf *why)
{
    int result = open_directory(v, why);
    if (result < 0)
        return result;
    struct slot *slot = find(v, holder->name, store);
    if (slot && slot->worker && slot->id != holder->script) {
        buf_printf(why, "another script that is named '%s' has it open", holder->name);
        return -EBUSY;
    }
    result = slot ? settle(v, slot, why) : open_first(v, holder->name, store, &slot, why);
    if (result < 0)
        return result;
    start_syncing(v);
    slot->worker = holder->worker;
    slot->id = holder->script;
    return hand_out(slot, why);
}

int vault_open(struct vault *v, const struct vault_holder *holder, const char *store,
               struct buf *why)
{
    pthread_mutex_lock(&v->lock);
    int result = open_locked(v, holder, store, why);
    pthread_mutex_unlock(&v->lock);
    return result;
}

static int compact_locked(struct vault *v, const struct vault_holder *holder, const char *store,
                          struct buf *why)
{
    struct slot *slot = find(v, holder->name, store);
    if (!slot || slot->worker != holder->worker || slot->id != holder->script) {
        buf_puts(why, "it is not open");
        return -ENOENT;
    }
    int result = settle(v, slot, why);
    return result < 0 ? result : hand_out(slot, why);
}

int vault_compact(struct vault *v, const struct vault_holder *holder, const char *store,
                  struct buf *why)
{
    pthread_mutex_lock(&v->lock);
    int result = compact_locked(v, holder, store, why);
    pthread_mutex_unlock(&v->lock);
    return result;
}

void vault_release(struct vault *v, const void *worker)
{
    pthread_mutex_lock(&v->lock);
    for (struct slot *slot = v->slots; slot; slot = slot->next)
        if (slot->worker == worker)
            slot->worker = NULL;
    pthread_mutex_unlock(&v->lock);
}

/* --- life ---------------------------------------------------------------------------------------
 */

int vault_new(struct vault **out, const char *path)
{
    pthread_condattr_t by_mono;
    struct vault *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    *v = (struct vault){ .path = strdup(path), .dir = -1 };
    if (!v->path) {
        free(v);
        return -ENOMEM;
    }
    pthread_mutex_init(&v->lock, NULL);
    pthread_condattr_init(&by_mono);
    pthread_condattr_setclock(&by_mono, CLOCK_MONOTONIC);
    pthread_cond_init(&v->wake, &by_mono);
    pthread_condattr_destroy(&by_mono);
    *out = v;
    return 0;
}

static void stop_syncing(struct vault *v)
{
    if (!v->syncing)
        return;
    pthread_mutex_lock(&v->lock);
    v->ending = true;
    pthread_cond_signal(&v->wake);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->syncer, NULL);
}

void vault_free(struct vault *v)
{
    if (!v)
        return;
    stop_syncing(v);
    while (v->slots) {
        struct slot *slot = v->slots;
        v->slots = slot->next;
        fdatasync(slot->fd);
        free_slot(slot);
    }
    if (v->dir >= 0)
        close(v->dir);
    pthread_cond_destroy(&v->wake);
    pthread_mutex_destroy(&v->lock);
    free(v->path);
    free(v);
}
