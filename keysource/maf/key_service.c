/**
 * key_service.c - from a question to a lookup, from a lookup's result to answers; rates, limits,
 * deadlines, revocation.
 */
#include "key_service_private.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_US 1000000U

void hf_key_service_config_init(struct hf_key_service_config *config)
{
    *config = (struct hf_key_service_config){
        .keys_max = 16384,
        .refusals_max = 4096,
        .lookups_max = 16384,
        .askers_max = 65536,
        .revoked_max = 1024,
        .refusal_us_max = 2 * SECOND_US,
        .lookup_us_max = 25 * SECOND_US,
        .revoked_us_max = 24ULL * 3600 * SECOND_US,
        .lookups_per_second = 5000,
        .lookups_pressure = 8192,
        .lookups_per_prefix_max = 64,
        .prefix_bits_v4 = 32,
        .prefix_bits_v6 = 56,
    };
}

/* ---- open and close ----------------------------------------------------------------------- */

static enum hf_status open_mafs(struct hf_key_service *service)
{
    for (uint32_t i = 0; i < service->config.maf_count; i++) {
        struct hf_key_maf *maf = &service->mafs[i];
        struct hf_maf_pool_config config = service->config.mafs[i];
        config.lookups_max = service->entries_max;
        if (config.fqdn.len > HF_MAF_FQDN_MAX)
            return HF_E_CONFIG;
        hf_maf_text_fold((uint8_t *)maf->fqdn, config.fqdn);
        for (uint32_t j = 0; j < i; j++)
            if (hf_maf_text_is(hf_maf_text_view(maf->fqdn), service->mafs[j].fqdn))
                return HF_E_CONFIG;
        maf->due_first = maf->due_last = HF_KEY_NONE;
        maf->tokens = (uint64_t)service->config.lookups_per_second * SECOND_US;
        enum hf_status status = hf_maf_pool_open(&maf->pool, &config);
        if (status != HF_OK)
            return status;
    }
    return HF_OK;
}

static bool is_usable(const struct hf_key_service_config *config)
{
    const uint32_t most = 1U << 22;
    return config->maf_count <= HF_KEY_SERVICE_MAFS_MAX && config->keys_max >= 1 &&
           config->keys_max <= most && config->refusals_max >= 1 && config->refusals_max <= most &&
           config->lookups_max >= 1 && config->lookups_max <= most && config->askers_max >= 1 &&
           config->askers_max <= most && config->revoked_max >= 1 && config->revoked_max <= most &&
           config->lookups_per_prefix_max >= 1 && config->lookups_per_prefix_max < UINT16_MAX &&
           config->prefix_bits_v4 <= 32 && config->prefix_bits_v6 <= 128;
}

enum hf_status hf_key_service_open(struct hf_key_service **out,
                                   const struct hf_key_service_config *config)
{
    *out = NULL;
    if (!is_usable(config))
        return HF_E_CONFIG;
    struct hf_key_service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return HF_E_MEMORY;
    service->config = *config;
    enum hf_status status = hf_key_cache_open(service);
    if (status == HF_OK)
        status = hf_key_askers_open(service);
    if (status == HF_OK)
        status = open_mafs(service);
    service->config.mafs = NULL; /* the caller's */
    /* Contexts differ from those of another process's keys, whose associations may still live. */
    hf_random(&service->context, sizeof(service->context));
    service->context >>= 1;
    if (status != HF_OK) {
        hf_key_service_close(service);
        return status;
    }
    *out = service;
    return HF_OK;
}

void hf_key_service_close(struct hf_key_service *service)
{
    if (service == NULL)
        return;
    for (uint32_t i = 0; i < HF_KEY_SERVICE_MAFS_MAX; i++)
        hf_maf_pool_close(service->mafs[i].pool);
    hf_key_askers_close(service);
    hf_key_cache_close(service);
    hf_wipe(service, sizeof(*service));
    free(service);
}

/* ---- whose identity ----------------------------------------------------------------------- */

