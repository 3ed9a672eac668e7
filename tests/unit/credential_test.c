/**
 * credential_test.c - our own credentials: what is accepted, what is refused and why, what is only
 * warned about, and the bytes that come of it.
 */
#include "credential_maker.h"

#include <handfast/handfast.h>

#include <openssl/mem.h>
#include <openssl/nid.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
    EVP_PKEY *key, *other, *ca_key, *p384, *rsa;
    X509 *ca;
} shared;

static int make_shared(void **state)
{
    (void)state;
    shared.key = maker_key(NID_X9_62_prime256v1);
    shared.other = maker_key(NID_X9_62_prime256v1);
    shared.ca_key = maker_key(NID_X9_62_prime256v1);
    shared.p384 = maker_key(NID_secp384r1);
    shared.rsa = maker_key(NID_rsaEncryption);
    shared.ca = maker_certificate(&(struct maker_options){.subject = "ca", .is_ca = true},
                                  shared.ca_key, NULL, shared.ca_key);
    return 0;
}

static int free_shared(void **state)
{
    (void)state;
    EVP_PKEY_free(shared.key);
    EVP_PKEY_free(shared.other);
    EVP_PKEY_free(shared.ca_key);
    EVP_PKEY_free(shared.p384);
    EVP_PKEY_free(shared.rsa);
    X509_free(shared.ca);
    return 0;
}

static struct maker_text chain, key, public_key;

static void clear(void)
{
    chain.len = key.len = public_key.len = 0;
}

static void add_leaf(const struct maker_options *options)
{
    X509 *leaf = maker_certificate(options, shared.key, shared.ca, shared.ca_key);

    maker_add_certificate(&chain, leaf);
    X509_free(leaf);
}

static enum hf_status try_open(struct hf_credential **out, const char **why)
{
    struct hf_credential_source source = {.chain_pem = maker_view(&chain),
                                          .key_pem = maker_view(&key),
                                          .public_key_pem = maker_view(&public_key),
                                          .remote = 7};

    *out = NULL;
    *why = NULL;
    return hf_credential_open(out, why, &source);
}

static struct hf_credential *must_open(void)
{
    struct hf_credential *credential;
    const char *why;

    if (try_open(&credential, &why) != HF_OK)
        fail_msg("refused: %s", why);
    return credential;
}

static void must_refuse(const char *expected)
{
    struct hf_credential *credential;
    const char *why;

    assert_int_equal(try_open(&credential, &why), HF_E_CONFIG);
    assert_null(credential);
    assert_string_equal(why, expected);
}

