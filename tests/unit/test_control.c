/* test_control.c - orders over the socket: each is answered once, and no client holds the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/control.c"
#include "cli/value.c"

#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

static struct ev_loop *loop;
static struct control *control;
static char directory[] = "/tmp/moonwatch-control-XXXXXX", path[128];

/* --- a watch that answers what it is told to ------------------------------------------------------ */

static char given[1024]; /* the words of the last order */
static int orders;
static moonwatch_reply *waiting; /* of `later` */
static void *waiting_ctx;

static void order(void *ctx, const char *const *words, int n, moonwatch_reply *reply, void *reply_ctx)
{
    static char huge[3 << 20];
    (void)ctx;
    orders++;
    *given = '\0';
    for (int i = 0; i < n; i++)
        snprintf(given + strlen(given), sizeof given - strlen(given), "%s|", words[i]);
    if (!strcmp(words[0], "later")) {
        waiting = reply;
        waiting_ctx = reply_ctx;
    } else if (!strcmp(words[0], "huge")) {
        memset(huge, 'x', sizeof huge - 1);
        reply(reply_ctx, 0, huge);
    } else if (!strcmp(words[0], "bad")) {
        reply(reply_ctx, -EINVAL, "not \"so\"\n");
    } else if (!strcmp(words[0], "object")) {
        reply(reply_ctx, 0, "{\"a\":1}");
    } else {
        reply(reply_ctx, 0, "plain");
    }
}

static int listen_again(char *why, size_t cap)
{
    return control_open(&control, loop, path, order, NULL, why, cap);
}

static int begin(void **state)
{
    char why[256];
    (void)state;
    if (!loop)
        loop = ev_loop_new(EVFLAG_AUTO); /* the default one would take our children's statuses */
    orders = 0;
    waiting = NULL;
    unlink(path);
    int result = listen_again(why, sizeof why);
    if (result < 0)
        print_error("%s\n", why);
    return result;
}

static int end(void **state)
{
    (void)state;
    control_free(control);
    control = NULL;
    return 0;
}

/* --- clients ------------------------------------------------------------------------------------ */

static int connect_to(const char *where)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", where);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

static void turn(void)
{
    for (int i = 0; i < 8; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn();
}

/* All that is there; "(end)" is appended where the other side hung up. */
static const char *hear(int fd)
{
    static char text[4 << 20];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof text - len - 8, 0);
        if (got > 0) {
            len += (size_t)got;
            turn();
            continue;
        }
        text[len] = '\0';
        if (got == 0 || errno == ECONNRESET)
            strcat(text, "(end)");
        return text;
    }
}

/* --- orders -------------------------------------------------------------------------------------- */

static void an_order_is_answered_with_a_line(void **state)
{
    int fd = connect_to(path);
    (void)state;
    say(fd, "[\"status\"]\n");
    assert_string_equal(given, "status|");
    assert_string_equal(hear(fd), "{\"ok\":true,\"result\":\"plain\"}\n");
    say(fd, "[ \"object\" , \"x y\\n\" ]\r\n");
    assert_string_equal(given, "object|x y\n|");
    assert_string_equal(hear(fd), "{\"ok\":true,\"result\":{\"a\":1}}\n");
    say(fd, "[\"bad\"]\n");
    assert_string_equal(hear(fd), "{\"ok\":false,\"error\":\"not \\\"so\\\"\\u000a\"}\n");
    close(fd);
    turn();
    assert_int_equal(control->clients_len, 0);
}

static void orders_in_pieces_and_many_at_once_come_one_by_one(void **state)
{
    int fd = connect_to(path);
    (void)state;
    say(fd, "[\"la");
    say(fd, "ter\"]\n[\"one\"]\n[\"two\"]\n[\"th");
    assert_int_equal(orders, 1);
    assert_string_equal(hear(fd), ""); /* it is still being carried out */
    waiting(waiting_ctx, 0, "{}");
    turn();
    assert_string_equal(hear(fd), "{\"ok\":true,\"result\":{}}\n{\"ok\":true,\"result\":\"plain\"}\n"
                                  "{\"ok\":true,\"result\":\"plain\"}\n");
    assert_int_equal(orders, 3);
    say(fd, "ree\"]\n");
    assert_int_equal(orders, 4);
    close(fd);
}

static void who_sends_no_more_still_gets_the_answer(void **state)
{
    int fd = connect_to(path);
    (void)state;
    assert_int_equal(send(fd, "[\"one\"]\n[\"two\"]\n", 16, 0), 16);
    shutdown(fd, SHUT_WR);
    turn();
    turn();
    assert_string_equal(hear(fd), "{\"ok\":true,\"result\":\"plain\"}\n{\"ok\":true,\"result\":\"plain\"}\n(end)");
    close(fd);
    assert_int_equal(control->clients_len, 0);
}

