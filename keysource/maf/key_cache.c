/**
 * key_cache.c - entries in one array, found by a keyed hash, each in the list of its state from the
 * oldest to the youngest. Touched lazily, freed last in, first out.
 *
 * Invariant: lists never hold more than their limits, so the array never runs out: what is over is
 * the oldest, forgotten; of lookups none is forgotten, the new one is refused.
 */
#include "key_service_private.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *map(size_t len)
{
    void *data =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

static uint32_t limit_of(const struct hf_key_service *service, enum hf_key_state state)
{
    switch (state) {
    case HF_KEY_STATE_LOOKUP:
        return service->config.lookups_max;
    case HF_KEY_STATE_KEY:
        return service->config.keys_max;
    case HF_KEY_STATE_REFUSED:
        return service->config.refusals_max;
    case HF_KEY_STATE_REVOKED:
        return service->config.revoked_max;
    case HF_KEY_STATE_FREE:
    case HF_KEY_STATE_COUNT:
    default:
        return 0;
    }
}

enum hf_status hf_key_cache_open(struct hf_key_service *service)
{
    const struct hf_key_service_config *config = &service->config;
    /* One more: a lookup turns into a key before the oldest key is forgotten. And keys that replies
     * still point to stay until these are taken. */
    service->entries_max = config->lookups_max + config->keys_max + config->refusals_max +
                           config->revoked_max + config->askers_max + 1;
    uint32_t buckets = 16;
    while (buckets < service->entries_max && buckets < 1U << 24)
        buckets *= 2;
    service->bucket_mask = buckets - 1;
    service->entries_free = HF_KEY_NONE;
    service->buckets = map(buckets * sizeof(*service->buckets));
    service->entries = map(service->entries_max * sizeof(*service->entries));
    if (service->buckets == NULL || service->entries == NULL)
        return HF_E_MEMORY;
    hf_crypto_mark_secret_memory(service->entries,
                                 service->entries_max * sizeof(*service->entries));
    hf_random(service->hash_key, sizeof(service->hash_key));
    return HF_OK;
}

void hf_key_cache_close(struct hf_key_service *service)
{
    if (service->buckets != NULL)
        munmap(service->buckets, (service->bucket_mask + 1) * sizeof(*service->buckets));
    if (service->entries != NULL) {
        hf_wipe(service->entries, service->entries_touched * sizeof(*service->entries));
        munmap(service->entries, service->entries_max * sizeof(*service->entries));
    }
}

void hf_key_cache_fold(uint8_t *out, const struct hf_maf_identity *identity)
{
    struct hf_bytes relative = identity->relative_key_id;
    if (hf_maf_text_is_hex_id(relative))
        hf_maf_text_fold(out, relative);
    else
        memcpy(out, relative.data, relative.len);
    out[relative.len] = '@';
    hf_maf_text_fold(out + relative.len + 1, identity->fqdn);
}

/* ---- the hash table: 0 is empty, otherwise an index and one ---------------------------------- */

static uint32_t *bucket_of(const struct hf_key_service *service, struct hf_bytes folded)
{
    uint64_t hash = hf_siphash(service->hash_key, folded.data, folded.len);
    return &service->buckets[(uint32_t)hash & service->bucket_mask];
}

uint32_t hf_key_cache_find(const struct hf_key_service *service, struct hf_bytes folded)
{
    uint32_t index = *bucket_of(service, folded);
    while (index != 0) {
        const struct hf_key_entry *entry = &service->entries[index - 1];
        if (hf_maf_text_equal((struct hf_bytes){entry->identity, entry->identity_len}, folded))
            return index - 1;
        index = entry->hash_next;
    }
    return HF_KEY_NONE;
}

static void unhash(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_entry *entry = &service->entries[index];
    uint32_t *link = bucket_of(service, (struct hf_bytes){entry->identity, entry->identity_len});
    while (*link != index + 1)
        link = &service->entries[*link - 1].hash_next;
    *link = entry->hash_next;
}

/* ---- lists -------------------------------------------------------------------------------- */

static void list_put(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_entry *entry = &service->entries[index];
    struct hf_key_list *list = &service->lists[entry->state];
    entry->next = HF_KEY_NONE;
    entry->prev = list->count > 0 ? list->last : HF_KEY_NONE;
    if (list->count == 0)
        list->first = index;
    else
        service->entries[list->last].next = index;
    list->last = index;
    list->count++;
}

static void list_remove(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_entry *entry = &service->entries[index];
    struct hf_key_list *list = &service->lists[entry->state];
    if (entry->prev == HF_KEY_NONE)
        list->first = entry->next;
    else
        service->entries[entry->prev].next = entry->next;
    if (entry->next == HF_KEY_NONE)
        list->last = entry->prev;
    else
        service->entries[entry->next].prev = entry->prev;
    list->count--;
}

void hf_key_cache_use(struct hf_key_service *service, uint32_t index)
{
    list_remove(service, index);
    list_put(service, index);
}

/* The oldest that no reply points to. There is a spare entry for each asker, so it may be none. */
static void make_room(struct hf_key_service *service, enum hf_key_state state)
{
    const struct hf_key_list *list = &service->lists[state];
    uint32_t index = list->first;
    if (state == HF_KEY_STATE_LOOKUP || list->count <= limit_of(service, state))
        return;
    while (index != HF_KEY_NONE && service->entries[index].ready_count > 0)
        index = service->entries[index].next;
    if (index == HF_KEY_NONE || index == list->last)
        return;
    service->counters.evicted += state == HF_KEY_STATE_KEY;
    hf_key_cache_drop(service, index);
}

/* ---- entries ------------------------------------------------------------------------------ */

uint32_t hf_key_cache_add(struct hf_key_service *service, struct hf_bytes folded,
                          enum hf_key_state state)
{
    uint32_t index = service->entries_free;
    if (state == HF_KEY_STATE_LOOKUP && service->lists[state].count >= limit_of(service, state))
        return HF_KEY_NONE;
    if (index != HF_KEY_NONE)
        service->entries_free = service->entries[index].next;
    else if (service->entries_touched < service->entries_max)
        index = service->entries_touched++;
    else
        return HF_KEY_NONE;
    struct hf_key_entry *entry = &service->entries[index];
    memset(entry, 0, sizeof(*entry));
    entry->state = (uint8_t)state;
    entry->waiters_first = entry->waiters_last = entry->due_next = HF_KEY_NONE;
    entry->identity_len = (uint16_t)folded.len;
    memcpy(entry->identity, folded.data, folded.len);
    uint32_t *bucket = bucket_of(service, folded);
    entry->hash_next = *bucket;
    *bucket = index + 1;
    list_put(service, index);
    make_room(service, state);
    return index;
}

void hf_key_cache_move(struct hf_key_service *service, uint32_t index, enum hf_key_state state)
{
    struct hf_key_entry *entry = &service->entries[index];
    list_remove(service, index);
    entry->state = (uint8_t)state;
    if (state != HF_KEY_STATE_KEY)
        hf_wipe(entry->key, sizeof(entry->key));
    list_put(service, index);
    make_room(service, state);
}

void hf_key_cache_drop(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_entry *entry = &service->entries[index];
    unhash(service, index);
    list_remove(service, index);
    hf_wipe(entry, sizeof(*entry));
    entry->next = service->entries_free;
    service->entries_free = index;
}
