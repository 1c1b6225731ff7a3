/* new.c - writes a script and its test, to begin with. Never over what is there. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: moonwatch new [--event KIND] NAME\n"
    "\n"
    "Writes NAME.lua, a script that works as it is, and NAME_test.lua, its test.\n"
    "Neither may be there already. NAME may begin with a directory.\n"
    "\n"
    "      --event KIND  exec (the default), fork, exit, uid, gid, sid, ptrace, comm\n"
    "                    or coredump\n"
    "  -h, --help        this text\n"
    "\n"
    "Then: moonwatch lint NAME.lua; moonwatch test NAME.lua; moonwatch run NAME.lua\n";

/* What a script for this kind of event looks at, and an event that it tells of and one that it does
 * not. */
struct sample {
    const char *kind, *what;
    const char *where; /* ends in a blank when there is some */
    const char *pass, *text; /* when it is passed over; what is told */
    const char *positive, *near_miss;
    const char *before; /* what the test's events refer to, or NULL */
};

static const struct sample samples[] = {
    { "exec", "a program runs that is called wget or curl, below a web server",
      "mw.where { comm = { \"wget\", \"curl\" } }",
      "not ev:ancestor { comm = { \"nginx\", \"apache2\" } }", "ev.cmdline",
      "comm = \"curl\", args = { \"curl\", \"http://192.0.2.1/x\" }, parent = shell",
      "comm = \"curl\", args = { \"curl\", \"http://192.0.2.1/x\" }, parent = { comm = \"bash\" }",
      "local shell = { comm = \"sh\", parent = { comm = \"nginx\" } }\n\n" },
    { "fork", "a shell forks", "mw.where { comm = { \"sh\", \"bash\", \"dash\" } }", "ev.uid ~= 0", "ev.comm",
      "comm = \"bash\", uid = 0", "comm = \"bash\"", NULL },
    { "exit", "a program is ended by a signal", NULL, "not ev.signal or ev.execs == 0",
      "(\"%s: ended by signal %d\"):format(ev.comm or \"?\", ev.signal)", "comm = \"server\", signal = 11",
      "comm = \"server\", code = 1", NULL },
    { "uid", "a process becomes root", "mw.where { euid = 0 }",
      "not ev.was or not ev.was.euid or ev.was.euid == 0",
      "(\"%s was user %d\"):format(ev.comm or \"?\", ev.was.euid)", "comm = \"su\", euid = 0, was = { euid = 1000 }",
      "comm = \"su\", euid = 0, was = { euid = 0 }", NULL },
    { "gid", "a process becomes a member of group 0", "mw.where { egid = 0 }",
      "not ev.was or not ev.was.egid or ev.was.egid == 0",
      "(\"%s was of group %d\"):format(ev.comm or \"?\", ev.was.egid)",
      "comm = \"sg\", egid = 0, was = { egid = 1000 }", "comm = \"sg\", egid = 0, was = { egid = 0 }", NULL },
    { "sid", "a process without a terminal begins a session of its own", NULL, "ev.tty or ev.uid == 0",
      "ev.cmdline or ev.comm", "comm = \"daemon\"", "comm = \"bash\", tty = \"pts/1\"", NULL },
    { "ptrace", "a process is traced by another one", NULL, "not ev.tracer or ev.tracer == 0",
      "(\"%s is traced by %d\"):format(ev.comm or \"?\", ev.tracer)", "comm = \"sshd\", tracer = 4711",
      "comm = \"sshd\", tracer = 0", NULL },
    { "comm", "a process takes a name that looks like a kernel thread's", NULL,
      "not ev.comm or not ev.comm:find \"^kworker\"", "(\"it was %s\"):format(ev.was and ev.was.comm or \"?\")",
      "comm = \"kworker/0:1\", was = { comm = \"python3\" }", "comm = \"worker\", was = { comm = \"python3\" }", NULL },
    { "coredump", "a process of root dumps core", NULL, "ev.uid ~= 0", "ev.cmdline or ev.comm",
      "comm = \"server\", uid = 0", "comm = \"server\"", NULL },
};

static const struct sample *sample_for(const char *kind)
{
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        if (!strcmp(samples[i].kind, kind))
            return &samples[i];
    return NULL;
}

/* --- texts ------------------------------------------------------------------------------------- */