uint32_t hf_key_service__find_maf(struct hf_maf_identity *split,
                                  const struct hf_key_service *service,
                                  struct hf_bytes psk_identity)
{
    if (!hf_maf_text_split(split, psk_identity, service->config.syntax))
        return HF_KEY_NONE;
    for (uint32_t i = 0; i < service->config.maf_count; i++)
        if (hf_maf_text_equal_folded(split->fqdn, hf_maf_text_view(service->mafs[i].fqdn)))
            return i;
    return HF_KEY_NONE;
}

uint32_t hf_key_service_maf_of(const struct hf_key_service *service, struct hf_bytes psk_identity)
{
    struct hf_maf_identity split;
    return hf_key_service__find_maf(&split, service, psk_identity);
}

bool hf_key_service_is_ours(const struct hf_key_service *service, struct hf_bytes psk_identity)
{
    return hf_key_service_maf_of(service, psk_identity) != HF_KEY_NONE;
}

/* ---- limits by prefix --------------------------------------------------------------------- */

static uint16_t prefix_of(const struct hf_key_service *service, const struct hf_address *peer)
{
    uint8_t prefix[16] = {0};
    unsigned bits = hf_address_is_v4(peer) ? 96U + service->config.prefix_bits_v4
                                           : service->config.prefix_bits_v6;
    memcpy(prefix, peer->ip, bits / 8);
    if (bits % 8 != 0)
        prefix[bits / 8] = (uint8_t)(peer->ip[bits / 8] & (0xFF00U >> (bits % 8)));
    return (uint16_t)(hf_siphash(service->hash_key, prefix, sizeof(prefix)) &
                      (HF_KEY_PREFIXES - 1));
}

static bool is_over_prefix(const struct hf_key_service *service, const struct hf_address *peer)
{
    return peer != NULL &&
           service->lists[HF_KEY_STATE_LOOKUP].count >= service->config.lookups_pressure &&
           service->prefixes[prefix_of(service, peer)] >= service->config.lookups_per_prefix_max;
}

static void count_prefix(struct hf_key_service *service, struct hf_key_entry *entry,
                         const struct hf_address *peer)
{
    if (peer == NULL)
        return;
    uint16_t prefix = prefix_of(service, peer);
    if (service->prefixes[prefix] == UINT16_MAX)
        return;
    entry->prefix = prefix;
    entry->has_prefix = true;
    service->prefixes[prefix]++;
}

static void uncount_prefix(struct hf_key_service *service, struct hf_key_entry *entry)
{
    if (entry->has_prefix)
        service->prefixes[entry->prefix]--;
    entry->has_prefix = false;
}

/* ---- the end of a lookup ------------------------------------------------------------------ */

/* Out of its MAF's line, if it is there still. */
static void undue(struct hf_key_service *service, uint32_t index)
{
    struct hf_key_maf *maf = &service->mafs[service->entries[index].maf_index];
    uint32_t previous = HF_KEY_NONE;
    for (uint32_t i = maf->due_first; i != HF_KEY_NONE; i = service->entries[i].due_next) {
        if (i == index) {
            if (previous == HF_KEY_NONE)
                maf->due_first = service->entries[i].due_next;
            else
                service->entries[previous].due_next = service->entries[i].due_next;
            if (maf->due_last == i)
                maf->due_last = previous;
            break;
        }
        previous = i;
    }
    service->entries[index].due_next = HF_KEY_NONE;
}

/* Nobody gets a key. Refusals are remembered, what is only unavailable is not. */
static void end_lookup(struct hf_key_service *service, uint32_t index, enum hf_maf_outcome outcome)
{
    struct hf_key_entry *entry = &service->entries[index];
    service->mafs[entry->maf_index].counters.outcomes[outcome]++;
    uncount_prefix(service, entry);
    hf_key_askers_tell(service, index, outcome, false);
    if (hf_maf_outcome_class(outcome) != HF_MAF_CLASS_REFUSED ||
        service->config.refusal_us_max == 0) {
        hf_key_cache_drop(service, index);
        return;
    }
    entry->outcome = (uint8_t)outcome;
    entry->until_us = service->now_us + service->config.refusal_us_max;
    hf_key_cache_move(service, index, HF_KEY_STATE_REFUSED);
}

