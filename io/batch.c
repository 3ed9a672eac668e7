/**
 * batch.c - what a loop does to have its batches of crypto jobs full: a turn takes what comes while
 * it looks at the rest, and, where that is configured, may be put off for a moment.
 *
 * The first costs a system call a turn, and only where one of the last turns had jobs. Without it
 * what the kernel hands out in pieces - it ends a multishot receive's run after 32 datagrams, and
 * runs twenty of its tasks at a time - would be so many turns.
 *
 * The second is off unless configured. Then only after a turn whose own batches were at least half
 * full: where little happens nobody waits, and where the lanes are off there is no such batch.
 * Pairs of keys do not count: they are made by whole batches always.
 */
#include "loop_private.h"

#define BATCHING_TURNS 8
#define LINGER_FILL_MIN (HF_JOB_LANES_MAX / 2)

static uint64_t batch_count(void)
{
    struct hf_job_counters counters;
    uint64_t count = 0;
    hf_job_read_counters(&counters);
    for (int kind = HF_JOB_KIND_AGREE; kind < HF_JOB_KIND_COUNT; ++kind)
        for (int n = LINGER_FILL_MIN; n <= HF_JOB_LANES_MAX; ++n)
            count += counters.batches[kind][n - 1];
    return count;
}

bool hf_batch_next(struct hf_completion *out, struct hf_loop *loop)
{
    return loop->backend->next(out, loop) ||
           (loop->batching_turns > 0 && loop->backend->wait(loop, 0, 1) == HF_OK &&
            loop->backend->next(out, loop));
}

void hf_batch_note(struct hf_loop *loop, bool has_jobs)
{
    if (has_jobs)
        loop->batching_turns = BATCHING_TURNS;
    else if (loop->batching_turns > 0)
        --loop->batching_turns;
    if (loop->config.batch_linger_us == 0)
        return;
    uint64_t batches = has_jobs ? batch_count() : loop->batches_filled;
    loop->is_linger_due = batches != loop->batches_filled;
    loop->batches_filled = batches;
}

enum hf_status hf_batch_wait(struct hf_loop *loop, uint64_t timeout_us)
{
    uint64_t linger_us = loop->config.batch_linger_us;
    if (linger_us > timeout_us)
        linger_us = timeout_us;
    if (!loop->is_linger_due || linger_us == 0)
        return loop->backend->wait(loop, timeout_us, 1);
    loop->is_linger_due = false;
    HF_COUNT(loop, batch_lingers, 1);
    enum hf_status status = loop->backend->wait(loop, linger_us, HF_JOB_LANES_MAX);
    if (status != HF_OK || loop->backend->is_pending(loop))
        return status;
    return loop->backend->wait(loop, timeout_us - linger_us, 1);
}
