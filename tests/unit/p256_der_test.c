/**
 * p256_der_test.c - ECDSA signatures in DER: Wycheproof's vectors by way of a job, and every form
 * of length a number can have.
 */
#include "json_vectors.h"
#include "p256_der.h"

#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct json_vector message, signature, key;

static bool verifies(void)
{
    struct hf_job job = {.parts = HF_JOB_VERIFY};
    struct hf_job *pointer = &job;
    struct hf_sha256 hash;

    if (signature.len > sizeof job.verify_signature)
        return false; // the engine drops what does not fit a job
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, message.data, message.len);
    hf_sha256_final(job.verify_digest, &hash);
    memcpy(job.verify_signature, signature.data, signature.len);
    job.verify_signature_len = (uint8_t)signature.len;
    assert_int_equal(key.len, sizeof job.verify_key);
    memcpy(job.verify_key, key.data, key.len);
    hf_job_run(&pointer, 1);
    return job.status == HF_OK;
}

static void test_vectors(void **state)
{
    json_t *file = json_vectors_load(HF_SOURCE_DIR, "ecdsa_secp256r1_sha256_test.json");
    size_t group_index, test_index, count = 0;
    const json_t *group, *test;

    (void)state;
    if (!file)
        skip();
    json_array_foreach(json_object_get(file, "testGroups"), group_index, group)
    {
        json_vector_read(&key, json_object_get(group, "publicKey"), "uncompressed");
        json_array_foreach(json_object_get(group, "tests"), test_index, test)
        {
            json_vector_read(&message, test, "msg");
            json_vector_read(&signature, test, "sig");
            if (verifies() != json_vector_is_valid(test))
                fail_msg("tcId %d", json_vector_int(test, "tcId"));
            count++;
        }
    }
    print_message("%zu vectors\n", count);
    assert_int_equal(count, (size_t)json_integer_value(json_object_get(file, "numberOfTests")));
    json_decref(file);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    for (size_t r_zeros = 0; r_zeros < 32; r_zeros++) {
        for (unsigned top = 1; top < 256; top += 127) {
            uint8_t in[HF_P256_SIGNATURE_LEN];
            uint8_t out[HF_P256_SIGNATURE_LEN];
            uint8_t der[HF_P256_SIGNATURE_MAX];
            uint8_t len;

            memset(in, 0x80, sizeof in);
            memset(in, 0, r_zeros);
            in[r_zeros] = (uint8_t)top;
            len = hf_p256_der_write(der, in);
            assert_true(hf_p256_der_read(out, (struct hf_bytes){der, len}));
            assert_memory_equal(in, out, sizeof in);
            for (uint8_t cut = 0; cut < len; cut++)
                assert_false(hf_p256_der_read(out, (struct hf_bytes){der, cut}));
        }
    }
}

static void must_refuse(const char *hex)
{
    uint8_t der[128];
    uint8_t out[HF_P256_SIGNATURE_LEN];
    size_t len = hex_read(der, sizeof der, hex);

    if (hf_p256_der_read(out, (struct hf_bytes){der, len}))
        fail_msg("read: %s", hex);
}

static void test_other_forms_are_refused(void **state)
{
    uint8_t out[HF_P256_SIGNATURE_LEN];
    uint8_t zero[] = {0x30, 6, 2, 1, 0, 2, 1, 0};

    (void)state;
    assert_true(hf_p256_der_read(out, (struct hf_bytes){zero, sizeof zero})); // range: not here
    must_refuse("");
    must_refuse("3006020101020101ff");   // something behind
    must_refuse("3007020101020101ff");   // something inside
    must_refuse("30060201ff020101");     // negative
    must_refuse("300702020001020101");   // not minimal
    must_refuse("3005020002010100");     // empty number
    must_refuse("308106020101020101");   // long form of a short length
    must_refuse("30800201010201010000"); // indefinite length
    must_refuse("3106020101020101");
    must_refuse("3006030101020101");
    must_refuse("3003020101");
    must_refuse(
        "3026022101000000000000000000000000000000000000000000000000000000000000000000020101");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_other_forms_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
