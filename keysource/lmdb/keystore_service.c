/**
 * keystore_service.c - the store thread, and the rings between it and the shards.
 *
 * A slot belongs to one shard for life. It is free (the shard's list), asked (in the ring to the
 * thread), with the thread, done (in the ring back), or taken (its answer is being looked at). Both
 * rings have one writer and one reader and room for every slot of the shard, so neither overflows.
 */
#include "keystore_private.h"

#include "crypto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CREDENTIAL_PREFIX "12-"          /* TS-0003 10.4: a provisioned key for SAEF */
#define SUID_PROVISIONED_KEY_FOR_SAEF 12 /* TS-0004 6.3.4.2.39 */
#define REQUESTS_MAX 65536

/* ---- rings -------------------------------------------------------------------------------- */

void hf_keystore_ring_push(struct hf_keystore_ring *ring, uint32_t mask, uint32_t slot)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    ring->slots[tail & mask] = slot;
    atomic_store(&ring->tail, tail + 1); /* not only a release: see hf_keystore_service_submit */
}

bool hf_keystore_ring_pop(uint32_t *out, struct hf_keystore_ring *ring, uint32_t mask)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
        return false;
    *out = ring->slots[head & mask];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

/* ---- opening ------------------------------------------------------------------------------ */

void hf_keystore_service_config_init(struct hf_keystore_service_config *config)
{
    *config = (struct hf_keystore_service_config){
        .shard_count = 1,
        .requests_max = 1024,
        .poll_ms = 1000,
        .hang_ms_max = 10000,
        .restart_ms_min = 500,
        .restart_ms_max = 30000,
        .uid = -1,
        .gid = -1,
    };
}

static bool shard_open(struct hf_keystore_shard *shard, struct hf_keystore_service *service,
                       uint32_t index)
{
    uint32_t count = service->slots_per_shard;
    shard->service = service;
    shard->taken = NO_SLOT;
    shard->free = calloc(count, sizeof(*shard->free));
    shard->asked.slots = calloc(count, sizeof(uint32_t));
    shard->done.slots = calloc(count, sizeof(uint32_t));
    if (shard->free == NULL || shard->asked.slots == NULL || shard->done.slots == NULL)
        return false;
    for (uint32_t i = service->config.requests_max; i > 0; i--)
        shard->free[shard->free_count++] = index * count + i - 1;
    return true;
}

