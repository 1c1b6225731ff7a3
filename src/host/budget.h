/* budget.h - how long a call may take and how much memory a state may hold.
 *
 * Time: somebody who cannot be held up (a signal of a timer that counts processor time) calls
 * budget_tick; a call that goes on for too long gets a hook that throws in it, as long as its code
 * is interpreted. A little later the state gets no more memory either, which ends what a hook
 * cannot reach: C functions that build something endless. What neither reaches, and who waits
 * instead of computing, is for the watcher outside, who reads the marks. */
#ifndef HOST_BUDGET_H
#define HOST_BUDGET_H

#include <lua.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Words for whoever watches from outside: a script may lie in them about itself, no more. */
enum budget_mark {
    MARK_SCRIPT,  /* whose call runs: its id + 1; 0: none */
    MARK_CALL,    /* how many calls there were: the same number means the same call */
    MARK_PAUSED,  /* the call waits for us: its time does not count */
    MARK_LOADING, /* the script is being loaded, which may take longer */
    MARK_SEQ,     /* of the record that is being delivered; 0: none */
    MARK_SERVED,  /* who got it last: id + 1 */
    BUDGET_MARKS
};

struct budget {
    lua_State *L;                       /* of the calls */
    _Atomic uint64_t *marks;            /* borrowed: BUDGET_MARKS of them */
    _Atomic uint64_t own[BUDGET_MARKS]; /* when nobody gave any */
    int64_t soft_ns;                    /* of one call; 0: no bound */
    size_t memory, memory_most;         /* bytes held, and allowed; 0: no bound */

    uint64_t tick_call; /* the call that the last tick saw, and since when */
    int64_t tick_since_ns;
    volatile sig_atomic_t over;    /* the hook is set */
    volatile sig_atomic_t starved; /* no more memory */
    bool telling;                  /* the message is being made: the hook does not throw */
    char place[128];               /* where it threw first, "file:line: "; "" when it did not yet */
};

/* What a dead predecessor was at is still of use; what is said of its call is not of the next one's. */
void budget_clear_call(_Atomic uint64_t *marks);

/* `marks` NULL: nobody watches. The call that they tell of is cleared. */
void budget_init(struct budget *b, _Atomic uint64_t *marks, int64_t soft_ns, size_t memory_most);

/* The allocator of a state, with the budget as its `ud`; refuses during calls only. */
void *budget_alloc(void *ud, void *block, size_t from, size_t to);

/* Around the outermost call of a script. `budget_end` tells whether it was over its time. */
void budget_begin(struct budget *b, uint32_t script);
bool budget_end(struct budget *b);

/* A record is being delivered, and this script is the next to get it. */
void budget_serve(struct budget *b, int64_t seq);
void budget_served(struct budget *b, uint32_t script);

/* Around the loading of a script: each call may take BUDGET_LOADING times as long. */
#define BUDGET_LOADING 20
void budget_loading(struct budget *b, bool begins);

/* What is said of a call that is over its time: behind "file:line: ". */
#define BUDGET_OVER "over its budget of processor time for one call"

/* Around the making of an error's message, which the hook would otherwise end too. What is shielded
 * goes on to be thrown out of after it. */
void budget_tell(struct budget *b, bool begins);

/* Around what makes the script wait for us. */
void budget_pause(struct budget *b, bool paused);

/* Look at the call that runs. Safe in a signal handler of the thread that runs the state. */
void budget_tick(struct budget *b, int64_t now_ns);

#endif
