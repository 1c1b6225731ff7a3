/* answers.c - answers questions about one living process at any length. See answers.h.
 *
 * One short function per topic. What takes bytes and puts cells is pure, so that it can be fuzzed;
 * files are read line by line, for some have no bound that matters (a million sockets). */
#include "collect/answers.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the table of topics ---------------------------------------------------------------- */

/* How many columns each topic has: COLUMNS_STAT = 0 + 1 + 1 ... */
enum {
    COLUMNS_NONE
#define TOPIC(NAME, ...) , COLUMNS_##NAME = 0
#define COLUMN(...)      +1
#include "collect/topics.def"
#undef TOPIC
#undef COLUMN
};

/* Where each topic's columns begin in the list of all: the offset of its member. */
struct column_places {
#define TOPIC(NAME, ...) char NAME[COLUMNS_##NAME];
#define COLUMN(...)
#include "collect/topics.def"
#undef TOPIC
#undef COLUMN
};

static const struct topic_column columns[] = {
#define TOPIC(...)
#define COLUMN(NAME, name, type, unit, doc) { name, TYPE_##type, unit, doc },
#include "collect/topics.def"
#undef TOPIC
#undef COLUMN
};

enum { SHAPE_ROW, SHAPE_ROWS };

const struct topic_info topics[TOPICS] = {
#define TOPIC(NAME, name, shape, doc)                                                              \
    [TOPIC_##NAME] = { name, SHAPE_##shape, doc, columns + offsetof(struct column_places, NAME),   \
                       COLUMNS_##NAME },
#define COLUMN(...)
#include "collect/topics.def"
#undef TOPIC
#undef COLUMN
};

enum topic topic_named(const char *name)
{
    int topic = 0;
    while (topic < TOPICS && strcmp(topics[topic].name, name) != 0)
        topic++;
    return (enum topic)topic;
}

/* --- slices of text --------------------------------------------------------------------- */

struct slice {
    const char *at;
    size_t len;
};

static const struct slice nothing;

static bool starts_with(struct slice s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && !memcmp(s.at, prefix, len);
}

static bool ends_with(struct slice s, const char *suffix)
{
    size_t len = strlen(suffix);
    return s.len >= len && !memcmp(s.at + s.len - len, suffix, len);
}

static struct slice without_first(struct slice s, size_t count)
{
    return (struct slice){ s.at + count, s.len - count };
}

/* Take what comes before the next `stop`, and that one too; all that is left when there is none. */
static struct slice take_until(struct slice *left, char stop)
{
    const char *end = left->len ? memchr(left->at, stop, left->len) : NULL;
    struct slice taken = { left->at, end ? (size_t)(end - left->at) : left->len };
    *left = without_first(*left, taken.len + (end != NULL));
    return taken;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.len && is_blank(s.at[0]))
        s = without_first(s, 1);
    while (s.len && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

/* Skip blanks, take what is up to the next one. Empty at the end. */
static struct slice take_word(struct slice *left)
{
    while (left->len && is_blank(left->at[0]))
        *left = without_first(*left, 1);
    struct slice word = { left->at, 0 };
    while (word.len < left->len && !is_blank(left->at[word.len]))
        word.len++;
    *left = without_first(*left, word.len);
    return word;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : INT_MAX;
}

/* The whole of `s` as a number; above INT64_MAX it is INT64_MAX. False when it is none. */
static bool number_of(struct slice s, int base, int64_t *out)
{
    int64_t number = 0;
    bool huge = false;
    for (size_t i = 0; i < s.len; i++) {
        int digit = digit_of(s.at[i]);
        if (digit >= base)
            return false;
        huge = huge || __builtin_mul_overflow(number, (int64_t)base, &number) ||
               __builtin_add_overflow(number, (int64_t)digit, &number);
    }
    *out = huge ? INT64_MAX : number;
    return s.len > 0;
}

/* "socket:[1478]" with kind "socket:[" is 1478. A path cannot pass for it: it begins with '/'. */
static bool inode_in(struct slice target, const char *kind, int64_t *inode)
{
    if (!starts_with(target, kind) || !ends_with(target, "]"))
        return false;
    struct slice digits = without_first(target, strlen(kind));
    digits.len -= digits.len > 0;
    return number_of(digits, 10, inode);
}

/* Append `s` with its octal escapes (\040) decoded. `only` is the one code that is an escape, or -1
 * when all are: where the kernel escapes nothing but newlines, other backslashes are the name's. */
static void add_unescaped(struct buf *to, struct slice s, int only)
{
    for (size_t i = 0; i < s.len; i++) {
        int64_t code = -1;
        bool escape = s.at[i] == '\\' && s.len - i >= 4 &&
                      number_of((struct slice){ s.at + i + 1, 3 }, 8, &code) && code <= 0377 &&
                      (only < 0 || code == only);
        buf_putc(to, escape ? (char)code : s.at[i]);
        i += escape ? 3 : 0;
    }
}

/* --- writing cells ---------------------------------------------------------------------- */

/* An answer being written. Knows which column comes next: a cell of the wrong type is our bug. */
struct sheet {
    struct buf *out;
    const struct topic_info *info;
    int column;
};

static void next_column(struct sheet *s, bool fits)
{
    assert(fits);
    (void)fits;
    s->column = (s->column + 1) % s->info->columns_len;
}

static void put_cell(struct sheet *s, const void *bytes, size_t len)
{
    uint32_t size = (uint32_t)len;
    buf_add(s->out, &size, sizeof size);
    buf_add(s->out, bytes, len);
}

static void put_nil(struct sheet *s)
{
    uint32_t size = ANSWER_NIL;
    buf_add(s->out, &size, sizeof size);
    next_column(s, true);
}

/* For INT, SPAN and BOOL. */
static void put_int(struct sheet *s, int64_t number)
{
    put_cell(s, &number, sizeof number);
    next_column(s, s->info->columns[s->column].type != TYPE_TEXT);
}

static void put_text(struct sheet *s, struct slice text)
{
    if (text.len >= ANSWER_NIL)
        text.len = ANSWER_NIL - 1;
    put_cell(s, text.at, text.len);
    next_column(s, s->info->columns[s->column].type == TYPE_TEXT);
}

/* nil for NULL */
static void put_str(struct sheet *s, const char *text)
{
    if (text)
        put_text(s, (struct slice){ text, strlen(text) });
    else
        put_nil(s);
}

static void put_text_or_nil(struct sheet *s, struct slice text)
{
    if (text.len)
        put_text(s, text);
    else
        put_nil(s);
}

static void put_number(struct sheet *s, struct slice digits, int base)
{
    int64_t number;
    if (number_of(digits, base, &number))
        put_int(s, number);
    else
        put_nil(s);
}

static void put_true_or_nil(struct sheet *s, bool yes)
{
    if (yes)
        put_int(s, 1);
    else
        put_nil(s);
}

/* "(deleted)" is the kernel's word after the path of a removed file. A file may have that in its
 * name; these lists cannot tell (procfs_fill can, for the one file that matters most). */
static bool cut_deleted(struct slice *path)
{
    static const char suffix[] = " (deleted)";
    if (!starts_with(*path, "/") || !ends_with(*path, suffix))
        return false;
    path->len -= strlen(suffix);
    return true;
}

/* --- one question ----------------------------------------------------------------------- */

struct question {
    int dir; /* the held /proc/PID */
    struct sheet sheet;
    struct buf scratch; /* owned: for one file's bytes, or one cell's */
};

static int open_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* Append more of the file. The count, 0 at the end, or -errno. */
static ssize_t read_more(int fd, struct buf *to)
{
    enum { STEP = 32 * 1024 };
    char *at = buf_reserve(to, STEP);
    if (!at)
        return -ENOMEM;
    ssize_t got = read(fd, at, STEP);
    if (got < 0)
        return -errno;
    to->len += (size_t)got;
    return got;
}

/* The whole file into the scratch buffer. 0, or -errno. */
static int read_whole(struct question *q, const char *name)
{
    int fd = open_file(q->dir, name);
    if (fd < 0)
        return fd;
    buf_clear(&q->scratch);
    ssize_t got;
    while ((got = read_more(fd, &q->scratch)) > 0)
        ;
    close(fd);
    return (int)got;
}

static struct slice scratch_text(const struct question *q)
{
    return (struct slice){ q->scratch.data, q->scratch.len };
}

typedef int line_fn(void *ctx, struct slice line);

/* Hand over each whole line of left, keep the rest there. */
static int whole_lines(struct slice *left, char end, line_fn *fn, void *ctx)
{
    int stop = 0;
    while (!stop && left->len && memchr(left->at, end, left->len))
        stop = fn(ctx, take_until(left, end));
    return stop;
}

/* Call for each line of a file of any length; its last one may lack its `end`. Stops and returns
 * what `fn` returns when that is not 0; 0, or -errno. */
static int each_line(int dir, const char *name, char end, line_fn *fn, void *ctx)
{
    int fd = open_file(dir, name);
    if (fd < 0)
        return fd;

    struct buf window = { 0 };
    int stop = 0;
    ssize_t got;
    while (!stop && (got = read_more(fd, &window)) != 0) {
        if (got < 0) {
            stop = (int)got;
            break;
        }
        struct slice left = { window.data, window.len };
        stop = whole_lines(&left, end, fn, ctx);
        memmove(window.data, left.at, left.len);
        window.len = left.len;
    }
    if (!stop && window.len)
        stop = fn(ctx, (struct slice){ window.data, window.len });

    buf_free(&window);
    close(fd);
    return stop;
}

typedef int entry_fn(void *ctx, int dir, const char *name);

/* Call for each entry of a directory, unless its name begins with '.'. As each_line otherwise. */
static int each_entry(int dir, const char *name, entry_fn *fn, void *ctx)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return -err;
    }

    int stop = 0;
    const struct dirent *entry;
    while (!stop && (errno = 0, entry = readdir(list)))
        stop = entry->d_name[0] == '.' ? 0 : fn(ctx, dirfd(list), entry->d_name);
    if (!stop && errno)
        stop = -errno;
    closedir(list);
    return stop;
}

