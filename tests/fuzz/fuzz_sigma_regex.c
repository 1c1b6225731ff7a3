/* fuzz_sigma_regex.c - what a regular expression is said to need is in every text that it fits.
 *
 * Input: a byte with the length of the expression, the expression, the text. */
#include "sigma/set.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool holds(const char *text, size_t len, const char *part, size_t part_len)
{
    for (size_t at = 0; at + part_len <= len; at++) {
        size_t same = 0;
        while (same < part_len && pattern_small((unsigned char)text[at + same]) ==
                                      pattern_small((unsigned char)part[same]))
            same++;
        if (same == part_len)
            return true;
    }
    return false;
}

static bool fits(const char *pattern, const char *text, size_t len)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_UTF, &error,
                                     &at, NULL);
    if (!code)
        return false;
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(limits, 5000);
    pcre2_set_depth_limit(limits, 5000);
    bool result = pcre2_match(code, (PCRE2_SPTR)text, len, 0, 0, found, limits) >= 0;
    pcre2_match_context_free(limits);
    pcre2_match_data_free(found);
    pcre2_code_free(code);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct arena a = { 0 };
    size_t len = data[0] % size, literal_len = 0;
    char *pattern = arena_copy(&a, (const char *)data + 1, len);
    char *text = malloc(size - len);
    memcpy(text, data + 1 + len, size - 1 - len);
    char *literal = regex_literal(&a, pattern, &literal_len);
    if (literal && !holds(text, size - 1 - len, literal, literal_len) &&
        fits(pattern, text, size - 1 - len)) {
        fprintf(stderr, "/%s/ fits and is said to need '%.*s'\n", pattern, (int)literal_len, literal);
        abort();
    }
    free(text);
    arena_free(&a);
    return 0;
}
