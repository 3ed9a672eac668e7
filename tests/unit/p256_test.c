/**
 * p256_test.c - the contract of p256.h, for every back end: what is made verifies, what is
 * exchanged agrees, what is wrong is refused and disturbs nothing beside it.
 */
#include "p256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_MAX 19

static const struct hf_p256_backend *backend_at(size_t index)
{
    const struct hf_p256_backend *const all[] = {hf_p256_portable(), hf_p256_best(),
                                                 hf_p256_lanes()};

    return index < sizeof all / sizeof all[0] ? all[index] : NULL;
}

static uint8_t private_keys[2][COUNT_MAX][HF_P256_SCALAR_LEN];
static uint8_t public_keys[2][COUNT_MAX][HF_P256_POINT_LEN];

static void make_keys(const struct hf_p256_backend *backend, size_t side, size_t count)
{
    struct hf_p256_generate operations[COUNT_MAX];

    for (size_t i = 0; i < count; i++)
        operations[i] = (struct hf_p256_generate){.private_key = private_keys[side][i],
                                                  .public_key = public_keys[side][i],
                                                  .status = HF_WAITING};
    backend->generate(operations, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(operations[i].status, HF_OK);
}

static void both_sides_agree(void **state)
{
    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t count = 1; count <= COUNT_MAX; count += 3) {
            struct hf_p256_agree operations[2][COUNT_MAX];
            uint8_t shared[2][COUNT_MAX][HF_P256_SCALAR_LEN];

            make_keys(backend_at(b), 0, count);
            make_keys(backend_at(b), 1, count);
            for (size_t side = 0; side < 2; side++) {
                for (size_t i = 0; i < count; i++)
                    operations[side][i] =
                        (struct hf_p256_agree){.private_key = private_keys[side][i],
                                               .peer = public_keys[1 - side][i],
                                               .shared = shared[side][i],
                                               .status = HF_WAITING};
                backend_at(b)->agree(operations[side], count);
            }
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(operations[0][i].status, HF_OK);
                assert_int_equal(operations[1][i].status, HF_OK);
                assert_memory_equal(shared[0][i], shared[1][i], HF_P256_SCALAR_LEN);
            }
        }
    }
}

static void signatures_verify_and_wrong_ones_do_not(void **state)
{
    (void)state;
    for (size_t b = 0; backend_at(b); b++) {
        for (size_t count = 1; count <= COUNT_MAX; count += 3) {
            struct hf_p256_key keys[COUNT_MAX];
            struct hf_p256_sign sign[COUNT_MAX];
            struct hf_p256_verify verify[COUNT_MAX];
            uint8_t digests[COUNT_MAX][32];
            uint8_t signatures[COUNT_MAX][HF_P256_SIGNATURE_LEN];

            make_keys(backend_at(b), 0, count);
            hf_random(digests, sizeof digests);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(hf_p256_key_open(&keys[i], private_keys[0][i]), HF_OK);
                assert_memory_equal(keys[i].public_key, public_keys[0][i], HF_P256_POINT_LEN);
                sign[i] = (struct hf_p256_sign){&keys[i], digests[i], signatures[i], HF_WAITING};
                verify[i] = (struct hf_p256_verify){public_keys[0][i], digests[i], signatures[i],
                                                    HF_WAITING, NULL};
            }
            backend_at(b)->sign(sign, count);
            // Every third is harmed: in the signature, the digest, the key.
            for (size_t i = 0; i < count; i += 3) {
                uint8_t *const harmed[] = {signatures[i], digests[i], public_keys[0][i]};

                harmed[i / 3 % 3][1 + i] ^= 0x20;
            }
            backend_at(b)->verify(verify, count);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(sign[i].status, HF_OK);
                assert_int_equal(verify[i].status, i % 3            ? HF_OK
                                                   : i / 3 % 3 == 2 ? HF_E_ILLEGAL_PARAMETER
                                                                    : HF_E_BAD_SIGNATURE);
                hf_p256_key_close(&keys[i]);
            }
        }
    }
}

static void keys_out_of_range_are_refused(void **state)
{
    struct hf_p256_key key;
    uint8_t scalar[HF_P256_SCALAR_LEN] = {0};

    (void)state;
    assert_int_equal(hf_p256_key_open(&key, scalar), HF_E_ILLEGAL_PARAMETER);
    memset(scalar, 0xff, sizeof scalar);
    assert_int_equal(hf_p256_key_open(&key, scalar), HF_E_ILLEGAL_PARAMETER);
    hf_p256_key_close(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(signatures_verify_and_wrong_ones_do_not),
        cmocka_unit_test(keys_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
