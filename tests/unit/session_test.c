/**
 * session_test.c - resumption's parts on their own: the seal, the compact form, the shared cache,
 * alone and under several threads.
 */
#include "session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- the seal ----------------------------------------------------------------------------- */

static struct hf_seal_key seal_key(uint8_t byte, const char *label)
{
    uint8_t secret[32];
    struct hf_seal_key key;
    memset(secret, byte, sizeof secret);
    hf_seal_key_init(&key, (struct hf_bytes){secret, sizeof secret}, label);
    return key;
}

static void test_seal(void **state)
{
    (void)state;
    const struct hf_seal_key key = seal_key(1, "ticket");
    const struct hf_seal_key other = seal_key(2, "ticket");
    const struct hf_seal_key label = seal_key(1, "cookie");
    const struct hf_bytes aad = {(const uint8_t *)"name", 4};
    uint8_t in[300];
    uint8_t sealed[300 + HF_SEAL_EXPANSION];
    uint8_t again[sizeof sealed];
    uint8_t out[300];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= sizeof in; len += 75) {
        size_t sealed_len = len + HF_SEAL_EXPANSION;
        hf_seal(sealed, &key, aad, in, len);
        hf_seal(again, &key, aad, in, len);
        assert_memory_equal(sealed, again, sealed_len); /* deterministic */
        assert_true(hf_unseal(out, &key, aad, sealed, sealed_len));
        assert_memory_equal(out, in, len);
        assert_false(hf_unseal(out, &other, aad, sealed, sealed_len));
        assert_false(hf_unseal(out, &label, aad, sealed, sealed_len));
        assert_false(hf_unseal(out, &key, (struct hf_bytes){aad.data, 3}, sealed, sealed_len));
        for (size_t bit = 0; bit < 8 * sealed_len; bit += 5) {
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(hf_unseal(out, &key, aad, sealed, sealed_len));
            sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t cut = 1; cut <= sealed_len; cut += 11)
            assert_false(hf_unseal(out, &key, aad, sealed, sealed_len - cut));
    }
}

/* Another plaintext has another nonce, and another cipher key. */
static void test_seal_differs(void **state)
{
    (void)state;
    const struct hf_seal_key key = seal_key(1, "ticket");
    uint8_t one[1 + HF_SEAL_EXPANSION];
    uint8_t two[1 + HF_SEAL_EXPANSION];
    hf_seal(one, &key, (struct hf_bytes){NULL, 0}, (const uint8_t *)"a", 1);
    hf_seal(two, &key, (struct hf_bytes){NULL, 0}, (const uint8_t *)"b", 1);
    assert_memory_not_equal(one, two, 16);
}

/* ---- the compact form --------------------------------------------------------------------- */

static struct hf_session example(void)
{
    struct hf_session session = {
        .suite = 0xC0AE,
        .suid = 42,
        .framework = HF_FRAMEWORK_CERTIFICATE,
        .entity_kind = HF_ENTITY_CSE,
        .is_ems = true,
        .until_s = 4000000000u,
        .expires_s = 3999999999u,
        .context = UINT64_C(0x0123456789ABCDEF),
        .entity_id = {(const uint8_t *)"//sp.example/cse", 16},
        .credential_id = {(const uint8_t *)"32-cse.sp.example", 17},
        .revocation = {(const uint8_t *)"12345678", 8},
    };
    memset(session.binding, 0xB1, sizeof session.binding);
    memset(session.master_secret, 0x5E, sizeof session.master_secret);
    return session;
}

