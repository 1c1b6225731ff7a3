/* match.c - does a text fit one of some patterns? See match.h.
 *
 * A glob is an automaton whose states are bits: bit i says that the first i elements have been
 * read. One step of all states at once is a few operations on words, so nothing is ever tried
 * again, however many stars there are. windash is the same with a star on both ends and one more
 * way: a dash is one byte, or three. */
#include "host/match.h"

#include "base/address.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define WORDS_MAX ((MATCH_ELEMENTS_MAX + 64) / 64)

struct text {
    size_t len;
    char bytes[];
};

struct automaton {
    unsigned words, last; /* words of a set of states; the state in which all is read */
    uint64_t *accept;     /* [256][words]: states that go on to the next with this byte */
    uint64_t *stay;       /* states that stay with any byte: a star follows */
    uint64_t *dash;       /* states that go on by three with '-' or '/' */
    uint64_t sets[];
};

struct match {
    enum match_op op;
    bool cased;
    struct memory memory;
    void **patterns; /* owned: struct text, struct automaton or pcre2_code */
    size_t len, cap;
    struct address_range *ranges; /* owned; sorted and apart once finished */
    size_t ranges_len, ranges_cap;
    char *folded; /* owned: the text in small letters */
    size_t folded_cap;
    pcre2_general_context *general; /* owned, as are the next three */
    pcre2_compile_context *compiling;
    pcre2_match_context *limits;
    pcre2_match_data *found;
};

static void *get(struct match *m, size_t size)
{
    return m->memory.get(size, m->memory.ctx);
}

static void put(struct match *m, void *block)
{
    if (block)
        m->memory.put(block, m->memory.ctx);
}

static unsigned char small(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 'a' - 'A') : c;
}

static void fold(char *to, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)small((unsigned char)from[i]);
}

static int refuse(char why[128], size_t *at, size_t where, const char *text)
{
    snprintf(why, 128, "%s", text);
    *at = where;
    return -EINVAL;
}

/* Room for one more of `size` bytes each. */
static int grow(struct match *m, void **array, size_t len, size_t *cap, size_t size)
{
    if (len < *cap)
        return 0;
    size_t more = *cap ? *cap * 2 : 4;
    void *moved = get(m, more * size);
    if (!moved)
        return -ENOMEM;
    if (len)
        memcpy(moved, *array, len * size);
    put(m, *array);
    *array = moved;
    *cap = more;
    return 0;
}

/* --- contains, startswith, endswith ---------------------------------------------------------- */

static int add_text(struct match *m, const char *pattern, size_t len)
{
    struct text *t = get(m, sizeof *t + len);
    if (!t)
        return -ENOMEM;
    t->len = len;
    if (m->cased)
        memcpy(t->bytes, pattern, len);
    else
        fold(t->bytes, pattern, len);
    m->patterns[m->len++] = t;
    return 0;
}

static bool text_fits(enum match_op op, const struct text *want, const char *text, size_t len)
{
    if (want->len > len)
        return false;
    if (op == MATCH_STARTSWITH)
        return !memcmp(text, want->bytes, want->len);
    if (op == MATCH_ENDSWITH)
        return !memcmp(text + len - want->len, want->bytes, want->len);
    return memmem(text, len, want->bytes, want->len) != NULL;
}

/* --- glob and windash ------------------------------------------------------------------------ */

static void set_bit(uint64_t *set, size_t bit)
{
    set[bit / 64] |= UINT64_C(1) << bit % 64;
}

static bool has_bit(const uint64_t *set, size_t bit)
{
    return set[bit / 64] >> bit % 64 & 1;
}

/* `elements` at most; the rest is filled in by reading the pattern. */
static struct automaton *new_automaton(struct match *m, size_t elements)
{
    size_t words = (elements + 64) / 64, len = (256 + 2) * words;
    struct automaton *a = get(m, sizeof *a + len * sizeof *a->sets);
    if (!a)
        return NULL;
    memset(a, 0, sizeof *a + len * sizeof *a->sets);
    a->words = (unsigned)words;
    a->accept = a->sets;
    a->stay = a->accept + 256 * words;
    a->dash = a->stay + words;
    return a;
}

static void take_byte(const struct match *m, struct automaton *a, unsigned char c)
{
    set_bit(a->accept + c * a->words, a->last);
    if (m->cased || (c | 0x20) < 'a' || (c | 0x20) > 'z')
        return;
    set_bit(a->accept + (c | 0x20) * a->words, a->last);
    set_bit(a->accept + (c & ~0x20) * a->words, a->last);
}

