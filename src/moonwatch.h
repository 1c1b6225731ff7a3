/* moonwatch.h - watch every process on this Linux host, decide in Lua or in C what matters.
 *
 * The embedding API and the only installed header. One struct moonwatch is one watch: it owns the
 * process-connector socket, reads /proc, and hands events to Lua scripts (in this process, or in an
 * unprivileged worker) and to a C function. It runs on the caller's libev loop and starts no loop
 * of its own. Not thread-safe: use one watch from one thread.
 *
 * Functions that can fail return 0 or a negative errno; moonwatch_error() has the sentence.
 * Link with `pkg-config --cflags --libs moonwatch` and -lev. */
#ifndef MOONWATCH_H
#define MOONWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOONWATCH_API __attribute__((visibility("default")))

struct ev_loop;
struct moonwatch;       /* a watch */
struct moonwatch_event; /* one event; borrowed for the call that gives it */

/* --- watching ------------------------------------------------------------------------- */

/* Called for each event, in the order of the kernel. */
typedef void moonwatch_handler(void *ctx, const struct moonwatch_event *event);

enum moonwatch_end {
    MOONWATCH_STOPPED,     /* a script called mw.stop() */
    MOONWATCH_READER_GONE, /* nobody reads the output any more (a closed pipe) */
    MOONWATCH_OUTPUT_LOST, /* the output cannot be written: disk full or worse */
    MOONWATCH_WORKER_DIED, /* the scripts' process, or the recording one, ended by itself */
    MOONWATCH_RECORDED,    /* the recording has reached `record_bytes` */
};

/* The watch wants to end: break the loop, then call moonwatch_stop. */
typedef void moonwatch_ending(void *ctx, enum moonwatch_end why);

/* How the collector gets a processor at once, best first. */
enum moonwatch_priority {
    MOONWATCH_FIFO,   /* SCHED_FIFO 1 */
    MOONWATCH_NICE,   /* nice -20 */
    MOONWATCH_SLICE,  /* a time slice of 0.1 ms; needs no privilege, Linux 6.12 */
    MOONWATCH_NORMAL, /* as it was started */
};

/* Sources besides the connector; each is used where it can be had. */
enum moonwatch_source {
    MOONWATCH_TAP = 1,       /* programs in the kernel that tell of execs and ends */
    MOONWATCH_TASKSTATS = 2, /* the kernel's accounting of ended processes */
};

struct moonwatch_options {
    size_t size;         /* sizeof(struct moonwatch_options), set by moonwatch_options_init */
    bool worker;         /* scripts in an unprivileged process; else in this one */
    bool realtime;       /* raise this process's priority and lock its memory: worker only */
    bool print;          /* write every event to `output` */
    bool json;           /* as JSON lines; else as text */
    int output;          /* descriptor, 1; borrowed */
    const char *user;    /* the worker's user: "nobody" */
    size_t buffer_bytes; /* receive buffer: 32 MiB */
    size_t ring_bytes;   /* between collector and worker: 8 MiB */
    size_t table_bytes;  /* bound of the process table: 256 MiB */
    moonwatch_handler *on_event; /* or NULL; in this process */
    moonwatch_ending *on_end;    /* or NULL */
    void *ctx;                   /* for both */
    unsigned without;            /* enum moonwatch_source, or'ed: do without these */
    enum moonwatch_priority priority; /* with `realtime`: the best to try; else the next */
    double delay;                /* seconds for which events gather before they are read: 0.008;
                                    0: each is read at once */

    /* Budgets of scripts in workers; 0: no bound. */
    double soft;          /* seconds of processor time for one call, then an error: 0.05 */
    double hard;          /* seconds for one call, then the worker is killed: 1 */
    size_t memory_bytes;  /* of all scripts of a worker together: 64 MiB */
    int errors_a_minute;  /* of one script, then it is off: 60 */
    bool ward;            /* whose call killed a worker goes on alone instead of being off */
    const char *state_dir; /* where mw.persist keeps: "/var/lib/moonwatch"; NULL: nothing is kept */
    bool allow_kill;       /* scripts may send signals */

    /* What scripts may open besides `output`: the system's log. */
    const char *output_dir;     /* files and sockets below this directory; NULL: none */
    const char *const *sockets; /* and these unix sockets, sockets_len of them */
    int sockets_len;
    bool allow_exec;            /* programs, run as `user` */

