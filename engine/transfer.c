/**
 * transfer.c - associations from one engine to another: <handfast/transfer.h>.
 *
 *     chunk   "HFT", version, entries
 *     entry   kind, record index (4), length (4), fields: codec.h
 *
 * What must survive is listed once, in fields(). What has changed between two passes is not noted
 * anywhere on the packet path: a pass keeps a fingerprint of each record and looks again.
 *
 * Invariant: what a chunk says of an association is judged as a whole before anything is changed.
 */
#include <handfast/transfer.h>

#include "association.h"
#include "codec.h"
#include "hello.h"
#include "identity.h"
#include "path.h"
#include "quota.h"
#include "record.h"
#include "stream.h"

#include <sys/mman.h>

#define CHUNK_HEADER_LEN 4u
#define RECORD_LEN_MIN 64 /* RFC 8449 4 */
#define GENERATION_MASK 3u

enum entry_kind {
    ENTRY_FREE = 1,
    ENTRY_LIVE = 2,
};

/** What is moved of an association: a copy, taken apart, before it is put into an engine. */
struct item {
    struct hf_association record; /* numbers only; all indices are worthless elsewhere */
    struct hf_record_key write_key, read_key;
    uint32_t flags; /* as on the wire */
    struct hf_path path;
    struct hf_identity identity;
    struct hf_bytes partial; /* TLS: a record under way, or what has not been looked at yet */
    uint64_t silent_us;      /* since the peer was last heard */
    uint64_t partial_us;     /* since the partial record began */
};

/* The flags that are moved. Their numbers on the wire are for ever. */
static const struct {
    uint32_t flag, bit;
} flag_bits[] = {
    {HF_ASSOCIATION_DATAGRAM, 1u << 0},      {HF_ASSOCIATION_EMS, 1u << 1},
    {HF_ASSOCIATION_ETM, 1u << 2},           {HF_ASSOCIATION_READ_PROTECTED, 1u << 3},
    {HF_ASSOCIATION_WRITE_PROTECTED, 1u << 4}, {HF_ASSOCIATION_PEER_CLOSED, 1u << 5},
    {HF_ASSOCIATION_WRITE_CLOSED, 1u << 6},  {HF_ASSOCIATION_READ_WANTED, 1u << 7},
    {HF_ASSOCIATION_READ_QUEUED, 1u << 8},   {HF_ASSOCIATION_REST_DUE, 1u << 9},
    {HF_ASSOCIATION_CLIENT, 1u << 10},       {HF_ASSOCIATION_LAST_WORD, 1u << 11},
    {HF_ASSOCIATION_RESUMED, 1u << 12},      {HF_ASSOCIATION_TICKET, 1u << 13},
    {HF_ASSOCIATION_CACHED, 1u << 14},       {HF_ASSOCIATION_SA2, 1u << 15},
};

#define FLAG_COUNT (sizeof flag_bits / sizeof flag_bits[0])

static uint32_t wire_flags(uint32_t flags)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++)
        bits |= flags & flag_bits[i].flag ? flag_bits[i].bit : 0;
    return bits;
}

/** False: there is one that we do not know. */
static bool own_flags(uint32_t *out, uint32_t bits)
{
    *out = 0;
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        *out |= bits & flag_bits[i].bit ? flag_bits[i].flag : 0;
        bits &= ~flag_bits[i].bit;
    }
    return bits == 0;
}

/* ---- the fields --------------------------------------------------------------------------- */

#define NUMBER(number, place) hf_codec_number(codec, number, &(place), sizeof(place))
#define BLOCK(number, place) hf_codec_block(codec, number, place, sizeof(place), false)

static void key_fields(struct hf_codec *codec, uint32_t first, struct hf_record_key *key)
{
    NUMBER(first, key->cipher);
    BLOCK(first + 1, key->fixed_iv);
    BLOCK(first + 2, key->key);
    bool is_cbc = key->cipher == HF_CIPHER_AES_128_CBC_SHA256 ||
                  key->cipher == HF_CIPHER_AES_128_CBC_SHA256_ETM;
    hf_codec_block(codec, first + 3, key->mac_key, sizeof key->mac_key, !is_cbc);
}

static void address_fields(struct hf_codec *codec, uint32_t first, struct hf_address *address)
{
    BLOCK(first, address->ip);
    NUMBER(first + 1, address->port);
    NUMBER(first + 2, address->scope);
}

