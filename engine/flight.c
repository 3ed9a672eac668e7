/**
 * flight.c - see flight.h. The flight buffer holds, for each message, {type, message_seq(2), tail,
 * head_len(2)} and the body's head: all of it, unless a tail follows that lies elsewhere.
 */
#include "flight.h"

#include "association.h"
#include "proof.h"
#include "recall.h"
#include "record.h"
#include "resume.h"

#define HF_FLIGHT_HEAD_LEN 6
#define HF_FLIGHT_CHANGE 0xFF /* instead of a message type: ChangeCipherSpec */
#define HF_STREAM_PACKET_LEN 4096

/** A message's body: what was written into the flight, and what is only pointed to. */
struct body {
    struct hf_bytes head, tail;
};

void hf_flight_begin(struct hf_handshake *handshake)
{
    handshake->flight_len = 0;
}

struct hf_flight_message hf_flight_open(struct hf_handshake *handshake, uint8_t type)
{
    size_t at = handshake->flight_len + HF_FLIGHT_HEAD_LEN;
    HF_ASSERT(at <= HF_FLIGHT_LEN_MAX);
    return (struct hf_flight_message){hf_writer_of(handshake->flight + at, HF_FLIGHT_LEN_MAX - at),
                                      type, HF_TAIL_NONE};
}

static struct hf_bytes tail_of(const struct hf_engine *engine, struct hf_handshake *handshake,
                               enum hf_tail tail)
{
    switch (tail) {
    case HF_TAIL_CERTIFICATE:
    case HF_TAIL_RAW_KEY:
        return hf_credential_message(hf_proof_of(engine, handshake)->credential,
                                     tail == HF_TAIL_RAW_KEY);
    case HF_TAIL_ISSUER_NAMES:
        return hf_trust_issuer_names(hf_proof_of(engine, handshake)->trust);
    case HF_TAIL_IDENTITY:
        return (struct hf_bytes){hf_handshake_identity(engine, handshake), handshake->identity_len};
    case HF_TAIL_TICKET:
        return hf_recall_ticket(engine, handshake);
    case HF_TAIL_NONE:
    default:
        return (struct hf_bytes){NULL, 0};
    }
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

static void hash_header(const struct hf_association *association, struct hf_handshake *handshake,
                        uint8_t type, uint16_t message_seq, size_t len)
{
    uint8_t header[HF_FRAGMENT_HEADER_LEN];
    size_t header_len =
        write_header(header, hf_is_datagram(association), type, message_seq, len, 0, len);
    hf_sha256_update(&handshake->transcript, header, header_len);
}

void hf_flight_hash(const struct hf_association *association, struct hf_handshake *handshake,
                    uint8_t type, uint16_t message_seq, struct hf_bytes body)
{
    hash_header(association, handshake, type, message_seq, body.len);
    hf_sha256_update(&handshake->transcript, body.data, body.len);
}

void hf_flight_close(const struct hf_engine *engine, struct hf_association *association,
                     const struct hf_flight_message *message)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_bytes tail = tail_of(engine, handshake, message->tail);
    HF_ASSERT(!message->writer.is_failed); /* config limits what can go in */
    struct hf_writer head =
        hf_writer_of(handshake->flight + handshake->flight_len, HF_FLIGHT_HEAD_LEN);
    uint16_t seq = handshake->send_seq++;
    hf_writer_u8(&head, message->type);
    hf_writer_u16(&head, seq);
    hf_writer_u8(&head, (uint8_t)message->tail);
    hf_writer_u16(&head, (uint16_t)message->writer.len);
    handshake->flight_len += (uint16_t)(HF_FLIGHT_HEAD_LEN + message->writer.len);
    hash_header(association, handshake, message->type, seq, message->writer.len + tail.len);
    hf_sha256_update(&handshake->transcript, message->writer.data, message->writer.len);
    hf_sha256_update(&handshake->transcript, tail.data, tail.len);
}

