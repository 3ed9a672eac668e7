/**
 * flight.c - see flight.h. The flight buffer holds, for each message, {type, message_seq(2),
 * body_len(2)} and the body.
 */
#include "flight.h"

#include "association.h"
#include "record.h"

#define HF_FLIGHT_HEAD_LEN 5

void hf_flight_begin(struct hf_handshake *handshake)
{
    handshake->flight_len = 0;
}

struct hf_flight_message hf_flight_open(struct hf_handshake *handshake, uint8_t type)
{
    size_t at = handshake->flight_len + HF_FLIGHT_HEAD_LEN;
    HF_ASSERT(at <= HF_FLIGHT_LEN_MAX);
    return (struct hf_flight_message){hf_writer_of(handshake->flight + at, HF_FLIGHT_LEN_MAX - at),
                                      type};
}

/** Writes a handshake header: 4 bytes for TLS, 12 for DTLS. */
static size_t write_header(uint8_t out[HF_FRAGMENT_HEADER_LEN], bool is_datagram, uint8_t type,
                           uint16_t message_seq, size_t message_len, size_t offset, size_t len)
{
    struct hf_writer writer = hf_writer_of(out, HF_FRAGMENT_HEADER_LEN);
    hf_writer_u8(&writer, type);
    hf_writer_uint(&writer, message_len, 3);
    if (is_datagram) {
        hf_writer_u16(&writer, message_seq);
        hf_writer_uint(&writer, offset, 3);
        hf_writer_uint(&writer, len, 3);
    }
    return writer.len;
}

void hf_flight_hash(const struct hf_association *association, struct hf_handshake *handshake,
                    uint8_t type, uint16_t message_seq, struct hf_bytes body)
{
    uint8_t header[HF_FRAGMENT_HEADER_LEN];
    size_t header_len =
        write_header(header, hf_is_datagram(association), type, message_seq, body.len, 0, body.len);
    hf_sha256_update(&handshake->transcript, header, header_len);
    hf_sha256_update(&handshake->transcript, body.data, body.len);
}

void hf_flight_close(struct hf_association *association, struct hf_handshake *handshake,
                     const struct hf_flight_message *message)
{
    HF_ASSERT(!message->writer.is_failed); /* config limits what can go in */
    struct hf_writer head =
        hf_writer_of(handshake->flight + handshake->flight_len, HF_FLIGHT_HEAD_LEN);
    uint16_t seq = handshake->send_seq++;
    hf_writer_u8(&head, message->type);
    hf_writer_u16(&head, seq);
    hf_writer_u16(&head, (uint16_t)message->writer.len);
    handshake->flight_len += (uint16_t)(HF_FLIGHT_HEAD_LEN + message->writer.len);
    hf_flight_hash(association, handshake, message->type, seq,
                   (struct hf_bytes){message->writer.data, message->writer.len});
}

static size_t packet_len_max(const struct hf_engine *engine,
                             const struct hf_association *association)
{
    return hf_is_datagram(association) ? hf_listener_of(engine, association)->datagram_len_max
                                       : HF_OUTBOX_RESERVE_LEN;
}

/** Sends one message in as many records as it takes, opening further datagrams as they fill. */
static enum hf_status send_message(struct hf_packet *packet, uint8_t type, uint16_t message_seq,
                                   struct hf_bytes body, bool is_protected)
{
    bool is_datagram = hf_is_datagram(packet->association);
    size_t head_len = is_datagram ? HF_FRAGMENT_HEADER_LEN : 4;
    uint8_t record[HF_FRAGMENT_HEADER_LEN + HF_FLIGHT_LEN_MAX];
    size_t offset = 0;
    for (;;) {
        size_t room = hf_packet_room(packet, is_protected);
        size_t head = is_datagram || offset == 0 ? head_len : 0;
        if (room <= head && packet->len > 0) {
            struct hf_engine *engine = packet->engine;
            struct hf_association *association = packet->association;
            hf_packet_close(packet);
            *packet = hf_packet_open(engine, association, packet_len_max(engine, association));
            continue;
        }
        if (room <= head)
            return HF_WAITING;
        size_t part = body.len - offset < room - head ? body.len - offset : room - head;
        if (head)
            write_header(record, is_datagram, type, message_seq, body.len, offset, part);
        if (part > 0)
            memcpy(record + head, body.data + offset, part);
        HF_TRY(hf_packet_add(packet, HF_TYPE_HANDSHAKE, is_protected,
                             (struct hf_bytes){record, head + part}));
        offset += part;
        if (offset == body.len) /* at once for an empty body, but not before its header is out */
            return HF_OK;
    }
}

void hf_flight_send(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_packet packet =
        hf_packet_open(engine, association, packet_len_max(engine, association));
    struct hf_reader reader =
        hf_reader_of((struct hf_bytes){handshake->flight, handshake->flight_len});
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        uint16_t seq = hf_reader_u16(&reader);
        struct hf_bytes body = hf_reader_vector(&reader, 2);
        if (send_message(&packet, type, seq, body, false) != HF_OK)
            break; /* callers made sure of room; a lost DTLS flight is sent again */
    }
    hf_packet_close(&packet);
}

void hf_flight_await(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_flight_send(engine, association);
    if (!hf_is_datagram(association))
        return;
    handshake->retransmit_after = engine->config.retransmit_us_initial;
    handshake->retransmit_us = engine->now_us + handshake->retransmit_after;
}

void hf_flight_answered(struct hf_handshake *handshake)
{
    handshake->retransmit_us = UINT64_MAX;
}

void hf_flight_again(struct hf_engine *engine, struct hf_association *association, bool is_timer)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    engine->counters.retransmissions++;
    hf_flight_send(engine, association);
    if (is_timer) {
        uint64_t after = 2 * handshake->retransmit_after;
        handshake->retransmit_after =
            after < engine->config.retransmit_us_max ? after : engine->config.retransmit_us_max;
    }
    handshake->retransmit_us = engine->now_us + handshake->retransmit_after;
}

void hf_flight_final(struct hf_engine *engine, struct hf_association *association)
{
    static const uint8_t ccs[1] = {1};
    struct hf_packet packet =
        hf_packet_open(engine, association, packet_len_max(engine, association));
    if (hf_packet_add(&packet, HF_TYPE_CHANGE_CIPHER_SPEC, false,
                      (struct hf_bytes){ccs, sizeof ccs}) != HF_OK)
        return;
    const struct hf_bytes body = {association->verify_data, HF_VERIFY_DATA_LEN};
    uint16_t seq = hf_is_datagram(association) ? association->datagram.reply_seq : 0;
    if (send_message(&packet, HF_MESSAGE_FINISHED, seq, body, true) == HF_OK)
        hf_packet_close(&packet);
}