    /* What is written down, with a worker only. */
    int record;             /* descriptor of an empty file for everything; borrowed; -1: none */
    uint64_t record_bytes;  /* its size at the most; 0: any */
    uint64_t flight_bytes;  /* of the flight recorder below `state_dir`; 0: there is none */
    const char *redact;     /* Lua file of what is a secret; NULL: the usual; "none": nothing is */
};

/* Fill in the defaults. */
MOONWATCH_API void moonwatch_options_init(struct moonwatch_options *options);

/* Make a watch; nothing is opened yet. NULL when there is no memory. */
MOONWATCH_API struct moonwatch *moonwatch_new(const struct moonwatch_options *options);

/* Add scripts, before the start: a file, or each *.lua in a directory in the order of their
 * names, but for tests (NAME_test.lua); the same with all of LuaJIT, in a worker of their own; a
 * script's text under a name; a one-liner ("exec: comm == 'curl'"). Files are read now,
 * run at the start. */
MOONWATCH_API int moonwatch_add_path(struct moonwatch *m, const char *path);
MOONWATCH_API int moonwatch_add_trusted(struct moonwatch *m, const char *path);
MOONWATCH_API int moonwatch_add_text(struct moonwatch *m, const char *name, const char *text);
MOONWATCH_API int moonwatch_add_line(struct moonwatch *m, const char *line);

/* Add rules of Sigma, before the start: a file, or each *.yml and *.yaml below a directory. They are a
 * script named "sigma" ("sigma-2" and so on for further ones), with the options level and dedup, which
 * tells of each exec that a rule fits; they are read again when they change. `placeholders` as with
 * moonwatch_sigma_load. */
MOONWATCH_API int moonwatch_add_sigma(struct moonwatch *m, const char *path,
                                      const char *const *placeholders, int placeholders_len);

/* A script is taken only when nobody could have written it but root or the user who we are: so must
 * it be with its directories. This user's are taken too, by the whole program: the one who typed
 * sudo. Before anything is added. */
MOONWATCH_API void moonwatch_trust_owner(unsigned uid);
/* What mw.option(name) returns in the script of this file's name (without .lua), before the start.
 * A name that the script does not ask for while it is loaded makes the start fail, as does a script
 * that there is not (-EINVAL); in later versions it is said on the log. A value that is not of its
 * type makes the script wrong. */
MOONWATCH_API int moonwatch_set(struct moonwatch *m, const char *script, const char *name,
                                const char *value);

/* Shake hands with the kernel, load the scripts, start watching on `loop`: snapshots of the
 * running processes come first. -EPERM and -ENOTSUP: the kernel refused; -EINVAL: a script is
 * wrong. */
MOONWATCH_API int moonwatch_start(struct moonwatch *m, struct ev_loop *loop);

/* Take in what is queued, let the scripts finish, stop. Waits for the worker, ten seconds at most.
 */
MOONWATCH_API void moonwatch_stop(struct moonwatch *m);

MOONWATCH_API void moonwatch_free(struct moonwatch *m);

/* The last failure: one sentence, maybe a traceback below. "" when there was none. */
MOONWATCH_API const char *moonwatch_error(const struct moonwatch *m);

#define MOONWATCH_RULES_TOLD 5

/* A rule of Sigma, and the events that it was asked about. */
struct moonwatch_rule_summary {
    char id[64], title[128];
    uint64_t asked, fired, undecided;
};

struct moonwatch_script_summary {
    char name[64];
    uint64_t events, errors, alerts;
    uint64_t undecided; /* events that lacked what a one-liner looked at */
    const char *off;    /* why it was switched off; NULL: it was not */
    unsigned rules, rules_blind; /* of Sigma: how many; and of which there are events of which they
                                    could not say whether they fit */
    struct moonwatch_rule_summary worst[MOONWATCH_RULES_TOLD]; /* of these the blindest, the worst
                                                                  first */
    int worst_len;
};

