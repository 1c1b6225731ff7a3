/* tale.c - the story of an alert as text. See tale.h. */
#include "cli/tale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINES_MOST     60
#define COMMAND_MOST   100 /* columns of a command in a sentence */
#define STILL_MOST     8   /* named of those that still ran */
#define DEEPEST_INDENT 20

/* --- parts --------------------------------------------------------------------------------------- */

size_t tale_character(const char *text, int *columns)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t len = c[0] < 0xc2 || c[0] > 0xf4 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < len; i++)
        if ((c[i] & 0xc0) != 0x80)
            len = 1;
    /* U+1100 and what is from U+3000 on; the few there that are narrow get a column too many */
    *columns = len == 4 || (len == 3 && (c[0] > 0xe2 || (c[0] == 0xe1 && (c[1] & 0xfe) == 0x84))) ? 2 : 1;
    return len;
}

static int columns_of(const char *text)
{
    int all = 0, columns;
    while (*text) {
        text += tale_character(text, &columns);
        all += columns;
    }
    return all;
}

void tale_cut(FILE *to, const char *text, int most)
{
    int used = 0, columns;
    if (columns_of(text) <= most) {
        fputs(text, to);
        return;
    }
    for (;;) {
        size_t len = tale_character(text, &columns);
        if (used + columns > most - 1)
            break;
        fwrite(text, 1, len, to);
        used += columns;
        text += len;
    }
    fputs("…", to);
}

static void put_clock(FILE *to, double when)
{
    char text[64];
    time_t second = (time_t)floor(when);
    struct tm tm;
    if (fabs(when) < 1e12 && localtime_r(&second, &tm) && strftime(text, sizeof text, "%F %T", &tm))
        fprintf(to, "%s.%03d", text, (int)((when - (double)second) * 1000));
    else
        fprintf(to, "%.3f", when);
}

void tale_when(FILE *to, const struct tale *t)
{
    put_clock(to, t->time);
    if (value_number(t->alert, "seq") > 0)
        fprintf(to, ", event %.0f", value_number(t->alert, "seq"));
    if (*t->host) {
        fputs(" on ", to);
        cli_put(to, t->host);
    }
}

double tale_zero(const struct tale *t)
{
    return t->story && t->story->time > 0 ? t->story->time : t->time;
}

bool tale_is_own(const struct moonwatch_story *s, int process)
{
    return process >= 0 && s->processes[process].kin != MOONWATCH_OTHER;
}

static void put_value(FILE *to, const struct value *v)
{
    if (v->type == VALUE_TEXT)
        cli_put(to, v->text);
    else if (v->type == VALUE_NUMBER)
        fprintf(to, "%.14g", v->number);
    else
        fputs(v->type != VALUE_BOOLEAN ? "nil" : v->number ? "true" : "false", to);
}

void tale_teller(FILE *to, const struct tale *t)
{
    const char *handler = value_text(t->alert, "handler");
    const struct value *values = value_get(t->alert, "values");
    if (!strcmp(handler, "timer"))
        fputs("told by a timer of ", to);
    else if (*handler) {
        fputs("told by on.", to);
        cli_put(to, handler);
        fputs(" of ", to);
    } else
        fputs("told by ", to);
    cli_put(to, value_text(t->alert, "script"));
    if (value_number(t->alert, "line") > 0)
        fprintf(to, ", line %.0f", value_number(t->alert, "line"));
    for (const struct value *v = values ? values->first : NULL; v; v = v->next) {
        fputs(v == values->first ? ", with " : ", ", to);
        cli_put(to, v->key ? v->key : "");
        fputs(" = ", to);
        put_value(to, v);
    }
}

/* --- the lineage --------------------------------------------------------------------------------- */

static void put_name(FILE *to, const struct moonwatch_story_process *p)
{
    tale_cut(to, *p->comm ? p->comm : p->command, COMMAND_MOST);
    fprintf(to, " (%lld)", (long long)p->pid);
}

static void put_above(FILE *to, const struct moonwatch_story *s)
{
    int above = s->processes[s->root].parent;
    for (bool first = true; above >= 0; above = s->processes[above].parent, first = false) {
        fputs(first ? ", below " : ", ", to);
        put_name(to, &s->processes[above]);
    }
}

