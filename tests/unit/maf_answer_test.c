/**
 * maf_answer_test.c - registrations as JSON there and back, and every way an answer to a retrieval
 * can be wrong.
 */
#include "maf_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "b35ee1b3fda6fbe0ca3e84527d2706d8"
#define KEY_HEX "1e4933dce002eabff310b0893ca1ca54992a372566702e2fa7460e6e11a22a2e"
#define KEY_BASE64 "HkkzzOAC6r/zELCJPKHKVJkqNyVmcC4vp0YObhGiKi4="
#define WALL_S 1790000000

static struct hf_bytes text(const char *string)
{
    return hf_maf_text_view(string);
}

static struct hf_maf_expectation expectation_of(void)
{
    return (struct hf_maf_expectation){.relative_key_id = text(ID),
                                       .wall_s = WALL_S,
                                       .key_len_min = HF_MAF_KEY_LEN,
                                       .key_len_max = HF_MAF_KEY_LEN};
}

static enum hf_maf_outcome judge(struct hf_maf_resource *out, const char *body)
{
    const char *why = NULL;
    const struct hf_maf_message message = {
        .status = 200, .rsc = 2000, .is_json = true, .body = text(body)};
    const struct hf_maf_expectation expectation = expectation_of();
    return hf_maf_answer_judge(out, &why, &message, &expectation);
}

#define ANSWER(id, expires, source, admin, suid, key)                                              \
    "{\"sec:symmKeyReg\":{\"resourceID\":" id ",\"expirationTime\":" expires                       \
    ",\"sourceID\":" source ",\"adminFQDN\":" admin ",\"SUID\":" suid ",\"keyValue\":" key "}}"
#define Q(text) "\"" text "\""

static void test_good_answers(void **state)
{
    (void)state;
    static const char *const good[] = {
        ANSWER(Q(ID), Q("20361231T235959"), Q("//m2msp.example/Sae1"), Q("m2msp.example"), "32",
               Q(KEY_HEX)),
        ANSWER(Q("B35EE1B3FDA6FBE0CA3E84527D2706D8"), Q("20361231T235959,5"), Q("km1@maf.example"),
               Q("m2msp.example"), "32", Q(KEY_BASE64)),
        " {\"sec:symmKeyReg\" : {\"keyValue\":" Q(
            KEY_BASE64) ",\"SUID\":32,\"labels\":[\"a\"],"
                        "\"unknown\":[{}],\"sourceID\":\"/"
                        "in-cse\",\"expirationTime\":\"20361231T235959\"}} ",
    };
    struct hf_maf_resource key;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(judge(&key, good[i]), HF_MAF_OUTCOME_KEY);
        assert_int_equal(key.key_len, 32);
        assert_int_equal(key.key[0], 0x1e);
        assert_int_equal(key.key[31], 0x2e);
        assert_int_equal(key.suid, 32);
        assert_int_equal(key.expires_s, 2114380799);
    }
}

