/* shelf_beside.c - reads what lies below a script's directory. See shelf.h; keeps nothing. */
#include "embed/shelf.h"

#include "embed/trail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_TRIES 5

static _Thread_local struct trail file; /* large, and its sentence outlives the call */

static int refuse(const char *relative, const char *what, int error)
{
    snprintf(file.why, sizeof file.why, "'%s' is not taken: %s", relative, what);
    return error;
}

static bool climbs(const char *path)
{
    for (; *path; path += strcspn(path, "/")) {
        path += strspn(path, "/");
        if (!strncmp(path, "..", 2) && (!path[2] || path[2] == '/'))
            return true;
    }
    return false;
}

static bool is_below(const struct trail *inside, const struct trail *dir)
{
    char inner[PATH_MAX], outer[PATH_MAX];
    trail_real(inside, inner);
    trail_real(dir, outer);
    size_t len = strlen(outer);
    if (len == 1) /* the root */
        len = 0;
    return *outer && *inner && !strncmp(inner, outer, len) && inner[len] == '/';
}

/* Both were followed through directories that nobody else can change, so their places do not move
 * between the two; openat2 with RESOLVE_BENEATH would add nothing. */
static int judge(const char *dir_path, const char *relative)
{
    struct trail dir;
    int result = trail_follow(&dir, dir_path, dir_path, NULL, NULL);
    if (result < 0)
        return refuse(relative, "its directory is gone", result);
    bool below = is_below(&file, &dir);
    trail_close(&dir);
    if (!below)
        return refuse(relative, "it leads out of the script's directory", -EPERM);
    return S_ISREG(file.about.st_mode) ? 0 : refuse(relative, "it is not a file", -EINVAL);
}

static int read_once(const char *path, const char *absolute, const char *dir, const char *relative,
                     struct buf *out)
{
    int result = trail_follow(&file, path, absolute, NULL, NULL);
    if (result < 0)
        return result;
    result = judge(dir, relative);
    if (result == 0)
        result = trail_read(&file, path, SHELF_BESIDE_MAX, out);
    trail_close(&file);
    return result;
}

int shelf_read_beside(const char *script, const char *relative, struct buf *out, char *resolved,
                      size_t cap, const char **why)
{
    char dir[PATH_MAX], absolute[PATH_MAX];
    *why = file.why;
    if (cap)
        *resolved = '\0';
    if (!*relative || *relative == '/' || climbs(relative))
        return refuse(relative, "it is not below the script's directory", -EPERM);
    const char *slash = strrchr(script, '/');
    int dir_len = slash ? (int)(slash - script) + 1 : 0;
    if (snprintf(resolved, cap, "%.*s%s", dir_len, script, relative) >= (int)cap ||
        trail_absolute(script, dir) < 0 || trail_absolute(resolved, absolute) < 0)
        return refuse(relative, "its path is too long", -ENAMETOOLONG);
    slash = strrchr(dir, '/');
    dir[slash == dir ? 1 : slash - dir] = '\0';

    int result = -EAGAIN;
    for (int i = 0; i < READ_TRIES && result == -EAGAIN; i++)
        result = read_once(resolved, absolute, dir, relative, out);
    return result;
}
