/* regex.c - regular expressions of rules: PCRE2, on bytes, within limits. See set.h.
 *
 * Machine code is made of them where memory may become executable. A text that every match must
 * contain is read from the expression, so that most events cost it nothing. */
#include "sigma/set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATTERN_BYTES ((size_t)16 * 1024)
#define STEPS         200000 /* for one text: a few milliseconds */
#define HEAP_KIB      1024
#define JIT_STACK     ((size_t)256 * 1024)

/* --- compiling -------------------------------------------------------------------------------- */

static void *get(PCRE2_SIZE size, void *ctx)
{
    const struct sigma *s = ctx;
    return memory_get(&s->options.memory, size);
}

static void put(void *block, void *ctx)
{
    const struct sigma *s = ctx;
    if (block)
        memory_put(&s->options.memory, block);
}

static int open_pcre(struct sigma *s)
{
    if (s->match_data)
        return 0;
    if (!s->general)
        s->general = pcre2_general_context_create(get, put, s);
    if (s->general && !s->compiling)
        s->compiling = pcre2_compile_context_create(s->general);
    if (s->general && !s->limits)
        s->limits = pcre2_match_context_create(s->general);
    if (!s->compiling || !s->limits)
        return -ENOMEM;
    pcre2_set_max_pattern_length(s->compiling, PATTERN_BYTES);
    pcre2_set_match_limit(s->limits, STEPS);
    pcre2_set_depth_limit(s->limits, STEPS);
    pcre2_set_heap_limit(s->limits, HEAP_KIB);
    s->match_data = pcre2_match_data_create(1, s->general);
    return s->match_data ? 0 : -ENOMEM;
}

/* Without machine code it is interpreted. */
static void compile_further(struct sigma *s, pcre2_code *code)
{
    if (s->options.no_jit || pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) < 0 || s->jit_stack)
        return;
    s->jit_stack = pcre2_jit_stack_create(JIT_STACK / 8, JIT_STACK, s->general);
    pcre2_jit_stack_assign(s->limits, NULL, s->jit_stack);
}

/* Never UTF: texts are any bytes, and one byte that is none must not hide a match. */
int regex_new(struct sigma *s, const char *pattern, uint32_t options, struct regex **out, char *why,
              size_t cap, size_t *at)
{
    int error = 0;
    PCRE2_SIZE offset = 0;
    struct regex *regex = arena_get(&s->arena, sizeof *regex);
    if (!regex || open_pcre(s) < 0)
        return -ENOMEM;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                options | PCRE2_NEVER_UTF, &error, &offset, s->compiling);
    if (!regex->code) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(error, message, sizeof message);
        snprintf(why, cap, "%s", (const char *)message);
        *at = offset;
        return error == PCRE2_ERROR_HEAP_FAILED ? -ENOMEM : -EINVAL;
    }
    compile_further(s, regex->code);
    regex->next = s->regexes;
    s->regexes = regex;
    s->regexes_len++;
    *out = regex;
    return 0;
}

