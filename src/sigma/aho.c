/* aho.c - finds many words in a text at once. See aho.h.
 *
 * States are numbered level by level, so that those which follow one state stand in a row: who
 * comes first and the byte of each is all there is to know of them. A state that has many followers
 * gets a table instead of a search; the root always has one. */
#include "sigma/aho.h"

#include "sigma/pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WIDE 4 /* followers, from which on a table is faster than looking at each */

struct state {
    uint32_t first; /* follower; they end where those of the next state begin */
    uint32_t fail;  /* the longest other state that the text read so far ends in */
    uint32_t out;   /* the words that end here: the number of a row of ends + 1, or 0 */
    uint32_t table; /* number of a table + 1, or 0 */
};

/* Words that end in one place of the text: those of a state, then those of a shorter one. */
struct ends {
    uint32_t first, len; /* in `words` */
    uint32_t next;       /* as state.out */
};

struct word {
    uint32_t number, len;
    uint8_t place;
};

struct aho {
    struct memory memory;
    struct state *states;    /* owned, one more than there are */
    unsigned char *bytes;    /* owned: that leads to each state */
    uint32_t (*tables)[256]; /* owned */
    struct ends *ends;       /* owned */
    struct word *words;      /* owned */
    uint32_t states_len, tables_len, ends_len;
    size_t size; /* of all that */
};

/* A state while it is built: the words that begin with what it stands for. */
struct span {
    uint32_t from, to, depth;
};

static int by_text(const void *a, const void *b)
{
    const struct aho_word *x = *(const struct aho_word *const *)a;
    const struct aho_word *y = *(const struct aho_word *const *)b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = len ? memcmp(x->text, y->text, len) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static uint32_t end_of(const struct aho_word *const *sorted, struct span s, uint32_t from)
{
    uint32_t to = from + 1;
    while (to < s.to && sorted[to]->text[s.depth] == sorted[from]->text[s.depth])
        to++;
    return to;
}

static size_t count_states(const struct aho_word *const *sorted, uint32_t len)
{
    size_t states = 1;
    for (uint32_t i = 0; i < len; i++) {
        size_t same = 0, most = i ? sorted[i - 1]->len : 0;
        while (same < most && same < sorted[i]->len &&
               sorted[i - 1]->text[same] == sorted[i]->text[same])
            same++;
        states += sorted[i]->len - same;
    }
    return states;
}

static uint32_t follower(const struct aho *a, uint32_t state, unsigned char byte)
{
    const struct state *s = &a->states[state];
    if (s->table)
        return a->tables[s->table - 1][byte];
    for (uint32_t next = s->first; next < s[1].first; next++)
        if (a->bytes[next] == byte)
            return next;
    return 0;
}

/* The root is followed by itself. */
static uint32_t step(const struct aho *a, uint32_t state, unsigned char byte)
{
    uint32_t next;
    while (!(next = follower(a, state, byte)) && state)
        state = a->states[state].fail;
    return next;
}

/* The words that are read where this state is reached come first among those of its span. */
static void add_ends(struct aho *a, const struct aho_word *const *sorted,
                     const struct aho_word *words, struct span *s, uint32_t state)
{
    struct ends *e = &a->ends[a->ends_len];
    e->first = s->from;
    while (s->from < s->to && sorted[s->from]->len == s->depth) {
        const struct aho_word *word = sorted[s->from];
        a->words[s->from++] =
            (struct word){ (uint32_t)(word - words), (uint32_t)word->len, (uint8_t)word->place };
    }
    e->len = s->from - e->first;
    if (e->len)
        a->states[state].out = ++a->ends_len;
}

static void add_followers(struct aho *a, const struct aho_word *const *sorted, struct span *spans,
                          uint32_t state)
{
    struct span s = spans[state];
    a->states[state].first = a->states_len;
    for (uint32_t from = s.from, to; from < s.to; from = to) {
        to = end_of(sorted, s, from);
        spans[a->states_len] = (struct span){ from, to, s.depth + 1 };
        a->bytes[a->states_len++] = (unsigned char)sorted[from]->text[s.depth];
    }
}

static bool is_wide(const struct aho *a, uint32_t state)
{
    return !state || a->states[state + 1].first - a->states[state].first > WIDE;
}

static int add_tables(struct aho *a)
{
    uint32_t n = 0;
    for (uint32_t state = 0; state < a->states_len; state++)
        n += is_wide(a, state);
    a->tables = memory_get(&a->memory, n * sizeof *a->tables);
    if (!a->tables)
        return -ENOMEM;
    memset(a->tables, 0, n * sizeof *a->tables);
    a->size += n * sizeof *a->tables;
    for (uint32_t state = 0; state < a->states_len; state++) {
        if (!is_wide(a, state))
            continue;
        uint32_t *table = a->tables[a->tables_len];
        for (uint32_t next = a->states[state].first; next < a->states[state + 1].first; next++)
            table[a->bytes[next]] = next;
        a->states[state].table = ++a->tables_len;
    }
    return 0;
}

/* Of the followers of one state; those of states before it have theirs. */
static void link_followers(struct aho *a, uint32_t state)
{
    for (uint32_t next = a->states[state].first; next < a->states[state + 1].first; next++) {
        uint32_t fail = state ? step(a, a->states[state].fail, a->bytes[next]) : 0;
        uint32_t out = a->states[fail].out;
        a->states[next].fail = fail;
        if (a->states[next].out)
            a->ends[a->states[next].out - 1].next = out;
        else
            a->states[next].out = out;
    }
}

static int build(struct aho *a, const struct aho_word *const *sorted, const struct aho_word *words,
                 uint32_t len, struct span *spans)
{
    spans[0] = (struct span){ 0, len, 0 };
    a->states_len = 1;
    for (uint32_t state = 0; state < a->states_len; state++) {
        add_ends(a, sorted, words, &spans[state], state);
        add_followers(a, sorted, spans, state);
    }
    a->states[a->states_len].first = a->states_len;
    if (add_tables(a) < 0)
        return -ENOMEM;
    for (uint32_t state = 0; state < a->states_len; state++)
        link_followers(a, state);
    return 0;
}

static int make_room(struct aho *a, size_t states, uint32_t len)
{
    a->states = memory_get(&a->memory, (states + 1) * sizeof *a->states);
    a->bytes = memory_get(&a->memory, states);
    a->ends = memory_get(&a->memory, (len + 1) * sizeof *a->ends);
    a->words = memory_get(&a->memory, (len + 1) * sizeof *a->words);
    if (!a->states || !a->bytes || !a->ends || !a->words)
        return -ENOMEM;
    memset(a->states, 0, (states + 1) * sizeof *a->states);
    memset(a->ends, 0, (len + 1) * sizeof *a->ends);
    a->bytes[0] = 0;
    a->size = (states + 1) * sizeof *a->states + states +
              (len + 1) * (sizeof *a->ends + sizeof *a->words);
    return 0;
}

int aho_new(struct aho **out, const struct memory *memory, const struct aho_word *words,
            uint32_t len)
{
    const struct aho_word **sorted = malloc((len + 1) * sizeof *sorted);
    struct aho *a = memory_get(memory, sizeof *a);
    struct span *spans = NULL;
    int result = -ENOMEM;
    if (a)
        *a = (struct aho){ .memory = *memory };
    if (!a || !sorted)
        goto out;
    for (uint32_t i = 0; i < len; i++)
        sorted[i] = &words[i];
    qsort(sorted, len, sizeof *sorted, by_text);
    size_t states = count_states(sorted, len);
    spans = states < UINT32_MAX / 2 ? malloc(states * sizeof *spans) : NULL;
    if (!spans || make_room(a, states, len) < 0)
        goto out;
    result = build(a, sorted, words, len, spans);
out:
    free(sorted);
    free(spans);
    if (result < 0)
        aho_free(a);
    else
        *out = a;
    return result;
}

void aho_free(struct aho *a)
{
    if (!a)
        return;
    struct memory memory = a->memory;
    void *const blocks[] = { a->states, a->bytes, a->tables, a->ends, a->words, a };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i])
            memory_put(&memory, blocks[i]);
}

