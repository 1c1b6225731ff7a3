/* act.c - does what its last argument says: steps, separated by blanks, one after the other.
 *
 *   exit:N  kill:N  crash        end: with this status, by this signal, by SIGSEGV with a core dump
 *   say:WORD                     write WORD, pid and parent's pid as a line
 *   wait                         for a line on standard input
 *   name:TEXT                    PR_SET_NAME; %HH stands for a byte
 *   setresuid:A,B,C  setresgid:A,B,C  setsid
 *   attach:PID  detach:PID       ptrace
 *   orphan                       fork; the parent ends, the child takes the next step
 *   child                        fork; the child takes the next step, the parent the one after `|`
 *   subreaper                    orphans below it become its children
 *   reap                         wait until it has no child any more
 *   exec:NAME                    exec this program anew as NAME with the steps that are left
 *
 * Without steps it ends with status 0. Other arguments are ignored: they are there to be seen. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *step)
{
    perror(step);
    _exit(99);
}

static void unescape(char *text)
{
    char *to = text;
    for (; *text; text++) {
        unsigned byte;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1) {
            *to++ = (char)byte;
            text += 2;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

static void wait_for_line(void)
{
    char c;
    while (read(0, &c, 1) == 1 && c != '\n')
        ;
}

static void crash(void)
{
    struct rlimit any = { RLIM_INFINITY, RLIM_INFINITY };
    setrlimit(RLIMIT_CORE, &any);
    signal(SIGSEGV, SIG_DFL);
    kill(getpid(), SIGSEGV);
}

static void die_by(int number)
{
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    kill(getpid(), number);
}

static void attach(pid_t pid)
{
    int status;
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, &status, __WALL) != pid)
        fail("attach");
}

static void exec_anew(const char *name, const char *steps)
{
    char path[4096] = "";
    if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
        execl(path, name, "again", steps, (char *)NULL);
    fail("exec");
}

/* What begins after the step "|". */
static char *other_branch(char *rest)
{
    char *bar = rest ? strstr(rest, "| ") : NULL;
    return bar ? bar + 2 : NULL;
}

static char *branch(char *rest)
{
    char *other = other_branch(rest);
    pid_t pid = fork();
    if (pid < 0)
        fail("child");
    if (pid)
        return other;
    if (other)
        other[-2] = '\0';
    return rest;
}

static void step(char *name, char *value, char **rest)
{
    unsigned a, b, c;
    value = value ? value : "";
    if (!strcmp(name, "exit")) {
        _exit(atoi(value));
    } else if (!strcmp(name, "kill")) {
        die_by(atoi(value));
    } else if (!strcmp(name, "crash")) {
        crash();
    } else if (!strcmp(name, "say")) {
        dprintf(1, "%s %d %d\n", value, getpid(), getppid());
    } else if (!strcmp(name, "wait")) {
        wait_for_line();
    } else if (!strcmp(name, "name")) {
        unescape(value);
        prctl(PR_SET_NAME, value);
    } else if (!strcmp(name, "setresuid")) {
        if (sscanf(value, "%u,%u,%u", &a, &b, &c) != 3 || setresuid(a, b, c))
            fail(name);
    } else if (!strcmp(name, "setresgid")) {
        if (sscanf(value, "%u,%u,%u", &a, &b, &c) != 3 || setresgid(a, b, c))
            fail(name);
    } else if (!strcmp(name, "setsid")) {
        if (setsid() < 0)
            fail(name);
    } else if (!strcmp(name, "subreaper")) {
        if (prctl(PR_SET_CHILD_SUBREAPER, 1))
            fail(name);
    } else if (!strcmp(name, "reap")) {
        while (wait(NULL) > 0)
            ;
    } else if (!strcmp(name, "attach")) {
        attach(atoi(value));
    } else if (!strcmp(name, "detach")) {
        if (ptrace(PTRACE_DETACH, atoi(value), 0, 0))
            fail(name);
    } else if (!strcmp(name, "orphan")) {
        pid_t pid = fork();
        if (pid < 0)
            fail(name);
        if (pid)
            _exit(0);
    } else if (!strcmp(name, "child")) {
        *rest = branch(*rest);
    } else if (!strcmp(name, "exec")) {
        exec_anew(value, *rest ? *rest : "exit:0");
    } else if (*name) {
        dprintf(2, "act: no step is named '%s'\n", name);
        _exit(98);
    }
}

int main(int argc, char **argv)
{
    char *rest = argc > 1 ? strdup(argv[argc - 1]) : NULL;
    while (rest) {
        char *name = rest;
        rest = strchr(rest, ' ');
        if (rest)
            *rest++ = '\0';
        char *value = strchr(name, ':');
        if (value)
            *value++ = '\0';
        step(name, value, &rest);
    }
    return 0;
}
