/**
 * flow_timer_test.c - what happens for lack of an answer: flights sent again at the times RFC 6347
 * 4.2.4.1 and RFC 7925 11 give, final flights made again from the cold record, and every deadline,
 * each to the tick.
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

static struct {
    uint64_t down_us[64]; /* when datagrams left the engine */
    size_t down_count;
    uint32_t lose_up_type; /* handshake messages of this type do not arrive */
    uint32_t lose_final;   /* so many of the server's last flights do not arrive */
    size_t data_count;
} wire;

static bool tap(struct sim_client *client, bool is_up, const uint8_t *data, size_t len, void *arg)
{
    (void)arg;
    if (!is_up) {
        if (wire.down_count < 64)
            wire.down_us[wire.down_count++] = client->sim->now_us;
        if (data[0] == HF_TYPE_CHANGE_CIPHER_SPEC && wire.lose_final > 0) {
            wire.lose_final--;
            return true;
        }
        return false;
    }
    return len > 13 && data[0] == HF_TYPE_HANDSHAKE && wire.lose_up_type != 0 &&
           data[13] == wire.lose_up_type;
}

static void prepare(uint32_t listener_index)
{
    memset(&wire, 0, sizeof wire);
    sim_options_init(&options, 23);
    options.filter = tap;
    options.may_fail = true;
    sim_plan_init(&plan, listener_index);
}

/** Tells whether something due at `due_us` happened then: never early, at most a tick late. */
static bool is_on_time(uint64_t at_us, uint64_t due_us)
{
    return at_us >= due_us && at_us <= due_us + HF_TICK_US;
}

static void check_schedule(const uint64_t *seconds, size_t count)
{
    sim_open(&sim, &options);
    wire.lose_up_type = HF_MESSAGE_CLIENT_KEY_EXCHANGE;
    plan.config.retransmit_us_initial = 4000 * SECOND; /* the client keeps still */
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 100000);
    assert_int_equal(wire.down_count, 2); /* HelloVerifyRequest, ServerHello .. ServerHelloDone */
    uint64_t last_us = wire.down_us[1];
    sim_run(&sim, sim.now_us + 2000 * SECOND);
    assert_int_equal(wire.down_count, 2 + count);
    for (size_t i = 0; i < count; i++) {
        assert_true(is_on_time(wire.down_us[2 + i], last_us + seconds[i] * SECOND));
        last_us = wire.down_us[2 + i];
    }
    assert_int_equal(sim_counters(&sim).retransmissions, count);
    assert_true(client->is_ended);
    assert_int_equal(client->failure.status, HF_E_HANDSHAKE_TIMEOUT);
    assert_true(is_on_time(client->ended_us, wire.down_us[1] + options.config.handshake_us_max));
    sim_close(&sim);
}

static void flights_are_sent_again_doubling(void **state)
{
    (void)state;
    static const uint64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    prepare(1);
    options.config.handshake_us_max = 250 * SECOND;
    check_schedule(seconds, sizeof seconds / sizeof seconds[0]);
}

static void constrained_networks_wait_longer(void **state)
{
    (void)state;
    static const uint64_t seconds[] = {9, 18, 36};
    prepare(1);
    hf_config_use_constrained_timers(&options.config);
    check_schedule(seconds, sizeof seconds / sizeof seconds[0]);
}

/* TLS lets TCP do that. */
static void streams_are_not_sent_again(void **state)
{
    (void)state;
    prepare(0);
    sim_open(&sim, &options);
    plan.key_schedule = SIM_BY_HAND;
    sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 20 * SECOND);
    assert_int_equal(wire.down_count, 1);
    sim_close(&sim);
}

static void nothing_is_sent_again_while_parked(void **state)
{
    (void)state;
    prepare(1);
    options.config.answer_us_max = 50 * SECOND;
    sim_open(&sim, &options);
    plan.key_schedule = SIM_BY_HAND;
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 40 * SECOND);
    assert_int_equal(wire.down_count, 2);
    assert_true(client->peer.counters.retransmissions >= 4); /* they changed nothing */
    assert_int_equal(client->request_count, 1);
    assert_int_equal(sim_counters(&sim).parked, 1);
    sim_answer_later(client, 0, 1);
    sim_run(&sim, sim.now_us + 40 * SECOND);
    assert_true(sim_is_open(client));
    sim_close(&sim);
}

