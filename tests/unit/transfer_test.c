/**
 * transfer_test.c - associations moved from one engine to another go on as if nothing had happened;
 * what is moved by mistake, or by nobody we know, does no harm.
 */
#include "engine_fixture.h"

#include <handfast/transfer.h>

#define CHUNK_LEN HF_TRANSFER_CHUNK_MIN
#define SLICE 7

/** All chunks of some passes, kept as blocks of exactly their length. */
struct chunks {
    struct engine_wire wire;
};

static uint32_t write_pass(struct chunks *chunks, struct hf_transfer *transfer,
                           const struct hf_engine *engine)
{
    static uint8_t buffer[CHUNK_LEN];
    enum hf_status status;
    do {
        size_t len = 0;
        status = hf_transfer_write(buffer, &len, sizeof buffer, transfer, engine, SLICE);
        assert_true(status == HF_OK || status == HF_WAITING);
        if (len > 0)
            engine_wire_add(&chunks->wire, buffer, len);
    } while (status == HF_WAITING);
    return hf_transfer_written(transfer);
}

static enum hf_status read_all(struct hf_engine *engine, const struct chunks *chunks)
{
    for (size_t i = 0; i < chunks->wire.count; i++) {
        struct hf_bytes chunk = {chunks->wire.items[i].data, chunks->wire.items[i].len};
        enum hf_status status = hf_engine_import(engine, chunk);
        if (status != HF_OK)
            return status;
    }
    return HF_OK;
}

/* The fixture goes on with another engine. */
static void take_over(struct engine_fixture *fixture, struct hf_engine *engine)
{
    hf_engine_close(fixture->engine);
    fixture->engine = engine;
}

static void move_from(struct engine_fixture *fixture, struct chunks *chunks, uint32_t expected)
{
    struct hf_transfer_counts counts;
    struct hf_engine *engine = engine_fixture_second(fixture);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
    assert_int_equal(read_all(engine, chunks), HF_OK);
    hf_engine_import_end(&counts, engine);
    assert_int_equal(counts.associations, expected);
    assert_int_equal(counts.left_out, 0);
    engine_wire_clear(&chunks->wire);
    take_over(fixture, engine);
}

static void move(struct engine_fixture *fixture)
{
    struct chunks chunks = {0};
    struct hf_transfer *transfer;
    uint32_t open = engine_fixture_counters(fixture).associations;
    assert_int_equal(hf_transfer_open(&transfer, fixture->engine), HF_OK);
    assert_int_equal(write_pass(&chunks, transfer, fixture->engine), open);
    hf_transfer_close(transfer);
    move_from(fixture, &chunks, open);
}

static struct engine_peer *open_peer(struct engine_fixture *fixture, bool is_tls, uint16_t suite)
{
    struct engine_peer *peer = engine_peer_new(fixture, is_tls);
    if (suite)
        peer->config.suites[0] = suite;
    engine_peer_open(peer);
    return peer;
}

static void end_all(struct engine_peer **peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        engine_peer_end(peers[i]);
        engine_peer_free(peers[i]);
    }
}

/* ---- what goes on ------------------------------------------------------------------------- */

static const struct {
    bool is_tls, has_etm;
    uint16_t suite;
} kinds[] = {
    {false, false, HF_SUITE_PSK_AES_128_CCM_8},      {false, false, HF_SUITE_PSK_AES_128_CCM},
    {false, false, HF_SUITE_PSK_AES_128_GCM_SHA256}, {false, true, HF_SUITE_PSK_AES_128_CBC_SHA256},
    {false, false, HF_SUITE_PSK_AES_128_CBC_SHA256}, {true, false, HF_SUITE_PSK_AES_128_CBC_SHA256},
    {true, true, HF_SUITE_PSK_AES_128_CBC_SHA256},   {true, false, HF_SUITE_PSK_AES_128_GCM_SHA256},
    {true, false, HF_SUITE_PSK_AES_128_CCM_8},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static void use_all_suites(struct hf_listener *listener)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256};
    memcpy(listener->suites, suites, sizeof suites);
    listener->suite_count = 4;
    listener->encrypt_then_mac = true;
}

