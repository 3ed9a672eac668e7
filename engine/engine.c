/**
 * engine.c - the public face of an engine: its memory, its turns, what is pulled out of it.
 */
#include "answer.h"
#include "association.h"
#include "authority.h"
#include "cid.h"
#include "flight.h"
#include "identity.h"
#include "limits.h"
#include "machine.h"
#include "path.h"
#include "proof.h"
#include "quota.h"
#include "recall.h"
#include "record.h"
#include "route.h"
#include "stream.h"

#include <sys/mman.h>

#define HF_PAGE_LEN 4096
#define HF_HUGE_FROM_LEN (UINT32_C(32) << 20)
#define HF_CACHE_LINE_LEN 64

/** Hands out consecutive stretches of the one mapping; with memory NULL it only measures. */
struct layout {
    uint8_t *memory;
    size_t len;
};

static void *place(struct layout *layout, size_t len)
{
    uint8_t *at = layout->memory ? layout->memory + layout->len : NULL;
    layout->len += (len + HF_PAGE_LEN - 1) / HF_PAGE_LEN * HF_PAGE_LEN;
    return at;
}

static size_t round_line(size_t len)
{
    return (len + HF_CACHE_LINE_LEN - 1) / HF_CACHE_LINE_LEN * HF_CACHE_LINE_LEN;
}

static struct hf_slot_layout slot_layout(const struct hf_config *config)
{
    struct hf_slot_layout slot;
    size_t stream_len = config->message_len_max + 512;
    if (stream_len > HF_STREAM_HEADER_LEN + HF_CIPHERTEXT_LEN_MAX)
        stream_len = HF_STREAM_HEADER_LEN + HF_CIPHERTEXT_LEN_MAX;
    slot.kept_max = stream_len > config->deferred_len_max ? stream_len : config->deferred_len_max;
    slot.identity = round_line(sizeof(struct hf_handshake));
    slot.kept = slot.identity + round_line(config->identity_len_max);
    slot.message = slot.kept + round_line(slot.kept_max);
    slot.session = slot.message + round_line(config->message_len_max + 4);
    slot.stride = slot.session + (config->dialer_count > 0 ? round_line(HF_RECALL_LEN) : 0);
    return slot;
}

static uint32_t output_count_max(const struct hf_config *config)
{
    return config->output_len_max / HF_CACHE_LINE_LEN;
}

/** Slots for certificate handshakes: more than handshakes would be of no use. */
static uint32_t proof_count_max(const struct hf_config *config)
{
    return config->proofs_max < config->handshakes_max ? config->proofs_max
                                                       : config->handshakes_max;
}

/** What follows the pools. */
static void lay_out_rings(struct layout *layout, struct hf_engine *engine,
                          const struct hf_config *config)
{
    size_t authority_count = (size_t)config->listener_count * HF_LISTENER_AUTHORITIES_MAX;
    engine->answers_max = config->handshakes_max + 1;
    engine->answers = place(layout, engine->answers_max * sizeof *engine->answers);
    engine->jobs = place(layout, proof_count_max(config) * sizeof *engine->jobs);
    engine->authorities = place(layout, authority_count * sizeof *engine->authorities);
    engine->server_names = place(layout, authority_count * HF_SERVER_NAME_MAX);
    engine->streams_spent = place(layout, config->stream_buffers_max * sizeof(uint32_t));
    engine->locals = place(layout, config->local_addresses_max * sizeof *engine->locals);
    engine->prefix_cells = place(layout, HF_PREFIX_CELLS * sizeof *engine->prefix_cells);
}

/** Records and slots of a large population are met in no order: with small pages each datagram
 * would pay for several walks of the page tables. A small one is not made larger by it. */
static void use_huge_pages(const struct hf_engine *engine, void *table, uint32_t count)
{
    size_t len = (size_t)count * sizeof(struct hf_association);
    if (len < HF_HUGE_FROM_LEN)
        return;
    (void)madvise(engine->associations.slots, len, MADV_HUGEPAGE);
    (void)madvise(table, hf_table_memory(count), MADV_HUGEPAGE);
}

