#include "cli/cli.h"
int cli_explain(int argc, char **argv)
{
    (void)argc, (void)argv;
    return 1;
}
