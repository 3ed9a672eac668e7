/**
 * limits_test.c - source prefixes and their counters; trial decryptions against an ideal bucket;
 * cookies: what they cover, how long they live, and who can check them.
 */
#include "limits.h"

#include "association.h"
#include "cookie.h"
#include "engine_parts.h"

#include <stdio.h>

static struct hf_engine *engine;
static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    return engine_parts_below(&seed, limit);
}

static struct hf_config small_config(void)
{
    struct hf_config config;
    hf_config_init(&config);
    config.associations_max = 16;
    config.handshakes_max = 8;
    config.handshakes_pressure = 4;
    config.handshakes_per_prefix_max = 2;
    return config;
}

static struct hf_path_key path_of(bool is_v4, const uint8_t *ip)
{
    struct hf_path_key path = {.peer_port = (uint16_t)below(65536), .scope = below(3)};
    if (is_v4) {
        const struct hf_address address = hf_address_v4(ip, 1);
        memcpy(path.peer_ip, address.ip, 16);
    } else {
        memcpy(path.peer_ip, ip, 16);
    }
    return path;
}

/** Flips each bit of an address in turn: within the prefix the counter is another one (but for the
 *  chance of 1 in 4,096), beyond it the same. */
static void check_prefix(bool is_v4, uint32_t bits)
{
    uint8_t ip[16];
    uint32_t width = is_v4 ? 32 : 128, same_within = 0;
    for (size_t i = 0; i < 16; i++)
        ip[i] = (uint8_t)(0x20 + below(200));
    struct hf_path_key path = path_of(is_v4, ip);
    uint32_t cell = hf_limits_prefix_cell(engine, &path);
    assert_true(cell < HF_PREFIX_CELLS);
    for (uint32_t bit = 0; bit < width; bit++) {
        uint8_t other[16];
        memcpy(other, ip, 16);
        other[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
        path = path_of(is_v4, other);
        bool is_same = hf_limits_prefix_cell(engine, &path) == cell;
        assert_true(is_same || bit < bits);
        same_within += is_same && bit < bits;
    }
    assert_true(same_within <= 2);
}

static void prefixes_are_as_long_as_configured(void **state)
{
    (void)state;
    static const uint8_t v4_bits[] = {32, 24, 20, 9, 0}, v6_bits[] = {56, 64, 128, 61, 0};
    seed = 5;
    for (size_t i = 0; i < 5; i++) {
        struct hf_config config = small_config();
        config.prefix_bits_v4 = v4_bits[i];
        config.prefix_bits_v6 = v6_bits[i];
        engine = engine_parts_open(&config);
        for (int j = 0; j < 20; j++) {
            check_prefix(true, v4_bits[i]);
            check_prefix(false, v6_bits[i]);
        }
        hf_engine_close(engine);
    }
}

static void a_prefix_is_refused_under_pressure_only(void **state)
{
    (void)state;
    struct hf_config config = small_config();
    engine = engine_parts_open(&config);
    hf_limits_prefix_count(engine, 7, 2);
    assert_int_equal(hf_limits_prefix_admit(engine, 7), HF_OK);
    engine->handshakes.used = 3;
    assert_int_equal(hf_limits_prefix_admit(engine, 7), HF_OK);
    engine->handshakes.used = 4;
    assert_int_equal(hf_limits_prefix_admit(engine, 7), HF_E_PREFIX_LIMIT);
    assert_int_equal(hf_limits_prefix_admit(engine, 8), HF_OK);
    hf_limits_prefix_count(engine, 7, -1);
    assert_int_equal(hf_limits_prefix_admit(engine, 7), HF_OK);
    hf_limits_prefix_count(engine, 7, -1);
    engine->handshakes.used = 0;
    hf_engine_close(engine);
}

static struct hf_association *fresh(uint32_t rate)
{
    struct hf_config config = small_config();
    struct hf_association *association;
    struct hf_path_key path = {.peer_port = 1};
    config.trials_per_second = rate;
    config.forgeries_max = 1u << 30;
    engine = engine_parts_open(&config);
    enum hf_status status = hf_association_open(&association, engine, HF_ROLE_SERVER, 1, &path);
    assert_int_equal(status, HF_OK);
    return association;
}

/* However the attempts are spread: never more than a burst of twice the rate, then the rate; and
 * not much less either, once the bucket had time to fill. */
static void failing_trials_are_limited_to_the_rate(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 30; round++) {
        uint32_t rate = 1 + round * round;
        struct hf_association *association = fresh(rate);
        uint64_t begun_us = engine->now_us, allowed = 0;
        seed = round;
        for (int step = 0; step < 20000; step++) {
            uint64_t ahead_us = below(4) ? below(3000) : below(200000);
            hf_engine_begin_turn(engine, engine->now_us + ahead_us, 0);
            for (uint32_t burst = 1 + below(20); burst > 0; burst--) {
                if (!hf_limits_trial_allowed(engine, association, 1))
                    break;
                assert_false(hf_limits_trial_failed(engine, association));
                allowed++;
            }
            uint64_t elapsed_us = engine->now_us - begun_us + HF_TICK_US;
            assert_true(allowed <= 2 * rate + elapsed_us * rate / 1000000 + 1);
        }
        assert_int_equal(association->datagram.forgeries, allowed);
        hf_engine_begin_turn(engine, engine->now_us + 10000000, 0);
        uint32_t full = 0;
        while (hf_limits_trial_allowed(engine, association, 1)) {
            assert_false(hf_limits_trial_failed(engine, association));
            full++;
        }
        assert_int_equal(full, 2 * rate);
        hf_engine_close(engine);
    }
}

