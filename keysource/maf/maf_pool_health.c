/**
 * maf_pool_health.c - which address to try when, and when to stop trying.
 *
 * An address that failed rests, longer each time. When all rest, a round has failed; after
 * rounds_max of them the circuit is open: what waits fails at once, and so does what comes, until a
 * connection made for no other purpose stands again.
 */
#include "maf_pool_private.h"

/* SplitMix64: jitter needs to be spread, not unpredictable. */
static uint64_t next_random(struct hf_maf_pool *pool)
{
    uint64_t z = pool->random += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* Doubling, capped, less up to a quarter so that front ends do not come back all at once. */
static uint64_t backoff_us(struct hf_maf_pool *pool, uint32_t failures)
{
    uint32_t shift = failures > 20 ? 20 : failures - 1;
    uint64_t us = pool->config.backoff_us_min << shift;
    if (us > pool->config.backoff_us_max)
        us = pool->config.backoff_us_max;
    return us - next_random(pool) % (us / 4 + 1);
}

static bool is_resting(const struct hf_maf_pool *pool, uint32_t index)
{
    return pool->addresses[index].rest_until_us > pool->now_us;
}

/* One that has never failed, or has recovered, before one that has only rested. */
uint32_t hf_maf_pool__address(const struct hf_maf_pool *pool, bool is_probe)
{
    uint32_t rested = HF_MAF_NONE;
    uint32_t count = is_probe ? pool->health.address_index : pool->config.address_count;
    for (uint32_t i = 0; i < count; i++) {
        if (is_resting(pool, i))
            continue;
        if (!is_probe && pool->addresses[i].failures == 0)
            return i;
        if (rested == HF_MAF_NONE)
            rested = i;
    }
    return rested;
}

static void open_circuit(struct hf_maf_pool *pool)
{
    if (!pool->is_circuit_open)
        pool->health.circuit_opens++;
    pool->is_circuit_open = true;
    hf_maf_pool__fail_waiting(pool, pool->last_failure);
}

void hf_maf_pool__address_failed(struct hf_maf_pool *pool, uint32_t address_index,
                                 enum hf_maf_outcome outcome)
{
    struct hf_maf_address_health *address = &pool->addresses[address_index];
    pool->last_failure = outcome;
    if (is_resting(pool, address_index)) /* another connection to it failed at the same time */
        return;
    address->failures++;
    address->rest_until_us = pool->now_us + backoff_us(pool, address->failures);
    uint64_t earliest_us = UINT64_MAX;
    for (uint32_t i = 0; i < pool->config.address_count; i++) {
        if (!is_resting(pool, i))
            return;
        if (pool->addresses[i].rest_until_us < earliest_us)
            earliest_us = pool->addresses[i].rest_until_us;
    }
    pool->retry_us = earliest_us;
    if (++pool->rounds >= pool->config.rounds_max)
        open_circuit(pool);
}

void hf_maf_pool__address_succeeded(struct hf_maf_pool *pool, uint32_t address_index)
{
    pool->addresses[address_index] = (struct hf_maf_address_health){0};
    pool->health.address_index = address_index;
    pool->rounds = 0;
    pool->retry_us = 0;
    if (pool->errors < pool->config.errors_max)
        pool->is_circuit_open = false;
}

void hf_maf_pool__answered(struct hf_maf_pool *pool, bool is_server_error)
{
    if (!is_server_error) {
        pool->errors = 0;
        pool->is_circuit_open = false;
        return;
    }
    if (++pool->errors < pool->config.errors_max)
        return;
    uint32_t over = pool->errors - pool->config.errors_max;
    pool->retry_us = pool->now_us + backoff_us(pool, over + 1);
    pool->last_failure = HF_MAF_OUTCOME_SERVER_ERROR;
    open_circuit(pool);
}

/* The next error opens it again, for longer; the next good answer makes all of it forgotten. */
void hf_maf_pool__recover(struct hf_maf_pool *pool)
{
    if (pool->is_circuit_open && pool->errors >= pool->config.errors_max &&
        pool->now_us >= pool->retry_us && pool->rounds < pool->config.rounds_max)
        pool->is_circuit_open = false;
}

struct hf_bytes hf_maf_pool_admin_fqdn(const struct hf_maf_pool *pool)
{
    return hf_maf_text_view(pool->admin_fqdn);
}
