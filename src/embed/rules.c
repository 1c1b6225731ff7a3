/* rules.c - the files of rules that a path means. See rules.h. */
#include "embed/rules.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTLED_NS (3 * NS_PER_SECOND)

static void mix(struct rule_files *files, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        files->looks = (files->looks ^ at[i]) * 0x100000001b3u; /* FNV-1a */
}

static int add(struct rule_files *files, const char *path, const struct stat *about)
{
    const int64_t facts[] = {
        (int64_t)about->st_ino, about->st_size,        about->st_mtim.tv_sec,
        about->st_mtim.tv_nsec, about->st_ctim.tv_sec, about->st_ctim.tv_nsec
    };
    if (files->len == RULES_FILES_MAX)
        return -E2BIG;
    if (files->len == files->cap) {
        int cap = files->cap ? files->cap * 2 : 64;
        char **more = realloc(files->paths, (size_t)cap * sizeof(char *));
        if (!more)
            return -ENOMEM;
        files->paths = more;
        files->cap = cap;
    }
    files->paths[files->len] = strdup(path);
    if (!files->paths[files->len])
        return -ENOMEM;
    files->len++;
    int64_t changed_ns = about->st_ctim.tv_sec * NS_PER_SECOND + about->st_ctim.tv_nsec;
    files->newest_ns = changed_ns > files->newest_ns ? changed_ns : files->newest_ns;
    mix(files, path, strlen(path) + 1);
    mix(files, facts, sizeof facts);
    return 0;
}

static bool is_rule(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot > name && (!strcmp(dot, ".yml") || !strcmp(dot, ".yaml"));
}

static int shown(const struct dirent *entry)
{
    return *entry->d_name != '.';
}

/* The same in every locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int find_below(struct rule_files *files, const char *path, int depth);

/* Links to directories are not followed: they may lead back up. */
static int take(struct rule_files *files, const char *directory, const char *name, int depth)
{
    char path[PATH_MAX];
    struct stat about;
    size_t len = strlen(directory);
    if (snprintf(path, sizeof path, "%s%s%s", directory,
                 len && directory[len - 1] == '/' ? "" : "/", name) >= (int)sizeof path)
        return 0;
    if (lstat(path, &about) < 0)
        return 0; /* gone since the directory was read */
    if (S_ISDIR(about.st_mode))
        return depth < RULES_DEPTH_MAX ? find_below(files, path, depth + 1) : 0;
    if (!is_rule(name) || (S_ISLNK(about.st_mode) && stat(path, &about) < 0) ||
        !S_ISREG(about.st_mode))
        return 0;
    return add(files, path, &about);
}

static int find_below(struct rule_files *files, const char *path, int depth)
{
    struct dirent **found = NULL;
    int n = scandir(path, &found, shown, by_bytes), result = 0;
    if (n < 0)
        return depth ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        if (result == 0)
            result = take(files, path, found[i]->d_name, depth);
        free(found[i]);
    }
    free(found);
    return result;
}

/* Timestamps stand still for some milliseconds, on some file systems for two seconds: what was
 * written so shortly before may look the same after the next write. */
static void mix_age(struct rule_files *files)
{
    int64_t now_ns = clock_real_ns();
    if (now_ns - files->newest_ns < SETTLED_NS)
        mix(files, &now_ns, sizeof now_ns);
}

int rules_find(struct rule_files *files, const char *path)
{
    struct stat about;
    files->looks = 0xcbf29ce484222325u;
    if (stat(path, &about) < 0)
        return -errno;
    int result = S_ISDIR(about.st_mode) ? find_below(files, path, 0) : add(files, path, &about);
    mix_age(files);
    if (!files->looks)
        files->looks = 1;
    return result < 0 ? result : files->len ? 0 : -ENODATA;
}

void rules_free(struct rule_files *files)
{
    for (int i = 0; i < files->len; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct rule_files){ 0 };
}

const char *rules_error(int error)
{
    return error == -ENODATA ? "there is no *.yml in it"
           : error == -E2BIG ? "there are more than 20,000 files in it"
           : error == -EFBIG ? "it is larger than 4 MiB"
                             : strerror(-error);
}