/** What every association has; a free record has no more than the first two. */
static void fields(struct hf_codec *codec, struct item *item)
{
    struct hf_association *record = &item->record;
    NUMBER(1, record->generation);
    NUMBER(2, item->flags);
    NUMBER(3, record->listener_index);
    NUMBER(4, record->suite);
    NUMBER(5, record->framework);
    NUMBER(6, record->entity_kind);
    NUMBER(7, record->suid);
    NUMBER(8, record->plaintext_len_max);
    NUMBER(9, record->receive_len_max);
    NUMBER(10, record->warnings);
    NUMBER(11, record->quota_index);
    NUMBER(12, record->session_until);
    NUMBER(13, record->leaving);
    NUMBER(14, record->expires_s);
    NUMBER(15, record->context);
    NUMBER(16, record->write_seq);
    NUMBER(17, record->read_seq);
    NUMBER(18, item->silent_us);
    address_fields(codec, 20, &item->path.peer);
    address_fields(codec, 24, &item->path.local);
    key_fields(codec, 32, &item->write_key);
    key_fields(codec, 40, &item->read_key);
    BLOCK(48, record->master_secret);
    BLOCK(49, record->client_random);
    BLOCK(50, record->server_random);
    BLOCK(51, record->verify_data);
    hf_codec_bytes(codec, 56, &item->identity.entity_id);
    hf_codec_bytes(codec, 57, &item->identity.credential_id);
    hf_codec_bytes(codec, 58, &item->identity.server_name);
    hf_codec_bytes(codec, 59, &item->identity.handles);
}

static void datagram_fields(struct hf_codec *codec, struct item *item)
{
    struct hf_association *record = &item->record;
    if (!hf_codec_is_writing(codec))
        record->datagram.trial_tokens = UINT16_MAX; /* as many as there may be */
    NUMBER(64, record->datagram.window);
    NUMBER(65, record->datagram.epoch0_seq);
    NUMBER(66, record->datagram.forgeries);
    NUMBER(67, record->datagram.trial_tokens);
    NUMBER(68, record->datagram.finished_seq);
    NUMBER(69, record->datagram.reply_seq);
}

static void stream_fields(struct hf_codec *codec, struct item *item)
{
    NUMBER(80, item->record.stream.user);
    hf_codec_bytes(codec, 81, &item->partial);
    NUMBER(82, item->partial_us);
}

static void all_fields(struct hf_codec *codec, struct item *item)
{
    fields(codec, item);
    if (item->flags & flag_bits[0].bit)
        datagram_fields(codec, item);
    else
        stream_fields(codec, item);
}

static void free_fields(struct hf_codec *codec, struct item *item)
{
    NUMBER(1, item->record.generation);
    NUMBER(2, item->flags);
}

/* ---- giving ------------------------------------------------------------------------------- */

struct hf_transfer {
    uint64_t *fingerprints; /* by record; 0: not written yet */
    size_t fingerprints_len;
    uint32_t count_max;
    uint32_t cursor; /* of the pass */
    uint32_t written;
    bool is_between; /* two passes */
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

static void take_apart(struct item *out, struct hf_association_info *names,
                       uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN],
                       const struct hf_engine *engine, const struct hf_association *association)
{
    *out = (struct item){.record = *association};
    out->write_key = association->write_key;
    out->read_key = association->read_key;
    out->flags = wire_flags(association->flags);
    out->path = hf_association_path(engine, association);
    out->silent_us = us_since(engine, association->heard_tick);
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
    struct item item;
    take_apart(&item, &names, handles, engine, association);
    all_fields(codec, &item);
    hf_wipe(&item, sizeof item);
}

static void write_free(struct hf_codec *codec, const struct hf_association *association)
{
    struct item item = {.record = {.generation = association->generation},
                        .flags = wire_flags(association->flags & HF_ASSOCIATION_REST_DUE)};
    free_fields(codec, &item);
}

