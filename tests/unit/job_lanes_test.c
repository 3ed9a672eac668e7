/**
 * job_lanes_test.c - the scheduler over a back end that pretends to have lanes: how operations are
 * gathered, which are never started, key pairs made ahead, and signatures with a fault in them.
 *
 * The linker puts fake_best() in the place of hf_p256_best().
 */
#include "credential_maker.h"
#include "p256.h"

#include <handfast/handfast.h>

#include <openssl/nid.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define CALLS_MAX 16

const struct hf_p256_backend *__wrap_hf_p256_best(void);

/* What the back end was called with, by kind. */
static struct {
    size_t counts[CALLS_MAX];
    size_t calls;
} seen[HF_JOB_KIND_COUNT];
static size_t faulty_sign_index = SIZE_MAX;
static bool is_generate_failing;

static void see(enum hf_job_kind kind, size_t count)
{
    assert_true(seen[kind].calls < CALLS_MAX);
    seen[kind].counts[seen[kind].calls++] = count;
}

static void fake_generate(struct hf_p256_generate *operations, size_t count)
{
    see(HF_JOB_KIND_GENERATE, count);
    hf_p256_portable()->generate(operations, count);
    for (size_t i = 0; is_generate_failing && i < count; i++)
        operations[i].status = HF_E_MEMORY;
}

static void fake_agree(struct hf_p256_agree *operations, size_t count)
{
    see(HF_JOB_KIND_AGREE, count);
    hf_p256_portable()->agree(operations, count);
}

static void fake_sign(struct hf_p256_sign *operations, size_t count)
{
    see(HF_JOB_KIND_SIGN, count);
    hf_p256_portable()->sign(operations, count);
    if (faulty_sign_index < count)
        operations[faulty_sign_index].signature[40] ^= 0x10;
}

static void fake_verify(struct hf_p256_verify *operations, size_t count)
{
    see(HF_JOB_KIND_VERIFY, count);
    hf_p256_portable()->verify(operations, count);
}

const struct hf_p256_backend *__wrap_hf_p256_best(void)
{
    static const struct hf_p256_backend fake = {"fake",     8,         fake_generate,
                                                fake_agree, fake_sign, fake_verify};

    return &fake;
}

static struct hf_credential *server;

static int make_server(void **state)
{
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    static struct maker_text text;
    struct hf_credential_source source;
    const char *why;

    (void)state;
    maker_add_key(&text, key);
    source = (struct hf_credential_source){.key_pem = maker_view(&text)};
    assert_int_equal(hf_credential_open(&server, &why, &source), HF_OK);
    EVP_PKEY_free(key);
    return 0;
}

static int free_server(void **state)
{
    (void)state;
    hf_credential_close(server);
    return 0;
}

/* No pairs made ahead are left from the test before. */
static int forget(void **state)
{
    struct hf_job job = {.parts = HF_JOB_GENERATE};
    struct hf_job *pointer = &job;

    (void)state;
    do {
        memset(seen, 0, sizeof seen);
        hf_job_run(&pointer, 1);
    } while (seen[HF_JOB_KIND_GENERATE].calls == 0);
    for (size_t i = 0; i < 7; i++)
        hf_job_run(&pointer, 1);
    memset(seen, 0, sizeof seen);
    faulty_sign_index = SIZE_MAX;
    is_generate_failing = false;
    return 0;
}

static void run(struct hf_job *jobs, size_t count)
{
    struct hf_job *pointers[200];

    for (size_t i = 0; i < count; i++)
        pointers[i] = &jobs[i];
    hf_job_run(pointers, count);
}

static void fill(struct hf_job *jobs, size_t count, uint8_t parts)
{
    memset(jobs, 0, count * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        jobs[i].parts = parts;
        jobs[i].credential = server;
        jobs[i].sign_is_share = true;
    }
}

static bool is_zero(const void *data, size_t len)
{
    const uint8_t *bytes = data;

    while (len-- > 0) {
        if (*bytes++ != 0)
            return false;
    }
    return true;
}