void hf_flight_change(struct hf_handshake *handshake)
{
    struct hf_writer writer =
        hf_writer_of(handshake->flight + handshake->flight_len, HF_FLIGHT_HEAD_LEN);
    HF_ASSERT(handshake->flight_len + HF_FLIGHT_HEAD_LEN <= HF_FLIGHT_LEN_MAX);
    hf_writer_u8(&writer, HF_FLIGHT_CHANGE);
    hf_writer_uint(&writer, 0, HF_FLIGHT_HEAD_LEN - 1);
    handshake->flight_len += HF_FLIGHT_HEAD_LEN;
}

static size_t packet_len_max(const struct hf_engine *engine,
                             const struct hf_association *association)
{
    return hf_is_datagram(association) ? hf_datagram_len_max(engine, association)
                                       : HF_STREAM_PACKET_LEN;
}

/** Copies `len` bytes of a body from `offset` on. */
static void copy_body(uint8_t *out, const struct body *body, size_t offset, size_t len)
{
    size_t head_part = 0;
    if (offset < body->head.len) {
        head_part = body->head.len - offset < len ? body->head.len - offset : len;
        memcpy(out, body->head.data + offset, head_part);
    }
    if (len > head_part && body->tail.data)
        memcpy(out + head_part, body->tail.data + (offset + head_part - body->head.len),
               len - head_part);
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
                                   const struct body *body, bool is_protected)
{
    bool is_datagram = hf_is_datagram(packet->association);
    size_t head_len = is_datagram ? HF_FRAGMENT_HEADER_LEN : 4;
    uint8_t record[HF_STREAM_PACKET_LEN]; /* as much as any packet holds */
    size_t body_len = body->head.len + body->tail.len;
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
        size_t part = body_len - offset < room - head ? body_len - offset : room - head;
        if (head)
            write_header(record, is_datagram, type, message_seq, body_len, offset, part);
        copy_body(record + head, body, offset, part);
        HF_TRY(hf_packet_add(packet, HF_TYPE_HANDSHAKE, is_protected,
                             (struct hf_bytes){record, head + part}));
        offset += part;
        if (offset == body_len) /* at once for an empty body, but not before its header is out */
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
        enum hf_tail tail = (enum hf_tail)hf_reader_u8(&reader);
        struct body body = {.tail = tail_of(engine, handshake, tail)};
        body.head = hf_reader_vector(&reader, 2);
        if (type == HF_FLIGHT_CHANGE)
            is_protected = true;
        if ((type == HF_FLIGHT_CHANGE
                 ? send_change(&packet)
                 : send_message(&packet, type, seq, &body, is_protected)) != HF_OK)
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
    hf_flight_schedule(engine, handshake);
}

void hf_flight_schedule(const struct hf_engine *engine, struct hf_handshake *handshake)
{
    if (handshake->unproven_len == 0)
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
    hf_flight_schedule(engine, handshake);
}

void hf_flight_final(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_packet packet =
        hf_packet_open(engine, association, packet_len_max(engine, association));
    uint8_t ticket[HF_TICKET_BODY_MAX];
    if (association->flags & HF_ASSOCIATION_TICKET) {
        const struct body body = {.head = {ticket, hf_resume_ticket(ticket, engine, association)}};
        uint16_t seq = hf_is_datagram(association) ? association->datagram.reply_seq - 1 : 0;
        if (send_message(&packet, HF_MESSAGE_NEW_SESSION_TICKET, seq, &body, false) != HF_OK)
            return;
    }
    if (send_change(&packet) != HF_OK)
        return;
    const struct body body = {.head = {association->verify_data, HF_VERIFY_DATA_LEN}};
    uint16_t seq = hf_is_datagram(association) ? association->datagram.reply_seq : 0;
    if (send_message(&packet, HF_MESSAGE_FINISHED, seq, &body, true) == HF_OK)
        hf_packet_close(&packet);
}
