/**
 * post.c - tasks that other threads hand to a loop: a bounded queue and the loop's eventfd.
 *
 * A lock, not a lock-free ring: it is held for the copy of two words, so nobody waits for work, and
 * it gives what its users need most, an exact answer: a task that was taken runs exactly once, even
 * if the loop ends; one that was refused never runs.
 */
#include "loop_private.h"

#include <errno.h>
#include <unistd.h>

void hf_post_open(struct hf_loop *loop)
{
    (void)pthread_mutex_init(&loop->tasks.lock, NULL);
}

void hf_post_close(struct hf_loop *loop)
{
    (void)pthread_mutex_destroy(&loop->tasks.lock);
}

void hf_post_wake(struct hf_loop *loop)
{
    int saved = errno; /* a signal handler must not change it */
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    (void)written; /* it fails only when the counter is full: then a wake is on its way */
    errno = saved;
}

bool hf_loop_post(struct hf_loop *loop, hf_loop_task *task, void *arg)
{
    struct hf_tasks *tasks = &loop->tasks;
    pthread_mutex_lock(&tasks->lock);
    bool was_empty = tasks->head == tasks->tail;
    bool is_taken = !tasks->is_ended && tasks->tail - tasks->head < HF_LOOP_TASKS_MAX;
    if (is_taken)
        tasks->ring[tasks->tail++ % HF_LOOP_TASKS_MAX] = (struct hf_task){task, arg};
    /* Under the lock: once it is released and the task has run, the loop may be gone. */
    if (is_taken && was_empty)
        hf_post_wake(loop);
    pthread_mutex_unlock(&tasks->lock);
    return is_taken;
}

/* Takes the next task posted before `end`. */
static bool post_next(struct hf_task *out, struct hf_tasks *tasks, uint32_t end)
{
    pthread_mutex_lock(&tasks->lock);
    bool is_there = tasks->head != end;
    if (is_there)
        *out = tasks->ring[tasks->head++ % HF_LOOP_TASKS_MAX];
    pthread_mutex_unlock(&tasks->lock);
    return is_there;
}

void hf_post_run(struct hf_loop *loop)
{
    struct hf_tasks *tasks = &loop->tasks;
    struct hf_task next;
    pthread_mutex_lock(&tasks->lock);
    uint32_t end = tasks->tail; /* what they post themselves is for the next turn */
    bool is_empty = tasks->head == end;
    pthread_mutex_unlock(&tasks->lock);
    if (is_empty)
        return;
    while (post_next(&next, tasks, end))
        next.task(loop, next.arg);
    pthread_mutex_lock(&tasks->lock);
    /* Whoever posted while others waited has not woken us. */
    loop->is_turn_due |= tasks->head != tasks->tail;
    pthread_mutex_unlock(&tasks->lock);
}

void hf_post_end(struct hf_loop *loop)
{
    struct hf_tasks *tasks = &loop->tasks;
    struct hf_task next;
    pthread_mutex_lock(&tasks->lock);
    tasks->is_ended = true;
    uint32_t end = tasks->tail;
    pthread_mutex_unlock(&tasks->lock);
    while (post_next(&next, tasks, end))
        next.task(loop, next.arg);
}
