/**
 * flight.c - see flight.h. The flight buffer holds, for each message, {type, message_seq(2),
 * body_len(2)} and the body; for a body that lies elsewhere, and for a ChangeCipherSpec, the head
 * alone.
 */
#include "flight.h"

#include "association.h"
#include "record.h"

#define HF_FLIGHT_HEAD_LEN 5
#define HF_FLIGHT_CHANGE 0xFF      /* instead of a message type: ChangeCipherSpec */
#define HF_FLIGHT_ELSEWHERE 0xFFFF /* instead of a length */

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

static void add_head(struct hf_handshake *handshake, uint8_t type, uint16_t seq, uint16_t len)
{
    HF_ASSERT(handshake->flight_len + HF_FLIGHT_HEAD_LEN <= HF_FLIGHT_LEN_MAX);
    struct hf_writer head =
        hf_writer_of(handshake->flight + handshake->flight_len, HF_FLIGHT_HEAD_LEN);
    hf_writer_u8(&head, type);
    hf_writer_u16(&head, seq);
    hf_writer_u16(&head, len);
    handshake->flight_len += HF_FLIGHT_HEAD_LEN;
}

/** The body of the ClientKeyExchange: the identity behind its length, in the slot. */
static struct hf_bytes identity_body(const struct hf_engine *engine, struct hf_handshake *handshake)
{
    return (struct hf_bytes){hf_handshake_identity(engine, handshake) - 2,
                             handshake->identity_len + 2u};
}

void hf_flight_close_identity(const struct hf_engine *engine, struct hf_association *association,
                              struct hf_handshake *handshake)
{
    uint8_t *len = hf_handshake_identity(engine, handshake) - 2;
    uint16_t seq = handshake->send_seq++;
    len[0] = (uint8_t)(handshake->identity_len >> 8);
    len[1] = (uint8_t)handshake->identity_len;
    add_head(handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE, seq, HF_FLIGHT_ELSEWHERE);
    hf_flight_hash(association, handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE, seq,
                   identity_body(engine, handshake));
}

void hf_flight_change(struct hf_handshake *handshake)
{
    add_head(handshake, HF_FLIGHT_CHANGE, 0, 0);
}

static size_t packet_len_max(const struct hf_engine *engine,
                             const struct hf_association *association)
{
    return hf_is_datagram(association) ? hf_datagram_len_max(engine, association)
                                       : HF_OUTBOX_RESERVE_LEN;
}

/** Sends what is in the packet and begins the next. */
static void turn_over(struct hf_packet *packet)
{
    struct hf_engine *engine = packet->engine;
    struct hf_association *association = packet->association;
    hf_packet_close(packet);
    *packet = hf_packet_open(engine, association, packet_len_max(engine, association));
}

/** Sends one message in as many records as it takes, opening further datagrams as they fill. */
static enum hf_status send_message(struct hf_packet *packet, uint8_t type, uint16_t message_seq,
                                   struct hf_bytes body, bool is_protected)
{
    bool is_datagram = hf_is_datagram(packet->association);
    size_t head_len = is_datagram ? HF_FRAGMENT_HEADER_LEN : 4;
    uint8_t record[HF_OUTBOX_RESERVE_LEN];
    size_t offset = 0;
    for (;;) {
        size_t room = hf_packet_room(packet, is_protected);
        size_t head = is_datagram || offset == 0 ? head_len : 0;
        if (room <= head && packet->len > 0) {
            turn_over(packet);
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

static enum hf_status send_change(struct hf_packet *packet)
{
    static const uint8_t body[1] = {1};
    const struct hf_bytes ccs = {body, sizeof body};
    if (hf_packet_add(packet, HF_TYPE_CHANGE_CIPHER_SPEC, false, ccs) == HF_OK)
        return HF_OK;
    turn_over(packet);
    return hf_packet_add(packet, HF_TYPE_CHANGE_CIPHER_SPEC, false, ccs);
}

void hf_flight_send(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_packet packet =
        hf_packet_open(engine, association, packet_len_max(engine, association));
    struct hf_reader reader =
        hf_reader_of((struct hf_bytes){handshake->flight, handshake->flight_len});
    bool is_protected = false;
    while (reader.len > 0) {
        uint8_t type = hf_reader_u8(&reader);
        uint16_t seq = hf_reader_u16(&reader);
        uint16_t len = hf_reader_u16(&reader);
        if (type == HF_FLIGHT_CHANGE) {
            is_protected = true;
            if (send_change(&packet) != HF_OK)
                break;
            continue;
        }
        struct hf_bytes body = len == HF_FLIGHT_ELSEWHERE ? identity_body(engine, handshake)
                                                          : hf_reader_take(&reader, len);
        if (send_message(&packet, type, seq, body, is_protected) != HF_OK)
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
    struct hf_packet packet =
        hf_packet_open(engine, association, packet_len_max(engine, association));
    if (send_change(&packet) != HF_OK)
        return;
    const struct hf_bytes body = {association->verify_data, HF_VERIFY_DATA_LEN};
    uint16_t seq = hf_is_datagram(association) ? association->datagram.reply_seq : 0;
    if (send_message(&packet, HF_MESSAGE_FINISHED, seq, body, true) == HF_OK)
        hf_packet_close(&packet);
}
