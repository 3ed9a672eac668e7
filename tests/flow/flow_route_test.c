/**
 * flow_route_test.c - clients with connection IDs behind a NAT that moves them, again and again,
 * over a network that loses, repeats and reorders: nobody needs a second handshake, and in the end
 * every association is where its client is (RFC 9146 6, RFC 9853).
 */
#include "simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CLIENTS 8
#define ROUNDS 30

static struct sim sim;
static uint8_t own_cid[HF_CID_LEN_MAX] = {1, 2, 3, 4, 5, 6, 7};

static struct sim_client *add(uint64_t seed, uint32_t number, bool has_check)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256};
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    plan.config.suites[0] = suites[(seed + number) % 3];
    plan.config.suite_count = 1;
    plan.config.encrypt_then_mac = seed & 1;
    plan.config.connection_id = true;
    plan.config.return_routability = has_check;
    plan.config.cid = (struct hf_bytes){own_cid, (seed * 5 + number) % 33};
    plan.config.cid_padding = (uint8_t)(number % 4);
    plan.ending = SIM_END_NONE;
    return sim_add(&sim, &plan);
}

static void rebind(struct sim_client *client)
{
    static uint16_t port = 1;
    port = port == UINT16_MAX ? 1 : (uint16_t)(port + 1);
    client->path.peer.port = port;
}

static bool is_home(const struct sim_client *client)
{
    struct hf_association_info info;
    return hf_engine_association_info(&info, sim.engine, client->id) == HF_OK &&
           memcmp(&info.path.peer, &client->path.peer, sizeof info.path.peer) == 0;
}

static bool reaches(struct sim_client *client)
{
    static const uint8_t text[] = "pong";
    uint64_t before = client->peer.counters.data_in_len;
    if (hf_engine_send(sim.engine, client->id, (struct hf_bytes){text, sizeof text}) != HF_OK)
        return false;
    sim_run(&sim, sim.now_us + 100000);
    return client->peer.counters.data_in_len > before;
}

/* Rebinds at random while all talk; then the network is a good one. */
static void one_world(uint64_t seed, bool has_check, enum hf_path_policy policy)
{
    struct sim_options options;
    struct sim_client *clients[CLIENTS];
    sim_options_init(&options, seed);
    options.network.loss_ppm = 100000;
    options.network.duplicate_ppm = 50000;
    options.network.reorder_ppm = 100000;
    options.network.reorder_us = 200000;
    options.is_lossy = true;
    options.config.path_policy = policy;
    options.config.path_check = seed & 2 ? HF_PATH_CHECK_BASIC : HF_PATH_CHECK_ENHANCED;
    sim_open(&sim, &options);
    for (uint32_t i = 0; i < CLIENTS; i++)
        clients[i] = add(seed, i, has_check);
    sim_run(&sim, sim.now_us + 50000000);
    for (uint32_t i = 0; i < CLIENTS; i++)
        SIM_CHECK(&sim, sim_is_open(clients[i]));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct sim_client *client = clients[sim_below(&sim, CLIENTS)];
        if (sim_chance(&sim, 600000))
            rebind(client);
        sim_send(client, "a reading", 9);
        sim_run(&sim, sim.now_us + 1 + sim_below(&sim, 2500000));
    }
    sim.options.network.loss_ppm = sim.options.network.reorder_ppm = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        sim_run(&sim, sim.now_us + 6000000); /* a check that is under way comes to its end */
        sim_send(clients[i], "a reading", 9);
        sim_run(&sim, sim.now_us + 3000000);
        bool is_fixed = !has_check && policy == HF_PATH_FIXED;
        SIM_CHECK(&sim, is_fixed || (is_home(clients[i]) && reaches(clients[i])));
    }
    struct hf_counters counters = sim_counters(&sim);
    SIM_CHECK(&sim, counters.handshakes[HF_OK] == CLIENTS && counters.restarts == 0);
    SIM_CHECK(&sim, counters.cids == CLIENTS && counters.associations == CLIENTS);
    SIM_CHECK(&sim, has_check ? counters.paths_checked > 0 : counters.paths_checked == 0);
    sim_close(&sim);
}

static void nobody_needs_a_second_handshake(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        one_world(seed, true, HF_PATH_BOUNDED);
}

static void nor_do_those_who_cannot_be_asked(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        one_world(seed, false, (enum hf_path_policy)(seed % 3));
}

static void checks_take_their_row(void **state)
{
    size_t count;
    uint64_t taken = 0;
    const struct hf_row *rows = hf_machine_rows(&count);
    (void)state;
    for (size_t i = 0; i < count; i++)
        taken += rows[i].event == HF_MACHINE_ROUTE ? sim_coverage_taken(i) : 0;
    assert_true(taken > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_needs_a_second_handshake),
        cmocka_unit_test(nor_do_those_who_cannot_be_asked),
        cmocka_unit_test(checks_take_their_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
