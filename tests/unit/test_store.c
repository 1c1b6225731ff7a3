/* test_store.c - what was put is there after any kill and any cut, the bound holds, and nobody shares
 * a file. */
#include "sink/store.h"

#include "base/crc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KEYS 64

static char path[64];
static int dir = -1;
static struct store store = { .fd = -1 };
static struct buf why, bytes;

/* What a store with keys "0".."63" should hold; "" is none. */
static char wanted[KEYS][64], found[KEYS][64];

/* In front of libc's: what happens before a file is locked. */
static void (*before_flock)(void);

int flock(int fd, int operation)
{
    struct stat about;
    if (before_flock && fstat(fd, &about) == 0 && S_ISREG(about.st_mode)) {
        void (*call)(void) = before_flock;
        before_flock = NULL;
        call();
    }
    return (int)syscall(SYS_flock, fd, operation);
}

static int begin(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    strcpy(path, "/tmp/moonwatch-store-XXXXXX");
    if (!mkdtemp(path))
        return 1;
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(wanted, 0, sizeof wanted);
    return dir < 0;
}

static void close_store(void)
{
    if (store.fd >= 0)
        close(store.fd);
    store.fd = -1;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    close_store();
    close(dir);
    buf_free(&why);
    buf_free(&bytes);
    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command);
}

/* The live records into `found`; returns what they take. */
static size_t load(int fd)
{
    struct store_record r;
    size_t live = 0;
    memset(found, 0, sizeof found);
    buf_clear(&bytes);
    assert_int_equal(store_read(fd, &bytes), 0);
    const char *at = store_begin(bytes.data, bytes.len), *stop = bytes.data + bytes.len;
    assert_non_null(at);
    while (store_next(&at, stop, &r)) {
        char key[16];
        snprintf(key, sizeof key, "%.*s", (int)r.key_len, r.key);
        char *to = found[atoi(key)];
        live -= *to ? store_cost(r.key_len, strlen(to)) : 0;
        live += r.value ? store_cost(r.key_len, r.value_len) : 0;
        snprintf(to, sizeof *found, "%.*s", r.value ? (int)r.value_len : 0, r.value ? r.value : "");
    }
    return live;
}

/* Open "script"'s store "name"; returns how many bytes were cut. */
static size_t open_store(size_t most)
{
    size_t cut;
    buf_clear(&why);
    int fd = store_open(dir, "script", "name", &cut, &why);
    if (fd < 0)
        fail_msg("%s", buf_str(&why));
    store = (struct store){ .fd = fd, .most = most };
    store.live = load(fd);
    store.file = bytes.len;
    return cut;
}

static int put(int key, const char *value)
{
    char name[16];
    int len = snprintf(name, sizeof name, "%d", key);
    size_t replaced = *wanted[key] ? store_cost((size_t)len, strlen(wanted[key])) : 0;
    int result = store_put(&store, name, (size_t)len, value, value ? strlen(value) : 0, replaced);
    if (result == 0)
        snprintf(wanted[key], sizeof *wanted, "%s", value ? value : "");
    return result;
}

static void compact(void)
{
    size_t cut;
    int fd = store_compact(dir, "script", "name", store.fd, &cut, &why);
    if (fd < 0)
        fail_msg("%s", buf_str(&why));
    if (fd != store.fd)
        close(store.fd);
    store.fd = fd;
    struct stat about;
    fstat(fd, &about);
    store.file = (size_t)about.st_size;
    store.torn = false;
}

static void put_or_compact(int key, const char *value)
{
    if (store_wants_compaction(&store))
        compact();
    assert_int_equal(put(key, value), 0);
}

static void expect_wanted(void)
{
    assert_int_equal(load(store.fd), store.live);
    for (int key = 0; key < KEYS; key++)
        assert_string_equal(found[key], wanted[key]);
}

static size_t size_of_file(void)
{
    struct stat about;
    assert_int_equal(fstat(store.fd, &about), 0);
    return (size_t)about.st_size;
}

/* --- claims ---------------------------------------------------------------------------------- */

