/**
 * record_key.c - seals and opens records with raw keys: which cipher, which nonce, which lengths.
 *
 * The key schedule is expanded anew for every record and dies with the call: it costs less than a
 * cache miss on an expanded one. HF_CIPHER_NONE protects nothing and is refused, so that a wiped
 * key can never let plaintext through.
 */
#include "private.h"

#include <string.h>

#define EXPLICIT_NONCE_LEN 8
#define CBC_IV_LEN 16
#define TYPE_TLS12_CID 25 /* RFC 9146 4 */
#define CBC_EXPANSION_MAX (CBC_IV_LEN + HF_SHA256_LEN + HF__AES_BLOCK_LEN)
_Static_assert(CBC_EXPANSION_MAX <= HF_RECORD_EXPANSION_MAX, "the public bound holds");

static void record_put_u64(uint8_t *out, uint64_t value)
{
    hf__put_u32(out, (uint32_t)(value >> 32));
    hf__put_u32(out + 4, (uint32_t)value);
}

/* seq_num_placeholder || tls12_cid || cid_length || tls12_cid || version || epoch and number || cid
 * || length (RFC 9146 5.1, 5.2, 5.3: the same for all three kinds of ciphers). */
static size_t record_aad_cid(uint8_t out[HF__RECORD_AAD_MAX], const struct hf_record_header *header,
                             uint32_t len)
{
    size_t cid_len = header->cid.len;

    HF__CRYPTO_ASSERT(cid_len <= HF_CID_LEN_MAX);
    memset(out, 0xff, 8);
    out[8] = TYPE_TLS12_CID;
    out[9] = (uint8_t)cid_len;
    out[10] = TYPE_TLS12_CID;
    out[11] = (uint8_t)(header->version >> 8);
    out[12] = (uint8_t)header->version;
    record_put_u64(out + 13, header->seq);
    memcpy(out + 21, header->cid.data, cid_len);
    out[21 + cid_len] = (uint8_t)(len >> 8);
    out[22 + cid_len] = (uint8_t)len;
    return 23 + cid_len;
}

size_t hf__record_aad(uint8_t out[HF__RECORD_AAD_MAX], const struct hf_record_header *header,
                      uint32_t len)
{
    if (header->cid.len > 0)
        return record_aad_cid(out, header, len);
    record_put_u64(out, header->seq);
    out[8] = header->type;
    out[9] = (uint8_t)(header->version >> 8);
    out[10] = (uint8_t)header->version;
    out[11] = (uint8_t)(len >> 8);
    out[12] = (uint8_t)len;
    return HF__RECORD_AAD_LEN;
}

/* 0 for ciphers that are no AEAD. */
static size_t record_tag_len(enum hf_cipher cipher)
{
    switch (cipher) {
    case HF_CIPHER_AES_128_CCM_8:
        return 8;
    case HF_CIPHER_AES_128_CCM:
    case HF_CIPHER_AES_128_GCM:
        return 16;
    case HF_CIPHER_NONE:
    case HF_CIPHER_AES_128_CBC_SHA256:
    case HF_CIPHER_AES_128_CBC_SHA256_ETM:
        break;
    }
    return 0;
}

size_t hf_record_expansion(enum hf_cipher cipher)
{
    size_t tag_len = record_tag_len(cipher);

    if (tag_len > 0)
        return EXPLICIT_NONCE_LEN + tag_len;
    return cipher == HF_CIPHER_NONE ? 0 : CBC_EXPANSION_MAX;
}

size_t hf_record_front(enum hf_cipher cipher)
{
    if (record_tag_len(cipher) > 0)
        return EXPLICIT_NONCE_LEN;
    return cipher == HF_CIPHER_NONE ? 0 : CBC_IV_LEN;
}

size_t hf_record_len_min(enum hf_cipher cipher)
{
    // CBC: an empty plaintext, its MAC and whole blocks: 16 + 48 MAC-then-encrypt, 16 + 16 + 32
    // encrypt-then-MAC. For every cipher this is what an empty plaintext takes.
    return hf_record_expansion(cipher);
}

/* Nonce and AAD of an AEAD record (RFC 5288 3, RFC 6655 3). */
static struct hf__aead record_aead(uint8_t nonce[HF__AEAD_NONCE_LEN],
                                   uint8_t aad[HF__RECORD_AAD_MAX], const struct hf_record_key *key,
                                   const struct hf_record_header *header,
                                   const uint8_t explicit_nonce[EXPLICIT_NONCE_LEN],
                                   size_t plain_len)
{
    memcpy(nonce, key->fixed_iv, sizeof key->fixed_iv);
    memcpy(nonce + sizeof key->fixed_iv, explicit_nonce, EXPLICIT_NONCE_LEN);
    return (struct hf__aead){
        .key = key->key,
        .nonce = nonce,
        .aad = {aad, hf__record_aad(aad, header, (uint32_t)plain_len)},
        .tag_len = record_tag_len(key->cipher),
    };
}