static void write_script(FILE *to, const char *name, const struct sample *s)
{
    fprintf(to,
            "-- %s: %s.\n"
            "-- Why: say what it would mean. ATT&CK: the technique, as in T1059.\n"
            "-- Known false positives: say who does this by right.\n"
            "local mw = require \"moonwatch\"\n"
            "\n"
            "-- The operator may say otherwise: moonwatch run --set %s.severity=high\n"
            "local severity = mw.option(\"severity\", \"medium\")\n"
            "\n"
            "-- Called for each event that fits. `moonwatch fields` lists what it has; what is not known is nil.\n"
            "local function on_%s(ev)\n"
            "  if %s then\n"
            "    return\n"
            "  end\n"
            "  mw.alert {\n"
            "    severity = severity,\n"
            "    text = %s,\n"
            "    event = ev,\n"
            "    key = ev.comm, -- equal alerts are held back for a while, and the next one says how many\n"
            "    dedup = \"5m\",\n"
            "  }\n"
            "end\n"
            "\n",
            name, s->what, name, s->kind, s->pass, s->text);
    fprintf(to, "return mw.script {\n  name = \"%s\",\n  tags = {}, -- \"attack.t1059\"\n  on = {\n", name);
    if (s->where)
        fprintf(to, "    -- tested before a table is made: what does not fit costs next to nothing\n"
                    "    %s = %s(on_%s),\n", s->kind, s->where, s->kind);
    else
        fprintf(to, "    %s = on_%s,\n", s->kind, s->kind);
    fputs("  },\n}\n", to);
}

static void write_test(FILE *to, const char *name, const struct sample *s)
{
    fprintf(to,
            "-- Tests of %s.lua: `moonwatch test %s.lua` runs them with made-up events.\n"
            "%sreturn {\n"
            "  {\n"
            "    name = \"%s: told\",\n"
            "    events = {\n"
            "      { type = \"%s\", %s },\n"
            "    },\n"
            "    alerts = 1,\n"
            "  },\n"
            "  {\n"
            "    name = \"nearly the same, by right: not told\",\n"
            "    events = {\n"
            "      { type = \"%s\", %s },\n"
            "    },\n"
            "    alerts = 0,\n"
            "  },\n"
            "  {\n"
            "    name = \"twice within five minutes: told once\",\n"
            "    events = {\n"
            "      { type = \"%s\", %s },\n"
            "      { type = \"%s\", %s, at = \"4m\" },\n"
            "    },\n"
            "    alerts = 1,\n"
            "  },\n"
            "}\n",
            name, name, s->before ? s->before : "", s->what, s->kind, s->positive, s->kind, s->near_miss, s->kind, s->positive, s->kind,
            s->positive);
}

/* --- files ------------------------------------------------------------------------------------- */

/* A file that was not there. NULL: said why. */
static FILE *create(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        cli_say("cannot write %s: %s", path,
                errno == EEXIST ? "it is there already, and is not written over" : strerror(errno));
    return file;
}

static bool finish(FILE *file, const char *path)
{
    bool failed = ferror(file);
    failed = fclose(file) || failed;
    if (failed)
        cli_say("cannot write %s: %s", path, strerror(errno));
    return !failed;
}

static int write_both(const char *path, const char *name, const struct sample *s)
{
    char script[4096], test[4096];
    snprintf(script, sizeof script, "%s.lua", path);
    snprintf(test, sizeof test, "%s_test.lua", path);
    if (access(test, F_OK) == 0) {
        cli_say("cannot write %s: it is there already, and is not written over", test);
        return EXIT_FAILED;
    }
    FILE *file = create(script);
    if (!file)
        return EXIT_FAILED;
    write_script(file, name, s);
    if (!finish(file, script))
        return EXIT_FAILED;
    file = create(test);
    if (!file)
        return EXIT_FAILED;
    write_test(file, name, s);
    if (!finish(file, test))
        return EXIT_FAILED;
    printf("%s\n%s\n", script, test);
    return EXIT_OK;
}

/* --- the command line ---------------------------------------------------------------------------- */

/* A name goes into texts, into file names and after --set: letters, digits, - and _. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len && len < 60 && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len &&
           !(len >= 5 && !strcmp(name + len - 5, "_test"));
}

int cli_new(int argc, char **argv)
{
    static const struct option options[] = {
        { "event", required_argument, NULL, 'e' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *kind = "exec";
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        }
        if (option != 'e')
            return EXIT_USAGE;
        kind = optarg;
    }
    const struct sample *sample = sample_for(kind);
    if (!sample)
        return cli_usage("new", "--event takes exec, fork, exit, uid, gid, sid, ptrace, comm or "
                                "coredump, not '%s'", kind);
    if (optind + 1 != argc)
        return cli_usage("new", "one name is wanted");

    char path[4000];
    size_t len = strlen(argv[optind]);
    if (len > 4 && !strcmp(argv[optind] + len - 4, ".lua"))
        len -= 4;
    snprintf(path, sizeof path, "%.*s", (int)(len < sizeof path ? len : sizeof path - 1), argv[optind]);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!is_name(name))
        return cli_usage("new", "a name has letters, digits, - and _, and does not end in _test: '%s'", name);
    return write_both(path, name, sample);
}
