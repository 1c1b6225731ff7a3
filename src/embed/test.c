/* test.c - runs the tests of scripts: finds which test belongs to which script. */
#include "moonwatch.h"

#include "embed/commands.h"
#include "embed/files.h"
#include "embed/rules.h"
#include "embed/shelf.h"
#include "embed/tape.h"
#include "host/rehearsal.h"
#include "record/recording.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct testing {
    const struct moonwatch_test_options *options;
    const char *script; /* of the tests that run */
    struct coverage *coverage; /* owned; or NULL */
    struct tape *tape; /* owned: answers of the recording that is played; or NULL */
    uint64_t seq;      /* of its record that is told */
    bool failed;       /* no memory */
};

static void tell(const struct testing *t, const struct moonwatch_tested_case *result)
{
    t->options->tested(t->options->ctx, result);
}

static void forget_tape(struct testing *t)
{
    tape_free(t->tape);
    t->tape = NULL;
}

static void ended(void *ctx, const struct rehearsal_result *r)
{
    static const enum moonwatch_verdict verdicts[] = { [REHEARSAL_PASSED] = MOONWATCH_PASSED,
                                                       [REHEARSAL_FAILED] = MOONWATCH_FAILED,
                                                       [REHEARSAL_SKIPPED] = MOONWATCH_SKIPPED };
    struct testing *t = ctx;
    forget_tape(t); /* the next test has its own events */
    tell(t, &(struct moonwatch_tested_case){ .script = t->script,
                                             .name = r->name,
                                             .verdict = verdicts[r->verdict],
                                             .why = r->why,
                                             .output = r->output,
                                             .commands = r->commands,
                                             .seconds = r->seconds });
}

static void covered(void *ctx, const struct coverage_part *p)
{
    const struct testing *t = ctx;
    struct moonwatch_covered_part part = { .path = p->path,
                                           .part = (enum moonwatch_part)p->kind,
                                           .name = p->name,
                                           .line = p->line,
                                           .to = p->to,
                                           .runs = p->runs,
                                           .reached = p->reached };
    t->options->covered(t->options->ctx, &part);
}

/* What cannot be run, told as a test. */
static void tell_wrong(const struct testing *t, const char *path, const char *why)
{
    tell(t, &(struct moonwatch_tested_case){ .script = path, .name = "it can be loaded",
                                             .verdict = MOONWATCH_WRONG, .why = why, .output = "", .commands = "" });
}

static void playing(void *ctx, struct recording *r, uint64_t seq)
{
    struct testing *t = ctx;
    t->seq = seq;
    if (!r)
        return;
    forget_tape(t);
    t->failed |= tape_new(&t->tape) < 0 || tape_read(t->tape, r) < 0;
}

/* What a recording has of an answer to this question. */
static int answer_of_then(const struct testing *t, enum request_kind kind, const void *bytes, size_t len,
                          struct buf *out)
{
    bool exact;
    const struct recording_note *note = tape_answer(t->tape, kind, bytes, len, t->seq, &exact);
    if (note)
        buf_add(out, note->answer, note->answer_len);
    return !note ? -ENODATA : out->failed ? -ENOMEM : note->result;
}

static int answer_rules(const struct testing *t, const void *bytes, size_t len, struct buf *out)
{
    const struct request_rules *q = bytes;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", (int)(len - sizeof *q), (const char *)(q + 1));
    return rules_read_beside(t->script, name, q->known, out);
}

/* Modules, lists and rules that lie beside the script, as a watch would give them; of a process what a
 * recording has; nothing else. */
