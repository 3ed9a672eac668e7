/**
 * maf_text_test.c - identifiers, timestamps and key encodings, each with what must be refused.
 */
#include "maf_names.h"
#include "maf_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hf_bytes text(const char *string)
{
    return hf_maf_text_view(string);
}

static void test_identities(void **state)
{
    (void)state;
    struct hf_maf_identity split;
    assert_true(
        hf_maf_text_split(&split, text("b35e.e1_b3-X@maf.example.com"), HF_MAF_RELATIVE_ANY));
    assert_true(hf_maf_text_is(split.relative_key_id, "b35e.e1_b3-X"));
    assert_true(hf_maf_text_is(split.fqdn, "maf.example.com"));
    assert_true(hf_maf_text_split(&split, text("B35EE1B3FDA6FBE0CA3E84527D2706d8@a.b"),
                                  HF_MAF_RELATIVE_HEX));
    static const char *const bad[] = {
        "",        "@",       "a@",      "@a.b",   "a.b",     "a@b@c.d", "a@b",          "a@.b",
        "a@b.",    "a@b..c",  "a@-b.c",  "a@b-.c", "a/b@c.d", "a b@c.d", "a%2f@c.d",     ".@c.d",
        "..@c.d",  "a@b.c/d", "a@b.c:1", "a@b_.c", "a+b@c.d", "a=@c.d",  "\xc3\xa9@c.d", "a\n@c.d",
        "a@b.c\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hf_maf_text_split(&split, text(bad[i]), HF_MAF_RELATIVE_ANY));
    assert_false(hf_maf_text_split(&split, text("abc@a.b"), HF_MAF_RELATIVE_HEX));
    assert_false(hf_maf_text_split(&split, text("b35ee1b3fda6fbe0ca3e84527d2706dg@a.b"),
                                   HF_MAF_RELATIVE_HEX));
    /* A NUL is a character like any other bad one. */
    assert_false(hf_maf_text_split(&split, (struct hf_bytes){(const uint8_t *)"a\0@b.c", 6},
                                   HF_MAF_RELATIVE_ANY));
}

static void test_lengths_of_identities(void **state)
{
    (void)state;
    struct hf_maf_identity split;
    char long_text[600];
    memset(long_text, 'a', sizeof(long_text));
    memcpy(long_text + HF_MAF_RELATIVE_KEY_ID_MAX, "@b.cd", 6);
    assert_true(hf_maf_text_split(&split, text(long_text), HF_MAF_RELATIVE_ANY));
    memcpy(long_text + HF_MAF_RELATIVE_KEY_ID_MAX, "a@b.cd", 7);
    assert_false(hf_maf_text_split(&split, text(long_text), HF_MAF_RELATIVE_ANY));
    memset(long_text, 'a', sizeof(long_text));
    memcpy(long_text, "a@", 2);
    for (size_t i = 60; i < 255; i += 60)
        long_text[i] = '.';
    long_text[2 + HF_MAF_FQDN_MAX] = '\0';
    assert_true(hf_maf_text_split(&split, text(long_text), HF_MAF_RELATIVE_ANY));
    long_text[2 + HF_MAF_FQDN_MAX] = 'a';
    long_text[3 + HF_MAF_FQDN_MAX] = '\0';
    assert_false(hf_maf_text_split(&split, text(long_text), HF_MAF_RELATIVE_ANY));
    char label[80] = "a@";
    memset(label + 2, 'b', 64);
    memcpy(label + 66, ".c", 3);
    assert_false(hf_maf_text_split(&split, text(label), HF_MAF_RELATIVE_ANY));
    memcpy(label + 65, ".c", 3);
    assert_true(hf_maf_text_split(&split, text(label), HF_MAF_RELATIVE_ANY));
}

static void test_identifiers(void **state)
{
    (void)state;
    static const char *const good[] = {
        "//m2msp.example/in-cse",
        "//m2msp.example/S98821",
        "//m2msp.example/CSE3219/C9886",
        "/in-cse",
        "/in-cse/C1",
        "/S1",
        "C1",
        "S~1",
    };
    static const char *const bad[] = {
        "",
        "/",
        "//",
        "///",
        "//m2msp/x",
        "//m2msp.example",
        "//m2msp.example/",
        "//m2msp.example/a/b/c",
        "//m2msp.example/a/",
        "//m2msp.example//a",
        "/a/b/c",
        "/a//b",
        "/a/",
        "X1",
        "C",
        "in-cse",
        "C1/x",
        "/in cse",
        "/in\"cse",
        "//a.b/\xc3\xa9",
        "12-kpsa@a.b",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(hf_maf_text_is_identifier(text(good[i])));
        assert_int_equal(hf_maf_text_is_absolute(text(good[i])), i < 3);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hf_maf_text_is_identifier(text(bad[i])));
}

static void test_timestamps(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
    } good[] = {
        {"19700101T000000", 0},
        {"20261231T235959", 1798761599},
        {"20261231T235959,5", 1798761599},
        {"20261231T235959,123456", 1798761599},
        {"20000229T120000", 951825600},
        {"21000301T000000", 4107542400},
        {"99991231T235959", 253402300799},
    };
    static const char *const bad[] = {
        "",
        "20261231",
        "20261231T23595",
        "20261231T2359590",
        "20261231T235959,",
        "20261231T235959,1234567",
        "20261231T235959.5",
        "20261231T235959Z",
        "20261231t235959",
        "20261331T000000",
        "20260001T000000",
        "20260100T000000",
        "20260229T000000",
        "21000229T000000",
        "20260431T000000",
        "20260101T240000",
        "20260101T006000",
        "20260101T000060",
        "19691231T235959",
        "2026-12-31T23:59:59",
        "+0261231T235959",
        "20261231T235959,1a",
    };
    int64_t s = 0;
    char out[HF_MAF_TIMESTAMP_LEN + 1];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(hf_maf_text_read_time(&s, text(good[i].text)));
        assert_int_equal(s, good[i].s);
        hf_maf_text_write_time(out, s);
        assert_memory_equal(out, good[i].text, HF_MAF_TIMESTAMP_LEN);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hf_maf_text_read_time(&s, text(bad[i])));
    /* Each day there and back. */
    for (int64_t day = 0; day < 150000; day++) {
        hf_maf_text_write_time(out, day * 86400 + 4242);
        assert_true(hf_maf_text_read_time(&s, text(out)));
        assert_int_equal(s, day * 86400 + 4242);
    }
}