static void give_up(struct hf_key_service *service, uint32_t index, enum hf_maf_outcome outcome)
{
    const struct hf_key_entry *entry = &service->entries[index];
    if (entry->is_sent)
        hf_maf_pool_cancel(service->mafs[entry->maf_index].pool, index);
    else
        undue(service, index);
    end_lookup(service, index, outcome);
}

void hf_key_service__fill(struct hf_key_service *service, uint32_t index,
                          const struct hf_key_kept *key)
{
    struct hf_key_entry *entry = &service->entries[index];
    entry->key_len = (uint8_t)key->secret.len;
    memcpy(entry->key, key->secret.data, key->secret.len);
    entry->source_len = (uint16_t)key->source_id.len;
    memcpy(entry->source_id, key->source_id.data, key->source_id.len);
    entry->entity_kind =
        (uint8_t)(hf_maf_text_is_identifier(key->source_id) ? hf_entity_kind_of(key->source_id)
                                                            : HF_ENTITY_PENDING);
    entry->expires_s = key->expires_s;
    entry->context = key->context;
}

static void take_key(struct hf_key_service *service, uint32_t index,
                     const struct hf_maf_resource *key)
{
    struct hf_key_entry *entry = &service->entries[index];
    size_t len = service->config.part == HF_KEY_FIRST_HALF ? key->key_len / 2U : key->key_len;
    uncount_prefix(service, entry);
    service->mafs[entry->maf_index].counters.outcomes[HF_MAF_OUTCOME_KEY]++;
    const struct hf_key_kept kept = {.secret = {key->key, len},
                                     .source_id = hf_maf_text_view(key->client_id),
                                     .expires_s = key->expires_s,
                                     .context = ++service->context};
    hf_key_service__fill(service, index, &kept);
    entry->is_sent = false;
    service->counters.changes++;
    hf_key_cache_move(service, index, HF_KEY_STATE_KEY);
    hf_key_askers_tell(service, index, HF_MAF_OUTCOME_KEY, true);
}

static void count_latency(struct hf_key_maf *maf, uint64_t us)
{
    size_t bucket = 0;
    while (us > hf_key_service_bucket_us(bucket))
        bucket++;
    maf->counters.latencies[bucket]++;
    maf->counters.latency_us += us;
}

static void collect(struct hf_key_service *service, struct hf_key_maf *maf)
{
    struct hf_maf_result result;
    while (hf_maf_pool_take_result(maf->pool, &result)) {
        count_latency(maf, result.us);
        if (result.outcome == HF_MAF_OUTCOME_KEY)
            take_key(service, result.lookup, result.key);
        else
            end_lookup(service, result.lookup, result.outcome);
    }
}

/* ---- from the rate's line to the pool ----------------------------------------------------- */

static void refill(struct hf_key_service *service, struct hf_key_maf *maf, uint64_t passed_us)
{
    uint64_t rate = service->config.lookups_per_second;
    uint64_t most = rate * SECOND_US;
    uint64_t more = passed_us >= SECOND_US ? most : passed_us * rate;
    maf->tokens = maf->tokens + more > most ? most : maf->tokens + more;
}

static void release_due(struct hf_key_service *service, struct hf_key_maf *maf)
{
    bool is_limited = service->config.lookups_per_second > 0;
    while (maf->due_first != HF_KEY_NONE && (!is_limited || maf->tokens >= SECOND_US)) {
        uint32_t index = maf->due_first;
        struct hf_key_entry *entry = &service->entries[index];
        struct hf_maf_identity split;
        maf->due_first = entry->due_next;
        if (maf->due_first == HF_KEY_NONE)
            maf->due_last = HF_KEY_NONE;
        entry->due_next = HF_KEY_NONE;
        struct hf_bytes identity = {entry->identity, entry->identity_len};
        entry->is_sent = hf_maf_text_split(&split, identity, service->config.syntax) &&
                         hf_maf_pool_ask(maf->pool, index, split.relative_key_id);
        if (!entry->is_sent)
            end_lookup(service, index, HF_MAF_OUTCOME_CIRCUIT_OPEN);
        else if (is_limited)
            maf->tokens -= SECOND_US;
    }
}

