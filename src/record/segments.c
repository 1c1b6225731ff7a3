/* segments.c - the last hours of a watch in a directory. See segments.h. */
#include "record/segments.h"

#include "base/clock.h"
#include "record/writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES     16   /* that the room is for */
#define BEGINNING 4096 /* bytes of a file before its first frame, at most */
#define NAME      40

struct segments {
    int dir; /* borrowed, locked */
    uint64_t total, others,
        last; /* others: bytes of all files but this; last: number of this one */
    struct recording_head head;
    segments_known *known;
    void *ctx;
    int fd;                        /* owned; -1: no file could be begun */
    struct recording_writer *file; /* owned; NULL: the same */
    uint64_t missing;              /* events since then */
    int64_t retry_ns;
    int error;
    struct recording_counters before; /* of the files that are done, and of what came to none */
};

/* --- the directory ---------------------------------------------------------------------------- */

static void name_of(uint64_t number, char to[NAME])
{
    snprintf(to, NAME, "flight-%08" PRIu64 ".mwr", number);
}

/* Only a name that we would give. 0: it is none. With 12 digits there is no end to them. */
static uint64_t number_of(const char *name)
{
    char ours[NAME];
    uint64_t number = 0;
    if (sscanf(name, "flight-%12" SCNu64, &number) != 1)
        return 0;
    name_of(number, ours);
    return strcmp(ours, name) ? 0 : number;
}

/* Visit what has a name of ours; `bytes` is -1 of what is no file. 0, or -errno. */
typedef int visit_file(void *ctx, uint64_t number, int64_t bytes);

static int each_file(int dir, visit_file *visit, void *ctx)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        result = -errno;
        if (fd >= 0)
            close(fd);
        return result;
    }
    struct dirent *entry;
    struct stat about;
    while (!result && (entry = readdir(list)) != NULL) {
        uint64_t number = number_of(entry->d_name);
        if (number && !fstatat(dir, entry->d_name, &about, AT_SYMLINK_NOFOLLOW))
            result = visit(ctx, number, S_ISREG(about.st_mode) ? about.st_size : -1);
    }
    closedir(list);
    return result;
}

struct survey {
    uint64_t current; /* left out */
    uint64_t oldest, oldest_bytes, newest, sum, files;
};

static int survey_file(void *ctx, uint64_t number, int64_t bytes)
{
    struct survey *v = ctx;
    if (number > v->newest)
        v->newest = number;
    if (number == v->current || bytes < 0)
        return 0;
    v->sum += (uint64_t)bytes;
    v->files++;
    if (!v->oldest || number < v->oldest) {
        v->oldest = number;
        v->oldest_bytes = (uint64_t)bytes;
    }
    return 0;
}

/* Before so many bytes are written. Others may have removed files: what is there counts. */
static int make_room(void *ctx, size_t bytes)
{
    struct segments *s = ctx;
    uint64_t mine = s->file ? recording_count(s->file).bytes : 0;
    while (s->others + mine + bytes > s->total) {
        struct survey v = { .current = s->file ? s->last : 0 };
        char name[NAME];
        int result = each_file(s->dir, survey_file, &v);
        if (result < 0)
            return result;
        s->others = v.sum;
        if (s->others + mine + bytes <= s->total)
            return 0;
        if (!v.oldest)
            return -ENOSPC;
        name_of(v.oldest, name);
        if (unlinkat(s->dir, name, 0) < 0 && errno != ENOENT)
            return -errno;
        s->others -= v.oldest_bytes;
    }
    return 0;
}

/* --- files ------------------------------------------------------------------------------------ */

static void tell_known(void *to, const struct event *ev)
{
    struct segments *s = to;
    recording_event(s->file, ev, true);
}

static void add_counters(struct recording_counters *to, const struct recording_counters *from)
{
    to->events += from->events;
    to->notes += from->notes;
    to->dropped += from->dropped;
    to->notes_dropped += from->notes_dropped;
}

/* In the file that was made: all that its records need. 0, or -errno: it must go. */
static int put_known(struct segments *s)
{
    int result = recording_begin(&s->file, s->fd, &s->head);
    if (result < 0)
        return result;
    recording_ask_room(s->file, make_room, s);
    s->known(s->ctx, tell_known, s);
    recording_flush(s->file);
    result = -recording_count(s->file).error;
    if (!result)
        return 0;
    recording_end(s->file);
    s->file = NULL;
    return result;
}

/* The oldest go: one is about to begin. */
static int drop_too_many(struct segments *s, struct survey *v)
{
    while (v->files >= SEGMENTS_MOST) {
        char name[NAME];
        name_of(v->oldest, name);
        if (unlinkat(s->dir, name, 0) < 0 && errno != ENOENT)
            return -errno;
        *v = (struct survey){ 0 };
        int result = each_file(s->dir, survey_file, v);
        if (result < 0)
            return result;
    }
    return 0;
}