int regex_fits(struct sigma *s, const struct regex *regex, const char *text, size_t len,
               size_t *from, size_t *to)
{
    int found = pcre2_match(regex->code, (PCRE2_SPTR)text, len, 0, 0, s->match_data, s->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(regex->code, (PCRE2_SPTR)text, len, 0, PCRE2_NO_JIT, s->match_data,
                            s->limits);
    if (found == PCRE2_ERROR_NOMATCH)
        return 0;
    if (found < 0)
        return found == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -EAGAIN;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(s->match_data);
    *from = ends[0];
    *to = ends[1] >= ends[0] ? ends[1] : ends[0];
    return 1;
}

void regex_close(struct sigma *s)
{
    for (struct regex *regex = s->regexes; regex; regex = regex->next)
        pcre2_code_free(regex->code);
    s->regexes = NULL;
    pcre2_jit_stack_free(s->jit_stack);
    pcre2_match_data_free(s->match_data);
    pcre2_match_context_free(s->limits);
    pcre2_compile_context_free(s->compiling);
    pcre2_general_context_free(s->general);
}

/* --- what each match contains ----------------------------------------------------------------- */

/* Reads the expression from left to right, outside of groups. Where in doubt there is no literal.
 */
struct scan {
    const char *at;
    char *run; /* bytes that follow each other in each match */
    size_t run_len;
    char *best;
    size_t best_len;
};

static void end_run(struct scan *scan)
{
    if (scan->run_len > scan->best_len) {
        memcpy(scan->best, scan->run, scan->run_len);
        scan->best_len = scan->run_len;
    }
    scan->run_len = 0;
}

/* What the quantifier is about need not be there. */
static void end_run_before_last(struct scan *scan)
{
    if (scan->run_len)
        scan->run_len--;
    end_run(scan);
}

/* Behind a [, to behind its ]. False: it cannot be told where that is. */
static bool skip_class(struct scan *scan)
{
    scan->at += *scan->at == '^';
    scan->at += *scan->at == ']';
    for (; *scan->at && *scan->at != ']'; scan->at++) {
        if (*scan->at == '[' && strchr(":.=", scan->at[1]))
            return false;
        if (*scan->at == '\\' && (*++scan->at == 'Q' || !*scan->at))
            return false;
    }
    if (!*scan->at)
        return false;
    scan->at++;
    return true;
}

/* Behind a (, to behind its ). */
static bool skip_group(struct scan *scan)
{
    for (int depth = 1; depth;) {
        char c = *scan->at++;
        if (!c)
            return false;
        if (c == '\\' && (*scan->at == 'Q' || !*scan->at++))
            return false;
        if (c == '[' && !skip_class(scan))
            return false;
        if (c == '(' && (*scan->at == '*' || !strncmp(scan->at, "?#", 2)))
            return false;
        depth += (c == '(') - (c == ')');
    }
    return true;
}

/* Settings inside of it last to its end or, here, to the end of the expression: (?x) makes blanks
 * mean nothing, (?|, (?R and the like are not worth knowing. */
static bool take_group(struct scan *scan)
{
    static const char *const harmless[] = { "?:",  "?=",  "?!",  "?<=", "?<!", "?>",
                                            "?i:", "?s:", "?i)", "?s)", "?P<", "?<" };
    if (*scan->at == '*')
        return false;
    for (size_t i = 0; *scan->at == '?'; i++) {
        if (i == sizeof harmless / sizeof *harmless)
            return false;
        if (!strncmp(scan->at, harmless[i], strlen(harmless[i])))
            break;
    }
    end_run(scan);
    return skip_group(scan);
}

/* Behind a backslash. */
static bool take_escape(struct scan *scan)
{
    unsigned char c = (unsigned char)*scan->at++;
    if (!c)
        return false;
    if (memchr("sSdDwWbBntrfvhHRAzZ", c, 19)) {
        end_run(scan);
        return true;
    }
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return false;
    scan->run[scan->run_len++] = (char)c;
    return true;
}

static void take_quantifier(struct scan *scan, char c)
{
    if (c == '+')
        end_run(scan);
    else
        end_run_before_last(scan);
    if (c == '{') {
        size_t len = strspn(scan->at, "0123456789,");
        scan->at += scan->at[len] == '}' ? len + 1 : 0;
    }
    scan->at += *scan->at == '?' || *scan->at == '+';
}

/* False: it is not to be told. */
static bool take_one(struct scan *scan)
{
    char c = *scan->at++;
    switch (c) {
    case '\\':
        return take_escape(scan);
    case '[':
        end_run(scan);
        return skip_class(scan);
    case '(':
        return take_group(scan);
    case '|':
    case ')':
        return false;
    case '*':
    case '?':
    case '{':
    case '+':
        take_quantifier(scan, c);
        return true;
    case '.':
    case '^':
    case '$':
        end_run(scan);
        return true;
    default:
        scan->run[scan->run_len++] = c;
        return true;
    }
}

char *regex_literal(struct arena *a, const char *pattern, size_t *len)
{
    size_t most = strlen(pattern) + 1;
    struct scan scan = { .at = pattern, .run = arena_get(a, most), .best = arena_get(a, most) };
    if (!scan.run || !scan.best)
        return NULL;
    while (*scan.at)
        if (!take_one(&scan))
            return NULL;
    end_run(&scan);
    *len = scan.best_len;
    return scan.best_len > 1 ? scan.best : NULL;
}