/* --- stat and threads ------------------------------------------------------------------- */

static int64_t ticks_to_ns(uint64_t ticks)
{
    return (int64_t)(ticks * NS_PER_TICK);
}

static void put_tty(struct sheet *s, int tty_nr)
{
    char name[PROCFS_TTY_MAX];
    put_text_or_nil(s, (struct slice){ name, procfs_tty_name(tty_nr, name) });
}

static int put_stat(struct sheet *s, struct slice text)
{
    struct procfs_stat st;
    int bad = procfs_parse_stat(text.at, text.len, &st);
    if (bad)
        return bad;
    put_text(s, (struct slice){ &st.state, 1 });
    put_int(s, st.ppid);
    put_int(s, st.pgrp);
    put_int(s, st.session);
    put_tty(s, st.tty_nr);
    put_int(s, ticks_to_ns(st.utime));
    put_int(s, ticks_to_ns(st.stime));
    put_int(s, (int64_t)st.minflt);
    put_int(s, (int64_t)st.majflt);
    put_int(s, st.priority);
    put_int(s, st.nice);
    put_int(s, st.num_threads);
    put_int(s, st.processor);
    put_int(s, (int64_t)st.policy);
    put_int(s, (int64_t)st.vsize);
    put_int(s, (int64_t)((uint64_t)st.rss * (uint64_t)sysconf(_SC_PAGESIZE)));
    return 0;
}

