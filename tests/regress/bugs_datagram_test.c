/**
 * bugs_datagram_test.c - bugs other implementations had with DTLS records: epochs, numbers, alerts,
 * retransmission and restart. Each test is one line of docs/REGRESSIONS.md and bears its number.
 */
#include "engine_fixture.h"

enum { CCS = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23 };

/* DTLS stages in which a handshake is under way. */
#define FOR_EACH_HALF_OPEN_STAGE(stage)                                                            \
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage < ENGINE_STAGE_OPEN; stage++)

static struct engine_peer *peer_at(struct engine_fixture *fixture, enum engine_stage stage)
{
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_to_stage(peer, stage);
    return peer;
}

/* Sends a record that is not protected, whatever its epoch says, and counts it as rejected. */
static void send_forged(struct engine_peer *peer, uint8_t type, uint16_t epoch, uint64_t seq,
                        struct hf_bytes payload)
{
    const struct psk_client_record record = {
        .type = type, .version = 0xFEFD, .epoch = epoch, .seq = seq, .payload = payload};
    uint64_t before = engine_fixture_rejected(peer->fixture);
    bool was_held = peer->is_held;
    size_t sent_count = peer->sent.count;
    peer->is_held = true;
    psk_client_send_record(&peer->client, &record, engine_peer_emit, peer);
    const struct engine_wire_item *item = &peer->sent.items[--peer->sent.count];
    assert_int_equal(peer->sent.count, sent_count);
    engine_peer_send(peer, item->data, item->len);
    free(item->data);
    peer->is_held = was_held;
    assert_in_range(engine_fixture_rejected(peer->fixture), before, before + 2);
}

static void line_02_cve_2017_7243_lone_change_cipher_spec(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t body[32] = {1};
    const struct hf_path stranger = engine_fixture_path(0xCB007101, 5000);
    for (uint16_t epoch = 0; epoch < 3; epoch++) {
        for (uint8_t len = 0; len <= sizeof body; len++) {
            uint8_t record[13 + sizeof body] = {CCS, 0xFE, 0xFD, 0,  (uint8_t)epoch, 0, 0, 0, 0,
                                                0,   len,  0,    len};
            uint64_t before = engine_fixture_drops(fixture, HF_DROP_NO_ASSOCIATION);
            memcpy(record + 13, body, len);
            engine_fixture_datagram(fixture, &stranger, record, 13u + len);
            engine_fixture_run(fixture);
            assert_int_equal(engine_fixture_drops(fixture, HF_DROP_NO_ASSOCIATION), before + 1);
        }
    }
    assert_int_equal(fixture->stray_count, 0);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
}

/* Delivers one of the client's own records with another epoch in its header. */
static void deliver_with_epoch(struct engine_peer *peer, size_t index, uint16_t epoch)
{
    uint8_t copy[2048];
    const struct engine_wire_item *item = &peer->sent.items[index];
    assert_in_range(item->len, 13, sizeof copy);
    memcpy(copy, item->data, item->len);
    copy[3] = (uint8_t)(epoch >> 8);
    copy[4] = (uint8_t)epoch;
    engine_peer_send(peer, copy, item->len);
}

static void line_03_cve_2021_42141_flight_across_epochs(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t epochs[] = {1, 2, 0x0100, 0xFFFF};
    for (size_t i = 0; i < sizeof epochs / sizeof epochs[0]; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_NOTHING);
        uint32_t asked = fixture->request_count;
        deliver_with_epoch(peer, 0, epochs[i]);
        deliver_with_epoch(peer, 1, epochs[i]); /* the hello with its cookie */
        assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
        engine_peer_free(peer);
        peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        deliver_with_epoch(peer, 2, epochs[i]); /* ClientKeyExchange */
        deliver_with_epoch(peer, 3, epochs[i]); /* ChangeCipherSpec */
        deliver_with_epoch(peer, 4, 0);         /* Finished */
        assert_int_equal(fixture->request_count, asked);
        assert_int_equal(peer->established_count, 0);
        engine_peer_finish(peer);
        peer = peer_at(fixture, ENGINE_STAGE_CHANGED);
        deliver_with_epoch(peer, 4, epochs[i] == 1 ? 0 : epochs[i]);
        assert_int_equal(peer->established_count, 0);
        engine_peer_finish(peer);
    }
}

static void line_03_forged_record_displaces_nothing(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t good[] = {1}, bad[] = {2}, none[1];
    const struct hf_bytes bodies[] = {{good, 1}, {bad, 1}, {none, 0}, {good, 1}};
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_HELLO);
        send_forged(peer, CCS, i == 0, 3, bodies[i]);
        engine_peer_deliver(peer, 2, 5); /* the flight in one turn: two of it must be deferred */
        peer->is_held = false;
        engine_peer_check_open(peer);
    }
}

