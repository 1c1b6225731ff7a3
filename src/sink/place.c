/* place.c - the privileged side: opens what a spec names, as far as the operator allows. See
 * place.h. */
#include "sink/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BUFFER (8 << 20) /* as journald's own clients ask for: a record is one datagram */

static int refuse(char *why, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char *why, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, PLACE_WHY_MAX, format, args);
    va_end(args);
    return error;
}

/* --- below the output directory --------------------------------------------------------------- */

/* Follow a path from `dir`, one name after another, none of them a link or "..": what is held open
 * cannot be exchanged behind us. One way for all kernels, where openat2 would need a second for the
 * older ones. A descriptor of the last directory, the last name in `name`; or -errno. */
static int walk(int dir, const char *path, char name[NAME_MAX + 1])
{
    int at = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    while (at >= 0) {
        size_t len = strcspn(path, "/");
        if (!len || len > NAME_MAX || (len <= 2 && !strncmp(path, "..", len))) {
            close(at);
            return -EINVAL;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        if (!path[len])
            return at;
        int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        close(at);
        errno = error;
        at = next;
        path += len + 1;
    }
    return -errno;
}

static const char *path_of(const struct sink_spec *spec, char path[SPEC_TEXT_MAX + 1])
{
    memcpy(path, spec->text, spec->text_len);
    path[spec->text_len] = '\0';
    return path;
}

static int open_output_dir(const struct place_rules *rules, char *why)
{
    if (!rules->output_dir)
        return refuse(why, -EACCES, "not allowed: start with --output-dir DIR");
    int dir = open(rules->output_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return refuse(why, -errno, "cannot open %s: %s", rules->output_dir, strerror(errno));
    return dir;
}

/* The directory of a path below the output directory, and the last name. */
static int open_parent(const struct place_rules *rules, const char *path, char name[NAME_MAX + 1],
                       char *why)
{
    int dir = open_output_dir(rules, why);
    if (dir < 0)
        return dir;
    int parent = walk(dir, path, name);
    close(dir);
    if (parent == -EINVAL)
        return refuse(why, parent,
                      "'%s' is no path below the output directory: it begins with no '/' and has "
                      "no '..'",
                      path);
    if (parent < 0)
        return refuse(why, parent, "cannot reach %s: %s", path,
                      parent == -ENOTDIR ? "what is on the way is no directory, and no links are "
                                           "followed"
                                         : strerror(-parent));
    return parent;
}

/* --- files ------------------------------------------------------------------------------------ */

/* A link, a device, a pipe, another's file, or a second name of some other file: none of these. */
static const char *file_fault(const struct stat *about)
{
    if (!S_ISREG(about->st_mode))
        return "it is no regular file";
    if (about->st_nlink > 1)
        return "it has more names than this one";
    if (about->st_uid != geteuid())
        return "it belongs to another user";
    return NULL;
}

static bool may_pass(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE;
}

/* O_NONBLOCK for what is no file after all: a pipe without a reader. */
static int open_file_at(int parent, const char *name, const char *path, char *why)
{
    struct stat about;
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = openat(parent, name, flags, 0640);
    if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == EISDIR))
        return refuse(why, -errno, "%s is not written to: it is no regular file", path);
    if (fd < 0)
        return refuse(why, may_pass(errno) ? -EAGAIN : -errno, "cannot open %s: %s", path,
                      strerror(errno));
    const char *fault = fstat(fd, &about) < 0 ? strerror(errno) : file_fault(&about);
    if (fault) {
        close(fd);
        return refuse(why, -EPERM, "%s is not written to: %s", path, fault);
    }
    return fd;
}

static int open_file(const struct place_rules *rules, const struct sink_spec *spec, char *why)
{
    char path[SPEC_TEXT_MAX + 1], name[NAME_MAX + 1];
    int parent = open_parent(rules, path_of(spec, path), name, why);
    if (parent < 0)
        return parent;
    int fd = open_file_at(parent, name, path, why);
    close(parent);
    return fd;
}

