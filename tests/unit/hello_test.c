/**
 * hello_test.c - reading ClientHellos, agreeing on terms, writing ServerHellos: what is accepted,
 * and beside it every way in which it is not.
 */
#include "hello.h"
#include "raw_hello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t body[RAW_HELLO_LEN_MAX];

/* Reads from a block of exactly the hello's length, so that an over-read is seen. */
static enum hf_status read_raw(struct hf_hello *out, const struct raw_hello *hello)
{
    static uint8_t *copy;
    size_t len = raw_hello_body(body, hello);
    free(copy);
    copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, body, len);
    return hf_hello_read(out, (struct hf_bytes){copy, len}, hello->is_dtls);
}

static enum hf_status read_extensions(struct hf_hello *out, const char *bytes, size_t len)
{
    const struct raw_hello hello = {.extensions = {(const uint8_t *)bytes, len}};
    return read_raw(out, &hello);
}

#define EXTENSIONS(out, text) read_extensions(out, text, sizeof(text) - 1)

static void test_fields_are_where_they_are(void **state)
{
    static const uint8_t random[32] = {1, 2, 3}, session_id[32] = {4}, cookie[255] = {5};
    struct hf_hello hello;
    (void)state;
    for (size_t id_len = 0; id_len <= 32; id_len++) {
        for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
            const struct raw_hello raw = {.is_dtls = is_dtls,
                                          .random = random,
                                          .version = 0x1234,
                                          .session_id = {session_id, id_len},
                                          .cookie = {cookie, 7 * id_len}};
            assert_int_equal(read_raw(&hello, &raw), HF_OK);
            assert_int_equal(hello.version, 0x1234);
            assert_memory_equal(hello.random.data, random, 32);
            assert_int_equal(hello.session_id.len, id_len);
            assert_int_equal(hello.cookie.len, is_dtls ? 7 * id_len : 0);
            assert_int_equal(hello.suites.len, 4);
            assert_int_equal(hello.compressions.len, 1);
            assert_true(hello.has_extended_master_secret);
            assert_false(hello.has_encrypt_then_mac);
        }
    }
}

static void test_every_truncation_is_refused(void **state)
{
    static const uint8_t session_id[5] = {1}, cookie[17] = {2};
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        const struct raw_hello raw = {
            .is_dtls = is_dtls, .session_id = {session_id, 5}, .cookie = {cookie, 17}};
        size_t whole = raw_hello_body(body, &raw);
        for (size_t len = 0; len < whole; len++) {
            struct hf_hello hello = {.version = 0x7777};
            uint8_t *copy = malloc(len);
            assert_true(copy || len == 0);
            if (len > 0)
                memcpy(copy, body, len);
            enum hf_status status = hf_hello_read(&hello, (struct hf_bytes){copy, len}, is_dtls);
            free(copy);
            if (len == whole - 6) { /* exactly without its extensions */
                assert_int_equal(status, HF_OK);
                continue;
            }
            assert_int_equal(status, HF_E_DECODE);
            assert_int_equal(hello.version, 0x7777); /* untouched */
        }
    }
}

