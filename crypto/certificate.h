/**
 * certificate.h - one X.509 certificate, read once and in place: views of its parts, and what its
 * extensions say. Reading refuses whatever TS-0003 10.1.1 does not allow in any certificate of a
 * chain: other keys than uncompressed P-256, other signatures than ECDSA with SHA-256, versions
 * below 3, duplicate extensions, unknown critical ones. What depends on the place in a chain is
 * judged by chain.c.
 */
#ifndef HF_CERTIFICATE_H
#define HF_CERTIFICATE_H

#include "name.h"

#define HF__SERIAL_LEN_MAX 20 /**< RFC 5280 4.1.2.2 */
#define HF__EXTENSIONS_MAX 24
#define HF__NAMES_MAX 16    /**< of a subjectAltName */
#define HF__SUBTREES_MAX 64 /**< of a nameConstraints */

/** Bits of keyUsage as in the first octet (RFC 5280 4.2.1.3). */
enum hf__key_usage {
    HF__KEY_USAGE_DIGITAL_SIGNATURE = 0x80,
    HF__KEY_USAGE_KEY_CERT_SIGN = 0x04,
    HF__KEY_USAGE_CRL_SIGN = 0x02,
};

/** Views into what was read: valid as long as that is. */
struct hf__certificate {
    struct hf_bytes der; /**< whole */
    struct hf_bytes tbs; /**< what is signed, with header */
    struct hf_bytes serial;
    struct hf__name issuer;
    struct hf__name subject;
    int64_t not_before_s;
    int64_t not_after_s;
    struct hf_bytes key_info;  /**< SubjectPublicKeyInfo, with header */
    const uint8_t *public_key; /**< 65 bytes in it; whether on the curve is not known */
    uint8_t signature[64];     /**< r, s */

    /* Extensions. Empty views: absent. */
    struct hf_bytes subject_key_id;
    struct hf_bytes authority_key_id;
    struct hf_bytes authority_serial;
    struct hf__name authority_issuer;
    struct hf_bytes names;       /**< subjectAltName: the contents of the sequence */
    struct hf_bytes constraints; /**< nameConstraints: likewise */
    bool has_key_usage, has_extended_key_usage, has_path_len;
    bool is_ca;
    bool may_be_client, may_be_server; /**< extended key usage */
    uint8_t key_usage;                 /**< first octet */
    uint8_t path_len;
};

/** hf__certificate_read reads one certificate that fills `der`. Errors: the statuses of a bad
 *  certificate; `out` is undefined then. */
HF_MUST_USE enum hf_status hf__certificate_read(struct hf__certificate *out, struct hf_bytes der);

/** hf__certificate_read_key reads a SubjectPublicKeyInfo at the head of `in` (RFC 5480 2, TS-0003
 *  10.1.1.1) and gives its 65-byte point. */
HF_MUST_USE enum hf_status hf__certificate_read_key(const uint8_t **out, CBS *in);

/** hf__certificate_read_extensions reads the Extensions of a TBSCertificate into `out`. */
HF_MUST_USE enum hf_status hf__certificate_read_extensions(struct hf__certificate *out, CBS *in);

/** The AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 3.2), with header. */
HF_MUST_USE bool hf__certificate_is_ecdsa_sha256(struct hf_bytes algorithm);

/** An element of Extensions (RFC 5280 4.1). */
struct hf__extension {
    struct hf_bytes oid;
    struct hf_bytes value;
    bool is_critical;
};

/** hf__certificate_get_extension reads one; no padding, no explicit FALSE. */
HF_MUST_USE bool hf__certificate_get_extension(struct hf__extension *out, CBS *in);

/** hf__certificate_read_authority_key reads an authorityKeyIdentifier into the three fields. */
HF_MUST_USE bool hf__certificate_read_authority_key(struct hf__certificate *out,
                                                    struct hf_bytes value);

/** hf__certificate_is_issued_by tells whether names and key identifiers say so (RFC 5280 4.2.1.1,
 *  6.1). Signatures are not looked at. */
HF_MUST_USE bool hf__certificate_is_issued_by(const struct hf__certificate *certificate,
                                              const struct hf__certificate *issuer);

/** hf__constraint_check judges all names of `certificate` by the nameConstraints of `issuer`
 *  (RFC 5280 4.2.1.10). Errors: HF_E_CERTIFICATE_CONSTRAINT, HF_E_CERTIFICATE_CONSTRAINT_UNKNOWN.
 */
HF_MUST_USE enum hf_status hf__constraint_check(const struct hf__certificate *certificate,
                                                const struct hf__certificate *issuer);

/** hf__constraint_is_valid checks the syntax of nameConstraints, once, when it is read. */
HF_MUST_USE bool hf__constraint_is_valid(struct hf_bytes constraints);

#endif
