/**
 * credential_memory_test.c - opening a credential when memory runs out at every single allocation,
 * ours and BoringSSL's: nothing is opened, nothing leaks, and the next attempt succeeds.
 *
 * The linker puts wrapped_*() in the place of our calls to the C library; BoringSSL looks for its
 * allocator in the program by itself.
 */
#include "credential_maker.h"

#include <handfast/handfast.h>

#include <openssl/base.h>
#include <openssl/nid.h>

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

static size_t allocations;
static size_t failing_from = SIZE_MAX;
static size_t failing_to = SIZE_MAX;
static long live_count;

static bool may_allocate(void)
{
    size_t index = allocations++;

    return index < failing_from || index >= failing_to;
}

struct header {
    size_t size;
    size_t zero; // keeps what follows aligned
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
    if (!block)
        return;
    live_count--;
    free((struct header *)block - 1);
}

size_t OPENSSL_memory_get_size(void *block)
{
    return block ? ((struct header *)block - 1)->size : 0;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

static struct maker_text chain, key, public_key;

static int make_texts(void **state)
{
    EVP_PKEY *ca_key = maker_key(NID_X9_62_prime256v1);
    EVP_PKEY *own_key = maker_key(NID_X9_62_prime256v1);
    X509 *ca = maker_certificate(&(struct maker_options){.subject = "ca", .is_ca = true}, ca_key,
                                 NULL, ca_key);
    X509 *own =
        maker_certificate(&(struct maker_options){.extended = "serverAuth"}, own_key, ca, ca_key);

    (void)state;
    maker_add_certificate(&chain, own);
    maker_add_certificate(&chain, ca);
    maker_add_key(&key, own_key);
    maker_add_public(&public_key, own_key);
    X509_free(own);
    X509_free(ca);
    EVP_PKEY_free(own_key);
    EVP_PKEY_free(ca_key);
    return 0;
}

static void run_out_everywhere(const struct hf_credential_source *source, bool is_lasting)
{
    struct hf_credential *credential = NULL;
    const char *why = NULL;
    enum hf_status status = hf_credential_open(&credential, &why, source); // BoringSSL warms up
    size_t refused = 0;
    size_t memory_count = 0;

    assert_int_equal(status, HF_OK);
    hf_credential_close(credential);
    for (size_t n = 0;; n++) {
        long live_before = live_count;

        credential = NULL;
        allocations = 0;
        failing_from = n;
        failing_to = is_lasting ? SIZE_MAX : n + 1;
        status = hf_credential_open(&credential, &why, source);
        failing_from = failing_to = SIZE_MAX;
        if (status == HF_OK) {
            hf_credential_close(credential);
            assert_int_equal(live_count, live_before);
            if (allocations <= n)
                break; // nothing was missing any more
            continue;  // something could be done without
        }
        refused++;
        // BoringSSL does not always tell that it was memory: then the file is said to be bad.
        memory_count += status == HF_E_MEMORY;
        if (status != HF_E_MEMORY)
            assert_int_equal(status, HF_E_CONFIG);
        assert_null(credential);
        assert_int_equal(live_count, live_before);
    }
    print_message("%zu refusals, %zu of them for memory\n", refused, memory_count);
    assert_true(refused > 10 && memory_count > refused / 2);
}

static void test_certificate_and_key(void **state)
{
    struct hf_credential_source source = {.chain_pem = maker_view(&chain),
                                          .key_pem = maker_view(&key)};

    (void)state;
    if (BORINGSSL_API_VERSION > 17) {
        print_message("SKIPPED: this BoringSSL's X.509 parser does not survive being out of memory "
                      "(seen with version 41, x509_name_get_cache)\n");
        skip();
    }
    run_out_everywhere(&source, false);
    run_out_everywhere(&source, true);
}

static void test_raw_key(void **state)
{
    struct hf_credential_source source = {.key_pem = maker_view(&key)};

    (void)state;
    run_out_everywhere(&source, false);
    run_out_everywhere(&source, true);
}

static void test_remote_key(void **state)
{
    struct hf_credential_source source = {.public_key_pem = maker_view(&public_key), .remote = 1};

    (void)state;
    run_out_everywhere(&source, false);
    run_out_everywhere(&source, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificate_and_key),
        cmocka_unit_test(test_raw_key),
        cmocka_unit_test(test_remote_key),
    };

    return cmocka_run_group_tests(tests, make_texts, NULL);
}