/** Lays the engine out in `layout`; the engine itself comes first. */
static void lay_out(struct layout *layout, const struct hf_config *config)
{
    struct hf_engine *engine = place(layout, sizeof *engine);
    struct hf_engine measured;
    if (!engine)
        engine = &measured;
    uint32_t count = config->associations_max;
    engine->slot = slot_layout(config);
    hf_pool_init(&engine->associations,
                 place(layout, (size_t)count * sizeof(struct hf_association)),
                 sizeof(struct hf_association), count);
    hf_pool_init(&engine->handshakes,
                 place(layout, (size_t)config->handshakes_max * engine->slot.stride),
                 engine->slot.stride, config->handshakes_max);
    uint32_t proof_count = proof_count_max(config);
    size_t proof_stride = round_line(sizeof(struct hf_proof)) + round_line(config->message_len_max);
    hf_pool_init(&engine->proofs, place(layout, proof_count * proof_stride), proof_stride,
                 proof_count);
    hf_pool_init(&engine->identities, place(layout, (size_t)count * 3 * HF_IDENTITY_BLOCK_LEN),
                 HF_IDENTITY_BLOCK_LEN, count * 3);
    for (size_t i = 0; i < HF_SMALL_IDENTITIES; i++)
        hf_pool_init(&engine->small_identities[i], place(layout, count * hf_identity_small_lens[i]),
                     hf_identity_small_lens[i], count);
    hf_pool_init(&engine->mac_keys, place(layout, (size_t)count * sizeof(struct hf_mac_keys)),
                 sizeof(struct hf_mac_keys), count);
    hf_pool_init(&engine->cids, place(layout, (size_t)count * sizeof(struct hf_cid_slot)),
                 sizeof(struct hf_cid_slot), count);
    hf_pool_init(&engine->streams,
                 place(layout, config->stream_buffers_max * sizeof(struct hf_stream_buffer)),
                 sizeof(struct hf_stream_buffer), config->stream_buffers_max);
    void *table = place(layout, hf_table_memory(count));
    engine->outbox = (struct hf_outbox){
        .data = place(layout, config->output_len_max),
        .data_max = config->output_len_max,
        .outputs = place(layout, output_count_max(config) * sizeof(struct hf_output)),
        .output_max = output_count_max(config),
        .events = place(layout, config->events_max * sizeof(struct hf_event)),
        .event_max = config->events_max,
    };
    lay_out_rings(layout, engine, config);
    if (!layout->memory)
        return;
    use_huge_pages(engine, table, count);
    hf_random(engine->siphash_key, sizeof engine->siphash_key);
    hf_table_init(&engine->table, table, count, engine->associations.slots,
                  engine->associations.stride, offsetof(struct hf_association, path),
                  engine->siphash_key);
    hf_wheel_init(&engine->wheel, engine->associations.slots, engine->associations.stride,
                  offsetof(struct hf_association, timer), 0);
}

size_t hf_config_memory(const struct hf_config *config)
{
    struct layout layout = {NULL, 0};
    if (hf_config_check(NULL, config) != HF_OK)
        return 0;
    lay_out(&layout, config);
    return layout.len;
}

static void make_keys(struct hf_engine *engine, const struct hf_config *config)
{
    uint8_t secret[HF_SHARED_SECRET_LEN];
    hf_secrets_init(&engine->secrets, &config->secrets);
    hf_cid_adopt(engine);
    hf_random(secret, sizeof secret);
    hf_hmac_key_init(&engine->decoy_key, (struct hf_bytes){secret, sizeof secret});
    hf_wipe(secret, sizeof secret);
    engine->records_out_max = UINT64_MAX;
    hf_wipe(&engine->config.secrets, sizeof engine->config.secrets);
}

void hf_engine_set_secrets(struct hf_engine *engine, const struct hf_shared_secrets *secrets)
{
    hf_secrets_init(&engine->secrets, secrets);
    hf_cid_adopt(engine);
}

