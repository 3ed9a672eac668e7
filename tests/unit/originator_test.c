/**
 * originator_test.c - the From parameter against what the association proved: every rule of
 * TS-0003 7.2.1, the allowed beside the refused.
 */
#include <handfast/handfast.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define OWN "//sp.example/in"
#define NONE HF_ORIGINATOR_OTHER
#define AE HF_ORIGINATOR_CREATE_AE
#define CSE HF_ORIGINATOR_CREATE_REMOTE_CSE
#define OK HF_ORIGINATOR_OK
#define BAD HF_ORIGINATOR_BAD_REQUEST
#define NOT HF_ORIGINATOR_NOT_AUTHENTICATED
#define REQUIRED HF_ORIGINATOR_ASSOCIATION_REQUIRED

static struct hf_bytes view(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

/* Two CSEs and two AEs are registered with us. */
static bool is_registree(struct hf_bytes entity_id, void *arg)
{
    static const char *const list[] = {"//sp.example/mn1", "//sp.example/mn2", "//sp.example/in/C1",
                                       "//sp.example/S1"};
    *(int *)arg += 1;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (strlen(list[i]) == entity_id.len && memcmp(list[i], entity_id.data, entity_id.len) == 0)
            return true;
    }
    return false;
}

struct row {
    const char *entity_id; /**< NULL: no association */
    enum hf_entity_kind kind;
    enum hf_originator_operation operation;
    const char *from;
    enum hf_originator_verdict verdict;
};

static void check(const struct row *row)
{
    int asked = 0;
    struct hf_originator originator = {.own_cse_id = view(OWN),
                                       .has_association = row->entity_id != NULL,
                                       .entity_kind = row->kind,
                                       .entity_id = view(row->entity_id ? row->entity_id : ""),
                                       .operation = row->operation,
                                       .from = view(row->from),
                                       .is_registree = is_registree,
                                       .arg = &asked};
    enum hf_originator_verdict verdict = hf_originator_check(&originator);
    if (verdict != row->verdict)
        fail_msg("peer %s, From \"%s\": %s", row->entity_id ? row->entity_id : "none", row->from,
                 hf_originator_verdict_name(verdict));
}

static void test_an_ae_says_its_own_stem(void **state)
{
    static const struct row rows[] = {
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "S1", OK},
        {"/S1", HF_ENTITY_AE, NONE, "S1", OK},
        {"S1", HF_ENTITY_AE, NONE, "S1", OK},
        {"//SP.example/S1", HF_ENTITY_AE, NONE, "S1", OK},
        {"//sp.example/in/C1", HF_ENTITY_AE, NONE, "C1", OK},
        {"/in/C1", HF_ENTITY_AE, NONE, "C1", OK},
        {"C1", HF_ENTITY_AE, NONE, "C1", OK},
        {"//sp.example/S1 //sp.example/S2", HF_ENTITY_AE_LIST, NONE, "S2", OK},
        {"S1 C2", HF_ENTITY_AE_LIST, NONE, "C2", OK},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "S2", NOT},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "S", NOT},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "s1", BAD},
        {"//other.example/S1", HF_ENTITY_AE, NONE, "S1", NOT},
        {"//sp.example/mn1/C1", HF_ENTITY_AE, NONE, "C1", NOT}, /* another registrar's C1 */
        {"//sp.example/in/C1", HF_ENTITY_AE, NONE, "C12", NOT},
        {"S1 S2", HF_ENTITY_AE_LIST, NONE, "S3", NOT},
        {"S1 S2", HF_ENTITY_AE_LIST, NONE, "S1 S2", BAD},
        {"", HF_ENTITY_AE, NONE, "S1", NOT},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "//sp.example/S1", BAD}, /* not a stem */
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "/S1", BAD},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "/in", BAD},
        {"//sp.example/S1", HF_ENTITY_AE, NONE, "", BAD},
        {"//sp.example/S1", HF_ENTITY_AE, AE, "", OK},
        {"//sp.example/S1", HF_ENTITY_AE, AE, "S1", OK},
        {"//sp.example/S1", HF_ENTITY_AE, AE, "S2", NOT},
        {"", HF_ENTITY_PENDING, AE, "S7", OK},
        {"", HF_ENTITY_PENDING, AE, "", OK},
        {"", HF_ENTITY_PENDING, NONE, "", BAD},
        {"", HF_ENTITY_PENDING, NONE, "/mn1", BAD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i]);
}