/* ---- questions ---------------------------------------------------------------------------- */

/* What is known already. True: the asker has been told. */
static bool answer_at_once(struct hf_key_service *service, uint32_t asker, uint32_t index)
{
    struct hf_key_entry *entry = &service->entries[index];
    struct hf_key_maf_counters *counters = &service->mafs[entry->maf_index].counters;
    if (entry->state == HF_KEY_STATE_KEY && entry->expires_s > service->wall_s) {
        counters->hits++;
        hf_key_cache_use(service, index);
        hf_key_askers_ready(service, asker, HF_MAF_OUTCOME_KEY, index);
        return true;
    }
    bool is_refused = entry->state == HF_KEY_STATE_REFUSED || entry->state == HF_KEY_STATE_REVOKED;
    if (!is_refused || entry->until_us <= service->now_us)
        return false;
    counters->refusal_hits++;
    hf_key_askers_ready(service, asker, (enum hf_maf_outcome)entry->outcome, HF_KEY_NONE);
    return true;
}

static void begin_lookup(struct hf_key_service *service, uint32_t asker, uint32_t maf_index,
                         struct hf_bytes folded, const struct hf_address *peer)
{
    struct hf_key_maf *maf = &service->mafs[maf_index];
    bool is_over = is_over_prefix(service, peer);
    uint32_t index = is_over ? HF_KEY_NONE : hf_key_cache_add(service, folded, HF_KEY_STATE_LOOKUP);
    if (index == HF_KEY_NONE) {
        enum hf_maf_outcome outcome = is_over ? HF_MAF_OUTCOME_PREFIX_LIMIT : HF_MAF_OUTCOME_LIMIT;
        maf->counters.outcomes[outcome]++;
        hf_key_askers_ready(service, asker, outcome, HF_KEY_NONE);
        return;
    }
    struct hf_key_entry *entry = &service->entries[index];
    entry->maf_index = (uint8_t)maf_index;
    entry->until_us = service->now_us + service->config.lookup_us_max;
    count_prefix(service, entry, peer);
    hf_key_askers_wait(service, asker, index);
    if (maf->due_last == HF_KEY_NONE)
        maf->due_first = index;
    else
        service->entries[maf->due_last].due_next = index;
    maf->due_last = index;
    release_due(service, maf);
}

enum hf_key_asked hf_key_service_ask(struct hf_key_service *service,
                                     const struct hf_key_question *question)
{
    struct hf_maf_identity split;
    uint8_t folded[HF_MAF_IDENTITY_MAX];
    uint32_t maf_index = hf_key_service__find_maf(&split, service, question->psk_identity);
    if (maf_index == HF_KEY_NONE)
        return HF_KEY_NOT_OURS;
    uint32_t asker = hf_key_askers_add(service, question->tag, question->ticket);
    if (asker == HF_KEY_NONE) {
        service->counters.full++;
        return HF_KEY_FULL;
    }
    struct hf_key_maf_counters *counters = &service->mafs[maf_index].counters;
    counters->asked++;
    hf_key_cache_fold(folded, &split);
    struct hf_bytes name = {folded, question->psk_identity.len};
    uint32_t index = hf_key_cache_find(service, name);
    if (index != HF_KEY_NONE && service->entries[index].state == HF_KEY_STATE_LOOKUP) {
        counters->coalesced++;
        hf_key_askers_wait(service, asker, index);
        return HF_KEY_ASKED;
    }
    if (index != HF_KEY_NONE && answer_at_once(service, asker, index))
        return HF_KEY_ASKED;
    if (index != HF_KEY_NONE) { /* outdated */
        hf_key_askers_spoil(service, index, HF_MAF_OUTCOME_EXPIRED);
        hf_key_cache_drop(service, index);
    }
    begin_lookup(service, asker, maf_index, name, question->peer);
    return HF_KEY_ASKED;
}

