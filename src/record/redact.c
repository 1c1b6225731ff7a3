/* redact.c - takes secrets out of arguments and environments. See redact.h.
 *
 * Most arguments have none, and that must be cheap: what was looked through already is remembered,
 * and an expression is tried only where one of its literals is. */
#include "record/redact.h"

#include "base/clock.h"
#include "record/hash.h"

#include <errno.h>
#include <sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STEPS     50000                      /* of an expression for a match */
#define PATIENCE  (5 * NS_PER_SECOND / 1000) /* of processor time for a text */
#define HEAP_KIB  1024
#define STACK_MAX ((size_t)1024 * 1024)
#define SPANS     256 /* secrets in one text; of more, everything is taken out */
#define TOKEN     19  /* "[redacted:01234567]" */
#define KEY       32

#define CLEAN     256  /* places for arguments that have no secret */
#define CLEAN_MAX 1024 /* bytes of such */

#define GRAMS  65536 /* hashes of three bytes */
#define CHAINS 256

struct literal {
    uint8_t len;
    uint64_t rules; /* that need one */
    char bytes[REDACT_LITERAL];
};

/* The expressions of a list, and what they need. */
struct list {
    pcre2_code **code; /* owned */
    size_t len;
    uint64_t always;         /* rules that need no literal */
    struct literal *literal; /* owned */
    size_t literals;
    uint64_t gram[GRAMS / 64]; /* of the first two places of longer literals, in small letters */
    uint16_t chain[CHAINS];    /* by the low bits of a gram: the first of its places, 0: none */
    struct gram_place {
        uint16_t gram, literal, next;
        uint8_t skip; /* bytes of the literal before it */
    } * place;        /* owned; the first is not used */
    size_t places;
};

struct span {
    size_t begin, end;
};

struct clean {
    uint32_t hash, len;
    char bytes[CLEAN_MAX];
};

struct redact {
    uint8_t key[KEY];
    struct list args, names, values;
    pcre2_match_context *limits; /* owned, as are the next two */
    pcre2_match_data *found;
    pcre2_jit_stack *stack;
    struct span span[SPANS];
    size_t spans, matches;
    int64_t deadline_ns;
    char made[EVENT_TEXT_MAX + TOKEN];
    struct clean clean[CLEAN];
};

/* --- rules ------------------------------------------------------------------------------------ */

static char small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* Letters count as small ones; other bytes may be mistaken for one another. */
static uint32_t gram_at(const char *at)
{
    uint32_t three =
        (uint8_t)at[0] | (uint32_t)(uint8_t)at[1] << 8 | (uint32_t)(uint8_t)at[2] << 16;
    return (three | 0x202020) * UINT32_C(0x9e3779b1) >> 16;
}

static void add_gram(struct list *l, size_t literal, uint8_t skip)
{
    uint32_t gram = gram_at(l->literal[literal].bytes + skip);
    uint16_t *chain = &l->chain[gram % CHAINS];
    l->gram[gram / 64] |= UINT64_C(1) << gram % 64;
    l->place[++l->places] = (struct gram_place){ (uint16_t)gram, (uint16_t)literal, *chain, skip };
    *chain = (uint16_t)l->places;
}

static int add_literal(struct list *l, const struct redact_literal *from, size_t rule)
{
    struct literal *to = &l->literal[l->literals++];
    if (!from->len || from->len > REDACT_LITERAL)
        return -EINVAL;
    *to = (struct literal){ .len = (uint8_t)from->len, .rules = UINT64_C(1) << rule };
    for (size_t i = 0; i < from->len; i++)
        to->bytes[i] = small(from->bytes[i]);
    if (from->len < 4)
        return 0;
    add_gram(l, l->literals - 1, 0);
    add_gram(l, l->literals - 1, 1);
    return 0;
}

static int refuse(char *why, size_t cap, const char *name, size_t at, const char *what)
{
    snprintf(why, cap, "rule %zu of %s: %s", at + 1, name, what);
    return -EINVAL;
}

/* Never UTF: the texts are any bytes. Without the compiler to machine code it is slower, no more.
 */
static int compile(struct list *l, const struct redact_rule *rule, const char *name, char *why,
                   size_t cap)
{
    int error;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[128];
    char text[192];
    if (rule->regex_len > REDACT_LONGEST)
        return refuse(why, cap, name, l->len, "the expression is too long");
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)rule->regex, rule->regex_len, PCRE2_NEVER_UTF,
                                     &error, &offset, NULL);
    if (!code && error == PCRE2_ERROR_HEAP_FAILED)
        return -ENOMEM;
    if (!code) {
        pcre2_get_error_message(error, message, sizeof message);
        snprintf(text, sizeof text, "%s, at byte %zu of the expression", (const char *)message,
                 (size_t)offset + 1);
        return refuse(why, cap, name, l->len, text);
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    size_t number = l->len++;
    l->code[number] = code;
    if (!rule->has_len)
        l->always |= UINT64_C(1) << number;
    for (size_t i = 0; i < rule->has_len; i++)
        if (add_literal(l, &rule->has[i], number) < 0)
            return refuse(why, cap, name, number, "a literal has no byte, or too many");
    return 0;
}

