/* test_persist.c - what a script keeps is there after a reload, a new worker and a new program, is
 * nobody else's, and stays inside its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "embed/signals.h"
#include "embed/steward.h"
#include "embed/vault.h"
#include "host/host.h"
#include "sink/store.h"
#include "host_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char path[64], state_dir[80];
static struct procfs fs;
static struct vault *vault;
static struct steward *steward;
static int open_fds;

/* --- a program with one worker ----------------------------------------------------------------- */

static int request(void *ctx, enum request_kind kind, const void *bytes, size_t len,
                   struct buf *to, int *fds)
{
    (void)ctx;
    return steward ? steward_answer(steward, kind, bytes, len, to, fds) : -ENOTCONN;
}

static void start_worker(void)
{
    struct steward_means means = { .proc = &fs, .vault = vault };
    struct host_options options = {
        .world = { .request = request },
        .table_bytes = 1 << 20,
        .json = true,
        .fd = out,
    };
    assert_int_equal(steward_new(&steward, &means), 0);
    assert_int_equal(host_new(&host, &options), 0);
}

static void stop_worker(void)
{
    host_free(host);
    host = NULL;
    steward_free(steward, INT64_MAX / 2);
    steward = NULL;
}

static void restart_worker(void)
{
    stop_worker();
    start_worker();
}