/** False: it does not fit, and nothing was written. */
static bool write_entry(struct hf_writer *writer, const struct hf_engine *engine, uint32_t index)
{
    const struct hf_association *association = hf_association_at(engine, index);
    struct hf_writer entry = *writer;
    bool is_live = association->state == HF_STATE_OPEN;
    hf_writer_u8(&entry, is_live ? ENTRY_LIVE : ENTRY_FREE);
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
    static const uint8_t header[CHUNK_HEADER_LEN] = {'H', 'F', 'T', HF_TRANSFER_VERSION};
    struct hf_writer writer = hf_writer_of(out, out_max);
    *out_len = 0;
    if (out_max < HF_TRANSFER_CHUNK_MIN || engine->associations.count != transfer->count_max)
        return HF_E_ARGUMENT;
    if (transfer->is_between) {
        transfer->cursor = transfer->written = 0;
        transfer->is_between = false;
    }
    hf_writer_bytes(&writer, header, sizeof header);
    for (; transfer->cursor < engine->associations.touched && slots_max > 0; slots_max--) {
        uint32_t index = transfer->cursor;
        const struct hf_association *association = hf_association_at(engine, index);
        uint64_t mark;
        if (is_due(transfer, association, index, &mark)) {
            if (!write_entry(&writer, engine, index))
                break; /* the chunk is full */
            transfer->fingerprints[index] = mark;
            transfer->written += association->state == HF_STATE_OPEN;
        }
        transfer->cursor++;
    }
    *out_len = writer.len > CHUNK_HEADER_LEN ? writer.len : 0;
    transfer->is_between = transfer->cursor >= engine->associations.touched;
    return transfer->is_between ? HF_OK : HF_WAITING;
}

/* ---- taking ------------------------------------------------------------------------------- */

enum hf_status hf_engine_import_begin(struct hf_engine *engine, uint64_t now_us, int64_t wall_s)
{
    if (engine->associations.touched > 0 || engine->is_importing || now_us < engine->now_us)
        return HF_E_STATE;
    engine->now_us = now_us;
    engine->wall_s = wall_s;
    engine->now_tick = (uint32_t)(now_us / HF_TICK_US);
    (void)hf_wheel_fire(&engine->wheel, engine->now_tick);
    engine->is_importing = true;
    return HF_OK;
}

static bool is_listener_good(const struct hf_engine *engine, const struct item *item,
                             uint32_t flags)
{
    uint32_t index = item->record.listener_index;
    enum hf_transport transport =
        flags & HF_ASSOCIATION_DATAGRAM ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS;
    if (flags & HF_ASSOCIATION_CLIENT)
        return index < engine->config.dialer_count &&
               engine->dialers[index].transport == transport;
    return index < engine->config.listener_count &&
           engine->listeners[index].transport == transport;
}

static bool is_identity_good(const struct hf_identity *identity)
{
    return identity->entity_id.len <= HF_ENTITY_ID_MAX &&
           identity->credential_id.len <= HF_CREDENTIAL_ID_MAX &&
           identity->server_name.len <= 255 &&
           identity->handles.len % HF_REVOCATION_HANDLE_LEN == 0 &&
           identity->handles.len <= HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN;
}

static bool are_numbers_good(const struct item *item, uint32_t flags)
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
           record->receive_len_max <= HF_PLAINTEXT_LEN_MAX &&
           record->warnings <= HF_WARNINGS_MAX && record->leaving <= HF_LEAVE_TRUNCATED;
}

/** Whether it can be an association of this engine. */
static bool is_good(const struct hf_engine *engine, const struct item *item, uint32_t flags)
{
    const uint32_t protected_both = HF_ASSOCIATION_READ_PROTECTED | HF_ASSOCIATION_WRITE_PROTECTED;
    const struct hf_association *record = &item->record;
    if (!hf_suite_name(record->suite) || (flags & protected_both) != protected_both)
        return false;
    enum hf_cipher cipher = hf_hello_cipher(record->suite, flags & HF_ASSOCIATION_ETM);
    return record->generation != 0 && item->write_key.cipher == cipher &&
           item->read_key.cipher == cipher && is_listener_good(engine, item, flags) &&
           record->framework <= HF_FRAMEWORK_MAF && record->entity_kind <= HF_ENTITY_AE_LIST &&
           are_numbers_good(item, flags) && is_identity_good(&item->identity);
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
    engine->counters.associations--;
    if (!hf_is_client(association))
        engine->counters.quotas[association->quota_index].associations--;
    uint32_t generation = association->generation;
    hf_wipe(association, sizeof *association);
    association->generation = generation;
}

