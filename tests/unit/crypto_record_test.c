/**
 * crypto_record_test.c - sealing and opening with every cipher: round trips, what is on the wire,
 * every flipped bit, every truncation, every wrong header, and the limits.
 */
#include "private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PLAIN_LEN_MAX 16384
#define RECORD_LEN_MAX (PLAIN_LEN_MAX + 2048)

static const enum hf_cipher all_ciphers[] = {
    HF_CIPHER_AES_128_CCM_8,
    HF_CIPHER_AES_128_CCM,
    HF_CIPHER_AES_128_GCM,
    HF_CIPHER_AES_128_CBC_SHA256,
    HF_CIPHER_AES_128_CBC_SHA256_ETM,
};
#define CIPHER_COUNT (sizeof all_ciphers / sizeof all_ciphers[0])

static const struct hf_record_header header = {
    .seq = 0x0001000000000005u, .version = 0xfefd, .type = 23};
static uint8_t plain[PLAIN_LEN_MAX];
static uint8_t sealed[RECORD_LEN_MAX];
static uint8_t opened[RECORD_LEN_MAX + 1];

static int plain_init(void **state)
{
    (void)state;
    hf_random(plain, sizeof plain);
    return 0;
}

static bool is_cbc(enum hf_cipher cipher)
{
    return cipher == HF_CIPHER_AES_128_CBC_SHA256 || cipher == HF_CIPHER_AES_128_CBC_SHA256_ETM;
}

static struct hf_record_key random_key(enum hf_cipher cipher)
{
    struct hf_record_key key;

    hf_random(&key, sizeof key);
    key.cipher = (uint8_t)cipher;
    return key;
}

static size_t seal(const struct hf_record_key *key, size_t len)
{
    size_t sealed_len = 0;
    size_t most = len + hf_record_expansion(key->cipher);

    memset(sealed, 0xee, sizeof sealed);
    assert_int_equal(hf_record_seal(sealed, &sealed_len, most, key, &header, plain, len), HF_OK);
    assert_in_range(sealed_len, hf_record_len_min(key->cipher), most);
    if (most < sizeof sealed)
        assert_int_equal(sealed[most], 0xee);
    return sealed_len;
}

/* Opens a copy that must not authenticate. */
static void assert_refused(const struct hf_record_key *key, const struct hf_record_header *with,
                           size_t len)
{
    size_t offset = 77;
    size_t out_len = 77;

    memcpy(opened, sealed, len);
    opened[len] = 0xee;
    assert_int_equal(hf_record_open(&offset, &out_len, key, with, opened, len),
                     HF_E_BAD_RECORD_MAC);
    assert_int_equal(offset, 0);
    assert_int_equal(out_len, 0);
    assert_int_equal(opened[len], 0xee);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(opened[i], 0);
}

static void assert_opens(const struct hf_record_key *key, size_t len, size_t plain_len)
{
    size_t offset;
    size_t out_len;

    memcpy(opened, sealed, len);
    opened[len] = 0xee;
    assert_int_equal(hf_record_open(&offset, &out_len, key, &header, opened, len), HF_OK);
    assert_int_equal(out_len, plain_len);
    assert_true(offset + out_len <= len);
    assert_memory_equal(opened + offset, plain, plain_len);
    assert_int_equal(opened[len], 0xee);
}

static void round_trips_of_every_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);

        for (size_t len = 0; len <= 600; len++)
            assert_opens(&key, seal(&key, len), len);
        for (size_t len = PLAIN_LEN_MAX - 33; len <= PLAIN_LEN_MAX; len++)
            assert_opens(&key, seal(&key, len), len);
    }
}

