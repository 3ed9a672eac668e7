/**
 * keyfile_test.c - the key file: what it accepts, every way a line is refused, and answers.
 */
#include <handfast/keyfile.h>

#include "crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define KEY32 "000102030405060708090a0b0c0d0e0f"
#define KEY_OTHER "ffeeddccbbaa99887766554433221100"

static struct hf_bytes text_bytes(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static struct hf_keyfile *open_good(struct hf_bytes text)
{
    struct hf_keyfile *keyfile = NULL;
    char error[HF_KEYFILE_ERROR_MAX] = "untouched";
    enum hf_status status = hf_keyfile_open(&keyfile, error, text);
    if (status != HF_OK)
        print_error("refused: %s\n", error);
    assert_int_equal(status, HF_OK);
    assert_non_null(keyfile);
    assert_string_equal(error, "");
    return keyfile;
}

static void expect_error(struct hf_bytes text, const char *expected)
{
    struct hf_keyfile *keyfile = (struct hf_keyfile *)&keyfile;
    char error[HF_KEYFILE_ERROR_MAX];
    memset(error, 'x', sizeof(error));
    assert_int_equal(hf_keyfile_open(&keyfile, error, text), HF_E_DECODE);
    assert_null(keyfile);
    assert_string_equal(error, expected);
}

static void expect_error_text(const char *text, const char *expected)
{
    expect_error(text_bytes(text), expected);
}

static struct hf_answer ask(const struct hf_keyfile *keyfile, uint8_t *scratch,
                            const void *identity, size_t len)
{
    struct hf_answer answer;
    memset(&answer, 0xA5, sizeof(answer));
    hf_keyfile_answer(&answer, scratch, keyfile, (struct hf_bytes){identity, len});
    return answer;
}

static void assert_bytes(struct hf_bytes got, const void *expected, size_t len)
{
    assert_int_equal(got.len, len);
    if (len > 0)
        assert_memory_equal(got.data, expected, len);
}

static void test_answers_what_the_line_says(void **state)
{
    (void)state;
    struct hf_keyfile *keyfile = open_good(text_bytes("dev@in-cse.example:" KEY32 ":/cse1/Cae7\n"));
    assert_int_equal(hf_keyfile_count(keyfile), 1);
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    struct hf_answer answer = ask(keyfile, scratch, "dev@in-cse.example", 18);
    static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    assert_int_equal(answer.kind, HF_ANSWER_PSK);
    assert_int_equal(answer.framework, HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY);
    assert_int_equal(answer.entity_kind, HF_ENTITY_AE);
    assert_int_equal(answer.suid, 12);
    assert_false(answer.identity_follows);
    assert_int_equal(answer.expires_s, 0);
    assert_int_equal(answer.context, 0);
    assert_bytes(answer.secret, key, sizeof(key));
    assert_bytes(answer.entity_id, "/cse1/Cae7", 10);
    assert_bytes(answer.credential_id, "12-dev@in-cse.example", 21);
    hf_keyfile_close(keyfile);
}

static void test_classifies_the_entity(void **state)
{
    (void)state;
    struct hf_keyfile *keyfile = open_good(text_bytes("cse:" KEY32 ":/in-cse\n"
                                                      "sp-cse:" KEY32 ":"
                                                      "//sp.example/mn1\n"
                                                      "ae:" KEY32 ":SAlpha\n"
                                                      "none:" KEY32 "\n"));
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    assert_int_equal(ask(keyfile, scratch, "cse", 3).entity_kind, HF_ENTITY_CSE);
    assert_int_equal(ask(keyfile, scratch, "sp-cse", 6).entity_kind, HF_ENTITY_CSE);
    assert_int_equal(ask(keyfile, scratch, "ae", 2).entity_kind, HF_ENTITY_AE);
    struct hf_answer none = ask(keyfile, scratch, "none", 4);
    assert_int_equal(none.entity_kind, HF_ENTITY_PENDING);
    assert_int_equal(none.entity_id.len, 0);
    hf_keyfile_close(keyfile);
}

static void test_hexadecimal_identities(void **state)
{
    (void)state;
    struct hf_keyfile *keyfile = open_good(text_bytes("#6465763a31:" KEY32 "\n"
                                                      "#00FFfe:" KEY_OTHER ":/c\n"
                                                      "#23:" KEY32 "\n"
                                                      "middle#hash:" KEY32 "\n"));
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    assert_int_equal(ask(keyfile, scratch, "dev:1", 5).kind, HF_ANSWER_PSK);
    struct hf_answer binary = ask(keyfile, scratch, "\x00\xff\xfe", 3);
    assert_int_equal(binary.kind, HF_ANSWER_PSK);
    assert_bytes(binary.credential_id, "12-\x00\xff\xfe", 6);
    assert_int_equal(ask(keyfile, scratch, "#", 1).kind, HF_ANSWER_PSK);
    assert_int_equal(ask(keyfile, scratch, "middle#hash", 11).kind, HF_ANSWER_PSK);
    assert_int_equal(ask(keyfile, scratch, "#6465763a31", 11).kind, HF_ANSWER_REFUSED);
    hf_keyfile_close(keyfile);
}

static void test_unknown_identities_are_refused(void **state)
{
    (void)state;
    struct hf_keyfile *keyfile = open_good(text_bytes("known:" KEY32));
    static uint8_t long_identity[65535];
    static const size_t lens[] = {0, 1, 128, 1024, 1025, 65535};
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct hf_answer answer = ask(keyfile, scratch, long_identity, lens[i]);
        assert_int_equal(answer.kind, HF_ANSWER_REFUSED);
        assert_int_equal(answer.secret.len, 0);
        assert_int_equal(answer.credential_id.len, 0);
    }
    assert_int_equal(ask(keyfile, scratch, "know", 4).kind, HF_ANSWER_REFUSED);
    assert_int_equal(ask(keyfile, scratch, "known\0", 6).kind, HF_ANSWER_REFUSED);
    assert_int_equal(ask(keyfile, scratch, "Known", 5).kind, HF_ANSWER_REFUSED);
    assert_int_equal(ask(keyfile, scratch, "known", 5).kind, HF_ANSWER_PSK);
    hf_keyfile_close(keyfile);
}

