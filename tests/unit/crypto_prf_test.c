/**
 * crypto_prf_test.c - the PRF, premaster and master secrets and key blocks against known answers,
 * computed by a separate implementation from the RFCs' formulas.
 */
#include "crypto.h"
#include "json_vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* psk 00..1f, master 00..2f, client random 40..5f, server random 60..7f, transcript hash 80..9f. */
struct inputs {
    uint8_t psk[32];
    uint8_t master[HF_MASTER_SECRET_LEN];
    uint8_t client_random[HF_RANDOM_LEN];
    uint8_t server_random[HF_RANDOM_LEN];
    uint8_t session_hash[HF_SHA256_LEN];
};
static struct inputs inputs;

static void count_up(uint8_t *out, size_t len, uint8_t from)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(from + i);
}

static int inputs_init(void **state)
{
    (void)state;
    count_up(inputs.psk, sizeof inputs.psk, 0);
    count_up(inputs.master, sizeof inputs.master, 0);
    count_up(inputs.client_random, sizeof inputs.client_random, 0x40);
    count_up(inputs.server_random, sizeof inputs.server_random, 0x60);
    count_up(inputs.session_hash, sizeof inputs.session_hash, 0x80);
    return 0;
}

static void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    uint8_t wanted[512];

    assert_int_equal(hex_read(wanted, sizeof wanted, hex), len);
    assert_memory_equal(data, wanted, len);
}

static struct hf_hmac_key master_key(void)
{
    struct hf_hmac_key key;

    hf_hmac_key_init(&key, (struct hf_bytes){inputs.master, sizeof inputs.master});
    return key;
}

/* The vector for P_SHA256 that circulated on the IETF TLS list. */
static void prf_tls_list_vector(void **state)
{
    uint8_t secret[16];
    uint8_t seed[16];
    uint8_t out[100];
    struct hf_bytes part = {seed, hex_read(seed, sizeof seed, "a0ba9f936cda311827a6f796ffd5198c")};
    struct hf_hmac_key key;

    (void)state;
    hex_read(secret, sizeof secret, "9bbe436ba940f017b17652849a71db35");
    hf_hmac_key_init(&key, (struct hf_bytes){secret, sizeof secret});
    hf_prf(out, sizeof out, &key, "test label", &part, 1);
    assert_hex(out, sizeof out,
               "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9"
               "c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789ba"
               "a48082d122ee42c5a72e5a5110fff70187347b66");
}

static void exporter_known_answers(void **state)
{
    static const char *const answers[][2] = {
        {"EXPORTER-oneM2M-Bootstrap",
         "4a1846d512fb975cb65f31122915e463"
         "a9a8db3d84a8fd1ea9bad772c5656752e771f9d15c390f24f826ca4c1f9e872c"},
        {"EXPORTER-oneM2M-Connection",
         "b35ee1b3fda6fbe0ca3e84527d2706d8"
         "1e4933dce002eabff310b0893ca1ca54992a372566702e2fa7460e6e11a22a2e"},
        {"EXPORTER-oneM2M-ESCertKE",
         "9c1759ccef46f334a01dc9ffc106be51"
         "28dbcb28e58c820aa3f40c0ebb42ae7ca9a7b0eb8e781a74566ed0a3b8e5bf69"},
    };
    const struct hf_bytes seeds[] = {{inputs.client_random, HF_RANDOM_LEN},
                                     {inputs.server_random, HF_RANDOM_LEN}};
    struct hf_hmac_key key = master_key();
    uint8_t out[48];

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        hf_prf(out, sizeof out, &key, answers[i][0], seeds, 2);
        assert_hex(out, sizeof out, answers[i][1]);
    }
}

static void prf_verify_data(void **state)
{
    const struct hf_bytes seed = {inputs.session_hash, sizeof inputs.session_hash};
    struct hf_hmac_key key = master_key();
    uint8_t out[HF_VERIFY_DATA_LEN];

    (void)state;
    hf_prf(out, sizeof out, &key, "client finished", &seed, 1);
    assert_hex(out, sizeof out, "93bcbe2d54453ff5a981f12d");
}

static void prf_outputs_are_prefixes(void **state)
{
    const struct hf_bytes seeds[] = {{inputs.client_random, 5}, {inputs.server_random, 0},
                                     {inputs.psk, 7},           {inputs.psk, 8},
                                     {inputs.psk, 9},           {inputs.master, 48}};
    struct hf_hmac_key key = master_key();
    uint8_t whole[260];
    uint8_t out[260 + 1];

    (void)state;
    hf_prf(whole, sizeof whole, &key, "label", seeds, 6);
    for (size_t len = 0; len <= sizeof whole; len++) {
        memset(out, 0xee, sizeof out);
        hf_prf(out, len, &key, "label", seeds, 6);
        assert_memory_equal(out, whole, len);
        assert_int_equal(out[len], 0xee);
    }
}

