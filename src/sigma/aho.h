/* aho.h - finds many words in a text at once, in one pass over it: an Aho-Corasick automaton.
 *
 * Capital letters of ASCII count as small ones. A word counts anywhere, or only where the text
 * begins, or ends, or as the whole text. */
#ifndef SIGMA_AHO_H
#define SIGMA_AHO_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aho_place { AHO_ANYWHERE, AHO_BEGIN, AHO_END, AHO_WHOLE };

/* In small letters; the same text may come with several places. */
struct aho_word {
    const char *text;
    size_t len;
    enum aho_place place;
};

struct aho; /* opaque */

/* The words are numbered as they come, and their texts are no longer needed afterwards. 0, or
 * -ENOMEM. */
int aho_new(struct aho **out, const struct memory *memory, const struct aho_word *words,
            uint32_t len);
void aho_free(struct aho *a);

/* The numbers of the words that are found and whose stamp is another, in the order of their ends;
 * they are stamped. Returns how many. `found` has room for each word, and so have `stamps`. */
uint32_t aho_find(const struct aho *a, const char *text, size_t len, uint32_t *stamps,
                  uint32_t stamp, uint32_t *found);

size_t aho_states(const struct aho *a);
size_t aho_bytes(const struct aho *a);

#endif