struct moonwatch_summary {
    uint64_t events;                 /* told by the kernel */
    uint64_t lost;                   /* by the kernel, proved by its counters */
    uint64_t missed;                 /* records that the scripts were too slow for, in a worker */
    uint64_t forged;                 /* messages rejected because the kernel did not send them */
    uint64_t inferred;               /* events made by comparing with /proc after a loss */
    uint64_t execs, exe, args, comm; /* execs seen, and how many of them with each name */
    uint64_t processes;              /* alive now */
    uint64_t evicted;                /* table entries dropped to stay inside the bound */
    size_t buffer_bytes;             /* receive buffer granted by the kernel */
    const char *priority;            /* "SCHED_FIFO 1", ... */
    uint64_t yields;                 /* times that it was given up, having taken too much */
    const char *sources;             /* "connector, tap", ... */
    uint64_t unheard;                /* what the other sources had no room for: costs names */
    const struct moonwatch_script_summary *scripts; /* as of the stop or moonwatch_ask_scripts */
    int scripts_len;
    uint64_t exe_asked, args_asked; /* execs of which somebody needed to know it */
};

/* What was written down. */
struct moonwatch_recorded {
    uint64_t events, notes, bytes;
    uint64_t missed;     /* records that the recording was too slow for */
    uint64_t dropped;    /* that could not be written: `error` */
    uint64_t notes_lost; /* answers and the like that it had no room for */
    uint64_t redacted;   /* events with secrets left out */
    int error;           /* errno of the last write; 0: it went well */
    bool flight;         /* it is the flight recorder */
};
/* False: nothing is recorded. As of a second ago at most. */
MOONWATCH_API bool moonwatch_recorded(struct moonwatch *m, struct moonwatch_recorded *out);

/* The figures as of now; any time. */
MOONWATCH_API void moonwatch_summarize(struct moonwatch *m, struct moonwatch_summary *out);

/* Ask for the figures of the scripts, and call `answered` when moonwatch_summarize has them: at once
 * without a worker, else when it comes to answer, and never if that is not before the stop. Asking
 * again before the answer only changes what is called. */
typedef void moonwatch_answered(void *ctx);
MOONWATCH_API void moonwatch_ask_scripts(struct moonwatch *m, moonwatch_answered *answered,
                                         void *ctx);

/* --- orders to a running watch ----------------------------------------------------------- */

/* `result` 0: text is JSON; below: a sentence. Borrowed for the call. */
typedef void moonwatch_reply(void *ctx, int result, const char *text);

/* Give an order, as `moonwatch ctl` does; the reply comes once, maybe before this returns, maybe
 * never if the watch is stopped before:
 *
 *   status           the figures of watch, workers and scripts
 *   reload           look at the scripts' files now: { "changed": 1, "refused": ["..."] }
 *   disable NAME     switch a script off; enable NAME: on again
 *   shadow FILE      run this next version beside the script with the same file name
 *   diff NAME        what the two told: { "both": 3, "only_old": [...], "only_new": [...] }
 *   promote NAME     the shadow becomes the script; drop NAME: it goes
 *   dump SECONDS PID AFTER  write the last SECONDS of the flight recorder, and AFTER more, with all of the
 *                    family of PID (-1: nobody's), into a file: { "path": "..." } when it is there
 *   eval TEXT        run a text in the scripts' process: what it returned, as text */
MOONWATCH_API void moonwatch_order(struct moonwatch *m, const char *const *words, int n,
                                   moonwatch_reply *reply, void *ctx);

/* --- replaying ------------------------------------------------------------------------- */

/* An alert that was told, borrowed for the call. */
struct moonwatch_alert {
    const char *script, *severity, *text, *key; /* text, key: any bytes; "" when there is none */
    size_t text_len, key_len;
    uint64_t seq;     /* of the event that it is about, else of the last one */
    double time;      /* since the epoch */
    const char *json; /* who told it, where, and with what values: one object */
};
typedef void moonwatch_alerted(void *ctx, const struct moonwatch_alert *alert);

struct moonwatch_replay {
    size_t size;                /* sizeof(struct moonwatch_replay), set by moonwatch_replay_init */
    const char *const *files;   /* recordings, in the order of time; a directory: the flight recorder's */
    int files_len;
    int lines;                  /* instead: descriptor of lines of JSON, ours or ECS; -1 */
    double speed;               /* 1: as fast as it was; 0: as fast as it goes */
    double from, until;         /* seconds since the epoch; 0: all. What is before is known, not told */
    uint64_t from_seq, until_seq; /* the same by the numbers of events; 0: all */
    moonwatch_alerted *on_alert; /* or NULL */
    void *ctx;
    const volatile bool *stop;  /* set it to end; or NULL */

