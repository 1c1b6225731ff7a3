/* screen.c - the state of a watch and its scripts as a table. See screen.h. */
#include "cli/screen.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

struct frame {
    const struct screen *screen;
    FILE *line; /* one line is built here */
    char *text;
    size_t len;
    int lines; /* written */
};

/* --- cells ---------------------------------------------------------------------------------------- */

/* The character at `text` and how many columns it takes; what has none, or steers, is a '?'. */
static size_t next_character(const char *text, wchar_t *c, int *width)
{
    mbstate_t state = { 0 };
    size_t len = mbrtowc(c, text, strlen(text), &state);
    if (len == 0 || len > 8) { /* no character of this locale */
        *c = L'?';
        *width = 1;
        return 1;
    }
    *width = iswprint((wint_t)*c) ? wcwidth(*c) : -1;
    if (*width <= 0) {
        *c = L'?';
        *width = 1;
    }
    return len;
}

/* At most `wide` columns, filled up with blanks. */
static void put_cell(FILE *to, const char *text, int wide)
{
    int at = 0, width;
    wchar_t c;
    while (*text) {
        size_t len = next_character(text, &c, &width);
        if (at + width > wide)
            break;
        if (c == L'?')
            fputc('?', to);
        else
            fwrite(text, 1, len, to);
        at += width;
        text += len;
    }
    fprintf(to, "%*s", wide - at, "");
}

static const char *short_count(double n, char *to, size_t cap)
{
    static const char units[] = " kMGT";
    int unit = 0;
    for (; n >= 9999.5 && units[unit + 1]; unit++)
        n /= 1000;
    if (unit == 0 && n < 99.95 && n != (double)(long)n)
        snprintf(to, cap, "%.1f", n);
    else
        snprintf(to, cap, unit ? "%.0f%c" : "%.0f", n, units[unit]);
    return to;
}

static const char *short_bytes(double n, char *to, size_t cap)
{
    static const char units[] = "BkMGT";
    int unit = 0;
    for (; n >= 1023.5 && units[unit + 1]; unit++)
        n /= 1024;
    snprintf(to, cap, unit && n < 9.95 ? "%.1f%c" : "%.0f%c", n, units[unit]);
    return to;
}

static const char *short_time(double us, char *to, size_t cap)
{
    if (us < 999.5)
        snprintf(to, cap, us < 9.95 ? "%.1fus" : "%.0fus", us);
    else if (us < 999500)
        snprintf(to, cap, us < 9950 ? "%.1fms" : "%.0fms", us / 1000);
    else
        snprintf(to, cap, "%.1fs", us / 1e6);
    return to;
}

