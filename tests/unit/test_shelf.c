/* test_shelf.c - scripts are read, refused, watched through every way of saving, and told once.
 *
 * Real files in a directory of our own, and a real loop. That something is not told is shown by
 * what is told after it. */
#include "embed/shelf.h"

#include "base/log.h"
#include "moonwatch.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_S 20.0
#define STRANGER   12345

static char root[64]; /* the working directory of each test */
static struct shelf *shelf;
static struct ev_loop *loop;

static struct told {
    enum shelf_change change;
    char *path, *text, *why;
    int tag;
    uint64_t hash;
} told[4096];
static int told_len, told_seen;
static int warnings;
static char warning[8192];

static void on_told(void *ctx, enum shelf_change change, const struct shelf_script *script)
{
    assert_ptr_equal(ctx, &told);
    assert_true(told_len < 4096);
    told[told_len++] = (struct told){
        .change = change,
        .path = strdup(script->path),
        .text = script->text ? strndup(script->text, script->len) : NULL,
        .why = script->why ? strdup(script->why) : NULL,
        .tag = script->tag,
        .hash = script->hash,
    };
}

static void on_warning(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    warnings++;
    snprintf(warning, sizeof warning, "%s", text);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/moonwatch-shelf-XXXXXX");
    if (!mkdtemp(root) || chdir(root) < 0)
        return 1;
    umask(022);
    told_len = told_seen = warnings = 0;
    log_to(on_warning, NULL);
    loop = ev_loop_new(0);
    return shelf_new(&shelf, on_told, &told);
}

static int end(void **state)
{
    char command[256];
    (void)state;
    shelf_free(shelf);
    shelf = NULL;
    ev_loop_destroy(loop);
    for (int i = 0; i < told_len; i++) {
        free(told[i].path);
        free(told[i].text);
        free(told[i].why);
    }
    log_to(NULL, NULL);
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", root, root);
    return chdir("/") < 0 || system(command);
}

/* --- files --------------------------------------------------------------------------------- */

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void put_by_rename(const char *path, const char *text)
{
    char beside[PATH_MAX + 8];
    snprintf(beside, sizeof beside, "%s.tmp", path);
    put(beside, text);
    assert_int_equal(rename(beside, path), 0);
}

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

/* --- what was told ------------------------------------------------------------------------- */

static int add(const char *path)
{
    const char *why = "";
    int result = shelf_add(shelf, path, 7, &why);
    if (result < 0)
        print_message("# %s\n", why);
    return result;
}

static void assert_told(const struct told *t, enum shelf_change change, const char *path,
                        const char *text)
{
    assert_string_equal(t->path, path);
    assert_int_equal(t->change, change);
    if (text) {
        assert_string_equal(t->text, text);
        assert_true(t->hash == shelf_hash(text, strlen(text)));
    } else {
        assert_null(t->text);
    }
}

static void assert_next(enum shelf_change change, const char *path, const char *text)
{
    assert_true(told_seen < told_len);
    assert_told(&told[told_seen++], change, path, text);
}

static void assert_no_more(void)
{
    if (told_seen < told_len)
        print_message("# told too: %d %s\n", told[told_seen].change, told[told_seen].path);
    assert_int_equal(told_seen, told_len);
}

static void on_deadline(struct ev_loop *l, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(l, EVBREAK_ALL);
}

/* Let the loop run until it is told; nothing else may be told before. */
static void await(enum shelf_change change, const char *path, const char *text)
{
    ev_timer deadline;
    ev_now_update(loop);
    ev_timer_init(&deadline, on_deadline, DEADLINE_S, 0);
    ev_timer_start(loop, &deadline);
    while (told_seen == told_len && ev_is_active(&deadline))
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &deadline);
    if (told_seen == told_len)
        print_message("# not told: %d %s\n", change, path);
    assert_next(change, path, text);
}

/* Whatever the loop knows of is told before this. */
static void assert_quiet(const char *dir)
{
    static int number;
    char path[PATH_MAX], text[32];
    snprintf(path, sizeof path, "%s/zz-last.lua", dir);
    snprintf(text, sizeof text, "-- %d", ++number);
    bool there = access(path, F_OK) == 0;
    put_by_rename(path, text);
    await(there ? SHELF_CHANGED : SHELF_ADDED, path, text);
    assert_no_more();
}

static void watch(void)
{
    assert_int_equal(shelf_watch(shelf, loop), 0);
}

/* A watched directory with one script that was told. */
static void watch_one(void)
{
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/a.lua", "one");
    assert_int_equal(add("d"), 1);
    assert_next(SHELF_ADDED, "d/a.lua", "one");
    watch();
}

/* --- reading ------------------------------------------------------------------------------- */

