/* reel.c - the recordings of one path, read as one. See reel.h. */
#include "embed/reel.h"

#include "record/segments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct reel {
    struct recording **files; /* owned, as they are */
    int len, at;
};

/* --- opening ------------------------------------------------------------------------------------- */

static int open_file(struct reel *r, const char *path, char *why, size_t cap)
{
    struct recording **files = realloc(r->files, (size_t)(r->len + 1) * sizeof *files);
    if (!files)
        return -ENOMEM;
    r->files = files;
    int result = recording_open(&files[r->len], path, why, cap);
    if (result < 0)
        return result == -ENOMEM ? result : -ENOENT;
    r->len++;
    return 0;
}

static int open_directory(struct reel *r, const char *path, char *why, size_t cap)
{
    struct segments_list list = { 0 };
    int result = segments_list(path, &list);
    if (result == -ENOMEM)
        return result;
    if (result < 0 || !list.len) {
        snprintf(why, cap, "%s: %s", path,
                 result < 0 ? strerror(-result) : "there is no recording of a flight recorder in it");
        result = -ENOENT;
    }
    for (size_t i = 0; i < list.len && result == 0; i++)
        result = open_file(r, list.path[i], why, cap);
    segments_list_free(&list);
    return result;
}

int reel_open(struct reel **out, const char *path, char *why, size_t cap)
{
    struct stat about;
    struct reel *r = calloc(1, sizeof *r);
    int result = r ? 0 : -ENOMEM;
    if (r && stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        result = open_directory(r, path, why, cap);
    else if (r)
        result = open_file(r, path, why, cap);
    if (result == -ENOMEM)
        snprintf(why, cap, "not enough memory for %s", path);
    if (result < 0) {
        reel_close(r);
        return result;
    }
    *out = r;
    return 0;
}

void reel_close(struct reel *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->len; i++)
        recording_close(r->files[i]);
    free(r->files);
    free(r);
}

/* --- reading ------------------------------------------------------------------------------------- */

int reel_next(struct reel *r, struct event_box *box, uint64_t *missing)
{
    while (r->at < r->len) {
        int got = recording_next(r->files[r->at], box, missing);
        if (got == 2 && r->at > 0)
            continue;
        if (got > 0 || got == -EOVERFLOW || got == -EBADMSG)
            return got;
        r->at++; /* what is left of this one cannot be read */
    }
    return 0;
}

void reel_rewind(struct reel *r)
{
    for (int i = 0; i < r->len; i++)
        recording_rewind(r->files[i]);
    r->at = 0;
}

int64_t reel_first_ns(const struct reel *r)
{
    for (int i = 0; i < r->len; i++)
        if (recording_about(r->files[i])->first_ns)
            return recording_about(r->files[i])->first_ns;
    return recording_head(r->files[0])->real_ns;
}

int64_t reel_last_ns(const struct reel *r)
{
    for (int i = r->len - 1; i >= 0; i--)
        if (recording_about(r->files[i])->last_ns)
            return recording_about(r->files[i])->last_ns;
    return recording_head(r->files[0])->real_ns;
}

int reel_notes(struct reel *r, recording_visit *visit, void *ctx)
{
    int result = 0;
    for (int i = 0; i < r->len && result == 0; i++)
        result = recording_notes(r->files[i], visit, ctx);
    return result;
}
