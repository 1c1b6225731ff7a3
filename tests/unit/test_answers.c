/* test_answers.c - questions about one process: to a made-up /proc, and to the real one. */
#include "collect/answers.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <sha256.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* --- a made-up /proc -------------------------------------------------------------------- */

static char tree[64];
static struct procfs fs;
static struct buf out;

static const char *in_tree(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", tree, name);
    return path;
}

static void make_dir(const char *name)
{
    assert_true(!mkdir(in_tree(name), 0755) || errno == EEXIST);
}

static void put_bytes(const char *name, const void *bytes, size_t len)
{
    FILE *f = fopen(in_tree(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static void put_link(const char *name, const char *target)
{
    assert_int_equal(symlink(target, in_tree(name)), 0);
}

#define STAT_STARTED(state, starttime)                                                             \
    "7 (worker) " state " 3 6 5 34819 -1 0 11 12 13 14 150 16 17 18 20 -5 2 0 " starttime          \
    " 8462336 10 18446744073709551615 1 2 3 0 0 0 0 528386 134433281 0 0 0 17 3 50 2 0 0 0 1 2 3 " \
    "4 5 6 7 0\n"
#define STAT_7(state) STAT_STARTED(state, "5000")

static int set_up(void **state)
{
    (void)state;
    strcpy(tree, "/tmp/answers-XXXXXX");
    assert_non_null(mkdtemp(tree));
    assert_int_equal(chmod(tree, 0755), 0);
    assert_int_equal(procfs_open(&fs, tree), 0);
    make_dir("7");
    put("7/stat", STAT_7("S"));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    procfs_close(&fs);
    buf_free(&out);
    nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static int set_up_real(void **state)
{
    set_up(state);
    procfs_close(&fs);
    return procfs_open(&fs, "/proc");
}

/* --- reading answers -------------------------------------------------------------------- */

static enum topic asked;

static int ask(enum topic topic, int pid)
{
    asked = topic;
    buf_clear(&out);
    return answers_read(&fs, pid, -1, topic, &out);
}

/* Every cell of the answer, checked to be whole rows. */
static int count_rows(void)
{
    const char *at = out.data, *end = at + out.len;
    int cells = 0, width = topics[asked].columns_len;
    struct answer_cell cell;
    while (answer_next(&at, end, topics[asked].columns[cells % width].type, &cell))
        cells++;
    assert_ptr_equal(at, end);
    assert_int_equal(cells % width, 0);
    return cells / width;
}

static struct answer_cell cell_at(int row, const char *column)
{
    const struct topic_info *info = &topics[asked];
    const char *at = out.data;
    struct answer_cell cell = { .nil = true };
    for (int i = 0; i <= row; i++) {
        for (int c = 0; c < info->columns_len; c++) {
            assert_true(answer_next(&at, out.data + out.len, info->columns[c].type, &cell));
            if (i == row && !strcmp(info->columns[c].name, column))
                return cell;
        }
    }
    fail_msg("no column %s", column);
    return cell;
}

static int64_t num_at(int row, const char *column)
{
    struct answer_cell cell = cell_at(row, column);
    if (cell.nil)
        fail_msg("%s is nil", column);
    return cell.num;
}

/* NULL for nil. */
static const char *str_at(int row, const char *column)
{
    static char text[4][8192];
    static int turn;
    char *to = text[turn++ % 4];
    struct answer_cell cell = cell_at(row, column);
    if (cell.nil)
        return NULL;
    snprintf(to, sizeof text[0], "%.*s", (int)cell.len, cell.bytes);
    return to;
}

static void assert_str(int row, const char *column, const char *want)
{
    const char *got = str_at(row, column);
    if (!want != !got || (want && strcmp(want, got) != 0))
        fail_msg("%s of row %d is \"%s\", not \"%s\"", column, row, got ? got : "nil",
                 want ? want : "nil");
}

static void assert_nil(int row, const char *column)
{
    assert_true(cell_at(row, column).nil);
}

/* The row in which the column has this number, or -1. */
static int row_with(const char *column, int64_t want)
{
    int rows = count_rows();
    for (int row = 0; row < rows; row++) {
        struct answer_cell cell = cell_at(row, column);
        if (!cell.nil && cell.num == want)
            return row;
    }
    return -1;
}

static int row_with_str(const char *column, const char *want)
{
    int rows = count_rows();
    for (int row = 0; row < rows; row++) {
        const char *got = str_at(row, column);
        if (got && !strcmp(got, want))
            return row;
    }
    return -1;
}

/* --- the table and the cells ------------------------------------------------------------ */

static void topics_are_found_by_name(void **state)
{
    (void)state;
    for (int t = 0; t < TOPICS; t++) {
        assert_int_equal(topic_named(topics[t].name), t);
        assert_true(topics[t].columns_len > 0);
    }
    assert_int_equal(topic_named("nonsense"), TOPICS);
    assert_int_equal(topic_named(""), TOPICS);
}

static void each_topic_has_its_own_columns(void **state)
{
    (void)state;
    assert_string_equal(topics[TOPIC_STAT].columns[0].name, "state");
    assert_int_equal(topics[TOPIC_STAT].columns_len, 16);
    assert_false(topics[TOPIC_STAT].rows);
    assert_string_equal(topics[TOPIC_FDS].columns[0].name, "fd");
    assert_true(topics[TOPIC_FDS].rows);
    assert_string_equal(topics[TOPIC_HASH].columns[1].name, "size");
    assert_int_equal(topics[TOPIC_HASH].columns_len, 2);
}

static void a_cell_that_is_not_whole_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        char bytes[12];
        size_t len;
        enum event_type type;
    } cases[] = {
        { "nothing", "", 0, TYPE_TEXT },
        { "half a length", "\1\0", 2, TYPE_TEXT },
        { "text beyond the end", "\5\0\0\0abcd", 8, TYPE_TEXT },
        { "a huge text", "\xfe\xff\xff\xff", 4, TYPE_TEXT },
        { "a number cut off", "\10\0\0\0\1\2\3\4\5\6\7", 11, TYPE_INT },
        { "a number of four bytes", "\4\0\0\0\1\2\3\4", 8, TYPE_BOOL },
        { "a number of no bytes", "\0\0\0\0", 4, TYPE_SPAN },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *at = cases[i].bytes;
        struct answer_cell cell;
        if (answer_next(&at, at + cases[i].len, cases[i].type, &cell))
            fail_msg("accepted: %s", cases[i].why);
        assert_ptr_equal(at, cases[i].bytes);
    }
}

static void cells_are_read_back(void **state)
{
    (void)state;
    const char bytes[] = "\3\0\0\0abc\xff\xff\xff\xff\10\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0";
    const char *at = bytes, *end = bytes + sizeof bytes - 1;
    struct answer_cell cell;
    assert_true(answer_next(&at, end, TYPE_TEXT, &cell));
    assert_int_equal(cell.len, 3);
    assert_memory_equal(cell.bytes, "abc", 3);
    assert_true(answer_next(&at, end, TYPE_INT, &cell));
    assert_true(cell.nil);
    assert_true(answer_next(&at, end, TYPE_INT, &cell));
    assert_int_equal(cell.num, 1);
    assert_true(answer_next(&at, end, TYPE_TEXT, &cell));
    assert_false(cell.nil);
    assert_int_equal(cell.len, 0);
    assert_false(answer_next(&at, end, TYPE_TEXT, &cell));
}

/* --- made-up ---------------------------------------------------------------------------- */

static void failure_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    buf_puts(&out, "before");
    assert_int_equal(answers_read(&fs, 8, -1, TOPIC_STAT, &out), -ESRCH);
    assert_int_equal(answers_read(&fs, 7, 5002, TOPIC_STAT, &out), -ESRCH);
    assert_int_equal(answers_read(&fs, 7, 5000, TOPIC_MAPS, &out), -ENOENT);
    assert_int_equal(answers_read(&fs, 7, 5000, TOPIC_HASH, &out), -ENOENT);
    assert_int_equal(answers_read(&fs, 7, 5000, TOPICS, &out), -EINVAL);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "before", 6);
    assert_int_equal(answers_read(&fs, 7, 5001, TOPIC_STAT, &out), 0);
    assert_true(out.len > 6);
}

