/* store.c - keys and values in a file that outlives whoever writes it. See store.h.
 *
 *   header   "mwstore\n", version, length of names, checksum, "SCRIPT\0NAME\0"
 *   record   checksum, length of key, length of value (DELETED: none), key, value
 *
 * Numbers are 32 bits in the machine's order: a store stays on its machine. */
#include "sink/store.h"

#include "base/crc.h"

#include <errno.h>
#include <fcntl.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   "mwstore\n"
#define VERSION 1
#define DELETED UINT32_MAX

/* A writer that keeps to store_wants_compaction makes no longer file; of one that does not, the
 * rest is cut. */
#define FILE_MOST (2 * STORE_MOST + 4 * STORE_SLACK)

struct header {
    char magic[8];
    uint32_t version;
    uint32_t names; /* bytes that follow */
    uint32_t crc;   /* of `names` and what follows */
};

struct prefix {
    uint32_t crc; /* of the lengths, the key and the value */
    uint32_t key_len, value_len;
};

_Static_assert(sizeof(struct header) == 20 && sizeof(struct prefix) == 12, "no padding");

/* --- records ---------------------------------------------------------------------------------- */

size_t store_cost(size_t key_len, size_t value_len)
{
    return sizeof(struct prefix) + key_len + value_len;
}

static uint32_t header_crc(const struct header *h, const char *names)
{
    return crc32c(crc32c(0, &h->names, sizeof h->names), names, h->names);
}

const char *store_begin(const char *bytes, size_t len)
{
    struct header h;
    if (len < sizeof h)
        return NULL;
    memcpy(&h, bytes, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof h.magic) || h.version != VERSION ||
        h.names > len - sizeof h || header_crc(&h, bytes + sizeof h) != h.crc)
        return NULL;
    return bytes + sizeof h + h.names;
}

bool store_next(const char **at, const char *end, struct store_record *out)
{
    struct prefix p;
    size_t left = (size_t)(end - *at) - sizeof p;
    if ((size_t)(end - *at) < sizeof p)
        return false;
    memcpy(&p, *at, sizeof p);
    size_t value_len = p.value_len == DELETED ? 0 : p.value_len;
    if (p.key_len > left || value_len > left - p.key_len)
        return false;
    const char *lengths = *at + sizeof p.crc;
    if (crc32c(0, lengths, sizeof p - sizeof p.crc + p.key_len + value_len) != p.crc)
        return false;
    out->key = *at + sizeof p;
    out->key_len = p.key_len;
    out->value = p.value_len == DELETED ? NULL : out->key + p.key_len;
    out->value_len = value_len;
    *at = out->key + p.key_len + value_len;
    return true;
}

static void add_record(struct buf *out, const struct store_record *r)
{
    struct prefix p = { .key_len = (uint32_t)r->key_len,
                        .value_len = r->value ? (uint32_t)r->value_len : DELETED };
    size_t begin = out->len;
    buf_add(out, &p, sizeof p);
    buf_add(out, r->key, r->key_len);
    if (r->value)
        buf_add(out, r->value, r->value_len);
    if (out->failed)
        return;
    p.crc = crc32c(0, out->data + begin + sizeof p.crc, out->len - begin - sizeof p.crc);
    memcpy(out->data + begin, &p.crc, sizeof p.crc);
}

/* --- writing ---------------------------------------------------------------------------------- */

