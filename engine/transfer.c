/**
 * transfer.c - associations given to another engine: <handfast/transfer.h>; taken by import.c.
 *
 * What has changed between two passes is not noted anywhere on the packet path: a pass keeps a
 * fingerprint of each record, and the next looks at all of them again.
 */
#include "association.h"
#include "cid.h"
#include "record.h"
#include "stream.h"
#include "transfer_item.h"

#include <handfast/transfer.h>
#include <sys/mman.h>

struct hf_transfer {
    uint64_t *fingerprints; /* by record; 0: not written yet */
    size_t fingerprints_len;
    uint32_t count_max;
    uint32_t cursor; /* of the pass */
    uint32_t written;
    bool is_between; /* two passes */
    bool is_without_streams;
    uint64_t key;
};

enum hf_status hf_transfer_open(struct hf_transfer **out, const struct hf_engine *engine)
{
    *out = NULL;
    struct hf_transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return HF_E_MEMORY;
    transfer->count_max = engine->associations.count;
    transfer->fingerprints_len = (size_t)transfer->count_max * sizeof *transfer->fingerprints;
    void *memory = mmap(NULL, transfer->fingerprints_len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free(transfer);
        return HF_E_MEMORY;
    }
    transfer->fingerprints = memory;
    transfer->is_between = true;
    hf_random(&transfer->key, sizeof transfer->key);
    *out = transfer;
    return HF_OK;
}

void hf_transfer_close(struct hf_transfer *transfer)
{
    if (!transfer)
        return;
    (void)munmap(transfer->fingerprints, transfer->fingerprints_len);
    hf_wipe(transfer, sizeof *transfer);
    free(transfer);
}

void hf_transfer_leave_streams(struct hf_transfer *transfer)
{
    transfer->is_without_streams = true;
}

void hf_engine_limit_records(struct hf_engine *engine, uint64_t records_out_max)
{
    engine->records_out_max = records_out_max;
}

uint32_t hf_transfer_written(const struct hf_transfer *transfer)
{
    return transfer->written;
}

/** Of all of a record but its timer, whose links are the neighbours' business. Never 0. Nobody can
 *  choose what goes in, and nobody sees what comes out. */
static uint64_t fingerprint(const struct hf_transfer *transfer,
                            const struct hf_association *association)
{
    const uint8_t *at = (const uint8_t *)association + sizeof association->timer;
    size_t len = sizeof *association - sizeof association->timer;
    uint64_t hash = transfer->key;
    for (; len > 0; len -= len < 8 ? len : 8, at += 8) {
        uint64_t word = 0;
        memcpy(&word, at, len < 8 ? len : 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash | 1;
}

static uint64_t us_since(const struct hf_engine *engine, uint32_t tick)
{
    return (uint64_t)(engine->now_tick - tick) * HF_TICK_US;
}

static void take_apart(struct hf_transfer_item *out, struct hf_association_info *names,
                       uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN],
                       const struct hf_engine *engine, const struct hf_association *association)
{
    *out = (struct hf_transfer_item){.record = *association};
    hf_record_key_of(&out->write_key, engine, association, true);
    hf_record_key_of(&out->read_key, engine, association, false);
    out->flags = hf_transfer_item_wire_flags(association->flags);
    out->path = hf_association_path(engine, association);
    hf_cid_take_apart(out, engine, association);
    out->silent_us = us_since(engine, association->heard_tick);
    out->age_us = us_since(engine, association->opened_tick);
    hf_identity_copy(names, engine, association->identity);
    out->identity = (struct hf_identity){
        .entity_id = {(const uint8_t *)names->entity_id, names->entity_id_len},
        .credential_id = {(const uint8_t *)names->credential_id, names->credential_id_len},
        .server_name = {(const uint8_t *)names->server_name, names->server_name_len},
        .handles = {handles, hf_identity_handles(handles, engine, association->identity) *
                                 HF_REVOCATION_HANDLE_LEN},
    };
    uint32_t begun_tick = engine->now_tick;
    out->partial = hf_stream_partial(&begun_tick, engine, association);
    out->partial_us = us_since(engine, begun_tick);
}

static void write_live(struct hf_codec *codec, const struct hf_engine *engine,
                       const struct hf_association *association)
{
    uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN];
    struct hf_association_info names = {0};
    struct hf_transfer_item item;
    take_apart(&item, &names, handles, engine, association);
    hf_transfer_item_live(codec, &item);
    hf_wipe(&item, sizeof item);
}

