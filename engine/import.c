/**
 * import.c - associations taken over from another engine: <handfast/transfer.h>; given by
 * transfer.c.
 *
 * Invariant: what a chunk says of an association is judged as a whole before anything is changed.
 */
#include "association.h"
#include "cid.h"
#include "hello.h"
#include "path.h"
#include "quota.h"
#include "record.h"
#include "stream.h"
#include "transfer_item.h"

#include <handfast/transfer.h>

#define RECORD_LEN_MIN 63 /* RFC 8449 4: 64; with a connection ID the type counts */
#define GENERATION_MASK 3u

enum hf_status hf_engine_import_begin(struct hf_engine *engine, uint64_t now_us, int64_t wall_s)
{
    if (engine->associations.touched > 0 || engine->is_importing || now_us < engine->now_us)
        return HF_E_STATE;
    engine->now_us = now_us;
    engine->wall_s = wall_s;
    engine->now_tick = (uint32_t)(now_us / HF_TICK_US);
    (void)hf_wheel_fire(&engine->wheel, engine->now_tick);
    engine->is_importing = true;
    engine->import_records = engine->import_us = 0;
    return HF_OK;
}

void hf_engine_import_later(struct hf_engine *engine, uint64_t records, uint64_t us)
{
    engine->import_records = records;
    engine->import_us = us;
}

static bool is_listener_good(const struct hf_engine *engine, const struct hf_transfer_item *item,
                             uint32_t flags)
{
    uint32_t index = item->record.listener_index;
    enum hf_transport transport =
        flags & HF_ASSOCIATION_DATAGRAM ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
    if (flags & HF_ASSOCIATION_CLIENT)
        return index < engine->config.dialer_count && engine->dialers[index].transport == transport;
    return index < engine->config.listener_count && engine->listeners[index].transport == transport;
}

static bool is_identity_good(const struct hf_identity *identity)
{
    return identity->entity_id.len <= HF_ENTITY_ID_MAX &&
           identity->credential_id.len <= HF_CREDENTIAL_ID_MAX &&
           identity->server_name.len <= 255 &&
           identity->handles.len % HF_REVOCATION_HANDLE_LEN == 0 &&
           identity->handles.len <= HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN;
}

static bool are_numbers_good(const struct hf_transfer_item *item, uint32_t flags)
{
    const struct hf_association *record = &item->record;
    bool is_datagram = flags & HF_ASSOCIATION_DATAGRAM;
    uint64_t seq = is_datagram ? record->write_seq & HF_DATAGRAM_SEQ_MAX : record->write_seq;
    uint64_t epoch = is_datagram ? record->write_seq >> 48 : 1;
    return epoch == 1 && seq <= HF_RECORDS_PER_KEY_MAX &&
           record->read_seq <= (is_datagram ? HF_DATAGRAM_SEQ_MAX : HF_RECORDS_PER_KEY_MAX) &&
           record->plaintext_len_max >= RECORD_LEN_MIN &&
           record->plaintext_len_max <= HF_PLAINTEXT_LEN_MAX &&
           record->receive_len_max >= RECORD_LEN_MIN &&
           record->receive_len_max <= HF_PLAINTEXT_LEN_MAX && record->warnings <= HF_WARNINGS_MAX &&
           record->leaving <= HF_LEAVE_TRUNCATED;
}

/** Connection IDs are told by a key that is there, and are for datagrams. */
static bool is_cid_good(const struct hf_transfer_item *item, uint32_t flags)
{
    const struct hf_cid_key *key = &item->cid_key;
    bool has_key = (key->tag_key[0] | key->tag_key[1]) && (key->mask_key[0] | key->mask_key[1]);
    bool is_datagram = flags & HF_ASSOCIATION_DATAGRAM;
    return item->peer_cid.len <= (is_datagram ? HF_CID_LEN_MAX : 0) &&
           (!(flags & HF_ASSOCIATION_CID) || (is_datagram && has_key));
}

/** Whether it can be an association of this engine. */
static bool is_good(const struct hf_engine *engine, const struct hf_transfer_item *item,
                    uint32_t flags)
{
    const uint32_t protected_both = HF_ASSOCIATION_READ_PROTECTED | HF_ASSOCIATION_WRITE_PROTECTED;
    const struct hf_association *record = &item->record;
    if (!hf_suite_name(record->suite) || (flags & protected_both) != protected_both)
        return false;
    enum hf_cipher cipher = hf_hello_cipher(record->suite, flags & HF_ASSOCIATION_ETM);
    return record->generation != 0 && item->write_key.cipher == cipher &&
           item->read_key.cipher == cipher && is_listener_good(engine, item, flags) &&
           record->framework <= HF_FRAMEWORK_MAF && record->entity_kind <= HF_ENTITY_AE_LIST &&
           are_numbers_good(item, flags) && is_cid_good(item, flags) &&
           is_identity_good(&item->identity);
}