/* stat says one thing before the answer and another after it: a pipe that holds both, the first one
 * as long as the reader's buffer. */
static int ask_between(const char *before, const char *after)
{
    char text[4096];
    memset(text, ' ', sizeof text);
    memcpy(text, before, strlen(before));
    unlink(in_tree("7/stat"));
    assert_int_equal(mkfifo(in_tree("7/stat"), 0644), 0);
    int reader = open(in_tree("7/stat"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int writer = open(in_tree("7/stat"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(writer, text, sizeof text), sizeof text);
    assert_int_equal(write(writer, after, strlen(after)), strlen(after));
    close(writer);
    buf_clear(&out);
    int err = answers_read(&fs, 7, 5000, TOPIC_IO, &out);
    close(reader);
    return err;
}

static void an_answer_that_outlives_its_process_is_thrown_away(void **state)
{
    (void)state;
    put("7/io", "rchar: 1\n");
    assert_int_equal(ask_between(STAT_7("S"), STAT_7("R")), 0);
    assert_true(out.len > 0);
    assert_int_equal(ask_between(STAT_7("Z"), STAT_7("Z")), 0);
    assert_int_equal(ask_between(STAT_7("S"), STAT_7("Z")), -ESRCH);
    assert_int_equal(out.len, 0);
    assert_int_equal(ask_between(STAT_7("S"), STAT_STARTED("S", "5002")), -ESRCH);
    assert_int_equal(ask_between(STAT_STARTED("S", "4998"), STAT_7("S")), -ESRCH);
}

static void malformed_stat_has_no_answer(void **state)
{
    (void)state;
    put("7/stat", "7 (worker) S 3");
    assert_int_equal(ask(TOPIC_IO, 7), -EBADMSG);
    assert_int_equal(out.len, 0);
}

static void stat_has_all_in_units_that_people_use(void **state)
{
    (void)state;
    assert_int_equal(ask(TOPIC_STAT, 7), 0);
    assert_int_equal(count_rows(), 1);
    assert_str(0, "state", "S");
    assert_int_equal(num_at(0, "ppid"), 3);
    assert_int_equal(num_at(0, "pgrp"), 6);
    assert_int_equal(num_at(0, "sid"), 5);
    assert_str(0, "tty", "pts/3");
    assert_int_equal(num_at(0, "utime"), 3 * NS_PER_SECOND / 2);
    assert_int_equal(num_at(0, "stime"), 16 * NS_PER_TICK);
    assert_int_equal(num_at(0, "minflt"), 11);
    assert_int_equal(num_at(0, "majflt"), 13);
    assert_int_equal(num_at(0, "nice"), -5);
    assert_int_equal(num_at(0, "threads"), 2);
    assert_int_equal(num_at(0, "processor"), 3);
    assert_int_equal(num_at(0, "policy"), 2);
    assert_int_equal(num_at(0, "rss"), 10 * sysconf(_SC_PAGESIZE));
}

static void status_knows_octal_lists_and_what_is_missing(void **state)
{
    (void)state;
    put("7/status", "Name:\tUid:\t9\nUmask:\t0027\nTracerPid:\t0\nUid:\t1\t2\t3\t4\n"
                    "Gid:\t5\t6\t7\n"
                    "Groups:\t4 24 1000 \nNSpid:\t7\t3\t1\nCapEff:\t000001ffffffffff\n"
                    "Seccomp:\t2\nSeccomp_filters:\t5\nvoluntary_ctxt_switches:\t99");
    assert_int_equal(ask(TOPIC_STATUS, 7), 0);
    assert_int_equal(count_rows(), 1);
    assert_int_equal(num_at(0, "umask"), 027);
    assert_int_equal(num_at(0, "tracer"), 0);
    assert_int_equal(num_at(0, "uid"), 1);
    assert_int_equal(num_at(0, "euid"), 2);
    assert_int_equal(num_at(0, "suid"), 3);
    assert_int_equal(num_at(0, "fsuid"), 4);
    assert_int_equal(num_at(0, "sgid"), 7);
    assert_nil(0, "fsgid");
    assert_str(0, "groups", "4 24 1000");
    assert_str(0, "nspid", "7 3 1");
    assert_str(0, "cap_eff", "000001ffffffffff");
    assert_str(0, "cap_amb", NULL);
    assert_nil(0, "no_new_privs");
    assert_int_equal(num_at(0, "seccomp"), 2);
    assert_int_equal(num_at(0, "voluntary_ctxt_switches"), 99);
    assert_nil(0, "nonvoluntary_ctxt_switches");
}

static void no_groups_are_an_empty_text(void **state)
{
    (void)state;
    put("7/status", "Groups:\t \n");
    assert_int_equal(ask(TOPIC_STATUS, 7), 0);
    assert_str(0, "groups", "");
}

static void memory_is_in_bytes_and_nil_for_kernel_threads(void **state)
{
    (void)state;
    put("7/status", "VmPeak:\t    3060 kB\nVmSwap:\t9223372036854775807 kB\nVmRSS:\tlots kB\n");
    put("7/oom_score", "667\n");
    assert_int_equal(ask(TOPIC_MEMORY, 7), 0);
    assert_int_equal(num_at(0, "vm_peak"), 3060 * 1024);
    assert_nil(0, "vm_swap");
    assert_nil(0, "vm_rss");
    assert_nil(0, "vm_size");
    assert_int_equal(num_at(0, "oom_score"), 667);
    assert_int_equal(unlink(in_tree("7/oom_score")), 0);
    assert_int_equal(ask(TOPIC_MEMORY, 7), 0);
    assert_nil(0, "oom_score");
}

static void io_has_every_counter(void **state)
{
    (void)state;
    put("7/io", "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n"
                "cancelled_write_bytes: 7\n");
    static const char *const names[] = {
        "rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"
    };
    assert_int_equal(ask(TOPIC_IO, 7), 0);
    for (size_t i = 0; i < LENGTH(names); i++)
        assert_int_equal(num_at(0, names[i]), (int64_t)i + 1);
}

static void put_fd(const char *fd, const char *target, const char *info)
{
    char name[64];
    make_dir("7/fd");
    make_dir("7/fdinfo");
    snprintf(name, sizeof name, "7/fd/%s", fd);
    put_link(name, target);
    snprintf(name, sizeof name, "7/fdinfo/%s", fd);
    if (info)
        put(name, info);
}

static void descriptors_lead_somewhere(void **state)
{
    (void)state;
    put_fd("0", "/dev/null", "pos:\t12\nflags:\t0100002\nmnt_id:\t24\n");
    put_fd("3", "socket:[1478]", "pos:\t0\nflags:\t02\n");
    put_fd("4", "pipe:[99]", NULL);
    put_fd("5", "anon_inode:[eventfd]", "pos:\n");
    put_fd("6", "/tmp/socket:[5]", "");
    assert_int_equal(ask(TOPIC_FDS, 7), 0);
    assert_int_equal(count_rows(), 5);

    int row = row_with("fd", 0);
    assert_str(row, "path", "/dev/null");
    assert_nil(row, "inode");
    assert_int_equal(num_at(row, "pos"), 12);
    assert_int_equal(num_at(row, "flags"), 0100002);
    assert_int_equal(num_at(row_with("fd", 3), "inode"), 1478);
    assert_int_equal(num_at(row_with("fd", 4), "inode"), 99);
    assert_nil(row_with("fd", 4), "flags");
    assert_nil(row_with("fd", 5), "inode");
    assert_nil(row_with("fd", 5), "pos");
    assert_nil(row_with("fd", 6), "inode");
}

static void put_tables(void)
{
    make_dir("7/net");
    put("7/net/tcp",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  "
        "timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 "
        "101 1 00 100 0 0 10 0\n"
        "   1: 0A02000A:8AE2 08080808:01BB 01 00000000:00000000 02:00000000 00000000  1000  0 "
        "102 1 00 100 0 0 10 0\n"
        "   2: 0A02000A:8AE3 08080808:01BB 06 00000000:00000000 03:00000000 00000000     0  0 "
        "0 3 00\n");
    put("7/net/tcp6",
        "   0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:9C40 08 "
        "00000000:00000000 00:00000000 00000000     0        0 103 1 00\n"
        "   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000     0        0 104 1 00\n"
        "   2: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:0400 01 "
        "00000000:00000000 00:00000000 00000000     0        0 105 1 00\n");
    put("7/net/udp", "  33: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 "
                     "0 0 106 2 00 0\n");
    put("7/net/raw", "   1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000 "
                     "0 0 107 2 00 0\n");
    put("7/net/netlink", "sk  Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n"
                         "00 15 7 00000002 0 0 0 2 0 108     \n");
    put("7/net/packet", "sk RefCnt Type Proto Iface R Rmem User Inode\n"
                        "00 3 3 0003 2 1 0 0 109   \n");
    put("7/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"
                      "00000000b12bcf34: 00000002 00000000 00010000 0001 01   110 /run/a b.sock\n"
                      "00000000b12bcf35: 00000003 00000000 00000000 0005 03   111\n"
                      "00000000b12bcf36: 00000003 00000000 00000000 0002 01   112 @abstract@\n");
}

static void sockets_are_joined_with_every_table(void **state)
{
    (void)state;
    static const struct {
        const char *inode, *family, *type, *state, *local;
        int port;
        const char *remote;
        int remote_port;
        const char *path;
    } cases[] = {
        { "101", "inet", "tcp", "listen", "127.0.0.1", 8080, NULL, -1, NULL },
        { "102", "inet", "tcp", "established", "10.0.2.10", 35554, "8.8.8.8", 443, NULL },
        { "103", "inet6", "tcp", "close_wait", "::ffff:127.0.0.1", 80, "::ffff:127.0.0.1", 40000,
          NULL },
        { "104", "inet6", "tcp", "listen", "::", 22, NULL, -1, NULL },
        { "105", "inet6", "tcp", "established", "2001:db8::1", 22, "2001:db8::2", 1024, NULL },
        { "106", "inet", "udp", NULL, "127.0.0.53", 53, NULL, -1, NULL },
        { "107", "inet", "raw", NULL, "0.0.0.0", -1, NULL, -1, NULL },
        { "108", "netlink", NULL, NULL, NULL, -1, NULL, -1, NULL },
        { "109", "packet", NULL, NULL, NULL, -1, NULL, -1, NULL },
        { "110", "unix", "stream", "listen", NULL, -1, NULL, -1, "/run/a b.sock" },
        { "111", "unix", "seqpacket", "established", NULL, -1, NULL, -1, NULL },
        { "112", "unix", "dgram", NULL, NULL, -1, NULL, -1, "@abstract@" },
        { "999", NULL, NULL, NULL, NULL, -1, NULL, -1, NULL },
    };
    put_tables();
    put_fd("1", "/dev/null", NULL);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char fd[16], target[32];
        snprintf(fd, sizeof fd, "%zu", i + 10);
        snprintf(target, sizeof target, "socket:[%s]", cases[i].inode);
        put_fd(fd, target, NULL);
    }
    put_fd("50", "socket:[101]", NULL); /* a second descriptor of one socket */

    assert_int_equal(ask(TOPIC_SOCKETS, 7), 0);
    assert_int_equal(count_rows(), LENGTH(cases) + 1);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        int row = row_with("fd", (int64_t)i + 10);
        assert_int_equal(num_at(row, "inode"), atoi(cases[i].inode));
        assert_str(row, "family", cases[i].family);
        assert_str(row, "type", cases[i].type);
        assert_str(row, "state", cases[i].state);
        assert_str(row, "local_ip", cases[i].local);
        assert_str(row, "remote_ip", cases[i].remote);
        assert_str(row, "path", cases[i].path);
        struct answer_cell port = cell_at(row, "local_port");
        assert_int_equal(port.nil ? -1 : port.num, cases[i].port);
        port = cell_at(row, "remote_port");
        assert_int_equal(port.nil ? -1 : port.num, cases[i].remote_port);
    }
    assert_int_equal(num_at(row_with("fd", 50), "local_port"), 8080);
}

static void a_unix_name_cannot_lie_about_another_socket(void **state)
{
    (void)state;
    make_dir("7/net");
    put_fd("3", "socket:[101]", NULL);
    put_fd("4", "socket:[110]", NULL);
    put_fd("5", "socket:[111]", NULL);
    put_fd("6", "socket:[112]", NULL);
    put("7/net/tcp", "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 "
                     " 1000  0 101 1 00\n");
    put("7/net/unix", "00: 00000002 00000000 00010000 0001 01 109 /tmp/\n"
                      "00: 00000002 00000000 00010000 0001 01 101 /run/fake\n"
                      "00: 00000002 00000000 00010000 0001 01 110 /run/fake\n"
                      "00: 00000002 00000000 00010000 0001 01 110 /run/real\n"
                      "00: 00000002 00000000 00010000 0001 01 111 /run/moved\n"
                      "00: 00000002 00000000 00010000 0001 01 111 /run/moved\n"
                      "00: 00000002 00000000 00010000 0001 01 112\n"
                      "00: 00000002 00000000 00010000 0002 01 112\n");
    assert_int_equal(ask(TOPIC_SOCKETS, 7), 0);
    assert_str(row_with("fd", 3), "family", "inet");
    assert_int_equal(num_at(row_with("fd", 3), "local_port"), 8080);
    assert_str(row_with("fd", 6), "type", NULL);
    assert_str(row_with("fd", 4), "family", "unix");
    assert_str(row_with("fd", 4), "path", NULL); /* two say different things: neither is told */
    assert_str(row_with("fd", 5), "path", "/run/moved");
}

static void socket_nonsense_is_passed_over(void **state)
{
    (void)state;
    make_dir("7/net");
    put_fd("3", "socket:[101]", NULL);
    put_fd("4", "socket:[]", NULL);
    put_fd("5", "socket:[12x]", NULL);
    put_fd("6", "socket:[", NULL);
    put_fd("x", "socket:[101]", NULL);
    put("7/net/tcp", "\n:::\n   0: 0100007F:1F90 0000\n 0: 0100007F:1F90F0 00000000:0000 0A a b c "
                     "d e 101\n 0: 0100007F:1F90 00000000:0000 0A a b c d e\n");
    put("7/net/unix", "00: 1 2 zz 0001 01 101 /x\n00: 1 2 0 1 1");
    assert_int_equal(ask(TOPIC_SOCKETS, 7), 0);
    assert_int_equal(count_rows(), 1);
    assert_str(0, "family", NULL);
}

static void a_table_of_any_size_is_read(void **state)
{
    (void)state;
    make_dir("7/net");
    put_fd("3", "socket:[250000]", NULL);
    FILE *f = fopen(in_tree("7/net/tcp"), "w");
    for (int i = 1; i <= 250000; i++)
        fprintf(f,
                "%4d: 0100007F:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 "
                "%d 1 00\n",
                i, i & 0xffff, i);
    fclose(f);
    assert_int_equal(ask(TOPIC_SOCKETS, 7), 0);
    assert_int_equal(num_at(0, "local_port"), 250000 & 0xffff);
}

static void threads_that_end_meanwhile_are_left_out(void **state)
{
    (void)state;
    make_dir("7/task");
    make_dir("7/task/7");
    make_dir("7/task/8"); /* its stat is gone */
    put("7/task/7/stat", STAT_7("R"));
    assert_int_equal(ask(TOPIC_THREADS, 7), 0);
    assert_int_equal(count_rows(), 1);
    assert_int_equal(num_at(0, "tid"), 7);
    assert_str(0, "comm", "worker");
    assert_str(0, "state", "R");
    assert_int_equal(num_at(0, "utime"), 150 * NS_PER_TICK);
}

static void namespaces_have_numbers(void **state)
{
    (void)state;
    make_dir("7/ns");
    put_link("7/ns/mnt", "mnt:[4026531841]");
    put_link("7/ns/pid_for_children", "pid:[4026531836]");
    put_link("7/ns/odd", "nonsense");
    assert_int_equal(ask(TOPIC_NS, 7), 0);
    assert_int_equal(count_rows(), 3);
    assert_int_equal(num_at(row_with_str("name", "mnt"), "inode"), 4026531841);
    assert_int_equal(num_at(row_with_str("name", "pid_for_children"), "inode"), 4026531836);
    assert_nil(row_with_str("name", "odd"), "inode");
}

#define MAPS                                                                                       \
    "55d9006c7000-55d9006c9000 r--p 00000000 fe:00 2474                     /usr/bin/head\n"       \
    "55d9006c9000-55d9006cf000 r-xp 00002000 fe:00 2474                     /usr/bin/head\n"       \
    "55d901000000-55d901100000 rw-p 00000000 00:00 0                        [heap]\n"              \
    "7f0000000000-7f0000001000 r-xp 00000000 fe:00 2500     /lib/odd\\012na\\040me.so (deleted)\n" \
    "7f0000001000-7f0000002000 r-xp 00001000 fe:00 2500     /lib/odd\\012na\\040me.so (deleted)\n" \
    "7f0000002000-7f0000003000 r-xp 00000000 fe:01 2474                     /usr/bin/head\n"       \
    "7f0000003000-7f0000004000 ---p 00000000 00:00 0 \n"                                           \
    "7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0                        [vdso]\n"              \
    "7f0000005000-7f0000006000 r-xp 00001000 fe:00 2474                     /usr/bin/head\n"       \
    "7f0000007000-7f0000008000 r--p 00000000 fe:00 2600 /usr/lib/locale/x\n"

static void maps_show_files_memory_and_what_was_removed(void **state)
{
    (void)state;
    put("7/maps", MAPS "\nnonsense\n7f00-7f01 r-xp 0");
    assert_int_equal(ask(TOPIC_MAPS, 7), 0);
    assert_int_equal(count_rows(), 10);
    assert_str(1, "from", "55d9006c9000");
    assert_str(1, "to", "55d9006cf000");
    assert_str(1, "perms", "r-xp");
    assert_int_equal(num_at(1, "offset"), 0x2000);
    assert_str(1, "dev", "fe:00");
    assert_int_equal(num_at(1, "inode"), 2474);
    assert_str(1, "path", "/usr/bin/head");
    assert_nil(1, "deleted");
    assert_str(2, "path", "[heap]");
    /* newline is the one escape of maps; any other backslash is the name's own */
    assert_str(3, "path", "/lib/odd\nna\\040me.so");
    assert_int_equal(num_at(3, "deleted"), 1);
    assert_str(6, "path", NULL);
}

static void libraries_are_listed_once_in_order(void **state)
{
    (void)state;
    put("7/maps", MAPS);
    assert_int_equal(ask(TOPIC_LIBRARIES, 7), 0);
    assert_int_equal(row_with_str("path", "/usr/lib/locale/x"), -1);
    assert_int_equal(count_rows(), 3); /* one number on two devices is two files */
    assert_str(0, "path", "/usr/bin/head");
    assert_nil(0, "deleted");
    assert_str(1, "path", "/lib/odd\nna\\040me.so");
    assert_int_equal(num_at(1, "inode"), 2500);
    assert_int_equal(num_at(1, "deleted"), 1);
}

static void environment_may_hold_anything(void **state)
{
    (void)state;
    static const char bytes[] = "A=1\0B=x=y\0\0novalue\0=empty\0C=\0MULTI=a\nb\0cut=of";
    put_bytes("7/environ", bytes, sizeof bytes - 1);
    assert_int_equal(ask(TOPIC_ENVIRON, 7), 0);
    static const char *const want[][2] = {
        { "A", "1" }, { "B", "x=y" },      { "novalue", NULL }, { "", "empty" },
        { "C", "" },  { "MULTI", "a\nb" }, { "cut", "of" },
    };
    assert_int_equal(count_rows(), LENGTH(want));
    for (int i = 0; i < (int)LENGTH(want); i++) {
        assert_str(i, "name", want[i][0]);
        assert_str(i, "value", want[i][1]);
    }
}

static void an_environment_of_megabytes_is_read_whole(void **state)
{
    (void)state;
    size_t len = 5 << 20;
    char *bytes = malloc(len);
    memset(bytes, 'x', len);
    bytes[3] = '=';
    bytes[len - 1] = '\0';
    put_bytes("7/environ", bytes, len);
    free(bytes);
    assert_int_equal(ask(TOPIC_ENVIRON, 7), 0);
    assert_int_equal(count_rows(), 1);
    assert_int_equal(cell_at(0, "value").len, len - 5);
}

static void mounts_are_unescaped(void **state)
{
    (void)state;
    put("7/mountinfo",
        "36 35 98:0 / /mnt\\040a\\134b rw,noatime shared:1 master:2 - fuse.x dev\\011x rw\n"
        "37 35 0:5 /sub /n\\012l ro - tmpfs  rw\n"
        "38 35 0:5 / /cut rw shared:1\n"
        "39 35 0:6 / /\\999\\04 rw - a b\n");
    assert_int_equal(ask(TOPIC_MOUNTS, 7), 0);
    assert_int_equal(count_rows(), 3);
    assert_int_equal(num_at(0, "id"), 36);
    assert_int_equal(num_at(0, "parent"), 35);
    assert_str(0, "dev", "98:0");
    assert_str(0, "root", "/");
    assert_str(0, "path", "/mnt a\\b");
    assert_str(0, "options", "rw,noatime");
    assert_str(0, "type", "fuse.x");
    assert_str(0, "source", "dev\tx");
    assert_str(1, "root", "/sub");
    assert_str(1, "path", "/n\nl");
    assert_str(1, "source", "");
    assert_str(2, "path", "/\\999\\04");
}

static void limits_may_be_unlimited_and_without_unit(void **state)
{
    (void)state;
    put("7/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            18446744073709551614 seconds   \n"
        "Max open files            1024                 524288               files     \n"
        "Max nice priority         0                    0                    \n"
        "Max cut");
    assert_int_equal(ask(TOPIC_LIMITS, 7), 0);
    assert_int_equal(count_rows(), 3);
    assert_str(0, "name", "Max cpu time");
    assert_nil(0, "soft");
    assert_int_equal(num_at(0, "hard"), INT64_MAX);
    assert_str(0, "unit", "seconds");
    assert_int_equal(num_at(1, "soft"), 1024);
    assert_int_equal(num_at(1, "hard"), 524288);
    assert_int_equal(num_at(2, "soft"), 0);
    assert_str(2, "unit", NULL);
}

static void cgroups_have_a_row_per_hierarchy(void **state)
{
    (void)state;
    put("7/cgroup", "4:cpu,cpuacct:/a:b\n1:name=systemd:/\nnonsense\n0::/x.slice\n");
    assert_int_equal(ask(TOPIC_CGROUPS, 7), 0);
    assert_int_equal(count_rows(), 3);
    assert_str(0, "controllers", "cpu,cpuacct");
    assert_str(0, "path", "/a:b");
    assert_str(1, "controllers", "name=systemd");
    assert_int_equal(num_at(2, "id"), 0);
    assert_str(2, "controllers", NULL);
    assert_str(2, "path", "/x.slice");
}

static void a_hash_is_that_of_the_file(void **state)
{
    (void)state;
    put("7/exe", "abc"); /* FIPS 180-2, appendix B.1 */
    assert_int_equal(ask(TOPIC_HASH, 7), 0);
    assert_str(0, "sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(num_at(0, "size"), 3);
    put("7/exe", "");
    assert_int_equal(ask(TOPIC_HASH, 7), 0);
    assert_str(0, "sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void only_regular_files_are_hashed(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_tree("7/exe"), 0644), 0);
    assert_int_equal(ask(TOPIC_HASH, 7), -EINVAL); /* and does not wait for a writer */
    unlink(in_tree("7/exe"));
    make_dir("7/exe");
    assert_int_equal(ask(TOPIC_HASH, 7), -EINVAL);
}

static void what_may_not_be_read_is_denied(void **state)
{
    (void)state;
    put("7/environ", "A=1");
    chmod(in_tree("7/environ"), 0);
    put_fd("3", "/dev/null", NULL);
    chmod(in_tree("7/fd"), 0);
    if (!geteuid())
        assert_int_equal(seteuid(65534), 0);
    int environ_err = ask(TOPIC_ENVIRON, 7), fds_err = ask(TOPIC_FDS, 7);
    if (!getuid())
        assert_int_equal(seteuid(0), 0);
    chmod(in_tree("7/fd"), 0755);
    assert_int_equal(environ_err, -EACCES);
    assert_int_equal(fds_err, -EACCES);
}

/* --- real ------------------------------------------------------------------------------- */

static int64_t inode_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (int64_t)st.st_ino;
}

/* A socket bound to loopback; its port. */
static int bound(int family, int type, int *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = { .any.sa_family = (sa_family_t)family };
    socklen_t len = sizeof name;
    if (family == AF_INET)
        name.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        name.v6.sin6_addr = in6addr_loopback;
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &name.any, sizeof name) < 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(getsockname(fd, &name.any, &len), 0);
    *port = ntohs(family == AF_INET ? name.v4.sin_port : name.v6.sin6_port);
    return fd;
}

static void assert_socket(int fd, const char *family, const char *type, const char *socket_state)
{
    int row = row_with("fd", fd);
    assert_true(row >= 0);
    assert_int_equal(num_at(row, "inode"), inode_of(fd));
    assert_str(row, "family", family);
    assert_str(row, "type", type);
    assert_str(row, "state", socket_state);
}

static void assert_local(int fd, const char *ip, int port)
{
    int row = row_with("fd", fd);
    assert_str(row, "local_ip", ip);
    assert_int_equal(num_at(row, "local_port"), port);
    assert_nil(row, "remote_ip");
    assert_nil(row, "remote_port");
}

static void our_own_sockets_are_found(void **state)
{
    (void)state;
    int tcp_port, tcp6_port, udp_port;
    int tcp = bound(AF_INET, SOCK_STREAM, &tcp_port);
    int tcp6 = bound(AF_INET6, SOCK_STREAM, &tcp6_port);
    int udp = bound(AF_INET, SOCK_DGRAM, &udp_port);
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl route = { .nl_family = AF_NETLINK }; /* unbound ones are not listed */
    assert_int_equal(bind(netlink, (struct sockaddr *)&route, sizeof route), 0);
    int unix_path = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int unix_abstract = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(listen(tcp, 1), 0);

    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s/a b", tree);
    assert_int_equal(bind(unix_path, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(unix_path, 1), 0);
    char abstract[64];
    snprintf(abstract, sizeof abstract, "@answers-%d", getpid());
    strcpy(name.sun_path + 1, abstract + 1);
    name.sun_path[0] = '\0';
    socklen_t name_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(abstract));
    assert_int_equal(bind(unix_abstract, (struct sockaddr *)&name, name_len), 0);

    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)tcp_port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&to, sizeof to), 0);

    assert_int_equal(ask(TOPIC_SOCKETS, getpid()), 0);
    assert_socket(tcp, "inet", "tcp", "listen");
    assert_local(tcp, "127.0.0.1", tcp_port);
    assert_socket(udp, "inet", "udp", NULL);
    assert_local(udp, "127.0.0.1", udp_port);
    assert_socket(netlink, "netlink", NULL, NULL);
    assert_socket(unix_path, "unix", "stream", "listen");
    assert_str(row_with("fd", unix_path), "path", in_tree("a b"));
    assert_socket(unix_abstract, "unix", "dgram", NULL);
    assert_str(row_with("fd", unix_abstract), "path", abstract);
    assert_socket(pair[0], "unix", "seqpacket", "established");
    assert_socket(pair[1], "unix", "seqpacket", "established");
    assert_socket(client, "inet", "tcp", "established");
    assert_str(row_with("fd", client), "remote_ip", "127.0.0.1");
    assert_int_equal(num_at(row_with("fd", client), "remote_port"), tcp_port);
    if (tcp6 >= 0) { /* bound and not listening: the kernel lists it only once it listens */
        assert_int_equal(listen(tcp6, 1), 0);
        assert_int_equal(ask(TOPIC_SOCKETS, getpid()), 0);
        assert_socket(tcp6, "inet6", "tcp", "listen");
        assert_local(tcp6, "::1", tcp6_port);
        close(tcp6);
    }

    int fds[] = { tcp, udp, netlink, unix_path, unix_abstract, pair[0], pair[1], client };
    for (size_t i = 0; i < LENGTH(fds); i++)
        close(fds[i]);
}

