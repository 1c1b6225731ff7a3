/* main.c - finds the subcommand; parses what all of them take the same way. */
#include "cli/cli.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const struct {
    const char *name;
    cli_command *run;
    const char *what;
} commands[] = {
    { "run", cli_run, "watch with scripts" },
    { "record", cli_record, "watch, and write everything into a file" },
    { "replay", cli_replay, "tell scripts what was recorded, again" },
    { "backtest", cli_backtest, "what a script would have told of the last hours" },
    { "explain", cli_explain, "how an alert came about, from a recording" },
    { "ps", cli_ps, "list the processes that run now" },
    { "tree", cli_tree, "the same as a tree" },
    { "fields", cli_fields, "what an event carries, and can be asked of a process" },
    { "plan", cli_plan, "what scripts make the watch read, and its cost" },
    { "new", cli_new, "write a script and its test, to begin with" },
    { "test", cli_test, "run the tests of scripts, with made-up events" },
    { "lint", cli_lint, "what is wrong with scripts, without running them" },
    { "sigma", cli_sigma, "Sigma rules: match, check, explain them" },
    { "top", cli_top, "what scripts of a running watch cost and tell, live" },
    { "ctl", cli_ctl, "orders to a running watch: status, dump, disable, ..." },
    { "reload", cli_reload, "look at scripts again, or try a version beside the old" },
    { "repl", cli_repl, "Lua by the line, on live events" },
    { "doctor", cli_doctor, "test each source of events, explain what does not work" },
};

static int help(FILE *to)
{
    fputs("moonwatch - watch every process on this host, decide in Lua what matters\n"
          "\n"
          "usage: moonwatch [options]                 live view of every process\n"
          "       moonwatch -e '[EVENT,...:] CONDITION [=> ACTION]'\n"
          "       moonwatch run SCRIPT|DIRECTORY...\n",
          to);
    for (size_t i = 1; i < sizeof commands / sizeof *commands; i++)
        fprintf(to, "       moonwatch %-8s %s\n", commands[i].name, commands[i].what);
    fputs("\n"
          "examples:\n"
          "  moonwatch                              what runs here?\n"
          "  moonwatch -e 'exec: uid == 0 and tty'  programs that root starts at a terminal\n"
          "  moonwatch -e 'exit: signal => print(pid, comm, signal)'\n"
          "  moonwatch --for 10s --json | jq .process.command_line\n"
          "  moonwatch run scripts/recon-burst.lua\n"
          "\n"
          "exit status:\n"
          "  0  ended as asked: signal, --for, mw.stop(), or nobody reads the output\n"
          "  1  broke off: the output cannot be written, or the script worker died\n"
          "  2  the command line is wrong\n"
          "  3  a script cannot be read or loaded\n"
          "  4  the kernel does not let us watch here; `moonwatch doctor` says why\n"
          "  5  ctl, reload, top, repl: no watch answers there\n"
          "\n"
          "`moonwatch help COMMAND` has the details; `moonwatch help run` the options for\n"
          "watching.\n",
          to);
    return EXIT_OK;
}

/* A traceback's newlines, which are followed by a tab or by "stack traceback:", stay. */
static bool of_traceback(const char *newline)
{
    return newline[1] == '\t' || !strncmp(newline + 1, "stack traceback:", 16);
}

__attribute__((format(printf, 2, 0))) static void say(const char *end, const char *format,
                                                      va_list args)
{
    char text[8192];
    vsnprintf(text, sizeof text, format, args);
    fputs("moonwatch: ", stderr);
    for (const char *c = text; *c; c++) {
        bool control = (unsigned char)*c < 0x20 || *c == 0x7f;
        if (!control || *c == '\t' || (*c == '\n' && of_traceback(c)))
            fputc(*c, stderr);
        else
            fprintf(stderr, "\\x%02x", (unsigned char)*c);
    }
    fputs(end, stderr);
}

/* Bytes of the character at `s`; 0: a control character, also of those that UTF-8 makes of two
 * bytes, or no character at all. */
static size_t character(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || (s[0] == 0xc2 && s[1] < 0xa0))
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

void cli_put(FILE *to, const char *text)
{
    while (*text) {
        size_t len = character((const unsigned char *)text);
        if (len)
            fwrite(text, 1, len, to);
        else
            fprintf(to, "\\x%02x", (unsigned char)*text);
        text += len ? len : 1;
    }
}

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("\n", format, args);
    va_end(args);
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
    fprintf(stderr, "; see `moonwatch%s%s --help`\n", *command ? " " : "", command);
    return EXIT_USAGE;
}

