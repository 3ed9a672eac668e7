/**
 * raw_hello.h - ClientHellos byte by byte, right or wrong, and the frames around them. For tests
 * that need what no client would send.
 */
#ifndef HF_TEST_RAW_HELLO_H
#define HF_TEST_RAW_HELLO_H

#include <handfast/base.h>

#define RAW_HELLO_LEN_MAX 70000

/** A length that is stated: RAW_HONEST, or any other number. */
#define RAW_HONEST 0
#define RAW_CLAIM(len) ((len) + 1)

struct raw_hello {
    bool is_dtls;
    uint16_t version;      /**< 0: 1.2 */
    const uint8_t *random; /**< NULL: 0x52 repeated */
    struct hf_bytes session_id, cookie;
    struct hf_bytes suites;       /**< empty: the mandatory one of the transport */
    struct hf_bytes compressions; /**< empty: null */
    struct hf_bytes extensions;   /**< the block, without its length */
    bool has_no_extensions;       /**< not even the length */
    uint32_t session_id_claim, cookie_claim, suites_claim, compressions_claim, extensions_claim;
    struct hf_bytes tail; /**< what follows the hello within its message */

    uint32_t message_claim;  /**< length in the message header */
    uint16_t message_seq;    /**< DTLS */
    uint32_t offset;         /**< DTLS: of a fragment */
    uint32_t fragment_len;   /**< DTLS: 0: to the end */
    uint16_t record_version; /**< 0: as a first flight has it */
    uint16_t epoch;
    uint64_t seq;
    uint32_t record_claim; /**< length in the record header */
};

/** raw_hello_body writes the body and returns its length. */
size_t raw_hello_body(uint8_t out[RAW_HELLO_LEN_MAX], const struct raw_hello *hello);

/** raw_hello_record writes one whole record with the message, or fragment of it. */
size_t raw_hello_record(uint8_t out[RAW_HELLO_LEN_MAX], const struct raw_hello *hello);

/** raw_cookie finds the cookie in a HelloVerifyRequest datagram; empty: it is none. */
struct hf_bytes raw_cookie(const uint8_t *datagram, size_t len);

#endif
