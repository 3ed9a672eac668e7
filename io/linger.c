/**
 * linger.c - putting a turn off for a moment, so that its batches of crypto jobs are fuller.
 *
 * Off unless configured. Then only after a turn whose own batches were at least half full: where
 * little happens nobody waits, and where the lanes are off there is no such batch. Pairs of keys do
 * not count: they are made by whole batches always.
 */
#include "loop_private.h"

#define LINGER_FILL_MIN (HF_JOB_LANES_MAX / 2)

static uint64_t linger_batches(void)
{
    struct hf_job_counters counters;
    uint64_t count = 0;
    hf_job_read_counters(&counters);
    for (int kind = HF_JOB_KIND_AGREE; kind < HF_JOB_KIND_COUNT; ++kind)
        for (int n = LINGER_FILL_MIN; n <= HF_JOB_LANES_MAX; ++n)
            count += counters.batches[kind][n - 1];
    return count;
}

void hf_linger_note(struct hf_loop *loop)
{
    if (loop->config.batch_linger_us == 0)
        return;
    uint64_t batches = linger_batches();
    loop->is_linger_due = batches != loop->linger_batches;
    loop->linger_batches = batches;
}

enum hf_status hf_linger_wait(struct hf_loop *loop, uint64_t timeout_us)
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