static void a_directory_is_read_in_the_order_of_names(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/b.lua", "b");
    put("d/B.lua", "B");
    put("d/a-2.lua", "a-2");
    put("d/a.lua", "a");
    put("d/\303\244 \n.lua", "");
    put("lone", "any name will do when it is named");
    assert_int_equal(add("d/"), 5);
    assert_int_equal(add("lone"), 1);
    assert_next(SHELF_ADDED, "d/B.lua", "B");
    assert_next(SHELF_ADDED, "d/a-2.lua", "a-2");
    assert_next(SHELF_ADDED, "d/a.lua", "a");
    assert_next(SHELF_ADDED, "d/b.lua", "b");
    assert_next(SHELF_ADDED, "d/\303\244 \n.lua", "");
    assert_next(SHELF_ADDED, "lone", "any name will do when it is named");
    assert_no_more();
    assert_int_equal(told[0].tag, 7);
}

static void what_editors_leave_behind_is_no_script(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    static const char *const names[] = { "d/.a.lua", "d/a.lua~",    "d/#a.lua#", "d/4913",
                                         "d/.lua",   "d/a.lua.swp", "d/README" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(names[i], "no");
    assert_int_equal(symlink("user@host.1234:5678", "d/.#a.lua"), 0);
    assert_int_equal(add("d"), 0);
    assert_no_more();
}

static void an_empty_directory_is_no_failure(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(add("d"), 0);
    watch();
    put("d/a.lua", "one");
    await(SHELF_ADDED, "d/a.lua", "one");
}

static void assert_refused(const char *path, int error, const char *sentence)
{
    const char *why = NULL;
    assert_int_equal(shelf_add(shelf, path, 0, &why), error);
    assert_string_equal(why, sentence);
}

static void what_cannot_be_read_is_told_in_one_sentence(void **state)
{
    (void)state;
    assert_int_equal(symlink("nothing", "dangling"), 0);
    assert_int_equal(symlink("round", "round"), 0);
    put("file", "");
    assert_refused("missing.lua", -ENOENT, "cannot read missing.lua: No such file or directory");
    assert_refused("no/where", -ENOENT, "cannot read no/where: No such file or directory");
    assert_refused("", -ENOENT, "cannot read '': No such file or directory");
    assert_refused("dangling", -ENOENT, "cannot read dangling: it is a link that leads to nothing");
    assert_refused("round", -ELOOP, "cannot read round: Too many levels of symbolic links");
    assert_refused("file/x", -ENOTDIR, "cannot read file/x: Not a directory");
    assert_no_more();
    put("missing.lua", "is not on the shelf");
    assert_int_equal(shelf_check(shelf), 0);
}

static void a_script_is_4_mib_at_most(void **state)
{
    (void)state;
    put("large.lua", "x");
    assert_int_equal(truncate("large.lua", (off_t)SHELF_SCRIPT_MAX), 0);
    assert_int_equal(add("large.lua"), 1);
    assert_int_equal(truncate("large.lua", (off_t)SHELF_SCRIPT_MAX + 1), 0);
    assert_int_equal(shelf_check(shelf), 1);
    assert_int_equal(told[1].change, SHELF_REFUSED);
    assert_string_equal(told[1].why, "cannot read large.lua: it is larger than 4 MiB");
    assert_int_equal(shelf_check(shelf), 0);
    struct shelf *other;
    const char *why;
    assert_int_equal(shelf_new(&other, on_told, &told), 0);
    assert_int_equal(shelf_add(other, "large.lua", 0, &why), -EFBIG);
    shelf_free(other);
}

static void there_are_1000_scripts_at_most(void **state)
{
    (void)state;
    char path[32];
    assert_int_equal(mkdir("d", 0755), 0);
    for (int i = 0; i < SHELF_SCRIPTS_MAX + 3; i++) {
        snprintf(path, sizeof path, "d/%04d.lua", i);
        put(path, "");
    }
    assert_int_equal(add("d"), SHELF_SCRIPTS_MAX);
    assert_int_equal(told[0].change, SHELF_REFUSED);
    assert_string_equal(told[0].path, "d");
    assert_string_equal(told[0].why,
                        "d/1000.lua and what comes after it is not taken: there are more than 1000 "
                        "scripts");
    assert_int_equal(shelf_check(shelf), 0);
    assert_int_equal(unlink("d/0000.lua"), 0);
    assert_int_equal(shelf_check(shelf), 1); /* one goes */
    assert_told(&told[told_len - 1], SHELF_REMOVED, "d/0000.lua", NULL);
    assert_int_equal(shelf_check(shelf), 2); /* one comes, and the next one does not */
    assert_told(&told[told_len - 2], SHELF_REFUSED, "d", NULL);
    assert_told(&told[told_len - 1], SHELF_ADDED, "d/1000.lua", "");
}

static void a_pipe_is_read_to_its_end_once(void **state)
{
    int ends[2];
    char path[32];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    assert_int_equal(add(path), 1);
    close(ends[0]);
    assert_next(SHELF_ADDED, path, "piped");
    watch();
    assert_int_equal(shelf_check(shelf), 0);
    assert_no_more();
}

static void who_names_a_script_first_gives_its_tag(void **state)
{
    const char *why;
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/a.lua", "a");
    put("d/b.lua", "b");
    assert_int_equal(shelf_add(shelf, "./d//b.lua", 1, &why), 1);
    assert_int_equal(shelf_add(shelf, "d", 2, &why), 2);
    assert_int_equal(shelf_add(shelf, "d/a.lua", 3, &why), 1);
    assert_int_equal(told_len, 2);
    assert_int_equal(told[0].tag, 1);
    assert_int_equal(told[1].tag, 2);
    assert_int_equal(shelf_check(shelf), 0);
}

/* --- who could have written it ------------------------------------------------------------- */

static void what_others_may_write_is_refused(void **state)
{
    (void)state;
    put("a.lua", "a");
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/b b.lua", "b");
    assert_int_equal(chmod("a.lua", 0664), 0);
    assert_refused("a.lua", -EPERM,
                   "a.lua is not taken: others may write to it; mend: chmod go-w a.lua");
    assert_int_equal(chmod("a.lua", 0646), 0);
    assert_refused("a.lua", -EPERM,
                   "a.lua is not taken: others may write to it; mend: chmod go-w a.lua");
    assert_int_equal(chmod("d/b b.lua", 0666), 0);
    assert_int_equal(add("d"), 0);
    assert_int_equal(told[0].change, SHELF_REFUSED);
    assert_string_equal(
        told[0].why,
        "d/b b.lua is not taken: others may write to it; mend: chmod go-w 'd/b b.lua'");
    assert_int_equal(chmod("d/b b.lua", 0644), 0);
    assert_int_equal(shelf_check(shelf), 1);
    assert_told(&told[1], SHELF_ADDED, "d/b b.lua", "b");
}

static void a_directory_that_others_may_write_to_is_refused(void **state)
{
    char why[512];
    (void)state;
    assert_int_equal(mkdir("up", 0755), 0);
    assert_int_equal(mkdir("up/d", 0755), 0);
    put("up/d/a.lua", "a");
    assert_int_equal(chmod("up", 0775), 0);
    snprintf(why, sizeof why,
             "up/d/a.lua is not taken: others may write to its directory %s/up; mend: chmod go-w "
             "%s/up",
             root, root);
    assert_refused("up/d/a.lua", -EPERM, why);
    assert_int_equal(chmod("up", 0755), 0);
    assert_int_equal(chmod("up/d", 0757), 0);
    assert_refused("up/d", -EPERM,
                   "up/d is not taken: others may write to it; mend: chmod go-w up/d");
    assert_int_equal(chmod("up/d", 01777), 0); /* sticky: what is ours stays */
    assert_int_equal(add("up/d"), 1);
}

static void a_link_is_judged_by_where_it_leads(void **state)
{
    char why[512];
    (void)state;
    assert_int_equal(mkdir("open", 0755), 0);
    put("open/a.lua", "a");
    assert_int_equal(symlink("open/a.lua", "link.lua"), 0);
    assert_int_equal(add("link.lua"), 1);
    assert_next(SHELF_ADDED, "link.lua", "a");
    assert_int_equal(chmod("open/a.lua", 0666), 0);
    assert_int_equal(shelf_check(shelf), 1);
    snprintf(why, sizeof why,
             "link.lua is not taken: others may write to %s/open/a.lua; mend: chmod go-w "
             "%s/open/a.lua",
             root, root);
    assert_string_equal(told[1].why, why);
    assert_int_equal(chmod("open/a.lua", 0644), 0);
    assert_int_equal(chmod("open", 0777), 0);
    assert_int_equal(shelf_check(shelf), 1);
    assert_int_equal(told[2].change, SHELF_REFUSED);
    assert_int_equal(shelf_check(shelf), 0); /* told once */
    assert_int_equal(chmod("open", 0755), 0);
    assert_int_equal(shelf_check(shelf), 1);
    assert_told(&told[3], SHELF_CHANGED, "link.lua", "a");
}

static void what_belongs_to_somebody_else_is_refused(void **state)
{
    char why[512];
    (void)state;
    if (geteuid() != 0)
        skip();
    put("a.lua", "a");
    assert_int_equal(chown("a.lua", STRANGER, 0), 0);
    assert_refused("a.lua", -EPERM,
                   "a.lua is not taken: it belongs to user 12345; mend: chown root a.lua");
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/b.lua", "b");
    assert_int_equal(chown("d", STRANGER, 0), 0);
    snprintf(why, sizeof why,
             "d/b.lua is not taken: its directory %s/d belongs to user 12345; mend: chown root "
             "%s/d, or keep it in a directory of root's",
             root, root);
    assert_refused("d/b.lua", -EPERM, why);
    assert_int_equal(chown("d", 0, 0), 0);
    assert_int_equal(add("d/b.lua"), 1);
}

static void who_typed_sudo_is_no_stranger(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir("home", 0755), 0);
    put("home/a.lua", "a");
    assert_int_equal(chown("home", STRANGER, 0), 0);
    assert_int_equal(chown("home/a.lua", STRANGER, 0), 0);
    moonwatch_trust_owner(STRANGER + 1);
    int other = add("home/a.lua");
    moonwatch_trust_owner(STRANGER);
    int own = add("home/a.lua");
    moonwatch_trust_owner(0);
    assert_int_equal(other, -EPERM);
    assert_int_equal(own, 1);
    assert_int_equal(shelf_check(shelf), 1);
    assert_told(&told[1], SHELF_REFUSED, "home/a.lua", NULL);
}

