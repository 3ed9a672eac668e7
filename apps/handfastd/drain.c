/**
 * drain.c - see drain.h.
 */
#include "drain.h"

#include "clock.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

/* What shards count is a second old at most. */
bool hf_drain_is_over(const struct hf_daemon *daemon)
{
    uint64_t left = 0;
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_counters counters;
        hf_loop_engine_counters_get(&counters, hf_shard_loop(daemon->shards[i]));
        left += counters.associations + counters.handshakes_open;
    }
    return left == 0 || hf_clock_us() / 1000 >= daemon->drain_until_ms;
}

bool hf_drain_begin(struct hf_daemon *daemon, uint64_t ms)
{
    enum hf_daemon_state serving = HF_DAEMON_SERVING;
    if (!atomic_compare_exchange_strong(&daemon->state, &serving, HF_DAEMON_DRAINING))
        return false;
    daemon->drain_until_ms = hf_clock_us() / 1000 + ms;
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        hf_shard_drain(daemon->shards[i], true, true);
    (void)eventfd_write(daemon->wake_fd, 1);
    return true;
}
