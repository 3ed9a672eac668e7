/**
 * record.h - the record layer: headers, numbers, the replay window, sealing into the outbox.
 */
#ifndef HF_RECORD_H
#define HF_RECORD_H

#include "core.h"

/** A record as it stands in a buffer, not yet opened. */
struct hf_record {
    uint8_t type;
    uint16_t version;
    uint16_t epoch; /**< DTLS */
    uint64_t seq;   /**< DTLS: 48 bits */
    uint8_t *body;
    size_t len;
};

/** hf_record_datagram_read splits one record off `datagram`; false: it is shorter than it says. */
HF_MUST_USE bool hf_record_datagram_read(struct hf_record *out, uint8_t *data, size_t len);

/** hf_record_replayed tells whether a number of epoch 1 was seen or is too old (RFC 6347 4.1.2.6).
 */
HF_MUST_USE bool hf_record_replayed(const struct hf_association *association, uint64_t seq);

/** hf_record_received moves the window. Only for a record that authenticated. */
void hf_record_received(struct hf_association *association, uint64_t seq);

/** hf_record_keys_keep puts both directions' keys into the record. */
void hf_record_keys_keep(struct hf_engine *engine, struct hf_association *association,
                         const struct hf_record_key *write_key,
                         const struct hf_record_key *read_key);

/** hf_record_keys_drop gives back what keys have outside of the record. */
void hf_record_keys_drop(struct hf_engine *engine, struct hf_association *association);

/** hf_record_key_of gives the key of one direction as the crypto takes it. Secret: wipe. */
void hf_record_key_of(struct hf_record_key *out, const struct hf_engine *engine,
                      const struct hf_association *association, bool is_write);

/** hf_record_unprotect opens a protected record in place; body and len become the plaintext.
 *  Errors: HF_E_BAD_RECORD_MAC, HF_E_RECORD_OVERFLOW. */
HF_MUST_USE enum hf_status hf_record_unprotect(struct hf_record *record,
                                               const struct hf_engine *engine,
                                               const struct hf_association *association);

/** A datagram or a stretch of stream being filled with records. */
struct hf_packet {
    struct hf_engine *engine;
    struct hf_association *association;
    uint8_t *data; /**< NULL: the outbox is full */
    size_t len, max;
};

/** hf_packet_open begins one of at most `max` bytes. */
struct hf_packet hf_packet_open(struct hf_engine *engine, struct hf_association *association,
                                size_t max);

/** hf_packet_room gives the most plaintext one further record can hold here, 0 if none. */
size_t hf_packet_room(const struct hf_packet *packet, bool is_protected);

/** hf_packet_add appends one record, protected or not. Errors: HF_WAITING when it does not fit,
 *  HF_E_SEQUENCE_LIMIT. */
HF_MUST_USE enum hf_status hf_packet_add(struct hf_packet *packet, uint8_t type, bool is_protected,
                                         struct hf_bytes plaintext);

/** hf_packet_close queues it, if anything is in it. */
void hf_packet_close(struct hf_packet *packet);

/** hf_record_alert sends an alert under the current write protection. */
void hf_record_alert(struct hf_engine *engine, struct hf_association *association, uint8_t level,
                     uint8_t description);

#endif
