/**
 * flow_answer_test.c - the key source, seen closely: every kind of answer to either question, the
 * right one, the wrong one, twice, too late; identities that follow the key; closing while parked;
 * and two ways of not knowing a key that nobody outside can tell apart.
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
    uint64_t seen[64]; /* length and first byte of what went down */
    size_t count;
} wire;

static bool tap(struct sim_client *client, bool is_up, const uint8_t *data, size_t len, void *arg)
{
    (void)arg;
    (void)client;
    if (!is_up && wire.count < 64)
        wire.seen[wire.count++] = (uint64_t)len << 8 | data[0];
    return false;
}

static void prepare(uint32_t listener_index)
{
    memset(&wire, 0, sizeof wire);
    sim_options_init(&options, 47);
    options.filter = tap;
    options.may_fail = true;
    options.network.delay_us_max = options.network.delay_us_min;
    sim_plan_init(&plan, listener_index);
}

static struct sim_client *parked_client(enum hf_request_kind kind)
{
    sim_open(&sim, &options);
    plan.identity_follows = kind == HF_REQUEST_IDENTITY;
    plan.key_schedule = plan.identity_follows ? SIM_NOW : SIM_BY_HAND;
    plan.identity_schedule = SIM_BY_HAND;
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + SECOND);
    assert_int_equal(sim_counters(&sim).parked, 1);
    assert_int_equal(client->request_count, plan.identity_follows ? 2 : 1);
    assert_false(client->peer.is_complete); /* nothing is promised before the identity is bound */
    return client;
}

static struct sim_request *waiting(struct sim_client *client)
{
    return &client->requests[client->request_count - 1];
}

static void every_kind_of_answer_to_either_question(void **state)
{
    (void)state;
    static const enum hf_status ends[2][6] = {
        [HF_REQUEST_KEY] = {HF_OK, HF_OK, HF_OK, HF_E_ARGUMENT, HF_E_KEY_UNKNOWN,
                            HF_E_SOURCE_UNAVAILABLE},
        [HF_REQUEST_IDENTITY] = {HF_E_ARGUMENT, HF_E_ARGUMENT, HF_E_ARGUMENT, HF_OK,
                                 HF_E_IDENTITY_REFUSED, HF_E_SOURCE_UNAVAILABLE},
    };
    for (uint32_t at = 0; at < 24; at++) {
        enum hf_request_kind kind = (enum hf_request_kind)(at / 12);
        enum hf_answer_kind answer = (enum hf_answer_kind)(at % 6);
        enum hf_status end = ends[kind][answer];
        prepare(at / 6 % 2);
        struct sim_client *client = parked_client(kind);
        client->plan.key_kind = client->plan.identity_kind = answer;
        if (end == HF_E_ARGUMENT) { /* well-formed, but to the other question */
            static const uint8_t secret[HF_MASTER_SECRET_LEN] = {1};
            struct hf_answer wrong = {.kind = answer};
            if (kind == HF_REQUEST_IDENTITY)
                wrong.secret = (struct hf_bytes){secret, sizeof secret};
            assert_int_equal(hf_engine_answer(sim.engine, waiting(client)->ticket, &wrong),
                             HF_E_ARGUMENT);
            client->plan.key_kind = HF_ANSWER_PSK; /* it still waits */
            client->plan.identity_kind = HF_ANSWER_IDENTITY;
            end = HF_OK;
        }
        sim_answer_later(client, client->request_count - 1, 1);
        sim_run(&sim, sim.now_us + SECOND);
        assert_int_equal(sim_is_open(client), end == HF_OK);
        if (plan.listener_index == 1 && end == HF_E_KEY_UNKNOWN)
            sim_run(&sim, sim.now_us + 70 * SECOND); /* in silence, until its time is up */
        assert_int_equal(client->failure.status, end);
        assert_int_equal(client->is_established, end == HF_OK);
        sim_close(&sim);
    }
}