static int answer(void *ctx, enum request_kind kind, const void *bytes, size_t len, struct buf *out,
                  int *fds)
{
    const struct testing *t = ctx;
    char name[PATH_MAX], resolved[PATH_MAX];
    const char *why;
    uint64_t hash = 0;
    (void)fds;
    if (t->tape && (kind == REQUEST_PROBE || kind == REQUEST_CENSUS || kind == REQUEST_USER))
        return answer_of_then(t, kind, bytes, len, out);
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

/* The text after "PATH: ", which may be a process's choice. */
static void refuse(const struct testing *t, const char *script, const char *path, const char *text)
{
    struct buf why = { 0 };
    buf_harmless(&why, path, strlen(path));
    buf_printf(&why, ": %s", text);
    tell_wrong(t, script, buf_str(&why));
    buf_free(&why);
}

/* Both can be read. */
static void test_texts(struct testing *t, const struct script_file *test, const struct script_file *script)
{
    struct buf chunks[2] = { 0 }, wrong = { 0 };
    buf_printf(&chunks[0], "@%s", test->path);
    buf_printf(&chunks[1], "@%s", script->path);
    struct rehearsal_text texts[2] = { { buf_str(&chunks[0]), test->text, test->len },
                                       { buf_str(&chunks[1]), script->text, script->len } };
    struct rehearsal_world world = { .ctx = t, .request = answer, .ended = ended, .run = commands_run,
                                     .playing = playing, .limit_s = t->options->timeout,
                                     .coverage = t->coverage };
    t->script = script->path;
    int result = rehearse(&texts[1], &texts[0], &world, &wrong);
    if (result < 0)
        tell_wrong(t, script->path, buf_str(&wrong));
    buf_free(&chunks[0]);
    buf_free(&chunks[1]);
    buf_free(&wrong);
}

/* "a/web.lua" or "a/web_test.lua": the pair that it belongs to. */
static void test_file(struct testing *t, const char *path)
{
    struct script_files files = { 0 };
    char *other = counterpart(path);
    const char *pair[2] = { files_is_test(path) ? path : other, files_is_test(path) ? other : path };
    for (int i = 0; i < 2 && other; i++)
        files_add(&files, pair[i]);
    if (!other || files.failed) {
        t->failed = true;
    } else {
        const struct script_file *unread = !files.all[1].text   ? &files.all[1]
                                           : !files.all[0].text ? &files.all[0]
                                                                : NULL;
        if (unread)
            refuse(t, pair[1], unread->path, files_error(unread));
        else
            test_texts(t, &files.all[0], &files.all[1]);
    }
    files_free(&files);
    free(other);
}

/* A test of a directory whose script is not there, told as one that failed. False: it is there. */
static bool tell_orphan(const struct testing *t, const char *path)
{
    char *script = counterpart(path);
    bool orphan = script && access(script, F_OK) < 0;
    int error = errno;
    if (orphan) {
        struct buf why = { 0 };
        buf_harmless(&why, script, strlen(script));
        buf_printf(&why, ": %s", strerror(error));
        tell(t, &(struct moonwatch_tested_case){ .script = path, .name = "the script that it tests",
                                                 .verdict = MOONWATCH_FAILED, .why = buf_str(&why),
                                                 .output = "", .commands = "" });
        buf_free(&why);
    }
    free(script);
    return orphan;
}

/* --- a baseline -------------------------------------------------------------------------------------- */

static void play_baseline(struct testing *t, const struct script_file *script)
{
    struct buf chunk = { 0 }, wrong = { 0 };
    if (!script->text) {
        refuse(t, script->path, script->path, files_error(script));
        return;
    }
    buf_printf(&chunk, "@%s", script->path);
    struct rehearsal_text text = { buf_str(&chunk), script->text, script->len };
    struct rehearsal_baseline baseline = { .path = t->options->baseline, .allow = t->options->allow };
    struct rehearsal_world world = { .ctx = t, .request = answer, .ended = ended, .playing = playing,
                                     .limit_s = t->options->timeout, .coverage = t->coverage };
    t->script = script->path;
    if (rehearse_baseline(&text, &baseline, &world, &wrong) < 0)
        tell_wrong(t, script->path, buf_str(&wrong));
    forget_tape(t);
    buf_free(&chunk);
    buf_free(&wrong);
}

/* The script, or those of a directory; of a test its script. */
static void baseline_path(struct testing *t, const char *path)
{
    struct script_files files = { 0 };
    char *script = files_is_test(path) ? counterpart(path) : NULL;
    files_add(&files, script ? script : path);
    t->failed |= files.failed;
    for (int i = 0; i < files.len; i++)
        if (!files_is_test(files.all[i].path))
            play_baseline(t, &files.all[i]);
    files_free(&files);
    free(script);
}

/* What cannot be read is said once, and not for each script. */
static bool can_play(const struct testing *t, const char *path)
{
    struct recording *r;
    char why[512];
    bool can = recording_open(&r, path, why, sizeof why) == 0;
    if (can)
        recording_close(r);
    else
        tell_wrong(t, path, why);
    return can;
}

/* --- all --------------------------------------------------------------------------------------------- */

static void test_path(struct testing *t, const char *path)
{
    struct script_files files = { 0 };
    size_t len = strlen(path);
    int tests = 0;

    files_add(&files, path);
    t->failed |= files.failed;
    for (int i = 0; i < files.len && files.directory; i++)
        if (files_is_test(files.all[i].path)) {
            tests++;
            if (!tell_orphan(t, files.all[i].path))
                test_file(t, files.all[i].path);
        }
    if (files.directory && !tests)
        refuse(t, path, path, "there is no NAME_test.lua");
    else if (!files.directory && (len < 5 || strcmp(path + len - 4, ".lua")))
        refuse(t, path, path, "it is no NAME.lua and no directory of these");
    else if (!files.directory)
        test_file(t, path);
    files_free(&files);
}

int moonwatch_test(const char *const *paths, int paths_len, const struct moonwatch_test_options *options)
{
    struct testing t = { .options = options };
    if (options->covered && coverage_new(&t.coverage) < 0)
        return -ENOMEM;
    if (options->baseline && !can_play(&t, options->baseline))
        paths_len = 0;
    for (int i = 0; i < paths_len; i++)
        options->baseline ? baseline_path(&t, paths[i]) : test_path(&t, paths[i]);
    if (t.coverage && coverage_tell(t.coverage, covered, &t) < 0)
        t.failed = true;
    coverage_free(t.coverage);
    return t.failed ? -ENOMEM : 0;
}
