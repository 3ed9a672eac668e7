/**
 * trust_pin_test.c - raw public keys pinned by RFC 6920 digest: what a line may say, and what is
 * then believed. The digests are those of the generator of P-256 as a public key, computed
 * independently.
 */
#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHA_256 "XNJS-wzokyQ2-vjM0QQJgbie5K1rn-niorfnGqyyfNM"
#define SHA_256_128 "XNJS-wzokyQ2-vjM0QQJgQ"
#define SHA_256_120 "XNJS-wzokyQ2-vjM0QQJ"

/* The Certificate message of RFC 7250 with the generator as key. */
static const uint8_t generator_message[94] = {
    0x00, 0x00, 0x5b, 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x6b, 0x17,
    0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3,
    0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

static enum hf_status open_pins(struct hf_trust **out, const char *text)
{
    struct hf_trust_source source;
    const char *why = NULL;
    enum hf_status status;

    hf_trust_source_init(&source);
    source.flavours = HF_FLAVOUR_RAW;
    source.epoch = 5;
    source.raw_keys = (struct hf_bytes){(const uint8_t *)text, strlen(text)};
    status = hf_trust_open(out, &why, &source);
    if (status != HF_OK)
        assert_non_null(why);
    return status;
}

/* The generator's own pin is judged: the job asks for nothing but the chain. */
static struct hf_job judge(const struct hf_trust *trust)
{
    struct hf_job job = {.parts = HF_JOB_CHAIN,
                         .trust = trust,
                         .chain_is_raw = true,
                         .chain = generator_message,
                         .chain_len = sizeof generator_message};
    struct hf_job *pointer = &job;

    hf_job_run(&pointer, 1);
    return job;
}

static void must_accept(const char *pins, const char *entity_id, const char *credential_id)
{
    struct hf_trust *trust;
    struct hf_job job;

    assert_int_equal(open_pins(&trust, pins), HF_OK);
    job = judge(trust);
    assert_int_equal(job.status, HF_OK);
    assert_int_equal(job.peer.entity_id_len, strlen(entity_id));
    assert_memory_equal(job.peer.entity_id, entity_id, strlen(entity_id));
    assert_int_equal(job.peer.credential_id_len, strlen(credential_id));
    assert_memory_equal(job.peer.credential_id, credential_id, strlen(credential_id));
    assert_int_equal(job.peer.handle_count, 1);
    assert_false(hf_trust_is_revoked(trust, job.peer.handles[0]));
    hf_trust_close(trust);
}

static void must_refuse(const char *pins)
{
    struct hf_trust *trust = NULL;

    if (open_pins(&trust, pins) != HF_E_CONFIG)
        fail_msg("accepted: %s", pins);
    assert_null(trust);
}

static void test_all_three_lengths_are_known(void **state)
{
    (void)state;
    must_accept("ni:///sha-256;" SHA_256 " /in-cse\n", "/in-cse", "30-sha-256-" SHA_256);
    must_accept("sha-256-128;" SHA_256_128 " //sp/S1", "//sp/S1", "30-sha-256-128-" SHA_256_128);
    must_accept("sha-256-120;" SHA_256_120 "\t/x/C1 30-mine\r\n", "/x/C1", "30-mine");
}

static void test_comments_blanks_and_others_do_no_harm(void **state)
{
    (void)state;
    must_accept("# raw keys\n\n  \t\n"
                "sha-256-120;AAAAAAAAAAAAAAAAAAAA /a\n"
                "  sha-256-120;" SHA_256_120 "  -  # to be asked for\n"
                "sha-256-120;____________________ /b\n",
                "", "30-sha-256-120-" SHA_256_120);
}

static void test_an_unknown_key_is_refused(void **state)
{
    struct hf_trust *trust;
    struct hf_job job;

    (void)state;
    assert_int_equal(open_pins(&trust, "sha-256-120;XNJS-wzokyQ2-vjM0QQK /a\n"), HF_OK);
    job = judge(trust);
    assert_int_equal(job.status, HF_E_RAW_KEY_UNKNOWN);
    hf_trust_close(trust);
    assert_int_equal(open_pins(&trust, ""), HF_OK);
    job = judge(trust);
    assert_int_equal(job.status, HF_E_RAW_KEY_UNKNOWN);
    hf_trust_close(trust);
}

static void test_the_flavour_must_be_accepted(void **state)
{
    static const char pin[] = "sha-256;" SHA_256 " /in-cse\n";
    struct hf_trust_source source;
    struct hf_trust *trust;
    struct hf_job job;
    const char *why;

    (void)state;
    hf_trust_source_init(&source);
    source.raw_keys = (struct hf_bytes){(const uint8_t *)pin, sizeof pin - 1};
    assert_int_equal(hf_trust_open(&trust, &why, &source), HF_OK);
    job = judge(trust);
    assert_int_equal(job.status, HF_E_CERTIFICATE_TYPE);
    hf_trust_close(trust);
}

static void test_bad_lines_are_refused(void **state)
{
    (void)state;
    must_refuse("sha-256-96;XNJS-wzokyQ2-vjM /a\n"); // TS-0003 10.1.2: too short
    must_refuse("sha-256-64;XNJS-wzokyQ /a\n");
    must_refuse("sha-256-32;XNJS-w /a\n");
    must_refuse("sha-512;" SHA_256 " /a\n");
    must_refuse("sha-25;" SHA_256 " /a\n");
    must_refuse(SHA_256 " /a\n");
    must_refuse("sha-256;" SHA_256_128 " /a\n");
    must_refuse("sha-256-120;" SHA_256_128 " /a\n");
    must_refuse("sha-256;" SHA_256 "= /a\n");
    must_refuse("sha-256-120;XNJS+wzokyQ2+vjM0QQJ /a\n"); // not the URL's alphabet
    must_refuse("sha-256-120;XNJS*wzokyQ2-vjM0QQJ /a\n");
    must_refuse("ni://host/sha-256;" SHA_256 " /a\n");
    must_refuse("sha-256;" SHA_256 "\n");
    must_refuse("sha-256;" SHA_256 " /a b c\n");
    must_refuse("sha-256;" SHA_256 " neither\n");
}

static void test_it_is_shared_and_asked(void **state)
{
    struct hf_trust *trust;

    (void)state;
    assert_int_equal(open_pins(&trust, "sha-256;" SHA_256 " /in-cse\n"), HF_OK);
    assert_ptr_equal(hf_trust_share(trust), trust);
    hf_trust_close(trust);
    assert_int_equal(hf_trust_epoch(trust), 5);
    assert_int_equal(hf_trust_flavours(trust), HF_FLAVOUR_RAW);
    assert_int_equal(hf_trust_chain_len_max(trust), 8192);
    assert_int_equal(hf_trust_issuer_names(trust).len, 0);
    hf_trust_close(trust);
    hf_trust_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_three_lengths_are_known),
        cmocka_unit_test(test_comments_blanks_and_others_do_no_harm),
        cmocka_unit_test(test_an_unknown_key_is_refused),
        cmocka_unit_test(test_the_flavour_must_be_accepted),
        cmocka_unit_test(test_bad_lines_are_refused),
        cmocka_unit_test(test_it_is_shared_and_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