static void the_checksum_is_the_known_one(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720's polynomial */
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void what_was_put_is_there_when_it_is_opened_again(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    assert_int_equal(put(1, "one"), 0);
    assert_int_equal(put(2, "two"), 0);
    assert_int_equal(put(1, "another"), 0);
    assert_int_equal(put(2, NULL), 0);
    assert_int_equal(put(3, "three"), 0);
    expect_wanted();
    close_store();
    assert_int_equal(open_store(STORE_LEAST), 0);
    expect_wanted();
    assert_string_equal(found[1], "another");
    assert_string_equal(found[2], "");
}

/* At each instruction that a SIGKILL may come in between, what put() returned for is there. */
static void a_kill_loses_nothing_that_was_put(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        open_store(1 << 20);
        pid_t pid = fork();
        if (pid == 0) {
            char value[32];
            for (int i = 0;; i++) {
                snprintf(value, sizeof value, "%d", i);
                int key = i % KEYS;
                if (put(key, value) || write(told[1], &i, sizeof i) != sizeof i)
                    _exit(1);
            }
        }
        close(told[1]);
        int last = -1, i;
        for (int n = 0; n < 1 + round * 7 && read(told[0], &i, sizeof i) == sizeof i; n++)
            last = i;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(told[0], &i, sizeof i) == sizeof i)
            last = i;
        close(told[0]);
        close_store();

        open_store(1 << 20);
        int newest = -1;
        for (int key = 0; key < KEYS; key++)
            newest = *found[key] && atoi(found[key]) > newest ? atoi(found[key]) : newest;
        assert_true(last >= 0);
        assert_true(newest == last || newest == last + 1); /* one may be put and not told of */
        close_store();
        assert_int_equal(unlinkat(dir, "script.name.store", 0), 0);
    }
}

static void a_torn_end_is_cut_wherever_it_is_torn(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    size_t header = size_of_file();
    assert_int_equal(put(1, "one"), 0);
    size_t first = size_of_file();
    assert_int_equal(put(2, "twotwo"), 0);
    size_t second = size_of_file();
    assert_int_equal(put(1, NULL), 0);
    size_t third = size_of_file();
    buf_clear(&bytes);
    store_read(store.fd, &bytes);
    struct buf whole = { 0 };
    buf_add(&whole, bytes.data, bytes.len);

    for (size_t len = header; len <= third; len++) {
        assert_int_equal(ftruncate(store.fd, 0), 0);
        assert_int_equal(write(store.fd, whole.data, len), len);
        close_store();
        size_t left = len < first ? header : len < second ? first : len < third ? second : third;
        assert_int_equal(open_store(STORE_LEAST), len - left);
        assert_int_equal(size_of_file(), left);
        assert_string_equal(found[1], len >= first && len < third ? "one" : "");
        assert_string_equal(found[2], len >= second ? "twotwo" : "");

        memset(wanted, 0, sizeof wanted); /* and what is put from now on can be read */
        snprintf(wanted[1], sizeof *wanted, "%s", found[1]);
        snprintf(wanted[2], sizeof *wanted, "%s", found[2]);
        assert_int_equal(put(3, "three"), 0);
        close_store();
        assert_int_equal(open_store(STORE_LEAST), 0);
        expect_wanted();
    }
    buf_free(&whole);
}

static void no_bit_of_a_record_can_flip(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    size_t first = size_of_file();
    assert_int_equal(put(1, "one"), 0);
    size_t last = size_of_file();
    buf_clear(&bytes);
    store_read(store.fd, &bytes);
    for (size_t bit = first * 8; bit < last * 8; bit++) {
        struct store_record r;
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        const char *at = store_begin(bytes.data, bytes.len);
        assert_false(store_next(&at, bytes.data + bytes.len, &r));
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < first * 8; bit++) {
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_null(store_begin(bytes.data, bytes.len));
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t len = 0; len < first; len++)
        assert_null(store_begin(bytes.data, len));
}

