/**
 * hello.h - reading a ClientHello whole, agreeing on terms, and writing the ServerHello.
 *
 * Reading judges form only; hf_hello_agree() judges content. Unknown suites, extensions and groups
 * (GREASE, TLS 1.3) are passed over.
 */
#ifndef HF_HELLO_H
#define HF_HELLO_H

#include "core.h"

/** Numbers of a hello's extensions. */
enum {
    HF_EXTENSION_SERVER_NAME = 0,              /* RFC 6066 3 */
    HF_EXTENSION_MAX_FRAGMENT_LENGTH = 1,      /* RFC 6066 4 */
    HF_EXTENSION_SUPPORTED_GROUPS = 10,        /* RFC 8422 5.1.1 */
    HF_EXTENSION_EC_POINT_FORMATS = 11,        /* RFC 8422 5.1.2 */
    HF_EXTENSION_SIGNATURE_ALGORITHMS = 13,    /* RFC 5246 7.4.1.4.1 */
    HF_EXTENSION_CLIENT_CERTIFICATE_TYPE = 19, /* RFC 7250 3 */
    HF_EXTENSION_SERVER_CERTIFICATE_TYPE = 20,
    HF_EXTENSION_ENCRYPT_THEN_MAC = 22,       /* RFC 7366 */
    HF_EXTENSION_EXTENDED_MASTER_SECRET = 23, /* RFC 7627 5.1 */
    HF_EXTENSION_RECORD_SIZE_LIMIT = 28,      /* RFC 8449 4 */
    HF_EXTENSION_SESSION_TICKET = 35,         /* RFC 5077 3.2 */
    HF_EXTENSION_CONNECTION_ID = 54,          /* RFC 9146 3 */
    HF_EXTENSION_RETURN_ROUTABILITY = 61,     /* RFC 9853 3 */
    HF_EXTENSION_RENEGOTIATION_INFO = 0xFF01, /* RFC 5746 3.2 */

    HF_POINT_FORMAT_UNCOMPRESSED = 0,
    HF_CERTIFICATE_TYPE_X509 = 0,
    HF_CERTIFICATE_TYPE_RAW = 2,
};

/** An extension as it came. */
struct hf_offered {
    bool is_offered;
    struct hf_bytes body;
};

struct hf_hello {
    uint16_t version;
    struct hf_bytes random;
    struct hf_bytes session_id;
    struct hf_bytes cookie; /**< DTLS only */
    struct hf_bytes suites;
    struct hf_bytes compressions;
    bool has_extended_master_secret;
    bool has_encrypt_then_mac;
    bool has_renegotiation_info;
    struct hf_bytes renegotiation_info; /**< renegotiated_connection, without its length */
    struct hf_bytes server_name;        /**< as sent, one host_name; empty: none */
    bool has_ticket;                    /**< RFC 5077 3.2: understands tickets */
    struct hf_bytes ticket;             /**< one it was given, or empty */
    bool has_connection_id;
    struct hf_bytes connection_id; /**< to be put into what we send; may be empty */
    bool has_return_routability;
    uint8_t max_fragment_code; /**< 0: none */
    bool has_record_size_limit;
    uint16_t record_size_limit;
    struct hf_offered groups, point_formats, signature_algorithms; /**< not yet judged */
    struct hf_offered client_types, server_types;                  /**< RFC 7250; likewise */
};

/** How a suite comes by its premaster secret. */
enum hf_key_exchange {
    HF_KEY_EXCHANGE_PSK = 0,     /**< RFC 4279 */
    HF_KEY_EXCHANGE_ECDHE_ECDSA, /**< RFC 8422 */
};

/** hf_hello_read parses the body of a ClientHello (RFC 5246 7.4.1.2; RFC 6347 4.2.1). Views point
 *  into `body`. Errors: HF_E_DECODE, HF_E_ILLEGAL_PARAMETER (an extension twice, a bad value). */
HF_MUST_USE enum hf_status hf_hello_read(struct hf_hello *out, struct hf_bytes body,
                                         bool is_datagram);

/** hf_hello_agree settles the terms by the listener's order of suites. Errors: HF_E_VERSION,
 *  HF_E_FALLBACK, HF_E_NO_COMPRESSION_NULL, HF_E_NO_COMMON_SUITE, HF_E_RENEGOTIATION,
 *  HF_E_NO_EXTENDED_MASTER_SECRET, HF_E_UNRECOGNIZED_NAME; where only certificates would do,
 *  HF_E_NO_COMMON_GROUP, HF_E_NO_COMMON_SIGNATURE, HF_E_CERTIFICATE_TYPE. */
HF_MUST_USE enum hf_status hf_hello_agree(struct hf_terms *out, const struct hf_listener *listener,
                                          const struct hf_hello *hello);

/** hf_hello_write_cid writes the extensions of connection IDs, if they are offered or answered. */
void hf_hello_write_cid(struct hf_writer *writer, const struct hf_terms *terms);

/** hf_hello_write writes the body of the ServerHello that answers with `terms`. */
void hf_hello_write(struct hf_writer *writer, const struct hf_terms *terms, uint16_t version,
                    const uint8_t server_random[HF_RANDOM_LEN]);

/** hf_hello_cipher gives the record protection of a suite. */
enum hf_cipher hf_hello_cipher(uint16_t suite, bool is_etm);

/** hf_hello_key_exchange gives the key exchange of a suite. */
enum hf_key_exchange hf_hello_key_exchange(uint16_t suite);

#endif
