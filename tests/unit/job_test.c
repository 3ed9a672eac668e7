/**
 * job_test.c - the scheduler: every combination of parts a handshake asks for, alone and in crowds,
 * with bad ones among the good; raw public keys; remote signers; counters.
 */
#include "credential_maker.h"
#include "p256.h"

#include <handfast/handfast.h>

#include <openssl/nid.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CROWD 150 /* more than two chunks */

static struct {
    struct hf_credential *server, *client, *remote;
    struct hf_trust *trust;
    struct maker_text key;
} shared;

static struct hf_credential *open_credential(struct hf_bytes key, struct hf_bytes public_key)
{
    struct hf_credential *credential;
    const char *why;
    struct hf_credential_source source = {
        .key_pem = key, .public_key_pem = public_key, .remote = 3};

    assert_int_equal(hf_credential_open(&credential, &why, &source), HF_OK);
    return credential;
}

/* base64url of a digest, as a line of raw_keys has it. */
static void pin_line(char *out, size_t out_max, const uint8_t *digest, size_t len, const char *rest)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[64] = "";

    for (size_t i = 0; i < (len * 8 + 5) / 6; i++) {
        size_t byte = i * 6 / 8, shift = i * 6 % 8;
        unsigned pair = (unsigned)digest[byte] << 8 | (byte + 1 < len ? digest[byte + 1] : 0);

        text[i] = alphabet[(pair >> (10 - shift)) & 63];
    }
    snprintf(out, out_max, "ni:///sha-256%s;%s %s\n",
             len == 32   ? ""
             : len == 16 ? "-128"
                         : "-120",
             text, rest);
}

static struct hf_trust *open_trust(const char *pins)
{
    struct hf_trust_source source;
    struct hf_trust *trust;
    const char *why;

    hf_trust_source_init(&source);
    source.flavours = HF_FLAVOUR_RAW;
    source.raw_keys = (struct hf_bytes){(const uint8_t *)pins, strlen(pins)};
    if (hf_trust_open(&trust, &why, &source) != HF_OK)
        fail_msg("%s", why);
    return trust;
}

static int make_shared(void **state)
{
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    static struct maker_text public_key;
    static struct maker_text other;
    char line[256];

    (void)state;
    maker_add_key(&shared.key, key);
    maker_add_public(&public_key, key);
    shared.server = open_credential(maker_view(&shared.key), (struct hf_bytes){NULL, 0});
    shared.remote = open_credential((struct hf_bytes){NULL, 0}, maker_view(&public_key));
    EVP_PKEY_free(key);
    key = maker_key(NID_X9_62_prime256v1);
    maker_add_key(&other, key);
    shared.client = open_credential(maker_view(&other), (struct hf_bytes){NULL, 0});
    EVP_PKEY_free(key);
    pin_line(line, sizeof line, hf_credential_key_digest(shared.client), 32,
             "//sp.example/S7 my-id");
    shared.trust = open_trust(line);
    return 0;
}

static int free_shared(void **state)
{
    (void)state;
    hf_credential_close(shared.server);
    hf_credential_close(shared.client);
    hf_credential_close(shared.remote);
    hf_trust_close(shared.trust);
    return 0;
}

static void run_one(struct hf_job *job)
{
    hf_job_run(&job, 1);
}

static void run_many(struct hf_job *jobs, size_t count)
{
    struct hf_job *pointers[CROWD];

    for (size_t i = 0; i < count; i++)
        pointers[i] = &jobs[i];
    hf_job_run(pointers, count);
}

