/* doctor.c - prints what moonwatch_doctor finds. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch doctor\n"
    "\n"
    "Tries each source of events for real: the handshake with the kernel, an own child's exit, the\n"
    "receive buffer, the tap, taskstats, /proc of other users, the priority, the worker's user,\n"
    "LuaJIT, and the names of 200 processes that end at once. Says for each what works, what works\n"
    "only partly, and the mend. Status 0: the watch can run; 4: it cannot.\n";

/* Words from column `at` on, of which the line has been written up to there; what is too long for it
 * goes on below. */
static void print_folded(const char *text, int at, int columns)
{
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

static void print(void *ctx, const char *name, enum moonwatch_health health, const char *text,
                  const char *mend)
{
    static const char *const words[] = { "good", "limited", "broken" };
    static const char *const colours[] = { "\033[32m", "\033[33m", "\033[31m" };
    bool colour = *(bool *)ctx;
    int columns = cli_columns();
    columns = columns > 60 ? columns : 80;

    printf("%s%-7s%s  %-18s ", colour ? colours[health] : "", words[health],
           colour ? "\033[0m" : "", name);
    print_folded(text, 28, columns);
    if (!*mend)
        return;
    printf("%28s-> ", "");
    print_folded(mend, 31, columns);
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