static void lengths_on_the_wire(void **state)
{
    static const size_t expansions[CIPHER_COUNT] = {16, 24, 24, 64, 64};

    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);
        size_t min = hf_record_len_min(all_ciphers[i]);

        assert_int_equal(hf_record_expansion(all_ciphers[i]), expansions[i]);
        assert_true(expansions[i] <= HF_RECORD_EXPANSION_MAX);
        assert_int_equal(seal(&key, 0), min);
        // No cipher is wasteful: least padding, and none for an AEAD.
        for (size_t len = 0; len < 64; len++) {
            size_t wanted = len + expansions[i];

            if (all_ciphers[i] == HF_CIPHER_AES_128_CBC_SHA256)
                wanted = 16 + (len + 32) / 16 * 16 + 16;
            if (all_ciphers[i] == HF_CIPHER_AES_128_CBC_SHA256_ETM)
                wanted = 16 + len / 16 * 16 + 16 + 32;
            assert_int_equal(seal(&key, len), wanted);
        }
    }
    assert_int_equal(hf_record_expansion(HF_CIPHER_NONE), 0);
    assert_int_equal(hf_record_len_min(HF_CIPHER_NONE), 0);
}

static void explicit_nonces(void **state)
{
    static const uint8_t seq[8] = {0, 1, 0, 0, 0, 0, 0, 5};
    uint8_t first[16];

    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);

        seal(&key, 20);
        memcpy(first, sealed, sizeof first);
        if (!is_cbc(all_ciphers[i])) {
            assert_memory_equal(sealed, seq, sizeof seq);
            continue;
        }
        // The IV is new for every record, the same record sealed again included.
        seal(&key, 20);
        assert_memory_not_equal(first, sealed, sizeof first);
    }
}

/* Nonce and AAD written out as RFC 5288 3, RFC 6655 3 and RFC 5246 6.2.3.3 have them. */
static void aead_nonce_and_aad(void **state)
{
    (void)state;
    for (size_t len = 0; len <= PLAIN_LEN_MAX; len = len * 3 + 1) {
        for (size_t i = 0; i < 3; i++) {
            struct hf_record_key key = random_key(all_ciphers[i]);
            const uint8_t nonce[12] = {key.fixed_iv[0],
                                       key.fixed_iv[1],
                                       key.fixed_iv[2],
                                       key.fixed_iv[3],
                                       0,
                                       1,
                                       0,
                                       0,
                                       0,
                                       0,
                                       0,
                                       5};
            const uint8_t aad[13] = {
                0, 1, 0, 0, 0, 0, 0, 5, 23, 0xfe, 0xfd, (uint8_t)(len / 256), (uint8_t)(len % 256)};
            struct hf__aead aead = {.key = key.key, .nonce = nonce, .aad = {aad, sizeof aad}};
            size_t sealed_len = seal(&key, len);
            uint8_t tag[16];

            aead.tag_len = all_ciphers[i] == HF_CIPHER_AES_128_CCM_8 ? 8 : 16;
            if (all_ciphers[i] == HF_CIPHER_AES_128_GCM)
                assert_true(hf__gcm_seal(opened, tag, &aead, plain, len));
            else
                hf__ccm_seal(opened, tag, &aead, plain, len);
            assert_int_equal(sealed_len, 8 + len + aead.tag_len);
            assert_memory_equal(sealed + 8, opened, len);
            assert_memory_equal(sealed + 8 + len, tag, aead.tag_len);
        }
    }
}

static void every_flipped_bit_is_found(void **state)
{
    static const size_t lens[] = {0, 1, 15, 16, 17, 64, 200};

    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);

        for (size_t j = 0; j < sizeof lens / sizeof lens[0]; j++) {
            size_t len = seal(&key, lens[j]);

            for (size_t bit = 0; bit < 8 * len; bit++) {
                sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
                assert_refused(&key, &header, len);
                sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            assert_opens(&key, len, lens[j]);
        }
    }
}

static void every_truncation_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);
        size_t len = seal(&key, 300);

        for (size_t cut = 0; cut < len; cut++)
            assert_refused(&key, &header, cut);
        // Longer ones as well: a byte or a whole block more.
        assert_refused(&key, &header, len + 1);
        assert_refused(&key, &header, len + 16);
    }
}

