/* test_keeper.c - a program that does not end with its sink is ended, and holds nobody up.
 *
 * The keeper's own file is included: a test does not wait for a minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sink/keeper.c"

static struct keeper *keeper;
static struct keeper_answer answer;
static const struct keeper_asker asker = { 0, 1 };
static struct place_rules rules = { .allow_exec = true, .output = STDOUT_FILENO };
static char said[8192];

static void note_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    strncat(said, text, sizeof said - strlen(said) - 1);
}

static int begin(void **state)
{
    (void)state;
    *said = '\0';
    log_to(note_log, NULL);
    return keeper_new(&keeper, &rules);
}

static int end(void **state)
{
    (void)state;
    log_to(NULL, NULL);
    return 0;
}

/* Start a program with a line on its standard input; 0 when it was refused. */
static pid_t start(uint32_t script, const char *command)
{
    struct sink_spec spec = { .kind = SINK_EXEC, .queue = SPEC_QUEUE_MIN };
    int fds[KEEPER_FDS];
    memcpy(spec.text, "sh\0-c\0", 6);
    strcpy(spec.text + 6, command);
    spec.text_len = (uint32_t)(6 + strlen(command) + 1);
    int n = keeper_open(keeper, asker, script, &spec, spec_size(&spec), &answer, fds);
    if (n == 2)
        assert_int_equal(write(fds[1], "go\n", 3), 3);
    for (int i = 0; i < n; i++)
        close(fds[i]);
    return n ? keeper->kept->child : 0;
}

/* So many seconds later. */
static void age(int seconds)
{
    for (struct kept *s = keeper->ending; s; s = s->next)
        s->closed_ns -= seconds * NS_PER_SECOND;
}

static void await_burial(void)
{
    while (keeper->ending) {
        keeper_tidy(keeper);
        usleep(1000);
    }
}

static void a_program_that_stays_is_asked_and_then_killed(void **state)
{
    (void)state;
    pid_t polite = start(1, "exec sleep 1000");
    keeper_close(keeper, asker, answer.id);
    keeper_tidy(keeper);
    age(59);
    keeper_tidy(keeper);
    assert_int_equal(kill(polite, 0), 0);
    age(2);
    await_burial(); /* SIGTERM was enough */
    assert_null(strstr(said, "killed"));

    int unread = 1;
    start(1, "trap '' TERM; read go; while :; do sleep 1000; done");
    while (ioctl(keeper->kept->input, FIONREAD, &unread) == 0 && unread)
        usleep(1000); /* it has set the trap */
    keeper_close(keeper, asker, answer.id);
    age(61);
    keeper_tidy(keeper);
    usleep(20000);
    keeper_tidy(keeper);
    assert_non_null(keeper->ending);
    age(10);
    await_burial();
    assert_non_null(strstr(said, "it did not end with its input: killed"));
    keeper_free(keeper);
}

static void many_that_stay_have_one_time_together(void **state)
{
    char command[64];
    (void)state;
    for (int i = 0; i < 6; i++) {
        snprintf(command, sizeof command, "exec sleep %d", 1000 + i);
        assert_true(start(1, command) > 0);
    }
    int64_t began = clock_mono_ns();
    keeper_free(keeper);
    assert_true(clock_mono_ns() - began < 2 * CHILD_PATIENCE_NS);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void those_that_are_ending_count(void **state)
{
    char command[64];
    int n = 0;
    (void)state;
    for (; n < 1000; n++) {
        snprintf(command, sizeof command, "exec sleep %d", 1000 + n);
        if (!start(1, command))
            break;
        keeper_close(keeper, asker, answer.id);
    }
    assert_int_equal(n, 2 * KEEPER_A_SCRIPT);
    assert_int_equal(answer.error, EMFILE);
    age(100);
    keeper_free(keeper);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_program_that_stays_is_asked_and_then_killed),
        TEST(many_that_stay_have_one_time_together),
        TEST(those_that_are_ending_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
