/**
 * crypto_hash_test.c - SHA-256, HMAC (RFC 4231, Wycheproof, a naive reference), SipHash, XXH3.
 */
#include "crypto.h"
#include "json_vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    uint8_t wanted[512];

    assert_int_equal(hex_read(wanted, sizeof wanted, hex), len);
    assert_memory_equal(data, wanted, len);
}

static void sha256_once(uint8_t out[HF_SHA256_LEN], const void *data, size_t len)
{
    struct hf_sha256 hash;

    hf_sha256_init(&hash);
    hf_sha256_update(&hash, data, len);
    hf_sha256_final(out, &hash);
}

static void sha256_known_answers(void **state)
{
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    uint8_t out[HF_SHA256_LEN];

    (void)state;
    sha256_once(out, "", 0);
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256_once(out, "abc", 3);
    assert_hex(out, sizeof out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_once(out, two_blocks, strlen(two_blocks));
    assert_hex(out, sizeof out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void sha256_may_be_copied_and_split(void **state)
{
    uint8_t data[200];
    uint8_t wanted[HF_SHA256_LEN];
    uint8_t out[HF_SHA256_LEN];

    (void)state;
    hf_random(data, sizeof data);
    sha256_once(wanted, data, sizeof data);
    for (size_t split = 0; split <= sizeof data; split++) {
        struct hf_sha256 first;
        struct hf_sha256 copy;

        hf_sha256_init(&first);
        hf_sha256_update(&first, data, split);
        copy = first;
        hf_sha256_final(out, &first);
        hf_sha256_update(&copy, data + split, sizeof data - split);
        hf_sha256_final(out, &copy);
        assert_memory_equal(out, wanted, sizeof out);
    }
}

struct hmac_answer {
    const char *key;
    const char *data;
    const char *mac;
};

static void hmac_rfc4231(void **state)
{
    static const char long_key[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const struct hmac_answer answers[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {long_key,
         "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
         "204b6579204669727374",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        uint8_t secret[256];
        uint8_t data[256];
        uint8_t out[HF_SHA256_LEN];
        struct hf_bytes part = {data, hex_read(data, sizeof data, answers[i].data)};
        struct hf_hmac_key key;

        hf_hmac_key_init(
            &key, (struct hf_bytes){secret, hex_read(secret, sizeof secret, answers[i].key)});
        hf_hmac(out, &key, &part, 1);
        assert_hex(out, sizeof out, answers[i].mac);
    }
}

/* RFC 2104 2, word for word. */
static void hmac_reference(uint8_t out[HF_SHA256_LEN], const uint8_t *secret, size_t secret_len,
                           const uint8_t *data, size_t len)
{
    uint8_t block[64] = {0};
    uint8_t inner[HF_SHA256_LEN];
    struct hf_sha256 hash;

    if (secret_len > sizeof block)
        sha256_once(block, secret, secret_len);
    else
        memcpy(block, secret, secret_len);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, block, sizeof block);
    hf_sha256_update(&hash, data, len);
    hf_sha256_final(inner, &hash);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, block, sizeof block);
    hf_sha256_update(&hash, inner, sizeof inner);
    hf_sha256_final(out, &hash);
}

static void hmac_agrees_with_the_definition(void **state)
{
    uint8_t secret[140];
    uint8_t data[400];
    uint8_t wanted[HF_SHA256_LEN];
    uint8_t out[HF_SHA256_LEN];
    struct hf_hmac_key key;

    (void)state;
    hf_random(secret, sizeof secret);
    hf_random(data, 200);
    hf_random(data + 200, 200);
    for (size_t len = 0; len <= sizeof data; len++) {
        size_t secret_len = len % (sizeof secret + 1);
        struct hf_bytes part = {data, len};

        hf_hmac_key_init(&key, (struct hf_bytes){secret, secret_len});
        hmac_reference(wanted, secret, secret_len, data, len);
        hf_hmac(out, &key, &part, 1);
        assert_memory_equal(out, wanted, sizeof out);
    }
}

static void hmac_does_not_see_where_parts_end(void **state)
{
    uint8_t data[200];
    uint8_t wanted[HF_SHA256_LEN];
    uint8_t out[HF_SHA256_LEN];
    struct hf_bytes whole = {data, sizeof data};
    struct hf_hmac_key key;

    (void)state;
    hf_random(data, sizeof data);
    hf_hmac_key_init(&key, (struct hf_bytes){data, 32});
    hf_hmac(wanted, &key, &whole, 1);
    for (size_t a = 0; a <= sizeof data; a++) {
        for (size_t b = a; b <= sizeof data; b++) {
            struct hf_bytes parts[] = {
                {data, a}, {NULL, 0}, {data + a, b - a}, {data + b, sizeof data - b}};

            hf_hmac(out, &key, parts, 4);
            assert_memory_equal(out, wanted, sizeof out);
        }
    }
    hmac_reference(wanted, data, 32, data, 0);
    hf_hmac(out, &key, NULL, 0);
    assert_memory_equal(out, wanted, sizeof out);
}

static size_t run_hmac_group(const json_t *group)
{
    static struct json_vector secret;
    static struct json_vector data;
    static struct json_vector tag;
    const json_t *test;
    size_t index;

    json_array_foreach(json_object_get(group, "tests"), index, test)
    {
        struct hf_hmac_key key;
        uint8_t out[HF_SHA256_LEN];
        struct hf_bytes part = {data.data, 0};

        json_vector_read(&secret, test, "key");
        json_vector_read(&data, test, "msg");
        json_vector_read(&tag, test, "tag");
        part.len = data.len;
        hf_hmac_key_init(&key, (struct hf_bytes){secret.data, secret.len});
        hf_hmac(out, &key, &part, 1);
        assert_true(tag.len <= sizeof out);
        assert_int_equal(hf_ct_equal(out, tag.data, tag.len), json_vector_is_valid(test));
    }
    return index;
}

static void hmac_wycheproof(void **state)
{
    json_t *root = json_vectors_load(HF_SOURCE_DIR, "hmac_sha256_test.json");
    const json_t *group;
    size_t count = 0;
    size_t index;

    (void)state;
    if (!root)
        skip();
    json_array_foreach(json_object_get(root, "testGroups"), index, group)
    {
        count += run_hmac_group(group);
    }
    printf("%zu HMAC-SHA256 vectors\n", count);
    assert_int_equal(count, json_vector_int(root, "numberOfTests"));
    json_decref(root);
}

static void siphash_known_answers(void **state)
{
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    uint8_t data[15];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)i;
    // The SipHash paper, appendix A; the empty input from its reference vectors.
    assert_true(hf_siphash(key, data, 15) == 0xa129ca6149be45e5u);
    assert_true(hf_siphash(key, data, 0) == 0x726fdb47dd0e0e31u);
}

static void xxh3_known_answers(void **state)
{
    (void)state;
    assert_true(hf_xxh3("", 0) == 0x2d06800538d394c2u);
    assert_true(hf_xxh3("a", 1) != hf_xxh3("b", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_known_answers),
        cmocka_unit_test(sha256_may_be_copied_and_split),
        cmocka_unit_test(hmac_rfc4231),
        cmocka_unit_test(hmac_agrees_with_the_definition),
        cmocka_unit_test(hmac_does_not_see_where_parts_end),
        cmocka_unit_test(hmac_wycheproof),
        cmocka_unit_test(siphash_known_answers),
        cmocka_unit_test(xxh3_known_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
