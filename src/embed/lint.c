/* lint.c - what is wrong with scripts: our own remarks, and luacheck's where it is installed.
 *
 * luacheck is asked for what we do not look at: values that nobody reads, shadowed names, code that
 * is never reached. Its own opinion on globals and unused names would be ours once more. */
#include "moonwatch.h"

#include "embed/files.h"
#include "embed/remark.h"
#include "host/lint.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct linting {
    struct remarker to; /* owned */
    const struct script_file *file;
};

/* --- remarks -------------------------------------------------------------------------------- */

static void remark(struct linting *l, int line, int column, enum moonwatch_level level,
                   const char *code, const char *text)
{
    const struct remark_about about = { l->file->path, l->file->text, l->file->len };
    remark_tell(&l->to, &about, line, column, level, code, text);
}

static void found(void *ctx, const struct lint_finding *f)
{
    remark(ctx, f->line, f->column, (enum moonwatch_level)f->level, f->code, f->text);
}

/* --- luacheck -------------------------------------------------------------------------------- */

/* "NAME:12:7-10: (W311) value assigned to variable 'x' is unused" */
static void take_luacheck_line(struct linting *l, const char *text)
{
    size_t path_len = strlen(l->file->path);
    int line, column, end, at = 0;
    char code[8];
    if (strncmp(text, l->file->path, path_len) ||
        sscanf(text + path_len, ":%d:%d-%d: (%7[^)]) %n", &line, &column, &end, code, &at) != 4 ||
        !at || *code != 'W')
        return; /* its summary; syntax errors are ours already */
    char name[24];
    snprintf(name, sizeof name, "luacheck %s", code);
    remark(l, line, column, MOONWATCH_WARNING, name, text + path_len + at);
}

static void read_luacheck(struct linting *l, int fd)
{
    FILE *from = fdopen(fd, "r");
    char *text = NULL;
    size_t cap = 0;
    ssize_t len;
    while (from && (len = getline(&text, &cap, from)) > 0) {
        text[strcspn(text, "\n")] = '\0';
        take_luacheck_line(l, text);
    }
    free(text);
    if (from)
        fclose(from);
    else
        close(fd);
}

/* 0, or an errno: it is not installed, most likely. */
static int spawn_luacheck(const char *path, int to, pid_t *pid)
{
    const char *const argv[] = { "luacheck", "--no-config", "--no-cache", "--no-color", "--codes", "--ranges",
                                 "--formatter", "plain", "--no-global", "--no-unused-args", "--no-max-line-length",
                                 "--ignore", "211", "213", "61.", "--std", "luajit", "--", path, NULL };
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, to, STDOUT_FILENO);
    int error = posix_spawnp(pid, argv[0], &files, NULL, (char **)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static void ask_luacheck(struct linting *l)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    int error = spawn_luacheck(l->file->path, ends[1], &pid);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return;
    }
    read_luacheck(l, ends[0]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* --- files ------------------------------------------------------------------------------------ */

static void look_at(struct linting *l, struct lint *lint, const struct script_file *file,
                    unsigned flags)
{
    char why[256];
    l->file = file;
    if (!file->text) {
        snprintf(why, sizeof why, "cannot be read: %s", files_error(file));
        remark(l, 1, 1, MOONWATCH_ERROR, "read", why);
        return;
    }
    lint_text(lint, file->path, file->text, file->len, found, l);
    if (flags & MOONWATCH_LINT_LUACHECK)
        ask_luacheck(l);
}

/* All of them twice: what one puts into events the others may look at. */
int moonwatch_lint(const char *const *paths, int paths_len, unsigned flags,
                   moonwatch_remarked *remarked, void *ctx)
{
    struct linting l = { .to = { .remarked = remarked, .ctx = ctx } };
    struct script_files files = { 0 };
    struct lint *lint = NULL;

    for (int i = 0; i < paths_len; i++)
        files_add(&files, paths[i]);
    int result = files.failed ? -ENOMEM : lint_new(&lint, flags & MOONWATCH_LINT_TRUSTED);
    for (int i = 0; i < files.len && result == 0 && files.len > 1; i++)
        if (files.all[i].text)
            lint_text(lint, files.all[i].path, files.all[i].text, files.all[i].len, NULL, NULL);
    for (int i = 0; i < files.len && result == 0; i++)
        look_at(&l, lint, &files.all[i], flags);

    lint_free(lint);
    files_free(&files);
    remark_free(&l.to);
    return result;
}
