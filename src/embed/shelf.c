/* shelf.c - the scripts that the operator named. See shelf.h. */
#include "embed/shelf.h"

#include "base/clock.h"
#include "base/log.h"
#include "embed/lookout.h"
#include "embed/trail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A timestamp stands still for some milliseconds, on some file systems for two seconds: a file
 * that was written so shortly before it was read may look the same after the next write. */
#define SETTLED_NS (3 * NS_PER_SECOND)

#define WRITERS_TURNS 12 /* who keeps a file open for so many looks is not saving it */
#define READ_TRIES    5
#define MOVING_TURNS  3

/* What a file was when it was read. */
struct print {
    uint64_t hash; /* 0: never read */
    struct stat about;
    bool settled; /* the same `about` means the same content */
};

struct source {
    char *path, *absolute; /* owned */
    char *complaint;       /* owned; told last, NULL: none */
    int tag;
    bool directory; /* when it was looked at last */
    bool once;      /* a pipe: cannot be read again */
    bool missing;   /* and that was told */
    bool unseen;    /* nobody can say what is in it now: what was stays */
};

struct entry {
    char *path, *absolute; /* owned */
    char *complaint;       /* owned; told last, NULL: it is good */
    int source;
    struct print print;
    bool told;     /* SHELF_ADDED was */
    bool present;  /* in this look */
    bool affected; /* what it depends on changed */
    int missing;   /* in so many looks */
    int writing;
    int needs; /* so many */
};

struct need {
    struct entry *script;
    char *absolute; /* owned */
    struct print print;
    int writing;
};

struct shelf {
    shelf_sink *sink;
    void *ctx;
    struct lookout *lookout;
    struct source *sources; /* owned */
    int sources_len;
    struct entry **entries; /* owned, by source and path */
    int entries_len;
    struct need *needs; /* owned */
    int needs_len;
    bool patient; /* this look is one of many: what is in motion is left to the next */
    bool again;   /* something was */
    int moving;   /* looks in a row in which a script was away for the first time */
    bool crowded; /* there were more than there may be */
    int told;     /* in this look */
    int shared;   /* scripts that were found and belong to a path before */
    struct buf text;
    struct trail trail; /* the one that is followed now; its sentence outlives it */
};

uint64_t shelf_hash(const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash ? hash : 1;
}

/* --- telling ------------------------------------------------------------------------------- */

static void tell(struct shelf *s, enum shelf_change change, const char *path, int tag,
                 const struct print *print, const char *why)
{
    struct shelf_script script = { .path = path, .tag = tag, .why = why };
    if (change == SHELF_ADDED || change == SHELF_CHANGED) {
        script.text = s->text.data;
        script.len = s->text.len;
        script.hash = print->hash;
    }
    s->told++;
    s->sink(s->ctx, change, &script);
}

/* Each complaint once. */
static void complain(struct shelf *s, char **last, const char *path, int tag, const char *why)
{
    if (*last && !strcmp(*last, why))
        return;
    free(*last);
    *last = strdup(why);
    tell(s, SHELF_REFUSED, path, tag, NULL, why);
}

static void content(char **complaint)
{
    free(*complaint);
    *complaint = NULL;
}

/* --- following and reading ----------------------------------------------------------------- */

static void on_step(void *ctx, int dir, const struct stat *about, const char *name)
{
    lookout_at(ctx, dir, about, name);
}

static int follow(struct shelf *s, const char *name, const char *absolute)
{
    return trail_follow(&s->trail, name, absolute, on_step, s->lookout);
}

static bool looks_the_same(const struct print *print, const struct stat *about)
{
    return print->hash && print->settled && trail_same(&print->about, about);
}

static void take_print(struct print *print, const struct shelf *s)
{
    const struct timespec *changed = &s->trail.about.st_ctim;
    int64_t age_ns = clock_real_ns() - (changed->tv_sec * NS_PER_SECOND + changed->tv_nsec);
    print->hash = shelf_hash(s->text.data, s->text.len);
    print->about = s->trail.about;
    print->settled = age_ns > SETTLED_NS;
}

/* A file that somebody is writing now is left for the next look, but not for ever. */
static bool wait_for_writer(struct shelf *s, int *turns)
{
    if (!s->patient || !trail_being_written(&s->trail) || ++*turns > WRITERS_TURNS) {
        *turns = 0;
        return false;
    }
    return s->again = true;
}

