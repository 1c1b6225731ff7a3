/* storm.c - as many short processes as this machine can make.
 *
 *   storm COUNT PROGRAM [ARG...]     vfork and exec it COUNT times, wait for each */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(char **argv)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    for (int i = atoi(argv[1]); i > 0; i--) {
        pid_t pid = start(argv + 2);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
    }
    return 0;
}