static bool is_zero(const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static void fill_offer(struct hf_job *job, uint8_t seed)
{
    memset(job, 0, sizeof *job);
    job->parts = HF_JOB_GENERATE | HF_JOB_SIGN;
    job->credential = shared.server;
    job->sign_is_share = true;
    memset(job->client_random, seed, 32);
    memset(job->server_random, seed + 1, 32);
    job->status = HF_E_STATE;
}

/* The client's half: {CHAIN, VERIFY, AGREE} of the server, made with other jobs. */
static void fill_accept(struct hf_job *accept, const struct hf_job *offer, uint8_t seed)
{
    struct hf_bytes message = hf_credential_message(shared.client, true);
    struct hf_job share = {.parts = HF_JOB_GENERATE | HF_JOB_SIGN, .credential = shared.client};

    memset(share.sign_digest, seed, 32);
    run_one(&share);
    assert_int_equal(share.status, HF_OK);
    memset(accept, 0, sizeof *accept);
    accept->parts = HF_JOB_CHAIN | HF_JOB_AGREE | HF_JOB_VERIFY;
    accept->trust = shared.trust;
    accept->chain_is_raw = true;
    accept->chain = message.data;
    accept->chain_len = (uint32_t)message.len;
    memcpy(accept->private_key, offer->private_key, 32);
    memcpy(accept->peer_share, share.public_key, 65);
    memcpy(accept->verify_digest, share.sign_digest, 32);
    memcpy(accept->verify_signature, share.signature, share.signature_len);
    accept->verify_signature_len = share.signature_len;
    accept->status = HF_E_STATE;
}

static void verify_offer(const struct hf_job *offer, enum hf_status expected)
{
    struct hf_job verify = {.parts = HF_JOB_VERIFY};

    memcpy(verify.verify_digest, offer->sign_digest, 32);
    memcpy(verify.verify_key, hf_credential_public_key(shared.server), 65);
    memcpy(verify.verify_signature, offer->signature, offer->signature_len);
    verify.verify_signature_len = offer->signature_len;
    run_one(&verify);
    assert_int_equal(verify.status, expected);
}

static void test_an_offer_is_a_key_and_its_signature(void **state)
{
    static const uint8_t params[] = {3, 0, 23, 65};
    struct hf_sha256 hash;
    struct hf_job offer;
    uint8_t digest[32];

    (void)state;
    fill_offer(&offer, 1);
    run_one(&offer);
    assert_int_equal(offer.status, HF_OK);
    assert_int_equal(offer.public_key[0], 4);
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, offer.client_random, 32);
    hf_sha256_update(&hash, offer.server_random, 32);
    hf_sha256_update(&hash, params, 4);
    hf_sha256_update(&hash, offer.public_key, 65);
    hf_sha256_final(digest, &hash);
    assert_memory_equal(digest, offer.sign_digest, 32);
    verify_offer(&offer, HF_OK);
    offer.sign_digest[5] ^= 1;
    verify_offer(&offer, HF_E_BAD_SIGNATURE);
}

static void test_both_sides_agree(void **state)
{
    struct hf_job a = {.parts = HF_JOB_GENERATE};
    struct hf_job b = {.parts = HF_JOB_GENERATE | HF_JOB_AGREE};

    (void)state;
    run_one(&a);
    memcpy(b.peer_share, a.public_key, 65);
    run_one(&b);
    assert_int_equal(b.status, HF_OK);
    a.parts = HF_JOB_AGREE;
    memcpy(a.peer_share, b.public_key, 65);
    run_one(&a);
    assert_int_equal(a.status, HF_OK);
    assert_memory_equal(a.shared_secret, b.shared_secret, 32);
    assert_false(is_zero(a.shared_secret, 32));
}

