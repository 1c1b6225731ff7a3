/* census.c - which pids live, by three ways of asking. See census.h. */
#include "embed/census.h"

#include "host/request.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A word of /proc/PID/status; no line before it holds what a process chose but the first. */
static int tgid_of(int dir)
{
    char text[1024];
    ssize_t len = procfs_read(dir, "status", text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    const char *line = strstr(text, "\nTgid:");
    return line ? atoi(line + 6) : 0;
}

/* Flags of what /proc/PID says; -errno when it could not be asked. Where reading is denied there is
 * something that denies it. */
static int look_into(const struct procfs *proc, int pid)
{
    char bytes[1024];
    struct procfs_stat st;
    int dir = procfs_pid_open(proc, pid);
    if (dir < 0)
        return dir == -ENOENT || dir == -ESRCH || dir == -ENOTDIR ? 0 : dir;
    ssize_t len = procfs_read(dir, "stat", bytes, sizeof bytes);
    int flags = 0;
    if (len == -EMFILE || len == -ENFILE || len == -ENOMEM)
        flags = (int)len;
    else if (len == -EACCES || len == -EPERM)
        flags = CENSUS_OPEN;
    else if (len > 0 && !procfs_parse_stat(bytes, (size_t)len, &st) && st.pid == pid)
        flags = CENSUS_OPEN;
    int tgid = flags > 0 ? tgid_of(dir) : 0;
    if (tgid && tgid != pid)
        flags |= CENSUS_THREAD;
    close(dir);
    return flags;
}

static int ask_about(const struct procfs *proc, int pid)
{
    if (pid <= 0 || (kill(pid, 0) < 0 && errno == ESRCH))
        return 0;
    int flags = look_into(proc, pid);
    return flags < 0 ? flags : flags | CENSUS_LIVES;
}

static int add_listed(void *ctx, int pid)
{
    int32_t listed = pid;
    buf_add(ctx, &listed, sizeof listed);
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const int32_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* In another pid namespace /proc and kill speak of different processes. */
static int check_numbers(const struct procfs *proc)
{
    char self[32];
    ssize_t len = procfs_link(proc->root, "self", self, sizeof self - 1);
    if (proc->hidden)
        return -EACCES;
    if (len < 0)
        return len == -ENOENT ? 0 : (int)len;
    self[len] = '\0';
    return atoi(self) == getpid() ? 0 : -EXDEV;
}

/* The list comes last: what begins meanwhile is in it. */
int census_take(const struct procfs *proc, const int32_t *pids, size_t n, struct buf *out)
{
    size_t begin = out->len;
    struct buf listed = { 0 };
    int result = check_numbers(proc);
    for (size_t i = 0; i < n && result >= 0; i++) {
        result = ask_about(proc, pids[i]);
        buf_putc(out, (char)result);
    }
    if (result >= 0)
        result = procfs_scan(proc, add_listed, &listed);
    if (result >= 0 && (listed.failed || out->failed))
        result = -ENOMEM;
    if (result < 0) {
        buf_free(&listed);
        return result;
    }
    size_t count = listed.len / sizeof *pids;
    if (count)
        qsort(listed.data, count, sizeof *pids, by_number);
    for (size_t i = 0; i < n && count; i++)
        if (bsearch(&pids[i], listed.data, count, sizeof *pids, by_number))
            out->data[begin + i] |= CENSUS_LISTED;
    buf_add(out, listed.data, listed.len);
    buf_free(&listed);
    return 0;
}
