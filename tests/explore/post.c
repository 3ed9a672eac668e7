/**
 * post.c - tasks from other threads to a loop, its sleep, and handles that outlive what they name.
 *
 * The loop is one that sleeps on its eventfd between turns and does nothing but tasks: a task that
 * waits for a wake that nobody sends is one that waits for ever.
 */
#include SOURCE

#include <stdlib.h>
#include <string.h>

volatile int shadow_wakes;
static struct hf_loop *loop;
static int runs[4], accepted[4];
static int over;

/* A table of things and the handles on them: what a slot's association is to a task. */
static struct {
    uint32_t generation;
    int harmed;
} slot;
static uint32_t handle;

static void begin(void)
{
    loop = calloc(1, sizeof *loop);
    memset(runs, 0, sizeof runs);
    memset(accepted, 0, sizeof accepted);
    shadow_wakes = over = 0;
    slot.generation = 1;
    slot.harmed = 0;
    handle = 1;
    hf_post_open(loop);
}

static void run(struct hf_loop *at, void *arg)
{
    explore_check(at == loop);
    ++*(int *)arg;
}

static void posts(int index)
{
    accepted[index] = hf_loop_post(loop, run, &runs[index]);
}

static void posts_1(void)
{
    posts(1);
}
static void posts_2_and_3(void)
{
    posts(2);
    posts(3);
}

static void run_over(struct hf_loop *at, void *arg)
{
    (void)at, (void)arg;
    over = 1;
}

/* Turns until the last task has said that it is the last. */
static void turns(void)
{
    while (!over) {
        if (!loop->is_turn_due) {
            explore_wait(&shadow_wakes);
            shadow_wakes = 0;
        }
        loop->is_turn_due = false;
        hf_post_run(loop);
    }
    hf_post_end(loop);
}

static void posts_the_end(void)
{
    posts(0);
    explore_check(hf_loop_post(loop, run_over, NULL));
}

static void end(void)
{
    for (int i = 0; i < 4; i++)
        explore_check(runs[i] == accepted[i]); /* exactly once, or never */
    explore_check(!hf_loop_post(loop, run, &runs[0]));
    hf_post_close(loop);
    free(loop);
}

/* Two tasks of the loop's own making: the slot's tenant ends, and another moves in. */
static void replace(struct hf_loop *at, void *arg)
{
    (void)at, (void)arg;
    slot.generation++;
    slot.harmed = 0;
}

static void use(struct hf_loop *at, void *arg)
{
    (void)at;
    if (slot.generation == *(uint32_t *)arg)
        slot.harmed = (int)slot.generation;
}

static void uses_the_first(void)
{
    accepted[1] = hf_loop_post(loop, use, &handle); /* it may come after the end */
    runs[1] = accepted[1];
}

static void replaces_and_ends(void)
{
    explore_check(hf_loop_post(loop, replace, NULL));
    explore_check(hf_loop_post(loop, run_over, NULL));
}

static void end_unharmed(void)
{
    explore_check(slot.harmed != 2); /* the first tenant's handle, on the second */
    end();
}

int main(void)
{
    static const struct explore_scenario scenarios[] = {
        {"post beside turns", begin, {turns, posts_the_end}, end, 4},
        {"two post beside turns", begin, {turns, posts_the_end, posts_1}, end, 3},
        {"three post beside turns", begin, {turns, posts_the_end, posts_1, posts_2_and_3}, end, 2},
        {"posts while it ends", begin, {turns, posts_the_end, posts_2_and_3}, end, 3},
        {"a late handle", begin, {turns, uses_the_first, replaces_and_ends}, end_unharmed, 3},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
        explore_run(&scenarios[i]);
    return 0;
}
