/* rules_beside.c - reads the rules that lie below a script's directory. See rules.h. */
#include "embed/rules.h"

#include "embed/shelf.h"
#include "host/request.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define TEXTS_MAX ((size_t)32 << 20)

/* "/etc/moonwatch/x.lua" and "rules": where they are, and how much of it is the script's directory.
 */
static int find_base(const char *script, const char *relative, char path[PATH_MAX], size_t *base)
{
    const char *slash = strrchr(script, '/');
    bool itself = !strcmp(relative, ".");
    *base = slash ? (size_t)(slash - script) + 1 : 0;
    int len =
        snprintf(path, PATH_MAX, "%.*s%s", (int)*base, script, itself && *base ? "" : relative);
    if (*base == 0 && itself)
        *base = 2; /* "./x.yml" */
    return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* One file; what cannot be taken is told in its place. */
static int add_file(const char *script, const char *path, size_t base, struct buf *out)
{
    char resolved[PATH_MAX];
    const char *why = "";
    struct request_rules_file head = { .path_len = (uint32_t)strlen(path) };
    size_t at = out->len;
    buf_add(out, &head, sizeof head);
    buf_add(out, path, head.path_len);
    size_t text = out->len;
    int result = shelf_read_beside(script, path + base, out, resolved, sizeof resolved, &why);
    if (result == -ENOENT) { /* gone since the directory was read */
        out->len = at;
        return 0;
    }
    if (result < 0) {
        out->len = text;
        head.refused = 1;
        buf_puts(out, why);
    }
    if (out->failed || out->len > TEXTS_MAX)
        return out->failed ? -ENOMEM : -EFBIG;
    head.text_len = (uint32_t)(out->len - text);
    memcpy(out->data + at, &head, sizeof head);
    return 0;
}

int rules_read_beside(const char *script, const char *relative, uint64_t known, struct buf *out)
{
    char path[PATH_MAX];
    size_t base, from = out->len;
    struct rule_files files = { 0 };
    struct request_rules_seen seen = { 0 };
    if (*relative == '/' || strstr(relative, ".."))
        return -EPERM;
    int result = find_base(script, relative, path, &base);
    if (result == 0)
        result = rules_find(&files, path);
    seen.looks = files.looks;
    buf_add(out, &seen, sizeof seen);
    for (int i = 0; i < files.len && result == 0 && seen.looks != known; i++)
        result = add_file(script, files.paths[i], base, out);
    rules_free(&files);
    if (result < 0 || out->failed)
        return result < 0 ? result : -ENOMEM;
    seen.hash = shelf_hash(out->data + from + sizeof seen, out->len - from - sizeof seen);
    memcpy(out->data + from, &seen, sizeof seen);
    return 0;
}