enum hf_status hf_engine_open(struct hf_engine **out, const struct hf_config *config,
                              const struct hf_key_source *source)
{
    *out = NULL;
    if (!source || !source->request)
        return HF_E_ARGUMENT;
    if (!hf_crypto_is_boringssl())
        return HF_E_CRYPTO_LIBRARY;
    size_t len = hf_config_memory(config);
    if (len == 0)
        return HF_E_CONFIG;
    uint8_t *memory =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return HF_E_MEMORY;
    hf_crypto_mark_secret_memory(memory, len);
    struct layout layout = {memory, 0};
    lay_out(&layout, config);
    struct hf_engine *engine = (struct hf_engine *)(void *)memory;
    engine->memory = memory;
    engine->memory_len = len;
    engine->config = *config;
    engine->config.listeners = engine->listeners;
    for (uint32_t i = 0; i < config->listener_count; i++)
        hf_authority_adopt(engine, i, &config->listeners[i]);
    engine->config.dialers = engine->dialers;
    for (uint32_t i = 0; i < config->dialer_count; i++)
        hf_authority_adopt_dialer(engine, i, &config->dialers[i]);
    engine->source = *source;
    engine->waiting_head = engine->waiting_tail = HF_NONE;
    engine->spoiled_head = engine->spoiled_tail = HF_NONE;
    engine->rearm_index = HF_NONE;
    hf_quota_init(engine, config);
    hf_machine_index(engine->first_rows);
    make_keys(engine, config);
    *out = engine;
    return HF_OK;
}

/** Wipes what was ever touched, not what was only mapped. */
static void wipe_pool(const struct hf_pool *pool)
{
    hf_wipe(pool->slots, (size_t)pool->touched * pool->stride);
}

void hf_engine_close(struct hf_engine *engine)
{
    if (!engine)
        return;
    for (uint32_t i = 0; i < engine->config.listener_count; i++)
        hf_authority_release(engine, i);
    for (uint32_t i = 0; i < engine->config.dialer_count; i++)
        hf_authority_release_dialer(engine, i);
    hf_proof_close(engine);
    for (uint32_t i = 0; i < engine->handshakes.touched; i++)
        hf_credential_close(hf_handshake_at(engine, i)->own_x509);
    wipe_pool(&engine->associations);
    wipe_pool(&engine->handshakes);
    wipe_pool(&engine->proofs);
    wipe_pool(&engine->identities);
    for (size_t i = 0; i < HF_SMALL_IDENTITIES; i++)
        wipe_pool(&engine->small_identities[i]);
    wipe_pool(&engine->mac_keys);
    wipe_pool(&engine->cids);
    wipe_pool(&engine->streams);
    hf_wipe(engine->outbox.events, engine->outbox.event_max * sizeof *engine->outbox.events);
    uint8_t *memory = engine->memory;
    size_t len = engine->memory_len;
    hf_wipe(engine, sizeof *engine);
    (void)munmap(memory, len);
}

void hf_engine_begin_turn(struct hf_engine *engine, uint64_t now_us, int64_t wall_s)
{
    const struct hf_machine_event event = {.kind = HF_MACHINE_TIMEOUT};
    uint32_t index;
    HF_ASSERT(now_us >= engine->now_us && !engine->is_importing);
    engine->now_us = now_us;
    engine->wall_s = wall_s;
    engine->now_tick = (uint32_t)(now_us / HF_TICK_US);
    hf_outbox_turn(&engine->outbox);
    hf_stream_turn(engine);
    hf_limits_rearm(engine);
    /* What does not fit fires in the next turn. */
    while (hf_outbox_has_room(&engine->outbox) &&
           (index = hf_wheel_fire(&engine->wheel, engine->now_tick)) != HF_NONE) {
        struct hf_association *association = hf_association_at(engine, index);
        if (association->leaving)
            hf_association_leave(engine, association, (enum hf_leave)association->leaving);
        else
            hf_machine_run(engine, association, &event);
    }
}

void hf_engine_end_turn(struct hf_engine *engine)
{
    hf_answer_run(engine);
}

uint64_t hf_engine_next_us(const struct hf_engine *engine)
{
    uint32_t tick;
    bool is_buffer_due =
        engine->waiting_head != HF_NONE && engine->streams.used < engine->streams.count;
    bool is_rearming = engine->rearm_index != HF_NONE;
    if (engine->answers_count > 0 || engine->jobs_count > 0 || engine->streams_spent_count > 0 ||
        is_buffer_due || is_rearming)
        return engine->now_us;
    if (!hf_wheel_next(&tick, &engine->wheel))
        return UINT64_MAX;
    uint64_t ahead = (uint32_t)(tick - engine->now_tick);
    return (int32_t)(tick - engine->now_tick) <= 0
               ? engine->now_us
               : (engine->now_us / HF_TICK_US + ahead) * HF_TICK_US;
}