static int answer_stat(struct question *q)
{
    int err = read_whole(q, "stat");
    return err ? err : put_stat(&q->sheet, scratch_text(q));
}

static int put_thread(struct sheet *s, struct slice text)
{
    struct procfs_stat st;
    int bad = procfs_parse_stat(text.at, text.len, &st);
    if (bad)
        return bad;
    put_int(s, st.pid);
    put_text(s, (struct slice){ st.comm, st.comm_len });
    put_text(s, (struct slice){ &st.state, 1 });
    put_int(s, ticks_to_ns(st.utime));
    put_int(s, ticks_to_ns(st.stime));
    put_int(s, st.processor);
    return 0;
}

/* A thread that ended since the list was made is no longer one. */
static int answer_thread(void *ctx, int dir, const char *tid)
{
    struct question *q = ctx;
    char name[NAME_MAX + sizeof "/stat"], text[4096];
    snprintf(name, sizeof name, "%s/stat", tid);
    ssize_t len = procfs_read(dir, name, text, sizeof text);
    if (len == -ENOENT || len == -ESRCH)
        return 0;
    return len < 0 ? (int)len : put_thread(&q->sheet, (struct slice){ text, (size_t)len });
}

static int answer_threads(struct question *q)
{
    return each_entry(q->dir, "task", answer_thread, q);
}

/* --- status, memory, io: lines of "Key: value" ------------------------------------------ */

/* What of a line becomes the next cell. */
struct keyed {
    const char *key;
    enum { NUMBER, OCTAL, KIB, WORDS } how;
    int word; /* NUMBER: which one */
};

/* The value after "Key:" in the line that begins so; no `at` when there is none. */
static struct slice value_of(struct slice text, const char *key)
{
    while (text.len) {
        struct slice line = take_until(&text, '\n');
        if (!starts_with(line, key))
            continue;
        line = without_first(line, strlen(key));
        if (starts_with(line, ":"))
            return trim(without_first(line, 1));
    }
    return nothing;
}

/* Words separated by one blank each. */
static void put_words(struct question *q, struct slice value)
{
    struct buf words = { 0 };
    for (struct slice word = take_word(&value); word.len; word = take_word(&value)) {
        if (words.len)
            buf_putc(&words, ' ');
        buf_add(&words, word.at, word.len);
    }
    put_text(&q->sheet, (struct slice){ words.data, words.len });
    q->sheet.out->failed |= words.failed;
    buf_free(&words);
}

static void put_keyed(struct question *q, struct slice text, const struct keyed *row)
{
    struct slice value = value_of(text, row->key), word = nothing;
    if (!value.at) {
        put_nil(&q->sheet);
        return;
    }
    if (row->how == WORDS) {
        put_words(q, value);
        return;
    }
    for (int i = 0; i <= row->word; i++)
        word = take_word(&value);

    int64_t number;
    if (!number_of(word, row->how == OCTAL ? 8 : 10, &number) ||
        (row->how == KIB && __builtin_mul_overflow(number, INT64_C(1024), &number)))
        put_nil(&q->sheet);
    else
        put_int(&q->sheet, number);
}

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static void put_all_keyed(struct question *q, struct slice text, const struct keyed *rows,
                          size_t len)
{
    for (size_t i = 0; i < len; i++)
        put_keyed(q, text, &rows[i]);
}

/*   Umask:	0022
 *   Uid:	1000	1000	1000	1000
 *   Groups:	4 24 1000
 *   NSpid:	5021	7
 *   CapEff:	000001ffffffffff */
static const struct keyed status_rows[] = {
    { "Umask", OCTAL, 0 },
    { "TracerPid", NUMBER, 0 },
    { "Uid", NUMBER, 0 },
    { "Uid", NUMBER, 1 },
    { "Uid", NUMBER, 2 },
    { "Uid", NUMBER, 3 },
    { "Gid", NUMBER, 0 },
    { "Gid", NUMBER, 1 },
    { "Gid", NUMBER, 2 },
    { "Gid", NUMBER, 3 },
    { "Groups", WORDS, 0 },
    { "NSpid", WORDS, 0 },
    { "CapInh", WORDS, 0 },
    { "CapPrm", WORDS, 0 },
    { "CapEff", WORDS, 0 },
    { "CapBnd", WORDS, 0 },
    { "CapAmb", WORDS, 0 },
    { "NoNewPrivs", NUMBER, 0 },
    { "Seccomp", NUMBER, 0 },
    { "voluntary_ctxt_switches", NUMBER, 0 },
    { "nonvoluntary_ctxt_switches", NUMBER, 0 },
};
_Static_assert(LENGTH(status_rows) == COLUMNS_STATUS, "one line per column of topics.def");

static int answer_status(struct question *q)
{
    int err = read_whole(q, "status");
    if (!err)
        put_all_keyed(q, scratch_text(q), status_rows, LENGTH(status_rows));
    return err;
}

/*   VmPeak:	    3060 kB */
static const struct keyed memory_rows[] = {
    { "VmPeak", KIB, 0 }, { "VmSize", KIB, 0 },  { "VmLck", KIB, 0 },   { "VmHWM", KIB, 0 },
    { "VmRSS", KIB, 0 },  { "RssAnon", KIB, 0 }, { "RssFile", KIB, 0 }, { "RssShmem", KIB, 0 },
    { "VmData", KIB, 0 }, { "VmStk", KIB, 0 },   { "VmExe", KIB, 0 },   { "VmLib", KIB, 0 },
    { "VmSwap", KIB, 0 },
};
_Static_assert(LENGTH(memory_rows) + 1 == COLUMNS_MEMORY, "one line per column, but oom_score");