static void test_bad_answers(void **state)
{
    (void)state;
#define SOURCE Q("//m2msp.example/Sae1")
#define ADMIN Q("m2msp.example")
#define TIME Q("20361231T235959")
    static const struct {
        const char *body;
        enum hf_maf_outcome outcome;
    } cases[] = {
        {ANSWER(Q(ID), Q("20200101T000000"), SOURCE, ADMIN, "32", Q(KEY_HEX)),
         HF_MAF_OUTCOME_EXPIRED},
        {ANSWER(Q(ID), Q("99991231T235959"), SOURCE, ADMIN, "32", Q(KEY_HEX)),
         HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), Q("2036-12-31"), SOURCE, ADMIN, "32", Q(KEY_HEX)), HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), "2036", SOURCE, ADMIN, "32", Q(KEY_HEX)), HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "22", Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "33", Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "-32", Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "65568", Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32.0", Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, Q("32"), Q(KEY_HEX)), HF_MAF_OUTCOME_SUID},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q("1e4933dce002eabff310b0893ca1ca54")),
         HF_MAF_OUTCOME_KEY_LENGTH},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX KEY_HEX)), HF_MAF_OUTCOME_KEY_LENGTH},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q("!")), HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q("")), HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", "null"), HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, Q("nobody"), ADMIN, "32", Q(KEY_HEX)), HF_MAF_OUTCOME_SOURCE_ID},
        {ANSWER(Q(ID), TIME, Q(""), ADMIN, "32", Q(KEY_HEX)), HF_MAF_OUTCOME_SOURCE_ID},
        {ANSWER(Q(ID), TIME, Q("//a.b/c\\u0000d"), ADMIN, "32", Q(KEY_HEX)),
         HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, SOURCE, Q("-"), "32", Q(KEY_HEX)), HF_MAF_OUTCOME_ADMIN_FQDN},
        {ANSWER(Q("00000000000000000000000000000000"), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX)),
         HF_MAF_OUTCOME_RESOURCE_ID},
        {ANSWER("1", TIME, SOURCE, ADMIN, "32", Q(KEY_HEX)), HF_MAF_OUTCOME_MALFORMED},
        {"", HF_MAF_OUTCOME_MALFORMED},
        {"{", HF_MAF_OUTCOME_MALFORMED},
        {"[]", HF_MAF_OUTCOME_MALFORMED},
        {"{}", HF_MAF_OUTCOME_MALFORMED},
        {"{\"sec:symmKeyReg\":[]}", HF_MAF_OUTCOME_MALFORMED},
        {"{\"sec:symmKeyReg\":{}}", HF_MAF_OUTCOME_MALFORMED},
        {"{\"sec:mafClientReg\":{}}", HF_MAF_OUTCOME_MALFORMED},
        {"{\"sec:symmKeyReg\":{\"SUID\":32,\"SUID\":32}}", HF_MAF_OUTCOME_MALFORMED},
        {ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX)) "x", HF_MAF_OUTCOME_MALFORMED},
        {"\xff\xfe", HF_MAF_OUTCOME_MALFORMED},
    };
    struct hf_maf_resource key;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum hf_maf_outcome outcome = judge(&key, cases[i].body);
        if (outcome != cases[i].outcome)
            fail_msg("%s: %s", cases[i].body, hf_maf_outcome_label(outcome));
        if (outcome != HF_MAF_OUTCOME_EXPIRED)
            for (size_t b = 0; b < sizeof(key); b++)
                assert_int_equal(((const uint8_t *)&key)[b], 0);
    }
    /* Each byte that is missing at the end. */
    const char *whole = ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX));
    char part[500];
    for (size_t len = 0; len < strlen(whole); len++) {
        snprintf(part, sizeof(part), "%.*s", (int)len, whole);
        assert_int_equal(judge(&key, part), HF_MAF_OUTCOME_MALFORMED);
    }
}

static void test_missing_members(void **state)
{
    (void)state;
    struct hf_maf_resource key;
    assert_int_equal(judge(&key, "{\"sec:symmKeyReg\":{\"SUID\":32,\"sourceID\":\"/a\","
                                 "\"expirationTime\":\"20361231T235959\"}}"),
                     HF_MAF_OUTCOME_MALFORMED);
    assert_int_equal(judge(&key, "{\"sec:symmKeyReg\":{\"SUID\":32,\"keyValue\":\"" KEY_HEX "\","
                                 "\"expirationTime\":\"20361231T235959\"}}"),
                     HF_MAF_OUTCOME_SOURCE_ID);
    assert_int_equal(judge(&key, "{\"sec:symmKeyReg\":{\"sourceID\":\"/a\",\"keyValue\":\"" KEY_HEX
                                 "\",\"expirationTime\":\"20361231T235959\"}}"),
                     HF_MAF_OUTCOME_MALFORMED);
}

static void test_admin_fqdn(void **state)
{
    (void)state;
    struct hf_maf_resource key;
    const char *why = NULL;
    const struct hf_maf_message message = {
        .rsc = 2000,
        .is_json = true,
        .body = text(ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX)))};
    struct hf_maf_expectation expectation = expectation_of();
    expectation.admin_fqdn = text("M2MSP.example");
    assert_int_equal(hf_maf_answer_judge(&key, &why, &message, &expectation), HF_MAF_OUTCOME_KEY);
    expectation.admin_fqdn = text("other.example");
    assert_int_equal(hf_maf_answer_judge(&key, &why, &message, &expectation),
                     HF_MAF_OUTCOME_ADMIN_FQDN);
}

static void test_codes(void **state)
{
    (void)state;
    static const struct {
        unsigned rsc, status;
        enum hf_maf_outcome outcome;
    } cases[] = {
        {4004, 404, HF_MAF_OUTCOME_NOT_FOUND},      {4103, 403, HF_MAF_OUTCOME_NOT_AUTHORIZED},
        {4106, 403, HF_MAF_OUTCOME_NOT_AUTHORIZED}, {4107, 403, HF_MAF_OUTCOME_NOT_AUTHORIZED},
        {4000, 400, HF_MAF_OUTCOME_BAD_REQUEST},    {4105, 409, HF_MAF_OUTCOME_BAD_REQUEST},
        {4008, 504, HF_MAF_OUTCOME_SERVER_ERROR},   {5000, 500, HF_MAF_OUTCOME_SERVER_ERROR},
        {5001, 501, HF_MAF_OUTCOME_SERVER_ERROR},   {1, 200, HF_MAF_OUTCOME_SERVER_ERROR},
        {0, 404, HF_MAF_OUTCOME_NOT_FOUND},         {0, 403, HF_MAF_OUTCOME_NOT_AUTHORIZED},
        {0, 400, HF_MAF_OUTCOME_BAD_REQUEST},       {0, 408, HF_MAF_OUTCOME_SERVER_ERROR},
        {0, 429, HF_MAF_OUTCOME_SERVER_ERROR},      {0, 502, HF_MAF_OUTCOME_SERVER_ERROR},
        {0, 302, HF_MAF_OUTCOME_SERVER_ERROR},      {2001, 200, HF_MAF_OUTCOME_SERVER_ERROR},
        {4004, 200, HF_MAF_OUTCOME_NOT_FOUND}, /* X-M2M-RSC counts */
    };
    const struct hf_maf_expectation expectation = expectation_of();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hf_maf_resource key;
        const char *why = NULL;
        const struct hf_maf_message message = {
            .rsc = cases[i].rsc,
            .status = cases[i].status,
            .is_json = true,
            .body = text(ANSWER(Q(ID), TIME, SOURCE, ADMIN, "32", Q(KEY_HEX)))};
        assert_int_equal(hf_maf_answer_judge(&key, &why, &message, &expectation), cases[i].outcome);
        assert_int_equal(key.key_len, 0);
    }
}