static void write_free(struct hf_codec *codec, const struct hf_association *association)
{
    struct hf_transfer_item item = {
        .record = {.generation = association->generation},
        .flags = hf_transfer_item_wire_flags(association->flags & HF_ASSOCIATION_REST_DUE)};
    hf_transfer_item_free(codec, &item);
}

static bool is_moved(const struct hf_transfer *transfer, const struct hf_association *association)
{
    return association->state == HF_STATE_OPEN &&
           (hf_is_datagram(association) || !transfer->is_without_streams);
}

/** False: it does not fit, and nothing was written. */
static bool write_entry(struct hf_writer *writer, const struct hf_transfer *transfer,
                        const struct hf_engine *engine, uint32_t index)
{
    const struct hf_association *association = hf_association_at(engine, index);
    struct hf_writer entry = *writer;
    bool is_live = is_moved(transfer, association);
    hf_writer_u8(&entry, is_live ? HF_TRANSFER_LIVE : HF_TRANSFER_FREE);
    hf_writer_uint(&entry, index, 4);
    size_t mark = hf_writer_open(&entry, 4);
    if (entry.is_failed)
        return false;
    struct hf_codec codec = hf_codec_writer(entry.data + entry.len, entry.max - entry.len);
    if (is_live)
        write_live(&codec, engine, association);
    else
        write_free(&codec, association);
    if (codec.is_failed)
        return false;
    entry.len += codec.writer.len;
    hf_writer_close(&entry, mark, 4);
    *writer = entry;
    return true;
}

/** Whether a pass has to write it. A TLS record under way changes outside the association's own. */
static bool is_due(struct hf_transfer *transfer, const struct hf_association *association,
                   uint32_t index, uint64_t *mark)
{
    bool is_untouched = association->generation == 0 && association->state == HF_STATE_FREE;
    bool is_partial = association->state == HF_STATE_OPEN && !hf_is_datagram(association) &&
                      association->stream.buffer != HF_NONE;
    *mark = fingerprint(transfer, association);
    return !is_untouched && (is_partial || transfer->fingerprints[index] != *mark);
}

enum hf_status hf_transfer_write(uint8_t *out, size_t *out_len, size_t out_max,
                                 struct hf_transfer *transfer, const struct hf_engine *engine,
                                 uint32_t slots_max)
{
    struct hf_writer writer = hf_writer_of(out, out_max);
    *out_len = 0;
    if (out_max < HF_TRANSFER_CHUNK_MIN || engine->associations.count != transfer->count_max)
        return HF_E_ARGUMENT;
    if (transfer->is_between) {
        transfer->cursor = transfer->written = 0;
        transfer->is_between = false;
    }
    hf_writer_uint(&writer, HF_TRANSFER_HEADER, HF_TRANSFER_HEADER_LEN);
    for (; transfer->cursor < engine->associations.touched && slots_max > 0; slots_max--) {
        uint32_t index = transfer->cursor;
        const struct hf_association *association = hf_association_at(engine, index);
        uint64_t mark;
        if (is_due(transfer, association, index, &mark)) {
            if (!write_entry(&writer, transfer, engine, index))
                break; /* the chunk is full */
            transfer->fingerprints[index] = mark;
            transfer->written += is_moved(transfer, association);
        }
        transfer->cursor++;
    }
    *out_len = writer.len > HF_TRANSFER_HEADER_LEN ? writer.len : 0;
    transfer->is_between = transfer->cursor >= engine->associations.touched;
    return transfer->is_between ? HF_OK : HF_WAITING;
}