/* Take what the set has, or all that it has not. */
static void take_set(const struct match *m, struct automaton *a, const bool set[256], bool negated)
{
    for (int c = 0; c < 256; c++) {
        bool in = set[c];
        if (!m->cased && c < 128) {
            int other = small((unsigned char)c) != c ? c + 32 : c >= 'a' && c <= 'z' ? c - 32 : c;
            in = in || set[other];
        }
        if (in != negated)
            set_bit(a->accept + (size_t)c * a->words, a->last);
    }
}

/* Read "[a-z]" from `at`, which is behind the bracket. Returns where it ends, or 0: it does not. */
static size_t read_class(const char *pattern, size_t len, size_t at, bool set[256], bool *negated)
{
    *negated = at < len && (pattern[at] == '!' || pattern[at] == '^');
    at += *negated;
    for (size_t first = at; at < len; at++) {
        if (pattern[at] == ']' && at > first)
            return at + 1;
        if (pattern[at] == '\\' && ++at == len)
            return 0;
        unsigned char from = (unsigned char)pattern[at], to = from;
        if (at + 2 < len && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
            at += 2;
            if (pattern[at] == '\\' && ++at == len)
                return 0;
            to = (unsigned char)pattern[at];
        }
        for (int c = from; c <= to; c++)
            set[c] = true;
    }
    return 0;
}

/* Read one element of the pattern. Returns where the next one is, or 0 with `why` set. */
static size_t read_element(const struct match *m, struct automaton *a, const char *pattern,
                           size_t len, size_t at, const char **why)
{
    bool set[256] = { false }, negated = true;
    size_t next = at + 1;
    switch (pattern[at]) {
    case '*':
        set_bit(a->stay, a->last);
        return next;
    case '?':
        take_set(m, a, set, true);
        break;
    case '[':
        next = read_class(pattern, len, next, set, &negated);
        if (!next) {
            *why = "the [ has no ]";
            return 0;
        }
        take_set(m, a, set, negated);
        break;
    case '\\':
        if (next == len) {
            *why = "nothing follows the \\";
            return 0;
        }
        take_byte(m, a, (unsigned char)pattern[next++]);
        break;
    default:
        take_byte(m, a, (unsigned char)pattern[at]);
    }
    a->last++;
    return next;
}

static int add_glob(struct match *m, const char *pattern, size_t len, char why[128], size_t *at)
{
    size_t elements = 0;
    for (size_t i = 0; i < len; i++)
        elements += pattern[i] != '*';
    if (elements > MATCH_ELEMENTS_MAX)
        return refuse(why, at, MATCH_ELEMENTS_MAX, "it is too long, 1,023 bytes are allowed");
    struct automaton *a = new_automaton(m, elements);
    if (!a)
        return -ENOMEM;
    const char *wrong = NULL;
    for (size_t i = 0; i < len;) {
        size_t next = read_element(m, a, pattern, len, i, &wrong);
        if (!next) {
            put(m, a);
            return refuse(why, at, i, wrong);
        }
        i = next;
    }
    m->patterns[m->len++] = a;
    return 0;
}

/* - / and, in UTF-8, U+2013 U+2014 U+2015: how many bytes is the dash here? 0: there is none. */
static size_t dash_at(const char *text, size_t len, size_t at)
{
    if (text[at] == '-' || text[at] == '/')
        return 1;
    if (len - at < 3 || memcmp(text + at, "\xe2\x80", 2))
        return 0;
    unsigned char third = (unsigned char)text[at + 2];
    return third >= 0x93 && third <= 0x95 ? 3 : 0;
}