static int answer_memory(struct question *q)
{
    int err = read_whole(q, "status");
    if (err)
        return err;
    put_all_keyed(q, scratch_text(q), memory_rows, LENGTH(memory_rows));

    char text[32];
    ssize_t len = procfs_read(q->dir, "oom_score", text, sizeof text);
    struct slice left = { text, len > 0 ? (size_t)len : 0 };
    put_number(&q->sheet, trim(take_until(&left, '\n')), 10);
    return 0;
}

/*   rchar: 6976 */
static const struct keyed io_rows[] = {
    { "rchar", NUMBER, 0 },
    { "wchar", NUMBER, 0 },
    { "syscr", NUMBER, 0 },
    { "syscw", NUMBER, 0 },
    { "read_bytes", NUMBER, 0 },
    { "write_bytes", NUMBER, 0 },
    { "cancelled_write_bytes", NUMBER, 0 },
};
_Static_assert(LENGTH(io_rows) == COLUMNS_IO, "one line per column of topics.def");

static int answer_io(struct question *q)
{
    int err = read_whole(q, "io");
    if (!err)
        put_all_keyed(q, scratch_text(q), io_rows, LENGTH(io_rows));
    return err;
}

/* --- descriptors ------------------------------------------------------------------------ */

/*   pos:	0
 *   flags:	0100002
 *   mnt_id:	24 */
static void put_fdinfo(struct question *q, struct slice text)
{
    static const struct keyed rows[] = { { "pos", NUMBER, 0 }, { "flags", OCTAL, 0 } };
    put_all_keyed(q, text, rows, LENGTH(rows));
}

/* Where a descriptor leads. 0 when it was closed since the list was made; -errno. */
static ssize_t fd_target(int dir, const char *fd, char *to, size_t cap)
{
    ssize_t len = procfs_link(dir, fd, to, cap);
    return len == -ENOENT ? 0 : len;
}

static int answer_fd(void *ctx, int dir, const char *fd)
{
    struct question *q = ctx;
    char target[PATH_MAX], name[NAME_MAX + sizeof "fdinfo/"], info[4096];
    ssize_t len = fd_target(dir, fd, target, sizeof target);
    if (len <= 0)
        return (int)len;

    struct slice path = { target, (size_t)len };
    int64_t inode;
    put_number(&q->sheet, (struct slice){ fd, strlen(fd) }, 10);
    put_text(&q->sheet, path);
    if (inode_in(path, "socket:[", &inode) || inode_in(path, "pipe:[", &inode))
        put_int(&q->sheet, inode);
    else
        put_nil(&q->sheet);

    snprintf(name, sizeof name, "fdinfo/%s", fd);
    len = procfs_read(q->dir, name, info, sizeof info);
    put_fdinfo(q, (struct slice){ info, len > 0 ? (size_t)len : 0 });
    return 0;
}

static int answer_fds(struct question *q)
{
    return each_entry(q->dir, "fd", answer_fd, q);
}

/* --- sockets ---------------------------------------------------------------------------- */

struct endpoint {
    bool known;
    unsigned char ip[16];
    int port; /* -1: has none */
};

/* What a line of one of the tables says. Texts that are not NULL are static, but path. */
struct socket_line {
    int64_t inode;
    const char *type, *state;
    struct endpoint local, remote;
    struct slice path; /* borrowed from the line */
};

static const char *tcp_state(int64_t number)
{
    /* include/net/tcp_states.h */
    static const char *const names[] = {
        NULL,        "established", "syn_sent",     "syn_recv",       "fin_wait1",
        "fin_wait2", "time_wait",   "close",        "close_wait",     "last_ack",
        "listen",    "closing",     "new_syn_recv", "bound_inactive",
    };
    return number > 0 && number < (int64_t)LENGTH(names) ? names[number] : NULL;
}

/* "0100007F:1F90": each four bytes of the address are printed as one number of the machine, so it
 * comes out in reverse order on little-endian ones; the port is not. */
static bool parse_endpoint(struct slice text, struct endpoint *out)
{
    *out = (struct endpoint){ 0 };
    struct slice ip = take_until(&text, ':');
    int64_t word, port;
    if ((ip.len != 8 && ip.len != 32) || !number_of(text, 16, &port) || port > UINT16_MAX)
        return false;
    for (size_t i = 0; i < ip.len / 8; i++) {
        if (!number_of((struct slice){ ip.at + i * 8, 8 }, 16, &word))
            return false;
        uint32_t bytes = (uint32_t)word;
        memcpy(out->ip + i * 4, &bytes, sizeof bytes);
    }
    out->port = (int)port;
    out->known = true;
    return true;
}

static bool is_unset(const struct endpoint *e)
{
    static const unsigned char zeros[sizeof e->ip];
    return !e->port && !memcmp(e->ip, zeros, sizeof zeros);
}

/* One line of tcp, udp, raw, icmp and their likes. False: the heading, or nonsense.
 *
 *   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 14725 1 ...
 */
static bool parse_inet(struct slice line, const char *type, struct socket_line *out)
{
    int64_t state;
    *out = (struct socket_line){ .type = type };
    take_word(&line);
    if (!parse_endpoint(take_word(&line), &out->local) ||
        !parse_endpoint(take_word(&line), &out->remote) || !number_of(take_word(&line), 16, &state))
        return false;
    for (int skipped = 0; skipped < 5; skipped++) /* queues, timer, retransmits, uid, timeout */
        take_word(&line);
    if (!number_of(take_word(&line), 10, &out->inode))
        return false;

    out->state = tcp_state(state);
    if (strcmp(type, "tcp") != 0 && state != 1)
        out->state = NULL; /* "close" is what the kernel calls a udp socket that has no peer */
    if (!strcmp(type, "raw"))
        out->local.port = out->remote.port = -1; /* the protocol is where the port should be */
    if (is_unset(&out->remote) || (!strcmp(type, "raw") && !out->state))
        out->remote.known = false;
    return true;
}

