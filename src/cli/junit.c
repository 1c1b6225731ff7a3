/* junit.c - results of tests as JUnit's XML. See junit.h.
 *
 * The counts stand before what is counted, so texts are kept until the end. What XML cannot hold, what
 * steers a terminal and what is no UTF-8 becomes U+FFFD. */
#include "cli/junit.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tally {
    int tests, failures, errors, skipped;
    double seconds;
};

struct text {
    FILE *to; /* owned, with its memory */
    char *bytes;
    size_t len;
};

struct junit {
    FILE *file;         /* owned */
    char *script;       /* owned: of the suite; NULL: none yet */
    struct text suites; /* that have ended */
    struct text cases;  /* of the suite */
    struct tally all, suite;
};

/* --- text ----------------------------------------------------------------------------------------- */

/* The character at `s` and its length; 0: it is none of UTF-8's. */
static size_t decode(const unsigned char *s, uint32_t *c)
{
    size_t len = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : 2;
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if ((*s >= 0x80 && *s < 0xc2) || *s > 0xf4)
        return 0;
    *c = len == 1 ? *s : *s & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | (s[i] & 0x3fu);
    }
    return *c >= least[len] ? len : 0;
}

/* XML 1.0 has no others, escaped or not; those that steer a terminal are left out, too. */
static bool is_shown(uint32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xd800) ||
           (c >= 0xe000 && c < 0xfffe) || (c >= 0x10000 && c <= 0x10ffff);
}

/* In an attribute, and between tags: blanks are escaped too, else a reader may change them. */
static void put(FILE *to, const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; ) {
        uint32_t c = 0;
        size_t len = decode(s, &c);
        if (!len || !is_shown(c))
            fputs("\xef\xbf\xbd", to);
        else if (c < 0x20 || strchr("<>&\"'", (int)(c < 0x80 ? c : 'x')))
            fprintf(to, "&#%u;", c);
        else
            fwrite(s, 1, len, to);
        s += len ? len : 1;
    }
}

static void attribute(FILE *to, const char *name, const char *value)
{
    fprintf(to, " %s=\"", name);
    put(to, value);
    fputc('"', to);
}

/* --- cases ---------------------------------------------------------------------------------------- */

/* "a/web.lua" -> "web", as long as the line. */
static void put_class(FILE *to, const char *script)
{
    const char *slash = strrchr(script, '/'), *name = slash ? slash + 1 : script;
    size_t len = strlen(name);
    char *stem = strndup(name, len > 4 && !strcmp(name + len - 4, ".lua") ? len - 4 : len);
    attribute(to, "classname", stem ? stem : "?");
    free(stem);
}

static void put_reason(FILE *to, const char *tag, const char *why)
{
    char *first = strndup(why, strcspn(why, "\n"));
    fprintf(to, "      <%s", tag);
    attribute(to, "message", first ? first : "?");
    free(first);
    fputc('>', to);
    put(to, why);
    fprintf(to, "</%s>\n", tag);
}

static void put_text(FILE *to, const char *tag, const char *text)
{
    if (!*text)
        return;
    fprintf(to, "      <%s>", tag);
    put(to, text);
    fprintf(to, "</%s>\n", tag);
}

static void put_case(FILE *to, const struct moonwatch_tested_case *t)
{
    fputs("    <testcase", to);
    put_class(to, t->script);
    attribute(to, "name", t->name);
    fprintf(to, " time=\"%.3f\">\n", t->seconds);
    if (t->verdict == MOONWATCH_FAILED)
        put_reason(to, "failure", t->why);
    if (t->verdict == MOONWATCH_WRONG)
        put_reason(to, "error", t->why);
    if (t->verdict == MOONWATCH_SKIPPED)
        put_reason(to, "skipped", t->why);
    put_text(to, "system-out", t->verdict == MOONWATCH_PASSED && *t->why ? t->why : t->output);
    put_text(to, "system-err", t->commands);
    fputs("    </testcase>\n", to);
}

static void count(struct tally *tally, const struct moonwatch_tested_case *t)
{
    tally->tests++;
    tally->failures += t->verdict == MOONWATCH_FAILED;
    tally->errors += t->verdict == MOONWATCH_WRONG;
    tally->skipped += t->verdict == MOONWATCH_SKIPPED;
    tally->seconds += t->seconds;
}

/* --- suites --------------------------------------------------------------------------------------- */

static void put_tally(FILE *to, const struct tally *t)
{
    fprintf(to, " tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\" time=\"%.3f\"", t->tests, t->failures,
            t->errors, t->skipped, t->seconds);
}

static bool text_open(struct text *text)
{
    text->to = open_memstream(&text->bytes, &text->len);
    return text->to;
}

static void text_close(struct text *text)
{
    if (text->to)
        fclose(text->to);
    free(text->bytes);
    *text = (struct text){ 0 };
}

static void end_suite(struct junit *j)
{
    if (!j->script)
        return;
    FILE *to = j->suites.to;
    fputs("  <testsuite", to);
    attribute(to, "name", j->script);
    put_tally(to, &j->suite);
    fputs(">\n", to);
    fflush(j->cases.to);
    fwrite(j->cases.bytes, 1, j->cases.len, to);
    fputs("  </testsuite>\n", to);
    free(j->script);
    j->script = NULL;
    j->suite = (struct tally){ 0 };
    rewind(j->cases.to);
}

void junit_add(struct junit *j, const struct moonwatch_tested_case *t)
{
    if (!j->script || strcmp(j->script, t->script)) {
        end_suite(j);
        j->script = strdup(t->script);
    }
    put_case(j->cases.to, t);
    count(&j->suite, t);
    count(&j->all, t);
}

int junit_end(struct junit *j)
{
    end_suite(j);
    FILE *to = j->file;
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"moonwatch\"", to);
    put_tally(to, &j->all);
    fputs(">\n", to);
    bool failed = fflush(j->suites.to);
    fwrite(j->suites.bytes, 1, j->suites.len, to);
    fputs("</testsuites>\n", to);
    failed = ferror(j->suites.to) || ferror(j->cases.to) || ferror(to) || failed;
    j->file = NULL;
    errno = 0;
    failed = fclose(to) || failed;
    return failed ? -(errno ? errno : EIO) : 0;
}

/* --- life ----------------------------------------------------------------------------------------- */

int junit_new(struct junit **out, const char *path)
{
    struct junit *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    j->file = fopen(path, "we");
    int error = j->file ? ENOMEM : errno;
    if (!j->file || !text_open(&j->suites) || !text_open(&j->cases)) {
        junit_free(j);
        return -error;
    }
    *out = j;
    return 0;
}

void junit_free(struct junit *j)
{
    if (!j)
        return;
    if (j->file)
        fclose(j->file);
    text_close(&j->suites);
    text_close(&j->cases);
    free(j->script);
    free(j);
}
