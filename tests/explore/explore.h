/**
 * explore.h - runs the threads of a scenario in every order there is, within a bound.
 *
 * Threads are coroutines. Each atomic operation, lock and wake-up of the code under test is a point
 * where another thread may go on instead: shadow/ puts one in front of each. A schedule is the list
 * of those choices; all schedules are tried, depth first, in which a thread that could go on is
 * interrupted at most `preemptions` times (most faults need one or two). Nothing is random: a
 * failing schedule is the same one each time. What is explored is sequentially consistent; that
 * loads and stores carry the right memory order is what the stress tests under ThreadSanitizer see.
 */
#ifndef HF_TEST_EXPLORE_H
#define HF_TEST_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS_MAX 4

struct explore_scenario {
    const char *name;
    void (*begin)(void); /**< makes what the threads share; no other thread is there yet */
    void (*threads[EXPLORE_THREADS_MAX])(void); /**< NULL ends the list */
    void (*end)(void);                          /**< looks at what is left, and frees it */
    unsigned preemptions;
};

/** explore_run tries all schedules and prints "NAME: N schedules". At the first that fails a check
 *  or in which all wait for ever it prints "NAME: fault found: WHY" with the schedule, and exits
 *  with 1. */
void explore_run(const struct explore_scenario *scenario);

/** explore_check fails the schedule. */
#define explore_check(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            explore_fail(#condition);                                                              \
    } while (0)
void explore_fail(const char *why);

/** explore_yield is a point where another thread may go on. Outside of a schedule, nothing. */
void explore_yield(void);

/** explore_wait goes on once *word is not 0. */
void explore_wait(const volatile int *word);

#endif
