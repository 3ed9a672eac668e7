/**
 * record.c - see record.h.
 */
#include "record.h"

#include "association.h"
#include "cid.h"
#include "route.h"

#define HF_WINDOW_LEN 64

bool hf_record_datagram_read(struct hf_record *out, uint8_t *data, size_t len, size_t cid_len)
{
    struct hf_reader reader = hf_reader_of((struct hf_bytes){data, len});
    struct hf_record record = {
        .type = hf_reader_u8(&reader),
        .version = hf_reader_u16(&reader),
        .epoch = hf_reader_u16(&reader),
        .seq = hf_reader_u48(&reader),
    };
    if (record.type == HF_TYPE_TLS12_CID && record.epoch > 0)
        record.cid = hf_reader_take(&reader, cid_len);
    record.len = hf_reader_vector(&reader, 2).len;
    if (reader.is_failed)
        return false;
    record.body = data + hf_record_head_len(&record);
    *out = record;
    return true;
}

bool hf_record_replayed(const struct hf_association *association, uint64_t seq)
{
    if (seq > association->read_seq)
        return false;
    uint64_t behind = association->read_seq - seq;
    return behind >= HF_WINDOW_LEN || (association->datagram.window >> behind & 1);
}

void hf_record_received(struct hf_association *association, uint64_t seq)
{
    if (seq > association->read_seq) {
        uint64_t ahead = seq - association->read_seq;
        uint64_t moved = ahead < HF_WINDOW_LEN ? association->datagram.window << ahead : 0;
        association->datagram.window = moved | 1;
        association->read_seq = seq;
    } else {
        association->datagram.window |= UINT64_C(1) << (association->read_seq - seq);
    }
}

void hf_record_keys_keep(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_record_key *write_key,
                         const struct hf_record_key *read_key)
{
    const struct hf_record_key *keys[2] = {write_key, read_key};
    struct hf_cold_key *cold[2] = {&association->write_key, &association->read_key};
    for (size_t i = 0; i < 2; i++) {
        memcpy(cold[i]->fixed_iv, keys[i]->fixed_iv, sizeof cold[i]->fixed_iv);
        memcpy(cold[i]->key, keys[i]->key, sizeof cold[i]->key);
    }
    association->cipher = write_key->cipher;
    if (association->cipher != HF_CIPHER_AES_128_CBC_SHA256 &&
        association->cipher != HF_CIPHER_AES_128_CBC_SHA256_ETM)
        return;
    if (association->mac_keys == HF_NONE)
        association->mac_keys = hf_pool_take(&engine->mac_keys);
    HF_ASSERT(association->mac_keys != HF_NONE); /* there is one for each association */
    struct hf_mac_keys *block = hf_pool_at(&engine->mac_keys, association->mac_keys);
    memcpy(block->write, write_key->mac_key, sizeof block->write);
    memcpy(block->read, read_key->mac_key, sizeof block->read);
}

void hf_record_keys_drop(struct hf_engine *engine, struct hf_association *association)
{
    if (association->mac_keys == HF_NONE)
        return;
    hf_wipe(hf_pool_at(&engine->mac_keys, association->mac_keys), sizeof(struct hf_mac_keys));
    hf_pool_give(&engine->mac_keys, association->mac_keys);
    association->mac_keys = HF_NONE;
}

void hf_record_key_of(struct hf_record_key *out, const struct hf_engine *engine,
                      const struct hf_association *association, bool is_write)
{
    const struct hf_cold_key *cold = is_write ? &association->write_key : &association->read_key;
    out->cipher = association->cipher;
    memset(out->zero, 0, sizeof out->zero);
    memcpy(out->fixed_iv, cold->fixed_iv, sizeof out->fixed_iv);
    memcpy(out->key, cold->key, sizeof out->key);
    if (association->mac_keys == HF_NONE) {
        memset(out->mac_key, 0, sizeof out->mac_key);
        return;
    }
    const struct hf_mac_keys *block = hf_pool_at(&engine->mac_keys, association->mac_keys);
    memcpy(out->mac_key, is_write ? block->write : block->read, sizeof out->mac_key);
}