/* One line of unix; '@' stands for the NUL of an abstract name. The name may hold newlines, what
 * comes after one looks like a line and may be a forged one: see note_line.
 *
 *   00000000b12bcf34: 00000002 00000000 00010000 0001 01 14342 /run/dbus/system_bus_socket */
static bool parse_unix(struct slice line, struct socket_line *out)
{
    int64_t flags, type, state;
    *out = (struct socket_line){ 0 };
    if (!ends_with(take_word(&line), ":"))
        return false;
    take_word(&line);
    take_word(&line);
    if (!number_of(take_word(&line), 16, &flags) || !number_of(take_word(&line), 16, &type) ||
        !number_of(take_word(&line), 16, &state) || !number_of(take_word(&line), 10, &out->inode))
        return false;

    enum { LISTENS = 0x10000, CONNECTED = 3 };
    out->type = type == 1 ? "stream" : type == 2 ? "dgram" : type == 5 ? "seqpacket" : NULL;
    out->state = flags & LISTENS ? "listen" : state == CONNECTED ? "established" : NULL;
    if (line.len)
        out->path = without_first(line, 1);
    return true;
}

/* One line of netlink or packet: the inode is the last word. The heading's is none.
 *
 *   00000000bb0864ed 0   1478  00000000 0        0        0     2        0        14342 */
static bool parse_last_inode(struct slice line, struct socket_line *out)
{
    *out = (struct socket_line){ 0 };
    struct slice word, last = nothing;
    while ((word = take_word(&line)).len)
        last = word;
    return number_of(last, 10, &out->inode);
}

/* Tables in the order in which they are looked at, until all sockets are found. unix is the last
 * that names sockets, for a line of it can be forged. */
static const struct socket_table {
    const char *file, *family, *type;
} tables[] = {
    { "net/tcp", "inet", "tcp" },         { "net/tcp6", "inet6", "tcp" },
    { "net/udp", "inet", "udp" },         { "net/udp6", "inet6", "udp" },
    { "net/netlink", "netlink", NULL },   { "net/packet", "packet", NULL },
    { "net/raw", "inet", "raw" },         { "net/raw6", "inet6", "raw" },
    { "net/icmp", "inet", "icmp" },       { "net/icmp6", "inet6", "icmp" },
    { "net/udplite", "inet", "udplite" }, { "net/udplite6", "inet6", "udplite" },
    { "net/unix", "unix", NULL },
};

static bool parse_socket(const struct socket_table *table, struct slice line,
                         struct socket_line *out)
{
    if (table->type)
        return parse_inet(line, table->type, out);
    if (!strcmp(table->family, "unix"))
        return parse_unix(line, out);
    return parse_last_inode(line, out);
}

/* One socket of the process. Several descriptors may lead to it. */
struct found_socket {
    int64_t inode;
    const struct socket_table *table; /* NULL: in none of them so far */
    struct socket_line line;          /* .path.at is not used: */
    size_t path_at;                   /* in join.paths */
};

struct open_fd {
    int fd;
    int64_t inode;
};

/* Descriptors on the left, sockets (sorted by inode, each once) on the right. */
struct join {
    struct buf fds;                   /* owned: struct open_fd, in the order of the list */
    struct buf sockets;               /* owned: struct found_socket */
    struct buf paths;                 /* owned */
    size_t left;                      /* sockets not found yet */
    const struct socket_table *table; /* being read */
};

static int compare_inodes(const void *a, const void *b)
{
    int64_t left = ((const struct found_socket *)a)->inode;
    int64_t right = ((const struct found_socket *)b)->inode;
    return (left > right) - (left < right);
}

static struct found_socket *socket_of(const struct join *j, int64_t inode)
{
    struct found_socket key = { .inode = inode };
    if (!j->sockets.len)
        return NULL;
    return bsearch(&key, j->sockets.data, j->sockets.len / sizeof key, sizeof key, compare_inodes);
}

/* Sort the sockets and leave each once. */
static void index_sockets(struct join *j)
{
    struct found_socket *all = (void *)j->sockets.data;
    size_t len = j->sockets.len / sizeof *all, kept = 0;
    if (len)
        qsort(all, len, sizeof *all, compare_inodes);
    for (size_t i = 0; i < len; i++)
        if (!kept || all[kept - 1].inode != all[i].inode)
            all[kept++] = all[i];
    j->sockets.len = kept * sizeof *all;
    j->left = kept;
}

/* The line says of a unix socket what another one said otherwise: one of them is a process's lie.
 * (The kernel may list a socket twice, when the table changes while it is read.) */
static bool contradicts(const struct join *j, const struct found_socket *found,
                        const struct socket_line *said)
{
    return said->type != found->line.type || said->path.len != found->line.path.len ||
           (said->path.len &&
            memcmp(j->paths.data + found->path_at, said->path.at, said->path.len) != 0);
}

/* What is said twice in two ways is not said at all: then the family is all that is known. */
static int note_line(void *ctx, struct slice line)
{
    struct join *j = ctx;
    struct socket_line said;
    if (!parse_socket(j->table, line, &said))
        return 0;
    struct found_socket *found = socket_of(j, said.inode);
    if (!found)
        return 0;
    if (found->table) {
        if (found->table == j->table && !j->table->type && contradicts(j, found, &said))
            found->line = (struct socket_line){ .inode = said.inode };
        return 0;
    }

    found->table = j->table;
    found->line = said;
    found->path_at = j->paths.len;
    buf_add(&j->paths, said.path.at, said.path.len);
    j->left--;
    return j->paths.failed ? -ENOMEM : 0;
}

/* A kernel without IPv6 lacks half of the tables; a zombie has no network at all (EINVAL). */
static int search_tables(struct join *j, int dir)
{
    for (size_t i = 0; i < LENGTH(tables) && j->left; i++) {
        j->table = &tables[i];
        int err = each_line(dir, tables[i].file, '\n', note_line, j);
        if (err && err != -ENOENT && err != -EINVAL)
            return err;
    }
    return 0;
}

