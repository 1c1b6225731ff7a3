/* fuzz_ring.c - a ring whose shared memory holds anything: the writer survives what a reader writes
 * to its cursor, and a reader that finds no records says so and stays inside the memory.
 *
 * A worker can write the cursors and nothing else, so only the cursors are overwritten before the
 * writer works. All of the memory is overwritten for a reader: it does not trust more than it must.
 * The input: flags, then 32 bytes for each cursor that is overwritten, then the records' memory. */
#include "../../src/ring/ring.c" /* for the private part: what is shared */

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

static void require(bool holds)
{
    if (!holds)
        abort();
}

struct input {
    const unsigned char *at;
    size_t left;
};

static uint64_t take_number(struct input *in)
{
    uint64_t number = 0;
    size_t n = in->left < sizeof number ? in->left : sizeof number;
    memcpy(&number, in->at, n);
    in->at += n;
    in->left -= n;
    return number;
}

static void scribble_cursor(struct ring *r, struct input *in)
{
    struct reader *reader = r->readers[take_number(in) % RING_READERS];
    atomic_store(&reader->at, take_number(in));
    atomic_store(&reader->seq, take_number(in));
    atomic_store(&reader->asleep, (uint32_t)take_number(in));
}

static void write_some(struct ring *r, unsigned count, struct event_box *box)
{
    static char text[EVENT_TEXT_MAX];
    for (unsigned i = 0; i < count; i++) {
        uint64_t seq = ring_next_seq(r);
        event_begin(box, EVENT_EXEC);
        event_set_text(box, F_COMM, "name", 4, WHY_PROC);
        if (i % 3 == 0) /* large ones, so that the ring is overrun */
            event_set_text(box, F_ARGS, text, sizeof text, WHY_PROC);
        ring_write(r, box);
        require(ring_next_seq(r) == seq + 1);
        ring_flush(r);
    }
}

static void read_some(struct ring *r, int reader, struct event_box *box)
{
    for (int i = 0; i < 50; i++) {
        uint64_t missed = 0;
        int got = ring_read(r, reader, box, &missed);
        require(got == 1 || got == 0 || got == -EOVERFLOW || got == -EPIPE || got == -EBADMSG);
        if (got == 1)
            require(event_valid(box, sizeof *box));
        if (got != 1 && got != -EOVERFLOW)
            return;
        ring_waiting(r, reader);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    static struct event_box box;
    struct ring *r;
    struct input in = { bytes, len };
    uint64_t flags = take_number(&in);
    require(ring_new(&r, 0) == 0);

    write_some(r, flags & 31, &box);
    for (unsigned i = flags >> 5 & 3; i > 0; i--)
        scribble_cursor(r, &in);
    uint64_t before = ring_count(r).records;
    write_some(r, flags >> 8 & 15, &box); /* the writer, whatever the cursors say */
    require(ring_count(r).records == before + (flags >> 8 & 15));
    ring_reader_start(r, 1);
    write_some(r, 3, &box);
    uint64_t missed;
    require(ring_read(r, 1, &box, &missed) == 1 &&
            box.ev.cell[F_SEQ].num == (int64_t)before + (int64_t)(flags >> 8 & 15) + 1);
    read_some(r, (int)(flags >> 16 & 7), &box); /* a reader that stands anywhere */

    size_t n = in.left < r->size ? in.left : r->size; /* a reader of anything */
    uint64_t head = atomic_load(&r->written->head);
    ring_reader_start(r, 2);
    memcpy(r->data + head % r->size, in.at, n);
    if (flags & 1 << 20 && n > sizeof(struct event)) { /* mostly right */
        struct event *ev = (struct event *)(r->data + head % r->size);
        ev->version = EVENT_VERSION;
        ev->fields = EVENT_FIELDS;
    }
    atomic_store(&r->written->head, head + 8 + (flags >> 24 & 0xffff) * 8);
    read_some(r, 2, &box);
    ring_free(r);
    return 0;
}