static int setup(void **state)
{
    struct engine_fixture *fixture = malloc(sizeof *fixture);
    assert_non_null(fixture);
    engine_fixture_init(fixture);
    use_all_suites(&fixture->listeners[0]);
    use_all_suites(&fixture->listeners[1]);
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

/* All that an embedder can ask of an association. */
struct view {
    struct hf_association_info info;
    uint8_t exported[32];
};

static void look(struct view *out, const struct engine_fixture *fixture, hf_association_id id)
{
    static const struct hf_bytes label = {(const uint8_t *)"EXPORTER-test", 13};
    memset(out, 0, sizeof *out);
    assert_int_equal(hf_engine_association_info(&out->info, fixture->engine, id), HF_OK);
    assert_int_equal(
        hf_engine_export(out->exported, sizeof out->exported, fixture->engine, id, label, NULL),
        HF_OK);
}

static void every_kind_goes_on(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[KINDS];
    struct view before[KINDS], after;
    for (size_t i = 0; i < KINDS; i++) {
        peers[i] = engine_peer_new(fixture, kinds[i].is_tls);
        peers[i]->config.suites[0] = kinds[i].suite;
        peers[i]->config.encrypt_then_mac = kinds[i].has_etm;
        engine_peer_open(peers[i]);
        look(&before[i], fixture, peers[i]->id);
        assert_int_equal(before[i].info.encrypt_then_mac, kinds[i].has_etm);
    }
    for (int times = 0; times < 3; times++) { /* there, back, and there again */
        move(fixture);
        for (size_t i = 0; i < KINDS; i++) {
            look(&after, fixture, peers[i]->id);
            assert_memory_equal(&after, &before[i], sizeof after);
            for (int said = 0; said < 3; said++)
                assert_true(engine_peer_echoes(peers[i]));
        }
        engine_fixture_check_undisturbed(fixture);
    }
    assert_int_equal(engine_fixture_rejected(fixture), 0);
    end_all(peers, KINDS);
}

static void names_expiry_and_context_survive(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_association_info info;
    fixture->expires_s = fixture->wall_s + 100;
    struct engine_peer *peer = open_peer(fixture, false, 0);
    move(fixture);
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_OK);
    assert_string_equal(info.entity_id, "/cse/Cdev");
    assert_string_equal(info.credential_id, "12-device");
    assert_int_equal(info.suid, 12);
    assert_true(info.context == UINT64_C(0xC0FFEE));
    assert_int_equal(info.expires_s, fixture->expires_s);
    assert_true(engine_peer_echoes(peer));
    fixture->wall_s += 101;
    assert_false(engine_peer_echoes(peer));
    assert_int_equal(peer->failure.status, HF_E_CREDENTIAL_EXPIRED);
    fixture->wall_s -= 101;
    engine_peer_free(peer);
}

/* RFC 8449 4 limits what is encrypted, and with a connection ID the type of the content is: 63
 * bytes of it are the fewest there can be, and move as well. */
static void a_record_size_limit_holds_for_all_that_is_encrypted(void **state)
{
    static const uint8_t cid[8] = "whatever";
    struct engine_fixture *fixture = *state;
    for (size_t cid_len = 0; cid_len <= sizeof cid; cid_len += sizeof cid) {
        struct engine_peer *peer = engine_peer_new(fixture, false);
        struct hf_association_info info;
        peer->config.record_size_limit = 64;
        peer->config.connection_id = true;
        peer->config.cid = (struct hf_bytes){cid, cid_len};
        engine_peer_open(peer);
        move(fixture);
        assert_true(engine_peer_echoes(peer));
        assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_OK);
        assert_int_equal(info.plaintext_len_max, cid_len > 0 ? 63 : 64);
        end_all(&peer, 1);
    }
}

static void replays_are_still_refused(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, false, 0);
    for (int i = 0; i < 5; i++)
        assert_true(engine_peer_echoes(peer));
    size_t count = peer->sent.count;
    move(fixture);
    uint64_t before = peer->data_in_len;
    engine_peer_deliver(peer, count - 4, count);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_REPLAY), 4);
    assert_true(peer->data_in_len == before);
    /* A hole in the window stays one: what was late is still taken, once. */
    peer->is_held = true;
    psk_client_send(&peer->client, (const uint8_t *)"late", 4, engine_peer_emit, peer);
    peer->is_held = false;
    assert_true(engine_peer_echoes(peer));
    move(fixture);
    engine_peer_deliver(peer, count, count + 1);
    assert_true(peer->data_in_len == before + 24 + 4);
    engine_peer_deliver(peer, count, count + 1);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_REPLAY), 1);
    end_all(&peer, 1);
}