static void test_comments_blank_lines_and_line_ends(void **state)
{
    (void)state;
    struct hf_keyfile *keyfile = open_good(text_bytes("# keys\r\n\r\n#\r\n  \t\n#\ttabbed: too\n"
                                                      "a b:" KEY32 "\r\n\n"
                                                      "z\xC3\xBCrich:" KEY_OTHER ":/x\r\n"
                                                      "# last:line\n"
                                                      "c:" KEY32));
    assert_int_equal(hf_keyfile_count(keyfile), 3);
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    assert_int_equal(ask(keyfile, scratch, "a b", 3).kind, HF_ANSWER_PSK);
    assert_bytes(ask(keyfile, scratch, "z\xC3\xBCrich", 7).entity_id, "/x", 2);
    assert_int_equal(ask(keyfile, scratch, "c", 1).kind, HF_ANSWER_PSK);
    hf_keyfile_close(keyfile);
}

static void test_an_empty_file_is_an_empty_table(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nothing\n", "\r\n\r\n"};
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct hf_keyfile *keyfile = open_good(text_bytes(texts[i]));
        assert_int_equal(hf_keyfile_count(keyfile), 0);
        assert_int_equal(ask(keyfile, scratch, "a", 1).kind, HF_ANSWER_REFUSED);
        hf_keyfile_close(keyfile);
    }
    struct hf_keyfile *keyfile = open_good((struct hf_bytes){NULL, 0});
    assert_int_equal(hf_keyfile_count(keyfile), 0);
    hf_keyfile_close(keyfile);
    hf_keyfile_close(NULL);
}

