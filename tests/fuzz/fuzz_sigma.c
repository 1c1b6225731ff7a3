/* fuzz_sigma.c - any text may be given for rules: it is read or refused, and what was read can be asked,
 * explained, checked and carried over.
 *
 * The input is the text; what follows a byte 0xff in it is an event in JSON. */
#include "event/flat.h"
#include "sigma/view.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void remarked(void *ctx, const struct sigma_remark *r)
{
    int *n = ctx;
    if (r->line < 0 || r->column < 0 || !*r->text)
        abort();
    ++*n;
}

static void matched(void *ctx, const struct sigma_reason *r)
{
    size_t *sum = ctx;
    *sum += strlen(r->item) + strlen(r->value) + strlen(r->selection);
    for (size_t i = 0; i < r->found_len; i++)
        *sum += (unsigned char)r->found[i];
}

static void found(void *ctx, const struct sigma_finding *f)
{
    *(size_t *)ctx += strlen(f->text);
}

static struct sigma *read_rules(const char *text, size_t len)
{
    static const char *const values[] = { "a", "b*" };
    static const struct sigma_placeholder placeholder = { "p", values, 2 };
    static int n;
    struct sigma *s;
    struct sigma_options options = { .remarked = remarked,
                                     .ctx = &n,
                                     .placeholders = &placeholder,
                                     .placeholders_len = 1,
                                     .no_jit = true };
    if (sigma_new(&s, &options) < 0 || sigma_add(s, "x", text, len) < 0 || sigma_finish(s) < 0)
        abort();
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "{\"Image\":\"/usr/bin/nc\",\"CommandLine\":\"nc -e /bin/sh\",\"A\":1}";
    const uint8_t *cut = size ? memchr(data, 0xff, size) : NULL;
    size_t len = cut ? (size_t)(cut - data) : size, sum = 0;
    char why[200];
    struct flat flat = { 0 };
    struct sigma *s = read_rules((const char *)data, len), *next;
    struct sigma_view *view;
    if (sigma_view_new(&view, s) < 0)
        abort();
    int result = cut ? flat_read(&flat, (const char *)cut + 1, size - len - 1, why, sizeof why)
                     : flat_read(&flat, usual, strlen(usual), why, sizeof why);
    if (result == 0) {
        const struct sigma_event *ev = sigma_view_flat(view, &flat);
        int n = sigma_match(s, ev);
        for (int i = 0; i < n; i++)
            sigma_reasons(s, sigma_fired(s, i), ev, matched, &sum);
        for (int i = 0; i < sigma_rules(s); i++) {
            struct buf out = { 0 };
            sigma_explain(s, i, ev, &out);
            buf_free(&out);
        }
        sigma_pass(s, ev->time_ns + INT64_C(1000000000000));
    }
    sigma_check(s, sigma_view_knows, found, &sum);
    next = read_rules((const char *)data, len);
    sigma_take_over(next, s);
    sigma_view_free(view);
    sigma_free(s);
    sigma_free(next);
    flat_free(&flat);
    return 0;
}
