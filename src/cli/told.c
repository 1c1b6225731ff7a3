/* told.c - what scripts tell of a recording. See told.h. */
#include "cli/told.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void told_init(struct told_run *run)
{
    moonwatch_options_init(&run->options);
    moonwatch_replay_init(&run->replay);
    run->options.state_dir = NULL;
}

void told_file(struct told_run *run, const char *path)
{
    run->file = path;
    run->replay.files = &run->file;
    run->replay.files_len = 1;
}

int told_take(struct told_run *run, enum told_kind kind, const char *text, const char *command)
{
    const char **list = kind == TOLD_LINE ? run->lines : kind == TOLD_TRUSTED ? run->trusted : run->sigma;
    int *len = kind == TOLD_LINE ? &run->lines_len : kind == TOLD_TRUSTED ? &run->trusted_len : &run->sigma_len;
    if (*len == (int)(sizeof run->lines / sizeof *run->lines))
        return cli_usage(command, "more than 64 of them");
    list[(*len)++] = text;
    return -1;
}

/* --- times --------------------------------------------------------------------------------------- */

/* "Z" behind it: UTC. NAN would be no time: -1. */
static double parse_date(const char *text)
{
    struct tm tm = { .tm_isdst = -1 };
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end) {
        tm = (struct tm){ .tm_isdst = -1 };
        end = strptime(text, "%Y-%m-%dT%H:%M", &tm);
    }
    if (!end || (*end && strcmp(end, "Z")))
        return -1;
    return (double)(*end ? timegm(&tm) : mktime(&tm));
}

static double parse_clock(const char *text, double day)
{
    struct tm tm, given = { 0 };
    time_t first = (time_t)day;
    const char *end = strptime(text, "%H:%M:%S", &given);
    if (!end)
        end = strptime(text, "%H:%M", &given);
    if (!end || *end || !localtime_r(&first, &tm))
        return -1;
    tm.tm_hour = given.tm_hour;
    tm.tm_min = given.tm_min;
    tm.tm_sec = given.tm_sec;
    tm.tm_isdst = -1;
    return (double)mktime(&tm);
}

static double parse_time(const char *text, double begin)
{
    if (*text == '+')
        return cli_seconds(text + 1) < 0 ? -1 : begin + cli_seconds(text + 1);
    double date = parse_date(text);
    return date >= 0 ? date : parse_clock(text, begin);
}

int told_times(struct told_run *run, const char *from, const char *to, const char *command)
{
    struct moonwatch_recording about = { 0 };
    const char *const texts[] = { from, to };
    double *const times[] = { &run->replay.from, &run->replay.until };
    char why[640];
    if (!from && !to)
        return -1;
    if (run->replay.files_len && moonwatch_recording(run->file, &about, why, sizeof why) < 0) {
        cli_say("%s", why);
        return EXIT_USAGE;
    }
    for (int i = 0; i < 2; i++) {
        if (!texts[i])
            continue;
        *times[i] = parse_time(texts[i], about.first);
        if (*times[i] < 0)
            return cli_usage(command, "%s takes 2026-11-25T06:00:00, 06:00 or +5m, not '%s'",
                             i ? "--to" : "--from", texts[i]);
    }
    return -1;
}

int told_zone(const struct told_run *run)
{
    struct moonwatch_recording about;
    char why[640], zone[32];
    if (!run->replay.files_len)
        return EXIT_OK;
    if (moonwatch_recording(run->file, &about, why, sizeof why) < 0) {
        cli_say("%s", why);
        return EXIT_USAGE;
    }
    int east = about.utc_offset, minutes = abs(east) / 60; /* POSIX counts to the west */
    snprintf(zone, sizeof zone, "REC%c%02d:%02d", east > 0 ? '-' : '+', minutes / 60, minutes % 60);
    setenv("TZ", zone, 1);
    tzset();
    return EXIT_OK;
}

/* --- replaying ----------------------------------------------------------------------------------- */

static int add_scripts(struct told_run *run, struct moonwatch *m)
{
    int result = cli_set(m, &run->settings);
    for (int i = 0; i < run->lines_len && !result; i++)
        result = moonwatch_add_line(m, run->lines[i]);
    for (int i = 0; i < run->trusted_len && !result; i++)
        result = moonwatch_add_trusted(m, run->trusted[i]);
    for (int i = 0; i < run->scripts_len && !result; i++)
        result = moonwatch_add_path(m, run->scripts[i]);
    for (int i = 0; i < run->sigma_len && !result; i++)
        result = moonwatch_add_sigma(m, run->sigma[i], NULL, 0);
    return result;
}