static void test_pairs_are_made_in_whole_batches(void **state)
{
    static struct hf_job jobs[20];
    struct hf_job_counters before, after;

    (void)state;
    fill(jobs, 20, HF_JOB_GENERATE);
    hf_job_read_counters(&before);
    run(jobs, 3);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 1);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].counts[0], 8);
    run(jobs + 3, 5);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 1);
    run(jobs + 8, 12); // 12 asked for: 16 made
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 2);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].counts[1], 16);
    hf_job_read_counters(&after);
    assert_int_equal(after.pairs_ahead - before.pairs_ahead, 5);
    assert_int_equal(
        after.batches[HF_JOB_KIND_GENERATE][7] - before.batches[HF_JOB_KIND_GENERATE][7], 3);
    for (size_t i = 0; i < 20; i++) {
        struct hf_p256_key key;

        assert_int_equal(jobs[i].status, HF_OK);
        assert_int_equal(hf_p256_key_open(&key, jobs[i].private_key), HF_OK);
        assert_memory_equal(key.public_key, jobs[i].public_key, 65);
        hf_p256_key_close(&key);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(jobs[i].private_key, jobs[j].private_key, 32);
    }
}

static void test_a_mixed_run_takes_pairs_first(void **state)
{
    static struct hf_job jobs[20];

    (void)state;
    fill(jobs, 20, HF_JOB_GENERATE);
    run(jobs, 1);
    run(jobs + 1, 10); // 7 were left, 3 asked for
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 2);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].counts[1], 8);
    run(jobs + 11, 5);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 2);
}

static void test_failed_pairs_are_not_kept(void **state)
{
    static struct hf_job jobs[2];

    (void)state;
    fill(jobs, 2, HF_JOB_GENERATE);
    is_generate_failing = true;
    run(jobs, 1);
    assert_int_equal(jobs[0].status, HF_E_MEMORY);
    assert_true(is_zero(jobs[0].private_key, 32));
    is_generate_failing = false;
    run(jobs + 1, 1);
    assert_int_equal(jobs[1].status, HF_OK);
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 2);
}

static void test_equal_parts_go_together(void **state)
{
    static struct hf_job jobs[140];
    struct hf_job_counters before, after;

    (void)state;
    fill(jobs, 10, HF_JOB_GENERATE | HF_JOB_SIGN);
    hf_job_read_counters(&before);
    run(jobs, 10);
    hf_job_read_counters(&after);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].calls, 1);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].counts[0], 10);
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].calls, 1); // the self-checks
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].counts[0], 10);
    assert_int_equal(after.batches[HF_JOB_KIND_SIGN][7] - before.batches[HF_JOB_KIND_SIGN][7], 1);
    assert_int_equal(after.batches[HF_JOB_KIND_SIGN][1] - before.batches[HF_JOB_KIND_SIGN][1], 1);
    fill(jobs, 140, HF_JOB_GENERATE | HF_JOB_SIGN);
    run(jobs, 140);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].calls, 4);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].counts[1], 64);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].counts[3], 12);
    for (size_t i = 0; i < 140; i++)
        assert_int_equal(jobs[i].status, HF_OK);
}

static void test_proofs_and_self_checks_share_a_queue(void **state)
{
    static struct hf_job jobs[4];
    static struct hf_job more[150];

    (void)state;
    fill(jobs, 1, HF_JOB_GENERATE | HF_JOB_SIGN);
    run(jobs, 1);
    fill(more, 150, HF_JOB_SIGN | HF_JOB_VERIFY);
    for (size_t i = 0; i < 150; i++) {
        more[i].sign_is_share = false;
        memcpy(more[i].verify_digest, jobs[0].sign_digest, 32);
        memcpy(more[i].verify_key, hf_credential_public_key(server), 65);
        memcpy(more[i].verify_signature, jobs[0].signature, jobs[0].signature_len);
        more[i].verify_signature_len = jobs[0].signature_len;
    }
    memset(seen, 0, sizeof seen);
    run(more, 150); // chunks of 64, 64 and 22: 128, 128 and 44 signatures
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].calls, 3);
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].counts[0], 128);
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].counts[2], 44);
    for (size_t i = 0; i < 150; i++)
        assert_int_equal(more[i].status, HF_OK);
}