static void what_is_no_order_is_refused_and_the_next_is_taken(void **state)
{
    static const char *const cases[] = {
        "\n", "status\n", "{}\n", "[]\n", "[1]\n", "[\"a\",null]\n", "[[\"a\"]]\n", "[\"a\"\n", "\x1b[2J\n",
        "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]\n",
    };
    int fd = connect_to(path);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        say(fd, cases[i]);
        assert_non_null(strstr(hear(fd), "{\"ok\":false,\"error\":\"an order is a line"));
    }
    assert_int_equal(send(fd, "[\"a\"\0]\n", 7, 0), 7);
    turn();
    assert_non_null(strstr(hear(fd), "\"ok\":false"));
    assert_int_equal(orders, 0);
    say(fd, "[\"status\"]\n");
    assert_int_equal(orders, 1);
    close(fd);
}

/* --- those who hold on ------------------------------------------------------------------------------ */

static void a_line_without_end_is_refused(void **state)
{
    static char some[4096];
    int fd = connect_to(path);
    (void)state;
    memset(some, 'x', sizeof some);
    for (int i = 0; i < 1000 && send(fd, some, sizeof some, MSG_NOSIGNAL) > 0; i++)
        turn();
    turn();
    assert_non_null(strstr(hear(fd), "an order is no longer than 256 KiB\"}\n(end)"));
    close(fd);
    assert_int_equal(control->clients_len, 0);
}

static void who_does_not_read_holds_nobody(void **state)
{
    int deaf = connect_to(path), fd = connect_to(path);
    (void)state;
    say(deaf, "[\"huge\"]\n");
    say(deaf, "[\"huge\"]\n");
    assert_int_equal(orders, 1); /* the next is taken when the answer is out */
    say(fd, "[\"status\"]\n");
    assert_int_equal(orders, 2);
    assert_non_null(strstr(hear(fd), "plain"));
    size_t all = 0, both = 2 * ((3 << 20) - 1 + strlen("{\"ok\":true,\"result\":\"\"}\n"));
    static char some[65536];
    while (all < both) {
        ssize_t got = recv(deaf, some, sizeof some, 0);
        if (got <= 0 && errno != EAGAIN)
            break;
        all += got > 0 ? (size_t)got : 0;
        turn();
    }
    assert_int_equal(all, both);
    assert_int_equal(orders, 3);
    close(fd);
    close(deaf);
    turn();
    assert_int_equal(control->clients_len, 0);
}

static void who_goes_before_the_answer_is_forgotten(void **state)
{
    int fd = connect_to(path);
    (void)state;
    say(fd, "[\"later\"]\n");
    close(fd);
    turn(); /* nobody looks at it while its order is carried out */
    waiting(waiting_ctx, 0, "{}");
    turn();
    assert_int_equal(control->clients_len, 0);
    assert_null(control->asked);
}

static void an_answer_after_the_end_goes_to_nobody(void **state)
{
    int fd = connect_to(path);
    (void)state;
    say(fd, "[\"later\"]\n");
    control_stop(control);
    assert_string_equal(hear(fd), "(end)");
    assert_int_equal(access(path, F_OK), -1);
    waiting(waiting_ctx, 0, "{}");
    close(fd);
}

static void more_than_a_few_clients_are_turned_away(void **state)
{
    int fds[CLIENTS_MOST + 3];
    (void)state;
    for (int i = 0; i < CLIENTS_MOST + 3; i++) {
        fds[i] = connect_to(path);
        turn();
    }
    assert_int_equal(control->clients_len, CLIENTS_MOST);
    assert_non_null(strstr(hear(fds[CLIENTS_MOST]), "too many ask already\"}\n(end)"));
    for (int i = 0; i < CLIENTS_MOST + 3; i++)
        close(fds[i]);
    turn();
    assert_int_equal(control->clients_len, 0);
    int fd = connect_to(path);
    say(fd, "[\"status\"]\n");
    assert_non_null(strstr(hear(fd), "plain"));
    close(fd);
}

