/* netlink.h - turns process-connector bytes into kernel events.
 *
 * Owns the socket and the kernel's message format and nothing else: no loop, no /proc, no
 * tracker. Carries its own copy of the kernel's constants, under its own names, because the
 * headers of Debian 12 (6.1) lack some and 6.6 changed how the others are declared. */
#ifndef COLLECT_NETLINK_H
#define COLLECT_NETLINK_H

#include "event/event.h"

/* A process ended before anybody could see how; the kernel never sends this. */
#define KERNEL_EXIT_UNKNOWN UINT32_MAX

/* One message of the kernel, decoded. Ids are those of the initial pid namespace. */
struct kernel_event {
    enum event_kind kind; /* FORK EXEC EXIT UID GID SID PTRACE COMM COREDUMP, or NONE: no event,
                             only cpu, seq and mono_ns are set (an ack, a kind unknown to us) */
    uint32_t cpu;
    uint32_t seq;     /* per-CPU number of the kernel, wraps */
    int64_t mono_ns;  /* CLOCK_MONOTONIC */
    int32_t pid, tid; /* process (tgid) and thread that it is about; FORK: of the child */
    union {
        struct {
            int32_t ppid, ptid; /* 0 when the kernel no longer knows */
        } parent;               /* FORK, EXIT, COREDUMP */
        struct {
            uint32_t real, effective;
        } id; /* UID, GID */
        struct {
            int32_t pid, tid;
        } tracer;      /* PTRACE: 0, 0 when it let go */
        char comm[16]; /* COMM: not NUL-terminated when 16 long */
    };
    uint32_t exit_code;   /* EXIT: wait status as in wait(2), or KERNEL_EXIT_UNKNOWN */
    uint32_t exit_signal; /* EXIT: signal for the parent; UINT32_MAX for a thread */
};

/* Called once per datagram of the kernel that could be decoded, EVENT_NONE included: it used up a
 * number of its CPU, and the ledger would take that for a loss. `ev` is borrowed: copy what must
 * outlive the call. */
typedef void netlink_sink(void *ctx, const struct kernel_event *ev);

/* What one datagram was. */
enum netlink_verdict {
    NETLINK_EVENT,   /* *out is filled */
    NETLINK_ACK,     /* answer to a LISTEN: *out's seq and cpu are the kernel's counter,
                        ack and error are set in *ack */
    NETLINK_UNKNOWN, /* well formed, of a kind that we do not know: *out as for an ACK */
    NETLINK_BAD,     /* truncated, wrong ids or wrong type: not from the connector */
};

struct netlink_ack {
    uint32_t ack;
    uint32_t error; /* 0 or a positive errno */
};

/* Decode one datagram. Pure: no socket, so tests feed it recorded bytes. Takes sizes from the
 * message and never reads past len. */
enum netlink_verdict netlink_decode(const void *bytes, size_t len, struct kernel_event *out,
                                    struct netlink_ack *ack);

/* What the socket lets through. */
struct netlink_filter {
    uint32_t kinds; /* ON(FORK) | ON(EXEC) ... */
    bool threads;   /* also forks and exits of threads, and ids and names set by threads that are
                       not the main one */
};

/* Does it let everything through? Only then do sequence gaps mean loss. */
bool netlink_filter_passes_all(struct netlink_filter filter);

/* Classic BPF for a filter. The ACK passes; what is too short to be an event does not. Returns how
 * many instructions were written to `to`, at most NETLINK_FILTER_MAX. `struct sock_filter *` of
 * <linux/filter.h>. */
#define NETLINK_FILTER_MAX 64
struct sock_filter;
int netlink_filter_program(struct netlink_filter filter, struct sock_filter *to);

struct netlink_counters {
    uint64_t received; /* datagrams that were events */
    uint64_t forged;   /* rejected: the sender was not the kernel */
    uint64_t bad;      /* rejected: from the kernel, but could not be decoded */
    uint64_t unknown;  /* of a kind that we do not know */
    uint64_t overruns; /* times that the kernel said ENOBUFS */
    uint64_t dropped;  /* SO_MEMINFO: exact number of datagrams that found no room */
};

struct netlink {
    int fd;           /* owned; -1 when closed */
    int buffer_bytes; /* what the kernel granted (sk_rcvbuf) */
    bool listening;
    struct netlink_filter filter;
    struct netlink_counters count;
    uint32_t dropped_seen;       /* raw SO_MEMINFO counter at the last look: it is 32 bits wide */
    struct netlink_batch *batch; /* owned: receive buffers */
};

/* Open the socket with the filter in place before it is bound, with a receive buffer of
 * `buffer_bytes` as setsockopt takes it (forced when permitted, else capped by
 * net.core.rmem_max). Nothing arrives that was filtered. 0, or -errno. */
int netlink_open(struct netlink *nl, struct netlink_filter filter, int buffer_bytes);

/* Why the handshake failed: the text is one sentence with the mend. */
enum netlink_refusal {
    NETLINK_OK,
    NETLINK_NOT_PERMITTED,  /* the ACK said EPERM, or bind did: kernel < 6.6 and no CAP_NET_ADMIN */
    NETLINK_OTHER_NETNS,    /* ECONNREFUSED: not in the initial network namespace */
    NETLINK_OTHER_PIDNS,    /* no ACK, and not in the initial pid namespace */
    NETLINK_OTHER_USERNS,   /* no ACK, and not in the initial user namespace */
    NETLINK_NO_PROC_EVENTS, /* no ACK in the right namespaces: CONFIG_PROC_EVENTS is off */
    NETLINK_FAILED,         /* another errno */
};
const char *netlink_refusal_text(enum netlink_refusal refusal);

/* The same for what netlink_open returned (0 or -errno); errno is set for NETLINK_FAILED. */
enum netlink_refusal netlink_refusal_of(int error);

/* LISTEN with a random cookie and wait for its ACK, 200 ms at most. Events that arrive meanwhile
 * go to the sink; what was queued before is thrown away, and its drops are not counted. Those
 * since are: look at netlink_dropped afterwards. With NETLINK_FAILED, errno is set. */
enum netlink_refusal netlink_listen(struct netlink *nl, netlink_sink *sink, void *ctx);

/* Replace the filter while running. 0, or -errno with the old one in force. */
int netlink_set_filter(struct netlink *nl, struct netlink_filter filter);

#define NETLINK_BATCH 32

/* Receive one batch without waiting and hand its events to the sink.
 * Returns how many datagrams there were (less than NETLINK_BATCH: the queue is empty), -ENOBUFS when the kernel says
 * that events were lost (call again: what is queued is still there), or another -errno. */
int netlink_receive(struct netlink *nl, netlink_sink *sink, void *ctx);

/* Look at SO_MEMINFO: adds to count.dropped and returns how many were dropped since the last
 * look. `fill`, when not NULL, gets how full the buffer is, 0..1. */
uint64_t netlink_dropped(struct netlink *nl, double *fill);

/* IGNORE when listening, then close. */
void netlink_close(struct netlink *nl);

#endif