static void test_a_cse_does_not_speak_for_other_registrees(void **state)
{
    static const struct row rows[] = {
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "//sp.example/mn1", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn1", OK},
        {"//sp.example/Smn", HF_ENTITY_CSE, NONE, "//sp.example/Smn", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "//other.example/cse", OK}, /* in transit */
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn3", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn1/C9", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn3/C9", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "S77", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "//other.example/S77", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn2", NOT}, /* (i) */
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "//SP.example/mn2", NOT},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "C1", NOT},      /* (ii) */
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn2/C9", NOT}, /* (iii) */
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "//sp.example/mn2/C9", NOT},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/in", NOT}, /* ourselves */
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/in/C1", NOT},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "", BAD},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/mn1/", BAD},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "/a/b/c/d", BAD},
        {"//sp.example/mn1", HF_ENTITY_CSE, NONE, "x", BAD},
        {"", HF_ENTITY_CSE, NONE, "/mn1", NOT},
        {"//sp.example/mn1", HF_ENTITY_CSE, CSE, "/mn1", OK},
        {"//sp.example/mn1", HF_ENTITY_CSE, CSE, "/mn3", REQUIRED},
        {"//sp.example/mn1", HF_ENTITY_CSE, CSE, "S1", REQUIRED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i]);
}

static void test_without_an_association(void **state)
{
    static const struct row rows[] = {
        {NULL, HF_ENTITY_PENDING, NONE, "S1", OK},
        {NULL, HF_ENTITY_PENDING, NONE, "C1", OK},
        {NULL, HF_ENTITY_PENDING, NONE, "//sp.example/S1", OK},
        {NULL, HF_ENTITY_PENDING, NONE, "S2", NOT},
        {NULL, HF_ENTITY_PENDING, NONE, "C2", NOT},
        {NULL, HF_ENTITY_PENDING, AE, "S2", OK},
        {NULL, HF_ENTITY_PENDING, AE, "", OK},
        {NULL, HF_ENTITY_PENDING, NONE, "", BAD},
        {NULL, HF_ENTITY_PENDING, NONE, "/mn1", REQUIRED},
        {NULL, HF_ENTITY_PENDING, NONE, "//other.example/cse", REQUIRED},
        {NULL, HF_ENTITY_PENDING, AE, "/mn1", REQUIRED},
        {NULL, HF_ENTITY_PENDING, CSE, "/mn9", REQUIRED},
        {NULL, HF_ENTITY_PENDING, CSE, "S1", REQUIRED},
        {NULL, HF_ENTITY_PENDING, NONE, "a b", BAD},
        /* what an association proved does not count without it */
        {NULL, HF_ENTITY_CSE, NONE, "/mn1", REQUIRED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i]);
}

static void test_odd_callers(void **state)
{
    static uint8_t long_id[600];
    struct hf_originator originator = {.own_cse_id = view("/in"), .from = view("S1")};
    (void)state;
    assert_int_equal(hf_originator_check(&originator), BAD); /* ours has to be absolute */
    originator.own_cse_id = view(OWN);
    assert_int_equal(hf_originator_check(&originator), NOT); /* nobody is a registree */
    memset(long_id, 'S', sizeof long_id);
    originator.from = (struct hf_bytes){long_id, sizeof long_id};
    assert_int_equal(hf_originator_check(&originator), BAD);
    assert_string_equal(hf_originator_verdict_name(NOT), "originator_not_authenticated");
    assert_string_equal(hf_originator_verdict_name(REQUIRED), "security_association_required");
    assert_string_equal(hf_originator_verdict_name((enum hf_originator_verdict)7), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ae_says_its_own_stem),
        cmocka_unit_test(test_a_cse_does_not_speak_for_other_registrees),
        cmocka_unit_test(test_without_an_association),
        cmocka_unit_test(test_odd_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
