/* roster.c - the scripts of a crew: who there is, in which order, and which version of each. See
 * crew_state.h. */
#include "embed/crew_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_STEP (1u << 16) /* between scripts, so that others fit in between */

/* --- the list of scripts ---------------------------------------------------------------------- */

const struct crew_script *crew_script_at(const struct crew *c, int index)
{
    return index < c->scripts_len ? c->scripts[index] : NULL;
}

struct crew_script *roster_of(const struct crew *c, uint32_t id)
{
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->id == id)
            return c->scripts[i];
    return NULL;
}

/* "/etc/moonwatch/web.lua" is named "web.lua" and "web", too. */
static bool has_file_name(const struct crew_script *s, const char *name)
{
    const char *slash = s->name ? strrchr(s->name, '/') : NULL;
    const char *base = slash ? slash + 1 : s->name ? s->name + 1 : "";
    size_t len = strlen(name), base_len = strlen(base);
    return base_len && !strncmp(base, name, len) && (len == base_len || !strcmp(base + len, ".lua"));
}

static bool has_name(const struct crew_script *s, const char *name)
{
    return !strcmp(s->figures.name, name) || (s->name && !strcmp(s->name + 1, name));
}

struct crew_script *roster_named(const struct crew *c, const char *name)
{
    struct crew_script *found = NULL;
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->state != SCRIPT_GONE && has_name(c->scripts[i], name))
            return c->scripts[i];
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->state != SCRIPT_GONE && has_file_name(c->scripts[i], name)) {
            if (found)
                return NULL; /* which one? */
            found = c->scripts[i];
        }
    return found;
}

const char *crew_script_name(const struct crew_script *s)
{
    return *s->figures.name ? s->figures.name : s->name ? s->name + 1 : "-e";
}

void roster_free_one(struct crew_script *s)
{
    free(s->name);
    free(s->text);
    free(s->next);
    free(s->after);
    free(s->shadow);
    free(s->worst);
    free(s);
}

char *roster_copy(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    if (to) {
        memcpy(to, text, len);
        to[len] = '\0';
    }
    return to;
}

/* Where it belongs: behind the last whose name is not greater; one-liners and what has a different
 * directory keep the order in which they came. */
static int place_for(const struct crew *c, const char *name)
{
    const char *slash = name ? strrchr(name, '/') : NULL;
    if (!c->started || !slash)
        return c->scripts_len;
    int place = c->scripts_len;
    for (int i = c->scripts_len - 1; i >= 0; i--) {
        const char *other = c->scripts[i]->name;
        if (other && !strncmp(other, name, (size_t)(slash - name) + 1) &&
            !strchr(other + (slash - name) + 1, '/') && strcmp(other, name) > 0)
            place = i;
    }
    return place;
}

/* A number between its neighbours', so that it gets events between them; 0: there is none left. */
static uint32_t id_for(const struct crew *c, int place)
{
    uint32_t before = place ? c->scripts[place - 1]->id : 0;
    if (place == c->scripts_len)
        return before + (before < UINT32_MAX - ID_STEP ? ID_STEP : 1);
    uint32_t after = c->scripts[place]->id;
    return after - before > 1 ? before + (after - before) / 2 : 0;
}

static bool make_room(struct crew *c)
{
    pthread_mutex_lock(&c->mutex);
    struct crew_script **more =
        realloc(c->scripts, (size_t)(c->scripts_len + 1) * sizeof *c->scripts);
    if (more)
        c->scripts = more;
    pthread_mutex_unlock(&c->mutex);
    return more;
}

/* This one of the worker, or all (0), whose file is gone: once nothing that it says can be about
 * it, for a later script may get the same id. */
/* The next script of this id does not begin with them. */
static void forget_counts(struct crew *c, uint32_t id)
{
    for (int i = 0; i < CREW_SLOTS; i++)
        for (int n = 0; c->slots[i].shared && n < HOST_COUNTS; n++)
            if (c->slots[i].shared->counts.of[n].id == id)
                c->slots[i].shared->counts.of[n].count = (struct host_count){ 0 };
}

void roster_forget_gone(struct crew *c, const struct worker_slot *slot, uint32_t id)
{
    int kept = 0;
    pthread_mutex_lock(&c->mutex);
    for (int i = 0; i < c->scripts_len; i++) {
        struct crew_script *s = c->scripts[i];
        if (s->state == SCRIPT_GONE && (!id || s->id == id) && (c->host || slot_of(c, s) == slot)) {
            forget_counts(c, s->id);
            roster_free_one(s);
        }
        else
            c->scripts[kept++] = s;
    }
    c->scripts_len = kept;
    pthread_mutex_unlock(&c->mutex);
}

struct crew_script *roster_insert(struct crew *c, const char *name, bool trusted)
{
    struct crew_script *s = calloc(1, sizeof *s);
    if (s && name)
        s->name = strdup(name);
    if (!s || (name && !s->name) || !make_room(c)) {
        if (s)
            free(s->name);
        free(s);
        return NULL;
    }
    struct crew_script **more = c->scripts;
    int place = place_for(c, name);
    uint32_t id = id_for(c, place);
    if (!id) {
        place = c->scripts_len;
        id = id_for(c, place);
    }
    pthread_mutex_lock(&c->mutex);
    memmove(more + place + 1, more + place, (size_t)(c->scripts_len - place) * sizeof *more);
    more[place] = s;
    c->scripts_len++;
    s->id = id;
    pthread_mutex_unlock(&c->mutex);
    s->trusted = trusted;
    s->generation = 1;
    return s;
}