static void every_header_field_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);
        size_t len = seal(&key, 40);
        struct hf_record_header other;

        for (unsigned bit = 0; bit < 64; bit++) {
            other = header;
            other.seq ^= 1ull << bit;
            assert_refused(&key, &other, len);
        }
        for (unsigned bit = 0; bit < 16; bit++) {
            other = header;
            other.version ^= (uint16_t)(1u << bit);
            assert_refused(&key, &other, len);
        }
        for (unsigned bit = 0; bit < 8; bit++) {
            other = header;
            other.type ^= (uint8_t)(1u << bit);
            assert_refused(&key, &other, len);
        }
    }
}

static void every_key_bit_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);
        size_t len = seal(&key, 40);
        size_t used_len = is_cbc(all_ciphers[i]) ? sizeof key.mac_key : sizeof key.fixed_iv;
        uint8_t *used = is_cbc(all_ciphers[i]) ? key.mac_key : key.fixed_iv;

        for (size_t bit = 0; bit < 8 * used_len; bit++) {
            used[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_refused(&key, &header, len);
            used[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        // EtM authenticates with the MAC key alone; a wrong cipher key shows as bad padding only
        // by luck, and both come from one key block.
        for (size_t bit = 0; bit < 8 * sizeof key.key; bit++) {
            if (all_ciphers[i] == HF_CIPHER_AES_128_CBC_SHA256_ETM)
                break;
            key.key[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_refused(&key, &header, len);
            key.key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_opens(&key, len, 40);
    }
}

static void limits_of_sealing(void **state)
{
    size_t out_len = 77;

    (void)state;
    for (size_t i = 0; i < CIPHER_COUNT; i++) {
        struct hf_record_key key = random_key(all_ciphers[i]);
        size_t expansion = hf_record_expansion(all_ciphers[i]);
        static uint8_t too_long[PLAIN_LEN_MAX + 1];

        sealed[0] = 0xee;
        assert_int_equal(
            hf_record_seal(sealed, &out_len, 10 + expansion - 1, &key, &header, plain, 10),
            HF_E_TOO_LONG);
        assert_int_equal(hf_record_seal(sealed, &out_len, sizeof sealed, &key, &header, too_long,
                                        sizeof too_long),
                         HF_E_TOO_LONG);
        assert_int_equal(out_len, 0);
        assert_int_equal(sealed[0], 0xee);
    }
}

static void no_cipher_is_refused(void **state)
{
    struct hf_record_key key = {0};
    uint8_t data[64] = {1};
    size_t out_len = 77;
    size_t offset = 77;

    (void)state;
    assert_int_equal(hf_record_seal(sealed, &out_len, sizeof sealed, &key, &header, plain, 10),
                     HF_E_ARGUMENT);
    assert_int_equal(out_len, 0);
    assert_int_equal(hf_record_open(&offset, &out_len, &key, &header, data, sizeof data),
                     HF_E_ARGUMENT);
    assert_int_equal(offset, 0);
    key.cipher = HF_CIPHER_AES_128_CBC_SHA256_ETM + 1;
    assert_int_equal(hf_record_seal(sealed, &out_len, sizeof sealed, &key, &header, plain, 10),
                     HF_E_ARGUMENT);
    assert_int_equal(hf_record_open(&offset, &out_len, &key, &header, data, sizeof data),
                     HF_E_ARGUMENT);
    key.cipher = HF_CIPHER_AES_128_CCM_8;
    assert_int_equal(hf_record_open(&offset, &out_len, &key, &header, opened, RECORD_LEN_MAX + 1),
                     HF_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips_of_every_length),
        cmocka_unit_test(lengths_on_the_wire),
        cmocka_unit_test(explicit_nonces),
        cmocka_unit_test(aead_nonce_and_aad),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_truncation_is_found),
        cmocka_unit_test(every_header_field_counts),
        cmocka_unit_test(every_key_bit_counts),
        cmocka_unit_test(limits_of_sealing),
        cmocka_unit_test(no_cipher_is_refused),
    };

    return cmocka_run_group_tests(tests, plain_init, NULL);
}