static const char *short_span(double seconds, char *to, size_t cap)
{
    long s = (long)seconds;
    if (s < 60)
        snprintf(to, cap, "%lds", s);
    else if (s < 3600)
        snprintf(to, cap, "%ldm%02lds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(to, cap, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else
        snprintf(to, cap, "%ldd%02ldh", s / 86400, s / 3600 % 24);
    return to;
}

/* --- lines ------------------------------------------------------------------------------------------ */

static bool full(const struct frame *f)
{
    return f->screen->rows && f->lines >= f->screen->rows;
}

/* What was built becomes a line, cut where the screen ends. */
static void end_line(struct frame *f, const char *style)
{
    fputc('\0', f->line);
    fflush(f->line);
    if (!full(f)) {
        FILE *to = f->screen->to;
        int wide = f->screen->columns ? f->screen->columns : 1 << 20;
        char *text = f->text;
        size_t len = strlen(text);
        while (len && text[len - 1] == ' ')
            text[--len] = '\0';
        fputs(f->screen->colour ? style : "", to);
        for (int at = 0; *text;) {
            wchar_t c;
            int width;
            size_t bytes = next_character(text, &c, &width);
            if (at + width > wide)
                break;
            fwrite(text, 1, bytes, to);
            at += width;
            text += bytes;
        }
        fputs(f->screen->colour && *style ? "\x1b[0m" : "", to);
        fputs(f->screen->end, to);
        f->lines++;
    }
    rewind(f->line);
}

static double rate(const struct value *now, const struct value *before, const char *key, double seconds)
{
    double delta = value_number(now, key) - value_number(before, key);
    return delta > 0 && seconds > 0 ? delta / seconds : 0; /* a worker that began anew counts anew */
}

static const struct value *same_script(const struct value *before, const struct value *script)
{
    const struct value *list = value_get(before, "scripts");
    for (const struct value *s = list ? list->first : NULL; s; s = s->next)
        if (!strcmp(value_text(s, "name"), value_text(script, "name")) &&
            !strcmp(value_text(s, "path"), value_text(script, "path")) &&
            value_number(s, "generation") <= value_number(script, "generation"))
            return s;
    return NULL;
}

/* --- the parts --------------------------------------------------------------------------------------- */

/* What is written down, if anything is: in yellow when something was not. */
static void print_recorded(struct frame *f, const struct value *status)
{
    char events[32], bytes[32], missed[32];
    const struct value *r = value_get(status, "flight");
    const char *name = r ? "flight recorder" : "recording";
    r = r ? r : value_get(status, "recording");
    if (!r)
        return;
    double lost = value_number(r, "missed") + value_number(r, "dropped");
    fprintf(f->line, "%s %s events in %s, %s missed", name,
            short_count(value_number(r, "events"), events, sizeof events),
            short_bytes(value_number(r, "bytes"), bytes, sizeof bytes), short_count(lost, missed, sizeof missed));
    if (*value_text(r, "error")) {
        fputs(": ", f->line);
        put_cell(f->line, value_text(r, "error"), 40);
    }
    end_line(f, lost > 0 || *value_text(r, "error") ? "\x1b[33m" : "");
}

static void print_watch(struct frame *f, const struct value *status, const struct value *before, double seconds)
{
    char span[32], events[32], texts[2][32];
    fprintf(f->line, "moonwatch %.0f, up %s: %s events/s, %s lost, %s missed; ", value_number(status, "pid"),
            short_span(value_number(status, "uptime_s"), span, sizeof span),
            short_count(rate(status, before, "events", seconds), events, sizeof events),
            short_count(value_number(status, "lost"), texts[0], sizeof texts[0]),
            short_count(value_number(status, "missed"), texts[1], sizeof texts[1]));
    put_cell(f->line, value_text(status, "sources"), 40);
    end_line(f, value_number(status, "lost") + value_number(status, "missed") > 0 ? "\x1b[33m" : "");
    fputs("priority ", f->line);
    put_cell(f->line, value_text(status, "priority"), 60);
    end_line(f, "");
    print_recorded(f, status);
}

static void print_workers(struct frame *f, const struct value *workers)
{
    char memory[32], limit[32], both[80];
    end_line(f, "");
    fprintf(f->line, "%-8s %8s  %-14s %-4s %8s %7s %9s", "WORKER", "PID", "MEMORY", "JIT", "BACKLOG", "MISSED",
            "RESTARTS");
    end_line(f, "\x1b[1m");
    for (const struct value *w = workers ? workers->first : NULL; w; w = w->next) {
        double most = value_number(w, "memory_limit_bytes");
        short_bytes(value_number(w, "memory_bytes"), memory, sizeof memory);
        short_bytes(most, limit, sizeof limit);
        snprintf(both, sizeof both, most > 0 ? "%s of %s" : "%s", memory, limit);
        put_cell(f->line, value_text(w, "group"), 8);
        fprintf(f->line, " %8.0f  %-14s %-4s %6.1f %% %7s %9.0f", value_number(w, "pid"), both,
                value_number(w, "jit") != 0 ? "on" : "off", value_number(w, "backlog") * 100,
                short_count(value_number(w, "missed"), memory, sizeof memory), value_number(w, "restarts"));
        end_line(f, value_number(w, "backlog") > 0.5 ? "\x1b[33m" : "");
    }
}

#define NAME_LEAST 18
#define NAME_MOST 40
#define LABEL_MOST 512

static int width_of(const char *text)
{
    int wide = 0, width;
    wchar_t c;
    for (; *text; wide += width)
        text += next_character(text, &c, &width);
    return wide;
}

static const char *file_of(const struct value *script)
{
    const char *path = value_text(script, "path"), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Where two have one name, their files tell them apart, and are typed instead. */
static const char *label(const struct value *scripts, const struct value *script, char *to, size_t cap)
{
    int same = 0;
    for (const struct value *s = scripts->first; s; s = s->next)
        same += !strcmp(value_text(s, "name"), value_text(script, "name"));
    bool clashes = same > 1 && *file_of(script);
    if (clashes)
        snprintf(to, cap, "%s (%s)", file_of(script), value_text(script, "name"));
    else
        snprintf(to, cap, "%s", value_text(script, "name"));
    return to;
}

/* A name is there to be typed after `ctl disable`: the column is as wide as the longest. */
static int name_width(const struct value *scripts)
{
    char text[LABEL_MOST];
    int wide = NAME_LEAST;
    for (const struct value *s = scripts ? scripts->first : NULL; s; s = s->next) {
        int width = width_of(label(scripts, s, text, sizeof text));
        wide = width > wide ? width : wide;
    }
    return wide < NAME_MOST ? wide : NAME_MOST;
}

static bool has_state(const struct value *s, const char *state)
{
    return !strcmp(value_text(s, "state"), state);
}

/* A shadow runs beside what is on. */
static const char *state_of(const struct value *s)
{
    return has_state(s, "shadow") ? "on +shadow" : value_text(s, "state");
}

static int state_width(const struct value *scripts)
{
    for (const struct value *s = scripts ? scripts->first : NULL; s; s = s->next)
        if (has_state(s, "shadow"))
            return 10;
    return 6;
}

struct columns {
    int name, state;
};

static void print_script(struct frame *f, const char *name, const struct value *s, struct columns wide,
                         const struct value *before, double seconds)
{
    char texts[6][32];
    bool off = has_state(s, "off");
    put_cell(f->line, name, wide.name);
    fputc(' ', f->line);
    put_cell(f->line, state_of(s), wide.state);
    fprintf(f->line, " %3.0f %7s %6s %6s %6s %6s %5s ", value_number(s, "generation"),
            short_count(rate(s, before, "calls", seconds), texts[0], sizeof texts[0]),
            short_time(value_number(s, "p50_us"), texts[1], sizeof texts[1]),
            short_time(value_number(s, "p99_us"), texts[2], sizeof texts[2]),
            short_count(value_number(s, "errors"), texts[3], sizeof texts[3]),
            short_count(value_number(s, "alerts"), texts[4], sizeof texts[4]),
            short_bytes(value_number(s, "memory_bytes"), texts[5], sizeof texts[5]));
    put_cell(f->line, value_text(s, "events"), 60);
    end_line(f, off ? "\x1b[31m" : value_number(s, "errors") > 0 ? "\x1b[33m" : "");
    if (!*value_text(s, "why"))
        return;
    fputs("  ", f->line);
    put_cell(f->line, value_text(s, "why"), f->screen->columns ? f->screen->columns - 2 : 500);
    end_line(f, "\x1b[31m");
}

static void print_scripts(struct frame *f, const struct value *scripts, const struct value *before, double seconds)
{
    char name[LABEL_MOST];
    int left = value_count(scripts);
    struct columns wide = { name_width(scripts), state_width(scripts) };
    end_line(f, "");
    fprintf(f->line, "%-*s %-*s %3s %7s %6s %6s %6s %6s %5s %s", wide.name, "SCRIPT", wide.state, "STATE", "GEN", "CALLS/S", "P50",
            "P99", "ERRORS", "ALERTS", "MEM", "EVENTS");
    end_line(f, "\x1b[1m");
    for (const struct value *s = scripts ? scripts->first : NULL; s; s = s->next, left--) {
        if (f->screen->rows && f->lines + 1 >= f->screen->rows && left > 1) {
            fprintf(f->line, "and %d more: make the window larger", left);
            end_line(f, "");
            return;
        }
        const struct value *same = before ? same_script(before, s) : NULL;
        print_script(f, label(scripts, s, name, sizeof name), s, wide, before && !same ? s : same, seconds); /* of a new one nothing is known yet */
    }
}

static void print_rule(struct frame *f, const struct value *rule)
{
    double asked = value_number(rule, "asked"), undecided = value_number(rule, "undecided");
    char texts[2][32];
    put_cell(f->line, value_text(rule, "title"), NAME_MOST);
    fprintf(f->line, " %6s %5.1f %% of %s", short_count(value_number(rule, "fired"), texts[0], sizeof texts[0]),
            asked > 0 ? 100 * undecided / asked : 0, short_count(asked, texts[1], sizeof texts[1]));
    end_line(f, "\x1b[33m");
}

/* The rules of scripts that have some: how many, and those that could not say of some events. */
static void print_rules(struct frame *f, const struct value *scripts)
{
    for (const struct value *s = scripts ? scripts->first : NULL; s; s = s->next) {
        const struct value *rules = value_get(s, "rules"), *worst = value_get(rules, "worst");
        if (!rules || (f->screen->rows && f->lines + 4 > f->screen->rows))
            continue;
        end_line(f, "");
        int wide = width_of(value_text(s, "name"));
        put_cell(f->line, value_text(s, "name"), wide < NAME_MOST ? wide : NAME_MOST);
        fprintf(f->line, ": %.0f rules, %.0f of them blind on some execs", value_number(rules, "count"),
                value_number(rules, "blind"));
        end_line(f, "");
        if (!value_count(worst))
            continue;
        fprintf(f->line, "%-*s %6s %s", NAME_MOST, "RULE", "FIRED", "BLIND");
        end_line(f, "\x1b[1m");
        for (const struct value *rule = worst->first; rule; rule = rule->next)
            if (!f->screen->rows || f->lines + 1 < f->screen->rows)
                print_rule(f, rule);
    }
}

void screen_status(const struct screen *s, const struct value *status, const struct value *before, double seconds)
{
    struct frame f = { .screen = s };
    f.line = open_memstream(&f.text, &f.len);
    if (!f.line)
        return;
    if (!before)
        seconds = value_number(status, "uptime_s");
    print_watch(&f, status, before, seconds);
    print_workers(&f, value_get(status, "workers"));
    print_scripts(&f, value_get(status, "scripts"), before, seconds);
    print_rules(&f, value_get(status, "scripts"));
    fclose(f.line);
    free(f.text);
}
