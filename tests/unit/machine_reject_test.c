/**
 * machine_reject_test.c - what has no row in the state machine: every such pair of state and event,
 * driven into a real association. TLS ends with unexpected_message; DTLS drops and counts, and the
 * association is as it was, byte for byte.
 */
#include "machine.h"

#include "association.h"
#include "engine_parts.h"

#include <stdio.h>

static struct hf_engine *engine;
static struct hf_association *association;

static bool has_row(enum hf_state state, enum hf_machine_event_kind event)
{
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].event == event && (rows[i].state == state || rows[i].state == HF_STATE_COUNT))
            return true;
    }
    return false;
}

static void begin(uint32_t listener_index, enum hf_state state)
{
    struct hf_path_key path = {.peer_port = 7};
    engine = engine_parts_open(NULL);
    engine->local_count = 1;
    bool is_client = state >= HF_STATE_CL_START && state < HF_STATE_OPEN;
    enum hf_status status = hf_association_open(
        &association, engine, is_client ? HF_ROLE_CLIENT : HF_ROLE_SERVER, listener_index, &path);
    assert_int_equal(status, HF_OK);
    if (is_client ? state > HF_STATE_CL_AWAIT_CCS : state > HF_STATE_SV_AWAIT_CCS)
        association->flags |= HF_ASSOCIATION_READ_PROTECTED;
    if (state == HF_STATE_OPEN)
        hf_association_establish(engine, association);
    association->state = (uint8_t)state;
}

static struct hf_machine_event craft(enum hf_machine_event_kind kind)
{
    static const uint8_t body[64] = {1};
    return (struct hf_machine_event){.kind = kind, .body = {body, sizeof body}};
}

static uint64_t drops(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < HF_DROP_COUNT; i++)
        sum += engine->counters.drops[i];
    return sum;
}

static void refuse_on_tls(enum hf_state state, enum hf_machine_event_kind kind)
{
    struct hf_event event;
    begin(0, state);
    const struct hf_machine_event crafted = craft(kind);
    assert_int_equal(hf_machine_run(engine, association, &crafted), HF_E_UNEXPECTED_MESSAGE);
    assert_int_equal(association->state, HF_STATE_FREE);
    assert_true(hf_engine_take_event(engine, &event));
    assert_int_equal(event.kind,
                     state == HF_STATE_OPEN ? HF_EVENT_CLOSED : HF_EVENT_HANDSHAKE_FAILED);
    assert_int_equal(event.failure.status, HF_E_UNEXPECTED_MESSAGE);
    assert_int_equal(event.failure.alert, 10);
    assert_string_equal(event.failure.state, hf_machine_state_name(state));
    assert_string_equal(event.failure.event, hf_machine_event_name(kind));
    assert_false(hf_engine_take_event(engine, &event));
    struct hf_output output;
    assert_true(hf_engine_take_output(engine, &output)); /* the alert */
    hf_engine_close(engine);
}

static void drop_on_dtls(enum hf_state state, enum hf_machine_event_kind kind)
{
    struct hf_event event;
    struct hf_output output;
    begin(1, state);
    struct hf_association before = *association;
    uint64_t dropped = drops();
    const struct hf_machine_event crafted = craft(kind);
    assert_int_equal(hf_machine_run(engine, association, &crafted), HF_DROPPED);
    assert_int_equal(drops(), dropped + 1);
    assert_memory_equal(&before, association, sizeof before);
    assert_false(hf_engine_take_event(engine, &event));
    assert_false(hf_engine_take_output(engine, &output));
    hf_engine_close(engine);
}

static void every_pair_without_a_row_is_refused(void **state)
{
    (void)state;
    int count = 0;
    for (int at = HF_STATE_SV_START; at < HF_STATE_COUNT; at++) {
        for (int kind = 0; kind < HF_MACHINE_EVENT_COUNT; kind++) {
            if (has_row((enum hf_state)at, (enum hf_machine_event_kind)kind))
                continue;
            refuse_on_tls((enum hf_state)at, (enum hf_machine_event_kind)kind);
            if (kind != HF_MACHINE_ANSWER &&
                kind != HF_MACHINE_JOB) /* does not come from the wire */
                drop_on_dtls((enum hf_state)at, (enum hf_machine_event_kind)kind);
            count++;
        }
    }
    printf("%d pairs of state and event without a row\n", count);
    assert_true(count > 60);
}

/* What anyone can send in a peer's name is noted, so that the reason is known if it was the peer's
 * own; it changes nothing else. */
static void a_dropped_message_is_remembered_as_the_first_failure(void **state)
{
    (void)state;
    begin(1, HF_STATE_SV_AWAIT_EXCHANGE);
    struct hf_machine_event crafted = craft(HF_MACHINE_FINISHED);
    assert_int_equal(hf_machine_run(engine, association, &crafted), HF_DROPPED);
    crafted.kind = HF_MACHINE_OTHER_MESSAGE;
    assert_int_equal(hf_machine_run(engine, association, &crafted), HF_DROPPED);
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    assert_true(handshake->is_spoiled);
    assert_int_equal(handshake->failure.status, HF_E_UNEXPECTED_MESSAGE);
    assert_string_equal(handshake->failure.event, "Finished");
    hf_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_without_a_row_is_refused),
        cmocka_unit_test(a_dropped_message_is_remembered_as_the_first_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
