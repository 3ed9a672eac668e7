/**
 * client_datagram_test.c - the engine as DTLS client: loss of each flight, repetition, cookies,
 * what a stranger can send in the server's name, and want of room.
 */
#include "engine_pair.h"

static struct engine_pair pair;

static void begin(bool is_dtls)
{
    engine_pair_init(&pair, is_dtls);
}

struct loss {
    int flight; /* which datagram of its direction is lost, from 0 */
    bool is_up;
    int seen[2];
};

static bool lose(struct engine_pair_item *item, void *arg)
{
    struct loss *loss = arg;
    int number = loss->seen[item->is_up]++;
    return item->is_up == loss->is_up && number == loss->flight;
}

static void each_flight_may_be_lost_once(void **state)
{
    (void)state;
    /* Up: hello, hello with cookie, key exchange and Finished; down: verify, hello, Finished. */
    for (int i = 0; i < 6; i++) {
        struct loss loss = {.flight = i / 2, .is_up = i & 1};
        begin(true);
        pair.filter = lose;
        pair.filter_arg = &loss;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_OK);
        engine_pair_advance(&pair, 1500000); /* one interval of either side */
        if (!engine_pair_is_open(&pair))
            fail_msg("datagram %d %s lost: not open after 1.5 s", i / 2, i & 1 ? "up" : "down");
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static bool lose_all(struct engine_pair_item *item, void *arg)
{
    (void)item;
    (void)arg;
    return true;
}

static void hellos_are_repeated_at_growing_intervals(void **state)
{
    (void)state;
    begin(true);
    pair.config.retransmit_us_max = 8000000;
    pair.filter = lose_all;
    engine_pair_open(&pair);
    uint64_t begun_us = pair.now_us;
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    static const uint64_t at_s[] = {1, 3, 7, 15, 23, 31, 39, 47, 55};
    for (size_t i = 0; i < sizeof at_s / sizeof at_s[0]; i++) {
        engine_pair_advance(&pair, begun_us + at_s[i] * 1000000 - pair.now_us);
        assert_in_range(pair.sent_count, i + 1, i + 2); /* not before its time */
        engine_pair_advance(&pair, 10000);
        assert_int_equal(pair.sent_count, i + 2);
        assert_memory_equal(pair.sent[i + 1].data + 13, pair.sent[0].data + 13,
                            pair.sent[0].len - 13);
    }
    engine_pair_advance(&pair, 10000000);
    assert_int_equal(pair.client.failure.status, HF_E_HANDSHAKE_TIMEOUT);
    engine_pair_close(&pair);
}

/* Record numbers had in each direction: epoch and number tell a copy from a repeat. */
struct copies {
    size_t count;
    struct {
        bool is_up;
        uint8_t number[8];
    } had[64];
};

static bool twice(struct engine_pair_item *item, void *arg)
{
    struct copies *copies = arg;
    for (size_t i = 0; i < copies->count; i++) {
        if (copies->had[i].is_up == item->is_up &&
            memcmp(copies->had[i].number, item->data + 3, 8) == 0)
            return false;
    }
    assert_true(copies->count < 64); /* no flight calls forth another without end */
    copies->had[copies->count].is_up = item->is_up;
    memcpy(copies->had[copies->count++].number, item->data + 3, 8);
    engine_pair_inject(&pair, item->is_up, item->data, item->len);
    return false;
}

static void repeats_change_nothing(void **state)
{
    (void)state;
    struct copies copies = {0};
    begin(true);
    pair.filter = twice;
    pair.filter_arg = &copies;
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    assert_in_range(copies.count, 6, 16);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static void a_path_is_dialled_once(void **state)
{
    hf_association_id other;
    (void)state;
    begin(true);
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    assert_int_equal(hf_engine_connect(&other, pair.client.engine, &pair.connect), HF_E_STATE);
    assert_int_equal(other, 0);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

/** An unprotected datagram of one handshake message from the server. */
static void forge(uint8_t type, uint16_t seq, const uint8_t *body, uint8_t len)
{
    uint8_t bytes[25 + 64] = {22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 9, 0, (uint8_t)(12 + len)};
    bytes[13] = type;
    bytes[16] = len;
    bytes[17] = (uint8_t)(seq >> 8);
    bytes[18] = (uint8_t)seq;
    bytes[24] = len;
    memcpy(bytes + 25, body, len);
    engine_pair_inject(&pair, false, bytes, 25u + len);
}

static void cookies_without_end_are_not_returned(void **state)
{
    static const uint8_t body[] = {0xFE, 0xFF, 4, 1, 2, 3, 4};
    (void)state;
    begin(true);
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    for (uint16_t seq = 0; seq < 40; seq++)
        forge(3, seq, body, sizeof body);
    engine_pair_run(&pair);
    size_t up = 0;
    for (size_t i = 0; i < pair.sent_count; i++)
        up += pair.sent[i].is_up;
    assert_in_range(up, 2, 1 + 8 + 4);
    engine_pair_close(&pair);
}

static void a_stranger_cannot_end_a_handshake(void **state)
{
    static const uint8_t alert[15] = {21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 77, 0, 2, 2, 40};
    static const uint8_t nonsense[] = {1, 2, 3, 4};
    (void)state;
    begin(true);
    pair.client.answers = ENGINE_PAIR_HELD;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_inject(&pair, false, alert, sizeof alert);
    forge(0, 0, NULL, 0);                   /* HelloRequest */
    forge(2, 0, nonsense, sizeof nonsense); /* no ServerHello */
    forge(14, 0, NULL, 0);                  /* too early */
    forge(1, 0, nonsense, sizeof nonsense); /* a ClientHello has no business here */
    engine_pair_run(&pair);
    assert_int_equal(pair.client.failed_count, 0);
    assert_int_equal(engine_pair_answer(&pair.client), HF_OK);
    engine_pair_run(&pair);
    assert_true(engine_pair_is_open(&pair));
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static void an_alert_in_the_clear_explains_a_timeout(void **state)
{
    (void)state;
    begin(true);
    pair.listeners[1].suites[0] = HF_SUITE_PSK_AES_128_GCM_SHA256;
    pair.listeners[1].suite_count = 1;
    pair.dialers[1].suites[0] = HF_SUITE_PSK_AES_128_CCM_8;
    pair.dialers[1].suite_count = 1;
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_advance(&pair, pair.config.handshake_us_max + 1000000);
    assert_int_equal(pair.client.failure.status, HF_E_PEER_ALERT);
    assert_int_equal(pair.client.failure.alert, 40);
    engine_pair_close(&pair);
}

static void no_room_is_told_at_once(void **state)
{
    (void)state;
    begin(true);
    pair.config.handshakes_max = 2;
    pair.config.handshakes_pressure = 1;
    pair.filter = lose_all;
    engine_pair_open(&pair);
    for (uint16_t i = 0; i < 3; i++) {
        hf_association_id id;
        pair.connect.path.local.port = (uint16_t)(50000 + i);
        enum hf_status status = hf_engine_connect(&id, pair.client.engine, &pair.connect);
        assert_int_equal(status, i < 2 ? HF_OK : HF_E_HANDSHAKE_LIMIT);
        assert_int_equal(id != 0, i < 2);
        if (id)
            hf_engine_close_association(pair.client.engine, i < 1 ? id : 0, HF_CLOSE_SILENT);
        if (i < 1) { /* that one gave its slot back: take another */
            assert_int_equal(hf_engine_connect(&id, pair.client.engine, &pair.connect), HF_OK);
        }
        pair.client.id = 0;
        struct hf_event event;
        while (hf_engine_take_event(pair.client.engine, &event))
            continue;
    }
    struct hf_event event;
    hf_engine_begin_turn(pair.client.engine, pair.now_us + 70000000, pair.wall_s);
    int count = 0;
    while (hf_engine_take_event(pair.client.engine, &event))
        count += event.kind == HF_EVENT_HANDSHAKE_FAILED;
    assert_int_equal(count, 2);
    pair.now_us += 70000000;
    engine_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_flight_may_be_lost_once),
        cmocka_unit_test(hellos_are_repeated_at_growing_intervals),
        cmocka_unit_test(repeats_change_nothing),
        cmocka_unit_test(a_path_is_dialled_once),
        cmocka_unit_test(cookies_without_end_are_not_returned),
        cmocka_unit_test(a_stranger_cannot_end_a_handshake),
        cmocka_unit_test(an_alert_in_the_clear_explains_a_timeout),
        cmocka_unit_test(no_room_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