static void test_a_faulty_signature_does_not_leave(void **state)
{
    static struct hf_job jobs[5];
    struct hf_job_counters before, after;

    (void)state;
    fill(jobs, 5, HF_JOB_GENERATE | HF_JOB_SIGN);
    hf_job_read_counters(&before);
    faulty_sign_index = 3;
    run(jobs, 5);
    hf_job_read_counters(&after);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(jobs[i].status, i == 3 ? HF_E_SIGNATURE : HF_OK);
    assert_true(is_zero(jobs[3].signature, sizeof jobs[3].signature));
    assert_int_equal(jobs[3].signature_len, 0);
    assert_true(is_zero(jobs[3].private_key, 32));
    assert_int_equal(hf_status_alert(jobs[3].status), 80);
    assert_int_equal(after.signatures_bad - before.signatures_bad, 1);
}

static void test_what_failed_costs_nothing_more(void **state)
{
    struct hf_job job;

    (void)state;
    fill(&job, 1, HF_JOB_GENERATE | HF_JOB_AGREE | HF_JOB_SIGN | HF_JOB_VERIFY);
    job.verify_signature_len = 8; // no DER
    run(&job, 1);
    assert_int_equal(job.status, HF_E_BAD_SIGNATURE);
    for (size_t kind = 0; kind < HF_JOB_KIND_COUNT; kind++)
        assert_int_equal(seen[kind].calls, 0);
    fill(&job, 1, HF_JOB_GENERATE | HF_JOB_AGREE | HF_JOB_SIGN);
    run(&job, 1); // the peer's share is no point
    assert_int_equal(job.status, HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(seen[HF_JOB_KIND_AGREE].calls, 1);
    assert_int_equal(seen[HF_JOB_KIND_SIGN].calls, 0);
    assert_int_equal(seen[HF_JOB_KIND_VERIFY].calls, 0);
}

static void test_pairs_do_not_survive_a_fork(void **state)
{
    struct hf_job job = {.parts = HF_JOB_GENERATE};
    uint8_t(*child)[32] =
        mmap(NULL, 7 * 32, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;
    pid_t pid;

    (void)state;
    assert_ptr_not_equal(child, MAP_FAILED);
    run(&job, 1); // seven are left
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (size_t i = 0; i < 7; i++) {
            run(&job, 1);
            memcpy(child[i], job.private_key, 32);
        }
        _exit(seen[HF_JOB_KIND_GENERATE].calls == 2 && job.status == HF_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (size_t i = 0; i < 7; i++) {
        run(&job, 1);
        for (size_t j = 0; j < 7; j++)
            assert_memory_not_equal(job.private_key, child[j], 32);
    }
    assert_int_equal(seen[HF_JOB_KIND_GENERATE].calls, 1);
    munmap(child, 7 * 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pairs_are_made_in_whole_batches, forget),
        cmocka_unit_test_setup(test_a_mixed_run_takes_pairs_first, forget),
        cmocka_unit_test_setup(test_failed_pairs_are_not_kept, forget),
        cmocka_unit_test_setup(test_equal_parts_go_together, forget),
        cmocka_unit_test_setup(test_proofs_and_self_checks_share_a_queue, forget),
        cmocka_unit_test_setup(test_a_faulty_signature_does_not_leave, forget),
        cmocka_unit_test_setup(test_what_failed_costs_nothing_more, forget),
        cmocka_unit_test_setup(test_pairs_do_not_survive_a_fork, forget),
    };

    return cmocka_run_group_tests(tests, make_server, free_server);
}