/* Into s->text. -EAGAIN: the next look may have more luck. Closes the trail. */
static int read_text(struct shelf *s, const char *name, const char *absolute, size_t most)
{
    int result = -EAGAIN;
    for (int i = 0; i < READ_TRIES && result == -EAGAIN; i++) {
        if (i && (result = follow(s, name, absolute)) < 0)
            return result;
        buf_clear(&s->text);
        result = trail_read(&s->trail, name, most, &s->text);
        trail_close(&s->trail);
    }
    s->again |= result == -EAGAIN;
    return result;
}

static int sentence(struct shelf *s, int error, const char *name, const char *what)
{
    snprintf(s->trail.why, sizeof s->trail.why, "%s %s", name, what);
    return error;
}

/* Read the script if there can be news of it. 1: read; 0: as it was, or not to be read now; or
 * -errno with a sentence. */
static int read_entry(struct shelf *s, struct entry *e)
{
    int result = follow(s, e->path, e->absolute);
    if (result < 0)
        return result;
    bool known = e->told && !e->affected && !e->complaint;
    if (!S_ISREG(s->trail.about.st_mode))
        result = sentence(s, -EINVAL, e->path, "is not taken: it is not a file");
    else if (!(known && looks_the_same(&e->print, &s->trail.about)) &&
             !wait_for_writer(s, &e->writing))
        result = read_text(s, e->path, e->absolute, SHELF_SCRIPT_MAX);
    else {
        trail_close(&s->trail);
        return 0;
    }
    trail_close(&s->trail);
    return result < 0 ? result : 1;
}

static void tell_entry(struct shelf *s, struct entry *e)
{
    uint64_t before = e->print.hash;
    take_print(&e->print, s);
    bool news = !e->told || e->affected || e->complaint || e->print.hash != before;
    enum shelf_change change = e->told ? SHELF_CHANGED : SHELF_ADDED;
    content(&e->complaint);
    e->affected = false;
    e->told = true;
    if (news)
        tell(s, change, e->path, s->sources[e->source].tag, &e->print, NULL);
}

static void look_at(struct shelf *s, struct entry *e)
{
    int result = read_entry(s, e);
    if (result == 1)
        tell_entry(s, e);
    else if (result == -ENOENT && s->trail.gone)
        s->again = true; /* gone since the directory was read */
    else if (result < 0 && result != -EAGAIN)
        complain(s, &e->complaint, e->path, s->sources[e->source].tag, s->trail.why);
}

/* --- entries ------------------------------------------------------------------------------- */

static int compare(const struct entry *e, int source, const char *path)
{
    return e->source != source ? e->source - source : strcmp(e->path, path);
}

