/* covered.c - what of scripts ran in their tests. See covered.h. */
#include "cli/covered.h"

#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS (MOONWATCH_CODE + 1)

struct covered {
    FILE *lcov;  /* owned; or NULL */
    char *path;  /* owned: the file that is summed up; NULL: none yet */
    int all[PARTS], ran[PARTS];
    FILE *left[PARTS];     /* owned: what did not run, as text */
    char *text[PARTS];     /* owned: their memory */
    size_t text_len[PARTS];
    int from, until; /* lines that did not run, one after another; 0: none */
    int way;         /* of its line, from 0 */
    int way_line;
};

static const char *const names[PARTS] = {
    [MOONWATCH_HANDLER] = "handlers", [MOONWATCH_FUNCTION] = "functions",
    [MOONWATCH_WAY] = "ways",         [MOONWATCH_CODE] = "lines",
};
static const char *const not_run[PARTS] = {
    [MOONWATCH_HANDLER] = "handlers that no event came to",
    [MOONWATCH_FUNCTION] = "functions that were not called",
    [MOONWATCH_WAY] = "ways that were not taken",
    [MOONWATCH_CODE] = "lines that did not run",
};

int covered_new(struct covered **out, const char *path)
{
    struct covered *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->lcov = path ? fopen(path, "we") : NULL;
    if (path && !c->lcov) {
        int error = errno;
        free(c);
        return -error;
    }
    *out = c;
    return 0;
}

void covered_free(struct covered *c)
{
    if (!c)
        return;
    if (c->lcov)
        fclose(c->lcov);
    for (int part = 0; part < PARTS; part++) {
        if (c->left[part])
            fclose(c->left[part]);
        free(c->text[part]);
    }
    free(c->path);
    free(c);
}

/* --- the summary ---------------------------------------------------------------------------------- */

/* Lines that did not run, and had none between them that did. */
static void end_range(struct covered *c)
{
    FILE *to = c->left[MOONWATCH_CODE];
    if (c->from && to)
        fprintf(to, c->until > c->from ? " %d-%d" : " %d", c->from, c->until);
    c->from = c->until = 0;
}

static void add_left(struct covered *c, const struct moonwatch_covered_part *p)
{
    FILE *to = c->left[p->part];
    if (p->part == MOONWATCH_CODE) {
        c->from = c->from ? c->from : p->line;
        c->until = p->line;
    }
    if (!to || p->part == MOONWATCH_CODE)
        return;
    if (p->part != MOONWATCH_WAY)
        fprintf(to, " %s:%d", p->name, p->line);
    else if (p->reached && p->to)
        fprintf(to, " %d->%d", p->line, p->to);
    else if (p->reached)
        fprintf(to, " %d->out", p->line);
}

static void sum_up(struct covered *c)
{
    const char *slash = strrchr(c->path, '/'), *between = ": ";
    fputs("# covered of ", stdout);
    cli_put(stdout, slash ? slash + 1 : c->path);
    for (int part = PARTS - 1; part >= 0; part--) {
        printf("%s%d of %d %s", between, c->ran[part], c->all[part], names[part]);
        between = ", ";
    }
    putchar('\n');
    for (int part = 0; part < PARTS; part++) {
        if (!c->left[part] || fflush(c->left[part]) || !c->text_len[part])
            continue;
        printf("#   %s:", not_run[part]);
        cli_put(stdout, c->text[part]);
        putchar('\n');
    }
}

/* --- lcov ----------------------------------------------------------------------------------------- */

static void begin_record(FILE *to, const char *path)
{
    fputs("TN:\nSF:", to);
    cli_put(to, path);
    fputc('\n', to);
}

static void write_part(struct covered *c, const struct moonwatch_covered_part *p)
{
    unsigned long long runs = p->runs;
    switch (p->part) {
    case MOONWATCH_FUNCTION: /* a name belongs to one line */
        fprintf(c->lcov, "FN:%d,%s:%d\nFNDA:%llu,%s:%d\n", p->line, p->name, p->line, runs, p->name, p->line);
        break;
    case MOONWATCH_WAY:
        c->way = p->line == c->way_line ? c->way + 1 : 0;
        c->way_line = p->line;
        fprintf(c->lcov, "BRDA:%d,0,%d,", p->line, c->way);
        fprintf(c->lcov, p->reached ? "%llu\n" : "-\n", runs);
        break;
    case MOONWATCH_CODE:
        fprintf(c->lcov, "DA:%d,%llu\n", p->line, runs);
        break;
    case MOONWATCH_HANDLER: /* it is among the functions */
        break;
    }
}

static void end_record(const struct covered *c)
{
    fprintf(c->lcov, "FNF:%d\nFNH:%d\n", c->all[MOONWATCH_FUNCTION], c->ran[MOONWATCH_FUNCTION]);
    fprintf(c->lcov, "BRF:%d\nBRH:%d\n", c->all[MOONWATCH_WAY], c->ran[MOONWATCH_WAY]);
    fprintf(c->lcov, "LF:%d\nLH:%d\n", c->all[MOONWATCH_CODE], c->ran[MOONWATCH_CODE]);
    fputs("end_of_record\n", c->lcov);
}

/* --- files ---------------------------------------------------------------------------------------- */

static void end_file(struct covered *c)
{
    if (!c->path)
        return;
    end_range(c);
    if (c->lcov)
        end_record(c);
    sum_up(c);
    free(c->path);
    c->path = NULL;
}

static void begin_file(struct covered *c, const char *path)
{
    end_file(c);
    c->path = strdup(path);
    c->way_line = 0;
    for (int part = 0; part < PARTS; part++) {
        c->all[part] = c->ran[part] = 0;
        if (c->left[part])
            fclose(c->left[part]);
        free(c->text[part]);
        c->text[part] = NULL;
        c->left[part] = open_memstream(&c->text[part], &c->text_len[part]);
    }
    if (c->lcov)
        begin_record(c->lcov, path);
}

void covered_take(void *ctx, const struct moonwatch_covered_part *p)
{
    struct covered *c = ctx;
    if (!c->path || strcmp(c->path, p->path))
        begin_file(c, p->path);
    if (!c->path)
        return;
    c->all[p->part]++;
    c->ran[p->part] += p->runs > 0;
    if (!p->runs)
        add_left(c, p);
    else if (p->part == MOONWATCH_CODE)
        end_range(c);
    if (c->lcov)
        write_part(c, p);
}

int covered_end(struct covered *c)
{
    end_file(c);
    if (!c->lcov)
        return 0;
    FILE *lcov = c->lcov;
    c->lcov = NULL;
    errno = 0;
    bool failed = ferror(lcov);
    failed = fclose(lcov) || failed;
    return failed ? -(errno ? errno : EIO) : 0;
}
