/**
 * key_askers.c - handshakes that wait: found by ticket to be cancelled, by entry to be told.
 *
 * Invariant: an asker is free, in the line of one entry, or in the line of replies.
 */
#include "key_service_private.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

enum hf_status hf_key_askers_open(struct hf_key_service *service)
{
    uint32_t buckets = 16;
    while (buckets < service->config.askers_max && buckets < 1U << 24)
        buckets *= 2;
    service->asker_mask = buckets - 1;
    service->askers_free = service->ready_first = service->ready_last = HF_KEY_NONE;
    service->asker_buckets = calloc(buckets, sizeof(*service->asker_buckets));
    service->askers = calloc(service->config.askers_max, sizeof(*service->askers));
    return service->asker_buckets == NULL || service->askers == NULL ? HF_E_MEMORY : HF_OK;
}

void hf_key_askers_close(struct hf_key_service *service)
{
    free(service->asker_buckets);
    free(service->askers);
}

static uint32_t *bucket_of(const struct hf_key_service *service, uint64_t tag,
                           struct hf_ticket ticket)
{
    const uint64_t words[3] = {tag, (uint64_t)ticket.slot << 32 | ticket.generation, ticket.seq};
    return &service->asker_buckets[(uint32_t)hf_xxh3(words, sizeof(words)) & service->asker_mask];
}

static void release(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_asker *asker = &service->askers[index];
    uint32_t *link = bucket_of(service, asker->tag, asker->ticket);
    while (*link != index + 1)
        link = &service->askers[*link - 1].hash_next;
    *link = asker->hash_next;
    asker->next = service->askers_free;
    service->askers_free = index;
}

uint32_t hf_key_askers_add(struct hf_key_service *service, uint64_t tag, struct hf_ticket ticket)
{
    uint32_t index = service->askers_free;
    if (index != HF_KEY_NONE)
        service->askers_free = service->askers[index].next;
    else if (service->askers_touched < service->config.askers_max)
        index = service->askers_touched++;
    else
        return HF_KEY_NONE;
    uint32_t *bucket = bucket_of(service, tag, ticket);
    service->askers[index] = (struct hf_key_asker){
        .hash_next = *bucket, .entry = HF_KEY_NONE, .tag = tag, .ticket = ticket};
    *bucket = index + 1;
    return index;
}

/* ---- lines -------------------------------------------------------------------------------- */

static void line_put(struct hf_key_service *service, uint32_t *first, uint32_t *last,
                     uint32_t index)
{
    struct hf_key_asker *asker = &service->askers[index];
    asker->next = HF_KEY_NONE;
    asker->prev = *last;
    if (*last == HF_KEY_NONE)
        *first = index;
    else
        service->askers[*last].next = index;
    *last = index;
}

static void line_remove(struct hf_key_service *service, uint32_t *first, uint32_t *last,
                        uint32_t index)
{
    const struct hf_key_asker *asker = &service->askers[index];
    if (asker->prev == HF_KEY_NONE)
        *first = asker->next;
    else
        service->askers[asker->prev].next = asker->next;
    if (asker->next == HF_KEY_NONE)
        *last = asker->prev;
    else
        service->askers[asker->next].prev = asker->prev;
}

void hf_key_askers_wait(struct hf_key_service *service, uint32_t asker, uint32_t entry)
{
    struct hf_key_entry *waited = &service->entries[entry];
    service->askers[asker].entry = entry;
    line_put(service, &waited->waiters_first, &waited->waiters_last, asker);
    service->counters.parked++;
}

void hf_key_askers_ready(struct hf_key_service *service, uint32_t asker,
                         enum hf_maf_outcome outcome, uint32_t entry)
{
    struct hf_key_asker *told = &service->askers[asker];
    told->is_ready = true;
    told->outcome = (uint8_t)outcome;
    told->entry = entry;
    if (entry != HF_KEY_NONE)
        service->entries[entry].ready_count++;
    line_put(service, &service->ready_first, &service->ready_last, asker);
}

void hf_key_askers_tell(struct hf_key_service *service, uint32_t entry, enum hf_maf_outcome outcome,
                        bool has_key)
{
    struct hf_key_entry *told = &service->entries[entry];
    while (told->waiters_first != HF_KEY_NONE) {
        uint32_t asker = told->waiters_first;
        line_remove(service, &told->waiters_first, &told->waiters_last, asker);
        service->counters.parked--;
        hf_key_askers_ready(service, asker, outcome, has_key ? entry : HF_KEY_NONE);
    }
}

static void unpoint(struct hf_key_service *service, struct hf_key_asker *asker)
{
    if (asker->entry != HF_KEY_NONE)
        service->entries[asker->entry].ready_count--;
    asker->entry = HF_KEY_NONE;
}

void hf_key_askers_spoil(struct hf_key_service *service, uint32_t entry,
                         enum hf_maf_outcome outcome)
{
    for (uint32_t i = service->ready_first; i != HF_KEY_NONE; i = service->askers[i].next)
        if (service->askers[i].entry == entry) {
            unpoint(service, &service->askers[i]);
            service->askers[i].outcome = (uint8_t)outcome;
        }
}

uint32_t hf_key_askers_cancel(struct hf_key_service *service, uint64_t tag, struct hf_ticket ticket)
{
    uint32_t index = *bucket_of(service, tag, ticket);
    for (; index != 0; index = service->askers[index - 1].hash_next) {
        struct hf_key_asker *asker = &service->askers[index - 1];
        if (asker->tag != tag || asker->ticket.slot != ticket.slot ||
            asker->ticket.generation != ticket.generation || asker->ticket.seq != ticket.seq)
            continue;
        uint32_t entry = HF_KEY_NONE;
        if (asker->is_ready) {
            line_remove(service, &service->ready_first, &service->ready_last, index - 1);
            unpoint(service, asker);
        } else {
            entry = asker->entry;
            struct hf_key_entry *waited = &service->entries[entry];
            line_remove(service, &waited->waiters_first, &waited->waiters_last, index - 1);
            service->counters.parked--;
        }
        service->counters.cancelled++;
        release(service, index - 1);
        return entry;
    }
    return HF_KEY_NONE;
}

bool hf_key_askers_take(struct hf_key_service *service, struct hf_key_asker *out)
{
    uint32_t index = service->ready_first;
    if (index == HF_KEY_NONE)
        return false;
    line_remove(service, &service->ready_first, &service->ready_last, index);
    *out = service->askers[index];
    if (out->entry != HF_KEY_NONE)
        service->entries[out->entry].ready_count--;
    release(service, index);
    return true;
}
