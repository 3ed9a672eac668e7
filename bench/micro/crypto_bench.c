/**
 * crypto_bench.c - what hashing, key derivation and single records cost, from raw keys and with no
 * context kept between calls, as the engine uses them.
 */
#include "benchmark_c.h"
#include "crypto.h"

#include <stdio.h>
#include <string.h>

#define RECORD_LEN_MAX (16384 + HF_RECORD_EXPANSION_MAX)

static const struct hf_record_header header = {.seq = 1ull << 48, .version = 0xfefd, .type = 23};
static uint8_t data[RECORD_LEN_MAX];
static uint8_t randoms[2][HF_RANDOM_LEN];
static struct hf_hmac_key hmac_key;
static struct hf_secret premaster;

static void bench_sha256(struct bench_state *state, int64_t len)
{
    uint8_t out[HF_SHA256_LEN];

    while (bench_running(state)) {
        struct hf_sha256 hash;

        hf_sha256_init(&hash);
        hf_sha256_update(&hash, data, (size_t)len);
        hf_sha256_final(out, &hash);
        bench_keep(out);
    }
    bench_bytes(state, (size_t)len);
}

static void bench_hmac(struct bench_state *state, int64_t len)
{
    const struct hf_bytes part = {data, (size_t)len};
    uint8_t out[HF_SHA256_LEN];

    while (bench_running(state)) {
        hf_hmac(out, &hmac_key, &part, 1);
        bench_keep(out);
    }
    bench_bytes(state, (size_t)len);
}

static void bench_hmac_key(struct bench_state *state, int64_t len)
{
    struct hf_hmac_key key;

    while (bench_running(state)) {
        hf_hmac_key_init(&key, (struct hf_bytes){data, (size_t)len});
        bench_keep(&key);
    }
}

/* Finished: 12 bytes from a transcript hash. */
static void bench_verify_data(struct bench_state *state, int64_t arg)
{
    const struct hf_bytes seed = {randoms[0], HF_SHA256_LEN};
    uint8_t out[HF_VERIFY_DATA_LEN];

    (void)arg;
    while (bench_running(state)) {
        hf_prf(out, sizeof out, &hmac_key, "client finished", &seed, 1);
        bench_keep(out);
    }
}

static void bench_master_secret(struct bench_state *state, int64_t extended)
{
    uint8_t out[HF_MASTER_SECRET_LEN];

    while (bench_running(state)) {
        hf_master_secret(out, &premaster, randoms[0], randoms[1], extended ? randoms[0] : NULL);
        bench_keep(out);
    }
}

static void bench_key_block(struct bench_state *state, int64_t cipher)
{
    struct hf_record_key client;
    struct hf_record_key server;

    while (bench_running(state)) {
        hf_record_keys_derive(&client, &server, (enum hf_cipher)cipher, &hmac_key, randoms[0],
                              randoms[1]);
        bench_keep(&client);
        bench_keep(&server);
    }
}

/* The argument of a record bench: cipher and length in one. */
static int64_t record_arg(enum hf_cipher cipher, size_t len)
{
    return (int64_t)cipher << 32 | (int64_t)len;
}

static struct hf_record_key record_key(int64_t arg)
{
    struct hf_record_key key;

    memset(&key, 0x5c, sizeof key);
    key.cipher = (uint8_t)(arg >> 32);
    return key;
}

static void bench_seal(struct bench_state *state, int64_t arg)
{
    static uint8_t out[RECORD_LEN_MAX];
    struct hf_record_key key = record_key(arg);
    size_t len = (uint32_t)arg;
    size_t out_len;

    while (bench_running(state)) {
        if (hf_record_seal(out, &out_len, sizeof out, &key, &header, data, len) != HF_OK)
            bench_fail(state, "seal");
        bench_keep(out);
    }
    bench_bytes(state, len);
}

