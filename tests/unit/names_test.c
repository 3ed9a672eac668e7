/**
 * names_test.c - the public vocabulary: statuses, drops, suites, addresses, entities. What reaches
 * metrics and logs must be there, be distinct and stay fit for a label.
 */
#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool is_label(const char *text)
{
    return *text != 0 && text[strspn(text, "abcdefghijklmnopqrstuvwxyz_")] == 0;
}

static void test_every_status_has_its_names(void **state)
{
    (void)state;
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        enum hf_status status = (enum hf_status)i;
        assert_true(is_label(hf_status_reason(status)));
        assert_true(strlen(hf_status_text(status)) > 0);
        for (int other = 0; other < i; other++)
            assert_string_not_equal(hf_status_reason(status),
                                    hf_status_reason((enum hf_status)other));
    }
    assert_non_null(hf_status_text((enum hf_status)HF_STATUS_COUNT));
    assert_non_null(hf_status_reason((enum hf_status)9999));
}

/* An alert tells a stranger something: only what the peer did, or how it ends, may cause one. */
static void test_alerts_go_with_classes(void **state)
{
    (void)state;
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        enum hf_status status = (enum hf_status)i;
        enum hf_status_class class_ = hf_status_class(status);
        uint8_t alert = hf_status_alert(status);
        if (class_ == HF_CLASS_NONE || class_ == HF_CLASS_USAGE)
            assert_int_equal(alert, HF_ALERT_NONE);
        if (alert != HF_ALERT_NONE)
            assert_string_not_equal(hf_alert_name(alert), "alert");
    }
    /* A peer cannot tell an unknown identity from a wrong or expired key (RFC 4279 2). */
    assert_int_equal(hf_status_alert(HF_E_KEY_UNKNOWN), hf_status_alert(HF_E_KEY_MISMATCH));
    assert_int_equal(hf_status_alert(HF_E_KEY_EXPIRED), hf_status_alert(HF_E_KEY_MISMATCH));
    assert_int_equal(hf_status_alert(HF_E_BAD_RECORD_MAC), hf_status_alert(HF_E_KEY_MISMATCH));
}

static void test_every_drop_has_a_label(void **state)
{
    (void)state;
    for (int i = 0; i < HF_DROP_COUNT; i++) {
        assert_true(is_label(hf_drop_label((enum hf_drop)i)));
        for (int other = 0; other < i; other++)
            assert_string_not_equal(hf_drop_label((enum hf_drop)i),
                                    hf_drop_label((enum hf_drop)other));
    }
    assert_non_null(hf_drop_label((enum hf_drop)HF_DROP_COUNT));
}