static void a_strangers_link_in_a_sticky_directory_is_refused(void **state)
{
    char why[512];
    (void)state;
    if (geteuid() != 0)
        skip();
    put("a.lua", "a");
    assert_int_equal(mkdir("sticky", 0755), 0);
    assert_int_equal(chmod("sticky", 01777), 0);
    assert_int_equal(symlink("../a.lua", "sticky/link.lua"), 0);
    assert_int_equal(add("sticky/link.lua"), 1);
    assert_int_equal(lchown("sticky/link.lua", STRANGER, 0), 0);
    assert_int_equal(shelf_check(shelf), 1);
    snprintf(why, sizeof why,
             "sticky/link.lua is not taken: the link %s/sticky/link.lua belongs to user 12345; "
             "mend: chown -h root %s/sticky/link.lua",
             root, root);
    assert_string_equal(told[1].why, why);
}

/* --- watching ------------------------------------------------------------------------------ */

static void every_way_of_saving_is_noticed(void **state)
{
    (void)state;
    watch_one();
    put("d/a.lua", "two");
    await(SHELF_CHANGED, "d/a.lua", "two");
    put_by_rename("d/a.lua", "three");
    await(SHELF_CHANGED, "d/a.lua", "three");
    run("sed -i s/three/four/ d/a.lua");
    await(SHELF_CHANGED, "d/a.lua", "four");
    run("cp d/a.lua d/a.lua~; echo lock >d/.#a.lua; rm d/a.lua; printf five >d/a.lua;"
        "rm d/.#a.lua"); /* emacs */
    await(SHELF_CHANGED, "d/a.lua", "five");
    run(": >d/4913; rm d/4913; mv d/a.lua d/a.lua~; printf six >d/a.lua; rm d/a.lua~"); /* vim */
    await(SHELF_CHANGED, "d/a.lua", "six");
    run("printf ' and more' >>d/a.lua");
    await(SHELF_CHANGED, "d/a.lua", "six and more");
    assert_quiet("d");
}

