/**
 * flow_restart_test.c - a client that lost its memory begins again from the same address while the
 * server still has its association (RFC 6347 4.2.8): the old one works until the new one stands,
 * nothing short of that ends it, and cookies whose secret changed in between do no harm.
 */
#include "simulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct sim sim;
static struct sim_options options;

/* ClientHellos seen on their way up, and what may go down. */
static struct {
    uint8_t hellos[8][512];
    size_t lens[8];
    size_t count;
    uint64_t deaf_until_us;
    uint32_t lost_index; /* of whose key exchange the first is lost; 0: nobody's */
} wire;

static bool tap(struct sim_client *client, bool is_up, const uint8_t *data, size_t len, void *arg)
{
    (void)arg;
    bool is_hello = len > 13 && data[0] == HF_TYPE_HANDSHAKE && data[13] == HF_MESSAGE_CLIENT_HELLO;
    if (is_up && is_hello && wire.count < 8 && len <= sizeof wire.hellos[0]) {
        memcpy(wire.hellos[wire.count], data, len);
        wire.lens[wire.count++] = len;
    }
    bool is_exchange =
        len > 13 && data[0] == HF_TYPE_HANDSHAKE && data[13] == HF_MESSAGE_CLIENT_KEY_EXCHANGE;
    if (is_up && is_exchange && client->index == wire.lost_index && wire.lost_index > 0) {
        wire.lost_index = 0;
        return true;
    }
    return !is_up && client->sim->now_us < wire.deaf_until_us;
}

static void open_world(void)
{
    memset(&wire, 0, sizeof wire);
    sim_options_init(&options, 11);
    options.filter = tap;
    options.may_fail = true;
}

static uint64_t heard_from(struct sim_client *client)
{
    uint64_t before = client->extra_up_len;
    sim_send(client, "ping", 4);
    sim_run(&sim, sim.now_us + 100000);
    return client->extra_up_len - before;
}

static bool reaches(struct sim_client *client)
{
    static const uint8_t text[] = "pong";
    uint64_t before = client->peer.counters.data_in_len;
    enum hf_status status =
        hf_engine_send(sim.engine, client->id, (struct hf_bytes){text, sizeof text});
    assert_int_equal(status, HF_OK);
    sim_run(&sim, sim.now_us + 100000);
    return client->peer.counters.data_in_len == before + sizeof text;
}

static struct sim_plan reboot_of(const struct sim_client *client)
{
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    plan.path = client->path;
    return plan;
}

static void the_old_one_works_until_the_new_one_stands(void **state)
{
    (void)state;
    open_world();
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *old = sim_add_open(&sim, &plan);
    hf_association_id old_id = old->id;
    plan = reboot_of(old);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *new = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 500000);
    assert_int_equal(new->request_count, 1);
    assert_int_equal(sim_counters(&sim).handshakes_open, 1);
    assert_int_equal(heard_from(old), 4); /* both ways, with the new one half-open */
    assert_true(reaches(old));
    sim_answer_later(new, 0, 1);
    sim_run(&sim, sim.now_us + 3000000);
    assert_true(sim_is_open(new));
    assert_true(old->is_ended);
    assert_int_equal(old->failure.status, HF_E_SUPERSEDED);
    assert_int_equal(sim_counters(&sim).restarts, 1);
    assert_int_equal(sim_counters(&sim).associations, 1);
    assert_int_equal(heard_from(new), 4);
    assert_true(reaches(new));
    assert_int_equal(heard_from(old), 0);
    struct hf_association_info info;
    enum hf_status status = hf_engine_association_info(&info, sim.engine, old_id);
    assert_int_equal(status, HF_E_STALE);
    sim_close(&sim);
}

static void spoofed_hellos_end_nothing(void **state)
{
    (void)state;
    open_world();
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *client = sim_add_open(&sim, &plan);
    assert_int_equal(wire.count, 2);
    struct hf_counters before = sim_counters(&sim);
    for (int i = 0; i < 200; i++) {
        uint8_t hello[512];
        size_t len = wire.lens[i % 2];
        memcpy(hello, wire.hellos[i % 2], len);
        if (i % 4 > 1) /* another random: the cookie no longer fits */
            hello[13 + 12 + 2 + 5] ^= (uint8_t)(1 + i);
        if (i % 3 == 0)
            len -= 1 + (size_t)i % 60;
        sim_inject(&sim, 1, &client->path, hello, len, 1000);
        sim_run(&sim, sim.now_us + 2000);
    }
    struct hf_counters after = sim_counters(&sim);
    assert_int_equal(after.handshakes_open, 0);
    assert_true(after.datagrams_out - before.datagrams_out <= 200);
    assert_int_equal(heard_from(client), 4);
    assert_true(reaches(client));
    assert_false(client->is_ended);
    sim_close(&sim);
}

