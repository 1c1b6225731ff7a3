/* tiny.c - the program that the storms start: static, so that it is gone as fast as can be.
 *
 * With the argument "wait" first it lives until its standard input ends: nobody can miss it. */
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;
    if (argc > 1 && !strcmp(argv[1], "wait"))
        while (read(STDIN_FILENO, &byte, 1) > 0)
            ;
    return 0;
}