int store_read(int fd, struct buf *out)
{
    size_t begin = out->len;
    for (;;) {
        size_t have = out->len - begin, more = FILE_MOST - have;
        char *to = buf_reserve(out, more < STORE_SLACK ? more : STORE_SLACK);
        if (!to)
            return -ENOMEM;
        ssize_t got = pread(fd, to, more < STORE_SLACK ? more : STORE_SLACK, (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : 0;
        out->len += (size_t)got;
    }
}

/* One write: whoever is killed has written all of it or a part that is cut off, and the kernel
 * keeps what was written. */
static int append(struct store *s, const char *bytes, size_t len)
{
    ssize_t put;
    do
        put = write(s->fd, bytes, len);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    s->file += (size_t)put;
    s->torn = (size_t)put != len;
    return s->torn ? -ENOSPC : 0;
}

int store_put(struct store *s, const char *key, size_t key_len, const char *value, size_t value_len,
              size_t replaced)
{
    size_t cost = value ? store_cost(key_len, value_len) : 0;
    if (key_len > STORE_MOST || value_len > STORE_MOST ||
        (value && cost > replaced && s->live - replaced + cost > s->most))
        return -EDQUOT;
    if (s->torn)
        return -EUCLEAN;
    if (s->fd >= 0) {
        struct buf record = { 0 };
        add_record(&record, &(struct store_record){ key, value, key_len, value_len });
        int result = record.failed ? -ENOMEM : append(s, record.data, record.len);
        buf_free(&record);
        if (result < 0)
            return result;
    }
    s->live = s->live - replaced + cost;
    return 0;
}

static bool worth_it(size_t file, size_t live)
{
    return file > 2 * live + STORE_SLACK;
}

bool store_wants_compaction(const struct store *s)
{
    return s->fd >= 0 && (s->torn || worth_it(s->file, s->live));
}

/* --- names ------------------------------------------------------------------------------------ */

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* No plain name has a '~', so none looks like the hash of an odd one. */
static size_t plain_name(const char *name, char *to)
{
    size_t len = strlen(name), n = 0;
    bool odd = !len || len >= STORE_NAME;
    for (size_t i = 0; i < len && n < STORE_NAME - 1; i++) {
        to[n++] = plain(name[i]) ? name[i] : '_';
        odd |= !plain(name[i]);
    }
    if (!odd)
        return n;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA2_CTX hash;
    SHA256Init(&hash);
    SHA256Update(&hash, (const uint8_t *)name, len);
    SHA256Final(digest, &hash);
    to[n++] = '~';
    for (int i = 0; i < 16; i++)
        n += (size_t)sprintf(to + n, "%02x", digest[i]);
    return n;
}

void store_file_name(const char *script, const char *name, char to[STORE_FILE])
{
    size_t len = plain_name(script, to);
    to[len++] = '.';
    len += plain_name(name, to + len);
    memcpy(to + len, ".store", sizeof ".store");
}

/* --- owning ----------------------------------------------------------------------------------- */

static int complain(struct buf *why, int error, const char *file, const char *what)
{
    buf_puts(why, file);
    buf_puts(why, ": ");
    buf_puts(why, what ? what : strerror(error));
    return -error;
}

/* The header of a new store. */
static void add_header(struct buf *out, const char *script, const char *name)
{
    struct header h = { .magic = MAGIC,
                        .version = VERSION,
                        .names = (uint32_t)(strlen(script) + strlen(name) + 2) };
    size_t begin = out->len;
    buf_add(out, &h, sizeof h);
    buf_add(out, script, strlen(script) + 1);
    buf_add(out, name, strlen(name) + 1);
    if (out->failed)
        return;
    h.crc = header_crc(&h, out->data + begin + sizeof h);
    memcpy(out->data + begin, &h, sizeof h);
}

static int write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(fd, bytes, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        bytes += put;
        len -= (size_t)put;
    }
    return 0;
}

/* Locked before it has its name: who opens it by that name finds it taken. Nothing of it is seen
 * unless all of it is on the disk. Returns the descriptor, or -errno. */
static int replace_file(int dir, const char *file, const struct buf *content)
{
    char fresh[STORE_FILE + 8];
    snprintf(fresh, sizeof fresh, "%s.new", file);
    unlinkat(dir, fresh, 0); /* one that a crash left */
    int fd =
        openat(dir, fresh, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
    if (!result)
        result = write_all(fd, content->data, content->len);
    if (!result && (fsync(fd) < 0 || renameat(dir, fresh, dir, file) < 0))
        result = -errno;
    if (!result) {
        fsync(dir); /* it has its name in any case; that this fails is no reason to leave it */
        return fd;
    }
    unlinkat(dir, fresh, 0);
    close(fd);
    return result;
}

/* Records by their offset in the bytes of a file, which are known to be whole. */
static struct store_record record_at(const char *bytes, uint32_t offset)
{
    struct prefix p;
    memcpy(&p, bytes + offset, sizeof p);
    const char *key = bytes + offset + sizeof p;
    bool deleted = p.value_len == DELETED;
    return (struct store_record){ .key = key,
                                  .key_len = p.key_len,
                                  .value = deleted ? NULL : key + p.key_len,
                                  .value_len = deleted ? 0 : p.value_len };
}

static int compare_keys(const struct store_record *a, const struct store_record *b)
{
    size_t shorter = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, shorter);
    return order ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static int compare_offsets(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int compare_records(const void *a, const void *b, void *bytes)
{
    struct store_record x = record_at(bytes, *(const uint32_t *)a);
    struct store_record y = record_at(bytes, *(const uint32_t *)b);
    int order = compare_keys(&x, &y);
    return order ? order : compare_offsets(a, b);
}

/* Keep the last record of each key that is not deleted. Sorted, not hashed: the keys may be made by
 * somebody who wants it to take long. Returns how many are left, in the order of the file. */
static size_t keep_live(char *bytes, uint32_t *offsets, size_t n)
{
    size_t kept = 0;
    qsort_r(offsets, n, sizeof *offsets, compare_records, bytes);
    for (size_t i = 0; i < n; i++) {
        struct store_record this = record_at(bytes, offsets[i]), next = this;
        if (i + 1 < n)
            next = record_at(bytes, offsets[i + 1]);
        if (this.value && (i + 1 == n || compare_keys(&this, &next)))
            offsets[kept++] = offsets[i];
    }
    qsort(offsets, kept, sizeof *offsets, compare_offsets);
    return kept;
}

/* What a file holds. */
struct content {
    struct buf bytes;  /* owned */
    size_t begin;      /* of the records */
    size_t whole;      /* end of the last whole one */
    uint32_t *offsets; /* owned: of the live ones */
    size_t n, live;    /* how many, and what they take */
};

static void content_free(struct content *c)
{
    buf_free(&c->bytes);
    free(c->offsets);
}

static int find_records(struct content *c)
{
    const char *bytes = c->bytes.data, *end = bytes + c->bytes.len, *at = bytes + c->begin;
    struct store_record record;
    size_t n = 0;
    while (store_next(&at, end, &record))
        n++;
    c->whole = (size_t)(at - bytes);
    c->offsets = malloc((n + 1) * sizeof *c->offsets);
    if (!c->offsets)
        return -ENOMEM;
    at = bytes + c->begin;
    for (size_t i = 0; i < n; i++) {
        c->offsets[i] = (uint32_t)(at - bytes);
        store_next(&at, end, &record);
    }
    c->n = n;
    return 0;
}

/* 0; -EBADMSG: this is no store; another -errno. */
static int content_read(struct content *c, int fd)
{
    *c = (struct content){ 0 };
    int result = store_read(fd, &c->bytes);
    if (result < 0)
        return result;
    const char *begin = c->bytes.len ? store_begin(c->bytes.data, c->bytes.len) : NULL;
    if (!begin)
        return -EBADMSG;
    c->begin = (size_t)(begin - c->bytes.data);
    result = find_records(c);
    if (result < 0)
        return result;
    c->n = keep_live(c->bytes.data, c->offsets, c->n);
    for (size_t i = 0; i < c->n; i++) {
        struct store_record record = record_at(c->bytes.data, c->offsets[i]);
        c->live += store_cost(record.key_len, record.value_len);
    }
    return 0;
}

/* Cut what is no whole record; *cut: how much that was. */
static int cut_end(const struct content *c, int fd, size_t *cut)
{
    struct stat about;
    *cut = 0;
    if (fstat(fd, &about) < 0)
        return -errno;
    if ((size_t)about.st_size <= c->whole)
        return 0;
    *cut = (size_t)about.st_size - c->whole;
    return ftruncate(fd, (off_t)c->whole) < 0 ? -errno : 0;
}

static int rewrite(const struct content *c, int dir, const char *file)
{
    struct buf fresh = { 0 };
    buf_add(&fresh, c->bytes.data, c->begin);
    for (size_t i = 0; i < c->n; i++) {
        struct store_record record = record_at(c->bytes.data, c->offsets[i]);
        add_record(&fresh, &record);
    }
    int result = fresh.failed ? -ENOMEM : replace_file(dir, file, &fresh);
    buf_free(&fresh);
    return result;
}

/* The names in the header are the ones that this file was made for: of another one it is a copy. */
static bool has_names(const struct content *c, const char *script, const char *name)
{
    struct buf header = { 0 };
    add_header(&header, script, name);
    bool same =
        !header.failed && header.len == c->begin && !memcmp(header.data, c->bytes.data, header.len);
    buf_free(&header);
    return same;
}

static const char *reading_text(int error)
{
    return error == -EBADMSG
               ? "is no store of this version of moonwatch, or its beginning is damaged: "
                 "move it away"
               : NULL;
}

/* The rest of opening and of compacting, with the file locked. Returns a descriptor or -errno. */
static int settle(int dir, const char *script, const char *name, int fd, size_t *cut,
                  struct buf *why)
{
    struct content c;
    char file[STORE_FILE];
    store_file_name(script, name, file);
    int result = content_read(&c, fd);
    const char *text = reading_text(result);
    if (!result && !has_names(&c, script, name)) {
        result = -EBADMSG;
        text = "is another script's store: move it away";
    }
    if (!result)
        result = cut_end(&c, fd, cut);
    if (!result && worth_it(c.whole, c.live))
        result = rewrite(&c, dir, file);
    else if (!result)
        result = fd;
    content_free(&c);
    return result < 0 ? complain(why, -result, file, text) : result;
}

int store_compact(int dir, const char *script, const char *name, int fd, size_t *cut,
                  struct buf *why)
{
    *cut = 0;
    return settle(dir, script, name, fd, cut, why);
}

/* Is the file behind `fd` the one that has this name now? */
static bool still_named(int dir, const char *file, const struct stat *about)
{
    struct stat named;
    return fstatat(dir, file, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_dev == about->st_dev &&
           named.st_ino == about->st_ino;
}

/* Returns a descriptor, locked; -EAGAIN: it was replaced meanwhile, look again; -EBUSY; -errno. */
static int open_locked(int dir, const char *file)
{
    struct stat about;
    int error = 0;
    int fd = openat(dir, file, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &about) < 0)
        error = errno;
    else if (!S_ISREG(about.st_mode))
        error = EINVAL;
    else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        error = errno == EWOULDBLOCK ? EBUSY : errno;
    else if (!still_named(dir, file, &about))
        error = EAGAIN;
    if (error)
        close(fd);
    return error ? -error : fd;
}

/* Nobody else makes it meanwhile: that is what the lock on the directory is for. */
static int open_or_make(int dir, const char *script, const char *name, const char *file)
{
    struct buf header = { 0 };
    int fd;
    if (flock(dir, LOCK_EX) < 0)
        return -errno;
    do
        fd = open_locked(dir, file);
    while (fd == -EAGAIN);
    if (fd == -ENOENT) {
        add_header(&header, script, name);
        fd = header.failed ? -ENOMEM : replace_file(dir, file, &header);
        buf_free(&header);
    }
    flock(dir, LOCK_UN);
    return fd;
}

int store_open(int dir, const char *script, const char *name, size_t *cut, struct buf *why)
{
    char file[STORE_FILE];
    *cut = 0;
    store_file_name(script, name, file);
    int fd = open_or_make(dir, script, name, file);
    if (fd == -EBUSY)
        return complain(why, EBUSY, file, "another watch has it open");
    if (fd < 0)
        return complain(why, -fd, file, NULL);
    int result = settle(dir, script, name, fd, cut, why);
    if (result != fd)
        close(fd);
    return result;
}
