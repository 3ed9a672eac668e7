/**
 * flight.h - our flights: messages are written once, hashed once, and sent as often as needed, each
 * time in fresh records (RFC 6347 4.2.4). TLS keeps nothing once it is sent.
 */
#ifndef HF_FLIGHT_H
#define HF_FLIGHT_H

#include "core.h"

/** hf_flight_begin forgets the last flight. */
void hf_flight_begin(struct hf_handshake *handshake);

/** What a message ends with that need not be copied: it lies in the handshake's slot, or in an
 *  object its proof slot holds a reference to. */
enum hf_tail {
    HF_TAIL_NONE = 0,
    HF_TAIL_CERTIFICATE,  /**< our Certificate message */
    HF_TAIL_RAW_KEY,      /**< likewise, with a raw public key */
    HF_TAIL_ISSUER_NAMES, /**< certificate_authorities of a CertificateRequest */
    HF_TAIL_IDENTITY,     /**< psk_identity (RFC 4279 2) */
    HF_TAIL_TICKET,       /**< the ticket we offer (RFC 5077 3.2) */
};

/** A message being written into the flight. */
struct hf_flight_message {
    struct hf_writer writer; /**< write the body here, or its beginning */
    uint8_t type;
    enum hf_tail tail;
};

struct hf_flight_message hf_flight_open(struct hf_handshake *handshake, uint8_t type);

/** hf_flight_close counts the message and adds it to the transcript. */
void hf_flight_close(const struct hf_engine *engine, struct hf_association *association,
                     const struct hf_flight_message *message);

/** hf_flight_change adds a ChangeCipherSpec: what follows in the flight is protected. */
void hf_flight_change(struct hf_handshake *handshake);

/** hf_flight_send sends the flight, fragmented to what path and peer allow. */
void hf_flight_send(struct hf_engine *engine, struct hf_association *association);

/** hf_flight_await sends the flight and has it sent again until the peer's next flight is here. */
void hf_flight_await(struct hf_engine *engine, struct hf_association *association);

/** hf_flight_schedule sets when to send it again, unless the peer has not shown that it receives
 *  anything: then only what it sends itself is answered. */
void hf_flight_schedule(const struct hf_engine *engine, struct hf_handshake *handshake);

/** hf_flight_answered stops that. */
void hf_flight_answered(struct hf_handshake *handshake);

/** hf_flight_again sends it again because the timer fired (`is_timer`: the interval doubles) or
 *  because the peer repeated itself. */
void hf_flight_again(struct hf_engine *engine, struct hf_association *association, bool is_timer);

/** hf_flight_final sends the last flight - a ticket, CCS and Finished - from the cold record: first
 *  time and every time after. */
void hf_flight_final(struct hf_engine *engine, struct hf_association *association);

/** hf_flight_hash adds a received message to the transcript (RFC 6347 4.2.6: DTLS hashes the header
 *  as if unfragmented). */
void hf_flight_hash(const struct hf_association *association, struct hf_handshake *handshake,
                    uint8_t type, uint16_t message_seq, struct hf_bytes body);

#endif