static void our_numbers_are_used_once(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, false, 0);
    for (int i = 0; i < 6; i++) {
        assert_true(engine_peer_echoes(peer));
        move(fixture);
    }
    for (size_t i = 0; i < peer->received.count; i++) {
        for (size_t j = 0; j < i; j++) {
            const uint8_t *a = peer->received.items[i].data, *b = peer->received.items[j].data;
            bool is_same = a[3] == b[3] && a[4] == b[4] && memcmp(a + 3, b + 3, 8) == 0;
            assert_false(is_same && a[4] == 1); /* epoch 1: one number, one record */
        }
    }
    end_all(&peer, 1);
}

/* The peer's Finished again: our last flight is made anew from what was moved. */
static void the_last_flight_can_be_sent_again(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, false, 0);
    uint8_t finished[12 + 12] = {20, 0, 0, 12, 0, 3, 0, 0, 0, 0, 0, 12};
    memcpy(finished + 12, peer->client.client_verify_data, 12);
    move(fixture);
    size_t received = peer->received.count;
    engine_peer_send_sealed(peer, 22, finished, sizeof finished);
    assert_int_equal(engine_fixture_counters(fixture).final_flights_again, 1);
    assert_true(peer->received.count > received);
    assert_true(engine_peer_echoes(peer));
    end_all(&peer, 1);
}

/* One byte at a time, moved after each. */
static void a_record_under_way_is_moved(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, true, 0);
    assert_true(engine_peer_echoes(peer));
    size_t first = peer->sent.count;
    peer->is_held = true;
    psk_client_send(&peer->client, (const uint8_t *)"half and half", 13, engine_peer_emit, peer);
    peer->is_held = false;
    assert_int_equal(peer->sent.count, first + 1);
    struct engine_wire_item record = peer->sent.items[first];
    uint64_t before = peer->data_in_len;
    for (size_t i = 0; i < record.len; i++) {
        assert_true(peer->data_in_len == before);
        engine_peer_send(peer, record.data + i, 1);
        move(fixture);
    }
    assert_true(peer->data_in_len == before + 13);
    assert_true(engine_peer_echoes(peer));
    end_all(&peer, 1);
}

/* Its deadline moves with it. */
static void a_record_must_still_come_in_time(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, true, 0);
    engine_peer_send(peer, (const uint8_t *)"\x17\x03\x03\x00\x40half", 9);
    engine_fixture_advance(fixture, fixture->config.record_us_max / 2);
    move(fixture);
    engine_fixture_advance(fixture, fixture->config.record_us_max / 2 - 1000000);
    assert_int_equal(peer->closed_count, 0);
    engine_fixture_advance(fixture, 2000000);
    assert_int_equal(peer->closed_count, 1);
    engine_peer_free(peer);
}

static void idle_time_goes_on_counting(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_config config = fixture->config;
    fixture->config.idle_us_max = config.idle_us_max = 10000000;
    config.listeners = fixture->listeners;
    assert_int_equal(hf_engine_update_limits(fixture->engine, &config), HF_OK);
    struct engine_peer *peer = open_peer(fixture, false, 0);
    engine_fixture_advance(fixture, 6000000);
    engine_fixture_check_undisturbed(fixture); /* they must live on */
    move(fixture);
    engine_fixture_advance(fixture, 3000000);
    assert_int_equal(peer->closed_count, 0);
    engine_fixture_check_undisturbed(fixture);
    engine_fixture_advance(fixture, 2000000);
    assert_int_equal(peer->closed_count, 1);
    assert_int_equal(peer->failure.status, HF_E_IDLE_TIMEOUT);
    config.idle_us_max = 0;
    assert_int_equal(hf_engine_update_limits(fixture->engine, &config), HF_OK);
    engine_peer_free(peer);
}

static void a_half_closed_stream_stays_so(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = open_peer(fixture, true, 0);
    engine_peer_send_sealed(peer, 21, "\x01\x00", 2); /* close_notify: we may still send */
    assert_int_equal(peer->peer_closed_count, 1);
    size_t received = peer->received.count;
    move(fixture);
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
    assert_int_equal(
        hf_engine_send(fixture->engine, peer->id, (struct hf_bytes){(const uint8_t *)"bye", 3}),
        HF_OK);
    engine_fixture_run(fixture);
    assert_true(peer->received.count > received);
    end_all(&peer, 1);
}

