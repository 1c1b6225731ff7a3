/* fuzz_procfs.c - no bytes of /proc, however odd, make a parser read or write where it should not.
 *
 * The first byte chooses the parser. Includes the sources to reach the static ones. */
#include "collect/answers.c"

#define slice         procfs_slice
#define nothing       procfs_nothing
#define starts_with   procfs_starts_with
#define ends_with     procfs_ends_with
#define without_first procfs_without_first
#define take_until    procfs_take_until
#define put_number    procfs_put_number
#define open_file     procfs_open_file
#include "collect/procfs.c"
#undef slice
#undef nothing
#undef starts_with
#undef ends_with
#undef without_first
#undef take_until
#undef put_number
#undef open_file

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An answer under construction, without a process. */
static struct buf answer;
static struct question q;

static void must(bool claim)
{
    if (!claim)
        __builtin_trap();
}

static void ask_about(enum topic topic)
{
    buf_clear(&answer);
    must(buf_reserve(&answer, 1) != NULL);
    q.dir = -1;
    q.sheet = (struct sheet){ &answer, &topics[topic], 0 };
}

/* Whatever was put, it is whole rows, and they can be read back. */
static void check_answer(void)
{
    const char *at = answer.data, *end = at + answer.len;
    struct answer_cell cell;
    int column = 0;
    while (at < end) {
        must(answer_next(&at, end, q.sheet.info->columns[column].type, &cell));
        column = (column + 1) % q.sheet.info->columns_len;
    }
    must(column == 0);
}

static void each_line_of(enum topic topic, struct slice text, char end, line_fn *fn)
{
    ask_about(topic);
    while (text.len)
        fn(&q, take_until(&text, end));
    check_answer();
}

static bool inside(const char *at, size_t len, struct slice text)
{
    return !len || (at >= text.at && at + len <= text.at + text.len);
}

static void fuzz_stat(struct slice text)
{
    struct procfs_stat st;
    char tty[PROCFS_TTY_MAX];
    if (procfs_parse_stat(text.at, text.len, &st))
        return;
    must(inside(st.comm, st.comm_len, text));
    must(procfs_tty_name(st.tty_nr, tty) <= sizeof tty);
    ask_about(TOPIC_STAT);
    put_stat(&q.sheet, text);
    check_answer();
    ask_about(TOPIC_THREADS);
    put_thread(&q.sheet, text);
    check_answer();
}

static void fuzz_tty(struct slice text)
{
    int nr = 0;
    char tty[PROCFS_TTY_MAX];
    memcpy(&nr, text.at, text.len < sizeof nr ? text.len : sizeof nr);
    must(procfs_tty_name(nr, tty) <= sizeof tty);
}

static void fuzz_cgroup(struct slice text)
{
    struct procfs_cgroup got;
    procfs_parse_cgroup(text.at, text.len, &got);
    must(inside(got.path, got.path_len, text));
    must(inside(got.container, got.container_len, text));
    must(got.container_len <= ID_SHOWN);
    each_line_of(TOPIC_CGROUPS, text, '\n', put_cgroup);
}

static void fuzz_status(struct slice text)
{
    uint64_t ids[2];
    parse_ids((struct procfs_slice){ text.at, text.len }, "Uid:", ids);
    ask_about(TOPIC_STATUS);
    put_all_keyed(&q, text, status_rows, LENGTH(status_rows));
    check_answer();
    ask_about(TOPIC_MEMORY);
    put_all_keyed(&q, text, memory_rows, LENGTH(memory_rows));
    put_nil(&q.sheet);
    check_answer();
}

static void fuzz_io(struct slice text)
{
    ask_about(TOPIC_IO);
    put_all_keyed(&q, text, io_rows, LENGTH(io_rows));
    check_answer();
}

static void fuzz_fdinfo(struct slice text)
{
    int64_t inode;
    inode_in(text, "socket:[", &inode);
    ask_about(TOPIC_FDS);
    put_nil(&q.sheet);
    put_nil(&q.sheet);
    put_nil(&q.sheet);
    put_fdinfo(&q, text);
    check_answer();
}

