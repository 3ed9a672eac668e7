/**
 * flow_quota_test.c - shares of authorities, limits that change under a running engine, and records
 * that rest before their tenants' names repeat. Whoever is over his share is refused; the other
 * authority notices nothing.
 */
#include "simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND UINT64_C(1000000)

static struct sim sim;
static struct sim_options options;
static struct sim_plan plan;
static struct hf_quota quotas[2];

/* The listener's quota is number 1, so that a mix-up of indices would show. */
static void prepare(uint32_t listener_index)
{
    memset(quotas, 0, sizeof quotas);
    sim_options_init(&options, 47);
    options.may_fail = true;
    options.config.quota_count = 2;
    options.config.quotas = quotas;
    options.listeners[listener_index].quota_index = 1;
    sim_plan_init(&plan, listener_index);
}

static struct hf_quota_counters used(uint32_t index)
{
    return sim_counters(&sim).quotas[index];
}

static void assert_refused(const struct sim_client *client, uint64_t drops_before)
{
    assert_false(client->is_established);
    if (client->plan.listener_index == 0)
        assert_int_equal(client->failure.status, HF_E_AUTHORITY_LIMIT);
    else
        assert_true(sim_counters(&sim).drops[HF_DROP_AUTHORITY_LIMIT] > drops_before);
}

static void associations_of_an_authority_are_capped(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        quotas[1].associations_max = 2;
        sim_open(&sim, &options);
        struct sim_client *first = sim_add_open(&sim, &plan);
        sim_add_open(&sim, &plan);
        assert_int_equal(used(1).associations, 2);
        struct sim_client *refused = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_refused(refused, 0);
        assert_true(used(1).refused_associations > 0);
        assert_int_equal(used(0).associations, 0);
        struct sim_plan other = plan; /* the other listener is the other authority's */
        other.listener_index = !listener_index;
        sim_plan_init(&other, !listener_index);
        for (int i = 0; i < 4; i++)
            sim_add_open(&sim, &other);
        assert_int_equal(used(0).associations, 4);
        sim_close_client(first, HF_CLOSE_SILENT);
        sim_run(&sim, sim.now_us + 3 * SECOND);
        if (listener_index == 1)
            assert_true(sim_is_open(refused)); /* its hello was repeated */
        else
            sim_add_open(&sim, &plan);
        assert_int_equal(used(1).associations, 2);
        sim_close(&sim);
    }
}

static void half_open_handshakes_of_an_authority_are_capped(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        quotas[1].handshakes_max = 2;
        sim_open(&sim, &options);
        plan.key_schedule = SIM_BY_HAND;
        struct sim_client *parked[2];
        for (size_t i = 0; i < 2; i++)
            parked[i] = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND);
        assert_int_equal(used(1).handshakes, 2);
        plan.key_schedule = SIM_NOW;
        struct sim_client *refused = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_refused(refused, 0);
        assert_true(used(1).refused_handshakes > 0);
        for (uint32_t i = 0; i < 2; i++)
            sim_answer_later(parked[i], 0, 1 + i);
        sim_run(&sim, sim.now_us + 5 * SECOND);
        assert_int_equal(used(1).handshakes, 0);
        sim_add_open(&sim, &plan); /* established ones do not count here */
        sim_close(&sim);
    }
}

static void a_rate_is_kept_and_earned_back(void **state)
{
    (void)state;
    prepare(0);
    quotas[1].handshakes_per_second = 5;
    sim_open(&sim, &options);
    uint32_t open_count = 0;
    for (int i = 0; i < 30; i++) {
        struct sim_client *client = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + 10000);
        (void)client;
    }
    sim_run(&sim, sim.now_us + SECOND / 2);
    for (uint32_t i = 0; i < sim.client_count; i++)
        open_count += sim.clients[i]->is_established;
    assert_in_range(open_count, 10, 12); /* the burst, and what 0.3 s earn */
    assert_int_equal(used(1).refused_rate, 30 - open_count);
    sim_run(&sim, sim.now_us + 3 * SECOND);
    for (int i = 0; i < 10; i++)
        sim_add_open(&sim, &plan);
    sim_close(&sim);
}

/* A client that lost its memory is no additional one. */
static void a_rebooted_client_is_let_in(void **state)
{
    (void)state;
    prepare(1);
    quotas[1].associations_max = 1;
    sim_open(&sim, &options);
    struct sim_client *first = sim_add_open(&sim, &plan);
    plan.path = first->path;
    first->is_gone = true;
    struct sim_client *again = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 2 * SECOND);
    assert_true(sim_is_open(again));
    assert_int_equal(used(1).associations, 1);
    sim_close(&sim);
}

