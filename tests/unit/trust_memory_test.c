/**
 * trust_memory_test.c - memory that runs out at every single allocation, ours and BoringSSL's: an
 * hf_trust does not open then, and nothing leaks; a walk ends with a status.
 */
#include "chain_world.h"

#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *OPENSSL_memory_alloc(size_t size);
EXPORTED void OPENSSL_memory_free(void *block);
EXPORTED size_t OPENSSL_memory_get_size(void *block);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

static size_t allocations, failing = SIZE_MAX;
static long live_count;

static bool may_allocate(void)
{
    return allocations++ != failing;
}

struct header {
    size_t size;
    size_t zero; /* keeps what follows aligned */
};

void *OPENSSL_memory_alloc(size_t size)
{
    struct header *header = may_allocate() ? __real_malloc(sizeof *header + size) : NULL;
    if (!header)
        return NULL;
    header->size = size;
    live_count++;
    return header + 1;
}

void OPENSSL_memory_free(void *block)
{
    live_count -= block != NULL;
    if (block)
        __real_free((struct header *)block - 1);
}

size_t OPENSSL_memory_get_size(void *block)
{
    return block ? ((struct header *)block - 1)->size : 0;
}

static void *counted(void *block)
{
    live_count += block != NULL;
    return block;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? counted(__real_malloc(size)) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? counted(__real_calloc(count, size)) : NULL;
}

void *__wrap_realloc(void *block, size_t size)
{
    if (!may_allocate())
        return NULL;
    live_count += block == NULL;
    return __real_realloc(block, size);
}

void __wrap_free(void *block)
{
    live_count -= block != NULL;
    __real_free(block);
}

static struct chain_world world;

static void make_world(void)
{
    chain_world_make(&world, "crl.of=root crl.revokes=05,06 crl.of=ca anchors=root,ca2 ca2.by=ca2 "
                             "trust.names=//sp.example/Mn@mn.sp.example trust.flavours=cse+raw");
    static const char pins[] = "sha-256-120;XNJS-wzokyQ2-vjM0QQJ //sp.example/mn\n";
    world.source.raw_keys = (struct hf_bytes){(const uint8_t *)pins, sizeof pins - 1};
}

static void test_opening_a_trust(void **state)
{
    struct hf_trust *trust = NULL;
    const char *why;
    size_t refused = 0;
    (void)state;
    make_world();
    assert_int_equal(hf_trust_open(&trust, &why, &world.source), HF_OK); /* BoringSSL warms up */
    hf_trust_close(trust);
    for (size_t n = 0;; n++) {
        long live_before = live_count;
        allocations = 0;
        failing = n;
        trust = NULL;
        enum hf_status status = hf_trust_open(&trust, &why, &world.source);
        failing = SIZE_MAX;
        if (status == HF_OK) {
            hf_trust_close(trust);
            assert_int_equal(live_count, live_before);
            if (allocations <= n)
                break; /* nothing was missing any more */
            continue;
        }
        refused++;
        assert_null(trust);
        assert_non_null(why);
        assert_int_equal(live_count, live_before);
    }
    print_message("%zu refusals\n", refused);
    assert_in_range(refused, 20, 1000);
}

static void test_walking_a_chain(void **state)
{
    struct hf_peer_identity peer;
    static const struct hf_peer_identity nobody;
    const char *why;
    size_t refused = 0;
    (void)state;
    make_world();
    struct hf_trust *trust = chain_world_trust(&world, &why);
    assert_int_equal(chain_world_walk(&peer, &world, trust), HF_OK);
    for (size_t n = 0;; n++) {
        long live_before = live_count;
        allocations = 0;
        failing = n;
        enum hf_status status = chain_world_walk(&peer, &world, trust);
        failing = SIZE_MAX;
        assert_int_equal(live_count, live_before);
        if (status == HF_OK && allocations <= n)
            break;
        if (status == HF_OK)
            continue;
        refused++;
        assert_memory_equal(&peer, &nobody, sizeof peer);
    }
    print_message("%zu refusals\n", refused);
    assert_in_range(refused, 1, 1000);
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
        cmocka_unit_test(test_opening_a_trust),
        cmocka_unit_test(test_walking_a_chain),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