static void line_04_cve_2021_42142_unauthentic_numbers_move_no_window(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t epochs[] = {1, 2, 0x7FFF, 0xFFFF};
    static const uint64_t seqs[] = {63, 1000, UINT64_C(1) << 32, (UINT64_C(1) << 48) - 1};
    static const uint8_t payload[40] = {0x17};
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_EPOCH);
        for (size_t i = 0; i < 16; i++)
            send_forged(peer, i % 3 ? DATA : HANDSHAKE, epochs[i / 4], seqs[i % 4],
                        (struct hf_bytes){payload, sizeof payload});
        /* Of the three epochs that never come, none is worth an attempt at decryption. */
        assert_in_range(engine_fixture_drops(fixture, HF_DROP_EPOCH), before + 12, before + 16);
        for (size_t i = 0; i < 4; i++) /* and epoch 0, where nothing is authentic */
            send_forged(peer, DATA, 0, seqs[i], (struct hf_bytes){payload, sizeof payload});
        engine_peer_finish(peer);
        engine_peer_forget(peer);
    }
}

/* Sealed with the right key, so that it would authenticate: its epoch is wrong all the same. */
static void line_04_sealed_in_another_epoch(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint16_t epochs[] = {2, 3, 0x0101, 0xFFFF};
    for (size_t i = 0; i < 4; i++) {
        struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_OPEN);
        const struct psk_client_record record = {.type = DATA,
                                                 .epoch = epochs[i],
                                                 .seq = 9,
                                                 .is_protected = true,
                                                 .payload = {(const uint8_t *)"no", 2}};
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_EPOCH);
        engine_peer_send_record(peer, &record);
        assert_int_equal(peer->data_in_len, 0);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_EPOCH), before + 1);
        assert_true(engine_peer_echoes(peer));
    }
}

static void line_05_cve_2020_24585_application_data_in_epoch_0(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "never to be seen";
    for (enum engine_stage stage = ENGINE_STAGE_NOTHING; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        uint64_t before = engine_fixture_counters(fixture).data_in_len;
        uint64_t rejected = engine_fixture_rejected(fixture);
        for (uint64_t seq = 0; seq < 100; seq += 9)
            send_forged(peer, DATA, 0, seq, (struct hf_bytes){text, sizeof text});
        assert_int_equal(engine_fixture_rejected(fixture), rejected + 12);
        assert_int_equal(engine_fixture_counters(fixture).data_in_len, before);
        assert_int_equal(peer->data_in_len, 0);
        engine_peer_finish(peer);
    }
}

/* A wish to renegotiate, sealed: type, length, message_seq, offset, fragment length, body. */
static size_t make_hello(uint8_t out[300], uint16_t message_seq, size_t body_len, size_t stated_len)
{
    memset(out, 0, 300);
    out[0] = 1;
    out[2] = (uint8_t)(stated_len >> 8);
    out[3] = (uint8_t)stated_len;
    out[4] = (uint8_t)(message_seq >> 8);
    out[5] = (uint8_t)message_seq;
    out[10] = (uint8_t)(body_len >> 8);
    out[11] = (uint8_t)body_len;
    return 12 + body_len;
}

static void line_22_tinydtls_272_short_hello_when_open(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    uint8_t hello[300];
    engine_peer_open(peer);
    for (size_t len = 0; len < 60; len++) {
        size_t whole = make_hello(hello, 4, 48, 48); /* cut off anywhere */
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
        engine_peer_send_sealed(peer, HANDSHAKE, hello, len < whole ? len : whole - 1);
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1);
        whole = make_hello(hello, 4, len, len); /* whole, but too short for a hello */
        engine_peer_send_sealed(peer, HANDSHAKE, hello, whole);
        assert_true(engine_peer_echoes(peer));
    }
    uint32_t warnings = peer->client.counters.warnings;
    engine_peer_send_sealed(peer, HANDSHAKE, hello, make_hello(hello, 4, 100, 100));
    assert_int_equal(peer->client.counters.warnings, warnings + 1); /* no_renegotiation */
    assert_true(engine_peer_echoes(peer));
    assert_int_equal(engine_fixture_counters(fixture).restarts, 0);
}

