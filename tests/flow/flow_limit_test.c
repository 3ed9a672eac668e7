/**
 * flow_limit_test.c - limits reached by whole flows: half-open handshakes, associations, prefixes,
 * forgeries, record numbers, warnings. Whoever is over a limit is refused or dropped and counted;
 * the others notice nothing.
 */
#include "simulator.h"

#include "association.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

static struct sim sim;
static struct sim_options options;
static struct sim_plan plan;

static void prepare(uint32_t listener_index)
{
    sim_options_init(&options, 31);
    options.may_fail = true;
    sim_plan_init(&plan, listener_index);
}

static uint64_t drops(enum hf_drop drop)
{
    return sim_counters(&sim).drops[drop];
}

static struct hf_path path_from(uint8_t last, uint16_t port)
{
    const uint8_t peer[4] = {203, 0, 113, last};
    const uint8_t local[4] = {192, 0, 2, 1};
    return (struct hf_path){hf_address_v4(peer, port), hf_address_v4(local, 5684)};
}

static void half_open_handshakes_are_capped(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        options.config.handshakes_max = 3;
        options.config.handshakes_pressure = 3;
        sim_open(&sim, &options);
        plan.key_schedule = SIM_BY_HAND;
        struct sim_client *parked[3];
        for (size_t i = 0; i < 3; i++)
            parked[i] = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND);
        assert_int_equal(sim_counters(&sim).parked, 3);
        plan.key_schedule = SIM_NOW;
        struct sim_client *refused = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_false(refused->is_established);
        if (listener_index == 0)
            assert_int_equal(refused->failure.status, HF_E_HANDSHAKE_LIMIT);
        else
            assert_true(drops(HF_DROP_HANDSHAKE_LIMIT) > 0);
        for (uint32_t i = 0; i < 3; i++)
            sim_answer_later(parked[i], 0, 1 + i);
        sim_run(&sim, sim.now_us + 5 * SECOND);
        for (size_t i = 0; i < 3; i++)
            assert_true(sim_is_open(parked[i]));
        if (listener_index == 1)
            assert_true(sim_is_open(refused)); /* its hello was repeated when there was room */
        struct sim_client *next = sim_add_open(&sim, &plan);
        assert_non_null(next);
        sim_close(&sim);
    }
}

/* With all slots taken, the oldest handshake that has already gone wrong makes room. */
static void spoiled_handshakes_are_sacrificed_first(void **state)
{
    (void)state;
    prepare(1);
    options.config.handshakes_max = 3;
    options.config.handshakes_pressure = 3;
    sim_open(&sim, &options);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *honest = sim_add(&sim, &plan);
    plan.key_schedule = SIM_NOW;
    plan.is_key_wrong = true;
    struct sim_client *first = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND);
    struct sim_client *second = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(sim_counters(&sim).handshakes_open, 3);
    assert_true(drops(HF_DROP_UNAUTHENTIC) >= 2);
    plan.is_key_wrong = false;
    sim_add_open(&sim, &plan);
    assert_true(first->is_ended);
    assert_int_equal(first->failure.status, HF_E_KEY_MISMATCH);
    assert_false(second->is_ended);
    plan.key_schedule = SIM_BY_HAND; /* fills the slot, so that the next needs another */
    sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND);
    plan.key_schedule = SIM_NOW;
    sim_add_open(&sim, &plan);
    assert_true(second->is_ended);
    assert_int_equal(second->failure.status, HF_E_KEY_MISMATCH);
    sim_answer_later(honest, 0, 1);
    sim_run(&sim, sim.now_us + 3 * SECOND);
    assert_true(sim_is_open(honest));
    assert_int_equal(drops(HF_DROP_HANDSHAKE_LIMIT), 0);
    sim_close(&sim);
}

static void a_prefix_is_limited_only_under_pressure(void **state)
{
    (void)state;
    prepare(0);
    options.config.handshakes_max = 20;
    options.config.handshakes_pressure = 10;
    options.config.handshakes_per_prefix_max = 4;
    sim_open(&sim, &options);
    hf_association_id id;
    hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
    for (uint16_t i = 0; i < 10; i++) { /* one network address, one after the other */
        struct hf_path path = path_from(1, (uint16_t)(1000 + i));
        assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, i), HF_OK);
    }
    struct hf_path path = path_from(1, 2000);
    assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, 99), HF_E_PREFIX_LIMIT);
    for (uint16_t i = 0; i < 4; i++) {
        path = path_from(2, (uint16_t)(1000 + i));
        assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, 20u + i), HF_OK);
    }
    path = path_from(2, 2000);
    assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, 99), HF_E_PREFIX_LIMIT);
    path = path_from(3, 2000);
    assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, 50), HF_OK);
    hf_engine_receive_end(sim.engine, id);
    path = path_from(2, 2000); /* what another prefix gives back is of no help to this one */
    assert_int_equal(hf_engine_accept(&id, sim.engine, 0, &path, 99), HF_E_PREFIX_LIMIT);
    assert_int_equal(sim_counters(&sim).handshakes[HF_E_PREFIX_LIMIT], 3);
    hf_engine_end_turn(sim.engine);
    struct hf_event event;
    while (hf_engine_take_event(sim.engine, &event))
        continue;
    hf_engine_begin_turn(sim.engine, sim.now_us + 60 * SECOND, SIM_WALL_S); /* they time out */
    hf_engine_end_turn(sim.engine);
    while (hf_engine_take_event(sim.engine, &event))
        assert_int_equal(event.failure.status, HF_E_HELLO_TIMEOUT);
    sim.now_us += 60 * SECOND;
    sim_close(&sim);
}

