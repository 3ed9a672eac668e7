/**
 * prf.c - the TLS 1.2 PRF and what is derived with it: master secret and key block. Knows no
 * handshake: the caller brings the label and the hash.
 */
#include "private.h"

#include <string.h>

#define PRF_SEED_COUNT_MAX 6

void hf_prf(uint8_t *out, size_t out_len, const struct hf_hmac_key *secret, const char *label,
            const struct hf_bytes *seeds, size_t seed_count)
{
    struct hf_bytes parts[2 + PRF_SEED_COUNT_MAX]; // A(i), label, seeds
    uint8_t a[HF_SHA256_LEN];
    uint8_t last[HF_SHA256_LEN];

    HF__CRYPTO_ASSERT(seed_count <= PRF_SEED_COUNT_MAX);
    parts[0] = (struct hf_bytes){a, sizeof a};
    parts[1] = (struct hf_bytes){(const uint8_t *)label, strlen(label)};
    for (size_t i = 0; i < seed_count; i++)
        parts[2 + i] = seeds[i];

    hf_hmac(a, secret, parts + 1, 1 + seed_count);
    while (out_len >= HF_SHA256_LEN) {
        hf_hmac(out, secret, parts, 2 + seed_count);
        out += HF_SHA256_LEN;
        out_len -= HF_SHA256_LEN;
        if (out_len > 0)
            hf_hmac(a, secret, parts, 1);
    }
    if (out_len > 0) {
        hf_hmac(last, secret, parts, 2 + seed_count);
        memcpy(out, last, out_len);
        hf_wipe(last, sizeof last);
    }
    hf_wipe(a, sizeof a);
}

enum hf_status hf_psk_premaster(struct hf_secret *out, struct hf_bytes psk)
{
    uint8_t *at = out->data;

    if (psk.len == 0 || psk.len > (HF_SECRET_LEN_MAX - 4) / 2)
        return HF_E_ARGUMENT;
    *at++ = 0;
    *at++ = (uint8_t)psk.len;
    memset(at, 0, psk.len);
    at += psk.len;
    *at++ = 0;
    *at++ = (uint8_t)psk.len;
    memcpy(at, psk.data, psk.len);
    out->len = (uint16_t)(4 + 2 * psk.len);
    return HF_OK;
}

void hf_master_secret(uint8_t out[HF_MASTER_SECRET_LEN], const struct hf_secret *premaster,
                      const uint8_t client_random[HF_RANDOM_LEN],
                      const uint8_t server_random[HF_RANDOM_LEN], const uint8_t *session_hash)
{
    const struct hf_bytes randoms[] = {{client_random, HF_RANDOM_LEN},
                                       {server_random, HF_RANDOM_LEN}};
    const struct hf_bytes transcript = {session_hash, HF_SHA256_LEN};
    struct hf_hmac_key key;

    hf_hmac_key_init(&key, (struct hf_bytes){premaster->data, premaster->len});
    if (session_hash)
        hf_prf(out, HF_MASTER_SECRET_LEN, &key, "extended master secret", &transcript, 1);
    else
        hf_prf(out, HF_MASTER_SECRET_LEN, &key, "master secret", randoms, 2);
    hf_wipe(&key, sizeof key);
}

static bool prf_cipher_has_mac_key(enum hf_cipher cipher)
{
    return cipher == HF_CIPHER_AES_128_CBC_SHA256 || cipher == HF_CIPHER_AES_128_CBC_SHA256_ETM;
}

void hf_record_keys_derive(struct hf_record_key *client_write, struct hf_record_key *server_write,
                           enum hf_cipher cipher, const struct hf_hmac_key *master,
                           const uint8_t client_random[HF_RANDOM_LEN],
                           const uint8_t server_random[HF_RANDOM_LEN])
{
    const struct hf_bytes seeds[] = {{server_random, HF_RANDOM_LEN},
                                     {client_random, HF_RANDOM_LEN}};
    struct hf_record_key *keys[] = {client_write, server_write};
    uint8_t block[2 * (sizeof client_write->mac_key + sizeof client_write->key)];
    size_t mac_key_len = prf_cipher_has_mac_key(cipher) ? sizeof client_write->mac_key : 0;
    size_t iv_len = mac_key_len > 0 ? 0 : sizeof client_write->fixed_iv;
    size_t key_len = sizeof client_write->key;

    hf_prf(block, 2 * (mac_key_len + key_len + iv_len), master, "key expansion", seeds, 2);
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *at = block;

        memset(keys[i], 0, sizeof *keys[i]);
        keys[i]->cipher = (uint8_t)cipher;
        memcpy(keys[i]->mac_key, at + i * mac_key_len, mac_key_len);
        at += 2 * mac_key_len;
        memcpy(keys[i]->key, at + i * key_len, key_len);
        at += 2 * key_len;
        memcpy(keys[i]->fixed_iv, at + i * iv_len, iv_len);
    }
    hf_wipe(block, sizeof block);
}
