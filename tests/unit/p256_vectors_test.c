/**
 * p256_vectors_test.c - third-party vectors for ECDH and ECDSA, in every back end and every lane:
 * each batch begins one vector later than the one before.
 */
#include "json_vectors.h"
#include "p256.h"
#include "p256_scalar.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LANES 8
#define VECTORS_MAX 1024

struct agreement {
    uint8_t private_key[32];
    uint8_t peer[65];
    uint8_t wanted[32];
    bool is_valid;
    bool is_acceptable; /* may also be refused */
    int id;
};

struct signature {
    uint8_t key[65];
    uint8_t digest[32];
    uint8_t signature[64];
    bool is_valid;
    int id;
};

static struct agreement agreements[VECTORS_MAX];
static struct signature signatures[VECTORS_MAX];

static const struct hf_p256_backend *backend_at(size_t index)
{
    const struct hf_p256_backend *const all[] = {hf_p256_portable(), hf_p256_best(),
                                                 hf_p256_lanes()};

    return index < 3 ? all[index] : NULL;
}

/* A private key of a vector has any number of leading zeros, or none too few. */
static bool scalar_read(uint8_t out[32], const struct json_vector *in)
{
    size_t zeros = 0;

    while (zeros < in->len && in->data[zeros] == 0)
        zeros++;
    if (in->len - zeros > 32)
        return false;
    memset(out, 0, 32);
    memcpy(out + 32 - (in->len - zeros), in->data + zeros, in->len - zeros);
    return true;
}

/* The point behind the one SubjectPublicKeyInfo header that names the curve as we require it. */
static const uint8_t *point_of_spki(const struct json_vector *in)
{
    static const uint8_t header[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                     0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

    if (in->len != sizeof header + 65 || memcmp(in->data, header, sizeof header) != 0)
        return NULL;
    return in->data + sizeof header;
}

/* Gives the count of vectors that are uncompressed points; what else there is, is not for p256.h:
 * other lengths and encodings never come this far. */
static size_t agreements_read(const char *file, bool is_spki, size_t *others)
{
    static struct json_vector public_key;
    static struct json_vector private_key;
    static struct json_vector shared;
    json_t *root = json_vectors_load(HF_SOURCE_DIR, file);
    size_t count = 0;
    size_t g;
    size_t t;
    json_t *group;
    json_t *test;

    *others = 0;
    if (!root)
        return 0;
    json_array_foreach(json_object_get(root, "testGroups"), g, group)
    {
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct agreement *made = &agreements[count];
            const char *result = json_string_value(json_object_get(test, "result"));
            const uint8_t *point;

            json_vector_read(&public_key, test, "public");
            json_vector_read(&private_key, test, "private");
            json_vector_read(&shared, test, "shared");
            point = is_spki ? point_of_spki(&public_key) : public_key.data;
            if (!point || (!is_spki && public_key.len != 65) ||
                !scalar_read(made->private_key, &private_key)) {
                assert_string_not_equal(result, "valid");
                (*others)++;
                continue;
            }
            memcpy(made->peer, point, 65);
            made->is_valid = strcmp(result, "invalid") != 0;
            made->is_acceptable = strcmp(result, "acceptable") == 0;
            made->id = json_vector_int(test, "tcId");
            if (made->is_valid)
                memcpy(made->wanted, shared.data, 32);
            assert_true(++count < VECTORS_MAX);
        }
    }
    json_decref(root);
    return count;
}

static void check_agreement(const struct agreement *with, const struct hf_p256_agree *done)
{
    static const uint8_t zero[32];
    bool is_refused = done->status == HF_E_ILLEGAL_PARAMETER;

    if (is_refused ? with->is_valid && !with->is_acceptable
                   : done->status != HF_OK || !with->is_valid)
        fail_msg("vector %d: status %d", with->id, (int)done->status);
    assert_memory_equal(done->shared, is_refused ? zero : with->wanted, 32);
}