static void our_own_descriptors_are_found(void **state)
{
    (void)state;
    put("7/file", "0123456789");
    int file = open(in_tree("7/file"), O_RDWR | O_APPEND | O_CLOEXEC);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(lseek(file, 5, SEEK_SET), 5);

    assert_int_equal(ask(TOPIC_FDS, getpid()), 0);
    int row = row_with("fd", file);
    assert_str(row, "path", in_tree("7/file"));
    assert_int_equal(num_at(row, "pos"), 5);
    assert_int_equal(num_at(row, "flags") & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    assert_nil(row, "inode");
    assert_int_equal(num_at(row_with("fd", ends[0]), "inode"), inode_of(ends[1]));
    close(file);
    close(ends[0]);
    close(ends[1]);
}

struct extra_thread {
    pthread_t id;
    pthread_barrier_t named, done;
    pid_t tid;
};

static void *be_a_thread(void *ctx)
{
    struct extra_thread *t = ctx;
    t->tid = (pid_t)syscall(SYS_gettid);
    prctl(PR_SET_NAME, "odd) R 1");
    pthread_barrier_wait(&t->named);
    pthread_barrier_wait(&t->done);
    return NULL;
}

static void our_own_threads_are_found(void **state)
{
    (void)state;
    struct extra_thread t;
    pthread_barrier_init(&t.named, NULL, 2);
    pthread_barrier_init(&t.done, NULL, 2);
    assert_int_equal(pthread_create(&t.id, NULL, be_a_thread, &t), 0);
    pthread_barrier_wait(&t.named);

    int err = ask(TOPIC_THREADS, getpid());
    pthread_barrier_wait(&t.done);
    pthread_join(t.id, NULL);
    assert_int_equal(err, 0);
    assert_true(count_rows() >= 2);
    assert_str(row_with("tid", t.tid), "comm", "odd) R 1");
    assert_true(row_with("tid", getpid()) >= 0);
}

static void our_own_program_is_mapped_and_hashed(void **state)
{
    (void)state;
    char path[4096], hex[SHA256_DIGEST_STRING_LENGTH];
    struct stat st;
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(len > 0);
    path[len] = '\0';
    assert_int_equal(stat(path, &st), 0);

    assert_int_equal(ask(TOPIC_MAPS, getpid()), 0);
    int row = row_with_str("path", path);
    assert_true(row >= 0);
    assert_int_equal(num_at(row, "inode"), (int64_t)st.st_ino);
    assert_true(row_with_str("path", "[stack]") >= 0);

    assert_int_equal(ask(TOPIC_LIBRARIES, getpid()), 0);
    assert_str(0, "path", path);
    assert_int_equal(row_with_str("path", "[vdso]"), -1);

    assert_int_equal(ask(TOPIC_HASH, getpid()), 0);
    assert_str(0, "sha256", SHA256_File(path, hex));
    assert_int_equal(num_at(0, "size"), st.st_size);
}

static void our_own_figures_agree_with_the_system(void **state)
{
    (void)state;
    assert_int_equal(ask(TOPIC_STAT, getpid()), 0);
    assert_str(0, "state", "R");
    assert_int_equal(num_at(0, "ppid"), getppid());
    assert_int_equal(num_at(0, "pgrp"), getpgrp());

    mode_t mask = umask(0153);
    assert_int_equal(ask(TOPIC_STATUS, getpid()), 0);
    umask(mask);
    assert_int_equal(num_at(0, "umask"), 0153);
    assert_int_equal(num_at(0, "euid"), geteuid());
    assert_int_equal(num_at(0, "fsgid"), getegid());
    assert_int_equal(cell_at(0, "cap_bnd").len, 16);

    assert_int_equal(ask(TOPIC_MEMORY, getpid()), 0);
    assert_true(num_at(0, "vm_rss") > 0 && num_at(0, "vm_rss") % 1024 == 0);

    struct stat st;
    assert_int_equal(stat("/proc/self/ns/net", &st), 0);
    assert_int_equal(ask(TOPIC_NS, getpid()), 0);
    assert_int_equal(num_at(row_with_str("name", "net"), "inode"), (int64_t)st.st_ino);

    assert_int_equal(ask(TOPIC_LIMITS, getpid()), 0);
    int row = row_with_str("name", "Max open files");
    assert_int_equal(num_at(row, "soft"), sysconf(_SC_OPEN_MAX));
    assert_str(row, "unit", "files");

    assert_int_equal(ask(TOPIC_MOUNTS, getpid()), 0);
    assert_str(row_with_str("path", "/proc"), "type", "proc");
    assert_int_equal(ask(TOPIC_CGROUPS, getpid()), 0);
    count_rows();
    assert_int_equal(ask(TOPIC_IO, getpid()), 0);
    assert_true(num_at(0, "syscr") > 0);
}

/* A child that runs a program with an environment of our making, once it does. */
static pid_t run_with_environment(char **environment)
{
    int up[2];
    char byte;
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (!pid) {
        char *const argv[] = { "tail", "-f", "/dev/null", NULL };
        execvpe(argv[0], argv, environment);
        _exit(127);
    }
    close(up[1]);
    assert_int_equal(read(up[0], &byte, 1), 0); /* the end comes with execve */
    close(up[0]);
    return pid;
}

static void the_environment_of_a_child_is_what_it_was_given(void **state)
{
    (void)state;
    char *environment[] = { "A=1", "odd", "B=two\nlines", NULL };
    pid_t pid = run_with_environment(environment);
    int err = ask(TOPIC_ENVIRON, pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_int_equal(err, 0);
    assert_int_equal(count_rows(), 3);
    assert_str(0, "value", "1");
    assert_str(1, "value", NULL);
    assert_str(2, "value", "two\nlines");
}

static void a_zombie_answers_what_it_can_and_a_reaped_one_nothing(void **state)
{
    (void)state;
    siginfo_t info;
    pid_t pid = fork();
    if (!pid)
        _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(ask(TOPIC_STAT, pid), 0);
    assert_str(0, "state", "Z");
    assert_int_equal(ask(TOPIC_HASH, pid), -ENOENT);
    if (!geteuid()) { /* the list belongs to root */
        assert_int_equal(ask(TOPIC_SOCKETS, pid), 0);
        assert_int_equal(count_rows(), 0);
    }
    waitpid(pid, NULL, 0);
    for (int t = 0; t < TOPICS; t++)
        assert_int_equal(ask((enum topic)t, pid), -ESRCH);
    assert_int_equal(out.len, 0);
}

static void every_topic_of_every_process_is_whole_rows(void **state)
{
    (void)state;
    for (int pid = 1; pid < 400; pid++)
        for (int t = 0; t < TOPICS; t++)
            if (t != TOPIC_HASH && !ask((enum topic)t, pid))
                assert_true(count_rows() == 1 || topics[t].rows);
}

#define MADE_UP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define REAL(test)    cmocka_unit_test_setup_teardown(test, set_up_real, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_found_by_name),
        cmocka_unit_test(each_topic_has_its_own_columns),
        cmocka_unit_test(a_cell_that_is_not_whole_is_refused),
        cmocka_unit_test(cells_are_read_back),
        MADE_UP(failure_leaves_the_buffer_as_it_was),
        MADE_UP(an_answer_that_outlives_its_process_is_thrown_away),
        MADE_UP(malformed_stat_has_no_answer),
        MADE_UP(stat_has_all_in_units_that_people_use),
        MADE_UP(status_knows_octal_lists_and_what_is_missing),
        MADE_UP(no_groups_are_an_empty_text),
        MADE_UP(memory_is_in_bytes_and_nil_for_kernel_threads),
        MADE_UP(io_has_every_counter),
        MADE_UP(descriptors_lead_somewhere),
        MADE_UP(sockets_are_joined_with_every_table),
        MADE_UP(a_unix_name_cannot_lie_about_another_socket),
        MADE_UP(socket_nonsense_is_passed_over),
        MADE_UP(a_table_of_any_size_is_read),
        MADE_UP(threads_that_end_meanwhile_are_left_out),
        MADE_UP(namespaces_have_numbers),
        MADE_UP(maps_show_files_memory_and_what_was_removed),
        MADE_UP(libraries_are_listed_once_in_order),
        MADE_UP(environment_may_hold_anything),
        MADE_UP(an_environment_of_megabytes_is_read_whole),
        MADE_UP(mounts_are_unescaped),
        MADE_UP(limits_may_be_unlimited_and_without_unit),
        MADE_UP(cgroups_have_a_row_per_hierarchy),
        MADE_UP(a_hash_is_that_of_the_file),
        MADE_UP(only_regular_files_are_hashed),
        MADE_UP(what_may_not_be_read_is_denied),
        REAL(our_own_sockets_are_found),
        REAL(our_own_descriptors_are_found),
        REAL(our_own_threads_are_found),
        REAL(our_own_program_is_mapped_and_hashed),
        REAL(our_own_figures_agree_with_the_system),
        REAL(the_environment_of_a_child_is_what_it_was_given),
        REAL(a_zombie_answers_what_it_can_and_a_reaped_one_nothing),
        REAL(every_topic_of_every_process_is_whole_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