/* Of the same length, and within the granularity of the file's times. */
static void a_second_save_within_one_tick_is_noticed(void **state)
{
    (void)state;
    watch_one();
    for (int i = 0; i < 5; i++) {
        char text[8];
        snprintf(text, sizeof text, "%03d", i);
        put("d/a.lua", "---");
        shelf_check(shelf);
        put("d/a.lua", text);
        shelf_check(shelf);
        assert_told(&told[told_len - 1], SHELF_CHANGED, "d/a.lua", text);
    }
}

static void what_was_only_touched_is_no_change(void **state)
{
    (void)state;
    watch_one();
    run("touch d/a.lua");
    put("d/a.lua", "one");
    put_by_rename("d/a.lua", "one");
    run("cp -p d/a.lua d/tmp; mv d/tmp d/a.lua; chmod 600 d/a.lua");
    assert_quiet("d");
    assert_int_equal(shelf_check(shelf), 0);
}

static void what_is_half_written_waits_for_its_end(void **state)
{
    (void)state;
    watch_one();
    int fd = open("d/a.lua", O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, "half", 4), 4);
    int other = open("d/b.lua", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(other, "new", 3), 3);
    assert_quiet("d");
    assert_int_equal(write(fd, " whole", 6), 6);
    close(fd);
    await(SHELF_CHANGED, "d/a.lua", "half whole");
    close(other);
    await(SHELF_ADDED, "d/b.lua", "new");
}

static void who_keeps_a_file_open_does_not_hide_it(void **state)
{
    (void)state;
    watch_one();
    int fd = open("d/a.lua", O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, "kept open", 9), 9);
    run("touch d/a.lua");
    await(SHELF_CHANGED, "d/a.lua", "kept open");
    close(fd);
}

static void a_script_that_is_removed_is_told(void **state)
{
    (void)state;
    watch_one();
    assert_int_equal(unlink("d/a.lua"), 0);
    await(SHELF_REMOVED, "d/a.lua", NULL);
    put("d/a.lua", "one");
    await(SHELF_ADDED, "d/a.lua", "one");
    run("mv d/a.lua d/b.lua");
    await(SHELF_REMOVED, "d/a.lua", NULL);
    await(SHELF_ADDED, "d/b.lua", "one");
    run("rm d/b.lua");
    assert_int_equal(shelf_check(shelf), 1); /* who asks gets to know at once */
    assert_next(SHELF_REMOVED, "d/b.lua", NULL);
    assert_quiet("d");
}

static void a_named_file_that_is_removed_may_come_back(void **state)
{
    (void)state;
    put("a.lua", "one");
    assert_int_equal(add("a.lua"), 1);
    assert_next(SHELF_ADDED, "a.lua", "one");
    watch();
    put("other.lua", "is not named");
    assert_int_equal(unlink("a.lua"), 0);
    await(SHELF_REMOVED, "a.lua", NULL);
    put_by_rename("a.lua", "two");
    await(SHELF_ADDED, "a.lua", "two");
    put("a.lua", "three");
    await(SHELF_CHANGED, "a.lua", "three");
    assert_no_more();
}