static void test_duplicates_name_both_lines(void **state)
{
    (void)state;
    expect_error_text("a:" KEY32 "\n# \nb:" KEY32 "\n\na:" KEY_OTHER "\n",
                      "line 5: the identity was already given in line 1");
    expect_error_text("a:" KEY32 "\na:" KEY32 "\n",
                      "line 2: the identity was already given in line 1");
    expect_error_text("dev1:" KEY32 "\n#64657631:" KEY32 "\n",
                      "line 2: the identity was already given in line 1");
}

static void test_identity_errors(void **state)
{
    (void)state;
    static const char does_not_print[] = "line 1: the identity has a byte that does not print: "
                                         "write it as '#' and hexadecimal digits";
    static const char must_be_hex[] = "line 1: an identity that starts with '#' must be "
                                      "hexadecimal (a comment starts with \"# \")";
    expect_error_text(":" KEY32, "line 1: the identity is empty");
    expect_error_text("#:" KEY32, "line 1: the hexadecimal identity is empty");
    expect_error_text("#646:" KEY32, "line 1: the hexadecimal identity has an odd number of "
                                     "digits");
    expect_error_text("#comment: 1", must_be_hex);
    expect_error_text("#64 5:" KEY32, must_be_hex);
    expect_error_text("a\tb:" KEY32, does_not_print);
    expect_error_text("a\x7f:" KEY32, does_not_print);
    expect_error_text("a\rb:" KEY32, does_not_print);
    expect_error_text("a\xC2\x85:" KEY32, does_not_print);     /* C1 control */
    expect_error_text("a\xff:" KEY32, does_not_print);         /* no UTF-8 */
    expect_error_text("a\xC3:" KEY32, does_not_print);         /* truncated */
    expect_error_text("a\xC0\xAF:" KEY32, does_not_print);     /* overlong */
    expect_error_text("a\xE0\x80\xAF:" KEY32, does_not_print); /* overlong */
    expect_error_text("a\xED\xA0\x80:" KEY32, does_not_print); /* surrogate */
    expect_error_text("a\xF4\x90\x80\x80:" KEY32, does_not_print);
    expect_error_text("\xEF\xBB\xBF"
                      "a:" KEY32,
                      "line 1: a byte order mark: save the file without it");
}

static void test_identity_lengths(void **state)
{
    (void)state;
    static const size_t lens[] = {1, 128, 1023, 1024};
    static char text[4096];
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        memset(text, 'i', lens[i]);
        snprintf(text + lens[i], sizeof(text) - lens[i], ":%s", KEY32);
        struct hf_keyfile *keyfile = open_good(text_bytes(text));
        struct hf_answer answer = ask(keyfile, scratch, text, lens[i]);
        assert_int_equal(answer.kind, HF_ANSWER_PSK);
        assert_int_equal(answer.credential_id.len, lens[i] + 3);
        hf_keyfile_close(keyfile);
    }
    memset(text, 'i', 1025);
    snprintf(text + 1025, sizeof(text) - 1025, ":%s", KEY32);
    expect_error_text(text, "line 1: the identity is longer than 1024 bytes");
    text[0] = '#';
    memset(text + 1, '6', 2050);
    snprintf(text + 2051, sizeof(text) - 2051, ":%s", KEY32);
    expect_error_text(text, "line 1: the identity is longer than 1024 bytes");
}

static void test_key_errors(void **state)
{
    (void)state;
    static const char no_hex[] = "line 2: the key holds a character that is no hexadecimal digit";
    expect_error_text("\na:", "line 2: the key is empty");
    expect_error_text("\na::/x", "line 2: the key is empty");
    expect_error_text("\na:" KEY32 "0", "line 2: the key has an odd number of hexadecimal digits");
    expect_error_text("\na:0001", "line 2: the key is shorter than 16 bytes (32 hexadecimal "
                                  "digits)");
    expect_error_text("\na:000102030405060708090a0b0c0d0e", "line 2: the key is shorter than 16 "
                                                            "bytes (32 hexadecimal digits)");
    expect_error_text("\na:secretsecretsecretsecretsecretse", no_hex);
    expect_error_text("\na:" KEY32 " ", no_hex);
    expect_error_text("\na: " KEY32, no_hex);
    expect_error_text("\na:0x" KEY32, no_hex);
    expect_error_text("\na:g" KEY32 "0", no_hex);
    expect_error_text("\na:" KEY32 KEY32 KEY32 KEY32 "00",
                      "line 2: the key is longer than 64 bytes (128 hexadecimal digits)");
}