/* Who cannot see the traffic does not know the numbers: the second half of the allowance is kept
 * for those close to what was received last. */
static void half_the_allowance_is_for_near_numbers(void **state)
{
    (void)state;
    struct hf_association *association = fresh(10);
    association->read_seq = 1000;
    uint32_t far = 0, near = 0;
    while (hf_limits_trial_allowed(engine, association, 1000000)) {
        assert_false(hf_limits_trial_failed(engine, association));
        far++;
    }
    assert_int_equal(far, 10);
    assert_false(hf_limits_trial_allowed(engine, association, 1065));
    while (hf_limits_trial_allowed(engine, association, 1064)) {
        assert_false(hf_limits_trial_failed(engine, association));
        near++;
    }
    assert_int_equal(near, 10);
    assert_false(hf_limits_trial_allowed(engine, association, 1001));
    hf_engine_close(engine);
}

static void the_budget_is_counted_to_the_last(void **state)
{
    (void)state;
    struct hf_association *association = fresh(32767);
    engine->config.forgeries_max = 3;
    assert_false(hf_limits_trial_failed(engine, association));
    assert_false(hf_limits_trial_failed(engine, association));
    assert_true(hf_limits_trial_failed(engine, association));
    hf_engine_close(engine);
}

/* ---- cookies ------------------------------------------------------------------------------- */

struct offer {
    struct hf_path_key path;
    uint8_t random[32], session_id[32], cookie[HF_COOKIE_LEN];
    struct hf_hello_front front;
};

static void draw_offer(struct offer *offer)
{
    memset(offer, 0, sizeof *offer);
    for (size_t i = 0; i < 16; i++)
        offer->path.peer_ip[i] = (uint8_t)below(256);
    offer->path.peer_port = (uint16_t)below(65536);
    for (size_t i = 0; i < 32; i++)
        offer->random[i] = offer->session_id[i] = (uint8_t)below(256);
    offer->front = (struct hf_hello_front){
        .version = 0xFEFD,
        .random = {offer->random, 32},
        .session_id = {offer->session_id, below(33)},
        .cookie = {offer->cookie, HF_COOKIE_LEN},
    };
    hf_cookie_make(offer->cookie, engine, &offer->path, &offer->front);
}

static bool is_good(const struct offer *offer)
{
    return hf_cookie_check(engine, &offer->path, &offer->front);
}