static size_t u24(const uint8_t *data)
{
    return (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
}

static void test_a_chain_becomes_a_message(void **state)
{
    struct hf_credential *credential;
    struct hf_bytes message;
    int64_t from, to;
    uint64_t remote;
    uint8_t *der = NULL;
    int der_len;

    (void)state;
    clear();
    add_leaf(&(struct maker_options){.not_before_s = 1750000000, .not_after_s = 1800000000});
    maker_add_certificate(&chain, shared.ca);
    maker_add_key(&key, shared.key);
    credential = must_open();
    message = hf_credential_message(credential, false);
    assert_int_equal(u24(message.data), message.len - 3);
    size_t leaf_len = u24(message.data + 3);
    size_t ca_len = u24(message.data + 6 + leaf_len);
    assert_int_equal(message.len, 9 + leaf_len + ca_len);
    der_len = i2d_X509(shared.ca, &der);
    assert_int_equal(der_len, ca_len);
    assert_memory_equal(der, message.data + 9 + leaf_len, ca_len);
    OPENSSL_free(der);
    hf_credential_validity(&from, &to, credential);
    assert_int_equal(from, 1750000000);
    assert_int_equal(to, 1800000000);
    assert_false(hf_credential_is_remote(&remote, credential));
    assert_int_equal(hf_credential_warnings(credential), HF_CREDENTIAL_WARNING_ROOT_SENT);
    hf_credential_close(credential);
}

/* The Certificate message of a raw key, and the digest, of the generator of P-256: the known answer
 * of TS-0003 10.1.2 with RFC 6920, computed independently. */
static void test_a_raw_key_becomes_a_message(void **state)
{
    static const char generator_pem[] =
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MDECAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABoAoGCCqGSM49\n"
        "AwEH\n"
        "-----END EC PRIVATE KEY-----\n";
    static const uint8_t digest[] = {0x5c, 0xd2, 0x52, 0xfb, 0x0c, 0xe8, 0x93, 0x24,
                                     0x36, 0xfa, 0xf8, 0xcc, 0xd1, 0x04, 0x09, 0x81,
                                     0xb8, 0x9e, 0xe4, 0xad, 0x6b, 0x9f, 0xe9, 0xe2,
                                     0xa2, 0xb7, 0xe7, 0x1a, 0xac, 0xb2, 0x7c, 0xd3};
    struct hf_credential *credential;
    struct hf_bytes message;

    (void)state;
    clear();
    memcpy(key.data, generator_pem, key.len = sizeof generator_pem - 1);
    credential = must_open();
    message = hf_credential_message(credential, true);
    assert_int_equal(message.len, 94);
    assert_int_equal(u24(message.data), 91);
    assert_memory_equal(hf_credential_key_digest(credential), digest, sizeof digest);
    assert_memory_equal(message.data + 29, hf_credential_public_key(credential), 65);
    assert_int_equal(hf_credential_message(credential, false).len, 0);
    assert_int_equal(hf_credential_warnings(credential), 0);
    hf_credential_close(credential);
}

static void test_both_forms_of_a_key_are_read(void **state)
{
    struct hf_credential *a;
    struct hf_credential *b;

    (void)state;
    clear();
    maker_add_key(&key, shared.key);
    a = must_open();
    clear();
    maker_add_public(&key, shared.other); // other blocks are passed over
    maker_add_sec1(&key, shared.key);
    b = must_open();
    assert_memory_equal(hf_credential_public_key(a), hf_credential_public_key(b), 65);
    hf_credential_close(a);
    assert_ptr_equal(hf_credential_share(b), b);
    hf_credential_close(b);
    assert_memory_equal(hf_credential_message(b, true).data + 29, hf_credential_public_key(b), 65);
    hf_credential_close(b);
    hf_credential_close(NULL);
}

static void test_a_remote_key_needs_only_the_public_one(void **state)
{
    struct hf_credential *credential;
    uint64_t remote = 0;

    (void)state;
    clear();
    maker_add_public(&public_key, shared.key);
    credential = must_open();
    assert_true(hf_credential_is_remote(&remote, credential));
    assert_int_equal(remote, 7);
    hf_credential_close(credential);
    clear();
    add_leaf(&(struct maker_options){0});
    credential = must_open();
    assert_true(hf_credential_is_remote(&remote, credential));
    hf_credential_close(credential);
    maker_add_public(&public_key, shared.other);
    must_refuse("the key is not that of the certificate");
    clear();
    must_refuse("a remote key needs a certificate or a public key beside it");
    maker_add_public(&public_key, shared.p384);
    must_refuse("the public key is not an uncompressed point of P-256");
    clear();
    maker_add_certificate(&public_key, shared.ca);
    must_refuse("there is no public key");
}

static void test_bad_keys_are_refused(void **state)
{
    (void)state;
    clear();
    maker_add_key(&key, shared.p384);
    must_refuse("the private key is not on P-256 (TS-0003 10.1.1.1)");
    clear();
    maker_add_sec1(&key, shared.p384);
    must_refuse("the private key does not parse, or is not on P-256");
    clear();
    maker_add_key(&key, shared.rsa);
    must_refuse("the private key is not an EC key (TS-0003 10.1.1.1)");
    clear();
    maker_add_encrypted(&key, shared.key);
    must_refuse("the private key is encrypted");
    clear();
    maker_add_key(&key, shared.key);
    maker_add_key(&key, shared.other);
    must_refuse("there is more than one private key");
    clear();
    maker_add_certificate(&key, shared.ca);
    must_refuse("there is no private key");
    clear();
    maker_add_key(&key, shared.key);
    key.data[40] = '!';
    must_refuse("a PEM block does not parse");
    clear();
    key.len = 10;
    memset(key.data, 'x', key.len);
    must_refuse("there is no private key");
}

static void test_bad_chains_are_refused(void **state)
{
    X509 *leaf;

    (void)state;
    clear();
    add_leaf(&(struct maker_options){0});
    maker_add_key(&key, shared.other);
    must_refuse("the key is not that of the certificate");
    clear();
    maker_add_key(&key, shared.key);
    maker_add_certificate(&chain, shared.ca);
    add_leaf(&(struct maker_options){0});
    must_refuse("a certificate of the chain is not followed by its issuer's");
    clear();
    maker_add_key(&key, shared.key);
    leaf = maker_certificate(&(struct maker_options){0}, shared.key, shared.ca, shared.other);
    maker_add_certificate(&chain, leaf);
    X509_free(leaf);
    maker_add_certificate(&chain, shared.ca);
    must_refuse("a certificate of the chain is not signed by the next");
    clear();
    maker_add_key(&key, shared.key);
    add_leaf(&(struct maker_options){.is_compressed = true});
    must_refuse("the certificate's key is not an uncompressed point (TS-0003 10.1.1.1)");
    clear();
    maker_add_key(&key, shared.key);
    maker_add_key(&chain, shared.key);
    must_refuse("there is no certificate");
    clear();
    maker_add_key(&key, shared.key);
    add_leaf(&(struct maker_options){0});
    for (size_t i = 0; i < HF_CHAIN_DEPTH_MAX; i++)
        maker_add_certificate(&chain, shared.ca);
    must_refuse("the chain has more than 8 certificates");
    clear();
    leaf = maker_certificate(&(struct maker_options){0}, shared.p384, shared.ca, shared.ca_key);
    maker_add_certificate(&chain, leaf);
    X509_free(leaf);
    maker_add_key(&key, shared.key);
    must_refuse("the certificate's key is not on P-256 (TS-0003 10.1.1.1)");
}

static uint32_t warnings_of(const struct maker_options *options)
{
    struct hf_credential *credential;
    uint32_t warnings;

    clear();
    add_leaf(options);
    maker_add_key(&key, shared.key);
    credential = must_open();
    warnings = hf_credential_warnings(credential);
    hf_credential_close(credential);
    return warnings;
}

static void test_oddities_are_warned_about(void **state)
{
    (void)state;
    assert_int_equal(warnings_of(&(struct maker_options){0}), 0);
    assert_int_equal(warnings_of(&(struct maker_options){.extended = "serverAuth,clientAuth"}), 0);
    assert_int_equal(warnings_of(&(struct maker_options){.key_usage = ""}),
                     HF_CREDENTIAL_WARNING_KEY_USAGE_MISSING);
    assert_int_equal(warnings_of(&(struct maker_options){.key_usage = "keyAgreement"}),
                     HF_CREDENTIAL_WARNING_KEY_USAGE);
    assert_int_equal(warnings_of(&(struct maker_options){.extended = "clientAuth"}),
                     HF_CREDENTIAL_WARNING_SERVER_AUTH);
    assert_int_equal(warnings_of(&(struct maker_options){.extended = "serverAuth"}),
                     HF_CREDENTIAL_WARNING_CLIENT_AUTH);
    assert_int_equal(warnings_of(&(struct maker_options){.names = ""}),
                     HF_CREDENTIAL_WARNING_NO_NAME);
    assert_int_equal(warnings_of(&(struct maker_options){.names = "DNS:*.example"}),
                     HF_CREDENTIAL_WARNING_WILDCARD);
    assert_int_equal(warnings_of(&(struct maker_options){.hash = EVP_sha384()}),
                     HF_CREDENTIAL_WARNING_SIGNATURE);
    assert_int_equal(warnings_of(&(struct maker_options){.is_ca = true}),
                     HF_CREDENTIAL_WARNING_IS_CA | HF_CREDENTIAL_WARNING_KEY_USAGE |
                         HF_CREDENTIAL_WARNING_NO_NAME);
    assert_int_equal(warnings_of(&(struct maker_options){.version = -1}),
                     HF_CREDENTIAL_WARNING_VERSION | HF_CREDENTIAL_WARNING_KEY_USAGE_MISSING |
                         HF_CREDENTIAL_WARNING_NO_NAME);
}

static void test_odd_issuers_are_warned_about(void **state)
{
    X509 *issuer = maker_certificate(&(struct maker_options){.subject = "odd"}, shared.p384,
                                     shared.ca, shared.ca_key);
    X509 *leaf = maker_certificate(&(struct maker_options){0}, shared.key, issuer, shared.p384);
    struct hf_credential *credential;

    (void)state;
    clear();
    maker_add_certificate(&chain, leaf);
    maker_add_certificate(&chain, issuer);
    maker_add_key(&key, shared.key);
    credential = must_open();
    assert_int_equal(hf_credential_warnings(credential),
                     HF_CREDENTIAL_WARNING_ISSUER_KEY | HF_CREDENTIAL_WARNING_ISSUER_NOT_CA);
    hf_credential_close(credential);
    X509_free(issuer);
    X509_free(leaf);
}

static void test_every_warning_has_a_text(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < HF_CREDENTIAL_WARNING_COUNT; i++)
        assert_string_not_equal(hf_credential_warning_text(1u << i), "unknown");
    assert_string_equal(hf_credential_warning_text(0), "unknown");
    assert_string_equal(hf_credential_warning_text(3), "unknown");
    assert_string_equal(hf_flavour_name(HF_FLAVOUR_NONE), "none");
    assert_string_equal(hf_flavour_name(HF_FLAVOUR_RAW), "raw");
    assert_string_equal(hf_flavour_name(HF_FLAVOUR_FQDN), "fqdn");
    assert_string_equal(hf_flavour_name((enum hf_flavour)3), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chain_becomes_a_message),
        cmocka_unit_test(test_a_raw_key_becomes_a_message),
        cmocka_unit_test(test_both_forms_of_a_key_are_read),
        cmocka_unit_test(test_a_remote_key_needs_only_the_public_one),
        cmocka_unit_test(test_bad_keys_are_refused),
        cmocka_unit_test(test_bad_chains_are_refused),
        cmocka_unit_test(test_oddities_are_warned_about),
        cmocka_unit_test(test_odd_issuers_are_warned_about),
        cmocka_unit_test(test_every_warning_has_a_text),
    };

    return cmocka_run_group_tests(tests, make_shared, free_shared);
}
