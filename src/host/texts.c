/* texts.c - the texts of rules as they come, and those that were good before. See texts.h. */
#include "host/texts.h"

#include "host/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct file {
    struct request_rules_file head;
    const char *path, *text; /* borrowed, not NUL-ended */
};

/* The file at *at, which is moved behind it; false at the end. */
static bool next_file(const struct buf *from, size_t *at, struct file *f)
{
    if (from->len - *at < sizeof f->head)
        return false;
    memcpy(&f->head, from->data + *at, sizeof f->head);
    size_t left = from->len - *at - sizeof f->head;
    if (f->head.path_len > left || f->head.text_len > left - f->head.path_len)
        return false;
    f->path = from->data + *at + sizeof f->head;
    f->text = f->path + f->head.path_len;
    *at += sizeof f->head + f->head.path_len + f->head.text_len;
    return true;
}

static bool same_path(const struct file *a, const struct file *b)
{
    return a->head.path_len == b->head.path_len && !memcmp(a->path, b->path, a->head.path_len);
}

static bool same_text(const struct file *a, const struct file *b)
{
    return a->head.text_len == b->head.text_len && !memcmp(a->text, b->text, a->head.text_len);
}

/* Both are in the same order, so it is where the last one ended, more often than not. */
static bool find(const struct texts *t, const struct file *wanted, size_t *from, struct file *out)
{
    for (size_t at = *from; next_file(&t->kept, &at, out);)
        if (same_path(out, wanted)) {
            *from = at;
            return true;
        }
    for (size_t at = 0, end = *from; at < end && next_file(&t->kept, &at, out);)
        if (same_path(out, wanted)) {
            *from = at;
            return true;
        }
    return false;
}

static void keep(struct texts *t, const struct file *f)
{
    struct request_rules_file head = f->head;
    head.refused = 0;
    buf_add(&t->kept, &head, sizeof head);
    buf_add(&t->kept, f->path, head.path_len);
    buf_add(&t->kept, f->text, head.text_len);
}

/* --- is it good? ----------------------------------------------------------------------------------- */

struct trial {
    int refused;
    char why[512]; /* the first time */
    int line, column;
};

static void on_remark(void *ctx, const struct sigma_remark *r)
{
    struct trial *t = ctx;
    if (r->kind != SIGMA_REFUSED || t->refused++)
        return;
    t->line = r->line;
    t->column = r->column;
    snprintf(t->why, sizeof t->why, "%s", r->text);
}

/* In a set of its own, which goes. 0, or -ENOMEM. */
static int try_file(const struct file *f, const struct sigma_options *options, struct trial *trial)
{
    struct sigma_options alone = *options;
    struct sigma *set;
    *trial = (struct trial){ .line = 1, .column = 1 };
    if (f->head.refused) {
        trial->refused = 1;
        snprintf(trial->why, sizeof trial->why, "%.*s", (int)f->head.text_len, f->text);
        return 0;
    }
    alone.remarked = on_remark;
    alone.ctx = trial;
    if (sigma_new(&set, &alone) < 0)
        return -ENOMEM;
    int result = sigma_add(set, "", f->text, f->head.text_len);
    sigma_free(set);
    return result;
}

static void say(const struct sigma_options *options, const char *path, const struct trial *trial,
                const char *more)
{
    char text[640];
    snprintf(text, sizeof text, "%s%s", trial->why, more);
    options->remarked(options->ctx, &(struct sigma_remark){ .kind = SIGMA_REFUSED,
                                                             .path = path,
                                                             .line = trial->line,
                                                             .column = trial->column,
                                                             .title = "",
                                                             .text = text });
}

/* --- all of them ------------------------------------------------------------------------------------ */

/* The new text, or the one from before. */
static int add_file(const struct file *new, const struct file *old, struct sigma *set,
                    const struct sigma_options *options, struct texts *next)
{
    char path[4096];
    struct trial trial = { 0 };
    const struct file *used = new;
    int result = 0;
    snprintf(path, sizeof path, "%.*s", (int)new->head.path_len, new->path);
    if (new->head.refused || (old && !same_text(old, new)))
        result = try_file(new, options, &trial);
    if (result < 0)
        return result;
    if (old && trial.refused)
        used = old;
    if (trial.refused && (old || new->head.refused))
        say(options, path, &trial, old ? "; the version from before goes on" : "");
    if (used->head.refused)
        return 0;
    result = sigma_add(set, path, used->text, used->head.text_len);
    keep(next, used);
    return result < 0 || next->kept.failed ? -ENOMEM : 0;
}

int texts_add(const struct texts *before, const struct buf *answer, struct sigma *set,
              const struct sigma_options *options, struct texts *next)
{
    size_t at = sizeof(struct request_rules_seen), from = 0;
    struct file new, old;
    int result = 0;
    while (result == 0 && at <= answer->len && next_file(answer, &at, &new))
        result = add_file(&new, find(before, &new, &from, &old) ? &old : NULL, set, options, next);
    return result;
}

void texts_free(struct texts *t)
{
    buf_free(&t->kept);
}