static void test_a_bad_share_is_refused(void **state)
{
    struct hf_job job = {.parts = HF_JOB_GENERATE | HF_JOB_AGREE};

    (void)state;
    memset(job.peer_share, 4, 65);
    run_one(&job);
    assert_int_equal(job.status, HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(hf_status_alert(job.status), 47);
    assert_true(is_zero(job.shared_secret, 32));
    assert_true(is_zero(job.private_key, 32));
}

static void test_a_raw_key_is_accepted_by_its_pin(void **state)
{
    struct hf_job offer, accept;

    (void)state;
    fill_offer(&offer, 1);
    run_one(&offer);
    fill_accept(&accept, &offer, 9);
    run_one(&accept);
    assert_int_equal(accept.status, HF_OK);
    assert_int_equal(accept.peer.flavour, HF_FLAVOUR_RAW);
    assert_int_equal(accept.peer.entity_kind, HF_ENTITY_AE);
    assert_int_equal(accept.peer.entity_id_len, 15);
    assert_memory_equal(accept.peer.entity_id, "//sp.example/S7", 15);
    assert_int_equal(accept.peer.credential_id_len, 5);
    assert_memory_equal(accept.peer.credential_id, "my-id", 5);
    assert_memory_equal(accept.peer.public_key, hf_credential_public_key(shared.client), 65);
    assert_int_equal(accept.peer.handle_count, 1);
    assert_false(hf_trust_is_revoked(shared.trust, accept.peer.handles[0]));
    accept.peer.handles[0][3] ^= 1;
    assert_true(hf_trust_is_revoked(shared.trust, accept.peer.handles[0]));
}

static void must_fail(const struct hf_job *good, void (*change)(struct hf_job *job),
                      enum hf_status expected, uint8_t alert)
{
    struct hf_job job = *good;

    change(&job);
    run_one(&job);
    assert_int_equal(job.status, expected);
    assert_int_equal(hf_status_alert(job.status), alert);
    assert_true(is_zero(&job.peer, sizeof job.peer));
    assert_true(is_zero(job.shared_secret, 32));
}

static uint8_t chain_copy[128];

static void borrow_chain(struct hf_job *job)
{
    memcpy(chain_copy, job->chain, job->chain_len);
    job->chain = chain_copy;
}

static void change_digest(struct hf_job *job)
{
    job->verify_digest[0] ^= 1;
}

static void change_signature_form(struct hf_job *job)
{
    job->verify_signature[0] = 0x31;
}

static void change_signature_len(struct hf_job *job)
{
    job->verify_signature_len = 255;
}

static void change_key(struct hf_job *job)
{
    borrow_chain(job);
    chain_copy[50] ^= 1;
}

static void change_curve(struct hf_job *job)
{
    borrow_chain(job);
    chain_copy[3 + 22] ^= 1;
}

static void change_der(struct hf_job *job)
{
    borrow_chain(job);
    chain_copy[3] = 0x31;
}

static void change_length(struct hf_job *job)
{
    job->chain_len--;
}

static void change_to_nothing(struct hf_job *job)
{
    job->chain_len = 2;
}

static void change_kind(struct hf_job *job)
{
    job->chain_is_raw = false;
}

static void change_flavour(struct hf_job *job)
{
    static const struct hf_expected_peer expected = {.flavour = HF_FLAVOUR_CSE_ID};

    job->expected = &expected;
}

static void change_name(struct hf_job *job)
{
    static const struct hf_expected_peer expected = {
        .flavour = HF_FLAVOUR_RAW, .entity_id = {(const uint8_t *)"//sp.example/S8", 15}};

    job->expected = &expected;
}

static void test_bad_proofs_are_refused(void **state)
{
    struct hf_job offer, accept;

    (void)state;
    fill_offer(&offer, 1);
    run_one(&offer);
    fill_accept(&accept, &offer, 9);
    must_fail(&accept, change_digest, HF_E_BAD_SIGNATURE, 51);
    must_fail(&accept, change_signature_form, HF_E_BAD_SIGNATURE, 51);
    must_fail(&accept, change_signature_len, HF_E_BAD_SIGNATURE, 51);
    must_fail(&accept, change_key, HF_E_RAW_KEY_UNKNOWN, 46);
    must_fail(&accept, change_curve, HF_E_CERTIFICATE_CURVE, 43);
    must_fail(&accept, change_der, HF_E_BAD_CERTIFICATE, 42);
    must_fail(&accept, change_length, HF_E_DECODE, 50);
    must_fail(&accept, change_to_nothing, HF_E_DECODE, 50);
    must_fail(&accept, change_kind, HF_E_CERTIFICATE_TYPE, 43);
    must_fail(&accept, change_flavour, HF_E_PEER_NAME, 42);
    must_fail(&accept, change_name, HF_E_PEER_NAME, 42);
}

/* Good and bad jobs of all kinds in one run, across chunks: each gets its own answer. */
static void test_a_crowd_is_like_many_alone(void **state)
{
    static struct hf_job jobs[CROWD];
    struct hf_job offer;

    (void)state;
    fill_offer(&offer, 1);
    run_one(&offer);
    for (size_t i = 0; i < CROWD; i++) {
        if (i % 3 == 0)
            fill_offer(&jobs[i], (uint8_t)i);
        else
            fill_accept(&jobs[i], &offer, (uint8_t)i);
        if (i % 7 == 1)
            jobs[i].verify_digest[3] ^= 4;
        if (i % 11 == 2)
            jobs[i].peer_share[7] ^= 4;
    }
    run_many(jobs, CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        enum hf_status expected = HF_OK;

        if (i % 3 != 0 && i % 7 == 1)
            expected = HF_E_BAD_SIGNATURE;
        if (i % 3 != 0 && i % 11 == 2)
            expected = HF_E_ILLEGAL_PARAMETER;
        if (jobs[i].status != expected)
            fail_msg("job %zu: %s", i, hf_status_reason(jobs[i].status));
        if (i % 3 == 0)
            verify_offer(&jobs[i], HF_OK);
        for (size_t j = 0; i % 3 == 0 && j < i; j += 3)
            assert_memory_not_equal(jobs[i].private_key, jobs[j].private_key, 32);
    }
}

static void test_a_remote_key_is_waited_for(void **state)
{
    struct hf_job offer, signer;

    (void)state;
    fill_offer(&offer, 1);
    offer.credential = shared.remote;
    run_one(&offer);
    assert_int_equal(offer.status, HF_WAITING);
    assert_int_equal(offer.signature_len, 0);
    memset(&signer, 0, sizeof signer);
    signer.parts = HF_JOB_SIGN;
    signer.credential = shared.server;
    memcpy(signer.sign_digest, offer.sign_digest, 32);
    run_one(&signer);
    assert_int_equal(signer.status, HF_OK);

    struct hf_job copy = offer;
    struct hf_bytes signature = {signer.signature, signer.signature_len};
    assert_int_equal(hf_job_complete_signature(&copy, signature), HF_OK);
    assert_int_equal(copy.status, HF_OK);
    verify_offer(&copy, HF_OK);
    assert_int_equal(hf_job_complete_signature(&copy, signature), HF_E_STATE);

    copy = offer;
    signer.signature[20] ^= 1;
    assert_int_equal(hf_job_complete_signature(&copy, signature), HF_E_SIGNATURE);
    assert_true(is_zero(copy.private_key, 32));
    assert_true(is_zero(copy.signature, sizeof copy.signature));
    copy = offer;
    signature.len--;
    assert_int_equal(hf_job_complete_signature(&copy, signature), HF_E_SIGNATURE);
    copy = offer;
    assert_int_equal(hf_job_complete_signature(&copy, (struct hf_bytes){NULL, 0}), HF_E_SIGNER);
    assert_int_equal(copy.status, HF_E_SIGNER);
}

/* A remote job whose other parts fail is not worth a signature. */
static void test_a_failure_is_not_waited_for(void **state)
{
    struct hf_job job;

    (void)state;
    fill_offer(&job, 1);
    job.credential = shared.remote;
    job.parts |= HF_JOB_AGREE;
    run_one(&job);
    assert_int_equal(job.status, HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(hf_job_complete_signature(&job, (struct hf_bytes){NULL, 0}), HF_E_STATE);
}

static void test_what_is_missing_is_an_argument(void **state)
{
    struct hf_job sign = {.parts = HF_JOB_SIGN};
    struct hf_job chain = {.parts = HF_JOB_CHAIN};

    (void)state;
    run_one(&sign);
    assert_int_equal(sign.status, HF_E_ARGUMENT);
    run_one(&chain);
    assert_int_equal(chain.status, HF_E_ARGUMENT);
    hf_job_run(NULL, 0);
}

static void test_everything_is_counted(void **state)
{
    struct hf_job_counters before, after;
    static struct hf_job jobs[10];
    uint64_t operations[HF_JOB_KIND_COUNT] = {0};

    (void)state;
    for (size_t i = 0; i < 10; i++)
        fill_offer(&jobs[i], (uint8_t)i);
    hf_job_read_counters(&before);
    run_many(jobs, 10);
    hf_job_read_counters(&after);
    assert_int_equal(after.runs - before.runs, 1);
    assert_int_equal(after.jobs - before.jobs, 10);
    assert_int_equal(after.runs_by_jobs[4] - before.runs_by_jobs[4], 1); // 9..16
    assert_int_equal(after.operations[HF_JOB_KIND_SIGN] - before.operations[HF_JOB_KIND_SIGN], 10);
    assert_int_equal(after.operations[HF_JOB_KIND_VERIFY] - before.operations[HF_JOB_KIND_VERIFY],
                     10);
    assert_int_equal(after.signatures_bad, before.signatures_bad);
    for (size_t kind = 0; kind < HF_JOB_KIND_COUNT; kind++) {
        for (size_t n = 0; n < HF_JOB_LANES_MAX; n++)
            operations[kind] += (n + 1) * after.batches[kind][n];
        assert_int_equal(operations[kind], after.operations[kind]);
    }
    assert_string_equal(hf_job_kind_name(HF_JOB_KIND_VERIFY), "verify");
}

/* What was made ahead before a fork must not be used on both sides of it. */
static void test_no_pair_is_used_in_two_processes(void **state)
{
    enum { PAIRS = 20 };
    struct hf_job job = {.parts = HF_JOB_GENERATE};
    uint8_t(*child)[32] =
        mmap(NULL, PAIRS * 32, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    pid_t pid;

    (void)state;
    assert_ptr_not_equal(child, MAP_FAILED);
    run_one(&job);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (size_t i = 0; i < PAIRS; i++) {
            run_one(&job);
            memcpy(child[i], job.private_key, 32);
        }
        _exit(job.status == HF_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < PAIRS; i++) {
        run_one(&job);
        for (size_t j = 0; j < PAIRS; j++)
            assert_memory_not_equal(job.private_key, child[j], 32);
    }
    munmap(child, PAIRS * 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_offer_is_a_key_and_its_signature),
        cmocka_unit_test(test_both_sides_agree),
        cmocka_unit_test(test_a_bad_share_is_refused),
        cmocka_unit_test(test_a_raw_key_is_accepted_by_its_pin),
        cmocka_unit_test(test_bad_proofs_are_refused),
        cmocka_unit_test(test_a_crowd_is_like_many_alone),
        cmocka_unit_test(test_a_remote_key_is_waited_for),
        cmocka_unit_test(test_a_failure_is_not_waited_for),
        cmocka_unit_test(test_what_is_missing_is_an_argument),
        cmocka_unit_test(test_everything_is_counted),
        cmocka_unit_test(test_no_pair_is_used_in_two_processes),
    };

    return cmocka_run_group_tests(tests, make_shared, free_shared);
}
