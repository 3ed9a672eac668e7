/**
 * craft.h - records and messages as a client makes them, right unless told otherwise. Protected
 * ones carry their plaintext openly (FUZZ_PLAIN_MAGIC), so no keys are needed to make them.
 */
#ifndef FUZZ_CRAFT_H
#define FUZZ_CRAFT_H

#include "core.h"
#include "fuzz.h"

struct fuzz_hello {
    uint16_t version;
    uint8_t random;     /* every byte of client_random */
    uint8_t suites;     /* bit i offers the i-th suite we know; bits 4..: SCSVs, GREASE */
    uint8_t extensions; /* bits, see craft.c */
    uint8_t session_id_len;
    struct hf_bytes cookie; /* DTLS */
    bool has_cid, has_rrc;  /* RFC 9146, RFC 9853 */
    uint8_t cid_len;        /* every byte of it is 0xC1 */
};

/** fuzz_hello_take makes one from two bytes of input: mostly a good one. */
struct fuzz_hello fuzz_hello_take(struct fuzz_input *input, bool is_dtls);

/** fuzz_craft_hello writes the body of a ClientHello. */
void fuzz_craft_hello(struct hf_writer *writer, const struct fuzz_hello *hello, bool is_dtls);

/** fuzz_craft_exchange writes the body of a ClientKeyExchange with `identity_len` octets. */
void fuzz_craft_exchange(struct hf_writer *writer, size_t identity_len);

/** A fragment of a message (DTLS) or all of it (TLS, where only type and body count). */
struct fuzz_part {
    uint8_t type;
    uint16_t message_seq;
    uint32_t message_len;
    uint32_t offset;
};

/** What a record with a connection ID has besides that (RFC 9146 4). */
struct fuzz_named {
    uint16_t epoch;
    uint64_t seq;
    uint8_t type; /* of the content; 0 is padding */
    uint8_t padding_len;
};

/** fuzz_craft_message writes the handshake header and `body`. */
void fuzz_craft_message(struct hf_writer *writer, bool is_dtls, const struct fuzz_part *part,
                        struct hf_bytes body);

/** fuzz_craft_datagram_record writes a DTLS record; one of an epoch above 0 is protected. */
void fuzz_craft_datagram_record(struct hf_writer *writer, uint8_t type, uint16_t epoch,
                                uint64_t seq, struct hf_bytes plaintext);

/** fuzz_craft_named_record writes a record with a connection ID, its type behind the content and
 *  padding behind that. */
void fuzz_craft_named_record(struct hf_writer *writer, const struct fuzz_named *record,
                             struct hf_bytes cid, struct hf_bytes content);

/** fuzz_craft_stream_record writes a TLS record. */
void fuzz_craft_stream_record(struct hf_writer *writer, uint8_t type, bool is_protected,
                              struct hf_bytes plaintext);

#endif