static bool word_byte(char c)
{
    unsigned char low = small((unsigned char)c);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* As Sigma has it: a dash that no word is before, and one is behind. */
static bool begins_option(const char *pattern, size_t len, size_t at, size_t dash)
{
    return dash && (at == 0 || !word_byte(pattern[at - 1])) && at + dash < len &&
           word_byte(pattern[at + dash]);
}

static void take_dash(struct automaton *a)
{
    set_bit(a->dash, a->last);
    set_bit(a->accept + 0xe2 * a->words, a->last++);
    set_bit(a->accept + 0x80 * a->words, a->last++);
    for (size_t c = 0x93; c <= 0x95; c++)
        set_bit(a->accept + c * a->words, a->last);
    a->last++;
}

static int add_windash(struct match *m, const char *pattern, size_t len, char why[128], size_t *at)
{
    size_t elements = 0;
    for (size_t i = 0; i < len; i++)
        elements += begins_option(pattern, len, i, dash_at(pattern, len, i)) ? 3 : 1;
    if (elements > MATCH_ELEMENTS_MAX)
        return refuse(why, at, MATCH_ELEMENTS_MAX, "it is too long, 1,023 bytes are allowed");
    struct automaton *a = new_automaton(m, elements);
    if (!a)
        return -ENOMEM;
    set_bit(a->stay, 0);
    for (size_t i = 0; i < len;) {
        size_t dash = dash_at(pattern, len, i);
        if (begins_option(pattern, len, i, dash)) {
            take_dash(a);
            i += dash;
        } else {
            take_byte(m, a, (unsigned char)pattern[i++]);
            a->last++;
        }
    }
    set_bit(a->stay, a->last);
    m->patterns[m->len++] = a;
    return 0;
}

/* One byte: the states that come from `from`. Returns whether there are any. */
static bool step(const struct automaton *a, const uint64_t *from, uint64_t *to, unsigned char c)
{
    const uint64_t *accept = a->accept + c * a->words;
    uint64_t by_one = 0, by_three = 0, any = 0; /* what goes over into the next word */
    bool dash = c == '-' || c == '/';
    for (unsigned w = 0; w < a->words; w++) {
        uint64_t one = from[w] & accept[w], three = dash ? from[w] & a->dash[w] : 0;
        to[w] = (from[w] & a->stay[w]) | one << 1 | by_one | three << 3 | by_three;
        by_one = one >> 63;
        by_three = three >> 61;
        any |= to[w];
    }
    return any != 0;
}

static bool automaton_fits(const struct automaton *a, const char *text, size_t len)
{
    uint64_t one[WORDS_MAX] = { 1 }, two[WORDS_MAX];
    uint64_t *now = one, *next = two;
    bool open = has_bit(a->stay, a->last); /* ends in a star: who is there has won */
    for (size_t i = 0; i < len; i++) {
        if (open && has_bit(now, a->last))
            return true;
        if (!step(a, now, next, (unsigned char)text[i]))
            return false;
        uint64_t *swap = now;
        now = next;
        next = swap;
    }
    return has_bit(now, a->last);
}

/* --- regex ----------------------------------------------------------------------------------- */

static int open_regex(struct match *m)
{
    if (m->found)
        return 0;
    m->general = pcre2_general_context_create(m->memory.get, m->memory.put, m->memory.ctx);
    m->compiling = m->general ? pcre2_compile_context_create(m->general) : NULL;
    m->limits = m->general ? pcre2_match_context_create(m->general) : NULL;
    m->found = m->general ? pcre2_match_data_create(1, m->general) : NULL;
    if (!m->compiling || !m->limits || !m->found)
        return -ENOMEM;
    pcre2_set_max_pattern_length(m->compiling, MATCH_REGEX_MAX);
    pcre2_set_match_limit(m->limits, MATCH_STEPS);
    pcre2_set_depth_limit(m->limits, MATCH_STEPS);
    pcre2_set_heap_limit(m->limits, MATCH_HEAP_KIB);
    return 0;
}

/* Never UTF: texts are any bytes, and a pattern that insisted on it would refuse some of them. */
static int add_regex(struct match *m, const char *pattern, size_t len, char why[128], size_t *at)
{
    int error = 0;
    PCRE2_SIZE offset = 0;
    if (open_regex(m) < 0)
        return -ENOMEM;
    uint32_t options = PCRE2_NEVER_UTF | (m->cased ? 0 : PCRE2_CASELESS);
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, len, options, &error, &offset, m->compiling);
    if (code) {
        m->patterns[m->len++] = code;
        return 0;
    }
    if (error == PCRE2_ERROR_HEAP_FAILED)
        return -ENOMEM;
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(error, message, sizeof message);
    return refuse(why, at, offset, (const char *)message);
}

static int regex_fits(struct match *m, const pcre2_code *code, const char *text, size_t len)
{
    int found = pcre2_match(code, (PCRE2_SPTR)text, len, 0, PCRE2_NO_JIT, m->found, m->limits);
    if (found >= 0)
        return 1;
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    return found == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EAGAIN;
}

/* --- cidr ------------------------------------------------------------------------------------ */

