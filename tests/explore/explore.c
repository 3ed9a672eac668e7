/**
 * explore.c - see explore.h.
 */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_LEN (256 * 1024)
#define DEPTH_MAX 4096
#define SCHEDULES_MAX 50000000u

struct thread {
    ucontext_t context;
    char *stack;
    const volatile int *awaited; /* NULL: it can go on */
    bool is_over;
};

static struct {
    const struct explore_scenario *scenario;
    ucontext_t home;
    struct thread threads[EXPLORE_THREADS_MAX];
    size_t count;
    size_t current;
    bool is_running;
    unsigned preemptions; /* in this schedule so far */
    /* What was chosen at each point where there was a choice, and out of how many. */
    struct {
        uint8_t chosen, options;
    } path[DEPTH_MAX];
    size_t depth, at;
    uint64_t schedules;
} world;

void explore_fail(const char *why)
{
    printf("%s: fault found: %s\n  in schedule %llu:", world.scenario->name, why,
           (unsigned long long)world.schedules);
    for (size_t i = 0; i < world.at; i++)
        printf(" %u", world.path[i].chosen);
    printf("\n");
    exit(1);
}

static bool can_go_on(size_t index)
{
    const struct thread *thread = &world.threads[index];
    return !thread->is_over && (!thread->awaited || *thread->awaited);
}

/* The next choice among so many: as before, or, beyond what was tried before, the first. */
static size_t choose(size_t options)
{
    if (options == 1)
        return 0;
    if (world.at == DEPTH_MAX)
        explore_fail("longer than a schedule may be");
    if (world.at == world.depth) {
        world.path[world.depth].chosen = 0;
        world.path[world.depth++].options = (uint8_t)options;
    }
    if (world.path[world.at].options != options)
        explore_fail("the scenario is not the same each time");
    return world.path[world.at++].chosen;
}

/* Who goes on. The first choice is whoever is at it, as long as it can. */
static size_t next_thread(void)
{
    size_t options[EXPLORE_THREADS_MAX];
    size_t count = 0;
    bool has_current = can_go_on(world.current);
    if (has_current)
        options[count++] = world.current;
    for (size_t i = 0; i < world.count; i++)
        if (i != world.current && can_go_on(i) &&
            (!has_current || world.preemptions < world.scenario->preemptions))
            options[count++] = i;
    if (count == 0)
        return EXPLORE_THREADS_MAX;
    size_t chosen = options[choose(count)];
    world.preemptions += has_current && chosen != world.current;
    return chosen;
}

static void go_on(size_t index)
{
    size_t from = world.current;
    if (index == from)
        return;
    world.current = index;
    swapcontext(&world.threads[from].context, &world.threads[index].context);
}

void explore_yield(void)
{
    if (world.is_running)
        go_on(next_thread());
}

void explore_wait(const volatile int *word)
{
    if (!world.is_running) {
        if (!*word)
            explore_fail("waits for what nobody will do");
        return;
    }
    explore_yield();
    while (!*word) {
        world.threads[world.current].awaited = word;
        size_t next = next_thread();
        if (next == EXPLORE_THREADS_MAX)
            explore_fail("all wait for ever");
        go_on(next);
        world.threads[world.current].awaited = NULL;
    }
}

static void run_thread(void)
{
    world.scenario->threads[world.current]();
    world.threads[world.current].is_over = true;
    size_t next = next_thread();
    for (size_t i = 0; next == EXPLORE_THREADS_MAX && i < world.count; i++)
        if (!world.threads[i].is_over)
            explore_fail("all wait for ever");
    if (next == EXPLORE_THREADS_MAX)
        setcontext(&world.home);
    world.current = next;
    setcontext(&world.threads[next].context);
}

static void run_once(void)
{
    world.at = 0;
    world.preemptions = 0;
    world.scenario->begin();
    for (size_t i = 0; i < world.count; i++) {
        struct thread *thread = &world.threads[i];
        thread->is_over = false;
        thread->awaited = NULL;
        getcontext(&thread->context);
        thread->context.uc_stack.ss_sp = thread->stack;
        thread->context.uc_stack.ss_size = STACK_LEN;
        thread->context.uc_link = NULL;
        makecontext(&thread->context, run_thread, 0);
    }
    world.current = choose(world.count); /* who begins */
    world.is_running = true;
    swapcontext(&world.home, &world.threads[world.current].context);
    world.is_running = false;
    world.scenario->end();
    world.schedules++;
}

void explore_run(const struct explore_scenario *scenario)
{
    world.scenario = scenario;
    world.depth = 0;
    world.schedules = 0;
    for (world.count = 0; world.count < EXPLORE_THREADS_MAX && scenario->threads[world.count];)
        world.threads[world.count++].stack = malloc(STACK_LEN);
    do {
        run_once();
        /* The last choice that can still be another one. */
        while (world.depth > 0 &&
               world.path[world.depth - 1].chosen + 1 == world.path[world.depth - 1].options)
            world.depth--;
        if (world.depth > 0)
            world.path[world.depth - 1].chosen++;
        if (world.schedules == SCHEDULES_MAX)
            explore_fail("more schedules than anybody waits for");
    } while (world.depth > 0);
    for (size_t i = 0; i < world.count; i++)
        free(world.threads[i].stack);
    printf("%s: %llu schedules, at most %u preemptions\n", scenario->name,
           (unsigned long long)world.schedules, scenario->preemptions);
}
