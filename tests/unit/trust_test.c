/**
 * trust_test.c - what an hf_trust is opened from: anchors, CRLs, pins and names, good and bad; what
 * it says afterwards; memory that runs out.
 */
#include "chain_world.h"

#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* SHA-256 of the SubjectPublicKeyInfo of P-256's generator. */
#define DIGEST "XNJS-wzokyQ2-vjM0QQJgbie5K1rn-niorfnGqyyfNM"
#define DIGEST_128 "XNJS-wzokyQ2-vjM0QQJgQ"
#define DIGEST_120 "XNJS-wzokyQ2-vjM0QQJ"

static const uint8_t generator_message[] = {
    0x00, 0x00, 0x5b, 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x6b, 0x17,
    0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
    0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3,
    0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
    0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

static struct chain_world world;

static struct hf_bytes view(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static enum hf_status walk_raw(struct hf_peer_identity *peer, const struct hf_trust *trust,
                               const struct hf_expected_peer *expected)
{
    struct hf_job job = {.parts = HF_JOB_CHAIN,
                         .trust = trust,
                         .chain_is_raw = true,
                         .expected = expected,
                         .chain = generator_message,
                         .chain_len = sizeof generator_message};
    struct hf_job *jobs = &job;
    hf_job_run(&jobs, 1);
    *peer = job.peer;
    return job.status;
}

static struct hf_trust *open_pins(const char *pins)
{
    struct hf_trust_source source;
    struct hf_trust *trust = NULL;
    const char *why = "";
    hf_trust_source_init(&source);
    source.flavours = HF_FLAVOUR_RAW;
    source.raw_keys = view(pins);
    if (hf_trust_open(&trust, &why, &source) != HF_OK) {
        assert_null(trust);
        assert_non_null(why);
        return NULL;
    }
    return trust;
}

static void test_pins_of_every_length(void **state)
{
    static const struct {
        const char *line, *entity_id, *credential_id;
        enum hf_entity_kind kind;
    } rows[] = {
        {"ni:///sha-256;" DIGEST " //sp.example/mn\n", "//sp.example/mn", "30-sha-256-" DIGEST,
         HF_ENTITY_CSE},
        {"sha-256-128;" DIGEST_128 " //sp.example/S1", "//sp.example/S1",
         "30-sha-256-128-" DIGEST_128, HF_ENTITY_AE},
        {"# all\n\n \t sha-256-120;" DIGEST_120 "  -   # ask\r\n", "", "30-sha-256-120-" DIGEST_120,
         HF_ENTITY_PENDING},
        {"sha-256;" DIGEST " - 30-mine", "", "30-mine", HF_ENTITY_PENDING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct hf_peer_identity peer;
        struct hf_trust *trust = open_pins(rows[i].line);
        assert_non_null(trust);
        assert_int_equal(walk_raw(&peer, trust, NULL), HF_OK);
        assert_int_equal(peer.flavour, HF_FLAVOUR_RAW);
        assert_int_equal(peer.entity_kind, rows[i].kind);
        assert_int_equal(peer.entity_id_len, strlen(rows[i].entity_id));
        assert_memory_equal(peer.entity_id, rows[i].entity_id, peer.entity_id_len);
        assert_int_equal(peer.credential_id_len, strlen(rows[i].credential_id));
        assert_memory_equal(peer.credential_id, rows[i].credential_id, peer.credential_id_len);
        assert_memory_equal(peer.public_key, generator_message + 29, 65);
        assert_int_equal(peer.handle_count, 1);
        assert_false(hf_trust_is_revoked(trust, peer.handles[0]));
        hf_trust_close(trust);
        trust = open_pins("sha-256-120;"
                          "AAAAAAAAAAAAAAAAAAAA //sp.example/mn\n");
        assert_true(hf_trust_is_revoked(trust, peer.handles[0])); /* no longer pinned */
        hf_trust_close(trust);
    }
}

static void test_bad_pins_are_refused(void **state)
{
    static const char *const lines[] = {
        "sha-256-96;XNJS-wzokyQ2-vjM /mn", /* too short an algorithm */
        "sha-256-64;XNJS-wzokyQ /mn",
        "sha-256-32;XNJS-w /mn",
        "sha-1;XNJS-wzokyQ2-vjM0QQJgbie5K0 /mn",
        "sha-256;" DIGEST_128 " /mn",     /* too short a digest */
        "sha-256-120;" DIGEST_128 " /mn", /* too long */
        "sha-256;" DIGEST "= /mn",
        "sha-256;XNJS+wzokyQ2+vjM0QQJgbie5K1rn+niorfnGqyyfNM /mn", /* not base64url */
        "sha-256:" DIGEST " /mn",
        "nih:///sha-256;" DIGEST " /mn",
        "sha-256;" DIGEST,           /* no entity */
        "sha-256;" DIGEST " nobody", /* no identifier */
        "sha-256;" DIGEST " /mn 30-x more",
        "sha-256;" DIGEST " /mn\nsha-256-120;" DIGEST_120 " /other", /* one key, two entities */
        ";",
        "sha-256; /mn",
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct hf_trust *trust = open_pins(lines[i]);
        if (trust)
            fail_msg("taken: %s", lines[i]);
    }
}

static void test_a_raw_key_has_to_be_the_one_that_was_dialled(void **state)
{
    struct hf_peer_identity peer;
    struct hf_trust *trust = open_pins("sha-256;" DIGEST " //sp.example/mn\n");
    struct hf_expected_peer any = {.flavour = HF_FLAVOUR_RAW};
    struct hf_expected_peer mn = {HF_FLAVOUR_RAW, view("//sp.example/mn")};
    struct hf_expected_peer other = {HF_FLAVOUR_RAW, view("//sp.example/mo")};
    struct hf_expected_peer cse = {HF_FLAVOUR_CSE_ID, view("//sp.example/mn")};
    (void)state;
    assert_int_equal(walk_raw(&peer, trust, &any), HF_OK);
    assert_int_equal(walk_raw(&peer, trust, &mn), HF_OK);
    assert_int_equal(walk_raw(&peer, trust, &other), HF_E_PEER_NAME);
    assert_int_equal(walk_raw(&peer, trust, &cse), HF_E_PEER_NAME);
    hf_trust_close(trust);
    trust = open_pins("");
    assert_int_equal(walk_raw(&peer, trust, NULL), HF_E_RAW_KEY_UNKNOWN);
    hf_trust_close(trust);
}

static void must_not_open(const char *line, const char *expected)
{
    const char *why = NULL;
    chain_world_make(&world, line);
    struct hf_trust *trust = chain_world_trust(&world, &why);
    if (trust || !strstr(why, expected))
        fail_msg("[%s] %s", line, trust ? "taken" : why);
}

static void test_bad_anchors_crls_and_names_are_refused(void **state)
{
    (void)state;
    must_not_open("anchors=none", "no anchor");
    must_not_open("anchors=ca", "leads to no trusted CA"); /* not self-issued */
    must_not_open("root.ca=no", "is not a CA");
    must_not_open("root.ku=crl", "key usage");
    must_not_open("root.signer=ca", "signature");
    must_not_open("root.hash=sha1 root.signer=root", "SHA-256");
    must_not_open("root.key=compressed", "uncompressed");
    must_not_open("root.version=1", "version");
    must_not_open("root.extra=1.3.6.1.4.1.9!", "must be understood");
    must_not_open("root.damage=tail", "parse");
    must_not_open("ca2.subject=O=sp.example,CN=root ca2.by=ca2 ca2.id=root-id ca2.akid=none "
                  "anchors=root,ca2",
                  "one name");
    must_not_open("trust.depth=8", "depth_max");
    must_not_open("trust.depth=0", "depth_max");
    must_not_open("crl.of=root crl.signer=ca", "signature is wrong");
    must_not_open("crl.of=root crl.hash=sha1", "SHA-256");
    must_not_open("crl.of=root crl.to=none", "nextUpdate");
    must_not_open("crl.of=root crl.revokes=leaf!", "entry");
    must_not_open("crl.of=root crl.extra=2.5.29.27!:020101", "delta");
    must_not_open("crl.of=root crl.extra=2.5.29.28:3000", "partial");
    must_not_open("crl.of=root crl.extra=2.5.29.20:020102", "critical"); /* twice */
    must_not_open("crl.of=root crl.extra=1.3.6.1.4.1.9!", "critical");
    must_not_open("trust.names=/in@in.sp.example", "absolute");
    must_not_open("trust.names=//sp.example/S1@localhost", "host");
    must_not_open("trust.names=//sp.example/a@a.example,//sp.example/b@A.example", "twice");
}

static void test_texts_that_are_no_pem(void **state)
{
    static const char *const texts[] = {
        "nothing", "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct hf_trust_source source;
        struct hf_trust *trust = NULL;
        const char *why;
        hf_trust_source_init(&source);
        source.flavours = HF_FLAVOUR_CSE_ID;
        source.anchors_pem = view(texts[i]);
        assert_int_equal(hf_trust_open(&trust, &why, &source), HF_E_CONFIG);
        assert_null(trust);
        chain_world_make(&world, "");
        world.source.crls_pem = view(texts[i]);
        trust = chain_world_trust(&world, &why);
        assert_true(i == 0 ? trust != NULL : trust == NULL); /* no block is no CRL */
        hf_trust_close(trust);
    }
}

/* A later CRL, and an anchor that goes, end what was established under an earlier hf_trust. */
static void test_handles_tell_who_is_revoked_later(void **state)
{
    struct hf_peer_identity peer;
    const char *why;
    (void)state;
    chain_world_make(&world, "");
    struct hf_trust *trust = chain_world_trust(&world, &why);
    assert_int_equal(chain_world_walk(&peer, &world, trust), HF_OK);
    assert_int_equal(peer.handle_count, 3); /* leaf, CA, anchor */
    assert_int_equal(peer.expires_s, CHAIN_WORLD_NOW + 100 * 86400 - 1);
    for (size_t i = 0; i < peer.handle_count; i++)
        assert_false(hf_trust_is_revoked(trust, peer.handles[i]));
    hf_trust_close(trust);

    static const char *const later[] = {"crl.of=ca crl.revokes=leaf", "crl.of=root crl.revokes=ca",
                                        "anchors=ca2 ca2.by=ca2"};
    for (size_t j = 0; j < 3; j++) {
        chain_world_make(&world, later[j]);
        trust = chain_world_trust(&world, &why);
        assert_non_null(trust);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(hf_trust_is_revoked(trust, peer.handles[i]), i == j);
        hf_trust_close(trust);
    }
}

static void test_expiry_and_names_for_the_peer(void **state)
{
    int64_t anchors_s, crls_s;
    const char *why;
    (void)state;
    chain_world_make(&world, "anchors=root,ca2,root ca2.by=ca2 ca2.to=7 crl.of=root crl.to=3 "
                             "crl.of=ca crl.to=5");
    struct hf_trust *trust = chain_world_trust(&world, &why);
    assert_non_null(trust);
    hf_trust_validity(&anchors_s, &crls_s, trust);
    assert_int_equal(anchors_s, CHAIN_WORLD_NOW + 7 * 86400);
    assert_int_equal(crls_s, CHAIN_WORLD_NOW + 3 * 86400);
    struct hf_bytes names = hf_trust_issuer_names(trust);
    size_t count = 0;
    for (; names.len > 0; count++) {
        size_t len = (size_t)names.data[0] << 8 | names.data[1];
        assert_int_equal(names.data[2], 0x30);
        names = (struct hf_bytes){names.data + 2 + len, names.len - 2 - len};
    }
    assert_int_equal(count, 2); /* one was given twice */
    hf_trust_close(trust);
}

/* The CRL of an intermediate CA is verified with the first chain, and not again. */
static void test_a_crl_is_verified_once(void **state)
{
    struct hf_peer_identity peer;
    struct hf_job_counters before, between, after;
    const char *why;
    (void)state;
    chain_world_make(&world, "crl.of=ca crl.of=root trust.crl=required");
    struct hf_trust *trust = chain_world_trust(&world, &why);
    assert_non_null(trust);
    hf_job_read_counters(&before);
    assert_int_equal(chain_world_walk(&peer, &world, trust), HF_OK);
    hf_job_read_counters(&between);
    assert_int_equal(chain_world_walk(&peer, &world, trust), HF_OK);
    hf_job_read_counters(&after);
    assert_int_equal(between.operations[HF_JOB_KIND_VERIFY] - before.operations[HF_JOB_KIND_VERIFY],
                     3);
    assert_int_equal(after.operations[HF_JOB_KIND_VERIFY] - between.operations[HF_JOB_KIND_VERIFY],
                     2);
    hf_trust_close(trust);
}

/* The name of a CA does not make its CRL: another CA of that name is not believed either. */
static void test_a_crl_of_another_key_is_not_believed(void **state)
{
    struct hf_peer_identity peer;
    const char *why;
    (void)state;
    chain_world_make(&world, "crl.of=ca crl.signer=ca2");
    struct hf_trust *trust = chain_world_trust(&world, &why);
    assert_non_null(trust);
    for (int i = 0; i < 2; i++)
        assert_int_equal(chain_world_walk(&peer, &world, trust), HF_E_CHAIN_SIGNATURE);
    hf_trust_close(trust);
}

static int make_keys(void **state)
{
    (void)state;
    chain_world_keys();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pins_of_every_length),
        cmocka_unit_test(test_bad_pins_are_refused),
        cmocka_unit_test(test_a_raw_key_has_to_be_the_one_that_was_dialled),
        cmocka_unit_test(test_bad_anchors_crls_and_names_are_refused),
        cmocka_unit_test(test_texts_that_are_no_pem),
        cmocka_unit_test(test_handles_tell_who_is_revoked_later),
        cmocka_unit_test(test_expiry_and_names_for_the_peer),
        cmocka_unit_test(test_a_crl_is_verified_once),
        cmocka_unit_test(test_a_crl_of_another_key_is_not_believed),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