static void test_no_character_but_hex_digits_passes_for_one(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char text[] = "a:" KEY32;
        text[17] = (char)c;
        struct hf_keyfile *keyfile = NULL;
        char error[HF_KEYFILE_ERROR_MAX];
        enum hf_status status = hf_keyfile_open(&keyfile, error, text_bytes(text));
        bool is_digit = strchr("0123456789abcdefABCDEF", c) != NULL;
        assert_int_equal(status, is_digit ? HF_OK : HF_E_DECODE);
        hf_keyfile_close(keyfile);
    }
}

static void test_key_lengths(void **state)
{
    (void)state;
    static const size_t lens[] = {16, 17, 32, 63, 64};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        char text[256] = "id:";
        uint8_t key[64];
        for (size_t j = 0; j < lens[i]; j++) {
            key[j] = (uint8_t)(j * 7 + 0x81);
            snprintf(text + 3 + 2 * j, sizeof(text) - 3 - 2 * j, j % 2 ? "%02X" : "%02x", key[j]);
        }
        struct hf_keyfile *keyfile = open_good(text_bytes(text));
        uint8_t scratch[HF_CREDENTIAL_ID_MAX];
        assert_bytes(ask(keyfile, scratch, "id", 2).secret, key, lens[i]);
        hf_keyfile_close(keyfile);
    }
}

static void test_entity_errors(void **state)
{
    (void)state;
    static const char malformed[] = "line 1: the entity-id is neither a CSE-ID nor an AE-ID "
                                    "(TS-0001 7.2)";
    expect_error_text("a:" KEY32 ":", "line 1: the entity-id is empty: leave out its colon too");
    expect_error_text("a:" KEY32 ":nonsense", malformed);
    expect_error_text("a:" KEY32 ":/", malformed);
    expect_error_text("a:" KEY32 ":/x\x01", "line 1: the entity-id has a byte that does not print");
    static char text[1024];
    int used = snprintf(text, sizeof(text), "a:%s:/", KEY32);
    memset(text + used, 'e', HF_ENTITY_ID_MAX);
    expect_error_text(text, "line 1: the entity-id is longer than 512 bytes");
    text[used + HF_ENTITY_ID_MAX - 1] = '\0';
    struct hf_keyfile *keyfile = open_good(text_bytes(text));
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    assert_int_equal(ask(keyfile, scratch, "a", 1).entity_id.len, HF_ENTITY_ID_MAX);
    hf_keyfile_close(keyfile);
}

static void test_form_errors(void **state)
{
    (void)state;
    expect_error_text("a:" KEY32 "\nnothing else\n",
                      "line 2: no colon: expected identity:hexkey[:entity-id]");
    expect_error_text("#comment without a blank\n",
                      "line 1: no colon: a comment starts with \"# \", a hexadecimal identity with "
                      "'#' and is followed by a colon and the key");
    static const char nul[] = "# comment \0\na:" KEY32 "\n";
    expect_error((struct hf_bytes){(const uint8_t *)nul, sizeof(nul) - 1},
                 "line 1: a NUL byte: this is not a text file");
    static const char nul_in_key[] = "\na:00010203\0";
    expect_error((struct hf_bytes){(const uint8_t *)nul_in_key, sizeof(nul_in_key) - 1},
                 "line 2: a NUL byte: this is not a text file");
}

/* Whatever is wrong with a line, its key never shows. */
static void test_errors_hold_no_key(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "a:c0ffee0123456789c0ffee0123456789:",
        "a:c0ffee0123456789c0ffee012345678",
        "a:c0ffee01234",
        "a:c0ffee0123456789c0ffee01234567zz",
        "c0ffee0123456789c0ffee0123456789",
        ":c0ffee0123456789c0ffee0123456789",
        "a:c0ffee0123456789c0ffee0123456789:bad",
        ("#c0ffee0123456789c0ffee012345678:" KEY32),
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct hf_keyfile *keyfile = NULL;
        char error[HF_KEYFILE_ERROR_MAX];
        assert_int_equal(hf_keyfile_open(&keyfile, error, text_bytes(lines[i])), HF_E_DECODE);
        assert_null(strstr(error, "c0f"));
        assert_null(strstr(error, "345"));
    }
}