static void a_cookie_fits_one_hello_from_one_address(void **state)
{
    (void)state;
    engine = engine_parts_open(NULL);
    seed = 11;
    for (int i = 0; i < 20; i++) {
        struct offer offer, other;
        draw_offer(&offer);
        assert_true(is_good(&offer));
        for (size_t bit = 0; bit < 8 * HF_COOKIE_LEN; bit++) {
            offer.cookie[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(is_good(&offer));
            offer.cookie[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t bit = 0; bit < 256; bit++) {
            offer.random[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(is_good(&offer));
            offer.random[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t bit = 0; bit < 8 * offsetof(struct hf_path_key, local_index); bit++) {
            ((uint8_t *)&offer.path)[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(is_good(&offer));
            ((uint8_t *)&offer.path)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        other = offer;
        other.front.version = 0xFEFF;
        assert_false(is_good(&other));
        other = offer;
        other.front.session_id.len ^= 1; /* Mbed TLS with a ticket draws another one */
        assert_true(is_good(&other));
        for (size_t len = 0; len < HF_COOKIE_LEN; len++) {
            other = offer;
            other.front.cookie.len = len;
            assert_false(is_good(&other));
        }
        assert_true(is_good(&offer));
    }
    hf_engine_close(engine);
}

static void a_cookie_lives_one_to_two_periods(void **state)
{
    (void)state;
    engine = engine_parts_open(NULL);
    seed = 12;
    uint64_t period_us = engine->config.cookie_us_max;
    for (int i = 0; i < 300; i++) {
        struct offer offer;
        engine->now_us = (uint64_t)below(1u << 30) * 100000;
        draw_offer(&offer);
        uint64_t begun = engine->now_us / period_us;
        uint64_t last_us = (begun + 2) * period_us - 1; /* of the period after its own */
        engine->now_us += below(60000000);
        assert_true(is_good(&offer));
        engine->now_us = last_us;
        assert_true(is_good(&offer));
        engine->now_us = last_us + 1;
        assert_false(is_good(&offer));
        for (uint64_t later = 3; later < 600; later++) { /* the number of a period is one byte */
            engine->now_us = (begun + later) * period_us + below(60000000);
            assert_false(is_good(&offer));
        }
    }
    hf_engine_close(engine);
}

/* Nor is one good before its time, whatever period it claims: at the very first period too. */
static void no_cookie_from_the_future(void **state)
{
    (void)state;
    engine = engine_parts_open(NULL);
    seed = 13;
    struct offer offer;
    engine->now_us = 0;
    draw_offer(&offer);
    assert_true(is_good(&offer));
    for (int claimed = 0; claimed < 256; claimed++) {
        struct offer forged = offer;
        forged.front.cookie.data = forged.cookie;
        forged.front.random.data = forged.random;
        forged.front.session_id.data = forged.session_id;
        forged.cookie[0] = (uint8_t)claimed;
        assert_int_equal(is_good(&forged), claimed == 0);
    }
    engine->now_us = 10 * engine->config.cookie_us_max;
    draw_offer(&offer);
    engine->now_us = 9 * engine->config.cookie_us_max;
    assert_false(is_good(&offer));
    hf_engine_close(engine);
}

/* Shards that share peers share the secret; without one, each engine draws its own. */
static void a_shared_secret_is_shared(void **state)
{
    (void)state;
    for (int is_shared = 0; is_shared < 2; is_shared++) {
        struct hf_config config = small_config();
        struct offer offer;
        config.secrets.count = (uint32_t)is_shared;
        memset(config.secrets.entries[0].secret, 0x5A, HF_SHARED_SECRET_LEN);
        struct hf_engine *other = engine_parts_open(&config);
        engine = engine_parts_open(&config);
        draw_offer(&offer);
        hf_engine_close(engine);
        engine = other;
        assert_int_equal(is_good(&offer), is_shared);
        hf_engine_close(engine);
    }
}

static void the_front_of_a_hello(void **state)
{
    (void)state;
    uint8_t body[2 + 32 + 1 + 4 + 1 + 6] = {0xFE, 0xFD};
    struct hf_hello_front front;
    body[34] = 4;
    body[39] = 6;
    for (size_t len = 0; len <= sizeof body; len++) {
        uint8_t *exact = malloc(len ? len : 1);
        assert_non_null(exact);
        memcpy(exact, body, len);
        enum hf_status status = hf_cookie_front(&front, (struct hf_bytes){exact, len});
        assert_int_equal(status, len == sizeof body ? HF_OK : HF_E_DECODE);
        if (status == HF_OK) {
            assert_int_equal(front.session_id.len, 4);
            assert_int_equal(front.cookie.len, 6);
            assert_ptr_equal(front.cookie.data, exact + 40);
        }
        free(exact);
    }
    uint8_t long_id[2 + 32 + 1 + 33 + 1] = {0xFE, 0xFD};
    long_id[34] = 33;
    assert_int_equal(hf_cookie_front(&front, (struct hf_bytes){long_id, sizeof long_id}),
                     HF_E_DECODE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_are_as_long_as_configured),
        cmocka_unit_test(a_prefix_is_refused_under_pressure_only),
        cmocka_unit_test(failing_trials_are_limited_to_the_rate),
        cmocka_unit_test(half_the_allowance_is_for_near_numbers),
        cmocka_unit_test(the_budget_is_counted_to_the_last),
        cmocka_unit_test(a_cookie_fits_one_hello_from_one_address),
        cmocka_unit_test(a_cookie_lives_one_to_two_periods),
        cmocka_unit_test(no_cookie_from_the_future),
        cmocka_unit_test(a_shared_secret_is_shared),
        cmocka_unit_test(the_front_of_a_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