static int add_cidr(struct match *m, const char *pattern, size_t len, char why[128], size_t *at)
{
    struct address_range r;
    size_t where = 0;
    const char *wrong = address_read_range(pattern, len, &r, &where);
    if (wrong)
        return refuse(why, at, where, wrong);
    int error = grow(m, (void **)&m->ranges, m->ranges_len, &m->ranges_cap, sizeof r);
    if (error < 0)
        return error;
    m->ranges[m->ranges_len++] = r;
    return 0;
}

static int compare_ranges(const void *a, const void *b)
{
    return address_compare(&((const struct address_range *)a)->from,
                           &((const struct address_range *)b)->from);
}

/* Sorted, and those that overlap as one: then one search answers. */
static void merge_ranges(struct match *m)
{
    if (!m->ranges_len)
        return;
    qsort(m->ranges, m->ranges_len, sizeof *m->ranges, compare_ranges);
    struct address_range *last = m->ranges;
    for (size_t i = 1; i < m->ranges_len; i++) {
        const struct address_range *r = m->ranges + i;
        if (address_compare(&r->from, &last->to) > 0)
            *++last = *r;
        else if (address_compare(&r->to, &last->to) > 0)
            last->to = r->to;
    }
    m->ranges_len = (size_t)(last - m->ranges) + 1;
}

static bool cidr_fits(const struct match *m, const char *text, size_t len)
{
    struct address address;
    if (!address_read(text, len, &address))
        return false;
    size_t from = 0, to = m->ranges_len;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (address_compare(&address, &m->ranges[middle].from) < 0)
            to = middle;
        else if (address_compare(&address, &m->ranges[middle].to) > 0)
            from = middle + 1;
        else
            return true;
    }
    return false;
}

/* --- all of them ----------------------------------------------------------------------------- */

struct match *match_new(enum match_op op, bool cased, const struct memory *memory)
{
    struct match *m = memory->get(sizeof *m, memory->ctx);
    if (m)
        *m = (struct match){ .op = op, .cased = cased, .memory = *memory };
    return m;
}

void match_free(struct match *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->len; i++) {
        if (m->op == MATCH_REGEX)
            pcre2_code_free(m->patterns[i]);
        else
            put(m, m->patterns[i]);
    }
    pcre2_match_data_free(m->found);
    pcre2_match_context_free(m->limits);
    pcre2_compile_context_free(m->compiling);
    pcre2_general_context_free(m->general);
    put(m, m->patterns);
    put(m, m->ranges);
    put(m, m->folded);
    put(m, m);
}

int match_add(struct match *m, const char *pattern, size_t len, char why[128], size_t *at)
{
    if (!len)
        return refuse(why, at, 0, "it is empty");
    if (grow(m, (void **)&m->patterns, m->len, &m->cap, sizeof *m->patterns) < 0)
        return -ENOMEM;
    switch (m->op) {
    case MATCH_GLOB:
        return add_glob(m, pattern, len, why, at);
    case MATCH_WINDASH:
        return add_windash(m, pattern, len, why, at);
    case MATCH_REGEX:
        return add_regex(m, pattern, len, why, at);
    case MATCH_CIDR:
        return add_cidr(m, pattern, len, why, at);
    default:
        return add_text(m, pattern, len);
    }
}

void match_finish(struct match *m)
{
    merge_ranges(m);
}

/* The text in small letters, or NULL: no memory. */
static const char *folded(struct match *m, const char *text, size_t len)
{
    if (len > m->folded_cap) {
        put(m, m->folded);
        m->folded = get(m, len);
        m->folded_cap = m->folded ? len : 0;
    }
    if (m->folded)
        fold(m->folded, text, len);
    return m->folded;
}

static int fits_one(struct match *m, const void *pattern, const char *text, size_t len)
{
    if (m->op == MATCH_REGEX)
        return regex_fits(m, pattern, text, len);
    if (m->op == MATCH_GLOB || m->op == MATCH_WINDASH)
        return automaton_fits(pattern, text, len);
    return text_fits(m->op, pattern, text, len);
}

int match_test(struct match *m, const char *text, size_t len)
{
    if (m->op == MATCH_CIDR)
        return cidr_fits(m, text, len);
    if (m->op <= MATCH_ENDSWITH && !m->cased && len) {
        text = folded(m, text, len);
        if (!text)
            return -ENOMEM;
    }
    int undecided = 0;
    for (size_t i = 0; i < m->len; i++) {
        int result = fits_one(m, m->patterns[i], text, len);
        if (result > 0)
            return result;
        undecided = result < 0 ? result : undecided;
    }
    return undecided;
}
