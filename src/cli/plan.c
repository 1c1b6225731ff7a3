/* plan.c - what scripts would make the watch ask for and read, and what that costs here. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: moonwatch plan [options] SCRIPT|DIRECTORY...\n"
    "       moonwatch plan [options] -e '[EVENT,...:] CONDITION [=> ACTION]'\n"
    "\n"
    "Loads the scripts as `moonwatch run` does, but watches nothing and needs no\n"
    "privilege. Tells which events each script subscribes to and which fields it\n"
    "looks at, which events the kernel would be asked for, and which files of /proc\n"
    "would be read at an exec, with the cost of each, measured now on an idle child\n"
    "(median, in microseconds). With the tap none of them is read; as root its cost\n"
    "is measured too, on execs of /bin/true (the kernel's figure, mean).\n"
    "\n"
    "A field counts as looked at when the script or a module that it requires\n"
    "mentions it, tests it in mw.where or lists it in `needs`. What nobody looks at\n"
    "is not read at an exec. What no text tells is noticed when it is read, and is\n"
    "there from the next exec on.\n"
    "\n"
    "  -e LINE          a script in one line; may be given more than once\n"
    "      --json       one JSON object\n"
    "      --set SCRIPT.NAME=VALUE\n"
    "                   what mw.option(NAME) gives in SCRIPT.lua\n"
    "      --user NAME  load scripts as this user (nobody), where root may become it\n"
    "  -h, --help       this text\n"
    "\n"
    "Exit status: 0, 1 when nothing can be measured, 2 wrong command line, 3 a\n"
    "script is wrong.\n";

static void print_scripts(const struct moonwatch_plan *plan)
{
    for (int i = 0; i < plan->scripts_len; i++) {
        const struct moonwatch_plan_script *s = &plan->scripts[i];
        printf("script           %s\n", s->name);
        printf("  events         %s%s\n", *s->events ? s->events : "none",
               s->threads ? ", of threads too" : "");
        fputs("  fields         ", stdout);
        cli_fold(*s->fields ? s->fields : "none", 17);
    }
}

static void print_sources(const struct moonwatch_plan *plan)
{
    if (*plan->no_tap)
        printf("the tap          %s\n", plan->no_tap);
    else
        printf("the tap %15.1f  us for an exec, in the process itself: nothing is read\n",
               plan->tap_us);
    puts("without it       us here, at an exec");
    for (int i = 0; i < plan->sources_len; i++) {
        const struct moonwatch_plan_source *s = &plan->sources[i];
        char text[256];
        snprintf(text, sizeof text, "%s%s%s%s", s->fields, *s->note ? " (" : "", s->note,
                 *s->note ? ")" : "");
        printf("  %-8s %12.1f  %-19s ", s->read ? "read" : "not read", s->us, s->name);
        cli_fold(text, 45);
    }
    printf("  in all   %12.1f  of %.1f if every field were needed\n", plan->exec_us, plan->all_us);
}

static void print_text(void *ctx, const struct moonwatch_plan *plan)
{
    (void)ctx;
    print_scripts(plan);
    printf("kernel events    %s\n", plan->kernel_events);
    bool some = *plan->kernel_events_unasked;
    printf("  not asked for  %s%s\n", plan->kernel_events_unasked,
           plan->threads ? (some ? "" : "none") : (some ? ", any of threads" : "any of threads"));
    print_sources(plan);
}

static void print_json(void *ctx, const struct moonwatch_plan *plan)
{
    (void)ctx;
    puts(plan->json);
}

/* --- the command line ------------------------------------------------------------------------ */

struct request {
    bool json;
    const char *user;
    const char *lines[64];
    int lines_len;
    struct cli_settings settings;
};

/* -1: go on; else an exit status. */
static int parse(struct request *r, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "user", required_argument, NULL, 'u' },
        { "set", required_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option, status;
    optind = 1;
    while ((option = getopt_long(argc, argv, "e:h", options, NULL)) != -1) {
        switch (option) {
        case 'e':
            if (r->lines_len == (int)(sizeof r->lines / sizeof *r->lines))
                return cli_usage("plan", "more than 64 one-liners: put them into a file");
            r->lines[r->lines_len++] = optarg;
            break;
        case 'j':
            r->json = true;
            break;
        case 'u':
            r->user = optarg;
            break;
        case 's':
            status = cli_take_setting(&r->settings, "plan", optarg);
            if (status >= 0)
                return status;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind == argc && !r->lines_len)
        return cli_usage("plan", "no script is named");
    return -1;
}

static int plan(struct moonwatch *m, const struct request *r, int argc, char **argv)
{
    int result = cli_set(m, &r->settings);
    for (int i = 0; i < r->lines_len && !result; i++)
        result = moonwatch_add_line(m, r->lines[i]);
    for (int i = 0; i < argc && !result; i++)
        result = moonwatch_add_path(m, argv[i]);
    int status = result ? EXIT_SCRIPT : EXIT_OK;
    if (!result) {
        result = moonwatch_plan(m, r->json ? print_json : print_text, NULL);
        status = result == -EINVAL ? EXIT_SCRIPT : result ? EXIT_FAILED : EXIT_OK;
    }
    if (status != EXIT_OK)
        cli_say("%s", *moonwatch_error(m) ? moonwatch_error(m) : strerror(-result));
    return status;
}

int cli_plan(int argc, char **argv)
{
    struct request request = { 0 };
    struct moonwatch_options options;
    int status = parse(&request, argc, argv);
    if (status >= 0)
        return status;

    moonwatch_options_init(&options);
    options.worker = true;
    if (request.user)
        options.user = request.user;
    struct moonwatch *m = moonwatch_new(&options);
    if (!m) {
        fputs("moonwatch: not enough memory\n", stderr);
        return EXIT_FAILED;
    }
    status = plan(m, &request, argc - optind, argv + optind);
    moonwatch_free(m);
    if (status == EXIT_OK && (fflush(stdout) || ferror(stdout))) {
        cli_say("cannot write the output: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return status;
}