/* Cuts a good file at every byte: an exact copy on the heap lets a sanitizer see an overread. */
static void test_truncation_is_safe(void **state)
{
    (void)state;
    static const char whole[] = "# c\nlonger-identity:" KEY32 ":/cse/Cae\r\n#6162:" KEY_OTHER "\n";
    for (size_t len = 0; len < sizeof(whole); len++) {
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, whole, len);
        uint8_t *exact = realloc(copy, len == 0 ? 1 : len);
        assert_non_null(exact);
        struct hf_keyfile *keyfile = NULL;
        char error[HF_KEYFILE_ERROR_MAX];
        enum hf_status status = hf_keyfile_open(&keyfile, error, (struct hf_bytes){exact, len});
        assert_true((status == HF_OK) == (keyfile != NULL));
        assert_true((status == HF_OK) == (error[0] == '\0'));
        hf_keyfile_close(keyfile);
        free(exact);
    }
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_a_hundred_thousand_keys_load_fast(void **state)
{
    (void)state;
    enum { KEYS = 100000, LINE_MAX_LEN = 96 };
    char *text = malloc((size_t)KEYS * LINE_MAX_LEN);
    assert_non_null(text);
    size_t len = 0;
    for (unsigned i = 0; i < KEYS; i++)
        len += (size_t)snprintf(text + len, LINE_MAX_LEN,
                                "device-%06u@in-cse.example:%032x:/ae%u\n", i, i * 2654435761U, i);
    double before = seconds_now();
    struct hf_keyfile *keyfile = open_good((struct hf_bytes){(const uint8_t *)text, len});
    double took = seconds_now() - before;
    print_message("100,000 keys: %.0f ms of CPU\n", took * 1e3);
#ifndef HF_SANITIZED
    assert_true(took < 1.0);
#endif
    assert_int_equal(hf_keyfile_count(keyfile), KEYS);
    uint8_t scratch[HF_CREDENTIAL_ID_MAX];
    for (unsigned i = 0; i < KEYS; i++) {
        char identity[64];
        int identity_len = snprintf(identity, sizeof(identity), "device-%06u@in-cse.example", i);
        struct hf_answer answer = ask(keyfile, scratch, identity, (size_t)identity_len);
        assert_int_equal(answer.kind, HF_ANSWER_PSK);
        uint32_t last = i * 2654435761U;
        uint8_t key_end[4] = {(uint8_t)(last >> 24), (uint8_t)(last >> 16), (uint8_t)(last >> 8),
                              (uint8_t)last};
        assert_memory_equal(answer.secret.data + 12, key_end, 4);
    }
    hf_keyfile_close(keyfile);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_what_the_line_says),
        cmocka_unit_test(test_classifies_the_entity),
        cmocka_unit_test(test_hexadecimal_identities),
        cmocka_unit_test(test_unknown_identities_are_refused),
        cmocka_unit_test(test_comments_blank_lines_and_line_ends),
        cmocka_unit_test(test_an_empty_file_is_an_empty_table),
        cmocka_unit_test(test_duplicates_name_both_lines),
        cmocka_unit_test(test_identity_errors),
        cmocka_unit_test(test_identity_lengths),
        cmocka_unit_test(test_key_errors),
        cmocka_unit_test(test_no_character_but_hex_digits_passes_for_one),
        cmocka_unit_test(test_key_lengths),
        cmocka_unit_test(test_entity_errors),
        cmocka_unit_test(test_form_errors),
        cmocka_unit_test(test_errors_hold_no_key),
        cmocka_unit_test(test_truncation_is_safe),
        cmocka_unit_test(test_a_hundred_thousand_keys_load_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
