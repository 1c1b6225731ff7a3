/* test_place.c - an output is opened where the operator allows it and nowhere else, and outlives
 * who asked for it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "sink/keeper.h"
#include "sink/queue.h"

static char top[64], dir[80], said[8192];
static const char *named[1];
static struct place_rules rules;
static char why[PLACE_WHY_MAX];
static enum place_target target;

static void note_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    strncat(said, text, sizeof said - strlen(said) - 1);
}

static char *in(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn = (turn + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    strcpy(top, "/tmp/moonwatch-place-XXXXXX");
    if (!mkdtemp(top))
        return -1;
    snprintf(dir, sizeof dir, "%s/out", top);
    rules = (struct place_rules){ .output_dir = dir, .output = STDOUT_FILENO };
    *said = '\0';
    log_to(note_log, NULL);
    return mkdir(dir, 0755);
}

static int remove_dir(void **state)
{
    char command[128];
    (void)state;
    log_to(NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command);
}

static struct sink_spec spec_of(enum sink_kind kind, const char *text, size_t len)
{
    struct sink_spec spec = { .kind = kind, .queue = SPEC_QUEUE_MIN, .text_len = (uint32_t)len };
    memcpy(spec.text, text, len);
    return spec;
}

#define SPEC(kind, text) spec_of(SINK_##kind, text, sizeof(text) - 1)

static int open_path(const char *path)
{
    struct sink_spec spec = spec_of(SINK_FILE, path, strlen(path));
    return place_open(&rules, &spec, &target, why);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void expect_text(const char *path, const char *text)
{
    char got[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    assert_int_equal(read(fd, got, sizeof got - 1), strlen(text));
    assert_string_equal(got, text);
    close(fd);
}

/* --- files --------------------------------------------------------------------------------- */

static void a_file_below_the_directory_is_appended_to(void **state)
{
    struct stat about;
    (void)state;
    mkdir(in("sub"), 0755);
    put(in("sub/alerts"), "before\n");
    int fd = open_path("sub/alerts");
    assert_true(fd >= 0);
    assert_int_equal(target, PLACE_FILE);
    assert_int_equal(write(fd, "after\n", 6), 6);
    close(fd);
    expect_text(in("sub/alerts"), "before\nafter\n");

    close(open_path("new"));
    assert_int_equal(stat(in("new"), &about), 0);
    assert_int_equal(about.st_mode & 0137, 0); /* others can do nothing */
}

static void no_way_leads_out_of_the_directory(void **state)
{
    static const char *const paths[] = {
        "/etc/passwd", "../outside", "sub/../../outside", "..",   ".",     "",     "sub/",
        "sub//x",      "link",       "sub/link",          "to/x", "./new", "dead", "sub/.",
    };
    (void)state;
    char outside[128];
    snprintf(outside, sizeof outside, "%s/outside", top);
    put(outside, "");
    mkdir(in("sub"), 0755);
    assert_int_equal(symlink("../outside", in("link")), 0);
    assert_int_equal(symlink(outside, in("sub/link")), 0);
    assert_int_equal(symlink("..", in("to")), 0);
    assert_int_equal(symlink("nowhere", in("dead")), 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int fd = open_path(paths[i]);
        if (fd >= 0)
            fail_msg("'%s' was opened", paths[i]);
        assert_true(*why);
    }
    assert_int_not_equal(access(in("nowhere"), F_OK), 0);
    expect_text(outside, "");
}

