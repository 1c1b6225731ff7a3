/* secrets.h - reads from a Lua file what is a secret, as lua/moonwatch/redact.lua says it.
 *
 * The file returns { args = { RULE, ... }, environ = { names = { RULE, ... }, values = { RULE, ... } } }; a
 * RULE is a regular expression, or { EXPRESSION, has = { LITERAL, ... } }. It may build upon the usual ones by
 * require "moonwatch.redact". It is run once, with nothing but texts and tables at hand. */
#ifndef HOST_SECRETS_H
#define HOST_SECRETS_H

#include "record/redact.h"

/* `file` NULL: the usual ones. 0; or -errno with one sentence in `why`. What comes out is the caller's:
 * secrets_free. */
int secrets_load(struct redact_rules **out, const char *file, char *why, size_t cap);
void secrets_free(struct redact_rules *rules);

#endif
