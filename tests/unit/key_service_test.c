/**
 * key_service_test.c - questions and answers: coalescing, caches, limits, cancelling, revoking,
 * and what is never asked.
 */
#include "key_service_fixture.h"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_init(&world);
    world_open(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static void reopen(void)
{
    world_close(&world);
    memset(world.fakes, 0, sizeof(world.fakes));
    world_open(&world);
}

/* ---- answers ------------------------------------------------------------------------------ */

static void test_a_key(void **state)
{
    (void)state;
    assert_int_equal(ask(&world, 1, "abc@maf.example.com"), HF_KEY_ASKED);
    expect_nothing(&world);
    assert_int_equal(world.dials, 1);
    assert_int_equal(serve(&world, 0), 1);
    struct hf_key_reply reply = take(&world, 1);
    assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
    assert_int_equal(reply.answer.framework, HF_FRAMEWORK_MAF);
    assert_int_equal(reply.answer.entity_kind, HF_ENTITY_AE);
    assert_int_equal(reply.answer.suid, 32);
    assert_int_equal(reply.answer.expires_s, EXPIRES_S);
    assert_int_equal(reply.answer.secret.len, 32);
    assert_memory_equal(reply.answer.secret.data, "abcabcabcabcabcabcabcabcabcabcab", 32);
    assert_true(hf_maf_text_is(reply.answer.entity_id, "//m2msp.example/Sae1"));
    assert_true(hf_maf_text_is(reply.answer.credential_id, "12-abc@maf.example.com"));
    assert_true(reply.answer.context != 0);
    assert_true(reply.answer.context <= (uint64_t)INT64_MAX);
    expect_nothing(&world);
}

static void test_a_source_known_by_its_key(void **state)
{
    (void)state;
    char id[200];
    (void)ask(&world, 1, "abc@maf.example.com");
    settle_dials(&world, 0, true);
    assert_true(next_request(&world, 0, 7, id));
    answer_key(&world, 0, 7, id, "km-7@maf.example.com", EXPIRES, 32);
    struct hf_key_reply reply = take(&world, 1);
    assert_int_equal(reply.answer.entity_kind, HF_ENTITY_PENDING);
    assert_int_equal(reply.answer.entity_id.len, 0);
    assert_true(hf_maf_text_is(reply.answer.credential_id, "11-km-7@maf.example.com"));
}

static void test_the_first_half(void **state)
{
    (void)state;
    world.config.part = HF_KEY_FIRST_HALF;
    reopen();
    (void)ask(&world, 1, "abc@maf.example.com");
    (void)serve(&world, 0);
    struct hf_key_reply reply = take(&world, 1);
    assert_int_equal(reply.answer.secret.len, 16);
    assert_memory_equal(reply.answer.secret.data, "abcabcabcabcabca", 16);
}

static void test_not_ours(void **state)
{
    (void)state;
    static const char *const others[] = {
        "abc@maf.example.net",
        "abc@example.com",
        "abc",
        "",
        "abc@",
        "@maf.example.com",
        "a/b@maf.example.com",
        "..@maf.example.com",
        "abc@maf.example.com@maf.example.com",
        "abc@x.maf.example.com",
        "abc@maf.example.com.",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(ask(&world, 1, others[i]), HF_KEY_NOT_OURS);
        assert_false(hf_key_service_is_ours(world.service, text(others[i])));
    }
    pass(&world, 1000000);
    assert_int_equal(world.dials, 0);
    expect_nothing(&world);
    assert_true(hf_key_service_is_ours(world.service, text("abc@MAF.Example.com")));
    world.config.syntax = HF_MAF_RELATIVE_HEX;
    reopen();
    assert_int_equal(ask(&world, 1, "abc@maf.example.com"), HF_KEY_NOT_OURS);
    assert_int_equal(ask(&world, 1, "b35ee1b3fda6fbe0ca3e84527d2706d8@maf.example.com"),
                     HF_KEY_ASKED);
}

static void test_ten_thousand_with_one_identity(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(ask(&world, i, i % 2 == 0 ? "abc@maf.example.com" : "abc@Maf.Example.COM"),
                         HF_KEY_ASKED);
    assert_int_equal(serve(&world, 0), 1);
    for (uint32_t i = 0; i < 10000; i++)
        expect(&world, i, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    struct hf_key_maf_counters counters;
    hf_key_service_maf_counters_get(&counters, world.service, 0);
    assert_int_equal(counters.asked, 10000);
    assert_int_equal(counters.coalesced, 9999);
    assert_int_equal(counters.health.requests, 1);
}

static void test_case_of_hexadecimal_names(void **state)
{
    (void)state;
    (void)ask(&world, 1, "B35EE1B3FDA6FBE0CA3E84527D2706D8@maf.example.com");
    (void)ask(&world, 2, "b35ee1b3fda6fbe0ca3e84527d2706d8@maf.example.com");
    (void)ask(&world, 3, "Abc@maf.example.com");
    (void)ask(&world, 4, "abc@maf.example.com");
    assert_int_equal(serve(&world, 0), 3);
}

static void test_cache(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    (void)serve(&world, 0);
    uint64_t context = take(&world, 1).answer.context;
    (void)ask(&world, 2, "abc@maf.example.com");
    assert_int_equal(take(&world, 2).answer.context, context);
    assert_int_equal(serve(&world, 0), 0);
    world.wall_s = EXPIRES_S - 1;
    pass(&world, 1);
    (void)ask(&world, 3, "abc@maf.example.com");
    expect(&world, 3, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    world.wall_s = EXPIRES_S; /* over: asked again, and the MAF still says so */
    pass(&world, 1);
    (void)ask(&world, 4, "abc@maf.example.com");
    expect_nothing(&world);
    assert_int_equal(serve(&world, 0), 1);
    struct hf_key_reply reply = take(&world, 4);
    assert_int_equal(reply.outcome, HF_MAF_OUTCOME_EXPIRED);
    assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
    assert_true(reply.answer.expires_s < WALL_S);
}

static void test_cache_is_bounded(void **state)
{
    (void)state;
    char identity[64];
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
        (void)serve(&world, 0);
        expect(&world, i, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
        (void)ask(&world, i, "k0@maf.example.com"); /* used all the time: stays */
        expect(&world, i, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    }
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_int_equal(counters.keys, 64);
    assert_int_equal(counters.evicted, 300 - 64);
    (void)ask(&world, 1, "k299@maf.example.com");
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    (void)ask(&world, 1, "k1@maf.example.com");
    expect_nothing(&world);
}

/* More keys at once than are kept: each asker gets its own all the same. */
static void test_a_flood_of_keys(void **state)
{
    (void)state;
    char identity[64];
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
    }
    assert_int_equal(serve(&world, 0), 1000);
    bool seen[1000] = {false};
    for (uint32_t i = 0; i < 1000; i++) {
        struct hf_key_reply reply;
        assert_true(hf_key_service_take_reply(world.service, &reply));
        assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
        char want[64];
        int len = snprintf(want, sizeof(want), "k%u", reply.ticket.slot);
        assert_memory_equal(reply.answer.secret.data, want, (size_t)len);
        seen[reply.ticket.slot] = true;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(seen[i]);
    for (uint32_t i = 0; i < 300; i++) { /* and the cache comes back to its size */
        snprintf(identity, sizeof(identity), "m%u@maf.example.com", i);
        (void)ask(&world, i, identity);
        (void)serve(&world, 0);
        expect(&world, i, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    }
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_true(counters.keys <= 1000);
}

/* ---- refusals ----------------------------------------------------------------------------- */

static void refuse_next(unsigned rsc, const char *body)
{
    char id[200];
    bool is_found = false;
    settle_dials(&world, 0, true);
    for (uint32_t c = 0; c < 8 && !is_found; c++) {
        is_found = next_request(&world, 0, c, id);
        if (is_found)
            answer(&world, 0, c, rsc, body);
    }
    assert_true(is_found);
}

static void test_refusals_are_remembered_briefly(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    refuse_next(4004, "");
    expect(&world, 1, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_NOT_FOUND);
    pass(&world, 1999999);
    (void)ask(&world, 2, "abc@maf.example.com");
    expect(&world, 2, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_NOT_FOUND);
    assert_int_equal(serve(&world, 0), 0);
    pass(&world, 1);
    (void)ask(&world, 3, "abc@maf.example.com");
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 3, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_what_is_unavailable_is_not_remembered(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    refuse_next(5000, "");
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_SERVER_ERROR);
    (void)ask(&world, 2, "abc@maf.example.com");
    refuse_next(2000, "nonsense");
    expect(&world, 2, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_MALFORMED);
    (void)ask(&world, 3, "abc@maf.example.com");
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 3, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_unknown_identities_do_not_push_keys_out(void **state)
{
    (void)state;
    char identity[64];
    (void)ask(&world, 1, "good@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    for (uint32_t i = 0; i < 500; i++) {
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
        refuse_next(4004, "");
        expect(&world, i, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_NOT_FOUND);
    }
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_int_equal(counters.refusals, 64);
    (void)ask(&world, 1, "good@maf.example.com");
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

/* ---- limits ------------------------------------------------------------------------------- */

static void test_askers_and_lookups_are_bounded(void **state)
{
    (void)state;
    world.config.askers_max = 10;
    world.config.lookups_max = 3;
    reopen();
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(ask(&world, i, "abc@maf.example.com"), HF_KEY_ASKED);
    (void)ask(&world, 8, "b@maf.example.com");
    (void)ask(&world, 9, "c@maf.example.com");
    assert_int_equal(ask(&world, 10, "abc@maf.example.com"), HF_KEY_FULL);
    hf_key_service_cancel(world.service, 3, (struct hf_ticket){0, 1, 1});
    (void)ask(&world, 11, "d@maf.example.com");
    expect(&world, 11, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_LIMIT);
    assert_int_equal(serve(&world, 0), 3);
    for (uint32_t i = 0; i < 9; i++) {
        struct hf_key_reply reply;
        assert_true(hf_key_service_take_reply(world.service, &reply));
        assert_int_equal(reply.answer.kind, HF_ANSWER_PSK);
    }
    expect_nothing(&world);
}

static void test_rate(void **state)
{
    (void)state;
    char identity[64];
    world.config.lookups_per_second = 100;
    reopen();
    for (uint32_t i = 0; i < 250; i++) {
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
    }
    assert_int_equal(serve(&world, 0), 100);
    assert_true(hf_key_service_next_us(world.service) <= world.now_us + 1000);
    pass(&world, 500000);
    assert_int_equal(serve(&world, 0), 50);
    pass(&world, 500000);
    assert_int_equal(serve(&world, 0), 50);
    pass(&world, 60000000); /* the rest is too late */
    assert_int_equal(serve(&world, 0), 0);
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_int_equal(counters.lookups, 0);
    assert_int_equal(counters.parked, 0);
}

static uint32_t ask_from(uint32_t slot, uint8_t last)
{
    char identity[64];
    const struct hf_address peer = hf_address_v4((const uint8_t[]){192, 0, 2, last}, 1);
    snprintf(identity, sizeof(identity), "k%u@maf.example.com", slot);
    const struct hf_key_question question = {
        .tag = 3, .ticket = {slot, 1, 1}, .psk_identity = text(identity), .peer = &peer};
    assert_int_equal(hf_key_service_ask(world.service, &question), HF_KEY_ASKED);
    act(&world);
    return slot;
}

static void test_prefix_under_pressure(void **state)
{
    (void)state;
    world.config.lookups_pressure = 20;
    world.config.lookups_per_prefix_max = 5;
    reopen();
    for (uint32_t i = 0; i < 20; i++) /* no pressure yet: one address may have them all */
        (void)ask_from(i, 1);
    expect_nothing(&world);
    expect(&world, ask_from(20, 1), HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_PREFIX_LIMIT);
    for (uint32_t i = 0; i < 5; i++)
        (void)ask_from(21 + i, 2);
    expect_nothing(&world);
    expect(&world, ask_from(26, 2), HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_PREFIX_LIMIT);
    assert_int_equal(serve(&world, 0), 25);
    for (int i = 0; i < 25; i++) {
        struct hf_key_reply reply;
        assert_true(hf_key_service_take_reply(world.service, &reply));
    }
    (void)ask_from(27, 1);
    expect_nothing(&world);
    assert_int_equal(serve(&world, 0), 1);
}

static void test_deadline(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    settle_dials(&world, 0, true);
    pass(&world, 24000000);
    (void)ask(&world, 2, "abc@maf.example.com");
    expect_nothing(&world);
    pass(&world, 1000000);
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_TIMEOUT);
    expect(&world, 2, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_TIMEOUT);
}

/* ---- cancelling and revoking -------------------------------------------------------------- */

static void test_cancel(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    (void)ask(&world, 2, "abc@maf.example.com");
    hf_key_service_cancel(world.service, 3, (struct hf_ticket){1, 1, 1});
    hf_key_service_cancel(world.service, 3, (struct hf_ticket){2, 1, 9}); /* nobody */
    hf_key_service_cancel(world.service, 4, (struct hf_ticket){2, 1, 1});
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    expect_nothing(&world);
    /* A reply that was not taken yet, too. */
    (void)ask(&world, 3, "abc@maf.example.com");
    hf_key_service_cancel(world.service, 3, (struct hf_ticket){3, 1, 1});
    expect_nothing(&world);
    /* One under way fills the cache, though nobody waits. */
    (void)ask(&world, 4, "def@maf.example.com");
    hf_key_service_cancel(world.service, 3, (struct hf_ticket){4, 1, 1});
    assert_int_equal(serve(&world, 0), 1);
    (void)ask(&world, 5, "def@maf.example.com");
    expect(&world, 5, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_int_equal(counters.parked, 0);
    assert_int_equal(counters.lookups, 0);
    assert_int_equal(counters.cancelled, 3);
}

static void test_revoke(void **state)
{
    (void)state;
    uint64_t context = 0;
    assert_false(hf_key_service_revoke(world.service, &context, text("abc@elsewhere.example")));
    (void)ask(&world, 1, "abc@maf.example.com");
    (void)serve(&world, 0);
    uint64_t given = take(&world, 1).answer.context;
    (void)ask(&world, 2, "abc@maf.example.com"); /* its reply is ready, and not taken */
    assert_true(hf_key_service_revoke(world.service, &context, text("abc@MAF.example.com")));
    assert_true(context == given);
    expect(&world, 2, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    (void)ask(&world, 3, "abc@maf.example.com");
    expect(&world, 3, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    /* Under way: refused at once, and what the MAF answers is not kept. */
    (void)ask(&world, 4, "def@maf.example.com");
    settle_dials(&world, 0, true);
    assert_true(hf_key_service_revoke(world.service, &context, text("def@maf.example.com")));
    assert_int_equal(context, 0);
    expect(&world, 4, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    assert_int_equal(serve(&world, 0), 1);
    expect_nothing(&world);
    (void)ask(&world, 5, "def@maf.example.com");
    expect(&world, 5, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    /* Never seen. */
    assert_true(hf_key_service_revoke(world.service, &context, text("ghi@maf.example.com")));
    (void)ask(&world, 6, "ghi@maf.example.com");
    expect(&world, 6, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    pass(&world, world.config.revoked_us_max);
    (void)ask(&world, 7, "ghi@maf.example.com");
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 7, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

/* ---- what is kept ------------------------------------------------------------------------- */

static void keep_in(const struct hf_key_kept *key, void *arg)
{
    assert_true(hf_key_service_keep(arg, key));
    assert_false(hf_key_service_keep(arg, key)); /* there already */
}

static void test_keys_move_to_another_service(void **state)
{
    (void)state;
    (void)ask(&world, 1, "abc@maf.example.com");
    (void)serve(&world, 0);
    uint64_t context = take(&world, 1).answer.context;
    struct world second;
    world_init(&second);
    world_open(&second);
    hf_key_service_each(world.service, keep_in, second.service);
    (void)ask(&second, 2, "abc@maf.example.com");
    struct hf_key_reply reply = take(&second, 2);
    assert_true(reply.answer.context == context);
    assert_memory_equal(reply.answer.secret.data, "abcabcabcabcabcabcabcabcabcabcab", 32);
    assert_true(hf_maf_text_is(reply.answer.entity_id, "//m2msp.example/Sae1"));
    assert_int_equal(second.dials, 0);
    struct hf_key_kept bad = {.psk_identity = text("b@maf.example.com"),
                              .secret = text("0123456789abcdef"),
                              .source_id = text("/x"),
                              .expires_s = WALL_S};
    assert_false(hf_key_service_keep(second.service, &bad));
    bad.expires_s = WALL_S + 1;
    bad.secret.len = 15;
    assert_false(hf_key_service_keep(second.service, &bad));
    bad.secret.len = 16;
    bad.psk_identity = text("b@elsewhere.example");
    assert_false(hf_key_service_keep(second.service, &bad));
    world_close(&second);
}

static void test_configurations_that_are_refused(void **state)
{
    (void)state;
    struct hf_key_service *service = NULL;
    struct world bad;
    world_init(&bad);
    bad.mafs[1].fqdn = text("MAF.example.com"); /* twice */
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    world_init(&bad);
    bad.mafs[1].fqdn = text("x");
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    world_init(&bad);
    bad.mafs[0].address_count = 0;
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    world_init(&bad);
    bad.mafs[0].origin = text("in cse");
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    world_init(&bad);
    bad.mafs[0].key_len_min = 8;
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    world_init(&bad);
    bad.config.keys_max = 0;
    assert_int_equal(hf_key_service_open(&service, &bad.config), HF_E_CONFIG);
    assert_null(service);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    hf_maf_resource_init();
    const struct CMUnitTest tests[] = {
        T(test_a_key),
        T(test_a_source_known_by_its_key),
        T(test_the_first_half),
        T(test_not_ours),
        T(test_ten_thousand_with_one_identity),
        T(test_case_of_hexadecimal_names),
        T(test_cache),
        T(test_cache_is_bounded),
        T(test_a_flood_of_keys),
        T(test_refusals_are_remembered_briefly),
        T(test_what_is_unavailable_is_not_remembered),
        T(test_unknown_identities_do_not_push_keys_out),
        T(test_askers_and_lookups_are_bounded),
        T(test_rate),
        T(test_prefix_under_pressure),
        T(test_deadline),
        T(test_cancel),
        T(test_revoke),
        T(test_keys_move_to_another_service),
        cmocka_unit_test(test_configurations_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
