/* place.h - the privileged side: opens what a spec names, as far as the operator allows.
 *
 * Files lie below one directory, and no way there goes through a symbolic link. A file must be a
 * regular one of ours with one name. Sockets are named by the operator, lie below that directory,
 * or are the two well-known ones of the system's log. What is opened is passed on, so it can be
 * written to and nothing else. */
#ifndef SINK_PLACE_H
#define SINK_PLACE_H

#include "sink/spec.h"

#include <stdbool.h>
#include <sys/types.h>

/* What the operator allows; borrowed. */
struct place_rules {
    const char *output_dir;     /* NULL: no files */
    const char *const *sockets; /* paths that may be connected to, sockets_len of them */
    int sockets_len;
    bool allow_exec;
    const char *user; /* children run as; NULL: as we are */
    int output;       /* standard output */
};

/* Whom children become; zeroed: they stay what we are. */
struct place_user {
    uid_t uid;
    gid_t gid;
    bool becomes; /* uid and gid are set */
    int error;    /* 0, or an errno: there is none, and nothing is started */
};

/* Look the rules' user up: once, as that may ask the network and wait. */
struct place_user place_find_user(const struct place_rules *rules);

/* How a descriptor is written to. */
enum place_target {
    PLACE_NONE,     /* there is none now */
    PLACE_FILE,     /* a regular file of ours alone: its size tells what was written */
    PLACE_PIPE,     /* does not block */
    PLACE_SLOW,     /* may block: ask for room first */
    PLACE_STREAM,   /* a socket */
    PLACE_DATAGRAM, /* a socket, a record at a time */
    PLACE_TARGETS
};

#define PLACE_WHY_MAX 256

/* Open a spec that is no exec. A descriptor; -EAGAIN when its reader is not there now, but may
 * come; another -errno: never. Then `why` (PLACE_WHY_MAX bytes) has a sentence. */
int place_open(const struct place_rules *rules, const struct sink_spec *spec,
               enum place_target *target, char *why);

/* Does the file's path still lead to this descriptor? */
bool place_is_there(const struct place_rules *rules, const struct sink_spec *spec, int fd);

/* Put the file aside: NAME to NAME.1, that to NAME.2, and so on, the last one is forgotten. 0, or
 * -errno with a sentence. */
int place_rotate(const struct place_rules *rules, const struct sink_spec *spec, char *why);

/* A file without a name on the output directory's disk, for records that wait. A descriptor, or
 * -errno with a sentence. */
int place_spool(const struct place_rules *rules, char *why);

/* Start the program of an exec with `input` on its standard input: in a session of its own, as the
 * user, without privileges, open files, changed signals or priority. Its pid, or -errno with
 * a sentence. */
pid_t place_start(const struct place_rules *rules, const struct place_user *user,
                  const struct sink_spec *spec, int input, char *why);

#endif