/** Takes a former entry back; nobody is told. */
static void retract(struct hf_engine *engine, uint32_t index)
{
    struct hf_association *association = hf_association_at(engine, index);
    if (association->state == HF_STATE_FREE)
        return;
    if (hf_is_datagram(association))
        hf_table_remove(&engine->table, index);
    else
        hf_stream_forget(engine, association);
    hf_identity_drop(engine, association->identity);
    hf_record_keys_drop(engine, association);
    hf_cid_drop(engine, association);
    engine->counters.associations--;
    if (!hf_is_client(association))
        engine->counters.quotas[association->quota_index].associations--;
    uint32_t generation = association->generation;
    hf_wipe(association, sizeof *association);
    association->generation = generation;
}

/** So many numbers further on; where there are not so many left there is none. */
static uint64_t jump(uint64_t write_seq, uint64_t records)
{
    uint64_t left = HF_RECORDS_PER_KEY_MAX - (write_seq & HF_DATAGRAM_SEQ_MAX);
    return write_seq + (records < left ? records : left);
}

/** The record of an item, with all that is this engine's own. */
static enum hf_status settle(struct hf_association *out, struct hf_engine *engine,
                             const struct hf_transfer_item *item, uint32_t flags)
{
    bool is_datagram = flags & HF_ASSOCIATION_DATAGRAM;
    struct hf_path path = item->path;
    *out = item->record;
    out->timer = (struct hf_timer){0, 0, 0};
    out->state = HF_STATE_OPEN;
    out->flags = flags & ~(uint32_t)HF_ASSOCIATION_READ_QUEUED;
    out->handshake = HF_NONE;
    out->heard_tick =
        engine->now_tick - (uint32_t)((item->silent_us + engine->import_us) / HF_TICK_US);
    out->opened_tick =
        engine->now_tick - (uint32_t)((item->age_us + engine->import_us) / HF_TICK_US);
    out->mac_keys = HF_NONE;
    if (out->quota_index >= HF_QUOTAS_MAX || out->quota_index >= engine->config.quota_count)
        out->quota_index = 0;
    if (is_datagram) {
        uint32_t burst = 2 * engine->config.trials_per_second;
        out->write_seq = jump(out->write_seq, engine->import_records);
        out->datagram.successor = HF_NONE;
        out->datagram.cid = HF_NONE;
        out->datagram.trial_tick = engine->now_tick;
        if (out->trial_tokens > burst)
            out->trial_tokens = (uint16_t)burst;
    } else {
        out->stream.buffer = HF_NONE;
        out->stream.local_port = path.local.port;
    }
    if (!is_datagram && flags & HF_ASSOCIATION_CLIENT)
        path.local.port = 0;
    return hf_path_key(&out->path, engine, &path) ? HF_OK : HF_E_ASSOCIATION_LIMIT;
}

/** What is in the way has had its path taken over, and will be reported free; or is found by a
 *  connection ID, and does not need it. */
static enum hf_status enter_path(struct hf_engine *engine, uint32_t index, bool is_aside)
{
    const struct hf_association *association = hf_association_at(engine, index);
    if (!hf_is_datagram(association) || (is_aside && association->flags & HF_ASSOCIATION_CID))
        return HF_OK;
    uint32_t former = hf_table_find(&engine->table, &association->path);
    if (former != HF_NONE && hf_association_at(engine, former)->flags & HF_ASSOCIATION_CID)
        hf_table_remove(&engine->table, former);
    else if (former != HF_NONE)
        retract(engine, former);
    return hf_table_insert(&engine->table, index) ? HF_OK : HF_E_ASSOCIATION_LIMIT;
}

static enum hf_status put_together(struct hf_engine *engine, uint32_t index,
                                   const struct hf_transfer_item *item, uint32_t flags)
{
    struct hf_association *association = hf_association_at(engine, index);
    struct hf_association record;
    enum hf_status status = settle(&record, engine, item, flags);
    if (status == HF_OK)
        status = hf_identity_keep(&record.identity, engine, &item->identity);
    if (status != HF_OK) {
        hf_wipe(&record, sizeof record);
        return status;
    }
    *association = record;
    hf_wipe(&record, sizeof record);
    hf_record_keys_keep(engine, association, &item->write_key, &item->read_key);
    engine->counters.associations++;
    if (!hf_is_client(association))
        engine->counters.quotas[association->quota_index].associations++;
    hf_cid_put_together(engine, association, item);
    status = enter_path(engine, index, item->is_aside);
    if (status == HF_OK && !hf_is_datagram(association))
        status = hf_stream_restore(engine, association, item->partial,
                                   engine->now_tick - (uint32_t)(item->partial_us / HF_TICK_US),
                                   flags & HF_ASSOCIATION_READ_QUEUED);
    if (status != HF_OK)
        retract(engine, index);
    return status;
}

