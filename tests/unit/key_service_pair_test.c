/**
 * key_service_pair_test.c - both associations of a pair with Kc (TS-0003 8.2.1, 8.2.2.3): the
 * first, SA1, has the MAF asked; the way back, SA2, and every later one nobody. A key service for
 * our end, and engines on both.
 */
#include "engine_pair.h"
#include "key_service_fixture.h"

#include <handfast/pair.h>

#define KC_ID "kc17"
#define IDENTITY KC_ID "@maf.example.com"
#define DEVICE "//m2msp.example/Sae1"

static const char kc[] = "kc17kc17kc17kc17kc17kc17kc17kc17"; /* as answer_key() makes it */

static struct engine_pair pair;

static const struct hf_answer device_answer = {
    .kind = HF_ANSWER_PSK,
    .framework = HF_FRAMEWORK_MAF,
    .secret = {(const uint8_t *)kc, 32},
};

/* Our end's key source is the service: what it asked is in `end`, and waits. */
static void answer_from_service(struct world *world, struct engine_end *end)
{
    assert_int_equal(end->request_count, 1);
    const struct hf_key_question question = {
        .tag = 3, .ticket = {1, 1, 1}, .psk_identity = {end->asked, end->asked_len}};
    assert_int_equal(hf_key_service_ask(world->service, &question), HF_KEY_ASKED);
    act(world);
    serve(world, 0);
    struct hf_key_reply reply = take(world, 1);
    assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
    end->answer = reply.answer;
    assert_int_equal(engine_pair_answer(end), HF_OK);
    engine_pair_run(&pair);
}

static void open_ends(struct engine_end *ours, struct engine_end *theirs, bool is_dtls)
{
    engine_pair_init(&pair, is_dtls);
    pair.wall_s = WALL_S;
    pair.connect.psk_identity = text(IDENTITY);
    theirs->answer = device_answer;
    ours->answers = ENGINE_PAIR_HELD;
}

static void meet(struct world *world, struct engine_end *ours)
{
    engine_pair_open(&pair);
    assert_int_equal(engine_pair_dial(&pair), HF_OK);
    engine_pair_run(&pair);
    answer_from_service(world, ours);
    assert_true(engine_pair_is_open(&pair));
    engine_pair_talk(&pair);
}

static void test_the_way_back_asks_nobody(void **state)
{
    (void)state;
    for (int is_dtls = 0; is_dtls < 2; is_dtls++) {
        struct world world;
        struct hf_pair made;
        world_init(&world);
        world_open(&world);
        open_ends(&pair.server, &pair.client, is_dtls);
        meet(&world, &pair.server);
        assert_int_equal(world.requests, 1);
        const struct hf_association_info sa1 = engine_pair_info(&pair.server);
        assert_string_equal(sa1.credential_id, "12-" IDENTITY);
        assert_int_equal(sa1.framework, HF_FRAMEWORK_MAF);
        assert_int_equal(hf_pair_begin(&made, &sa1), HF_OK);
        assert_int_equal(hf_pair_register(&made, text(DEVICE)), HF_OK);
        engine_pair_close(&pair);
        /* SA2: now we dial, and our end's key comes from the service again. */
        open_ends(&pair.client, &pair.server, is_dtls);
        pair.connect.pair = &made;
        meet(&world, &pair.client);
        const struct hf_association_info sa2 = engine_pair_info(&pair.client);
        assert_true(sa2.is_sa2);
        assert_string_equal(sa2.entity_id, DEVICE);
        assert_int_equal(world.requests, 1);
        engine_pair_close(&pair);
        /* And when the key is over there is no way back. */
        open_ends(&pair.client, &pair.server, is_dtls);
        pair.connect.pair = &made;
        pair.wall_s = EXPIRES_S;
        engine_pair_open(&pair);
        assert_int_equal(engine_pair_dial(&pair), HF_E_CREDENTIAL_EXPIRED);
        engine_pair_close(&pair);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_way_back_asks_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
