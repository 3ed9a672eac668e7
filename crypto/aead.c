/**
 * aead.c - AES-128-CCM with L = 3 (RFC 3610, RFC 6655) and AES-128-GCM. Knows no records: nonce
 * and AAD come ready.
 *
 * BoringSSL has no CCM with this L, so CBC-MAC and counter mode are put together from its AES.
 */
#include "private.h"

#include <openssl/aead.h>
#include <openssl/aes.h>

#include <string.h>

#define BLOCK HF__AES_BLOCK_LEN
#define CCM_L 3
#define CCM_CHUNK_LEN 512u

/* A CBC-MAC under way. `scratch` collects input blocks and takes the ciphertext nobody needs. */
struct ccm_mac {
    uint8_t state[BLOCK];
    uint8_t scratch[CCM_CHUNK_LEN];
    size_t used; /* bytes waiting in `scratch`, a partial chunk */
};

static void ccm_mac_flush(struct ccm_mac *mac, const AES_KEY *key)
{
    size_t padded = (mac->used + BLOCK - 1) & ~(size_t)(BLOCK - 1);

    if (padded == 0)
        return;
    memset(mac->scratch + mac->used, 0, padded - mac->used);
    AES_cbc_encrypt(mac->scratch, mac->scratch, padded, key, mac->state, AES_ENCRYPT);
    mac->used = 0;
}

static void ccm_mac_update(struct ccm_mac *mac, const AES_KEY *key, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t take = CCM_CHUNK_LEN - mac->used;

        if (take > len)
            take = len;
        memcpy(mac->scratch + mac->used, data, take);
        mac->used += take;
        data += take;
        len -= take;
        if (mac->used == CCM_CHUNK_LEN)
            ccm_mac_flush(mac, key);
    }
}

static void ccm_mac_align(struct ccm_mac *mac)
{
    size_t padded = (mac->used + BLOCK - 1) & ~(size_t)(BLOCK - 1);

    memset(mac->scratch + mac->used, 0, padded - mac->used);
    mac->used = padded;
}

/* B_0, the length and the bytes of the AAD, the message (RFC 3610 2.2). */
static void ccm_tag(struct ccm_mac *mac, const AES_KEY *key, const struct hf__aead *aead,
                    const uint8_t *plain, size_t len)
{
    uint8_t *b = mac->scratch;

    memset(mac->state, 0, sizeof mac->state);
    b[0] = (uint8_t)((aead->aad.len > 0 ? 0x40 : 0) | (aead->tag_len - 2) << 2 | (CCM_L - 1));
    memcpy(b + 1, aead->nonce, HF__AEAD_NONCE_LEN);
    b[13] = (uint8_t)(len >> 16);
    b[14] = (uint8_t)(len >> 8);
    b[15] = (uint8_t)len;
    mac->used = BLOCK;
    if (aead->aad.len > 0) {
        b[16] = (uint8_t)(aead->aad.len >> 8);
        b[17] = (uint8_t)aead->aad.len;
        mac->used += 2;
        ccm_mac_update(mac, key, aead->aad.data, aead->aad.len);
        ccm_mac_align(mac);
    }
    ccm_mac_update(mac, key, plain, len);
    ccm_mac_flush(mac, key);
}

/* Counter mode over the data (A_1 on); writes S_0, which masks the tag, to `mask`. */
static void ccm_crypt(uint8_t *out, uint8_t mask[BLOCK], const AES_KEY *key,
                      const struct hf__aead *aead, const uint8_t *in, size_t len)
{
    uint8_t counter[BLOCK] = {CCM_L - 1};
    uint8_t stream[BLOCK];
    unsigned used = 0;

    memcpy(counter + 1, aead->nonce, HF__AEAD_NONCE_LEN);
    AES_encrypt(counter, mask, key);
    counter[BLOCK - 1] = 1;
    if (len > 0)
        AES_ctr128_encrypt(in, out, len, key, counter, stream, &used);
    hf_wipe(stream, sizeof stream);
}

void hf__ccm_seal(uint8_t *out, uint8_t *tag, const struct hf__aead *aead, const uint8_t *in,
                  size_t in_len)
{
    struct ccm_mac mac;
    uint8_t mask[BLOCK];
    AES_KEY key;

    HF__CRYPTO_ASSERT(in_len < 1u << 24 && aead->aad.len < 0xff00);
    AES_set_encrypt_key(aead->key, 8 * HF__AES_KEY_LEN, &key);
    ccm_tag(&mac, &key, aead, in, in_len);
    ccm_crypt(out, mask, &key, aead, in, in_len);
    for (size_t i = 0; i < aead->tag_len; i++)
        tag[i] = mac.state[i] ^ mask[i];
    hf_wipe(&key, sizeof key);
    hf_wipe(mac.state, sizeof mac.state);
    hf_wipe(mask, sizeof mask);
}

bool hf__ccm_open(uint8_t *data, size_t len, const struct hf__aead *aead, const uint8_t *tag)
{
    struct ccm_mac mac;
    uint8_t mask[BLOCK];
    AES_KEY key;
    bool good;

    HF__CRYPTO_ASSERT(len < 1u << 24 && aead->aad.len < 0xff00);
    AES_set_encrypt_key(aead->key, 8 * HF__AES_KEY_LEN, &key);
    ccm_crypt(data, mask, &key, aead, data, len);
    ccm_tag(&mac, &key, aead, data, len);
    for (size_t i = 0; i < aead->tag_len; i++)
        mask[i] ^= mac.state[i];
    good = hf_ct_equal(mask, tag, aead->tag_len) || HF_FUZZ_ACCEPT;
    if (!good)
        hf_wipe(data, len);
    hf_wipe(&key, sizeof key);
    hf_wipe(mac.state, sizeof mac.state);
    hf_wipe(mask, sizeof mask); // the tag that would have been right
    return good;
}

bool hf__gcm_seal(uint8_t *out, uint8_t *tag, const struct hf__aead *aead, const uint8_t *in,
                  size_t in_len)
{
    EVP_AEAD_CTX context;
    size_t tag_len;
    bool done;

    done = EVP_AEAD_CTX_init(&context, EVP_aead_aes_128_gcm(), aead->key, HF__AES_KEY_LEN,
                             aead->tag_len, NULL) &&
           EVP_AEAD_CTX_seal_scatter(&context, out, tag, &tag_len, aead->tag_len, aead->nonce,
                                     HF__AEAD_NONCE_LEN, in, in_len, NULL, 0, aead->aad.data,
                                     aead->aad.len);
    EVP_AEAD_CTX_cleanup(&context);
    hf_wipe(&context, sizeof context);
    return done;
}

bool hf__gcm_open(uint8_t *data, size_t len, const struct hf__aead *aead, const uint8_t *tag)
{
    uint8_t ignored[BLOCK];
    EVP_AEAD_CTX context;
    int done;

    if (HF_FUZZ_ACCEPT) // counter mode is its own inverse: sealing it decrypts, whatever the tag
        return hf__gcm_seal(data, ignored, aead, data, len);
    done = EVP_AEAD_CTX_init(&context, EVP_aead_aes_128_gcm(), aead->key, HF__AES_KEY_LEN,
                             aead->tag_len, NULL) &&
           EVP_AEAD_CTX_open_gather(&context, data, aead->nonce, HF__AEAD_NONCE_LEN, data, len, tag,
                                    aead->tag_len, aead->aad.data, aead->aad.len);
    hf_ct_public(&done, sizeof done);
    if (!done)
        hf_wipe(data, len);
    EVP_AEAD_CTX_cleanup(&context);
    hf_wipe(&context, sizeof context);
    return done != 0;
}