void hf_key_service_cancel(struct hf_key_service *service, uint64_t tag, struct hf_ticket ticket)
{
    uint32_t index = hf_key_askers_cancel(service, tag, ticket);
    if (index == HF_KEY_NONE)
        return;
    struct hf_key_entry *entry = &service->entries[index];
    if (entry->state != HF_KEY_STATE_LOOKUP || entry->waiters_first != HF_KEY_NONE ||
        entry->is_sent)
        return;
    undue(service, index);
    uncount_prefix(service, entry);
    hf_key_cache_drop(service, index);
}

bool hf_key_service_revoke(struct hf_key_service *service, uint64_t *context,
                           struct hf_bytes psk_identity)
{
    struct hf_maf_identity split;
    uint8_t folded[HF_MAF_IDENTITY_MAX];
    uint32_t maf_index = hf_key_service__find_maf(&split, service, psk_identity);
    *context = 0;
    if (maf_index == HF_KEY_NONE)
        return false;
    hf_key_cache_fold(folded, &split);
    struct hf_bytes name = {folded, psk_identity.len};
    uint32_t index = hf_key_cache_find(service, name);
    if (index != HF_KEY_NONE && service->entries[index].state == HF_KEY_STATE_LOOKUP) {
        give_up(service, index, HF_MAF_OUTCOME_REVOKED);
        index = hf_key_cache_find(service, name); /* a refusal now, or gone */
    }
    if (index == HF_KEY_NONE) {
        index = hf_key_cache_add(service, name, HF_KEY_STATE_REVOKED);
    } else {
        *context = service->entries[index].context;
        hf_key_askers_spoil(service, index, HF_MAF_OUTCOME_REVOKED);
        hf_key_cache_move(service, index, HF_KEY_STATE_REVOKED);
    }
    if (index != HF_KEY_NONE) {
        struct hf_key_entry *entry = &service->entries[index];
        entry->maf_index = (uint8_t)maf_index;
        entry->outcome = HF_MAF_OUTCOME_REVOKED;
        entry->until_us = service->now_us + service->config.revoked_us_max;
    }
    service->counters.revoked++;
    service->counters.changes++;
    return true;
}

/* ---- answers ------------------------------------------------------------------------------ */

/* The Credential-ID (TS-0003 10.4): of Km, "11-KmID", where that is what the MAF knows the source
 * by; otherwise of Kc, "12-" and the Key Identifier. */
static struct hf_bytes credential_of(struct hf_key_service *service,
                                     const struct hf_key_entry *entry)
{
    bool is_km = entry->entity_kind == HF_ENTITY_PENDING;
    const void *value = is_km ? (const void *)entry->source_id : (const void *)entry->identity;
    size_t len = is_km ? entry->source_len : entry->identity_len;
    memcpy(service->credential, is_km ? "11-" : "12-", 3);
    memcpy(service->credential + 3, value, len);
    return (struct hf_bytes){service->credential, len + 3};
}

static void fill_key(struct hf_key_service *service, struct hf_answer *out,
                     const struct hf_key_entry *entry)
{
    *out = (struct hf_answer){
        .kind = HF_ANSWER_PSK,
        .framework = HF_FRAMEWORK_MAF,
        .entity_kind = (enum hf_entity_kind)entry->entity_kind,
        .suid = HF_MAF_SUID_SAEF,
        .secret = {entry->key, entry->key_len},
        .credential_id = credential_of(service, entry),
        .expires_s = entry->expires_s,
        .context = entry->context,
    };
    if (entry->entity_kind != HF_ENTITY_PENDING)
        out->entity_id = (struct hf_bytes){(const uint8_t *)entry->source_id, entry->source_len};
}

/* A key whose life is over: the engine says so by its status; the peer cannot tell. */
static void fill_expired(struct hf_answer *out)
{
    static const uint8_t none[HF_MAF_KEY_MIN];
    *out = (struct hf_answer){.kind = HF_ANSWER_PSK,
                              .framework = HF_FRAMEWORK_MAF,
                              .suid = HF_MAF_SUID_SAEF,
                              .secret = {none, sizeof(none)},
                              .expires_s = 1};
}

