/* fuzz_family.c - any records, folded into the story of a process: the story is a tree, and each event in it
 * is about somebody in it.
 *
 * The input is the number of ancestors and then steps of four bytes: what, which pid, whose, and when. */
#include "embed/family.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);

enum { PIDS = 32 };

static struct event_box box;

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Any field may be there or not. */
static void build(const unsigned char *step, uint64_t seq)
{
    int64_t pid = step[1] % PIDS;

    event_begin(&box, (enum event_kind)(step[0] % EVENT_KINDS));
    event_set(&box, F_SEQ, (int64_t)seq, WHY_COMPUTED);
    event_set(&box, F_TIME, step[3] == 0xfd ? INT64_MIN : (int64_t)seq * 1000, WHY_KERNEL);
    event_set(&box, F_MONO, step[3] / 16, WHY_KERNEL);
    if (step[0] < 0xf0)
        event_set(&box, F_PID, pid, WHY_KERNEL);
    if (step[3] < 0xf0)
        event_set(&box, F_TID, pid + (step[3] == 0xe0), WHY_KERNEL);
    event_set(&box, F_PPID, step[2] % PIDS, step[2] < 0xf0 ? WHY_KERNEL : WHY_GONE);
    event_set(&box, F_STARTTIME, step[3] == 0xfe ? INT64_MIN : step[3] / 16, step[3] & 1 ? WHY_COMPUTED : WHY_UNSEEN);
    if (step[2] & 1)
        event_set_text(&box, F_COMM, (const char *)step, 3, WHY_PROC);
    if (step[2] & 2)
        event_set_text(&box, F_ARGS, (const char *)step, 4, WHY_PROC);
    if (step[2] & 4)
        event_set(&box, F_START, step[3] * 1000, WHY_PROC);
    if (step[2] & 8)
        event_set(&box, F_CODE, step[1], WHY_PROC);
}

/* Who is below one follows it, and has its share of the kin. */
static void check_processes(const struct moonwatch_story *s)
{
    for (int i = 0; i < s->processes_len; i++) {
        const struct moonwatch_story_process *p = &s->processes[i];
        require(p->parent < i && (p->parent >= 0) == (i > 0) && p->comm && p->command && p->exe && p->cwd);
        require(p->depth == (i ? s->processes[p->parent].depth + 1 : 0));
        int at = i - 1;
        while (i && at != p->parent) {
            require(at >= 0);
            at = s->processes[at].parent;
        }
        bool below = i && s->processes[p->parent].kin >= MOONWATCH_ITSELF;
        require(below == (p->kin == MOONWATCH_DESCENDANT));
        require((p->kin == MOONWATCH_ITSELF) == (i == s->itself));
        require(p->kin == MOONWATCH_ANCESTOR || p->kin == MOONWATCH_ITSELF || i > s->root);
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len)
{
    int ancestors = len ? bytes[0] % 5 : 0, expected = 0;
    size_t at = 1;
    struct family *f = family_new(50000, len ? bytes[0] : 0, len ? bytes[0] * 1000 : 0);
    require(f != NULL);
    for (; at + 4 <= len && expected < ancestors; at += 4, expected++) {
        build(bytes + at, 0);
        if (event_has(&box.ev, F_PID))
            family_expect(f, &box.ev, bytes[at + 3] & 2 ? bytes[at + 3] / 16 : 0);
        else
            expected--;
    }
    for (uint64_t seq = 1; at + 4 <= len; at += 4, seq++) {
        build(bytes + at, seq);
        if (bytes[at] == 0xef)
            family_gap(f, bytes[at + 1]);
        else
            family_take(f, &box.ev, bytes[at] >= 0x80 && event_kind(&box.ev) == EVENT_SNAPSHOT);
    }
    const struct moonwatch_story *s = family_story(f);
    require((s != NULL) == (expected > 0));
    if (s) {
        require(s->root <= s->itself && s->itself < s->processes_len && s->alert < s->events_len);
        check_processes(s);
        for (int i = 0; i < s->events_len; i++)
            require(s->events[i].process < s->processes_len && s->events[i].type && s->events[i].text);
    }
    family_free(f);
    return 0;
}
