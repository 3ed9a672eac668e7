/**
 * crypto_cbc_test.c - CBC-SHA256 records against a tiny reference that pads as told: every padding
 * length, every wrong padding byte, wrong MACs, and our own records read back by the reference.
 */
#include "crypto.h"

#include <openssl/aes.h>
#include <openssl/hmac.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define IV_LEN 16
#define MAC_LEN 32
#define BUFFER_LEN (16384 + 2048)

static const struct hf_record_header header = {
    .seq = 0x00000000fffffffeu, .version = 0x0303, .type = 22};
static struct hf_record_key mte;
static struct hf_record_key etm;
static uint8_t plain[16384];
static uint8_t body[BUFFER_LEN];   /* plaintext blocks of the reference */
static uint8_t record[BUFFER_LEN]; /* a whole fragment */
static int iv_byte = -1;           /* fills the reference's IV; negative: random */

static int keys_init(void **state)
{
    (void)state;
    hf_random(&mte, sizeof mte);
    mte.cipher = HF_CIPHER_AES_128_CBC_SHA256;
    etm = mte;
    etm.cipher = HF_CIPHER_AES_128_CBC_SHA256_ETM;
    hf_random(plain, sizeof plain);
    return 0;
}

/* ---- the reference (RFC 5246 6.2.3.1, 6.2.3.2; RFC 7366 3) -------------------------------- */

static void reference_mac(uint8_t out[MAC_LEN], const uint8_t *data, size_t len)
{
    static uint8_t input[13 + BUFFER_LEN];
    unsigned out_len = MAC_LEN;

    for (size_t i = 0; i < 8; i++)
        input[i] = (uint8_t)(header.seq >> (56 - 8 * i));
    input[8] = header.type;
    input[9] = (uint8_t)(header.version >> 8);
    input[10] = (uint8_t)(header.version & 0xff);
    input[11] = (uint8_t)(len / 256);
    input[12] = (uint8_t)(len % 256);
    memcpy(input + 13, data, len);
    assert_non_null(
        HMAC(EVP_sha256(), mte.mac_key, sizeof mte.mac_key, input, 13 + len, out, &out_len));
}

/* Encrypts `body` behind an IV into `record`; gives the fragment's length. */
static size_t reference_encrypt(size_t body_len)
{
    AES_KEY key;

    assert_int_equal(body_len % 16, 0);
    AES_set_encrypt_key(mte.key, 128, &key);
    hf_random(record, IV_LEN);
    if (iv_byte >= 0)
        memset(record, iv_byte, IV_LEN);
    for (size_t at = 0; at < body_len; at += 16) {
        uint8_t block[16];

        for (size_t i = 0; i < 16; i++)
            block[i] = body[at + i] ^ record[at + i]; // the block before, the IV at first
        AES_encrypt(block, record + IV_LEN + at, &key);
    }
    return IV_LEN + body_len;
}

static void reference_decrypt(size_t body_len)
{
    AES_KEY key;

    AES_set_decrypt_key(mte.key, 128, &key);
    for (size_t at = 0; at < body_len; at += 16) {
        AES_decrypt(record + IV_LEN + at, body + at, &key);
        for (size_t i = 0; i < 16; i++)
            body[at + i] ^= record[at + i];
    }
}

/* Data, MAC and `pad` + 1 bytes of padding in `body`; gives their length. */
static size_t reference_body(size_t data_len, size_t pad)
{
    memcpy(body, plain, data_len);
    reference_mac(body + data_len, plain, data_len);
    memset(body + data_len + MAC_LEN, (int)pad, pad + 1);
    return data_len + MAC_LEN + pad + 1;
}

/* ---- helpers ------------------------------------------------------------------------------- */

static void assert_opens(const struct hf_record_key *key, size_t len, size_t plain_len)
{
    size_t offset;
    size_t out_len;

    assert_int_equal(hf_record_open(&offset, &out_len, key, &header, record, len), HF_OK);
    assert_int_equal(out_len, plain_len);
    assert_memory_equal(record + offset, plain, plain_len);
}