static void put_endpoint(struct sheet *s, const char *family, const struct endpoint *e)
{
    char text[INET6_ADDRSTRLEN];
    int af = !strcmp(family, "inet6") ? AF_INET6 : AF_INET;
    put_str(s, e->known ? inet_ntop(af, e->ip, text, sizeof text) : NULL);
    if (e->known && e->port >= 0)
        put_int(s, e->port);
    else
        put_nil(s);
}

static void put_socket(struct sheet *s, const struct join *j, const struct open_fd *fd)
{
    const struct found_socket *found = socket_of(j, fd->inode);
    const char *family = found->table ? found->table->family : NULL;
    put_int(s, fd->fd);
    put_int(s, fd->inode);
    put_str(s, family);
    put_str(s, found->line.type);
    put_str(s, found->line.state);
    put_endpoint(s, family ? family : "", &found->line.local);
    put_endpoint(s, family ? family : "", &found->line.remote);
    put_text_or_nil(s, (struct slice){ j->paths.data ? j->paths.data + found->path_at : NULL,
                                       found->line.path.len });
}

static int list_sockets(struct question *q, struct join *j)
{
    const struct open_fd *fds = (const void *)j->fds.data;
    size_t len = j->fds.len / sizeof *fds;
    index_sockets(j);
    int err = search_tables(j, q->dir);
    for (size_t i = 0; !err && i < len; i++)
        put_socket(&q->sheet, j, &fds[i]);
    return err;
}

static int note_socket_fd(void *ctx, int dir, const char *name)
{
    char target[64]; /* longer ones are no sockets */
    struct join *j = ctx;
    int64_t fd, inode;
    ssize_t len = fd_target(dir, name, target, sizeof target);
    if (len <= 0)
        return (int)len;
    if (!inode_in((struct slice){ target, (size_t)len }, "socket:[", &inode) ||
        !number_of((struct slice){ name, strlen(name) }, 10, &fd))
        return 0;

    buf_add(&j->fds, &(struct open_fd){ (int)fd, inode }, sizeof(struct open_fd));
    buf_add(&j->sockets, &(struct found_socket){ .inode = inode }, sizeof(struct found_socket));
    return j->fds.failed || j->sockets.failed ? -ENOMEM : 0;
}

static int answer_sockets(struct question *q)
{
    struct join j = { 0 };
    int err = each_entry(q->dir, "fd", note_socket_fd, &j);
    if (!err)
        err = list_sockets(q, &j);
    buf_free(&j.fds);
    buf_free(&j.sockets);
    buf_free(&j.paths);
    return err;
}

/* --- namespaces ------------------------------------------------------------------------- */

/*   net -> net:[4026531840]
 *   pid_for_children -> pid:[4026531836] */
static int answer_one_ns(void *ctx, int dir, const char *name)
{
    struct question *q = ctx;
    char target[64];
    ssize_t len = procfs_link(dir, name, target, sizeof target);
    if (len < 0)
        return len == -ENOENT ? 0 : (int)len; /* a zombie has left most of them */

    struct slice inode = { target, (size_t)len };
    take_until(&inode, '[');
    put_str(&q->sheet, name);
    put_number(&q->sheet, take_until(&inode, ']'), 10);
    return 0;
}

static int answer_ns(struct question *q)
{
    return each_entry(q->dir, "ns", answer_one_ns, q);
}

/* --- maps and libraries ----------------------------------------------------------------- */

struct mapping {
    struct slice from, to, perms, offset, dev, inode, path; /* path: as the file has it */
    bool deleted;
};

/* False: no such line.
 *
 *   55d9006c9000-55d9006cf000 r-xp 00002000 fe:00 247498                     /usr/bin/head */
static bool parse_mapping(struct slice line, struct mapping *out)
{
    struct slice range = take_word(&line);
    *out = (struct mapping){ .from = take_until(&range, '-'), .to = range };
    out->perms = take_word(&line);
    out->offset = take_word(&line);
    out->dev = take_word(&line);
    out->inode = take_word(&line);
    while (line.len && line.at[0] == ' ')
        line = without_first(line, 1);
    out->path = line;
    out->deleted = cut_deleted(&out->path);
    return out->to.len && out->perms.len == 4 && out->inode.len;
}

/* Newline is the one character that maps escapes, as \012. */
static void put_map_path(struct question *q, struct slice path)
{
    buf_clear(&q->scratch);
    add_unescaped(&q->scratch, path, '\n');
    put_text_or_nil(&q->sheet, scratch_text(q));
    q->sheet.out->failed |= q->scratch.failed;
}

static int put_mapping(void *ctx, struct slice line)
{
    struct question *q = ctx;
    struct mapping map;
    if (!parse_mapping(line, &map))
        return 0;
    put_text(&q->sheet, map.from);
    put_text(&q->sheet, map.to);
    put_text(&q->sheet, map.perms);
    put_number(&q->sheet, map.offset, 16);
    put_text(&q->sheet, map.dev);
    put_number(&q->sheet, map.inode, 10);
    put_map_path(q, map.path);
    put_true_or_nil(&q->sheet, map.deleted);
    return 0;
}

static int answer_maps(struct question *q)
{
    return each_line(q->dir, "maps", '\n', put_mapping, q);
}

/* An executable mapping of a file; all offsets are into library_list.text. */
struct library {
    size_t at, dev_len, path_len; /* dev and path lie there one after the other */
    int64_t inode;
    bool deleted, again;
    size_t order;
};

struct library_list {
    struct buf rows; /* owned: struct library */
    struct buf text; /* owned */
};