bool place_is_there(const struct place_rules *rules, const struct sink_spec *spec, int fd)
{
    char path[SPEC_TEXT_MAX + 1], name[NAME_MAX + 1], why[PLACE_WHY_MAX];
    struct stat ours, there;
    int parent = open_parent(rules, path_of(spec, path), name, why);
    if (parent < 0)
        return false;
    int result = fstatat(parent, name, &there, AT_SYMLINK_NOFOLLOW);
    close(parent);
    return result == 0 && fstat(fd, &ours) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

/* NAME.3, or NAME itself for 0. False when it has no room. */
static bool old_name(char to[NAME_MAX + 1], const char *name, uint32_t number)
{
    int len = number ? snprintf(to, NAME_MAX + 1, "%s.%u", name, number)
                     : snprintf(to, NAME_MAX + 1, "%s", name);
    return len <= NAME_MAX;
}

int place_rotate(const struct place_rules *rules, const struct sink_spec *spec, char *why)
{
    char path[SPEC_TEXT_MAX + 1], name[NAME_MAX + 1], from[NAME_MAX + 1], to[NAME_MAX + 1];
    int parent = open_parent(rules, path_of(spec, path), name, why), result = 0;
    if (parent < 0)
        return parent;
    for (uint32_t i = spec->keep; i > 0 && !result; i--)
        if (!old_name(to, name, i) || !old_name(from, name, i - 1))
            result = refuse(why, -ENAMETOOLONG, "cannot rotate %s: its name is too long", path);
        else if (renameat(parent, from, parent, to) < 0 && errno != ENOENT)
            result = refuse(why, -errno, "cannot rotate %s: %s", path, strerror(errno));
    close(parent);
    return result;
}

int place_spool(const struct place_rules *rules, char *why)
{
    char name[] = ".moonwatch-spool-XXXXXX";
    char path[PATH_MAX];
    int dir = open_output_dir(rules, why);
    if (dir < 0)
        return refuse(why, dir, "there is no place to spool to: start with --output-dir DIR");
    int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    close(dir);
    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "%s/%s", rules->output_dir, name); /* not every disk can do that */
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return refuse(why, -errno, "cannot spool to %s: %s", rules->output_dir, strerror(errno));
    unlink(path);
    return fd;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static const char *socket_path(const struct sink_spec *spec, char path[SPEC_TEXT_MAX + 1])
{
    if (spec->text_len)
        return path_of(spec, path);
    return spec->kind == SINK_SYSLOG ? "/dev/log" : "/run/systemd/journal/socket";
}

static bool is_named(const struct place_rules *rules, const char *path)
{
    for (int i = 0; i < rules->sockets_len; i++)
        if (!strcmp(rules->sockets[i], path))
            return true;
    return false;
}

/* The address of a socket below the output directory goes through what is held open in `hold`. */
static int address_below(const struct place_rules *rules, const char *path, struct sockaddr_un *to,
                         int *hold, char *why)
{
    char name[NAME_MAX + 1];
    struct stat about;
    int parent = open_parent(rules, path, name, why);
    if (parent < 0)
        return parent;
    *hold = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = errno;
    close(parent);
    if (*hold < 0)
        return refuse(why, error == ENOENT ? -EAGAIN : -error, "cannot reach %s: %s", path,
                      strerror(error));
    if (fstat(*hold, &about) < 0 || !S_ISSOCK(about.st_mode))
        return refuse(why, -EPERM, "%s is not written to: it is no socket", path);
    snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d", *hold);
    return 0;
}

static int address_of(const struct place_rules *rules, const struct sink_spec *spec,
                      const char *path, struct sockaddr_un *to, int *hold, char *why)
{
    *to = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (spec->text_len && *path != '/')
        return address_below(rules, path, to, hold, why);
    if (spec->text_len && !is_named(rules, path))
        return refuse(why, -EACCES, "not allowed: start with --allow-unix %s", path);
    if (strlen(path) >= sizeof to->sun_path)
        return refuse(why, -ENAMETOOLONG, "%s is too long for a socket's path", path);
    strcpy(to->sun_path, path);
    return 0;
}

static int connect_as(int type, const struct sockaddr_un *to)
{
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int size = SEND_BUFFER;
    if (type == SOCK_DGRAM && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* The logs of the system take datagrams; others are asked for a stream first. */
static int connect_to(const struct sink_spec *spec, const struct sockaddr_un *to,
                      enum place_target *target)
{
    bool log = spec->kind != SINK_UNIX;
    *target = log ? PLACE_DATAGRAM : PLACE_STREAM;
    int fd = connect_as(log ? SOCK_DGRAM : SOCK_STREAM, to);
    if (fd != -EPROTOTYPE || spec->kind == SINK_JOURNALD)
        return fd;
    *target = log ? PLACE_STREAM : PLACE_DATAGRAM;
    return connect_as(log ? SOCK_STREAM : SOCK_DGRAM, to);
}

static int open_socket(const struct place_rules *rules, const struct sink_spec *spec,
                       enum place_target *target, char *why)
{
    char own[SPEC_TEXT_MAX + 1];
    const char *path = socket_path(spec, own);
    struct sockaddr_un to;
    int hold = -1;
    int fd = address_of(rules, spec, path, &to, &hold, why);
    if (fd == 0) {
        fd = connect_to(spec, &to, target);
        if (fd < 0) /* who should listen may come later */
            fd = refuse(why, -EAGAIN, "cannot reach %s: %s", path, strerror(-fd));
    }
    if (hold >= 0)
        close(hold);
    return fd;
}

/* --- standard output -------------------------------------------------------------------------- */

/* Whether writing blocks is a property that a descriptor shares with everybody who has it, such as
 * the operator's shell: so a pipe or a terminal is opened anew. */
static int open_stdout(const struct place_rules *rules, enum place_target *target, char *why)
{
    char path[32];
    struct stat about;
    if (fstat(rules->output, &about) < 0)
        return refuse(why, -errno, "there is no standard output");
    int fd = -1;
    *target = S_ISSOCK(about.st_mode) ? PLACE_STREAM : PLACE_PIPE;
    if (S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode)) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", rules->output);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
            *target = PLACE_SLOW;
    }
    if (fd < 0)
        fd = fcntl(rules->output, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? refuse(why, -errno, "there is no standard output") : fd;
}

int place_open(const struct place_rules *rules, const struct sink_spec *spec,
               enum place_target *target, char *why)
{
    *why = '\0';
    switch ((enum sink_kind)spec->kind) {
    case SINK_STDOUT:
        return open_stdout(rules, target, why);
    case SINK_FILE:
        *target = PLACE_FILE;
        return open_file(rules, spec, why);
    case SINK_UNIX:
    case SINK_SYSLOG:
    case SINK_JOURNALD:
        return open_socket(rules, spec, target, why);
    case SINK_EXEC:
    case SINK_KINDS:
        break;
    }
    return refuse(why, -EINVAL, "it is no output that is opened");
}