static void what_is_refused_later_goes_on_until_it_is_mended(void **state)
{
    (void)state;
    watch_one();
    assert_int_equal(chmod("d/a.lua", 0666), 0);
    await(SHELF_REFUSED, "d/a.lua", NULL);
    put("d/a.lua", "somebody else's");
    assert_quiet("d");
    assert_int_equal(chmod("d/a.lua", 0644), 0);
    await(SHELF_CHANGED, "d/a.lua", "somebody else's");
    assert_int_equal(chmod("d/a.lua", 0622), 0);
    await(SHELF_REFUSED, "d/a.lua", NULL);
    assert_int_equal(chmod("d/a.lua", 0644), 0);
    await(SHELF_CHANGED, "d/a.lua", "somebody else's"); /* the same: the complaint is over */
    assert_int_equal(chmod("d", 0777), 0);
    await(SHELF_REFUSED, "d", NULL);
    put("d/a.lua", "two");
    assert_int_equal(chmod("d", 0755), 0);
    await(SHELF_CHANGED, "d/a.lua", "two");
    assert_quiet("d");
}

/* --- directories and links ----------------------------------------------------------------- */

static void a_directory_may_appear_later(void **state)
{
    (void)state;
    assert_int_equal(shelf_expect(shelf, "etc/watch/d", 9), 0);
    watch();
    run("mkdir -p etc/watch; mkdir etc/watch/d; printf one >etc/watch/d/a.lua");
    await(SHELF_ADDED, "etc/watch/d/a.lua", "one");
    assert_int_equal(told[0].tag, 9);
    put("etc/watch/d/a.lua", "two");
    await(SHELF_CHANGED, "etc/watch/d/a.lua", "two");
    assert_int_equal(warnings, 0);
}

static void a_directory_that_goes_keeps_its_scripts(void **state)
{
    (void)state;
    run("mkdir up");
    watch_one();
    run("mv d up/");
    put("beside.lua", "is not named");
    assert_int_equal(shelf_check(shelf), 0);
    assert_int_equal(shelf_check(shelf), 0);
    assert_int_equal(warnings, 1);
    assert_string_equal(warning, "d is not there any more: what was read last goes on");
    run("mkdir d; printf one >d/a.lua; printf new >d/b.lua");
    await(SHELF_ADDED, "d/b.lua", "new");
    assert_quiet("d");
    assert_int_equal(warnings, 1);
}

static void a_directory_may_be_replaced(void **state)
{
    (void)state;
    watch_one();
    run("mkdir next; printf two >next/a.lua; printf b >next/b.lua; mv d old; mv next d");
    await(SHELF_CHANGED, "d/a.lua", "two");
    await(SHELF_ADDED, "d/b.lua", "b");
    put("old/a.lua", "of no concern");
    assert_quiet("d");
    run("rm -r d; mkdir d; printf three >d/a.lua");
    await(SHELF_REMOVED, "d/b.lua", NULL);
    await(SHELF_REMOVED, "d/zz-last.lua", NULL);
    await(SHELF_CHANGED, "d/a.lua", "three");
    put("d/a.lua", "four");
    await(SHELF_CHANGED, "d/a.lua", "four");
}

/* As configuration management does it: releases, and a link to the one that counts. */
static void a_link_to_a_directory_may_be_swapped(void **state)
{
    (void)state;
    run("mkdir -p r/1/scripts r/2/scripts; ln -s r/1 current; printf one >r/1/scripts/a.lua;"
        "printf gone >r/1/scripts/b.lua; printf two >r/2/scripts/a.lua");
    assert_int_equal(add("current/scripts"), 2);
    told_seen = 2;
    watch();
    run("ln -sfn r/2 current");
    await(SHELF_REMOVED, "current/scripts/b.lua", NULL);
    await(SHELF_CHANGED, "current/scripts/a.lua", "two");
    put("r/1/scripts/a.lua", "of no concern");
    put("r/2/scripts/a.lua", "three");
    await(SHELF_CHANGED, "current/scripts/a.lua", "three");
    run("ln -s $PWD/r/1 .new; mv -T .new current");
    await(SHELF_CHANGED, "current/scripts/a.lua", "of no concern");
    await(SHELF_ADDED, "current/scripts/b.lua", "gone");
    assert_no_more();
}

