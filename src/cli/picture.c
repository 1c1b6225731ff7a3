/* picture.c - the story of an alert as SVG. See picture.h.
 *
 * Nothing in it moves, calls out or loads anything. Whatever a process chose stands in text only, escaped;
 * widths are reckoned in columns of a monospaced font, so that no font has to be asked. */
#include "cli/picture.h"

#include "cli/axis.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH   1280
#define MARGIN  28
#define LABELS  440                   /* the column of names */
#define CHART_X (MARGIN + LABELS + 20)
#define CHART_W (WIDTH - CHART_X - 92) /* behind it: how a process ended */
#define ROW     24
#define COLUMN  7.25                  /* of monospaced text of 12 px */
#define TEXT_W  ((int)((WIDTH - 2 * MARGIN) / COLUMN))

#define ROWS_MOST   120
#define OTHERS_MOST 24
#define STEP_MOST   16 /* px to the right for a child */
#define STEPS_WIDTH 200

struct row {
    bool drawn, executed;
    double nearest; /* event to the alert, in seconds */
    int y;          /* of its middle */
    int last_child_y;
};

struct picture {
    FILE *to;
    const struct tale *t;
    const struct moonwatch_story *s;
    struct row *rows; /* owned, beside the processes */
    int drawn;
    struct axis axis;
    double step; /* px to the right for a child */
    int chart_y, end_y;
};

/* --- text ---------------------------------------------------------------------------------------- */