/* The first byte is the table. The sockets asked for are those with inodes 0 to 9. */
static void fuzz_sockets(struct slice text)
{
    struct join j = { 0 };
    if (!text.len)
        return;
    j.table = &tables[(uint8_t)text.at[0] % LENGTH(tables)];
    text = without_first(text, 1);
    for (int i = 9; i >= 0; i--) {
        buf_add(&j.fds, &(struct open_fd){ i, i / 2 }, sizeof(struct open_fd));
        buf_add(&j.sockets, &(struct found_socket){ .inode = i / 2 }, sizeof(struct found_socket));
    }
    index_sockets(&j);
    must(j.left == 5);
    while (text.len)
        note_line(&j, take_until(&text, '\n'));

    ask_about(TOPIC_SOCKETS);
    for (size_t i = 0; i < 10; i++)
        put_socket(&q.sheet, &j, (struct open_fd *)(void *)j.fds.data + i);
    check_answer();
    buf_free(&j.fds);
    buf_free(&j.sockets);
    buf_free(&j.paths);
}

static void fuzz_maps(struct slice text)
{
    each_line_of(TOPIC_MAPS, text, '\n', put_mapping);
}

static void fuzz_libraries(struct slice text)
{
    struct library_list list = { 0 };
    while (text.len)
        note_library(&list, take_until(&text, '\n'));
    ask_about(TOPIC_LIBRARIES);
    put_libraries(&q, &list);
    check_answer();
    buf_free(&list.rows);
    buf_free(&list.text);
}

static void fuzz_environ(struct slice text)
{
    each_line_of(TOPIC_ENVIRON, text, '\0', put_variable);
}

static void fuzz_mounts(struct slice text)
{
    each_line_of(TOPIC_MOUNTS, text, '\n', put_mount);
    mount_hides((struct procfs_slice){ text.at, text.len }, 0, 21);
}

static void fuzz_limits(struct slice text)
{
    each_line_of(TOPIC_LIMITS, text, '\n', put_limit);
}

/* Reading cells: nothing leaves the bytes, and every true moves on. */
static void fuzz_cells(struct slice text)
{
    static const enum event_type types[] = { TYPE_TEXT, TYPE_INT, TYPE_BOOL, TYPE_SPAN };
    const char *at = text.at, *end = at + text.len, *before = at;
    struct answer_cell cell;
    for (int i = 0; answer_next(&at, end, types[i % 4], &cell); i++) {
        must(at > before && at <= end);
        must(cell.nil || inside(cell.bytes, cell.len, text));
        before = at;
    }
    must(at == before);
}

/* Reading lines from a file gives the lines that are in it. */
static int compare_line(void *ctx, struct slice line)
{
    struct slice *left = ctx;
    struct slice want = take_until(left, '\n');
    must(line.len == want.len && (!line.len || !memcmp(line.at, want.at, line.len)));
    return 0;
}

static void fuzz_lines(struct slice text)
{
    int ends[2];
    if (text.len > 60000 || pipe2(ends, O_CLOEXEC))
        return;
    must(write(ends[1], text.at, text.len) == (ssize_t)text.len);
    close(ends[1]);
    char name[32];
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    must(!each_line(AT_FDCWD, name, '\n', compare_line, &text));
    must(!text.len);
    close(ends[0]);
}

static void (*const parsers[])(struct slice text) = {
    fuzz_stat, fuzz_tty,       fuzz_cgroup,  fuzz_status, fuzz_io,     fuzz_fdinfo, fuzz_sockets,
    fuzz_maps, fuzz_libraries, fuzz_environ, fuzz_mounts, fuzz_limits, fuzz_cells,  fuzz_lines,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct slice text = { (const char *)data + 1, size - 1 };
    parsers[data[0] % LENGTH(parsers)](text);
    return 0;
}
