/**
 * hash.c - SHA-256, HMAC-SHA256 with its pads hashed beforehand, and hashes for tables.
 *
 * The compression function is BoringSSL's. HMAC is assembled here because a cached key is eight
 * words per pad: one compression each for a short message and for the outer hash, no context.
 */
#include "private.h"

#include <openssl/sha.h>
#include <openssl/siphash.h>

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(struct hf_sha256) >= sizeof(SHA256_CTX), "hf_sha256 holds a SHA256_CTX");
_Static_assert(_Alignof(struct hf_sha256) >= _Alignof(SHA256_CTX), "and aligns it");

#define SHA256_LENGTH_OFFSET 56

static SHA256_CTX *sha256_context(struct hf_sha256 *hash)
{
    return (SHA256_CTX *)(void *)hash->opaque;
}

void hf_sha256_init(struct hf_sha256 *hash)
{
    SHA256_Init(sha256_context(hash));
}

void hf_sha256_update(struct hf_sha256 *hash, const void *data, size_t len)
{
    SHA256_Update(sha256_context(hash), data, len);
}

void hf_sha256_final(uint8_t out[HF_SHA256_LEN], struct hf_sha256 *hash)
{
    SHA256_Final(out, sha256_context(hash));
}

void hf__sha256_blocks(uint32_t state[8], const uint8_t *data, size_t block_count)
{
    SHA256_TransformBlocks(state, data, block_count);
}

/* The state after one block of key and pad. */
static void hmac_pad(uint32_t out[8], const uint8_t key[HF__SHA256_BLOCK_LEN], uint8_t pad)
{
    uint8_t block[HF__SHA256_BLOCK_LEN];
    SHA256_CTX hash;

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = key[i] ^ pad;
    SHA256_Init(&hash);
    memcpy(out, hash.h, sizeof hash.h);
    hf__sha256_blocks(out, block, 1);
    hf_wipe(block, sizeof block);
}

void hf_hmac_key_init(struct hf_hmac_key *key, struct hf_bytes secret)
{
    uint8_t block[HF__SHA256_BLOCK_LEN] = {0};

    if (secret.len > sizeof block)
        SHA256(secret.data, secret.len, block);
    else if (secret.len > 0)
        memcpy(block, secret.data, secret.len);
    hmac_pad(key->inner, block, 0x36);
    hmac_pad(key->outer, block, 0x5c);
    hf_wipe(block, sizeof block);
}

void hf__hmac_outer(uint8_t out[HF_SHA256_LEN], const struct hf_hmac_key *key,
                    const uint32_t inner[8])
{
    uint8_t block[HF__SHA256_BLOCK_LEN] = {0};
    uint32_t state[8];

    for (size_t i = 0; i < 8; i++)
        hf__put_u32(block + 4 * i, inner[i]);
    block[HF_SHA256_LEN] = 0x80;
    hf__put_u32(block + SHA256_LENGTH_OFFSET + 4, 8 * (HF__SHA256_BLOCK_LEN + HF_SHA256_LEN));
    memcpy(state, key->outer, sizeof state);
    hf__sha256_blocks(state, block, 1);
    for (size_t i = 0; i < 8; i++)
        hf__put_u32(out + 4 * i, state[i]);
}

/* Ends a SHA-256 of `total` bytes, of which `used` wait in `block`. */
static void sha256_finish(uint32_t state[8], uint8_t block[2 * HF__SHA256_BLOCK_LEN], size_t used,
                          uint64_t total)
{
    size_t block_count = used < SHA256_LENGTH_OFFSET ? 1 : 2;
    uint8_t *length = block + block_count * HF__SHA256_BLOCK_LEN - 8;

    block[used] = 0x80;
    memset(block + used + 1, 0, (size_t)(length - block) - used - 1);
    hf__put_u32(length, (uint32_t)(total >> 29));
    hf__put_u32(length + 4, (uint32_t)(total << 3));
    hf__sha256_blocks(state, block, block_count);
}

void hf_hmac(uint8_t out[HF_SHA256_LEN], const struct hf_hmac_key *key,
             const struct hf_bytes *parts, size_t part_count)
{
    uint8_t block[2 * HF__SHA256_BLOCK_LEN];
    uint32_t state[8];
    uint64_t total = HF__SHA256_BLOCK_LEN;
    size_t used = 0;

    memcpy(state, key->inner, sizeof state);
    for (size_t i = 0; i < part_count; i++) {
        const uint8_t *data = parts[i].data;
        size_t left = parts[i].len;

        total += left;
        while (used + left >= HF__SHA256_BLOCK_LEN) {
            size_t take = HF__SHA256_BLOCK_LEN - used;

            if (used == 0) { // whole blocks straight from the caller
                take = left & ~(size_t)(HF__SHA256_BLOCK_LEN - 1);
                hf__sha256_blocks(state, data, take / HF__SHA256_BLOCK_LEN);
            } else {
                memcpy(block + used, data, take);
                hf__sha256_blocks(state, block, 1);
                used = 0;
            }
            data += take;
            left -= take;
        }
        if (left > 0)
            memcpy(block + used, data, left);
        used += left;
    }
    sha256_finish(state, block, used, total);
    hf__hmac_outer(out, key, state);
    hf_wipe(block, sizeof block); // A(i) of the PRF passes through here
    hf_wipe(state, sizeof state);
}

uint64_t hf_siphash(const uint64_t key[2], const void *data, size_t len)
{
    return SIPHASH_24(key, data, len);
}

uint64_t hf_xxh3(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}
