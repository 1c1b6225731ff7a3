/* bench_sigma.c - what it costs to ask Sigma rules about an exec, to load them, and to keep them.
 *
 * The events are the 2,770 of tests/fixtures/sigma, as records of ours with a parent; the rules are
 * its 73, twice as many (the second half looks for other texts), and ten thousand that are made up.
 * Prints the median of several runs: with regular expressions compiled to machine code, and
 * without, as scripts in the sandbox have it. */
#include "event/flat.h"
#include "sigma/view.h"

#include "base/clock.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS       9
#define EVENTS_MAX 4000
#define RULES_DIR  "tests/fixtures/sigma/rules"

struct exec {
    struct event *ev, *parent; /* owned */
};
static struct exec execs[EVENTS_MAX];
static int execs_len;
static struct buf rules[512]; /* texts */
static int rules_len;

/* --- events ----------------------------------------------------------------------------------- */

static void set_text(struct event_box *box, enum event_field field, const struct flat *flat,
                     const char *name)
{
    const struct flat_value *value = flat_get(flat, name);
    if (!value)
        return;
    char *copy = strdup(value->text);
    for (char *c = copy; field == F_ARGS && *c; c++)
        if (*c == ' ')
            *c = '\0';
    event_set_text(box, field, copy, value->len + (field == F_ARGS), WHY_TAP);
    free(copy);
}

static struct event *keep(const struct event_box *box)
{
    struct event *ev = malloc(box->ev.size);
    return memcpy(ev, &box->ev, box->ev.size);
}

static void add_exec(const struct flat *flat)
{
    static struct event_box box;
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_PID, 4711, WHY_TAP);
    event_set(&box, F_EUID, 0, WHY_TAP);
    event_set_missing(&box, F_LOGINUID, WHY_ABSENT);
    set_text(&box, F_EXE, flat, "Image");
    set_text(&box, F_ARGS, flat, "CommandLine");
    set_text(&box, F_CWD, flat, "CurrentDirectory");
    execs[execs_len].ev = keep(&box);
    event_begin(&box, EVENT_SNAPSHOT);
    event_set(&box, F_PID, 42, WHY_TAP);
    set_text(&box, F_EXE, flat, "ParentImage");
    set_text(&box, F_ARGS, flat, "ParentCommandLine");
    execs[execs_len++].parent = keep(&box);
}

static void read_events(void)
{
    FILE *from = fopen("tests/fixtures/sigma/events.jsonl", "r");
    char *line = NULL, why[128];
    size_t cap = 0;
    ssize_t len;
    struct flat flat = { 0 };
    while (from && execs_len < EVENTS_MAX && (len = getline(&line, &cap, from)) > 0)
        if (flat_read(&flat, line, (size_t)len, why, sizeof why) == 0)
            add_exec(&flat);
    flat_free(&flat);
    free(line);
    if (from)
        fclose(from);
}

/* --- rules ------------------------------------------------------------------------------------ */

static void read_rule(const char *name)
{
    char path[512], bytes[4096];
    size_t got;
    snprintf(path, sizeof path, RULES_DIR "/%s", name);
    FILE *from = fopen(path, "r");
    while (from && (got = fread(bytes, 1, sizeof bytes, from)) > 0)
        buf_add(&rules[rules_len], bytes, got);
    if (from)
        fclose(from);
    rules_len++;
}

static int is_rule(const struct dirent *entry)
{
    return strstr(entry->d_name, ".yml") != NULL;
}

static void read_rules(void)
{
    struct dirent **found;
    int n = scandir(RULES_DIR, &found, is_rule, alphasort);
    for (int i = 0; i < n && i < 256; i++)
        read_rule(found[i]->d_name);
}

/* The same with another id, and with other letters in its values. */
static void alter_rules(void)
{
    for (int i = 0, n = rules_len; i < n; i++) {
        struct buf *to = &rules[rules_len++];
        bool quoted = false;
        buf_add(to, rules[i].data, rules[i].len);
        char *id = memmem(to->data, to->len, "\nid: ", 5);
        if (id)
            id[5] = id[5] == '0' ? '1' : '0';
        for (size_t at = 0; at + 1 < to->len; at++) {
            char *c = to->data + at;
            quoted = *c == '\'' ? !quoted : *c == '\n' ? false : quoted;
            if (quoted && c[-1] != '\\')
                *c = *c == 'a' ? 'o' : *c == 'o' ? 'a' : *c == 'e' ? 'u' : *c == 'u' ? 'e' : *c;
        }
    }
}

static unsigned next(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33);
}

/* A third look at a program of their own, a third at one that many look at, a third at the command
 * line alone. */