    /* What came of it. */
    uint64_t events;               /* told */
    double first, last;            /* time of the first and the last of these */
    uint64_t answered, unanswered; /* questions of scripts whose answer was recorded, or was not */
    uint64_t missing;              /* events that the recording lacks, as it says */
    uint64_t damaged, torn_bytes;  /* frames or lines left out; bytes at its end that are no frame */
    bool same_scripts;             /* as those that ran when it was recorded: then timers are, too */
};
MOONWATCH_API void moonwatch_replay_init(struct moonwatch_replay *replay);

/* What a recording is, or the flight recorder's directory. 0; or -errno with one sentence in `why`. */
struct moonwatch_recording {
    double first, last; /* seconds since the epoch, of its events; 0: there is none */
    uint64_t events, bytes;
    char host[65];      /* the machine's name */
    int utc_offset;     /* seconds, of its local time */
    bool torn;          /* it was not closed in order */
};
MOONWATCH_API int moonwatch_recording(const char *path, struct moonwatch_recording *out, char *why, size_t cap);

/* Instead of a start: tell the scripts, in this process, what was recorded. Needs no privilege, reads
 * nothing of this machine but files beside the scripts, sends no signal and opens no output but the
 * one of the options. 0; -EINVAL: a script is wrong; -ENOENT: a recording cannot be read. */
MOONWATCH_API int moonwatch_replay(struct moonwatch *m, struct moonwatch_replay *replay);

/* --- explaining ------------------------------------------------------------------------ */

/* An alert that was told while a recording was made: as struct moonwatch_alert has these. */
typedef void moonwatch_noted(void *ctx, uint64_t seq, double time, const char *json);

/* All of them in order. `path`: a recording, or the flight recorder's directory. 0; -ENOENT: it cannot be
 * read; or -ENOMEM: with one sentence in `why`, at most `cap` bytes. */
MOONWATCH_API int moonwatch_noted_alerts(const char *path, moonwatch_noted *noted, void *ctx, char *why,
                                         size_t cap);

/* What a process is to the one that is explained. */
enum moonwatch_kin {
    MOONWATCH_OTHER, /* of the same family: below an ancestor, but none of these */
    MOONWATCH_ANCESTOR,
    MOONWATCH_ITSELF,
    MOONWATCH_DESCENDANT,
};

/* Texts may be shown on a terminal, are UTF-8 and cut to 4096 columns; "" is not known. Of the explained one they are
 * as of the alert, of its ancestors as of the forks, of the others as of the end. */
struct moonwatch_story_process {
    int parent; /* who forked it: smaller than its own number; -1: nobody who is known */
    int depth;  /* how many above it are known */
    enum moonwatch_kin kin;
    int64_t pid, starttime, uid; /* uid: the effective one; -1: not known */
    const char *comm, *command, *exe, *cwd;
    bool before;      /* it ran before the recording began */
    double began;     /* seconds since the epoch; 0: not known */
    double ended;     /* 0: it was not seen to end */
    int code, signal; /* of the end; -1: not so, or not known */
};

struct moonwatch_story_event {
    double time; /* seconds since the epoch */
    uint64_t seq;
    int process;      /* the number of the one that it is about; -1: of none, as a loss */
    const char *type; /* as moonwatch_type has it; "gap": events are missing in the recording here */
    const char *text; /* what the live view shows behind its columns */
};

struct moonwatch_story {
    const struct moonwatch_story_process *processes; /* in the order of a tree: whoever is below one follows it */
    int processes_len;
    const struct moonwatch_story_event *events; /* what happened to them, in order */
    int events_len;
    int itself;  /* the number of the explained process */
    int root;    /* whose family it is: the nearest of its ancestors and itself that ran before the
                    recording began; else the farthest that is known. Of what is above, only ancestors are here */
    int alert;   /* the number of the event `seq`; -1: it is none of the family */
    double time; /* of the event `seq`; 0: the recording does not have it */
    double first, last; /* time of the recording's first and last event */
    uint64_t processes_left, events_left; /* that were too many to keep, at least */
};
typedef void moonwatch_explained(void *ctx, const struct moonwatch_story *story);

/* Tell the story of a process, once, borrowed for the call: of `pid` with this start time (either may be
 * -1), else of whom the event `seq` is about. `time`, in seconds since the epoch, says which event is meant
 * when several watches numbered theirs alike; 0: the last one. 0; -ENOENT: the recording cannot be read;
 * -ESRCH: it does not know the process; or -ENOMEM: with one sentence in `why`. */