static bool map_shared(struct hf_keystore_service *service)
{
    size_t slot_count = (size_t)service->config.shard_count * service->slots_per_shard;
    service->shared_len =
        sizeof(struct hf_keystore_shared) + slot_count * sizeof(struct hf_keystore_slot);
    void *shared = mmap(NULL, service->shared_len, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    (void)madvise(shared, service->shared_len, MADV_DONTDUMP);
    service->shared = shared;
    service->jobs = calloc(slot_count, sizeof(*service->jobs));
    return service->jobs != NULL;
}

static bool set_up(struct hf_keystore_service *service,
                   const struct hf_keystore_service_config *config)
{
    service->config = *config;
    service->slots_per_shard = 1;
    while (service->slots_per_shard < config->requests_max)
        service->slots_per_shard *= 2;
    service->config.path = service->path = strdup(config->path);
    if (config->authority != NULL)
        service->config.authority = service->authority = strdup(config->authority);
    service->shards = aligned_alloc(_Alignof(struct hf_keystore_shard),
                                    config->shard_count * sizeof(struct hf_keystore_shard));
    if (service->path == NULL || service->shards == NULL ||
        (config->authority != NULL && service->authority == NULL))
        return false;
    memset(service->shards, 0, config->shard_count * sizeof(struct hf_keystore_shard));
    for (uint32_t i = 0; i < config->shard_count; i++)
        if (!shard_open(&service->shards[i], service, i))
            return false;
    return map_shared(service);
}

static void tear_down(struct hf_keystore_service *service)
{
    for (uint32_t i = 0; service->shards != NULL && i < service->config.shard_count; i++) {
        free(service->shards[i].free);
        free(service->shards[i].asked.slots);
        free(service->shards[i].done.slots);
    }
    if (service->shared != NULL) {
        hf_wipe(service->shared->slots,
                service->shared_len - offsetof(struct hf_keystore_shared, slots));
        munmap(service->shared, service->shared_len);
    }
    sem_destroy(&service->opened);
    sem_destroy(&service->work);
    free(service->shards);
    free(service->jobs);
    free(service->path);
    free(service->authority);
    free(service);
}

bool hf_keystore_service_open(struct hf_keystore_service **out, char error[HF_KEYDB_ERROR_MAX],
                              const struct hf_keystore_service_config *config)
{
    *out = NULL;
    struct hf_keystore_service *service =
        aligned_alloc(_Alignof(struct hf_keystore_service), sizeof(struct hf_keystore_service));
    if (service == NULL || config->shard_count == 0 ||
        config->shard_count > HF_KEYSTORE_SHARDS_MAX || config->requests_max == 0 ||
        config->requests_max > REQUESTS_MAX) {
        free(service);
        snprintf(error, HF_KEYDB_ERROR_MAX, "%.200s: a limit of the key store is out of range",
                 config->path);
        return false;
    }
    memset(service, 0, sizeof(*service));
    (void)sem_init(&service->opened, 0, 0);
    (void)sem_init(&service->work, 0, 0);
    int code = set_up(service, config) ? 0 : ENOMEM;
    if (code == 0)
        code = hf_keystore_thread_start(service);
    if (code != 0) {
        snprintf(error, HF_KEYDB_ERROR_MAX, "%.200s: %s", config->path, strerror(code));
        tear_down(service);
        return false;
    }
    while (sem_wait(&service->opened) != 0)
        continue;
    if (!service->has_failed_to_open) {
        *out = service;
        return true;
    }
    memcpy(error, service->error, HF_KEYDB_ERROR_MAX);
    hf_keystore_service_close(service);
    return false;
}

void hf_keystore_service_close(struct hf_keystore_service *service)
{
    if (service == NULL)
        return;
    hf_keystore_thread_stop(service);
    tear_down(service);
}

/* ---- the shard's side --------------------------------------------------------------------- */

bool hf_keystore_service_submit(struct hf_keystore_service *service, uint32_t shard_index,
                                struct hf_ticket ticket, struct hf_bytes psk_identity)
{
    struct hf_keystore_shard *shard = &service->shards[shard_index];
    if (shard->free_count == 0 || psk_identity.len > HF_KEYDB_IDENTITY_MAX) {
        atomic_fetch_add_explicit(&service->counts.overflows, 1, memory_order_relaxed);
        return false;
    }
    uint32_t index = shard->free[--shard->free_count];
    struct hf_keystore_slot *slot = &service->shared->slots[index];
    service->jobs[index] = (struct hf_keystore_job){ticket, (uint16_t)psk_identity.len};
    slot->outcome = HF_KEYSTORE_UNAVAILABLE;
    slot->identity_len = (uint16_t)psk_identity.len;
    if (psk_identity.len > 0)
        memcpy(slot->identity, psk_identity.data, psk_identity.len);
    hf_keystore_ring_push(&shard->asked, service->slots_per_shard - 1, index);
    /* Push, then look whether it sleeps; it says that it sleeps, then looks at the rings. All four
     * are sequentially consistent: one of the two sees the other. */
    if (atomic_load(&service->is_asleep) && atomic_exchange(&service->is_asleep, false))
        sem_post(&service->work);
    return true;
}

static void free_taken(struct hf_keystore_shard *shard)
{
    struct hf_keystore_service *service = shard->service;
    if (shard->taken == NO_SLOT)
        return;
    struct hf_keystore_slot *slot = &service->shared->slots[shard->taken];
    hf_wipe(slot->secret, sizeof(slot->secret));
    shard->free[shard->free_count++] = shard->taken;
    shard->taken = NO_SLOT;
}

/* The other process may have written anything at all into the slot. */
static bool is_slot_valid(const struct hf_keystore_slot *slot, size_t secret_len, size_t entity_len)
{
    return secret_len >= HF_KEYDB_SECRET_MIN && secret_len <= sizeof(slot->secret) &&
           entity_len <= sizeof(slot->entity_id) && slot->expires_s >= 0 &&
           slot->expires_s <= UINT32_MAX && slot->entity_kind <= HF_ENTITY_AE_LIST;
}

static void fill_answer(struct hf_answer *out, uint8_t *scratch,
                        const struct hf_keystore_slot *slot, size_t identity_len)
{
    size_t secret_len = slot->secret_len;
    size_t entity_len = slot->entity_len;
    size_t prefix_len = sizeof(CREDENTIAL_PREFIX) - 1;
    memset(out, 0, sizeof(*out));
    out->kind = slot->outcome == HF_KEYSTORE_REFUSED ? HF_ANSWER_REFUSED : HF_ANSWER_UNAVAILABLE;
    if (slot->outcome != HF_KEYSTORE_FOUND || !is_slot_valid(slot, secret_len, entity_len))
        return;
    memcpy(scratch, CREDENTIAL_PREFIX, prefix_len);
    memcpy(scratch + prefix_len, slot->identity, identity_len);
    out->kind = HF_ANSWER_PSK;
    out->framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
    out->entity_kind = (enum hf_entity_kind)slot->entity_kind;
    out->suid = SUID_PROVISIONED_KEY_FOR_SAEF;
    out->secret = (struct hf_bytes){slot->secret, secret_len};
    out->entity_id = (struct hf_bytes){slot->entity_id, entity_len};
    out->credential_id = (struct hf_bytes){scratch, prefix_len + identity_len};
    out->expires_s = slot->expires_s;
    out->context = slot->revision;
}

bool hf_keystore_service_take(struct hf_ticket *ticket, struct hf_answer *out,
                              uint8_t scratch[HF_CREDENTIAL_ID_MAX],
                              struct hf_keystore_service *service, uint32_t shard_index)
{
    struct hf_keystore_shard *shard = &service->shards[shard_index];
    free_taken(shard);
    if (!hf_keystore_ring_pop(&shard->taken, &shard->done, service->slots_per_shard - 1))
        return false;
    const struct hf_keystore_job *job = &service->jobs[shard->taken];
    *ticket = job->ticket;
    fill_answer(out, scratch, &service->shared->slots[shard->taken], job->identity_len);
    return true;
}

size_t hf_keystore_service_drain(struct hf_keystore_service *service, uint32_t shard_index,
                                 struct hf_engine *engine)
{
    struct hf_ticket ticket;
    struct hf_answer answer;
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    size_t count = 0;
    while (hf_keystore_service_take(&ticket, &answer, scratch, service, shard_index)) {
        /* A stale ticket is no error: nobody waits any more. */
        (void)hf_engine_answer(engine, ticket, &answer);
        count++;
    }
    return count;
}

static void ask(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    struct hf_keystore_shard *shard = arg;
    struct hf_keystore_service *service = shard->service;
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    /* This source never says identity_follows. */
    if (request->kind == HF_REQUEST_KEY) {
        if (hf_keystore_service_submit(service, (uint32_t)(shard - service->shards),
                                       request->ticket, request->psk_identity))
            return;
        answer.kind = HF_ANSWER_UNAVAILABLE;
    }
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

struct hf_key_source hf_keystore_service_source(struct hf_keystore_service *service,
                                                uint32_t shard_index)
{
    return (struct hf_key_source){.request = ask, .arg = &service->shards[shard_index]};
}

/* ---- questions about it ------------------------------------------------------------------- */

void hf_keystore_service_poll(struct hf_keystore_service *service)
{
    atomic_store(&service->is_poll_wanted, true);
    if (atomic_exchange(&service->is_asleep, false))
        sem_post(&service->work);
}

void hf_keystore_service_counters_get(struct hf_keystore_service_counters *out,
                                      const struct hf_keystore_service *service)
{
    const struct hf_keystore_counts *counts = &service->counts;
    *out = (struct hf_keystore_service_counters){
        .requests = atomic_load(&counts->requests),
        .found = atomic_load(&counts->found),
        .refused = atomic_load(&counts->refused),
        .unavailable = atomic_load(&counts->unavailable) + atomic_load(&counts->overflows),
        .damaged = atomic_load(&counts->damaged),
        .overflows = atomic_load(&counts->overflows),
        .batches = atomic_load(&counts->batches),
        .retired = atomic_load(&counts->retired),
        .starts = atomic_load(&counts->starts),
        .deaths = atomic_load(&counts->deaths),
        .keys = atomic_load(&counts->keys),
        .generation = atomic_load(&counts->generation),
        .transaction = atomic_load(&counts->transaction),
        .is_serving = atomic_load(&counts->is_serving),
    };
}

int hf_keystore_service_process(const struct hf_keystore_service *service)
{
    return atomic_load(&service->shared->process);
}