static enum hf_status take_live(struct hf_engine *engine, uint32_t index, struct hf_codec *codec)
{
    struct hf_transfer_item item = {.record = {.session_until = 0}};
    uint32_t flags;
    hf_transfer_item_live(codec, &item);
    bool is_whole = hf_codec_end(codec);
    bool is_known = hf_transfer_item_own_flags(&flags, item.flags) && !codec->is_unknown;
    enum hf_status status = HF_OK;
    if (!is_whole)
        status = HF_E_DECODE;
    else if (is_known && !is_good(engine, &item, flags))
        status = HF_E_ARGUMENT;
    if (status == HF_OK) {
        struct hf_association *association = hf_association_at(engine, index);
        retract(engine, index);
        association->generation = item.record.generation;
        association->flags = HF_ASSOCIATION_REST_DUE;
        if (is_known)
            status = put_together(engine, index, &item, flags);
        else
            engine->import_left_out++;
    }
    hf_wipe(&item, sizeof item);
    return status;
}

static enum hf_status take_free(struct hf_engine *engine, uint32_t index, struct hf_codec *codec)
{
    struct hf_transfer_item item = {.record = {.session_until = 0}};
    hf_transfer_item_free(codec, &item);
    if (!hf_codec_end(codec))
        return HF_E_DECODE;
    retract(engine, index);
    struct hf_association *association = hf_association_at(engine, index);
    uint32_t flags;
    (void)hf_transfer_item_own_flags(&flags, item.flags);
    association->generation = item.record.generation;
    association->flags = flags & HF_ASSOCIATION_REST_DUE;
    return HF_OK;
}

static enum hf_status take_entry(struct hf_engine *engine, struct hf_reader *reader)
{
    uint8_t kind = hf_reader_u8(reader);
    uint32_t index = (uint32_t)hf_reader_uint(reader, 4);
    struct hf_codec codec = hf_codec_reader(hf_reader_vector(reader, 4));
    if (reader->is_failed || (kind != HF_TRANSFER_FREE && kind != HF_TRANSFER_LIVE))
        return HF_E_DECODE;
    if (index >= engine->associations.count)
        return kind == HF_TRANSFER_FREE ? HF_OK : HF_E_ASSOCIATION_LIMIT;
    if (index >= engine->associations.touched)
        engine->associations.touched = index + 1;
    return kind == HF_TRANSFER_LIVE ? take_live(engine, index, &codec)
                                    : take_free(engine, index, &codec);
}

enum hf_status hf_engine_import(struct hf_engine *engine, struct hf_bytes chunk)
{
    struct hf_reader reader = hf_reader_of(chunk);
    if (!engine->is_importing)
        return HF_E_STATE;
    if (hf_reader_uint(&reader, HF_TRANSFER_HEADER_LEN) != HF_TRANSFER_HEADER)
        return HF_E_DECODE;
    while (reader.len > 0)
        HF_TRY(take_entry(engine, &reader));
    return HF_OK;
}

/** A free record that was a fourth tenant's rests from now on: since when it has, is not told. */
static void free_record(struct hf_engine *engine, uint32_t index)
{
    struct hf_association *association = hf_association_at(engine, index);
    if (engine->config.reuse_us_min > 0 && association->generation > 0 &&
        (association->generation & GENERATION_MASK) == GENERATION_MASK)
        association->flags |= HF_ASSOCIATION_REST_DUE;
    hf_quota_rest(engine, association);
}

void hf_engine_import_end(struct hf_transfer_counts *out, struct hf_engine *engine)
{
    *out = (struct hf_transfer_counts){.associations = engine->counters.associations,
                                       .left_out = engine->import_left_out};
    if (!engine->is_importing)
        return;
    engine->is_importing = false;
    engine->associations.used = engine->associations.touched;
    /* The lowest is used next. */
    for (uint32_t index = engine->associations.touched; index > 0; index--) {
        struct hf_association *association = hf_association_at(engine, index - 1);
        if (association->state == HF_STATE_FREE)
            free_record(engine, index - 1);
        else
            hf_association_arm(engine, association);
    }
}