static void test_pack(void **state)
{
    (void)state;
    const struct hf_session session = example();
    struct hf_session back;
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = 0;
    assert_int_equal(hf_session_pack(packed, &len, &session), HF_OK);
    assert_int_equal(hf_session_unpack(&back, (struct hf_bytes){packed, len}), HF_OK);
    assert_int_equal(back.suite, session.suite);
    assert_int_equal(back.suid, session.suid);
    assert_int_equal(back.framework, session.framework);
    assert_int_equal(back.entity_kind, session.entity_kind);
    assert_true(back.is_ems);
    assert_false(back.is_etm);
    assert_int_equal(back.until_s, session.until_s);
    assert_int_equal(back.expires_s, session.expires_s);
    assert_true(back.context == session.context);
    assert_memory_equal(back.binding, session.binding, sizeof back.binding);
    assert_memory_equal(back.master_secret, session.master_secret, sizeof back.master_secret);
    assert_int_equal(back.entity_id.len, session.entity_id.len);
    assert_memory_equal(back.entity_id.data, session.entity_id.data, back.entity_id.len);
    assert_int_equal(back.credential_id.len, session.credential_id.len);
    assert_int_equal(back.revocation.len, 8);
    for (size_t cut = 1; cut <= len; cut++)
        assert_int_equal(hf_session_unpack(&back, (struct hf_bytes){packed, len - cut}),
                         HF_E_DECODE);
    packed[0]++;
    assert_int_equal(hf_session_unpack(&back, (struct hf_bytes){packed, len}), HF_E_DECODE);
}

static void test_pack_too_long(void **state)
{
    (void)state;
    struct hf_session session = example();
    uint8_t name[HF_SESSION_LEN_MAX];
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = 77;
    memset(name, 'a', sizeof name);
    session.credential_id = (struct hf_bytes){name, sizeof name};
    assert_int_equal(hf_session_pack(packed, &len, &session), HF_E_TOO_LONG);
    assert_int_equal(len, 77);
    for (size_t i = 0; i < sizeof packed; i++)
        assert_int_equal(packed[i], 0);
}

/* ---- the cache ---------------------------------------------------------------------------- */

static void make_id(uint8_t id[HF_SESSION_ID_LEN], uint64_t number)
{
    const uint64_t words[4] = {number * UINT64_C(0x9E3779B97F4A7C15),
                               number * UINT64_C(0xC2B2AE3D27D4EB4F) >> 3,
                               number * UINT64_C(0x165667B19E3779F9) >> 5, number};
    memcpy(id, words, HF_SESSION_ID_LEN);
}

static void test_cache(void **state)
{
    (void)state;
    struct hf_session_cache *cache;
    uint8_t id[HF_SESSION_ID_LEN];
    uint8_t out[HF_SESSION_LEN_MAX];
    size_t len = 0;
    assert_int_equal(hf_session_cache_open(&cache, 0), HF_E_ARGUMENT);
    assert_int_equal(hf_session_cache_open(&cache, 1000), HF_OK);
    make_id(id, 1);
    assert_false(hf_session_cache_get(out, &len, cache, id, 10));
    assert_true(
        hf_session_cache_put(cache, id, (struct hf_bytes){(const uint8_t *)"one", 3}, 100, 10));
    assert_true(hf_session_cache_get(out, &len, cache, id, 99));
    assert_int_equal(len, 3);
    assert_memory_equal(out, "one", 3);
    assert_false(hf_session_cache_get(out, &len, cache, id, 100)); /* over */
    /* The same ID again takes the same place. */
    assert_true(
        hf_session_cache_put(cache, id, (struct hf_bytes){(const uint8_t *)"three", 5}, 200, 10));
    assert_true(hf_session_cache_get(out, &len, cache, id, 100));
    assert_int_equal(len, 5);
    hf_session_cache_remove(cache, id);
    assert_false(hf_session_cache_get(out, &len, cache, id, 100));
    uint8_t large[HF_SESSION_LEN_MAX + 1] = {0};
    assert_false(hf_session_cache_put(cache, id, (struct hf_bytes){large, sizeof large}, 200, 10));
    struct hf_session_cache_counters counters;
    hf_session_cache_counters(&counters, cache);
    assert_int_equal(counters.stored, 2);
    assert_int_equal(counters.removed, 1);
    assert_int_equal(counters.evicted, 0);
    hf_session_cache_close(cache);
    hf_session_cache_close(NULL);
}