static void restart_program(void)
{
    stop_worker();
    vault_free(vault);
    assert_int_equal(vault_new(&vault, state_dir), 0);
    start_worker();
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int begin(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    *logged = '\0';
    log_to(keep_log, NULL);
    open_fds = count_fds();
    strcpy(path, "/tmp/moonwatch-persist-XXXXXX");
    if (!mkdtemp(path) || procfs_open(&fs, "/proc"))
        return 1;
    snprintf(state_dir, sizeof state_dir, "%s/state", path);
    out = memfd_create("out", 0);
    if (vault_new(&vault, state_dir))
        return 1;
    start_worker();
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    if (host)
        stop_worker();
    vault_free(vault);
    vault = NULL;
    procfs_close(&fs);
    close(out);
    log_to(NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command) || count_fds() != open_fds;
}

static int try_script(uint32_t id, const char *name, bool shadow, const char *body)
{
    char text[4096];
    int len = snprintf(text, sizeof text,
                       "local mw = require 'moonwatch'\n"
                       "local p = mw.persist { name = 'store', max = MAX or '64k' }\n%s\n"
                       "return mw.script { name = 'of ' .. %u }",
                       body, id);
    struct host_source source = {
        .id = id, .generation = 1, .name = name, .text = text, .len = (size_t)len, .shadow = shadow
    };
    return host_replace(host, &source);
}

static void run(uint32_t id, const char *body)
{
    if (try_script(id, "@/etc/moonwatch/one.lua", false, body))
        fail_msg("%s", host_error(host));
}

static void expect(const char *body, const char *wanted)
{
    run(1, body);
    assert_string_equal(written(), wanted);
}

/* --- claims ------------------------------------------------------------------------------------ */

static void values_survive_reload_worker_and_program(void **state)
{
    (void)state;
    expect("print(p:get 'n', p:durable()) print(p:set('n', 1), p:set('t', { 'a', x = { true } }), "
           "p:set(7, 's'), p:set(true, 0.5))",
           "nil\ttrue\ntrue\ttrue\ttrue\ttrue\n");
    static const char look[] = "local t = p:get 't' print(p:get 'n', t[1], t.x[1], p:get(7), p:get(true), "
                               "select('#', p:get 'none'), (select(3, p:size())))";
    expect(look, "1\ta\ttrue\ts\t0.5\t1\t4\n");
    restart_worker();
    expect(look, "1\ta\ttrue\ts\t0.5\t1\t4\n");
    restart_program();
    expect(look, "1\ta\ttrue\ts\t0.5\t1\t4\n");
    assert_string_equal(logged, "");
    expect("p:set('n', nil) p:set(7, nil) p:set('never', nil) p:set(true, 'x')", "");
    restart_program();
    expect("local all = {} for k, v in p:each() do all[k] = type(v) end "
           "print(all.t, all[true], (select(3, p:size())))",
           "table\tstring\t2\n");
}

static void the_file_is_the_owners_alone(void **state)
{
    struct stat about;
    char file[160];
    (void)state;
    run(1, "p:set(1, 1)");
    snprintf(file, sizeof file, "%s/stores/one.store.store", state_dir);
    assert_int_equal(stat(file, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_int_equal(stat(state_dir, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0700);
}

/* --- the disk: in front of libc's ---------------------------------------------------------------- */

static int synced;
static atomic_int files_synced;
static ino_t inodes[64];
static atomic_bool busy; /* whatever is synced is written again at once, and time runs fast */

static void note(int fd)
{
    struct stat about;
    int i = 0;
    fstat(fd, &about);
    while (i < files_synced && inodes[i] != about.st_ino)
        i++;
    inodes[i] = about.st_ino;
    if (i == files_synced)
        files_synced++;
}

int fdatasync(int fd)
{
    synced++;
    if (busy) {
        note(fd);
        assert_int_equal(write(fd, "x", 1), 1);
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct timespec soon = *until;
    if (busy) {
        clock_gettime(CLOCK_MONOTONIC, &soon);
        soon.tv_sec += soon.tv_nsec >= 999000000;
        soon.tv_nsec = (soon.tv_nsec + 1000000) % 1000000000;
    }
    return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &soon);
}

/* --- claims, continued ------------------------------------------------------------------------------ */

static void what_is_written_all_the_time_keeps_nobody_from_the_disk(void **state)
{
    (void)state;
    files_synced = 0;
    run(1, "for i = 1, 20 do mw.persist { name = 'n' .. i }:set(1, 1) end p:set(1, 1)");
    busy = true;
    vault_forget(vault, state, 1); /* nothing, but it wakes who waits for five seconds */
    for (int ms = 0; files_synced < 21 && ms < 5000; ms++)
        usleep(1000);
    int all = files_synced;
    busy = false;
    assert_int_equal(all, 21);
}

static void at_the_end_it_is_on_the_disk(void **state)
{
    (void)state;
    run(1, "p:set(1, 1) mw.persist { name = 'other' }");
    int before = synced;
    restart_worker(); /* not the end */
    assert_int_equal(synced, before);
    restart_program();
    assert_int_equal(synced, before + 2);
}

static void what_get_gives_is_a_copy(void **state)
{
    (void)state;
    expect("local t = { n = 1 } p:set('t', t) t.n = 2 print(p:get('t').n) "
           "local u = p:get 't' u.n = 3 print(p:get('t').n) p:set('t', u) print(p:get('t').n)",
           "1\n1\n3\n");
}

static void a_value_that_is_there_already_is_not_written(void **state)
{
    struct stat before, after;
    char file[160];
    (void)state;
    run(1, "p:set('a', { x = 1, y = 2 })");
    snprintf(file, sizeof file, "%s/stores/one.store.store", state_dir);
    stat(file, &before);
    run(1, "for i = 1, 100 do p:set('a', { y = 2, x = 1 }) p:set('none', nil) end");
    stat(file, &after);
    assert_int_equal(before.st_size, after.st_size);
    run(1, "p:set('a', { y = 2, x = 3 })");
    stat(file, &after);
    assert_true(after.st_size > before.st_size);
}

static void a_loop_over_all_may_change_them(void **state)
{
    (void)state;
    expect("for i = 1, 100 do p:set(i, i) end local n, sum = 0, 0 "
           "for k, v in p:each() do n = n + 1 sum = sum + v p:set(k, nil) p:set('x' .. k, 1) "
           "p:set(101 - k, nil) end print(n, sum >= 50 * 51 / 2, (select(3, p:size())))",
           "50\ttrue\t50\n");
}

static void scripts_do_not_reach_each_other(void **state)
{
    (void)state;
    run(1, "p:set('mine', 1)");
    assert_int_equal(try_script(2, "@/etc/moonwatch/two.lua", false,
                                "print(p:get 'mine') p:set('mine', 2)"), 0);
    expect("print(p:get 'mine')", "nil\n1\n");
    assert_int_equal(try_script(3, "@/elsewhere/one.lua", false, ""), -EINVAL);
    assert_non_null(strstr(host_error(host),
                           "mw.persist 'store': another script that is named 'one' has it open"));
    expect("print(mw.persist { name = 'another' }:get 'mine', mw.persist { name = 'store' }:get 'mine')",
           "nil\t1\n");
}

static void a_store_is_held_by_one_watch(void **state)
{
    struct vault *other;
    struct buf why = { 0 };
    struct vault_holder holder = { .worker = &other, .script = 1, .name = "one" };
    (void)state;
    run(1, "p:set('n', 1)");
    assert_int_equal(vault_new(&other, state_dir), 0);
    assert_int_equal(vault_open(other, &holder, "store", &why), -EBUSY);
    assert_string_equal(buf_str(&why), "one.store.store: another watch has it open");
    stop_worker();
    assert_int_equal(vault_open(other, &holder, "store", &why), -EBUSY); /* ours goes on */
    vault_free(vault);
    assert_int_equal(vault_new(&vault, state_dir), 0);
    int fd = vault_open(other, &holder, "store", &why);
    assert_true(fd >= 0);
    start_worker();
    assert_int_equal(try_script(1, "@/etc/moonwatch/one.lua", false, ""), -EINVAL);
    assert_non_null(strstr(host_error(host), "another watch has it open; another --state-dir"));
    close(fd);
    vault_free(other);
    expect("print(p:get 'n')", "1\n");
    buf_free(&why);
}

static void a_worker_takes_over_from_one_that_is_gone(void **state)
{
    struct buf why = { 0 };
    struct vault_holder old = { .worker = &old, .script = 1, .name = "one" };
    struct vault_holder new = { .worker = &new, .script = 1, .name = "one" };
    (void)state;
    int fd = vault_open(vault, &old, "store", &why);
    assert_true(fd >= 0);
    struct store s = { .fd = fd, .most = STORE_LEAST };
    assert_int_equal(store_put(&s, "\x03\x02", 2, "\x03\x0e", 2, 0), 0); /* [1] = 7 */
    assert_int_equal(write(fd, "half a rec", 10), 10); /* and is killed */
    assert_int_equal(vault_compact(vault, &new, "store", &why), -ENOENT);
    new.script = 2;
    assert_int_equal(vault_open(vault, &new, "store", &why), -EBUSY);
    new.script = 1;
    int mine = vault_open(vault, &new, "store", &why);
    assert_true(mine >= 0);
    assert_int_equal(vault_compact(vault, &old, "store", &why), -ENOENT);
    vault_release(vault, &old); /* late, and no matter */
    close(mine);
    mine = vault_compact(vault, &new, "store", &why);
    assert_true(mine >= 0);
    vault_release(vault, &new);
    assert_int_equal(vault_compact(vault, &new, "store", &why), -ENOENT);
    close(mine);
    close(fd);
    expect("print(p:get(1))", "7\n");
    assert_non_null(strstr(logged, "store 'store' of script 'one': its last 10 bytes were no whole "
                                   "record and are cut"));
    buf_free(&why);
}

static int open_numbered(const struct vault_holder *holder, int number, struct buf *why)
{
    char name[16];
    snprintf(name, sizeof name, "n%d", number);
    int fd = vault_open(vault, holder, name, why);
    if (fd >= 0)
        close(fd);
    return fd < 0 ? fd : 0;
}

static void a_script_has_only_so_many_stores(void **state)
{
    struct buf why = { 0 };
    struct vault_holder one = { .worker = &one, .script = 1, .name = "one" };
    struct vault_holder two = { .worker = &two, .script = 2, .name = "two" };
    (void)state;
    for (int i = 0; i < VAULT_SCRIPT_MOST; i++)
        assert_int_equal(open_numbered(&one, i, &why), 0);
    int before = count_fds();
    for (int i = 100; i < 200; i++)
        assert_int_equal(open_numbered(&one, i, &why), -EMFILE);
    assert_int_equal(count_fds(), before);
    assert_non_null(strstr(buf_str(&why), "the script has 32 stores open, and no script may have more"));
    assert_int_equal(open_numbered(&one, 0, &why), 0);   /* that it has */
    assert_int_equal(open_numbered(&two, 100, &why), 0); /* another's bound */
    buf_free(&why);
}

static void all_scripts_have_only_so_many_stores(void **state)
{
    struct rlimit had, few;
    struct buf why = { 0 };
    struct vault_holder holder = { .worker = &holder, .name = "one" };
    (void)state;
    stop_worker();
    vault_free(vault);
    getrlimit(RLIMIT_NOFILE, &had);
    few = (struct rlimit){ 150, had.rlim_max };
    setrlimit(RLIMIT_NOFILE, &few);
    assert_int_equal(vault_new(&vault, state_dir), 0);
    setrlimit(RLIMIT_NOFILE, &had);
    int opened = 0;
    while (open_numbered(&holder, opened % VAULT_SCRIPT_MOST, &why) == 0 && opened < 500)
        if (++opened % VAULT_SCRIPT_MOST == 0) {
            holder.script++;
            holder.name = holder.script == 1 ? "two" : holder.script == 2 ? "three" : "four";
        }
    assert_int_equal(opened, 75);
    assert_non_null(strstr(buf_str(&why), "75 stores are open, and there may not be more in all"));
    buf_free(&why);
    start_worker();
}

static void what_a_script_held_is_closed_when_it_is_unloaded(void **state)
{
    (void)state;
    int before = count_fds();
    run(1, "for i = 1, 9 do mw.persist { name = 'n' .. i } end p:set(1, 7)");
    assert_int_equal(count_fds(), before + 2 * 10 + 1); /* and the directory */
    host_unload(host, 1);
    assert_int_equal(count_fds(), before + 10 + 1);
    vault_forget(vault, &before, 1); /* another worker's */
    vault_forget(vault, steward, 2);
    steward_forget(steward, 1);
    while (count_fds() > before + 1)
        usleep(1000);
    expect("print(p:get(1), p:durable())", "7\ttrue\n");
    host_unload(host, 1);
    steward_forget(steward, 1);
    run(1, "p:set(1, 8)"); /* at once: whatever of it is closed already */
    restart_worker();
    expect("print(p:get(1), p:durable())", "8\ttrue\n");
}

static void a_bound_is_told_and_kept(void **state)
{
    (void)state;
    expect("print(p:set('k', ('x'):rep(70000)))\n"
           "local n = 0 while p:set(n, ('x'):rep(1000)) do n = n + 1 end print(n)\n"
           "print(p:set('more', ('x'):rep(1000)))\n"
           "local used, most = p:size() print(used <= most, most)\n"
           "print(p:get(n - 1) == ('x'):rep(1000), p:get(n), p:get 'more', p:get 'k')\n"
           "print(p:set(0, 'short')) print(p:set('more', ('y'):rep(900)))",
           "nil\tfull: 0 of 65536 bytes are taken, and this takes 65537\n64\n"
           "nil\tfull: 65088 of 65536 bytes are taken, and this takes 1021\n"
           "true\t65536\ntrue\tnil\tnil\tnil\ntrue\ntrue\n");
    restart_program();
    expect("print(p:get(0), #p:get 'more', (select(3, p:size())))", "short\t900\t65\n");
}

static void a_file_is_compacted_while_it_is_written(void **state)
{
    struct stat about;
    char file[160];
    (void)state;
    snprintf(file, sizeof file, "%s/stores/one.store.store", state_dir);
    for (int round = 0; round < 5; round++) {
        run(1, "for i = 1, 4000 do assert(p:set(i % 50, { i, ('x'):rep(i % 100) })) end");
        assert_int_equal(stat(file, &about), 0);
        assert_true(about.st_size < 2 * 65536 + (off_t)STORE_SLACK + 500);
    }
    static const char look[] = "local sum, n = 0, 0 for k, v in p:each() do n = n + 1 sum = sum + v[1] + #v[2] end "
                               "print(n, sum)";
    expect(look, "50\t202450\n");
    restart_program();
    expect(look, "50\t202450\n");
    assert_string_equal(logged, "");
}

static void a_full_disk_is_told_and_mended(void **state)
{
    struct rlimit limit, old;
    struct stat about;
    char file[160];
    (void)state;
    snprintf(file, sizeof file, "%s/stores/one.store.store", state_dir);
    run(1, "p:set('a', 1)");
    stat(file, &about);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)about.st_size + 10;
    setrlimit(RLIMIT_FSIZE, &limit);
    int result = try_script(1, "@/etc/moonwatch/one.lua", false,
                            "print((select(2, p:set('a', 2)))) print((select(2, p:set('b', 3)))) "
                            "print(p:get 'a', p:get 'b')");
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(result, 0);
    expect("print(p:set('a', 4), p:get 'a')",
           "cannot write: No space left on device\ncannot write: No space left on device\n1\tnil\ntrue\t4\n");
    restart_program();
    expect("print(p:get 'a', p:get 'b')", "4\tnil\n");
}

static void a_shadow_sees_a_copy_and_changes_nothing(void **state)
{
    (void)state;
    run(1, "p:set('n', 1) p:set('m', { 2 })");
    assert_int_equal(try_script(1, "@/etc/moonwatch/one.lua", true,
                                "assert(p:get 'n' == 1 and p:get('m')[1] == 2) "
                                "assert(select(2, p:durable()) == 'a shadow run keeps nothing') "
                                "assert(p:set('n', 9) and p:get 'n' == 9 and select(3, p:size()) == 2)"), 0);
    expect("print(p:get 'n', p:durable())", "1\ttrue\n");
    restart_program();
    expect("print(p:get 'n')", "1\n");
}

static void without_a_privileged_side_it_says_so(void **state)
{
    (void)state;
    steward_free(steward, INT64_MAX / 2);
    steward = NULL;
    expect("print(p:durable()) print(p:set('n', 1), p:get 'n')", "false\tnothing is kept here\ntrue\t1\n");
    expect("print(p:get 'n')", "1\n");
}

static void a_directory_that_cannot_be_is_told(void **state)
{
    struct stat about;
    (void)state;
    stop_worker();
    vault_free(vault);
    int file = open(state_dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(file);
    assert_int_equal(vault_new(&vault, state_dir), 0);
    start_worker();
    run(1, "print(p:durable()) print(p:set('n', 1), p:get 'n')");
    const char *said = written();
    assert_non_null(strstr(said, "false\tcannot open "));
    assert_non_null(strstr(said, "Not a directory\ntrue\t1\n"));
    assert_non_null(strstr(logged, "store 'store' of script 'one': cannot open "));

    unlink(state_dir);
    assert_int_equal(mkdir(state_dir, 0777), 0);
    assert_int_equal(chmod(state_dir, 0777), 0);
    restart_worker();
    run(1, "print(p:durable())");
    assert_non_null(strstr(written(), "others may write to it"));
    char stores[96];
    snprintf(stores, sizeof stores, "%s/stores", state_dir);
    assert_int_equal(stat(stores, &about), -1);
}

static void mistakes_are_errors_that_say_what(void **state)
{
    static const struct {
        const char *body, *text;
    } bad[] = {
        { "p:set(nil, 1)", "a key is a string, a number or a boolean" },
        { "p:set({}, 1)", "a key is a string, a number or a boolean" },
        { "p:set(0/0, 1)", "a key is a string, a number or a boolean" },
        { "p:set('k', print)", "a function cannot be kept" },
        { "p:set('k', setmetatable({}, {}))", "a table with a metatable" },
        { "local t = {} t.t = t p:set('k', t)", "have no cycles" },
        { "p.set('k', 1)", "call it as p:get(key)" },
        { "p.get({}, 1)", "call it as p:get(key)" },
        { "mw.persist {}", "`name` is a string of 1 to 63 bytes" },
        { "mw.persist { name = ('x'):rep(64) }", "`name` is a string of 1 to 63 bytes" },
        { "mw.persist { name = 'a\\0b' }", "`name` is a string of 1 to 63 bytes" },
        { "mw.persist { name = 'a', size = 1 }", "there is no option 'size'" },
        { "mw.persist { name = 'a', max = '1' }", "`max` is a size from 4k to 16M" },
        { "mw.persist { name = 'a', max = '1G' }", "`max` is a size from 4k to 16M" },
        { "mw.persist { name = 'a', max = 0/0 }", "`max` is a size from 4k to 16M" },
        { "mw.persist { name = 'a', max = {} }", "`max` is a size from 4k to 16M" },
        { "mw.persist 'a'", "table expected" },
        { "setmetatable(p, {})", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!try_script(1, "@/etc/moonwatch/one.lua", false, bad[i].body))
            fail_msg("%s is no error", bad[i].body);
        if (!strstr(host_error(host), bad[i].text))
            fail_msg("%s: '%s' is not in '%s'", bad[i].body, bad[i].text, host_error(host));
    }
    expect("print(getmetatable(p), p:get(nil), p:get {}, p:get(0/0), p:get(-0))", "false\tnil\tnil\tnil\tnil\n");
    expect("p:set(-0, 'zero') print(p:get(0), (select(3, p:size())))", "zero\t1\n");
}

static void any_name_has_a_store(void **state)
{
    (void)state;
    assert_int_equal(try_script(1, "@../../etc/x y/\xff\n.lua", false,
                                "for _, n in ipairs { '.', '..', '/', '../../x', '\\255', ' ' } do "
                                "assert(mw.persist { name = n }:set('n', n)) end"), 0);
    restart_program();
    assert_int_equal(try_script(1, "@../../etc/x y/\xff\n.lua", false,
                                "for _, n in ipairs { '.', '..', '/', '../../x', '\\255', ' ' } do "
                                "assert(mw.persist { name = n }:get 'n' == n) end"), 0);
    assert_string_equal(logged, "");
}

/* --- what a worker may say --------------------------------------------------------------------- */

static struct request_link asking; /* we ask here; at the other end is the steward's thread */

static int ask(const void *bytes, size_t len, int *fds)
{
    struct buf answer = { 0 };
    int result = request_ask(&asking, REQUEST_STORE_OPEN, bytes, len, &answer, fds);
    buf_free(&answer);
    return result;
}

static void a_worker_that_lies_gets_what_is_its_own(void **state)
{
    struct steward_means means = { .proc = &fs, .vault = vault };
    struct stat about;
    int fds[REQUEST_FDS], ends[2];
    char file[160];
    (void)state;
    stop_worker();
    assert_int_equal(steward_new(&steward, &means), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    asking = (struct request_link){ .fd = ends[0] };
    assert_int_equal(steward_script(steward, 1, "@/etc/moonwatch/zero.lua"), 0);
    assert_int_equal(steward_script(steward, 1, "@/etc/moonwatch/one.lua"), 0);
    assert_int_equal(steward_start(steward, ends[1]), 0);
    assert_int_equal(ask("\1\0\0\0other\0name", 15, fds), 1); /* it is one, whatever it says */
    close(fds[0]);
    snprintf(file, sizeof file, "%s/stores/one.name.store", state_dir);
    assert_int_equal(stat(file, &about), 0);
    assert_int_equal(ask("\2\0\0\0one\0name", 13, fds), -EPERM);
    for (size_t len = 0; len < 13; len++) /* cut off */
        assert_int_equal(ask("\1\0\0\0one\0name", len, fds), -EINVAL);
    assert_int_equal(ask("\1\0\0\0one\0name\0more", 18, fds), -EINVAL);
    assert_int_equal(ask("\1\0\0\0one\0name\0", 14, fds), -EINVAL);

    struct request_signal q = { .pid = 1, .starttime = 1, .signal = 15, .script = 1 };
    struct buf answer = { 0 };
    for (size_t len = 0; len <= sizeof q; len++)
        assert_int_equal(request_ask(&asking, REQUEST_SIGNAL, &q, len, &answer, fds), -EINVAL);
    buf_free(&answer);
    steward_free(steward, INT64_MAX / 2);
    close(asking.fd);
    start_worker();
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CLAIM(values_survive_reload_worker_and_program),
        CLAIM(the_file_is_the_owners_alone),
        CLAIM(at_the_end_it_is_on_the_disk),
        CLAIM(what_is_written_all_the_time_keeps_nobody_from_the_disk),
        CLAIM(what_get_gives_is_a_copy),
        CLAIM(a_value_that_is_there_already_is_not_written),
        CLAIM(a_loop_over_all_may_change_them),
        CLAIM(scripts_do_not_reach_each_other),
        CLAIM(a_store_is_held_by_one_watch),
        CLAIM(a_worker_takes_over_from_one_that_is_gone),
        CLAIM(a_script_has_only_so_many_stores),
        CLAIM(all_scripts_have_only_so_many_stores),
        CLAIM(what_a_script_held_is_closed_when_it_is_unloaded),
        CLAIM(a_bound_is_told_and_kept),
        CLAIM(a_file_is_compacted_while_it_is_written),
        CLAIM(a_full_disk_is_told_and_mended),
        CLAIM(a_shadow_sees_a_copy_and_changes_nothing),
        CLAIM(without_a_privileged_side_it_says_so),
        CLAIM(a_directory_that_cannot_be_is_told),
        CLAIM(mistakes_are_errors_that_say_what),
        CLAIM(any_name_has_a_store),
        CLAIM(a_worker_that_lies_gets_what_is_its_own),
    };
    return cmocka_run_group_tests_name("persist", tests, NULL, NULL);
}
