/**
 * crypto_aead_test.c - CCM with L = 3 and GCM below the record layer: Wycheproof's vectors that a
 * 12-byte nonce and a 128-bit key can express, and CCM against RFC 3610 written out block by block.
 */
#include "json_vectors.h"
#include "private.h"

#include <openssl/aes.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
    struct json_vector key, nonce, aad, plain, sealed, tag;
} vector;

typedef bool seal_fn(uint8_t *out, uint8_t *tag, const struct hf__aead *aead, const uint8_t *in,
                     size_t in_len);
typedef bool open_fn(uint8_t *data, size_t len, const struct hf__aead *aead, const uint8_t *tag);

static bool ccm_seal(uint8_t *out, uint8_t *tag, const struct hf__aead *aead, const uint8_t *in,
                     size_t in_len)
{
    hf__ccm_seal(out, tag, aead, in, in_len);
    return true;
}

static void run_vector(const json_t *test, size_t tag_len, seal_fn *seal, open_fn *open)
{
    static uint8_t out[JSON_VECTOR_LEN_MAX];
    uint8_t tag[16];
    struct hf__aead aead = {.key = vector.key.data, .nonce = vector.nonce.data, .tag_len = tag_len};
    bool valid = json_vector_is_valid(test);
    bool sealed_alike;

    json_vector_read(&vector.key, test, "key");
    json_vector_read(&vector.nonce, test, "iv");
    json_vector_read(&vector.aad, test, "aad");
    json_vector_read(&vector.plain, test, "msg");
    json_vector_read(&vector.sealed, test, "ct");
    json_vector_read(&vector.tag, test, "tag");
    aead.aad = (struct hf_bytes){vector.aad.data, vector.aad.len};
    assert_int_equal(vector.tag.len, tag_len);
    assert_int_equal(vector.sealed.len, vector.plain.len);

    assert_true(seal(out, tag, &aead, vector.plain.data, vector.plain.len));
    sealed_alike = memcmp(out, vector.sealed.data, vector.plain.len) == 0 &&
                   memcmp(tag, vector.tag.data, tag_len) == 0;
    assert_int_equal(sealed_alike, valid);
    assert_int_equal(open(vector.sealed.data, vector.sealed.len, &aead, vector.tag.data), valid);
    if (valid)
        assert_memory_equal(vector.sealed.data, vector.plain.data, vector.plain.len);
    for (size_t i = 0; !valid && i < vector.sealed.len; i++)
        assert_int_equal(vector.sealed.data[i], 0);
}

static size_t run_group(const json_t *group, seal_fn *seal, open_fn *open)
{
    int tag_bits = json_vector_int(group, "tagSize");
    const json_t *test;
    size_t index;

    if (json_vector_int(group, "keySize") != 128 || json_vector_int(group, "ivSize") != 96)
        return 0;
    if (tag_bits != 128 && (seal != ccm_seal || tag_bits % 16 != 0 || tag_bits < 32))
        return 0;
    json_array_foreach(json_object_get(group, "tests"), index, test)
    {
        run_vector(test, (size_t)tag_bits / 8, seal, open);
    }
    return index;
}

static size_t run_file(const char *file, seal_fn *seal, open_fn *open)
{
    json_t *root = json_vectors_load(HF_SOURCE_DIR, file);
    const json_t *group;
    size_t count = 0;
    size_t index;

    if (!root)
        return 0;
    json_array_foreach(json_object_get(root, "testGroups"), index, group)
    {
        count += run_group(group, seal, open);
    }
    json_decref(root);
    // A file of which nothing fits would be no test at all.
    assert_true(count > 0);
    return count;
}

static void ccm_wycheproof(void **state)
{
    size_t count = run_file("aes_ccm_test.json", ccm_seal, hf__ccm_open);

    (void)state;
    if (count == 0)
        skip();
    printf("%zu AES-128-CCM vectors\n", count);
}

static void gcm_wycheproof(void **state)
{
    size_t count = run_file("aes_gcm_test.json", hf__gcm_seal, hf__gcm_open);

    (void)state;
    if (count == 0)
        skip();
    printf("%zu AES-128-GCM vectors\n", count);
}