/* The handshake slot is long gone; each repeat of the client's flight gets one answer. */
static void the_final_flight_is_made_again(void **state)
{
    (void)state;
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_CCM_8};
    for (size_t i = 0; i < 8; i++) {
        prepare(1);
        plan.config.suites[0] = suites[i % 4];
        plan.config.encrypt_then_mac = i >= 4;
        plan.config.is_one_record_per_datagram = i % 2;
        plan.identity_follows = i % 3 == 0;
        wire.lose_final = 4;
        sim_open(&sim, &options);
        struct sim_client *client = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + SECOND / 2);
        assert_true(client->is_established && !client->peer.is_complete);
        struct hf_counters counters = sim_counters(&sim);
        assert_int_equal(counters.handshakes_open, 0);
        assert_int_equal(counters.final_flights_again, 0);
        sim_run(&sim, sim.now_us + 40 * SECOND);
        assert_true(sim_is_open(client));
        counters = sim_counters(&sim);
        assert_int_equal(counters.final_flights_again, 4);
        assert_int_equal(counters.handshakes[HF_OK], 1);
        assert_int_equal(client->peer.counters.bad_records, 0);
        sim_send(client, "after", 5); /* numbers went on, the window was kept */
        sim_run(&sim, sim.now_us + SECOND);
        assert_int_equal(client->extra_up_len, 5);
        sim_close(&sim);
    }
}

static struct sim_client *ended_client(uint64_t run_us)
{
    sim_open(&sim, &options);
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + run_us);
    assert_true(client->is_ended);
    return client;
}

static void a_key_source_has_its_time_and_no_more(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        prepare(i % 2);
        options.config.answer_us_max = 7 * SECOND + 123456;
        plan.key_schedule = i < 2 ? SIM_NEVER : SIM_NOW;
        plan.identity_schedule = SIM_NEVER;
        plan.identity_follows = true;
        struct sim_client *client = ended_client(30 * SECOND);
        const struct sim_request *request = &client->requests[i < 2 ? 0 : 1];
        assert_int_equal(client->failure.status, HF_E_SOURCE_TIMEOUT);
        assert_string_equal(client->failure.state, i < 2 ? "SV_AWAIT_KEY" : "SV_AWAIT_IDENTITY");
        assert_int_equal(request->state, SIM_CANCELLED);
        assert_true(is_on_time(request->ended_us, request->asked_us + 7 * SECOND + 123456));
        assert_int_equal(client->ended_us, request->ended_us);
        sim_answer(client, &client->requests[i < 2 ? 0 : 1]); /* checks that it is stale */
        assert_int_equal(sim_counters(&sim).answers_stale, 1);
        sim_close(&sim);
    }
}

static void a_connection_must_say_hello(void **state)
{
    (void)state;
    prepare(0);
    options.config.hello_us_max = 3 * SECOND + 5000;
    sim_open(&sim, &options);
    hf_association_id id;
    struct hf_path path = {.peer = {.port = 9}, .local = {.port = 5684}};
    uint8_t hello[] = {22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};
    uint64_t begun_us = sim.now_us + 1, ended_us = 0;
    struct hf_event event;
    for (uint64_t i = 0; ended_us == 0 && i < 20; i++) { /* a byte every 300 ms does not help */
        hf_engine_begin_turn(sim.engine, begun_us + i * 300000, SIM_WALL_S);
        if (i == 0) {
            enum hf_status status = hf_engine_accept(&id, sim.engine, 0, &path, 5);
            assert_int_equal(status, HF_OK);
        }
        size_t consumed;
        uint8_t *byte = malloc(1);
        assert_non_null(byte);
        *byte = hello[i < sizeof hello ? i : sizeof hello - 1];
        hf_engine_receive_stream(sim.engine, &consumed, id, byte, 1);
        hf_engine_end_turn(sim.engine);
        while (hf_engine_take_event(sim.engine, &event)) {
            assert_int_equal(event.failure.status, HF_E_HELLO_TIMEOUT);
            ended_us = begun_us + i * 300000;
        }
        free(byte);
    }
    assert_true(ended_us >= begun_us + options.config.hello_us_max);
    assert_true(ended_us <= begun_us + options.config.hello_us_max + 300000 + HF_TICK_US);
    sim.now_us = ended_us;
    sim_close(&sim);
}

