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
    uint16_t epoch;      /**< DTLS */
    uint64_t seq;        /**< DTLS: 48 bits */
    struct hf_bytes cid; /**< of a tls12_cid record of an epoch above 0; else empty. `type` is that
                              of its content once it is opened */
    uint8_t *body;
    size_t len;
};

/** hf_record_head_len gives the length of what stands in front of a record's body on DTLS. */
static inline size_t hf_record_head_len(const struct hf_record *record)
{
    return HF_DATAGRAM_HEADER_LEN + record->cid.len;
}

/** hf_record_datagram_read splits one record off `datagram`; false: it is shorter than it says. In:
 *  `cid_len` of the connection ID that a tls12_cid record has to have. */
HF_MUST_USE bool hf_record_datagram_read(struct hf_record *out, uint8_t *data, size_t len,
                                         size_t cid_len);

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

/** hf_record_unprotect opens a protected record in place; body and len become the plaintext, with a
 *  connection ID without padding, and `type` what it says. Errors: HF_E_BAD_RECORD_MAC; of an
 *  authentic record, HF_E_RECORD_OVERFLOW, and HF_E_DECODE (padding only). */
HF_MUST_USE enum hf_status hf_record_unprotect(struct hf_record *record,
                                               const struct hf_engine *engine,
                                               const struct hf_association *association);

/** A datagram or a stretch of stream being filled with records. */
struct hf_packet {
    struct hf_engine *engine;
    struct hf_association *association;
    uint8_t *data; /**< NULL: the outbox is full */
    size_t len, max;
    const struct hf_path_key *to; /**< NULL: where the association's go */
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

/** hf_packet_expansion gives the most bytes that protecting a record of the association adds, its
 *  header included. */
size_t hf_packet_expansion(const struct hf_engine *engine,
                           const struct hf_association *association);

/** hf_packet_close queues it, if anything is in it; or forgets it: hf_route_send(). */
void hf_packet_close(struct hf_packet *packet);

/** hf_record_alert sends an alert under the current write protection. */
void hf_record_alert(struct hf_engine *engine, struct hf_association *association, uint8_t level,
                     uint8_t description);

#endif