MOONWATCH_API int moonwatch_explain(const char *path, uint64_t seq, double time, int64_t pid, int64_t starttime,
                                    moonwatch_explained *explained, void *ctx, char *why, size_t cap);

/* --- planning -------------------------------------------------------------------------- */

struct moonwatch_plan_script {
    const char *name;
    const char *events; /* what it subscribed to: "exec exit", "any", "" */
    const char *fields; /* what it looks at: "comm args", "all" */
    bool threads;
};

/* One place that fields come from at an exec. */
struct moonwatch_plan_source {
    const char *name;   /* "/proc/PID/cmdline" */
    const char *fields; /* what it tells */
    const char *note;   /* why it is read or not whatever is needed, or "" */
    bool read;
    double us; /* what reading it costs, measured just now */
};

struct moonwatch_plan {
    const struct moonwatch_plan_script *scripts;
    int scripts_len;
    const char *fields;                /* of all scripts */
    const char *kernel_events;         /* that the kernel is asked for */
    const char *kernel_events_unasked; /* that it filters out */
    bool threads;                      /* forks and exits of threads are asked for */
    const struct moonwatch_plan_source *sources;
    int sources_len;
    double exec_us, all_us; /* all that is read at an exec; and if every field were needed */
    double tap_us;          /* what the tap takes instead; none of the sources is read then */
    const char *no_tap;     /* why it cannot be had; "": it can */
    const char *json;       /* all of this as one object */
};

/* Called once; the plan is borrowed for the call. */
typedef void moonwatch_planned(void *ctx, const struct moonwatch_plan *plan);

/* Instead of a start: load the scripts, in the worker where there is to be one, and say what they
 * would make the watch ask for and read. Needs no privilege and opens no socket to the kernel; what
 * scripts print meanwhile is dropped. 0; -EINVAL: a script is wrong. */
MOONWATCH_API int moonwatch_plan(struct moonwatch *m, moonwatch_planned *planned, void *ctx);

/* --- looking at scripts ------------------------------------------------------------------ */

enum moonwatch_level {
    MOONWATCH_ERROR,   /* will not load, or is never true */
    MOONWATCH_WARNING, /* loads, and is hardly meant */
    MOONWATCH_HINT,    /* works, and could be better */
};

struct moonwatch_remark {
    const char *path;
    int line, column; /* from 1 */
    enum moonwatch_level level;
    const char *code, *text;
    const char *source; /* the line, as a terminal may show it; "": there is none */
    int caret;          /* where in `source` the column is, from 0 */
    const char *json;   /* all of this as one object */
};

enum moonwatch_lint_flags {
    MOONWATCH_LINT_TRUSTED = 1,  /* for scripts that are run with all that LuaJIT has */
    MOONWATCH_LINT_LUACHECK = 2, /* ask luacheck too, when it is installed */
};

/* Called once per remark, in the order of files and lines; borrowed for the call. */
typedef void moonwatch_remarked(void *ctx, const struct moonwatch_remark *remark);

/* Say what is wrong with scripts, as far as their texts tell: files, and each *.lua in directories.
 * Nothing of them is run. What cannot be read is a remark too. 0, or -ENOMEM. */
MOONWATCH_API int moonwatch_lint(const char *const *paths, int paths_len, unsigned flags,
                                 moonwatch_remarked *remarked, void *ctx);

enum moonwatch_verdict {
    MOONWATCH_PASSED,
    MOONWATCH_FAILED,
    MOONWATCH_SKIPPED, /* its commands cannot be watched here: `why` says the reason */
    MOONWATCH_WRONG, /* script or tests cannot be read or loaded */
};

/* One test of a script has ended; borrowed for the call. */
struct moonwatch_tested_case {
    const char *script; /* its file */
    const char *name;   /* what the test claims */
    enum moonwatch_verdict verdict;
    const char *why;      /* it has not passed; or the figures of a baseline; lines */
    const char *output;   /* what the script wrote */
    const char *commands; /* what its commands wrote */
    double seconds;       /* that it took */
};
typedef void moonwatch_tested(void *ctx, const struct moonwatch_tested_case *result);

