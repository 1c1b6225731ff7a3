/* line.c - lines from a terminal, by libedit, or from a pipe. See line.h. */
#include "cli/line.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_MOST  1000
#define COMPLETE_MOST 200

struct line {
    struct line_calls calls;
    EditLine *edit; /* NULL: no terminal */
    History *history;
    char *path; /* owned: of the history, or NULL */
    const char *prompt;
    char *text; /* owned: the last line */
    size_t cap;
    volatile int broken;
    bool editing;
};

static struct line *of(EditLine *edit)
{
    struct line *l = NULL;
    el_get(edit, EL_CLIENTDATA, &l);
    return l;
}

static char *prompt_of(EditLine *edit)
{
    return (char *)of(edit)->prompt;
}

/* --- keys ------------------------------------------------------------------------------------- */

/* One character; 0: the end. libedit asks for each, and the world goes on until there is one. */
static int read_character(EditLine *edit, wchar_t *to)
{
    struct line *l = of(edit);
    mbstate_t state = { 0 };
    for (;;) {
        char byte;
        if (l->broken || !l->calls.wait(l->calls.ctx) || l->broken)
            return 0;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return 0;
        if (!byte)
            byte = 4; /* a Ctrl-D that came while the terminal was not yet ours is left as a NUL */
        size_t len = mbrtowc(to, &byte, 1, &state);
        if (len == (size_t)-2)
            continue; /* not whole yet */
        if (len == (size_t)-1) { /* no character of this locale */
            *to = L'?';
            memset(&state, 0, sizeof state);
        }
        return 1;
    }
}

/* --- completion -------------------------------------------------------------------------------- */

static size_t common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* Where the word before the cursor begins: names with their dots and colons. */
static const char *word_before(const char *line, const char *cursor)
{
    static const char in_word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:";
    while (cursor > line && strchr(in_word, cursor[-1]))
        cursor--;
    return cursor;
}

static void list_all(struct line *l, const char *word)
{
    const char *name;
    int columns = 0;
    putchar('\n');
    for (int i = 0; i < COMPLETE_MOST && (name = l->calls.complete(l->calls.ctx, word, i)); i++) {
        columns += printf("%-25s ", name);
        if (columns > 60) {
            putchar('\n');
            columns = 0;
        }
    }
    if (columns)
        putchar('\n');
    fflush(stdout);
}

static unsigned char complete(EditLine *edit, int key)
{
    struct line *l = of(edit);
    const LineInfo *info = el_line(edit);
    const char *from = word_before(info->buffer, info->cursor);
    char word[128];
    (void)key;
    size_t len = (size_t)(info->cursor - from);
    if (len >= sizeof word)
        return CC_ERROR;
    memcpy(word, from, len);
    word[len] = '\0';

    const char *first = l->calls.complete(l->calls.ctx, word, 0), *next = NULL;
    if (!first)
        return CC_ERROR;
    char all[256];
    snprintf(all, sizeof all, "%s", first);
    int n = 1;
    for (; n < COMPLETE_MOST && (next = l->calls.complete(l->calls.ctx, word, n)); n++)
        all[common(all, next)] = '\0';
    if (strlen(all) > len) {
        el_insertstr(edit, all + len);
        return CC_REFRESH;
    }
    if (n == 1)
        return CC_REFRESH;
    list_all(l, word);
    return CC_REDISPLAY;
}

/* --- life ---------------------------------------------------------------------------------------- */

static bool open_editor(struct line *l, const char *path)
{
    HistEvent event;
    l->edit = el_init("moonwatch", stdin, stdout, stderr);
    l->history = history_init();
    if (!l->edit || !l->history)
        return false;
    history(l->history, &event, H_SETSIZE, HISTORY_MOST);
    history(l->history, &event, H_SETUNIQUE, 1);
    if (path && (l->path = strdup(path)))
        history(l->history, &event, H_LOAD, path);
    el_set(l->edit, EL_CLIENTDATA, l);
    el_set(l->edit, EL_PROMPT, prompt_of);
    el_set(l->edit, EL_EDITOR, "emacs");
    el_set(l->edit, EL_HIST, history, l->history);
    el_set(l->edit, EL_GETCFN, read_character);
    el_wset(l->edit, EL_ADDFN, L"moonwatch-complete", L"complete a name", complete);
    el_set(l->edit, EL_BIND, "^I", "moonwatch-complete", NULL);
    return true;
}

struct line *line_new(const struct line_calls *calls, const char *history)
{
    struct line *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->calls = *calls;
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !open_editor(l, history)) {
        line_free(l);
        return NULL;
    }
    return l;
}

/* What was typed may be a secret: nobody else reads it. */
static void save_history(struct line *l)
{
    HistEvent event;
    int fd = l->path ? open(l->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0)
        return;
    close(fd);
    history(l->history, &event, H_SAVE, l->path);
}

void line_free(struct line *l)
{
    if (!l)
        return;
    if (l->history) {
        save_history(l);
        history_end(l->history);
    }
    if (l->edit)
        el_end(l->edit);
    free(l->path);
    free(l->text);
    free(l);
}

bool line_edits(const struct line *l)
{
    return l->edit;
}

void line_break(struct line *l)
{
    l->broken = 1;
}

/* --- lines ------------------------------------------------------------------------------------------ */

static const char *cut_newline(char *text)
{
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static bool keep_text(struct line *l, const char *text, size_t len)
{
    if (len + 1 > l->cap) {
        char *more = realloc(l->text, len + 1);
        if (!more)
            return false;
        l->text = more;
        l->cap = len + 1;
    }
    memcpy(l->text, text, len);
    l->text[len] = '\0';
    return true;
}

/* A byte at a time: what follows the line must stay where the wait sees it. */
static const char *read_plain(struct line *l)
{
    size_t len = 0;
    char byte;
    for (;;) {
        if (l->broken || !l->calls.wait(l->calls.ctx))
            return NULL;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0 && !len)
            return NULL;
        if (got <= 0 || byte == '\n')
            return len ? l->text : "";
        if (len + 2 > l->cap) {
            char *more = realloc(l->text, l->cap * 2 + 256);
            if (!more)
                return NULL;
            l->text = more;
            l->cap = l->cap * 2 + 256;
        }
        l->text[len++] = byte;
        l->text[len] = '\0';
    }
}

const char *line_read(struct line *l, const char *prompt, bool *broken)
{
    int count = 0;
    const char *text, *result = NULL;
    *broken = false;
    l->prompt = prompt;
    if (!l->edit)
        return read_plain(l);
    l->editing = true;
    text = el_gets(l->edit, &count);
    l->editing = false;
    if (l->broken) {
        l->broken = 0;
        *broken = true;
        el_reset(l->edit);
        putchar('\n');
        return "";
    }
    if (text && count > 0 && keep_text(l, text, (size_t)count))
        result = cut_newline(l->text);
    if (!result)
        putchar('\n');
    return result;
}

void line_print(struct line *l, const char *text)
{
    if (l->editing)
        fputs("\r\x1b[K", stdout);
    fputs(text, stdout);
    fflush(stdout);
    if (l->editing)
        el_set(l->edit, EL_REFRESH);
}

void line_keep(struct line *l, const char *text)
{
    HistEvent event;
    if (l->history && *text)
        history(l->history, &event, H_ENTER, text);
}