static void a_link_to_a_file_may_be_swapped(void **state)
{
    (void)state;
    run("mkdir d store more; printf one >store/1; printf two >more/2; ln -s ../store/1 d/a.lua");
    assert_int_equal(add("d"), 1);
    assert_next(SHELF_ADDED, "d/a.lua", "one");
    watch();
    put("store/1", "one and a half");
    await(SHELF_CHANGED, "d/a.lua", "one and a half");
    run("ln -sfn ../more/2 d/a.lua");
    await(SHELF_CHANGED, "d/a.lua", "two");
    put("more/2", "three");
    await(SHELF_CHANGED, "d/a.lua", "three");
    run("rm more/2");
    await(SHELF_REFUSED, "d/a.lua", NULL);
    assert_string_equal(told[told_len - 1].why,
                        "cannot read d/a.lua: it is a link that leads to nothing");
    run("printf three >more/2");
    await(SHELF_CHANGED, "d/a.lua", "three");
    run("rm d/a.lua");
    await(SHELF_REMOVED, "d/a.lua", NULL);
}

static void each_link_of_a_chain_is_watched(void **state)
{
    (void)state;
    run("mkdir a b c; ln -s b/second first; ln -s ../c b/second; printf one >c/a.lua;"
        "mkdir other; printf two >other/a.lua");
    assert_int_equal(add("first/a.lua"), 1);
    assert_next(SHELF_ADDED, "first/a.lua", "one");
    watch();
    run("ln -sfn ../other b/second");
    await(SHELF_CHANGED, "first/a.lua", "two");
    run("ln -sfn c first");
    await(SHELF_CHANGED, "first/a.lua", "one");
    run("ln -sfn a first"); /* a/a.lua is not there: removed */
    await(SHELF_REMOVED, "first/a.lua", NULL);
    run("printf three >a/a.lua");
    await(SHELF_ADDED, "first/a.lua", "three");
}

static void a_directory_that_is_linked_in_a_directory_is_no_script(void **state)
{
    (void)state;
    run("mkdir d d/x.lua; mkfifo d/y.lua");
    assert_int_equal(add("d"), 0);
    assert_int_equal(told_len, 2);
    assert_string_equal(told[0].why, "d/x.lua is not taken: it is not a file");
    assert_string_equal(told[1].why, "d/y.lua is not taken: it is not a file");
}

static void a_full_queue_of_events_hides_nothing(void **state)
{
    (void)state;
    int most = 16384;
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (file) {
        assert_int_equal(fscanf(file, "%d", &most), 1);
        fclose(file);
    }
    if (most > 100000)
        skip();
    watch_one();
    for (int i = 0; i < most; i++) {
        int fd = open("d/noise", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        close(fd);
        unlink("d/noise");
    }
    put("d/a.lua", "two");
    await(SHELF_CHANGED, "d/a.lua", "two");
}

/* --- what scripts depend on ---------------------------------------------------------------- */

static uint64_t hash_of(const char *text)
{
    return shelf_hash(text, strlen(text));
}

static void a_module_that_changes_is_a_change_of_its_scripts(void **state)
{
    (void)state;
    watch_one();
    run("mkdir d/lib; printf module >d/lib/m; printf list >list.txt");
    assert_quiet("d");
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/lib/m", hash_of("module")), 0);
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/lib/m", hash_of("module")), 0);
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "list.txt", hash_of("list")), 0);
    assert_int_equal(shelf_depends(shelf, "d/zz-last.lua", "list.txt", hash_of("list")), 0);
    assert_int_equal(shelf_depends(shelf, "d/nobody.lua", "list.txt", 1), -ENOENT);
    assert_quiet("d");
    put("d/lib/m", "module 2");
    await(SHELF_CHANGED, "d/a.lua", "one");
    run("rm d/lib/m; touch list.txt");
    assert_quiet("d");
    put_by_rename("d/lib/m", "module 3");
    await(SHELF_CHANGED, "d/a.lua", "one");
    put("list.txt", "longer list");
    await(SHELF_CHANGED, "d/a.lua", "one");
    await(SHELF_CHANGED, "d/zz-last.lua", told[told_len - 1].text);
    assert_quiet("d");
    run("rm d/a.lua");
    await(SHELF_REMOVED, "d/a.lua", NULL);
    put("d/lib/m", "module 4");
    assert_quiet("d");
}

static void a_module_that_changed_before_it_was_told_of_is_noticed(void **state)
{
    (void)state;
    watch_one();
    put("d/m", "as it is now");
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/m", hash_of("as it was read")), 0);
    await(SHELF_CHANGED, "d/a.lua", "one");
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/m", hash_of("as it is now")), 0);
    assert_quiet("d");
}

static void a_script_depends_on_100_files_at_most(void **state)
{
    char path[32];
    (void)state;
    watch_one();
    for (int i = 0; i < SHELF_NEEDS_EACH; i++) {
        snprintf(path, sizeof path, "d/m%d", i);
        assert_int_equal(shelf_depends(shelf, "d/a.lua", path, 0), 0);
    }
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/one-more", 0), -ENOSPC);
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/m0", 0), 0);
    put("d/m99", "now");
    await(SHELF_CHANGED, "d/a.lua", "one");
}

static void a_module_may_appear_later(void **state)
{
    (void)state;
    watch_one();
    assert_int_equal(shelf_depends(shelf, "d/a.lua", "d/lib/m", 0), 0);
    assert_quiet("d");
    run("mkdir d/lib; printf module >d/lib/m");
    await(SHELF_CHANGED, "d/a.lua", "one");
    assert_quiet("d");
}