enum hf_status hf_engine_accept(hf_association_id *out, struct hf_engine *engine,
                                uint32_t listener_index, const struct hf_path *path, uint64_t user)
{
    struct hf_path_key key;
    struct hf_association *association;
    *out = 0;
    if (listener_index >= engine->config.listener_count ||
        engine->listeners[listener_index].transport != HF_TRANSPORT_TLS)
        return HF_E_ARGUMENT;
    if (!hf_outbox_has_room(&engine->outbox))
        return HF_WAITING;
    if (!hf_path_key(&key, engine, path)) {
        hf_drop_count(engine, HF_DROP_LOCAL_ADDRESS);
        return HF_E_ASSOCIATION_LIMIT;
    }
    enum hf_status status = hf_quota_admit(engine, listener_index, false);
    if (status == HF_OK)
        status = hf_association_open(&association, engine, HF_ROLE_SERVER, listener_index, &key);
    if (status != HF_OK) {
        engine->counters.handshakes[status]++;
        return status;
    }
    association->stream.user = user;
    *out = hf_association_handle(engine, association);
    const struct hf_machine_event event = {.kind = HF_MACHINE_START};
    return hf_machine_run(engine, association, &event);
}

/** Seals `data` into as many records as it takes. All of it fits: the caller made sure. */
static enum hf_status send_stream(struct hf_engine *engine, struct hf_association *association,
                                  struct hf_bytes data)
{
    size_t limit = association->plaintext_len_max;
    do {
        size_t part = data.len < limit ? data.len : limit;
        struct hf_packet packet = hf_packet_open(
            engine, association, HF_STREAM_HEADER_LEN + part + HF_RECORD_EXPANSION_MAX);
        HF_TRY(hf_packet_add(&packet, HF_TYPE_APPLICATION_DATA, true,
                             (struct hf_bytes){data.data, part}));
        hf_packet_close(&packet);
        data = (struct hf_bytes){data.data + part, data.len - part};
    } while (data.len > 0);
    return HF_OK;
}

enum hf_status hf_engine_send(struct hf_engine *engine, hf_association_id id, struct hf_bytes data)
{
    struct hf_association *association = hf_association_find(engine, id);
    if (!association)
        return HF_E_STALE;
    if (association->state != HF_STATE_OPEN || association->leaving ||
        association->flags & HF_ASSOCIATION_WRITE_CLOSED)
        return HF_E_STATE;
    size_t limit = association->plaintext_len_max;
    if (data.len > (hf_is_datagram(association) ? limit : HF_STREAM_CHUNK_MAX))
        return HF_E_TOO_LONG;
    size_t records = data.len / limit + 1;
    if (!hf_outbox_has_room(&engine->outbox) ||
        !hf_outbox_has_bytes(&engine->outbox,
                             data.len + records * (HF_DATAGRAM_HEADER_LEN + HF_CID_LEN_MAX + 1 +
                                                   HF_RECORD_EXPANSION_MAX)))
        return HF_WAITING;
    if (hf_is_datagram(association) && engine->counters.records_out >= engine->records_out_max)
        return HF_WAITING;
    if (hf_association_is_expired(engine, association))
        return hf_machine_fail(engine, association, HF_E_CREDENTIAL_EXPIRED, HF_MACHINE_DATA,
                               "TS-0001 11.3.2");
    if ((association->write_seq & HF_DATAGRAM_SEQ_MAX) + records > HF_RECORDS_PER_KEY_MAX)
        return hf_machine_fail(engine, association, HF_E_SEQUENCE_LIMIT, HF_MACHINE_DATA,
                               "RFC 5246 6.1");
    engine->counters.data_out_len += data.len;
    if (!hf_is_datagram(association))
        return send_stream(engine, association, data);
    struct hf_packet packet =
        hf_packet_open(engine, association, data.len + hf_packet_expansion(engine, association));
    HF_TRY(hf_packet_add(&packet, HF_TYPE_APPLICATION_DATA, true, data));
    hf_packet_close(&packet);
    return HF_OK;
}

void hf_engine_close_association(struct hf_engine *engine, hf_association_id id, enum hf_close how)
{
    struct hf_association *association = hf_association_find(engine, id);
    if (association)
        hf_association_leave(engine, association, (enum hf_leave)(HF_LEAVE_SILENT + how));
}

bool hf_engine_take_output(struct hf_engine *engine, struct hf_output *out)
{
    struct hf_outbox *outbox = &engine->outbox;
    if (outbox->output_count == 0)
        return false;
    *out = outbox->outputs[outbox->output_head++];
    outbox->output_count--;
    return true;
}

