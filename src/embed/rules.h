/* rules.h - the files of rules that a path means: itself, or each *.yml and *.yaml below it.
 *
 * Names only, in the order of their bytes; who reads the files says whom he trusts. What a
 * directory looks like is one number, which is another when something below it was written, came or
 * went. */
#ifndef EMBED_RULES_H
#define EMBED_RULES_H

#include "base/buf.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define RULES_FILES_MAX 20000
#define RULES_DEPTH_MAX 16
#define RULES_TEXT_MAX  ((size_t)4 << 20) /* bytes of one file */

struct rule_files {
    char **paths; /* owned, and what they point to */
    int len, cap;
    uint64_t looks;    /* never 0; for some seconds after a change another one each time */
    int64_t newest_ns; /* when the last of them was changed */
};

/* Into a zeroed one. 0; -errno of the path itself; -ENODATA: a directory without any; -E2BIG: there
 * are too many; -ENOMEM. */
int rules_find(struct rule_files *files, const char *path);
void rules_free(struct rule_files *files);

/* The answer to a struct request_rules: `relative` is below the directory of a script, and nobody else
 * could have written what is read. 0, or -errno. */
int rules_read_beside(const char *script, const char *relative, uint64_t known, struct buf *out);

/* The script that stands for the rules of a path. */
struct rule_script {
    int number;           /* in the watch, from 1 */
    char name[PATH_MAX + 32]; /* "@/etc/sigma/sigma" */
    struct buf text;      /* owned by the caller */
    char why[PATH_MAX + 256];
};

/* `placeholders` are texts "NAME=VALUE". 0, or -errno with a sentence in `why`. */
int rules_script(struct rule_script *script, const char *path, const char *const *placeholders,
                 int placeholders_len);

/* Why there is none. */
const char *rules_error(int error);

#endif
