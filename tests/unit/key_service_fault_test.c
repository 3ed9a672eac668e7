/**
 * key_service_fault_test.c - what a MAF and the way to it can do: die, come back, hang, lie. Every
 * question is answered, with the right outcome, and another MAF's traffic goes on untouched.
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

static struct hf_maf_health health(uint32_t maf)
{
    struct hf_key_maf_counters counters;
    hf_key_service_maf_counters_get(&counters, world.service, maf);
    return counters.health;
}

/* The connection that is open, or HF_MAF_CONNECTIONS_MAX. */
static uint32_t open_connection(uint32_t maf)
{
    uint32_t c = 0;
    while (c < HF_MAF_CONNECTIONS_MAX && !world.fakes[maf][c].is_open)
        c++;
    return c;
}

static uint32_t dialled(uint32_t maf)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < HF_MAF_CONNECTIONS_MAX; c++)
        count += world.fakes[maf][c].is_dialled && !world.fakes[maf][c].is_open;
    return count;
}

/* ---- one connection ----------------------------------------------------------------------- */

static void test_keep_alive_and_idling(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    (void)serve(&world, 0);
    pass(&world, 59000000);
    (void)ask(&world, 2, "b@maf.example.com");
    (void)serve(&world, 0);
    assert_int_equal(world.dials, 1);
    pass(&world, 60000000);
    assert_int_equal(world.closes, 1);
    (void)ask(&world, 3, "c@maf.example.com");
    (void)serve(&world, 0);
    assert_int_equal(world.dials, 2);
    assert_int_equal(health(0).connections, 1);
}

