/**
 * outbox_test.c - output and events against plain queues: order, joining of stream bytes, room told
 * and room had, and views that stay as they are until their turn ends.
 */
#include "outbox.h"

#include "engine_parts.h"

#include <stdio.h>

#define DATA_MAX 65536
#define OUTPUTS_MAX 128
#define EVENTS_MAX 64

static uint8_t data[DATA_MAX];
static struct hf_output outputs[OUTPUTS_MAX];
static struct hf_event events[EVENTS_MAX];
static struct hf_outbox outbox;
static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    return engine_parts_below(&seed, limit);
}

static void begin(uint64_t from)
{
    seed = from;
    outbox = (struct hf_outbox){.data = data,
                                .data_max = DATA_MAX,
                                .outputs = outputs,
                                .output_max = OUTPUTS_MAX,
                                .events = events,
                                .event_max = EVENTS_MAX};
}

/** As hf_engine_take_output() does. */
static bool take(struct hf_output *out)
{
    if (outbox.output_count == 0)
        return false;
    *out = outbox.outputs[outbox.output_head++];
    outbox.output_count--;
    return true;
}

static bool put(hf_association_id association, bool is_stream, uint8_t byte, size_t len)
{
    struct hf_output output = {.association = association, .is_stream = is_stream};
    uint8_t *room = hf_outbox_room(&outbox, len);
    if (!room)
        return false;
    memset(room, byte, len);
    hf_outbox_commit(&outbox, &output, len);
    return true;
}

static void stream_bytes_of_one_connection_are_joined(void **state)
{
    (void)state;
    struct hf_output output = {0};
    begin(1);
    assert_true(put(1, true, 'a', 10));
    assert_true(put(1, true, 'b', 5));
    assert_true(put(2, true, 'c', 3)); /* another connection */
    assert_true(put(1, true, 'd', 4)); /* not behind its own: order between them is kept */
    assert_true(put(3, false, 'e', 2));
    assert_true(put(3, false, 'f', 2)); /* datagrams keep their borders */
    assert_int_equal(outbox.output_count, 5);
    assert_true(take(&output));
    assert_int_equal(output.data.len, 15);
    assert_int_equal(output.data.data[9], 'a');
    assert_int_equal(output.data.data[10], 'b');
    const size_t lens[] = {3, 4, 2, 2};
    for (size_t i = 0; i < 4; i++) {
        assert_true(take(&output));
        assert_int_equal(output.data.len, lens[i]);
    }
    assert_false(take(&output));
}

static void what_was_taken_is_not_joined(void **state)
{
    (void)state;
    struct hf_output first = {0}, second = {0};
    begin(1);
    assert_true(put(1, true, 'a', 10));
    assert_true(take(&first));
    assert_true(put(1, true, 'b', 10));
    assert_int_equal(first.data.len, 10); /* the view that was given out is as it was */
    assert_true(take(&second));
    assert_int_equal(second.data.len, 10);
    assert_ptr_equal(second.data.data, first.data.data + 10);
}

/* Room is committed in part, or not at all. */
static void room_is_no_promise_to_use_it(void **state)
{
    (void)state;
    struct hf_output output = {.association = 1}, taken;
    begin(1);
    uint8_t *room = hf_outbox_room(&outbox, 1000);
    assert_ptr_equal(hf_outbox_room(&outbox, 500), room);
    hf_outbox_commit(&outbox, &output, 7);
    assert_ptr_equal(hf_outbox_room(&outbox, 500), room + 7);
    assert_true(take(&taken));
    assert_int_equal(taken.data.len, 7);
    assert_null(hf_outbox_room(&outbox, DATA_MAX - 6));
    assert_non_null(hf_outbox_room(&outbox, DATA_MAX - 7));
}

struct queued {
    hf_association_id association;
    bool is_stream;
    uint8_t byte;
    size_t len;
};

/** Random puts and takes over many turns; the bytes come out as they went in. */
static void output_walk(uint64_t from)
{
    static struct queued queue[4096];
    size_t head = 0, tail = 0, in = 0;
    begin(from);
    for (int step = 0; step < 4000 && tail < 4096; step++) {
        if (below(10) == 0) {
            hf_outbox_turn(&outbox);
            if (head == tail)
                assert_int_equal(outbox.data_len, 0);
        }
        if (below(3)) {
            struct queued item = {1 + below(3), below(2), (uint8_t)below(256), 1 + below(3000)};
            bool has_bytes = DATA_MAX - outbox.data_len >= item.len;
            bool has_slot = outbox.output_head + outbox.output_count < OUTPUTS_MAX;
            bool is_in = put(item.association, item.is_stream, item.byte, item.len);
            assert_int_equal(is_in, has_bytes && has_slot);
            if (is_in) {
                queue[tail++] = item;
                in += item.len;
            }
            continue;
        }
        struct hf_output output;
        if (!take(&output)) {
            assert_int_equal(head, tail);
            assert_int_equal(in, 0);
            continue;
        }
        for (size_t at = 0; at < output.data.len; head++) { /* one, or several joined */
            assert_true(head < tail);
            const struct queued *item = &queue[head];
            assert_int_equal(output.association, item->association);
            assert_int_equal(output.is_stream, item->is_stream);
            for (size_t i = 0; i < item->len; i++)
                assert_int_equal(output.data.data[at + i], item->byte);
            at += item->len;
            in -= item->len;
            assert_true(at == output.data.len || item->is_stream);
        }
    }
}

