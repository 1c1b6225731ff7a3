/* test_output.c - lines arrive whole and in order, a reader that has gone is noticed, and what could
 * not be written is counted. */
#include "sink/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT(o, literal) output_text(o, literal, sizeof(literal) - 1)

static struct output o;
static struct event_box box;
static int ends[2]; /* we read ends[0] */

static int begin(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
}

static int end(void **state)
{
    (void)state;
    output_free(&o);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What arrived so far. */
static const char *arrived(int fd)
{
    static char text[256 * 1024];
    size_t len = 0;
    ssize_t got;
    while (len < sizeof text - 1 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    return text;
}

static void make_exec(void)
{
    event_begin(&box, EVENT_EXEC);
    event_set(&box, F_TIME, 1000, WHY_KERNEL);
    event_set(&box, F_PID, 42, WHY_KERNEL);
    event_set_text(&box, F_COMM, "sh", 2, WHY_PROC);
    event_set_text(&box, F_ARGS, "sh\0-c\0\033[2J\0", 11, WHY_PROC);
}

static void nothing_is_written_before_the_flush(void **state)
{
    (void)state;
    output_init(&o, ends[1], false);
    assert_false(o.terminal);
    TEXT(&o, "one");
    output_raw(&o, "{}", 2);
    assert_string_equal(arrived(ends[0]), "");
    assert_int_equal(output_flush(&o), 0);
    assert_string_equal(arrived(ends[0]), "one\n{}\n");
    assert_int_equal(output_flush(&o), 0); /* nothing twice */
    assert_string_equal(arrived(ends[0]), "");
}

static void a_large_batch_is_written_in_between(void **state)
{
    (void)state;
    output_init(&o, ends[1], false);
    fcntl(ends[1], F_SETPIPE_SZ, 256 * 1024);
    for (int i = 0; i < 3000; i++)
        TEXT(&o, "a line of thirty-one characters");
    assert_true(strlen(arrived(ends[0])) >= 64 * 1024);
    assert_int_equal(output_flush(&o), 0);
}

static void text_between_lines_of_json_goes_to_a_pipe_as_it_is(void **state)
{
    (void)state;
    output_init(&o, ends[1], true);
    TEXT(&o, "a\033[2J\tb\nc\x9b");
    TEXT(&o, "");
    output_flush(&o);
    assert_string_equal(arrived(ends[0]), "a\033[2J\tb\nc\x9b\n\n");
}

static void text_between_lines_for_people_is_made_safe(void **state)
{
    (void)state;
    output_init(&o, ends[1], false);
    TEXT(&o, "a\033[2J\tb\nc\x9b");
    output_flush(&o);
    assert_string_equal(arrived(ends[0]), "a\\x1b[2J\tb\nc\\x9b\n");
}

static void json_and_text_are_two_views_of_one_event(void **state)
{
    const struct output_context context = { .boot = 7, .depth = 1 };
    (void)state;

    make_exec();
    output_init(&o, ends[1], true);
    output_heading(&o);
    output_event(&o, &box.ev, &context);
    output_flush(&o);
    const char *line = arrived(ends[0]);
    assert_int_equal(line[0], '{');
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "\"pid\":42"));
    output_free(&o);

    output_init(&o, ends[1], false);
    output_heading(&o);
    output_event(&o, &box.ev, &context);
    output_flush(&o);
    line = arrived(ends[0]);
    assert_non_null(strstr(line, "sh -c"));
    assert_null(strchr(line, '\033'));
    assert_null(strstr(line, "{\""));
}

static void an_alert_needs_no_event(void **state)
{
    const struct output_context context = { 0 };
    const struct json_alert alert = {
        .severity = "high", .script = "s", .text = "t\n\033x", .text_len = 4
    };
    (void)state;

    for (int json = 0; json < 2; json++) {
        output_init(&o, ends[1], json);
        output_alert(&o, &alert, NULL, &context);
        output_flush(&o);
        const char *line = arrived(ends[0]);
        assert_non_null(strstr(line, "high"));
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1); /* one line */
        assert_null(strchr(line, '\033'));
        output_free(&o);
    }
}

/* --- a terminal ---------------------------------------------------------------------------- */

static int open_terminal(int *master)
{
    char name[64];
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (*master < 0 || grantpt(*master) || unlockpt(*master) ||
        ptsname_r(*master, name, sizeof name)) {
        print_message("skipped: there are no pseudo-terminals here\n");
        skip();
    }
    int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void what_scripts_print_cannot_steer_a_terminal(void **state)
{
    const struct winsize size = { .ws_row = 24, .ws_col = 91 };
    int master, fd = open_terminal(&master);
    (void)state;

    ioctl(fd, TIOCSWINSZ, &size);
    output_init(&o, fd, false);
    assert_true(o.terminal);
    assert_int_equal(o.view.columns, 91);
    TEXT(&o, "a\033[2J\rb\xc2\x9b"
             "c");
    TEXT(&o, "exec\t42\tsh"); /* print(type, pid, comm) */
    TEXT(&o, "two\nlines");
    output_flush(&o);
    const char *text = arrived(master); /* the terminal makes \r\n of \n, and may expand tabs */
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "\\x1b[2J\\x0db"));
    assert_null(strstr(text, "\xc2\x9b"));
    assert_null(strstr(text, "\\x09"));
    assert_non_null(strstr(text, "42"));
    assert_non_null(strstr(text, "two\r\nlines\r\n"));
    output_free(&o);
    close(fd);
    close(master);
}