static void test_lengths_that_lie(void **state)
{
    static const uint8_t one[1] = {0};
    struct hf_hello hello;
    (void)state;
    const struct raw_hello wrong[] = {
        {.session_id_claim = RAW_CLAIM(33)},
        {.session_id_claim = RAW_CLAIM(255)},
        {.is_dtls = true, .cookie_claim = RAW_CLAIM(255)},
        {.suites_claim = RAW_CLAIM(0)},
        {.suites_claim = RAW_CLAIM(3)},
        {.suites_claim = RAW_CLAIM(5)},
        {.suites_claim = RAW_CLAIM(65535)},
        {.compressions_claim = RAW_CLAIM(0)},
        {.compressions_claim = RAW_CLAIM(2)},
        {.compressions_claim = RAW_CLAIM(255)},
        {.extensions_claim = RAW_CLAIM(0)},
        {.extensions_claim = RAW_CLAIM(3)},
        {.extensions_claim = RAW_CLAIM(5)},
        {.extensions_claim = RAW_CLAIM(65535)},
        {.tail = {one, 1}},
        {.has_no_extensions = true, .tail = {one, 1}},
        {.suites = {one, 0}},
        {.suites = {one, 1}},
        {.compressions = {one, 0}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(read_raw(&hello, &wrong[i]), HF_E_DECODE);
}

static void test_extensions_that_are_known(void **state)
{
    struct hf_hello hello;
    (void)state;
    assert_int_equal(EXTENSIONS(&hello, ""), HF_OK);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\1\2"), HF_OK);
    assert_int_equal(hello.max_fragment_code, 2);
    assert_int_equal(EXTENSIONS(&hello, "\0\34\0\2\0\100"), HF_OK);
    assert_true(hello.has_record_size_limit);
    assert_int_equal(hello.record_size_limit, 64);
    assert_int_equal(EXTENSIONS(&hello, "\0\26\0\0"), HF_OK);
    assert_true(hello.has_encrypt_then_mac);
    assert_int_equal(EXTENSIONS(&hello, "\0\27\0\0"), HF_OK);
    assert_true(hello.has_extended_master_secret);
    assert_int_equal(EXTENSIONS(&hello, "\xff\1\0\1\0"), HF_OK);
    assert_true(hello.has_renegotiation_info);
    assert_int_equal(hello.renegotiation_info.len, 0);
    assert_int_equal(EXTENSIONS(&hello, "\xff\1\0\3\2ab"), HF_OK);
    assert_int_equal(hello.renegotiation_info.len, 2);
    assert_int_equal(EXTENSIONS(&hello, "\x1a\x1a\0\3abc\0\x2b\0\0"), HF_OK); /* passed over */
}

static void test_extensions_that_are_wrong(void **state)
{
    struct hf_hello hello;
    (void)state;
    assert_int_equal(EXTENSIONS(&hello, "\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\2\1"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\2\1\1"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\1\0"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\1\0\1\5"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\34\0\1\1"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\34\0\2\0\77"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\26\0\1x"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\27\0\1x"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\xff\1\0\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\xff\1\0\2\2a"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\xff\1\0\2\0a"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\27\0\0\0\27\0\0"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\x1a\x1a\0\0\x1a\x1a\0\0"), HF_E_ILLEGAL_PARAMETER);
}

static void test_server_names(void **state)
{
    struct hf_hello hello;
    (void)state;
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\10\0\6\0\0\3a.b"), HF_OK);
    assert_int_equal(hello.server_name.len, 3);
    assert_memory_equal(hello.server_name.data, "a.b", 3);
    /* Another type of name before it; then none at all. */
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\14\0\12\7\0\1x\0\0\3a.b"), HF_OK);
    assert_int_equal(hello.server_name.len, 3);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\6\0\4\7\0\1x"), HF_OK);
    assert_int_equal(hello.server_name.len, 0);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\2\0\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\5\0\3\0\0\0"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\6\0\4\0\0\2a"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\7\0\4\0\0\1ab"), HF_E_DECODE);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\12\0\10\0\0\1a\0\0\1b"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\6\0\4\0\0\1\0"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\6\0\4\0\0\1\x80"), HF_E_ILLEGAL_PARAMETER);
    assert_int_equal(EXTENSIONS(&hello, "\0\0\0\6\0\4\0\0\1 "), HF_E_ILLEGAL_PARAMETER);
}

static void test_server_name_of_256_bytes(void **state)
{
    char extension[9 + 256] = {0, 0, 1, 5, 1, 3, 0, 1, 0};
    struct hf_hello hello;
    (void)state;
    memset(extension + 9, 'a', 256);
    assert_int_equal(read_extensions(&hello, extension, sizeof extension), HF_E_ILLEGAL_PARAMETER);
    extension[3]--;
    extension[5]--;
    extension[7] = 0;
    extension[8] = (char)255;
    assert_int_equal(read_extensions(&hello, extension, sizeof extension - 1), HF_OK);
    assert_int_equal(hello.server_name.len, 255);
}

/* A hello that agrees with everything, to be spoilt one field at a time. */
static struct hf_hello good_hello(bool is_dtls)
{
    static const uint8_t suites[] = {0x0A, 0x0A, 0x00, 0x2F, 0x00, 0xA8, 0x00, 0xAE, 0xC0, 0xA8};
    static const uint8_t compressions[] = {1, 0};
    return (struct hf_hello){.version = is_dtls ? 0xFEFD : 0x0303,
                             .suites = {suites, sizeof suites},
                             .compressions = {compressions, sizeof compressions}};
}

static void test_versions(void **state)
{
    static const uint16_t tls_good[] = {0x0303, 0x0304, 0x03FF, 0x0400, 0x0499, 0xFFFF},
                          tls_bad[] = {0x0002, 0x0200, 0x0300, 0x0301, 0x0302, 0};
    static const uint16_t dtls_good[] = {0xFEFD, 0xFEFC, 0xFE00, 0xFDFF, 0xFCFF, 0x8000},
                          dtls_bad[] = {0xFEFF, 0xFEFE, 0x0303, 0xFFFF, 0, 1};
    static const uint8_t with_fallback[] = {0x00, 0xAE, 0xC0, 0xA8, 0x56, 0x00};
    struct hf_terms terms;
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        struct hf_listener listener;
        hf_listener_init(&listener, is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
        struct hf_hello hello = good_hello(is_dtls);
        for (size_t i = 0; i < 6; i++) {
            hello.version = is_dtls ? dtls_good[i] : tls_good[i];
            assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
        }
        for (size_t i = 0; i < 6; i++) {
            hello = good_hello(is_dtls);
            hello.version = is_dtls ? dtls_bad[i] : tls_bad[i];
            assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_VERSION);
            hello.suites = (struct hf_bytes){with_fallback, sizeof with_fallback};
            assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_FALLBACK);
        }
        hello = good_hello(is_dtls); /* the signal means nothing at our own version */
        hello.suites = (struct hf_bytes){with_fallback, sizeof with_fallback};
        assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    }
}

