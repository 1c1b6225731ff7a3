/* spawn.c - starts one program many times, each time with other arguments.
 *
 *   spawn fork|vfork PROGRAM < JOBS
 *
 * JOBS: for each job the number of arguments, then each with its length before it; numbers have four
 * bytes, in the order of this machine. Each job is waited for; "PID STATUS" goes to standard output,
 * STATUS as waitpid(2) gives it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int take(void *to, size_t len)
{
    return fread(to, 1, len, stdin) == len;
}

static char *take_argument(void)
{
    uint32_t len;
    if (!take(&len, sizeof len))
        exit(2);
    char *text = calloc(1, len + 1);
    if (!text || !take(text, len))
        exit(2);
    return text;
}

static char **take_job(void)
{
    uint32_t count;
    if (!take(&count, sizeof count))
        return NULL;
    char **argv = calloc(count + 1, sizeof *argv);
    for (uint32_t i = 0; argv && i < count; i++)
        argv[i] = take_argument();
    return argv;
}

static pid_t start(int shares, const char *program, char **argv)
{
    pid_t pid = shares ? vfork() : fork();
    if (pid == 0) {
        execv(program, argv);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    static char **jobs[100000];
    int count = 0;
    if (argc != 3)
        return 2;
    int shares = !strcmp(argv[1], "vfork");

    while (count < 100000 && (jobs[count] = take_job()))
        count++;
    for (int i = 0; i < count; i++) {
        pid_t pid = start(shares, argv[2], jobs[i]);
        int status = -1;
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 1;
        printf("%d %d\n", pid, status);
    }
    return 0;
}
