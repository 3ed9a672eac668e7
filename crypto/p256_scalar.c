/**
 * p256_scalar.c - see p256_scalar.h. No modular arithmetic: what is out of range, once in 2^32, is
 * drawn again, so that nothing is biased.
 */
#include "p256_scalar.h"
#include "private.h"

#include <openssl/rand.h>

#include <string.h>

static const uint8_t scalar_n[HF_P256_SCALAR_LEN] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

bool hf__p256_scalar_is_valid(const uint8_t scalar[HF_P256_SCALAR_LEN])
{
    uint32_t any = 0;
    uint32_t borrow = 0;
    bool is_valid;

    for (size_t i = HF_P256_SCALAR_LEN; i-- > 0;) {
        any |= scalar[i];
        borrow = (scalar[i] - scalar_n[i] - borrow) >> 31;
    }
    is_valid = (borrow & (0u - any) >> 31) != 0;
    hf_ct_public(&is_valid, sizeof is_valid);
    return is_valid;
}

void hf__p256_scalar_draw(uint8_t out[HF_P256_SCALAR_LEN])
{
    do {
        hf_random(out, HF_P256_SCALAR_LEN);
        hf_ct_secret(out, HF_P256_SCALAR_LEN);
    } while (!hf__p256_scalar_is_valid(out));
}

void hf__p256_fresh(uint8_t *out, size_t len)
{
    HF__CRYPTO_ASSERT(RAND_bytes(out, len) == 1);
}

void hf__p256_nonce(uint8_t out[HF_P256_SCALAR_LEN], const uint8_t private_key[HF_P256_SCALAR_LEN],
                    const uint8_t digest[HF_SHA256_LEN], const uint8_t fresh[32])
{
    static const uint8_t label[] = "handfast ecdsa nonce";
    uint8_t counter = 0;
    const struct hf_bytes parts[] = {
        {label, sizeof label}, {digest, HF_SHA256_LEN}, {fresh, 32}, {&counter, sizeof counter}};
    struct hf_hmac_key key;

    hf_hmac_key_init(&key, (struct hf_bytes){private_key, HF_P256_SCALAR_LEN});
    do {
        hf_hmac(out, &key, parts, sizeof parts / sizeof parts[0]);
        hf_ct_secret(out, HF_P256_SCALAR_LEN);
        counter++;
    } while (!hf__p256_scalar_is_valid(out));
    hf_wipe(&key, sizeof key);
}