static int add_list(struct list *l, const struct redact_list *from, const char *name, char *why,
                    size_t cap)
{
    size_t literals = 0;
    int result = 0;
    if (from->len > REDACT_RULES)
        return refuse(why, cap, name, REDACT_RULES, "there are too many");
    for (size_t i = 0; i < from->len; i++) {
        if (from->rule[i].has_len > REDACT_LITERALS)
            return refuse(why, cap, name, i, "there are too many literals");
        literals += from->rule[i].has_len;
    }
    l->code = calloc(from->len + 1, sizeof *l->code);
    l->literal = calloc(literals + 1, sizeof *l->literal);
    l->place = calloc(2 * literals + 1, sizeof *l->place);
    if (!l->code || !l->literal || !l->place)
        return -ENOMEM;
    for (size_t i = 0; i < from->len && !result; i++)
        result = compile(l, &from->rule[i], name, why, cap);
    return result;
}

static void free_list(struct list *l)
{
    for (size_t i = 0; i < l->len; i++)
        pcre2_code_free(l->code[i]);
    free(l->code);
    free(l->literal);
    free(l->place);
}

static int open_pcre(struct redact *r)
{
    r->limits = pcre2_match_context_create(NULL);
    r->found = pcre2_match_data_create(2, NULL);
    r->stack = pcre2_jit_stack_create(STACK_MAX / 32, STACK_MAX, NULL);
    if (!r->limits || !r->found || !r->stack)
        return -ENOMEM;
    pcre2_set_match_limit(r->limits, STEPS);
    pcre2_set_depth_limit(r->limits, STEPS);
    pcre2_set_heap_limit(r->limits, HEAP_KIB);
    pcre2_jit_stack_assign(r->limits, NULL, r->stack);
    return 0;
}

int redact_new(struct redact **out, const struct redact_rules *rules, char *why, size_t cap)
{
    struct redact *r = calloc(1, sizeof *r);
    snprintf(why, cap, "%s", strerror(ENOMEM));
    if (!r)
        return -ENOMEM;
    int result = open_pcre(r);
    if (!result && getrandom(r->key, sizeof r->key, 0) != sizeof r->key) {
        result = -errno;
        snprintf(why, cap, "a random key: %s", strerror(errno));
    }
    if (!result)
        result = add_list(&r->args, &rules->args, "args", why, cap);
    if (!result)
        result = add_list(&r->names, &rules->names, "names", why, cap);
    if (!result)
        result = add_list(&r->values, &rules->values, "values", why, cap);
    if (result < 0) {
        redact_free(r);
        return result;
    }
    *out = r;
    return 0;
}

void redact_free(struct redact *r)
{
    if (!r)
        return;
    free_list(&r->args);
    free_list(&r->names);
    free_list(&r->values);
    pcre2_jit_stack_free(r->stack);
    pcre2_match_data_free(r->found);
    pcre2_match_context_free(r->limits);
    explicit_bzero(r->key, sizeof r->key);
    free(r);
}

/* --- finding ---------------------------------------------------------------------------------- */

static bool literal_at(const struct literal *l, const char *at, size_t left)
{
    if (l->len > left)
        return false;
    for (size_t i = 0; i < l->len; i++)
        if (small(at[i]) != l->bytes[i])
            return false;
    return true;
}

/* A short literal, by its first byte when that has one form only. */
static bool find_short(const struct literal *want, const char *text, size_t len)
{
    char first = want->bytes[0];
    bool letter = first >= 'a' && first <= 'z';
    for (size_t at = 0; at < len; at++) {
        const char *next = letter ? text + at : memchr(text + at, first, len - at);
        if (!next)
            return false;
        at = (size_t)(next - text);
        if (literal_at(want, next, len - at))
            return true;
    }
    return false;
}

/* Longer literals that have this gram, which is at `at`, as their first or second. */
static uint64_t find_around(const struct list *l, uint32_t gram, const char *text, size_t len,
                            size_t at)
{
    uint64_t rules = 0;
    for (uint16_t i = l->chain[gram % CHAINS]; i; i = l->place[i].next) {
        const struct gram_place *p = &l->place[i];
        const struct literal *want = &l->literal[p->literal];
        if (p->gram == gram && p->skip <= at &&
            literal_at(want, text + at - p->skip, len - at + p->skip))
            rules |= want->rules;
    }
    return rules;
}

