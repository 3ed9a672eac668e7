/**
 * seal.c - authenticated, deterministic encryption of small things that a peer keeps for us. The
 * nonce is a MAC of what is sealed (as in RFC 5297, with a cipher key derived per nonce), so that
 * no state, no counter and no random number generator stands between two tickets.
 */
#include "private.h"

#include <string.h>

#define NONCE_LEN 16
#define TAG_LEN 16

_Static_assert(NONCE_LEN + TAG_LEN == HF_SEAL_EXPANSION, "what a seal adds");

void hf_seal_key_init(struct hf_seal_key *key, struct hf_bytes secret, const char *label)
{
    static const uint8_t use[2] = {1, 2};
    struct hf_hmac_key root;
    uint8_t derived[HF_SHA256_LEN];
    hf_hmac_key_init(&root, secret);
    for (size_t i = 0; i < 2; i++) {
        const struct hf_bytes parts[] = {{(const uint8_t *)label, strlen(label)}, {&use[i], 1}};
        hf_hmac(derived, &root, parts, 2);
        hf_hmac_key_init(i == 0 ? &key->nonce_key : &key->cipher_key,
                         (struct hf_bytes){derived, sizeof derived});
    }
    hf_wipe(derived, sizeof derived);
    hf_wipe(&root, sizeof root);
}

/** Key and inner nonce for one sealed thing, from the nonce it carries. */
static void derive(uint8_t out[HF_SHA256_LEN], const struct hf_seal_key *key, const uint8_t *nonce)
{
    const struct hf_bytes parts[] = {{nonce, NONCE_LEN}};
    hf_hmac(out, &key->cipher_key, parts, 1);
}

static void make_nonce(uint8_t out[NONCE_LEN], const struct hf_seal_key *key, struct hf_bytes aad,
                       const uint8_t *in, size_t in_len)
{
    uint8_t mac[HF_SHA256_LEN];
    const uint64_t aad_len = aad.len;
    const struct hf_bytes parts[] = {
        {(const uint8_t *)&aad_len, sizeof aad_len}, aad, {in, in_len}};
    hf_hmac(mac, &key->nonce_key, parts, 3);
    memcpy(out, mac, NONCE_LEN);
}

void hf_seal(uint8_t *out, const struct hf_seal_key *key, struct hf_bytes aad, const uint8_t *in,
             size_t in_len)
{
    uint8_t derived[HF_SHA256_LEN];
    make_nonce(out, key, aad, in, in_len);
    derive(derived, key, out);
    const struct hf__aead aead = {
        .key = derived, .nonce = derived + HF__AES_KEY_LEN, .aad = aad, .tag_len = TAG_LEN};
    bool is_sealed = hf__gcm_seal(out + NONCE_LEN, out + NONCE_LEN + in_len, &aead, in, in_len);
    HF__CRYPTO_ASSERT(is_sealed);
    hf_wipe(derived, sizeof derived);
}

bool hf_unseal(uint8_t *out, const struct hf_seal_key *key, struct hf_bytes aad, const uint8_t *in,
               size_t in_len)
{
    if (in_len < HF_SEAL_EXPANSION)
        return false;
    size_t len = in_len - HF_SEAL_EXPANSION;
    uint8_t derived[HF_SHA256_LEN];
    derive(derived, key, in);
    const struct hf__aead aead = {
        .key = derived, .nonce = derived + HF__AES_KEY_LEN, .aad = aad, .tag_len = TAG_LEN};
    memcpy(out, in + NONCE_LEN, len);
    bool is_ours = hf__gcm_open(out, len, &aead, in + NONCE_LEN + len);
    hf_wipe(derived, sizeof derived);
    return is_ours;
}