static void premaster_known_answer(void **state)
{
    struct hf_secret premaster;

    (void)state;
    assert_int_equal(hf_psk_premaster(&premaster, (struct hf_bytes){inputs.psk, sizeof inputs.psk}),
                     HF_OK);
    assert_hex(premaster.data, premaster.len,
               "0020000000000000000000000000000000000000000000000000000000000000000000200001020304"
               "05060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
}

static void premaster_bounds(void **state)
{
    uint8_t psk[65];
    struct hf_secret premaster;

    (void)state;
    memset(psk, 0xab, sizeof psk);
    for (size_t len = 1; len <= 64; len++) {
        assert_int_equal(hf_psk_premaster(&premaster, (struct hf_bytes){psk, len}), HF_OK);
        assert_int_equal(premaster.len, 4 + 2 * len);
        assert_int_equal(premaster.data[1], len);
        assert_int_equal(premaster.data[2 + len - 1], 0);
        assert_int_equal(premaster.data[2 + len + 1], len);
        assert_int_equal(premaster.data[4 + 2 * len - 1], 0xab);
    }
    assert_int_equal(hf_psk_premaster(&premaster, (struct hf_bytes){psk, 65}), HF_E_ARGUMENT);
    assert_int_equal(hf_psk_premaster(&premaster, (struct hf_bytes){NULL, 0}), HF_E_ARGUMENT);
}

static void master_secret_known_answers(void **state)
{
    uint8_t out[HF_MASTER_SECRET_LEN];
    struct hf_secret premaster;

    (void)state;
    assert_int_equal(hf_psk_premaster(&premaster, (struct hf_bytes){inputs.psk, sizeof inputs.psk}),
                     HF_OK);
    hf_master_secret(out, &premaster, inputs.client_random, inputs.server_random, NULL);
    assert_hex(out, sizeof out,
               "834e39b9f40dccb6ebf6b480d479c0fed158a291c90817ace1977b427f556b1e6d572c63ef8b3eae"
               "37449a9ec634beb2");
    hf_master_secret(out, &premaster, inputs.client_random, inputs.server_random,
                     inputs.session_hash);
    assert_hex(out, sizeof out,
               "b8d1cb3263ffa7422ed48707d5f60e93c8ae2feb032a97f5d4000b48fc8d026e467fe87a59d760df"
               "e413c00351c01fed");
}

static void key_block_cbc(void **state)
{
    const enum hf_cipher ciphers[] = {HF_CIPHER_AES_128_CBC_SHA256,
                                      HF_CIPHER_AES_128_CBC_SHA256_ETM};
    const uint8_t no_iv[4] = {0};
    struct hf_hmac_key master = master_key();
    struct hf_record_key client;
    struct hf_record_key server;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        hf_record_keys_derive(&client, &server, ciphers[i], &master, inputs.client_random,
                              inputs.server_random);
        assert_int_equal(client.cipher, ciphers[i]);
        assert_int_equal(server.cipher, ciphers[i]);
        assert_hex(client.mac_key, sizeof client.mac_key,
                   "423c50f2f6b72c3836113ba32c7996015c603cd23c2778884a8cd4c5bd1f53e5");
        assert_hex(server.mac_key, sizeof server.mac_key,
                   "53838d6edc7e8f68699197bd1fd81d29433db3f4a4f76d8568f9824a88d5ec02");
        assert_hex(client.key, sizeof client.key, "00ab5d40503963e647cca0c7fa88ca31");
        assert_hex(server.key, sizeof server.key, "7ef4f53a6636d6929f588037221cb850");
        assert_memory_equal(client.fixed_iv, no_iv, sizeof no_iv);
        assert_memory_equal(server.fixed_iv, no_iv, sizeof no_iv);
    }
}

static void key_block_aead(void **state)
{
    const enum hf_cipher ciphers[] = {HF_CIPHER_AES_128_CCM_8, HF_CIPHER_AES_128_CCM,
                                      HF_CIPHER_AES_128_GCM};
    const uint8_t no_mac[32] = {0};
    struct hf_hmac_key master = master_key();
    struct hf_record_key client;
    struct hf_record_key server;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        hf_record_keys_derive(&client, &server, ciphers[i], &master, inputs.client_random,
                              inputs.server_random);
        assert_int_equal(client.cipher, ciphers[i]);
        assert_int_equal(server.cipher, ciphers[i]);
        assert_hex(client.key, sizeof client.key, "423c50f2f6b72c3836113ba32c799601");
        assert_hex(server.key, sizeof server.key, "5c603cd23c2778884a8cd4c5bd1f53e5");
        assert_hex(client.fixed_iv, sizeof client.fixed_iv, "53838d6e");
        assert_hex(server.fixed_iv, sizeof server.fixed_iv, "dc7e8f68");
        assert_memory_equal(client.mac_key, no_mac, sizeof no_mac);
        assert_memory_equal(server.mac_key, no_mac, sizeof no_mac);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prf_tls_list_vector),
        cmocka_unit_test(exporter_known_answers),
        cmocka_unit_test(prf_verify_data),
        cmocka_unit_test(prf_outputs_are_prefixes),
        cmocka_unit_test(premaster_known_answer),
        cmocka_unit_test(premaster_bounds),
        cmocka_unit_test(master_secret_known_answers),
        cmocka_unit_test(key_block_cbc),
        cmocka_unit_test(key_block_aead),
    };

    return cmocka_run_group_tests(tests, inputs_init, NULL);
}
