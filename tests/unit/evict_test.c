/**
 * evict_test.c - who goes when there is no room.
 */
#include "engine_fixture.h"

#define SECOND UINT64_C(1000000)
#define ROOM 10 /* two bystanders among them */

static int setup(void **state, uint64_t evict_us)
{
    struct engine_fixture *fixture = calloc(1, sizeof *fixture);
    engine_fixture_init(fixture);
    fixture->config.associations_max = ROOM;
    fixture->config.handshakes_max = ROOM;
    fixture->config.handshakes_pressure = ROOM;
    fixture->config.evict_us_min = evict_us;
    engine_fixture_open(fixture);
    *state = fixture;
    return 0;
}

static int setup_evicting(void **state)
{
    return setup(state, 60 * SECOND);
}

static int setup_keeping(void **state)
{
    return setup(state, 0);
}

static int teardown(void **state)
{
    struct engine_fixture *fixture = *state;
    engine_fixture_close(fixture);
    free(fixture);
    return 0;
}

static uint64_t ends(const struct engine_fixture *fixture, enum hf_status status)
{
    return engine_fixture_counters(fixture).closes[status];
}

static void fill(struct engine_fixture *fixture, struct engine_peer *peers[ROOM - 2])
{
    for (size_t i = 0; i < ROOM - 2; i++) {
        peers[i] = engine_peer_new(fixture, i % 2 == 1);
        engine_peer_open(peers[i]);
        engine_fixture_advance(fixture, SECOND);
    }
}

static void end_all(struct engine_peer *peers[ROOM - 2])
{
    for (size_t i = 0; i < ROOM - 2; i++)
        if (engine_peer_is_open(peers[i]))
            engine_peer_end(peers[i]);
}

/* TLS is refused at accept, so newcomers are on DTLS. */
static bool gets_in(struct engine_fixture *fixture, struct engine_peer **out)
{
    *out = engine_peer_new(fixture, false);
    engine_peer_start(*out);
    engine_fixture_run(fixture);
    return engine_peer_is_open(*out);
}

static void nobody_goes_unasked(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[ROOM - 2], *late;
    fill(fixture, peers);
    engine_fixture_advance(fixture, 3600 * SECOND);
    assert_false(gets_in(fixture, &late));
    assert_int_equal(ends(fixture, HF_E_EVICTED), 0);
    late->is_gone = true;
    for (size_t i = 0; i < ROOM - 2; i++)
        assert_true(engine_peer_echoes(peers[i]));
    end_all(peers);
}

static void only_the_long_silent_go(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[ROOM - 2], *late;
    fill(fixture, peers);
    engine_fixture_advance(fixture, 50 * SECOND);
    engine_fixture_check_undisturbed(fixture);
    assert_false(gets_in(fixture, &late)); /* nobody has been silent for a minute */
    assert_int_equal(ends(fixture, HF_E_EVICTED), 0);
    late->is_gone = true;
    end_all(peers);
}

static void longest_silent_goes_first(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[ROOM - 2], *late[3];
    fill(fixture, peers);
    engine_fixture_advance(fixture, 30 * SECOND);
    assert_true(engine_peer_echoes(peers[0]));
    assert_true(engine_peer_echoes(peers[3]));
    engine_fixture_advance(fixture, 50 * SECOND);
    engine_fixture_check_undisturbed(fixture);
    static const size_t order[] = {1, 2, 4}; /* by silence; 1 is on TLS, 2 on DTLS */
    for (size_t i = 0; i < 3; i++) {
        size_t heard = peers[order[i]]->received.count;
        assert_true(gets_in(fixture, &late[i]));
        assert_int_equal(ends(fixture, HF_E_EVICTED), i + 1);
        assert_int_equal(peers[order[i]]->failure.status, HF_E_EVICTED);
        /* TLS is told; a sleeping DTLS device is not woken. */
        assert_int_equal(peers[order[i]]->received.count > heard, order[i] % 2 == 1);
    }
    for (size_t i = 0; i < ROOM - 2; i++)
        if (i != 1 && i != 2 && i != 4)
            assert_true(engine_peer_echoes(peers[i]));
    for (size_t i = 0; i < 3; i++)
        engine_peer_end(late[i]);
    end_all(peers);
}

/* A rebooted client's new handshake beside its old association, everything full and silent: what it
 * is to replace is not what makes room. */
static void rebooted_client_replaces_its_own(void **state)
{
    struct engine_fixture *fixture = *state;
    struct engine_peer *peers[ROOM - 2];
    fill(fixture, peers);
    engine_fixture_advance(fixture, 100 * SECOND);
    engine_fixture_check_undisturbed(fixture);
    struct engine_peer *again = engine_peer_new(fixture, false);
    peers[0]->is_gone = true;
    again->path = peers[0]->path;
    engine_peer_start(again);
    engine_fixture_run(fixture);
    assert_int_equal(ends(fixture, HF_E_EVICTED), 1);
    assert_true(engine_peer_echoes(again) || engine_peer_echoes(peers[0]));
    if (engine_peer_is_open(again))
        engine_peer_end(again);
    end_all(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_goes_unasked, setup_keeping, teardown),
        cmocka_unit_test_setup_teardown(only_the_long_silent_go, setup_evicting, teardown),
        cmocka_unit_test_setup_teardown(longest_silent_goes_first, setup_evicting, teardown),
        cmocka_unit_test_setup_teardown(rebooted_client_replaces_its_own, setup_evicting, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