static void a_record_begun_must_be_ended(void **state)
{
    (void)state;
    prepare(0);
    options.config.record_us_max = 2 * SECOND;
    sim_open(&sim, &options);
    struct sim_client *slow = sim_add_open(&sim, &plan);
    struct sim_client *idle = sim_add_open(&sim, &plan);
    const uint8_t half[] = {23, 3, 3, 0, 64, 1, 2, 3};
    for (size_t i = 0; i < sizeof half; i++) { /* bytes that trickle in do not renew it */
        sim_bytes_up(slow, half + i, 1);
        sim_run(&sim, sim.now_us + SECOND / 5);
    }
    uint64_t begun_us = slow->heard_us - 7 * (SECOND / 5);
    assert_false(slow->is_ended);
    assert_int_equal(sim_counters(&sim).stream_buffers, 1);
    sim_run(&sim, sim.now_us + 3 * SECOND);
    assert_true(slow->is_ended);
    assert_int_equal(slow->failure.status, HF_E_RECORD_TIMEOUT);
    assert_true(slow->ended_us >= begun_us + 2 * SECOND - HF_TICK_US);
    assert_true(slow->ended_us <= begun_us + 2 * SECOND + 3 * HF_TICK_US + 20000);
    assert_false(idle->is_ended); /* nothing begun, nothing due */
    assert_int_equal(sim_counters(&sim).stream_buffers, 0);
    sim_close(&sim);
}

static void silence_ends_an_association(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        options.config.idle_us_max = 5 * SECOND;
        sim_open(&sim, &options);
        struct sim_client *quiet = sim_add_open(&sim, &plan);
        struct sim_client *busy = sim_add_open(&sim, &plan);
        for (int i = 0; i < 12; i++) {
            sim_send(busy, "tick", 4);
            sim_run(&sim, sim.now_us + SECOND);
            /* What we send is no sign of life of the peer. */
            const struct hf_bytes tock = {(const uint8_t *)"tock", 4};
            enum hf_status status = hf_engine_send(sim.engine, quiet->id, tock);
            assert_int_equal(status, quiet->is_ended ? HF_E_STALE : HF_OK);
            sim_bytes_add(&quiet->down, tock.data, tock.len);
        }
        assert_true(quiet->is_ended);
        assert_int_equal(quiet->failure.status, HF_E_IDLE_TIMEOUT);
        assert_true(quiet->ended_us >= quiet->heard_us + 5 * SECOND);
        assert_true(quiet->ended_us <= quiet->heard_us + 5 * SECOND + 3 * HF_TICK_US);
        assert_false(busy->is_ended);
        sim_run(&sim, sim.now_us + 10 * SECOND);
        assert_true(busy->is_ended);
        assert_true(busy->ended_us >= busy->heard_us + 5 * SECOND);
        assert_true(busy->ended_us <= busy->heard_us + 5 * SECOND + 3 * HF_TICK_US);
        sim_close(&sim);
    }
}

/* However much it speaks; a limit that comes later holds for those there are; the earlier of two
 * limits counts. */
static void age_ends_an_association(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        bool is_reloaded = i & 2, has_idle_limit = i & 4;
        prepare(i % 2);
        options.config.idle_us_max = has_idle_limit ? 7 * SECOND : 0;
        options.config.age_us_max = is_reloaded ? 0 : 20 * SECOND;
        sim_open(&sim, &options);
        struct sim_client *busy = sim_add_open(&sim, &plan);
        struct sim_client *quiet = sim_add_open(&sim, &plan);
        if (is_reloaded) {
            sim.options.config.age_us_max = 20 * SECOND;
            assert_int_equal(hf_engine_update_limits(sim.engine, &sim.options.config), HF_OK);
        }
        for (int second = 0; second < 25; second++) {
            if (!busy->is_ended)
                sim_send(busy, "tick", 4);
            sim_run(&sim, sim.now_us + SECOND);
        }
        assert_true(busy->is_ended && quiet->is_ended);
        assert_int_equal(busy->failure.status, HF_E_AGE_LIMIT);
        assert_true(busy->ended_us >= busy->established_us + 20 * SECOND);
        assert_true(busy->ended_us <= busy->established_us + 20 * SECOND + 3 * HF_TICK_US);
        assert_int_equal(quiet->failure.status,
                         has_idle_limit ? HF_E_IDLE_TIMEOUT : HF_E_AGE_LIMIT);
        sim_close(&sim);
    }
}

