/**
 * p256_der.c - ECDSA signatures between DER and r || s, by BoringSSL's parser and without its
 * allocations.
 */
#include "p256_der.h"
#include "private.h"

#include <openssl/bytestring.h>

#include <string.h>

static bool read_number(uint8_t out[HF_P256_SCALAR_LEN], CBS *cbs)
{
    CBS number;

    if (!CBS_get_asn1(cbs, &number, CBS_ASN1_INTEGER) || !CBS_is_unsigned_asn1_integer(&number))
        return false;
    if (CBS_len(&number) > 0 && *CBS_data(&number) == 0)
        CBS_skip(&number, 1);
    if (CBS_len(&number) > HF_P256_SCALAR_LEN)
        return false;
    memset(out, 0, HF_P256_SCALAR_LEN);
    if (CBS_len(&number) > 0)
        memcpy(out + HF_P256_SCALAR_LEN - CBS_len(&number), CBS_data(&number), CBS_len(&number));
    return true;
}

bool hf_p256_der_read(uint8_t out[HF_P256_SIGNATURE_LEN], struct hf_bytes der)
{
    uint8_t both[HF_P256_SIGNATURE_LEN];
    CBS cbs;
    CBS sequence;

    CBS_init(&cbs, der.data, der.len);
    if (!CBS_get_asn1(&cbs, &sequence, CBS_ASN1_SEQUENCE) || CBS_len(&cbs) != 0 ||
        !read_number(both, &sequence) || !read_number(both + HF_P256_SCALAR_LEN, &sequence) ||
        CBS_len(&sequence) != 0)
        return false;
    memcpy(out, both, sizeof both);
    return true;
}

static uint8_t *write_number(uint8_t *out, const uint8_t number[HF_P256_SCALAR_LEN])
{
    size_t skip = 0;
    size_t len;
    bool is_padded;

    while (skip < HF_P256_SCALAR_LEN - 1 && number[skip] == 0)
        skip++;
    len = HF_P256_SCALAR_LEN - skip;
    is_padded = number[skip] >= 0x80;
    *out++ = 0x02;
    *out++ = (uint8_t)(len + is_padded);
    if (is_padded)
        *out++ = 0;
    memcpy(out, number + skip, len);
    return out + len;
}

uint8_t hf_p256_der_write(uint8_t out[HF_P256_SIGNATURE_MAX],
                          const uint8_t signature[HF_P256_SIGNATURE_LEN])
{
    uint8_t *end = write_number(out + 2, signature);

    end = write_number(end, signature + HF_P256_SCALAR_LEN);
    out[0] = 0x30;
    out[1] = (uint8_t)(end - out - 2);
    return (uint8_t)(end - out);
}