/* Bytes of a character that XML can hold and that steers nothing; 0: it is shown by its bytes. */
static size_t plain_character(const char *text)
{
    int columns;
    const unsigned char *c = (const unsigned char *)text;
    size_t len = tale_character(text, &columns);
    if (len == 1)
        return c[0] >= 0x20 && c[0] < 0x7f;
    uint32_t code = len == 2 ? c[0] & 0x1f : len == 3 ? c[0] & 0x0f : c[0] & 0x07;
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (c[i] & 0x3f);
    bool odd = code < 0xa0 || (len == 3 && code < 0x800) || (len == 4 && code < 0x10000) ||
               (code >= 0xd800 && code < 0xe000) || (code & 0xfffe) == 0xfffe || code > 0x10ffff ||
               (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
               (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
    return odd ? 0 : len;
}

static void put_xml(FILE *to, const char *text)
{
    while (*text) {
        size_t len = plain_character(text);
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"')
            fputs(*text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : "&quot;", to);
        else if (len)
            fwrite(text, 1, len, to);
        else
            fprintf(to, "\\x%02x", (unsigned char)*text);
        text += len ? len : 1;
    }
}

/* What a part writes, NUL-ended and harmless, to be freed; NULL: no memory. */
static char *text_of(const struct tale *t, void (*part)(FILE *to, const struct tale *t))
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    if (!to)
        return NULL;
    part(to, t);
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

static void put_cut(FILE *to, const char *text, int columns)
{
    char *cut = NULL;
    size_t len;
    FILE *memory = columns > 0 ? open_memstream(&cut, &len) : NULL;
    if (!memory)
        return;
    tale_cut(memory, text, columns);
    if (fclose(memory) == 0)
        put_xml(to, cut);
    free(cut);
}

/* The bytes of the next line of at most so many columns, broken at a blank where there is one. */
static size_t line_of(const char *text, int most)
{
    size_t at = 0, blank = 0;
    int used = 0, columns;
    while (text[at]) {
        size_t len = tale_character(text + at, &columns);
        if (used + columns > most)
            return blank ? blank : at;
        used += columns;
        blank = text[at] == ' ' ? at : blank;
        at += len;
    }
    return at;
}

/* Lines of text; returns where the next one would be. */
static double put_lines(FILE *to, double y, const char *class, const char *text, int lines, int columns,
                        double height)
{
    for (int i = 0; *text && i < lines; i++, y += height) {
        size_t len = line_of(text, columns);
        char *line = strndup(text, len);
        fprintf(to, "<text class=\"%s\" x=\"%d\" y=\"%.0f\">", class, MARGIN, y);
        if (line && i == lines - 1)
            put_cut(to, text, columns);
        else if (line)
            put_xml(to, line);
        fputs("</text>\n", to);
        free(line);
        text += len;
        text += *text == ' ';
    }
    return y;
}

/* "2 ms", "1.5 s", "3 min", "2 h": with so many decimals of a second, where it is given in these. */
static void put_span(FILE *to, double seconds, int decimals)
{
    double size = fabs(seconds);
    const char *sign = seconds < 0 ? "\xe2\x88\x92" : seconds > 0 ? "+" : "";
    if (size == 0)
        fputs("0", to);
    else if (size < 0.9995e-3)
        fprintf(to, "%s%.*f µs", sign, decimals > 6 ? decimals - 6 : 0, size * 1e6);
    else if (size < 0.9995)
        fprintf(to, "%s%.*f ms", sign, decimals > 3 ? decimals - 3 : 0, size * 1e3);
    else if (size < 120 || decimals > 0)
        fprintf(to, "%s%.*f s", sign, decimals, size);
    else if (size < 7200)
        fprintf(to, "%s%.3g min", sign, size / 60);
    else if (size < 172800)
        fprintf(to, "%s%.3g h", sign, size / 3600);
    else
        fprintf(to, "%s%.4g d", sign, size / 86400);
}

/* --- what is drawn ------------------------------------------------------------------------------- */

static bool look_at_events(struct picture *p)
{
    double zero = tale_zero(p->t);
    p->rows = calloc((size_t)p->s->processes_len, sizeof *p->rows);
    for (int i = 0; p->rows && i < p->s->processes_len; i++) {
        p->rows[i].nearest = HUGE_VAL;
        p->rows[i].executed = p->s->processes[i].before;
    }
    for (int i = 0; p->rows && i < p->s->events_len; i++) {
        const struct moonwatch_story_event *e = &p->s->events[i];
        if (e->process < 0)
            continue;
        struct row *row = &p->rows[e->process];
        row->nearest = fmin(row->nearest, fabs(e->time - zero));
        row->executed = row->executed || !strcmp(e->type, "exec");
    }
    return p->rows != NULL;
}

/* With whoever is above it, if there is room for all of them. */
static void choose(struct picture *p, int process, int most)
{
    int more = 0;
    for (int i = process; i >= 0 && !p->rows[i].drawn; i = p->s->processes[i].parent)
        more++;
    if (p->drawn + more > most)
        return;
    for (int i = process; i >= 0 && !p->rows[i].drawn; i = p->s->processes[i].parent)
        p->rows[i].drawn = true;
    p->drawn += more;
}

static int by_distance(const void *a, const void *b, void *ctx)
{
    const struct row *rows = ctx;
    double one = rows[*(const int *)a].nearest, other = rows[*(const int *)b].nearest;
    return one < other ? -1 : one > other ? 1 : *(const int *)a - *(const int *)b;
}

/* The line first, then what descends from it, then the others who are nearest to the alert. */
static bool choose_rows(struct picture *p)
{
    int n = 0, *others = malloc((size_t)p->s->processes_len * sizeof *others);
    if (!others)
        return false;
    choose(p, p->s->itself, p->s->processes_len);
    for (int i = 0; i < p->s->processes_len; i++)
        if (tale_is_own(p->s, i))
            choose(p, i, ROWS_MOST);
        else if (p->rows[i].nearest < HUGE_VAL)
            others[n++] = i;
    qsort_r(others, (size_t)n, sizeof *others, by_distance, p->rows);
    int most = p->drawn + OTHERS_MOST < ROWS_MOST ? p->drawn + OTHERS_MOST : ROWS_MOST;
    for (int i = 0; i < n; i++)
        choose(p, others[i], most);
    free(others);
    return true;
}

/* Room for the deepest name. */
static void choose_step(struct picture *p)
{
    int deepest = 1;
    for (int i = 0; i < p->s->processes_len; i++)
        if (p->rows[i].drawn && p->s->processes[i].depth > deepest)
            deepest = p->s->processes[i].depth;
    p->step = fmin(STEP_MOST, (double)STEPS_WIDTH / deepest);
}

/* --- the axis ------------------------------------------------------------------------------------ */

/* All that happened to whom is drawn. */
static bool choose_axis(struct picture *p)
{
    double *distances = malloc(((size_t)p->s->events_len + 1) * sizeof *distances);
    int n = 0;
    axis_begin(&p->axis, tale_zero(p->t), CHART_X, CHART_W);
    for (int i = 0; distances && i < p->s->events_len; i++) {
        const struct moonwatch_story_event *e = &p->s->events[i];
        if (e->process < 0 || !p->rows[e->process].drawn)
            continue;
        axis_widen(&p->axis, e->time);
        if (tale_is_own(p->s, e->process))
            distances[n++] = fabs(e->time - p->axis.zero);
    }
    if (distances)
        axis_settle(&p->axis, distances, n);
    free(distances);
    return distances != NULL;
}

static void put_tick(void *ctx, double seconds, int decimals)
{
    const struct picture *p = ctx;
    double x = axis_x(&p->axis, p->axis.zero + seconds);
    fprintf(p->to, "<path class=\"grid\" d=\"M%.1f %dV%d\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\">", x,
            p->chart_y - 6, p->end_y, x, p->chart_y - 12);
    put_span(p->to, seconds, decimals);
    fputs("</text>\n", p->to);
}

static void put_axis(struct picture *p)
{
    axis_ticks(&p->axis, put_tick, p);
    fprintf(p->to, "<text class=\"dim\" x=\"%d\" y=\"%d\">time from the alert%s</text>\n", MARGIN, p->chart_y - 12,
            p->axis.tau > 0 ? ", logarithmic" : "");
}

/* --- a row --------------------------------------------------------------------------------------- */

static double label_x(const struct picture *p, int process)
{
    return MARGIN + 6 + p->step * p->s->processes[process].depth;
}

static double began_at(const struct picture *p, const struct moonwatch_story_process *m)
{
    return m->before || m->began <= 0 ? p->axis.from : m->began;
}

static void put_how_it_ended(FILE *to, const struct moonwatch_story_process *m)
{
    const char *name = m->signal > 0 ? sigabbrev_np(m->signal) : NULL;
    if (name)
        fprintf(to, "SIG%s", name);
    else if (m->signal > 0)
        fprintf(to, "signal %d", m->signal);
    else if (m->code >= 0)
        fprintf(to, "exit %d", m->code);
    else
        fputs("ended, how is not known", to);
}

/* All there is to say of it. */
static void put_row_title(const struct picture *p, const struct moonwatch_story_process *m)
{
    fprintf(p->to, "<title>pid %lld", (long long)m->pid);
    if (m->uid >= 0)
        fprintf(p->to, ", uid %lld", (long long)m->uid);
    fputs("\n", p->to);
    put_xml(p->to, m->command);
    if (*m->exe)
        fputs("\nexe ", p->to);
    put_xml(p->to, m->exe);
    if (*m->cwd)
        fputs("\ncwd ", p->to);
    put_xml(p->to, m->cwd);
    fputs(m->before ? "\nran before the recording began" : m->began > 0 ? "\nbegan at " : "\nits begin is not known",
          p->to);
    if (!m->before && m->began > 0)
        put_span(p->to, m->began - p->axis.zero, 4);
    fputs("\n", p->to);
    if (m->ended != 0) {
        put_how_it_ended(p->to, m);
        fputs(" at ", p->to);
        put_span(p->to, m->ended - p->axis.zero, 4);
    } else
        fputs("still ran when the recording ended", p->to);
    fputs("</title>\n", p->to);
}

static void put_label(const struct picture *p, int process)
{
    const struct moonwatch_story_process *m = &p->s->processes[process];
    bool executed = p->rows[process].executed;
    bool new_uid = m->uid >= 0 && (m->parent < 0 || p->s->processes[m->parent].uid != m->uid);
    char number[64];
    int len = snprintf(number, sizeof number, "%lld", (long long)m->pid);
    if (new_uid)
        len += snprintf(number + len, sizeof number - (size_t)len, " · uid %lld", (long long)m->uid) - 1;
    double x = label_x(p, process);
    int columns = (int)((MARGIN + LABELS - x - len * 6.7 - 10) / COLUMN);
    fprintf(p->to, "<text class=\"m %s\" x=\"%.1f\" y=\"%d\">",
            process == p->s->itself ? "strong" : !executed ? "copy" : tale_is_own(p->s, process) ? "ink" : "faint", x,
            p->rows[process].y + 4);
    put_cut(p->to, executed || !*m->comm ? m->command : m->comm, columns - (executed ? 0 : 9));
    fprintf(p->to, "%s</text><text class=\"pid\" x=\"%d\" y=\"%d\">%s</text>\n", executed ? "" : " (a fork)",
            MARGIN + LABELS, p->rows[process].y + 4, number);
}

static const char *bar_class(const struct picture *p, int process)
{
    static const char *const classes[] = { "other", "line", "self", "below" };
    return classes[p->s->processes[process].kin];
}

static void put_bar(const struct picture *p, int process)
{
    const struct moonwatch_story_process *m = &p->s->processes[process];
    bool open_left = m->before || m->began <= 0 || m->began < p->axis.from;
    bool open_right = m->ended == 0 || m->ended > p->axis.to;
    double from = axis_x(&p->axis, began_at(p, m)), to = axis_x(&p->axis, open_right ? p->axis.to : m->ended);
    int y = p->rows[process].y;
    const char *class = bar_class(p, process);
    to = fmax(to, from + 2);
    fprintf(p->to, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"10\" rx=\"2\"/>", class, from, y - 5,
            to - from);
    if (open_left)
        fprintf(p->to, "<path class=\"%s\" d=\"M%.1f %dl-7 5l7 5z\"/>", class, from + 1, y - 5);
    if (open_right)
        fprintf(p->to, "<path class=\"%s\" d=\"M%.1f %dl7 5l-7 5z\"/>", class, to - 1, y - 5);
    if (m->ended != 0 && !open_right && (m->signal > 0 || m->code > 0)) {
        const char *how = m->signal > 0 ? "killed" : "failed";
        fprintf(p->to, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"4\" height=\"14\" rx=\"1\"/>", how, to - 2,
                y - 7);
        fprintf(p->to, "<text class=\"%s end\" x=\"%.1f\" y=\"%d\">", how, to + 7, y + 4);
        put_how_it_ended(p->to, m);
        fputs("</text>", p->to);
    }
    fputs("\n", p->to);
}

static void put_elbow(const struct picture *p, int process)
{
    int parent = p->s->processes[process].parent;
    if (parent < 0)
        return;
    double x = label_x(p, parent) + 4;
    fprintf(p->to, "<path class=\"tree\" d=\"M%.1f %dH%.1f\"/>", x, p->rows[process].y, label_x(p, process) - 3);
}

static void put_branch(const struct picture *p, int process)
{
    if (p->rows[process].last_child_y)
        fprintf(p->to, "<path class=\"tree\" d=\"M%.1f %dV%d\"/>\n", label_x(p, process) + 4, p->rows[process].y + 9,
                p->rows[process].last_child_y);
}

static void put_stripe(const struct picture *p, int process, const char *class)
{
    fprintf(p->to, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", class, MARGIN - 8,
            p->rows[process].y - ROW / 2, WIDTH - 2 * MARGIN + 16, ROW);
}

static void put_row(const struct picture *p, int process)
{
    fputs("<g>", p->to);
    put_row_title(p, &p->s->processes[process]);
    put_stripe(p, process, "hover");
    put_elbow(p, process);
    put_branch(p, process);
    put_label(p, process);
    put_bar(p, process);
    fputs("</g>\n", p->to);
}

/* --- marks --------------------------------------------------------------------------------------- */

static void put_mark_title(const struct picture *p, const struct moonwatch_story_event *e)
{
    fputs("<title>", p->to);
    put_span(p->to, e->time - p->axis.zero, 4);
    fprintf(p->to, " %s: ", e->type);
    put_xml(p->to, e->text);
    fputs("</title>", p->to);
}

static void put_mark(const struct picture *p, const struct moonwatch_story_event *e, double x)
{
    int y = p->rows[e->process].y;
    if (!strcmp(e->type, "exec"))
        fprintf(p->to, "<rect class=\"exec\" x=\"%.1f\" y=\"%d\" width=\"2\" height=\"14\">", x - 1, y - 7);
    else
        fprintf(p->to, "<rect class=\"change\" x=\"%.1f\" y=\"%d\" width=\"7\" height=\"7\" rx=\"3.5\">", x - 3.5,
                y - 3);
    put_mark_title(p, e);
    fputs("</rect>\n", p->to);
}

/* Of those that would lie upon each other the first. */
static bool put_marks(const struct picture *p)
{
    double *last = malloc((size_t)p->s->processes_len * 2 * sizeof *last);
    for (int i = 0; last && i < p->s->processes_len * 2; i++)
        last[i] = -10;
    for (int i = 0; last && i < p->s->events_len; i++) {
        const struct moonwatch_story_event *e = &p->s->events[i];
        if (e->process < 0 || !p->rows[e->process].drawn || !strcmp(e->type, "fork") || !strcmp(e->type, "exit") ||
            !strcmp(e->type, "snapshot"))
            continue;
        double x = axis_x(&p->axis, e->time);
        double *before = &last[e->process * 2 + (strcmp(e->type, "exec") != 0)];
        if (fabs(x - *before) < 1)
            continue;
        *before = x;
        put_mark(p, e, x);
    }
    free(last);
    return last != NULL;
}

static void put_alert(const struct picture *p)
{
    double x = axis_x(&p->axis, p->axis.zero);
    int process = p->s->alert >= 0 ? p->s->events[p->s->alert].process : p->s->itself;
    int y = p->rows[p->rows[process].drawn ? process : p->s->itself].y;
    const char *text = value_text(p->t->alert, "text"), *anchor = "middle";
    if (!*text)
        text = value_text(p->t->alert, "script");
    double side = x - CHART_X < WIDTH - MARGIN - x ? x - CHART_X : WIDTH - MARGIN - x;
    int columns = (int)(side * 2 / COLUMN);
    if (columns < 48) {
        bool left = x - CHART_X < WIDTH - MARGIN - x;
        anchor = left ? "start" : "end";
        columns = 48;
    }
    fprintf(p->to, "<path class=\"alertline\" d=\"M%.1f %dV%d\"/>\n", x, p->chart_y - 6, p->end_y);
    fprintf(p->to, "<text class=\"m alert\" text-anchor=\"%s\" x=\"%.1f\" y=\"%d\">", anchor, x, p->chart_y - 34);
    put_cut(p->to, text, columns < 80 ? columns : 80);
    fprintf(p->to, "</text>\n<path class=\"alert point\" d=\"M%.1f %dl7 7l-7 7l-7 -7z\">", x, y - 7);
    fputs("<title>alert: ", p->to);
    put_xml(p->to, text);
    fputs("</title></path>\n", p->to);
}

/* --- around the chart ---------------------------------------------------------------------------- */

static const char style[] =
    "<style>\n"
    "text{font:12px system-ui,-apple-system,\"Segoe UI\",\"Liberation Sans\",\"DejaVu Sans\",sans-serif;fill:#1f2328}\n"
    ".m{font-family:ui-monospace,\"DejaVu Sans Mono\",\"Liberation Mono\",Menlo,Consolas,monospace}\n"
    ".title{font-size:20px;font-weight:600}.text{font-size:16px}.badge{fill:#fff;font-weight:700;text-anchor:middle}\n"
    ".strong{font-weight:700}.copy{font-style:italic}.pid,.end{font-size:11px}.pid{text-anchor:end}\n"
    ".tick{font-size:11px;text-anchor:middle}.dim,.tick,.pid,.faint,.copy{fill:#656d76}\n"
    ".page{fill:#fff}.even{fill:#fff}.odd{fill:#f6f8fa}.here{fill:#e8eefc}\n"
    ".hover{fill-opacity:0}.grid{stroke:#d8dee4;stroke-width:1}.tree{stroke:#afb8c1;fill:none}\n"
    ".line{fill:#8c9bb0}.self{fill:#3b5bdb}.below{fill:#6b97e8}.other{fill:#c4ccd4}\n"
    ".exec{fill:#1f2328}.change{fill:#bf8700}.failed{fill:#cf222e}.killed{fill:#bc4c00}\n"
    ".alert{fill:#d1242f;font-weight:600}.point{stroke:#fff;stroke-width:1.5}\n"
    ".alertline{stroke:#d1242f;stroke-dasharray:4 3;fill:none}\n"
    ".low{fill:#0969da}.medium{fill:#9a6700}.high{fill:#cf222e}.critical{fill:#8e1bb0}.any{fill:#57606a}\n"
    "@media (prefers-color-scheme:dark){\n"
    "text{fill:#e6edf3}.dim,.tick,.pid,.faint,.copy{fill:#8b949e}.badge{fill:#fff}\n"
    ".page{fill:#0d1117}.even{fill:#0d1117}.odd{fill:#131920}.here{fill:#1b2440}\n"
    ".grid{stroke:#2a3038}.tree{stroke:#484f58}\n"
    ".line{fill:#7486a0}.self{fill:#7c97ff}.below{fill:#4a78cc}.other{fill:#3d4650}\n"
    ".exec{fill:#e6edf3}.change{fill:#e3b341}.failed{fill:#ff7b72}.killed{fill:#ffa657}\n"
    ".alert{fill:#ff6a63}.point{stroke:#0d1117}.alertline{stroke:#ff6a63}\n"
    "}\n"
    "</style>\n";

static void part_when(FILE *to, const struct tale *t)
{
    tale_when(to, t);
    if (*value_text(t->alert, "key")) {
        fputs(", key ", to);
        cli_put(to, value_text(t->alert, "key"));
    }
}

static void put_part(const struct picture *p, double *y, const char *class, int lines,
                     void (*part)(FILE *to, const struct tale *t))
{
    char *text = text_of(p->t, part);
    if (text)
        *y = put_lines(p->to, *y, class, text, lines, TEXT_W, 17);
    free(text);
}

static const char *severity_class(const char *severity)
{
    static const char *const names[] = { "low", "medium", "high", "critical" };
    for (int i = 0; i < 4; i++)
        if (!strcmp(severity, names[i]))
            return names[i];
    return "any";
}

/* Returns where the next line would be. */
static double put_head(const struct picture *p)
{
    const char *severity = value_text(p->t->alert, "severity");
    double y = 84;
    fprintf(p->to, "<rect class=\"%s\" x=\"%d\" y=\"26\" width=\"78\" height=\"24\" rx=\"12\"/>",
            severity_class(severity), MARGIN);
    fprintf(p->to, "<text class=\"badge\" x=\"%d\" y=\"42\">", MARGIN + 39);
    put_cut(p->to, severity, 10);
    fprintf(p->to, "</text>\n<text class=\"title\" x=\"%d\" y=\"45\">", MARGIN + 92);
    put_cut(p->to, value_text(p->t->alert, "script"), 80);
    fputs("</text>\n", p->to);
    y = put_lines(p->to, y - 6, "text", value_text(p->t->alert, "text"), 2, TEXT_W * 3 / 4, 21);
    put_part(p, &y, "dim", 1, part_when);
    y += 4;
    put_part(p, &y, "m", 4, tale_lineage);
    put_part(p, &y, "m dim", 3, tale_teller);
    return y;
}

static double put_key(const struct picture *p, double x, const char *glyph, const char *text)
{
    fprintf(p->to, "<g transform=\"translate(%.0f %d)\">%s</g><text class=\"dim\" x=\"%.0f\" y=\"%d\">%s</text>\n", x,
            p->end_y + 28, glyph, x + 22, p->end_y + 32, text);
    return x + 22 + 6.4 * (double)strlen(text) + 22;
}

static void put_legend(const struct picture *p)
{
    double x = MARGIN;
    x = put_key(p, x, "<rect class=\"self\" y=\"-5\" width=\"16\" height=\"10\" rx=\"2\"/>", "what the alert is about");
    x = put_key(p, x, "<rect class=\"line\" y=\"-5\" width=\"16\" height=\"10\" rx=\"2\"/>", "its ancestors");
    x = put_key(p, x, "<rect class=\"below\" y=\"-5\" width=\"16\" height=\"10\" rx=\"2\"/>", "its descendants");
    x = put_key(p, x, "<rect class=\"other\" y=\"-5\" width=\"16\" height=\"10\" rx=\"2\"/>", "others");
    x = put_key(p, x, "<rect class=\"exec\" x=\"7\" y=\"-8\" width=\"2\" height=\"16\"/>", "exec");
    x = put_key(p, x, "<rect class=\"change\" x=\"5\" y=\"-3\" width=\"7\" height=\"7\" rx=\"3.5\"/>",
                "another change");
    x = put_key(p, x, "<path class=\"line\" d=\"M8 -5l7 5l-7 5z\"/>", "still ran");
    x = put_key(p, x, "<rect class=\"failed\" x=\"6\" y=\"-7\" width=\"4\" height=\"14\" rx=\"1\"/>", "failed");
    put_key(p, x, "<rect class=\"killed\" x=\"6\" y=\"-7\" width=\"4\" height=\"14\" rx=\"1\"/>", "killed");
    int left = p->s->processes_len - p->drawn;
    if (left || p->s->processes_left)
        fprintf(p->to,
                "<text class=\"dim\" x=\"%d\" y=\"%d\">%s%llu more processes of the family are not drawn</text>\n",
                MARGIN, p->end_y + 54, p->s->processes_left ? "at least " : "",
                (unsigned long long)left + (unsigned long long)p->s->processes_left);
}

/* --- the whole ----------------------------------------------------------------------------------- */

static void place_rows(struct picture *p, int top)
{
    int y = top + ROW / 2;
    for (int i = 0; i < p->s->processes_len; i++) {
        if (!p->rows[i].drawn)
            continue;
        p->rows[i].y = y;
        if (p->s->processes[i].parent >= 0)
            p->rows[p->s->processes[i].parent].last_child_y = y;
        y += ROW;
    }
    p->end_y = y - ROW / 2 + 4;
}

static void put_description(FILE *to, const struct tale *t)
{
    cli_put(to, value_text(t->alert, "script"));
    fputs(": ", to);
    tale_lineage(to, t);
}

static void put_begin(const struct picture *p)
{
    int height = p->end_y + 76;
    char *text = text_of(p->t, put_description);
    fprintf(p->to,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\""
            " role=\"img\">\n",
            WIDTH, height, WIDTH, height);
    fputs("<desc>", p->to);
    put_xml(p->to, text ? text : "");
    fprintf(p->to, "</desc>\n%s<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", style, WIDTH, height);
    free(text);
}

static bool put_chart(struct picture *p)
{
    int number = 0;
    for (int i = 0; i < p->s->processes_len; i++)
        if (p->rows[i].drawn)
            put_stripe(p, i, i == p->s->itself ? "here" : number++ % 2 ? "odd" : "even");
    put_axis(p);
    for (int i = 0; i < p->s->processes_len; i++)
        if (p->rows[i].drawn)
            put_row(p, i);
    bool ok = put_marks(p);
    put_alert(p);
    return ok;
}

/* How high the head is shows when it is written. */
static bool draw(struct picture *p)
{
    char *head = NULL;
    size_t len;
    FILE *to = p->to;
    if (!(p->to = open_memstream(&head, &len))) {
        p->to = to;
        return false;
    }
    double y = put_head(p);
    bool ok = fclose(p->to) == 0;
    p->to = to;
    p->chart_y = (int)y + 54;
    place_rows(p, p->chart_y);
    put_begin(p);
    fputs(ok ? head : "", to);
    free(head);
    ok = put_chart(p) && ok;
    put_legend(p);
    fputs("</svg>\n", to);
    return ok;
}

bool picture_draw(const struct tale *t, FILE *to)
{
    struct picture p = { .to = to, .t = t, .s = t->story };
    bool ok = look_at_events(&p) && choose_rows(&p);
    if (ok) {
        choose_step(&p);
        ok = choose_axis(&p) && draw(&p);
    }
    free(p.rows);
    return ok;
}