static bool record_seal_aead(uint8_t *out, size_t *out_len, const struct hf_record_key *key,
                             const struct hf_record_header *header, const uint8_t *in,
                             size_t in_len)
{
    uint8_t nonce[HF__AEAD_NONCE_LEN];
    uint8_t aad[HF__RECORD_AAD_MAX];
    uint8_t *body = out + EXPLICIT_NONCE_LEN;
    struct hf__aead aead;

    record_put_u64(out, header->seq);
    aead = record_aead(nonce, aad, key, header, out, in_len);
    *out_len = EXPLICIT_NONCE_LEN + in_len + aead.tag_len;
    if (key->cipher == HF_CIPHER_AES_128_GCM)
        return hf__gcm_seal(body, body + in_len, &aead, in, in_len);
    hf__ccm_seal(body, body + in_len, &aead, in, in_len);
    return true;
}

enum hf_status hf_record_seal(uint8_t *out, size_t *out_len, size_t out_max,
                              const struct hf_record_key *key,
                              const struct hf_record_header *header, const uint8_t *in,
                              size_t in_len)
{
    enum hf_cipher cipher = (enum hf_cipher)key->cipher;

    *out_len = 0;
    if (in_len > HF__PLAIN_LEN_MAX || out_max < in_len + hf_record_expansion(cipher))
        return HF_E_TOO_LONG;
    switch (cipher) {
    case HF_CIPHER_AES_128_CCM_8:
    case HF_CIPHER_AES_128_CCM:
    case HF_CIPHER_AES_128_GCM:
        HF__CRYPTO_ASSERT(record_seal_aead(out, out_len, key, header, in, in_len));
        return HF_OK;
    case HF_CIPHER_AES_128_CBC_SHA256:
        *out_len = hf__cbc_seal(out, key, header, in, in_len);
        return HF_OK;
    case HF_CIPHER_AES_128_CBC_SHA256_ETM:
        *out_len = hf__cbc_etm_seal(out, key, header, in, in_len);
        return HF_OK;
    case HF_CIPHER_NONE:
        break;
    }
    return HF_E_ARGUMENT;
}

static bool record_open_aead(size_t *plain_len, const struct hf_record_key *key,
                             const struct hf_record_header *header, uint8_t *data, size_t len)
{
    uint8_t nonce[HF__AEAD_NONCE_LEN];
    uint8_t aad[HF__RECORD_AAD_MAX];
    uint8_t *body = data + EXPLICIT_NONCE_LEN;
    size_t body_len = len - hf_record_expansion(key->cipher);
    struct hf__aead aead = record_aead(nonce, aad, key, header, data, body_len);

    *plain_len = body_len;
    if (key->cipher == HF_CIPHER_AES_128_GCM)
        return hf__gcm_open(body, body_len, &aead, body + body_len);
    return hf__ccm_open(body, body_len, &aead, body + body_len);
}

/* Dispatches a record that is long enough; false for one that does not authenticate. */
static bool record_open(size_t *plain_offset, size_t *plain_len, const struct hf_record_key *key,
                        const struct hf_record_header *header, uint8_t *data, size_t len)
{
    switch ((enum hf_cipher)key->cipher) {
    case HF_CIPHER_AES_128_CCM_8:
    case HF_CIPHER_AES_128_CCM:
    case HF_CIPHER_AES_128_GCM:
        *plain_offset = EXPLICIT_NONCE_LEN;
        return record_open_aead(plain_len, key, header, data, len);
    case HF_CIPHER_AES_128_CBC_SHA256:
        *plain_offset = CBC_IV_LEN;
        return hf__cbc_open(plain_len, key, header, data, len);
    case HF_CIPHER_AES_128_CBC_SHA256_ETM:
        *plain_offset = CBC_IV_LEN;
        return hf__cbc_etm_open(plain_len, key, header, data, len);
    case HF_CIPHER_NONE:
        break;
    }
    return false;
}

enum hf_status hf_record_open(size_t *plain_offset, size_t *plain_len,
                              const struct hf_record_key *key,
                              const struct hf_record_header *header, uint8_t *data, size_t len)
{
    *plain_offset = 0;
    *plain_len = 0;
    if (key->cipher == HF_CIPHER_NONE || key->cipher > HF_CIPHER_AES_128_CBC_SHA256_ETM ||
        len > HF__FRAGMENT_LEN_MAX)
        return HF_E_ARGUMENT;
    if (len >= hf_record_len_min(key->cipher) &&
        record_open(plain_offset, plain_len, key, header, data, len))
        return HF_OK;
    hf_wipe(data, len); // nothing of what did not authenticate is left to be read
    *plain_offset = 0;
    *plain_len = 0;
    return HF_E_BAD_RECORD_MAC;
}
