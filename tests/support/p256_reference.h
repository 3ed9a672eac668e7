/**
 * p256_reference.h - P-256 once more, for tests to compare with: BoringSSL's points and numbers,
 * with none of the project's code between. Slow, and says nothing about timing. Aborts on anything
 * unexpected.
 */
#ifndef HF_P256_REFERENCE_H
#define HF_P256_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

/** reference_number writes `base` + `add`, 32 bytes; bases: "0", "n", "p", "2^k". Modulo 2^256. */
void reference_number(uint8_t out[32], const char *base, long add);

/** reference_exception gives the one scalar for which a sum of odd 7-bit digits, lowest first, ends
 *  with a doubling: 15 * 2^253 - n. */
void reference_exception(uint8_t out[32]);

/** reference_multiply gives scalar * point, or of the generator for NULL; false: infinity. */
bool reference_multiply(uint8_t out[65], const uint8_t scalar[32], const uint8_t *point);

/** reference_sign signs with a nonce of the caller's choice. */
void reference_sign(uint8_t signature[64], const uint8_t private_key[32], const uint8_t digest[32],
                    const uint8_t nonce[32]);

/** reference_verify is BoringSSL's verdict; false also for a key that is no point. */
bool reference_verify(const uint8_t key[65], const uint8_t digest[32], const uint8_t signature[64]);

/** reference_craft makes key, digest and signature such that a verifier computes u1 G + u2 (t G).
 *  They verify unless that is infinity. In: u2, t not 0. Out: false for infinity. */
bool reference_craft(uint8_t key[65], uint8_t digest[32], uint8_t signature[64],
                     const uint8_t u1[32], const uint8_t u2[32], const uint8_t t[32]);

/** reference_craft_at does so such that a verifier arrives at `point`. */
void reference_craft_at(uint8_t key[65], uint8_t digest[32], uint8_t signature[64],
                        const uint8_t u1[32], const uint8_t u2[32], const uint8_t point[65]);

/** reference_point_from gives the first point whose x is `x` or a little more. */
void reference_point_from(uint8_t out[65], const uint8_t x[32]);

/** reference_ratio gives a / b modulo n, or minus that. */
void reference_ratio(uint8_t out[32], const uint8_t a[32], const uint8_t b[32], bool is_negative);

#endif
