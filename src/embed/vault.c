/* vault.c - the stores of one watch. See vault.h. */
#include "embed/vault.h"

#include "base/clock.h"
#include "base/log.h"
#include "sink/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SYNC_SECONDS 5
#define SYNC_AT_ONCE 16 /* descriptors */
#define KEPT_SECONDS 60 /* for the worker that follows a dead one */

struct slot {
    struct slot *next;
    char *script, *store; /* owned */
    const void *worker;   /* NULL: nobody holds it */
    uint32_t id;          /* of the script */
    int fd;               /* owned, locked */
    off_t synced;         /* length that is on the disk */
    int64_t close_ns;     /* monotonic; while nobody holds it */
};

struct vault {
    char *path;         /* owned */
    int dir;            /* -1: not opened yet */
    struct slot *slots; /* owned list */
    int slots_len, slots_most;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t syncer;
    bool syncing, ending;
};

static void free_slot(struct slot *slot)
{
    if (slot->fd >= 0)
        close(slot->fd);
    free(slot->script);
    free(slot->store);
    free(slot);
}

/* --- reaching the disk ------------------------------------------------------------------------ */

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

/* Descriptors of up to SYNC_AT_ONCE that have changed. They go to the end of the list: what is
 * written all the time keeps nobody else waiting. */
static int take_some(struct vault *v, int *fds)
{
    struct slot *taken = NULL, **taken_end = &taken, **at = &v->slots;
    int n = 0;
    while (*at && n < SYNC_AT_ONCE) {
        struct slot *slot = *at;
        if ((fds[n] = take_unsynced(slot)) < 0) {
            at = &slot->next;
            continue;
        }
        n++;
        *at = slot->next;
        slot->next = NULL;
        *taken_end = slot;
        taken_end = &slot->next;
    }
    while (*at)
        at = &(*at)->next;
    *at = taken;
    return n;
}

/* The disk may take its time: nobody waits for it with the lock. Returns how many there were. */
static int sync_some(struct vault *v)
{
    int fds[SYNC_AT_ONCE], n = take_some(v, fds);
    pthread_mutex_unlock(&v->lock);
    for (int i = 0; i < n; i++) {
        if (fdatasync(fds[i]) < 0)
            log_warn("what scripts keep may not be on the disk: %s", strerror(errno));
        close(fds[i]);
    }
    pthread_mutex_lock(&v->lock);
    return n;
}

/* Each once. */
static void sync_all(struct vault *v)
{
    int left = v->slots_len, n = SYNC_AT_ONCE;
    while (left > 0 && n == SYNC_AT_ONCE && !v->ending)
        left -= n = sync_some(v);
}

static void close_synced(struct slot *slot)
{
    fdatasync(slot->fd);
    free_slot(slot);
}

/* What nobody came for. */
static void close_left(struct vault *v)
{
    struct slot *left = NULL;
    for (struct slot **at = &v->slots; *at;) {
        struct slot *slot = *at;
        if (slot->worker || slot->close_ns > clock_mono_ns()) {
            at = &slot->next;
            continue;
        }
        flock(slot->fd, LOCK_UN); /* from now on it can be opened again */
        *at = slot->next;
        slot->next = left;
        left = slot;
        v->slots_len--;
    }
    pthread_mutex_unlock(&v->lock);
    while (left) {
        struct slot *slot = left;
        left = slot->next;
        close_synced(slot);
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
            sync_all(v);
        close_left(v);
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

/* --- the directory ---------------------------------------------------------------------------- */

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

/* --- slots ------------------------------------------------------------------------------------ */

static struct slot *find(struct vault *v, const char *script, const char *store)
{
    for (struct slot *slot = v->slots; slot; slot = slot->next)
        if (!strcmp(slot->script, script) && !strcmp(slot->store, store))
            return slot;
    return NULL;
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
    v->slots_len++;
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

/* Each is a descriptor of ours, and a script may ask in a loop. */
static int check_room(const struct vault *v, const char *script, struct buf *why)
{
    int held = 0;
    for (const struct slot *slot = v->slots; slot; slot = slot->next)
        held += slot->worker && !strcmp(slot->script, script);
    if (held >= VAULT_SCRIPT_MOST) {
        buf_printf(why, "the script has %d stores open, and no script may have more", held);
        return -EMFILE;
    }
    if (v->slots_len >= v->slots_most) {
        buf_printf(why, "%d stores are open, and there may not be more in all", v->slots_len);
        return -ENFILE;
    }
    return 0;
}

static int open_first(struct vault *v, const char *script, const char *store, struct slot **out,
                      struct buf *why)
{
    size_t cut;
    int room = check_room(v, script, why);
    if (room < 0)
        return room;
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

static void leave(struct slot *slot, int seconds)
{
    slot->worker = NULL;
    slot->close_ns = clock_mono_ns() + seconds * NS_PER_SECOND;
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
    result = hand_out(slot, why);
    if (result < 0)
        leave(slot, 0);
    return result;
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
        if (slot->worker && slot->worker == worker)
            leave(slot, KEPT_SECONDS);
    pthread_mutex_unlock(&v->lock);
}

/* Who holds the lock may wait for a disk, and the caller is the collector. */
void vault_forget(struct vault *v, const void *worker, uint32_t script)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    if (pthread_mutex_clocklock(&v->lock, CLOCK_MONOTONIC, &until))
        return;
    for (struct slot *slot = v->slots; slot; slot = slot->next)
        if (slot->worker && slot->id == script && (!worker || slot->worker == worker))
            leave(slot, 0);
    pthread_cond_signal(&v->wake);
    pthread_mutex_unlock(&v->lock);
}

/* --- life ------------------------------------------------------------------------------------- */

/* Half of what this process may open is for others. */
static int most_slots(void)
{
    struct rlimit limit;
    bool few = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < VAULT_MOST;
    return few ? (int)(limit.rlim_cur / 2) : VAULT_MOST;
}

int vault_new(struct vault **out, const char *path)
{
    pthread_condattr_t by_mono;
    struct vault *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    *v = (struct vault){ .path = strdup(path), .dir = -1, .slots_most = most_slots() };
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
        close_synced(slot);
    }
    if (v->dir >= 0)
        close(v->dir);
    pthread_cond_destroy(&v->wake);
    pthread_mutex_destroy(&v->lock);
    free(v->path);
    free(v);
}