static int note_library(void *ctx, struct slice line)
{
    struct library_list *list = ctx;
    struct mapping map;
    int64_t inode;
    if (!parse_mapping(line, &map) || map.perms.at[2] != 'x' || !starts_with(map.path, "/") ||
        !number_of(map.inode, 10, &inode) || !inode)
        return 0;

    struct library row = { .at = list->text.len,
                           .dev_len = map.dev.len,
                           .path_len = map.path.len,
                           .inode = inode,
                           .deleted = map.deleted,
                           .order = list->rows.len };
    buf_add(&list->text, map.dev.at, map.dev.len);
    buf_add(&list->text, map.path.at, map.path.len);
    buf_add(&list->rows, &row, sizeof row);
    return list->rows.failed || list->text.failed ? -ENOMEM : 0;
}

/* 0: the same file under the same name. */
static int compare_files(const struct library *a, const struct library *b, const char *text)
{
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    if (a->dev_len != b->dev_len)
        return a->dev_len < b->dev_len ? -1 : 1;
    if (a->path_len != b->path_len)
        return a->path_len < b->path_len ? -1 : 1;
    if (a->deleted != b->deleted)
        return a->deleted ? 1 : -1;
    return memcmp(text + a->at, text + b->at, a->dev_len + a->path_len);
}

/* Mappings of one file come together, the first one first. */
static int compare_libraries(const void *a, const void *b, void *text)
{
    const struct library *left = a, *right = b;
    int files = compare_files(left, right, text);
    return files ? files : (left->order > right->order) - (left->order < right->order);
}

static int compare_order(const void *a, const void *b)
{
    const struct library *left = a, *right = b;
    return (left->order > right->order) - (left->order < right->order);
}

static void put_libraries(struct question *q, struct library_list *list)
{
    struct library *rows = (void *)list->rows.data;
    size_t len = list->rows.len / sizeof *rows;
    if (!len)
        return;
    qsort_r(rows, len, sizeof *rows, compare_libraries, list->text.data);
    for (size_t i = 1; i < len; i++)
        rows[i].again = !compare_files(&rows[i - 1], &rows[i], list->text.data);
    qsort(rows, len, sizeof *rows, compare_order);

    for (size_t i = 0; i < len; i++) {
        if (rows[i].again)
            continue;
        put_map_path(
            q, (struct slice){ list->text.data + rows[i].at + rows[i].dev_len, rows[i].path_len });
        put_int(&q->sheet, rows[i].inode);
        put_true_or_nil(&q->sheet, rows[i].deleted);
    }
}

static int answer_libraries(struct question *q)
{
    struct library_list list = { 0 };
    int err = each_line(q->dir, "maps", '\n', note_library, &list);
    if (!err)
        put_libraries(q, &list);
    buf_free(&list.rows);
    buf_free(&list.text);
    return err;
}

/* --- environ, mounts, limits, cgroups --------------------------------------------------- */

/* A process may have written anything over its environment; empty strings are what is left where
 * it made the others shorter. */
static int put_variable(void *ctx, struct slice entry)
{
    struct question *q = ctx;
    if (!entry.len)
        return 0;
    bool has_value = memchr(entry.at, '=', entry.len);
    put_text(&q->sheet, take_until(&entry, '='));
    if (has_value)
        put_text(&q->sheet, entry);
    else
        put_nil(&q->sheet);
    return 0;
}

static int answer_environ(struct question *q)
{
    return each_line(q->dir, "environ", '\0', put_variable, q);
}

static void put_unescaped(struct question *q, struct slice text)
{
    buf_clear(&q->scratch);
    add_unescaped(&q->scratch, text, -1);
    put_text(&q->sheet, scratch_text(q));
    q->sheet.out->failed |= q->scratch.failed;
}

/* Exactly one blank between two words: a source may be empty. Optional words end with a "-".
 *
 *   36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue */
static int put_mount(void *ctx, struct slice line)
{
    struct question *q = ctx;
    struct slice id = take_until(&line, ' '), parent = take_until(&line, ' ');
    struct slice dev = take_until(&line, ' '), root = take_until(&line, ' ');
    struct slice path = take_until(&line, ' '), options = take_until(&line, ' ');
    struct slice word = nothing;
    while (line.len && !(word.len == 1 && word.at[0] == '-'))
        word = take_until(&line, ' ');
    struct slice type = take_until(&line, ' '), source = take_until(&line, ' ');
    if (!type.len)
        return 0;

    put_number(&q->sheet, id, 10);
    put_number(&q->sheet, parent, 10);
    put_text(&q->sheet, dev);
    put_unescaped(q, root);
    put_unescaped(q, path);
    put_unescaped(q, options);
    put_unescaped(q, type);
    put_unescaped(q, source);
    return 0;
}

static int answer_mounts(struct question *q)
{
    return each_line(q->dir, "mountinfo", '\n', put_mount, q);
}

/* "unlimited" is no number, so nil. The name is padded to 25 characters.
 *
 *   Limit                     Soft Limit           Hard Limit           Units
 *   Max open files            1024                 524288               files
 *   Max realtime priority     0                    0 */
static int put_limit(void *ctx, struct slice line)
{
    enum { NAME_WIDTH = 26 };
    struct question *q = ctx;
    if (line.len <= NAME_WIDTH || starts_with(line, "Limit "))
        return 0;
    struct slice name = { line.at, NAME_WIDTH };
    line = without_first(line, NAME_WIDTH);
    put_text(&q->sheet, trim(name));
    put_number(&q->sheet, take_word(&line), 10);
    put_number(&q->sheet, take_word(&line), 10);
    put_text_or_nil(&q->sheet, take_word(&line));
    return 0;
}

static int answer_limits(struct question *q)
{
    return each_line(q->dir, "limits", '\n', put_limit, q);
}

/*   4:memory:/user.slice
 *   0::/user.slice/user-1000.slice/session-2.scope */