static void an_update_counts_at_once(void **state)
{
    (void)state;
    prepare(1);
    quotas[1].associations_max = 1;
    sim_open(&sim, &options);
    struct sim_client *first = sim_add_open(&sim, &plan);
    struct sim_client *refused = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND / 2);
    assert_refused(refused, 0);
    struct hf_config config = sim.options.config;
    config.quota_count = 1;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_E_CONFIG);
    sim.options.listeners[1].quota_index = 0;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_E_ARGUMENT);
    sim.options.listeners[1].quota_index = 1;
    config.quota_count = 2;
    config.idle_us_max = 0;
    config.hello_us_max = 0;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_E_CONFIG);
    config.hello_us_max = SECOND;
    quotas[1].associations_max = 2;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_OK);
    sim_run(&sim, sim.now_us + 3 * SECOND);
    assert_true(sim_is_open(refused));
    sim_run(&sim, sim.now_us + 100 * SECOND);
    assert_true(sim_is_open(first));
    config.idle_us_max = 30 * SECOND; /* it had no timer at all until now */
    uint64_t updated_us = sim.now_us;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_OK);
    assert_int_equal(hf_engine_next_us(sim.engine), updated_us);
    sim_run(&sim, sim.now_us + SECOND);
    assert_true(first->is_ended && refused->is_ended);
    assert_int_equal(first->failure.status, HF_E_IDLE_TIMEOUT);
    struct sim_client *third = sim_add_open(&sim, &plan);
    config.idle_us_max = 0;
    assert_int_equal(hf_engine_update_limits(sim.engine, &config), HF_OK);
    sim_run(&sim, sim.now_us + 100 * SECOND);
    assert_true(sim_is_open(third));
    sim_close(&sim);
}

static uint32_t record_of(const struct sim_client *client)
{
    return (uint32_t)(client->id >> 32);
}

/* Tenants of a record follow each other at once until the two low bits are used up - the first has
 * number 1 -, the next only after the rest. */
static void a_record_rests_before_names_repeat(void **state)
{
    (void)state;
    prepare(1);
    options.config.reuse_us_min = 60 * SECOND;
    sim_open(&sim, &options);
    uint32_t records[3];
    uint32_t turns = 0;
    for (size_t i = 0; i < 3; i++) {
        struct sim_client *client = sim_add_open(&sim, &plan);
        records[i] = record_of(client);
        turns |= 1u << (client->id & 3);
        sim_close_client(client, HF_CLOSE_SILENT);
        sim_run(&sim, sim.now_us + SECOND);
    }
    assert_int_equal(records[0], records[1]);
    assert_int_equal(records[0], records[2]);
    assert_int_equal(turns, 0xE);
    struct sim_client *elsewhere = sim_add_open(&sim, &plan);
    assert_int_not_equal(record_of(elsewhere), records[0]);
    sim_run(&sim, sim.now_us + 70 * SECOND);
    struct sim_client *back = sim_add_open(&sim, &plan);
    assert_int_equal(record_of(back), records[0]);
    assert_int_equal(back->id & 3, 0);
    sim_close(&sim);
}

static uint32_t touched_after_failures(uint64_t reuse_us_min)
{
    prepare(1);
    options.config.reuse_us_min = reuse_us_min;
    sim_open(&sim, &options);
    plan.key_kind = HF_ANSWER_UNAVAILABLE;
    for (int i = 0; i < 12; i++) {
        sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + 2 * SECOND);
    }
    uint32_t touched = sim.engine->associations.touched;
    sim_close(&sim);
    return touched;
}

/* Strangers, who never get that far, make no record rest. */
static void failed_handshakes_make_nothing_rest(void **state)
{
    (void)state;
    assert_int_equal(touched_after_failures(3600 * SECOND), touched_after_failures(0));
}

static void a_pool_of_resting_records_is_full(void **state)
{
    (void)state;
    prepare(0);
    options.config.associations_max = 2;
    options.config.handshakes_max = 2;
    options.config.handshakes_pressure = 2;
    options.config.reuse_us_min = 60 * SECOND;
    sim_open(&sim, &options);
    for (int i = 0; i < 6; i++) { /* three tenants each */
        struct sim_client *client = sim_add_open(&sim, &plan);
        sim_close_client(client, HF_CLOSE_SILENT);
        sim_run(&sim, sim.now_us + SECOND / 10);
    }
    struct sim_client *refused = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(refused->failure.status, HF_E_ASSOCIATION_LIMIT);
    sim_run(&sim, sim.now_us + 60 * SECOND);
    sim_add_open(&sim, &plan);
    sim_close(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(associations_of_an_authority_are_capped),
        cmocka_unit_test(half_open_handshakes_of_an_authority_are_capped),
        cmocka_unit_test(a_rate_is_kept_and_earned_back),
        cmocka_unit_test(a_rebooted_client_is_let_in),
        cmocka_unit_test(an_update_counts_at_once),
        cmocka_unit_test(a_record_rests_before_names_repeat),
        cmocka_unit_test(failed_handshakes_make_nothing_rest),
        cmocka_unit_test(a_pool_of_resting_records_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