static void test_resources_there_and_back(void **state)
{
    (void)state;
    static struct hf_maf_resource resource;
    static struct hf_maf_resource back;
    const char *why = NULL;
    char out[6000];
    resource = (struct hf_maf_resource){
        .kind = HF_MAF_KEY_REGISTRATION,
        .has = HF_MAF_HAS(RESOURCE_ID) | HF_MAF_HAS(SOURCE_ID) | HF_MAF_HAS(EXPIRATION_TIME) |
               HF_MAF_HAS(LABELS) | HF_MAF_HAS(ADMIN_FQDN) | HF_MAF_HAS(SUID) |
               HF_MAF_HAS(TARGET_IDS) | HF_MAF_HAS(KEY_VALUE),
        .suid = 32,
        .key_len = 48,
        .expires_s = WALL_S,
        .resource_id = ID,
        .client_id = "//m2msp.example/Sae1",
        .admin_fqdn = "m2msp.example",
        .key = {1, 2, 3},
    };
    assert_true(hf_maf_list_add(&resource.labels, text("quote \" slash \\ line \n \xc3\xa9")));
    assert_true(hf_maf_list_add(&resource.labels, text("second")));
    assert_true(hf_maf_list_add(&resource.target_ids, text("//m2msp.example/in-cse")));
    size_t len = hf_maf_resource_write(out, sizeof(out), &resource);
    assert_true(len > 0);
    struct hf_bytes json = {(const uint8_t *)out, len};
    assert_true(hf_maf_resource_read(&back, &why, HF_MAF_KEY_REGISTRATION, json));
    assert_memory_equal(&back, &resource, sizeof(back));
    assert_true(hf_maf_list_has(&back.labels, text("second")));
    assert_false(hf_maf_list_has(&back.labels, text("secon")));
    assert_true(hf_maf_list_equal(&back.labels, &resource.labels));
    assert_int_equal(hf_maf_resource_write(out, len + 1, &resource), len);
    for (size_t max = 0; max <= len; max++)
        assert_int_equal(hf_maf_resource_write(out, max, &resource), 0);
}

static void test_lists_are_bounded(void **state)
{
    (void)state;
    static struct hf_maf_list list;
    char label[HF_MAF_LABEL_MAX];
    memset(label, 'a', sizeof(label));
    struct hf_bytes bytes = {(const uint8_t *)label, sizeof(label)};
    int count = 0;
    while (hf_maf_list_add(&list, bytes))
        count++;
    assert_int_equal(count, HF_MAF_LIST_MAX / (HF_MAF_LABEL_MAX + 1));
    assert_false(hf_maf_list_add(&list, text("")));
    assert_false(hf_maf_list_add(&list, (struct hf_bytes){(const uint8_t *)"a\0b", 3}));
    static struct hf_maf_resource resource;
    const char *why = NULL;
    assert_false(hf_maf_resource_read(
        &resource, &why, HF_MAF_KEY_REGISTRATION,
        text("{\"sec:symmKeyReg\":{\"targetIDs\":[\"/in-cse\"]}}"))); /* not absolute */
    assert_string_equal(why, "targetIDs");
    assert_false(hf_maf_resource_read(&resource, &why, HF_MAF_KEY_REGISTRATION,
                                      text("{\"sec:symmKeyReg\":{\"labels\":[1]}}")));
    assert_false(hf_maf_resource_read(&resource, &why, HF_MAF_KEY_REGISTRATION,
                                      text("{\"sec:symmKeyReg\":{\"labels\":\"a\"}}")));
}

int main(void)
{
    hf_maf_resource_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_answers),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_missing_members),
        cmocka_unit_test(test_admin_fqdn),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_resources_there_and_back),
        cmocka_unit_test(test_lists_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