static void test_suites_by_any_of_their_names(void **state)
{
    (void)state;
    static const struct {
        uint16_t suite;
        const char *names[8];
    } rows[] = {
        {0xC0A8,
         {"TLS_PSK_WITH_AES_128_CCM_8", "PSK_WITH_AES_128_CCM_8", "TLS_PSK_AES_128_CCM_8",
          "PSK_AES_128_CCM_8", "psk_aes_128_ccm_8", "PSK-AES128-CCM8", "0xC0A8", "0xc0a8"}},
        {0xC0A4,
         {"TLS_PSK_WITH_AES_128_CCM", "PSK_WITH_AES_128_CCM", "TLS_PSK_AES_128_CCM",
          "PSK_AES_128_CCM", "Psk_Aes_128_Ccm", "PSK-AES128-CCM", "0xC0A4", "0xc0a4"}},
        {0x00AE,
         {"TLS_PSK_WITH_AES_128_CBC_SHA256", "PSK_WITH_AES_128_CBC_SHA256",
          "TLS_PSK_AES_128_CBC_SHA256", "PSK_AES_128_CBC_SHA256", "psk_with_aes_128_cbc_sha256",
          "PSK-AES128-CBC-SHA256", "0x00AE", "0xae"}},
        {0x00A8,
         {"TLS_PSK_WITH_AES_128_GCM_SHA256", "PSK_WITH_AES_128_GCM_SHA256",
          "TLS_PSK_AES_128_GCM_SHA256", "PSK_AES_128_GCM_SHA256", "tls_psk_aes_128_gcm_sha256",
          "PSK-AES128-GCM-SHA256", "0x00A8", "0xa8"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(hf_suite_name(rows[i].suite), rows[i].names[0]);
        for (size_t j = 0; j < 8; j++)
            assert_int_equal(hf_suite_parse(rows[i].names[j]), rows[i].suite);
    }
    static const char *const wrong[] = {"",
                                        "TLS_",
                                        "PSK",
                                        "PSK_",
                                        "PSK_WITH_",
                                        "0x",
                                        "0xC0A9",
                                        "C0A8",
                                        "0xC0A8 ",
                                        "TLS_PSK_WITH_AES_128_CCM_88",
                                        "TLS_TLS_PSK_AES_128_CCM_8",
                                        "PSK_WITH_WITH_AES_128_CCM"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(hf_suite_parse(wrong[i]), HF_SUITE_NONE);
    assert_null(hf_suite_name(HF_SUITE_NONE));
}

static void test_addresses_print_as_rfc_5952_says(void **state)
{
    (void)state;
    static const uint8_t v4[4] = {192, 0, 2, 1};
    static const struct {
        uint8_t ip[16];
        uint32_t scope;
        const char *text;
    } rows[] = {
        {{0}, 0, "[::]:5684"},
        {{[15] = 1}, 0, "[::1]:5684"},
        {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}, 0, "[2001:db8::1]:5684"},
        {{0xfe, 0x80, [15] = 1}, 2, "[fe80::1%2]:5684"},
        {{0x20, 0x01, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, 0, "[2001:0:1::1:0:1]:5684"},
        {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
         0,
         "[2001:db8:0:1:1:1:1:1]:5684"},
        {{0x20, 0x01, 0x0d, 0xb8, [9] = 1}, 0, "[2001:db8:0:0:1::]:5684"},
        {{[1] = 1, [15] = 0}, 0, "[1::]:5684"},
    };
    char text[HF_ADDRESS_TEXT_MAX];
    struct hf_address address = hf_address_v4(v4, 5684);
    assert_true(hf_address_is_v4(&address));
    assert_string_equal(hf_address_print(text, &address), "192.0.2.1:5684");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        address = hf_address_v6(rows[i].ip, 5684, rows[i].scope);
        assert_false(hf_address_is_v4(&address));
        assert_string_equal(hf_address_print(text, &address), rows[i].text);
    }
    struct hf_address longest;
    memset(&longest, 0xFF, sizeof longest);
    assert_true(strlen(hf_address_print(text, &longest)) < HF_ADDRESS_TEXT_MAX);
}

static void test_entities_by_their_grammar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum hf_entity_kind kind;
    } rows[] = {
        {"/in-cse", HF_ENTITY_CSE},
        {"//sp.example/in-cse", HF_ENTITY_CSE},
        {"Cae7", HF_ENTITY_AE},
        {"Sae7", HF_ENTITY_AE},
        {"/Sae7", HF_ENTITY_AE},
        {"/in-cse/Cae7", HF_ENTITY_AE},
        {"//sp.example/Sae7", HF_ENTITY_AE},
        {"//sp.example/in-cse/Cae7", HF_ENTITY_AE},
        {"", HF_ENTITY_PENDING},
        {"/", HF_ENTITY_PENDING},
        {"//", HF_ENTITY_PENDING},
        {"///", HF_ENTITY_PENDING},
        {"ae7", HF_ENTITY_PENDING},
        {"/in-cse/", HF_ENTITY_PENDING},
        {"/in-cse/ae7", HF_ENTITY_PENDING},
        {"/in-cse/Cae7/x", HF_ENTITY_PENDING},
        {"//sp.example", HF_ENTITY_PENDING},
        {"/in cse", HF_ENTITY_PENDING},
        {"C\xC3\xA4", HF_ENTITY_PENDING},
        {"/in-cse//Cae7", HF_ENTITY_PENDING},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct hf_bytes bytes = {(const uint8_t *)rows[i].text, strlen(rows[i].text)};
        if (hf_entity_kind_of(bytes) != rows[i].kind)
            fail_msg("\"%s\" is %s", rows[i].text, hf_entity_kind_name(hf_entity_kind_of(bytes)));
    }
    assert_int_equal(hf_entity_kind_of((struct hf_bytes){(const uint8_t *)"C\0e", 3}),
                     HF_ENTITY_PENDING);
}

static void test_the_version_is_the_headers(void **state)
{
    (void)state;
    char text[32];
    (void)snprintf(text, sizeof text, "%d.%d.%d", HF_VERSION_MAJOR, HF_VERSION_MINOR,
                   HF_VERSION_PATCH);
    assert_string_equal(hf_version(), text);
    assert_string_equal(hf_version(), HF_VERSION_STRING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_its_names),
        cmocka_unit_test(test_alerts_go_with_classes),
        cmocka_unit_test(test_every_drop_has_a_label),
        cmocka_unit_test(test_suites_by_any_of_their_names),
        cmocka_unit_test(test_addresses_print_as_rfc_5952_says),
        cmocka_unit_test(test_entities_by_their_grammar),
        cmocka_unit_test(test_the_version_is_the_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
