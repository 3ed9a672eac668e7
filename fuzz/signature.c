/**
 * signature.c - fuzz target: an ECDSA signature as it comes, in DER. It is taken if and only if
 * BoringSSL's own parser takes it and both numbers fit into 256 bits, and then means the same;
 * what is written reads as it was.
 */
#include "fuzz.h"
#include "p256_der.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>

/* A second reading; false where BoringSSL has none. */
static bool read_again(uint8_t out[HF_P256_SIGNATURE_LEN], struct hf_bytes der)
{
    CBS in;
    CBS_init(&in, der.data, der.len);
    ECDSA_SIG *signature = ECDSA_SIG_parse(&in);
    bool is_good = signature && CBS_len(&in) == 0 &&
                   BN_num_bytes(ECDSA_SIG_get0_r(signature)) <= 32 &&
                   BN_num_bytes(ECDSA_SIG_get0_s(signature)) <= 32 &&
                   BN_bn2bin_padded(out, 32, ECDSA_SIG_get0_r(signature)) &&
                   BN_bn2bin_padded(out + 32, 32, ECDSA_SIG_get0_s(signature));
    ECDSA_SIG_free(signature);
    ERR_clear_error();
    return is_good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t numbers[HF_P256_SIGNATURE_LEN], again[HF_P256_SIGNATURE_LEN];
    uint8_t written[HF_P256_SIGNATURE_MAX];
    uint8_t *der = fuzz_copy((struct hf_bytes){data, len});
    bool is_read = hf_p256_der_read(numbers, (struct hf_bytes){der, len});
    if (is_read && fuzz_is_canary())
        numbers[33] ^= 1;
    FUZZ_CHECK(is_read == read_again(again, (struct hf_bytes){der, len}));
    if (is_read) {
        FUZZ_CHECK(memcmp(numbers, again, sizeof numbers) == 0);
        /* DER has one form for each. */
        size_t written_len = hf_p256_der_write(written, numbers);
        FUZZ_CHECK(written_len == len && memcmp(written, der, len) == 0);
    }
    free(der);
    /* And any two numbers can be written. */
    if (len >= sizeof numbers) {
        size_t written_len = hf_p256_der_write(written, data);
        FUZZ_CHECK(written_len <= sizeof written);
        FUZZ_CHECK(hf_p256_der_read(numbers, (struct hf_bytes){written, written_len}));
        FUZZ_CHECK(memcmp(numbers, data, sizeof numbers) == 0);
    }
    return 0;
}