static void associations_are_capped(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        options.config.associations_max = 3;
        options.config.handshakes_max = 3;
        options.config.handshakes_pressure = 3;
        sim_open(&sim, &options);
        struct sim_client *clients[3];
        for (size_t i = 0; i < 3; i++)
            clients[i] = sim_add_open(&sim, &plan);
        struct sim_client *refused = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_false(refused->is_established);
        if (listener_index == 0)
            assert_int_equal(refused->failure.status, HF_E_ASSOCIATION_LIMIT);
        else
            assert_true(drops(HF_DROP_ASSOCIATION_LIMIT) > 0);
        assert_int_equal(sim_counters(&sim).handshakes_open, 0);
        sim_close_client(clients[1], HF_CLOSE_SILENT);
        sim_run(&sim, sim.now_us + 3 * SECOND);
        if (listener_index == 1)
            assert_true(sim_is_open(refused));
        else
            sim_add_open(&sim, &plan);
        sim_close(&sim);
    }
}

static void forge(struct sim_client *client, uint64_t seq, uint64_t after_us)
{
    uint8_t record[13 + 40] = {HF_TYPE_APPLICATION_DATA, 0xFE, 0xFD, 0, 1};
    for (size_t i = 0; i < 6; i++)
        record[5 + i] = (uint8_t)(seq >> (8 * (5 - i)));
    record[12] = 40;
    sim_inject(&sim, 1, &client->path, record, sizeof record, after_us);
}

/* A spoofer gets through to the key only so often a second, and never as long as the owner of the
 * address sends within reach of what was expected. */
static void forgeries_cost_little_and_end_nothing(void **state)
{
    (void)state;
    prepare(1);
    options.config.trials_per_second = 10;
    options.config.forgeries_max = 1000;
    sim_open(&sim, &options);
    struct sim_client *client = sim_add_open(&sim, &plan);
    for (uint64_t i = 0; i < 20000; i++)
        forge(client, 100000 + i, 500 * i);
    uint64_t sent = 0;
    for (int i = 0; i < 10; i++) {
        sim_run(&sim, sim.now_us + SECOND);
        sim_send(client, "genuine", 7);
        sent += 7;
    }
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(client->extra_up_len, sent);
    assert_false(client->is_ended);
    assert_true(drops(HF_DROP_UNAUTHENTIC) <= 20 + 10 * 11);
    assert_int_equal(drops(HF_DROP_UNAUTHENTIC) + drops(HF_DROP_TRIAL_RATE), 20000);
    sim_close(&sim);
}

static void the_forgery_budget_ends_an_association(void **state)
{
    (void)state;
    prepare(1);
    options.config.forgeries_max = 50;
    sim_open(&sim, &options);
    struct sim_client *client = sim_add_open(&sim, &plan);
    uint64_t out = sim_counters(&sim).datagrams_out;
    for (uint64_t i = 0; i < 49; i++)
        forge(client, 2 + i, 100000 * i);
    sim_run(&sim, sim.now_us + 10 * SECOND);
    assert_false(client->is_ended);
    forge(client, 60, 1000);
    sim_run(&sim, sim.now_us + SECOND);
    assert_true(client->is_ended);
    assert_int_equal(client->failure.status, HF_E_FORGERY_LIMIT);
    assert_int_equal(client->failure.alert, HF_ALERT_NONE);
    assert_int_equal(sim_counters(&sim).datagrams_out, out); /* silently */
    sim_close(&sim);
}

static struct hf_association *inside(const struct sim_client *client)
{
    struct hf_association *association = hf_association_find(sim.engine, client->id);
    assert_non_null(association);
    return association;
}

