/* rechain.c - execs itself again and again: rechain N COUNT has COUNT - N execs before it. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char next[16];
    int left = argc > 1 ? atoi(argv[1]) : 0;
    if (left <= 0)
        return 0;
    snprintf(next, sizeof next, "%d", left - 1);
    execl("/proc/self/exe", "rechain", next, argv[2], (char *)NULL);
    return 99;
}