static bool in_place(const struct word *word, size_t end, size_t len)
{
    bool begins = end == word->len, ends = end == len;
    return word->place == AHO_ANYWHERE || (word->place == AHO_BEGIN && begins) ||
           (word->place == AHO_END && ends) || (begins && ends);
}

/* Those of all lengths that end here. */
static uint32_t take(const struct aho *a, uint32_t out, size_t end, size_t len, uint32_t *stamps,
                     uint32_t stamp, uint32_t *found)
{
    uint32_t n = 0;
    for (; out; out = a->ends[out - 1].next) {
        const struct ends *e = &a->ends[out - 1];
        for (const struct word *word = a->words + e->first, *to = word + e->len; word < to;
             word++) {
            if (stamps[word->number] == stamp || !in_place(word, end, len))
                continue;
            stamps[word->number] = stamp;
            found[n++] = word->number;
        }
    }
    return n;
}

uint32_t aho_find(const struct aho *a, const char *text, size_t len, uint32_t *stamps,
                  uint32_t stamp, uint32_t *found)
{
    uint32_t state = 0, n = 0;
    if (a->states[0].out)
        n = take(a, a->states[0].out, 0, len, stamps, stamp, found);
    for (size_t i = 0; i < len; i++) {
        state = step(a, state, pattern_small((unsigned char)text[i]));
        if (a->states[state].out)
            n += take(a, a->states[state].out, i + 1, len, stamps, stamp, found + n);
    }
    return n;
}

size_t aho_states(const struct aho *a)
{
    return a->states_len;
}

size_t aho_bytes(const struct aho *a)
{
    return a->size;
}