static struct buf bytes;
static char resolved[PATH_MAX];
static const char *reason;

static int beside(const char *script, const char *relative)
{
    buf_clear(&bytes);
    return shelf_read_beside(script, relative, &bytes, resolved, sizeof resolved, &reason);
}

static void assert_beside(const char *script, const char *relative, const char *text)
{
    assert_int_equal(beside(script, relative), 0);
    assert_string_equal(buf_str(&bytes), text);
}

static void a_file_below_a_script_is_read(void **state)
{
    char path[128];
    (void)state;
    run("mkdir -p d/lib; printf m >d/lib/m.lua; printf l >d/list; ln -s lib/m.lua d/in;"
        "ln -s $PWD/d/list d/lib/in; printf top >top; ln -s d current");
    assert_beside("d/a.lua", "lib/m.lua", "m");
    assert_string_equal(resolved, "d/lib/m.lua");
    assert_beside("d/a.lua", "list", "l");
    assert_beside("d/a.lua", "./lib//m.lua", "m");
    assert_beside("d/a.lua", "in", "m");
    assert_beside("d/a.lua", "lib/in", "l");
    assert_beside("current/a.lua", "list", "l");
    assert_string_equal(resolved, "current/list");
    assert_beside("a.lua", "top", "top");
    assert_string_equal(resolved, "top");
    run("printf root >in-the-root");
    snprintf(path, sizeof path, "%s/in-the-root", root + 1);
    assert_beside("/a.lua", path, "root");
    assert_string_equal(resolved + 1, path);
    buf_free(&bytes);
}

static void what_is_not_below_a_script_is_refused(void **state)
{
    (void)state;
    run("mkdir -p d/lib dd; printf secret >secret; ln -s ../secret d/out; ln -s .. d/up;"
        "ln -s /etc/hostname d/abs; printf beside >dd/x; ln -s ../dd/x d/near");
    assert_int_equal(beside("d/a.lua", "../secret"), -EPERM);
    assert_string_equal(reason, "'../secret' is not taken: it is not below the script's directory");
    assert_int_equal(beside("d/a.lua", "lib/../list"), -EPERM);
    assert_int_equal(beside("d/a.lua", "lib/.."), -EPERM);
    assert_int_equal(beside("d/a.lua", "/etc/hostname"), -EPERM);
    assert_int_equal(beside("d/a.lua", ""), -EPERM);
    assert_int_equal(beside("d/a.lua", "out"), -EPERM);
    assert_string_equal(reason, "'out' is not taken: it leads out of the script's directory");
    assert_int_equal(beside("d/a.lua", "up/secret"), -EPERM);
    assert_int_equal(beside("d/a.lua", "abs"), -EPERM);
    assert_int_equal(beside("d/a.lua", "near"), -EPERM);
    assert_int_equal(beside("d/a.lua", "lib"), -EINVAL);
    assert_int_equal(beside("d/a.lua", "nothing"), -ENOENT);
    assert_string_equal(resolved, "d/nothing");
    assert_int_equal(bytes.len, 0);
    buf_free(&bytes);
}

static void a_module_that_others_may_write_is_refused(void **state)
{
    (void)state;
    run("mkdir -p d/lib; printf m >d/lib/m; chmod 666 d/lib/m");
    assert_int_equal(beside("d/a.lua", "lib/m"), -EPERM);
    assert_string_equal(reason,
                        "d/lib/m is not taken: others may write to it; mend: chmod go-w d/lib/m");
    run("chmod 644 d/lib/m; chmod 777 d/lib");
    assert_int_equal(beside("d/a.lua", "lib/m"), -EPERM);
    run("chmod 1777 d/lib");
    assert_beside("d/a.lua", "lib/m", "m");
    buf_free(&bytes);
}

/* --- all at once --------------------------------------------------------------------------- */

#define NAMES  5
#define ROUNDS 400

static void save(int style, const char *path, const char *text)
{
    char beside_path[PATH_MAX], away[PATH_MAX];
    snprintf(beside_path, sizeof beside_path, "%s.tmp", path);
    snprintf(away, sizeof away, "%s~", path);
    switch (style) {
    case 0:
        put(path, text);
        break;
    case 1:
        put_by_rename(path, text);
        break;
    case 2: /* in two pieces */
        put(path, "");
        put(path, text);
        break;
    case 3:
        rename(path, away);
        put(path, text);
        unlink(away);
        break;
    case 4:
        unlink(path);
        usleep((useconds_t)(rand() % 20000));
        put(path, text);
        break;
    case 5:
        put(away, text);
        unlink(path);
        assert_int_equal(symlink(away + 2, path), 0); /* d/x~ as seen from d */
        break;
    case 6:
        unlink(path);
        break;
    }
}

static void write_much(void)
{
    char path[32], text[64];
    srand(42);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(path, sizeof path, "d/%d.lua", rand() % NAMES);
        snprintf(text, sizeof text, "%*d", rand() % 40, i);
        save(rand() % 7, path, text);
        if (i % 10 == 0)
            usleep((useconds_t)(rand() % 200000));
    }
}

