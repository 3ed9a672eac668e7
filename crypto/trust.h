/**
 * trust.h - the inside of hf_trust, for the chain walk. Private to crypto/.
 */
#ifndef HF_TRUST_H
#define HF_TRUST_H

#include "crypto.h"

#include <handfast/credential.h>

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

struct hf_trust {
    uint32_t references;
    uint8_t flavours;
    uint8_t depth_max;
    uint32_t chain_len_max;
    uint64_t epoch;
    struct hf__pin *pins; /**< by the first 8 bytes of the digest */
    size_t pin_count;
};

/** The first byte of a revocation handle says what it is a handle of. */
#define HF__HANDLE_RAW 1

/** hf__trust_find_pin gives the pin of a digest; `digest_len` of at least 15 bytes are known. */
const struct hf__pin *hf__trust_find_pin(const struct hf_trust *trust, const uint8_t *digest,
                                         size_t digest_len);

#endif