static void test_the_servers_order_decides(void **state)
{
    struct hf_terms terms;
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        struct hf_listener listener;
        struct hf_hello hello = good_hello(is_dtls);
        hf_listener_init(&listener, is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
        assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
        assert_int_equal(terms.suite, is_dtls ? 0xC0A8 : 0x00AE);
        listener.suites[0] = 0x00A8;
        listener.suite_count = 1;
        assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
        assert_int_equal(terms.suite, 0x00A8);
        listener.suites[0] = 0xC0A4; /* the one that is not offered */
        assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_NO_COMMON_SUITE);
    }
}

static void test_suites_are_compared_whole(void **state)
{
    static const uint8_t shifted[] = {0x12, 0x00, 0xAE, 0x34}; /* 0x00AE across two of them */
    struct hf_listener listener;
    struct hf_terms terms;
    struct hf_hello hello = good_hello(false);
    (void)state;
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    hello.suites = (struct hf_bytes){shifted, sizeof shifted};
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_NO_COMMON_SUITE);
}

static void test_terms(void **state)
{
    static const uint8_t scsv[] = {0x00, 0xAE, 0x00, 0xFF}, bytes[] = {1, 2};
    struct hf_listener listener;
    struct hf_terms terms;
    struct hf_hello hello = good_hello(false);
    (void)state;
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    hello.compressions = (struct hf_bytes){bytes, 2};
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_NO_COMPRESSION_NULL);
    hello = good_hello(false);
    hello.renegotiation_info = (struct hf_bytes){bytes, 2};
    hello.has_renegotiation_info = true;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_RENEGOTIATION);
    hello.renegotiation_info.len = 0;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_true(terms.is_secure_renegotiation);
    hello = good_hello(false);
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_false(terms.is_secure_renegotiation);
    hello.suites = (struct hf_bytes){scsv, sizeof scsv};
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_true(terms.is_secure_renegotiation);
    listener.extended_master_secret_needed = true;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_E_NO_EXTENDED_MASTER_SECRET);
    hello.has_extended_master_secret = true;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_true(terms.is_ems);
    hello.server_name = (struct hf_bytes){(const uint8_t *)"In-CSE.Example", 14};
    hello.max_fragment_code = 3;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_int_equal(terms.server_name_len, 14);
    assert_memory_equal(terms.server_name, "in-cse.example", 14);
    assert_int_equal(terms.max_fragment_code, 3);
    hello.has_record_size_limit = true; /* RFC 8449 5: it wins */
    hello.record_size_limit = 512;
    assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
    assert_int_equal(terms.max_fragment_code, 0);
    assert_int_equal(terms.record_size_limit, 512);
}

