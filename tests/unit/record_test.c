/**
 * record_test.c - record headers cut anywhere, the replay window against a set of numbers, and
 * packets: what is sealed opens at the other end, within every limit, under a number used once.
 */
#include "record.h"

#include "association.h"
#include "engine_parts.h"

#include <stdio.h>

static struct hf_engine *engine;
static struct hf_association *association;
static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    return engine_parts_below(&seed, limit);
}

static void begin(uint32_t listener_index)
{
    struct hf_path_key path = {.peer_port = 7};
    struct hf_path local = {.local = {.port = 5684}};
    engine = engine_parts_open(NULL);
    engine->locals[0] = local.local;
    engine->local_count = 1;
    enum hf_status status =
        hf_association_open(&association, engine, HF_ROLE_SERVER, listener_index, &path);
    assert_int_equal(status, HF_OK);
    seed = 7;
}

static void a_header_is_whole_or_nothing(void **state)
{
    (void)state;
    uint8_t data[13 + 30] = {22, 0xFE, 0xFD, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 0, 30};
    struct hf_record record = {.type = 99};
    for (size_t len = 0; len < sizeof data; len++) {
        uint8_t *exact = malloc(len ? len : 1);
        assert_non_null(exact);
        memcpy(exact, data, len);
        assert_false(hf_record_datagram_read(&record, exact, len, 0));
        assert_int_equal(record.type, 99); /* untouched */
        free(exact);
    }
    assert_true(hf_record_datagram_read(&record, data, sizeof data, 0));
    assert_int_equal(record.type, 22);
    assert_int_equal(record.version, 0xFEFD);
    assert_int_equal(record.epoch, 0x1234);
    assert_int_equal(record.seq, 0x010203040506);
    assert_ptr_equal(record.body, data + 13);
    assert_int_equal(record.len, 30);
}

#define NUMBERS 4000

/** A number is new if it was never received and is not 64 or more behind the highest. */
static void window_walk(uint64_t base, uint32_t spread)
{
    static bool is_seen[NUMBERS];
    uint64_t top = 0;
    bool is_first = true;
    memset(is_seen, 0, sizeof is_seen);
    association->read_seq = base;
    association->datagram.window = 0;
    for (int step = 0; step < 6000; step++) {
        uint64_t middle = is_first ? 0 : top;
        uint64_t at = middle + below(spread);
        at = at > 80 && below(3) ? at - below(80) : at;
        if (at >= NUMBERS)
            break;
        bool is_old = !is_first && at + 64 <= top;
        bool is_replay = is_seen[at] || is_old;
        assert_int_equal(hf_record_replayed(association, base + at), is_replay);
        if (is_replay || below(4) == 0) /* not authentic: the window must not move */
            continue;
        hf_record_received(association, base + at);
        is_seen[at] = true;
        top = is_first || at > top ? at : top;
        is_first = false;
        assert_true(hf_record_replayed(association, base + at));
    }
}

static void the_window_agrees_with_a_set(void **state)
{
    (void)state;
    begin(1);
    for (int i = 0; i < 60; i++) {
        window_walk(0, 1 + below(150));
        window_walk(HF_DATAGRAM_SEQ_MAX - NUMBERS, 1 + below(40));
    }
    hf_engine_close(engine);
}

static void nothing_is_replayed_before_the_first(void **state)
{
    (void)state;
    begin(1);
    association->read_seq = 0;
    association->datagram.window = 0;
    assert_false(hf_record_replayed(association, 0));
    hf_record_received(association, 0);
    assert_true(hf_record_replayed(association, 0));
    assert_false(hf_record_replayed(association, 63));
    hf_record_received(association, 64); /* 0 falls off, 1 is the oldest still told apart */
    assert_true(hf_record_replayed(association, 0));
    assert_false(hf_record_replayed(association, 1));
    hf_record_received(association, UINT64_C(1) << 40); /* farther than the window is wide */
    assert_true(hf_record_replayed(association, 64));
    assert_false(hf_record_replayed(association, (UINT64_C(1) << 40) - 63));
    assert_true(hf_record_replayed(association, (UINT64_C(1) << 40) - 64));
    hf_engine_close(engine);
}

static void random_keys(enum hf_cipher cipher)
{
    struct hf_record_key key = {.cipher = (uint8_t)cipher};
    hf_random(key.fixed_iv, sizeof key.fixed_iv);
    hf_random(key.key, sizeof key.key);
    hf_random(key.mac_key, sizeof key.mac_key);
    hf_record_keys_keep(engine, association, &key, &key); /* what we seal, we open */
}