static void check_agreements(size_t count)
{
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t first = 0; first < count; first++) {
            struct hf_p256_agree operations[LANES];
            uint8_t shared[LANES][32];

            for (size_t i = 0; i < LANES; i++) {
                const struct agreement *with = &agreements[(first + i) % count];

                operations[i] =
                    (struct hf_p256_agree){with->private_key, with->peer, shared[i], 99};
            }
            backend_at(b)->agree(operations, LANES);
            for (size_t i = 0; i < LANES; i++)
                check_agreement(&agreements[(first + i) % count], &operations[i]);
            if (backend_at(b)->lanes == 1)
                first += LANES - 1;
        }
    }
}

static void ecdh_points(void **state)
{
    size_t others;
    size_t count = agreements_read("ecdh_secp256r1_ecpoint_test.json", false, &others);

    (void)state;
    if (count == 0)
        skip();
    printf("%zu vectors; %zu with a point that is not uncompressed\n", count, others);
    assert_true(count > 200);
    check_agreements(count);
}

static void ecdh_keys(void **state)
{
    size_t others;
    size_t count = agreements_read("ecdh_secp256r1_test.json", true, &others);

    (void)state;
    if (count == 0)
        skip();
    printf("%zu vectors; %zu with a key that is not an uncompressed point of the named curve\n",
           count, others);
    assert_true(count > 200);
    check_agreements(count);
}

/* DER to r || s; false for what is no signature before any arithmetic. */
static bool signature_read(uint8_t out[64], const struct json_vector *in)
{
    ECDSA_SIG *parsed = ECDSA_SIG_from_bytes(in->data, in->len);
    bool is_read = parsed && BN_bn2bin_padded(out, 32, ECDSA_SIG_get0_r(parsed)) &&
                   BN_bn2bin_padded(out + 32, 32, ECDSA_SIG_get0_s(parsed));

    ECDSA_SIG_free(parsed);
    return is_read;
}

static size_t signatures_read(size_t *others)
{
    static struct json_vector vector;
    json_t *root = json_vectors_load(HF_SOURCE_DIR, "ecdsa_secp256r1_sha256_test.json");
    size_t count = 0;
    size_t g;
    size_t t;
    json_t *group;
    json_t *test;

    *others = 0;
    if (!root)
        return 0;
    json_array_foreach(json_object_get(root, "testGroups"), g, group)
    {
        json_array_foreach(json_object_get(group, "tests"), t, test)
        {
            struct signature *made = &signatures[count];
            struct hf_sha256 hash;

            json_vector_read(&vector, test, "sig");
            if (!signature_read(made->signature, &vector)) {
                assert_false(json_vector_is_valid(test));
                (*others)++;
                continue;
            }
            json_vector_read(&vector, test, "msg");
            hf_sha256_init(&hash);
            hf_sha256_update(&hash, vector.data, vector.len);
            hf_sha256_final(made->digest, &hash);
            json_vector_read(&vector, json_object_get(group, "publicKey"), "uncompressed");
            assert_int_equal(vector.len, 65);
            memcpy(made->key, vector.data, 65);
            made->is_valid = json_vector_is_valid(test);
            made->id = json_vector_int(test, "tcId");
            assert_true(++count < VECTORS_MAX);
        }
    }
    json_decref(root);
    return count;
}

static void ecdsa(void **state)
{
    size_t others;
    size_t count = signatures_read(&others);

    (void)state;
    if (count == 0)
        skip();
    printf("%zu vectors; %zu whose signature does not parse\n", count, others);
    assert_true(count > 200);
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t first = 0; first < count; first++) {
            struct hf_p256_verify operations[LANES];

            for (size_t i = 0; i < LANES; i++) {
                const struct signature *with = &signatures[(first + i) % count];

                operations[i] =
                    (struct hf_p256_verify){with->key, with->digest, with->signature, 99, NULL};
            }
            backend_at(b)->verify(operations, LANES);
            for (size_t i = 0; i < LANES; i++) {
                const struct signature *with = &signatures[(first + i) % count];

                if (operations[i].status != (with->is_valid ? HF_OK : HF_E_BAD_SIGNATURE))
                    fail_msg("%s, lane %zu, vector %d", backend_at(b)->name, i, with->id);
            }
            if (backend_at(b)->lanes == 1)
                first += LANES - 1;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ecdh_points),
        cmocka_unit_test(ecdh_keys),
        cmocka_unit_test(ecdsa),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