static void the_bound_counts_what_is_alive(void **state)
{
    char value[64];
    (void)state;
    open_store(STORE_LEAST);
    memset(value, 'x', sizeof value);
    value[sizeof value - 1] = '\0';
    int full = 0;
    for (int key = 0; key < KEYS; key++) {
        int result = put(key, value);
        assert_true(result == 0 || result == -EDQUOT);
        full += result != 0;
    }
    assert_true(full > 0);
    assert_true(store.live <= STORE_LEAST);
    assert_int_equal(put(0, value), 0); /* what takes no more room is fine */
    assert_int_equal(put(0, NULL), 0);
    assert_int_equal(put(1, NULL), 0);
    assert_int_equal(put(KEYS - 1, value), 0); /* there is room again */
    expect_wanted();
    assert_int_equal(store_put(&store, "k", SIZE_MAX, "v", 1, 0), -EDQUOT);
    assert_int_equal(store_put(&store, "k", 1, "v", SIZE_MAX, 0), -EDQUOT);
}

static void a_file_never_grows_beyond_twice_its_bound(void **state)
{
    char value[64];
    (void)state;
    open_store(STORE_LEAST);
    for (int i = 0; i < 20000; i++) {
        snprintf(value, sizeof value, "value %d", i);
        put_or_compact(i % 40, i % 7 ? value : NULL);
        assert_true(size_of_file() <= 2 * STORE_LEAST + STORE_SLACK + 200);
        assert_int_equal(size_of_file(), store.file);
    }
    expect_wanted();
    close_store();
    assert_int_equal(open_store(STORE_LEAST), 0);
    expect_wanted();
}

static void opening_compacts_what_is_mostly_dead(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(put(i % 3, "value"), 0);
    size_t before = size_of_file();
    close_store();
    open_store(STORE_LEAST);
    assert_true(before > STORE_SLACK && size_of_file() < 300);
    expect_wanted();
    assert_int_equal(faccessat(dir, "script.name.store.new", F_OK, 0), -1);
}

static void what_a_crash_left_of_a_compaction_is_no_matter(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    int fresh = openat(dir, "script.name.store.new", O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fresh, "half", 4), 4);
    close(fresh);
    for (int i = 0; i < 5000; i++)
        put_or_compact(i % 3, "value");
    expect_wanted();
    close_store();
    open_store(STORE_LEAST);
    expect_wanted();
}