static void what_is_no_file_of_ours_alone_is_refused(void **state)
{
    (void)state;
    put(in("one"), "");
    assert_int_equal(link(in("one"), in("two")), 0);
    assert_int_equal(open_path("one"), -EPERM);
    assert_non_null(strstr(why, "more names"));

    assert_int_equal(mkfifo(in("pipe"), 0600), 0);
    assert_true(open_path("pipe") < 0);
    int reader = open(in("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(open_path("pipe") < 0); /* also when somebody waits for us */
    assert_non_null(strstr(why, "no regular file"));
    close(reader);

    mkdir(in("dir"), 0755);
    assert_true(open_path("dir") < 0);

    if (geteuid() == 0) {
        put(in("theirs"), "");
        assert_int_equal(chown(in("theirs"), 65534, 65534), 0);
        assert_int_equal(open_path("theirs"), -EPERM);
        assert_non_null(strstr(why, "another user"));
    }
}

static void without_the_directory_there_are_no_files(void **state)
{
    struct sink_spec spec = SPEC(FILE, "alerts");
    (void)state;
    rules.output_dir = NULL;
    assert_int_equal(place_open(&rules, &spec, &target, why), -EACCES);
    assert_non_null(strstr(why, "--output-dir"));
    assert_true(place_spool(&rules, why) < 0);
    assert_non_null(strstr(why, "--output-dir"));
}

static void rotation_keeps_so_many_and_no_more(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log");
    (void)state;
    spec.rotate = 4096;
    spec.keep = 2;
    for (int i = 0; i < 4; i++) {
        char text[2] = { (char)('a' + i), '\0' };
        put(in("log"), text);
        assert_int_equal(place_rotate(&rules, &spec, why), 0);
    }
    expect_text(in("log.1"), "d");
    expect_text(in("log.2"), "c");
    assert_int_not_equal(access(in("log"), F_OK), 0);
    assert_int_not_equal(access(in("log.3"), F_OK), 0);
}

static void a_moved_file_is_noticed(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log");
    (void)state;
    int fd = open_path("log");
    assert_true(place_is_there(&rules, &spec, fd));
    assert_int_equal(rename(in("log"), in("log.old")), 0);
    assert_false(place_is_there(&rules, &spec, fd));
    put(in("log"), "");
    assert_false(place_is_there(&rules, &spec, fd));
    close(fd);
}

static void a_spool_has_no_name(void **state)
{
    (void)state;
    int fd = place_spool(&rules, why);
    assert_true(fd >= 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

/* --- sockets ------------------------------------------------------------------------------- */

static int listen_at(const char *path, int type)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static int open_socket(enum sink_kind kind, const char *path)
{
    struct sink_spec spec = spec_of(kind, path, strlen(path));
    return place_open(&rules, &spec, &target, why);
}

static void a_socket_is_reached_as_what_it_is(void **state)
{
    (void)state;
    int stream = listen_at(in("stream"), SOCK_STREAM),
        datagram = listen_at(in("dgram"), SOCK_DGRAM);
    int fd = open_socket(SINK_UNIX, "stream");
    assert_true(fd >= 0);
    assert_int_equal(target, PLACE_STREAM);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    fd = open_socket(SINK_UNIX, "dgram");
    assert_true(fd >= 0);
    assert_int_equal(target, PLACE_DATAGRAM);
    close(fd);
    fd = open_socket(SINK_SYSLOG, "stream");
    assert_true(fd >= 0);
    assert_int_equal(target, PLACE_STREAM);
    close(fd);
    assert_int_equal(open_socket(SINK_JOURNALD, "stream"), -EAGAIN); /* it speaks datagrams only */
    close(stream);
    close(datagram);
}

static void who_does_not_listen_yet_may_come(void **state)
{
    (void)state;
    assert_int_equal(open_socket(SINK_UNIX, "later"), -EAGAIN);
    close(listen_at(in("later"), SOCK_STREAM));
    assert_int_equal(open_socket(SINK_UNIX, "later"), -EAGAIN); /* a name that nobody answers to */
}

static void sockets_elsewhere_are_named_by_the_operator(void **state)
{
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/sock", top);
    int fd = listen_at(path, SOCK_STREAM);
    assert_int_equal(open_socket(SINK_UNIX, path), -EACCES);
    assert_int_equal(open_socket(SINK_SYSLOG, path), -EACCES);
    assert_int_equal(open_socket(SINK_JOURNALD, path), -EACCES);
    assert_non_null(strstr(why, "--allow-unix"));
    assert_int_equal(symlink("../sock", in("link")), 0);
    assert_true(open_socket(SINK_UNIX, "link") < 0);
    put(in("file"), "");
    assert_int_equal(open_socket(SINK_UNIX, "file"), -EPERM);

    named[0] = path;
    rules.sockets = named;
    rules.sockets_len = 1;
    int ours = open_socket(SINK_UNIX, path);
    assert_true(ours >= 0);
    close(ours);
    close(fd);
}

/* --- standard output ------------------------------------------------------------------------ */

static void a_pipe_does_not_block_us_and_still_blocks_its_owner(void **state)
{
    struct sink_spec spec = SPEC(STDOUT, "");
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    rules.output = ends[1];
    int fd = place_open(&rules, &spec, &target, why);
    assert_true(fd >= 0);
    assert_int_equal(target, PLACE_PIPE);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
    close(fd);
    close(ends[0]);
    close(ends[1]);
}

/* --- what is kept --------------------------------------------------------------------------- */

static struct keeper *keeper;
static struct keeper_answer answer;
static int fds[KEEPER_FDS];

static void close_fds(int n)
{
    while (n > 0)
        close(fds[--n]);
}

static int keep_for(uint32_t script, uint32_t owner, uint64_t life, const struct sink_spec *spec)
{
    return keeper_open(keeper, (struct keeper_asker){ owner, life }, script, spec, spec_size(spec),
                       &answer, fds);
}

static int keep(uint32_t owner, uint64_t life, const struct sink_spec *spec)
{
    return keep_for(7, owner, life, spec);
}

static void push_to(int memory, const char *text)
{
    struct queue queue;
    assert_int_equal(queue_attach(&queue, memory, SPEC_QUEUE_MIN, SINK_DROP_OLDEST, -1, 0), 0);
    queue_push(&queue, text, strlen(text));
    queue_detach(&queue);
}

static uint64_t queued_in(int memory)
{
    struct queue queue;
    assert_int_equal(queue_attach(&queue, memory, SPEC_QUEUE_MIN, SINK_DROP_OLDEST, -1, 0), 0);
    uint64_t n = queue_count(&queue).queued;
    queue_detach(&queue);
    return n;
}

static void the_next_worker_goes_on_with_the_queue(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log");
    (void)state;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    uint32_t id = answer.id;
    assert_int_equal(answer.target, PLACE_FILE);
    push_to(fds[0], "one\n");
    close_fds(2); /* it dies */

    assert_int_equal(keep(1, 2, &spec), 2); /* another group: a queue of its own */
    assert_int_not_equal(answer.id, id);
    assert_int_equal(queued_in(fds[0]), 0);
    close_fds(2);
    assert_int_equal(keep(0, 3, &spec), 2);
    assert_int_equal(answer.id, id);
    assert_int_equal(queued_in(fds[0]), 1);
    close_fds(2);
    keeper_free(keeper); /* writes what nobody came to write */
    expect_text(in("log"), "one\n");
    assert_string_equal(said, "");
}

static void what_cannot_be_written_is_told_at_the_end(void **state)
{
    struct sink_spec spec = SPEC(UNIX, "nobody");
    (void)state;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 1);
    assert_int_equal(answer.error, EAGAIN);
    push_to(fds[0], "one\n");
    close_fds(1);
    keeper_free(keeper);
    assert_non_null(strstr(said, "sink unix nobody: 1 records were not written"));
}

static void what_nobody_asks_for_is_handed_to_the_next_life(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log"), got;
    (void)state;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    close_fds(keep(0, 1, &spec));
    assert_int_equal(keeper_adopt(keeper, (struct keeper_asker){ 0, 1 }, &got, &answer, fds), 0);
    assert_int_equal(keeper_adopt(keeper, (struct keeper_asker){ 1, 2 }, &got, &answer, fds), 0);
    assert_int_equal(answer.id, 0);
    assert_int_equal(keeper_adopt(keeper, (struct keeper_asker){ 0, 2 }, &got, &answer, fds), 2);
    assert_memory_equal(&got, &spec, spec_size(&spec));
    assert_int_equal(answer.spec_len, spec_size(&spec));
    assert_int_equal(answer.script, 7);
    close_fds(2);
    keeper_close(keeper, (struct keeper_asker){ 1, 2 }, answer.id); /* not theirs */
    close_fds(keeper_tend(keeper, (struct keeper_asker){ 0, 2 }, 1, KEEPER_CHECK, &answer, fds));
    assert_int_equal(answer.error, 0);
    keeper_close(keeper, (struct keeper_asker){ 0, 2 }, 1);
    keeper_tend(keeper, (struct keeper_asker){ 0, 2 }, 1, KEEPER_CHECK, &answer, fds);
    assert_int_equal(answer.error, ENOENT);
    keeper_free(keeper);
}

static void a_file_is_put_aside_when_it_is_large_and_not_before(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log");
    char large[4096];
    (void)state;
    memset(large, 'x', sizeof large);
    spec.rotate = 4096;
    spec.keep = 1;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    int file = fds[1];
    close(fds[0]);
    struct keeper_asker asker = { 0, 1 };
    uint32_t id = answer.id;
    assert_int_equal(keeper_tend(keeper, asker, id, KEEPER_ROTATE, &answer, fds), 0);
    assert_int_equal(write(file, large, sizeof large), sizeof large);
    assert_int_equal(keeper_tend(keeper, asker, id, KEEPER_CHECK, &answer, fds), 0);
    assert_int_equal(keeper_tend(keeper, asker, id, KEEPER_ROTATE, &answer, fds), 1);
    assert_int_equal(write(fds[0], "new", 3), 3);
    close_fds(1);
    close(file);
    expect_text(in("log"), "new");
    assert_int_equal(access(in("log.1"), F_OK), 0);

    assert_int_equal(rename(in("log"), in("moved")), 0); /* somebody else does it */
    assert_int_equal(keeper_tend(keeper, asker, id, KEEPER_CHECK, &answer, fds), 1);
    close_fds(1);
    expect_text(in("log"), "");
    keeper_free(keeper);
}

/* Whoever has the memory goes on writing there: lengths that hold one moment and not the next. */
static pid_t scribble(int memory, size_t record)
{
    size_t bytes = SPEC_QUEUE_MIN;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 4096);
    assert_true(at != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (pid == 0) /* one after another, each long for a moment */
        for (size_t i = 0, step = 4 + record; i + step < 1500 * step; i += step) {
            *(volatile uint8_t *)(at + i + 3) = 0x7f;
            for (volatile int pause = 0; pause < 50; pause++)
                ;
            *(volatile uint8_t *)(at + i + 3) = 0;
        }
    munmap(at, bytes);
    return pid;
}

static void what_is_written_to_meanwhile_is_written_as_it_was_checked(void **state)
{
    struct sink_spec spec = SPEC(FILE, "log");
    const char *record = "0123456789\n";
    struct stat about;
    (void)state;
    for (int round = 0; round < 50; round++) {
        assert_int_equal(keeper_new(&keeper, &rules), 0);
        assert_int_equal(keep(0, 1, &spec), 2);
        for (int i = 0; i < 2000; i++)
            push_to(fds[0], record);
        alarm(20); /* one that is misled may walk on for ever */
        pid_t pid = scribble(fds[0], strlen(record));
        close_fds(2);
        keeper_free(keeper);
        alarm(0);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(stat(in("log"), &about), 0);
        if (about.st_size != 0) /* else the copy was damaged, which is seen */
            assert_int_equal(about.st_size, 2000 * strlen(record));
        unlink(in("log"));
        *said = '\0';
    }
}

static void a_spool_is_cut_by_who_keeps_it(void **state)
{
    struct sink_spec spec = SPEC(UNIX, "nobody");
    struct keeper_asker asker = { 0, 1 };
    struct queue queue;
    static char record[40000];
    struct stat about;
    (void)state;
    spec.full = SINK_SPOOL;
    spec.spool = SPEC_QUEUE_MIN * 4;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    assert_int_equal(
        queue_attach(&queue, fds[0], spec.queue, SINK_SPOOL, fds[1], spec.spool), 0);
    assert_false(queue_holds_disk(&queue));
    for (int i = 0; i < 3; i++)
        queue_push(&queue, record, sizeof record);
    assert_int_equal(queue_count(&queue).spooled, 2);
    assert_false(queue_holds_disk(&queue));
    while (!queue_is_empty(&queue))
        queue_drop_first(&queue);
    assert_true(queue_holds_disk(&queue));
    assert_int_equal(
        keeper_tend(keeper, asker, answer.id, KEEPER_EMPTY, &answer, (int[KEEPER_FDS]){ 0 }), 0);
    assert_int_equal(answer.error, 0);
    assert_int_equal(fstat(fds[1], &about), 0);
    assert_int_equal(about.st_size, 0);
    assert_false(queue_holds_disk(&queue));
    queue_detach(&queue);
    close_fds(2);
    keeper_free(keeper);
}

static void a_file_belongs_to_one_script(void **state)
{
    struct sink_spec log = SPEC(FILE, "log"), aside = SPEC(FILE, "log.2"), far = SPEC(FILE, "log.3");
    struct sink_spec rotated = log, out = SPEC(STDOUT, "");
    (void)state;
    rotated.rotate = 4096;
    rotated.keep = 2;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    close_fds(keep_for(1, 0, 1, &log));
    for (uint32_t owner = 0; owner < 2; owner++) { /* whatever worker it is in */
        assert_int_equal(keep_for(2, owner, 1, &log), 0);
        assert_int_equal(answer.error, EBUSY);
        assert_string_equal(answer.why,
                            "another script has file log open: each needs a file of its own");
        assert_int_equal(keep_for(2, owner, 1, &rotated), 0);
    }
    close_fds(keep_for(2, 0, 1, &aside));
    assert_int_not_equal(answer.id, 0);
    assert_int_equal(keep_for(1, 0, 1, &rotated), 0); /* would put it there */
    assert_int_equal(answer.error, EBUSY);
    keeper_close(keeper, (struct keeper_asker){ 0, 1 }, 2);

    close_fds(keep_for(1, 0, 1, &rotated)); /* its next version */
    assert_int_not_equal(answer.id, 0);
    assert_int_equal(keep_for(2, 0, 1, &aside), 0);
    assert_string_equal(answer.why, "another script has file log open, with those that it puts "
                                    "aside: each needs a file of its own");
    close_fds(keep_for(2, 0, 1, &far));
    assert_int_not_equal(answer.id, 0);

    close_fds(keep_for(1, 0, 1, &out)); /* which may be shared */
    uint32_t id = answer.id;
    close_fds(keep_for(2, 0, 1, &out));
    assert_int_equal(answer.id, id);
    keeper_free(keeper);
}

static int keep_many(uint32_t script, uint64_t queue)
{
    char name[32];
    for (int n = 0; n < 1000; n++) {
        snprintf(name, sizeof name, "log%u-%d", script, n);
        struct sink_spec spec = spec_of(SINK_FILE, name, strlen(name));
        spec.queue = queue;
        int got = keep_for(script, 0, 1, &spec);
        close_fds(got);
        if (!got)
            return n;
    }
    return 1000;
}

static void there_is_a_bound_on_what_is_kept(void **state)
{
    (void)state;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep_many(1, SPEC_QUEUE_MIN), 2 * KEEPER_A_SCRIPT); /* of two versions */
    assert_int_equal(answer.error, EMFILE);
    assert_string_equal(answer.why, "the script has too many outputs open");
    assert_int_equal(keep_many(2, SPEC_QUEUE_MAX / 4), 8);
    assert_string_equal(answer.why, "the script's queues take too much memory");
    assert_int_equal(keep_many(3, SPEC_QUEUE_MIN), 64 - 40);
    assert_string_equal(answer.why, "too many outputs are open");
    assert_int_equal(answer.error, EMFILE);
    keeper_free(keeper);
}

/* --- children ------------------------------------------------------------------------------- */

static struct sink_spec shell(const char *command)
{
    struct sink_spec spec = SPEC(EXEC, "sh\0-c\0");
    strcpy(spec.text + spec.text_len, command);
    spec.text_len += (uint32_t)strlen(command) + 1;
    return spec;
}

static void a_child_is_started_only_if_the_operator_allows(void **state)
{
    struct sink_spec spec = shell("true");
    (void)state;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 0);
    assert_int_equal(answer.error, EACCES);
    assert_non_null(strstr(answer.why, "--allow-exec"));
    keeper_free(keeper);
}

static void a_program_that_is_not_there_is_told(void **state)
{
    struct sink_spec spec = SPEC(EXEC, "no-such-program\0");
    (void)state;
    rules.allow_exec = true;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 0);
    assert_int_equal(answer.error, ENOENT);
    assert_string_equal(answer.why, "cannot run no-such-program: No such file or directory");
    keeper_free(keeper);
}

