/**
 * fuzz_findings_test.c - what the fuzz targets and their seeds found, each told as a test of its
 * own. The inputs are in fuzz/corpus.
 */
#include "core.h"
#include "engine_fixture.h"

/* A message without a body that met the end of a datagram was left out of the flight for good:
 * ServerHelloDone, with small datagrams, a long hint and the one extension more. */
static void an_empty_message_at_the_end_of_a_datagram_is_sent(void **state)
{
    (void)state;
    for (uint16_t hint_len = 0; hint_len <= HF_PSK_HINT_MAX; hint_len++) {
        struct engine_fixture fixture;
        engine_fixture_init(&fixture);
        struct hf_listener *listener = &fixture.listeners[ENGINE_FIXTURE_DTLS];
        listener->datagram_len_max = 256;
        listener->psk_hint_len = hint_len;
        memset(listener->psk_hint, 'h', hint_len);
        engine_fixture_open(&fixture);
        struct engine_peer *peer = engine_peer_new(&fixture, false);
        peer->config.max_fragment_length = 1;
        engine_peer_open(peer);
        assert_int_equal(peer->client.counters.retransmissions, 0);
        engine_peer_end(peer);
        engine_fixture_close(&fixture);
    }
}

/* A hello with a good cookie behind another message in its record was held to belong to the
 * restart under way: it was entered beside the open association, under the same path, and what
 * was left in the table of paths when it ended led to memory of others. */
static void a_hello_behind_another_message_is_dropped(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "still here";
    static const uint8_t old_message[13] = {16, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    uint8_t record[1500];
    struct engine_peer *former = engine_peer_new(fixture, false);
    engine_peer_open(former);
    struct engine_peer *reborn = engine_peer_new(fixture, false);
    reborn->path = former->path;
    engine_peer_to_stage(reborn, ENGINE_STAGE_HELLO);
    struct engine_peer *again = engine_peer_new(fixture, false);
    again->path = former->path;
    engine_peer_to_stage(again, ENGINE_STAGE_NOTHING);
    engine_fixture_advance(fixture, 1500000); /* a restart may follow a restart by now */
    const struct engine_wire_item *hello = &again->sent.items[again->delivered_count];
    size_t len = hello->len - 13 + sizeof old_message;
    memcpy(record, hello->data, 11);
    record[11] = (uint8_t)(len >> 8);
    record[12] = (uint8_t)len;
    memcpy(record + 13, old_message, sizeof old_message);
    memcpy(record + 13 + sizeof old_message, hello->data + 13, hello->len - 13);
    uint64_t before = engine_fixture_drops(fixture, HF_DROP_FRAGMENT);
    engine_peer_send(again, record, 13 + len);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_FRAGMENT), before + 1);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 1);
    reborn->is_gone = reborn->is_deaf = again->is_gone = again->is_deaf = true;
    engine_fixture_advance(fixture, 61000000);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    engine_peer_free(again);
    engine_peer_free(reborn);
    engine_peer_send_sealed(former, 23, text, sizeof text);
    assert_int_equal(former->data_in_len, sizeof text);
}

struct datagram {
    uint8_t data[1500];
    size_t len;
};

static void append(const uint8_t *data, size_t len, void *arg)
{
    struct datagram *datagram = arg;
    assert_true(len <= sizeof datagram->data - datagram->len);
    memcpy(datagram->data + datagram->len, data, len);
    datagram->len += len;
}

/* Behind a record with a connection ID that had moved its association to an address, a hello in the
 * same datagram was held to be a stranger's: so the address stood in the table of paths twice. It
 * is a restart of whoever is there by now. */
static void a_hello_behind_a_record_that_moves_is_a_restart(void **state)
{
    struct engine_fixture *fixture = *state;
    static const uint8_t text[] = "from here", cid[] = "cid";
    struct datagram datagram = {.len = 0};
    struct engine_peer *moved = engine_peer_new(fixture, false);
    moved->config.connection_id = true;
    moved->config.cid = (struct hf_bytes){cid, sizeof cid};
    engine_peer_open(moved);
    uint64_t open = engine_fixture_counters(fixture).associations;
    struct engine_peer *stranger = engine_peer_new(fixture, false);
    engine_peer_to_stage(stranger, ENGINE_STAGE_NOTHING);
    engine_fixture_advance(fixture, 1500000);
    const struct psk_client_record record = {.type = 23,
                                             .epoch = 1,
                                             .seq = PSK_CLIENT_SEQ_NEXT,
                                             .is_protected = true,
                                             .payload = {text, sizeof text}};
    psk_client_send_record(&moved->client, &record, append, &datagram);
    const struct engine_wire_item *hello = &stranger->sent.items[stranger->delivered_count];
    append(hello->data, hello->len, &datagram);
    uint32_t entries = fixture->engine->table.count;
    engine_peer_send(stranger, datagram.data, datagram.len);
    assert_int_equal(fixture->engine->table.count, entries);
    assert_int_equal(engine_fixture_counters(fixture).paths_moved, 1);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 1);
    moved->path = stranger->path;
    stranger->is_gone = stranger->is_deaf = true;
    engine_fixture_advance(fixture, 61000000);
    assert_int_equal(engine_fixture_counters(fixture).handshakes_open, 0);
    engine_peer_free(stranger);
    /* The restart has come to nothing, and it is who it was. */
    size_t before = moved->data_in_len;
    engine_peer_send_sealed(moved, 23, text, sizeof text);
    assert_int_equal(moved->data_in_len - before, sizeof text);
    assert_int_equal(engine_fixture_counters(fixture).associations, open);
    engine_peer_end(moved);
    engine_peer_free(moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_message_at_the_end_of_a_datagram_is_sent),
        cmocka_unit_test_setup_teardown(a_hello_behind_another_message_is_dropped,
                                        engine_fixture_setup, engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_hello_behind_a_record_that_moves_is_a_restart,
                                        engine_fixture_setup, engine_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