struct unit {
    const char *name;
    double factor;
};

static double number_with_unit(const char *text, const struct unit *units)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || !(number >= 0) || number > 1e15)
        return -1;
    for (; units->name; units++)
        if (!strcasecmp(end, units->name))
            return number * units->factor;
    return -1;
}

double cli_seconds(const char *text)
{
    static const struct unit units[] = { { "", 1 },   { "s", 1 },    { "ms", 0.001 },
                                         { "m", 60 }, { "h", 3600 }, { "d", 86400 },
                                         { NULL, 0 } };
    return number_with_unit(text, units);
}

long long cli_bytes(const char *text)
{
    static const struct unit units[] = {
        { "", 1 }, { "k", 1024 }, { "M", 1024 * 1024 }, { "G", 1024.0 * 1024 * 1024 }, { NULL, 0 }
    };
    double bytes = number_with_unit(text, units);
    return bytes < 0 ? -1 : (long long)bytes;
}

/* "web.max=3": the script's name may have dots, the option's has none. NULL: it is no such thing. */
static const char *dot_of_setting(const char *text)
{
    const char *equal = strchr(text, '='), *dot = NULL;
    for (const char *c = text; equal && c < equal; c++)
        if (*c == '.')
            dot = c;
    return dot && dot > text && dot + 1 < equal ? dot : NULL;
}

int cli_take_setting(struct cli_settings *settings, const char *command, const char *text)
{
    if (!dot_of_setting(text))
        return cli_usage(command, "--set takes SCRIPT.NAME=VALUE, not '%s'", text);
    if (settings->len == (int)(sizeof settings->texts / sizeof *settings->texts))
        return cli_usage(command, "more than 256 times --set");
    settings->texts[settings->len++] = text;
    return -1;
}

int cli_set(struct moonwatch *m, const struct cli_settings *settings)
{
    for (int i = 0; i < settings->len; i++) {
        const char *text = settings->texts[i], *dot = dot_of_setting(text);
        const char *equal = strchr(dot, '=');
        char script[256], name[256];
        snprintf(script, sizeof script, "%.*s", (int)(dot - text), text);
        snprintf(name, sizeof name, "%.*s", (int)(equal - dot - 1), dot + 1);
        int result = moonwatch_set(m, script, name, equal + 1);
        if (result < 0)
            return result;
    }
    return 0;
}

int cli_columns(void)
{
    struct winsize size = { 0 };
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col;
}

#define COLUMNS_LEAST 60

void cli_fold(const char *text, int at)
{
    int columns = cli_columns() >= COLUMNS_LEAST ? cli_columns() : 80;
    for (int used = at; *text;) {
        int len = (int)strcspn(text, " ");
        if (used > at && used + 1 + len > columns) {
            printf("\n%*s", at, "");
            used = at;
        }
        used += printf("%s%.*s", used > at ? " " : "", len, text);
        text += len + (text[len] == ' ');
    }
    putchar('\n');
}

bool cli_colour(void)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no_color && *no_color);
}

/* Who may become root by sudo may keep scripts at home. */
static void trust_who_typed_sudo(void)
{
    const char *uid = geteuid() == 0 ? secure_getenv("SUDO_UID") : NULL;
    char *end;
    unsigned long owner = uid && *uid >= '0' && *uid <= '9' ? strtoul(uid, &end, 10) : 0;
    if (owner && !*end && owner < UINT_MAX)
        moonwatch_trust_owner((unsigned)owner);
}

static int command(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(argv[0], commands[i].name))
            return commands[i].run(argc, argv);
    return cli_usage("", "there is no command '%s'", argv[0]);
}

int main(int argc, char **argv)
{
    trust_who_typed_sudo();
    if (argc > 2 && !strcmp(argv[1], "help")) {
        char *words[] = { argv[2], "--help", NULL };
        return command(2, words);
    }
    if (argc > 1 &&
        (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")))
        return help(stdout);
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("moonwatch %s\n", moonwatch_version());
        return EXIT_OK;
    }
    return argc > 1 && argv[1][0] != '-' ? command(argc - 1, argv + 1) : cli_watch(argc, argv);
}
