/* spec.h - what a script asks for when it opens an output of its own.
 *
 * Flat and pointer-free: the bytes of the struct up to the end of its text are what crosses the
 * socket to the privileged side, and what tells whether two ask for the same. That side trusts no
 * byte of it: spec_take checks all. */
#ifndef SINK_SPEC_H
#define SINK_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sink_kind {
    SINK_STDOUT,
    SINK_FILE,     /* text: a path below the operator's output directory */
    SINK_UNIX,     /* text: the path of a socket, stream or datagram */
    SINK_SYSLOG,   /* the same; empty: /dev/log */
    SINK_JOURNALD, /* the same; empty: /run/systemd/journal/socket */
    SINK_EXEC,     /* text: the child's arguments, each with its NUL */
    SINK_KINDS
};

/* What happens to a record when the queue has no room. */
enum sink_full { SINK_DROP_OLDEST, SINK_DROP_NEWEST, SINK_SPOOL, SINK_FULLS };

#define SPEC_QUEUE_MIN  ((uint64_t)64 << 10)
#define SPEC_QUEUE_MAX  ((uint64_t)64 << 20)
#define SPEC_SPOOL_MAX  ((uint64_t)16 << 30)
#define SPEC_ROTATE_MIN ((uint64_t)4 << 10)
#define SPEC_KEEP_MAX   99
#define SPEC_TEXT_MAX   4096 /* bytes */
#define SPEC_ARGS_MAX   64

struct sink_spec {
    uint32_t kind, full; /* enum sink_kind, enum sink_full */
    uint64_t queue;      /* bytes of memory for records that wait: a power of two */
    uint64_t spool;      /* bytes of disk for those that find no room in it; 0 but for SINK_SPOOL */
    uint64_t rotate;     /* a file is put aside when it has so many bytes; 0: never */
    uint32_t keep;       /* how many that were put aside are kept; 0 without `rotate` */
    uint32_t text_len;
    char text[SPEC_TEXT_MAX];
};

/* The bytes that count. */
size_t spec_size(const struct sink_spec *spec);

/* NULL when it is a spec that can be served; else what is wrong with it, static text. */
const char *spec_fault(const struct sink_spec *spec);

/* Would the two disturb each other in one file: both write to it, or one writes to what the other
 * puts aside? */
bool spec_collides(const struct sink_spec *a, const struct sink_spec *b);

/* Read one from bytes of any origin. 0, or -EINVAL. */
int spec_take(struct sink_spec *spec, const void *bytes, size_t len);

/* The smallest power of two that a queue may have and that is no less than `bytes`. */
uint64_t spec_queue(uint64_t bytes);

/* "stdout", "file" and so on, as scripts call them. */
const char *spec_kind_name(enum sink_kind kind);

/* "file alerts.jsonl", "exec logger", "syslog": for people, made harmless. */
#define SPEC_NAME_MAX 96
void spec_name(const struct sink_spec *spec, char *to);

/* Fill argv (SPEC_ARGS_MAX + 1 places) from an exec's text; borrowed from it. Returns how many. */
int spec_argv(const struct sink_spec *spec, const char **argv);

#endif