static void without_a_descriptor_it_rests_and_goes_on(void **state)
{
    struct rlimit had, none;
    (void)state;
    int fd = connect_to(path);
    getrlimit(RLIMIT_NOFILE, &had);
    none = had;
    none.rlim_cur = (rlim_t)fcntl(fd, F_DUPFD_CLOEXEC, 0);
    close((int)none.rlim_cur);
    setrlimit(RLIMIT_NOFILE, &none);
    turn();
    assert_false(ev_is_active(&control->listening)); /* it would be called again and again */
    setrlimit(RLIMIT_NOFILE, &had);
    while (!control->clients_len)
        ev_run(loop, EVRUN_ONCE);
    say(fd, "[\"status\"]\n");
    assert_non_null(strstr(hear(fd), "plain"));
    close(fd);
    turn();
}

/* --- the place ---------------------------------------------------------------------------------------- */

static void the_socket_is_its_owners_alone(void **state)
{
    struct stat about;
    (void)state;
    mode_t before = umask(0);
    end(NULL);
    assert_int_equal(begin(NULL), 0);
    umask(before);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
}

static void another_user_is_not_heard(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    chmod(path, 0666);
    chmod(directory, 0755);
    pid_t child = fork();
    if (child == 0) {
        char text[256] = "";
        if (setresuid(65534, 65534, 65534))
            _exit(2);
        int fd = connect_to(path);
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        if (fd >= 0)
            send(fd, "[\"status\"]\n", 11, MSG_NOSIGNAL); /* may be refused before it is sent */
        if (fd < 0 || poll(&ready, 1, 10000) != 1)
            _exit(3);
        _exit(recv(fd, text, sizeof text - 1, 0) > 0 && strstr(text, "not for you") ? 0 : 4);
    }
    int status = -1;
    while (waitpid(child, &status, WNOHANG) == 0)
        ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(orders, 0);
    chmod(directory, 0700);
}

static void a_living_watch_keeps_its_place(void **state)
{
    struct control *other = NULL;
    char why[256];
    (void)state;
    assert_int_equal(control_open(&other, loop, path, order, NULL, why, sizeof why), -EADDRINUSE);
    assert_non_null(strstr(why, "another watch listens at /tmp/"));
    int fd = connect_to(path);
    say(fd, "[\"status\"]\n");
    assert_int_equal(orders, 1);
    close(fd);
}

static void a_dead_watch_does_not(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char why[256];
    (void)state;
    end(NULL);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(listen_again(why, sizeof why), 0);
}

static void what_is_no_socket_stays(void **state)
{
    char why[256];
    (void)state;
    end(NULL);
    FILE *file = fopen(path, "w");
    fputs("mine", file);
    fclose(file);
    assert_int_equal(listen_again(why, sizeof why), -EEXIST);
    assert_non_null(strstr(why, "is there and is no socket"));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(symlink("/nonexistent/x", path), 0);
    assert_int_equal(listen_again(why, sizeof why), -EEXIST);
    unlink(path);
    assert_int_equal(begin(NULL), 0);
}

static void a_place_that_cannot_be_is_said(void **state)
{
    struct control *other = NULL;
    char why[256], longer[300];
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[0] = '/';
    longer[299] = '\0';
    assert_int_equal(control_open(&other, loop, longer, order, NULL, why, sizeof why), -ENAMETOOLONG);
    assert_int_equal(control_open(&other, loop, "", order, NULL, why, sizeof why), -ENAMETOOLONG);
    assert_int_equal(control_open(&other, loop, "/nonexistent/x", order, NULL, why, sizeof why), -ENOENT);
    assert_string_equal(why, "cannot listen at /nonexistent/x: No such file or directory");
}

static void anothers_socket_is_not_removed_at_the_end(void **state)
{
    struct control *first = control;
    char why[256];
    (void)state;
    unlink(path);
    assert_int_equal(listen_again(why, sizeof why), 0);
    control_free(first);
    assert_int_equal(access(path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_order_is_answered_with_a_line),
        TEST(orders_in_pieces_and_many_at_once_come_one_by_one),
        TEST(who_sends_no_more_still_gets_the_answer),
        TEST(what_is_no_order_is_refused_and_the_next_is_taken),
        TEST(a_line_without_end_is_refused),
        TEST(who_does_not_read_holds_nobody),
        TEST(who_goes_before_the_answer_is_forgotten),
        TEST(an_answer_after_the_end_goes_to_nobody),
        TEST(more_than_a_few_clients_are_turned_away),
        TEST(without_a_descriptor_it_rests_and_goes_on),
        TEST(the_socket_is_its_owners_alone),
        TEST(another_user_is_not_heard),
        TEST(a_living_watch_keeps_its_place),
        TEST(a_dead_watch_does_not),
        TEST(what_is_no_socket_stays),
        TEST(a_place_that_cannot_be_is_said),
        TEST(anothers_socket_is_not_removed_at_the_end),
    };
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/socket", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(directory);
    return failed;
}