static void random_walks_keep_order_and_bytes(void **state)
{
    (void)state;
    for (uint64_t from = 1; from <= 40; from++)
        output_walk(from);
}

static bool take_event(struct hf_event *out)
{
    if (outbox.event_count == 0)
        return false;
    *out = outbox.events[outbox.event_head];
    outbox.event_head = (outbox.event_head + 1) % outbox.event_max;
    outbox.event_count--;
    return true;
}

static void events_go_round(void **state)
{
    (void)state;
    hf_association_id next_in = 1, next_out = 1;
    struct hf_event event;
    begin(3);
    for (int step = 0; step < 5000; step++) {
        if (below(20) == 0)
            hf_outbox_turn(&outbox);
        if (below(2) && outbox.event_count < EVENTS_MAX) {
            struct hf_event *added = hf_outbox_event(&outbox, HF_EVENT_DATA, next_in++);
            static const uint8_t zero[32];
            assert_int_equal(added->kind, HF_EVENT_DATA);
            assert_memory_equal(added->client_random, zero, sizeof zero);
            assert_int_equal(added->failure.alert, HF_ALERT_NONE);
            memset(added->client_random, 0x55, 32); /* must not shine through later */
        } else if (take_event(&event)) {
            assert_int_equal(event.association, next_out++);
        }
        bool has_room = outbox.event_max - outbox.event_count >= HF_OUTBOX_RESERVE_EVENTS;
        assert_int_equal(hf_outbox_has_room(&outbox), has_room);
    }
}

static void room_is_told_with_the_reserve(void **state)
{
    (void)state;
    begin(1);
    assert_true(hf_outbox_has_room(&outbox));
    assert_true(hf_outbox_has_bytes(&outbox, DATA_MAX - HF_OUTBOX_RESERVE_LEN));
    assert_false(hf_outbox_has_bytes(&outbox, DATA_MAX - HF_OUTBOX_RESERVE_LEN + 1));
    assert_true(put(1, true, 'a', DATA_MAX - HF_OUTBOX_RESERVE_LEN));
    assert_true(hf_outbox_has_room(&outbox));
    assert_true(put(1, true, 'a', 1));
    assert_false(hf_outbox_has_room(&outbox)); /* the reserve is for the step under way */
    assert_true(put(1, true, 'a', HF_OUTBOX_RESERVE_LEN - 1));
    assert_false(put(1, true, 'a', 1));
    struct hf_output output = {0};
    assert_true(take(&output));
    hf_outbox_turn(&outbox);
    assert_true(hf_outbox_has_room(&outbox));
    for (uint8_t i = 0; i < OUTPUTS_MAX - HF_OUTBOX_RESERVE_COUNT - 1; i++) {
        assert_true(hf_outbox_has_room(&outbox));
        assert_true(put(1, false, i, 1));
    }
    assert_true(hf_outbox_has_room(&outbox));
    assert_true(put(1, false, 'z', 1));
    assert_false(hf_outbox_has_room(&outbox));
}

/* Output that was not taken outlives its turn; the arena does not begin anew under it. */
static void untaken_output_stays(void **state)
{
    (void)state;
    struct hf_output output = {0};
    begin(1);
    assert_true(put(1, false, 'a', 100));
    assert_true(put(2, false, 'b', 100));
    assert_true(take(&output));
    hf_outbox_turn(&outbox);
    assert_true(put(3, false, 'c', 100));
    assert_true(take(&output));
    assert_int_equal(output.association, 2);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(output.data.data[i], 'b');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_bytes_of_one_connection_are_joined),
        cmocka_unit_test(what_was_taken_is_not_joined),
        cmocka_unit_test(room_is_no_promise_to_use_it),
        cmocka_unit_test(random_walks_keep_order_and_bytes),
        cmocka_unit_test(events_go_round),
        cmocka_unit_test(room_is_told_with_the_reserve),
        cmocka_unit_test(untaken_output_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