void tale_lineage(FILE *to, const struct tale *t)
{
    const struct moonwatch_story *s = t->story;
    const struct moonwatch_story_process *p = &s->processes[s->itself], *root = &s->processes[s->root];
    tale_cut(to, p->command, COMMAND_MOST);
    fprintf(to, " (pid %lld", (long long)p->pid);
    if (p->uid >= 0)
        fprintf(to, ", uid %lld", (long long)p->uid);
    putc(')', to);
    for (int i = p->parent; p != root && i >= 0; i = s->processes[i].parent) {
        fputs(p == &s->processes[s->itself] ? " was started by " : ", which was started by ", to);
        p = &s->processes[i];
        tale_cut(to, p->command, COMMAND_MOST);
        fprintf(to, " (%lld)", (long long)p->pid);
    }
    bool itself = s->root == s->itself;
    if (root->before)
        fputs(itself ? " ran before the recording began" : ", which ran before the recording began", to);
    else
        fputs(itself ? "; what started it is not in the recording"
                     : "; what started that is not in the recording", to);
    put_above(to, s);
}

/* --- the head ------------------------------------------------------------------------------------ */

/* A sentence, folded. */
static void print_folded(const struct tale *t, void (*part)(FILE *to, const struct tale *t))
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    if (to) {
        part(to, t);
        if (fclose(to) == 0)
            cli_fold(text, 0);
    }
    free(text);
}

static void put_title(FILE *to, const struct tale *t)
{
    fprintf(to, "alert %d: ", t->number);
    cli_put(to, value_text(t->alert, "severity"));
    fputs(" ", to);
    cli_put(to, value_text(t->alert, "script"));
    if (*value_text(t->alert, "text")) {
        fputs(": ", to);
        cli_put(to, value_text(t->alert, "text"));
    }
}

static void put_about(FILE *to, const struct tale *t)
{
    const struct value *tags = value_get(t->alert, "tags");
    tale_when(to, t);
    if (*value_text(t->alert, "key")) {
        fputs(", key ", to);
        cli_put(to, value_text(t->alert, "key"));
    }
    for (const struct value *tag = tags ? tags->first : NULL; tag; tag = tag->next) {
        fputs(tag == tags->first ? ", tags " : " ", to);
        cli_put(to, tag->text ? tag->text : "");
    }
    if (value_number(t->alert, "held") > 0)
        fprintf(to, ", %.0f equal ones were held back before", value_number(t->alert, "held"));
}

static void put_lineage(FILE *to, const struct tale *t)
{
    tale_lineage(to, t);
    putc('.', to);
}

void tale_head(const struct tale *t)
{
    print_folded(t, put_title);
    print_folded(t, put_about);
    print_folded(t, tale_teller);
    if (!t->story)
        return;
    putchar('\n');
    print_folded(t, put_lineage);
}

/* --- which lines --------------------------------------------------------------------------------- */

struct lines {
    const struct tale *t;
    const struct moonwatch_story *s;
    bool *events;    /* owned: is it shown? */
    bool *processes; /* owned: the same of who ran before */
    int shown;
    int left, left_processes;
    int decimals;
};

/* Of who is above the root the sentence tells. */
static bool ran_before(const struct moonwatch_story *s, int process)
{
    return s->processes[process].before && process >= s->root;
}

/* The first event that is not before the alert. */
static int middle(const struct lines *l)
{
    int at = l->s->alert;
    double zero = tale_zero(l->t);
    if (at < 0)
        for (at = 0; at < l->s->events_len && l->s->events[at].time < zero; at++)
            ;
    return at;
}

static void show_own(struct lines *l, bool all)
{
    for (int i = 0; i < l->s->processes_len; i++)
        l->shown += l->processes[i] = ran_before(l->s, i) && (all || tale_is_own(l->s, i));
    for (int i = 0; i < l->s->events_len; i++)
        l->shown += l->events[i] = all || tale_is_own(l->s, l->s->events[i].process);
}

/* Of the others those nearest to the alert. */
static void show_others(struct lines *l)
{
    const struct moonwatch_story_event *events = l->s->events;
    double zero = tale_zero(l->t);
    int after = middle(l), before = after - 1, len = l->s->events_len;
    while (l->shown < LINES_MOST && (before >= 0 || after < len)) {
        bool back = after >= len || (before >= 0 && zero - events[before].time < events[after].time - zero);
        int at = back ? before-- : after++;
        int process = events[at].process;
        l->shown += !l->events[at];
        l->events[at] = true;
        l->shown += process >= 0 && ran_before(l->s, process) && !l->processes[process];
        if (process >= 0)
            l->processes[process] = ran_before(l->s, process);
    }
}