static void test_keys(void **state)
{
    (void)state;
    uint8_t key[HF_PSK_MAX];
    uint8_t back[HF_PSK_MAX];
    char out[100];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 37 + 201);
    for (size_t want = 1; want <= sizeof(key); want++) {
        hf_maf_text_write_key(out, (struct hf_bytes){key, want});
        assert_int_equal(strlen(out), (want + 2) / 3 * 4);
        assert_true(hf_maf_text_read_key(back, &len, sizeof(back), text(out)));
        assert_int_equal(len, want);
        assert_memory_equal(back, key, want);
        out[strcspn(out, "=")] = '\0'; /* without padding */
        assert_true(hf_maf_text_read_key(back, &len, sizeof(back), text(out)));
        assert_int_equal(len, want);
        assert_memory_equal(back, key, want);
    }
    hf_maf_text_write_hex(out, (struct hf_bytes){key, 32});
    assert_true(hf_maf_text_read_key(back, &len, sizeof(back), text(out)));
    assert_int_equal(len, 32);
    assert_memory_equal(back, key, 32);
    assert_true(hf_maf_text_read_key(back, &len, sizeof(back), text("-_-_")));
    assert_true(hf_maf_text_read_key(key, &len, sizeof(key), text("+/+/")));
    assert_memory_equal(back, key, 3);
    /* RFC 4648 10. */
    assert_true(hf_maf_text_read_key(back, &len, sizeof(back), text("Zm9vYmE=")));
    assert_int_equal(len, 5);
    assert_memory_equal(back, "fooba", 5);
}

static void test_bad_keys(void **state)
{
    (void)state;
    uint8_t back[HF_PSK_MAX];
    size_t len = 0;
    static const char *const bad[] = {
        "",
        "=",
        "==",
        "A",
        "AA=",
        "AAA==",
        "A===",
        "AAAA=",
        "AAAA==",
        "A=AA",
        "AAA=AAAA",
        "AB==",
        "AAB=",
        "AA A",
        "AA\nA",
        "AA*A",
        "AAAAA",
        "Zm9vYmE==",
        "\xc3\xa9\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hf_maf_text_read_key(back, &len, sizeof(back), text(bad[i])));
    char long_text[200];
    memset(long_text, 'A', sizeof(long_text));
    long_text[88] = '\0';
    assert_false(hf_maf_text_read_key(back, &len, sizeof(back), text(long_text)));
    memset(long_text, 'Z', 128);
    long_text[128] = '\0';
    assert_false(hf_maf_text_read_key(back, &len, sizeof(back), text(long_text)));
}

static void test_every_name_is_there(void **state)
{
    (void)state;
    for (int i = 0; i < HF_MAF_NAME_COUNT; i++)
        assert_true(strlen(hf_maf_name((enum hf_maf_name)i)) > 0);
    assert_int_equal(strlen(hf_maf_name(HF_MAF_NAME_COUNT)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identities),
        cmocka_unit_test(test_lengths_of_identities),
        cmocka_unit_test(test_identifiers),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_every_name_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