static void a_restart_that_fails_leaves_the_old_one(void **state)
{
    (void)state;
    open_world();
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *old = sim_add_open(&sim, &plan);
    plan = reboot_of(old);
    plan.key_schedule = SIM_NEVER;
    struct sim_client *first = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 40000000);
    assert_true(first->is_ended && !first->is_established);
    assert_int_equal(first->failure.status, HF_E_SOURCE_TIMEOUT);
    assert_int_equal(heard_from(old), 4);
    plan.key_schedule = SIM_NOW;
    plan.is_key_wrong = true;
    struct sim_client *second = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 500000);
    assert_false(second->is_established);
    assert_int_equal(heard_from(old), 4);
    second->is_gone = true;
    sim_run(&sim, sim.now_us + 1000000);
    plan.is_key_wrong = false; /* third time: takes the place of the second, then of the old */
    struct sim_client *third = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 3000000);
    assert_true(sim_is_open(third));
    assert_true(second->is_ended && old->is_ended);
    assert_int_equal(second->failure.status, HF_E_SUPERSEDED);
    assert_int_equal(old->failure.status, HF_E_SUPERSEDED);
    assert_int_equal(heard_from(third), 4);
    sim_close(&sim);
}

static void the_old_one_may_end_meanwhile(void **state)
{
    (void)state;
    open_world();
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *old = sim_add_open(&sim, &plan);
    plan = reboot_of(old);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *new = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 500000);
    sim_close_client(old, HF_CLOSE_SILENT);
    sim_run(&sim, sim.now_us + 100000);
    assert_true(old->is_ended);
    assert_int_equal(old->failure.status, HF_E_CLOSED_LOCALLY);
    sim_answer_later(new, 0, 1);
    sim_run(&sim, sim.now_us + 3000000);
    assert_true(sim_is_open(new));
    assert_int_equal(sim_counters(&sim).restarts, 0);
    assert_int_equal(heard_from(new), 4);
    sim_close(&sim);
}

/* Garbage in the name of the address has used up the old association's trial decryptions. */
static void a_flood_of_garbage_does_not_keep_a_client_out(void **state)
{
    (void)state;
    open_world();
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *old = sim_add_open(&sim, &plan);
    plan = reboot_of(old);
    struct sim_client *new = sim_add(&sim, &plan);
    wire.lost_index = new->index; /* sent again, its Finished has a number the old one never saw */
    for (uint64_t i = 0; i < 3000; i++) {
        uint8_t garbage[13 + 40] = {HF_TYPE_APPLICATION_DATA, 0xFE, 0xFD, 0, 1};
        garbage[10] = (uint8_t)(1 + i % 60); /* near what it expects: tried to the last */
        garbage[12] = 40;
        sim_inject(&sim, 1, &old->path, garbage, sizeof garbage, 1000 + i * 1000);
    }
    sim_run(&sim, sim.now_us + 2900000);
    assert_true(sim_counters(&sim).drops[HF_DROP_TRIAL_RATE] > 0);
    assert_true(sim_is_open(new));
    sim_run(&sim, sim.now_us + 3000000);
    assert_int_equal(heard_from(new), 4);
    sim_close(&sim);
}

/* The client's second hello is accepted, but it hears nothing until its cookie has expired; the
 * HelloVerifyRequest it gets then makes it begin its transcript anew, and so must the server. */
static void a_second_cookie_begins_the_handshake_anew(void **state)
{
    (void)state;
    open_world();
    options.config.cookie_us_max = 3000000;
    options.config.retransmit_us_initial = 50000000;
    sim_open(&sim, &options);
    struct sim_plan plan;
    sim_plan_init(&plan, 1);
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 35000); /* until the first HelloVerifyRequest is on its way */
    wire.deaf_until_us = sim.now_us + 8000000;
    sim_run(&sim, sim.now_us + 30000000);
    assert_int_equal(client->peer.counters.hello_verify_requests, 2);
    assert_true(sim_is_open(client));
    assert_int_equal(sim_counters(&sim).handshakes[HF_E_SUPERSEDED], 1);
    assert_int_equal(heard_from(client), 4);
    sim_close(&sim);
}

/* A hello of several fragments is put together whatever their order, once its front is here. */
static void fragments_of_a_hello_may_overtake_its_front(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        open_world();
        options.seed = seed;
        options.network.delay_us_max = 900000;
        sim_open(&sim, &options);
        struct sim_plan plan;
        sim_plan_init(&plan, 1);
        plan.config.grease_and_13 = true;
        plan.config.padding_len = 500;
        plan.config.is_one_record_per_datagram = true;
        plan.config.fragment_len_max = 90;
        struct sim_client *client = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + 40000000);
        SIM_CHECK(&sim, sim_is_open(client));
        sim_close(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_old_one_works_until_the_new_one_stands),
        cmocka_unit_test(spoofed_hellos_end_nothing),
        cmocka_unit_test(a_restart_that_fails_leaves_the_old_one),
        cmocka_unit_test(the_old_one_may_end_meanwhile),
        cmocka_unit_test(a_flood_of_garbage_does_not_keep_a_client_out),
        cmocka_unit_test(a_second_cookie_begins_the_handshake_anew),
        cmocka_unit_test(fragments_of_a_hello_may_overtake_its_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