enum moonwatch_part {
    MOONWATCH_HANDLER,  /* `name`: of what event */
    MOONWATCH_FUNCTION, /* `name`, as the text has it */
    MOONWATCH_WAY,      /* from a line with a condition on to line `to`; 0: out of the function */
    MOONWATCH_CODE,     /* a line */
};

/* A part of a script that could run in its tests: all of a file together, in the order of the kinds of
 * parts and of lines. Ways are told only where there are several, and where lines tell them apart. */
struct moonwatch_covered_part {
    const char *path;
    enum moonwatch_part part;
    const char *name; /* "" where it has none */
    int line, to;
    uint64_t runs;
    bool reached; /* WAY: its line ran */
};
typedef void moonwatch_covered(void *ctx, const struct moonwatch_covered_part *part);

struct moonwatch_test_options {
    size_t size; /* sizeof(struct moonwatch_test_options) */
    moonwatch_tested *tested;
    moonwatch_covered *covered; /* told at the end; or NULL */
    void *ctx;                  /* of both */

    /* Instead of its tests, play this recording, in which nothing is amiss, to each script: it passes when
     * it throws nothing and tells no more alerts than are allowed. NULL: run the tests. */
    const char *baseline;
    uint64_t allow;

    double timeout; /* s that a test may take, or an event of a baseline; 0: 10 */
};

/* Run the tests of scripts with made-up events, in this process, or with commands, which children of it
 * run and watch: each path is NAME.lua, NAME_test.lua,
 * or a directory (each NAME_test.lua in it; for a baseline each NAME.lua). What cannot be run is told as a test that is wrong, and the
 * others are run. 0, or -ENOMEM. */
MOONWATCH_API int moonwatch_test(const char *const *paths, int paths_len,
                                 const struct moonwatch_test_options *options);

/* --- Sigma rules ------------------------------------------------------------------------ */

struct moonwatch_sigma; /* a set of them, which is asked about events in JSON */

struct moonwatch_sigma_rule {
    const char *id, *title, *author, *level, *status, *path; /* "" where there is none */
    int line;
    const char *const *tags;
    int tags_len;
    uint64_t asked, fired, undecided; /* events */
};

enum moonwatch_sigma_kind {
    MOONWATCH_SIGMA_REFUSED, /* a document is not taken: it is wrong, or says what is not known here */
    MOONWATCH_SIGMA_SKIPPED, /* it is about other records than processes; text says which */
    MOONWATCH_SIGMA_NOTED,   /* it is taken */
};

struct moonwatch_sigma_remark {
    enum moonwatch_sigma_kind kind;
    const char *path;
    int line, column;
    const char *title; /* of the rule, or "" */
    const char *text;
};
typedef void moonwatch_sigma_remarked(void *ctx, const struct moonwatch_sigma_remark *remark);

/* Read rules: files, and each *.yml and *.yaml below directories. `placeholders` are texts
 * "NAME=VALUE", of which several may have one name. 0; or -errno with a sentence in `why`: -ENOENT
 * and the like of a path, -EINVAL of a placeholder, -ENOMEM. What is wrong with rules is only
 * remarked. */
MOONWATCH_API int moonwatch_sigma_load(struct moonwatch_sigma **out, const char *const *paths,
                                       int paths_len, const char *const *placeholders,
                                       int placeholders_len, moonwatch_sigma_remarked *remarked,
                                       void *ctx, char *why, size_t cap);
MOONWATCH_API void moonwatch_sigma_free(struct moonwatch_sigma *s);

/* By number; false after the last. */
MOONWATCH_API bool moonwatch_sigma_rule_at(const struct moonwatch_sigma *s, int index,
                                           struct moonwatch_sigma_rule *out);

/* Called for each rule that fits an event, in the order of rules; `id` is what the event has under
 * "id", or NULL. */
typedef void moonwatch_sigma_fired(void *ctx, const struct moonwatch_sigma_rule *rule,
                                   const char *id);

/* Ask all rules about an event: one JSON object, with the names of Sigma, ours, or ECS. 0; -EINVAL with a
 * sentence in `why`: it is none; -ENOMEM. */
MOONWATCH_API int moonwatch_sigma_match(struct moonwatch_sigma *s, const char *json, size_t len,
                                        moonwatch_sigma_fired *fired, void *ctx, char *why,
                                        size_t cap);