static void record_numbers_run_out(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        sim_open(&sim, &options);
        struct sim_client *client = sim_add_open(&sim, &plan);
        uint64_t epoch = (uint64_t)listener_index << 48;
        uint64_t near = HF_RECORDS_PER_KEY_MAX - 3;
        inside(client)->write_seq = epoch | near;
        client->peer.receive_seq = near; /* TLS counts for itself; DTLS reads the number */
        struct hf_bytes text = {(const uint8_t *)"text", 4};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(hf_engine_send(sim.engine, client->id, text), HF_OK);
            sim_bytes_add(&client->down, text.data, text.len);
        }
        assert_int_equal(inside(client)->write_seq, epoch | HF_RECORDS_PER_KEY_MAX);
        sim_run(&sim, sim.now_us + SECOND);
        assert_int_equal(client->peer.counters.data_in_len, 12);
        uint64_t out = sim_counters(&sim).records_out;
        hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
        assert_int_equal(hf_engine_send(sim.engine, client->id, text), HF_E_SEQUENCE_LIMIT);
        hf_engine_end_turn(sim.engine);
        sim_run(&sim, sim.now_us + SECOND);
        assert_true(client->is_ended); /* no number is used twice, not even to say goodbye */
        assert_int_equal(client->failure.status, HF_E_SEQUENCE_LIMIT);
        assert_int_equal(sim_counters(&sim).records_out, out);
        sim_close(&sim);
    }
}

static void a_stream_ends_when_its_numbers_do(void **state)
{
    (void)state;
    prepare(0);
    sim_open(&sim, &options);
    struct sim_client *client = sim_add_open(&sim, &plan);
    inside(client)->read_seq = HF_RECORDS_PER_KEY_MAX - 1;
    client->peer.send_seq[1] = HF_RECORDS_PER_KEY_MAX - 1;
    sim_send(client, "last", 4);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(client->up_got.len, 4);
    assert_false(client->is_ended);
    sim_send(client, "one more", 8);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(client->up_got.len, 4);
    assert_true(client->is_ended);
    assert_int_equal(client->failure.status, HF_E_SEQUENCE_LIMIT);
    sim_close(&sim);
}

/* The last numbers of an epoch are as good as any (RFC 6347 4.1), and do not wrap. */
static void the_window_reaches_the_last_number(void **state)
{
    (void)state;
    prepare(1);
    sim_open(&sim, &options);
    struct sim_client *client = sim_add_open(&sim, &plan);
    client->peer.send_seq[1] = HF_DATAGRAM_SEQ_MAX - 1;
    sim_send(client, "last but one", 12);
    sim_run(&sim, sim.now_us + SECOND);
    sim_send(client, "last", 4);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(client->extra_up_len, 16);
    assert_int_equal(inside(client)->read_seq, HF_DATAGRAM_SEQ_MAX);
    client->peer.send_seq[1] = 5; /* what was never used is too old now */
    sim_send(client, "old", 3);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(client->extra_up_len, 16);
    assert_int_equal(drops(HF_DROP_REPLAY), 1);
    sim_close(&sim);
}

static void say_nothing(struct sim_client *client, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        struct psk_client_record record = {.type = HF_TYPE_APPLICATION_DATA,
                                           .epoch = 1,
                                           .seq = PSK_CLIENT_SEQ_NEXT,
                                           .is_protected = true,
                                           .payload = {NULL, 0}};
        sim_send_record(client, &record);
        sim_run(&sim, sim.now_us + 50000); /* one by one: datagrams must not overtake */
    }
}

static void nonsense_in_a_row_is_limited(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        sim_open(&sim, &options);
        struct sim_client *client = sim_add_open(&sim, &plan);
        say_nothing(client, 40);
        assert_false(client->is_ended);
        sim_send(client, "sense", 5);
        sim_run(&sim, sim.now_us + SECOND);
        say_nothing(client, 40);
        assert_false(client->is_ended);
        say_nothing(client, 1);
        assert_true(client->is_ended);
        assert_int_equal(client->failure.status, HF_E_WARNING_FLOOD);
        sim_close(&sim);
    }
}

static void local_addresses_are_few(void **state)
{
    (void)state;
    prepare(1);
    options.config.local_addresses_max = 2;
    sim_open(&sim, &options);
    for (uint8_t i = 0; i < 3; i++) {
        plan.path = path_from(i, 4000);
        plan.path.local.ip[15] = i;
        struct sim_client *client = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_int_equal(sim_is_open(client), i < 2);
    }
    assert_true(drops(HF_DROP_LOCAL_ADDRESS) > 0);
    sim_close(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_open_handshakes_are_capped),
        cmocka_unit_test(spoiled_handshakes_are_sacrificed_first),
        cmocka_unit_test(a_prefix_is_limited_only_under_pressure),
        cmocka_unit_test(associations_are_capped),
        cmocka_unit_test(forgeries_cost_little_and_end_nothing),
        cmocka_unit_test(the_forgery_budget_ends_an_association),
        cmocka_unit_test(record_numbers_run_out),
        cmocka_unit_test(a_stream_ends_when_its_numbers_do),
        cmocka_unit_test(the_window_reaches_the_last_number),
        cmocka_unit_test(nonsense_in_a_row_is_limited),
        cmocka_unit_test(local_addresses_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