/* The peer is not to blame for a key source that takes longer than silence is suffered. */
static void waiting_for_a_key_is_not_silence(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        options.config.idle_us_max = 2 * SECOND;
        sim_open(&sim, &options);
        plan.identity_follows = true;
        plan.identity_schedule = SIM_BY_HAND;
        struct sim_client *client = sim_add(&sim, &plan);
        sim_run(&sim, sim.now_us + 10 * SECOND);
        assert_int_equal(client->request_count, 2);
        sim_answer_later(client, 1, 1);
        sim_run(&sim, sim.now_us + SECOND);
        assert_true(client->is_established && !client->is_ended);
        sim_run(&sim, sim.now_us + 15 * SECOND);
        assert_int_equal(client->failure.status, HF_E_IDLE_TIMEOUT);
        assert_true(client->ended_us >= client->established_us + 2 * SECOND);
        sim_close(&sim);
    }
}

/* Garbage and repeats, however authentic they once were, keep nothing alive. */
static void repeats_are_no_sign_of_life(void **state)
{
    (void)state;
    prepare(1);
    options.config.idle_us_max = 5 * SECOND;
    options.network.duplicate_ppm = 0;
    sim_open(&sim, &options);
    struct sim_client *client = sim_add_open(&sim, &plan);
    uint8_t garbage[13 + 40] = {
        HF_TYPE_APPLICATION_DATA, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 40};
    uint64_t open_us = client->open_us;
    for (uint64_t i = 0; i < 20; i++)
        sim_inject(&sim, 1, &client->path, garbage, sizeof garbage, i * 400000);
    sim_run(&sim, sim.now_us + 10 * SECOND);
    assert_true(client->is_ended);
    assert_int_equal(client->failure.status, HF_E_IDLE_TIMEOUT);
    assert_true(client->ended_us <= open_us + 5 * SECOND + 3 * HF_TICK_US);
    sim_close(&sim);
}

static int64_t wall_of(const struct sim *world)
{
    return SIM_WALL_S + (int64_t)(world->now_us / SECOND);
}

static void a_credential_expires_while_open(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        prepare(listener_index);
        sim_open(&sim, &options);
        plan.expires_s = wall_of(&sim) + 10;
        struct sim_client *client = sim_add_open(&sim, &plan);
        sim_send(client, "early", 5);
        sim_run(&sim, sim.now_us + SECOND);
        size_t heard = listener_index ? client->extra_up_len : client->up_got.len;
        assert_int_equal(heard, 5);
        sim_run(&sim, sim.now_us + 15 * SECOND);
        assert_false(client->is_ended); /* judged at use: no timer hangs on the wall clock */
        sim_send(client, "late", 4);
        sim_run(&sim, sim.now_us + SECOND);
        assert_true(client->is_ended);
        assert_int_equal(client->failure.status, HF_E_CREDENTIAL_EXPIRED);
        heard = listener_index ? client->extra_up_len : client->up_got.len;
        assert_int_equal(heard, 5);
        assert_true(client->peer.has_received_close);
        sim_close(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flights_are_sent_again_doubling),
        cmocka_unit_test(constrained_networks_wait_longer),
        cmocka_unit_test(streams_are_not_sent_again),
        cmocka_unit_test(nothing_is_sent_again_while_parked),
        cmocka_unit_test(the_final_flight_is_made_again),
        cmocka_unit_test(a_key_source_has_its_time_and_no_more),
        cmocka_unit_test(a_connection_must_say_hello),
        cmocka_unit_test(a_record_begun_must_be_ended),
        cmocka_unit_test(silence_ends_an_association),
        cmocka_unit_test(age_ends_an_association),
        cmocka_unit_test(waiting_for_a_key_is_not_silence),
        cmocka_unit_test(repeats_are_no_sign_of_life),
        cmocka_unit_test(a_credential_expires_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
