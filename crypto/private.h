/**
 * private.h - what the files of crypto/ share among themselves and with their own tests. Not for
 * the engine.
 */
#ifndef HF_CRYPTO_PRIVATE_H
#define HF_CRYPTO_PRIVATE_H

#include "crypto.h"

/** Our own bug, never the network's: stops the program in every build. */
#define HF__CRYPTO_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())

/** HF__TRY returns early with any status that is not HF_OK. */
#define HF__TRY(call)                                                                              \
    do {                                                                                           \
        enum hf_status status_ = (call);                                                           \
        if (status_ != HF_OK)                                                                      \
            return status_;                                                                        \
    } while (0)

#define HF__AES_KEY_LEN 16
#define HF__AES_BLOCK_LEN 16
#define HF__SHA256_BLOCK_LEN 64
#define HF__AEAD_NONCE_LEN 12
#define HF__RECORD_AAD_LEN 13
#define HF__RECORD_AAD_MAX (23 + HF_CID_LEN_MAX) /* with a connection ID */
#define HF__PLAIN_LEN_MAX 16384u
#define HF__FRAGMENT_LEN_MAX (16384u + 2048u)

static inline void hf__put_u32(uint8_t *out, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(out, &value, sizeof value);
}

/** hf__hmac_outer finishes an HMAC whose inner state is complete. */
void hf__hmac_outer(uint8_t out[HF_SHA256_LEN], const struct hf_hmac_key *key,
                    const uint32_t inner[8]);

/** hf__sha256_blocks runs the compression function. */
void hf__sha256_blocks(uint32_t state[8], const uint8_t *data, size_t block_count);

/** hf__record_aad builds seq || type || version || length (RFC 5246 6.2.3.1, 6.2.3.3), with a
 *  connection ID what RFC 9146 5 has instead, and gives its length. `len` may be secret. */
size_t hf__record_aad(uint8_t out[HF__RECORD_AAD_MAX], const struct hf_record_header *header,
                      uint32_t len);

/** What an AEAD works with. Borrowed: nothing is kept. */
struct hf__aead {
    const uint8_t *key;   /**< HF__AES_KEY_LEN */
    const uint8_t *nonce; /**< HF__AEAD_NONCE_LEN */
    struct hf_bytes aad;  /**< CCM: below 65,280 bytes */
    size_t tag_len;       /**< CCM: even, 4..16. GCM: 16 */
};

/** hf__ccm_seal is CCM with L = 3 (RFC 3610). `out` may equal `in`. In: `in_len` below 2^24. */
void hf__ccm_seal(uint8_t *out, uint8_t *tag, const struct hf__aead *aead, const uint8_t *in,
                  size_t in_len);

/** hf__ccm_open decrypts in place; on false `data` is zero. */
HF_MUST_USE bool hf__ccm_open(uint8_t *data, size_t len, const struct hf__aead *aead,
                              const uint8_t *tag);

/** hf__gcm_seal is AES-128-GCM. `out` may equal `in`. */
HF_MUST_USE bool hf__gcm_seal(uint8_t *out, uint8_t *tag, const struct hf__aead *aead,
                              const uint8_t *in, size_t in_len);

/** hf__gcm_open decrypts in place; on false `data` is zero. */
HF_MUST_USE bool hf__gcm_open(uint8_t *data, size_t len, const struct hf__aead *aead,
                              const uint8_t *tag);

/* CBC-SHA256 records, whole: IV, ciphertext, MAC. Lengths have been checked against the limits;
 * `len` of an open is at least hf_record_len_min(). The opens answer false without saying why. */
size_t hf__cbc_seal(uint8_t *out, const struct hf_record_key *key,
                    const struct hf_record_header *header, const uint8_t *in, size_t in_len);
HF_MUST_USE bool hf__cbc_open(size_t *plain_len, const struct hf_record_key *key,
                              const struct hf_record_header *header, uint8_t *data, size_t len);
size_t hf__cbc_etm_seal(uint8_t *out, const struct hf_record_key *key,
                        const struct hf_record_header *header, const uint8_t *in, size_t in_len);
HF_MUST_USE bool hf__cbc_etm_open(size_t *plain_len, const struct hf_record_key *key,
                                  const struct hf_record_header *header, uint8_t *data, size_t len);

#endif
