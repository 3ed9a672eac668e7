/**
 * trust_threads_test.c - one hf_trust, many threads: walks at once, the first of which verify the
 * CRL of an intermediate CA, references that come and go. Meant for ThreadSanitizer.
 */
#include "chain_world.h"

#include <handfast/handfast.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define THREADS 4
#define ROUNDS 20
#define WALKS 5

static struct chain_world world;
static unsigned failures;

static void *walk(void *arg)
{
    struct hf_trust *trust = arg;
    struct hf_peer_identity peer;
    for (int i = 0; i < WALKS; i++) {
        if (chain_world_walk(&peer, &world, trust) != HF_OK ||
            hf_trust_is_revoked(trust, peer.handles[0]))
            __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    }
    hf_trust_close(trust);
    return NULL;
}

static void test_walks_at_once(void **state)
{
    const char *why;
    (void)state;
    chain_world_keys();
    chain_world_make(&world, "crl.of=ca crl.revokes=05 crl.of=root trust.crl=required");
    for (int i = 0; i < ROUNDS; i++) { /* each time a CRL nobody has verified */
        pthread_t threads[THREADS];
        struct hf_trust *trust = chain_world_trust(&world, &why);
        assert_non_null(trust);
        for (int j = 0; j < THREADS; j++) /* who starts a thread counts for it */
            assert_int_equal(pthread_create(&threads[j], NULL, walk, hf_trust_share(trust)), 0);
        hf_trust_close(trust);
        for (int j = 0; j < THREADS; j++)
            assert_int_equal(pthread_join(threads[j], NULL), 0);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walks_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