static void make_rules(struct buf *to, int count)
{
    static const char *const programs[] = { "bash", "sh",   "curl", "wget", "python3", "perl",
                                            "nc",   "find", "cat",  "cp",   "chmod",   "tar" };
    for (int i = 0; i < count; i++) {
        buf_printf(to,
                   "title: made up %d\nid: made-up-%d\nlogsource: { product: linux, category: "
                   "process_creation }\ndetection:\n",
                   i, i);
        if (i % 3 == 0)
            buf_printf(to, "  s_img: { Image|endswith: [ '/tool%d', '/tool%d.bin' ] }\n", i, i);
        else if (i % 3 == 1)
            buf_printf(to, "  s_img: { Image|endswith: '/%s' }\n", programs[next() % 12]);
        buf_printf(to, "  s_cli: { CommandLine|contains: [ ' --opt%u', '/srv/d%u/', 'word%u' ] }\n",
                   next() % 5000, next() % 5000, next() % 5000);
        buf_printf(to, "  s_more: { CommandLine|contains|all: [ 'w%ux', ' -%c' ] }\n",
                   next() % 2000, 'a' + next() % 26);
        buf_puts(to,
                 "  f: { ParentImage|endswith: [ /apt, /dpkg ] }\n  condition: all of s_* and not "
                 "f\nlevel: low\n---\n");
    }
}

/* Execs whose command lines are made of the words that these rules look for: the worst that can
 * come. */
static void make_execs(void)
{
    struct flat_value values[] = {
        { "Image", NULL, 0, false },
        { "CommandLine", NULL, 0, false },
        { "ParentImage", "/usr/bin/make", 13, false },
        { "ParentCommandLine", "make -j8 all", 12, false },
    };
    struct flat flat = { .values = values, .len = 4 };
    for (execs_len = 0; execs_len < 2000;) {
        char image[64], line[256];
        unsigned tool = next() % 10000;
        snprintf(image, sizeof image, tool % 2 ? "/usr/bin/tool%u" : "/usr/bin/bash", tool);
        snprintf(line, sizeof line,
                 "cmd --opt%u /srv/d%u/ word%u w%ux w%ux w%ux -%c -%c --opt%u word%u",
                 next() % 5000, next() % 5000, next() % 5000, next() % 2000, next() % 2000,
                 next() % 2000, 'a' + next() % 26, 'a' + next() % 26, next() % 5000, next() % 5000);
        values[0].text = image;
        values[0].len = strlen(image);
        values[1].text = line;
        values[1].len = strlen(line);
        add_exec(&flat);
    }
}

/* --- measuring -------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static struct sigma *load(const struct buf *texts, int len, bool no_jit)
{
    struct sigma *s;
    if (sigma_new(&s, &(struct sigma_options){ .no_jit = no_jit }) < 0)
        abort();
    for (int i = 0; i < len; i++)
        if (sigma_add(s, "rules", texts[i].data, texts[i].len) < 0)
            abort();
    if (sigma_finish(s) < 0)
        abort();
    return s;
}

static int ask_all(struct sigma *s, struct sigma_view *view)
{
    int fired = 0;
    for (int i = 0; i < execs_len; i++)
        fired += sigma_match(s, sigma_view_event(view, execs[i].ev, execs[i].parent, NULL, NULL));
    return fired;
}

static void measure(const char *name, const struct buf *texts, int len, bool no_jit)
{
    int64_t load_ns[RUNS], ask_ns[RUNS], view_ns[RUNS];
    struct sigma_size size = { 0 };
    int fired = 0;
    for (int run = 0; run < RUNS; run++) {
        struct sigma_view *view;
        int64_t begin = clock_cpu_ns();
        struct sigma *s = load(texts, len, no_jit);
        load_ns[run] = clock_cpu_ns() - begin;
        if (sigma_view_new(&view, s) < 0)
            abort();
        begin = clock_cpu_ns();
        for (int i = 0; i < execs_len; i++)
            sigma_view_event(view, execs[i].ev, execs[i].parent, NULL, NULL);
        view_ns[run] = (clock_cpu_ns() - begin) / execs_len;
        begin = clock_cpu_ns();
        fired = ask_all(s, view);
        ask_ns[run] = (clock_cpu_ns() - begin) / execs_len;
        size = sigma_size(s);
        sigma_view_free(view);
        sigma_free(s);
    }
    qsort(load_ns, RUNS, sizeof *load_ns, by_size);
    qsort(ask_ns, RUNS, sizeof *ask_ns, by_size);
    qsort(view_ns, RUNS, sizeof *view_ns, by_size);
    printf("%-24s %6.2f us/exec  (min %.2f, max %.2f; %.2f of it the fields)  load %.1f ms\n", name,
           (double)ask_ns[RUNS / 2] / 1e3, (double)ask_ns[0] / 1e3, (double)ask_ns[RUNS - 1] / 1e3,
           (double)view_ns[RUNS / 2] / 1e3, (double)load_ns[RUNS / 2] / 1e6);
    printf("%24s %zu rules, %zu texts, %zu states, %zu regular expressions, %.1f MB; %d fired\n",
           "", size.rules, size.literals, size.states, size.regexes, (double)size.bytes / 1e6,
           fired);
}

int main(void)
{
    struct buf many = { 0 };
    read_events();
    read_rules();
    if (!execs_len || !rules_len) {
        fputs("bench_sigma: start it where tests/fixtures/sigma is\n", stderr);
        return 1;
    }
    int corpus = rules_len;
    alter_rules();
    measure("corpus", rules, corpus, false);
    measure("corpus, no machine code", rules, corpus, true);
    measure("twice as many", rules, rules_len, false);
    measure("twice, no machine code", rules, rules_len, true);
    make_rules(&many, 10000);
    measure("ten thousand", &many, 1, true);
    make_execs();
    measure("and execs of their words", &many, 1, true);
    return 0;
}
