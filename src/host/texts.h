/* texts.h - the texts of rules as they come in an answer, and those that were good before.
 *
 * A file that is saved half-written must not take its rules away: as with scripts, the version from
 * before goes on. Knows no Lua. */
#ifndef HOST_TEXTS_H
#define HOST_TEXTS_H

#include "base/buf.h"
#include "sigma/sigma.h"

/* Zeroed: there were none. */
struct texts {
    struct buf kept; /* owned: as in an answer, those that are in use */
};

/* Add the files of an answer to a set, remarks as `options` has them; of each that is wrong and was good
 * before the text from before. `answer` begins with a struct request_rules_seen. What is in use then is in
 * `next`. 0, or -ENOMEM. */
int texts_add(const struct texts *before, const struct buf *answer, struct sigma *set,
              const struct sigma_options *options, struct texts *next);

void texts_free(struct texts *t);

#endif