static void the_user_is_looked_up_once(void **state)
{
    struct sink_spec spec = shell("true");
    (void)state;
    if (geteuid())
        skip();
    rules.allow_exec = true;
    rules.user = "no-such-user";
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    rules.user = "nobody"; /* too late */
    assert_int_equal(keep(0, 1, &spec), 0);
    assert_int_equal(answer.error, ENOENT);
    assert_string_equal(answer.why, "cannot run sh as user 'nobody': there is none");
    keeper_free(keeper);
}

static void a_child_has_nothing_of_ours(void **state)
{
    char path[128], command[512], text[512] = "";
    (void)state;
    snprintf(path, sizeof path, "%s/said", top);
    put(path, "");
    assert_int_equal(chmod(path, 0666), 0);
    chmod(top, 0755);
    snprintf(command, sizeof command,
             "exec >%s; id -u; ls /proc/$$/fd | tr '\\n' ' '; grep -E '^(Sig(Blk|Ign)|CapPrm|"
             "NoNewPrivs)' /proc/$$/status | tr -d '\\t\\n'; cat",
             path);
    struct sink_spec spec = shell(command);
    unsigned long ignored[8] = { 1 }, before[8]; /* the kernel's struct sigaction: SIG_IGN */
    signal(SIGUSR2, SIG_IGN);
    assert_int_equal(syscall(SYS_rt_sigaction, 33, ignored, before, NSIG / 8), 0);
    rules.allow_exec = true;
    rules.user = "nobody";
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    assert_int_equal(answer.target, PLACE_PIPE);
    assert_int_equal(write(fds[1], " done", 5), 5);
    close_fds(2);
    keeper_free(keeper); /* waits until it has read all */
    signal(SIGUSR2, SIG_DFL);
    syscall(SYS_rt_sigaction, 33, before, NULL, NSIG / 8);

    snprintf(text, sizeof text,
             "%d\n0 1 2 SigBlk:0000000000000000SigIgn:0000000000000000CapPrm:0000000000000000"
             "NoNewPrivs:1 done",
             geteuid() ? (int)geteuid() : 65534);
    expect_text(path, text);
}