/* Where it is, or would be. */
static int position(const struct shelf *s, int source, const char *path)
{
    int from = 0, to = s->entries_len;
    while (from < to) {
        int middle = from + (to - from) / 2;
        if (compare(s->entries[middle], source, path) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool anybody_has(const struct shelf *s, const char *absolute)
{
    for (int i = 0; i < s->entries_len; i++)
        if (!strcmp(s->entries[i]->absolute, absolute))
            return true;
    return false;
}

static void free_entry(struct entry *e)
{
    if (!e)
        return;
    free(e->path);
    free(e->absolute);
    free(e->complaint);
    free(e);
}

static struct entry *new_entry(struct shelf *s, int source, const char *path, const char *absolute)
{
    struct entry **more = realloc(s->entries, (size_t)(s->entries_len + 1) * sizeof *more);
    if (!more)
        return NULL;
    s->entries = more;
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->source = source;
    e->path = strdup(path);
    e->absolute = strdup(absolute);
    if (!e->path || !e->absolute) {
        free_entry(e);
        return NULL;
    }
    int at = position(s, source, path);
    memmove(more + at + 1, more + at, (size_t)(s->entries_len - at) * sizeof *more);
    more[at] = e;
    s->entries_len++;
    return e;
}

/* The script is there. 0, -E2BIG or -ENOMEM with a sentence. */
static int find(struct shelf *s, int source, const char *path, const char *absolute)
{
    int at = position(s, source, path);
    struct entry *e =
        at < s->entries_len && compare(s->entries[at], source, path) == 0 ? s->entries[at] : NULL;
    if (!e && anybody_has(s, absolute)) {
        s->shared++;
        return 0;
    }
    if (!e && s->entries_len == SHELF_SCRIPTS_MAX) {
        snprintf(s->trail.why, sizeof s->trail.why,
                 "%s and what comes after it is not taken: there are more than %d scripts", path,
                 SHELF_SCRIPTS_MAX);
        return -E2BIG;
    }
    if (!e && !(e = new_entry(s, source, path, absolute)))
        return sentence(s, -ENOMEM, path, "is not taken: not enough memory");
    e->present = true;
    e->missing = 0;
    return 0;
}

static void drop_needs(struct shelf *s, const struct entry *script)
{
    int kept = 0;
    for (int i = 0; i < s->needs_len; i++) {
        if (script && s->needs[i].script != script)
            s->needs[kept++] = s->needs[i];
        else
            free(s->needs[i].absolute);
    }
    s->needs_len = kept;
}

static void drop_entry(struct shelf *s, int at)
{
    struct entry *e = s->entries[at];
    drop_needs(s, e);
    memmove(s->entries + at, s->entries + at + 1,
            (size_t)(s->entries_len - at - 1) * sizeof *s->entries);
    s->entries_len--;
    free_entry(e);
}

/* Editors move a file away before its next version comes: who is missing in one look may be back
 * in the next. Returns whether one is missing for the first time. */
static bool remove_missing(struct shelf *s)
{
    bool moving = false;
    for (int i = 0; i < s->entries_len; i++) {
        struct entry *e = s->entries[i];
        if (e->present || s->sources[e->source].unseen)
            continue;
        if (s->patient && e->missing++ == 0) {
            moving = true;
            continue;
        }
        if (e->told || e->complaint)
            tell(s, SHELF_REMOVED, e->path, s->sources[e->source].tag, NULL, NULL);
        drop_entry(s, i--);
        s->again |= s->crowded;
    }
    return moving;
}

/* --- sources ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int take_names(DIR *dir, char ***names)
{
    struct dirent *entry;
    int len = 0;
    while ((entry = readdir(dir))) {
        if (!lookout_script(entry->d_name))
            continue;
        char **more = realloc(*names, (size_t)(len + 1) * sizeof *more);
        if (!more)
            break;
        *names = more;
        if (!(more[len] = strdup(entry->d_name)))
            break;
        len++;
    }
    if (len)
        qsort(*names, (size_t)len, sizeof **names, compare_names);
    return len;
}

static int find_name(struct shelf *s, int source, const char *name)
{
    char path[PATH_MAX], absolute[PATH_MAX];
    const struct source *from = &s->sources[source];
    size_t len = strlen(from->path);
    const char *slash = len && from->path[len - 1] == '/' ? "" : "/";
    if (snprintf(path, sizeof path, "%s%s%s", from->path, slash, name) >= (int)sizeof path ||
        snprintf(absolute, sizeof absolute, "%s/%s", from->absolute, name) >= (int)sizeof absolute)
        return sentence(s, -ENAMETOOLONG, from->path, "has a script with too long a path");
    return find(s, source, path, absolute);
}

/* The directory that the trail led to. Takes the trail's descriptor. */
static int list_directory(struct shelf *s, int source)
{
    char link[32];
    lookout_at(s->lookout, s->trail.fd, &s->trail.about, NULL);
    snprintf(link, sizeof link, "/proc/self/fd/%d", s->trail.fd);
    DIR *dir = opendir(link);
    int result = dir ? 0 : -errno;
    trail_close(&s->trail);
    if (!dir) {
        snprintf(s->trail.why, sizeof s->trail.why, "cannot read %s: %s", s->sources[source].path,
                 strerror(-result));
        return result;
    }
    char **names = NULL;
    int len = take_names(dir, &names);
    closedir(dir);
    for (int i = 0; i < len; i++) {
        if (result == 0)
            result = find_name(s, source, names[i]);
        free(names[i]);
    }
    free(names);
    return result;
}

/* Mark what is there. 0, or -errno with a sentence. */
static int list(struct shelf *s, int source)
{
    struct source *from = &s->sources[source];
    int result = follow(s, from->path, from->absolute);
    if (result < 0)
        return result;
    from->directory = S_ISDIR(s->trail.about.st_mode);
    if (from->directory)
        return list_directory(s, source);
    trail_close(&s->trail);
    return find(s, source, from->path, from->absolute);
}

static void warn_missing(struct source *from)
{
    if (!from->missing)
        log_warn("%s is not there any more: what was read last goes on", from->path);
    from->missing = true;
}

static void retell(struct shelf *s, int source)
{
    for (int i = 0; i < s->entries_len; i++)
        s->entries[i]->affected |= s->entries[i]->source == source;
}

/* A file that is gone was removed. A directory that is gone, or a file with its directory, says
 * nothing about what the operator wants. */
static void list_or_keep(struct shelf *s, int source)
{
    struct source *from = &s->sources[source];
    from->unseen = from->once;
    if (from->once)
        return;
    int result = list(s, source);
    if (result == 0) {
        from->missing = false;
        if (from->complaint && !from->directory)
            retell(s, source);
        content(&from->complaint);
        return;
    }
    bool removed = result == -ENOENT && s->trail.gone && !from->directory;
    s->crowded |= result == -E2BIG;
    from->unseen = !removed && result != -E2BIG;
    if (removed)
        return;
    if (result == -ENOENT)
        warn_missing(from);
    else
        complain(s, &from->complaint, from->path, from->tag, s->trail.why);
}

/* --- needs --------------------------------------------------------------------------------- */

/* A file that is missing or refused is no reason to load a script again: it could not be. */
static void look_at_need(struct shelf *s, struct need *need)
{
    if (follow(s, need->absolute, need->absolute) < 0)
        return;
    bool read = S_ISREG(s->trail.about.st_mode) && !looks_the_same(&need->print, &s->trail.about) &&
                !wait_for_writer(s, &need->writing) &&
                read_text(s, need->absolute, need->absolute, SHELF_BESIDE_MAX) == 0;
    trail_close(&s->trail);
    if (!read)
        return;
    uint64_t before = need->print.hash;
    take_print(&need->print, s);
    need->script->affected |= need->print.hash != before;
}

static struct entry *entry_of(const struct shelf *s, const char *path)
{
    for (int i = 0; i < s->entries_len; i++)
        if (!strcmp(s->entries[i]->path, path))
            return s->entries[i];
    return NULL;
}

/* Read again since: what it is now is compared with the later one. */
static bool renew_need(struct shelf *s, const struct entry *script, const char *absolute,
                       uint64_t hash)
{
    for (int i = 0; i < s->needs_len; i++) {
        struct need *need = &s->needs[i];
        if (need->script != script || strcmp(need->absolute, absolute))
            continue;
        if (need->print.hash != hash)
            need->print = (struct print){ .hash = hash };
        return true;
    }
    return false;
}

int shelf_depends(struct shelf *s, const char *script, const char *file, uint64_t hash)
{
    char absolute[PATH_MAX];
    struct entry *e = entry_of(s, script);
    int result = trail_absolute(file, absolute);
    if (!e || result < 0)
        return e ? result : -ENOENT;
    if (renew_need(s, e, absolute, hash))
        return 0;
    if (s->needs_len == SHELF_NEEDS_MAX || e->needs == SHELF_NEEDS_EACH)
        return -ENOSPC;
    struct need *more = realloc(s->needs, (size_t)(s->needs_len + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    s->needs = more;
    char *copy = strdup(absolute);
    if (!copy)
        return -ENOMEM;
    more[s->needs_len++] = (struct need){ .script = e, .absolute = copy, .print.hash = hash };
    e->needs++;
    lookout_again(s->lookout); /* it may have changed since it was read, and is not watched yet */
    return 0;
}

/* --- looking ------------------------------------------------------------------------------- */

static void look_at_all(struct shelf *s)
{
    for (int i = 0; i < s->needs_len; i++)
        look_at_need(s, &s->needs[i]);
    for (int i = 0; i < s->entries_len; i++)
        if (s->entries[i]->present)
            look_at(s, s->entries[i]);
}

/* What is gone first: a script that was renamed is gone before it is there. So while one may be on
 * its way, nothing else is told either. */
static int look(struct shelf *s, bool patient)
{
    s->patient = patient;
    s->again = s->crowded = false;
    s->shared = 0;
    s->told = 0;
    for (int i = 0; i < s->entries_len; i++)
        s->entries[i]->present = false;

    lookout_begin(s->lookout);
    for (int i = 0; i < s->sources_len; i++)
        list_or_keep(s, i);
    bool moving = remove_missing(s);
    s->again |= moving;
    s->moving = moving ? s->moving + 1 : 0;
    if (!moving || s->moving > MOVING_TURNS)
        look_at_all(s);
    lookout_end(s->lookout);
    if (s->again)
        lookout_again(s->lookout);
    return s->told;
}

static void on_look(void *ctx)
{
    look(ctx, true);
}

int shelf_check(struct shelf *s)
{
    return look(s, false);
}

int shelf_watch(struct shelf *s, struct ev_loop *loop)
{
    int result = lookout_start(s->lookout, loop);
    if (result == 0)
        look(s, true);
    return result;
}

/* --- adding -------------------------------------------------------------------------------- */

static void free_source(struct source *from)
{
    free(from->path);
    free(from->absolute);
    free(from->complaint);
}

static int new_source(struct shelf *s, const char *path, int tag)
{
    char absolute[PATH_MAX];
    int result = trail_absolute(path, absolute);
    if (result < 0)
        return result;
    struct source *more = realloc(s->sources, (size_t)(s->sources_len + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    s->sources = more;
    struct source from = { .path = strdup(path), .absolute = strdup(absolute), .tag = tag };
    if (!from.path || !from.absolute) {
        free_source(&from);
        return -ENOMEM;
    }
    more[s->sources_len++] = from;
    return 0;
}

static void drop_last_source(struct shelf *s)
{
    int last = s->sources_len - 1;
    for (int i = s->entries_len - 1; i >= 0 && s->entries[i]->source == last; i--)
        drop_entry(s, i);
    free_source(&s->sources[last]);
    s->sources_len = last;
}

static int add_directory(struct shelf *s, int source)
{
    int before = s->entries_len, added = 0;
    int result = list_directory(s, source);
    if (result < 0 && result != -E2BIG)
        return result;
    if (result < 0)
        complain(s, &s->sources[source].complaint, s->sources[source].path, s->sources[source].tag,
                 s->trail.why);
    for (int i = before; i < s->entries_len; i++) {
        look_at(s, s->entries[i]);
        added += s->entries[i]->told;
    }
    return added + s->shared;
}

/* What is not a regular file is read as a stream, once. */
static int add_file(struct shelf *s, int source)
{
    struct source *from = &s->sources[source];
    int before = s->entries_len;
    int result = find(s, source, from->path, from->absolute);
    if (result < 0 || s->entries_len == before) {
        trail_close(&s->trail);
        return result < 0 ? result : s->shared;
    }
    from->once = !S_ISREG(s->trail.about.st_mode);
    result = read_text(s, from->path, from->absolute, SHELF_SCRIPT_MAX);
    if (result < 0)
        return result;
    tell_entry(s, s->entries[before]);
    return 1;
}

int shelf_add(struct shelf *s, const char *path, int tag, const char **why)
{
    int result = new_source(s, path, tag);
    if (result < 0) {
        snprintf(s->trail.why, sizeof s->trail.why, "cannot read '%s': %s", path,
                 strerror(-result));
        *why = s->trail.why;
        return result;
    }
    int source = s->sources_len - 1;
    s->patient = false;
    s->shared = 0;
    result = follow(s, path, s->sources[source].absolute);
    if (result == 0) {
        s->sources[source].directory = S_ISDIR(s->trail.about.st_mode);
        result = s->sources[source].directory ? add_directory(s, source) : add_file(s, source);
    }
    if (result < 0) {
        *why = s->trail.why;
        drop_last_source(s);
    }
    return result;
}

int shelf_expect(struct shelf *s, const char *path, int tag)
{
    int result = new_source(s, path, tag);
    if (result == 0)
        s->sources[s->sources_len - 1].missing = true;
    if (result == 0)
        lookout_again(s->lookout);
    return result;
}

/* --- life ---------------------------------------------------------------------------------- */

int shelf_new(struct shelf **out, shelf_sink *sink, void *ctx)
{
    struct shelf *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->sink = sink;
    s->ctx = ctx;
    s->trail.fd = -1;
    int result = lookout_new(&s->lookout, on_look, s);
    if (result < 0)
        free(s);
    else
        *out = s;
    return result;
}

void shelf_free(struct shelf *s)
{
    if (!s)
        return;
    lookout_free(s->lookout);
    drop_needs(s, NULL);
    while (s->entries_len)
        drop_entry(s, s->entries_len - 1);
    for (int i = 0; i < s->sources_len; i++)
        free_source(&s->sources[i]);
    free(s->needs);
    free(s->entries);
    free(s->sources);
    buf_free(&s->text);
    free(s);
}