/** Opens every record of an output and gives the plaintext, joined. */
static size_t open_all(uint8_t *out, const struct hf_output *output, uint64_t *seq, size_t *count)
{
    bool is_datagram = hf_is_datagram(association);
    size_t head = is_datagram ? 13 : 5, at = 0, len = 0;
    uint8_t *data = malloc(output->data.len);
    assert_non_null(data);
    memcpy(data, output->data.data, output->data.len);
    while (at < output->data.len) {
        struct hf_record record = {.type = data[at],
                                   .version = (uint16_t)(data[at + 1] << 8 | data[at + 2]),
                                   .body = data + at + head,
                                   .len = (size_t)(data[at + head - 2] << 8 | data[at + head - 1])};
        if (is_datagram)
            assert_true(hf_record_datagram_read(&record, data + at, output->data.len - at, 0));
        at += head + record.len;
        if (is_datagram) {
            assert_int_equal(record.epoch, 1);
            assert_int_equal(record.seq, *seq);
        } else {
            association->read_seq = *seq;
        }
        (*seq)++;
        enum hf_status status = hf_record_unprotect(&record, engine, association);
        assert_int_equal(status, HF_OK);
        assert_true(record.len <= association->plaintext_len_max);
        memcpy(out + len, record.body, record.len);
        len += record.len;
        (*count)++;
    }
    free(data);
    return len;
}

static void what_is_sealed_opens(uint32_t listener_index, enum hf_cipher cipher)
{
    begin(listener_index);
    association->plaintext_len_max = (uint16_t)(64 + below(2000));
    random_keys(cipher);
    uint64_t seq = 0;
    association->write_seq = listener_index ? UINT64_C(1) << 48 : 0;
    for (int i = 0; i < 60; i++) {
        uint8_t text[4096], opened[4096];
        size_t len = 0, count = 0, added = 0, max = 100 + below(3500);
        struct hf_packet packet = hf_packet_open(engine, association, max);
        for (int j = 0; j < 6; j++) {
            size_t room = hf_packet_room(&packet, true);
            assert_true(room <= association->plaintext_len_max);
            size_t part = below((uint32_t)room + 3);
            for (size_t k = 0; k < part; k++)
                text[len + k] = (uint8_t)below(256);
            enum hf_status status = hf_packet_add(&packet, HF_TYPE_APPLICATION_DATA, true,
                                                  (struct hf_bytes){text + len, part});
            if (part > room) {
                assert_int_equal(status, HF_WAITING);
                continue;
            }
            if (status == HF_OK) {
                len += part;
                added++;
            }
            assert_true(part == 0 || status == HF_OK); /* room that was told is there */
            assert_true(packet.len <= max);
        }
        hf_packet_close(&packet);
        struct hf_output output;
        assert_int_equal(hf_engine_take_output(engine, &output), added > 0);
        if (added == 0)
            continue;
        assert_int_equal(output.is_stream, listener_index == 0);
        assert_true(output.data.len <= max);
        assert_int_equal(open_all(opened, &output, &seq, &count), len);
        assert_memory_equal(opened, text, len);
        assert_int_equal(count, added);
        hf_engine_begin_turn(engine, engine->now_us, 0);
    }
    assert_int_equal(association->write_seq & HF_DATAGRAM_SEQ_MAX, seq);
    hf_engine_close(engine);
}

static void every_cipher_both_transports(void **state)
{
    (void)state;
    for (int cipher = HF_CIPHER_AES_128_CCM_8; cipher <= HF_CIPHER_AES_128_CBC_SHA256_ETM;
         cipher++) {
        what_is_sealed_opens(0, (enum hf_cipher)cipher);
        what_is_sealed_opens(1, (enum hf_cipher)cipher);
    }
}

static void longer_than_agreed_is_refused(void **state)
{
    (void)state;
    begin(1);
    random_keys(HF_CIPHER_AES_128_GCM);
    association->write_seq = UINT64_C(1) << 48;
    association->receive_len_max = 512;
    for (size_t len = 511; len <= 513; len++) {
        uint8_t text[600] = {0};
        struct hf_packet packet = hf_packet_open(engine, association, 700);
        assert_int_equal(
            hf_packet_add(&packet, HF_TYPE_APPLICATION_DATA, true, (struct hf_bytes){text, len}),
            HF_OK);
        struct hf_record record;
        assert_true(hf_record_datagram_read(&record, packet.data, packet.len, 0));
        assert_int_equal(hf_record_unprotect(&record, engine, association),
                         len > 512 ? HF_E_RECORD_OVERFLOW : HF_OK);
    }
    hf_engine_close(engine);
}

static void numbers_end_before_they_wrap(void **state)
{
    (void)state;
    const uint8_t byte = 1;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        begin(listener_index);
        random_keys(HF_CIPHER_AES_128_CCM_8);
        uint64_t epoch = (uint64_t)listener_index << 48;
        association->write_seq = epoch | (HF_RECORDS_PER_KEY_MAX - 1);
        struct hf_packet packet = hf_packet_open(engine, association, 700);
        const struct hf_bytes text = {&byte, 1};
        assert_int_equal(hf_packet_add(&packet, 23, true, text), HF_OK);
        size_t len = packet.len;
        for (int i = 0; i < 3; i++)
            assert_int_equal(hf_packet_add(&packet, 23, true, text), HF_E_SEQUENCE_LIMIT);
        assert_int_equal(packet.len, len);
        assert_int_equal(association->write_seq, epoch | HF_RECORDS_PER_KEY_MAX);
        hf_engine_close(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_whole_or_nothing),
        cmocka_unit_test(the_window_agrees_with_a_set),
        cmocka_unit_test(nothing_is_replayed_before_the_first),
        cmocka_unit_test(every_cipher_both_transports),
        cmocka_unit_test(longer_than_agreed_is_refused),
        cmocka_unit_test(numbers_end_before_they_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