/** The record of an item, with all that is this engine's own. */
static enum hf_status settle(struct hf_association *out, struct hf_engine *engine,
                             const struct item *item, uint32_t flags)
{
    bool is_datagram = flags & HF_ASSOCIATION_DATAGRAM;
    struct hf_path path = item->path;
    *out = item->record;
    out->timer = (struct hf_timer){0, 0, 0};
    out->state = HF_STATE_OPEN;
    out->flags = (__typeof__(out->flags))(flags & ~(uint32_t)HF_ASSOCIATION_READ_QUEUED);
    out->handshake = HF_NONE;
    out->heard_tick = engine->now_tick - (uint32_t)(item->silent_us / HF_TICK_US);
    out->write_key = item->write_key;
    out->read_key = item->read_key;
    if (out->quota_index >= HF_QUOTAS_MAX || out->quota_index >= engine->config.quota_count)
        out->quota_index = 0;
    if (is_datagram) {
        uint32_t burst = 2 * engine->config.trials_per_second;
        out->datagram.successor = HF_NONE;
        out->datagram.trial_tick = engine->now_tick;
        if (out->datagram.trial_tokens > burst)
            out->datagram.trial_tokens = (uint16_t)burst;
    } else {
        out->stream.buffer = HF_NONE;
        out->stream.local_port = path.local.port;
    }
    if (!is_datagram && flags & HF_ASSOCIATION_CLIENT)
        path.local.port = 0;
    return hf_path_key(&out->path, engine, &path) ? HF_OK : HF_E_ASSOCIATION_LIMIT;
}

/** What is in the way has had its path taken over, and will be reported free. */
static enum hf_status enter_path(struct hf_engine *engine, uint32_t index)
{
    const struct hf_association *association = hf_association_at(engine, index);
    if (!hf_is_datagram(association))
        return HF_OK;
    uint32_t former = hf_table_find(&engine->table, &association->path);
    if (former != HF_NONE)
        retract(engine, former);
    return hf_table_insert(&engine->table, index) ? HF_OK : HF_E_ASSOCIATION_LIMIT;
}

static enum hf_status put_together(struct hf_engine *engine, uint32_t index,
                                   const struct item *item, uint32_t flags)
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
    engine->counters.associations++;
    if (!hf_is_client(association))
        engine->counters.quotas[association->quota_index].associations++;
    status = enter_path(engine, index);
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
    struct item item = {.record = {.session_until = 0}};
    uint32_t flags;
    all_fields(codec, &item);
    bool is_whole = hf_codec_end(codec);
    bool is_known = own_flags(&flags, item.flags) && !codec->is_unknown;
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
    struct item item = {.record = {.session_until = 0}};
    free_fields(codec, &item);
    if (!hf_codec_end(codec))
        return HF_E_DECODE;
    retract(engine, index);
    struct hf_association *association = hf_association_at(engine, index);
    uint32_t flags;
    (void)own_flags(&flags, item.flags);
    association->generation = item.record.generation;
    association->flags = (__typeof__(association->flags))(flags & HF_ASSOCIATION_REST_DUE);
    return HF_OK;
}

static enum hf_status take_entry(struct hf_engine *engine, struct hf_reader *reader)
{
    uint8_t kind = hf_reader_u8(reader);
    uint32_t index = (uint32_t)hf_reader_uint(reader, 4);
    struct hf_codec codec = hf_codec_reader(hf_reader_vector(reader, 4));
    if (reader->is_failed || (kind != ENTRY_FREE && kind != ENTRY_LIVE))
        return HF_E_DECODE;
    if (index >= engine->associations.count)
        return kind == ENTRY_FREE ? HF_OK : HF_E_ASSOCIATION_LIMIT;
    if (index >= engine->associations.touched)
        engine->associations.touched = index + 1;
    return kind == ENTRY_LIVE ? take_live(engine, index, &codec)
                              : take_free(engine, index, &codec);
}

enum hf_status hf_engine_import(struct hf_engine *engine, struct hf_bytes chunk)
{
    struct hf_reader reader = hf_reader_of(chunk);
    if (!engine->is_importing)
        return HF_E_STATE;
    if (hf_reader_u8(&reader) != 'H' || hf_reader_u8(&reader) != 'F' ||
        hf_reader_u8(&reader) != 'T' || hf_reader_u8(&reader) != HF_TRANSFER_VERSION)
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
