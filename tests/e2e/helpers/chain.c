/* chain.c - one process that execs itself again and again.
 *
 *   link-AT AT LAST CODE      execs "link-AT + 1" of its own directory until AT is LAST, then ends
 *                             with CODE; all of them are links to this program */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char name[32], next[32], path[4096 + 32];
    int at = argc == 4 ? atoi(argv[1]) : 0;
    if (argc != 4)
        return 2;
    if (at == atoi(argv[2]))
        return atoi(argv[3]);

    ssize_t len = readlink("/proc/self/exe", path, 4095);
    if (len < 0)
        return 1;
    path[len] = '\0';
    snprintf(name, sizeof name, "link-%d", at + 1);
    strcpy(strrchr(path, '/') + 1, name);
    snprintf(next, sizeof next, "%d", at + 1);
    execl(path, name, next, argv[2], argv[3], (char *)NULL);
    return 1;
}