static void lengths_of_answers_are_checked(void **state)
{
    (void)state;
    static const uint8_t bytes[HF_CREDENTIAL_ID_MAX + 1];
    static const struct {
        enum hf_answer_kind kind;
        size_t secret_len, entity_len, credential_len;
        int64_t expires_s;
    } wrong[] = {
        {HF_ANSWER_PSK, 0, 0, 0, 0},
        {HF_ANSWER_PSK, HF_PSK_MAX + 1, 0, 0, 0},
        {HF_ANSWER_PREMASTER, 0, 0, 0, 0},
        {HF_ANSWER_PREMASTER, HF_SECRET_MAX + 1, 0, 0, 0},
        {HF_ANSWER_MASTER_SECRET, 47, 0, 0, 0},
        {HF_ANSWER_MASTER_SECRET, 49, 0, 0, 0},
        {HF_ANSWER_PSK, 16, HF_ENTITY_ID_MAX + 1, 0, 0},
        {HF_ANSWER_PSK, 16, 0, HF_CREDENTIAL_ID_MAX + 1, 0},
        {HF_ANSWER_PSK, 16, 0, 0, -1},
        {HF_ANSWER_PSK, 16, 0, 0, (int64_t)UINT32_MAX + 1},
        {HF_ANSWER_REFUSED, 1, 0, 0, 0},
        {(enum hf_answer_kind)99, 0, 0, 0, 0},
    };
    prepare(0);
    struct sim_client *client = parked_client(HF_REQUEST_KEY);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct hf_answer answer = {
            .kind = wrong[i].kind,
            .secret = {bytes, wrong[i].secret_len},
            .entity_id = {bytes, wrong[i].entity_len},
            .credential_id = {bytes, wrong[i].credential_len},
            .expires_s = wrong[i].expires_s,
        };
        assert_int_equal(hf_engine_answer(sim.engine, waiting(client)->ticket, &answer),
                         HF_E_ARGUMENT);
    }
    assert_int_equal(sim_counters(&sim).parked, 1);
    sim_answer_later(client, 0, 1);
    sim_run(&sim, sim.now_us + SECOND);
    assert_true(sim_is_open(client));
    sim_close(&sim);
}

/* A ticket is of one slot, one use of it, one operation. */
static void tickets_of_others_are_stale(void **state)
{
    (void)state;
    prepare(1);
    struct sim_client *client = parked_client(HF_REQUEST_IDENTITY);
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    struct hf_ticket right = waiting(client)->ticket;
    struct hf_ticket wrong[] = {
        client->requests[0].ticket, /* the key: already answered */
        {right.slot + 1, right.generation, right.seq},
        {right.slot, right.generation + 1, right.seq},
        {right.slot, right.generation - 1, right.seq},
        {right.slot, right.generation, right.seq + 1},
        {UINT32_MAX, right.generation, right.seq},
        {0, 0, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(hf_engine_answer(sim.engine, wrong[i], &answer), HF_E_STALE);
    assert_int_equal(sim_counters(&sim).answers_stale, sizeof wrong / sizeof wrong[0]);
    sim_answer_later(client, 1, 1);
    sim_run(&sim, sim.now_us + SECOND);
    assert_true(sim_is_open(client));
    assert_int_equal(hf_engine_answer(sim.engine, right, &answer), HF_E_STALE);
    sim_run(&sim, sim.now_us + SECOND);
    assert_true(sim_is_open(client));
    sim_close(&sim);
}

/* A client that talks right behind its Finished, as one that resumes may: its words are kept, not
 * delivered, until the identity is bound. */
static void nothing_is_heard_before_the_identity_is_bound(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        for (int is_admitted = 0; is_admitted < 2; is_admitted++) {
            prepare(listener_index);
            struct sim_client *client = parked_client(HF_REQUEST_IDENTITY);
            struct psk_client_record record = {.type = HF_TYPE_APPLICATION_DATA,
                                               .epoch = 1,
                                               .seq = PSK_CLIENT_SEQ_NEXT,
                                               .is_protected = true,
                                               .payload = {(const uint8_t *)"early", 5}};
            if (listener_index == 0)
                sim_bytes_add(&client->up, "early", 5);
            sim_send_record(client, &record);
            sim_run(&sim, sim.now_us + SECOND);
            assert_int_equal(client->up_got.len + client->extra_up_len, 0);
            client->plan.identity_kind = is_admitted ? HF_ANSWER_IDENTITY : HF_ANSWER_REFUSED;
            sim_answer_later(client, 1, 1);
            sim_run(&sim, sim.now_us + SECOND);
            assert_int_equal(client->is_established, is_admitted);
            /* The simulator tells a datagram that it did not number apart from those it did. */
            assert_int_equal(client->up_got.len, is_admitted && listener_index == 0 ? 5 : 0);
            assert_int_equal(client->extra_up_len, is_admitted && listener_index != 0 ? 5 : 0);
            sim_close(&sim);
        }
    }
}

static void closing_while_parked_cancels(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 16; at++) {
        prepare(at % 2);
        enum hf_request_kind kind = (enum hf_request_kind)(at / 2 % 2);
        struct sim_client *client = parked_client(kind);
        struct sim_request *request = waiting(client);
        uint64_t begun_us = sim.now_us;
        hf_engine_begin_turn(sim.engine, sim.now_us, SIM_WALL_S);
        if (at / 4 == 3 && plan.listener_index == 0)
            hf_engine_receive_end(sim.engine, client->id);
        else
            sim_close_client(client, (enum hf_close)(at / 4 % 3));
        hf_engine_end_turn(sim.engine);
        assert_int_equal(request->state, SIM_CANCELLED); /* at once */
        assert_int_equal(request->ended_us, begun_us);
        assert_int_equal(sim_answer(client, request), HF_E_STALE);
        sim_run(&sim, sim.now_us + SECOND);
        assert_true(client->is_ended && !client->is_established);
        assert_int_equal(client->end_kind, HF_EVENT_HANDSHAKE_FAILED);
        assert_int_equal(sim_counters(&sim).parked, 0);
        sim_close(&sim);
    }
}

