/**
 * onward_test.c - questions a key store is asked first: kept, given back by their own tickets,
 * cancelled, and never more than there is room for.
 */
#include "onward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 3

static const uint8_t long_identity[HF_MAF_IDENTITY_MAX + 1];

static bool put(struct hf_onward *onward, struct hf_ticket *out, uint32_t slot, const char *name)
{
    const struct hf_path path = {.peer = {.port = (uint16_t)(1000 + slot)}};
    const struct hf_request request = {.ticket = {slot, 7, 9},
                                       .psk_identity = {(const uint8_t *)name, strlen(name)},
                                       .path = &path};
    return hf_onward_put(onward, out, &request);
}

static void test_questions_come_back(void **state)
{
    struct hf_onward *onward = hf_onward_open(ROOM);
    struct hf_ticket tickets[ROOM + 1];
    struct hf_onward_question question;
    bool is_wanted = false;
    (void)state;
    assert_non_null(onward);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < ROOM; i++) {
            char name[8];
            snprintf(name, sizeof(name), "n%u", i);
            assert_true(put(onward, &tickets[i], i, name));
        }
        assert_false(put(onward, &tickets[ROOM], 9, "n9")); /* full */
        for (uint32_t i = ROOM; i-- > 0;) {
            assert_true(hf_onward_take(onward, &question, &is_wanted, tickets[i]));
            assert_true(is_wanted);
            assert_int_equal(question.ticket.slot, i);
            assert_int_equal(question.ticket.generation, 7);
            assert_int_equal(question.ticket.seq, 9);
            assert_int_equal(question.peer.port, 1000 + i);
            assert_int_equal(question.psk_identity.len, 2);
            assert_int_equal(question.psk_identity.data[1], '0' + (int)i);
        }
    }
    hf_onward_close(onward);
    hf_onward_close(NULL);
}

static void test_cancelled(void **state)
{
    struct hf_onward *onward = hf_onward_open(ROOM);
    struct hf_ticket first, second;
    struct hf_onward_question question;
    bool is_wanted = true;
    (void)state;
    hf_onward_cancel(NULL, (struct hf_ticket){1, 7, 9});
    hf_onward_cancel(onward, (struct hf_ticket){1, 7, 9}); /* nothing there */
    assert_true(put(onward, &first, 1, "one"));
    assert_true(put(onward, &second, 2, "two"));
    hf_onward_cancel(onward, (struct hf_ticket){1, 7, 8}); /* another */
    hf_onward_cancel(onward, (struct hf_ticket){2, 7, 9});
    assert_true(hf_onward_take(onward, &question, &is_wanted, first));
    assert_true(is_wanted);
    assert_true(hf_onward_take(onward, &question, &is_wanted, second));
    assert_false(is_wanted);
    assert_true(put(onward, &second, 2, "two")); /* the place is as good as new */
    assert_true(hf_onward_take(onward, &question, &is_wanted, second));
    assert_true(is_wanted);
    hf_onward_close(onward);
}

static void test_what_is_not_ours(void **state)
{
    struct hf_onward *onward = hf_onward_open(ROOM);
    struct hf_onward_question question;
    struct hf_ticket ticket;
    bool is_wanted = true;
    const struct hf_path path = {0};
    struct hf_request request = {.path = &path,
                                 .psk_identity = {long_identity, sizeof(long_identity)}};
    (void)state;
    assert_false(hf_onward_take(NULL, &question, &is_wanted, (struct hf_ticket){UINT32_MAX, 0, 0}));
    assert_false(
        hf_onward_take(onward, &question, &is_wanted, (struct hf_ticket){UINT32_MAX, 0, 0}));
    assert_true(put(onward, &ticket, 1, "one"));
    assert_false(hf_onward_take(onward, &question, &is_wanted, (struct hf_ticket){1, 7, 9}));
    assert_false(hf_onward_put(onward, &ticket, &request)); /* too long */
    request.psk_identity.len = 0;
    assert_false(hf_onward_put(onward, &ticket, &request));
    request.psk_identity.len = HF_MAF_IDENTITY_MAX;
    assert_true(hf_onward_put(onward, &ticket, &request));
    hf_onward_close(onward);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions_come_back),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_what_is_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