static void reference_block(uint8_t x[16], const uint8_t *data, size_t len, const AES_KEY *key)
{
    for (size_t i = 0; i < len; i++)
        x[i] ^= data[i];
    AES_encrypt(x, x, key);
}

/* RFC 3610 2.2 and 2.3, one block at a time. `aad` shorter than 0xff00 bytes. */
static void ccm_reference(uint8_t *out, uint8_t *tag, const struct hf__aead *aead,
                          const uint8_t *in, size_t len)
{
    uint8_t a[16] = {2};
    uint8_t b[16] = {0};
    uint8_t x[16] = {0};
    uint8_t s[16];
    size_t aad_at = 0;
    AES_KEY key;

    AES_set_encrypt_key(aead->key, 128, &key);
    b[0] = (uint8_t)((aead->aad.len > 0 ? 64 : 0) + 8 * ((aead->tag_len - 2) / 2) + 2);
    memcpy(b + 1, aead->nonce, 12);
    b[13] = (uint8_t)(len >> 16), b[14] = (uint8_t)(len >> 8), b[15] = (uint8_t)len;
    reference_block(x, b, 16, &key);
    while (aad_at < aead->aad.len) {
        size_t skip_len = aad_at == 0 ? 2 : 0;
        size_t take = aead->aad.len - aad_at;

        take = take > 16 - skip_len ? 16 - skip_len : take;
        b[0] = (uint8_t)(aead->aad.len >> 8), b[1] = (uint8_t)aead->aad.len;
        memcpy(b + skip_len, aead->aad.data + aad_at, take);
        reference_block(x, b, skip_len + take, &key);
        aad_at += take;
    }
    for (size_t i = 0; i < len; i += 16)
        reference_block(x, in + i, len - i < 16 ? len - i : 16, &key);
    memcpy(a + 1, aead->nonce, 12);
    AES_encrypt(a, s, &key);
    for (size_t i = 0; i < aead->tag_len; i++)
        tag[i] = x[i] ^ s[i];
    for (size_t i = 0; i < len; i++) {
        size_t block = i / 16 + 1;

        a[13] = (uint8_t)(block >> 16), a[14] = (uint8_t)(block >> 8), a[15] = (uint8_t)block;
        if (i % 16 == 0)
            AES_encrypt(a, s, &key);
        out[i] = in[i] ^ s[i % 16];
    }
}

static void compare_with_reference(size_t len, size_t aad_len, size_t tag_len)
{
    static uint8_t in[20000], wanted[20000], out[20000], aad[1200];
    uint8_t key[16], nonce[12], wanted_tag[16], tag[16];
    struct hf__aead aead = {.key = key, .nonce = nonce, .aad = {aad, aad_len}, .tag_len = tag_len};

    hf_random(key, sizeof key);
    hf_random(nonce, sizeof nonce);
    hf_random(in, len);
    hf_random(aad, aad_len);
    ccm_reference(wanted, wanted_tag, &aead, in, len);
    hf__ccm_seal(out, tag, &aead, in, len);
    assert_memory_equal(out, wanted, len);
    assert_memory_equal(tag, wanted_tag, tag_len);
    assert_true(hf__ccm_open(out, len, &aead, tag));
    assert_memory_equal(out, in, len);
}

static void ccm_agrees_with_the_definition(void **state)
{
    static const size_t record_lens[] = {1000, 1007, 1008, 1009, 4095, 16383, 16384};

    (void)state;
    for (size_t len = 0; len <= 600; len++)
        compare_with_reference(len, HF__RECORD_AAD_LEN, len % 2 ? 8 : 16);
    for (size_t i = 0; i < sizeof record_lens / sizeof record_lens[0]; i++)
        compare_with_reference(record_lens[i], HF__RECORD_AAD_LEN, 8);
    // Around the chunks in which the CBC-MAC is computed.
    for (size_t aad_len = 0; aad_len <= 1100; aad_len += aad_len < 40 ? 1 : 13)
        for (size_t len = 0; len <= 80; len += 5)
            compare_with_reference(len, aad_len, 16);
    for (size_t aad_len = 480; aad_len <= 520; aad_len++)
        compare_with_reference(33, aad_len, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ccm_wycheproof),
        cmocka_unit_test(gcm_wycheproof),
        cmocka_unit_test(ccm_agrees_with_the_definition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
