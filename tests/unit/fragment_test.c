/**
 * fragment_test.c - handshake fragments: any cutting, order and repetition puts the message
 * together; what contradicts what is there, or is nonsense, changes nothing; early records are kept
 * once and within bounds.
 */
#include "fragment.h"

#include "association.h"
#include "engine_parts.h"

#include <stdio.h>

#define MESSAGE_MAX 1500

static struct hf_engine *engine;
static struct hf_handshake *handshake;
static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    return engine_parts_below(&seed, limit);
}

static int setup(void **state)
{
    (void)state;
    struct hf_association *association;
    struct hf_path_key path = {.peer_port = 7};
    engine = engine_parts_open(NULL);
    enum hf_status status = hf_association_open(&association, engine, HF_ROLE_SERVER, 1, &path);
    assert_int_equal(status, HF_OK);
    handshake = hf_handshake_of(engine, association);
    seed = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hf_engine_close(engine);
    return 0;
}

static uint64_t dropped(enum hf_drop cause)
{
    return engine->counters.drops[cause];
}

static struct hf_fragment part_of(const uint8_t *message, uint32_t len, uint32_t begin,
                                  uint32_t end)
{
    return (struct hf_fragment){.type = 1,
                                .message_len = len,
                                .message_seq = 3,
                                .offset = begin,
                                .body = {message + begin, end - begin}};
}

static void draw_message(uint8_t *message, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        message[i] = (uint8_t)below(256);
}

/** Sends parts of one message, overlapping and in any order, until it is whole. */
static void put_together(uint32_t len, uint32_t part_max)
{
    uint8_t message[MESSAGE_MAX];
    bool have[MESSAGE_MAX] = {false};
    struct hf_bytes whole;
    uint32_t had = 0;
    draw_message(message, len);
    for (int step = 0; step < 200000; step++) {
        uint32_t begin = below(len);
        uint32_t end = begin + 1 + below(part_max);
        end = end < len ? end : len;
        struct hf_fragment fragment = part_of(message, len, begin, end);
        uint64_t before = dropped(HF_DROP_FRAGMENT);
        enum hf_status status = hf_fragment_add(&whole, engine, handshake, &fragment);
        if (status == HF_DROPPED) { /* too scattered: not an error of the peer, it comes again */
            assert_int_equal(dropped(HF_DROP_FRAGMENT), before + 1);
            assert_int_equal(handshake->assembly.range_count, HF_RANGES_MAX);
            continue;
        }
        bool is_direct = had == 0 && begin == 0 && end == len;
        for (uint32_t i = begin; i < end; i++) {
            had += !have[i];
            have[i] = true;
        }
        assert_int_equal(status, had == len ? HF_OK : HF_WAITING);
        if (status == HF_OK) {
            assert_int_equal(whole.len, len);
            assert_memory_equal(whole.data, message, len);
            assert_int_equal(whole.data == message, is_direct); /* no copy of what came whole */
            hf_fragment_clear(handshake);
            return;
        }
    }
    fail_msg("a message of %u bytes in parts of up to %u was never whole", len, part_max);
}

static void any_cutting_and_order(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++) {
        uint32_t len = 1 + below(i < 200 ? 60 : MESSAGE_MAX);
        uint32_t part_min = len > 60 ? len / 8 : 1;
        put_together(len, part_min + below(len));
    }
}

static void in_order_one_byte_at_a_time(void **state)
{
    (void)state;
    uint8_t message[MESSAGE_MAX];
    struct hf_bytes whole;
    draw_message(message, MESSAGE_MAX);
    for (int backwards = 0; backwards < 2; backwards++) {
        for (uint32_t i = 0; i < MESSAGE_MAX; i++) {
            uint32_t at = backwards ? MESSAGE_MAX - 1 - i : i;
            struct hf_fragment fragment = part_of(message, MESSAGE_MAX, at, at + 1);
            enum hf_status status = hf_fragment_add(&whole, engine, handshake, &fragment);
            assert_int_equal(status, i == MESSAGE_MAX - 1 ? HF_OK : HF_WAITING);
        }
        assert_memory_equal(whole.data, message, MESSAGE_MAX);
        hf_fragment_clear(handshake);
    }
}

