/**
 * p256_der.h - ECDSA signatures between their DER form (RFC 3279 2.2.3) and r || s. Private to
 * crypto/.
 */
#ifndef HF_P256_DER_H
#define HF_P256_DER_H

#include "p256.h"

#include <handfast/credential.h>

/** hf_p256_der_read takes strict DER only: minimal, unsigned, nothing behind. False: not so, or a
 *  number is longer than 256 bits; its range is for the verification to judge. */
HF_MUST_USE bool hf_p256_der_read(uint8_t out[HF_P256_SIGNATURE_LEN], struct hf_bytes der);

/** hf_p256_der_write gives the length, at most HF_P256_SIGNATURE_MAX. */
uint8_t hf_p256_der_write(uint8_t out[HF_P256_SIGNATURE_MAX],
                          const uint8_t signature[HF_P256_SIGNATURE_LEN]);

#endif