/** The content of a DTLSInnerPlaintext: the type stands behind it, then zeros (RFC 9146 4). */
static enum hf_status unwrap(struct hf_record *record)
{
    bool is_too_long = record->len > HF_PLAINTEXT_LEN_MAX; /* padding and all: RFC 9146 5 */
    size_t len = record->len;
    while (len > 0 && record->body[len - 1] == 0)
        len--;
    if (len == 0)
        return HF_E_DECODE;
    record->type = record->body[len - 1];
    record->len = len - 1;
    return is_too_long ? HF_E_RECORD_OVERFLOW : HF_OK;
}

enum hf_status hf_record_unprotect(struct hf_record *record, const struct hf_engine *engine,
                                   const struct hf_association *association)
{
    uint64_t seq = hf_is_datagram(association) ? (uint64_t)record->epoch << 48 | record->seq
                                               : association->read_seq;
    const struct hf_record_header header = {
        .seq = seq, .version = record->version, .type = record->type, .cid = record->cid};
    size_t offset, len;
    struct hf_record_key key;
    hf_record_key_of(&key, engine, association, false);
    enum hf_status status = hf_record_open(&offset, &len, &key, &header, record->body, record->len);
    hf_wipe(&key, sizeof key);
    HF_TRY(status);
    record->body += offset;
    record->len = len;
    if (record->cid.len > 0)
        HF_TRY(unwrap(record));
    return record->len > association->receive_len_max ? HF_E_RECORD_OVERFLOW : HF_OK;
}

static size_t header_len(const struct hf_association *association)
{
    return hf_is_datagram(association) ? HF_DATAGRAM_HEADER_LEN : HF_STREAM_HEADER_LEN;
}

struct hf_packet hf_packet_open(struct hf_engine *engine, struct hf_association *association,
                                size_t max)
{
    uint8_t *data = hf_outbox_room(&engine->outbox, max);
    return (struct hf_packet){engine, association, data, 0, data ? max : 0, NULL};
}

size_t hf_packet_expansion(const struct hf_engine *engine, const struct hf_association *association)
{
    size_t cid_len = hf_cid_peer(engine, association).len;
    return header_len(association) + hf_record_expansion((enum hf_cipher)association->cipher) +
           (cid_len > 0 ? cid_len + 1 : 0); /* and the type of the content */
}

static size_t record_overhead(const struct hf_packet *packet, bool is_protected)
{
    return is_protected ? hf_packet_expansion(packet->engine, packet->association)
                        : header_len(packet->association);
}

size_t hf_packet_room(const struct hf_packet *packet, bool is_protected)
{
    size_t overhead = record_overhead(packet, is_protected);
    size_t left = packet->max - packet->len;
    size_t room = left > overhead ? left - overhead : 0;
    size_t limit = packet->association->plaintext_len_max;
    return room < limit ? room : limit;
}

/** Seals content, with a connection ID as a DTLSInnerPlaintext (RFC 9146 4) put together in place:
 *  the content and its type; without padding. */
static enum hf_status seal(uint8_t *out, size_t *out_len, size_t out_max,
                           const struct hf_packet *packet, const struct hf_record_header *header,
                           struct hf_bytes plaintext)
{
    struct hf_record_key key;
    const uint8_t *in = plaintext.data;
    size_t in_len = plaintext.len;
    hf_record_key_of(&key, packet->engine, packet->association, true);
    if (header->cid.len > 0) {
        uint8_t *inner = out + hf_record_front((enum hf_cipher)key.cipher);
        if (in_len > 0)
            memcpy(inner, in, in_len);
        inner[in_len++] = header->type;
        in = inner;
    }
    enum hf_status status = hf_record_seal(out, out_len, out_max, &key, header, in, in_len);
    hf_wipe(&key, sizeof key);
    return status;
}