bool hf_engine_take_event(struct hf_engine *engine, struct hf_event *out)
{
    struct hf_outbox *outbox = &engine->outbox;
    if (outbox->event_count == 0)
        return false;
    struct hf_event *event = &outbox->events[outbox->event_head];
    *out = *event;
    if (event->kind == HF_EVENT_KEYLOG)
        hf_wipe(event, sizeof *event);
    outbox->event_head = (outbox->event_head + 1) % outbox->event_max;
    outbox->event_count--;
    return true;
}

bool hf_engine_has_event_room(const struct hf_engine *engine)
{
    return hf_outbox_has_room(&engine->outbox);
}

enum hf_status hf_engine_association_info(struct hf_association_info *out,
                                          const struct hf_engine *engine, hf_association_id id)
{
    const struct hf_association *association = hf_association_find(engine, id);
    if (!association)
        return HF_E_STALE;
    memset(out, 0, sizeof *out);
    out->entity_kind = (enum hf_entity_kind)association->entity_kind;
    out->framework = (enum hf_framework)association->framework;
    out->is_client = hf_is_client(association);
    out->is_sa2 = association->flags & HF_ASSOCIATION_SA2;
    out->reference_point = out->is_client ? hf_dialer_of(engine, association)->reference_point
                                          : hf_listener_of(engine, association)->reference_point;
    out->transport = hf_is_datagram(association) ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
    out->established = association->state == HF_STATE_OPEN;
    out->suite = association->suite;
    out->extended_master_secret = association->flags & HF_ASSOCIATION_EMS;
    out->is_resumed = association->flags & HF_ASSOCIATION_RESUMED;
    out->encrypt_then_mac = association->flags & HF_ASSOCIATION_ETM;
    out->suid = association->suid;
    out->expires_s = association->expires_s;
    out->context = association->context;
    out->listener_index = association->listener_index;
    out->plaintext_len_max = association->plaintext_len_max;
    out->path = hf_association_path(engine, association);
    hf_route_info(out, engine, association);
    hf_identity_copy(out, engine, association->identity);
    return HF_OK;
}

enum hf_status hf_engine_export(uint8_t *out, size_t out_len, const struct hf_engine *engine,
                                hf_association_id id, struct hf_bytes label,
                                const struct hf_bytes *context)
{
    enum { LABEL_LEN_MAX = 64, OUT_LEN_MAX = 256, CONTEXT_LEN_MAX = 256 };
    const struct hf_association *association = hf_association_find(engine, id);
    if (!association)
        return HF_E_STALE;
    bool is_bound = association->flags & HF_ASSOCIATION_EMS;
    if (association->state != HF_STATE_OPEN ||
        (!is_bound && !engine->config.export_without_extended_master_secret))
        return HF_E_STATE;
    if (out_len == 0 || out_len > OUT_LEN_MAX || label.len == 0 || label.len > LABEL_LEN_MAX ||
        (context && context->len > CONTEXT_LEN_MAX))
        return HF_E_ARGUMENT;
    char text[LABEL_LEN_MAX + 1] = {0};
    memcpy(text, label.data, label.len);
    size_t context_len = context ? context->len : 0;
    const uint8_t prefix[2] = {(uint8_t)(context_len >> 8), (uint8_t)context_len};
    const struct hf_bytes seeds[] = {
        {association->client_random, HF_RANDOM_LEN},
        {association->server_random, HF_RANDOM_LEN},
        {prefix, sizeof prefix},
        context ? *context : (struct hf_bytes){NULL, 0},
    };
    struct hf_hmac_key master;
    hf_hmac_key_init(&master, (struct hf_bytes){association->master_secret, HF_MASTER_SECRET_LEN});
    hf_prf(out, out_len, &master, text, seeds, context ? 4 : 2);
    hf_wipe(&master, sizeof master);
    return HF_OK;
}

void hf_engine_counters(struct hf_counters *out, const struct hf_engine *engine)
{
    *out = engine->counters;
    out->handshakes_open = engine->handshakes.used;
    out->proofs_open = engine->proofs.used;
    out->events_pending = engine->outbox.event_count;
    out->stream_buffers = engine->streams.used;
    out->memory_len = engine->memory_len;
}