static void line_23_hard_reconnect_spoofed(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    struct engine_peer *spoofer = engine_peer_new(fixture, false);
    spoofer->path = peer->path;
    for (size_t i = 0; i < 1000; i++) { /* it never sees a cookie */
        spoofer->is_held = true;
        engine_peer_start(spoofer);
        engine_peer_send(spoofer, spoofer->sent.items[0].data, spoofer->sent.items[0].len);
        assert_int_equal(spoofer->received.count, 1);
        engine_peer_forget(spoofer);
    }
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    engine_peer_free(spoofer);
    assert_true(engine_peer_echoes(peer));
    assert_int_equal(peer->closed_count, 0);
}

static void line_23_hard_reconnect_of_a_rebooted_client(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "still here";
    FOR_EACH_HALF_OPEN_STAGE(stage)
    {
        struct engine_peer *former = engine_peer_new(fixture, false);
        engine_peer_open(former);
        struct engine_peer *reborn = engine_peer_new(fixture, false);
        reborn->path = former->path;
        uint64_t restarts = engine_fixture_counters(fixture).restarts;
        engine_peer_to_stage(reborn, stage);
        assert_int_equal(former->closed_count, 0);
        for (uint64_t i = 1; i < 4; i++) { /* the old association works until the new one does */
            engine_peer_send_sealed(former, DATA, text, sizeof text);
            assert_int_equal(former->data_in_len, i * sizeof text);
        }
        engine_peer_finish(reborn);
        assert_int_equal(former->closed_count, 1);
        assert_int_equal(former->failure.status, HF_E_SUPERSEDED);
        assert_int_equal(engine_fixture_counters(fixture).restarts, restarts + 1);
    }
}

static void line_23_hard_reconnect_that_never_ends(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "still here";
    FOR_EACH_HALF_OPEN_STAGE(stage)
    {
        struct engine_peer *former = engine_peer_new(fixture, false);
        engine_peer_open(former);
        struct engine_peer *reborn = engine_peer_new(fixture, false);
        reborn->path = former->path;
        engine_peer_to_stage(reborn, stage);
        reborn->is_gone = reborn->is_deaf = true;
        engine_fixture_advance(fixture, 61000000);
        assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
        engine_peer_free(reborn);
        engine_peer_send_sealed(former, DATA, text, sizeof text);
        assert_int_equal(former->data_in_len, sizeof text);
        assert_true(engine_peer_echoes(former));
    }
}

static void line_36_cve_2014_0221_hello_request_in_handshake(void **state)
{
    struct engine_fixture *fixture = *state;
    FOR_EACH_HALF_OPEN_STAGE(stage)
    {
        struct engine_peer *peer = peer_at(fixture, stage);
        for (uint16_t i = 0; i < 1000; i++) {
            const uint8_t request[12] = {0, 0, 0, 0, 0, (uint8_t)(i % 6)};
            send_forged(peer, HANDSHAKE, 0, 100u + i, (struct hf_bytes){request, 12});
        }
        engine_peer_finish(peer);
        engine_peer_forget(peer);
    }
}

static void line_36_cve_2015_0206_next_epoch_while_stalled(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t junk[64];
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage <= ENGINE_STAGE_KEYED; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        uint64_t full = engine_fixture_drops(fixture, HF_DROP_DEFERRED_FULL);
        uint64_t unauthentic = engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC);
        memset(junk, 0x55, sizeof junk);
        for (uint64_t seq = 0; seq < 2000; seq++)
            send_forged(peer, HANDSHAKE, 1, seq, (struct hf_bytes){junk, sizeof junk});
        uint64_t kept = 2000 - (engine_fixture_drops(fixture, HF_DROP_DEFERRED_FULL) - full);
        assert_in_range(kept, 1, fixture->config.deferred_len_max / sizeof junk);
        assert_int_equal(engine_fixture_counters(fixture).memory_len,
                         hf_config_memory(&fixture->config));
        engine_peer_finish(peer); /* what was kept is tried, and found wanting */
        assert_in_range(engine_fixture_drops(fixture, HF_DROP_UNAUTHENTIC), unauthentic + 1,
                        unauthentic + kept);
    }
}

/* Fails the test if two of the records the engine sent have the same epoch and number. */
static void check_numbers_fresh(const struct engine_peer *peer, size_t expected_min)
{
    uint64_t seen[256];
    size_t count = 0;
    for (size_t i = 0; i < peer->received.count; i++) {
        const uint8_t *data = peer->received.items[i].data;
        size_t len = peer->received.items[i].len;
        while (len > 0) {
            uint64_t number = 0;
            size_t whole = 13 + (size_t)(data[11] << 8 | data[12]);
            for (size_t at = 3; at < 11; at++)
                number = number << 8 | data[at];
            for (size_t k = 0; k < count; k++)
                assert_int_not_equal(seen[k], number);
            assert_in_range(count, 0, 255);
            seen[count++] = number;
            data += whole;
            len -= whole;
        }
    }
    assert_in_range(count, expected_min, 256);
}

