/**
 * quota.c - see quota.h.
 */
#include "quota.h"

#include "limits.h"

#include "association.h"

#define HF_TICKS_PER_SECOND (1000000 / HF_TICK_US)
#define HF_GENERATION_MASK                                                                         \
    3u /* what the embedder tells tenants apart by: hf_config.reuse_us_min                         \
        */

static uint32_t burst_of(const struct hf_quota *quota)
{
    return quota->handshakes_per_second <= UINT32_MAX / 2 ? 2 * quota->handshakes_per_second
                                                          : UINT32_MAX;
}

void hf_quota_init(struct hf_engine *engine, const struct hf_config *config)
{
    engine->config.quotas = engine->quotas;
    engine->resting_head = engine->resting_tail = HF_NONE;
    for (uint32_t i = 0; i < config->quota_count; i++) {
        engine->quotas[i] = config->quotas[i];
        engine->quota_buckets[i].tokens = burst_of(&engine->quotas[i]);
    }
}

void hf_quota_update(struct hf_engine *engine, const struct hf_config *config)
{
    for (uint32_t i = 0; i < engine->config.quota_count; i++) {
        struct hf_quota_bucket *bucket = &engine->quota_buckets[i];
        bool had_rate = engine->quotas[i].handshakes_per_second > 0;
        engine->quotas[i] = config->quotas[i];
        uint32_t burst = burst_of(&engine->quotas[i]);
        if (!had_rate || bucket->tokens > burst)
            *bucket = (struct hf_quota_bucket){burst, engine->now_tick};
    }
}

static bool take_token(struct hf_engine *engine, uint32_t index)
{
    const struct hf_quota *quota = &engine->quotas[index];
    struct hf_quota_bucket *bucket = &engine->quota_buckets[index];
    uint32_t rate = quota->handshakes_per_second;
    uint32_t burst = burst_of(quota);
    if (rate == 0)
        return true;
    uint64_t elapsed = engine->now_tick - bucket->tick;
    uint64_t earned = elapsed * rate / HF_TICKS_PER_SECOND;
    if (bucket->tokens + earned >= burst)
        *bucket = (struct hf_quota_bucket){burst, engine->now_tick};
    else if (earned > 0) { /* what is not enough for a token goes on counting */
        bucket->tokens += (uint32_t)earned;
        bucket->tick += (uint32_t)(earned * HF_TICKS_PER_SECOND / rate);
    }
    if (bucket->tokens == 0)
        return false;
    bucket->tokens--;
    return true;
}

static enum hf_status admit(struct hf_engine *engine, uint32_t index, bool is_restart)
{
    const struct hf_quota *quota = &engine->quotas[index];
    struct hf_quota_counters *counters = &engine->counters.quotas[index];
    if (engine->config.quota_count == 0)
        return HF_OK;
    if (quota->associations_max > 0 && !is_restart &&
        counters->associations >= quota->associations_max &&
        !hf_limits_evict(engine, index, NULL)) {
        counters->refused_associations++;
        return HF_E_AUTHORITY_LIMIT;
    }
    if (quota->handshakes_max > 0 && counters->handshakes >= quota->handshakes_max) {
        counters->refused_handshakes++;
        return HF_E_AUTHORITY_LIMIT;
    }
    if (take_token(engine, index))
        return HF_OK;
    counters->refused_rate++;
    return HF_E_AUTHORITY_LIMIT;
}

enum hf_status hf_quota_admit(struct hf_engine *engine, uint32_t listener_index, bool is_restart)
{
    return admit(engine, engine->listeners[listener_index].quota_index, is_restart);
}

enum hf_status hf_quota_move(struct hf_engine *engine, struct hf_association *association,
                             uint32_t index)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_quota_counters *quotas = engine->counters.quotas;
    bool is_restart = handshake != NULL && handshake->predecessor != HF_NONE;
    if (index == association->quota_index)
        return HF_OK;
    HF_TRY(admit(engine, index, is_restart));
    quotas[association->quota_index].associations--;
    quotas[association->quota_index].handshakes--;
    association->quota_index = (uint8_t)index;
    quotas[index].associations++;
    quotas[index].handshakes++;
    return HF_OK;
}

void hf_quota_begin(struct hf_engine *engine, struct hf_association *association)
{
    if (hf_is_client(association))
        return;
    association->quota_index = engine->listeners[association->listener_index].quota_index;
    struct hf_quota_counters *counters = &engine->counters.quotas[association->quota_index];
    counters->associations++;
    counters->handshakes++;
}

void hf_quota_establish(struct hf_engine *engine, const struct hf_association *association)
{
    if (!hf_is_client(association))
        engine->counters.quotas[association->quota_index].handshakes--;
}

void hf_quota_end(struct hf_engine *engine, const struct hf_association *association,
                  bool is_half_open)
{
    struct hf_quota_counters *counters = &engine->counters.quotas[association->quota_index];
    if (hf_is_client(association))
        return;
    counters->associations--;
    if (is_half_open)
        counters->handshakes--;
}

/* ---- records that rest -------------------------------------------------------------------- */

/* In a free record the timer's first word is a link, and heard_tick tells when it was given up. */
static void set_next(struct hf_association *association, uint32_t next)
{
    memcpy(association, &next, sizeof next);
}

static uint32_t next_of(const struct hf_association *association)
{
    uint32_t next;
    memcpy(&next, association, sizeof next);
    return next;
}

void hf_quota_rest(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t index = hf_association_index(engine, association);
    bool is_last_tenant = (association->generation & HF_GENERATION_MASK) == HF_GENERATION_MASK;
    if (!is_last_tenant || !(association->flags & HF_ASSOCIATION_REST_DUE)) {
        if (is_last_tenant)
            association->flags = 0;
        hf_pool_give(&engine->associations, index);
        return;
    }
    association->flags = 0;
    association->heard_tick = engine->now_tick;
    set_next(association, HF_NONE);
    if (engine->resting_tail != HF_NONE)
        set_next(hf_association_at(engine, engine->resting_tail), index);
    else
        engine->resting_head = index;
    engine->resting_tail = index;
}

void hf_quota_wake(struct hf_engine *engine)
{
    uint32_t ticks = (uint32_t)(engine->config.reuse_us_min / HF_TICK_US);
    for (int i = 0; i < 2 && engine->resting_head != HF_NONE; i++) {
        uint32_t index = engine->resting_head;
        const struct hf_association *association = hf_association_at(engine, index);
        if (engine->now_tick - association->heard_tick <= ticks)
            return;
        engine->resting_head = next_of(association);
        if (engine->resting_head == HF_NONE)
            engine->resting_tail = HF_NONE;
        hf_pool_give(&engine->associations, index);
    }
}
