/**
 * hello_certificate_test.c - which suite a ClientHello leads to where certificates are to be had:
 * curves, point formats, signature algorithms, certificate types, the listener's order; and that
 * none of it matters to a peer with a pre-shared key.
 */
#include "credential_world.h"
#include "hello.h"
#include "raw_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define GROUPS "\0\12\0\4\0\2\0\27"
#define FORMATS "\0\13\0\2\1\0"
#define ALGORITHMS "\0\15\0\4\0\2\4\3"
#define BOTH "\xC0\x23\x00\xAE"
#define ECDHE "\xC0\x23"

static struct hf_listener listener;

static void make_listener(bool has_trust)
{
    static struct hf_listener_authority authority;
    authority = credential_world()->authority;
    if (!has_trust)
        authority.trust = NULL;
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    listener.authorities = &authority;
    listener.authority_count = 1;
}

static enum hf_status agree_on(struct hf_terms *terms, const char *suites, size_t suites_len,
                               const char *extensions, size_t extensions_len)
{
    static uint8_t body[RAW_HELLO_LEN_MAX];
    const struct raw_hello raw = {
        .suites = {(const uint8_t *)suites, suites_len},
        .extensions = {(const uint8_t *)extensions, extensions_len},
    };
    struct hf_hello hello;
    size_t len = raw_hello_body(body, &raw);
    uint8_t *exact = malloc(len); /* so that an over-read is seen */
    assert_non_null(exact);
    memcpy(exact, body, len);
    enum hf_status status = hf_hello_read(&hello, (struct hf_bytes){exact, len}, false);
    if (status == HF_OK)
        status = hf_hello_agree(terms, &listener, &hello);
    free(exact);
    return status;
}

#define AGREE(terms, suites, extensions)                                                           \
    agree_on(terms, suites, sizeof(suites) - 1, extensions, sizeof(extensions) - 1)

static void what_suits_is_taken(void **state)
{
    struct hf_terms terms;
    (void)state;
    make_listener(true);
    assert_int_equal(AGREE(&terms, ECDHE, GROUPS FORMATS ALGORITHMS), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256);
    assert_true(terms.has_point_formats);
    assert_false(terms.is_server_raw || terms.is_client_raw || terms.has_server_type);
    /* Neither list has to be there (RFC 8422 4), and GREASE is passed over. */
    assert_int_equal(AGREE(&terms, ECDHE, ALGORITHMS), HF_OK);
    assert_false(terms.has_point_formats);
    assert_int_equal(AGREE(&terms, ECDHE,
                           "\0\12\0\10\0\6\x2A\x2A\0\35\0\27" FORMATS
                           "\0\15\0\10\0\6\x2A\x2A\10\4\4\3"),
                     HF_OK);
}

static void the_listeners_order_decides(void **state)
{
    struct hf_terms terms;
    (void)state;
    make_listener(true);
    assert_int_equal(AGREE(&terms, BOTH, ALGORITHMS), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_PSK_AES_128_CBC_SHA256);
    listener.suites[0] = HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256;
    assert_int_equal(AGREE(&terms, BOTH, ALGORITHMS), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256);
    /* What cannot be had is passed over, whatever it is that keeps it from being had. */
    listener.suites[1] = HF_SUITE_PSK_AES_128_CBC_SHA256;
    assert_int_equal(AGREE(&terms, BOTH, "\0\15\0\4\0\2\4\1"), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_PSK_AES_128_CBC_SHA256);
    assert_int_equal(AGREE(&terms, BOTH, "\0\15\0\0"), HF_OK);
    assert_int_equal(AGREE(&terms, BOTH, ALGORITHMS "\0\24\0\2\1\1"), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_PSK_AES_128_CBC_SHA256);
    assert_false(terms.has_server_type || terms.has_point_formats || terms.is_server_raw);
}

static void what_does_not_suit_is_named(void **state)
{
    struct hf_terms terms;
    (void)state;
    make_listener(true);
#define REFUSED(extensions, status) assert_int_equal(AGREE(&terms, ECDHE, extensions), status)
    REFUSED("", HF_E_NO_COMMON_SIGNATURE); /* it would be SHA-1 */
    REFUSED(GROUPS FORMATS, HF_E_NO_COMMON_SIGNATURE);
    REFUSED("\0\15\0\4\0\2\2\3", HF_E_NO_COMMON_SIGNATURE);
    REFUSED("\0\15\0\6\0\4\4\1\5\3", HF_E_NO_COMMON_SIGNATURE);
    REFUSED(ALGORITHMS "\0\12\0\4\0\2\0\30", HF_E_NO_COMMON_GROUP); /* P-384 */
    REFUSED(ALGORITHMS "\0\12\0\4\0\2\0\35", HF_E_NO_COMMON_GROUP); /* X25519 */
    REFUSED(ALGORITHMS "\0\13\0\2\1\1", HF_E_ILLEGAL_PARAMETER);    /* RFC 8422 5.1.2 */
    REFUSED(ALGORITHMS "\0\12\0\2\0\0", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\12\0\3\0\1\0", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\12\0\5\0\2\0\27\0", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\13\0\1\0", HF_E_DECODE);
    REFUSED("\0\15\0\2\0\0", HF_E_DECODE);
    REFUSED("\0\15\0\4\0\4\4\3", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\23\0\1\0", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\24\0\0", HF_E_DECODE);
    REFUSED(ALGORITHMS "\0\24\0\2\1\1", HF_E_CERTIFICATE_TYPE);
    REFUSED(ALGORITHMS "\0\23\0\3\2\1\3", HF_E_CERTIFICATE_TYPE);
    REFUSED(ALGORITHMS ALGORITHMS, HF_E_ILLEGAL_PARAMETER);
#undef REFUSED
}

static void without_certificates_there_are_none(void **state)
{
    struct hf_terms terms;
    (void)state;
    make_listener(false);
    assert_int_equal(AGREE(&terms, ECDHE, GROUPS FORMATS ALGORITHMS), HF_E_NO_COMMON_SUITE);
    assert_int_equal(AGREE(&terms, BOTH, ALGORITHMS), HF_OK);
    listener.authority_count = 0;
    assert_int_equal(AGREE(&terms, ECDHE, GROUPS FORMATS ALGORITHMS), HF_E_NO_COMMON_SUITE);
    assert_int_equal(AGREE(&terms, BOTH, ALGORITHMS), HF_OK);
    assert_int_equal(terms.suite, HF_SUITE_PSK_AES_128_CBC_SHA256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_suits_is_taken),
        cmocka_unit_test(the_listeners_order_decides),
        cmocka_unit_test(what_does_not_suit_is_named),
        cmocka_unit_test(without_certificates_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