static void test_broken_while_idle_is_no_failure(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    cut(&world, 0, open_connection(0));
    (void)ask(&world, 2, "b@maf.example.com");
    assert_int_equal(dialled(0), 1);
    (void)serve(&world, 0);
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_broken_requests_go_once_more(void **state)
{
    (void)state;
    char id[200];
    for (uint32_t i = 0; i < 3; i++) {
        char identity[64];
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
    }
    settle_dials(&world, 0, true);
    uint32_t connection = open_connection(0);
    assert_true(next_request(&world, 0, connection, id));
    answer_key(&world, 0, connection, id, "/in-cse", EXPIRES, 32);
    expect(&world, 0, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    receive(&world, 0, connection, "HTTP/1.1 200 OK\r\nContent-Le"); /* reset mid-answer */
    cut(&world, 0, connection);
    expect_nothing(&world);
    settle_dials(&world, 0, true);
    cut(&world, 0, open_connection(0));                              /* twice: that is enough */
    expect(&world, 2, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_BROKEN); /* the last first */
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_BROKEN);
    assert_int_equal(health(0).under_way, 0);
    pass(&world, 1000000);
    (void)ask(&world, 9, "z@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 9, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_connection_close_is_obeyed(void **state)
{
    (void)state;
    char id[200];
    (void)ask(&world, 1, "a@maf.example.com");
    (void)ask(&world, 2, "b@maf.example.com");
    settle_dials(&world, 0, true);
    uint32_t connection = open_connection(0);
    assert_true(next_request(&world, 0, connection, id));
    receive(&world, 0, connection,
            "HTTP/1.1 404 \r\nX-M2M-RSC: 4004\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    expect(&world, 1, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_NOT_FOUND);
    assert_int_equal(world.closes, 1);
    assert_int_equal(serve(&world, 0), 1); /* the other one, on a new connection */
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_nonsense_fails_the_one_it_answers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        enum hf_maf_outcome outcome;
    } cases[] = {
        {"\x15\x03\x03", HF_MAF_OUTCOME_MALFORMED},
        {"HTTP/1.1 200 OK\r\n\r\n", HF_MAF_OUTCOME_MALFORMED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", HF_MAF_OUTCOME_TOO_LONG},
        {"HTTP/1.1 200 OK\r\nX-M2M-RSC: 2000\r\nContent-Length: 2\r\n\r\n{}",
         HF_MAF_OUTCOME_MALFORMED},
    };
    char id[200];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reopen();
        (void)ask(&world, 1, "a@maf.example.com");
        (void)ask(&world, 2, "b@maf.example.com");
        settle_dials(&world, 0, true);
        assert_true(next_request(&world, 0, open_connection(0), id));
        receive(&world, 0, open_connection(0), cases[i].bytes);
        expect(&world, 1, HF_ANSWER_UNAVAILABLE, cases[i].outcome);
        expect_nothing(&world);
        pass(&world, 1000000);
        assert_true(serve(&world, 0) >= 1);
        expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    }
}

static void test_answers_nobody_asked_for(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    receive(&world, 0, open_connection(0), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(world.closes, 1);
    expect_nothing(&world);
}

static void test_a_slow_drip_ends_in_time(void **state)
{
    (void)state;
    world.config.lookup_us_max = 100000000; /* the pool's own limit is what bites */
    reopen();
    const char *slow = "HTTP/1.1 200 OK\r\nX-M2M-RSC: 2000\r\nContent-Length: 900\r\n\r\n{";
    (void)ask(&world, 1, "a@maf.example.com");
    settle_dials(&world, 0, true);
    uint32_t connection = open_connection(0);
    for (size_t i = 0; i < 24; i++) {
        char byte[2] = {slow[i], '\0'};
        receive(&world, 0, connection, byte);
        pass(&world, 1000000);
    }
    expect_nothing(&world);
    pass(&world, 1000000);
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_TIMEOUT);
    assert_int_equal(world.closes, 1);
    assert_int_equal(health(0).timeouts, 1);
}

static void test_pipelining_is_bounded(void **state)
{
    (void)state;
    world.mafs[0].connections_max = 2;
    world.mafs[0].pipeline_max = 10;
    reopen();
    for (uint32_t i = 0; i < 100; i++) {
        char identity[64];
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
    }
    settle_dials(&world, 0, true);
    assert_int_equal(world.dials, 2);
    assert_int_equal(health(0).under_way, 20);
    assert_int_equal(health(0).waiting, 80);
    assert_int_equal(serve(&world, 0), 100);
    assert_int_equal(world.dials, 2);
}

/* Cancelled on the wire: its answer, when it comes, is nobody else's. */
static void test_an_abandoned_answer_is_dropped(void **state)
{
    (void)state;
    char id[200];
    uint64_t context = 0;
    (void)ask(&world, 1, "a@maf.example.com");
    (void)ask(&world, 2, "b@maf.example.com");
    settle_dials(&world, 0, true);
    uint32_t connection = open_connection(0);
    assert_true(hf_key_service_revoke(world.service, &context, text("a@maf.example.com")));
    expect(&world, 1, HF_ANSWER_REFUSED, HF_MAF_OUTCOME_REVOKED);
    (void)ask(&world, 3, "c@maf.example.com"); /* takes the place of the first in our books */
    assert_true(next_request(&world, 0, connection, id));
    assert_string_equal(id, "a");
    answer_key(&world, 0, connection, id, "/in-cse", EXPIRES, 32);
    expect_nothing(&world);
    assert_int_equal(serve(&world, 0), 2);
    struct hf_key_reply reply = take(&world, 2);
    assert_int_equal(reply.answer.secret.data[0], 'b');
    reply = take(&world, 3);
    assert_int_equal(reply.answer.secret.data[0], 'c');
}

/* Who we are has changed: nobody is failed, and nothing more goes over what stood before. */
static void test_renewed_connections_take_over(void **state)
{
    (void)state;
    char id[200];
    (void)ask(&world, 1, "a@maf.example.com");
    (void)ask(&world, 2, "b@maf.example.com");
    settle_dials(&world, 0, true);
    uint32_t old = open_connection(0);
    hf_key_service_renew(world.service, 0);
    act(&world);
    assert_int_equal(world.closes, 0); /* it owes two answers */
    (void)ask(&world, 3, "c@maf.example.com");
    assert_int_equal(dialled(0), 1); /* at once, beside it */
    assert_true(next_request(&world, 0, old, id));
    answer_key(&world, 0, old, id, "/in-cse", EXPIRES, 32);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    assert_int_equal(world.closes, 0);
    assert_true(next_request(&world, 0, old, id));
    assert_string_equal(id, "b");
    answer_key(&world, 0, old, id, "/in-cse", EXPIRES, 32);
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    assert_int_equal(world.closes, 1);
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 3, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    assert_int_equal(world.dials, 2);
    assert_int_equal(health(0).retries + health(0).broken, 0);
}

static void test_renewed_when_idle_or_opening(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    hf_key_service_renew(world.service, 0); /* idle: closed, and no other until one is wanted */
    act(&world);
    assert_int_equal(world.closes, 1);
    assert_int_equal(world.dials, 1);
    (void)ask(&world, 2, "b@maf.example.com");
    assert_int_equal(dialled(0), 1);
    hf_key_service_renew(world.service, 0); /* opening, as whom we were: given up */
    act(&world);
    assert_int_equal(world.closes, 2);
    assert_int_equal(world.dials, 3);
    (void)serve(&world, 0);
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    assert_int_equal(health(0).connections, 1);
    assert_int_equal(health(0).under_way, 0);
}

/* ---- addresses ---------------------------------------------------------------------------- */

static void two_addresses(void)
{
    world.mafs[0].address_count = 2;
    world.mafs[0].addresses[1] = hf_address_v4((const uint8_t[]){127, 0, 0, 9}, 1);
    reopen();
}

static void test_first_address_is_dead(void **state)
{
    (void)state;
    two_addresses();
    (void)ask(&world, 1, "a@maf.example.com");
    settle_dials(&world, 0, false);
    assert_int_equal(world.dials, 2);
    assert_int_equal(serve(&world, 0), 1); /* at once, by the second */
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    assert_int_equal(health(0).address_index, 1);
    /* It is tried again now and then, beside the traffic, and used when it is back. */
    pass(&world, 1000000);
    assert_int_equal(dialled(0), 1);
    (void)ask(&world, 2, "b@maf.example.com");
    char id[200];
    assert_true(next_request(&world, 0, open_connection(0), id));
    answer_key(&world, 0, open_connection(0), id, "/in-cse", EXPIRES, 32);
    expect(&world, 2, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    settle_dials(&world, 0, true);
    assert_int_equal(health(0).address_index, 0);
}

static void test_a_black_hole_does_not_hold_up_what_has_another_way(void **state)
{
    (void)state;
    two_addresses();
    (void)ask(&world, 1, "a@maf.example.com");
    pass(&world, 4999999);
    assert_int_equal(world.dials, 1);
    pass(&world, 1);
    assert_int_equal(world.dials, 2);
    assert_int_equal(world.closes, 1);
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

/* ---- a MAF that is gone ------------------------------------------------------------------- */

/* Until the circuit opens: what waited has failed. */
static void break_circuit(void)
{
    for (int i = 0; i < 10 && !health(0).is_circuit_open; i++) {
        settle_dials(&world, 0, false);
        pass(&world, 1000000);
    }
    assert_true(health(0).is_circuit_open);
}

static void test_gone_for_a_minute(void **state)
{
    (void)state;
    (void)ask(&world, 1, "cached@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    cut(&world, 0, open_connection(0));
    (void)ask(&world, 2, "a@maf.example.com");
    break_circuit();
    expect(&world, 2, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_CONNECT);
    unsigned dials = world.dials;
    for (uint32_t second = 0; second < 60; second++) {
        (void)ask(&world, 3, "a@maf.example.com"); /* at once */
        expect(&world, 3, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_CIRCUIT_OPEN);
        (void)ask(&world, 4, "cached@maf.example.com");
        expect(&world, 4, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
        (void)ask(&world, 5, "b@other.example.org"); /* the other MAF knows nothing of it */
        if (second == 0)
            assert_int_equal(serve(&world, 1), 1);
        expect(&world, 5, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
        settle_dials(&world, 0, false);
        pass(&world, 1000000);
    }
    assert_true(world.dials - dials < 12); /* backing off */
    assert_true(world.dials - dials > 2);
    /* It is back: by itself, with nobody asking, within the longest back-off. */
    for (uint32_t second = 0; second < 31 && health(0).is_circuit_open; second++) {
        pass(&world, 1000000);
        settle_dials(&world, 0, true);
    }
    assert_false(health(0).is_circuit_open);
    (void)ask(&world, 6, "a@maf.example.com");
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 6, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_back_within_a_moment(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    settle_dials(&world, 0, false);
    expect_nothing(&world); /* one failure is no reason to fail the handshake */
    pass(&world, 250000);
    assert_int_equal(serve(&world, 0), 1);
    expect(&world, 1, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

static void test_wrong_certificate(void **state)
{
    (void)state;
    (void)ask(&world, 1, "a@maf.example.com");
    for (int i = 0; i < 10 && !health(0).is_circuit_open; i++) {
        for (uint32_t c = 0; c < HF_MAF_CONNECTIONS_MAX; c++)
            if (world.fakes[0][c].is_dialled) {
                world.fakes[0][c].is_dialled = false;
                hf_key_service_ended(world.service, 0, c, HF_MAF_OUTCOME_AUTHENTICATION);
                act(&world);
            }
        pass(&world, 1000000);
    }
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_AUTHENTICATION);
    assert_int_equal(health(0).authentication_failures, 3);
}

static void test_server_errors_open_the_circuit(void **state)
{
    (void)state;
    char identity[64];
    char id[200];
    for (uint32_t i = 0; i < 16; i++) {
        snprintf(identity, sizeof(identity), "k%u@maf.example.com", i);
        (void)ask(&world, i, identity);
        settle_dials(&world, 0, true);
        assert_false(health(0).is_circuit_open);
        assert_true(next_request(&world, 0, open_connection(0), id));
        answer(&world, 0, open_connection(0), 5000, "");
        expect(&world, i, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_SERVER_ERROR);
    }
    assert_true(health(0).is_circuit_open);
    (void)ask(&world, 1, "x@maf.example.com");
    expect(&world, 1, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_CIRCUIT_OPEN);
    pass(&world, 250000); /* one may try */
    (void)ask(&world, 2, "x@maf.example.com");
    assert_true(next_request(&world, 0, open_connection(0), id));
    answer(&world, 0, open_connection(0), 5000, "");
    expect(&world, 2, HF_ANSWER_UNAVAILABLE, HF_MAF_OUTCOME_SERVER_ERROR);
    assert_true(health(0).is_circuit_open);
    pass(&world, 500000);
    (void)ask(&world, 3, "x@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 3, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
    (void)ask(&world, 4, "y@maf.example.com");
    (void)serve(&world, 0);
    expect(&world, 4, HF_ANSWER_PSK, HF_MAF_OUTCOME_KEY);
}

/* ---- anything, in any order ---------------------------------------------------------------- */

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static void misbehave(uint32_t maf, uint32_t c)
{
    char id[200];
    if (!next_request(&world, maf, c, id))
        return;
    switch (draw(10)) {
    case 0:
        answer(&world, maf, c, 4004, "");
        break;
    case 1:
        answer(&world, maf, c, 4103, "");
        break;
    case 2:
        answer(&world, maf, c, 5000, "");
        break;
    case 3:
        answer_key(&world, maf, c, id, "/in-cse", EXPIRES, 33);
        break;
    case 4:
        answer_key(&world, maf, c, id, "/in-cse", "20200101T000000", 32);
        break;
    case 5:
        answer_key(&world, maf, c, "other", "/in-cse", EXPIRES, 32);
        break;
    case 6:
        receive(&world, maf, c, "nonsense\r\n\r\n");
        break;
    case 7:
        cut(&world, maf, c);
        break;
    default:
        answer_key(&world, maf, c, id, "/in-cse", EXPIRES, 32);
        break;
    }
}

/* Whatever replies there are: right for their slot, once each. */
static void check_replies(uint8_t *asked, const uint32_t *names, uint32_t *answered)
{
    struct hf_key_reply reply;
    char want[64];
    while (hf_key_service_take_reply(world.service, &reply)) {
        assert_int_equal(asked[reply.ticket.slot], 1);
        asked[reply.ticket.slot] = 2;
        ++*answered;
        if (reply.outcome != HF_MAF_OUTCOME_KEY)
            continue;
        int len = snprintf(want, sizeof(want), "k%uk", names[reply.ticket.slot]);
        assert_memory_equal(reply.answer.secret.data, want, (size_t)len);
    }
}

static void test_any_order(void **state)
{
    (void)state;
    static uint8_t asked[20000];
    static uint32_t names[20000];
    uint32_t answered = 0;
    uint32_t cancelled = 0;
    memset(asked, 0, sizeof(asked));
    for (uint32_t i = 0; i < 20000; i++) {
        char identity[64];
        names[i] = draw(300);
        snprintf(identity, sizeof(identity), "k%u@%s", names[i],
                 draw(2) == 0 ? "maf.example.com" : "other.example.org");
        asked[i] = 1;
        assert_int_equal(ask(&world, i, identity), HF_KEY_ASKED);
        uint32_t victim = i - draw(i < 50 ? i + 1 : 50);
        if (draw(20) == 0 && asked[victim] == 1) {
            hf_key_service_cancel(world.service, 3, (struct hf_ticket){victim, 1, 1});
            asked[victim] = 3;
            cancelled++;
        }
        for (uint32_t maf = 0; maf < 2; maf++) {
            settle_dials(&world, maf, draw(4) != 0);
            for (uint32_t c = 0; c < 8; c++)
                misbehave(maf, c);
        }
        if (draw(3) == 0)
            pass(&world, draw(2000000));
        check_replies(asked, names, &answered);
    }
    for (int i = 0; i < 40; i++) { /* whatever is left ends by its deadline */
        pass(&world, 1000000);
        check_replies(asked, names, &answered);
    }
    assert_int_equal(answered + cancelled, 20000);
    struct hf_key_service_counters counters;
    hf_key_service_counters_get(&counters, world.service);
    assert_int_equal(counters.parked, 0);
    assert_int_equal(counters.lookups, 0);
    assert_true(counters.replies[HF_MAF_OUTCOME_KEY] > 1000);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20261122;
    printf("seed %llu\n", (unsigned long long)seed);
    hf_maf_resource_init();
    const struct CMUnitTest tests[] = {
        T(test_keep_alive_and_idling),
        T(test_broken_while_idle_is_no_failure),
        T(test_broken_requests_go_once_more),
        T(test_connection_close_is_obeyed),
        T(test_nonsense_fails_the_one_it_answers),
        T(test_answers_nobody_asked_for),
        T(test_a_slow_drip_ends_in_time),
        T(test_pipelining_is_bounded),
        T(test_an_abandoned_answer_is_dropped),
        T(test_renewed_connections_take_over),
        T(test_renewed_when_idle_or_opening),
        T(test_first_address_is_dead),
        T(test_a_black_hole_does_not_hold_up_what_has_another_way),
        T(test_gone_for_a_minute),
        T(test_back_within_a_moment),
        T(test_wrong_certificate),
        T(test_server_errors_open_the_circuit),
        T(test_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