/* Rules that may match. Of a literal of four bytes or more, three begin at any second place. */
static uint64_t candidates(const struct list *l, const char *text, size_t len)
{
    uint64_t rules = l->always;
    for (size_t i = 0; i < l->literals; i++)
        if (l->literal[i].len < 4 && find_short(&l->literal[i], text, len))
            rules |= l->literal[i].rules;
    for (size_t at = 0; at + 3 <= len; at += 2) {
        uint32_t gram = gram_at(text + at);
        if (l->gram[gram / 64] >> gram % 64 & 1)
            rules |= find_around(l, gram, text, len, at);
    }
    return rules;
}

static bool add_span(struct redact *r, size_t begin, size_t end)
{
    size_t at = r->spans;
    if (at == SPANS)
        return false;
    for (; at && r->span[at - 1].begin > begin; at--)
        r->span[at] = r->span[at - 1];
    r->span[at] = (struct span){ begin, end };
    r->spans++;
    return true;
}

/* Asked after each match; reading the clock costs as much as most of them. */
static bool is_patient(struct redact *r)
{
    if (++r->matches % 16)
        return true;
    int64_t now = clock_thread_cpu_ns();
    if (r->matches == 16)
        r->deadline_ns = now + PATIENCE;
    return now < r->deadline_ns;
}

/* 0; -EAGAIN: it came to a limit. */
static int find_matches(struct redact *r, const pcre2_code *code, const char *text, size_t len)
{
    for (size_t from = 0; from < len;) {
        int found =
            pcre2_match(code, (PCRE2_SPTR)text, len, from, PCRE2_NOTEMPTY, r->found, r->limits);
        if (found == PCRE2_ERROR_NOMATCH)
            return 0;
        if (found < 0)
            return -EAGAIN;
        const PCRE2_SIZE *where = pcre2_get_ovector_pointer(r->found);
        bool group = found != 1 && where[2] != PCRE2_UNSET;
        struct span s = { where[group ? 2 : 0], where[group ? 3 : 1] };
        if (s.begin < s.end && !add_span(r, s.begin, s.end))
            return -EAGAIN;
        from = where[1] > from ? where[1] : from + 1;
        if (!is_patient(r))
            return -EAGAIN;
    }
    return 0;
}

/* Where the secrets of a text are. 0, or -EAGAIN: that cannot be said. */
static int find_secrets(struct redact *r, const struct list *l, const char *text, size_t len)
{
    uint64_t rules = candidates(l, text, len);
    int result = 0;
    r->spans = r->matches = 0;
    for (; rules && !result; rules &= rules - 1)
        result = find_matches(r, l->code[__builtin_ctzll(rules)], text, len);
    return result;
}

/* --- taking out ------------------------------------------------------------------------------- */

/* HMAC-SHA256, RFC 2104: the key is shorter than a block. */
static void keyed_hash(const uint8_t key[KEY], const char *text, size_t len,
                       uint8_t digest[SHA256_DIGEST_LENGTH])
{
    uint8_t block[SHA256_BLOCK_LENGTH];
    SHA2_CTX hash;
    memset(block, 0x36, sizeof block);
    for (int i = 0; i < KEY; i++)
        block[i] ^= key[i];
    SHA256Init(&hash);
    SHA256Update(&hash, block, sizeof block);
    SHA256Update(&hash, (const uint8_t *)text, len);
    SHA256Final(digest, &hash);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA256Init(&hash);
    SHA256Update(&hash, block, sizeof block);
    SHA256Update(&hash, digest, SHA256_DIGEST_LENGTH);
    SHA256Final(digest, &hash);
}

static void make_token(const struct redact *r, const char *text, size_t len, char to[TOKEN + 1])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    keyed_hash(r->key, text, len, digest);
    snprintf(to, TOKEN + 1, "[redacted:%02x%02x%02x%02x]", digest[0], digest[1], digest[2],
             digest[3]);
}

/* What is made from a text: as much of it as there is room for. */
struct made {
    char *to;
    size_t len, cap;
    bool cut;
};

static void add(struct made *m, const char *bytes, size_t len)
{
    size_t left = m->cap - m->len;
    m->cut |= len > left;
    len = len > left ? left : len;
    memcpy(m->to + m->len, bytes, len);
    m->len += len;
}

/* Each part between NULs by itself: a secret never makes one argument of two. */
static void add_tokens(const struct redact *r, struct made *m, const char *secret, size_t len)
{
    char token[TOKEN + 1];
    while (len) {
        size_t part = strnlen(secret, len);
        if (part) {
            make_token(r, secret, part, token);
            add(m, token, TOKEN);
        }
        if (part < len)
            add(m, "", 1);
        part += part < len;
        secret += part;
        len -= part;
    }
}