/** What an observer sees of a handshake that must fail: what comes down, and how long it is. */
static size_t observe(uint64_t out[64], uint32_t listener_index, enum hf_answer_kind kind,
                      bool is_key_wrong, int64_t expires_s)
{
    prepare(listener_index);
    plan.key_kind = kind;
    plan.is_key_wrong = is_key_wrong;
    plan.expires_s = expires_s;
    sim_open(&sim, &options);
    struct sim_client *client = sim_add(&sim, &plan);
    sim_run(&sim, sim.now_us + 100 * SECOND);
    assert_true(client->is_ended && !client->is_established);
    memcpy(out, wire.seen, sizeof wire.seen);
    sim_close(&sim);
    return wire.count;
}

static void not_knowing_looks_like_knowing_another_key(void **state)
{
    (void)state;
    for (uint32_t listener_index = 0; listener_index < 2; listener_index++) {
        uint64_t unknown[64], mismatch[64], expired[64];
        size_t count = observe(unknown, listener_index, HF_ANSWER_REFUSED, false, 0);
        assert_int_equal(observe(mismatch, listener_index, HF_ANSWER_PSK, true, 0), count);
        assert_int_equal(observe(expired, listener_index, HF_ANSWER_PSK, false, 5), count);
        assert_memory_equal(unknown, mismatch, count * sizeof unknown[0]);
        assert_memory_equal(unknown, expired, count * sizeof unknown[0]);
    }
}

/* Keys and identities of many at once: each gets his own, whatever the order of the answers. */
static void many_parked_at_once_get_their_own(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        prepare(0);
        options.seed = seed;
        sim_open(&sim, &options);
        for (uint32_t i = 0; i < 40; i++) {
            sim_plan_init(&plan, i % 2);
            plan.key_schedule = i % 3 ? SIM_LAST_FIRST : SIM_LATE;
            plan.identity_schedule = i % 5 ? SIM_LATE : SIM_LAST_FIRST;
            plan.identity_follows = i % 4 == 0;
            plan.is_answered_twice = true;
            plan.start_us = sim_below(&sim, 100000);
            sim_add(&sim, &plan);
        }
        sim_run(&sim, sim.now_us + 60 * SECOND);
        for (uint32_t i = 0; i < 40; i++)
            SIM_CHECK(&sim, sim_is_open(sim.clients[i])); /* and both ends agree on who it is */
        SIM_CHECK(&sim, sim_counters(&sim).associations == 40);
        sim_close(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_answer_to_either_question),
        cmocka_unit_test(lengths_of_answers_are_checked),
        cmocka_unit_test(tickets_of_others_are_stale),
        cmocka_unit_test(nothing_is_heard_before_the_identity_is_bound),
        cmocka_unit_test(closing_while_parked_cancels),
        cmocka_unit_test(not_knowing_looks_like_knowing_another_key),
        cmocka_unit_test(many_parked_at_once_get_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
