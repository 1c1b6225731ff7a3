/* rules.h - the files of rules that a path means: itself, or each *.yml and *.yaml below it.
 *
 * Names only, in the order of their bytes; who reads the files says whom he trusts. What a
 * directory looks like is one number, which is another when something below it was written, came or
 * went. */
#ifndef EMBED_RULES_H
#define EMBED_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULES_FILES_MAX 20000
#define RULES_DEPTH_MAX 16
#define RULES_TEXT_MAX  ((size_t)4 << 20) /* bytes of one file */

struct rule_files {
    char **paths; /* owned, and what they point to */
    int len, cap;
    uint64_t looks; /* never 0 */
    bool directory;
};

/* Into a zeroed one. 0; -errno of the path itself; -ENODATA: a directory without any; -E2BIG: there
 * are too many; -ENOMEM. */
int rules_find(struct rule_files *files, const char *path);
void rules_free(struct rule_files *files);

/* Why there is none. */
const char *rules_error(int error);

#endif