bool hf_key_service_take_reply(struct hf_key_service *service, struct hf_key_reply *out)
{
    struct hf_key_asker asker;
    if (!hf_key_askers_take(service, &asker))
        return false;
    enum hf_maf_outcome outcome = (enum hf_maf_outcome)asker.outcome;
    *out = (struct hf_key_reply){.tag = asker.tag, .ticket = asker.ticket, .outcome = outcome};
    service->counters.replies[outcome]++;
    if (asker.entry != HF_KEY_NONE)
        fill_key(service, &out->answer, &service->entries[asker.entry]);
    else if (outcome == HF_MAF_OUTCOME_EXPIRED)
        fill_expired(&out->answer);
    else if (hf_maf_outcome_class(outcome) == HF_MAF_CLASS_REFUSED)
        out->answer.kind = HF_ANSWER_REFUSED;
    else
        out->answer.kind = HF_ANSWER_UNAVAILABLE;
    return true;
}

/* ---- time and connections ----------------------------------------------------------------- */

void hf_key_service_begin(struct hf_key_service *service, uint64_t now_us, int64_t wall_s)
{
    uint64_t passed_us = now_us - service->now_us;
    service->now_us = now_us;
    service->wall_s = wall_s;
    const struct hf_key_list *lookups = &service->lists[HF_KEY_STATE_LOOKUP];
    while (lookups->count > 0 && service->entries[lookups->first].until_us <= now_us)
        give_up(service, lookups->first, HF_MAF_OUTCOME_TIMEOUT);
    for (uint32_t i = 0; i < service->config.maf_count; i++) {
        struct hf_key_maf *maf = &service->mafs[i];
        hf_maf_pool_begin(maf->pool, now_us, wall_s);
        collect(service, maf);
        refill(service, maf, passed_us);
        release_due(service, maf);
    }
}

uint64_t hf_key_service_next_us(const struct hf_key_service *service)
{
    const struct hf_key_list *lookups = &service->lists[HF_KEY_STATE_LOOKUP];
    uint64_t next_us = lookups->count > 0 ? service->entries[lookups->first].until_us : UINT64_MAX;
    for (uint32_t i = 0; i < service->config.maf_count; i++) {
        const struct hf_key_maf *maf = &service->mafs[i];
        uint64_t us = hf_maf_pool_next_us(maf->pool);
        next_us = us < next_us ? us : next_us;
        if (maf->due_first != HF_KEY_NONE && next_us > service->now_us + 1000)
            next_us = service->now_us + 1000;
    }
    return next_us;
}

bool hf_key_service_take_action(struct hf_key_service *service, uint32_t *maf_index,
                                struct hf_maf_action *out)
{
    for (uint32_t i = 0; i < service->config.maf_count; i++)
        if (hf_maf_pool_take_action(service->mafs[i].pool, out)) {
            *maf_index = i;
            return true;
        }
    return false;
}

void hf_key_service_opened(struct hf_key_service *service, uint32_t maf_index, uint32_t connection)
{
    hf_maf_pool_opened(service->mafs[maf_index].pool, connection);
    collect(service, &service->mafs[maf_index]);
}

void hf_key_service_received(struct hf_key_service *service, uint32_t maf_index,
                             uint32_t connection, struct hf_bytes bytes)
{
    struct hf_key_maf *maf = &service->mafs[maf_index];
    while (bytes.len > 0) {
        size_t consumed = hf_maf_pool_received(maf->pool, connection, bytes);
        collect(service, maf);
        bytes.data += consumed;
        bytes.len -= consumed;
    }
}

void hf_key_service_ended(struct hf_key_service *service, uint32_t maf_index, uint32_t connection,
                          enum hf_maf_outcome outcome)
{
    hf_maf_pool_ended(service->mafs[maf_index].pool, connection, outcome);
    collect(service, &service->mafs[maf_index]);
}

void hf_key_service_renew(struct hf_key_service *service, uint32_t maf_index)
{
    hf_maf_pool_renew(service->mafs[maf_index].pool);
}
