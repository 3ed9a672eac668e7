/**
 * shared_secrets_test.c - the file of dated secrets: what is read, what is refused and why, what
 * rotation keeps; and the calendar under it.
 */
#include "../../keysource/calendar.h"

#include <handfast/session.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define B "ffeeddccbbaa99887766554433221100FFEEDDCCBBAA99887766554433221100"

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static void test_calendar(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } known[] = {
        {"19700101T000000", 0},
        {"20000229T120000", 951825600},
        {"20261122T070839", 1795331319},
        {"20380119T031408", 2147483648},
        {"21000228T235959", 4107542399},
        {"21000301T000000", 4107542400},
        {"99991231T235959", 253402300799},
    };
    static const char *const wrong[] = {
        "19691231T235959", "20260431T000000", "20250229T000000", "21000229T000000",
        "20261301T000000", "20260001T000000", "20260100T000000", "20260101T240000",
        "20260101T006000", "20260101T000061", "20260101 000000", "2026010aT000000",
    };
    int64_t seconds = 0;
    char text[HF_CALENDAR_LEN + 1];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_true(hf_calendar_read(&seconds, known[i].text));
        assert_true(seconds == known[i].seconds);
        hf_calendar_print(text, seconds);
        assert_string_equal(text, known[i].text);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(hf_calendar_read(&seconds, wrong[i]));
    for (int64_t day = 0; day < 80000; day++) {
        hf_calendar_print(text, day * 86400 + 86399);
        assert_true(hf_calendar_read(&seconds, text));
        assert_true(seconds == day * 86400 + 86399);
    }
}

static void test_parse(void **state)
{
    (void)state;
    struct hf_shared_secrets secrets;
    size_t line;
    const char *why;
    assert_int_equal(hf_shared_secrets_parse(
                         &secrets, &line, &why,
                         bytes_of("# ours\n\n20260101T000000Z " A "\n20270101T000000Z " B "\n")),
                     HF_OK);
    assert_int_equal(secrets.count, 2);
    assert_true(secrets.entries[0].from_s > secrets.entries[1].from_s);
    assert_int_equal(secrets.entries[0].secret[0], 0xFF);
    assert_int_equal(secrets.entries[1].secret[31], 0xFF);
    char text[HF_SHARED_SECRETS_TEXT_MAX];
    struct hf_shared_secrets again;
    size_t len = hf_shared_secrets_print(text, &secrets);
    assert_int_equal(len, strlen(text));
    assert_int_equal(hf_shared_secrets_parse(&again, &line, &why, bytes_of(text)), HF_OK);
    assert_memory_equal(&again, &secrets, sizeof secrets);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t line;
        const char *why;
    } cases[] = {
        {"", 0, "no secret"},
        {"# nothing\n", 1, "no secret"},
        {"\n20260101T000000Z " A "0\n", 2, "64 hexadecimal"},
        {"20260101T000000 " A "\n", 1, "64 hexadecimal"},
        {"20260101T000000Z\t" A, 1, "64 hexadecimal"},
        {"20260132T000000Z " A, 1, "no such date"},
        {"20260101T000000Z g" A, 1, "64 hexadecimal"},
        {"20260101T000000Z 0g112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 1,
         "not a hexadecimal"},
        {"20260101T000000Z " A "\n20260101T000000Z " B, 2, "same moment"},
    };
    struct hf_shared_secrets secrets;
    size_t line;
    const char *why;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(hf_shared_secrets_parse(&secrets, &line, &why, bytes_of(cases[i].text)),
                         HF_E_CONFIG);
        assert_int_equal(line, cases[i].line);
        assert_non_null(strstr(why, cases[i].why));
        assert_int_equal(secrets.count, 0);
    }
    char many[9 * 90];
    size_t len = 0;
    for (int i = 0; i < 9; i++)
        len += (size_t)snprintf(many + len, sizeof many - len, "2026010%dT000000Z " A "\n", i + 1);
    assert_int_equal(hf_shared_secrets_parse(&secrets, &line, &why, bytes_of(many)), HF_E_CONFIG);
    assert_int_equal(line, 9);
}

static void test_active(void **state)
{
    const struct hf_shared_secrets secrets = {3,
                                              {{.from_s = 300}, {.from_s = 200}, {.from_s = 100}}};
    (void)state;
    assert_ptr_equal(hf_shared_secrets_active(&secrets, 300), &secrets.entries[0]);
    assert_ptr_equal(hf_shared_secrets_active(&secrets, 299), &secrets.entries[1]);
    assert_ptr_equal(hf_shared_secrets_active(&secrets, 100), &secrets.entries[2]);
    assert_ptr_equal(hf_shared_secrets_active(&secrets, 99), &secrets.entries[2]);
}

static void test_rotate(void **state)
{
    (void)state;
    struct hf_shared_secrets secrets = {0};
    for (int64_t day = 1; day <= 20; day++)
        assert_int_equal(hf_shared_secrets_rotate(&secrets, day * 86400, 0), HF_OK);
    assert_int_equal(secrets.count, HF_SHARED_SECRETS_MAX); /* the oldest made room */
    assert_true(secrets.entries[0].from_s == 20 * 86400);
    assert_true(secrets.entries[7].from_s == 13 * 86400);
    assert_int_equal(hf_shared_secrets_rotate(&secrets, 15 * 86400, 0), HF_E_ARGUMENT);
    assert_int_equal(secrets.count, HF_SHARED_SECRETS_MAX);
    /* 13..17 were replaced before 18.5; 18 was in use until 19. */
    assert_int_equal(hf_shared_secrets_rotate(&secrets, 21 * 86400, 18 * 86400 + 43200), HF_OK);
    assert_int_equal(secrets.count, 4);
    assert_true(secrets.entries[3].from_s == 18 * 86400);
    assert_memory_not_equal(secrets.entries[0].secret, secrets.entries[1].secret, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calendar), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_active),
        cmocka_unit_test(test_rotate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