static void what_a_child_left_unread_is_for_the_next_one(void **state)
{
    char path[128], command[256];
    (void)state;
    snprintf(path, sizeof path, "%s/said", top);
    put(path, "");
    assert_int_equal(chmod(path, 0666), 0);
    chmod(top, 0755);
    snprintf(command, sizeof command, "read line; echo $line >>%s; exit 3", path);
    struct sink_spec spec = shell(command);
    struct keeper_asker asker = { 0, 1 };
    rules.allow_exec = true;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    uint32_t id = answer.id;
    assert_int_equal(write(fds[1], "one\ntwo\nthree\n", 14), 14);
    struct stat about = { 0 };
    for (int i = 0; i < 10000 && about.st_size < 14; i++) {
        keeper_tend(keeper, asker, id, KEEPER_CHECK, &answer, (int[KEEPER_FDS]){ 0 });
        usleep(1000);
        stat(path, &about);
    }
    expect_text(path, "one\ntwo\nthree\n");
    assert_non_null(strstr(said, "it ended with status 3; started again in 0.25 s"));
    assert_non_null(strstr(said, "started again in 0.5 s"));
    close_fds(2);
    keeper_free(keeper);
}

static void a_child_that_does_not_end_is_killed(void **state)
{
    struct sink_spec spec = shell("exec sleep 1000");
    (void)state;
    rules.allow_exec = true;
    assert_int_equal(keeper_new(&keeper, &rules), 0);
    assert_int_equal(keep(0, 1, &spec), 2);
    assert_int_equal(write(fds[1], "unread", 6), 6);
    close_fds(2);
    keeper_close(keeper, (struct keeper_asker){ 0, 1 }, answer.id); /* waits for nobody */
    assert_null(strstr(said, "killed"));
    keeper_free(keeper);
    assert_non_null(strstr(said, "it did not end with its input: killed"));
    assert_non_null(strstr(said, "6 bytes were not read"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_below_the_directory_is_appended_to),
        TEST(no_way_leads_out_of_the_directory),
        TEST(what_is_no_file_of_ours_alone_is_refused),
        TEST(without_the_directory_there_are_no_files),
        TEST(rotation_keeps_so_many_and_no_more),
        TEST(a_moved_file_is_noticed),
        TEST(a_spool_has_no_name),
        TEST(a_socket_is_reached_as_what_it_is),
        TEST(who_does_not_listen_yet_may_come),
        TEST(sockets_elsewhere_are_named_by_the_operator),
        TEST(a_pipe_does_not_block_us_and_still_blocks_its_owner),
        TEST(the_next_worker_goes_on_with_the_queue),
        TEST(what_cannot_be_written_is_told_at_the_end),
        TEST(what_nobody_asks_for_is_handed_to_the_next_life),
        TEST(a_file_is_put_aside_when_it_is_large_and_not_before),
        TEST(what_is_written_to_meanwhile_is_written_as_it_was_checked),
        TEST(a_spool_is_cut_by_who_keeps_it),
        TEST(a_file_belongs_to_one_script),
        TEST(there_is_a_bound_on_what_is_kept),
        TEST(a_child_is_started_only_if_the_operator_allows),
        TEST(a_program_that_is_not_there_is_told),
        TEST(the_user_is_looked_up_once),
        TEST(a_child_has_nothing_of_ours),
        TEST(what_a_child_left_unread_is_for_the_next_one),
        TEST(a_child_that_does_not_end_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
