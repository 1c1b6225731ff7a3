/* doctor.c - prints what moonwatch_doctor finds. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch doctor\n"
    "\n"
    "Tries each source of events for real: the handshake with the kernel, an own\n"
    "child's exit, the receive buffer, the tap, taskstats, /proc of other users, the\n"
    "priority, the worker's user, LuaJIT, and the names of 200 processes that end at\n"
    "once. Says for each what works, what works only partly, and the mend. Status 0:\n"
    "the watch can run; 4: it cannot.\n";

static void print(void *ctx, const char *name, enum moonwatch_health health, const char *text,
                  const char *mend)
{
    static const char *const words[] = { "good", "limited", "broken" };
    static const char *const colours[] = { "\033[32m", "\033[33m", "\033[31m" };
    bool colour = *(bool *)ctx;

    printf("%s%-7s%s  %-18s ", colour ? colours[health] : "", words[health],
           colour ? "\033[0m" : "", name);
    cli_fold(text, 28);
    if (!*mend)
        return;
    printf("%28s-> ", "");
    cli_fold(mend, 31);
}

int cli_doctor(int argc, char **argv)
{
    bool colour = cli_colour();
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    if (argc > 1)
        return cli_usage("doctor", "'%s' is one too many", argv[1]);
    return moonwatch_doctor(print, &colour) ? EXIT_REFUSED : EXIT_OK;
}