/* A full disk in miniature: the file may not grow beyond a limit. */
static void a_full_disk_keeps_what_was_there(void **state)
{
    struct rlimit limit, old;
    (void)state;
    open_store(1 << 20);
    assert_int_equal(put(1, "one"), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    for (size_t room = 0; room < 40; room++) {
        limit = old;
        limit.rlim_cur = size_of_file() + room;
        setrlimit(RLIMIT_FSIZE, &limit);
        int result = put(2, "a value of some length");
        setrlimit(RLIMIT_FSIZE, &old);
        if (result == 0)
            break;
        assert_true(result == -EFBIG || result == -ENOSPC);
        assert_int_equal(store.torn, room > 0);
        if (store.torn)
            assert_int_equal(put(3, "x"), -EUCLEAN); /* it would be lost behind the torn end */
        assert_int_equal(store_wants_compaction(&store), store.torn);
        compact();
        expect_wanted();
        assert_int_equal(put(3, "x"), 0);
    }
    assert_string_equal(wanted[2], "a value of some length");
    expect_wanted();
}

static void a_compaction_without_room_leaves_the_old_file(void **state)
{
    struct rlimit limit, old;
    (void)state;
    open_store(1 << 20);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(put(i % KEYS, "value"), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 500;
    setrlimit(RLIMIT_FSIZE, &limit);
    buf_clear(&why);
    size_t cut;
    int result = store_compact(dir, "script", "name", store.fd, &cut, &why);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(result, -EFBIG);
    assert_non_null(strstr(buf_str(&why), "script.name.store: File too large"));
    assert_int_equal(faccessat(dir, "script.name.store.new", F_OK, 0), -1);
    expect_wanted();
    assert_int_equal(put(1, "still"), 0);
    compact();
    expect_wanted();
}

static void a_store_is_held_by_one(void **state)
{
    size_t cut;
    (void)state;
    open_store(STORE_LEAST);
    int other = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    buf_clear(&why);
    assert_int_equal(store_open(other, "script", "name", &cut, &why), -EBUSY);
    assert_string_equal(buf_str(&why), "script.name.store: another watch has it open");

    for (int i = 0; i < 5000; i++) /* also after a compaction */
        put_or_compact(1, "value");
    buf_clear(&why);
    assert_int_equal(store_open(other, "script", "name", &cut, &why), -EBUSY);
    int fd = store_open(other, "script", "another", &cut, &why);
    assert_true(fd >= 0);
    close(fd);
    close_store();
    fd = store_open(other, "script", "name", &cut, &why);
    assert_true(fd >= 0);
    close(fd);
    close(other);
}

/* Many open a store that nobody made yet: one gets it, and what it puts stays. */
static void one_of_many_makes_it(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        int won[2], go[2];
        assert_int_equal(pipe(won) || pipe(go), 0);
        for (int i = 0; i < 6; i++)
            if (fork() == 0) {
                size_t cut;
                char byte;
                close(go[1]);
                int mine = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (read(go[0], &byte, 1) != 0)
                    _exit(1);
                int fd = store_open(mine, "script", "name", &cut, &why);
                struct store s = { .fd = fd, .most = STORE_LEAST };
                if (fd >= 0 && (store_put(&s, "1", 1, "mine", 4, 0) || write(won[1], "x", 1) != 1))
                    _exit(1);
                close(won[1]);
                while (fd >= 0 && read(won[0], &byte, 1) == 1) /* until all are done */
                    ;
                _exit(0);
            }
        close(go[0]);
        close(go[1]);
        close(won[1]);
        close(won[0]);
        int status;
        while (wait(&status) > 0)
            assert_int_equal(status, 0);
        assert_int_equal(open_store(STORE_LEAST), 0);
        assert_string_equal(found[1], "mine");
        close_store();
        assert_int_equal(unlinkat(dir, "script.name.store", 0), 0);
    }
}

/* The file is compacted by who has it open, who then closes it, between our opening and our locking. */
static void replace_it(void)
{
    int to = openat(dir, "fresh", O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(to, bytes.data, bytes.len), bytes.len);
    close(to);
    assert_int_equal(renameat(dir, "fresh", dir, "script.name.store"), 0);
}

static void a_file_that_was_replaced_meanwhile_is_opened_anew(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    assert_int_equal(put(1, "one"), 0);
    close_store();
    buf_clear(&bytes);
    int fd = openat(dir, "script.name.store", O_RDONLY);
    assert_int_equal(store_read(fd, &bytes), 0);
    close(fd);

    before_flock = replace_it;
    open_store(STORE_LEAST);
    assert_null(before_flock);
    assert_int_equal(put(2, "two"), 0);
    close_store();
    open_store(STORE_LEAST);
    expect_wanted();
}

static void no_two_names_share_a_file(void **state)
{
    static const char *const names[] = {
        "a",    "b",      "a.b",     "b.c",    "",        ".",          "..",   "a/b",  "a_b", "a b",
        "A",    "\xff",   "a\nb",    "-",      "a~",      "a.b.store", "\xc3\xa9",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2",
    };
    enum { N = sizeof names / sizeof *names };
    static char files[N * N][STORE_FILE];
    (void)state;
    for (int i = 0; i < N * N; i++) {
        store_file_name(names[i / N], names[i % N], files[i]);
        assert_null(strchr(files[i], '/'));
        assert_true(*files[i] != '.');
        for (const char *c = files[i]; *c; c++)
            assert_true(*c > ' ' && *c < 0x7f);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(files[i], files[j]);
    }
    store_file_name("web-shell", "seen", files[0]);
    assert_string_equal(files[0], "web-shell.seen.store");
}

static void expect_refused(int error, const char *text)
{
    size_t cut;
    buf_clear(&why);
    assert_int_equal(store_open(dir, "script", "name", &cut, &why), error);
    if (!strstr(buf_str(&why), text))
        fail_msg("'%s' is not in '%s'", text, buf_str(&why));
}

static void what_is_no_store_of_ours_is_left_alone(void **state)
{
    (void)state;
    int fd = openat(dir, "script.name.store", O_WRONLY | O_CREAT, 0600);
    expect_refused(-EBADMSG, "is no store");
    assert_int_equal(write(fd, "precious text", 13), 13);
    expect_refused(-EBADMSG, "is no store");
    struct stat about;
    fstat(fd, &about);
    assert_int_equal(about.st_size, 13);
    close(fd);

    unlinkat(dir, "script.name.store", 0);
    symlinkat("elsewhere", dir, "script.name.store");
    expect_refused(-ELOOP, "symbolic links");
    unlinkat(dir, "script.name.store", 0);
    mkfifoat(dir, "script.name.store", 0600);
    expect_refused(-EINVAL, "Invalid");
    unlinkat(dir, "script.name.store", 0);
    mkdirat(dir, "script.name.store", 0700);
    expect_refused(-EISDIR, "directory");
    unlinkat(dir, "script.name.store", AT_REMOVEDIR);

    open_store(STORE_LEAST); /* a copy of another store's file */
    assert_int_equal(renameat(dir, "script.name.store", dir, "script.other.store"), 0);
    close_store();
    size_t cut;
    buf_clear(&why);
    assert_int_equal(store_open(dir, "script", "other", &cut, &why), -EBADMSG);
    assert_non_null(strstr(buf_str(&why), "another script's store"));
}

/* Who has the descriptor may be a hostile worker: whatever it wrote, opening ends soon. */
static void a_hostile_writer_costs_little(void **state)
{
    (void)state;
    open_store(STORE_LEAST);
    assert_int_equal(put(1, "one"), 0);
    assert_int_equal(ftruncate(store.fd, INT64_C(1) << 40), 0); /* sparse */
    close_store();
    assert_true(open_store(STORE_LEAST) > INT64_C(1) << 39);
    expect_wanted();

    struct buf flood = { 0 }; /* a million empty keys, all the same */
    uint32_t record[3] = { 0 };
    record[0] = crc32c(0, record + 1, 8);
    for (int i = 0; i < 1000000; i++)
        buf_add(&flood, record, sizeof record);
    assert_int_equal(write(store.fd, flood.data, flood.len), flood.len);
    buf_free(&flood);
    close_store();
    size_t cut;
    int fd = store_open(dir, "script", "name", &cut, &why);
    assert_true(fd >= 0);
    struct stat about;
    fstat(fd, &about);
    assert_true(about.st_size < 200);
    close(fd);
}

static void without_a_file_it_counts_all_the_same(void **state)
{
    (void)state;
    store = (struct store){ .fd = -1, .most = 99 };
    assert_int_equal(put(1, "0123456789"), 0);
    assert_int_equal(store.live, store_cost(1, 10));
    assert_int_equal(put(2, "0123456789012345678901234567890123456789012345678901234567890123"),
                     -EDQUOT);
    assert_false(store_wants_compaction(&store));
    assert_int_equal(put(1, NULL), 0);
    assert_int_equal(store.live, 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(the_checksum_is_the_known_one),
        CLAIM(what_was_put_is_there_when_it_is_opened_again),
        CLAIM(a_kill_loses_nothing_that_was_put),
        CLAIM(a_torn_end_is_cut_wherever_it_is_torn),
        CLAIM(no_bit_of_a_record_can_flip),
        CLAIM(the_bound_counts_what_is_alive),
        CLAIM(a_file_never_grows_beyond_twice_its_bound),
        CLAIM(opening_compacts_what_is_mostly_dead),
        CLAIM(what_a_crash_left_of_a_compaction_is_no_matter),
        CLAIM(a_full_disk_keeps_what_was_there),
        CLAIM(a_compaction_without_room_leaves_the_old_file),
        CLAIM(a_store_is_held_by_one),
        CLAIM(one_of_many_makes_it),
        CLAIM(a_file_that_was_replaced_meanwhile_is_opened_anew),
        CLAIM(no_two_names_share_a_file),
        CLAIM(what_is_no_store_of_ours_is_left_alone),
        CLAIM(a_hostile_writer_costs_little),
        CLAIM(without_a_file_it_counts_all_the_same),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
