/* many.c - many processes that do nothing.
 *
 *   many COUNT      forks COUNT children, writes "ready", and waits for standard input to end; then
 *                   they end too */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int count = argc == 2 ? atoi(argv[1]) : 0;
    pid_t *pids = calloc((size_t)count + 1, sizeof *pids);
    char c;
    for (int i = 0; pids && i < count; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            for (;;)
                pause();
        if (pids[i] < 0)
            return 1;
    }
    if (!pids || write(1, "ready\n", 6) != 6)
        return 1;
    while (read(0, &c, 1) == 1)
        ;
    for (int i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    for (int i = 0; i < count; i++)
        waitpid(pids[i], NULL, 0);
    return 0;
}