static void assert_refused(const struct hf_record_key *key, size_t len)
{
    size_t offset = 77;
    size_t out_len = 77;

    assert_int_equal(hf_record_open(&offset, &out_len, key, &header, record, len),
                     HF_E_BAD_RECORD_MAC);
    assert_int_equal(offset, 0);
    assert_int_equal(out_len, 0);
}

/* The data length, at least `least`, that makes whole blocks with this padding. */
static size_t data_len_for(size_t least, size_t pad)
{
    while ((least + MAC_LEN + pad + 1) % 16 != 0)
        least++;
    return least;
}

/* ---- MAC then encrypt ---------------------------------------------------------------------- */

static void every_padding_length_opens(void **state)
{
    static const size_t leasts[] = {0, 1, 16, 30, 45, 50, 51, 52, 100, 240, 255, 256, 300, 16368};

    (void)state;
    for (size_t i = 0; i < sizeof leasts / sizeof leasts[0]; i++) {
        for (size_t pad = 0; pad < 256; pad++) {
            size_t data_len = data_len_for(leasts[i], pad);

            if (data_len <= sizeof plain)
                assert_opens(&mte, reference_encrypt(reference_body(data_len, pad)), data_len);
        }
    }
}

static void every_wrong_padding_byte_is_found(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 256; pad += pad < 34 ? 1 : 17) {
        size_t data_len = data_len_for(7, pad);

        for (size_t at = 0; at <= pad; at++) {
            for (unsigned bit = 0; bit < 8; bit += 7) {
                size_t body_len = reference_body(data_len, pad);

                body[body_len - 1 - at] ^= (uint8_t)(1u << bit);
                assert_refused(&mte, reference_encrypt(body_len));
            }
        }
    }
}

static void every_wrong_mac_byte_is_found(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 256; pad += 5) {
        size_t data_len = data_len_for(pad, pad);

        for (size_t at = 0; at < MAC_LEN; at++) {
            size_t body_len = reference_body(data_len, pad);

            body[data_len + at] ^= 0x10;
            assert_refused(&mte, reference_encrypt(body_len));
        }
    }
}

/* Padding that claims more than there is: into the MAC, past the data, past the record. */
static void padding_longer_than_the_record(void **state)
{
    (void)state;
    for (size_t body_len = 48; body_len <= 352; body_len += 16) {
        for (size_t pad = 0; pad < 256; pad++) {
            memset(body, (int)pad, body_len);
            // All bytes are padding: well formed wherever it reaches, but no MAC can match.
            assert_refused(&mte, reference_encrypt(body_len));
        }
    }
}

/* A MAC that is right for the data but placed where the padding does not say. */
static void mac_in_the_wrong_place(void **state)
{
    (void)state;
    for (size_t shift = 1; shift < 200; shift++) {
        size_t pad = 223;
        size_t data_len = data_len_for(300, pad);
        size_t body_len = reference_body(data_len, pad);

        memmove(body + data_len + shift, body + data_len, MAC_LEN);
        memset(body + data_len + shift + MAC_LEN, (int)pad, body_len - data_len - shift - MAC_LEN);
        memset(body + data_len, (int)pad, shift < MAC_LEN ? shift : MAC_LEN);
        assert_refused(&mte, reference_encrypt(body_len));
    }
}

static void every_truncation_is_refused(void **state)
{
    static uint8_t whole[BUFFER_LEN];

    (void)state;
    for (size_t pad = 0; pad < 256; pad += 51) {
        size_t len = reference_encrypt(reference_body(data_len_for(70, pad), pad));

        memcpy(whole, record, len);
        for (size_t cut = 0; cut < len; cut++) {
            memcpy(record, whole, len);
            assert_refused(&mte, cut);
        }
    }
}

