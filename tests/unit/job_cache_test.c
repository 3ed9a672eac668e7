/**
 * job_cache_test.c - the cache of verified certificate signatures: off until asked for, bounded,
 * and never an answer for another signature, another trust or a later day.
 */
#include "job_thread.h"

#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S 1800000000

static struct hf_trust *open_trust(uint64_t epoch)
{
    struct hf_trust_source source;
    struct hf_trust *trust;
    const char *why;

    hf_trust_source_init(&source);
    source.epoch = epoch;
    source.flavours = HF_FLAVOUR_RAW;
    assert_int_equal(hf_trust_open(&trust, &why, &source), HF_OK);
    return trust;
}

static struct hf_chain_link make_link(uint32_t number)
{
    struct hf_chain_link link = {.not_after_s = NOW_S + 100};

    memcpy(link.digest, &number, sizeof number);
    memset(link.public_key, 4, sizeof link.public_key);
    return link;
}

static void test_off_by_default(void **state)
{
    struct hf_trust *trust = open_trust(1);
    struct hf_job job = {.trust = trust, .wall_s = NOW_S};
    struct hf_chain_link link = make_link(1);
    struct hf__job_thread *thread = hf__job_thread_view();

    (void)state;
    assert_int_equal(thread->cache_max, 0);
    hf__job_cache_keep(thread, &job, &link);
    assert_false(hf__job_cache_find(thread, &job, &link));
    hf_trust_close(trust);
}

static void test_only_the_same_is_found(void **state)
{
    struct hf_trust *trust = open_trust(1);
    struct hf_trust *other = open_trust(2);
    struct hf_job job = {.trust = trust, .wall_s = NOW_S};
    struct hf_chain_link link = make_link(1);
    struct hf_chain_link changed;
    struct hf__job_thread *thread;

    (void)state;
    hf_job_cache(100);
    thread = hf__job_thread_view();
    assert_int_equal(thread->cache_max, 64); // a power of two
    assert_false(hf__job_cache_find(thread, &job, &link));
    hf__job_cache_keep(thread, &job, &link);
    assert_true(hf__job_cache_find(thread, &job, &link));
    assert_int_equal(thread->counters.links_cached, 1);
    changed = link;
    changed.digest[9] ^= 1;
    assert_false(hf__job_cache_find(thread, &job, &changed));
    changed = link;
    changed.signature[63] ^= 1;
    assert_false(hf__job_cache_find(thread, &job, &changed));
    changed = link;
    changed.public_key[64] ^= 1;
    assert_false(hf__job_cache_find(thread, &job, &changed));
    job.wall_s = NOW_S + 100;
    assert_true(hf__job_cache_find(thread, &job, &link));
    job.wall_s = NOW_S + 101;
    assert_false(hf__job_cache_find(thread, &job, &link));
    job.wall_s = NOW_S;
    job.trust = other;
    assert_false(hf__job_cache_find(thread, &job, &link));
    hf_job_cache(0);
    job.trust = trust;
    thread = hf__job_thread_view();
    assert_false(hf__job_cache_find(thread, &job, &link));
    hf_trust_close(trust);
    hf_trust_close(other);
}

static void test_a_leaf_is_not_kept(void **state)
{
    struct hf_trust *trust = open_trust(1);
    struct hf_job job = {.trust = trust, .wall_s = NOW_S};
    struct hf_chain_link link = make_link(1);
    struct hf__job_thread *thread;

    (void)state;
    hf_job_cache(64);
    thread = hf__job_thread_view();
    link.is_leaf = true;
    hf__job_cache_keep(thread, &job, &link);
    assert_false(hf__job_cache_find(thread, &job, &link));
    link.is_leaf = false;
    assert_false(hf__job_cache_find(thread, &job, &link));
    hf_job_cache(0);
    hf_trust_close(trust);
}

/* Ten times more than fits: what is found is right, the newest is there, memory does not grow. */
static void test_it_is_bounded(void **state)
{
    struct hf_trust *trust = open_trust(1);
    struct hf_job job = {.trust = trust, .wall_s = NOW_S};
    struct hf__job_thread *thread;
    size_t found = 0;

    (void)state;
    hf_job_cache(64);
    thread = hf__job_thread_view();
    for (uint32_t i = 0; i < 640; i++) {
        struct hf_chain_link link = make_link(i);

        hf__job_cache_keep(thread, &job, &link);
        assert_true(hf__job_cache_find(thread, &job, &link));
    }
    for (uint32_t i = 0; i < 640; i++) {
        struct hf_chain_link link = make_link(i);

        found += hf__job_cache_find(thread, &job, &link);
    }
    assert_in_range(found, 32, 64);
    hf_job_cache(UINT32_MAX);
    thread = hf__job_thread_view();
    assert_int_equal(thread->cache_max, 65536);
    hf_job_cache(1);
    thread = hf__job_thread_view();
    assert_int_equal(thread->cache_max, 4);
    hf_job_cache(0);
    hf_trust_close(trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off_by_default),
        cmocka_unit_test(test_only_the_same_is_found),
        cmocka_unit_test(test_a_leaf_is_not_kept),
        cmocka_unit_test(test_it_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
