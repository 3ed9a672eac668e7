/**
 * cid_vector_test.c - records with connection IDs against known answers that a script of ours
 * computes from RFC 9146 alone (cid_vectors.py): no peer in Debian speaks it.
 */
#include "core.h"
#include "record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cid_vectors.h"

#define VECTOR_COUNT (sizeof vectors / sizeof vectors[0])

static struct hf_record_key key_of(const struct vector *vector)
{
    struct hf_record_key key = {.cipher = (uint8_t)vector->cipher,
                                .fixed_iv = {0xc0, 0xff, 0xee, 0x01}};
    for (size_t i = 0; i < sizeof key.key; i++)
        key.key[i] = (uint8_t)(0x10 + i);
    for (size_t i = 0; i < sizeof key.mac_key; i++)
        key.mac_key[i] = (uint8_t)(0x40 + i);
    return key;
}

static bool is_cbc(const struct vector *vector)
{
    return vector->cipher == HF_CIPHER_AES_128_CBC_SHA256 ||
           vector->cipher == HF_CIPHER_AES_128_CBC_SHA256_ETM;
}

static struct hf_engine engine;
static struct hf_mac_keys mac_keys;

static struct hf_association association_of(const struct vector *vector, uint16_t receive_len_max)
{
    struct hf_association association = {
        .flags = HF_ASSOCIATION_DATAGRAM, .receive_len_max = receive_len_max, .mac_keys = HF_NONE};
    const struct hf_record_key key = key_of(vector);
    hf_pool_init(&engine.mac_keys, &mac_keys, sizeof mac_keys, 1);
    hf_record_keys_keep(&engine, &association, &key, &key);
    return association;
}

/* Reads and opens a copy. */
static enum hf_status open_copy(struct hf_record *record, uint8_t *copy, struct hf_bytes wire,
                                const struct vector *vector, size_t cid_len)
{
    const struct hf_association association = association_of(vector, HF_PLAINTEXT_LEN_MAX);
    memcpy(copy, wire.data, wire.len);
    assert_true(hf_record_datagram_read(record, copy, wire.len, cid_len));
    return hf_record_unprotect(record, &engine, &association);
}

static void records_open_to_their_content(void **state)
{
    (void)state;
    uint8_t copy[1024];
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        const struct vector *vector = &vectors[i];
        struct hf_record record;
        if (open_copy(&record, copy, vector->record, vector, vector->cid.len) != HF_OK)
            fail_msg("%s does not open", vector->name);
        assert_int_equal(record.epoch, 1);
        assert_true(record.seq == vector->seq);
        assert_int_equal(record.type, vector->type);
        assert_int_equal(record.cid.len, vector->cid.len);
        assert_memory_equal(record.cid.data, vector->cid.data, vector->cid.len);
        assert_int_equal(record.len, vector->content.len);
        assert_memory_equal(record.body, vector->content.data, vector->content.len);
    }
}

static void content_seals_to_the_record(void **state)
{
    (void)state;
    uint8_t inner[512], sealed[1024];
    size_t compared = 0;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        const struct vector *vector = &vectors[i];
        const struct hf_record_key key = key_of(vector);
        const struct hf_record_header header = {.seq = UINT64_C(1) << 48 | vector->seq,
                                                .version = HF_VERSION_DTLS_1_2,
                                                .type = vector->type,
                                                .cid = vector->cid};
        size_t len = vector->content.len + 1 + vector->zeros, sealed_len;
        size_t head_len = HF_DATAGRAM_HEADER_LEN + vector->cid.len;
        if (is_cbc(vector)) /* with an IV of its own each time: opened above */
            continue;
        memset(inner, 0, sizeof inner);
        memcpy(inner, vector->content.data, vector->content.len);
        inner[vector->content.len] = vector->type;
        assert_int_equal(
            hf_record_seal(sealed, &sealed_len, sizeof sealed, &key, &header, inner, len), HF_OK);
        assert_int_equal(sealed_len, vector->record.len - head_len);
        assert_memory_equal(sealed, vector->record.data + head_len, sealed_len);
        /* In place, too. */
        memset(sealed, 0, sizeof sealed);
        uint8_t *front = sealed + hf_record_front(vector->cipher);
        memcpy(front, inner, len);
        assert_int_equal(
            hf_record_seal(sealed, &sealed_len, sizeof sealed, &key, &header, front, len), HF_OK);
        assert_memory_equal(sealed, vector->record.data + head_len, sealed_len);
        compared++;
    }
    assert_int_equal(compared, 15);
}