static void contradictions_change_nothing(void **state)
{
    (void)state;
    uint8_t message[600], other[600];
    struct hf_bytes whole;
    draw_message(message, 600);
    struct hf_fragment first = part_of(message, 600, 100, 300);
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &first), HF_WAITING);
    for (uint32_t at = 0; at < 400; at += 7) { /* one wrong byte within what is known */
        memcpy(other, message, sizeof other);
        uint32_t begin = below(300), end = begin + 1 + below(299);
        uint32_t low = begin > 100 ? begin : 100, high = end < 300 ? end : 300;
        if (low >= high)
            continue;
        other[low + below(high - low)] ^= (uint8_t)(1 + below(255));
        struct hf_fragment fragment = part_of(other, 600, begin, end);
        uint64_t before = dropped(HF_DROP_FRAGMENT);
        assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_DROPPED);
        assert_int_equal(dropped(HF_DROP_FRAGMENT), before + 1);
    }
    struct hf_fragment fragment = part_of(message, 600, 0, 50);
    fragment.type = 2;
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_DROPPED);
    fragment = part_of(message, 600, 0, 50);
    fragment.message_len = 601; /* CVE-2014-0195: a longer message later */
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_DROPPED);
    fragment = part_of(message, 600, 0, 100);
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_WAITING);
    fragment = part_of(message, 600, 250, 600);
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_OK);
    assert_memory_equal(whole.data, message, 600);
}

static void too_long_costs_no_memory(void **state)
{
    (void)state;
    uint8_t message[100] = {0};
    struct hf_bytes whole;
    uint32_t max = engine->config.message_len_max;
    struct hf_fragment fragment = part_of(message, max + 1, 0, 100);
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_E_MESSAGE_TOO_LONG);
    fragment.message_len = 0xFFFFFF;
    fragment.offset = 0xFFFF00;
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_E_MESSAGE_TOO_LONG);
    assert_int_equal(handshake->assembly.range_count, 0);
    fragment = part_of(message, max, 0, 100); /* the longest there may be */
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_WAITING);
    fragment.offset = max - 100;
    assert_int_equal(hf_fragment_add(&whole, engine, handshake, &fragment), HF_WAITING);
}

static void headers_are_judged_first(void **state)
{
    (void)state;
    uint8_t good[12 + 20] = {16, 0, 0, 50, 0, 2, 0, 0, 30, 0, 0, 20};
    struct hf_fragment fragment;
    struct hf_reader reader = hf_reader_of((struct hf_bytes){good, sizeof good});
    assert_int_equal(hf_fragment_read(&fragment, &reader), HF_OK);
    assert_int_equal(fragment.type, 16);
    assert_int_equal(fragment.message_len, 50);
    assert_int_equal(fragment.message_seq, 2);
    assert_int_equal(fragment.offset, 30);
    assert_int_equal(fragment.body.len, 20);
    assert_true(hf_reader_done(&reader));
    for (size_t len = 0; len < sizeof good; len++) { /* cut short anywhere */
        reader = hf_reader_of((struct hf_bytes){good, len});
        assert_int_equal(hf_fragment_read(&fragment, &reader), HF_E_DECODE);
    }
    uint8_t bad[12 + 20];
    memcpy(bad, good, sizeof bad);
    bad[8] = 31; /* ends beyond the message */
    reader = hf_reader_of((struct hf_bytes){bad, sizeof bad});
    assert_int_equal(hf_fragment_read(&fragment, &reader), HF_E_DECODE);
    bad[8] = 51; /* begins beyond it */
    bad[11] = 0;
    reader = hf_reader_of((struct hf_bytes){bad, sizeof bad});
    assert_int_equal(hf_fragment_read(&fragment, &reader), HF_E_DECODE);
    bad[8] = 0; /* says nothing of a message that is not empty: CVE-2022-29190 */
    reader = hf_reader_of((struct hf_bytes){bad, sizeof bad});
    assert_int_equal(hf_fragment_read(&fragment, &reader), HF_E_DECODE);
    bad[3] = 0; /* an empty message is whole with nothing */
    reader = hf_reader_of((struct hf_bytes){bad, sizeof bad});
    assert_int_equal(hf_fragment_read(&fragment, &reader), HF_OK);
}

static void early_records_are_kept_once_and_within_bounds(void **state)
{
    (void)state;
    uint8_t record[13 + 87] = {22, 0xFE, 0xFD, 0, 1};
    record[12] = 87;
    for (uint8_t i = 0; i < 40; i++) {
        record[10] = i;
        uint32_t before = handshake->kept_len;
        hf_fragment_keep(engine, handshake, record, sizeof record);
        bool is_kept = handshake->kept_len > before;
        assert_int_equal(is_kept, 102u * (i + 1u) <= engine->config.deferred_len_max);
        uint32_t after = handshake->kept_len;
        hf_fragment_keep(engine, handshake, record, sizeof record);
        assert_int_equal(handshake->kept_len, after); /* never twice */
        assert_true(after <= engine->config.deferred_len_max);
    }
    assert_true(dropped(HF_DROP_DEFERRED_FULL) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_cutting_and_order, setup, teardown),
        cmocka_unit_test_setup_teardown(in_order_one_byte_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(contradictions_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(too_long_costs_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_are_judged_first, setup, teardown),
        cmocka_unit_test_setup_teardown(early_records_are_kept_once_and_within_bounds, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