/* ---- passes ------------------------------------------------------------------------------- */

static void a_later_pass_has_only_what_has_changed(void **state)
{
    enum { PEERS = 16 };
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[PEERS], *late;
    struct chunks chunks = {0};
    struct hf_transfer *transfer;
    for (size_t i = 0; i < PEERS; i++)
        peers[i] = open_peer(fixture, i % 2, 0);
    assert_int_equal(hf_transfer_open(&transfer, fixture->engine), HF_OK);
    assert_int_equal(write_pass(&chunks, transfer, fixture->engine), PEERS + 2);
    assert_int_equal(write_pass(&chunks, transfer, fixture->engine), 0);
    hf_association_id ended = peers[0]->id;
    assert_true(engine_peer_echoes(peers[5]));
    engine_peer_end(peers[0]);
    late = open_peer(fixture, false, 0); /* in the record that has become free */
    assert_true(late->id >> 32 == ended >> 32 && late->id != ended);
    engine_peer_end(peers[9]);
    assert_int_equal(write_pass(&chunks, transfer, fixture->engine), 2);
    assert_int_equal(write_pass(&chunks, transfer, fixture->engine), 0);
    hf_transfer_close(transfer);
    move_from(fixture, &chunks, PEERS + 1);
    struct hf_association_info info;
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, ended), HF_E_STALE);
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, peers[9]->id), HF_E_STALE);
    for (size_t i = 1; i < PEERS; i++)
        assert_true(i == 9 || engine_peer_echoes(peers[i]));
    assert_true(engine_peer_echoes(late));
    /* The free record's handles go on from where they were. */
    struct engine_peer *next = open_peer(fixture, false, 0);
    assert_true(next->id >> 32 == peers[9]->id >> 32);
    assert_true((uint32_t)next->id > (uint32_t)peers[9]->id);
    end_all(&next, 1);
    end_all(&late, 1);
    engine_peer_free(peers[0]);
    engine_peer_free(peers[9]);
    end_all(peers + 1, 8);
    end_all(peers + 10, PEERS - 10);
}

/* A device comes back from the same address while a pass is under way: in a record with a lower or
 * a higher number, and only the new association is moved. */
static void a_path_that_changes_hands(void **state)
{
    struct engine_fixture *fixture = *state;
    struct chunks chunks = {0};
    struct hf_transfer *transfer;
    struct engine_peer *filler = open_peer(fixture, false, 0);
    struct engine_peer *peer = open_peer(fixture, false, 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(hf_transfer_open(&transfer, fixture->engine), HF_OK);
        (void)write_pass(&chunks, transfer, fixture->engine);
        if (round == 0)
            engine_peer_end(filler); /* its record, a lower one, is next */
        struct engine_peer *again = engine_peer_new(fixture, false);
        again->path = peer->path;
        engine_fixture_advance(fixture, 2000000);
        peer->is_deaf = peer->is_gone = true;
        struct engine_peer *former = peer;
        engine_peer_open(again);
        assert_int_equal(former->closed_count, 1);
        peer = again;
        engine_peer_free(former);
        (void)write_pass(&chunks, transfer, fixture->engine);
        hf_transfer_close(transfer);
        move_from(fixture, &chunks, 3);
        assert_true(engine_peer_echoes(peer));
    }
    engine_peer_free(filler);
    end_all(&peer, 1);
}

static void half_open_ones_stay_behind(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_association_info info;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_to_stage(peer, ENGINE_STAGE_KEYED);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 1);
    move(fixture);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_E_STALE);
    engine_peer_free(peer);
    struct engine_peer *next = open_peer(fixture, false, 0);
    assert_true(next->id != 0);
    end_all(&next, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_goes_on, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(names_expiry_and_context_survive, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_record_size_limit_holds_for_all_that_is_encrypted, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(replays_are_still_refused, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(our_numbers_are_used_once, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(the_last_flight_can_be_sent_again, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_record_under_way_is_moved, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_record_must_still_come_in_time, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(idle_time_goes_on_counting, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_half_closed_stream_stays_so, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_later_pass_has_only_what_has_changed, setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_path_that_changes_hands, setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(half_open_ones_stay_behind, setup, engine_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