static bool count_left(struct lines *l)
{
    bool *of = calloc((size_t)l->s->processes_len, sizeof *of);
    for (int i = 0; of && i < l->s->events_len; i++) {
        int process = l->s->events[i].process;
        l->left += !l->events[i];
        if (!l->events[i] && process >= 0 && !of[process]) {
            of[process] = true;
            l->left_processes++;
        }
    }
    free(of);
    return of != NULL;
}

/* --- the lines ----------------------------------------------------------------------------------- */

static void print_line(const struct lines *l, const char *when, int process, const char *type, const char *text,
                       bool alert)
{
    int depth = process >= 0 ? l->s->processes[process].depth - l->s->processes[l->s->root].depth : 0;
    int indent = depth < 0 ? 0 : 2 * (depth < DEEPEST_INDENT ? depth : DEEPEST_INDENT);
    bool colour = alert && cli_colour();
    char pid[32] = "";
    if (process >= 0)
        snprintf(pid, sizeof pid, "%lld", (long long)l->s->processes[process].pid);
    fputs(colour ? "\033[1;31m" : "", stdout);
    int used = printf("%c %12s %7s %-8s %*s", alert ? '>' : ' ', when, pid, type, indent, "");
    if (cli_columns() > used + 20)
        tale_cut(stdout, text, cli_columns() - used - (alert ? 10 : 0));
    else
        fputs(text, stdout);
    fputs(alert ? "  <- alert" : "", stdout);
    puts(colour ? "\033[0m" : "");
}

static void print_before(const struct lines *l)
{
    for (int i = 0; i < l->s->processes_len; i++)
        if (l->processes[i])
            print_line(l, "before", i, "ran", l->s->processes[i].command, false);
}

/* An alert that is about no event of the family stands between them. */
static void print_alert(const struct lines *l)
{
    char when[48];
    snprintf(when, sizeof when, "%+.*f", l->decimals, 0.0);
    print_line(l, when, -1, "alert", "", true);
}

static void print_events(const struct lines *l)
{
    double zero = tale_zero(l->t);
    int alert = l->s->alert < 0 ? middle(l) : -1;
    for (int i = 0; i < l->s->events_len; i++) {
        const struct moonwatch_story_event *e = &l->s->events[i];
        char when[48];
        if (i == alert)
            print_alert(l);
        if (!l->events[i])
            continue;
        snprintf(when, sizeof when, "%+.*f", l->decimals, e->time - zero);
        print_line(l, when, e->process, e->type, e->text, i == l->s->alert);
    }
    if (alert == l->s->events_len)
        print_alert(l);
}

static void print_still_running(const struct lines *l)
{
    int n = 0;
    for (int i = l->s->root; i < l->s->processes_len; i++) {
        const struct moonwatch_story_process *p = &l->s->processes[i];
        if (!tale_is_own(l->s, i) || p->ended != 0)
            continue;
        if (n == 0)
            printf("still running when the recording ended, at %+.*f:", l->decimals, l->s->last - tale_zero(l->t));
        if (n < STILL_MOST) {
            fputs(n ? ", " : " ", stdout);
            put_name(stdout, p);
        }
        n++;
    }
    if (n > STILL_MOST)
        printf(" and %d more", n - STILL_MOST);
    if (n)
        putchar('\n');
}

static void print_left(const struct lines *l)
{
    const struct moonwatch_story *s = l->s;
    if (l->left)
        printf("left out: %d events of %d other processes of the family; --all shows them\n", l->left,
               l->left_processes);
    if (s->processes_left || s->events_left)
        printf("too many to be kept: at least %llu more processes and %llu events\n",
               (unsigned long long)s->processes_left, (unsigned long long)s->events_left);
}

bool tale_timeline(const struct tale *t, bool all)
{
    const struct moonwatch_story *s = t->story;
    struct lines l = { .t = t, .s = s, .decimals = 4 };
    l.events = calloc((size_t)s->events_len + 1, sizeof *l.events);
    l.processes = calloc((size_t)s->processes_len, sizeof *l.processes);
    bool ok = l.events && l.processes;
    if (ok) {
        show_own(&l, all);
        show_others(&l);
        ok = count_left(&l);
        printf("\n  %12s %7s %-8s of ", "SECONDS", "PID", "EVENT");
        put_name(stdout, &s->processes[s->root]);
        puts(" and what it started");
        print_before(&l);
        print_events(&l);
        print_still_running(&l);
        print_left(&l);
    }
    free(l.events);
    free(l.processes);
    return ok;
}
