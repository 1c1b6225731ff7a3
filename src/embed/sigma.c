/* sigma.c - Sigma rules for who asks without a watch: about events in JSON, and about the rules. */
#include "moonwatch.h"

#include "embed/remark.h"
#include "embed/rules.h"
#include "event/flat.h"
#include "sigma/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct moonwatch_sigma {
    struct sigma *set;       /* owned */
    struct sigma_view *view; /* owned */
    struct flat flat;        /* owned: the event */
};

struct failure {
    char *why;
    size_t cap;
};

__attribute__((format(printf, 3, 4))) static int fail(struct failure to, int error,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to.why, to.cap, format, args);
    va_end(args);
    return error;
}

/* --- placeholders ----------------------------------------------------------------------------- */

struct placeholders {
    struct sigma_placeholder *list; /* owned, with names and lists of values */
    int len;
};

static struct sigma_placeholder *placeholder_named(struct placeholders *p, const char *name,
                                                   size_t len)
{
    for (int i = 0; i < p->len; i++)
        if (strlen(p->list[i].name) == len && !strncmp(p->list[i].name, name, len))
            return &p->list[i];
    struct sigma_placeholder *more = realloc(p->list, (size_t)(p->len + 1) * sizeof *more);
    if (!more)
        return NULL;
    p->list = more;
    more[p->len] = (struct sigma_placeholder){ .name = strndup(name, len) };
    return more[p->len].name ? &more[p->len++] : NULL;
}

/* "NAME=VALUE" */
static int add_placeholder(struct placeholders *p, const char *text, struct failure to)
{
    const char *equal = strchr(text, '=');
    if (!equal || equal == text)
        return fail(to, -EINVAL, "a placeholder is NAME=VALUE, not '%s'", text);
    struct sigma_placeholder *one = placeholder_named(p, text, (size_t)(equal - text));
    const char **values =
        one ? realloc((void *)one->values, (size_t)(one->values_len + 1) * sizeof *values) : NULL;
    if (!values)
        return fail(to, -ENOMEM, "not enough memory");
    one->values = values;
    values[one->values_len++] = equal + 1;
    return 0;
}

