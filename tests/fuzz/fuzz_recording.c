/* fuzz_recording.c - any file is read as events that are whole, or not at all.
 *
 * The first byte says how the rest comes into a file: as it is; or as the content of a frame of this kind,
 * with its checksum, behind a head and a dictionary that are right: so that more than checksums is tried. */
#include "base/crc.h"
#include "record/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t front[64 * 1024]; /* header and dictionary, as they are written */
static size_t front_len;

static void make_front(void)
{
    struct recording_head head = { .boot = 7, .host = "fuzz" };
    struct recording_writer *w;
    struct frame f;
    struct recording_head again;
    uint8_t marker[MARKER];
    int fd = memfd_create("front", 0);
    if (recording_begin(&w, fd, &head) < 0 || recording_end(w) < 0)
        abort();
    ssize_t len = pread(fd, front, sizeof front, 0);
    close(fd);
    if (len < HEADER_SIZE + FRAME_HEAD || header_take(&again, marker, front) < 0 ||
        !frame_take(&f, front + HEADER_SIZE, marker) || f.kind != FRAME_DICTIONARY)
        abort();
    front_len = HEADER_SIZE + FRAME_HEAD + f.stored;
}

static void put(int fd, const void *bytes, size_t len)
{
    if (write(fd, bytes, len) != (ssize_t)len)
        abort();
}

static void put_frame(int fd, uint8_t kind, const uint8_t *data, size_t size)
{
    struct recording_head head;
    uint8_t marker[MARKER], bytes[FRAME_HEAD];
    struct frame f = { .kind = kind, .packing = PACKING_NONE, .stored = (uint32_t)size, .raw = (uint32_t)size,
                       .count = size > 1 ? data[0] : 1, .crc = crc32c(0, data, size), .number = 3,
                       .first_ns = 1, .last_ns = 9 };
    header_take(&head, marker, front);
    frame_put(bytes, &f, marker);
    put(fd, bytes, sizeof bytes);
    put(fd, data, size);
}

static void visit(void *ctx, const struct recording_note *note)
{
    const volatile unsigned char *answer = note->answer, *question = note->question;
    (void)ctx;
    for (uint32_t i = 0; i < note->answer_len; i++)
        (void)answer[i];
    for (uint32_t i = 0; i < note->question_len; i++)
        (void)question[i];
}

static void read_all(const char *path)
{
    static struct event_box box;
    struct recording *r;
    char why[256];
    uint64_t missing;
    int got;
    if (recording_open(&r, path, why, sizeof why) < 0)
        return;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 100000 && (got = recording_next(r, &box, &missing)) != 0; i++)
            if (got > 0 && !event_valid(&box.ev, box.ev.size))
                abort();
        recording_seek(r, 5);
    }
    recording_notes(r, visit, NULL);
    (void)recording_about(r);
    recording_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    if (!front_len)
        make_front();
    if (!size || size > 1 << 20)
        return 0;
    int fd = memfd_create("fuzz", 0);
    if (data[0] % 8 == 0) {
        put(fd, data + 1, size - 1);
    } else {
        put(fd, front, front_len);
        put_frame(fd, data[0] % 8, data + 1, size - 1);
        put_frame(fd, FRAME_EVENTS, data + 1, size - 1);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    read_all(path);
    close(fd);
    return 0;
}