/** Takes the number of the next record, epoch included. */
static enum hf_status next_seq(uint64_t *out, const struct hf_engine *engine,
                               struct hf_association *association, bool is_protected)
{
    if (!is_protected) {
        *out = hf_is_datagram(association) ? association->datagram.epoch0_seq++ : 0;
        return HF_OK;
    }
    if (hf_is_datagram(association) && engine->counters.records_out >= engine->records_out_max)
        return HF_WAITING;
    uint64_t used = association->write_seq & HF_DATAGRAM_SEQ_MAX;
    if (used >= HF_RECORDS_PER_KEY_MAX)
        return HF_E_SEQUENCE_LIMIT;
    *out = association->write_seq++;
    return HF_OK;
}

enum hf_status hf_packet_add(struct hf_packet *packet, uint8_t type, bool is_protected,
                             struct hf_bytes plaintext)
{
    struct hf_association *association = packet->association;
    size_t overhead = record_overhead(packet, is_protected);
    if (!packet->data || packet->max - packet->len < overhead ||
        plaintext.len > hf_packet_room(packet, is_protected))
        return HF_WAITING; /* an empty record takes room too */
    struct hf_record_header header = {.version = hf_wire_version(association), .type = type};
    if (is_protected)
        header.cid = hf_cid_peer(packet->engine, association);
    HF_TRY(next_seq(&header.seq, packet->engine, association, is_protected));
    size_t front = header_len(association) + header.cid.len;
    uint8_t *body = packet->data + packet->len + front;
    size_t body_len = plaintext.len;
    if (is_protected)
        HF_TRY(
            seal(body, &body_len, packet->max - packet->len - front, packet, &header, plaintext));
    else if (plaintext.len > 0)
        memcpy(body, plaintext.data, plaintext.len);
    struct hf_writer writer = hf_writer_of(packet->data + packet->len, front);
    hf_writer_u8(&writer, header.cid.len > 0 ? HF_TYPE_TLS12_CID : type);
    hf_writer_u16(&writer, header.version);
    if (hf_is_datagram(association))
        hf_writer_uint(&writer, header.seq, 8);
    hf_writer_bytes(&writer, header.cid.data, header.cid.len);
    hf_writer_u16(&writer, (uint16_t)body_len);
    packet->len += front + body_len;
    packet->engine->counters.records_out += is_protected;
    return HF_OK;
}

void hf_packet_close(struct hf_packet *packet)
{
    if (packet->len == 0)
        return;
    struct hf_engine *engine = packet->engine;
    const struct hf_association *association = packet->association;
    const struct hf_path_key *to = packet->to, *also = NULL;
    if (!to && !hf_route_send(&to, &also, engine, packet->association, packet->len)) {
        engine->counters.datagrams_withheld++;
        packet->len = 0;
        return;
    }
    struct hf_output output = {
        .association = hf_association_handle(engine, association),
        .user = hf_is_datagram(association) ? 0 : association->stream.user,
        .is_stream = !hf_is_datagram(association),
        .path = hf_association_path_to(engine, association, to),
        .listener_index = association->listener_index,
        .is_client = hf_is_client(association),
    };
    hf_outbox_commit(&engine->outbox, &output, packet->len);
    engine->counters.datagrams_out += !output.is_stream;
    if (also) {
        output.path = hf_association_path_to(engine, association, also);
        hf_outbox_again(&engine->outbox, &output);
        engine->counters.datagrams_out++;
    }
    packet->len = 0;
    packet->data = NULL;
}

void hf_record_alert(struct hf_engine *engine, struct hf_association *association, uint8_t level,
                     uint8_t description)
{
    const uint8_t body[2] = {level, description};
    struct hf_packet packet = hf_packet_open(engine, association, 160);
    bool is_protected = association->flags & HF_ASSOCIATION_WRITE_PROTECTED;
    /* Nothing is lost by a full outbox but the courtesy. */
    if (hf_packet_add(&packet, HF_TYPE_ALERT, is_protected, (struct hf_bytes){body, 2}) == HF_OK)
        hf_packet_close(&packet);
}