static void free_placeholders(struct placeholders *p)
{
    for (int i = 0; i < p->len; i++) {
        free((char *)p->list[i].name);
        free((void *)p->list[i].values);
    }
    free(p->list);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The whole text, to be freed; NULL with errno. */
static char *read_file(const char *path, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    char *text = fd >= 0 ? malloc(RULES_TEXT_MAX + 1) : NULL;
    ssize_t got = 0;
    *len = 0;
    while (text && *len <= RULES_TEXT_MAX &&
           (got = read(fd, text + *len, RULES_TEXT_MAX + 1 - *len)) > 0)
        *len += (size_t)got;
    if (!text)
        error = fd < 0 ? errno : ENOMEM;
    else if (got < 0 || *len > RULES_TEXT_MAX)
        error = got < 0 ? errno : EFBIG;
    if (fd >= 0)
        close(fd);
    if (error) {
        free(text);
        errno = error;
        return NULL;
    }
    return text;
}

static int add_file(struct sigma *set, const char *path, struct failure to)
{
    size_t len;
    char *text = read_file(path, &len);
    if (!text)
        return fail(to, -errno, "cannot read '%s': %s", path, rules_error(-errno));
    int result = sigma_add(set, path, text, len);
    free(text);
    return result < 0 ? fail(to, result, "not enough memory for the rules") : 0;
}

static int add_path(struct sigma *set, const char *path, struct failure to)
{
    struct rule_files files = { 0 };
    int result = rules_find(&files, path);
    if (result < 0)
        fail(to, result, "cannot read '%s': %s", path, rules_error(result));
    for (int i = 0; i < files.len && result == 0; i++)
        result = add_file(set, files.paths[i], to);
    rules_free(&files);
    return result;
}

/* A finished set of all rules. */
static int read_set(struct sigma **out, const char *const *paths, int paths_len,
                    const char *const *placeholders, int placeholders_len, sigma_remarked *remarked,
                    void *ctx, struct failure to)
{
    struct placeholders p = { 0 };
    struct sigma *set = NULL;
    int result = 0;
    for (int i = 0; i < placeholders_len && result == 0; i++)
        result = add_placeholder(&p, placeholders[i], to);
    struct sigma_options options = {
        .remarked = remarked, .ctx = ctx, .placeholders = p.list, .placeholders_len = p.len
    };
    if (result == 0 && sigma_new(&set, &options) < 0)
        result = fail(to, -ENOMEM, "not enough memory for the rules");
    for (int i = 0; i < paths_len && result == 0; i++)
        result = add_path(set, paths[i], to);
    if (result == 0 && sigma_finish(set) < 0)
        result = fail(to, -ENOMEM, "not enough memory for the rules");
    free_placeholders(&p);
    if (result < 0)
        sigma_free(set);
    else
        *out = set;
    return result;
}

/* --- the set ---------------------------------------------------------------------------------- */

struct remarking {
    moonwatch_sigma_remarked *remarked;
    void *ctx;
};

static void pass_remark(void *ctx, const struct sigma_remark *r)
{
    const struct remarking *to = ctx;
    if (to->remarked)
        to->remarked(to->ctx,
                     &(struct moonwatch_sigma_remark){ .kind = (enum moonwatch_sigma_kind)r->kind,
                                                       .path = r->path,
                                                       .line = r->line,
                                                       .column = r->column,
                                                       .title = r->title,
                                                       .text = r->text });
}

int moonwatch_sigma_load(struct moonwatch_sigma **out, const char *const *paths, int paths_len,
                         const char *const *placeholders, int placeholders_len,
                         moonwatch_sigma_remarked *remarked, void *ctx, char *why, size_t cap)
{
    struct failure to = { why, cap };
    struct remarking remarking = { remarked, ctx };
    struct moonwatch_sigma *s = calloc(1, sizeof *s);
    if (!s)
        return fail(to, -ENOMEM, "not enough memory for the rules");
    int result = read_set(&s->set, paths, paths_len, placeholders, placeholders_len, pass_remark,
                          &remarking, to);
    if (result == 0 && sigma_view_new(&s->view, s->set) < 0)
        result = fail(to, -ENOMEM, "not enough memory for the rules");
    if (result < 0)
        moonwatch_sigma_free(s);
    else
        *out = s;
    return result;
}

void moonwatch_sigma_free(struct moonwatch_sigma *s)
{
    if (!s)
        return;
    sigma_view_free(s->view);
    sigma_free(s->set);
    flat_free(&s->flat);
    free(s);
}

bool moonwatch_sigma_rule_at(const struct moonwatch_sigma *s, int index,
                             struct moonwatch_sigma_rule *out)
{
    struct sigma_rule rule;
    if (!sigma_rule_at(s->set, index, &rule))
        return false;
    *out = (struct moonwatch_sigma_rule){ .id = rule.id,
                                          .title = rule.title,
                                          .author = rule.author,
                                          .level = sigma_level_name(rule.level),
                                          .status = rule.status,
                                          .path = rule.path,
                                          .line = rule.line,
                                          .tags = rule.tags,
                                          .tags_len = rule.tags_len,
                                          .asked = rule.asked,
                                          .fired = rule.fired,
                                          .undecided = rule.undecided };
    return true;
}

static int read_event(struct moonwatch_sigma *s, const char *json, size_t len, struct failure to)
{
    int result = flat_read(&s->flat, json, len, to.why, to.cap);
    return result == -ENOMEM ? fail(to, result, "not enough memory for the event") : result;
}

int moonwatch_sigma_match(struct moonwatch_sigma *s, const char *json, size_t len,
                          moonwatch_sigma_fired *fired, void *ctx, char *why, size_t cap)
{
    struct failure to = { why, cap };
    struct moonwatch_sigma_rule rule;
    int result = read_event(s, json, len, to);
    if (result < 0)
        return result;
    const struct flat_value *id = flat_get(&s->flat, "id");
    int n = sigma_match(s->set, sigma_view_flat(s->view, &s->flat));
    for (int i = 0; i < n; i++)
        if (moonwatch_sigma_rule_at(s, sigma_fired(s->set, i), &rule))
            fired(ctx, &rule, id && !id->null ? id->text : NULL);
    return n < 0 ? fail(to, n, "not enough memory for the event") : 0;
}

int moonwatch_sigma_event_id(struct moonwatch_sigma *s, const char *json, size_t len, char *id,
                             size_t id_cap, char *why, size_t cap)
{
    int result = read_event(s, json, len, (struct failure){ why, cap });
    const struct flat_value *value = result == 0 ? flat_get(&s->flat, "id") : NULL;
    snprintf(id, id_cap, "%s", value && !value->null ? value->text : "");
    return result;
}

char *moonwatch_sigma_explain(struct moonwatch_sigma *s, int rule, const char *json, size_t len,
                              char *why, size_t cap)
{
    struct failure to = { why, cap };
    struct buf out = { 0 };
    if (read_event(s, json, len, to) < 0)
        return NULL;
    sigma_explain(s->set, rule, sigma_view_flat(s->view, &s->flat), &out);
    buf_str(&out);
    if (out.failed) {
        fail(to, -ENOMEM, "not enough memory for the answer");
        buf_free(&out);
    }
    return out.data;
}

/* --- checking --------------------------------------------------------------------------------- */

struct checked {
    char *path; /* owned, and so is the text */
    char *text;
    size_t len;
};

struct checks {
    struct remarker to;    /* owned */
    struct checked *files; /* owned: those that were remarked on */
    int len;
};

/* Each file is read again when something is said of it: most are not. */
static const struct checked *file_of(struct checks *c, const char *path)
{
    for (int i = 0; i < c->len; i++)
        if (!strcmp(c->files[i].path, path))
            return &c->files[i];
    struct checked *more = realloc(c->files, (size_t)(c->len + 1) * sizeof *more);
    if (!more)
        return NULL;
    c->files = more;
    more[c->len] = (struct checked){ .path = strdup(path) };
    if (!more[c->len].path)
        return NULL;
    more[c->len].text = read_file(path, &more[c->len].len);
    return &more[c->len++];
}

static void tell(struct checks *c, const char *path, int line, int column,
                 enum moonwatch_level level, const char *code, const char *text)
{
    const struct checked *file = file_of(c, path);
    struct remark_about about = { .path = path };
    if (file) {
        about.text = file->text;
        about.len = file->len;
    }
    remark_tell(&c->to, &about, line, column, level, code, text);
}

static void on_refused(void *ctx, const struct sigma_remark *r)
{
    if (r->kind == SIGMA_REFUSED)
        tell(ctx, r->path, r->line, r->column, MOONWATCH_ERROR, "refused", r->text);
    else if (r->kind == SIGMA_NOTED)
        tell(ctx, r->path, r->line, r->column, MOONWATCH_WARNING, "note", r->text);
}

static void on_found(void *ctx, const struct sigma_finding *f)
{
    static const char *const codes[] = { "never", "hardly", "duplicate", "slow", "useless" };
    tell(ctx, f->path, f->line, f->column,
         f->kind == SIGMA_USELESS ? MOONWATCH_HINT : MOONWATCH_WARNING, codes[f->kind], f->text);
}

int moonwatch_sigma_check(const char *const *paths, int paths_len, const char *const *placeholders,
                          int placeholders_len, moonwatch_remarked *remarked, void *ctx, char *why,
                          size_t cap)
{
    struct checks c = { .to = { .remarked = remarked, .ctx = ctx } };
    struct sigma *set = NULL;
    int result = read_set(&set, paths, paths_len, placeholders, placeholders_len, on_refused, &c,
                          (struct failure){ why, cap });
    if (result == 0 && sigma_check(set, sigma_view_knows, on_found, &c) < 0)
        result = fail((struct failure){ why, cap }, -ENOMEM, "not enough memory");
    sigma_free(set);
    for (int i = 0; i < c.len; i++) {
        free(c.files[i].path);
        free(c.files[i].text);
    }
    free(c.files);
    remark_free(&c.to);
    return result;
}