/* Full to what it was opened for, few are lost; beyond, those that end soonest go first. */
static void test_cache_full(void **state)
{
    (void)state;
    enum { COUNT = 7000 };
    struct hf_session_cache *cache;
    uint8_t id[HF_SESSION_ID_LEN];
    uint8_t out[HF_SESSION_LEN_MAX];
    size_t len = 0;
    assert_int_equal(hf_session_cache_open(&cache, COUNT), HF_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        make_id(id, i + 1);
        assert_true(hf_session_cache_put(cache, id, (struct hf_bytes){(const uint8_t *)&i, 4},
                                         1000 + i, 10));
    }
    size_t found = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        make_id(id, i + 1);
        if (!hf_session_cache_get(out, &len, cache, id, 10))
            continue;
        assert_int_equal(len, 4);
        assert_memory_equal(out, &i, 4);
        found++;
    }
    struct hf_session_cache_counters counters;
    hf_session_cache_counters(&counters, cache);
    assert_int_equal(found + counters.evicted, COUNT);
    assert_true(found > COUNT * 98 / 100);
    hf_session_cache_close(cache);
}

/* ---- several threads ---------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 60000, IDS = 48 }; /* few IDs, few buckets: they meet */

struct crowd {
    struct hf_session_cache *cache;
    atomic_uint torn;
};

/* What is stored under an ID tells by itself whether it is whole. */
static void make_payload(uint8_t payload[256], size_t *len, uint64_t number, uint64_t round)
{
    *len = 64 + (number * 31 + round) % 192;
    memset(payload, (int)(uint8_t)(number ^ round), *len);
    payload[0] = (uint8_t)number;
    payload[1] = (uint8_t)*len;
}

static bool is_whole(const uint8_t *payload, size_t len, uint64_t number)
{
    bool is_right = payload[0] == (uint8_t)number && payload[1] == (uint8_t)len;
    for (size_t i = 3; i < len; i++)
        is_right &= payload[i] == payload[2];
    return is_right;
}

static void *crowd_run(void *arg)
{
    struct crowd *crowd = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    uint8_t id[HF_SESSION_ID_LEN];
    uint8_t payload[HF_SESSION_LEN_MAX];
    for (uint64_t round = 0; round < ROUNDS; round++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t number = (seed >> 33) % IDS;
        size_t len = 0;
        make_id(id, number + 1);
        switch (seed >> 60 & 3) {
        case 0:
            make_payload(payload, &len, number, round);
            (void)hf_session_cache_put(crowd->cache, id, (struct hf_bytes){payload, len}, 1000, 10);
            break;
        case 1:
            if (round % 16 == 0)
                hf_session_cache_remove(crowd->cache, id);
            break;
        default:
            if (hf_session_cache_get(payload, &len, crowd->cache, id, 10) &&
                !is_whole(payload, len, number))
                atomic_fetch_add(&crowd->torn, 1);
        }
    }
    return NULL;
}

static void test_cache_threads(void **state)
{
    (void)state;
    struct crowd crowd = {0};
    pthread_t threads[THREADS];
    assert_int_equal(hf_session_cache_open(&crowd.cache, 14), HF_OK);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct hf_session_cache_counters counters;
    hf_session_cache_counters(&counters, crowd.cache);
    print_message("%llu stored, %llu found, %llu missed, %llu busy, %llu evicted\n",
                  (unsigned long long)counters.stored, (unsigned long long)counters.found,
                  (unsigned long long)counters.missed, (unsigned long long)counters.busy,
                  (unsigned long long)counters.evicted);
    assert_int_equal(crowd.torn, 0);
    assert_true(counters.found > 0);
    hf_session_cache_close(crowd.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seal),          cmocka_unit_test(test_seal_differs),
        cmocka_unit_test(test_pack),          cmocka_unit_test(test_pack_too_long),
        cmocka_unit_test(test_cache),         cmocka_unit_test(test_cache_full),
        cmocka_unit_test(test_cache_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