static void take_out(const struct redact *r, struct made *m, const char *text, size_t len)
{
    size_t done = 0;
    for (size_t i = 0; i < r->spans; i++) {
        size_t begin = r->span[i].begin, end = r->span[i].end;
        while (i + 1 < r->spans && r->span[i + 1].begin < end) { /* one that overlaps it */
            i++;
            end = r->span[i].end > end ? r->span[i].end : end;
        }
        add(m, text + done, begin - done);
        add_tokens(r, m, text + begin, end - begin);
        done = end;
    }
    add(m, text + done, len - done);
}

/* --- records ---------------------------------------------------------------------------------- */

static bool is_clean(const struct clean *c, uint32_t hash, const char *args, size_t len)
{
    return c->hash == hash && c->len == len && !memcmp(c->bytes, args, len);
}

static void copy_but_args(struct event_box *out, const struct event *in)
{
    event_begin(out, event_kind(in));
    for (int f = 0; f < EVENT_FIELDS; f++)
        if (f != F_ARGS)
            event_copy_field(out, (enum event_field)f, in, (enum event_field)f, WHY_ABSENT);
}

bool redact_event(struct redact *r, const struct event *in, struct event_box *out)
{
    size_t len;
    const char *args = event_text(in, F_ARGS, &len);
    if (!len)
        return false;
    uint32_t hash = hash_bytes(args, len);
    struct clean *clean = &r->clean[hash % CLEAN];
    if (is_clean(clean, hash, args, len))
        return false;
    int result = find_secrets(r, &r->args, args, len);
    if (!result && !r->spans) {
        if (len <= CLEAN_MAX) {
            clean->hash = hash;
            clean->len = (uint32_t)len;
            memcpy(clean->bytes, args, len);
        }
        return false;
    }
    struct made m = { .to = r->made, .cap = EVENT_TEXT_MAX };
    if (result < 0) {
        char token[TOKEN + 1];
        make_token(r, args, len, token);
        add(&m, token, sizeof token);
    } else {
        take_out(r, &m, args, len);
    }
    copy_but_args(out, in);
    if (!event_set_text(out, F_ARGS, m.to, m.len, (enum event_why)in->why[F_ARGS]) || m.cut)
        event_set(out, F_TRUNCATED, 1, WHY_COMPUTED);
    return true;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void put_cell(struct buf *out, const char *bytes, size_t len)
{
    uint32_t size = bytes ? (uint32_t)len : ANSWER_NIL;
    buf_add(out, &size, sizeof size);
    if (bytes)
        buf_add(out, bytes, len);
}

static bool is_secret_name(struct redact *r, const struct answer_cell *name)
{
    return find_secrets(r, &r->names, name->bytes, name->len) < 0 || r->spans;
}

static int put_token(struct redact *r, const struct answer_cell *value, struct buf *out)
{
    char token[TOKEN + 1];
    make_token(r, value->bytes, value->len, token);
    put_cell(out, token, TOKEN);
    return 1;
}

/* Values can be long, and so can what is made of them. Returns whether it has a secret. */
static int put_value(struct redact *r, const struct answer_cell *value, struct buf *out)
{
    if (find_secrets(r, &r->values, value->bytes, value->len) < 0)
        return put_token(r, value, out);
    if (!r->spans) {
        put_cell(out, value->bytes, value->len);
        return 0;
    }
    uint32_t size = 0;
    size_t begin = out->len, most = value->len + r->spans * TOKEN;
    buf_add(out, &size, sizeof size);
    struct made m = { .to = buf_reserve(out, most), .cap = most };
    if (!m.to)
        return -ENOMEM;
    take_out(r, &m, value->bytes, value->len);
    out->len += m.len;
    size = (uint32_t)m.len;
    memcpy(out->data + begin, &size, sizeof size);
    return 1;
}

static int put_variable(struct redact *r, const struct answer_cell *name,
                        const struct answer_cell *value, struct buf *out)
{
    put_cell(out, name->bytes, name->len);
    if (value->nil || !value->len) {
        put_cell(out, value->nil ? NULL : "", 0);
        return 0;
    }
    return is_secret_name(r, name) ? put_token(r, value, out) : put_value(r, value, out);
}

int redact_answer(struct redact *r, enum topic topic, const void *bytes, size_t len,
                  struct buf *out)
{
    const char *at = bytes, *end = at + len;
    struct answer_cell name, value;
    size_t begin = out->len;
    int changed = 0;
    if (topic != TOPIC_ENVIRON)
        return 0;
    while (answer_next(&at, end, TYPE_TEXT, &name) && answer_next(&at, end, TYPE_TEXT, &value)) {
        if (name.nil)
            name = (struct answer_cell){ .bytes = "" };
        int result = put_variable(r, &name, &value, out);
        changed |= result != 0;
    }
    changed |= at != end; /* what follows is no variable, and is left out */
    if (out->failed || !changed)
        out->len = begin;
    return out->failed ? -ENOMEM : changed;
}
