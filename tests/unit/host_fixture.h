/* host_fixture.h - what the tests of a host share: the host, what its scripts printed and what was
 * logged. Included once by a program that has included cmocka.h. */
#ifndef UNIT_HOST_FIXTURE_H
#define UNIT_HOST_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include "base/log.h"
#include "host/host.h"

static struct host *host; /* owned */
static int out = -1;      /* owned: the memfd it writes to */
static char logged[8192];

/* For log_to: all messages since `logged` was emptied, a line each. */
static inline void keep_log(void *ctx, enum log_level level, const char *text)
{
    (void)ctx, (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", text);
}

/* What scripts printed since the last look. */
static inline const char *written(void)
{
    static char text[1 << 20];
    host_flush(host);
    ssize_t len = pread(out, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    assert_int_equal(ftruncate(out, 0), 0);
    lseek(out, 0, SEEK_SET);
    return text;
}

static inline void end_host(void)
{
    host_free(host);
    close(out);
    log_to(NULL, NULL);
}

#endif
