/**
 * trust.h - the inside of hf_trust, for the chain walk: anchors and CRLs by the hash of their name,
 * pins by their digest, CSEs by their public domain name. Private to crypto/.
 */
#ifndef HF_TRUST_H
#define HF_TRUST_H

#include "revocation.h"

/** A raw public key we know by a digest of its SubjectPublicKeyInfo (RFC 6920). */
struct hf__pin {
    uint8_t digest[HF_SHA256_LEN];
    uint8_t digest_len; /**< 32, 16 or 15 */
    uint8_t entity_kind;
    uint8_t entity_id_len; /**< 0: to be asked for */
    uint8_t credential_id_len;
    uint8_t entity_id[255];
    uint8_t credential_id[128];
};

/** A CSE whose public domain name is configured. Both look into hf_trust.names_text. */
struct hf__cse {
    struct hf_bytes host; /**< in lower case */
    struct hf_bytes id;   /**< absolute CSE-ID */
};

/** An anchor: a self-issued CA certificate. */
struct hf__anchor {
    uint8_t *der; /**< owned; `certificate` looks into it */
    struct hf__certificate certificate;
    uint8_t handle[HF_REVOCATION_HANDLE_LEN];
    struct hf_p256_prepared *prepared; /**< its key's, or NULL */
};

/** How many anchors have their keys prepared: they take 86 KiB each. */
#define HF__TRUST_PREPARED_MAX 16

struct hf_trust {
    uint32_t references;
    uint8_t flavours;
    uint8_t depth_max;
    uint8_t crl_expired; /**< enum hf_crl_policy */
    bool crl_required;
    bool name_constraints_required;
    uint32_t chain_len_max;
    uint64_t epoch;
    uint8_t policy[HF_TRUST_POLICY_LEN]; /**< hf_trust_policy() */
    struct hf__pin *pins;                /**< by the first 8 bytes of the digest */
    size_t pin_count;
    struct hf__anchor *anchors; /**< by certificate.subject.hash */
    size_t anchor_count;
    struct hf__crl *crls; /**< by issuer.hash */
    size_t crl_count;
    struct hf__handles revoked;
    struct hf__handles anchor_handles;
    struct hf__cse *cses; /**< by host */
    size_t cse_count;
    uint8_t *names_text;   /**< owned */
    uint8_t *issuer_names; /**< owned: certificate_authorities */
    size_t issuer_names_len;
};

/** hf__trust_find_pin gives the pin of a digest; `digest_len` of at least 15 bytes are known. */
const struct hf__pin *hf__trust_find_pin(const struct hf_trust *trust, const uint8_t *digest,
                                         size_t digest_len);

/** hf__trust_find_anchor gives the one anchor that may have issued `certificate`; NULL for none,
 * and for several, among which nothing but signatures could tell. */
const struct hf__anchor *hf__trust_find_anchor(const struct hf_trust *trust,
                                               const struct hf__certificate *certificate);

/** hf__trust_is_anchor tells whether the bytes are an anchor's. */
HF_MUST_USE bool hf__trust_is_anchor(const struct hf_trust *trust, struct hf_bytes der);

/** hf__trust_find_crl gives the CRL that answers for what `issuer` signed: of several the newest
 *  that is in force. NULL for none. */
const struct hf__crl *hf__trust_find_crl(const struct hf_trust *trust,
                                         const struct hf__certificate *issuer, int64_t wall_s);

/** hf__trust_cse_id derives an absolute CSE-ID from a public domain name (TS-0001 7.2): as
 *  configured; below the name of a configured IN-CSE, as a CSE of the same provider; otherwise as
 *  `//{what follows the first label}/{first label}`. In: `host` in lower case. Returns its length,
 * 0 if there is none. */
size_t hf__trust_cse_id(uint8_t out[HF_ENTITY_ID_MAX], const struct hf_trust *trust,
                        struct hf_bytes host);

/** hf__trust_read_... fill their part of `trust`. Errors: HF_E_CONFIG, with `*why`; HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf__trust_read_pins(struct hf_trust *trust, const char **why,
                                               struct hf_bytes text);
HF_MUST_USE enum hf_status hf__trust_read_names(struct hf_trust *trust, const char **why,
                                                struct hf_bytes text);
HF_MUST_USE enum hf_status hf__trust_read_anchors(struct hf_trust *trust, const char **why,
                                                  struct hf_bytes pem);
HF_MUST_USE enum hf_status hf__trust_read_crls(struct hf_trust *trust, const char **why,
                                               struct hf_bytes pem);

/** hf__trust_free_anchors releases what the last two made. */
void hf__trust_free_anchors(struct hf_trust *trust);

/** hf__text_line takes the next line off a text, without its end and without a `#` comment. */
struct hf_bytes hf__text_line(struct hf_bytes *text);

/** hf__text_word takes the next word off a line; empty at its end. */
struct hf_bytes hf__text_word(struct hf_bytes *line);

/** hf__text_lines counts the lines that have a word. */
size_t hf__text_lines(struct hf_bytes text);

/** hf__host_is_valid checks a host name: labels of letters, digits, hyphens (RFC 1123 2.1), two at
 *  least, no dot at the end, no address. */
HF_MUST_USE bool hf__host_is_valid(struct hf_bytes host);

#endif