static void no_color_is_heeded(void **state)
{
    static const struct {
        const char *value;
        bool colour;
    } cases[] = { { NULL, true }, { "", true }, { "1", false }, { "0", false } };
    int master, fd = open_terminal(&master);
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].value)
            setenv("NO_COLOR", cases[i].value, 1);
        else
            unsetenv("NO_COLOR");
        output_init(&o, fd, false);
        assert_int_equal(o.view.colour, cases[i].colour);
        output_free(&o);
    }
    setenv("NO_COLOR", "1", 1);
    output_init(&o, ends[1], false); /* no terminal: no colour in any case */
    assert_false(o.view.colour);
    close(fd);
    close(master);
}

/* --- what goes wrong ----------------------------------------------------------------------- */

static void a_reader_that_has_gone_is_told_for_ever(void **state)
{
    (void)state;
    output_init(&o, ends[1], false);
    TEXT(&o, "arrives");
    assert_int_equal(output_flush(&o), 0);
    close(ends[0]);
    assert_int_equal(output_flush(&o), 0); /* nothing to write: not noticed */
    TEXT(&o, "one");
    TEXT(&o, "two");
    assert_int_equal(output_flush(&o), -EPIPE);
    assert_int_equal(o.unwritten, 2);
    output_raw(&o, "{}", 2);
    assert_int_equal(output_flush(&o), -EPIPE);
    assert_int_equal(output_flush(&o), -EPIPE);
    assert_int_equal(o.unwritten, 3);
    ends[0] = open("/dev/null", O_RDONLY);
}

static void a_full_device_is_told(void **state)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    (void)state;

    assert_true(fd >= 0);
    output_init(&o, fd, false);
    for (int i = 0; i < 10000; i++)
        TEXT(&o, "a line that finds no room");
    assert_int_equal(output_flush(&o), -ENOSPC);
    assert_int_equal(o.unwritten, 10000);
    close(fd);
}

/* The file may grow to 100 bytes: 12 lines of 8 and a half one. */
static void only_lines_that_did_not_arrive_count_as_unwritten(void **state)
{
    char path[] = "/tmp/test_output.XXXXXX";
    int fd = mkstemp(path);
    struct rlimit old, small;
    (void)state;

    assert_true(fd >= 0);
    unlink(path);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){ 100, old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    output_init(&o, fd, false);
    for (int i = 0; i < 20; i++)
        TEXT(&o, "1234567");
    int result = output_flush(&o);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(lseek(fd, 0, SEEK_END), 100);
    assert_int_equal(o.unwritten, 8);
    close(fd);
}

static void *read_slowly(void *count)
{
    static char bytes[1000];
    struct pollfd p = { .fd = ends[0], .events = POLLIN };
    size_t *total = count;
    while (poll(&p, 1, 20000) == 1) {
        ssize_t got = read(ends[0], bytes, sizeof bytes);
        if (got == 0)
            break;
        *total += got > 0 ? (size_t)got : 0;
    }
    return NULL;
}

static void a_slow_reader_gets_everything(void **state)
{
    size_t total = 0;
    pthread_t thread;
    (void)state;

    fcntl(ends[1], F_SETPIPE_SZ, 4096); /* and does not block: EAGAIN */
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &total), 0);
    output_init(&o, ends[1], false);
    for (int i = 0; i < 50000; i++)
        TEXT(&o, "123456789");
    assert_int_equal(output_flush(&o), 0);
    output_free(&o);
    close(ends[1]);
    pthread_join(thread, NULL);
    assert_int_equal(total, 500000);
    ends[1] = open("/dev/null", O_WRONLY);
}

static void the_rest_is_written_at_the_end(void **state)
{
    (void)state;
    output_init(&o, ends[1], false);
    TEXT(&o, "last words");
    output_free(&o);
    assert_string_equal(arrived(ends[0]), "last words\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_written_before_the_flush),
        TEST(a_large_batch_is_written_in_between),
        TEST(text_between_lines_of_json_goes_to_a_pipe_as_it_is),
        TEST(text_between_lines_for_people_is_made_safe),
        TEST(json_and_text_are_two_views_of_one_event),
        TEST(an_alert_needs_no_event),
        TEST(what_scripts_print_cannot_steer_a_terminal),
        TEST(no_color_is_heeded),
        TEST(a_reader_that_has_gone_is_told_for_ever),
        TEST(a_full_device_is_told),
        TEST(only_lines_that_did_not_arrive_count_as_unwritten),
        TEST(a_slow_reader_gets_everything),
        TEST(the_rest_is_written_at_the_end),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
