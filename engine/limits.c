/**
 * limits.c - see limits.h.
 */
#include "limits.h"

#include "association.h"
#include "machine.h"
#include "quota.h"

#define HF_REARM_SLICE 4096u /* records: about 50 us */
#define HF_TICKS_PER_SECOND (1000000 / HF_TICK_US)
#define HF_NEAR 64
#define HF_EVICT_SEARCH 512u /* records looked at for one that may go */

uint32_t hf_limits_prefix_cell(const struct hf_engine *engine, const struct hf_path_key *path)
{
    struct hf_address address = hf_address_v6(path->peer_ip, 0, 0);
    uint8_t prefix[17] = {0};
    bool is_v4 = hf_address_is_v4(&address);
    uint32_t bits = is_v4 ? 96u + engine->config.prefix_bits_v4 : engine->config.prefix_bits_v6;
    memcpy(prefix, path->peer_ip, 16);
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t keep = bits > 8 * i ? bits - 8 * i : 0;
        if (keep < 8)
            prefix[i] &= (uint8_t)(0xFF00 >> keep);
    }
    prefix[16] = is_v4;
    return (uint32_t)hf_siphash(engine->siphash_key, prefix, sizeof prefix) % HF_PREFIX_CELLS;
}

enum hf_status hf_limits_prefix_admit(const struct hf_engine *engine, uint32_t cell)
{
    bool is_pressed = engine->handshakes.used >= engine->config.handshakes_pressure;
    return is_pressed && engine->prefix_cells[cell] >= engine->config.handshakes_per_prefix_max
               ? HF_E_PREFIX_LIMIT
               : HF_OK;
}

void hf_limits_prefix_count(struct hf_engine *engine, uint32_t cell, int change)
{
    engine->prefix_cells[cell] += (uint32_t)change;
}

bool hf_limits_trial_allowed(struct hf_engine *engine, struct hf_association *association,
                             uint64_t seq)
{
    uint32_t rate = engine->config.trials_per_second;
    uint32_t burst = 2 * rate;
    if (association->trial_tokens < burst) {
        uint64_t elapsed = engine->now_tick - association->datagram.trial_tick;
        uint64_t earned = elapsed * rate / HF_TICKS_PER_SECOND;
        if (earned > 0) {
            uint64_t tokens = association->trial_tokens + earned;
            association->trial_tokens = (uint16_t)(tokens < burst ? tokens : burst);
            association->datagram.trial_tick = engine->now_tick;
        }
    }
    if (association->trial_tokens == 0)
        return false;
    return association->trial_tokens > burst / 2 || seq <= association->read_seq + HF_NEAR;
}

bool hf_limits_trial_failed(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t burst = 2 * engine->config.trials_per_second;
    if (association->trial_tokens == burst)
        association->datagram.trial_tick = engine->now_tick;
    if (association->trial_tokens > 0)
        association->trial_tokens--;
    association->datagram.forgeries++;
    return association->datagram.forgeries >= engine->config.forgeries_max;
}

bool hf_limits_due(uint32_t *out, const struct hf_engine *engine,
                   const struct hf_association *association)
{
    uint32_t idle_ticks = (uint32_t)(engine->config.idle_us_max / HF_TICK_US);
    uint32_t age_ticks = (uint32_t)(engine->config.age_us_max / HF_TICK_US);
    uint32_t idle_due = association->heard_tick + idle_ticks + 1;
    uint32_t age_due = association->opened_tick + age_ticks + 1;
    *out = idle_ticks && (!age_ticks || (int32_t)(idle_due - age_due) < 0) ? idle_due : age_due;
    return idle_ticks || age_ticks;
}

bool hf_limits_evict(struct hf_engine *engine, uint32_t quota_index,
                     const struct hf_path_key *beside)
{
    uint32_t count = engine->associations.touched;
    uint32_t silent_min = (uint32_t)(engine->config.evict_us_min / HF_TICK_US);
    struct hf_association *longest = NULL;
    if (!engine->config.evict_us_min || !hf_outbox_has_room(&engine->outbox))
        return false;
    for (uint32_t i = 0; i < HF_EVICT_SEARCH && i < count; i++) {
        engine->evict_index = engine->evict_index + 1 < count ? engine->evict_index + 1 : 0;
        struct hf_association *association = hf_association_at(engine, engine->evict_index);
        uint32_t silent = engine->now_tick - association->heard_tick;
        bool is_candidate =
            association->state == HF_STATE_OPEN && !association->leaving && silent > silent_min &&
            (quota_index == HF_NONE || association->quota_index == quota_index) &&
            !hf_is_client(association) && !hf_association_successor(engine, association) &&
            !(beside && hf_bytes_equal_public(&association->path, beside, sizeof *beside));
        if (is_candidate && (!longest || silent > engine->now_tick - longest->heard_tick))
            longest = association;
    }
    if (!longest)
        return false;
    hf_machine_fail(engine, longest, HF_E_EVICTED, HF_MACHINE_TIMEOUT, "");
    return true;
}

void hf_limits_rearm(struct hf_engine *engine)
{
    uint32_t end = engine->associations.touched;
    if (engine->rearm_index == HF_NONE)
        return;
    for (uint32_t i = 0; i < HF_REARM_SLICE && engine->rearm_index < end; i++) {
        struct hf_association *association = hf_association_at(engine, engine->rearm_index++);
        if (association->state == HF_STATE_OPEN)
            hf_association_arm(engine, association);
    }
    if (engine->rearm_index >= end)
        engine->rearm_index = HF_NONE;
}

enum hf_status hf_engine_update_limits(struct hf_engine *engine, const struct hf_config *config)
{
    struct hf_config *own = &engine->config;
    HF_TRY(hf_config_check(NULL, config));
    if (config->quota_count != own->quota_count)
        return HF_E_ARGUMENT;
    if (config->idle_us_max != own->idle_us_max || config->age_us_max != own->age_us_max)
        engine->rearm_index = 0;
    own->hello_us_max = config->hello_us_max;
    own->handshake_us_max = config->handshake_us_max;
    own->answer_us_max = config->answer_us_max;
    own->record_us_max = config->record_us_max;
    own->idle_us_max = config->idle_us_max;
    own->age_us_max = config->age_us_max;
    own->evict_us_min = config->evict_us_min;
    own->retransmit_us_initial = config->retransmit_us_initial;
    own->retransmit_us_max = config->retransmit_us_max;
    own->handshakes_pressure = config->handshakes_pressure;
    own->handshakes_per_prefix_max = config->handshakes_per_prefix_max;
    hf_quota_update(engine, config);
    return HF_OK;
}