static int put_cgroup(void *ctx, struct slice line)
{
    struct question *q = ctx;
    struct slice id = take_until(&line, ':'), controllers = take_until(&line, ':');
    if (!starts_with(line, "/"))
        return 0;
    put_number(&q->sheet, id, 10);
    put_text_or_nil(&q->sheet, controllers);
    put_text(&q->sheet, line);
    return 0;
}

static int answer_cgroups(struct question *q)
{
    return each_line(q->dir, "cgroup", '\n', put_cgroup, q);
}

/* --- hash ------------------------------------------------------------------------------- */

/* Some seconds of work: who asks does not wait for longer. */
#define HASH_MOST (INT64_C(512) << 20)

/* Hash what is left of a file. Its size, or -errno. */
static int64_t hash_file(int fd, char hex[SHA256_DIGEST_STRING_LENGTH])
{
    char bytes[64 * 1024];
    SHA256_CTX sha;
    int64_t size = 0;
    ssize_t got;

    SHA256_Init(&sha);
    while ((got = read(fd, bytes, sizeof bytes)) > 0) {
        SHA256_Update(&sha, (const uint8_t *)bytes, (size_t)got);
        size += got;
        if (size > HASH_MOST) /* also what grows meanwhile */
            return -EFBIG;
    }
    if (got < 0)
        return -errno;
    SHA256_End(&sha, hex);
    return size;
}

/* The link opens the very file that runs, also when it was removed or replaced since. */
static int answer_hash(struct question *q)
{
    char hex[SHA256_DIGEST_STRING_LENGTH];
    struct stat st;
    int fd = open_file(q->dir, "exe");
    if (fd < 0)
        return fd;

    int64_t size = -EINVAL;
    if (fstat(fd, &st) < 0)
        size = -errno;
    else if (S_ISREG(st.st_mode))
        size = st.st_size > HASH_MOST ? -EFBIG : hash_file(fd, hex);
    close(fd);
    if (size < 0)
        return (int)size;

    put_str(&q->sheet, hex);
    put_int(&q->sheet, size);
    return 0;
}

/* --- asking ----------------------------------------------------------------------------- */

static int (*const answers[TOPICS])(struct question *q) = {
    [TOPIC_STAT] = answer_stat,       [TOPIC_STATUS] = answer_status,
    [TOPIC_MEMORY] = answer_memory,   [TOPIC_IO] = answer_io,
    [TOPIC_FDS] = answer_fds,         [TOPIC_SOCKETS] = answer_sockets,
    [TOPIC_THREADS] = answer_threads, [TOPIC_NS] = answer_ns,
    [TOPIC_MAPS] = answer_maps,       [TOPIC_LIBRARIES] = answer_libraries,
    [TOPIC_ENVIRON] = answer_environ, [TOPIC_MOUNTS] = answer_mounts,
    [TOPIC_LIMITS] = answer_limits,   [TOPIC_CGROUPS] = answer_cgroups,
    [TOPIC_HASH] = answer_hash,
};

/* Is it still the process of this start (-1: any)? 0 and whether it is a zombie, or -errno. */
static int check_identity(int dir, int64_t starttime, bool *zombie)
{
    char text[4096];
    struct procfs_stat st;
    ssize_t len = procfs_read(dir, "stat", text, sizeof text);
    if (len < 0)
        return len == -ENOENT ? -ESRCH : (int)len;
    int bad = procfs_parse_stat(text, (size_t)len, &st);
    if (bad)
        return bad;
    *zombie = st.state == 'Z' || st.state == 'X';
    uint64_t wanted = (uint64_t)starttime;
    bool same = starttime < 0 || (st.starttime + 1 >= wanted && st.starttime <= wanted + 1);
    return same ? 0 : -ESRCH;
}

/* An answer of a process that exited meanwhile may be a part of the truth: it is gone, then. That
 * also explains errors like the EACCES for a link of a process that just went. */
static int answer_checked(struct question *q, int64_t starttime, enum topic topic)
{
    bool was_zombie, is_zombie;
    int err = check_identity(q->dir, starttime, &was_zombie);
    if (err)
        return err;

    int result = answers[topic](q);
    err = check_identity(q->dir, starttime, &is_zombie);
    if (err)
        return err;
    if (is_zombie && !was_zombie)
        return -ESRCH;
    return result == -EPERM ? -EACCES : result;
}

int answers_read(const struct procfs *fs, int pid, int64_t starttime, enum topic topic,
                 struct buf *out)
{
    size_t len_before = out->len;
    if ((unsigned)topic >= TOPICS)
        return -EINVAL;
    if (out->failed)
        return -ENOMEM;

    struct question q = { .sheet = { out, &topics[topic], 0 } };
    q.dir = procfs_pid_open(fs, pid);
    if (q.dir < 0)
        return q.dir == -ENOENT ? -ESRCH : q.dir;

    int err = answer_checked(&q, starttime, topic);
    if (!err && out->failed)
        err = -ENOMEM;
    assert(err || q.sheet.column == 0);
    if (err) {
        out->len = len_before;
        out->failed = false;
    }
    buf_free(&q.scratch);
    close(q.dir);
    return err;
}

/* --- reading an answer back ------------------------------------------------------------- */

bool answer_next(const char **at, const char *end, enum event_type type, struct answer_cell *out)
{
    uint32_t size;
    size_t left = (size_t)(end - *at);
    if (left < sizeof size)
        return false;
    memcpy(&size, *at, sizeof size);
    left -= sizeof size;

    *out = (struct answer_cell){ .nil = size == ANSWER_NIL };
    if (out->nil) {
        *at += sizeof size;
        return true;
    }
    if (size > left || (type < TYPE_TEXT && size != sizeof out->num))
        return false;
    out->bytes = *at + sizeof size;
    out->len = size;
    if (type < TYPE_TEXT)
        memcpy(&out->num, out->bytes, sizeof out->num);
    *at += sizeof size + size;
    return true;
}