/* What the event has under "id", "" when it has none. As moonwatch_sigma_match. */
MOONWATCH_API int moonwatch_sigma_event_id(struct moonwatch_sigma *s, const char *json, size_t len,
                                           char *id, size_t id_cap, char *why, size_t cap);

/* What each branch of a rule says of an event, one on a line; to be freed by the caller. NULL with a
 * sentence in `why`. */
MOONWATCH_API char *moonwatch_sigma_explain(struct moonwatch_sigma *s, int rule, const char *json,
                                            size_t len, char *why, size_t cap);

/* What is wrong with rules: those that can never, or hardly ever, fire on this kind of system, that
 * say what another one says, that are slow, and those that are not taken. 0, or -errno as
 * moonwatch_sigma_load. */
MOONWATCH_API int moonwatch_sigma_check(const char *const *paths, int paths_len,
                                        const char *const *placeholders, int placeholders_len,
                                        moonwatch_remarked *remarked, void *ctx, char *why,
                                        size_t cap);

/* --- events --------------------------------------------------------------------------- */

/* "exec"; see moonwatch_fields for what each kind carries. */
MOONWATCH_API const char *moonwatch_type(const struct moonwatch_event *event);

/* The number of a field, for the functions below; -1 when there is none of that name. */
MOONWATCH_API int moonwatch_field(const char *name);

/* False when the event does not have it. Times and spans in nanoseconds. */
MOONWATCH_API bool moonwatch_int(const struct moonwatch_event *event, int field, int64_t *value);

/* NULL when the event does not have it. Not NUL-terminated; args are NUL-ended strings in a row. */
MOONWATCH_API const char *moonwatch_text(const struct moonwatch_event *event, int field,
                                         size_t *len);

/* "proc", "inherited", "missing: gone before read", ... */
MOONWATCH_API const char *moonwatch_why(const struct moonwatch_event *event, int field);

/* A copy to keep, to be freed by the caller with free(); NULL when there is no memory. */
MOONWATCH_API struct moonwatch_event *moonwatch_copy(const struct moonwatch_event *event);

enum moonwatch_format {
    MOONWATCH_JSON,    /* one object, ECS names */
    MOONWATCH_LINE,    /* as the live view shows it */
    MOONWATCH_PROCESS, /* as ps shows it */
};

/* One line without newline, to be freed by the caller; NULL when there is no memory. `event` NULL:
 * the heading. `branch` goes before the command (tree); `columns` 0: any width. */
MOONWATCH_API char *moonwatch_format(const struct moonwatch_event *event,
                                     enum moonwatch_format format, const char *branch, int columns,
                                     bool colour);

/* Every process that runs now, in the order of pids, from /proc; no privilege needed, but what may
 * not be read is missing. */
MOONWATCH_API int moonwatch_processes(moonwatch_handler *handler, void *ctx);

/* --- what there is to know ------------------------------------------------------------- */

struct moonwatch_field_info {
    const char *name, *type, *unit;         /* type: string integer boolean number string[] */
    const char *kinds;                      /* "exec exit", or "all" */
    const char *ecs, *sigma, *ocsf, *falco; /* names elsewhere, "" where there is none */
    const char *doc;
    bool computed; /* made when asked for: not among pairs(ev) */
};

/* The field number `index`, counted from 0; false after the last. */
MOONWATCH_API bool moonwatch_field_at(int index, struct moonwatch_field_info *out);

/* The questions that ev:NAME() answers, and the columns of an answer; false after the last. */
struct moonwatch_topic_info {
    const char *name, *doc;
    bool rows; /* an array of tables; else one table */
};
MOONWATCH_API bool moonwatch_topic_at(int index, struct moonwatch_topic_info *out);
MOONWATCH_API bool moonwatch_column_at(int topic, int index, struct moonwatch_field_info *out);

/* One test of moonwatch_doctor. */
enum moonwatch_health { MOONWATCH_GOOD, MOONWATCH_LIMITED, MOONWATCH_BROKEN };
typedef void moonwatch_finding(void *ctx, const char *name, enum moonwatch_health health,
                               const char *text, const char *mend);

/* Try each source of events for real and say what works, what does not, and the mend. Returns how
 * many are broken. */
MOONWATCH_API int moonwatch_doctor(moonwatch_finding *finding, void *ctx);

MOONWATCH_API const char *moonwatch_version(void);

#ifdef __cplusplus
}
#endif

#endif
