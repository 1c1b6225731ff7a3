/* numbered.c - starts a program again and again, each time with the next number.
 *
 *   numbered PROGRAM ARG     PROGRAM ARG N exit:0, N = 0, 1, 2...; each is waited for
 *
 * Ends when its standard input does, and writes how many there were. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int at_end(void)
{
    struct pollfd in = { .fd = 0, .events = POLLIN };
    return poll(&in, 1, 0) != 0;
}

int main(int argc, char **argv)
{
    long count = 0;
    char number[24];
    if (argc != 3)
        return 2;
    char *job[] = { argv[1], argv[2], number, "exit:0", NULL };
    for (; !at_end(); count++) {
        snprintf(number, sizeof number, "%ld", count);
        pid_t pid = vfork();
        if (pid == 0) {
            execv(job[0], job);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
    }
    printf("%ld\n", count);
    return 0;
}