static void every_bit_counts(void **state)
{
    (void)state;
    uint8_t changed[1024], copy[1024];
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        const struct vector *vector = &vectors[i];
        size_t len_at = HF_DATAGRAM_HEADER_LEN + vector->cid.len - 2;
        for (size_t bit = 0; bit < 8 * vector->record.len; bit++) {
            struct hf_record record;
            memcpy(changed, vector->record.data, vector->record.len);
            changed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool is_plain = changed[3] == 0 && changed[4] == 0;
            if (bit / 8 == 0 || bit / 8 == len_at || bit / 8 == len_at + 1 || is_plain)
                continue; /* another type, length or epoch 0: other records altogether */
            enum hf_status status =
                open_copy(&record, copy, (struct hf_bytes){changed, vector->record.len}, vector,
                          vector->cid.len);
            if (status != HF_E_BAD_RECORD_MAC)
                fail_msg("%s opens with bit %zu changed", vector->name, bit);
        }
    }
}

/* The length of the CID is covered, so a boundary cannot be moved. */
static void another_length_of_the_cid_does_not_open(void **state)
{
    (void)state;
    uint8_t copy[1024];
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        for (size_t cid_len = 0; cid_len <= HF_CID_LEN_MAX; cid_len++) {
            const struct hf_association association =
                association_of(&vectors[i], HF_PLAINTEXT_LEN_MAX);
            struct hf_record record;
            if (cid_len == vectors[i].cid.len)
                continue;
            memcpy(copy, vectors[i].record.data, vectors[i].record.len);
            if (hf_record_datagram_read(&record, copy, vectors[i].record.len, cid_len))
                assert_int_not_equal(hf_record_unprotect(&record, &engine, &association), HF_OK);
        }
    }
}

/* Seals an inner plaintext as it stands and opens it. */
static enum hf_status reopen(struct hf_record *record, const struct vector *vector,
                             const uint8_t *inner, size_t len)
{
    static uint8_t wire[HF_CIPHERTEXT_LEN_MAX + 64];
    const struct hf_record_key key = key_of(vector);
    const struct hf_association association = association_of(vector, 1000);
    const struct hf_record_header header = {
        .seq = UINT64_C(1) << 48 | 9, .version = HF_VERSION_DTLS_1_2, .cid = vector->cid};
    size_t sealed_len;
    assert_int_equal(hf_record_seal(wire, &sealed_len, sizeof wire, &key, &header, inner, len),
                     HF_OK);
    *record = (struct hf_record){.type = HF_TYPE_TLS12_CID,
                                 .version = HF_VERSION_DTLS_1_2,
                                 .epoch = 1,
                                 .seq = 9,
                                 .cid = vector->cid,
                                 .body = wire,
                                 .len = sealed_len};
    return hf_record_unprotect(record, &engine, &association);
}

static void nothing_but_zeros_is_no_content(void **state)
{
    (void)state;
    static uint8_t inner[HF_PLAINTEXT_LEN_MAX];
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct hf_record record;
        assert_int_equal(reopen(&record, &vectors[i], inner, 0), HF_E_DECODE);
        assert_int_equal(reopen(&record, &vectors[i], inner, 1), HF_E_DECODE);
        assert_int_equal(reopen(&record, &vectors[i], inner, sizeof inner), HF_E_DECODE);
    }
}

static void limits_are_of_the_content(void **state)
{
    (void)state;
    static uint8_t inner[HF_PLAINTEXT_LEN_MAX];
    memset(inner, 'x', 1001);
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct hf_record record;
        inner[1000] = HF_TYPE_APPLICATION_DATA;
        inner[1001] = 0;
        assert_int_equal(reopen(&record, &vectors[i], inner, 1001), HF_OK);
        assert_int_equal(record.len, 1000);
        assert_int_equal(reopen(&record, &vectors[i], inner, sizeof inner), HF_OK);
        assert_int_equal(record.type, HF_TYPE_APPLICATION_DATA);
        inner[1000] = 'x';
        inner[1001] = HF_TYPE_APPLICATION_DATA;
        assert_int_equal(reopen(&record, &vectors[i], inner, 1002), HF_E_RECORD_OVERFLOW);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_open_to_their_content),
        cmocka_unit_test(content_seals_to_the_record),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(another_length_of_the_cid_does_not_open),
        cmocka_unit_test(nothing_but_zeros_is_no_content),
        cmocka_unit_test(limits_are_of_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