/* What was told last of a script, or NULL when it is not there. */
static const char *last_told(const char *path)
{
    for (int i = told_len - 1; i >= 0; i--)
        if (!strcmp(told[i].path, path))
            return told[i].text;
    return NULL;
}

static bool all_told(void)
{
    char path[32], text[128];
    for (int i = 0; i < NAMES; i++) {
        snprintf(path, sizeof path, "d/%d.lua", i);
        FILE *file = fopen(path, "re");
        size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
        if (file)
            fclose(file);
        text[len] = '\0';
        const char *last = last_told(path);
        if (file ? !last || strcmp(last, text) != 0 : last != NULL)
            return false;
    }
    return true;
}

static void deploy_much(void)
{
    char path[32], text[64];
    srand(43);
    for (int i = 0; i < ROUNDS / 4; i++) {
        int release = i % 3;
        for (int name = 0; name < NAMES; name++) {
            snprintf(path, sizeof path, "r%d/%d.lua", release, name);
            snprintf(text, sizeof text, "%d of release %d", name, i);
            unlink(path);
            if (rand() % 4)
                put(path, text);
        }
        snprintf(text, sizeof text, "r%d", release);
        assert_int_equal(symlink(text, "next"), 0);
        assert_int_equal(rename("next", "d"), 0);
        usleep((useconds_t)(rand() % 80000));
    }
}

/* All that `write` does, in a process of its own, ends with what is there being what was told. */
static void assert_all_told(void (*write)(void))
{
    ev_timer deadline;
    bool writing = true;
    pid_t writer = fork();
    if (writer == 0) {
        write();
        _exit(0);
    }
    ev_timer_init(&deadline, on_deadline, 60, 0);
    ev_timer_start(loop, &deadline);
    while ((writing || !all_told()) && ev_is_active(&deadline)) {
        ev_run(loop, EVRUN_ONCE);
        if (writing && waitpid(writer, NULL, WNOHANG) == writer)
            writing = false;
    }
    assert_true(ev_is_active(&deadline));
    ev_timer_stop(loop, &deadline);
    print_message("# %d versions told\n", told_len);
    for (int i = 0; i < told_len; i++)
        assert_int_not_equal(told[i].change, SHELF_REFUSED);
}

static void what_was_written_last_is_told_last(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(add("d"), 0);
    watch();
    assert_all_told(write_much);
}

static void what_was_deployed_last_is_told_last(void **state)
{
    (void)state;
    run("mkdir r0 r1 r2; ln -s r0 d");
    assert_int_equal(add("d"), 0);
    watch();
    assert_all_told(deploy_much);
    assert_int_equal(warnings, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_is_read_in_the_order_of_names),
        TEST(what_editors_leave_behind_is_no_script),
        TEST(an_empty_directory_is_no_failure),
        TEST(what_cannot_be_read_is_told_in_one_sentence),
        TEST(a_script_is_4_mib_at_most),
        TEST(there_are_1000_scripts_at_most),
        TEST(a_pipe_is_read_to_its_end_once),
        TEST(who_names_a_script_first_gives_its_tag),
        TEST(what_others_may_write_is_refused),
        TEST(a_directory_that_others_may_write_to_is_refused),
        TEST(a_link_is_judged_by_where_it_leads),
        TEST(what_belongs_to_somebody_else_is_refused),
        TEST(who_typed_sudo_is_no_stranger),
        TEST(a_strangers_link_in_a_sticky_directory_is_refused),
        TEST(every_way_of_saving_is_noticed),
        TEST(a_second_save_within_one_tick_is_noticed),
        TEST(what_was_only_touched_is_no_change),
        TEST(what_is_half_written_waits_for_its_end),
        TEST(who_keeps_a_file_open_does_not_hide_it),
        TEST(a_script_that_is_removed_is_told),
        TEST(a_named_file_that_is_removed_may_come_back),
        TEST(what_is_refused_later_goes_on_until_it_is_mended),
        TEST(a_directory_may_appear_later),
        TEST(a_directory_that_goes_keeps_its_scripts),
        TEST(a_directory_may_be_replaced),
        TEST(a_link_to_a_directory_may_be_swapped),
        TEST(a_link_to_a_file_may_be_swapped),
        TEST(each_link_of_a_chain_is_watched),
        TEST(a_directory_that_is_linked_in_a_directory_is_no_script),
        TEST(a_full_queue_of_events_hides_nothing),
        TEST(a_module_that_changes_is_a_change_of_its_scripts),
        TEST(a_module_that_changed_before_it_was_told_of_is_noticed),
        TEST(a_script_depends_on_100_files_at_most),
        TEST(a_module_may_appear_later),
        TEST(a_file_below_a_script_is_read),
        TEST(what_is_not_below_a_script_is_refused),
        TEST(a_module_that_others_may_write_is_refused),
        TEST(what_was_written_last_is_told_last),
        TEST(what_was_deployed_last_is_told_last),
    };
    return cmocka_run_group_tests_name("shelf", tests, NULL, NULL);
}
