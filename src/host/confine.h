/* confine.h - what the process of a worker gives up for good before it runs a script.
 *
 * The second wall: the first is sandbox.h, and holds as long as LuaJIT has no hole. User,
 * capabilities (the bounding set too), the right to gain any of them back, being traced, core dumps;
 * limits of descriptors, processes and address space. In the profile `policy` a seccomp filter
 * besides, which lets pass what the worker and its loop do with the descriptors that they have, and
 * nothing that makes a new one from a name, a new process, or memory that is executable. */
#ifndef HOST_CONFINE_H
#define HOST_CONFINE_H

#include "host/host.h"

struct confine_options {
    enum profile profile;
    const char *user;    /* run as; NULL: stay who we are */
    size_t memory_bytes; /* that may be mapped besides what is; 0: any */
};

/* To be called once, after everything is opened and before any script is loaded. 0; or -errno with
 * one sentence in `why`: then nothing may be run. What the kernel lacks is warned of. */
int confine(const struct confine_options *options, char *why, size_t cap);

/* Can memory become executable here? Without it LuaJIT's compiler must be off. */
bool confine_may_compile(void);

#endif