/* --- for stewards, on their threads ----------------------------------------------------------- */

bool roster_path_of(void *ctx, uint32_t id, char *path, size_t cap)
{
    struct crew *c = ctx;
    pthread_mutex_lock(&c->mutex);
    const struct crew_script *s = roster_of(c, id);
    int len = s && s->name && *s->name == '@' ? snprintf(path, cap, "%s", s->name + 1) : -1;
    pthread_mutex_unlock(&c->mutex);
    return len >= 0 && (size_t)len < cap;
}

void roster_note_dependence(void *ctx, uint32_t id, const char *file, uint64_t hash)
{
    struct crew *c = ctx;
    struct dependence *found = malloc(sizeof *found);
    if (!found)
        return;
    *found = (struct dependence){ .id = id, .hash = hash };
    snprintf(found->file, sizeof found->file, "%s", file);
    pthread_mutex_lock(&c->mutex);
    found->next = c->found;
    c->found = found;
    if (c->loop)
        ev_async_send(c->loop, &c->depended);
    pthread_mutex_unlock(&c->mutex);
}

void roster_tell_dependences(struct crew *c)
{
    pthread_mutex_lock(&c->mutex);
    struct dependence *found = c->found, *next;
    c->found = NULL;
    pthread_mutex_unlock(&c->mutex);
    for (; found; found = next) {
        const struct crew_script *s = roster_of(c, found->id);
        next = found->next;
        if (s)
            c->options.calls.depends(c->options.calls.ctx, s->name + 1, found->file, found->hash);
        free(found);
    }
}

void roster_on_depended(struct ev_loop *loop, ev_async *watcher, int events)
{
    (void)loop, (void)events;
    roster_tell_dependences(watcher->data);
}

const struct steward_means *crew_means(const struct crew *c)
{
    return &c->options.means;
}

/* --- versions --------------------------------------------------------------------------------- */

void roster_switch_off(struct crew_script *s, const char *why)
{
    snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof s->why - 1, why);
    s->state = SCRIPT_OFF;
}

/* What came while `next` was being loaded is the next one now. */
void roster_advance(struct crew_script *s)
{
    s->next = s->after;
    s->next_len = s->after_len;
    s->after = NULL;
}

void roster_take_next(struct crew_script *s)
{
    free(s->text);
    s->text = s->next;
    s->len = s->next_len;
    roster_advance(s);
    s->generation++;
    s->state = SCRIPT_ON;
    s->why[0] = '\0';
}

void roster_drop_next(struct crew_script *s)
{
    free(s->next);
    roster_advance(s);
}

void roster_drop_shadow(struct crew_script *s)
{
    free(s->shadow);
    s->shadow = NULL;
}

/* Is nobody's next version on its way any more? Then tell who waits for it. */
void roster_check_settled(struct crew *c)
{
    for (int i = 0; i < c->scripts_len; i++)
        if (c->scripts[i]->next)
            return;
    struct settling *first = c->settling, *next;
    c->settling = NULL;
    for (; first; first = next) {
        struct buf text = { 0 };
        next = first->next;
        buf_printf(&text, "{\"changed\":%d,\"refused\":[", first->changed);
        buf_add(&text, c->refused.data, c->refused.len);
        buf_puts(&text, "]}");
        first->done(first->ctx, 0, buf_str(&text));
        buf_free(&text);
        free(first);
    }
    buf_clear(&c->refused);
}

void crew_collect(struct crew *c)
{
    c->collecting = true;
}

void crew_settle(struct crew *c, int changed, crew_done *done, void *ctx)
{
    struct settling *one = calloc(1, sizeof *one);
    if (!one) {
        done(ctx, -ENOMEM, "not enough memory");
        return;
    }
    *one = (struct settling){ c->settling, changed, done, ctx };
    c->settling = one;
    c->collecting = false;
    roster_check_settled(c);
}

/* The operator reads it, and so does who waits for the outcome. */
void roster_refuse_next(struct crew *c, struct crew_script *s, const char *why)
{
    struct buf text = { 0 };
    roster_drop_next(s);
    size_t sentence = strcspn(why, "\n"); /* the line that it is about comes below */
    buf_printf(&text, "%s: %.*s%s%s", crew_script_name(s), (int)sentence, why,
               s->state == SCRIPT_ON ? "; the version from before goes on" : "", why + sentence);
    log_error("%s", buf_str(&text));
    if (c->settling || c->collecting) {
        buf_puts(&c->refused, c->refused.len ? "," : "");
        json_string(&c->refused, text.data, text.len);
    }
    buf_free(&text);
}

void roster_say_loaded(const struct crew_script *s, int64_t took_ns)
{
    log_warn("%s %s in %.1f ms (generation %u)", s->generation == 1 ? "loaded" : "reloaded",
             crew_script_name(s), (double)took_ns / 1e6, s->generation);
}
