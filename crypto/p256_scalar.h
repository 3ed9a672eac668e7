/**
 * p256_scalar.h - secret scalars of P-256: which are valid, and where new ones come from. Private
 * to crypto/.
 */
#ifndef HF_P256_SCALAR_H
#define HF_P256_SCALAR_H

#include "p256.h"

/** hf__p256_scalar_is_valid tells whether a scalar is in 1..n-1. Constant time; only the answer
 *  becomes public. */
HF_MUST_USE bool hf__p256_scalar_is_valid(const uint8_t scalar[HF_P256_SCALAR_LEN]);

/** hf__p256_scalar_draw gives a private key, uniform in 1..n-1. */
void hf__p256_scalar_draw(uint8_t out[HF_P256_SCALAR_LEN]);

/** hf__p256_fresh gives randomness for nonces, not from a pool that a snapshot would copy. */
void hf__p256_fresh(uint8_t *out, size_t len);

/** hf__p256_nonce derives an ECDSA nonce, uniform in 1..n-1, from the key, the digest and 32 fresh
 *  bytes: a PRF keyed with the private key. Whoever knows or repeats the randomness learns nothing
 *  and, unless the digest repeats as well, gets another nonce (compare RFC 6979 3.6). */
void hf__p256_nonce(uint8_t out[HF_P256_SCALAR_LEN], const uint8_t private_key[HF_P256_SCALAR_LEN],
                    const uint8_t digest[HF_SHA256_LEN], const uint8_t fresh[32]);

/* The lanes, for hf_p256_lanes() alone: only where the processor has AVX-512 IFMA. hf__base_open
 * computes the table of multiples of the generator, once. */
extern const struct hf_p256_backend hf__lanes_backend;
void hf__base_open(void);
struct hf_p256_prepared *hf__lanes_prepare(const uint8_t public_key[HF_P256_POINT_LEN]);
void hf__lanes_prepared_close(struct hf_p256_prepared *prepared);

#endif