static int status_of(int error)
{
    return error == -EINVAL ? EXIT_SCRIPT : error == -ENOENT ? EXIT_USAGE : EXIT_FAILED;
}

int told_replay(struct told_run *run, struct moonwatch **m)
{
    struct moonwatch_replay *r = &run->replay;
    r->events = r->answered = r->unanswered = r->missing = r->damaged = r->torn_bytes = 0;
    r->first = r->last = 0;
    *m = moonwatch_new(&run->options);
    if (!*m) {
        cli_say("not enough memory");
        return EXIT_FAILED;
    }
    int status = add_scripts(run, *m) < 0 ? EXIT_SCRIPT : EXIT_OK;
    if (status == EXIT_OK) {
        int result = moonwatch_replay(*m, r);
        status = result < 0 ? status_of(result) : EXIT_OK;
    }
    if (status != EXIT_OK)
        cli_say("%s", moonwatch_error(*m));
    return status;
}

/* --- collecting ---------------------------------------------------------------------------------- */

static char *line_of(const struct moonwatch_alert *a)
{
    char *line = NULL;
    size_t len;
    FILE *to = open_memstream(&line, &len);
    if (!to)
        return NULL;
    fprintf(to, "%-8s %s", a->severity, a->script);
    if (a->text_len)
        fprintf(to, ": %.*s", (int)a->text_len, a->text);
    if (a->key_len)
        fprintf(to, " (%.*s)", (int)a->key_len, a->key);
    return fclose(to) ? NULL : line;
}

static void collect(void *ctx, const struct moonwatch_alert *a)
{
    struct told_list *list = ctx;
    if (list->len == list->cap) {
        int cap = list->cap ? list->cap * 2 : 64;
        struct told_alert *all = realloc(list->all, (size_t)cap * sizeof *all);
        if (!all) {
            list->failed = true;
            return;
        }
        list->all = all;
        list->cap = cap;
    }
    struct told_alert alert = { .seq = a->seq, .time = a->time, .line = line_of(a),
                                .key = strndup(a->key, a->key_len), .script = strdup(a->script),
                                .json = strdup(a->json) };
    list->failed = list->failed || !alert.line || !alert.key || !alert.script || !alert.json;
    list->all[list->len++] = alert;
}

int told_collect(struct told_run *run, struct told_list *list)
{
    struct moonwatch *m;
    int status = told_collect_with(run, list, &m);
    moonwatch_free(m);
    return status;
}

int told_collect_with(struct told_run *run, struct told_list *list, struct moonwatch **m)
{
    *m = NULL;
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), output = run->options.output;
    if (nowhere < 0) {
        cli_say("cannot open /dev/null: %s", strerror(errno));
        return EXIT_FAILED;
    }
    run->options.output = nowhere;
    run->options.print = false;
    run->replay.on_alert = collect;
    run->replay.ctx = list;
    int status = told_replay(run, m);
    run->options.output = output;
    run->replay.on_alert = NULL;
    close(nowhere);
    if (list->failed) {
        cli_say("not enough memory for what is told");
        return EXIT_FAILED;
    }
    return status;
}

void told_print(const struct told_alert *alert)
{
    time_t second = (time_t)alert->time;
    struct tm tm;
    char text[32] = "";
    if (localtime_r(&second, &tm))
        strftime(text, sizeof text, "%H:%M:%S", &tm);
    printf("%s.%03d event %llu ", text, (int)((alert->time - (double)second) * 1000),
           (unsigned long long)alert->seq);
    cli_put(stdout, alert->line);
    putchar('\n');
}

int told_print_event(struct told_run *run, uint64_t seq)
{
    struct told_run print = { .options = run->options, .replay = run->replay };
    struct moonwatch *m;
    told_file(&print, run->file);
    print.options.print = true;
    print.replay.from_seq = seq;
    print.replay.until_seq = seq + 1;
    print.options.json = false;
    int status = told_replay(&print, &m);
    moonwatch_free(m);
    return status;
}

void told_free(struct told_list *list)
{
    for (int i = 0; i < list->len; i++) {
        free(list->all[i].line);
        free(list->all[i].key);
        free(list->all[i].script);
        free(list->all[i].json);
    }
    free(list->all);
    *list = (struct told_list){ 0 };
}
