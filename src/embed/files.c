/* files.c - the files of scripts that a path means. See files.h. */
#include "embed/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRIPT_MAX (4 * 1024 * 1024)
#define TEST_END   "_test.lua"

bool files_is_test(const char *path)
{
    size_t len = strlen(path), end = sizeof TEST_END - 1;
    return len > end && path[len - end - 1] != '/' && !strcmp(path + len - end, TEST_END);
}

/* The whole text, NUL-ended; NULL with errno. */
static char *read_all(int fd, size_t *len)
{
    char *text = malloc(SCRIPT_MAX + 1);
    ssize_t got = 0;
    *len = 0;
    while (text && *len <= SCRIPT_MAX && (got = read(fd, text + *len, SCRIPT_MAX + 1 - *len)) > 0)
        *len += (size_t)got;
    if (text && got == 0) {
        text[*len] = '\0';
        char *fitted = realloc(text, *len + 1);
        return fitted ? fitted : text;
    }
    int error = !text ? ENOMEM : got < 0 ? errno : EFBIG;
    free(text);
    errno = error;
    return NULL;
}

static void add_file(struct script_files *files, const char *path, int fd)
{
    struct script_file *more = realloc(files->all, (size_t)(files->len + 1) * sizeof *more);
    struct script_file file = { .path = strdup(path), .error = errno };
    if (more)
        files->all = more;
    if (!more || !file.path) {
        free(file.path);
        files->failed = true;
        return;
    }
    if (fd >= 0) {
        file.text = read_all(fd, &file.len);
        file.error = file.text ? 0 : errno;
    }
    more[files->len++] = file;
}

/* What an editor or a person has hidden is none. */
static int is_script(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return *entry->d_name != '.' && len > 4 && !strcmp(entry->d_name + len - 4, ".lua");
}

/* The same in every locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_named(struct script_files *files, const char *directory, const char *name)
{
    char path[PATH_MAX];
    int fd = -1;
    errno = ENAMETOOLONG;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    add_file(files, path, fd);
    if (fd >= 0)
        close(fd);
}

static void add_directory(struct script_files *files, const char *path)
{
    struct dirent **found = NULL;
    files->directory = true;
    int n = scandir(path, &found, is_script, by_bytes);
    if (n <= 0) {
        errno = n == 0 ? ENODATA : errno;
        add_file(files, path, -1);
    }
    for (int i = 0; i < n; i++) {
        add_named(files, path, found[i]->d_name);
        free(found[i]);
    }
    free(found);
}

void files_add(struct script_files *files, const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode))
        add_directory(files, path);
    else
        add_file(files, path, fd);
    if (fd >= 0)
        close(fd);
}

const char *files_error(const struct script_file *file)
{
    return file->error == EFBIG     ? "it is larger than 4 MiB"
           : file->error == ENODATA ? "there is no *.lua in it"
                                    : strerror(file->error);
}

void files_free(struct script_files *files)
{
    while (files->len) {
        struct script_file *file = &files->all[--files->len];
        free(file->path);
        free(file->text);
    }
    free(files->all);
    *files = (struct script_files){ 0 };
}
