/**
 * key_service_keep.c - the service as a key source of one engine, its keys as something to keep,
 * and its counters.
 */
#include "key_service_private.h"

#include "crypto.h"

#include <string.h>

/* ---- one engine on the same thread -------------------------------------------------------- */

static void answer_with(struct hf_engine *engine, struct hf_ticket ticket, enum hf_answer_kind kind)
{
    const struct hf_answer answer = {.kind = kind};
    (void)hf_engine_answer(engine, ticket, &answer);
}

static void request(struct hf_engine *engine, const struct hf_request *asked, void *arg)
{
    struct hf_key_service *service = arg;
    const struct hf_key_question question = {
        .ticket = asked->ticket, .psk_identity = asked->psk_identity, .peer = &asked->path->peer};
    enum hf_key_asked result =
        asked->kind == HF_REQUEST_KEY ? hf_key_service_ask(service, &question) : HF_KEY_NOT_OURS;
    if (result == HF_KEY_FULL)
        answer_with(engine, asked->ticket, HF_ANSWER_UNAVAILABLE);
    else if (result == HF_KEY_NOT_OURS && service->other != NULL)
        service->other->request(engine, asked, service->other->arg);
    else if (result == HF_KEY_NOT_OURS)
        answer_with(engine, asked->ticket, HF_ANSWER_REFUSED);
}

static void cancel(struct hf_ticket ticket, void *arg)
{
    struct hf_key_service *service = arg;
    hf_key_service_cancel(service, 0, ticket);
    if (service->other != NULL && service->other->cancel != NULL)
        service->other->cancel(ticket, service->other->arg);
}

struct hf_key_source hf_key_service_source(struct hf_key_service *service,
                                           const struct hf_key_source *other)
{
    service->other = other;
    return (struct hf_key_source){.request = request, .cancel = cancel, .arg = service};
}

void hf_key_service_deliver(struct hf_key_service *service, struct hf_engine *engine)
{
    struct hf_key_reply reply;
    while (hf_key_service_take_reply(service, &reply))
        (void)hf_engine_answer(engine, reply.ticket, &reply.answer);
}

/* ---- keys that are kept ------------------------------------------------------------------- */

void hf_key_service_each(const struct hf_key_service *service, hf_key_service_visit *visit,
                         void *arg)
{
    const struct hf_key_list *keys = &service->lists[HF_KEY_STATE_KEY];
    uint32_t index = keys->count > 0 ? keys->first : HF_KEY_NONE;
    for (; index != HF_KEY_NONE; index = service->entries[index].next) {
        const struct hf_key_entry *entry = &service->entries[index];
        const struct hf_key_kept kept = {
            .psk_identity = {entry->identity, entry->identity_len},
            .secret = {entry->key, entry->key_len},
            .source_id = {(const uint8_t *)entry->source_id, entry->source_len},
            .expires_s = entry->expires_s,
            .context = entry->context,
        };
        if (entry->expires_s > service->wall_s)
            visit(&kept, arg);
    }
}

/* A new entry for an identity nothing is known of; HF_KEY_NONE: there is one, or it is not ours. */
static uint32_t add_entry(struct hf_key_service *service, struct hf_bytes psk_identity,
                          enum hf_key_state state)
{
    struct hf_maf_identity split;
    uint8_t folded[HF_MAF_IDENTITY_MAX];
    uint32_t maf_index = hf_key_service__find_maf(&split, service, psk_identity);
    if (maf_index == HF_KEY_NONE)
        return HF_KEY_NONE;
    hf_key_cache_fold(folded, &split);
    struct hf_bytes name = {folded, psk_identity.len};
    if (hf_key_cache_find(service, name) != HF_KEY_NONE)
        return HF_KEY_NONE;
    uint32_t index = hf_key_cache_add(service, name, state);
    if (index != HF_KEY_NONE)
        service->entries[index].maf_index = (uint8_t)maf_index;
    return index;
}

bool hf_key_service_keep(struct hf_key_service *service, const struct hf_key_kept *key)
{
    if (key->expires_s <= service->wall_s || key->expires_s > UINT32_MAX ||
        key->secret.len < HF_MAF_KEY_MIN || key->secret.len > HF_PSK_MAX ||
        key->source_id.len == 0 || key->source_id.len > HF_ENTITY_ID_MAX)
        return false;
    uint32_t index = add_entry(service, key->psk_identity, HF_KEY_STATE_KEY);
    if (index == HF_KEY_NONE)
        return false;
    hf_key_service__fill(service, index, key);
    return true;
}

bool hf_key_service__keep_revoked(struct hf_key_service *service, struct hf_bytes psk_identity,
                                  int64_t until_s)
{
    uint64_t left_us = 0;
    if (until_s > service->wall_s)
        left_us = (uint64_t)(until_s - service->wall_s) * 1000000;
    if (left_us > service->config.revoked_us_max) /* the clock was put back meanwhile */
        left_us = service->config.revoked_us_max;
    uint32_t index =
        left_us > 0 ? add_entry(service, psk_identity, HF_KEY_STATE_REVOKED) : HF_KEY_NONE;
    if (index == HF_KEY_NONE)
        return false;
    service->entries[index].outcome = HF_MAF_OUTCOME_REVOKED;
    service->entries[index].until_us = service->now_us + left_us;
    return true;
}

/* ---- counters ----------------------------------------------------------------------------- */

uint64_t hf_key_service_bucket_us(size_t bucket)
{
    static const uint64_t bounds[HF_KEY_BUCKETS] = {1000,    5000,    10000,    50000,
                                                    100000,  250000,  500000,   1000000,
                                                    2500000, 5000000, 10000000, UINT64_MAX};
    return bounds[bucket < HF_KEY_BUCKETS ? bucket : HF_KEY_BUCKETS - 1];
}

void hf_key_service_counters_get(struct hf_key_service_counters *out,
                                 const struct hf_key_service *service)
{
    *out = service->counters;
    out->lookups = service->lists[HF_KEY_STATE_LOOKUP].count;
    out->keys = service->lists[HF_KEY_STATE_KEY].count;
    out->refusals = service->lists[HF_KEY_STATE_REFUSED].count;
}

void hf_key_service_maf_counters_get(struct hf_key_maf_counters *out,
                                     const struct hf_key_service *service, uint32_t maf_index)
{
    *out = service->mafs[maf_index].counters;
    hf_maf_pool_health(&out->health, service->mafs[maf_index].pool);
}
