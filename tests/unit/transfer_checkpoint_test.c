/**
 * transfer_checkpoint_test.c - what a checkpoint needs of engines: streams left out, numbers that
 * were never used, a limit on how many there can be in between; and its seal.
 */
#include "engine_fixture.h"

#include <handfast/transfer.h>

static uint8_t chunk[4 * HF_TRANSFER_CHUNK_MIN];

static struct hf_bytes write_checkpoint(const struct hf_engine *engine)
{
    struct hf_transfer *transfer;
    size_t len;
    assert_int_equal(hf_transfer_open(&transfer, engine), HF_OK);
    hf_transfer_leave_streams(transfer);
    assert_int_equal(hf_transfer_write(chunk, &len, sizeof chunk, transfer, engine, 1000), HF_OK);
    hf_transfer_close(transfer);
    return (struct hf_bytes){chunk, len};
}

static void restore(struct engine_fixture *fixture, struct hf_bytes written, uint64_t later_us)
{
    struct hf_transfer_counts counts;
    struct hf_engine *engine = engine_fixture_second(fixture);
    assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
    hf_engine_import_later(engine, HF_CHECKPOINT_RECORDS, later_us);
    assert_int_equal(hf_engine_import(engine, written), HF_OK);
    hf_engine_import_end(&counts, engine);
    assert_int_equal(counts.left_out, 0);
    hf_engine_close(fixture->engine);
    fixture->engine = engine;
}

/* The TLS bystander is gone with the process; what the fixture does in the end needs another. */
static void replace_stream(struct engine_fixture *fixture)
{
    struct hf_association_info info;
    struct engine_peer *former = fixture->bystanders[1];
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, former->id), HF_E_STALE);
    fixture->bystanders[1] = engine_peer_new(fixture, true);
    engine_peer_open(fixture->bystanders[1]);
    assert_true(fixture->bystanders[1]->id != former->id);
    former->is_over = true;
    engine_peer_free(former);
}

static uint64_t last_number(const struct engine_peer *peer)
{
    const uint8_t *record = peer->received.items[peer->received.count - 1].data;
    uint64_t number = 0;
    assert_int_equal(record[4], 1); /* epoch */
    for (size_t i = 5; i < 11; i++)
        number = number << 8 | record[i];
    return number;
}

static void numbers_are_far_beyond(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    assert_true(engine_peer_echoes(peer));
    uint64_t before = last_number(peer);
    struct hf_bytes written = write_checkpoint(fixture->engine);
    for (int i = 0; i < 5; i++) /* said after the checkpoint, and forgotten */
        assert_true(engine_peer_echoes(peer));
    assert_true(last_number(peer) == before + 5);
    restore(fixture, written, 0);
    replace_stream(fixture);
    assert_true(engine_peer_echoes(peer));
    assert_true(last_number(peer) == before + 1 + HF_CHECKPOINT_RECORDS);
    /* What is older than the checkpoint is still a replay. */
    engine_peer_deliver(peer, peer->sent.count - 7, peer->sent.count - 6);
    assert_int_equal(engine_fixture_drops(fixture, HF_DROP_REPLAY), 1);
    engine_peer_end(peer);
    engine_peer_free(peer);
}

/* After many crashes no number is left: then nothing is sent, and others are restored. */
static void no_number_is_left(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_transfer_counts counts;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    struct hf_bytes written = write_checkpoint(fixture->engine);
    for (int i = 0; i < 2; i++) {
        struct hf_engine *engine = engine_fixture_second(fixture);
        assert_int_equal(hf_engine_import_begin(engine, fixture->now_us, fixture->wall_s), HF_OK);
        hf_engine_import_later(engine, UINT64_C(1) << 40, 0);
        assert_int_equal(hf_engine_import(engine, written), HF_OK);
        hf_engine_import_end(&counts, engine);
        assert_int_equal(counts.associations, 2);
        hf_engine_begin_turn(engine, fixture->now_us, fixture->wall_s);
        assert_int_equal(
            hf_engine_send(engine, peer->id, (struct hf_bytes){(const uint8_t *)"no", 2}),
            HF_E_SEQUENCE_LIMIT);
        hf_engine_end_turn(engine);
        struct hf_output output;
        assert_false(hf_engine_take_output(engine, &output));
        hf_engine_close(engine);
    }
    engine_peer_end(peer);
    engine_peer_free(peer);
}

static void time_goes_on(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_config config = fixture->config;
    fixture->config.idle_us_max = config.idle_us_max = 10000000;
    config.listeners = fixture->listeners;
    assert_int_equal(hf_engine_update_limits(fixture->engine, &config), HF_OK);
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    restore(fixture, write_checkpoint(fixture->engine), 8000000);
    replace_stream(fixture);
    assert_true(engine_peer_echoes(fixture->bystanders[0]));
    engine_fixture_advance(fixture, 3000000);
    assert_int_equal(peer->closed_count, 1);
    config.idle_us_max = 0;
    assert_int_equal(hf_engine_update_limits(fixture->engine, &config), HF_OK);
    engine_peer_free(peer);
}

static void no_more_than_the_limit(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_open(peer);
    uint64_t sent = engine_fixture_counters(fixture).records_out;
    hf_engine_limit_records(fixture->engine, sent + 3);
    for (int i = 0; i < 3; i++)
        assert_true(engine_peer_echoes(peer));
    size_t received = peer->received.count;
    for (int i = 0; i < 3; i++)
        assert_false(engine_peer_echoes(peer));
    assert_int_equal(peer->received.count, received);
    assert_int_equal(engine_fixture_counters(fixture).records_out, sent + 3);
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
    assert_int_equal(
        hf_engine_send(fixture->engine, peer->id, (struct hf_bytes){(const uint8_t *)"no", 2}),
        HF_WAITING);
    engine_fixture_run(fixture);
    assert_true(engine_peer_echoes(fixture->bystanders[1])); /* streams are in no checkpoint */
    hf_engine_limit_records(fixture->engine, UINT64_MAX);
    assert_true(engine_peer_echoes(peer));
    engine_peer_end(peer);
    engine_peer_free(peer);
}

static void the_seal(void **state)
{
    (void)state;
    struct hf_shared_secret secret = {.from_s = 1, .secret = {7}}, other = {.secret = {8}};
    const struct hf_bytes place = {(const uint8_t *)"here", 4}, there = {(const uint8_t *)"her", 3};
    uint8_t in[100] = {1, 2, 3}, sealed[100 + HF_CHECKPOINT_EXPANSION], out[100];
    hf_checkpoint_seal(sealed, &secret, place, (struct hf_bytes){in, sizeof in});
    struct hf_bytes whole = {sealed, sizeof sealed};
    assert_true(hf_checkpoint_unseal(out, &secret, place, whole));
    assert_memory_equal(in, out, sizeof in);
    assert_false(hf_checkpoint_unseal(out, &other, place, whole));
    assert_false(hf_checkpoint_unseal(out, &secret, there, whole));
    whole.len--;
    assert_false(hf_checkpoint_unseal(out, &secret, place, whole));
    whole.len = HF_CHECKPOINT_EXPANSION - 1;
    assert_false(hf_checkpoint_unseal(out, &secret, place, whole));
}

int main(void)
{
#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, engine_fixture_setup, engine_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(numbers_are_far_beyond), TEST(no_number_is_left),    TEST(time_goes_on),
        TEST(no_more_than_the_limit), cmocka_unit_test(the_seal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
