/* test.c - runs the tests of scripts: finds which test belongs to which script. */
#include "moonwatch.h"

#include "embed/files.h"
#include "embed/rules.h"
#include "embed/shelf.h"
#include "host/rehearsal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct testing {
    const char *script;
    moonwatch_tested *tested;
    void *ctx;
};

static void ended(void *ctx, const struct rehearsal_result *r)
{
    const struct testing *t = ctx;
    struct moonwatch_tested_case result = {
        .script = t->script, .name = r->name, .passed = r->passed, .why = r->why, .output = r->output
    };
    t->tested(t->ctx, &result);
}

static int answer_rules(const struct testing *t, const void *bytes, size_t len, struct buf *out)
{
    const struct request_rules *q = bytes;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", (int)(len - sizeof *q), (const char *)(q + 1));
    return rules_read_beside(t->script, name, q->known, out);
}

/* Modules, lists and rules that lie beside the script, as a watch would give them; nothing else. */
static int answer(void *ctx, enum request_kind kind, const void *bytes, size_t len, struct buf *out,
                  int *fds)
{
    const struct testing *t = ctx;
    char name[PATH_MAX], resolved[PATH_MAX];
    const char *why;
    uint64_t hash = 0;
    (void)fds;
    if (kind == REQUEST_RULES)
        return answer_rules(t, bytes, len, out);
    if (kind != REQUEST_FILE)
        return -ENOTCONN;
    snprintf(name, sizeof name, "%.*s", (int)(len - sizeof(struct request_file)),
             (const char *)bytes + sizeof(struct request_file));
    buf_add(out, &hash, sizeof hash);
    int result = shelf_read_beside(t->script, name, out, resolved, sizeof resolved, &why);
    if (result < 0 || out->failed)
        return result < 0 ? result : -ENOMEM;
    hash = shelf_hash(out->data + sizeof hash, out->len - sizeof hash);
    memcpy(out->data, &hash, sizeof hash);
    return 0;
}

/* "a/web_test.lua" <-> "a/web.lua"; the caller's to free. */
static char *counterpart(const char *path)
{
    size_t len = strlen(path), cut = files_is_test(path) ? 9 : 4;
    char *other = malloc(len + 16);
    if (!other || len < cut)
        return other;
    sprintf(other, "%.*s%s", (int)(len - cut), path, cut == 9 ? ".lua" : "_test.lua");
    return other;
}

static int refuse(char *why, size_t cap, const char *path, const char *text)
{
    snprintf(why, cap, "%s: %s", path, text);
    return -EINVAL;
}

/* One pair. */
static int test_pair(const struct script_file *test, const struct script_file *script,
                     struct testing *t, char *why, size_t cap)
{
    const struct script_file *both[] = { test, script };
    for (int i = 0; i < 2; i++)
        if (!both[i]->text)
            return refuse(why, cap, both[i]->path, files_error(both[i]));

    struct buf chunks[2] = { 0 }, wrong = { 0 };
    for (int i = 0; i < 2; i++)
        buf_printf(&chunks[i], "@%s", both[i]->path);
    struct rehearsal_text texts[2] = { { buf_str(&chunks[0]), test->text, test->len },
                                       { buf_str(&chunks[1]), script->text, script->len } };
    t->script = script->path;
    int result = rehearse(&texts[1], &texts[0], answer, ended, t, &wrong);
    if (result < 0)
        snprintf(why, cap, "%s", buf_str(&wrong));
    buf_free(&chunks[0]);
    buf_free(&chunks[1]);
    buf_free(&wrong);
    return result;
}

static int test_file(const char *path, struct testing *t, char *why, size_t cap)
{
    struct script_files files = { 0 };
    char *other = counterpart(path);
    files_add(&files, files_is_test(path) ? path : other ? other : path);
    files_add(&files, files_is_test(path) ? other ? other : path : path);
    int result = other && files.len == 2 && !files.failed
                     ? test_pair(&files.all[0], &files.all[1], t, why, cap)
                     : -ENOMEM;
    if (result == -ENOMEM)
        snprintf(why, cap, "not enough memory");
    files_free(&files);
    free(other);
    return result;
}

/* A test whose script is not there, told as one that failed. False: it is there. */
static bool tell_orphan(const char *path, const struct testing *t)
{
    char why[PATH_MAX + 64];
    char *script = counterpart(path);
    bool orphan = script && access(script, F_OK) < 0;
    int error = errno;
    if (orphan) {
        snprintf(why, sizeof why, "%s: %s", script, strerror(error));
        struct moonwatch_tested_case result = {
            .script = path, .name = "the script that it tests", .why = why, .output = ""
        };
        t->tested(t->ctx, &result);
    }
    free(script);
    return orphan;
}

int moonwatch_test(const char *path, moonwatch_tested *tested, void *ctx, char *why, size_t cap)
{
    struct testing t = { .tested = tested, .ctx = ctx };
    struct script_files files = { 0 };
    int all = 0, result = 0;

    files_add(&files, path);
    bool directory = files.directory;
    for (int i = 0; i < files.len && directory && result >= 0; i++)
        if (files_is_test(files.all[i].path)) {
            result = tell_orphan(files.all[i].path, &t) ? 1
                                                        : test_file(files.all[i].path, &t, why, cap);
            all += result > 0 ? result : 0;
        }
    files_free(&files);
    if (directory)
        return result < 0 ? result : all ? all : refuse(why, cap, path, "there is no NAME_test.lua");
    size_t len = strlen(path);
    if (len < 5 || strcmp(path + len - 4, ".lua"))
        return refuse(why, cap, path, "it is no NAME.lua and no directory of these");
    return test_file(path, &t, why, cap);
}
