/**
 * engine_walk_test.c - the walk over a running engine's associations, whole and in slices, with
 * some ended on the way; and a listener whose offer changes.
 */
#include "engine_fixture.h"

#define PEERS 20

static uint32_t walk(struct hf_association_entry *found, struct engine_fixture *fixture,
                     uint32_t slice)
{
    uint32_t count = 0, cursor = 0;
    for (uint32_t end = 0; end < hf_engine_association_slots(fixture->engine);) {
        end += slice;
        while (hf_engine_next_association(&found[count], &cursor, fixture->engine, end)) {
            assert_true(cursor <= end);
            assert_true(++count <= PEERS + 2);
        }
    }
    return count;
}

static bool holds(const struct hf_association_entry *found, uint32_t count, hf_association_id id)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < count; i++)
        times += found[i].association == id;
    assert_true(times <= 1);
    return times == 1;
}

static void everyone_once(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_association_entry found[PEERS + 3];
    struct engine_peer *peers[PEERS];
    for (uint32_t i = 0; i < PEERS; i++) {
        peers[i] = engine_peer_new(fixture, i % 2);
        engine_peer_open(peers[i]);
    }
    for (uint32_t slice = 1; slice < PEERS + 10; slice++) {
        uint32_t count = walk(found, fixture, slice);
        assert_int_equal(count, PEERS + 2);
        for (uint32_t i = 0; i < PEERS; i++)
            assert_true(holds(found, count, peers[i]->id));
        for (uint32_t i = 0; i < count; i++)
            assert_true(found[i].established);
    }
    for (uint32_t i = 0; i < PEERS; i += 3)
        engine_peer_end(peers[i]);
    uint32_t count = walk(found, fixture, 4);
    assert_int_equal(count, PEERS + 2 - (PEERS + 2) / 3);
    for (uint32_t i = 0; i < PEERS; i++)
        assert_int_equal(holds(found, count, peers[i]->id), i % 3 != 0);
    for (uint32_t i = 0; i < PEERS; i++) {
        if (i % 3 != 0)
            engine_peer_end(peers[i]);
        engine_peer_free(peers[i]);
    }
}

static void half_open_ones_too(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_association_entry found[PEERS + 3];
    struct engine_peer *peer = engine_peer_new(fixture, false);
    engine_peer_to_stage(peer, ENGINE_STAGE_HELLO);
    uint32_t count = walk(found, fixture, 1000), half_open = 0;
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < count; i++)
        half_open += !found[i].established;
    assert_int_equal(half_open, 1);
    engine_peer_finish(peer);
    engine_peer_end(peer);
    engine_peer_free(peer);
}

static void a_listener_offers_something_else(void **state)
{
    struct engine_fixture *fixture = *state;
    struct hf_listener listener = fixture->listeners[ENGINE_FIXTURE_DTLS];
    struct hf_association_info info;
    assert_int_equal(hf_engine_update_listener(fixture->engine, 7, &listener), HF_E_ARGUMENT);
    assert_int_equal(hf_engine_update_listener(fixture->engine, ENGINE_FIXTURE_TLS, &listener),
                     HF_E_ARGUMENT);
    listener.suite_count = 0;
    assert_int_equal(hf_engine_update_listener(fixture->engine, ENGINE_FIXTURE_DTLS, &listener),
                     HF_E_CONFIG);
    listener.suite_count = 1;
    listener.suites[0] = HF_SUITE_PSK_AES_128_CCM;
    assert_int_equal(hf_engine_update_listener(fixture->engine, ENGINE_FIXTURE_DTLS, &listener),
                     HF_OK);
    struct engine_peer *peer = engine_peer_new(fixture, false);
    peer->config.suites[0] = HF_SUITE_PSK_AES_128_CCM_8;
    peer->config.suites[1] = HF_SUITE_PSK_AES_128_CCM;
    peer->config.suite_count = 2;
    engine_peer_open(peer);
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, peer->id), HF_OK);
    assert_int_equal(info.suite, HF_SUITE_PSK_AES_128_CCM);
    engine_fixture_check_undisturbed(fixture);
    engine_peer_end(peer);
    engine_peer_free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everyone_once, engine_fixture_setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(half_open_ones_too, engine_fixture_setup,
                                        engine_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_listener_offers_something_else, engine_fixture_setup,
                                        engine_fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
