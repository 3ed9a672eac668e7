/**
 * upstream_proxy_test.c - the PROXY protocol's header where the daemon's tests do not reach: IPv6,
 * certificates, expiry, NULs, the longest values, and every length of buffer that is too short.
 */
#include "upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct hf_association_info info;
static uint8_t out[HF_UPSTREAM_PROXY_MAX];

static int setup(void **state)
{
    (void)state;
    memset(&info, 0, sizeof info);
    info.transport = HF_TRANSPORT_DTLS;
    info.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
    info.suite = HF_SUITE_PSK_AES_128_CCM_8;
    info.path.peer = hf_address_v4((const uint8_t[4]){192, 0, 2, 1}, 0x1234);
    info.path.local = hf_address_v4((const uint8_t[4]){192, 0, 2, 2}, 5684);
    return 0;
}

/* The value of a TLV of the header's body; NULL: it has none. */
static const uint8_t *find(size_t *value_len, uint8_t type, size_t len, size_t addresses_len)
{
    size_t at = 16 + addresses_len;
    const uint8_t *found = NULL;
    *value_len = 0;
    while (at < len) {
        assert_true(at + 3 <= len);
        size_t part = (size_t)out[at + 1] << 8 | out[at + 2];
        assert_true(at + 3 + part <= len);
        if (out[at] == type) {
            assert_null(found);
            found = &out[at + 3];
            *value_len = part;
        }
        at += 3 + part;
    }
    return found;
}

static void expect(uint8_t type, const void *value, size_t value_len, size_t len, size_t addresses)
{
    size_t found_len;
    const uint8_t *found = find(&found_len, type, len, addresses);
    assert_non_null(found);
    assert_int_equal(found_len, value_len);
    assert_memory_equal(found, value, value_len);
}

static void the_whole_header_of_a_datagram(void **state)
{
    static const char wanted[] = "\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x71"
                                 "\xc0\0\x02\x01\xc0\0\x02\x02\x12\x34\x16\x34"
                                 "\x05\0\x10"
                                 "0200000100000003"
                                 "\x20\0\x2d\x01\0\0\0\x01\x21\0\x08"
                                 "DTLSv1.2"
                                 "\x23\0\x1a"
                                 "TLS_PSK_WITH_AES_128_CCM_8"
                                 "\xe2\0\x19provisioned-symmetric-key"
                                 "\xe3\0\x03Mca";
    (void)state;
    size_t len = hf_upstream_proxy_encode(out, sizeof out, 0x0200000100000003, &info, false);
    assert_int_equal(len, sizeof wanted - 1);
    assert_int_equal(len, 16 + 0x71);
    assert_memory_equal(out, wanted, len);
}

static void ipv6_certificate_and_expiry(void **state)
{
    uint8_t peer[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    size_t ssl_len;
    (void)state;
    info.transport = HF_TRANSPORT_TLS;
    info.framework = HF_FRAMEWORK_CERTIFICATE;
    info.expires_s = 4102444800;
    info.path.peer = hf_address_v6(peer, 50000, 0);
    size_t len = hf_upstream_proxy_encode(out, sizeof out, 1, &info, false);
    assert_int_equal(out[13], 0x21);
    assert_memory_equal(&out[16], peer, 16);
    assert_memory_equal(&out[32], info.path.local.ip, 16); /* v4-mapped beside an IPv6 peer */
    expect(0xE4, "4102444800", 10, len, 36);
    const uint8_t *ssl = find(&ssl_len, 0x20, len, 36);
    assert_non_null(ssl);
    assert_memory_equal(ssl, "\x07\0\0\0\0\x21\0\x07TLSv1.2", 15);
}

static void absent_is_absent_and_nuls_stay(void **state)
{
    size_t value_len;
    (void)state;
    memcpy(info.credential_id, "a\0b", 3);
    info.credential_id_len = 3;
    size_t len = hf_upstream_proxy_encode(out, sizeof out, 1, &info, false);
    expect(0xE1, "a\0b", 3, len, 12);
    assert_null(find(&value_len, 0x02, len, 12));
    assert_null(find(&value_len, 0xE0, len, 12));
    assert_null(find(&value_len, 0xE4, len, 12));
}

static void the_unique_id_tells_the_entity_where_it_may(void **state)
{
    (void)state;
    size_t len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, true);
    expect(0x05, "0000000000000011", 16, len, 12); /* pending: nothing to tell */
    memcpy(info.entity_id, "Cae1 Cae2", 9);
    info.entity_id_len = 9;
    len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, true);
    expect(0x05, "0000000000000011 Cae1 Cae2", 26, len, 12);
    expect(0xE0, "Cae1 Cae2", 9, len, 12);
    len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, false);
    expect(0x05, "0000000000000011", 16, len, 12);
    info.entity_id[4] = '\n'; /* would end a header of HTTP */
    len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, true);
    expect(0x05, "0000000000000011", 16, len, 12);
    memset(info.entity_id, 'e', 112); /* 128 bytes are what HAProxy takes: 16, a blank, 111 */
    info.entity_id_len = 111;
    len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, true);
    size_t value_len;
    assert_non_null(find(&value_len, 0x05, len, 12));
    assert_int_equal(value_len, 128);
    info.entity_id_len = 112;
    len = hf_upstream_proxy_encode(out, sizeof out, 0x11, &info, true);
    expect(0x05, "0000000000000011", 16, len, 12);
}

static void the_longest_fits_and_nothing_shorter_does(void **state)
{
    static uint8_t shorter[HF_UPSTREAM_PROXY_MAX];
    (void)state;
    info.entity_id_len = HF_ENTITY_ID_MAX;
    info.credential_id_len = HF_CREDENTIAL_ID_MAX;
    info.server_name_len = 255;
    info.expires_s = INT64_MIN;
    info.path.peer = hf_address_v6((const uint8_t[16]){0x20, 1}, 1, 0);
    memset(info.entity_id, 'e', HF_ENTITY_ID_MAX);
    memset(info.credential_id, 'c', HF_CREDENTIAL_ID_MAX);
    memset(info.server_name, 's', 255);
    size_t len = hf_upstream_proxy_encode(out, sizeof out, UINT64_MAX, &info, false);
    assert_true(len > 2000);
    expect(0xE0, info.entity_id, HF_ENTITY_ID_MAX, len, 36);
    for (size_t max = 0; max < len; ++max) {
        shorter[max] = 0x5a;
        assert_int_equal(hf_upstream_proxy_encode(shorter, max, UINT64_MAX, &info, false), 0);
        assert_int_equal(shorter[max], 0x5a);
    }
    assert_int_equal(hf_upstream_proxy_encode(shorter, len, UINT64_MAX, &info, false), len);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_whole_header_of_a_datagram),
        TEST(ipv6_certificate_and_expiry),
        TEST(absent_is_absent_and_nuls_stay),
        TEST(the_unique_id_tells_the_entity_where_it_may),
        TEST(the_longest_fits_and_nothing_shorter_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
