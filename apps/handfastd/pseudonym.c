/**
 * pseudonym.c - SipHash-2-4 under a salt. 64 bits tell identities apart in a log; who does not have
 * the salt cannot test guesses of an identity against them.
 */
#include "pseudonym.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static uint64_t salt[2];

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint64_t sip_hash(const uint64_t key[2], struct hf_bytes data)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    for (size_t at = 0; at <= data.len; at += 8) {
        uint64_t word = 0;
        size_t left = data.len - at;
        for (size_t i = 0; i < 8 && i < left; i++)
            word |= (uint64_t)data.data[at + i] << (8 * i);
        if (left < 8)
            word |= (uint64_t)(data.len & 0xFF) << 56;
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xFF;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

bool hf_pseudonym_salt(const char *text)
{
    if (text[0] == '\0')
        return getrandom(salt, sizeof(salt), 0) == (ssize_t)sizeof(salt);
    struct hf_bytes bytes = {(const uint8_t *)text, strlen(text)};
    salt[0] = sip_hash((const uint64_t[2]){1, 0}, bytes);
    salt[1] = sip_hash((const uint64_t[2]){2, 0}, bytes);
    return true;
}

char *hf_pseudonym_text(char out[HF_PSEUDONYM_TEXT_MAX], struct hf_bytes identity)
{
    snprintf(out, HF_PSEUDONYM_TEXT_MAX, "~%016" PRIx64, sip_hash(salt, identity));
    return out;
}
