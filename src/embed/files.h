/* files.h - the files of scripts that a path means. */
#ifndef EMBED_FILES_H
#define EMBED_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct script_file {
    char *path; /* owned */
    char *text; /* owned; NULL: it cannot be read, `error` says why */
    size_t len;
    int error; /* errno; ENODATA: it is a directory without scripts */
};

struct script_files {
    struct script_file *all; /* owned */
    int len;
    bool directory; /* one of the paths was a directory */
    bool failed;    /* no memory */
};

/* NAME_test.lua is the test of a script, not a script. */
bool files_is_test(const char *path);

/* Read the file, or each *.lua of the directory in the order of names. */
void files_add(struct script_files *files, const char *path);

/* Why there is no text. */
const char *files_error(const struct script_file *file);

void files_free(struct script_files *files);

#endif