static void reference_reads_our_records(void **state)
{
    (void)state;
    for (size_t data_len = 0; data_len <= 600; data_len++) {
        uint8_t mac[MAC_LEN];
        size_t len;
        size_t pad;

        assert_int_equal(
            hf_record_seal(record, &len, sizeof record, &mte, &header, plain, data_len), HF_OK);
        reference_decrypt(len - IV_LEN);
        pad = body[len - IV_LEN - 1];
        assert_in_range(pad, 0, 15);
        assert_int_equal(IV_LEN + data_len + MAC_LEN + pad + 1, len);
        for (size_t i = 0; i <= pad; i++)
            assert_int_equal(body[len - IV_LEN - 1 - i], pad);
        reference_mac(mac, plain, data_len);
        assert_memory_equal(body + data_len, mac, MAC_LEN);
        assert_memory_equal(body, plain, data_len);
    }
}

/* ---- encrypt then MAC ---------------------------------------------------------------------- */

/* Encrypts `body` and appends the MAC over IV and ciphertext. */
static size_t reference_encrypt_then_mac(size_t body_len)
{
    size_t covered = reference_encrypt(body_len);

    reference_mac(record + covered, record, covered);
    return covered + MAC_LEN;
}

static void etm_every_padding_length_opens(void **state)
{
    (void)state;
    for (size_t least = 0; least < 300; least += 37) {
        for (size_t pad = 0; pad < 256; pad++) {
            size_t data_len = data_len_for(least, pad);

            memcpy(body, plain, data_len);
            memset(body + data_len, (int)pad, pad + 1);
            assert_opens(&etm, reference_encrypt_then_mac(data_len + pad + 1), data_len);
        }
    }
}

static void etm_bad_padding_under_a_good_mac(void **state)
{
    (void)state;
    for (size_t body_len = 16; body_len <= 272; body_len += 16) {
        for (size_t pad = 0; pad < 256; pad++) {
            // All bytes are padding, one byte more than there is being the first that fails.
            memset(body, (int)pad, body_len);
            if (pad < body_len) {
                size_t offset;
                size_t out_len;
                size_t len = reference_encrypt_then_mac(body_len);

                assert_int_equal(hf_record_open(&offset, &out_len, &etm, &header, record, len),
                                 HF_OK);
                assert_int_equal(out_len, body_len - pad - 1);
                if (pad == 0)
                    continue;
                memset(body, (int)pad, body_len);
                body[body_len - 1 - pad] ^= 1;
            }
            iv_byte = (int)pad; // what a padding check would meet that left the ciphertext
            assert_refused(&etm, reference_encrypt_then_mac(body_len));
            iv_byte = -1;
        }
    }
}

static void etm_reference_reads_our_records(void **state)
{
    (void)state;
    for (size_t data_len = 0; data_len <= 600; data_len++) {
        uint8_t mac[MAC_LEN];
        size_t len;

        assert_int_equal(
            hf_record_seal(record, &len, sizeof record, &etm, &header, plain, data_len), HF_OK);
        reference_mac(mac, record, len - MAC_LEN);
        assert_memory_equal(record + len - MAC_LEN, mac, MAC_LEN);
        reference_decrypt(len - MAC_LEN - IV_LEN);
        assert_memory_equal(body, plain, data_len);
        assert_int_equal(body[len - MAC_LEN - IV_LEN - 1], 15 - data_len % 16);
    }
}

static void the_orders_do_not_mix(void **state)
{
    size_t len;

    (void)state;
    for (size_t data_len = 0; data_len <= 64; data_len++) {
        assert_int_equal(
            hf_record_seal(record, &len, sizeof record, &mte, &header, plain, data_len), HF_OK);
        assert_refused(&etm, len);
        assert_int_equal(
            hf_record_seal(record, &len, sizeof record, &etm, &header, plain, data_len), HF_OK);
        assert_refused(&mte, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_padding_length_opens),
        cmocka_unit_test(every_wrong_padding_byte_is_found),
        cmocka_unit_test(every_wrong_mac_byte_is_found),
        cmocka_unit_test(padding_longer_than_the_record),
        cmocka_unit_test(mac_in_the_wrong_place),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(reference_reads_our_records),
        cmocka_unit_test(etm_every_padding_length_opens),
        cmocka_unit_test(etm_bad_padding_under_a_good_mac),
        cmocka_unit_test(etm_reference_reads_our_records),
        cmocka_unit_test(the_orders_do_not_mix),
    };

    return cmocka_run_group_tests(tests, keys_init, NULL);
}