static int begin_file(struct segments *s)
{
    struct survey v = { 0 };
    char name[NAME];
    int result = each_file(s->dir, survey_file, &v);
    if (!result)
        result = drop_too_many(s, &v);
    s->others = v.sum;
    if (!result)
        result = make_room(s, BEGINNING);
    if (result < 0)
        return result;
    s->last = v.newest + 1;
    name_of(s->last, name);
    s->fd = openat(s->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return -errno;
    s->head.real_ns = clock_real_ns();
    s->head.mono_ns = clock_mono_ns();
    result = put_known(s);
    if (result < 0) {
        close(s->fd);
        s->fd = -1;
        unlinkat(s->dir, name, 0);
        return result;
    }
    if (s->missing)
        recording_gap(s->file, s->missing);
    s->missing = 0;
    return 0;
}

static int end_file(struct segments *s)
{
    if (!s->file)
        return 0;
    recording_flush(s->file);
    struct recording_counters count = recording_count(s->file);
    add_counters(&s->before, &count);
    int result = recording_end(s->file);
    if (result < 0)
        s->missing += count.untold;
    s->others += count.bytes;
    close(s->fd);
    s->fd = -1;
    s->file = NULL;
    return result;
}

static void next_file(struct segments *s)
{
    int64_t now = clock_mono_ns();
    end_file(s);
    if (s->error && now < s->retry_ns)
        return;
    s->error = -begin_file(s);
    s->retry_ns = now + NS_PER_SECOND;
}

int segments_open(struct segments **out, int dir, uint64_t total, const struct recording_head *head,
                  segments_known *known, void *ctx)
{
    if (total < SEGMENTS_LEAST)
        return -EINVAL;
    if (flock(dir, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    struct segments *s = calloc(1, sizeof *s);
    int result = -ENOMEM;
    if (s) {
        *s = (struct segments){
            .dir = dir, .total = total, .head = *head, .known = known, .ctx = ctx, .fd = -1
        };
        result = begin_file(s);
    }
    if (result < 0) {
        free(s);
        flock(dir, LOCK_UN);
        return result;
    }
    *out = s;
    return 0;
}

void segments_event(struct segments *s, const struct event *ev)
{
    if (s->file) {
        recording_event(s->file, ev, false);
        return;
    }
    s->missing++;
    s->before.dropped++;
}

void segments_note(struct segments *s, const struct recording_note *note)
{
    if (s->file)
        recording_note(s->file, note);
    else
        s->before.notes_dropped++;
}

void segments_gap(struct segments *s, uint64_t events)
{
    if (s->file)
        recording_gap(s->file, events);
    else
        s->missing += events;
}

void segments_flush(struct segments *s)
{
    if (s->file)
        recording_flush(s->file);
    if (!s->file || recording_count(s->file).bytes >= s->total / FILES)
        next_file(s);
}

struct recording_counters segments_count(const struct segments *s)
{
    struct recording_counters count = { .error = s->error, .untold = s->missing };
    if (s->file)
        count = recording_count(s->file);
    add_counters(&count, &s->before);
    count.bytes += s->others;
    return count;
}

int segments_close(struct segments *s)
{
    int result = s->file ? end_file(s) : -s->error;
    flock(s->dir, LOCK_UN);
    free(s);
    return result;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct numbers {
    uint64_t *number; /* owned */
    size_t len, cap;
};

static int note_number(void *ctx, uint64_t number, int64_t bytes)
{
    struct numbers *n = ctx;
    if (bytes < 0)
        return 0;
    if (n->len == n->cap) {
        size_t cap = n->cap ? 2 * n->cap : 32;
        uint64_t *more = realloc(n->number, cap * sizeof *more);
        if (!more)
            return -ENOMEM;
        n->number = more;
        n->cap = cap;
    }
    n->number[n->len++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int make_paths(const char *directory, const struct numbers *n, struct segments_list *out)
{
    size_t room = strlen(directory) + 1 + NAME;
    char name[NAME];
    out->path = calloc(n->len + 1, sizeof *out->path);
    if (!out->path)
        return -ENOMEM;
    for (; out->len < n->len; out->len++) {
        char *path = malloc(room);
        if (!path)
            return -ENOMEM;
        name_of(n->number[out->len], name);
        snprintf(path, room, "%s/%s", directory, name);
        out->path[out->len] = path;
    }
    return 0;
}

int segments_list(const char *directory, struct segments_list *out)
{
    struct numbers n = { 0 };
    *out = (struct segments_list){ 0 };
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = dir < 0 ? -errno : each_file(dir, note_number, &n);
    if (!result) {
        if (n.len)
            qsort(n.number, n.len, sizeof *n.number, by_number);
        result = make_paths(directory, &n, out);
    }
    if (result < 0)
        segments_list_free(out);
    free(n.number);
    if (dir >= 0)
        close(dir);
    return result;
}

void segments_list_free(struct segments_list *list)
{
    for (size_t i = 0; i < list->len; i++)
        free(list->path[i]);
    free(list->path);
    *list = (struct segments_list){ 0 };
}