static void test_encrypt_then_mac(void **state)
{
    static const uint16_t suites[] = {0x00AE, 0x00A8, 0xC0A8, 0xC0A4};
    struct hf_terms terms;
    (void)state;
    for (size_t i = 0; i < 16; i++) {
        struct hf_listener listener;
        struct hf_hello hello = good_hello(false);
        const uint8_t offered[] = {(uint8_t)(suites[i % 4] >> 8), (uint8_t)suites[i % 4]};
        hf_listener_init(&listener, HF_TRANSPORT_TLS);
        hello.suites = (struct hf_bytes){offered, 2};
        hello.has_encrypt_then_mac = i & 4;
        listener.encrypt_then_mac = i & 8;
        assert_int_equal(hf_hello_agree(&terms, &listener, &hello), HF_OK);
        assert_int_equal(terms.is_etm, i == 12);
        assert_int_equal(hf_hello_cipher(terms.suite, terms.is_etm) ==
                             HF_CIPHER_AES_128_CBC_SHA256_ETM,
                         i == 12);
    }
    assert_int_equal(hf_hello_cipher(0x1301, false), HF_CIPHER_NONE);
}

static void test_server_hello(void **state)
{
    static const uint8_t server_random[32] = {0xAA};
    static const uint8_t extensions[] = {0, 24, 0xFF, 1, 0, 1, 0, 0, 23, 0, 0, 0,    22,
                                         0, 0,  0,    1, 0, 1, 4, 0, 28, 0, 2, 0x40, 0};
    uint8_t out[256];
    struct hf_writer writer = hf_writer_of(out, sizeof out);
    struct hf_terms terms = {.suite = 0x00AE};
    (void)state;
    hf_hello_write(&writer, &terms, 0x0303, server_random);
    assert_false(writer.is_failed);
    assert_int_equal(writer.len, 2 + 32 + 1 + 2 + 1); /* no block rather than an empty one */
    assert_memory_equal(out, "\3\3\xAA", 3);
    assert_memory_equal(out + 34, "\0\0\xAE\0", 4);
    terms.is_secure_renegotiation = terms.is_ems = terms.is_etm = true;
    terms.max_fragment_code = 4;
    terms.record_size_limit = 100;
    writer = hf_writer_of(out, sizeof out);
    hf_hello_write(&writer, &terms, 0x0303, server_random);
    assert_int_equal(writer.len, 38 + sizeof extensions);
    assert_memory_equal(out + 38, extensions, sizeof extensions);
    for (size_t max = 0; max < 38 + sizeof extensions; max++) { /* no room */
        writer = hf_writer_of(out, max);
        hf_hello_write(&writer, &terms, 0x0303, server_random);
        assert_true(writer.is_failed);
        assert_in_range(writer.len, 0, max);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_where_they_are),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_lengths_that_lie),
        cmocka_unit_test(test_extensions_that_are_known),
        cmocka_unit_test(test_extensions_that_are_wrong),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_server_name_of_256_bytes),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_the_servers_order_decides),
        cmocka_unit_test(test_suites_are_compared_whole),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_encrypt_then_mac),
        cmocka_unit_test(test_server_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
