/* view.h - shows events to rules under the names that rules have for what is in them.
 *
 * Of our own records, and of what JSON said. Whatever a record of ours cannot tell is unknown; what
 * does not apply is absent. For rules about auditd an exec is shown as the record EXECVE. */
#ifndef SIGMA_VIEW_H
#define SIGMA_VIEW_H

#include "event/event.h"
#include "event/flat.h"
#include "sigma/sigma.h"

struct sigma_view; /* opaque */

/* For the fields of this finished set, which must outlive it. 0, or -ENOMEM. */
int sigma_view_new(struct sigma_view **out, struct sigma *s);
void sigma_view_free(struct sigma_view *v);

/* What the rules look at: bits of fields of the event, and those of its parent. */
uint64_t sigma_view_needs(const struct sigma_view *v);
uint64_t sigma_view_needs_of_parent(const struct sigma_view *v);

/* The name of a user; NULL: nobody knows it. Borrowed until the next call. */
typedef const char *sigma_user(void *ctx, int64_t uid);

/* Borrowed until the next one. `parent` as it was at the fork, or NULL. */
const struct sigma_event *sigma_view_event(struct sigma_view *v, const struct event *ev,
                                           const struct event *parent, sigma_user *user, void *ctx);

/* The same of JSON: names as rules have them, or our own, or those of ECS; the time is that of
 * "@timestamp", "UtcTime" or "time", else that of the event before. */
const struct sigma_event *sigma_view_flat(struct sigma_view *v, const struct flat *flat);

/* Does an event of ours ever have it? */
bool sigma_view_knows(enum sigma_source source, const char *field);

#endif