/* A copy of the record per round is part of the price: opening works in place. */
static void bench_open(struct bench_state *state, int64_t arg)
{
    static uint8_t sealed[RECORD_LEN_MAX];
    static uint8_t opened[RECORD_LEN_MAX];
    struct hf_record_key key = record_key(arg);
    size_t len = (uint32_t)arg;
    size_t sealed_len = 0;
    size_t offset;

    if (hf_record_seal(sealed, &sealed_len, sizeof sealed, &key, &header, data, len) != HF_OK)
        bench_fail(state, "seal");
    while (bench_running(state)) {
        size_t out_len;

        memcpy(opened, sealed, sealed_len);
        if (hf_record_open(&offset, &out_len, &key, &header, opened, sealed_len) != HF_OK ||
            out_len != len)
            bench_fail(state, "open");
        bench_keep(opened);
    }
    bench_bytes(state, len);
}

static void bench_siphash(struct bench_state *state, int64_t len)
{
    const uint64_t key[2] = {1, 2};

    while (bench_running(state)) {
        uint64_t value = hf_siphash(key, data, (size_t)len);

        bench_keep(&value);
    }
}

static void bench_xxh3(struct bench_state *state, int64_t len)
{
    while (bench_running(state)) {
        uint64_t value = hf_xxh3(data, (size_t)len);

        bench_keep(&value);
    }
}

static void bench_random(struct bench_state *state, int64_t len)
{
    static uint8_t out[4096];

    while (bench_running(state)) {
        hf_random(out, (size_t)len);
        bench_keep(out);
    }
}

static void add_records(void)
{
    static const struct {
        enum hf_cipher cipher;
        const char *name;
    } ciphers[] = {
        {HF_CIPHER_AES_128_CCM_8, "ccm_8"},
        {HF_CIPHER_AES_128_CCM, "ccm"},
        {HF_CIPHER_AES_128_GCM, "gcm"},
        {HF_CIPHER_AES_128_CBC_SHA256, "cbc_sha256"},
        {HF_CIPHER_AES_128_CBC_SHA256_ETM, "cbc_sha256_etm"},
    };
    static const unsigned lens[] = {64, 1024, 16384};
    char name[64];

    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++) {
        snprintf(name, sizeof name, "key_block/%s", ciphers[i].name);
        bench_add(name, bench_key_block, ciphers[i].cipher);
        for (size_t j = 0; j < sizeof lens / sizeof lens[0]; j++) {
            snprintf(name, sizeof name, "seal/%s/%u", ciphers[i].name, lens[j]);
            bench_add(name, bench_seal, record_arg(ciphers[i].cipher, lens[j]));
            snprintf(name, sizeof name, "open/%s/%u", ciphers[i].name, lens[j]);
            bench_add(name, bench_open, record_arg(ciphers[i].cipher, lens[j]));
        }
    }
}

int main(int argc, char **argv)
{
    uint8_t psk[32];

    memset(psk, 0x3a, sizeof psk);
    memset(data, 0x17, sizeof data);
    if (hf_psk_premaster(&premaster, (struct hf_bytes){psk, sizeof psk}) != HF_OK)
        return 1;
    hf_hmac_key_init(&hmac_key, (struct hf_bytes){data, HF_MASTER_SECRET_LEN});
    bench_add("sha256/64", bench_sha256, 64);
    bench_add("sha256/1024", bench_sha256, 1024);
    bench_add("hmac_key/32", bench_hmac_key, 32);
    bench_add("hmac/64", bench_hmac, 64);
    bench_add("hmac/1024", bench_hmac, 1024);
    bench_add("prf/verify_data", bench_verify_data, 0);
    bench_add("master_secret/rfc5246", bench_master_secret, 0);
    bench_add("master_secret/extended", bench_master_secret, 1);
    add_records();
    bench_add("siphash/18", bench_siphash, 18);
    bench_add("siphash/64", bench_siphash, 64);
    bench_add("xxh3/16", bench_xxh3, 16);
    bench_add("random/16", bench_random, 16);
    bench_add("random/32", bench_random, 32);
    return bench_main(argc, argv);
}
