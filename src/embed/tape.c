/* tape.c - what came to the scripts besides events, handed out again. See tape.h. */
#include "embed/tape.h"

#include "base/crc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct recording_note note; /* question and answer: owned, in one piece behind `bytes` */
    void *bytes;
    int next; /* the next answer to the same question, -1: none */
    bool taken;
};

/* The answers to one question, in order. */
struct question {
    int first, last, at; /* `at`: not looked at yet */
};

struct tape {
    struct kept *all; /* owned */
    int len, cap;
    struct question *questions; /* owned, hashed: `first` -1 is a free place */
    int places, asked;
    int group, at; /* of tape_next */
    bool failed;
};

int tape_new(struct tape **out)
{
    struct tape *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->group = -1;
    *out = t;
    return 0;
}

void tape_free(struct tape *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->len; i++)
        free(t->all[i].bytes);
    free(t->all);
    free(t->questions);
    free(t);
}

/* --- questions ----------------------------------------------------------------------------------- */

static bool asks(const struct recording_note *note, unsigned what, const void *question, size_t len)
{
    return note->what == what && note->question_len == len &&
           (!len || !memcmp(note->question, question, len));
}

/* Where the question is, or a free place. */
static struct question *place_of(const struct tape *t, unsigned what, const void *question, size_t len)
{
    uint32_t hash = crc32c(what, question, len);
    for (int i = (int)(hash % (uint32_t)t->places);; i = (i + 1) % t->places) {
        struct question *q = &t->questions[i];
        if (q->first < 0 || asks(&t->all[q->first].note, what, question, len))
            return q;
    }
}

static void add_answer(struct tape *t, int number)
{
    const struct recording_note *note = &t->all[number].note;
    struct question *q = place_of(t, note->what, note->question, note->question_len);
    if (q->first < 0) {
        *q = (struct question){ number, number, number };
        t->asked++;
    } else {
        t->all[q->last].next = number;
        q->last = number;
    }
}

/* Twice as many places, all answers again. */
static int grow_questions(struct tape *t)
{
    int places = t->places ? t->places * 2 : 256;
    struct question *questions = malloc((size_t)places * sizeof *questions);
    if (!questions)
        return -ENOMEM;
    free(t->questions);
    t->questions = questions;
    t->places = places;
    t->asked = 0;
    for (int i = 0; i < places; i++)
        questions[i].first = -1;
    for (int i = 0; i < t->len; i++) {
        t->all[i].next = -1;
        if (t->all[i].note.kind == NOTE_ANSWER)
            add_answer(t, i);
    }
    return 0;
}

const struct recording_note *tape_answer(struct tape *t, unsigned what, const void *question, size_t len,
                                         uint64_t seq, bool *exact)
{
    struct question *q = t->places ? place_of(t, what, question, len) : NULL;
    const struct recording_note *before = NULL;
    *exact = false;
    if (!q || q->first < 0)
        return NULL;
    for (int i = q->at; i >= 0 && t->all[i].note.seq <= seq; i = t->all[i].next) {
        struct kept *kept = &t->all[i];
        q->at = i; /* those before it are of no use to later records */
        before = &kept->note;
        if (kept->note.seq == seq && !kept->taken) {
            kept->taken = *exact = true;
            break;
        }
    }
    return before ? before : &t->all[q->at].note;
}

/* --- notes --------------------------------------------------------------------------------------- */

static bool keep(struct tape *t, const struct recording_note *note)
{
    if (t->len == t->cap) {
        int cap = t->cap ? t->cap * 2 : 256;
        struct kept *all = realloc(t->all, (size_t)cap * sizeof *all);
        if (!all)
            return false;
        t->all = all;
        t->cap = cap;
    }
    struct kept *kept = &t->all[t->len];
    size_t len = (size_t)note->question_len + note->answer_len;
    char *bytes = malloc(len + 1);
    if (!bytes)
        return false;
    if (note->question_len)
        memcpy(bytes, note->question, note->question_len);
    if (note->answer_len)
        memcpy(bytes + note->question_len, note->answer, note->answer_len);
    *kept = (struct kept){ .note = *note, .bytes = bytes, .next = -1 };
    kept->note.question = bytes;
    kept->note.answer = bytes + note->question_len;
    t->len++;
    return true;
}

static void take(void *ctx, const struct recording_note *note)
{
    struct tape *t = ctx;
    if (!t->failed && !keep(t, note))
        t->failed = true;
    if (t->failed)
        return;
    if (note->kind == NOTE_LOADED && (t->group < 0 || note->group < t->group))
        t->group = note->group;
    if (note->kind != NOTE_ANSWER)
        return;
    if ((t->asked + 1) * 2 > t->places)
        t->failed = grow_questions(t) < 0; /* adds this one, too */
    else
        add_answer(t, t->len - 1);
}

int tape_read(struct tape *t, struct recording *r)
{
    int result = recording_notes(r, take, t);
    return t->failed ? -ENOMEM : result;
}

int tape_group(const struct tape *t)
{
    return t->group;
}

bool tape_has_script(const struct tape *t, const char *stem, uint64_t hash, int *loaded)
{
    bool has = false;
    *loaded = 0;
    for (int i = 0; i < t->len; i++) {
        const struct recording_note *note = &t->all[i].note;
        if (note->kind != NOTE_LOADED || note->group != t->group || note->seq)
            continue;
        ++*loaded;
        has = has || (note->answer_len == sizeof hash && !memcmp(note->answer, &hash, sizeof hash) &&
                      note->question_len == strlen(stem) &&
                      !memcmp(note->question, stem, note->question_len));
    }
    return has;
}

static bool moves(const struct recording_note *note)
{
    return note->kind == NOTE_TICK || note->kind == NOTE_STORM || note->kind == NOTE_MISSED;
}

const struct recording_note *tape_next(struct tape *t, uint64_t seq)
{
    for (; t->at < t->len; t->at++) {
        const struct recording_note *note = &t->all[t->at].note;
        if (note->group != t->group || !moves(note))
            continue;
        if (note->seq >= seq)
            return NULL;
        t->at++;
        return note;
    }
    return NULL;
}

void tape_alerts(const struct tape *t, recording_visit *visit, void *ctx)
{
    for (int i = 0; i < t->len; i++)
        if (t->all[i].note.kind == NOTE_ALERT)
            visit(ctx, &t->all[i].note);
}