static void line_44_retransmission_is_fresh(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_NOTHING);
    engine_peer_forget(peer);
    psk_client_tick(&peer->client, peer->client.due_us, engine_peer_emit, peer);
    peer->is_deaf = true;
    engine_peer_deliver(peer, 0, 1); /* the hello with its cookie */
    for (size_t i = 0; i < 6; i++) {
        engine_fixture_advance(fixture, 8000000); /* its timer */
        engine_peer_deliver(peer, 0, 1);          /* the client's */
    }
    check_numbers_fresh(peer, 2 * 10);
    assert_in_range(engine_fixture_counters(fixture).retransmissions, 6, 12);
}

static void line_44_final_flight_again_once_a_datagram(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = peer_at(fixture, ENGINE_STAGE_CHANGED);
    uint8_t finished[12 + 12] = {20, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12};
    uint8_t datagram[8 * 64];
    peer->is_deaf = true;
    engine_peer_deliver(peer, 4, 5);
    assert_int_equal(peer->established_count, 1);
    assert_int_equal(peer->client.state, PSK_CLIENT_AWAIT_FINISHED);
    memcpy(finished + 12, peer->client.client_verify_data, 12);
    for (size_t i = 0; i < 10; i++) {
        size_t before = peer->received.count;
        size_t len = 0;
        for (size_t k = 0; k < 8; k++) { /* eight of them in one datagram */
            engine_peer_send_sealed(peer, HANDSHAKE, finished, sizeof finished);
            const struct engine_wire_item *last = &peer->sent.items[peer->sent.count - 1];
            memcpy(datagram + len, last->data, last->len);
            len += last->len;
        }
        assert_int_equal(peer->received.count, before); /* they were held */
        engine_peer_send(peer, datagram, len);
        assert_int_equal(peer->received.count, before + 1);
        engine_peer_send(peer, datagram, len); /* replayed */
        assert_int_equal(peer->received.count, before + 1);
    }
    check_numbers_fresh(peer, 2 + 2 * 10);
    assert_int_equal(engine_fixture_counters(fixture).final_flights_again, 10);
}

static void line_44_garbage_triggers_nothing(void **state)
{
    struct engine_fixture *fixture = *state;
    uint8_t junk[60];
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        engine_peer_forget(peer);
        for (uint16_t i = 0; i < 200; i++) {
            memset(junk, i, sizeof junk);
            send_forged(peer, (uint8_t)(CCS + i % 4), 1, i, (struct hf_bytes){junk, i % 60u});
        }
        assert_int_equal(peer->received.count, 0);
        assert_int_equal(peer->closed_count + peer->failed_count, 0);
    }
    engine_fixture_advance(fixture, 61000000);
}

static void line_45_unprotected_alert_kills_nothing(void **state)
{
    struct engine_fixture *fixture = *state;
    for (enum engine_stage stage = ENGINE_STAGE_HELLO; stage < ENGINE_STAGE_COUNT; stage++) {
        struct engine_peer *peer = peer_at(fixture, stage);
        uint64_t before = engine_fixture_drops(fixture, HF_DROP_ALERT_UNPROTECTED);
        for (unsigned description = 0; description < 256; description += 5) {
            const uint8_t alert[2] = {1 + description % 2, (uint8_t)description};
            send_forged(peer, ALERT, 0, 500 + description, (struct hf_bytes){alert, 2});
        }
        assert_int_equal(engine_fixture_drops(fixture, HF_DROP_ALERT_UNPROTECTED), before + 52);
        engine_peer_finish(peer);
    }
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_02_cve_2017_7243_lone_change_cipher_spec),
        TEST(line_03_cve_2021_42141_flight_across_epochs),
        TEST(line_03_forged_record_displaces_nothing),
        TEST(line_04_cve_2021_42142_unauthentic_numbers_move_no_window),
        TEST(line_04_sealed_in_another_epoch),
        TEST(line_05_cve_2020_24585_application_data_in_epoch_0),
        TEST(line_22_tinydtls_272_short_hello_when_open),
        TEST(line_23_hard_reconnect_spoofed),
        TEST(line_23_hard_reconnect_of_a_rebooted_client),
        TEST(line_23_hard_reconnect_that_never_ends),
        TEST(line_36_cve_2014_0221_hello_request_in_handshake),
        TEST(line_36_cve_2015_0206_next_epoch_while_stalled),
        TEST(line_44_retransmission_is_fresh),
        TEST(line_44_final_flight_again_once_a_datagram),
        TEST(line_44_garbage_triggers_nothing),
        TEST(line_45_unprotected_alert_kills_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
