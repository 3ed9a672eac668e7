/**
 * flow_certificate_test.c - handshakes with raw public keys and certificates, on both transports,
 * on a network that loses, repeats and reorders, with jobs that come back at once or late: both
 * ends agree, the right ones are refused, and nothing leaks.
 */
#include "simulator.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void one_handshake(uint32_t listener_index, size_t credential_index, bool is_x509,
                          enum hf_status status)
{
    struct sim_options options;
    struct sim sim;
    struct sim_plan plan;
    sim_options_init(&options, 1 + credential_index);
    sim_options_use_certificates(&options);
    sim_open(&sim, &options);
    sim_plan_init(&plan, listener_index);
    sim_plan_use_certificate(&plan, credential_index, is_x509);
    plan.up_count = plan.down_count = 2;
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 3000000);
    assert_int_equal(sim_is_open(client), status == HF_OK);
    assert_int_equal(client->failure.status, status);
    if (status != HF_OK)
        assert_int_equal(client->failure.alert, hf_status_alert(status));
    sim_close(&sim);
}

static void every_credential_gets_its_due(void **state)
{
    (void)state;
    for (uint32_t turn = 0; turn < 4; turn++) {
        uint32_t listener_index = turn / 2;
        bool is_x509 = turn % 2;
        for (size_t i = 0; i < WORLD_UNKNOWN; i++)
            one_handshake(listener_index, i, is_x509, HF_OK);
        one_handshake(listener_index, WORLD_UNKNOWN, is_x509,
                      is_x509 ? HF_E_CERTIFICATE_SELF_SIGNED : HF_E_RAW_KEY_UNKNOWN);
        one_handshake(listener_index, WORLD_CLIENTS, is_x509, HF_E_NO_CERTIFICATE);
    }
}

static void draw_plan(struct sim *sim, struct sim_plan *plan)
{
    uint32_t listener_index = (uint32_t)sim_below(sim, 2);
    sim_plan_init(plan, listener_index);
    plan->start_us = sim_below(sim, 2000000);
    plan->config.extended_master_secret = sim_chance(sim, 700000);
    plan->config.is_one_record_per_datagram = sim_chance(sim, 500000);
    plan->chunks = (enum sim_chunks)sim_below(sim, listener_index ? 2 : 3);
    plan->up_count = (uint32_t)sim_below(sim, 4);
    plan->down_count = (uint32_t)sim_below(sim, 4);
    plan->ending = (enum sim_ending)sim_below(sim, 6);
    plan->identity_schedule = (enum sim_schedule)sim_below(sim, 4);
    if (sim_chance(sim, 800000))
        sim_plan_use_certificate(plan, (size_t)sim_below(sim, WORLD_CLIENTS + 1),
                                 sim_chance(sim, 500000));
}

static void run_seed(uint64_t seed)
{
    struct sim_options options;
    struct sim sim;
    sim_options_init(&options, seed);
    sim_options_use_certificates(&options);
    options.is_lossy = seed % 2;
    options.job_delay_ppm = seed % 3 == 0 ? 300000 : 0;
    options.config.handshake_us_max = 150000000;
    options.config.cookie_us_max = UINT64_C(3600000000);
    options.network.reorder_us = 150000;
    if (options.is_lossy) {
        options.network.loss_ppm = 100000;
        options.network.duplicate_ppm = 100000;
        options.network.reorder_ppm = 200000;
    }
    if (seed % 5 == 0)
        options.listeners[1].datagram_len_max = 256;
    sim_open(&sim, &options);
    for (int i = 0; i < 12; i++) {
        struct sim_plan plan;
        draw_plan(&sim, &plan);
        sim_add(&sim, &plan);
    }
    sim_run(&sim, sim.now_us + 200000000);
    sim_close(&sim);
}

static void many_at_once_on_a_bad_network(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        run_seed(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_credential_gets_its_due),
        cmocka_unit_test(many_at_once_on_a_bad_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
